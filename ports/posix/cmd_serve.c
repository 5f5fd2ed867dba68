/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `iotsec manager serve`: the domain manager over its registry. Other processes write wishes into the
 * registry; four times a second the server looks whether there are any.
 */
#include "cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <iotsec/manager.h>

#include "addr.h"
#include "options.h"
#include "output.h"
#include "port.h"
#include "registry.h"

#define TX_BYTES 2048
#define DEVICES_DEFAULT 1024
#define TABLE_MAX 65534
#define HALF_OPEN_MIN 16
#define HALF_OPEN_MAX 512
#define SESSIONS_SPARE 8             /* so that a new handshake can replace a session gently */
#define REGISTRY_LOOK_MS 250
#define IDLE_DEFAULT_MS 10800000u    /* three missed hourly reports */
#define PENDING_MAX 256

const char serve_usage[] = "iotsec manager serve DB --listen [ADDR]:PORT [option]...";

enum {
    OPTION_LISTEN = 1, OPTION_COOKIE, OPTION_DEVICES, OPTION_IDLE, OPTION_PSK_DELAY, OPTION_CRASH, OPTION_NO_RELAYED,
    OPTION_RELAY_HANDSHAKES, OPTION_L2_SWITCH, OPTION_CID
};

static const struct option_row serve_rows[] = {
    { "--listen", OPTION_LISTEN, "[ADDR]:PORT", "where to listen: [::]:5684 for everywhere; port 0 for any, which is printed" },
    { "--cookie", OPTION_COOKIE, "WHEN", "off, always or under-load: when devices have to prove their address (default under-load)" },
    { "--max-devices", OPTION_DEVICES, "N", "devices with a session at once (default 1024)" },
    { "--idle-timeout", OPTION_IDLE, "SECONDS", "forget the session of a device that is silent for so long (default 10800)" },
    { "--no-relayed", OPTION_NO_RELAYED, NULL, "take no datagrams that stateless relays have wrapped" },
    { "--relay-handshakes", OPTION_RELAY_HANDSHAKES, "N", "half-open handshakes that come through one relay (default: half of all)" },
    { "--connection-id", OPTION_CID, "WHEN", "off or on: whether devices that move to another address keep their session (default on)" },
    { "--l2-switch-ms", OPTION_L2_SWITCH, "MS", "wait so long for devices that have not taken the next link-layer key (default 30000)" },
    { "--psk-delay", OPTION_PSK_DELAY, "MS", "test aid: look keys up late, as if a central server were asked" },
    { "--crash-at", OPTION_CRASH, "NWHEN", "test aid: die, as by kill -9, before (3b) or after (3a) the 3rd commit to the registry" },
    { NULL, 0, NULL, NULL },
};

static const struct command serve_command = {
    serve_usage,
    "Serves a registry: devices join, get the keys of their groups, and are kept up to date, until Ctrl-C or\n"
    "SIGTERM. One server a registry; the other manager commands work while it runs.",
    serve_rows, true,
};

/* A look-up that is answered late. */
struct pending {
    iotsec_dtls_handle handshake;
    uint32_t due;
    size_t len;
    uint8_t identity[IOTSEC_IDENTITY_MAX];
};

struct serve {
    struct registry registry; /* first: the registry's functions are handed this structure */
    struct iotsec_registry functions;
    struct iotsec_manager manager;
    struct iotsec_manager_config config;
    struct port port;
    struct common_options common;
    const char *path;
    struct iotsec_addr listen;
    bool listen_given;
    uint32_t devices;
    uint32_t psk_delay_ms;
    unsigned crash_commit;
    bool crash_after;
    struct pending pending[PENDING_MAX];
    size_t pending_count;
    const struct wish *wish;      /* being carried out: it knows the name of a device that is forgotten */
    uint32_t look_at;             /* when the registry is looked at next */
    bool wishes_left;             /* some could not be carried out yet */
    const char *reported;         /* storage error reported last */
    struct flood failures;        /* of strangers */
    bool lost;                    /* the registry cannot be used any more */
};

/* ---- The command line ---- */

