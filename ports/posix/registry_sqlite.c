/* SPDX-License-Identifier: BSD-3-Clause */
#include "registry_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "addr.h"
#include "output.h"

#define APPLICATION_ID 0x696F7473 /* "iots" in the file's header */
#define SCHEMA_VERSION 3
#define SCHEMA_VERSION_2 2 /* without the tables poly and revoked, and without points */
#define SCHEMA_VERSION_1 1 /* without the table access, too */
#define BUSY_TIMEOUT_USE_MS 3000
#define BUSY_TIMEOUT_SERVE_MS 1000 /* meanwhile no datagram is answered */

#define CREATE_ACCESS                                                                      \
    "CREATE TABLE access("                                                                 \
    " only_row INTEGER PRIMARY KEY CHECK(only_row = 1),"                                   \
    " number INTEGER NOT NULL CHECK(number BETWEEN 1 AND 4294967295),"                     \
    " key BLOB NOT NULL CHECK(length(key) = 16),"                                          \
    " next_number INTEGER NOT NULL CHECK(next_number = 0 OR next_number BETWEEN number + 1 AND 4294967295)," \
    " next_key BLOB NOT NULL CHECK(length(next_key) = 16),"                                \
    " pan INTEGER NOT NULL CHECK(pan BETWEEN 0 AND 65535),"                                \
    " prefix BLOB NOT NULL CHECK(length(prefix) = 8),"                                     \
    " address BLOB NOT NULL CHECK(length(address) = 16),"                                  \
    " port INTEGER NOT NULL CHECK(port BETWEEN 1 AND 65535));"

/* Numbers of AUTOINCREMENT keys are never given out again: that is what keeps a removed device's number from
 * naming another one. The views and checks are the registry's own defence against a hand that edits it. */
static const char schema[] =
    "CREATE TABLE settings(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE device("
    " number INTEGER PRIMARY KEY AUTOINCREMENT CHECK(number BETWEEN 1 AND 4294967295),"
    " identity BLOB UNIQUE CHECK(identity IS NULL OR length(identity) BETWEEN 1 AND 255)," /* NULL: being removed */
    " psk BLOB NOT NULL CHECK(identity IS NULL OR length(psk) BETWEEN 16 AND 255),"
    " evicted INTEGER NOT NULL DEFAULT 0 CHECK(evicted IN (0, 1)),"
    " " DEVICE_POINT ");"
    "CREATE TABLE allowed("
    " device INTEGER NOT NULL REFERENCES device(number) ON DELETE CASCADE,"
    " gid INTEGER NOT NULL CHECK(gid BETWEEN 1 AND 65535),"
    " PRIMARY KEY(device, gid)) WITHOUT ROWID;"
    "CREATE TABLE grp("
    " gid INTEGER PRIMARY KEY CHECK(gid BETWEEN 1 AND 65535),"
    " address BLOB NOT NULL CHECK(length(address) = 16),"
    " port INTEGER NOT NULL CHECK(port BETWEEN 1 AND 65535),"
    " key_number INTEGER NOT NULL CHECK(key_number BETWEEN 1 AND 4294967295),"
    " next_sender INTEGER NOT NULL CHECK(next_sender BETWEEN 0 AND 65535),"
    " tgk BLOB NOT NULL CHECK(length(tgk) = 16),"
    " rand BLOB NOT NULL CHECK(length(rand) = 16),"
    " UNIQUE(address, port));"
    "CREATE TABLE retired(gid INTEGER PRIMARY KEY, key_number INTEGER NOT NULL);"
    "CREATE TABLE member("
    " device INTEGER NOT NULL REFERENCES device(number) ON DELETE CASCADE,"
    " gid INTEGER NOT NULL REFERENCES grp(gid) ON DELETE CASCADE,"
    " sender INTEGER NOT NULL CHECK(sender BETWEEN 0 AND 65535),"
    " PRIMARY KEY(device, gid)) WITHOUT ROWID;"
    "CREATE INDEX member_gid ON member(gid);"
    "CREATE TABLE wanted("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " kind INTEGER NOT NULL,"
    " device INTEGER NOT NULL DEFAULT 0,"
    " gid INTEGER NOT NULL DEFAULT 0,"
    " address BLOB,"
    " port INTEGER NOT NULL DEFAULT 0,"
    " name BLOB);"
    CREATE_ACCESS
    /* the groups there will be once every wish is carried out: 5 adds one, 6 removes one */
    "CREATE VIEW planned AS"
    " SELECT gid, address, port FROM grp WHERE gid NOT IN (SELECT gid FROM wanted WHERE kind = 6)"
    " UNION"
    " SELECT gid, address, port FROM wanted AS w WHERE kind = 5"
    "  AND NOT EXISTS (SELECT 1 FROM wanted AS r WHERE r.kind = 6 AND r.gid = w.gid AND r.id > w.id);";

typedef char wish_numbers_stand_in_the_schema[WISH_GROUP_ADD == 5 && WISH_GROUP_REMOVE == 6 ? 1 : -1];

