/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Somebody with everything that one captured device and one relay hold: the L2 key, the relay key, the device's PSK,
 * its session's keys, and everything in the air. Others' sessions are neither read, moved, ended nor taken over.
 */
#include <string.h>

#include "amikey/keymgmt.h"
#include "base/bytes.h"
#include "hal/crypto.h"
#include "mesh.h"
#include "net_private.h"
#include "scenario.h"

#define SECOND 1000u
#define MINUTE (60u * SECOND)

struct rig {
    struct mesh mesh;
    struct node *relay;
    struct node *captive; /* the attacker knows all of it */
    struct node *moved;   /* victim with an address of its own */
    struct node *behind;  /* victim that stays behind the relay */
    size_t first;         /* index at the tap */
    struct iotsec_record_key up;   /* captive's session, from the captive */
    struct iotsec_record_key down; /* and to it */
    uint8_t header[IOTSEC_RELAY_HEADER_BYTES]; /* that the relay would make for `behind` */
    /* what must not change */
    struct iotsec_dtls_session before[2];
};

static struct node *victim_of(const struct rig *rig, unsigned i)
{
    return i == 0 ? rig->moved : rig->behind;
}

/* The relay key is all that it takes to make anybody's header. */
static void make_header(const struct rig *rig, const struct node *device, uint8_t header[IOTSEC_RELAY_HEADER_BYTES])
{
    struct iotsec_addr addr = node_local(device, 1);
    const struct iotsec_hal *hal = &rig->captive->hal;
    struct iotsec_hmac hmac;
    struct iotsec_slice part;
    uint8_t mac[32];

    header[0] = rig->relay->relay->relay.key_id;
    memcpy(header + 1, addr.ip + 8, 8);
    iotsec_put_u16(header + 9, addr.port);
    iotsec_put_u16(header + 11, addr.interface);
    part.data = header;
    part.len = 13;
    assert_int_equal(iotsec_hmac_key(hal, &hmac, rig->relay->relay->relay.key, IOTSEC_KEY_BYTES), IOTSEC_OK);
    assert_int_equal(iotsec_hmac_compute(hal, &hmac, &part, 1, mac), IOTSEC_OK);
    iotsec_hmac_done(hal, &hmac);
    memcpy(header + 13, mac, 8);
}

static void start_rig(struct rig *rig, struct net *net)
{
    unsigned i;

    memset(rig, 0, sizeof *rig);
    mesh_init(&rig->mesh, net, 80);
    rig->relay = mesh_relay(&rig->mesh, IOTSEC_RELAY_STATELESS, 1);
    rig->first = net->tap_count;
    rig->captive = mesh_join(&rig->mesh, rig->relay, 1);
    rig->moved = mesh_join(&rig->mesh, rig->relay, 1);
    rig->behind = mesh_joiner(&rig->mesh, rig->relay, 1);
    rig->behind->move_after_ms = NET_STAY;
    node_boot(rig->behind);
    node_join_through(rig->behind, rig->relay, DOMAIN_GROUP);
    assert_true(mesh_run(&rig->mesh, MINUTE));
    net_run_ms(net, 5 * SECOND);
    rig->up = mesh_own_session(rig->captive)->write_key;
    rig->down = mesh_own_session(rig->captive)->read_key;
    make_header(rig, rig->behind, rig->header);
    assert_int_equal(mesh_session(&rig->mesh, rig->behind)->path.relayed, IOTSEC_RELAY_HEADER_BYTES + 1);
    assert_memory_equal(mesh_session(&rig->mesh, rig->behind)->path.header, rig->header, sizeof rig->header);
    for (i = 0; i < 2; i++) {
        rig->before[i] = *mesh_session(&rig->mesh, victim_of(rig, i));
    }
}

