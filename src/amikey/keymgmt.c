/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The codec of the key-management messages; keymgmt.h draws them. Every kind has the fields of one row
 * below, always in the same order:
 *
 *     kind, message | group(2) | key or L2 number(4) | sender(2) | TGK, RAND or L2 key(16) | address(5 or 16), port(2) |
 *     PAN ID(2), short address(2), prefix(8), manager(8 or 16), port(2) | next generation(4), held(2) | degree | first |
 *     revoked | code | elements(16 n) or marks(8 n)
 */
#include "amikey/keymgmt.h"

#include <string.h>

#include "base/bytes.h"

#define ALL 1u /* what every kind has; 0 is no kind */
#define GROUP 2u
#define KEY_NUMBER 4u
#define SENDER 8u
#define SECRET 16u
#define ADDRESS 32u
#define CODE 64u
#define LINK (IOTSEC_ACCESS ? 128u : 0u)
/* These say that the number is the generation of a polynomial. */
#define HELD (IOTSEC_PAIRWISE ? 256u : 0u)
#define ELEMENTS (IOTSEC_PAIRWISE ? 512u : 0u)
#define MARKS (IOTSEC_PAIRWISE ? 1024u : 0u)

static const uint16_t fields_of[] = {
    [IOTSEC_KM_MASTER_KEY] = ALL | GROUP | KEY_NUMBER | SENDER | SECRET,
    [IOTSEC_KM_PARAMETERS] = ALL | GROUP | KEY_NUMBER | SECRET | ADDRESS,
    [IOTSEC_KM_PARAMETERS_EVICTION] = ALL | GROUP | KEY_NUMBER | SECRET | ADDRESS,
    [IOTSEC_KM_ACK] = ALL | CODE,
    [IOTSEC_KM_STATUS] = ALL | GROUP | KEY_NUMBER | SENDER | CODE,
    [IOTSEC_KM_GROUP_REQUEST] = ALL | GROUP,
    [IOTSEC_KM_GROUP_LEAVE] = ALL | GROUP,
    [IOTSEC_KM_DOMAIN_LEAVE] = ALL,
    [IOTSEC_KM_REFUSED] = ALL | GROUP | CODE,
    [IOTSEC_KM_EVICTED] = ALL,
    [IOTSEC_KM_GROUP_REMOVED] = ALL | GROUP,
#if IOTSEC_ACCESS
    [IOTSEC_KM_ACCESS] = ALL | KEY_NUMBER | SECRET | LINK | CODE,
    [IOTSEC_KM_PATH_CHECK] = ALL,
    [IOTSEC_KM_MOVED] = ALL,
#endif
#if IOTSEC_PAIRWISE
    [IOTSEC_KM_SHARE_STATUS] = ALL | KEY_NUMBER | HELD,
    [IOTSEC_KM_SHARE] = ALL | KEY_NUMBER | ELEMENTS | CODE,
    [IOTSEC_KM_REVOKED] = ALL | KEY_NUMBER | MARKS,
#endif
};

#define ADDRESS_BYTES 16u
#define PREFIX_BYTES 8u

static const struct {
    uint16_t field;
    uint8_t offset; /* of the member */
    uint8_t size;   /* 2 and 4: a number; else bytes */
} layout[] = {
    { ALL, offsetof(struct iotsec_km_message, kind), 1 },
    { ALL, offsetof(struct iotsec_km_message, message), 1 },
    { GROUP, offsetof(struct iotsec_km_message, group_id), 2 },
    { KEY_NUMBER, offsetof(struct iotsec_km_message, key_number), 4 },
    { SENDER, offsetof(struct iotsec_km_message, sender_id), 2 },
    { SECRET, offsetof(struct iotsec_km_message, secret), IOTSEC_KEY_BYTES },
    { ADDRESS, offsetof(struct iotsec_km_message, addr.ip), ADDRESS_BYTES },
    { ADDRESS, offsetof(struct iotsec_km_message, addr.port), 2 },
#if IOTSEC_ACCESS
    { LINK, offsetof(struct iotsec_km_message, pan_id), 2 },
    { LINK, offsetof(struct iotsec_km_message, short_address), 2 },
    { LINK, offsetof(struct iotsec_km_message, prefix), PREFIX_BYTES },
    { LINK, offsetof(struct iotsec_km_message, addr.ip), ADDRESS_BYTES },
    { LINK, offsetof(struct iotsec_km_message, addr.port), 2 },
#endif
#if IOTSEC_PAIRWISE
    { HELD, offsetof(struct iotsec_km_message, next_generation), 4 },
    { HELD, offsetof(struct iotsec_km_message, held), 2 },
    { ELEMENTS, offsetof(struct iotsec_km_message, degree), 1 },
    { ELEMENTS | MARKS, offsetof(struct iotsec_km_message, first), 1 },
    { HELD | ELEMENTS | MARKS, offsetof(struct iotsec_km_message, revoked), 1 },
#endif
    { CODE, offsetof(struct iotsec_km_message, code), 1 },
};
#define LAYOUT_COUNT (sizeof layout / sizeof layout[0])

