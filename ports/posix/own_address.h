/* SPDX-License-Identifier: BSD-3-Clause */
/* An interface's own addresses: the one that a device takes from the domain's prefix, and how it gets it. */
#ifndef IOTSEC_POSIX_OWN_ADDRESS_H
#define IOTSEC_POSIX_OWN_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* An interface's first link-local address. False: it has none. */
bool own_link_local(unsigned interface, uint8_t ip[16]);
/* Whether some interface has this address. */
bool own_address_there(const uint8_t ip[16]);
/*
 * Gives an interface an address of 64 bits of prefix, usable at once: whoever takes the domain's prefix with the
 * identifier of a link-local address that is unique on the link need not look for duplicates. 0, also if it has it
 * already; else an errno.
 */
int own_address_add(unsigned interface, const uint8_t ip[16]);

/* A command that runs beside the loop, for ten seconds at most. */
struct hook {
    pid_t pid; /* 0: none runs */
    uint32_t started;
};

#define HOOK_TIMEOUT_MS 10000u
#define HOOK_LOOK_MS 20u /* how often somebody looks whether it has ended */

/*
 * Runs `sh -c command`, with standard input empty and its output on standard error, in a process group of its own.
 * @param variables "NAME=value", the last one NULL; added to the environment
 * @return 0, or an errno
 */
int hook_start(struct hook *hook, const char *command, char *const variables[]);
/* Whether it has ended since it was started; `*status` is then its exit status, 128 + N after signal N, -1 after the ten seconds. */
bool hook_ended(struct hook *hook, int *status);
/* Ends it, if it runs. */
void hook_kill(struct hook *hook);

#endif