/* The victims' sessions are the same ones, at the same places, and work. */
static void check_rig(struct rig *rig)
{
    struct net *net = rig->mesh.net;
    uint32_t key = manager_key(rig->mesh.manager, DOMAIN_GROUP);
    unsigned i;

    for (i = 0; i < 2; i++) {
        const struct iotsec_dtls_session *session = mesh_session(&rig->mesh, victim_of(rig, i));

        assert_non_null(session);
        assert_int_equal(session->slot.handle, rig->before[i].slot.handle);
        assert_memory_equal(&session->path, &rig->before[i].path, sizeof session->path);
        assert_memory_equal(&session->read_key, &rig->before[i].read_key, sizeof session->read_key);
        assert_true(mesh_same_session(&rig->mesh, victim_of(rig, i)));
        assert_int_equal(node_count(victim_of(rig, i), IOTSEC_DEVICE_CONTACT_LOST), 0);
        assert_true(node_is_member(victim_of(rig, i), DOMAIN_GROUP));
    }
    assert_int_equal(iotsec_manager_group_renew(&rig->mesh.manager->manager, DOMAIN_GROUP, 0), IOTSEC_OK);
    node_after(rig->mesh.manager);
    net_run_ms(net, 5 * SECOND);
    for (i = 0; i < 2; i++) {
        assert_true(node_key(victim_of(rig, i), DOMAIN_GROUP) > key);
        assert_int_equal(mesh_hellos(net, rig->first, victim_of(rig, i)), 1);
    }
}

/* Sends to the manager from an address, wrapped or not. */
static void to_manager(struct rig *rig, const struct iotsec_addr *from, const uint8_t *header, const uint8_t *data, size_t len)
{
    uint8_t out[NET_DATAGRAM_MAX];

    if (header != NULL) {
        len = mesh_wrap(out, sizeof out, header, IOTSEC_RELAY_HEADER_BYTES, data, len);
        data = out;
    }
    net_inject(rig->mesh.net, from, &rig->mesh.manager->addr, data, len);
    net_run_ms(rig->mesh.net, 20);
}

/* A message that a device may send, of any kind. */
static size_t make_request(struct net *net, uint8_t *out)
{
    static const uint8_t kinds[] = { IOTSEC_KM_ACK, IOTSEC_KM_DOMAIN_LEAVE, IOTSEC_KM_GROUP_LEAVE, IOTSEC_KM_MOVED };
    struct iotsec_km_message message;
    size_t len;

    memset(&message, 0, sizeof message);
    message.kind = kinds[random_below(&net->random, sizeof kinds)];
    message.message = (uint8_t)random_next(&net->random);
    message.group_id = DOMAIN_GROUP;
    assert_int_equal(iotsec_km_encode(&message, out, 64, &len), IOTSEC_OK);
    return len;
}

/* Records for the victims' sessions, under the captive's keys and under none. */
static void run_injected(struct net *net)
{
    struct iotsec_addr places[3];
    struct rig rig;
    uint8_t captive_header[IOTSEC_RELAY_HEADER_BYTES];
    unsigned i;

    start_rig(&rig, net);
    make_header(&rig, rig.captive, captive_header);
    places[0] = rig.captive->addr;
    places[1] = rig.moved->addr;
    places[2] = rig.relay->addr;
    places[2].port = NET_UPSTREAM_PORT;
    for (i = 0; i < 120; i++) {
        const struct iotsec_dtls_session *session = mesh_session(&rig.mesh, victim_of(&rig, i % 2));
        const struct iotsec_dtls_session *own = mesh_own_session(victim_of(&rig, i % 2));
        const uint8_t *header = NULL;
        const struct iotsec_addr *from = &places[random_below(&net->random, 3)];
        uint64_t sequence = own->write_sequence + random_below(&net->random, 3);
        uint8_t request[64];
        uint8_t record[256];
        size_t request_len = make_request(net, request);
        size_t len;

        assert_int_equal(own->peer_cid[0], IOTSEC_CID_OWN_BYTES);
        assert_memory_equal(own->peer_cid + 1, session->cid, IOTSEC_CID_OWN_BYTES);
        if (i % 4 < 2) {
            assert_int_equal(iotsec_record_seal_cid(&rig.captive->hal, &rig.up, 8, own->peer_cid + 1, own->peer_cid[0], record,
                                                    sizeof record, &len, IOTSEC_CONTENT_SECURITY_PARAMETERS, 1, sequence,
                                                    request, request_len),
                             IOTSEC_OK);
        } else {
            assert_int_equal(iotsec_record_seal(&rig.captive->hal, &rig.up, 8, record, sizeof record, &len,
                                                IOTSEC_CONTENT_SECURITY_PARAMETERS, 1, sequence, request, request_len),
                             IOTSEC_OK);
            if (from == &places[0]) {
                from = &places[1]; /* without the ID it is the captive's own session there */
            }
        }
        if (i % 8 >= 6) {
            random_bytes(&net->random, record + len - 20, 20);
        }
        if (from == &places[2]) {
            header = i % 2 == 0 && i % 4 < 2 ? captive_header : rig.header;
        }
        to_manager(&rig, from, header, record, len);
    }
    assert_true(rig.mesh.manager->manager.dtls.stats.drops[IOTSEC_DROP_AUTH] >= 50);
    check_rig(&rig);
}

