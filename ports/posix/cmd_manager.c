/* SPDX-License-Identifier: BSD-3-Clause */
/* `iotsec manager ...`: the registry's commands. The server itself is cmd_serve.c. */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "addr.h"
#include "options.h"
#include "output.h"
#include "port.h"
#include "registry.h"
#include "secret.h"

/* How long a command waits for a running server to carry its wish out. It looks four times a second. */
#define SERVER_PATIENCE_MS 3000
#define SERVER_LOOK_MS 20

#define GROUPS_MAX 256 /* on one command line */

enum { OPTION_PREFIX = 1, OPTION_ADDRESS, OPTION_PORT, OPTION_PSK, OPTION_PSK_FILE, OPTION_PSK_OUT, OPTION_GROUP, OPTION_ABOVE,
       OPTION_OWN_ADDRESS, OPTION_PREFIX_64, OPTION_PAN, OPTION_DEGREE, OPTION_NO_OVERLAP };

static const struct option_row init_rows[] = {
    { "--prefix", OPTION_PREFIX, "PREFIX", "the domain's IPv6 prefix: fd01::/64" },
    { NULL, 0, NULL, NULL },
};
static const struct option_row group_add_rows[] = {
    { "--address", OPTION_ADDRESS, "ADDR", "its multicast address: ff15::101" },
    { "--port", OPTION_PORT, "PORT", "its UDP port: 5683 for CoAP" },
    { NULL, 0, NULL, NULL },
};
static const struct option_row group_renew_rows[] = {
    { "--above", OPTION_ABOVE, "KEY", "the new key number is above this one: 0x500. After an old copy of the registry was restored" },
    { NULL, 0, NULL, NULL },
};
static const struct option_row access_rows[] = {
    { "--address", OPTION_OWN_ADDRESS, "[ADDR]:PORT", "the manager's own address, routable from every device: [fd01::1]:5684" },
    { "--prefix", OPTION_PREFIX_64, "PREFIX", "the /64 that devices take their addresses from (default: the registry's prefix, if it has one)" },
    { "--pan", OPTION_PAN, "ID", "IEEE 802.15.4 PAN ID: 0xbeef (default 0xffff, none)" },
    { NULL, 0, NULL, NULL },
};
static const struct option_row poly_renew_rows[] = {
    { "--degree", OPTION_DEGREE, "N", "1 to 255: so many captured devices tell nothing of others' keys (default 31, then as before)" },
    { "--no-overlap", OPTION_NO_OVERLAP, NULL, "after a compromise: end every session under the old one at once, instead of after an hour" },
    { NULL, 0, NULL, NULL },
};
static const struct option_row device_add_rows[] = {
    { "--psk-file", OPTION_PSK_FILE, "FILE", "the device's key: one line of 32 to 128 hexadecimal digits, readable for its owner only" },
    { "--psk", OPTION_PSK, "HEX", "the key on the command line, where others can read it: for experiments" },
    { "--psk-out", OPTION_PSK_OUT, "FILE", "make a key and write it to a new file instead of printing it" },
    { "--group", OPTION_GROUP, "GID", "a group that the device may be in; again for more" },
    { NULL, 0, NULL, NULL },
};

#define TAKES_EFFECT                                                                                                   \
    "A running server carries it out within a second, and the command waits for that; without a server it is\n"         \
    "queued until one runs."

