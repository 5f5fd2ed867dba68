/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Deliveries: what is repeated until the device acknowledges it.
 *
 *     M -> D  MASTER_KEY(message, group, K, sender, TGK)  and  PARAMETERS(message, group, K, RAND, address)
 *     M -> D  REFUSED | EVICTED | GROUP_REMOVED | ACCESS (manager_access.c) | SHARE | REVOKED (manager_poly.c)
 *     D -> M  ACK(message, result)
 *
 * Both halves leave together, every time, in fresh records. The pool of deliveries is small; members
 * whose turn has not come are found by a scan that looks at a few members a call, first at those heard
 * lately. A kept sender ID is delivered only on a session on which the device has shown that it still
 * holds that ID's counter: to one that has lost its state the same keys would mean the same nonces.
 */
#include "access/manager_state.h"

#include <string.h>

#if IOTSEC_ROLE_MANAGER

/* Times a message is sent: about 40 s with the default waits. One in 10 000 fails at 50 % loss. */
#define ROUNDS_MAX 32u
/* The first wait grows with the round trip as far as so many times what it is otherwise: a longer one keeps a place in the pool. */
#define FIRST_WAIT_MAX 4u
/* Members, and contacts, that one call looks at. */
#define SCAN_STRIDE 64u
/* Where more than this part of the deliveries is under way, few handshakes begin. */
#define PACE 8u
/* Heard within this time: served first. */
#define ACTIVE_MS 300000u

static bool is_keys(unsigned kind)
{
    return kind == IOTSEC_KM_PARAMETERS || kind == IOTSEC_KM_PARAMETERS_EVICTION;
}

static bool is_share(unsigned kind)
{
    return IOTSEC_PAIRWISE && (kind == IOTSEC_KM_SHARE || kind == IOTSEC_KM_REVOKED);
}

/* Whether a result ends a delivery. What is no key and no share is only to be heard; FAILED means: try again. */
static bool is_settled(unsigned kind, unsigned result)
{
    if (kind == IOTSEC_KM_ACCESS || is_share(kind)) {
        return result == IOTSEC_KM_DONE || (kind == IOTSEC_KM_SHARE && result == IOTSEC_KM_NO_ROOM);
    }
    return result == IOTSEC_KM_DONE || result == IOTSEC_KM_CONFLICT || result == IOTSEC_KM_NO_ROOM;
}

/* ---- The pool: its used part is dense ---- */

/* The member whose keys it delivers; NULL if it is none any more. */
static struct iotsec_manager_member *member_of(const struct iotsec_manager *m, const struct iotsec_manager_delivery *d)
{
    return iotsec_mgr_member(m, d->device, d->group);
}

struct iotsec_manager_delivery *iotsec_mgr_new_delivery(struct iotsec_manager *m)
{
    if (m->deliveries_used >= m->config->delivery_count) {
        iotsec_mgr_scan_request(m);
        return NULL;
    }
    return &m->config->deliveries[m->deliveries_used++];
}

static void free_delivery(struct iotsec_manager *m, struct iotsec_manager_delivery *delivery)
{
    struct iotsec_manager_delivery *last = &m->config->deliveries[--m->deliveries_used];

    if (is_keys(delivery->kind)) {
        struct iotsec_manager_member *member = member_of(m, delivery);

        if (member != NULL) {
            member->flags &= (uint8_t)~MEMBER_SENDING;
        }
    }
#if IOTSEC_ACCESS || IOTSEC_PAIRWISE
    {
        struct iotsec_manager_contact *contact = iotsec_mgr_contact(m, delivery->device);

        if (contact != NULL) {
#if IOTSEC_ACCESS
            if (delivery->kind == IOTSEC_KM_ACCESS) {
                contact->flags &= (uint8_t)~CONTACT_L2_SENDING;
            }
#endif
#if IOTSEC_PAIRWISE
            if (is_share(delivery->kind)) {
                contact->share_flags &= (uint8_t)~CONTACT_SHARE_SENDING;
            }
#endif
        }
    }
#endif
    *delivery = *last;
    iotsec_wipe(last, sizeof *last);
}

