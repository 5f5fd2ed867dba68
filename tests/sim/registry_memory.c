/* SPDX-License-Identifier: BSD-3-Clause */
#include "registry_memory.h"

#include <string.h>

static void broken(struct registry_memory *registry, const char *sentence)
{
    if (registry->broken == NULL) {
        registry->broken = sentence;
    }
}

/* ---- What the operator enters ---- */

void registry_init(struct registry_memory *registry, void *owner)
{
    memset(registry, 0, sizeof *registry);
    registry->owner = owner;
}

struct registry_device *registry_add_device(struct registry_memory *registry, uint32_t number, const void *identity,
                                            size_t identity_len, const uint8_t *psk, size_t psk_len)
{
    size_t i;

    for (i = 0; i < REGISTRY_DEVICES_MAX; i++) {
        struct registry_device *device = &registry->devices[i];

        if (device->number == 0) {
            memset(device, 0, sizeof *device);
            memcpy(device->identity, identity, identity_len);
            device->identity_len = identity_len;
            memcpy(device->psk, psk, psk_len);
            device->psk_len = psk_len;
            device->number = number;
            return device;
        }
    }
    broken(registry, "more devices than REGISTRY_DEVICES_MAX");
    return &registry->devices[0];
}

void registry_allow(struct registry_device *device, uint16_t group_id)
{
    device->groups[device->group_count++] = group_id;
}

struct registry_device *registry_device(struct registry_memory *registry, uint32_t number)
{
    size_t i;

    for (i = 0; i < REGISTRY_DEVICES_MAX; i++) {
        if (registry->devices[i].number == number) {
            return &registry->devices[i];
        }
    }
    return NULL;
}

static struct iotsec_registry_group *find_group(struct registry_state *state, uint16_t group_id)
{
    size_t i;

    for (i = 0; i < state->group_count; i++) {
        if (state->groups[i].group_id == group_id) {
            return &state->groups[i];
        }
    }
    return NULL;
}

static struct iotsec_registry_member *find_member(struct registry_state *state, uint32_t device, uint16_t group_id)
{
    size_t i;

    for (i = 0; i < state->member_count; i++) {
        if (state->members[i].device == device && state->members[i].group_id == group_id) {
            return &state->members[i];
        }
    }
    return NULL;
}

/* The searches change nothing; their results are const again outside. */
const struct iotsec_registry_group *registry_group(const struct registry_memory *registry, uint16_t group_id)
{
    return find_group((struct registry_state *)&registry->durable, group_id);
}

const struct iotsec_registry_member *registry_member(const struct registry_memory *registry, uint32_t device,
                                                     uint16_t group_id)
{
    return find_member((struct registry_state *)&registry->durable, device, group_id);
}

static bool is_evicted(const struct registry_state *state, uint32_t device)
{
    size_t i;

    for (i = 0; i < state->evicted_count; i++) {
        if (state->evicted[i] == device) {
            return true;
        }
    }
    return false;
}

bool registry_evicted(const struct registry_memory *registry, uint32_t device)
{
    return is_evicted(&registry->durable, device);
}

void registry_readmit(struct registry_memory *registry, uint32_t device)
{
    struct registry_state *state = &registry->durable;
    size_t i;

    for (i = 0; i < state->evicted_count; i++) {
        if (state->evicted[i] == device) {
            state->evicted[i] = state->evicted[--state->evicted_count];
            return;
        }
    }
}

void registry_revive(struct registry_memory *registry)
{
    registry->open = false;
    registry->dead = false;
    registry->kill_at = 0;
    registry->fail_at = 0;
    memset(registry->pending, 0, sizeof registry->pending);
}

void registry_restore(struct registry_memory *registry, const struct registry_state *backup)
{
    registry->durable = *backup;
}

/* ---- What must hold at every commit ---- */

