/* SPDX-License-Identifier: BSD-3-Clause */
/* Group records on their way in: keys and replay windows. */
#ifndef IOTSEC_SRC_ACCESS_GROUP_H
#define IOTSEC_SRC_ACCESS_GROUP_H

#include <iotsec/device.h>

/* Not a reason: the record was accepted. */
#define IOTSEC_GROUP_ACCEPTED IOTSEC_DROP_COUNT

/*
 * Opens a record of this group in place, whose epoch is a group's, and commits what it proves: the step, and the number in
 * the sender's window. IOTSEC_GROUP_ACCEPTED: the plaintext stands where the ciphertext stood; `place` is that of its key
 * before, so that AHEAD has moved the group. Otherwise the reason for the drop; nothing changed. DROP_NO_ROOM stands for a
 * HAL that failed.
 */
enum iotsec_drop iotsec_group_open(const struct iotsec_device *dev, struct iotsec_device_group *group,
                                   const struct iotsec_record *record, enum iotsec_csb_place *place);

/* To be called when keys were installed: in another generation sender IDs mean others. Slots of the previous key's generation
 * stay, else what was accepted under it could be replayed; without one, nothing that was accepted opens any more. */
void iotsec_group_new_keys(const struct iotsec_device *dev, struct iotsec_device_group *group);

#endif