void iotsec_mgr_cancel(struct iotsec_manager *m, uint32_t device, unsigned what)
{
    const struct iotsec_manager_group *group = iotsec_mgr_group_at(m, what);
    struct iotsec_manager_delivery *d;

    /* what stands behind has been looked at when it takes a free place */
    for (d = m->config->deliveries + m->deliveries_used; d-- != m->config->deliveries;) {
        bool concerned = true;

        if (group != NULL) {
            concerned = is_keys(d->kind) ? d->group == what : device != 0 && d->group == group->id;
        } else if (IOTSEC_PAIRWISE && what == MGR_SHARES) {
            concerned = is_share(d->kind);
        }
        if (concerned && (device == 0 || d->device == device)) {
            free_delivery(m, d);
        }
    }
}

/* ---- Sending ---- */

void iotsec_mgr_send(struct iotsec_manager *m, const struct iotsec_manager_contact *contact,
                     const struct iotsec_km_message *message)
{
    uint8_t bytes[IOTSEC_KM_MAX_BYTES];
    size_t len;

    /* a failure is a loss: the message is repeated, or the device asks again */
    if (iotsec_km_encode(message, bytes, sizeof bytes, &len) == IOTSEC_OK) {
        (void)iotsec_dtls_send(&m->dtls, contact->session, iotsec_km_content_type(message->kind), bytes, len);
    }
    iotsec_wipe(bytes, sizeof bytes);
}

/* That an acknowledgement has come shows how long the contact's last delivery took: RFC 6298. One estimate for all of them,
 * since what makes them late is the queue that they share. */
static void measure(struct iotsec_manager *m, struct iotsec_manager_contact *contact, unsigned message)
{
    uint32_t before = m->round_trip / 8;
    uint32_t ms = contact->unsure_ms;

    if (ms == 0 || contact->unsure != message) {
        return;
    }
    contact->unsure_ms = 0;
    if (m->round_trip == 0) {
        m->round_trip = 8 * ms;
        m->round_trip_off = 2 * ms;
    } else {
        m->round_trip += ms - before;
        m->round_trip_off += (ms > before ? ms - before : before - ms) - m->round_trip_off / 4;
    }
}

/* How long to wait after a round, the first being 1. That one's wait is as long as the way is; if it was in vain something is
 * lost, and where much is, short waits get through. */
static uint32_t wait_after(const struct iotsec_manager *m, unsigned round)
{
    uint32_t initial = iotsec_value_or(m->config->retransmit_initial_ms, IOTSEC_RETRANSMIT_INITIAL_MS);
    uint32_t max = iotsec_value_or(m->config->retransmit_max_ms, IOTSEC_RETRANSMIT_MAX_MS);
    uint32_t wait = initial;

    if (round == 1) {
        wait = iotsec_min_u32(m->round_trip / 8 + m->round_trip_off, iotsec_min_u32(FIRST_WAIT_MAX * initial, max));
        return wait < initial ? initial : wait;
    }
    while (--round != 0) {
        wait = iotsec_longer(wait, max);
    }
    return wait;
}

/* Sets when a delivery is sent again, which was sent last at that time. */
static void set_repeat(const struct iotsec_manager *m, struct iotsec_manager_delivery *d, uint32_t sent_at)
{
    uint32_t wait = wait_after(m, d->rounds);
    uint8_t random = 0;

    (void)iotsec_mgr_random(m, &random, sizeof random); /* without, devices only collide more often */
    d->repeat_at = sent_at + wait + (wait / 4 * random >> 8);
}

