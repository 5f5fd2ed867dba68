/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What must hold on the air, whatever is broken in a node: no frame counter is used twice for different frames by one sender
 * under one key, over all restarts and power cuts; and a node that is said to be secured sends no data in the clear.
 */
#include "emulator.h"

#include <stdlib.h>
#include <string.h>

struct seen {
    uint64_t nonce, frame;
};

struct monitor {
    struct seen *seen;
    size_t count, room;
    bool secured_only[NODES_MAX];
    bool off;
    uint64_t secured;
};

struct monitor *monitor_new(void)
{
    struct monitor *monitor = calloc(1, sizeof *monitor);

    if (monitor == NULL) {
        abort();
    }
    return monitor;
}

void monitor_free(struct monitor *monitor)
{
    free(monitor->seen);
    free(monitor);
}

void monitor_enable(struct world *world, bool on)
{
    world->monitor->off = !on;
}

uint64_t monitor_secured(const struct world *world)
{
    return world->monitor->secured;
}

void monitor_secure_from_now(struct world *world, const struct node *node)
{
    for (unsigned i = 0; i < world->count; i++) {
        if (node == NULL || node->id == i) {
            world->monitor->secured_only[i] = true;
        }
    }
}

static uint64_t digest(const uint8_t *data, unsigned len, uint64_t start)
{
    uint64_t hash = start;

    for (unsigned i = 0; i < len; i++) {
        hash = world_random(hash, data[i], i, 0);
    }
    return hash | 1;
}

static void remember(struct monitor *monitor, uint64_t nonce, uint64_t frame);

static struct seen *place(struct monitor *monitor, uint64_t nonce)
{
    size_t i = nonce % monitor->room;

    while (monitor->seen[i].nonce != 0 && monitor->seen[i].nonce != nonce) {
        i = (i + 1) % monitor->room;
    }
    return &monitor->seen[i];
}

static void grow(struct monitor *monitor)
{
    struct seen *old = monitor->seen;
    size_t room = monitor->room;

    monitor->room = room == 0 ? 1024 : 2 * room;
    monitor->seen = calloc(monitor->room, sizeof *monitor->seen);
    if (monitor->seen == NULL) {
        abort();
    }
    monitor->count = 0;
    for (size_t i = 0; i < room; i++) {
        if (old[i].nonce != 0) {
            remember(monitor, old[i].nonce, old[i].frame);
        }
    }
    free(old);
}

static void remember(struct monitor *monitor, uint64_t nonce, uint64_t frame)
{
    struct seen *at;

    if (2 * monitor->count >= monitor->room) {
        grow(monitor);
    }
    at = place(monitor, nonce);
    at->nonce = nonce;
    at->frame = frame;
    monitor->count++;
}

void monitor_frame(struct world *world, struct node *from, const uint8_t *psdu, unsigned len)
{
    struct monitor *monitor = world->monitor;
    unsigned to_mode, from_mode, at = 3, key_len;
    bool intra;
    uint64_t nonce, frame;
    struct seen *seen;

    if (monitor->off || len < 5 || (psdu[0] & 7) > 3 || (psdu[0] & 7) == 2) {
        return;
    }
    if ((psdu[0] >> 3 & 1) == 0) {
        if ((psdu[0] & 7) == 1 && monitor->secured_only[from->id]) {
            world_fail(world, "%s: a data frame in the clear, though its sender is secured", from->name);
        }
        return;
    }
    monitor->secured++;
    to_mode = psdu[1] >> 2 & 3;
    from_mode = psdu[1] >> 6 & 3;
    intra = (psdu[0] >> 6 & 1) != 0;
    at += to_mode == 0 ? 0u : to_mode == 2 ? 4u : 10u;
    at += from_mode == 0 || (intra && to_mode != 0) ? 0u : 2u;
    at += from_mode == 0 ? 0u : from_mode == 2 ? 2u : 8u;
    if (at + 5 > len - 2) {
        world_fail(world, "%s: a secured frame too short for its header", from->name);
        return;
    }
    if ((psdu[at] & 7) == 0) {
        world_fail(world, "%s: a frame with the security bit and security level 0", from->name);
        return;
    }
    key_len = (const unsigned[]){0, 1, 5, 9}[psdu[at] >> 3 & 3];
    if (at + 5 + key_len > len - 2) {
        world_fail(world, "%s: a secured frame too short for its header", from->name);
        return;
    }
    /* Sender, counter, level and key: what CCM's nonce and key are made from, as far as the air shows it. A node's own
     * number stands for its address, because a short address goes with the extended one that the nonce has. */
    nonce = digest(psdu + at, 5 + key_len, from->id + 1);
    frame = digest(psdu, len, 1);
    if (monitor->room == 0) {
        grow(monitor);
    }
    seen = place(monitor, nonce);
    if (seen->nonce == nonce && seen->frame != frame) {
        world_fail(world, "%s: frame counter %08x used for two different frames under one key", from->name,
                   psdu[at + 1] | (unsigned)psdu[at + 2] << 8 | (unsigned)psdu[at + 3] << 16 | (unsigned)psdu[at + 4] << 24);
        return;
    }
    if (seen->nonce != nonce) {
        remember(monitor, nonce, frame);
    }
}
