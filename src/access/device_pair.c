/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions with other devices (docs/protocol.md, section 14). Every device is client and server to the others.
 *
 *     A -> B  ClientHello + device_identity(newest generation, A)
 *     B -> A  ServerHello + device_identity(the generation that serves both, B), ServerHelloDone
 *     A -> B  ClientKeyExchange(A), Finished        the PSK is that of A, B and the generation
 *     B -> A  Finished                              PEER_OPEN at both ends
 *     A => B  the message that was queued
 *
 * A pair takes a slot while a session stands, this device's own handshake runs, or the peer's is waited for. A message
 * is queued only in the latter two cases, so that each of them ends in PEER_OPEN, PEER_FAILED or the application's own call.
 *
 * A pair is known by its full identity, or by a handle that this file has put down. The number that the engine keeps
 * for it is a part of a hash: it decides nothing but which session the engine may replace by a newer one.
 */
#include "access/device_state.h"

#include <string.h>

#if IOTSEC_ROLE_DEVICE && IOTSEC_PAIRWISE

/* Only a pair that was silent for so long makes room for another one. */
#define PAIR_SPARE_MS 10000u
/* A session is renewed on a stranger's word no more often than this. */
#define PAIR_DOUBT_MS 10000u
/* So often it is looked whether a handshake that is waited for still runs. */
#define PAIR_LOOK_MS 500u

/* iotsec_pair.flags */
#define PAIR_WAITS 1u /* for the peer's handshake, until wait_until */

/* A handshake's scratch. What group_request keeps there belongs to the manager's handshakes. */
#define SCRATCH_FLAGS 0u
#define SCRATCH_GENERATION 1u /* client: the newest that it can use; both: what the server has chosen. 0: not written */
#define SCRATCH_POINT 5u      /* server: of the identity in the hello */
#define SCRATCH_TGK 5u        /* takes its place when the PSK is derived */
#define SCRATCH_MARK 21u      /* server: the end of the point, which stays */
#define MARK_BYTES 3u
#define MARK_AT (IOTSEC_POLY_ELEMENT_BYTES - MARK_BYTES)

/* Scratch flags */
#define HELLO_TAKEN 1u     /* the peer's hello named an identity */
#define HELLO_OVERLAP 2u   /* client: the generation before was offered too */
#define HELLO_NO_COMMON 4u /* server: no generation serves both */

/* device_identity: generation (4), flags (1), identity */
#define IDENTITY_AT 5u
#define IDENTITY_OVERLAP 1u /* flag: the generation before serves too */

/* ---- Pairs ---- */

/* The slot of that number, whatever is in it; NULL: there are no more. */
static struct iotsec_pair *get_slot(const struct iotsec_device *dev, unsigned number)
{
    return number < dev->config->pair_count ? dev->config->pairs + number : NULL;
}

/* The slot of that identity, or NULL. Of length 0: a free one. */
static struct iotsec_pair *find_pair(const struct iotsec_device *dev, const uint8_t *identity, size_t len)
{
    struct iotsec_pair *pair;
    unsigned i = 0;

    do {
        pair = get_slot(dev, i++);
    } while (pair != NULL && (pair->identity_len != len || memcmp(pair->identity, identity, len) != 0));
    return pair;
}

/* The pair whose session or handshake that is, or NULL. */
static struct iotsec_pair *find_handle(const struct iotsec_device *dev, iotsec_dtls_handle handle)
{
    struct iotsec_pair *pair;
    unsigned i = 0;

    do {
        pair = get_slot(dev, i++);
    } while (pair != NULL && (handle == 0 || (pair->session != handle && pair->handshake != handle)));
    return pair;
}

static uint8_t *message_of(const struct iotsec_device *dev, const struct iotsec_pair *pair)
{
    const struct iotsec_device_config *config = dev->config;

    return config->pair_messages + (size_t)(pair - config->pairs) * config->pair_message_size;
}

static void drop_message(const struct iotsec_device *dev, struct iotsec_pair *pair)
{
    if (pair->queued != 0) { /* else there may be no storage */
        iotsec_wipe(message_of(dev, pair), pair->queued);
        pair->queued = 0;
    }
}

/* Ends the session, if it still stands. */
static void close_session(struct iotsec_device *dev, struct iotsec_pair *pair)
{
    (void)iotsec_dtls_close(&dev->dtls, pair->session, IOTSEC_ALERT_CLOSE_NOTIFY);
    pair->session = 0;
    iotsec_wipe(&pair->csb, sizeof pair->csb);
}

/* Ends what is under way to a session, and what waits for it. */
static void end_attempt(struct iotsec_device *dev, struct iotsec_pair *pair)
{
    (void)iotsec_dtls_cancel(&dev->dtls, pair->handshake);
    pair->handshake = 0;
    pair->flags = 0;
    drop_message(dev, pair);
}

