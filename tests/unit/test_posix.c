/* SPDX-License-Identifier: BSD-3-Clause */
/* The POSIX port's parts: addresses, keys as text, CoAP, output, NVM files, the registry. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "addr.h"
#include "coap.h"
#include "l2_keys.h"
#include "nvm_file.h"
#include "output.h"
#include "own_address.h"
#include "peers.h"
#include "port.h"
#include "registry.h"
#include "registry_internal.h"
#include "secret.h"

#include <cmocka.h> /* last: its fail() would hide the port's */

static char directory[] = "/tmp/iotsec-test-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[sizeof directory + 64];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) != NULL ? 0 : -1;
}

static int remove_directory(void **state)
{
    char command[sizeof directory + 16];

    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command) == 0 ? 0 : -1;
}

/* ---- Addresses ---- */

static const struct addr_row {
    const char *text;
    bool port_0;
    const char *printed; /* NULL: refused */
} addr_rows[] = {
    /*  1 */ { "127.0.0.1:5684", false, "127.0.0.1:5684" },
    /*  2 */ { "[::1]:5684", false, "[::1]:5684" },
    /*  3 */ { "[fe80::1%lo]:5684", false, "[fe80::1%lo]:5684" },
    /*  4 */ { "[fe80::1%1]:5684", false, "[fe80::1%lo]:5684" },
    /*  5 */ { "[::ffff:192.0.2.1]:1", false, "192.0.2.1:1" },
    /*  6 */ { "[fd01::1%lo]:5684", false, "[fd01::1]:5684" }, /* an interface says nothing here */
    /*  7 */ { "[::]:0", true, "[::]:0" },
    /*  8 */ { "0.0.0.0:65535", false, "0.0.0.0:65535" },
    /*  9 */ { "[::1]:0", false, NULL },
    /* 10 */ { "[::1]:65536", false, NULL },
    /* 11 */ { "[::1]:-1", false, NULL },
    /* 12 */ { "[::1]:", false, NULL },
    /* 13 */ { "[::1]", false, NULL },
    /* 14 */ { "[::1]5684", false, NULL },
    /* 15 */ { "[::1:5684", false, NULL },
    /* 16 */ { "::1:5684", false, NULL },
    /* 17 */ { "5684", false, NULL },
    /* 18 */ { ":5684", false, NULL },
    /* 19 */ { "", false, NULL },
    /* 20 */ { "localhost:5684", false, NULL },
    /* 21 */ { "[127.0.0.1]:5684", false, NULL },
    /* 22 */ { "[fe80::1]:5684", false, NULL },
    /* 23 */ { "[fe80::1%nosuchif]:5684", false, NULL },
    /* 24 */ { "127.0.0.1:5684 ", false, NULL },
    /* 25 */ { "127.0.0.256:5684", false, NULL },
    /* 26 */ { "[]:5684", false, NULL },
    /* 27 */ { "[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee:ffff:0000:1111:2222:3333:4444]:1", false, NULL },
};

static void test_addr(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof addr_rows / sizeof addr_rows[0]; i++) {
        const struct addr_row *row = &addr_rows[i];
        struct iotsec_addr addr;
        char text[ADDR_TEXT_BYTES];
        const char *problem = addr_parse(row->text, row->port_0, &addr);

        if ((problem == NULL) != (row->printed != NULL)) {
            fail_msg("row %zu, %s: %s", i + 1, row->text, problem != NULL ? problem : "taken");
        }
        if (problem == NULL) {
            addr_format(&addr, text);
            assert_string_equal(text, row->printed);
        }
    }
}

/* Two ends that differ in an interface that means nothing would be two peers. */
static void test_addr_interface(void **state)
{
    struct sockaddr_in6 address;
    struct iotsec_addr addr;

    (void)state;
    assert_null(addr_parse("[fd01::1]:1", false, &addr));
    addr_to_socket(&addr, &address);
    address.sin6_scope_id = 7;
    addr_from_socket(&address, &addr);
    assert_int_equal(addr.interface, 0);
    assert_null(addr_parse("[fe80::1%lo]:1", false, &addr));
    addr_to_socket(&addr, &address);
    address.sin6_scope_id = 7;
    addr_from_socket(&address, &addr);
    assert_int_equal(addr.interface, 7);
}

static const struct prefix_row {
    const char *text;
    const char *printed; /* NULL: refused */
} prefix_rows[] = {
    /*  1 */ { "fd01::/64", "fd01::/64" },
    /*  2 */ { "2001:db8:1:2::/64", "2001:db8:1:2::/64" },
    /*  3 */ { "2001:db8:1:2:0:0:0:0/64", "2001:db8:1:2::/64" },
    /*  4 */ { "::/64", "none" },
    /*  5 */ { "fd01::", NULL },
    /*  6 */ { "fd01::/48", NULL },
    /*  7 */ { "fd01::/640", NULL },
    /*  8 */ { "fd01::/064", NULL },
    /*  9 */ { "fd01::1/64", NULL }, /* an address in it */
    /* 10 */ { "fd01:0:0:0:1::/64", NULL },
    /* 11 */ { "10.0.0.0/64", NULL },
    /* 12 */ { "::10.0.0.0/64", NULL },
    /* 13 */ { "ff15::/64", NULL },
    /* 14 */ { "fe80::/64", NULL },
    /* 15 */ { "fe80::%lo/64", NULL },
    /* 16 */ { "/64", NULL },
    /* 17 */ { "", NULL },
    /* 18 */ { "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee:ffff:1111:2222:3333:4444:5555:6666/64", NULL },
};

static void test_prefix(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof prefix_rows / sizeof prefix_rows[0]; i++) {
        char text[ADDR_TEXT_BYTES];
        uint8_t prefix[8] = { 1 };
        bool taken = prefix_parse(prefix_rows[i].text, prefix);

        if (taken != (prefix_rows[i].printed != NULL)) {
            fail_msg("row %zu, %s: %s", i + 1, prefix_rows[i].text, taken ? "taken" : "refused");
        }
        if (taken) {
            prefix_format(prefix, text);
            assert_string_equal(text, prefix_rows[i].printed);
        }
    }
}

/* ---- Keys ---- */

static const struct key_row {
    const char *content;
    unsigned mode;
    size_t len; /* 0: refused */
} key_rows[] = {
    /*  1 */ { "000102030405060708090a0b0c0d0e0f\n", 0600, 16 },
    /*  2 */ { "000102030405060708090A0B0C0D0E0F", 0400, 16 },
    /*  3 */ { "000102030405060708090a0b0c0d0e0f\r\n", 0600, 16 },
    /*  4 */ { "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\n", 0600, 64 },
    /*  5 */ { "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\n", 0600, 0 },
    /*  6 */ { "000102030405060708090a0b0c0d0e\n", 0600, 0 },
    /*  7 */ { "000102030405060708090a0b0c0d0e0\n", 0600, 0 },
    /*  8 */ { "000102030405060708090a0b0c0d0e0g\n", 0600, 0 },
    /*  9 */ { "000102030405060708090a0b0c0d0e0f\n\n", 0600, 0 },
    /* 10 */ { "000102030405060708090a0b0c0d0e0f 00\n", 0600, 0 },
    /* 11 */ { "", 0600, 0 },
    /* 12 */ { "000102030405060708090a0b0c0d0e0f\n", 0644, 0 },
    /* 13 */ { "000102030405060708090a0b0c0d0e0f\n", 0640, 0 },
    /* 14 */ { "000102030405060708090a0b0c0d0e0f\n", 0602, 0 },
};

static void write_file(const char *path, const void *content, size_t len, unsigned mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, len), (ssize_t)len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void test_key_file(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof key_rows / sizeof key_rows[0]; i++) {
        struct psk psk = { { 0 }, 0 };

        unlink(path_of("key"));
        write_file(path_of("key"), key_rows[i].content, strlen(key_rows[i].content), key_rows[i].mode);
        if ((psk_from_file(path_of("key"), &psk) == 0) != (key_rows[i].len != 0) || psk.len != key_rows[i].len) {
            fail_msg("row %zu", i + 1);
        }
    }
    {
        struct psk psk = { { 0 }, 0 };
        char argument[] = "000102030405060708090a0b0c0d0e0f";

        assert_int_not_equal(psk_from_file(path_of("no-such-file"), &psk), 0);
        assert_int_not_equal(psk_from_file(directory, &psk), 0);
        assert_int_equal(psk_from_argument(argument, &psk), 0);
        assert_int_equal(psk.key[15], 15);
        assert_int_equal(argument[0], 0); /* nobody finds it in /proc any more */
    }
}

/* ---- Output ---- */

static const struct text_row {
    const char *text;
    size_t len;
    const char *printed;
} text_rows[] = {
    /*  1 */ { "lamp1", 5, "e id=lamp1\n" },
    /*  2 */ { "lamp 1", 6, "e id=\"lamp 1\"\n" },
    /*  3 */ { "", 0, "e id=\"\"\n" },
    /*  4 */ { "a=b", 3, "e id=\"a=b\"\n" },
    /*  5 */ { "a\"b\\c", 5, "e id=\"a\\\"b\\\\c\"\n" },
    /*  6 */ { "a\nb\r\t", 5, "e id=\"a\\nb\\x0d\\x09\"\n" },
    /*  7 */ { "a\0b", 3, "e id=\"a\\x00b\"\n" },
    /*  8 */ { "L\xC3\xA4mpchen", 9, "e id=\"L\xC3\xA4mpchen\"\n" },
    /*  9 */ { "\xE2\x82\xAC \xF0\x9F\x92\xA1", 8, "e id=\"\xE2\x82\xAC \xF0\x9F\x92\xA1\"\n" },
    /* 10 */ { "\xC3", 1, "e id=\"\\xc3\"\n" },
    /* 11 */ { "\xC0\x80", 2, "e id=\"\\xc0\\x80\"\n" },         /* overlong */
    /* 12 */ { "\xED\xA0\x80", 3, "e id=\"\\xed\\xa0\\x80\"\n" }, /* surrogate */
    /* 13 */ { "\xE2\x80\xAE", 3, "e id=\"\\xe2\\x80\\xae\"\n" }, /* turns the direction of writing */
    /* 14 */ { "\xC2\x9B", 2, "e id=\"\\xc2\\x9b\"\n" },         /* a terminal's control sequence */
    /* 15 */ { "\x1B[2J", 4, "e id=\"\\x1b[2J\"\n" },
    /* 16 */ { "\xF4\x90\x80\x80", 4, "e id=\"\\xf4\\x90\\x80\\x80\"\n" }, /* above U+10FFFF */
};