static const char *const statements[ST_COUNT] = {
    [ST_BEGIN] = "BEGIN IMMEDIATE",
    [ST_COMMIT] = "COMMIT",
    [ST_ROLLBACK] = "ROLLBACK",
    [ST_PSK] = "SELECT number, psk FROM device WHERE identity = ?",
    [ST_AUTHORISED] = "SELECT evicted FROM device WHERE number = ? AND identity IS NOT NULL",
    [ST_ALLOWED] = "SELECT 1 FROM allowed WHERE device = ? AND gid = ?",
    [ST_GROUPS] = "SELECT gid, address, port, key_number, next_sender, tgk, rand FROM grp ORDER BY gid LIMIT -1 OFFSET ?",
    [ST_MEMBERS] = "SELECT device, gid, sender FROM member ORDER BY device, gid LIMIT -1 OFFSET ?",
    [ST_PUT_GROUP] = "INSERT INTO grp(gid, address, port, key_number, next_sender, tgk, rand) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)"
                     " ON CONFLICT(gid) DO UPDATE SET address = ?2, port = ?3, key_number = ?4, next_sender = ?5, tgk = ?6,"
                     " rand = ?7",
    [ST_RETIRE] = "INSERT INTO retired(gid, key_number) SELECT gid, key_number FROM grp WHERE gid = ?"
                  " ON CONFLICT(gid) DO UPDATE SET key_number = max(key_number, excluded.key_number)",
    [ST_DELETE_GROUP] = "DELETE FROM grp WHERE gid = ?",
    [ST_PUT_MEMBER] = "INSERT INTO member(device, gid, sender) VALUES(?1, ?2, ?3)"
                      " ON CONFLICT(device, gid) DO UPDATE SET sender = ?3",
    [ST_DELETE_MEMBER] = "DELETE FROM member WHERE device = ? AND gid = ?",
    [ST_PUT_EVICTED] = "UPDATE device SET evicted = 1 WHERE number = ?",
    [ST_DATA_VERSION] = "PRAGMA data_version",
    [ST_NEXT_WISH] = "SELECT id, kind, device, gid, address, port, name FROM wanted WHERE id > ? ORDER BY id LIMIT 1",
    [ST_DELETE_WISH] = "DELETE FROM wanted WHERE id = ?",
    [ST_FORGET_DEVICE] = "DELETE FROM device WHERE number = ?",
    [ST_READMIT] = "UPDATE device SET evicted = 0 WHERE number = ?",
    [ST_NAME] = "SELECT identity FROM device WHERE number = ?",
    [ST_RETIRED] = "SELECT key_number FROM retired WHERE gid = ?",
    [ST_ACCESS] = "SELECT number, key, next_number, next_key, pan, prefix, address, port FROM access",
    [ST_PUT_ACCESS] = "INSERT OR REPLACE INTO access(only_row, number, key, next_number, next_key, pan, prefix, address, port)"
                      " VALUES(1, ?, ?, ?, ?, ?, ?, ?, ?)",
    [ST_POLY] = "SELECT generation, degree, gentle, carried FROM poly",
    [ST_PUT_POLY] = "INSERT OR REPLACE INTO poly(only_row, generation, degree, gentle, carried, coefficients)"
                    " VALUES(1, ?1, ?2, ?3, ?4, zeroblob(8 * (?2 + 1) * (?2 + 2)))",
    [ST_POLY_OVERLAP] = "UPDATE poly SET gentle = ?, carried = ?",
    [ST_REVOKED] = "SELECT number, mark FROM revoked ORDER BY number",
    [ST_CLEAR_REVOKED] = "DELETE FROM revoked",
    [ST_PUT_REVOKED] = "INSERT INTO revoked(number, mark) VALUES(?, ?)",
    [ST_POINT] = "SELECT point FROM device WHERE number = ?",
};

const char *wish_name(enum wish_kind kind)
{
    switch (kind) {
    case WISH_EVICT:
        return "evict";
    case WISH_REMOVE:
        return "remove";
    case WISH_READMIT:
        return "readmit";
    case WISH_EXPEL:
        return "deny";
    case WISH_GROUP_ADD:
        return "group-add";
    case WISH_GROUP_REMOVE:
        return "group-remove";
    case WISH_GROUP_RENEW:
        return "group-renew";
    case WISH_ACCESS:
        return "access";
    case WISH_L2_RENEW:
        return "l2-renew";
    case WISH_POLY_RENEW:
        return "poly-renew";
    }
    return "unknown";
}

/* ---- Errors ---- */

const char *registry_error_name(int code)
{
    switch (code & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return "REGISTRY_BUSY";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return "REGISTRY_CORRUPT";
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return "REGISTRY_READ_ONLY";
    case SQLITE_FULL:
        return "REGISTRY_DISK_FULL";
    case SQLITE_CANTOPEN:
        return "REGISTRY_UNREADABLE";
    case SQLITE_NOMEM:
        return "MEMORY";
    default:
        return "REGISTRY_ERROR";
    }
}

int registry_fail(struct registry *registry, int code)
{
    static const struct {
        const char *name;
        const char *sentence;
    } sentences[] = {
        { "REGISTRY_BUSY", "another program holds it locked; nothing was changed" },
        { "REGISTRY_CORRUPT", "it is damaged, or no SQLite database; nothing was changed, restore a copy" },
        { "REGISTRY_READ_ONLY", "it cannot be written; nothing was changed" },
        { "REGISTRY_DISK_FULL", "the disk is full; nothing was changed" },
    };
    const char *name = registry_error_name(code);
    size_t i;

    for (i = 0; i < sizeof sentences / sizeof sentences[0]; i++) {
        if (strcmp(sentences[i].name, name) == 0) {
            return fail(name, "%s: %s", registry->path, sentences[i].sentence);
        }
    }
    return fail(name, "%s: %s", registry->path, registry->db != NULL ? sqlite3_errmsg(registry->db) : sqlite3_errstr(code));
}

enum iotsec_status registry_note_problem(struct registry *registry)
{
    registry->problem = registry_error_name(sqlite3_errcode(registry->db));
    return IOTSEC_ERR_REGISTRY;
}