static void test_injected(void **state)
{
    (void)state;
    scenario_seeds(5, run_injected);
}

/* What the victims have said, once more, from everywhere. */
static void run_replayed(struct net *net)
{
    struct rig rig;
    struct iotsec_addr places[3];
    size_t last;
    size_t i;

    start_rig(&rig, net);
    places[0] = rig.captive->addr;
    places[1] = rig.moved->addr;
    places[2] = rig.relay->addr;
    places[2].port = NET_UPSTREAM_PORT;
    last = net->tap_count;
    for (i = rig.first; i < last; i++) {
        struct net_datagram datagram = net->tap[i];
        unsigned k;

        if ((datagram.sender != rig.moved && datagram.sender != rig.behind) || datagram.relayed ||
            datagram.data[0] != IOTSEC_CONTENT_TLS12_CID) {
            continue;
        }
        for (k = 0; k < 3; k++) {
            to_manager(&rig, &places[k], k == 2 ? rig.header : NULL, datagram.data, datagram.len);
        }
    }
    assert_true(rig.mesh.manager->manager.dtls.stats.drops[IOTSEC_DROP_REPLAY] >= 6);
    check_rig(&rig);
}

static void test_replayed(void **state)
{
    (void)state;
    scenario_seeds(5, run_replayed);
}

/* The captive's own session, moved to where a victim is: the path check is even answered, but the place is taken. */
static void run_moved_onto(struct net *net)
{
    struct rig rig;
    unsigned i;

    start_rig(&rig, net);
    for (i = 0; i < 2; i++) {
        const struct iotsec_dtls_session *own = mesh_own_session(rig.captive);
        struct iotsec_addr from = i == 0 ? rig.moved->addr : rig.before[1].path.addr;
        struct iotsec_km_message message;
        size_t first = net->tap_count;
        uint8_t content[64];
        uint8_t record[256];
        size_t content_len;
        size_t len;
        size_t k;
        bool checked = false;

        memset(&message, 0, sizeof message);
        message.kind = IOTSEC_KM_MOVED;
        message.message = (uint8_t)(rig.captive->device.next_id + 1 + i);
        assert_int_equal(iotsec_km_encode(&message, content, sizeof content, &content_len), IOTSEC_OK);
        assert_int_equal(iotsec_record_seal_cid(&rig.captive->hal, &rig.up, 8, own->peer_cid + 1, own->peer_cid[0], record,
                                                sizeof record, &len, IOTSEC_CONTENT_SECURITY_PARAMETERS, 1,
                                                own->write_sequence + 10 * i, content, content_len),
                         IOTSEC_OK);
        to_manager(&rig, &from, i == 0 ? NULL : rig.header, record, len);
        for (k = first; k < net->tap_count && !checked; k++) {
            struct net_datagram datagram = net->tap[k];
            const uint8_t *header;
            const uint8_t *data = datagram.data;
            size_t header_len;
            size_t data_len = datagram.len;
            uint8_t copy[NET_DATAGRAM_MAX];
            uint8_t *next = copy;
            struct iotsec_record opened;
            uint8_t *plain;
            size_t plain_len;

            if (datagram.sender != rig.mesh.manager) {
                continue;
            }
            (void)mesh_unwrap(&datagram, &header, &header_len, &data, &data_len);
            memcpy(copy, data, data_len);
            if (iotsec_record_parse(&opened, &next, &data_len) != IOTSEC_OK ||
                iotsec_record_open(&rig.captive->hal, &rig.down, 8, &opened, &plain, &plain_len) != IOTSEC_OK ||
                plain[0] != IOTSEC_KM_PATH_CHECK) {
                continue;
            }
            checked = true;
            message.kind = IOTSEC_KM_ACK;
            message.message = plain[1];
            message.code = IOTSEC_KM_DONE;
            assert_int_equal(iotsec_km_encode(&message, content, sizeof content, &content_len), IOTSEC_OK);
            assert_int_equal(iotsec_record_seal_cid(&rig.captive->hal, &rig.up, 8, own->peer_cid + 1, own->peer_cid[0], record,
                                                    sizeof record, &len, IOTSEC_CONTENT_SECURITY_PARAMETERS, 1,
                                                    own->write_sequence + 10 * i + 1, content, content_len),
                             IOTSEC_OK);
            to_manager(&rig, &from, i == 0 ? NULL : rig.header, record, len);
        }
        assert_true(checked);
        assert_memory_not_equal(&mesh_session(&rig.mesh, rig.captive)->path, &rig.before[i].path, sizeof rig.before[i].path);
    }
    assert_true(rig.mesh.manager->manager.stats.drops[IOTSEC_DROP_NOT_ALLOWED] >= 2);
    check_rig(&rig);
}

