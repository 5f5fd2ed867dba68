/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The domain manager's endpoint: who is there, and what they ask for.
 *
 *     D -> M  ClientHello + group_request(group IDs, or none)
 *     M -> D  ServerHello + group_request(empty: "I speak key management")
 *     D -> M  ... Finished                    only now: authorised? which groups?
 *     M -> D  keys, or REFUSED                manager_keys.c, manager_deliver.c
 *
 *     D -> M  GROUP_REQUEST(group)            M -> D  ACK(KEYS_FOLLOW), keys or REFUSED
 *     D -> M  GROUP_LEAVE(group)              M -> D  ACK(DONE), after the transaction
 *     D -> M  DOMAIN_LEAVE                    M -> D  ACK(DONE), after the transaction
 *     D -> M  STATUS(group, K, sender)        M -> D  ACK(DONE): agreed
 *                                                     ACK(KEYS_FOLLOW), keys: K is behind, or a renewal follows
 *                                                     ACK(NOT_MEMBER): request the group anew
 *     D -> M  SHARE_STATUS(what it has)       M -> D  ACK(DONE): that is everything
 *                                                     ACK(KEYS_FOLLOW), SHARE or REVOKED (manager_poly.c)
 *     D -> M  MOVED                           M -> D  PATH_CHECK, to where it came from
 *     D -> M  ACK(PATH_CHECK), from there     M -> D  ACK(DONE), and all else from now on
 *     D -> M  ACK(message)                    to a delivery
 *
 * A manager takes nothing else.
 */
#include "access/manager_state.h"

#include <iotsec/csb.h>
#include <string.h>

#if IOTSEC_ROLE_MANAGER

/* What the group_request row keeps in a handshake: present, count, group IDs. */
#define SCRATCH_PRESENT 0
#define SCRATCH_COUNT 1
#define SCRATCH_GROUPS 2

/* Whether a session can go on at another address. */
#define MOVES (IOTSEC_ACCESS && IOTSEC_CONNECTION_ID)

uint32_t iotsec_mgr_now(const struct iotsec_manager *m)
{
    return m->config->hal->now_ms(m->config->hal->user);
}

enum iotsec_status iotsec_mgr_random(const struct iotsec_manager *m, void *out, size_t len)
{
    const struct iotsec_hal *hal = m->config->hal;

    return hal->random(hal->user, out, len) < 0 ? IOTSEC_ERR_RANDOM : IOTSEC_OK;
}

void iotsec_mgr_drop(struct iotsec_manager *m, enum iotsec_drop reason)
{
    if (m->stats.drops[reason] != 0xFFFF) {
        m->stats.drops[reason]++;
    }
}

/* ---- Tables ---- */

static struct iotsec_table get_table(const struct iotsec_manager *m, unsigned table)
{
    const struct iotsec_manager_config *config = m->config;
    void *base = config->contacts;
    size_t stride = sizeof config->contacts[0];
    uint16_t count = config->contact_count;

    if (table == TABLE_MEMBERS) {
        base = config->members;
        stride = sizeof config->members[0];
        count = config->member_count;
    } else if (table == TABLE_GROUPS) {
        base = config->groups;
        stride = sizeof config->groups[0];
        count = config->group_count;
    }
    return iotsec_table_of(base, stride, 0, count);
}

static struct iotsec_link *link_at(const struct iotsec_table *t, unsigned index)
{
    return (struct iotsec_link *)(void *)(t->base + t->stride * index);
}

/* What an entry is filed under stands behind its link. */
static uint32_t *id_of(struct iotsec_link *link)
{
    return (uint32_t *)(void *)(link + 1);
}

static uint32_t hash_of(const struct iotsec_manager *m, uint32_t id)
{
    return iotsec_table_hash(m->dtls.hash_seed, &id, sizeof id);
}

/* The next entry with that ID behind `after`, which has it too; NULL: the first one. NULL if there is none. */
static void *find(const struct iotsec_manager *m, unsigned table, uint32_t id, const struct iotsec_link *after)
{
    struct iotsec_table t = get_table(m, table);
    struct iotsec_link *link;
    uint16_t i;

    if (t.count == 0) {
        return NULL;
    }
    i = after != NULL ? after->next : iotsec_table_first(&t, hash_of(m, id));
    for (; i != MGR_NONE; i = link->next) {
        link = link_at(&t, i);
        if (*id_of(link) == id) {
            return link;
        }
    }
    return NULL;
}

/* A cleared entry, filed under its ID; NULL: there is none left. */
static void *take(struct iotsec_manager *m, unsigned table, uint32_t id)
{
    struct iotsec_table t = get_table(m, table);
    uint16_t i = m->free_slot[table];
    struct iotsec_link *link;

    if (i == MGR_NONE) {
        return NULL;
    }
    link = link_at(&t, i);
    m->free_slot[table] = link->next;
    *id_of(link) = id;
    iotsec_table_insert(&t, i, hash_of(m, id));
    return link;
}

void iotsec_mgr_release(struct iotsec_manager *m, unsigned table, unsigned index)
{
    struct iotsec_table t = get_table(m, table);
    struct iotsec_link *link = link_at(&t, index);

    iotsec_table_remove(&t, (uint16_t)index, hash_of(m, *id_of(link)));
    iotsec_wipe(link + 1, t.stride - sizeof *link);
    link->next = m->free_slot[table];
    m->free_slot[table] = (uint16_t)index;
}

struct iotsec_manager_group *iotsec_mgr_group_at(const struct iotsec_manager *m, unsigned index)
{
    return index < m->config->group_count ? &m->config->groups[index] : NULL;
}

struct iotsec_manager_member *iotsec_mgr_member_at(const struct iotsec_manager *m, unsigned index)
{
    return index < m->config->member_count ? &m->config->members[index] : NULL;
}

uint16_t iotsec_mgr_member_index(const struct iotsec_manager *m, const struct iotsec_manager_member *member)
{
    return (uint16_t)(member - m->config->members);
}

struct iotsec_manager_contact *iotsec_mgr_contact(const struct iotsec_manager *m, uint32_t device)
{
    return find(m, TABLE_CONTACTS, device, NULL);
}

struct iotsec_manager_group *iotsec_mgr_group(const struct iotsec_manager *m, unsigned group_id)
{
    struct iotsec_manager_group *group = m != NULL ? find(m, TABLE_GROUPS, group_id, NULL) : NULL;

    while (group != NULL && group->state != GROUP_LIVE) {
        group = find(m, TABLE_GROUPS, group_id, &group->link);
    }
    return group;
}