/* ---- Statements ---- */

sqlite3_stmt *registry_statement(struct registry *registry, enum registry_statement which)
{
    sqlite3_stmt **slot = &registry->statements[which];

    if (*slot == NULL &&
        sqlite3_prepare_v3(registry->db, statements[which], -1, SQLITE_PREPARE_PERSISTENT, slot, NULL) != SQLITE_OK) {
        return NULL;
    }
    sqlite3_reset(*slot);
    sqlite3_clear_bindings(*slot);
    return *slot;
}

bool registry_step(struct registry *registry, sqlite3_stmt *statement)
{
    int code;

    (void)registry;
    if (statement == NULL) {
        return false;
    }
    code = sqlite3_step(statement);
    sqlite3_reset(statement);
    return code == SQLITE_DONE;
}

void registry_bind_int(sqlite3_stmt *statement, int index, int64_t value)
{
    if (statement != NULL) {
        sqlite3_bind_int64(statement, index, value);
    }
}

void registry_bind_blob(sqlite3_stmt *statement, int index, const void *data, size_t len)
{
    if (statement != NULL) {
        sqlite3_bind_blob(statement, index, data, (int)len, SQLITE_STATIC);
    }
}

const uint8_t *registry_column(sqlite3_stmt *statement, int index, size_t len)
{
    const uint8_t *data = sqlite3_column_blob(statement, index);

    return data != NULL && sqlite3_column_bytes(statement, index) == (int)len ? data : NULL;
}

/* ---- Creating and opening ---- */

static int run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static int read_number(sqlite3 *db, const char *sql, int64_t *value)
{
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

    if (code != SQLITE_OK) {
        return code;
    }
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        *value = sqlite3_column_int64(statement, 0);
        code = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return code;
}

/* The same for every connection: durable commits, no leftovers of deleted keys in the file. */
static int set_up_connection(sqlite3 *db, int busy_timeout_ms)
{
    int code;

    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, busy_timeout_ms);
    code = run(db, "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;"
                   "PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;");
    return code;
}

static int fill_new(sqlite3 *db, const char *prefix)
{
    sqlite3_stmt *statement;
    char header[96];
    int code = set_up_connection(db, BUSY_TIMEOUT_USE_MS);

    if (code == SQLITE_OK) {
        code = run(db, "PRAGMA journal_mode = WAL; BEGIN IMMEDIATE;");
    }
    if (code == SQLITE_OK) {
        code = run(db, schema);
    }
    if (code == SQLITE_OK) {
        code = run(db, registry_poly_schema);
    }
    snprintf(header, sizeof header, "PRAGMA application_id = %d; PRAGMA user_version = %d;", APPLICATION_ID, SCHEMA_VERSION);
    if (code == SQLITE_OK) {
        code = run(db, header);
    }
    if (code == SQLITE_OK && prefix != NULL) {
        code = sqlite3_prepare_v2(db, "INSERT INTO settings(name, value) VALUES('prefix', ?)", -1, &statement, NULL);
        if (code == SQLITE_OK) {
            sqlite3_bind_text(statement, 1, prefix, -1, SQLITE_STATIC);
            sqlite3_step(statement);
            code = sqlite3_finalize(statement);
        }
    }
    if (code == SQLITE_OK) {
        code = run(db, "COMMIT");
    }
    return code;
}

static void sync_directory_of(const char *path)
{
    char directory[PATH_MAX];
    char *slash;
    int fd;

    snprintf(directory, sizeof directory, "%s", path);
    slash = strrchr(directory, '/');
    if (slash == NULL) {
        snprintf(directory, sizeof directory, ".");
    } else {
        slash[slash == directory ? 1 : 0] = '\0';
    }
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

/* Made under another name and then linked: a registry is there whole or not at all. */
int registry_create(const char *path, const char *prefix)
{
    struct registry registry;
    char temporary[PATH_MAX];
    char leftover[PATH_MAX + 8];
    int result = 0;
    int code;
    int fd;

    memset(&registry, 0, sizeof registry);
    registry.path = (char *)(uintptr_t)path;
    if (snprintf(temporary, sizeof temporary, "%s.new-%ld", path, (long)getpid()) >= (int)sizeof temporary) {
        return fail("REGISTRY_UNREADABLE", "the path is too long");
    }
    if (access(path, F_OK) == 0) {
        return fail("REGISTRY_EXISTS", "%s: there is a file of that name already; it was left as it is", path);
    }
    fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return fail(errno == EACCES || errno == EROFS ? "REGISTRY_READ_ONLY" : "REGISTRY_UNREADABLE", "%s: cannot be made: %s",
                    path, strerror(errno));
    }
    close(fd);
    code = sqlite3_open_v2(temporary, &registry.db, SQLITE_OPEN_READWRITE, NULL);
    if (code == SQLITE_OK) {
        code = fill_new(registry.db, prefix);
    }
    if (code != SQLITE_OK) {
        result = registry_fail(&registry, code);
    }
    sqlite3_close(registry.db);
    if (result == 0 && link(temporary, path) != 0) {
        result = errno == EEXIST ? fail("REGISTRY_EXISTS", "%s: there is a file of that name already; it was left as it is", path)
                                 : fail("REGISTRY_UNREADABLE", "%s: cannot be made: %s", path, strerror(errno));
    }
    (void)unlink(temporary);
    snprintf(leftover, sizeof leftover, "%s-wal", temporary);
    (void)unlink(leftover);
    snprintf(leftover, sizeof leftover, "%s-shm", temporary);
    (void)unlink(leftover);
    sync_directory_of(path);
    return result;
}

