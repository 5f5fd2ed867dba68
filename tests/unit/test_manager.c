/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The domain manager: joins, requests, steps and generations, leaving, and what survives a crash.
 */
#include "access/manager_state.h"
#include "manager_rig.h"

/* ---- Joining ---- */

static void joins_with_keys_in_the_last_flight(void **state)
{
    uint32_t before = key_number(GROUP_A);

    (void)state;
    device_join(DEV(0), GROUP_A, GROUP_B);
    settle();
    assert_member(DEV(0), GROUP_A);
    assert_member(DEV(0), GROUP_B);
    /* ServerHello..Done, Finished with both keys, nothing else */
    assert_int_equal(DEV(0)->datagrams, 2);
    assert_int_equal(key_number(GROUP_A), before + 1);
    assert_int_equal(find_held(DEV(0), GROUP_A)->sender_id, 1);
    assert_int_equal(count_events(IOTSEC_MANAGER_DEVICE_JOINED, 1), 1);
    assert_int_equal(count_events(IOTSEC_MANAGER_MEMBER_JOINED, 1), 2);
    assert_int_equal(count_events(IOTSEC_MANAGER_GROUP_KEY, 0), 2);
    assert_int_equal(last_event(IOTSEC_MANAGER_GROUP_KEY)->reason, IOTSEC_OK);
    /* two groups, one transaction (and two that made the groups) */
    assert_int_equal(rig.commits, 3);
    assert_int_equal(rig.manager.deliveries_used, 0);
    run(60000);
    assert_int_equal(DEV(0)->received, 4);
    /* nothing stays of what was staged */
    assert_memory_equal(&rig.groups[0].staged, &(struct iotsec_registry_group){ 0 }, sizeof rig.groups[0].staged);
    assert_memory_equal(&rig.deliveries[0], &(struct iotsec_manager_delivery){ 0 }, sizeof rig.deliveries[0]);
}

static void joins_within_an_interval_share_a_step(void **state)
{
    uint32_t before = key_number(GROUP_A);
    size_t i;

    (void)state;
    device_join(DEV(0), GROUP_A, 0);
    settle();
    assert_int_equal(key_number(GROUP_A), before + 1);
    for (i = 1; i < 9; i++) {
        run(50);
        device_join(DEV(i), GROUP_A, 0);
        settle();
        assert_null(find_held(DEV(i), GROUP_A));
    }
    run(500);
    assert_int_equal(key_number(GROUP_A), before + 1);
    run(101);
    assert_int_equal(key_number(GROUP_A), before + 2);
    for (i = 1; i < 9; i++) {
        assert_int_equal(find_held(DEV(i), GROUP_A)->key_number, before + 2);
        assert_member(DEV(i), GROUP_A);
    }
    /* a step of the first joiner alone: the others follow by the ratchet */
    assert_int_equal(find_held(DEV(0), GROUP_A)->pairs, 1);
    /* the interval is over: at once */
    run(1000);
    device_join(DEV(9), GROUP_A, 0);
    settle();
    assert_int_equal(key_number(GROUP_A), before + 3);
}

static void the_interval_doubles(void **state)
{
    static const struct {
        uint8_t step; /* before the first join */
        uint32_t interval;
    } rows[] = {
        /* 1 */ { 0, 1000 }, { 62, 1000 }, { 63, 2000 }, { 126, 2000 },
        /* 5 */ { 127, 4000 }, { 190, 4000 }, { 191, 8000 }, { 253, 8000 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t base = 0x100u;

        teardown(NULL);
        setup(NULL);
        find_row(&rig.durable, GROUP_A)->key_number = base + rows[i].step;
        restart();
        device_join(DEV(0), GROUP_A, 0);
        settle();
        assert_int_equal(key_number(GROUP_A), base + rows[i].step + 1);
        device_join(DEV(1), GROUP_A, 0);
        run(rows[i].interval - 1);
        if (key_number(GROUP_A) != base + rows[i].step + 1) {
            fail_msg("row %zu: early", i + 1);
        }
        run(1);
        if (key_number(GROUP_A) != base + rows[i].step + 2) {
            fail_msg("row %zu: late", i + 1);
        }
    }
}

static void requests_inside_the_session(void **state)
{
    (void)state;
    device_join(DEV(0), 0, 0);
    settle();
    assert_int_equal(count_events(IOTSEC_MANAGER_DEVICE_JOINED, 1), 1);
    assert_int_equal(DEV(0)->received, 0);
    device_request(DEV(0), IOTSEC_KM_GROUP_REQUEST, GROUP_B, 0, 0, 0);
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_KEYS_FOLLOW);
    assert_member(DEV(0), GROUP_B);
}

static void refuses(void **state)
{
    static const struct {
        uint16_t group_id;
        uint16_t forbidden;
        uint16_t members;
        uint8_t code;
        enum iotsec_status reason;
    } rows[] = {
        /* 1 */ { 99, 0, MEMBERS, IOTSEC_KM_REASON_GROUP, IOTSEC_ERR_GROUP_REFUSED },
        /* 2 */ { GROUP_A, GROUP_A, MEMBERS, IOTSEC_KM_REASON_GROUP, IOTSEC_ERR_GROUP_REFUSED },
        /* 3 */ { GROUP_A, 0, 0, IOTSEC_KM_REASON_RESOURCES, IOTSEC_ERR_RESOURCES },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t commits = rig.commits;

        teardown(NULL);
        setup(NULL);
        rig.forbidden = rows[i].forbidden;
        rig.config.member_count = rows[i].members;
        restart();
        device_join(DEV(0), rows[i].group_id, 0);
        settle();
        assert_int_equal(DEV(0)->refused, 1);
        assert_int_equal(DEV(0)->refused_group, rows[i].group_id);
        assert_int_equal(DEV(0)->refused_code, rows[i].code);
        assert_int_equal(last_event(IOTSEC_MANAGER_MEMBER_REFUSED)->reason, rows[i].reason);
        run(60000);
        assert_int_equal(DEV(0)->refused, 1);
        assert_true(DEV(0)->session != 0);
        /* inside the session too */
        device_request(DEV(0), IOTSEC_KM_GROUP_REQUEST, rows[i].group_id, 0, 0, 0);
        settle();
        assert_int_equal(DEV(0)->refused, 2);
        if (i != 0) {
            assert_int_equal(rig.commits, commits);
        }
    }
}

static void refuses_who_is_not_authorised(void **state)
{
    (void)state;
    rig.durable.evicted[rig.durable.evicted_count++] = 1;
    device_join(DEV(0), GROUP_A, 0);
    settle();
    assert_int_equal(DEV(0)->refused, 1);
    assert_int_equal(DEV(0)->refused_group, 0);
    assert_int_equal(DEV(0)->refused_code, IOTSEC_KM_REASON_NOT_AUTHORISED);
    assert_int_equal(DEV(0)->closed, IOTSEC_ERR_ALERT);
    assert_int_equal(last_event(IOTSEC_MANAGER_JOIN_FAILED)->reason, IOTSEC_ERR_NOT_AUTHORISED);
    assert_int_equal(count_events(IOTSEC_MANAGER_DEVICE_JOINED, 0), 0);
    assert_int_equal(count_events(IOTSEC_MANAGER_DEVICE_GONE, 0), 0);
    /* the refusal is repeated until it is acknowledged, then the session is closed all the same */
    DEV(0)->mute = true;
    device_join(DEV(0), GROUP_A, 0);
    run(2000);
    assert_true(DEV(0)->refused > 3);
    assert_true(DEV(0)->session != 0);
    device_request(DEV(0), IOTSEC_KM_GROUP_REQUEST, GROUP_A, 0, 0, 0);
    settle();
    assert_int_equal(rig.manager.stats.drops[IOTSEC_DROP_NOT_ALLOWED], 1);
    run(120000);
    assert_int_equal(DEV(0)->session, 0);
    assert_int_equal(DEV(0)->held_count, 0);
    assert_int_equal(rig.manager.dtls.sessions_used, 0);
}

static void refuses_who_speaks_no_key_management(void **state)
{
    (void)state;
    DEV(0)->no_extension = true;
    device_join(DEV(0), 0, 0);
    settle();
    assert_int_equal(DEV(0)->session, 0);
    assert_int_equal(last_event(IOTSEC_MANAGER_JOIN_FAILED)->reason, IOTSEC_ERR_NO_KEY_MANAGEMENT);
    assert_int_equal(last_event(IOTSEC_MANAGER_JOIN_FAILED)->device, 1);
    assert_int_equal(rig.manager.dtls.sessions_used, 0);
}

static void names_a_wrong_psk(void **state)
{
    (void)state;
    DEV(0)->psk[0] ^= 1;
    device_join(DEV(0), GROUP_A, 0);
    run(1000);
    assert_int_equal(rig.events[0].kind, IOTSEC_MANAGER_JOIN_FAILED);
    assert_int_equal(rig.events[0].reason, IOTSEC_ERR_WRONG_PSK);
    assert_int_equal(rig.events[0].device, 1);
    iotsec_put_u32(DEV(1)->identity, 500);
    device_join(DEV(1), GROUP_A, 0);
    run(200); /* before the first one tries again */
    assert_int_equal(last_event(IOTSEC_MANAGER_JOIN_FAILED)->reason, IOTSEC_ERR_UNKNOWN_IDENTITY);
    assert_int_equal(last_event(IOTSEC_MANAGER_JOIN_FAILED)->device, 0);
}

static void psk_may_come_later(void **state)
{
    struct iotsec_dtls_psk psk;

    (void)state;
    rig.psk_pending = true;
    device_join(DEV(0), GROUP_A, 0);
    settle();
    assert_int_equal(rig.pending_device, 1);
    memset(&psk, 0, sizeof psk);
    memset(psk.key, 1, 16);
    psk.len = 16;
    assert_int_equal(iotsec_manager_psk_complete(&rig.manager, rig.pending, IOTSEC_OK, &psk), IOTSEC_ERR_ARGUMENT);
    psk.peer = 1;
    run(1000);
    assert_null(find_held(DEV(0), GROUP_A));
    assert_int_equal(iotsec_manager_psk_complete(&rig.manager, rig.pending, IOTSEC_OK, &psk), IOTSEC_OK);
    run(2000);
    assert_member(DEV(0), GROUP_A);
    assert_int_equal(iotsec_manager_psk_complete(&rig.manager, rig.pending, IOTSEC_OK, &psk), IOTSEC_ERR_NOT_FOUND);
}

