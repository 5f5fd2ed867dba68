/* SPDX-License-Identifier: BSD-3-Clause */
#include <iotsec/record.h>

#define WINDOW 64u /* bits in `bits` */

void iotsec_replay_init(struct iotsec_replay *window)
{
    window->top = 0;
    window->bits = 0; /* number 0 is new, although top names it */
}

int iotsec_replay_check(const struct iotsec_replay *window, uint64_t sequence)
{
    uint64_t below;

    if (sequence > window->top) {
        return 1;
    }
    below = window->top - sequence;
    return below < WINDOW && (window->bits >> below & 1u) == 0;
}

void iotsec_replay_commit(struct iotsec_replay *window, uint64_t sequence)
{
    uint64_t distance;

    if (sequence <= window->top) {
        distance = window->top - sequence;
        if (distance < WINDOW) {
            window->bits |= (uint64_t)1 << distance;
        }
        return;
    }
    distance = sequence - window->top;
    /* shifting by the whole width is undefined in C */
    window->bits = distance < WINDOW ? window->bits << distance | 1u : 1u;
    window->top = sequence;
}

void iotsec_replay_start_at(struct iotsec_replay *window, uint64_t sequence)
{
    window->top = sequence;
    /* ones, not zeros: numbers below the first one seen are unknown */
    window->bits = UINT64_MAX;
}
