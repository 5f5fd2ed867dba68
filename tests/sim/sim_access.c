/* SPDX-License-Identifier: BSD-3-Clause */
/* L2 keys in the course of time, and sessions whose device turns up at another address. */
#include <string.h>

#include "base/bytes.h"
#include "mesh.h"
#include "net_private.h"
#include "scenario.h"

#define SECOND 1000u
#define MINUTE (60u * SECOND)
#define MEMBERS 20u

/* ---- The L2 key ---- */

static const struct iotsec_registry_access *access_of(const struct mesh *mesh)
{
    return &mesh->manager->registry->durable.access;
}

static uint8_t index_of(uint32_t number)
{
    return (uint8_t)(1 + (number - 1) % 255u);
}

/* Sends under the key that the registry says is in use, and no next one is under way. */
static bool is_current(const struct mesh *mesh, const struct node *node)
{
    const struct iotsec_registry_access *access = access_of(mesh);
    const uint8_t *key = node_l2_key(node, index_of(access->number));

    return access->next_number == 0 && node->l2_used == index_of(access->number) && key != NULL &&
           memcmp(key, access->key, sizeof access->key) == 0;
}

static bool all_current(struct net *net, void *user)
{
    const struct mesh *mesh = user;
    size_t i;

    (void)net;
    for (i = 0; i < mesh->domain.count; i++) {
        if (domain_has(&mesh->domain, i) && mesh->domain.devices[i]->powered && !is_current(mesh, mesh->domain.devices[i])) {
            return false;
        }
    }
    return true;
}

static void start_members(struct mesh *mesh, struct net *net)
{
    struct node *relays[2];
    unsigned i;

    mesh_init(mesh, net, 80);
    mesh->status_interval_ms = 2 * MINUTE;
    relays[0] = mesh_relay(mesh, IOTSEC_RELAY_STATELESS, 1);
    relays[1] = mesh_relay(mesh, IOTSEC_RELAY_STATEFUL, 2);
    while (mesh->domain.count < MEMBERS) {
        struct node *device;

        i = (unsigned)mesh->domain.count % 3;
        if (i == 2) {
            device = mesh_device(mesh); /* a neighbour of nobody, with a routable address from the beginning */
            node_boot(device);
            node_join(device, mesh->manager, DOMAIN_GROUP);
        } else {
            device = mesh_joiner(mesh, relays[i], (uint16_t)(i + 1));
            device->move_after_ms = random_below(&net->random, 4) == 0 ? NET_STAY : random_below(&net->random, 2000);
            node_boot(device);
            node_join_through(device, relays[i], DOMAIN_GROUP);
        }
    }
    assert_true(mesh_run(mesh, 2 * MINUTE));
    assert_true(net_run_until(net, all_current, mesh, MINUTE));
    assert_int_equal(access_of(mesh)->number, 1);
}

static void renew(struct mesh *mesh)
{
    assert_int_equal(iotsec_manager_l2_renew(&mesh->manager->manager), IOTSEC_OK);
    node_after(mesh->manager);
}

static void run_l2_renewal(struct net *net)
{
    struct mesh mesh;
    unsigned round;
    size_t i;

    start_members(&mesh, net);
    mesh_loss(net, 200);
    for (round = 1; round <= 3; round++) {
        renew(&mesh);
        assert_int_equal(access_of(&mesh)->number, round);
        assert_int_equal(access_of(&mesh)->next_number, round + 1);
        assert_true(net_run_until(net, all_current, &mesh, 10 * MINUTE));
        assert_int_equal(access_of(&mesh)->number, round + 1);
    }
    net_run_ms(net, 2 * MINUTE);
    /* the one before is forgotten after the overlap */
    for (i = 0; i < mesh.domain.count; i++) {
        assert_null(node_l2_key(mesh.domain.devices[i], index_of(round - 1)));
        assert_non_null(node_l2_key(mesh.domain.devices[i], index_of(round)));
    }
    assert_true(manager_count(mesh.manager, IOTSEC_MANAGER_L2_KEY) >= 2 * 3);
}

