/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * IPv6 and UDP over IEEE 802.15.4: frames with link-layer security (IEEE 802.15.4-2006, CCM*), 6LoWPAN compression and
 * fragmentation (RFC 4944, RFC 6282), forwarding over hops, and multicast over hops. One interface, no heap, no globals,
 * no registers: the radio, AES and the store are callbacks.
 *
 *     net_frame    frame.c -> linksec.c -> fragment.c -> lowpan.c -> ip.c -> received(), or on to the next hop
 *     net_send     ip.c -> lowpan.c and fragment.c -> linksec.c -> frame.c -> send()
 *
 * What is secured. A frame is sent under the key in use, and a datagram is forwarded, routed by and handed to a group only
 * if it came that way. In the clear go only datagrams between link-local addresses, one hop, of which one end is the join port:
 *
 *     a joiner, until net_key_use -> join port of the neighbour that net_join_through named, or of all neighbours
 *     join port, if it is open  -> the joiner
 *     join port of that neighbour -> whoever joins through it, with a key or without
 *
 * Secured frames carry the sender's EUI-64: the nonce is made of it, so that a receiver needs no table of who has which
 * short address. A frame counter is used once, for whichever key, also over restarts (`reserve`). Frames of one sender
 * have to come with growing counters. That memory is in RAM: after a restart a recorded frame of somebody whom we have not
 * heard since is taken once; what it carries is for DTLS to judge.
 *
 * All times are milliseconds modulo 2^32. One context belongs to one thread. `received` may call everything here except
 * net_init, net_wipe, net_frame and net_poll; the other callbacks may call nothing.
 */
#ifndef MC1322X_NET_H
#define MC1322X_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <iotsec/hal.h>

#define NET_FRAME_BYTES 125u    /* of a PSDU of 127, without the FCS */
#define NET_HEADER_BYTES 48u    /* IPv6 and UDP, uncompressed */
#define NET_DATAGRAM_MIN 128u   /* bytes of a buffer: what one frame can hold */
#define NET_DATAGRAM_MAX 1280u  /* with the headers */
#define NET_KEYS 4u             /* one before, one in use, one to come, and one to spare */
#define NET_INTERFACE 1u        /* struct iotsec_addr's interface of link-local and multicast addresses */
#define NET_NO_SHORT_ADDRESS 0xFFFEu

/*
 * Sizes for a device; together with struct net they take 2.5 KB on a 32-bit machine. A neighbour is whoever may be in radio
 * range, and a manager needs a route for each device: of a domain of 32 in one room, 33 neighbours and 32 routes, 400 bytes more.
 */
#define NET_DEFAULT_DATAGRAM 400u
#define NET_DEFAULT_BUFFERS 3u
#define NET_DEFAULT_NEIGHBOURS 24u
#define NET_DEFAULT_ROUTES 16u
#define NET_DEFAULT_ORIGINATORS 6u
#define NET_DEFAULT_GROUPS 4u

/** What net_ functions answer. */
enum net_status {
    NET_OK = 0,              /**< done, or taken for sending */
    NET_ERR_ARGUMENT = -1,   /**< a number is out of its range, or a pointer that must not be NULL is */
    NET_ERR_TOO_LONG = -2,   /**< the datagram fits into no buffer */
    NET_ERR_FULL = -3,       /**< no buffer, or no place in a table, at the moment */
    NET_ERR_NO_KEY = -4,     /**< no key is in use, or it is not known, and what is to be sent must not go in the clear */
    NET_ERR_NO_ADDRESS = -5, /**< no address of a prefix to send from yet */
    NET_ERR_NO_ROUTE = -6,   /**< nobody is known who leads there */
    NET_ERR_NOT_DURABLE = -7, /**< the store did not take the next block of frame counters */
    NET_ERR_COUNTER_SPENT = -8, /**< all frame counters have been used: this EUI-64 sends no more */
    NET_ERR_CRYPTO = -9      /**< AES failed */
};