static void free_if_done(struct iotsec_pair *pair)
{
    if (pair->session == 0 && pair->handshake == 0 && pair->flags == 0) {
        iotsec_wipe(pair, sizeof *pair);
    }
}

static void forget_pair(struct iotsec_device *dev, struct iotsec_pair *pair)
{
    close_session(dev, pair);
    end_attempt(dev, pair);
    free_if_done(pair);
}

/* By bytes; of two that agree as far as the shorter one goes, that one is first. */
static bool is_first(const struct iotsec_device *dev, const struct iotsec_pair *pair)
{
    size_t own = dev->config->identity_len;
    int order = memcmp(dev->config->identity, pair->identity, own < pair->identity_len ? own : pair->identity_len);

    return order != 0 ? order < 0 : own < pair->identity_len;
}

static bool is_own(const struct iotsec_device *dev, const uint8_t *identity, size_t len)
{
    return len == dev->config->identity_len && memcmp(identity, dev->config->identity, len) == 0;
}

/* Where the manager, or the way to it, is: nobody else may have a session with that address, since there is room for one. */
static bool is_managers(const struct iotsec_device *dev, const struct iotsec_addr *addr)
{
#if IOTSEC_ACCESS
    if (iotsec_addr_equal(addr, &dev->joined_at)) {
        return true;
    }
#endif
    return iotsec_addr_equal(addr, &dev->manager);
}

static enum iotsec_status get_point(const struct iotsec_device *dev, const uint8_t *identity, size_t len,
                                    uint8_t point[IOTSEC_POLY_ELEMENT_BYTES])
{
    return iotsec_polykey_point(dev->config->hal, identity, len, point);
}

/* The point of an identity; and whether it may be talked to: OK, REVOKED, or what went wrong. */
static enum iotsec_status check_peer(const struct iotsec_device *dev, const uint8_t *identity, size_t len,
                                     uint8_t point[IOTSEC_POLY_ELEMENT_BYTES])
{
    enum iotsec_status status = get_point(dev, identity, len, point);

    return status == IOTSEC_OK && iotsec_dev_is_revoked(dev, point) ? IOTSEC_ERR_REVOKED : status;
}

/* The engine's number for an identity: never 0, which is the manager's. */
static uint32_t number_of(const uint8_t point[IOTSEC_POLY_ELEMENT_BYTES])
{
    return iotsec_value_or(iotsec_get_u32(point), 1);
}

/* ---- What the application is told ---- */

/* A copy, because what the application does in the callback may free what it is a copy of. */
static void keep_identity(struct iotsec_peer *peer, uint8_t copy[IOTSEC_IDENTITY_MAX])
{
    memcpy(copy, peer->identity, peer->identity_len);
    peer->identity = copy;
}

static void get_peer(const struct iotsec_device *dev, const struct iotsec_pair *pair, struct iotsec_peer *peer)
{
    peer->identity = pair->identity;
    peer->identity_len = pair->identity_len;
    peer->addr = pair->addr;
    (void)iotsec_dtls_peer(&dev->dtls, pair->session, &peer->addr, NULL); /* if one stands: not where a new one is tried */
}

/* What the event means for the pair, if it is a pair's, and then the event. Runs the application's code; the slot may be
 * anybody's then. */
static void tell(struct iotsec_device *dev, enum iotsec_device_event_kind kind, enum iotsec_status reason,
                 struct iotsec_peer *peer, struct iotsec_pair *pair)
{
    uint8_t identity[IOTSEC_IDENTITY_MAX];
    struct iotsec_device_event event;

    memset(&event, 0, sizeof event);
    event.kind = kind;
    event.reason = reason;
    if (peer->identity_len != 0) {
        event.peer = peer;
        keep_identity(peer, identity);
    }
    if (kind == IOTSEC_DEVICE_PEER_CLOSED) {
        close_session(dev, pair);
        if (pair->queued == 0) {
            end_attempt(dev, pair); /* it was to take the session's place: nobody asked for another one */
        }
        free_if_done(pair);
    } else if (kind == IOTSEC_DEVICE_PEER_FAILED) {
        end_attempt(dev, pair);
        free_if_done(pair);
    }
    dev->flags |= DEVICE_TOUCHED;
    if (dev->config->callbacks->event != NULL) {
        dev->config->callbacks->event(dev->config->user, &event);
    }
}

static void tell_pair(struct iotsec_device *dev, struct iotsec_pair *pair, enum iotsec_device_event_kind kind,
                      enum iotsec_status reason)
{
    struct iotsec_peer peer;

    get_peer(dev, pair, &peer);
    if (kind == IOTSEC_DEVICE_PEER_FAILED) {
        struct iotsec_addr tried = pair->addr;

        pair->addr = peer.addr; /* of the session, if one stands */
        peer.addr = tried;
    }
    tell(dev, kind, reason, &peer, pair);
}

/* Somebody's handshake comes to nothing, and so does the session if it has brought one. `identity` is what it said; of no
 * length, if it said nothing. Runs the application's code. */
