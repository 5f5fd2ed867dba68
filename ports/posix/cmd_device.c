/* SPDX-License-Identifier: BSD-3-Clause */
/* `iotsec device`: joins a domain, prints what its groups and other devices say, and sends what standard input says. */
#include "cmd.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <iotsec/device.h>

#include "addr.h"
#include "coap.h"
#include "l2_keys.h"
#include "lines.h"
#include "nvm_file.h"
#include "options.h"
#include "output.h"
#include "own_address.h"
#include "peers.h"
#include "port.h"
#include "relay_port.h"
#include "secret.h"

#define GROUPS_MAX 16
#define SENDERS_A_GROUP 256
#define TX_BYTES (IOTSEC_GROUP_PAYLOAD_MAX + 256)
#define RELAY_NVM_SLOT 100 /* groups have those from 1 on */
#define RETRY_INITIAL_MS 10000u
#define MOVE_AGAIN_MS 10000u
#define RETRY_MAX_MS 600000u

enum {
    OPTION_MANAGER = 1, OPTION_ID, OPTION_PSK, OPTION_PSK_FILE, OPTION_GROUP, OPTION_INTERFACE, OPTION_STATE, OPTION_LISTEN,
    OPTION_STATUS, OPTION_TIMEOUT, OPTION_HIDE, OPTION_EOF, OPTION_CID, OPTION_CONFIGURE, OPTION_HOOK, OPTION_L2_FILE,
    OPTION_RELAY, OPTION_RELAY_INTERFACE, OPTION_RELAY_OPEN, OPTION_RELAY_PORT, OPTION_PAIRS, OPTION_DEGREE_MAX, OPTION_PAIR_IDLE
};

static const struct option_row device_rows[] = {
    { "--manager", OPTION_MANAGER, "[ADDR]:PORT", "the domain manager, or a relay's link-local address: [fe80::1%eth0]:5684" },
    { "--id", OPTION_ID, "ID", "who this device is" },
    { "--psk-file", OPTION_PSK_FILE, "FILE", "its key: one line of 32 to 128 hexadecimal digits, readable for its owner only" },
    { "--psk", OPTION_PSK, "HEX", "its key on the command line, where others can read it: for experiments" },
    { "--group", OPTION_GROUP, "GID", "a group to join; again for more" },
    { "--interface", OPTION_INTERFACE, "IF", "the interface for multicast (default: the one towards the manager)" },
    { "--listen", OPTION_LISTEN, "[ADDR]:PORT", "our own unicast address, where other devices reach us (default [::]:0, any port)" },
    { "--pairs", OPTION_PAIRS, "N", "sessions with other devices at once (default 8); 0: no pairwise keys" },
    { "--pair-idle", OPTION_PAIR_IDLE, "SECONDS", "close one in which nothing was said for so long (default 300)" },
    { "--share-degree-max", OPTION_DEGREE_MAX, "N", "the largest degree of the domain's polynomial that we take a share of (default 255)" },
    { "--state", OPTION_STATE, "DIR", "keep group keys in this directory: they work at once after a restart, also without the manager" },
    { "--status-interval", OPTION_STATUS, "SECONDS", "report to the manager this often (default 3600)" },
    { "--timeout", OPTION_TIMEOUT, "SECONDS", "give up joining after so long (default 60; a silent manager 20)" },
    { "--hide-groups", OPTION_HIDE, NULL, "ask for groups inside the protected session: the hello names none" },
    { "--connection-id", OPTION_CID, "WHEN", "off, link-local or on: keep the session when our address changes (default link-local: if it was one)" },
    { "--configure-address", OPTION_CONFIGURE, NULL, "after a link-local join, take an address of the domain's prefix, and go on from there" },
    { "--access-hook", OPTION_HOOK, "COMMAND", "have sh -c COMMAND set that address up; exit status 0 says that it is there" },
    { "--l2-key-file", OPTION_L2_FILE, "FILE", "write the link-layer keys to this file, for a daemon" },
    { "--relay", OPTION_RELAY, "[MODE]", "once joined, relay for neighbours that want to join: stateless (default) or stateful" },
    { "--relay-interface", OPTION_RELAY_INTERFACE, "IF", "the interface towards them (default: the one of --interface, or towards the manager)" },
    { "--relay-open", OPTION_RELAY_OPEN, "SECONDS", "open joining for so long, or always (default: closed until the command relay open)" },
    { "--relay-port", OPTION_RELAY_PORT, "PORT", "the port that neighbours send to (default 5684)" },
    { "--exit-on-eof", OPTION_EOF, NULL, "end when standard input does" },
    { NULL, 0, NULL, NULL },
};

