/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The domain manager's inside.
 *
 *     manager.c          set-up, tables, sessions, requests, what the application asks for
 *     manager_keys.c     steps and generations: one transaction, then memory
 *     manager_deliver.c  messages that wait for their acknowledgement
 *     manager_access.c   L2 keys and the other access parameters
 *     manager_poly.c     the polynomial, its shares, and who is revoked
 *
 * Only iotsec_mgr_tell and the functions marked so run the application's code, which may call back:
 * after one of them contacts, members and groups are looked up again. Everything else may hold pointers.
 */
#ifndef IOTSEC_SRC_ACCESS_MANAGER_STATE_H
#define IOTSEC_SRC_ACCESS_MANAGER_STATE_H

#include <iotsec/manager.h>

#include "amikey/keymgmt.h"
#include "base/bytes.h"
#include "base/table.h"

/* Not a slot. */
#define MGR_NONE IOTSEC_TABLE_NONE
/* Not a slot either: in iotsec_mgr_cancel, deliveries of SHARE and REVOKED. */
#define MGR_SHARES 0x10000u

/* iotsec_manager.flags */
#define MGR_SCAN_AGAIN 0x01u /* a scan was asked for while one ran */
#define MGR_L2_STAGED 0x02u  /* the change at hand brings a next L2 key */
#define MGR_L2_TELL 0x04u    /* L2_KEY is to be told */
#define MGR_L2_TIMED 0x08u   /* the next L2 key's use waits for its time, whoever has it */
#define MGR_GROUPS_DUE 0x10u /* groups_due is a time */
#define MGR_REMOVED 0x20u    /* a removed group still has its slot */

/* What contacts are looked through for: indices of walk_left and walk_slot. */
enum { WALK_ACCESS, WALK_SHARES };

/* The tables that are found by a hash: indices of free_slot. Each entry begins with its link and what it is filed under. */
enum { TABLE_CONTACTS, TABLE_MEMBERS, TABLE_GROUPS, TABLES };

/* iotsec_manager_group.state */
enum {
    GROUP_FREE,
    GROUP_LIVE,
    GROUP_REMOVED /* gone from the registry; the scan tells its members and frees the slot */
};

/* iotsec_manager_group.flags */
#define GROUP_RESTING 0x01u  /* changed lately: no step before rest_until */
#define GROUP_RENEW 0x02u    /* a new generation is wanted as soon as the rest is over */
#define GROUP_STAGED 0x04u   /* takes part in the change at hand */
#define GROUP_FRESH 0x08u    /* with a new generation instead of a step */
#define GROUP_TELL 0x10u     /* GROUP_KEY is to be told */
#define GROUP_LISTED 0x20u   /* in the list of busy groups */
#define GROUP_SERVED 0x40u   /* staged because it was ready, not because somebody asked: rests if that fails */

/* iotsec_manager_member.flags */
#define MEMBER_WAITING 0x01u /* in its group's list: gets a fresh sender ID with the next change, and no keys before it */
#define MEMBER_PROVEN 0x02u  /* got its sender ID on the device's present session, or showed there that it holds it */
#define MEMBER_OWED 0x04u    /* keys are to be delivered, even if no new generation says so */
#define MEMBER_SENDING 0x08u /* a delivery of keys is under way */
#define MEMBER_NEW 0x10u     /* MEMBER_JOINED has not been told */
#define MEMBER_LOADED 0x20u  /* read from the registry at the start, and has not acknowledged any keys since */

/* iotsec_manager_contact.flags */
#define CONTACT_JOINED 0x01u  /* DEVICE_JOINED was told, so DEVICE_GONE will be */
#define CONTACT_CLOSING 0x02u /* refused or evicted: it is told so, and nothing else */
#define CONTACT_SILENT 0x04u  /* did not acknowledge; nothing is sent before it is heard again */
#define CONTACT_ASKED 0x08u   /* last_request is valid */
#define CONTACT_L2_SENDING 0x10u /* a delivery of ACCESS is under way */
#define CONTACT_L2_OWED 0x20u /* access parameters are to be delivered, even if no stage says so */
#define CONTACT_LEFT 0x40u    /* left the domain in this session: no L2 key any more */
#define CONTACT_MOVING 0x80u  /* last_request is a MOVED that waits for the path check */

