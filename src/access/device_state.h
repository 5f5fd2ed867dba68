/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The joining device's inside.
 *
 *     device.c          set-up, what the application asks for, what arrives, what is due
 *     device_join.c     the session with the manager: join, contact lost and found, the end
 *     device_keys.c     key-management messages and the one request that is outstanding
 *     device_access.c   the link layer's keys, access parameters, the move to another address
 *     device_group.c    messages to and from groups; hints and asks
 *     device_share.c    the share of the domain's polynomial, and who is revoked
 *     device_pair.c     sessions with other devices
 *     device_persist.c  group keys and counters in NVM
 *
 * Only iotsec_dev_tell and the functions marked so run the application's code, which may call back:
 * after one of them a group is looked up again. The functions called ..._poll do what is due and lower `wait`
 * to the milliseconds until there is more.
 */
#ifndef IOTSEC_SRC_ACCESS_DEVICE_STATE_H
#define IOTSEC_SRC_ACCESS_DEVICE_STATE_H

#include <stdbool.h>

#include <iotsec/device.h>

#include "amikey/keymgmt.h"
#include "base/bytes.h"

/* Keys that were announced come within this (a step's longest interval is 8 s), else the manager is asked
 * again: one that was restarted meanwhile has to be noticed long before the join's time is over. */
#define KEYS_WAIT_MS 10000u
/* A request is sent this often; then, after about 18 s, contact is lost. At half lost each way, one in 500 gets here. */
#define REQUEST_ROUNDS_MAX 22u
/* Who sent within this before a newer key became known is told. */
#define SENT_LATELY_MS 10000u
/* Attempts to reach a lost manager, doubling from one to the other. */
#define CONTACT_INITIAL_MS 10000u
#define CONTACT_MAX_MS 3600000u
/* Who has paused as long as this before an attempt makes it in earnest: more pauses would not make the link free. */
#define CONTACT_EARNEST_MS 1800000u
/* The pause after a join that nobody answered, doubling too: what ten thousand devices need that get power at once. */
#define JOIN_PAUSE_INITIAL_MS 30000u
#define JOIN_PAUSE_MAX_MS 120000u
/* Between the hellos of an attempt after a pause: two in a handshake. */
#define JOIN_HELLO_WAIT_MS 12000u
/* An application that begins so long after the pause has waited enough. */
#define JOIN_FORGET_MS 120000u

/* Without Connection IDs no session outlives an address. */
#define MOVES (IOTSEC_ACCESS && IOTSEC_CONNECTION_ID)

/* iotsec_device.state */
enum {
    DEVICE_IDLE,          /* no manager; keys of an earlier life may be held */
    DEVICE_SENT_HELLO,    /* joining: the handshake runs */
    DEVICE_AUTHENTICATED, /* joining: the manager owes answers */
    DEVICE_JOINED,        /* with a session, or between two */
    DEVICE_LEFT           /* keys are gone, the manager is being told */
};

/* iotsec_device.flags */
#define DEVICE_BUSY 1u     /* inside iotsec_input or iotsec_poll */
#define DEVICE_TOUCHED 4u  /* deadlines may have changed since they were looked at: poll again */
#define DEVICE_ANSWERED 2u /* the handshake under way has brought a ServerHello of a manager */
/* Keys were wiped while this session stood. A repeat of them may still be under way in it, and would bring
 * back a sender ID whose counters are spent: no group is requested before the session is another one. */
#define DEVICE_WIPED_KEYS 8u
#define DEVICE_L2_USED 16u   /* frames are sent under l2_number's key */
#define DEVICE_ACCESS 32u    /* the application was told access parameters in this session */
#define DEVICE_OLD_WAY 64u   /* the manager is sought, or its session stood before a move, at joined_at */
#define DEVICE_MOVE_LOST 128u /* a move came to nothing: the application is to be told */

/* iotsec_device.pair_flags */
#define PAIRS_DUE 1u     /* SHARE_STATUS is to be sent as soon as no other request is outstanding */
#define PAIRS_ASK 2u     /* ... at share_at */
#define PAIRS_OVERLAP 4u /* share[1] is of the generation before, and serves until overlap_until */
#define PAIRS_REVIEW 8u  /* a generation has ended or a mark has come: sessions may have to be closed */
#define PAIRS_TELL 16u   /* the application is to be told of the newest share */
#define PAIRS_NONE 32u   /* it was told in this session that there is no polynomial */
#define PAIRS_HEARD 64u  /* SHARE_STATUS has been answered in this session: the manager knows that message */
#define PAIRS_RETRIED 128u /* it was not, and this session was opened for that reason */

