/* SPDX-License-Identifier: BSD-3-Clause */
#include "l2_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "output.h"
#include "secret.h"

/* Written under another name first: whoever reads the file reads one state of it. */
static int write_keys(const struct l2_keys *l2)
{
    char text[L2_KEYS_MAX * 80];
    char hex[33];
    char temporary[PATH_MAX];
    size_t len = 0;
    bool written;
    size_t i;
    int fd;

    if (l2->path == NULL) {
        return 0;
    }
    if (snprintf(temporary, sizeof temporary, "%s.new", l2->path) >= (int)sizeof temporary) {
        return -1;
    }
    for (i = 0; i < L2_KEYS_MAX; i++) {
        const struct l2_key *key = &l2->keys[i];

        if (key->index != 0) {
            hex_encode(key->key, sizeof key->key, hex);
            len += (size_t)snprintf(text + len, sizeof text - len, "index=%u key=%s use=%s\n", key->index, hex,
                                    key->index == l2->used ? "yes" : "no");
        }
    }
    (void)unlink(temporary);
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    written = fd >= 0 && write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
    if (fd >= 0) {
        written = close(fd) == 0 && written;
    }
    written = written && rename(temporary, l2->path) == 0;
    explicit_bzero(text, sizeof text);
    explicit_bzero(hex, sizeof hex);
    if (!written) {
        warn("L2_KEY_FILE", "%s: cannot be written: %s", l2->path, strerror(errno));
        (void)unlink(temporary);
        return -1;
    }
    return 0;
}

/* Takes a new state if it could be written. */
static int change(struct l2_keys *l2, struct l2_keys *changed)
{
    int status = write_keys(changed);

    if (status == 0) {
        *l2 = *changed;
    }
    explicit_bzero(changed, sizeof *changed);
    return status;
}

static struct l2_key *find_key(struct l2_keys *l2, uint8_t index)
{
    size_t i;

    for (i = 0; i < L2_KEYS_MAX; i++) {
        if (l2->keys[i].index == index) {
            return &l2->keys[i];
        }
    }
    return NULL;
}

int l2_keys_install(struct l2_keys *l2, uint8_t index, const uint8_t key[16])
{
    struct l2_keys changed = *l2;
    struct l2_key *slot = find_key(&changed, index);
    size_t i;

    if (slot != NULL && memcmp(slot->key, key, sizeof slot->key) == 0) {
        explicit_bzero(&changed, sizeof changed);
        return 0; /* a daemon that saw the file anew might start its frame counter again */
    }
    if (slot == NULL) {
        slot = find_key(&changed, 0);
    }
    /* one that was never used and never will be: it was replaced while it was handed out */
    for (i = 0; slot == NULL && i < L2_KEYS_MAX; i++) {
        if (changed.keys[i].index != changed.used) {
            slot = &changed.keys[i];
        }
    }
    slot->index = index;
    memcpy(slot->key, key, sizeof slot->key);
    return change(l2, &changed);
}

int l2_keys_use(struct l2_keys *l2, uint8_t index)
{
    struct l2_keys changed = *l2;

    if (find_key(&changed, index) == NULL) {
        explicit_bzero(&changed, sizeof changed);
        return -1;
    }
    if (l2->used == index) {
        explicit_bzero(&changed, sizeof changed);
        return 0;
    }
    changed.used = index;
    return change(l2, &changed);
}

void l2_keys_remove(struct l2_keys *l2, uint8_t index)
{
    struct l2_keys changed = *l2;
    struct l2_key *slot = find_key(&changed, index);

    if (slot != NULL && index != 0) {
        memset(slot, 0, sizeof *slot);
        if (changed.used == index) {
            changed.used = 0;
        }
        (void)change(l2, &changed);
    }
    explicit_bzero(&changed, sizeof changed);
}
