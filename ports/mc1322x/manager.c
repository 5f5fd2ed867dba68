/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The domain manager, with its registry in the store. It is the root of the network: others join directly or through devices.
 *
 *     device add ID PSK [GID]...     device evict ID     device readmit ID
 *     group add GID ADDRESS PORT     group renew GID     l2 renew
 *     joining open|closed            list                stats      reset
 *
 * PSK is hexadecimal; it is not printed, but it was on the wire of the console.
 */
#include <string.h>

#include <iotsec/manager.h>
#include <mbedtls/platform_util.h>

#include "app.h"
#include "console.h"
#include "crm.h"
#include "fault.h"
#include "node.h"
#include "registry.h"

#define wipe mbedtls_platform_zeroize

#define SESSIONS (REGISTRY_DEVICES + 2u) /* two, so that a new handshake replaces a session gently */
#define HANDSHAKES 2u
#define DELIVERIES 6u
#define TX_BYTES 300u
/* A device that did not hear of the switch sends under the old link-layer key for a while. */
#define OLD_KEY_MS 60000u

static struct {
    struct iotsec_manager manager;
    struct iotsec_manager_config config;
    struct iotsec_dtls_session sessions[SESSIONS];
    struct iotsec_dtls_handshake handshakes[HANDSHAKES];
    struct iotsec_manager_contact contacts[REGISTRY_DEVICES];
    struct iotsec_manager_group groups[REGISTRY_GROUPS];
    struct iotsec_manager_member members[REGISTRY_MEMBERS];
    struct iotsec_manager_delivery deliveries[DELIVERIES];
    uint8_t tx[TX_BYTES];
    uint32_t old_key_until;
    uint8_t key_index;     /* of the L2 key that we send under */
    uint8_t old_key_index; /* still received under; 0: none */
    bool open;             /* neighbours may join */
} app;

/* ---- The link layer's keys ---- */

static uint8_t index_of(uint32_t number)
{
    return (uint8_t)(1 + (number - 1) % 255);
}

static void take_l2_keys(void)
{
    const struct iotsec_registry_access *access = registry_access();
    uint8_t index = index_of(access->number);

    if (access->number == 0) {
        return;
    }
    (void)net_key_install(&node.net, index, access->key);
    if (access->next_number != 0) {
        (void)net_key_install(&node.net, index_of(access->next_number), access->next_key);
    }
    if (index != app.key_index) {
        (void)net_key_use(&node.net, index);
        app.old_key_index = app.key_index;
        app.old_key_until = clock_ms() + OLD_KEY_MS;
        app.key_index = index;
    }
}

/* ---- Events ---- */

static void out_device(uint32_t number)
{
    struct registry_device device;

    if (number == 0) {
        return;
    }
    if (registry_device(number, &device)) {
        out_bytes("id", device.identity, device.identity_len);
    } else {
        out_uint("device", number);
    }
    wipe(device.psk, sizeof device.psk);
}

static const struct {
    uint8_t kind;
    bool with_reason;
    const char *name;
} event_names[] = {
    { IOTSEC_MANAGER_DEVICE_JOINED, false, "device-joined" },   { IOTSEC_MANAGER_JOIN_FAILED, true, "join-failed" },
    { IOTSEC_MANAGER_MEMBER_JOINED, false, "member-joined" },   { IOTSEC_MANAGER_MEMBER_UPDATED, false, "member-updated" },
    { IOTSEC_MANAGER_MEMBER_REFUSED, true, "member-refused" },  { IOTSEC_MANAGER_MEMBER_LEFT, false, "member-left" },
    { IOTSEC_MANAGER_DEVICE_EVICTED, false, "device-evicted" }, { IOTSEC_MANAGER_DEVICE_GONE, true, "device-gone" },
    { IOTSEC_MANAGER_GROUP_KEY, true, "group-key" },            { IOTSEC_MANAGER_KEYS_FAILED, true, "keys-failed" },
    { IOTSEC_MANAGER_UNREACHABLE, false, "unreachable" },       { IOTSEC_MANAGER_AHEAD, false, "registry-behind" },
    { IOTSEC_MANAGER_MOVED, false, "moved" },                   { IOTSEC_MANAGER_L2_KEY, true, "l2-key" },
    { IOTSEC_MANAGER_ACCESS, false, "access" },                 { IOTSEC_MANAGER_FORGERIES, false, "forgeries" },
};

