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

enum { MODE_128, MODE_64, MODE_16, MODE_LINK }; /* how much of an address is there */
enum { GROUP_128, GROUP_48, GROUP_32, GROUP_8 };

const uint8_t lowpan_link_local[8] = { 0xFE, 0x80 };
static const uint8_t hop_limits[4] = { 0, 1, 64, 255 };

size_t lowpan_head(const uint8_t *header)
{
    return header[IP_NEXT] == LOWPAN_UDP ? LOWPAN_IPV6_BYTES + UDP_BYTES : LOWPAN_IPV6_BYTES;
}

/* ---- Reading ---- */

/* `bits`: stateful, and the mode. The address is all zeros before. */
static enum net_drop read_unicast(struct iotsec_reader *in, unsigned bits, const uint8_t *prefix, const uint8_t link[8],
                                  uint8_t address[16])
{
    static const uint8_t lengths[4] = { 16, 8, 2, 0 };
    unsigned mode = bits & MODE_MASK;
    size_t len = lengths[mode];

    if (mode != MODE_128) {
        if ((bits & STATEFUL) == 0) {
            prefix = lowpan_link_local;
        }
        if (prefix == NULL) {
            return NET_DROP_CONTEXT;
        }
        memcpy(address, prefix, 8);
        memcpy(address + 8, mode == MODE_LINK ? link : frame_broadcast, 8);
    }
    return iotsec_rd_copy(in, address + 16 - len, len) ? NET_DROP_COUNT : NET_DROP_HEADER;
}

static enum net_drop read_group(struct iotsec_reader *in, unsigned bits, const uint8_t *prefix, uint8_t address[16])
{
    static const uint8_t lengths[4] = { 15, 5, 3, 1 };
    unsigned mode = bits & MODE_MASK;
    size_t len = lengths[mode];
    bool read;

    address[0] = 0xFF;
    address[1] = 0x02;
    if ((bits & STATEFUL) != 0) {
        /* ffXX:XXLL:prefix:XXXX:XXXX, LL = 64 (RFC 3306) */
        if (mode != 0 || prefix == NULL) {
            return mode != 0 ? NET_DROP_DISPATCH : NET_DROP_CONTEXT;
        }
        read = iotsec_rd_copy(in, address + 1, 2) && iotsec_rd_copy(in, address + 12, 4);
        address[3] = 64;
        memcpy(address + 4, prefix, 8);
    } else {
        read = (mode != GROUP_128 || (iotsec_rd_u8(in, address) && address[0] == 0xFF)) &&
               (mode == GROUP_8 || mode == GROUP_128 || iotsec_rd_u8(in, address + 1)) &&
               iotsec_rd_copy(in, address + 16 - len, len);
    }
    return read ? NET_DROP_COUNT : NET_DROP_HEADER;
}

static bool read_flow(struct iotsec_reader *in, unsigned mode, uint8_t header[4])
{
    uint8_t class = 0;

    /* the two bits of congestion come first here, and last in IPv6 */
    header[0] = IPHC;
    if (mode != TF_NONE && !iotsec_rd_u8(in, &class)) {
        return false;
    }
    if (mode == 1) { /* no class besides; its octet has the label's upper bits */
        header[1] = class & 15u;
        class &= 0xC0u;
    } else if (mode == 0 && !iotsec_rd_u8(in, header + 1)) {
        return false;
    }
    class = (uint8_t)(class << 2 | class >> 6);
    header[0] |= class >> 4;
    header[1] = (uint8_t)((unsigned)class << 4 | (header[1] & 15u));
    return mode >= 2 || iotsec_rd_copy(in, header + 2, 2);
}

static bool read_udp(struct iotsec_reader *in, unsigned first, uint8_t *header)
{
    uint8_t ports;
    bool read;

    header[UDP_SOURCE] = header[UDP_TARGET] = 0xF0;
    if ((first & 3u) == 3) {
        read = iotsec_rd_u8(in, &ports);
        header[UDP_SOURCE + 1] = (uint8_t)(0xB0u | ports >> 4);
        header[UDP_TARGET + 1] = (uint8_t)(0xB0u | (ports & 15u));
    } else {
        size_t source = (first & 2u) >> 1;
        size_t target = first & 1u;

        read = iotsec_rd_copy(in, header + UDP_SOURCE + source, 2 - source) &&
               iotsec_rd_copy(in, header + UDP_TARGET + target, 2 - target);
    }
    return read && ((first & NHC_NO_CHECKSUM) != 0 ||
                    (iotsec_rd_copy(in, header + UDP_CHECKSUM, 2) && iotsec_get_u16(header + UDP_CHECKSUM) != 0));
}