static const struct command device_command = {
    "iotsec device --manager [ADDR]:PORT --id ID --psk-file FILE [--group GID]... [option]...",
    "Joins a domain and its groups, prints what they and other devices say, and takes commands on standard input:\n"
    "\n"
    "  group GID TEXT               send a text to a group\n"
    "  coap GID put /light [TEXT]   send a CoAP request (get, post, put, delete) to a group\n"
    "  send ID@[ADDR]:PORT TEXT     send a text to one other device, which has to prove that it is ID\n"
    "  close ID                     end the session with it\n"
    "  join GID                     join one more group; after an eviction, try to join again\n"
    "  leave GID                    leave a group\n"
    "  leave                        leave the domain, and end\n"
    "  relay open SECONDS|always    with --relay: let neighbours join; relay close, relay stats, relay rotate\n"
    "  quit                         end; the domain manager keeps us as a member\n"
    "\n"
    "Where the join went to a link-local address, the domain's access parameters name the manager's own address and a\n"
    "prefix. The device then takes an address of that prefix (--configure-address, --access-hook, or one that the\n"
    "interface has already) and goes on from there in the same session; without any of these it stays where it is.\n"
    "COMMAND finds IOTSEC_ADDRESS, IOTSEC_PREFIX, IOTSEC_INTERFACE, IOTSEC_PAN_ID, IOTSEC_SHORT_ADDRESS,\n"
    "IOTSEC_L2_INDEX and IOTSEC_MANAGER in its environment, and has ten seconds.",
    device_rows, true,
};

struct device {
    struct iotsec_device device;
    struct iotsec_device_config config;
    struct iotsec_dtls_session *sessions;
    struct iotsec_dtls_handshake *handshakes;
    struct peers peers;
    struct iotsec_device_group groups[GROUPS_MAX];
    struct iotsec_sender senders[GROUPS_MAX * SENDERS_A_GROUP];
    uint8_t tx[TX_BYTES];
    struct port port;
    struct port_options port_options;
    struct common_options common;
    struct nvm_file nvm;
    struct l2_keys l2;
    struct iotsec_addr manager;  /* of the command line: the domain manager, or a relay */
    bool manager_given;
    const char *id;
    struct psk psk;
    const char *state;
    uint16_t wanted[GROUPS_MAX]; /* groups of the command line */
    size_t wanted_count;
    bool exit_on_eof;

    bool joined;
    bool out;                    /* evicted: a join starts from the beginning */
    bool offline;                /* with kept keys, but without a manager: joins again at retry_at */
    uint32_t retry_at;
    uint32_t retry_wait;
    bool ended;
    enum iotsec_status result;   /* why it ended; OK for an end that was asked for */
    uint16_t message_id;         /* of the next CoAP request */
    uint16_t token;
    struct lines lines;

    /* an address of its own */
    bool configure_address;
    const char *access_command;
    struct iotsec_access access; /* as told last, if access_told */
    bool access_told;
    uint8_t address[16];         /* to be taken, or taken; zeros: none */
    uint8_t joined_from[16];     /* our address that the manager or relay answered to; zeros: not known */
    bool moved;                  /* the session has gone on from there */
    bool hook_again;             /* the parameters have changed meanwhile */
    bool move_again;             /* the manager has not answered at its own address: tried again at move_at */
    uint32_t move_at;
    struct hook hook;

    struct relay_port relay;
    struct relay_options relay_options;
    bool relay_wanted;
};

/* ---- The command line ---- */

static int take_group(struct device *device, const char *text)
{
    uint64_t number;
    size_t i;

    if (!number_parse(text, 1, UINT16_MAX, &number)) {
        return fail("BAD_GROUP", "'%s' is no group ID: a number of 1 to 65535", text);
    }
    for (i = 0; i < device->wanted_count; i++) {
        if (device->wanted[i] == number) {
            return fail_usage("--group %s is there twice", text);
        }
    }
    if (device->wanted_count == GROUPS_MAX) {
        return fail_usage("--group: %d groups at most", GROUPS_MAX);
    }
    device->wanted[device->wanted_count++] = (uint16_t)number;
    return 0;
}

