/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The manager's registry beside a model, over a store that fails, or ends the world, at any of its writes: a transaction has
 * happened as a whole or not at all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Its state is looked at as a whole. */
#include "registry.c"

/* ---- A store in memory ---- */

static struct {
    uint8_t bytes[STORE_VALUE_MAX];
    int len; /* < 0: damaged */
} slots[STORE_SLOTS];
static unsigned writes;
static unsigned fail_at; /* this write fails; 0: none */
static unsigned cut_at;  /* the power goes at this one, which may be done or not */
static bool cut_is_done;
static jmp_buf power;
static const char *faulted;

void fault(const char *name)
{
    faulted = name;
    longjmp(power, 2);
}

void fault_at(const char *name, uint32_t value)
{
    (void)value;
    fault(name);
}

int store_read(uint16_t slot, uint8_t *data, size_t size)
{
    assert_true(slot < STORE_SLOTS);
    if (slots[slot].len > 0 && size > 0) {
        memcpy(data, slots[slot].bytes, (size_t)slots[slot].len < size ? (size_t)slots[slot].len : size);
    }
    return slots[slot].len;
}

int store_write(uint16_t slot, const uint8_t *data, size_t len)
{
    assert_true(slot < STORE_SLOTS && len > 0 && len <= STORE_VALUE_MAX);
    writes++;
    if (writes == fail_at) {
        return STORE_ERR_FLASH;
    }
    if (writes != cut_at || cut_is_done) {
        memcpy(slots[slot].bytes, data, len);
        slots[slot].len = (int)len;
    }
    if (writes == cut_at) {
        longjmp(power, 1);
    }
    return STORE_OK;
}

static int set_up(void **user)
{
    (void)user;
    memset(slots, 0, sizeof slots);
    writes = fail_at = cut_at = 0;
    faulted = NULL;
    registry_start();
    return 0;
}

/* ---- Transactions ---- */

static const struct iotsec_registry *const registry = &registry_functions;
static uint32_t seed = 1;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

/* A few changes, as the manager makes them: no checks here, the model is the state in memory before the commit. */
static void change(void)
{
    unsigned n = 1 + draw(5);

    assert_int_equal(registry->begin(NULL), IOTSEC_OK);
    while (n-- > 0) {
        struct iotsec_registry_group group;
        struct iotsec_registry_member member;
        struct iotsec_registry_access access;

        switch (draw(6)) {
        case 0:
            memset(&group, 0, sizeof group);
            group.group_id = (uint16_t)(1 + draw(REGISTRY_GROUPS));
            group.next_sender = (uint16_t)draw(1000);
            group.key_number = draw(100000);
            memset(group.tgk, (int)draw(256), sizeof group.tgk);
            assert_int_equal(registry->put_group(NULL, &group), IOTSEC_OK);
            break;
        case 1:
            member.device = 1 + draw(REGISTRY_DEVICES);
            member.group_id = (uint16_t)(1 + draw(REGISTRY_GROUPS));
            member.sender_id = (uint16_t)(1 + draw(1000));
            (void)registry->put_member(NULL, &member); /* it may be full */
            break;
        case 2:
            assert_int_equal(registry->delete_member(NULL, 1 + draw(REGISTRY_DEVICES), (uint16_t)(1 + draw(REGISTRY_GROUPS))), IOTSEC_OK);
            break;
        case 3:
            assert_int_equal(registry->put_evicted(NULL, 1 + draw(REGISTRY_DEVICES)), IOTSEC_OK);
            break;
        case 4:
            memset(&access, 0, sizeof access);
            access.number = 1 + draw(1000);
            memset(access.key, (int)draw(256), sizeof access.key);
            assert_int_equal(registry->put_access(NULL, &access), IOTSEC_OK);
            break;
        default:
            if (draw(20) == 0) {
                assert_int_equal(registry->delete_group(NULL, (uint16_t)(1 + draw(REGISTRY_GROUPS))), IOTSEC_OK);
            }
            break;
        }
    }
}

