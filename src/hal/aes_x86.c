/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AES-128 as Intel's and AMD's processors compute it (FIPS 197; Intel's "Advanced Encryption Standard (AES) New
 * Instructions Set"): a round is one instruction, and takes the same time whatever the key and the text are.
 *
 * A block is cheap here, and what surrounds it is not: hence ccm_step, which does two of them in one call.
 */
#include "hal/aes_x86.h"

#if IOTSEC_AES_X86

#include <cpuid.h>
#include <wmmintrin.h>

#include "base/bytes.h"

#define ROUNDS 10

/* The program runs on processors without these instructions too, so only these functions may contain them. */
#define AES_CODE __attribute__((target("aes,sse2")))

/* Round keys, in the caller's storage, which is aligned for words only. */
typedef char iotsec_aes_context_bytes_is_large_enough_for_x86[(ROUNDS + 1) * 16 <= IOTSEC_AES_CONTEXT_BYTES ? 1 : -1];

static AES_CODE inline __m128i load(const void *from)
{
    return _mm_loadu_si128((const __m128i *)from);
}

static AES_CODE inline void store(void *to, __m128i block)
{
    _mm_storeu_si128((__m128i *)to, block);
}

static inline __m128i *round_key(struct iotsec_aes *aes, int round)
{
    return (__m128i *)(void *)(aes->storage + 2 * round);
}

int iotsec_aes_x86_usable(void)
{
    unsigned a;
    unsigned b;
    unsigned c;
    unsigned d;

    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_AES) != 0;
}

/*
 * The next round's key. Each word is the sum of the words up to it of the key before, and of what the assistant
 * instruction made of that key's last word: substituted, rotated, with the round's constant.
 */
static AES_CODE inline __m128i next_key(__m128i key, __m128i assistance)
{
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
    return _mm_xor_si128(key, _mm_shuffle_epi32(assistance, 0xFF));
}

/* The constant is part of the instruction. */
#define EXPAND(round, constant)                             \
    k = next_key(k, _mm_aeskeygenassist_si128(k, constant)); \
    store(round_key(aes, round), k)

AES_CODE int iotsec_aes_x86_start(void *user, struct iotsec_aes *aes, const uint8_t key[16])
{
    __m128i k = load(key);

    (void)user;
    store(round_key(aes, 0), k);
    EXPAND(1, 0x01);
    EXPAND(2, 0x02);
    EXPAND(3, 0x04);
    EXPAND(4, 0x08);
    EXPAND(5, 0x10);
    EXPAND(6, 0x20);
    EXPAND(7, 0x40);
    EXPAND(8, 0x80);
    EXPAND(9, 0x1B);
    EXPAND(10, 0x36);
    return 0;
}

static AES_CODE inline __m128i encrypt(struct iotsec_aes *aes, __m128i block)
{
    int round;

    block = _mm_xor_si128(block, load(round_key(aes, 0)));
#pragma GCC unroll 9
    for (round = 1; round < ROUNDS; round++) {
        block = _mm_aesenc_si128(block, load(round_key(aes, round)));
    }
    return _mm_aesenclast_si128(block, load(round_key(aes, ROUNDS)));
}

AES_CODE int iotsec_aes_x86_encrypt(void *user, struct iotsec_aes *aes, const uint8_t in[16], uint8_t out[16])
{
    (void)user;
    store(out, encrypt(aes, load(in)));
    return 0;
}

void iotsec_aes_x86_done(void *user, struct iotsec_aes *aes)
{
    (void)user;
    iotsec_wipe(aes->storage, (ROUNDS + 1) * 16);
}

AES_CODE int iotsec_aes_x86_ccm_step(void *user, struct iotsec_aes *aes, int opening, const uint8_t counter[16],
                                     uint8_t mac[16], const uint8_t in[16], uint8_t out[16])
{
    __m128i text = load(in);
    __m128i other = _mm_xor_si128(text, encrypt(aes, load(counter)));

    (void)user;
    store(out, other);
    store(mac, encrypt(aes, _mm_xor_si128(load(mac), opening ? other : text)));
    return 0;
}

#endif
