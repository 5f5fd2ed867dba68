/* SPDX-License-Identifier: BSD-3-Clause */
/* Reasons and alerts (RFC 5246, section 7.2): one table for both directions. */
#include "handshake/engine.h"

static const struct {
    int8_t reason;
    uint8_t alert;
} rows[] = {
    /* what a peer may mean: the first ones in the clear, the last ones when authenticated */
    { IOTSEC_ERR_VERSION, IOTSEC_ALERT_PROTOCOL_VERSION },
    { IOTSEC_ERR_NO_CIPHER, IOTSEC_ALERT_HANDSHAKE_FAILURE },
    { IOTSEC_ERR_RESOURCES, IOTSEC_ALERT_INTERNAL_ERROR },
    { IOTSEC_ERR_NOT_AUTHORISED, IOTSEC_ALERT_ACCESS_DENIED },
    /* what this end means as well */
    { IOTSEC_ERR_EXISTS, IOTSEC_ALERT_ACCESS_DENIED },
    { IOTSEC_ERR_NO_EMS, IOTSEC_ALERT_HANDSHAKE_FAILURE },
    { IOTSEC_ERR_NO_RENEGOTIATION_INFO, IOTSEC_ALERT_HANDSHAKE_FAILURE },
    { IOTSEC_ERR_PROTOCOL, IOTSEC_ALERT_ILLEGAL_PARAMETER },
#if IOTSEC_PAIRWISE
    { IOTSEC_ERR_PEER_IDENTITY, IOTSEC_ALERT_ILLEGAL_PARAMETER },
    { IOTSEC_ERR_GENERATION, IOTSEC_ALERT_ILLEGAL_PARAMETER },
#endif
    { IOTSEC_ERR_DECODE, IOTSEC_ALERT_DECODE_ERROR },
    { IOTSEC_ERR_UNEXPECTED, IOTSEC_ALERT_UNEXPECTED_MESSAGE },
    { IOTSEC_ERR_WRONG_PSK, IOTSEC_ALERT_DECRYPT_ERROR },
};

uint8_t iotsec_alert_of(enum iotsec_status reason)
{
    size_t i;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].reason == (int)reason) {
            return rows[i].alert;
        }
    }
    return IOTSEC_ALERT_INTERNAL_ERROR;
}

enum iotsec_status iotsec_alert_meaning(uint8_t description, bool authenticated)
{
    size_t i;

    for (i = authenticated ? 2 : 0; i < (authenticated ? 4u : 3u); i++) {
        if (rows[i].alert == description) {
            return (enum iotsec_status)rows[i].reason;
        }
    }
    return authenticated ? IOTSEC_ERR_ALERT : IOTSEC_ERR_PROTOCOL;
}

void iotsec_alert_send(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *to, const struct iotsec_seal *seal,
                       uint64_t sequence, uint8_t description)
{
    uint8_t alert[2];

    alert[0] = description == IOTSEC_ALERT_CLOSE_NOTIFY ? IOTSEC_ALERT_WARNING : IOTSEC_ALERT_FATAL;
    alert[1] = description;
    (void)iotsec_tx(dtls, to, seal, IOTSEC_CONTENT_ALERT, sequence, alert, sizeof alert);
}
