/* SPDX-License-Identifier: BSD-3-Clause */
/* The device: access parameters, the link layer's keys, the move to an address of its own. */
#include "device_world.h"

#if IOTSEC_ACCESS

#define USE IOTSEC_KM_ACCESS_USE

/* Device a is joined over the relay's address, in a session that survives it. */
static struct device *join_there(void)
{
    w.devices[0].config.connection_id = IOTSEC_CONNECTION_ID_LINK_LOCAL;
    boot(&w.devices[0]);
    return join();
}

static void fill_access(struct iotsec_km_message *message, uint32_t number, uint8_t flags)
{
    static uint8_t next_id;

    memset(message, 0, sizeof *message);
    message->kind = IOTSEC_KM_ACCESS;
    message->message = ++next_id;
    message->key_number = number;
    message->secret[0] = (uint8_t)number;
    message->code = flags;
    message->pan_id = 0xABCD;
    message->short_address = 0x1234;
    message->prefix[0] = 0x20;
    message->addr = w.manager_own;
}

/* The manager says it; what the device answered, or -1. */
static int offer(const struct iotsec_km_message *message)
{
    w.heard_count = 0;
    say(message);
    (void)iotsec_dtls_flush(&w.dtls);
    run(0);
    return w.heard_count == 1 && w.heard[0].kind == IOTSEC_KM_ACK && w.heard[0].message == message->message ? w.heard[0].code : -1;
}

static int offer_access(uint32_t number, uint8_t flags)
{
    struct iotsec_km_message message;

    fill_access(&message, number, flags);
    return offer(&message);
}

/* ---- ACCESS ---- */

static void takes_what_is_newer(void **state)
{
    static const struct {
        uint32_t number;
        uint8_t flags;
        int install_fails, use_fails;
        int answer;
        const char *l2; /* HAL calls */
        unsigned told;
    } rows[] = {
        /*  1 the first, in use         */ { 5, USE, 0, 0, IOTSEC_KM_DONE, "+5 !5", 1 },
        /*  2 the same                  */ { 5, USE, 0, 0, IOTSEC_KM_DONE, "", 0 },
        /*  3 the same, less of it      */ { 5, 0, 0, 0, IOTSEC_KM_DONE, "", 0 },
        /*  4 an older one              */ { 4, USE, 0, 0, IOTSEC_KM_DONE, "", 0 },
        /*  5 an older one to receive   */ { 4, 0, 0, 0, IOTSEC_KM_DONE, "", 0 },
        /*  6 the next, no room now     */ { 6, 0, 1, 0, IOTSEC_KM_FAILED, "?6", 0 },
        /*  7 ... a later copy          */ { 6, 0, 0, 0, IOTSEC_KM_DONE, "+6", 1 },
        /*  8 the same                  */ { 6, 0, 0, 0, IOTSEC_KM_DONE, "", 0 },
        /*  9 its turn, but not now     */ { 6, USE, 0, 1, IOTSEC_KM_FAILED, "+6 ?6", 0 },
        /* 10 ... a later copy          */ { 6, USE, 0, 0, IOTSEC_KM_DONE, "+6 !6", 0 },
        /* 11 the same                  */ { 6, USE, 0, 0, IOTSEC_KM_DONE, "", 0 },
        /* 12 another one               */ { 7, 0, 0, 0, IOTSEC_KM_DONE, "+7", 1 },
        /* 13 which is replaced unused  */ { 8, 0, 0, 0, IOTSEC_KM_DONE, "+8 -7", 1 },
        /* 14 its turn comes before the */ { 8, USE, 0, 0, IOTSEC_KM_DONE, "+8 !8 -5", 0 },
        /*    one before 6 is forgotten */
        /* 15 in use at once            */ { 9, USE, 0, 0, IOTSEC_KM_DONE, "+9 !9 -6", 1 },
        /* 16 installed, but not used   */ { 10, USE, 0, 1, IOTSEC_KM_FAILED, "+10 ?10", 0 },
        /* 17 and replaced              */ { 11, USE, 0, 0, IOTSEC_KM_DONE, "+11 -10 !11 -8", 1 },
        /* 18 unknown flags             */ { 12, 0xFE, 0, 0, IOTSEC_KM_DONE, "+12", 1 },
        /* 19 the last index            */ { 255, USE, 0, 0, IOTSEC_KM_DONE, "+255 -12 !255 -9", 1 },
        /* 20 and the first again       */ { 256, USE, 0, 0, IOTSEC_KM_DONE, "+1 !1 -11", 1 },
        /* 21                           */ { 510, 0, 0, 0, IOTSEC_KM_DONE, "+255", 1 },
        /* 22 the previous one's index  */ { 510, USE, 0, 0, IOTSEC_KM_DONE, "+255 !255", 0 },
        /* 23 the last number           */ { 0xFFFFFFFFu, USE, 0, 0, IOTSEC_KM_DONE, "+255 !255", 0 },
        /* 24 after it                  */ { 1, USE, 0, 0, IOTSEC_KM_DONE, "", 0 },
    };
    struct device *a = join_there();
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        a->l2[0] = '\0';
        a->told = 0;
        a->install_fails = rows[i].install_fails;
        a->use_fails = rows[i].use_fails;
        if (offer_access(rows[i].number, rows[i].flags) != rows[i].answer || strcmp(a->l2, rows[i].l2) != 0 ||
            a->told != rows[i].told) {
            fail_msg("row %u: \"%s\", told %u", (unsigned)i + 1, a->l2, a->told);
        }
    }
    assert_int_equal(a->l2_key[0], 0xFF);
}