/* Every sender ID of a generation has one owner, even after the owner has left. Its RAND names a generation
 * better than its number does: a group that is removed and made anew counts from 1 again. */
static void check_owner(struct registry_memory *registry, const uint8_t rand[IOTSEC_KEY_BYTES],
                        const struct iotsec_registry_member *member)
{
    uint32_t generation = (uint32_t)rand[0] << 24 | (uint32_t)rand[1] << 16 | (uint32_t)rand[2] << 8 | rand[3];
    uint32_t hash = (generation * 0x9E3779B1u) ^ (member->group_id * 0x85EBCA6Bu) ^ (member->sender_id * 0xC2B2AE35u);
    uint32_t i;

    hash ^= hash >> 15;
    for (i = hash % REGISTRY_OWNERS_MAX;; i = (i + 1) % REGISTRY_OWNERS_MAX) {
        struct registry_owner *owner = &registry->owners[i];

        if (owner->device == 0) {
            if (registry->owner_count + 1 >= REGISTRY_OWNERS_MAX) {
                return; /* the test is longer than the memory; the tap still checks nonces */
            }
            owner->device = member->device;
            owner->generation = generation;
            owner->group_id = member->group_id;
            owner->sender_id = member->sender_id;
            registry->owner_count++;
            return;
        }
        if (owner->generation == generation && owner->group_id == member->group_id &&
            owner->sender_id == member->sender_id) {
            if (owner->device != member->device) {
                broken(registry, "a sender ID got a second owner in one generation");
            }
            return;
        }
    }
}

static void check_group(struct registry_memory *registry, const struct iotsec_registry_group *before,
                        const struct iotsec_registry_group *after)
{
    bool same_generation = before->key_number >> 8 == after->key_number >> 8;

    if (after->key_number < before->key_number) {
        broken(registry, "a key number went back");
    }
    if (after->key_number == before->key_number && memcmp(after->tgk, before->tgk, sizeof after->tgk) != 0) {
        broken(registry, "one key number got two TGKs");
    }
    if (after->key_number != before->key_number && memcmp(after->tgk, before->tgk, sizeof after->tgk) == 0) {
        broken(registry, "a new key number kept the old TGK");
    }
    if (same_generation != (memcmp(after->rand, before->rand, sizeof after->rand) == 0)) {
        broken(registry, "RAND and generation did not change together");
    }
    if (same_generation && after->next_sender < before->next_sender) {
        broken(registry, "next_sender went back within a generation");
    }
    if (((after->key_number >> 8) & 0xFFu) == 0) {
        broken(registry, "a generation whose low byte is 0");
    }
}

/* A number names one key for ever, is not used again, and only grows; what is used has been handed out before. */
static void check_access(struct registry_memory *registry, const struct iotsec_registry_access *before,
                         const struct iotsec_registry_access *after)
{
    uint32_t newest = before->next_number != 0 ? before->next_number : before->number;

    if (after->number == 0) {
        if (before->number != 0) {
            broken(registry, "the access parameters went away");
        }
        return;
    }
    if (after->next_number != 0 && after->next_number <= after->number) {
        broken(registry, "the next L2 key's number is not above the present one's");
    }
    if (after->next_number != 0 && memcmp(after->key, after->next_key, sizeof after->key) == 0) {
        broken(registry, "two L2 numbers have one key");
    }
    if (before->number == 0) {
        return;
    }
    if (after->number == before->number) {
        if (memcmp(after->key, before->key, sizeof after->key) != 0) {
            broken(registry, "one L2 number got two keys");
        }
    } else if (before->next_number == 0 || after->number != before->next_number ||
               memcmp(after->key, before->next_key, sizeof after->key) != 0) {
        broken(registry, "an L2 key came into use that had not been handed out");
    }
    if (after->next_number == before->next_number) {
        if (after->next_number != 0 && memcmp(after->next_key, before->next_key, sizeof after->key) != 0) {
            broken(registry, "one next L2 number got two keys");
        }
    } else if (after->next_number != 0) {
        if (after->next_number <= newest) {
            broken(registry, "an L2 number was used again");
        }
        if (memcmp(after->next_key, before->key, sizeof after->key) == 0 ||
            memcmp(after->next_key, before->next_key, sizeof after->key) == 0) {
            broken(registry, "an old L2 key got a new number");
        }
    } else if (after->number == before->number) {
        broken(registry, "a next L2 key was taken back");
    }
}

