/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The share of the domain's polynomial, and who is revoked.
 *
 *     D -> M  SHARE_STATUS    M -> D  ACK: complete | pieces follow | no polynomial | later
 *     M -> D  SHARE           coefficients, from the first on; D -> M  ACK
 *     M -> D  REVOKED         marks, from the first on; D -> M  ACK
 *
 * share[0] is in use. share[1] is free; or of a newer generation, and still coming; or, during an overlap, of the
 * generation before. What cannot be taken is put in use all the same, empty: who has been revoked since is not told to
 * this device any more, so the older one may not serve either.
 *
 * revoked[] has the marks that go with the older of two generations in front, and those of the newer one behind them.
 * Every mark counts for every session. Marks of the newer are known by their place: REVOKED says how many stand before its
 * first. One that both generations have stands among those of the newer.
 */
#include "access/device_state.h"

#include <string.h>

#include <iotsec/polykey.h>

#if IOTSEC_ROLE_DEVICE && IOTSEC_PAIRWISE

/* iotsec_share.flags; SHARE_GENTLE is the message's flag. */
#define SHARE_GENTLE IOTSEC_KM_SHARE_GENTLE
#define SHARE_REFUSED 2u /* there is no room for it, or it contradicts itself: it is empty, and never serves */
#define SHARE_BAD 4u     /* something came that is no element, and was told */

/* Which of the two is of the newest generation known. */
static unsigned find_newest(const struct iotsec_device *dev)
{
    return dev->share[1].generation != 0 && (dev->pair_flags & PAIRS_OVERLAP) == 0;
}

const struct iotsec_share *iotsec_dev_newest_share(const struct iotsec_device *dev)
{
    return &dev->share[find_newest(dev)];
}

static unsigned count_marks(const struct iotsec_device *dev)
{
    return (unsigned)dev->revoked_count - dev->revoked_before;
}

/* Its storage stays where it is. */
static void wipe_share(const struct iotsec_device *dev, struct iotsec_share *share)
{
    uint8_t *elements = share->elements;

    iotsec_wipe(elements, IOTSEC_POLY_ELEMENT_BYTES * (dev->config->share_degree_max + 1u));
    memset(share, 0, sizeof *share);
    share->elements = elements;
}

void iotsec_dev_shares_forget(struct iotsec_device *dev)
{
    const struct iotsec_device_config *config = dev->config;

    if (config->pair_count != 0) {
        dev->share[0].elements = config->shares;
        dev->share[1].elements = config->shares + IOTSEC_POLY_ELEMENT_BYTES * (config->share_degree_max + 1u);
        wipe_share(dev, &dev->share[0]);
        wipe_share(dev, &dev->share[1]);
        iotsec_wipe(dev->revoked, sizeof dev->revoked);
        dev->revoked_count = 0;
        dev->revoked_before = 0;
        dev->pair_flags = 0;
    }
}

/* Takes `count` marks away that go with the older generation. */
static void drop_marks(struct iotsec_device *dev, unsigned first, unsigned count)
{
    dev->revoked_before = (uint8_t)(dev->revoked_before - count);
    dev->revoked_count = (uint8_t)(dev->revoked_count - count);
    memmove(dev->revoked[first], dev->revoked[first + count], IOTSEC_REVOKED_BYTES * (dev->revoked_count - first));
}

/* The older of two generations ends, and with it the marks that go with it. */
static void end_older(struct iotsec_device *dev)
{
    wipe_share(dev, &dev->share[(dev->pair_flags & PAIRS_OVERLAP) != 0]);
    drop_marks(dev, 0, dev->revoked_before);
    dev->pair_flags = (uint8_t)((dev->pair_flags & ~PAIRS_OVERLAP) | PAIRS_REVIEW);
}

/* A newer generation begins to come. One that was still coming is forgotten, but not its marks: whom they name holds a
 * share of the generation that still serves, too, and with that they go. */
static void begin(struct iotsec_device *dev, uint32_t generation)
{
    if ((dev->pair_flags & PAIRS_OVERLAP) != 0) {
        end_older(dev);
    }
    wipe_share(dev, &dev->share[1]);
    dev->share[1].generation = generation;
    dev->revoked_before = dev->revoked_count;
}

