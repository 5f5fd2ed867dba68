/* SPDX-License-Identifier: BSD-3-Clause */
/* The pauses between joins that nobody answered: the device's, whatever its application does. */
#include "device_world.h"

#if IOTSEC_ROLE_DEVICE && IOTSEC_DTLS_SERVER

#define SILENCE IOTSEC_HANDSHAKE_TIMEOUT_MS /* so long a join without an answer takes */
#define SERIES 15u                          /* hellos or more: an attempt in earnest */

static struct {
    unsigned sent;     /* datagrams of the device */
    uint32_t first_at; /* the first of them */
    unsigned through;  /* so many are let through, and all answers are */
} seen;

static int watched_send(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    if (seen.sent++ == 0) {
        seen.first_at = w.base.now;
    }
    if (seen.through == 0) {
        return 0;
    }
    seen.through--;
    return device_send(user, to, data, len);
}

static struct device *watch(void)
{
    struct device *a = &w.devices[0];

    a->hal.send = watched_send;
    memset(&seen, 0, sizeof seen);
    return a;
}

static void begin(struct device *a)
{
    seen.sent = 0;
    assert_int_equal(iotsec_join(&a->device, &w.manager_addr, NULL, 0), IOTSEC_OK);
}

/* Joins, and waits until that has failed. How long it took until the first hello. */
static uint32_t join_in_vain(struct device *a)
{
    unsigned failed = a->events[IOTSEC_DEVICE_JOIN_FAILED];
    uint32_t began = w.base.now;

    begin(a);
    while (a->events[IOTSEC_DEVICE_JOIN_FAILED] == failed) {
        run(100);
        assert_true(w.base.now - began < 300000);
    }
    assert_true(seen.sent != 0);
    /* the join's time begins with what is sent, so that none is over before something was */
    assert_in_range(w.base.now - seen.first_at, SILENCE, SILENCE + 100);
    return seen.first_at - began;
}

static void can_join(struct device *a)
{
    seen.through = UINT32_MAX;
    begin(a);
    run(400000);
    assert_int_equal(a->events[IOTSEC_DEVICE_JOINED], 1);
    seen.through = 0;
}

/* An application that joins again after a while gets the rest of the pause, and hellos in pairs; one that comes so rarely that
 * it makes room by itself may begin in earnest each time. */
static void pauses_between_joins(void **state)
{
    static const struct {
        const char *name;
        uint32_t waits; /* the application, after each failure */
        bool pauses;
    } rows[] = {
        { "at once", 0, true },
        { "after 14 s", 14000, true },
        { "after a minute", 60000, true },
        { "after two minutes", 119000, true },
        { "after ten minutes", 600000, false },
    };
    static const uint32_t pauses[] = { 30000, 60000, 120000, 120000, 120000, 120000 };
    size_t r;
    size_t i;

    for (r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct device *a;

        (void)setup(state);
        a = watch();
        assert_int_equal(iotsec_pause_left(&a->device), 0);
        assert_int_equal(join_in_vain(a), 0);
        if (seen.sent < SERIES) {
            fail_msg("%s: the first join has %u hellos", rows[r].name, seen.sent);
        }
        for (i = 0; i < sizeof pauses / sizeof pauses[0]; i++) {
            uint32_t left = iotsec_pause_left(&a->device);
            uint32_t waited;

            if (left < pauses[i] / 2 || left > pauses[i] + pauses[i] / 2) {
                if (rows[r].pauses || left < 15000 || left > 45000) {
                    fail_msg("%s: pause %zu is %u ms", rows[r].name, i, left);
                }
            }
            run(rows[r].waits);
            waited = join_in_vain(a);
            if (waited != (left > rows[r].waits ? left - rows[r].waits : 0)) {
                fail_msg("%s: join %zu begins after %u ms of %u", rows[r].name, i, waited, left);
            }
            if (rows[r].pauses ? seen.sent != 2 : seen.sent < SERIES) {
                fail_msg("%s: join %zu has %u hellos", rows[r].name, i, seen.sent);
            }
        }
    }
}

/* Devices that have failed at the same moment do not come back at the same moment. */
static void drifts_apart(void **state)
{
    uint32_t least = UINT32_MAX;
    uint32_t most = 0;
    unsigned i;

    for (i = 0; i < 32; i++) {
        struct device *a;
        uint32_t left;

        (void)setup(state);
        a = watch();
        w.seed = i;
        (void)join_in_vain(a);
        left = iotsec_pause_left(&a->device);
        least = left < least ? left : least;
        most = left > most ? left : most;
    }
    assert_in_range(least, 15000, 20000);
    assert_in_range(most, 40000, 45000);
}

/* What is heard on a full link is no success: the pauses grow all the same. */
static void grows_after_an_answer(void **state)
{
    struct device *a;
    uint32_t left;

    (void)setup(state);
    w.dtls_config.cookie_policy = IOTSEC_COOKIE_ALWAYS;
    a = watch();
    (void)join_in_vain(a);
    seen.through = 1; /* its HelloVerifyRequest comes back */
    (void)join_in_vain(a);
    assert_int_equal(seen.through, 0);
    assert_true(seen.sent > 2); /* with the cookie, and in earnest */
    left = iotsec_pause_left(&a->device);
    assert_in_range(left, 30000, 90000);
    (void)join_in_vain(a);
    assert_int_equal(seen.sent, 2);
}

