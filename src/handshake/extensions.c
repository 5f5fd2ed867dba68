/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hello extensions (RFC 5246, section 7.4.1.4).
 *
 *     C -> S  ClientHello   extended_master_secret, (max_fragment_length,) plugged-in ones
 *     C <- S  ServerHello   of these the ones that the server knows, and renegotiation_info
 *
 * One walk serves built-in and plugged-in rows alike. A row's number is its bit in `offered`: what the
 * client's hello had. A client signals RFC 5746 by the cipher suite value, which is 3 bytes shorter
 * and counts as offering renegotiation_info (RFC 5746, section 3.4).
 */
#include "handshake/engine.h"

#include <string.h>

/* Built-in rows get the handshake as `user`. */

static enum iotsec_status write_extended_master_secret(void *user, const struct iotsec_dtls_hello *hello, uint8_t *out,
                                                       size_t size, size_t *len)
{
    (void)user;
    (void)hello;
    (void)out;
    (void)size;
    *len = 0;
    return IOTSEC_OK;
}

static enum iotsec_status parse_extended_master_secret(void *user, const struct iotsec_dtls_hello *hello,
                                                       const uint8_t *body, size_t len)
{
    struct iotsec_dtls_handshake *hs = user;

    (void)hello;
    (void)body;
    hs->slot.flags |= HS_EMS;
    return len == 0 ? IOTSEC_OK : IOTSEC_ERR_DECODE;
}

/* A body of one byte. */
static enum iotsec_status write_byte(uint8_t code, uint8_t *out, size_t size, size_t *len)
{
    if (size < 1) {
        return IOTSEC_ERR_BUFFER;
    }
    out[0] = code;
    *len = 1;
    return IOTSEC_OK;
}

static enum iotsec_status write_renegotiation_info(void *user, const struct iotsec_dtls_hello *hello, uint8_t *out,
                                                   size_t size, size_t *len)
{
    (void)user;
    /* a client says it by the cipher suite value; a server had no earlier handshake whose Finished it could name */
    return hello->is_server ? write_byte(0, out, size, len) : IOTSEC_ERR_NOT_FOUND;
}

static enum iotsec_status parse_renegotiation_info(void *user, const struct iotsec_dtls_hello *hello, const uint8_t *body,
                                                   size_t len)
{
    struct iotsec_dtls_handshake *hs = user;

    (void)hello;
    hs->slot.flags |= HS_RI;
    /* anything but an empty field would belong to a renegotiation */
    return len == 1 && body[0] == 0 ? IOTSEC_OK : IOTSEC_ERR_DECODE;
}

#if IOTSEC_MAX_FRAGMENT_LENGTH
static enum iotsec_status write_max_fragment_length(void *user, const struct iotsec_dtls_hello *hello, uint8_t *out,
                                                    size_t size, size_t *len)
{
    struct iotsec_dtls_handshake *hs = user;

    (void)hello;
    return hs->max_fragment != 0 ? write_byte(hs->max_fragment, out, size, len) : IOTSEC_ERR_NOT_FOUND;
}

static enum iotsec_status parse_max_fragment_length(void *user, const struct iotsec_dtls_hello *hello, const uint8_t *body,
                                                    size_t len)
{
    struct iotsec_dtls_handshake *hs = user;

    if (len != 1 || body[0] < 1 || body[0] > 4 || (!hello->is_server && body[0] != hs->max_fragment)) {
        return IOTSEC_ERR_DECODE;
    }
    hs->max_fragment = body[0];
    hs->slot.flags |= HS_SHORT;
    return IOTSEC_OK;
}
#endif

static const struct iotsec_dtls_extension built_in[] = {
    { IOTSEC_EXTENSION_RENEGOTIATION_INFO, write_renegotiation_info, parse_renegotiation_info },
    { IOTSEC_EXTENSION_EXTENDED_MASTER_SECRET, write_extended_master_secret, parse_extended_master_secret },
#if IOTSEC_MAX_FRAGMENT_LENGTH
    { IOTSEC_EXTENSION_MAX_FRAGMENT_LENGTH, write_max_fragment_length, parse_max_fragment_length },
#endif
};

#define BUILT_IN (sizeof built_in / sizeof built_in[0])
#define BIT_RENEGOTIATION_INFO 1u

/* What a walk over the rows needs. */
struct walk {
    const struct iotsec_dtls_extension *row;
    unsigned bit;
    void *user;
    struct iotsec_dtls_hello hello;
};

static void start_walk(struct iotsec_dtls_handshake *hs, struct walk *walk)
{
    walk->bit = 0;
    walk->hello.handshake = hs->slot.handle;
    walk->hello.is_server = iotsec_hs_is_server(hs);
    walk->hello.peer = hs->peer;
    walk->hello.scratch = hs->scratch;
}

