/* SPDX-License-Identifier: BSD-3-Clause */
/* `iotsec relay`: a relay by itself, on a host that has its address by other means than a join. */
#include "cmd.h"

#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "addr.h"
#include "lines.h"
#include "nvm_file.h"
#include "options.h"
#include "output.h"
#include "port.h"
#include "relay_port.h"

enum {
    OPTION_INTERFACE = 1, OPTION_MANAGER, OPTION_MODE, OPTION_JOIN_PORT, OPTION_OPEN, OPTION_KEY_FILE, OPTION_JOINERS,
    OPTION_RATE, OPTION_NEIGHBOUR_RATE, OPTION_EOF
};

static const struct option_row relay_rows[] = {
    { "--interface", OPTION_INTERFACE, "IF", "the interface towards the neighbours that want to join" },
    { "--manager", OPTION_MANAGER, "[ADDR]:PORT", "the domain manager's own address" },
    { "--mode", OPTION_MODE, "MODE", "stateless (default) or stateful: for a manager that knows nothing of relays" },
    { "--join-port", OPTION_JOIN_PORT, "PORT", "the port that neighbours send to (default 5684)" },
    { "--open", OPTION_OPEN, "SECONDS", "open joining at once, for so long, or always (default: closed until the command open)" },
    { "--key-file", OPTION_KEY_FILE, "FILE", "stateless: keep the relay's key there: joins go on when the relay is restarted" },
    { "--joiners", OPTION_JOINERS, "N", "stateful: neighbours at once, 1 to 250 (default 16)" },
    { "--rate", OPTION_RATE, "N", "datagrams a second, each way, of all neighbours together (default 64)" },
    { "--neighbour-rate", OPTION_NEIGHBOUR_RATE, "N", "datagrams a second, each way, of one neighbour (default 8)" },
    { "--exit-on-eof", OPTION_EOF, NULL, "end when standard input does" },
    { NULL, 0, NULL, NULL },
};

static const struct command relay_command = {
    "iotsec relay --interface IF --manager [ADDR]:PORT [option]...",
    "Passes on, between neighbours that have a link-local address alone and the domain manager, what they need to\n"
    "join, as long as joining is open. It reads nothing of it and has no key of either. (`iotsec device --relay` does\n"
    "the same inside a device.) Commands on standard input:\n"
    "\n"
    "  open SECONDS|always          open joining\n"
    "  close                        close it\n"
    "  stats                        print what was relayed and what was dropped, and why\n"
    "  rotate                       stateless: take another relay key; a minute after joining was closed\n"
    "  quit                         end",
    relay_rows, true,
};

struct relay_program {
    struct relay_port relay;
    struct relay_options options;
    struct port port;
    struct port_options port_options;
    struct common_options common;
    struct nvm_file nvm;
    struct iotsec_addr manager;
    bool manager_given;
    const char *key_file;
    bool exit_on_eof;
    struct lines lines;
    bool ended;
};

/* ---- The command line ---- */

static int take_number(const struct arguments *arguments, const char *name, uint64_t max, uint16_t *value)
{
    uint64_t number;
    int status = argument_number(arguments, name, 1, max, &number);

    if (status == 0) {
        *value = (uint16_t)number;
    }
    return status;
}

static int take_option(struct relay_program *program, const struct arguments *arguments, int id)
{
    struct relay_options *options = &program->options;
    int status = 0;

    switch (id) {
    case OPTION_INTERFACE:
        options->interface = arguments->value;
        break;
    case OPTION_MANAGER:
        status = argument_addr(arguments, "--manager", false, &program->manager);
        program->manager_given = true;
        if (status == 0 && addr_is_link_local(&program->manager)) {
            status = fail("BAD_ADDRESS", "--manager %s: this is a link-local address; a relay reaches the manager at one that "
                                         "is routable",
                          arguments->value);
        }
        break;
    case OPTION_MODE:
        status = relay_take_mode(arguments, "--mode", options);
        break;
    case OPTION_JOIN_PORT:
        status = take_number(arguments, "--join-port", UINT16_MAX, &options->join_port);
        break;
    case OPTION_OPEN:
        status = relay_take_open(arguments, "--open", options);
        break;
    case OPTION_KEY_FILE:
        program->key_file = arguments->value;
        break;
    case OPTION_JOINERS:
        status = take_number(arguments, "--joiners", RELAY_JOINERS_MAX, &options->joiners);
        break;
    case OPTION_RATE:
        status = take_number(arguments, "--rate", UINT16_MAX, &options->rate);
        break;
    case OPTION_NEIGHBOUR_RATE:
        status = take_number(arguments, "--neighbour-rate", UINT16_MAX, &options->neighbour_rate);
        break;
    case OPTION_EOF:
        program->exit_on_eof = true;
        break;
    default:
        break;
    }
    return status;
}

