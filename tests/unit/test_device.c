/* SPDX-License-Identifier: BSD-3-Clause */
/* The device: group messages, keys, joins, contact, persistence. */
#include "device_world.h"

/* ---- Group messages ---- */

static void delivers_once(void **state)
{
    struct device *a = &w.devices[0];
    struct device *b = &w.devices[1];
    struct datagram message;
    struct datagram other;

    (void)state;
    make_members();
    message = sent_by(a);
    assert_int_equal(message.to.interface, 3); /* where the manager is */
    assert_int_equal(message.len, 2 + IOTSEC_GROUP_OVERHEAD_BYTES);
    assert_int_equal(hand(b, &message), IOTSEC_OK);
    assert_int_equal(b->received, 1);
    assert_int_equal(b->last_sender, 1);
    assert_memory_equal(b->last, "on", 2);
    assert_int_equal(hand(b, &message), IOTSEC_ERR_REPLAY);
    assert_int_equal(hand(a, &message), IOTSEC_ERR_UNEXPECTED);
    assert_int_equal(dropped(a, IOTSEC_DROP_OWN), 1);
    assert_int_equal(b->received, 1);

    other = message;
    other.to.port++;
    assert_int_equal(hand(&w.devices[2], &other), IOTSEC_ERR_NOT_FOUND);
    other = message;
    other.to.interface = 4;
    assert_int_equal(hand(&w.devices[2], &other), IOTSEC_ERR_NOT_FOUND);
    other.to.interface = 0; /* a port that does not say where it received */
    assert_int_equal(hand(&w.devices[2], &other), IOTSEC_OK);
    other.to = b->addr; /* a group record to a unicast address */
    assert_int_equal(hand(&w.devices[2], &other), IOTSEC_ERR_EPOCH);
}

static void takes_only_group_records_from_multicast(void **state)
{
    static const struct {
        uint8_t at, value;
        enum iotsec_status status;
        enum iotsec_drop drop;
    } rows[] = {
        /*  1 a hello        */ { 0, 22, IOTSEC_ERR_UNEXPECTED, IOTSEC_DROP_MULTICAST },
        /*  2 key management */ { 0, 28, IOTSEC_ERR_UNEXPECTED, IOTSEC_DROP_MULTICAST },
        /*  3                */ { 0, 29, IOTSEC_ERR_UNEXPECTED, IOTSEC_DROP_MULTICAST },
        /*  4 an alert       */ { 0, 21, IOTSEC_ERR_UNEXPECTED, IOTSEC_DROP_MULTICAST },
        /*  5 unicast epoch  */ { 3, 0, IOTSEC_ERR_UNEXPECTED, IOTSEC_DROP_MULTICAST },
        /*  6 DTLS 1.0       */ { 2, 0xFF, IOTSEC_ERR_DECODE, IOTSEC_DROP_VERSION },
        /*  7 length         */ { 12, 200, IOTSEC_ERR_DECODE, IOTSEC_DROP_MALFORMED },
        /*  8 length         */ { 12, 7, IOTSEC_ERR_DECODE, IOTSEC_DROP_MALFORMED },
        /*  9 sender 0       */ { 6, 0, IOTSEC_ERR_DECODE, IOTSEC_DROP_MALFORMED },
        /* 10 another sender */ { 6, 77, IOTSEC_ERR_AUTH, IOTSEC_DROP_AUTH },
        /* 11 another counter*/ { 10, 9, IOTSEC_ERR_AUTH, IOTSEC_DROP_AUTH },
        /* 12 another text   */ { 13, 0xAA, IOTSEC_ERR_AUTH, IOTSEC_DROP_AUTH },
    };
    struct device *b = &w.devices[1];
    struct datagram message;
    size_t i;

    (void)state;
    make_members();
    message = sent_by(&w.devices[0]);
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct datagram changed = message;
        unsigned before = dropped(b, rows[i].drop);

        changed.data[rows[i].at] = rows[i].value;
        if (hand(b, &changed) != rows[i].status || dropped(b, rows[i].drop) == before) {
            fail_msg("row %u", (unsigned)i + 1);
        }
    }
    assert_int_equal(b->received, 0);
    assert_int_equal(hand(b, &message), IOTSEC_OK); /* nothing of that spoiled the window */
    /* two records in one datagram */
    message = sent_by(&w.devices[0]);
    memcpy(message.data + message.len, sent_by(&w.devices[0]).data, message.len);
    message.len *= 2;
    assert_int_equal(hand(b, &message), IOTSEC_OK);
    assert_int_equal(b->received, 3);
}

static void keeps_a_window_for_each_sender(void **state)
{
    struct device *a = &w.devices[0];
    static const struct {
        uint16_t sender;
        uint32_t counter;
        enum iotsec_status status;
    } rows[] = {
        /*  1 */ { 20, 100, IOTSEC_OK },
        /*  2 */ { 20, 99, IOTSEC_ERR_REPLAY }, /* below the first one seen: nobody knows */
        /*  3 */ { 20, 37, IOTSEC_ERR_REPLAY },
        /*  4 */ { 20, 0, IOTSEC_ERR_REPLAY },
        /*  5 */ { 21, 99, IOTSEC_OK }, /* another sender's window */
        /*  6 */ { 20, 103, IOTSEC_OK },
        /*  7 */ { 20, 102, IOTSEC_OK }, /* out of order */
        /*  8 */ { 20, 102, IOTSEC_ERR_REPLAY },
        /*  9 */ { 20, 0xFFFFFFFE, IOTSEC_OK },
        /* 10 */ { 20, 0xFFFFFFFE, IOTSEC_ERR_REPLAY },
        /* 11 */ { 20, 0xFFFFFFBF, IOTSEC_OK },
        /* 12 */ { 20, 0xFFFFFFBE, IOTSEC_ERR_REPLAY }, /* below the window */
        /* 13 */ { 20, 101, IOTSEC_ERR_REPLAY },
    };
    size_t i;

    (void)state;
    make_members();
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct datagram d = forge(a, rows[i].sender, K, rows[i].counter);

        if (hand(a, &d) != rows[i].status) {
            fail_msg("row %u", (unsigned)i + 1);
        }
    }
}

static void refuses_senders_without_a_slot(void **state)
{
    struct device *a = &w.devices[0];
    struct datagram d;
    struct datagram first;
    uint16_t sender;

    (void)state;
    give_keys(a, K, 1, 0, false);
    for (sender = 20; sender < 20 + SLOTS; sender++) {
        d = forge(a, sender, K, 5);
        assert_int_equal(hand(a, &d), IOTSEC_OK);
    }
    first = forge(a, 20, K, 5);
    d = forge(a, 30, K, 5);
    assert_int_equal(hand(a, &d), IOTSEC_ERR_FULL);
    assert_int_equal(dropped(a, IOTSEC_DROP_UNKNOWN_SENDER), 1);
    /* a forgery cannot take a slot */
    d.data[d.len - 1] ^= 1;
    assert_int_equal(hand(a, &d), IOTSEC_ERR_FULL);
    assert_int_equal(hand(a, &first), IOTSEC_ERR_REPLAY);

    /* one step on, every slot was still used under the previous key */
    d = forge(a, 20, K + 1, 6);
    assert_int_equal(hand(a, &d), IOTSEC_OK);
    d = forge(a, 30, K + 1, 5);
    assert_int_equal(hand(a, &d), IOTSEC_ERR_FULL);
    /* once that key is gone, only sender 20 has been heard under a key that is held */
    run(IOTSEC_PREVIOUS_KEY_MS);
    for (sender = 30; sender < 33; sender++) {
        d = forge(a, sender, K + 1, 5);
        assert_int_equal(hand(a, &d), IOTSEC_OK);
    }
    d = forge(a, 33, K + 1, 5);
    assert_int_equal(hand(a, &d), IOTSEC_ERR_FULL);
    assert_int_equal(hand(a, &first), IOTSEC_ERR_EPOCH);
    d = forge(a, 20, K + 1, 6);
    assert_int_equal(hand(a, &d), IOTSEC_ERR_REPLAY);
    /* one whose slot was taken starts anew, with what lies below counted as seen */
    run(10000);
    d = forge(a, 21, K + 2, 9);
    assert_int_equal(hand(a, &d), IOTSEC_ERR_FULL);
    d = forge(a, 30, K + 2, 9);
    assert_int_equal(hand(a, &d), IOTSEC_OK);
    run(IOTSEC_PREVIOUS_KEY_MS);
    d = forge(a, 21, K + 2, 9);
    assert_int_equal(hand(a, &d), IOTSEC_OK);
    d = forge(a, 21, K + 2, 8);
    assert_int_equal(hand(a, &d), IOTSEC_ERR_REPLAY);
}

