/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The domain's polynomial: its shares, and who has been revoked.
 *
 *     the operator asks for one         M -> registry  generation g, every coefficient
 *     D -> M  SHARE_STATUS              what it has, and that it wants the rest       M -> D  ACK
 *     M -> D  SHARE(g, first, elements) one piece at a time                           D -> M  ACK, then the next
 *     M -> D  REVOKED(g, first, marks)  when the share is complete                    D -> M  ACK, then the next
 *
 *     somebody is evicted               M -> registry  its mark, in the same transaction; 32 stand there: g + 1 instead
 *     M -> D  REVOKED, or SHARE(g + 1)  to everybody who has asked in its session
 *
 * Neither the polynomial nor a share stands in memory: a delivery says which elements it is about, and each time it is
 * sent they are computed from the registry's coefficients, in blocks on the stack that are wiped. The point that they are
 * computed at is that of the contact's device, whose PSK has authenticated the session: nobody can ask for another's share.
 */
#include "access/manager_state.h"

#include <string.h>

#if IOTSEC_PAIRWISE && IOTSEC_ROLE_MANAGER

#define ELEMENT IOTSEC_POLY_ELEMENT_BYTES
/* Coefficients that are in memory at once. */
#define BLOCK 8u

/* ---- The registry ---- */

enum iotsec_status iotsec_mgr_poly_load(struct iotsec_manager *m)
{
    const struct iotsec_registry *registry = m->config->registry;
    enum iotsec_status status = IOTSEC_ERR_NOT_FOUND;

    if (registry->poly != NULL) {
        status = registry->poly(m->config->user, &m->poly);
    }
    if (status == IOTSEC_OK && m->poly.generation >= 1 && m->poly.degree >= 1 && m->poly.revoked_count <= IOTSEC_REVOKED_MAX &&
        m->poly.carried <= m->poly.revoked_count) {
        return IOTSEC_OK;
    }
    memset(&m->poly, 0, sizeof m->poly);
    return status == IOTSEC_ERR_NOT_FOUND ? IOTSEC_OK : IOTSEC_ERR_REGISTRY;
}

/* In a transaction: draws a new polynomial and writes it. */
static enum iotsec_status stage_new(struct iotsec_manager *m, uint8_t degree, bool overlap, enum iotsec_status reason)
{
    const struct iotsec_registry *registry = m->config->registry;
    struct iotsec_registry_poly *staged = &m->staged_poly;
    uint32_t above = m->poly_above > m->poly.generation ? m->poly_above : m->poly.generation;
    uint8_t block[BLOCK * ELEMENT];
    enum iotsec_status status;
    unsigned row;
    unsigned first;

    if (above == UINT32_MAX) {
        return IOTSEC_ERR_COUNTER;
    }
    memset(staged, 0, sizeof *staged);
    staged->generation = above + 1u;
    staged->degree = degree;
    if (overlap && above == m->poly.generation) { /* of one that only the devices know the marks are not known */
        /* No device takes the new share without these. What was carried to the old generation counts as long as that one. */
        staged->gentle = 1;
        staged->carried = staged->revoked_count = (uint8_t)(m->poly.revoked_count - m->poly.carried);
        memcpy(staged->revoked, m->poly.revoked[m->poly.carried], sizeof staged->revoked[0] * staged->carried);
    }
    m->poly_reason = (int8_t)reason;
    status = registry->put_poly(m->config->user, staged);
    for (row = 0; row <= degree; row++) {
        for (first = 0; first <= row && status == IOTSEC_OK; first += BLOCK) {
            unsigned count = row + 1u - first < BLOCK ? row + 1u - first : BLOCK;

            status = iotsec_polykey_draw(m->config->hal, block, count);
            if (status == IOTSEC_OK) {
                status = registry->put_coefficients(m->config->user, (uint8_t)row, (uint8_t)first, (uint16_t)count, block);
            }
            iotsec_wipe(block, sizeof block);
        }
    }
    return status;
}

enum iotsec_status iotsec_mgr_poly_stage(struct iotsec_manager *m, uint32_t leaver)
{
    const struct iotsec_registry *registry = m->config->registry;
    struct iotsec_registry_poly *staged = &m->staged_poly;
    uint8_t point[ELEMENT];
    enum iotsec_status status;
    unsigned i;

