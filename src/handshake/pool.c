/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two tables of an endpoint, sessions and handshakes, by one code: a slot of either begins with
 * struct iotsec_dtls_slot and has its path at the same place. Entries are found by path through
 * the index that the slots embed, sessions by Connection ID through a second one, and by handle directly; free slots are chained by the link that the
 * index does not use for them.
 */
#include "handshake/engine.h"

#include <string.h>

#include "base/table.h"

#define PATH_AT offsetof(struct iotsec_dtls_session, path)

/* hashed, compared and put into cookies byte by byte */
#if IOTSEC_RELAYED
typedef char iotsec_path_has_no_padding[sizeof(struct iotsec_dtls_path) ==
                                                sizeof(struct iotsec_addr) + 2 + IOTSEC_RELAY_HEADER_MAX
                                            ? 1
                                            : -1];
#endif
typedef char iotsec_path_stands_at_one_place[PATH_AT == offsetof(struct iotsec_dtls_handshake, path) ? 1 : -1];

static struct iotsec_table get_pool(const struct iotsec_dtls *dtls, unsigned pool)
{
    const struct iotsec_dtls_config *config = dtls->config;

    size_t link = 0;

#if CID_OWN
    if (pool == POOL_CIDS) {
        link = offsetof(struct iotsec_dtls_slot, cid_link);
    }
#endif
    return pool != POOL_HANDSHAKES
               ? iotsec_table_of(config->sessions, sizeof config->sessions[0], link, config->session_count)
               : iotsec_table_of(config->handshakes, sizeof config->handshakes[0], 0, config->handshake_count);
}

static struct iotsec_dtls_slot *slot_at(const struct iotsec_table *table, uint32_t i)
{
    /* through void: the caller's structs are aligned for their own members */
    return (struct iotsec_dtls_slot *)(void *)(table->base + table->stride * i);
}

static struct iotsec_dtls_path *path_of(struct iotsec_dtls_slot *slot)
{
    return (struct iotsec_dtls_path *)(void *)((unsigned char *)slot + PATH_AT);
}

static uint32_t hash_path(const struct iotsec_dtls *dtls, const struct iotsec_dtls_path *path)
{
    size_t len = sizeof *path;

#if IOTSEC_RELAYED
    if (path->relayed == 0) {
        len = sizeof path->addr; /* the rest is zero */
    }
#endif
    return iotsec_table_hash(dtls->hash_seed, path, len);
}

static unsigned pool_of(iotsec_dtls_handle handle)
{
    return handle >> 31; /* HANDLE_HANDSHAKE */
}

#if CID_OWN
typedef char iotsec_cid_is_a_word[IOTSEC_CID_OWN_BYTES == 2 ? 1 : -1];

/* As it is: the IDs are random, and nobody else has chosen them. */
static uint32_t hash_cid(const uint8_t cid[IOTSEC_CID_OWN_BYTES])
{
    return iotsec_get_u16(cid);
}
#endif

static uint16_t *used_of(struct iotsec_dtls *dtls, unsigned pool)
{
    return pool == POOL_SESSIONS ? &dtls->sessions_used : &dtls->handshakes_used;
}

void iotsec_pool_init(struct iotsec_dtls *dtls)
{
    unsigned pool;

    for (pool = POOL_SESSIONS; pool <= POOL_HANDSHAKES; pool++) {
        struct iotsec_table table = get_pool(dtls, pool);
        uint16_t i = table.count;

        iotsec_wipe(table.base, table.stride * table.count);
        iotsec_table_init(&table);
        dtls->free_slot[pool] = IOTSEC_TABLE_NONE;
        while (i != 0) {
            struct iotsec_dtls_slot *slot = slot_at(&table, --i);

            /* generations start anywhere, so that a handle from before is not taken for one of now */
            slot->handle = (dtls->hash_seed & GENERATION_MASK) | (i + 1u) | (uint32_t)pool << 31;
            slot->link.next = dtls->free_slot[pool];
            dtls->free_slot[pool] = i;
        }
    }
#if CID_OWN
    {
        struct iotsec_table cids = get_pool(dtls, POOL_CIDS);

        iotsec_table_init(&cids);
    }
#endif
}