/* -1 if all is well, else the exit status to leave with. */
static int take_command_line(struct relay_program *program, int count, char **list)
{
    struct arguments arguments;
    int status = 0;
    int id;

    relay_options_start(&program->options);
    arguments_start(&arguments, &relay_command, &program->common, count, list);
    while (status == 0 && (id = arguments_next(&arguments)) != ARGUMENT_END) {
        if (id == ARGUMENT_DONE) {
            return arguments.status;
        }
        if (id == ARGUMENT_POSITIONAL) {
            return fail_usage("'%s' is too much; --help shows what there is", arguments.value);
        }
        status = take_option(program, &arguments, id);
    }
    if (status != 0) {
        return status;
    }
    if (program->options.interface == NULL) {
        return fail_usage("--interface is missing");
    }
    if (!program->manager_given) {
        return fail_usage("--manager is missing");
    }
    if (program->key_file != NULL && program->options.mode == IOTSEC_RELAY_STATEFUL) {
        return fail_usage("--key-file: a stateful relay has no key");
    }
    if (if_nametoindex(program->options.interface) == 0) {
        return fail("NO_INTERFACE", "%s: there is no interface of that name", program->options.interface);
    }
    return -1;
}

/* ---- Running ---- */

static void run_command(void *user, char *rest)
{
    struct relay_program *program = user;
    const char *verb = lines_word(&rest);
    const char *argument = lines_word(&rest);
    const char *problem;

    if (verb[0] == '\0') {
        return;
    }
    if (strcmp(verb, "quit") == 0) {
        program->ended = true;
        return;
    }
    problem = relay_port_command(&program->relay, verb, argument);
    if (problem != NULL) {
        out_refused(verb, problem);
    }
}

static void no_input(void *user, const struct iotsec_addr *from, const struct iotsec_addr *to, uint8_t *data, size_t len)
{
    (void)user;
    (void)from;
    (void)to;
    (void)data;
    (void)len;
}

static void relay_loop(struct relay_program *program)
{
    while (!program->ended) {
        uint32_t wait = UINT32_MAX;
        unsigned events;

        relay_port_poll(&program->relay, &wait);
        events = port_wait(&program->port, wait, program->lines.over ? -1 : STDIN_FILENO, no_input, NULL);
        if ((events & PORT_STOP) != 0) {
            break;
        }
        if ((events & PORT_EXTRA) != 0) {
            lines_read(&program->lines, run_command, program, &program->ended);
            program->ended = program->ended || (program->lines.over && program->exit_on_eof);
        }
    }
    relay_port_stop(&program->relay);
    out_begin("stopped");
    out_end();
}

static int relay_run(struct relay_program *program)
{
    int status = 0;

    options_to_port(&program->common, &program->port_options);
    program->port_options.no_socket = true;
    program->port_options.interface = program->options.interface;
    if (program->key_file != NULL) {
        status = nvm_file_open_single(&program->nvm, program->key_file);
        program->port_options.nvm = &program->nvm;
        program->options.keep_key = true;
    }
    if (status == 0) {
        status = port_open(&program->port, &program->port_options);
    }
    if (status != 0) {
        return status;
    }
    status = relay_port_start(&program->relay, &program->port, &program->options, &program->manager);
    if (status == 0) {
        relay_loop(program);
    }
    port_close(&program->port);
    return status;
}

int cmd_relay(int count, char **list)
{
    struct relay_program *program = calloc(1, sizeof *program);
    int status;

    if (program == NULL) {
        return fail("MEMORY", "out of memory");
    }
    program->nvm.directory = -1;
    program->nvm.lock = -1;
    status = take_command_line(program, count, list);
    if (status < 0) {
        status = relay_run(program);
    }
    nvm_file_close(&program->nvm);
    explicit_bzero(program, sizeof *program);
    free(program);
    return status;
}
