/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * As much of CoAP (RFC 7252) as a group command is: non-confirmable requests, written and read.
 *
 *     0                   1                   2                   3
 *     |Ver=1| T |  TKL  |     Code      |          Message ID         |
 *     | Token ... | Options: Uri-Path ... Content-Format ... | 0xFF | payload
 */
#ifndef IOTSEC_POSIX_COAP_H
#define IOTSEC_POSIX_COAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COAP_PATH_MAX 256

/* What a request says. */
struct coap_request {
    const char *type;   /* "NON", "CON" */
    const char *method; /* "PUT" */
    uint16_t message_id;
    char path[COAP_PATH_MAX]; /* "/light", with "?query" where there is one; percent-encoded as a URI is */
    const uint8_t *payload;
    size_t payload_len;
};

/* The method's code, or 0 if there is no such method (case does not matter). */
uint8_t coap_method(const char *name);

/*
 * Writes a NON request with a token of two bytes, the path's segments as Uri-Path, the part behind '?' as
 * Uri-Query, and text as payload (Content-Format text/plain). False: it does not fit, or the path is none.
 */
bool coap_write(uint8_t *out, size_t size, size_t *len, uint8_t method, uint16_t message_id, uint16_t token, const char *path,
                const char *payload, size_t payload_len);

/*
 * Whether bytes are a CoAP request, and which. Text is never taken for one: the second byte of a request
 * is a method, and no text has such a byte.
 */
bool coap_read(const uint8_t *data, size_t len, struct coap_request *request);

#endif
