/* SPDX-License-Identifier: BSD-3-Clause */
#include "nvm_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output.h"

#define HEADER_BYTES 16
#define IDENTITY_SLOT_NAME "identity"

static const uint8_t header_start[8] = { 'I', 'O', 'T', 'N', 0, 0, 0, 1 };

static uint32_t crc32_of(const uint8_t *data, size_t len)
{
    uint32_t crc = 0xFFFFFFFFu;
    int bit;

    while (len-- > 0) {
        crc ^= *data++;
        for (bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
        }
    }
    return ~crc;
}

static void put_u32(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)(value >> 24);
    out[1] = (uint8_t)(value >> 16);
    out[2] = (uint8_t)(value >> 8);
    out[3] = (uint8_t)value;
}

static uint32_t get_u32(const uint8_t *in)
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

/* All of it, or nothing. */
static bool write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return false;
        }
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* Up to `size` bytes; -1 if the file cannot be read. */
static ssize_t read_all(int fd, uint8_t *data, size_t size)
{
    size_t len = 0;

    while (len < size) {
        ssize_t n = read(fd, data + len, size - len);

        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -1;
        }
        if (n == 0) {
            break;
        }
        len += (size_t)n;
    }
    return (ssize_t)len;
}

static int read_file(int directory, const char *name, uint8_t *data, size_t size)
{
    uint8_t whole[HEADER_BYTES + NVM_FILE_CONTENT_MAX + 1];
    int result = -1;
    ssize_t len;
    uint32_t content;
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0) {
        return errno == ENOENT ? 0 : -1;
    }
    len = read_all(fd, whole, sizeof whole);
    close(fd);
    if (len >= HEADER_BYTES && memcmp(whole, header_start, sizeof header_start) == 0) {
        content = get_u32(whole + 8);
        /* an empty slot has no file: a content of no bytes is damage as well */
        if (content > 0 && content == (size_t)len - HEADER_BYTES && content <= size &&
            get_u32(whole + 12) == crc32_of(whole + HEADER_BYTES, content)) {
            memcpy(data, whole + HEADER_BYTES, content);
            result = (int)content;
        }
    }
    explicit_bzero(whole, sizeof whole);
    return result;
}

/* A new file under another name, durable, then renamed: a reader sees the old content or the new one. */
static int write_file(int directory, const char *name, const uint8_t *data, size_t len)
{
    uint8_t header[HEADER_BYTES];
    char temporary[NAME_MAX + 8];
    bool written;
    int fd;

    if (len == 0 || len > NVM_FILE_CONTENT_MAX) {
        return -1;
    }
    memcpy(header, header_start, sizeof header_start);
    put_u32(header + 8, (uint32_t)len);
    put_u32(header + 12, crc32_of(data, len));
    snprintf(temporary, sizeof temporary, "%.255s.new", name);
    fd = openat(directory, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return -1;
    }
    written = write_all(fd, header, sizeof header) && write_all(fd, data, len) && fsync(fd) == 0;
    if (close(fd) != 0 || !written || renameat(directory, temporary, directory, name) != 0) {
        (void)unlinkat(directory, temporary, 0);
        return -1;
    }
    /* the name, too, has to be on the disk before anybody relies on it */
    return fsync(directory) == 0 ? 0 : -1;
}

static void slot_name(const struct nvm_file *nvm, uint16_t slot, char name[NAME_MAX + 8])
{
    if (nvm->name == NULL) {
        snprintf(name, NAME_MAX + 8, "slot-%04x", slot);
    } else if (slot == 0) {
        snprintf(name, NAME_MAX + 8, "%.255s", nvm->name);
    } else {
        snprintf(name, NAME_MAX + 8, "%.248s.%u", nvm->name, (unsigned)slot);
    }
}

int nvm_file_read(const struct nvm_file *nvm, uint16_t slot, uint8_t *data, size_t size)
{
    char name[NAME_MAX + 8];

    slot_name(nvm, slot, name);
    return read_file(nvm->directory, name, data, size);
}

int nvm_file_write(const struct nvm_file *nvm, uint16_t slot, const uint8_t *data, size_t len)
{
    char name[NAME_MAX + 8];

    slot_name(nvm, slot, name);
    return write_file(nvm->directory, name, data, len);
}

static int check_owner(const struct nvm_file *nvm, const char *path, const uint8_t *identity, size_t identity_len)
{
    uint8_t owner[IOTSEC_IDENTITY_MAX];
    int len = read_file(nvm->directory, IDENTITY_SLOT_NAME, owner, sizeof owner);

    if (len < 0) {
        return fail("STATE_DAMAGED", "%s: the file that says whose state this is, is damaged; remove the directory and the "
                                     "device joins anew",
                    path);
    }
    if (len > 0 && ((size_t)len != identity_len || memcmp(owner, identity, identity_len) != 0)) {
        return fail("STATE_OTHER_DEVICE", "%s: this is the state of another device", path);
    }
    if (len == 0 && write_file(nvm->directory, IDENTITY_SLOT_NAME, identity, identity_len) != 0) {
        return fail("STATE", "%s: cannot be written: %s", path, strerror(errno));
    }
    return 0;
}

int nvm_file_open(struct nvm_file *nvm, const char *directory, const uint8_t *identity, size_t identity_len)
{
    int status;

    nvm->directory = -1;
    nvm->lock = -1;
    nvm->name = NULL;
    if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        return fail("STATE", "%s: cannot be made: %s", directory, strerror(errno));
    }
    nvm->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (nvm->directory < 0) {
        return fail("STATE", "%s: cannot be opened: %s", directory, strerror(errno));
    }
    nvm->lock = openat(nvm->directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (nvm->lock < 0) {
        status = fail("STATE", "%s: cannot be written: %s", directory, strerror(errno));
    } else if (flock(nvm->lock, LOCK_EX | LOCK_NB) != 0) {
        status = fail("STATE_LOCKED", "%s: another process uses this state", directory);
    } else {
        status = check_owner(nvm, directory, identity, identity_len);
    }
    if (status != 0) {
        nvm_file_close(nvm);
    }
    return status;
}

int nvm_file_open_single(struct nvm_file *nvm, const char *path)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    struct stat about;

    nvm->lock = -1;
    nvm->name = slash != NULL ? slash + 1 : path;
    snprintf(directory, sizeof directory, "%.*s", slash == NULL ? 1 : slash == path ? 1 : (int)(slash - path),
             slash == NULL ? "." : path);
    nvm->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (nvm->directory < 0 || nvm->name[0] == '\0') {
        int status = fail("KEY_FILE", "%s: %s", path, nvm->directory < 0 ? strerror(errno) : "this is no file's name");

        nvm_file_close(nvm);
        return status;
    }
    if (fstatat(nvm->directory, nvm->name, &about, AT_SYMLINK_NOFOLLOW) == 0 &&
        (!S_ISREG(about.st_mode) || (about.st_mode & (S_IRWXG | S_IRWXO)) != 0)) {
        nvm_file_close(nvm);
        return fail("KEY_FILE", "%s: it is no file, or others than its owner may use it: chmod 600 it", path);
    }
    return 0;
}

void nvm_file_close(struct nvm_file *nvm)
{
    if (nvm->lock >= 0) {
        close(nvm->lock);
        nvm->lock = -1;
    }
    if (nvm->directory >= 0) {
        close(nvm->directory);
        nvm->directory = -1;
    }
}
