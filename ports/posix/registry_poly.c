/* SPDX-License-Identifier: BSD-3-Clause */
/* The domain's polynomial in the registry, and the points that devices have in it. */
#include "registry_internal.h"

#include <string.h>

#include "output.h"
#include "port.h"

const char registry_poly_schema[] =
    "CREATE UNIQUE INDEX device_point ON device(point) WHERE identity IS NOT NULL;"
    "CREATE TABLE poly("
    " only_row INTEGER PRIMARY KEY CHECK(only_row = 1),"
    " generation INTEGER NOT NULL CHECK(generation BETWEEN 1 AND 4294967295),"
    " degree INTEGER NOT NULL CHECK(degree BETWEEN 1 AND 255),"
    " gentle INTEGER NOT NULL CHECK(gentle IN (0, 1)),"
    " carried INTEGER NOT NULL CHECK(carried BETWEEN 0 AND 32),"
    " coefficients BLOB NOT NULL CHECK(length(coefficients) = 8 * (degree + 1) * (degree + 2)));"
    "CREATE TABLE revoked("
    " number INTEGER PRIMARY KEY CHECK(number BETWEEN 0 AND 31),"
    " mark BLOB NOT NULL CHECK(length(mark) = 8));";

typedef char the_schema_holds_every_mark[IOTSEC_REVOKED_MAX == 32 && IOTSEC_REVOKED_BYTES == 8 ? 1 : -1];
typedef char the_schema_holds_every_coefficient[IOTSEC_POLY_ELEMENT_BYTES == 16 && IOTSEC_POLY_DEGREE_MAX == 255 ? 1 : -1];

typedef char the_wish_stands_in_the_upgrade[WISH_REMOVE == 2 ? 1 : -1];

/* ---- Points ---- */

int registry_point_of(const void *identity, size_t len, uint8_t point[IOTSEC_POLY_ELEMENT_BYTES])
{
    struct iotsec_hal hal;
    enum iotsec_status status;

    memset(&hal, 0, sizeof hal);
    hal.crypto = port_crypto();
    if (hal.crypto == NULL) {
        return fail("CRYPTO", "the crypto library cannot be started");
    }
    status = iotsec_polykey_point(&hal, identity, len, point);
    if (status == IOTSEC_ERR_ARGUMENT) {
        return fail("IDENTITY_COLLISION", "%.*s: pairwise keys cannot be made for this identity: choose another one", (int)len,
                    (const char *)identity);
    }
    return status == IOTSEC_OK ? 0 : fail_status(status, "computing a device's point");
}

/* A device that is being removed has its identity in the wish alone. One by one: rows that change are not walked along. */
static int add_points(struct registry *registry)
{
    static const char next[] =
        "SELECT number, coalesce(identity, (SELECT name FROM wanted WHERE wanted.device = device.number AND kind = 2))"
        " FROM device WHERE number > ? ORDER BY number LIMIT 1";
    sqlite3_stmt *find = NULL;
    sqlite3_stmt *put = NULL;
    int64_t number = 0;
    int code = sqlite3_prepare_v2(registry->db, next, -1, &find, NULL);

    if (code == SQLITE_OK) {
        code = sqlite3_prepare_v2(registry->db, "UPDATE device SET point = ? WHERE number = ?", -1, &put, NULL);
    }
    while (code == SQLITE_OK) {
        uint8_t point[IOTSEC_POLY_ELEMENT_BYTES];
        const void *identity;
        int len;

        registry_bind_int(find, 1, number);
        code = sqlite3_step(find);
        if (code != SQLITE_ROW) {
            code = code == SQLITE_DONE ? SQLITE_OK : code;
            break;
        }
        number = sqlite3_column_int64(find, 0);
        identity = sqlite3_column_blob(find, 1);
        len = sqlite3_column_bytes(find, 1);
        code = SQLITE_OK;
        if (len > 0) {
            if (registry_point_of(identity, (size_t)len, point) != 0) {
                code = SQLITE_DONE;
                break;
            }
            registry_bind_blob(put, 1, point, sizeof point);
            registry_bind_int(put, 2, number);
            code = sqlite3_step(put);
            code = code == SQLITE_DONE ? SQLITE_OK : code;
            sqlite3_reset(put);
        }
        sqlite3_reset(find);
    }
    sqlite3_finalize(find);
    sqlite3_finalize(put);
    return code;
}