/* The share that was coming is put in use. */
static void put_in_use(struct iotsec_device *dev)
{
    struct iotsec_share old = dev->share[0];

    dev->share[0] = dev->share[1];
    dev->share[1] = old;
    dev->pair_flags |= PAIRS_OVERLAP | PAIRS_TELL;
    dev->overlap_until = iotsec_dev_now(dev) + iotsec_value_or(dev->config->share_overlap_ms, IOTSEC_SHARE_OVERLAP_MS);
    dev->share[0].flags &= (uint8_t)~SHARE_BAD;
    /* the flag speaks of the generation right before it: between others there may be one that had to end at once */
    if (dev->share[0].flags != SHARE_GENTLE || old.generation != dev->share[0].generation - 1) {
        end_older(dev);
    }
}

/* It cannot be taken, whatever comes of it. */
static enum iotsec_km_result refuse(struct iotsec_device *dev)
{
    uint32_t generation = dev->share[1].generation;

    wipe_share(dev, &dev->share[1]);
    dev->share[1].generation = generation;
    dev->share[1].flags = SHARE_REFUSED;
    put_in_use(dev);
    return IOTSEC_KM_NO_ROOM;
}

/* M -> D  SHARE, of the generation that is coming; the first `known` elements are held already. */
static enum iotsec_km_result add_elements(struct iotsec_device *dev, const struct iotsec_km_message *message, unsigned known)
{
    struct iotsec_share *share = &dev->share[1];

    if (!iotsec_polykey_are_elements(message->tail, message->count)) {
        if ((share->flags & SHARE_BAD) == 0) {
            share->flags |= SHARE_BAD;
            dev->pair_flags |= PAIRS_TELL;
        }
        return IOTSEC_KM_FAILED;
    }
    share->degree = message->degree;
    share->flags = (uint8_t)((share->flags & SHARE_BAD) | (message->code & SHARE_GENTLE));
    memcpy(share->elements + IOTSEC_POLY_ELEMENT_BYTES * share->held, message->tail + IOTSEC_POLY_ELEMENT_BYTES * known,
           IOTSEC_POLY_ELEMENT_BYTES * (message->count - known));
    share->held = (uint16_t)(message->first + message->count);
    return IOTSEC_KM_DONE;
}

/* Where among the first `count` marks the one of this point stands; -1: nowhere. */
static int find_mark(const struct iotsec_device *dev, const uint8_t *point, int count)
{
    do {
        count--;
    } while (count >= 0 && memcmp(dev->revoked[count], point, IOTSEC_REVOKED_BYTES) != 0);
    return count;
}

/* M -> D  REVOKED, of the newest generation; the first `known` marks are held already. */
static void add_marks(struct iotsec_device *dev, const struct iotsec_km_message *message, unsigned known)
{
    const uint8_t *mark = message->tail + IOTSEC_REVOKED_BYTES * known;

    for (; known < message->count; known++, mark += IOTSEC_REVOKED_BYTES) {
        int i = find_mark(dev, mark, dev->revoked_before);

        if (i >= 0) {
            drop_marks(dev, (unsigned)i, 1); /* carried over */
        } else if (dev->revoked_count == IOTSEC_REVOKED_MAX) {
            end_older(dev); /* whichever that is: no mark is ever left out. Those of one generation always fit */
        }
        memcpy(dev->revoked[dev->revoked_count++], mark, IOTSEC_REVOKED_BYTES);
    }
    dev->pair_flags |= PAIRS_REVIEW;
}

static void ask_in(struct iotsec_device *dev, uint32_t ms)
{
    dev->share_at = iotsec_dev_now(dev) + ms;
    dev->pair_flags |= PAIRS_ASK;
}

enum iotsec_km_result iotsec_dev_take_share(struct iotsec_device *dev, const struct iotsec_km_message *message, bool *answer)
{
    bool elements = message->kind == IOTSEC_KM_SHARE;
    enum iotsec_km_result result = IOTSEC_KM_DONE;
    uint32_t wait = KEYS_WAIT_MS;
    struct iotsec_share *share;
    unsigned held;