/* ---- Steps and generations ---- */

static void follows_a_step(void **state)
{
    struct device *a = &w.devices[0];
    struct device *b = &w.devices[1];
    struct datagram late;
    struct datagram message;

    (void)state;
    make_members();
    late = sent_by(a);
    message = sent_by(b);
    assert_int_equal(hand(a, &message), IOTSEC_OK);
    /* b gets the keys of a step that was made for a joiner */
    message = forge(a, 50, K + 1, 0);
    assert_int_equal(hand(b, &message), IOTSEC_OK);
    assert_int_equal(group_of(b)->csb.key_number, K + 1);
    assert_int_equal(b->events[IOTSEC_DEVICE_GROUP_KEY], 1);
    assert_int_equal(b->event.kind, IOTSEC_DEVICE_SENT_OLD); /* b had sent just before */
    assert_int_equal(hand(b, &late), IOTSEC_OK);  /* what is on its way under the previous key still counts */
    assert_int_equal(hand(b, &late), IOTSEC_ERR_REPLAY);
    /* a follows b */
    message = sent_by(b);
    assert_int_equal(hand(a, &message), IOTSEC_OK);
    assert_int_equal(group_of(a)->csb.key_number, K + 1);
    assert_int_equal(a->events[IOTSEC_DEVICE_SENT_OLD], 1);
    /* nothing was sent since: no second warning */
    message = forge(a, 50, K + 2, 1);
    assert_int_equal(hand(a, &message), IOTSEC_OK);
    assert_int_equal(a->events[IOTSEC_DEVICE_GROUP_KEY], 2);
    assert_int_equal(a->events[IOTSEC_DEVICE_SENT_OLD], 1);
    /* and none for what is long past */
    message = sent_by(a);
    w.base.now += 10001;
    message = forge(a, 50, K + 3, 2);
    assert_int_equal(hand(a, &message), IOTSEC_OK);
    assert_int_equal(a->events[IOTSEC_DEVICE_SENT_OLD], 1);
}

static void hints_at_who_is_behind(void **state)
{
    struct device *a = &w.devices[0];
    struct device *b = &w.devices[1];
    struct device *c = &w.devices[2];
    struct datagram old[3];
    struct datagram step;
    uint32_t before;
    size_t i;

    (void)state;
    make_members();
    before = group_of(b)->csb.counter + group_of(c)->csb.counter;
    for (i = 0; i < 3; i++) {
        old[i] = sent_by(a);
    }
    step = forge(a, 50, K + 2, 0);
    assert_int_equal(hand(b, &step), IOTSEC_OK);
    assert_int_equal(hand(c, &step), IOTSEC_OK);
    /* what a hears within 5 s of the move is heard; after that it is behind */
    w.base.now += IOTSEC_PREVIOUS_KEY_MS;
    assert_int_equal(hand(b, &old[0]), IOTSEC_ERR_EPOCH);
    assert_int_equal(dropped(b, IOTSEC_DROP_BEHIND), 1);
    assert_int_equal(hand(c, &old[0]), IOTSEC_ERR_EPOCH);
    run(600);
    /* one of the two hinted, the other heard it, and a has moved */
    assert_int_equal(group_of(a)->csb.key_number, K + 2);
    assert_int_equal(group_of(b)->csb.counter + group_of(c)->csb.counter, before + 1);
    assert_int_equal(a->received + b->received + c->received, 2); /* the step's message; never an empty one */
    assert_int_equal(a->events[IOTSEC_DEVICE_SENT_OLD], 1);

    /* at most one in 2 s, however much comes */
    w.lose = true;
    before = group_of(b)->csb.counter;
    for (i = 0; i < 100; i++) {
        assert_int_equal(hand(b, &old[1]), IOTSEC_ERR_EPOCH);
        run(100);
    }
    assert_in_range(group_of(b)->csb.counter - before, 3, 5); /* in 10 s */
    w.lose = false;
    /* its own message says the same */
    run(3000);
    before = group_of(b)->csb.counter;
    assert_int_equal(hand(b, &old[2]), IOTSEC_ERR_EPOCH);
    (void)sent_by(b);
    run(3000);
    assert_int_equal(group_of(b)->csb.counter, before + 1);
}

static void asks_about_what_it_cannot_reach(void **state)
{
    struct device *a = &w.devices[0];
    struct datagram strange;
    uint32_t last;
    uint32_t gap;
    unsigned asked = 0;

    (void)state;
    make_members();
    a->device.state = DEVICE_JOINED;
    a->device.session = 0x7FFF0001u; /* names nothing: what is sent on it goes nowhere */
    a->device.status_at = w.base.now + 0x40000000u;
    strange = forge(a, 50, K, 0);
    strange.data[3]++; /* the next generation, says somebody */
    last = w.base.now;
    for (asked = 0; asked < 12; asked++) {
        uint32_t expected = iotsec_min_u32(10000u << asked, 3600000u);

        for (;;) {
            assert_int_equal(hand(a, &strange), IOTSEC_ERR_EPOCH);
            iotsec_dev_group_poll(&a->device);
            if ((group_of(a)->flags & GROUP_DUE) != 0) {
                break;
            }
            w.base.now += 500;
        }
        gap = w.base.now - last;
        last = w.base.now;
        if (gap < expected / 2 || gap > expected + 500) {
            fail_msg("ask %u after %u ms", asked + 1, (unsigned)gap);
        }
        group_of(a)->flags &= (uint16_t)~GROUP_DUE; /* the manager says that nothing is newer */
    }
    /* something newer did come: the next question is asked soon again */
    give_keys(a, RENEWED, 1, 1, false);
    strange.data[4] = 0xEE;
    assert_int_equal(hand(a, &strange), IOTSEC_ERR_EPOCH);
    assert_in_range(group_of(a)->ask_at - w.base.now, 5000, 10000);
}

static void drops_the_old_key_at_an_eviction(void **state)
{
    struct device *a = &w.devices[0];
    struct datagram seen;
    struct datagram unseen;
    struct datagram reused;

    (void)state;
    make_members();
    seen = forge(a, 50, K, 0);
    unseen = forge(a, 50, K, 1);
    assert_int_equal(hand(a, &seen), IOTSEC_OK);
    give_keys(a, RENEWED, 1, 1, true);
    assert_int_equal(hand(a, &seen), IOTSEC_ERR_EPOCH);
    assert_int_equal(hand(a, &unseen), IOTSEC_ERR_EPOCH);
    reused = forge(a, 50, RENEWED, 0); /* the sender ID means somebody else now */
    assert_int_equal(hand(a, &reused), IOTSEC_OK);
    assert_int_equal(hand(a, &reused), IOTSEC_ERR_REPLAY);
}