static void tells_what_is_new(void **state)
{
    static const struct {
        size_t offset;
        unsigned told;
    } rows[] = {
        /* 1 nothing        */ { offsetof(struct iotsec_km_message, group_id), 0 },
        /* 2 PAN ID         */ { offsetof(struct iotsec_km_message, pan_id), 1 },
        /* 3 short address  */ { offsetof(struct iotsec_km_message, short_address), 1 },
        /* 4 prefix         */ { offsetof(struct iotsec_km_message, prefix[7]), 1 },
        /* 5 manager        */ { offsetof(struct iotsec_km_message, addr.ip[15]), 1 },
        /* 6 its port       */ { offsetof(struct iotsec_km_message, addr.port), 1 },
        /* 7 the key: no    */ { offsetof(struct iotsec_km_message, secret[9]), 0 },
    };
    struct device *a = join_there();
    struct iotsec_km_message message;
    size_t i;

    (void)state;
    assert_int_equal(offer_access(300, USE), IOTSEC_KM_DONE);
    assert_int_equal(a->told, 1);
    assert_int_equal(a->access.key_index, 45);
    assert_int_equal(a->access.pan_id, 0xABCD);
    assert_int_equal(a->access.short_address, 0x1234);
    assert_int_equal(a->access.prefix[0], 0x20);
    assert_true(iotsec_addr_equal(&a->access.manager, &w.manager_own));
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(offer_access(300, USE), IOTSEC_KM_DONE);
        a->told = 0;
        a->l2[0] = '\0';
        fill_access(&message, 300, USE);
        ((uint8_t *)&message)[rows[i].offset] ^= 0x40;
        if (offer(&message) != IOTSEC_KM_DONE || a->told != rows[i].told || a->l2[0] != '\0') {
            fail_msg("row %u", (unsigned)i + 1);
        }
    }
    /* what is overtaken is not told */
    a->told = 0;
    fill_access(&message, 299, USE);
    message.pan_id = 1;
    assert_int_equal(offer(&message), IOTSEC_KM_DONE);
    assert_int_equal(a->told, 0);
}

