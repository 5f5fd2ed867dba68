/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pre-shared keys as text: one line of hexadecimal digits, 16 to 64 bytes. A key file belongs to its
 * owner alone; a file that anybody else could read holds no secret and is refused.
 */
#ifndef IOTSEC_POSIX_SECRET_H
#define IOTSEC_POSIX_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <iotsec/config.h>

#define PSK_MIN_BYTES 16
#define PSK_NEW_BYTES 16 /* of a key that the program makes: as strong as AES-128 */

struct psk {
    uint8_t key[IOTSEC_PSK_MAX];
    size_t len;
};

/* Reads pairs of hexadecimal digits. False: a digit is none, there is half a byte, or more than `size`. */
bool hex_decode(const char *text, size_t text_len, uint8_t *out, size_t size, size_t *len);
/* Writes 2 * len digits and a terminator. */
void hex_encode(const uint8_t *data, size_t len, char *text);

/* 0, or what fail() returned. The text is wiped: it may stand on the command line, where others see it. */
int psk_from_argument(char *text, struct psk *psk);
/* 0, or what fail() returned. */
int psk_from_file(const char *path, struct psk *psk);
/* A new random key: 0, or what fail() returned. */
int psk_generate(struct psk *psk);
void psk_wipe(struct psk *psk);

#endif
