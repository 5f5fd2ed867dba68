/* SPDX-License-Identifier: BSD-3-Clause */
#include "registry.h"

#include <string.h>

#include <mbedtls/platform_util.h>

#include "fault.h"
#include "node.h"
#include "store.h"

#define wipe mbedtls_platform_zeroize

#define VERSION 1u
#define PAGE_BYTES 256u

struct member {
    uint16_t group_id; /* 0: free */
    uint16_t sender_id;
    uint8_t device;
    uint8_t reserved;
};

/* What one transaction may change. The store's copy is these bytes. */
static struct {
    struct iotsec_registry_group groups[REGISTRY_GROUPS]; /* group_id 0: free */
    struct member members[REGISTRY_MEMBERS];
    struct iotsec_registry_access access;
    uint32_t evicted; /* bit n: device n + 1 */
} state;

#define PAGES ((sizeof state + PAGE_BYTES - 1) / PAGE_BYTES)
#define SLOT_ROOT SLOT_REGISTRY
#define SLOT_PAGE(page, copy) ((uint16_t)(SLOT_REGISTRY + 1 + 2 * (page) + (copy)))
#define SLOT_DEVICE(number) ((uint16_t)(SLOT_REGISTRY + 20 + (number)))

typedef char pages_end_before_the_devices[1 + 2 * PAGES < 20 ? 1 : -1];
typedef char devices_fit_the_store[SLOT_REGISTRY + 20 + REGISTRY_DEVICES < STORE_SLOTS ? 1 : -1];
typedef char devices_fit_the_bits[REGISTRY_DEVICES <= 32 ? 1 : -1];

/* VERSION, and bit n: which of its two slots page n is in. */
static uint8_t root[2];

/* ---- Pages ---- */

static size_t page_length(size_t page)
{
    return page + 1 < PAGES ? PAGE_BYTES : sizeof state - page * PAGE_BYTES;
}

static uint8_t *page_bytes(size_t page)
{
    return (uint8_t *)&state + page * PAGE_BYTES;
}

/* What a page's slot holds, where it is what it should be. */
static int read_page(size_t page, uint8_t *bytes)
{
    return store_read(SLOT_PAGE(page, root[1] >> page & 1), bytes, PAGE_BYTES) == (int)page_length(page);
}

static void reload(void)
{
    size_t page;
    int len = store_read(SLOT_ROOT, root, sizeof root);

    memset(&state, 0, sizeof state);
    if (len == 0) {
        memset(root, 0, sizeof root);
        root[0] = VERSION;
        return;
    }
    if (len != (int)sizeof root || root[0] != VERSION) {
        fault("registry-root");
    }
    for (page = 0; page < PAGES; page++) {
        uint8_t bytes[PAGE_BYTES];

        if (!read_page(page, bytes)) {
            fault_at("registry-page", (uint32_t)page);
        }
        memcpy(page_bytes(page), bytes, page_length(page));
    }
}

static enum iotsec_status commit(void *user)
{
    uint8_t next[2] = { VERSION, root[1] };
    size_t page;
    int failed = 0;

    (void)user;
    /* At the first time no page can be read, and all are written. */
    for (page = 0; page < PAGES && !failed; page++) {
        uint8_t bytes[PAGE_BYTES];

        if (!read_page(page, bytes) || memcmp(bytes, page_bytes(page), page_length(page)) != 0) {
            next[1] ^= (uint8_t)(1u << page);
            failed = store_write(SLOT_PAGE(page, next[1] >> page & 1), page_bytes(page), page_length(page)) != STORE_OK;
        }
    }
    if (failed || store_write(SLOT_ROOT, next, sizeof next) != STORE_OK) {
        reload();
        return IOTSEC_ERR_REGISTRY;
    }
    memcpy(root, next, sizeof root);
    return IOTSEC_OK;
}

static enum iotsec_status begin(void *user)
{
    (void)user;
    return IOTSEC_OK;
}

static void give_up(void *user)
{
    (void)user;
    reload();
}

void registry_start(void)
{
    reload();
}

/* ---- Devices ---- */

int registry_device(uint32_t number, struct registry_device *device)
{
    memset(device, 0, sizeof *device);
    return number >= 1 && number <= REGISTRY_DEVICES &&
           store_read(SLOT_DEVICE(number), (uint8_t *)device, sizeof *device) == (int)sizeof *device && device->identity_len != 0;
}

static uint32_t find(const uint8_t *identity, size_t len, struct registry_device *device)
{
    uint32_t number;

    for (number = 1; number <= REGISTRY_DEVICES; number++) {
        if (registry_device(number, device) && device->identity_len == len && memcmp(device->identity, identity, len) == 0) {
            return number;
        }
    }
    memset(device, 0, sizeof *device);
    return 0;
}

uint32_t registry_find(const uint8_t *identity, size_t len)
{
    struct registry_device device;
    uint32_t number = find(identity, len, &device);

    wipe(device.psk, sizeof device.psk);
    return number;
}

uint32_t registry_add(const struct registry_device *device)
{
    uint32_t number;

    for (number = 1; number <= REGISTRY_DEVICES; number++) {
        /* A damaged slot is nobody's to take over: the device of that number may still be out there. */
        if (store_read(SLOT_DEVICE(number), NULL, 0) == 0) {
            return store_write(SLOT_DEVICE(number), (const uint8_t *)device, sizeof *device) == STORE_OK ? number : 0;
        }
    }
    return 0;
}

int registry_is_evicted(uint32_t number)
{
    return (int)(state.evicted >> (number - 1) & 1);
}

enum iotsec_status registry_readmit(uint32_t number)
{
    state.evicted &= ~(1u << (number - 1));
    return commit(NULL);
}

