/* SPDX-License-Identifier: BSD-3-Clause */
/* Joins through relays: several hops, loss, restarts, floods, and relays and neighbours that do what they should not. */
#include <string.h>

#include "base/bytes.h"
#include "handshake/engine.h"
#include "mesh.h"
#include "net_private.h"
#include "scenario.h"

#define SECOND 1000u
#define MINUTE (60u * SECOND)

static uint16_t drops(const struct node *relay, enum iotsec_relay_drop why)
{
    return relay->relay->relay.stats.drops[why];
}

static unsigned all_drops(const struct node *relay)
{
    unsigned sum = 0;
    unsigned i;

    for (i = 0; i < IOTSEC_RELAY_DROP_COUNT; i++) {
        sum += relay->relay->relay.stats.drops[i];
    }
    return sum;
}

/* ---- Hops ---- */

/* The session of a device goes on from its own address: told by both ends, without a handshake. */
static void check_moved(struct mesh *mesh, const struct node *device, size_t first)
{
    const struct iotsec_device_event *event = node_event(device, IOTSEC_DEVICE_MOVED);

    assert_non_null(event);
    assert_int_equal(event->reason, IOTSEC_OK);
    assert_int_equal(device->move_status, IOTSEC_OK);
    assert_true(manager_count(mesh->manager, IOTSEC_MANAGER_MOVED) >= 1);
    assert_int_equal(mesh_hellos(mesh->net, first, device), 1);
    assert_int_equal(mesh_handshake_records(mesh->net, first, &device->addr), 0);
    assert_true(mesh_same_session(mesh, device));
    assert_true(iotsec_addr_equal(&mesh_session(mesh, device)->path.addr, &device->addr));
    assert_int_equal(mesh_session(mesh, device)->path.relayed, 0);
}

/* New keys of the group reach a device that has moved at its own address and no longer through its relay. */
static void check_served(struct mesh *mesh, const struct node *device)
{
    struct net *net = mesh->net;
    const struct node *relay = device->parent;
    uint32_t down = relay->relay->relay.stats.down;
    size_t first = net->tap_count;

    assert_int_equal(iotsec_manager_group_renew(&mesh->manager->manager, DOMAIN_GROUP, 0), IOTSEC_OK);
    node_after(mesh->manager);
    if (!net_run_until(net, domain_current, &mesh->domain, MINUTE)) {
        domain_agree(&mesh->domain); /* given up on a bad way: who hears of the keys asks for them */
    }
    if (net->link.loss_permille == 0) { /* on a bad way it may have begun anew through the relay */
        assert_true(mesh_sent_to(net, first, mesh->manager, &device->addr, NULL) > 0);
        assert_int_equal(relay->relay->relay.stats.down, down);
    }
}

/* A lamp joins through a relay, becomes one, and so does the next. */
static void run_chain(struct net *net, enum iotsec_relay_mode mode, unsigned loss_permille)
{
    struct mesh mesh;
    struct node *node;
    uint16_t hop;

    mesh_init(&mesh, net, 80);
    mesh.status_interval_ms = loss_permille != 0 ? MINUTE : 0; /* what was given up comes with the next contact */
    node = mesh_relay(&mesh, mode, 1);
    mesh_loss(net, loss_permille);
    for (hop = 1; hop <= 3; hop++) {
        struct node *next = mesh_joiner(&mesh, node, hop);
        size_t first = net->tap_count;

        next->move_after_ms = random_below(&net->random, 2) * random_below(&net->random, 5000);
        net_on_link(next, (uint16_t)(hop + 1));
        net_relay(next, mesh.manager, mode, true);
        node_boot(next);
        node_join_through(next, node, DOMAIN_GROUP);
        assert_true(loss_permille != 0 ? mesh_run(&mesh, 30 * MINUTE)
                                       : net_run_until(net, mesh_settled, next, 15 * SECOND));
        net_run_ms(net, 5 * SECOND);
        if (next->move_status == IOTSEC_OK && mesh_hellos(net, first, next) == 1) {
            check_moved(&mesh, next, first);
        } else {
            assert_int_not_equal(loss_permille, 0);
        }
        check_served(&mesh, next);
        node = next;
    }
    if (loss_permille == 0) {
        assert_int_equal(manager_count(mesh.manager, IOTSEC_MANAGER_MOVED), 3);
        assert_int_equal(mesh.manager->moved_addr.ip[15], node->addr.ip[15]);
    }
    mesh_check(&mesh);
}

static void run_chain_stateless(struct net *net)
{
    run_chain(net, IOTSEC_RELAY_STATELESS, 0);
}

static void run_chain_stateful(struct net *net)
{
    run_chain(net, IOTSEC_RELAY_STATEFUL, 0);
}

static void run_chain_stateless_loss(struct net *net)
{
    run_chain(net, IOTSEC_RELAY_STATELESS, 200);
}

static void run_chain_stateful_loss(struct net *net)
{
    run_chain(net, IOTSEC_RELAY_STATEFUL, 200);
}

static void test_chain(void **state)
{
    (void)state;
    scenario_seeds(2, run_chain_stateless);
    scenario_seeds(2, run_chain_stateful);
}

static void test_chain_with_loss(void **state)
{
    (void)state;
    scenario_seeds(2, run_chain_stateless_loss);
    scenario_seeds(2, run_chain_stateful_loss);
}

/* A device that never takes an address of its own is served through the relay for good. */
static void run_stay(struct net *net)
{
    enum iotsec_relay_mode mode = (enum iotsec_relay_mode)random_below(&net->random, 2);
    struct mesh mesh;
    struct node *relay;
    struct node *device;
    uint32_t key;

    mesh_init(&mesh, net, 80);
    relay = mesh_relay(&mesh, mode, 1);
    device = mesh_joiner(&mesh, relay, 1);
    device->move_after_ms = NET_STAY;
    node_boot(device);
    node_join_through(device, relay, DOMAIN_GROUP);
    assert_true(net_run_until(net, mesh_settled, device, 15 * SECOND));
    net_run_ms(net, 30 * SECOND);
    key = manager_key(mesh.manager, DOMAIN_GROUP);
    assert_int_equal(iotsec_manager_group_renew(&mesh.manager->manager, DOMAIN_GROUP, 0), IOTSEC_OK);
    node_after(mesh.manager);
    net_run_ms(net, 10 * SECOND);
    assert_true(node_key(device, DOMAIN_GROUP) > key);
    assert_int_equal(device->routed, false);
    assert_int_equal(mesh_session(&mesh, device)->path.relayed != 0, mode == IOTSEC_RELAY_STATELESS);
}