static const struct command init_command = {
    "iotsec manager init DB [--prefix PREFIX]",
    "Makes the registry of a new domain: a SQLite database that only its owner may read, since it holds keys.", init_rows, false,
};
static const struct command list_command = {
    "iotsec manager list DB", "Prints the registry, without any key.", NULL, false,
};
static const struct command group_add_command = {
    "iotsec manager group add DB GID --address ADDR --port PORT",
    "Adds a multicast group, 1 to 65535. " TAKES_EFFECT, group_add_rows, false,
};
static const struct command group_remove_command = {
    "iotsec manager group remove DB GID", "Removes a group; its members are told. " TAKES_EFFECT, NULL, false,
};
static const struct command group_renew_command = {
    "iotsec manager group renew DB GID [--above KEY]",
    "Gives a group a new key that cannot be computed from the old one. " TAKES_EFFECT, group_renew_rows, false,
};
static const struct command access_command = {
    "iotsec manager access DB --address [ADDR]:PORT [--prefix PREFIX] [--pan ID]",
    "Gives the domain access parameters, or changes them: what a device that joined through a relay needs to go\n"
    "on from an address of its own. The first time, a link-layer key is made as well. " TAKES_EFFECT, access_rows, false,
};
static const struct command l2_renew_command = {
    "iotsec manager l2 renew DB",
    "Hands out the next link-layer key, which is used when every device with a session has it, or after half a\n"
    "minute. " TAKES_EFFECT, NULL, false,
};
static const struct command poly_renew_command = {
    "iotsec manager poly renew DB [--degree N] [--no-overlap]",
    "Makes the polynomial of the domain's pairwise keys, or a new one, of which every device gets a share. With an\n"
    "overlap shares of the old one serve for another hour, and who was evicted stays revoked; with --no-overlap the\n"
    "list of the revoked begins anew, and who is on it has no share that counts.\n" TAKES_EFFECT, poly_renew_rows, false,
};
static const struct command poly_show_command = {
    "iotsec manager poly show DB", "Prints what the domain's polynomial is, and who is revoked; no secret.", NULL, false,
};
static const struct command device_add_command = {
    "iotsec manager device add DB ID [--psk-file FILE] [--group GID]...",
    "Adds a device. Without a key one is made and printed: it is shown this once.", device_add_rows, false,
};
static const struct command device_evict_command = {
    "iotsec manager device evict DB ID",
    "Puts a device out of the domain: it is refused at once, and its groups get keys that it does not.\n" TAKES_EFFECT, NULL, false,
};
static const struct command device_readmit_command = {
    "iotsec manager device readmit DB ID", "Lets an evicted device join again.", NULL, false,
};
static const struct command device_remove_command = {
    "iotsec manager device remove DB ID", "Evicts a device and forgets it, with its key. " TAKES_EFFECT, NULL, false,
};
static const struct command device_allow_command = {
    "iotsec manager device allow DB ID GID", "Lets a device into a group when it asks for it.", NULL, false,
};
static const struct command device_deny_command = {
    "iotsec manager device deny DB ID GID", "Takes a device out of a group and does not let it in again. " TAKES_EFFECT, NULL, false,
};

/* What a command line brought. */
struct manager_line {
    const char *words[3]; /* DB, and what follows it */
    int word_count;
    const char *prefix;
    struct iotsec_addr addr;
    bool have_address;
    uint16_t port;
    uint8_t prefix_64[8];
    bool have_prefix_64;
    uint16_t pan;
    uint32_t above;
    unsigned degree; /* 0: not given */
    bool no_overlap;
    struct psk psk;
    const char *psk_out;
    uint16_t groups[GROUPS_MAX];
    size_t group_count;
};

/* As the program prints it, 0x300, or in decimal. */
static int take_key_number(const char *text, uint32_t *key_number)
{
    bool hexadecimal = text[0] == '0' && text[1] == 'x';
    const char *digits = hexadecimal ? text + 2 : text;
    size_t len = strlen(digits);
    unsigned long long number = strtoull(digits, NULL, hexadecimal ? 16 : 10);

    /* strtoull takes signs and spaces too */
    if (len == 0 || len > 10 || strspn(digits, hexadecimal ? "0123456789abcdefABCDEF" : "0123456789") != len || number > UINT32_MAX) {
        return fail("BAD_KEY_NUMBER", "--above %s: this is no key number; `iotsec manager list` shows them, 0x300", text);
    }
    *key_number = (uint32_t)number;
    return 0;
}

static int take_gid(const char *text, uint16_t *gid)
{
    uint64_t number;

    if (!number_parse(text, 1, UINT16_MAX, &number)) {
        return fail("BAD_GROUP", "'%s' is no group ID: a number of 1 to 65535", text);
    }
    *gid = (uint16_t)number;
    return 0;
}

static int take_prefix(const char *text)
{
    struct iotsec_addr addr;
    char ip[ADDR_TEXT_BYTES];
    const char *slash = strchr(text, '/');
    uint64_t bits;

    if (slash != NULL && (size_t)(slash - text) < sizeof ip) {
        memcpy(ip, text, (size_t)(slash - text));
        ip[slash - text] = '\0';
        if (addr_parse_ip(ip, &addr) == NULL && !addr_is_ipv4(&addr) && !iotsec_addr_is_multicast(&addr) &&
            number_parse(slash + 1, 1, 128, &bits)) {
            return 0;
        }
    }
    return fail("BAD_PREFIX", "'%s' is no IPv6 prefix: fd01::/64", text);
}

