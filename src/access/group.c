/* SPDX-License-Identifier: BSD-3-Clause */
/*
 *     S => group   header(epoch = K mod 2^16, sender ID, counter) | ciphertext | tag
 *
 *     own sender ID?            dropped, before anything is derived
 *     epoch -> key              current, previous, ahead; else behind or unreachable
 *     sender and generation     -> its slot and window; else a slot that is free or can be
 *     tag                       nothing above has changed anything yet
 *     commit                    the step if it was ahead; the window
 *
 * A slot belongs to a sender ID within one generation, because the next generation may give the ID to
 * another member.
 */
#include "access/group.h"

#include <string.h>

#include "base/bytes.h"

#if IOTSEC_ROLE_DEVICE

/* The first of the group's slots, of which each group has as many. */
static struct iotsec_sender *get_senders(const struct iotsec_device *dev, const struct iotsec_device_group *group)
{
    return dev->config->senders + (size_t)(group - dev->config->groups) * dev->senders_each;
}

/* Our own record, echoed or sent back by somebody: under the previous key it bears the sender ID of then. */
static bool is_own(const struct iotsec_csb *csb, unsigned epoch, unsigned sender_id)
{
    if (epoch == (uint16_t)csb->previous_key_number) {
        return sender_id == csb->previous_sender_id;
    }
    return sender_id == csb->sender_id && epoch >> 8 == (uint16_t)csb->key_number >> 8;
}

static bool is_slot_of(const struct iotsec_sender *slot, unsigned sender_id, unsigned epoch)
{
    return slot->sender_id == sender_id && slot->last_epoch >> 8 == epoch >> 8;
}

/*
 * The sender's slot; or one that it may take over, which still bears another name; or NULL. One may be taken over from whom
 * nothing was accepted under either of the keys that are held once the record is accepted: of such a sender nothing can
 * be replayed.
 */
static struct iotsec_sender *find_slot(const struct iotsec_device *dev, const struct iotsec_device_group *group,
                                       enum iotsec_csb_place place, unsigned sender_id, unsigned epoch)
{
    unsigned current = (uint16_t)group->csb.key_number;
    unsigned previous = (uint16_t)group->csb.previous_key_number;
    struct iotsec_sender *slot = get_senders(dev, group);
    struct iotsec_sender *found = NULL;
    unsigned left;

    if (place == IOTSEC_CSB_AHEAD) {
        previous = current; /* the record's own key has no slots yet */
    }
    for (left = dev->senders_each; left != 0; left--, slot++) {
        if (is_slot_of(slot, sender_id, epoch)) {
            return slot;
        }
        if (slot->sender_id == 0 || (slot->last_epoch != previous && slot->last_epoch != current)) {
            found = slot;
        }
    }
    return found;
}

enum iotsec_drop iotsec_group_open(const struct iotsec_device *dev, struct iotsec_device_group *group,
                                   const struct iotsec_record *record, enum iotsec_csb_place *place)
{
    static const uint8_t reasons[] = {
        [IOTSEC_CSB_BEHIND] = IOTSEC_DROP_BEHIND,
        [IOTSEC_CSB_LATER] = IOTSEC_DROP_EPOCH, /* it may be a forgery, and the next record gets its turn */
        [IOTSEC_CSB_UNREACHABLE] = IOTSEC_DROP_UNREACHABLE,
        [IOTSEC_CSB_FAILED] = IOTSEC_DROP_NO_ROOM,
    };
    const struct iotsec_hal *hal = dev->config->hal;
    struct iotsec_csb *csb = &group->csb;
    uint16_t sender_id = (uint16_t)(record->sequence >> 32);
    uint32_t counter = (uint32_t)record->sequence;
    uint16_t epoch = record->epoch;
    struct iotsec_sender *slot;
    struct iotsec_replay window;
    enum iotsec_status status;
    const uint8_t *tek;
    uint8_t *data;
    size_t len;
    bool known;

    if (sender_id < IOTSEC_SENDER_ID_MIN || sender_id > IOTSEC_SENDER_ID_MAX || record->length < IOTSEC_TAG_CCM_8_BYTES) {
        return IOTSEC_DROP_MALFORMED;
    }
    if (is_own(csb, epoch, sender_id)) {
        return IOTSEC_DROP_OWN;
    }
    *place = iotsec_csb_key(csb, hal, epoch, &tek);
    if (tek == NULL) {
        return (enum iotsec_drop)reasons[*place];
    }
    slot = find_slot(dev, group, *place, sender_id, epoch);
    if (slot == NULL) {
        return IOTSEC_DROP_UNKNOWN_SENDER;
    }
    known = is_slot_of(slot, sender_id, epoch);
    window.top = slot->top;
    window.bits = slot->bits;
    if (known && !iotsec_replay_check(&window, counter)) {
        return IOTSEC_DROP_REPLAY;
    }
    status = iotsec_record_group_open(hal, tek, csb->group_id, record, &data, &len);
    if (status != IOTSEC_OK) {
        return status == IOTSEC_ERR_AUTH ? IOTSEC_DROP_AUTH : IOTSEC_DROP_NO_ROOM;
    }
    /* From here on the tag has verified all that the record says. */
    if (*place == IOTSEC_CSB_AHEAD) {
        (void)iotsec_csb_advance(csb, hal); /* the candidate that just opened the record is there */
    }
    if (known) {
        iotsec_replay_commit(&window, counter);
    } else {
        iotsec_replay_start_at(&window, counter);
    }
    if (!known || epoch > slot->last_epoch) { /* same generation: the step decides; a late record does not lower it */
        slot->last_epoch = epoch;
    }
    slot->sender_id = sender_id;
    slot->top = (uint32_t)window.top;
    slot->bits = window.bits;
    return IOTSEC_GROUP_ACCEPTED;
}

void iotsec_group_new_keys(const struct iotsec_device *dev, struct iotsec_device_group *group)
{
    uint32_t previous = group->csb.previous_key_number;
    struct iotsec_sender *slot = get_senders(dev, group);
    unsigned left;

    group->forgeries = 0;
    for (left = dev->senders_each; left != 0; left--, slot++) {
        if (previous == 0 || slot->last_epoch >> 8 != (uint16_t)previous >> 8) {
            memset(slot, 0, sizeof *slot);
        }
    }
}

#endif