static void test_stay(void **state)
{
    (void)state;
    scenario_seeds(5, run_stay);
}

/* The manager itself may hear a joiner's link-local address: no relay, but the same move. */
static void run_neighbour_of_manager(struct net *net)
{
    struct mesh mesh;
    struct node *device;
    size_t first;

    mesh_init(&mesh, net, 80);
    net_on_link(mesh.manager, 1);
    device = mesh_joiner(&mesh, mesh.manager, 1);
    first = net->tap_count;
    node_boot(device);
    node_join_through(device, mesh.manager, DOMAIN_GROUP);
    assert_true(net_run_until(net, mesh_settled, device, 15 * SECOND));
    check_moved(&mesh, device, first);
}

static void test_neighbour_of_manager(void **state)
{
    (void)state;
    scenario_seeds(5, run_neighbour_of_manager);
}

/* ---- Many ---- */

#define MANY_RELAYS 10u
#define MANY_DEVICES 200u

/* 200 devices behind ten relays at a tenth loss a hop; one relay restarts in the middle. */
static void run_many(enum iotsec_relay_mode mode)
{
    struct net *net = scenario_begin(1);
    struct mesh mesh;
    struct node *relays[MANY_RELAYS];
    uint64_t begun;
    unsigned sent;
    unsigned up;
    unsigned i;

    mesh_init(&mesh, net, 220);
    for (i = 0; i < MANY_RELAYS; i++) {
        relays[i] = mesh_relay(&mesh, mode, (uint16_t)(i + 1));
    }
    mesh_loss(net, 100);
    begun = net->now;
    sent = net->stats.datagrams;
    for (i = 0; i < MANY_DEVICES; i++) {
        struct node *device = mesh_joiner(&mesh, relays[i % MANY_RELAYS], (uint16_t)(i % MANY_RELAYS + 1));

        device->device_config.group_count = 1; /* all sender slots for the one group */
        device->move_after_ms = random_below(&net->random, 3000);
        node_boot(device);
        node_join_through(device, relays[i % MANY_RELAYS], DOMAIN_GROUP);
        net_run_ms(net, random_below(&net->random, 100));
        if (i == MANY_DEVICES / 2) {
            node_crash(relays[3]);
        }
        if (i == MANY_DEVICES / 2 + 40) {
            node_boot(relays[3]);
            node_join(relays[3], mesh.manager, DOMAIN_GROUP);
        }
    }
    assert_true(mesh_run(&mesh, 10 * MINUTE));
    up = relays[3]->relay->relay.stats.up;
    assert_true(up > 0);
    assert_int_equal(mesh.manager->manager.dtls.sessions_used, MANY_DEVICES + MANY_RELAYS);
    print_message("%u devices behind %u %s relays, 10 %% loss a hop: all in and moved after %.1f s, %u datagrams\n",
                  MANY_DEVICES, MANY_RELAYS, mode == IOTSEC_RELAY_STATEFUL ? "stateful" : "stateless",
                  (double)(net->now - begun) / 1000.0, net->stats.datagrams - sent);
    scenario_end(net);
}

static void test_many_stateless(void **state)
{
    (void)state;
    run_many(IOTSEC_RELAY_STATELESS);
}

static void test_many_stateful(void **state)
{
    (void)state;
    run_many(IOTSEC_RELAY_STATEFUL);
}

/* ---- Floods ---- */

/* A ClientHello that any manager answers, with a random of its own. */
static size_t make_hello(struct net *net, uint8_t *out)
{
    static const uint8_t tail[] = { 0x00, 0x00, 0x00, 0x04, 0xC0, 0xA8, 0x00, 0xFF, 0x01, 0x00, 0x00, 0x0A,
                                    0x00, 0x17, 0x00, 0x00, 0xFF, 0x10, 0x00, 0x02, 0x00, 0x07 };
    size_t body = 2 + 32 + sizeof tail;

    memset(out, 0, 25);
    out[0] = IOTSEC_CONTENT_HANDSHAKE;
    iotsec_put_u16(out + 1, IOTSEC_VERSION_DTLS_1_2);
    iotsec_put_u16(out + 11, (uint16_t)(12 + body));
    out[13] = IOTSEC_HS_CLIENT_HELLO;
    out[16] = (uint8_t)body;
    out[24] = (uint8_t)body;
    iotsec_put_u16(out + 25, IOTSEC_VERSION_DTLS_1_2);
    random_bytes(&net->random, out + 27, 32);
    memcpy(out + 59, tail, sizeof tail);
    return 59 + sizeof tail;
}

/* 200 datagrams a second from one neighbour or from as many as there are. */
static void flood(struct net *net, const struct node *relay, bool spoofed, unsigned ms)
{
    struct iotsec_addr to = node_join_port(relay, relay->links[0]);
    struct iotsec_addr from = to;
    unsigned i;

    from.ip[8] ^= 0x40;
    from.port = 1234;
    for (i = 0; i < ms / 5; i++) {
        uint8_t hello[128];
        size_t len = make_hello(net, hello);

        if (spoofed) {
            random_bytes(&net->random, from.ip + 9, 7);
        } else {
            from.port = (uint16_t)random_next(&net->random); /* its ports do not help it */
        }
        net_inject(net, &from, &to, hello, len);
        net_run_ms(net, 5);
    }
}

struct flood_rig {
    struct mesh mesh;
    struct node *flooded;
    struct node *other;
    struct node *near[6]; /* behind the flooded relay */
    struct node *far[6];  /* behind the other one */
};

