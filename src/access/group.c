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

/* The group's slots; their number is the same for every group. */
static struct iotsec_sender *get_senders(const struct iotsec_device_config *config, const struct iotsec_device_group *group,
                                         uint16_t *count)
{
    *count = (uint16_t)(config->sender_count / config->group_count);
    return config->senders + (size_t)(group - config->groups) * *count;
}

enum iotsec_status iotsec_group_seal(const struct iotsec_device_config *config, struct iotsec_csb *csb, size_t *out_len,
                                     const uint8_t *data, size_t len)
{
    uint32_t counter;
    enum iotsec_status status = iotsec_csb_take_counter(csb, &counter);

    if (status != IOTSEC_OK) {
        return status;
    }
    return iotsec_record_group_seal(config->hal, csb->tek, csb->group_id, (uint16_t)csb->key_number, csb->sender_id, counter,
                                    IOTSEC_CONTENT_APPLICATION_DATA, config->tx, config->tx_size, out_len, data, len);
}

/* Our own record, echoed or sent back by somebody: under the previous key it bears the sender ID of then. */
static bool is_own(const struct iotsec_csb *csb, uint16_t epoch, uint16_t sender_id)
{
    if (csb->previous_key_number != 0 && epoch == (uint16_t)csb->previous_key_number) {
        return sender_id == csb->previous_sender_id;
    }
    return sender_id == csb->sender_id && epoch >> 8 == (uint16_t)csb->key_number >> 8;
}

/*
 * Whether a slot may be given to somebody else, when `oldest` and `newest` are the only keys held: a
 * sender from which nothing was accepted under either can have nothing replayed either.
 */
static bool is_reusable(const struct iotsec_sender *slot, uint16_t oldest, uint16_t newest)
{
    return slot->sender_id == 0 || (slot->last_epoch != oldest && slot->last_epoch != newest);
}

static bool is_slot_of(const struct iotsec_sender *slot, uint16_t sender_id, uint16_t epoch)
{
    return slot->sender_id == sender_id && slot->last_epoch >> 8 == epoch >> 8;
}

/* The sender's slot, or one that it may take over, which still bears another name; or NULL. */
static struct iotsec_sender *find_slot(const struct iotsec_device_config *config, const struct iotsec_device_group *group,
                                       uint16_t sender_id, uint16_t epoch)
{
    const struct iotsec_csb *csb = &group->csb;
    /* The keys held once the record is accepted: one that is ahead makes today's key the previous one. */
    uint16_t current = (uint16_t)csb->key_number;
    uint16_t previous = csb->previous_key_number != 0 ? (uint16_t)csb->previous_key_number : current;
    struct iotsec_sender *found = NULL;
    uint16_t left;
    struct iotsec_sender *slot = get_senders(config, group, &left);

    if (epoch != current && epoch != previous) {
        previous = current;
    }
    for (; left != 0; left--, slot++) {
        if (is_slot_of(slot, sender_id, epoch)) {
            return slot;
        }
        if (found == NULL && is_reusable(slot, previous, current)) {
            found = slot;
        }
    }
    return found;
}

/* Marks a counter as seen, after its tag was verified. */
static void commit_slot(struct iotsec_sender *slot, uint16_t sender_id, uint16_t epoch, uint32_t counter)
{
    struct iotsec_replay window;

    window.top = slot->top;
    window.bits = slot->bits;
    if (is_slot_of(slot, sender_id, epoch)) {
        iotsec_replay_commit(&window, counter);
        if (epoch > slot->last_epoch) { /* same generation: the step decides; a late record does not lower it */
            slot->last_epoch = epoch;
        }
    } else {
        iotsec_replay_start_at(&window, counter);
        slot->sender_id = sender_id;
        slot->last_epoch = epoch;
    }
    slot->top = (uint32_t)window.top;
    slot->bits = window.bits;
}

enum iotsec_drop iotsec_group_open(const struct iotsec_device_config *config, struct iotsec_device_group *group,
                                   const struct iotsec_record *record, struct iotsec_group_opened *opened)
{
    struct iotsec_csb *csb = &group->csb;
    const struct iotsec_hal *hal = config->hal;
    uint16_t sender_id = (uint16_t)(record->sequence >> 32);
    uint32_t counter = (uint32_t)record->sequence;
    struct iotsec_sender *slot;
    struct iotsec_replay window;
    enum iotsec_csb_place place;
    enum iotsec_status status;
    const uint8_t *tek;

    if (sender_id < IOTSEC_SENDER_ID_MIN || sender_id > IOTSEC_SENDER_ID_MAX ||
        record->length < IOTSEC_TAG_CCM_8_BYTES) {
        return IOTSEC_DROP_MALFORMED;
    }
    if (is_own(csb, record->epoch, sender_id)) {
        return IOTSEC_DROP_OWN;
    }
    place = iotsec_csb_key(csb, hal, record->epoch, &tek);
    if (tek == NULL) {
        static const uint8_t reasons[] = {
            [IOTSEC_CSB_BEHIND] = IOTSEC_DROP_BEHIND,
            [IOTSEC_CSB_LATER] = IOTSEC_DROP_EPOCH, /* it may be a forgery, and the next record gets its turn */
            [IOTSEC_CSB_UNREACHABLE] = IOTSEC_DROP_UNREACHABLE,
            [IOTSEC_CSB_FAILED] = IOTSEC_DROP_NO_ROOM,
        };

        return (enum iotsec_drop)reasons[place];
    }
    slot = find_slot(config, group, sender_id, record->epoch);
    if (slot == NULL) {
        return IOTSEC_DROP_UNKNOWN_SENDER;
    }
    window.top = slot->top;
    window.bits = slot->bits;
    if (is_slot_of(slot, sender_id, record->epoch) && !iotsec_replay_check(&window, counter)) {
        return IOTSEC_DROP_REPLAY;
    }
    status = iotsec_record_group_open(hal, tek, csb->group_id, record, &opened->data, &opened->len);
    if (status != IOTSEC_OK) {
        return status == IOTSEC_ERR_AUTH ? IOTSEC_DROP_AUTH : IOTSEC_DROP_NO_ROOM;
    }
    if (place == IOTSEC_CSB_AHEAD) {
        (void)iotsec_csb_advance(csb, hal); /* the candidate that just opened the record is there */
    }
    commit_slot(slot, sender_id, record->epoch, counter);
    opened->sender_id = sender_id;
    opened->moved = place == IOTSEC_CSB_AHEAD;
    opened->current = place != IOTSEC_CSB_PREVIOUS;
    return IOTSEC_GROUP_ACCEPTED;
}

void iotsec_group_new_keys(const struct iotsec_device_config *config, struct iotsec_device_group *group)
{
    uint32_t previous = group->csb.previous_key_number;
    uint16_t left;
    struct iotsec_sender *slot = get_senders(config, group, &left);

    group->forgeries = 0;
    for (; left != 0; left--, slot++) {
        if (previous == 0 || slot->last_epoch >> 8 != (uint16_t)previous >> 8) {
            memset(slot, 0, sizeof *slot);
        }
    }
}

#endif