static int take_crash(struct serve *serve, const char *value)
{
    char number[16];
    size_t len = strlen(value);
    uint64_t commit;

    if (len < 2 || len > sizeof number || (value[len - 1] != 'a' && value[len - 1] != 'b')) {
        return fail_usage("--crash-at: '%s' is no number with b (before) or a (after)", value);
    }
    memcpy(number, value, len - 1);
    number[len - 1] = '\0';
    if (!number_parse(number, 1, 1000000, &commit)) {
        return fail_usage("--crash-at: '%s' is no number with b (before) or a (after)", value);
    }
    serve->crash_commit = (unsigned)commit;
    serve->crash_after = value[len - 1] == 'a';
    return 0;
}

static int take_cookie(struct serve *serve, const char *value)
{
    if (strcmp(value, "off") == 0) {
        serve->config.cookie_policy = IOTSEC_COOKIE_OFF;
    } else if (strcmp(value, "always") == 0) {
        serve->config.cookie_policy = IOTSEC_COOKIE_ALWAYS;
    } else if (strcmp(value, "under-load") == 0) {
        serve->config.cookie_policy = IOTSEC_COOKIE_UNDER_LOAD;
    } else {
        return fail_usage("--cookie: '%s' is none of off, always and under-load", value);
    }
    return 0;
}

static int take_option(struct serve *serve, const struct arguments *arguments, int id)
{
    uint64_t number;
    int status = 0;

    switch (id) {
    case OPTION_LISTEN:
        status = argument_addr(arguments, "--listen", true, &serve->listen);
        serve->listen_given = true;
        break;
    case OPTION_COOKIE:
        status = take_cookie(serve, arguments->value);
        break;
    case OPTION_DEVICES:
        status = argument_number(arguments, "--max-devices", 1, 50000, &number);
        serve->devices = status == 0 ? (uint32_t)number : 1;
        break;
    case OPTION_IDLE:
        status = argument_seconds(arguments, "--idle-timeout", 1000000, &serve->config.idle_timeout_ms);
        break;
    case OPTION_PSK_DELAY:
        status = argument_number(arguments, "--psk-delay", 1, 60000, &number);
        serve->psk_delay_ms = status == 0 ? (uint32_t)number : 0;
        break;
    case OPTION_NO_RELAYED:
        serve->config.relayed = 0;
        break;
    case OPTION_RELAY_HANDSHAKES:
        status = argument_number(arguments, "--relay-handshakes", 1, HALF_OPEN_MAX, &number);
        serve->config.relay_handshakes = status == 0 ? (uint16_t)number : 0;
        break;
    case OPTION_L2_SWITCH:
        status = argument_number(arguments, "--l2-switch-ms", 1, 3600000, &number);
        serve->config.l2_switch_ms = status == 0 ? (uint32_t)number : 0;
        break;
    case OPTION_CID:
        status = argument_connection_id(arguments, false, &serve->config.connection_id);
        break;
    case OPTION_CRASH:
        status = take_crash(serve, arguments->value);
        break;
    default:
        break;
    }
    return status;
}

/* -1 if all is well, else the exit status to leave with. */
static int take_command_line(struct serve *serve, int count, char **list)
{
    struct arguments arguments;
    int status = 0;
    int id;

    serve->devices = DEVICES_DEFAULT;
    serve->config.cookie_policy = IOTSEC_COOKIE_UNDER_LOAD;
    serve->config.idle_timeout_ms = IDLE_DEFAULT_MS;
    serve->config.relayed = 1;
    serve->config.connection_id = IOTSEC_CONNECTION_ID_ON;
    arguments_start(&arguments, &serve_command, &serve->common, count, list);
    while (status == 0 && (id = arguments_next(&arguments)) != ARGUMENT_END) {
        if (id == ARGUMENT_DONE) {
            return arguments.status;
        }
        if (id != ARGUMENT_POSITIONAL) {
            status = take_option(serve, &arguments, id);
        } else if (serve->path == NULL) {
            serve->path = arguments.value;
        } else {
            return fail_usage("'%s' is too much: %s", arguments.value, serve_usage);
        }
    }
    if (status == 0 && serve->path == NULL) {
        status = fail_usage("the registry is missing: %s", serve_usage);
    }
    if (status == 0 && !serve->listen_given) {
        status = fail_usage("--listen is missing: %s", serve_usage);
    }
    return status == 0 ? -1 : status;
}