static int take_pan(const char *text, uint16_t *pan)
{
    const char *digits = text[0] == '0' && text[1] == 'x' ? text + 2 : "";
    uint64_t number;

    if (number_parse(text, 0, UINT16_MAX, &number)) {
        *pan = (uint16_t)number;
    } else if (*digits != '\0' && strlen(digits) <= 4 && strspn(digits, "0123456789abcdefABCDEF") == strlen(digits)) {
        *pan = (uint16_t)strtoul(digits, NULL, 16);
    } else {
        return fail("BAD_PAN", "--pan %s: this is no PAN ID of 0 to 0xffff", text);
    }
    return 0;
}

static int take_degree(const char *text, unsigned *degree)
{
    uint64_t number;

    if (!number_parse(text, 1, IOTSEC_POLY_DEGREE_MAX, &number)) {
        return fail("BAD_DEGREE", "--degree %s: this is no number of 1 to %u", text, IOTSEC_POLY_DEGREE_MAX);
    }
    *degree = (unsigned)number;
    return 0;
}

/* Devices that are hops away reach it: a link-local address means nothing to them. */
static int take_own_address(struct manager_line *line, const struct arguments *arguments)
{
    int status = argument_addr(arguments, "--address", false, &line->addr);

    line->have_address = true;
    if (status == 0 && addr_is_link_local(&line->addr)) {
        status = fail("BAD_ADDRESS", "--address %s: this is a link-local address; devices that are hops away cannot use it",
                      arguments->value);
    }
    return status;
}

static int take_multicast(const char *text, struct iotsec_addr *addr)
{
    const char *problem = addr_parse_ip(text, addr);

    if (problem == NULL && !iotsec_addr_is_multicast(addr)) {
        problem = "this is no multicast address; ff15::101 is one";
    }
    return problem == NULL ? 0 : fail("BAD_ADDRESS", "--address %s: %s", text, problem);
}

static int take_line_option(struct manager_line *line, const struct arguments *arguments, int id)
{
    uint64_t number;
    int status = 0;

    switch (id) {
    case OPTION_PREFIX:
        status = take_prefix(arguments->value);
        line->prefix = arguments->value;
        break;
    case OPTION_PREFIX_64:
        line->have_prefix_64 = true;
        if (!prefix_parse(arguments->value, line->prefix_64)) {
            status = fail("BAD_PREFIX", "--prefix %s: this is no IPv6 prefix of 64 bits: fd01::/64", arguments->value);
        }
        break;
    case OPTION_PAN:
        status = take_pan(arguments->value, &line->pan);
        break;
    case OPTION_OWN_ADDRESS:
        status = take_own_address(line, arguments);
        break;
    case OPTION_ADDRESS:
        status = take_multicast(arguments->value, &line->addr);
        line->have_address = true;
        break;
    case OPTION_PORT:
        status = argument_number(arguments, "--port", 1, UINT16_MAX, &number);
        line->port = status == 0 ? (uint16_t)number : 0;
        break;
    case OPTION_ABOVE:
        status = take_key_number(arguments->value, &line->above);
        break;
    case OPTION_DEGREE:
        status = take_degree(arguments->value, &line->degree);
        break;
    case OPTION_NO_OVERLAP:
        line->no_overlap = true;
        break;
    case OPTION_PSK:
        status = psk_from_argument(arguments->value, &line->psk);
        break;
    case OPTION_PSK_FILE:
        status = psk_from_file(arguments->value, &line->psk);
        break;
    case OPTION_PSK_OUT:
        line->psk_out = arguments->value;
        break;
    case OPTION_GROUP:
        if (line->group_count == GROUPS_MAX) {
            status = fail_usage("--group: %d groups at most", GROUPS_MAX);
        } else {
            status = take_gid(arguments->value, &line->groups[line->group_count++]);
        }
        break;
    default:
        break;
    }
    return status;
}

/* -1 if all is well, else the exit status to leave with. */
static int take_line(struct manager_line *line, const struct command *command, int words, int count, char **list)
{
    struct arguments arguments;
    struct common_options common;
    int status = 0;
    int id;

    memset(line, 0, sizeof *line);
    line->pan = 0xFFFF;
    arguments_start(&arguments, command, &common, count, list);
    while (status == 0 && (id = arguments_next(&arguments)) != ARGUMENT_END) {
        if (id == ARGUMENT_DONE) {
            return arguments.status;
        }
        if (id == ARGUMENT_POSITIONAL) {
            if (line->word_count == words) {
                return fail_usage("'%s' is too much: %s", arguments.value, command->usage);
            }
            line->words[line->word_count++] = arguments.value;
        } else {
            status = take_line_option(line, &arguments, id);
        }
    }
    if (status == 0 && line->word_count < words) {
        status = fail_usage("something is missing: %s", command->usage);
    }
    return status == 0 ? -1 : status;
}

