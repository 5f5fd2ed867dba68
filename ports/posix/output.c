/* SPDX-License-Identifier: BSD-3-Clause */
#include "output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"

static FILE *out_stream;
static char *line;
static size_t line_len;
static size_t line_size;

void out_to(FILE *stream)
{
    out_stream = stream;
}

static void append(const char *text, size_t len)
{
    if (line_len + len + 1 > line_size) {
        size_t size = (line_len + len + 1) * 2;
        char *larger = realloc(line, size);

        if (larger == NULL) {
            return;
        }
        line = larger;
        line_size = size;
    }
    memcpy(line + line_len, text, len);
    line_len += len;
    line[line_len] = '\0';
}

static void append_string(const char *text)
{
    append(text, strlen(text));
}

static void append_key(const char *key)
{
    append(" ", 1);
    append_string(key);
    append("=", 1);
}

/* The length of the printable character at the front, or 0. */
static size_t character_length(const uint8_t *text, size_t len)
{
    uint32_t c;
    size_t n;
    size_t i;

    if (text[0] < 0x80) {
        return text[0] >= 0x20 && text[0] != 0x7F ? 1 : 0;
    }
    if (text[0] >= 0xC2 && text[0] < 0xE0) {
        n = 2;
        c = text[0] & 0x1Fu;
    } else if (text[0] >= 0xE0 && text[0] < 0xF0) {
        n = 3;
        c = text[0] & 0x0Fu;
    } else if (text[0] >= 0xF0 && text[0] < 0xF5) {
        n = 4;
        c = text[0] & 0x07u;
    } else {
        return 0;
    }
    if (n > len) {
        return 0;
    }
    for (i = 1; i < n; i++) {
        if ((text[i] & 0xC0) != 0x80) {
            return 0;
        }
        c = c << 6 | (text[i] & 0x3Fu);
    }
    if ((n == 3 && c < 0x800) || (n == 4 && (c < 0x10000 || c > 0x10FFFF)) || (c >= 0xD800 && c < 0xE000)) {
        return 0;
    }
    /* controls, line ends and what turns the direction of writing round: they would let a name rewrite the log */
    if (c < 0xA0 || (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) ||
        c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB) || (c & 0xFFFE) == 0xFFFE) {
        return 0;
    }
    return n;
}

bool text_is_printable(const void *text, size_t len)
{
    const uint8_t *next = text;

    while (len > 0) {
        size_t n = character_length(next, len);

        if (n == 0) {
            return false;
        }
        next += n;
        len -= n;
    }
    return true;
}

void out_begin(const char *name)
{
    line_len = 0;
    append_string(name);
}

void out_quoted(const char *key, const void *value, size_t len)
{
    const uint8_t *next = value;

    append_key(key);
    append("\"", 1);
    while (len > 0) {
        size_t n = character_length(next, len);
        char escaped[5];

        if (n == 0) {
            n = 1;
            if (*next == '\n') {
                append("\\n", 2);
            } else {
                snprintf(escaped, sizeof escaped, "\\x%02x", *next);
                append_string(escaped);
            }
        } else {
            if (*next == '"' || *next == '\\') {
                append("\\", 1);
            }
            append((const char *)next, n);
        }
        next += n;
        len -= n;
    }
    append("\"", 1);
}

void out_bytes(const char *key, const void *value, size_t len)
{
    static const char bare[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/@+,[]%*-";
    const char *text = value;
    size_t i;

    for (i = 0; i < len; i++) {
        if (text[i] == '\0' || strchr(bare, text[i]) == NULL) {
            break;
        }
    }
    if (len == 0 || i < len) {
        out_quoted(key, value, len);
        return;
    }
    append_key(key);
    append(text, len);
}

void out_word(const char *key, const char *value)
{
    out_bytes(key, value, strlen(value));
}

void out_uint(const char *key, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, value);
    append_key(key);
    append_string(text);
}

void out_hex(const char *key, uint32_t value)
{
    char text[12];

    snprintf(text, sizeof text, "0x%" PRIx32, value);
    append_key(key);
    append_string(text);
}

void out_octets(const char *key, const uint8_t *value, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    size_t i;

    append_key(key);
    for (i = 0; i < len; i++) {
        append(&digits[value[i] >> 4], 1);
        append(&digits[value[i] & 15], 1);
    }
}

void out_addr(const char *key, const struct iotsec_addr *value)
{
    char text[ADDR_TEXT_BYTES];

    addr_format(value, text);
    append_key(key);
    append_string(text);
}

void out_reason(const char *key, enum iotsec_status value)
{
    append_key(key);
    append_string(iotsec_status_name(value));
}

