/* SPDX-License-Identifier: BSD-3-Clause */
/*
 *     IPHC   011 TF(2) NH(1) HLIM(2)   CID(1) SAC(1) SAM(2) M(1) DAC(1) DAM(2)
 *            [contexts(1)] [class and label] [next header] [hop limit] [source] [target]
 *     UDP    11110 C(1) P(2) [ports] [checksum]
 *     plain  01000001 IPv6 header ...
 */
#include "lowpan.h"

#include <string.h>

#include "base/bytes.h"

#define PLAIN 0x41u
#define IPHC 0x60u
#define IPHC_MASK 0xE0u
#define TF_AT 3
#define TF_NONE 3u
#define NH 0x04u
#define CID 0x80u
#define STATEFUL 0x04u /* SAC, shifted by 4, and DAC */
#define MULTICAST 0x08u
#define MODE_MASK 3u
#define NHC_UDP 0xF0u
#define NHC_UDP_MASK 0xF8u
#define NHC_NO_CHECKSUM 0x04u
#define UDP_BYTES 8u
#define READ_MAX 49u /* IPHC 2, contexts 1, class and label 4, next header 1, hop limit 1, addresses 32, UDP 8; plain: 1 + 48 */

enum { MODE_128, MODE_64, MODE_16, MODE_LINK }; /* how much of an address is there */
enum { GROUP_128, GROUP_48, GROUP_32, GROUP_8 };

const uint8_t lowpan_link_local[8] = { 0xFE, 0x80 };
static const uint8_t hop_limits[4] = { 0, 1, 64, 255 };

size_t lowpan_head(const uint8_t *header)
{
    return header[IP_NEXT] == LOWPAN_UDP ? LOWPAN_IPV6_BYTES + UDP_BYTES : LOWPAN_IPV6_BYTES;
}

/*
 * ---- Reading ----
 *
 * From a copy of what can be a header at all, with zeros behind it: nothing in there can be read beyond its end, and at the end
 * it shows whether more was read than there was.
 */

/* `bits`: stateful, and the mode. The address is all zeros before. */
static const uint8_t *read_unicast(const uint8_t *at, unsigned bits, const uint8_t *prefix, const uint8_t link[8], uint8_t *address)
{
    static const uint8_t lengths[4] = { 16, 8, 2, 0 };
    unsigned mode = bits & MODE_MASK;
    size_t len = lengths[mode];

    if (mode != MODE_128) {
        memcpy(address, (bits & STATEFUL) != 0 ? prefix : lowpan_link_local, 8);
        memcpy(address + 8, mode == MODE_LINK ? link : frame_broadcast, 8);
    }
    memcpy(address + 16 - len, at, len);
    return at + len;
}

static const uint8_t *read_group(const uint8_t *at, unsigned bits, const uint8_t *prefix, uint8_t *address)
{
    static const uint8_t lengths[4] = { 16, 6, 4, 1 };
    size_t len = lengths[bits & MODE_MASK];

    address[0] = 0xFF;
    if ((bits & STATEFUL) != 0) {
        /* ffXX:XXLL:prefix:XXXX:XXXX, LL = 64 (RFC 3306) */
        address[1] = at[0];
        address[2] = at[1];
        address[3] = 64;
        memcpy(address + 4, prefix, 8);
        memcpy(address + 12, at + 2, 4);
        return at + 6;
    }
    memcpy(address + 16 - len, at, len);
    if (len == 1) {
        address[1] = 0x02;
    } else if (len != 16) {
        address[1] = at[0]; /* the first octet is flags and scope */
        address[16 - len] = 0;
    }
    return at + len;
}

static const uint8_t *read_flow(const uint8_t *at, unsigned mode, uint8_t *header)
{
    unsigned class = 0;
    unsigned label = 0;

    /* the two bits of congestion come first here, and last in IPv6 */
    if (mode != TF_NONE) {
        class = *at++;
    }
    if (mode == 1) { /* the label's upper bits stand where the class would */
        label = class & 15u;
        class &= 0xC0u;
    } else if (mode == 0) {
        label = *at++ & 15u;
    }
    class = class << 2 | class >> 6;
    header[0] = (uint8_t)(0x60u | (class >> 4 & 15u));
    header[1] = (uint8_t)(class << 4 | label);
    if (mode < 2) {
        header[2] = *at++;
        header[3] = *at++;
    }
    return at;
}

static const uint8_t *read_udp(const uint8_t *at, unsigned first, uint8_t *header)
{
    header[UDP_SOURCE] = header[UDP_TARGET] = 0xF0;
    if ((first & 3u) == 3) {
        header[UDP_SOURCE + 1] = (uint8_t)(0xB0u | *at >> 4);
        header[UDP_TARGET + 1] = (uint8_t)(0xB0u | (*at & 15u));
        at++;
    } else {
        if ((first & 2u) == 0) {
            header[UDP_SOURCE] = *at++;
        }
        header[UDP_SOURCE + 1] = *at++;
        if ((first & 1u) == 0) {
            header[UDP_TARGET] = *at++;
        }
        header[UDP_TARGET + 1] = *at++;
    }
    if ((first & NHC_NO_CHECKSUM) == 0) {
        header[UDP_CHECKSUM] = *at++;
        header[UDP_CHECKSUM + 1] = *at++;
    }
    return at;
}