static void contacts_are_bounded(void **state)
{
    (void)state;
    rig.config.contact_count = 2;
    restart();
    device_join(DEV(0), GROUP_A, 0);
    device_join(DEV(1), GROUP_A, 0);
    device_join(DEV(2), GROUP_A, 0);
    settle();
    assert_int_equal(count_events(IOTSEC_MANAGER_DEVICE_JOINED, 0), 2);
    assert_int_equal(last_event(IOTSEC_MANAGER_JOIN_FAILED)->reason, IOTSEC_ERR_RESOURCES);
    assert_int_equal(DEV(2)->session, 0);
    assert_int_equal(DEV(2)->refused, 1);
    assert_int_equal(DEV(2)->refused_group, 0);
    assert_int_equal(DEV(2)->refused_code, IOTSEC_KM_REASON_RESOURCES);
    assert_int_equal(rig.manager.dtls.sessions_used, 2);
    /* one goes, another comes */
    assert_int_equal(iotsec_dtls_close(&DEV(0)->dtls, DEV(0)->session, IOTSEC_ALERT_CLOSE_NOTIFY), IOTSEC_OK);
    (void)iotsec_dtls_flush(&DEV(0)->dtls);
    settle();
    assert_int_equal(last_event(IOTSEC_MANAGER_DEVICE_GONE)->reason, IOTSEC_ERR_CLOSED);
    assert_int_equal(last_event(IOTSEC_MANAGER_DEVICE_GONE)->device, 1);
    device_join(DEV(2), GROUP_A, 0);
    run(2000);
    assert_member(DEV(2), GROUP_A);
}

static void idle_sessions_make_room(void **state)
{
    (void)state;
    rig.config.contact_count = 1;
    rig.config.idle_timeout_ms = 5000;
    restart();
    device_join(DEV(0), GROUP_A, 0);
    run(4000);
    assert_int_equal(rig.manager.dtls.sessions_used, 1);
    run(2000);
    assert_int_equal(last_event(IOTSEC_MANAGER_DEVICE_GONE)->reason, IOTSEC_ERR_TIMEOUT);
    device_join(DEV(1), GROUP_A, 0);
    settle();
    assert_member(DEV(1), GROUP_A);
}

static void a_join_anew_gets_a_fresh_sender_id(void **state)
{
    uint32_t before;
    uint16_t port;

    (void)state;
    device_join(DEV(0), GROUP_A, 0);
    run(2000);
    before = key_number(GROUP_A);
    assert_int_equal(find_held(DEV(0), GROUP_A)->sender_id, 1);
    /* from another address: the older session goes */
    device_boot(DEV(0));
    port = DEV(0)->addr.port++;
    device_join(DEV(0), GROUP_A, 0);
    settle();
    assert_int_not_equal(port, DEV(0)->addr.port);
    assert_int_equal(rig.manager.dtls.sessions_used, 1);
    assert_int_equal(find_held(DEV(0), GROUP_A)->sender_id, 2);
    assert_int_equal(key_number(GROUP_A), before + 1);
    assert_int_equal(rig.durable.member_count, 1);
    /* from the same one */
    device_boot(DEV(0));
    device_join(DEV(0), GROUP_A, 0);
    run(2000);
    assert_int_equal(rig.manager.dtls.sessions_used, 1);
    assert_int_equal(find_held(DEV(0), GROUP_A)->sender_id, 3);
    /* inside the session */
    DEV(0)->life++;
    DEV(0)->held_count = 0;
    device_request(DEV(0), IOTSEC_KM_GROUP_REQUEST, GROUP_A, 0, 0, 0);
    run(2000);
    assert_int_equal(find_held(DEV(0), GROUP_A)->sender_id, 4);
    assert_member(DEV(0), GROUP_A);
}

/* A device that joins for one group gets nothing of another in which it was before it lost its state. */
static void a_lost_state_gets_no_kept_sender_id(void **state)
{
    (void)state;
    device_join(DEV(0), GROUP_A, GROUP_B);
    run(2000);
    restart();
    device_boot(DEV(0));
    device_join(DEV(0), GROUP_A, 0);
    run(2000);
    assert_member(DEV(0), GROUP_A);
    assert_null(find_held(DEV(0), GROUP_B));
    assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_B, 0), IOTSEC_OK);
    run(60000);
    assert_null(find_held(DEV(0), GROUP_B));
    /* nor without a restart of the manager in between */
    device_join(DEV(1), GROUP_A, GROUP_B);
    run(2000);
    device_boot(DEV(1));
    device_join(DEV(1), GROUP_A, 0);
    run(2000);
    assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_B, 0), IOTSEC_OK);
    run(60000);
    assert_member(DEV(1), GROUP_A);
    assert_null(find_held(DEV(1), GROUP_B));
    /* nor what was on its way when the state was lost */
    DEV(2)->mute = true;
    device_join(DEV(2), GROUP_A, 0);
    run(1500);
    assert_int_equal(rig.manager.deliveries_used, 1);
    DEV(2)->mute = false;
    device_boot(DEV(2));
    device_join(DEV(2), 0, 0);
    settle();
    assert_int_equal(rig.manager.deliveries_used, 0);
    run(60000);
    assert_null(find_held(DEV(2), GROUP_A));
}

/* It waited for a fresh ID when its session was replaced by one that asks for nothing. */
static void who_asks_no_more_waits_no_more(void **state)
{
    (void)state;
    device_join(DEV(0), GROUP_A, 0);
    run(2000);
    device_join(DEV(1), GROUP_A, 0);
    settle();
    device_boot(DEV(0));
    device_join(DEV(0), GROUP_A, 0);
    settle();
    device_boot(DEV(0));
    device_join(DEV(0), 0, 0);
    run(5000);
    assert_int_equal(DEV(0)->held_count, 0);
    assert_int_equal(find_member(&rig.durable, 1, GROUP_A)->sender_id, 1);
    device_request(DEV(0), IOTSEC_KM_GROUP_REQUEST, GROUP_A, 0, 0, 0);
    run(5000);
    assert_member(DEV(0), GROUP_A);
    assert_int_equal(find_held(DEV(0), GROUP_A)->sender_id, 3);
}

/* ---- Delivery ---- */

static void repeats_until_acknowledged(void **state)
{
    (void)state;
    DEV(0)->mute = true;
    device_join(DEV(0), GROUP_A, 0);
    run(3000);
    assert_true(find_held(DEV(0), GROUP_A)->pairs >= 4);
    assert_int_equal(count_events(IOTSEC_MANAGER_MEMBER_JOINED, 0), 0);
    DEV(0)->mute = false;
    run(3000);
    assert_int_equal(count_events(IOTSEC_MANAGER_MEMBER_JOINED, 0), 1);
    assert_int_equal(rig.manager.deliveries_used, 0);
    assert_int_equal(key_number(GROUP_A), 0x101);
}

/* A renewal, with so many rounds for the device's answer; and how long to wait for it. */
static uint32_t pairs_of_renewal(struct dev *d, uint32_t ms)
{
    uint32_t before = find_held(d, GROUP_A)->pairs;

    assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_A, 0), IOTSEC_OK);
    run(ms);
    assert_int_equal(find_held(d, GROUP_A)->key_number, key_number(GROUP_A));
    return find_held(d, GROUP_A)->pairs - before;
}

/* Deliveries measure the round trip: what takes longer than the first wait is sent once all the same. */
static void waits_for_as_long_as_the_way_takes(void **state)
{
    static const struct {
        const char *name;
        uint32_t delay;        /* one way */
        uint32_t least, most;  /* copies of the first delivery after the way has become so long */
        uint32_t later;        /* at most so many of each one after it */
        uint32_t wait;         /* before the second copy of the last one, at least */
    } rows[] = {
        { "at once", 0, 1, 1, 1, 400 },
        { "shorter than the first wait", 190, 1, 1, 1, 400 },
        { "a little longer", 220, 1, 2, 1, 440 },
        { "three times as long", 600, 2, 3, 1, 1200 },
        { "just below four times as long", 780, 2, 4, 1, 1560 },
        { "longer than a first wait becomes", 1500, 4, 8, 5, 1600 },
    };
    size_t i;
    unsigned k;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t pairs;

        teardown(state);
        setup(state);
        device_join(DEV(0), GROUP_A, 0);
        run(5000);
        rig.delay = rows[i].delay;
        pairs = pairs_of_renewal(DEV(0), 20000);
        if (pairs < rows[i].least || pairs > rows[i].most) {
            fail_msg("%s: first %u copies", rows[i].name, (unsigned)pairs);
        }
        for (k = 0; k < 50; k++) {
            pairs = pairs_of_renewal(DEV(0), 20000);
            if (pairs > rows[i].later) {
                fail_msg("%s: %u copies of delivery %u", rows[i].name, (unsigned)pairs, k);
            }
        }
        /* and a lost one is repeated soon after it could have been answered */
        DEV(0)->mute = true;
        assert_int_equal(pairs_of_renewal(DEV(0), rows[i].wait - 1 + rows[i].delay), 1);
        pairs = find_held(DEV(0), GROUP_A)->pairs;
        run(rows[i].wait / 2); /* at random up to a quarter more, and how far single ones were off */
        if (find_held(DEV(0), GROUP_A)->pairs == pairs) {
            fail_msg("%s: not repeated in time", rows[i].name);
        }
        run(10000); /* something is lost: later waits are as short as ever */
        if (find_held(DEV(0), GROUP_A)->pairs < pairs + 12) {
            fail_msg("%s: %u copies later", rows[i].name, (unsigned)(find_held(DEV(0), GROUP_A)->pairs - pairs));
        }
    }
}

/* Karn: an acknowledgement of what was sent several times does not say how long the way takes, unless another follows. */
static void measures_no_repeated_delivery(void **state)
{
    (void)state;
    device_join(DEV(0), GROUP_A, 0);
    run(5000);
    assert_in_range(rig.manager.round_trip, 1, 8 * 10);
    DEV(0)->deaf = true;
    assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_A, 0), IOTSEC_OK);
    run(3000);
    DEV(0)->deaf = false;
    run(3000);
    assert_int_equal(count_events(IOTSEC_MANAGER_MEMBER_UPDATED, 1), 1);
    assert_in_range(rig.manager.round_trip, 1, 8 * 10);
    /* an acknowledgement too many, but of something else */
    device_acknowledge(DEV(0), (uint8_t)(rig.contacts[0].unsure + 1), IOTSEC_KM_DONE);
    settle();
    assert_in_range(rig.manager.round_trip, 1, 8 * 10);
    device_acknowledge(DEV(0), rig.contacts[0].unsure, IOTSEC_KM_DONE);
    settle();
    assert_true(rig.manager.round_trip > 8 * 300);
    /* each counts once */
    rig.manager.round_trip = 8;
    device_acknowledge(DEV(0), rig.contacts[0].unsure, IOTSEC_KM_DONE);
    settle();
    assert_int_equal(rig.manager.round_trip, 8);
}

/* Many under way at once make each other late on a link that they share: that is learned once, and none is sent twice for it. */
static void a_queue_is_no_loss(void **state)
{
    size_t round;
    size_t i;

    (void)state;
    for (i = 0; i < DEVICES; i++) {
        device_join(DEV(i), GROUP_A, 0);
    }
    run(10000);
    rig.service = 30; /* the last one is acknowledged after 1.4 s */
    for (round = 0; round < 4; round++) {
        uint32_t pairs = 0;

        for (i = 0; i < DEVICES; i++) {
            pairs -= find_held(DEV(i), GROUP_A)->pairs;
        }
        assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_A, 0), IOTSEC_OK);
        run(20000);
        for (i = 0; i < DEVICES; i++) {
            assert_int_equal(find_held(DEV(i), GROUP_A)->key_number, key_number(GROUP_A));
            pairs += find_held(DEV(i), GROUP_A)->pairs;
        }
        if (pairs > (round == 0 ? 4 * DEVICES : DEVICES)) {
            fail_msg("renewal %u: %u copies", (unsigned)round, (unsigned)pairs);
        }
    }
}