static void test_output(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof text_rows / sizeof text_rows[0]; i++) {
        char *printed = NULL;
        size_t len = 0;
        FILE *stream = open_memstream(&printed, &len);

        assert_non_null(stream);
        out_to(stream);
        out_begin("e");
        out_bytes("id", text_rows[i].text, text_rows[i].len);
        out_end();
        out_to(NULL);
        fclose(stream);
        if (strcmp(printed, text_rows[i].printed) != 0) {
            fail_msg("row %zu: %s", i + 1, printed);
        }
        free(printed);
    }
    assert_true(text_is_printable("lamp 1 \xC3\xA4", 9));
    assert_false(text_is_printable("lamp\n", 5));
    assert_false(text_is_printable("\xFF", 1));
}

/* ---- CoAP ---- */

static void test_coap_write(void **state)
{
    static const uint8_t expected[] = {
        0x52, 0x03, 0x12, 0x34, 0xAB, 0xCD, 0xB5, 'l', 'i', 'g', 'h', 't', 0x10, 0xFF, 'o', 'n',
    };
    uint8_t message[64];
    struct coap_request request;
    size_t len;

    (void)state;
    assert_int_equal(coap_method("put"), 3);
    assert_int_equal(coap_method("steal"), 0);
    assert_true(coap_write(message, sizeof message, &len, 3, 0x1234, 0xABCD, "/light", "on", 2));
    assert_int_equal(len, sizeof expected);
    assert_memory_equal(message, expected, sizeof expected);
    assert_true(coap_read(message, len, &request));
    assert_string_equal(request.type, "NON");
    assert_string_equal(request.method, "PUT");
    assert_string_equal(request.path, "/light");
    assert_int_equal(request.message_id, 0x1234);
    assert_int_equal(request.payload_len, 2);
    assert_memory_equal(request.payload, "on", 2);
    /* too small for it, and not a path */
    for (len = 0; len < sizeof expected; len++) {
        size_t written;

        assert_false(coap_write(message, len, &written, 3, 0x1234, 0xABCD, "/light", "on", 2));
    }
    assert_false(coap_write(message, sizeof message, &len, 3, 1, 1, "light", "on", 2));
}

static const struct path_row {
    const char *path;
    const char *read;
} path_rows[] = {
    /* 1 */ { "/", "/" },
    /* 2 */ { "/a/b/c", "/a/b/c" },
    /* 3 */ { "/a?x=1&y=2", "/a?x=1&y=2" },
    /* 4 */ { "/?x", "/?x" },
    /* 5 */ { "/a%20b%2Fc", "/a%20b%2Fc" },
    /* 6 */ { "/a-segment-that-is-longer-than-twelve-bytes", "/a-segment-that-is-longer-than-twelve-bytes" },
    /* 7 */ { "/L\xC3\xA4mpchen", "/L%C3%A4mpchen" },
    /* 8 */ { "/a//b", "/a//b" },
    /* 9 */ { "/100%", "/100%25" },
};

static void test_coap_path(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof path_rows / sizeof path_rows[0]; i++) {
        uint8_t message[128];
        struct coap_request request;
        size_t len;

        assert_true(coap_write(message, sizeof message, &len, 1, 1, 1, path_rows[i].path, "", 0));
        assert_true(coap_read(message, len, &request));
        assert_string_equal(request.path, path_rows[i].read);
        assert_null(request.payload);
    }
}

static const struct coap_row {
    const uint8_t data[12];
    size_t len;
    bool request;
} coap_rows[] = {
    /*  1 */ { { 0x50, 0x01, 0, 1 }, 4, true },
    /*  2 */ { { 0x40, 0x01, 0, 1 }, 4, true },                     /* confirmable */
    /*  3 */ { { 0x50, 0x01, 0 }, 3, false },                       /* too short */
    /*  4 */ { { 0x90, 0x01, 0, 1 }, 4, false },                    /* another version */
    /*  5 */ { { 0x60, 0x01, 0, 1 }, 4, false },                    /* an acknowledgement */
    /*  6 */ { { 0x50, 0x45, 0, 1 }, 4, false },                    /* a response */
    /*  7 */ { { 0x50, 0x00, 0, 1 }, 4, false },                    /* empty */
    /*  8 */ { { 0x59, 0x01, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8 }, 12, false }, /* token of nine bytes */
    /*  9 */ { { 0x52, 0x01, 0, 1, 1 }, 5, false },                 /* token cut off */
    /* 10 */ { { 0x50, 0x01, 0, 1, 0xB5, 'l' }, 6, false },         /* option cut off */
    /* 11 */ { { 0x50, 0x01, 0, 1, 0xF0 }, 5, false },              /* reserved delta */
    /* 12 */ { { 0x50, 0x01, 0, 1, 0xBF }, 5, false },              /* reserved length */
    /* 13 */ { { 0x50, 0x01, 0, 1, 0xFF }, 5, false },              /* marker without payload */
    /* 14 */ { { 0x50, 0x01, 0, 1, 0xE0, 0x01 }, 6, false },        /* long delta cut off */
    /* 15 */ { { 0x50, 0x01, 0, 1, 0xE0, 0x01, 0x00 }, 7, true },   /* an option that we do not know */
    /* 16 */ { { 'P', 'o', 'w', 'e', 'r' }, 5, false },             /* text that begins like one */
    /* 17 */ { { 0 }, 0, false },
};

static void test_coap_read(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof coap_rows / sizeof coap_rows[0]; i++) {
        struct coap_request request;

        if (coap_read(coap_rows[i].data, coap_rows[i].len, &request) != coap_rows[i].request) {
            fail_msg("row %zu", i + 1);
        }
    }
}

/* ---- NVM files ---- */

