/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The joining device: set-up, what the application asks for, what arrives, what is due.
 *
 *     D -> M    DTLS-PSK handshake with group_request                      device_join.c
 *     M -> D    Master Key Data, Security Parameters Data; D -> M  ACK     device_keys.c
 *     D => G    group records                                              device_group.c
 *
 * The application's calls only mark what is wanted; messages leave in iotsec_poll and in answers.
 */
#include "access/device_state.h"

#include <string.h>

#include "access/group.h"

#if IOTSEC_ROLE_DEVICE

uint32_t iotsec_dev_now(const struct iotsec_device *dev)
{
    return dev->config->hal->now_ms(dev->config->hal->user);
}

uint32_t iotsec_dev_random(const struct iotsec_device *dev, uint32_t limit)
{
    const struct iotsec_hal *hal = dev->config->hal;
    uint16_t value;

    if (limit == 0 || hal->random(hal->user, (uint8_t *)&value, sizeof value) < 0) {
        return 0;
    }
    /* value / 2^16 of the limit, within 32 bits, and without a division, which would be the only one */
    return (limit >> 16) * value + ((limit & 0xFFFFu) * value >> 16);
}

bool iotsec_dev_due(struct iotsec_device *dev, uint32_t deadline)
{
    uint32_t left = iotsec_time_left(iotsec_dev_now(dev), deadline);

    if (left != 0) {
        dev->wait = iotsec_min_u32(dev->wait, left);
    }
    return left == 0;
}

enum iotsec_status iotsec_dev_drop(struct iotsec_device *dev, enum iotsec_drop reason)
{
    static const int8_t says[IOTSEC_DROP_COUNT] = {
        [IOTSEC_DROP_MALFORMED] = IOTSEC_ERR_DECODE,
        [IOTSEC_DROP_VERSION] = IOTSEC_ERR_DECODE,
        [IOTSEC_DROP_EPOCH] = IOTSEC_ERR_EPOCH,
        [IOTSEC_DROP_AUTH] = IOTSEC_ERR_AUTH,
        [IOTSEC_DROP_REPLAY] = IOTSEC_ERR_REPLAY,
        [IOTSEC_DROP_NO_ROOM] = IOTSEC_ERR_FULL,
        [IOTSEC_DROP_NO_GROUP] = IOTSEC_ERR_NOT_FOUND,
        [IOTSEC_DROP_UNKNOWN_SENDER] = IOTSEC_ERR_FULL,
        [IOTSEC_DROP_BEHIND] = IOTSEC_ERR_EPOCH,
        [IOTSEC_DROP_UNREACHABLE] = IOTSEC_ERR_EPOCH,
    };
    uint16_t *count = &dev->stats.drops[reason];

    if (*count != 0xFFFF) {
        (*count)++;
    }
    return says[reason] != 0 ? (enum iotsec_status)says[reason] : IOTSEC_ERR_UNEXPECTED;
}

void iotsec_dev_tell(struct iotsec_device *dev, enum iotsec_device_event_kind kind, enum iotsec_status reason, uint16_t group_id)
{
    const struct iotsec_device_group *group = iotsec_dev_group(dev, group_id);
    struct iotsec_device_event event;

    dev->flags |= DEVICE_TOUCHED; /* whatever led here, and whatever the application does now */
    if (dev->config->callbacks->event == NULL) {
        return;
    }
    memset(&event, 0, sizeof event);
    event.kind = kind;
    event.reason = reason;
    event.group_id = group_id;
    if (group != NULL) {
        event.sender_id = group->csb.sender_id;
        event.key_number = group->csb.key_number;
    }
#if IOTSEC_PAIRWISE
    if (kind == IOTSEC_DEVICE_SHARE) {
        event.key_number = iotsec_dev_newest_share(dev)->generation;
    }
#endif
    dev->config->callbacks->event(dev->config->user, &event);
}

/* ---- Groups ---- */

struct iotsec_device_group *iotsec_dev_slot(const struct iotsec_device *dev, unsigned number)
{
    return number < dev->config->group_count ? dev->config->groups + number : NULL;
}

struct iotsec_device_group *iotsec_dev_group(const struct iotsec_device *dev, uint16_t group_id)
{
    struct iotsec_device_group *group;
    unsigned i = 0;

