/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Key-management messages. On the manager's side of the session:
 *
 *     M -> D  MASTER_KEY, PARAMETERS (one pair)   D -> M  ACK, once both are installed
 *     M -> D  REFUSED, EVICTED, GROUP_REMOVED, ACCESS, PATH_CHECK   D -> M  ACK
 *
 * On this side one request at a time, repeated with the same message ID until its ACK:
 *
 *     D -> M  STATUS          M -> D  ACK: agreed | keys follow | not a member: the group is requested anew
 *     D -> M  GROUP_REQUEST   M -> D  ACK: keys or REFUSED follow
 *     D -> M  GROUP_LEAVE, DOMAIN_LEAVE, MOVED   M -> D  ACK
 *     D -> M  SHARE_STATUS    M -> D  ACK; SHARE and REVOKED: device_share.c
 */
#include "access/device_state.h"

#include <string.h>

#include "access/group.h"

#if IOTSEC_ROLE_DEVICE

/* Where the stack counts, a function keeps what is large to itself: inlined, it would lie under all that its caller calls. */
#if defined(__GNUC__)
#define OWN_FRAME __attribute__((noinline))
#else
#define OWN_FRAME
#endif

#define REQUEST_BYTES_MAX (IOTSEC_PAIRWISE ? 13u : 11u) /* SHARE_STATUS, STATUS */

/* All that this side sends is of that type, and none of it is secret. A send that fails is a loss: whatever matters is
 * repeated. */
static void send_message(struct iotsec_device *dev, const uint8_t *data, size_t len)
{
    (void)iotsec_dtls_send(&dev->dtls, dev->session, IOTSEC_CONTENT_SECURITY_PARAMETERS, data, len);
}

static void acknowledge(struct iotsec_device *dev, unsigned message, enum iotsec_km_result result)
{
    uint8_t ack[3];

    ack[0] = IOTSEC_KM_ACK;
    ack[1] = (uint8_t)message;
    ack[2] = (uint8_t)result;
    send_message(dev, ack, sizeof ack);
}

/* ---- Asking ---- */

void iotsec_dev_ask_in(struct iotsec_device *dev, struct iotsec_device_group *group, uint32_t ms)
{
    group->ask_at = iotsec_dev_now(dev) + ms;
    group->flags |= GROUP_ASK;
}

uint32_t iotsec_dev_ask_delay(const struct iotsec_device *dev, uint32_t *wait)
{
    uint32_t most = iotsec_value_or(*wait, IOTSEC_ASK_INITIAL_MS);

    *wait = iotsec_min_u32(2 * most, IOTSEC_ASK_MAX_MS);
    return most / 2 + iotsec_dev_random(dev, most / 2);
}

void iotsec_dev_ask(struct iotsec_device *dev, struct iotsec_device_group *group)
{
    if ((group->flags & (GROUP_ASK | GROUP_DUE)) == 0) {
        iotsec_dev_ask_in(dev, group, iotsec_dev_ask_delay(dev, &group->ask_wait));
    }
}

/* A wait, give or take an eighth. */
static uint32_t get_about(const struct iotsec_device *dev, uint32_t wait)
{
    return wait - wait / 8 + iotsec_dev_random(dev, wait / 4 + 1);
}

uint32_t iotsec_dev_next_status(const struct iotsec_device *dev)
{
    return iotsec_dev_now(dev) + get_about(dev, iotsec_value_or(dev->config->status_interval_ms, IOTSEC_STATUS_INTERVAL_MS));
}

