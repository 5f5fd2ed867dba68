/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A Linux process as the lamp's board: the smallest HAL that works, for one group and one interface.
 * (ports/posix has a whole one.)
 *
 *   lamp MANAGER-ADDRESS PORT INTERFACE PSK-HEX
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "board.h"

static int unicast = -1;
static int multicast = -1;      /* receives what is sent to `joined` */
static struct iotsec_addr joined;
static unsigned interface;
static volatile sig_atomic_t off;

static void switch_off(int signal_number)
{
    (void)signal_number;
    off = 1;
}

static int board_random(void *user, uint8_t *out, size_t len)
{
    (void)user;
    return getrandom(out, len, 0) == (ssize_t)len ? 0 : -1;
}

static uint32_t board_now(void *user)
{
    struct timespec t;

    (void)user;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint32_t)t.tv_sec * 1000u + (uint32_t)(t.tv_nsec / 1000000);
}

static int board_send(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(to->port) };

    (void)user;
    memcpy(&address.sin6_addr, to->ip, sizeof to->ip);
    return sendto(unicast, data, len, MSG_DONTWAIT, (struct sockaddr *)&address, sizeof address) == (ssize_t)len ? 0 : -1;
}

static int board_multicast_join(void *user, const struct iotsec_addr *group)
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(group->port) };
    struct ipv6_mreq membership = { .ipv6mr_interface = interface };
    const int on = 1;

    (void)user;
    if (multicast >= 0)
        return iotsec_addr_equal(group, &joined) ? 0 : -1;
    memcpy(&address.sin6_addr, group->ip, sizeof group->ip); /* bound to the group, it hears nothing else */
    memcpy(&membership.ipv6mr_multiaddr, group->ip, sizeof group->ip);
    multicast = socket(AF_INET6, SOCK_DGRAM, 0);
    if (multicast < 0 || setsockopt(multicast, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(multicast, (struct sockaddr *)&address, sizeof address) != 0 ||
        setsockopt(multicast, IPPROTO_IPV6, IPV6_JOIN_GROUP, &membership, sizeof membership) != 0)
        return -1;
    joined = *group;
    return 0;
}

int board_receive(uint32_t wait_ms, struct iotsec_addr *from, struct iotsec_addr *to, uint8_t *data, size_t size)
{
    struct pollfd wait[2] = { { unicast, POLLIN, 0 }, { multicast, POLLIN, 0 } };
    struct sockaddr_in6 address;
    socklen_t address_len = sizeof address;
    const int limit = wait_ms > 1000 ? 1000 : (int)wait_ms; /* looks at `off` once a second */
    int ready = poll(wait, 2, limit);
    ssize_t len = 0;

    memset(from, 0, sizeof *from);
    memset(to, 0, sizeof *to);
    if (off)
        return -1;
    if (ready > 0) {
        const int group = wait[1].revents != 0;

        len = recvfrom(group ? multicast : unicast, data, size, MSG_DONTWAIT, (struct sockaddr *)&address, &address_len);
        if (len > 0) {
            memcpy(from->ip, &address.sin6_addr, sizeof from->ip);
            from->port = ntohs(address.sin6_port);
            if (group)
                *to = joined;
        }
    }
    return len < 0 ? 0 : (int)len;
}

int main(int argc, char **argv)
{
    static const struct iotsec_hal hal = {
        .crypto = &iotsec_crypto_mbedtls, .random = board_random, .now_ms = board_now, .send = board_send,
        .multicast_join = board_multicast_join,
    };
    const struct sigaction action = { .sa_handler = switch_off };
    struct iotsec_addr manager = { .interface = 0 };
    uint8_t psk[16];

    if (argc != 5 || inet_pton(AF_INET6, argv[1], manager.ip) != 1 || (interface = if_nametoindex(argv[3])) == 0 ||
        strlen(argv[4]) != 2 * sizeof psk) {
        fprintf(stderr, "usage: %s MANAGER-ADDRESS PORT INTERFACE PSK-HEX\n", argv[0]);
        return 2;
    }
    manager.port = (uint16_t)atoi(argv[2]);
    for (size_t i = 0; i < sizeof psk; i++) {
        const char digits[] = { argv[4][2 * i], argv[4][2 * i + 1], '\0' };

        psk[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigaction(SIGTERM, &action, NULL);
    unicast = socket(AF_INET6, SOCK_DGRAM, 0);
    if (unicast < 0 || setsockopt(unicast, IPPROTO_IPV6, IPV6_MULTICAST_IF, &interface, sizeof interface) != 0) {
        perror("socket");
        return 1;
    }
    return lamp(&hal, &manager, psk) == 0 ? 0 : 1;
}
