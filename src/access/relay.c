/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The relay element (docs/protocol.md, section 12).
 *
 *     neighbour            relay                                     manager
 *     datagram  -------->  stateful: from the neighbour's own port   -------->
 *                          stateless: 82 | header | datagram         -------->
 *     datagram  <--------  the port, or the header, tells which      <--------
 *
 *     header = key ID(1), interface identifier(8), port(2), interface(2), MAC(8)
 *     slot   = version(1), key ID(1), has previous(1), key(16), previous key(16), CRC-32(4)
 */
#include <iotsec/relay.h>

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "base/table.h"
#include "hal/crypto.h"
#include "record/join_proxy.h"

#if IOTSEC_ROLE_RELAY

#define HEADER_IID_AT 1u
#define HEADER_PORT_AT 9u
#define HEADER_INTERFACE_AT 11u
#define HEADER_MAC_AT 13u

#define SLOT_VERSION 1u
#define SLOT_KEY_AT 3u
#define SLOT_PREVIOUS_AT (SLOT_KEY_AT + IOTSEC_KEY_BYTES)
#define SLOT_CRC_AT (SLOT_PREVIOUS_AT + IOTSEC_KEY_BYTES)
#define SLOT_BYTES (SLOT_CRC_AT + 4u)

#define OPEN_SECONDS_MAX 1000000u
#define ENTRIES_MAX 1024u
#define BUCKETS_MAX 65534u
/* A joiner repeats its flights every 0.5 to 4 s: one that was heard just now keeps its entry. */
#define ENTRY_KEEP_MS 2000u
/* Nobody shares a flooder's bucket for longer. */
#define SEED_MS 30000u

/* What the configuration's zeros stand for. */
#define NEIGHBOUR_RATE 8u
#define NEIGHBOUR_BURST 24u
#define ALL_RATE 64u
#define ALL_BURST 128u

/* States: bit 0, something happens at `until`; bit 1, joining is open. */
#define STATE_TIMED 1u /* closed, but replies to what came before may still be under way */
#define STATE_OPEN 2u

/* No reason to drop it. */
#define PASSED IOTSEC_RELAY_DROP_COUNT

/* Ways: an index of a bucket's tokens. */
enum { UP, DOWN };

/* RFC 4291, section 2.5.6: the 54 bits behind the first ten are zero, so eight bytes say all of an address. */
static const uint8_t link_local_prefix[8] = { 0xFE, 0x80 };

enum iotsec_relay_verdict iotsec_relay_decide(int l2_secured, int link_local, int join_port, int joining,
                                              enum iotsec_relay_drop *why)
{
    enum iotsec_relay_drop reason;

    if (join_port) {
        if (joining && link_local) {
            return IOTSEC_RELAY_PASS;
        }
        reason = joining ? IOTSEC_RELAY_DROP_NOT_LINK_LOCAL : IOTSEC_RELAY_DROP_CLOSED;
    } else {
        if (l2_secured) {
            return IOTSEC_RELAY_NORMAL;
        }
        reason = IOTSEC_RELAY_DROP_NOT_SECURED;
    }
    if (why != NULL) {
        *why = reason;
    }
    return IOTSEC_RELAY_DROP;
}

/* ---- Time ---- */

static uint32_t now_of(const struct iotsec_relay *relay)
{
    return relay->config->hal->now_ms(relay->config->hal->user);
}

static bool is_stateful(const struct iotsec_relay *relay)
{
    return relay->config->mode == IOTSEC_RELAY_STATEFUL;
}

/* Does what is due, and tells when it wants to be called again. */
static uint32_t tick(struct iotsec_relay *relay, uint32_t now)
{
    const struct iotsec_relay_config *config = relay->config;
    uint32_t idle_ms = iotsec_value_or(config->idle_ms, IOTSEC_RELAY_IDLE_MS);
    uint32_t wait = UINT32_MAX;
    uint16_t i;

    while ((relay->state & STATE_TIMED) != 0 && iotsec_time_reached(now, relay->until)) {
        relay->until += IOTSEC_RELAY_IDLE_MS;
        relay->state = (relay->state & STATE_OPEN) != 0 ? STATE_TIMED : 0;
    }
    if ((relay->state & STATE_TIMED) != 0) {
        wait = iotsec_time_left(now, relay->until);
    }
    for (i = 0; is_stateful(relay) && i < config->entry_count; i++) {
        struct iotsec_relay_entry *entry = &config->entries[i];
        uint32_t silent = now - entry->used_at;

        if (entry->used && silent >= idle_ms) {
            entry->used = 0;
        }
        if (entry->used) {
            wait = iotsec_min_u32(wait, idle_ms - silent);
        }
    }
    return wait;
}

