/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The air between the nodes: who hears whom, what fades, what arrives with wrong bits, what collides.
 *
 * A receiver synchronises to the first frame it hears after it was posted; whatever else is audible there at the same time
 * spoils it. Each draw is a function of the seed, the frame's number and the receiver.
 */
#include "emulator.h"

#include <stdlib.h>
#include <string.h>

#define SYNC_TIME (160 * EMU_US)   /* four bytes of preamble and the start of frame */
#define HISTORY (1 * EMU_MS)       /* a CCA window may end some time after what it saw */

struct transmission {
    struct node *from;             /* NULL: injected */
    uint64_t start, end, serial;
    uint8_t psdu[AIR_FRAME_MAX + 1];
    unsigned len;
    int channel;                   /* 0: on everybody's */
    bool cut, told;
};

struct reception {
    struct transmission *frame;
    struct node *to;
    uint64_t sync_at, end_at;
    bool synchronised, spoiled, faded, used;
};

#define FRAMES 64
#define RECEPTIONS (FRAMES * NODES_MAX)

struct air {
    struct transmission *frame[FRAMES];
    struct reception reception[RECEPTIONS];
    unsigned receptions;           /* none used from here on */
    uint64_t serial, frames, bytes;
};

struct air *air_new(void)
{
    struct air *air = calloc(1, sizeof *air);

    if (air == NULL) {
        abort();
    }
    return air;
}

void air_free(struct air *air)
{
    for (unsigned i = 0; i < FRAMES; i++) {
        free(air->frame[i]);
    }
    free(air);
}

/* ITU-T CRC-16, low bit first, as 802.15.4 has it. */
uint16_t air_fcs(const uint8_t *data, size_t len)
{
    unsigned crc = 0;

    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (unsigned bit = 0; bit < 8; bit++) {
            crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x8408u : crc >> 1;
        }
    }
    return (uint16_t)crc;
}

uint64_t air_duration(unsigned len)
{
    return (6 + (uint64_t)len) * 32 * EMU_US;
}

void air_totals(const struct world *world, uint64_t *frames, uint64_t *bytes)
{
    *frames = world->air->frames;
    *bytes = world->air->bytes;
}

static const struct link *link_of(const struct world *world, const struct node *from, const struct node *to)
{
    return &world->link[from == NULL ? NODES_MAX : from->id][to->id];
}

static bool draw(const struct world *world, uint64_t serial, const struct node *to, uint64_t what, uint32_t ppm)
{
    return world_random(world->seed, serial, to->id, what) % 1000000 < ppm;
}

static bool same_channel(int a, int b)
{
    return a == b || a == 0 || b == 0;
}

static void receive_somewhere(struct world *world, struct transmission *frame, struct node *to)
{
    struct air *air = world->air;
    const struct link *link = link_of(world, frame->from, to);
    struct reception *new = NULL;
    uint64_t delay;

    if (to == frame->from || !link->audible || !same_channel(frame->channel, modem_channel(to))) {
        return;
    }
    for (unsigned i = 0; i < RECEPTIONS && new == NULL; i++) {
        if (!air->reception[i].used) {
            new = &air->reception[i];
            air->receptions = i >= air->receptions ? i + 1 : air->receptions;
        }
    }
    if (new == NULL) {
        world_fail(world, "too many frames on the air at once");
        return;
    }
    delay = link->delay_us == 0 ? 0 : world_random(world->seed, frame->serial, to->id, 1) % (link->delay_us * EMU_US);
    *new = (struct reception){.frame = frame, .to = to, .sync_at = frame->start + delay + SYNC_TIME,
                              .end_at = frame->end + delay, .used = true};
    new->faded = draw(world, frame->serial, to, 2, link->loss_ppm);
    for (unsigned i = 0; i < air->receptions; i++) {
        struct reception *other = &air->reception[i];

        if (other->used && other != new && other->to == to && other->sync_at - SYNC_TIME < new->end_at &&
            new->sync_at - SYNC_TIME < other->end_at) {
            other->spoiled = new->spoiled = true;
        }
    }
}

void air_transmit(struct world *world, struct node *from, uint64_t start, const uint8_t *psdu, unsigned len, int channel)
{
    struct air *air = world->air;
    struct transmission *frame = calloc(1, sizeof *frame);
    unsigned slot = 0;

    if (frame == NULL) {
        abort();
    }
    while (slot < FRAMES && air->frame[slot] != NULL) {
        slot++;
    }
    if (slot == FRAMES || len > AIR_FRAME_MAX) {
        free(frame);
        world_fail(world, "too many frames on the air at once");
        return;
    }
    air->frame[slot] = frame;
    frame->from = from;
    frame->start = start;
    frame->end = start + air_duration(len);
    frame->serial = air->serial++;
    frame->len = len;
    frame->channel = channel;
    memcpy(frame->psdu, psdu, len);
    for (unsigned i = 0; i < world->count; i++) {
        receive_somewhere(world, frame, world->node[i]);
    }
}

void air_cut_short(struct world *world, struct node *from, uint64_t at)
{
    struct air *air = world->air;

    for (unsigned i = 0; i < FRAMES; i++) {
        struct transmission *frame = air->frame[i];

        if (frame == NULL || frame->from != from || frame->end <= at) {
            continue;
        }
        for (unsigned j = 0; j < air->receptions; j++) {
            struct reception *reception = &air->reception[j];

            if (reception->used && reception->frame == frame) {
                reception->end_at -= frame->end - (at > frame->start ? at : frame->start);
                reception->spoiled = true;
                reception->used = frame->start < at;
            }
        }
        frame->told = frame->start >= at; /* it never began */
        frame->end = at > frame->start ? at : frame->start;
        frame->cut = true;
    }
}

