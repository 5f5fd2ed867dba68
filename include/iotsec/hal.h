/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * What the library needs from its surroundings: crypto operations, a clock, datagrams, random
 * numbers, and, where a role uses them, multicast membership, the link layer's key and
 * non-volatile memory. A port fills in one struct iotsec_hal per instance.
 *
 * Threads: the library calls these functions only from inside a call of its own on the same
 * context, hence on that context's one thread. Two contexts may share a HAL only if its functions
 * may run on both threads at once. None of them may call back into the library.
 */
#ifndef IOTSEC_HAL_H
#define IOTSEC_HAL_H

#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A datagram's end. Two ends are the same if and only if all 20 bytes are: fill it with
 * iotsec_addr_* or set every member.
 */
struct iotsec_addr {
    uint8_t ip[16];     /**< IPv6 address, network byte order; IPv4 mapped (RFC 4291, section 2.5.5.2) */
    uint16_t port;      /**< UDP port, host byte order */
    uint16_t interface; /**< the port's number of the interface for link-local and multicast addresses, 0 otherwise */
};

/** What a device needs to take part in the network: the link layer's and the network layer's parameters. */
struct iotsec_access {
    uint8_t key_index;          /**< L2 key index, 1 to 255. The key itself goes to the HAL alone */
    uint16_t pan_id;            /**< IEEE 802.15.4 PAN ID */
    uint16_t short_address;     /**< this device's, unique in the PAN; IOTSEC_SHORT_ADDRESS_NONE: none */
    uint8_t prefix[8];          /**< the /64 that this device's own address begins with; all zero: none */
    struct iotsec_addr manager; /**< the domain manager's own address and port; interface 0 */
};

/** An AES-128 key as the crypto provider keeps it expanded. Lives on the stack for one operation. */
struct iotsec_aes {
    uint64_t storage[IOTSEC_AES_CONTEXT_BYTES / 8]; /**< the provider's; aligned for it */
};

/** A SHA-256 computation in progress. Copied by `sha256_clone` only. */
struct iotsec_sha256 {
    uint64_t storage[IOTSEC_SHA256_CONTEXT_BYTES / 8]; /**< the provider's; aligned for it */
};

/**
 * The crypto operations of a platform. Constant; shared by every instance. All of them return 0 on
 * success and a negative value when the hardware or library below fails; the library then answers
 * IOTSEC_ERR_CRYPTO and wipes what it had. None may block for longer than the computation takes.
 *
 * src/hal/ builds the one AES-CCM, HMAC and PRF of the library over them.
 */
struct iotsec_crypto {
    /** Prepares `aes` for encryption with `key`. Every success is followed by one `aes_done`. */
    int (*aes_start)(void *user, struct iotsec_aes *aes, const uint8_t key[16]);
    /** Encrypts one block; `out` may be `in`. */
    int (*aes_encrypt)(void *user, struct iotsec_aes *aes, const uint8_t in[16], uint8_t out[16]);
    /** Forgets the key and wipes `aes`. */
    void (*aes_done)(void *user, struct iotsec_aes *aes);

    /** Starts a hash. Every success is followed by one `sha256_finish` or `sha256_abort`. */
    int (*sha256_start)(void *user, struct iotsec_sha256 *sha);
    /** Adds `len` bytes. */
    int (*sha256_update)(void *user, struct iotsec_sha256 *sha, const uint8_t *data, size_t len);
    /** Makes `to` an independent copy of `from`; `to` holds nothing before, and counts as started after. */
    int (*sha256_clone)(void *user, struct iotsec_sha256 *to, const struct iotsec_sha256 *from);
    /** Writes the digest, releases and wipes `sha`, on failure too. */
    int (*sha256_finish)(void *user, struct iotsec_sha256 *sha, uint8_t digest[32]);
    /** Releases and wipes `sha` without a digest. */
    void (*sha256_abort)(void *user, struct iotsec_sha256 *sha);

    /**
     * Optional (NULL where there is none): one step of CTR encryption and CBC-MAC together, for
     * chips that do both at once: mac = AES(mac ^ plain); out = in ^ AES(counter), where plain is
     * `in` when sealing and `out` when opening. `in` and `out` are whole blocks, may be one, and
     * lie at any address.
     */
    int (*ccm_step)(void *user, struct iotsec_aes *aes, int opening, const uint8_t counter[16],
                    uint8_t mac[16], const uint8_t in[16], uint8_t out[16]);
};

