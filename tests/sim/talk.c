/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices that talk to each other: what their applications say and hear, and what must hold of every share and session. */
#include "net_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define TELL_BYTES 28u /* 't', kind, from (2), to (2), serial (4), question (2), mark (16) */
#define MARK_AT 12u
#define MARK_BYTES 16u
#define TICK_MS 250u

enum { TELL_PLAIN, TELL_QUESTION, TELL_ANSWER };

static void add_secret(struct net *net, const uint8_t *bytes)
{
    uint64_t key;

    memcpy(&key, bytes, sizeof key);
    set_get(net->secrets, key)->value = 1;
}

static struct node *node_named(const struct net *net, const uint8_t *identity, size_t len)
{
    size_t i;

    for (i = 0; i < net->node_count; i++) {
        if (strlen(net->nodes[i]->name) == len && memcmp(net->nodes[i]->name, identity, len) == 0) {
            return net->nodes[i];
        }
    }
    return NULL;
}

/* ---- Storage ---- */

void net_pairs(struct node *device, uint16_t pairs, uint8_t degree_max)
{
    struct iotsec_device_config *config = &device->device_config;

    assert_false(device->powered);
    talk_free(device);
    free(device->sessions);
    free(device->handshakes);
    device->session_room = (size_t)pairs + 2;
    device->handshake_room = 1 + NET_PAIR_HANDSHAKES;
    config->sessions = device->sessions = net_alloc(device->session_room * sizeof device->sessions[0]);
    config->session_count = (uint16_t)device->session_room;
    config->handshakes = device->handshakes = net_alloc(device->handshake_room * sizeof device->handshakes[0]);
    config->handshake_count = (uint16_t)device->handshake_room;
    config->pairs = device->pairs = net_alloc(pairs * sizeof device->pairs[0]);
    config->pair_count = pairs;
    config->share_degree_max = degree_max;
    config->shares = device->shares = net_alloc(2u * IOTSEC_POLY_ELEMENT_BYTES * (degree_max + 1u));
    config->pair_message_size = 64;
    config->pair_messages = device->pair_messages = net_alloc((size_t)pairs * config->pair_message_size);
}

static size_t share_bytes(const struct node *node)
{
    return 2u * IOTSEC_POLY_ELEMENT_BYTES * (node->device_config.share_degree_max + 1u);
}

void talk_soil(struct node *node)
{
    const struct iotsec_device_config *config = &node->device_config;

    if (config->pair_count != 0) {
        memset(node->pairs, 0xA5, config->pair_count * sizeof node->pairs[0]);
        memset(node->shares, 0xA5, share_bytes(node));
        memset(node->pair_messages, 0xA5, (size_t)config->pair_count * config->pair_message_size);
    }
}

void talk_booted(struct node *node)
{
    node->share_generation = 0;
    node->told_count = 0;
    node->question_count = 0;
    node->asking = false;
    memset(node->open_peers, 0, sizeof node->open_peers);
}

void talk_free(struct node *node)
{
    free(node->pairs);
    free(node->shares);
    free(node->pair_messages);
    free(node->told);
    free(node->questions);
    free(node->event_peers);
    node->pairs = NULL;
    node->shares = NULL;
    node->pair_messages = NULL;
    node->told = NULL;
    node->questions = NULL;
    node->event_peers = NULL;
    node->told_room = node->question_room = node->event_peer_room = 0;
}

/* ---- Shares ---- */