static void keeps_the_old_key_after_a_renewal(void **state)
{
    struct device *a = &w.devices[0];
    struct datagram seen;
    struct datagram unseen;
    struct datagram reused;
    struct datagram own;

    (void)state;
    make_members();
    seen = forge(a, 50, K, 0);
    unseen = forge(a, 50, K, 1);
    own = sent_by(a);
    assert_int_equal(hand(a, &seen), IOTSEC_OK);
    give_keys(a, RENEWED, 51, 1, false);
    w.queued = 0;
    assert_int_equal(hand(a, &seen), IOTSEC_ERR_REPLAY); /* not new because the generation is */
    reused = forge(a, 50, RENEWED, 0);
    assert_int_equal(hand(a, &reused), IOTSEC_OK);
    assert_int_equal(hand(a, &reused), IOTSEC_ERR_REPLAY);
    assert_int_equal(hand(a, &unseen), IOTSEC_OK);
    assert_int_equal(hand(a, &unseen), IOTSEC_ERR_REPLAY);
    assert_int_equal(hand(a, &own), IOTSEC_ERR_UNEXPECTED); /* an echo, under the sender ID of then */
    assert_int_equal(dropped(a, IOTSEC_DROP_OWN), 1);
    w.base.now += IOTSEC_PREVIOUS_KEY_MS;
    assert_int_equal(hand(a, &unseen), IOTSEC_ERR_EPOCH);
    assert_int_equal(hand(a, &reused), IOTSEC_ERR_REPLAY);
}

/* Installing what is installed is a no-op: no counter and no window starts again. */
static void takes_the_same_keys_twice(void **state)
{
    struct device *a = &w.devices[0];
    struct datagram seen;
    uint32_t counter;

    (void)state;
    make_members();
    seen = forge(a, 50, K, 0);
    assert_int_equal(hand(a, &seen), IOTSEC_OK);
    (void)sent_by(a);
    counter = group_of(a)->csb.counter;
    give_keys(a, K, 1, 0, false);
    give_keys(a, K, 1, 0, true);
    assert_int_equal(hand(a, &seen), IOTSEC_ERR_REPLAY);
    assert_int_equal(group_of(a)->csb.counter, counter);
    assert_int_equal(a->events[IOTSEC_DEVICE_GROUP_JOINED] + a->events[IOTSEC_DEVICE_GROUP_KEY], 0);
    assert_int_equal(a->listens, 1);
}

static void counts_forgeries(void **state)
{
    struct device *a = &w.devices[0];
    unsigned i;

    (void)state;
    make_members();
    for (i = 0; i < 400; i++) {
        struct datagram d = forge(a, 50, K + (i & 1), i);

        d.data[d.len - 1] ^= 1;
        assert_int_equal(hand(a, &d), IOTSEC_ERR_AUTH);
        assert_int_equal(a->events[IOTSEC_DEVICE_FORGERIES], i + 1 >= IOTSEC_FORGERY_LIMIT);
    }
    assert_int_equal(group_of(a)->csb.key_number, K);
    give_keys(a, RENEWED, 1, 1, false);
    for (i = 0; i < IOTSEC_FORGERY_LIMIT; i++) {
        struct datagram d = forge(a, 50, RENEWED, i);

        d.data[d.len - 1] ^= 1;
        assert_int_equal(hand(a, &d), IOTSEC_ERR_AUTH);
    }
    assert_int_equal(a->events[IOTSEC_DEVICE_FORGERIES], 2); /* once a generation */
}

static void checks_what_is_sent(void **state)
{
    struct device *a = &w.devices[0];
    uint8_t long_one[256];

    (void)state;
    memset(long_one, 'x', sizeof long_one);
    assert_int_equal(iotsec_group_send(&a->device, GROUP, long_one, 1), IOTSEC_ERR_NOT_FOUND);
    make_members();
    assert_int_equal(iotsec_group_send(&a->device, OTHER, long_one, 1), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_group_send(&a->device, GROUP, long_one, 0), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_group_send(&a->device, GROUP, NULL, 1), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_group_send(&a->device, GROUP, long_one, sizeof a->tx - 20), IOTSEC_ERR_TOO_LONG);
    assert_int_equal(iotsec_group_send(&a->device, GROUP, long_one, sizeof a->tx - 21), IOTSEC_OK);
    assert_int_equal(take().len, sizeof a->tx);
}

static void stops_at_the_last_counter(void **state)
{
    struct device *a = &w.devices[0];

    (void)state;
    make_members();
    group_of(a)->csb.counter = IOTSEC_GROUP_COUNTER_SOFT - 1;
    (void)sent_by(a);
    assert_int_equal(group_of(a)->flags & GROUP_ASK, GROUP_ASK); /* for a new sender ID */
    group_of(a)->csb.counter = IOTSEC_GROUP_COUNTER_HARD - 1;
    (void)sent_by(a);
    assert_int_equal(iotsec_group_send(&a->device, GROUP, (const uint8_t *)"x", 1), IOTSEC_ERR_COUNTER);
    run(10);
    run(1000);
    assert_int_equal(a->events[IOTSEC_DEVICE_COUNTER], 1);
    assert_int_equal(w.queued, 0);
    give_keys(a, K + 1, 60, 1, false);
    (void)sent_by(a);
    assert_int_equal(group_of(a)->csb.counter, 1);
}

/* ---- Key management, with the test as the manager ---- */

static void acknowledges_pairs(void **state)
{
    struct iotsec_km_message pair[2];
    struct device *a = join();

    (void)state;
    /* one half alone is not acknowledged */
    fill_pair(pair, GROUP, K + 1, 5, 1, false);
    say(&pair[0]);
    (void)iotsec_dtls_flush(&w.dtls);
    run(100);
    assert_int_equal(w.heard_count, 0);
    say(&pair[1]);
    (void)iotsec_dtls_flush(&w.dtls);
    run(100);
    assert_int_equal(w.heard_count, 1);
    assert_int_equal(heard(IOTSEC_KM_ACK)->code, IOTSEC_KM_DONE);
    assert_int_equal(a->events[IOTSEC_DEVICE_GROUP_KEY], 1);
    /* the same pair, and an older one: once each, and nothing changes */
    say_pair(GROUP, K + 1, 5, 1);
    run(100);
    assert_int_equal(w.heard_count, 2);
    say_pair(GROUP, K, 5, 0);
    run(100);
    assert_int_equal(w.heard_count, 3);
    assert_int_equal(heard(IOTSEC_KM_ACK)->code, IOTSEC_KM_DONE);
    assert_int_equal(a->events[IOTSEC_DEVICE_GROUP_KEY], 1);
    /* another TGK under that number */
    say_pair(GROUP, K + 1, 5, 2);
    run(100);
    assert_int_equal(w.heard_count, 4);
    assert_int_equal(heard(IOTSEC_KM_ACK)->code, IOTSEC_KM_CONFLICT);
    assert_int_equal(a->events[IOTSEC_DEVICE_KEY_CONFLICT], 1);
    say_pair(GROUP, K + 1, 5, 2);
    run(11000);
    assert_int_equal(a->events[IOTSEC_DEVICE_KEY_CONFLICT], 1); /* told once */
    assert_int_equal(heard(IOTSEC_KM_STATUS)->code, IOTSEC_KM_STATUS_CONFLICT);
    assert_int_equal(heard(IOTSEC_KM_STATUS)->key_number, K + 1);
    assert_int_equal(heard(IOTSEC_KM_STATUS)->sender_id, 5);
    /* a group that was never asked for */
    w.heard_count = 0;
    say_pair(OTHER, K, 5, 0);
    run(100);
    assert_int_equal(w.heard_count, 1);
    assert_int_equal(w.heard[0].code, IOTSEC_KM_NO_ROOM);
    assert_null(iotsec_dev_group(&a->device, OTHER));
}

