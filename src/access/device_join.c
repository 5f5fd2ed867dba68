/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session with the domain manager.
 *
 *     D -> M    ClientHello + group_request(groups wanted, not held)    SENT_HELLO
 *     M -> D    ServerHello + group_request(empty) ... Finished         AUTHENTICATED
 *     M -> D    keys or a refusal for each group                        JOINED
 *
 *     the session ends, or a request is never answered                  CONTACT_LOST
 *     D -> M    the same handshake, at once, then ever more rarely
 *     D -> M    STATUS for each group                                   CONTACT
 *
 *     nobody answers a join                                             JOIN_FAILED
 *     D -> M    the next join's ClientHello: twice, after a pause       SENT_HELLO
 *
 * The pauses are the device's, not one join's: an application that joins again at once, or whenever it likes, must not keep a
 * link full on which all of a building try to come back.
 *
 * Group keys work with and without a session. Only the session that this device opened itself, as
 * client and with its own key, is the manager's.
 */
#include "access/device_state.h"

#include <string.h>

#if IOTSEC_ROLE_DEVICE

/* A handshake's scratch: what the peer said, and the groups that our hello names, kept because a hello
 * that is repeated must be the same. */
#define SCRATCH_ANSWERED 0u /* 1: the ServerHello had the extension */
#define SCRATCH_END 1u      /* where the list ends; 0 while it is not written */
#define SCRATCH_GROUPS 2u

/* ---- group_request ---- */

static void choose_groups(const struct iotsec_device *dev, uint8_t *scratch)
{
    struct iotsec_device_group *group;
    unsigned end = SCRATCH_GROUPS;
    unsigned i;

    for (i = 0; (group = iotsec_dev_slot(dev, i)) != NULL; i++) {
        group->flags &= (uint16_t)~GROUP_NAMED;
        if (group->state == GROUP_WANTED && !dev->config->hide_groups && end < SCRATCH_GROUPS + 2u * IOTSEC_GROUPS_PER_HELLO) {
            group->flags |= GROUP_NAMED;
            iotsec_put_u16(scratch + end, group->csb.group_id);
            end += 2;
        }
    }
    scratch[SCRATCH_END] = (uint8_t)end;
}

static enum iotsec_status write_request(void *user, const struct iotsec_dtls_hello *hello, uint8_t *out, size_t size, size_t *len)
{
    uint8_t *scratch = hello->scratch;

    if (IOTSEC_PAIRWISE && (hello->is_server || hello->peer != 0)) {
        return IOTSEC_ERR_NOT_FOUND; /* between devices, there are no groups to ask for */
    }
    if (scratch[SCRATCH_END] == 0) {
        choose_groups(user, scratch);
    }
    *len = scratch[SCRATCH_END] - SCRATCH_GROUPS;
    if (*len > size) {
        return IOTSEC_ERR_BUFFER;
    }
    memcpy(out, scratch + SCRATCH_GROUPS, *len);
    return IOTSEC_OK;
}

static enum iotsec_status parse_answer(void *user, const struct iotsec_dtls_hello *hello, const uint8_t *body, size_t len)
{
    struct iotsec_device *dev = user;

    (void)body;
    if (IOTSEC_PAIRWISE && hello->is_server) {
        return IOTSEC_OK;
    }
    if (len != 0) {
        return IOTSEC_ERR_DECODE;
    }
    hello->scratch[SCRATCH_ANSWERED] = 1;
    dev->flags |= DEVICE_ANSWERED;
    return IOTSEC_OK;
}

const struct iotsec_dtls_extension iotsec_dev_extensions[1 + IOTSEC_PAIRWISE] = {
    { IOTSEC_EXTENSION_GROUP_REQUEST, write_request, parse_answer },
#if IOTSEC_PAIRWISE
    { IOTSEC_EXTENSION_DEVICE_IDENTITY, iotsec_dev_write_identity, iotsec_dev_parse_identity },
#endif
};

/* ---- Contact ---- */

static bool make_room(struct iotsec_device *dev)
{
#if IOTSEC_PAIRWISE
    return iotsec_dev_pairs_make_room(dev);
#else
    (void)dev;
    return false;
#endif
}

