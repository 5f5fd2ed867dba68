/* SPDX-License-Identifier: BSD-3-Clause */
/* What a device reads back from its memory: anything may stand there, with a checksum that is right or wrong. */
#include "script.h"
#include "world.h"

/* CRC-32 (ISO 3309), over all but the last four bytes, so that inputs get behind it. */
static void mend_checksum(uint8_t *slot, size_t len)
{
    uint32_t crc = 0xFFFFFFFFu;
    size_t i;
    unsigned bit;

    if (len < 4) {
        return;
    }
    for (i = 0; i < len - 4; i++) {
        crc ^= slot[i];
        for (bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xEDB88320u : 0);
        }
    }
    iotsec_put_u32(slot + len - 4, ~crc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct iotsec_reader script;
    struct world_device *first = &world.devices[0];
    struct iotsec_device *device = &first->device;
    uint16_t group = WORLD_GROUP;
    uint8_t flags;
    unsigned slot;

    iotsec_rd_init(&script, data, size);
    flags = script_u8(&script);
    world_restore(WORLD_PERSISTED, 0);
    iotsec_device_wipe(device);
    for (slot = 0; slot < WORLD_GROUPS && script.left != 0; slot++) {
        size_t len;
        uint8_t *bytes = script_bytes(&script, &len);

        len = len < WORLD_NVM_BYTES ? len : WORLD_NVM_BYTES;
        if ((flags & 4) != 0) { /* changes to what stood there */
            size_t i;

            for (i = 0; i < len && i < first->nvm_len[slot]; i++) {
                first->nvm[slot][i] ^= bytes[i];
            }
        } else {
            memcpy(first->nvm[slot], bytes, len);
            first->nvm_len[slot] = (uint16_t)len;
        }
        if ((flags & 8) != 0) {
            mend_checksum(first->nvm[slot], first->nvm_len[slot]);
        }
        free(bytes);
    }
    first->nvm_fails = (flags & 16) != 0;
    script_check(iotsec_device_init(device, &first->config) == IOTSEC_OK);
    (void)iotsec_group_send(device, WORLD_GROUP, (const uint8_t *)"hello", 5);
    (void)iotsec_group_send(world_device(PARTY_SECOND), WORLD_GROUP, (const uint8_t *)"hello", 5);
    while (world_deliver()) {
    }
    (void)iotsec_join(device, &world.addr[PARTY_MANAGER], &group, 1);
    world_pass(0);
    for (slot = 0; slot < 60; slot++) {
        while (world_deliver()) {
        }
        world_pass(500);
    }
    iotsec_device_wipe(device);
    return 0;
}