static void takes_only_a_managers_messages(void **state)
{
    static const uint8_t kinds[] = { IOTSEC_KM_GROUP_REQUEST, IOTSEC_KM_GROUP_LEAVE, IOTSEC_KM_DOMAIN_LEAVE };
    struct device *a = join();
    struct device *b = &w.devices[1];
    uint8_t data[4] = { IOTSEC_KM_EVICTED, 1, 0, 0 };
    struct iotsec_addr b_addr = b->addr;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof kinds; i++) {
        say_kind(kinds[i], GROUP, 0);
        run(10);
        assert_int_equal(dropped(a, IOTSEC_DROP_NOT_ALLOWED), i + 1);
    }
    assert_int_equal(iotsec_dtls_send(&w.dtls, w.session, 23, data, 2), IOTSEC_OK); /* application data */
    assert_int_equal(iotsec_dtls_send(&w.dtls, w.session, 28, data, 2), IOTSEC_OK); /* the other type */
    assert_int_equal(iotsec_dtls_send(&w.dtls, w.session, 29, data, 3), IOTSEC_OK); /* too long */
    (void)iotsec_dtls_flush(&w.dtls);
    run(10);
    assert_int_equal(dropped(a, IOTSEC_DROP_NOT_ALLOWED), 4);
    assert_int_equal(dropped(a, IOTSEC_DROP_MALFORMED), 2);
    say_ack(77, IOTSEC_KM_NOT_MEMBER); /* to a request that was never made */
    (void)iotsec_dtls_flush(&w.dtls);
    run(10);
    assert_int_equal(dropped(a, IOTSEC_DROP_UNEXPECTED), 1);
    assert_int_equal(w.heard_count, 0);
    assert_int_equal(group_of(a)->state, GROUP_HELD);
    /* a device is nobody's server */
    assert_int_equal(iotsec_dtls_connect(&w.dtls, &b_addr, (const uint8_t *)"m", 1, psk, 16, 0, NULL), IOTSEC_OK);
    run(1000);
    assert_int_equal(b->device.dtls.sessions_used + b->device.dtls.handshakes_used, 0);
}

static void knows_a_manager(void **state)
{
    struct device *a = &w.devices[0];

    (void)state;
    w.no_extension = true;
    assert_int_equal(iotsec_join(&a->device, &w.manager_addr, NULL, 0), IOTSEC_OK);
    run(1000);
    assert_int_equal(a->events[IOTSEC_DEVICE_JOIN_FAILED], 1);
    assert_int_equal(a->event.reason, IOTSEC_ERR_NO_KEY_MANAGEMENT);
    assert_int_equal(a->device.dtls.sessions_used, 0);
    w.no_extension = false;
    assert_int_equal(iotsec_join(&a->device, &w.manager_addr, NULL, 0), IOTSEC_OK);
    run(1000);
    assert_int_equal(a->events[IOTSEC_DEVICE_JOINED], 1);
    assert_int_equal(w.hello_len, 0);
}

static void hides_its_groups(void **state)
{
    struct device *a = &w.devices[0];
    const uint16_t groups[] = { GROUP, OTHER };

    (void)state;
    a->config.hide_groups = 1;
    w.answer = IOTSEC_KM_KEYS_FOLLOW;
    assert_int_equal(iotsec_join(&a->device, &w.manager_addr, groups, 2), IOTSEC_OK);
    run(100);
    assert_int_equal(w.hello_len, 0);
    assert_int_equal(w.heard_count, 2);
    assert_int_equal(w.heard[0].kind, IOTSEC_KM_GROUP_REQUEST);
    assert_int_equal(w.heard[0].group_id, GROUP);
    assert_int_equal(w.heard[1].group_id, OTHER);
    say_kind(IOTSEC_KM_REFUSED, OTHER, IOTSEC_KM_REASON_GROUP);
    run(10);
    assert_int_equal(a->events[IOTSEC_DEVICE_GROUP_REFUSED], 1);
    assert_int_equal(a->event.reason, IOTSEC_ERR_GROUP_REFUSED);
    assert_int_equal(a->event.group_id, OTHER);
    assert_int_equal(heard(IOTSEC_KM_ACK)->message, 0x55);
    assert_int_equal(a->events[IOTSEC_DEVICE_JOINED], 0);
    /* announced keys that do not come are asked for again */
    w.heard_count = 0;
    run(KEYS_WAIT_MS + 1000);
    assert_int_equal(w.heard_count, 1);
    assert_int_equal(w.heard[0].kind, IOTSEC_KM_GROUP_REQUEST);
    /* and in the end the application is told */
    run(IOTSEC_JOIN_TIMEOUT_MS - KEYS_WAIT_MS);
    assert_int_equal(a->events[IOTSEC_DEVICE_GROUP_REFUSED], 2);
    assert_int_equal(a->events[IOTSEC_DEVICE_JOINED], 1);
    /* the manager may think otherwise: it is told too, and the application is not told twice */
    assert_int_equal(heard(IOTSEC_KM_GROUP_LEAVE)->group_id, GROUP);
    assert_int_equal(a->events[IOTSEC_DEVICE_GROUP_LEFT], 0);
    assert_null(group_of(a));
}

