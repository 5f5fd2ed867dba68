/* SPDX-License-Identifier: BSD-3-Clause */
/* What the two halves of the registry share: registry_sqlite.c (the server's) and registry_admin.c (the commands'). */
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

#endif