/* The layouts stand in keymgmt.h. */
static void send_request(struct iotsec_device *dev)
{
    const struct iotsec_device_group *group = iotsec_dev_group(dev, dev->request_group);
    uint8_t out[REQUEST_BYTES_MAX];
    size_t len = 2;

    out[0] = dev->request_kind;
    out[1] = dev->request_id;
    if (dev->request_group != 0 && group != NULL) {
        iotsec_put_u16(out + 2, group->csb.group_id);
        len = 4;
        if (dev->request_kind == IOTSEC_KM_STATUS) {
            iotsec_put_u32(out + 4, group->csb.key_number);
            iotsec_put_u16(out + 8, group->csb.sender_id);
            out[10] = 0;
            if ((group->flags & GROUP_CONFLICT) != 0) {
                out[10] |= IOTSEC_KM_STATUS_CONFLICT;
            }
            if (group->csb.counter >= IOTSEC_GROUP_COUNTER_SOFT) {
                out[10] |= IOTSEC_KM_STATUS_NEW_SENDER;
            }
            len = 11;
        }
    }
#if IOTSEC_PAIRWISE
    if (dev->request_kind == IOTSEC_KM_SHARE_STATUS) {
        iotsec_dev_share_status(dev, out + 2);
        len = REQUEST_BYTES_MAX;
    }
#endif
    send_message(dev, out, len);
}

void iotsec_dev_start_request(struct iotsec_device *dev, uint8_t kind, uint16_t group_id)
{
    dev->request_kind = kind;
    dev->request_group = group_id;
    dev->request_id = ++dev->next_id;
    dev->request_rounds = 0;
    dev->request_wait = iotsec_value_or(dev->config->retransmit_initial_ms, IOTSEC_RETRANSMIT_INITIAL_MS);
    dev->request_at = iotsec_dev_now(dev);
}

/* By iotsec_device_group.state. */
static const uint8_t request_of[] = {
    [GROUP_WANTED] = IOTSEC_KM_GROUP_REQUEST,
    [GROUP_HELD] = IOTSEC_KM_STATUS,
    [GROUP_LEFT] = IOTSEC_KM_GROUP_LEAVE,
};

static void choose_request(struct iotsec_device *dev)
{
    struct iotsec_device_group *group = iotsec_dev_flagged(dev, GROUP_DUE);

    if (dev->state == DEVICE_LEFT) {
        iotsec_dev_start_request(dev, IOTSEC_KM_DOMAIN_LEAVE, 0);
    } else if (group != NULL && group->state == GROUP_WANTED && (dev->flags & DEVICE_WIPED_KEYS) != 0) {
        iotsec_dev_renew_session(dev); /* whose hello, or first messages, ask for what is due */
    } else if (group != NULL) {
        group->flags &= (uint16_t)~(GROUP_DUE | GROUP_ASK);
        iotsec_dev_start_request(dev, request_of[group->state], group->csb.group_id);
#if IOTSEC_PAIRWISE
    } else if ((dev->pair_flags & PAIRS_DUE) != 0 && dev->config->pair_count != 0) {
        dev->pair_flags &= (uint8_t)~(PAIRS_DUE | PAIRS_ASK);
        iotsec_dev_start_request(dev, IOTSEC_KM_SHARE_STATUS, 0);
#endif
    }
}

/* Every group reports now and then; that is also what shows that the manager is still there. */
static void report_routinely(struct iotsec_device *dev)
{
    struct iotsec_device_group *group;
    unsigned i;

    dev->status_at = iotsec_dev_next_status(dev);
#if IOTSEC_PAIRWISE
    dev->pair_flags |= PAIRS_DUE;
#endif
    for (i = 0; (group = iotsec_dev_slot(dev, i)) != NULL; i++) {
        if (group->state == GROUP_HELD) {
            group->flags |= GROUP_DUE;
        }
    }
}

#if IOTSEC_PAIRWISE
static bool is_in_a_group(const struct iotsec_device *dev)
{
    const struct iotsec_device_group *group;
    unsigned i = 0;

    do {
        group = iotsec_dev_slot(dev, i++);
    } while (group != NULL && group->state != GROUP_HELD);
    return group != NULL;
}
#endif

/* No answer has come. */
static void give_up_request(struct iotsec_device *dev)
{
#if MOVES
    if (dev->request_kind == IOTSEC_KM_MOVED) { /* the old way may still be there: other requests will tell */
        iotsec_dev_end_move(dev, false);
        return;
    }
#endif
#if IOTSEC_PAIRWISE
    /* A manager without pairwise keys drops it, and is there all the same; or it was started anew meanwhile. For a member
     * of a group STATUS will tell. Anybody else sees whether a session can be opened, the less often the longer it goes on. */
    if (dev->request_kind == IOTSEC_KM_SHARE_STATUS && (dev->pair_flags & PAIRS_HEARD) == 0) {
        dev->pair_flags ^= PAIRS_RETRIED;
        if ((dev->pair_flags & PAIRS_RETRIED) != 0 && !is_in_a_group(dev)) {
            iotsec_dev_renew_session(dev);
            return;
        }
        dev->request_kind = 0;
        dev->flags |= DEVICE_TOUCHED;
        iotsec_dev_take_share_answer(dev, IOTSEC_KM_FAILED);
        return;
    }
#endif
    iotsec_dev_lose_contact(dev, IOTSEC_ERR_NO_ANSWER);
}

