/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Access parameters: the L2 key that is in use, the one that follows it, and who has which.
 *
 *     M -> D  ACCESS(N, use)          after Finished, before the group keys
 *     D -> M  ACK                     the device sends under N
 *
 *     somebody leaves the domain      M -> registry  N + 1 beside N, in the leaver's transaction
 *     M -> D  ACCESS(N + 1, -)        to everybody else who has a session
 *     D -> M  ACK                     receives under N + 1 too
 *     all have, or it takes too long  M -> registry  N + 1 in the place of N
 *     M -> D  ACCESS(N + 1, use)
 *
 * What a device lacks follows from its contact's l2_stage: 2 N + 1 for "sends under N", 2 N for "receives under N".
 * Stages only grow. A delivery names its stage and nothing else; what it stands for is read from the context when it is
 * sent, and every change there gives the deliveries under way a new message ID.
 */
#include "access/manager_state.h"

#include <string.h>

#if IOTSEC_ROLE_MANAGER && IOTSEC_ACCESS

/* Twice it and one more is still a stage. */
#define NUMBER_MAX (UINT32_MAX / 2u)
/* Contacts that one call looks at, for the switch. */
#define SCAN_STRIDE 64u
/* A failing registry is asked again after the step interval, doubled up to this often. */
#define FAILURES_MAX 6u
/* Larger device numbers are no short addresses. */
#define SHORT_ADDRESS_MAX 0xFFFDu

/* ---- The registry ---- */

/* Whether access parameters can be a domain's. */
static bool is_sound(const struct iotsec_registry_access *access)
{
    return access->number >= 1 && access->number <= NUMBER_MAX && access->next_number <= NUMBER_MAX &&
           (access->next_number == 0 || access->next_number > access->number) && !iotsec_addr_is_multicast(&access->manager) &&
           access->manager.port != 0;
}

static uint32_t switch_deadline(const struct iotsec_manager *m)
{
    return iotsec_mgr_now(m) + iotsec_value_or(m->config->l2_switch_ms, IOTSEC_L2_SWITCH_MS);
}

enum iotsec_status iotsec_mgr_access_load(struct iotsec_manager *m)
{
    const struct iotsec_registry *registry = m->config->registry;
    enum iotsec_status status = IOTSEC_ERR_NOT_FOUND;

    if (registry->access != NULL) {
        status = registry->access(m->config->user, &m->access);
    }
    if (status == IOTSEC_OK && is_sound(&m->access)) {
        m->access.manager.interface = 0;
        /* nobody is back yet: that everybody has the next key would mean nothing */
        m->flags |= MGR_L2_TIMED;
        m->l2_switch_at = switch_deadline(m);
        return IOTSEC_OK;
    }
    iotsec_wipe(&m->access, sizeof m->access);
    return status == IOTSEC_ERR_NOT_FOUND ? IOTSEC_OK : IOTSEC_ERR_REGISTRY;
}

/* Makes staged_access durable in a transaction of its own, and takes it over. */
static enum iotsec_status store(struct iotsec_manager *m)
{
    const struct iotsec_registry *registry = m->config->registry;
    enum iotsec_status status = iotsec_mgr_begin(m);

    if (status == IOTSEC_OK) {
        status = iotsec_mgr_end(m, registry->put_access(m->config->user, &m->staged_access));
    }
    if (status == IOTSEC_OK) {
        m->access = m->staged_access;
    }
    iotsec_wipe(&m->staged_access, sizeof m->staged_access);
    return status;
}

/* ---- Deliveries ---- */

/* The stage that a device is to come to next; not above what it has acknowledged if it is owed nothing. */
static uint32_t next_stage(const struct iotsec_manager *m, const struct iotsec_manager_contact *contact)
{
    uint32_t stage = 2u * m->access.number + 1u;

    return m->access.next_number != 0 && contact->l2_stage >= stage ? 2u * m->access.next_number : stage;
}

static bool is_owed(const struct iotsec_manager *m, const struct iotsec_manager_contact *contact)
{
    return m->access.number != 0 && (contact->flags & (CONTACT_CLOSING | CONTACT_LEFT)) == 0 &&
           (contact->l2_stage < next_stage(m, contact) || (contact->flags & CONTACT_L2_OWED) != 0);
}

static void start_access(struct iotsec_manager *m, struct iotsec_manager_delivery *d, struct iotsec_manager_contact *contact)
{
    d->key_number = next_stage(m, contact);
    d->kind = IOTSEC_KM_ACCESS;
    iotsec_mgr_start(m, d, contact);
}

void iotsec_mgr_access_deliver(struct iotsec_manager *m, struct iotsec_manager_contact *contact)
{
    struct iotsec_manager_delivery *d;

    if (contact->device == 0 || (contact->flags & (CONTACT_SILENT | CONTACT_L2_SENDING)) != 0 || !is_owed(m, contact)) {
        return;
    }
    d = iotsec_mgr_new_delivery(m);
    if (d != NULL) {
        contact->flags |= CONTACT_L2_SENDING;
        start_access(m, d, contact);
    }
}

