/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device: it looks for a way into the domain, joins, takes its address and keys, and lets others join through it. A lamp and
 * a switch are such devices; the former obeys its group, the latter commands it.
 *
 *     group GID TEXT    a message to a group        leave [GID]    leaves the group, or the domain
 *     join [GID]        joins it, or again          relay open|close
 *     stats             counters                    reset
 */
#include <string.h>

#include <iotsec/device.h>
#include <iotsec/relay.h>

#include "app.h"
#include "console.h"
#include "crm.h"
#include "fault.h"
#include "node.h"
#include "regs.h"

/* How long answers are waited for, and how long until neighbours are asked again. */
#define ANSWERS_MS 300u
#define SEEK_FIRST_MS 1000u
#define SEEK_MAX_MS 60000u
#define MOVE_AGAIN_MS 5000u
/* How often it shows the manager that it is there, and finds out when that has been started again. */
#define STATUS_MS 600000u
#define RANK_NONE 255u

#define GROUPS 2u
#define SENDERS 8u
#define TX_BYTES 300u /* what the network layer takes, and a relay's header */
#define BUCKETS 16u

enum work { SEEKING, JOINING, JOINED, OUT };
/*
 * A member that has lost the manager looks for another way, until there is contact again. It asks under the key, so that
 * nobody can lie to it; if there is no answer its key may be an old one, and it asks like a newcomer, keeping what it has:
 * through whoever answers then it opens a new session, which brings the key.
 */
enum { UNDER_KEY = 1, LIKE_NEWCOMER };

static struct {
    struct iotsec_device device;
    struct iotsec_device_config config;
    struct iotsec_dtls_session sessions[2];
    struct iotsec_dtls_handshake handshakes[1];
    struct iotsec_device_group groups[GROUPS];
    struct iotsec_sender senders[SENDERS];
    uint8_t tx[TX_BYTES];

    struct iotsec_relay relay;
    struct iotsec_relay_config relay_config;
    struct iotsec_relay_bucket buckets[BUCKETS];
    uint8_t relay_tx[TX_BYTES];

    const struct provision *provision;
    struct iotsec_access access;
    struct iotsec_addr parent;  /* the neighbour that is joined through, or was */
    struct iotsec_addr best;    /* of those who have answered */
    struct iotsec_addr avoided; /* through whom joining failed last */
    uint32_t next_at;           /* clock_ms: when something is due: asking, choosing, moving */
    uint32_t seek_wait;
    uint8_t work;               /* enum work */
    uint8_t asked;              /* neighbours were asked, answers are waited for */
    uint8_t reparent;           /* 0, or how a member looks for another way to the manager */
    uint8_t rank;               /* hops to the manager, of ourselves */
    uint8_t best_rank;
    uint8_t move_again;
    uint8_t has_access;
    uint8_t relaying;
} app;

/* ---- The lamp ---- */

#define LED_GREEN (1u << (45 - 32))

static void light(bool on)
{
    GPIO_DIR_SET1 = LED_GREEN;
    if (on) {
        GPIO_DATA_SET1 = LED_GREEN;
    } else {
        GPIO_DATA_RESET1 = LED_GREEN;
    }
    out_begin("lamp");
    out_word("state", on ? "on" : "off");
    out_end();
}

/* ---- The way in ---- */

static void seek(uint32_t wait)
{
    app.work = SEEKING;
    app.asked = 0;
    app.seek_wait = wait;
    app.next_at = clock_ms() + node_jitter(wait / 2);
}

static void ask(void)
{
    static const struct iotsec_addr routers = { { 0xFF, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2 }, JOIN_PORT, NET_INTERFACE };
    static const uint8_t anybody[8] = { 0 };
    static const uint8_t message[2] = { NODE_MARK, NODE_SEEK };

    net_join_through(&node.net, app.reparent == UNDER_KEY ? NULL : anybody);
    (void)net_send(&node.net, OWN_PORT, &routers, message, sizeof message);
    app.best_rank = RANK_NONE;
    app.asked = 1;
    app.next_at = clock_ms() + ANSWERS_MS;
}

