/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The whole of iotsec_input in every state of a device.
 *
 *     flags, state, then steps:
 *       0..63     bytes as they are: from the manager, a member or a stranger, to the device or to its group
 *       64..127   a record sealed with the manager's session: key management, and whatever else; with pairs, from 96 on
 *                 with that of the other device
 *       128..159  a record sealed with the group's present, previous or next key, from any sender
 *       160..191  the next real datagram arrives, perhaps with changes
 *       192..223  time passes
 *       224..255  the application or the operator does something
 */
#include "script.h"
#include "world.h"

static void put_bytes(struct iotsec_reader *script, uint8_t step)
{
    struct iotsec_addr from = world.addr[(step & 3) % PARTY_COUNT];
    struct iotsec_device *device = world_device(PARTY_FIRST);
    uint16_t sessions = device->dtls.sessions_used;
    size_t len;
    uint8_t *data = script_bytes(script, &len);

    if ((step & 3) == 3) {
        from.port++;
    }
    (void)world_input(PARTY_FIRST, &from, (step & 4) != 0, data, len);
    script_check(device->dtls.sessions_used >= sessions || (step & 4) != 0);
    free(data);
}

static void put_sealed(struct iotsec_reader *script, uint8_t step)
{
    static const uint8_t types[] = { 28, 29, 29, 28, 29, 23, 21, 22 };
    uint8_t datagram[600];
    size_t len;
    uint8_t *content = script_bytes(script, &len);
    int from = (step & 32) != 0 && world_has_pairs() ? PARTY_SECOND : PARTY_MANAGER;
    size_t datagram_len =
        len > 500 ? 0 : world_seal(from, PARTY_FIRST, types[step % 8], content, len, datagram, sizeof datagram);

    if (datagram_len != 0) {
        uint32_t generation = world.devices[0].device.share[0].generation;
        unsigned told;
        uint8_t again[600];

        memcpy(again, datagram, datagram_len);
        (void)world_input(PARTY_FIRST, &world.addr[from], false, datagram, datagram_len);
        told = world.devices[0].told;
        (void)world_input(PARTY_FIRST, &world.addr[from], false, again, datagram_len);
        script_check(world.devices[0].told == told); /* never twice */
        script_check(from == PARTY_MANAGER || world.devices[0].device.share[0].generation == generation);
    }
    free(content);
}

static void put_group_record(struct iotsec_reader *script, uint8_t step)
{
    const struct iotsec_csb *csb = &world.devices[0].groups[0].csb;
    const struct iotsec_hal *hal = &world.hal[PARTY_SECOND];
    uint16_t sender = script_u8(script);
    uint32_t counter = (uint32_t)script_u16(script) << ((step & 4) != 0 ? 16 : 0);
    uint32_t key_number = csb->key_number;
    uint8_t datagram[600];
    uint8_t tek[IOTSEC_KEY_BYTES];
    uint8_t tgk[IOTSEC_KEY_BYTES];
    size_t datagram_len;
    size_t len;
    uint8_t *content = script_bytes(script, &len);
    unsigned ahead = step & 3;

    memcpy(tgk, csb->tgk, sizeof tgk);
    memcpy(tek, csb->tek, sizeof tek);
    if (ahead == 3) { /* the key before */
        memcpy(tek, csb->previous_tek, sizeof tek);
        key_number = csb->previous_key_number;
    } else {
        for (; ahead > 0 && (key_number & 0xFF) != 0xFF; ahead--) {
            key_number++;
            (void)iotsec_csb_ratchet(hal, WORLD_GROUP, key_number, csb->rand, tgk, tgk);
            (void)iotsec_csb_derive_tek(hal, WORLD_GROUP, tgk, csb->rand, tek);
        }
    }
    if (len <= 500 && iotsec_record_group_seal(hal, tek, WORLD_GROUP, (uint16_t)key_number, sender, counter,
                                               (step & 16) != 0 ? 29 : 23, datagram, sizeof datagram, &datagram_len, content,
                                               len) == IOTSEC_OK) {
        unsigned messages;
        uint8_t again[600];

        memcpy(again, datagram, datagram_len);
        (void)world_input(PARTY_FIRST, &world.addr[PARTY_SECOND], true, datagram, datagram_len);
        messages = world.devices[0].messages;
        script_check(world_input(PARTY_FIRST, &world.addr[PARTY_SECOND], true, again, datagram_len) != IOTSEC_OK);
        script_check(world.devices[0].messages == messages); /* never twice */
    }
    free(content);
}

