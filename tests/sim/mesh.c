/* SPDX-License-Identifier: BSD-3-Clause */
#include "mesh.h"

#include <string.h>

#include "net_private.h"
#include "record/join_proxy.h"

void mesh_init(struct mesh *mesh, struct net *net, size_t devices)
{
    struct iotsec_manager_config *config;
    uint8_t prefix[8] = { 0xFD };

    memset(mesh, 0, sizeof *mesh);
    mesh->net = net;
    mesh->domain.net = net;
    mesh->domain.manager = mesh->manager = net_manager_for(net, devices);
    config = &mesh->manager->manager_config;
    config->cookie_policy = (uint8_t)random_below(&net->random, 4);
    config->connection_id = IOTSEC_CONNECTION_ID_ON;
    config->relayed = 1;
    node_boot(mesh->manager);
    manager_group(mesh->manager, DOMAIN_GROUP);
    prefix[7] = (uint8_t)random_below(&net->random, 2); /* the manager's own address has it or not */
    assert_int_equal(iotsec_manager_access_set(&mesh->manager->manager, 0x1234, prefix, &mesh->manager->addr), IOTSEC_OK);
    node_after(mesh->manager);
}

static void add(struct mesh *mesh, struct node *device)
{
    if (mesh->domain.count < DOMAIN_MAX) {
        mesh->domain.devices[mesh->domain.count++] = device;
    }
    net_allow(mesh->manager, device, DOMAIN_GROUP);
    device->device_config.status_interval_ms = mesh->status_interval_ms;
}

struct node *mesh_device(struct mesh *mesh)
{
    struct node *device = net_device(mesh->net);

    add(mesh, device);
    return device;
}

struct node *mesh_relay(struct mesh *mesh, enum iotsec_relay_mode mode, uint16_t link)
{
    struct node *relay = mesh_device(mesh);

    net_on_link(relay, link);
    net_relay(relay, mesh->manager, mode, true);
    node_boot(relay);
    node_join(relay, mesh->manager, DOMAIN_GROUP);
    assert_true(net_run_until(mesh->net, mesh_settled, relay, 60000));
    return relay;
}

struct node *mesh_joiner(struct mesh *mesh, const struct node *relay, uint16_t link)
{
    struct node *device = net_joiner(mesh->net, relay, link);

    add(mesh, device);
    return device;
}

struct node *mesh_join(struct mesh *mesh, const struct node *relay, uint16_t link)
{
    struct node *device = mesh_joiner(mesh, relay, link);

    node_boot(device);
    node_join_through(device, relay, DOMAIN_GROUP);
    return device;
}

static bool has_moved(const struct node *node)
{
    const struct iotsec_device_event *event = node_event(node, IOTSEC_DEVICE_MOVED);

    return event != NULL && event->reason == IOTSEC_OK;
}

bool mesh_settled(struct net *net, void *user)
{
    const struct node *node = user;

    (void)net;
    if (!node->joined || !node_is_member(node, DOMAIN_GROUP)) {
        return false;
    }
    return !node->joiner || node->move_after_ms == NET_STAY || has_moved(node) ||
           (node->relay != NULL && node->relay->ready && node->boots > 1);
}

bool mesh_all_settled(struct net *net, void *user)
{
    const struct mesh *mesh = user;
    size_t i;

    for (i = 0; i < net->node_count; i++) {
        struct node *node = net->nodes[i];
        size_t k;
        bool out = false;

        for (k = 0; k < mesh->domain.count; k++) {
            out = out || (mesh->domain.devices[k] == node && mesh->domain.out[k]);
        }
        if (node->kind == NODE_DEVICE && node->powered && !out && !mesh_settled(net, node)) {
            return false;
        }
    }
    return true;
}

/* Again, as an application would. */
static void rejoin(struct mesh *mesh)
{
    uint16_t group = DOMAIN_GROUP;
    size_t i;

    for (i = 0; i < mesh->net->node_count; i++) {
        struct node *node = mesh->net->nodes[i];
        struct iotsec_addr to = mesh->manager->addr;

        if (node->kind != NODE_DEVICE || !node->powered || node_is_member(node, DOMAIN_GROUP)) {
            continue;
        }
        if (node->joiner && !node->routed) {
            to = node_join_port(node->parent, node->parent_link);
        }
        if (node->joined) {
            (void)iotsec_group_join(&node->device, DOMAIN_GROUP); /* EXISTS: it is at it already */
        } else {
            (void)iotsec_join(&node->device, &to, &group, 1); /* STATE: likewise */
        }
        node_after(node);
    }
}

static void tell_unsettled(const struct mesh *mesh)
{
    size_t i;
    size_t k;

    for (i = 0; i < mesh->net->node_count; i++) {
        const struct node *node = mesh->net->nodes[i];

        if (node->kind != NODE_DEVICE || !node->powered || mesh_settled(mesh->net, mesh->net->nodes[i])) {
            continue;
        }
        print_message("%s (%s%s):", node->name, node->joined ? "joined" : "out", node->routed ? ", routed" : "");
        for (k = node->event_count > 12 ? node->event_count - 12 : 0; k < node->event_count; k++) {
            print_message(" %d/%s", node->events[k].kind, iotsec_status_name(node->events[k].reason));
        }
        print_message("\n");
    }
}