struct iotsec_dtls_slot *iotsec_slot_find(const struct iotsec_dtls *dtls, unsigned pool, const struct iotsec_dtls_path *path,
                                          uint8_t role)
{
    struct iotsec_table table;
    uint16_t i;

    if ((pool == POOL_SESSIONS ? dtls->sessions_used : dtls->handshakes_used) == 0) {
        return NULL;
    }
    table = get_pool(dtls, pool);
    for (i = iotsec_table_first(&table, hash_path(dtls, path)); i != IOTSEC_TABLE_NONE;
         i = iotsec_table_next(&table, i)) {
        struct iotsec_dtls_slot *slot = slot_at(&table, i);

        if (slot->role == role && iotsec_path_equal(path_of(slot), path)) {
            return slot;
        }
    }
    return NULL;
}

struct iotsec_dtls_slot *iotsec_slot_get(const struct iotsec_dtls *dtls, iotsec_dtls_handle handle)
{
    struct iotsec_table table = get_pool(dtls, pool_of(handle));
    uint32_t i = (handle & 0xFFFFu) - 1;
    struct iotsec_dtls_slot *slot;

    if (i >= table.count) {
        return NULL;
    }
    slot = slot_at(&table, i);
    return slot->handle == handle && slot->state != HS_FREE && slot->role != ROLE_NONE ? slot : NULL;
}

struct iotsec_dtls_slot *iotsec_slot_new(struct iotsec_dtls *dtls, unsigned pool, const struct iotsec_dtls_path *path)
{
    struct iotsec_table table = get_pool(dtls, pool);
    uint16_t i = dtls->free_slot[pool];
    struct iotsec_dtls_slot *slot;

    if (i == IOTSEC_TABLE_NONE) {
        return NULL;
    }
    slot = slot_at(&table, i);
    dtls->free_slot[pool] = slot->link.next;
    (*used_of(dtls, pool))++;
    *path_of(slot) = *path;
    iotsec_table_insert(&table, i, hash_path(dtls, path));
    return slot;
}

void iotsec_slot_clear(struct iotsec_dtls *dtls, struct iotsec_dtls_slot *slot)
{
    struct iotsec_table table = get_pool(dtls, pool_of(slot->handle));

#if CID_OWN
    if (pool_of(slot->handle) == POOL_SESSIONS && (slot->flags & SESSION_CID) != 0) {
        struct iotsec_table cids = get_pool(dtls, POOL_CIDS);

        iotsec_table_remove(&cids, (uint16_t)(slot->handle - 1),
                            hash_cid(((struct iotsec_dtls_session *)(void *)slot)->cid));
    }
#endif
    slot->handle = (slot->handle & ~GENERATION_MASK) | ((slot->handle + 0x10000u) & GENERATION_MASK);
    iotsec_wipe(&slot->state, table.stride - offsetof(struct iotsec_dtls_slot, state));
}

void iotsec_slot_free(struct iotsec_dtls *dtls, struct iotsec_dtls_slot *slot)
{
    unsigned pool = pool_of(slot->handle);
    struct iotsec_table table = get_pool(dtls, pool);
    uint16_t i = (uint16_t)(slot->handle - 1);

    iotsec_table_remove(&table, i, hash_path(dtls, path_of(slot)));
    iotsec_slot_clear(dtls, slot);
    slot->link.next = dtls->free_slot[pool];
    dtls->free_slot[pool] = i;
    (*used_of(dtls, pool))--;
}

#if IOTSEC_CONNECTION_ID
void iotsec_slot_move(struct iotsec_dtls *dtls, struct iotsec_dtls_slot *slot, const struct iotsec_dtls_path *path)
{
    struct iotsec_table table = get_pool(dtls, POOL_SESSIONS);
    uint16_t i = (uint16_t)(slot->handle - 1);

    iotsec_table_remove(&table, i, hash_path(dtls, path_of(slot)));
    *path_of(slot) = *path;
    iotsec_table_insert(&table, i, hash_path(dtls, path));
}
#endif

#if CID_OWN
void iotsec_cid_insert(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session)
{
    struct iotsec_table cids = get_pool(dtls, POOL_CIDS);

    session->slot.flags |= SESSION_CID;
    iotsec_table_insert(&cids, (uint16_t)(session->slot.handle - 1), hash_cid(session->cid));
}

struct iotsec_dtls_session *iotsec_cid_find(const struct iotsec_dtls *dtls, const uint8_t cid[IOTSEC_CID_OWN_BYTES])
{
    struct iotsec_table cids = get_pool(dtls, POOL_CIDS);
    uint16_t i;

    for (i = iotsec_table_first(&cids, hash_cid(cid)); i != IOTSEC_TABLE_NONE; i = iotsec_table_next(&cids, i)) {
        if (memcmp(dtls->config->sessions[i].cid, cid, IOTSEC_CID_OWN_BYTES) == 0) {
            return &dtls->config->sessions[i];
        }
    }
    return NULL;
}
#endif