/* ---- Wishes ---- */

void out_access_wish(const struct wish *wish)
{
    char text[ADDR_TEXT_BYTES];

    out_addr("manager", &wish->addr);
    prefix_format(wish->prefix, text);
    out_word("prefix", text);
    out_hex("pan", wish->pan);
}

void out_poly_wish(const struct wish *wish)
{
    out_uint("degree", wish->degree);
    out_word("overlap", wish->overlap ? "yes" : "no");
}

static void out_wish(const char *event, const struct wish *wish, bool queued)
{
    out_begin(queued ? "queued" : event);
    if (queued) {
        out_word("what", wish_name(wish->kind));
    }
    if (wish->name_len > 0) {
        out_bytes("id", wish->name, wish->name_len);
    }
    if (wish->gid != 0) {
        out_uint("gid", wish->gid);
    }
    if (wish->kind == WISH_GROUP_ADD) {
        char text[ADDR_TEXT_BYTES];

        addr_format_ip(&wish->addr, text);
        out_word("address", text);
        out_uint("port", wish->addr.port);
    }
    if (wish->kind == WISH_ACCESS) {
        out_access_wish(wish);
    }
    if (wish->kind == WISH_POLY_RENEW) {
        out_poly_wish(wish);
    }
    out_end();
}

/* Waits for the server, if there is one, and says how it went: `event`, or queued. */
static void report_wish(struct registry *registry, const char *event, const struct wish *wish)
{
    struct timespec pause = { 0, SERVER_LOOK_MS * 1000000L };
    uint32_t started = port_now_ms();
    bool waits = wish->id != 0;

    while (waits && registry_server(registry) != 0 && port_now_ms() - started < SERVER_PATIENCE_MS) {
        (void)nanosleep(&pause, NULL);
        waits = registry_waits(registry, wish);
    }
    out_wish(event, wish, waits);
    if (waits && registry_server(registry) != 0) {
        warn("SERVER_SLOW", "the running server has not carried it out yet; it stays queued");
    }
}

static int run_wish(int (*wish_of)(struct registry *registry, const char *identity, struct wish *wish),
                    const struct manager_line *line, const char *event)
{
    struct registry registry;
    struct wish wish;
    int status = registry_open(&registry, line->words[0], REGISTRY_USE);

    if (status != 0) {
        return status;
    }
    status = wish_of(&registry, line->words[1], &wish);
    if (status == 0) {
        report_wish(&registry, event, &wish);
    }
    registry_close(&registry);
    return status;
}

/* ---- The commands ---- */

static int manager_init(const struct manager_line *line)
{
    int status = registry_create(line->words[0], line->prefix);

    if (status == 0) {
        out_begin("registry-created");
        out_word("path", line->words[0]);
        if (line->prefix != NULL) {
            out_word("prefix", line->prefix);
        }
        out_end();
    }
    return status;
}

static int manager_list(const struct manager_line *line)
{
    struct registry registry;
    int status = registry_open(&registry, line->words[0], REGISTRY_USE);

    if (status == 0) {
        status = registry_list(&registry);
        registry_close(&registry);
    }
    return status;
}

static int group_add(const struct manager_line *line)
{
    struct registry registry;
    struct iotsec_addr addr = line->addr;
    struct wish wish;
    uint16_t gid = 0;
    int status = take_gid(line->words[1], &gid);

    if (status != 0) {
        return status;
    }
    if (!line->have_address || line->port == 0) {
        return fail_usage("--address and --port are needed: %s", group_add_command.usage);
    }
    addr.port = line->port;
    status = registry_open(&registry, line->words[0], REGISTRY_USE);
    if (status != 0) {
        return status;
    }
    status = registry_add_group(&registry, gid, &addr, &wish);
    if (status == 0) {
        report_wish(&registry, "group-added", &wish);
    }
    registry_close(&registry);
    return status;
}

static int group_change(const struct manager_line *line, bool remove)
{
    struct registry registry;
    struct wish wish;
    uint16_t gid = 0;
    int status = take_gid(line->words[1], &gid);

    if (status == 0) {
        status = registry_open(&registry, line->words[0], REGISTRY_USE);
    }
    if (status != 0) {
        return status;
    }
    status = remove ? registry_remove_group(&registry, gid, &wish) : registry_renew_group(&registry, gid, line->above, &wish);
    if (status == 0) {
        report_wish(&registry, remove ? "group-removed" : "group-renewed", &wish);
    }
    registry_close(&registry);
    return status;
}