static void gives_up_and_comes_back(void **state)
{
    uint32_t pairs;

    (void)state;
    DEV(0)->mute = true;
    device_join(DEV(0), GROUP_A, 0);
    run(120000);
    assert_int_equal(count_events(IOTSEC_MANAGER_UNREACHABLE, 1), 1);
    assert_int_equal(rig.manager.dtls.sessions_used, 1);
    assert_int_equal(rig.manager.deliveries_used, 0);
    pairs = find_held(DEV(0), GROUP_A)->pairs;
    /* whatever it says shows that it is there again */
    DEV(0)->mute = false;
    assert_int_equal(iotsec_dtls_send(&DEV(0)->dtls, DEV(0)->session, 23, (const uint8_t *)"hi", 2), IOTSEC_OK);
    (void)iotsec_dtls_flush(&DEV(0)->dtls);
    run(1000);
    assert_int_equal(rig.app_received, 1);
    assert_int_equal(find_held(DEV(0), GROUP_A)->pairs, pairs + 1);
    assert_int_equal(count_events(IOTSEC_MANAGER_MEMBER_JOINED, 1), 1);
    assert_int_equal(find_held(DEV(0), GROUP_A)->sender_id, 1);
}

static void a_request_repeated_is_not_a_join_anew(void **state)
{
    (void)state;
    DEV(0)->mute = true;
    device_join(DEV(0), GROUP_A, 0);
    settle();
    run(100);
    device_request(DEV(0), IOTSEC_KM_GROUP_REQUEST, GROUP_A, 0, 0, 0);
    run(5000);
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_KEYS_FOLLOW);
    assert_int_equal(key_number(GROUP_A), 0x101);
    /* the same request: the same answer, nothing done twice */
    DEV(0)->mute = false;
    device_request(DEV(0), IOTSEC_KM_GROUP_LEAVE, GROUP_A, 0, 0, 0);
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_DONE);
    assert_int_equal(key_number(GROUP_A), 0x200);
    DEV(0)->next_id--;
    device_request(DEV(0), IOTSEC_KM_GROUP_LEAVE, GROUP_A, 0, 0, 0);
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_DONE);
    assert_int_equal(key_number(GROUP_A), 0x200);
    /* one that was overtaken by a later one is not taken */
    device_request(DEV(0), IOTSEC_KM_GROUP_REQUEST, GROUP_A, 0, 0, 0);
    run(2000);
    assert_member(DEV(0), GROUP_A);
    DEV(0)->next_id -= 2;
    device_request(DEV(0), IOTSEC_KM_GROUP_LEAVE, GROUP_A, 0, 0, 0);
    settle();
    assert_int_equal(DEV(0)->answer, -1);
    assert_int_equal(rig.manager.stats.drops[IOTSEC_DROP_REPLAY], 1);
    assert_non_null(find_member(&rig.durable, 1, GROUP_A));
}

static void the_pool_may_be_small(void **state)
{
    size_t i;

    (void)state;
    rig.config.delivery_count = 2;
    restart();
    for (i = 0; i < 20; i++) {
        device_join(DEV(i), GROUP_A, 0);
    }
    run(3000);
    for (i = 0; i < 20; i++) {
        assert_member(DEV(i), GROUP_A);
    }
    assert_int_equal(iotsec_manager_evict(&rig.manager, 20), IOTSEC_OK);
    for (i = 0; i < 19; i++) {
        assert_true(rig.manager.deliveries_used <= 2);
    }
    run(3000);
    for (i = 0; i < 19; i++) {
        assert_member(DEV(i), GROUP_A);
        assert_true(find_held(DEV(i), GROUP_A)->eviction);
        assert_int_equal(find_held(DEV(i), GROUP_A)->pairs, 2);
    }
    /* two that are silent hold the pool up for as long as they are repeated, not for ever */
    DEV(0)->mute = true;
    DEV(1)->mute = true;
    assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_A, 0), IOTSEC_OK);
    run(120000);
    for (i = 2; i < 19; i++) {
        assert_member(DEV(i), GROUP_A);
        assert_false(find_held(DEV(i), GROUP_A)->eviction);
    }
    assert_int_equal(count_events(IOTSEC_MANAGER_UNREACHABLE, 0), 2);
}

static void a_newer_generation_supersedes_a_delivery(void **state)
{
    uint32_t pairs;

    (void)state;
    DEV(0)->mute = true;
    device_join(DEV(0), GROUP_A, 0);
    device_join(DEV(1), GROUP_A, 0);
    run(2000);
    assert_int_equal(rig.manager.deliveries_used, 1);
    assert_int_equal(iotsec_manager_evict(&rig.manager, 2), IOTSEC_OK);
    run(1);
    pairs = find_held(DEV(0), GROUP_A)->pairs;
    assert_int_equal(find_held(DEV(0), GROUP_A)->key_number, key_number(GROUP_A));
    assert_int_equal(find_held(DEV(0), GROUP_A)->sender_id, 1);
    DEV(0)->mute = false;
    run(2000);
    assert_int_equal(find_held(DEV(0), GROUP_A)->pairs, pairs + 1);
    assert_int_equal(count_events(IOTSEC_MANAGER_MEMBER_JOINED, 1), 1);
    assert_member(DEV(0), GROUP_A);
}

/* A delivery with the old sender ID is under way when the device asks for another one: its acknowledgement must not
 * stand for the keys with the new ID. */
static void a_new_sender_id_supersedes_a_delivery(void **state)
{
    struct held old;

    (void)state;
    device_join(DEV(0), GROUP_A, 0);
    run(2000);
    DEV(0)->mute = true;
    assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_A, 0), IOTSEC_OK);
    run(1500); /* past the rest; the delivery is being repeated */
    old = *find_held(DEV(0), GROUP_A);
    assert_int_equal(old.key_number, key_number(GROUP_A));
    DEV(0)->mute = false;
    device_request(DEV(0), IOTSEC_KM_STATUS, GROUP_A, old.key_number, old.sender_id, IOTSEC_KM_STATUS_NEW_SENDER);
    run(5000);
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_KEYS_FOLLOW);
    assert_int_not_equal(find_held(DEV(0), GROUP_A)->sender_id, old.sender_id);
    assert_member(DEV(0), GROUP_A);
}

/* Admitted after all: the repeats of the refusal before must not turn it away. */
static void a_new_request_ends_an_old_refusal(void **state)
{
    (void)state;
    rig.forbidden = GROUP_A;
    DEV(0)->mute = true;
    device_join(DEV(0), GROUP_A, 0);
    settle();
    assert_int_equal(DEV(0)->refused, 1);
    rig.forbidden = 0;
    DEV(0)->mute = false;
    device_request(DEV(0), IOTSEC_KM_GROUP_REQUEST, GROUP_A, 0, 0, 0);
    run(5000);
    assert_member(DEV(0), GROUP_A);
    assert_int_equal(DEV(0)->refused, 1);
    assert_int_equal(rig.manager.deliveries_used, 0);
}

/* A request that could not be done does not make those before it new again. */
static void a_failed_request_brings_no_old_one_back(void **state)
{
    (void)state;
    device_join(DEV(0), GROUP_A, 0);
    run(2000);
    DEV(0)->next_id = 3;
    device_request(DEV(0), IOTSEC_KM_STATUS, GROUP_A, 0x10100, find_held(DEV(0), GROUP_A)->sender_id, 0);
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_FAILED);
    DEV(0)->next_id = 2; /* a repeat that was overtaken */
    device_request(DEV(0), IOTSEC_KM_GROUP_LEAVE, GROUP_A, 0, 0, 0);
    settle();
    assert_int_equal(DEV(0)->answer, -1);
    assert_non_null(find_member(&rig.durable, 1, GROUP_A));
}

static void takes_only_what_a_device_may_say(void **state)
{
    static const struct {
        uint8_t kind;
        enum iotsec_drop drop;
    } rows[] = {
        /* 1 */ { IOTSEC_KM_MASTER_KEY, IOTSEC_DROP_NOT_ALLOWED },
        /* 2 */ { IOTSEC_KM_PARAMETERS, IOTSEC_DROP_NOT_ALLOWED },
        /* 3 */ { IOTSEC_KM_PARAMETERS_EVICTION, IOTSEC_DROP_NOT_ALLOWED },
        /* 4 */ { IOTSEC_KM_REFUSED, IOTSEC_DROP_NOT_ALLOWED },
        /* 5 */ { IOTSEC_KM_EVICTED, IOTSEC_DROP_NOT_ALLOWED },
        /* 6 */ { IOTSEC_KM_GROUP_REMOVED, IOTSEC_DROP_NOT_ALLOWED },
        /* 7 */ { IOTSEC_KM_ACK, IOTSEC_DROP_UNEXPECTED },
    };
    size_t i;

    (void)state;
    device_join(DEV(0), GROUP_A, 0);
    settle();
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint16_t before = rig.manager.stats.drops[rows[i].drop];
        struct iotsec_km_message m;

        memset(&m, 0, sizeof m);
        m.kind = rows[i].kind;
        m.message = 77;
        m.group_id = GROUP_A;
        m.key_number = 0x500;
        m.sender_id = 1;
        group_addr(&m.addr, GROUP_A);
        device_say(DEV(0), &m);
        settle();
        if (rig.manager.stats.drops[rows[i].drop] != before + 1) {
            fail_msg("row %zu", i + 1);
        }
        assert_int_equal(DEV(0)->received, 2);
    }
    assert_int_equal(iotsec_dtls_send(&DEV(0)->dtls, DEV(0)->session, 29, (const uint8_t *)"\x63\x01", 2), IOTSEC_OK);
    (void)iotsec_dtls_flush(&DEV(0)->dtls);
    settle();
    assert_int_equal(rig.manager.stats.drops[IOTSEC_DROP_MALFORMED], 1);
}

/* ---- Status ---- */