static int take_lock(struct registry *registry, enum registry_access access_mode)
{
    struct flock lock;
    char name[PATH_MAX + 8];

    snprintf(name, sizeof name, "%s.lock", registry->path);
    registry->lock = open(name, O_RDWR | O_CLOEXEC | (access_mode == REGISTRY_SERVE ? O_CREAT : 0), 0600);
    if (registry->lock < 0) {
        if (access_mode != REGISTRY_SERVE) {
            return 0; /* never served */
        }
        return fail(errno == EACCES || errno == EROFS ? "REGISTRY_READ_ONLY" : "REGISTRY_UNREADABLE", "%s: %s", name,
                    strerror(errno));
    }
    if (access_mode != REGISTRY_SERVE) {
        return 0;
    }
    memset(&lock, 0, sizeof lock);
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    if (fcntl(registry->lock, F_SETLK, &lock) != 0) {
        if (errno == EACCES || errno == EAGAIN) {
            return fail("REGISTRY_LOCKED", "%s: another server has this registry (process %ld)", registry->path,
                        (long)registry_server(registry));
        }
        return fail("REGISTRY_ERROR", "%s: cannot be locked: %s", name, strerror(errno));
    }
    return 0;
}

pid_t registry_server(const struct registry *registry)
{
    struct flock lock;

    memset(&lock, 0, sizeof lock);
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    if (registry->lock < 0 || fcntl(registry->lock, F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) {
        return 0;
    }
    /* a process of another PID namespace shows as 0 */
    return lock.l_pid > 0 ? lock.l_pid : -1;
}

static int check_file(struct registry *registry)
{
    struct stat about;
    char directory[PATH_MAX];

    if (stat(registry->path, &about) != 0) {
        return fail("REGISTRY_UNREADABLE", "%s: %s", registry->path, strerror(errno));
    }
    if (!S_ISREG(about.st_mode)) {
        return fail("REGISTRY_UNREADABLE", "%s: this is no file", registry->path);
    }
    registry->volume = about.st_dev;
    registry->inode = about.st_ino;
    if (access(registry->path, R_OK) != 0) {
        return fail("REGISTRY_UNREADABLE", "%s: %s", registry->path, strerror(errno));
    }
    if ((about.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return fail("REGISTRY_MODE", "%s: it holds keys, and others than its owner may use it (mode %03o): chmod 600 it",
                    registry->path, (unsigned)about.st_mode & 0777u);
    }
    snprintf(directory, sizeof directory, "%s", registry->path);
    *strrchr(directory, '/') = '\0'; /* the path is canonical: it has one */
    if (access(registry->path, W_OK) != 0 || access(directory[0] != '\0' ? directory : "/", W_OK | X_OK) != 0) {
        return fail("REGISTRY_READ_ONLY", "%s: the file or its directory cannot be written; nothing was changed",
                    registry->path);
    }
    return 0;
}

static int lock_server(struct registry *registry, short type)
{
    struct flock lock;

    memset(&lock, 0, sizeof lock);
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    return fcntl(registry->lock, F_SETLK, &lock);
}

/* From an earlier layout. A server of that layout would take wishes that it does not know for done. */
static int upgrade(struct registry *registry, enum registry_access access_mode)
{
    int64_t version = 0;
    int result = 0;
    int code;

    if (access_mode != REGISTRY_SERVE) {
        if (registry->lock < 0) {
            result = take_lock(registry, REGISTRY_SERVE);
        } else if (lock_server(registry, F_WRLCK) != 0) {
            result = fail("REGISTRY_SCHEMA", "%s: an older program serves it; end that one first", registry->path);
        }
    }
    if (result != 0) {
        return result;
    }
    code = run(registry->db, "BEGIN IMMEDIATE");
    if (code == SQLITE_OK) {
        /* another process may have been faster */
        code = read_number(registry->db, "PRAGMA user_version", &version);
    }
    if (code == SQLITE_OK && version == SCHEMA_VERSION_1) {
        code = run(registry->db, CREATE_ACCESS);
    }
    if (code == SQLITE_OK && version < SCHEMA_VERSION) {
        char header[48];

        snprintf(header, sizeof header, "PRAGMA user_version = %d;", SCHEMA_VERSION);
        code = registry_poly_upgrade(registry);
        if (code == SQLITE_OK) {
            code = run(registry->db, header);
        }
    }
    if (code == SQLITE_OK) {
        code = run(registry->db, "COMMIT");
    }
    if (code != SQLITE_OK) {
        result = code == SQLITE_DONE ? EXIT_NAMED_ERROR : registry_fail(registry, code);
        if (sqlite3_get_autocommit(registry->db) == 0) {
            (void)run(registry->db, "ROLLBACK");
        }
    }
    if (access_mode != REGISTRY_SERVE) {
        (void)lock_server(registry, F_UNLCK);
    }
    return result;
}

static int check_content(struct registry *registry, enum registry_access access_mode)
{
    sqlite3_stmt *statement;
    int64_t application = 0;
    int64_t version = 0;
    bool whole = false;
    int code = read_number(registry->db, "PRAGMA application_id", &application);

    if (code == SQLITE_OK) {
        code = read_number(registry->db, "PRAGMA user_version", &version);
    }
    if (code != SQLITE_OK) {
        return registry_fail(registry, code);
    }
    if (application != APPLICATION_ID) {
        return fail("REGISTRY_SCHEMA", "%s: this is a database, but no registry of iotsec", registry->path);
    }
    if (version < SCHEMA_VERSION_1 || version > SCHEMA_VERSION) {
        return fail("REGISTRY_SCHEMA", "%s: its layout is number %lld and this program knows number %d", registry->path,
                    (long long)version, SCHEMA_VERSION);
    }
    code = sqlite3_prepare_v2(registry->db, "PRAGMA quick_check(1)", -1, &statement, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement);
        whole = code == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(statement, 0), "ok") == 0;
        sqlite3_finalize(statement);
    }
    if (code == SQLITE_ROW) {
        code = whole ? SQLITE_OK : SQLITE_CORRUPT;
    }
    if (code != SQLITE_OK) {
        return registry_fail(registry, code);
    }
    return version < SCHEMA_VERSION ? upgrade(registry, access_mode) : 0;
}