/* The EUI-64 that a link-local address is made of. */
static void eui64_of(const struct iotsec_addr *addr, uint8_t eui64[8])
{
    memcpy(eui64, addr->ip + 8, 8);
    eui64[0] ^= 2;
}

static void choose(void)
{
    uint8_t eui64[8];
    enum iotsec_status status;

    app.asked = 0;
    if (app.best_rank == RANK_NONE) {
        /* Whoever was avoided may be the only one there is. */
        memset(&app.avoided, 0, sizeof app.avoided);
        if (app.reparent == UNDER_KEY) {
            app.reparent = LIKE_NEWCOMER;
            ask();
            return;
        }
        app.reparent = app.reparent != 0 ? UNDER_KEY : 0;
        net_join_through(&node.net, NULL); /* until it asks again */
        seek(app.seek_wait < SEEK_MAX_MS / 2 ? 2 * app.seek_wait : SEEK_MAX_MS);
        return;
    }
    app.parent = app.best;
    app.rank = (uint8_t)(app.best_rank + 1);
    eui64_of(&app.parent, eui64);
    if (app.reparent) {
        const struct iotsec_addr *manager = &app.access.manager;

        if (app.reparent == UNDER_KEY) {
            net_set_default_route(&node.net, eui64);
        } else {
            net_join_through(&node.net, eui64);
            app.reparent = UNDER_KEY;
            app.has_access = 0; /* then it moves when it has access again */
            manager = &app.parent;
        }
        (void)iotsec_moved(&app.device, manager);
        /* If there is no contact through this one until then, rather another one. */
        app.avoided = app.parent;
        seek(SEEK_MAX_MS);
        return;
    }
    net_join_through(&node.net, eui64);
    app.work = JOINING;
    status = iotsec_join(&app.device, &app.parent, &app.provision->group, app.provision->group != 0);
    out_begin("joining");
    out_addr("through", &app.parent);
    out_uint("hops", app.rank);
    if (status != IOTSEC_OK) {
        out_reason("reason", status);
    }
    out_end();
    if (status != IOTSEC_OK) {
        seek(SEEK_MAX_MS);
    }
}

static void take_here(const struct iotsec_addr *from, uint8_t rank, int secured)
{
    const uint8_t *avoided = app.avoided.ip;

    /* Nobody's way leads through one who is further away than it is itself. */
    if (!app.asked || rank >= RANK_NONE - 1 || (app.reparent == UNDER_KEY && (!secured || rank >= app.rank))) {
        return;
    }
    /* The avoided one is taken if nobody else answers. */
    if (app.best_rank == RANK_NONE ||
        (memcmp(from->ip, avoided, 16) != 0 && (rank < app.best_rank || memcmp(app.best.ip, avoided, 16) == 0))) {
        app.best_rank = rank;
        app.best = *from;
        app.best.port = JOIN_PORT;
    }
}

/* ---- Relaying for neighbours ---- */

static int relay_up(void *user, uint16_t slot, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    (void)user;
    (void)slot;
    return net_send(&node.net, RELAY_PORT, to, data, len) == NET_OK ? 0 : -1;
}

static int relay_down(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    (void)user;
    return net_send(&node.net, JOIN_PORT, to, data, len) == NET_OK ? 0 : -1;
}

static const struct iotsec_relay_callbacks relay_callbacks = { relay_up, relay_down };

static void relay_open(bool open)
{
    open = open && app.relaying;
    if (open) {
        (void)iotsec_relay_open(&app.relay, 0);
    } else if (app.relaying) {
        iotsec_relay_close(&app.relay);
    }
    net_join_open(&node.net, open);
    out_begin(open ? "relay-open" : "relay-closed");
    out_end();
}

static void stop_relay(void)
{
    if (app.relaying) {
        app.relaying = 0;
        iotsec_relay_wipe(&app.relay);
        net_set_forwarding(&node.net, false);
        relay_open(false);
    }
}

