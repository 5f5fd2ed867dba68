/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* struct in6_pktinfo */
#endif
#include "port.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <iotsec/config.h>
#include <iotsec/protocol.h>
#if !defined(IOTSEC_WITH_MBEDTLS)
#include <psa/crypto.h>
#endif

#include "addr.h"
#include "l2_keys.h"
#include "output.h"

/* Datagrams that one socket may bring before the library's timers are looked at again. */
#define DATAGRAMS_A_TURN 64

union control {
    struct cmsghdr align;
    uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))];
};

const struct iotsec_crypto *port_crypto(void)
{
#if defined(IOTSEC_WITH_MBEDTLS)
    return &iotsec_crypto_mbedtls;
#else
    return psa_crypto_init() == PSA_SUCCESS ? &iotsec_crypto_psa : NULL;
#endif
}

uint32_t port_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u);
}

static uint32_t hal_now_ms(void *user)
{
    (void)user;
    return port_now_ms();
}

static int hal_random(void *user, uint8_t *out, size_t len)
{
    (void)user;
    while (len > 0) {
        ssize_t n = getrandom(out, len, 0);

        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -1;
        }
        out += n;
        len -= (size_t)n;
    }
    return 0;
}

/* ---- Loss, for experiments ---- */

/* splitmix64: the same seed drops the same datagrams, whatever the C library */
static double next_random(struct port *port)
{
    uint64_t z = (port->random_state += 0x9E3779B97F4A7C15u);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (double)(z >> 11) / 9007199254740992.0;
}

static bool is_lost(struct port *port, const uint8_t *data, size_t len)
{
    if (port->loss <= 0) {
        return false;
    }
    /* the content type stands in the clear, protected or not: what is no part of a handshake passes */
    if (port->loss_handshake_only && len > 0 && data[0] != IOTSEC_CONTENT_HANDSHAKE &&
        data[0] != IOTSEC_CONTENT_CHANGE_CIPHER_SPEC) {
        return false;
    }
    if (next_random(port) >= port->loss) {
        return false;
    }
    port->dropped++;
    return true;
}

/* ---- Ways back ---- */

static struct port_route *route_of(struct port_socket *from, const struct iotsec_addr *peer)
{
    const uint8_t *bytes = (const uint8_t *)peer;
    uint32_t hash = 0x811C9DC5u;
    size_t i;

    if (from->routes == NULL) {
        return NULL;
    }
    for (i = 0; i < sizeof *peer; i++) {
        hash = (hash ^ bytes[i]) * 0x01000193u;
    }
    return &from->routes[(hash ^ hash >> 16) % PORT_ROUTES];
}

static void remember_route(struct port_socket *at, const struct iotsec_addr *peer, const struct in6_pktinfo *to)
{
    struct port_route *route = route_of(at, peer);

    if (route == NULL) {
        return;
    }
    route->peer = *peer;
    memcpy(route->local, &to->ipi6_addr, sizeof route->local);
    /* routing decides the interface, but for addresses that mean nothing without one */
    route->interface = addr_is_link_local(peer) ? (uint32_t)to->ipi6_ifindex : 0;
    route->used = true;
}

/* ---- Sending ---- */

void port_send_from(struct port *port, const struct iotsec_addr *peer, const uint8_t local[16])
{
    struct in6_pktinfo from;

    memset(&from, 0, sizeof from);
    memcpy(&from.ipi6_addr, local, 16);
    remember_route(&port->socket, peer, &from);
}

