/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of the registry share: registry_sqlite.c (the server's), registry_poly.c (its polynomial) and
 * registry_admin.c (the commands'). */
#ifndef IOTSEC_POSIX_REGISTRY_INTERNAL_H
#define IOTSEC_POSIX_REGISTRY_INTERNAL_H

#include "registry.h"

/* Prints the error of a failed SQLite call under its name. */
int registry_fail(struct registry *registry, int code);
/* The name of a SQLite error. */
const char *registry_error_name(int code);
/* One of the kept statements, reset and without bindings; NULL if it cannot be prepared. */
sqlite3_stmt *registry_statement(struct registry *registry, enum registry_statement which);
/* Steps a statement that brings no row. True if it was done. */
bool registry_step(struct registry *registry, sqlite3_stmt *statement);
/* Remembers the error of the last SQLite call, which the library's functions cannot name; returns what they can. */
enum iotsec_status registry_note_problem(struct registry *registry);

void registry_bind_int(sqlite3_stmt *statement, int index, int64_t value);
void registry_bind_blob(sqlite3_stmt *statement, int index, const void *data, size_t len);
/* Bytes of a column, or NULL if there are not exactly `len`. */
const uint8_t *registry_column(sqlite3_stmt *statement, int index, size_t len);

/* ---- registry_poly.c ---- */

/* Parts of the schema: a table for the polynomial, one for who is revoked, and no two devices at one point. A device that is
 * being removed keeps its point, since its eviction needs it, while another one may have its identity already. */
extern const char registry_poly_schema[];
/* Layout 2 to layout 3. A SQLite code, or SQLITE_DONE: what is wrong was printed. */
int registry_poly_upgrade(struct registry *registry);
/* The point of an identity. 0, or what fail() returned. */
int registry_point_of(const void *identity, size_t len, uint8_t point[IOTSEC_POLY_ELEMENT_BYTES]);

/* Of struct iotsec_registry. */
enum iotsec_status registry_get_poly(void *user, struct iotsec_registry_poly *poly);
enum iotsec_status registry_put_poly(void *user, const struct iotsec_registry_poly *poly);
enum iotsec_status registry_put_coefficients(void *user, uint8_t row, uint8_t first, uint16_t count, const uint8_t *elements);
enum iotsec_status registry_get_coefficients(void *user, uint8_t row, uint8_t first, uint16_t count, uint8_t *elements);
enum iotsec_status registry_get_point(void *user, uint32_t device, uint8_t point[IOTSEC_POLY_ELEMENT_BYTES]);

#define DEVICE_POINT "point BLOB CHECK(point IS NULL OR (length(point) = 16 AND point <> zeroblob(16)))"

#endif