bool mesh_run(struct mesh *mesh, uint64_t ms)
{
    uint64_t end = mesh->net->now + ms;

    while (mesh->net->now < end) {
        if (net_run_until(mesh->net, mesh_all_settled, mesh, 1000)) {
            return true;
        }
        rejoin(mesh);
    }
    tell_unsettled(mesh);
    return false;
}

void mesh_loss(struct net *net, unsigned permille)
{
    size_t i;

    net->link.loss_permille = permille;
    for (i = 0; i < NET_LINKS_MAX; i++) {
        net->links[i].loss_permille = permille;
    }
}

void mesh_check(struct mesh *mesh)
{
    struct net_link links[NET_LINKS_MAX];
    size_t i;

    memcpy(links, mesh->net->links, sizeof links);
    for (i = 0; i < NET_LINKS_MAX; i++) {
        memset(&mesh->net->links[i], 0, sizeof links[i]);
        mesh->net->links[i].delay_ms = 10;
    }
    domain_check(&mesh->domain);
    memcpy(mesh->net->links, links, sizeof links);
}

/* ---- Sessions ---- */

const struct iotsec_dtls_session *mesh_session(const struct mesh *mesh, const struct node *device)
{
    const struct iotsec_dtls_config *config = mesh->manager->dtls->config;
    size_t i;

    for (i = 0; mesh->manager->powered && i < config->session_count; i++) {
        if (config->sessions[i].slot.state != 0 && config->sessions[i].peer == device->number) {
            return &config->sessions[i];
        }
    }
    return NULL;
}

const struct iotsec_dtls_session *mesh_own_session(const struct node *device)
{
    size_t i;

    for (i = 0; device->powered && i < device->session_room; i++) {
        if (device->sessions[i].slot.state != 0 && device->sessions[i].slot.handle == device->device.session) {
            return &device->sessions[i];
        }
    }
    return NULL;
}

bool mesh_same_session(const struct mesh *mesh, const struct node *device)
{
    const struct iotsec_dtls_session *session = mesh_session(mesh, device);
    const struct iotsec_dtls_session *own = mesh_own_session(device);

    return session != NULL && own != NULL && memcmp(&session->write_key, &own->read_key, sizeof own->read_key) == 0 &&
           memcmp(&session->read_key, &own->write_key, sizeof own->write_key) == 0;
}

/* ---- The tap ---- */

unsigned mesh_hellos(const struct net *net, size_t first, const struct node *device)
{
    uint8_t seen[64][32];
    unsigned count = 0;
    size_t i;

    for (i = first; i < net->tap_count && count < 64; i++) {
        const struct net_datagram *datagram = &net->tap[i];
        unsigned k;

        if (datagram->sender != device || datagram->relayed || datagram->len < 59 ||
            datagram->data[0] != IOTSEC_CONTENT_HANDSHAKE || datagram->data[13] != IOTSEC_HS_CLIENT_HELLO) {
            continue;
        }
        for (k = 0; k < count && memcmp(seen[k], datagram->data + 27, 32) != 0; k++) {
        }
        if (k == count) {
            memcpy(seen[count++], datagram->data + 27, 32);
        }
    }
    return count;
}

unsigned mesh_handshake_records(const struct net *net, size_t first, const struct iotsec_addr *addr)
{
    unsigned count = 0;
    size_t i;

    for (i = first; i < net->tap_count; i++) {
        const struct net_datagram *datagram = &net->tap[i];
        uint8_t *next = datagram->data;
        size_t left = datagram->len;
        struct iotsec_record record;

        if (!iotsec_addr_equal(&datagram->from, addr) && !iotsec_addr_equal(&datagram->to, addr)) {
            continue;
        }
        while (left > 0 && iotsec_record_parse_cid(&record, IOTSEC_CID_OWN_BYTES, &next, &left) == IOTSEC_OK) {
            count += record.type == IOTSEC_CONTENT_HANDSHAKE || record.type == IOTSEC_CONTENT_CHANGE_CIPHER_SPEC;
        }
    }
    return count;
}

unsigned mesh_sent_to(const struct net *net, size_t first, const struct node *sender, const struct iotsec_addr *addr,
                      size_t *bytes)
{
    unsigned count = 0;
    size_t total = 0;
    size_t i;

    for (i = first; i < net->tap_count; i++) {
        const struct net_datagram *datagram = &net->tap[i];

        if (iotsec_addr_equal(&datagram->to, addr) && (sender == NULL || datagram->sender == sender)) {
            count++;
            total += datagram->len;
        }
    }
    if (bytes != NULL) {
        *bytes = total;
    }
    return count;
}

size_t mesh_wrap(uint8_t *out, size_t size, const uint8_t *header, size_t header_len, const uint8_t *data, size_t len)
{
    size_t overhead = iotsec_join_proxy_overhead(header_len, len);

    assert_true(overhead + len <= size);
    iotsec_join_proxy_write(out, header, header_len, len);
    memcpy(out + overhead, data, len);
    return overhead + len;
}

bool mesh_unwrap(const struct net_datagram *datagram, const uint8_t **header, size_t *header_len, const uint8_t **data,
                 size_t *len)
{
    return iotsec_join_proxy_is(datagram->data, datagram->len) &&
           iotsec_join_proxy_read(datagram->data, datagram->len, header, header_len, data, len) == IOTSEC_OK;
}
