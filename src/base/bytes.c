/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/bytes.h"

#include <string.h>

void iotsec_rd_init(struct iotsec_reader *r, const uint8_t *data, size_t len)
{
    r->next = data;
    r->left = len;
}

bool iotsec_rd_view(struct iotsec_reader *r, const uint8_t **out, size_t len)
{
    if (len > r->left) {
        return false;
    }
    *out = r->next;
    /* nothing is added to a null pointer: an empty reader may stand on one */
    if (len != 0) {
        r->next += len;
        r->left -= len;
    }
    return true;
}

/* The one place that turns bytes of the wire into a number. */
static uint32_t get_word(const uint8_t *in, size_t len)
{
    uint32_t v = 0;

    while (len-- != 0) {
        v = v << 8 | *in++;
    }
    return v;
}

static bool read_word(struct iotsec_reader *r, uint32_t *v, size_t len)
{
    const uint8_t *p;

    if (!iotsec_rd_view(r, &p, len)) {
        return false;
    }
    *v = get_word(p, len);
    return true;
}

bool iotsec_rd_u8(struct iotsec_reader *r, uint8_t *v)
{
    uint32_t word;

    if (!read_word(r, &word, 1)) {
        return false;
    }
    *v = (uint8_t)word;
    return true;
}

bool iotsec_rd_u16(struct iotsec_reader *r, uint16_t *v)
{
    uint32_t word;

    if (!read_word(r, &word, 2)) {
        return false;
    }
    *v = (uint16_t)word;
    return true;
}

bool iotsec_rd_u24(struct iotsec_reader *r, uint32_t *v)
{
    return read_word(r, v, 3);
}

bool iotsec_rd_u32(struct iotsec_reader *r, uint32_t *v)
{
    return read_word(r, v, 4);
}

bool iotsec_rd_u48(struct iotsec_reader *r, uint64_t *v)
{
    const uint8_t *p;

    if (!iotsec_rd_view(r, &p, 6)) {
        return false;
    }
    *v = (uint64_t)iotsec_get_u16(p) << 32 | iotsec_get_u32(p + 2);
    return true;
}

bool iotsec_rd_copy(struct iotsec_reader *r, uint8_t *out, size_t len)
{
    const uint8_t *p;

    if (!iotsec_rd_view(r, &p, len)) {
        return false;
    }
    if (len != 0) {
        memcpy(out, p, len);
    }
    return true;
}

bool iotsec_rd_sub(struct iotsec_reader *r, struct iotsec_reader *sub, size_t len)
{
    const uint8_t *p;

    if (!iotsec_rd_view(r, &p, len)) {
        return false;
    }
    iotsec_rd_init(sub, p, len);
    return true;
}

void iotsec_wr_init(struct iotsec_writer *w, uint8_t *buffer, size_t size)
{
    w->start = buffer;
    w->size = size;
    w->len = 0;
    w->failed = false;
}

/* The next len bytes of the buffer, or NULL when they do not fit or something did not fit before. */
static uint8_t *reserve(struct iotsec_writer *w, size_t len)
{
    uint8_t *p;

    if (w->failed || len > w->size - w->len) {
        w->failed = true;
        return NULL;
    }
    p = w->start + w->len;
    w->len += len;
    return p;
}

static void write_word(struct iotsec_writer *w, uint32_t v, size_t len)
{
    uint8_t *p = reserve(w, len);

    if (p == NULL) {
        return;
    }
    while (len-- != 0) {
        p[len] = (uint8_t)v;
        v >>= 8;
    }
}

void iotsec_wr_u8(struct iotsec_writer *w, uint8_t v)
{
    write_word(w, v, 1);
}

void iotsec_wr_u16(struct iotsec_writer *w, uint16_t v)
{
    write_word(w, v, 2);
}

void iotsec_wr_u24(struct iotsec_writer *w, uint32_t v)
{
    write_word(w, v, 3);
}

void iotsec_wr_u32(struct iotsec_writer *w, uint32_t v)
{
    write_word(w, v, 4);
}

void iotsec_wr_u48(struct iotsec_writer *w, uint64_t v)
{
    uint8_t *p = reserve(w, 6);

    if (p == NULL) {
        return;
    }
    iotsec_put_u16(p, (uint16_t)(v >> 32));
    iotsec_put_u32(p + 2, (uint32_t)v);
}

void iotsec_wr_copy(struct iotsec_writer *w, const uint8_t *data, size_t len)
{
    uint8_t *p;

    if (len == 0) {
        return;
    }
    p = reserve(w, len);
    if (p != NULL) {
        memcpy(p, data, len);
    }
}

size_t iotsec_wr_open16(struct iotsec_writer *w)
{
    size_t mark = w->len;

    iotsec_wr_u16(w, 0);
    return mark;
}

void iotsec_wr_close16(struct iotsec_writer *w, size_t mark)
{
    size_t len;

    if (w->failed) {
        return;
    }
    len = w->len - mark - 2;
    if (len > 0xFFFF) {
        w->failed = true;
        return;
    }
    iotsec_put_u16(w->start + mark, (uint16_t)len);
}

void iotsec_put_u16(uint8_t out[2], uint16_t v)
{
    out[0] = (uint8_t)(v >> 8);
    out[1] = (uint8_t)v;
}

void iotsec_put_u32(uint8_t out[4], uint32_t v)
{
    iotsec_put_u16(out, (uint16_t)(v >> 16));
    iotsec_put_u16(out + 2, (uint16_t)v);
}

uint16_t iotsec_get_u16(const uint8_t in[2])
{
    return (uint16_t)get_word(in, 2);
}

uint32_t iotsec_get_u32(const uint8_t in[4])
{
    return get_word(in, 4);
}

bool iotsec_ct_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
    /* volatile: every byte is read, and the loop cannot be left at the first difference */
    const volatile uint8_t *x = a;
    const volatile uint8_t *y = b;
    uint8_t diff = 0;
    size_t i;

    for (i = 0; i < len; i++) {
        uint8_t left = x[i];
        uint8_t right = y[i];

        diff = (uint8_t)(diff | (left ^ right));
    }
    return diff == 0;
}

void iotsec_wipe(void *data, size_t len)
{
#if defined(__GNUC__)
    if (len != 0) {
        memset(data, 0, len);
    }
    /* the empty instruction "reads" the memory, so the memset before it is not dead */
    __asm__ __volatile__("" : : "r"(data) : "memory");
#else
    volatile uint8_t *p = data;

    while (len-- != 0) {
        *p++ = 0;
    }
#endif
}

uint32_t iotsec_crc32(const uint8_t *data, size_t len)
{
    uint32_t crc = 0xFFFFFFFFu;
    unsigned bit;

    while (len-- != 0) {
        crc ^= *data++;
        for (bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1u ? 0xEDB88320u : 0);
        }
    }
    return ~crc;
}

bool iotsec_time_reached(uint32_t now, uint32_t deadline)
{
    return now - deadline < 0x80000000u;
}

uint32_t iotsec_time_left(uint32_t now, uint32_t deadline)
{
    return iotsec_time_reached(now, deadline) ? 0 : deadline - now;
}

uint32_t iotsec_min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

uint32_t iotsec_longer(uint32_t wait, uint32_t max)
{
    return wait < max ? iotsec_min_u32(wait + wait / 16, max) : wait;
}
