/* SPDX-License-Identifier: BSD-3-Clause */
#include "addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF };

bool addr_is_ipv4(const struct iotsec_addr *addr)
{
    return memcmp(addr->ip, mapped_prefix, sizeof mapped_prefix) == 0;
}

bool addr_is_link_local(const struct iotsec_addr *addr)
{
    return addr->ip[0] == 0xFE && (addr->ip[1] & 0xC0) == 0x80;
}

bool addr_is_unspecified(const struct iotsec_addr *addr)
{
    static const uint8_t zero[16];

    return memcmp(addr->ip + (addr_is_ipv4(addr) ? 12 : 0), zero, addr_is_ipv4(addr) ? 4 : 16) == 0;
}

bool number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
    uint64_t n = 0;

    if (*text == '\0' || strlen(text) > 19) {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        n = n * 10 + (uint64_t)(*text - '0');
    }
    if (n < min || n > max) {
        return false;
    }
    *value = n;
    return true;
}

const char *addr_parse_ip(const char *text, struct iotsec_addr *addr)
{
    struct iotsec_addr result;
    char ip[INET6_ADDRSTRLEN];
    const char *scope = strchr(text, '%');
    size_t len = scope != NULL ? (size_t)(scope - text) : strlen(text);

    memset(&result, 0, sizeof result);
    if (len == 0 || len >= sizeof ip) {
        return "that is no IPv4 or IPv6 address; names are not looked up";
    }
    memcpy(ip, text, len);
    ip[len] = '\0';
    if (inet_pton(AF_INET6, ip, result.ip) != 1) {
        if (scope != NULL || inet_pton(AF_INET, ip, result.ip + 12) != 1) {
            return "that is no IPv4 or IPv6 address; names are not looked up";
        }
        memcpy(result.ip, mapped_prefix, sizeof mapped_prefix);
    }
    if (scope != NULL) {
        unsigned interface = if_nametoindex(scope + 1);
        uint64_t number;

        if (interface == 0 && number_parse(scope + 1, 1, UINT16_MAX, &number)) {
            interface = (unsigned)number;
        }
        if (interface == 0) {
            return "there is no interface of that name";
        }
        if (interface > UINT16_MAX) {
            return "the interface's number is above 65535";
        }
        if (addr_is_link_local(&result)) {
            result.interface = (uint16_t)interface;
        }
    } else if (addr_is_link_local(&result)) {
        return "a link-local address needs its interface: fe80::1%eth0";
    }
    *addr = result;
    return NULL;
}

const char *addr_parse(const char *text, bool port_0, struct iotsec_addr *addr)
{
    struct iotsec_addr result;
    const char *colon = strrchr(text, ':');
    char ip[ADDR_TEXT_BYTES];
    const char *start = text;
    const char *problem;
    uint64_t port;
    size_t len;

    if (number_parse(text, 0, UINT64_MAX, &port)) {
        return "a port alone is no address: write [::1]:5684 or 127.0.0.1:5684";
    }
    if (colon == NULL) {
        return "the port is missing: write [::1]:5684 or 127.0.0.1:5684";
    }
    len = (size_t)(colon - text);
    if (text[0] == '[') {
        const char *end = strchr(text, ']');

        if (end == NULL) {
            return "the closing bracket is missing: write [::1]:5684";
        }
        if (end + 1 != colon) {
            return "a colon and the port have to follow the closing bracket: [::1]:5684";
        }
        start++;
        len -= 2;
        if (memchr(start, ':', len) == NULL) {
            return "brackets are for IPv6 addresses: write [::1]:5684 or 127.0.0.1:5684";
        }
    } else if (memchr(text, ':', len) != NULL) {
        return "an IPv6 address with a port needs brackets: write [::1]:5684";
    }
    if (len == 0) {
        return "the address is missing: write [::]:5684 for every address";
    }
    if (len >= sizeof ip) {
        return "that is no IPv4 or IPv6 address; names are not looked up";
    }
    memcpy(ip, start, len);
    ip[len] = '\0';
    problem = addr_parse_ip(ip, &result);
    if (problem != NULL) {
        return problem;
    }
    if (!number_parse(colon + 1, port_0 ? 0 : 1, UINT16_MAX, &port)) {
        return port_0 ? "the port is a number of 0 to 65535" : "the port is a number of 1 to 65535";
    }
    result.port = (uint16_t)port;
    *addr = result;
    return NULL;
}

