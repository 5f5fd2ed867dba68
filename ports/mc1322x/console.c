/* SPDX-License-Identifier: BSD-3-Clause */
#include "console.h"

#include <string.h>

#include "uart.h"

/* ---- Lines out ---- */

static void key_of(const char *key)
{
    uart_put(' ');
    uart_text(key);
    uart_put('=');
}

void out_begin(const char *name)
{
    uart_text(name);
}

void out_end(void)
{
    uart_put('\n');
}

void out_quoted(const char *key, const void *value, size_t len)
{
    const uint8_t *text = value;
    size_t i;

    key_of(key);
    uart_put('"');
    for (i = 0; i < len; i++) {
        if (text[i] == '\n') {
            uart_text("\\n");
        } else if (text[i] < 0x20 || text[i] > 0x7E) {
            uart_text("\\x");
            uart_hex(text[i], 2);
        } else {
            if (text[i] == '"' || text[i] == '\\') {
                uart_put('\\');
            }
            uart_put(text[i]);
        }
    }
    uart_put('"');
}

static bool is_bare(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c != 0 && strchr("._:/@+,[]%*-", c) != NULL);
}

void out_bytes(const char *key, const void *value, size_t len)
{
    const uint8_t *text = value;
    size_t i;

    for (i = 0; i < len && is_bare(text[i]); i++) {
    }
    if (len == 0 || i < len) {
        out_quoted(key, value, len);
        return;
    }
    key_of(key);
    for (i = 0; i < len; i++) {
        uart_put(text[i]);
    }
}

void out_word(const char *key, const char *value)
{
    out_bytes(key, value, strlen(value));
}

void out_uint(const char *key, uint32_t value)
{
    key_of(key);
    uart_decimal(value);
}

static void hex(uint32_t value)
{
    unsigned digits = 1;

    while (digits < 8 && value >> 4 * digits != 0) {
        digits++;
    }
    uart_hex(value, digits);
}

void out_hex(const char *key, uint32_t value)
{
    key_of(key);
    uart_text("0x");
    hex(value);
}

void out_octets(const char *key, const uint8_t *value, size_t len)
{
    key_of(key);
    while (len-- > 0) {
        uart_hex(*value++, 2);
    }
}

static uint32_t ip_group(const uint8_t ip[16], unsigned i)
{
    return (uint32_t)ip[2 * i] << 8 | ip[2 * i + 1];
}

/* RFC 5952: the longest run of two zeros or more becomes `::`, the first one of equally long ones. */
static void put_ip(const uint8_t ip[16])
{
    unsigned start = 8, longest = 1, i, n;

    for (i = 0; i < 8; i++) {
        for (n = 0; i + n < 8 && ip_group(ip, i + n) == 0; n++) {
        }
        if (n > longest) {
            longest = n;
            start = i;
        }
    }
    for (i = 0; i < 8; i++) {
        if (i == start) {
            uart_text("::");
            i += longest - 1;
            continue;
        }
        if (i != 0 && i != start + longest) {
            uart_put(':');
        }
        hex(ip_group(ip, i));
    }
}

void out_ip(const char *key, const uint8_t ip[16])
{
    key_of(key);
    put_ip(ip);
}

void out_addr(const char *key, const struct iotsec_addr *value)
{
    key_of(key);
    uart_put('[');
    put_ip(value->ip);
    uart_text("]:");
    uart_decimal(value->port);
}

void out_reason(const char *key, enum iotsec_status value)
{
    key_of(key);
    uart_text(iotsec_status_name(value));
}

void out_refused(const char *what, const char *reason)
{
    out_begin("refused");
    out_word("what", what);
    out_word("reason", reason);
    out_end();
}

/* ---- Lines in ---- */

static struct {
    char text[CONSOLE_LINE_MAX + 1];
    uint8_t len;
    const char *bad; /* why the line will be refused */
} line;

char *console_line(void)
{
    int c;

    while ((c = uart_get()) >= 0) {
        const char *bad = line.bad;
        uint8_t len = line.len;

        if (c != '\n' && c != '\r') {
            if (c == UART_LOST) {
                line.bad = "LOST";
            } else if (c < 0x20 || c > 0x7E) {
                line.bad = "NOT_ASCII";
            } else if (len == CONSOLE_LINE_MAX) {
                line.bad = "TOO_LONG";
            } else {
                line.text[line.len++] = (char)c;
            }
            continue;
        }
        line.len = 0;
        line.bad = NULL;
        if (bad != NULL) {
            out_refused("line", bad);
            len = 0;
        } else if (len == 0) {
            continue;
        }
        line.text[len] = '\0';
        return line.text;
    }
    return NULL;
}

char *console_word(char **rest)
{
    char *word = *rest, *end;

    while (*word == ' ') {
        word++;
    }
    for (end = word; *end != ' ' && *end != '\0'; end++) {
    }
    if (*end == ' ') {
        *end++ = '\0';
    }
    *rest = end;
    return word;
}

bool console_is(const char *one, const char *other)
{
    while (*one != '\0' && *one == *other) {
        one++;
        other++;
    }
    return *one == *other;
}

bool console_number(const char *text, uint32_t max, uint32_t *value)
{
    uint32_t number = 0;

    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        uint32_t digit = (uint32_t)(unsigned char)*text - '0';

        if (digit > 9 || number > (UINT32_MAX - digit) / 10) {
            return false;
        }
        number = 10 * number + digit;
    }
    *value = number;
    return number <= max;
}

/* Of a digit, or 16. */
static unsigned hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0');
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

size_t console_octets(const char *text, uint8_t *bytes, size_t size)
{
    size_t len = 0;

    for (; *text != '\0'; text += 2, len++) {
        unsigned high = hex_digit(text[0]);
        unsigned low = high < 16 ? hex_digit(text[1]) : 16;

        if (low == 16 || len == size) {
            return 0;
        }
        bytes[len] = (uint8_t)(high << 4 | low);
    }
    return len;
}

bool console_ip(const char *text, uint8_t ip[16])
{
    uint8_t found[16] = { 0 };
    unsigned count = 0, gap = 9;

    while (*text != '\0') {
        uint32_t group = 0;
        unsigned digits = 0;

        if (*text == ':') {
            /* one colon stands between two groups; two are the gap */
            if (text[1] == ':') {
                if (gap <= 8) {
                    return false;
                }
                gap = count;
                text += 2;
                if (*text == ':') {
                    return false;
                }
                continue;
            }
            if (count == 0 || gap == count) {
                return false;
            }
            text++;
        } else if (count != 0 && gap != count) {
            return false;
        }
        while (digits < 5 && hex_digit(*text) < 16) {
            group = group << 4 | hex_digit(*text++);
            digits++;
        }
        if (digits == 0 || digits > 4 || count == 8) {
            return false;
        }
        found[2 * count] = (uint8_t)(group >> 8);
        found[2 * count + 1] = (uint8_t)group;
        count++;
    }
    if (gap > 8 ? count != 8 : count > 7) {
        return false;
    }
    gap = gap < count ? gap : count;
    memset(ip, 0, 16);
    memcpy(ip, found, 2 * gap);
    memcpy(ip + 16 - 2 * (count - gap), found + 2 * gap, 2 * (count - gap));
    return true;
}
