/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay_port.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addr.h"
#include "output.h"

#define OPEN_SECONDS_MAX 1000000
#define JOINERS_DEFAULT 16
#define UPSTREAM_IDLE_MS (IOTSEC_RELAY_IDLE_MS + 5000u) /* the library's entry has gone by then */
#define UPSTREAM_LOOK_MS 5000u

/* ---- Options ---- */

void relay_options_start(struct relay_options *options)
{
    memset(options, 0, sizeof *options);
    options->mode = IOTSEC_RELAY_STATELESS;
    options->join_port = IOTSEC_PORT;
    options->joiners = JOINERS_DEFAULT;
}

int relay_take_mode(const struct arguments *arguments, const char *name, struct relay_options *options)
{
    if (arguments->value == NULL || strcmp(arguments->value, "stateless") == 0) {
        options->mode = IOTSEC_RELAY_STATELESS;
    } else if (strcmp(arguments->value, "stateful") == 0) {
        options->mode = IOTSEC_RELAY_STATEFUL;
    } else {
        return fail_usage("%s: '%s' is none of stateless and stateful", name, arguments->value);
    }
    return 0;
}

static bool seconds_parse(const char *text, uint32_t *seconds)
{
    uint64_t number;

    if (strcmp(text, "always") == 0) {
        *seconds = 0;
        return true;
    }
    if (!number_parse(text, 1, OPEN_SECONDS_MAX, &number)) {
        return false;
    }
    *seconds = (uint32_t)number;
    return true;
}

int relay_take_open(const struct arguments *arguments, const char *name, struct relay_options *options)
{
    if (!seconds_parse(arguments->value, &options->open_seconds)) {
        return fail_usage("%s: '%s' is neither always nor a number of seconds of 1 to %d", name, arguments->value,
                          OPEN_SECONDS_MAX);
    }
    options->open = true;
    return 0;
}

/* ---- Datagrams ---- */

static void from_neighbour(void *user, const struct iotsec_addr *from, const struct iotsec_addr *to, uint8_t *data, size_t len)
{
    struct relay_port *relay = user;

    (void)to;
    /* which key a frame came under is not known up here; to the join port it makes no difference */
    (void)iotsec_relay_from_neighbour(&relay->relay, from, 0, data, len);
}

static void from_manager(void *user, const struct iotsec_addr *from, const struct iotsec_addr *to, uint8_t *data, size_t len)
{
    struct relay_upstream *upstream = user;

    (void)to;
    if (iotsec_relay_from_manager(&upstream->owner->relay, upstream->slot, from, data, len) == IOTSEC_OK) {
        upstream->used_at = port_now_ms();
    }
}

/* Whether a socket can be had at that port, without a word if not. */
static bool port_is_free(uint16_t number)
{
    struct sockaddr_in6 addr = { .sin6_family = AF_INET6, .sin6_port = htons(number) };
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool free = fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0;

    if (fd >= 0) {
        (void)close(fd);
    }
    return free;
}

/*
 * Opens a socket towards the manager. The manager knows a stateless relay's joiners by the relay's address and port as
 * well as by their header, so with a kept key the port is kept too, in the slot after the key's: joins that are under way
 * go on after a restart.
 */
static int open_upstream(struct relay_port *relay, struct relay_upstream *upstream)
{
    const struct iotsec_hal *hal = &relay->port->hal;
    uint16_t nvm_slot = (uint16_t)(relay->config.nvm_slot + 1);
    struct iotsec_addr any;
    uint8_t kept[2];
    int status;

    memset(&any, 0, sizeof any);
    if (relay->config.keep_key && hal->nvm_read(hal->user, nvm_slot, kept, sizeof kept) == (int)sizeof kept &&
        port_is_free((uint16_t)(kept[0] << 8 | kept[1]))) {
        any.port = (uint16_t)(kept[0] << 8 | kept[1]);
    }
    status = port_socket_open(&upstream->socket, &any, NULL, false);
    if (status == 0 && relay->config.keep_key && any.port == 0) {
        kept[0] = (uint8_t)(upstream->socket.local.port >> 8);
        kept[1] = (uint8_t)upstream->socket.local.port;
        (void)hal->nvm_write(hal->user, nvm_slot, kept, sizeof kept); /* if not, the next start takes another port */
    }
    return status;
}

/* Has the socket of a slot, now or already. */
static bool have_upstream(struct relay_port *relay, struct relay_upstream *upstream)
{
    if (upstream->socket.fd < 0) {
        if (open_upstream(relay, upstream) != 0) {
            return false;
        }
        if (!port_watch(relay->port, &upstream->socket, from_manager, upstream)) {
            port_socket_close(relay->port, &upstream->socket);
            return false;
        }
    }
    upstream->used_at = port_now_ms();
    return true;
}

static int send_up(void *user, uint16_t slot, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    struct relay_port *relay = user;
    struct relay_upstream *upstream = &relay->upstream[slot];

    return have_upstream(relay, upstream) ? port_socket_send(relay->port, &upstream->socket, to, data, len) : -1;
}

static int send_down(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    struct relay_port *relay = user;

    return port_socket_send(relay->port, &relay->join, to, data, len);
}

static const struct iotsec_relay_callbacks callbacks = { send_up, send_down };

/* ---- What it says ---- */

static void out_open(struct relay_port *relay, uint32_t seconds)
{
    relay->was_open = true;
    out_begin("relay-open");
    if (seconds != 0) {
        out_uint("seconds", seconds);
    } else {
        out_word("seconds", "always");
    }
    out_end();
}

static void out_closed(struct relay_port *relay)
{
    if (relay->was_open && !iotsec_relay_is_open(&relay->relay)) {
        relay->was_open = false;
        out_begin("relay-closed");
        out_end();
    }
}