uint32_t iotsec_relay_poll(struct iotsec_relay *relay)
{
    return tick(relay, now_of(relay));
}

static void set_state(struct iotsec_relay *relay, uint8_t state, uint32_t ms)
{
    relay->state = state;
    relay->until = now_of(relay) + ms;
}

enum iotsec_status iotsec_relay_open(struct iotsec_relay *relay, uint32_t seconds)
{
    if (seconds > OPEN_SECONDS_MAX) {
        return IOTSEC_ERR_ARGUMENT;
    }
    set_state(relay, seconds != 0 ? STATE_OPEN | STATE_TIMED : STATE_OPEN, seconds * 1000u);
    return IOTSEC_OK;
}

int iotsec_relay_is_open(const struct iotsec_relay *relay)
{
    return relay->state == STATE_OPEN ||
           (relay->state == (STATE_OPEN | STATE_TIMED) && !iotsec_time_reached(now_of(relay), relay->until));
}

void iotsec_relay_close(struct iotsec_relay *relay)
{
    /* closing what is closed does not put the next rotation off */
    if (iotsec_relay_is_open(relay)) {
        set_state(relay, STATE_TIMED, IOTSEC_RELAY_IDLE_MS);
    }
}

/* ---- Rates ---- */

/* Tokens are counted in thousandths, so that rate * milliseconds is exact and nothing is lost between two calls. */
static void fill_bucket(struct iotsec_relay_bucket *bucket, uint32_t now, uint32_t rate, uint32_t burst)
{
    uint32_t elapsed = now - bucket->filled_at;
    unsigned way;

    burst *= 1000u;
    for (way = UP; way <= DOWN; way++) {
        /* the product is taken only where it fits into what is missing */
        bucket->tokens[way] =
            elapsed > (burst - bucket->tokens[way]) / rate ? burst : bucket->tokens[way] + elapsed * rate;
    }
    bucket->filled_at = now;
}

/* Draws a new seed. Buckets of the old one say nothing about anybody, so all of them are full again. */
static bool change_seed(struct iotsec_relay *relay, uint32_t now)
{
    const struct iotsec_relay_config *config = relay->config;
    uint32_t seed;
    uint16_t i;

    if (config->hal->random(config->hal->user, (uint8_t *)&seed, sizeof seed) < 0) {
        return false;
    }
    relay->seed = seed;
    relay->seeded_at = now;
    for (i = 0; i < config->bucket_count; i++) {
        struct iotsec_relay_bucket *bucket = &config->buckets[i];

        bucket->filled_at = now;
        bucket->tokens[UP] = bucket->tokens[DOWN] = 1000u * iotsec_value_or(config->neighbour_burst, NEIGHBOUR_BURST);
    }
    return true;
}

/* Takes a token of the neighbour's bucket and one of everybody's, or none. */
static enum iotsec_relay_drop take_tokens(struct iotsec_relay *relay, const struct iotsec_addr *neighbour, unsigned way,
                                          uint32_t now)
{
    const struct iotsec_relay_config *config = relay->config;
    struct iotsec_relay_bucket *bucket;
    uint32_t hash;

    if (now - relay->seeded_at >= SEED_MS) {
        (void)change_seed(relay, now); /* without random numbers the old one does for a while longer */
    }
    /* not over the UDP port: a neighbour has 65535 of them */
    hash = iotsec_table_hash(relay->seed, neighbour->ip, sizeof neighbour->ip);
    bucket = &config->buckets[(hash >> 16) * config->bucket_count >> 16];
    fill_bucket(bucket, now, iotsec_value_or(config->neighbour_rate, NEIGHBOUR_RATE),
                iotsec_value_or(config->neighbour_burst, NEIGHBOUR_BURST));
    fill_bucket(&relay->all, now, iotsec_value_or(config->rate, ALL_RATE), iotsec_value_or(config->burst, ALL_BURST));
    if (bucket->tokens[way] < 1000u) {
        return IOTSEC_RELAY_DROP_NEIGHBOUR_RATE;
    }
    if (relay->all.tokens[way] < 1000u) {
        return IOTSEC_RELAY_DROP_RATE;
    }
    bucket->tokens[way] -= 1000u;
    relay->all.tokens[way] -= 1000u;
    return PASSED;
}