static void needs_no_link_layer(void **state)
{
    struct device *a = &w.devices[0];

    (void)state;
    a->hal.l2_key_install = NULL;
    a->hal.l2_key_use = NULL;
    a->hal.l2_key_remove = NULL;
    a = join_there();
    assert_int_equal(offer_access(1, USE), IOTSEC_KM_DONE);
    assert_int_equal(offer_access(2, USE), IOTSEC_KM_DONE);
    assert_int_equal(offer_access(3, USE), IOTSEC_KM_DONE);
    assert_int_equal(a->told, 3);
    run(IOTSEC_L2_OVERLAP_MS);
    assert_string_equal(a->l2, "");
}

/* Only the manager's session brings keys, and only in their content type. */
static void takes_them_from_the_manager_only(void **state)
{
    struct device *a = join_there();
    struct iotsec_km_message message;
    uint8_t data[IOTSEC_KM_MAX_BYTES];
    unsigned before;
    size_t len;

    (void)state;
    fill_access(&message, 1, USE);
    assert_int_equal(iotsec_km_encode(&message, data, sizeof data, &len), IOTSEC_OK);
    w.heard_count = 0;
    before = dropped(a, IOTSEC_DROP_MALFORMED);
    assert_int_equal(iotsec_dtls_send(&w.dtls, w.session, IOTSEC_CONTENT_SECURITY_PARAMETERS, data, len), IOTSEC_OK);
    (void)iotsec_dtls_flush(&w.dtls);
    run(0);
    assert_int_equal(dropped(a, IOTSEC_DROP_MALFORMED), before + 1);
    before = dropped(a, IOTSEC_DROP_NOT_ALLOWED);
    a->device.dtls_config.callbacks->receive(&a->device, a->device.session + 1, 0, IOTSEC_CONTENT_MASTER_KEY_DATA, data, len);
    assert_int_equal(dropped(a, IOTSEC_DROP_NOT_ALLOWED), before + 1);
    before = dropped(a, IOTSEC_DROP_NOT_ALLOWED);
    say_kind(IOTSEC_KM_MOVED, 0, 0); /* a device's own request */
    run(0);
    assert_int_equal(dropped(a, IOTSEC_DROP_NOT_ALLOWED), before + 1);
    assert_string_equal(a->l2, "");
    assert_int_equal(a->told, 0);
    assert_int_equal(w.heard_count, 0);
}

/* The old key goes when the overlap is over; the clock wraps meanwhile. */
static void forgets_the_previous_key(void **state)
{
    struct device *a = join_there();

    (void)state;
    w.base.now = 0xFFFFFFFFu - IOTSEC_L2_OVERLAP_MS / 2;
    assert_int_equal(offer_access(1, USE), IOTSEC_KM_DONE);
    assert_int_equal(offer_access(2, USE), IOTSEC_KM_DONE);
    a->l2[0] = '\0';
    run(IOTSEC_L2_OVERLAP_MS - 1);
    assert_string_equal(a->l2, "");
    run(1);
    assert_string_equal(a->l2, "-1");
    run(3 * IOTSEC_L2_OVERLAP_MS);
    assert_string_equal(a->l2, "-1");
}

static void break_session(struct device *a)
{
    w.lose = true;
    iotsec_dev_renew_session(&a->device);
    (void)iotsec_dtls_flush(&a->device.dtls);
    w.lose = false;
    run(1000);
    assert_int_not_equal(a->device.session, 0);
}

/* Numbers 255 apart share an index: the key in use is not replaced under those that still send with it. */
static void keeps_the_index_in_use(void **state)
{
    struct device *a = join_there();

    (void)state;
    assert_int_equal(offer_access(3, USE), IOTSEC_KM_DONE);
    assert_int_equal(offer_access(258, 0), IOTSEC_KM_FAILED);
    assert_string_equal(a->l2, "+3 !3");
    assert_int_equal(offer_access(259, 0), IOTSEC_KM_DONE);
    assert_int_equal(offer_access(513, 0), IOTSEC_KM_FAILED);
    assert_string_equal(a->l2, "+3 !3 +4");
    assert_int_equal(offer_access(513, USE), IOTSEC_KM_DONE);
    assert_string_equal(a->l2, "+3 !3 +4 +3 !3");
    assert_int_equal(a->l2_key[0], (uint8_t)513);
    /* in another session the key in use comes again, whatever is said of its use */
    break_session(a);
    assert_int_equal(offer_access(513, 0), IOTSEC_KM_DONE);
}