void iotsec_dev_request_poll(struct iotsec_device *dev)
{
    if (dev->session == 0) {
        return;
    }
    if (iotsec_dev_due(dev, dev->status_at)) {
        report_routinely(dev);
        (void)iotsec_dev_due(dev, dev->status_at);
    }
    if (dev->request_kind == 0) {
        choose_request(dev);
    }
    if (dev->request_kind != 0 && iotsec_dev_due(dev, dev->request_at)) {
        if (dev->request_rounds == REQUEST_ROUNDS_MAX) {
            give_up_request(dev);
            return;
        }
        dev->request_rounds++;
        dev->request_at = iotsec_dev_now(dev) + get_about(dev, dev->request_wait);
        dev->request_wait =
            iotsec_longer(dev->request_wait, iotsec_value_or(dev->config->retransmit_max_ms, IOTSEC_RETRANSMIT_MAX_MS));
        send_request(dev);
        (void)iotsec_dev_due(dev, dev->request_at);
    }
}

/* ---- Answers to our requests ---- */

/* Forgets a group, and says so unless the application has had an answer already. One that had no keys is refused, for
 * `reason`; one that had is left. */
static void release_group(struct iotsec_device *dev, struct iotsec_device_group *group, enum iotsec_status reason)
{
    enum iotsec_device_event_kind kind = IOTSEC_DEVICE_GROUP_REFUSED;
    uint16_t group_id = group->csb.group_id;
    bool quiet = (group->flags & GROUP_QUIET) != 0;

    if (group->state != GROUP_WANTED) {
        kind = IOTSEC_DEVICE_GROUP_LEFT;
        reason = group->state == GROUP_LEFT ? IOTSEC_ERR_LEFT : IOTSEC_ERR_NOT_FOUND;
    }
    iotsec_dev_group_forget(dev, group, GROUP_FREE);
    if (!quiet) {
        iotsec_dev_tell(dev, kind, reason, group_id);
    }
}

/* M -> D  ACK to what was asked about a group */
static void take_answer(struct iotsec_device *dev, struct iotsec_device_group *group, unsigned kind, unsigned result)
{
    unsigned awaited = group->flags & GROUP_AWAITED;

    if (result == IOTSEC_KM_FAILED) {
        iotsec_dev_ask(dev, group);
    } else if (kind == IOTSEC_KM_GROUP_LEAVE) {
        release_group(dev, group, IOTSEC_OK);
    } else if (kind == IOTSEC_KM_GROUP_REQUEST || result == IOTSEC_KM_KEYS_FOLLOW) {
        iotsec_dev_ask_in(dev, group, KEYS_WAIT_MS);
    } else if (result == IOTSEC_KM_DONE) {
        group->flags &= (uint16_t)~(GROUP_CONFLICT | GROUP_AWAITED);
        if (awaited != 0) {
            iotsec_dev_tell(dev, IOTSEC_DEVICE_GROUP_JOINED, IOTSEC_OK, group->csb.group_id);
        }
    } else if (result == IOTSEC_KM_NOT_MEMBER) {
        /* Only a fresh sender ID is safe now: somebody else may have got ours. */
        iotsec_dev_group_forget(dev, group, GROUP_WANTED);
        group->flags = (uint16_t)(GROUP_DUE | awaited);
    } else {
        iotsec_dev_ask(dev, group);
    }
}