static void start_flood_rig(struct flood_rig *rig, struct net *net, enum iotsec_relay_mode mode)
{
    unsigned i;

    mesh_init(&rig->mesh, net, 80);
    rig->mesh.manager->manager_config.cookie_policy = IOTSEC_COOKIE_UNDER_LOAD;
    node_reboot(rig->mesh.manager);
    rig->flooded = mesh_relay(&rig->mesh, mode, 1);
    rig->other = mesh_relay(&rig->mesh, mode, 2);
    for (i = 0; i < 6; i++) {
        rig->near[i] = mesh_joiner(&rig->mesh, rig->flooded, 1);
        rig->far[i] = mesh_joiner(&rig->mesh, rig->other, 2);
    }
}

static unsigned settled_of(struct node *const nodes[6])
{
    unsigned count = 0;
    unsigned i;

    for (i = 0; i < 6; i++) {
        count += mesh_settled(nodes[i]->net, nodes[i]);
    }
    return count;
}

static void retry_of(struct node *const nodes[6])
{
    unsigned i;

    for (i = 0; i < 6; i++) {
        if (!nodes[i]->joined) {
            uint16_t group = DOMAIN_GROUP;
            struct iotsec_addr to = node_join_port(nodes[i]->parent, nodes[i]->parent_link);

            (void)iotsec_join(&nodes[i]->device, &to, &group, 1); /* STATE: it is at it already */
            node_after(nodes[i]);
        }
    }
}

static void start_joins(struct flood_rig *rig)
{
    unsigned i;

    for (i = 0; i < 6; i++) {
        node_boot(rig->near[i]);
        node_join_through(rig->near[i], rig->flooded, DOMAIN_GROUP);
        node_boot(rig->far[i]);
        node_join_through(rig->far[i], rig->other, DOMAIN_GROUP);
    }
}

/* One neighbour: the others behind the same relay join. Who shares its bucket waits until the seed changes. */
static void run_flood_of_one(struct net *net)
{
    struct flood_rig rig;
    unsigned i;

    start_flood_rig(&rig, net, (enum iotsec_relay_mode)random_below(&net->random, 2));
    flood(net, rig.flooded, false, 10 * SECOND);
    start_joins(&rig);
    flood(net, rig.flooded, false, 15 * SECOND);
    assert_int_equal(settled_of(rig.far), 6);
    assert_true(settled_of(rig.near) >= 1);
    for (i = 0; i < 6 && settled_of(rig.near) < 6; i++) {
        retry_of(rig.near);
        flood(net, rig.flooded, false, 15 * SECOND);
    }
    assert_int_equal(settled_of(rig.near), 6);
    assert_true(drops(rig.flooded, IOTSEC_RELAY_DROP_NEIGHBOUR_RATE) > 4000);
    assert_int_equal(drops(rig.other, IOTSEC_RELAY_DROP_NEIGHBOUR_RATE), 0);
}

static void test_flood_of_one(void **state)
{
    (void)state;
    scenario_seeds(10, run_flood_of_one);
}

/* Many neighbours at once exhaust what one relay passes on in all: who is behind it may have to wait until they
 * stop, who is behind another does not notice. */
static void run_flood_of_many(struct net *net)
{
    enum iotsec_relay_mode mode = (enum iotsec_relay_mode)random_below(&net->random, 2);
    struct flood_rig rig;
    unsigned during;
    unsigned i;

    start_flood_rig(&rig, net, mode);
    flood(net, rig.flooded, true, 10 * SECOND);
    start_joins(&rig);
    flood(net, rig.flooded, true, 10 * SECOND);
    assert_int_equal(settled_of(rig.far), 6);
    flood(net, rig.flooded, true, 30 * SECOND);
    during = settled_of(rig.near);
    print_message("200 datagrams/s from as many addresses, %s: %u of 6 behind that relay joined within 40 s\n",
                  mode == IOTSEC_RELAY_STATEFUL ? "stateful" : "stateless", during);
    assert_true(drops(rig.flooded, IOTSEC_RELAY_DROP_RATE) + drops(rig.flooded, IOTSEC_RELAY_DROP_NEIGHBOUR_RATE) +
                    drops(rig.flooded, IOTSEC_RELAY_DROP_FULL) >
                4000);
    assert_true(mode == IOTSEC_RELAY_STATEFUL || drops(rig.flooded, IOTSEC_RELAY_DROP_RATE) > 1000);
    assert_int_equal(all_drops(rig.other), 0);
    for (i = 0; i < 6 && settled_of(rig.near) < 6; i++) {
        retry_of(rig.near);
        net_run_ms(net, 15 * SECOND);
    }
    assert_int_equal(settled_of(rig.near), 6);
}

static void test_flood_of_many(void **state)
{
    (void)state;
    scenario_seeds(10, run_flood_of_many);
}

/* ---- Wrong addresses ---- */

/* A joiner whose relay leads nowhere finds nobody, and what it sends does not go round. */
static void check_leads_nowhere(struct mesh *mesh, struct node *relay)
{
    struct net *net = mesh->net;
    struct node *device = mesh_join(mesh, relay, relay->links[0]);
    unsigned sent = net->stats.datagrams;

    net_run_ms(net, MINUTE);
    assert_int_equal(device->joined, false);
    assert_int_equal(node_event(device, IOTSEC_DEVICE_JOIN_FAILED)->reason, IOTSEC_ERR_NO_ANSWER);
    /* fewer than 30 hellos, each at most twice more */
    assert_true(net->stats.datagrams - sent < 100);
    domain_out(&mesh->domain, device);
}

static struct iotsec_addr upstream_of(const struct node *relay, uint16_t slot)
{
    struct iotsec_addr addr = relay->addr;

    addr.port = (uint16_t)(NET_UPSTREAM_PORT + slot);
    return addr;
}

static void point_at(struct node *relay, const struct iotsec_addr *addr)
{
    node_crash(relay);
    relay->relay->config.manager = *addr;
    node_boot(relay);
}

