/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The whole of iotsec_manager_input in every state of a manager; its registry checks what must hold for ever.
 *
 *     flags, state, then steps:
 *       0..63     bytes as they are: from a device's address or a stranger's
 *       64..159   a record sealed with a device's session: key management, and whatever else
 *       160..191  the next real datagram arrives, perhaps with changes
 *       192..223  time passes
 *       224..255  the operator, the registry or a device does something
 */
#include "script.h"
#include "world.h"

static void put_bytes(struct iotsec_reader *script, uint8_t step)
{
    struct iotsec_addr from = world.addr[PARTY_FIRST + (step & 1)];
    uint16_t sessions = world.manager.dtls.sessions_used;
    size_t len;
    uint8_t *data = script_bytes(script, &len);
    struct registry_state *before = malloc(sizeof *before);

    script_check(before != NULL);
    if ((step & 2) != 0) {
        from.port++;
    }
    *before = world.registry.durable;
    (void)iotsec_manager_input(&world.manager, &from, data, len);
    /* who has no key changes nothing that lasts */
    script_check(world.manager.dtls.sessions_used >= sessions);
    script_check(memcmp(before, &world.registry.durable, sizeof *before) == 0);
    world_poll();
    free(before);
    free(data);
}

static void put_sealed(struct iotsec_reader *script, uint8_t step)
{
    static const uint8_t types[] = { 29, 29, 29, 29, 28, 23, 21, 22 };
    int from = PARTY_FIRST + ((step >> 3) & 1);
    uint8_t datagram[600];
    size_t len;
    uint8_t *content = script_bytes(script, &len);
    size_t datagram_len =
        len > 500 ? 0 : world_seal(from, PARTY_MANAGER, types[step % 8], content, len, datagram, sizeof datagram);

    if (datagram_len != 0) {
        (void)world_input(PARTY_MANAGER, &world.addr[from], false, datagram, datagram_len);
    }
    free(content);
}

static void answer_psk(uint8_t how)
{
    struct iotsec_dtls_psk psk;

    memset(&psk, 0, sizeof psk);
    memcpy(psk.key, world.registry.devices[0].psk, 16);
    psk.len = 16;
    psk.peer = 1;
    (void)iotsec_manager_psk_complete(&world.manager, world.registry.pending[how & 1],
                                      (how & 2) != 0 ? IOTSEC_ERR_UNKNOWN_IDENTITY : IOTSEC_OK, &psk);
}

static void act(struct iotsec_reader *script, uint8_t step)
{
    uint8_t choice = script_u8(script);
    uint16_t group = (uint16_t)(WORLD_GROUP + choice % 3);
    struct iotsec_addr addr = world_group_addr(group);
    struct iotsec_device *device = world_device(PARTY_FIRST + ((choice >> 4) & 1));

    switch (step % 16) {
    case 0:
        (void)iotsec_manager_group_add(&world.manager, group, &addr);
        break;
    case 1:
        (void)iotsec_manager_group_remove(&world.manager, group);
        break;
    case 2:
        (void)iotsec_manager_group_renew(&world.manager, group, (uint32_t)choice << 8);
        break;
    case 3:
        (void)iotsec_manager_evict(&world.manager, 1 + (choice >> 4) % 3);
        break;
    case 4:
        (void)iotsec_manager_expel(&world.manager, 1 + (choice >> 4) % 3, group);
        break;
    case 5:
        answer_psk(choice);
        break;
    case 6:
        world.registry.fail_at = world.registry.operations + 1 + choice % 8;
        world.registry.fail_count = choice >> 4;
        break;
    case 7:
        registry_readmit(&world.registry, 1 + (choice >> 4) % 3);
        break;
    case 8:
        registry_device(&world.registry, 1)->slow = (choice & 1) != 0;
        break;
    case 9:
        registry_device(&world.registry, 1)->not_admitted = (choice & 1) != 0;
        break;
    case 10:
        iotsec_manager_close(&world.manager);
        break;
    case 11: /* killed and started again */
        iotsec_manager_wipe(&world.manager);
        registry_revive(&world.registry);
        script_check(iotsec_manager_init(&world.manager, &world.config) == IOTSEC_OK);
        break;
    case 12:
        (void)iotsec_join(device, &world.addr[PARTY_MANAGER], &group, 1);
        break;
    case 13:
        (void)((choice & 1) != 0 ? iotsec_leave(device) : iotsec_group_leave(device, group));
        break;
    case 14:
        (void)iotsec_group_join(device, group);
        break;
    default:
        if ((choice & 1) != 0 && world_has_pairs()) {
            (void)iotsec_manager_poly_renew(&world.manager, (choice >> 1) % 8, choice >> 7);
        } else if ((choice & 2) != 0 && world_has_pairs()) {
            (void)world_tell(PARTY_FIRST, PARTY_SECOND, &world.addr[PARTY_SECOND]);
        } else {
            world.queued = 0;
        }
        break;
    }
    world_poll();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct iotsec_reader script;
    unsigned steps;
    uint8_t flags;

    iotsec_rd_init(&script, data, size);
    flags = script_u8(&script);
    world_restore((enum world_state)(script_u8(&script) % WORLD_STATES), flags);
    for (steps = 0; script.left != 0 && steps < SCRIPT_STEPS_MAX; steps++) {
        uint8_t step = script_u8(&script);

        if (step < 64) {
            put_bytes(&script, step);
        } else if (step < 160) {
            put_sealed(&script, step);
        } else if (step < 192) {
            world_change_queue(&script, step);
        } else if (step < 224) {
            world_pass(script_u16(&script));
        } else {
            act(&script, step);
        }
        script_check(world.registry.broken == NULL);
    }
    /* what is durable can be read again */
    iotsec_manager_wipe(&world.manager);
    registry_revive(&world.registry);
    script_check(iotsec_manager_init(&world.manager, &world.config) == IOTSEC_OK);
    iotsec_manager_wipe(&world.manager);
    return 0;
}