/* Sends a delivery's message, or both halves, and sets its next time. */
static void send_delivery(struct iotsec_manager *m, struct iotsec_manager_delivery *d)
{
    const struct iotsec_manager_contact *contact = iotsec_mgr_contact(m, d->device);
    struct iotsec_km_message message;

    d->rounds++;
    set_repeat(m, d, iotsec_mgr_now(m));
    if (contact == NULL) {
        return;
    }
#if IOTSEC_PAIRWISE
    if (is_share(d->kind)) {
        if (!iotsec_mgr_share_send(m, d, contact)) {
            d->rounds--; /* the device is not to blame */
        }
        return;
    }
#endif
    memset(&message, 0, sizeof message);
    message.kind = d->kind;
    message.message = d->message;
    message.group_id = d->group;
    message.code = d->code;
    if (is_keys(d->kind)) {
        const struct iotsec_registry_group *group = &iotsec_mgr_group_at(m, d->group)->now;

        message.group_id = group->group_id;
        message.key_number = d->key_number;
        message.sender_id = d->sender_id;
        message.kind = IOTSEC_KM_MASTER_KEY;
        memcpy(message.secret, d->tgk, sizeof message.secret);
        iotsec_mgr_send(m, contact, &message);
        message.kind = d->kind;
        /* the generation is the same: a newer one would have superseded this delivery */
        memcpy(message.secret, group->rand, sizeof message.secret);
        message.addr = group->addr;
    }
#if IOTSEC_ACCESS
    if (d->kind == IOTSEC_KM_ACCESS) {
        iotsec_mgr_access_fill(m, d, &message);
    }
#endif
    iotsec_mgr_send(m, contact, &message);
    iotsec_wipe(&message, sizeof message);
}

void iotsec_mgr_start(struct iotsec_manager *m, struct iotsec_manager_delivery *d, struct iotsec_manager_contact *contact)
{
    d->device = contact->device;
    d->message = contact->next_id++;
#if IOTSEC_ACCESS && IOTSEC_CONNECTION_ID
    if (d->message == contact->path_check) {
        memset(contact->candidate, 0, sizeof contact->candidate); /* what acknowledges this one shows nothing of a path */
    }
#endif
    d->rounds = 0;
    d->sent_at = iotsec_mgr_now(m);
    send_delivery(m, d);
}

bool iotsec_mgr_notify(struct iotsec_manager *m, struct iotsec_manager_contact *contact, unsigned kind, unsigned group_id,
                       unsigned code)
{
    struct iotsec_manager_delivery once;
    struct iotsec_manager_delivery *d = m->config->deliveries;
    const struct iotsec_manager_delivery *end = d + m->deliveries_used;

    for (; d != end; d++) {
        if (d->device == contact->device && d->kind == kind && d->group == group_id) {
            return true; /* on its way already */
        }
    }
    d = iotsec_mgr_new_delivery(m);
    if (d == NULL) {
        d = &once;
    }
    memset(d, 0, sizeof *d);
    d->kind = (uint8_t)kind;
    d->group = (uint16_t)group_id;
    d->code = (uint8_t)code;
    iotsec_mgr_start(m, d, contact);
    return d != &once;
}

/* ---- Keys ---- */

/* Whether key number `a` is of an older generation than `b`. */
static bool is_older(uint32_t a, uint32_t b)
{
    return a >> 8 < b >> 8;
}

bool iotsec_mgr_owed(const struct iotsec_manager *m, const struct iotsec_manager_member *member)
{
    return (member->flags & MEMBER_OWED) != 0 ||
           is_older(member->acknowledged, iotsec_mgr_group_at(m, member->group)->now.key_number);
}

/* Freezes the group's present keys for a member and sends them. */
static void start_keys(struct iotsec_manager *m, struct iotsec_manager_delivery *d, const struct iotsec_manager_member *member,
                       struct iotsec_manager_contact *contact)
{
    const struct iotsec_manager_group *group = iotsec_mgr_group_at(m, member->group);

    d->group = member->group;
    d->key_number = group->now.key_number;
    d->sender_id = member->sender_id;
    memcpy(d->tgk, group->now.tgk, sizeof d->tgk);
    d->code = 0;
    /* Whoever missed the generation in which somebody left must not keep its old key for a moment longer. */
    d->kind = is_older(member->acknowledged, group->gentle_from) ? IOTSEC_KM_PARAMETERS_EVICTION : IOTSEC_KM_PARAMETERS;
    iotsec_mgr_start(m, d, contact);
}