static void test_nvm(void **state)
{
    static const uint8_t id[] = { 'l', 'a', 'm', 'p' };
    static const uint8_t other[] = { 'l', 'a', 'm', 'q' };
    struct nvm_file nvm;
    struct nvm_file second;
    struct stat about;
    uint8_t data[64];
    char state_path[sizeof directory + 64];
    char slot_path[sizeof directory + 80];
    FILE *file;

    (void)state;
    snprintf(state_path, sizeof state_path, "%s", path_of("state"));
    snprintf(slot_path, sizeof slot_path, "%s/slot-0003", state_path);
    assert_int_equal(nvm_file_open(&nvm, state_path, id, sizeof id), 0);
    assert_int_equal(nvm_file_read(&nvm, 3, data, sizeof data), 0);
    assert_int_equal(nvm_file_write(&nvm, 3, (const uint8_t *)"first", 5), 0);
    assert_int_equal(nvm_file_write(&nvm, 3, (const uint8_t *)"second!", 7), 0);
    assert_int_equal(nvm_file_read(&nvm, 3, data, sizeof data), 7);
    assert_memory_equal(data, "second!", 7);
    assert_true(nvm_file_read(&nvm, 3, data, 6) < 0); /* does not fit: better nothing than a part */
    assert_int_equal(nvm_file_read(&nvm, 4, data, sizeof data), 0);
    assert_int_equal(stat(slot_path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    assert_int_equal(stat(state_path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0700);

    /* one process at a time, one device for ever */
    assert_int_not_equal(nvm_file_open(&second, state_path, id, sizeof id), 0);
    nvm_file_close(&nvm);
    assert_int_not_equal(nvm_file_open(&second, state_path, other, sizeof other), 0);
    assert_int_equal(nvm_file_open(&nvm, state_path, id, sizeof id), 0);
    assert_int_equal(nvm_file_read(&nvm, 3, data, sizeof data), 7);

    /* damaged is not empty: a flipped bit, a cut end, an added byte, nothing at all */
    file = fopen(slot_path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 18, SEEK_SET), 0);
    fputc('X', file);
    fclose(file);
    assert_true(nvm_file_read(&nvm, 3, data, sizeof data) < 0);
    assert_int_equal(nvm_file_write(&nvm, 3, (const uint8_t *)"third", 5), 0);
    assert_int_equal(truncate(slot_path, 20), 0);
    assert_true(nvm_file_read(&nvm, 3, data, sizeof data) < 0);
    assert_int_equal(nvm_file_write(&nvm, 3, (const uint8_t *)"third", 5), 0);
    assert_int_equal(truncate(slot_path, 22), 0);
    assert_true(nvm_file_read(&nvm, 3, data, sizeof data) < 0);
    assert_int_equal(truncate(slot_path, 0), 0);
    assert_true(nvm_file_read(&nvm, 3, data, sizeof data) < 0);
    nvm_file_close(&nvm);
}

/* One file, for one slot, that the caller names. */
static void test_nvm_single(void **state)
{
    struct nvm_file nvm;
    struct stat about;
    uint8_t data[64];
    char path[sizeof directory + 64];

    (void)state;
    snprintf(path, sizeof path, "%s", path_of("relay.key"));
    assert_int_equal(nvm_file_open_single(&nvm, path), 0);
    assert_int_equal(nvm_file_read(&nvm, 0, data, sizeof data), 0);
    assert_int_equal(nvm_file_write(&nvm, 0, (const uint8_t *)"key", 3), 0);
    assert_int_equal(nvm_file_read(&nvm, 0, data, sizeof data), 3);
    nvm_file_close(&nvm);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    assert_int_equal(nvm_file_open_single(&nvm, path), 0);
    assert_int_equal(nvm_file_read(&nvm, 0, data, sizeof data), 3);
    assert_memory_equal(data, "key", 3);
    nvm_file_close(&nvm);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_not_equal(nvm_file_open_single(&nvm, path), 0);
    assert_int_not_equal(nvm_file_open_single(&nvm, directory), 0);
    assert_int_not_equal(nvm_file_open_single(&nvm, path_of("none/key")), 0);
    assert_int_not_equal(nvm_file_open_single(&nvm, path_of("")), 0);
}

/* ---- Link-layer keys ---- */

static void assert_file(const char *path, const char *content)
{
    char found[512];
    FILE *file = fopen(path, "r");
    size_t len;

    assert_non_null(file);
    len = fread(found, 1, sizeof found - 1, file);
    found[len] = '\0';
    fclose(file);
    assert_string_equal(found, content);
}

static void test_l2_keys(void **state)
{
    static const uint8_t first[16] = { 0x11 };
    static const uint8_t second[16] = { 0x22 };
    static const char *const keys[] = { "11000000000000000000000000000000", "22000000000000000000000000000000" };
    struct l2_keys l2;
    struct stat before;
    struct stat after;
    char path[sizeof directory + 64];
    char expected[512];
    uint8_t index;

    (void)state;
    snprintf(path, sizeof path, "%s", path_of("l2"));
    memset(&l2, 0, sizeof l2);
    l2.path = path;
    assert_int_equal(l2_keys_use(&l2, 1), -1); /* not installed */
    assert_int_equal(l2_keys_install(&l2, 1, first), 0);
    snprintf(expected, sizeof expected, "index=1 key=%s use=no\n", keys[0]);
    assert_file(path, expected);
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(before.st_mode & 0777, 0600);
    assert_int_equal(l2_keys_use(&l2, 1), 0);
    assert_int_equal(l2_keys_install(&l2, 2, second), 0);
    snprintf(expected, sizeof expected, "index=1 key=%s use=yes\nindex=2 key=%s use=no\n", keys[0], keys[1]);
    assert_file(path, expected);

    /* what is there already changes nothing: a daemon must not start a frame counter again */
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(l2_keys_install(&l2, 1, first), 0);
    assert_int_equal(l2_keys_use(&l2, 1), 0);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);

    assert_int_equal(l2_keys_use(&l2, 2), 0);
    l2_keys_remove(&l2, 1);
    l2_keys_remove(&l2, 7);
    snprintf(expected, sizeof expected, "index=2 key=%s use=yes\n", keys[1]);
    assert_file(path, expected);

    /* keys that are replaced before they are used never push out the one in use */
    for (index = 3; index < 20; index++) {
        assert_int_equal(l2_keys_install(&l2, index, first), 0);
    }
    assert_int_equal(l2.used, 2);
    assert_int_equal(l2_keys_use(&l2, 19), 0);
    for (index = 20; index < 30; index++) {
        assert_int_equal(l2_keys_install(&l2, index, first), 0);
    }
    assert_int_equal(l2_keys_use(&l2, 19), 0);

    /* what cannot be written has not happened */
    l2.path = path_of("none/l2");
    assert_int_equal(l2_keys_install(&l2, 30, second), -1);
    assert_int_equal(l2_keys_use(&l2, 29), -1);
    assert_int_equal(l2.used, 19);
    l2.path = NULL;
    assert_int_equal(l2_keys_use(&l2, 30), -1);
    assert_int_equal(l2_keys_use(&l2, 29), 0);
}

/* ---- Hooks ---- */

static const struct hook_row {
    const char *command;
    int status;
} hook_rows[] = {
    /* 1 */ { "exit 0", 0 },
    /* 2 */ { "exit 3", 3 },
    /* 3 */ { "test \"$IOTSEC_ADDRESS\" = fd01::1", 0 },
    /* 4 */ { "kill -TERM $$", 128 + SIGTERM }, /* our own blocked signals are not inherited */
    /* 5 */ { "no-such-command 2>/dev/null", 127 },
    /* 6 */ { "read line; test $? != 0", 0 },   /* and our input is not read */
    /* 7 */ { "test -n \"$PATH\"", 0 },
};

static void test_hook(void **state)
{
    static char address[] = "IOTSEC_ADDRESS=fd01::1";
    char *const variables[] = { address, NULL };
    sigset_t blocked;
    sigset_t before;
    struct hook hook;
    size_t i;

    (void)state;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    assert_int_equal(sigprocmask(SIG_BLOCK, &blocked, &before), 0);
    for (i = 0; i < sizeof hook_rows / sizeof hook_rows[0]; i++) {
        int status = -2;

        assert_int_equal(hook_start(&hook, hook_rows[i].command, variables), 0);
        while (!hook_ended(&hook, &status)) {
            usleep(1000);
        }
        if (status != hook_rows[i].status) {
            fail_msg("row %zu: %d", i + 1, status);
        }
    }
    /* one that does not end, with a child that does not either */
    {
        int status = 0;
        int ends[2];
        char command[sizeof directory + 96];
        char byte;
        ssize_t n = -1;

        snprintf(command, sizeof command, "sleep 60 & : >%s; sleep 60", path_of("hook-runs"));
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
        assert_int_equal(hook_start(&hook, command, variables), 0);
        close(ends[1]);
        while (access(path_of("hook-runs"), F_OK) != 0) {
            usleep(1000);
        }
        assert_false(hook_ended(&hook, &status));
        hook.started -= HOOK_TIMEOUT_MS;
        assert_true(hook_ended(&hook, &status));
        assert_int_equal(status, -1);
        assert_int_equal(hook.pid, 0);
        /* the pipe ends when nobody holds its other end any more */
        for (i = 0; i < 1000 && n != 0; i++) {
            usleep(1000);
            n = read(ends[0], &byte, 1);
        }
        assert_int_equal(n, 0);
        close(ends[0]);
    }
    assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
}

/* ---- The port's sockets ---- */

static struct port port;
static unsigned arrived[3];
static struct port_socket further[3];

static void count_arrival(void *user, const struct iotsec_addr *from, const struct iotsec_addr *to, uint8_t *data, size_t len)
{
    unsigned *counter = user;

    (void)from;
    (void)to;
    (void)data;
    (void)len;
    (*counter)++;
}

/* Closes the other two, which have something waiting as well. */
static void close_all(void *user, const struct iotsec_addr *from, const struct iotsec_addr *to, uint8_t *data, size_t len)
{
    size_t i;

    count_arrival(user, from, to, data, len);
    for (i = 0; i < 3; i++) {
        port_socket_close(&port, &further[i]);
    }
}

static void test_sockets(void **state)
{
    struct port_options options;
    struct iotsec_addr any;
    struct port_socket old;
    size_t i;

    (void)state;
    memset(&options, 0, sizeof options);
    assert_null(addr_parse("[::1]:0", true, &options.listen));
    any = options.listen;
    assert_int_equal(port_open(&port, &options), 0);
    for (i = 0; i < 3; i++) {
        assert_int_equal(port_socket_open(&further[i], &any, i == 0 ? "lo" : NULL, i == 0), 0);
        assert_true(port_watch(&port, &further[i], count_arrival, &arrived[i]));
    }
    assert_int_not_equal(port_socket_open(&old, &any, "nosuchif", false), 0);
    assert_int_equal(old.fd, -1);

    /* each socket's datagrams go to its own function */
    for (i = 0; i < 3; i++) {
        struct iotsec_addr to = further[i].local;

        assert_int_equal(port.hal.send(&port, &to, (const uint8_t *)"x", 1), 0);
        assert_int_equal(port_socket_send(&port, &further[0], &to, (const uint8_t *)"x", 1), 0);
        (void)port_wait(&port, 1000, -1, count_arrival, NULL);
        assert_int_equal(arrived[i], 2);
    }

    /* after a change of port both are heard, and what leaves has the new one */
    {
        struct iotsec_addr before = port.socket.local;
        unsigned here = 0;
        unsigned there = 0;

        assert_int_equal(port_rebind(&port, &old, count_arrival, &there), 0);
        assert_int_not_equal(port.socket.local.port, before.port);
        assert_int_equal(port_socket_send(&port, &further[0], &before, (const uint8_t *)"x", 1), 0);
        assert_int_equal(port_socket_send(&port, &further[0], &port.socket.local, (const uint8_t *)"x", 1), 0);
        (void)port_wait(&port, 1000, -1, count_arrival, &here);
        assert_int_equal(here, 1);
        assert_int_equal(there, 1);
    }

    /* an input may close sockets that were to be looked at next */
    memset(arrived, 0, sizeof arrived);
    for (i = 0; i < 3; i++) {
        struct iotsec_addr to = further[i].local;

        port.watches[i].input = close_all;
        assert_int_equal(port.hal.send(&port, &to, (const uint8_t *)"x", 1), 0);
    }
    (void)port_wait(&port, 1000, -1, count_arrival, NULL);
    assert_int_equal(arrived[0] + arrived[1] + arrived[2], 1);
    assert_int_equal(port.watch_count, 1); /* the old one */
    for (i = 0; i < 3; i++) {
        port_socket_close(&port, &further[i]); /* once more changes nothing */
    }
    port_close(&port);
    assert_int_equal(port.watch_count, 0);
}

/* ---- The registry ---- */

static struct registry registry;

static void open_new(const char *name)
{
    unlink(path_of(name));
    assert_int_equal(registry_create(path_of(name), "fd01::/64"), 0);
    assert_int_not_equal(registry_create(path_of(name), NULL), 0); /* never written over */
    assert_int_equal(registry_open(&registry, path_of(name), REGISTRY_SERVE), 0);
}

static uint32_t add_device(const char *id, uint16_t gid)
{
    static const struct psk psk = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 }, 16 };
    uint32_t number = 0;

    assert_int_equal(registry_add_device(&registry, id, &psk, &gid, gid != 0 ? 1 : 0, &number), 0);
    return number;
}

