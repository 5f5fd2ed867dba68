/* SPDX-License-Identifier: BSD-3-Clause */
/* The `iotsec` program: a domain manager, a device, a relay, and plain DTLS-PSK for experiments. */
#include <stdio.h>
#include <string.h>

#include <iotsec/config.h>

#include "cmd.h"
#include "output.h"

static const char help[] =
    "usage: iotsec COMMAND ...\n"
    "\n"
    "commands:\n"
    "  iotsec manager ...      keep a domain: its registry, its groups, its devices, and the server they join\n"
    "  iotsec device ...       join a domain and talk to its groups and devices\n"
    "  iotsec relay ...        let neighbours without an address of their own join through this host\n"
    "  iotsec dtls server ...  answer DTLS-PSK clients and echo what they send\n"
    "  iotsec dtls client ...  connect to a DTLS-PSK server\n"
    "\n"
    "`iotsec COMMAND --help` says more about each.\n"
    "\n"
    "Every event is one line on standard output, `name key=value ...`. An error is `error: NAME: sentence` on\n"
    "standard error; the exit status is then 1, or 2 where the command line itself is wrong.\n";

static int run(int count, char **list)
{
    if (count < 2) {
        fputs(help, stderr);
        return fail_usage("a command is missing");
    }
    if (strcmp(list[1], "--help") == 0 || strcmp(list[1], "-h") == 0 || strcmp(list[1], "help") == 0) {
        fputs(help, stdout);
        return 0;
    }
    if (strcmp(list[1], "--version") == 0) {
        puts("iotsec " IOTSEC_VERSION_STRING);
        return 0;
    }
    if (strcmp(list[1], "manager") == 0) {
        return cmd_manager(count - 2, list + 2);
    }
    if (strcmp(list[1], "device") == 0) {
        return cmd_device(count - 2, list + 2);
    }
    if (strcmp(list[1], "relay") == 0) {
        return cmd_relay(count - 2, list + 2);
    }
    if (strcmp(list[1], "dtls") == 0) {
        return cmd_dtls(count - 2, list + 2);
    }
    return fail_usage("there is no command '%s': manager, device, relay or dtls", list[1]);
}

int main(int count, char **list)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    return out_finish(run(count, list));
}