#if IOTSEC_PAIRWISE
static void check_poly(struct registry_memory *registry, const struct registry_state *before, const struct registry_state *after)
{
    const struct iotsec_registry_poly *old = &before->poly;
    const struct iotsec_registry_poly *poly = &after->poly;

    if (poly->generation < old->generation) {
        broken(registry, "a generation of the polynomial went back");
    }
    if (poly->generation != 0 && after->coefficient_count != REGISTRY_ROW(poly->degree + 1u)) {
        broken(registry, "a polynomial without all of its coefficients");
    }
    if (poly->generation == old->generation) {
        if (poly->degree != old->degree || poly->gentle != old->gentle || poly->carried != old->carried ||
            memcmp(after->coefficients, before->coefficients, sizeof after->coefficients) != 0) {
            broken(registry, "one generation got two polynomials");
        }
        if (poly->revoked_count < old->revoked_count ||
            memcmp(poly->revoked, old->revoked, sizeof old->revoked[0] * old->revoked_count) != 0) {
            broken(registry, "a revocation was taken back");
        }
    } else if (poly->revoked_count != poly->carried || poly->carried != (poly->gentle ? old->revoked_count - old->carried : 0) ||
               memcmp(poly->revoked, old->revoked[old->carried], sizeof old->revoked[0] * poly->carried) != 0) {
        broken(registry, "a new polynomial did not begin with the revocations of the one before, or none without an overlap");
    } else if (memcmp(after->coefficients[0], before->coefficients[0], sizeof after->coefficients[0]) == 0) {
        broken(registry, "a new polynomial kept the old coefficients");
    }
}
#endif

static void check_commit(struct registry_memory *registry)
{
    struct registry_state *after = &registry->staged;
    size_t i;
    size_t k;

#if IOTSEC_PAIRWISE
    check_poly(registry, &registry->durable, after);
#endif
    check_access(registry, &registry->durable.access, &after->access);
    for (i = 0; i < after->group_count; i++) {
        const struct iotsec_registry_group *before = find_group(&registry->durable, after->groups[i].group_id);

        if (before != NULL) {
            check_group(registry, before, &after->groups[i]);
        }
    }
    for (i = 0; i < after->member_count; i++) {
        const struct iotsec_registry_member *member = &after->members[i];
        const struct iotsec_registry_group *group = find_group(after, member->group_id);

        if (group == NULL) {
            broken(registry, "a member of a group that does not exist");
            continue;
        }
        if (is_evicted(after, member->device)) {
            broken(registry, "an evicted device is still a member");
        }
        if (member->sender_id == 0 || member->sender_id > IOTSEC_SENDER_ID_MAX) {
            broken(registry, "a member without a legal sender ID");
        }
        for (k = 0; k < i; k++) {
            if (after->members[k].group_id == member->group_id && after->members[k].sender_id == member->sender_id) {
                broken(registry, "two members with one sender ID");
            }
        }
        check_owner(registry, group->rand, member);
    }
}

/* ---- The functions of struct iotsec_registry ---- */

/* Counts an operation; anything but OK is what the caller has to answer. */
static enum iotsec_status operation(struct registry_memory *registry, bool commit)
{
    if (registry->dead) {
        return IOTSEC_ERR_REGISTRY;
    }
    registry->operations++;
    if (registry->kill_at != 0 && registry->operations == registry->kill_at) {
        registry->dead = true;
        return commit && registry->kill_after_commit ? IOTSEC_OK : IOTSEC_ERR_REGISTRY;
    }
    if (registry->fail_at != 0 && registry->operations >= registry->fail_at &&
        registry->operations <= registry->fail_at + registry->fail_count) {
        return IOTSEC_ERR_REGISTRY;
    }
    return IOTSEC_OK;
}