/* iotsec_device_group.state; what the manager is asked when the group is DUE */
enum {
    GROUP_FREE,
    GROUP_WANTED, /* no keys yet: GROUP_REQUEST */
    GROUP_HELD,   /* keys are installed: STATUS */
    GROUP_LEFT    /* keys are gone: GROUP_LEAVE */
};

/* iotsec_device_group.flags */
#define GROUP_DUE 1u        /* the manager is to be asked as soon as no other request is outstanding */
#define GROUP_ASK 2u        /* ... at ask_at */
#define GROUP_HINT 4u       /* a hint is to be sent at hint_at */
#define GROUP_AWAITED 8u    /* JOINED waits for this group's answer */
#define GROUP_CONFLICT 16u  /* another TGK came under the installed key number */
#define GROUP_SENT 32u      /* sent_at counts */
#define GROUP_SPENT 64u     /* COUNTER was told */
#define GROUP_LISTENS 128u  /* the multicast address was joined */
#define GROUP_STALE 256u    /* restored from NVM: nothing is delivered before K has moved */
#define GROUP_QUIET 1024u   /* left because the join gave up: the application knows */
#define GROUP_NAMED 2048u   /* the hello of the handshake under way has asked for it */
#define GROUP_UNSAVED 512u  /* NVM does not know K or the sender ID: nothing is sent or delivered */

/* ---- device.c ---- */

uint32_t iotsec_dev_now(const struct iotsec_device *dev);
/* Below `limit`, for spreading things in time only: 0 when there are no random numbers. */
uint32_t iotsec_dev_random(const struct iotsec_device *dev, uint32_t limit);
/* Counts a drop; what iotsec_input says of it. */
enum iotsec_status iotsec_dev_drop(struct iotsec_device *dev, enum iotsec_drop reason);
/* Whether a deadline has come; if not, it is waited for. */
bool iotsec_dev_due(struct iotsec_device *dev, uint32_t deadline);
/* Runs the application's code. Fills in sender ID and key number from what is held. */
void iotsec_dev_tell(struct iotsec_device *dev, enum iotsec_device_event_kind kind, enum iotsec_status reason, uint16_t group_id);

/* The slot of that number, whatever is in it; NULL: there are no more. */
struct iotsec_device_group *iotsec_dev_slot(const struct iotsec_device *dev, unsigned number);
/* The group's slot, or NULL. */
struct iotsec_device_group *iotsec_dev_group(const struct iotsec_device *dev, uint16_t group_id);
/* The first group that has a flag set, or NULL. */
struct iotsec_device_group *iotsec_dev_flagged(const struct iotsec_device *dev, unsigned flag);
/* A free slot for the group, WANTED; or NULL. */
struct iotsec_device_group *iotsec_dev_group_new(struct iotsec_device *dev, uint16_t group_id);
/* Wipes everything about the group, in NVM too, but its ID; it is in `state` then. */
void iotsec_dev_group_forget(struct iotsec_device *dev, struct iotsec_device_group *group, uint8_t state);
/* Forgets everything that was received in the domain: groups, pairs and shares. */
void iotsec_dev_forget_domain(struct iotsec_device *dev);

/* ---- device_join.c ---- */

/* group_request and, behind it, device_identity. */
extern const struct iotsec_dtls_extension iotsec_dev_extensions[1 + IOTSEC_PAIRWISE];
/* What the handshake tells the device; with a key log if the application wants one, and with a look-up of PSKs if there
 * are pairs. */
const struct iotsec_dtls_callbacks *iotsec_dev_callbacks(const struct iotsec_device_config *config);
/* Starts a handshake with the manager. */
enum iotsec_status iotsec_dev_connect(struct iotsec_device *dev);
/* The pause before the next attempt, as it concerns a join that begins now. False: it is not over. */
bool iotsec_dev_begin_join(struct iotsec_device *dev);
/* Ends session and handshake, whichever there is, and any request. */
void iotsec_dev_disconnect(struct iotsec_device *dev);
/* Ends the session and opens another one at once; nobody is told. */
void iotsec_dev_renew_session(struct iotsec_device *dev);
/* The manager does not answer, or ended the session. Runs the application's code. */
void iotsec_dev_lose_contact(struct iotsec_device *dev, enum iotsec_status reason);
/* Forgets a join in progress: session, handshake, groups without keys. */
void iotsec_dev_end_join(struct iotsec_device *dev);
/* The join is over. Runs the application's code. */
void iotsec_dev_fail_join(struct iotsec_device *dev, enum iotsec_status reason);
/* The manager has put the device out of the domain. Runs the application's code. */
void iotsec_dev_expelled(struct iotsec_device *dev, enum iotsec_status reason);
/* A leave is over. Runs the application's code. */
void iotsec_dev_finish_leave(struct iotsec_device *dev, enum iotsec_status reason);
/* Deadline of the join, its end, attempts to reach the manager. Runs the application's code. */
void iotsec_dev_join_poll(struct iotsec_device *dev);