bool talk_is_share(struct registry_memory *registry, uint32_t number, unsigned first, unsigned count, const uint8_t *elements)
{
    const struct registry_state *state = &registry->durable;
    const struct registry_device *device = registry_device(registry, number);
    const struct node *manager = registry->owner;
    uint8_t column[REGISTRY_DEGREE_MAX + 1][IOTSEC_POLY_ELEMENT_BYTES];
    uint8_t point[IOTSEC_POLY_ELEMENT_BYTES];
    struct iotsec_polykey_sum sum;
    unsigned j;

    assert_int_equal(iotsec_polykey_point(&manager->hal, device->identity, device->identity_len, point), IOTSEC_OK);
    if (first + count > state->poly.degree + 1u) {
        return false;
    }
    for (j = first; j < first + count; j++, elements += IOTSEC_POLY_ELEMENT_BYTES) {
        uint8_t value[IOTSEC_POLY_ELEMENT_BYTES];
        unsigned i;

        for (i = 0; i <= state->poly.degree; i++) {
            memcpy(column[i], state->coefficients[i > j ? REGISTRY_ROW(i) + j : REGISTRY_ROW(j) + i], sizeof column[i]);
        }
        iotsec_polykey_sum_start(&sum, point);
        iotsec_polykey_sum_add(&sum, column[0], state->poly.degree + 1u);
        iotsec_polykey_sum_finish(&sum, value);
        if (memcmp(value, elements, sizeof value) != 0) {
            return false;
        }
    }
    return true;
}

/* The registry that the share comes from: the manager's that knows the device and has this generation; or NULL. */
static struct registry_memory *registry_of(const struct node *device, uint32_t generation)
{
    size_t i;

    for (i = 0; i < device->net->node_count; i++) {
        struct registry_memory *registry = device->net->nodes[i]->registry;

        if (registry != NULL && registry_device(registry, device->number) != NULL &&
            registry->durable.poly.generation == generation) {
            return registry;
        }
    }
    return NULL;
}

const struct iotsec_share *node_share(const struct node *device, uint32_t generation)
{
    unsigned i;

    for (i = 0; device->powered && device->device_config.pair_count != 0 && i < 2; i++) {
        const struct iotsec_share *share = &device->device.share[i];

        if (share->generation == generation && share->held != 0 && share->held == share->degree + 1u) {
            return share;
        }
    }
    return NULL;
}

static void take_share(struct node *node, const struct iotsec_device_event *event)
{
    const struct iotsec_share *share = node_share(node, event->key_number);
    struct registry_memory *registry = registry_of(node, event->key_number);
    unsigned i;

    if (event->reason != IOTSEC_OK) {
        return;
    }
    if (share == NULL || share != &node->device.share[0]) {
        fail_msg("%s says that it has a share of generation %u, and has not", node->name, (unsigned)event->key_number);
        return;
    }
    assert_true(event->key_number > node->share_generation);
    node->share_generation = event->key_number;
    if (registry != NULL && (share->degree != registry->durable.poly.degree ||
                             !talk_is_share(registry, node->number, 0, share->degree + 1u, share->elements))) {
        fail_msg("%s has a share of generation %u that is not of the registry's polynomial", node->name,
                 (unsigned)event->key_number);
    }
    for (i = 0; i <= share->degree; i++) {
        add_secret(node->net, share->elements + i * IOTSEC_POLY_ELEMENT_BYTES);
    }
}

/* Who is out has nothing left that it could speak with. */
static void check_wiped(const struct node *node)
{
    size_t i;

    for (i = 0; node->device_config.pair_count != 0 && i < share_bytes(node); i++) {
        if (node->shares[i] != 0) {
            fail_msg("%s is out of the domain and keeps a share", node->name);
        }
    }
    assert_int_equal(node_pair_sessions(node), 0);
}

/* ---- Sessions ---- */

const struct iotsec_pair *node_pair(const struct node *device, const struct node *peer)
{
    size_t len = strlen(peer->name);
    uint16_t i;

    for (i = 0; device->powered && i < device->device_config.pair_count; i++) {
        const struct iotsec_pair *pair = &device->pairs[i];

        if (pair->identity_len == len && memcmp(pair->identity, peer->name, len) == 0) {
            return pair;
        }
    }
    return NULL;
}

static const struct iotsec_dtls_session *session_of(const struct node *device, iotsec_dtls_handle handle)
{
    size_t i;

    for (i = 0; handle != 0 && i < device->session_room; i++) {
        if (device->sessions[i].slot.state != 0 && device->sessions[i].slot.handle == handle) {
            return &device->sessions[i];
        }
    }
    return NULL;
}

