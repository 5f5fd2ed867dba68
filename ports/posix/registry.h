/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The domain manager's registry in SQLite: who may join with which key, and what must never be
 * forgotten (key numbers, sender IDs, memberships).
 *
 * One process serves a registry, held by a lock on DB.lock. It alone writes groups and members. Other
 * processes only write down what they want (table `wanted`) and who may join; the server carries the
 * wishes out, each in the transaction that fulfils it.
 *
 *   settings   name, value
 *   device     number (never used twice), identity, psk, evicted, point (what its identity stands for in the polynomial)
 *   allowed    device, gid: which groups it may be in
 *   grp        gid, address, port, key_number, next_sender, tgk, rand
 *   retired    gid, key_number: where a removed group had got to; one of that ID starts above it
 *   member     device, gid, sender
 *   access     number, key, next_number, next_key, pan, prefix, address, port: one row, or none
 *   poly       generation, degree, gentle, carried, coefficients: one row, or none. Of the symmetric matrix the lower triangle, row by row
 *   revoked    number, mark: who was evicted since that polynomial was made, and before them those that were carried over
 *   wanted     id, kind, device, gid, address, port, name: oldest first
 *
 * Functions that return int print what went wrong: 0, or what fail() returned.
 */
#ifndef IOTSEC_POSIX_REGISTRY_H
#define IOTSEC_POSIX_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <sqlite3.h>

#include <iotsec/manager.h>

#include "secret.h"

#define POLY_DEGREE_DEFAULT 31 /* so many captured devices learn nothing of others' keys; a share has 512 bytes */

enum registry_access {
    REGISTRY_USE,  /* read it, or write wishes down */
    REGISTRY_SERVE /* be its one server */
};

/* What another process wants done. The numbers stand in the database. */
enum wish_kind {
    WISH_EVICT = 1,   /* device */
    WISH_REMOVE,      /* device: evict it, then forget it */
    WISH_READMIT,     /* device */
    WISH_EXPEL,       /* device, gid */
    WISH_GROUP_ADD,   /* gid, addr */
    WISH_GROUP_REMOVE, /* gid */
    WISH_GROUP_RENEW, /* gid, above (in the database where the others have their device) */
    WISH_ACCESS,      /* pan (where the others have their device), prefix (where they have their name), addr */
    WISH_L2_RENEW,
    WISH_POLY_RENEW /* degree (where the others have their device), overlap (where they have their port) */
};

struct wish {
    int64_t id;
    enum wish_kind kind;
    uint32_t device;
    uint32_t above; /* key number; 0: the present one */
    uint16_t pan;
    uint8_t prefix[8]; /* all zero: none */
    uint8_t degree;
    bool overlap;
    uint16_t gid;
    struct iotsec_addr addr;
    char name[IOTSEC_IDENTITY_MAX]; /* the device's identity when the wish was made */
    size_t name_len;
};

/* Statements that are kept prepared. */
enum registry_statement {
    ST_BEGIN, ST_COMMIT, ST_ROLLBACK, ST_PSK, ST_AUTHORISED, ST_ALLOWED, ST_GROUPS, ST_MEMBERS, ST_PUT_GROUP, ST_RETIRE,
    ST_DELETE_GROUP, ST_PUT_MEMBER, ST_DELETE_MEMBER, ST_PUT_EVICTED, ST_DATA_VERSION, ST_NEXT_WISH, ST_DELETE_WISH,
    ST_FORGET_DEVICE, ST_READMIT, ST_NAME, ST_RETIRED, ST_ACCESS, ST_PUT_ACCESS, ST_POLY, ST_PUT_POLY, ST_POLY_OVERLAP,
    ST_REVOKED, ST_CLEAR_REVOKED, ST_PUT_REVOKED, ST_POINT, ST_COUNT
};

