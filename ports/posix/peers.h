/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Other devices, as `iotsec device` sees them: who is meant by a line of standard input, the storage for sessions with
 * them, and what there is to say about them.
 */
#ifndef IOTSEC_POSIX_PEERS_H
#define IOTSEC_POSIX_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <iotsec/device.h>

#include "output.h"

#define PEERS_DEFAULT 8
#define PEERS_MAX 1000
#define PEER_MESSAGE_MAX 1024 /* bytes that wait for a session */

struct peers {
    uint16_t count;       /* 0: no pairwise keys */
    uint8_t degree_max;
    struct iotsec_pair *pairs;
    uint8_t *shares;
    uint8_t *messages;
    struct flood refused; /* lines that anybody can cause */
};

/* A device that a line names. */
struct peer_name {
    uint8_t identity[IOTSEC_IDENTITY_MAX];
    size_t len;
    struct iotsec_addr addr;
};

/* What is wrong with a line. */
struct peer_problem {
    const char *reason; /* NULL: nothing */
    const char *detail; /* a sentence */
};

/*
 * Reads ID@[ADDR]:PORT, or with `alone` ID, from the front of a line, and moves *rest behind it and one blank. ID stands as
 * the program prints it: bare, where the last @ ends it, or in quotes. False: `problem` says why.
 */
bool peer_take(char **rest, bool alone, struct peer_name *name, struct peer_problem *problem);

/* Makes the storage and puts it into `config`. 0, or what fail() returned. */
int peers_start(struct peers *peers, struct iotsec_device_config *config);
/* Wipes and frees it. */
void peers_end(struct peers *peers);
/* Prints a SHARE or PEER_ event. */
void peers_event(struct peers *peers, const struct iotsec_device_event *event);
/* `send ID@[ADDR]:PORT TEXT` and `close ID`, without their first words. */
void peers_send(struct iotsec_device *device, char *rest);
void peers_hang_up(struct iotsec_device *device, char *rest);

#endif