static int take_option(struct device *device, const struct arguments *arguments, int id)
{
    uint64_t number;
    int status = 0;

    switch (id) {
    case OPTION_MANAGER:
        status = argument_addr(arguments, "--manager", false, &device->manager);
        device->manager_given = true;
        break;
    case OPTION_ID:
        status = argument_identity(arguments, "--id", &device->id);
        break;
    case OPTION_PSK:
        status = psk_from_argument(arguments->value, &device->psk);
        break;
    case OPTION_PSK_FILE:
        status = psk_from_file(arguments->value, &device->psk);
        break;
    case OPTION_GROUP:
        status = take_group(device, arguments->value);
        break;
    case OPTION_INTERFACE:
        device->port_options.interface = arguments->value;
        break;
    case OPTION_LISTEN:
        status = argument_addr(arguments, "--listen", true, &device->port_options.listen);
        break;
    case OPTION_STATE:
        device->state = arguments->value;
        break;
    case OPTION_STATUS:
        status = argument_seconds(arguments, "--status-interval", 1000000, &device->config.status_interval_ms);
        break;
    case OPTION_TIMEOUT:
        status = argument_seconds(arguments, "--timeout", 3600, &device->config.join_timeout_ms);
        device->config.handshake_timeout_ms = device->config.join_timeout_ms;
        break;
    case OPTION_HIDE:
        device->config.hide_groups = 1;
        break;
    case OPTION_CID:
        status = argument_connection_id(arguments, true, &device->config.connection_id);
        break;
    case OPTION_CONFIGURE:
        device->configure_address = true;
        break;
    case OPTION_HOOK:
        device->access_command = arguments->value;
        break;
    case OPTION_L2_FILE:
        device->l2.path = arguments->value;
        break;
    case OPTION_RELAY:
        status = relay_take_mode(arguments, "--relay", &device->relay_options);
        device->relay_wanted = true;
        break;
    case OPTION_RELAY_INTERFACE:
        device->relay_options.interface = arguments->value;
        if (if_nametoindex(arguments->value) == 0) {
            status = fail("NO_INTERFACE", "%s: there is no interface of that name", arguments->value);
        }
        break;
    case OPTION_RELAY_OPEN:
        status = relay_take_open(arguments, "--relay-open", &device->relay_options);
        break;
    case OPTION_RELAY_PORT:
        status = argument_number(arguments, "--relay-port", 1, UINT16_MAX, &number);
        device->relay_options.join_port = status == 0 ? (uint16_t)number : 0;
        break;
    case OPTION_PAIRS:
        status = argument_number(arguments, "--pairs", 0, PEERS_MAX, &number);
        device->peers.count = status == 0 ? (uint16_t)number : 0;
        break;
    case OPTION_DEGREE_MAX:
        status = argument_number(arguments, "--share-degree-max", 1, IOTSEC_POLY_DEGREE_MAX, &number);
        device->peers.degree_max = status == 0 ? (uint8_t)number : 1;
        break;
    case OPTION_PAIR_IDLE:
        status = argument_seconds(arguments, "--pair-idle", 1000000, &device->config.pair_idle_ms);
        break;
    case OPTION_EOF:
        device->exit_on_eof = true;
        break;
    default:
        break;
    }
    return status;
}

/* -1 if all is well, else the exit status to leave with. */
static int take_command_line(struct device *device, int count, char **list)
{
    struct arguments arguments;
    int status = 0;
    int id;

    relay_options_start(&device->relay_options);
    device->peers.count = PEERS_DEFAULT;
    device->peers.degree_max = IOTSEC_POLY_DEGREE_MAX;
    device->config.connection_id = IOTSEC_CONNECTION_ID_LINK_LOCAL;
    arguments_start(&arguments, &device_command, &device->common, count, list);
    while (status == 0 && (id = arguments_next(&arguments)) != ARGUMENT_END) {
        if (id == ARGUMENT_DONE) {
            return arguments.status;
        }
        if (id == ARGUMENT_POSITIONAL) {
            return fail_usage("'%s' is too much; --help shows what there is", arguments.value);
        }
        status = take_option(device, &arguments, id);
    }
    if (status != 0) {
        return status;
    }
    if (!device->manager_given) {
        return fail_usage("--manager is missing");
    }
    if (device->id == NULL) {
        return fail_usage("--id is missing");
    }
    if (device->psk.len == 0) {
        return fail_usage("--psk-file is missing (or --psk, for experiments)");
    }
    if (!device->relay_wanted && (device->relay_options.open || device->relay_options.interface != NULL)) {
        return fail_usage("--relay-open and --relay-interface go with --relay");
    }
    if (device->relay_wanted && device->port_options.listen.port == device->relay_options.join_port) {
        return fail_usage("--listen names port %u, which is the relay's: choose another one, or another --relay-port",
                          device->relay_options.join_port);
    }
    return -1;
}

/* ---- An address of its own ---- */

static bool is_zero(const uint8_t *bytes, size_t len)
{
    while (len > 0 && *bytes == 0) {
        bytes++;
        len--;
    }
    return len == 0;
}

static void out_ip(const char *key, const uint8_t ip[16])
{
    struct iotsec_addr addr;
    char text[ADDR_TEXT_BYTES];

    memset(&addr, 0, sizeof addr);
    memcpy(addr.ip, ip, sizeof addr.ip);
    addr_format_ip(&addr, text);
    out_word(key, text);
}

