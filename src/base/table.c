/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/table.h"

static struct iotsec_link *link_of(const struct iotsec_table *t, uint16_t slot)
{
    /* through void: the caller's structs are aligned for their own members */
    return (struct iotsec_link *)(void *)(t->base + t->stride * slot + t->link_offset);
}

static uint16_t *bucket_of(const struct iotsec_table *t, uint32_t hash)
{
    /* The multiplication spreads neighbouring values over the upper half, and the upper half is scaled
     * to the count: no division, which small cores lack. */
    uint32_t spread = (hash * 0x9E3779B1u) >> 16;

    return &link_of(t, (uint16_t)((spread * t->count) >> 16))->head;
}

struct iotsec_table iotsec_table_of(void *base, size_t stride, size_t link_offset, uint16_t count)
{
    struct iotsec_table t;

    t.base = base;
    t.stride = stride;
    t.link_offset = link_offset;
    t.count = count;
    return t;
}

void iotsec_table_init(const struct iotsec_table *t)
{
    uint16_t i;

    for (i = 0; i < t->count; i++) {
        struct iotsec_link *link = link_of(t, i);

        link->head = IOTSEC_TABLE_NONE;
        link->next = IOTSEC_TABLE_NONE;
    }
}

void iotsec_table_insert(const struct iotsec_table *t, uint16_t slot, uint32_t hash)
{
    uint16_t *head = bucket_of(t, hash);

    link_of(t, slot)->next = *head;
    *head = slot;
}

void iotsec_table_remove(const struct iotsec_table *t, uint16_t slot, uint32_t hash)
{
    uint16_t *at = bucket_of(t, hash);

    while (*at != IOTSEC_TABLE_NONE) {
        struct iotsec_link *link = link_of(t, *at);

        if (*at == slot) {
            *at = link->next;
            link->next = IOTSEC_TABLE_NONE;
            return;
        }
        at = &link->next;
    }
}

uint16_t iotsec_table_first(const struct iotsec_table *t, uint32_t hash)
{
    return *bucket_of(t, hash);
}

uint16_t iotsec_table_next(const struct iotsec_table *t, uint16_t slot)
{
    return link_of(t, slot)->next;
}

uint32_t iotsec_table_hash(uint32_t seed, const void *data, size_t len)
{
    const uint8_t *bytes = data;
    uint32_t hash = seed;
    size_t i;

    for (i = 0; i < len; i++) {
        hash = (hash ^ bytes[i]) * 0x01000193u;
        /* brings the high bits down, so that the seed decides which inputs collide */
        hash ^= hash >> 15;
    }
    return hash;
}