/* A new session: the manager's word is taken again, but the link layer is not disturbed by it. */
static void takes_them_again_in_a_new_session(void **state)
{
    struct device *a = join_there();

    (void)state;
    assert_int_equal(offer_access(4, USE), IOTSEC_KM_DONE);
    assert_int_equal(offer_access(5, 0), IOTSEC_KM_DONE);
    a->l2[0] = '\0';
    a->told = 0;
    break_session(a);
    assert_int_equal(offer_access(4, USE), IOTSEC_KM_DONE);
    assert_string_equal(a->l2, "+4 !4"); /* 5 waits on, and nothing is a previous key */
    assert_int_equal(a->told, 1);
    run(IOTSEC_L2_OVERLAP_MS);
    assert_string_equal(a->l2, "+4 !4");
    break_session(a);
    a->l2[0] = '\0';
    assert_int_equal(offer_access(3, USE), IOTSEC_KM_DONE); /* a registry from a backup */
    assert_string_equal(a->l2, "+3 -5 !3");
    run(IOTSEC_L2_OVERLAP_MS);
    assert_string_equal(a->l2, "+3 -5 !3 -4");
    break_session(a);
    a->l2[0] = '\0';
    a->told = 0;
    assert_int_equal(offer_access(3, 0), IOTSEC_KM_DONE);
    assert_int_equal(a->told, 1); /* the first in this session */
    assert_int_equal(offer_access(3, USE), IOTSEC_KM_DONE);
    assert_string_equal(a->l2, "+3 +3 !3");
}

/* Out of the domain: nothing stays, and the last words leave before. */
static void removes_its_keys(void **state)
{
    static const struct {
        uint8_t kind, code; /* 0: it leaves */
        enum iotsec_device_event_kind event;
    } rows[] = {
        /* 1 */ { IOTSEC_KM_EVICTED, 0, IOTSEC_DEVICE_EVICTED },
        /* 2 */ { IOTSEC_KM_REFUSED, IOTSEC_KM_REASON_NOT_AUTHORISED, IOTSEC_DEVICE_EVICTED },
        /* 3 */ { 0, 0, IOTSEC_DEVICE_LEFT },
    };
    size_t i;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct device *a;

        assert_int_equal(setup(state), 0);
        a = join_there();
        assert_int_equal(offer_access(1, USE), IOTSEC_KM_DONE);
        assert_int_equal(offer_access(2, USE), IOTSEC_KM_DONE);
        assert_int_equal(offer_access(3, 0), IOTSEC_KM_DONE);
        a->l2[0] = '\0';
        w.heard_count = 0;
        if (rows[i].kind != 0) {
            say_kind(rows[i].kind, 0, rows[i].code);
        } else {
            assert_int_equal(iotsec_leave(&a->device), IOTSEC_OK);
            assert_string_equal(a->l2, ""); /* the way to the manager is still needed */
        }
        run(100);
        if (strcmp(a->l2, "-2 -1 -3") != 0 || a->events[rows[i].event] != 1 || w.heard_count != 1 ||
            a->queued_then == 0) {
            fail_msg("row %u: \"%s\"", (unsigned)i + 1, a->l2);
        }
        run(IOTSEC_L2_OVERLAP_MS);
        assert_string_equal(a->l2, "-2 -1 -3");
    }
}

#if IOTSEC_CONNECTION_ID

/* ---- The move ---- */