static void refuse(struct iotsec_device *dev, iotsec_dtls_handle handle, enum iotsec_status reason, const uint8_t *identity,
                   size_t len)
{
    struct iotsec_peer peer;

    peer.identity = identity;
    peer.identity_len = len;
    (void)iotsec_dtls_peer(&dev->dtls, handle, &peer.addr, NULL);
    (void)iotsec_dtls_close(&dev->dtls, handle, IOTSEC_ALERT_INTERNAL_ERROR);
    tell(dev, IOTSEC_DEVICE_PEER_REFUSED, reason, &peer, NULL);
}

/* The slot of that identity, or a new one: who then finds no use for it calls free_if_done. If need be, the pair that has
 * been silent longest makes room. Runs the application's code. */
static struct iotsec_pair *take_slot(struct iotsec_device *dev, const uint8_t *identity, size_t len)
{
    struct iotsec_pair *pair = find_pair(dev, identity, len);
    struct iotsec_pair *spare = NULL;
    uint32_t now = iotsec_dev_now(dev);
    unsigned i;

    if (pair == NULL && find_pair(dev, identity, 0) == NULL) {
        for (i = 0; (pair = get_slot(dev, i)) != NULL; i++) {
            if (pair->handshake == 0 && pair->flags == 0 && now - pair->used_at >= PAIR_SPARE_MS &&
                (spare == NULL || now - pair->used_at > now - spare->used_at)) {
                spare = pair;
            }
        }
        if (spare != NULL) {
            tell_pair(dev, spare, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_FULL);
        }
        pair = find_pair(dev, identity, len); /* the application may have begun with it just now */
    }
    if (pair == NULL && (pair = find_pair(dev, identity, 0)) != NULL) {
        pair->identity_len = (uint8_t)len;
        memcpy(pair->identity, identity, len);
    }
    return pair;
}

/* ---- device_identity ---- */

/* A -> B, B -> A */
static void choose_generation(const struct iotsec_device *dev, uint8_t *scratch)
{
    const struct iotsec_share *share = iotsec_dev_share(dev, 0);

    if (share != NULL) {
        iotsec_put_u32(scratch + SCRATCH_GENERATION, share->generation);
        if (share->generation > 1 && iotsec_dev_share(dev, share->generation - 1) != NULL) {
            scratch[SCRATCH_FLAGS] |= HELLO_OVERLAP;
        }
    }
}

enum iotsec_status iotsec_dev_write_identity(void *user, const struct iotsec_dtls_hello *hello, uint8_t *out, size_t size,
                                             size_t *len)
{
    const struct iotsec_device *dev = user;
    uint8_t *scratch = hello->scratch;

    if (!hello->is_server) {
        if (hello->peer == 0) {
            return IOTSEC_ERR_NOT_FOUND; /* the manager's */
        }
        if (iotsec_get_u32(scratch + SCRATCH_GENERATION) == 0) {
            choose_generation(dev, scratch);
        }
    }
    if (iotsec_get_u32(scratch + SCRATCH_GENERATION) == 0) {
        return IOTSEC_ERR_NO_SHARE;
    }
    *len = IDENTITY_AT + dev->config->identity_len;
    if (*len > size) {
        return IOTSEC_ERR_BUFFER;
    }
    memcpy(out, scratch + SCRATCH_GENERATION, 4);
    out[4] = (scratch[SCRATCH_FLAGS] & HELLO_OVERLAP) != 0 ? IDENTITY_OVERLAP : 0;
    memcpy(out + IDENTITY_AT, dev->config->identity, dev->config->identity_len);
    return IOTSEC_OK;
}

/* B  ServerHello: whom we want to talk to, and a generation that we have offered. Whether that still serves, `derive` sees. */
static enum iotsec_status take_server(const struct iotsec_device *dev, const struct iotsec_dtls_hello *hello,
                                      uint32_t generation, const uint8_t *identity, size_t len)
{
    const struct iotsec_pair *pair = find_handle(dev, hello->handshake);
    uint32_t behind = iotsec_get_u32(hello->scratch + SCRATCH_GENERATION) - generation;

    if (pair == NULL || len != pair->identity_len || memcmp(identity, pair->identity, len) != 0) {
        return IOTSEC_ERR_PEER_IDENTITY;
    }
    if (behind > ((hello->scratch[SCRATCH_FLAGS] & HELLO_OVERLAP) != 0 ? 1u : 0u)) {
        return IOTSEC_ERR_GENERATION;
    }
    iotsec_put_u32(hello->scratch + SCRATCH_GENERATION, generation);
    hello->scratch[SCRATCH_FLAGS] |= HELLO_TAKEN;
    return IOTSEC_OK;
}

