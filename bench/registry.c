/* SPDX-License-Identifier: BSD-3-Clause */
#include "registry.h"

#include <stdlib.h>
#include <string.h>

void bench_identity(uint32_t device, uint8_t identity[BENCH_IDENTITY_BYTES])
{
    size_t i;

    memcpy(identity, "lamp-", 5);
    for (i = BENCH_IDENTITY_BYTES; i-- > 5; device /= 10) {
        identity[i] = (uint8_t)('0' + device % 10);
    }
}

void bench_psk(uint32_t device, uint8_t psk[IOTSEC_KEY_BYTES])
{
    size_t i;

    for (i = 0; i < IOTSEC_KEY_BYTES; i++) {
        device = device * 1664525u + 1013904223u;
        psk[i] = (uint8_t)(device >> 24);
    }
}

static enum iotsec_status find_psk(void *user, iotsec_dtls_handle handshake, const uint8_t *identity, size_t len,
                                   struct iotsec_dtls_psk *psk)
{
    const struct bench_registry *registry = user;
    uint8_t again[BENCH_IDENTITY_BYTES];
    uint32_t device = 0;
    size_t i;

    (void)handshake;
    for (i = 5; i < len; i++) {
        device = device * 10 + (uint32_t)(identity[i] - '0');
    }
    bench_identity(device, again);
    if (device - 1 >= registry->devices || len != sizeof again || memcmp(again, identity, len) != 0) {
        return IOTSEC_ERR_UNKNOWN_IDENTITY;
    }
    bench_psk(device, psk->key);
    psk->len = IOTSEC_KEY_BYTES;
    psk->peer = device;
    return IOTSEC_OK;
}

static enum iotsec_status authorised(void *user, uint32_t device)
{
    const struct bench_registry *registry = user;

    return registry->evicted[device - 1] ? IOTSEC_ERR_NOT_AUTHORISED : IOTSEC_OK;
}

static enum iotsec_status group_allowed(void *user, uint32_t device, uint16_t group_id)
{
    const struct bench_registry *registry = user;

    return group_id == 1 + (device - 1) / registry->group_size ? IOTSEC_OK : IOTSEC_ERR_GROUP_REFUSED;
}

static enum iotsec_status group_at(void *user, uint32_t index, struct iotsec_registry_group *group)
{
    const struct bench_registry *registry = user;

    if (index >= registry->group_count) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    *group = registry->groups[index];
    return IOTSEC_OK;
}

/* Memberships are as dense as the devices that have joined: in order. */
static enum iotsec_status member_at(void *user, uint32_t index, struct iotsec_registry_member *member)
{
    const struct bench_registry *registry = user;

    if (index >= registry->devices || registry->members[index].device == 0) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    *member = registry->members[index];
    return IOTSEC_OK;
}

static enum iotsec_status begin(void *user)
{
    (void)user;
    return IOTSEC_OK;
}

static enum iotsec_status put_group(void *user, const struct iotsec_registry_group *group)
{
    struct bench_registry *registry = user;
    uint16_t i;

    for (i = 0; i < registry->group_count && registry->groups[i].group_id != group->group_id; i++) {
    }
    if (i == registry->group_room) {
        return IOTSEC_ERR_REGISTRY;
    }
    registry->group_count = i == registry->group_count ? (uint16_t)(i + 1) : registry->group_count;
    registry->groups[i] = *group;
    return IOTSEC_OK;
}

static enum iotsec_status delete_group(void *user, uint16_t group_id)
{
    (void)user;
    (void)group_id;
    return IOTSEC_ERR_REGISTRY;
}

static enum iotsec_status put_member(void *user, const struct iotsec_registry_member *member)
{
    struct bench_registry *registry = user;

    registry->members[member->device - 1] = *member;
    return IOTSEC_OK;
}

static enum iotsec_status delete_member(void *user, uint32_t device, uint16_t group_id)
{
    struct bench_registry *registry = user;

    (void)group_id;
    memset(&registry->members[device - 1], 0, sizeof registry->members[0]);
    return IOTSEC_OK;
}

static enum iotsec_status put_evicted(void *user, uint32_t device)
{
    struct bench_registry *registry = user;

    registry->evicted[device - 1] = 1;
    return IOTSEC_OK;
}

static void give_back(void *user)
{
    (void)user;
    abort();
}

static enum iotsec_status get_access(void *user, struct iotsec_registry_access *access)
{
    const struct bench_registry *registry = user;

    *access = registry->access;
    return registry->access.number != 0 ? IOTSEC_OK : IOTSEC_ERR_NOT_FOUND;
}

static enum iotsec_status put_access(void *user, const struct iotsec_registry_access *access)
{
    struct bench_registry *registry = user;

    registry->access = *access;
    return IOTSEC_OK;
}

static enum iotsec_status get_poly(void *user, struct iotsec_registry_poly *poly)
{
    const struct bench_registry *registry = user;

    *poly = registry->poly;
    return registry->poly.generation != 0 ? IOTSEC_OK : IOTSEC_ERR_NOT_FOUND;
}

static enum iotsec_status put_poly(void *user, const struct iotsec_registry_poly *poly)
{
    struct bench_registry *registry = user;

    registry->poly = *poly;
    return registry->coefficients != NULL ? IOTSEC_OK : IOTSEC_ERR_REGISTRY;
}

static uint8_t *coefficient(const struct bench_registry *registry, unsigned i, unsigned k)
{
    unsigned row = i > k ? i : k;

    return registry->coefficients + (row * (row + 1) / 2 + (i > k ? k : i)) * IOTSEC_POLY_ELEMENT_BYTES;
}

static enum iotsec_status put_coefficients(void *user, uint8_t row, uint8_t first, uint16_t count, const uint8_t *elements)
{
    memcpy(coefficient(user, row, first), elements, (size_t)count * IOTSEC_POLY_ELEMENT_BYTES);
    return IOTSEC_OK;
}

static enum iotsec_status get_coefficients(void *user, uint8_t row, uint8_t first, uint16_t count, uint8_t *elements)
{
    unsigned i;

    for (i = first; i < (unsigned)first + count; i++, elements += IOTSEC_POLY_ELEMENT_BYTES) {
        memcpy(elements, coefficient(user, row, i), IOTSEC_POLY_ELEMENT_BYTES);
    }
    return IOTSEC_OK;
}

static enum iotsec_status get_point(void *user, uint32_t device, uint8_t point[IOTSEC_POLY_ELEMENT_BYTES])
{
    uint8_t identity[BENCH_IDENTITY_BYTES];
    struct iotsec_hal hal;

    (void)user;
    memset(&hal, 0, sizeof hal);
    hal.crypto = &iotsec_crypto_mbedtls;
    bench_identity(device, identity);
    return iotsec_polykey_point(&hal, identity, sizeof identity, point);
}

const struct iotsec_registry bench_registry = {
    .psk = find_psk,
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
    .commit = begin,
    .abort = give_back,
    .access = get_access,
    .put_access = put_access,
    .poly = get_poly,
    .put_poly = put_poly,
    .put_coefficients = put_coefficients,
    .coefficients = get_coefficients,
    .point = get_point,
};