    do {
        group = iotsec_dev_slot(dev, i++);
    } while (group != NULL && (group->state == GROUP_FREE || group->csb.group_id != group_id));
    return group;
}

struct iotsec_device_group *iotsec_dev_flagged(const struct iotsec_device *dev, unsigned flag)
{
    struct iotsec_device_group *group;
    unsigned i = 0;

    do {
        group = iotsec_dev_slot(dev, i++);
    } while (group != NULL && (group->flags & flag) == 0);
    return group;
}

/* Empties a slot and gives it to the group. */
static void start_group(const struct iotsec_device *dev, struct iotsec_device_group *group, uint16_t group_id, uint8_t state)
{
    iotsec_wipe(group, sizeof *group);
    group->hinted_at = iotsec_dev_now(dev) - IOTSEC_HINT_INTERVAL_MS;
    group->csb.group_id = group_id;
    group->state = state;
}

struct iotsec_device_group *iotsec_dev_group_new(struct iotsec_device *dev, uint16_t group_id)
{
    struct iotsec_device_group *group;
    unsigned i = 0;

    do {
        group = iotsec_dev_slot(dev, i++);
    } while (group != NULL && group->state != GROUP_FREE);
    if (group != NULL) {
        start_group(dev, group, group_id, GROUP_WANTED);
    }
    return group;
}

static void stop_listening(const struct iotsec_device *dev, struct iotsec_device_group *group)
{
    const struct iotsec_hal *hal = dev->config->hal;

    if ((group->flags & GROUP_LISTENS) != 0 && hal->multicast_leave != NULL) {
        hal->multicast_leave(hal->user, &group->csb.addr);
    }
}

void iotsec_dev_group_forget(struct iotsec_device *dev, struct iotsec_device_group *group, uint8_t state)
{
    uint16_t group_id = group->csb.group_id;

    if (group->csb.key_number != 0 && dev->session != 0) {
        dev->flags |= DEVICE_WIPED_KEYS;
    }
    if (dev->request_group == group_id) {
        dev->request_kind = 0; /* it asked about what is gone */
    }
    stop_listening(dev, group);
#if IOTSEC_PERSIST
    iotsec_dev_erase(dev, group);
#endif
    start_group(dev, group, group_id, state);
    iotsec_group_new_keys(dev, group); /* no key is left: neither is any sender */
}

void iotsec_dev_forget_domain(struct iotsec_device *dev)
{
    struct iotsec_device_group *group;
    unsigned i;

    for (i = 0; (group = iotsec_dev_slot(dev, i)) != NULL; i++) {
        if (group->state != GROUP_FREE) {
            iotsec_dev_group_forget(dev, group, GROUP_FREE);
        }
    }
#if IOTSEC_PAIRWISE
    iotsec_dev_pairs_forget(dev);
    iotsec_dev_shares_forget(dev);
#endif
}

/* ---- Setting up ---- */

#if IOTSEC_PAIRWISE
/* What a record is longer by than the queued message in it. */
#define PAIR_OVERHEAD \
    (IOTSEC_UNICAST_OVERHEAD_CCM_8_BYTES + (IOTSEC_CONNECTION_ID ? IOTSEC_CID_OVERHEAD_BYTES + IOTSEC_CID_MAX : 0u))
#endif

/* What iotsec_dtls_init does not look at. */
static bool config_is_sound(const struct iotsec_device_config *config)
{
    return config->hal != NULL && config->callbacks != NULL && config->identity != NULL && config->identity_len >= 1 &&
           config->identity_len <= IOTSEC_IDENTITY_MAX && config->psk != NULL && config->psk_len >= 16 &&
           config->psk_len <= IOTSEC_PSK_MAX && (config->group_count == 0 || config->groups != NULL) &&
           /* with its jitter, a time farther ahead would count as past: bytes.h */
           ((config->status_interval_ms | config->join_timeout_ms) >> 30) == 0 &&
#if IOTSEC_PAIRWISE
           (config->pair_count == 0 ||
            (config->pairs != NULL && config->shares != NULL && config->share_degree_max != 0 &&
             (config->pair_messages != NULL || config->pair_message_size == 0) &&
             config->pair_message_size + PAIR_OVERHEAD <= config->tx_size &&
             config->pair_message_size <= IOTSEC_RECORD_PAYLOAD_MAX && config->session_count > config->pair_count &&
             config->handshake_count >= 2 && ((config->pair_idle_ms | config->share_overlap_ms) >> 30) == 0)) &&
#endif
           (config->sender_count == 0 || config->senders != NULL);
}