static void is_put_out(void **state)
{
    struct device *a = join();

    (void)state;
    assert_int_equal(a->listens, 1);
    say_kind(IOTSEC_KM_GROUP_REMOVED, GROUP, 0);
    run(10);
    assert_int_equal(a->events[IOTSEC_DEVICE_GROUP_LEFT], 1);
    assert_int_equal(a->event.reason, IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(a->listens, 0);
    assert_null(group_of(a));
    assert_int_equal(heard(IOTSEC_KM_ACK)->message, 0x55);
    /* the acknowledgement was lost */
    say_kind(IOTSEC_KM_GROUP_REMOVED, GROUP, 0);
    run(10);
    assert_int_equal(w.heard_count, 2);
    assert_int_equal(iotsec_group_join(&a->device, GROUP), IOTSEC_OK);
    run(10);
    say_pair(GROUP, RENEWED, 6, 1);
    run(10);
    assert_int_equal(a->events[IOTSEC_DEVICE_GROUP_JOINED], 2);
    w.heard_count = 0;
    say_kind(IOTSEC_KM_EVICTED, 0, 0);
    run(1000);
    assert_int_equal(heard(IOTSEC_KM_ACK)->code, IOTSEC_KM_DONE);
    assert_int_equal(a->event.kind, IOTSEC_DEVICE_EVICTED);
    assert_int_equal(a->event.reason, IOTSEC_ERR_EVICTED);
    assert_int_equal(a->listens, 0);
    assert_null(group_of(a));
    assert_int_equal(a->device.dtls.sessions_used, 0);
    assert_int_equal(w.dtls.sessions_used, 0);
    assert_int_equal(iotsec_leave(&a->device), IOTSEC_ERR_STATE);
    run(7200000);
    assert_int_equal(w.sessions_made, 2); /* the second for the group's second request; it does not come back by itself */
}

static void is_not_authorised(void **state)
{
    struct device *a = &w.devices[0];

    (void)state;
    assert_int_equal(iotsec_join(&a->device, &w.manager_addr, NULL, 0), IOTSEC_OK);
    deliver_all();
    say_kind(IOTSEC_KM_REFUSED, 0, IOTSEC_KM_REASON_NOT_AUTHORISED);
    run(100);
    assert_int_equal(a->events[IOTSEC_DEVICE_JOIN_FAILED], 1);
    assert_int_equal(a->events[IOTSEC_DEVICE_JOINED], 0);
    assert_int_equal(a->event.reason, IOTSEC_ERR_NOT_AUTHORISED);
    /* a member finds out at its next contact; but not that the registry is out of order */
    memset(a->events, 0, sizeof a->events);
    w.heard_count = 0;
    a = join();
    say_kind(IOTSEC_KM_REFUSED, 0, IOTSEC_KM_REASON_RESOURCES);
    run(1000);
    assert_int_equal(a->events[IOTSEC_DEVICE_CONTACT_LOST], 1);
    assert_int_equal(group_of(a)->state, GROUP_HELD);
    assert_int_equal(a->events[IOTSEC_DEVICE_CONTACT], 1);
    say_kind(IOTSEC_KM_REFUSED, 0, IOTSEC_KM_REASON_NOT_AUTHORISED);
    run(100);
    assert_int_equal(a->events[IOTSEC_DEVICE_EVICTED], 1);
    assert_int_equal(a->event.reason, IOTSEC_ERR_NOT_AUTHORISED);
    assert_null(group_of(a));
}

static void leaves(void **state)
{
    struct device *a = join();

    (void)state;
    w.answer = -1;
    assert_int_equal(iotsec_group_leave(&a->device, OTHER), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_group_leave(&a->device, GROUP), IOTSEC_OK);
    assert_int_equal(a->listens, 0);
    assert_int_equal(iotsec_group_send(&a->device, GROUP, (const uint8_t *)"x", 1), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_group_leave(&a->device, GROUP), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_group_join(&a->device, GROUP), IOTSEC_ERR_AGAIN);
    run(2000);
    assert_int_equal(a->events[IOTSEC_DEVICE_GROUP_LEFT], 0);
    assert_in_range(w.heard_count, 4, 6); /* repeated under one message ID */
    assert_int_equal(w.heard[0].kind, IOTSEC_KM_GROUP_LEAVE);
    assert_int_equal(w.heard[0].message, w.heard[1].message);
    /* keys that crossed it are not taken */
    say_pair(GROUP, K + 1, 5, 1);
    run(10);
    assert_int_equal(heard(IOTSEC_KM_ACK)->code, IOTSEC_KM_NO_ROOM);
    assert_int_equal(group_of(a)->csb.key_number, 0);
    w.answer = IOTSEC_KM_FAILED; /* the registry cannot be written now */
    run(3000);
    assert_int_equal(a->events[IOTSEC_DEVICE_GROUP_LEFT], 0);
    w.answer = IOTSEC_KM_DONE;
    run(11000);
    assert_int_equal(a->events[IOTSEC_DEVICE_GROUP_LEFT], 1);
    assert_int_equal(a->event.reason, IOTSEC_ERR_LEFT);

    w.answer = IOTSEC_KM_FAILED;
    w.heard_count = 0;
    assert_int_equal(iotsec_leave(&a->device), IOTSEC_OK);
    assert_int_equal(iotsec_leave(&a->device), IOTSEC_ERR_STATE);
    run(1000);
    assert_int_equal(w.heard[0].kind, IOTSEC_KM_DOMAIN_LEAVE);
    assert_int_not_equal(w.heard[0].message, w.heard[1].message); /* refused, so it is another question */
    w.answer = IOTSEC_KM_DONE;
    run(5000);
    assert_int_equal(a->events[IOTSEC_DEVICE_LEFT], 1);
    assert_int_equal(a->event.reason, IOTSEC_OK);
    assert_int_equal(w.dtls.sessions_used, 0);
}

/* Closing is not leaving. */
static void closes(void **state)
{
    struct device *a = join();
    unsigned joined;

    (void)state;
    iotsec_device_close(NULL);
    w.heard_count = 0;
    iotsec_device_close(&a->device);
    deliver_all();
    assert_int_equal(w.dtls.sessions_used + a->device.dtls.sessions_used, 0);
    assert_int_equal(group_of(a)->state, GROUP_HELD);
    assert_int_equal(a->events[IOTSEC_DEVICE_CONTACT_LOST] + a->events[IOTSEC_DEVICE_LEFT], 0);
    iotsec_device_close(&a->device); /* nothing more to say */
    assert_int_equal(w.queued, 0);
    run(2000); /* polled again, it makes contact */
    assert_int_equal(w.dtls.sessions_used, 1);
    assert_int_equal(w.heard[0].kind, IOTSEC_KM_STATUS);
    /* in the middle of a join */
    iotsec_device_wipe(&a->device);
    iotsec_device_close(&a->device);
    boot(a);
    joined = a->events[IOTSEC_DEVICE_JOINED];
    assert_int_equal(iotsec_join(&a->device, &w.manager_addr, NULL, 0), IOTSEC_OK);
    iotsec_device_close(&a->device);
    assert_int_equal(a->device.dtls.handshakes_used, 0);
    run(2000);
    assert_int_equal(a->events[IOTSEC_DEVICE_JOINED], joined + 1);
}

static void leaves_without_an_answer(void **state)
{
    struct device *a = join();

    (void)state;
    w.lose = true;
    assert_int_equal(iotsec_leave(&a->device), IOTSEC_OK);
    run(40000);
    assert_int_equal(a->events[IOTSEC_DEVICE_LEFT], 1);
    assert_int_equal(a->event.reason, IOTSEC_ERR_NO_ANSWER);
    assert_int_equal(a->device.dtls.sessions_used, 0);
    /* and a join whose handshake runs is simply given up */
    assert_int_equal(iotsec_join(&a->device, &w.manager_addr, NULL, 0), IOTSEC_OK);
    assert_int_equal(iotsec_leave(&a->device), IOTSEC_OK);
    assert_int_equal(a->device.dtls.handshakes_used, 0);
    run(100000);
    assert_int_equal(a->events[IOTSEC_DEVICE_JOIN_FAILED], 0);
}

static void finds_the_manager_again(void **state)
{
    struct device *a = join();
    uint32_t lost_at;

    (void)state;
    w.lose = true;
    run(3600000 + 3600000 / 8 + 40000); /* the routine STATUS is not answered */
    assert_int_equal(a->events[IOTSEC_DEVICE_CONTACT_LOST], 1);
    assert_int_equal(a->event.reason, IOTSEC_ERR_NO_ANSWER);
    assert_int_equal(group_of(a)->state, GROUP_HELD); /* the group works on */
    run(24 * 3600000u);
    assert_int_equal(a->events[IOTSEC_DEVICE_CONTACT_LOST], 1);
    w.lose = false;
    w.heard_count = 0;
    w.hello_len = 99;
    lost_at = w.base.now;
    while (a->events[IOTSEC_DEVICE_CONTACT] == 0) {
        run(1000);
        assert_true(w.base.now - lost_at < 2 * 3600000u);
    }
    assert_true(w.base.now - lost_at > 10000); /* by now the attempts are rare */
    run(100);
    assert_int_equal(w.hello_len, 0); /* what is held is not requested */
    assert_int_equal(w.heard_count, 1);
    assert_int_equal(w.heard[0].kind, IOTSEC_KM_STATUS);
    assert_int_equal(w.heard[0].key_number, K);
    assert_int_equal(w.heard[0].sender_id, 5);

    /* a manager that closes is called again at once, but not in a loop */
    w.sessions_made = 0;
    assert_int_equal(iotsec_dtls_close(&w.dtls, w.session, IOTSEC_ALERT_CLOSE_NOTIFY), IOTSEC_OK);
    (void)iotsec_dtls_flush(&w.dtls);
    w.answer = -1;
    run(400);
    assert_int_equal(w.sessions_made, 1);
    assert_int_equal(iotsec_dtls_close(&w.dtls, w.session, IOTSEC_ALERT_CLOSE_NOTIFY), IOTSEC_OK);
    (void)iotsec_dtls_flush(&w.dtls);
    run(5000);
    assert_int_equal(w.sessions_made, 1);
    run(10000);
    assert_int_equal(w.sessions_made, 2);
}

static void joins_anew_where_it_is_unknown(void **state)
{
    struct device *a = join();
    uint32_t counter = group_of(a)->csb.counter;

    (void)state;
    assert_true(counter > 0);
    w.answer = IOTSEC_KM_NOT_MEMBER;
    group_of(a)->flags |= GROUP_DUE;
    run(100);
    assert_int_equal(w.heard[0].kind, IOTSEC_KM_STATUS);
    /* not on this session, where a repeat of the wiped keys could follow: the new one's hello asks */
    assert_int_equal(w.heard_count, 1);
    assert_int_equal(w.sessions_made, 2);
    assert_int_equal(group_of(a)->state, GROUP_WANTED);
    assert_int_equal(group_of(a)->csb.key_number, 0);
    assert_int_equal(a->listens, 0);
    say_pair(GROUP, RENEWED, 6, 1);
    run(3000);
    assert_int_equal(a->events[IOTSEC_DEVICE_GROUP_JOINED], 2);
    assert_int_equal(a->event.sender_id, 6);
    assert_int_equal(a->listens, 1);
}

/*
 * The manager repeats a pair when its acknowledgement was lost, under fresh record numbers. One that comes after
 * the keys were wiped must not bring the old sender ID back: its counters have been used under that key.
 */
static void never_takes_wiped_keys_again(void **state)
{
    struct device *a = join();
    unsigned way;

    (void)state;
    for (way = 0; way < 3; way++) {
        iotsec_dtls_handle old = w.session;
        uint32_t key_number = K + 2 * way;
        struct datagram late;

        say_pair(GROUP, key_number, 5, way); /* sealed now, delivered later */
        assert_int_equal(w.queued, 1);
        late = take();
        w.answer = way == 2 ? IOTSEC_KM_NOT_MEMBER : IOTSEC_KM_DONE;
        if (way == 0) {
            assert_int_equal(iotsec_group_leave(&a->device, GROUP), IOTSEC_OK);
        } else if (way == 1) {
            say_kind(IOTSEC_KM_GROUP_REMOVED, GROUP, 0);
        } else {
            group_of(a)->flags |= GROUP_DUE;
        }
        run(0);
        w.answer = -1;
        if (way != 2) {
            assert_null(group_of(a));
            assert_int_equal(iotsec_group_join(&a->device, GROUP), IOTSEC_OK);
        }
        assert_int_equal(group_of(a)->state, GROUP_WANTED);
        (void)hand(a, &late);
        assert_int_equal(group_of(a)->csb.key_number, 0);
        run(1000);
        assert_int_not_equal(w.session, old);
        (void)hand(a, &late);
        assert_int_equal(group_of(a)->csb.key_number, 0);
        say_pair(GROUP, key_number + 2, 5, way + 1);
        run(1000);
        assert_int_equal(group_of(a)->csb.key_number, key_number + 2);
        w.heard_count = 0;
    }
}

/* A question about keys that are gone meanwhile is asked no more: nobody could answer it, and the leave has to be told. */
static void asks_nothing_about_what_it_left(void **state)
{
    struct device *a = join();

    (void)state;
    w.answer = -1;
    group_of(a)->flags |= GROUP_DUE;
    run(10);
    assert_int_equal(w.heard[w.heard_count - 1].kind, IOTSEC_KM_STATUS);
    assert_int_equal(iotsec_group_leave(&a->device, GROUP), IOTSEC_OK);
    w.answer = IOTSEC_KM_DONE;
    run(1000);
    assert_non_null(heard(IOTSEC_KM_GROUP_LEAVE));
    assert_int_equal(a->events[IOTSEC_DEVICE_GROUP_LEFT], 1);
    assert_int_equal(w.sessions_made, 1);
}

/* The plaintext of a key message is wiped once it has been taken: the datagram is the application's memory. */
static void leaves_no_key_in_the_datagram(void **state)
{
    struct device *a = &w.devices[0];
    const uint16_t groups[] = { GROUP };
    struct datagram d;
    size_t i;

    (void)state;
    assert_int_equal(iotsec_join(&a->device, &w.manager_addr, groups, 1), IOTSEC_OK);
    run(100);
    say_pair(GROUP, K, 5, 3);
    d = take();
    assert_int_equal(iotsec_input(&a->device, &d.from, &d.to, d.data, d.len), IOTSEC_OK);
    assert_int_equal(group_of(a)->csb.key_number, K);
    for (i = 0; i + 16 <= d.len; i++) {
        assert_memory_not_equal(d.data + i, tgks[3], 16);
        assert_memory_not_equal(d.data + i, rands[K >> 8 & 1], 16);
    }
}

static void reports_routinely(void **state)
{
    struct device *a = join();

    (void)state;
    (void)a;
    run(24 * 3600000u);
    assert_in_range(w.heard_count, 20, 28);
    assert_int_equal(w.sessions_made, 1);
}

/* Keys further ahead than the next step are derived at most once a second; who is kept from it by others' epochs asks. */
static void asks_about_what_it_may_not_derive(void **state)
{
    struct device *a = &w.devices[0];
    struct datagram false_one;
    struct datagram true_one;

    (void)state;
    make_members();
    false_one = forge(a, 50, K + 9, 0);
    false_one.data[false_one.len - 1]++;
    true_one = forge(a, 50, K + 2, 0);
    assert_int_equal(hand(a, &false_one), IOTSEC_ERR_AUTH);
    assert_int_equal(hand(a, &true_one), IOTSEC_ERR_EPOCH);
    assert_int_equal(group_of(a)->flags & GROUP_ASK, GROUP_ASK);
    w.base.now += 1000;
    assert_int_equal(hand(a, &true_one), IOTSEC_OK);
    assert_int_equal(group_of(a)->flags & GROUP_ASK, 0);
}

/* A callback may call back in: leave in the middle of everything, join again. */
static void leave_at_once(struct device *d, const struct iotsec_device_event *event)
{
    if (event->kind == IOTSEC_DEVICE_GROUP_JOINED) {
        assert_int_equal(iotsec_leave(&d->device), IOTSEC_OK);
    } else if (event->kind == IOTSEC_DEVICE_LEFT) {
        d->on_event = NULL;
        assert_int_equal(iotsec_join(&d->device, &w.manager_addr, NULL, 0), IOTSEC_OK);
    }
}

static void lets_callbacks_call(void **state)
{
    struct device *a = &w.devices[0];
    const uint16_t groups[] = { GROUP, OTHER };

    (void)state;
    a->on_event = leave_at_once;
    assert_int_equal(iotsec_join(&a->device, &w.manager_addr, groups, 2), IOTSEC_OK);
    deliver_all();
    say_pair(GROUP, K, 5, 0);
    say_pair(OTHER, K, 5, 0);
    run(3000);
    assert_int_equal(a->events[IOTSEC_DEVICE_GROUP_JOINED], 1);
    assert_int_equal(a->events[IOTSEC_DEVICE_LEFT], 1);
    assert_int_equal(a->events[IOTSEC_DEVICE_JOINED], 1);
    assert_null(iotsec_dev_group(&a->device, GROUP));
    assert_null(iotsec_dev_group(&a->device, OTHER));
    assert_int_equal(iotsec_join(&a->device, &w.manager_addr, NULL, 0), IOTSEC_ERR_STATE);
}

static void checks_what_is_joined(void **state)
{
    static const struct {
        uint16_t groups[3];
        size_t count;
        enum iotsec_status status;
    } rows[] = {
        /* 1 */ { { 0 }, 1, IOTSEC_ERR_ARGUMENT },
        /* 2 */ { { 4, 4 }, 2, IOTSEC_ERR_ARGUMENT },
        /* 3 */ { { 4, 5, 6 }, 3, IOTSEC_ERR_FULL },
        /* 4 */ { { 4, 5 }, 2, IOTSEC_OK },
    };
    struct device *a = &w.devices[0];
    struct iotsec_addr multicast = group_addr(1);
    size_t i;

    (void)state;
    assert_int_equal(iotsec_join(&a->device, &multicast, NULL, 0), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_group_join(&a->device, 4), IOTSEC_ERR_STATE);
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (iotsec_join(&a->device, &w.manager_addr, rows[i].groups, rows[i].count) != rows[i].status) {
            fail_msg("row %u", (unsigned)i + 1);
        }
    }
    assert_int_equal(iotsec_join(&a->device, &w.manager_addr, NULL, 0), IOTSEC_ERR_STATE);
    run(100);
    assert_int_equal(iotsec_group_join(&a->device, 4), IOTSEC_ERR_EXISTS);
    assert_int_equal(iotsec_group_join(&a->device, 6), IOTSEC_ERR_FULL);
    assert_int_equal(iotsec_group_join(&a->device, 0), IOTSEC_ERR_ARGUMENT);
}

