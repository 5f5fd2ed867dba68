/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What must never happen, whatever a scenario does. The tap knows more than any attacker: it looks
 * into the sender at the moment of sending, so it names keys exactly instead of guessing them.
 */
#include "net_private.h"

#include <stdlib.h>
#include <string.h>

#include "amikey/keymgmt.h"
#include "base/bytes.h"
#include "handshake/engine.h"

#define COOKIE_LEN_AT 60u /* in a ClientHello record: two headers, version, random, empty session_id */

/* ---- Nonces ---- */

/* Fails if `key` has sealed something else under this nonce before. Nothing is ever sealed twice, not even
 * the same bytes: repeats take fresh numbers. */
static void watch_nonce(struct net *net, const struct node *node, const uint8_t *key, size_t key_len,
                        const struct iotsec_record *record)
{
    uint64_t hash = hash_bytes(1, key, key_len);
    struct net_slot *slot;

    /* the content type is part of a group record's nonce only: with a Connection ID or without, a number is one */
    hash = record->epoch == 1 ? hash_bytes(hash, record->body, IOTSEC_EXPLICIT_NONCE_BYTES)
                              : hash_bytes(hash, record->header, 11); /* type, version, epoch, sequence */
    slot = set_get(net->nonces, hash);
    if (slot->value != 0) {
        fail_msg("%s sealed two records under one nonce: type %u, epoch %u, sequence %llx (the first came from %s)",
                 node->name, record->type, record->epoch, (unsigned long long)record->sequence,
                 net->nodes[slot->value - 1]->name);
    }
    slot->value = node->number;
}

/* ---- Group records ---- */

static void watch_group_record(struct net *net, struct node *node, const struct net_datagram *datagram,
                               struct iotsec_record *record)
{
    const struct iotsec_csb *csb = NULL;
    uint16_t sender = (uint16_t)(record->sequence >> 32);
    uint8_t copy[NET_DATAGRAM_MAX];
    struct net_slot *hint;
    uint8_t *content;
    uint8_t *next = copy;
    size_t left = IOTSEC_RECORD_HEADER_BYTES + (size_t)record->length;
    size_t len;
    size_t i;

    net->stats.group_records++;
    if (node->kind != NODE_DEVICE) {
        fail_msg("%s sends to a group, and is no member of any", node->name);
    }
    for (i = 0; i < node->device_config.group_count; i++) {
        const struct iotsec_csb *candidate = &node->device_config.groups[i].csb;

        if (candidate->key_number != 0 && iotsec_addr_equal(&candidate->addr, &datagram->to)) {
            csb = candidate;
        }
    }
    if (csb == NULL) {
        fail_msg("%s sends to a group whose keys it does not hold", node->name);
        return;
    }
    if (record->epoch != (csb->key_number & 0xFFFFu) || sender != csb->sender_id) {
        fail_msg("%s sends under epoch %u as sender %u, and holds key %x as sender %u", node->name, record->epoch, sender,
                 (unsigned)csb->key_number, csb->sender_id);
    }
    watch_nonce(net, node, csb->tek, sizeof csb->tek, record);
    memcpy(copy, record->header, left);
    if (iotsec_record_parse(record, &next, &left) != IOTSEC_OK ||
        iotsec_record_group_open(&node->hal, csb->tek, csb->group_id, record, &content, &len) != IOTSEC_OK) {
        fail_msg("%s sends what its own key does not open", node->name);
        return;
    }
    if (len == 0) {
        /* a reboot forgets when it was; the announcement after its join is due nevertheless */
        uint64_t hash = hash_bytes(hash_bytes(hash_bytes(3, &node, sizeof node), &node->boots, sizeof node->boots),
                                   &csb->group_id, sizeof csb->group_id);

        hint = set_get(net->accounts, hash);
        if (hint->value != 0 && net->now + 1 - hint->value < IOTSEC_HINT_INTERVAL_MS) {
            fail_msg("%s sends two hints within %u ms", node->name, (unsigned)(net->now + 1 - hint->value));
        }
        hint->value = net->now + 1;
    }
}

/* ---- Paths ---- */

