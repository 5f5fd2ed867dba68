/* SPDX-License-Identifier: BSD-3-Clause */
/* Group records of a member: its own counter on the way out; keys and replay windows on the way in. */
#ifndef IOTSEC_SRC_ACCESS_GROUP_H
#define IOTSEC_SRC_ACCESS_GROUP_H

#include <stdbool.h>

#include <iotsec/device.h>

/* What a record that was accepted says. */
struct iotsec_group_opened {
    uint16_t sender_id;
    bool current; /* it was sent under the key that is the current one now */
    bool moved;   /* it brought the bundle to a newer step */
    uint8_t *data; /* stands inside the datagram */
    size_t len;
};

/* Not a reason: the record was accepted. */
#define IOTSEC_GROUP_ACCEPTED IOTSEC_DROP_COUNT

/* Seals into the storage for a datagram, and spends a counter. Status: OK, ERR_STATE (no keys), ERR_COUNTER, ERR_BUFFER, ERR_TOO_LONG, ERR_CRYPTO. */
enum iotsec_status iotsec_group_seal(const struct iotsec_device_config *config, struct iotsec_csb *csb, size_t *out_len,
                                     const uint8_t *data, size_t len);

/*
 * Opens a record of this group in place and commits what it proves: the step, and the number in the sender's
 * window. IOTSEC_GROUP_ACCEPTED: `opened` is filled in. Otherwise the reason for the drop; nothing changed.
 * DROP_NO_ROOM stands for a HAL that failed.
 */
enum iotsec_drop iotsec_group_open(const struct iotsec_device_config *config, struct iotsec_device_group *group,
                                   const struct iotsec_record *record, struct iotsec_group_opened *opened);

/* To be called when keys were installed: in another generation sender IDs mean others. Slots of the previous key's generation
 * stay, else what was accepted under it could be replayed; without one, nothing that was accepted opens any more. */
void iotsec_group_new_keys(const struct iotsec_device_config *config, struct iotsec_device_group *group);

#endif
