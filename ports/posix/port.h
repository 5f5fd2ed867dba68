/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The platform: struct iotsec_hal over Linux. One UDP socket for unicast, IPv6 and IPv4 alike, one
 * more for each multicast group and for a relay's two sides, a clock, random numbers, and the loop that waits for all of them.
 *
 *     port_open(&port, &options);  port.hal -> the library's configuration
 *     for (;;) { wait = ..._poll(); events = port_wait(&port, wait, ...); }
 *     port_close(&port);
 */
#ifndef IOTSEC_POSIX_PORT_H
#define IOTSEC_POSIX_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <iotsec/hal.h>

#include "nvm_file.h"

#define PORT_GROUPS_MAX 64       /* multicast groups at once */
#define PORT_MULTICAST_HOPS 16   /* hop limit of what goes to a group: a site, not a link */
#define PORT_DATAGRAM_MAX 65535
#define PORT_ROUTES 1024         /* peers whose way back is remembered */
#define PORT_SOCKETS_MAX 260     /* unicast sockets beside the first: a relay's */

/* What port_wait reports, or-ed. */
#define PORT_STOP 1u  /* SIGINT or SIGTERM: end cleanly */
#define PORT_EXTRA 2u /* the caller's descriptor is readable, or at its end */

struct l2_keys;

struct port_options {
    struct iotsec_addr listen;  /* where to receive; port 0: any */
    bool no_socket;             /* clock, random numbers and the loop alone */
    const char *interface;      /* for multicast; NULL: chosen */
    struct iotsec_addr peer;    /* whom it will talk to first, if port is not 0: helps to choose the interface */
    double loss;                /* 0 to 1: drops both ways */
    uint64_t seed;              /* of the drops */
    bool loss_handshake_only;   /* only datagrams that begin with a handshake's record are dropped */
    struct nvm_file *nvm;       /* NULL: no non-volatile memory */
    struct l2_keys *l2;         /* NULL: no link-layer keys */
};

/* One joined multicast group. */
struct port_group {
    struct iotsec_addr addr; /* interface 0: there is one interface for all */
    int fd;
};

/* The address at which a peer reached us: answers leave from there, also where a host has several. */
struct port_route {
    struct iotsec_addr peer;
    uint8_t local[16];
    uint32_t interface;
    bool used;
};

/* A unicast UDP socket, IPv6 and IPv4 alike. */
struct port_socket {
    int fd;                     /* -1: closed */
    struct iotsec_addr local;   /* where it is bound */
    struct port_route *routes;  /* NULL: answers leave from where the kernel chooses */
};

/*
 * A datagram arrived. `to` is the unicast address it was sent to, or the group with its port and interface 0.
 * `data` may be changed.
 */
typedef void (*port_input)(void *user, const struct iotsec_addr *from, const struct iotsec_addr *to, uint8_t *data,
                           size_t len);

/* A further socket that port_wait waits for, and who takes what it brings. */
struct port_watch {
    struct port_socket *socket;
    port_input input;
    void *user;
};

struct port {
    struct iotsec_hal hal;
    struct port_socket socket;  /* whose way hal.send goes */
    unsigned interface;         /* for multicast; 0: the kernel's choice */
    int signal_fd;
    struct port_group groups[PORT_GROUPS_MAX];
    size_t group_count;
    struct port_watch watches[PORT_SOCKETS_MAX];
    size_t watch_count;
    struct nvm_file *nvm;
    struct l2_keys *l2;
    double loss;
    uint64_t random_state;
    bool loss_handshake_only;
    uint64_t dropped;           /* by --loss */
    uint8_t buffer[PORT_DATAGRAM_MAX + 1];
};

/* 0, or what fail() returned; nothing is open then. Blocks SIGINT and SIGTERM, which port_wait reports. */
int port_open(struct port *port, const struct port_options *options);
void port_close(struct port *port);

/*
 * Waits until something arrives or the time is over, and hands what arrived to `input`.
 * @param timeout_ms UINT32_MAX: no limit
 * @param extra a further descriptor to wait for, or -1
 * @return what happened: PORT_STOP, PORT_EXTRA
 */
unsigned port_wait(struct port *port, uint32_t timeout_ms, int extra, port_input input, void *user);

/*
 * Opens a further unicast socket. `interface`: a name, to receive and send through that one alone; or NULL. `routes`:
 * remember where peers reached it. 0, or what fail() returned; it is closed then.
 */
int port_socket_open(struct port_socket *opened, const struct iotsec_addr *listen, const char *interface, bool routes);
/* Closes it, if it is open, and waits for it no longer. */
void port_socket_close(struct port *port, struct port_socket *closed);
/* Has port_wait wait for a socket, which stays where it is until port_socket_close. False: there are too many. */
bool port_watch(struct port *port, struct port_socket *watched, port_input input, void *user);
/* As hal.send, through that socket. */
int port_socket_send(struct port *port, struct port_socket *from, const struct iotsec_addr *to, const uint8_t *data, size_t len);

/* From now on what goes to `peer` leaves from the address `local`, as long as there is one. */
void port_send_from(struct port *port, const struct iotsec_addr *peer, const uint8_t local[16]);
/* Goes on from another port; what still comes to the old one is taken there, in `old`. 0, or what fail() returned. */
int port_rebind(struct port *port, struct port_socket *old, port_input input, void *user);

/* The clock behind hal.now_ms. */
uint32_t port_now_ms(void);

/* Crypto operations of this build; NULL: the library behind them cannot be started. */
const struct iotsec_crypto *port_crypto(void);

#endif