/**
 * The surroundings of one instance. Constant during its life and owned by the caller.
 * Members marked optional may be NULL; a call that would need one answers IOTSEC_ERR_UNSUPPORTED.
 */
struct iotsec_hal {
    const struct iotsec_crypto *crypto; /**< the platform's crypto operations */
    void *user;                         /**< handed to every function here and to the crypto operations */

    /**
     * Fills `out` with `len` cryptographically strong random bytes. 0: done. < 0: none to be had;
     * nothing is sent that would have needed them. May block until the platform is seeded.
     */
    int (*random)(void *user, uint8_t *out, size_t len);

    /** Milliseconds on a clock that never steps back, modulo 2^32; its start is arbitrary. */
    uint32_t (*now_ms)(void *user);

    /**
     * Sends one datagram to a unicast or multicast address. 0: sent or queued. < 0: dropped; the
     * library retries where the protocol has a retransmission and treats it as a loss. Must not
     * block. `data` is valid during the call only.
     */
    int (*send)(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len);

    /** Optional: starts to receive datagrams sent to `group`. 0: done, or was done already. */
    int (*multicast_join)(void *user, const struct iotsec_addr *group);
    /** Optional: the opposite. Errors have no consequence. */
    void (*multicast_leave)(void *user, const struct iotsec_addr *group);

    /**
     * Optional: installs a link-layer key under a key index (1 to 255), for receiving; one that has the index is
     * replaced. 0: done. < 0: not possible now; the manager sends it again. `key` is valid during the call only
     * and comes only from an authenticated record. Installing the key that is installed must change nothing:
     * frame counters are not reset by it.
     */
    int (*l2_key_install)(void *user, uint8_t index, const uint8_t key[16]);
    /**
     * Optional: from now on frames are sent under the key of that index, which was installed. 0: done. < 0: not
     * possible now; it is asked for again.
     */
    int (*l2_key_use)(void *user, uint8_t index);
    /** Optional: forgets the key of that index, which is no longer used. Errors have no consequence. */
    void (*l2_key_remove)(void *user, uint8_t index);

    /**
     * Optional: reads a slot of non-volatile memory. > 0: the bytes read, at most `size`. 0: the
     * slot is empty. < 0: it is damaged or unreadable.
     */
    int (*nvm_read)(void *user, uint16_t slot, uint8_t *data, size_t size);
    /**
     * Optional: replaces a slot. 0: durable, and a later power loss leaves the old or the new
     * content, never a mixture. < 0: the old content stands; what depended on it is not sent.
     */
    int (*nvm_write)(void *user, uint16_t slot, const uint8_t *data, size_t len);
};

/**
 * Whether two ends are the same.
 * @param a,b the ends, not NULL
 * @return 1 if all 20 bytes are equal, 0 otherwise. Re-entrant.
 */
int iotsec_addr_equal(const struct iotsec_addr *a, const struct iotsec_addr *b);

/**
 * Whether an end has a link-local IPv6 address (fe80::/10).
 * @param addr the end, not NULL
 * @return 1 if it has, 0 otherwise. Re-entrant.
 */
int iotsec_addr_is_link_local(const struct iotsec_addr *addr);

/**
 * Whether an end is a multicast group (RFC 4291, section 2.7, or a mapped IPv4 group).
 * @param addr the end, not NULL
 * @return 1 if it is, 0 otherwise. Re-entrant.
 */
int iotsec_addr_is_multicast(const struct iotsec_addr *addr);

#if defined(IOTSEC_WITH_MBEDTLS) || defined(DOXYGEN)
/** Crypto operations over mbedTLS' own interface (2.28 and 3.x): no heap, no globals. The default. */
extern const struct iotsec_crypto iotsec_crypto_mbedtls;
#endif
#if defined(IOTSEC_WITH_PSA) || defined(DOXYGEN)
/**
 * Crypto operations over the PSA interface alone (2.28, 3.x). The application calls
 * psa_crypto_init() first. PSA keeps keys and hash states in globals and on the heap of its own.
 */
extern const struct iotsec_crypto iotsec_crypto_psa;
#endif

#ifdef __cplusplus
}
#endif

#endif