const struct iotsec_dtls_session *node_pair_session(const struct node *device, const struct node *peer)
{
    const struct iotsec_pair *pair = node_pair(device, peer);

    return pair != NULL ? session_of(device, pair->session) : NULL;
}

unsigned node_pair_sessions(const struct node *device)
{
    unsigned count = 0;
    uint16_t i;

    for (i = 0; device->powered && i < device->device_config.pair_count; i++) {
        count += session_of(device, device->pairs[i].session) != NULL;
    }
    return count;
}

bool node_same_pair_session(const struct node *a, const struct node *b)
{
    const struct iotsec_dtls_session *ours = node_pair_session(a, b);
    const struct iotsec_dtls_session *theirs = node_pair_session(b, a);

    return ours != NULL && theirs != NULL && memcmp(&ours->write_key, &theirs->read_key, sizeof ours->write_key) == 0 &&
           memcmp(&ours->read_key, &theirs->write_key, sizeof ours->read_key) == 0;
}

/* K, PSK and TGK of the two. */
static void learn_secrets(struct node *node, struct node *peer)
{
    const struct iotsec_pair *pair = node_pair(node, peer);
    const struct iotsec_share *share = node_share(node, pair->generation);
    struct iotsec_polykey_pair two;
    struct iotsec_polykey_sum sum;
    uint8_t point[IOTSEC_POLY_ELEMENT_BYTES];
    uint8_t psk[IOTSEC_PAIR_PSK_BYTES];
    uint8_t tgk[IOTSEC_KEY_BYTES];

    if (share == NULL) {
        fail_msg("%s has a session under generation %u, and no share of it", node->name, (unsigned)pair->generation);
        return;
    }
    memset(&two, 0, sizeof two);
    two.share = share->elements;
    two.degree = share->degree;
    two.generation = share->generation;
    two.own = (const uint8_t *)node->name;
    two.own_len = strlen(node->name);
    two.peer = (const uint8_t *)peer->name;
    two.peer_len = strlen(peer->name);
    assert_int_equal(iotsec_polykey_keys(&node->hal, &two, psk, tgk), IOTSEC_OK);
    assert_memory_equal(tgk, pair->csb.tgk, sizeof tgk);
    add_secret(node->net, psk);
    add_secret(node->net, psk + 16);
    add_secret(node->net, tgk);
    assert_int_equal(iotsec_polykey_point(&node->hal, two.peer, two.peer_len, point), IOTSEC_OK);
    iotsec_polykey_sum_start(&sum, point);
    iotsec_polykey_sum_add(&sum, share->elements, share->degree + 1u);
    iotsec_polykey_sum_finish(&sum, point);
    add_secret(node->net, point);
}

static unsigned count_open(const struct node *node)
{
    unsigned count = 0;
    size_t i;

    for (i = 0; i < NET_NODES_MAX; i++) {
        count += node->open_peers[i];
    }
    return count;
}

void talk_event(struct node *node, const struct iotsec_device_event *event)
{
    struct node *peer = event->peer != NULL ? node_named(node->net, event->peer->identity, event->peer->identity_len) : NULL;
    bool *open = peer != NULL ? &node->open_peers[peer->number - 1] : NULL;

    node->event_peers = net_grow(node->event_peers, &node->event_peer_room, node->event_count, sizeof node->event_peers[0]);
    node->event_peers[node->event_count] = peer;
    switch (event->kind) {
    case IOTSEC_DEVICE_SHARE:
        take_share(node, event);
        break;
    case IOTSEC_DEVICE_PEER_OPEN:
        assert_non_null(peer);
        assert_ptr_not_equal(peer, node);
        *open = true;
        learn_secrets(node, peer);
        if (node_pair_sessions(node) > node->device_config.pair_count ||
            count_open(node) > node->device_config.pair_count) {
            fail_msg("%s has more sessions than places", node->name);
        }
        break;
    case IOTSEC_DEVICE_PEER_CLOSED:
        assert_non_null(peer);
        assert_true(*open);
        *open = false;
        break;
    case IOTSEC_DEVICE_EVICTED:
    case IOTSEC_DEVICE_LEFT:
        node->share_generation = 0;
        memset(node->open_peers, 0, sizeof node->open_peers);
        check_wiped(node);
        break;
    case IOTSEC_DEVICE_JOIN_FAILED:
        if (event->reason == IOTSEC_ERR_NOT_AUTHORISED || event->reason == IOTSEC_ERR_EVICTED) {
            node->share_generation = 0;
            memset(node->open_peers, 0, sizeof node->open_peers);
            check_wiped(node);
        }
        break;
    default:
        break;
    }
}