enum net_drop lowpan_read(uint8_t header[NET_HEADER_BYTES], const uint8_t *in, size_t *len, size_t total,
                          const uint8_t source[8], const uint8_t target[8], const uint8_t *prefix)
{
    uint8_t copy[READ_MAX] = { 0 };
    const uint8_t *at = copy;
    unsigned contexts = 0;
    unsigned nhc = 0;
    unsigned first;
    unsigned bits;
    uint8_t lengths[2];
    size_t used;

    memset(header, 0, NET_HEADER_BYTES);
    memcpy(copy, in, *len < sizeof copy ? *len : sizeof copy);
    first = *at++;
    if (first == PLAIN) {
        memcpy(header, at, LOWPAN_IPV6_BYTES);
        at += LOWPAN_IPV6_BYTES;
        if (header[0] >> 4 != 6) {
            return NET_DROP_HEADER;
        }
    } else if ((first & IPHC_MASK) != IPHC) {
        return NET_DROP_DISPATCH;
    } else {
        bits = *at++;
        if ((bits & CID) != 0) {
            contexts = *at++;
        }
        if ((bits & STATEFUL) != 0 && ((bits & MODE_MASK) != 0) == ((bits & MULTICAST) != 0)) {
            return NET_DROP_DISPATCH; /* reserved */
        }
        /* a source that is stateful and has 128 bits is the unspecified address, whatever the context */
        if (((bits & STATEFUL) != 0 && (prefix == NULL || (contexts & 15u) != 0)) ||
            ((bits >> 4 & STATEFUL) != 0 && (bits >> 4 & MODE_MASK) != MODE_128 && (prefix == NULL || contexts >> 4 != 0))) {
            return NET_DROP_CONTEXT;
        }
        at = read_flow(at, first >> TF_AT & 3u, header);
        header[IP_NEXT] = (first & NH) != 0 ? LOWPAN_UDP : *at++;
        header[IP_HOPS] = (first & 3u) != 0 ? hop_limits[first & 3u] : *at++;
        if ((bits >> 4 & (STATEFUL | MODE_MASK)) != STATEFUL) {
            at = read_unicast(at, bits >> 4, prefix, source, header + IP_SOURCE);
        }
        if ((bits & MULTICAST) != 0) {
            at = read_group(at, bits, prefix, header + IP_TARGET);
            if (header[IP_TARGET] != 0xFF) {
                return NET_DROP_HEADER;
            }
        } else {
            at = read_unicast(at, bits, prefix, target, header + IP_TARGET);
        }
        if ((first & NH) != 0) {
            nhc = *at++;
            if ((nhc & NHC_UDP_MASK) != NHC_UDP) {
                return NET_DROP_DISPATCH;
            }
            at = read_udp(at, nhc, header);
        }
    }
    if (header[IP_NEXT] == LOWPAN_UDP && nhc == 0) {
        memcpy(header + UDP_SOURCE, at, UDP_BYTES);
        at += UDP_BYTES;
    }
    used = (size_t)(at - copy);
    if (used > *len || (header[IP_NEXT] == LOWPAN_UDP && (nhc & NHC_NO_CHECKSUM) == 0 &&
                        iotsec_get_u16(header + UDP_CHECKSUM) == 0)) {
        return NET_DROP_HEADER;
    }

    /* lengths are left out where the header is compressed, and must be right where they are there */
    if (total == 0) {
        total = lowpan_head(header) + *len - used;
    }
    iotsec_put_u16(lengths, (uint16_t)(total - LOWPAN_IPV6_BYTES));
    if ((first == PLAIN && memcmp(header + IP_LENGTH, lengths, 2) != 0) ||
        (header[IP_NEXT] == LOWPAN_UDP && nhc == 0 && memcmp(header + UDP_LENGTH, lengths, 2) != 0)) {
        return NET_DROP_HEADER;
    }
    memcpy(header + IP_LENGTH, lengths, 2);
    if (nhc != 0) {
        memcpy(header + UDP_LENGTH, lengths, 2);
    }
    *len = used;
    return NET_DROP_COUNT;
}

/* ---- Writing ---- */

static bool is_zero(const uint8_t *bytes, size_t len)
{
    while (len != 0 && *bytes == 0) {
        bytes++;
        len--;
    }
    return len == 0;
}