void iotsec_mgr_access_fill(const struct iotsec_manager *m, const struct iotsec_manager_delivery *d, struct iotsec_km_message *message)
{
    const struct iotsec_registry_access *access = &m->access;

    message->key_number = d->key_number / 2u;
    message->code = d->key_number % 2u != 0 ? IOTSEC_KM_ACCESS_USE : 0;
    memcpy(message->secret, message->key_number == access->number ? access->key : access->next_key, sizeof message->secret);
    message->addr = access->manager;
    message->pan_id = access->pan_id;
    message->short_address = (uint16_t)(d->device <= SHORT_ADDRESS_MAX ? d->device : IOTSEC_SHORT_ADDRESS_NONE);
    memcpy(message->prefix, access->prefix, sizeof message->prefix);
}

void iotsec_mgr_access_acknowledge(struct iotsec_manager *m, struct iotsec_manager_contact *contact, uint32_t stage)
{
    contact->flags &= (uint8_t)~CONTACT_L2_OWED;
    contact->l2_stage = stage;
    if (is_owed(m, contact)) {
        iotsec_mgr_access_deliver(m, contact);
    } else {
        iotsec_mgr_tell_number(m, IOTSEC_MANAGER_ACCESS, IOTSEC_OK, contact->device, stage / 2u);
    }
}

/* What is in memory has changed: deliveries under way begin anew with it, the scan finds who else is owed. */
static void hand_out(struct iotsec_manager *m)
{
    uint16_t i;

    for (i = 0; i < m->deliveries_used; i++) {
        struct iotsec_manager_delivery *d = &m->config->deliveries[i];
        struct iotsec_manager_contact *contact = iotsec_mgr_contact(m, d->device);

        if (d->kind == IOTSEC_KM_ACCESS && contact != NULL) {
            uint8_t rounds = d->rounds;

            start_access(m, d, contact);
            d->rounds = rounds; /* who never answers becomes silent all the same, and is not waited for any more */
        }
    }
    iotsec_mgr_scan_request(m);
}

/* ---- A next L2 key ---- */

enum iotsec_status iotsec_mgr_l2_stage(struct iotsec_manager *m)
{
    struct iotsec_registry_access *staged = &m->staged_access;
    uint32_t newest = m->access.next_number != 0 ? m->access.next_number : m->access.number;

    if ((m->flags & MGR_L2_STAGED) == 0) {
        return IOTSEC_OK;
    }
    if (newest >= NUMBER_MAX) {
        return IOTSEC_ERR_COUNTER;
    }
    *staged = m->access;
    staged->next_number = newest + 1u;
    if (iotsec_mgr_random(m, staged->next_key, sizeof staged->next_key) != IOTSEC_OK) {
        return IOTSEC_ERR_RANDOM;
    }
    return m->config->registry->put_access(m->config->user, staged);
}

void iotsec_mgr_l2_apply(struct iotsec_manager *m, enum iotsec_status status, uint32_t leaver)
{
    bool staged = (m->flags & MGR_L2_STAGED) != 0;

    m->flags &= (uint8_t)~MGR_L2_STAGED;
    if (status == IOTSEC_OK && staged) {
        m->access = m->staged_access;
        m->flags = (uint8_t)((m->flags & ~MGR_L2_TIMED) | MGR_L2_TELL);
        m->l2_switch_at = switch_deadline(m);
        m->l2_failures = 0;
        m->l2_ready = 0;
        iotsec_mgr_l2_leave(m, leaver); /* before anybody gets it */
        hand_out(m);
    }
    iotsec_wipe(&m->staged_access, sizeof m->staged_access);
}

void iotsec_mgr_l2_leave(struct iotsec_manager *m, uint32_t device)
{
    struct iotsec_manager_contact *contact = iotsec_mgr_contact(m, device);

    if (contact != NULL) {
        contact->flags |= CONTACT_LEFT;
        iotsec_mgr_cancel(m, device, MGR_NONE);
    }
}

void iotsec_mgr_l2_tell(struct iotsec_manager *m)
{
    bool next = m->access.next_number != 0;

    if ((m->flags & MGR_L2_TELL) != 0) {
        m->flags &= (uint8_t)~MGR_L2_TELL;
        iotsec_mgr_tell_number(m, IOTSEC_MANAGER_L2_KEY, next ? (enum iotsec_status)m->l2_reason : IOTSEC_OK, 0,
                               next ? m->access.next_number : m->access.number);
    }
}

/* ---- The switch ---- */

