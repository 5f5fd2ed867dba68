/* SPDX-License-Identifier: BSD-3-Clause */
#include "coap.h"

#include <string.h>
#include <strings.h>

#define COAP_VERSION 1
#define COAP_TYPE_CON 0
#define COAP_TYPE_NON 1
#define COAP_OPTION_URI_PATH 11
#define COAP_OPTION_CONTENT_FORMAT 12
#define COAP_OPTION_URI_QUERY 15
#define COAP_PAYLOAD_MARKER 0xFF
#define COAP_SEGMENT_MAX 255

static const char *const methods[] = { NULL, "GET", "POST", "PUT", "DELETE", "FETCH", "PATCH", "iPATCH" };

#define METHOD_COUNT (sizeof methods / sizeof methods[0])

uint8_t coap_method(const char *name)
{
    uint8_t i;

    for (i = 1; i < METHOD_COUNT; i++) {
        if (strcasecmp(methods[i], name) == 0) {
            return i;
        }
    }
    return 0;
}

/* ---- Writing ---- */

struct coap_out {
    uint8_t *next;
    size_t left;
    unsigned option; /* number of the last option */
    bool failed;
};

static void put(struct coap_out *out, const void *data, size_t len)
{
    if (out->failed || len > out->left) {
        out->failed = true;
        return;
    }
    if (len > 0) {
        memcpy(out->next, data, len);
    }
    out->next += len;
    out->left -= len;
}

static void put_u8(struct coap_out *out, unsigned value)
{
    uint8_t byte = (uint8_t)value;

    put(out, &byte, 1);
}

/* RFC 7252, section 3.1; the four bits of a delta or length below 269, and the byte that may follow */
static unsigned short_form(unsigned value)
{
    return value < 13 ? value : 13;
}

static void put_extended(struct coap_out *out, unsigned value)
{
    if (value >= 13) {
        put_u8(out, value - 13);
    }
}

static void put_option(struct coap_out *out, unsigned number, const void *data, size_t len)
{
    unsigned delta = number - out->option;

    put_u8(out, short_form(delta) << 4 | short_form((unsigned)len));
    put_extended(out, delta);
    put_extended(out, (unsigned)len);
    put(out, data, len);
    out->option = number;
}

static int hex_value(char c)
{
    const char *digits = "0123456789abcdef";
    const char *found = c != '\0' ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;

    return found != NULL ? (int)(found - digits) : -1;
}

/* One option a piece of the URI, percent-encoding undone. */
static void put_pieces(struct coap_out *out, unsigned option, char separator, const char *text, const char *end)
{
    while (text <= end && !out->failed) {
        uint8_t piece[COAP_SEGMENT_MAX];
        size_t len = 0;

        while (text < end && *text != separator) {
            uint8_t byte = (uint8_t)*text;

            if (*text == '%' && end - text > 2 && hex_value(text[1]) >= 0 && hex_value(text[2]) >= 0) {
                byte = (uint8_t)(hex_value(text[1]) << 4 | hex_value(text[2]));
                text += 2;
            }
            if (len == sizeof piece) {
                out->failed = true;
                return;
            }
            piece[len++] = byte;
            text++;
        }
        put_option(out, option, piece, len);
        text++;
    }
}

bool coap_write(uint8_t *data, size_t size, size_t *len, uint8_t method, uint16_t message_id, uint16_t token, const char *path,
                const char *payload, size_t payload_len)
{
    struct coap_out out = { data, size, 0, false };
    const char *query = strchr(path, '?');
    const char *end = query != NULL ? query : path + strlen(path);

    if (path[0] != '/') {
        return false;
    }
    put_u8(&out, COAP_VERSION << 6 | COAP_TYPE_NON << 4 | 2u);
    put_u8(&out, method);
    put_u8(&out, message_id >> 8);
    put_u8(&out, message_id & 0xFFu);
    put_u8(&out, token >> 8);
    put_u8(&out, token & 0xFFu);
    if (end > path + 1) {
        put_pieces(&out, COAP_OPTION_URI_PATH, '/', path + 1, end);
    }
    if (payload_len > 0) {
        put_option(&out, COAP_OPTION_CONTENT_FORMAT, NULL, 0); /* 0: text/plain in UTF-8 */
    }
    if (query != NULL) {
        put_pieces(&out, COAP_OPTION_URI_QUERY, '&', query + 1, query + strlen(query));
    }
    if (payload_len > 0) {
        put_u8(&out, COAP_PAYLOAD_MARKER);
        put(&out, payload, payload_len);
    }
    *len = size - out.left;
    return !out.failed;
}

