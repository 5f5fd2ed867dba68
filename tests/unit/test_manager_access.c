/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The domain manager's access parameters: who gets which L2 key when, what survives a crash, and when a
 * session's address changes.
 */
#include "manager_rig.h"

#include "access/manager_state.h"

#if IOTSEC_ACCESS && IOTSEC_CONNECTION_ID

#define SWITCH_MS 30000u

static const uint8_t prefix[8] = { 0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 1 };
static struct iotsec_addr own; /* the manager's, beyond any relay */
static struct iotsec_addr told; /* of the last MOVED */

static const uint8_t zeros[16];

static const struct iotsec_registry_access *durable(void)
{
    return &rig.durable.access;
}

static int setup_without(void **state)
{
    size_t i;

    setup(state);
    iotsec_manager_wipe(&rig.manager);
    rig.config.connection_id = IOTSEC_CONNECTION_ID_ON;
    for (i = 0; i < DEVICES; i++) {
        DEV(i)->config.connection_id = IOTSEC_CONNECTION_ID_ON;
        device_boot(DEV(i));
    }
    manager_start();
    memset(&own, 0, sizeof own);
    memcpy(own.ip, prefix, 8);
    own.ip[15] = 1;
    own.port = 5684;
    return 0;
}

static int setup_access(void **state)
{
    setup_without(state);
    assert_int_equal(iotsec_manager_access_set(&rig.manager, 0xABCD, prefix, &own), IOTSEC_OK);
    rig.event_count = 0;
    return 0;
}

static void join(size_t first, size_t count)
{
    size_t i;

    for (i = first; i < first + count; i++) {
        device_join(DEV(i), GROUP_A, 0);
    }
    run(5000);
    for (i = first; i < first + count; i++) {
        assert_int_not_equal(DEV(i)->session, 0);
    }
}

static size_t count_l2(uint32_t number, enum iotsec_status reason)
{
    size_t n = 0;
    size_t i;

    for (i = 0; i < rig.event_count; i++) {
        n += rig.events[i].kind == IOTSEC_MANAGER_L2_KEY && rig.events[i].key_number == number && rig.events[i].reason == reason;
    }
    return n;
}

/* ---- Joining ---- */

static void joins_with_access_first(void **state)
{
    (void)state;
    device_join(DEV(0), GROUP_A, 0);
    settle();
    assert_int_equal(DEV(0)->datagrams, 2);
    assert_int_equal(DEV(0)->access_at, 2); /* with Finished and the group's keys */
    assert_int_equal(DEV(0)->accesses, 1);
    assert_member(DEV(0), GROUP_A);
    assert_int_equal(DEV(0)->access.key_number, 1);
    assert_int_equal(DEV(0)->access.code, IOTSEC_KM_ACCESS_USE);
    assert_memory_equal(DEV(0)->access.secret, durable()->key, 16);
    assert_int_equal(DEV(0)->access.pan_id, 0xABCD);
    assert_int_equal(DEV(0)->access.short_address, 1);
    assert_memory_equal(DEV(0)->access.prefix, prefix, 8);
    assert_true(iotsec_addr_equal(&DEV(0)->access.addr, &own));
    /* before the group's keys: its message ID is the session's first */
    assert_int_equal(DEV(0)->access.message, 0);
    assert_int_equal(count_events(IOTSEC_MANAGER_ACCESS, 1), 1);
    assert_int_equal(last_event(IOTSEC_MANAGER_ACCESS)->key_number, 1);
    assert_int_equal(last_event(IOTSEC_MANAGER_DEVICE_JOINED)->relayed, 0);
    run(60000);
    assert_int_equal(DEV(0)->accesses, 1);
    assert_int_equal(count_events(IOTSEC_MANAGER_ACCESS, 1), 1);
}

static void short_addresses(void **state)
{
    static const struct {
        uint32_t device;
        uint16_t expected;
    } rows[] = {
        /*  1 */ { 1, 1 },
        /*  2 */ { 0xFFFD, 0xFFFD },
        /*  3 */ { 0xFFFE, IOTSEC_SHORT_ADDRESS_NONE },
        /*  4 */ { 0xFFFF, IOTSEC_SHORT_ADDRESS_NONE },
        /*  5 */ { 0x10001, IOTSEC_SHORT_ADDRESS_NONE },
    };
    struct iotsec_manager_delivery delivery;
    struct iotsec_km_message message;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        memset(&delivery, 0, sizeof delivery);
        delivery.device = rows[i].device;
        delivery.key_number = 3;
        iotsec_mgr_access_fill(&rig.manager, &delivery, &message);
        if (message.short_address != rows[i].expected) {
            fail_msg("row %zu: %x", i + 1, message.short_address);
        }
    }
}

static void refused_and_foreign_devices_get_none(void **state)
{
    (void)state;
    assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_OK);
    device_join(DEV(0), GROUP_A, 0);
    run(60000);
    assert_int_equal(DEV(0)->refused, 1);
    assert_int_equal(DEV(0)->accesses, 0);
    DEV(0)->mute = true; /* it stays, for a while */
    device_join(DEV(0), GROUP_A, 0);
    settle();
    assert_int_equal(iotsec_manager_access_set(&rig.manager, 1, prefix, &own), IOTSEC_OK);
    run(2000);
    assert_int_not_equal(DEV(0)->session, 0);
    assert_int_equal(DEV(0)->accesses, 0);
    DEV(1)->no_extension = true;
    device_join(DEV(1), 0, 0);
    run(60000);
    assert_int_equal(DEV(1)->accesses, 0);
}

static void failed_is_tried_again(void **state)
{
    (void)state;
    DEV(0)->access_result = IOTSEC_KM_FAILED;
    device_join(DEV(0), GROUP_A, 0);
    run(5000);
    assert_true(DEV(0)->accesses >= 3);
    assert_int_equal(count_events(IOTSEC_MANAGER_ACCESS, 1), 0);
    DEV(0)->access_result = IOTSEC_KM_NO_ROOM; /* means nothing here */
    run(5000);
    assert_int_equal(count_events(IOTSEC_MANAGER_ACCESS, 1), 0);
    DEV(0)->access_result = IOTSEC_KM_DONE;
    run(5000);
    assert_int_equal(count_events(IOTSEC_MANAGER_ACCESS, 1), 1);
    assert_int_equal(DEV(0)->l2_use, 1);
}

static void who_never_takes_it_becomes_silent(void **state)
{
    uint32_t accesses;

    (void)state;
    DEV(0)->access_result = IOTSEC_KM_FAILED;
    device_join(DEV(0), GROUP_A, 0);
    run(120000);
    assert_int_equal(count_events(IOTSEC_MANAGER_UNREACHABLE, 1), 1);
    accesses = DEV(0)->accesses;
    assert_int_equal(accesses, 32);
    run(120000);
    assert_int_equal(iotsec_manager_access_set(&rig.manager, 1, prefix, &own), IOTSEC_OK);
    run(1000);
    assert_int_equal(DEV(0)->accesses, accesses);
    DEV(0)->access_result = IOTSEC_KM_DONE;
    device_request(DEV(0), IOTSEC_KM_GROUP_LEAVE, GROUP_B, 0, 0, 0); /* it is heard again */
    run(1000);
    assert_int_equal(DEV(0)->l2_use, 1);
}

/* ---- A next key ---- */