static void test_moved_onto(void **state)
{
    (void)state;
    scenario_seeds(5, run_moved_onto);
}

/* Answers in the manager's name, on every way that leads to a victim: the relay passes on what has a good header. */
static void run_as_manager(struct net *net)
{
    struct rig rig;
    struct iotsec_addr upstream;
    struct iotsec_addr join_port;
    struct iotsec_addr local;
    size_t events[2];
    unsigned access[2];
    unsigned i;

    start_rig(&rig, net);
    upstream = rig.relay->addr;
    upstream.port = NET_UPSTREAM_PORT;
    join_port = node_join_port(rig.relay, 1);
    local = node_local(rig.behind, 1);
    for (i = 0; i < 2; i++) {
        events[i] = victim_of(&rig, i)->event_count;
        access[i] = victim_of(&rig, i)->access_count;
    }
    for (i = 0; i < 120; i++) {
        static const uint8_t kinds[] = { IOTSEC_KM_ACCESS, IOTSEC_KM_EVICTED, IOTSEC_KM_GROUP_REMOVED, IOTSEC_KM_ACK };
        struct iotsec_km_message message;
        uint8_t content[64];
        uint8_t record[256];
        uint8_t out[512];
        size_t content_len;
        size_t len;

        memset(&message, 0, sizeof message);
        message.kind = kinds[random_below(&net->random, sizeof kinds)];
        message.message = (uint8_t)random_next(&net->random);
        message.group_id = DOMAIN_GROUP;
        message.key_number = 1000;
        message.code = IOTSEC_KM_ACCESS_USE;
        message.addr = rig.captive->addr;
        assert_int_equal(iotsec_km_encode(&message, content, sizeof content, &content_len), IOTSEC_OK);
        if (i % 5 == 4) { /* close_notify in the clear */
            assert_int_equal(iotsec_record_write_plain(record, sizeof record, &len, IOTSEC_CONTENT_ALERT,
                                                       IOTSEC_VERSION_DTLS_1_2, 1000 + i, (const uint8_t *)"\1\0", 2),
                             IOTSEC_OK);
        } else {
            assert_int_equal(iotsec_record_seal(&rig.captive->hal, i % 2 == 0 ? &rig.down : &rig.up, 8, record, sizeof record,
                                                &len, iotsec_km_content_type(message.kind), 1, 1000 + i, content, content_len),
                             IOTSEC_OK);
        }
        net_inject(net, &rig.mesh.manager->addr, &rig.moved->addr, record, len);
        net_inject(net, &join_port, &local, record, len);
        net_inject(net, &rig.mesh.manager->addr, &upstream, out,
                   mesh_wrap(out, sizeof out, rig.header, sizeof rig.header, record, len));
        net_run_ms(net, 200);
    }
    assert_true(rig.relay->relay->relay.stats.down >= 50);
    for (i = 0; i < 2; i++) {
        struct node *victim = victim_of(&rig, i);
        size_t k;

        assert_true(victim->dtls->stats.drops[IOTSEC_DROP_AUTH] >= 50);
        assert_int_equal(victim->access_count, access[i]);
        for (k = events[i]; k < victim->event_count; k++) { /* that somebody forges is all that it notices */
            assert_int_equal(victim->events[k].kind, IOTSEC_DEVICE_FORGERIES);
        }
    }
    check_rig(&rig);
}