static void put_group(uint16_t gid, uint32_t key_number)
{
    struct iotsec_registry_group group;

    memset(&group, 0x5A, sizeof group);
    group.group_id = gid;
    group.next_sender = 9;
    group.key_number = key_number;
    group.addr.port = gid;
    group.addr.interface = 0;
    group.addr.ip[0] = 0xFF;
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    assert_int_equal(registry_functions.put_group(&registry, &group), IOTSEC_OK);
    assert_int_equal(registry_functions.commit(&registry), IOTSEC_OK);
}

static void test_registry_library(void **state)
{
    struct iotsec_registry_group group;
    struct iotsec_registry_member member;
    struct iotsec_dtls_psk psk;
    uint32_t number;

    (void)state;
    open_new("library.db");
    put_group(1, 0x100);
    put_group(2, 0x200);
    put_group(1, 0xFFFFFF00u);
    number = add_device("lamp1", 1);
    assert_int_equal(registry_functions.psk(&registry, 0, (const uint8_t *)"lamp1", 5, &psk), IOTSEC_OK);
    assert_int_equal(psk.peer, number);
    assert_int_equal(psk.len, 16);
    assert_int_equal(registry_functions.psk(&registry, 0, (const uint8_t *)"lamp", 4, &psk), IOTSEC_ERR_UNKNOWN_IDENTITY);
    assert_int_equal(registry_functions.psk(&registry, 0, (const uint8_t *)"LAMP1", 5, &psk), IOTSEC_ERR_UNKNOWN_IDENTITY);
    assert_int_equal(registry_functions.authorised(&registry, number), IOTSEC_OK);
    assert_int_equal(registry_functions.authorised(&registry, number + 1), IOTSEC_ERR_NOT_AUTHORISED);
    assert_int_equal(registry_functions.group_allowed(&registry, number, 1), IOTSEC_OK);
    assert_int_equal(registry_functions.group_allowed(&registry, number, 2), IOTSEC_ERR_GROUP_REFUSED);

    member.device = number;
    member.group_id = 1;
    member.sender_id = 7;
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    assert_int_equal(registry_functions.put_member(&registry, &member), IOTSEC_OK);
    assert_int_equal(registry_functions.put_evicted(&registry, number), IOTSEC_OK);
    registry_functions.abort(&registry);
    assert_int_equal(registry_functions.member_at(&registry, 0, &member), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(registry_functions.authorised(&registry, number), IOTSEC_OK);

    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    assert_int_equal(registry_functions.put_member(&registry, &member), IOTSEC_OK);
    assert_int_equal(registry_functions.commit(&registry), IOTSEC_OK);
    registry_close(&registry);
    assert_int_equal(registry_open(&registry, path_of("library.db"), REGISTRY_SERVE), 0);
    assert_int_equal(registry_functions.member_at(&registry, 0, &member), IOTSEC_OK);
    assert_int_equal(member.sender_id, 7);
    assert_int_equal(registry_functions.member_at(&registry, 1, &member), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(registry_functions.group_at(&registry, 0, &group), IOTSEC_OK);
    assert_int_equal(group.key_number, 0xFFFFFF00u);
    assert_int_equal(group.next_sender, 9);
    assert_int_equal(registry_functions.group_at(&registry, 1, &group), IOTSEC_OK);
    assert_int_equal(group.group_id, 2);
    assert_int_equal(registry_functions.group_at(&registry, 2, &group), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(registry_functions.group_at(&registry, 1, &group), IOTSEC_OK); /* any order */

    /* a group takes its memberships with it, and leaves its key number behind */
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    assert_int_equal(registry_functions.delete_group(&registry, 1), IOTSEC_OK);
    assert_int_equal(registry_functions.commit(&registry), IOTSEC_OK);
    assert_int_equal(registry_functions.member_at(&registry, 0, &member), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(registry_retired(&registry, 1), 0xFFFFFF00u);
    assert_int_equal(registry_retired(&registry, 2), 0);
    registry_close(&registry);
}

/* A wish is gone in the very transaction that fulfils it. */
static void test_registry_wishes(void **state)
{
    struct wish wish;
    struct wish found;
    struct iotsec_addr addr;
    uint32_t number;

    (void)state;
    open_new("wishes.db");
    put_group(1, 0x100);
    number = add_device("lamp1", 1);

    assert_int_equal(registry_evict(&registry, "lamp1", &wish), 0);
    assert_int_equal(registry_functions.authorised(&registry, number), IOTSEC_ERR_NOT_AUTHORISED);
    assert_int_equal(registry_readmit(&registry, "lamp1", &found), 0);
    assert_int_not_equal(found.id, 0); /* behind the eviction, which is still to renew the keys */
    assert_int_equal(registry_functions.authorised(&registry, number), IOTSEC_ERR_NOT_AUTHORISED);
    assert_int_equal(registry_next_wish(&registry, 0, &found), 1);
    assert_int_equal(found.id, wish.id);
    assert_int_equal(found.kind, WISH_EVICT);
    assert_int_equal(found.device, number);

    registry.wish = &found;
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    registry_functions.abort(&registry);
    assert_true(registry_waits(&registry, &wish));
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    assert_int_equal(registry_functions.put_evicted(&registry, number), IOTSEC_OK);
    assert_int_equal(registry_functions.commit(&registry), IOTSEC_OK);
    registry.wish = NULL;
    assert_false(registry_waits(&registry, &wish));
    assert_int_equal(registry_settle(&registry, &found), 0); /* nothing left to do */
    assert_int_equal(registry_next_wish(&registry, 0, &found), 1);
    assert_int_equal(found.kind, WISH_READMIT);
    assert_int_equal(registry_settle(&registry, &found), 0);
    assert_int_equal(registry_functions.authorised(&registry, number), IOTSEC_OK);
    assert_int_equal(registry_next_wish(&registry, 0, &found), 0);

    /* removed: its identity is free at once, its number never */
    assert_int_equal(registry_remove(&registry, "lamp1", &wish), 0);
    assert_int_equal(registry_functions.authorised(&registry, number), IOTSEC_ERR_NOT_AUTHORISED);
    assert_int_equal(registry_settle(&registry, &wish), 0);
    assert_int_not_equal(registry_evict(&registry, "lamp1", &wish), 0);
    assert_true(add_device("lamp1", 1) > number);

    /* what is planned counts: an ID or an address cannot be promised twice */
    memset(&addr, 0, sizeof addr);
    addr.ip[0] = 0xFF;
    addr.ip[15] = 2;
    addr.port = 5683;
    assert_int_equal(registry_add_group(&registry, 2, &addr, &wish), 0);
    assert_int_not_equal(registry_add_group(&registry, 2, &addr, &found), 0);
    assert_int_not_equal(registry_add_group(&registry, 3, &addr, &found), 0);
    assert_int_equal(registry_remove_group(&registry, 2, &found), 0);
    assert_int_not_equal(registry_remove_group(&registry, 2, &found), 0);
    assert_int_equal(registry_add_group(&registry, 3, &addr, &found), 0);
    assert_int_not_equal(registry_renew_group(&registry, 2, 0, &found), 0);
    registry_close(&registry);
}

static void fill_access(struct iotsec_registry_access *value, uint32_t number, uint32_t next)
{
    memset(value, 0, sizeof *value); /* what lies between the members is compared too */
    memset(value->key, 0x5A, sizeof value->key);
    memset(value->prefix, 0xFD, sizeof value->prefix);
    memset(value->manager.ip, 0x20, sizeof value->manager.ip);
    value->number = number;
    value->next_number = next;
    memset(value->next_key, 0xC3, sizeof value->next_key);
    value->pan_id = 0xBEEF;
    value->manager.port = 5684;
}

static void test_registry_access(void **state)
{
    struct iotsec_registry_access value;
    struct iotsec_registry_access found;

    (void)state;
    open_new("access.db");
    assert_int_equal(registry_functions.access(&registry, &found), IOTSEC_ERR_NOT_FOUND);
    fill_access(&value, 1, 0);
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    assert_int_equal(registry_functions.put_access(&registry, &value), IOTSEC_OK);
    registry_functions.abort(&registry);
    assert_int_equal(registry_functions.access(&registry, &found), IOTSEC_ERR_NOT_FOUND);

    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    assert_int_equal(registry_functions.put_access(&registry, &value), IOTSEC_OK);
    fill_access(&value, 0xFFFFFFFEu, 0xFFFFFFFFu);
    assert_int_equal(registry_functions.put_access(&registry, &value), IOTSEC_OK);
    assert_int_equal(registry_functions.commit(&registry), IOTSEC_OK);
    registry_close(&registry);
    assert_int_equal(registry_open(&registry, path_of("access.db"), REGISTRY_SERVE), 0);
    assert_int_equal(registry_functions.access(&registry, &found), IOTSEC_OK);
    assert_memory_equal(&found, &value, sizeof value);

    /* a next key is a later one */
    fill_access(&value, 5, 5);
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    assert_int_equal(registry_functions.put_access(&registry, &value), IOTSEC_ERR_REGISTRY);
    registry_functions.abort(&registry);
    registry_close(&registry);
}

static void test_registry_access_wishes(void **state)
{
    static const uint8_t prefix[8] = { 0xFD, 2 };
    static const uint8_t own_prefix[8] = { 0xFD, 1 }; /* open_new() */
    struct iotsec_registry_access value;
    struct iotsec_addr addr;
    struct wish wish;
    struct wish found;

    (void)state;
    open_new("access-wishes.db");
    assert_null(addr_parse("[fd02::1]:5684", false, &addr));
    assert_int_not_equal(registry_renew_l2(&registry, &wish), 0); /* nothing to renew */
    assert_int_equal(registry_set_access(&registry, 0xBEEF, prefix, &addr, &wish), 0);
    assert_int_equal(registry_next_wish(&registry, 0, &found), 1);
    assert_int_equal(found.kind, WISH_ACCESS);
    assert_int_equal(found.id, wish.id);
    assert_int_equal(found.pan, 0xBEEF);
    assert_int_equal(found.device, 0);
    assert_int_equal(found.name_len, 0);
    assert_memory_equal(found.prefix, prefix, sizeof prefix);
    assert_true(iotsec_addr_equal(&found.addr, &addr));
    assert_int_equal(registry_renew_l2(&registry, &wish), 0); /* there will be something */
    assert_int_equal(registry_set_access(&registry, 0, NULL, &addr, &wish), 0);

    /* fulfilled in the transaction that puts it there, and in no other */
    fill_access(&value, 1, 0);
    registry.wish = &found;
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    registry_functions.abort(&registry);
    assert_true(registry_waits(&registry, &found));
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    assert_int_equal(registry_functions.put_access(&registry, &value), IOTSEC_OK);
    assert_int_equal(registry_functions.commit(&registry), IOTSEC_OK);
    registry.wish = NULL;
    assert_false(registry_waits(&registry, &found));
    assert_int_equal(registry_next_wish(&registry, found.id, &found), 1);
    assert_int_equal(found.kind, WISH_L2_RENEW);
    assert_int_equal(registry_settle(&registry, &found), 0);
    assert_int_equal(registry_next_wish(&registry, found.id, &found), 1);
    assert_memory_equal(found.prefix, own_prefix, sizeof own_prefix);
    assert_int_equal(found.pan, 0);
    assert_int_equal(registry_settle(&registry, &found), 0);
    assert_int_equal(registry_renew_l2(&registry, &wish), 0);
    registry_close(&registry);
}

/* ---- The polynomial in the registry ---- */

static void fill_poly(struct iotsec_registry_poly *poly, uint32_t generation, uint8_t degree, uint8_t gentle, uint8_t revoked)
{
    uint8_t i;

    memset(poly, 0, sizeof *poly);
    poly->generation = generation;
    poly->degree = degree;
    poly->gentle = gentle;
    poly->revoked_count = revoked;
    poly->carried = revoked / 2;
    for (i = 0; i < revoked; i++) {
        memset(poly->revoked[i], 0x40 + i, sizeof poly->revoked[i]);
    }
}

/* What a[i][j] is in these tests: the same as a[j][i], and no other one's. */
static void fill_element(uint8_t element[16], uint32_t generation, unsigned i, unsigned j)
{
    memset(element, 0x3C, 16);
    element[0] = (uint8_t)generation;
    element[1] = (uint8_t)(i > j ? i : j);
    element[2] = (uint8_t)(i > j ? j : i);
}

/* Inside a transaction. */
static void write_poly(const struct iotsec_registry_poly *poly)
{
    uint8_t elements[5][16];
    unsigned row;
    unsigned first;
    unsigned i;

    assert_int_equal(registry_functions.put_poly(&registry, poly), IOTSEC_OK);
    for (row = 0; row <= poly->degree; row++) {
        for (first = 0; first <= row; first += 5) {
            unsigned count = row + 1 - first < 5 ? row + 1 - first : 5;

            for (i = 0; i < count; i++) {
                fill_element(elements[i], poly->generation, row, first + i);
            }
            assert_int_equal(registry_functions.put_coefficients(&registry, (uint8_t)row, (uint8_t)first, (uint16_t)count,
                                                                 elements[0]), IOTSEC_OK);
        }
    }
}

/* Every coefficient, in pieces that begin and end on either side of the diagonal. */
static void check_poly(const struct iotsec_registry_poly *poly)
{
    static uint8_t elements[256][16];
    struct iotsec_registry_poly found;
    uint8_t expected[16];
    unsigned row;
    unsigned first;
    unsigned count;
    unsigned i;

    assert_int_equal(registry_functions.poly(&registry, &found), IOTSEC_OK);
    assert_memory_equal(&found, poly, sizeof found);
    for (row = 0; row <= poly->degree; row++) {
        for (first = 0; first <= poly->degree; first += count) {
            count = poly->degree + 1u - first < 1 + row ? poly->degree + 1u - first : 1 + row;
            assert_int_equal(registry_functions.coefficients(&registry, (uint8_t)row, (uint8_t)first, (uint16_t)count,
                                                             elements[0]), IOTSEC_OK);
            for (i = 0; i < count; i++) {
                fill_element(expected, poly->generation, row, first + i);
                if (memcmp(elements[i], expected, sizeof expected) != 0) {
                    fail_msg("degree %u: a[%u][%u], read from %u on", poly->degree, row, first + i, first);
                }
            }
        }
    }
}

static void test_registry_poly(void **state)
{
    static const uint8_t degrees[] = { 1, 2, 7, 31, 255 };
    struct iotsec_registry_poly poly;
    struct iotsec_registry_poly found;
    uint8_t elements[2][16];
    size_t i;

    (void)state;
    open_new("poly.db");
    assert_int_equal(registry_functions.poly(&registry, &found), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(registry_functions.coefficients(&registry, 0, 0, 1, elements[0]), IOTSEC_ERR_REGISTRY);
    registry.problem = NULL;

    /* none of it happened */
    fill_poly(&poly, 1, 7, 0, 0);
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    write_poly(&poly);
    registry_functions.abort(&registry);
    assert_int_equal(registry_functions.poly(&registry, &found), IOTSEC_ERR_NOT_FOUND);

    for (i = 0; i < sizeof degrees; i++) {
        fill_poly(&poly, (uint32_t)(0xFFFFFFF0u + i), degrees[i], i % 2, (uint8_t)(8 * i));
        assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
        write_poly(&poly);
        assert_int_equal(registry_functions.commit(&registry), IOTSEC_OK);
        check_poly(&poly);
        registry_close(&registry);
        assert_int_equal(registry_open(&registry, path_of("poly.db"), REGISTRY_SERVE), 0);
        check_poly(&poly);
    }

    /* a new generation that comes to nothing leaves the old one, whole */
    fill_poly(&found, 0xFFFFFFF9u, 3, 0, 0);
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    write_poly(&found);
    registry_functions.abort(&registry);
    check_poly(&poly);

    /* one more revocation, and an overlap that ends, leave the coefficients alone */
    fill_poly(&poly, poly.generation, 255, !poly.gentle, IOTSEC_REVOKED_MAX);
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    assert_int_equal(registry_functions.put_poly(&registry, &poly), IOTSEC_OK);
    assert_int_equal(registry_functions.commit(&registry), IOTSEC_OK);
    check_poly(&poly);

    poly.carried = 3;
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    assert_int_equal(registry_functions.put_poly(&registry, &poly), IOTSEC_OK);
    assert_int_equal(registry_functions.commit(&registry), IOTSEC_OK);
    check_poly(&poly);

    /* outside of it */
    fill_element(elements[0], 1, 0, 0);
    assert_int_equal(registry_functions.coefficients(&registry, 255, 255, 2, elements[0]), IOTSEC_ERR_REGISTRY);
    assert_int_equal(elements[0][1] | elements[0][15] | elements[1][0], 0); /* nothing secret is left of a failure */
    registry.problem = NULL;
    registry_close(&registry);
}

static const struct poly_damage_row {
    const char *name;
    const char *sql;
} poly_damage_rows[] = {
    { "a mark is missing", "DELETE FROM revoked WHERE number = 1" },
    { "more marks are carried than there are", "UPDATE poly SET carried = 4" },
};

/* What another hand has left there is not taken for what was written. */
static void test_registry_poly_damaged(void **state)
{
    struct iotsec_registry_poly poly;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof poly_damage_rows / sizeof poly_damage_rows[0]; i++) {
        open_new("poly-damaged.db");
        fill_poly(&poly, 1, 1, 1, 3);
        assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
        write_poly(&poly);
        assert_int_equal(registry_functions.commit(&registry), IOTSEC_OK);
        check_poly(&poly);
        assert_int_equal(sqlite3_exec(registry.db, poly_damage_rows[i].sql, NULL, NULL, NULL), SQLITE_OK);
        if (registry_functions.poly(&registry, &poly) != IOTSEC_ERR_REGISTRY || registry.problem == NULL) {
            fail_msg("%s", poly_damage_rows[i].name);
        }
        registry_close(&registry);
    }
}

static const struct poly_row {
    const char *name;
    uint32_t generation;
    uint8_t degree;
    enum iotsec_status status;
} poly_rows[] = {
    { "an older generation", 4, 7, IOTSEC_ERR_REGISTRY },
    { "another degree of the same generation", 5, 8, IOTSEC_ERR_REGISTRY },
    { "generation 0", 0, 7, IOTSEC_ERR_REGISTRY },
    { "degree 0", 6, 0, IOTSEC_ERR_REGISTRY },
    { "the same", 5, 7, IOTSEC_OK },
    { "the next", 6, 8, IOTSEC_OK },
};

static void test_registry_poly_refused(void **state)
{
    struct iotsec_registry_poly poly;
    uint8_t element[16] = { 0 };
    size_t i;

    (void)state;
    open_new("poly-refused.db");
    fill_poly(&poly, 5, 7, 1, 2);
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    write_poly(&poly);
    assert_int_equal(registry_functions.commit(&registry), IOTSEC_OK);
    for (i = 0; i < sizeof poly_rows / sizeof poly_rows[0]; i++) {
        struct iotsec_registry_poly wanted;
        enum iotsec_status status;

        fill_poly(&wanted, poly_rows[i].generation, poly_rows[i].degree, 1, 2);
        assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
        status = registry_functions.put_poly(&registry, &wanted);
        registry_functions.abort(&registry);
        if (status != poly_rows[i].status || (status != IOTSEC_OK && registry.problem == NULL)) {
            fail_msg("%s: %s", poly_rows[i].name, iotsec_status_name(status));
        }
        registry.problem = NULL;
        check_poly(&poly);
    }
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    assert_int_equal(registry_functions.put_coefficients(&registry, 8, 0, 1, element), IOTSEC_ERR_REGISTRY);
    assert_int_equal(registry_functions.put_coefficients(&registry, 3, 4, 1, element), IOTSEC_ERR_ARGUMENT);
    registry_functions.abort(&registry);
    check_poly(&poly);
    registry_close(&registry);
}

/* Whether a file has these bytes in it. */
static bool file_has(const char *path, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "r");
    static char content[1 << 21];
    bool found = false;
    size_t size;
    size_t i;

    assert_non_null(file);
    size = fread(content, 1, sizeof content, file);
    fclose(file);
    for (i = 0; i + len <= size && !found; i++) {
        found = memcmp(content + i, bytes, len) == 0;
    }
    return found;
}

/* Whether it stands in a registry's file or in the log of its changes. */
static bool registry_has(const char *name, const void *bytes, size_t len)
{
    char log[64];

    snprintf(log, sizeof log, "%s-wal", name);
    return file_has(path_of(name), bytes, len) || (access(path_of(log), F_OK) == 0 && file_has(path_of(log), bytes, len));
}

/* A server that goes on running leaves nothing behind of a device that is gone, of an old polynomial, of a key that
 * somebody who left had. */
static void test_registry_clean(void **state)
{
    static const struct psk psk = { .key = "a key of a device that goes away", .len = 32 };
    const struct iotsec_registry_member member = { .device = 1, .group_id = 7, .sender_id = 1 };
    struct iotsec_registry_group group = { .group_id = 7, .addr = { .ip = { 0xFF }, .port = 7 }, .key_number = 0x101, .next_sender = 2 };
    struct iotsec_registry_poly poly;
    struct registry admin;
    struct wish wish;
    uint8_t element[16];
    uint32_t number;

    (void)state;
    open_new("clean.db");
    assert_int_equal(registry_open(&admin, path_of("clean.db"), REGISTRY_USE), 0);
    assert_int_equal(registry_add_device(&admin, "stays", &psk, NULL, 0, &number), 0);
    assert_int_equal(number, member.device);
    memcpy(group.tgk, "the old groupkey", 16);
    fill_poly(&poly, 0x77, 63, 0, 0);
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    write_poly(&poly);
    assert_int_equal(registry_functions.put_group(&registry, &group), IOTSEC_OK);
    assert_int_equal(registry_functions.put_member(&registry, &member), IOTSEC_OK);
    assert_int_equal(registry_functions.commit(&registry), IOTSEC_OK);
    assert_int_equal(registry_remove(&admin, "stays", &wish), 0);
    fill_element(element, 0x77, 60, 17);
    assert_true(registry_has("clean.db", psk.key, psk.len));
    registry_close(&registry);
    assert_int_equal(registry_open(&registry, path_of("clean.db"), REGISTRY_SERVE), 0);
    registry_clean(&registry); /* what another server has left */
    assert_false(registry_has("clean.db", psk.key, psk.len));
    assert_true(registry_has("clean.db", element, sizeof element));
    assert_int_equal(registry_add_device(&admin, "goes", &psk, NULL, 0, &number), 0);
    assert_int_equal(registry_remove(&admin, "goes", &wish), 0);
    assert_true(registry_has("clean.db", psk.key, psk.len));
    assert_int_equal(registry_settle(&registry, &wish), 0);
    registry_clean(&registry);
    assert_false(registry_has("clean.db", psk.key, psk.len));
    assert_int_equal(sqlite3_exec(admin.db, "BEGIN; SELECT count(*) FROM poly", NULL, NULL, NULL), SQLITE_OK);
    fill_poly(&poly, 0x78, 1, 0, 0);
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    write_poly(&poly);
    assert_int_equal(registry_functions.commit(&registry), IOTSEC_OK);
    registry_clean(&registry); /* somebody reads: nothing is waited for */
    assert_true(registry_has("clean.db", element, sizeof element));
    assert_int_equal(sqlite3_exec(admin.db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    registry_clean(&registry);
    assert_false(registry_has("clean.db", element, sizeof element));
    assert_true(registry_has("clean.db", "the old groupkey", 16));
    memcpy(group.tgk, "the new groupkey", 16);
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    assert_int_equal(registry_functions.delete_member(&registry, member.device, member.group_id), IOTSEC_OK);
    assert_int_equal(registry_functions.put_group(&registry, &group), IOTSEC_OK);
    assert_int_equal(registry_functions.commit(&registry), IOTSEC_OK);
    registry_clean(&registry);
    assert_false(registry_has("clean.db", "the old groupkey", 16));
    registry_close(&admin);
    registry_close(&registry);
}

/* An old polynomial is not left behind in the file. */
static void test_registry_poly_erased(void **state)
{
    struct iotsec_registry_poly poly;
    uint8_t element[16];

    (void)state;
    open_new("poly-erased.db");
    fill_poly(&poly, 0x77, 63, 0, 0);
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    write_poly(&poly);
    assert_int_equal(registry_functions.commit(&registry), IOTSEC_OK);
    registry_close(&registry);
    fill_element(element, 0x77, 60, 17);
    assert_true(file_has(path_of("poly-erased.db"), element, sizeof element));
    assert_int_equal(registry_open(&registry, path_of("poly-erased.db"), REGISTRY_SERVE), 0);
    fill_poly(&poly, 0x78, 1, 0, 0);
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    write_poly(&poly);
    assert_int_equal(registry_functions.commit(&registry), IOTSEC_OK);
    registry_close(&registry);
    assert_false(file_has(path_of("poly-erased.db"), element, sizeof element));
    assert_int_not_equal(access(path_of("poly-erased.db-wal"), F_OK), 0);
}

/* SHA-256("iotsec point" || "lamp1") modulo 2^127 - 1, by another program. */
static const uint8_t lamp1_point[16] = { 0x5B, 0x64, 0x5F, 0xEE, 0x7B, 0x50, 0x2A, 0x55, 0xBE, 0x59, 0x5F, 0x1F, 0xAB, 0xAC, 0x82, 0x5D };

static void test_registry_points(void **state)
{
    static const struct psk psk = { { 1 }, 16 };
    uint8_t point[16];
    struct wish wish;
    struct wish found;
    uint32_t number;
    uint32_t again;

    (void)state;
    open_new("points.db");
    number = add_device("lamp1", 0);
    assert_int_equal(registry_functions.point(&registry, number, point), IOTSEC_OK);
    assert_memory_equal(point, lamp1_point, sizeof point);
    assert_int_equal(registry_functions.point(&registry, number + 1, point), IOTSEC_ERR_NOT_FOUND);

    /* removed, its point stays until that is carried out, although another device has its identity already */
    assert_int_equal(registry_remove(&registry, "lamp1", &wish), 0);
    again = add_device("lamp1", 0);
    memset(point, 0, sizeof point);
    assert_int_equal(registry_functions.point(&registry, number, point), IOTSEC_OK);
    assert_memory_equal(point, lamp1_point, sizeof point);
    assert_int_equal(registry_next_wish(&registry, 0, &found), 1);
    registry.wish = &found;
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    assert_int_equal(registry_functions.point(&registry, number, point), IOTSEC_OK);
    assert_int_equal(registry_functions.commit(&registry), IOTSEC_OK);
    registry.wish = NULL;
    assert_int_equal(registry_functions.point(&registry, number, point), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(registry_functions.point(&registry, again, point), IOTSEC_OK);

    /* somebody else at a device's point: refused, and nothing changed */
    assert_int_equal(sqlite3_exec(registry.db, "INSERT INTO device(identity, psk, point) SELECT CAST('lamp3' AS BLOB), psk, x'78c6056c20e9e5bf8bd77663e8192f5e' FROM device", NULL, NULL, NULL), SQLITE_OK);
    assert_int_not_equal(registry_add_device(&registry, "lamp2", &psk, NULL, 0, &number), 0);
    assert_int_equal(registry_evict(&registry, "lamp3", &wish), 0); /* the other one stays */
    assert_int_not_equal(registry_evict(&registry, "lamp2", &wish), 0);
    /* not even by hand: twice the same point, or 0 */
    assert_int_equal(sqlite3_exec(registry.db, "UPDATE device SET point = x'78c6056c20e9e5bf8bd77663e8192f5e'", NULL, NULL, NULL),
                     SQLITE_CONSTRAINT_UNIQUE);
    assert_int_equal(sqlite3_exec(registry.db, "UPDATE device SET point = zeroblob(16)", NULL, NULL, NULL), SQLITE_CONSTRAINT_CHECK);
    registry_close(&registry);
}

static void test_registry_poly_wishes(void **state)
{
    struct iotsec_registry_poly poly;
    struct wish wish;
    struct wish found;

    (void)state;
    open_new("poly-wishes.db");
    assert_int_not_equal(registry_show_poly(&registry), 0);
    assert_int_equal(registry_renew_poly(&registry, 0, true, &wish), 0); /* the first one: the default */
    assert_int_equal(wish.degree, POLY_DEGREE_DEFAULT);
    assert_int_equal(registry_renew_poly(&registry, 255, false, &wish), 0);
    assert_int_equal(registry_renew_poly(&registry, 0, false, &wish), 0); /* what it will be by then */
    assert_int_equal(wish.degree, 255);
    assert_int_equal(registry_next_wish(&registry, 0, &found), 1);
    assert_int_equal(found.kind, WISH_POLY_RENEW);
    assert_int_equal(found.degree, POLY_DEGREE_DEFAULT);
    assert_true(found.overlap);
    assert_int_equal(found.device, 0);
    assert_int_equal(found.addr.port, 0);
    assert_int_equal(found.name_len, 0);

    /* fulfilled in the transaction that makes it */
    fill_poly(&poly, 1, found.degree, 1, 3);
    registry.wish = &found;
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    registry_functions.abort(&registry);
    assert_true(registry_waits(&registry, &found));
    assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
    write_poly(&poly);
    assert_int_equal(registry_functions.commit(&registry), IOTSEC_OK);
    registry.wish = NULL;
    assert_false(registry_waits(&registry, &found));
    assert_int_equal(registry_next_wish(&registry, found.id, &found), 1);
    assert_int_equal(found.degree, 255);
    assert_false(found.overlap);
    assert_int_equal(registry_settle(&registry, &found), 0);
    assert_int_equal(registry_next_wish(&registry, found.id, &found), 1);
    assert_int_equal(registry_settle(&registry, &found), 0);
    assert_int_equal(registry_renew_poly(&registry, 0, true, &wish), 0); /* none waits: what it is */
    assert_int_equal(wish.degree, POLY_DEGREE_DEFAULT);
    registry_close(&registry);
}

/* ---- Registries of earlier layouts ---- */

/* What version 0.1 made before there were pairwise keys, and before that before there were access parameters. */
static const char layout_1[] =
    "PRAGMA journal_mode = WAL;"
    "CREATE TABLE settings(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE device("
    " number INTEGER PRIMARY KEY AUTOINCREMENT CHECK(number BETWEEN 1 AND 4294967295),"
    " identity BLOB UNIQUE CHECK(identity IS NULL OR length(identity) BETWEEN 1 AND 255),"
    " psk BLOB NOT NULL CHECK(identity IS NULL OR length(psk) BETWEEN 16 AND 255),"
    " evicted INTEGER NOT NULL DEFAULT 0 CHECK(evicted IN (0, 1)));"
    "CREATE TABLE allowed("
    " device INTEGER NOT NULL REFERENCES device(number) ON DELETE CASCADE,"
    " gid INTEGER NOT NULL CHECK(gid BETWEEN 1 AND 65535),"
    " PRIMARY KEY(device, gid)) WITHOUT ROWID;"
    "CREATE TABLE grp("
    " gid INTEGER PRIMARY KEY CHECK(gid BETWEEN 1 AND 65535),"
    " address BLOB NOT NULL CHECK(length(address) = 16),"
    " port INTEGER NOT NULL CHECK(port BETWEEN 1 AND 65535),"
    " key_number INTEGER NOT NULL CHECK(key_number BETWEEN 1 AND 4294967295),"
    " next_sender INTEGER NOT NULL CHECK(next_sender BETWEEN 0 AND 65535),"
    " tgk BLOB NOT NULL CHECK(length(tgk) = 16),"
    " rand BLOB NOT NULL CHECK(length(rand) = 16),"
    " UNIQUE(address, port));"
    "CREATE TABLE retired(gid INTEGER PRIMARY KEY, key_number INTEGER NOT NULL);"
    "CREATE TABLE member("
    " device INTEGER NOT NULL REFERENCES device(number) ON DELETE CASCADE,"
    " gid INTEGER NOT NULL REFERENCES grp(gid) ON DELETE CASCADE,"
    " sender INTEGER NOT NULL CHECK(sender BETWEEN 0 AND 65535),"
    " PRIMARY KEY(device, gid)) WITHOUT ROWID;"
    "CREATE INDEX member_gid ON member(gid);"
    "CREATE TABLE wanted("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " kind INTEGER NOT NULL,"
    " device INTEGER NOT NULL DEFAULT 0,"
    " gid INTEGER NOT NULL DEFAULT 0,"
    " address BLOB,"
    " port INTEGER NOT NULL DEFAULT 0,"
    " name BLOB);"
    "CREATE VIEW planned AS"
    " SELECT gid, address, port FROM grp WHERE gid NOT IN (SELECT gid FROM wanted WHERE kind = 6)"
    " UNION"
    " SELECT gid, address, port FROM wanted AS w WHERE kind = 5"
    "  AND NOT EXISTS (SELECT 1 FROM wanted AS r WHERE r.kind = 6 AND r.gid = w.gid AND r.id > w.id);"
    "PRAGMA application_id = 1768911987;"
    "PRAGMA user_version = 1;"
    /* a device, one that is being removed, a new one of the same name, and wishes that have another number where those have their device */
    "INSERT INTO device(identity, psk) VALUES(CAST('lamp1' AS BLOB), zeroblob(16)), (NULL, x''), (CAST('lamp2' AS BLOB), zeroblob(16));"
    "INSERT INTO wanted(kind, device, name) VALUES(1, 1, CAST('lamp1' AS BLOB)), (2, 2, CAST('lamp2' AS BLOB));"
    "INSERT INTO wanted(kind, device, gid) VALUES(7, 2, 1);"
    "INSERT INTO grp VALUES(1, zeroblob(16), 1, 256, 9, zeroblob(16), zeroblob(16));";
static const char layout_2[] =
    "CREATE TABLE access("
    " only_row INTEGER PRIMARY KEY CHECK(only_row = 1),"
    " number INTEGER NOT NULL CHECK(number BETWEEN 1 AND 4294967295),"
    " key BLOB NOT NULL CHECK(length(key) = 16),"
    " next_number INTEGER NOT NULL CHECK(next_number = 0 OR next_number BETWEEN number + 1 AND 4294967295),"
    " next_key BLOB NOT NULL CHECK(length(next_key) = 16),"
    " pan INTEGER NOT NULL CHECK(pan BETWEEN 0 AND 65535),"
    " prefix BLOB NOT NULL CHECK(length(prefix) = 8),"
    " address BLOB NOT NULL CHECK(length(address) = 16),"
    " port INTEGER NOT NULL CHECK(port BETWEEN 1 AND 65535));"
    "PRAGMA user_version = 2;"
    "INSERT INTO wanted(kind, device, name) VALUES(8, 1, x'fd01000000000000');";

static void make_old(const char *name, int layout)
{
    sqlite3 *db = NULL;

    unlink(path_of(name));
    write_file(path_of(name), "", 0, 0600);
    assert_int_equal(sqlite3_open(path_of(name), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, layout_1, NULL, NULL, NULL), SQLITE_OK);
    if (layout == 2) {
        assert_int_equal(sqlite3_exec(db, layout_2, NULL, NULL, NULL), SQLITE_OK);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* A registry of an earlier layout is brought to this one, and nothing in it is lost. */
static void check_upgrade(int layout, enum registry_access mode)
{
    struct iotsec_registry_access value;
    struct iotsec_registry_group group;
    struct iotsec_registry_poly poly;
    uint8_t point[16];
    uint8_t removed[16];
    struct wish found;
    int64_t id = 0;
    int round;
    int wishes = 0;

    make_old("old.db", layout);
    for (round = 0; round < 2; round++) {
        assert_int_equal(registry_open(&registry, path_of("old.db"), mode), 0);
        assert_int_equal(registry_functions.group_at(&registry, 0, &group), IOTSEC_OK);
        assert_int_equal(group.key_number, 256);
        assert_int_equal(registry_functions.point(&registry, 1, point), IOTSEC_OK);
        assert_memory_equal(point, lamp1_point, sizeof point);
        assert_int_equal(registry_functions.point(&registry, 2, removed), IOTSEC_OK);
        assert_int_equal(registry_functions.point(&registry, 3, point), IOTSEC_OK);
        assert_memory_equal(point, removed, sizeof point);
        fill_access(&value, 1, 0);
        fill_poly(&poly, 9 + (uint32_t)round, 7, 1, 1);
        assert_int_equal(registry_functions.begin(&registry), IOTSEC_OK);
        assert_int_equal(registry_functions.put_access(&registry, &value), IOTSEC_OK);
        write_poly(&poly);
        assert_int_equal(registry_functions.commit(&registry), IOTSEC_OK);
        check_poly(&poly);
        registry_close(&registry);
    }
    assert_int_equal(registry_open(&registry, path_of("old.db"), mode), 0);
    while (registry_next_wish(&registry, id, &found) == 1) {
        id = found.id;
        wishes++;
    }
    assert_int_equal(wishes, 2 + layout);
    /* the new rules hold */
    assert_int_equal(sqlite3_exec(registry.db, "UPDATE device SET point = zeroblob(16)", NULL, NULL, NULL), SQLITE_CONSTRAINT_CHECK);
    assert_int_equal(sqlite3_exec(registry.db, "UPDATE device SET point = (SELECT point FROM device WHERE number = 1)", NULL, NULL,
                                  NULL), SQLITE_CONSTRAINT_UNIQUE);
    registry_close(&registry);
}

static void test_registry_upgrade(void **state)
{
    (void)state;
    check_upgrade(1, REGISTRY_USE);
    check_upgrade(1, REGISTRY_SERVE);
    check_upgrade(2, REGISTRY_USE);
    check_upgrade(2, REGISTRY_SERVE);
}

/* ---- Other devices' names ---- */

static const struct peer_row {
    const char *name;
    const char *line;
    bool alone;
    const char *reason;   /* NULL: taken */
    const char *identity;
    const char *addr;
    const char *rest;
} peer_rows[] = {
    { "plain", "lamp-1@[fd01::1]:5685 hello", false, NULL, "lamp-1", "[fd01::1]:5685", "hello" },
    { "IPv4", "lamp-1@192.0.2.1:1 hello", false, NULL, "lamp-1", "192.0.2.1:1", "hello" },
    { "link-local", "lamp-1@[fe80::1%lo]:1 hello", false, NULL, "lamp-1", "[fe80::1%lo]:1", "hello" },
    { "blanks", " \tlamp-1@[::1]:1  two  words ", false, NULL, "lamp-1", "[::1]:1", " two  words " },
    { "an @ in it", "a@b@[::1]:1 x", false, NULL, "a@b", "[::1]:1", "x" },
    { "brackets in it", "a[1]@[::1]:1 x", false, NULL, "a[1]", "[::1]:1", "x" },
    { "an address in it", "a@[::2]:2@[::1]:1 x", false, NULL, "a@[::2]:2", "[::1]:1", "x" },
    { "no ASCII", "L\xC3\xA4mpchen@[::1]:1 x", false, NULL, "L\xC3\xA4mpchen", "[::1]:1", "x" },
    { "quoted", "\"light switch\"@[::1]:1 x", false, NULL, "light switch", "[::1]:1", "x" },
    { "quoted with all", "\"a \\\"b\\\" \\\\c\\n\\x7f@[::2]:2\"@[::1]:1 x", false, NULL, "a \"b\" \\c\n\x7F@[::2]:2", "[::1]:1", "x" },
    { "no text", "a@[::1]:1", false, NULL, "a", "[::1]:1", "" },
    { "alone", "lamp-1", true, NULL, "lamp-1", NULL, "" },
    { "alone with an @", "a@[::1]:1", true, NULL, "a@[::1]:1", NULL, "" },
    { "alone, quoted", "\"light switch\" ", true, NULL, "light switch", NULL, "" },
    { "nothing", "", false, "USAGE", NULL, NULL, NULL },
    { "no address", "lamp-1 hello", false, "USAGE", NULL, NULL, NULL },
    { "no port", "a@[::1] x", false, "BAD_ADDRESS", NULL, NULL, NULL },
    { "port 0", "a@[::1]:0 x", false, "BAD_ADDRESS", NULL, NULL, NULL },
    { "no brackets", "a@::1:5 x", false, "BAD_ADDRESS", NULL, NULL, NULL },
    { "a name", "a@localhost:5 x", false, "BAD_ADDRESS", NULL, NULL, NULL },
    { "multicast", "a@[ff02::1]:5 x", false, "BAD_ADDRESS", NULL, NULL, NULL },
    { "nobody's address", "a@[::]:5 x", false, "BAD_ADDRESS", NULL, NULL, NULL },
    { "empty address", "a@ x", false, "BAD_ADDRESS", NULL, NULL, NULL },
    { "empty identity", "@[::1]:1 x", false, "BAD_IDENTITY", NULL, NULL, NULL },
    { "empty identity in quotes", "\"\"@[::1]:1 x", false, "BAD_IDENTITY", NULL, NULL, NULL },
    { "nothing, alone", "", true, "BAD_IDENTITY", NULL, NULL, NULL },
    { "no closing quote", "\"a@[::1]:1 x", false, "BAD_IDENTITY", NULL, NULL, NULL },
    { "backslash at the end", "\"a\\", false, "BAD_IDENTITY", NULL, NULL, NULL },
    { "half a byte", "\"a\\x1", false, "BAD_IDENTITY", NULL, NULL, NULL },
    { "no such escape", "\"a\\t\"@[::1]:1 x", false, "BAD_IDENTITY", NULL, NULL, NULL },
    { "no @ behind the quotes", "\"a\"[::1]:1 x", false, "USAGE", NULL, NULL, NULL },
    { "a blank behind the quotes", "\"a\" @[::1]:1 x", false, "USAGE", NULL, NULL, NULL },
    { "not printable", "a\x01@[::1]:1 x", false, "BAD_IDENTITY", NULL, NULL, NULL },
    { "no UTF-8", "a\xFF@[::1]:1 x", false, "BAD_IDENTITY", NULL, NULL, NULL },
    { "alone, and more", "\"a\"b", true, "USAGE", NULL, NULL, NULL },
};

static void test_peer(void **state)
{
    struct peer_problem problem;
    struct peer_name name;
    char line[4 * IOTSEC_IDENTITY_MAX];
    char text[ADDR_TEXT_BYTES];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof peer_rows / sizeof peer_rows[0]; i++) {
        const struct peer_row *row = &peer_rows[i];
        char *rest = line;
        bool taken;

        snprintf(line, sizeof line, "%s", row->line);
        taken = peer_take(&rest, row->alone, &name, &problem);
        if (taken != (row->reason == NULL) || (!taken && (strcmp(problem.reason, row->reason) != 0 || problem.detail == NULL))) {
            fail_msg("%s: %s", row->name, taken ? "taken" : problem.reason);
        }
        if (!taken) {
            continue;
        }
        if (name.len != strlen(row->identity) || memcmp(name.identity, row->identity, name.len) != 0 || strcmp(rest, row->rest) != 0) {
            fail_msg("%s: %.*s, and then '%s'", row->name, (int)name.len, (const char *)name.identity, rest);
        }
        if (row->addr != NULL) {
            addr_format(&name.addr, text);
            assert_string_equal(text, row->addr);
        }
    }
    /* as long as one may be, and longer */
    for (i = IOTSEC_IDENTITY_MAX; i <= IOTSEC_IDENTITY_MAX + 1; i++) {
        char *rest = line;

        memset(line, 'a', i);
        snprintf(line + i, sizeof line - i, "@[::1]:1 x");
        assert_int_equal(peer_take(&rest, false, &name, &problem), i == IOTSEC_IDENTITY_MAX);
        rest = line;
        line[0] = '"';
        memset(line + 1, 'a', i);
        snprintf(line + 1 + i, sizeof line - i - 1, "\"@[::1]:1 x");
        assert_int_equal(peer_take(&rest, false, &name, &problem), i == IOTSEC_IDENTITY_MAX);
    }
}

/* What the program prints, it reads. */
static void test_peer_printed(void **state)
{
    unsigned byte;

    (void)state;
    for (byte = 0; byte < 256; byte++) {
        uint8_t identity[3] = { 'a', (uint8_t)byte, 'b' };
        struct peer_problem problem;
        struct peer_name name;
        char line[64];
        char *printed = NULL;
        char *rest = line;
        size_t len = 0;
        FILE *stream = open_memstream(&printed, &len);

        assert_non_null(stream);
        out_to(stream);
        out_begin("e");
        out_bytes("id", identity, sizeof identity);
        out_end();
        out_to(NULL);
        fclose(stream);
        snprintf(line, sizeof line, "%.*s@[::1]:1 x", (int)(len - strlen("e id=\n")), printed + strlen("e id="));
        free(printed);
        if (!peer_take(&rest, false, &name, &problem) || name.len != sizeof identity ||
            memcmp(name.identity, identity, sizeof identity) != 0 || strcmp(rest, "x") != 0) {
            fail_msg("byte %u: %s", byte, line);
        }
    }
}

/* Lines that anybody can cause are counted from the twenty-first on. */
static void test_flood(void **state)
{
    struct flood flood = { 0, 0 };
    char *printed = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&printed, &len);
    unsigned shown = 0;
    unsigned i;

    (void)state;
    assert_non_null(stream);
    out_to(stream);
    for (i = 0; i < 100; i++) {
        shown += out_may(&flood, 5000 + i) ? 1 : 0;
    }
    assert_int_equal(shown, FLOOD_LINES_A_SECOND);
    assert_true(out_may(&flood, 6000));
    assert_true(out_may(&flood, 7000));
    out_to(NULL);
    fclose(stream);
    assert_string_equal(printed, "failures-not-shown count=80\n");
    free(printed);
}

static void test_registry_numbers(void **state)
{
    struct wish wish;
    uint32_t last = 0;
    int i;

    (void)state;
    open_new("numbers.db");
    for (i = 0; i < 20; i++) {
        uint32_t number = add_device("lamp", 0);

        assert_true(number > last);
        last = number;
        assert_int_equal(registry_remove(&registry, "lamp", &wish), 0);
        assert_int_equal(registry_settle(&registry, &wish), 0);
    }
    registry_close(&registry);
}

/* What another hand has put there is found before anybody relies on it. */
static void test_registry_damaged(void **state)
{
    uint8_t junk[4096];
    struct stat about;
    FILE *file;

    (void)state;
    assert_int_not_equal(registry_open(&registry, path_of("missing.db"), REGISTRY_USE), 0);

    open_new("damaged.db");
    registry_close(&registry);
    assert_int_equal(stat(path_of("damaged.db"), &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    assert_int_equal(chmod(path_of("damaged.db"), 0644), 0);
    assert_int_not_equal(registry_open(&registry, path_of("damaged.db"), REGISTRY_USE), 0);
    assert_int_equal(chmod(path_of("damaged.db"), 0600), 0);
    assert_int_equal(registry_open(&registry, path_of("damaged.db"), REGISTRY_USE), 0);
    assert_int_equal(sqlite3_exec(registry.db, "PRAGMA user_version = 4", NULL, NULL, NULL), SQLITE_OK);
    registry_close(&registry);
    assert_int_not_equal(registry_open(&registry, path_of("damaged.db"), REGISTRY_USE), 0);

    open_new("damaged2.db");
    put_group(1, 0x100);
    registry_close(&registry);
    memset(junk, 0xA5, sizeof junk);
    file = fopen(path_of("damaged2.db"), "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 8192, SEEK_SET), 0);
    assert_int_equal(fwrite(junk, 1, sizeof junk, file), sizeof junk);
    fclose(file);
    assert_int_not_equal(registry_open(&registry, path_of("damaged2.db"), REGISTRY_SERVE), 0);

    write_file(path_of("empty.db"), "", 0, 0600);
    assert_int_not_equal(registry_open(&registry, path_of("empty.db"), REGISTRY_SERVE), 0);
    write_file(path_of("junk.db"), junk, sizeof junk, 0600);
    assert_int_not_equal(registry_open(&registry, path_of("junk.db"), REGISTRY_SERVE), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addr),
        cmocka_unit_test(test_addr_interface),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_key_file),
        cmocka_unit_test(test_output),
        cmocka_unit_test(test_coap_write),
        cmocka_unit_test(test_coap_path),
        cmocka_unit_test(test_coap_read),
        cmocka_unit_test(test_nvm),
        cmocka_unit_test(test_nvm_single),
        cmocka_unit_test(test_l2_keys),
        cmocka_unit_test(test_hook),
        cmocka_unit_test(test_sockets),
        cmocka_unit_test(test_registry_library),
        cmocka_unit_test(test_registry_wishes),
        cmocka_unit_test(test_registry_access),
        cmocka_unit_test(test_registry_access_wishes),
        cmocka_unit_test(test_registry_poly),
        cmocka_unit_test(test_registry_poly_damaged),
        cmocka_unit_test(test_registry_poly_refused),
        cmocka_unit_test(test_registry_poly_erased),
        cmocka_unit_test(test_registry_clean),
        cmocka_unit_test(test_registry_points),
        cmocka_unit_test(test_registry_poly_wishes),
        cmocka_unit_test(test_registry_upgrade),
        cmocka_unit_test(test_peer),
        cmocka_unit_test(test_peer_printed),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_registry_numbers),
        cmocka_unit_test(test_registry_damaged),
    };

    return cmocka_run_group_tests_name("posix", tests, make_directory, remove_directory);
}