enum action { EVICT, DOMAIN_LEAVE, LEAVE_OF_NO_MEMBER, GROUP_LEAVE, EXPEL, RENEW, RENEW_GROUP, EVICT_ABSENT, CLOSE };

static void act(enum action action)
{
    switch (action) {
    case EVICT:
        assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_OK);
        break;
    case DOMAIN_LEAVE:
    case LEAVE_OF_NO_MEMBER:
        device_request(DEV(0), IOTSEC_KM_DOMAIN_LEAVE, 0, 0, 0, 0);
        break;
    case GROUP_LEAVE:
        device_request(DEV(0), IOTSEC_KM_GROUP_LEAVE, GROUP_A, 0, 0, 0);
        break;
    case EXPEL:
        assert_int_equal(iotsec_manager_expel(&rig.manager, 1, GROUP_A), IOTSEC_OK);
        break;
    case RENEW:
        assert_int_equal(iotsec_manager_l2_renew(&rig.manager), IOTSEC_OK);
        break;
    case RENEW_GROUP:
        assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_A, 0), IOTSEC_OK);
        break;
    case EVICT_ABSENT:
        assert_int_equal(iotsec_manager_evict(&rig.manager, DEVICES), IOTSEC_OK);
        break;
    case CLOSE:
        (void)iotsec_dtls_close(&DEV(0)->dtls, DEV(0)->session, IOTSEC_ALERT_CLOSE_NOTIFY);
        (void)iotsec_dtls_flush(&DEV(0)->dtls);
        break;
    }
}

/* Device 1 acts or is acted upon; 2 and 3 stay. */
static void who_leaves_changes_the_key(void **state)
{
    static const struct {
        enum action action;
        bool member;       /* device 1 is in a group */
        uint32_t number;   /* in use in the end */
        uint32_t of_first; /* the newest that device 1 has heard of */
        enum iotsec_status reason;
        uint32_t commits;  /* of the action */
    } rows[] = {
        /*  1 */ { EVICT, true, 2, 1, IOTSEC_ERR_EVICTED, 1 },
        /*  2 */ { EVICT, false, 2, 1, IOTSEC_ERR_EVICTED, 1 },
        /*  3 */ { EVICT_ABSENT, true, 2, 2, IOTSEC_ERR_EVICTED, 1 },
        /*  4 */ { DOMAIN_LEAVE, true, 2, 1, IOTSEC_ERR_LEFT, 1 },
        /*  5 */ { LEAVE_OF_NO_MEMBER, false, 2, 1, IOTSEC_ERR_LEFT, 1 },
        /*  6 */ { GROUP_LEAVE, true, 1, 1, IOTSEC_OK, 1 },
        /*  7 */ { EXPEL, true, 1, 1, IOTSEC_OK, 1 },
        /*  8 */ { RENEW, true, 2, 2, IOTSEC_ERR_CANCELLED, 1 },
        /*  9 */ { RENEW_GROUP, true, 1, 1, IOTSEC_OK, 1 },
        /* 10 */ { CLOSE, true, 1, 1, IOTSEC_OK, 0 },
    };
    size_t i;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t commits;
        size_t d;

        print_message("row %zu\n", i + 1);
        teardown(state);
        setup_access(state);
        device_join(DEV(0), rows[i].member ? GROUP_A : 0, 0);
        join(1, 2);
        rig.event_count = 0;
        commits = rig.commits;
        act(rows[i].action);
        while (rig.queue_len != 0 && rig.commits == commits) {
            settle();
        }
        assert_int_equal(rig.commits - commits, rows[i].commits);
        run(SWITCH_MS / 2); /* everybody has it: not by time */
        assert_int_equal(durable()->number, rows[i].number);
        assert_int_equal(durable()->next_number, 0);
        assert_memory_equal(durable()->next_key, zeros, 16);
        assert_int_equal(DEV(0)->l2_newest, rows[i].of_first);
        for (d = 1; d < 3; d++) {
            assert_int_equal(DEV(d)->l2_use, rows[i].number);
            assert_int_equal(DEV(d)->accesses, rows[i].number == 1 ? 1 : 3); /* use 1, next 2, use 2 */
            assert_memory_equal(DEV(d)->access.secret, durable()->key, 16);
            /* one for each time it came to have all it is owed */
            assert_int_equal(count_events(IOTSEC_MANAGER_ACCESS, (uint32_t)d + 1), rows[i].number == 1 ? 0 : 2);
        }
        assert_int_equal(count_l2(2, rows[i].reason), rows[i].number - 1);
        assert_int_equal(count_l2(2, IOTSEC_OK), rows[i].number - 1);
        assert_int_equal(count_events(IOTSEC_MANAGER_L2_KEY, 0), 2 * (rows[i].number - 1));
    }
}

/* A device that has left gets no L2 key in the session that it left in, whatever it asks and whatever changes. */
static void a_leaver_gets_no_further_key(void **state)
{
    uint32_t commits;

    (void)state;
    join(0, 2);
    device_request(DEV(0), IOTSEC_KM_DOMAIN_LEAVE, 0, 0, 0, 0);
    run(1000);
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_DONE);
    assert_int_equal(durable()->number, 2);
    commits = rig.commits;
    device_request(DEV(0), IOTSEC_KM_DOMAIN_LEAVE, 0, 0, 0, 0); /* once more: changes nothing */
    run(1000);
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_DONE);
    assert_int_equal(rig.commits, commits);
    assert_int_equal(iotsec_manager_access_set(&rig.manager, 1, prefix, &own), IOTSEC_OK);
    assert_int_equal(iotsec_manager_l2_renew(&rig.manager), IOTSEC_OK);
    run(1000);
    assert_int_equal(DEV(1)->l2_use, 3); /* and it is not waited for */
    assert_int_equal(DEV(0)->accesses, 1);
    assert_int_equal(DEV(0)->l2_newest, 1);
    device_join(DEV(0), GROUP_A, 0); /* it may come back, as anybody */
    run(5000);
    assert_int_equal(DEV(0)->l2_use, 3);
}

static void an_evicted_device_gets_no_further_key(void **state)
{
    (void)state;
    join(1, 2);
    DEV(0)->access_result = IOTSEC_KM_FAILED; /* a delivery to it is under way */
    device_join(DEV(0), GROUP_A, 0);
    run(1000);
    rig.config.l2_switch_ms = 5000;
    assert_int_equal(iotsec_manager_l2_renew(&rig.manager), IOTSEC_OK);
    run(2000);
    assert_int_equal(durable()->next_number, 2); /* waits for it */
    DEV(0)->accesses = 0;
    DEV(0)->access_result = IOTSEC_KM_DONE;
    DEV(0)->mute = true;
    assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_OK);
    settle();
    assert_int_equal(durable()->next_number, 3);
    run(1000);
    assert_int_equal(durable()->number, 3); /* does not wait for it */
    run(120000);
    assert_true(DEV(0)->evicted > 0);
    assert_int_equal(DEV(0)->accesses, 0);
    assert_int_equal(DEV(1)->l2_use, 3);
    assert_int_equal(DEV(2)->l2_use, 3);
    DEV(0)->mute = false;
    device_join(DEV(0), GROUP_A, 0);
    run(60000);
    assert_int_equal(DEV(0)->accesses, 0);
}