/* iotsec_manager_contact.share_flags */
#define CONTACT_SHARE_WANTED 0x01u  /* it has asked in this session */
#define CONTACT_SHARE_SENDING 0x02u /* a delivery of SHARE or REVOKED is under way */
#define CONTACT_SHARE_TOLD 0x04u    /* SHARE was told for what it has */
#define CONTACT_SHARE_REFUSED 0x08u /* it has no room for this generation's */

/* ---- manager.c ---- */

uint32_t iotsec_mgr_now(const struct iotsec_manager *m);
/* OK, ERR_RANDOM. */
enum iotsec_status iotsec_mgr_random(const struct iotsec_manager *m, void *out, size_t len);
void iotsec_mgr_drop(struct iotsec_manager *m, enum iotsec_drop reason);
/* The index-th slot; NULL behind the last. */
struct iotsec_manager_group *iotsec_mgr_group_at(const struct iotsec_manager *m, unsigned index);
struct iotsec_manager_member *iotsec_mgr_member_at(const struct iotsec_manager *m, unsigned index);
/* Its number. */
uint16_t iotsec_mgr_member_index(const struct iotsec_manager *m, const struct iotsec_manager_member *member);
/* Gives a slot back, by its number: wiped, and filed under nothing. */
void iotsec_mgr_release(struct iotsec_manager *m, unsigned table, unsigned index);
/* What is found, or NULL. iotsec_mgr_group finds live groups only; iotsec_mgr_member looks in a group by its index. */
struct iotsec_manager_contact *iotsec_mgr_contact(const struct iotsec_manager *m, uint32_t device);
struct iotsec_manager_group *iotsec_mgr_group(const struct iotsec_manager *m, unsigned group_id);
struct iotsec_manager_member *iotsec_mgr_member(const struct iotsec_manager *m, uint32_t device, unsigned group);
/* Forgets a membership in memory; its delivery is cancelled. */
void iotsec_mgr_member_free(struct iotsec_manager *m, struct iotsec_manager_member *member);
/* Ends a device's session and forgets the contact. With a reason, the application hears of it: that runs its code. */
void iotsec_mgr_contact_close(struct iotsec_manager *m, struct iotsec_manager_contact *contact, uint8_t alert,
                              enum iotsec_status reason);
/* Runs the application's code. Fills in the address if it is NULL and known. */
void iotsec_mgr_tell_event(struct iotsec_manager *m, struct iotsec_manager_event *event);
/* Runs the application's code. Fills in address, sender ID and key number from what is known. */
void iotsec_mgr_tell(struct iotsec_manager *m, enum iotsec_manager_event_kind kind, enum iotsec_status reason, uint32_t device,
                     unsigned group_id);
#if IOTSEC_ACCESS || IOTSEC_PAIRWISE
/* Runs the application's code: of no group, with a number of the caller's. */
void iotsec_mgr_tell_number(struct iotsec_manager *m, enum iotsec_manager_event_kind kind, enum iotsec_status reason,
                            uint32_t device, uint32_t number);
#endif
/* What the application asked for is decided: sends, and tells it and the groups' members what came of it. Runs the
 * application's code. What to return. */
enum iotsec_status iotsec_mgr_finish(struct iotsec_manager *m, enum iotsec_status status);

/* ---- manager_keys.c ---- */

/* Draws TGK and RAND of a new generation. OK, ERR_RANDOM. */
enum iotsec_status iotsec_mgr_fresh_keys(const struct iotsec_manager *m, struct iotsec_registry_group *group);
/* Begins a transaction. OK, or what the registry says. */
enum iotsec_status iotsec_mgr_begin(const struct iotsec_manager *m);
/* Ends a transaction: with a commit if all went well, else with an abort. What became of it. */
enum iotsec_status iotsec_mgr_end(const struct iotsec_manager *m, enum iotsec_status status);
/*
 * Moves every group that has GROUP_STAGED set, by a step or (GROUP_FRESH) a new generation, gives all who
 * wait there a sender ID, takes `leaver` (0: nobody) out of them, marks it as evicted if asked to, in the list of
 * revocations too, and stages a next L2 key if MGR_L2_STAGED is set: all in one transaction. OK: durable, in memory, and
 * on its way to those who waited. Otherwise nothing has changed:
 * ERR_COUNTER, ERR_RANDOM, ERR_CRYPTO, ERR_REGISTRY.
 */
