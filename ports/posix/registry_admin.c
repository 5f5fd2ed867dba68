/* SPDX-License-Identifier: BSD-3-Clause */
/* What the other commands do to a registry: who may join is written at once, the rest is written down as a wish. */
#include "registry_internal.h"

#include <stdio.h>
#include <string.h>

#include "addr.h"
#include "output.h"

/* A statement for one use; its first error stays in `code` until the end. */
struct query {
    struct registry *registry;
    sqlite3_stmt *statement;
    int code;
};

static void query_start(struct query *query, struct registry *registry, const char *sql)
{
    query->registry = registry;
    query->statement = NULL;
    query->code = sqlite3_prepare_v2(registry->db, sql, -1, &query->statement, NULL);
}

static void query_int(struct query *query, int index, int64_t value)
{
    if (query->code == SQLITE_OK) {
        query->code = sqlite3_bind_int64(query->statement, index, value);
    }
}

static void query_blob(struct query *query, int index, const void *data, size_t len)
{
    if (query->code == SQLITE_OK) {
        query->code = sqlite3_bind_blob(query->statement, index, data, (int)len, SQLITE_STATIC);
    }
}

/* True while there is a row. */
static bool query_row(struct query *query)
{
    if (query->code != SQLITE_OK && query->code != SQLITE_ROW) {
        return false;
    }
    query->code = sqlite3_step(query->statement);
    return query->code == SQLITE_ROW;
}

/* 0, or what registry_fail() returned. */
static int query_end(struct query *query)
{
    int code = query->code;

    if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE) {
        sqlite3_finalize(query->statement);
        return 0;
    }
    code = registry_fail(query->registry, code);
    sqlite3_finalize(query->statement);
    return code;
}

static int query_run(struct query *query)
{
    (void)query_row(query);
    return query_end(query);
}

