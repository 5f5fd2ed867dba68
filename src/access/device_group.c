/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages to and from groups, and what keeps their members on one key.
 *
 *     a record of K' > K arrives       this device follows                       GROUP_KEY
 *     a record of K' < K arrives       D => G  empty record (a hint) within 0.5 s, unless another member was first
 *     a record of another generation   D -> M  STATUS (an ask), ever more rarely while nothing is newer
 *
 * The last two come before any tag is verified, so that anybody can cause them: that is why a hint goes
 * to the group alone, at most one in 2 s, and an ask to the manager alone.
 */
#include "access/device_state.h"

#include <string.h>

#include "access/group.h"

#if IOTSEC_ROLE_DEVICE

/* ---- Out ---- */

enum iotsec_status iotsec_dev_group_send(struct iotsec_device *dev, struct iotsec_device_group *group, const uint8_t *data,
                                         size_t len)
{
    const struct iotsec_device_config *config = dev->config;
    const struct iotsec_hal *hal = config->hal;
    struct iotsec_csb *csb = &group->csb;
    enum iotsec_status status;
    uint32_t counter;

#if IOTSEC_PERSIST
    if (!iotsec_dev_reserve(dev, group)) {
        return IOTSEC_ERR_NVM; /* a counter that NVM does not know of would be used again after a reboot */
    }
#endif
    (void)iotsec_dtls_flush(&dev->dtls); /* the storage is shared: what stands there leaves first */
    status = iotsec_csb_take_counter(csb, &counter);
    if (csb->counter >= IOTSEC_GROUP_COUNTER_SOFT) {
        iotsec_dev_ask(dev, group); /* for a new sender ID */
    }
    if (status == IOTSEC_OK) {
        size_t record_len;

        status = iotsec_record_group_seal(hal, csb->tek, csb->group_id, (uint16_t)csb->key_number, csb->sender_id, counter,
                                          IOTSEC_CONTENT_APPLICATION_DATA, config->tx, config->tx_size, &record_len, data, len);
        if (status == IOTSEC_OK && hal->send(hal->user, &csb->addr, config->tx, record_len) < 0) {
            status = IOTSEC_ERR_SEND;
        }
    }
    if (status == IOTSEC_OK) {
        group->flags &= (uint16_t)~GROUP_HINT;
        if (len != 0) {
            group->flags |= GROUP_SENT;
            group->sent_at = iotsec_dev_now(dev);
        }
    }
    return status;
}

void iotsec_dev_hint(struct iotsec_device *dev, struct iotsec_device_group *group)
{
    uint32_t now = iotsec_dev_now(dev);
    uint32_t since = now - group->hinted_at;

    if ((group->flags & GROUP_HINT) != 0) {
        return;
    }
    group->hint_at = now + iotsec_dev_random(dev, IOTSEC_HINT_DELAY_MAX_MS + 1);
    if (since < IOTSEC_HINT_INTERVAL_MS) {
        group->hint_at += IOTSEC_HINT_INTERVAL_MS - since;
    }
    group->flags |= GROUP_HINT;
}

/* ---- In ---- */

bool iotsec_dev_key_moved(struct iotsec_device *dev, struct iotsec_device_group *group)
{
    unsigned flags = group->flags;
    bool sent_lately = (flags & GROUP_SENT) != 0 && iotsec_dev_now(dev) - group->sent_at < SENT_LATELY_MS;

#if IOTSEC_PERSIST
    if ((flags & GROUP_STALE) != 0) {
        /* What was delivered under the stored key before the reboot is not known any more: it opens nothing now. */
        (void)iotsec_csb_expire(&group->csb, group->csb.previous_until);
    }
#endif
    flags &= ~(GROUP_SENT | GROUP_STALE);
    if ((flags & GROUP_CONFLICT) == 0) {
        flags &= ~GROUP_ASK; /* what it would ask for has come */
        group->ask_wait = 0;
    }
    group->flags = (uint16_t)flags;
#if IOTSEC_PERSIST
    (void)iotsec_dev_save(dev, group);
#endif
    return sent_lately;
}

void iotsec_dev_tell_key(struct iotsec_device *dev, enum iotsec_device_event_kind kind, uint16_t group_id, bool sent_lately)
{
    iotsec_dev_tell(dev, kind, IOTSEC_OK, group_id);
    if (sent_lately) {
        iotsec_dev_tell(dev, IOTSEC_DEVICE_SENT_OLD, IOTSEC_OK, group_id);
    }
}

/* The group that an address belongs to. The interface matters only where both ends know it. */
static struct iotsec_device_group *find_by_addr(const struct iotsec_device *dev, const struct iotsec_addr *to)
{
    struct iotsec_device_group *group;
    unsigned i;

    for (i = 0; (group = iotsec_dev_slot(dev, i)) != NULL; i++) {
        struct iotsec_addr addr = group->csb.addr;

        if (addr.interface == 0 || to->interface == 0) {
            addr.interface = to->interface;
        }
        if (group->state == GROUP_HELD && iotsec_addr_equal(&addr, to)) {
            break;
        }
    }
    return group;
}