static void test_as_manager(void **state)
{
    (void)state;
    scenario_seeds(5, run_as_manager);
}

/* Nothing of what the victims and the manager say to each other opens under anything that the attacker holds. */
static void run_read(struct net *net)
{
    struct rig rig;
    struct iotsec_record_key keys[5];
    unsigned tried = 0;
    size_t i;

    start_rig(&rig, net);
    check_rig(&rig);
    memset(keys, 0, sizeof keys);
    keys[0] = rig.up;
    keys[1] = rig.down;
    memcpy(keys[2].key, rig.captive->psk, 16);
    memcpy(keys[3].key, rig.relay->relay->relay.key, 16);
    memcpy(keys[4].key, node_l2_key(rig.captive, rig.captive->l2_used), 16);
    for (i = rig.first; i < net->tap_count; i++) {
        struct net_datagram datagram = net->tap[i];
        const uint8_t *header;
        const uint8_t *data = datagram.data;
        size_t header_len;
        size_t left = datagram.len;
        unsigned k;
        bool of_victim = datagram.sender == rig.moved || datagram.sender == rig.behind ||
                         iotsec_addr_equal(&datagram.to, &rig.moved->addr) ||
                         (mesh_unwrap(&datagram, &header, &header_len, &data, &left) &&
                          memcmp(header, rig.header, sizeof rig.header) == 0);

        if (!of_victim || iotsec_addr_is_multicast(&datagram.to)) {
            continue;
        }
        for (k = 0; k < sizeof keys / sizeof keys[0]; k++) {
            uint8_t copy[NET_DATAGRAM_MAX];
            uint8_t *next = copy;
            size_t len = left;
            struct iotsec_record record;

            memcpy(copy, data, len);
            while (len > 0 && iotsec_record_parse_cid(&record, IOTSEC_CID_OWN_BYTES, &next, &len) == IOTSEC_OK) {
                uint8_t type;
                uint8_t *content;
                size_t content_len;

                if (record.epoch != 1) {
                    continue;
                }
                tried++;
                if (record.cid_len != 0) {
                    assert_int_not_equal(iotsec_record_open_cid(&rig.captive->hal, &keys[k], 8, &record, &type, &content,
                                                                &content_len),
                                         IOTSEC_OK);
                } else {
                    assert_int_not_equal(
                        iotsec_record_open(&rig.captive->hal, &keys[k], 8, &record, &content, &content_len), IOTSEC_OK);
                }
            }
        }
    }
    assert_true(tried > 50);
}

static void test_read(void **state)
{
    (void)state;
    scenario_seeds(10, run_read);
}

/* ---- Handshakes in somebody's place ---- */

struct mole {
    struct rig *rig;
    struct node *node; /* holds the captive's identity and key, and the relay speaks for it in the victim's name */
    uint8_t header[IOTSEC_RELAY_HEADER_BYTES];
};