static void run_loops(struct net *net)
{
    enum iotsec_relay_mode mode = (enum iotsec_relay_mode)random_below(&net->random, 2);
    struct mesh mesh;
    struct node *a;
    struct node *b;
    struct iotsec_addr addr;

    mesh_init(&mesh, net, 80);
    a = mesh_relay(&mesh, mode, 1);
    b = mesh_relay(&mesh, mode, 2);
    domain_out(&mesh.domain, a);
    domain_out(&mesh.domain, b);

    /* at another relay's upstream port: that one takes replies from its manager only */
    addr = upstream_of(b, 0);
    point_at(a, &addr);
    check_leads_nowhere(&mesh, a);
    assert_true(drops(b, IOTSEC_RELAY_DROP_NOT_MANAGER) > 5);

    /* at another relay's own role: no session, no answer */
    point_at(a, &b->addr);
    check_leads_nowhere(&mesh, a);

    /* at each other: neither knows the other's joiners */
    addr = upstream_of(b, 0);
    point_at(a, &addr);
    addr = upstream_of(a, 0);
    point_at(b, &addr);
    check_leads_nowhere(&mesh, a);
    assert_true(drops(b, mode == IOTSEC_RELAY_STATELESS ? IOTSEC_RELAY_DROP_HEADER : IOTSEC_RELAY_DROP_NO_ENTRY) > 5);
    check_leads_nowhere(&mesh, b);

    /* at itself: the joiner's own hellos come back to it, and no further */
    point_at(a, &addr);
    check_leads_nowhere(&mesh, a);
}

static void test_loops(void **state)
{
    (void)state;
    scenario_seeds(5, run_loops);
}

/* What is relayed already is not relayed again, and what does not come from a neighbour is not relayed at all. */
static void test_not_for_relaying(void **state)
{
    struct net *net = scenario_begin(1);
    struct mesh mesh;
    struct node *relay;
    struct iotsec_addr to;
    struct iotsec_addr from;
    uint8_t hello[128];
    uint8_t wrapped[256];
    size_t len = make_hello(net, hello);
    size_t wrapped_len = mesh_wrap(wrapped, sizeof wrapped, hello, 13, hello, len);
    size_t first;

    (void)state;
    mesh_init(&mesh, net, 80);
    relay = mesh_relay(&mesh, IOTSEC_RELAY_STATELESS, 1);
    to = node_join_port(relay, 1);
    from = to;
    from.ip[15] ^= 0x80;
    net_settle(net);
    first = net->tap_count;
    assert_int_equal(net_hand(relay, &from, &to, wrapped, wrapped_len), IOTSEC_ERR_UNEXPECTED);
    assert_int_equal(drops(relay, IOTSEC_RELAY_DROP_LOOP), 1);
    assert_int_equal(net_hand(relay, &mesh.manager->addr, &to, hello, len), IOTSEC_ERR_UNEXPECTED);
    assert_int_equal(drops(relay, IOTSEC_RELAY_DROP_LOOP), 2);
    from.ip[0] = 0xFD;
    assert_int_equal(net_hand(relay, &from, &to, hello, len), IOTSEC_ERR_UNEXPECTED);
    assert_int_equal(drops(relay, IOTSEC_RELAY_DROP_NOT_LINK_LOCAL), 1);
    from.ip[0] = 0xFE;
    assert_int_equal(net_hand(relay, &from, &to, "\x40\x01\x12\x34", 4), IOTSEC_ERR_DECODE);
    assert_int_equal(drops(relay, IOTSEC_RELAY_DROP_FORM), 1);
    assert_int_equal(mesh_sent_to(net, first, relay, &mesh.manager->addr, NULL), 0);
    assert_int_equal(net_hand(relay, &from, &to, hello, len), IOTSEC_OK);
    assert_int_equal(mesh_sent_to(net, first, relay, &mesh.manager->addr, NULL), 1);
    scenario_end(net);
}

/* ---- Invented headers ---- */

/* The last header that the relay made. */
static bool last_header(const struct net *net, const struct node *relay, uint8_t header[IOTSEC_RELAY_HEADER_MAX], size_t *len)
{
    size_t i;

    for (i = net->tap_count; i > 0; i--) {
        const struct net_datagram *datagram = &net->tap[i - 1];
        const uint8_t *start;
        const uint8_t *data;
        size_t data_len;

        if (datagram->sender == relay && datagram->relayed && mesh_unwrap(datagram, &start, len, &data, &data_len)) {
            memcpy(header, start, *len);
            return true;
        }
    }
    return false;
}

static void run_invented_replies(struct net *net)
{
    struct mesh mesh;
    struct node *relay;
    struct node *device;
    struct iotsec_addr to;
    uint8_t header[IOTSEC_RELAY_HEADER_MAX];
    size_t header_len = 0;
    uint32_t down;
    unsigned i;

    mesh_init(&mesh, net, 80);
    relay = mesh_relay(&mesh, IOTSEC_RELAY_STATELESS, 1);
    device = mesh_join(&mesh, relay, 1);
    assert_true(net_run_until(net, mesh_settled, device, 15 * SECOND));
    net_run_ms(net, SECOND);
    assert_true(last_header(net, relay, header, &header_len));
    assert_int_equal(header_len, IOTSEC_RELAY_HEADER_BYTES);
    to = upstream_of(relay, 0);
    down = relay->relay->relay.stats.down;
    for (i = 0; i < 200; i++) {
        uint8_t changed[IOTSEC_RELAY_HEADER_MAX];
        uint8_t out[256];
        uint8_t hello[128];
        size_t len = make_hello(net, hello);
        size_t changed_len = header_len;

        memcpy(changed, header, header_len);
        if (i % 4 == 0) {
            random_bytes(&net->random, changed, header_len);
        } else if (i % 4 == 1) {
            changed_len = random_below(&net->random, (uint32_t)header_len);
        } else {
            changed[random_below(&net->random, (uint32_t)header_len)] ^= (uint8_t)(1u << random_below(&net->random, 8));
        }
        len = mesh_wrap(out, sizeof out, changed, changed_len, hello, len);
        assert_int_equal(net_hand(relay, &mesh.manager->addr, &to, out, len), IOTSEC_ERR_AUTH);
    }
    assert_int_equal(drops(relay, IOTSEC_RELAY_DROP_HEADER), 200);
    assert_int_equal(relay->relay->relay.stats.down, down);
    /* not its manager: whatever the header says */
    for (i = 0; i < 20; i++) {
        struct iotsec_addr from = mesh.manager->addr;
        uint8_t out[256];
        uint8_t hello[128];
        size_t len = mesh_wrap(out, sizeof out, header, header_len, hello, make_hello(net, hello));

        from.port = (uint16_t)(from.port + 1);
        assert_int_equal(net_hand(relay, &from, &to, out, len), IOTSEC_ERR_UNEXPECTED);
    }
    assert_int_equal(drops(relay, IOTSEC_RELAY_DROP_NOT_MANAGER), 20);
    /* forms that are none */
    assert_int_equal(net_hand(relay, &mesh.manager->addr, &to, "\x83\x40\x41\x16\x40", 5), IOTSEC_ERR_DECODE);
    assert_int_equal(net_hand(relay, &mesh.manager->addr, &to, "\x16\xFE\xFD", 3), IOTSEC_ERR_DECODE);
    assert_int_equal(drops(relay, IOTSEC_RELAY_DROP_FORM), 2);
    mesh_check(&mesh);
}