/* The head of a CBOR byte string; its length, or -1. Written anew here: the library's own reader is under test. */
static int string_head(const uint8_t **data, size_t *left)
{
    static const uint8_t extra[3] = { 0, 1, 2 };
    const uint8_t *p = *data;
    uint8_t kind;
    int len;

    if (*left == 0 || p[0] < 0x40 || p[0] > 0x59) {
        return -1;
    }
    kind = p[0] == 0x58 ? extra[1] : p[0] == 0x59 ? extra[2] : extra[0];
    if (*left < 1u + kind) {
        return -1;
    }
    len = kind == 0 ? p[0] - 0x40 : kind == 1 ? p[1] : (p[1] << 8 | p[2]);
    *data += 1 + kind;
    *left -= 1u + kind;
    return (size_t)len <= *left ? len : -1;
}

/* Where a datagram goes to or comes from. Takes a relay's wrapping off; false: it has a form that nobody knows. */
static bool take_path(struct iotsec_dtls_path *path, const struct iotsec_addr *addr, const uint8_t **data, size_t *len)
{
    int header;

    memset(path, 0, sizeof *path);
    path->addr = *addr;
    if (*len == 0 || (*data)[0] < 0x80 || (*data)[0] > 0x97) {
        return true;
    }
    if ((*data)[0] != 0x82) {
        return false;
    }
    *data += 1;
    *len -= 1;
    header = string_head(data, len);
    if (header < 0 || header > (int)sizeof path->header) {
        return false;
    }
    path->relayed = (uint16_t)(header + 1);
    memcpy(path->header, *data, (size_t)header);
    *data += header;
    *len -= (size_t)header;
    return string_head(data, len) == (int)*len;
}

static uint64_t hash_path(uint64_t seed, const struct node *node, const struct iotsec_dtls_path *path)
{
    return hash_bytes(hash_bytes(seed, &node, sizeof node), path, sizeof *path);
}

static const struct iotsec_dtls_session *find_session(const struct node *node, const struct iotsec_dtls_path *path)
{
    const struct iotsec_dtls_config *config = node->dtls->config;
    size_t i;

    for (i = 0; i < config->session_count; i++) {
        if (config->sessions[i].slot.state != 0 && memcmp(&config->sessions[i].path, path, sizeof *path) == 0) {
            return &config->sessions[i];
        }
    }
    return NULL;
}

/* ---- Unicast records ---- */

/* What the manager promises about L2 keys has to be durable already. */
static void watch_access(const struct node *node, const struct iotsec_km_message *message, uint32_t device)
{
    struct iotsec_registry_access access;
    bool use = (message->code & IOTSEC_KM_ACCESS_USE) != 0;

    if (registry_memory.access == NULL || registry_memory.access(node->registry, &access) != IOTSEC_OK) {
        fail_msg("%s sends access parameters, and the registry has none", node->name);
        return;
    }
    if (use ? message->key_number != access.number || memcmp(message->secret, access.key, sizeof access.key) != 0
            : message->key_number != access.next_number || access.next_number == 0 ||
                  memcmp(message->secret, access.next_key, sizeof access.next_key) != 0) {
        fail_msg("%s sends L2 key %u to be %s, and the registry has %u in use and %u next", node->name,
                 (unsigned)message->key_number, use ? "used" : "installed", (unsigned)access.number,
                 (unsigned)access.next_number);
    }
    if (device != 0 && registry_evicted(node->registry, device)) {
        fail_msg("%s sends an L2 key to device %u, which is evicted", node->name, (unsigned)device);
    }
}

/* A device gets its own share of the polynomial that is durable, and the revocations that are. */
static void watch_share(const struct node *node, const struct iotsec_km_message *message, uint32_t device)
{
    const struct iotsec_registry_poly *poly = &node->registry->durable.poly;

    if (message->key_number != poly->generation || message->revoked > poly->revoked_count) {
        fail_msg("%s sends of generation %u with %u revocations, and the registry has generation %u with %u", node->name,
                 (unsigned)message->key_number, message->revoked, (unsigned)poly->generation, poly->revoked_count);
    }
    if (device != 0 && registry_evicted(node->registry, device)) {
        fail_msg("%s sends a share or revocations to device %u, which is evicted", node->name, (unsigned)device);
    }
    if (message->kind == IOTSEC_KM_SHARE
            ? message->degree != poly->degree || ((message->code & IOTSEC_KM_SHARE_GENTLE) != 0) != (poly->gentle != 0) ||
                  (device != 0 && !talk_is_share(node->registry, device, message->first, message->count, message->tail))
            : memcmp(message->tail, poly->revoked[message->first], message->count * sizeof poly->revoked[0]) != 0) {
        fail_msg("%s sends device %u another share, or other revocations, than the registry has for it", node->name,
                 (unsigned)device);
    }
}