/* How many senders each group knows; false: they do not come out even. A division would bring a library function. */
static bool split_senders(const struct iotsec_device_config *config, unsigned *each)
{
    unsigned left = config->sender_count;

    while (config->group_count != 0 && left >= config->group_count) {
        left -= config->group_count;
        ++*each;
    }
    return left == 0;
}

static void fill_dtls_config(struct iotsec_dtls_config *dtls, const struct iotsec_device_config *config, struct iotsec_device *dev)
{
    dtls->hal = config->hal;
    dtls->callbacks = iotsec_dev_callbacks(config);
    dtls->user = dev;
    dtls->sessions = config->sessions;
    dtls->handshakes = config->handshakes;
    dtls->extensions = iotsec_dev_extensions;
    dtls->extension_count = 1;
#if IOTSEC_PAIRWISE
    if (config->pair_count != 0) {
        dtls->extension_count = 2;
        dtls->cookie_policy = IOTSEC_COOKIE_WHILE_BUSY;
        dtls->client_handshakes = 1;
        dtls->tell_strangers = 1;
    }
#endif
    dtls->tx = config->tx;
    dtls->tx_size = config->tx_size;
    dtls->session_count = config->session_count;
    dtls->handshake_count = config->handshake_count;
    dtls->link_payload = config->link_payload;
#if IOTSEC_CONNECTION_ID
    dtls->connection_id = config->connection_id;
#endif
    dtls->require_extended_master_secret = 1;
    dtls->require_renegotiation_info = 1;
    dtls->key_management = 1;
    dtls->retransmit_initial_ms = config->retransmit_initial_ms;
    dtls->retransmit_max_ms = config->retransmit_max_ms;
    dtls->handshake_timeout_ms = config->handshake_timeout_ms;
}

enum iotsec_status iotsec_device_init_checked(struct iotsec_device *device, const struct iotsec_device_config *config,
                                              uint32_t config_id, size_t group_size, size_t handshake_size)
{
    enum iotsec_status status;
    unsigned each = 0;

    if (config_id != IOTSEC_CONFIG_ID || group_size != sizeof(struct iotsec_device_group) ||
        handshake_size != sizeof(struct iotsec_dtls_handshake)) {
        return IOTSEC_ERR_CONFIG;
    }
    if (device == NULL || config == NULL || !config_is_sound(config) || !split_senders(config, &each)) {
        return IOTSEC_ERR_ARGUMENT;
    }
    if (config->persist && (!IOTSEC_PERSIST || config->hal->nvm_read == NULL || config->hal->nvm_write == NULL)) {
        return IOTSEC_ERR_UNSUPPORTED;
    }
    memset(device, 0, sizeof *device);
    fill_dtls_config(&device->dtls_config, config, device);
    status = iotsec_dtls_init(&device->dtls, &device->dtls_config);
    if (status != IOTSEC_OK) {
        return status;
    }
    device->config = config;
    device->senders_each = (uint16_t)each;
    device->contact_at = iotsec_dev_now(device) + iotsec_dev_random(device, config->join_delay_ms);
    if (config->group_count != 0) {
        memset(config->groups, 0, sizeof config->groups[0] * config->group_count);
    }
    if (config->sender_count != 0) {
        memset(config->senders, 0, sizeof config->senders[0] * config->sender_count);
    }
#if IOTSEC_PAIRWISE
    if (config->pair_count != 0) {
        memset(config->pairs, 0, sizeof config->pairs[0] * config->pair_count);
    }
    iotsec_dev_shares_forget(device);
#endif
#if IOTSEC_PERSIST
    iotsec_dev_restore(device);
#endif
    return IOTSEC_OK;
}

void iotsec_device_close(struct iotsec_device *device)
{
    if (device == NULL || device->config == NULL) {
        return;
    }
    iotsec_dev_renew_session(device); /* if it is polled again */
#if IOTSEC_PAIRWISE
    iotsec_dev_pairs_forget(device);
#endif
    (void)iotsec_dtls_flush(&device->dtls);
}