static enum iotsec_status find_psk(void *user, iotsec_dtls_handle handshake, const uint8_t *identity, size_t len,
                                   struct iotsec_dtls_psk *psk)
{
    struct registry_memory *registry = user;
    size_t i;
    size_t k;

    for (i = 0; i < REGISTRY_DEVICES_MAX; i++) {
        const struct registry_device *device = &registry->devices[i];

        if (device->number == 0 || device->identity_len != len || memcmp(device->identity, identity, len) != 0) {
            continue;
        }
        if (device->slow) {
            for (k = 0; k < sizeof registry->pending / sizeof registry->pending[0]; k++) {
                if (registry->pending[k] == 0) {
                    registry->pending[k] = handshake;
                    registry->pending_device[k] = device->number;
                    return IOTSEC_ERR_PENDING;
                }
            }
            return IOTSEC_ERR_RESOURCES;
        }
        memcpy(psk->key, device->psk, device->psk_len);
        psk->len = device->psk_len;
        psk->peer = device->number;
        return IOTSEC_OK;
    }
    return IOTSEC_ERR_UNKNOWN_IDENTITY;
}

static enum iotsec_status is_authorised(void *user, uint32_t number)
{
    struct registry_memory *registry = user;
    const struct registry_device *device = registry_device(registry, number);

    return device == NULL || device->not_admitted || is_evicted(&registry->durable, number) ? IOTSEC_ERR_NOT_AUTHORISED
                                                                                            : IOTSEC_OK;
}

static enum iotsec_status is_allowed(void *user, uint32_t number, uint16_t group_id)
{
    const struct registry_device *device = registry_device(user, number);
    size_t i;

    for (i = 0; device != NULL && i < device->group_count; i++) {
        if (device->groups[i] == group_id) {
            return IOTSEC_OK;
        }
    }
    return IOTSEC_ERR_GROUP_REFUSED;
}

static enum iotsec_status group_at(void *user, uint32_t index, struct iotsec_registry_group *group)
{
    const struct registry_memory *registry = user;

    if (index >= registry->durable.group_count) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    *group = registry->durable.groups[index];
    return IOTSEC_OK;
}

static enum iotsec_status member_at(void *user, uint32_t index, struct iotsec_registry_member *member)
{
    const struct registry_memory *registry = user;

    if (index >= registry->durable.member_count) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    *member = registry->durable.members[index];
    return IOTSEC_OK;
}

static enum iotsec_status begin(void *user)
{
    struct registry_memory *registry = user;

    if (registry->open) {
        broken(registry, "a transaction was begun inside another");
    }
    if (operation(registry, false) != IOTSEC_OK) {
        return IOTSEC_ERR_REGISTRY;
    }
    registry->open = true;
    registry->staged = registry->durable;
    return IOTSEC_OK;
}

/* Every change comes between begin and commit or abort. */
static enum iotsec_status change(struct registry_memory *registry)
{
    if (!registry->open && !registry->dead) {
        broken(registry, "a change outside a transaction");
    }
    return operation(registry, false);
}

static enum iotsec_status put_group(void *user, const struct iotsec_registry_group *group)
{
    struct registry_memory *registry = user;
    struct iotsec_registry_group *slot;

    if (change(registry) != IOTSEC_OK) {
        return IOTSEC_ERR_REGISTRY;
    }
    slot = find_group(&registry->staged, group->group_id);
    if (slot == NULL) {
        if (registry->staged.group_count == REGISTRY_GROUPS_MAX) {
            return IOTSEC_ERR_FULL;
        }
        slot = &registry->staged.groups[registry->staged.group_count++];
    }
    *slot = *group;
    return IOTSEC_OK;
}