/* The next membership of a device behind `after` (NULL: the first), in one group, or (MGR_NONE) in any; NULL: no more. */
static struct iotsec_manager_member *next_membership(const struct iotsec_manager *m, uint32_t device, unsigned group,
                                                     const struct iotsec_manager_member *after)
{
    struct iotsec_manager_member *member = find(m, TABLE_MEMBERS, device, after != NULL ? &after->link : NULL);

    while (member != NULL && group != MGR_NONE && member->group != group) {
        member = find(m, TABLE_MEMBERS, device, &member->link);
    }
    return member;
}

struct iotsec_manager_member *iotsec_mgr_member(const struct iotsec_manager *m, uint32_t device, unsigned group)
{
    return next_membership(m, device, group, NULL);
}

void iotsec_mgr_member_free(struct iotsec_manager *m, struct iotsec_manager_member *member)
{
    iotsec_mgr_unwait(m, member);
    if ((member->flags & MEMBER_SENDING) != 0) {
        iotsec_mgr_cancel(m, member->device, member->group);
    }
    iotsec_mgr_release(m, TABLE_MEMBERS, iotsec_mgr_member_index(m, member));
}

/* The contact's session ends, or has been replaced: what was begun with the device on it is forgotten. */
static void free_contact(struct iotsec_manager *m, struct iotsec_manager_contact *contact)
{
    struct iotsec_manager_member *next = next_membership(m, contact->device, MGR_NONE, NULL);
    struct iotsec_manager_member *member;

    iotsec_mgr_cancel(m, contact->device, MGR_NONE);
    while ((member = next) != NULL) {
        next = next_membership(m, contact->device, MGR_NONE, member);
        if (member->sender_id == 0) {
            iotsec_mgr_member_free(m, member);
        } else {
            iotsec_mgr_unwait(m, member);
            member->flags &= MEMBER_NEW | MEMBER_LOADED; /* what is still to be told and found out */
        }
    }
    iotsec_mgr_release(m, TABLE_CONTACTS, (uint16_t)(contact - m->config->contacts));
}

/* A contact that may ask and be told things, or NULL. */
static struct iotsec_manager_contact *find_active(const struct iotsec_manager *m, uint32_t device)
{
    struct iotsec_manager_contact *contact = iotsec_mgr_contact(m, device);

    return contact != NULL && (contact->flags & CONTACT_CLOSING) == 0 ? contact : NULL;
}

/* ---- Events ---- */

void iotsec_mgr_tell_event(struct iotsec_manager *m, struct iotsec_manager_event *event)
{
    const struct iotsec_manager_contact *contact = iotsec_mgr_contact(m, event->device);
    struct iotsec_addr addr;

    if (m->config->callbacks->event == NULL) {
        return;
    }
    if (event->addr == NULL && contact != NULL && iotsec_dtls_peer(&m->dtls, contact->session, &addr, NULL) == IOTSEC_OK) {
        event->addr = &addr;
    }
    m->config->callbacks->event(m->config->user, event);
    event->addr = NULL; /* it ends with this call */
}

void iotsec_mgr_tell(struct iotsec_manager *m, enum iotsec_manager_event_kind kind, enum iotsec_status reason, uint32_t device,
                     unsigned group_id)
{
    struct iotsec_manager_event event;
    const struct iotsec_manager_group *group = iotsec_mgr_group(m, group_id);
    const struct iotsec_manager_member *member;

    memset(&event, 0, sizeof event);
    event.kind = kind;
    event.reason = reason;
    event.device = device;
    event.group_id = (uint16_t)group_id;
    if (group != NULL) {
        event.key_number = group->now.key_number;
        member = iotsec_mgr_member(m, device, group->index);
        if (member != NULL) {
            event.sender_id = member->sender_id;
        }
    }
    iotsec_mgr_tell_event(m, &event);
}

#if IOTSEC_ACCESS || IOTSEC_PAIRWISE
void iotsec_mgr_tell_number(struct iotsec_manager *m, enum iotsec_manager_event_kind kind, enum iotsec_status reason,
                            uint32_t device, uint32_t number)
{
    struct iotsec_manager_event event;

    memset(&event, 0, sizeof event);
    event.kind = kind;
    event.reason = reason;
    event.device = device;
    event.key_number = number;
    iotsec_mgr_tell_event(m, &event);
}
#endif

/* Forgets a contact; the application hears of it if it has heard of the device and there is a reason. */
static void end_contact(struct iotsec_manager *m, struct iotsec_manager_contact *contact, enum iotsec_status reason)
{
    uint32_t device = contact->device;
    bool told = (contact->flags & CONTACT_JOINED) != 0 && reason != IOTSEC_OK;

    free_contact(m, contact);
    if (told) {
        iotsec_mgr_tell(m, IOTSEC_MANAGER_DEVICE_GONE, reason, device, 0);
    }
}

void iotsec_mgr_contact_close(struct iotsec_manager *m, struct iotsec_manager_contact *contact, uint8_t alert,
                              enum iotsec_status reason)
{
    (void)iotsec_dtls_close(&m->dtls, contact->session, alert);
    end_contact(m, contact, reason);
}

/* ---- Joining ---- */

/* ServerHello + group_request(empty) */
static enum iotsec_status write_group_request(void *user, const struct iotsec_dtls_hello *hello, uint8_t *out, size_t size,
                                              size_t *len)
{
    (void)user;
    (void)hello;
    (void)out;
    (void)size;
    *len = 0;
    return IOTSEC_OK;
}

/* ClientHello + group_request(group IDs). Kept until Finished has authenticated it. */
static enum iotsec_status parse_group_request(void *user, const struct iotsec_dtls_hello *hello, const uint8_t *body, size_t len)
{
    size_t i;

    (void)user;
    if (len % 2 != 0 || len > 2u * IOTSEC_GROUPS_PER_HELLO) {
        return IOTSEC_ERR_DECODE;
    }
    for (i = 0; i < len; i += 2) {
        if (iotsec_get_u16(body + i) == 0) {
            return IOTSEC_ERR_DECODE; /* 0 means the domain */
        }
    }
    hello->scratch[SCRATCH_PRESENT] = 1;
    hello->scratch[SCRATCH_COUNT] = (uint8_t)(len / 2);
    if (len != 0) {
        memcpy(hello->scratch + SCRATCH_GROUPS, body, len);
    }
    return IOTSEC_OK;
}

static const struct iotsec_dtls_extension extensions[] = {
    { IOTSEC_EXTENSION_GROUP_REQUEST, write_group_request, parse_group_request },
};

static void refuse_group(struct iotsec_manager *m, struct iotsec_manager_contact *contact, unsigned group_id, unsigned code,
                         enum iotsec_status reason)
{
    (void)iotsec_mgr_notify(m, contact, IOTSEC_KM_REFUSED, group_id, code);
    iotsec_mgr_tell(m, IOTSEC_MANAGER_MEMBER_REFUSED, reason, contact->device, group_id);
}