void iotsec_device_wipe(struct iotsec_device *device)
{
    const struct iotsec_device_config *config;
    uint16_t i;

    if (device == NULL || device->config == NULL) {
        return;
    }
    config = device->config;
    for (i = 0; i < config->group_count; i++) {
        stop_listening(device, &config->groups[i]);
        iotsec_wipe(&config->groups[i], sizeof config->groups[i]);
    }
#if IOTSEC_PAIRWISE
    iotsec_wipe(config->pairs, sizeof config->pairs[0] * config->pair_count);
    iotsec_wipe(config->pair_messages, (size_t)config->pair_message_size * config->pair_count);
    iotsec_dev_shares_forget(device);
#endif
    iotsec_dtls_wipe(&device->dtls);
    iotsec_wipe(device, sizeof *device);
}

/* ---- What the application asks for ---- */

/* Marks the groups of a join; those that are not held take a slot. */
static enum iotsec_status await_groups(struct iotsec_device *dev, const uint16_t *groups, size_t count)
{
    for (; count != 0; count--, groups++) {
        struct iotsec_device_group *group = iotsec_dev_group(dev, *groups);

        if (group == NULL) {
            group = iotsec_dev_group_new(dev, *groups);
        } else if (group->state == GROUP_LEFT) {
            return IOTSEC_ERR_STATE;
        }
        if (group == NULL) {
            return IOTSEC_ERR_FULL;
        }
        if (*groups == 0 || (group->flags & GROUP_AWAITED) != 0) {
            return IOTSEC_ERR_ARGUMENT; /* no group, or named before */
        }
        group->flags |= GROUP_AWAITED;
    }
    return IOTSEC_OK;
}

enum iotsec_status iotsec_join(struct iotsec_device *device, const struct iotsec_addr *manager, const uint16_t *groups,
                               size_t count)
{
    enum iotsec_status status;

    if (device == NULL || manager == NULL || (groups == NULL && count != 0) || iotsec_addr_is_multicast(manager)) {
        return IOTSEC_ERR_ARGUMENT;
    }
    if (device->state != DEVICE_IDLE) {
        return IOTSEC_ERR_STATE;
    }
    if (device->contact_wait != 0 && !iotsec_addr_equal(&device->manager, manager)) {
        device->contact_wait = 0; /* it was another one that said nothing */
        device->contact_at = iotsec_dev_now(device);
    }
    device->manager = *manager;
    device->interface = manager->interface;
#if IOTSEC_PAIRWISE
    iotsec_dev_pairs_yield(device, manager);
#endif
#if IOTSEC_ACCESS
    device->joined_at = *manager;
    device->flags &= (uint8_t)~(DEVICE_OLD_WAY | DEVICE_MOVE_LOST);
#endif
    device->state = DEVICE_SENT_HELLO;
    status = await_groups(device, groups, count);
    if (status == IOTSEC_OK && iotsec_dev_begin_join(device)) {
        status = iotsec_dev_connect(device);
    }
    if (status != IOTSEC_OK) {
        iotsec_dev_end_join(device);
    }
    return status;
}

enum iotsec_status iotsec_group_join(struct iotsec_device *device, uint16_t group_id)
{
    struct iotsec_device_group *group;

    if (device == NULL || group_id == 0) {
        return IOTSEC_ERR_ARGUMENT;
    }
    if (device->state != DEVICE_AUTHENTICATED && device->state != DEVICE_JOINED) {
        return IOTSEC_ERR_STATE;
    }
    group = iotsec_dev_group(device, group_id);
    if (group != NULL) {
        return group->state == GROUP_LEFT ? IOTSEC_ERR_AGAIN : IOTSEC_ERR_EXISTS;
    }
    group = iotsec_dev_group_new(device, group_id);
    if (group == NULL) {
        return IOTSEC_ERR_FULL;
    }
    group->flags |= GROUP_DUE;
    return IOTSEC_OK;
}

enum iotsec_status iotsec_group_leave(struct iotsec_device *device, uint16_t group_id)
{
    struct iotsec_device_group *group = device != NULL ? iotsec_dev_group(device, group_id) : NULL;

