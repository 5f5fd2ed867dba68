/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading the MC1322x's provisioning: what is complete is taken; all else has a name, and leaves nothing. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <setjmp.h>

#include <cmocka.h>

#include "provision.c"

static uint8_t sector[FLASH_SECTOR_BYTES];
static int flash_status;

int flash_read(uint32_t address, void *data, size_t len)
{
    assert_true(address >= FLASH_PROVISION * FLASH_SECTOR_BYTES);
    assert_true(address + len <= (FLASH_PROVISION + 1) * FLASH_SECTOR_BYTES);
    memcpy(data, sector + (address - FLASH_PROVISION * FLASH_SECTOR_BYTES), len);
    return flash_status;
}

#define W_IDENTITY "\x01\x06lamp-7"
#define W_PSK "\x02\x10sixteen bytes ok"
#define W_SECRET "\x03\x20thirty-two bytes of a seed, yes!"
#define W_EUI64 "\x04\x08\x00\x05\xc2\x00\x00\x00\x00\x09"
#define W_LAMP "\x05\x01\x03"
#define W_MANAGER "\x05\x01\x01"
#define W_CHANNEL "\x06\x01\x0f"
#define W_PAN "\x07\x02\xcd\xab"
#define W_SHORT "\x08\x02\x00\x01"
#define W_PREFIX "\x09\x08\xfd\x00\x00\x01\x00\x00\x00\x00"
#define W_GROUP "\x0a\x02\x01\x01"
#define W_REST W_SECRET W_EUI64 W_LAMP W_CHANNEL W_PAN
#define WITH(text) text, sizeof text - 1

static void write_sector(const char *content, size_t len)
{
    uint8_t head[8] = { 'I', 'O', 'T', 'P', PROVISION_VERSION, 0, (uint8_t)len, (uint8_t)(len >> 8) };
    uint32_t crc;

    memset(sector, 0xFF, sizeof sector);
    memcpy(sector, head, sizeof head);
    memcpy(sector + sizeof head, content, len);
    crc = crc32_add(0, sector, sizeof head + len);
    sector[sizeof head + len] = (uint8_t)crc;
    sector[sizeof head + len + 1] = (uint8_t)(crc >> 8);
    sector[sizeof head + len + 2] = (uint8_t)(crc >> 16);
    sector[sizeof head + len + 3] = (uint8_t)(crc >> 24);
    flash_status = 0;
}

static void takes_a_device(void **state)
{
    struct provision p;

    (void)state;
    write_sector(WITH(W_GROUP W_IDENTITY W_PSK "\x80\x03new" W_REST));
    assert_null(provision_load(&p));
    assert_int_equal(p.identity_len, 6);
    assert_memory_equal(p.identity, "lamp-7", 6);
    assert_int_equal(p.psk_len, 16);
    assert_memory_equal(p.psk, "sixteen bytes ok", 16);
    assert_memory_equal(p.secret, "thirty-two bytes of a seed, yes!", 32);
    assert_memory_equal(p.eui64, "\x00\x05\xc2\x00\x00\x00\x00\x09", 8);
    assert_int_equal(p.role, ROLE_LAMP);
    assert_int_equal(p.channel, 15);
    assert_int_equal(p.pan, 0xABCD);
    assert_int_equal(p.short_address, 0xFFFE);
    assert_int_equal(p.group, 257);
}

static void takes_a_manager(void **state)
{
    struct provision p;

    (void)state;
    write_sector(WITH(W_IDENTITY W_SECRET W_EUI64 W_MANAGER W_CHANNEL W_PAN W_SHORT W_PREFIX));
    assert_null(provision_load(&p));
    assert_int_equal(p.role, ROLE_MANAGER);
    assert_int_equal(p.psk_len, 0);
    assert_int_equal(p.short_address, 0x0100);
    assert_memory_equal(p.prefix, "\xfd\x00\x00\x01\x00\x00\x00\x00", 8);
    assert_int_equal(p.group, 0);
}

static void assert_refused(const char *row, const char *expected)
{
    static const struct provision nothing;
    struct provision p;
    const char *name;

    memset(&p, 0x55, sizeof p);
    name = provision_load(&p);
    if (name == NULL || strcmp(name, expected) != 0) {
        fail_msg("%s: %s instead of %s", row, name != NULL ? name : "taken", expected);
    }
    assert_memory_equal(&p, &nothing, sizeof p);
}