/* ---- Events ---- */

static void out_device(struct serve *serve, uint32_t device)
{
    char name[IOTSEC_IDENTITY_MAX];
    size_t len;

    if (device == 0) {
        return;
    }
    len = registry_name(&serve->registry, device, name);
    if (len > 0) {
        out_bytes("id", name, len);
    } else if (serve->wish != NULL && serve->wish->device == device && serve->wish->name_len > 0) {
        out_bytes("id", serve->wish->name, serve->wish->name_len);
    } else {
        out_uint("device", device);
    }
}

/* Anybody can cause these lines. */
static bool may_report_failure(struct serve *serve)
{
    return out_may(&serve->failures, port_now_ms());
}

static void out_group_key(const struct iotsec_manager_event *event)
{
    out_begin("group-key");
    out_uint("gid", event->group_id);
    out_hex("key", event->key_number);
    if (event->reason == IOTSEC_OK) {
        out_word("reason", "JOIN");
    } else {
        out_reason("reason", event->reason);
    }
    out_end();
}

static void out_l2_key(const struct iotsec_manager_event *event)
{
    out_begin("l2-key");
    out_uint("number", event->key_number);
    out_uint("index", 1 + (event->key_number - 1) % 255);
    out_word("state", event->reason == IOTSEC_OK ? "in-use" : "handed-out");
    if (event->reason != IOTSEC_OK) {
        out_reason("reason", event->reason);
    }
    out_end();
}

static void out_poly(struct serve *serve, const struct iotsec_manager_event *event)
{
    struct iotsec_registry_poly poly;

    out_begin("poly");
    out_uint("generation", event->key_number);
    if (registry_functions.poly(serve, &poly) == IOTSEC_OK) {
        out_uint("degree", poly.degree);
        out_word("overlap", poly.gentle ? "yes" : "no");
    }
    out_reason("reason", event->reason);
    out_end();
}

static void out_share(struct serve *serve, const char *name, const struct iotsec_manager_event *event, bool with_reason)
{
    out_begin(name);
    if (with_reason) {
        out_reason("reason", event->reason);
    }
    out_device(serve, event->device);
    out_uint("generation", event->key_number);
    out_end();
}