/* ---- Stateless: the key and the header ---- */

static void adopt_slot(struct iotsec_relay *relay, const uint8_t slot[SLOT_BYTES])
{
    relay->key_id = slot[1];
    relay->has_previous = slot[2];
    memcpy(relay->key, slot + SLOT_KEY_AT, IOTSEC_KEY_BYTES);
    memcpy(relay->previous, slot + SLOT_PREVIOUS_AT, IOTSEC_KEY_BYTES);
}

/* Draws a key in the place of the last one, which is kept. Nothing changes before it is durable. */
static enum iotsec_status renew_key(struct iotsec_relay *relay, uint8_t has_previous)
{
    const struct iotsec_relay_config *config = relay->config;
    const struct iotsec_hal *hal = config->hal;
    enum iotsec_status status = IOTSEC_OK;
    uint8_t slot[SLOT_BYTES];

    slot[0] = SLOT_VERSION;
    slot[1] = (uint8_t)(relay->key_id + 1);
    slot[2] = has_previous;
    memcpy(slot + SLOT_PREVIOUS_AT, relay->key, IOTSEC_KEY_BYTES);
    if (hal->random(hal->user, slot + SLOT_KEY_AT, IOTSEC_KEY_BYTES) < 0) {
        status = IOTSEC_ERR_RANDOM;
    } else {
        iotsec_put_u32(slot + SLOT_CRC_AT, iotsec_crc32(slot, SLOT_CRC_AT));
        if (config->keep_key && hal->nvm_write(hal->user, config->nvm_slot, slot, sizeof slot) != 0) {
            status = IOTSEC_ERR_NVM;
        } else {
            adopt_slot(relay, slot);
        }
    }
    iotsec_wipe(slot, sizeof slot);
    return status;
}

/* False: there is nothing in it that can be trusted. */
static bool load_key(struct iotsec_relay *relay)
{
    const struct iotsec_hal *hal = relay->config->hal;
    uint8_t slot[SLOT_BYTES];
    bool sound;

    sound = hal->nvm_read(hal->user, relay->config->nvm_slot, slot, sizeof slot) == (int)sizeof slot &&
            slot[0] == SLOT_VERSION && iotsec_get_u32(slot + SLOT_CRC_AT) == iotsec_crc32(slot, SLOT_CRC_AT);
    if (sound) {
        adopt_slot(relay, slot);
    }
    iotsec_wipe(slot, sizeof slot);
    return sound;
}

/* Writes the MAC, and what HMAC-SHA-256 gives beyond it, behind a header's first 13 bytes. */
static bool make_mac(const struct iotsec_relay *relay, const uint8_t key[IOTSEC_KEY_BYTES], const uint8_t header[HEADER_MAC_AT],
                     uint8_t mac[32])
{
    struct iotsec_slice parts[2]; /* the first belongs to iotsec_hmac */

    parts[1].data = header;
    parts[1].len = HEADER_MAC_AT;
    return iotsec_hmac(relay->config->hal, key, IOTSEC_KEY_BYTES, parts, 2, mac) == IOTSEC_OK;
}

static enum iotsec_relay_drop send_wrapped(struct iotsec_relay *relay, const struct iotsec_addr *from, const uint8_t *data,
                                           size_t len)
{
    const struct iotsec_relay_config *config = relay->config;
    uint8_t header[HEADER_MAC_AT + 32];
    size_t overhead = iotsec_join_proxy_overhead(IOTSEC_RELAY_HEADER_BYTES, len);

    header[0] = relay->key_id;
    memcpy(header + HEADER_IID_AT, from->ip + 8, 8);
    iotsec_put_u16(header + HEADER_PORT_AT, from->port);
    iotsec_put_u16(header + HEADER_INTERFACE_AT, from->interface);
    if (!make_mac(relay, relay->key, header, header + HEADER_MAC_AT)) {
        return IOTSEC_RELAY_DROP_CRYPTO;
    }
    iotsec_join_proxy_write(config->tx, header, IOTSEC_RELAY_HEADER_BYTES, len);
    memcpy(config->tx + overhead, data, len);
    return config->callbacks->send_up(config->user, 0, &config->manager, config->tx, overhead + len) < 0
               ? IOTSEC_RELAY_DROP_SEND
               : PASSED;
}

