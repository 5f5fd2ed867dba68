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

    hash = hash_bytes(hash, record->header, 11); /* type, version, epoch, sequence */
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

/* ---- Unicast records ---- */

/* What the manager promises in a key message has to be durable already. */
static void watch_key_message(const struct node *node, const struct iotsec_addr *to, uint8_t type, const uint8_t *content,
                              size_t len)
{
    const struct iotsec_registry_group *group;
    const struct iotsec_registry_member *member;
    struct iotsec_km_message message;
    uint32_t device = 0;

    if (node->kind != NODE_MANAGER || type != IOTSEC_CONTENT_MASTER_KEY_DATA) {
        return;
    }
    if (iotsec_km_decode(&message, type, content, len) != IOTSEC_OK) {
        fail_msg("%s sends a key message that does not decode", node->name);
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
    if (iotsec_dtls_peer(node->dtls, iotsec_dtls_find(node->dtls, to), NULL, &device) == IOTSEC_OK) {
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

static bool try_key(struct node *node, const struct iotsec_addr *to, const struct iotsec_record *record,
                    const struct iotsec_record_key *key)
{
    uint8_t copy[NET_DATAGRAM_MAX];
    size_t total = IOTSEC_RECORD_HEADER_BYTES + (size_t)record->length;
    size_t tag;

    for (tag = 8; tag <= 16; tag += 8) {
        struct iotsec_record again;
        uint8_t *content;
        uint8_t *next = copy;
        size_t left = total;
        size_t len;

        memcpy(copy, record->header, total);
        if (iotsec_record_parse(&again, &next, &left) == IOTSEC_OK &&
            iotsec_record_open(&node->hal, key, tag, &again, &content, &len) == IOTSEC_OK) {
            watch_nonce(node->net, node, key->key, sizeof *key, record);
            watch_key_message(node, to, record->type, content, len);
            return true;
        }
        if (node->kind != NODE_DTLS) {
            break; /* CCM_8 is all that the roles speak */
        }
    }
    return false;
}

/* The session may be gone by the time that its last record leaves, so the keys seen last are tried too. */
static void watch_unicast_record(struct net *net, struct node *node, const struct net_datagram *datagram,
                                 const struct iotsec_record *record)
{
    const struct iotsec_dtls_session *session = iotsec_session_find(node->dtls, &datagram->to);
    uint64_t hash = hash_bytes(hash_bytes(5, &node, sizeof node), &datagram->to, sizeof datagram->to);
    struct net_slot *last = set_get(net->accounts, hash);
    struct iotsec_record_key *known;
    int is_server;

    if (last->value == 0) {
        net->keys = net_grow(net->keys, &net->key_room, net->key_count, sizeof net->keys[0]);
        memset(&net->keys[net->key_count], 0, sizeof net->keys[0]);
        last->value = ++net->key_count;
    }
    known = &net->keys[last->value - 1];
    for (is_server = 0; is_server < 2; is_server++) {
        const struct iotsec_dtls_handshake *hs = iotsec_handshake_find(node->dtls, &datagram->to, is_server != 0);

        if (hs != NULL && iotsec_hs_has_keys(hs) && try_key(node, &datagram->to, record, &hs->u.keyed.write_key)) {
            *known = hs->u.keyed.write_key;
            net->stats.opened++;
            return;
        }
    }
    if (session != NULL && try_key(node, &datagram->to, record, &session->write_key)) {
        *known = session->write_key;
        net->stats.opened++;
        return;
    }
    if (try_key(node, &datagram->to, record, known)) {
        net->stats.opened++;
        return;
    }
    net->stats.unopened++;
}

/* ---- Amplification ---- */

/* Bytes from and to an address that has proved nothing, and whether it has. */
static struct net_slot *account_of(const struct node *node, const struct iotsec_addr *addr)
{
    return set_get(node->net->accounts, hash_bytes(hash_bytes(7, &node, sizeof node), addr, sizeof *addr));
}

#define ACCOUNT_PROVED (1ull << 63)
#define ACCOUNT_IN 1ull
#define ACCOUNT_OUT (1ull << 31)
#define ACCOUNT_MASK 0x7FFFFFFFull

static uint64_t cookie_hash(const struct node *node, const struct iotsec_addr *addr, const uint8_t *cookie, size_t len)
{
    return hash_bytes(hash_bytes(hash_bytes(9, &node, sizeof node), addr, sizeof *addr), cookie, len);
}

static void watch_account(struct net *net, struct node *node, const struct net_datagram *datagram)
{
    struct net_slot *account;

    if (node->kind == NODE_DEVICE) {
        if (!iotsec_addr_equal(&datagram->to, &node->device.manager)) {
            fail_msg("%s sends to an address that is not its manager's", node->name);
        }
        return;
    }
    /* a HelloVerifyRequest: whoever echoes its cookie has received it */
    if (datagram->len > 28 && datagram->data[0] == IOTSEC_CONTENT_HANDSHAKE &&
        datagram->data[13] == IOTSEC_HS_HELLO_VERIFY_REQUEST && datagram->len >= 28u + datagram->data[27]) {
        set_get(net->accounts, cookie_hash(node, &datagram->to, datagram->data + 28, datagram->data[27]))->value = 1;
    }
    account = account_of(node, &datagram->to);
    if (iotsec_session_find(node->dtls, &datagram->to) != NULL ||
        (datagram->len > 13 && datagram->data[0] == IOTSEC_CONTENT_HANDSHAKE && datagram->data[13] == IOTSEC_HS_CLIENT_HELLO)) {
        account->value |= ACCOUNT_PROVED;
    }
    account->value += ACCOUNT_OUT * datagram->len;
    if ((account->value & ACCOUNT_PROVED) == 0 &&
        ((account->value / ACCOUNT_OUT) & ACCOUNT_MASK) > 3 * (account->value & ACCOUNT_MASK)) {
        fail_msg("%s sent %u bytes to an address that proved nothing, for %u", node->name,
                 (unsigned)((account->value / ACCOUNT_OUT) & ACCOUNT_MASK), (unsigned)(account->value & ACCOUNT_MASK));
    }
}

void watch_arrived(struct node *node, const struct iotsec_addr *from, const uint8_t *data, size_t len)
{
    struct net_slot *account;

    if (node->kind == NODE_DEVICE) {
        return;
    }
    account = account_of(node, from);
    account->value += ACCOUNT_IN * len;
    if (len > COOKIE_LEN_AT + 1 && data[0] == IOTSEC_CONTENT_HANDSHAKE && data[13] == IOTSEC_HS_CLIENT_HELLO &&
        data[COOKIE_LEN_AT] != 0 && len >= COOKIE_LEN_AT + 1u + data[COOKIE_LEN_AT] &&
        set_get(node->net->accounts, cookie_hash(node, from, data + COOKIE_LEN_AT + 1, data[COOKIE_LEN_AT]))->value != 0) {
        account_of(node, from)->value |= ACCOUNT_PROVED;
    }
}

void watch_sent(struct net *net, const struct net_datagram *datagram)
{
    struct node *node = datagram->sender;
    uint8_t *next = datagram->data;
    size_t left = datagram->len;
    bool multicast = iotsec_addr_is_multicast(&datagram->to) != 0;

    assert_true(datagram->len != 0 && datagram->len <= NET_DATAGRAM_MAX);
    if (!multicast) {
        watch_account(net, node, datagram);
    }
    while (left > 0) {
        struct iotsec_record record;

        if (iotsec_record_parse(&record, &next, &left) != IOTSEC_OK) {
            fail_msg("%s sends a datagram that is not made of records", node->name);
        }
        if (multicast) {
            if (record.type != IOTSEC_CONTENT_APPLICATION_DATA || record.epoch < IOTSEC_GROUP_EPOCH_MIN) {
                fail_msg("%s sends something else than a group record to a group", node->name);
            }
            watch_group_record(net, node, datagram, &record);
        } else if (record.epoch == 1) {
            watch_unicast_record(net, node, datagram, &record);
        } else if (record.epoch != 0) {
            fail_msg("%s sends epoch %u to one peer", node->name, record.epoch);
        } else if (record.type != IOTSEC_CONTENT_HANDSHAKE && record.type != IOTSEC_CONTENT_ALERT &&
                   record.type != IOTSEC_CONTENT_CHANGE_CIPHER_SPEC) {
            fail_msg("%s sends content type %u in the clear", node->name, record.type);
        }
    }
}