int registry_open(struct registry *registry, const char *path, enum registry_access access_mode)
{
    int result;
    int code;

    memset(registry, 0, sizeof *registry);
    registry->lock = -1;
    registry->leftovers = access_mode == REGISTRY_SERVE; /* of a server that was killed */
    registry->path = realpath(path, NULL);
    if (registry->path == NULL) {
        if (errno == ENOENT) {
            return fail("REGISTRY_MISSING", "%s: there is no such file; `iotsec manager init %s` makes it", path, path);
        }
        return fail("REGISTRY_UNREADABLE", "%s: %s", path, strerror(errno));
    }
    result = check_file(registry);
    if (result == 0) {
        /* before the database is opened: closing any descriptor of a file gives up its locks */
        result = take_lock(registry, access_mode);
    }
    if (result == 0) {
        code = sqlite3_open_v2(registry->path, &registry->db, SQLITE_OPEN_READWRITE, NULL);
        if (code == SQLITE_OK) {
            code = set_up_connection(registry->db,
                                     access_mode == REGISTRY_SERVE ? BUSY_TIMEOUT_SERVE_MS : BUSY_TIMEOUT_USE_MS);
        }
        if (code != SQLITE_OK) {
            result = registry_fail(registry, code);
        } else if (sqlite3_db_readonly(registry->db, "main") != 0) {
            result = registry_fail(registry, SQLITE_READONLY);
        } else {
            result = check_content(registry, access_mode);
        }
    }
    if (result != 0) {
        registry_close(registry);
    }
    return result;
}

void registry_close(struct registry *registry)
{
    size_t i;

    for (i = 0; i < ST_COUNT; i++) {
        sqlite3_finalize(registry->statements[i]);
        registry->statements[i] = NULL;
    }
    sqlite3_close(registry->db);
    registry->db = NULL;
    if (registry->lock >= 0) {
        close(registry->lock);
        registry->lock = -1;
    }
    free(registry->path);
    registry->path = NULL;
}

/* ---- What the library asks ---- */

static enum iotsec_status find_psk(void *user, iotsec_dtls_handle handshake, const uint8_t *identity, size_t len,
                                   struct iotsec_dtls_psk *psk)
{
    struct registry *registry = user;
    sqlite3_stmt *statement = registry_statement(registry, ST_PSK);
    enum iotsec_status status = IOTSEC_ERR_UNKNOWN_IDENTITY;
    int code;

    (void)handshake;
    registry_bind_blob(statement, 1, identity, len);
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        int64_t number = sqlite3_column_int64(statement, 0);
        const void *key = sqlite3_column_blob(statement, 1);
        int key_len = sqlite3_column_bytes(statement, 1);

        if (number < 1 || number > UINT32_MAX || key == NULL || key_len < PSK_MIN_BYTES || key_len > IOTSEC_PSK_MAX) {
            registry->problem = "REGISTRY_CORRUPT";
            status = IOTSEC_ERR_REGISTRY;
        } else {
            memcpy(psk->key, key, (size_t)key_len);
            psk->len = (size_t)key_len;
            psk->peer = (uint32_t)number;
            status = IOTSEC_OK;
        }
    } else if (code != SQLITE_DONE) {
        status = registry_note_problem(registry);
    }
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return status;
}

static enum iotsec_status is_authorised(void *user, uint32_t device)
{
    struct registry *registry = user;
    sqlite3_stmt *statement = registry_statement(registry, ST_AUTHORISED);
    enum iotsec_status status = IOTSEC_ERR_NOT_AUTHORISED;
    int code;

    registry_bind_int(statement, 1, device);
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        status = sqlite3_column_int(statement, 0) == 0 ? IOTSEC_OK : IOTSEC_ERR_NOT_AUTHORISED;
    } else if (code != SQLITE_DONE) {
        status = registry_note_problem(registry);
    }
    sqlite3_reset(statement);
    return status;
}

static enum iotsec_status is_group_allowed(void *user, uint32_t device, uint16_t group_id)
{
    struct registry *registry = user;
    sqlite3_stmt *statement = registry_statement(registry, ST_ALLOWED);
    enum iotsec_status status = IOTSEC_ERR_GROUP_REFUSED;
    int code;

    registry_bind_int(statement, 1, device);
    registry_bind_int(statement, 2, group_id);
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        status = IOTSEC_OK;
    } else if (code != SQLITE_DONE) {
        status = registry_note_problem(registry);
    }
    sqlite3_reset(statement);
    return status;
}

