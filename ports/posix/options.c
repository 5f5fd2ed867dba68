/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <iotsec/dtls.h>

#include "addr.h"
#include "output.h"

enum { COMMON_HELP = 1000, COMMON_VERSION, COMMON_VERBOSE, COMMON_LOSS, COMMON_SEED, COMMON_LOSS_HANDSHAKE, COMMON_PAYLOAD, COMMON_KEYLOG };

static const struct option_row network_rows[] = {
    { "--link-payload", COMMON_PAYLOAD, "BYTES", "pack records into datagrams of up to this many bytes (default 1232)" },
    { "--keylog", COMMON_KEYLOG, "FILE", "append the session keys for Wireshark; for experiments only, it reveals everything" },
    { "--loss", COMMON_LOSS, "P", "drop datagrams both ways with this probability: 0.2, or 20%" },
    { "--seed", COMMON_SEED, "N", "seed of the drops (default 1)" },
    { "--loss-until-connected", COMMON_LOSS_HANDSHAKE, NULL, "drop datagrams of handshakes only" },
    { NULL, 0, NULL, NULL },
};

static const struct option_row common_rows[] = {
    { "-v", COMMON_VERBOSE, NULL, "say more; at the end, why datagrams were dropped" },
    { "--verbose", COMMON_VERBOSE, NULL, NULL },
    { "--help", COMMON_HELP, NULL, "this text" },
    { "-h", COMMON_HELP, NULL, NULL },
    { "--version", COMMON_VERSION, NULL, "the version of this program" },
    { NULL, 0, NULL, NULL },
};

static void print_rows(const struct option_row *row)
{
    for (; row->name != NULL; row++) {
        char left[64];

        if (row->help == NULL) {
            continue;
        }
        snprintf(left, sizeof left, "%s%s%s", row->name, row->value != NULL ? " " : "", row->value != NULL ? row->value : "");
        printf("  %-30s %s\n", left, row->help);
    }
}

void command_help(const struct command *command)
{
    printf("usage: %s\n\n%s\n\noptions:\n", command->usage, command->about);
    if (command->options != NULL) {
        print_rows(command->options);
    }
    if (command->network) {
        print_rows(network_rows);
    }
    print_rows(common_rows);
}

static const struct option_row *find_row(const struct option_row *row, const char *name, size_t len)
{
    for (; row != NULL && row->name != NULL; row++) {
        if (strlen(row->name) == len && memcmp(row->name, name, len) == 0) {
            return row;
        }
    }
    return NULL;
}

void arguments_start(struct arguments *arguments, const struct command *command, struct common_options *common, int count,
                     char **list)
{
    memset(common, 0, sizeof *common);
    common->seed = 1;
    common->link_payload = LINK_PAYLOAD_DEFAULT;
    memset(arguments, 0, sizeof *arguments);
    arguments->command = command;
    arguments->common = common;
    arguments->count = count;
    arguments->list = list;
}

static int take_loss(const struct arguments *arguments, double *loss)
{
    char *end;
    double p = strtod(arguments->value, &end);

    if (end != arguments->value && *end == '%') {
        p /= 100;
        end++;
    }
    if (end == arguments->value || *end != '\0' || !(p >= 0 && p <= 1)) {
        return fail_usage("--loss: '%s' is no probability of 0 to 1, or of 0%% to 100%%", arguments->value);
    }
    *loss = p;
    return 0;
}

static int take_common(struct arguments *arguments, int id)
{
    struct common_options *common = arguments->common;
    uint64_t number;
    int status = 0;

    switch (id) {
    case COMMON_VERBOSE:
        common->verbose = true;
        break;
    case COMMON_LOSS:
        status = take_loss(arguments, &common->loss);
        break;
    case COMMON_SEED:
        status = argument_number(arguments, "--seed", 0, UINT64_MAX, &common->seed);
        break;
    case COMMON_LOSS_HANDSHAKE:
        common->loss_until_connected = true;
        break;
    case COMMON_PAYLOAD:
        status = argument_number(arguments, "--link-payload", 64, 65000, &number);
        if (status == 0) {
            common->link_payload = (uint16_t)number;
        }
        break;
    case COMMON_KEYLOG:
        common->keylog = arguments->value;
        break;
    default:
        break;
    }
    return status;
}

