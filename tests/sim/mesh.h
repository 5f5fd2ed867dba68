/* SPDX-License-Identifier: BSD-3-Clause */
/* A domain whose devices are hops away from the manager: access parameters, relays and who joins through them. */
#ifndef IOTSEC_TESTS_MESH_H
#define IOTSEC_TESTS_MESH_H

#include "domain.h"

struct mesh {
    struct domain domain; /* everybody who may be expected to be a member */
    struct net *net;
    struct node *manager;
    uint32_t status_interval_ms; /* of devices that are made from now on */
};

/* A manager with room for so many devices, which has access parameters and the group. Nobody is there yet. */
void mesh_init(struct mesh *mesh, struct net *net, size_t devices);
/* A member with a routable address that relays on a link; runs until it does. */
struct node *mesh_relay(struct mesh *mesh, enum iotsec_relay_mode mode, uint16_t link);
/* A device with a routable address; has no power yet. */
struct node *mesh_device(struct mesh *mesh);
/* A device in the neighbourhood of a relay; has no power yet. It may be in the group. */
struct node *mesh_joiner(struct mesh *mesh, const struct node *relay, uint16_t link);
/* The same, with power, and joining. */
struct node *mesh_join(struct mesh *mesh, const struct node *relay, uint16_t link);
/* For net_run_until: the node is a member and speaks from its own address; everybody is, who is to move at all. */
bool mesh_settled(struct net *net, void *node);
bool mesh_all_settled(struct net *net, void *mesh);
/* Runs until all are settled; who fell out of a join joins again through its relay. False: it took longer. */
bool mesh_run(struct mesh *mesh, uint64_t ms);
/* Sets the loss of every hop. */
void mesh_loss(struct net *net, unsigned permille);
/* Without loss, everybody hears everybody. */
void mesh_check(struct mesh *mesh);
/* The manager's session of a device, or NULL. */
const struct iotsec_dtls_session *mesh_session(const struct mesh *mesh, const struct node *device);
/* The session that the device has with its manager, or NULL. */
const struct iotsec_dtls_session *mesh_own_session(const struct node *device);
/* Both ends hold the same keys, and nobody else has them. */
bool mesh_same_session(const struct mesh *mesh, const struct node *device);

/* Among the tap's datagrams from `first` on: ClientHellos of a device with different randoms (all: any). */
unsigned mesh_hellos(const struct net *net, size_t first, const struct node *device);
/* Handshake records that crossed an address, in either direction. */
unsigned mesh_handshake_records(const struct net *net, size_t first, const struct iotsec_addr *addr);
/* Datagrams that went to an address, from any node or from `sender`. */
unsigned mesh_sent_to(const struct net *net, size_t first, const struct node *sender, const struct iotsec_addr *addr,
                      size_t *bytes);
/* Wraps a datagram as a relay would, behind any header. Returns the length. */
size_t mesh_wrap(uint8_t *out, size_t size, const uint8_t *header, size_t header_len, const uint8_t *data, size_t len);
/* Takes a relay's wrapping off a datagram of the tap; false if it has none. */
bool mesh_unwrap(const struct net_datagram *datagram, const uint8_t **header, size_t *header_len, const uint8_t **data,
                 size_t *len);

#endif