enum iotsec_status iotsec_mgr_change(struct iotsec_manager *m, uint32_t leaver, bool evicted);
/* Stages a group for a new generation: iotsec_mgr_change is to follow. */
void iotsec_mgr_stage(struct iotsec_manager *m, struct iotsec_manager_group *group, enum iotsec_status reason);
/* Notes when a group has to be looked at: now, or when it has rested. */
void iotsec_mgr_plan(struct iotsec_manager *m, struct iotsec_manager_group *group);
/* Files a member for a fresh sender ID. */
void iotsec_mgr_wait(struct iotsec_manager *m, struct iotsec_manager_member *member);
/* Takes it out again. */
void iotsec_mgr_unwait(struct iotsec_manager *m, struct iotsec_manager_member *member);
/* Asks for a new generation above a key number. */
void iotsec_mgr_renew(struct iotsec_manager *m, struct iotsec_manager_group *group, enum iotsec_status reason, uint32_t above);
/* Changes the groups in which somebody waits and whose rest is over. Runs the application's code. */
void iotsec_mgr_serve(struct iotsec_manager *m);
/* Tells of the groups and of the L2 key that have moved. Runs the application's code. */
void iotsec_mgr_tell_groups(struct iotsec_manager *m);
/* Milliseconds until iotsec_mgr_serve has something to do. */
uint32_t iotsec_mgr_serve_wait(const struct iotsec_manager *m, uint32_t now);

/* ---- manager_deliver.c ---- */

/* Whether a member should have newer keys than it has acknowledged. */
bool iotsec_mgr_owed(const struct iotsec_manager *m, const struct iotsec_manager_member *member);
/* Delivers a member's keys if that is allowed now, or leaves it to the scan. */
void iotsec_mgr_deliver(struct iotsec_manager *m, struct iotsec_manager_member *member);
/* Tells a device something that is no key. False: there is no room to wait for its acknowledgement, it was sent once. */
bool iotsec_mgr_notify(struct iotsec_manager *m, struct iotsec_manager_contact *contact, unsigned kind, unsigned group_id,
                       unsigned code);
/* A delivery to be filled in and started; NULL: none is free, so that the scan has to find again what it was for. */
struct iotsec_manager_delivery *iotsec_mgr_new_delivery(struct iotsec_manager *m);
/* Gives a delivery a new message ID and sends its first round. */
void iotsec_mgr_start(struct iotsec_manager *m, struct iotsec_manager_delivery *d, struct iotsec_manager_contact *contact);
/* Sends one message as it is. */
void iotsec_mgr_send(struct iotsec_manager *m, const struct iotsec_manager_contact *contact,
                     const struct iotsec_km_message *message);
/* Forgets the deliveries to a device (0: to any): all of them (MGR_NONE); those of shares (MGR_SHARES); or what one group (by
 * index) is about, keys and refusals, but with device 0 only keys. */
void iotsec_mgr_cancel(struct iotsec_manager *m, uint32_t device, unsigned what);
/* The member holds the keys of that number. Runs the application's code. */
void iotsec_mgr_acknowledge(struct iotsec_manager *m, struct iotsec_manager_member *member, uint32_t key_number);
/* D -> M  ACK. Runs the application's code. */
void iotsec_mgr_take_ack(struct iotsec_manager *m, struct iotsec_manager_contact *contact, const struct iotsec_km_message *message);
/* Looks through members and contacts, a few at a call, for keys that are owed. */
void iotsec_mgr_scan_request(struct iotsec_manager *m);
/* The next slot of `count` in turn; `hand` is there. */
static inline unsigned iotsec_mgr_turn(uint16_t *hand, unsigned count)
{
    unsigned slot = *hand;

    *hand = (uint16_t)(slot + 1u < count ? slot + 1u : 0);
    return slot;
}

/* Repeats what is due, and looks on through members and contacts. Runs the application's code. */
void iotsec_mgr_deliver_poll(struct iotsec_manager *m);
/* Milliseconds until iotsec_mgr_deliver_poll has something to do. */
uint32_t iotsec_mgr_deliver_wait(const struct iotsec_manager *m, uint32_t now);