/* Every write of every transaction fails once, and is the last one before the power goes, done and not done. */
static void test_transactions(void **user)
{
    static uint8_t before[sizeof state], after[sizeof state];
    /* Static: they outlive the jumps. */
    static unsigned happened, round, count, i, way;

    (void)user;
    for (round = 0; round < 300; round++) {
        memcpy(before, &state, sizeof state);
        change();
        memcpy(after, &state, sizeof state);
        registry->abort(NULL);
        assert_memory_equal(&state, before, sizeof state);

        /* how many writes it takes: tried out, and taken back */
        for (way = 0; way < 3; way++) {
            for (count = 1, i = 1; i <= count; i++) {
                static uint8_t kept[sizeof slots];
                int came;

                memcpy(kept, slots, sizeof slots);
                memcpy(&state, after, sizeof state);
                writes = 0;
                fail_at = way == 0 ? i : 0;
                cut_at = way == 0 ? 0 : i;
                cut_is_done = way == 2;
                came = setjmp(power);
                if (came == 0) {
                    enum iotsec_status status = registry->commit(NULL);

                    if (status == IOTSEC_OK) {
                        count = 0; /* there is no i-th write: done */
                        assert_memory_equal(&state, after, sizeof state);
                    } else {
                        assert_int_equal(status, IOTSEC_ERR_REGISTRY);
                        assert_memory_equal(&state, before, sizeof state);
                        count = i + 1;
                    }
                } else {
                    assert_int_equal(came, 1);
                    count = i + 1;
                }
                fail_at = cut_at = 0;
                if (setjmp(power) != 0) {
                    fail_msg("fault %s", faulted);
                }
                registry_start();
                if (memcmp(&state, after, sizeof state) == 0) {
                    happened++;
                } else {
                    assert_memory_equal(&state, before, sizeof state);
                }
                memcpy(slots, kept, sizeof slots);
                registry_start();
            }
        }
        /* Two in a row, without a start between them, the second one cut off: what the first one wrote is still whole. */
        memcpy(&state, after, sizeof state);
        assert_int_equal(registry->commit(NULL), IOTSEC_OK);
        change();
        memcpy(before, &state, sizeof state);
        writes = 0;
        cut_at = 1;
        cut_is_done = round % 2 == 0;
        if (setjmp(power) == 0) {
            (void)registry->commit(NULL);
        }
        cut_at = 0;
        registry_start();
        if (memcmp(&state, before, sizeof state) != 0) {
            assert_memory_equal(&state, after, sizeof state);
        }
    }
    assert_true(happened > 600);
}

static void test_damage(void **user)
{
    static unsigned slot;

    (void)user;
    for (slot = 0; slot < 30; slot++) {
        change();
        assert_int_equal(registry->commit(NULL), IOTSEC_OK);
    }
    for (slot = SLOT_ROOT; slot < SLOT_REGISTRY + 1 + 2 * PAGES; slot++) {
        static int len;
        const bool in_use = slot == SLOT_ROOT || (root[1] >> ((slot - SLOT_REGISTRY - 1) / 2) & 1) == ((slot - SLOT_REGISTRY - 1) & 1);

        len = slots[slot].len;
        slots[slot].len = STORE_ERR_DAMAGED;
        faulted = NULL;
        if (setjmp(power) == 0) {
            registry_start();
        }
        /* what is in use cannot be done without; what is not may be anything */
        if (in_use) {
            assert_string_equal(faulted, slot == SLOT_ROOT ? "registry-root" : "registry-page");
        } else {
            assert_null(faulted);
        }
        slots[slot].len = len;
        registry_start();
    }
}