/* Steps to row `index` of a statement that takes an offset; goes on where the last call stopped. */
static int step_to(struct registry *registry, enum registry_statement which, unsigned *cursor, uint32_t index,
                   sqlite3_stmt **statement)
{
    int code;

    if (index == 0 || index != *cursor || registry->statements[which] == NULL) {
        *statement = registry_statement(registry, which);
        registry_bind_int(*statement, 1, index);
    } else {
        *statement = registry->statements[which];
    }
    code = sqlite3_step(*statement);
    *cursor = index + 1;
    if (code != SQLITE_ROW) {
        /* an open statement would hold its view of the database for ever */
        sqlite3_reset(*statement);
        *cursor = 0;
    }
    return code;
}

static enum iotsec_status get_group(void *user, uint32_t index, struct iotsec_registry_group *group)
{
    struct registry *registry = user;
    sqlite3_stmt *statement;
    const uint8_t *address;
    const uint8_t *tgk;
    const uint8_t *rand;
    int code = step_to(registry, ST_GROUPS, &registry->cursor_group, index, &statement);

    if (code == SQLITE_DONE) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    if (code != SQLITE_ROW) {
        return registry_note_problem(registry);
    }
    address = registry_column(statement, 1, sizeof group->addr.ip);
    tgk = registry_column(statement, 5, sizeof group->tgk);
    rand = registry_column(statement, 6, sizeof group->rand);
    if (address == NULL || tgk == NULL || rand == NULL) {
        sqlite3_reset(statement);
        registry->cursor_group = 0;
        registry->problem = "REGISTRY_CORRUPT";
        return IOTSEC_ERR_REGISTRY;
    }
    memset(group, 0, sizeof *group);
    group->group_id = (uint16_t)sqlite3_column_int64(statement, 0);
    memcpy(group->addr.ip, address, sizeof group->addr.ip);
    group->addr.port = (uint16_t)sqlite3_column_int64(statement, 2);
    group->key_number = (uint32_t)sqlite3_column_int64(statement, 3);
    group->next_sender = (uint16_t)sqlite3_column_int64(statement, 4);
    memcpy(group->tgk, tgk, sizeof group->tgk);
    memcpy(group->rand, rand, sizeof group->rand);
    return IOTSEC_OK;
}

static enum iotsec_status get_member(void *user, uint32_t index, struct iotsec_registry_member *member)
{
    struct registry *registry = user;
    sqlite3_stmt *statement;
    int code = step_to(registry, ST_MEMBERS, &registry->cursor_member, index, &statement);

    if (code == SQLITE_DONE) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    if (code != SQLITE_ROW) {
        return registry_note_problem(registry);
    }
    member->device = (uint32_t)sqlite3_column_int64(statement, 0);
    member->group_id = (uint16_t)sqlite3_column_int64(statement, 1);
    member->sender_id = (uint16_t)sqlite3_column_int64(statement, 2);
    return IOTSEC_OK;
}

static enum iotsec_status finish(struct registry *registry, sqlite3_stmt *statement)
{
    return registry_step(registry, statement) ? IOTSEC_OK : registry_note_problem(registry);
}

static enum iotsec_status begin(void *user)
{
    struct registry *registry = user;

    return finish(registry, registry_statement(registry, ST_BEGIN));
}

static enum iotsec_status put_group(void *user, const struct iotsec_registry_group *group)
{
    struct registry *registry = user;
    sqlite3_stmt *statement = registry_statement(registry, ST_PUT_GROUP);
    enum iotsec_status status;

    registry_bind_int(statement, 1, group->group_id);
    registry_bind_blob(statement, 2, group->addr.ip, sizeof group->addr.ip);
    registry_bind_int(statement, 3, group->addr.port);
    registry_bind_int(statement, 4, group->key_number);
    registry_bind_int(statement, 5, group->next_sender);
    registry_bind_blob(statement, 6, group->tgk, sizeof group->tgk);
    registry_bind_blob(statement, 7, group->rand, sizeof group->rand);
    status = finish(registry, statement);
    sqlite3_clear_bindings(statement);
    return status;
}

static enum iotsec_status delete_group(void *user, uint16_t group_id)
{
    struct registry *registry = user;
    sqlite3_stmt *statement = registry_statement(registry, ST_RETIRE);
    enum iotsec_status status;

    registry_bind_int(statement, 1, group_id);
    status = finish(registry, statement);
    if (status == IOTSEC_OK) {
        statement = registry_statement(registry, ST_DELETE_GROUP);
        registry_bind_int(statement, 1, group_id);
        status = finish(registry, statement);
    }
    return status;
}

static enum iotsec_status put_member(void *user, const struct iotsec_registry_member *member)
{
    struct registry *registry = user;
    sqlite3_stmt *statement = registry_statement(registry, ST_PUT_MEMBER);

    registry_bind_int(statement, 1, member->device);
    registry_bind_int(statement, 2, member->group_id);
    registry_bind_int(statement, 3, member->sender_id);
    return finish(registry, statement);
}

static enum iotsec_status delete_member(void *user, uint32_t device, uint16_t group_id)
{
    struct registry *registry = user;
    sqlite3_stmt *statement = registry_statement(registry, ST_DELETE_MEMBER);

    registry_bind_int(statement, 1, device);
    registry_bind_int(statement, 2, group_id);
    registry->leftovers = true; /* its group gets another key */
    return finish(registry, statement);
}

static enum iotsec_status put_evicted(void *user, uint32_t device)
{
    struct registry *registry = user;
    sqlite3_stmt *statement = registry_statement(registry, ST_PUT_EVICTED);

    registry_bind_int(statement, 1, device);
    return finish(registry, statement);
}