int port_socket_send(struct port *port, struct port_socket *from_socket, const struct iotsec_addr *to, const uint8_t *data,
                     size_t len)
{
    struct port_route *route = route_of(from_socket, to);
    struct sockaddr_in6 address;
    struct iovec part;
    struct msghdr message;
    union control control;

    if (is_lost(port, data, len)) {
        return 0;
    }
    addr_to_socket(to, &address);
    if (iotsec_addr_is_multicast(to)) {
        address.sin6_scope_id = port->interface;
    }
    memset(&part, 0, sizeof part);
    part.iov_base = (void *)(uintptr_t)data;
    part.iov_len = len;
    memset(&message, 0, sizeof message);
    message.msg_name = &address;
    message.msg_namelen = sizeof address;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (route != NULL && route->used && iotsec_addr_equal(&route->peer, to)) {
        struct cmsghdr *header;
        struct in6_pktinfo from;

        memset(&control, 0, sizeof control);
        memset(&from, 0, sizeof from);
        memcpy(&from.ipi6_addr, route->local, sizeof route->local);
        from.ipi6_ifindex = (unsigned)route->interface;
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof from);
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = IPPROTO_IPV6;
        header->cmsg_type = IPV6_PKTINFO;
        header->cmsg_len = CMSG_LEN(sizeof from);
        memcpy(CMSG_DATA(header), &from, sizeof from);
        if (sendmsg(from_socket->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
            return 0;
        }
        /* an address that this host has lost: let the kernel choose */
        route->used = false;
        message.msg_control = NULL;
        message.msg_controllen = 0;
    }
    /* errors of earlier datagrams (ICMP) may show here; a repeat tells them from this one's own */
    if (sendmsg(from_socket->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
        (errno != ECONNREFUSED || sendmsg(from_socket->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)) {
        return -1;
    }
    return 0;
}

static int hal_send(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    struct port *port = user;

    return port_socket_send(port, &port->socket, to, data, len);
}

/* ---- Multicast ---- */

static struct port_group *find_group(struct port *port, const struct iotsec_addr *addr)
{
    size_t i;

    for (i = 0; i < port->group_count; i++) {
        if (port->groups[i].addr.port == addr->port &&
            memcmp(port->groups[i].addr.ip, addr->ip, sizeof addr->ip) == 0) {
            return &port->groups[i];
        }
    }
    return NULL;
}

/* A receiving socket for one group. Bound to the group's own address, so that neither unicast nor
 * another group on the same port arrives here; several processes of one host may have the same. */
static int open_group_ipv6(const struct port *port, const struct iotsec_addr *group)
{
    struct sockaddr_in6 address;
    struct ipv6_mreq membership;
    int on = 1;
    int off = 0;
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        return -1;
    }
    addr_to_socket(group, &address);
    address.sin6_scope_id = port->interface;
    memset(&membership, 0, sizeof membership);
    membership.ipv6mr_multiaddr = address.sin6_addr;
    membership.ipv6mr_interface = port->interface;
    (void)off;
#if defined(IPV6_MULTICAST_ALL)
    (void)setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, &off, sizeof off);
#endif
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0 ||
        setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) != 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &membership, sizeof membership) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int open_group_ipv4(const struct port *port, const struct iotsec_addr *group)
{
    struct sockaddr_in address;
    struct ip_mreqn membership;
    int on = 1;
    int off = 0;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        return -1;
    }
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons(group->port);
    memcpy(&address.sin_addr, group->ip + 12, 4);
    memset(&membership, 0, sizeof membership);
    membership.imr_multiaddr = address.sin_addr;
    membership.imr_ifindex = (int)port->interface;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        setsockopt(fd, IPPROTO_IP, IP_MULTICAST_ALL, &off, sizeof off) != 0 ||
        setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) != 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &membership, sizeof membership) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int hal_multicast_join(void *user, const struct iotsec_addr *group)
{
    struct port *port = user;
    char text[ADDR_TEXT_BYTES];
    struct port_group *entry;
    int fd;

    if (find_group(port, group) != NULL) {
        return 0;
    }
    addr_format(group, text);
    if (port->group_count == PORT_GROUPS_MAX) {
        warn("MULTICAST", "%s: this program listens to %d groups at most", text, PORT_GROUPS_MAX);
        return -1;
    }
    fd = addr_is_ipv4(group) ? open_group_ipv4(port, group) : open_group_ipv6(port, group);
    if (fd < 0) {
        warn("MULTICAST", "%s: cannot listen to this group: %s", text, strerror(errno));
        return -1;
    }
    entry = &port->groups[port->group_count++];
    entry->addr = *group;
    entry->addr.interface = 0;
    entry->fd = fd;
    return 0;
}

static void hal_multicast_leave(void *user, const struct iotsec_addr *group)
{
    struct port *port = user;
    struct port_group *entry = find_group(port, group);

    if (entry != NULL) {
        close(entry->fd);
        *entry = port->groups[--port->group_count];
    }
}

