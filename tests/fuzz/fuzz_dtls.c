/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The whole of iotsec_dtls_input, as client and as server, at every moment of a handshake and after it.
 *
 *     state, flags, then steps:
 *       0..95     plaintext datagram: as it is, from the peer's address or a stranger's, or wrapped by a relay
 *       96..159   a record sealed with the peer's real keys: what is behind the authentication
 *       160..191  a handshake message in a sound header, perhaps a fragment
 *       192..215  the next real datagram arrives, perhaps with changes
 *       216..239  time passes
 *       240..255  the application does something
 */
#include "ends.h"
#include "script.h"

static void put_datagram(struct iotsec_reader *script, uint8_t step, int target)
{
    size_t len;
    uint8_t *data = script_bytes(script, &len);
    uint16_t sessions = ends.end[target].dtls.sessions_used;

    if ((step & 6) == 6) {
        (void)ends_input_relayed(target, step, data, len);
    } else {
        (void)ends_input(target, (step & 1) != 0, data, len);
    }
    /* nobody without the keys ends a session */
    script_check(ends.end[target].dtls.sessions_used >= sessions);
    free(data);
}

static void put_sealed(struct iotsec_reader *script, uint8_t step, int target)
{
    static const uint8_t types[] = { 20, 21, 22, 23, 28, 29, 24, 0 };
    size_t len;
    uint8_t *content = script_bytes(script, &len);
    uint8_t *datagram = malloc(len + 64);
    size_t datagram_len;

    script_check(datagram != NULL);
    datagram_len = ends_seal(1 - target, types[step % 8], content, len, datagram, len + 64);
    if (datagram_len != 0) {
        uint8_t *exact = realloc(datagram, datagram_len);

        script_check(exact != NULL);
        datagram = exact;
        (void)ends_input(target, (step & 32) != 0 && (step & 16) != 0, datagram, datagram_len);
    }
    free(datagram);
    free(content);
}

static void put_message(struct iotsec_reader *script, uint8_t step, int target)
{
    static const uint8_t messages[] = { 0, 1, 2, 3, 12, 14, 16, 20 };
    uint8_t version = script_u8(script);
    uint8_t seq = script_u8(script);
    uint16_t total = (step & 8) != 0 ? script_u16(script) : 0;
    uint16_t offset = (step & 8) != 0 ? script_u16(script) : 0;
    size_t len;
    uint8_t *body = script_bytes(script, &len);
    uint8_t *datagram = malloc(25 + len);

    script_check(datagram != NULL);
    memset(datagram, 0, 25);
    datagram[0] = 22;
    datagram[1] = 0xFE;
    datagram[2] = version == 1 ? 0xFF : 0xFD;
    datagram[10] = seq;
    iotsec_put_u16(datagram + 11, (uint16_t)(12 + len));
    datagram[13] = messages[step % 8];
    iotsec_put_u16(datagram + 15, (step & 8) != 0 ? total : (uint16_t)len);
    datagram[18] = seq & 15;
    iotsec_put_u16(datagram + 20, offset);
    iotsec_put_u16(datagram + 23, (uint16_t)len);
    if (len != 0) {
        memcpy(datagram + 25, body, len);
    }
    (void)ends_input(target, (step & 16) != 0, datagram, 25 + len);
    free(datagram);
    free(body);
}

static void change_queue(struct iotsec_reader *script, uint8_t step)
{
    struct ends_datagram *datagram = &ends.queue[0];

    if (ends.queued == 0) {
        return;
    }
    switch (step % 4) {
    case 1:
        datagram->data[script_u16(script) % datagram->len] ^= script_u8(script);
        break;
    case 2:
        datagram->len = 1 + script_u16(script) % datagram->len;
        break;
    case 3:
        if (ends.queued < ENDS_QUEUE_MAX) { /* it comes twice */
            ends.queue[ends.queued++] = *datagram;
        }
        break;
    default:
        break;
    }
    (void)ends_deliver();
}

static void act(struct iotsec_reader *script, uint8_t step)
{
    struct end *end = &ends.end[(step >> 3) & 1];
    const struct iotsec_addr *peer = &ends.end[1 - ((step >> 3) & 1)].addr;
    iotsec_dtls_handle session = iotsec_dtls_find(&end->dtls, peer);
    struct iotsec_dtls_psk psk;

    switch (step & 7) {
    case 0:
        (void)iotsec_dtls_send(&end->dtls, session, 23, (const uint8_t *)"hello", 5);
        break;
    case 1:
        (void)iotsec_dtls_flush(&end->dtls);
        break;
    case 2:
        (void)iotsec_dtls_close(&end->dtls, session, script_u8(script));
        break;
    case 3:
        (void)iotsec_dtls_connect(&end->dtls, peer, (const uint8_t *)"id", 2, (const uint8_t *)"sixteen bytes...", 16, 3, NULL);
        break;
    case 4:
        memset(&psk, 0, sizeof psk);
        memcpy(psk.key, "sixteen bytes...", 16);
        psk.len = 16;
        psk.peer = 1;
        (void)iotsec_dtls_psk_complete(&end->dtls, end->pending,
                                       (script_u8(script) & 1) != 0 ? IOTSEC_ERR_UNKNOWN_IDENTITY : IOTSEC_OK, &psk);
        break;
    case 5:
        end->echo = !end->echo;
        break;
    case 6:
        end->psk_answer = (script_u8(script) & 1) != 0 ? IOTSEC_ERR_PENDING : IOTSEC_OK;
        break;
    default:
        end->wrong_psk = !end->wrong_psk;
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct iotsec_reader script;
    unsigned steps;
    uint8_t flags;
    int target;

    iotsec_rd_init(&script, data, size);
    flags = script_u8(&script);
    ends_restore((enum ends_state)(script_u8(&script) % ENDS_STATES), flags);
    target = (flags & 4) != 0 ? END_SERVER : END_CLIENT;
    for (steps = 0; script.left != 0 && steps < SCRIPT_STEPS_MAX; steps++) {
        uint8_t step = script_u8(&script);

        if (step < 96) {
            put_datagram(&script, step, target);
        } else if (step < 160) {
            put_sealed(&script, step, target);
        } else if (step < 192) {
            put_message(&script, step, target);
        } else if (step < 216) {
            change_queue(&script, step);
        } else if (step < 240) {
            ends_pass(script_u16(&script));
        } else {
            act(&script, step);
        }
    }
    ends_pass(60000);
    ends_pass(60000);
    script_check(ends.end[END_CLIENT].dtls.handshakes_used == 0 && ends.end[END_SERVER].dtls.half_open == 0);
    return 0;
}
