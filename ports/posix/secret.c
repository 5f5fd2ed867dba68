/* SPDX-License-Identifier: BSD-3-Clause */
#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output.h"

static int digit_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

bool hex_decode(const char *text, size_t text_len, uint8_t *out, size_t size, size_t *len)
{
    size_t i;

    if (text_len % 2 != 0 || text_len / 2 > size) {
        return false;
    }
    for (i = 0; i < text_len / 2; i++) {
        int high = digit_value(text[2 * i]);
        int low = digit_value(text[2 * i + 1]);

        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    *len = text_len / 2;
    return true;
}

void hex_encode(const uint8_t *data, size_t len, char *text)
{
    static const char digits[] = "0123456789abcdef";
    size_t i;

    for (i = 0; i < len; i++) {
        text[2 * i] = digits[data[i] >> 4];
        text[2 * i + 1] = digits[data[i] & 15];
    }
    text[2 * len] = '\0';
}

void psk_wipe(struct psk *psk)
{
    explicit_bzero(psk, sizeof *psk);
}

static int psk_decode(const char *text, size_t len, const char *where, struct psk *psk)
{
    if (!hex_decode(text, len, psk->key, sizeof psk->key, &psk->len) || psk->len < PSK_MIN_BYTES) {
        psk_wipe(psk);
        return fail("BAD_PSK", "%s: a key is one line of %d to %d hexadecimal digits, that is %d to %d bytes", where,
                    2 * PSK_MIN_BYTES, 2 * IOTSEC_PSK_MAX, PSK_MIN_BYTES, IOTSEC_PSK_MAX);
    }
    return 0;
}

int psk_from_argument(char *text, struct psk *psk)
{
    size_t len = strlen(text);
    int status = psk_decode(text, len, "--psk", psk);

    explicit_bzero(text, len);
    if (status == 0) {
        warn("PSK_ON_COMMAND_LINE", "every user of this machine could read the key while it stood there; "
                                    "this is for experiments, prefer --psk-file");
    }
    return status;
}

int psk_from_file(const char *path, struct psk *psk)
{
    char text[2 * IOTSEC_PSK_MAX + 4]; /* one more than a line with its end, to notice a longer one */
    struct stat about;
    size_t len = 0;
    int status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0) {
        return fail("PSK_FILE", "%s: %s", path, strerror(errno));
    }
    if (fstat(fd, &about) != 0 || S_ISDIR(about.st_mode)) {
        close(fd);
        return fail("PSK_FILE", "%s: this is no file", path);
    }
    if ((about.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        close(fd);
        return fail("PSK_FILE_MODE", "%s: others than its owner may use it (mode %03o): chmod 600 it, and think of a new key",
                    path, (unsigned)about.st_mode & 0777u);
    }
    while (len < sizeof text) {
        ssize_t n = read(fd, text + len, sizeof text - len);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            status = fail("PSK_FILE", "%s: %s", path, strerror(errno));
            close(fd);
            explicit_bzero(text, sizeof text);
            return status;
        }
        if (n == 0) {
            break;
        }
        len += (size_t)n;
    }
    close(fd);
    if (len > 0 && text[len - 1] == '\n') {
        len--;
    }
    if (len > 0 && text[len - 1] == '\r') {
        len--;
    }
    status = psk_decode(text, len, path, psk);
    explicit_bzero(text, sizeof text);
    return status;
}

int psk_generate(struct psk *psk)
{
    if (getrandom(psk->key, PSK_NEW_BYTES, 0) != PSK_NEW_BYTES) {
        return fail("RANDOM", "the kernel gave no random numbers: %s", strerror(errno));
    }
    psk->len = PSK_NEW_BYTES;
    return 0;
}
