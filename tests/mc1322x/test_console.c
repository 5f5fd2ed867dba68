/* SPDX-License-Identifier: BSD-3-Clause */
/* The console's lines: IPv6 addresses beside the host's own functions, quoting, and commands as bytes come in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "console.c"

/* ---- A UART in memory ---- */

static char out[1024];
static size_t out_len;
static const uint8_t *in;
static size_t in_len;

void uart_put(uint8_t byte)
{
    assert_true(out_len + 1 < sizeof out);
    out[out_len++] = (char)byte;
    out[out_len] = '\0';
}

void uart_text(const char *text)
{
    while (*text != '\0') {
        uart_put((uint8_t)*text++);
    }
}

void uart_hex(uint32_t value, unsigned digits)
{
    while (digits-- > 0) {
        uart_put((uint8_t)"0123456789abcdef"[value >> 4 * digits & 15]);
    }
}

void uart_decimal(uint32_t value)
{
    char text[12];

    snprintf(text, sizeof text, "%u", (unsigned)value);
    uart_text(text);
}

int uart_get(void)
{
    if (in_len == 0) {
        return -1;
    }
    in_len--;
    return *in++;
}

static void clear(void)
{
    out_len = 0;
    out[0] = '\0';
}

static void type(const char *text)
{
    in = (const uint8_t *)text;
    in_len = strlen(text);
}

/* ---- Addresses ---- */

/* Both ends agree on whether it is an address, on its bytes, and on how these are written. */
static void check_ip(const char *text)
{
    uint8_t ours[16], theirs[16];
    char back[INET6_ADDRSTRLEN];
    int is_one = inet_pton(AF_INET6, text, theirs);

    if (strchr(text, '.') != NULL) {
        return;
    }
    if ((int)console_ip(text, ours) != is_one) {
        fail_msg("'%s' is %san address", text, is_one ? "" : "no ");
    }
    if (!is_one) {
        return;
    }
    assert_memory_equal(ours, theirs, 16);
    clear();
    out_ip("ip", ours);
    inet_ntop(AF_INET6, theirs, back, sizeof back);
    if (strchr(back, '.') == NULL) {
        assert_string_equal(out + 4, back);
    }
}

static void test_addresses(void **state)
{
    static const char *const rows[] = {
        "::", "::1", "fd00::1", "1::", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "ff15::101", "1:0:0:2::3",
        "1:0:0:2:0:0:0:3", "fe80::ff:fe00:1", "x", "1", ":1", "1:", "1:::2", "::1::", "12345::", "1:2:3:4:5:6:7:8:9",
        "1:2:3:4:5:6:7", "1::2:3:4:5:6:7:8", ":", ":::", "1:2:3:4:5:6:7:8:", "::1:2:3:4:5:6:7:8", "", "1:2 ", "g::", "::-1",
    };
    uint8_t ip[16];
    unsigned i, j;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_ip(rows[i]);
    }
    srand(1);
    for (i = 0; i < 20000; i++) {
        char text[INET6_ADDRSTRLEN];

        for (j = 0; j < 16; j++) {
            ip[j] = (uint8_t)(rand() % 4 != 0 ? 0 : rand());
        }
        inet_ntop(AF_INET6, ip, text, sizeof text);
        check_ip(text);
        text[(size_t)rand() % strlen(text)] = ":0f:"[rand() % 4];
        check_ip(text);
    }
}

/* ---- Values ---- */

static void test_values(void **state)
{
    uint8_t bytes[4] = { 0xAA, 0xAA, 0xAA, 0xAA };
    uint32_t number;

    (void)state;
    clear();
    out_begin("line");
    out_word("bare", "lamp-1");
    out_word("empty", "");
    out_bytes("space", "a b", 3);
    out_quoted("odd", "\"\\\n\x01\xFF", 5);
    out_hex("zero", 0);
    out_hex("key", 0x1040);
    out_octets("bytes", (const uint8_t *)"\x00\x7F", 2);
    out_uint("n", 4294967295u);
    out_end();
    assert_string_equal(out, "line bare=lamp-1 empty=\"\" space=\"a b\" odd=\"\\\"\\\\\\n\\x01\\xff\" zero=0x0 key=0x1040 bytes=007f "
                             "n=4294967295\n");

    assert_true(console_number("65535", 65535, &number) && number == 65535);
    assert_true(console_number("4294967295", UINT32_MAX, &number) && number == UINT32_MAX);
    assert_false(console_number("4294967296", UINT32_MAX, &number));
    assert_false(console_number("42949672950", UINT32_MAX, &number));
    assert_false(console_number("65536", 65535, &number));
    assert_false(console_number("", 1, &number));
    assert_false(console_number("-1", 1, &number));
    assert_false(console_number("1x", 1, &number));

    assert_int_equal(console_octets("00fFA0", bytes, 4), 3);
    assert_memory_equal(bytes, "\x00\xFF\xA0", 3);
    assert_int_equal(console_octets("00112233", bytes, 4), 4);
    assert_int_equal(console_octets("0011223344", bytes, 4), 0);
    assert_int_equal(console_octets("001", bytes, 4), 0);
    assert_int_equal(console_octets("0g", bytes, 4), 0);
    assert_int_equal(console_octets("", bytes, 4), 0);
}

/* ---- Commands ---- */

static void test_commands(void **state)
{
    char long_line[CONSOLE_LINE_MAX + 3];
    char *text;

    (void)state;
    clear();
    type("group 1  two words\r\n\n\n  half");
    text = console_line();
    assert_non_null(text);
    assert_string_equal(console_word(&text), "group");
    assert_string_equal(console_word(&text), "1");
    assert_string_equal(text, " two words");
    assert_string_equal(console_word(&text), "two");
    assert_string_equal(console_word(&text), "words");
    assert_string_equal(console_word(&text), "");
    assert_string_equal(console_word(&text), "");
    assert_null(console_line());
    type(" line\n");
    assert_string_equal(console_line(), "  half line");

    memset(long_line, 'x', sizeof long_line);
    long_line[CONSOLE_LINE_MAX] = '\n';
    long_line[CONSOLE_LINE_MAX + 1] = '\0';
    type(long_line);
    assert_int_equal(strlen(console_line()), CONSOLE_LINE_MAX);
    assert_string_equal(out, "");
    long_line[CONSOLE_LINE_MAX] = 'x';
    long_line[CONSOLE_LINE_MAX + 1] = '\n';
    long_line[CONSOLE_LINE_MAX + 2] = '\0';
    type(long_line);
    assert_string_equal(console_line(), ""); /* the board turns to its radio before the next one */
    assert_string_equal(out, "refused what=line reason=TOO_LONG\n");
    assert_null(console_line());
    clear();
    clear();
    in = (const uint8_t *)"gro\0text\nlist\n";
    in_len = 14;
    assert_string_equal(console_line(), "");
    assert_string_equal(console_line(), "list");
    assert_string_equal(out, "refused what=line reason=LOST\n");
    clear();
    type("gr\x80oup 1\nnext\n");
    assert_string_equal(console_line(), "");
    assert_string_equal(console_line(), "next");
    assert_string_equal(out, "refused what=line reason=NOT_ASCII\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_commands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