void iotsec_mgr_deliver(struct iotsec_manager *m, struct iotsec_manager_member *member)
{
    struct iotsec_manager_contact *contact = iotsec_mgr_contact(m, member->device);
    struct iotsec_manager_delivery *d;

    if (contact == NULL || (contact->flags & (CONTACT_CLOSING | CONTACT_SILENT)) != 0 ||
        (member->flags & (MEMBER_PROVEN | MEMBER_SENDING | MEMBER_WAITING)) != MEMBER_PROVEN || !iotsec_mgr_owed(m, member)) {
        return;
    }
    d = iotsec_mgr_new_delivery(m);
    if (d != NULL) {
        member->flags |= MEMBER_SENDING;
        start_keys(m, d, member, contact);
    }
}

/* ---- Acknowledgements ---- */

void iotsec_mgr_acknowledge(struct iotsec_manager *m, struct iotsec_manager_member *member, uint32_t key_number)
{
    bool joined = (member->flags & MEMBER_NEW) != 0;
    bool updated = member->acknowledged != key_number;

    member->flags &= (uint8_t) ~(MEMBER_OWED | MEMBER_NEW | MEMBER_LOADED);
    member->acknowledged = key_number;
    if (joined || updated) {
        iotsec_mgr_tell(m, joined ? IOTSEC_MANAGER_MEMBER_JOINED : IOTSEC_MANAGER_MEMBER_UPDATED, IOTSEC_OK, member->device,
                        iotsec_mgr_group_at(m, member->group)->now.group_id);
    }
}

/* D -> M  ACK of keys */
static void take_keys_ack(struct iotsec_manager *m, const struct iotsec_manager_delivery *d, unsigned result)
{
    struct iotsec_manager_member *member = member_of(m, d);
    struct iotsec_manager_group *group = iotsec_mgr_group_at(m, d->group);

    if (member == NULL) {
        return;
    }
    if (result == IOTSEC_KM_DONE) {
        iotsec_mgr_acknowledge(m, member, d->key_number);
    } else if (result == IOTSEC_KM_CONFLICT) {
        iotsec_mgr_renew(m, group, IOTSEC_ERR_KEY_CONFLICT, 0); /* by the next poll: not from so deep a stack */
    } else {
        /* NO_ROOM: it has no use for this generation's keys; perhaps for the next one's */
        member->flags &= (uint8_t) ~(MEMBER_OWED | MEMBER_NEW);
        member->acknowledged = d->key_number;
        iotsec_mgr_tell(m, IOTSEC_MANAGER_MEMBER_REFUSED, IOTSEC_ERR_FULL, d->device, group->now.group_id);
    }
}

void iotsec_mgr_take_ack(struct iotsec_manager *m, struct iotsec_manager_contact *contact, const struct iotsec_km_message *message)
{
    struct iotsec_manager_delivery *waiting = m->config->deliveries;
    const struct iotsec_manager_delivery *end = waiting + m->deliveries_used;
    struct iotsec_manager_delivery d;

    while (waiting != end && (waiting->device != contact->device || waiting->message != message->message)) {
        waiting++;
    }
    if (waiting == end) {
        /* if a second copy has arrived, the first acknowledgement most likely was of the first one */
        measure(m, contact, message->message);
    }
    if (waiting == end || !is_settled(waiting->kind, message->code)) {
        /* late, or FAILED: then the next repeat tries again */
        iotsec_mgr_drop(m, IOTSEC_DROP_UNEXPECTED);
        return;
    }
    memcpy(&d, waiting, offsetof(struct iotsec_manager_delivery, tgk)); /* all but the secret */
    free_delivery(m, waiting);
    contact->unsure = d.message;
    contact->unsure_ms = (uint16_t)iotsec_min_u32(iotsec_mgr_now(m) - d.sent_at + 1, UINT16_MAX);
    if (d.rounds == 1) {
        measure(m, contact, d.message); /* otherwise, Karn, which copy it answers is not known yet */
    }
    if (is_keys(d.kind)) {
        take_keys_ack(m, &d, message->code);
#if IOTSEC_ACCESS
    } else if (d.kind == IOTSEC_KM_ACCESS) {
        iotsec_mgr_access_acknowledge(m, contact, d.key_number);
#endif
#if IOTSEC_PAIRWISE
    } else if (is_share(d.kind)) {
        iotsec_mgr_share_acknowledge(m, contact, &d, message->code);
#endif
    } else if ((contact->flags & CONTACT_CLOSING) != 0) {
        iotsec_mgr_contact_close(m, contact, IOTSEC_ALERT_ACCESS_DENIED, IOTSEC_ERR_EVICTED);
    }
}

