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

/* For built-in rows `user` is this. */
struct scope {
    const struct iotsec_dtls *dtls;
    struct iotsec_dtls_handshake *hs;
};

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
    struct scope *scope = user;

    (void)hello;
    (void)body;
    scope->hs->flags |= HS_EMS;
    return len == 0 ? IOTSEC_OK : IOTSEC_ERR_DECODE;
}

static enum iotsec_status write_renegotiation_info(void *user, const struct iotsec_dtls_hello *hello, uint8_t *out,
                                                   size_t size, size_t *len)
{
    (void)user;
    if (!hello->is_server) {
        return IOTSEC_ERR_NOT_FOUND; /* the cipher suite value says it */
    }
    if (size < 1) {
        return IOTSEC_ERR_BUFFER;
    }
    out[0] = 0; /* no earlier handshake whose Finished could be named */
    *len = 1;
    return IOTSEC_OK;
}

static enum iotsec_status parse_renegotiation_info(void *user, const struct iotsec_dtls_hello *hello, const uint8_t *body,
                                                   size_t len)
{
    struct scope *scope = user;

    (void)hello;
    scope->hs->flags |= HS_RI;
    /* anything but an empty field would belong to a renegotiation */
    return len == 1 && body[0] == 0 ? IOTSEC_OK : IOTSEC_ERR_DECODE;
}

#if IOTSEC_MAX_FRAGMENT_LENGTH
static enum iotsec_status write_max_fragment_length(void *user, const struct iotsec_dtls_hello *hello, uint8_t *out,
                                                    size_t size, size_t *len)
{
    struct scope *scope = user;
    uint8_t code = hello->is_server ? scope->hs->max_fragment : scope->dtls->config->max_fragment_length;

    if (code == 0) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    if (size < 1) {
        return IOTSEC_ERR_BUFFER;
    }
    out[0] = code;
    *len = 1;
    return IOTSEC_OK;
}

static enum iotsec_status parse_max_fragment_length(void *user, const struct iotsec_dtls_hello *hello, const uint8_t *body,
                                                    size_t len)
{
    struct scope *scope = user;

    if (len != 1 || body[0] < 1 || body[0] > 4 ||
        (!hello->is_server && body[0] != scope->dtls->config->max_fragment_length)) {
        return IOTSEC_ERR_DECODE;
    }
    scope->hs->max_fragment = body[0];
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

static const struct iotsec_dtls_extension *get_row(const struct iotsec_dtls *dtls, size_t i)
{
    if (i < BUILT_IN) {
        return &built_in[i];
    }
    i -= BUILT_IN;
    return i < dtls->config->extension_count ? &dtls->config->extensions[i] : NULL;
}

static void fill_hello(const struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, struct iotsec_dtls_hello *hello)
{
    hello->handshake = iotsec_handshake_handle(dtls, hs);
    hello->is_server = iotsec_hs_is_server(hs);
    hello->peer = hs->peer;
    hello->scratch = hs->scratch;
}

enum iotsec_status iotsec_extensions_write(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, struct iotsec_writer *w)
{
    struct scope scope;
    struct iotsec_dtls_hello hello;
    const struct iotsec_dtls_extension *row;
    size_t all = iotsec_wr_open16(w);
    size_t i;

    scope.dtls = dtls;
    scope.hs = hs;
    fill_hello(dtls, hs, &hello);
    if (!hello.is_server) {
        hs->offered = BIT_RENEGOTIATION_INFO;
    }
    for (i = 0; (row = get_row(dtls, i)) != NULL; i++) {
        enum iotsec_status status;
        size_t len = 0;
        size_t start = w->len;
        size_t mark;

        if (hello.is_server && (hs->offered & 1u << i) == 0) {
            continue;
        }
        iotsec_wr_u16(w, row->type);
        mark = iotsec_wr_open16(w);
        if (w->failed) {
            return IOTSEC_ERR_BUFFER;
        }
        status = row->write(i < BUILT_IN ? &scope : dtls->config->user, &hello, w->start + w->len, w->size - w->len, &len);
        if (iotsec_handshake_get(dtls, hello.handshake) != hs) {
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
        if (!hello.is_server) {
            hs->offered = (uint16_t)(hs->offered | 1u << i);
        }
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
    struct scope scope;
    struct iotsec_dtls_hello hello;
    uint32_t seen = 0;

    scope.dtls = dtls;
    scope.hs = hs;
    fill_hello(dtls, hs, &hello);
    while (r->left != 0) {
        const struct iotsec_dtls_extension *row;
        struct iotsec_reader body;
        enum iotsec_status status;
        uint16_t type;
        uint16_t len;
        size_t i;

        if (!iotsec_rd_u16(r, &type) || !iotsec_rd_u16(r, &len) || !iotsec_rd_sub(r, &body, len)) {
            return IOTSEC_ERR_DECODE;
        }
        for (i = 0; (row = get_row(dtls, i)) != NULL && row->type != type; i++) {
        }
        if (row == NULL) {
            if (hello.is_server) {
                continue; /* unknown ones in a ClientHello are to be ignored */
            }
            return IOTSEC_ERR_PROTOCOL;
        }
        if ((seen & 1u << i) != 0) {
            return IOTSEC_ERR_DECODE;
        }
        seen |= 1u << i;
        if (!hello.is_server && (hs->offered & 1u << i) == 0) {
            return IOTSEC_ERR_PROTOCOL;
        }
        status = row->parse(i < BUILT_IN ? &scope : dtls->config->user, &hello, body.next, len);
        if (iotsec_handshake_get(dtls, hello.handshake) != hs) {
            return IOTSEC_ERR_CANCELLED; /* by the row itself */
        }
        if (status != IOTSEC_OK) {
            return IOTSEC_ERR_PROTOCOL;
        }
    }
    if (hello.is_server) {
        hs->offered = (uint16_t)(hs->offered | seen | ((hs->flags & HS_RI) != 0 ? BIT_RENEGOTIATION_INFO : 0));
    }
    return IOTSEC_OK;
}

enum iotsec_status iotsec_extensions_parse(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                           struct iotsec_reader *r)
{
    uint8_t scratch[IOTSEC_HANDSHAKE_SCRATCH_BYTES];
    uint16_t flags = hs->flags;
    uint8_t max_fragment = hs->max_fragment;
    enum iotsec_status status;

    memcpy(scratch, hs->scratch, sizeof scratch);
    status = parse_all(dtls, hs, r);
    if (status != IOTSEC_OK && status != IOTSEC_ERR_CANCELLED) {
        /* a forged hello must leave no traces in a handshake that a genuine one continues */
        memcpy(hs->scratch, scratch, sizeof scratch);
        hs->flags = flags;
        hs->max_fragment = max_fragment;
    }
    return status;
}

enum iotsec_status iotsec_extensions_required(const struct iotsec_dtls *dtls, const struct iotsec_dtls_handshake *hs)
{
    if (dtls->config->require_extended_master_secret && (hs->flags & HS_EMS) == 0) {
        return IOTSEC_ERR_NO_EMS;
    }
    if (dtls->config->require_renegotiation_info && (hs->flags & HS_RI) == 0) {
        return IOTSEC_ERR_NO_RENEGOTIATION_INFO;
    }
    return IOTSEC_OK;
}
