/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hello extensions (RFC 5246, section 7.4.1.4).
 *
 *     C -> S  ClientHello   extended_master_secret, (max_fragment_length,) (connection_id,) plugged-in ones
 *     C <- S  ServerHello   of these the ones that the server knows, and renegotiation_info
 *
 * Built-in and plugged-in ones are numbered through. The number is the bit in `offered`: what the
 * client's hello had. A client signals RFC 5746 by the cipher suite value, which is 3 bytes shorter
 * and counts as offering renegotiation_info (RFC 5746, section 3.4).
 */
#include "handshake/engine.h"

#include <string.h>

/* Random IDs that are tried. With 65 000 sessions of 65 536 the last is likely to fail too: then there is none. */
#define CID_TRIES 8u

/* The built-in ones, in the order in which they stand in a hello. */
enum {
    OWN_RENEGOTIATION_INFO,
    OWN_EXTENDED_MASTER_SECRET,
#if IOTSEC_MAX_FRAGMENT_LENGTH
    OWN_MAX_FRAGMENT_LENGTH,
#endif
#if IOTSEC_CONNECTION_ID
    OWN_CONNECTION_ID,
#endif
    OWN_COUNT
};

static const uint16_t own_types[] = {
    IOTSEC_EXTENSION_RENEGOTIATION_INFO,
    IOTSEC_EXTENSION_EXTENDED_MASTER_SECRET,
#if IOTSEC_MAX_FRAGMENT_LENGTH
    IOTSEC_EXTENSION_MAX_FRAGMENT_LENGTH,
#endif
#if IOTSEC_CONNECTION_ID
    IOTSEC_EXTENSION_CONNECTION_ID,
#endif
};

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

/* Length, and the ID that the other end is to write (RFC 9146, section 3). A client wants none. False: left out. */
static bool write_connection_id(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, struct iotsec_writer *w)
{
#if IOTSEC_DTLS_SERVER
    if (iotsec_hs_is_server(hs)) {
        if ((hs->slot.flags & HS_CID) == 0) {
            return false;
        }
        iotsec_hs_unset(hs, HS_CID); /* else the ID would meet itself */
        if (w->size - w->len < 1 + sizeof hs->cid || !make_cid(dtls, hs->cid)) {
            hs->peer_cid[0] = 0; /* neither end writes one */
            return false;
        }
        hs->slot.flags |= HS_CID;
        iotsec_wr_u8(w, sizeof hs->cid);
        iotsec_wr_copy(w, hs->cid, sizeof hs->cid);
        return true;
    }
#endif
    iotsec_wr_u8(w, 0);
    return dtls->config->connection_id == IOTSEC_CONNECTION_ID_ON ||
           (dtls->config->connection_id == IOTSEC_CONNECTION_ID_LINK_LOCAL && iotsec_addr_is_link_local(&hs->path.addr));
}

static enum iotsec_status parse_connection_id(const struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                              const uint8_t *body, size_t len)
{
    bool is_server = iotsec_hs_is_server(hs);

    if (len == 0 || body[0] != len - 1) {
        return IOTSEC_ERR_DECODE;
    }
    if (len > sizeof hs->peer_cid || (is_server && dtls->config->connection_id == IOTSEC_CONNECTION_ID_OFF)) {
        /* a server leaves its answer out; a client has no way to refuse the ID but to refuse the hello */
        return is_server ? IOTSEC_OK : IOTSEC_ERR_TOO_LONG;
    }
    memcpy(hs->peer_cid, body, len);
    if (is_server || len > 1) {
        hs->slot.flags |= HS_CID;
    }
    return IOTSEC_OK;
}
#endif

/* The body of a built-in one. False: it is left out, whatever was written. */
static bool write_own(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, unsigned number, struct iotsec_writer *w)
{
    switch (number) {
#if IOTSEC_CONNECTION_ID
    case OWN_CONNECTION_ID:
        return write_connection_id(dtls, hs, w);
#endif
#if IOTSEC_MAX_FRAGMENT_LENGTH
    case OWN_MAX_FRAGMENT_LENGTH:
        iotsec_wr_u8(w, hs->max_fragment);
        return hs->max_fragment != 0;
#endif
    case OWN_RENEGOTIATION_INFO:
        /* a client says it by the cipher suite value; a server had no earlier handshake whose Finished it could name */
        iotsec_wr_u8(w, 0);
        return iotsec_hs_is_server(hs);
    default: /* extended_master_secret: empty */
        (void)dtls;
        return true;
    }
}