static int begin(struct registry *registry)
{
    int code = sqlite3_exec(registry->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

    return code == SQLITE_OK ? 0 : registry_fail(registry, code);
}

/* Commits if all went well; `result` is what has failed so far, or 0. */
static int end(struct registry *registry, int result)
{
    int code;

    if (result == 0) {
        code = sqlite3_exec(registry->db, "COMMIT", NULL, NULL, NULL);
        result = code == SQLITE_OK ? 0 : registry_fail(registry, code);
    }
    if (result != 0 && sqlite3_get_autocommit(registry->db) == 0) {
        (void)sqlite3_exec(registry->db, "ROLLBACK", NULL, NULL, NULL);
    }
    return result;
}

/* ---- Devices ---- */

static int find_device(struct registry *registry, const char *identity, uint32_t *number, bool *evicted)
{
    struct query query;
    bool found;
    int result;

    query_start(&query, registry, "SELECT number, evicted FROM device WHERE identity = ?");
    query_blob(&query, 1, identity, strlen(identity));
    found = query_row(&query);
    if (found) {
        *number = (uint32_t)sqlite3_column_int64(query.statement, 0);
        *evicted = sqlite3_column_int(query.statement, 1) != 0;
    }
    result = query_end(&query);
    if (result == 0 && !found) {
        result = fail("NO_SUCH_DEVICE", "%s: the registry has no device of that identity", identity);
    }
    return result;
}

static int find_group(struct registry *registry, uint16_t gid)
{
    struct query query;
    bool found;
    int result;

    query_start(&query, registry, "SELECT 1 FROM planned WHERE gid = ?");
    query_int(&query, 1, gid);
    found = query_row(&query);
    result = query_end(&query);
    if (result == 0 && !found) {
        result = fail("NO_SUCH_GROUP", "%u: the registry has no group of that ID", gid);
    }
    return result;
}

static int insert_allowed(struct registry *registry, uint32_t number, uint16_t gid)
{
    struct query query;
    int result = find_group(registry, gid);

    if (result != 0) {
        return result;
    }
    query_start(&query, registry, "INSERT OR IGNORE INTO allowed(device, gid) VALUES(?, ?)");
    query_int(&query, 1, number);
    query_int(&query, 2, gid);
    return query_run(&query);
}

/* What stands in the column that most wishes have their device in. */
static int64_t wish_number(const struct wish *wish)
{
    switch (wish->kind) {
    case WISH_GROUP_RENEW:
        return wish->above;
    case WISH_ACCESS:
        return wish->pan;
    case WISH_POLY_RENEW:
        return wish->degree;
    default:
        return wish->device;
    }
}

/* A wish of an enum wish_kind, written inside the caller's transaction. */
static int insert_wish(struct registry *registry, struct wish *wish)
{
    struct query query;
    int result;

    query_start(&query, registry, "INSERT INTO wanted(kind, device, gid, address, port, name) VALUES(?, ?, ?, ?, ?, ?)");
    query_int(&query, 1, (int64_t)wish->kind);
    query_int(&query, 2, wish_number(wish));
    query_int(&query, 3, wish->gid);
    if (wish->kind == WISH_GROUP_ADD || wish->kind == WISH_ACCESS) {
        query_blob(&query, 4, wish->addr.ip, sizeof wish->addr.ip);
    }
    query_int(&query, 5, wish->kind == WISH_POLY_RENEW ? wish->overlap : wish->addr.port);
    if (wish->kind == WISH_ACCESS) {
        query_blob(&query, 6, wish->prefix, sizeof wish->prefix);
    } else {
        query_blob(&query, 6, wish->name, wish->name_len);
    }
    result = query_run(&query);
    wish->id = sqlite3_last_insert_rowid(registry->db);
    return result;
}

static int device_wish(struct registry *registry, enum wish_kind kind, const char *identity, struct wish *wish, bool *evicted)
{
    int result;

    memset(wish, 0, sizeof *wish);
    wish->kind = kind;
    result = find_device(registry, identity, &wish->device, evicted);
    if (result == 0) {
        wish->name_len = strlen(identity);
        memcpy(wish->name, identity, wish->name_len);
    }
    return result;
}

/* Two devices of one point could take each other's place: the pairwise keys of both would be the same but for their names. */
static int check_point(struct registry *registry, const char *identity, const uint8_t point[IOTSEC_POLY_ELEMENT_BYTES])
{
    struct query query;
    int result = 0;

    query_start(&query, registry, "SELECT identity FROM device WHERE point = ? AND identity IS NOT NULL AND identity <> ?");
    query_blob(&query, 1, point, IOTSEC_POLY_ELEMENT_BYTES);
    query_blob(&query, 2, identity, strlen(identity));
    if (query_row(&query)) {
        result = fail("IDENTITY_COLLISION", "%s: pairwise keys cannot tell it from %.*s: choose another identity", identity,
                      sqlite3_column_bytes(query.statement, 0), (const char *)sqlite3_column_blob(query.statement, 0));
    }
    return query_end(&query) != 0 ? EXIT_NAMED_ERROR : result;
}

/* A mark is of an identity: whoever has it next is refused by the others like the one that was evicted. */
static int warn_of_mark(struct registry *registry, const char *identity)
{
    struct query query;
    bool marked;
    int result;

    /* 1 evicts, 2 evicts and removes: where one waits, the mark follows */
    query_start(&query, registry,
                "SELECT 1 FROM poly WHERE EXISTS (SELECT 1 FROM revoked, device WHERE identity = ?1"
                " AND mark = substr(point, 1, 8)) OR EXISTS (SELECT 1 FROM wanted WHERE kind IN (1, 2) AND name = ?1)");
    query_blob(&query, 1, identity, strlen(identity));
    marked = query_row(&query);
    result = query_end(&query);
    if (result == 0 && marked) {
        warn("STILL_REVOKED", "%s: other devices refuse pairwise sessions with it until `iotsec manager poly renew --no-overlap`", identity);
    }
    return result;
}

typedef char evictions_stand_in_the_query[WISH_EVICT == 1 && WISH_REMOVE == 2 ? 1 : -1];

int registry_add_device(struct registry *registry, const char *identity, const struct psk *psk, const uint16_t *groups,
                        size_t group_count, uint32_t *number)
{
    struct query query;
    uint8_t point[IOTSEC_POLY_ELEMENT_BYTES];
    int result = registry_point_of(identity, strlen(identity), point);
    size_t i;

    if (result == 0) {
        result = begin(registry);
    }
    if (result != 0) {
        return result;
    }
    result = check_point(registry, identity, point);
    if (result != 0) {
        return end(registry, result);
    }
    query_start(&query, registry, "INSERT INTO device(identity, psk, point) VALUES(?, ?, ?)");
    query_blob(&query, 1, identity, strlen(identity));
    query_blob(&query, 2, psk->key, psk->len);
    query_blob(&query, 3, point, sizeof point);
    (void)query_row(&query);
    if (query.code == SQLITE_CONSTRAINT_UNIQUE) {
        query.code = SQLITE_OK;
        result = fail("DEVICE_EXISTS", "%s: there is a device of that identity already; nothing was changed", identity);
    } else if (query.code == SQLITE_FULL) {
        /* AUTOINCREMENT has no number left; a disk can be full as well */
        query.code = SQLITE_OK;
        result = fail("REGISTRY_DISK_FULL", "%s: no room for another device", registry->path);
    }
    if (query_end(&query) != 0) {
        result = EXIT_NAMED_ERROR;
    }
    if (result == 0) {
        *number = (uint32_t)sqlite3_last_insert_rowid(registry->db);
    }
    for (i = 0; result == 0 && i < group_count; i++) {
        result = insert_allowed(registry, *number, groups[i]);
    }
    if (result == 0) {
        result = warn_of_mark(registry, identity);
    }
    return end(registry, result);
}

/* From this commit on the device is refused; the groups it was in get new keys when the server sees the wish. */
int registry_evict(struct registry *registry, const char *identity, struct wish *wish)
{
    struct query query;
    bool evicted;
    int result = begin(registry);

    if (result != 0) {
        return result;
    }
    result = device_wish(registry, WISH_EVICT, identity, wish, &evicted);
    if (result == 0) {
        query_start(&query, registry, "UPDATE device SET evicted = 1 WHERE number = ?");
        query_int(&query, 1, wish->device);
        result = query_run(&query);
    }
    if (result == 0) {
        result = insert_wish(registry, wish);
    }
    return end(registry, result);
}

/* The wish comes after a pending eviction: that one still renews the keys. */
int registry_readmit(struct registry *registry, const char *identity, struct wish *wish)
{
    struct query query;
    bool evicted = false;
    bool waiting = false;
    int result = begin(registry);

    if (result != 0) {
        return result;
    }
    result = device_wish(registry, WISH_READMIT, identity, wish, &evicted);
    if (result == 0 && !evicted) {
        result = fail("NOT_EVICTED", "%s: the device is not evicted", identity);
    }
    if (result == 0) {
        query_start(&query, registry, "SELECT 1 FROM wanted WHERE device = ? AND kind = ?");
        query_int(&query, 1, wish->device);
        query_int(&query, 2, WISH_EVICT);
        waiting = query_row(&query);
        result = query_end(&query);
    }
    if (result == 0 && waiting) {
        result = insert_wish(registry, wish);
    } else if (result == 0) {
        wish->id = 0;
        query_start(&query, registry, "UPDATE device SET evicted = 0 WHERE number = ?");
        query_int(&query, 1, wish->device);
        result = query_run(&query);
    }
    if (result == 0) {
        result = warn_of_mark(registry, identity);
    }
    return end(registry, result);
}

/* Its identity is free for another device, with another number, from this commit on. */
int registry_remove(struct registry *registry, const char *identity, struct wish *wish)
{
    struct query query;
    bool evicted;
    int result = begin(registry);

    if (result != 0) {
        return result;
    }
    result = device_wish(registry, WISH_REMOVE, identity, wish, &evicted);
    if (result == 0) {
        query_start(&query, registry, "UPDATE device SET evicted = 1, identity = NULL, psk = x'' WHERE number = ?");
        query_int(&query, 1, wish->device);
        result = query_run(&query);
    }
    if (result == 0) {
        query_start(&query, registry, "DELETE FROM allowed WHERE device = ?");
        query_int(&query, 1, wish->device);
        result = query_run(&query);
    }
    if (result == 0) {
        result = insert_wish(registry, wish);
    }
    return end(registry, result);
}

int registry_allow(struct registry *registry, const char *identity, uint16_t gid)
{
    uint32_t number;
    bool evicted;
    int result = begin(registry);

    if (result != 0) {
        return result;
    }
    result = find_device(registry, identity, &number, &evicted);
    if (result == 0) {
        result = insert_allowed(registry, number, gid);
    }
    return end(registry, result);
}

int registry_deny(struct registry *registry, const char *identity, uint16_t gid, struct wish *wish)
{
    struct query query;
    bool evicted;
    int result = begin(registry);

    if (result != 0) {
        return result;
    }
    result = device_wish(registry, WISH_EXPEL, identity, wish, &evicted);
    if (result == 0) {
        query_start(&query, registry, "DELETE FROM allowed WHERE device = ? AND gid = ?");
        query_int(&query, 1, wish->device);
        query_int(&query, 2, gid);
        result = query_run(&query);
    }
    if (result == 0 && sqlite3_changes(registry->db) == 0) {
        result = fail("NOT_ALLOWED", "%s: the device may not be in group %u anyway", identity, gid);
    }
    if (result == 0) {
        wish->gid = gid;
        result = insert_wish(registry, wish);
    }
    return end(registry, result);
}

/* ---- Groups ---- */

int registry_add_group(struct registry *registry, uint16_t gid, const struct iotsec_addr *addr, struct wish *wish)
{
    struct query query;
    int result = begin(registry);

    if (result != 0) {
        return result;
    }
    memset(wish, 0, sizeof *wish);
    wish->kind = WISH_GROUP_ADD;
    wish->gid = gid;
    wish->addr = *addr;
    query_start(&query, registry, "SELECT gid FROM planned WHERE gid = ? OR (address = ? AND port = ?)");
    query_int(&query, 1, gid);
    query_blob(&query, 2, addr->ip, sizeof addr->ip);
    query_int(&query, 3, addr->port);
    if (query_row(&query)) {
        unsigned other = (unsigned)sqlite3_column_int64(query.statement, 0);

        result = other == gid ? fail("GROUP_EXISTS", "%u: there is a group of that ID already", gid)
                              : fail("GROUP_EXISTS", "group %u has that address and port already", other);
    }
    if (query_end(&query) != 0) {
        result = EXIT_NAMED_ERROR;
    }
    if (result == 0) {
        result = insert_wish(registry, wish);
    }
    return end(registry, result);
}

static int group_wish(struct registry *registry, enum wish_kind kind, uint16_t gid, struct wish *wish)
{
    memset(wish, 0, sizeof *wish);
    wish->kind = kind;
    wish->gid = gid;
    return find_group(registry, gid);
}

/* Who was allowed in it is not allowed in a later group of that ID. */
int registry_remove_group(struct registry *registry, uint16_t gid, struct wish *wish)
{
    struct query query;
    int result = begin(registry);

    if (result != 0) {
        return result;
    }
    result = group_wish(registry, WISH_GROUP_REMOVE, gid, wish);
    if (result == 0) {
        query_start(&query, registry, "DELETE FROM allowed WHERE gid = ?");
        query_int(&query, 1, gid);
        result = query_run(&query);
    }
    if (result == 0) {
        result = insert_wish(registry, wish);
    }
    return end(registry, result);
}

int registry_renew_group(struct registry *registry, uint16_t gid, uint32_t above, struct wish *wish)
{
    int result = begin(registry);

    if (result != 0) {
        return result;
    }
    result = group_wish(registry, WISH_GROUP_RENEW, gid, wish);
    wish->above = above;
    if (result == 0) {
        result = insert_wish(registry, wish);
    }
    return end(registry, result);
}

/* ---- Access parameters ---- */

/* The registry's own prefix as a default; left alone if it has none. */
static int default_prefix(struct registry *registry, uint8_t prefix[8])
{
    struct query query;
    char text[ADDR_TEXT_BYTES] = "";
    int result;

    query_start(&query, registry, "SELECT value FROM settings WHERE name = 'prefix'");
    if (query_row(&query)) {
        snprintf(text, sizeof text, "%s", (const char *)sqlite3_column_text(query.statement, 0));
    }
    result = query_end(&query);
    if (result == 0 && text[0] != '\0' && !prefix_parse(text, prefix)) {
        result = fail("BAD_PREFIX", "the registry's prefix, %s, is no /64: say which with --prefix", text);
    }
    return result;
}

int registry_set_access(struct registry *registry, uint16_t pan, const uint8_t prefix[8], const struct iotsec_addr *addr,
                        struct wish *wish)
{
    int result = begin(registry);

    if (result != 0) {
        return result;
    }
    memset(wish, 0, sizeof *wish);
    wish->kind = WISH_ACCESS;
    wish->pan = pan;
    wish->addr = *addr;
    if (prefix != NULL) {
        memcpy(wish->prefix, prefix, sizeof wish->prefix);
    } else {
        result = default_prefix(registry, wish->prefix);
    }
    if (result == 0) {
        result = insert_wish(registry, wish);
    }
    return end(registry, result);
}

int registry_renew_l2(struct registry *registry, struct wish *wish)
{
    struct query query;
    bool found = false;
    int result = begin(registry);

    if (result != 0) {
        return result;
    }
    memset(wish, 0, sizeof *wish);
    wish->kind = WISH_L2_RENEW;
    query_start(&query, registry, "SELECT 1 FROM access UNION SELECT 1 FROM wanted WHERE kind = ?");
    query_int(&query, 1, WISH_ACCESS);
    found = query_row(&query);
    result = query_end(&query);
    if (result == 0 && !found) {
        result = fail("NO_ACCESS", "the domain has no access parameters, hence no L2 key: `iotsec manager access` gives it some");
    }
    if (result == 0) {
        result = insert_wish(registry, wish);
    }
    return end(registry, result);
}

/* ---- The polynomial ---- */

/* The degree of the last one that is wished for, else of the one there is. */
static int present_degree(struct registry *registry, uint8_t *degree)
{
    struct query query;

    query_start(&query, registry, "SELECT coalesce((SELECT device FROM wanted WHERE kind = ? ORDER BY id DESC LIMIT 1),"
                                  " (SELECT degree FROM poly), ?)");
    query_int(&query, 1, WISH_POLY_RENEW);
    query_int(&query, 2, POLY_DEGREE_DEFAULT);
    if (query_row(&query)) {
        *degree = (uint8_t)sqlite3_column_int64(query.statement, 0);
    }
    return query_end(&query);
}

int registry_renew_poly(struct registry *registry, unsigned degree, bool overlap, struct wish *wish)
{
    int result = begin(registry);

    if (result != 0) {
        return result;
    }
    memset(wish, 0, sizeof *wish);
    wish->kind = WISH_POLY_RENEW;
    wish->degree = (uint8_t)degree;
    wish->overlap = overlap;
    if (degree == 0) {
        result = present_degree(registry, &wish->degree);
    }
    if (result == 0) {
        result = insert_wish(registry, wish);
    }
    return end(registry, result);
}

static const char *yes_or_no(bool yes)
{
    return yes ? "yes" : "no";
}

static int list_poly(struct registry *registry, bool *found)
{
    struct query query;

    query_start(&query, registry, "SELECT generation, degree, length(coefficients), gentle, (SELECT count(*) FROM revoked), carried FROM poly");
    *found = query_row(&query);
    if (*found) {
        int64_t degree = sqlite3_column_int64(query.statement, 1);

        out_begin("poly");
        out_uint("generation", (uint64_t)sqlite3_column_int64(query.statement, 0));
        out_uint("degree", (uint64_t)degree);
        out_uint("bytes", (uint64_t)sqlite3_column_int64(query.statement, 2));
        out_uint("share-bytes", (uint64_t)(degree + 1) * IOTSEC_POLY_ELEMENT_BYTES);
        out_word("overlap", yes_or_no(sqlite3_column_int(query.statement, 3) != 0));
        out_uint("carried", (uint64_t)sqlite3_column_int64(query.statement, 5));
        out_uint("revoked", (uint64_t)sqlite3_column_int64(query.statement, 4));
        out_end();
    }
    return query_end(&query);
}

static int list_revoked(struct registry *registry)
{
    struct query query;

    query_start(&query, registry, "SELECT mark, (SELECT identity FROM device WHERE substr(point, 1, 8) = mark AND identity IS NOT NULL)"
                                  " FROM revoked ORDER BY number");
    while (query_row(&query)) {
        out_begin("revoked");
        out_octets("mark", sqlite3_column_blob(query.statement, 0), (size_t)sqlite3_column_bytes(query.statement, 0));
        if (sqlite3_column_type(query.statement, 1) != SQLITE_NULL) {
            out_bytes("id", sqlite3_column_blob(query.statement, 1), (size_t)sqlite3_column_bytes(query.statement, 1));
        }
        out_end();
    }
    return query_end(&query);
}

int registry_show_poly(struct registry *registry)
{
    int code = sqlite3_exec(registry->db, "BEGIN", NULL, NULL, NULL);
    int result = code == SQLITE_OK ? 0 : registry_fail(registry, code);
    bool found = false;

    result = result != 0 ? result : list_poly(registry, &found);
    if (result == 0 && !found) {
        result = fail("NO_POLYNOMIAL", "the domain has no polynomial, hence no pairwise keys: `iotsec manager poly renew` makes one");
    }
    result = result != 0 ? result : list_revoked(registry);
    return end(registry, result);
}

/* ---- Listing ---- */

static int list_registry(struct registry *registry)
{
    struct query query;
    pid_t server = registry_server(registry);

    out_begin("registry");
    out_word("path", registry->path);
    query_start(&query, registry, "SELECT name, value FROM settings ORDER BY name");
    while (query_row(&query)) {
        out_word((const char *)sqlite3_column_text(query.statement, 0), (const char *)sqlite3_column_text(query.statement, 1));
    }
    out_word("served", server != 0 ? "yes" : "no");
    out_end();
    return query_end(&query);
}

static void out_blob_addr(sqlite3_stmt *statement, int address_column, int port_column)
{
    struct iotsec_addr addr;
    char text[ADDR_TEXT_BYTES];
    const void *ip = sqlite3_column_blob(statement, address_column);

    memset(&addr, 0, sizeof addr);
    if (ip != NULL && sqlite3_column_bytes(statement, address_column) == (int)sizeof addr.ip) {
        memcpy(addr.ip, ip, sizeof addr.ip);
    }
    addr_format_ip(&addr, text);
    out_word("address", text);
    out_uint("port", (uint64_t)sqlite3_column_int64(statement, port_column));
}

/* `manager=... prefix=... pan=...` from three columns and a port. */
static void out_blob_access(sqlite3_stmt *statement, int address_column, int port_column, int prefix_column, int pan_column)
{
    struct iotsec_addr addr;
    char text[ADDR_TEXT_BYTES];
    const void *ip = sqlite3_column_blob(statement, address_column);
    const void *prefix = sqlite3_column_blob(statement, prefix_column);

    memset(&addr, 0, sizeof addr);
    if (ip != NULL && sqlite3_column_bytes(statement, address_column) == (int)sizeof addr.ip) {
        memcpy(addr.ip, ip, sizeof addr.ip);
    }
    addr.port = (uint16_t)sqlite3_column_int64(statement, port_column);
    out_addr("manager", &addr);
    if (prefix != NULL && sqlite3_column_bytes(statement, prefix_column) == 8) {
        prefix_format(prefix, text);
        out_word("prefix", text);
    }
    out_hex("pan", (uint32_t)sqlite3_column_int64(statement, pan_column));
}

static int list_access(struct registry *registry)
{
    struct query query;

    query_start(&query, registry, "SELECT address, port, prefix, pan, number, next_number FROM access");
    while (query_row(&query)) {
        int64_t number = sqlite3_column_int64(query.statement, 4);

        out_begin("access");
        out_blob_access(query.statement, 0, 1, 2, 3);
        out_uint("l2-number", (uint64_t)number);
        out_uint("l2-index", (uint64_t)(1 + (number - 1) % 255));
        if (sqlite3_column_int64(query.statement, 5) != 0) {
            out_uint("l2-next", (uint64_t)sqlite3_column_int64(query.statement, 5));
        }
        out_end();
    }
    return query_end(&query);
}

static int list_groups(struct registry *registry)
{
    struct query query;

    query_start(&query, registry,
                "SELECT gid, address, port, key_number, next_sender,"
                " (SELECT count(*) FROM member WHERE member.gid = grp.gid) FROM grp ORDER BY gid");
    while (query_row(&query)) {
        out_begin("group");
        out_uint("gid", (uint64_t)sqlite3_column_int64(query.statement, 0));
        out_blob_addr(query.statement, 1, 2);
        out_hex("key", (uint32_t)sqlite3_column_int64(query.statement, 3));
        out_uint("next-sender", (uint64_t)sqlite3_column_int64(query.statement, 4));
        out_uint("members", (uint64_t)sqlite3_column_int64(query.statement, 5));
        out_end();
    }
    return query_end(&query);
}

static int list_devices(struct registry *registry)
{
    struct query query;

    query_start(&query, registry,
                "SELECT number, identity, evicted,"
                " (SELECT group_concat(gid, ',') FROM (SELECT gid FROM allowed WHERE device = number ORDER BY gid))"
                " FROM device WHERE identity IS NOT NULL ORDER BY number");
    while (query_row(&query)) {
        const char *groups = (const char *)sqlite3_column_text(query.statement, 3);

        out_begin("device");
        out_bytes("id", sqlite3_column_blob(query.statement, 1), (size_t)sqlite3_column_bytes(query.statement, 1));
        out_uint("number", (uint64_t)sqlite3_column_int64(query.statement, 0));
        out_word("evicted", sqlite3_column_int(query.statement, 2) != 0 ? "yes" : "no");
        if (groups != NULL) {
            out_word("groups", groups);
        }
        out_end();
    }
    return query_end(&query);
}

static int list_members(struct registry *registry)
{
    struct query query;

    query_start(&query, registry,
                "SELECT member.gid, device.identity, member.sender, device.number FROM member"
                " JOIN device ON device.number = member.device ORDER BY member.gid, member.sender");
    while (query_row(&query)) {
        out_begin("member");
        out_uint("gid", (uint64_t)sqlite3_column_int64(query.statement, 0));
        if (sqlite3_column_type(query.statement, 1) != SQLITE_NULL) {
            out_bytes("id", sqlite3_column_blob(query.statement, 1), (size_t)sqlite3_column_bytes(query.statement, 1));
        } else {
            out_uint("device", (uint64_t)sqlite3_column_int64(query.statement, 3));
        }
        out_uint("sender", (uint64_t)sqlite3_column_int64(query.statement, 2));
        out_end();
    }
    return query_end(&query);
}

static int list_wishes(struct registry *registry)
{
    struct query query;

    query_start(&query, registry, "SELECT kind, gid, name, address, port, device FROM wanted ORDER BY id");
    while (query_row(&query)) {
        enum wish_kind kind = (enum wish_kind)sqlite3_column_int(query.statement, 0);

        out_begin("queued");
        out_word("what", wish_name(kind));
        if (kind == WISH_ACCESS) {
            out_blob_access(query.statement, 3, 4, 2, 5);
        } else if (kind == WISH_POLY_RENEW) {
            out_uint("degree", (uint64_t)sqlite3_column_int64(query.statement, 5));
            out_word("overlap", yes_or_no(sqlite3_column_int64(query.statement, 4) != 0));
        } else if (sqlite3_column_bytes(query.statement, 2) != 0) {
            out_bytes("id", sqlite3_column_blob(query.statement, 2), (size_t)sqlite3_column_bytes(query.statement, 2));
        }
        if (sqlite3_column_int64(query.statement, 1) != 0) {
            out_uint("gid", (uint64_t)sqlite3_column_int64(query.statement, 1));
        }
        if (kind == WISH_GROUP_ADD) {
            out_blob_addr(query.statement, 3, 4);
        }
        out_end();
    }
    return query_end(&query);
}

int registry_list(struct registry *registry)
{
    /* one transaction: what is printed fits together, also while a server works */
    int code = sqlite3_exec(registry->db, "BEGIN", NULL, NULL, NULL);
    int result = code == SQLITE_OK ? 0 : registry_fail(registry, code);
    bool found;

    result = result != 0 ? result : list_registry(registry);
    result = result != 0 ? result : list_access(registry);
    result = result != 0 ? result : list_poly(registry, &found);
    result = result != 0 ? result : list_groups(registry);
    result = result != 0 ? result : list_devices(registry);
    result = result != 0 ? result : list_members(registry);
    result = result != 0 ? result : list_wishes(registry);
    return end(registry, result);
}