/* Admits a device to a group from its next step on, or refuses it. Runs the application's code. */
static void request_group(struct iotsec_manager *m, uint32_t device, unsigned group_id)
{
    const uint8_t coming = MEMBER_PROVEN | MEMBER_OWED | MEMBER_NEW;
    struct iotsec_manager_contact *contact = find_active(m, device);
    const struct iotsec_manager_group *group = iotsec_mgr_group(m, group_id);
    struct iotsec_manager_member *member;

    if (contact == NULL) {
        return; /* evicted by the application meanwhile */
    }
    if (group == NULL || m->config->registry->group_allowed(m->config->user, device, (uint16_t)group_id) != IOTSEC_OK) {
        refuse_group(m, contact, group_id, IOTSEC_KM_REASON_GROUP, IOTSEC_ERR_GROUP_REFUSED);
        return;
    }
    member = iotsec_mgr_member(m, device, group->index);
    if (member == NULL) {
        member = take(m, TABLE_MEMBERS, device);
        if (member == NULL) {
            refuse_group(m, contact, group_id, IOTSEC_KM_REASON_RESOURCES, IOTSEC_ERR_RESOURCES);
            return;
        }
        member->group = group->index;
    } else if ((member->flags & coming) == coming) {
        /* It asks again for what is on its way. A fresh ID of this session: its state cannot be lost before the session is. */
        iotsec_mgr_deliver(m, member);
        return;
    }
    iotsec_mgr_cancel(m, device, member->group);
    /* The device has no state of an earlier membership: its sender ID is not used again. */
    member->acknowledged = 0;
    member->flags = (uint8_t)((member->flags & MEMBER_WAITING) | MEMBER_NEW);
    iotsec_mgr_wait(m, member);
}

/* Tells a device that it is not in the domain, and closes its session once it knows. */
static void dismiss(struct iotsec_manager *m, struct iotsec_manager_contact *contact, unsigned kind, unsigned code)
{
    contact->flags |= CONTACT_CLOSING;
    if (!iotsec_mgr_notify(m, contact, kind, 0, code)) {
        iotsec_mgr_contact_close(m, contact, IOTSEC_ALERT_ACCESS_DENIED, IOTSEC_ERR_EVICTED);
    }
}

static void tell_join_failed(struct iotsec_manager *m, const struct iotsec_addr *addr, uint32_t device, enum iotsec_status reason)
{
    struct iotsec_manager_event event;

    memset(&event, 0, sizeof event);
    event.kind = IOTSEC_MANAGER_JOIN_FAILED;
    event.reason = reason;
    event.device = device;
    event.addr = addr;
    iotsec_mgr_tell_event(m, &event);
}

/* A message that is about nothing but what it answers. */
static void say(struct iotsec_manager *m, const struct iotsec_manager_contact *contact, unsigned kind, unsigned message_id,
                unsigned code)
{
    struct iotsec_km_message message;

    memset(&message, 0, sizeof message);
    message.kind = (uint8_t)kind;
    message.message = (uint8_t)message_id;
    message.code = (uint8_t)code;
    iotsec_mgr_send(m, contact, &message);
}

/* M -> D  REFUSED(domain, no room), in the datagram of our Finished: there is no contact that could wait for its ACK */
static void refuse_once(struct iotsec_manager *m, iotsec_dtls_handle session)
{
    struct iotsec_manager_contact once;

    once.session = session;
    say(m, &once, IOTSEC_KM_REFUSED, 0, IOTSEC_KM_REASON_RESOURCES);
    (void)iotsec_dtls_close(&m->dtls, session, IOTSEC_ALERT_INTERNAL_ERROR);
}

/* D -> M  Finished: whoever it is has the device's PSK */
static void on_established(void *user, const struct iotsec_dtls_info *info)
{
    struct iotsec_manager *m = user;
    uint32_t device = info->peer;
    struct iotsec_manager_contact *contact = iotsec_mgr_contact(m, device);
    struct iotsec_manager_event event;
    enum iotsec_status status;
    unsigned i;

    if (contact != NULL) {
        iotsec_mgr_contact_close(m, contact, IOTSEC_ALERT_CLOSE_NOTIFY, IOTSEC_OK);
    }
    if (info->scratch[SCRATCH_PRESENT] == 0) {
        (void)iotsec_dtls_close(&m->dtls, info->session, IOTSEC_ALERT_ACCESS_DENIED);
        tell_join_failed(m, info->addr, device, IOTSEC_ERR_NO_KEY_MANAGEMENT);
        return;
    }
    contact = take(m, TABLE_CONTACTS, device);
    if (contact == NULL) {
        refuse_once(m, info->session);
        tell_join_failed(m, info->addr, device, IOTSEC_ERR_RESOURCES);
        return;
    }
    contact->session = info->session;
    contact->heard_at = iotsec_mgr_now(m);
    status = m->config->registry->authorised(m->config->user, device);
    if (status != IOTSEC_OK) {
        dismiss(m, contact, IOTSEC_KM_REFUSED,
                status == IOTSEC_ERR_NOT_AUTHORISED ? IOTSEC_KM_REASON_NOT_AUTHORISED : IOTSEC_KM_REASON_RESOURCES);
        tell_join_failed(m, info->addr, device, status);
        return;
    }
    contact->flags = CONTACT_JOINED;
    memset(&event, 0, sizeof event);
    event.kind = IOTSEC_MANAGER_DEVICE_JOINED;
    event.device = device;
    event.addr = info->addr;
    event.relayed = info->relayed != 0;
    iotsec_mgr_tell_event(m, &event);
#if IOTSEC_ACCESS
    contact = find_active(m, device);
    if (contact != NULL) {
        iotsec_mgr_access_deliver(m, contact);
    }
#endif
    for (i = 0; i < info->scratch[SCRATCH_COUNT]; i++) {
        request_group(m, device, iotsec_get_u16(info->scratch + SCRATCH_GROUPS + 2u * i));
    }
    /* before the datagram with our Finished leaves: the keys go with it */
    iotsec_mgr_serve(m);
}

static void on_failed(void *user, iotsec_dtls_handle handshake, const struct iotsec_addr *addr, uint32_t peer,
                      enum iotsec_status reason)
{
    (void)handshake;
    tell_join_failed(user, addr, peer, reason);
}

static void on_closed(void *user, iotsec_dtls_handle session, uint32_t peer, enum iotsec_status reason)
{
    struct iotsec_manager *m = user;
    struct iotsec_manager_contact *contact = iotsec_mgr_contact(m, peer);

    if (contact != NULL && contact->session == session) {
        end_contact(m, contact, reason);
    }
}

static void on_forgeries(void *user, iotsec_dtls_handle session, uint32_t peer)
{
    (void)session;
    iotsec_mgr_tell(user, IOTSEC_MANAGER_FORGERIES, IOTSEC_ERR_FORGERIES, peer, 0);
}