bool air_busy(struct world *world, const struct node *node, uint64_t from, uint64_t to)
{
    for (unsigned i = 0; i < FRAMES; i++) {
        const struct transmission *frame = world->air->frame[i];

        if (frame != NULL && frame->from != node && frame->start < to && frame->end > from &&
            same_channel(frame->channel, modem_channel(node)) && link_of(world, frame->from, node)->audible) {
            return true;
        }
    }
    return false;
}

uint64_t air_next(const struct world *world)
{
    const struct air *air = world->air;
    uint64_t next = EMU_NEVER;

    for (unsigned i = 0; i < air->receptions; i++) {
        const struct reception *reception = &air->reception[i];

        if (reception->used) {
            uint64_t due = reception->sync_at > world->now ? reception->sync_at : reception->end_at;

            next = due < next ? due : next;
        }
    }
    for (unsigned i = 0; i < FRAMES; i++) {
        const struct transmission *frame = air->frame[i];

        if (frame != NULL && !frame->told && frame->end < next) {
            next = frame->end;
        }
    }
    return next;
}

static void flip(const struct world *world, const struct reception *reception, uint8_t *psdu, unsigned len)
{
    unsigned count = 1 + (unsigned)(world_random(world->seed, reception->frame->serial, reception->to->id, 5) % 3);

    for (unsigned i = 0; i < count; i++) {
        uint64_t bit = world_random(world->seed, reception->frame->serial, reception->to->id, 6 + i) % (8 * len);

        psdu[bit / 8] ^= (uint8_t)(1u << (bit & 7));
    }
}

static void deliver(struct world *world, struct reception *reception)
{
    const struct transmission *frame = reception->frame;
    const struct link *link = link_of(world, frame->from, reception->to);
    uint8_t psdu[AIR_FRAME_MAX + 1];
    unsigned len = frame->len;
    bool right;

    memcpy(psdu, frame->psdu, sizeof psdu);
    if (len > 2 && draw(world, frame->serial, reception->to, 3, link->corrupt_ppm)) {
        flip(world, reception, psdu, len);
    }
    if (len > 3 && draw(world, frame->serial, reception->to, 4, link->mangle_ppm)) {
        uint16_t fcs;

        flip(world, reception, psdu, len - 2);
        fcs = air_fcs(psdu, len - 2);
        psdu[len - 2] = (uint8_t)fcs;
        psdu[len - 1] = (uint8_t)(fcs >> 8);
    }
    right = len > 2 && air_fcs(psdu, len - 2) == (psdu[len - 2] | psdu[len - 1] << 8);
    if (reception->spoiled) {
        if (len > 0) {
            flip(world, reception, psdu, len);
        }
        right = false;
        reception->to->count.collided++;
    }
    maca_receive(reception->to, psdu, len, right, link->lqi == 0 ? 200 : link->lqi);
}

static void tell(struct world *world, struct transmission *frame)
{
    unsigned len = frame->len;

    frame->told = true;
    if (frame->cut) {
        uint64_t sent = (frame->end - frame->start) / (32 * EMU_US);

        len = sent > 6 ? (unsigned)sent - 6 : 0;
    }
    world->air->frames++;
    world->air->bytes += len;
    if (frame->from != NULL) {
        frame->from->count.tx_frames++;
        frame->from->count.tx_bytes += len;
        if (frame->len == 5) {
            frame->from->count.ack_frames++;
            frame->from->count.ack_bytes += len;
        }
        monitor_frame(world, frame->from, frame->psdu, frame->len);
    }
    pcap_frame(world, frame->start, frame->psdu, len);
}

void air_advance(struct world *world)
{
    struct air *air = world->air;

    for (unsigned i = 0; i < air->receptions; i++) {
        struct reception *reception = &air->reception[i];

        if (!reception->used) {
            continue;
        }
        if (!reception->synchronised && reception->sync_at <= world->now) {
            bool fits = !reception->faded && !reception->spoiled;

            reception->synchronised = true;
            if (reception->faded) {
                reception->to->count.faded++;
            } else if (reception->spoiled) {
                reception->to->count.collided++;
            }
            if (!fits || !maca_synchronise(reception->to, reception->sync_at)) {
                reception->to->count.deaf += fits;
                reception->faded = true; /* nobody follows it any more */
            }
        }
        if (reception->synchronised && reception->end_at <= world->now) {
            reception->used = false;
            if (!reception->faded) {
                deliver(world, reception);
            }
        }
    }
    while (air->receptions > 0 && !air->reception[air->receptions - 1].used) {
        air->receptions--;
    }
    for (unsigned i = 0; i < FRAMES; i++) {
        struct transmission *frame = air->frame[i];
        bool followed = false;

        if (frame == NULL || frame->end > world->now) {
            continue;
        }
        if (!frame->told) {
            tell(world, frame);
        }
        for (unsigned j = 0; j < air->receptions; j++) {
            followed = followed || (air->reception[j].used && air->reception[j].frame == frame);
        }
        if (!followed && frame->end + HISTORY <= world->now) {
            free(frame);
            air->frame[i] = NULL;
        }
    }
}