static void on_event(void *user, const struct iotsec_manager_event *event)
{
    unsigned i;

    (void)user;
    if (event->kind == IOTSEC_MANAGER_L2_KEY) {
        take_l2_keys();
    }
    for (i = 0; i < sizeof event_names / sizeof event_names[0] && event_names[i].kind != event->kind; i++) {
    }
    if (i == sizeof event_names / sizeof event_names[0]) {
        return;
    }
    out_begin(event_names[i].name);
    if (event_names[i].with_reason) {
        out_reason("reason", event->reason);
    }
    out_device(event->device);
    if (event->group_id != 0) {
        out_uint("gid", event->group_id);
    }
    if (event->sender_id != 0) {
        out_uint("sender", event->sender_id);
    }
    if (event->kind == IOTSEC_MANAGER_L2_KEY || event->kind == IOTSEC_MANAGER_ACCESS) {
        out_uint("number", event->key_number);
        out_uint("index", index_of(event->key_number));
    } else if (event->key_number != 0) {
        out_hex("key", event->key_number);
    }
    if (event->addr != NULL) {
        out_addr("addr", event->addr);
    }
    if (event->relayed) {
        out_word("via", "relay");
    }
    out_end();
}

static void on_receive(void *user, uint32_t device, const uint8_t *data, size_t len)
{
    (void)user;
    out_begin("received");
    out_device(device);
    out_quoted("text", data, len);
    out_end();
}

static const struct iotsec_manager_callbacks callbacks = { .event = on_event, .receive = on_receive };

static void received(const struct iotsec_addr *from, const struct iotsec_addr *to, uint8_t *data, size_t len, int secured)
{
    if (len >= 2 && data[0] == NODE_MARK) {
        if (data[1] == NODE_SEEK && app.open) {
            node_answer(from, 0, secured);
        }
    } else if (to->port == JOIN_PORT && !iotsec_addr_is_multicast(to)) {
        (void)iotsec_manager_input(&app.manager, from, data, len);
    }
}

/* ---- Commands ---- */

static void open_joining(bool open)
{
    app.open = open;
    net_join_open(&node.net, open);
    out_begin(open ? "joining-open" : "joining-closed");
    out_end();
}

static void answer(const char *done, const char *what, enum iotsec_status status)
{
    if (status != IOTSEC_OK) {
        out_refused(what, iotsec_status_name(status));
        return;
    }
    out_begin(done);
    out_end();
}

static void add_device(const char *identity, char *rest)
{
    struct registry_device device;
    size_t len = strlen(identity);
    uint32_t group;
    const char *problem = NULL;
    char *word = console_word(&rest);

    memset(&device, 0, sizeof device);
    device.psk_len = (uint8_t)console_octets(word, device.psk, sizeof device.psk);
    wipe(word, strlen(word));
    if (len == 0 || len > REGISTRY_IDENTITY_MAX) {
        problem = "BAD_IDENTITY";
    } else if (device.psk_len < 16) {
        problem = "BAD_PSK";
    } else if (registry_find((const uint8_t *)identity, len) != 0) {
        problem = "EXISTS";
    }
    while (problem == NULL && *(word = console_word(&rest)) != '\0') {
        if (device.group_count == REGISTRY_DEVICE_GROUPS || !console_number(word, UINT16_MAX, &group) || group == 0) {
            problem = "BAD_GROUP";
        } else {
            device.groups[device.group_count++] = (uint16_t)group;
        }
    }
    if (problem == NULL) {
        memcpy(device.identity, identity, len);
        device.identity_len = (uint8_t)len;
        if (registry_add(&device) == 0) {
            problem = "FULL";
        }
    }
    wipe(device.psk, sizeof device.psk);
    if (problem != NULL) {
        out_refused("device", problem);
        return;
    }
    out_begin("device-added");
    out_word("id", identity);
    out_end();
}

static void command_device(char *rest)
{
    char *verb = console_word(&rest);
    char *identity = console_word(&rest);
    uint32_t number;

    if (console_is(verb, "add")) {
        add_device(identity, rest);
        return;
    }
    number = registry_find((const uint8_t *)identity, strlen(identity));
    if (!console_is(verb, "evict") && !console_is(verb, "readmit")) {
        out_refused("device", "NO_SUCH_COMMAND");
    } else if (number == 0) {
        out_refused("device", "NOT_FOUND");
    } else if (verb[0] == 'e') {
        enum iotsec_status status = iotsec_manager_evict(&app.manager, number);

        if (status != IOTSEC_OK) { /* otherwise the event tells */
            answer("", "device", status);
        }
    } else {
        answer("device-readmitted", "device", registry_readmit(number));
    }
}

static void command_group(char *rest)
{
    char *verb = console_word(&rest);
    struct iotsec_addr addr;
    uint32_t gid, port;

    memset(&addr, 0, sizeof addr);
    if (!console_number(console_word(&rest), UINT16_MAX, &gid) || gid == 0) {
        out_refused("group", "BAD_GROUP");
    } else if (console_is(verb, "renew")) {
        answer("group-renewed", "group", iotsec_manager_group_renew(&app.manager, (uint16_t)gid, 0));
    } else if (!console_is(verb, "add")) {
        out_refused("group", "NO_SUCH_COMMAND");
    } else if (!console_ip(console_word(&rest), addr.ip) || !console_number(console_word(&rest), UINT16_MAX, &port)) {
        out_refused("group", "BAD_ADDRESS");
    } else {
        addr.port = (uint16_t)port;
        answer("group-added", "group", iotsec_manager_group_add(&app.manager, (uint16_t)gid, &addr));
    }
}