/** Why something that arrived, or was waiting to be sent, was dropped; the index into struct net_stats. */
enum net_drop {
    NET_DROP_FRAME,       /**< no data frame, of another version, cut off, or with fields that contradict each other */
    NET_DROP_NOT_OURS,    /**< another PAN's, or for another link-layer address */
    NET_DROP_PLAINTEXT,   /**< in the clear, where that is not allowed */
    NET_DROP_KEY,         /**< under a key that is not installed, one this sender has given up, or a weaker level than ours */
    NET_DROP_REPLAY,      /**< the frame counter is not above the sender's last one */
    NET_DROP_MIC,         /**< not authentic */
    NET_DROP_NEIGHBOURS,  /**< authentic, but there is no place to remember the sender's counter */
    NET_DROP_DISPATCH,    /**< a 6LoWPAN header that nobody here reads: mesh, extension headers, reserved values */
    NET_DROP_HEADER,      /**< a compressed, IPv6 or UDP header that is cut off or wrong */
    NET_DROP_CONTEXT,     /**< compressed with a context that we do not have */
    NET_DROP_FRAGMENT,    /**< fragments that overlap or contradict each other: the whole datagram is gone */
    NET_DROP_TIMEOUT,     /**< a datagram whose missing fragments did not come */
    NET_DROP_FULL,        /**< no buffer */
    NET_DROP_TOO_LONG,    /**< a datagram longer than a buffer */
    NET_DROP_ADDRESS,     /**< a source that cannot be: multicast, our own, unspecified, or link-local of another link-layer address */
    NET_DROP_CHECKSUM,    /**< of UDP */
    NET_DROP_NOT_FORWARDED, /**< for somebody else: forwarding is off, the hop limit is used up, or it would go back where it came from */
    NET_DROP_NO_ROUTE,    /**< for somebody else, and nobody is known who leads there */
    NET_DROP_SEEN,        /**< a multicast datagram that was here before: this is how flooding ends, no fault */
    NET_DROP_GROUP,       /**< a group that we are not in (it was passed on nevertheless) */
    NET_DROP_COUNTER,     /**< no frame counter could be had for a frame that waited */
    NET_DROP_CRYPTO,      /**< AES failed */
    NET_DROP_COUNT
};

/** What happened. `drops` saturate. Read them directly. */
struct net_stats {
    uint32_t frames_in;  /**< frames given to net_frame */
    uint32_t frames_out; /**< frames that `send` took */
    uint32_t received;   /**< datagrams handed to `received` */
    uint32_t forwarded;  /**< datagrams sent on for others */
    uint16_t drops[NET_DROP_COUNT]; /**< drops for each reason */
};

/** Link-layer security levels of frames that are sent, and the least of frames that are taken. */
enum net_level {
    NET_ENC_MIC_32 = 5, /**< encrypted, 4 bytes of MIC */
    NET_ENC_MIC_64 = 6  /**< encrypted, 8 bytes of MIC */
};

/** Private: how far a sender's counters have come. Arrays of it are the caller's; one for each node that may be in radio range. */
struct net_neighbour {
    uint32_t counter; /**< private: the highest one taken */
    uint16_t serial;  /**< private: of the key it came under; 0: free */
    uint8_t link[8];  /**< private */
};

/** Private: through whom a node below us is reached. Arrays of it are the caller's. */
struct net_route {
    uint32_t used_at;  /**< private: when it last sent something upwards */
    uint8_t iid[8];    /**< private: its address, behind the prefix */
    uint16_t neighbour; /**< private: 1 + the index of the neighbour; 0: free */
};

/** Private: which of an originator's multicast datagrams were here. Arrays of it are the caller's. */
struct net_originator {
    uint32_t used_at; /**< private */
    uint32_t seen;    /**< private: bit n: `last` - n was here; 0: free */
    uint8_t iid[8];   /**< private */
    uint8_t last;     /**< private: the newest sequence number */
};

/** Private: a group whose datagrams are taken. Arrays of it are the caller's. */
struct net_group {
    uint8_t ip[16]; /**< private; zeros: free */
};

/** Private: a datagram that is being put together, or waits to be sent. Arrays of it are the caller's. */
struct net_buffer {
    uint32_t since;           /**< private: of the first fragment; when the next piece is to be sent */
    uint16_t size;            /**< private: of the datagram, uncompressed */
    uint16_t tag;             /**< private: of its fragments */
    uint16_t offset;          /**< private: what has been sent; what has come */
    uint8_t state;            /**< private */
    uint8_t flags;            /**< private */
    uint8_t copies;           /**< private: how many more times it is sent */
    uint8_t sequence;         /**< private: of multicast over hops */
    uint8_t link[8];          /**< private: from whom, or to whom */
    uint8_t have[NET_DATAGRAM_MAX / 64]; /**< private: a bit for each 8 bytes that have come */
};