/* `NAME id=... gid=... sender=... key=... reason=... addr=...`, each where the kind has it. */
static void out_event(struct serve *serve, const char *name, const struct iotsec_manager_event *event, bool with_reason)
{
    out_begin(name);
    if (with_reason) {
        out_reason("reason", event->reason);
    }
    out_device(serve, event->device);
    if (event->group_id != 0) {
        out_uint("gid", event->group_id);
    }
    if (event->sender_id != 0) {
        out_uint("sender", event->sender_id);
    }
    if (event->key_number != 0) {
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

/* An old copy of the registry was restored, or so it seems. */
static void report_ahead(struct serve *serve, const struct iotsec_manager_event *event)
{
    if (event->group_id == 0) {
        out_share(serve, "registry-behind", event, false);
        warn("REGISTRY_BEHIND", "a member has a newer share, or knows of more evictions, than the registry: was an old copy restored? "
                                "`iotsec manager poly renew` moves the domain on");
        return;
    }
    out_event(serve, "registry-behind", event, false);
    warn("REGISTRY_BEHIND", "a member holds a much newer key of group %u than the registry: was an old copy restored? "
                            "`iotsec manager group renew` moves the group on",
         event->group_id);
}

static void serve_event(void *user, const struct iotsec_manager_event *event)
{
    struct serve *serve = user;

    switch (event->kind) {
    case IOTSEC_MANAGER_DEVICE_JOINED:
        out_event(serve, "device-joined", event, false);
        break;
    case IOTSEC_MANAGER_JOIN_FAILED:
        if (may_report_failure(serve)) {
            out_event(serve, "join-failed", event, true);
        }
        break;
    case IOTSEC_MANAGER_MEMBER_JOINED:
        out_event(serve, "member-joined", event, false);
        break;
    case IOTSEC_MANAGER_MEMBER_UPDATED:
        out_event(serve, "member-updated", event, false);
        break;
    case IOTSEC_MANAGER_MEMBER_REFUSED:
        out_event(serve, "member-refused", event, true);
        break;
    case IOTSEC_MANAGER_MEMBER_LEFT:
        out_event(serve, "member-left", event, event->reason != IOTSEC_OK);
        break;
    case IOTSEC_MANAGER_DEVICE_EVICTED:
        out_event(serve, "device-evicted", event, false);
        break;
    case IOTSEC_MANAGER_DEVICE_GONE:
        out_event(serve, "device-gone", event, true);
        break;
    case IOTSEC_MANAGER_GROUP_KEY:
        out_group_key(event);
        break;
    case IOTSEC_MANAGER_KEYS_FAILED:
        out_event(serve, "keys-failed", event, true);
        break;
    case IOTSEC_MANAGER_UNREACHABLE:
        out_event(serve, "unreachable", event, false);
        break;
    case IOTSEC_MANAGER_AHEAD:
        if (may_report_failure(serve)) { /* a member can go on and on */
            report_ahead(serve, event);
        }
        break;
    case IOTSEC_MANAGER_MOVED:
        out_event(serve, "moved", event, false);
        break;
    case IOTSEC_MANAGER_L2_KEY:
        out_l2_key(event);
        break;
    case IOTSEC_MANAGER_ACCESS:
        out_begin("access");
        out_device(serve, event->device);
        out_uint("number", event->key_number);
        out_uint("index", 1 + (event->key_number - 1) % 255);
        out_end();
        break;
    case IOTSEC_MANAGER_POLY:
        out_poly(serve, event);
        break;
    case IOTSEC_MANAGER_SHARE:
        out_share(serve, "share", event, false);
        break;
    case IOTSEC_MANAGER_SHARE_REFUSED:
        out_share(serve, "share-refused", event, true);
        break;
    case IOTSEC_MANAGER_FORGERIES:
        if (may_report_failure(serve)) {
            out_event(serve, "forgeries", event, false);
        }
        break;
    }
}

static void serve_receive(void *user, uint32_t device, const uint8_t *data, size_t len)
{
    struct serve *serve = user;

    out_begin("received");
    out_device(serve, device);
    out_quoted("text", data, len);
    out_end();
}

/* ---- Key look-ups ---- */

static enum iotsec_status look_up(struct serve *serve, iotsec_dtls_handle handshake, const uint8_t *identity, size_t len,
                                  struct iotsec_dtls_psk *psk)
{
    enum iotsec_status status = registry_functions.psk(serve, handshake, identity, len, psk);

    if (status == IOTSEC_ERR_UNKNOWN_IDENTITY && may_report_failure(serve)) {
        out_begin("unknown-identity");
        out_bytes("id", identity, len);
        out_end();
    }
    return status;
}

static enum iotsec_status serve_psk(void *user, iotsec_dtls_handle handshake, const uint8_t *identity, size_t len,
                                    struct iotsec_dtls_psk *psk)
{
    struct serve *serve = user;
    struct pending *pending;

    if (serve->psk_delay_ms == 0) {
        return look_up(serve, handshake, identity, len, psk);
    }
    if (serve->pending_count == PENDING_MAX || len > sizeof pending->identity) {
        return IOTSEC_ERR_RESOURCES;
    }
    pending = &serve->pending[serve->pending_count++];
    pending->handshake = handshake;
    pending->due = port_now_ms() + serve->psk_delay_ms;
    pending->len = len;
    memcpy(pending->identity, identity, len);
    return IOTSEC_ERR_PENDING;
}

/* Answers the look-ups that are due; lowers `wait` to the next one. All wait equally long: the oldest is the first. */
static void answer_pending(struct serve *serve, uint32_t *wait)
{
    while (serve->pending_count > 0) {
        struct pending first = serve->pending[0];
        struct iotsec_dtls_psk psk;
        enum iotsec_status status;
        uint32_t left = first.due - port_now_ms();

        if (left != 0 && left <= serve->psk_delay_ms) {
            *wait = left < *wait ? left : *wait;
            return;
        }
        serve->pending_count--;
        memmove(&serve->pending[0], &serve->pending[1], serve->pending_count * sizeof serve->pending[0]);
        status = look_up(serve, first.handshake, first.identity, first.len, &psk);
        (void)iotsec_manager_psk_complete(&serve->manager, first.handshake, status, &psk);
        explicit_bzero(&psk, sizeof psk);
        *wait = 0;
    }
}

/* ---- Wishes ---- */

static void report_problem(struct serve *serve)
{
    const char *problem = serve->registry.problem;

    if (problem == NULL) {
        return;
    }
    serve->registry.problem = NULL;
    if (strcmp(problem, "REGISTRY_CORRUPT") == 0 || strcmp(problem, "REGISTRY_MISSING") == 0) {
        serve->lost = true;
        fail(problem, "%s: %s", serve->registry.path,
             strcmp(problem, "REGISTRY_MISSING") == 0 ? "the file was removed or replaced under the running server"
                                                      : "it is damaged; nothing was changed, restore a copy");
        return;
    }
    if (serve->reported == NULL || strcmp(serve->reported, problem) != 0) {
        out_begin("registry-error");
        out_word("reason", problem);
        out_end();
        serve->reported = problem;
    }
}

/* A group of an ID that was used before starts above where the old one had got to: members that were away hold
 * those numbers, and would take a lower one for old news. */
static enum iotsec_status add_group(struct serve *serve, const struct wish *wish)
{
    uint32_t retired = registry_retired(&serve->registry, wish->gid);
    enum iotsec_status status = IOTSEC_OK;

    if (iotsec_manager_key_number(&serve->manager, wish->gid) == 0) {
        serve->registry.wish = retired == 0 ? wish : NULL;
        status = iotsec_manager_group_add(&serve->manager, wish->gid, &wish->addr);
    }
    if (status == IOTSEC_OK && iotsec_manager_key_number(&serve->manager, wish->gid) <= retired) {
        serve->registry.wish = wish;
        status = iotsec_manager_group_renew(&serve->manager, wish->gid, retired);
    }
    return status;
}

static enum iotsec_status carry_out(struct serve *serve, const struct wish *wish)
{
    enum iotsec_status status = IOTSEC_OK;

    serve->wish = wish;
    serve->registry.wish = wish;
    switch (wish->kind) {
    case WISH_EVICT:
    case WISH_REMOVE:
        status = iotsec_manager_evict(&serve->manager, wish->device);
        break;
    case WISH_READMIT:
        break;
    case WISH_EXPEL:
        status = iotsec_manager_expel(&serve->manager, wish->device, wish->gid);
        break;
    case WISH_GROUP_ADD:
        status = add_group(serve, wish);
        break;
    case WISH_GROUP_REMOVE:
        status = iotsec_manager_group_remove(&serve->manager, wish->gid);
        break;
    case WISH_GROUP_RENEW:
        status = iotsec_manager_group_renew(&serve->manager, wish->gid, wish->above);
        break;
    case WISH_ACCESS:
        status = iotsec_manager_access_set(&serve->manager, wish->pan, wish->prefix, &wish->addr);
        break;
    case WISH_L2_RENEW:
        status = iotsec_manager_l2_renew(&serve->manager);
        break;
    case WISH_POLY_RENEW:
        status = iotsec_manager_poly_renew(&serve->manager, wish->degree, wish->overlap);
        break;
    }
    serve->registry.wish = NULL;
    return status;
}

static void out_carried_out(const struct wish *wish)
{
    char text[ADDR_TEXT_BYTES];

    switch (wish->kind) {
    case WISH_GROUP_ADD:
        out_begin("group-added");
        out_uint("gid", wish->gid);
        addr_format_ip(&wish->addr, text);
        out_word("address", text);
        out_uint("port", wish->addr.port);
        out_end();
        break;
    case WISH_GROUP_REMOVE:
        out_begin("group-removed");
        out_uint("gid", wish->gid);
        out_end();
        break;
    case WISH_READMIT:
    case WISH_REMOVE:
        out_begin(wish->kind == WISH_READMIT ? "device-readmitted" : "device-removed");
        out_bytes("id", wish->name, wish->name_len);
        out_end();
        break;
    case WISH_ACCESS:
        out_begin("access-set");
        out_access_wish(wish);
        out_end();
        break;
    case WISH_EVICT:
    case WISH_EXPEL:
    case WISH_GROUP_RENEW:
    case WISH_L2_RENEW:
    case WISH_POLY_RENEW:
        break; /* the library's own events say it */
    }
}

/* Carries wishes out, oldest first. One that storage keeps from happening stays, with those behind it. */
static void do_wishes(struct serve *serve)
{
    struct wish wish;
    int64_t after = 0;
    int found;

    serve->wishes_left = false;
    while ((found = registry_next_wish(&serve->registry, after, &wish)) > 0) {
        enum iotsec_status status = carry_out(serve, &wish);

        after = wish.id;
        if (status == IOTSEC_ERR_REGISTRY || status == IOTSEC_ERR_RANDOM || status == IOTSEC_ERR_CRYPTO) {
            serve->wishes_left = true;
            break;
        }
        if (registry_settle(&serve->registry, &wish) != 0) {
            serve->wishes_left = true;
            break;
        }
        if (status == IOTSEC_OK || (status == IOTSEC_ERR_NOT_FOUND && wish.kind != WISH_L2_RENEW)) {
            /* what is not there is as if it had been taken away */
            out_carried_out(&wish);
        } else {
            out_begin("refused");
            out_word("what", wish_name(wish.kind));
            out_reason("reason", status);
            out_device(serve, wish.device);
            if (wish.gid != 0) {
                out_uint("gid", wish.gid);
            }
            out_end();
        }
        serve->wish = NULL;
    }
    serve->wish = NULL;
    if (found < 0) {
        serve->wishes_left = true;
    }
}

static void look_at_registry(struct serve *serve, uint32_t *wait)
{
    uint32_t left = serve->look_at - port_now_ms();
    int changed;

    if (left != 0 && left <= REGISTRY_LOOK_MS) {
        *wait = left < *wait ? left : *wait;
        return;
    }
    changed = registry_changed(&serve->registry);
    if (changed > 0 || serve->wishes_left) {
        do_wishes(serve);
        *wait = 0;
    }
    if (changed >= 0 && !serve->wishes_left) {
        serve->reported = NULL;
    }
    if (changed >= 0) {
        registry_clean(&serve->registry);
    }
    serve->look_at = port_now_ms() + REGISTRY_LOOK_MS;
    *wait = *wait > REGISTRY_LOOK_MS ? REGISTRY_LOOK_MS : *wait;
}

/* ---- Running ---- */

static uint16_t clamp(uint32_t value, uint32_t min, uint32_t max)
{
    return (uint16_t)(value < min ? min : value > max ? max : value);
}

static int make_tables(struct serve *serve)
{
    struct iotsec_manager_config *config = &serve->config;
    unsigned devices;
    unsigned groups;
    unsigned members;
    int status = registry_counts(&serve->registry, &devices, &groups, &members);

    if (status != 0) {
        return status;
    }
    if (groups > TABLE_MAX || members > TABLE_MAX) {
        return fail("REGISTRY_TOO_LARGE", "%s: it has %u groups and %u memberships, and %d is the limit", serve->registry.path,
                    groups, members, TABLE_MAX);
    }
    config->contact_count = clamp(serve->devices, 1, TABLE_MAX);
    config->session_count = clamp(serve->devices + serve->devices / 8 + SESSIONS_SPARE, 1, TABLE_MAX);
    config->handshake_count = clamp(serve->devices, HALF_OPEN_MIN, HALF_OPEN_MAX);
    config->delivery_count = clamp(serve->devices, HALF_OPEN_MIN, HALF_OPEN_MAX);
    config->group_count = clamp(groups + 64, 1, TABLE_MAX);
    config->member_count = clamp((serve->devices > members ? serve->devices : members) * 4, 64, TABLE_MAX);
    config->tx_size = TX_BYTES;
    config->tx = calloc(1, config->tx_size);
    config->sessions = calloc(config->session_count, sizeof config->sessions[0]);
    config->handshakes = calloc(config->handshake_count, sizeof config->handshakes[0]);
    config->contacts = calloc(config->contact_count, sizeof config->contacts[0]);
    config->groups = calloc(config->group_count, sizeof config->groups[0]);
    config->members = calloc(config->member_count, sizeof config->members[0]);
    config->deliveries = calloc(config->delivery_count, sizeof config->deliveries[0]);
    if (config->tx == NULL || config->sessions == NULL || config->handshakes == NULL || config->contacts == NULL ||
        config->groups == NULL || config->members == NULL || config->deliveries == NULL) {
        return fail("MEMORY", "out of memory: ask for fewer devices with --max-devices");
    }
    return 0;
}

static void free_tables(struct serve *serve)
{
    free(serve->config.tx);
    free(serve->config.sessions);
    free(serve->config.handshakes);
    free(serve->config.contacts);
    free(serve->config.groups);
    free(serve->config.members);
    free(serve->config.deliveries);
}

static void serve_input(void *user, const struct iotsec_addr *from, const struct iotsec_addr *to, uint8_t *data, size_t len)
{
    struct serve *serve = user;

    (void)to;
    (void)iotsec_manager_input(&serve->manager, from, data, len);
}

static int serve_loop(struct serve *serve)
{
    unsigned events = 0;

    (void)registry_changed(&serve->registry);
    do_wishes(serve);
    out_begin("serving");
    out_addr("addr", &serve->port.socket.local);
    out_end();
    serve->look_at = port_now_ms() + REGISTRY_LOOK_MS;
    report_problem(serve);
    while (!serve->lost && (events & PORT_STOP) == 0) {
        uint32_t wait = iotsec_manager_poll(&serve->manager);

        answer_pending(serve, &wait);
        look_at_registry(serve, &wait);
        events = port_wait(&serve->port, wait, -1, serve_input, serve);
        report_problem(serve);
    }
    iotsec_manager_close(&serve->manager);
    return serve->lost ? EXIT_NAMED_ERROR : 0;
}

static int serve_run(struct serve *serve)
{
    struct iotsec_manager_callbacks callbacks;
    struct port_options options;
    enum iotsec_status started;
    int status;

    memset(&callbacks, 0, sizeof callbacks);
    callbacks.event = serve_event;
    callbacks.receive = serve_receive;
#if IOTSEC_KEYLOG
    callbacks.keylog = serve->common.keylog != NULL ? keylog_write : NULL;
#endif
    memset(&options, 0, sizeof options);
    options.listen = serve->listen;
    options_to_port(&serve->common, &options);
    serve->functions = registry_functions;
    serve->functions.psk = serve_psk;
    serve->config.hal = &serve->port.hal;
    serve->config.callbacks = &callbacks;
    serve->config.registry = &serve->functions;
    serve->config.user = serve;
    serve->config.link_payload = serve->common.link_payload;
    status = keylog_open(&serve->common);
    if (status == 0) {
        status = make_tables(serve);
    }
    if (status == 0) {
        status = port_open(&serve->port, &options);
    }
    if (status == 0) {
        started = iotsec_manager_init(&serve->manager, &serve->config);
        if (started != IOTSEC_OK) {
            status = fail_status(started, serve->path);
        } else {
            status = serve_loop(serve);
            if (serve->common.verbose) {
                out_stats("dtls", &serve->manager.dtls.stats);
                out_stats("manager", &serve->manager.stats);
            }
            iotsec_manager_wipe(&serve->manager);
            out_begin("stopped");
            out_end();
        }
        port_close(&serve->port);
    }
    free_tables(serve);
    keylog_close();
    return status;
}

int cmd_serve(int count, char **list)
{
    struct serve *serve = calloc(1, sizeof *serve);
    int status;

    if (serve == NULL) {
        return fail("MEMORY", "out of memory");
    }
    status = take_command_line(serve, count, list);
    if (status < 0) {
        status = registry_open(&serve->registry, serve->path, REGISTRY_SERVE);
        if (status == 0) {
            serve->registry.crash_commit = serve->crash_commit;
            serve->registry.crash_after = serve->crash_after;
            status = serve_run(serve);
            registry_close(&serve->registry);
        }
    }
    explicit_bzero(serve, sizeof *serve);
    free(serve);
    return status;
}