static enum iotsec_status parse_own(const struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, unsigned number,
                                    const uint8_t *body, size_t len)
{
    switch (number) {
#if IOTSEC_CONNECTION_ID
    case OWN_CONNECTION_ID:
        return parse_connection_id(dtls, hs, body, len);
#endif
#if IOTSEC_MAX_FRAGMENT_LENGTH
    case OWN_MAX_FRAGMENT_LENGTH:
        if (len != 1 || body[0] < 1 || body[0] > 4 || (!iotsec_hs_is_server(hs) && body[0] != hs->max_fragment)) {
            return IOTSEC_ERR_DECODE;
        }
        hs->max_fragment = body[0];
        hs->slot.flags |= HS_SHORT;
        return IOTSEC_OK;
#endif
    case OWN_RENEGOTIATION_INFO:
        hs->slot.flags |= HS_RI;
        /* anything but an empty field would belong to a renegotiation */
        return len == 1 && body[0] == 0 ? IOTSEC_OK : IOTSEC_ERR_DECODE;
    default:
        (void)dtls;
        hs->slot.flags |= HS_EMS;
        return len == 0 ? IOTSEC_OK : IOTSEC_ERR_DECODE;
    }
}

static void get_hello(struct iotsec_dtls_handshake *hs, struct iotsec_dtls_hello *hello)
{
    hello->handshake = hs->slot.handle;
    hello->is_server = iotsec_hs_is_server(hs);
    hello->peer = hs->peer;
    hello->scratch = hs->scratch;
}

enum iotsec_status iotsec_extensions_write(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, struct iotsec_writer *w)
{
    const struct iotsec_dtls_config *config = dtls->config;
    struct iotsec_dtls_hello hello;
    unsigned count = (unsigned)(OWN_COUNT + config->extension_count);
    size_t all = iotsec_wr_open16(w);
    unsigned number;

    get_hello(hs, &hello);
    if (!hello.is_server) {
        hs->offered = 1u << OWN_RENEGOTIATION_INFO;
    }
    for (number = 0; number < count; number++) {
        const struct iotsec_dtls_extension *row = number < OWN_COUNT ? NULL : &config->extensions[number - OWN_COUNT];
        size_t start = w->len;
        size_t mark;
        bool sent;

        if (hello.is_server && (hs->offered & 1u << number) == 0) {
            continue;
        }
        iotsec_wr_u16(w, row == NULL ? own_types[number] : row->type);
        mark = iotsec_wr_open16(w);
        if (w->failed) {
            break;
        }
        if (row == NULL) {
            sent = write_own(dtls, hs, number, w);
        } else {
            size_t len = 0;
            enum iotsec_status status = row->write(config->user, &hello, w->start + w->len, w->size - w->len, &len);

            if (iotsec_handshake_get(dtls, hello.handshake) == NULL) {
                return IOTSEC_ERR_CANCELLED; /* by the row itself */
            }
            sent = status == IOTSEC_OK;
            if (!sent && status != IOTSEC_ERR_NOT_FOUND) {
                return status;
            }
            if (sent && len > w->size - w->len) {
                return IOTSEC_ERR_BUFFER;
            }
            w->len += len;
        }
        if (!sent) {
            w->len = start;
            w->failed = false;
            continue;
        }
        iotsec_wr_close16(w, mark);
        hs->offered = (uint16_t)(hs->offered | 1u << number);
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
    const struct iotsec_dtls_config *config = dtls->config;
    unsigned count = (unsigned)(OWN_COUNT + config->extension_count);
    struct iotsec_dtls_hello hello;
    unsigned seen = 0;

    get_hello(hs, &hello);
    while (r->left != 0) {
        const struct iotsec_dtls_extension *row = config->extensions;
        unsigned number = 0;
        const uint8_t *body;
        enum iotsec_status status;
        uint16_t type;
        uint16_t len;

        if (!iotsec_rd_u16(r, &type) || !iotsec_rd_u16(r, &len) || !iotsec_rd_view(r, &body, len)) {
            return IOTSEC_ERR_DECODE;
        }
        while (number < OWN_COUNT && own_types[number] != type) {
            number++;
        }
        if (number == OWN_COUNT) {
            while (number < count && row->type != type) {
                number++;
                row++;
            }
        }
        if (number == count && hello.is_server) {
            continue; /* unknown ones in a ClientHello are to be ignored */
        }
        if (number == count || (!hello.is_server && (hs->offered & 1u << number) == 0)) {
            return IOTSEC_ERR_PROTOCOL;
        }
        if ((seen >> number & 1u) != 0) {
            return IOTSEC_ERR_DECODE;
        }
        seen |= 1u << number;
        if (number < OWN_COUNT) {
            status = parse_own(dtls, hs, number, body, len);
        } else {
            status = row->parse(config->user, &hello, body, len);
            if (iotsec_handshake_get(dtls, hello.handshake) == NULL) {
                return IOTSEC_ERR_CANCELLED; /* by the row itself */
            }
        }
        if (status != IOTSEC_OK) {
            return refusal_of(status, hello.is_server != 0);
        }
    }
    if ((hs->slot.flags & HS_RI) != 0) {
        seen |= 1u << OWN_RENEGOTIATION_INFO;
    }
    hs->offered = (uint16_t)(hs->offered | seen); /* a client's has them already */
    if (config->require_extended_master_secret && (hs->slot.flags & HS_EMS) == 0) {
        return IOTSEC_ERR_NO_EMS;
    }
    if (config->require_renegotiation_info && (hs->slot.flags & HS_RI) == 0) {
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