static void answers_status(void **state)
{
    enum { NO = 0, SAME = 1, WRONG = 2 };
    static const struct {
        int32_t ahead;      /* of the manager's K */
        uint8_t sender;     /* SAME or WRONG */
        uint8_t flags;
        int result;
        int delivered;      /* keys come */
        uint32_t moved;     /* K moves by */
        uint8_t new_sender;
    } rows[] = {
        /*  1 */ { 0, SAME, 0, IOTSEC_KM_KEYS_FOLLOW, 1, 0, NO }, /* the first since the start: are the keys the same too? */
        /*  2 */ { -1, SAME, 0, IOTSEC_KM_KEYS_FOLLOW, 1, 0, NO },
        /*  3 */ { -0x100, SAME, 0, IOTSEC_KM_KEYS_FOLLOW, 1, 0, NO },
        /*  4 */ { 0, WRONG, 0, IOTSEC_KM_NOT_MEMBER, 0, 0, NO },
        /*  5 */ { -0x100, WRONG, 0, IOTSEC_KM_NOT_MEMBER, 0, 0, NO },
        /*  6 */ { 0, SAME, IOTSEC_KM_STATUS_NEW_SENDER, IOTSEC_KM_KEYS_FOLLOW, 1, 1, SAME },
        /*  7 */ { 0, SAME, IOTSEC_KM_STATUS_CONFLICT, IOTSEC_KM_KEYS_FOLLOW, 1, 0x100, NO },
        /*  8 */ { 3, SAME, 0, IOTSEC_KM_KEYS_FOLLOW, 1, 0x100, NO },
        /*  9 */ { 0x100, SAME, 0, IOTSEC_KM_KEYS_FOLLOW, 1, 0x200, NO },
        /* 10 */ { 0x4000, SAME, 0, IOTSEC_KM_KEYS_FOLLOW, 1, 0x4100, NO },
        /* 11 */ { 0x4100, SAME, 0, IOTSEC_KM_FAILED, 0, 0, NO },
        /* 12 */ { 3, WRONG, 0, IOTSEC_KM_NOT_MEMBER, 0, 0x100, NO },
        /* 13 */ { 0x4100, WRONG, 0, IOTSEC_KM_FAILED, 0, 0, NO },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct held before;
        uint32_t k;

        teardown(NULL);
        setup(NULL);
        assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_A, 0x4FF), IOTSEC_OK);
        run(2000);
        device_join(DEV(0), GROUP_A, 0);
        run(2000);
        before = *find_held(DEV(0), GROUP_A);
        k = key_number(GROUP_A);
        assert_int_equal(k, 0x501);
        restart();
        /* with the group named in no hello: it holds its keys */
        device_join(DEV(0), 0, 0);
        settle();
        find_held(DEV(0), GROUP_A)->key_number = (uint32_t)((int32_t)k + rows[i].ahead);
        device_request(DEV(0), IOTSEC_KM_STATUS, GROUP_A, (uint32_t)((int32_t)k + rows[i].ahead),
                       (uint16_t)(before.sender_id + (rows[i].sender == WRONG)), rows[i].flags);
        run(2000);
        if (DEV(0)->answer != rows[i].result ||
            (find_held(DEV(0), GROUP_A)->pairs != before.pairs) != rows[i].delivered ||
            key_number(GROUP_A) >> 8 != (k + rows[i].moved) >> 8 ||
            (find_held(DEV(0), GROUP_A)->sender_id != before.sender_id) != (rows[i].new_sender != NO)) {
            fail_msg("row %zu: answer %d, pairs %u, K %x", i + 1, DEV(0)->answer, (unsigned)find_held(DEV(0), GROUP_A)->pairs,
                     (unsigned)key_number(GROUP_A));
        }
        assert_int_equal(count_events(IOTSEC_MANAGER_AHEAD, 0), rows[i].result == IOTSEC_KM_FAILED);
    }
    /* 14: no such group */
    device_request(DEV(0), IOTSEC_KM_STATUS, 99, 0x100, 1, 0);
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_NOT_MEMBER);
    /* 15: ahead, but never to be in the group */
    rig.forbidden = GROUP_A;
    device_join(DEV(1), 0, 0);
    settle();
    device_request(DEV(1), IOTSEC_KM_STATUS, GROUP_A, 0x600, 1, 0);
    settle();
    assert_int_equal(DEV(1)->answer, IOTSEC_KM_NOT_MEMBER);
    assert_int_equal(key_number(GROUP_A), 0x501);
}

static void status_between_step_and_delivery(void **state)
{
    struct held old;

    (void)state;
    device_join(DEV(0), GROUP_A, 0);
    run(2000);
    old = *find_held(DEV(0), GROUP_A);
    DEV(0)->deaf = true;
    device_request(DEV(0), IOTSEC_KM_STATUS, GROUP_A, old.key_number, old.sender_id, IOTSEC_KM_STATUS_NEW_SENDER);
    settle();
    assert_int_equal(find_member(&rig.durable, 1, GROUP_A)->sender_id, 2);
    /* it has not heard of its new ID: the old one is no reason to turn it away */
    DEV(0)->deaf = false;
    device_request(DEV(0), IOTSEC_KM_STATUS, GROUP_A, old.key_number, old.sender_id, 0);
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_KEYS_FOLLOW);
    run(2000);
    assert_int_equal(find_held(DEV(0), GROUP_A)->sender_id, 2);
    assert_member(DEV(0), GROUP_A);
}

static void a_lost_acknowledgement_is_made_up_by_status(void **state)
{
    (void)state;
    DEV(0)->mute = true;
    device_join(DEV(0), GROUP_A, 0);
    settle();
    device_request(DEV(0), IOTSEC_KM_STATUS, GROUP_A, find_held(DEV(0), GROUP_A)->key_number, 1, 0);
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_DONE);
    assert_int_equal(count_events(IOTSEC_MANAGER_MEMBER_JOINED, 1), 1);
    assert_int_equal(rig.manager.deliveries_used, 0);
    /* on a new session too */
    DEV(1)->mute = true;
    device_join(DEV(1), GROUP_A, 0);
    run(1500);
    device_join(DEV(1), 0, 0);
    settle();
    device_request(DEV(1), IOTSEC_KM_STATUS, GROUP_A, find_held(DEV(1), GROUP_A)->key_number, 2, 0);
    settle();
    assert_int_equal(DEV(1)->answer, IOTSEC_KM_DONE);
    assert_int_equal(count_events(IOTSEC_MANAGER_MEMBER_JOINED, 2), 1);
}

static void conflicts_renew_at_most_once_an_interval(void **state)
{
    size_t i;

    (void)state;
    device_join(DEV(0), GROUP_A, 0);
    run(2000);
    for (i = 0; i < 10; i++) {
        const struct held *h = find_held(DEV(0), GROUP_A);

        device_request(DEV(0), IOTSEC_KM_STATUS, GROUP_A, h->key_number, h->sender_id, IOTSEC_KM_STATUS_CONFLICT);
        run(50);
    }
    assert_int_equal(key_number(GROUP_A), 0x200);
    run(2000);
    assert_int_equal(key_number(GROUP_A), 0x300);
    assert_int_equal(last_event(IOTSEC_MANAGER_GROUP_KEY)->reason, IOTSEC_ERR_KEY_CONFLICT);
    /* as an acknowledgement: the device refuses what comes, until it can take it */
    DEV(0)->result = IOTSEC_KM_CONFLICT;
    assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_A, 0), IOTSEC_OK);
    run(2500);
    assert_true(key_number(GROUP_A) >= 0x600 && key_number(GROUP_A) <= 0x700);
    DEV(0)->result = IOTSEC_KM_DONE;
    run(2000);
    assert_member(DEV(0), GROUP_A);
}

static void no_room_is_told_once(void **state)
{
    (void)state;
    DEV(0)->result = IOTSEC_KM_NO_ROOM;
    device_join(DEV(0), GROUP_A, 0);
    run(60000);
    assert_int_equal(count_events(IOTSEC_MANAGER_MEMBER_REFUSED, 1), 1);
    assert_int_equal(last_event(IOTSEC_MANAGER_MEMBER_REFUSED)->reason, IOTSEC_ERR_FULL);
    assert_int_equal(count_events(IOTSEC_MANAGER_MEMBER_JOINED, 1), 0);
    assert_int_equal(iotsec_manager_expel(&rig.manager, 1, GROUP_A), IOTSEC_OK);
    assert_int_equal(rig.durable.member_count, 0);
}

/* ---- Limits ---- */

static void steps_run_out(void **state)
{
    (void)state;
    find_row(&rig.durable, GROUP_A)->key_number = 0x1FFFE;
    restart();
    device_join(DEV(0), GROUP_A, 0);
    settle();
    assert_int_equal(key_number(GROUP_A), 0x1FFFF);
    device_join(DEV(1), GROUP_A, 0);
    run(9000);
    /* 0x200xx is skipped: its epochs would be unicast ones */
    assert_int_equal(key_number(GROUP_A), 0x20100);
    assert_int_equal(last_event(IOTSEC_MANAGER_GROUP_KEY)->reason, IOTSEC_ERR_COUNTER);
    assert_member(DEV(0), GROUP_A);
    assert_member(DEV(1), GROUP_A);
    assert_false(find_held(DEV(0), GROUP_A)->eviction);
    assert_int_equal(find_held(DEV(0), GROUP_A)->sender_id, 1);
    assert_int_equal(find_held(DEV(1), GROUP_A)->sender_id, 2);
}

static void sender_ids_run_out(void **state)
{
    size_t i;

    (void)state;
    device_join(DEV(0), GROUP_A, GROUP_B);
    run(2000);
    find_row(&rig.durable, GROUP_A)->next_sender = 65533;
    restart();
    device_join(DEV(0), 0, 0);
    settle();
    device_request(DEV(0), IOTSEC_KM_STATUS, GROUP_A, find_held(DEV(0), GROUP_A)->key_number, 1, 0);
    settle();
    for (i = 1; i < 3; i++) {
        device_join(DEV(i), GROUP_A, 0);
        run(2000);
        assert_int_equal(find_held(DEV(i), GROUP_A)->sender_id, 65532 + i);
    }
    assert_int_equal(find_row(&rig.durable, GROUP_A)->next_sender, 65535);
    assert_int_equal(key_number(GROUP_A) >> 8, 1);
    device_join(DEV(3), GROUP_A, 0);
    run(2000);
    assert_int_equal(key_number(GROUP_A), 0x200);
    assert_int_equal(find_row(&rig.durable, GROUP_A)->next_sender, 5);
    for (i = 0; i < 4; i++) {
        assert_member(DEV(i), GROUP_A);
        assert_true(find_held(DEV(i), GROUP_A)->sender_id <= 4);
    }
    assert_int_equal(find_member(&rig.durable, 1, GROUP_B)->sender_id, 1);
    /* and when the one that is one too many asks for a fresh ID */
    find_row(&rig.durable, GROUP_A)->next_sender = 65535;
    restart();
    device_join(DEV(1), 0, 0);
    settle();
    device_request(DEV(1), IOTSEC_KM_STATUS, GROUP_A, 0x200, find_held(DEV(1), GROUP_A)->sender_id, IOTSEC_KM_STATUS_NEW_SENDER);
    run(2000);
    assert_int_equal(key_number(GROUP_A), 0x300);
    assert_member(DEV(1), GROUP_A);
    /* the others' IDs mean somebody else now, or nobody: they join anew */
    device_join(DEV(0), 0, 0);
    settle();
    device_request(DEV(0), IOTSEC_KM_STATUS, GROUP_A, 0x200, 4, 0);
    settle();
}

static void generations_run_out(void **state)
{
    (void)state;
    device_join(DEV(0), GROUP_A, GROUP_B);
    run(2000);
    find_row(&rig.durable, GROUP_A)->key_number = 0xFFFFFFFFu;
    restart();
    assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_A, 0), IOTSEC_ERR_COUNTER);
    assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_ERR_COUNTER);
    assert_non_null(find_member(&rig.durable, 1, GROUP_B));
    assert_int_equal(rig.durable.evicted_count, 0);
    /* the other group is not held up for long */
    device_join(DEV(1), GROUP_A, GROUP_B);
    run(3000);
    assert_member(DEV(1), GROUP_B);
    assert_null(find_held(DEV(1), GROUP_A));
    assert_int_equal(last_event(IOTSEC_MANAGER_KEYS_FAILED)->reason, IOTSEC_ERR_COUNTER);
    device_join(DEV(2), GROUP_B, 0);
    run(1001);
    assert_member(DEV(2), GROUP_B);
    /* when both are due and both fail, both rest */
    rig.now += 100000;
    rig.operations = 0;
    rig.fail_at = 1;
    device_join(DEV(3), GROUP_B, 0);
    settle();
    assert_int_equal(last_event(IOTSEC_MANAGER_KEYS_FAILED)->group_id, GROUP_B);
    run(3000);
    assert_member(DEV(3), GROUP_B);
}