/* ---- Time ---- */

/* Nobody answers. */
static void give_up(struct iotsec_manager *m, struct iotsec_manager_delivery *d)
{
    uint32_t device = d->device;
    uint16_t group_id = is_keys(d->kind) ? iotsec_mgr_group_at(m, d->group)->now.group_id : d->group;
    struct iotsec_manager_contact *contact = iotsec_mgr_contact(m, device);

    free_delivery(m, d);
    if (contact != NULL) {
        if ((contact->flags & CONTACT_CLOSING) != 0) {
            iotsec_mgr_contact_close(m, contact, IOTSEC_ALERT_ACCESS_DENIED, IOTSEC_ERR_EVICTED);
            return;
        }
        contact->flags |= CONTACT_SILENT;
    }
    iotsec_mgr_tell(m, IOTSEC_MANAGER_UNREACHABLE, IOTSEC_ERR_NO_ANSWER, device, group_id);
}

void iotsec_mgr_scan_request(struct iotsec_manager *m)
{
#if IOTSEC_ACCESS || IOTSEC_PAIRWISE
    m->walk_left[WALK_ACCESS] = m->walk_left[WALK_SHARES] = m->config->contact_count;
#endif
    if (m->scan_left != 0) {
        /* starting over at every request would never come to the second pass */
        m->flags |= MGR_SCAN_AGAIN;
    } else {
        m->scan_left = 2u * m->config->member_count;
    }
}

/* A member of a group that is no more. There may be another one of that ID by now, and the device in it already. */
static void dismiss_member(struct iotsec_manager *m, struct iotsec_manager_member *member)
{
    uint16_t group_id = iotsec_mgr_group_at(m, member->group)->now.group_id;
    uint32_t device = member->device;
    struct iotsec_manager_contact *contact = iotsec_mgr_contact(m, device);
    const struct iotsec_manager_group *anew = iotsec_mgr_group(m, group_id);
    unsigned kind = member->sender_id != 0 ? IOTSEC_KM_GROUP_REMOVED : IOTSEC_KM_REFUSED;

    iotsec_mgr_member_free(m, member);
    if (contact != NULL && (contact->flags & (CONTACT_CLOSING | CONTACT_SILENT)) == 0 &&
        (anew == NULL || iotsec_mgr_member(m, device, anew->index) == NULL)) {
        (void)iotsec_mgr_notify(m, contact, kind, group_id, IOTSEC_KM_REASON_GROUP);
    }
    iotsec_mgr_tell(m, IOTSEC_MANAGER_MEMBER_LEFT, IOTSEC_ERR_NOT_FOUND, device, group_id);
}

static void scan_member(struct iotsec_manager *m, struct iotsec_manager_member *member, bool active_only)
{
    const struct iotsec_manager_contact *contact = iotsec_mgr_contact(m, member->device);

    if (member->device == 0) {
        return;
    }
    if (iotsec_mgr_group_at(m, member->group)->state == GROUP_REMOVED) {
        dismiss_member(m, member);
    } else if (contact != NULL && (!active_only || iotsec_mgr_now(m) - contact->heard_at <= ACTIVE_MS)) {
        iotsec_mgr_deliver(m, member);
    }
}

/* All members have been looked at since the groups were removed. */
static void free_removed_groups(struct iotsec_manager *m)
{
    const struct iotsec_manager_group *group;
    unsigned g;

    m->flags &= (uint8_t)~MGR_REMOVED;
    for (g = 0; (group = iotsec_mgr_group_at(m, g)) != NULL; g++) {
        if (group->state == GROUP_REMOVED) {
            if ((group->flags & GROUP_LISTED) != 0) {
                m->flags |= MGR_REMOVED; /* iotsec_mgr_serve takes it out of its list first */
            } else {
                iotsec_mgr_release(m, TABLE_GROUPS, g);
            }
        }
    }
}