static void forgets_by_success(void **state)
{
    struct device *a;

    (void)setup(state);
    a = watch();
    (void)join_in_vain(a);
    (void)join_in_vain(a);
    (void)join_in_vain(a);
    can_join(a);
    assert_int_equal(iotsec_pause_left(&a->device), 0);
    assert_int_equal(iotsec_leave(&a->device), IOTSEC_OK);
    run(60000);
    assert_int_equal(a->events[IOTSEC_DEVICE_LEFT], 1);
    assert_int_equal(join_in_vain(a), 0);
    assert_true(seen.sent >= SERIES);
    assert_in_range(iotsec_pause_left(&a->device), 15000, 45000);
}

/* Why a join has failed decides whether the next one waits: only silence, and a manager that is full. */
static void waits_for_reasons(void **state)
{
    static const struct {
        const char *name;
        bool no_manager;
        uint8_t refused; /* a reason of REFUSED, or 0 */
        enum iotsec_status reason;
        bool pauses;
    } rows[] = {
        { "no manager there", true, 0, IOTSEC_ERR_NO_KEY_MANAGEMENT, false },
        { "not authorised", false, IOTSEC_KM_REASON_NOT_AUTHORISED, IOTSEC_ERR_NOT_AUTHORISED, false },
        { "manager full", false, IOTSEC_KM_REASON_RESOURCES, IOTSEC_ERR_RESOURCES, true },
    };
    const uint16_t groups[] = { GROUP };
    size_t r;

    for (r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct device *a;

        (void)setup(state);
        a = watch();
        seen.through = UINT32_MAX;
        w.no_extension = rows[r].no_manager;
        assert_int_equal(iotsec_join(&a->device, &w.manager_addr, groups, 1), IOTSEC_OK);
        run(100);
        if (rows[r].refused != 0) {
            say_kind(IOTSEC_KM_REFUSED, 0, rows[r].refused);
        }
        run(1000);
        assert_int_equal(a->events[IOTSEC_DEVICE_JOIN_FAILED], 1);
        if (a->event.reason != rows[r].reason || (iotsec_pause_left(&a->device) != 0) != rows[r].pauses) {
            fail_msg("%s: reason %d, pause %u ms", rows[r].name, a->event.reason, iotsec_pause_left(&a->device));
        }
        begin(a);
        assert_int_equal(seen.sent, !rows[r].pauses);
    }
}

/* A silence says nothing of another manager. */
static void tries_another_manager(void **state)
{
    struct iotsec_addr other;
    struct device *a;

    (void)setup(state);
    a = watch();
    (void)join_in_vain(a);
    other = w.manager_addr;
    other.ip[15]++;
    seen.sent = 0;
    assert_int_equal(iotsec_join(&a->device, &other, NULL, 0), IOTSEC_OK);
    assert_int_equal(seen.sent, 1);
    run(SILENCE - 1);
    assert_true(seen.sent >= SERIES);
}

/* Somebody presses the button: at each of these moments a series of hellos begins at once. */
static void ends_the_pause(void **state)
{
    static const struct {
        const char *name;
        uint32_t after; /* the join that has to wait; */
        bool sent;      /* by then something has left */
        bool earlier;   /* before that join is begun */
    } rows[] = {
        { "before the join", 0, false, true },
        { "in the pause", 5000, false, false },
        { "between its two hellos", 100000, true, false },
    };
    size_t r;

    for (r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct device *a;
        uint32_t began;

        (void)setup(state);
        a = watch();
        (void)join_in_vain(a);
        (void)join_in_vain(a);
        if (rows[r].earlier) {
            iotsec_pause_end(&a->device);
            assert_int_equal(iotsec_pause_left(&a->device), 0);
            begin(a);
            assert_int_equal(seen.sent, 1);
        } else {
            begin(a);
            began = w.base.now;
            while (rows[r].sent ? seen.sent == 0 : w.base.now - began < rows[r].after) {
                run(100);
                assert_true(w.base.now - began < 100000);
            }
            run(100);
            assert_int_equal(seen.sent, rows[r].sent);
            seen.sent = 0;
            iotsec_pause_end(&a->device);
            run(0);
        }
        if (seen.sent != 1) {
            fail_msg("%s: %u hellos", rows[r].name, seen.sent);
        }
        run(SILENCE - 1);
        if (seen.sent < SERIES || a->events[IOTSEC_DEVICE_JOIN_FAILED] != 2) {
            fail_msg("%s: %u hellos later", rows[r].name, seen.sent);
        }
        run(1);
        assert_int_equal(a->events[IOTSEC_DEVICE_JOIN_FAILED], 3);
    }
}