static void checks_its_configuration(void **state)
{
    struct device *d = &w.devices[0];
    struct iotsec_device_config good = d->config;
    struct iotsec_device device;

    (void)state;
#define REFUSED(member, value, expected)                                                                                       \
    d->config = good;                                                                                                          \
    d->config.member = value;                                                                                                  \
    assert_int_equal(iotsec_device_init(&device, &d->config), expected)
    REFUSED(hal, NULL, IOTSEC_ERR_ARGUMENT);
    REFUSED(callbacks, NULL, IOTSEC_ERR_ARGUMENT);
    REFUSED(identity, NULL, IOTSEC_ERR_ARGUMENT);
    REFUSED(identity_len, 0, IOTSEC_ERR_ARGUMENT);
    REFUSED(identity_len, IOTSEC_IDENTITY_MAX + 1, IOTSEC_ERR_ARGUMENT);
    REFUSED(psk, NULL, IOTSEC_ERR_ARGUMENT);
    REFUSED(psk_len, 15, IOTSEC_ERR_ARGUMENT);
    REFUSED(groups, NULL, IOTSEC_ERR_ARGUMENT);
    REFUSED(senders, NULL, IOTSEC_ERR_ARGUMENT);
    REFUSED(sender_count, 7, IOTSEC_ERR_ARGUMENT);
    REFUSED(tx_size, 255, IOTSEC_ERR_ARGUMENT);
    REFUSED(session_count, 0, IOTSEC_ERR_ARGUMENT);
    REFUSED(status_interval_ms, UINT32_MAX, IOTSEC_ERR_ARGUMENT); /* would be past at once, again and again */
    REFUSED(join_timeout_ms, 0x40000000u, IOTSEC_ERR_ARGUMENT);
#undef REFUSED
    d->config = good;
    d->config.persist = 1;
    d->hal.nvm_write = NULL;
    assert_int_equal(iotsec_device_init(&device, &d->config), IOTSEC_ERR_UNSUPPORTED);
    assert_int_equal(iotsec_device_init_checked(&device, &good, IOTSEC_CONFIG_ID + 1, sizeof(struct iotsec_device_group),
                                                sizeof(struct iotsec_dtls_handshake)),
                     IOTSEC_ERR_CONFIG);
    assert_int_equal(iotsec_device_init_checked(&device, &good, IOTSEC_CONFIG_ID, 1, sizeof(struct iotsec_dtls_handshake)),
                     IOTSEC_ERR_CONFIG);
}