/* Device 3 does not hear. When do the others use the next key? */
static void waits_for_all_or_for_time(void **state)
{
    static const struct {
        bool deaf;
        bool gone;          /* its session ends instead, after 10 s */
        bool silent;        /* it had been given up before */
        uint32_t switch_ms; /* configured */
        uint32_t before;    /* not used yet */
        uint32_t after;     /* used */
    } rows[] = {
        /*  1 */ { false, false, false, 0, 0, 100 },
        /*  2 */ { true, false, false, 0, 29900, 30100 },
        /*  3 */ { true, false, false, 2000, 1900, 2100 },
        /*  4 */ { true, true, false, 0, 9900, 10100 },
        /*  5 */ { true, false, true, 0, 0, 100 },
    };
    size_t i;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("row %zu\n", i + 1);
        teardown(state);
        setup_access(state);
        rig.config.l2_switch_ms = rows[i].switch_ms;
        join(0, 3);
        DEV(2)->deaf = rows[i].deaf;
        if (rows[i].silent) {
            assert_int_equal(iotsec_manager_access_set(&rig.manager, 1, prefix, &own), IOTSEC_OK);
            run(120000);
            assert_int_equal(count_events(IOTSEC_MANAGER_UNREACHABLE, 3), 1);
        }
        assert_int_equal(iotsec_manager_l2_renew(&rig.manager), IOTSEC_OK);
        if (rows[i].gone) {
            run(10000);
            (void)iotsec_dtls_close(&DEV(2)->dtls, DEV(2)->session, IOTSEC_ALERT_CLOSE_NOTIFY);
            (void)iotsec_dtls_flush(&DEV(2)->dtls);
        } else if (rows[i].before != 0) {
            run(rows[i].before);
        }
        if (rows[i].before != 0) {
            assert_int_equal(durable()->number, 1);
            assert_int_equal(DEV(0)->l2_newest, 2);
            assert_int_equal(DEV(0)->l2_use, 1);
        }
        run(rows[i].after - rows[i].before);
        assert_int_equal(durable()->number, 2);
        assert_int_equal(DEV(0)->l2_use, 2);
        /* whoever has missed it gets it as soon as it hears */
        if (rows[i].deaf && !rows[i].gone) {
            DEV(2)->deaf = false;
            device_request(DEV(2), IOTSEC_KM_GROUP_LEAVE, GROUP_B, 0, 0, 0);
            run(5000);
            assert_int_equal(DEV(2)->l2_use, 2);
        }
    }
}

/* Slot 0 becomes free and is taken again while the switch waits for slot 1: it waits for the newcomer, too. */
static void waits_for_a_newcomer(void **state)
{
    (void)state;
    join(0, 2);
    DEV(1)->access_result = IOTSEC_KM_FAILED;
    assert_int_equal(iotsec_manager_l2_renew(&rig.manager), IOTSEC_OK);
    run(1000);
    (void)iotsec_dtls_close(&DEV(0)->dtls, DEV(0)->session, IOTSEC_ALERT_CLOSE_NOTIFY);
    (void)iotsec_dtls_flush(&DEV(0)->dtls);
    run(1000);
    device_join(DEV(2), 0, 0);
    settle(); /* it has 1, and then it is offered 2 */
    assert_int_equal(DEV(2)->l2_use, 1);
    assert_int_equal(DEV(2)->l2_newest, 2);
    DEV(3)->access_result = IOTSEC_KM_FAILED;
    device_join(DEV(3), 0, 0);
    run(1000);
    DEV(1)->access_result = IOTSEC_KM_DONE;
    run(5000);
    assert_int_equal(durable()->number, 1);
    DEV(3)->access_result = IOTSEC_KM_DONE;
    run(5000);
    assert_int_equal(durable()->number, 2);
}

static void an_eviction_during_the_hand_out_replaces_it(void **state)
{
    uint8_t replaced[16];

    (void)state;
    join(0, 4);
    DEV(3)->deaf = true;
    assert_int_equal(iotsec_manager_l2_renew(&rig.manager), IOTSEC_OK);
    run(20000);
    assert_int_equal(durable()->next_number, 2);
    memcpy(replaced, durable()->next_key, 16);
    assert_int_equal(DEV(0)->l2_newest, 2);
    assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_OK);
    assert_int_equal(durable()->number, 1);
    assert_int_equal(durable()->next_number, 3);
    assert_memory_not_equal(durable()->next_key, replaced, 16);
    run(20000); /* the time counts from the newer one */
    assert_int_equal(durable()->number, 1);
    run(11000);
    assert_int_equal(durable()->number, 3);
    assert_int_equal(DEV(0)->l2_newest, 2);
    assert_int_equal(DEV(1)->l2_use, 3);
    assert_int_equal(DEV(2)->l2_use, 3);
    assert_int_equal(count_l2(2, IOTSEC_OK), 0);
    DEV(3)->deaf = false;
    run(5000);
    assert_int_equal(DEV(3)->l2_use, 3);
    assert_memory_equal(DEV(3)->access.secret, durable()->key, 16);
}

/* However often the next key is replaced, who never answers is given up: else one dead device, and others that come and go,
 * would keep a leaver's key in use for ever. */
static void replacing_it_wakes_nobody(void **state)
{
    uint32_t i;

    (void)state;
    join(0, 2);
    DEV(1)->deaf = true;
    for (i = 0; i < 4; i++) {
        assert_int_equal(iotsec_manager_l2_renew(&rig.manager), IOTSEC_OK);
        run(20000);
    }
    assert_int_equal(count_events(IOTSEC_MANAGER_UNREACHABLE, 2), 1);
    assert_true(durable()->number > 1);
}

static void who_has_no_session_gets_it_in_the_next(void **state)
{
    (void)state;
    join(0, 2);
    (void)iotsec_dtls_close(&DEV(1)->dtls, DEV(1)->session, IOTSEC_ALERT_CLOSE_NOTIFY);
    (void)iotsec_dtls_flush(&DEV(1)->dtls);
    run(100);
    assert_int_equal(iotsec_manager_l2_renew(&rig.manager), IOTSEC_OK);
    run(5000);
    assert_int_equal(durable()->number, 2);
    assert_int_equal(DEV(1)->l2_newest, 1);
    device_join(DEV(1), 0, 0);
    run(5000);
    assert_int_equal(DEV(1)->l2_use, 2);
    /* and while one is being handed out: the present one first, to use, then the next */
    DEV(0)->deaf = true;
    assert_int_equal(iotsec_manager_l2_renew(&rig.manager), IOTSEC_OK);
    run(1000);
    device_join(DEV(2), GROUP_A, 0);
    settle();
    assert_int_equal(DEV(2)->l2_use, 2);
    assert_int_equal(DEV(2)->l2_newest, 3);
    assert_int_equal(DEV(2)->accesses, 2);
    assert_int_equal(count_events(IOTSEC_MANAGER_ACCESS, 3), 1);
    assert_int_equal(last_event(IOTSEC_MANAGER_ACCESS)->key_number, 3);
}