static unsigned count(uint8_t kind)
{
    unsigned n = 0;
    size_t i;

    for (i = 0; i < w.heard_count; i++) {
        n += w.heard[i].kind == kind;
    }
    return n;
}

static bool stands_at(const struct device *a, const struct iotsec_addr *addr)
{
    struct iotsec_addr at;

    return iotsec_dtls_peer(&a->device.dtls, a->device.session, &at, NULL) == IOTSEC_OK && iotsec_addr_equal(&at, addr);
}

static void move_now(struct device *d)
{
    assert_int_equal(iotsec_moved(&d->device, &w.manager_own), IOTSEC_OK);
}

static void moves(void **state)
{
    struct device *a = join_there();
    iotsec_dtls_handle session = w.session;

    (void)state;
    a->on_access = move_now;
    w.heard_count = 0;
    assert_int_equal(offer_access(1, USE), -1); /* MOVED came behind the acknowledgement */
    assert_int_equal(w.heard[0].kind, IOTSEC_KM_ACK);
    assert_int_equal(w.heard[1].kind, IOTSEC_KM_MOVED);
    run(100);
    assert_int_equal(a->events[IOTSEC_DEVICE_MOVED], 1);
    assert_int_equal(a->event.reason, IOTSEC_OK);
    assert_int_equal(w.checks, 1);
    assert_int_equal(count(IOTSEC_KM_MOVED), 1);
    assert_true(stands_at(a, &w.manager_own));
    assert_int_equal(w.session, session);
    assert_int_equal(w.sessions_made, 1);
    /* it goes on there, and the groups stay where they were */
    w.link_silent = true;
    w.heard_count = 0;
    say_pair(GROUP, K + 1, 5, 1);
    run(100);
    assert_int_equal(w.heard_count, 1);
    assert_int_equal(group_of(a)->csb.addr.interface, 3);
    run(3600000u + 3600000u / 8);
    assert_true(count(IOTSEC_KM_STATUS) >= 1);
    assert_int_equal(a->events[IOTSEC_DEVICE_CONTACT_LOST], 0);
    assert_int_equal(a->events[IOTSEC_DEVICE_MOVED], 1);
}

/* The acknowledgement of ACCESS leaves on the way on which ACCESS came. */
static void acknowledges_on_the_old_way(void **state)
{
    struct device *a = join_there();
    struct iotsec_km_message message;

    (void)state;
    a->on_access = move_now;
    fill_access(&message, 1, USE);
    say(&message);
    (void)iotsec_dtls_flush(&w.dtls);
    {
        struct datagram datagram = take();

        assert_int_equal(hand(a, &datagram), IOTSEC_OK);
    }
    assert_int_equal(w.queued, 1);
    assert_true(iotsec_addr_equal(&w.queue[0].to, &w.manager_addr));
    (void)iotsec_poll(&a->device);
    assert_int_equal(w.queued, 2);
    assert_true(iotsec_addr_equal(&w.queue[1].to, &w.manager_own));
    assert_true(iotsec_addr_equal(&w.queue[1].from, &a->own));
}

/* No answer at the new address: back to the old one, and contact is not lost. What came on the old way meanwhile
 * is repeated. */
static void goes_back(void **state)
{
    struct device *a = join_there();
    unsigned lost = 0;

    (void)state;
    w.own_silent = true;
    w.heard_count = 0;
    move_now(a);
    assert_int_equal(iotsec_group_join(&a->device, OTHER), IOTSEC_OK); /* waits behind the move */
    say_pair(GROUP, K + 1, 5, 1);
    run(1000);
    assert_int_equal(w.heard_count, 0);
    assert_int_equal(group_of(a)->csb.key_number, K + 1); /* what still comes the old way is taken */
    while (a->events[IOTSEC_DEVICE_MOVED] == 0) {
        run(500);
        assert_true(++lost < 80);
    }
    assert_int_equal(a->event.reason, IOTSEC_ERR_NO_ANSWER);
    assert_true(stands_at(a, &w.manager_addr));
    say_pair(GROUP, K + 2, 5, 2);
    run(100);
    assert_int_equal(group_of(a)->csb.key_number, K + 2);
    assert_int_equal(count(IOTSEC_KM_GROUP_REQUEST), 1);
    assert_int_equal(a->events[IOTSEC_DEVICE_CONTACT_LOST], 0);
    assert_int_equal(a->events[IOTSEC_DEVICE_MOVED], 1);
    assert_int_equal(w.sessions_made, 1);
    /* and another try */
    w.own_silent = false;
    move_now(a);
    run(100);
    assert_int_equal(a->events[IOTSEC_DEVICE_MOVED], 2);
    assert_int_equal(a->event.reason, IOTSEC_OK);
}