static void speak_for_mole(struct node *relay, bool up, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    struct mole *mole = relay->test;
    struct iotsec_addr from = up ? relay->addr : node_join_port(relay, 1);
    uint8_t copy[NET_DATAGRAM_MAX];

    memcpy(copy, data, len);
    if (up) {
        from.port = NET_UPSTREAM_PORT;
        if (len > 2 + sizeof mole->header && memcmp(copy + 2, mole->header, sizeof mole->header) == 0) {
            memcpy(copy + 2, mole->rig->header, sizeof mole->header);
        }
    } else {
        struct iotsec_addr local = node_local(mole->node, 1);

        net_transmit_as(relay, &from, &local, copy, len); /* it hears whatever the victim is told */
    }
    net_transmit_as(relay, &from, to, copy, len);
}

/* A handshake with the captive's PSK behind the victim's header: whatever comes of it, the victim's session stays. */
static void run_in_its_place(struct net *net)
{
    struct rig rig;
    struct mole mole;
    unsigned i;

    start_rig(&rig, net);
    mole.rig = &rig;
    mole.node = net_joiner(net, rig.relay, 1);
    mole.node->device_config.identity = (const uint8_t *)rig.captive->name;
    mole.node->device_config.identity_len = strlen(rig.captive->name);
    mole.node->device_config.psk = rig.captive->psk;
    make_header(&rig, mole.node, mole.header);
    rig.relay->test = &mole;
    rig.relay->relay->lie = speak_for_mole;
    node_boot(mole.node);
    for (i = 0; i < 3; i++) {
        uint16_t group = DOMAIN_GROUP;
        struct iotsec_addr addr = node_join_port(rig.relay, 1);

        (void)iotsec_join(&mole.node->device, &addr, &group, 1); /* STATE: it is at it already */
        node_after(mole.node);
        net_run_ms(net, 30 * SECOND);
    }
    rig.relay->relay->lie = NULL;
    node_crash(mole.node);
    net_run_ms(net, 40 * SECOND);
    check_rig(&rig);
}

static void test_in_its_place(void **state)
{
    (void)state;
    scenario_seeds(5, run_in_its_place);
}

/* A relay that leads to a manager of the attacker's own, who knows every PSK but the right one. */
static void run_false_manager(struct net *net)
{
    struct rig rig;
    struct node *liar;
    struct node *boss;
    struct node *device;
    uint16_t group = DOMAIN_GROUP;
    struct iotsec_addr addr;

    start_rig(&rig, net);
    boss = net_manager(net);
    boss->manager_config.relayed = 1;
    boss->manager_config.connection_id = IOTSEC_CONNECTION_ID_ON;
    node_boot(boss);
    liar = mesh_relay(&rig.mesh, (enum iotsec_relay_mode)random_below(&net->random, 2), 2);
    node_crash(liar);
    liar->relay->config.manager = boss->addr;
    node_boot(liar);
    domain_out(&rig.mesh.domain, liar);
    device = mesh_joiner(&rig.mesh, liar, 2);
    net_on_link(device, 1);
    registry_allow(registry_add_device(boss->registry, device->number, device->name, strlen(device->name), rig.captive->psk,
                                       sizeof rig.captive->psk),
                   DOMAIN_GROUP);
    manager_group(boss, DOMAIN_GROUP);
    node_boot(device);
    node_join_through(device, liar, DOMAIN_GROUP);
    net_run_ms(net, MINUTE);
    assert_int_equal(node_event(device, IOTSEC_DEVICE_JOIN_FAILED)->reason, IOTSEC_ERR_WRONG_PSK);
    assert_int_equal(device->access_count, 0);
    assert_int_equal(manager_count(boss, IOTSEC_MANAGER_DEVICE_JOINED), 0);
    /* and by another way it gets in */
    addr = node_join_port(rig.relay, 1);
    assert_int_equal(iotsec_join(&device->device, &addr, &group, 1), IOTSEC_OK);
    node_after(device);
    assert_true(net_run_until(net, mesh_settled, device, 15 * SECOND));
    check_rig(&rig);
}

static void test_false_manager(void **state)
{
    (void)state;
    scenario_seeds(5, run_false_manager);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scenario(test_injected), scenario(test_replayed), scenario(test_moved_onto),    scenario(test_as_manager),
        scenario(test_read),     scenario(test_in_its_place), scenario(test_false_manager),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