    if (m->poly.generation == 0) {
        return IOTSEC_OK;
    }
    status = registry->point(m->config->user, leaver, point);
    if (status != IOTSEC_OK) {
        /* who has no identity never was here: an eviction beforehand needs no mark */
        return status == IOTSEC_ERR_NOT_FOUND ? IOTSEC_OK : status;
    }
    /* a carried one will do for whoever was admitted again: it counts as long as this generation does */
    for (i = 0; i < m->poly.revoked_count; i++) {
        if (memcmp(m->poly.revoked[i], point, IOTSEC_REVOKED_BYTES) == 0) {
            return IOTSEC_OK;
        }
    }
    if (i == IOTSEC_REVOKED_MAX) {
        return stage_new(m, m->poly.degree, false, IOTSEC_ERR_FULL);
    }
    *staged = m->poly;
    memcpy(staged->revoked[i], point, IOTSEC_REVOKED_BYTES);
    staged->revoked_count++;
    return registry->put_poly(m->config->user, staged);
}

void iotsec_mgr_poly_apply(struct iotsec_manager *m, enum iotsec_status status)
{
    bool fresh = m->staged_poly.generation > m->poly.generation;
    uint16_t i;

    if (status != IOTSEC_OK && fresh) {
        m->poly_reason = IOTSEC_OK;
    } else if (status == IOTSEC_OK && m->staged_poly.generation != 0) {
        if (fresh) {
            iotsec_mgr_cancel(m, 0, MGR_SHARES);
            for (i = 0; i < m->config->contact_count; i++) {
                struct iotsec_manager_contact *contact = &m->config->contacts[i];

                contact->share_flags &= CONTACT_SHARE_WANTED;
                contact->share_next = 0;
                contact->revoked_to = 0;
            }
        }
        m->poly = m->staged_poly;
        m->walk_left[WALK_SHARES] = m->config->contact_count;
    }
    memset(&m->staged_poly, 0, sizeof m->staged_poly);
}

void iotsec_mgr_share_leave(struct iotsec_manager *m, uint32_t device)
{
    struct iotsec_manager_contact *contact = iotsec_mgr_contact(m, device);

    if (contact != NULL) {
        iotsec_mgr_cancel(m, device, MGR_SHARES);
        contact->share_flags = 0;
    }
}

void iotsec_mgr_poly_tell(struct iotsec_manager *m)
{
    enum iotsec_status reason = (enum iotsec_status)m->poly_reason;

    if (reason != IOTSEC_OK) {
        m->poly_reason = IOTSEC_OK;
        iotsec_mgr_tell_number(m, IOTSEC_MANAGER_POLY, reason, 0, m->poly.generation);
    }
}

/* ---- Shares ---- */

/* Computes elements of a device's share: share[j] = sum of a[j][i] x^i. They are wiped unless it says OK. */
static enum iotsec_status compute_share(const struct iotsec_manager *m, const struct iotsec_manager_delivery *d, uint8_t *elements)
{
    const struct iotsec_registry *registry = m->config->registry;
    struct iotsec_polykey_sum sum;
    uint8_t point[ELEMENT];
    uint8_t block[BLOCK * ELEMENT];
    enum iotsec_status status = registry->point(m->config->user, d->device, point);
    unsigned n;

    for (n = 0; n < d->code && status == IOTSEC_OK; n++) {
        unsigned end = m->poly.degree + 1u;

        iotsec_polykey_sum_start(&sum, point);
        while (end != 0 && status == IOTSEC_OK) {
            unsigned first = (end - 1u) & ~(BLOCK - 1u);

            status = registry->coefficients(m->config->user, (uint8_t)(d->sender_id + n), (uint8_t)first, (uint16_t)(end - first), block);
            if (status == IOTSEC_OK) {
                iotsec_polykey_sum_add(&sum, block, end - first);
            }
            iotsec_wipe(block, sizeof block);
            end = first;
        }
        iotsec_polykey_sum_finish(&sum, elements + n * ELEMENT);
    }
    if (status != IOTSEC_OK) {
        iotsec_wipe(elements, d->code * (size_t)ELEMENT);
    }
    return status;
}

