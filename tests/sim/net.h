/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network of devices, managers, plain DTLS endpoints and attackers in one process and in virtual
 * time. The test owns the clock: nothing happens but inside net_run_*. Everything that is random comes
 * from one seed, so a failure repeats.
 *
 *     net = net_new(seed);
 *     m = net_manager(net);  a = net_device(net);  net_enroll(m, a);
 *     node_boot(m);  node_boot(a);
 *     manager_group(m, 7);  net_allow(m, a, 7);
 *     node_join(a, 7);  net_drop(net, 3);  net_run_ms(net, 20000);
 *     assert_member(a, 7);
 *
 * A tap sees every datagram as it leaves. Some checks are never off, and end the test where they fail:
 *
 *     nonces      no key seals two records under one nonce: neither a TEK nor a session's write key
 *     senders     a device seals group records with its present key and sender ID only
 *     durability  no key message leaves before what it says is durable in the registry
 *     deliveries  nobody is handed the same group message twice
 *     amplification  a server sends to an address (or to who stands behind a relay's header there) that has proved
 *                 nothing at most three times what came from it
 *     relays      a relay passes on what came, as it came, and once
 *     Connection IDs  who has asked for one finds it in every protected record
 *     link layer  a device uses no L2 key that it was not given, and holds no more than it needs
 *     time        a context that asks to be polled at once makes progress
 *     registry    see registry_memory.h
 *     pairs       a device has no more sessions with others than places for them, and is handed nothing before it was told of
 *                 the session; no key-management message leaves in such a session; every share is that of the registry's
 *                 polynomial for this device; who is put out of the domain keeps no share
 */
#ifndef IOTSEC_TESTS_NET_H
#define IOTSEC_TESTS_NET_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <iotsec/device.h>
#include <iotsec/dtls.h>
#include <iotsec/manager.h>
#include <iotsec/relay.h>

#include "registry_memory.h"

#define NET_NODES_MAX 256
#define NET_GROUPS_MAX 4        /* groups of one device */
#define NET_SENDERS_A_GROUP 96
#define NET_NVM_SLOTS 16
#define NET_NVM_BYTES 512
#define NET_DATAGRAM_MAX 2048
#define NET_PORT 5684
#define NET_FOREVER UINT64_MAX
#define NET_LINKS_MAX 16        /* radio neighbourhoods; number 0 is none */
#define NET_NODE_LINKS_MAX 2
#define NET_LOCAL_PORT 49152    /* a joiner's own, at its link-local address; the join port stays free for its relay */
#define NET_UPSTREAM_PORT 20000 /* of a relay's slot 0, at its routable address */
#define NET_RELAY_ENTRIES 32
#define NET_RELAY_BUCKETS 16
#define NET_RELAY_SLOT (NET_NVM_SLOTS - 1) /* of the relay key */
#define NET_L2_KEYS_MAX 4       /* in use, the one before, the next, and one to replace that */
#define NET_STAY UINT32_MAX
#define NET_FRAME_BYTES 38 /* of the layers below, on a shared link */
#define NET_PAIR_HANDSHAKES 4   /* of a device that talks to others, beside the manager's */

struct net;
struct node;

/* ---- Random numbers (splitmix64): good enough for tests, and the same everywhere ---- */

struct net_random {
    uint64_t state;
};
uint64_t random_next(struct net_random *random);
uint32_t random_below(struct net_random *random, uint32_t limit);
bool random_permille(struct net_random *random, unsigned permille);
void random_bytes(struct net_random *random, void *out, size_t len);

/* ---- The network ---- */

/* What happens to a datagram on its way. */
struct net_link {
    unsigned loss_permille;
    unsigned duplicate_permille; /* a second copy, with a delay of its own */
    unsigned corrupt_permille;   /* one to three bits flipped, or the end cut off */
    unsigned reorder_permille;   /* held back by up to reorder_ms more */
    uint32_t delay_ms;
    uint32_t jitter_ms;
    uint32_t reorder_ms;
};

/* One datagram as the tap saw it. Stays until net_free. */
struct net_datagram {
    uint64_t time;
    struct iotsec_addr from;
    struct iotsec_addr to;
    struct node *sender; /* NULL: injected by the test */
    uint8_t *data;
    size_t len;
    bool relayed; /* the sender's relay passed it on */
};

struct net_stats {
    unsigned datagrams;   /* that nodes sent */
    unsigned bytes;       /* UDP payload of those */
    unsigned delivered;
    unsigned lost;
    unsigned opened;      /* protected unicast records whose key the tap found */
    unsigned unopened;    /* and those it did not */
    unsigned group_records;
    unsigned unsent;      /* no address to send it from */
};

struct net_event;
struct net_set;

struct net {
    struct net_random random; /* for links and scenarios; nodes have their own */
    uint64_t seed;
    uint64_t now; /* ms since the beginning; what a node sees as time is its own affair */
    struct net_link link;  /* among routable addresses */
    /* One link that everybody shares: a byte is on it so long (0: there is none), others wait meanwhile; who would wait longer
     * than this is lost. */
    uint32_t byte_us;
    uint32_t queue_ms;
    uint64_t free_us;   /* when the last one that waits will have left */
    uint32_t shared_ms; /* what the present one takes until then */
    struct net_link links[NET_LINKS_MAX]; /* among the link-local addresses of one neighbourhood */
    unsigned drop_next; /* datagrams that are certainly lost */
    bool loopback;      /* a multicast reaches its own sender too */
    bool spare_data;    /* what holds a message between two devices is not lost */
    uint32_t late_poll_ms; /* nodes are polled up to this much later than they asked for */
    struct node *nodes[NET_NODES_MAX];
    size_t node_count;
    struct net_datagram *tap;
    size_t tap_count;
    size_t tap_room;
    struct net_event *events; /* a heap */
    size_t event_count;
    size_t event_room;
    uint64_t event_order;
    struct net_set *nonces;
    struct net_set *accounts;
    struct net_set *secrets; /* beginnings of what may be in no datagram */
    struct iotsec_record_key *keys; /* last write key for each pair of node and address */
    size_t key_count;
    size_t key_room;
    uint32_t messages; /* serial of the last group message */
    uint32_t tells;    /* of the last message between two devices */
    struct net_stats stats;
};

struct net *net_new(uint64_t seed);
void net_free(struct net *net);
/* Lets time pass. */
void net_run_ms(struct net *net, uint64_t ms);
/* Until `done` says so; false if that took longer than `ms`. */
bool net_run_until(struct net *net, bool (*done)(struct net *net, void *user), void *user, uint64_t ms);
/* Until nothing is on its way any more (timers do not count); at most 60 s. */
void net_settle(struct net *net);
/* The next datagrams are lost, whoever sends them. */
void net_drop(struct net *net, unsigned count);
/* loss 200 permille, 10 ms to 40 ms, some duplicated and reordered: a bad network. */
void net_rough(struct net *net, unsigned loss_permille);
/* The same for one link. */
void link_rough(struct net_link *link, unsigned loss_permille);
/* Sends bytes as if `from` had sent them. Subject to the link like any other datagram. */
void net_inject(struct net *net, const struct iotsec_addr *from, const struct iotsec_addr *to, const void *data, size_t len);
/* The same, to one node whatever `to` says, at once and without loss: what its input answered. */
enum iotsec_status net_hand(struct node *node, const struct iotsec_addr *from, const struct iotsec_addr *to,
                            const void *data, size_t len);
/* Sends everything again that the tap saw from index `first` on (up to `last`), as it was sent. */
void net_replay(struct net *net, size_t first, size_t last);
/* Nodes hear each other only if they are on the same side. */
void net_partition(struct node *node, int side);
void net_heal(struct net *net);

struct iotsec_addr net_group_addr(uint16_t group_id);

/* ---- Nodes ---- */

enum node_kind { NODE_DEVICE, NODE_MANAGER, NODE_DTLS };

struct node_heard {
    uint64_t time;
    uint32_t serial; /* 0: not one of node_say's */
    uint16_t group_id;
    uint16_t sender_id;
    uint16_t len;
};

struct node_group {
    uint16_t group_id;
    uint16_t sender_id;
    uint32_t key_number;
    bool member;
};

struct node_told { /* what another device has said */
    uint64_t time;
    uint32_t serial;
    struct node *from;
};

struct node_question { /* to another device, which is repeated until it is answered */
    struct node *peer;
    uint32_t number;
    unsigned tries; /* that the library has taken */
    bool answered;
    bool given_up;
    uint64_t due;
    uint64_t asked_at;
    uint64_t answered_at;
    enum iotsec_status status; /* of the last try */
};

struct node_l2_key {
    uint8_t index; /* 0: none */
    uint8_t key[16];
};

/* What makes a device a relay as well. Configurations may be changed before node_boot. */
struct node_relay {
    struct iotsec_relay relay;
    struct iotsec_relay_config config;
    struct iotsec_relay_entry entries[NET_RELAY_ENTRIES];
    struct iotsec_relay_bucket buckets[NET_RELAY_BUCKETS];
    uint8_t tx[NET_DATAGRAM_MAX];
    bool ready;          /* its device has been in the domain: it relays as soon as it has power */
    const uint8_t *passing; /* what it was handed and may pass on, once */
    size_t passing_len;
    /* A relay that lies: is given what it should have sent, and sends (net_transmit_as) what it likes. */
    void (*lie)(struct node *node, bool up, const struct iotsec_addr *to, const uint8_t *data, size_t len);
};

struct node_dtls_peer { /* an identity that a plain endpoint knows */
    const char *identity;
    uint8_t psk[16];
    uint32_t number;
};

struct node {
    struct net *net;
    enum node_kind kind;
    uint32_t number; /* of the device, the application's number at the manager; unique in the network */
    char name[24];
    uint8_t psk[16];
    struct iotsec_addr addr; /* routable */
    bool routed;             /* it has that address; a joiner gets one by ACCESS */
    bool joiner;             /* it has none when the power comes on */
    uint16_t links[NET_NODE_LINKS_MAX]; /* where it has a link-local address; a link's number is the interface's */
    const struct node *parent; /* what goes to and from its routable address crosses parent_link first, then the parent's */
    uint16_t parent_link;
    struct net_random random;
    uint32_t clock; /* what it adds to the network's time */
    unsigned boots;
    bool powered;
    bool unplugged; /* runs, but hears nobody and nobody hears it */
    const struct node *deaf_to; /* what this one sends does not reach it */
    int side;
    unsigned loss_permille; /* on top of the network's, both ways */
    unsigned timer;         /* events with an older number are void */
    uint64_t polled_at;     /* for the check of progress */
    unsigned polls;
    struct iotsec_addr multicast[NET_GROUPS_MAX * 2];
    size_t multicast_count;
    uint8_t nvm[NET_NVM_SLOTS][NET_NVM_BYTES];
    uint16_t nvm_len[NET_NVM_SLOTS];
    unsigned nvm_writes;
    unsigned nvm_fail; /* so many writes fail from now on */
    bool random_fails;
    struct node_l2_key l2[NET_L2_KEYS_MAX];
    uint8_t l2_used;  /* index of the key that it sends under, 0: none */
    unsigned l2_fail; /* so many installations fail from now on */
    struct node_relay *relay; /* NULL: it is none */

    struct iotsec_hal hal;
    uint8_t tx[1024];
    struct iotsec_dtls *dtls; /* the context inside the role's */

    /* What its application was told since the last node_boot; `all_` ever. */
    struct iotsec_device_event *events; /* without `peer`, which is valid during the callback only */
    struct node **event_peers;          /* the node of that name, or NULL */
    size_t event_peer_room;
    size_t event_count;
    struct iotsec_manager_event *manager_events;
    size_t manager_event_count;
    size_t event_room;
    struct node_heard *heard;
    size_t heard_count;
    size_t heard_room;
    uint8_t *all_heard; /* a bit a serial */
    size_t all_heard_bytes;
    bool joined;
    struct node_group groups[NET_GROUPS_MAX];
    void (*on_event)(struct node *node, const struct iotsec_device_event *event); /* runs inside the callback */
    struct iotsec_access access; /* the latest, of access_count */
    unsigned access_count;
    uint32_t move_after_ms; /* when it takes an address of its own after ACCESS; 0: inside the callback; NET_STAY: never */
    struct iotsec_addr move_to; /* manager, for then */
    enum iotsec_status move_status; /* what iotsec_moved answered last */
    struct iotsec_addr moved_addr;  /* a manager: address of the last MOVED event */
    uint32_t share_generation; /* that serves, as far as the application knows; 0: none */
    struct node_told *told;
    size_t told_count;
    size_t told_room;
    struct node_question *questions;
    size_t question_count;
    size_t question_room;
    bool asking;                    /* its questions are looked at by the clock */
    bool mute;                      /* it answers nobody */
    bool open_peers[NET_NODES_MAX]; /* by number less 1: the application knows of a session with it */
    void *test; /* the scenario's own */

    /* One of these, by kind. Configurations may be changed before node_boot. */
    struct iotsec_device device;
    struct iotsec_device_config device_config;
    struct iotsec_device_group device_groups[NET_GROUPS_MAX];
    struct iotsec_sender senders[NET_GROUPS_MAX * NET_SENDERS_A_GROUP];
    struct iotsec_pair *pairs;
    uint8_t *shares;
    uint8_t *pair_messages;

    struct iotsec_manager manager;
    struct iotsec_manager_config manager_config;
    struct registry_memory *registry;
    struct iotsec_manager_contact *contacts;
    struct iotsec_manager_group *manager_groups;
    struct iotsec_manager_member *members;
    struct iotsec_manager_delivery *deliveries;

    struct iotsec_dtls endpoint;
    struct iotsec_dtls_config endpoint_config;
    struct node_dtls_peer peers[8];
    size_t peer_count;
    iotsec_dtls_handle session; /* the latest */
    unsigned established;
    unsigned failed;
    unsigned closed;
    unsigned received;
    size_t received_bytes;
    enum iotsec_status last_reason; /* of `failed` or `closed` */
    uint32_t last_failed_peer;
    bool echo;

    struct iotsec_dtls_session *sessions;
    struct iotsec_dtls_handshake *handshakes;
    size_t session_room;
    size_t handshake_room;
};

/* Makes a node without starting it. */
struct node *net_device(struct net *net);
struct node *net_manager(struct net *net);
struct node *net_manager_for(struct net *net, size_t devices); /* with room for so many sessions */
struct node *net_dtls(struct net *net);
/* Enters a device's PSK in the manager's registry. */
struct registry_device *net_enroll(struct node *manager, const struct node *device);
/* Lets it into a group. */
void net_allow(struct node *manager, const struct node *device, uint16_t group_id);

/* Power on: the context starts from nothing but its NVM (and a manager from its registry). */
void node_boot(struct node *node);
/* The same, but tells what init answered. */
enum iotsec_status node_try_boot(struct node *node);
/* Power off, at once and without a word. */
void node_crash(struct node *node);
void node_reboot(struct node *node);
/* After calling the library directly: runs poll and sets the timer. */
void node_after(struct node *node);
/* Whether the node has no session and no handshake. */
bool node_is_idle(const struct node *node);
uint32_t node_drops(const struct node *node); /* all reasons, all layers */

/* ---- Hops ---- */

/* Gives a node a link-local address on a link. */
void net_on_link(struct node *node, uint16_t link);
/* A device that has nothing but a link-local address, in the neighbourhood of `parent`. */
struct node *net_joiner(struct net *net, const struct node *parent, uint16_t link);
/* Makes a device a relay as well, as soon as it is in the domain; before node_boot. It listens on all its links. */
void net_relay(struct node *device, const struct node *manager, enum iotsec_relay_mode mode, bool keep_key);
/* The address of the node's own role there; its relay has port NET_PORT. */
struct iotsec_addr node_local(const struct node *node, uint16_t link);
/* Where to join through it. */
struct iotsec_addr node_join_port(const struct node *relay, uint16_t link);
void node_join_through(struct node *device, const struct node *relay, uint16_t group_id);
/* Its routable address changes, and it does not know. */
void node_renumber(struct node *node);
/* A datagram as the node sends it, from any address: for relays that lie. No check looks at it. */
void net_transmit_as(struct node *node, const struct iotsec_addr *from, const struct iotsec_addr *to, const void *data,
                     size_t len);
/* The L2 key of an index, or NULL. */
const uint8_t *node_l2_key(const struct node *node, uint8_t index);

enum iotsec_status node_join_groups(struct node *device, const struct node *manager, const uint16_t *groups, size_t count);
void node_join(struct node *device, const struct node *manager, uint16_t group_id); /* 0: none */
/* Sends a group message with a serial of its own, which is returned; 0 when the library refused. */
uint32_t node_say(struct node *device, uint16_t group_id);
uint32_t node_say_len(struct node *device, uint16_t group_id, size_t len);
bool node_heard(const struct node *device, uint32_t serial);
bool node_is_member(const struct node *device, uint16_t group_id);
uint32_t node_key(const struct node *device, uint16_t group_id);
uint16_t node_sender(const struct node *device, uint16_t group_id);
unsigned node_count(const struct node *device, enum iotsec_device_event_kind kind);
/* The latest event of a kind, or NULL. */
const struct iotsec_device_event *node_event(const struct node *device, enum iotsec_device_event_kind kind);
const struct iotsec_csb *node_csb(const struct node *device, uint16_t group_id);

void manager_group(struct node *manager, uint16_t group_id);
void manager_evict(struct node *manager, const struct node *device);
unsigned manager_count(const struct node *manager, enum iotsec_manager_event_kind kind);
const struct iotsec_manager_event *manager_event(const struct node *manager, enum iotsec_manager_event_kind kind);
uint32_t manager_key(const struct node *manager, uint16_t group_id);
/* Answers every look-up that waits: from the devices' table, or with `status`. */
void manager_answer_psk(struct node *manager, enum iotsec_status status);

/* Adds an identity that a plain endpoint accepts as server. */
void dtls_know(struct node *endpoint, const char *identity, const uint8_t psk[16], uint32_t number);
enum iotsec_status dtls_connect(struct node *client, const struct node *server, const char *identity, const uint8_t *psk);
enum iotsec_status dtls_say(struct node *endpoint, const void *data, size_t len);

/* ---- Devices that talk to each other: talk.c ---- */

/* Gives a device places for so many others, and room for shares up to a degree; before node_boot. */
void net_pairs(struct node *device, uint16_t pairs, uint8_t degree_max);
/* A new polynomial for the domain. */
void manager_poly(struct node *manager, unsigned degree, bool overlap);
/* What the domain's polynomial comes to: its generation, or 0. */
uint32_t manager_generation(const struct node *manager);
/* Says something to a device at its own address, or at another. Returns its serial, 0 if the library refused; `status` may
 * be NULL. */
uint32_t node_tell(struct node *device, const struct node *peer, enum iotsec_status *status);
uint32_t node_tell_at(struct node *device, const struct node *peer, const struct iotsec_addr *addr, enum iotsec_status *status);
bool node_was_told(const struct node *device, uint32_t serial);
/* Asks a device something, again and again until it has answered. */
void node_ask(struct node *device, struct node *peer);
/* For net_run_until: whether every question of every device has its answer. */
bool net_answered(struct net *net, void *unused);
/* Questions that have none, of all devices. */
unsigned net_unanswered(const struct net *net);
/* All questions are forgotten. */
void net_forget_questions(struct net *net);
/* The pair in the device's table, or NULL; and its session with that device, or NULL. */
const struct iotsec_pair *node_pair(const struct node *device, const struct node *peer);
const struct iotsec_dtls_session *node_pair_session(const struct node *device, const struct node *peer);
unsigned node_pair_sessions(const struct node *device);
/* Both have a session with each other, and it is the same one. */
bool node_same_pair_session(const struct node *a, const struct node *b);
/* Events of a kind about one device, with one reason; with any (peer NULL, reason 1). */
unsigned node_peer_count(const struct node *device, enum iotsec_device_event_kind kind, const struct node *peer, int reason);
/* The share of a generation that a device holds completely, or NULL. */
const struct iotsec_share *node_share(const struct node *device, uint32_t generation);
/* No datagram so far holds a share's element, a polynomial's coefficient, a PSK or TGK of a pair, or what one said to
 * another. */
void net_check_secrets(struct net *net);

/* ---- Assertions ---- */

#define assert_joined(node) assert_true((node)->joined)
#define assert_member(node, gid) assert_true(node_is_member((node), (gid)))
#define assert_not_member(node, gid) assert_false(node_is_member((node), (gid)))

#endif