/** What is needed from outside. Constant, the caller's. `user` is that of struct net_config. */
struct net_callbacks {
    /**
     * Sends a frame (without its FCS), soon. 0: taken. < 0: no room at the moment; the same frame is offered again in the
     * next net_poll or net_send. Must not block. `frame` is valid during the call only. A frame whose bit 5 is set asks
     * for an acknowledgement; repeating it without one is this function's affair.
     */
    int (*send)(void *user, const uint8_t *frame, size_t len);
    /**
     * Takes a datagram for us or for a group that we are in. `secured`: 1 if it came under a link-layer key, 0 if in the
     * clear. `data` is the callee's to change, and valid during the call only.
     */
    void (*received)(void *user, const struct iotsec_addr *from, const struct iotsec_addr *to, uint8_t *data, size_t len,
                     int secured);
    /** AES-128: encrypts one block under `key`; `out` may be `in`. 0: done. < 0: it failed; nothing is sent or taken. */
    int (*aes)(void *user, const uint8_t key[16], const uint8_t in[16], uint8_t out[16]);
    /**
     * Makes durable that frame counters below `bound` may have been used: after a restart `counter` of the configuration
     * has to be the last `bound`. 0: durable. < 0: not; nothing is sent.
     */
    int (*reserve)(void *user, uint32_t bound);
};

/** How a context is set up. It and what it points to are the caller's, and stay as they are as long as the context is used. */
struct net_config {
    const struct net_callbacks *callbacks;
    void *user;                        /**< handed to the callbacks */
    uint8_t buffer_count;              /**< 1 or more */
    uint8_t neighbour_count;
    uint8_t route_count;
    uint8_t originator_count;
    uint8_t group_count;
    uint8_t level;                     /**< enum net_level */
    uint8_t flood_copies;              /**< how many times each node sends a multicast datagram, 1 to 8: frames to all have no acknowledgement */
    uint16_t datagram_size;            /**< NET_DATAGRAM_MIN to NET_DATAGRAM_MAX, a multiple of 8: the longest datagram with its headers of NET_HEADER_BYTES */
    uint16_t join_port;                /**< where joiners are heard: 5684 */
    struct net_buffer *buffers;        /**< storage; 3 are the least that put together, forward and answer at once */
    uint8_t *datagrams;                /**< storage: buffer_count x datagram_size bytes */
    struct net_neighbour *neighbours;  /**< storage; who finds no place is not heard until a key that somebody was heard under is removed */
    struct net_route *routes;          /**< storage; the one unused for longest makes room. NULL with a count of 0: everybody is in radio range */
    struct net_originator *originators; /**< storage; who finds no place is not heard in groups until one of the others has been silent for 10 s */
    struct net_group *groups;          /**< storage */
    uint8_t eui64[8];                  /**< ours, most significant byte first */
    uint32_t counter;                  /**< the last `bound` that was made durable; 0 if there was none. If the store is damaged there is none to be had: do not start */
    uint32_t counter_block;            /**< how many frame counters are made durable at once, 1 or more; that many are lost at a restart */
};

/** Private: a link-layer key. */
struct net_key {
    uint8_t key[16]; /**< private */
    uint16_t serial; /**< private: in the order of their installation; 0: free */
    uint8_t index;   /**< private */
};

/** One network layer. Members are private but for `stats`. */
struct net {
    const struct net_config *config; /**< private */
    uint32_t now;                   /**< private: of the last net_poll */
    /* bytes first: Thumb reaches them with one instruction up to 31 */
    uint8_t flags;                  /**< private */
    uint8_t used_key;               /**< private: 1 + its place; 0: none */
    uint8_t pending;                /**< private: length of a frame that `send` had no room for */
    uint8_t sequence;               /**< private: of the next frame */
    uint8_t flood_sequence;         /**< private: of the next multicast datagram over hops */
    uint16_t pan_id;                /**< private */
    uint16_t serial;                /**< private: of the newest key */
    uint16_t tag;                   /**< private: of the next fragmented datagram */
    uint32_t counter;               /**< private: the next frame counter */
    uint32_t bound;                 /**< private: it has to stay below this */
    uint32_t random;                /**< private: for pauses only */
    uint8_t own[8];                 /**< private: our EUI-64 as an identifier */
    uint8_t own_short[8];           /**< private: our short address as one; without it, as `own` */
    uint8_t prefix[8];              /**< private */
    uint8_t default_route[8];       /**< private */
    uint8_t join_peer[8];           /**< private */
    struct net_stats stats;         /**< what happened; read freely */
    struct net_key keys[NET_KEYS];  /**< private */
    uint8_t frame[NET_FRAME_BYTES + 2]; /**< private: the frame that is being made, or waits */
};

/**
 * Sets a context up. It has link-local addresses, but no key: it sends and takes nothing until net_join_through,
 * net_join_open or net_key_use. It does not forward.
 * @param net storage of the context; needs no initialisation
 * @param config kept by pointer
 * @param pan_id IEEE 802.15.4 PAN ID, not FFFF
 * @param now_ms the time
 * @return NET_OK, or NET_ERR_ARGUMENT
 */