static void is_refused(void **state)
{
    struct device *a = join_there();

    (void)state;
    w.answer = IOTSEC_KM_FAILED;
    move_now(a);
    run(100);
    assert_int_equal(a->events[IOTSEC_DEVICE_MOVED], 1);
    assert_int_equal(a->event.reason, IOTSEC_ERR_NO_ANSWER);
    assert_true(stands_at(a, &w.manager_addr));
    assert_int_equal(a->events[IOTSEC_DEVICE_CONTACT_LOST], 0);
}

static void stays_without_a_connection_id(void **state)
{
    struct device *a = join(); /* its configuration asks for none */

    (void)state;
    w.heard_count = 0;
    assert_int_equal(iotsec_moved(&a->device, &w.manager_own), IOTSEC_ERR_UNSUPPORTED);
    run(1000);
    assert_int_equal(w.heard_count, 0);
    assert_true(stands_at(a, &w.manager_addr));
    assert_int_equal(a->events[IOTSEC_DEVICE_MOVED], 0);
    break_session(a);
    assert_true(stands_at(a, &w.manager_own));
}

static void checks_what_is_moved(void **state)
{
    struct device *a = &w.devices[0];
    struct iotsec_addr group = group_addr(GROUP);

    (void)state;
    assert_int_equal(iotsec_moved(NULL, &w.manager_own), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_moved(&a->device, NULL), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_moved(&a->device, &w.manager_own), IOTSEC_ERR_STATE);
    a = join_there();
    assert_int_equal(iotsec_moved(&a->device, &group), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_leave(&a->device), IOTSEC_OK);
    assert_int_equal(iotsec_moved(&a->device, &w.manager_own), IOTSEC_ERR_STATE);
}

/* The move overtakes the join: its answers come in the moved session, and JOINED once. */
static void moves_while_it_joins(void **state)
{
    struct device *a = &w.devices[0];
    const uint16_t groups[] = { GROUP, OTHER };
    unsigned i;

    for (i = 0; i < 2; i++) { /* groups named in the hello, and in the session */
        assert_int_equal(setup(state), 0);
        a->config.connection_id = IOTSEC_CONNECTION_ID_LINK_LOCAL;
        a->config.hide_groups = (uint8_t)i;
        boot(a);
        a->on_access = move_now;
        assert_int_equal(iotsec_join(&a->device, &w.manager_addr, groups, 2), IOTSEC_OK);
        while (w.session == 0) {
            deliver_all();
        }
        (void)iotsec_poll(&a->device); /* a request may be under way */
        assert_int_equal(a->device.request_kind, i == 0 ? 0 : IOTSEC_KM_GROUP_REQUEST);
        assert_true(offer_access(1, USE) <= 0);
        run(100);
        assert_int_equal(a->events[IOTSEC_DEVICE_MOVED], 1);
        assert_int_equal(a->event.reason, IOTSEC_OK);
        assert_int_equal(count(IOTSEC_KM_GROUP_REQUEST), i == 0 ? 0 : 3); /* the one before the move was asked again */
        assert_int_equal(a->events[IOTSEC_DEVICE_JOINED], 0);
        say_pair(GROUP, K, 5, 0);
        run(100);
        say_pair(OTHER, K, 6, 0);
        run(3000);
        assert_int_equal(a->events[IOTSEC_DEVICE_JOINED], 1);
        assert_int_equal(a->events[IOTSEC_DEVICE_GROUP_JOINED], 2);
        assert_int_equal(a->events[IOTSEC_DEVICE_MOVED], 1);
        assert_int_equal(w.sessions_made, 1);
        a->config.hide_groups = 0;
    }
}