/* What the manager promises in a key message has to be durable already. */
static void watch_key_message(const struct node *node, uint32_t device, uint8_t type, const uint8_t *content, size_t len)
{
    const struct iotsec_registry_group *group;
    const struct iotsec_registry_member *member;
    struct iotsec_km_message message;

    if (node->kind == NODE_DEVICE && device != 0 && type != IOTSEC_CONTENT_APPLICATION_DATA && type != IOTSEC_CONTENT_ALERT &&
        type != IOTSEC_CONTENT_HANDSHAKE) {
        fail_msg("%s sends content type %u to another device", node->name, type);
    }
    if (node->kind != NODE_MANAGER || (type != IOTSEC_CONTENT_MASTER_KEY_DATA &&
                                       (type != IOTSEC_CONTENT_SECURITY_PARAMETERS || len == 0 || content[0] != IOTSEC_KM_REVOKED))) {
        return;
    }
    if (iotsec_km_decode(&message, type, content, len) != IOTSEC_OK) {
        fail_msg("%s sends a key message that does not decode", node->name);
        return;
    }
    if (message.kind == IOTSEC_KM_ACCESS) {
        watch_access(node, &message, device);
        return;
    }
    if (message.kind == IOTSEC_KM_SHARE || message.kind == IOTSEC_KM_REVOKED) {
        watch_share(node, &message, device);
        return;
    }
    group = registry_group(node->registry, message.group_id);
    if (group == NULL || group->key_number < message.key_number) {
        fail_msg("%s sends key %x of group %u, which is not durable", node->name, (unsigned)message.key_number,
                 message.group_id);
        return;
    }
    if (group->key_number == message.key_number && memcmp(group->tgk, message.secret, sizeof group->tgk) != 0) {
        fail_msg("%s sends another TGK than the registry has", node->name);
    }
    if (device != 0) {
        member = registry_member(node->registry, device, message.group_id);
        if (member == NULL || member->sender_id != message.sender_id) {
            fail_msg("%s gives device %u sender ID %u, which is not what the registry says", node->name, (unsigned)device,
                     message.sender_id);
        }
        if (registry_evicted(node->registry, device)) {
            fail_msg("%s sends keys to device %u, which is evicted", node->name, (unsigned)device);
        }
    }
}

/* `device`: who has the session, 0 if that is not known. */
static bool try_key(struct node *node, uint32_t device, const struct iotsec_record *record, const struct iotsec_record_key *key)
{
    uint8_t copy[NET_DATAGRAM_MAX];
    size_t total = IOTSEC_RECORD_HEADER_BYTES + (size_t)record->cid_len + record->length;
    size_t tag;

    for (tag = 8; tag <= 16; tag += 8) {
        struct iotsec_record again;
        uint8_t type = record->type;
        uint8_t *content;
        uint8_t *next = copy;
        size_t left = total;
        size_t len;

        memcpy(copy, record->header, total);
        if (iotsec_record_parse_cid(&again, record->cid_len, &next, &left) == IOTSEC_OK &&
            (record->cid_len != 0 ? iotsec_record_open_cid(&node->hal, key, tag, &again, &type, &content, &len)
                                  : iotsec_record_open(&node->hal, key, tag, &again, &content, &len)) == IOTSEC_OK) {
            watch_nonce(node->net, node, key->key, sizeof *key, record);
            watch_key_message(node, device, type, content, len);
            return true;
        }
        if (node->kind != NODE_DTLS) {
            break; /* CCM_8 is all that the roles speak */
        }
    }
    return false;
}