static int group_remove(const struct manager_line *line)
{
    return group_change(line, true);
}

static int group_renew(const struct manager_line *line)
{
    return group_change(line, false);
}

static int access_set(const struct manager_line *line)
{
    struct registry registry;
    struct wish wish;
    int status;

    if (!line->have_address) {
        return fail_usage("--address is needed: %s", access_command.usage);
    }
    status = registry_open(&registry, line->words[0], REGISTRY_USE);
    if (status != 0) {
        return status;
    }
    status = registry_set_access(&registry, line->pan, line->have_prefix_64 ? line->prefix_64 : NULL, &line->addr, &wish);
    if (status == 0) {
        report_wish(&registry, "access-set", &wish);
    }
    registry_close(&registry);
    return status;
}

static int l2_renew(const struct manager_line *line)
{
    struct registry registry;
    struct wish wish;
    int status = registry_open(&registry, line->words[0], REGISTRY_USE);

    if (status != 0) {
        return status;
    }
    status = registry_renew_l2(&registry, &wish);
    if (status == 0) {
        report_wish(&registry, "l2-renewed", &wish);
    }
    registry_close(&registry);
    return status;
}

static int poly_renew(const struct manager_line *line)
{
    struct registry registry;
    struct wish wish;
    int status = registry_open(&registry, line->words[0], REGISTRY_USE);

    if (status != 0) {
        return status;
    }
    status = registry_renew_poly(&registry, line->degree, !line->no_overlap, &wish);
    if (status == 0) {
        report_wish(&registry, "poly-renewed", &wish);
    }
    registry_close(&registry);
    return status;
}

static int poly_show(const struct manager_line *line)
{
    struct registry registry;
    int status = registry_open(&registry, line->words[0], REGISTRY_USE);

    if (status == 0) {
        status = registry_show_poly(&registry);
        registry_close(&registry);
    }
    return status;
}

/* A new file, so that a key that is in use somewhere is never written over. */
static int write_key_file(const char *path, const char *hex)
{
    size_t len = strlen(hex);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool written;

    if (fd < 0) {
        return fail("PSK_FILE", "%s: cannot be made: %s", path, strerror(errno));
    }
    written = write(fd, hex, len) == (ssize_t)len && write(fd, "\n", 1) == 1 && fsync(fd) == 0;
    if (close(fd) != 0 || !written) {
        int status = fail("PSK_FILE", "%s: cannot be written: %s", path, strerror(errno));

        (void)unlink(path);
        return status;
    }
    return 0;
}

static int add_device(struct manager_line *line, const char *identity)
{
    struct registry registry;
    char hex[2 * IOTSEC_PSK_MAX + 1] = "";
    uint32_t number = 0;
    bool wrote = false;
    int status = registry_open(&registry, line->words[0], REGISTRY_USE);

    if (status != 0) {
        return status;
    }
    if (line->psk.len == 0) {
        status = psk_generate(&line->psk);
        hex_encode(line->psk.key, line->psk.len, hex);
    }
    if (status == 0 && line->psk_out != NULL) {
        status = write_key_file(line->psk_out, hex);
        wrote = status == 0;
    }
    if (status == 0) {
        status = registry_add_device(&registry, identity, &line->psk, line->groups, line->group_count, &number);
    }
    if (status == 0) {
        out_begin("device-added");
        out_word("id", identity);
        out_uint("number", number);
        if (line->psk_out != NULL) {
            out_word("psk-file", line->psk_out);
        } else if (hex[0] != '\0') {
            out_word("psk", hex);
        }
        out_end();
    } else if (wrote) {
        (void)unlink(line->psk_out);
    }
    explicit_bzero(hex, sizeof hex);
    registry_close(&registry);
    return status;
}

static int device_add(const struct manager_line *line)
{
    struct manager_line mine = *line;
    size_t len = strlen(line->words[1]);
    int status;

    if (len == 0 || len > IOTSEC_IDENTITY_MAX || !text_is_printable(line->words[1], len)) {
        status = fail("BAD_IDENTITY", "an identity is printable text in UTF-8 of 1 to %d bytes", IOTSEC_IDENTITY_MAX);
    } else if (line->psk_out != NULL && line->psk.len != 0) {
        status = fail_usage("--psk-out is for a key that is made, and one was given");
    } else {
        status = add_device(&mine, line->words[1]);
    }
    psk_wipe(&mine.psk);
    return status;
}