static void out_address_failed(const struct device *device, const char *reason, const char *detail)
{
    out_begin("address-failed");
    out_word("reason", reason);
    out_ip("address", device->address);
    if (detail != NULL) {
        out_word("detail", detail);
    }
    out_end();
}

/* The interface that the join went through. */
static unsigned join_interface(const struct device *device)
{
    return device->manager.interface != 0 ? device->manager.interface : device->port.interface;
}

/* The prefix, and behind it what our link-local address has there. False: there is no prefix, or no such address. */
static bool derive_address(struct device *device)
{
    memset(device->address, 0, sizeof device->address);
    if (is_zero(device->access.prefix, sizeof device->access.prefix)) {
        return false;
    }
    if (is_zero(device->joined_from, sizeof device->joined_from) &&
        !own_link_local(join_interface(device), device->joined_from)) {
        return false;
    }
    memcpy(device->address, device->access.prefix, sizeof device->access.prefix);
    memcpy(device->address + 8, device->joined_from + 8, 8);
    return true;
}

static void out_access(const struct device *device)
{
    const struct iotsec_access *access = &device->access;
    char text[ADDR_TEXT_BYTES];

    out_begin("access");
    prefix_format(access->prefix, text);
    out_word("prefix", text);
    if (!is_zero(device->address, sizeof device->address)) {
        out_ip("address", device->address);
    }
    out_hex("pan", access->pan_id);
    out_hex("short", access->short_address);
    out_uint("index", access->key_index);
    out_addr("manager", &access->manager);
    out_end();
}

/* The address is there: the session goes on from it. */
static void move_there(struct device *device)
{
    enum iotsec_status status;

    if (addr_is_link_local(&device->port.socket.local)) {
        out_address_failed(device, "LISTEN", "--listen names a link-local address");
        return;
    }
    /* the host may have other addresses that would do; this is the one that the domain's prefix stands for */
    port_send_from(&device->port, &device->access.manager, device->address);
    status = iotsec_moved(&device->device, &device->access.manager);
    if (status != IOTSEC_OK) {
        out_address_failed(device, iotsec_status_name(status), NULL);
    }
}

static void start_hook(struct device *device)
{
    const struct iotsec_access *access = &device->access;
    struct iotsec_addr addr;
    char ip[ADDR_TEXT_BYTES];
    char prefix[ADDR_TEXT_BYTES];
    char manager[ADDR_TEXT_BYTES];
    char interface[IF_NAMESIZE] = "";
    char texts[7][ADDR_TEXT_BYTES + 32];
    char *variables[8];
    size_t i;
    int code;

    memset(&addr, 0, sizeof addr);
    memcpy(addr.ip, device->address, sizeof addr.ip);
    addr_format_ip(&addr, ip);
    prefix_format(access->prefix, prefix);
    addr_format(&access->manager, manager);
    (void)if_indextoname(join_interface(device), interface);
    snprintf(texts[0], sizeof texts[0], "IOTSEC_ADDRESS=%s", ip);
    snprintf(texts[1], sizeof texts[1], "IOTSEC_PREFIX=%s", prefix);
    snprintf(texts[2], sizeof texts[2], "IOTSEC_INTERFACE=%s", interface);
    snprintf(texts[3], sizeof texts[3], "IOTSEC_PAN_ID=0x%04x", access->pan_id);
    snprintf(texts[4], sizeof texts[4], "IOTSEC_SHORT_ADDRESS=0x%04x", access->short_address);
    snprintf(texts[5], sizeof texts[5], "IOTSEC_L2_INDEX=%u", access->key_index);
    snprintf(texts[6], sizeof texts[6], "IOTSEC_MANAGER=%s", manager);
    for (i = 0; i < 7; i++) {
        variables[i] = texts[i];
    }
    variables[7] = NULL;
    device->hook_again = false;
    code = hook_start(&device->hook, device->access_command, variables);
    if (code != 0) {
        out_address_failed(device, "HOOK", strerror(code));
    }
}

static void take_address(struct device *device)
{
    if (device->configure_address) {
        int code = own_address_add(join_interface(device), device->address);

        if (code != 0) {
            out_address_failed(device, code == EPERM ? "NOT_PERMITTED" : "INTERFACE", strerror(code));
            return;
        }
    }
    if (device->access_command != NULL && device->hook.pid != 0) {
        device->hook_again = true;
    } else if (device->access_command != NULL) {
        start_hook(device);
    } else if (device->configure_address || own_address_there(device->address)) {
        move_there(device);
    }
}