static enum iotsec_status psk(void *user, iotsec_dtls_handle handshake, const uint8_t *identity, size_t len,
                              struct iotsec_dtls_psk *out)
{
    struct registry_device device;
    enum iotsec_status status = IOTSEC_ERR_UNKNOWN_IDENTITY;

    (void)user;
    (void)handshake;
    out->peer = find(identity, len, &device);
    if (out->peer != 0) {
        memcpy(out->key, device.psk, device.psk_len);
        out->len = device.psk_len;
        status = IOTSEC_OK;
    }
    wipe(device.psk, sizeof device.psk);
    return status;
}

static enum iotsec_status authorised(void *user, uint32_t device)
{
    (void)user;
    return registry_is_evicted(device) ? IOTSEC_ERR_NOT_AUTHORISED : IOTSEC_OK;
}

static enum iotsec_status group_allowed(void *user, uint32_t number, uint16_t group_id)
{
    struct registry_device device;
    unsigned i;
    int found = registry_device(number, &device);

    (void)user;
    wipe(device.psk, sizeof device.psk);
    for (i = 0; found && i < device.group_count; i++) {
        if (device.groups[i] == group_id) {
            return IOTSEC_OK;
        }
    }
    return IOTSEC_ERR_GROUP_REFUSED;
}

static enum iotsec_status put_evicted(void *user, uint32_t device)
{
    (void)user;
    state.evicted |= 1u << (device - 1);
    return IOTSEC_OK;
}

/* ---- Groups and memberships ---- */

/* The place of a group; of id 0: a free one. */
static struct iotsec_registry_group *group_of(uint16_t group_id)
{
    unsigned i;

    for (i = 0; i < REGISTRY_GROUPS; i++) {
        if (state.groups[i].group_id == group_id) {
            return &state.groups[i];
        }
    }
    return NULL;
}

static struct member *member_of(uint32_t device, uint16_t group_id)
{
    unsigned i;

    for (i = 0; i < REGISTRY_MEMBERS; i++) {
        if (state.members[i].group_id == group_id && (group_id == 0 || state.members[i].device == device)) {
            return &state.members[i];
        }
    }
    return NULL;
}

static enum iotsec_status group_at(void *user, uint32_t index, struct iotsec_registry_group *group)
{
    unsigned i;

    (void)user;
    for (i = 0; i < REGISTRY_GROUPS; i++) {
        if (state.groups[i].group_id != 0 && index-- == 0) {
            *group = state.groups[i];
            return IOTSEC_OK;
        }
    }
    return IOTSEC_ERR_NOT_FOUND;
}

static enum iotsec_status member_at(void *user, uint32_t index, struct iotsec_registry_member *member)
{
    unsigned i;

    (void)user;
    for (i = 0; i < REGISTRY_MEMBERS; i++) {
        if (state.members[i].group_id != 0 && index-- == 0) {
            member->device = state.members[i].device;
            member->group_id = state.members[i].group_id;
            member->sender_id = state.members[i].sender_id;
            return IOTSEC_OK;
        }
    }
    return IOTSEC_ERR_NOT_FOUND;
}

static enum iotsec_status put_group(void *user, const struct iotsec_registry_group *group)
{
    struct iotsec_registry_group *place = group_of(group->group_id);

    (void)user;
    place = place != NULL ? place : group_of(0);
    if (place == NULL) {
        return IOTSEC_ERR_FULL;
    }
    *place = *group;
    return IOTSEC_OK;
}

static enum iotsec_status delete_group(void *user, uint16_t group_id)
{
    struct iotsec_registry_group *group = group_of(group_id);
    unsigned i;

    (void)user;
    if (group != NULL) {
        memset(group, 0, sizeof *group);
    }
    for (i = 0; i < REGISTRY_MEMBERS; i++) {
        if (state.members[i].group_id == group_id) {
            memset(&state.members[i], 0, sizeof state.members[i]);
        }
    }
    return IOTSEC_OK;
}

static enum iotsec_status put_member(void *user, const struct iotsec_registry_member *member)
{
    struct member *place = member_of(member->device, member->group_id);

    (void)user;
    place = place != NULL ? place : member_of(0, 0);
    if (place == NULL) {
        return IOTSEC_ERR_FULL;
    }
    place->device = (uint8_t)member->device;
    place->group_id = member->group_id;
    place->sender_id = member->sender_id;
    return IOTSEC_OK;
}

static enum iotsec_status delete_member(void *user, uint32_t device, uint16_t group_id)
{
    struct member *member = member_of(device, group_id);

    (void)user;
    if (member != NULL) {
        memset(member, 0, sizeof *member);
    }
    return IOTSEC_OK;
}

/* ---- Access parameters ---- */

const struct iotsec_registry_access *registry_access(void)
{
    return &state.access;
}

static enum iotsec_status get_access(void *user, struct iotsec_registry_access *access)
{
    (void)user;
    *access = state.access;
    return access->number != 0 ? IOTSEC_OK : IOTSEC_ERR_NOT_FOUND;
}

static enum iotsec_status put_access(void *user, const struct iotsec_registry_access *access)
{
    (void)user;
    state.access = *access;
    return IOTSEC_OK;
}

const struct iotsec_registry registry_functions = {
    .psk = psk,
    .authorised = authorised,
    .group_allowed = group_allowed,
    .group_at = group_at,
    .member_at = member_at,
    .begin = begin,
    .put_group = put_group,
    .delete_group = delete_group,
    .put_member = put_member,
    .delete_member = delete_member,
    .put_evicted = put_evicted,
    .commit = commit,
    .abort = give_up,
    .access = get_access,
    .put_access = put_access,
};
