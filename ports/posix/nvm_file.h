/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Non-volatile memory as files: a directory that belongs to one device, one file a slot.
 *
 *   slot-0001   magic "IOTN"(4), format 1(4), length(4), CRC-32 of the content(4), content
 *   identity    whose state this is: another device's keys would be used under its sender IDs
 *   lock        held by the one process that uses the directory: two would send under one counter
 */
#ifndef IOTSEC_POSIX_NVM_FILE_H
#define IOTSEC_POSIX_NVM_FILE_H

#include <stddef.h>
#include <stdint.h>

#define NVM_FILE_CONTENT_MAX 4096

struct nvm_file {
    int directory; /* -1: not open */
    int lock;
    const char *name; /* of slot 0's file; the others' have a dot and their number behind it. NULL: slot-XXXX */
};

/* Opens, or makes, the directory. 0, or what fail() returned: STATE, STATE_LOCKED, STATE_OTHER_DEVICE. */
int nvm_file_open(struct nvm_file *nvm, const char *directory, const uint8_t *identity, size_t identity_len);
/* A named file instead, for slot 0, and others beside it; whoever may read it may use its content. 0, or what fail() returned: KEY_FILE. */
int nvm_file_open_single(struct nvm_file *nvm, const char *path);
void nvm_file_close(struct nvm_file *nvm);

/* As struct iotsec_hal asks: > 0 bytes, 0 empty, < 0 damaged or unreadable, which is not the same as empty. */
int nvm_file_read(const struct nvm_file *nvm, uint16_t slot, uint8_t *data, size_t size);
/* 0: durable. < 0: the old content stands. */
int nvm_file_write(const struct nvm_file *nvm, uint16_t slot, const uint8_t *data, size_t len);

#endif