static enum iotsec_status on_psk(void *user, iotsec_dtls_handle handshake, const uint8_t *identity, size_t len,
                                 struct iotsec_dtls_psk *psk)
{
    struct iotsec_manager *m = user;
    enum iotsec_status status = m->config->registry->psk(m->config->user, handshake, identity, len, psk);

    return status == IOTSEC_OK && psk->peer == 0 ? IOTSEC_ERR_REGISTRY : status;
}

/* ---- Leaving ---- */

/*
 * Takes a device out of a group, or (MGR_NONE) of all of them: new generations, in one transaction.
 * OK: durable and in memory.
 */
static enum iotsec_status remove_device(struct iotsec_manager *m, uint32_t device, unsigned only,
                                        bool evicted, enum iotsec_status reason)
{
    enum iotsec_status status = IOTSEC_OK;
    struct iotsec_manager_member *member = NULL;
    bool any = evicted;
#if IOTSEC_ACCESS
    const struct iotsec_manager_contact *contact = find_active(m, device);

    if (m->access.number != 0 && only == MGR_NONE && (evicted || (contact != NULL && (contact->flags & CONTACT_LEFT) == 0))) {
        m->flags |= MGR_L2_STAGED;
        m->l2_reason = (int8_t)reason;
        any = true;
    }
#endif
    while ((member = next_membership(m, device, only, member)) != NULL) {
        struct iotsec_manager_group *group = iotsec_mgr_group_at(m, member->group);

        if (group->state == GROUP_LIVE && member->sender_id != 0) {
            iotsec_mgr_stage(m, group, reason);
            any = true;
        }
    }
    if (any) {
        status = iotsec_mgr_change(m, device, evicted);
    }
    while (status == IOTSEC_OK && (member = next_membership(m, device, only, NULL)) != NULL) {
        iotsec_mgr_member_free(m, member); /* waited for its first sender ID: the registry does not know it */
    }
#if IOTSEC_ACCESS
    if (status == IOTSEC_OK && only == MGR_NONE) {
        iotsec_mgr_l2_leave(m, device); /* also if the domain gets access parameters only later */
    }
#endif
#if IOTSEC_PAIRWISE
    if (status == IOTSEC_OK && only == MGR_NONE) {
        iotsec_mgr_share_leave(m, device);
    }
#endif
    return status;
}

/* ---- Requests ---- */

static void tell_ahead(struct iotsec_manager *m, uint32_t device, const struct iotsec_km_message *status)
{
    struct iotsec_manager_event event;

    memset(&event, 0, sizeof event);
    event.kind = IOTSEC_MANAGER_AHEAD;
    event.reason = IOTSEC_ERR_EPOCH;
    event.device = device;
    event.group_id = status->group_id;
    event.sender_id = status->sender_id;
    event.key_number = status->key_number;
    iotsec_mgr_tell_event(m, &event);
}

/* D -> M  STATUS(group, K, sender): sets down what follows from it and says what to answer */
static enum iotsec_km_result take_status(struct iotsec_manager *m, uint32_t device, struct iotsec_manager_group *group,
                                         const struct iotsec_km_message *message)
{
    struct iotsec_manager_member *member = group != NULL ? iotsec_mgr_member(m, device, group->index) : NULL;
    bool holds = member != NULL && member->sender_id == message->sender_id;
    bool ahead;

    if (group == NULL) {
        return IOTSEC_KM_NOT_MEMBER;
    }
    ahead = message->key_number > group->now.key_number;
    if (holds) {
        member->flags |= MEMBER_PROVEN;
        if (ahead) {
            member->acknowledged = message->key_number; /* nothing older is of use to it */
        }
    } else if (member != NULL && ((member->flags & MEMBER_WAITING) != 0 ||
                                  ((member->flags & MEMBER_PROVEN) != 0 && iotsec_mgr_owed(m, member)))) {
        return IOTSEC_KM_KEYS_FOLLOW; /* with the new sender ID */
    }
    /* The registry may be an older copy: what it assigns has been assigned before, unless it moves on. That a
     * stranger says so is reason enough if it may be in the group at all. */
    if (ahead && (holds || m->config->registry->group_allowed(m->config->user, device, message->group_id) == IOTSEC_OK)) {
        if ((message->key_number >> 8) - (group->now.key_number >> 8) > IOTSEC_GENERATIONS_AHEAD_MAX) {
            tell_ahead(m, device, message);
            return IOTSEC_KM_FAILED;
        }
        iotsec_mgr_renew(m, group, IOTSEC_ERR_EPOCH, message->key_number);
    }
    if (!holds) {
        return IOTSEC_KM_NOT_MEMBER;
    }
    if (ahead || (member->flags & MEMBER_WAITING) != 0) {
        return IOTSEC_KM_KEYS_FOLLOW;
    }
    if ((message->code & IOTSEC_KM_STATUS_CONFLICT) != 0) {
        iotsec_mgr_renew(m, group, IOTSEC_ERR_KEY_CONFLICT, 0);
    } else if ((message->code & IOTSEC_KM_STATUS_NEW_SENDER) != 0) {
        iotsec_mgr_cancel(m, device, member->group); /* what is on its way has the old one */
        iotsec_mgr_wait(m, member);
    } else if (message->key_number < group->now.key_number) {
        member->acknowledged = message->key_number;
        member->flags |= MEMBER_OWED;
    } else if ((member->flags & MEMBER_LOADED) != 0) {
        /* The registry may be an older copy, which counts its way to numbers that are in use with other keys. Only
         * the keys themselves show that: the member acknowledges them or objects. */
        member->flags |= MEMBER_OWED;
    } else {
        iotsec_mgr_cancel(m, device, member->group); /* its acknowledgement was lost */
        iotsec_mgr_acknowledge(m, member, message->key_number);
        return IOTSEC_KM_DONE;
    }
    return IOTSEC_KM_KEYS_FOLLOW;
}

static void send_ack(struct iotsec_manager *m, const struct iotsec_manager_contact *contact)
{
    say(m, contact, IOTSEC_KM_ACK, contact->last_request, contact->last_result);
}

/* Answers a request and remembers the answer. */
static void answer(struct iotsec_manager *m, uint32_t device, uint8_t request, enum iotsec_km_result result)
{
    struct iotsec_manager_contact *contact = find_active(m, device);

    if (contact != NULL) {
        contact->last_request = request;
        contact->last_result = (uint8_t)result;
        contact->flags = (uint8_t)((contact->flags & ~CONTACT_MOVING) | CONTACT_ASKED);
        send_ack(m, contact);
    }
}

