/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The message between a stateless relay and what it relays to (draft-ietf-anima-constrained-join-proxy): a CBOR
 * array of two byte strings (RFC 8949).
 *
 *     82 | head, header (0 to 32 bytes, opaque to all but the relay) | head, content (a DTLS datagram)
 *
 * A datagram that is DTLS begins with a content type, 20 to 63; a relayed one with an array's head.
 */
#ifndef IOTSEC_SRC_RECORD_JOIN_PROXY_H
#define IOTSEC_SRC_RECORD_JOIN_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <iotsec/protocol.h>
#include <iotsec/status.h>

/* Whether a datagram claims to be relayed: a CBOR array of up to 23 elements. */
static inline bool iotsec_join_proxy_is(const uint8_t *datagram, size_t len)
{
    return len != 0 && datagram[0] >= 0x80 && datagram[0] <= 0x97;
}

/* Whether it can be DTLS (RFC 7983). */
static inline bool iotsec_join_proxy_is_dtls(const uint8_t *datagram, size_t len)
{
    return len != 0 && datagram[0] >= 20 && datagram[0] <= 63;
}

/* Bytes that stand before the content, which has 65535 at most. */
size_t iotsec_join_proxy_overhead(size_t header_len, size_t content_len);

/* Writes everything before a content of that length to `out`, which has room for iotsec_join_proxy_overhead. */
void iotsec_join_proxy_write(uint8_t *out, const uint8_t *header, size_t header_len, size_t content_len);

/*
 * Takes a message apart; both parts point into it. Heads of any length are taken, but not indefinite ones, and
 * nothing may follow. ERR_DECODE: another form; a header longer than IOTSEC_RELAY_HEADER_MAX or a content of 0
 * bytes counts as such.
 */
enum iotsec_status iotsec_join_proxy_read(const uint8_t *datagram, size_t len, const uint8_t **header, size_t *header_len,
                                          const uint8_t **content, size_t *content_len);

#endif