static enum iotsec_status delete_group(void *user, uint16_t group_id)
{
    struct registry_memory *registry = user;
    struct registry_state *state = &registry->staged;
    struct iotsec_registry_group *slot;
    size_t i;

    if (change(registry) != IOTSEC_OK) {
        return IOTSEC_ERR_REGISTRY;
    }
    for (i = state->member_count; i > 0; i--) {
        if (state->members[i - 1].group_id == group_id) {
            state->members[i - 1] = state->members[--state->member_count];
        }
    }
    slot = find_group(state, group_id);
    if (slot != NULL) {
        *slot = state->groups[--state->group_count];
    }
    return IOTSEC_OK;
}

static enum iotsec_status put_member(void *user, const struct iotsec_registry_member *member)
{
    struct registry_memory *registry = user;
    struct iotsec_registry_member *slot;

    if (change(registry) != IOTSEC_OK) {
        return IOTSEC_ERR_REGISTRY;
    }
    slot = find_member(&registry->staged, member->device, member->group_id);
    if (slot == NULL) {
        if (registry->staged.member_count == REGISTRY_MEMBERS_MAX) {
            return IOTSEC_ERR_FULL;
        }
        slot = &registry->staged.members[registry->staged.member_count++];
    }
    *slot = *member;
    return IOTSEC_OK;
}

static enum iotsec_status delete_member(void *user, uint32_t device, uint16_t group_id)
{
    struct registry_memory *registry = user;
    struct iotsec_registry_member *slot;

    if (change(registry) != IOTSEC_OK) {
        return IOTSEC_ERR_REGISTRY;
    }
    slot = find_member(&registry->staged, device, group_id);
    if (slot != NULL) {
        *slot = registry->staged.members[--registry->staged.member_count];
    }
    return IOTSEC_OK;
}

static enum iotsec_status put_evicted(void *user, uint32_t device)
{
    struct registry_memory *registry = user;

    if (change(registry) != IOTSEC_OK) {
        return IOTSEC_ERR_REGISTRY;
    }
    if (!is_evicted(&registry->staged, device)) {
        if (registry->staged.evicted_count == REGISTRY_DEVICES_MAX) {
            return IOTSEC_ERR_FULL;
        }
        registry->staged.evicted[registry->staged.evicted_count++] = device;
    }
    return IOTSEC_OK;
}

static enum iotsec_status get_access(void *user, struct iotsec_registry_access *access)
{
    const struct registry_memory *registry = user;

    *access = registry->durable.access;
    return access->number != 0 ? IOTSEC_OK : IOTSEC_ERR_NOT_FOUND;
}

static enum iotsec_status put_access(void *user, const struct iotsec_registry_access *access)
{
    struct registry_memory *registry = user;

    if (change(registry) != IOTSEC_OK) {
        return IOTSEC_ERR_REGISTRY;
    }
    registry->staged.access = *access;
    return IOTSEC_OK;
}

#if IOTSEC_PAIRWISE
static enum iotsec_status get_poly(void *user, struct iotsec_registry_poly *poly)
{
    const struct registry_memory *registry = user;

    *poly = registry->durable.poly;
    return poly->generation != 0 ? IOTSEC_OK : IOTSEC_ERR_NOT_FOUND;
}

static enum iotsec_status put_poly(void *user, const struct iotsec_registry_poly *poly)
{
    struct registry_memory *registry = user;
    struct registry_state *state = &registry->staged;

    if (change(registry) != IOTSEC_OK) {
        return IOTSEC_ERR_REGISTRY;
    }
    if (poly->degree > REGISTRY_DEGREE_MAX) {
        return IOTSEC_ERR_FULL;
    }
    if (poly->generation != state->poly.generation) {
        memset(state->coefficients, 0, sizeof state->coefficients);
        state->coefficient_count = 0;
    }
    state->poly = *poly;
    return IOTSEC_OK;
}