/* D -> M  GROUP_LEAVE(group) and DOMAIN_LEAVE (group MGR_NONE): durable before it is acknowledged */
static void take_leave(struct iotsec_manager *m, uint32_t device, const struct iotsec_km_message *message,
                       unsigned group)
{
    enum iotsec_status status = remove_device(m, device, group, false, IOTSEC_ERR_LEFT);
    bool left = status == IOTSEC_OK;

    answer(m, device, message->message, left ? IOTSEC_KM_DONE : IOTSEC_KM_FAILED);
    iotsec_mgr_tell(m, left ? IOTSEC_MANAGER_MEMBER_LEFT : IOTSEC_MANAGER_KEYS_FAILED, left ? IOTSEC_ERR_LEFT : status, device,
                    message->group_id);
    iotsec_mgr_tell_groups(m);
}

#if MOVES
/* Whether the record at hand is its session's newest and came from elsewhere. */
static bool is_candidate(const struct iotsec_manager *m, const struct iotsec_manager_contact *contact)
{
    return iotsec_dtls_moved(&m->dtls, contact->session) != 0;
}

/* Whether it came from elsewhere without being the newest: what is sent now goes to the session's address. */
static bool is_astray(const struct iotsec_manager *m, const struct iotsec_manager_contact *contact)
{
    return iotsec_dtls_elsewhere(&m->dtls, contact->session, NULL) == IOTSEC_OK && !is_candidate(m, contact);
}

/* D -> M  MOVED: answered at once if it comes from the session's own address; elsewhere the path check answers it, and
 * its ACK follows when that has succeeded */
static void take_moved(struct iotsec_manager *m, uint32_t device, const struct iotsec_km_message *message)
{
    struct iotsec_manager_contact *contact = find_active(m, device);

    if (contact != NULL && is_candidate(m, contact)) {
        contact->last_request = message->message;
        contact->last_result = IOTSEC_KM_DONE;
        contact->flags |= CONTACT_ASKED | CONTACT_MOVING;
    } else {
        answer(m, device, message->message, IOTSEC_KM_DONE);
    }
}

/* M -> D  PATH_CHECK, to where the request at hand came from. One ID for each candidate, however often it asks: the
 * ACK of any copy will do, but of none that went elsewhere. */
static void check_path(struct iotsec_manager *m, uint32_t device)
{
    struct iotsec_manager_contact *contact = find_active(m, device);
    uint8_t mark[IOTSEC_PATH_MARK_BYTES];

    if (contact == NULL || !is_candidate(m, contact) ||
        iotsec_dtls_elsewhere(&m->dtls, contact->session, mark) != IOTSEC_OK) {
        return;
    }
    if (memcmp(contact->candidate, mark, sizeof mark) != 0) {
        memcpy(contact->candidate, mark, sizeof mark);
        contact->path_check = contact->next_id++;
    }
    say(m, contact, IOTSEC_KM_PATH_CHECK, contact->path_check, 0);
}

/* D -> M  ACK(PATH_CHECK), from where that went: the session goes on there. False: it is no such thing. Runs the
 * application's code. */
static bool confirm_path(struct iotsec_manager *m, struct iotsec_manager_contact *contact, const struct iotsec_km_message *ack)
{
    uint8_t mark[IOTSEC_PATH_MARK_BYTES];

    if (!is_candidate(m, contact) || ack->message != contact->path_check || ack->code != IOTSEC_KM_DONE ||
        iotsec_dtls_elsewhere(&m->dtls, contact->session, mark) != IOTSEC_OK ||
        memcmp(contact->candidate, mark, sizeof mark) != 0) {
        return false;
    }
    if (iotsec_dtls_move(&m->dtls, contact->session) != IOTSEC_OK) {
        iotsec_mgr_drop(m, IOTSEC_DROP_NOT_ALLOWED); /* another session has that address */
        return true;
    }
    if ((contact->flags & CONTACT_MOVING) != 0) {
        contact->flags &= (uint8_t)~CONTACT_MOVING;
        send_ack(m, contact);
    }
    iotsec_mgr_scan_request(m);
    iotsec_mgr_tell(m, IOTSEC_MANAGER_MOVED, IOTSEC_OK, contact->device, 0);
    return true;
}
#endif

#if IOTSEC_PAIRWISE
/* D -> M  SHARE_STATUS(what it has) */
static void take_share_status(struct iotsec_manager *m, uint32_t device, const struct iotsec_km_message *message)
{
    struct iotsec_manager_contact *contact = iotsec_mgr_contact(m, device);

    answer(m, device, message->message, iotsec_mgr_take_share_status(m, contact, message));
    contact = find_active(m, device); /* the application has run */
    if (contact != NULL) {
        iotsec_mgr_share_deliver(m, contact);
    }
}
#endif

static void take_request(struct iotsec_manager *m, uint32_t device, const struct iotsec_km_message *message)
{
    struct iotsec_manager_group *group = iotsec_mgr_group(m, message->group_id);
    struct iotsec_manager_member *member;

    if (message->kind == IOTSEC_KM_STATUS) {
        answer(m, device, message->message, take_status(m, device, group, message));
        group = iotsec_mgr_group(m, message->group_id);
        member = group != NULL ? iotsec_mgr_member(m, device, group->index) : NULL;
        if (member != NULL) {
            iotsec_mgr_deliver(m, member);
        }
    } else if (message->kind == IOTSEC_KM_GROUP_REQUEST) {
        answer(m, device, message->message, IOTSEC_KM_KEYS_FOLLOW);
        request_group(m, device, message->group_id);
#if MOVES
    } else if (message->kind == IOTSEC_KM_MOVED) {
        take_moved(m, device, message);
#endif
#if IOTSEC_PAIRWISE
    } else if (message->kind == IOTSEC_KM_SHARE_STATUS) {
        take_share_status(m, device, message);
#endif
    } else if (message->kind == IOTSEC_KM_DOMAIN_LEAVE || (group != NULL && iotsec_mgr_member(m, device, group->index) != NULL)) {
        take_leave(m, device, message, group != NULL ? group->index : MGR_NONE);
    } else {
        answer(m, device, message->message, IOTSEC_KM_DONE); /* left already */
    }
    iotsec_mgr_serve(m);
}

/* Whether a kind is a request, which gets an answer. */
static bool is_request(uint8_t kind)
{
    return (kind >= IOTSEC_KM_STATUS && kind <= IOTSEC_KM_DOMAIN_LEAVE) || (MOVES && kind == IOTSEC_KM_MOVED) ||
           (IOTSEC_PAIRWISE && kind == IOTSEC_KM_SHARE_STATUS);
}