static void the_pool_may_be_small(void **state)
{
    static const uint16_t rows[] = { /* 1 */ 1, /* 2 */ 2, /* 3 */ 5 };
    size_t i;
    size_t d;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("row %zu\n", i + 1);
        teardown(state);
        setup_access(state);
        rig.config.delivery_count = rows[i];
        restart();
        for (d = 0; d < 12; d++) {
            device_join(DEV(d), GROUP_A, 0);
        }
        run(20000);
        for (d = 0; d < 12; d++) {
            assert_int_equal(DEV(d)->l2_use, 1);
            assert_member(DEV(d), GROUP_A);
        }
        assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_OK);
        run(SWITCH_MS - 1000);
        assert_int_equal(durable()->number, 2);
        for (d = 1; d < 12; d++) {
            assert_int_equal(DEV(d)->l2_use, 2);
            assert_member(DEV(d), GROUP_A);
        }
        assert_int_equal(DEV(0)->l2_newest, 1);
    }
}

/* ---- The operator ---- */

static void changes_access_parameters(void **state)
{
    static const struct {
        uint8_t first;
        uint16_t port;
        bool no_prefix;
        bool no_addr;
        bool random_fails;
        enum iotsec_status expected;
    } rows[] = {
        /*  1 */ { 0xFF, 1, false, false, false, IOTSEC_ERR_ARGUMENT },
        /*  2 */ { 0xFD, 0, false, false, false, IOTSEC_ERR_ARGUMENT },
        /*  3 */ { 0xFD, 1, true, false, false, IOTSEC_ERR_ARGUMENT },
        /*  4 */ { 0xFD, 1, false, true, false, IOTSEC_ERR_ARGUMENT },
        /*  5 */ { 0xFD, 1, false, false, true, IOTSEC_ERR_RANDOM },
        /*  6 */ { 0xFD, 1, false, false, false, IOTSEC_OK },
    };
    const uint8_t *other = zeros;
    struct iotsec_addr addr;
    size_t i;

    (void)state;
    assert_int_equal(iotsec_manager_l2_renew(&rig.manager), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_manager_l2_renew(NULL), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_manager_access_set(NULL, 1, prefix, &own), IOTSEC_ERR_ARGUMENT);
    join(0, 1);
    assert_int_equal(DEV(0)->accesses, 0);
    device_request(DEV(0), IOTSEC_KM_DOMAIN_LEAVE, 0, 0, 0, 0);
    join(1, 2);
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("row %zu\n", i + 1);
        addr = own;
        addr.ip[0] = rows[i].first;
        addr.port = rows[i].port;
        addr.interface = 3;
        rig.random_fails = rows[i].random_fails;
        rig.event_count = 0;
        assert_int_equal(iotsec_manager_access_set(&rig.manager, 5, rows[i].no_prefix ? NULL : prefix, rows[i].no_addr ? NULL : &addr),
                         rows[i].expected);
        assert_int_equal(durable()->number, rows[i].expected == IOTSEC_OK);
        assert_int_equal(count_l2(1, IOTSEC_OK), rows[i].expected == IOTSEC_OK);
    }
    assert_int_equal(durable()->manager.interface, 0);
    run(1000);
    assert_int_equal(DEV(0)->accesses, 0); /* had left before there were any */
    assert_int_equal(DEV(1)->accesses, 1);
    assert_int_equal(DEV(1)->access.code, IOTSEC_KM_ACCESS_USE);
    assert_int_equal(DEV(1)->access.pan_id, 5);
    /* other parameters under the same key */
    assert_int_equal(iotsec_manager_access_set(&rig.manager, 6, other, &own), IOTSEC_OK);
    run(1000);
    assert_int_equal(durable()->number, 1);
    assert_int_equal(DEV(1)->accesses, 2);
    assert_int_equal(DEV(1)->access.key_number, 1);
    assert_int_equal(DEV(1)->access.code, IOTSEC_KM_ACCESS_USE);
    assert_int_equal(DEV(1)->access.pan_id, 6);
    assert_memory_equal(DEV(1)->access.prefix, other, 8);
    assert_int_equal(count_events(IOTSEC_MANAGER_ACCESS, 2), 2);
    assert_int_equal(count_events(IOTSEC_MANAGER_L2_KEY, 0), 1);
    /* and while a next key is handed out: under the newest that the device holds */
    DEV(2)->access_result = IOTSEC_KM_FAILED;
    assert_int_equal(iotsec_manager_l2_renew(&rig.manager), IOTSEC_OK);
    run(1000);
    assert_int_equal(iotsec_manager_access_set(&rig.manager, 7, other, &own), IOTSEC_OK);
    run(1000);
    assert_int_equal(DEV(1)->accesses, 4);
    assert_int_equal(DEV(1)->access.key_number, 2);
    assert_int_equal(DEV(1)->access.code, 0);
    assert_int_equal(DEV(1)->access.pan_id, 7);
    DEV(2)->access_result = IOTSEC_KM_DONE;
    run(10000);
    assert_int_equal(DEV(1)->l2_use, 2);
    assert_int_equal(DEV(2)->l2_use, 2);
    assert_int_equal(DEV(2)->access.pan_id, 7);
}

/* An acknowledgement of what was sent before a change shows nothing of the change. */
static void a_change_gets_a_new_message_id(void **state)
{
    uint8_t message;

    (void)state;
    DEV(0)->mute = true;
    device_join(DEV(0), 0, 0);
    settle();
    message = DEV(0)->access.message;
    assert_int_equal(iotsec_manager_access_set(&rig.manager, 6, prefix, &own), IOTSEC_OK);
    settle();
    assert_int_not_equal(DEV(0)->access.message, message);
    assert_int_equal(DEV(0)->access.pan_id, 6);
    DEV(0)->mute = false;
    device_acknowledge(DEV(0), message, IOTSEC_KM_DONE);
    settle();
    assert_int_equal(count_events(IOTSEC_MANAGER_ACCESS, 1), 0);
    device_acknowledge(DEV(0), DEV(0)->access.message, IOTSEC_KM_DONE);
    settle();
    assert_int_equal(count_events(IOTSEC_MANAGER_ACCESS, 1), 1);
}

static void a_registry_may_keep_none(void **state)
{
    struct iotsec_registry plain = registry;
    struct iotsec_registry half = registry;

    (void)state;
    plain.access = NULL;
    plain.put_access = NULL;
    half.access = NULL;
    iotsec_manager_wipe(&rig.manager);
    rig.config.registry = &half;
    assert_int_equal(iotsec_manager_init(&rig.manager, &rig.config), IOTSEC_ERR_ARGUMENT);
    rig.config.registry = &plain;
    manager_start();
    assert_int_equal(iotsec_manager_access_set(&rig.manager, 5, prefix, &own), IOTSEC_ERR_UNSUPPORTED);
    assert_int_equal(iotsec_manager_l2_renew(&rig.manager), IOTSEC_ERR_NOT_FOUND);
    join(0, 1);
    assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_OK);
    assert_int_equal(DEV(0)->accesses, 0);
    rig.config.registry = &registry;
}

static enum iotsec_status broken_access(void *user, struct iotsec_registry_access *access)
{
    (void)user;
    (void)access;
    return IOTSEC_ERR_REGISTRY;
}

static enum iotsec_status zero_access(void *user, struct iotsec_registry_access *access)
{
    (void)user;
    *access = rig.durable.access;
    access->number = 0;
    return IOTSEC_OK;
}