/* Verifies a header, and says whose it is. */
static enum iotsec_relay_drop open_header(const struct iotsec_relay *relay, const uint8_t *header, size_t len,
                                          struct iotsec_addr *neighbour)
{
    const uint8_t *key = relay->key;
    enum iotsec_relay_drop reason = PASSED;
    uint8_t mac[32];

    if (len != IOTSEC_RELAY_HEADER_BYTES) {
        return IOTSEC_RELAY_DROP_HEADER;
    }
    if (header[0] != relay->key_id) {
        key = relay->previous; /* another ID than its own fails there, since the MAC covers it */
        if (!relay->has_previous) {
            return IOTSEC_RELAY_DROP_HEADER;
        }
    }
    if (!make_mac(relay, key, header, mac)) {
        reason = IOTSEC_RELAY_DROP_CRYPTO;
    } else if (!iotsec_ct_equal(mac, header + HEADER_MAC_AT, IOTSEC_RELAY_HEADER_BYTES - HEADER_MAC_AT)) {
        reason = IOTSEC_RELAY_DROP_HEADER;
    } else {
        memcpy(neighbour->ip, link_local_prefix, 8);
        memcpy(neighbour->ip + 8, header + HEADER_IID_AT, 8);
        neighbour->port = iotsec_get_u16(header + HEADER_PORT_AT);
        neighbour->interface = iotsec_get_u16(header + HEADER_INTERFACE_AT);
    }
    /* the MAC of a header that somebody has guessed at is a secret */
    iotsec_wipe(mac, sizeof mac);
    return reason;
}

/* ---- Stateful: the table ---- */

/* The neighbour's entry; a new neighbour gets a free one, or that of whoever has been silent for longest. NULL: none. */
static struct iotsec_relay_entry *entry_of(const struct iotsec_relay_config *config, const struct iotsec_addr *neighbour,
                                           uint32_t now)
{
    struct iotsec_relay_entry *best = NULL;
    uint32_t best_silent = ENTRY_KEEP_MS - 1;
    uint16_t i;

    for (i = 0; i < config->entry_count; i++) {
        struct iotsec_relay_entry *entry = &config->entries[i];
        uint32_t silent = entry->used ? now - entry->used_at : UINT32_MAX;

        if (entry->used && iotsec_addr_equal(&entry->neighbour, neighbour)) {
            return entry;
        }
        if (silent > best_silent) {
            best = entry;
            best_silent = silent;
        }
    }
    if (best != NULL) {
        best->neighbour = *neighbour;
        best->used = 1;
    }
    return best;
}

static enum iotsec_relay_drop send_from_entry(struct iotsec_relay *relay, const struct iotsec_addr *from, const uint8_t *data,
                                              size_t len, uint32_t now)
{
    const struct iotsec_relay_config *config = relay->config;
    struct iotsec_relay_entry *entry = entry_of(config, from, now);

    if (entry == NULL) {
        return IOTSEC_RELAY_DROP_FULL;
    }
    entry->used_at = now;
    return config->callbacks->send_up(config->user, (uint16_t)(entry - config->entries), &config->manager, data, len) < 0
               ? IOTSEC_RELAY_DROP_SEND
               : PASSED;
}

/* ---- Both ways ---- */

/* Counts what became of a datagram. */
static enum iotsec_status account(struct iotsec_relay *relay, enum iotsec_relay_drop reason, uint32_t *passed)
{
    /* in the order of the reasons */
    static const int8_t statuses[IOTSEC_RELAY_DROP_COUNT] = {
        IOTSEC_ERR_UNEXPECTED, IOTSEC_ERR_UNEXPECTED, IOTSEC_ERR_UNEXPECTED, IOTSEC_ERR_DECODE, IOTSEC_ERR_UNEXPECTED,
        IOTSEC_ERR_AGAIN,      IOTSEC_ERR_AGAIN,      IOTSEC_ERR_FULL,       IOTSEC_ERR_UNEXPECTED, IOTSEC_ERR_AUTH,
        IOTSEC_ERR_NOT_FOUND,  IOTSEC_ERR_SEND,       IOTSEC_ERR_CRYPTO
    };

    if (reason == PASSED) {
        *passed += *passed != UINT32_MAX;
        return IOTSEC_OK;
    }
    if (relay->stats.drops[reason] != UINT16_MAX) {
        relay->stats.drops[reason]++;
    }
    return (enum iotsec_status)statuses[reason];
}