static void act_on_pairs(uint8_t choice)
{
    struct iotsec_device *device = world_device(PARTY_FIRST);
    struct iotsec_addr elsewhere = world.addr[choice >> 6 == 3 ? PARTY_SECOND : choice >> 6];
    uint8_t key[IOTSEC_KEY_BYTES];

    switch (choice % 8) {
    case 0:
        (void)world_tell(PARTY_FIRST, PARTY_SECOND, &world.addr[PARTY_SECOND]);
        break;
    case 1:
        elsewhere.port = (uint16_t)(elsewhere.port + ((choice >> 3) & 1));
        (void)world_tell(PARTY_FIRST, (choice >> 4) % PARTY_COUNT, &elsewhere);
        break;
    case 2:
        (void)world_tell(PARTY_SECOND, PARTY_FIRST, &world.addr[PARTY_FIRST]);
        break;
    case 3:
        (void)iotsec_peer_close(device, (const uint8_t *)"lamp-2", 6);
        break;
    case 4:
        (void)iotsec_manager_poly_renew(&world.manager, 1 + (choice >> 3) % 4, choice >> 7);
        break;
    case 5:
        (void)iotsec_peer_key(device, (const uint8_t *)"lamp-2", 6, choice >> 3, key);
        break;
    case 6:
        (void)iotsec_peer_close(world_device(PARTY_SECOND), (const uint8_t *)"lamp-1", 6);
        break;
    default: /* the clock of its places and of its shares */
        world_pass(choice >> 7 != 0 ? IOTSEC_PAIR_IDLE_MS : 30000);
        break;
    }
}

static void act(struct iotsec_reader *script, uint8_t step)
{
    struct world_device *first = &world.devices[0];
    struct iotsec_device *device = &first->device;
    uint8_t choice = script_u8(script);
    uint16_t group = (uint16_t)(WORLD_GROUP + choice % 3);

    switch (step % 16) {
    case 0:
        (void)iotsec_join(device, &world.addr[PARTY_MANAGER], &group, 1);
        break;
    case 1:
        (void)iotsec_group_join(device, group);
        break;
    case 2:
        (void)iotsec_group_leave(device, group);
        break;
    case 3:
        (void)iotsec_leave(device);
        break;
    case 4:
    case 5:
        (void)iotsec_group_send(device, group, (const uint8_t *)"hello", 5);
        break;
    case 6:
        first->calls_back = !first->calls_back;
        break;
    case 7:
        first->nvm_fails = !first->nvm_fails;
        break;
    case 8:
        (void)iotsec_group_send(world_device(PARTY_SECOND), group, (const uint8_t *)"hello", 5);
        break;
    case 9:
        (void)iotsec_manager_evict(&world.manager, 2);
        break;
    case 10:
        (void)iotsec_manager_group_renew(&world.manager, group, 0);
        break;
    case 11:
        first->groups[0].csb.counter = IOTSEC_GROUP_COUNTER_SOFT - 1 + (group - WORLD_GROUP) * 0x7FFFFu;
        break;
    case 12:
        (void)iotsec_manager_expel(&world.manager, 1, group);
        break;
    case 13: { /* power off and on */
        uint8_t persist = first->config.persist;

        iotsec_device_wipe(device);
        first->config.persist = persist;
        script_check(iotsec_device_init(device, &first->config) == IOTSEC_OK);
        break;
    }
    default:
        if (step % 16 == 14 && world_has_pairs()) {
            act_on_pairs(choice);
        } else {
            world.queued = 0; /* all of it is lost */
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
        const struct iotsec_csb *csb = &world.devices[0].groups[0].csb;
        uint16_t sender = csb->sender_id;
        uint16_t group = csb->group_id;
        uint32_t counter = csb->counter;
        uint32_t key_number = csb->key_number;
        uint8_t step = script_u8(&script);

        if (step < 64) {
            put_bytes(&script, step);
        } else if (step < 128) {
            put_sealed(&script, step);
        } else if (step < 160) {
            put_group_record(&script, step);
        } else if (step < 192) {
            world_change_queue(&script, step);
        } else if (step < 224) {
            world_pass(script_u16(&script));
        } else {
            act(&script, step);
            continue;
        }
        /* whatever arrived: neither key number nor counter went back while the group was held */
        if (csb->group_id == group && csb->key_number != 0 && key_number != 0 && csb->sender_id == sender) {
            script_check(csb->key_number >= key_number && csb->counter >= counter);
        }
        world_check_pairs(PARTY_FIRST);
        world_check_pairs(PARTY_SECOND);
    }
    world_pass(100000);
    iotsec_device_wipe(world_device(PARTY_FIRST));
    return 0;
}
