/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two tables of an endpoint, sessions and handshakes, by one code: a slot of either begins with
 * struct iotsec_dtls_slot and has its path at the same place. Who serves many peers finds entries by path through
 * the index that the slots embed, and sessions by Connection ID through a second one; free slots are chained by the link that
 * the index does not use for them. Who has a few peers looks at each slot. By handle they are found directly.
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

/* The i-th slot, or NULL behind the last. */
static struct iotsec_dtls_slot *slot_at(const struct iotsec_dtls *dtls, unsigned pool, uint32_t i)
{
    const struct iotsec_dtls_config *config = dtls->config;

    if (pool == POOL_HANDSHAKES) {
        return i < config->handshake_count ? &config->handshakes[i].slot : NULL;
    }
    return i < config->session_count ? &config->sessions[i].slot : NULL;
}

static struct iotsec_dtls_path *path_of(struct iotsec_dtls_slot *slot)
{
    return (struct iotsec_dtls_path *)(void *)((unsigned char *)slot + PATH_AT);
}

static unsigned pool_of(iotsec_dtls_handle handle)
{
    return handle >> 31; /* HANDLE_HANDSHAKE */
}

static uint16_t *used_of(struct iotsec_dtls *dtls, unsigned pool)
{
    return pool == POOL_SESSIONS ? &dtls->sessions_used : &dtls->handshakes_used;
}

#if IOTSEC_HASH_INDEX

static uint16_t number_of(const struct iotsec_dtls_slot *slot)
{
    return (uint16_t)(slot->handle - 1);
}

static struct iotsec_table get_table(const struct iotsec_dtls *dtls, unsigned pool)
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

/* Files a slot, or takes it out. */
static void file_under(const struct iotsec_table *table, const struct iotsec_dtls_slot *slot, uint32_t hash, bool in)
{
    if (in) {
        iotsec_table_insert(table, number_of(slot), hash);
    } else {
        iotsec_table_remove(table, number_of(slot), hash);
    }
}

/* The same under its path. */
static void file(const struct iotsec_dtls *dtls, struct iotsec_dtls_slot *slot, bool in)
{
    struct iotsec_table table = get_table(dtls, pool_of(slot->handle));

    file_under(&table, slot, hash_path(dtls, path_of(slot)), in);
}

static void chain_free(struct iotsec_dtls *dtls, struct iotsec_dtls_slot *slot)
{
    uint16_t *head = &dtls->free_slot[pool_of(slot->handle)];

    slot->link.next = *head;
    *head = number_of(slot);
}

struct iotsec_dtls_slot *iotsec_slot_find(const struct iotsec_dtls *dtls, unsigned pool, const struct iotsec_dtls_path *path,
                                          uint8_t role)
{
    struct iotsec_table table;
    uint16_t i;

    if ((pool == POOL_SESSIONS ? dtls->sessions_used : dtls->handshakes_used) == 0) {
        return NULL;
    }
    table = get_table(dtls, pool);
    for (i = iotsec_table_first(&table, hash_path(dtls, path)); i != IOTSEC_TABLE_NONE; i = iotsec_table_next(&table, i)) {
        struct iotsec_dtls_slot *slot = slot_at(dtls, pool, i);

        if (slot->role == role && iotsec_path_equal(path_of(slot), path)) {
            return slot;
        }
    }
    return NULL;
}

struct iotsec_dtls_slot *iotsec_slot_new(struct iotsec_dtls *dtls, unsigned pool, const struct iotsec_dtls_path *path)
{
    struct iotsec_dtls_slot *slot = slot_at(dtls, pool, dtls->free_slot[pool]); /* IOTSEC_TABLE_NONE is behind the last */

    if (slot != NULL) {
        dtls->free_slot[pool] = slot->link.next;
        (*used_of(dtls, pool))++;
        *path_of(slot) = *path;
        file(dtls, slot, true);
    }
    return slot;
}

#else

struct iotsec_dtls_slot *iotsec_slot_find(const struct iotsec_dtls *dtls, unsigned pool, const struct iotsec_dtls_path *path,
                                          uint8_t role)
{
    struct iotsec_dtls_slot *slot;
    uint32_t i;

    for (i = 0; (slot = slot_at(dtls, pool, i)) != NULL; i++) {
        if (slot->state != HS_FREE && slot->role == role && iotsec_path_equal(path_of(slot), path)) {
            break;
        }
    }
    return slot;
}

struct iotsec_dtls_slot *iotsec_slot_new(struct iotsec_dtls *dtls, unsigned pool, const struct iotsec_dtls_path *path)
{
    struct iotsec_dtls_slot *slot;
    uint32_t i;

    for (i = 0; (slot = slot_at(dtls, pool, i)) != NULL; i++) {
        if (slot->state == HS_FREE) {
            (*used_of(dtls, pool))++;
            *path_of(slot) = *path;
            break;
        }
    }
    return slot;
}

#endif

