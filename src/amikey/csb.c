/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A group's keys.
 *
 *     M -> D   Master Key Data(group, K, sender ID, TGK)        one half
 *     M -> D   Security Parameters Data(group, K, RAND, addr)   the other; together they are installed
 *
 *     TEK[K]   = PRF(TGK[K],   0x2AD01C64 || cs_id || CSB_ID || RAND)             two devices' purpose keys likewise
 *     TGK[K+1] = PRF(TGK[K],   0x197A9E97 || cs_id || CSB_ID || RAND || K+1)      steps of one generation
 *
 * K+1 is derived once, when it is first seen, and kept; what lies further ahead is derived at most once
 * a second, because anybody can send an epoch and only the tag tells a member's from a stranger's.
 */
#include <iotsec/csb.h>

#include <string.h>

#include "base/bytes.h"
#include "hal/crypto.h"

/* csb->half.flags */
#define HALF_MASTER 1u
#define HALF_PARAMETERS 2u
#define HALF_EVICTION 4u /* the parameters drop the previous key at once */

/* csb->ahead[]: what is kept, and what an outsider's epoch may replace once a second */
#define NEXT 0u
#define FURTHER 1u

#define LABEL_BYTES (4u + 1u + 4u + IOTSEC_KEY_BYTES)

#define GENERATION(key_number) ((key_number) >> 8)

/* PRF over the one layout that the derivations share: the ratchet's with K in it, a key's (K = 0) without. */
static enum iotsec_status derive(const struct iotsec_hal *hal, uint8_t cs_id, uint32_t csb_id, uint32_t key_number,
                                 const uint8_t *rand, const uint8_t *from, uint8_t *to)
{
    uint8_t label[LABEL_BYTES + 4u];
    uint8_t out[IOTSEC_KEY_BYTES];
    uint32_t constant = IOTSEC_TEK_CONSTANT;
    size_t len = LABEL_BYTES;
    enum iotsec_status status;

    label[4] = cs_id;
    iotsec_put_u32(label + 5, csb_id);
    memcpy(label + 9, rand, IOTSEC_KEY_BYTES);
    if (key_number != 0) {
        iotsec_put_u32(label + LABEL_BYTES, key_number);
        constant = IOTSEC_RATCHET_CONSTANT;
        len += 4;
    }
    iotsec_put_u32(label, constant);
    status = iotsec_mikey_prf(hal, from, IOTSEC_KEY_BYTES, label, len, out, sizeof out);
    if (status == IOTSEC_OK) {
        memcpy(to, out, sizeof out);
    }
    iotsec_wipe(out, sizeof out);
    iotsec_wipe(label, sizeof label); /* RAND is for members only */
    return status;
}

enum iotsec_status iotsec_csb_purpose_key(const struct iotsec_hal *hal, uint8_t cs_id, uint32_t csb_id,
                                          const uint8_t tgk[IOTSEC_KEY_BYTES], const uint8_t rand[IOTSEC_KEY_BYTES],
                                          uint8_t key[IOTSEC_KEY_BYTES])
{
    return cs_id != 0 ? derive(hal, cs_id, csb_id, 0, rand, tgk, key) : IOTSEC_ERR_ARGUMENT;
}

enum iotsec_status iotsec_csb_derive_tek(const struct iotsec_hal *hal, uint16_t group_id, const uint8_t tgk[IOTSEC_KEY_BYTES],
                                         const uint8_t rand[IOTSEC_KEY_BYTES], uint8_t tek[IOTSEC_KEY_BYTES])
{
    return iotsec_csb_purpose_key(hal, IOTSEC_CS_ID_GROUP, group_id, tgk, rand, tek);
}

enum iotsec_status iotsec_csb_ratchet(const struct iotsec_hal *hal, uint16_t group_id, uint32_t key_number,
                                      const uint8_t rand[IOTSEC_KEY_BYTES], const uint8_t from[IOTSEC_KEY_BYTES],
                                      uint8_t to[IOTSEC_KEY_BYTES])
{
    return derive(hal, IOTSEC_CS_ID_GROUP, group_id, key_number, rand, from, to);
}

uint32_t iotsec_csb_next_generation(uint32_t key_number)
{
    uint32_t generation = GENERATION(key_number) + 1u;

    if ((generation & 0xFFu) == 0) {
        generation++; /* its epochs would look like unicast ones */
    }
    return generation > 0xFFFFFFu ? 0 : generation << 8;
}

void iotsec_csb_init(struct iotsec_csb *csb, uint16_t group_id)
{
    memset(csb, 0, sizeof *csb);
    csb->group_id = group_id;
}

void iotsec_csb_wipe(struct iotsec_csb *csb)
{
    iotsec_wipe(csb, sizeof *csb);
}

/* ---- Two halves, one installation ---- */

void iotsec_csb_forget_half(struct iotsec_csb *csb)
{
    iotsec_wipe(&csb->half, sizeof csb->half);
}

static void drop_previous(struct iotsec_csb *csb)
{
    csb->previous_key_number = 0;
    iotsec_wipe(csb->previous_tek, sizeof csb->previous_tek);
}