/* ---- Reading ---- */

/* Appends one segment with its separator; what a URI could not show is percent-encoded. */
static bool append_piece(char path[COAP_PATH_MAX], char separator, const uint8_t *data, size_t len)
{
    static const char digits[] = "0123456789ABCDEF";
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$'()*+,;=:@";
    size_t used = strlen(path);
    size_t i;

    if (used + 2 > COAP_PATH_MAX) {
        return false;
    }
    path[used++] = separator;
    for (i = 0; i < len; i++) {
        if (used + 4 > COAP_PATH_MAX) {
            return false;
        }
        if (data[i] != 0 && strchr(plain, data[i]) != NULL) {
            path[used++] = (char)data[i];
        } else {
            path[used++] = '%';
            path[used++] = digits[data[i] >> 4];
            path[used++] = digits[data[i] & 15];
        }
    }
    path[used] = '\0';
    return true;
}

/* The longer forms of delta and length (RFC 7252, section 3.1). */
static bool take_extended(const uint8_t *data, size_t len, size_t *at, unsigned *value)
{
    if (*value == 13) {
        if (len - *at < 1) {
            return false;
        }
        *value = data[*at] + 13u;
        *at += 1;
    } else if (*value == 14) {
        if (len - *at < 2) {
            return false;
        }
        *value = ((unsigned)data[*at] << 8 | data[*at + 1]) + 269u;
        *at += 2;
    } else if (*value == 15) {
        return false;
    }
    return true;
}

bool coap_read(const uint8_t *data, size_t len, struct coap_request *request)
{
    unsigned option = 0;
    unsigned token;
    unsigned type;
    size_t at;
    bool query = false;

    if (len < 4 || data[0] >> 6 != COAP_VERSION || data[1] == 0 || data[1] >= METHOD_COUNT) {
        return false;
    }
    type = (data[0] >> 4) & 3u;
    token = data[0] & 15u;
    if (type > COAP_TYPE_NON || token > 8 || len < 4 + token) {
        return false;
    }
    memset(request, 0, sizeof *request);
    request->type = type == COAP_TYPE_NON ? "NON" : "CON";
    request->method = methods[data[1]];
    request->message_id = (uint16_t)(data[2] << 8 | data[3]);
    for (at = 4 + token; at < len && data[at] != COAP_PAYLOAD_MARKER;) {
        unsigned delta = data[at] >> 4;
        unsigned length = data[at] & 15u;

        at++;
        if (!take_extended(data, len, &at, &delta) || !take_extended(data, len, &at, &length) || length > len - at) {
            return false;
        }
        option += delta;
        if (option == COAP_OPTION_URI_PATH && !append_piece(request->path, '/', data + at, length)) {
            return false;
        }
        if (option == COAP_OPTION_URI_QUERY) {
            if (request->path[0] == '\0') {
                request->path[0] = '/';
            }
            if (!append_piece(request->path, query ? '&' : '?', data + at, length)) {
                return false;
            }
            query = true;
        }
        at += length;
    }
    if (request->path[0] == '\0') {
        request->path[0] = '/';
    }
    if (at < len) {
        at++;
        if (at == len) {
            return false; /* a marker with nothing behind it is a format error */
        }
        request->payload = data + at;
        request->payload_len = len - at;
    }
    return true;
}