static void test_devices(void **user)
{
    struct registry_device device;
    struct iotsec_dtls_psk found;
    uint32_t number;

    (void)user;
    for (number = 1; number <= REGISTRY_DEVICES; number++) {
        memset(&device, 0, sizeof device);
        device.identity_len = 2;
        device.identity[0] = 'd';
        device.identity[1] = (uint8_t)('0' + number);
        device.psk_len = 16;
        memset(device.psk, (int)number, 16);
        device.group_count = 1;
        device.groups[0] = (uint16_t)number;
        assert_int_equal(registry_add(&device), number);
    }
    assert_int_equal(registry_add(&device), 0);
    device.identity[1] = '0' + 7;
    assert_int_equal(registry_find(device.identity, 2), 7);
    assert_int_equal(registry_find(device.identity, 1), 0);
    assert_int_equal(registry->psk(NULL, 0, device.identity, 2, &found), IOTSEC_OK);
    assert_int_equal(found.peer, 7);
    assert_int_equal(found.len, 16);
    assert_int_equal(found.key[15], 7);
    assert_int_equal(registry->psk(NULL, 0, (const uint8_t *)"xx", 2, &found), IOTSEC_ERR_UNKNOWN_IDENTITY);
    assert_int_equal(registry->group_allowed(NULL, 7, 7), IOTSEC_OK);
    assert_int_equal(registry->group_allowed(NULL, 7, 8), IOTSEC_ERR_GROUP_REFUSED);
    assert_int_equal(registry->group_allowed(NULL, 33, 8), IOTSEC_ERR_GROUP_REFUSED);

    assert_int_equal(registry->put_evicted(NULL, 7), IOTSEC_OK);
    assert_int_equal(registry->commit(NULL), IOTSEC_OK);
    registry_start();
    assert_int_equal(registry->authorised(NULL, 7), IOTSEC_ERR_NOT_AUTHORISED);
    assert_int_equal(registry->authorised(NULL, 8), IOTSEC_OK);
    assert_int_equal(registry_readmit(7), IOTSEC_OK);
    registry_start();
    assert_int_equal(registry->authorised(NULL, 7), IOTSEC_OK);

    /* Whose entry is damaged is unknown, and its number is not given away. */
    slots[SLOT_DEVICE(7)].len = STORE_ERR_DAMAGED;
    assert_int_equal(registry_find(device.identity, 2), 0);
    device.identity[0] = 'e';
    assert_int_equal(registry_add(&device), 0);
    slots[SLOT_DEVICE(9)].len = 0;
    assert_int_equal(registry_add(&device), 9);
}

static void test_order(void **user)
{
    struct iotsec_registry_group group, groups[REGISTRY_GROUPS];
    struct iotsec_registry_member member;
    unsigned i;

    (void)user;
    memset(&group, 0, sizeof group);
    for (i = 1; i <= REGISTRY_GROUPS; i++) {
        group.group_id = (uint16_t)(10 * i);
        assert_int_equal(registry->put_group(NULL, &group), IOTSEC_OK);
    }
    group.group_id = 99;
    assert_int_equal(registry->put_group(NULL, &group), IOTSEC_ERR_FULL);
    for (i = 0; registry->group_at(NULL, i, &groups[i]) == IOTSEC_OK; i++) {
        assert_int_equal(groups[i].group_id, 10 * (i + 1));
    }
    assert_int_equal(i, REGISTRY_GROUPS);
    for (i = 0; i < REGISTRY_MEMBERS; i++) {
        member.device = 1 + i % REGISTRY_DEVICES;
        member.group_id = i < REGISTRY_DEVICES ? 10 : 20;
        member.sender_id = (uint16_t)(1 + i);
        assert_int_equal(registry->put_member(NULL, &member), IOTSEC_OK);
    }
    member.group_id = 30;
    assert_int_equal(registry->put_member(NULL, &member), IOTSEC_ERR_FULL);
    assert_int_equal(registry->delete_group(NULL, 10), IOTSEC_OK);
    for (i = 0; registry->member_at(NULL, i, &member) == IOTSEC_OK; i++) {
        assert_int_equal(member.group_id, 20);
        assert_int_equal(member.sender_id, 1 + REGISTRY_DEVICES + i);
    }
    assert_int_equal(i, REGISTRY_MEMBERS - REGISTRY_DEVICES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_transactions, set_up),
        cmocka_unit_test_setup(test_damage, set_up),
        cmocka_unit_test_setup(test_devices, set_up),
        cmocka_unit_test_setup(test_order, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