/* ---- Power loss ---- */

#if IOTSEC_PERSIST

/* The sender's counter, as it stands in a record on the wire. */
static uint32_t counter_of(const struct datagram *d)
{
    return iotsec_get_u32(d->data + 7);
}

static void never_repeats_a_counter(void **state)
{
    struct device *a = &w.devices[0];
    int64_t last = -1;
    unsigned reboots;
    unsigned i;

    (void)state;
    a->config.persist = 1;
    boot(a);
    give_keys(a, K, 5, 0, false);
    for (reboots = 0; reboots < 40; reboots++) {
        unsigned sends = reboots % 7 * 300;

        for (i = 0; i < sends; i++) {
            enum iotsec_status status;

            random_bytes(NULL, a->last, 1);
            a->nvm_fails = (a->last[0] & 3) == 0;
            status = iotsec_group_send(&a->device, GROUP, (const uint8_t *)"x", 1);
            if (status == IOTSEC_ERR_NVM) {
                assert_true(a->nvm_fails);
                assert_int_equal(w.queued, 0); /* nothing leaves that a reboot would repeat */
            } else {
                struct datagram d;

                assert_int_equal(status, IOTSEC_OK);
                d = take();
                assert_true(counter_of(&d) > last);
                last = counter_of(&d);
            }
        }
        a->nvm_fails = 0;
        boot(a);
        assert_int_equal(group_of(a)->csb.sender_id, 5);
        assert_int_equal(a->listens, 1);
    }
    assert_true(last < 40 * 1024 + 40 * 2100);
    assert_true(a->nvm_writes < 200); /* a block at a time */
}

static void delivers_nothing_twice_over_a_reboot(void **state)
{
    struct device *a = &w.devices[0];
    struct datagram seen[3];
    struct datagram fresh;

    (void)state;
    a->config.persist = 1;
    boot(a);
    give_keys(a, K, 5, 0, false);
    seen[0] = forge(a, 50, K, 0);
    seen[1] = forge(a, 50, K + 1, 1);
    seen[2] = forge(a, 50, K + 2, 2);
    fresh = forge(a, 50, K + 3, 3);
    assert_int_equal(hand(a, &seen[0]), IOTSEC_OK);
    assert_int_equal(hand(a, &seen[1]), IOTSEC_OK);
    assert_int_equal(hand(a, &seen[2]), IOTSEC_OK);
    assert_int_equal(a->received, 3);
    boot(a);
    assert_int_equal(group_of(a)->csb.key_number, K + 2);
    assert_int_not_equal(hand(a, &seen[0]), IOTSEC_OK);
    assert_int_not_equal(hand(a, &seen[1]), IOTSEC_OK);
    assert_int_equal(hand(a, &seen[2]), IOTSEC_ERR_REPLAY);
    give_keys(a, K + 2, 5, 0, false); /* the same number again proves nothing; the TGK differs, so it is a conflict */
    assert_int_equal(hand(a, &seen[2]), IOTSEC_ERR_REPLAY);
    assert_int_equal(hand(a, &fresh), IOTSEC_OK);
    assert_int_equal(a->received, 1);
    /* the key before it opens nothing now, although it would be the previous one */
    assert_int_not_equal(hand(a, &seen[2]), IOTSEC_OK);
    assert_int_equal(a->received, 1);
}

/* K must be in NVM before anything under it is delivered. */
static void delivers_nothing_that_nvm_does_not_know(void **state)
{
    struct device *a = &w.devices[0];
    struct datagram d;

    (void)state;
    a->config.persist = 1;
    boot(a);
    give_keys(a, K, 5, 0, false);
    d = forge(a, 50, K + 1, 1);
    a->nvm_fails = 1;
    assert_int_not_equal(hand(a, &d), IOTSEC_OK);
    assert_int_equal(a->received, 0);
    assert_int_equal(iotsec_group_send(&a->device, GROUP, (const uint8_t *)"x", 1), IOTSEC_ERR_NVM);
    a->nvm_fails = 0;
    d = forge(a, 50, K + 1, 2);
    assert_int_equal(hand(a, &d), IOTSEC_OK);
    boot(a);
    assert_int_equal(group_of(a)->csb.key_number, K + 1);
    assert_int_not_equal(hand(a, &d), IOTSEC_OK);
}