int arguments_next(struct arguments *arguments)
{
    for (;;) {
        const struct option_row *row;
        char *text;
        char *equals;
        size_t len;

        if (arguments->next == arguments->count) {
            return ARGUMENT_END;
        }
        text = arguments->list[arguments->next++];
        if (!arguments->options_over && strcmp(text, "--") == 0) {
            arguments->options_over = true;
            continue;
        }
        if (arguments->options_over || text[0] != '-' || text[1] == '\0') {
            arguments->value = text;
            return ARGUMENT_POSITIONAL;
        }
        equals = strchr(text, '=');
        len = equals != NULL ? (size_t)(equals - text) : strlen(text);
        row = find_row(arguments->command->options, text, len);
        if (row == NULL && arguments->command->network) {
            row = find_row(network_rows, text, len);
        }
        if (row == NULL) {
            row = find_row(common_rows, text, len);
        }
        if (row == NULL) {
            arguments->status = fail_usage("there is no option %.*s here; --help shows those there are", (int)len, text);
            return ARGUMENT_DONE;
        }
        if (row->id == COMMON_HELP) {
            command_help(arguments->command);
            arguments->status = 0;
            return ARGUMENT_DONE;
        }
        if (row->id == COMMON_VERSION) {
            puts("iotsec " IOTSEC_VERSION_STRING);
            arguments->status = 0;
            return ARGUMENT_DONE;
        }
        arguments->value = NULL;
        if (row->value == NULL && equals != NULL) {
            arguments->status = fail_usage("%s takes no value", row->name);
            return ARGUMENT_DONE;
        }
        if (row->value != NULL && equals != NULL) {
            arguments->value = equals + 1;
        } else if (row->value != NULL && row->value[0] == '[' && row->value[strlen(row->value) - 1] == ']') {
            if (arguments->next < arguments->count && arguments->list[arguments->next][0] != '-') {
                arguments->value = arguments->list[arguments->next++];
            }
        } else if (row->value != NULL) {
            if (arguments->next == arguments->count) {
                arguments->status = fail_usage("%s needs a value: %s %s", row->name, row->name, row->value);
                return ARGUMENT_DONE;
            }
            arguments->value = arguments->list[arguments->next++];
        }
        if (row->id < COMMON_HELP) {
            return row->id;
        }
        arguments->status = take_common(arguments, row->id);
        if (arguments->status != 0) {
            return ARGUMENT_DONE;
        }
    }
}

int argument_number(const struct arguments *arguments, const char *name, uint64_t min, uint64_t max, uint64_t *value)
{
    if (!number_parse(arguments->value, min, max, value)) {
        return fail_usage("%s: '%s' is no number of %llu to %llu", name, arguments->value, (unsigned long long)min,
                          (unsigned long long)max);
    }
    return 0;
}

int argument_addr(const struct arguments *arguments, const char *name, bool port_0, struct iotsec_addr *addr)
{
    const char *problem = addr_parse(arguments->value, port_0, addr);

    if (problem == NULL && iotsec_addr_is_multicast(addr)) {
        problem = "this is a multicast address";
    }
    if (problem == NULL && !port_0 && addr_is_unspecified(addr)) {
        problem = "this is the address of nobody";
    }
    return problem == NULL ? 0 : fail("BAD_ADDRESS", "%s %s: %s", name, arguments->value, problem);
}

int argument_seconds(const struct arguments *arguments, const char *name, double max, uint32_t *milliseconds)
{
    char *end;
    double seconds = strtod(arguments->value, &end);

    if (end == arguments->value || *end != '\0' || !(seconds >= 0.001 && seconds <= max)) {
        return fail_usage("%s: '%s' is no number of seconds of 0.001 to %.0f", name, arguments->value, max);
    }
    *milliseconds = (uint32_t)(seconds * 1000 + 0.5);
    return 0;
}

int argument_connection_id(const struct arguments *arguments, bool link_local, uint8_t *policy)
{
    if (strcmp(arguments->value, "off") == 0) {
        *policy = IOTSEC_CONNECTION_ID_OFF;
    } else if (strcmp(arguments->value, "on") == 0) {
        *policy = IOTSEC_CONNECTION_ID_ON;
    } else if (link_local && strcmp(arguments->value, "link-local") == 0) {
        *policy = IOTSEC_CONNECTION_ID_LINK_LOCAL;
    } else {
        return fail_usage("--connection-id: '%s' is none of off%s and on", arguments->value, link_local ? ", link-local" : "");
    }
    return 0;
}

int argument_identity(const struct arguments *arguments, const char *name, const char **identity)
{
    size_t len = strlen(arguments->value);

    if (len == 0 || len > IOTSEC_IDENTITY_MAX) {
        return fail("BAD_IDENTITY", "%s: an identity has 1 to %d bytes", name, IOTSEC_IDENTITY_MAX);
    }
    if (!text_is_printable(arguments->value, len)) {
        return fail("BAD_IDENTITY", "%s: an identity is printable text in UTF-8", name);
    }
    *identity = arguments->value;
    return 0;
}

/* ---- Key log ---- */

static FILE *keylog_file;

int keylog_open(const struct common_options *common)
{
    int fd;

    if (common->keylog == NULL) {
        return 0;
    }
#if !IOTSEC_KEYLOG
    return fail("UNSUPPORTED", "--keylog: this build has no key log");
#endif
    fd = open(common->keylog, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    keylog_file = fd < 0 ? NULL : fdopen(fd, "a");
    if (keylog_file == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return fail("KEYLOG", "%s: %s", common->keylog, strerror(errno));
    }
    warn("KEYLOG", "%s reveals every key of every session; this is for experiments", common->keylog);
    return 0;
}

void keylog_close(void)
{
    if (keylog_file != NULL) {
        fclose(keylog_file);
        keylog_file = NULL;
    }
}

void keylog_write(void *user, const char *line)
{
    (void)user;
    if (keylog_file != NULL) {
        fprintf(keylog_file, "%s\n", line);
        fflush(keylog_file);
    }
}

void options_to_port(const struct common_options *common, struct port_options *port)
{
    port->loss = common->loss;
    port->seed = common->seed;
    port->loss_handshake_only = common->loss_until_connected;
}