static void refuses_fields(void **state)
{
    static const struct {
        const char *name;
        const char *content;
        size_t len;
    } rows[] = {
        { "nothing", WITH("") },
        { "no identity", WITH(W_PSK W_REST) },
        { "no PSK", WITH(W_IDENTITY W_REST) },
        { "no secret", WITH(W_IDENTITY W_PSK W_EUI64 W_LAMP W_CHANNEL W_PAN) },
        { "no EUI-64", WITH(W_IDENTITY W_PSK W_SECRET W_LAMP W_CHANNEL W_PAN) },
        { "no role", WITH(W_IDENTITY W_PSK W_SECRET W_EUI64 W_CHANNEL W_PAN) },
        { "no channel", WITH(W_IDENTITY W_PSK W_SECRET W_EUI64 W_LAMP W_PAN) },
        { "no PAN", WITH(W_IDENTITY W_PSK W_SECRET W_EUI64 W_LAMP W_CHANNEL) },
        { "manager without prefix", WITH(W_IDENTITY W_SECRET W_EUI64 W_MANAGER W_CHANNEL W_PAN W_SHORT) },
        { "manager without short address", WITH(W_IDENTITY W_SECRET W_EUI64 W_MANAGER W_CHANNEL W_PAN W_PREFIX) },
        { "identity twice", WITH(W_IDENTITY W_IDENTITY W_PSK W_REST) },
        { "empty identity", WITH("\x01\x00" W_PSK W_REST) },
        { "long identity", WITH("\x01\x21" "33 bytes: one more than there are" W_PSK W_REST) },
        { "short PSK", WITH(W_IDENTITY "\x02\x0f" "fifteen bytes !" W_REST) },
        { "short secret", WITH(W_IDENTITY W_PSK "\x03\x10" "only sixteen, no" W_EUI64 W_LAMP W_CHANNEL W_PAN) },
        { "role 0", WITH(W_IDENTITY W_PSK W_SECRET W_EUI64 "\x05\x01\x00" W_CHANNEL W_PAN) },
        { "role 5", WITH(W_IDENTITY W_PSK W_SECRET W_EUI64 "\x05\x01\x05" W_CHANNEL W_PAN) },
        { "channel 10", WITH(W_IDENTITY W_PSK W_SECRET W_EUI64 W_LAMP "\x06\x01\x0a" W_PAN) },
        { "channel 27", WITH(W_IDENTITY W_PSK W_SECRET W_EUI64 W_LAMP "\x06\x01\x1b" W_PAN) },
        { "broadcast PAN", WITH(W_IDENTITY W_PSK W_SECRET W_EUI64 W_LAMP W_CHANNEL "\x07\x02\xff\xff") },
        { "type 0", WITH("\x00\x00" W_IDENTITY W_PSK W_REST) },
        { "unknown field", WITH("\x0b\x01x" W_IDENTITY W_PSK W_REST) },
        { "unknown field, last below", WITH("\x7f\x01x" W_IDENTITY W_PSK W_REST) },
        { "value cut off", WITH(W_IDENTITY W_PSK W_REST "\x80\x04new") },
        { "length missing", WITH(W_IDENTITY W_PSK W_REST "\x80") },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_sector(rows[i].content, rows[i].len);
        assert_refused(rows[i].name, "provision-damaged");
    }
}

static void names_what_is_wrong(void **state)
{
    size_t bit;

    (void)state;
    memset(sector, 0xFF, sizeof sector);
    assert_refused("erased", "provision-absent");
    memset(sector, 0, sizeof sector);
    assert_refused("zeros", "provision-damaged");
    write_sector(WITH(W_IDENTITY W_PSK W_REST));
    sector[4] = PROVISION_VERSION + 1;
    assert_refused("newer", "provision-version");
    write_sector(WITH(W_IDENTITY W_PSK W_REST));
    flash_status = FLASH_ERR_ROM;
    assert_refused("unreadable", "flash");
    write_sector(WITH(W_IDENTITY W_PSK W_REST));
    sector[7] = 0xFF; /* longer than there can be */
    assert_refused("length", "provision-damaged");
    for (bit = 0; bit < 8 * (8 + sizeof W_IDENTITY W_PSK W_REST - 1 + 4); bit++) {
        write_sector(WITH(W_IDENTITY W_PSK W_REST));
        sector[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_refused("one bit", bit / 8 == 4 || bit / 8 == 5 ? "provision-version" : "provision-damaged");
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_a_device),
        cmocka_unit_test(takes_a_manager),
        cmocka_unit_test(refuses_fields),
        cmocka_unit_test(names_what_is_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
