/* SPDX-License-Identifier: BSD-3-Clause */
#include "provision.h"

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "crc32.h"
#include "flash.h"

#define HEAD_BYTES 8u
#define CRC_BYTES 4u
#define OPTIONAL_FROM 128u /* fields of these types may be passed over */

enum field {
    FIELD_IDENTITY = 1,
    FIELD_PSK,
    FIELD_SECRET,
    FIELD_EUI64,
    FIELD_ROLE,
    FIELD_CHANNEL,
    FIELD_PAN,
    FIELD_SHORT_ADDRESS,
    FIELD_PREFIX,
    FIELD_GROUP,
    FIELDS
};

#define BIT(field) (1u << (field))
#define REQUIRED (BIT(FIELD_IDENTITY) | BIT(FIELD_SECRET) | BIT(FIELD_EUI64) | BIT(FIELD_ROLE) | BIT(FIELD_CHANNEL) | BIT(FIELD_PAN))
#define REQUIRED_DEVICE BIT(FIELD_PSK)
#define REQUIRED_MANAGER (BIT(FIELD_SHORT_ADDRESS) | BIT(FIELD_PREFIX))

/* A field of variable length. */
static bool take(struct iotsec_reader *value, uint8_t *out, uint8_t *out_len, size_t min, size_t max)
{
    size_t len = value->left;

    *out_len = (uint8_t)len;
    return len >= min && len <= max && iotsec_rd_copy(value, out, len);
}

static bool field_read(struct provision *p, unsigned type, struct iotsec_reader *value)
{
    switch (type) {
    case FIELD_IDENTITY:
        return take(value, p->identity, &p->identity_len, 1, sizeof p->identity);
    case FIELD_PSK:
        return take(value, p->psk, &p->psk_len, PROVISION_PSK_MIN, sizeof p->psk);
    case FIELD_SECRET:
        return iotsec_rd_copy(value, p->secret, sizeof p->secret);
    case FIELD_EUI64:
        return iotsec_rd_copy(value, p->eui64, sizeof p->eui64);
    case FIELD_ROLE:
        return iotsec_rd_u8(value, &p->role) && p->role >= ROLE_MANAGER && p->role <= ROLE_SWITCH;
    case FIELD_CHANNEL:
        return iotsec_rd_u8(value, &p->channel) && p->channel >= 11 && p->channel <= 26;
    case FIELD_PAN:
        return iotsec_rd_u16(value, &p->pan) && p->pan != 0xFFFF;
    case FIELD_SHORT_ADDRESS:
        return iotsec_rd_u16(value, &p->short_address) && p->short_address < 0xFFFE;
    case FIELD_PREFIX:
        return iotsec_rd_copy(value, p->prefix, sizeof p->prefix);
    case FIELD_GROUP:
        return iotsec_rd_u16(value, &p->group) && p->group != 0;
    default:
        return type >= OPTIONAL_FROM && iotsec_rd_view(value, &(const uint8_t *){ NULL }, value->left);
    }
}

static bool fields_read(struct provision *p, const uint8_t *data, size_t len)
{
    struct iotsec_reader r;
    struct iotsec_reader value;
    uint32_t seen = 0;
    uint8_t type;
    uint8_t value_len;

    memset(p, 0, sizeof *p);
    p->short_address = 0xFFFE;
    iotsec_rd_init(&r, data, len);
    while (r.left != 0) {
        if (!iotsec_rd_u8(&r, &type) || !iotsec_rd_u8(&r, &value_len) || !iotsec_rd_sub(&r, &value, value_len) ||
            !field_read(p, type, &value) || value.left != 0 || (type < FIELDS && (seen & BIT(type)) != 0)) {
            return false;
        }
        seen |= type < FIELDS ? BIT(type) : 0;
    }
    seen &= REQUIRED | (p->role == ROLE_MANAGER ? REQUIRED_MANAGER : REQUIRED_DEVICE);
    return seen == (REQUIRED | (p->role == ROLE_MANAGER ? REQUIRED_MANAGER : REQUIRED_DEVICE));
}

const char *provision_load(struct provision *out)
{
    uint8_t data[HEAD_BYTES + PROVISION_FIELDS_MAX + CRC_BYTES];
    uint8_t *fields = data + HEAD_BYTES;
    const char *name = NULL;
    size_t len;

    iotsec_wipe(out, sizeof *out);
    if (flash_read(FLASH_PROVISION * FLASH_SECTOR_BYTES, data, sizeof data) != 0) {
        name = "flash";
    } else if (iotsec_get_u32(data) == 0xFFFFFFFFu) {
        name = "provision-absent";
    } else if (memcmp(data, "IOTP", 4) != 0) {
        name = "provision-damaged";
    } else if (iotsec_get_u16(data + 4) != PROVISION_VERSION) {
        name = "provision-version"; /* before the rest, whose arrangement is that version's */
    } else {
        len = iotsec_get_u16(data + 6);
        if (len > PROVISION_FIELDS_MAX || crc32_add(0, data, HEAD_BYTES + len) != iotsec_get_u32(fields + len) ||
            !fields_read(out, fields, len)) {
            name = "provision-damaged";
        }
    }
    if (name != NULL) {
        iotsec_wipe(out, sizeof *out);
    }
    iotsec_wipe(data, sizeof data);
    return name;
}