/* ---- device_keys.c ---- */

/* The manager's message. Runs the application's code. */
void iotsec_dev_take_message(struct iotsec_device *dev, uint8_t type, const uint8_t *data, size_t len);
/* Sends the outstanding request when it is due, or chooses the next one. Runs the application's code. */
void iotsec_dev_request_poll(struct iotsec_device *dev);
/* Asks the manager about the group after a while, which doubles until something newer comes. */
void iotsec_dev_ask(struct iotsec_device *dev, struct iotsec_device_group *group);
/* How long to wait before the next ask: between half of `*wait` (0: of the first one) and the whole of it, which doubles. */
uint32_t iotsec_dev_ask_delay(const struct iotsec_device *dev, uint32_t *wait);
/* ... after so many milliseconds. */
void iotsec_dev_ask_in(struct iotsec_device *dev, struct iotsec_device_group *group, uint32_t ms);
/* Hears the group at its address, and no longer at the one it had. */
void iotsec_dev_listen(struct iotsec_device *dev, struct iotsec_device_group *group, const struct iotsec_addr *was);
/* When the next routine STATUS is due. */
uint32_t iotsec_dev_next_status(const struct iotsec_device *dev);

/* A request of this kind, to be sent before any other. */
void iotsec_dev_start_request(struct iotsec_device *dev, uint8_t kind, uint16_t group_id);

/* ---- device_access.c ---- */

#if IOTSEC_ACCESS
/* ACCESS: installs the key. DONE or FAILED. */
enum iotsec_km_result iotsec_dev_take_access(struct iotsec_device *dev, const struct iotsec_km_message *message);
/* Tells the parameters, if they are new. Runs the application's code. */
void iotsec_dev_tell_access(struct iotsec_device *dev, const struct iotsec_km_message *message);
/* Out of the domain: sends what is under construction, and then has every L2 key removed. */
void iotsec_dev_forget_l2(struct iotsec_device *dev);
#if MOVES
/* Whether a move is under way and this is where the manager, or the way to it, was before. */
bool iotsec_dev_came_the_old_way(const struct iotsec_device *dev, const struct iotsec_addr *from);
/* The manager's answer to MOVED has come, or none did: the old way is used again. Runs the application's code. */
void iotsec_dev_end_move(struct iotsec_device *dev, bool confirmed);
#endif
/* The previous L2 key's end, a move that was lost. Runs the application's code. */
void iotsec_dev_access_poll(struct iotsec_device *dev);
#endif

/* ---- device_group.c ---- */

/* A datagram to a multicast address. Runs the application's code. */
enum iotsec_status iotsec_dev_group_input(struct iotsec_device *dev, const struct iotsec_addr *to, uint8_t *datagram, size_t len);
/* Sends to the group; an empty message is a hint. */
enum iotsec_status iotsec_dev_group_send(struct iotsec_device *dev, struct iotsec_device_group *group, const uint8_t *data,
                                         size_t len);
/* Announces the current key, unless somebody else does so before. */
void iotsec_dev_hint(struct iotsec_device *dev, struct iotsec_device_group *group);
/* The group's K has moved: what follows from it, before anybody is told. True: a message left so lately that
 * others may have dropped it for its old key. */
bool iotsec_dev_key_moved(struct iotsec_device *dev, struct iotsec_device_group *group);
/* Tells of a key, and, if so, that messages left under the one before it. Runs the application's code. */
void iotsec_dev_tell_key(struct iotsec_device *dev, enum iotsec_device_event_kind kind, uint16_t group_id, bool sent_lately);
/* Hints, asks, previous keys. Runs the application's code. */
void iotsec_dev_group_poll(struct iotsec_device *dev);

#if IOTSEC_PAIRWISE
/* ---- device_share.c ---- */

/* Wipes shares and revocations, and sets them up in the caller's storage. */
void iotsec_dev_shares_forget(struct iotsec_device *dev);
/* What SHARE_STATUS says behind its message ID. */
void iotsec_dev_share_status(const struct iotsec_device *dev, uint8_t out[11]);
/* M -> D  ACK of SHARE_STATUS, or none came (FAILED). Runs the application's code. */
void iotsec_dev_take_share_answer(struct iotsec_device *dev, uint8_t result);
/* M -> D  SHARE or REVOKED. What to acknowledge; `*answer` false: nothing. Runs the application's code through
 * iotsec_dev_share_tell, after the acknowledgement. */
