/* SPDX-License-Identifier: BSD-3-Clause */
/*
 *     82 | head, header (0 to 32) | head, content          RFC 8949, sections 3 and 3.1
 *
 *     head = major type (3 bits) | argument (5 bits): 0 to 23 the length itself; 24 to 27 it follows in 1, 2, 4, 8 bytes
 */
#include "record/join_proxy.h"

#include <iotsec/config.h>

#include "base/bytes.h"

#if IOTSEC_ROLE_RELAY || IOTSEC_RELAYED

#define ARRAY_OF_TWO 0x82u
#define BYTE_STRING 0x40u
#define MAJOR_TYPE 0xE0u
#define ARGUMENT 0x1Fu
#define IN_ONE_BYTE 24u
#define IN_TWO_BYTES 25u
#define IN_EIGHT_BYTES 27u

static size_t head_bytes(size_t len)
{
    return len < IN_ONE_BYTE ? 1 : len < 256 ? 2 : 3;
}

size_t iotsec_join_proxy_overhead(size_t header_len, size_t content_len)
{
    return 1 + head_bytes(header_len) + header_len + head_bytes(content_len);
}

static void write_head(struct iotsec_writer *w, size_t len)
{
    if (len < IN_ONE_BYTE) {
        iotsec_wr_u8(w, (uint8_t)(BYTE_STRING | len));
    } else if (len < 256) {
        iotsec_wr_u16(w, (uint16_t)((BYTE_STRING | IN_ONE_BYTE) << 8 | len));
    } else {
        iotsec_wr_u24(w, (uint32_t)((BYTE_STRING | IN_TWO_BYTES) << 16 | len));
    }
}

void iotsec_join_proxy_write(uint8_t *out, const uint8_t *header, size_t header_len, size_t content_len)
{
    struct iotsec_writer w;

    iotsec_wr_init(&w, out, iotsec_join_proxy_overhead(header_len, content_len));
    iotsec_wr_u8(&w, ARRAY_OF_TWO);
    write_head(&w, header_len);
    iotsec_wr_copy(&w, header, header_len);
    write_head(&w, content_len);
}

static bool read_string(struct iotsec_reader *r, const uint8_t **string, size_t *len)
{
    uint8_t byte;
    uint32_t n;
    unsigned more;

    if (!iotsec_rd_u8(r, &byte) || (byte & MAJOR_TYPE) != BYTE_STRING || (byte & ARGUMENT) > IN_EIGHT_BYTES) {
        return false;
    }
    n = byte & ARGUMENT;
    if (n >= IN_ONE_BYTE) {
        more = 1u << (n - IN_ONE_BYTE);
        for (n = 0; more != 0; more--) {
            /* no datagram is that long, and the next byte would push the top ones out */
            if (n > 0xFFFF || !iotsec_rd_u8(r, &byte)) {
                return false;
            }
            n = n << 8 | byte;
        }
    }
    *len = n;
    return iotsec_rd_view(r, string, n);
}

enum iotsec_status iotsec_join_proxy_read(const uint8_t *datagram, size_t len, const uint8_t **header, size_t *header_len,
                                          const uint8_t **content, size_t *content_len)
{
    struct iotsec_reader r;
    const uint8_t *found_header;
    const uint8_t *found_content;
    size_t found_header_len;
    size_t found_content_len;
    uint8_t array;

    iotsec_rd_init(&r, datagram, len);
    if (!iotsec_rd_u8(&r, &array) || array != ARRAY_OF_TWO || !read_string(&r, &found_header, &found_header_len) ||
        !read_string(&r, &found_content, &found_content_len) || r.left != 0 || found_header_len > IOTSEC_RELAY_HEADER_MAX ||
        found_content_len == 0) {
        return IOTSEC_ERR_DECODE;
    }
    *header = found_header;
    *header_len = found_header_len;
    *content = found_content;
    *content_len = found_content_len;
    return IOTSEC_OK;
}

#endif