static void out_relay_stats(const struct relay_port *relay)
{
    const struct iotsec_relay_stats *stats = &relay->relay.stats;
    int reason;

    out_begin("stats");
    out_word("of", "relay");
    out_uint("up", stats->up);
    out_uint("down", stats->down);
    for (reason = 0; reason < IOTSEC_RELAY_DROP_COUNT; reason++) {
        char key[48];

        snprintf(key, sizeof key, "drop.%s", iotsec_relay_drop_name((enum iotsec_relay_drop)reason));
        out_uint(key, stats->drops[reason]);
    }
    out_end();
}

/* ---- Running ---- */

static enum iotsec_status open_joining(struct relay_port *relay, uint32_t seconds)
{
    enum iotsec_status status = iotsec_relay_open(&relay->relay, seconds);

    if (status == IOTSEC_OK) {
        out_open(relay, seconds);
    }
    return status;
}

int relay_port_start(struct relay_port *relay, struct port *port, const struct relay_options *options,
                     const struct iotsec_addr *manager)
{
    struct iotsec_relay_config *config = &relay->config;
    struct iotsec_addr listen;
    enum iotsec_status started;
    uint16_t i;
    int status;

    memset(relay, 0, sizeof *relay);
    relay->port = port;
    for (i = 0; i < RELAY_JOINERS_MAX; i++) {
        relay->upstream[i].socket.fd = -1;
        relay->upstream[i].owner = relay;
        relay->upstream[i].slot = i;
    }
    config->hal = &port->hal;
    config->callbacks = &callbacks;
    config->user = relay;
    config->manager = *manager;
    config->mode = options->mode;
    if (options->mode == IOTSEC_RELAY_STATEFUL) {
        config->entries = relay->entries;
        config->entry_count = options->joiners;
    } else {
        config->tx = relay->tx;
        config->tx_size = sizeof relay->tx;
        config->keep_key = options->keep_key;
        config->nvm_slot = options->nvm_slot;
    }
    config->buckets = relay->buckets;
    config->bucket_count = RELAY_BUCKETS;
    config->neighbour_rate = options->neighbour_rate;
    config->rate = options->rate;
    memset(&listen, 0, sizeof listen);
    listen.port = options->join_port;
    status = port_socket_open(&relay->join, &listen, options->interface, true);
    if (status != 0) {
        return status;
    }
    started = iotsec_relay_init(&relay->relay, config);
    if (started != IOTSEC_OK || !port_watch(port, &relay->join, from_neighbour, relay)) {
        port_socket_close(port, &relay->join);
        return fail_status(started != IOTSEC_OK ? started : IOTSEC_ERR_FULL, "starting the relay");
    }
    relay->running = true;
    if (config->keep_key) {
        (void)have_upstream(relay, &relay->upstream[0]); /* the manager may be answering to what left before a restart */
    }
    out_begin("relaying");
    out_word("mode", options->mode == IOTSEC_RELAY_STATEFUL ? "stateful" : "stateless");
    out_word("interface", options->interface);
    out_uint("port", relay->join.local.port);
    out_addr("manager", manager);
    out_end();
    if (options->open) {
        (void)open_joining(relay, options->open_seconds);
    }
    return 0;
}

void relay_port_stop(struct relay_port *relay)
{
    uint16_t i;

    if (!relay->running) {
        return;
    }
    relay->running = false;
    iotsec_relay_close(&relay->relay);
    out_closed(relay);
    out_relay_stats(relay);
    port_socket_close(relay->port, &relay->join);
    for (i = 0; i < RELAY_JOINERS_MAX; i++) {
        port_socket_close(relay->port, &relay->upstream[i].socket);
    }
    iotsec_relay_wipe(&relay->relay);
}

void relay_port_poll(struct relay_port *relay, uint32_t *wait)
{
    uint32_t mine;
    uint32_t now;
    uint16_t i;

    if (!relay->running) {
        return;
    }
    mine = iotsec_relay_poll(&relay->relay);
    out_closed(relay);
    now = port_now_ms();
    for (i = 0; i < RELAY_JOINERS_MAX; i++) {
        if (relay->upstream[i].socket.fd < 0) {
            continue;
        }
        if (now - relay->upstream[i].used_at >= UPSTREAM_IDLE_MS) {
            port_socket_close(relay->port, &relay->upstream[i].socket);
        } else if (mine > UPSTREAM_LOOK_MS) {
            mine = UPSTREAM_LOOK_MS;
        }
    }
    *wait = mine < *wait ? mine : *wait;
}

const char *relay_port_command(struct relay_port *relay, const char *verb, const char *argument)
{
    uint32_t seconds;
    enum iotsec_status status = IOTSEC_OK;

    if (!relay->running) {
        return "NOT_RELAYING";
    }
    if (strcmp(verb, "open") == 0) {
        if (!seconds_parse(argument, &seconds)) {
            return "USAGE";
        }
        status = open_joining(relay, seconds);
    } else if (argument[0] != '\0') {
        return "USAGE";
    } else if (strcmp(verb, "close") == 0) {
        iotsec_relay_close(&relay->relay);
        out_closed(relay);
    } else if (strcmp(verb, "stats") == 0) {
        out_relay_stats(relay);
    } else if (strcmp(verb, "rotate") == 0) {
        status = iotsec_relay_rotate(&relay->relay);
        if (status == IOTSEC_OK) {
            out_begin("relay-rotated");
            out_end();
        }
    } else {
        return "NO_SUCH_COMMAND";
    }
    return status == IOTSEC_OK ? NULL : iotsec_status_name(status);
}