static void device_access(void *user, const struct iotsec_access *access)
{
    struct device *device = user;
    struct iotsec_addr manager = device->access.manager;
    uint8_t address[16];
    bool same;

    memcpy(address, device->address, sizeof address);
    device->access = *access;
    device->access_told = true;
    /* whoever joined from an address that is routable has one */
    if (!addr_is_link_local(&device->manager)) {
        memset(device->address, 0, sizeof device->address);
        out_access(device);
        return;
    }
    (void)derive_address(device);
    out_access(device);
    if (is_zero(device->address, sizeof device->address)) {
        return;
    }
    same = memcmp(address, device->address, sizeof address) == 0 && iotsec_addr_equal(&manager, &device->access.manager);
    /* they come with each new key: what is under way, or done, is not begun again */
    if (!same || (device->hook.pid == 0 && iotsec_dtls_find(&device->device.dtls, &device->access.manager) == 0)) {
        take_address(device);
    }
}

/* Looks whether the hook has ended; lowers `wait` while it runs. */
static void look_at_hook(struct device *device, uint32_t *wait)
{
    char text[32];
    int status;

    if (device->hook.pid == 0) {
        return;
    }
    if (!hook_ended(&device->hook, &status)) {
        *wait = *wait < HOOK_LOOK_MS ? *wait : HOOK_LOOK_MS;
        return;
    }
    *wait = 0;
    if (device->hook_again) {
        start_hook(device);
    } else if (status == 0) {
        move_there(device);
    } else {
        snprintf(text, sizeof text, "exit status %d", status);
        out_address_failed(device, status < 0 ? "HOOK_TIMEOUT" : "HOOK", status < 0 ? NULL : text);
    }
}

/* ---- Relaying for neighbours ---- */

/* As soon as the manager can be reached by a routable address, and from one. */
static void start_relay(struct device *device)
{
    struct iotsec_addr manager = device->access_told ? device->access.manager : device->manager;
    char interface[IF_NAMESIZE] = "";

    if (!device->relay_wanted || device->relay.running || !device->joined ||
        (addr_is_link_local(&device->manager) && !device->moved)) {
        return;
    }
    if (device->relay_options.interface == NULL) {
        (void)if_indextoname(join_interface(device), interface);
        device->relay_options.interface = interface;
    }
    device->relay_options.keep_key = device->state != NULL;
    device->relay_options.nvm_slot = RELAY_NVM_SLOT;
    if (device->relay_options.interface[0] == '\0' ||
        relay_port_start(&device->relay, &device->port, &device->relay_options, &manager) != 0) {
        out_begin("relay-failed");
        out_word("interface", device->relay_options.interface);
        out_end();
        device->relay_wanted = false;
    }
    if (device->relay_options.interface == interface) {
        device->relay_options.interface = NULL;
    }
}

/* ---- Events ---- */

static void out_device_event(const char *name, const struct iotsec_device_event *event, bool with_reason)
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

/* Kept keys work without a manager, as far as they go; without them there is nothing to do. */
static void fail_join(struct device *device, enum iotsec_status reason)
{
    if (device->state == NULL || reason != IOTSEC_ERR_NO_ANSWER) {
        device->ended = true;
        device->result = reason;
        return;
    }
    device->offline = true;
    device->retry_at = port_now_ms() + device->retry_wait;
    device->retry_wait = device->retry_wait < RETRY_MAX_MS / 2 ? 2 * device->retry_wait : RETRY_MAX_MS;
    out_begin("join-failed");
    out_reason("reason", reason);
    out_end();
}

static void report_move(struct device *device, const struct iotsec_device_event *event)
{
    device->moved = event->reason == IOTSEC_OK;
    device->move_again = !device->moved && device->access_told;
    device->move_at = port_now_ms() + MOVE_AGAIN_MS;
    out_begin(event->reason == IOTSEC_OK ? "moved" : "move-failed");
    if (event->reason != IOTSEC_OK) {
        out_reason("reason", event->reason);
    }
    out_ip("address", device->address);
    out_addr("manager", &device->access.manager);
    out_end();
    start_relay(device);
}

/* Out of the domain: no relay, and a later join begins where the first one did. */
static void leave_network(struct device *device)
{
    relay_port_stop(&device->relay);
    hook_kill(&device->hook);
    device->access_told = false;
    device->moved = false;
    device->move_again = false;
}

