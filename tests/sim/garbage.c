/* SPDX-License-Identifier: BSD-3-Clause */
#include "garbage.h"

#include <string.h>

#include "base/bytes.h"

/* CoAP GET /light, confirmable */
static const uint8_t coap[] = { 0x40, 0x01, 0x12, 0x34, 0xB5, 'l', 'i', 'g', 'h', 't' };
/* DNS query, A example.com */
static const uint8_t dns[] = { 0xAB, 0xCD, 0x01, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 7,   'e', 'x',
                               'a',  'm',  'p',  'l',  'e',  3,    'c',  'o',  'm',  0,    0x00, 0x01, 0x00, 0x01 };
/* TLS 1.2 ClientHello over TCP: record header of 5 bytes */
static const uint8_t tls12[] = { 0x16, 0x03, 0x01, 0x00, 0x2F, 0x01, 0x00, 0x00, 0x2B, 0x03, 0x03, 1,  2,  3,  4,  5,  6,  7,
                                 8,    9,    10,   11,   12,   13,   14,   15,   16,   17,   18,   19, 20, 21, 22, 23, 24, 25,
                                 26,   27,   28,   29,   30,   31,   32,   0x00, 0x00, 0x04, 0xC0, 0xA8, 0x00, 0xFF, 0x01, 0x00 };
/* DTLS 1.0 ClientHello: TLS_RSA_WITH_AES_128_CBC_SHA and nothing else */
static const uint8_t dtls10[] = { 0x16, 0xFE, 0xFF, 0x00, 0x00, 0,    0,    0,    0,    0,    1,    0x00, 0x36, 0x01, 0x00, 0x00,
                                  0x2A, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x2A, 0xFE, 0xFF, 1,    2,    3,    4,    5,
                                  6,    7,    8,    9,    10,   11,   12,   13,   14,   15,   16,   17,   18,   19,   20,   21,
                                  22,   23,   24,   25,   26,   27,   28,   29,   30,   31,   32,   0x00, 0x00, 0x00, 0x02, 0x00,
                                  0x2F, 0x01, 0x00 };
/* DTLS 1.3 ClientHello: TLS_AES_128_CCM_8_SHA256, supported_versions FEFC only */
static const uint8_t dtls13[] = { 0x16, 0xFE, 0xFD, 0x00, 0x00, 0,    0,    0,    0,    0,    2,    0x00, 0x3F, 0x01, 0x00, 0x00,
                                  0x33, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x33, 0xFE, 0xFD, 1,    2,    3,    4,    5,
                                  6,    7,    8,    9,    10,   11,   12,   13,   14,   15,   16,   17,   18,   19,   20,   21,
                                  22,   23,   24,   25,   26,   27,   28,   29,   30,   31,   32,   0x00, 0x00, 0x00, 0x02, 0x13,
                                  0x05, 0x01, 0x00, 0x00, 0x07, 0x00, 0x2B, 0x00, 0x03, 0x02, 0xFE, 0xFC };