enum net_drop lowpan_read(uint8_t header[NET_HEADER_BYTES], const uint8_t *in, size_t *len, size_t total,
                          const uint8_t source[8], const uint8_t target[8], const uint8_t *prefix)
{
    struct iotsec_reader reader;
    enum net_drop reason;
    uint8_t bits = 0;
    uint8_t contexts = 0;
    uint8_t first;
    uint8_t nhc = 0;
    uint8_t lengths[2];

    memset(header, 0, NET_HEADER_BYTES);
    iotsec_rd_init(&reader, in, *len);
    if (!iotsec_rd_u8(&reader, &first)) {
        return NET_DROP_HEADER;
    }
    if (first == PLAIN) {
        if (!iotsec_rd_copy(&reader, header, LOWPAN_IPV6_BYTES) || header[0] >> 4 != 6) {
            return NET_DROP_HEADER;
        }
    } else if ((first & IPHC_MASK) != IPHC) {
        return NET_DROP_DISPATCH;
    } else {
        header[IP_HOPS] = hop_limits[first & 3u];
        if (!iotsec_rd_u8(&reader, &bits) || ((bits & CID) != 0 && !iotsec_rd_u8(&reader, &contexts)) ||
            !read_flow(&reader, first >> TF_AT & 3u, header) ||
            ((first & NH) == 0 && !iotsec_rd_u8(&reader, header + IP_NEXT)) ||
            ((first & 3u) == 0 && !iotsec_rd_u8(&reader, header + IP_HOPS))) {
            return NET_DROP_HEADER;
        }
        /* a source that is stateful and has 128 bits is the unspecified address, whatever the context */
        reason = NET_DROP_COUNT;
        if ((bits >> 4 & (STATEFUL | MODE_MASK)) != STATEFUL) {
            reason = read_unicast(&reader, bits >> 4, contexts >> 4 == 0 ? prefix : NULL, source, header + IP_SOURCE);
        }
        if (reason == NET_DROP_COUNT) {
            prefix = (contexts & 15u) == 0 ? prefix : NULL;
            if ((bits & MULTICAST) != 0) {
                reason = read_group(&reader, bits, prefix, header + IP_TARGET);
            } else if ((bits & (STATEFUL | MODE_MASK)) == STATEFUL) {
                reason = NET_DROP_DISPATCH;
            } else {
                reason = read_unicast(&reader, bits, prefix, target, header + IP_TARGET);
            }
        }
        if (reason != NET_DROP_COUNT) {
            return reason;
        }
        if ((first & NH) != 0) {
            header[IP_NEXT] = LOWPAN_UDP;
            if (!iotsec_rd_u8(&reader, &nhc)) {
                return NET_DROP_HEADER;
            }
            if ((nhc & NHC_UDP_MASK) != NHC_UDP) {
                return NET_DROP_DISPATCH;
            }
            if (!read_udp(&reader, nhc, header)) {
                return NET_DROP_HEADER;
            }
        }
    }
    if (header[IP_NEXT] == LOWPAN_UDP && nhc == 0 &&
        (!iotsec_rd_copy(&reader, header + UDP_SOURCE, UDP_BYTES) || iotsec_get_u16(header + UDP_CHECKSUM) == 0)) {
        return NET_DROP_HEADER;
    }

    /* lengths are left out where the header is compressed, and must be right where they are there */
    if (total == 0) {
        total = lowpan_head(header) + reader.left;
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
    *len -= reader.left;
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

static unsigned write_group(struct iotsec_writer *out, const uint8_t *address, const uint8_t *prefix)
{
    size_t len;

    if (address[1] == 0x02 && is_zero(address + 2, 13)) {
        iotsec_wr_u8(out, address[15]);
        return MULTICAST | GROUP_8;
    }
    if (prefix != NULL && address[3] == 64 && frame_same(address + 4, prefix)) {
        iotsec_wr_copy(out, address + 1, 2);
        iotsec_wr_copy(out, address + 12, 4);
        return MULTICAST | STATEFUL;
    }
    if (!is_zero(address + 2, 9)) {
        iotsec_wr_copy(out, address, 16);
        return MULTICAST | GROUP_128;
    }
    len = is_zero(address + 11, 2) ? 3 : 5;
    iotsec_wr_u8(out, address[1]);
    iotsec_wr_copy(out, address + 16 - len, len);
    return len == 3 ? MULTICAST | GROUP_32 : MULTICAST | GROUP_48;
}

static unsigned write_flow(struct iotsec_writer *out, const uint8_t header[4])
{
    unsigned class = ((unsigned)header[0] << 4 | header[1] >> 4) & 0xFFu;
    unsigned label = header[1] & 15u;

    class = class >> 2 | (class << 6 & 0xC0u);
    if (label == 0 && is_zero(header + 2, 2)) {
        if (class == 0) {
            return TF_NONE;
        }
        iotsec_wr_u8(out, (uint8_t)class);
        return 2;
    }
    if ((class & 0x3Fu) == 0) {
        iotsec_wr_u8(out, (uint8_t)(class | label));
        iotsec_wr_copy(out, header + 2, 2);
        return 1;
    }
    iotsec_wr_u8(out, (uint8_t)class);
    iotsec_wr_u8(out, (uint8_t)label);
    iotsec_wr_copy(out, header + 2, 2);
    return 0;
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
    bits = write_flow(&writer, header);
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
    bits |= header[IP_TARGET] == 0xFF ? write_group(&writer, header + IP_TARGET, prefix)
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