/* The last call counts: one event. */
static void moves_twice(void **state)
{
    struct device *a = join_there();
    struct iotsec_addr nowhere = w.manager_own;

    (void)state;
    nowhere.ip[15] = 77;
    assert_int_equal(iotsec_moved(&a->device, &nowhere), IOTSEC_OK);
    run(2000);
    move_now(a);
    run(100);
    assert_int_equal(a->events[IOTSEC_DEVICE_MOVED], 1);
    assert_int_equal(a->event.reason, IOTSEC_OK);
    assert_true(stands_at(a, &w.manager_own));
    /* from there, to nowhere and back */
    assert_int_equal(iotsec_moved(&a->device, &nowhere), IOTSEC_OK);
    run(40000);
    assert_int_equal(a->events[IOTSEC_DEVICE_MOVED], 2);
    assert_int_equal(a->event.reason, IOTSEC_ERR_NO_ANSWER);
    assert_true(stands_at(a, &w.manager_own));
    run(60000);
    assert_int_equal(a->events[IOTSEC_DEVICE_MOVED], 2);
}

/* The session ends while MOVED is outstanding: told once, and contact is sought as usual. */
static void ends_while_it_moves(void **state)
{
    struct device *a = join_there();

    (void)state;
    w.own_silent = true;
    move_now(a);
    run(100);
    assert_int_equal(iotsec_dtls_close(&a->device.dtls, a->device.session, IOTSEC_ALERT_CLOSE_NOTIFY), IOTSEC_OK);
    a->device.dtls_config.callbacks->closed(&a->device, a->device.session, 0, IOTSEC_ERR_CLOSED);
    run(1000);
    assert_int_equal(a->events[IOTSEC_DEVICE_CONTACT_LOST], 1);
    assert_int_equal(a->events[IOTSEC_DEVICE_MOVED], 1);
    assert_int_equal(a->events[IOTSEC_DEVICE_CONTACT], 1);
    assert_true(stands_at(a, &w.manager_addr));
    /* leaving does not wait for it either */
    move_now(a);
    run(100);
    assert_int_equal(iotsec_leave(&a->device), IOTSEC_OK);
    run(100);
    assert_int_equal(a->events[IOTSEC_DEVICE_LEFT], 1);
    assert_int_equal(a->event.reason, IOTSEC_OK);
    assert_int_equal(a->events[IOTSEC_DEVICE_MOVED], 2);
}

/* When the manager is not found where the session moved to, it is sought where the device joined, and so on in turn. */
static void seeks_on_both_ways(void **state)
{
    struct device *a = join_there();

    (void)state;
    move_now(a);
    run(100);
    assert_true(stands_at(a, &w.manager_own));
    w.own_silent = true;
    iotsec_dev_renew_session(&a->device);
    run(15000);
    assert_int_equal(a->device.session, 0); /* tried at its own address */
    run(30000);
    assert_true(stands_at(a, &w.manager_addr));
    /* which does not make the other one forgotten */
    w.link_silent = true;
    w.own_silent = false;
    iotsec_dev_renew_session(&a->device);
    run(90000);
    assert_true(stands_at(a, &w.manager_own));
    /* nor does a move that fails from the old way */
    w.link_silent = false;
    w.own_silent = true;
    iotsec_dev_renew_session(&a->device);
    run(120000);
    assert_true(stands_at(a, &w.manager_addr));
    move_now(a);
    run(40000);
    assert_int_equal(a->event.reason, IOTSEC_ERR_NO_ANSWER);
    assert_true(stands_at(a, &w.manager_addr));
    w.own_silent = false;
    move_now(a);
    run(100);
    assert_true(stands_at(a, &w.manager_own));
}