/* A  ClientHello. AGAIN: as if it had been lost */
static enum iotsec_status take_client(struct iotsec_device *dev, const struct iotsec_dtls_hello *hello, uint32_t generation,
                                      bool overlap, const uint8_t *identity, size_t len)
{
    const struct iotsec_share *share = iotsec_dev_share(dev, 0);
    const struct iotsec_pair *pair = find_pair(dev, identity, len);
    uint8_t *scratch = hello->scratch;
    enum iotsec_status status;

    if (share == NULL) {
        return IOTSEC_ERR_AGAIN;
    }
    if (is_own(dev, identity, len)) {
        refuse(dev, hello->handshake, IOTSEC_ERR_PEER_IDENTITY, identity, len);
        return IOTSEC_ERR_AGAIN;
    }
    if (pair != NULL && pair->handshake != 0 && is_first(dev, pair) &&
        iotsec_dtls_incoming(&dev->dtls, &pair->addr, NULL) == hello->handshake) {
        return IOTSEC_ERR_AGAIN; /* both at once: ours is the one that counts */
    }
    status = get_point(dev, identity, len, scratch + SCRATCH_POINT);
    if (status != IOTSEC_OK) {
        return status;
    }
    memcpy(scratch + SCRATCH_MARK, scratch + SCRATCH_POINT + MARK_AT, MARK_BYTES);
    scratch[SCRATCH_FLAGS] = HELLO_TAKEN;
    if (iotsec_dev_share(dev, generation) == NULL) {
        generation--;
        if (!overlap || generation == 0 || iotsec_dev_share(dev, generation) == NULL) {
            generation = share->generation;
            scratch[SCRATCH_FLAGS] |= HELLO_NO_COMMON;
        }
    }
    iotsec_put_u32(scratch + SCRATCH_GENERATION, generation);
    return IOTSEC_OK;
}

enum iotsec_status iotsec_dev_parse_identity(void *user, const struct iotsec_dtls_hello *hello, const uint8_t *body, size_t len)
{
    uint32_t generation;

    if (len <= IDENTITY_AT || len > IDENTITY_AT + IOTSEC_IDENTITY_MAX) {
        return IOTSEC_ERR_DECODE;
    }
    generation = iotsec_get_u32(body);
    if (generation == 0) {
        return IOTSEC_ERR_DECODE;
    }
    len -= IDENTITY_AT;
    return hello->is_server
               ? take_client(user, hello, generation, (body[4] & IDENTITY_OVERLAP) != 0, body + IDENTITY_AT, len)
               : take_server(user, hello, generation, body + IDENTITY_AT, len);
}

/* ---- The keys ---- */

/* PSK of the handshake; the TGK into its scratch, where the point was. */
static enum iotsec_status derive(const struct iotsec_device *dev, uint8_t *scratch, const uint8_t *identity, size_t len,
                                 struct iotsec_dtls_psk *psk)
{
    struct iotsec_polykey_pair pair;
    const struct iotsec_share *share;

    pair.generation = iotsec_get_u32(scratch + SCRATCH_GENERATION);
    share = iotsec_dev_share(dev, pair.generation);
    if (share == NULL) {
        return IOTSEC_ERR_GENERATION;
    }
    pair.share = share->elements;
    pair.degree = share->degree;
    pair.own = dev->config->identity;
    pair.own_len = dev->config->identity_len;
    pair.peer = identity;
    pair.peer_len = len;
    psk->len = IOTSEC_PAIR_PSK_BYTES;
    return iotsec_polykey_keys(dev->config->hal, &pair, psk->key, scratch + SCRATCH_TGK);
}

/* Who has sent ClientKeyExchange, and why it gets no session; or OK. */
static enum iotsec_status check_client(const struct iotsec_device *dev, const uint8_t *scratch, const uint8_t *identity,
                                       size_t len, uint8_t point[IOTSEC_POLY_ELEMENT_BYTES])
{
    if (scratch == NULL || (scratch[SCRATCH_FLAGS] & HELLO_TAKEN) == 0 || get_point(dev, identity, len, point) != IOTSEC_OK) {
        return IOTSEC_ERR_UNKNOWN_IDENTITY;
    }
    if (memcmp(point, scratch + SCRATCH_POINT, IOTSEC_POLY_ELEMENT_BYTES) != 0) {
        return IOTSEC_ERR_PEER_IDENTITY; /* this device itself, too: a hello in its name goes no further than the hello */
    }
    if (iotsec_dev_is_revoked(dev, point)) {
        return IOTSEC_ERR_REVOKED;
    }
    return (scratch[SCRATCH_FLAGS] & HELLO_NO_COMMON) != 0 ? IOTSEC_ERR_GENERATION : IOTSEC_OK;
}

/* B  ClientKeyExchange */
enum iotsec_status iotsec_dev_pair_psk(void *user, iotsec_dtls_handle handshake, const uint8_t *identity, size_t len,
                                       struct iotsec_dtls_psk *psk)
{
    struct iotsec_device *dev = user;
    uint8_t *scratch = iotsec_dtls_scratch(&dev->dtls, handshake);
    uint8_t point[IOTSEC_POLY_ELEMENT_BYTES];
    enum iotsec_status status = check_client(dev, scratch, identity, len, point);

