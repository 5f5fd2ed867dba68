/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Pairwise keys without a server: a symmetric bivariate polynomial F of degree t over the prime field of 2^127 - 1
 * (Blundo et al.; draft-keoh-lwig-dtls-iot-01, sections 4.1 and 4.3.1; docs/protocol.md, section 14).
 *
 * The domain manager draws F(x, y) = F(y, x) = sum of a[i][j] x^i y^j. A device's identity is a point x; its share is
 * the polynomial F(x, y) in y: t + 1 coefficients, the one of y^0 first. Two devices evaluate their own share at each
 * other's point and get the same value, from which keys follow. t shares say nothing about another two devices' key,
 * t + 1 say everything.
 *
 * Elements of the field are numbers below 2^127 - 1, 16 bytes big endian. Which instructions run, and how many, does not
 * depend on elements, coefficients or values, only on degrees and lengths.
 *
 * Threads: these functions keep nothing; they are re-entrant.
 */
#ifndef IOTSEC_POLYKEY_H
#define IOTSEC_POLYKEY_H

#include <stddef.h>
#include <stdint.h>

#include "hal.h"
#include "protocol.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Limbs of 13 bits that hold an element with 3 bits to spare. */
#define IOTSEC_POLY_LIMBS 10

/** An evaluation in progress (Horner's rule). Secret; members are private. iotsec_polykey_sum_finish wipes it. */
struct iotsec_polykey_sum {
    uint32_t sum[2][IOTSEC_POLY_LIMBS];     /**< private: so far, and room for the next one */
    uint32_t point[2 * IOTSEC_POLY_LIMBS];  /**< private: where the polynomial is evaluated, prepared for the multiplication */
    uint32_t start[IOTSEC_POLY_LIMBS];      /**< private: what each column begins with */
    uint32_t turn;                          /**< private: which of the two is the sum */
};

/**
 * The point of an identity: SHA-256("iotsec point" || identity) modulo 2^127 - 1. Two identities of one domain
 * with the same point are refused by its registry.
 * @param hal crypto operations
 * @param identity any bytes
 * @param identity_len 1 to IOTSEC_IDENTITY_MAX
 * @param point IOTSEC_POLY_ELEMENT_BYTES bytes, written on success
 * @retval IOTSEC_OK written
 * @retval IOTSEC_ERR_ARGUMENT the length is out of range, or the point is 0 (which a share must not be evaluated at)
 * @retval IOTSEC_ERR_CRYPTO the HAL failed
 */
enum iotsec_status iotsec_polykey_point(const struct iotsec_hal *hal, const uint8_t *identity, size_t identity_len,
                                        uint8_t point[IOTSEC_POLY_ELEMENT_BYTES]);

/**
 * Whether all of some elements are below 2^127 - 1. Takes the same time whatever they are.
 * @param elements count times IOTSEC_POLY_ELEMENT_BYTES bytes
 * @param count their number
 * @return 1 if they are, 0 if any is not
 */
int iotsec_polykey_are_elements(const uint8_t *elements, size_t count);

/**
 * Draws random elements, each equally likely (by rejection: on average one in 2^127 is drawn again).
 * @param hal random numbers
 * @param elements count times IOTSEC_POLY_ELEMENT_BYTES bytes, written on success; wiped on failure
 * @param count their number
 * @retval IOTSEC_OK drawn
 * @retval IOTSEC_ERR_RANDOM no random numbers, or such that are no elements time after time
 */
enum iotsec_status iotsec_polykey_draw(const struct iotsec_hal *hal, uint8_t *elements, size_t count);

/**
 * Starts to evaluate a polynomial.
 * @param sum storage, the caller's
 * @param point the point, an element; not secret
 */
void iotsec_polykey_sum_start(struct iotsec_polykey_sum *sum, const uint8_t point[IOTSEC_POLY_ELEMENT_BYTES]);

/**
 * Takes the next coefficients, from the highest power down: sum = sum * point + coefficient, for each.
 * @param sum a started evaluation
 * @param coefficients count elements in the order of their powers, lowest first: the last one is taken first
 * @param count their number
 */
void iotsec_polykey_sum_add(struct iotsec_polykey_sum *sum, const uint8_t *coefficients, size_t count);

/**
 * Ends an evaluation and wipes it.
 * @param sum a started evaluation
 * @param value the element that it comes to, IOTSEC_POLY_ELEMENT_BYTES bytes
 */
void iotsec_polykey_sum_finish(struct iotsec_polykey_sum *sum, uint8_t value[IOTSEC_POLY_ELEMENT_BYTES]);

/** Two devices of a domain, as one of them sees it. Pointers are the caller's and need to stay valid during the call only. */
struct iotsec_polykey_pair {
    const uint8_t *share;    /**< own share: degree + 1 elements, that of y^0 first. Secret */
    uint8_t degree;          /**< t, 1 or more */
    uint32_t generation;     /**< of the polynomial, 1 or more */
    const uint8_t *own;      /**< own identity */
    size_t own_len;          /**< 1 to IOTSEC_IDENTITY_MAX */
    const uint8_t *peer;     /**< the other's identity */
    size_t peer_len;         /**< 1 to IOTSEC_IDENTITY_MAX */
};

/**
 * The keys that two devices share: the PSK of their handshake and the TGK of their crypto session bundle.
 *
 *     PSK = HMAC-SHA-256(F(x1, x2), "iotsec pair psk" || generation || len || ID || len || ID)
 *     TGK = the first 16 bytes of HMAC-SHA-256(F(x1, x2), "iotsec pair tgk" || generation || len || ID || len || ID)
 *
 * with the generation as 4 bytes, big endian, a length as one byte, and the smaller identity first: as bytes, and if one
 * begins with the other, the shorter one.
 * @param hal crypto operations
 * @param pair the two
 * @param psk IOTSEC_PAIR_PSK_BYTES bytes, written on success; the caller wipes it. NULL: not wanted
 * @param tgk IOTSEC_KEY_BYTES bytes, written on success; the caller wipes it. NULL: not wanted
 * @retval IOTSEC_OK derived
 * @retval IOTSEC_ERR_ARGUMENT an identity's length is out of range, its point is 0, or the two are the same
 * @retval IOTSEC_ERR_CRYPTO the HAL failed
 */
enum iotsec_status iotsec_polykey_keys(const struct iotsec_hal *hal, const struct iotsec_polykey_pair *pair,
                                       uint8_t psk[IOTSEC_PAIR_PSK_BYTES], uint8_t tgk[IOTSEC_KEY_BYTES]);

#ifdef __cplusplus
}
#endif

#endif