/* ---- Leaving ---- */

static void join_three(void)
{
    size_t i;

    for (i = 0; i < 3; i++) {
        device_join(DEV(i), GROUP_A, GROUP_B);
    }
    run(3000);
    rig.event_count = 0;
}

static void leaves_a_group(void **state)
{
    (void)state;
    join_three();
    device_request(DEV(0), IOTSEC_KM_GROUP_LEAVE, GROUP_A, 0, 0, 0);
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_DONE);
    assert_null(find_member(&rig.durable, 1, GROUP_A));
    assert_int_equal(key_number(GROUP_A), 0x200);
    assert_int_equal(key_number(GROUP_B) >> 8, 1);
    assert_int_equal(last_event(IOTSEC_MANAGER_MEMBER_LEFT)->group_id, GROUP_A);
    assert_int_equal(last_event(IOTSEC_MANAGER_GROUP_KEY)->reason, IOTSEC_ERR_LEFT);
    run(1000);
    assert_member(DEV(1), GROUP_A);
    assert_member(DEV(2), GROUP_A);
    assert_true(find_held(DEV(1), GROUP_A)->eviction);
    assert_int_equal(find_held(DEV(0), GROUP_A)->key_number >> 8, 1);
    assert_int_equal(count_events(IOTSEC_MANAGER_MEMBER_UPDATED, 0), 2);
    /* again: it is out already */
    device_request(DEV(0), IOTSEC_KM_GROUP_LEAVE, GROUP_A, 0, 0, 0);
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_DONE);
    assert_int_equal(key_number(GROUP_A), 0x200);
    /* back in, with an ID that nobody had */
    device_request(DEV(0), IOTSEC_KM_GROUP_REQUEST, GROUP_A, 0, 0, 0);
    run(2000);
    assert_member(DEV(0), GROUP_A);
    assert_int_equal(find_held(DEV(0), GROUP_A)->sender_id, 4);
}

static void leaves_the_domain(void **state)
{
    uint32_t commits;

    (void)state;
    join_three();
    commits = rig.commits;
    device_request(DEV(0), IOTSEC_KM_DOMAIN_LEAVE, 0, 0, 0, 0);
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_DONE);
    assert_int_equal(rig.commits, commits + 1);
    assert_int_equal(key_number(GROUP_A), 0x200);
    assert_int_equal(key_number(GROUP_B), 0x200);
    assert_int_equal(last_event(IOTSEC_MANAGER_MEMBER_LEFT)->group_id, 0);
    assert_int_equal(rig.durable.member_count, 4);
    run(1000);
    assert_member(DEV(1), GROUP_B);
    /* a member of nothing may say so too */
    device_request(DEV(0), IOTSEC_KM_DOMAIN_LEAVE, 0, 0, 0, 0);
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_DONE);
    assert_int_equal(rig.commits, commits + 1);
}

static void evicts_in_one_transaction(void **state)
{
    uint32_t commits;
    uint32_t received;

    (void)state;
    join_three();
    commits = rig.commits;
    received = DEV(0)->received;
    assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_OK);
    assert_int_equal(rig.commits, commits + 1);
    assert_true(is_evicted(&rig.durable, 1));
    run(2000);
    assert_member(DEV(1), GROUP_A);
    assert_member(DEV(2), GROUP_A);
    assert_member(DEV(1), GROUP_B);
    assert_member(DEV(2), GROUP_B);
    assert_int_equal(DEV(0)->evicted, 1);
    assert_int_equal(DEV(0)->received, received + 1);
    assert_int_equal(DEV(0)->session, 0);
    assert_int_equal(find_held(DEV(0), GROUP_A)->key_number >> 8, 1);
    assert_int_equal(count_events(IOTSEC_MANAGER_DEVICE_EVICTED, 1), 1);
    assert_int_equal(last_event(IOTSEC_MANAGER_DEVICE_GONE)->reason, IOTSEC_ERR_EVICTED);
    assert_int_equal(count_events(IOTSEC_MANAGER_GROUP_KEY, 0), 2);
    assert_int_equal(last_event(IOTSEC_MANAGER_GROUP_KEY)->reason, IOTSEC_ERR_EVICTED);
    /* it knocks again */
    device_boot(DEV(0));
    device_join(DEV(0), GROUP_A, 0);
    settle();
    assert_int_equal(DEV(0)->refused_code, IOTSEC_KM_REASON_NOT_AUTHORISED);
    assert_int_equal(DEV(0)->held_count, 0);
    /* somebody who was never there */
    assert_int_equal(iotsec_manager_evict(&rig.manager, 0), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_manager_evict(&rig.manager, 17), IOTSEC_OK);
    assert_true(is_evicted(&rig.durable, 17));
}

static void an_eviction_cancels_what_is_queued(void **state)
{
    (void)state;
    DEV(0)->mute = true;
    device_join(DEV(0), GROUP_A, 0);
    device_join(DEV(1), GROUP_A, 0);
    settle();
    DEV(0)->mute = false;
    DEV(0)->received = 0;
    device_request(DEV(0), IOTSEC_KM_GROUP_REQUEST, GROUP_B, 0, 0, 0);
    rig.queue_len = 0; /* lost */
    assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_OK);
    assert_null(find_member(&rig.durable, 1, GROUP_A));
    run(60000);
    assert_int_equal(DEV(0)->received, 1);
    assert_int_equal(DEV(0)->evicted, 1);
    assert_member(DEV(1), GROUP_A);
    assert_true(find_held(DEV(1), GROUP_A)->key_number >= 0x200);
    /* a refusal that is still repeated */
    DEV(2)->mute = true;
    device_join(DEV(2), 99, 0);
    settle();
    assert_int_equal(DEV(2)->refused, 1);
    assert_int_equal(iotsec_manager_evict(&rig.manager, 3), IOTSEC_OK);
    run(10000);
    assert_int_equal(DEV(2)->refused, 1);
    assert_true(DEV(2)->evicted > 1);
}

static void check_failing_evictions(uint32_t operations)
{
    uint32_t n;

    rig.operations = 0;
    rig.fail_at = 0;
    for (n = 1; n <= operations; n++) {
        struct store before = rig.durable;
        uint32_t received = DEV(0)->received + DEV(1)->received + DEV(2)->received;

        rig.operations = 0;
        rig.fail_at = n;
        assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_ERR_REGISTRY);
        assert_memory_equal(&before, &rig.durable, sizeof before);
        assert_int_equal(key_number(GROUP_A), find_row(&rig.durable, GROUP_A)->key_number);
        run(3000);
        assert_int_equal(received, DEV(0)->received + DEV(1)->received + DEV(2)->received);
        assert_int_equal(rig.event_count, 0);
    }
    rig.fail_at = 0;
    rig.random_fails = true;
    assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_ERR_RANDOM);
    assert_false(rig.open);
    rig.random_fails = false;
    rig.operations = 0;
    assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_OK);
    assert_int_equal(rig.operations, operations);
    run(1000);
    assert_member(DEV(1), GROUP_A);
}

static void an_eviction_that_fails_changes_nothing(void **state)
{
    join_three();
    /* begin, two groups with a put and a delete each, put_evicted, commit */
    check_failing_evictions(7);
#if IOTSEC_PAIRWISE
    teardown(state);
    setup(state);
    join_three();
    assert_int_equal(iotsec_manager_poly_renew(&rig.manager, 3, 0), IOTSEC_OK);
    rig.event_count = 0;
    /* and point and put_poly */
    check_failing_evictions(9);
    assert_int_equal(rig.durable.poly.revoked_count, 1);
#else
    (void)state;
#endif
}

static void a_join_that_fails_is_tried_again(void **state)
{
    uint32_t n;

    (void)state;
    /* begin, put_group, put_member, commit */
    for (n = 1; n <= 4; n++) {
        uint32_t before;

        teardown(NULL);
        setup(NULL);
        before = key_number(GROUP_A);
        rig.operations = 0;
        rig.fail_at = n;
        device_join(DEV(0), GROUP_A, 0);
        settle();
        assert_int_equal(key_number(GROUP_A), before);
        assert_null(find_held(DEV(0), GROUP_A));
        assert_int_equal(last_event(IOTSEC_MANAGER_KEYS_FAILED)->reason, IOTSEC_ERR_REGISTRY);
        assert_int_equal(last_event(IOTSEC_MANAGER_KEYS_FAILED)->group_id, GROUP_A);
        run(1001);
        assert_member(DEV(0), GROUP_A);
        assert_int_equal(find_held(DEV(0), GROUP_A)->key_number, before + 1);
        assert_int_equal(count_events(IOTSEC_MANAGER_KEYS_FAILED, 0), 1);
        /* twice in a row, the wait doubles; once more after a success, it does not */
        run(1000);
        rig.operations = 0;
        rig.fail_at = 1;
        device_join(DEV(1), GROUP_A, 0);
        settle();
        rig.operations = 0;
        run(1000);
        assert_int_equal(count_events(IOTSEC_MANAGER_KEYS_FAILED, 0), 3);
        run(1999);
        assert_null(find_held(DEV(1), GROUP_A));
        run(1);
        assert_member(DEV(1), GROUP_A);
    }
}

static void a_leave_that_fails_is_not_acknowledged_as_done(void **state)
{
    (void)state;
    join_three();
    rig.operations = 0;
    rig.fail_at = 2;
    device_request(DEV(0), IOTSEC_KM_GROUP_LEAVE, GROUP_A, 0, 0, 0);
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_FAILED);
    assert_non_null(find_member(&rig.durable, 1, GROUP_A));
    DEV(0)->next_id--; /* the same request again */
    device_request(DEV(0), IOTSEC_KM_GROUP_LEAVE, GROUP_A, 0, 0, 0);
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_DONE);
    assert_null(find_member(&rig.durable, 1, GROUP_A));
}

static void expels(void **state)
{
    (void)state;
    join_three();
    assert_int_equal(iotsec_manager_expel(&rig.manager, 1, 99), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_manager_expel(&rig.manager, 17, GROUP_A), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_manager_expel(&rig.manager, 1, GROUP_A), IOTSEC_OK);
    run(2000);
    assert_int_equal(DEV(0)->removed, 1);
    assert_true(DEV(0)->session != 0);
    assert_member(DEV(0), GROUP_B);
    assert_member(DEV(1), GROUP_A);
    assert_int_equal(key_number(GROUP_B) >> 8, 1);
    assert_int_equal(count_events(IOTSEC_MANAGER_MEMBER_LEFT, 1), 1);
}