    if (status == IOTSEC_OK) {
        psk->peer = number_of(point);
        status = derive(dev, scratch, identity, len, psk);
    }
    if (status != IOTSEC_OK) {
        refuse(dev, handshake, status, identity, len);
        return IOTSEC_ERR_UNKNOWN_IDENTITY; /* the wire shows a wrong key, whatever the reason is */
    }
    return IOTSEC_OK;
}

/* A  ServerHelloDone */
enum iotsec_status iotsec_dev_pair_client_psk(void *user, const struct iotsec_dtls_hello *hello, struct iotsec_dtls_psk *psk)
{
    const struct iotsec_device *dev = user;
    const struct iotsec_pair *pair = find_handle(dev, hello->handshake);
    uint8_t point[IOTSEC_POLY_ELEMENT_BYTES];
    enum iotsec_status status;

    if (pair == NULL || (hello->scratch[SCRATCH_FLAGS] & HELLO_TAKEN) == 0) {
        return IOTSEC_ERR_PEER_IDENTITY; /* a server, but no device */
    }
    status = check_peer(dev, pair->identity, pair->identity_len, point);
    return status != IOTSEC_OK ? status : derive(dev, hello->scratch, pair->identity, pair->identity_len, psk);
}

/* ---- Opening ---- */

/* Both at once: whether this device's handshake has to wait for the one that the peer has begun. */
static bool must_wait(struct iotsec_device *dev, struct iotsec_pair *pair, const uint8_t point[IOTSEC_POLY_ELEMENT_BYTES])
{
    uint32_t now = iotsec_dev_now(dev);
    int proved;
    iotsec_dtls_handle theirs = iotsec_dtls_incoming(&dev->dtls, &pair->addr, &proved);
    const uint8_t *scratch = iotsec_dtls_scratch(&dev->dtls, theirs);

    if (scratch == NULL || !is_first(dev, pair) || memcmp(scratch + SCRATCH_MARK, point + MARK_AT, MARK_BYTES) != 0) {
        return false;
    }
    if (pair->flags == 0) {
        pair->wait_until = now + IOTSEC_HALF_OPEN_TIMEOUT_MS;
    }
    if (proved && !iotsec_time_reached(now, pair->wait_until)) {
        pair->flags = PAIR_WAITS;
        return true;
    }
    (void)iotsec_dtls_cancel(&dev->dtls, theirs); /* anybody may have sent it, or it takes too long */
    return false;
}

bool iotsec_dev_pairs_make_room(struct iotsec_device *dev)
{
    struct iotsec_pair *pair;
    unsigned i;

    for (i = 0; (pair = get_slot(dev, i)) != NULL; i++) {
        if (pair->handshake != 0 && pair->queued == 0) {
            end_attempt(dev, pair);
            return true;
        }
    }
    return false;
}

/* Whether the last free slot is the manager's: iotsec_dev_connect has found none, or is due, and tries soon. Who begins with
 * the next peer as soon as one has failed would be faster each time. */
static bool is_for_manager(const struct iotsec_device *dev)
{
    return dev->state != DEVICE_IDLE && dev->session == 0 && dev->handshake == 0 &&
           dev->dtls.handshakes_used + 1u >= dev->config->handshake_count &&
           iotsec_time_left(iotsec_dev_now(dev), dev->contact_at) <= IOTSEC_RETRANSMIT_INITIAL_MS;
}

/* A handshake to where the peer is expected, in place of the one that may run; or the peer's own is waited for. */
static enum iotsec_status begin(struct iotsec_device *dev, struct iotsec_pair *pair)
{
    const struct iotsec_device_config *config = dev->config;
    uint8_t point[IOTSEC_POLY_ELEMENT_BYTES];
    enum iotsec_status status = get_point(dev, pair->identity, pair->identity_len, point);

    (void)iotsec_dtls_cancel(&dev->dtls, pair->handshake);
    pair->handshake = 0;
    if (status != IOTSEC_OK || must_wait(dev, pair, point)) {
        return status;
    }
    if (is_managers(dev, &pair->addr)) {
        return IOTSEC_ERR_EXISTS; /* since it was asked for */
    }
    pair->flags = 0;
    if (is_for_manager(dev)) {
        return IOTSEC_ERR_AGAIN;
    }
    do {
        status = iotsec_dtls_connect(&dev->dtls, &pair->addr, config->identity, config->identity_len, NULL, 0, number_of(point),
                                     &pair->handshake);
    } while (status == IOTSEC_ERR_FULL && pair->queued != 0 && iotsec_dev_pairs_make_room(dev));
    /* a handshake with another one at that address is as good as no free slot: it passes */
    return status == IOTSEC_ERR_EXISTS || status == IOTSEC_ERR_FULL ? IOTSEC_ERR_AGAIN : status;
}