static void list(void)
{
    struct registry_device device;
    struct iotsec_registry_group group;
    uint32_t i;

    for (i = 1; i <= REGISTRY_DEVICES; i++) {
        if (registry_device(i, &device)) {
            out_begin("device");
            out_bytes("id", device.identity, device.identity_len);
            out_uint("number", i);
            out_word("evicted", registry_is_evicted(i) ? "yes" : "no");
            out_end();
        }
    }
    wipe(device.psk, sizeof device.psk);
    for (i = 0; registry_functions.group_at(NULL, i, &group) == IOTSEC_OK; i++) {
        out_begin("group");
        out_uint("gid", group.group_id);
        out_addr("addr", &group.addr);
        out_hex("key", group.key_number);
        out_end();
    }
    wipe(&group, sizeof group);
}

static void command(char *text)
{
    char *verb = console_word(&text);

    if (console_is(verb, "device")) {
        command_device(text);
    } else if (console_is(verb, "group")) {
        command_group(text);
    } else if (console_is(verb, "l2") && console_is(console_word(&text), "renew")) {
        answer("l2-renewed", "l2", iotsec_manager_l2_renew(&app.manager));
    } else if (console_is(verb, "joining")) {
        char *word = console_word(&text);

        if (console_is(word, "open") || console_is(word, "closed")) {
            open_joining(*word == 'o');
        } else {
            out_refused(verb, "NO_SUCH_COMMAND");
        }
    } else if (console_is(verb, "list")) {
        list();
    } else if (console_is(verb, "stats")) {
        node_stats();
    } else if (console_is(verb, "reset")) {
        iotsec_manager_close(&app.manager);
        node_reset();
    } else if (*verb != '\0') {
        out_refused(verb, "NO_SUCH_COMMAND");
    }
}

/* ---- Running ---- */

static void start(const struct provision *provision)
{
    const struct iotsec_registry_access *access = registry_access();
    struct iotsec_addr own;
    enum iotsec_status status;

    app.config.hal = &node.hal;
    app.config.callbacks = &callbacks;
    app.config.registry = &registry_functions;
    app.config.sessions = app.sessions;
    app.config.session_count = SESSIONS;
    app.config.handshakes = app.handshakes;
    app.config.handshake_count = HANDSHAKES;
    app.config.contacts = app.contacts;
    app.config.contact_count = REGISTRY_DEVICES;
    app.config.groups = app.groups;
    app.config.group_count = REGISTRY_GROUPS;
    app.config.members = app.members;
    app.config.member_count = REGISTRY_MEMBERS;
    app.config.deliveries = app.deliveries;
    app.config.delivery_count = DELIVERIES;
    app.config.tx = app.tx;
    app.config.tx_size = sizeof app.tx;
    app.config.link_payload = 82; /* one frame between two EUI-64, secured with 8 bytes of MIC */
    app.config.cookie_policy = IOTSEC_COOKIE_UNDER_LOAD;
    app.config.cookie_threshold = 1;
    app.config.connection_id = IOTSEC_CONNECTION_ID_ON;
    app.config.relayed = 1;
    status = iotsec_manager_init(&app.manager, &app.config);
    if (status != IOTSEC_OK) {
        fault_at("manager", (uint32_t)-(int)status);
    }
    /* Devices take their short addresses by their numbers. */
    if (provision->short_address <= REGISTRY_DEVICES || !net_address(&node.net, &own)) {
        fault("provision-address");
    }
    own.port = JOIN_PORT;
    own.interface = 0;
    if (access->number == 0 || access->pan_id != provision->pan || !iotsec_addr_equal(&access->manager, &own) ||
        memcmp(access->prefix, provision->prefix, sizeof access->prefix) != 0) {
        status = iotsec_manager_access_set(&app.manager, provision->pan, provision->prefix, &own);
        if (status != IOTSEC_OK) {
            fault_at("manager-access", (uint32_t)-(int)status);
        }
    }
    take_l2_keys();
    out_begin("serving");
    out_addr("addr", &own);
    out_end();
}

void manager_run(const struct provision *provision)
{
    char *line;

    node_start(provision, JOIN_PORT, received);
    registry_start();
    node_set_address(provision->pan, provision->short_address, provision->prefix);
    net_set_forwarding(&node.net, true);
    start(provision);
    open_joining(true);
    for (;;) {
        uint32_t wait = iotsec_manager_poll(&app.manager);

        if (app.old_key_index != 0) {
            if ((int32_t)(clock_ms() - app.old_key_until) >= 0) {
                net_key_remove(&node.net, app.old_key_index);
                app.old_key_index = 0;
            } else {
                wait = wait < 1000 ? wait : 1000;
            }
        }
        line = console_line();
        if (line != NULL) {
            command(line);
            wait = 0;
        }
        node_work(wait);
    }
}