/* ---- manager_access.c ---- */

#if IOTSEC_ACCESS
/* Reads the access parameters at the start. OK, ERR_REGISTRY. */
enum iotsec_status iotsec_mgr_access_load(struct iotsec_manager *m);
/* Delivers to a contact what it is owed, if that is allowed now, or leaves it to the scan. */
void iotsec_mgr_access_deliver(struct iotsec_manager *m, struct iotsec_manager_contact *contact);
/* What ACCESS says at the stage that a delivery stands for. */
void iotsec_mgr_access_fill(const struct iotsec_manager *m, const struct iotsec_manager_delivery *d, struct iotsec_km_message *message);
/* D -> M  ACK of ACCESS. Runs the application's code. */
void iotsec_mgr_access_acknowledge(struct iotsec_manager *m, struct iotsec_manager_contact *contact, uint32_t stage);
/* With MGR_L2_STAGED: draws a next L2 key and writes it. OK, ERR_COUNTER, ERR_RANDOM, ERR_REGISTRY. */
enum iotsec_status iotsec_mgr_l2_stage(struct iotsec_manager *m);
/* The transaction has ended: the next L2 key holds and goes to everybody but the leaver, or is forgotten. */
void iotsec_mgr_l2_apply(struct iotsec_manager *m, enum iotsec_status status, uint32_t leaver);
/* The device is out of the domain: forgets the deliveries to it, and starts no more of ACCESS in this session. */
void iotsec_mgr_l2_leave(struct iotsec_manager *m, uint32_t device);
/* Tells of the L2 key if it has moved. Runs the application's code. */
void iotsec_mgr_l2_tell(struct iotsec_manager *m);
/* Puts the next L2 key to use when that is due. Runs the application's code. */
void iotsec_mgr_access_poll(struct iotsec_manager *m);
/* Milliseconds until iotsec_mgr_access_poll has something to do. */
uint32_t iotsec_mgr_access_wait(const struct iotsec_manager *m, uint32_t now);
#endif

/* ---- manager_poly.c ---- */

#if IOTSEC_PAIRWISE
/* Reads the polynomial's row at the start. OK, ERR_REGISTRY. */
enum iotsec_status iotsec_mgr_poly_load(struct iotsec_manager *m);
/* D -> M  SHARE_STATUS: sets down what the device lacks and says what to answer. Runs the application's code. */
enum iotsec_km_result iotsec_mgr_take_share_status(struct iotsec_manager *m, struct iotsec_manager_contact *contact,
                                                   const struct iotsec_km_message *message);
/* Delivers to a contact the next piece of what it is owed, if that is allowed now, or leaves it to the scan. */
void iotsec_mgr_share_deliver(struct iotsec_manager *m, struct iotsec_manager_contact *contact);
/* Sends SHARE or REVOKED, computed anew each time: no share is kept. False: the registry failed, nothing was sent. */
bool iotsec_mgr_share_send(struct iotsec_manager *m, const struct iotsec_manager_delivery *d, const struct iotsec_manager_contact *contact);
/* D -> M  ACK of SHARE or REVOKED. Runs the application's code. */
void iotsec_mgr_share_acknowledge(struct iotsec_manager *m, struct iotsec_manager_contact *contact,
                                  const struct iotsec_manager_delivery *d, uint8_t result);
/* The device has left the domain: it gets no more, unless it asks anew. */
void iotsec_mgr_share_leave(struct iotsec_manager *m, uint32_t device);
/* In a transaction in which `leaver` is evicted: adds its mark, or writes a new polynomial if there is no room for it.
 * OK, ERR_COUNTER, ERR_RANDOM, ERR_REGISTRY. */
enum iotsec_status iotsec_mgr_poly_stage(struct iotsec_manager *m, uint32_t leaver);
/* The transaction has ended: what was staged holds and goes to everybody who wants it, or is forgotten. */
void iotsec_mgr_poly_apply(struct iotsec_manager *m, enum iotsec_status status);
/* Tells of a new polynomial. Runs the application's code. */
void iotsec_mgr_poly_tell(struct iotsec_manager *m);
/* Whether a share may take a place in the pool: keys come first. */
bool iotsec_mgr_share_has_place(const struct iotsec_manager *m);
#endif

#endif
