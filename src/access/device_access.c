/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a device needs to take part in the network, and the move to an address of its own
 * (docs/protocol.md, section 13).
 *
 *     M -> D  ACCESS                 the key is installed, and used if the flag says so    D -> M  ACK
 *     D -> M  MOVED, to the manager's own address, from the device's own
 *     M -> D  PATH_CHECK             D -> M  ACK
 *     M -> D  ACK of MOVED
 *
 * A link-layer key passes through to the HAL; only its index stays here. Of the indexes installed, one is sent
 * under, the one before it is still received under for a while, and one may wait for its turn.
 */
#include "access/device_state.h"

#include <string.h>

#if IOTSEC_ROLE_DEVICE && IOTSEC_ACCESS

/* IEEE 802.15.4 has the indexes 1 to 255. */
static uint8_t index_of(uint32_t number)
{
    return (uint8_t)(1 + (number - 1) % 255u);
}

/* ---- The link layer's keys ---- */

static void remove_key(const struct iotsec_device *dev, uint8_t *index)
{
    const struct iotsec_hal *hal = dev->config->hal;

    if (*index != 0 && hal->l2_key_remove != NULL) {
        hal->l2_key_remove(hal->user, *index);
    }
    *index = 0;
}

/* The key is installed. The one that waited for its turn is replaced by it, and was never used; but the one in use
 * coming again, as it does in each session, says nothing about the next one. */
static void note_installed(struct iotsec_device *dev, uint8_t index)
{
    if (dev->l2_previous == index) {
        dev->l2_previous = 0; /* the new key has its place */
    }
    if (dev->l2_used == index) {
        return;
    }
    if (dev->l2_next != index) {
        remove_key(dev, &dev->l2_next);
    }
    dev->l2_next = index;
}

/* Frames are sent under it. */
static void note_used(struct iotsec_device *dev, uint8_t index)
{
    if (dev->l2_used == index) {
        return;
    }
    remove_key(dev, &dev->l2_previous);
    dev->l2_previous = dev->l2_used;
    dev->l2_used = index;
    dev->l2_next = 0;
    dev->l2_until = iotsec_dev_now(dev) + IOTSEC_L2_OVERLAP_MS;
    dev->flags |= DEVICE_TOUCHED;
}

enum iotsec_km_result iotsec_dev_take_access(struct iotsec_device *dev, const struct iotsec_km_message *message)
{
    const struct iotsec_hal *hal = dev->config->hal;
    bool use = (message->code & IOTSEC_KM_ACCESS_USE) != 0;
    uint8_t index = index_of(message->key_number);

    if (message->key_number < dev->l2_number ||
        (message->key_number == dev->l2_number && (!use || (dev->flags & DEVICE_L2_USED) != 0))) {
        return IOTSEC_KM_DONE;
    }
    if (!use && dev->l2_number != 0 && index == dev->l2_used) {
        return IOTSEC_KM_FAILED; /* another key: it takes that one's place when it is used, not while others send under that */
    }
    if (hal->l2_key_install != NULL && hal->l2_key_install(hal->user, index, message->secret) < 0) {
        return IOTSEC_KM_FAILED;
    }
    note_installed(dev, index); /* whatever becomes of it: it has to be removed one day */
    if (use && hal->l2_key_use != NULL && hal->l2_key_use(hal->user, index) < 0) {
        return IOTSEC_KM_FAILED;
    }
    dev->l2_number = message->key_number;
    dev->flags &= (uint8_t)~DEVICE_L2_USED;
    if (use) {
        dev->flags |= DEVICE_L2_USED;
        note_used(dev, index);
    }
    return IOTSEC_KM_DONE;
}

void iotsec_dev_forget_l2(struct iotsec_device *dev)
{
    (void)iotsec_dtls_flush(&dev->dtls);
    remove_key(dev, &dev->l2_used);
    remove_key(dev, &dev->l2_previous);
    remove_key(dev, &dev->l2_next);
}

/* ---- Access parameters ---- */