static void refuses_a_registry_that_contradicts_itself(void **state)
{
    static const struct {
        uint32_t number;
        uint32_t next_number;
        uint8_t first;
        uint16_t port;
        enum iotsec_status expected;
    } rows[] = {
        /*  1 */ { 1, 0, 0x20, 1, IOTSEC_OK },
        /*  2 */ { 1, 2, 0x20, 1, IOTSEC_OK },
        /*  3 */ { 7, 9, 0x20, 1, IOTSEC_OK },
        /*  4 */ { 1, 1, 0x20, 1, IOTSEC_ERR_REGISTRY },
        /*  5 */ { 2, 1, 0x20, 1, IOTSEC_ERR_REGISTRY },
        /*  6 */ { 1, 0, 0xFF, 1, IOTSEC_ERR_REGISTRY },
        /*  7 */ { 1, 0, 0x20, 0, IOTSEC_ERR_REGISTRY },
        /*  8 */ { 0x7FFFFFFF, 0, 0x20, 1, IOTSEC_OK },
        /*  9 */ { 0x80000000, 0, 0x20, 1, IOTSEC_ERR_REGISTRY },
        /* 10 */ { 1, 0x80000000, 0x20, 1, IOTSEC_ERR_REGISTRY },
    };
    struct iotsec_registry other = registry;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        iotsec_manager_wipe(&rig.manager);
        rig.durable.access.number = rows[i].number;
        rig.durable.access.next_number = rows[i].next_number;
        rig.durable.access.manager.ip[0] = rows[i].first;
        rig.durable.access.manager.port = rows[i].port;
        if (iotsec_manager_init(&rig.manager, &rig.config) != rows[i].expected) {
            fail_msg("row %zu", i + 1);
        }
    }
    iotsec_manager_wipe(&rig.manager);
    other.access = broken_access;
    rig.config.registry = &other;
    assert_int_equal(iotsec_manager_init(&rig.manager, &rig.config), IOTSEC_ERR_REGISTRY);
    rig.durable.access.next_number = 0;
    other.access = zero_access;
    assert_int_equal(iotsec_manager_init(&rig.manager, &rig.config), IOTSEC_ERR_REGISTRY);
    rig.config.registry = &registry;
}

static void numbers_run_out(void **state)
{
    (void)state;
    iotsec_manager_wipe(&rig.manager);
    rig.durable.access.number = 0x7FFFFFFD;
    manager_start();
    /* as if it had been put there */
    rig.log[rig.log_len - 1].key_number = 0x7FFFFFFD;
    join(0, 2);
    assert_int_equal(iotsec_manager_l2_renew(&rig.manager), IOTSEC_OK);
    run(2000);
    assert_int_equal(iotsec_manager_l2_renew(&rig.manager), IOTSEC_OK);
    run(2000);
    assert_int_equal(durable()->number, 0x7FFFFFFF);
    assert_int_equal(DEV(0)->l2_use, 0x7FFFFFFF);
    rig.event_count = 0;
    assert_int_equal(iotsec_manager_l2_renew(&rig.manager), IOTSEC_ERR_COUNTER);
    assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_ERR_COUNTER);
    assert_false(is_evicted(&rig.durable, 1));
    assert_int_equal(rig.event_count, 0);
}

/* ---- Failures and power ---- */

/* An operation of the registry fails: nothing has changed, nothing was sent, and it can be tried again. */
static void every_failing_operation_changes_nothing(void **state)
{
    static const struct {
        enum action action;
        uint32_t operations;
        bool poly; /* the domain has a polynomial */
    } rows[] = {
        /*  1 */ { EVICT, 6, false }, /* begin, put_group, delete_member, put_evicted, put_access, commit */
        /*  2 */ { RENEW, 3, false },
        /*  3 */ { DOMAIN_LEAVE, 5, false },
#if IOTSEC_PAIRWISE
        /*  4 */ { EVICT, 8, true }, /* and point, put_poly */
        /*  5 */ { DOMAIN_LEAVE, 5, true },
#endif
    };
    size_t i;
    uint32_t n;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (n = 1; n <= rows[i].operations; n++) {
            struct store before;
            uint32_t operations;

            teardown(state);
            setup_access(state);
            join(0, 2);
#if IOTSEC_PAIRWISE
            if (rows[i].poly) {
                assert_int_equal(iotsec_manager_poly_renew(&rig.manager, 3, 0), IOTSEC_OK);
            }
#endif
            rig.event_count = 0;
            before = rig.durable;
            operations = rig.operations;
            rig.fail_at = operations + n;
            if (rows[i].action == EVICT) {
                assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_ERR_REGISTRY);
            } else if (rows[i].action == RENEW) {
                assert_int_equal(iotsec_manager_l2_renew(&rig.manager), IOTSEC_ERR_REGISTRY);
            } else {
                act(rows[i].action);
            }
            settle();
            assert_int_equal(rig.operations, operations + n);
            assert_memory_equal(&rig.durable, &before, sizeof before);
            assert_int_equal(count_events(IOTSEC_MANAGER_L2_KEY, 0), 0);
#if IOTSEC_PAIRWISE
            assert_int_equal(rig.manager.poly.revoked_count, 0); /* whatever came after the mark failed */
#endif
            run(5000);
            assert_int_equal(DEV(0)->accesses, 1);
            assert_int_equal(DEV(1)->accesses, 1);
            if (rows[i].action == DOMAIN_LEAVE) {
                assert_int_equal(DEV(0)->answer, IOTSEC_KM_FAILED);
            }
            act(rows[i].action);
            run(5000);
            assert_int_equal(durable()->number, 2);
            assert_int_equal(DEV(1)->l2_use, 2);
            assert_int_equal(rig.durable.poly.revoked_count, rows[i].poly && rows[i].action == EVICT);
        }
    }
    /* and with no random numbers */
    teardown(state);
    setup_access(state);
    rig.random_fails = true;
    assert_int_equal(iotsec_manager_l2_renew(&rig.manager), IOTSEC_ERR_RANDOM);
    assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_ERR_RANDOM);
    assert_int_equal(durable()->next_number, 0);
    rig.random_fails = false;
}

static void a_switch_that_fails_is_tried_again(void **state)
{
    uint32_t n;

    for (n = 1; n <= 3; n++) { /* begin, put_access, commit */
        teardown(state);
        setup_access(state);
        join(0, 2);
        DEV(1)->access_result = IOTSEC_KM_FAILED;
        assert_int_equal(iotsec_manager_l2_renew(&rig.manager), IOTSEC_OK);
        run(1000);
        rig.fail_at = rig.operations + n;
        DEV(1)->access_result = IOTSEC_KM_DONE;
        while (rig.operations < rig.fail_at) {
            run(10);
        }
        assert_int_equal(durable()->number, 1);
        assert_int_equal(count_events(IOTSEC_MANAGER_KEYS_FAILED, 0), 1);
        run(900);
        assert_int_equal(rig.operations, rig.fail_at); /* after a while */
        assert_int_equal(DEV(0)->l2_use, 1);
        run(200);
        assert_int_equal(durable()->number, 2);
        assert_int_equal(DEV(0)->l2_use, 2);
        assert_int_equal(DEV(1)->l2_use, 2);
        assert_int_equal(count_l2(2, IOTSEC_OK), 1);
    }
}

