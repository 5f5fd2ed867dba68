/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hash index that lives inside an array of structs: finding an entry costs the same among 4 and
 * among 10 000, and the caller passes one array only. The index knows which slots are filed under a
 * hash; which slots are free, and whether an entry is the wanted one, the caller knows.
 *
 *     struct iotsec_table t = iotsec_table_of(sessions, sizeof sessions[0], offsetof(struct session, link), count);
 *     for (i = iotsec_table_first(&t, hash); i != IOTSEC_TABLE_NONE; i = iotsec_table_next(&t, i)) ...
 */
#ifndef IOTSEC_SRC_BASE_TABLE_H
#define IOTSEC_SRC_BASE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include <iotsec/types.h>

#define IOTSEC_TABLE_NONE 0xFFFFu
/* Slots a table can have: 0xFFFF is no slot. */
#define IOTSEC_TABLE_SLOTS_MAX 0xFFFFu

/* A view, made where it is needed; it holds no state of its own. */
struct iotsec_table {
    unsigned char *base; /* the array */
    size_t stride;       /* bytes of one struct */
    size_t link_offset;  /* where its struct iotsec_link stands */
    uint16_t count;      /* slots; first and insert need at least 1 */
};

struct iotsec_table iotsec_table_of(void *base, size_t stride, size_t link_offset, uint16_t count);
/* Empties every bucket. Do it after the array was cleared. */
void iotsec_table_init(const struct iotsec_table *t);
/* Files a slot that is not filed yet. */
void iotsec_table_insert(const struct iotsec_table *t, uint16_t slot, uint32_t hash);
/* Takes a slot out, with the hash it was filed under; nothing happens if it is not there. */
void iotsec_table_remove(const struct iotsec_table *t, uint16_t slot, uint32_t hash);
/* The first slot of the hash's bucket, which other hashes share, or IOTSEC_TABLE_NONE. */
uint16_t iotsec_table_first(const struct iotsec_table *t, uint32_t hash);
/* The slot after it, or IOTSEC_TABLE_NONE. Fetch it before the slot at hand is removed. */
uint16_t iotsec_table_next(const struct iotsec_table *t, uint16_t slot);

/* A hash of bytes. A random seed keeps outsiders from choosing keys that share one bucket. */
uint32_t iotsec_table_hash(uint32_t seed, const void *data, size_t len);

#endif