/* Whether the next key's use waits for this contact. */
static bool is_waited_for(const struct iotsec_manager *m, const struct iotsec_manager_contact *contact)
{
    return contact->device != 0 && (contact->flags & (CONTACT_CLOSING | CONTACT_SILENT | CONTACT_LEFT)) == 0 &&
           contact->l2_stage < 2u * m->access.next_number;
}

/* Whether the switch may be made. The hand rests at a contact that is waited for, so that most calls look at one. */
static bool is_switch_due(struct iotsec_manager *m)
{
    unsigned budget;

    if (iotsec_time_reached(iotsec_mgr_now(m), m->l2_switch_at)) {
        return true;
    }
    if ((m->flags & MGR_L2_TIMED) != 0) {
        return false;
    }
    for (budget = SCAN_STRIDE; budget != 0 && m->l2_ready < m->config->contact_count; budget--) {
        if (is_waited_for(m, &m->config->contacts[m->l2_hand])) {
            m->l2_ready = 0;
            return false;
        }
        (void)iotsec_mgr_turn(&m->l2_hand, m->config->contact_count);
        m->l2_ready++;
    }
    return m->l2_ready >= m->config->contact_count;
}

/* The next key takes the place of the one in use. */
static void switch_keys(struct iotsec_manager *m)
{
    enum iotsec_status status;

    m->staged_access = m->access;
    m->staged_access.number = m->access.next_number;
    memcpy(m->staged_access.key, m->access.next_key, sizeof m->staged_access.key);
    m->staged_access.next_number = 0;
    iotsec_wipe(m->staged_access.next_key, sizeof m->staged_access.next_key);
    status = store(m);
    if (status == IOTSEC_OK) {
        m->flags |= MGR_L2_TELL;
        hand_out(m);
        iotsec_mgr_l2_tell(m);
    } else {
        m->flags |= MGR_L2_TIMED;
        m->l2_switch_at =
            iotsec_mgr_now(m) + (iotsec_value_or(m->config->step_interval_ms, IOTSEC_STEP_INTERVAL_MS) << m->l2_failures);
        if (m->l2_failures < FAILURES_MAX) {
            m->l2_failures++;
        }
        iotsec_mgr_tell(m, IOTSEC_MANAGER_KEYS_FAILED, status, 0, 0);
    }
}

void iotsec_mgr_access_poll(struct iotsec_manager *m)
{
    if (m->access.next_number != 0 && is_switch_due(m)) {
        switch_keys(m);
    }
}

uint32_t iotsec_mgr_access_wait(const struct iotsec_manager *m, uint32_t now)
{
    if (m->access.next_number == 0) {
        return UINT32_MAX;
    }
    return (m->flags & MGR_L2_TIMED) != 0 || is_waited_for(m, &m->config->contacts[m->l2_hand])
               ? iotsec_time_left(now, m->l2_switch_at)
               : 0;
}

/* ---- What the application does ---- */

enum iotsec_status iotsec_manager_access_set(struct iotsec_manager *m, uint16_t pan_id, const uint8_t prefix[8],
                                             const struct iotsec_addr *addr)
{
    struct iotsec_registry_access *staged;
    enum iotsec_status status;
    uint16_t i;

    if (m == NULL || prefix == NULL || addr == NULL || iotsec_addr_is_multicast(addr) || addr->port == 0) {
        return IOTSEC_ERR_ARGUMENT;
    }
    if (m->config->registry->put_access == NULL) {
        return IOTSEC_ERR_UNSUPPORTED;
    }
    staged = &m->staged_access;
    *staged = m->access;
    staged->pan_id = pan_id;
    memcpy(staged->prefix, prefix, sizeof staged->prefix);
    staged->manager = *addr;
    staged->manager.interface = 0;
    if (staged->number == 0) {
        staged->number = 1;
        if (iotsec_mgr_random(m, staged->key, sizeof staged->key) != IOTSEC_OK) {
            iotsec_wipe(staged, sizeof *staged);
            return IOTSEC_ERR_RANDOM;
        }
        m->flags |= MGR_L2_TELL;
    }
    status = store(m);
    if (status == IOTSEC_OK) {
        for (i = 0; i < m->config->contact_count; i++) {
            if (m->config->contacts[i].device != 0) {
                m->config->contacts[i].flags |= CONTACT_L2_OWED; /* under the same number too */
            }
        }
        hand_out(m);
    } else {
        m->flags &= (uint8_t)~MGR_L2_TELL;
    }
    return iotsec_mgr_finish(m, status);
}

enum iotsec_status iotsec_manager_l2_renew(struct iotsec_manager *m)
{
    if (m == NULL || m->access.number == 0) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    m->flags |= MGR_L2_STAGED;
    m->l2_reason = IOTSEC_ERR_CANCELLED;
    return iotsec_mgr_finish(m, iotsec_mgr_change(m, 0, false));
}

#endif