static void test_l2_renewal(void **state)
{
    (void)state;
    scenario_seeds(5, run_l2_renewal);
}

/* While one key is on its way, another takes its place: nobody ever sends under the one that was replaced. */
static void run_l2_replaced(struct net *net)
{
    struct mesh mesh;
    uint8_t replaced;

    start_members(&mesh, net);
    mesh_loss(net, 200);
    renew(&mesh);
    replaced = index_of(access_of(&mesh)->next_number);
    net_run_ms(net, random_below(&net->random, 800));
    if (access_of(&mesh)->next_number != 0) {
        size_t i;

        manager_evict(mesh.manager, mesh.domain.devices[7]);
        domain_out(&mesh.domain, mesh.domain.devices[7]);
        assert_int_equal(access_of(&mesh)->next_number, 3);
        while (!all_current(net, &mesh)) {
            net_run_ms(net, 500);
            for (i = 0; i < mesh.domain.count; i++) {
                assert_int_not_equal(mesh.domain.devices[i]->l2_used, replaced);
            }
            assert_true(net->now < 30 * MINUTE);
        }
        assert_int_equal(access_of(&mesh)->number, 3);
    }
}

static void test_l2_replaced(void **state)
{
    (void)state;
    scenario_seeds(5, run_l2_replaced);
}

/* Whoever listens to everything with the keys of one device: whether a secret was ever in what was said to it. */
static bool was_told(const struct net *net, size_t first, const struct node *hal_of, const struct iotsec_record_key *key,
                     const uint8_t secret[16])
{
    size_t i;

    for (i = first; i < net->tap_count; i++) {
        const struct net_datagram *datagram = &net->tap[i];
        const uint8_t *header;
        const uint8_t *data = datagram->data;
        size_t header_len;
        size_t len = datagram->len;
        uint8_t copy[NET_DATAGRAM_MAX];
        uint8_t *next = copy;
        struct iotsec_record record;

        (void)mesh_unwrap(datagram, &header, &header_len, &data, &len);
        memcpy(copy, data, len);
        while (len > 0 && iotsec_record_parse_cid(&record, IOTSEC_CID_OWN_BYTES, &next, &len) == IOTSEC_OK) {
            uint8_t *content;
            size_t content_len;
            size_t at;

            if (record.epoch != 1 || record.cid_len != 0 ||
                iotsec_record_open(&hal_of->hal, key, IOTSEC_TAG_CCM_8_BYTES, &record, &content, &content_len) != IOTSEC_OK) {
                continue;
            }
            for (at = 0; at + 16 <= content_len; at++) {
                if (memcmp(content + at, secret, 16) == 0) {
                    return true;
                }
            }
        }
    }
    return false;
}

