/* SPDX-License-Identifier: BSD-3-Clause */
#include "provision.h"

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "crc32.h"
#include "flash.h"

#define OPTIONAL_FROM 128u /* fields of these types may be passed over */

/* As it lies in the flash; this chip's byte order is the format's. */
struct stored {
    uint8_t magic[4];
    uint16_t version;
    uint16_t len;
    uint8_t fields[PROVISION_FIELDS_MAX + 4]; /* the CRC follows the last one */
};

/* Where each field goes, and how long it may be. A field's type is its place here. */
#define FIELD(member, least, most) { offsetof(struct provision, member), least, most }
static const struct {
    uint8_t at;
    uint8_t least;
    uint8_t most;
} fields[] = {
    { 0, 1, 0 }, /* there is no type 0 */
    FIELD(identity, 1, PROVISION_IDENTITY_MAX),
    FIELD(psk, PROVISION_PSK_MIN, PROVISION_PSK_MAX),
    FIELD(secret, PROVISION_SECRET_BYTES, PROVISION_SECRET_BYTES),
    FIELD(eui64, 8, 8),
    FIELD(role, 1, 1),
    FIELD(channel, 1, 1),
    FIELD(pan, 2, 2),
    FIELD(short_address, 2, 2),
    FIELD(prefix, 8, 8),
    FIELD(group, 2, 2),
};
enum { IDENTITY = 1, PSK, SECRET, EUI64, ROLE, CHANNEL, PAN, SHORT_ADDRESS, PREFIX, GROUP, FIELDS };
#define BIT(field) (1u << (field))
#define OF_ALL (BIT(IDENTITY) | BIT(SECRET) | BIT(EUI64) | BIT(ROLE) | BIT(CHANNEL) | BIT(PAN))
#define OF_DEVICES (OF_ALL | BIT(PSK))
#define OF_MANAGERS (OF_ALL | BIT(SHORT_ADDRESS) | BIT(PREFIX))

static bool fields_read(struct provision *p, const uint8_t *data, size_t len)
{
    struct iotsec_reader r;
    uint32_t seen = 0;
    uint32_t needed;
    uint8_t type;
    uint8_t size;

    p->short_address = 0xFFFE;
    iotsec_rd_init(&r, data, len);
    while (r.left != 0) {
        const uint8_t *value;

        if (!iotsec_rd_u8(&r, &type) || !iotsec_rd_u8(&r, &size) || !iotsec_rd_view(&r, &value, size)) {
            return false;
        }
        if (type < FIELDS) {
            if ((seen & BIT(type)) != 0 || size < fields[type].least || size > fields[type].most) {
                return false;
            }
            memcpy((uint8_t *)p + fields[type].at, value, size);
            seen |= BIT(type);
            if (type == IDENTITY) {
                p->identity_len = size;
            } else if (type == PSK) {
                p->psk_len = size;
            }
        } else if (type < OPTIONAL_FROM) {
            return false;
        }
    }
    needed = p->role == ROLE_MANAGER ? OF_MANAGERS : OF_DEVICES;
    return (seen & needed) == needed && p->role >= ROLE_MANAGER && p->role <= ROLE_SWITCH && p->channel >= 11 &&
           p->channel <= 26 && p->pan != 0xFFFF;
}

const char *provision_load(struct provision *out)
{
    struct stored stored;
    uint32_t crc;
    const char *name = NULL;

    memset(out, 0, sizeof *out);
    if (flash_read(FLASH_PROVISION * FLASH_SECTOR_BYTES, &stored, sizeof stored) != 0) {
        name = "flash";
    } else if (memcmp(stored.magic, "\xFF\xFF\xFF\xFF", sizeof stored.magic) == 0) {
        name = "provision-absent";
    } else if (memcmp(stored.magic, "IOTP", sizeof stored.magic) != 0) {
        name = "provision-damaged";
    } else if (stored.version != PROVISION_VERSION) {
        name = "provision-version"; /* before the rest, whose arrangement is that version's */
    } else {
        name = "provision-damaged";
        if (stored.len <= PROVISION_FIELDS_MAX) {
            memcpy(&crc, stored.fields + stored.len, sizeof crc);
            if (crc32_add(0, &stored, offsetof(struct stored, fields) + stored.len) == crc &&
                fields_read(out, stored.fields, stored.len)) {
                name = NULL;
            }
        }
    }
    if (name != NULL) {
        iotsec_wipe(out, sizeof *out);
    }
    iotsec_wipe(&stored, sizeof stored);
    return name;
}
