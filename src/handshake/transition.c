/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What may follow what (RFC 6347, section 4.2.4; RFC 4279, section 2).
 *
 *     C -> S  ClientHello
 *     C <- S  HelloVerifyRequest                                       only when a cookie is due
 *     C -> S  ClientHello + cookie
 *     C <- S  ServerHello, (ServerKeyExchange,) ServerHelloDone
 *     C -> S  ClientKeyExchange, ChangeCipherSpec, Finished
 *     C <- S  ChangeCipherSpec, Finished
 *
 * ChangeCipherSpec is no handshake message and changes nothing here: a record's epoch says under
 * which keys it stands, and its tag proves it. So a lost or late one holds nobody up, and an
 * injected one cannot move the state machine.
 */
#include "handshake/engine.h"

static const struct transition {
    uint8_t state;
    uint8_t message;
    uint8_t next;
} transitions[] = {
#if IOTSEC_DTLS_CLIENT
    { HS_CLIENT_SENT_HELLO, IOTSEC_HS_HELLO_VERIFY_REQUEST, HS_CLIENT_SENT_HELLO },
    { HS_CLIENT_SENT_HELLO, IOTSEC_HS_SERVER_HELLO, HS_CLIENT_GOT_HELLO },
    { HS_CLIENT_GOT_HELLO, IOTSEC_HS_SERVER_KEY_EXCHANGE, HS_CLIENT_GOT_KEY_EXCHANGE },
    { HS_CLIENT_GOT_HELLO, IOTSEC_HS_SERVER_HELLO_DONE, HS_CLIENT_GOT_DONE },
    { HS_CLIENT_GOT_KEY_EXCHANGE, IOTSEC_HS_SERVER_HELLO_DONE, HS_CLIENT_GOT_DONE },
    { HS_CLIENT_SENT_FINISHED, IOTSEC_HS_FINISHED, HS_DONE },
#endif
#if IOTSEC_DTLS_SERVER
    { HS_SERVER_GATHERS_HELLO, IOTSEC_HS_CLIENT_HELLO, HS_SERVER_SENT_DONE },
    { HS_SERVER_SENT_DONE, IOTSEC_HS_CLIENT_KEY_EXCHANGE, HS_SERVER_ASKED_PSK },
    { HS_SERVER_GOT_KEYS, IOTSEC_HS_FINISHED, HS_DONE },
#endif
};

uint8_t iotsec_hs_next(uint8_t state, uint8_t message)
{
    size_t i;

    for (i = 0; i < sizeof transitions / sizeof transitions[0]; i++) {
        if (transitions[i].state == state && transitions[i].message == message) {
            return transitions[i].next;
        }
    }
    return HS_FREE;
}

/* The same table by message: a bit for each that one end takes in some state. */
#define BIT(message) (1u << (message))
#define CLIENT_TAKES                                                                                                              \
    (BIT(IOTSEC_HS_HELLO_VERIFY_REQUEST) | BIT(IOTSEC_HS_SERVER_HELLO) | BIT(IOTSEC_HS_SERVER_KEY_EXCHANGE) |                     \
     BIT(IOTSEC_HS_SERVER_HELLO_DONE) | BIT(IOTSEC_HS_FINISHED))
#define SERVER_TAKES (BIT(IOTSEC_HS_CLIENT_HELLO) | BIT(IOTSEC_HS_CLIENT_KEY_EXCHANGE) | BIT(IOTSEC_HS_FINISHED))

bool iotsec_hs_known(bool is_server, uint8_t message)
{
    return message < 32 && ((is_server ? SERVER_TAKES : CLIENT_TAKES) >> message & 1u) != 0;
}
