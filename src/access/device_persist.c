/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Group keys and counters in NVM: one slot for each group slot.
 *
 *     version(1), group(2), K(4), sender ID(2), TGK(16), RAND(16), address(16), port(2), interface(2),
 *     reserved counter(4), CRC-32(4)                                                      69 bytes
 *
 * Two things must never happen after a reboot: a counter is used twice, and a message that was delivered
 * before is delivered again. So counters are reserved in blocks, written before the first one is used; and
 * K is written before anything under it is delivered, so that whatever comes under a later K is new.
 */
#include "access/device_state.h"

#include <string.h>

#if IOTSEC_ROLE_DEVICE && IOTSEC_PERSIST

#define SLOT_VERSION 1u
#define SLOT_BYTES 69u
#define SLOT_CRC_AT 65u
/* Counters that one write reserves, and a reboot costs at most. */
#define RESERVE_BLOCK 1024u

static uint16_t slot_of(const struct iotsec_device *dev, const struct iotsec_device_group *group)
{
    return (uint16_t)(dev->config->nvm_slot + (group - dev->config->groups));
}

static bool write_slot(struct iotsec_device *dev, const struct iotsec_device_group *group, uint32_t reserved)
{
    const struct iotsec_hal *hal = dev->config->hal;
    const struct iotsec_csb *csb = &group->csb;
    uint8_t slot[SLOT_BYTES];
    struct iotsec_writer w;
    bool written;

    iotsec_wr_init(&w, slot, sizeof slot);
    iotsec_wr_u8(&w, SLOT_VERSION);
    iotsec_wr_u16(&w, csb->group_id);
    iotsec_wr_u32(&w, csb->key_number);
    iotsec_wr_u16(&w, csb->sender_id);
    iotsec_wr_copy(&w, csb->tgk, sizeof csb->tgk);
    iotsec_wr_copy(&w, csb->rand, sizeof csb->rand);
    iotsec_wr_copy(&w, csb->addr.ip, sizeof csb->addr.ip);
    iotsec_wr_u16(&w, csb->addr.port);
    iotsec_wr_u16(&w, csb->addr.interface);
    iotsec_wr_u32(&w, reserved);
    iotsec_wr_u32(&w, iotsec_crc32(slot, SLOT_CRC_AT));
    written = !w.failed && hal->nvm_write(hal->user, slot_of(dev, group), slot, w.len) == 0;
    iotsec_wipe(slot, sizeof slot);
    return written;
}

/* Writes K, sender ID and counter limit together: they belong to one another. */
static bool save_reserving(struct iotsec_device *dev, struct iotsec_device_group *group)
{
    uint32_t reserved = group->reserved;

    if (group->csb.counter >= reserved) {
        reserved = IOTSEC_GROUP_COUNTER_HARD - group->csb.counter > RESERVE_BLOCK ? group->csb.counter + RESERVE_BLOCK
                                                                                   : IOTSEC_GROUP_COUNTER_HARD;
    }
    if (!write_slot(dev, group, reserved)) {
        group->flags |= GROUP_UNSAVED;
        return false;
    }
    group->reserved = reserved;
    group->flags &= (uint16_t)~GROUP_UNSAVED;
    return true;
}

bool iotsec_dev_save(struct iotsec_device *dev, struct iotsec_device_group *group)
{
    return !dev->config->persist || save_reserving(dev, group);
}

bool iotsec_dev_saved(struct iotsec_device *dev, struct iotsec_device_group *group)
{
    return (group->flags & GROUP_UNSAVED) == 0 || save_reserving(dev, group);
}

bool iotsec_dev_reserve(struct iotsec_device *dev, struct iotsec_device_group *group)
{
    if (!dev->config->persist || group->csb.counter >= IOTSEC_GROUP_COUNTER_HARD) {
        return true; /* a spent sender ID sends nothing, so it wears no memory out */
    }
    return group->csb.counter < group->reserved ? iotsec_dev_saved(dev, group) : save_reserving(dev, group);
}

void iotsec_dev_erase(struct iotsec_device *dev, const struct iotsec_device_group *group)
{
    static const uint8_t nothing[1];
    const struct iotsec_hal *hal = dev->config->hal;

    if (dev->config->persist && group->csb.key_number != 0) {
        /* If it fails, the keys come back after a reboot, and the first STATUS shows that we are no member. */
        (void)hal->nvm_write(hal->user, slot_of(dev, group), nothing, 0);
    }
}

/* Reads one slot into a free group. False: there is nothing in it that can be trusted. */
static bool read_slot(struct iotsec_device *dev, struct iotsec_device_group *group)
{
    const struct iotsec_hal *hal = dev->config->hal;
    uint8_t slot[SLOT_BYTES];
    struct iotsec_reader r;
    struct iotsec_addr addr;
    const uint8_t *tgk;
    const uint8_t *rand;
    uint8_t version;
    uint16_t group_id;
    uint32_t key_number;
    uint16_t sender_id;
    uint32_t reserved;
    uint32_t crc;
    bool sound;

    sound = hal->nvm_read(hal->user, slot_of(dev, group), slot, sizeof slot) == (int)sizeof slot;
    iotsec_rd_init(&r, slot, sizeof slot);
    sound = sound && iotsec_rd_u8(&r, &version) && version == SLOT_VERSION && iotsec_rd_u16(&r, &group_id) && group_id != 0 &&
            iotsec_rd_u32(&r, &key_number) && iotsec_rd_u16(&r, &sender_id) && iotsec_rd_view(&r, &tgk, IOTSEC_KEY_BYTES) &&
            iotsec_rd_view(&r, &rand, IOTSEC_KEY_BYTES) && iotsec_rd_copy(&r, addr.ip, sizeof addr.ip) &&
            iotsec_rd_u16(&r, &addr.port) && iotsec_rd_u16(&r, &addr.interface) && iotsec_rd_u32(&r, &reserved) &&
            iotsec_rd_u32(&r, &crc) && crc == iotsec_crc32(slot, SLOT_CRC_AT) && iotsec_dev_group(dev, group_id) == NULL;
    if (sound) {
        iotsec_csb_init(&group->csb, group_id);
        sound = iotsec_csb_parameters(&group->csb, key_number, rand, &addr, 0) == IOTSEC_OK &&
                iotsec_csb_master_key(&group->csb, key_number, sender_id, tgk) == IOTSEC_OK &&
                iotsec_csb_install(&group->csb, hal) == IOTSEC_OK;
    }
    if (sound) {
        group->csb.counter = reserved; /* any below it may have been used */
        group->reserved = reserved;
    } else {
        iotsec_csb_wipe(&group->csb);
    }
    iotsec_wipe(slot, sizeof slot);
    return sound;
}

void iotsec_dev_restore(struct iotsec_device *dev)
{
    const struct iotsec_hal *hal = dev->config->hal;
    uint16_t i;

    for (i = 0; dev->config->persist && i < dev->config->group_count; i++) {
        struct iotsec_device_group *group = &dev->config->groups[i];

        if (read_slot(dev, group)) {
            group->hinted_at = iotsec_dev_now(dev) - IOTSEC_HINT_INTERVAL_MS;
            group->state = GROUP_HELD;
            group->flags = GROUP_STALE;
            if (hal->multicast_join != NULL && hal->multicast_join(hal->user, &group->csb.addr) == 0) {
                group->flags |= GROUP_LISTENS;
            }
        }
    }
}

#endif