/* A key-management message from an authenticated device. */
static void take_message(struct iotsec_manager *m, struct iotsec_manager_contact *contact, const struct iotsec_km_message *message)
{
    uint32_t device = contact->device;
    uint8_t age = (uint8_t)(contact->last_request - message->message);

    if (message->kind == IOTSEC_KM_ACK) {
#if MOVES
        if (confirm_path(m, contact, message)) {
            return;
        }
#endif
        iotsec_mgr_take_ack(m, contact, message);
        return;
    }
    if (!is_request(message->kind) || (contact->flags & CONTACT_CLOSING) != 0) {
        iotsec_mgr_drop(m, IOTSEC_DROP_NOT_ALLOWED);
        return;
    }
#if MOVES
    if (message->kind == IOTSEC_KM_MOVED && is_astray(m, contact)) {
        iotsec_mgr_drop(m, IOTSEC_DROP_REPLAY); /* an answer at the old address would confirm the new one */
        return;
    }
#endif
    if ((contact->flags & CONTACT_ASKED) == 0 || age >= 0x80 ||
        (age == 0 && (contact->last_result == IOTSEC_KM_FAILED || (MOVES && message->kind == IOTSEC_KM_MOVED)))) {
        take_request(m, device, message);
    } else if (age == 0) {
        send_ack(m, contact); /* the answer was lost */
    } else {
        iotsec_mgr_drop(m, IOTSEC_DROP_REPLAY); /* a repeat that was overtaken: to leave, say, before asking anew */
    }
#if MOVES
    check_path(m, device);
#endif
}

static void on_receive(void *user, iotsec_dtls_handle session, uint32_t peer, uint8_t type, uint8_t *data, size_t len)
{
    struct iotsec_manager *m = user;
    struct iotsec_manager_contact *contact = iotsec_mgr_contact(m, peer);
    struct iotsec_km_message message;

    if (contact == NULL || contact->session != session) {
        iotsec_mgr_drop(m, IOTSEC_DROP_NO_SESSION);
        return;
    }
    contact->heard_at = iotsec_mgr_now(m);
    if ((contact->flags & CONTACT_SILENT) != 0) {
        contact->flags &= (uint8_t)~CONTACT_SILENT;
        iotsec_mgr_scan_request(m);
    }
    if (type != IOTSEC_CONTENT_APPLICATION_DATA) {
        if (iotsec_km_decode(&message, type, data, len) == IOTSEC_OK) {
            take_message(m, contact, &message);
        } else {
            iotsec_mgr_drop(m, IOTSEC_DROP_MALFORMED);
        }
        iotsec_wipe(&message, sizeof message);
    } else if ((contact->flags & CONTACT_CLOSING) != 0) {
        iotsec_mgr_drop(m, IOTSEC_DROP_NOT_ALLOWED);
    } else if (m->config->callbacks->receive != NULL) {
        m->config->callbacks->receive(m->config->user, peer, data, len);
    }
}

#if IOTSEC_KEYLOG
static void on_keylog(void *user, const char *line)
{
    struct iotsec_manager *m = user;

    if (m->config->callbacks->keylog != NULL) {
        m->config->callbacks->keylog(m->config->user, line);
    }
}
#endif

static const struct iotsec_dtls_callbacks dtls_callbacks = {
    .psk = on_psk, .established = on_established, .failed = on_failed, .closed = on_closed, .receive = on_receive,
    .forgeries = on_forgeries,
#if IOTSEC_KEYLOG
    .keylog = on_keylog,
#endif
};

/* ---- Set-up ---- */

/* How many of the registry's functions between two offsets are there: pointers to functions are all of one form. */
static unsigned functions(const struct iotsec_registry *registry, size_t from, size_t to)
{
    void (*function)(void);
    unsigned count = 0;

    for (; from != to; from += sizeof function) {
        memcpy(&function, (const unsigned char *)registry + from, sizeof function);
        count += function != NULL;
    }
    return count;
}

/* Whether the registry has all that it needs to have, and of what it may have all or nothing. */
static bool registry_is_sound(const struct iotsec_registry *registry)
{
    const size_t access = offsetof(struct iotsec_registry, access);
    const size_t poly = offsetof(struct iotsec_registry, poly);
    unsigned polys = IOTSEC_PAIRWISE ? functions(registry, poly, sizeof *registry) : 0;

    return functions(registry, 0, access) == access / sizeof registry->psk &&
           (!IOTSEC_ACCESS || functions(registry, access, poly) != 1) &&
           (polys == 0 || polys == (sizeof *registry - poly) / sizeof registry->psk);
}

/* What the engine does not look at. */
static bool config_is_sound(const struct iotsec_manager_config *config)
{
    return config->callbacks != NULL && config->registry != NULL && registry_is_sound(config->registry) &&
           config->contacts != NULL && config->contact_count - 1u < 65534 &&
           (config->groups != NULL || config->group_count == 0) && config->group_count <= 65534 &&
           (config->members != NULL || config->member_count == 0) && config->member_count <= 65534 &&
           config->deliveries != NULL && config->delivery_count - 1u < 65534 &&
           /* doubled up to six times; a time farther ahead would count as past: bytes.h */
           config->step_interval_ms >> 25 == 0;
}

/* Whether a group can be one of the domain's beside those that are. */
static enum iotsec_status check_group(const struct iotsec_manager *m, uint16_t group_id, const struct iotsec_addr *addr)
{
    const struct iotsec_manager_group *group;
    unsigned g;

    if (group_id == 0 || !iotsec_addr_is_multicast(addr) || addr->port == 0) {
        return IOTSEC_ERR_ARGUMENT;
    }
    for (g = 0; (group = iotsec_mgr_group_at(m, g)) != NULL; g++) {
        if (group->state == GROUP_LIVE &&
            (group->now.group_id == group_id ||
             (memcmp(group->now.addr.ip, addr->ip, sizeof addr->ip) == 0 && group->now.addr.port == addr->port))) {
            return IOTSEC_ERR_EXISTS;
        }
    }
    return IOTSEC_OK;
}

static void fill_group(const struct iotsec_manager *m, struct iotsec_manager_group *group, const struct iotsec_registry_group *row)
{
    group->index = (uint16_t)(group - m->config->groups);
    group->now = *row;
    group->now.addr.interface = 0;
    group->gentle_from = row->key_number;
    group->waiting = MGR_NONE;
    group->state = GROUP_LIVE;
}

static enum iotsec_status load_groups(struct iotsec_manager *m)
{
    struct iotsec_registry_group row;
    enum iotsec_status status;
    uint32_t index;

    for (index = 0; (status = m->config->registry->group_at(m->config->user, index, &row)) == IOTSEC_OK; index++) {
        struct iotsec_manager_group *group;

        if (check_group(m, row.group_id, &row.addr) != IOTSEC_OK || (row.key_number >> 8 & 0xFFu) == 0 ||
            row.next_sender < IOTSEC_SENDER_ID_MIN) {
            break;
        }
        group = take(m, TABLE_GROUPS, row.group_id);
        if (group == NULL) {
            status = IOTSEC_ERR_FULL;
            break;
        }
        fill_group(m, group, &row);
    }
    iotsec_wipe(&row, sizeof row);
    return status == IOTSEC_ERR_NOT_FOUND ? IOTSEC_OK : status == IOTSEC_ERR_FULL ? status : IOTSEC_ERR_REGISTRY;
}