enum iotsec_status iotsec_dev_connect(struct iotsec_device *dev)
{
    const struct iotsec_device_config *config = dev->config;
    const struct iotsec_addr *to = &dev->manager;
    enum iotsec_status status;

#if IOTSEC_ACCESS
    if ((dev->flags & DEVICE_OLD_WAY) != 0) {
        to = &dev->joined_at;
    }
#endif
    dev->flags &= (uint8_t)~DEVICE_ANSWERED;
    if (dev->contact_wait > CONTACT_INITIAL_MS && dev->contact_wait < CONTACT_EARNEST_MS) {
        dev->dtls.first_wait = JOIN_HELLO_WAIT_MS; /* not the first attempt, so no series of hellos */
    }
    do {
        status = iotsec_dtls_connect(&dev->dtls, to, config->identity, config->identity_len, config->psk, config->psk_len, 0,
                                     &dev->handshake);
    } while (status == IOTSEC_ERR_FULL && make_room(dev));
    dev->dtls.first_wait = 0;
#if IOTSEC_PAIRWISE
    if (status == IOTSEC_ERR_FULL) {
        /* of handshakes with other devices, which end: iotsec_dev_join_poll tries again */
        dev->contact_at = iotsec_dev_now(dev) + IOTSEC_RETRANSMIT_INITIAL_MS;
        status = IOTSEC_OK;
    }
#endif
    return status;
}

/* It has ended, and with it whatever was asked in it. */
static void forget_session(struct iotsec_device *dev)
{
#if MOVES
    if (dev->request_kind == IOTSEC_KM_MOVED) {
        dev->flags |= DEVICE_MOVE_LOST | DEVICE_TOUCHED;
    }
#endif
    dev->session = 0;
    dev->request_kind = 0;
}

void iotsec_dev_disconnect(struct iotsec_device *dev)
{
    /* 0 names nothing, so these need no questions */
    (void)iotsec_dtls_cancel(&dev->dtls, dev->handshake);
    (void)iotsec_dtls_close(&dev->dtls, dev->session, IOTSEC_ALERT_CLOSE_NOTIFY);
    dev->handshake = 0;
    forget_session(dev);
}

/* When to try again: the waits double until the manager has answered a request, so that one which accepts
 * handshakes and then closes is not called in a loop. Half of it is chance, so that those who have begun together drift apart. */
static void wait_for_contact(struct iotsec_device *dev, uint32_t max)
{
    uint32_t wait = dev->contact_wait;

    dev->flags |= DEVICE_TOUCHED;
    dev->contact_at = iotsec_dev_now(dev) + wait / 2 + iotsec_dev_random(dev, wait);
    dev->contact_wait = wait == 0 ? CONTACT_INITIAL_MS : iotsec_min_u32(2 * wait, max);
}

uint32_t iotsec_pause_left(const struct iotsec_device *device)
{
    uint32_t left = 0;
    uint32_t most = 2 * CONTACT_MAX_MS;

    if (device != NULL && device->config != NULL && device->session == 0 && device->handshake == 0) {
        left = device->contact_at - iotsec_dev_now(device);
        if (device->contact_wait == 0) {
            most = device->config->join_delay_ms; /* nothing has failed */
        }
    }
    return left <= most ? left : 0; /* else it is over: the clock comes round */
}

bool iotsec_dev_begin_join(struct iotsec_device *dev)
{
    uint32_t now = iotsec_dev_now(dev);
    uint32_t left = iotsec_pause_left(dev);

    if (left == 0) {
        if (now - dev->contact_at > JOIN_FORGET_MS) {
            dev->contact_wait = 0;
        }
        dev->contact_at = now;
    }
    dev->join_deadline = dev->contact_at + iotsec_value_or(dev->config->join_timeout_ms, IOTSEC_JOIN_TIMEOUT_MS);
    dev->flags |= DEVICE_TOUCHED;
    return left == 0;
}

void iotsec_pause_end(struct iotsec_device *device)
{
    if (device != NULL && device->config != NULL && device->session == 0 &&
        (device->handshake == 0 || (device->contact_wait != 0 && (device->flags & DEVICE_ANSWERED) == 0))) {
        device->contact_wait = 0;
        iotsec_dev_renew_session(device);
        (void)iotsec_dev_begin_join(device);
    }
}