int registry_poly_upgrade(struct registry *registry)
{
    int code = sqlite3_exec(registry->db, "ALTER TABLE device ADD COLUMN " DEVICE_POINT, NULL, NULL, NULL);

    if (code == SQLITE_OK) {
        code = add_points(registry);
    }
    if (code == SQLITE_OK) {
        code = sqlite3_exec(registry->db, registry_poly_schema, NULL, NULL, NULL);
    }
    return code;
}

enum iotsec_status registry_get_point(void *user, uint32_t device, uint8_t point[IOTSEC_POLY_ELEMENT_BYTES])
{
    struct registry *registry = user;
    sqlite3_stmt *statement = registry_statement(registry, ST_POINT);
    enum iotsec_status status = IOTSEC_ERR_NOT_FOUND;
    int code;

    registry_bind_int(statement, 1, device);
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        const uint8_t *found = registry_column(statement, 0, IOTSEC_POLY_ELEMENT_BYTES);

        if (found != NULL) {
            memcpy(point, found, IOTSEC_POLY_ELEMENT_BYTES);
            status = IOTSEC_OK;
        }
    } else if (code != SQLITE_DONE) {
        status = registry_note_problem(registry);
    }
    sqlite3_reset(statement);
    return status;
}

/* ---- The polynomial ---- */

static enum iotsec_status corrupt(struct registry *registry)
{
    registry->problem = "REGISTRY_CORRUPT";
    return IOTSEC_ERR_REGISTRY;
}

static enum iotsec_status read_poly(struct registry *registry, struct iotsec_registry_poly *poly)
{
    sqlite3_stmt *statement = registry_statement(registry, ST_POLY);
    enum iotsec_status status = IOTSEC_OK;
    int code = sqlite3_step(statement);

    memset(poly, 0, sizeof *poly);
    if (code == SQLITE_ROW) {
        poly->generation = (uint32_t)sqlite3_column_int64(statement, 0);
        poly->degree = (uint8_t)sqlite3_column_int64(statement, 1);
        poly->gentle = (uint8_t)sqlite3_column_int64(statement, 2);
        poly->carried = (uint8_t)sqlite3_column_int64(statement, 3);
    } else {
        status = code == SQLITE_DONE ? IOTSEC_ERR_NOT_FOUND : registry_note_problem(registry);
    }
    sqlite3_reset(statement);
    return status;
}

enum iotsec_status registry_get_poly(void *user, struct iotsec_registry_poly *poly)
{
    struct registry *registry = user;
    enum iotsec_status status = read_poly(registry, poly);
    sqlite3_stmt *statement;
    int code;

    if (status != IOTSEC_OK) {
        return status;
    }
    statement = registry_statement(registry, ST_REVOKED);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        const uint8_t *mark = registry_column(statement, 1, IOTSEC_REVOKED_BYTES);

        if (mark == NULL || poly->revoked_count == IOTSEC_REVOKED_MAX ||
            sqlite3_column_int64(statement, 0) != poly->revoked_count) {
            status = corrupt(registry);
            break;
        }
        memcpy(poly->revoked[poly->revoked_count++], mark, IOTSEC_REVOKED_BYTES);
    }
    if (status == IOTSEC_OK && code != SQLITE_DONE) {
        status = registry_note_problem(registry);
    }
    sqlite3_reset(statement);
    return status == IOTSEC_OK && poly->carried > poly->revoked_count ? corrupt(registry) : status;
}

static enum iotsec_status done(struct registry *registry, sqlite3_stmt *statement)
{
    return registry_step(registry, statement) ? IOTSEC_OK : registry_note_problem(registry);
}

/* The row itself. Written only where it changes: it is as long as its coefficients. */
static enum iotsec_status write_poly(struct registry *registry, const struct iotsec_registry_poly *poly)
{
    struct iotsec_registry_poly now;
    sqlite3_stmt *statement;
    enum iotsec_status status = read_poly(registry, &now);

    if (status == IOTSEC_OK && poly->generation <= now.generation) {
        if (poly->generation < now.generation || poly->degree != now.degree) {
            registry->problem = "REGISTRY_ERROR"; /* its coefficients would belong to another polynomial */
            return IOTSEC_ERR_REGISTRY;
        }
        if (poly->gentle == now.gentle && poly->carried == now.carried) {
            return IOTSEC_OK;
        }
        statement = registry_statement(registry, ST_POLY_OVERLAP);
        registry_bind_int(statement, 1, poly->gentle);
        registry_bind_int(statement, 2, poly->carried);
        return done(registry, statement);
    }
    if (status != IOTSEC_OK && status != IOTSEC_ERR_NOT_FOUND) {
        return status;
    }
    statement = registry_statement(registry, ST_PUT_POLY);
    registry_bind_int(statement, 1, poly->generation);
    registry_bind_int(statement, 2, poly->degree);
    registry_bind_int(statement, 3, poly->gentle);
    registry_bind_int(statement, 4, poly->carried);
    registry->leftovers = true;
    return done(registry, statement);
}