/* Empties a table's index, and chains the slots from `from` on as free ones, in order. */
static void clear_index(struct iotsec_manager *m, unsigned table, uint32_t from)
{
    struct iotsec_table t = get_table(m, table);
    unsigned i = t.count;

    iotsec_table_init(&t);
    m->free_slot[table] = MGR_NONE;
    while (i > from) {
        struct iotsec_link *link = link_at(&t, --i);

        link->next = m->free_slot[table];
        m->free_slot[table] = (uint16_t)i;
    }
}

/* They are filed by group and sender ID first, so that one that was assigned twice is seen. */
static enum iotsec_status load_members(struct iotsec_manager *m)
{
    struct iotsec_table table = get_table(m, TABLE_MEMBERS);
    struct iotsec_manager_member *member;
    struct iotsec_registry_member row;
    enum iotsec_status status;
    uint32_t index;
    uint32_t i;

    for (index = 0; (status = m->config->registry->member_at(m->config->user, index, &row)) == IOTSEC_OK; index++) {
        const struct iotsec_manager_group *group = iotsec_mgr_group(m, row.group_id);
        uint32_t owner;

        if (row.device == 0 || group == NULL || row.sender_id < IOTSEC_SENDER_ID_MIN || row.sender_id >= group->now.next_sender) {
            return IOTSEC_ERR_REGISTRY;
        }
        owner = (uint32_t)row.group_id << 16 | row.sender_id;
        if (find(m, TABLE_MEMBERS, owner, NULL) != NULL) {
            return IOTSEC_ERR_REGISTRY;
        }
        member = take(m, TABLE_MEMBERS, owner);
        if (member == NULL) {
            return IOTSEC_ERR_FULL;
        }
        member->acknowledged = row.device; /* until all are there */
        member->group = group->index;
        member->sender_id = row.sender_id;
        member->flags = MEMBER_LOADED;
    }
    if (status != IOTSEC_ERR_NOT_FOUND) {
        return IOTSEC_ERR_REGISTRY;
    }
    /* used slots stand before the free ones */
    clear_index(m, TABLE_MEMBERS, index);
    for (i = 0; i < index; i++) {
        member = &m->config->members[i];
        if (iotsec_mgr_member(m, member->acknowledged, member->group) != NULL) {
            return IOTSEC_ERR_REGISTRY;
        }
        member->device = member->acknowledged;
        member->acknowledged = 0;
        iotsec_table_insert(&table, (uint16_t)i, hash_of(m, member->device));
    }
    return IOTSEC_OK;
}

static void wipe_tables(const struct iotsec_manager *m)
{
    unsigned table;

    iotsec_wipe(m->config->deliveries, sizeof m->config->deliveries[0] * m->config->delivery_count);
    for (table = 0; table < TABLES; table++) {
        struct iotsec_table t = get_table(m, table);

        iotsec_wipe(t.base, t.stride * t.count);
    }
}

static void fill_dtls_config(struct iotsec_manager *m, const struct iotsec_manager_config *config)
{
    struct iotsec_dtls_config *dtls = &m->dtls_config;

    dtls->hal = config->hal;
    dtls->callbacks = &dtls_callbacks;
    dtls->user = m;
    dtls->sessions = config->sessions;
    dtls->handshakes = config->handshakes;
    dtls->extensions = extensions;
    dtls->extension_count = 1;
    dtls->tx = config->tx;
    dtls->tx_size = config->tx_size;
    dtls->session_count = config->session_count;
    dtls->handshake_count = config->handshake_count;
    dtls->link_payload = config->link_payload;
    dtls->cookie_threshold = config->cookie_threshold;
    dtls->cookie_policy = config->cookie_policy;
    dtls->connection_id = config->connection_id;
    dtls->relayed = config->relayed;
    dtls->relay_handshakes = config->relay_handshakes;
    dtls->require_extended_master_secret = 1;
    dtls->require_renegotiation_info = 1;
    dtls->key_management = 1;
    dtls->retransmit_initial_ms = config->retransmit_initial_ms;
    dtls->retransmit_max_ms = config->retransmit_max_ms;
    dtls->half_open_timeout_ms = config->half_open_timeout_ms;
    dtls->idle_timeout_ms = config->idle_timeout_ms;
}

enum iotsec_status iotsec_manager_init_checked(struct iotsec_manager *m, const struct iotsec_manager_config *config,
                                               uint32_t config_id, size_t member_size, size_t handshake_size)
{
    enum iotsec_status status;
    unsigned table;

    if (config_id != IOTSEC_CONFIG_ID || member_size != sizeof(struct iotsec_manager_member) ||
        handshake_size != sizeof(struct iotsec_dtls_handshake)) {
        return IOTSEC_ERR_CONFIG;
    }
    if (m == NULL || config == NULL || !config_is_sound(config)) {
        return IOTSEC_ERR_ARGUMENT;
    }
    memset(m, 0, sizeof *m);
    fill_dtls_config(m, config);
    status = iotsec_dtls_init(&m->dtls, &m->dtls_config);
    if (status != IOTSEC_OK) {
        return status;
    }
    m->config = config;
    m->busy_end = &m->busy;
    wipe_tables(m);
    for (table = 0; table < TABLES; table++) {
        clear_index(m, table, 0);
    }
    status = load_groups(m);
    if (status == IOTSEC_OK) {
        status = load_members(m);
    }
#if IOTSEC_ACCESS
    if (status == IOTSEC_OK) {
        status = iotsec_mgr_access_load(m);
    }
#endif
#if IOTSEC_PAIRWISE
    if (status == IOTSEC_OK) {
        status = iotsec_mgr_poly_load(m);
    }
#endif
    if (status != IOTSEC_OK) {
        iotsec_manager_wipe(m);
    }
    return status;
}

void iotsec_manager_wipe(struct iotsec_manager *m)
{
    if (m != NULL && m->config != NULL) {
        iotsec_dtls_wipe(&m->dtls);
        wipe_tables(m);
        iotsec_wipe(m, sizeof *m);
    }
}

/* ---- What the application does ---- */

void iotsec_manager_close(struct iotsec_manager *m)
{
    unsigned i;

    if (m == NULL || m->config == NULL) {
        return;
    }
    for (i = 0; i < m->config->contact_count; i++) {
        if (m->config->contacts[i].device != 0) {
            iotsec_mgr_contact_close(m, &m->config->contacts[i], IOTSEC_ALERT_CLOSE_NOTIFY, IOTSEC_OK);
        }
    }
    (void)iotsec_dtls_flush(&m->dtls);
}

enum iotsec_status iotsec_manager_input(struct iotsec_manager *m, const struct iotsec_addr *from, uint8_t *datagram, size_t len)
{
    return m == NULL ? IOTSEC_ERR_ARGUMENT : iotsec_dtls_input(&m->dtls, from, datagram, len);
}