void out_end(void)
{
    FILE *stream = out_stream != NULL ? out_stream : stdout;

    append("\n", 1);
    fwrite(line, 1, line_len, stream);
    fflush(stream);
    if (line_size > 4096) {
        /* one long message does not cost its memory for ever */
        free(line);
        line = NULL;
        line_size = 0;
    }
    line_len = 0;
}

bool out_may(struct flood *flood, uint32_t now_ms)
{
    if (now_ms - flood->since >= 1000) {
        if (flood->lines > FLOOD_LINES_A_SECOND) {
            out_begin("failures-not-shown");
            out_uint("count", flood->lines - FLOOD_LINES_A_SECOND);
            out_end();
        }
        flood->since = now_ms;
        flood->lines = 0;
    }
    return ++flood->lines <= FLOOD_LINES_A_SECOND;
}

void out_stats(const char *of, const struct iotsec_stats *stats)
{
    int reason;

    out_begin("stats");
    out_word("of", of);
    for (reason = 0; reason < IOTSEC_DROP_COUNT; reason++) {
        if (stats->drops[reason] != 0) {
            char key[48];

            snprintf(key, sizeof key, "drop.%s", iotsec_drop_name((enum iotsec_drop)reason));
            out_uint(key, stats->drops[reason]);
        }
    }
    out_end();
}

static void print_sentence(const char *kind, const char *name, const char *format, va_list arguments)
{
    char sentence[1024];
    size_t i;

    vsnprintf(sentence, sizeof sentence, format, arguments);
    for (i = 0; sentence[i] != '\0'; i++) {
        if ((unsigned char)sentence[i] < 0x20 || sentence[i] == 0x7F) {
            sentence[i] = '?';
        }
    }
    fflush(stdout);
    fprintf(stderr, "%s: %s: %s\n", kind, name, sentence);
}

int fail(const char *name, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    print_sentence("error", name, format, arguments);
    va_end(arguments);
    return EXIT_NAMED_ERROR;
}

int fail_usage(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    print_sentence("error", "USAGE", format, arguments);
    va_end(arguments);
    return EXIT_USAGE;
}

void warn(const char *name, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    print_sentence("warning", name, format, arguments);
    va_end(arguments);
}

int fail_status(enum iotsec_status status, const char *doing)
{
    static const struct {
        enum iotsec_status status;
        const char *sentence;
    } sentences[] = {
        { IOTSEC_ERR_WRONG_PSK, "the other end has another key for this identity, or does not know the identity" },
        { IOTSEC_ERR_NO_ANSWER, "nothing came back in time; is the other end running, and is the address right?" },
        { IOTSEC_ERR_NOT_AUTHORISED, "the key is right, but the domain manager does not admit this device" },
        { IOTSEC_ERR_GROUP_REFUSED, "the domain manager does not admit this device to the group" },
        { IOTSEC_ERR_NO_CIPHER, "the two ends have no cipher suite in common" },
        { IOTSEC_ERR_VERSION, "the other end does not speak DTLS 1.2" },
        { IOTSEC_ERR_NO_EMS, "the other end has no extended master secret, which is required here" },
        { IOTSEC_ERR_NO_RENEGOTIATION_INFO, "the other end has no RFC 5746 signalling, which is required here" },
        { IOTSEC_ERR_NO_KEY_MANAGEMENT, "the other end is a DTLS server, but no domain manager" },
        { IOTSEC_ERR_RESOURCES, "one of the two ends has no room for another session" },
        { IOTSEC_ERR_PROTOCOL, "the other end broke the protocol" },
        { IOTSEC_ERR_ALERT, "the other end gave up with a fatal alert" },
        { IOTSEC_ERR_CLOSED, "the other end closed the session" },
        { IOTSEC_ERR_RANDOM, "this machine has no random numbers" },
        { IOTSEC_ERR_CRYPTO, "the crypto library failed" },
        { IOTSEC_ERR_NVM, "the state directory could not be read or written, or is damaged" },
        { IOTSEC_ERR_REGISTRY, "the registry could not be read or written, or contradicts itself" },
        { IOTSEC_ERR_FULL, "a table is full" },
        { IOTSEC_ERR_CONFIG, "program and library were built with different configurations" },
    };
    size_t i;

    for (i = 0; i < sizeof sentences / sizeof sentences[0]; i++) {
        if (sentences[i].status == status) {
            return fail(iotsec_status_name(status), "%s: %s", doing, sentences[i].sentence);
        }
    }
    return fail(iotsec_status_name(status), "%s failed", doing);
}

int out_finish(int status)
{
    free(line);
    line = NULL;
    line_size = 0;
    if ((fflush(stdout) != 0 || ferror(stdout) != 0) && status == 0) {
        return fail("OUTPUT", "standard output could not be written: %s", strerror(errno));
    }
    return status;
}
