/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hello extensions (RFC 5246, section 7.4.1.4).
 *
 *     C -> S  ClientHello   extended_master_secret, (max_fragment_length,) (connection_id,) plugged-in ones
 *     C <- S  ServerHello   of these the ones that the server knows, and renegotiation_info
 *
 * One walk serves built-in and plugged-in rows alike. A row's number is its bit in `offered`: what the
 * client's hello had. A client signals RFC 5746 by the cipher suite value, which is 3 bytes shorter
 * and counts as offering renegotiation_info (RFC 5746, section 3.4).
 */
#include "handshake/engine.h"

#include <string.h>

/* Random IDs that are tried. With 65 000 sessions of 65 536 the last is likely to fail too: then there is none. */
#define CID_TRIES 8u

/* What a walk over the rows needs. */
struct walk {
    const struct iotsec_dtls_extension *row;
    unsigned bit;
    struct iotsec_dtls *dtls;
    struct iotsec_dtls_handshake *hs;
    void *user;
    struct iotsec_dtls_hello hello;
};

/* Built-in rows get the walk as `user`. */

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
    struct iotsec_dtls_handshake *hs = ((const struct walk *)user)->hs;

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
    struct iotsec_dtls_handshake *hs = ((const struct walk *)user)->hs;

    (void)hello;
    hs->slot.flags |= HS_RI;
    /* anything but an empty field would belong to a renegotiation */
    return len == 1 && body[0] == 0 ? IOTSEC_OK : IOTSEC_ERR_DECODE;
}

#if IOTSEC_MAX_FRAGMENT_LENGTH
static enum iotsec_status write_max_fragment_length(void *user, const struct iotsec_dtls_hello *hello, uint8_t *out,
                                                    size_t size, size_t *len)
{
    struct iotsec_dtls_handshake *hs = ((const struct walk *)user)->hs;

    (void)hello;
    return hs->max_fragment != 0 ? write_byte(hs->max_fragment, out, size, len) : IOTSEC_ERR_NOT_FOUND;
}

static enum iotsec_status parse_max_fragment_length(void *user, const struct iotsec_dtls_hello *hello, const uint8_t *body,
                                                    size_t len)
{
    struct iotsec_dtls_handshake *hs = ((const struct walk *)user)->hs;

    if (len != 1 || body[0] < 1 || body[0] > 4 || (!hello->is_server && body[0] != hs->max_fragment)) {
        return IOTSEC_ERR_DECODE;
    }
    hs->max_fragment = body[0];
    hs->slot.flags |= HS_SHORT;
    return IOTSEC_OK;
}
#endif

#if IOTSEC_CONNECTION_ID
#if IOTSEC_DTLS_SERVER
/* Whether one of our handshakes or sessions has it already. */
static bool cid_is_taken(const struct iotsec_dtls *dtls, const uint8_t cid[IOTSEC_CID_OWN_BYTES])
{
    uint16_t i;

    for (i = 0; i < dtls->config->handshake_count; i++) {
        const struct iotsec_dtls_handshake *hs = &dtls->config->handshakes[i];

        if ((hs->slot.flags & HS_CID) != 0 && memcmp(hs->cid, cid, IOTSEC_CID_OWN_BYTES) == 0) {
            return true;
        }
    }
    return iotsec_cid_find(dtls, cid) != NULL;
}

/* The ID is a stranger to all our others, so that a record's names one of them. */
static bool make_cid(const struct iotsec_dtls *dtls, uint8_t cid[IOTSEC_CID_OWN_BYTES])
{
    unsigned tries;

    for (tries = 0; tries < CID_TRIES; tries++) {
        if (iotsec_dtls_random(dtls, cid, IOTSEC_CID_OWN_BYTES) == IOTSEC_OK && !cid_is_taken(dtls, cid)) {
            return true;
        }
    }
    return false;
}
#endif

/* Length, and the ID that the other end is to write (RFC 9146, section 3). A client wants none. */
static enum iotsec_status write_connection_id(void *user, const struct iotsec_dtls_hello *hello, uint8_t *out, size_t size,
                                              size_t *len)
{
    const struct walk *walk = user;
    struct iotsec_dtls_handshake *hs = walk->hs;

#if IOTSEC_DTLS_SERVER
    if (hello->is_server) {
        uint8_t cid[IOTSEC_CID_OWN_BYTES];

        if ((hs->slot.flags & HS_CID) == 0) {
            return IOTSEC_ERR_NOT_FOUND;
        }
        iotsec_hs_unset(hs, HS_CID);
        if (size < 1 + sizeof cid || !make_cid(walk->dtls, cid)) {
            hs->peer_cid[0] = 0; /* neither end writes one */
            return IOTSEC_ERR_NOT_FOUND;
        }
        hs->slot.flags |= HS_CID;
        memcpy(hs->cid, cid, sizeof cid);
        memcpy(out + 1, cid, sizeof cid);
        out[0] = sizeof cid;
        *len = 1 + sizeof cid;
        return IOTSEC_OK;
    }
#else
    (void)hello;
#endif
    if (walk->dtls->config->connection_id == IOTSEC_CONNECTION_ID_ON ||
        (walk->dtls->config->connection_id == IOTSEC_CONNECTION_ID_LINK_LOCAL && iotsec_addr_is_link_local(&hs->path.addr))) {
        return write_byte(0, out, size, len);
    }
    return IOTSEC_ERR_NOT_FOUND;
}