static int device_evict(const struct manager_line *line)
{
    return run_wish(registry_evict, line, "evicted");
}

static int device_readmit(const struct manager_line *line)
{
    return run_wish(registry_readmit, line, "readmitted");
}

static int device_remove(const struct manager_line *line)
{
    return run_wish(registry_remove, line, "removed");
}

static int device_allow(const struct manager_line *line)
{
    struct registry registry;
    uint16_t gid = 0;
    int status = take_gid(line->words[2], &gid);

    if (status == 0) {
        status = registry_open(&registry, line->words[0], REGISTRY_USE);
    }
    if (status != 0) {
        return status;
    }
    status = registry_allow(&registry, line->words[1], gid);
    if (status == 0) {
        out_begin("allowed");
        out_word("id", line->words[1]);
        out_uint("gid", gid);
        out_end();
    }
    registry_close(&registry);
    return status;
}

static int device_deny(const struct manager_line *line)
{
    struct registry registry;
    struct wish wish;
    uint16_t gid = 0;
    int status = take_gid(line->words[2], &gid);

    if (status == 0) {
        status = registry_open(&registry, line->words[0], REGISTRY_USE);
    }
    if (status != 0) {
        return status;
    }
    status = registry_deny(&registry, line->words[1], gid, &wish);
    if (status == 0) {
        report_wish(&registry, "denied", &wish);
    }
    registry_close(&registry);
    return status;
}

/* ---- Dispatch ---- */

static const struct row {
    const char *noun; /* NULL: the verb stands alone */
    const char *verb;
    const struct command *command;
    int words;
    int (*run)(const struct manager_line *line);
} rows[] = {
    { NULL, "init", &init_command, 1, manager_init },
    { NULL, "list", &list_command, 1, manager_list },
    { "group", "add", &group_add_command, 2, group_add },
    { "group", "remove", &group_remove_command, 2, group_remove },
    { "group", "renew", &group_renew_command, 2, group_renew },
    { NULL, "access", &access_command, 1, access_set },
    { "l2", "renew", &l2_renew_command, 1, l2_renew },
    { "poly", "renew", &poly_renew_command, 1, poly_renew },
    { "poly", "show", &poly_show_command, 1, poly_show },
    { "device", "add", &device_add_command, 2, device_add },
    { "device", "evict", &device_evict_command, 2, device_evict },
    { "device", "readmit", &device_readmit_command, 2, device_readmit },
    { "device", "remove", &device_remove_command, 2, device_remove },
    { "device", "allow", &device_allow_command, 3, device_allow },
    { "device", "deny", &device_deny_command, 3, device_deny },
};

static void manager_help(void)
{
    size_t i;

    puts("usage: iotsec manager COMMAND ...\n\ncommands:");
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        printf("  %s\n", rows[i].command->usage);
    }
    printf("  %s\n\nEach has --help.\n", serve_usage);
}

int cmd_manager(int count, char **list)
{
    size_t i;

    if (count == 0) {
        return fail_usage("iotsec manager: a command is missing; --help shows those there are");
    }
    if (strcmp(list[0], "--help") == 0 || strcmp(list[0], "-h") == 0) {
        manager_help();
        return 0;
    }
    if (strcmp(list[0], "serve") == 0) {
        return cmd_serve(count - 1, list + 1);
    }
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int skip = rows[i].noun == NULL ? 1 : 2;

        if (count >= skip && strcmp(list[skip - 1], rows[i].verb) == 0 &&
            (rows[i].noun == NULL || strcmp(list[0], rows[i].noun) == 0)) {
            struct manager_line line;
            int status = take_line(&line, rows[i].command, rows[i].words, count - skip, list + skip);

            if (status < 0) {
                status = rows[i].run(&line);
            }
            psk_wipe(&line.psk);
            return status;
        }
    }
    if (strcmp(list[0], "group") == 0 || strcmp(list[0], "device") == 0 || strcmp(list[0], "l2") == 0 ||
        strcmp(list[0], "poly") == 0) {
        if (count > 1 && (strcmp(list[1], "--help") == 0 || strcmp(list[1], "-h") == 0)) {
            manager_help();
            return 0;
        }
        return fail_usage("iotsec manager %s: there is no such command; iotsec manager --help shows those there are", list[0]);
    }
    return fail_usage("iotsec manager: there is no command '%s'; --help shows those there are", list[0]);
}