/* The interface that carries multicast when none is named: the peer's, else the first that can. */
static unsigned choose_interface(const struct iotsec_addr *peer)
{
    struct ifaddrs *list;
    struct ifaddrs *entry;
    struct sockaddr_in6 target;
    struct sockaddr_in6 source;
    struct iotsec_addr local;
    socklen_t source_len = sizeof source;
    unsigned chosen = 0;
    bool have_source = false;

    if (peer->interface != 0) {
        return peer->interface;
    }
    memset(&local, 0, sizeof local);
    if (peer->port != 0) {
        /* connecting a UDP socket sends nothing, but the kernel looks the route up */
        int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        addr_to_socket(peer, &target);
        if (fd >= 0 && connect(fd, (const struct sockaddr *)&target, sizeof target) == 0 &&
            getsockname(fd, (struct sockaddr *)&source, &source_len) == 0) {
            addr_from_socket(&source, &local);
            have_source = true;
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    if (getifaddrs(&list) != 0) {
        return 0;
    }
    for (entry = list; entry != NULL; entry = entry->ifa_next) {
        unsigned needed = IFF_UP | IFF_MULTICAST;
        unsigned index = if_nametoindex(entry->ifa_name);

        if (entry->ifa_addr == NULL || (entry->ifa_flags & needed) != needed || (entry->ifa_flags & IFF_LOOPBACK) != 0) {
            continue;
        }
        if (have_source && entry->ifa_addr->sa_family == AF_INET6 && !addr_is_ipv4(&local) &&
            memcmp(&((const struct sockaddr_in6 *)(const void *)entry->ifa_addr)->sin6_addr, local.ip, 16) == 0) {
            chosen = index;
            break;
        }
        if (have_source && entry->ifa_addr->sa_family == AF_INET && addr_is_ipv4(&local) &&
            memcmp(&((const struct sockaddr_in *)(const void *)entry->ifa_addr)->sin_addr, local.ip + 12, 4) == 0) {
            chosen = index;
            break;
        }
        if (chosen == 0 && entry->ifa_addr->sa_family == AF_INET6) {
            chosen = index;
        }
    }
    freeifaddrs(list);
    return chosen;
}

/* ---- Opening ---- */

static int set_up_multicast(struct port *port)
{
    int hops = PORT_MULTICAST_HOPS;
    int on = 1;
    int interface = (int)port->interface;
    struct ip_mreqn interface_ipv4;

    memset(&interface_ipv4, 0, sizeof interface_ipv4);
    interface_ipv4.imr_ifindex = interface;
    if (setsockopt(port->socket.fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof hops) != 0 ||
        setsockopt(port->socket.fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, &on, sizeof on) != 0 ||
        (interface != 0 &&
         setsockopt(port->socket.fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &interface, sizeof interface) != 0)) {
        return -1;
    }
    /* the same for mapped addresses; without IPv4 there is nothing to set */
    (void)setsockopt(port->socket.fd, IPPROTO_IP, IP_MULTICAST_TTL, &hops, sizeof hops);
    (void)setsockopt(port->socket.fd, IPPROTO_IP, IP_MULTICAST_LOOP, &on, sizeof on);
    if (interface != 0) {
        (void)setsockopt(port->socket.fd, IPPROTO_IP, IP_MULTICAST_IF, &interface_ipv4, sizeof interface_ipv4);
    }
    return 0;
}

static int open_socket(struct port_socket *opened, const struct iotsec_addr *listen, const char *interface, bool routes)
{
    struct sockaddr_in6 address;
    socklen_t address_len = sizeof address;
    char text[ADDR_TEXT_BYTES];
    int on = 1;
    int off = 0;
    int room = 1 << 20;

    addr_format(listen, text);
    opened->fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (opened->fd < 0) {
        return fail("SOCKET", "this machine gives no IPv6 socket: %s", strerror(errno));
    }
    (void)setsockopt(opened->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
#if defined(IPV6_MULTICAST_ALL)
    (void)setsockopt(opened->fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, &off, sizeof off);
#endif
    addr_to_socket(listen, &address);
    if (setsockopt(opened->fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0 ||
        setsockopt(opened->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) != 0) {
        return fail("SOCKET", "the socket cannot be set up: %s", strerror(errno));
    }
    if (interface != NULL &&
        setsockopt(opened->fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface) + 1) != 0) {
        return errno == ENODEV ? fail("NO_INTERFACE", "%s: there is no interface of that name", interface)
                               : fail("SOCKET", "%s: the socket cannot be bound to this interface: %s", interface, strerror(errno));
    }
    if (bind(opened->fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        switch (errno) {
        case EADDRINUSE:
            return fail("ADDRESS_IN_USE", "%s: another program listens there", text);
        case EADDRNOTAVAIL:
            return fail("ADDRESS_NOT_HERE", "%s: this machine does not have that address", text);
        case EACCES:
            return fail("ADDRESS_DENIED", "%s: this user may not listen there", text);
        default:
            return fail("SOCKET", "%s: cannot listen: %s", text, strerror(errno));
        }
    }
    /* only now: two programs must not share the unicast port, but a group's socket may have the same one */
    (void)setsockopt(opened->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (getsockname(opened->fd, (struct sockaddr *)&address, &address_len) != 0) {
        return fail("SOCKET", "%s: cannot listen: %s", text, strerror(errno));
    }
    addr_from_socket(&address, &opened->local);
    if (routes && addr_is_unspecified(&opened->local)) {
        opened->routes = calloc(PORT_ROUTES, sizeof opened->routes[0]);
        if (opened->routes == NULL) {
            return fail("MEMORY", "out of memory");
        }
    }
    return 0;
}

static void close_socket(struct port_socket *closed)
{
    if (closed->fd >= 0) {
        close(closed->fd);
    }
    free(closed->routes);
    closed->fd = -1;
    closed->routes = NULL;
}

int port_socket_open(struct port_socket *opened, const struct iotsec_addr *listen, const char *interface, bool routes)
{
    int status;

    memset(opened, 0, sizeof *opened);
    status = open_socket(opened, listen, interface, routes);
    if (status != 0) {
        close_socket(opened);
    }
    return status;
}

static struct port_watch *find_watch(struct port *port, const struct port_socket *watched)
{
    size_t i;

    for (i = 0; i < port->watch_count; i++) {
        if (port->watches[i].socket == watched) {
            return &port->watches[i];
        }
    }
    return NULL;
}

void port_socket_close(struct port *port, struct port_socket *closed)
{
    struct port_watch *watch = find_watch(port, closed);

    if (watch != NULL) {
        *watch = port->watches[--port->watch_count];
    }
    close_socket(closed);
}

bool port_watch(struct port *port, struct port_socket *watched, port_input input, void *user)
{
    struct port_watch *watch = &port->watches[port->watch_count];

    if (port->watch_count == PORT_SOCKETS_MAX) {
        return false;
    }
    watch->socket = watched;
    watch->input = input;
    watch->user = user;
    port->watch_count++;
    return true;
}

int port_rebind(struct port *port, struct port_socket *old, port_input input, void *user)
{
    struct port_socket fresh;
    struct iotsec_addr listen = port->socket.local;
    int status;

    listen.port = 0;
    status = port_socket_open(&fresh, &listen, NULL, true);
    if (status != 0) {
        return status;
    }
    *old = port->socket;
    port->socket = fresh;
    if (!port_watch(port, old, input, user)) {
        close_socket(old);
    }
    return set_up_multicast(port) == 0 ? 0 : fail("MULTICAST", "the new socket cannot be set up: %s", strerror(errno));
}

static int open_signals(struct port *port)
{
    sigset_t signals;

    /* a reader of the output that went away must not end a server that others rely on */
    (void)signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) != 0) {
        return fail("SIGNALS", "signals cannot be blocked: %s", strerror(errno));
    }
    port->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (port->signal_fd < 0) {
        return fail("SIGNALS", "signals cannot be waited for: %s", strerror(errno));
    }
    return 0;
}

static int hal_nvm_read(void *user, uint16_t slot, uint8_t *data, size_t size)
{
    struct port *port = user;

    return nvm_file_read(port->nvm, slot, data, size);
}

static int hal_nvm_write(void *user, uint16_t slot, const uint8_t *data, size_t len)
{
    struct port *port = user;

    return nvm_file_write(port->nvm, slot, data, len);
}

static int hal_l2_key_install(void *user, uint8_t index, const uint8_t key[16])
{
    struct port *port = user;

    return l2_keys_install(port->l2, index, key);
}

static int hal_l2_key_use(void *user, uint8_t index)
{
    struct port *port = user;

    return l2_keys_use(port->l2, index);
}

static void hal_l2_key_remove(void *user, uint8_t index)
{
    struct port *port = user;

    l2_keys_remove(port->l2, index);
}

int port_open(struct port *port, const struct port_options *options)
{
    int status;

    memset(port, 0, sizeof *port);
    port->socket.fd = -1;
    port->signal_fd = -1;
    port->loss = options->loss;
    port->loss_handshake_only = options->loss_handshake_only;
    port->random_state = options->seed;
    port->nvm = options->nvm;
    port->hal.crypto = port_crypto();
    port->hal.user = port;
    port->hal.random = hal_random;
    port->hal.now_ms = hal_now_ms;
    port->hal.send = hal_send;
    port->hal.multicast_join = hal_multicast_join;
    port->hal.multicast_leave = hal_multicast_leave;
    if (port->nvm != NULL) {
        port->hal.nvm_read = hal_nvm_read;
        port->hal.nvm_write = hal_nvm_write;
    }
    port->l2 = options->l2;
    if (port->l2 != NULL) {
        port->hal.l2_key_install = hal_l2_key_install;
        port->hal.l2_key_use = hal_l2_key_use;
        port->hal.l2_key_remove = hal_l2_key_remove;
    }
    if (port->hal.crypto == NULL) {
        return fail("CRYPTO", "the crypto library cannot be started");
    }
    if (options->interface != NULL) {
        port->interface = if_nametoindex(options->interface);
        if (port->interface == 0) {
            return fail("NO_INTERFACE", "%s: there is no interface of that name", options->interface);
        }
    } else {
        port->interface = choose_interface(&options->peer);
    }
    status = options->no_socket ? 0 : open_socket(&port->socket, &options->listen, NULL, true);
    if (status == 0 && !options->no_socket && set_up_multicast(port) != 0) {
        status = fail("MULTICAST", "multicast cannot be sent through interface %u: %s", port->interface, strerror(errno));
    }
    if (status == 0) {
        status = open_signals(port);
    }
    if (status != 0) {
        port_close(port);
    }
    return status;
}

void port_close(struct port *port)
{
    while (port->group_count > 0) {
        close(port->groups[--port->group_count].fd);
    }
    while (port->watch_count > 0) {
        close_socket(port->watches[--port->watch_count].socket);
    }
    close_socket(&port->socket);
    if (port->signal_fd >= 0) {
        close(port->signal_fd);
        port->signal_fd = -1;
    }
    explicit_bzero(port->buffer, sizeof port->buffer);
}

/* ---- Receiving ---- */

/* Reads where a datagram was sent to from its control messages; false if they do not say. */
static bool read_destination(struct msghdr *message, struct in6_pktinfo *to)
{
    struct cmsghdr *header;

    for (header = CMSG_FIRSTHDR(message); header != NULL; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
            memcpy(to, CMSG_DATA(header), sizeof *to);
            return true;
        }
        if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo ipv4;

            memcpy(&ipv4, CMSG_DATA(header), sizeof ipv4);
            memset(to, 0, sizeof *to);
            memset((uint8_t *)&to->ipi6_addr + 10, 0xFF, 2);
            memcpy((uint8_t *)&to->ipi6_addr + 12, &ipv4.ipi_addr, 4);
            to->ipi6_ifindex = (unsigned)ipv4.ipi_ifindex;
            return true;
        }
    }
    return false;
}

/* The sender, whichever family the socket has. */
static bool read_source(const struct sockaddr_storage *source, struct iotsec_addr *from)
{
    if (source->ss_family == AF_INET6) {
        struct sockaddr_in6 ipv6;

        memcpy(&ipv6, source, sizeof ipv6);
        if (ipv6.sin6_scope_id > UINT16_MAX) {
            return false;
        }
        addr_from_socket(&ipv6, from);
        return true;
    }
    if (source->ss_family == AF_INET) {
        struct sockaddr_in ipv4;

        memcpy(&ipv4, source, sizeof ipv4);
        memset(from, 0, sizeof *from);
        memset(from->ip + 10, 0xFF, 2);
        memcpy(from->ip + 12, &ipv4.sin_addr, 4);
        from->port = ntohs(ipv4.sin_port);
        return true;
    }
    return false;
}

/* Takes one datagram from a unicast socket, or (`at` NULL) from a group's. False when there is none. */
static bool receive_one(struct port *port, struct port_socket *at, int fd, const struct iotsec_addr *group, port_input input,
                        void *user)
{
    struct sockaddr_storage source;
    struct iovec part;
    struct msghdr message;
    union control control;
    struct in6_pktinfo destination;
    struct iotsec_addr from;
    struct iotsec_addr to;
    ssize_t len;

    part.iov_base = port->buffer;
    part.iov_len = sizeof port->buffer;
    memset(&message, 0, sizeof message);
    message.msg_name = &source;
    message.msg_namelen = sizeof source;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    len = recvmsg(fd, &message, MSG_DONTWAIT);
    if (len < 0) {
        /* ICMP errors of what was sent earlier: anybody can forge those, they end nothing */
        return errno != EAGAIN && errno != EWOULDBLOCK;
    }
    if ((message.msg_flags & MSG_TRUNC) != 0 || !read_source(&source, &from) ||
        !read_destination(&message, &destination)) {
        return true;
    }
    memset(&to, 0, sizeof to);
    memcpy(to.ip, &destination.ipi6_addr, sizeof to.ip);
    if (at == NULL) {
        /* what another interface or another group's socket brought is not this group's */
        if (memcmp(to.ip, group->ip, sizeof to.ip) != 0 ||
            (port->interface != 0 && destination.ipi6_ifindex != port->interface)) {
            return true;
        }
        to.port = group->port;
    } else {
        to.port = at->local.port;
        if (iotsec_addr_is_multicast(&to)) {
            return true;
        }
        if (addr_is_link_local(&to)) {
            to.interface = (uint16_t)destination.ipi6_ifindex;
        }
    }
    if (is_lost(port, port->buffer, (size_t)len)) {
        return true;
    }
    if (at != NULL) {
        remember_route(at, &from, &destination);
    }
    input(user, &from, &to, port->buffer, (size_t)len);
    return true;
}

static void receive_unicast(struct port *port, struct port_socket *at, port_input input, void *user)
{
    int left = DATAGRAMS_A_TURN;

    while (left-- > 0 && receive_one(port, at, at->fd, NULL, input, user)) {
    }
}

/* As receive_unicast; but what arrives may close any of these sockets. */
static void receive_watched(struct port *port, const struct port_watch *watched)
{
    int left = DATAGRAMS_A_TURN;

    while (left-- > 0 && find_watch(port, watched->socket) != NULL &&
           receive_one(port, watched->socket, watched->socket->fd, NULL, watched->input, watched->user)) {
    }
}

unsigned port_wait(struct port *port, uint32_t timeout_ms, int extra, port_input input, void *user)
{
    struct pollfd waiting[3 + PORT_GROUPS_MAX + PORT_SOCKETS_MAX];
    struct iotsec_addr groups[PORT_GROUPS_MAX];
    struct port_watch watches[PORT_SOCKETS_MAX];
    size_t group_count = port->group_count;
    size_t watch_count = port->watch_count;
    size_t count = 3 + group_count + watch_count;
    size_t i;
    unsigned events = 0;
    int timeout = timeout_ms > 3600000u ? 3600000 : (int)timeout_ms;

    waiting[0].fd = port->socket.fd;
    waiting[1].fd = port->signal_fd;
    waiting[2].fd = extra;
    for (i = 0; i < group_count; i++) {
        waiting[3 + i].fd = port->groups[i].fd;
        groups[i] = port->groups[i].addr;
    }
    for (i = 0; i < watch_count; i++) {
        watches[i] = port->watches[i];
        waiting[3 + group_count + i].fd = watches[i].socket->fd;
    }
    for (i = 0; i < count; i++) {
        waiting[i].events = POLLIN;
        waiting[i].revents = 0;
    }
    if (poll(waiting, (nfds_t)count, timeout) <= 0) {
        return 0;
    }
    if (waiting[1].revents != 0) {
        struct signalfd_siginfo info;

        while (read(port->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
            events |= PORT_STOP;
        }
    }
    if (waiting[2].revents != 0) {
        events |= PORT_EXTRA;
    }
    if (waiting[0].revents != 0) {
        receive_unicast(port, &port->socket, input, user);
    }
    for (i = 0; i < watch_count; i++) {
        if (waiting[3 + group_count + i].revents != 0) {
            receive_watched(port, &watches[i]);
        }
    }
    for (i = 0; i < group_count; i++) {
        int left = DATAGRAMS_A_TURN;

        if (waiting[3 + i].revents == 0) {
            continue;
        }
        while (left-- > 0) {
            /* the input before may have left this group, or moved it */
            struct port_group *group = find_group(port, &groups[i]);

            if (group == NULL || !receive_one(port, NULL, group->fd, &groups[i], input, user)) {
                break;
            }
        }
    }
    return events;
}