/* M -> D  ACK. The state that the request was sent in may have passed; then the answer says nothing. */
static void take_ack(struct iotsec_device *dev, const struct iotsec_km_message *message)
{
    struct iotsec_device_group *group = iotsec_dev_group(dev, dev->request_group);
    unsigned kind = dev->request_kind;

    if (kind == 0 || message->message != dev->request_id) {
        (void)iotsec_dev_drop(dev, IOTSEC_DROP_UNEXPECTED);
        return;
    }
    dev->contact_wait = 0; /* the manager does more than shake hands */
    if (kind == IOTSEC_KM_DOMAIN_LEAVE) {
        if (message->code == IOTSEC_KM_FAILED) {
            dev->request_id = ++dev->next_id; /* a new question, but the same number of rounds */
        } else {
            iotsec_dev_finish_leave(dev, IOTSEC_OK);
        }
        return;
    }
#if MOVES
    if (kind == IOTSEC_KM_MOVED) {
        iotsec_dev_end_move(dev, message->code == IOTSEC_KM_DONE);
        return;
    }
#endif
    dev->request_kind = 0;
#if IOTSEC_PAIRWISE
    if (kind == IOTSEC_KM_SHARE_STATUS) {
        dev->pair_flags = (uint8_t)((dev->pair_flags & ~PAIRS_RETRIED) | PAIRS_HEARD);
        iotsec_dev_take_share_answer(dev, message->code);
        return;
    }
#endif
    if (group != NULL && kind == request_of[group->state]) {
        take_answer(dev, group, kind, message->code);
    }
}

/* ---- What the manager sends ---- */

void iotsec_dev_listen(struct iotsec_device *dev, struct iotsec_device_group *group, const struct iotsec_addr *was)
{
    const struct iotsec_hal *hal = dev->config->hal;

    if ((group->flags & GROUP_LISTENS) != 0 && !iotsec_addr_equal(&group->csb.addr, was)) {
        group->flags &= (uint16_t)~GROUP_LISTENS;
        if (hal->multicast_leave != NULL) {
            hal->multicast_leave(hal->user, was);
        }
    }
    /* one that failed is tried again with the next keys: until then the group is sent to, but not heard */
    if ((group->flags & GROUP_LISTENS) == 0 && hal->multicast_join != NULL &&
        hal->multicast_join(hal->user, &group->csb.addr) == 0) {
        group->flags |= GROUP_LISTENS;
    }
}

/* What to answer to keys that are installed: DONE says that they are durable too. */
static enum iotsec_km_result result_of(struct iotsec_device *dev, struct iotsec_device_group *group)
{
#if IOTSEC_PERSIST
    return iotsec_dev_saved(dev, group) ? IOTSEC_KM_DONE : IOTSEC_KM_FAILED;
#else
    (void)dev;
    (void)group;
    return IOTSEC_KM_DONE;
#endif
}

/* Keys that are installed came again: which the application may be waiting to hear, if a record of this step came before. */
static void tell_awaited(struct iotsec_device *dev, struct iotsec_device_group *group)
{
    if ((group->flags & GROUP_AWAITED) != 0) {
        group->flags &= (uint16_t)~GROUP_AWAITED;
        iotsec_dev_tell(dev, IOTSEC_DEVICE_GROUP_JOINED, IOTSEC_OK, group->csb.group_id);
    }
}

/* Another TGK under the same number: one of the two ends has lost its memory. The manager finds out which. */
static void take_conflict(struct iotsec_device *dev, struct iotsec_device_group *group)
{
    bool told = (group->flags & GROUP_CONFLICT) != 0;

    group->flags |= GROUP_CONFLICT;
    iotsec_dev_ask(dev, group);
    if (!told) {
        iotsec_dev_tell(dev, IOTSEC_DEVICE_KEY_CONFLICT, IOTSEC_ERR_KEY_CONFLICT, group->csb.group_id);
    }
}

/* M -> D  Master Key Data or Security Parameters Data. The group, if that may have made a pair complete; or NULL. */
static struct iotsec_device_group *take_half(struct iotsec_device *dev, struct iotsec_km_message *message)
{
    struct iotsec_device_group *group = iotsec_dev_group(dev, message->group_id);
    bool master = message->kind == IOTSEC_KM_MASTER_KEY; /* which alone is answered: once a pair */
    enum iotsec_status status;