static enum iotsec_status get_access(void *user, struct iotsec_registry_access *found)
{
    struct registry *registry = user;
    sqlite3_stmt *statement = registry_statement(registry, ST_ACCESS);
    enum iotsec_status status = IOTSEC_OK;
    const uint8_t *key;
    const uint8_t *next_key;
    const uint8_t *prefix;
    const uint8_t *address;
    int code = sqlite3_step(statement);

    if (code != SQLITE_ROW) {
        status = code == SQLITE_DONE ? IOTSEC_ERR_NOT_FOUND : registry_note_problem(registry);
        sqlite3_reset(statement);
        return status;
    }
    memset(found, 0, sizeof *found);
    key = registry_column(statement, 1, sizeof found->key);
    next_key = registry_column(statement, 3, sizeof found->next_key);
    prefix = registry_column(statement, 5, sizeof found->prefix);
    address = registry_column(statement, 6, sizeof found->manager.ip);
    if (key == NULL || next_key == NULL || prefix == NULL || address == NULL) {
        registry->problem = "REGISTRY_CORRUPT";
        status = IOTSEC_ERR_REGISTRY;
    } else {
        found->number = (uint32_t)sqlite3_column_int64(statement, 0);
        memcpy(found->key, key, sizeof found->key);
        found->next_number = (uint32_t)sqlite3_column_int64(statement, 2);
        memcpy(found->next_key, next_key, sizeof found->next_key);
        found->pan_id = (uint16_t)sqlite3_column_int64(statement, 4);
        memcpy(found->prefix, prefix, sizeof found->prefix);
        memcpy(found->manager.ip, address, sizeof found->manager.ip);
        found->manager.port = (uint16_t)sqlite3_column_int64(statement, 7);
    }
    sqlite3_reset(statement);
    return status;
}

static enum iotsec_status put_access(void *user, const struct iotsec_registry_access *value)
{
    struct registry *registry = user;
    sqlite3_stmt *statement = registry_statement(registry, ST_PUT_ACCESS);
    enum iotsec_status status;

    registry_bind_int(statement, 1, value->number);
    registry_bind_blob(statement, 2, value->key, sizeof value->key);
    registry_bind_int(statement, 3, value->next_number);
    registry_bind_blob(statement, 4, value->next_key, sizeof value->next_key);
    registry_bind_int(statement, 5, value->pan_id);
    registry_bind_blob(statement, 6, value->prefix, sizeof value->prefix);
    registry_bind_blob(statement, 7, value->manager.ip, sizeof value->manager.ip);
    registry_bind_int(statement, 8, value->manager.port);
    status = finish(registry, statement);
    sqlite3_clear_bindings(statement);
    return status;
}

static void abort_transaction(void *user)
{
    struct registry *registry = user;

    if (sqlite3_get_autocommit(registry->db) == 0) {
        (void)registry_step(registry, registry_statement(registry, ST_ROLLBACK));
    }
}

/* Inside a transaction: the wish is gone, and what it does beyond the library's part is done. */
static enum iotsec_status fulfil(struct registry *registry, const struct wish *wish)
{
    sqlite3_stmt *statement = NULL;
    enum iotsec_status status = IOTSEC_OK;

    registry->leftovers = true;
    if (wish->kind == WISH_REMOVE || wish->kind == WISH_READMIT) {
        statement = registry_statement(registry, wish->kind == WISH_REMOVE ? ST_FORGET_DEVICE : ST_READMIT);
        registry_bind_int(statement, 1, wish->device);
        status = finish(registry, statement);
    }
    if (status == IOTSEC_OK) {
        statement = registry_statement(registry, ST_DELETE_WISH);
        registry_bind_int(statement, 1, wish->id);
        status = finish(registry, statement);
    }
    return status;
}

static void crash_here(const struct registry *registry, bool after)
{
    if (registry->crash_commit != 0 && registry->crash_commit == registry->commits && registry->crash_after == after) {
        (void)raise(SIGKILL);
    }
}

static enum iotsec_status commit(void *user)
{
    struct registry *registry = user;
    enum iotsec_status status = IOTSEC_OK;

    if (registry->wish != NULL) {
        status = fulfil(registry, registry->wish);
    }
    if (status == IOTSEC_OK) {
        registry->commits++;
        crash_here(registry, false);
        status = finish(registry, registry_statement(registry, ST_COMMIT));
        if (status == IOTSEC_OK) {
            crash_here(registry, true);
        }
    }
    if (status != IOTSEC_OK) {
        abort_transaction(registry);
    }
    return status;
}

const struct iotsec_registry registry_functions = {
    .psk = find_psk,
    .authorised = is_authorised,
    .group_allowed = is_group_allowed,
    .group_at = get_group,
    .member_at = get_member,
    .begin = begin,
    .put_group = put_group,
    .delete_group = delete_group,
    .put_member = put_member,
    .delete_member = delete_member,
    .put_evicted = put_evicted,
    .commit = commit,
    .abort = abort_transaction,
    .access = get_access,
    .put_access = put_access,
    .poly = registry_get_poly,
    .put_poly = registry_put_poly,
    .put_coefficients = registry_put_coefficients,
    .coefficients = registry_get_coefficients,
    .point = registry_get_point,
};

/* ---- What the server asks ---- */

int registry_changed(struct registry *registry)
{
    sqlite3_stmt *statement = registry_statement(registry, ST_DATA_VERSION);
    struct stat about;
    int changed = -1;

    /* what is written to a file that nobody can open again is not durable */
    if (stat(registry->path, &about) != 0 || about.st_dev != registry->volume || about.st_ino != registry->inode) {
        registry->problem = "REGISTRY_MISSING";
        return -1;
    }
    if (sqlite3_step(statement) == SQLITE_ROW) {
        int64_t version = sqlite3_column_int64(statement, 0);

        changed = version != registry->data_version;
        registry->data_version = version;
    } else {
        (void)registry_note_problem(registry);
    }
    sqlite3_reset(statement);
    return changed;
}

