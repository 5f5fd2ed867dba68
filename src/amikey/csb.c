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
 * What lies ahead is derived when it is seen and one step of it is kept: K+1 whenever it is not that one, others at most
 * once a second, because anybody can send an epoch and only the tag tells a member's from a stranger's.
 */
#include <iotsec/csb.h>

#include <string.h>

#include "base/bytes.h"
#include "hal/crypto.h"

/* csb->half.flags */
#define HALF_MASTER 1u
#define HALF_PARAMETERS 2u
#define HALF_EVICTION 4u /* the parameters drop the previous key at once */

#define HASH_BLOCK 64u
#define DIGEST 32u
#define LABEL_BYTES (4u + 1u + 4u + IOTSEC_KEY_BYTES)

#define GENERATION(key_number) ((key_number) >> 8)

/*
 * RFC 3830's PRF over the one layout that the derivations share. `number` is a K of the ratchet, or below 256 the cs_id of a
 * key. Inkey and output have 16 bytes here: one block, one round. P(inkey, label) is then
 *
 *     A = HMAC(inkey, label), out = HMAC(inkey, A || label)
 *
 * or four hashes, each over a padded inkey, what the hash before it gave, and, in the inner ones, the label. The padded
 * inkeys are hashed twice, because their hash states would be the largest thing on the stack.
 */
static enum iotsec_status derive(const struct iotsec_hal *hal, uint32_t csb_id, uint32_t number, const uint8_t *rand,
                                 const uint8_t *from, uint8_t *to)
{
    struct {
        uint8_t pad[HASH_BLOCK];
        uint8_t digest[DIGEST];
        uint8_t label[LABEL_BYTES + 4u];
    } s;
    struct iotsec_slice parts[2];
    size_t count = 2;
    unsigned mask = 0x36;
    unsigned left = 4;
    enum iotsec_status status = IOTSEC_OK;
    size_t i;

    memset(&s, 0, sizeof s);
    memcpy(s.pad, from, IOTSEC_KEY_BYTES);
    parts[0].data = (const uint8_t *)&s; /* runs on into the digest */
    parts[0].len = sizeof s.pad;
    parts[1].data = s.label;
    parts[1].len = LABEL_BYTES;
    iotsec_put_u32(s.label, IOTSEC_TEK_CONSTANT);
    s.label[4] = (uint8_t)number;
    iotsec_put_u32(s.label + 5, csb_id);
    memcpy(s.label + 9, rand, IOTSEC_KEY_BYTES);
    if (number >= 0x100u) {
        iotsec_put_u32(s.label, IOTSEC_RATCHET_CONSTANT);
        s.label[4] = IOTSEC_CS_ID_GROUP;
        iotsec_put_u32(s.label + LABEL_BYTES, number);
        parts[1].len += 4;
    }
    while (left-- != 0 && status == IOTSEC_OK) {
        for (i = 0; i < sizeof s.pad; i++) {
            s.pad[i] = (uint8_t)(s.pad[i] ^ mask);
        }
        mask = 0x36 ^ 0x5C; /* from one to the other */
        status = iotsec_sha256(hal, parts, count, s.digest);
        parts[0].len = sizeof s.pad + sizeof s.digest;
        count ^= 3u;
    }
    if (status == IOTSEC_OK) {
        memcpy(to, s.digest, IOTSEC_KEY_BYTES);
    }
    iotsec_wipe(&s, sizeof s); /* RAND is for members only */
    return status;
}

enum iotsec_status iotsec_csb_purpose_key(const struct iotsec_hal *hal, uint8_t cs_id, uint32_t csb_id,
                                          const uint8_t tgk[IOTSEC_KEY_BYTES], const uint8_t rand[IOTSEC_KEY_BYTES],
                                          uint8_t key[IOTSEC_KEY_BYTES])
{
    return cs_id != 0 ? derive(hal, csb_id, cs_id, rand, tgk, key) : IOTSEC_ERR_ARGUMENT;
}

enum iotsec_status iotsec_csb_derive_tek(const struct iotsec_hal *hal, uint16_t group_id, const uint8_t tgk[IOTSEC_KEY_BYTES],
                                         const uint8_t rand[IOTSEC_KEY_BYTES], uint8_t tek[IOTSEC_KEY_BYTES])
{
    return derive(hal, group_id, IOTSEC_CS_ID_GROUP, rand, tgk, tek);
}