/* Who has asked for a Connection ID gets it, and nobody else does. */
static void watch_connection_id(const struct node *node, const struct iotsec_dtls_session *session,
                                const struct iotsec_record *record)
{
    if (record->cid_len != session->peer_cid[0] ||
        memcmp(record->header + 11, session->peer_cid + 1, session->peer_cid[0]) != 0) {
        fail_msg("%s sends a record with a Connection ID of %u bytes, and its peer wants %u", node->name, record->cid_len,
                 session->peer_cid[0]);
    }
}

/* The session may be gone by the time that its last record leaves, so the keys seen last are tried too. Last of all
 * those of sessions at other addresses: an answer to a candidate. */
static void watch_unicast_record(struct net *net, struct node *node, const struct iotsec_dtls_path *path,
                                 const struct iotsec_record *record)
{
    const struct iotsec_dtls_config *config = node->dtls->config;
    const struct iotsec_dtls_session *session = find_session(node, path);
    struct net_slot *last = set_get(net->accounts, hash_path(5, node, path));
    struct iotsec_record_key *known;
    size_t i;

    if (last->value == 0) {
        net->keys = net_grow(net->keys, &net->key_room, net->key_count, sizeof net->keys[0]);
        memset(&net->keys[net->key_count], 0, sizeof net->keys[0]);
        last->value = ++net->key_count;
    }
    known = &net->keys[last->value - 1];
    for (i = 0; i < config->handshake_count; i++) {
        const struct iotsec_dtls_handshake *hs = &config->handshakes[i];

        if (hs->slot.state != HS_FREE && memcmp(&hs->path, path, sizeof *path) == 0 && iotsec_hs_has_keys(hs) &&
            try_key(node, 0, record, &hs->u.keyed.write_key)) {
            *known = hs->u.keyed.write_key;
            net->stats.opened++;
            return;
        }
    }
    if (session != NULL && try_key(node, session->peer, record, &session->write_key)) {
        watch_connection_id(node, session, record);
        *known = session->write_key;
        net->stats.opened++;
        return;
    }
    if (try_key(node, 0, record, known)) {
        net->stats.opened++;
        return;
    }
    for (i = 0; i < config->session_count; i++) {
        session = &config->sessions[i];
        if (session->slot.state != 0 && try_key(node, session->peer, record, &session->write_key)) {
            watch_connection_id(node, session, record);
            net->stats.opened++;
            return;
        }
    }
    net->stats.unopened++;
}

/* ---- Amplification ---- */

/* Bytes from and to a path that has proved nothing, and whether it has. */
static struct net_slot *account_of(const struct node *node, const struct iotsec_dtls_path *path)
{
    return set_get(node->net->accounts, hash_path(7, node, path));
}

#define ACCOUNT_PROVED (1ull << 63)
#define ACCOUNT_IN 1ull
#define ACCOUNT_OUT (1ull << 31)
#define ACCOUNT_MASK 0x7FFFFFFFull

static uint64_t cookie_hash(const struct node *node, const struct iotsec_dtls_path *path, const uint8_t *cookie, size_t len)
{
    return hash_bytes(hash_path(9, node, path), cookie, len);
}

/* A device speaks to its manager, or to the way to it: where it joined, where it was told to go on, where its session is. */
static void watch_device_account(const struct node *node, const struct iotsec_dtls_path *path)
{
    if (!iotsec_addr_equal(&path->addr, &node->device.manager) && !iotsec_addr_equal(&path->addr, &node->device.joined_at) &&
        find_session(node, path) == NULL) {
        fail_msg("%s sends to an address that is not its manager's", node->name);
    }
}