static enum iotsec_status parse_connection_id(void *user, const struct iotsec_dtls_hello *hello, const uint8_t *body, size_t len)
{
    const struct walk *walk = user;
    struct iotsec_dtls_handshake *hs = walk->hs;

    if (len == 0 || body[0] != len - 1) {
        return IOTSEC_ERR_DECODE;
    }
    if (len > sizeof hs->peer_cid || (hello->is_server && walk->dtls->config->connection_id == IOTSEC_CONNECTION_ID_OFF)) {
        /* a server leaves its answer out; a client has no way to refuse the ID but to refuse the hello */
        return hello->is_server ? IOTSEC_OK : IOTSEC_ERR_TOO_LONG;
    }
    memcpy(hs->peer_cid, body, len);
    if (hello->is_server || len > 1) {
        hs->slot.flags |= HS_CID;
    }
    return IOTSEC_OK;
}
#endif

static const struct iotsec_dtls_extension built_in[] = {
    { IOTSEC_EXTENSION_RENEGOTIATION_INFO, write_renegotiation_info, parse_renegotiation_info },
    { IOTSEC_EXTENSION_EXTENDED_MASTER_SECRET, write_extended_master_secret, parse_extended_master_secret },
#if IOTSEC_MAX_FRAGMENT_LENGTH
    { IOTSEC_EXTENSION_MAX_FRAGMENT_LENGTH, write_max_fragment_length, parse_max_fragment_length },
#endif
#if IOTSEC_CONNECTION_ID
    { IOTSEC_EXTENSION_CONNECTION_ID, write_connection_id, parse_connection_id },
#endif
};

#define BUILT_IN (sizeof built_in / sizeof built_in[0])
#define BIT_RENEGOTIATION_INFO 1u

static void start_walk(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, struct walk *walk)
{
    walk->dtls = dtls;
    walk->hs = hs;
    walk->bit = 0;
    walk->hello.handshake = hs->slot.handle;
    walk->hello.is_server = iotsec_hs_is_server(hs);
    walk->hello.peer = hs->peer;
    walk->hello.scratch = hs->scratch;
}

/* The next row, its bit and its user; false after the last. */
static bool step_walk(struct walk *walk)
{
    walk->bit = walk->bit != 0 ? walk->bit << 1 : 1u;
    if (walk->bit >> BUILT_IN == 0) {
        walk->row = walk->bit == 1 ? built_in : walk->row + 1;
        walk->user = walk;
        return true;
    }
    walk->row = walk->bit >> BUILT_IN == 1 ? walk->dtls->config->extensions : walk->row + 1;
    walk->user = walk->dtls->config->user;
    return walk->bit >> BUILT_IN >> walk->dtls->config->extension_count == 0;
}

enum iotsec_status iotsec_extensions_write(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, struct iotsec_writer *w)
{
    struct walk walk;
    size_t all = iotsec_wr_open16(w);

    start_walk(dtls, hs, &walk);
    if (!walk.hello.is_server) {
        hs->offered = BIT_RENEGOTIATION_INFO;
    }
    while (step_walk(&walk)) {
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

/* What a row's refusal comes to. */
static enum iotsec_status refusal_of(enum iotsec_status status, bool is_server)
{
#if IOTSEC_PAIRWISE
    if (is_server ? status == IOTSEC_ERR_AGAIN : status == IOTSEC_ERR_PEER_IDENTITY || status == IOTSEC_ERR_GENERATION) {
        return status;
    }
#else
    (void)status;
    (void)is_server;
#endif
    return IOTSEC_ERR_PROTOCOL;
}

static enum iotsec_status parse_all(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, struct iotsec_reader *r)
{
    struct walk walk;
    unsigned seen = 0;

    start_walk(dtls, hs, &walk);
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
            known = step_walk(&walk);
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
            return refusal_of(status, walk.hello.is_server != 0);
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
#if IOTSEC_CONNECTION_ID
    hs->peer_cid[0] = 0;
#endif
    status = parse_all(dtls, hs, r);
    if (status != IOTSEC_OK && status != IOTSEC_ERR_CANCELLED) {
        /* a forged hello must leave no traces in a handshake that a genuine one continues */
        memcpy(hs->scratch, scratch, sizeof scratch);
        hs->slot.flags = flags;
    }
    return status;
}