/* One is evicted, one leaves: neither hears of the keys that come after it. */
static void run_l2_departure(struct net *net)
{
    struct mesh mesh;
    struct node *out[2];
    struct node *witness;
    struct iotsec_record_key keys[3];
    uint8_t secret[16];
    unsigned i;
    size_t first = 0;

    start_members(&mesh, net);
    out[0] = mesh.domain.devices[2 + random_below(&net->random, 6)];
    out[1] = mesh.domain.devices[8 + random_below(&net->random, 6)];
    witness = mesh.domain.devices[14 + random_below(&net->random, 6)];
    mesh_loss(net, 200);
    for (i = 0; i < 2; i++) {
        assert_non_null(mesh_own_session(out[i]));
        keys[i] = mesh_own_session(out[i])->read_key;
    }
    keys[2] = mesh_own_session(witness)->read_key;
    manager_evict(mesh.manager, out[0]);
    domain_out(&mesh.domain, out[0]);
    assert_int_equal(access_of(&mesh)->next_number, 2);
    memcpy(secret, access_of(&mesh)->next_key, sizeof secret);
    assert_true(net_run_until(net, all_current, &mesh, 10 * MINUTE));
    assert_int_equal(access_of(&mesh)->number, 2);
    assert_memory_equal(access_of(&mesh)->key, secret, sizeof secret);
    assert_false(was_told(net, first, mesh.manager, &keys[0], secret));
    assert_true(was_told(net, first, mesh.manager, &keys[2], secret) || mesh_hellos(net, 0, witness) > 1);
    assert_int_not_equal(out[0]->l2_used, index_of(2));

    assert_int_equal(iotsec_leave(&out[1]->device), IOTSEC_OK);
    node_after(out[1]);
    domain_out(&mesh.domain, out[1]);
    net_run_ms(net, MINUTE);
    if (access_of(&mesh)->number == 2 && access_of(&mesh)->next_number == 0) {
        return; /* its message did not arrive in eight times: it is in still, as far as anybody knows */
    }
    assert_true(net_run_until(net, all_current, &mesh, 10 * MINUTE));
    assert_int_equal(access_of(&mesh)->number, 3);
    memcpy(secret, access_of(&mesh)->key, sizeof secret);
    assert_false(was_told(net, first, mesh.manager, &keys[0], secret));
    assert_false(was_told(net, first, mesh.manager, &keys[1], secret));
    for (i = 0; i < 2; i++) {
        size_t k;

        for (k = 0; k < NET_L2_KEYS_MAX; k++) {
            assert_true(out[i]->l2[k].index == 0 || memcmp(out[i]->l2[k].key, secret, sizeof secret) != 0);
        }
    }
    /* evicted for good: what it is told at the door is no key */
    first = net->tap_count;
    net_run_ms(net, 70 * SECOND);
    (void)iotsec_join(&out[0]->device, &mesh.manager->addr, NULL, 0);
    node_after(out[0]);
    net_run_ms(net, MINUTE);
    assert_int_equal(out[0]->joined, false);
}

static void test_l2_departure(void **state)
{
    (void)state;
    scenario_seeds(4, run_l2_departure);
}

/* Somebody is away during a renewal, for longer than the others wait, and another one starts anew in the middle. */
static void run_l2_away(struct net *net)
{
    struct mesh mesh;
    struct node *away;
    struct node *reboots;

    start_members(&mesh, net);
    mesh_loss(net, 100);
    away = mesh.domain.devices[2 + 3 * random_below(&net->random, 6)];
    reboots = mesh.domain.devices[2 + 3 * random_below(&net->random, 6)];
    away->unplugged = true;
    domain_out(&mesh.domain, away);
    renew(&mesh);
    net_run_ms(net, random_below(&net->random, 3000));
    if (reboots != away) {
        node_reboot(reboots);
        node_join(reboots, mesh.manager, DOMAIN_GROUP);
    }
    assert_true(net_run_until(net, all_current, &mesh, 10 * MINUTE));
    assert_int_equal(access_of(&mesh)->number, 2);
    assert_int_equal(away->l2_used, 1);
    away->unplugged = false;
    domain_back(&mesh.domain, away);
    assert_true(net_run_until(net, all_current, &mesh, 20 * MINUTE));
}

static void test_l2_away(void **state)
{
    (void)state;
    scenario_seeds(4, run_l2_away);
}

/* The manager restarts in the middle of a hand-out, anywhere in it. */
static void run_l2_restart(struct net *net)
{
    struct mesh mesh;
    size_t i;

    start_members(&mesh, net);
    mesh_loss(net, 100);
    renew(&mesh);
    net_run_ms(net, random_below(&net->random, 4000));
    node_reboot(mesh.manager);
    if (random_below(&net->random, 2) == 0) {
        net_run_ms(net, random_below(&net->random, 40 * SECOND));
        node_reboot(mesh.manager);
    }
    assert_true(net_run_until(net, all_current, &mesh, 20 * MINUTE));
    assert_int_equal(access_of(&mesh)->number, 2);
    mesh_loss(net, 0);
    net_run_ms(net, 5 * MINUTE);
    for (i = 0; i < mesh.domain.count; i++) {
        assert_true(mesh_same_session(&mesh, mesh.domain.devices[i]));
    }
}