/* What is due to a session that was just made: keys, and the message that waited. */
static void open_pair(struct iotsec_device *dev, struct iotsec_pair *pair, const struct iotsec_dtls_info *info)
{
    close_session(dev, pair); /* an older one, from another address */
    (void)iotsec_dtls_cancel(&dev->dtls, pair->handshake);
    pair->handshake = 0;
    pair->flags = 0;
    pair->session = info->session;
    pair->addr = *info->addr;
    pair->used_at = pair->doubted_at = iotsec_dev_now(dev);
    pair->generation = iotsec_get_u32(info->scratch + SCRATCH_GENERATION);
    pair->csb.csb_id = iotsec_get_u32(info->exported);
    memcpy(pair->csb.rand, info->exported + 4, sizeof pair->csb.rand);
    memcpy(pair->csb.tgk, info->scratch + SCRATCH_TGK, sizeof pair->csb.tgk);
    if (pair->queued != 0) {
        /* config_is_sound has seen to it that a record holds it; a send that fails is a loss */
        (void)iotsec_dtls_send(&dev->dtls, pair->session, IOTSEC_CONTENT_APPLICATION_DATA, message_of(dev, pair), pair->queued);
        drop_message(dev, pair);
    }
}

/* Whether a session may begin now: much may have changed since the keys were made. */
static enum iotsec_status check_session(const struct iotsec_device *dev, const struct iotsec_dtls_info *info,
                                        const struct iotsec_pair *pair)
{
    uint8_t point[IOTSEC_POLY_ELEMENT_BYTES];
    enum iotsec_status status = check_peer(dev, pair->identity, pair->identity_len, point);

    if (status != IOTSEC_OK) {
        return status;
    }
    if (iotsec_dev_share(dev, iotsec_get_u32(info->scratch + SCRATCH_GENERATION)) == NULL) {
        return IOTSEC_ERR_GENERATION;
    }
    return is_managers(dev, info->addr) ? IOTSEC_ERR_EXISTS : IOTSEC_OK;
}

/* A -> B, B -> A  Finished. (If the session has replaced one of another identity at the same address, that one's handle names
 * nothing any more: iotsec_dev_pair_poll tells.) */
void iotsec_dev_pair_established(struct iotsec_device *dev, const struct iotsec_dtls_info *info)
{
    struct iotsec_pair *pair =
        info->is_server ? take_slot(dev, info->identity, info->identity_len) : find_handle(dev, info->handshake);
    enum iotsec_status status = pair != NULL ? check_session(dev, info, pair) : IOTSEC_ERR_FULL;

    if (status == IOTSEC_OK) {
        open_pair(dev, pair, info);
        tell_pair(dev, pair, IOTSEC_DEVICE_PEER_OPEN, IOTSEC_OK);
        return;
    }
    if (!info->is_server) {
        (void)iotsec_dtls_close(&dev->dtls, info->session, IOTSEC_ALERT_INTERNAL_ERROR);
        if (pair != NULL) {
            tell_pair(dev, pair, IOTSEC_DEVICE_PEER_FAILED, status);
        }
        return;
    }
    if (pair != NULL) {
        free_if_done(pair);
    }
    refuse(dev, info->session, status, info->identity, info->identity_len);
}

/* Whether its session stands with that address. */
static bool stands_at(const struct iotsec_device *dev, const struct iotsec_pair *pair, const struct iotsec_addr *addr)
{
    struct iotsec_addr at;

    return iotsec_dtls_peer(&dev->dtls, pair->session, &at, NULL) == IOTSEC_OK && iotsec_addr_equal(&at, addr);
}

/* Inside input and poll, records are packed, and leave at the end of it. */
static enum iotsec_status flush(struct iotsec_device *dev)
{
    return (dev->flags & DEVICE_BUSY) != 0 ? IOTSEC_OK : iotsec_dtls_flush(&dev->dtls);
}

static enum iotsec_status send_in_session(struct iotsec_device *dev, struct iotsec_pair *pair, const uint8_t *data, size_t len)
{
    enum iotsec_status status =
        iotsec_dtls_send(&dev->dtls, pair->session, IOTSEC_CONTENT_APPLICATION_DATA, data, len);

    if (status != IOTSEC_OK) {
        return status;
    }
    pair->used_at = iotsec_dev_now(dev);
    return flush(dev);
}

/* The peer is said to be elsewhere than where it is being tried: what is queued goes there. */
static void redirect(struct iotsec_device *dev, struct iotsec_pair *pair, const struct iotsec_addr *addr)
{
    if (iotsec_addr_equal(&pair->addr, addr)) {
        return;
    }
    pair->addr = *addr;
    pair->flags = 0;
    if (begin(dev, pair) != IOTSEC_OK) {
        pair->flags = PAIR_WAITS; /* iotsec_poll tries once more, and tells */
        pair->wait_until = iotsec_dev_now(dev);
    }
}