int registry_next_wish(struct registry *registry, int64_t after, struct wish *wish)
{
    sqlite3_stmt *statement = registry_statement(registry, ST_NEXT_WISH);
    const uint8_t *address;
    int name_len;
    int code;

    registry_bind_int(statement, 1, after);
    code = sqlite3_step(statement);
    if (code != SQLITE_ROW) {
        if (code != SQLITE_DONE) {
            (void)registry_note_problem(registry);
        }
        sqlite3_reset(statement);
        return code == SQLITE_DONE ? 0 : -1;
    }
    memset(wish, 0, sizeof *wish);
    wish->id = sqlite3_column_int64(statement, 0);
    wish->kind = (enum wish_kind)sqlite3_column_int(statement, 1);
    if (wish->kind == WISH_GROUP_RENEW) {
        wish->above = (uint32_t)sqlite3_column_int64(statement, 2);
    } else if (wish->kind == WISH_ACCESS) {
        const uint8_t *prefix = registry_column(statement, 6, sizeof wish->prefix);

        wish->pan = (uint16_t)sqlite3_column_int64(statement, 2);
        if (prefix != NULL) {
            memcpy(wish->prefix, prefix, sizeof wish->prefix);
        }
    } else if (wish->kind == WISH_POLY_RENEW) {
        wish->degree = (uint8_t)sqlite3_column_int64(statement, 2);
        wish->overlap = sqlite3_column_int64(statement, 5) != 0;
    } else {
        wish->device = (uint32_t)sqlite3_column_int64(statement, 2);
    }
    wish->gid = (uint16_t)sqlite3_column_int64(statement, 3);
    address = registry_column(statement, 4, sizeof wish->addr.ip);
    if (address != NULL) {
        memcpy(wish->addr.ip, address, sizeof wish->addr.ip);
    }
    wish->addr.port = wish->kind != WISH_POLY_RENEW ? (uint16_t)sqlite3_column_int64(statement, 5) : 0;
    name_len = sqlite3_column_bytes(statement, 6);
    if (wish->kind != WISH_ACCESS && name_len > 0 && name_len <= (int)sizeof wish->name) {
        memcpy(wish->name, sqlite3_column_blob(statement, 6), (size_t)name_len);
        wish->name_len = (size_t)name_len;
    }
    sqlite3_reset(statement);
    return 1;
}

int registry_settle(struct registry *registry, const struct wish *wish)
{
    enum iotsec_status status;

    registry->wish = NULL;
    if (!registry_waits(registry, wish)) {
        return 0;
    }
    status = begin(registry);
    if (status != IOTSEC_OK) {
        return -1;
    }
    registry->wish = wish;
    status = commit(registry);
    registry->wish = NULL;
    return status == IOTSEC_OK ? 0 : -1;
}

void registry_clean(struct registry *registry)
{
    if (!registry->leftovers) {
        return;
    }
    sqlite3_busy_timeout(registry->db, 0); /* devices are not kept waiting for whoever reads */
    registry->leftovers = sqlite3_wal_checkpoint_v2(registry->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) != SQLITE_OK;
    sqlite3_busy_timeout(registry->db, BUSY_TIMEOUT_SERVE_MS);
}

uint32_t registry_retired(struct registry *registry, uint16_t gid)
{
    sqlite3_stmt *statement = registry_statement(registry, ST_RETIRED);
    uint32_t key_number = 0;

    registry_bind_int(statement, 1, gid);
    if (sqlite3_step(statement) == SQLITE_ROW) {
        key_number = (uint32_t)sqlite3_column_int64(statement, 0);
    }
    sqlite3_reset(statement);
    return key_number;
}

size_t registry_name(struct registry *registry, uint32_t device, char name[IOTSEC_IDENTITY_MAX])
{
    sqlite3_stmt *statement = registry_statement(registry, ST_NAME);
    size_t len = 0;

    registry_bind_int(statement, 1, device);
    if (sqlite3_step(statement) == SQLITE_ROW) {
        const void *identity = sqlite3_column_blob(statement, 0);
        int bytes = sqlite3_column_bytes(statement, 0);

        if (identity != NULL && bytes <= IOTSEC_IDENTITY_MAX) {
            len = (size_t)bytes;
            memcpy(name, identity, len);
        }
    }
    sqlite3_reset(statement);
    return len;
}

int registry_counts(struct registry *registry, unsigned *devices, unsigned *groups, unsigned *members)
{
    int64_t counts[3] = { 0, 0, 0 };
    int code = read_number(registry->db, "SELECT count(*) FROM device", &counts[0]);

    if (code == SQLITE_OK) {
        code = read_number(registry->db, "SELECT count(*) FROM planned", &counts[1]);
    }
    if (code == SQLITE_OK) {
        code = read_number(registry->db, "SELECT count(*) FROM member", &counts[2]);
    }
    if (code != SQLITE_OK) {
        return registry_fail(registry, code);
    }
    *devices = (unsigned)counts[0];
    *groups = (unsigned)counts[1];
    *members = (unsigned)counts[2];
    return 0;
}

bool registry_waits(struct registry *registry, const struct wish *wish)
{
    struct wish next;
    int found = registry_next_wish(registry, wish->id - 1, &next);

    /* as long as nobody can tell, nothing has happened */
    return found < 0 || (found == 1 && next.id == wish->id);
}