static void a_hand_out_goes_on_after_a_restart(void **state)
{
    (void)state;
    join(0, 3);
    DEV(2)->deaf = true;
    assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_OK);
    run(5000);
    assert_int_equal(durable()->next_number, 2);
    restart();
    DEV(2)->deaf = false;
    device_join(DEV(1), 0, 0);
    run(1000);
    assert_int_equal(DEV(1)->l2_use, 1);
    assert_int_equal(DEV(1)->l2_newest, 2);
    run(SWITCH_MS - 2000); /* the others may come back */
    assert_int_equal(durable()->number, 1);
    run(2000);
    assert_int_equal(durable()->number, 2);
    assert_int_equal(DEV(1)->l2_use, 2);
    device_join(DEV(2), 0, 0);
    run(1000);
    assert_int_equal(DEV(2)->l2_use, 2);
    device_join(DEV(0), 0, 0);
    run(1000);
    assert_int_equal(DEV(0)->l2_newest, 1);
}

/* Power fails at the n-th commit from here on, before it or after it. False: there were fewer. */
static bool play_with_crash(void **state, uint32_t n, bool after)
{
    volatile size_t step;
    volatile bool crashed = false;
    size_t i;

    teardown(state);
    setup_access(state);
    join(0, 4);
    rig.crash_at = rig.commits + n;
    rig.crash_after = after;
    for (step = 0; step < 5; step++) {
        if (setjmp(rig.crash) == 0) {
            switch (step) {
            case 0:
                (void)iotsec_manager_l2_renew(&rig.manager);
                break;
            case 1:
                (void)iotsec_manager_evict(&rig.manager, 1);
                break;
            case 2:
                (void)iotsec_manager_access_set(&rig.manager, 3, prefix, &own);
                break;
            case 3:
                if (DEV(1)->session != 0) {
                    device_request(DEV(1), IOTSEC_KM_DOMAIN_LEAVE, 0, 0, 0, 0);
                }
                break;
            default:
                break;
            }
            run(100);
        } else {
            crashed = true;
            rig.crash_at = 0;
            restart();
            for (i = 0; i < 4; i++) {
                DEV(i)->session = 0;
                device_join(DEV(i), 0, 0);
            }
            run(2000);
            if (step == 1) {
                (void)iotsec_manager_evict(&rig.manager, 1); /* the operator saw no success */
            }
        }
    }
    rig.crash_at = 0;
    run(SWITCH_MS + 5000);
    assert_int_equal(durable()->next_number, 0);
    assert_true(durable()->number >= 2);
    assert_true(is_evicted(&rig.durable, 1));
    assert_true(DEV(0)->l2_newest < durable()->number);
    for (i = 2; i < 4; i++) {
        assert_int_equal(DEV(i)->l2_use, durable()->number);
        assert_memory_equal(DEV(i)->access.secret, durable()->key, 16);
    }
    return crashed;
}

static void survives_power_loss_around_every_commit(void **state)
{
    uint32_t n;
    int after;

    for (after = 0; after < 2; after++) {
        for (n = 1; play_with_crash(state, n, after != 0); n++) {
        }
        assert_true(n > 5);
    }
}

/* ---- The move ---- */

static void note_move(const struct iotsec_manager_event *event)
{
    if (event->kind == IOTSEC_MANAGER_MOVED) {
        assert_non_null(event->addr);
        told = *event->addr;
    }
}

/* Where a device's session is, to the manager. */
static struct iotsec_addr session_addr(uint32_t device)
{
    const struct iotsec_manager_contact *contact = iotsec_mgr_contact(&rig.manager, device);
    struct iotsec_addr addr;

    assert_non_null(contact);
    assert_int_equal(iotsec_dtls_peer(&rig.manager.dtls, contact->session, &addr, NULL), IOTSEC_OK);
    return addr;
}

static struct iotsec_addr place(uint8_t number)
{
    struct iotsec_addr addr = DEV(0)->addr;

    addr.ip[14] = number;
    return addr;
}

static void moves_when_it_is_asked_to(void **state)
{
    struct iotsec_addr there = place(1);
    struct iotsec_addr at;
    uint32_t datagrams;

    (void)state;
    rig.on_event = note_move;
    join(0, 2);
    DEV(0)->addr = there;
    device_request(DEV(0), IOTSEC_KM_MOVED, 0, 0, 0, 0);
    datagrams = DEV(0)->datagrams;
    settle();
    assert_int_equal(DEV(0)->path_checks, 1);
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_DONE);
    assert_int_equal(DEV(0)->answers, 1);
    assert_int_equal(DEV(0)->datagrams - datagrams, 2); /* the check, alone; the answer */
    at = session_addr(1);
    assert_true(iotsec_addr_equal(&at, &there));
    assert_int_equal(count_events(IOTSEC_MANAGER_MOVED, 1), 1);
    assert_true(iotsec_addr_equal(&told, &there));
    assert_int_equal(count_events(IOTSEC_MANAGER_DEVICE_JOINED, 1), 1); /* the same session */
    /* what is owed goes there; another MOVED is answered at once */
    assert_int_equal(iotsec_manager_l2_renew(&rig.manager), IOTSEC_OK);
    run(2000);
    assert_int_equal(DEV(0)->l2_use, 2);
    device_request(DEV(0), IOTSEC_KM_MOVED, 0, 0, 0, 0);
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_DONE);
    assert_int_equal(DEV(0)->path_checks, 1);
}

static void any_request_moves(void **state)
{
    struct iotsec_addr there = place(1);
    struct iotsec_addr at;
    const struct held *h;

    (void)state;
    join(0, 1);
    h = find_held(DEV(0), GROUP_A);
    DEV(0)->addr = there;
    device_request(DEV(0), IOTSEC_KM_STATUS, GROUP_A, h->key_number, h->sender_id, 0);
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_DONE); /* there, and at once */
    assert_int_equal(DEV(0)->answers, 1);
    assert_int_equal(DEV(0)->path_checks, 1);
    at = session_addr(1);
    assert_true(iotsec_addr_equal(&at, &there));
}

static void deaf_places_take_nothing(void **state)
{
    struct iotsec_addr here = place(0);
    struct iotsec_addr at;
    uint32_t i;

    (void)state;
    join(0, 2);
    /* requests from where it does not hear; what it is owed goes to the old place all the time */
    DEV(0)->also = here;
    DEV(0)->addr = place(1);
    DEV(0)->path_mute = true;
    device_request(DEV(0), IOTSEC_KM_MOVED, 0, 0, 0, 0);
    settle();
    assert_int_equal(iotsec_manager_l2_renew(&rig.manager), IOTSEC_OK);
    for (i = 0; i < rig.queue_len; i++) {
        assert_int_equal(rig.queue[i].to.ip[14], 0);
    }
    run(2000);
    assert_int_equal(DEV(0)->l2_newest, 2);
    at = session_addr(1);
    assert_true(iotsec_addr_equal(&at, &here));
    /* it goes back, and its MOVED is answered there, as one that is where the session is */
    DEV(0)->addr = here;
    DEV(0)->next_id--;
    device_request(DEV(0), IOTSEC_KM_MOVED, 0, 0, 0, 0);
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_DONE);
    assert_int_equal(count_events(IOTSEC_MANAGER_MOVED, 0), 0);
}