    if (group == NULL || group->state == GROUP_LEFT) {
        if (master) {
            acknowledge(dev, message->message, IOTSEC_KM_NO_ROOM);
        }
        (void)iotsec_dev_drop(dev, IOTSEC_DROP_NOT_ALLOWED);
        return NULL;
    }
    if (group->state == GROUP_WANTED && (dev->flags & DEVICE_WIPED_KEYS) != 0) {
        /* Nothing was asked for on this session since, so this is a repeat of what was wiped: installed again, it
         * would start a sender ID at 0 whose counters have been used. */
        (void)iotsec_dev_drop(dev, IOTSEC_DROP_NOT_ALLOWED);
        return NULL;
    }
    if (!master) {
        message->addr.interface = dev->interface; /* the group is heard where the device joined */
        status = iotsec_csb_parameters(&group->csb, message->key_number, message->secret, &message->addr,
                                       message->kind == IOTSEC_KM_PARAMETERS_EVICTION);
        return status == IOTSEC_OK ? group : NULL;
    }
    status = iotsec_csb_master_key(&group->csb, message->key_number, message->sender_id, message->secret);
    if (status == IOTSEC_OK) {
        return group;
    }
    if (status == IOTSEC_ERR_EXISTS) { /* only this half shows that the keys are the same, so it answers for both */
        acknowledge(dev, message->message, result_of(dev, group));
        tell_awaited(dev, group);
    } else if (status == IOTSEC_ERR_KEY_CONFLICT) {
        acknowledge(dev, message->message, IOTSEC_KM_CONFLICT);
        take_conflict(dev, group);
    }
    return NULL;
}

/* If both halves are there: what follows from it, the acknowledgement, and only then the application. */
static void install_pair(struct iotsec_device *dev, struct iotsec_device_group *group, unsigned message)
{
    struct iotsec_csb *csb = &group->csb;
    struct iotsec_addr was = csb->addr;
    uint32_t key_number = csb->key_number;
    bool held = group->state == GROUP_HELD;
    bool joined = !held || (group->flags & GROUP_AWAITED) != 0;
    enum iotsec_status status = iotsec_csb_install(csb, dev->config->hal);
    uint16_t group_id = csb->group_id;
    bool sent_lately;

    if (status != IOTSEC_OK) {
        if (status == IOTSEC_ERR_CRYPTO) {
            (void)iotsec_dev_drop(dev, IOTSEC_DROP_NO_ROOM); /* not acknowledged, so it comes again */
        }
        return;
    }
    iotsec_group_new_keys(dev, group);
    if (csb->counter == 0) { /* of a new sender ID */
#if IOTSEC_PERSIST
        group->reserved = 0; /* what NVM has reserved was for another one */
#endif
        group->flags &= (uint16_t)~GROUP_SPENT;
    }
    iotsec_dev_listen(dev, group, &was);
    if (!held || key_number >> 8 == csb->key_number >> 8) {
        iotsec_dev_hint(dev, group); /* a step that was made for this device: the others learn of it here */
    }
    group->state = GROUP_HELD;
    group->flags &= (uint16_t)~(GROUP_CONFLICT | GROUP_AWAITED);
    sent_lately = iotsec_dev_key_moved(dev, group);
    acknowledge(dev, message, result_of(dev, group));
    iotsec_dev_tell_key(dev, joined ? IOTSEC_DEVICE_GROUP_JOINED : IOTSEC_DEVICE_GROUP_KEY, group_id, sent_lately);
}

/* M -> D  REFUSED(group 0): this device may not be in the domain, or the manager cannot tell now */
static void refuse_domain(struct iotsec_device *dev, uint8_t reason)
{
    if (reason == IOTSEC_KM_REASON_NOT_AUTHORISED) {
        iotsec_dev_expelled(dev, IOTSEC_ERR_NOT_AUTHORISED);
    } else if (dev->state == DEVICE_AUTHENTICATED) {
        iotsec_dev_fail_join(dev, IOTSEC_ERR_RESOURCES);
    } else {
        iotsec_dev_lose_contact(dev, IOTSEC_ERR_RESOURCES);
    }
}