static bool may_pass(const uint8_t *data, size_t len)
{
    return iotsec_join_proxy_is_dtls(data, len) && len <= IOTSEC_RELAY_CONTENT_MAX;
}

static enum iotsec_relay_drop pass_up(struct iotsec_relay *relay, const struct iotsec_addr *from, int l2_secured,
                                      const uint8_t *data, size_t len)
{
    const struct iotsec_relay_config *config = relay->config;
    uint32_t now = now_of(relay);
    enum iotsec_relay_drop reason;

    (void)tick(relay, now);
    if (iotsec_relay_decide(l2_secured, memcmp(from->ip, link_local_prefix, sizeof link_local_prefix) == 0, 1,
                            (relay->state & STATE_OPEN) != 0, &reason) != IOTSEC_RELAY_PASS) {
        /* never link-local, but worth a name of its own: what is meant for the manager comes round */
        return reason == IOTSEC_RELAY_DROP_NOT_LINK_LOCAL && memcmp(from->ip, config->manager.ip, sizeof from->ip) == 0
                   ? IOTSEC_RELAY_DROP_LOOP
                   : reason;
    }
    if (iotsec_join_proxy_is(data, len)) {
        return IOTSEC_RELAY_DROP_LOOP;
    }
    if (!may_pass(data, len) || (!is_stateful(relay) && len > config->tx_size - IOTSEC_RELAY_OVERHEAD_MAX)) {
        return IOTSEC_RELAY_DROP_FORM;
    }
    reason = take_tokens(relay, from, UP, now);
    if (reason != PASSED) {
        return reason;
    }
    return is_stateful(relay) ? send_from_entry(relay, from, data, len, now) : send_wrapped(relay, from, data, len);
}

enum iotsec_status iotsec_relay_from_neighbour(struct iotsec_relay *relay, const struct iotsec_addr *from, int l2_secured,
                                               const uint8_t *data, size_t len)
{
    return account(relay, pass_up(relay, from, l2_secured, data, len), &relay->stats.up);
}

static enum iotsec_relay_drop pass_down(struct iotsec_relay *relay, uint16_t slot, const struct iotsec_addr *from,
                                        const uint8_t *data, size_t len)
{
    const struct iotsec_relay_config *config = relay->config;
    uint32_t now = now_of(relay);
    struct iotsec_relay_entry *entry = NULL;
    struct iotsec_addr neighbour;
    const uint8_t *header = NULL;
    size_t header_len = 0;
    enum iotsec_relay_drop reason;

    (void)tick(relay, now);
    if ((relay->state & STATE_OPEN) == 0) {
        return IOTSEC_RELAY_DROP_CLOSED;
    }
    if (!iotsec_addr_equal(from, &config->manager)) {
        return IOTSEC_RELAY_DROP_NOT_MANAGER;
    }
    if ((!is_stateful(relay) && iotsec_join_proxy_read(data, len, &header, &header_len, &data, &len) != IOTSEC_OK) ||
        !may_pass(data, len)) {
        return IOTSEC_RELAY_DROP_FORM;
    }
    if (is_stateful(relay)) {
        if (slot >= config->entry_count || !config->entries[slot].used) {
            return IOTSEC_RELAY_DROP_NO_ENTRY;
        }
        entry = &config->entries[slot];
        neighbour = entry->neighbour;
    } else {
        reason = open_header(relay, header, header_len, &neighbour);
        if (reason != PASSED) {
            return reason;
        }
    }
    reason = take_tokens(relay, &neighbour, DOWN, now);
    if (reason != PASSED) {
        return reason;
    }
    if (entry != NULL) {
        entry->used_at = now;
    }
    return config->callbacks->send_down(config->user, &neighbour, data, len) < 0 ? IOTSEC_RELAY_DROP_SEND : PASSED;
}

enum iotsec_status iotsec_relay_from_manager(struct iotsec_relay *relay, uint16_t slot, const struct iotsec_addr *from,
                                             const uint8_t *data, size_t len)
{
    return account(relay, pass_down(relay, slot, from, data, len), &relay->stats.down);
}

/* ---- Life ---- */