/* A lost check, a lost answer: the request is repeated, and one ID does for all copies. */
static void a_move_survives_losses(void **state)
{
    uint8_t id;

    (void)state;
    join(0, 1);
    DEV(0)->addr = place(1);
    DEV(0)->path_mute = true;
    device_request(DEV(0), IOTSEC_KM_MOVED, 0, 0, 0, 0);
    settle();
    id = DEV(0)->path_id;
    DEV(0)->next_id--;
    device_request(DEV(0), IOTSEC_KM_MOVED, 0, 0, 0, 0);
    settle();
    assert_int_equal(DEV(0)->path_checks, 2);
    assert_int_equal(DEV(0)->path_id, id);
    device_acknowledge(DEV(0), id, IOTSEC_KM_DONE);
    assert_int_equal(rig.queue_len, 1);
    (void)iotsec_manager_input(&rig.manager, &rig.queue[0].from, rig.queue[0].data, rig.queue[0].len);
    assert_int_equal(count_events(IOTSEC_MANAGER_MOVED, 1), 1);
    rig.queue_len = 0; /* with the answer */
    (void)iotsec_manager_poll(&rig.manager);
    rig.queue_len = 0;
    assert_int_equal(DEV(0)->answer, -1);
    DEV(0)->next_id--;
    device_request(DEV(0), IOTSEC_KM_MOVED, 0, 0, 0, 0);
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_DONE);
    assert_int_equal(DEV(0)->path_checks, 2);
    assert_int_equal(count_events(IOTSEC_MANAGER_MOVED, 1), 1);
}

/* A MOVED that a later request has overtaken gets no answer any more; the later one has got its own. */
static void a_later_request_takes_the_place_of_moved(void **state)
{
    (void)state;
    join(0, 1);
    DEV(0)->addr = place(1);
    DEV(0)->path_mute = true;
    device_request(DEV(0), IOTSEC_KM_MOVED, 0, 0, 0, 0);
    device_request(DEV(0), IOTSEC_KM_GROUP_LEAVE, GROUP_B, 0, 0, 0);
    settle();
    assert_int_equal(DEV(0)->answers, 1);
    device_acknowledge(DEV(0), DEV(0)->path_id, IOTSEC_KM_DONE);
    settle();
    assert_int_equal(count_events(IOTSEC_MANAGER_MOVED, 1), 1);
    assert_int_equal(DEV(0)->answers, 1);
}

/* A MOVED from elsewhere that a newer record has overtaken is no candidate, and its answer would go to the old place: none
 * goes, or the device would believe that it has moved. Its repeat counts. */
static void an_overtaken_moved_gets_no_answer(void **state)
{
    static struct packet moved;
    struct iotsec_addr at;
    uint32_t round;

    (void)state;
    join(0, 1);
    DEV(0)->also = place(0);
    for (round = 0; round < 3; round++) { /* as a first request, as a later one, and as a copy of one that was answered */
        struct iotsec_addr there = place((uint8_t)(1 + round));

        DEV(0)->addr = there;
        DEV(0)->next_id = (uint8_t)(DEV(0)->next_id - (round == 2));
        device_request(DEV(0), IOTSEC_KM_MOVED, 0, 0, 0, 0);
        moved = rig.queue[0];
        rig.queue_len = 0;
        device_acknowledge(DEV(0), 0x77, IOTSEC_KM_DONE); /* newer, and of no use */
        settle();
        rig.queue[rig.queue_len++] = moved;
        settle();
        assert_int_equal(DEV(0)->answer, -1);
        assert_int_equal(DEV(0)->path_checks, round);
        at = session_addr(1);
        assert_false(iotsec_addr_equal(&at, &there));
        DEV(0)->next_id--;
        DEV(0)->path_mute = true;
        device_request(DEV(0), IOTSEC_KM_MOVED, 0, 0, 0, 0);
        settle();
        assert_int_equal(DEV(0)->path_checks, round + 1);
        assert_int_equal(DEV(0)->answer, -1); /* not before the check has come back */
        DEV(0)->path_mute = false;
        device_acknowledge(DEV(0), DEV(0)->path_id, IOTSEC_KM_DONE);
        settle();
        assert_int_equal(DEV(0)->answer, IOTSEC_KM_DONE);
        at = session_addr(1);
        assert_true(iotsec_addr_equal(&at, &there));
        DEV(0)->also = there;
    }
}

/* What one more device with one group costs a manager: the target. */
static void a_device_takes_no_more_than_256_bytes(void **state)
{
    (void)state;
    if (IOTSEC_CID_MAX <= 8) {
        assert_in_range(sizeof(struct iotsec_dtls_session) + sizeof(struct iotsec_manager_contact) +
                            sizeof(struct iotsec_manager_member), 1, 256);
    }
}

enum twist { PLAIN, OVERTAKEN, TAKEN, OTHER_CHECKED, REPLAYED };

/* Device 1 has asked from place 1, and knows the check's ID. What moves it? */
static void a_path_check_confirms_its_own_path(void **state)
{
    static const struct {
        uint8_t from;      /* the place that the acknowledgement comes from */
        uint8_t id;        /* off by so much */
        uint8_t result;
        enum twist twist;
        uint8_t expected;  /* where the session is then */
    } rows[] = {
        /*  1 */ { 1, 0, IOTSEC_KM_DONE, PLAIN, 1 },
        /*  2 */ { 1, 1, IOTSEC_KM_DONE, PLAIN, 0 },
        /*  3 */ { 1, 255, IOTSEC_KM_DONE, PLAIN, 0 }, /* the group's keys: that went to place 0 */
        /*  4 */ { 1, 0, IOTSEC_KM_FAILED, PLAIN, 0 },
        /*  5 */ { 2, 0, IOTSEC_KM_DONE, PLAIN, 0 }, /* somebody else sent it on */
        /*  6 */ { 0, 0, IOTSEC_KM_DONE, PLAIN, 0 },
        /*  7 */ { 1, 0, IOTSEC_KM_DONE, OVERTAKEN, 0 }, /* by a record from place 0: there it is now */
        /*  8 */ { 1, 0, IOTSEC_KM_DONE, TAKEN, 0 }, /* another session has place 1 */
        /*  9 */ { 1, 0, IOTSEC_KM_DONE, OTHER_CHECKED, 0 }, /* place 2 has been checked since, under another ID */
        /* 10 */ { 2, 0, IOTSEC_KM_DONE, OTHER_CHECKED, 0 }, /* and place 1's ID shows nothing there */
        /* 11 */ { 2, 1, IOTSEC_KM_DONE, OTHER_CHECKED, 2 },
        /* 12 */ { 1, 1, IOTSEC_KM_DONE, OTHER_CHECKED, 0 },
        /* 13 */ { 1, 0, IOTSEC_KM_DONE, REPLAYED, 1 }, /* and copies of it from elsewhere leave it there */
    };
    static struct packet ack;
    size_t i;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct iotsec_addr at;
        uint8_t id;

        teardown(state);
        setup_access(state);
        join(0, 1);
        DEV(0)->path_mute = true;
        DEV(0)->addr = place(1);
        if (rows[i].twist == TAKEN) {
            DEV(1)->addr = place(1);
            device_join(DEV(1), 0, 0);
            while (rig.queue_len != 0) { /* both answer to place 1: keep device 2's to itself */
                DEV(0)->addr = place(9);
                settle();
            }
            assert_int_not_equal(DEV(1)->session, 0);
            DEV(1)->addr = place(8);
            DEV(0)->addr = place(1);
        }
        device_request(DEV(0), IOTSEC_KM_MOVED, 0, 0, 0, 0);
        settle();
        id = DEV(0)->path_id;
        assert_int_equal(DEV(0)->path_checks, 1);
        if (rows[i].twist == OTHER_CHECKED) {
            DEV(0)->addr = place(2);
            DEV(0)->next_id--;
            device_request(DEV(0), IOTSEC_KM_MOVED, 0, 0, 0, 0);
            settle();
            assert_int_equal(DEV(0)->path_checks, 2);
            assert_int_equal(DEV(0)->path_id, (uint8_t)(id + 1));
        }
        DEV(0)->addr = place(rows[i].from);
        device_acknowledge(DEV(0), (uint8_t)(id + rows[i].id), rows[i].result);
        assert_int_equal(rig.queue_len, 1);
        ack = rig.queue[0];
        if (rows[i].twist == OVERTAKEN) {
            rig.queue_len = 0;
            DEV(0)->addr = place(0);
            device_request(DEV(0), IOTSEC_KM_GROUP_LEAVE, GROUP_B, 0, 0, 0);
            settle();
            rig.queue[rig.queue_len++] = ack;
        }
        settle();
        if (rows[i].twist == REPLAYED) {
            struct packet copy = ack;

            copy.from = place(2);
            rig.queue[rig.queue_len++] = copy;
            settle();
            device_request(DEV(0), IOTSEC_KM_GROUP_LEAVE, GROUP_B, 0, 0, 0);
            copy = rig.queue[0]; /* a newer record, but no request's answer confirms anything */
            copy.from = place(2);
            rig.queue[0] = copy;
            settle();
        }
        at = session_addr(1);
        if (at.ip[14] != rows[i].expected) {
            fail_msg("row %zu: at %u", i + 1, at.ip[14]);
        }
        if (count_events(IOTSEC_MANAGER_MOVED, 1) != (rows[i].expected != 0)) {
            fail_msg("row %zu: told", i + 1);
        }
        if (rows[i].expected == 0 && rows[i].twist != OVERTAKEN && DEV(0)->answer != -1) {
            fail_msg("row %zu: answered %d", i + 1, DEV(0)->answer);
        }
    }
}