static void start_relay(void)
{
    stop_relay();
    app.relay_config.hal = &node.hal;
    app.relay_config.callbacks = &relay_callbacks;
    app.relay_config.manager = app.access.manager;
    app.relay_config.buckets = app.buckets;
    app.relay_config.bucket_count = BUCKETS;
    app.relay_config.tx = app.relay_tx;
    app.relay_config.tx_size = sizeof app.relay_tx;
    app.relay_config.mode = IOTSEC_RELAY_STATELESS;
    /* of the manager's address, or it stays closed */
    app.relaying = iotsec_relay_init(&app.relay, &app.relay_config) == IOTSEC_OK;
    net_set_forwarding(&node.net, app.relaying);
    relay_open(true);
}

/* ---- Events ---- */

static void out_event(const char *name, const struct iotsec_device_event *event, bool with_reason)
{
    out_begin(name);
    if (with_reason) {
        out_reason("reason", event->reason);
    }
    if (event->group_id != 0) {
        out_uint("gid", event->group_id);
    }
    if (event->sender_id != 0) {
        out_uint("sender", event->sender_id);
    }
    if (event->key_number != 0) {
        out_hex("key", event->key_number);
    }
    out_end();
}

/* The link layer's keys and addresses go, too: the next join is that of a newcomer. */
static void leave_network(void)
{
    static const uint8_t none[8] = { 0 };

    stop_relay();
    net_key_remove(&node.net, 0);
    net_set_default_route(&node.net, NULL);
    node_set_address(app.provision->pan, NET_NO_SHORT_ADDRESS, none);
    net_join_through(&node.net, NULL);
    app.has_access = 0;
    app.move_again = 0;
    app.reparent = 0;
}

static void move_there(void)
{
    uint8_t eui64[8];

    app.move_again = 0;
    eui64_of(&app.parent, eui64);
    net_set_default_route(&node.net, eui64);
    (void)iotsec_moved(&app.device, &app.access.manager);
}

static void on_access(void *user, const struct iotsec_access *access)
{
    struct iotsec_addr address;
    bool same = app.has_access && memcmp(access->prefix, app.access.prefix, sizeof access->prefix) == 0 &&
                access->short_address == app.access.short_address && iotsec_addr_equal(&access->manager, &app.access.manager);

    (void)user;
    app.access = *access;
    app.has_access = 1;
    node_set_address(access->pan_id, access->short_address, access->prefix);
    out_begin("access");
    if (net_address(&node.net, &address)) {
        out_ip("address", address.ip);
    }
    out_hex("pan", access->pan_id);
    out_hex("short", access->short_address);
    out_uint("index", access->key_index);
    out_addr("manager", &access->manager);
    out_end();
    /* They come with each new key: a move that is done is not done again. */
    if (!same) {
        move_there();
    }
}

static void on_moved(const struct iotsec_device_event *event)
{
    struct iotsec_addr address;

    out_begin(event->reason == IOTSEC_OK ? "moved" : "move-failed");
    if (event->reason != IOTSEC_OK) {
        out_reason("reason", event->reason);
        app.move_again = 1;
        app.next_at = clock_ms() + MOVE_AGAIN_MS;
    }
    if (net_address(&node.net, &address)) {
        out_ip("address", address.ip);
    }
    out_addr("manager", &app.access.manager);
    out_end();
    if (event->reason == IOTSEC_OK) {
        net_join_through(&node.net, NULL);
        start_relay();
    }
}

/* Events that are told as they are. */
static const struct {
    uint8_t kind;
    bool with_reason;
    const char *name;
} event_names[] = {
    { IOTSEC_DEVICE_JOIN_FAILED, true, "join-failed" },   { IOTSEC_DEVICE_GROUP_JOINED, false, "group-joined" },
    { IOTSEC_DEVICE_GROUP_REFUSED, true, "group-refused" }, { IOTSEC_DEVICE_GROUP_KEY, false, "group-key" },
    { IOTSEC_DEVICE_GROUP_LEFT, true, "group-left" },     { IOTSEC_DEVICE_EVICTED, true, "evicted" },
    { IOTSEC_DEVICE_LEFT, true, "left" },                 { IOTSEC_DEVICE_CONTACT_LOST, true, "contact-lost" },
    { IOTSEC_DEVICE_CONTACT, false, "contact" },          { IOTSEC_DEVICE_SENT_OLD, false, "sent-old" },
    { IOTSEC_DEVICE_KEY_CONFLICT, false, "key-conflict" }, { IOTSEC_DEVICE_COUNTER, false, "counter-used-up" },
    { IOTSEC_DEVICE_FORGERIES, false, "forgeries" },
};