/* The one way in which K changes: the step's keys become the current ones, and no older TGK is left. */
static void move_to(struct iotsec_csb *csb, const struct iotsec_hal *hal, const struct iotsec_csb_step *step, bool keep_previous)
{
    uint32_t now = hal->now_ms(hal->user);

    drop_previous(csb);
    if (keep_previous) {
        csb->previous_key_number = csb->key_number;
        csb->previous_sender_id = csb->sender_id;
        csb->previous_until = now + IOTSEC_PREVIOUS_KEY_MS;
        memcpy(csb->previous_tek, csb->tek, sizeof csb->previous_tek);
    }
    csb->key_number = step->key_number;
    memcpy(csb->tgk, step->tgk, sizeof csb->tgk);
    memcpy(csb->tek, step->tek, sizeof csb->tek);
    csb->derived_at = now - IOTSEC_DERIVE_INTERVAL_MS;
    iotsec_wipe(csb->ahead, sizeof csb->ahead);
    if (csb->half.step.key_number <= csb->key_number) {
        iotsec_csb_forget_half(csb); /* it may be an older TGK */
    }
}

static bool key_number_legal(uint32_t key_number)
{
    return (key_number & 0xFF00u) != 0;
}

/* Makes a half of this number the one that waits. False: a newer one does, which an older must not push out. */
static bool start_half(struct iotsec_csb *csb, uint32_t key_number)
{
    if (key_number < csb->half.step.key_number) {
        return false;
    }
    if (key_number != csb->half.step.key_number) {
        csb->half.step.key_number = key_number;
        csb->half.flags = 0;
    }
    return true;
}

/* Installs the pair, once both halves are there. */
static enum iotsec_status install_pair(struct iotsec_csb *csb, const struct iotsec_hal *hal)
{
    uint32_t generation = GENERATION(csb->half.step.key_number);
    uint16_t sender_id = csb->half.sender_id;
    enum iotsec_status status;
    bool keep_previous;

    if ((csb->half.flags & (HALF_MASTER | HALF_PARAMETERS)) != (HALF_MASTER | HALF_PARAMETERS)) {
        return IOTSEC_ERR_PENDING;
    }
    status = iotsec_csb_derive_tek(hal, csb->group_id, csb->half.step.tgk, csb->half.rand, csb->half.step.tek);
    if (status != IOTSEC_OK) {
        return status; /* the halves stay: when they are repeated, this is tried again */
    }
    /* Across a gap of generations an eviction may have been missed: the old key is kept only where there is none.
     * A manager with an old copy of its registry comes to a number for the second time: another RAND, another
     * generation, whose sender IDs belong to others. */
    keep_previous = csb->key_number != 0 && (csb->half.flags & HALF_EVICTION) == 0 &&
                    ((generation == GENERATION(csb->key_number) &&
                      iotsec_ct_equal(csb->half.rand, csb->rand, sizeof csb->rand)) ||
                     generation == GENERATION(iotsec_csb_next_generation(csb->key_number)));
    memcpy(csb->rand, csb->half.rand, sizeof csb->rand);
    csb->addr = csb->half.addr;
    move_to(csb, hal, &csb->half.step, keep_previous); /* wipes the half */
    if (csb->sender_id != sender_id) {
        csb->sender_id = sender_id;
        csb->counter = 0; /* a kept ID goes on instead: none of its counters is ever used again */
    }
    return IOTSEC_OK;
}

enum iotsec_status iotsec_csb_master_key(struct iotsec_csb *csb, const struct iotsec_hal *hal, uint32_t key_number,
                                         uint16_t sender_id, const uint8_t tgk[IOTSEC_KEY_BYTES])
{
    if (!key_number_legal(key_number) || sender_id < IOTSEC_SENDER_ID_MIN || sender_id > IOTSEC_SENDER_ID_MAX) {
        return IOTSEC_ERR_ARGUMENT;
    }
    if (key_number == csb->key_number && !iotsec_ct_equal(tgk, csb->tgk, sizeof csb->tgk)) {
        return IOTSEC_ERR_KEY_CONFLICT;
    }
    if (key_number <= csb->key_number) {
        return IOTSEC_ERR_EXISTS;
    }
    if (!start_half(csb, key_number)) {
        return IOTSEC_ERR_PENDING;
    }
    csb->half.flags |= HALF_MASTER;
    csb->half.sender_id = sender_id;
    memcpy(csb->half.step.tgk, tgk, sizeof csb->half.step.tgk);
    return install_pair(csb, hal);
}

enum iotsec_status iotsec_csb_parameters(struct iotsec_csb *csb, const struct iotsec_hal *hal, uint32_t key_number,
                                         const uint8_t rand[IOTSEC_KEY_BYTES], const struct iotsec_addr *addr, int eviction)
{
    if (!key_number_legal(key_number) || !iotsec_addr_is_multicast(addr)) {
        return IOTSEC_ERR_ARGUMENT;
    }
    if (key_number <= csb->key_number) {
        return IOTSEC_ERR_EXISTS;
    }
    if (!start_half(csb, key_number)) {
        return IOTSEC_ERR_PENDING;
    }
    csb->half.flags = (uint8_t)((csb->half.flags & HALF_MASTER) | HALF_PARAMETERS | (eviction ? HALF_EVICTION : 0));
    csb->half.addr = *addr;
    memcpy(csb->half.rand, rand, sizeof csb->half.rand);
    return install_pair(csb, hal);
}