void addr_format_ip(const struct iotsec_addr *addr, char text[ADDR_TEXT_BYTES])
{
    char ip[INET6_ADDRSTRLEN] = "";
    char name[IF_NAMESIZE] = "";

    if (addr_is_ipv4(addr)) {
        inet_ntop(AF_INET, addr->ip + 12, ip, sizeof ip);
        snprintf(text, ADDR_TEXT_BYTES, "%s", ip);
        return;
    }
    inet_ntop(AF_INET6, addr->ip, ip, sizeof ip);
    if (addr->interface == 0) {
        snprintf(text, ADDR_TEXT_BYTES, "%s", ip);
    } else if (if_indextoname(addr->interface, name) != NULL) {
        snprintf(text, ADDR_TEXT_BYTES, "%s%%%s", ip, name);
    } else {
        snprintf(text, ADDR_TEXT_BYTES, "%s%%%u", ip, addr->interface);
    }
}

void addr_format(const struct iotsec_addr *addr, char text[ADDR_TEXT_BYTES])
{
    char ip[ADDR_TEXT_BYTES];

    addr_format_ip(addr, ip);
    snprintf(text, ADDR_TEXT_BYTES, addr_is_ipv4(addr) ? "%.80s:%u" : "[%.80s]:%u", ip, addr->port);
}

bool prefix_parse(const char *text, uint8_t prefix[8])
{
    static const uint8_t zero[8];
    struct iotsec_addr addr;
    char ip[ADDR_TEXT_BYTES];
    const char *slash = strchr(text, '/');

    if (slash == NULL || strcmp(slash, "/64") != 0 || (size_t)(slash - text) >= sizeof ip) {
        return false;
    }
    memcpy(ip, text, (size_t)(slash - text));
    ip[slash - text] = '\0';
    if (strchr(ip, '.') != NULL || addr_parse_ip(ip, &addr) != NULL || iotsec_addr_is_multicast(&addr) ||
        addr_is_link_local(&addr) || memcmp(addr.ip + 8, zero, sizeof zero) != 0) {
        return false;
    }
    memcpy(prefix, addr.ip, 8);
    return true;
}

void prefix_format(const uint8_t prefix[8], char text[ADDR_TEXT_BYTES])
{
    static const uint8_t zero[8];
    struct iotsec_addr addr;
    char ip[ADDR_TEXT_BYTES];

    memset(&addr, 0, sizeof addr);
    memcpy(addr.ip, prefix, 8);
    addr_format_ip(&addr, ip);
    snprintf(text, ADDR_TEXT_BYTES, memcmp(prefix, zero, sizeof zero) == 0 ? "none" : "%.80s/64", ip);
}

void addr_to_socket(const struct iotsec_addr *addr, struct sockaddr_in6 *to)
{
    memset(to, 0, sizeof *to);
    to->sin6_family = AF_INET6;
    to->sin6_port = htons(addr->port);
    memcpy(&to->sin6_addr, addr->ip, sizeof addr->ip);
    to->sin6_scope_id = addr->interface;
}

void addr_from_socket(const struct sockaddr_in6 *from, struct iotsec_addr *addr)
{
    memset(addr, 0, sizeof *addr);
    memcpy(addr->ip, &from->sin6_addr, sizeof addr->ip);
    addr->port = ntohs(from->sin6_port);
    if (addr_is_link_local(addr)) {
        addr->interface = (uint16_t)from->sin6_scope_id;
    }
}