/* `data`: without a relay's wrapping; `whole`: the datagram's length with it, since whoever is named as the relay gets it. */
static void watch_account(struct net *net, struct node *node, const struct iotsec_dtls_path *path, const uint8_t *data,
                          size_t len, size_t whole)
{
    struct net_slot *account;

    /* a HelloVerifyRequest: whoever echoes its cookie has received it */
    if (len > 28 && data[0] == IOTSEC_CONTENT_HANDSHAKE && data[13] == IOTSEC_HS_HELLO_VERIFY_REQUEST &&
        len >= 28u + data[27]) {
        set_get(net->accounts, cookie_hash(node, path, data + 28, data[27]))->value = 1;
    }
    account = account_of(node, path);
    if (find_session(node, path) != NULL ||
        (len > 13 && data[0] == IOTSEC_CONTENT_HANDSHAKE && data[13] == IOTSEC_HS_CLIENT_HELLO)) {
        account->value |= ACCOUNT_PROVED;
    }
    account->value += ACCOUNT_OUT * whole;
    if ((account->value & ACCOUNT_PROVED) == 0 &&
        ((account->value / ACCOUNT_OUT) & ACCOUNT_MASK) > 3 * (account->value & ACCOUNT_MASK)) {
        fail_msg("%s sent %u bytes to an address that proved nothing, for %u", node->name,
                 (unsigned)((account->value / ACCOUNT_OUT) & ACCOUNT_MASK), (unsigned)(account->value & ACCOUNT_MASK));
    }
}

static bool is_server(const struct node *node)
{
    return node->kind != NODE_DEVICE || node->device_config.pair_count != 0;
}

void watch_arrived(struct node *node, const struct iotsec_addr *from, const struct iotsec_addr *to, const uint8_t *data,
                   size_t len)
{
    struct iotsec_dtls_path path;
    size_t whole = len;

    if (!is_server(node) || iotsec_addr_is_multicast(to) || !take_path(&path, from, &data, &len)) {
        return;
    }
    account_of(node, &path)->value += ACCOUNT_IN * whole;
    if (len > COOKIE_LEN_AT + 1 && data[0] == IOTSEC_CONTENT_HANDSHAKE && data[13] == IOTSEC_HS_CLIENT_HELLO &&
        data[COOKIE_LEN_AT] != 0 && len >= COOKIE_LEN_AT + 1u + data[COOKIE_LEN_AT] &&
        set_get(node->net->accounts, cookie_hash(node, &path, data + COOKIE_LEN_AT + 1, data[COOKIE_LEN_AT]))->value != 0) {
        account_of(node, &path)->value |= ACCOUNT_PROVED;
    }
}

void watch_sent(struct net *net, const struct net_datagram *datagram)
{
    struct node *node = datagram->sender;
    const uint8_t *data = datagram->data;
    size_t left = datagram->len;
    bool multicast = iotsec_addr_is_multicast(&datagram->to) != 0;
    struct iotsec_dtls_path path;
    uint8_t *next;

    assert_true(datagram->len != 0 && datagram->len <= NET_DATAGRAM_MAX);
    if (!take_path(&path, &datagram->to, &data, &left) || (path.relayed != 0 && node->kind == NODE_DEVICE)) {
        fail_msg("%s sends a relayed datagram of a strange form", node->name);
    }
    if (!multicast) {
        if (!is_server(node)) {
            watch_device_account(node, &path);
        } else {
            watch_account(net, node, &path, data, left, datagram->len);
        }
    }
    next = datagram->data + (data - datagram->data);
    while (left > 0) {
        struct iotsec_record record;

        if (iotsec_record_parse_cid(&record, IOTSEC_CID_OWN_BYTES, &next, &left) != IOTSEC_OK) {
            fail_msg("%s sends a datagram that is not made of records", node->name);
        }
        if (multicast) {
            if (record.type != IOTSEC_CONTENT_APPLICATION_DATA || record.epoch < IOTSEC_GROUP_EPOCH_MIN) {
                fail_msg("%s sends something else than a group record to a group", node->name);
            }
            watch_group_record(net, node, datagram, &record);
        } else if (record.epoch == 1) {
            watch_unicast_record(net, node, &path, &record);
        } else if (record.epoch != 0) {
            fail_msg("%s sends epoch %u to one peer", node->name, record.epoch);
        } else if (record.type != IOTSEC_CONTENT_HANDSHAKE && record.type != IOTSEC_CONTENT_ALERT &&
                   record.type != IOTSEC_CONTENT_CHANGE_CIPHER_SPEC) {
            fail_msg("%s sends content type %u in the clear", node->name, record.type);
        }
    }
}