/* DTLS 1.3 protected record: unified header with a connection ID */
static const uint8_t unified[] = { 0x3F, 0x01, 0x02, 0x00, 0x05, 0x00, 0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
/* DTLS 1.2 record with a connection ID (RFC 9146), which nobody here negotiated */
static const uint8_t with_cid[] = { 0x19, 0xFE, 0xFD, 0x00, 0x01, 0, 0, 0, 0, 0, 9,  0xAA, 0xBB, 0x00, 0x18, 0x00,
                                    0x01, 0,    0,    0,    0,    0, 9, 1, 2, 3, 4,  5,    6,    7,    8,    9,
                                    10,   11,   12,   13,   14,   15, 16 };
/* Join proxy's CBOR array [header, content] */
static const uint8_t join_proxy[] = { 0x82, 0x48, 1, 2, 3, 4, 5, 6, 7, 8, 0x44, 0x16, 0xFE, 0xFD, 0x00 };
/* STUN binding request */
static const uint8_t stun[] = { 0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
/* NTP client */
static const uint8_t ntp[48] = { 0x23 };
/* QUIC initial */
static const uint8_t quic[] = { 0xC3, 0x00, 0x00, 0x00, 0x01, 0x08, 1, 2, 3, 4, 5, 6, 7, 8, 0x00, 0x00, 0x41, 0x03, 0x98 };
/* A record of length 0 of every content type, a HelloRequest, a warning and a fatal alert, a ChangeCipherSpec */
static const uint8_t empty_records[] = { 0x14, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0x15, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0,
                                         0x16, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0x17, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0,
                                         0x17, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 5, 0, 0, 0x1C, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 6, 0, 0 };
static const uint8_t hello_request[] = { 0x16, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 7, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
static const uint8_t fatal_alert[] = { 0x15, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 8, 0, 2, 2, 51 };
static const uint8_t close_notify[] = { 0x15, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 1, 0 };
static const uint8_t early_cipher[] = { 0x14, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 10, 0, 1, 1 };
/* A Finished in the clear */
static const uint8_t bare_finished[] = { 0x16, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 11, 0, 24, 20, 0, 0, 12, 0, 2, 0, 0, 0, 0, 0, 12,
                                         1,    2,    3,    4, 5, 6, 7, 8, 9, 10, 11, 12 };
/* A record whose length runs beyond the datagram, and a fragment that claims 16 MB */
static const uint8_t too_far[] = { 0x16, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 12, 0xFF, 0xFF, 1, 2, 3 };
static const uint8_t huge_message[] = { 0x16, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 13, 0, 16, 1, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 4,
                                        1,    2,    3,    4 };

static const struct {
    const uint8_t *data;
    size_t len;
} foreign[] = {
    { coap, sizeof coap },
    { dns, sizeof dns },
    { tls12, sizeof tls12 },
    { dtls10, sizeof dtls10 },
    { dtls13, sizeof dtls13 },
    { unified, sizeof unified },
    { with_cid, sizeof with_cid },
    { join_proxy, sizeof join_proxy },
    { stun, sizeof stun },
    { ntp, sizeof ntp },
    { quic, sizeof quic },
    { empty_records, sizeof empty_records },
    { hello_request, sizeof hello_request },
    { fatal_alert, sizeof fatal_alert },
    { close_notify, sizeof close_notify },
    { early_cipher, sizeof early_cipher },
    { bare_finished, sizeof bare_finished },
    { too_far, sizeof too_far },
    { huge_message, sizeof huge_message },
};

size_t garbage_foreign_count(void)
{
    return sizeof foreign / sizeof foreign[0];
}

const uint8_t *garbage_foreign(size_t index, size_t *len)
{
    *len = foreign[index].len;
    return foreign[index].data;
}

static size_t draw_noise(struct net *net, uint8_t *out)
{
    /* mostly as short as real datagrams are */
    size_t len = random_below(&net->random, random_below(&net->random, 8) == 0 ? NET_DATAGRAM_MAX + 1 : 160);

    random_bytes(&net->random, out, len);
    return len;
}

static size_t draw_record(struct net *net, uint8_t *out)
{
    static const uint8_t types[] = { 20, 21, 22, 23, 24, 25, 28, 29, 0, 255 };
    static const uint16_t epochs[] = { 0, 1, 2, 255, 256, 257, 0x0101, 0x1234, 0xFFFF };
    size_t len = random_below(&net->random, 120);

    random_bytes(&net->random, out, 13 + len);
    out[0] = types[random_below(&net->random, sizeof types)];
    out[1] = 0xFE;
    out[2] = random_below(&net->random, 4) == 0 ? 0xFF : 0xFD;
    iotsec_put_u16(out + 3, epochs[random_below(&net->random, sizeof epochs / sizeof epochs[0])]);
    if (random_below(&net->random, 2) == 0) {
        memset(out + 5, 0, 5);
    }
    iotsec_put_u16(out + 11, (uint16_t)(random_below(&net->random, 16) == 0 ? len + 1 : len));
    return 13 + len;
}

static size_t draw_hello(struct net *net, uint8_t *out)
{
    static const uint8_t messages[] = { 0, 1, 2, 3, 4, 11, 12, 14, 16, 20 };
    size_t len = 12 + random_below(&net->random, 100);

    random_bytes(&net->random, out, 13 + len);
    out[0] = 22;
    iotsec_put_u16(out + 1, 0xFEFD);
    memset(out + 3, 0, 7);
    iotsec_put_u16(out + 11, (uint16_t)len);
    out[13] = messages[random_below(&net->random, sizeof messages)];
    out[14] = 0;
    iotsec_put_u16(out + 15, (uint16_t)(len - 12));
    iotsec_put_u16(out + 17, (uint16_t)random_below(&net->random, 4));
    memset(out + 19, 0, 6);
    iotsec_put_u16(out + 23, (uint16_t)(len - 12));
    if (random_below(&net->random, 4) == 0) { /* a fragment, perhaps a contradictory one */
        iotsec_put_u16(out + 15, (uint16_t)random_below(&net->random, 600));
        iotsec_put_u16(out + 20, (uint16_t)random_below(&net->random, 600));
    }
    if (len > 12 + 36) {
        iotsec_put_u16(out + 25, 0xFEFD);
        out[59] = 0;
        out[60] = (uint8_t)random_below(&net->random, 40);
    }
    return 13 + len;
}

static size_t draw_capture(struct net *net, uint8_t *out)
{
    const struct net_datagram *datagram;

    if (net->tap_count == 0) {
        return draw_noise(net, out);
    }
    datagram = &net->tap[random_below(&net->random, (uint32_t)net->tap_count)];
    memcpy(out, datagram->data, datagram->len);
    return datagram->len;
}

static size_t draw_changed(struct net *net, uint8_t *out)
{
    size_t len = draw_capture(net, out);
    uint32_t n = 1 + random_below(&net->random, 4);

    if (len == 0) {
        return 0;
    }
    switch (random_below(&net->random, 4)) {
    case 0:
        return random_below(&net->random, (uint32_t)len);
    case 1:
        for (; n > 0; n--) {
            out[random_below(&net->random, (uint32_t)len)] ^= (uint8_t)(1u << random_below(&net->random, 8));
        }
        return len;
    case 2:
        for (; n > 0; n--) {
            out[random_below(&net->random, (uint32_t)len)] = (uint8_t)random_next(&net->random);
        }
        return len;
    default: {
        uint8_t other[NET_DATAGRAM_MAX];
        size_t more = draw_capture(net, other);

        more = more < NET_DATAGRAM_MAX - len ? more : NET_DATAGRAM_MAX - len;
        memcpy(out + len, other, more);
        return len + more;
    }
    }
}

size_t garbage_draw(struct net *net, enum garbage_kind kind, uint8_t out[NET_DATAGRAM_MAX])
{
    if (kind == GARBAGE_KINDS) {
        kind = (enum garbage_kind)random_below(&net->random, GARBAGE_KINDS);
    }
    switch (kind) {
    case GARBAGE_RECORD:
        return draw_record(net, out);
    case GARBAGE_HELLO:
        return draw_hello(net, out);
    case GARBAGE_FOREIGN: {
        size_t len;
        const uint8_t *data = garbage_foreign(random_below(&net->random, (uint32_t)garbage_foreign_count()), &len);

        memcpy(out, data, len);
        return len;
    }
    case GARBAGE_CHANGED:
        return draw_changed(net, out);
    case GARBAGE_REPLAYED:
        return draw_capture(net, out);
    default:
        return draw_noise(net, out);
    }
}

unsigned garbage_shower(struct node *victim, unsigned count, enum garbage_kind kind)
{
    struct net *net = victim->net;
    uint8_t datagram[NET_DATAGRAM_MAX];
    unsigned taken = 0;

    for (; count > 0; count--) {
        size_t len = garbage_draw(net, kind, datagram);
        struct iotsec_addr from;
        struct iotsec_addr to = victim->addr;

        if (random_below(&net->random, 4) == 0) {
            memset(&from, 0, sizeof from);
            random_bytes(&net->random, &from.ip, sizeof from.ip);
            from.ip[0] = 0xFD;
            from.port = (uint16_t)random_next(&net->random);
        } else {
            from = net->nodes[random_below(&net->random, (uint32_t)net->node_count)]->addr;
        }
        if (victim->multicast_count > 0 && random_below(&net->random, 4) == 0) {
            to = victim->multicast[random_below(&net->random, (uint32_t)victim->multicast_count)];
        }
        taken += net_hand(victim, &from, &to, datagram, len) == IOTSEC_OK;
    }
    return taken;
}