struct registry {
    sqlite3 *db;
    sqlite3_stmt *statements[ST_COUNT];
    char *path;              /* canonical */
    int lock;
    dev_t volume;            /* of the database file: to notice that it was replaced */
    ino_t inode;
    int64_t data_version;
    const struct wish *wish; /* fulfilled by the next commit */
    const char *problem;     /* name of the last storage error, until somebody reports and clears it */
    unsigned cursor_group;   /* index that the open statement brings next */
    unsigned cursor_member;
    bool leftovers;          /* deleted keys may stand in the log of changes, and in what that is to replace */
    unsigned commits;        /* so far */
    unsigned crash_commit;   /* test aid: die at this commit; 0: never */
    bool crash_after;        /* after it is durable, not before */
};

/* Makes a new registry. `prefix` may be NULL. */
int registry_create(const char *path, const char *prefix);
/* Opens, and checks that it is whole and ours; brings one of an earlier layout to this one's. On failure nothing stays open. */
int registry_open(struct registry *registry, const char *path, enum registry_access access);
void registry_close(struct registry *registry);

/* The library's registry. `user` has to point to a struct registry, or to a structure that begins with one. */
extern const struct iotsec_registry registry_functions;

/* ---- For the server ---- */

/* Whether another process has changed something since the last call. Negative: the registry is lost (see problem). */
int registry_changed(struct registry *registry);
/* The oldest wish with an id above `after`: 1; none: 0; < 0: storage error. */
int registry_next_wish(struct registry *registry, int64_t after, struct wish *wish);
/* Deletes a wish that no transaction has fulfilled, with the effects it has by itself. 0, or < 0. */
int registry_settle(struct registry *registry, const struct wish *wish);
/* After a transaction that deleted keys: overwrites them in the file too, unless somebody reads it just now. Then the next
 * call does. */
void registry_clean(struct registry *registry);
/* The key number up to which a removed group of this ID had got; 0: there was none. */
uint32_t registry_retired(struct registry *registry, uint16_t gid);
/* A device's identity; 0 bytes if it has none any more. */
size_t registry_name(struct registry *registry, uint32_t device, char name[IOTSEC_IDENTITY_MAX]);
/* Number of rows, to size tables by. */
int registry_counts(struct registry *registry, unsigned *devices, unsigned *groups, unsigned *members);

/* ---- For the other commands ---- */

/* The process that serves the registry, -1 if it cannot be named, 0 for none. */
pid_t registry_server(const struct registry *registry);

int registry_add_device(struct registry *registry, const char *identity, const struct psk *psk, const uint16_t *groups,
                        size_t group_count, uint32_t *number);
/* These make a wish; `wish` tells which. */
int registry_evict(struct registry *registry, const char *identity, struct wish *wish);
int registry_readmit(struct registry *registry, const char *identity, struct wish *wish);
int registry_remove(struct registry *registry, const char *identity, struct wish *wish);
int registry_allow(struct registry *registry, const char *identity, uint16_t gid);
int registry_deny(struct registry *registry, const char *identity, uint16_t gid, struct wish *wish);
int registry_add_group(struct registry *registry, uint16_t gid, const struct iotsec_addr *addr, struct wish *wish);
int registry_remove_group(struct registry *registry, uint16_t gid, struct wish *wish);
int registry_renew_group(struct registry *registry, uint16_t gid, uint32_t above, struct wish *wish);
/* `prefix` NULL: the one that the registry was made with, if it has one. */
int registry_set_access(struct registry *registry, uint16_t pan, const uint8_t prefix[8], const struct iotsec_addr *addr,
                        struct wish *wish);
int registry_renew_l2(struct registry *registry, struct wish *wish);
/* `degree` 0: the one that the domain's polynomial has, or POLY_DEGREE_DEFAULT. */
int registry_renew_poly(struct registry *registry, unsigned degree, bool overlap, struct wish *wish);
/* Prints what there is to know of the polynomial, without a coefficient. */
int registry_show_poly(struct registry *registry);

/* Whether a wish still waits. */
bool registry_waits(struct registry *registry, const struct wish *wish);
/* Prints everything but keys. */
int registry_list(struct registry *registry);

const char *wish_name(enum wish_kind kind);

#endif