/* ---- A record's key ---- */

/* Derives the keys of a step ahead, unless they are the ones that stand there already. */
static enum iotsec_status derive_step(const struct iotsec_csb *csb, const struct iotsec_hal *hal, struct iotsec_csb_step *step,
                                      uint32_t key_number)
{
    const uint8_t *from = csb->tgk;
    enum iotsec_status status = IOTSEC_OK;
    uint32_t k;

    if (step->key_number == key_number) {
        return IOTSEC_OK;
    }
    step->key_number = 0; /* nothing half derived can be committed */
    for (k = csb->key_number; status == IOTSEC_OK && k != key_number; from = step->tgk) {
        k++;
        status = iotsec_csb_ratchet(hal, csb->group_id, k, csb->rand, from, step->tgk);
    }
    if (status == IOTSEC_OK) {
        status = iotsec_csb_derive_tek(hal, csb->group_id, step->tgk, csb->rand, step->tek);
    }
    if (status == IOTSEC_OK) {
        step->key_number = key_number;
    }
    return status;
}

/* Where one of our own generation's epochs stands that is not the current one: `distance` steps ahead, or (wrapped) behind. */
static enum iotsec_csb_place find_ahead(struct iotsec_csb *csb, uint32_t now, uint32_t key_number, struct iotsec_csb_step **step)
{
    uint32_t distance = key_number - csb->key_number;

    if (distance > IOTSEC_STEPS_AHEAD_MAX) {
        return key_number < csb->key_number ? IOTSEC_CSB_BEHIND : IOTSEC_CSB_UNREACHABLE;
    }
    *step = &csb->ahead[distance == 1 ? NEXT : FURTHER];
    if (distance != 1 && (*step)->key_number != key_number) {
        if (now - csb->derived_at < IOTSEC_DERIVE_INTERVAL_MS) {
            return IOTSEC_CSB_LATER;
        }
        csb->derived_at = now;
    }
    return IOTSEC_CSB_AHEAD;
}

enum iotsec_status iotsec_csb_key(struct iotsec_csb *csb, const struct iotsec_hal *hal, uint16_t epoch,
                                  enum iotsec_csb_place *place, const uint8_t **tek, uint32_t *key_number)
{
    /* the epoch's high byte names a generation among its neighbours; its low byte is the step */
    uint32_t k = (csb->key_number & ~0xFFu) | (epoch & 0xFFu);
    uint32_t now = hal->now_ms(hal->user);
    enum iotsec_csb_place at = IOTSEC_CSB_UNREACHABLE;
    enum iotsec_status status = IOTSEC_OK;
    const uint8_t *found = NULL;
    struct iotsec_csb_step *step;

    (void)iotsec_csb_expire(csb, now);
    if (csb->previous_key_number != 0 && epoch == (uint16_t)csb->previous_key_number) {
        at = IOTSEC_CSB_PREVIOUS;
        found = csb->previous_tek;
        k = csb->previous_key_number;
    } else if (csb->key_number != 0 && (uint16_t)k == epoch) {
        if (k == csb->key_number) {
            at = IOTSEC_CSB_CURRENT;
            found = csb->tek;
        } else {
            at = find_ahead(csb, now, k, &step);
            if (at == IOTSEC_CSB_AHEAD) {
                status = derive_step(csb, hal, step, k);
                found = status == IOTSEC_OK ? step->tek : NULL;
            }
        }
    }
    *place = at;
    *tek = found;
    *key_number = found != NULL ? k : 0;
    return status;
}

enum iotsec_status iotsec_csb_advance(struct iotsec_csb *csb, const struct iotsec_hal *hal, uint32_t key_number)
{
    struct iotsec_csb_step *step = &csb->ahead[key_number == csb->key_number + 1u ? NEXT : FURTHER];

    if (key_number == 0 || step->key_number != key_number) {
        return IOTSEC_ERR_STATE;
    }
    move_to(csb, hal, step, true);
    return IOTSEC_OK;
}

enum iotsec_status iotsec_csb_take_counter(struct iotsec_csb *csb, uint32_t *counter)
{
    if (csb->key_number == 0) {
        return IOTSEC_ERR_STATE;
    }
    if (csb->counter >= IOTSEC_GROUP_COUNTER_HARD) {
        return IOTSEC_ERR_COUNTER;
    }
    *counter = csb->counter++;
    return IOTSEC_OK;
}

uint32_t iotsec_csb_expire(struct iotsec_csb *csb, uint32_t now_ms)
{
    if (csb->previous_key_number == 0) {
        return UINT32_MAX;
    }
    if (iotsec_time_reached(now_ms, csb->previous_until)) {
        drop_previous(csb);
        return UINT32_MAX;
    }
    return csb->previous_until - now_ms;
}