static void device_event(void *user, const struct iotsec_device_event *event)
{
    struct device *device = user;

    switch (event->kind) {
    case IOTSEC_DEVICE_JOINED:
        device->joined = true;
        device->out = false;
        device->offline = false;
        device->retry_wait = RETRY_INITIAL_MS;
        out_begin("joined");
        out_word("id", device->id);
        out_addr("manager", &device->manager);
        out_end();
        start_relay(device);
        break;
    case IOTSEC_DEVICE_JOIN_FAILED:
        fail_join(device, event->reason);
        break;
    case IOTSEC_DEVICE_GROUP_JOINED:
        out_device_event("group-joined", event, false);
        break;
    case IOTSEC_DEVICE_GROUP_REFUSED:
        out_device_event("group-refused", event, true);
        break;
    case IOTSEC_DEVICE_GROUP_KEY:
        out_device_event("group-key", event, false);
        break;
    case IOTSEC_DEVICE_GROUP_LEFT:
        out_device_event("group-left", event, true);
        break;
    case IOTSEC_DEVICE_SENT_OLD:
        out_device_event("sent-old", event, false);
        break;
    case IOTSEC_DEVICE_KEY_CONFLICT:
        out_device_event("key-conflict", event, false);
        break;
    case IOTSEC_DEVICE_COUNTER:
        out_device_event("counter-used-up", event, false);
        break;
    case IOTSEC_DEVICE_FORGERIES:
        out_device_event("forgeries", event, false);
        break;
    case IOTSEC_DEVICE_EVICTED:
        device->joined = false;
        device->out = true;
        out_device_event("evicted", event, true);
        leave_network(device);
        break;
    case IOTSEC_DEVICE_LEFT:
        device->joined = false;
        device->ended = true;
        device->result = IOTSEC_OK;
        out_device_event("left", event, true);
        leave_network(device);
        break;
    case IOTSEC_DEVICE_CONTACT_LOST:
        out_device_event("contact-lost", event, true);
        break;
    case IOTSEC_DEVICE_CONTACT:
        out_device_event("contact", event, false);
        break;
    case IOTSEC_DEVICE_MOVED:
        report_move(device, event);
        break;
    case IOTSEC_DEVICE_SHARE:
    case IOTSEC_DEVICE_PEER_OPEN:
    case IOTSEC_DEVICE_PEER_FAILED:
    case IOTSEC_DEVICE_PEER_REFUSED:
    case IOTSEC_DEVICE_PEER_CLOSED:
        peers_event(&device->peers, event);
        break;
    }
}

/* `coap=... payload=...` or `text=...`, in the line under construction. */
static void out_content(const struct device *device, const uint8_t *data, size_t len)
{
    struct coap_request request;
    char summary[COAP_PATH_MAX + 16];

    if (coap_read(data, len, &request)) {
        snprintf(summary, sizeof summary, "%s %s %s", request.type, request.method, request.path);
        out_quoted("coap", summary, strlen(summary));
        if (request.payload != NULL) {
            out_quoted("payload", request.payload, request.payload_len);
        }
    } else {
        out_quoted("text", data, len);
    }
    if (device->common.verbose) {
        out_octets("data", data, len);
    }
}

static void device_group_receive(void *user, uint16_t group_id, uint16_t sender_id, const uint8_t *data, size_t len)
{
    out_begin("group");
    out_uint("gid", group_id);
    out_uint("sender", sender_id);
    out_content(user, data, len);
    out_end();
}

static void device_receive(void *user, const struct iotsec_peer *peer, const uint8_t *data, size_t len)
{
    out_begin("message");
    out_bytes("from", peer->identity, peer->identity_len);
    out_addr("addr", &peer->addr);
    out_content(user, data, len);
    out_end();
}

/* ---- Commands on standard input ---- */

static void report(const char *command, uint16_t gid, enum iotsec_status status)
{
    if (status == IOTSEC_OK) {
        return;
    }
    out_begin("refused");
    out_word("what", command);
    if (gid != 0) {
        out_uint("gid", gid);
    }
    out_reason("reason", status);
    out_end();
}

static void send_to_group(struct device *device, const char *command, uint16_t gid, const uint8_t *data, size_t len)
{
    enum iotsec_status status = iotsec_group_send(&device->device, gid, data, len);

    if (status == IOTSEC_OK) {
        out_begin("sent");
        out_uint("gid", gid);
        out_uint("bytes", len);
        if (device->common.verbose) {
            out_octets("data", data, len);
        }
        out_end();
    }
    report(command, gid, status);
}

static void command_coap(struct device *device, uint16_t gid, const char *method, const char *path, const char *payload)
{
    uint8_t message[IOTSEC_GROUP_PAYLOAD_MAX];
    uint8_t code = method != NULL ? coap_method(method) : 0;
    size_t len;

    if (code == 0 || path == NULL) {
        out_refused("coap", "USAGE");
        return;
    }
    if (!coap_write(message, sizeof message, &len, code, device->message_id, device->token, path, payload, strlen(payload))) {
        out_refused("coap", path[0] != '/' ? "BAD_PATH" : "TOO_LONG");
        return;
    }
    device->message_id++;
    device->token++;
    send_to_group(device, "coap", gid, message, len);
}

static void command_join(struct device *device, uint16_t gid)
{
    enum iotsec_status status;

    if (device->out) {
        status = iotsec_join(&device->device, &device->manager, &gid, 1);
    } else {
        status = iotsec_group_join(&device->device, gid);
    }
    report("join", gid, status);
}