enum iotsec_km_result iotsec_dev_take_share(struct iotsec_device *dev, const struct iotsec_km_message *message, bool *answer);
/* Tells what the message before has brought about, and closes what it ends. Runs the application's code. */
void iotsec_dev_share_tell(struct iotsec_device *dev);
/* The share of a generation, if it serves; 0: of the newest one that does. NULL: none. */
const struct iotsec_share *iotsec_dev_share(const struct iotsec_device *dev, uint32_t generation);
/* That of the newest generation known, whether it serves or not; it may be of generation 0. */
const struct iotsec_share *iotsec_dev_newest_share(const struct iotsec_device *dev);
/* Whether the device of that point was evicted. */
bool iotsec_dev_is_revoked(const struct iotsec_device *dev, const uint8_t point[IOTSEC_POLY_ELEMENT_BYTES]);
/* The end of an overlap; what is missing is asked for. Runs the application's code. */
void iotsec_dev_share_poll(struct iotsec_device *dev);

/* ---- device_pair.c ---- */

/* device_identity. Runs the application's code. */
enum iotsec_status iotsec_dev_write_identity(void *user, const struct iotsec_dtls_hello *hello, uint8_t *out, size_t size,
                                             size_t *len);
enum iotsec_status iotsec_dev_parse_identity(void *user, const struct iotsec_dtls_hello *hello, const uint8_t *body, size_t len);
/* Server: the PSK look-up. Runs the application's code. Client: the PSK, once the server's hello is there. */
enum iotsec_status iotsec_dev_pair_psk(void *user, iotsec_dtls_handle handshake, const uint8_t *identity, size_t len,
                                       struct iotsec_dtls_psk *psk);
enum iotsec_status iotsec_dev_pair_client_psk(void *user, const struct iotsec_dtls_hello *hello, struct iotsec_dtls_psk *psk);
/* The peer of a session may have lost it: a new one is tried, unless that was done lately. */
void iotsec_dev_pair_doubted(void *user, iotsec_dtls_handle session);
/* What the handshake and the sessions of pairs tell. Run the application's code. */
void iotsec_dev_pair_established(struct iotsec_device *dev, const struct iotsec_dtls_info *info);
void iotsec_dev_pair_event(struct iotsec_device *dev, iotsec_dtls_handle handle, enum iotsec_device_event_kind kind,
                           enum iotsec_status reason);
void iotsec_dev_pair_content(struct iotsec_device *dev, iotsec_dtls_handle session, const uint8_t *data, size_t len);
/* Gives a handshake up that only renews a session, if there is one: anybody can cause it. What somebody waits for goes first. */
bool iotsec_dev_pairs_make_room(struct iotsec_device *dev);
/* The manager is to be at that address: who is there, or is tried there, gives way. iotsec_poll tells. */
void iotsec_dev_pairs_yield(struct iotsec_device *dev, const struct iotsec_addr *addr);
/* Forgets every pair: sessions are closed, handshakes cancelled, messages wiped. Nobody is told. */
void iotsec_dev_pairs_forget(struct iotsec_device *dev);
/* Closes the sessions that may not go on: revoked peers, generations that no longer serve. Runs the application's code. */
void iotsec_dev_pairs_review(struct iotsec_device *dev);
/* Idle sessions; handshakes that were waited for. Runs the application's code. */
void iotsec_dev_pair_poll(struct iotsec_device *dev);
#endif

/* ---- device_persist.c ---- */

#if IOTSEC_PERSIST
/* Reads every slot back. Slots that are empty or damaged leave their group free. */
void iotsec_dev_restore(struct iotsec_device *dev);
/* Empties the group's slot. */
void iotsec_dev_erase(struct iotsec_device *dev, const struct iotsec_device_group *group);
/* Writes the group as it is. False: NVM still has what it had. */
bool iotsec_dev_save(struct iotsec_device *dev, struct iotsec_device_group *group);
/* Whether NVM knows K and the sender ID; tries again if it does not. */
bool iotsec_dev_saved(struct iotsec_device *dev, struct iotsec_device_group *group);
/* Whether the next counter is reserved; reserves a block if it is not. */
bool iotsec_dev_reserve(struct iotsec_device *dev, struct iotsec_device_group *group);
#endif

#endif