void iotsec_pool_init(struct iotsec_dtls *dtls)
{
    const struct iotsec_dtls_config *config = dtls->config;
    unsigned pool;

    memset(config->sessions, 0, sizeof config->sessions[0] * config->session_count);
    memset(config->handshakes, 0, sizeof config->handshakes[0] * config->handshake_count);
    for (pool = POOL_SESSIONS; pool <= POOL_HANDSHAKES; pool++) {
        uint32_t i = pool == POOL_SESSIONS ? config->session_count : config->handshake_count;

#if IOTSEC_HASH_INDEX
        struct iotsec_table table = get_table(dtls, pool);

        iotsec_table_init(&table);
        dtls->free_slot[pool] = IOTSEC_TABLE_NONE;
#endif
        for (; i != 0; i--) {
            struct iotsec_dtls_slot *slot = slot_at(dtls, pool, i - 1);

            /* generations start anywhere, so that a handle from before is not taken for one of now */
            slot->handle = (dtls->hash_seed & GENERATION_MASK) | i | (uint32_t)pool << 31;
#if IOTSEC_HASH_INDEX
            chain_free(dtls, slot);
#endif
        }
    }
#if IOTSEC_HASH_INDEX && CID_OWN
    {
        struct iotsec_table cids = get_table(dtls, POOL_CIDS);

        iotsec_table_init(&cids);
    }
#endif
}

struct iotsec_dtls_slot *iotsec_slot_get(const struct iotsec_dtls *dtls, iotsec_dtls_handle handle)
{
    struct iotsec_dtls_slot *slot = slot_at(dtls, pool_of(handle), (handle & 0xFFFFu) - 1);

    return slot != NULL && slot->handle == handle && slot->state != HS_FREE && slot->role != ROLE_NONE ? slot : NULL;
}

#if CID_OWN
typedef char iotsec_cid_is_a_word[IOTSEC_CID_OWN_BYTES == 2 ? 1 : -1];

#if IOTSEC_HASH_INDEX
/* Files a session under its Connection ID, or takes it out. Hashed as it is: the IDs are random, and nobody else has chosen
 * them. */
static void file_cid(const struct iotsec_dtls *dtls, struct iotsec_dtls_session *session, bool in)
{
    struct iotsec_table cids = get_table(dtls, POOL_CIDS);

    file_under(&cids, &session->slot, iotsec_get_u16(session->cid), in);
}
#endif

void iotsec_cid_insert(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session)
{
    session->slot.flags |= SESSION_CID;
#if IOTSEC_HASH_INDEX
    file_cid(dtls, session, true);
#else
    (void)dtls;
#endif
}

struct iotsec_dtls_session *iotsec_cid_find(const struct iotsec_dtls *dtls, const uint8_t cid[IOTSEC_CID_OWN_BYTES])
{
    const struct iotsec_dtls_config *config = dtls->config;
    uint16_t i;

#if IOTSEC_HASH_INDEX
    struct iotsec_table cids = get_table(dtls, POOL_CIDS);

    for (i = iotsec_table_first(&cids, iotsec_get_u16(cid)); i != IOTSEC_TABLE_NONE; i = iotsec_table_next(&cids, i)) {
#else
    for (i = 0; i < config->session_count; i++) {
#endif
        if ((config->sessions[i].slot.flags & SESSION_CID) != 0 &&
            memcmp(config->sessions[i].cid, cid, IOTSEC_CID_OWN_BYTES) == 0) {
            return &config->sessions[i];
        }
    }
    return NULL;
}
#endif

void iotsec_slot_free(struct iotsec_dtls *dtls, struct iotsec_dtls_slot *slot)
{
    unsigned pool = pool_of(slot->handle);

#if IOTSEC_HASH_INDEX
    file(dtls, slot, false);
#if CID_OWN
    if (pool == POOL_SESSIONS && (slot->flags & SESSION_CID) != 0) {
        file_cid(dtls, (struct iotsec_dtls_session *)(void *)slot, false);
    }
#endif
#endif
    slot->handle = (slot->handle & ~GENERATION_MASK) | ((slot->handle + 0x10000u) & GENERATION_MASK);
    iotsec_wipe(&slot->state, (pool == POOL_SESSIONS ? sizeof(struct iotsec_dtls_session) : sizeof(struct iotsec_dtls_handshake)) -
                                  offsetof(struct iotsec_dtls_slot, state));
#if IOTSEC_HASH_INDEX
    chain_free(dtls, slot);
#endif
    (*used_of(dtls, pool))--;
}

#if IOTSEC_CONNECTION_ID
void iotsec_slot_move(struct iotsec_dtls *dtls, struct iotsec_dtls_slot *slot, const struct iotsec_dtls_path *path)
{
#if IOTSEC_HASH_INDEX
    file(dtls, slot, false);
    *path_of(slot) = *path;
    file(dtls, slot, true);
#else
    (void)dtls;
    *path_of(slot) = *path;
#endif
}
#endif