int net_init(struct net *net, const struct net_config *config, uint16_t pan_id, uint32_t now_ms);

/** Wipes the keys and forgets everything. It may be set up again afterwards. */
void net_wipe(struct net *net);

/**
 * Takes the network's parameters (struct iotsec_access).
 * @param net the context
 * @param pan_id as in net_init
 * @param short_address ours, or NET_NO_SHORT_ADDRESS
 * @param prefix 8 bytes: the /64 of the addresses that are reached over hops, and compression context 0; NULL or zeros:
 *        none. Our own address is the prefix with the short address if there is one, else with the EUI-64; both are heard
 * @return NET_OK, or NET_ERR_ARGUMENT
 */
int net_set_address(struct net *net, uint16_t pan_id, uint16_t short_address, const uint8_t prefix[8]);

/** Our link-local address, from the EUI-64, and port 0. */
void net_link_local(const struct net *net, struct iotsec_addr *addr);

/** The link-local address of a neighbour with an EUI-64, and port 0. */
void net_link_local_of(const uint8_t eui64[8], struct iotsec_addr *addr);

/** The address that others know us by beyond our neighbours, and port 0. False: there is none yet. */
bool net_address(const struct net *net, struct iotsec_addr *addr);

/** To whom everything goes that no route is known for; NULL: nobody (the domain manager). The neighbour that was joined through. */
void net_set_default_route(struct net *net, const uint8_t eui64[8]);

/** Whether datagrams are passed on for others, and multicast is flooded. */
void net_set_forwarding(struct net *net, bool on);

/**
 * Opens and closes the join port for frames in the clear, and lets answers from it go in the clear to link-local addresses.
 * A relay and a manager have it open while devices may join.
 */
void net_join_open(struct net *net, bool open);

/**
 * Names the neighbour to join through. Frames in the clear are taken from its join port, and sent to it until net_key_use:
 * a key that was in use before rests there until then, or until NULL comes (nobody has answered under it: it may be an old one).
 * @param net the context
 * @param eui64 its EUI-64; zeros: any neighbour, and all at once by ff02::1 and ff02::2, in order to find one; NULL: no longer
 */
void net_join_through(struct net *net, const uint8_t eui64[8]);

/** struct iotsec_hal's l2_key_install: NET_OK, or NET_ERR_ARGUMENT. Of four keys that are all in the way the oldest unused one goes. */
int net_key_install(struct net *net, uint8_t index, const uint8_t key[16]);
/** struct iotsec_hal's l2_key_use: NET_OK, or NET_ERR_NO_KEY. */
int net_key_use(struct net *net, uint8_t index);
/** struct iotsec_hal's l2_key_remove. Index 0: all of them, to join anew. */
void net_key_remove(struct net *net, uint8_t index);

/** Takes the datagrams of a group: NET_OK (also if it was so already), NET_ERR_FULL, or NET_ERR_ARGUMENT if it is none. */
int net_group_join(struct net *net, const uint8_t group[16]);
/** The opposite. ff02::1 is always heard, and ff02::2 by whoever forwards. */
void net_group_leave(struct net *net, const uint8_t group[16]);

/**
 * Sends a datagram. Link-local addresses, and groups of link scope, reach the neighbours, from our link-local address. Other
 * groups reach every node in the PAN, and other addresses are reached over hops.
 * @param net the context
 * @param port the UDP port to send from
 * @param to where to; its interface has no meaning
 * @param data its bytes; copied
 * @param len their number; 0 is allowed
 * @retval NET_OK sent or queued
 * @retval NET_ERR_TOO_LONG longer than datagram_size - NET_HEADER_BYTES
 * @retval others as in enum net_status; nothing is sent
 */
int net_send(struct net *net, uint16_t port, const struct iotsec_addr *to, const uint8_t *data, size_t len);

/**
 * Takes a frame as the radio received it.
 * @param net the context; the time is that of the last net_poll
 * @param frame without the FCS; changed (decrypted in place)
 * @param len its bytes; any number
 */
void net_frame(struct net *net, uint8_t *frame, size_t len);

/**
 * Does what is due: sends what waits, gives up what did not come.
 * @param net the context
 * @param now_ms the time
 * @return milliseconds until it wants to be called again at the latest, UINT32_MAX for never
 */
uint32_t net_poll(struct net *net, uint32_t now_ms);

/** A reason's name for output, lower case; "unknown" beyond the last. */
const char *net_drop_name(enum net_drop drop);

#endif