/* Writes what is needed of an address, and returns its bits. */
static unsigned write_unicast(struct iotsec_writer *out, const uint8_t *address, const uint8_t link[8], const uint8_t *prefix)
{
    unsigned bits = 0;

    if (!frame_same(address, lowpan_link_local)) {
        if (prefix == NULL || !frame_same(address, prefix)) {
            iotsec_wr_copy(out, address, 16);
            return MODE_128;
        }
        bits = STATEFUL;
    }
    address += 8;
    if (frame_same(address, link)) {
        return bits | MODE_LINK;
    }
    if (frame_is_short(address)) {
        iotsec_wr_copy(out, address + 6, 2);
        return bits | MODE_16;
    }
    iotsec_wr_copy(out, address, 8);
    return bits | MODE_64;
}

static unsigned write_group(struct iotsec_writer *out, const uint8_t *address)
{
    size_t len;

    if (!is_zero(address + 2, 9)) {
        iotsec_wr_copy(out, address, 16);
        return MULTICAST | GROUP_128;
    }
    if (address[1] == 0x02 && is_zero(address + 11, 4)) {
        iotsec_wr_u8(out, address[15]);
        return MULTICAST | GROUP_8;
    }
    len = is_zero(address + 11, 2) ? 3 : 5;
    iotsec_wr_u8(out, address[1]);
    iotsec_wr_copy(out, address + 16 - len, len);
    return len == 3 ? MULTICAST | GROUP_32 : MULTICAST | GROUP_48;
}

static void write_udp(struct iotsec_writer *out, const uint8_t *header)
{
    unsigned source = iotsec_get_u16(header + UDP_SOURCE);
    unsigned target = iotsec_get_u16(header + UDP_TARGET);

    if (source >> 4 == 0xF0B && target >> 4 == 0xF0B) {
        iotsec_wr_u8(out, NHC_UDP | 3u);
        iotsec_wr_u8(out, (uint8_t)(source << 4 | (target & 15u)));
    } else {
        unsigned short_target = target >> 8 == 0xF0;
        unsigned short_source = short_target == 0 && source >> 8 == 0xF0;

        iotsec_wr_u8(out, (uint8_t)(NHC_UDP | short_source << 1 | short_target));
        iotsec_wr_copy(out, header + UDP_SOURCE + short_source, 2 - short_source);
        iotsec_wr_copy(out, header + UDP_TARGET + short_target, 2 - short_target);
    }
    iotsec_wr_copy(out, header + UDP_CHECKSUM, 2);
}

size_t lowpan_write(uint8_t out[LOWPAN_COMPRESSED_MAX], const uint8_t *header, const uint8_t source[8], const uint8_t target[8],
                    const uint8_t *prefix)
{
    struct iotsec_writer writer;
    unsigned first = 3;
    unsigned bits;

    iotsec_wr_init(&writer, out, LOWPAN_COMPRESSED_MAX);
    iotsec_wr_u16(&writer, 0); /* both are known in the end */
    bits = TF_NONE;
    if ((header[0] & 15u) != 0 || !is_zero(header + 1, 3)) {
        /* somebody else's: all of it, as we send none */
        unsigned class = (unsigned)header[0] << 4 | header[1] >> 4;

        bits = 0;
        iotsec_wr_u8(&writer, (uint8_t)(class << 6 | (class >> 2 & 0x3Fu)));
        iotsec_wr_u8(&writer, header[1] & 15u);
        iotsec_wr_copy(&writer, header + 2, 2);
    }
    while (first != 0 && header[IP_HOPS] != hop_limits[first]) {
        first--;
    }
    first |= IPHC | bits << TF_AT;
    if (header[IP_NEXT] == LOWPAN_UDP) {
        first |= NH;
    } else {
        iotsec_wr_u8(&writer, header[IP_NEXT]);
    }
    if ((first & 3u) == 0) {
        iotsec_wr_u8(&writer, header[IP_HOPS]);
    }
    bits = write_unicast(&writer, header + IP_SOURCE, source, prefix) << 4;
    bits |= header[IP_TARGET] == 0xFF ? write_group(&writer, header + IP_TARGET)
                                      : write_unicast(&writer, header + IP_TARGET, target, prefix);
    if ((first & NH) != 0) {
        write_udp(&writer, header);
    }
    out[0] = (uint8_t)first;
    out[1] = (uint8_t)bits;
    return writer.len;
}

/* ---- Checksum ---- */

static uint32_t sum(const uint8_t *bytes, size_t len)
{
    uint32_t total = 0;
    size_t i;

    for (i = 0; i < len; i++) {
        total += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
    }
    return total;
}

uint16_t lowpan_checksum(const struct datagram *datagram)
{
    /* addresses and ports stand side by side; the length is in the pseudo header and in UDP's */
    uint32_t total = LOWPAN_UDP + 2 * (uint32_t)(datagram->len + UDP_BYTES) + sum(datagram->header + IP_SOURCE, 36) +
                     sum(datagram->data, datagram->len);

    while (total >> 16 != 0) {
        total = (total & 0xFFFFu) + (total >> 16);
    }
    return (uint16_t)(total == 0xFFFFu ? total : ~total);
}