/* An attempt to reach the manager has failed. */
static void fail_contact(struct iotsec_device *dev, enum iotsec_status reason)
{
    if (dev->state == DEVICE_SENT_HELLO && reason == IOTSEC_ERR_NO_ANSWER && (dev->flags & DEVICE_ANSWERED) != 0) {
        /* It was there and then fell silent: one that was restarted knows nothing of that handshake. As far as
         * its deadline, the join goes on. */
        wait_for_contact(dev, CONTACT_MAX_MS);
    } else if (dev->state == DEVICE_SENT_HELLO) {
        iotsec_dev_fail_join(dev, reason);
    } else if (dev->state == DEVICE_LEFT) {
        iotsec_dev_finish_leave(dev, IOTSEC_ERR_NO_ANSWER);
    } else {
        wait_for_contact(dev, CONTACT_MAX_MS);
        /* silence was told when contact was lost */
        if (reason != IOTSEC_ERR_NO_ANSWER) {
            iotsec_dev_tell(dev, IOTSEC_DEVICE_CONTACT_LOST, reason, 0);
        }
    }
}

void iotsec_dev_lose_contact(struct iotsec_device *dev, enum iotsec_status reason)
{
    iotsec_dev_disconnect(dev);
    if (dev->state == DEVICE_LEFT) {
        iotsec_dev_finish_leave(dev, IOTSEC_ERR_NO_ANSWER);
        return;
    }
#if IOTSEC_ACCESS
    dev->flags &= (uint8_t)~DEVICE_OLD_WAY; /* a relay that passes on handshakes and nothing else must not keep us */
#endif
    wait_for_contact(dev, CONTACT_MAX_MS);
    if (dev->state == DEVICE_AUTHENTICATED) {
        dev->state = DEVICE_SENT_HELLO; /* as far as its deadline, a join goes on */
    } else {
        iotsec_dev_tell(dev, IOTSEC_DEVICE_CONTACT_LOST, reason, 0);
    }
}

void iotsec_dev_renew_session(struct iotsec_device *dev)
{
    iotsec_dev_disconnect(dev);
    dev->contact_at = iotsec_dev_now(dev);
    dev->flags |= DEVICE_TOUCHED;
    if (dev->state == DEVICE_AUTHENTICATED) {
        dev->state = DEVICE_SENT_HELLO;
    }
}

/* ---- How a join, a membership and a leave end ---- */

void iotsec_dev_end_join(struct iotsec_device *dev)
{
    struct iotsec_device_group *group;
    unsigned i;

    iotsec_dev_disconnect(dev);
    dev->state = DEVICE_IDLE;
    for (i = 0; (group = iotsec_dev_slot(dev, i)) != NULL; i++) {
        group->flags &= (uint16_t)~GROUP_AWAITED;
        if (group->state == GROUP_WANTED) {
            iotsec_dev_group_forget(dev, group, GROUP_FREE);
        }
    }
}

void iotsec_dev_fail_join(struct iotsec_device *dev, enum iotsec_status reason)
{
    iotsec_dev_end_join(dev);
    if (reason == IOTSEC_ERR_NO_ANSWER || reason == IOTSEC_ERR_RESOURCES) {
        if (dev->contact_wait < JOIN_PAUSE_INITIAL_MS) {
            dev->contact_wait = JOIN_PAUSE_INITIAL_MS;
        }
        dev->contact_wait = iotsec_min_u32(dev->contact_wait, JOIN_PAUSE_MAX_MS);
        wait_for_contact(dev, JOIN_PAUSE_MAX_MS);
    }
    iotsec_dev_tell(dev, IOTSEC_DEVICE_JOIN_FAILED, reason, 0);
}

/* Out of the domain. Runs the application's code. */
static void end_membership(struct iotsec_device *dev, enum iotsec_device_event_kind kind, enum iotsec_status reason)
{
    iotsec_dev_disconnect(dev);
#if IOTSEC_ACCESS
    iotsec_dev_forget_l2(dev);
#endif
    dev->state = DEVICE_IDLE;
    iotsec_dev_tell(dev, kind, reason, 0);
}

void iotsec_dev_finish_leave(struct iotsec_device *dev, enum iotsec_status reason)
{
    end_membership(dev, IOTSEC_DEVICE_LEFT, reason);
}

void iotsec_dev_expelled(struct iotsec_device *dev, enum iotsec_status reason)
{
    enum iotsec_device_event_kind kind = IOTSEC_DEVICE_EVICTED;

    if (dev->state == DEVICE_LEFT) {
        kind = IOTSEC_DEVICE_LEFT; /* the manager knows already that we are out */
        reason = IOTSEC_OK;
    } else if (dev->state == DEVICE_AUTHENTICATED) {
        kind = IOTSEC_DEVICE_JOIN_FAILED;
    }
    iotsec_dev_forget_domain(dev);
    end_membership(dev, kind, reason);
}

/* ---- What the handshake says ---- */