static void command_leave(struct device *device)
{
    enum iotsec_status status = iotsec_leave(&device->device);

    if (!device->joined) {
        /* nobody has to be told */
        device->ended = true;
        return;
    }
    report("leave", 0, status);
}

static void command_relay(struct device *device, char *rest)
{
    const char *verb = lines_word(&rest);
    const char *argument = lines_word(&rest);
    const char *problem = relay_port_command(&device->relay, verb, argument);

    if (problem != NULL) {
        out_refused("relay", problem);
    }
}

static void run_command(void *user, char *rest)
{
    struct device *device = user;
    const char *verb = lines_word(&rest);
    const char *word;
    uint64_t gid;

    if (verb[0] == '\0') {
        return;
    }
    if (strcmp(verb, "quit") == 0) {
        device->ended = true;
        return;
    }
    if (strcmp(verb, "relay") == 0) {
        command_relay(device, rest);
        return;
    }
    if (strcmp(verb, "send") == 0) {
        peers_send(&device->device, rest);
        return;
    }
    if (strcmp(verb, "close") == 0) {
        peers_hang_up(&device->device, rest);
        return;
    }
    if (strcmp(verb, "group") != 0 && strcmp(verb, "coap") != 0 && strcmp(verb, "join") != 0 && strcmp(verb, "leave") != 0) {
        out_refused(verb, "NO_SUCH_COMMAND");
        return;
    }
    word = lines_word(&rest);
    if (strcmp(verb, "leave") == 0 && word[0] == '\0') {
        command_leave(device);
        return;
    }
    if (!number_parse(word, 1, UINT16_MAX, &gid)) {
        out_refused(verb, "BAD_GROUP");
        return;
    }
    if (strcmp(verb, "group") == 0) {
        send_to_group(device, "group", (uint16_t)gid, (const uint8_t *)rest, strlen(rest));
    } else if (strcmp(verb, "coap") == 0) {
        const char *method = lines_word(&rest);
        const char *path = lines_word(&rest);

        command_coap(device, (uint16_t)gid, method, path, rest);
    } else if (strcmp(verb, "join") == 0) {
        command_join(device, (uint16_t)gid);
    } else {
        report("leave", (uint16_t)gid, iotsec_group_leave(&device->device, (uint16_t)gid));
    }
}

/* ---- Running ---- */

static void device_input(void *user, const struct iotsec_addr *from, const struct iotsec_addr *to, uint8_t *data, size_t len)
{
    struct device *device = user;

    /* a host may have several link-local addresses: the one that the other end knows us by tells who we are */
    if (addr_is_link_local(to) && iotsec_addr_equal(from, &device->manager)) {
        memcpy(device->joined_from, to->ip, sizeof device->joined_from);
    }
    (void)iotsec_input(&device->device, from, to, data, len);
}

static void start_join(struct device *device)
{
    enum iotsec_status status = iotsec_join(&device->device, &device->manager, device->wanted, device->wanted_count);

    if (status != IOTSEC_OK) {
        device->ended = true;
        device->result = status;
    }
}

/* Joins again if it is time; lowers `wait` to when it is. */
static void retry_join(struct device *device, uint32_t *wait)
{
    uint32_t left = device->retry_at - port_now_ms();

    if (!device->offline) {
        return;
    }
    if (left != 0 && left <= RETRY_MAX_MS) {
        *wait = left < *wait ? left : *wait;
        return;
    }
    /* once more when this attempt has failed too */
    device->retry_at = port_now_ms() + RETRY_MAX_MS;
    *wait = 0;
    start_join(device);
}

/* Three messages have to arrive for a move: where many are lost, it takes more than one try. */
static void retry_move(struct device *device, uint32_t *wait)
{
    uint32_t left = device->move_at - port_now_ms();

    if (!device->move_again) {
        return;
    }
    if (left != 0 && left <= MOVE_AGAIN_MS) {
        *wait = left < *wait ? left : *wait;
        return;
    }
    device->move_again = false;
    *wait = 0;
    move_there(device);
}