    if (group == NULL || group->state == GROUP_LEFT) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    /* One that was only asked for is left too: its keys may be on their way. */
    iotsec_dev_group_forget(device, group, GROUP_LEFT);
    group->flags |= GROUP_DUE;
    return IOTSEC_OK;
}

enum iotsec_status iotsec_leave(struct iotsec_device *device)
{
    if (device == NULL || device->state == DEVICE_IDLE || device->state == DEVICE_LEFT) {
        return IOTSEC_ERR_STATE;
    }
    iotsec_dev_forget_domain(device);
    if (device->state == DEVICE_SENT_HELLO) {
        iotsec_dev_disconnect(device);
#if IOTSEC_ACCESS
        iotsec_dev_forget_l2(device);
#endif
        device->state = DEVICE_IDLE;
        return IOTSEC_OK;
    }
#if MOVES
    if (device->request_kind == IOTSEC_KM_MOVED) {
        iotsec_dev_end_move(device, false);
    }
#endif
    device->request_kind = 0; /* whatever else was asked no longer matters */
    device->contact_at = iotsec_dev_now(device);
    device->state = DEVICE_LEFT;
    return IOTSEC_OK;
}

enum iotsec_status iotsec_group_send(struct iotsec_device *device, uint16_t group_id, const uint8_t *data, size_t len)
{
    struct iotsec_device_group *group;

    if (device == NULL || data == NULL || len == 0) {
        return IOTSEC_ERR_ARGUMENT;
    }
    if (len > IOTSEC_GROUP_PAYLOAD_MAX || len > device->config->tx_size - IOTSEC_GROUP_OVERHEAD_BYTES) {
        return IOTSEC_ERR_TOO_LONG;
    }
    group = iotsec_dev_group(device, group_id);
    if (group == NULL || group->state != GROUP_HELD) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    return iotsec_dev_group_send(device, group, data, len);
}

/* ---- What arrives, what is due ---- */

enum iotsec_status iotsec_input(struct iotsec_device *device, const struct iotsec_addr *from, const struct iotsec_addr *to,
                                uint8_t *datagram, size_t len)
{
    enum iotsec_status status;

    if (device == NULL || from == NULL || to == NULL || datagram == NULL) {
        return IOTSEC_ERR_ARGUMENT;
    }
    if ((device->flags & DEVICE_BUSY) != 0) {
        return IOTSEC_ERR_STATE;
    }
    device->flags |= DEVICE_BUSY;
    if (iotsec_addr_is_multicast(to)) {
        status = iotsec_dev_group_input(device, to, datagram, len);
    } else {
#if MOVES
        struct iotsec_addr now;

        /* As long as a move is not confirmed, the manager repeats there what has not been acknowledged. Whose a record is
         * its tag decides, here as elsewhere. */
        if (iotsec_dev_came_the_old_way(device, from) && iotsec_dtls_peer(&device->dtls, device->session, &now, NULL) == IOTSEC_OK) {
            from = &now;
        }
#endif
        status = iotsec_dtls_input(&device->dtls, from, datagram, len);
    }
    device->flags &= (uint8_t)~DEVICE_BUSY;
    return status;
}

uint32_t iotsec_poll(struct iotsec_device *device)
{
    uint32_t wait;

    if (device == NULL || device->config == NULL || (device->flags & DEVICE_BUSY) != 0) {
        return UINT32_MAX;
    }
    device->flags = (uint8_t)((device->flags & ~DEVICE_TOUCHED) | DEVICE_BUSY);
    device->wait = UINT32_MAX;
#if IOTSEC_ACCESS
    iotsec_dev_access_poll(device);
#endif
    iotsec_dev_join_poll(device);
    iotsec_dev_group_poll(device);
#if IOTSEC_PAIRWISE
    iotsec_dev_share_poll(device);
    iotsec_dev_pair_poll(device);
#endif
    iotsec_dev_request_poll(device);
    wait = iotsec_dtls_poll(&device->dtls); /* sends what was put together above */
    device->flags &= (uint8_t)~DEVICE_BUSY;
    return (device->flags & DEVICE_TOUCHED) != 0 ? 0 : iotsec_min_u32(wait, device->wait);
}

#endif