static void the_absent_catch_up_by_status(void **state)
{
    (void)state;
    join_three();
    DEV(2)->deaf = true;
    assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_OK);
    run(1000);
    restart();
    DEV(2)->deaf = false;
    device_join(DEV(2), 0, 0);
    settle();
    assert_int_equal(find_held(DEV(2), GROUP_A)->key_number >> 8, 1);
    device_request(DEV(2), IOTSEC_KM_STATUS, GROUP_A, find_held(DEV(2), GROUP_A)->key_number,
                   find_held(DEV(2), GROUP_A)->sender_id, 0);
    settle();
    assert_int_equal(DEV(2)->answer, IOTSEC_KM_KEYS_FOLLOW);
    assert_member(DEV(2), GROUP_A);
    assert_true(find_held(DEV(2), GROUP_A)->eviction);
    assert_int_equal(key_number(GROUP_A), 0x200);
}

/* A renewal lets the old key live for 5 s; not so for whoever missed the eviction before it. */
static void who_missed_an_eviction_drops_its_key_at_once(void **state)
{
    (void)state;
    join_three();
    DEV(2)->deaf = true;
    assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_OK);
    run(1000);
    assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_A, 0), IOTSEC_OK);
    run(1000);
    DEV(2)->deaf = false;
    run(10000);
    assert_member(DEV(1), GROUP_A);
    assert_member(DEV(2), GROUP_A);
    assert_false(find_held(DEV(1), GROUP_A)->eviction);
    assert_true(find_held(DEV(2), GROUP_A)->eviction);
}

/* A member that waits for a fresh sender ID does not get it when it is evicted meanwhile. */
static void an_evicted_device_waits_in_vain(void **state)
{
    (void)state;
    join_three();
    device_join(DEV(3), GROUP_A, 0);
    settle();
    device_boot(DEV(0));
    device_join(DEV(0), GROUP_A, 0); /* within the interval */
    settle();
    assert_int_equal(DEV(0)->held_count, 0);
    assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_OK);
    assert_null(find_member(&rig.durable, 1, GROUP_A));
    assert_int_equal(find_row(&rig.durable, GROUP_A)->next_sender, 5);
    run(20000);
    assert_int_equal(DEV(0)->held_count, 0);
    assert_member(DEV(3), GROUP_A);
    /* one that has never been a member costs no generation */
    device_join(DEV(4), GROUP_A, 0);
    settle();
    device_join(DEV(5), GROUP_A, 0);
    settle();
    assert_null(find_held(DEV(5), GROUP_A));
    assert_int_equal(iotsec_manager_evict(&rig.manager, 6), IOTSEC_OK);
    assert_int_equal(key_number(GROUP_A) >> 8, 2);
    run(20000);
    assert_int_equal(DEV(5)->held_count, 0);
}

/* Whatever is asked for while the scan runs is found by the scan that follows. */
static void the_scan_starts_again(void **state)
{
    size_t i;

    (void)state;
    rig.config.delivery_count = 1;
    restart();
    for (i = 0; i < 12; i++) {
        device_join(DEV(i), GROUP_A, GROUP_B);
    }
    run(3000);
    for (i = 0; i < 12; i++) {
        assert_member(DEV(i), GROUP_B);
    }
    /* nobody was heard lately, so it is the second pass that serves them */
    run(400000);
    DEV(5)->mute = true;
    assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_A, 0), IOTSEC_OK);
    run(100);
    assert_in_range(rig.manager.scan_left, 1, MEMBERS);
    assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_B, 0), IOTSEC_OK);
    DEV(5)->mute = false;
    run(5000);
    for (i = 0; i < 12; i++) {
        assert_member(DEV(i), GROUP_A);
        assert_member(DEV(i), GROUP_B);
    }
}

/* Who was heard lately is served first, wherever it stands in the table. */
static void the_active_come_first(void **state)
{
    size_t i;

    (void)state;
    rig.config.delivery_count = 1;
    restart();
    for (i = 0; i < 8; i++) {
        device_join(DEV(i), GROUP_A, 0);
        run(1000);
    }
    run(400000);
    assert_int_equal(iotsec_dtls_send(&DEV(6)->dtls, DEV(6)->session, 23, (const uint8_t *)"hi", 2), IOTSEC_OK);
    (void)iotsec_dtls_flush(&DEV(6)->dtls);
    run(10000);
    rig.event_count = 0;
    assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_A, 0), IOTSEC_OK);
    run(5000);
    assert_int_equal(count_events(IOTSEC_MANAGER_MEMBER_UPDATED, 0), 8);
    assert_int_equal(rig.events[0].kind, IOTSEC_MANAGER_GROUP_KEY);
    assert_int_equal(rig.events[1].kind, IOTSEC_MANAGER_MEMBER_UPDATED);
    assert_int_equal(rig.events[1].device, 7);
}

/* ---- Groups ---- */

static void groups_come_and_go(void **state)
{
    struct iotsec_addr addr;
    uint16_t g;

    (void)state;
    group_addr(&addr, 50);
    assert_int_equal(iotsec_manager_group_add(&rig.manager, 0, &addr), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_manager_group_add(&rig.manager, GROUP_A, &addr), IOTSEC_ERR_EXISTS);
    addr.port = 0;
    assert_int_equal(iotsec_manager_group_add(&rig.manager, 50, &addr), IOTSEC_ERR_ARGUMENT);
    group_addr(&addr, GROUP_A);
    assert_int_equal(iotsec_manager_group_add(&rig.manager, 50, &addr), IOTSEC_ERR_EXISTS);
    addr.ip[0] = 0xFD;
    assert_int_equal(iotsec_manager_group_add(&rig.manager, 50, &addr), IOTSEC_ERR_ARGUMENT);
    for (g = 50; g < 50 + GROUPS - 2; g++) {
        group_addr(&addr, g);
        assert_int_equal(iotsec_manager_group_add(&rig.manager, g, &addr), IOTSEC_OK);
    }
    group_addr(&addr, 60);
    assert_int_equal(iotsec_manager_group_add(&rig.manager, 60, &addr), IOTSEC_ERR_FULL);
    join_three();
    rig.operations = 0;
    rig.fail_at = 2;
    assert_int_equal(iotsec_manager_group_remove(&rig.manager, GROUP_A), IOTSEC_ERR_REGISTRY);
    rig.fail_at = 0;
    device_join(DEV(3), GROUP_A, 0); /* a delivery is under way */
    DEV(3)->mute = true;
    settle();
    run(2000);
    assert_int_equal(rig.manager.deliveries_used, 1);
    DEV(3)->mute = false;
    assert_int_equal(iotsec_manager_group_remove(&rig.manager, GROUP_A), IOTSEC_OK);
    assert_int_equal(iotsec_manager_group_remove(&rig.manager, GROUP_A), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(key_number(GROUP_A), 0);
    run(2000);
    assert_int_equal(DEV(0)->removed, 1);
    assert_int_equal(DEV(1)->removed, 1);
    assert_int_equal(DEV(2)->removed, 1);
    assert_int_equal(DEV(3)->removed, 1);
    assert_int_equal(count_events(IOTSEC_MANAGER_MEMBER_LEFT, 0), 4);
    assert_int_equal(rig.durable.member_count, 3);
    /* its slot is free again, and so is its number */
    group_addr(&addr, GROUP_A);
    assert_int_equal(iotsec_manager_group_add(&rig.manager, GROUP_A, &addr), IOTSEC_OK);
    device_request(DEV(0), IOTSEC_KM_GROUP_REQUEST, GROUP_A, 0, 0, 0);
    DEV(0)->held_count = 0;
    settle();
    assert_member(DEV(0), GROUP_A);
}

/* A group of the same ID was made, and joined, before the members of the one before it were told. */
static void a_group_made_anew_is_not_removed(void **state)
{
    struct iotsec_addr addr;

    (void)state;
    device_join(DEV(0), GROUP_A, 0);
    run(2000);
    assert_int_equal(iotsec_manager_group_remove(&rig.manager, GROUP_A), IOTSEC_OK);
    group_addr(&addr, GROUP_A);
    assert_int_equal(iotsec_manager_group_add(&rig.manager, GROUP_A, &addr), IOTSEC_OK);
    device_boot(DEV(0));
    device_join(DEV(0), GROUP_A, 0);
    settle();
    run(5000);
    assert_member(DEV(0), GROUP_A);
    assert_int_equal(DEV(0)->removed, 0);
}

static void waiting_members_of_a_removed_group_are_refused(void **state)
{
    (void)state;
    device_join(DEV(0), GROUP_A, 0);
    device_join(DEV(1), GROUP_A, 0);
    settle();
    assert_null(find_held(DEV(1), GROUP_A));
    assert_int_equal(iotsec_manager_group_remove(&rig.manager, GROUP_A), IOTSEC_OK);
    run(5000);
    assert_int_equal(DEV(0)->removed, 1);
    assert_int_equal(DEV(1)->refused, 1);
    assert_int_equal(DEV(1)->refused_code, IOTSEC_KM_REASON_GROUP);
    assert_null(find_held(DEV(1), GROUP_A));
}

static void renews_above(void **state)
{
    static const struct {
        uint32_t above;
        uint32_t becomes;
    } rows[] = {
        /* 1 */ { 0, 0x200 },
        /* 2 */ { 0x200, 0x300 },
        /* 3 */ { 0x3FF, 0x400 },
        /* 4 */ { 0x100, 0x500 },
        /* 5 */ { 0xFFFF, 0x10100 },
    };
    size_t i;

    (void)state;
    join_three();
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_A, rows[i].above), IOTSEC_OK);
        if (key_number(GROUP_A) != rows[i].becomes) {
            fail_msg("row %zu", i + 1);
        }
        run(1000);
        assert_member(DEV(0), GROUP_A);
        assert_false(find_held(DEV(0), GROUP_A)->eviction);
    }
    assert_int_equal(iotsec_manager_group_renew(&rig.manager, 99, 0), IOTSEC_ERR_NOT_FOUND);
}

/* ---- Start, stop ---- */