bool iotsec_mgr_share_send(struct iotsec_manager *m, const struct iotsec_manager_delivery *d, const struct iotsec_manager_contact *contact)
{
    struct iotsec_km_message message;
    uint8_t elements[IOTSEC_SHARE_CHUNK_MAX * ELEMENT];

    memset(&message, 0, sizeof message);
    message.kind = d->kind;
    message.message = d->message;
    message.key_number = d->key_number;
    message.first = (uint8_t)d->sender_id;
    message.count = d->code;
    message.revoked = m->poly.revoked_count; /* as of now: the list may have grown since the first round */
    if (d->kind == IOTSEC_KM_REVOKED) {
        message.tail = m->poly.revoked[d->sender_id];
        iotsec_mgr_send(m, contact, &message);
        return true;
    }
    if (compute_share(m, d, elements) != IOTSEC_OK) {
        return false;
    }
    message.degree = m->poly.degree;
    message.code = m->poly.gentle != 0 ? IOTSEC_KM_SHARE_GENTLE : 0;
    message.tail = elements;
    iotsec_mgr_send(m, contact, &message);
    iotsec_wipe(elements, sizeof elements);
    return true;
}

/* ---- Deliveries ---- */

/* Whether the device lacks something of its share or of the revocations. */
static bool is_owed(const struct iotsec_manager *m, const struct iotsec_manager_contact *contact)
{
    return m->poly.generation != 0 && (contact->flags & CONTACT_CLOSING) == 0 &&
           (contact->share_flags & (CONTACT_SHARE_WANTED | CONTACT_SHARE_REFUSED)) == CONTACT_SHARE_WANTED &&
           (contact->share_next <= m->poly.degree || contact->revoked_to < m->poly.revoked_count);
}

/* Whether a share may take a place in the pool. Keys come first: while some may be waiting for a place shares take none, and
 * they never take the last quarter, lest devices that do not answer hold keys up. */
bool iotsec_mgr_share_has_place(const struct iotsec_manager *m)
{
    uint16_t count = m->config->delivery_count;

    return m->scan_left == 0 && m->deliveries_used < count - (count + 2u) / 4u;
}

/* Elements of a share for one message to a device. */
static unsigned chunk(const struct iotsec_manager *m, const struct iotsec_manager_contact *contact)
{
    size_t room = iotsec_dtls_room(&m->dtls, contact->session);
    unsigned left = m->poly.degree + 1u - contact->share_next;
    size_t count = room >= IOTSEC_KM_SHARE_BYTES + ELEMENT ? (room - IOTSEC_KM_SHARE_BYTES) / ELEMENT : 1u;

    count = count < IOTSEC_SHARE_CHUNK_MAX ? count : IOTSEC_SHARE_CHUNK_MAX;
    return count < left ? (unsigned)count : left;
}

void iotsec_mgr_share_deliver(struct iotsec_manager *m, struct iotsec_manager_contact *contact)
{
    struct iotsec_manager_delivery *d;
    unsigned left;

    if (contact->device == 0 || (contact->flags & CONTACT_SILENT) != 0 || (contact->share_flags & CONTACT_SHARE_SENDING) != 0 ||
        !is_owed(m, contact)) {
        return;
    }
    d = iotsec_mgr_share_has_place(m) ? iotsec_mgr_new_delivery(m) : NULL;
    if (d == NULL) {
        m->walk_left[WALK_SHARES] = m->config->contact_count;
        return;
    }
    contact->share_flags = (uint8_t)((contact->share_flags | CONTACT_SHARE_SENDING) & ~CONTACT_SHARE_TOLD);
    d->key_number = m->poly.generation;
    if (contact->share_next <= m->poly.degree) {
        d->kind = IOTSEC_KM_SHARE;
        d->sender_id = contact->share_next;
        d->code = (uint8_t)chunk(m, contact);
    } else {
        left = (unsigned)m->poly.revoked_count - contact->revoked_to;
        d->kind = IOTSEC_KM_REVOKED;
        d->sender_id = contact->revoked_to;
        d->code = (uint8_t)(left < IOTSEC_KM_REVOKED_MARKS ? left : IOTSEC_KM_REVOKED_MARKS);
    }
    iotsec_mgr_start(m, d, contact);
}