/* The next row, its bit and its user; false after the last. */
static bool step_walk(const struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, struct walk *walk)
{
    walk->bit = walk->bit != 0 ? walk->bit << 1 : 1u;
    if (walk->bit >> BUILT_IN == 0) {
        walk->row = walk->bit == 1 ? built_in : walk->row + 1;
        walk->user = hs;
        return true;
    }
    walk->row = walk->bit >> BUILT_IN == 1 ? dtls->config->extensions : walk->row + 1;
    walk->user = dtls->config->user;
    return walk->bit >> BUILT_IN >> dtls->config->extension_count == 0;
}

enum iotsec_status iotsec_extensions_write(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, struct iotsec_writer *w)
{
    struct walk walk;
    size_t all = iotsec_wr_open16(w);

    start_walk(hs, &walk);
    if (!walk.hello.is_server) {
        hs->offered = BIT_RENEGOTIATION_INFO;
    }
    while (step_walk(dtls, hs, &walk)) {
        enum iotsec_status status;
        size_t len = 0;
        size_t start = w->len;
        size_t mark;

        if (walk.hello.is_server && (hs->offered & walk.bit) == 0) {
            continue;
        }
        iotsec_wr_u16(w, walk.row->type);
        mark = iotsec_wr_open16(w);
        if (w->failed) {
            return IOTSEC_ERR_BUFFER;
        }
        status = walk.row->write(walk.user, &walk.hello, w->start + w->len, w->size - w->len, &len);
        if (iotsec_handshake_get(dtls, walk.hello.handshake) == NULL) {
            return IOTSEC_ERR_CANCELLED; /* by the row itself */
        }
        if (status == IOTSEC_ERR_NOT_FOUND) {
            w->len = start;
            continue;
        }
        if (status != IOTSEC_OK) {
            return status;
        }
        if (len > w->size - w->len) {
            return IOTSEC_ERR_BUFFER;
        }
        w->len += len;
        iotsec_wr_close16(w, mark);
        hs->offered = (uint16_t)(hs->offered | walk.bit);
    }
    if (w->len == all + 2) {
        w->len = all; /* none: then there is no length either */
    } else {
        iotsec_wr_close16(w, all);
    }
    return w->failed ? IOTSEC_ERR_BUFFER : IOTSEC_OK;
}

static enum iotsec_status parse_all(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, struct iotsec_reader *r)
{
    struct walk walk;
    unsigned seen = 0;

    start_walk(hs, &walk);
    while (r->left != 0) {
        const uint8_t *body;
        enum iotsec_status status;
        uint16_t type;
        uint16_t len;
        bool known;

        if (!iotsec_rd_u16(r, &type) || !iotsec_rd_u16(r, &len) || !iotsec_rd_view(r, &body, len)) {
            return IOTSEC_ERR_DECODE;
        }
        walk.bit = 0;
        do {
            known = step_walk(dtls, hs, &walk);
        } while (known && walk.row->type != type);
        if (!known && walk.hello.is_server) {
            continue; /* unknown ones in a ClientHello are to be ignored */
        }
        if (!known || (!walk.hello.is_server && (hs->offered & walk.bit) == 0)) {
            return IOTSEC_ERR_PROTOCOL;
        }
        if ((seen & walk.bit) != 0) {
            return IOTSEC_ERR_DECODE;
        }
        seen |= walk.bit;
        status = walk.row->parse(walk.user, &walk.hello, body, len);
        if (iotsec_handshake_get(dtls, walk.hello.handshake) == NULL) {
            return IOTSEC_ERR_CANCELLED; /* by the row itself */
        }
        if (status != IOTSEC_OK) {
            return IOTSEC_ERR_PROTOCOL;
        }
    }
    if ((hs->slot.flags & HS_RI) != 0) {
        seen |= BIT_RENEGOTIATION_INFO;
    }
    hs->offered = (uint16_t)(hs->offered | seen); /* a client's has them already */
    if (dtls->config->require_extended_master_secret && (hs->slot.flags & HS_EMS) == 0) {
        return IOTSEC_ERR_NO_EMS;
    }
    if (dtls->config->require_renegotiation_info && (hs->slot.flags & HS_RI) == 0) {
        return IOTSEC_ERR_NO_RENEGOTIATION_INFO;
    }
    return IOTSEC_OK;
}

enum iotsec_status iotsec_extensions_parse(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                           struct iotsec_reader *r)
{
    uint8_t scratch[IOTSEC_HANDSHAKE_SCRATCH_BYTES];
    uint16_t flags = hs->slot.flags;
    enum iotsec_status status;

    memcpy(scratch, hs->scratch, sizeof scratch);
    status = parse_all(dtls, hs, r);
    if (status != IOTSEC_OK && status != IOTSEC_ERR_CANCELLED) {
        /* a forged hello must leave no traces in a handshake that a genuine one continues */
        memcpy(hs->scratch, scratch, sizeof scratch);
        hs->slot.flags = flags;
    }
    return status;
}