static void refuses_a_registry_that_contradicts_itself(void **state)
{
    static const struct {
        uint16_t group_id;
        uint16_t next_sender;
        uint32_t key_number;
        struct iotsec_registry_member a;
        struct iotsec_registry_member b;
        enum iotsec_status status;
    } rows[] = {
        /*  1 */ { 1, 3, 0x100, { 1, 1, 1 }, { 2, 1, 2 }, IOTSEC_OK },
        /*  2 */ { 0, 3, 0x100, { 1, 0, 1 }, { 2, 0, 2 }, IOTSEC_ERR_REGISTRY },
        /*  3 */ { 1, 0, 0x100, { 1, 1, 1 }, { 2, 1, 2 }, IOTSEC_ERR_REGISTRY },
        /*  4 */ { 1, 3, 0x0FF, { 1, 1, 1 }, { 2, 1, 2 }, IOTSEC_ERR_REGISTRY },
        /*  5 */ { 1, 3, 0x10001, { 1, 1, 1 }, { 2, 1, 2 }, IOTSEC_ERR_REGISTRY },
        /*  6 */ { 1, 2, 0x100, { 1, 1, 1 }, { 2, 1, 2 }, IOTSEC_ERR_REGISTRY },
        /*  7 */ { 1, 3, 0x100, { 1, 2, 1 }, { 2, 1, 2 }, IOTSEC_ERR_REGISTRY },
        /*  8 */ { 1, 3, 0x100, { 0, 1, 1 }, { 2, 1, 2 }, IOTSEC_ERR_REGISTRY },
        /*  9 */ { 1, 3, 0x100, { 1, 1, 0 }, { 2, 1, 2 }, IOTSEC_ERR_REGISTRY },
        /* 10 */ { 1, 3, 0x100, { 1, 1, 2 }, { 2, 1, 2 }, IOTSEC_ERR_REGISTRY },
        /* 11 */ { 1, 3, 0x100, { 1, 1, 1 }, { 1, 1, 2 }, IOTSEC_ERR_REGISTRY },
        /* 12 */ { 1, 65535, 0x100, { 1, 1, 65534 }, { 2, 1, 2 }, IOTSEC_OK },
        /* 13 */ { 1, 65535, 0x100, { 1, 1, 65535 }, { 2, 1, 2 }, IOTSEC_ERR_REGISTRY },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        memset(&rig.durable, 0, sizeof rig.durable);
        rig.durable.group_count = 1;
        rig.durable.groups[0].group_id = rows[i].group_id;
        rig.durable.groups[0].next_sender = rows[i].next_sender;
        rig.durable.groups[0].key_number = rows[i].key_number;
        group_addr(&rig.durable.groups[0].addr, 1);
        rig.durable.member_count = 2;
        rig.durable.members[0] = rows[i].a;
        rig.durable.members[1] = rows[i].b;
        iotsec_manager_wipe(&rig.manager);
        if (iotsec_manager_init(&rig.manager, &rig.config) != rows[i].status) {
            fail_msg("row %zu", i + 1);
        }
    }
    rig.durable.members[0].sender_id = 1;
    rig.config.member_count = 1;
    assert_int_equal(iotsec_manager_init(&rig.manager, &rig.config), IOTSEC_ERR_FULL);
    rig.config.member_count = 2;
    assert_int_equal(iotsec_manager_init(&rig.manager, &rig.config), IOTSEC_OK);
    iotsec_manager_wipe(&rig.manager);
    rig.config.group_count = 0;
    assert_int_equal(iotsec_manager_init(&rig.manager, &rig.config), IOTSEC_ERR_FULL);
    rig.config.group_count = 2;
    /* two groups at one address */
    rig.durable.groups[1] = rig.durable.groups[0];
    rig.durable.groups[1].group_id = 2;
    rig.durable.group_count = 2;
    assert_int_equal(iotsec_manager_init(&rig.manager, &rig.config), IOTSEC_ERR_REGISTRY);
    rig.durable.group_count = 1;
    rig.random_fails = true;
    assert_int_equal(iotsec_manager_init(&rig.manager, &rig.config), IOTSEC_ERR_RANDOM);
    rig.random_fails = false;
    rig.config.step_interval_ms = 1u << 25;
    assert_int_equal(iotsec_manager_init(&rig.manager, &rig.config), IOTSEC_ERR_ARGUMENT);
    rig.config.step_interval_ms = 0;
    rig.config.delivery_count = 0;
    assert_int_equal(iotsec_manager_init(&rig.manager, &rig.config), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_manager_init_checked(&rig.manager, &rig.config, IOTSEC_CONFIG_ID + 1, 0, 0), IOTSEC_ERR_CONFIG);
}

static void closes(void **state)
{
    struct store before;
    size_t i;

    (void)state;
    join_three();
    before = rig.durable;
    iotsec_manager_close(&rig.manager);
    settle();
    for (i = 0; i < 3; i++) {
        assert_int_equal(DEV(i)->session, 0);
        assert_int_equal(DEV(i)->closed, IOTSEC_ERR_CLOSED);
    }
    assert_memory_equal(&before, &rig.durable, sizeof before);
    assert_int_equal(rig.event_count, 0);
    assert_int_equal(rig.manager.dtls.sessions_used, 0);
}

/* ---- Calls from inside an event ---- */

static enum iotsec_manager_event_kind evict_at;

static void evict_inside(const struct iotsec_manager_event *event)
{
    if (event->kind == evict_at && !is_evicted(&rig.durable, 1)) {
        assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_OK);
    }
}

static void may_evict_inside_any_event(void **state)
{
    static const enum iotsec_manager_event_kind rows[] = {
        /* 1 */ IOTSEC_MANAGER_DEVICE_JOINED,
        /* 2 */ IOTSEC_MANAGER_MEMBER_JOINED,
        /* 3 */ IOTSEC_MANAGER_GROUP_KEY,
        /* 4 */ IOTSEC_MANAGER_MEMBER_REFUSED,
        /* 5 */ IOTSEC_MANAGER_MEMBER_LEFT,
        /* 6 */ IOTSEC_MANAGER_MEMBER_UPDATED,
        /* 7 */ IOTSEC_MANAGER_UNREACHABLE,
        /* 8 */ IOTSEC_MANAGER_KEYS_FAILED,
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        teardown(NULL);
        setup(NULL);
        rig.on_event = evict_inside;
        evict_at = rows[i];
        rig.forbidden = 99;
        device_join(DEV(1), GROUP_A, GROUP_B);
        run(2000);
        device_join(DEV(0), GROUP_A, 99);
        run(3000);
        if (!is_evicted(&rig.durable, 1)) {
            assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_A, 0), IOTSEC_OK);
            run(3000);
        }
        if (!is_evicted(&rig.durable, 1)) {
            rig.operations = 0;
            rig.fail_at = 2;
            device_join(DEV(2), GROUP_B, 0);
            run(3000);
        }
        if (!is_evicted(&rig.durable, 1)) {
            DEV(1)->mute = true;
            assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_A, 0), IOTSEC_OK);
            run(100000);
            DEV(1)->mute = false;
            device_request(DEV(1), IOTSEC_KM_STATUS, GROUP_A, find_held(DEV(1), GROUP_A)->key_number,
                           find_held(DEV(1), GROUP_A)->sender_id, 0);
            run(1000);
        }
        if (!is_evicted(&rig.durable, 1)) {
            device_request(DEV(0), IOTSEC_KM_GROUP_LEAVE, GROUP_A, 0, 0, 0);
            settle();
        }
        run(100000);
        if (!is_evicted(&rig.durable, 1) || DEV(0)->session != 0 || find_member(&rig.durable, 1, GROUP_A) != NULL) {
            fail_msg("row %zu", i + 1);
        }
        assert_member(DEV(1), GROUP_A);
        assert_true(find_held(DEV(0), GROUP_A) == NULL ||
                    find_held(DEV(0), GROUP_A)->key_number >> 8 < key_number(GROUP_A) >> 8);
        rig.on_event = NULL;
    }
}

/* ---- Power ---- */

/* Whoever has no session contacts the manager: with its state, or (boot) without. */
static void contact_again(struct dev *d, bool boot)
{
    size_t i;

    if (boot) {
        device_boot(d);
        device_join(d, GROUP_A, GROUP_B);
        run(10000);
        return;
    }
    device_join(d, 0, 0);
    settle();
    for (i = 0; i < d->held_count && d->session != 0; i++) {
        const struct held *h = &d->held[i];

        device_request(d, IOTSEC_KM_STATUS, h->group_id, h->key_number, h->sender_id, 0);
        run(10000);
        if (d->answer == IOTSEC_KM_NOT_MEMBER) {
            uint16_t group_id = h->group_id;

            d->life++; /* it forgets what it had */
            memset(&d->held[i], 0, sizeof d->held[i]);
            d->held[i].group_id = group_id;
            device_request(d, IOTSEC_KM_GROUP_REQUEST, group_id, 0, 0, 0);
            run(10000);
        }
    }
}

#define SCENES 9

static void play(size_t scene)
{
    switch (scene) {
    case 0:
        device_join(DEV(0), GROUP_A, GROUP_B);
        settle();
        break;
    case 1:
        device_join(DEV(1), GROUP_A, 0);
        device_join(DEV(2), GROUP_A, GROUP_B);
        run(1500);
        break;
    case 2:
        DEV(2)->mute = true; /* its acknowledgement will be missing */
        device_join(DEV(3), GROUP_B, 0);
        run(1500);
        break;
    case 3:
        (void)iotsec_manager_evict(&rig.manager, 1);
        settle(); /* without a poll: the others have heard nothing yet */
        break;
    case 4:
        DEV(2)->mute = false;
        run(3000);
        break;
    case 5:
        if (DEV(2)->session != 0) {
            device_request(DEV(2), IOTSEC_KM_GROUP_LEAVE, GROUP_B, 0, 0, 0);
        }
        settle();
        break;
    case 6:
        (void)iotsec_manager_group_renew(&rig.manager, GROUP_A, 0);
        run(100);
        break;
    case 7:
        contact_again(DEV(1), true);
        break;
    default:
        device_join(DEV(4), GROUP_A, GROUP_B);
        run(3000);
        break;
    }
}

/* Plays all scenes; power fails around commit n. Returns whether there was such a commit. */
static bool play_with_crash(uint32_t n, bool after)
{
    volatile size_t scene;
    volatile bool crashed = false;
    size_t i;

    teardown(NULL);
    setup(NULL);
    rig.crash_at = rig.commits + n;
    rig.crash_after = after;
    for (scene = 0; scene < SCENES; scene++) {
        if (setjmp(rig.crash) == 0) {
            play(scene);
        } else {
            crashed = true;
            rig.crash_at = 0;
            restart();
            for (i = 0; i < DEVICES; i++) {
                DEV(i)->session = 0;
                DEV(i)->mute = false;
            }
            /* one has lost its power too, the others come back with what they hold */
            for (i = 0; i < 4; i++) {
                if (DEV(i)->held_count != 0) {
                    contact_again(DEV(i), (i + n) % 3 == 0);
                }
            }
            if (scene == 3) {
                (void)iotsec_manager_evict(&rig.manager, 1); /* the operator sees no success, and tries again */
            }
        }
    }
    rig.crash_at = 0;
    run(10000);
    /* the evicted one is out of everything that is current */
    assert_true(is_evicted(&rig.durable, 1));
    assert_null(find_member(&rig.durable, 1, GROUP_A));
    assert_null(find_member(&rig.durable, 1, GROUP_B));
    assert_true(find_held(DEV(0), GROUP_A) == NULL || find_held(DEV(0), GROUP_A)->key_number >> 8 < key_number(GROUP_A) >> 8);
    assert_true(find_held(DEV(0), GROUP_B) == NULL || find_held(DEV(0), GROUP_B)->key_number >> 8 < key_number(GROUP_B) >> 8);
    /* and everybody else gets in, whatever had happened */
    for (i = 1; i < 5; i++) {
        if (DEV(i)->session == 0) {
            contact_again(DEV(i), i != 3);
        }
    }
    assert_member(DEV(1), GROUP_A);
    assert_member(DEV(4), GROUP_A);
    assert_member(DEV(4), GROUP_B);
    return crashed;
}

