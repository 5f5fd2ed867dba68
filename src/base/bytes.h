/* SPDX-License-Identifier: BSD-3-Clause */
/* Bounds-checked reading and writing of big-endian fields, comparing and wiping of secrets. */
#ifndef IOTSEC_SRC_BASE_BYTES_H
#define IOTSEC_SRC_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads from the front; a read that does not fit takes nothing and returns false. */
struct iotsec_reader {
    const uint8_t *next;
    size_t left;
};

void iotsec_rd_init(struct iotsec_reader *r, const uint8_t *data, size_t len);
bool iotsec_rd_u8(struct iotsec_reader *r, uint8_t *v);
bool iotsec_rd_u16(struct iotsec_reader *r, uint16_t *v);
bool iotsec_rd_u24(struct iotsec_reader *r, uint32_t *v);
bool iotsec_rd_u32(struct iotsec_reader *r, uint32_t *v);
bool iotsec_rd_u48(struct iotsec_reader *r, uint64_t *v);
bool iotsec_rd_copy(struct iotsec_reader *r, uint8_t *out, size_t len);
/* A view of the next len bytes, which stay where they are. */
bool iotsec_rd_view(struct iotsec_reader *r, const uint8_t **out, size_t len);
/* A reader over the next len bytes. */
bool iotsec_rd_sub(struct iotsec_reader *r, struct iotsec_reader *sub, size_t len);

/* Appends; after the first write that does not fit, `failed` stays set and nothing more is written. */
struct iotsec_writer {
    uint8_t *start;
    size_t size;
    size_t len;
    bool failed;
};

void iotsec_wr_init(struct iotsec_writer *w, uint8_t *buffer, size_t size);
void iotsec_wr_u8(struct iotsec_writer *w, uint8_t v);
void iotsec_wr_u16(struct iotsec_writer *w, uint16_t v);
void iotsec_wr_u24(struct iotsec_writer *w, uint32_t v);
void iotsec_wr_u32(struct iotsec_writer *w, uint32_t v);
void iotsec_wr_u48(struct iotsec_writer *w, uint64_t v);
void iotsec_wr_copy(struct iotsec_writer *w, const uint8_t *data, size_t len);
/* Reserves a length field of two bytes and returns where it stands; iotsec_wr_close16 fills it in. */
size_t iotsec_wr_open16(struct iotsec_writer *w);
void iotsec_wr_close16(struct iotsec_writer *w, size_t mark);

/* Big-endian words at a place that the caller has checked. */
void iotsec_put_u16(uint8_t out[2], uint16_t v);
void iotsec_put_u32(uint8_t out[4], uint32_t v);
uint16_t iotsec_get_u16(const uint8_t in[2]);
uint32_t iotsec_get_u32(const uint8_t in[4]);

/* Takes the same time whatever the bytes are: for tags, cookies and verify_data. */
bool iotsec_ct_equal(const uint8_t *a, const uint8_t *b, size_t len);
/* Not removed by the optimiser. */
void iotsec_wipe(void *data, size_t len);

/* CRC-32 (ISO 3309). Not against an attacker, who could compute it: against a cell that has lost its charge. */
uint32_t iotsec_crc32(const uint8_t *data, size_t len);

/* Modulo-2^32 time: true when `deadline` has come. Deadlines lie at most 2^31 - 1 ms ahead. */
bool iotsec_time_reached(uint32_t now, uint32_t deadline);
/* Milliseconds left until `deadline`, 0 when it has come. */
uint32_t iotsec_time_left(uint32_t now, uint32_t deadline);
/* The smaller of two waits. */
uint32_t iotsec_min_u32(uint32_t a, uint32_t b);
/* The wait after `wait` that brought nothing: a sixteenth longer, as far as `max`. At half of all datagrams lost three
 * questions of four stay without an answer, so what grows faster fails of its own patience. */
uint32_t iotsec_longer(uint32_t wait, uint32_t max);

/* A configured value, or its default where it is 0. */
static inline uint32_t iotsec_value_or(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

#endif
