/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What tests/scripts/test_polykey_time.sh traces: two devices' keys, for one share and pair of identities after the other. The
 * script cuts the trace where iotsec_polykey_keys begins. SHA-256 is the platform's; the one here is only as different from
 * message to message as its points and keys have to be.
 */
#include <string.h>

#include <iotsec/polykey.h>

#define T 7u
#define SHARE_BYTES ((T + 1) * IOTSEC_POLY_ELEMENT_BYTES)
#define IDENTITY_BYTES 16u

static int sha256_start(void *user, struct iotsec_sha256 *sha)
{
    (void)user;
    memset(sha, 0, sizeof *sha);
    return 0;
}

static int sha256_update(void *user, struct iotsec_sha256 *sha, const uint8_t *data, size_t len)
{
    uint8_t *state = (uint8_t *)sha->storage;
    uint8_t *at = state + 32;

    (void)user;
    while (len-- != 0) {
        unsigned last = state[(*at + 31u) % 32];

        state[*at % 32] = (uint8_t)((state[*at % 32] ^ *data++ ^ last << 3 ^ last >> 2) * 167u + 13u);
        ++*at;
    }
    return 0;
}

static int sha256_clone(void *user, struct iotsec_sha256 *to, const struct iotsec_sha256 *from)
{
    (void)user;
    *to = *from;
    return 0;
}

static int sha256_finish(void *user, struct iotsec_sha256 *sha, uint8_t digest[32])
{
    static const uint8_t rounds[64];

    sha256_update(user, sha, rounds, sizeof rounds);
    memcpy(digest, sha->storage, 32);
    return 0;
}

static void sha256_abort(void *user, struct iotsec_sha256 *sha)
{
    (void)user;
    (void)sha;
}

static const struct iotsec_crypto crypto = {
    .sha256_start = sha256_start,
    .sha256_update = sha256_update,
    .sha256_clone = sha256_clone,
    .sha256_finish = sha256_finish,
    .sha256_abort = sha256_abort,
};
static const struct iotsec_hal hal = { .crypto = &crypto };

enum share { ZEROS, LARGEST, RANDOM, OTHER_RANDOM, HIGH_BITS, LOW_BITS, NO_ELEMENTS };

static void fill(uint8_t *share, enum share kind)
{
    uint32_t dice = kind == RANDOM ? 1 : 0x9E3779B9u;
    size_t i;

    for (i = 0; i < SHARE_BYTES; i++) {
        size_t place = i % IOTSEC_POLY_ELEMENT_BYTES;

        dice = dice * 1664525u + 1013904223u;
        switch (kind) {
        case ZEROS:
            share[i] = 0;
            break;
        case LARGEST:
            share[i] = place == 0 ? 0x7F : place == 15 ? 0xFE : 0xFF;
            break;
        case HIGH_BITS:
            share[i] = place == 0 ? 0x40 : 0;
            break;
        case LOW_BITS:
            share[i] = place == 15;
            break;
        case NO_ELEMENTS:
            share[i] = 0xFF;
            break;
        default:
            share[i] = (uint8_t)(dice >> 24 & (place == 0 ? 0x7F : 0xFF));
        }
    }
}

int main(void)
{
    static const struct {
        enum share share;
        uint8_t degree;
        const char *own, *peer;
    } rows[] = {
        /* the same identities */
        { ZEROS, T, "the living room.", "the first switch" },
        { LARGEST, T, "the living room.", "the first switch" },
        { RANDOM, T, "the living room.", "the first switch" },
        { OTHER_RANDOM, T, "the living room.", "the first switch" },
        { HIGH_BITS, T, "the living room.", "the first switch" },
        { LOW_BITS, T, "the living room.", "the first switch" },
        { NO_ELEMENTS, T, "the living room.", "the first switch" },
        /* others of that length */
        { RANDOM, T, "the first switch", "the living room." },
        { RANDOM, T, "\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01",
          "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF" },
        { OTHER_RANDOM, T, "aaaaaaaaaaaaaaab", "aaaaaaaaaaaaaaaa" },
        /* another degree: this one is not to look like the others, or nothing was looked at */
        { RANDOM, T - 1, "the living room.", "the first switch" },
    };
    static uint8_t share[SHARE_BYTES];
    static uint8_t psk[IOTSEC_PAIR_PSK_BYTES], tgk[IOTSEC_KEY_BYTES];
    struct iotsec_polykey_pair pair;
    uint8_t own[IDENTITY_BYTES], peer[IDENTITY_BYTES]; /* in one place, so that addresses can be compared too */
    size_t i;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fill(share, rows[i].share);
        memcpy(own, rows[i].own, sizeof own);
        memcpy(peer, rows[i].peer, sizeof peer);
        pair.share = share;
        pair.degree = rows[i].degree;
        pair.generation = 1;
        pair.own = own;
        pair.own_len = sizeof own;
        pair.peer = peer;
        pair.peer_len = sizeof peer;
        if (iotsec_polykey_keys(&hal, &pair, psk, tgk) != IOTSEC_OK ||
            iotsec_polykey_are_elements(share, T + 1) != (rows[i].share != NO_ELEMENTS)) {
            return 1;
        }
    }
    return 0;
}