/* Message IDs come round: the ACK of a later delivery with a path check's ID shows nothing of its path. */
static void a_spent_id_confirms_nothing(void **state)
{
    struct iotsec_addr at;
    uint32_t i;
    uint8_t id;

    (void)state;
    join(0, 1);
    DEV(0)->also = place(0);
    DEV(0)->path_mute = true;
    DEV(0)->addr = place(1);
    device_request(DEV(0), IOTSEC_KM_MOVED, 0, 0, 0, 0);
    settle();
    id = DEV(0)->path_id;
    DEV(0)->addr = place(0);
    for (i = 0; i < 255; i++) {
        assert_int_equal(iotsec_manager_access_set(&rig.manager, (uint16_t)i, prefix, &own), IOTSEC_OK);
        run(10);
    }
    assert_int_equal(DEV(0)->access.message, (uint8_t)(id - 1));
    DEV(0)->addr = place(1);
    assert_int_equal(iotsec_manager_access_set(&rig.manager, 0, prefix, &own), IOTSEC_OK);
    run(10);
    assert_int_equal(DEV(0)->access.message, id);
    at = session_addr(1);
    assert_int_equal(at.ip[14], 0);
}

/* Who must not be in the domain gets no path check either; its acknowledgement of that counts from anywhere. */
static void the_evicted_do_not_move(void **state)
{
    (void)state;
    join(0, 1);
    DEV(0)->mute = true;
    assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_OK);
    settle();
    DEV(0)->addr = place(1);
    device_request(DEV(0), IOTSEC_KM_MOVED, 0, 0, 0, 0);
    settle();
    assert_int_equal(DEV(0)->path_checks, 0);
    assert_int_equal(rig.manager.stats.drops[IOTSEC_DROP_NOT_ALLOWED], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(joins_with_access_first, setup_access, teardown),
        cmocka_unit_test_setup_teardown(short_addresses, setup_access, teardown),
        cmocka_unit_test_setup_teardown(refused_and_foreign_devices_get_none, setup_access, teardown),
        cmocka_unit_test_setup_teardown(failed_is_tried_again, setup_access, teardown),
        cmocka_unit_test_setup_teardown(who_never_takes_it_becomes_silent, setup_access, teardown),
        cmocka_unit_test_setup_teardown(who_leaves_changes_the_key, setup_access, teardown),
        cmocka_unit_test_setup_teardown(a_leaver_gets_no_further_key, setup_access, teardown),
        cmocka_unit_test_setup_teardown(an_evicted_device_gets_no_further_key, setup_access, teardown),
        cmocka_unit_test_setup_teardown(waits_for_all_or_for_time, setup_access, teardown),
        cmocka_unit_test_setup_teardown(waits_for_a_newcomer, setup_access, teardown),
        cmocka_unit_test_setup_teardown(an_eviction_during_the_hand_out_replaces_it, setup_access, teardown),
        cmocka_unit_test_setup_teardown(replacing_it_wakes_nobody, setup_access, teardown),
        cmocka_unit_test_setup_teardown(who_has_no_session_gets_it_in_the_next, setup_access, teardown),
        cmocka_unit_test_setup_teardown(the_pool_may_be_small, setup_access, teardown),
        cmocka_unit_test_setup_teardown(changes_access_parameters, setup_without, teardown),
        cmocka_unit_test_setup_teardown(a_change_gets_a_new_message_id, setup_access, teardown),
        cmocka_unit_test_setup_teardown(a_registry_may_keep_none, setup_access, teardown),
        cmocka_unit_test_setup_teardown(refuses_a_registry_that_contradicts_itself, setup_access, teardown),
        cmocka_unit_test_setup_teardown(numbers_run_out, setup_access, teardown),
        cmocka_unit_test_setup_teardown(every_failing_operation_changes_nothing, setup_access, teardown),
        cmocka_unit_test_setup_teardown(a_switch_that_fails_is_tried_again, setup_access, teardown),
        cmocka_unit_test_setup_teardown(a_hand_out_goes_on_after_a_restart, setup_access, teardown),
        cmocka_unit_test_setup_teardown(survives_power_loss_around_every_commit, setup_access, teardown),
        cmocka_unit_test_setup_teardown(moves_when_it_is_asked_to, setup_access, teardown),
        cmocka_unit_test_setup_teardown(any_request_moves, setup_access, teardown),
        cmocka_unit_test_setup_teardown(deaf_places_take_nothing, setup_access, teardown),
        cmocka_unit_test_setup_teardown(a_move_survives_losses, setup_access, teardown),
        cmocka_unit_test_setup_teardown(a_later_request_takes_the_place_of_moved, setup_access, teardown),
        cmocka_unit_test_setup_teardown(an_overtaken_moved_gets_no_answer, setup_access, teardown),
        cmocka_unit_test(a_device_takes_no_more_than_256_bytes),
        cmocka_unit_test_setup_teardown(a_path_check_confirms_its_own_path, setup_access, teardown),
        cmocka_unit_test_setup_teardown(a_spent_id_confirms_nothing, setup_access, teardown),
        cmocka_unit_test_setup_teardown(the_evicted_do_not_move, setup_access, teardown),
    };

    return cmocka_run_group_tests_name("manager_access", tests, NULL, NULL);
}

#else

int main(void)
{
    return 0;
}

#endif