/* M -> D  Finished */
static void take_session(void *user, const struct iotsec_dtls_info *info)
{
    struct iotsec_device *dev = user;
    struct iotsec_device_group *group;
    unsigned i;

#if IOTSEC_PAIRWISE
    if (info->handshake != dev->handshake) {
        iotsec_dev_pair_established(dev, info);
        return;
    }
#endif
    dev->flags = (uint8_t)((dev->flags & ~(DEVICE_WIPED_KEYS | DEVICE_L2_USED | DEVICE_ACCESS)) | DEVICE_TOUCHED);
#if IOTSEC_ACCESS
    dev->l2_number = 0; /* the manager's word is taken anew: its registry may be an older one */
#endif
#if IOTSEC_PAIRWISE
    dev->pair_flags = (uint8_t)((dev->pair_flags & (PAIRS_OVERLAP | PAIRS_RETRIED)) | PAIRS_DUE); /* the shares stay as they are */
    if ((dev->pair_flags & PAIRS_RETRIED) == 0) {
        dev->share_wait = 0;
    }
#endif
    dev->handshake = 0;
    dev->session = info->session;
    if (!info->scratch[SCRATCH_ANSWERED]) {
        iotsec_dev_disconnect(dev);
        fail_contact(dev, IOTSEC_ERR_NO_KEY_MANAGEMENT);
        return;
    }
    for (i = 0; (group = iotsec_dev_slot(dev, i)) != NULL; i++) {
        iotsec_csb_forget_half(&group->csb); /* both halves come again on this session */
        group->flags &= (uint16_t)~(GROUP_ASK | GROUP_DUE);
#if IOTSEC_PERSIST
        if (group->state == GROUP_HELD) { /* interfaces may have other numbers than before the reboot */
            struct iotsec_addr was = group->csb.addr;

            group->csb.addr.interface = dev->interface;
            iotsec_dev_listen(dev, group, &was);
        }
#endif
        if (group->state == GROUP_WANTED && (group->flags & GROUP_NAMED) != 0) {
            iotsec_dev_ask_in(dev, group, KEYS_WAIT_MS);
        } else if (group->state != GROUP_FREE) {
            group->flags |= GROUP_DUE;
        }
    }
    dev->status_at = iotsec_dev_next_status(dev);
    if (dev->state == DEVICE_SENT_HELLO) {
        dev->state = DEVICE_AUTHENTICATED;
    } else if (dev->state == DEVICE_JOINED) {
        iotsec_dev_tell(dev, IOTSEC_DEVICE_CONTACT, IOTSEC_OK, 0);
    }
}

static void take_failure(void *user, iotsec_dtls_handle handshake, const struct iotsec_addr *addr, uint32_t peer,
                         enum iotsec_status reason)
{
    struct iotsec_device *dev = user;

    (void)addr;
    (void)peer;
#if IOTSEC_PAIRWISE
    if (handshake != dev->handshake) {
        iotsec_dev_pair_event(dev, handshake, IOTSEC_DEVICE_PEER_FAILED, reason);
        return;
    }
#else
    (void)handshake;
#endif
    dev->handshake = 0;
#if IOTSEC_ACCESS
    dev->flags ^= DEVICE_OLD_WAY; /* for any reason: alerts, which anybody can make at one address, do not hide the other */
#endif
    fail_contact(dev, reason);
}

static void take_close(void *user, iotsec_dtls_handle session, uint32_t peer, enum iotsec_status reason)
{
    struct iotsec_device *dev = user;

    (void)peer;
    if (session != dev->session) {
#if IOTSEC_PAIRWISE
        iotsec_dev_pair_event(dev, session, IOTSEC_DEVICE_PEER_CLOSED, reason);
#endif
        return;
    }
    dev->session = 0;
    if (dev->state == DEVICE_AUTHENTICATED) {
        iotsec_dev_fail_join(dev, reason);
    } else {
        iotsec_dev_lose_contact(dev, reason);
    }
}

static void take_content(void *user, iotsec_dtls_handle session, uint32_t peer, uint8_t type, uint8_t *data, size_t len)
{
    struct iotsec_device *dev = user;

    (void)peer;
#if IOTSEC_PAIRWISE
    if (session != dev->session && type == IOTSEC_CONTENT_APPLICATION_DATA) {
        iotsec_dev_pair_content(dev, session, data, len);
        return;
    }
#endif
    if (session != dev->session || type == IOTSEC_CONTENT_APPLICATION_DATA) {
        (void)iotsec_dev_drop(dev, IOTSEC_DROP_NOT_ALLOWED);
        return;
    }
    iotsec_dev_take_message(dev, type, data, len);
}