/* What a record that was not opened leads to. */
static void follow_drop(struct iotsec_device *dev, struct iotsec_device_group *group, enum iotsec_drop reason)
{
    if (reason == IOTSEC_DROP_BEHIND) {
        iotsec_dev_hint(dev, group);
    } else if (reason == IOTSEC_DROP_UNREACHABLE || reason == IOTSEC_DROP_EPOCH) {
        iotsec_dev_ask(dev, group); /* EPOCH: others' epochs, forged perhaps, have used up what may be derived now */
    } else if (reason == IOTSEC_DROP_AUTH && group->forgeries < IOTSEC_FORGERY_LIMIT &&
               ++group->forgeries == IOTSEC_FORGERY_LIMIT) {
        iotsec_dev_tell(dev, IOTSEC_DEVICE_FORGERIES, IOTSEC_ERR_FORGERIES, group->csb.group_id);
    }
}

/* Whether what was opened may go to the application: not if a reboot could make it new again. */
static bool is_deliverable(struct iotsec_device *dev, struct iotsec_device_group *group)
{
#if IOTSEC_PERSIST
    return (group->flags & GROUP_STALE) == 0 && iotsec_dev_saved(dev, group);
#else
    (void)dev;
    (void)group;
    return true;
#endif
}

/* What an accepted record says about keys, and what it carries. Why it goes no further, or ACCEPTED. Runs the application's
 * code. */
static enum iotsec_drop deliver(struct iotsec_device *dev, struct iotsec_device_group *group, enum iotsec_csb_place place,
                                const struct iotsec_record *record)
{
    const struct iotsec_device_callbacks *callbacks = dev->config->callbacks;
    size_t len = record->length - IOTSEC_TAG_CCM_8_BYTES;
    uint16_t group_id = group->csb.group_id;
    bool moved = place == IOTSEC_CSB_AHEAD;
    bool sent_lately = moved && iotsec_dev_key_moved(dev, group);
    bool deliverable = is_deliverable(dev, group);

    if (place != IOTSEC_CSB_PREVIOUS) {
        group->flags &= (uint16_t)~GROUP_HINT; /* it says what ours would say */
    }
    if (moved) {
        iotsec_dev_tell_key(dev, IOTSEC_DEVICE_GROUP_KEY, group_id, sent_lately);
    }
    if (!deliverable) {
        return IOTSEC_DROP_REPLAY;
    }
    if (len != 0 && callbacks->group_receive != NULL) { /* an empty one was a hint */
        callbacks->group_receive(dev->config->user, group_id, (uint16_t)(record->sequence >> 32), record->body, len);
    }
    return IOTSEC_GROUP_ACCEPTED;
}

/* S => G  one record. Why it was dropped, or ACCEPTED. */
static enum iotsec_drop take_record(struct iotsec_device *dev, const struct iotsec_addr *to, const struct iotsec_record *record)
{
    struct iotsec_device_group *group;
    enum iotsec_csb_place place;
    enum iotsec_drop reason;

    if (record->type != IOTSEC_CONTENT_APPLICATION_DATA || record->epoch < IOTSEC_GROUP_EPOCH_MIN) {
        return IOTSEC_DROP_MULTICAST;
    }
    if (record->version != IOTSEC_VERSION_DTLS_1_2) {
        return IOTSEC_DROP_VERSION;
    }
    group = find_by_addr(dev, to);
    if (group == NULL) {
        return IOTSEC_DROP_NO_GROUP;
    }
    reason = iotsec_group_open(dev, group, record, &place);
    if (reason == IOTSEC_GROUP_ACCEPTED) {
        return deliver(dev, group, place, record);
    }
    follow_drop(dev, group, reason);
    return reason;
}

enum iotsec_status iotsec_dev_group_input(struct iotsec_device *dev, const struct iotsec_addr *to, uint8_t *datagram, size_t len)
{
    enum iotsec_status result = IOTSEC_ERR_DECODE;
    struct iotsec_record record;

    do {
        enum iotsec_drop reason = IOTSEC_DROP_MALFORMED;
        enum iotsec_status status = IOTSEC_OK;

        if (iotsec_record_parse(&record, &datagram, &len) == IOTSEC_OK) {
            reason = take_record(dev, to, &record);
        } else {
            len = 0;
        }
        if (reason != IOTSEC_GROUP_ACCEPTED) {
            status = iotsec_dev_drop(dev, reason);
        }
        if (result != IOTSEC_OK) {
            result = status;
        }
    } while (len != 0);
    return result;
}

/* ---- What is due ---- */

void iotsec_dev_group_poll(struct iotsec_device *dev)
{
    struct iotsec_device_group *group;
    uint32_t now = iotsec_dev_now(dev);
    unsigned i;

    for (i = 0; (group = iotsec_dev_slot(dev, i)) != NULL; i++) {
        dev->wait = iotsec_min_u32(dev->wait, iotsec_csb_expire(&group->csb, now));
        if ((group->flags & GROUP_HINT) != 0 && iotsec_dev_due(dev, group->hint_at)) {
            group->flags &= (uint16_t)~GROUP_HINT;
            group->hinted_at = now;
            (void)iotsec_dev_group_send(dev, group, NULL, 0);
        }
        /* without a session the question waits for contact, when every group reports anyway */
        if (dev->session != 0 && (group->flags & GROUP_ASK) != 0 && iotsec_dev_due(dev, group->ask_at)) {
            group->flags = (uint16_t)((group->flags & ~GROUP_ASK) | GROUP_DUE);
        }
        if (group->csb.counter >= IOTSEC_GROUP_COUNTER_HARD && (group->flags & GROUP_SPENT) == 0) {
            group->flags |= GROUP_SPENT;
            iotsec_dev_tell(dev, IOTSEC_DEVICE_COUNTER, IOTSEC_ERR_COUNTER, group->csb.group_id);
        }
    }
}

#endif