static void test_invented_replies(void **state)
{
    (void)state;
    scenario_seeds(5, run_invented_replies);
}

static unsigned half_open_of(const struct node *manager, const struct iotsec_addr *addr)
{
    unsigned count = 0;
    size_t i;

    for (i = 0; i < manager->handshake_room; i++) {
        const struct iotsec_dtls_handshake *hs = &manager->handshakes[i];

        count += hs->slot.state != HS_FREE && hs->path.relayed != 0 && memcmp(hs->path.addr.ip, addr->ip, sizeof addr->ip) == 0;
    }
    return count;
}

/* An outsider invents joiners at the manager, at its own address and at a relay's: it gets half of the half-open
 * handshakes at most at each, and nobody who joins has to wait. With headers of others it moves nothing. */
static void run_invented_joiners(struct net *net)
{
    struct mesh mesh;
    struct node *relay;
    struct node *device;
    struct node *late;
    struct iotsec_dtls_path path;
    struct iotsec_addr outsider;
    struct iotsec_addr spoofed;
    uint8_t header[IOTSEC_RELAY_HEADER_MAX];
    size_t header_len = 0;
    size_t first;
    unsigned i;

    mesh_init(&mesh, net, 80);
    relay = mesh_relay(&mesh, IOTSEC_RELAY_STATELESS, 1);
    device = mesh_joiner(&mesh, relay, 1);
    device->move_after_ms = NET_STAY;
    node_boot(device);
    first = net->tap_count;
    node_join_through(device, relay, DOMAIN_GROUP);
    assert_true(net_run_until(net, mesh_settled, device, 15 * SECOND));
    net_run_ms(net, SECOND);
    assert_true(last_header(net, relay, header, &header_len));
    path = mesh_session(&mesh, device)->path;
    outsider = relay->addr;
    outsider.ip[15] ^= 0x80;
    spoofed = upstream_of(relay, 0);
    /* what went up, from elsewhere and behind the header of another relay's joiner */
    for (i = 0; i < 2; i++) {
        size_t last = net->tap_count;
        size_t k;

        for (k = first; k < last; k++) {
            struct net_datagram datagram = net->tap[k];

            if (datagram.sender == relay && datagram.relayed) {
                net_inject(net, &outsider, &mesh.manager->addr, datagram.data, datagram.len);
            }
        }
        net_run_ms(net, SECOND);
    }
    assert_memory_equal(&mesh_session(&mesh, device)->path, &path, sizeof path);
    for (i = 0; i < 400; i++) {
        uint8_t out[256];
        uint8_t hello[128];
        uint8_t invented[IOTSEC_RELAY_HEADER_MAX];
        size_t len = make_hello(net, hello);

        random_bytes(&net->random, invented, sizeof invented);
        len = mesh_wrap(out, sizeof out, invented, random_below(&net->random, sizeof invented + 1), hello, len);
        net_inject(net, i % 2 == 0 ? &outsider : &spoofed, &mesh.manager->addr, out, len);
        net_run_ms(net, 5);
        assert_true(half_open_of(mesh.manager, &outsider) <= mesh.manager->handshake_room / 2);
        assert_true(half_open_of(mesh.manager, &spoofed) <= mesh.manager->handshake_room / 2);
    }
    assert_memory_equal(&mesh_session(&mesh, device)->path, &path, sizeof path);
    assert_true(mesh_same_session(&mesh, device));
    late = mesh_join(&mesh, relay, 1);
    assert_true(net_run_until(net, mesh_settled, late, MINUTE));
    mesh_check(&mesh);
}

static void test_invented_joiners(void **state)
{
    (void)state;
    scenario_seeds(5, run_invented_joiners);
}