unsigned node_peer_count(const struct node *device, enum iotsec_device_event_kind kind, const struct node *peer, int reason)
{
    unsigned count = 0;
    size_t i;

    for (i = 0; i < device->event_count; i++) {
        count += device->events[i].kind == kind && (peer == NULL || device->event_peers[i] == peer) &&
                 (reason == 1 || (int)device->events[i].reason == reason);
    }
    return count;
}

/* ---- Saying and hearing ---- */

static uint32_t tell(struct node *node, const struct iotsec_peer *to, const struct node *peer, unsigned kind, uint16_t question,
                     enum iotsec_status *status)
{
    uint32_t serial = ++node->net->tells;
    uint8_t message[TELL_BYTES];
    enum iotsec_status answer;

    message[0] = 't';
    message[1] = (uint8_t)kind;
    iotsec_put_u16(message + 2, (uint16_t)node->number);
    iotsec_put_u16(message + 4, (uint16_t)peer->number);
    iotsec_put_u32(message + 6, serial);
    iotsec_put_u16(message + 10, question);
    random_bytes(&node->random, message + MARK_AT, MARK_BYTES);
    add_secret(node->net, message + MARK_AT);
    answer = iotsec_send(&node->device, to, message, sizeof message);
    if (status != NULL) {
        *status = answer;
    }
    return answer == IOTSEC_OK ? serial : 0;
}

uint32_t node_tell_at(struct node *device, const struct node *peer, const struct iotsec_addr *addr, enum iotsec_status *status)
{
    struct iotsec_peer to;
    uint32_t serial;

    to.identity = (const uint8_t *)peer->name;
    to.identity_len = strlen(peer->name);
    to.addr = *addr;
    serial = tell(device, &to, peer, TELL_PLAIN, 0, status);
    node_after(device);
    return serial;
}

uint32_t node_tell(struct node *device, const struct node *peer, enum iotsec_status *status)
{
    return node_tell_at(device, peer, &peer->addr, status);
}

bool node_was_told(const struct node *device, uint32_t serial)
{
    size_t i;

    for (i = 0; i < device->told_count; i++) {
        if (device->told[i].serial == serial) {
            return serial != 0;
        }
    }
    return false;
}

static void take_answer(struct node *node, const struct node *from, uint16_t number)
{
    size_t i;

    for (i = 0; i < node->question_count; i++) {
        struct node_question *question = &node->questions[i];

        if (question->number == number && question->peer == from && !question->answered) {
            question->answered = true;
            question->answered_at = node->net->now;
        }
    }
}

void talk_receive(void *user, const struct iotsec_peer *peer, const uint8_t *data, size_t len)
{
    struct node *node = user;
    struct node *from = node_named(node->net, peer->identity, peer->identity_len);
    struct node_told told;

    assert_non_null(from);
    if (!node->open_peers[from->number - 1]) {
        fail_msg("%s is handed a message of %s without a session", node->name, from->name);
    }
    if (len != TELL_BYTES || data[0] != 't') {
        fail_msg("%s was handed what nobody has said", node->name);
    }
    if (iotsec_get_u16(data + 2) != from->number || iotsec_get_u16(data + 4) != node->number) {
        fail_msg("%s was handed a message of device %u to device %u as one of %s", node->name, iotsec_get_u16(data + 2),
                 iotsec_get_u16(data + 4), from->name);
    }
    memset(&told, 0, sizeof told);
    told.time = node->net->now;
    told.serial = iotsec_get_u32(data + 6);
    told.from = from;
    if (node_was_told(node, told.serial)) {
        fail_msg("%s was handed message %u of %s twice", node->name, (unsigned)told.serial, from->name);
    }
    node->told = net_grow(node->told, &node->told_room, node->told_count, sizeof told);
    node->told[node->told_count++] = told;
    if (data[1] == TELL_QUESTION && !node->mute) {
        (void)tell(node, peer, from, TELL_ANSWER, iotsec_get_u16(data + 10), NULL);
    } else if (data[1] == TELL_ANSWER) {
        take_answer(node, from, iotsec_get_u16(data + 10));
    }
}