/* Without a session the next one is opened there, at once. */
/* Whoever answers at the address of old, with alerts that anybody can make or with a session that leads nowhere, does
 * not keep the device from the manager's own. */
static void is_not_held_on_the_old_way(void **state)
{
    static const uint8_t alert[] = { 21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, IOTSEC_ALERT_FATAL, IOTSEC_ALERT_DECRYPT_ERROR };
    struct device *a = join_there();
    struct datagram forged;
    unsigned i;

    (void)state;
    memset(&forged, 0, sizeof forged);
    forged.from = w.manager_addr;
    forged.to = a->addr;
    memcpy(forged.data, alert, sizeof alert);
    forged.len = sizeof alert;
    move_now(a);
    run(100);
    w.own_silent = true;
    iotsec_dev_renew_session(&a->device);
    for (i = 0; i < 1000 && (a->device.handshake == 0 || (a->device.flags & DEVICE_OLD_WAY) == 0); i++) {
        w.link_silent = true;
        run(100);
    }
    assert_true(i < 1000);
    w.own_silent = false;
    for (i = 0; i < 1000 && a->device.session == 0; i++) {
        (void)hand(a, &forged);
        run(100);
    }
    assert_true(stands_at(a, &w.manager_own));
    w.link_silent = false;
    w.own_silent = true;
    iotsec_dev_renew_session(&a->device);
    run(120000);
    assert_true(stands_at(a, &w.manager_addr));
    w.own_silent = false;
    iotsec_dev_lose_contact(&a->device, IOTSEC_ERR_NO_ANSWER);
    run(120000);
    assert_true(stands_at(a, &w.manager_own));
}

static void opens_a_session_there(void **state)
{
    struct device *a = join_there();

    (void)state;
    w.link_silent = true;
    iotsec_dev_renew_session(&a->device);
    do {
        run(500);
    } while (a->device.handshake != 0 || (a->device.flags & DEVICE_OLD_WAY) == 0 ||
             iotsec_time_left(w.base.now, a->device.contact_at) < 1000); /* between two attempts */
    assert_int_equal(a->device.session, 0);
    move_now(a);
    run(100);
    assert_true(stands_at(a, &w.manager_own));
    assert_int_equal(a->events[IOTSEC_DEVICE_MOVED], 0);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(takes_what_is_newer, setup),
        cmocka_unit_test_setup(keeps_the_index_in_use, setup),
        cmocka_unit_test_setup(tells_what_is_new, setup),
        cmocka_unit_test_setup(needs_no_link_layer, setup),
        cmocka_unit_test_setup(takes_them_from_the_manager_only, setup),
        cmocka_unit_test_setup(forgets_the_previous_key, setup),
        cmocka_unit_test_setup(takes_them_again_in_a_new_session, setup),
        cmocka_unit_test_setup(removes_its_keys, setup),
#if IOTSEC_CONNECTION_ID
        cmocka_unit_test_setup(moves, setup),
        cmocka_unit_test_setup(acknowledges_on_the_old_way, setup),
        cmocka_unit_test_setup(goes_back, setup),
        cmocka_unit_test_setup(is_refused, setup),
        cmocka_unit_test_setup(stays_without_a_connection_id, setup),
        cmocka_unit_test_setup(checks_what_is_moved, setup),
        cmocka_unit_test_setup(moves_while_it_joins, setup),
        cmocka_unit_test_setup(moves_twice, setup),
        cmocka_unit_test_setup(ends_while_it_moves, setup),
        cmocka_unit_test_setup(seeks_on_both_ways, setup),
        cmocka_unit_test_setup(is_not_held_on_the_old_way, setup),
        cmocka_unit_test_setup(opens_a_session_there, setup),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0;
}

#endif