    *answer = true;
    if (message->key_number > iotsec_dev_newest_share(dev)->generation) {
        begin(dev, message->key_number);
    }
    share = &dev->share[find_newest(dev)];
    if (message->key_number != share->generation) {
        return IOTSEC_KM_DONE;
    }
    if (elements && share == dev->share) { /* in use */
        return (share->flags & SHARE_REFUSED) != 0 ? IOTSEC_KM_NO_ROOM : IOTSEC_KM_DONE;
    }
    if (message->revoked > share->wanted) {
        share->wanted = message->revoked;
    }
    held = elements ? share->held : count_marks(dev);
    if (elements && (message->degree > dev->config->share_degree_max || (held != 0 && message->degree != share->degree))) {
        result = refuse(dev);
    } else if (message->first > held) {
        *answer = false;
        dev->pair_flags |= PAIRS_DUE; /* what was lost on the way is asked for at once */
    } else if ((unsigned)message->first + message->count <= held) {
        /* a repeat */
    } else if (elements) {
        result = add_elements(dev, message, held - message->first);
    } else {
        add_marks(dev, message, held - message->first);
    }
    share = &dev->share[1];
    if (find_newest(dev) != 0 && share->held == share->degree + 1u && count_marks(dev) >= share->wanted) {
        put_in_use(dev);
    }
    dev->pair_flags &= (uint8_t)~PAIRS_ASK;
    if (result == IOTSEC_KM_FAILED) {
        wait = iotsec_dev_ask_delay(dev, &dev->share_wait);
    } else {
        dev->share_wait = 0;
    }
    if (find_newest(dev) != 0 || count_marks(dev) < dev->share[0].wanted) {
        ask_in(dev, wait);
    }
    return result;
}

void iotsec_dev_share_tell(struct iotsec_device *dev)
{
    if ((dev->pair_flags & PAIRS_REVIEW) != 0) {
        dev->pair_flags &= (uint8_t)~PAIRS_REVIEW;
        iotsec_dev_pairs_review(dev);
    }
    if ((dev->pair_flags & PAIRS_TELL) != 0) { /* still: the application may have left the domain meanwhile */
        unsigned flags = iotsec_dev_newest_share(dev)->flags;

        dev->pair_flags &= (uint8_t)~PAIRS_TELL;
        iotsec_dev_tell(dev, IOTSEC_DEVICE_SHARE,
                        (flags & SHARE_REFUSED) != 0 ? IOTSEC_ERR_DEGREE
                        : (flags & SHARE_BAD) != 0   ? IOTSEC_ERR_DECODE
                                                     : IOTSEC_OK,
                        0);
    }
}

/* ---- Asking ---- */

void iotsec_dev_share_status(const struct iotsec_device *dev, uint8_t out[11])
{
    const struct iotsec_share *serving = iotsec_dev_share(dev, 0);
    const struct iotsec_share *newest = iotsec_dev_newest_share(dev);

    memset(out, 0, 10);
    if (serving != NULL) {
        iotsec_put_u32(out, serving->generation);
    }
    if (newest != serving) {
        iotsec_put_u32(out + 4, newest->generation);
        iotsec_put_u16(out + 8, newest->held);
    }
    out[10] = (uint8_t)count_marks(dev);
}

void iotsec_dev_take_share_answer(struct iotsec_device *dev, uint8_t result)
{
    switch (result) {
    case IOTSEC_KM_DONE:
        dev->share_wait = 0;
        break;
    case IOTSEC_KM_KEYS_FOLLOW:
        ask_in(dev, KEYS_WAIT_MS);
        break;
    case IOTSEC_KM_NOT_MEMBER:
        if ((dev->pair_flags & PAIRS_NONE) == 0) {
            dev->pair_flags |= PAIRS_NONE;
            iotsec_dev_tell(dev, IOTSEC_DEVICE_SHARE, IOTSEC_ERR_NOT_FOUND, 0);
        }
        break;
    default:
        ask_in(dev, iotsec_dev_ask_delay(dev, &dev->share_wait));
        break;
    }
}

void iotsec_dev_share_poll(struct iotsec_device *dev)
{
    if ((dev->pair_flags & PAIRS_OVERLAP) != 0 && iotsec_dev_due(dev, dev->overlap_until)) {
        end_older(dev);
        iotsec_dev_share_tell(dev);
    }
    if ((dev->pair_flags & PAIRS_ASK) != 0 && iotsec_dev_due(dev, dev->share_at)) {
        dev->pair_flags = (uint8_t)((dev->pair_flags & ~PAIRS_ASK) | PAIRS_DUE);
    }
}

/* ---- What others look up ---- */

const struct iotsec_share *iotsec_dev_share(const struct iotsec_device *dev, uint32_t generation)
{
    unsigned count = (dev->pair_flags & PAIRS_OVERLAP) != 0 ? 2 : 1;
    unsigned i;

    for (i = 0; i < count; i++) {
        const struct iotsec_share *share = &dev->share[i];

        if (share->held != 0 && (generation == 0 || generation == share->generation)) {
            return share;
        }
    }
    return NULL;
}

bool iotsec_dev_is_revoked(const struct iotsec_device *dev, const uint8_t point[IOTSEC_POLY_ELEMENT_BYTES])
{
    return find_mark(dev, point, dev->revoked_count) >= 0;
}

#endif