static void on_event(void *user, const struct iotsec_device_event *event)
{
    unsigned i;

    (void)user;
    for (i = 0; i < sizeof event_names / sizeof event_names[0]; i++) {
        if (event_names[i].kind == event->kind) {
            out_event(event_names[i].name, event, event_names[i].with_reason);
        }
    }
    switch (event->kind) {
    case IOTSEC_DEVICE_JOINED:
        app.work = JOINED;
        out_begin("joined");
        out_bytes("id", app.provision->identity, app.provision->identity_len);
        out_addr("manager", &app.parent);
        out_end();
        break;
    case IOTSEC_DEVICE_JOIN_FAILED:
        app.avoided = app.parent;
        leave_network();
        seek(event->reason == IOTSEC_ERR_NO_ANSWER ? SEEK_FIRST_MS : SEEK_MAX_MS);
        break;
    case IOTSEC_DEVICE_EVICTED:
    case IOTSEC_DEVICE_LEFT:
        leave_network();
        app.work = OUT;
        break;
    case IOTSEC_DEVICE_CONTACT_LOST:
        /* Perhaps it is the neighbour that is gone, and not the manager. */
        if (!app.reparent) {
            app.reparent = UNDER_KEY;
            seek(SEEK_FIRST_MS);
        }
        break;
    case IOTSEC_DEVICE_CONTACT:
        if (app.reparent) {
            app.reparent = 0;
            app.work = JOINED;
        }
        break;
    case IOTSEC_DEVICE_MOVED:
        on_moved(event);
        break;
    default:
        break;
    }
}

static void on_group_message(void *user, uint16_t group_id, uint16_t sender_id, const uint8_t *data, size_t len)
{
    (void)user;
    out_begin("group");
    out_uint("gid", group_id);
    out_uint("sender", sender_id);
    out_quoted("text", data, len);
    out_end();
    if (app.provision->role == ROLE_LAMP && group_id == app.provision->group) {
        if (len == 2 && memcmp(data, "on", 2) == 0) {
            light(true);
        } else if (len == 3 && memcmp(data, "off", 3) == 0) {
            light(false);
        }
    }
}

static const struct iotsec_device_callbacks callbacks = { .event = on_event, .group_receive = on_group_message,
                                                          .access = on_access };

/* ---- Datagrams ---- */

static void received(const struct iotsec_addr *from, const struct iotsec_addr *to, uint8_t *data, size_t len, int secured)
{
    if (len >= 2 && data[0] == NODE_MARK) {
        if (data[1] == NODE_SEEK && to->port == JOIN_PORT && app.relaying && iotsec_relay_is_open(&app.relay) && !app.reparent) {
            node_answer(from, app.rank, secured);
        } else if (data[1] == NODE_HERE && len == 3 && iotsec_addr_is_link_local(from)) {
            take_here(from, data[2], secured);
        }
    } else if (to->port == OWN_PORT || iotsec_addr_is_multicast(to)) {
        (void)iotsec_input(&app.device, from, to, data, len);
    } else if (app.relaying && to->port == JOIN_PORT) {
        (void)iotsec_relay_from_neighbour(&app.relay, from, secured, data, len);
    } else if (app.relaying && to->port == RELAY_PORT) {
        (void)iotsec_relay_from_manager(&app.relay, 0, from, data, len);
    }
}

/* ---- Commands ---- */

