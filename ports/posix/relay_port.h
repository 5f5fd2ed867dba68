/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A relay (iotsec/relay.h) on a port: the join port's socket on one interface, sockets towards the manager, and the
 * commands and lines that `iotsec relay` and `iotsec device --relay` have in common.
 */
#ifndef IOTSEC_POSIX_RELAY_PORT_H
#define IOTSEC_POSIX_RELAY_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include <iotsec/relay.h>

#include "options.h"
#include "port.h"

#define RELAY_JOINERS_MAX 250
#define RELAY_BUCKETS 64

/* As the command line has it. */
struct relay_options {
    const char *interface;
    uint16_t join_port;
    uint16_t joiners;       /* stateful: at once */
    uint16_t rate;          /* datagrams a second, each way; 0: the library's default */
    uint16_t neighbour_rate;
    uint8_t mode;           /* enum iotsec_relay_mode */
    bool open;              /* from the start */
    uint32_t open_seconds;  /* 0: until it is closed */
    bool keep_key;          /* stateless: in the port's non-volatile memory */
    uint16_t nvm_slot;
};

struct relay_port;

/* A socket towards the manager. */
struct relay_upstream {
    struct port_socket socket;
    struct relay_port *owner;
    uint32_t used_at;
    uint16_t slot;
};

struct relay_port {
    struct iotsec_relay relay;
    struct iotsec_relay_config config;
    struct iotsec_relay_entry entries[RELAY_JOINERS_MAX];
    struct iotsec_relay_bucket buckets[RELAY_BUCKETS];
    uint8_t tx[IOTSEC_RELAY_CONTENT_MAX + IOTSEC_RELAY_OVERHEAD_MAX];
    struct relay_upstream upstream[RELAY_JOINERS_MAX];
    struct port_socket join;
    struct port *port;
    bool running;
    bool was_open;          /* as it was said last */
};

/* The defaults. */
void relay_options_start(struct relay_options *options);
/* Each reads the value found last: 0, or what fail_usage() returned. */
int relay_take_mode(const struct arguments *arguments, const char *name, struct relay_options *options);
int relay_take_open(const struct arguments *arguments, const char *name, struct relay_options *options);

/*
 * Opens the join port on `options->interface`, and joining if the options say so. 0, or what fail() returned; nothing is
 * open then. `port` and `relay` stay where they are until relay_port_stop.
 */
int relay_port_start(struct relay_port *relay, struct port *port, const struct relay_options *options,
                     const struct iotsec_addr *manager);
/* Closes joining and the sockets, and prints the counters, if it is running. */
void relay_port_stop(struct relay_port *relay);
/* Does what is due; lowers `wait` to when it wants to be called again. */
void relay_port_poll(struct relay_port *relay, uint32_t *wait);
/* `open SECONDS|always`, `close`, `stats`, `rotate`. NULL: done; else why not, in one word. */
const char *relay_port_command(struct relay_port *relay, const char *verb, const char *argument);

#endif