/* M -> D  REFUSED or GROUP_REMOVED: there is nothing, or nothing more, of this group for us */
static void take_refusal(struct iotsec_device *dev, const struct iotsec_km_message *message)
{
    struct iotsec_device_group *group = iotsec_dev_group(dev, message->group_id);

    acknowledge(dev, message->message, IOTSEC_KM_DONE);
    if (message->group_id == 0) {
        refuse_domain(dev, message->code);
    } else if (group == NULL) {
        (void)iotsec_dev_drop(dev, IOTSEC_DROP_NOT_ALLOWED); /* its acknowledgement was lost the first time */
    } else if (group->state == GROUP_HELD && message->kind == IOTSEC_KM_REFUSED) {
        (void)iotsec_dev_drop(dev, IOTSEC_DROP_UNEXPECTED); /* keys are installed: only a removal takes them away */
    } else {
        release_group(dev, group,
                      message->code == IOTSEC_KM_REASON_RESOURCES ? IOTSEC_ERR_RESOURCES : IOTSEC_ERR_GROUP_REFUSED);
    }
}

#if IOTSEC_PAIRWISE
/* M -> D  SHARE or REVOKED */
static void take_share_message(struct iotsec_device *dev, const struct iotsec_km_message *message)
{
    enum iotsec_km_result result;
    bool answer;

    if (dev->config->pair_count == 0 || dev->state == DEVICE_LEFT) {
        (void)iotsec_dev_drop(dev, IOTSEC_DROP_NOT_ALLOWED);
        return;
    }
    result = iotsec_dev_take_share(dev, message, &answer);
    if (answer) {
        acknowledge(dev, message->message, result);
    } else {
        (void)iotsec_dev_drop(dev, IOTSEC_DROP_UNEXPECTED);
    }
    iotsec_dev_share_tell(dev);
}
#endif

/* All but the installation of a pair, which needs the most stack, and not what is on it here. */
OWN_FRAME
static struct iotsec_device_group *obey(struct iotsec_device *dev, uint8_t type, const uint8_t *data, size_t len)
{
    struct iotsec_km_message message;
    struct iotsec_device_group *group = NULL;
    unsigned kind;

    if (iotsec_km_decode(&message, type, data, len) != IOTSEC_OK) {
        (void)iotsec_dev_drop(dev, IOTSEC_DROP_MALFORMED);
        return NULL;
    }
    kind = message.kind;
    if (kind <= IOTSEC_KM_PARAMETERS_EVICTION) {
        group = take_half(dev, &message);
    } else if (kind == IOTSEC_KM_ACK) {
        take_ack(dev, &message);
    } else if (kind == IOTSEC_KM_REFUSED || kind == IOTSEC_KM_GROUP_REMOVED) {
        take_refusal(dev, &message);
    } else if (kind == IOTSEC_KM_EVICTED) {
        acknowledge(dev, message.message, IOTSEC_KM_DONE);
        iotsec_dev_expelled(dev, IOTSEC_ERR_EVICTED);
#if IOTSEC_ACCESS
    } else if (kind == IOTSEC_KM_ACCESS) {
        enum iotsec_km_result result = iotsec_dev_take_access(dev, &message);

        acknowledge(dev, message.message, result);
        if (result == IOTSEC_KM_DONE) {
            iotsec_dev_tell_access(dev, &message);
        }
    } else if (kind == IOTSEC_KM_PATH_CHECK) { /* that it came is what it asks */
        acknowledge(dev, message.message, IOTSEC_KM_DONE);
#endif
#if IOTSEC_PAIRWISE
    } else if (kind == IOTSEC_KM_SHARE || kind == IOTSEC_KM_REVOKED) {
        take_share_message(dev, &message);
#endif
    } else { /* a device's own requests: only a manager takes them */
        (void)iotsec_dev_drop(dev, IOTSEC_DROP_NOT_ALLOWED);
    }
    iotsec_wipe(&message, sizeof message);
    return group;
}

void iotsec_dev_take_message(struct iotsec_device *dev, uint8_t type, const uint8_t *data, size_t len)
{
    struct iotsec_device_group *group = obey(dev, type, data, len);

    if (group != NULL) {
        install_pair(dev, group, data[1]); /* every message has its ID there */
    }
}

#endif