/* ... and where the manager is answering, it changes nothing. */
static void does_not_disturb(void **state)
{
    struct device *a;

    (void)setup(state);
    a = watch();
    begin(a);
    iotsec_pause_end(&a->device); /* the first attempt, in earnest already */
    run(0);
    assert_int_equal(seen.sent, 1);
    iotsec_device_wipe(&a->device);

    (void)setup(state);
    a = watch();
    can_join(a);
    seen.sent = 0;
    iotsec_pause_end(&a->device);
    run(1000);
    assert_int_equal(seen.sent, 0);
    assert_int_equal(w.sessions_made, 1);
    assert_int_equal(iotsec_pause_left(&a->device), 0);
    iotsec_pause_end(NULL);
    assert_int_equal(iotsec_pause_left(NULL), 0);
}

/* Where contact was lost, the hour between two attempts has an end too. */
static void ends_the_pause_of_a_member(void **state)
{
    struct device *a;
    unsigned contacts;

    (void)setup(state);
    (void)watch();
    seen.through = UINT32_MAX;
    a = join();
    seen.through = 0;
    run(10 * 3600000u); /* the routine STATUS is not answered */
    assert_int_equal(a->events[IOTSEC_DEVICE_CONTACT_LOST], 1);
    while (iotsec_pause_left(&a->device) < 1000000) { /* in between, an attempt is under way */
        run(60000);
    }
    contacts = a->events[IOTSEC_DEVICE_CONTACT];
    seen.through = UINT32_MAX;
    run(10000);
    assert_int_equal(a->events[IOTSEC_DEVICE_CONTACT], contacts);
    iotsec_pause_end(&a->device);
    run(1000);
    assert_int_equal(a->events[IOTSEC_DEVICE_CONTACT], contacts + 1);
}

/* A join that waits is given up without a word, and the pause is not shorter for it. */
static void leaves_in_the_pause(void **state)
{
    struct device *a;
    uint32_t left;

    (void)setup(state);
    a = watch();
    (void)join_in_vain(a);
    left = iotsec_pause_left(&a->device);
    begin(a);
    run(1000);
    assert_int_equal(iotsec_leave(&a->device), IOTSEC_OK);
    assert_int_equal(iotsec_pause_left(&a->device), left - 1000);
    begin(a);
    run(left - 1001);
    assert_int_equal(seen.sent, 0);
    run(1);
    assert_int_equal(seen.sent, 1);
    assert_int_equal(a->events[IOTSEC_DEVICE_JOIN_FAILED], 1);
}

/* join_delay_ms: all of a building get power at once. */
static void waits_at_power_up(void **state)
{
    uint32_t least = UINT32_MAX;
    uint32_t most = 0;
    unsigned i;

    for (i = 0; i < 32; i++) {
        struct device *a;
        uint32_t left;

        (void)setup(state);
        a = watch();
        w.seed = i;
        a->config.join_delay_ms = 200000;
        boot(a);
        left = iotsec_pause_left(&a->device);
        assert_true(left < 200000);
        assert_int_equal(join_in_vain(a), left);
        assert_true(seen.sent >= SERIES); /* it is late, but it has not failed */
        least = left < least ? left : least;
        most = left > most ? left : most;
        assert_in_range(iotsec_pause_left(&a->device), 15000, 45000); /* once is enough */
        boot(a);
        iotsec_pause_end(&a->device);
        begin(a);
        assert_int_equal(seen.sent, 1);
    }
    assert_in_range(least, 0, 20000);
    assert_in_range(most, 180000, 200000);
}

/* The clock comes round after 49 days: to who has rested as long, what was long ago is no time to come. */
static void rests_while_the_clock_comes_round(void **state)
{
    static const struct {
        const char *name;
        bool joined;
        uint32_t ahead; /* of the clock, what is 49 days ago */
    } rows[] = {
        { "a device that has never joined", false, 60000 },
        { "a device that has left", true, 60000 },
        { "an hour before", true, 3600000 },
        { "at the moment itself", true, 0 },
    };
    size_t r;

    for (r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct device *a;

        (void)setup(state);
        a = watch();
        if (rows[r].joined) {
            can_join(a);
            assert_int_equal(iotsec_leave(&a->device), IOTSEC_OK);
            run(60000);
            assert_int_equal(a->events[IOTSEC_DEVICE_LEFT], 1);
        }
        w.base.now = a->device.contact_at - rows[r].ahead;
        if (iotsec_pause_left(&a->device) != 0) {
            fail_msg("%s: it waits for %u ms", rows[r].name, iotsec_pause_left(&a->device));
        }
        begin(a);
        assert_int_equal(seen.sent, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rests_while_the_clock_comes_round),
        cmocka_unit_test(pauses_between_joins),
        cmocka_unit_test(drifts_apart),
        cmocka_unit_test(grows_after_an_answer),
        cmocka_unit_test(forgets_by_success),
        cmocka_unit_test(waits_for_reasons),
        cmocka_unit_test(tries_another_manager),
        cmocka_unit_test(ends_the_pause),
        cmocka_unit_test(does_not_disturb),
        cmocka_unit_test(ends_the_pause_of_a_member),
        cmocka_unit_test(leaves_in_the_pause),
        cmocka_unit_test(waits_at_power_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0;
}

#endif
