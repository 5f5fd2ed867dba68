/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The cookie (RFC 6347, section 4.2.1): proves that a client receives what is sent to its address,
 * before anything is kept for it.
 *
 *     C -> S  ClientHello
 *     C <- S  HelloVerifyRequest + cookie     HMAC(secret, period, path, hello without its cookie)
 *     C -> S  ClientHello + cookie            the same hello otherwise
 *
 * The lowest bit of the cookie is the period's, so one HMAC checks it; a cookie lives for one to two
 * periods, so that one seen once cannot be used against its address for ever.
 */
#include "handshake/engine.h"

#include <string.h>

#if IOTSEC_DTLS_SERVER

uint16_t iotsec_cookie_period(const struct iotsec_dtls *dtls)
{
    return (uint16_t)(iotsec_dtls_now(dtls) >> 16);
}

enum iotsec_status iotsec_cookie_make(const struct iotsec_dtls *dtls, const struct iotsec_dtls_path *path, uint16_t period,
                                      const struct iotsec_slice *before, const struct iotsec_slice *after,
                                      uint8_t cookie[IOTSEC_COOKIE_BYTES])
{
    const struct iotsec_hal *hal = dtls->config->hal;
    struct iotsec_slice parts[5]; /* the first belongs to iotsec_hmac */
    enum iotsec_status status;
    uint8_t mac[32];

    parts[1].data = (const uint8_t *)&period; /* never leaves this machine: its byte order does not matter */
    parts[1].len = sizeof period;
    parts[2].data = (const uint8_t *)path; /* has no padding: dtls.h */
    parts[2].len = sizeof *path;
    parts[3] = *before;
    parts[4] = *after;
    status = iotsec_hmac(hal, dtls->cookie_secret, sizeof dtls->cookie_secret, parts, 5, mac);
    memcpy(cookie, mac, IOTSEC_COOKIE_BYTES);
    cookie[IOTSEC_COOKIE_BYTES - 1] = (uint8_t)((cookie[IOTSEC_COOKIE_BYTES - 1] & 0xFEu) | (period & 1u));
    iotsec_wipe(mac, sizeof mac);
    return status;
}

enum iotsec_status iotsec_cookie_verify(const struct iotsec_dtls *dtls, const struct iotsec_dtls_path *path,
                                        const struct iotsec_slice *before, const struct iotsec_slice *after,
                                        const uint8_t *cookie, size_t len)
{
    uint8_t own[IOTSEC_COOKIE_BYTES];
    uint16_t period = iotsec_cookie_period(dtls);
    enum iotsec_status status;

    if (len != sizeof own) {
        return IOTSEC_ERR_AUTH;
    }
    if (((period ^ cookie[IOTSEC_COOKIE_BYTES - 1]) & 1u) != 0) {
        period--;
    }
    status = iotsec_cookie_make(dtls, path, period, before, after, own);
    if (status == IOTSEC_OK && !iotsec_ct_equal(own, cookie, sizeof own)) {
        status = IOTSEC_ERR_AUTH;
    }
    iotsec_wipe(own, sizeof own);
    return status;
}

#endif