static enum iotsec_status put_coefficients(void *user, uint8_t row, uint8_t first, uint16_t count, const uint8_t *elements)
{
    struct registry_memory *registry = user;
    struct registry_state *state = &registry->staged;

    if (change(registry) != IOTSEC_OK) {
        return IOTSEC_ERR_REGISTRY;
    }
    if (row > state->poly.degree || first + count > row + 1u || state->coefficient_count != REGISTRY_ROW(row) + first) {
        broken(registry, "coefficients out of order");
        return IOTSEC_ERR_REGISTRY;
    }
    if (!iotsec_polykey_are_elements(elements, count)) {
        broken(registry, "a coefficient that is no element");
    }
    memcpy(state->coefficients[state->coefficient_count], elements, (size_t)count * IOTSEC_POLY_ELEMENT_BYTES);
    state->coefficient_count += count;
    return IOTSEC_OK;
}

static enum iotsec_status get_coefficients(void *user, uint8_t row, uint8_t first, uint16_t count, uint8_t *elements)
{
    const struct registry_memory *registry = user;
    const struct registry_state *state = &registry->durable;
    unsigned i;

    if (registry->dead) {
        return IOTSEC_ERR_REGISTRY;
    }
    if (row > state->poly.degree || (unsigned)first + count > state->poly.degree + 1u) {
        broken(user, "coefficients were read that do not exist");
        return IOTSEC_ERR_REGISTRY;
    }
    for (i = first; i < (unsigned)first + count; i++, elements += IOTSEC_POLY_ELEMENT_BYTES) {
        memcpy(elements, state->coefficients[row > i ? REGISTRY_ROW(row) + i : REGISTRY_ROW(i) + row], IOTSEC_POLY_ELEMENT_BYTES);
    }
    return IOTSEC_OK;
}

/* Two devices never have one point here: identities differ, and chance does not need to be provided for in a test. */
static enum iotsec_status get_point(void *user, uint32_t number, uint8_t point[IOTSEC_POLY_ELEMENT_BYTES])
{
    struct registry_memory *registry = user;
    const struct registry_device *device = registry_device(registry, number);
    struct iotsec_hal hal;

    if (registry->dead) {
        return IOTSEC_ERR_REGISTRY;
    }
    if (number == 0 || device == NULL) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    memset(&hal, 0, sizeof hal);
#if defined(IOTSEC_WITH_MBEDTLS)
    hal.crypto = &iotsec_crypto_mbedtls;
#else
    hal.crypto = &iotsec_crypto_psa;
#endif
    return iotsec_polykey_point(&hal, device->identity, device->identity_len, point);
}
#endif

static enum iotsec_status commit(void *user)
{
    struct registry_memory *registry = user;

    if (!registry->open && !registry->dead) {
        broken(registry, "a commit without a transaction");
    }
    registry->open = false;
    if (operation(registry, true) != IOTSEC_OK) {
        return IOTSEC_ERR_REGISTRY;
    }
    check_commit(registry);
    registry->durable = registry->staged;
    registry->commits++;
    return IOTSEC_OK;
}

static void abort_transaction(void *user)
{
    struct registry_memory *registry = user;

    if (!registry->open && !registry->dead) {
        broken(registry, "an abort without a transaction");
    }
    registry->open = false;
}

const struct iotsec_registry registry_memory = {
    find_psk,   is_authorised, is_allowed, group_at,      member_at,   begin, put_group,
    delete_group, put_member,  delete_member, put_evicted, commit, abort_transaction,
    get_access, put_access,
#if IOTSEC_PAIRWISE
    get_poly,   put_poly,      put_coefficients, get_coefficients, get_point,
#else
    NULL,       NULL,          NULL,       NULL,          NULL,
#endif
};