/* Where the short form of an address has its second byte and its last four; what it leaves out is zero. */
#define SHORT_FROM 1u
#define SHORT_TAIL 12u
#define SHORT_LEFT_OUT 10u
#define SHORT_BYTES 5u

static unsigned find_fields(uint8_t kind)
{
    return kind < sizeof fields_of / sizeof fields_of[0] ? fields_of[kind] : 0;
}

uint8_t iotsec_km_content_type(uint8_t kind)
{
    return kind == IOTSEC_KM_MASTER_KEY || (IOTSEC_ACCESS && kind == IOTSEC_KM_ACCESS) ||
                   (IOTSEC_PAIRWISE && kind == IOTSEC_KM_SHARE)
               ? IOTSEC_CONTENT_MASTER_KEY_DATA
               : IOTSEC_CONTENT_SECURITY_PARAMETERS;
}

#if IOTSEC_PAIRWISE
typedef char every_message_fits[IOTSEC_KM_REVOKED_BYTES + IOTSEC_KM_REVOKED_MARKS * IOTSEC_REVOKED_BYTES <= IOTSEC_KM_MAX_BYTES &&
                                        IOTSEC_KM_FIXED_BYTES <= IOTSEC_KM_MAX_BYTES ? 1 : -1];

/* What stands at the end: an element has 2^4 bytes, a mark 2^3. */
typedef char the_shifts_fit[IOTSEC_POLY_ELEMENT_BYTES == 1 << 4 && IOTSEC_REVOKED_BYTES == 1 << 3 ? 1 : -1];

static unsigned find_shift(unsigned fields)
{
    return fields & ELEMENTS ? 4 : 3;
}
#endif

static void write_bytes(struct iotsec_writer *w, const struct iotsec_km_message *m, unsigned field, const uint8_t *p, size_t size)
{
    static const uint8_t zeros[SHORT_LEFT_OUT];

    if (field == ADDRESS && p[0] == 0xFF && memcmp(p + SHORT_FROM + 1, zeros, sizeof zeros) == 0) {
        iotsec_wr_u8(w, p[SHORT_FROM]);
        p += SHORT_TAIL;
        size = SHORT_BYTES - 1;
    }
    if (IOTSEC_ACCESS && field == LINK && size == ADDRESS_BYTES && memcmp(p, m->prefix, PREFIX_BYTES) == 0) {
        p += PREFIX_BYTES;
        size -= PREFIX_BYTES;
    }
    iotsec_wr_copy(w, p, size);
}

enum iotsec_status iotsec_km_encode(const struct iotsec_km_message *message, uint8_t *out, size_t size, size_t *len)
{
    unsigned fields = find_fields(message->kind);
    struct iotsec_writer w;
    size_t i;

    if (fields == 0) {
        return IOTSEC_ERR_ARGUMENT;
    }
    iotsec_wr_init(&w, out, size);
    for (i = 0; i < LAYOUT_COUNT; i++) {
        const void *p = (const uint8_t *)message + layout[i].offset;

        if ((fields & layout[i].field) == 0) {
            continue;
        }
        if (layout[i].size == 2) {
            iotsec_wr_u16(&w, *(const uint16_t *)p);
        } else if (layout[i].size == 4) {
            iotsec_wr_u32(&w, *(const uint32_t *)p);
        } else {
            write_bytes(&w, message, layout[i].field, p, layout[i].size);
        }
    }
#if IOTSEC_PAIRWISE
    if ((fields & (ELEMENTS | MARKS)) != 0) {
        iotsec_wr_copy(&w, message->tail, (size_t)message->count << find_shift(fields));
    }
#endif
    if (w.failed) {
        iotsec_wipe(out, size); /* a part of a key may stand there */
        return IOTSEC_ERR_BUFFER;
    }
    *len = w.len;
    return IOTSEC_OK;
}

