/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The codec of the key-management messages; keymgmt.h draws them. Every kind has the fields of one row
 * below, always in the same order:
 *
 *     kind, message | group(2) | key number(4) | sender(2) | TGK or RAND(16) | address(5 or 16), port(2) | code
 */
#include "amikey/keymgmt.h"

#include <string.h>

#include "base/bytes.h"

#define GROUP 1u
#define KEY_NUMBER 2u
#define SENDER 4u
#define SECRET 8u
#define ADDRESS 16u
#define CODE 32u
#define KNOWN 128u /* a kind without any field is a kind too */

static const uint8_t fields_of[] = {
    [IOTSEC_KM_MASTER_KEY] = KNOWN | GROUP | KEY_NUMBER | SENDER | SECRET,
    [IOTSEC_KM_PARAMETERS] = KNOWN | GROUP | KEY_NUMBER | SECRET | ADDRESS,
    [IOTSEC_KM_PARAMETERS_EVICTION] = KNOWN | GROUP | KEY_NUMBER | SECRET | ADDRESS,
    [IOTSEC_KM_ACK] = KNOWN | CODE,
    [IOTSEC_KM_STATUS] = KNOWN | GROUP | KEY_NUMBER | SENDER | CODE,
    [IOTSEC_KM_GROUP_REQUEST] = KNOWN | GROUP,
    [IOTSEC_KM_GROUP_LEAVE] = KNOWN | GROUP,
    [IOTSEC_KM_DOMAIN_LEAVE] = KNOWN,
    [IOTSEC_KM_REFUSED] = KNOWN | GROUP | CODE,
    [IOTSEC_KM_EVICTED] = KNOWN,
    [IOTSEC_KM_GROUP_REMOVED] = KNOWN | GROUP,
};

/* What ffXY::gggg:gggg has between its second byte and its last four. */
static const uint8_t zeros[10];

static unsigned find_fields(uint8_t kind)
{
    return kind < sizeof fields_of ? fields_of[kind] : 0;
}

uint8_t iotsec_km_content_type(uint8_t kind)
{
    return kind == IOTSEC_KM_MASTER_KEY ? IOTSEC_CONTENT_MASTER_KEY_DATA : IOTSEC_CONTENT_SECURITY_PARAMETERS;
}

static void write_address(struct iotsec_writer *w, const struct iotsec_addr *addr)
{
    const uint8_t *ip = addr->ip;

    if (ip[0] == 0xFF && memcmp(ip + 2, zeros, sizeof zeros) == 0) {
        iotsec_wr_u8(w, ip[1]);
        iotsec_wr_copy(w, ip + 12, 4);
    } else {
        iotsec_wr_copy(w, ip, sizeof addr->ip);
    }
    iotsec_wr_u16(w, addr->port);
}

enum iotsec_status iotsec_km_encode(const struct iotsec_km_message *message, uint8_t *out, size_t size, size_t *len)
{
    unsigned fields = find_fields(message->kind);
    struct iotsec_writer w;

    if (fields == 0) {
        return IOTSEC_ERR_ARGUMENT;
    }
    iotsec_wr_init(&w, out, size);
    iotsec_wr_u8(&w, message->kind);
    iotsec_wr_u8(&w, message->message);
    if (fields & GROUP) {
        iotsec_wr_u16(&w, message->group_id);
    }
    if (fields & KEY_NUMBER) {
        iotsec_wr_u32(&w, message->key_number);
    }
    if (fields & SENDER) {
        iotsec_wr_u16(&w, message->sender_id);
    }
    if (fields & SECRET) {
        iotsec_wr_copy(&w, message->secret, sizeof message->secret);
    }
    if (fields & ADDRESS) {
        write_address(&w, &message->addr);
    }
    if (fields & CODE) {
        iotsec_wr_u8(&w, message->code);
    }
    if (w.failed) {
        iotsec_wipe(out, size); /* a part of a key may stand there */
        return IOTSEC_ERR_BUFFER;
    }
    *len = w.len;
    return IOTSEC_OK;
}

/* Takes everything that is left: the length tells which form the address has. */
static bool read_address(struct iotsec_reader *r, struct iotsec_addr *addr)
{
    if (r->left == 5 + 2) {
        addr->ip[0] = 0xFF;
        return iotsec_rd_u8(r, &addr->ip[1]) && iotsec_rd_copy(r, addr->ip + 12, 4) && iotsec_rd_u16(r, &addr->port);
    }
    return iotsec_rd_copy(r, addr->ip, sizeof addr->ip) && iotsec_rd_u16(r, &addr->port);
}

static bool read_fields(struct iotsec_reader *r, unsigned fields, struct iotsec_km_message *m)
{
    return (!(fields & GROUP) || iotsec_rd_u16(r, &m->group_id)) &&
           (!(fields & KEY_NUMBER) || iotsec_rd_u32(r, &m->key_number)) &&
           (!(fields & SENDER) || iotsec_rd_u16(r, &m->sender_id)) &&
           (!(fields & SECRET) || iotsec_rd_copy(r, m->secret, sizeof m->secret)) &&
           (!(fields & ADDRESS) || read_address(r, &m->addr)) &&
           (!(fields & CODE) || iotsec_rd_u8(r, &m->code)) && r->left == 0;
}

static bool fields_in_range(const struct iotsec_km_message *m, unsigned fields)
{
    /* group 0 means the domain, and only a refusal speaks of it */
    return (!(fields & GROUP) || m->group_id != 0 || m->kind == IOTSEC_KM_REFUSED) &&
           /* an epoch below 256 would be a unicast one */
           (!(fields & KEY_NUMBER) || (m->key_number & 0xFF00u) != 0) &&
           (!(fields & SENDER) || (m->sender_id >= IOTSEC_SENDER_ID_MIN && m->sender_id <= IOTSEC_SENDER_ID_MAX)) &&
           (!(fields & ADDRESS) || (iotsec_addr_is_multicast(&m->addr) && m->addr.port != 0));
}

enum iotsec_status iotsec_km_decode(struct iotsec_km_message *message, uint8_t content_type, const uint8_t *data, size_t len)
{
    struct iotsec_reader r;
    unsigned fields;

    memset(message, 0, sizeof *message);
    iotsec_rd_init(&r, data, len);
    if (!iotsec_rd_u8(&r, &message->kind) || !iotsec_rd_u8(&r, &message->message) ||
        (fields = find_fields(message->kind)) == 0 || content_type != iotsec_km_content_type(message->kind) ||
        !read_fields(&r, fields, message) || !fields_in_range(message, fields)) {
        iotsec_wipe(message, sizeof *message);
        return IOTSEC_ERR_DECODE;
    }
    return IOTSEC_OK;
}