static void survives_power_loss_around_every_commit(void **state)
{
    uint32_t n;
    int after;

    (void)state;
    for (after = 0; after < 2; after++) {
        for (n = 1; play_with_crash(n, after != 0); n++) {
            assert_true(n < 100);
        }
        assert_true(n > 8);
    }
}

/* The registry's every operation fails once: whatever it is, everybody gets in at last. */
static void survives_every_failing_operation(void **state)
{
    uint32_t n;

    (void)state;
    for (n = 1; n < 200; n++) {
        size_t scene;

        teardown(NULL);
        setup(NULL);
        rig.operations = 0;
        rig.fail_at = n;
        for (scene = 0; scene < SCENES; scene++) {
            play(scene);
            if (scene == 3 && !is_evicted(&rig.durable, 1)) {
                assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_OK);
            }
        }
        run(10000);
        assert_member(DEV(1), GROUP_A);
        assert_member(DEV(4), GROUP_A);
        assert_member(DEV(4), GROUP_B);
        assert_true(find_held(DEV(0), GROUP_A)->key_number >> 8 < key_number(GROUP_A) >> 8);
        if (rig.operations < n) {
            break;
        }
    }
    assert_true(n > 30 && n < 200);
}

/* An operator restored yesterday's registry and did not say so. */
static void a_restored_backup_is_noticed(void **state)
{
    struct store backup;
    uint32_t k;

    (void)state;
    join_three();
    backup = rig.durable;
    assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_A, 0), IOTSEC_OK);
    device_join(DEV(3), GROUP_A, 0);
    run(3000);
    k = find_held(DEV(3), GROUP_A)->key_number;
    rig.durable = backup;
    restart();
    /* one whom the backup does not know */
    contact_again(DEV(3), false);
    assert_true(key_number(GROUP_A) > k);
    assert_member(DEV(3), GROUP_A);
    contact_again(DEV(0), false);
    assert_member(DEV(0), GROUP_A);
}

/* ---- Poll ---- */

static void poll_tells_its_next_deadline(void **state)
{
    (void)state;
    assert_int_equal(iotsec_manager_poll(&rig.manager), UINT32_MAX);
    device_join(DEV(0), GROUP_A, 0);
    settle();
    assert_int_equal(iotsec_manager_poll(&rig.manager), 1000);
    rig.now += 999;
    assert_int_equal(iotsec_manager_poll(&rig.manager), 1);
    rig.now += 1;
    assert_int_equal(iotsec_manager_poll(&rig.manager), UINT32_MAX);
    DEV(0)->mute = true;
    assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_A, 0), IOTSEC_OK);
    assert_int_equal(iotsec_manager_poll(&rig.manager), 0);
    while (rig.manager.scan_left != 0) {
        assert_true(iotsec_manager_poll(&rig.manager) <= 1000);
    }
    settle();
    assert_in_range(iotsec_manager_poll(&rig.manager), 400, 500);
}

/* ---- Many groups ---- */

#define GROUP_IDLE 11
#define GROUP_LATER 12

static void idle_poll(void)
{
    run(5000);
}

static void idle_join(void)
{
    device_join(DEV(5), GROUP_A, GROUP_B);
    run(5000);
}

static void idle_status(void)
{
    const struct held *h = find_held(DEV(1), GROUP_A);

    device_request(DEV(1), IOTSEC_KM_STATUS, GROUP_A, h->key_number, h->sender_id, 0);
    run(5000);
}

static void idle_leave(void)
{
    device_request(DEV(0), IOTSEC_KM_GROUP_LEAVE, GROUP_A, 0, 0, 0);
    run(5000);
}

static void idle_new_session(void)
{
    device_join(DEV(2), 0, 0);
    run(5000);
}

static void idle_eviction(void)
{
    assert_int_equal(iotsec_manager_evict(&rig.manager, 2), IOTSEC_OK);
    run(5000);
}

static void idle_renewal(void)
{
    assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_A, 0), IOTSEC_OK);
    run(5000);
}

static void idle_removal(void)
{
    assert_int_equal(iotsec_manager_group_remove(&rig.manager, GROUP_B), IOTSEC_OK);
    run(5000);
}

/* In a group that has nothing to do stands what whoever comes across it would act on: nobody does. */
static void groups_with_nothing_to_do_are_not_looked_at(void **state)
{
    static const struct {
        const char *name;
        void (*play)(void);
    } rows[] = {
        { "a poll", idle_poll },         { "a join", idle_join },           { "a status", idle_status },
        { "a leave", idle_leave },       { "a new session", idle_new_session }, { "an eviction", idle_eviction },
        { "a renewal", idle_renewal },   { "a removal", idle_removal },
    };
    struct iotsec_manager_group *idle = &rig.groups[2];
    struct iotsec_addr addr;
    uint32_t later;
    size_t i, k;

    (void)state;
    group_addr(&addr, GROUP_IDLE);
    assert_int_equal(iotsec_manager_group_add(&rig.manager, GROUP_IDLE, &addr), IOTSEC_OK);
    group_addr(&addr, GROUP_LATER);
    assert_int_equal(iotsec_manager_group_add(&rig.manager, GROUP_LATER, &addr), IOTSEC_OK);
    later = key_number(GROUP_LATER);
    join_three();
    run(5000);
    assert_int_equal(idle->now.group_id, GROUP_IDLE);
    /* who looked for the other one from the first slot on would find it here */
    idle->id = GROUP_LATER;
    idle->now.group_id = GROUP_LATER;
    idle->now.key_number = 0xFFFF;
    assert_int_equal(key_number(GROUP_LATER), later);
    idle->now.group_id = GROUP_IDLE;
    idle->id = GROUP_IDLE;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t from = rig.log_len;

        rig.event_count = 0;
        idle->flags = GROUP_RENEW | GROUP_STAGED | GROUP_TELL;
        rows[i].play();
        for (k = from; k < rig.log_len; k++) {
            if (rig.log[k].group_id == GROUP_IDLE) {
                fail_msg("%s: written", rows[i].name);
            }
        }
        for (k = 0; k < rig.event_count; k++) {
            if (rig.events[k].group_id == GROUP_IDLE) {
                fail_msg("%s: told", rows[i].name);
            }
        }
        if (idle->flags != (GROUP_RENEW | GROUP_STAGED | GROUP_TELL)) {
            fail_msg("%s: flags %x", rows[i].name, idle->flags);
        }
    }
    /* as soon as it has something to do it is */
    idle->flags = 0;
    assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_IDLE, 0), IOTSEC_OK);
    assert_int_equal(last_event(IOTSEC_MANAGER_GROUP_KEY)->group_id, GROUP_IDLE);
}

/* They are written and told in the order in which they had something to do. */
static void groups_are_changed_in_the_order_of_requests(void **state)
{
    size_t from;

    (void)state;
    run(5000);
    from = rig.log_len;
    device_join(DEV(0), GROUP_B, GROUP_A);
    settle();
    assert_int_equal(rig.log_len, from + 4); /* group and member, twice */
    assert_int_equal(rig.log[from].group_id, GROUP_B);
    assert_int_equal(rig.log[from + 2].group_id, GROUP_A);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(joins_with_keys_in_the_last_flight, setup, teardown),
        cmocka_unit_test_setup_teardown(joins_within_an_interval_share_a_step, setup, teardown),
        cmocka_unit_test_setup_teardown(the_interval_doubles, setup, teardown),
        cmocka_unit_test_setup_teardown(requests_inside_the_session, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_who_is_not_authorised, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_who_speaks_no_key_management, setup, teardown),
        cmocka_unit_test_setup_teardown(names_a_wrong_psk, setup, teardown),
        cmocka_unit_test_setup_teardown(psk_may_come_later, setup, teardown),
        cmocka_unit_test_setup_teardown(contacts_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(idle_sessions_make_room, setup, teardown),
        cmocka_unit_test_setup_teardown(a_join_anew_gets_a_fresh_sender_id, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_state_gets_no_kept_sender_id, setup, teardown),
        cmocka_unit_test_setup_teardown(who_asks_no_more_waits_no_more, setup, teardown),
        cmocka_unit_test_setup_teardown(repeats_until_acknowledged, setup, teardown),
        cmocka_unit_test_setup_teardown(waits_for_as_long_as_the_way_takes, setup, teardown),
        cmocka_unit_test_setup_teardown(measures_no_repeated_delivery, setup, teardown),
        cmocka_unit_test_setup_teardown(a_queue_is_no_loss, setup, teardown),
        cmocka_unit_test_setup_teardown(gives_up_and_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_request_repeated_is_not_a_join_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(the_pool_may_be_small, setup, teardown),
        cmocka_unit_test_setup_teardown(a_newer_generation_supersedes_a_delivery, setup, teardown),
        cmocka_unit_test_setup_teardown(a_new_sender_id_supersedes_a_delivery, setup, teardown),
        cmocka_unit_test_setup_teardown(a_new_request_ends_an_old_refusal, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_request_brings_no_old_one_back, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_only_what_a_device_may_say, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_status, setup, teardown),
        cmocka_unit_test_setup_teardown(status_between_step_and_delivery, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_acknowledgement_is_made_up_by_status, setup, teardown),
        cmocka_unit_test_setup_teardown(conflicts_renew_at_most_once_an_interval, setup, teardown),
        cmocka_unit_test_setup_teardown(no_room_is_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(steps_run_out, setup, teardown),
        cmocka_unit_test_setup_teardown(sender_ids_run_out, setup, teardown),
        cmocka_unit_test_setup_teardown(generations_run_out, setup, teardown),
        cmocka_unit_test_setup_teardown(leaves_a_group, setup, teardown),
        cmocka_unit_test_setup_teardown(leaves_the_domain, setup, teardown),
        cmocka_unit_test_setup_teardown(evicts_in_one_transaction, setup, teardown),
        cmocka_unit_test_setup_teardown(an_eviction_cancels_what_is_queued, setup, teardown),
        cmocka_unit_test_setup_teardown(an_eviction_that_fails_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_join_that_fails_is_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_leave_that_fails_is_not_acknowledged_as_done, setup, teardown),
        cmocka_unit_test_setup_teardown(expels, setup, teardown),
        cmocka_unit_test_setup_teardown(the_absent_catch_up_by_status, setup, teardown),
        cmocka_unit_test_setup_teardown(who_missed_an_eviction_drops_its_key_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(an_evicted_device_waits_in_vain, setup, teardown),
        cmocka_unit_test_setup_teardown(the_scan_starts_again, setup, teardown),
        cmocka_unit_test_setup_teardown(the_active_come_first, setup, teardown),
        cmocka_unit_test_setup_teardown(groups_come_and_go, setup, teardown),
        cmocka_unit_test_setup_teardown(a_group_made_anew_is_not_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(waiting_members_of_a_removed_group_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(renews_above, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_a_registry_that_contradicts_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(closes, setup, teardown),
        cmocka_unit_test_setup_teardown(may_evict_inside_any_event, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_power_loss_around_every_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_every_failing_operation, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restored_backup_is_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(poll_tells_its_next_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(groups_with_nothing_to_do_are_not_looked_at, setup, teardown),
        cmocka_unit_test_setup_teardown(groups_are_changed_in_the_order_of_requests, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
