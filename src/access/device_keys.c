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

static void send_message(struct iotsec_device *dev, const struct iotsec_km_message *message)
{
    uint8_t data[IOTSEC_KM_MAX_BYTES];
    size_t len;

    /* What this side sends holds no secret. A send that fails is a loss: whatever matters is repeated. */
    if (iotsec_km_encode(message, data, sizeof data, &len) == IOTSEC_OK) {
        (void)iotsec_dtls_send(&dev->dtls, dev->session, iotsec_km_content_type(message->kind), data, len);
    }
}

static void acknowledge(struct iotsec_device *dev, const struct iotsec_km_message *message, enum iotsec_km_result result)
{
    struct iotsec_km_message ack;

    memset(&ack, 0, sizeof ack);
    ack.kind = IOTSEC_KM_ACK;
    ack.message = message->message;
    ack.code = (uint8_t)result;
    send_message(dev, &ack);
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

uint32_t iotsec_dev_next_status(const struct iotsec_device *dev)
{
    uint32_t wait = iotsec_value_or(dev->config->status_interval_ms, IOTSEC_STATUS_INTERVAL_MS);

    return iotsec_dev_now(dev) + wait - wait / 8 + iotsec_dev_random(dev, wait / 4 + 1);
}

static void send_request(struct iotsec_device *dev)
{
    const struct iotsec_device_group *group = iotsec_dev_group(dev, dev->request_group);
    struct iotsec_km_message request;

    memset(&request, 0, sizeof request);
    request.kind = dev->request_kind;
    request.message = dev->request_id;
    request.group_id = dev->request_group;
    if (request.kind == IOTSEC_KM_STATUS && group != NULL) {
        request.key_number = group->csb.key_number;
        request.sender_id = group->csb.sender_id;
        if ((group->flags & GROUP_CONFLICT) != 0) {
            request.code |= IOTSEC_KM_STATUS_CONFLICT;
        }
        if (group->csb.counter >= IOTSEC_GROUP_COUNTER_SOFT) {
            request.code |= IOTSEC_KM_STATUS_NEW_SENDER;
        }
    }
#if IOTSEC_PAIRWISE
    if (request.kind == IOTSEC_KM_SHARE_STATUS) {
        iotsec_dev_share_status(dev, &request);
    }
#endif
    send_message(dev, &request);
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
    struct iotsec_device_group *group = dev->config->groups;
    uint16_t left = dev->config->group_count;

    if (!iotsec_time_reached(iotsec_dev_now(dev), dev->status_at)) {
        return;
    }
    dev->status_at = iotsec_dev_next_status(dev);
#if IOTSEC_PAIRWISE
    dev->pair_flags |= PAIRS_DUE;
#endif
    for (; left != 0; left--, group++) {
        if (group->state == GROUP_HELD) {
            group->flags |= GROUP_DUE;
        }
    }
}

#if IOTSEC_PAIRWISE
static bool is_in_a_group(const struct iotsec_device *dev)
{
    const struct iotsec_device_group *group = dev->config->groups;
    uint16_t left = dev->config->group_count;

    while (left != 0 && group->state != GROUP_HELD) {
        left--;
        group++;
    }
    return left != 0;
}
#endif

void iotsec_dev_request_poll(struct iotsec_device *dev, uint32_t *wait)
{
    uint32_t max = iotsec_value_or(dev->config->retransmit_max_ms, IOTSEC_RETRANSMIT_MAX_MS);
    uint32_t now = iotsec_dev_now(dev);
    uint32_t interval = dev->request_wait;

    if (dev->session == 0) {
        return;
    }
    report_routinely(dev);
    if (dev->request_kind == 0) {
        choose_request(dev);
        interval = dev->request_wait;
    }
    if (dev->request_kind == 0) {
        *wait = iotsec_min_u32(*wait, iotsec_time_left(now, dev->status_at));
        return;
    }
    if (iotsec_time_reached(now, dev->request_at)) {
        if (dev->request_rounds == REQUEST_ROUNDS_MAX) {
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
            return;
        }
        dev->request_rounds++;
        dev->request_at = now + interval - interval / 8 + iotsec_dev_random(dev, interval / 4 + 1);
        dev->request_wait = iotsec_longer(interval, max);
        send_request(dev);
    }
    *wait = iotsec_min_u32(*wait, iotsec_time_left(now, dev->request_at));
}

/* ---- Answers to our requests ---- */

/* M -> D  ACK to STATUS */
static void take_status_answer(struct iotsec_device *dev, struct iotsec_device_group *group, uint8_t result)
{
    uint16_t group_id = group->csb.group_id;
    bool awaited = (group->flags & GROUP_AWAITED) != 0;

    switch (result) {
    case IOTSEC_KM_DONE:
        group->flags &= (uint16_t)~(GROUP_CONFLICT | GROUP_AWAITED);
        if (awaited) {
            iotsec_dev_tell(dev, IOTSEC_DEVICE_GROUP_JOINED, IOTSEC_OK, group_id);
        }
        break;
    case IOTSEC_KM_KEYS_FOLLOW:
        iotsec_dev_ask_in(dev, group, KEYS_WAIT_MS);
        break;
    case IOTSEC_KM_NOT_MEMBER:
        /* Only a fresh sender ID is safe now: somebody else may have got ours. */
        iotsec_dev_group_forget(dev, group, GROUP_WANTED);
        group->flags = (uint16_t)(GROUP_DUE | (awaited ? GROUP_AWAITED : 0));
        break;
    default:
        iotsec_dev_ask(dev, group);
        break;
    }
}

/* Forgets a group and says why, unless the application has had an answer already. */
static void release_group(struct iotsec_device *dev, struct iotsec_device_group *group, enum iotsec_device_event_kind kind,
                          enum iotsec_status reason)
{
    uint16_t group_id = group->csb.group_id;
    bool quiet = (group->flags & GROUP_QUIET) != 0;

    iotsec_dev_group_forget(dev, group, GROUP_FREE);
    if (!quiet) {
        iotsec_dev_tell(dev, kind, reason, group_id);
    }
}

/* M -> D  ACK. The state that the request was sent in may have passed; then the answer says nothing. */
static void take_ack(struct iotsec_device *dev, const struct iotsec_km_message *message)
{
    struct iotsec_device_group *group = iotsec_dev_group(dev, dev->request_group);
    uint8_t kind = dev->request_kind;

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
    if (group == NULL || kind != request_of[group->state]) {
        return;
    }
    if (kind == IOTSEC_KM_STATUS) {
        take_status_answer(dev, group, message->code);
    } else if (message->code == IOTSEC_KM_FAILED) {
        iotsec_dev_ask(dev, group);
    } else if (kind == IOTSEC_KM_GROUP_REQUEST) {
        iotsec_dev_ask_in(dev, group, KEYS_WAIT_MS);
    } else {
        release_group(dev, group, IOTSEC_DEVICE_GROUP_LEFT, IOTSEC_ERR_LEFT);
    }
}

/* ---- What the manager sends ---- */

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

/* What a group had before a pair was installed. */
struct before {
    uint32_t key_number;
    uint16_t sender_id;
    struct iotsec_addr addr;
};

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

/* The pair is in the bundle: what follows from it, the acknowledgement, and only then the application. */
static void complete_pair(struct iotsec_device *dev, struct iotsec_device_group *group, const struct iotsec_km_message *message,
                          const struct before *was)
{
    bool joined = group->state != GROUP_HELD || (group->flags & GROUP_AWAITED) != 0;
    bool step = group->csb.key_number >> 8 == was->key_number >> 8;
    uint16_t group_id = group->csb.group_id;
    bool sent_lately;

    if (!step || group->csb.previous_key_number == 0) { /* without one, nothing that was accepted opens any more */
        iotsec_group_new_generation(dev->config, group);
        group->forgeries = 0;
    }
    if (group->csb.sender_id != was->sender_id) {
        group->reserved = 0; /* what NVM has reserved was for another sender ID */
        group->flags &= (uint16_t)~GROUP_SPENT;
    }
    iotsec_dev_listen(dev, group, &was->addr);
    if (step || group->state != GROUP_HELD) {
        iotsec_dev_hint(dev, group); /* a step that was made for this device: the others learn of it here */
    }
    group->state = GROUP_HELD;
    group->flags &= (uint16_t)~(GROUP_CONFLICT | GROUP_AWAITED);
    sent_lately = iotsec_dev_key_moved(dev, group);
    acknowledge(dev, message, result_of(dev, group));
    iotsec_dev_tell(dev, joined ? IOTSEC_DEVICE_GROUP_JOINED : IOTSEC_DEVICE_GROUP_KEY, IOTSEC_OK, group_id);
    if (sent_lately) {
        iotsec_dev_tell(dev, IOTSEC_DEVICE_SENT_OLD, IOTSEC_OK, group_id);
    }
}

/* M -> D  Master Key Data or Security Parameters Data */
static void take_half(struct iotsec_device *dev, struct iotsec_km_message *message)
{
    struct iotsec_device_group *group = iotsec_dev_group(dev, message->group_id);
    bool master = message->kind == IOTSEC_KM_MASTER_KEY;
    const struct iotsec_hal *hal = dev->config->hal;
    enum iotsec_status status;
    struct before was;

    if (group == NULL || group->state == GROUP_LEFT) {
        (void)iotsec_dev_drop(dev, IOTSEC_DROP_NOT_ALLOWED);
        if (master) { /* once a pair */
            acknowledge(dev, message, IOTSEC_KM_NO_ROOM);
        }
        return;
    }
    if (group->state == GROUP_WANTED && (dev->flags & DEVICE_WIPED_KEYS) != 0) {
        /* Nothing was asked for on this session since, so this is a repeat of what was wiped: installed again, it
         * would start a sender ID at 0 whose counters have been used. */
        (void)iotsec_dev_drop(dev, IOTSEC_DROP_NOT_ALLOWED);
        return;
    }
    was.key_number = group->csb.key_number;
    was.sender_id = group->csb.sender_id;
    was.addr = group->csb.addr;
    if (master) {
        status = iotsec_csb_master_key(&group->csb, message->key_number, message->sender_id, message->secret);
    } else {
        message->addr.interface = dev->interface; /* the group is heard where the device joined */
        status = iotsec_csb_parameters(&group->csb, message->key_number, message->secret, &message->addr,
                                       message->kind == IOTSEC_KM_PARAMETERS_EVICTION);
    }
    if (status == IOTSEC_OK) {
        status = iotsec_csb_install(&group->csb, hal);
    }
    if (status == IOTSEC_OK) {
        complete_pair(dev, group, message, &was);
    } else if (status == IOTSEC_ERR_EXISTS && master) {
        /* only this half shows that the keys are the same, so it answers for both */
        acknowledge(dev, message, result_of(dev, group));
        if ((group->flags & GROUP_AWAITED) != 0) { /* a record of this step came before it */
            group->flags &= (uint16_t)~GROUP_AWAITED;
            iotsec_dev_tell(dev, IOTSEC_DEVICE_GROUP_JOINED, IOTSEC_OK, message->group_id);
        }
    } else if (status == IOTSEC_ERR_KEY_CONFLICT) {
        acknowledge(dev, message, IOTSEC_KM_CONFLICT);
        take_conflict(dev, group);
    } else if (status == IOTSEC_ERR_CRYPTO) {
        (void)iotsec_dev_drop(dev, IOTSEC_DROP_NO_ROOM); /* not acknowledged, so it comes again */
    }
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
    enum iotsec_status reason = message->code == IOTSEC_KM_REASON_RESOURCES ? IOTSEC_ERR_RESOURCES : IOTSEC_ERR_GROUP_REFUSED;

    acknowledge(dev, message, IOTSEC_KM_DONE);
    if (message->group_id == 0) {
        refuse_domain(dev, message->code);
    } else if (group == NULL) {
        (void)iotsec_dev_drop(dev, IOTSEC_DROP_NOT_ALLOWED); /* its acknowledgement was lost the first time */
    } else if (group->state == GROUP_WANTED) {
        release_group(dev, group, IOTSEC_DEVICE_GROUP_REFUSED, reason);
    } else if (group->state == GROUP_LEFT) {
        release_group(dev, group, IOTSEC_DEVICE_GROUP_LEFT, IOTSEC_ERR_LEFT);
    } else if (message->kind == IOTSEC_KM_GROUP_REMOVED) {
        release_group(dev, group, IOTSEC_DEVICE_GROUP_LEFT, IOTSEC_ERR_NOT_FOUND);
    } else {
        (void)iotsec_dev_drop(dev, IOTSEC_DROP_UNEXPECTED); /* keys are installed: only a removal takes them away */
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
        acknowledge(dev, message, result);
    } else {
        (void)iotsec_dev_drop(dev, IOTSEC_DROP_UNEXPECTED);
    }
    iotsec_dev_share_tell(dev);
}
#endif

void iotsec_dev_take_message(struct iotsec_device *dev, uint8_t type, const uint8_t *data, size_t len)
{
    struct iotsec_km_message message;
#if IOTSEC_ACCESS
    enum iotsec_km_result result;
#endif

    if (iotsec_km_decode(&message, type, data, len) != IOTSEC_OK) {
        (void)iotsec_dev_drop(dev, IOTSEC_DROP_MALFORMED);
        return;
    }
    switch (message.kind) {
    case IOTSEC_KM_MASTER_KEY:
    case IOTSEC_KM_PARAMETERS:
    case IOTSEC_KM_PARAMETERS_EVICTION:
        take_half(dev, &message);
        break;
    case IOTSEC_KM_ACK:
        take_ack(dev, &message);
        break;
    case IOTSEC_KM_REFUSED:
    case IOTSEC_KM_GROUP_REMOVED:
        take_refusal(dev, &message);
        break;
#if IOTSEC_ACCESS
    case IOTSEC_KM_ACCESS:
        result = iotsec_dev_take_access(dev, &message);
        acknowledge(dev, &message, result);
        if (result == IOTSEC_KM_DONE) {
            iotsec_dev_tell_access(dev, &message);
        }
        break;
    case IOTSEC_KM_PATH_CHECK: /* that it came is what it asks */
        acknowledge(dev, &message, IOTSEC_KM_DONE);
        break;
#endif
#if IOTSEC_PAIRWISE
    case IOTSEC_KM_SHARE:
    case IOTSEC_KM_REVOKED:
        take_share_message(dev, &message);
        break;
#endif
    case IOTSEC_KM_EVICTED:
        acknowledge(dev, &message, IOTSEC_KM_DONE);
        iotsec_dev_expelled(dev, IOTSEC_ERR_EVICTED);
        break;
    default: /* a device's own requests: only a manager takes them */
        (void)iotsec_dev_drop(dev, IOTSEC_DROP_NOT_ALLOWED);
        break;
    }
    iotsec_wipe(&message, sizeof message);
}

#endif