static void take_forgeries(void *user, iotsec_dtls_handle session, uint32_t peer)
{
    (void)peer;
#if IOTSEC_PAIRWISE
    if (session != ((struct iotsec_device *)user)->session) {
        iotsec_dev_pair_event(user, session, IOTSEC_DEVICE_FORGERIES, IOTSEC_ERR_FORGERIES);
        return;
    }
#else
    (void)session;
#endif
    iotsec_dev_tell(user, IOTSEC_DEVICE_FORGERIES, IOTSEC_ERR_FORGERIES, 0);
}

#if IOTSEC_KEYLOG
static void log_key(void *user, const char *line)
{
    const struct iotsec_device *dev = user;

    dev->config->callbacks->keylog(dev->config->user, line);
}
#endif

/* Tables of their own: a device without a key log never builds a line, and one without pairs is nobody's server. */
#define OF_MANAGER                                                                                                 \
    .established = take_session, .failed = take_failure, .closed = take_close, .receive = take_content, .forgeries = take_forgeries
#define OF_PAIRS .psk = iotsec_dev_pair_psk, .client_psk = iotsec_dev_pair_client_psk, .doubted = iotsec_dev_pair_doubted

static const struct iotsec_dtls_callbacks tables[1 + IOTSEC_PAIRWISE][1 + IOTSEC_KEYLOG] = {
    { { OF_MANAGER },
#if IOTSEC_KEYLOG
      { OF_MANAGER, .keylog = log_key },
#endif
    },
#if IOTSEC_PAIRWISE
    { { OF_MANAGER, OF_PAIRS },
#if IOTSEC_KEYLOG
      { OF_MANAGER, OF_PAIRS, .keylog = log_key },
#endif
    },
#endif
};

const struct iotsec_dtls_callbacks *iotsec_dev_callbacks(const struct iotsec_device_config *config)
{
    unsigned pairs = 0;
    unsigned log = 0;

#if IOTSEC_PAIRWISE
    pairs = config->pair_count != 0;
#endif
#if IOTSEC_KEYLOG
    log = config->callbacks->keylog != NULL;
#endif
    (void)config;
    return &tables[pairs][log];
}

/* ---- What is due ---- */

/* The deadline has come: what was not answered is refused. Keys that were held before stay. */
static void give_up_groups(struct iotsec_device *dev)
{
    struct iotsec_device_group *group;

    while (dev->state == DEVICE_AUTHENTICATED && (group = iotsec_dev_flagged(dev, GROUP_AWAITED)) != NULL) {
        uint16_t group_id = group->csb.group_id;

        group->flags &= (uint16_t)~GROUP_AWAITED;
        if (group->state == GROUP_HELD) {
            iotsec_dev_tell(dev, IOTSEC_DEVICE_GROUP_JOINED, IOTSEC_OK, group_id);
        } else {
            /* the manager may have made it a member: it is told otherwise */
            iotsec_dev_group_forget(dev, group, GROUP_LEFT);
            group->flags |= GROUP_DUE | GROUP_QUIET;
            iotsec_dev_tell(dev, IOTSEC_DEVICE_GROUP_REFUSED, IOTSEC_ERR_NO_ANSWER, group_id);
        }
    }
}

void iotsec_dev_join_poll(struct iotsec_device *dev)
{
    enum iotsec_status status;

    if ((dev->state == DEVICE_SENT_HELLO || dev->state == DEVICE_AUTHENTICATED) && iotsec_dev_due(dev, dev->join_deadline)) {
        if (dev->state == DEVICE_SENT_HELLO) {
            iotsec_dev_fail_join(dev, IOTSEC_ERR_NO_ANSWER);
        } else {
            give_up_groups(dev);
        }
    }
    if (dev->state == DEVICE_AUTHENTICATED && iotsec_dev_flagged(dev, GROUP_AWAITED) == NULL) {
        dev->state = DEVICE_JOINED;
        dev->contact_wait = 0;
        iotsec_dev_tell(dev, IOTSEC_DEVICE_JOINED, IOTSEC_OK, 0);
    }
    if (dev->state != DEVICE_IDLE && dev->session == 0 && dev->handshake == 0 && iotsec_dev_due(dev, dev->contact_at)) {
        status = iotsec_dev_connect(dev);
        if (status != IOTSEC_OK) {
            fail_contact(dev, status);
        }
    }
}

#endif