/* ---- Questions ---- */

static void ask_what_is_due(struct node *node)
{
    bool open = false;
    size_t i;

    for (i = 0; i < node->question_count; i++) {
        struct node_question *question = &node->questions[i];
        struct iotsec_peer to;

        if (question->answered || question->given_up) {
            continue;
        }
        open = true;
        if (node->net->now < question->due) {
            continue;
        }
        to.identity = (const uint8_t *)question->peer->name;
        to.identity_len = strlen(question->peer->name);
        to.addr = question->peer->addr;
        if (tell(node, &to, question->peer, TELL_QUESTION, (uint16_t)question->number, &question->status) != 0) {
            question->tries++;
        }
        question->due = node->net->now + 1500 + random_below(&node->net->random, 1000);
    }
    node->asking = open;
    if (open) {
        net_call_later(node, TICK_MS, ask_what_is_due);
    }
}

void node_ask(struct node *device, struct node *peer)
{
    struct node_question question;

    memset(&question, 0, sizeof question);
    question.peer = peer;
    question.number = (uint32_t)device->question_count + 1;
    question.asked_at = device->net->now;
    question.due = device->net->now;
    device->questions = net_grow(device->questions, &device->question_room, device->question_count, sizeof question);
    device->questions[device->question_count++] = question;
    if (!device->asking) {
        ask_what_is_due(device);
        node_after(device);
    }
}

unsigned net_unanswered(const struct net *net)
{
    unsigned count = 0;
    size_t i;
    size_t k;

    for (i = 0; i < net->node_count; i++) {
        for (k = 0; k < net->nodes[i]->question_count; k++) {
            count += !net->nodes[i]->questions[k].answered && !net->nodes[i]->questions[k].given_up;
        }
    }
    return count;
}

bool net_answered(struct net *net, void *unused)
{
    (void)unused;
    return net_unanswered(net) == 0;
}

void net_forget_questions(struct net *net)
{
    size_t i;
    size_t k;

    for (i = 0; i < net->node_count; i++) {
        for (k = 0; k < net->nodes[i]->question_count; k++) {
            net->nodes[i]->questions[k].given_up = true;
        }
    }
}

/* ---- The polynomial ---- */

void manager_poly(struct node *manager, unsigned degree, bool overlap)
{
    assert_int_equal(iotsec_manager_poly_renew(&manager->manager, degree, overlap), IOTSEC_OK);
    node_after(manager);
}

uint32_t manager_generation(const struct node *manager)
{
    return manager->registry->durable.poly.generation;
}

void net_check_secrets(struct net *net)
{
    size_t i;
    size_t k;

    for (i = 0; i < net->node_count; i++) {
        const struct registry_memory *registry = net->nodes[i]->registry;

        for (k = 0; registry != NULL && k < registry->durable.coefficient_count; k++) {
            add_secret(net, registry->durable.coefficients[k]);
        }
    }
    for (i = 0; i < net->tap_count; i++) {
        const struct net_datagram *datagram = &net->tap[i];

        for (k = 0; k + 8 <= datagram->len; k++) {
            uint64_t key;

            memcpy(&key, datagram->data + k, sizeof key);
            if (set_has(net->secrets, key)) {
                fail_msg("a datagram of %s holds a secret, at byte %u",
                         datagram->sender != NULL ? datagram->sender->name : "the test", (unsigned)k);
            }
        }
    }
}