void iotsec_dev_tell_access(struct iotsec_device *dev, const struct iotsec_km_message *message)
{
    struct iotsec_access access;
    uint32_t digest;

    if (message->key_number < dev->l2_number) { /* overtaken by a newer one */
        return;
    }
    memset(&access, 0, sizeof access); /* what lies between the members is compared too */
    access.key_index = index_of(message->key_number);
    access.pan_id = message->pan_id;
    access.short_address = message->short_address;
    memcpy(access.prefix, message->prefix, sizeof access.prefix);
    access.manager = message->addr;
    digest = iotsec_crc32((const uint8_t *)&access, sizeof access);
    if ((dev->flags & DEVICE_ACCESS) != 0 && digest == dev->access_digest) {
        return;
    }
    dev->access_digest = digest;
    dev->flags |= DEVICE_ACCESS | DEVICE_TOUCHED;
    if (dev->config->callbacks->access != NULL) {
        dev->config->callbacks->access(dev->config->user, &access);
    }
}

/* ---- The move ---- */

enum iotsec_status iotsec_moved(struct iotsec_device *device, const struct iotsec_addr *manager)
{
    if (device == NULL || manager == NULL || iotsec_addr_is_multicast(manager)) {
        return IOTSEC_ERR_ARGUMENT;
    }
    if (device->state == DEVICE_IDLE || device->state == DEVICE_LEFT) {
        return IOTSEC_ERR_STATE;
    }
    device->flags = (uint8_t)((device->flags & ~DEVICE_MOVE_LOST) | DEVICE_TOUCHED);
#if IOTSEC_PAIRWISE
    iotsec_dev_pairs_yield(device, manager);
#endif
#if MOVES
    if (iotsec_dtls_readdress(&device->dtls, device->session, manager) == IOTSEC_OK) {
        struct iotsec_device_group *group = iotsec_dev_group(device, device->request_group);

        if (device->request_kind != 0 && group != NULL) {
            group->flags |= GROUP_DUE; /* what was asked is asked again, when it is known where */
        }
        iotsec_dev_start_request(device, IOTSEC_KM_MOVED, 0);
        return IOTSEC_OK;
    }
#endif
    device->manager = *manager;
    device->flags &= (uint8_t)~DEVICE_OLD_WAY;
    if (device->session != 0) {
        return IOTSEC_ERR_UNSUPPORTED;
    }
    (void)iotsec_dtls_cancel(&device->dtls, device->handshake);
    device->handshake = 0;
    device->contact_at = iotsec_dev_now(device);
    return IOTSEC_OK;
}

#if MOVES
static const struct iotsec_addr *old_way(const struct iotsec_device *dev)
{
    return (dev->flags & DEVICE_OLD_WAY) != 0 ? &dev->joined_at : &dev->manager;
}

bool iotsec_dev_came_the_old_way(const struct iotsec_device *dev, const struct iotsec_addr *from)
{
    return dev->request_kind == IOTSEC_KM_MOVED && iotsec_addr_equal(from, old_way(dev));
}

void iotsec_dev_end_move(struct iotsec_device *dev, bool confirmed)
{
    dev->request_kind = 0;
    if (!confirmed) {
        (void)iotsec_dtls_readdress(&dev->dtls, dev->session, old_way(dev));
        dev->flags |= DEVICE_MOVE_LOST | DEVICE_TOUCHED;
        return;
    }
    (void)iotsec_dtls_peer(&dev->dtls, dev->session, &dev->manager, NULL);
    dev->flags &= (uint8_t)~DEVICE_OLD_WAY;
    iotsec_dev_tell(dev, IOTSEC_DEVICE_MOVED, IOTSEC_OK, 0);
}
#endif

/* ---- What is due ---- */

void iotsec_dev_access_poll(struct iotsec_device *dev)
{
    if (dev->l2_previous != 0 && iotsec_dev_due(dev, dev->l2_until)) {
        remove_key(dev, &dev->l2_previous);
    }
    if ((dev->flags & DEVICE_MOVE_LOST) != 0) {
        dev->flags &= (uint8_t)~DEVICE_MOVE_LOST;
        iotsec_dev_tell(dev, IOTSEC_DEVICE_MOVED, IOTSEC_ERR_NO_ANSWER, 0);
    }
}

#endif
