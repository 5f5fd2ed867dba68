/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line: rows of options, the ones that every command has, and help made from both. */
#ifndef IOTSEC_POSIX_OPTIONS_H
#define IOTSEC_POSIX_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "port.h"

/* Payload of a UDP datagram that passes every IPv6 link whole: 1280 less IPv6 and UDP headers. */
#define LINK_PAYLOAD_DEFAULT 1232

/* One option of a command. A table of them ends with a row without a name. */
struct option_row {
    const char *name;  /* "--listen" */
    int id;            /* 1 and up */
    const char *value; /* what it is called in the help; NULL: takes none; "[NAME]": may take one that begins with no - */
    const char *help;  /* one sentence; NULL: not shown */
};

/* One command as its help shows it. */
struct command {
    const char *usage; /* "iotsec dtls client --connect [ADDR]:PORT ..." */
    const char *about; /* what it does; lines may be many */
    const struct option_row *options;
    bool network;      /* it has the options of commands that send */
};

/* The options that every command has, and those of every command that sends. */
struct common_options {
    double loss;
    uint64_t seed;
    bool loss_until_connected;
    uint16_t link_payload;
    const char *keylog;
    bool verbose;
};

/* A walk along the command line. */
struct arguments {
    const struct command *command;
    struct common_options *common;
    int count;
    char **list;
    int next;
    bool options_over;
    char *value; /* of the option or the argument found last; may be wiped */
    int status;  /* exit status, after ARGUMENT_DONE */
};

#define ARGUMENT_END 0         /* nothing is left */
#define ARGUMENT_POSITIONAL -1 /* `value` is an argument without a name */
#define ARGUMENT_DONE -2       /* help was printed, or an error: leave with `status` */

void arguments_start(struct arguments *arguments, const struct command *command, struct common_options *common, int count,
                     char **list);
/* The id of the next option of the command's own, or one of the values above. */
int arguments_next(struct arguments *arguments);

/* Each reads the value found last: 0, or what fail_usage() or fail() returned. */
int argument_number(const struct arguments *arguments, const char *name, uint64_t min, uint64_t max, uint64_t *value);
int argument_addr(const struct arguments *arguments, const char *name, bool port_0, struct iotsec_addr *addr);
/* Seconds with a fraction, as milliseconds. */
int argument_seconds(const struct arguments *arguments, const char *name, double max, uint32_t *milliseconds);
/* off, on and, where `link_local` says so, link-local: an enum iotsec_connection_id_policy. */
int argument_connection_id(const struct arguments *arguments, bool link_local, uint8_t *policy);
int argument_identity(const struct arguments *arguments, const char *name, const char **identity);

void command_help(const struct command *command);

/* Opens the key log for `common.keylog`; keylog_write is then the library's callback. 0, or what fail() returned. */
int keylog_open(const struct common_options *common);
void keylog_close(void);
void keylog_write(void *user, const char *line);

/* The parts of port_options that common options decide. */
void options_to_port(const struct common_options *common, struct port_options *port);

#endif