/* Delivers what is owed, or says once that nothing is. Runs the application's code. */
static void go_on(struct iotsec_manager *m, struct iotsec_manager_contact *contact)
{
    if (is_owed(m, contact)) {
        iotsec_mgr_share_deliver(m, contact);
    } else if ((contact->share_flags & (CONTACT_SHARE_TOLD | CONTACT_SHARE_REFUSED)) == 0) {
        contact->share_flags |= CONTACT_SHARE_TOLD;
        iotsec_mgr_tell_number(m, IOTSEC_MANAGER_SHARE, IOTSEC_OK, contact->device, m->poly.generation);
    }
}

void iotsec_mgr_share_acknowledge(struct iotsec_manager *m, struct iotsec_manager_contact *contact,
                                  const struct iotsec_manager_delivery *d, uint8_t result)
{
    if (result != IOTSEC_KM_DONE) {
        contact->share_flags |= CONTACT_SHARE_REFUSED;
        iotsec_mgr_tell_number(m, IOTSEC_MANAGER_SHARE_REFUSED, IOTSEC_ERR_DEGREE, contact->device, d->key_number);
        return;
    }
    if (d->kind == IOTSEC_KM_SHARE) {
        contact->share_next = (uint16_t)(d->sender_id + d->code);
    } else {
        contact->revoked_to = (uint8_t)(d->sender_id + d->code);
    }
    go_on(m, contact);
}

/* ---- Requests ---- */

enum iotsec_km_result iotsec_mgr_take_share_status(struct iotsec_manager *m, struct iotsec_manager_contact *contact,
                                                   const struct iotsec_km_message *message)
{
    uint32_t newest = message->next_generation > message->key_number ? message->next_generation : message->key_number;
    uint32_t generation = m->poly.generation;
    uint32_t device = contact->device;
    bool behind = false;
    bool owed;

    if (m->config->registry->poly != NULL && newest > generation) {
        /* The registry may be an older copy: the next generation is to be one that the device takes. */
        if (newest - generation <= IOTSEC_GENERATIONS_AHEAD_MAX && newest > m->poly_above) {
            m->poly_above = newest;
        }
        iotsec_mgr_tell_number(m, IOTSEC_MANAGER_AHEAD, IOTSEC_ERR_EPOCH, device, newest);
        return IOTSEC_KM_FAILED;
    }
    iotsec_mgr_cancel(m, device, MGR_SHARES); /* it says itself where to go on */
    contact->share_flags |= CONTACT_SHARE_WANTED;
    contact->share_next = 0;
    contact->revoked_to = 0;
    if (generation == 0) {
        return IOTSEC_KM_NOT_MEMBER; /* yet */
    }
    if (newest == generation) {
        /* more than there is counts as all of it */
        contact->share_next = message->key_number == generation ? IOTSEC_POLY_DEGREE_MAX + 1u : message->held;
        contact->revoked_to = message->revoked;
        /* An older copy as well: who is evicted next gets a number in the list that the device has passed. */
        behind = message->revoked > m->poly.revoked_count;
    }
    owed = is_owed(m, contact);
    if (!owed) {
        go_on(m, contact);
    }
    if (behind) {
        iotsec_mgr_tell_number(m, IOTSEC_MANAGER_AHEAD, IOTSEC_ERR_EPOCH, device, generation);
    }
    return owed ? IOTSEC_KM_KEYS_FOLLOW : IOTSEC_KM_DONE;
}

/* ---- What the application does ---- */

enum iotsec_status iotsec_manager_poly_renew(struct iotsec_manager *m, unsigned degree, int overlap)
{
    enum iotsec_status status;

    if (m == NULL || m->config->registry->poly == NULL) {
        return IOTSEC_ERR_UNSUPPORTED;
    }
    if (degree < 1 || degree > IOTSEC_POLY_DEGREE_MAX) {
        return IOTSEC_ERR_DEGREE;
    }
    status = iotsec_mgr_begin(m);
    if (status == IOTSEC_OK) {
        status = iotsec_mgr_end(m, stage_new(m, (uint8_t)degree, overlap != 0, IOTSEC_ERR_CANCELLED));
    }
    iotsec_mgr_poly_apply(m, status);
    return iotsec_mgr_finish(m, status);
}

#endif
