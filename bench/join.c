/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Complete joins in the virtual network of tests/sim: handshake, keys of one group, acknowledgement.
 *
 *     join loss SHAPE LOSS BURST FIRST COUNT [OPTION]...   one line a join, seeds FIRST to FIRST + COUNT - 1
 *     join trace SHAPE [OPTION]...                         one line a datagram of one join without loss
 *
 * SHAPE: direct, or relay1 and relay3: over so many relays. LOSS in permille, of every hop and each datagram. BURST 0:
 * independent losses; else the mean length of a burst (Gilbert-Elliott, between the two ends as a whole; direct only).
 * OPTIONs: cookie, narrow (95 bytes of UDP payload fit the link), cid, access.
 *
 * A line of a join: seed; times when the device's handshake was complete, when it had its keys and when the manager knew that, in
 * ms from the start, -1 if not within a minute; datagrams and bytes of UDP payload that the two ends had sent at that last time.
 * A line of a datagram: time, who sent it, bytes, and its records as type:bytes, or type.message:bytes where it is readable.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <iotsec/protocol.h>

#include "mesh.h"
#include "scenario.h"

#define HORIZON_MS 60000
#define QUIET_MS 5000 /* the manager has been up for longer than the groups' interval of steps */
#define IDENTITY "lamp-kitchen-01" /* 15 bytes */
#define NARROW 95

struct join {
    struct mesh mesh;
    struct node *device;
    const struct node *relay; /* whom it joins through, or NULL */
    size_t first;             /* at the tap */
    uint64_t started;
    int64_t secured, joined;
    bool cookie, narrow, cid, access;
};

/* ---- Bursts ---- */

static struct {
    struct net *net;
    struct net_random random;
    bool bad;
    double to_bad, to_good;
    int (*send)(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len);
} burst;

static bool chance(double probability)
{
    return (double)(random_next(&burst.random) >> 11) < probability * 9007199254740992.0;
}

/* One step a datagram, whichever way it goes: in the bad state all is lost. */
static int send_in_bursts(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    burst.bad = burst.bad ? !chance(burst.to_good) : chance(burst.to_bad);
    if (burst.bad) {
        burst.net->drop_next = 1;
    }
    return burst.send(user, to, data, len);
}

static void start_bursts(struct net *net, unsigned loss, unsigned length, struct node *one, struct node *other)
{
    burst.net = net;
    burst.random.state = net->seed * 0x9E3779B97F4A7C15u + 7;
    burst.to_good = 1.0 / length;
    burst.to_bad = loss / (1000.0 - loss) / length;
    burst.bad = chance(loss / 1000.0);
    burst.send = one->hal.send;
    one->hal.send = send_in_bursts;
    other->hal.send = send_in_bursts;
}

/* ---- A join ---- */

static void heard(struct node *node, const struct iotsec_device_event *event)
{
    struct join *join = node->test;

    if (event->kind == IOTSEC_DEVICE_GROUP_JOINED && join->joined < 0) {
        join->joined = (int64_t)(node->net->now - join->started);
    }
}

static bool is_over(struct net *net, void *user)
{
    struct join *join = user;

    if (join->secured < 0 && join->device->dtls->sessions_used != 0) {
        join->secured = (int64_t)(net->now - join->started);
    }
    return join->joined >= 0 && registry_member(join->mesh.manager->registry, join->device->number, DOMAIN_GROUP) != NULL &&
           manager_count(join->mesh.manager, IOTSEC_MANAGER_MEMBER_JOINED) == join->mesh.domain.count;
}

static void name_device(struct node *device)
{
    snprintf(device->name, sizeof device->name, "%s", IDENTITY);
    device->device_config.identity_len = strlen(device->name);
}

/* Everything but the device itself stands, and nothing was lost so far. */
static void prepare(struct join *join, struct net *net, unsigned relays)
{
    struct mesh *mesh = &join->mesh;
    struct iotsec_manager_config *config;
    unsigned i;

    if (relays != 0 || join->access) {
        mesh_init(mesh, net, 8);
    } else {
        domain_init_for(&mesh->domain, net, 8);
        mesh->net = net;
        mesh->manager = mesh->domain.manager;
    }
    /* its registry keeps what there is so far */
    node_crash(mesh->manager);
    config = &mesh->manager->manager_config;
    config->cookie_policy = join->cookie ? IOTSEC_COOKIE_ALWAYS : IOTSEC_COOKIE_OFF;
    config->connection_id = relays != 0 || join->cid ? IOTSEC_CONNECTION_ID_ON : IOTSEC_CONNECTION_ID_OFF;
    config->link_payload = join->narrow ? NARROW : 0;
    node_boot(mesh->manager);
    for (i = 1; i <= relays; i++) {
        if (i == 1) {
            join->relay = mesh_relay(mesh, IOTSEC_RELAY_STATELESS, 1);
        } else {
            struct node *next = mesh_joiner(mesh, join->relay, (uint16_t)(i - 1));

            net_on_link(next, (uint16_t)i);
            net_relay(next, mesh->manager, IOTSEC_RELAY_STATELESS, true);
            node_boot(next);
            node_join_through(next, join->relay, DOMAIN_GROUP);
            assert_true(net_run_until(net, mesh_settled, next, 60000));
            join->relay = next;
        }
    }
    join->device = relays != 0 ? net_joiner(net, join->relay, (uint16_t)relays) : net_device(net);
    name_device(join->device);
    net_allow(mesh->manager, join->device, DOMAIN_GROUP);
    mesh->domain.devices[mesh->domain.count++] = join->device;
    if (join->cid) {
        join->device->device_config.connection_id = IOTSEC_CONNECTION_ID_ON;
    }
    if (join->narrow) {
        join->device->device_config.link_payload = NARROW;
    }
    join->device->test = join;
    join->device->on_event = heard;
    join->joined = join->secured = -1;
    net_run_ms(net, QUIET_MS);
    node_boot(join->device);
}