enum iotsec_status registry_put_poly(void *user, const struct iotsec_registry_poly *poly)
{
    struct registry *registry = user;
    enum iotsec_status status = write_poly(registry, poly);
    uint8_t i;

    if (status == IOTSEC_OK) {
        status = done(registry, registry_statement(registry, ST_CLEAR_REVOKED));
    }
    for (i = 0; status == IOTSEC_OK && i < poly->revoked_count; i++) {
        sqlite3_stmt *statement = registry_statement(registry, ST_PUT_REVOKED);

        registry_bind_int(statement, 1, i);
        registry_bind_blob(statement, 2, poly->revoked[i], IOTSEC_REVOKED_BYTES);
        status = done(registry, statement);
    }
    return status;
}

/* ---- Its coefficients ---- */

/* Where a[row][column], column <= row, stands. */
static int offset_of(unsigned row, unsigned column)
{
    return (int)((row * (row + 1) / 2 + column) * IOTSEC_POLY_ELEMENT_BYTES);
}

/* Not kept open: that would hold its view of the database for ever. */
static sqlite3_blob *open_coefficients(struct registry *registry, int write)
{
    sqlite3_blob *blob = NULL;

    if (sqlite3_blob_open(registry->db, "main", "poly", "coefficients", 1, write, &blob) != SQLITE_OK) {
        (void)registry_note_problem(registry);
        return NULL;
    }
    return blob;
}

/* SQLite refuses what lies outside. */
static enum iotsec_status close_coefficients(struct registry *registry, sqlite3_blob *blob, int code)
{
    if (code != SQLITE_OK) {
        registry->problem = registry_error_name(code);
        (void)sqlite3_blob_close(blob);
        return IOTSEC_ERR_REGISTRY;
    }
    return sqlite3_blob_close(blob) == SQLITE_OK ? IOTSEC_OK : registry_note_problem(registry);
}

enum iotsec_status registry_put_coefficients(void *user, uint8_t row, uint8_t first, uint16_t count, const uint8_t *elements)
{
    struct registry *registry = user;
    sqlite3_blob *blob;

    if (first + count > row + 1) {
        return IOTSEC_ERR_ARGUMENT;
    }
    blob = open_coefficients(registry, 1);
    if (blob == NULL) {
        return IOTSEC_ERR_REGISTRY;
    }
    return close_coefficients(registry, blob,
                              sqlite3_blob_write(blob, elements, count * (int)IOTSEC_POLY_ELEMENT_BYTES, offset_of(row, first)));
}

enum iotsec_status registry_get_coefficients(void *user, uint8_t row, uint8_t first, uint16_t count, uint8_t *elements)
{
    struct registry *registry = user;
    size_t len = (size_t)count * IOTSEC_POLY_ELEMENT_BYTES;
    unsigned end = (unsigned)first + count;
    unsigned column = first;
    enum iotsec_status status = IOTSEC_ERR_REGISTRY;
    sqlite3_blob *blob = open_coefficients(registry, 0);
    uint8_t *out = elements;
    int code = SQLITE_OK;

    if (blob != NULL) {
        if (column <= row) {
            /* in one piece, as far as the triangle goes; from there on down its column */
            unsigned here = (end <= row ? end : row + 1u) - column;

            code = sqlite3_blob_read(blob, out, (int)(here * IOTSEC_POLY_ELEMENT_BYTES), offset_of(row, column));
            out += here * IOTSEC_POLY_ELEMENT_BYTES;
            column += here;
        }
        for (; code == SQLITE_OK && column < end; column++) {
            code = sqlite3_blob_read(blob, out, IOTSEC_POLY_ELEMENT_BYTES, offset_of(column, row));
            out += IOTSEC_POLY_ELEMENT_BYTES;
        }
        status = close_coefficients(registry, blob, code);
    }
    if (status != IOTSEC_OK) {
        explicit_bzero(elements, len);
    }
    return status;
}