static int device_loop(struct device *device)
{
    char text[ADDR_TEXT_BYTES];

    start_join(device);
    while (!device->ended) {
        uint32_t wait = iotsec_poll(&device->device);
        bool reading = !device->lines.over && (device->joined || device->out || device->offline);
        unsigned events;

        if (device->ended) {
            break;
        }
        retry_join(device, &wait);
        look_at_hook(device, &wait);
        retry_move(device, &wait);
        relay_port_poll(&device->relay, &wait);
        events = port_wait(&device->port, wait, reading ? STDIN_FILENO : -1, device_input, device);
        if ((events & PORT_STOP) != 0) {
            break;
        }
        if ((events & PORT_EXTRA) != 0) {
            lines_read(&device->lines, run_command, device, &device->ended);
            device->ended = device->ended || (device->lines.over && device->exit_on_eof);
        }
    }
    hook_kill(&device->hook);
    relay_port_stop(&device->relay);
    iotsec_device_close(&device->device); /* still a member: closing is not leaving */
    if (device->common.verbose) {
        out_stats("device", &device->device.stats);
        out_stats("dtls", &device->device.dtls.stats);
    }
    if (device->result != IOTSEC_OK) {
        addr_format(&device->manager, text);
        return fail_status(device->result, text);
    }
    out_begin("stopped");
    out_end();
    return 0;
}

/* One session for the manager, one so that a new handshake replaces it gently; with pairwise keys one for each, and one
 * more so that a new peer takes an idle one's place. As many handshakes as may be wanted at once. */
static int make_tables(struct device *device)
{
    struct iotsec_device_config *config = &device->config;
    uint16_t pairs = device->peers.count;

    config->session_count = (uint16_t)(2 + (pairs != 0 ? pairs + 1 : 0));
    config->handshake_count = (uint16_t)(1 + pairs);
    device->sessions = calloc(config->session_count, sizeof device->sessions[0]);
    device->handshakes = calloc(config->handshake_count, sizeof device->handshakes[0]);
    if (device->sessions == NULL || device->handshakes == NULL) {
        return fail("MEMORY", "out of memory: ask for fewer sessions with --pairs");
    }
    config->sessions = device->sessions;
    config->handshakes = device->handshakes;
    return peers_start(&device->peers, config);
}

static void free_tables(struct device *device)
{
    peers_end(&device->peers);
    free(device->sessions);
    free(device->handshakes);
}

static int device_run(struct device *device)
{
    struct iotsec_device_callbacks callbacks;
    struct iotsec_device_config *config = &device->config;
    enum iotsec_status started;
    int status;

    memset(&callbacks, 0, sizeof callbacks);
    callbacks.event = device_event;
    callbacks.group_receive = device_group_receive;
    callbacks.receive = device_receive;
    callbacks.access = device_access;
#if IOTSEC_KEYLOG
    callbacks.keylog = device->common.keylog != NULL ? keylog_write : NULL;
#endif
    options_to_port(&device->common, &device->port_options);
    device->port_options.peer = device->manager;
    device->port_options.l2 = &device->l2;
    device->port_options.nvm = device->state != NULL ? &device->nvm : NULL;
    config->hal = &device->port.hal;
    config->callbacks = &callbacks;
    config->user = device;
    config->identity = (const uint8_t *)device->id;
    config->identity_len = strlen(device->id);
    config->psk = device->psk.key;
    config->psk_len = device->psk.len;
    config->groups = device->groups;
    config->group_count = GROUPS_MAX;
    config->senders = device->senders;
    config->sender_count = GROUPS_MAX * SENDERS_A_GROUP;
    config->tx = device->tx;
    config->tx_size = sizeof device->tx;
    config->link_payload = device->common.link_payload;
    config->persist = device->state != NULL;
    config->nvm_slot = 1;
    status = make_tables(device);
    if (status == 0) {
        status = keylog_open(&device->common);
    }
    if (status == 0 && device->state != NULL) {
        status = nvm_file_open(&device->nvm, device->state, config->identity, config->identity_len);
    }
    if (status != 0) {
        return status;
    }
    status = port_open(&device->port, &device->port_options);
    if (status != 0) {
        return status;
    }
    (void)config->hal->random(config->hal->user, (uint8_t *)&device->message_id, sizeof device->message_id);
    (void)config->hal->random(config->hal->user, (uint8_t *)&device->token, sizeof device->token);
    started = iotsec_device_init(&device->device, config);
    if (started != IOTSEC_OK) {
        status = fail_status(started, "starting the device");
    } else {
        out_begin("started");
        out_word("id", device->id);
        out_addr("addr", &device->port.socket.local);
        out_end();
        status = device_loop(device);
        iotsec_device_wipe(&device->device);
    }
    port_close(&device->port);
    return status;
}

int cmd_device(int count, char **list)
{
    struct device *device = calloc(1, sizeof *device);
    int status;

    if (device == NULL) {
        return fail("MEMORY", "out of memory");
    }
    device->nvm.directory = -1;
    device->nvm.lock = -1;
    device->retry_wait = RETRY_INITIAL_MS;
    status = take_command_line(device, count, list);
    if (status < 0) {
        status = device_run(device);
    }
    free_tables(device);
    keylog_close();
    nvm_file_close(&device->nvm);
    explicit_bzero(device, sizeof *device);
    free(device);
    return status;
}