uint32_t iotsec_manager_poll(struct iotsec_manager *m)
{
    uint32_t wait;
    uint32_t now;

    if (m == NULL || m->config == NULL) {
        return UINT32_MAX;
    }
    wait = iotsec_dtls_poll(&m->dtls);
    iotsec_mgr_serve(m);
#if IOTSEC_ACCESS
    iotsec_mgr_access_poll(m);
#endif
    iotsec_mgr_deliver_poll(m);
    (void)iotsec_dtls_flush(&m->dtls);
    now = iotsec_mgr_now(m);
    wait = iotsec_min_u32(wait, iotsec_mgr_serve_wait(m, now));
#if IOTSEC_ACCESS
    wait = iotsec_min_u32(wait, iotsec_mgr_access_wait(m, now));
#endif
    return iotsec_min_u32(wait, iotsec_mgr_deliver_wait(m, now));
}

enum iotsec_status iotsec_manager_psk_complete(struct iotsec_manager *m, iotsec_dtls_handle handshake, enum iotsec_status status,
                                               const struct iotsec_dtls_psk *psk)
{
    if (m == NULL || (status == IOTSEC_OK && psk != NULL && psk->peer == 0)) {
        return IOTSEC_ERR_ARGUMENT;
    }
    return iotsec_dtls_psk_complete(&m->dtls, handshake, status, psk);
}

/* A storage function may fail in any way; the application hears of the ways that the header names. */
enum iotsec_status iotsec_mgr_finish(struct iotsec_manager *m, enum iotsec_status status)
{
    iotsec_mgr_tell_groups(m);
    (void)iotsec_dtls_flush(&m->dtls);
    return status == IOTSEC_OK || status == IOTSEC_ERR_RANDOM || status == IOTSEC_ERR_CRYPTO || status == IOTSEC_ERR_COUNTER
               ? status
               : IOTSEC_ERR_REGISTRY;
}

enum iotsec_status iotsec_manager_group_add(struct iotsec_manager *m, uint16_t group_id, const struct iotsec_addr *addr)
{
    struct iotsec_registry_group row;
    enum iotsec_status status;

    if (m == NULL || addr == NULL) {
        return IOTSEC_ERR_ARGUMENT;
    }
    status = check_group(m, group_id, addr);
    if (status != IOTSEC_OK) {
        return status;
    }
    if (m->free_slot[TABLE_GROUPS] == MGR_NONE) {
        return IOTSEC_ERR_FULL;
    }
    memset(&row, 0, sizeof row);
    row.group_id = group_id;
    row.next_sender = IOTSEC_SENDER_ID_MIN;
    row.key_number = iotsec_csb_next_generation(0);
    row.addr = *addr;
    row.addr.interface = 0;
    status = iotsec_mgr_fresh_keys(m, &row);
    if (status == IOTSEC_OK) {
        status = iotsec_mgr_begin(m);
        if (status == IOTSEC_OK) {
            status = iotsec_mgr_end(m, m->config->registry->put_group(m->config->user, &row));
        }
    }
    if (status == IOTSEC_OK) {
        fill_group(m, take(m, TABLE_GROUPS, group_id), &row);
    }
    iotsec_wipe(&row, sizeof row);
    return iotsec_mgr_finish(m, status);
}

enum iotsec_status iotsec_manager_group_remove(struct iotsec_manager *m, uint16_t group_id)
{
    struct iotsec_manager_group *group = iotsec_mgr_group(m, group_id);
    enum iotsec_status status;

    if (group == NULL) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    status = iotsec_mgr_begin(m);
    if (status == IOTSEC_OK) {
        status = iotsec_mgr_end(m, m->config->registry->delete_group(m->config->user, group_id));
    }
    if (status == IOTSEC_OK) {
        group->state = GROUP_REMOVED;
        group->flags &= GROUP_LISTED;
        iotsec_mgr_plan(m, group); /* which takes it out of the list */
        m->flags |= MGR_REMOVED;
        iotsec_mgr_cancel(m, 0, group->index);
        iotsec_mgr_scan_request(m);
    }
    return iotsec_mgr_finish(m, status);
}

enum iotsec_status iotsec_manager_group_renew(struct iotsec_manager *m, uint16_t group_id, uint32_t above)
{
    struct iotsec_manager_group *group = iotsec_mgr_group(m, group_id);
    enum iotsec_status status;
    uint32_t before;

    if (group == NULL) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    before = group->above;
    if (above > before) {
        group->above = above;
    }
    iotsec_mgr_stage(m, group, IOTSEC_ERR_CANCELLED);
    status = iotsec_mgr_change(m, 0, false);
    if (status != IOTSEC_OK) {
        group->above = before;
    }
    return iotsec_mgr_finish(m, status);
}

enum iotsec_status iotsec_manager_evict(struct iotsec_manager *m, uint32_t device)
{
    struct iotsec_manager_contact *contact;
    enum iotsec_status status;

    if (m == NULL || device == 0) {
        return IOTSEC_ERR_ARGUMENT;
    }
    status = remove_device(m, device, MGR_NONE, true, IOTSEC_ERR_EVICTED);
    if (status == IOTSEC_OK) {
        iotsec_mgr_cancel(m, device, MGR_NONE);
        contact = iotsec_mgr_contact(m, device);
        if (contact != NULL) {
            dismiss(m, contact, IOTSEC_KM_EVICTED, 0);
        }
        iotsec_mgr_tell(m, IOTSEC_MANAGER_DEVICE_EVICTED, IOTSEC_ERR_EVICTED, device, 0);
    }
    return iotsec_mgr_finish(m, status);
}

enum iotsec_status iotsec_manager_expel(struct iotsec_manager *m, uint32_t device, uint16_t group_id)
{
    struct iotsec_manager_group *group = iotsec_mgr_group(m, group_id);
    struct iotsec_manager_contact *contact;
    enum iotsec_status status;

    if (group == NULL || iotsec_mgr_member(m, device, group->index) == NULL) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    status = remove_device(m, device, group->index, false, IOTSEC_ERR_LEFT);
    if (status == IOTSEC_OK) {
        contact = find_active(m, device);
        if (contact != NULL) {
            (void)iotsec_mgr_notify(m, contact, IOTSEC_KM_GROUP_REMOVED, group_id, 0);
        }
        iotsec_mgr_tell(m, IOTSEC_MANAGER_MEMBER_LEFT, IOTSEC_ERR_LEFT, device, group_id);
    }
    return iotsec_mgr_finish(m, status);
}

uint32_t iotsec_manager_key_number(const struct iotsec_manager *m, uint16_t group_id)
{
    const struct iotsec_manager_group *group = iotsec_mgr_group(m, group_id);

    return group != NULL ? group->now.key_number : 0;
}

#endif