static bool config_is_sound(const struct iotsec_relay_config *config)
{
    const struct iotsec_hal *hal = config->hal;

    if (hal == NULL || hal->crypto == NULL || hal->random == NULL || hal->now_ms == NULL || config->callbacks == NULL ||
        config->callbacks->send_up == NULL || config->callbacks->send_down == NULL || config->buckets == NULL ||
        config->bucket_count == 0 || config->bucket_count > BUCKETS_MAX || config->manager.port == 0 ||
        iotsec_addr_is_multicast(&config->manager) || iotsec_addr_is_link_local(&config->manager)) {
        return false;
    }
    if (config->mode == IOTSEC_RELAY_STATEFUL) {
        return config->entries != NULL && config->entry_count != 0 && config->entry_count <= ENTRIES_MAX;
    }
    return config->mode == IOTSEC_RELAY_STATELESS && config->tx != NULL && config->tx_size > IOTSEC_RELAY_OVERHEAD_MAX;
}

static void wipe_entries(const struct iotsec_relay_config *config)
{
    if (config->mode == IOTSEC_RELAY_STATEFUL) {
        iotsec_wipe(config->entries, config->entry_count * sizeof config->entries[0]);
    }
}

enum iotsec_status iotsec_relay_init_checked(struct iotsec_relay *relay, const struct iotsec_relay_config *config,
                                             uint32_t config_id, size_t relay_size)
{
    enum iotsec_status status = IOTSEC_OK;

    if (config_id != IOTSEC_CONFIG_ID || relay_size != sizeof *relay) {
        return IOTSEC_ERR_CONFIG;
    }
    if (relay == NULL || config == NULL || !config_is_sound(config)) {
        return IOTSEC_ERR_ARGUMENT;
    }
    if (config->mode == IOTSEC_RELAY_STATELESS && config->keep_key &&
        (config->hal->nvm_read == NULL || config->hal->nvm_write == NULL)) {
        return IOTSEC_ERR_UNSUPPORTED;
    }
    memset(relay, 0, sizeof *relay);
    relay->config = config;
    wipe_entries(config);
    /* as if it had just been closed: joins may have been under way before a restart */
    set_state(relay, STATE_TIMED, IOTSEC_RELAY_IDLE_MS);
    relay->all.filled_at = now_of(relay);
    relay->all.tokens[UP] = relay->all.tokens[DOWN] = 1000u * iotsec_value_or(config->burst, ALL_BURST);
    if (!change_seed(relay, relay->all.filled_at)) {
        status = IOTSEC_ERR_RANDOM;
    } else if (!is_stateful(relay) && !(config->keep_key && load_key(relay))) {
        status = renew_key(relay, 0);
    }
    if (status != IOTSEC_OK) {
        iotsec_relay_wipe(relay);
    }
    return status;
}

void iotsec_relay_wipe(struct iotsec_relay *relay)
{
    if (relay->config != NULL) { /* a second time is harmless */
        wipe_entries(relay->config);
    }
    iotsec_wipe(relay, sizeof *relay);
}

enum iotsec_status iotsec_relay_rotate(struct iotsec_relay *relay)
{
    if (is_stateful(relay)) {
        return IOTSEC_ERR_UNSUPPORTED;
    }
    (void)iotsec_relay_poll(relay);
    return relay->state != 0 ? IOTSEC_ERR_STATE : renew_key(relay, 1);
}

const char *iotsec_relay_drop_name(enum iotsec_relay_drop drop)
{
    /* no default: the compiler then names a reason that is missing here */
    switch (drop) {
    case IOTSEC_RELAY_DROP_CLOSED:
        return "closed";
    case IOTSEC_RELAY_DROP_NOT_LINK_LOCAL:
        return "not_link_local";
    case IOTSEC_RELAY_DROP_NOT_SECURED:
        return "not_secured";
    case IOTSEC_RELAY_DROP_FORM:
        return "form";
    case IOTSEC_RELAY_DROP_LOOP:
        return "loop";
    case IOTSEC_RELAY_DROP_NEIGHBOUR_RATE:
        return "neighbour_rate";
    case IOTSEC_RELAY_DROP_RATE:
        return "rate";
    case IOTSEC_RELAY_DROP_FULL:
        return "full";
    case IOTSEC_RELAY_DROP_NOT_MANAGER:
        return "not_manager";
    case IOTSEC_RELAY_DROP_HEADER:
        return "header";
    case IOTSEC_RELAY_DROP_NO_ENTRY:
        return "no_entry";
    case IOTSEC_RELAY_DROP_SEND:
        return "send";
    case IOTSEC_RELAY_DROP_CRYPTO:
        return "crypto";
    case IOTSEC_RELAY_DROP_COUNT:
        break;
    }
    return "unknown";
}

#endif