static void answer(const char *command, uint32_t gid, enum iotsec_status status)
{
    if (status != IOTSEC_OK) {
        out_begin("refused");
        out_word("what", command);
        if (gid != 0) {
            out_uint("gid", gid);
        }
        out_reason("reason", status);
        out_end();
    }
}

static void say(uint32_t gid, const char *text)
{
    size_t len = strlen(text);
    enum iotsec_status status = iotsec_group_send(&app.device, (uint16_t)gid, (const uint8_t *)text, len);

    if (status == IOTSEC_OK) {
        out_begin("sent");
        out_uint("gid", gid);
        out_uint("bytes", len);
        out_end();
    }
    answer("group", gid, status);
}

static void command(char *text)
{
    char *verb = console_word(&text);
    char *word = console_word(&text);
    uint32_t gid = 0;
    bool has_gid = console_number(word, UINT16_MAX, &gid) && gid != 0;

    if (console_is(verb, "stats")) {
        node_stats();
    } else if (console_is(verb, "reset")) {
        iotsec_device_close(&app.device);
        node_reset();
    } else if (console_is(verb, "relay") && (console_is(word, "open") || console_is(word, "close"))) {
        relay_open(*word == 'o');
    } else if (console_is(verb, "group") && has_gid) {
        say(gid, text);
    } else if (console_is(verb, "join") && (*word == '\0' || has_gid)) {
        if (app.work == JOINED) {
            answer(verb, gid, has_gid ? iotsec_group_join(&app.device, (uint16_t)gid) : IOTSEC_ERR_STATE);
        } else if (app.work != JOINING) {
            seek(SEEK_FIRST_MS);
        }
    } else if (console_is(verb, "leave") && (*word == '\0' || has_gid)) {
        answer(verb, gid, has_gid ? iotsec_group_leave(&app.device, (uint16_t)gid) : iotsec_leave(&app.device));
    } else if (*verb != '\0') {
        out_refused(verb, "NO_SUCH_COMMAND");
    }
}

/* ---- Running ---- */

/* What the application itself has to do; how long until the next. */
static uint32_t work(void)
{
    int32_t left = (int32_t)(app.next_at - clock_ms());

    if (app.work != SEEKING && !app.move_again) {
        return UINT32_MAX;
    }
    if (left > 0) {
        return (uint32_t)left;
    }
    if (app.work != SEEKING) {
        move_there();
    } else if (app.asked) {
        choose();
    } else {
        ask();
    }
    return 0;
}

static void start(const struct provision *provision)
{
    app.provision = provision;
    app.config.hal = &node.hal;
    app.config.callbacks = &callbacks;
    app.config.identity = provision->identity;
    app.config.identity_len = provision->identity_len;
    app.config.psk = provision->psk;
    app.config.psk_len = provision->psk_len;
    app.config.sessions = app.sessions;
    app.config.session_count = sizeof app.sessions / sizeof app.sessions[0];
    app.config.handshakes = app.handshakes;
    app.config.handshake_count = 1;
    app.config.groups = app.groups;
    app.config.group_count = GROUPS;
    app.config.senders = app.senders;
    app.config.sender_count = SENDERS;
    app.config.tx = app.tx;
    app.config.tx_size = sizeof app.tx;
    app.config.link_payload = 82; /* one frame between two EUI-64, secured with 8 bytes of MIC */
    app.config.connection_id = IOTSEC_CONNECTION_ID_LINK_LOCAL;
    app.config.status_interval_ms = STATUS_MS;
    if (iotsec_device_init(&app.device, &app.config) != IOTSEC_OK) {
        fault("device");
    }
}

void device_run(const struct provision *provision)
{
    char *line;

    node_start(provision, OWN_PORT, received);
    start(provision);
    seek(SEEK_FIRST_MS);
    for (;;) {
        uint32_t wait = iotsec_poll(&app.device);
        uint32_t other = work();

        wait = other < wait ? other : wait;
        if (app.relaying) {
            other = iotsec_relay_poll(&app.relay);
            wait = other < wait ? other : wait;
        }
        line = console_line();
        if (line != NULL) {
            command(line);
            wait = 0;
        }
        node_work(wait);
    }
}