/* A slot for the peer, the message queued in it, and a handshake. Runs the application's code if another pair makes room. */
static enum iotsec_status open_and_queue(struct iotsec_device *dev, const struct iotsec_peer *to, const uint8_t *data,
                                         size_t len)
{
    uint8_t busy = dev->flags & DEVICE_BUSY;
    struct iotsec_pair *pair;
    enum iotsec_status status;

    dev->flags |= DEVICE_BUSY; /* as in every other callback */
    pair = take_slot(dev, to->identity, to->identity_len);
    dev->flags = (uint8_t)((dev->flags & ~DEVICE_BUSY) | busy);
    if (pair == NULL) {
        return IOTSEC_ERR_FULL;
    }
    if (pair->queued != 0) {
        redirect(dev, pair, &to->addr);
        return IOTSEC_ERR_AGAIN;
    }
    pair->addr = to->addr;
    memcpy(message_of(dev, pair), data, len);
    pair->queued = (uint16_t)len;
    dev->flags |= DEVICE_TOUCHED;
    status = begin(dev, pair);
    if (status != IOTSEC_OK) {
        end_attempt(dev, pair);
        free_if_done(pair);
    }
    return status;
}

enum iotsec_status iotsec_send(struct iotsec_device *device, const struct iotsec_peer *peer, const uint8_t *data, size_t len)
{
    uint8_t point[IOTSEC_POLY_ELEMENT_BYTES];
    struct iotsec_pair *pair;
    enum iotsec_status status;

    if (device == NULL || peer == NULL || peer->identity == NULL || peer->identity_len < 1 ||
        peer->identity_len > IOTSEC_IDENTITY_MAX || data == NULL || len == 0 || iotsec_addr_is_multicast(&peer->addr) ||
        is_own(device, peer->identity, peer->identity_len) || is_managers(device, &peer->addr)) {
        return IOTSEC_ERR_ARGUMENT;
    }
    if (device->config->pair_count == 0) {
        return IOTSEC_ERR_UNSUPPORTED;
    }
    if (iotsec_dev_share(device, 0) == NULL) {
        return IOTSEC_ERR_NO_SHARE;
    }
    pair = find_pair(device, peer->identity, peer->identity_len);
    if (pair != NULL && stands_at(device, pair, &peer->addr)) {
        status = send_in_session(device, pair, data, len); /* had the peer been revoked, it would stand no more */
        if (status != IOTSEC_ERR_COUNTER) {
            return status;
        }
        close_session(device, pair); /* it is used up, and gone */
        free_if_done(pair);
    }
    status = check_peer(device, peer->identity, peer->identity_len, point);
    if (status != IOTSEC_OK) {
        return status;
    }
    return len > device->config->pair_message_size ? IOTSEC_ERR_TOO_LONG : open_and_queue(device, peer, data, len);
}

enum iotsec_status iotsec_peer_close(struct iotsec_device *device, const uint8_t *identity, size_t identity_len)
{
    struct iotsec_pair *pair;

    if (device == NULL || identity == NULL || identity_len == 0) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    pair = find_pair(device, identity, identity_len);
    if (pair == NULL) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    forget_pair(device, pair);
    device->flags |= DEVICE_TOUCHED;
    (void)flush(device);
    return IOTSEC_OK;
}

enum iotsec_status iotsec_peer_key(const struct iotsec_device *device, const uint8_t *identity, size_t identity_len,
                                   uint8_t cs_id, uint8_t key[IOTSEC_KEY_BYTES])
{
    const struct iotsec_pair *pair = NULL;

    if (cs_id == 0 || key == NULL) {
        return IOTSEC_ERR_ARGUMENT;
    }
    if (device != NULL && identity != NULL && identity_len != 0) {
        pair = find_pair(device, identity, identity_len);
    }
    if (pair == NULL || pair->session == 0) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    return iotsec_csb_purpose_key(device->config->hal, cs_id, pair->csb.csb_id, pair->csb.tgk, pair->csb.rand, key);
}

/* ---- What happens to handshakes and sessions ---- */

void iotsec_dev_pair_event(struct iotsec_device *dev, iotsec_dtls_handle handle, enum iotsec_device_event_kind kind,
                           enum iotsec_status reason)
{
    struct iotsec_pair *pair = find_handle(dev, handle);

    if (pair != NULL) {
        tell_pair(dev, pair, kind, reason);
    } else if (kind == IOTSEC_DEVICE_PEER_FAILED && reason == IOTSEC_ERR_WRONG_PSK) {
        /* An unknown identity was told, with its reason, at the look-up; the rest may be loss. */
        refuse(dev, handle, reason, NULL, 0);
    }
}

/* Anybody can make an alert in plaintext, and what makes a handshake fail. What they bring about is one handshake now and
 * then, in which a peer that has lost the session gets a new one, and one that has not a newer one; it stands until then. */