static bool has_place(const struct iotsec_manager *m)
{
    return m->deliveries_used < m->config->delivery_count;
}

static void scan(struct iotsec_manager *m)
{
    unsigned budget;

    for (budget = SCAN_STRIDE; budget != 0 && m->scan_left != 0 && has_place(m); budget--) {
        bool active_only = m->scan_left > m->config->member_count;
        unsigned slot = iotsec_mgr_turn(&m->scan, m->config->member_count);

        m->scan_left--;
        if (m->scan_left == 0 && (m->flags & MGR_SCAN_AGAIN) != 0) {
            m->flags &= (uint8_t)~MGR_SCAN_AGAIN;
            m->scan_left = 2u * m->config->member_count;
        }
        scan_member(m, iotsec_mgr_member_at(m, slot), active_only);
    }
    if (m->scan_left == 0 && (m->flags & MGR_REMOVED) != 0) {
        free_removed_groups(m);
    }
}

#if IOTSEC_ACCESS || IOTSEC_PAIRWISE
/* Whether contacts are to be looked at, and what is found has a place. */
static bool may_walk(const struct iotsec_manager *m, unsigned walk)
{
#if IOTSEC_PAIRWISE
    if (walk == WALK_SHARES && !iotsec_mgr_share_has_place(m)) {
        return false;
    }
#endif
    return m->walk_left[walk] != 0 && has_place(m);
}

static void walk_contacts(struct iotsec_manager *m, unsigned walk)
{
    unsigned budget;

    for (budget = SCAN_STRIDE; budget != 0 && may_walk(m, walk); budget--) {
        struct iotsec_manager_contact *contact =
            &m->config->contacts[iotsec_mgr_turn(&m->walk_slot[walk], m->config->contact_count)];

        m->walk_left[walk]--;
#if IOTSEC_ACCESS
        if (walk == WALK_ACCESS) {
            iotsec_mgr_access_deliver(m, contact);
        }
#endif
#if IOTSEC_PAIRWISE
        if (walk == WALK_SHARES) {
            iotsec_mgr_share_deliver(m, contact);
        }
#endif
    }
}
#endif

void iotsec_mgr_deliver_poll(struct iotsec_manager *m)
{
    uint32_t now = iotsec_mgr_now(m);
    unsigned i = 0;

#if IOTSEC_ACCESS
    walk_contacts(m, WALK_ACCESS);
#endif
    while (i < m->deliveries_used) {
        struct iotsec_manager_delivery *d = &m->config->deliveries[i];

        if (iotsec_time_reached(now, d->repeat_at) && d->rounds == 1 && now - d->sent_at < wait_after(m, 1)) {
            set_repeat(m, d, d->sent_at); /* the way has become longer since */
        }
        if (!iotsec_time_reached(now, d->repeat_at)) {
            i++;
        } else if (d->rounds < ROUNDS_MAX) {
            send_delivery(m, d);
            i++;
        } else {
            give_up(m, d); /* another one, or none, stands there now */
        }
    }
    scan(m);
#if IOTSEC_PAIRWISE
    walk_contacts(m, WALK_SHARES); /* keys come first */
#endif
    /* Those who are through get their keys before others begin: who waits for them asks, and fills the link where they are to go. */
    m->dtls.first_wait = m->deliveries_used > m->config->delivery_count / PACE ? wait_after(m, 1) : 0;
}

uint32_t iotsec_mgr_deliver_wait(const struct iotsec_manager *m, uint32_t now)
{
    const struct iotsec_manager_delivery *d = m->config->deliveries;
    const struct iotsec_manager_delivery *end = d + m->deliveries_used;
    uint32_t wait = UINT32_MAX;

    if (m->scan_left != 0 && has_place(m)) {
        return 0;
    }
#if IOTSEC_ACCESS || IOTSEC_PAIRWISE
    if ((IOTSEC_ACCESS && may_walk(m, WALK_ACCESS)) || (IOTSEC_PAIRWISE && may_walk(m, WALK_SHARES))) {
        return 0;
    }
#endif
    for (; d != end; d++) {
        wait = iotsec_min_u32(wait, iotsec_time_left(now, d->repeat_at));
    }
    return wait;
}

#endif
