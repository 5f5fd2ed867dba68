/* SPDX-License-Identifier: BSD-3-Clause */
#include <iotsec/record.h>

#define WINDOW 64u /* bits in `bits` */

void iotsec_replay_init(struct iotsec_replay *window)
{
    window->top = 0;
    window->bits = 0; /* number 0 is new, although top names it */
}

/* Numbers have 48 bits: a difference below zero shows in the top bit. */
int iotsec_replay_check(const struct iotsec_replay *window, uint64_t sequence)
{
    uint64_t below = window->top - sequence;

    return below >> 63 != 0 || (below < WINDOW && (window->bits >> below & 1u) == 0);
}

void iotsec_replay_commit(struct iotsec_replay *window, uint64_t sequence)
{
    uint64_t above = sequence - window->top;
    unsigned below = 0;

    if (above >> 63 == 0) {
        /* shifting by the whole width is undefined in C */
        window->bits = above < WINDOW ? window->bits << above : 0;
        window->top = sequence;
    } else {
        below = (0u - (unsigned)above) % WINDOW; /* no more than that: the check let it pass */
    }
    window->bits |= (uint64_t)1 << below;
}

void iotsec_replay_start_at(struct iotsec_replay *window, uint64_t sequence)
{
    window->top = sequence;
    /* ones, not zeros: numbers below the first one seen are unknown */
    window->bits = UINT64_MAX;
}