static void start(struct join *join, struct net *net)
{
    join->first = net->tap_count;
    join->started = net->now;
    if (join->relay != NULL) {
        node_join_through(join->device, join->relay, DOMAIN_GROUP);
    } else {
        node_join(join->device, join->mesh.manager, DOMAIN_GROUP);
    }
}

/* What the two ends sent to each other; group messages, and what relays pass on, are not among it. */
static bool counts(const struct join *join, const struct net_datagram *datagram)
{
    return (datagram->sender == join->device || datagram->sender == join->mesh.manager) && !datagram->relayed &&
           !iotsec_addr_is_multicast(&datagram->to);
}

static void lossy(struct join join, unsigned relays, unsigned loss, unsigned length, uint64_t seed)
{
    struct net *net = scenario_begin(seed);
    unsigned datagrams = 0;
    size_t bytes = 0;
    size_t i;
    bool over;

    prepare(&join, net, relays);
    if (length != 0) {
        start_bursts(net, loss, length, join.device, join.mesh.manager);
    } else {
        mesh_loss(net, loss);
    }
    start(&join, net);
    over = net_run_until(net, is_over, &join, HORIZON_MS);
    for (i = join.first; i < net->tap_count; i++) {
        if (counts(&join, &net->tap[i])) {
            datagrams++;
            bytes += net->tap[i].len;
        }
    }
    printf("%u %d %d %d %u %u\n", (unsigned)seed, (int)join.secured, (int)join.joined, over ? (int)(net->now - join.started) : -1, datagrams,
           (unsigned)bytes);
    scenario_end(net);
}

/* ---- A join without loss ---- */

static void print_records(const uint8_t *data, size_t len)
{
    while (len >= IOTSEC_RECORD_HEADER_BYTES) {
        bool cid = data[0] == IOTSEC_CONTENT_TLS12_CID;
        size_t header = IOTSEC_RECORD_HEADER_BYTES + (cid ? IOTSEC_CID_OWN_BYTES : 0);
        size_t size = header + ((size_t)data[header - 2] << 8 | data[header - 1]);

        if (size > len) {
            break;
        }
        if (data[0] == IOTSEC_CONTENT_HANDSHAKE && data[4] == 0) {
            size_t at = header;
            size_t before = header; /* the record's header is counted with its first message */
            size_t piece;

            for (; at + IOTSEC_HANDSHAKE_HEADER_BYTES <= size; at += piece, before = 0) {
                piece = IOTSEC_HANDSHAKE_HEADER_BYTES + ((size_t)data[at + 10] << 8 | data[at + 11]);
                printf(" %u.%u:%u", (unsigned)data[0], (unsigned)data[at], (unsigned)(before + piece));
            }
        } else {
            printf(" %u:%u", (unsigned)data[0], (unsigned)size);
        }
        data += size;
        len -= size;
    }
    printf("\n");
}

static void trace(unsigned relays, struct join *join)
{
    struct net *net = scenario_begin(1);
    size_t i;

    prepare(join, net, relays);
    start(join, net);
    assert_true(net_run_until(net, is_over, join, HORIZON_MS));
    net_settle(net);
    for (i = join->first; i < net->tap_count; i++) {
        const struct net_datagram *datagram = &net->tap[i];

        if (counts(join, datagram)) {
            printf("%u %s %u", (unsigned)(datagram->time - join->started),
                   datagram->sender == join->device ? "device" : "manager", (unsigned)datagram->len);
            print_records(datagram->data, datagram->len);
        }
    }
    scenario_end(net);
}

static void read_options(struct join *join, char **options)
{
    memset(join, 0, sizeof *join);
    for (; *options != NULL; options++) {
        join->cookie = join->cookie || strcmp(*options, "cookie") == 0;
        join->narrow = join->narrow || strcmp(*options, "narrow") == 0;
        join->cid = join->cid || strcmp(*options, "cid") == 0;
        join->access = join->access || strcmp(*options, "access") == 0;
    }
}

int main(int argc, char **argv)
{
    unsigned relays = argc > 2 && strncmp(argv[2], "relay", 5) == 0 ? (unsigned)atoi(argv[2] + 5) : 0;
    struct join join;

    if (argc >= 7 && strcmp(argv[1], "loss") == 0) {
        unsigned loss = (unsigned)atoi(argv[3]);
        unsigned length = (unsigned)atoi(argv[4]);
        uint64_t seed = strtoull(argv[5], NULL, 10);
        uint64_t end = seed + strtoull(argv[6], NULL, 10);

        read_options(&join, argv + 7);
        for (; seed < end; seed++) {
            lossy(join, relays, loss, length, seed);
        }
        return 0;
    }
    if (argc >= 3 && strcmp(argv[1], "trace") == 0) {
        read_options(&join, argv + 3);
        trace(relays, &join);
        return 0;
    }
    fprintf(stderr, "usage: join loss SHAPE LOSS BURST FIRST COUNT [OPTION]... | join trace SHAPE [OPTION]...\n");
    return 2;
}