static const struct form_row {
    const char *data;
    size_t len;
} form_rows[] = {
    /* 1: one element */ { "\x81\x41\x16", 3 },
    /* 2: three */ { "\x83\x40\x41\x16\x40", 5 },
    /* 3: none */ { "\x80", 1 },
    /* 4: an indefinite string */ { "\x82\x5F\x41\x01\xFF\x41\x16", 7 },
    /* 5: text for bytes */ { "\x82\x61\x01\x41\x16", 5 },
    /* 6: nothing inside */ { "\x82\x41\x01\x40", 4 },
    /* 7: cut off */ { "\x82\x58", 2 },
    /* 8: a string beyond the end */ { "\x82\x41\x01\x58\xFF\x16", 6 },
    /* 9: something behind */ { "\x82\x41\x01\x41\x16\x00", 6 },
    /* 10: a header of 33 bytes */
    { "\x82\x58\x21" "012345678901234567890123456789012" "\x41\x16", 3 + 33 + 2 },
    /* 11: a relayed message inside */ { "\x82\x41\x01\x45\x82\x41\x01\x41\x16", 9 },
    /* 12: an array of 23 */ { "\x97\x41\x01\x41\x16", 5 },
    /* 13: a length of eight bytes */ { "\x82\x5B\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11 },
};

static void test_forms(void **state)
{
    struct net *net = scenario_begin(1);
    struct mesh mesh;
    struct node *relay;
    size_t first;
    size_t i;

    (void)state;
    mesh_init(&mesh, net, 80);
    relay = mesh_relay(&mesh, IOTSEC_RELAY_STATELESS, 1);
    net_settle(net);
    first = net->tap_count;
    for (i = 0; i < sizeof form_rows / sizeof form_rows[0]; i++) {
        unsigned before = mesh.manager->manager.dtls.stats.drops[IOTSEC_DROP_RELAY];

        if (net_hand(mesh.manager, &relay->addr, &mesh.manager->addr, form_rows[i].data, form_rows[i].len) == IOTSEC_OK ||
            mesh.manager->manager.dtls.stats.drops[IOTSEC_DROP_RELAY] != before + 1) {
            fail_msg("row %u was not refused as malformed", (unsigned)i + 1);
        }
    }
    assert_int_equal(mesh_sent_to(net, first, mesh.manager, &relay->addr, NULL), 0);
    assert_int_equal(mesh.manager->manager.dtls.handshakes_used, 0);
    scenario_end(net);
}

/* A manager that knows no relays drops what they wrap, and says so. */
static void test_unwanted(void **state)
{
    struct net *net = scenario_begin(1);
    struct mesh mesh;
    struct node *relay;

    (void)state;
    mesh_init(&mesh, net, 80);
    relay = mesh_relay(&mesh, IOTSEC_RELAY_STATELESS, 1);
    mesh.manager->manager_config.relayed = 0;
    node_reboot(mesh.manager);
    check_leads_nowhere(&mesh, relay);
    assert_true(mesh.manager->manager.dtls.stats.drops[IOTSEC_DROP_RELAY] +
                    mesh.manager->manager.dtls.stats.drops[IOTSEC_DROP_MALFORMED] +
                    mesh.manager->manager.dtls.stats.drops[IOTSEC_DROP_VERSION] > 5);
    scenario_end(net);
}

/* ---- Restarts and silence ---- */

static size_t relayed_down(struct net *net, const struct node *relay)
{
    (void)net;
    return relay->relay->relay.stats.down;
}

struct restart_step {
    struct node *relay;
    uint32_t down;
};

static bool has_relayed_down(struct net *net, void *user)
{
    const struct restart_step *step = user;

    return relayed_down(net, step->relay) >= step->down;
}

/* The relay restarts after its n-th reply: a kept key lets the handshake go on, whatever had come of it. */
static void run_restart(struct net *net, enum iotsec_relay_mode mode, bool keep_key)
{
    uint32_t replies = 1 + random_below(&net->random, 2);
    struct mesh mesh;
    struct node *relay;
    struct node *device;
    struct restart_step step;
    size_t first;

    mesh_init(&mesh, net, 80);
    relay = mesh_relay(&mesh, mode, 1);
    relay->relay->config.keep_key = mode == IOTSEC_RELAY_STATELESS && keep_key;
    node_reboot(relay);
    node_join(relay, mesh.manager, DOMAIN_GROUP);
    assert_true(net_run_until(net, mesh_settled, relay, MINUTE));
    first = net->tap_count;
    device = mesh_join(&mesh, relay, 1);
    step.relay = relay;
    step.down = replies;
    assert_true(net_run_until(net, has_relayed_down, &step, MINUTE));
    node_crash(relay);
    net_run_ms(net, random_below(&net->random, 3000));
    node_boot(relay);
    node_join(relay, mesh.manager, DOMAIN_GROUP);
    assert_true(mesh_run(&mesh, 3 * MINUTE));
    if (mode == IOTSEC_RELAY_STATELESS && keep_key) {
        assert_int_equal(mesh_hellos(net, first, device), 1);
    }
    mesh_check(&mesh);
}

static void run_restart_stateless(struct net *net)
{
    run_restart(net, IOTSEC_RELAY_STATELESS, true);
}

static void run_restart_forgetful(struct net *net)
{
    run_restart(net, IOTSEC_RELAY_STATELESS, false);
}

static void run_restart_stateful(struct net *net)
{
    run_restart(net, IOTSEC_RELAY_STATEFUL, false);
}

static void test_restart(void **state)
{
    (void)state;
    scenario_seeds(2, run_restart_stateless);
    scenario_seeds(2, run_restart_forgetful);
    scenario_seeds(2, run_restart_stateful);
}

/* Seconds on the way to the manager and back. */
static void run_late_manager(struct net *net)
{
    struct mesh mesh;
    struct node *relay;
    struct node *device;

    mesh_init(&mesh, net, 80);
    relay = mesh_relay(&mesh, (enum iotsec_relay_mode)random_below(&net->random, 2), 1);
    net->link.delay_ms = 2000;
    device = mesh_joiner(&mesh, relay, 1);
    device->device_config.handshake_timeout_ms = 60 * SECOND;
    node_boot(device);
    node_join_through(device, relay, DOMAIN_GROUP);
    assert_true(mesh_run(&mesh, 5 * MINUTE));
    assert_int_equal(drops(relay, IOTSEC_RELAY_DROP_NEIGHBOUR_RATE), 0);
    net->link.delay_ms = 10;
    net_run_ms(net, 10 * SECOND);
    mesh_check(&mesh);
}

static void test_late_manager(void **state)
{
    (void)state;
    scenario_seeds(5, run_late_manager);
}

/* A manager that has to ask for the PSK, and gets it late. */
static void run_slow_lookup(struct net *net)
{
    struct mesh mesh;
    struct node *relay;
    struct node *device;
    size_t first;

    mesh_init(&mesh, net, 80);
    relay = mesh_relay(&mesh, (enum iotsec_relay_mode)random_below(&net->random, 2), 1);
    device = mesh_joiner(&mesh, relay, 1);
    registry_device(mesh.manager->registry, device->number)->slow = true;
    first = net->tap_count;
    node_boot(device);
    node_join_through(device, relay, DOMAIN_GROUP);
    net_run_ms(net, 8 * SECOND);
    manager_answer_psk(mesh.manager, IOTSEC_OK);
    assert_true(net_run_until(net, mesh_settled, device, 15 * SECOND));
    check_moved(&mesh, device, first);
}

static void test_slow_lookup(void **state)
{
    (void)state;
    scenario_seeds(5, run_slow_lookup);
}

/* ---- Opening, closing, another key ---- */

static void run_closed(struct net *net)
{
    enum iotsec_relay_mode mode = (enum iotsec_relay_mode)random_below(&net->random, 2);
    struct mesh mesh;
    struct node *relay;
    struct node *device;

    mesh_init(&mesh, net, 80);
    relay = mesh_relay(&mesh, mode, 1);
    iotsec_relay_close(&relay->relay->relay);
    node_after(relay);
    check_leads_nowhere(&mesh, relay);
    assert_true(drops(relay, IOTSEC_RELAY_DROP_CLOSED) > 5);
    assert_int_equal(relay->relay->relay.stats.up, 0);
    assert_int_equal(iotsec_relay_open(&relay->relay->relay, 30), IOTSEC_OK);
    node_after(relay);
    device = mesh_join(&mesh, relay, 1);
    assert_true(net_run_until(net, mesh_settled, device, 15 * SECOND));
    net_run_ms(net, 30 * SECOND);
    assert_int_equal(iotsec_relay_is_open(&relay->relay->relay), 0);
    check_leads_nowhere(&mesh, relay);
    /* who is in and has moved does not need the relay */
    mesh_check(&mesh);
}

static void test_closed(void **state)
{
    (void)state;
    scenario_seeds(5, run_closed);
}

/* Another relay key gives every joiner another path: one that never moved is followed by its Connection ID. */
static void run_rotated(struct net *net)
{
    struct mesh mesh;
    struct node *relay;
    struct node *device;
    struct iotsec_dtls_path path;
    uint32_t key;
    size_t first;

    mesh_init(&mesh, net, 80);
    relay = mesh_relay(&mesh, IOTSEC_RELAY_STATELESS, 1);
    device = mesh_joiner(&mesh, relay, 1);
    device->move_after_ms = NET_STAY;
    device->device_config.status_interval_ms = 4 * MINUTE; /* it has nothing to say while the relay is closed */
    node_boot(device);
    first = net->tap_count;
    node_join_through(device, relay, DOMAIN_GROUP);
    assert_true(net_run_until(net, mesh_settled, device, 15 * SECOND));
    net_run_ms(net, SECOND);
    path = mesh_session(&mesh, device)->path;
    assert_int_equal(iotsec_relay_rotate(&relay->relay->relay), IOTSEC_ERR_STATE);
    iotsec_relay_close(&relay->relay->relay);
    net_run_ms(net, 20 * SECOND);
    assert_int_equal(iotsec_relay_rotate(&relay->relay->relay), IOTSEC_ERR_STATE);
    net_run_ms(net, 41 * SECOND);
    assert_int_equal(iotsec_relay_rotate(&relay->relay->relay), IOTSEC_OK);
    node_reboot(relay); /* it is the new key that lies in NVM */
    node_join(relay, mesh.manager, DOMAIN_GROUP);
    assert_int_equal(iotsec_relay_open(&relay->relay->relay, 0), IOTSEC_OK);
    /* the manager still answers with the header that it knows */
    key = manager_key(mesh.manager, DOMAIN_GROUP);
    assert_int_equal(iotsec_manager_group_renew(&mesh.manager->manager, DOMAIN_GROUP, 0), IOTSEC_OK);
    node_after(mesh.manager);
    assert_memory_equal(&mesh_session(&mesh, device)->path, &path, sizeof path);
    net_run_ms(net, SECOND);
    assert_true(node_key(device, DOMAIN_GROUP) > key);
    net_run_ms(net, 6 * MINUTE);
    assert_non_null(mesh_session(&mesh, device));
    assert_int_not_equal(memcmp(&mesh_session(&mesh, device)->path, &path, sizeof path), 0);
    assert_true(mesh_same_session(&mesh, device));
    assert_int_equal(manager_count(mesh.manager, IOTSEC_MANAGER_MOVED), 1);
    assert_int_equal(mesh_hellos(net, first, device), 1);
}

static void test_rotated(void **state)
{
    (void)state;
    scenario_seeds(5, run_rotated);
}

/* ---- Cookies ---- */

/* A cookie is good for one joiner behind one relay. */
static void run_cookies(struct net *net)
{
    struct mesh mesh;
    struct node *relay;
    struct node *device;
    struct iotsec_addr outsider;
    size_t first;
    size_t i;
    bool found = false;

    mesh_init(&mesh, net, 80);
    mesh.manager->manager_config.cookie_policy = IOTSEC_COOKIE_ALWAYS;
    node_reboot(mesh.manager);
    relay = mesh_relay(&mesh, IOTSEC_RELAY_STATELESS, 1);
    first = net->tap_count;
    device = mesh_join(&mesh, relay, 1);
    assert_true(net_run_until(net, mesh_settled, device, 15 * SECOND));
    check_moved(&mesh, device, first);
    net_run_ms(net, SECOND);
    outsider = relay->addr;
    outsider.ip[15] ^= 0x80;
    for (i = first; i < net->tap_count; i++) {
        struct net_datagram datagram = net->tap[i];
        const uint8_t *header;
        const uint8_t *data;
        uint8_t out[512];
        uint8_t other[IOTSEC_RELAY_HEADER_MAX];
        size_t header_len;
        size_t len;
        uint16_t before = mesh.manager->manager.dtls.stats.drops[IOTSEC_DROP_COOKIE];
        uint16_t used = mesh.manager->manager.dtls.handshakes_used;

        if (datagram.sender != relay || !datagram.relayed || !mesh_unwrap(&datagram, &header, &header_len, &data, &len) ||
            len < 61 || data[0] != IOTSEC_CONTENT_HANDSHAKE || data[13] != IOTSEC_HS_CLIENT_HELLO || data[60] == 0) {
            continue;
        }
        found = true;
        /* behind another header, from another relay, and bare */
        memcpy(other, header, header_len);
        other[header_len - 1] ^= 1;
        (void)net_hand(mesh.manager, &datagram.from, &mesh.manager->addr, out,
                       mesh_wrap(out, sizeof out, other, header_len, data, len));
        (void)net_hand(mesh.manager, &outsider, &mesh.manager->addr, datagram.data, datagram.len);
        (void)net_hand(mesh.manager, &datagram.from, &mesh.manager->addr, data, len);
        assert_int_equal(mesh.manager->manager.dtls.stats.drops[IOTSEC_DROP_COOKIE], before + 3);
        assert_int_equal(mesh.manager->manager.dtls.handshakes_used, used);
    }
    assert_true(found);
}

static void test_cookies(void **state)
{
    (void)state;
    scenario_seeds(5, run_cookies);
}

/* ---- Lies ---- */

/* What a relay that lies does with what it should pass on. */
struct liar {
    unsigned trick;
    uint8_t headers[2][IOTSEC_RELAY_HEADER_BYTES];
    struct iotsec_addr neighbours[2];
    unsigned known;
    uint8_t kept[NET_DATAGRAM_MAX];
    size_t kept_len;
    struct iotsec_addr kept_to;
    bool kept_up;
};

enum { SWAP_UP, SWAP_DOWN, SWAP_BOTH, DROP, DUPLICATE, REORDER, TRICKS };

static void liar_send(struct node *node, bool up, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    struct iotsec_addr from = up ? node->addr : node_join_port(node, to->interface);

    if (up) {
        from.port = NET_UPSTREAM_PORT;
    }
    net_transmit_as(node, &from, to, data, len);
}

static void lie(struct node *node, bool up, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    struct liar *liar = node->test;
    struct net_random *random = &node->net->random;
    uint8_t copy[NET_DATAGRAM_MAX];
    struct iotsec_addr other = *to;
    unsigned i;

    memcpy(copy, data, len);
    if (up && len > 3 + IOTSEC_RELAY_HEADER_BYTES && data[1] == 0x40 + IOTSEC_RELAY_HEADER_BYTES) {
        for (i = 0; i < liar->known && memcmp(liar->headers[i], data + 2, IOTSEC_RELAY_HEADER_BYTES) != 0; i++) {
        }
        if (i == liar->known && i < 2) {
            memcpy(liar->headers[liar->known++], data + 2, IOTSEC_RELAY_HEADER_BYTES);
        }
        if ((liar->trick == SWAP_UP || liar->trick == SWAP_BOTH) && liar->known == 2 && i < 2) {
            memcpy(copy + 2, liar->headers[1 - i], IOTSEC_RELAY_HEADER_BYTES);
        }
    }
    if (!up && (liar->trick == SWAP_DOWN || liar->trick == SWAP_BOTH)) {
        for (i = 0; i < 2; i++) {
            if (memcmp(liar->neighbours[i].ip, to->ip, sizeof to->ip) == 0) {
                other = liar->neighbours[1 - i];
                break;
            }
        }
    }
    if (liar->trick == DROP && random_below(random, 2) == 0) {
        return;
    }
    if (liar->trick == REORDER && liar->kept_len == 0 && random_below(random, 2) == 0) {
        memcpy(liar->kept, copy, len);
        liar->kept_len = len;
        liar->kept_to = other;
        liar->kept_up = up;
        return;
    }
    liar_send(node, up, &other, copy, len);
    if (liar->trick == DUPLICATE) {
        liar_send(node, up, &other, copy, len);
    }
    if (liar->kept_len != 0) {
        liar_send(node, liar->kept_up, &liar->kept_to, liar->kept, liar->kept_len);
        liar->kept_len = 0;
    }
}

/* Every session that the manager holds is with the device whose number it carries. */
static void check_sessions(const struct mesh *mesh)
{
    size_t i;
    size_t k;

    for (i = 0; i < mesh->domain.count; i++) {
        for (k = 0; k < mesh->domain.count; k++) {
            const struct iotsec_dtls_session *session = mesh_session(mesh, mesh->domain.devices[i]);
            const struct iotsec_dtls_session *own = mesh_own_session(mesh->domain.devices[k]);

            if (i != k && session != NULL && own != NULL) {
                assert_memory_not_equal(&session->write_key, &own->read_key, sizeof own->read_key);
                assert_memory_not_equal(&session->read_key, &own->write_key, sizeof own->write_key);
            }
        }
    }
}

static void run_liar(uint64_t seed)
{
    unsigned trick;

    for (trick = 0; trick < TRICKS; trick++) {
        struct net *world = scenario_begin(seed * TRICKS + trick);
        struct mesh mesh;
        struct liar liar;
        struct node *relay;
        struct node *devices[2];
        unsigned i;

        memset(&liar, 0, sizeof liar);
        liar.trick = trick;
        mesh_init(&mesh, world, 80);
        relay = mesh_relay(&mesh, IOTSEC_RELAY_STATELESS, 1);
        relay->test = &liar;
        relay->relay->lie = lie;
        for (i = 0; i < 2; i++) {
            devices[i] = mesh_joiner(&mesh, relay, 1);
            liar.neighbours[i] = node_local(devices[i], 1);
            node_boot(devices[i]);
            node_join_through(devices[i], relay, DOMAIN_GROUP);
            net_run_ms(world, random_below(&world->random, 20));
        }
        for (i = 0; i < 30; i++) {
            net_run_ms(world, SECOND);
            check_sessions(&mesh);
        }
        if (trick >= DROP) {
            assert_true(mesh_run(&mesh, 5 * MINUTE)); /* a bad link, and no worse than one */
        }
        relay->relay->lie = NULL;
        assert_true(mesh_run(&mesh, 5 * MINUTE));
        check_sessions(&mesh);
        assert_true(mesh_same_session(&mesh, devices[0]) && mesh_same_session(&mesh, devices[1]));
        mesh_check(&mesh);
        scenario_end(world);
    }
}

static void test_liar(void **state)
{
    uint64_t seed;

    (void)state;
    for (seed = 1; seed <= 3; seed++) {
        run_liar(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scenario(test_chain),          scenario(test_chain_with_loss), scenario(test_stay),
        scenario(test_neighbour_of_manager), scenario(test_many_stateless), scenario(test_many_stateful),
        scenario(test_flood_of_one),   scenario(test_flood_of_many),   scenario(test_loops),
        scenario(test_not_for_relaying), scenario(test_invented_replies), scenario(test_invented_joiners),
        scenario(test_forms),          scenario(test_unwanted),        scenario(test_restart),
        scenario(test_late_manager),   scenario(test_slow_lookup),     scenario(test_closed),
        scenario(test_rotated),        scenario(test_cookies),         scenario(test_liar),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