static void test_l2_restart(void **state)
{
    (void)state;
    scenario_seeds(4, run_l2_restart);
}

/* Its link layer refuses for a while: the manager sends again. */
static void run_l2_refused(struct net *net)
{
    struct mesh mesh;
    unsigned i;

    start_members(&mesh, net);
    for (i = 0; i < 4; i++) {
        mesh.domain.devices[5 + i]->l2_fail = i;
    }
    renew(&mesh);
    assert_true(net_run_until(net, all_current, &mesh, 20 * MINUTE));
    assert_int_equal(access_of(&mesh)->number, 2);
}

static void test_l2_refused(void **state)
{
    (void)state;
    scenario_seeds(10, run_l2_refused);
}

/* ---- Other addresses ---- */

struct mover {
    struct mesh mesh;
    struct node *device;
    size_t joined_at; /* index at the tap */
};

/* A device that has joined through a relay and moved; it reports every half minute. */
static void start_mover(struct mover *mover, struct net *net)
{
    struct node *relay;

    mesh_init(&mover->mesh, net, 80);
    relay = mesh_relay(&mover->mesh, (enum iotsec_relay_mode)random_below(&net->random, 2), 1);
    mover->device = mesh_joiner(&mover->mesh, relay, 1);
    mover->device->device_config.status_interval_ms = 30 * SECOND;
    mover->device->device_config.connection_id = IOTSEC_CONNECTION_ID_ON; /* in a session that it has to open anew, too */
    mover->joined_at = net->tap_count;
    node_boot(mover->device);
    node_join_through(mover->device, relay, DOMAIN_GROUP);
    assert_true(net_run_until(net, mesh_settled, mover->device, 15 * SECOND));
    net_run_ms(net, 5 * SECOND);
}

static bool is_here(struct net *net, void *user)
{
    const struct mover *mover = user;
    const struct iotsec_dtls_session *session = mesh_session(&mover->mesh, mover->device);

    (void)net;
    return session != NULL && iotsec_addr_equal(&session->path.addr, &mover->device->addr) && session->path.relayed == 0;
}

/* The address changes under the device's feet, to and fro: its next report moves the session, with no handshake. */
static void run_rebinding(struct net *net)
{
    struct mover mover;
    struct iotsec_addr addr;
    unsigned i;

    start_mover(&mover, net);
    addr = mover.device->addr;
    mesh_loss(net, random_below(&net->random, 2) * 100);
    for (i = 0; i < 6; i++) {
        struct iotsec_addr before = mover.device->addr;

        if (i % 2 == 0) {
            node_renumber(mover.device);
        } else {
            mover.device->addr = addr;
        }
        assert_false(is_here(net, &mover));
        assert_true(net_run_until(net, is_here, &mover, 10 * MINUTE));
        assert_false(iotsec_addr_equal(&before, &mover.device->addr));
        if (net->link.loss_permille != 0 && mesh_hellos(net, mover.joined_at, mover.device) > 1) {
            return; /* eight times in vain, so that it began anew */
        }
        assert_true(iotsec_addr_equal(&mover.mesh.manager->moved_addr, &mover.device->addr));
    }
    assert_int_equal(manager_count(mover.mesh.manager, IOTSEC_MANAGER_MOVED), 7);
    assert_int_equal(mesh_hellos(net, mover.joined_at, mover.device), 1);
    assert_true(mesh_same_session(&mover.mesh, mover.device));
    mesh_check(&mover.mesh);
}

static void test_rebinding(void **state)
{
    (void)state;
    scenario_seeds(2, run_rebinding);
}