/* The acknowledgement says that it is durable. */
static void acknowledges_what_nvm_knows(void **state)
{
    struct device *a = &w.devices[0];

    (void)state;
    a->config.persist = 1;
    boot(a);
    a = join();
    a->nvm_fails = 1;
    say_pair(GROUP, RENEWED, 5, 1);
    run(10);
    assert_int_equal(w.heard[w.heard_count - 1].kind, IOTSEC_KM_ACK);
    assert_int_equal(w.heard[w.heard_count - 1].code, IOTSEC_KM_FAILED);
    say_pair(GROUP, RENEWED, 5, 1);
    run(10);
    assert_int_equal(w.heard[w.heard_count - 1].code, IOTSEC_KM_FAILED);
    a->nvm_fails = 0;
    say_pair(GROUP, RENEWED, 5, 1); /* as the manager does until it hears that it is done */
    run(10);
    assert_int_equal(w.heard[w.heard_count - 1].code, IOTSEC_KM_DONE);
    boot(a);
    assert_int_equal(group_of(a)->csb.key_number, RENEWED);
}

/* The manager sends the present keys, but a record under them comes first: that is an answer too. */
static void joins_at_once_with_kept_keys(void **state)
{
    struct device *a = &w.devices[0];
    const uint16_t groups[] = { GROUP };
    struct datagram step;
    uint8_t tgk[16];

    (void)state;
    a->config.persist = 1;
    boot(a);
    a = join();
    boot(a);
    w.answer = IOTSEC_KM_KEYS_FOLLOW;
    assert_int_equal(iotsec_join(&a->device, &w.manager_addr, groups, 1), IOTSEC_OK);
    run(100);
    assert_non_null(heard(IOTSEC_KM_STATUS));
    step = forge(a, 50, K + 1, 0);
    assert_int_equal(hand(a, &step), IOTSEC_OK);
    memcpy(tgk, group_of(a)->csb.tgk, sizeof tgk);
    {
        struct iotsec_km_message pair[2];

        fill_pair(pair, GROUP, K + 1, 5, 0, false);
        memcpy(pair[0].secret, tgk, sizeof tgk);
        say(&pair[0]);
        say(&pair[1]);
        (void)iotsec_dtls_flush(&w.dtls);
    }
    run(1000);
    assert_int_equal(a->events[IOTSEC_DEVICE_GROUP_JOINED], 1);
    assert_int_equal(a->events[IOTSEC_DEVICE_JOINED], 1);
}

static void loses_a_damaged_slot(void **state)
{
    struct device *a = &w.devices[0];
    size_t i;
    size_t len;

    (void)state;
    a->config.persist = 1;
    boot(a);
    give_keys(a, K, 5, 0, false);
    len = a->nvm_len[0];
    assert_true(len > 60);
    for (i = 0; i < len; i++) {
        a->nvm[0][i] ^= 0x10;
        boot(a);
        assert_null(group_of(a));
        a->nvm[0][i] ^= 0x10;
    }
    a->nvm_len[0]--;
    boot(a);
    assert_null(group_of(a));
    a->nvm_len[0] = NVM_BYTES;
    boot(a);
    assert_null(group_of(a));
    a->nvm_len[0] = len;
    memcpy(a->nvm[1], a->nvm[0], len); /* the same group in two slots */
    a->nvm_len[1] = len;
    boot(a);
    assert_ptr_equal(group_of(a), &a->groups[0]);
    assert_int_equal(a->groups[1].state, GROUP_FREE);
}

static void forgets_what_it_left(void **state)
{
    struct device *a = &w.devices[0];

    (void)state;
    a->config.persist = 1;
    boot(a);
    give_keys(a, K, 5, 0, false);
    assert_int_equal(iotsec_group_leave(&a->device, GROUP), IOTSEC_OK);
    assert_int_equal(a->nvm_len[0], 0);
    boot(a);
    assert_null(group_of(a));
    give_keys(a, K, 5, 0, false);
    iotsec_device_wipe(&a->device);
    boot(a);
    assert_non_null(group_of(a)); /* wiping the context leaves NVM alone */
}

/* After a reboot the device is a member as before, with its sender ID, if the manager agrees. */
static void comes_back_from_nvm(void **state)
{
    struct device *a = &w.devices[0];
    const uint16_t groups[] = { GROUP, OTHER };

    (void)state;
    a->config.persist = 1;
    boot(a);
    a = join();
    a->addr.interface = 8;
    w.manager_addr.interface = 8; /* numbered anew */
    boot(a);
    w.answer = IOTSEC_KM_DONE;
    assert_int_equal(iotsec_join(&a->device, &w.manager_addr, groups, 2), IOTSEC_OK);
    run(100);
    assert_int_equal(w.hello_len, 2); /* only what is not held */
    assert_int_equal(iotsec_get_u16(w.hello), OTHER);
    assert_int_equal(w.heard[0].kind, IOTSEC_KM_STATUS);
    assert_int_equal(w.heard[0].sender_id, 5);
    assert_int_equal(a->events[IOTSEC_DEVICE_GROUP_JOINED], 1);
    say_pair(OTHER, K, 8, 0);
    run(100);
    assert_int_equal(a->events[IOTSEC_DEVICE_JOINED], 1);
    assert_int_equal(group_of(a)->csb.addr.interface, 8);
    assert_int_equal(a->listens, 2);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(delivers_once, setup),
        cmocka_unit_test_setup(takes_only_group_records_from_multicast, setup),
        cmocka_unit_test_setup(keeps_a_window_for_each_sender, setup),
        cmocka_unit_test_setup(refuses_senders_without_a_slot, setup),
        cmocka_unit_test_setup(follows_a_step, setup),
        cmocka_unit_test_setup(hints_at_who_is_behind, setup),
        cmocka_unit_test_setup(asks_about_what_it_cannot_reach, setup),
        cmocka_unit_test_setup(drops_the_old_key_at_an_eviction, setup),
        cmocka_unit_test_setup(keeps_the_old_key_after_a_renewal, setup),
        cmocka_unit_test_setup(takes_the_same_keys_twice, setup),
        cmocka_unit_test_setup(counts_forgeries, setup),
        cmocka_unit_test_setup(checks_what_is_sent, setup),
        cmocka_unit_test_setup(stops_at_the_last_counter, setup),
        cmocka_unit_test_setup(acknowledges_pairs, setup),
        cmocka_unit_test_setup(takes_only_a_managers_messages, setup),
        cmocka_unit_test_setup(knows_a_manager, setup),
        cmocka_unit_test_setup(hides_its_groups, setup),
        cmocka_unit_test_setup(is_put_out, setup),
        cmocka_unit_test_setup(is_not_authorised, setup),
        cmocka_unit_test_setup(leaves, setup),
        cmocka_unit_test_setup(closes, setup),
        cmocka_unit_test_setup(leaves_without_an_answer, setup),
        cmocka_unit_test_setup(finds_the_manager_again, setup),
        cmocka_unit_test_setup(joins_anew_where_it_is_unknown, setup),
        cmocka_unit_test_setup(never_takes_wiped_keys_again, setup),
        cmocka_unit_test_setup(asks_nothing_about_what_it_left, setup),
        cmocka_unit_test_setup(leaves_no_key_in_the_datagram, setup),
        cmocka_unit_test_setup(asks_about_what_it_may_not_derive, setup),
        cmocka_unit_test_setup(reports_routinely, setup),
        cmocka_unit_test_setup(lets_callbacks_call, setup),
        cmocka_unit_test_setup(checks_what_is_joined, setup),
        cmocka_unit_test_setup(checks_its_configuration, setup),
#if IOTSEC_PERSIST
        cmocka_unit_test_setup(never_repeats_a_counter, setup),
        cmocka_unit_test_setup(delivers_nothing_twice_over_a_reboot, setup),
        cmocka_unit_test_setup(delivers_nothing_that_nvm_does_not_know, setup),
        cmocka_unit_test_setup(acknowledges_what_nvm_knows, setup),
        cmocka_unit_test_setup(joins_at_once_with_kept_keys, setup),
        cmocka_unit_test_setup(loses_a_damaged_slot, setup),
        cmocka_unit_test_setup(forgets_what_it_left, setup),
        cmocka_unit_test_setup(comes_back_from_nvm, setup),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