void iotsec_dev_pair_doubted(void *user, iotsec_dtls_handle session)
{
    struct iotsec_device *dev = user;
    struct iotsec_pair *pair = find_handle(dev, session);
    uint32_t now = iotsec_dev_now(dev);

    if (pair != NULL && pair->handshake == 0 && pair->flags == 0 && now - pair->doubted_at >= PAIR_DOUBT_MS) {
        pair->doubted_at = now;
        (void)iotsec_dtls_peer(&dev->dtls, session, &pair->addr, NULL); /* not where a message could not be queued for */
        (void)begin(dev, pair); /* if there is no room now, the next message brings the next doubt */
        dev->flags |= DEVICE_TOUCHED;
    }
}

void iotsec_dev_pair_content(struct iotsec_device *dev, iotsec_dtls_handle session, const uint8_t *data, size_t len)
{
    struct iotsec_pair *pair = find_handle(dev, session);
    uint8_t identity[IOTSEC_IDENTITY_MAX];
    struct iotsec_peer peer;

    if (pair == NULL) {
        (void)iotsec_dev_drop(dev, IOTSEC_DROP_NOT_ALLOWED);
        return;
    }
    pair->used_at = iotsec_dev_now(dev);
    if (len == 0 || dev->config->callbacks->receive == NULL) {
        return;
    }
    get_peer(dev, pair, &peer);
    keep_identity(&peer, identity);
    dev->flags |= DEVICE_TOUCHED;
    dev->config->callbacks->receive(dev->config->user, &peer, data, len);
}

void iotsec_dev_pairs_yield(struct iotsec_device *dev, const struct iotsec_addr *addr)
{
    struct iotsec_pair *pair;
    unsigned i;

    for (i = 0; (pair = get_slot(dev, i)) != NULL; i++) {
        if (stands_at(dev, pair, addr)) {
            (void)iotsec_dtls_close(&dev->dtls, pair->session, IOTSEC_ALERT_CLOSE_NOTIFY);
        }
        if (pair->handshake != 0 && iotsec_addr_equal(&pair->addr, addr)) {
            (void)iotsec_dtls_cancel(&dev->dtls, pair->handshake);
            pair->handshake = 0;
            pair->flags = PAIR_WAITS;
            pair->wait_until = iotsec_dev_now(dev);
        }
    }
}

void iotsec_dev_pairs_forget(struct iotsec_device *dev)
{
    struct iotsec_pair *pair;
    unsigned i;

    for (i = 0; (pair = get_slot(dev, i)) != NULL; i++) {
        forget_pair(dev, pair);
    }
}

/* Ends one thing that may not go on, and tells. False: there is none. Runs the application's code. */
static bool review_pair(struct iotsec_device *dev, struct iotsec_pair *pair)
{
    uint8_t point[IOTSEC_POLY_ELEMENT_BYTES];
    enum iotsec_status reason = IOTSEC_OK;

    if (pair->identity_len == 0) {
        return false;
    }
    if (check_peer(dev, pair->identity, pair->identity_len, point) != IOTSEC_OK) {
        reason = IOTSEC_ERR_REVOKED;
    } else if (pair->session != 0 && iotsec_dev_share(dev, pair->generation) == NULL) {
        reason = IOTSEC_ERR_GENERATION;
    }
    if (reason == IOTSEC_OK) {
        return false;
    }
    tell_pair(dev, pair, pair->session != 0 ? IOTSEC_DEVICE_PEER_CLOSED : IOTSEC_DEVICE_PEER_FAILED, reason);
    return true;
}

void iotsec_dev_pairs_review(struct iotsec_device *dev)
{
    struct iotsec_pair *pair;
    unsigned i;

    for (i = 0; (pair = get_slot(dev, i)) != NULL; i++) {
        while (review_pair(dev, pair)) {
            /* nothing more to do: whoever has the slot now is looked at, too */
        }
    }
}

void iotsec_dev_pair_poll(struct iotsec_device *dev)
{
    uint32_t idle = iotsec_value_or(dev->config->pair_idle_ms, IOTSEC_PAIR_IDLE_MS);
    struct iotsec_pair *pair;
    unsigned i;

    for (i = 0; (pair = get_slot(dev, i)) != NULL; i++) {
        if (pair->session != 0) {
            /* somebody else has its address now */
            bool gone = iotsec_dtls_peer(&dev->dtls, pair->session, NULL, NULL) != IOTSEC_OK;

            if (gone || iotsec_dev_due(dev, pair->used_at + idle)) {
                tell_pair(dev, pair, IOTSEC_DEVICE_PEER_CLOSED, gone ? IOTSEC_ERR_EXISTS : IOTSEC_ERR_TIMEOUT);
            }
        }
        if (pair->flags != 0) {
            enum iotsec_status status = begin(dev, pair);

            if (status != IOTSEC_OK) {
                tell_pair(dev, pair, IOTSEC_DEVICE_PEER_FAILED, status == IOTSEC_ERR_AGAIN ? IOTSEC_ERR_RESOURCES : status);
            }
        }
        if (pair->flags != 0) {
            dev->wait = iotsec_min_u32(dev->wait, PAIR_LOOK_MS);
        }
    }
}

#endif