/* The last protected datagram of a device's own role, sent since `first`. */
static bool last_report(const struct net *net, size_t first, const struct node *device, struct net_datagram *out)
{
    size_t i;

    for (i = net->tap_count; i > first; i--) {
        const struct net_datagram *datagram = &net->tap[i - 1];

        if (datagram->sender == device && !datagram->relayed && datagram->data[0] == IOTSEC_CONTENT_TLS12_CID) {
            *out = *datagram;
            return true;
        }
    }
    return false;
}

/* A genuine record is caught and comes from a victim's address: the victim is sent three times its bytes at most,
 * and the session stays where its device is. */
static void run_victim(struct net *net)
{
    struct mover mover;
    struct iotsec_addr victim;
    unsigned i;

    start_mover(&mover, net);
    victim = mover.device->addr;
    victim.ip[8] ^= 0x55;
    for (i = 0; i < 20; i++) {
        size_t first = net->tap_count;
        struct net_datagram genuine = { 0 };
        size_t sent = 0;
        unsigned k;

        mover.device->loss_permille = 1000; /* nothing of it arrives but what the attacker lets through */
        for (k = 0; k < 60 && !last_report(net, first, mover.device, &genuine); k++) {
            net_run_ms(net, SECOND);
        }
        assert_true(k < 60);
        first = net->tap_count;
        for (k = 0; k < 5; k++) {
            net_inject(net, &victim, &mover.mesh.manager->addr, genuine.data, genuine.len);
            net_run_ms(net, 200);
        }
        (void)mesh_sent_to(net, first, mover.mesh.manager, &victim, &sent);
        assert_true(sent > 0 && sent <= 3 * genuine.len);
        assert_non_null(mesh_session(&mover.mesh, mover.device));
        assert_true(is_here(net, &mover));
        mover.device->loss_permille = 0;
        net_run_ms(net, 15 * SECOND);
        assert_true(is_here(net, &mover));
    }
    assert_int_equal(manager_count(mover.mesh.manager, IOTSEC_MANAGER_MOVED), 1);
    assert_true(mesh_same_session(&mover.mesh, mover.device));
    mesh_check(&mover.mesh);
}

static void test_victim(void **state)
{
    (void)state;
    scenario_seeds(5, run_victim);
}

/* An attacker between both: it lets everything through, but with another address of its own. It is a way like any other,
 * and when it goes away the session comes back. */
static void run_detour(struct net *net)
{
    struct mover mover;
    struct iotsec_addr detour;
    size_t seen;
    unsigned i;

    start_mover(&mover, net);
    detour = mover.device->addr;
    detour.ip[8] ^= 0x55;
    seen = net->tap_count;
    mover.device->loss_permille = 1000;
    for (i = 0; i < 3000; i++) {
        size_t last = net->tap_count;

        for (; seen < last; seen++) {
            struct net_datagram datagram = net->tap[seen];

            if (datagram.sender == mover.device && iotsec_addr_equal(&datagram.to, &mover.mesh.manager->addr)) {
                net_inject(net, &detour, &datagram.to, datagram.data, datagram.len);
            } else if (datagram.sender == mover.mesh.manager && iotsec_addr_equal(&datagram.to, &detour)) {
                (void)net_hand(mover.device, &datagram.from, &mover.device->addr, datagram.data, datagram.len);
            }
        }
        net_run_ms(net, 20);
    }
    assert_true(iotsec_addr_equal(&mesh_session(&mover.mesh, mover.device)->path.addr, &detour));
    mover.device->loss_permille = 0;
    assert_true(net_run_until(net, is_here, &mover, 10 * MINUTE));
    assert_int_equal(mesh_hellos(net, mover.joined_at, mover.device), 1);
    mesh_check(&mover.mesh);
}

static void test_detour(void **state)
{
    (void)state;
    scenario_seeds(5, run_detour);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scenario(test_l2_renewal), scenario(test_l2_replaced), scenario(test_l2_departure), scenario(test_l2_away),
        scenario(test_l2_restart), scenario(test_l2_refused),  scenario(test_rebinding),    scenario(test_victim),
        scenario(test_detour),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
