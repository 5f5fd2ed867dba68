/* SPDX-License-Identifier: BSD-3-Clause */
/* The nodes, the links between them and the one clock. */
#include "emulator.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* splitmix64 over all of it: every draw is a function of what it is for, so nothing depends on the order of draws. */
uint64_t world_random(uint64_t seed, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t in[4] = {seed, a, b, c}, x = 0;

    for (unsigned i = 0; i < 4; i++) {
        x = (x ^ in[i]) + 0x9e3779b97f4a7c15u;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
        x ^= x >> 31;
    }
    return x;
}

struct world *world_new(uint64_t seed)
{
    struct world *world = calloc(1, sizeof *world);

    if (world == NULL) {
        abort();
    }
    world->seed = seed;
    world->wait4irq = true;
    world->masked_rom = true;
    world->air = air_new();
    world->monitor = monitor_new();
    return world;
}

void world_free(struct world *world)
{
    if (world == NULL) {
        return;
    }
    for (unsigned i = 0; i < world->count; i++) {
        node_free(world->node[i]);
    }
    for (size_t i = 0; i < world->line_count; i++) {
        free(world->lines[i].text);
    }
    free(world->lines);
    air_free(world->air);
    monitor_free(world->monitor);
    if (world->pcap != NULL) {
        fclose(world->pcap);
    }
    if (world->keys != NULL) {
        fclose(world->keys);
    }
    free(world);
}

struct node *world_node(struct world *world, const char *name)
{
    struct node *node;

    if (world->count == NODES_MAX) {
        return NULL;
    }
    node = node_new(world, world->count, name);
    world->node[world->count++] = node;
    return node;
}

struct node *world_find(struct world *world, const char *name)
{
    for (unsigned i = 0; i < world->count; i++) {
        if (strcmp(world->node[i]->name, name) == 0) {
            return world->node[i];
        }
    }
    return NULL;
}

void world_link(struct world *world, const struct node *from, const struct node *to, const struct link *link)
{
    for (unsigned i = 0; i <= NODES_MAX; i++) {
        for (unsigned j = 0; j < NODES_MAX; j++) {
            if ((from == NULL || from->id == i) && (to == NULL || to->id == j) && i != j) {
                world->link[i][j] = *link;
            }
        }
    }
}

void world_say(struct world *world, const struct node *node, uint64_t at, const char *format, ...)
{
    va_list args;

    if (world->story == NULL) {
        return;
    }
    fprintf(world->story, "[%5llu.%06llu] %-8s ", (unsigned long long)(at / EMU_S),
            (unsigned long long)(at % EMU_S / EMU_US), node != NULL ? node->name : "");
    va_start(args, format);
    vfprintf(world->story, format, args);
    va_end(args);
    fputc('\n', world->story);
}

void world_line(struct world *world, struct node *node, const char *text)
{
    if (world->line_count == world->line_room) {
        world->line_room = world->line_room == 0 ? 256 : 2 * world->line_room;
        world->lines = realloc(world->lines, world->line_room * sizeof *world->lines);
        if (world->lines == NULL) {
            abort();
        }
    }
    world->lines[world->line_count].node = node->id;
    world->lines[world->line_count].at = node->now;
    world->lines[world->line_count].used = false;
    world->lines[world->line_count].text = strdup(text);
    world->line_count++;
    world_say(world, node, node->now, "| %s", text);
}

void world_fail(struct world *world, const char *format, ...)
{
    va_list args;

    if (world->failed) {
        return; /* what follows from the first failure would only hide it */
    }
    world->failed = true;
    va_start(args, format);
    vsnprintf(world->failure, sizeof world->failure, format, args);
    va_end(args);
    world_say(world, NULL, world->now, "FAILED %s", world->failure);
}

bool world_run(struct world *world, uint64_t cycles)
{
    uint64_t until = world->now + cycles;

    while (world->now < until && !world->stop && !world->failed) {
        uint64_t next = until, air = air_next(world);
        bool busy = false;

        for (unsigned i = 0; i < world->count; i++) {
            uint64_t due = node_next(world->node[i]);

            busy = busy || node_busy(world->node[i]);
            if (due < next) {
                next = due;
            }
        }
        if (busy) {
            next = until < world->now + EMU_QUANTUM ? until : world->now + EMU_QUANTUM;
        } else if (next > world->now + EMU_S) {
            next = until < world->now + EMU_S ? until : world->now + EMU_S;
        }
        if (air < next) {
            next = air;
        }
        if (next <= world->now) {
            next = world->now + 1;
        }
        for (unsigned i = 0; i < world->count; i++) {
            node_run(world->node[i], next);
        }
        world->now = next;
        air_advance(world);
    }
    return !world->stop && !world->failed;
}