/* An address takes what is left but the port, and the flags of ACCESS: the length tells which form it has. */
static bool read_bytes(struct iotsec_reader *r, const struct iotsec_km_message *m, unsigned field, uint8_t *p, size_t size)
{
    if (field == ADDRESS && r->left == SHORT_BYTES + 2) {
        p[0] = 0xFF;
        return iotsec_rd_u8(r, p + SHORT_FROM) && iotsec_rd_copy(r, p + SHORT_TAIL, SHORT_BYTES - 1);
    }
    if (IOTSEC_ACCESS && field == LINK && size == ADDRESS_BYTES && r->left == ADDRESS_BYTES - PREFIX_BYTES + 3) {
        memcpy(p, m->prefix, PREFIX_BYTES);
        p += PREFIX_BYTES;
        size -= PREFIX_BYTES;
    }
    return iotsec_rd_copy(r, p, size);
}

static bool read_fields(struct iotsec_reader *r, struct iotsec_km_message *m)
{
    unsigned fields = ALL; /* until the kind is read */
    bool ok = true;
    size_t i;

    for (i = 0; ok && i < LAYOUT_COUNT; i++) {
        void *p = (uint8_t *)m + layout[i].offset;

        if ((fields & layout[i].field) == 0) {
            continue;
        }
        if (layout[i].size == 2) {
            ok = iotsec_rd_u16(r, p);
        } else if (layout[i].size == 4) {
            ok = iotsec_rd_u32(r, p);
        } else {
            ok = read_bytes(r, m, layout[i].field, p, layout[i].size);
        }
        fields = find_fields(m->kind);
    }
#if IOTSEC_PAIRWISE
    if (ok && (fields & (ELEMENTS | MARKS)) != 0) {
        size_t count = r->left >> find_shift(fields);
        size_t most = m->revoked;

        if (fields & ELEMENTS) {
            most = m->degree != 0 ? m->degree + 1u : 0;
        }
        m->count = (uint8_t)count; /* of 256, which degree 255 would allow, 0 is left */
        ok = m->count != 0 && m->first + count <= most && iotsec_rd_view(r, &m->tail, count << find_shift(fields));
    }
#endif
    return ok && fields != 0 && r->left == 0;
}

/* The bits that a number may not be without. */
static uint32_t find_number_bits(unsigned fields)
{
    if (fields & HELD) {
        return 0; /* no share has generation 0 */
    }
    return fields & (LINK | ELEMENTS | MARKS) ? 0xFFFFFFFF : 0xFF00; /* an epoch below 256 would be a unicast one */
}

static bool fields_in_range(const struct iotsec_km_message *m, uint8_t content_type)
{
    unsigned fields = find_fields(m->kind);
    uint32_t bits = find_number_bits(fields);

    return content_type == iotsec_km_content_type(m->kind) &&
           /* group 0 means the domain, and only a refusal speaks of it */
           (!(fields & GROUP) || m->group_id != 0 || m->kind == IOTSEC_KM_REFUSED) &&
           (!(fields & KEY_NUMBER) || bits == 0 || (m->key_number & bits) != 0) &&
#if IOTSEC_PAIRWISE
           m->revoked <= IOTSEC_REVOKED_MAX &&
#endif
           (!(fields & SENDER) || (m->sender_id >= IOTSEC_SENDER_ID_MIN && m->sender_id <= IOTSEC_SENDER_ID_MAX)) &&
           (!(fields & (ADDRESS | LINK)) ||
            (iotsec_addr_is_multicast(&m->addr) == ((fields & ADDRESS) != 0) && m->addr.port != 0));
}

enum iotsec_status iotsec_km_decode(struct iotsec_km_message *message, uint8_t content_type, const uint8_t *data, size_t len)
{
    struct iotsec_reader r;

    memset(message, 0, sizeof *message);
    iotsec_rd_init(&r, data, len);
    if (!read_fields(&r, message) || !fields_in_range(message, content_type)) {
        iotsec_wipe(message, sizeof *message);
        return IOTSEC_ERR_DECODE;
    }
    return IOTSEC_OK;
}