enum iotsec_status iotsec_csb_ratchet(const struct iotsec_hal *hal, uint16_t group_id, uint32_t key_number,
                                      const uint8_t rand[IOTSEC_KEY_BYTES], const uint8_t from[IOTSEC_KEY_BYTES],
                                      uint8_t to[IOTSEC_KEY_BYTES])
{
    return derive(hal, group_id, key_number, rand, from, to);
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

/* The one way in which K changes: the keys in `ahead` become the current ones, and no older TGK is left. */
static void move(struct iotsec_csb *csb, const struct iotsec_hal *hal, bool keep_previous)
{
    uint32_t now = hal->now_ms(hal->user);

    drop_previous(csb);
    if (keep_previous) {
        csb->previous_key_number = csb->key_number;
        csb->previous_sender_id = csb->sender_id;
        csb->previous_until = now + IOTSEC_PREVIOUS_KEY_MS;
        memcpy(csb->previous_tek, csb->tek, sizeof csb->previous_tek);
    }
    csb->key_number = csb->ahead.key_number;
    memcpy(csb->tgk, csb->ahead.tgk, sizeof csb->tgk);
    memcpy(csb->tek, csb->ahead.tek, sizeof csb->tek);
    csb->derived_at = now - IOTSEC_DERIVE_INTERVAL_MS;
    iotsec_wipe(&csb->ahead, sizeof csb->ahead);
    if (csb->half.key_number <= csb->key_number) {
        iotsec_csb_forget_half(csb); /* it may be an older TGK */
    }
}

/* The step's TGK stands in `ahead`: its TEK too, and only then it is a step's. */
static enum iotsec_status finish_ahead(struct iotsec_csb *csb, const struct iotsec_hal *hal, const uint8_t *rand,
                                       uint32_t key_number)
{
    enum iotsec_status status = iotsec_csb_derive_tek(hal, csb->group_id, csb->ahead.tgk, rand, csb->ahead.tek);

    csb->ahead.key_number = status == IOTSEC_OK ? key_number : 0;
    return status;
}

/* Makes a half of this number the one that waits. */
static enum iotsec_status start_half(struct iotsec_csb *csb, uint32_t key_number, unsigned flags)
{
    struct iotsec_csb_half *half = &csb->half;

    if ((key_number & 0xFF00u) == 0) {
        return IOTSEC_ERR_ARGUMENT;
    }
    if (key_number <= csb->key_number) {
        return IOTSEC_ERR_EXISTS;
    }
    if (key_number < half->key_number) {
        return IOTSEC_ERR_PENDING; /* a newer one waits, which an older must not push out */
    }
    if (key_number != half->key_number) {
        half->key_number = key_number;
        half->flags = 0;
    }
    half->flags = (uint8_t)(half->flags | flags);
    return IOTSEC_OK;
}

enum iotsec_status iotsec_csb_master_key(struct iotsec_csb *csb, uint32_t key_number, uint16_t sender_id,
                                         const uint8_t tgk[IOTSEC_KEY_BYTES])
{
    enum iotsec_status status = IOTSEC_ERR_ARGUMENT;

    if (sender_id >= IOTSEC_SENDER_ID_MIN && sender_id <= IOTSEC_SENDER_ID_MAX) {
        status = start_half(csb, key_number, HALF_MASTER);
    }
    if (status == IOTSEC_OK) {
        csb->half.sender_id = sender_id;
        memcpy(csb->half.tgk, tgk, sizeof csb->half.tgk);
    }
    if (status == IOTSEC_ERR_EXISTS && key_number == csb->key_number && !iotsec_ct_equal(tgk, csb->tgk, sizeof csb->tgk)) {
        status = IOTSEC_ERR_KEY_CONFLICT;
    }
    return status;
}

enum iotsec_status iotsec_csb_parameters(struct iotsec_csb *csb, uint32_t key_number, const uint8_t rand[IOTSEC_KEY_BYTES],
                                         const struct iotsec_addr *addr, int eviction)
{
    enum iotsec_status status = IOTSEC_ERR_ARGUMENT;

    if (iotsec_addr_is_multicast(addr)) {
        status = start_half(csb, key_number, eviction ? HALF_PARAMETERS | HALF_EVICTION : HALF_PARAMETERS);
    }
    if (status == IOTSEC_OK) {
        csb->half.addr = *addr;
        memcpy(csb->half.rand, rand, sizeof csb->half.rand);
    }
    return status;
}

enum iotsec_status iotsec_csb_install(struct iotsec_csb *csb, const struct iotsec_hal *hal)
{
    const struct iotsec_csb_half *half = &csb->half;
    uint32_t generation = GENERATION(half->key_number);
    uint16_t sender_id = half->sender_id;
    enum iotsec_status status;
    bool keep_previous;

    if ((half->flags & (HALF_MASTER | HALF_PARAMETERS)) != (HALF_MASTER | HALF_PARAMETERS)) {
        return IOTSEC_ERR_PENDING;
    }
    memcpy(csb->ahead.tgk, half->tgk, sizeof csb->ahead.tgk); /* whatever stood there gives way */
    status = finish_ahead(csb, hal, half->rand, half->key_number);
    if (status != IOTSEC_OK) {
        return status; /* the halves stay: this can be tried again */
    }
    /* Across a gap of generations an eviction may have been missed: the old key is kept only where there is none.
     * A manager with an old copy of its registry comes to a number for the second time: another RAND, another
     * generation, whose sender IDs belong to others. */
    keep_previous = csb->key_number != 0 && (half->flags & HALF_EVICTION) == 0 &&
                    ((generation == GENERATION(csb->key_number) && iotsec_ct_equal(half->rand, csb->rand, sizeof csb->rand)) ||
                     generation == GENERATION(iotsec_csb_next_generation(csb->key_number)));
    memcpy(csb->rand, half->rand, sizeof csb->rand);
    csb->addr = half->addr;
    move(csb, hal, keep_previous); /* wipes the half */
    if (csb->sender_id != sender_id) {
        csb->sender_id = sender_id;
        csb->counter = 0; /* a kept ID goes on instead: none of its counters is ever used again */
    }
    return IOTSEC_OK;
}

/* ---- A record's key ---- */

/* Derives the keys of a step ahead. */
static enum iotsec_status derive_ahead(struct iotsec_csb *csb, const struct iotsec_hal *hal, uint32_t key_number)
{
    uint8_t *tgk = csb->ahead.tgk;
    enum iotsec_status status = IOTSEC_OK;
    uint32_t k = csb->key_number;

    csb->ahead.key_number = 0; /* nothing half derived can be committed */
    memcpy(tgk, csb->tgk, sizeof csb->tgk);
    while (status == IOTSEC_OK && k != key_number) {
        k++;
        status = derive(hal, csb->group_id, k, csb->rand, tgk, tgk);
    }
    return status == IOTSEC_OK ? finish_ahead(csb, hal, csb->rand, key_number) : status;
}

enum iotsec_csb_place iotsec_csb_key(struct iotsec_csb *csb, const struct iotsec_hal *hal, uint16_t epoch, const uint8_t **tek)
{
    uint32_t now = hal->now_ms(hal->user);
    int steps = epoch - (int)(csb->key_number & 0xFFFFu);
    uint32_t key_number = csb->key_number + (uint32_t)steps;

    *tek = csb->previous_tek;
    if (iotsec_csb_expire(csb, now) != UINT32_MAX && epoch == (uint16_t)csb->previous_key_number) {
        return IOTSEC_CSB_PREVIOUS;
    }
    *tek = csb->tek;
    if (csb->key_number != 0 && steps == 0) {
        return IOTSEC_CSB_CURRENT;
    }
    *tek = NULL;
    /* the epoch's high byte names a generation among its neighbours; its low byte is the step */
    if (csb->key_number == 0 || GENERATION(key_number) != GENERATION(csb->key_number) || steps > (int)IOTSEC_STEPS_AHEAD_MAX) {
        return IOTSEC_CSB_UNREACHABLE;
    }
    if (steps < 0) {
        return IOTSEC_CSB_BEHIND;
    }
    if (csb->ahead.key_number != key_number) {
        if (steps != 1) {
            if (now - csb->derived_at < IOTSEC_DERIVE_INTERVAL_MS) {
                return IOTSEC_CSB_LATER;
            }
            csb->derived_at = now;
        }
        if (derive_ahead(csb, hal, key_number) != IOTSEC_OK) {
            return IOTSEC_CSB_FAILED;
        }
    }
    *tek = csb->ahead.tek;
    return IOTSEC_CSB_AHEAD;
}

enum iotsec_status iotsec_csb_advance(struct iotsec_csb *csb, const struct iotsec_hal *hal)
{
    if (csb->ahead.key_number == 0) {
        return IOTSEC_ERR_STATE;
    }
    move(csb, hal, true);
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
    uint32_t left = iotsec_time_left(now_ms, csb->previous_until);

    if (left == 0) {
        drop_previous(csb);
    }
    return csb->previous_key_number != 0 ? left : UINT32_MAX;
}
