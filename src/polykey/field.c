/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Horner's rule in the field of p = 2^127 - 1, with multiplications of 32 bits only.
 *
 * A number is ten limbs of 13 bits, the lowest first; 2^130 = 8 mod p. With the point's limbs x, column k of
 * a sum times the point is
 *
 *     a_0 x_k + ... + a_k x_0  +  8 (a_k+1 x_9 + ... + a_9 x_k+1)
 *
 * that is, the ten limbs of a times ten neighbours in  x_9 ... x_0, 8 x_9 ... 8 x_0,  from x_k on. So all columns are
 * one loop, and nothing in it depends on a number. The coefficient's limbs and the carry are added to the columns.
 *
 * Every column fits 32 bits. A step leaves a_0, a_2 ... a_8 <= 8191 (13 bits), a_9 <= 1023 (10 bits) and
 * a_1 <= 8191 + 68; x_0 ... x_8 <= 8191, x_9 <= 2047 (for any 16 bytes); a coefficient adds less than 2^16 to column 0 and
 * less than 2^28 to others (see unpack). Then
 *   - column 0, the largest, is at most 8191 8191 + 8 (8259 2047 + 7 8191 8191 + 1023 8191) + 2^16 < 0.94 2^32,
 *   - each next one has one product of at most 8 8191 8191 less and one of at most 8259 8191 more: column 1 is below
 *     0.84 2^32, which leaves room for 2^28 and the carry of 2^19; the products of column 4 are below 0.5 2^32,
 *   - column 9 is at most 8191 2047 + 8259 8191 + 7 8191 8191 + 1023 8191 + 2^19, so that what it has beyond 10 bits is
 *     at most 549985; added to a_0 that leaves a_1 a carry of at most (8191 + 549985) / 8192 < 69.
 *
 * ARM7's multiplier stops early when the upper bytes of one of its operands are all zeros or all ones, and it is the
 * compiler that chooses which one that is. Therefore limbs of a sum are kept with 2^16 added: seen from the multiplier, they
 * are 17 bits long whatever they are. The point is not secret. What the 2^16 add to column k, 2^16 times the sum of its ten
 * neighbours, is taken off when the column begins; modulo 2^32 nothing is lost by it.
 */
#include <iotsec/polykey.h>

#if IOTSEC_PAIRWISE

#include "base/bytes.h"

#define LIMBS IOTSEC_POLY_LIMBS
#define LIMB_BITS 13u
#define LIMB_MASK 0x1FFFu
#define TOP_BITS 10u /* of the highest limb: 127 - 9 * 13 */
#define TOP_MASK 0x3FFu
#define LONG 0x10000u /* makes limbs equally long for the multiplier */

/*
 * 128 bits as limbs that are not normalised: each 16 bits stand in the limb that their lowest bit belongs to. Bits 0, 16, 32,
 * 48 and 64 are bit 0, 3, 6, 9 and 12 of limbs 0 to 4; bits 80, 96 and 112 are bit 2, 5 and 8 of limbs 6, 7 and 8.
 */
static void unpack(uint32_t limbs[LIMBS], const uint8_t element[IOTSEC_POLY_ELEMENT_BYTES])
{
    const uint8_t *from = element + IOTSEC_POLY_ELEMENT_BYTES;
    unsigned shift = 0;

    while (from != element) {
        from -= 2;
        if (shift >= LIMB_BITS) {
            shift -= LIMB_BITS;
            *limbs++ = 0;
        }
        *limbs++ = ((uint32_t)from[0] << 8 << shift) + ((uint32_t)from[1] << shift);
        shift += 16 - LIMB_BITS;
    }
    *limbs = 0;
}

void iotsec_polykey_sum_start(struct iotsec_polykey_sum *sum, const uint8_t point[IOTSEC_POLY_ELEMENT_BYTES])
{
    uint32_t *limbs = sum->sum[1]; /* free until the first step */
    uint32_t weight = 0;
    uint32_t carry = 0;
    unsigned k;

    unpack(limbs, point);
    for (k = 0; k < LIMBS; k++) {
        carry += limbs[k];
        limbs[k] = carry & LIMB_MASK;
        carry >>= LIMB_BITS;
        weight += limbs[k];
        sum->sum[0][k] = LONG;
        sum->point[LIMBS - 1 - k] = limbs[k];
        sum->point[2 * LIMBS - 1 - k] = 8 * limbs[k];
    }
    /* weight is that of column 9 now; the neighbours of the column before it begin with 8 x_9 and not with x_9 */
    while (k-- != 0) {
        sum->start[k] = (0u - weight) * LONG;
        weight += 7 * limbs[k];
    }
    sum->turn = 0;
}

/* A column. Not inline: alone it finds all it needs in registers. */
#if defined(__GNUC__)
__attribute__((noinline))
#endif
static uint32_t add_products(uint32_t column, const uint32_t *a, const uint32_t *x)
{
    const uint32_t *end = a + LIMBS;

    do {
        column += *a++ * *x++;
        column += *a++ * *x++;
    } while (a != end);
    return column;
}

/* to = from * point + coefficient */
static void step(const struct iotsec_polykey_sum *sum, uint32_t *to, const uint32_t *from, const uint8_t *coefficient)
{
    uint32_t column = 0;
    unsigned k;

    unpack(to, coefficient);
    for (k = 0; k < LIMBS; k++) {
        column = add_products(column + to[k] + sum->start[k], from, sum->point + (LIMBS - 1 - k));
        to[k] = (column & LIMB_MASK) + LONG;
        column >>= LIMB_BITS;
    }
    /* 2^127 = 1 */
    column = column << (LIMB_BITS - TOP_BITS) | (to[LIMBS - 1] & LIMB_MASK) >> TOP_BITS;
    to[LIMBS - 1] = (to[LIMBS - 1] & TOP_MASK) + LONG;
    column += to[0] & LIMB_MASK;
    to[0] = (column & LIMB_MASK) + LONG;
    to[1] += column >> LIMB_BITS;
}

void iotsec_polykey_sum_add(struct iotsec_polykey_sum *sum, const uint8_t *coefficients, size_t count)
{
    const uint8_t *next = coefficients + count * IOTSEC_POLY_ELEMENT_BYTES;

    while (next != coefficients) {
        next -= IOTSEC_POLY_ELEMENT_BYTES;
        step(sum, sum->sum[sum->turn ^ 1u], sum->sum[sum->turn], next);
        sum->turn ^= 1u;
    }
}

void iotsec_polykey_sum_finish(struct iotsec_polykey_sum *sum, uint8_t value[IOTSEC_POLY_ELEMENT_BYTES])
{
    uint32_t carry = 1;
    unsigned round;

    /*
     * The sum v is below 2 p. Round 0: carry becomes 1 if v + 1 is 2^127 or more, which is that v is p or more. Then v - p is
     * v + 1 without bit 127, and that is what round 1 writes; v otherwise.
     */
    for (round = 0; round < 2; round++) {
        const uint32_t *limb = sum->sum[sum->turn];
        uint32_t bits = carry;
        unsigned have = 0;
        unsigned at = IOTSEC_POLY_ELEMENT_BYTES;

        while (at != 0) {
            if (have < 8) {
                bits += (*limb++ - LONG) << have;
                have += LIMB_BITS;
            }
            value[--at] = (uint8_t)bits;
            bits >>= 8;
            have -= 8;
        }
        carry = value[0] >> 7;
    }
    value[0] &= 0x7F;
    iotsec_wipe(sum, sizeof *sum);
}

#endif
