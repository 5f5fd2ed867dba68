/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Steps and generations: when a group moves, and the transaction that moves it.
 *
 *     somebody joined, nobody left       K -> K + 1                TGK[K+1] = PRF(TGK[K], ...)
 *     somebody left or was evicted       K -> next generation      TGK and RAND drawn anew
 *     step 255, sender IDs used up,      K -> next generation      the same
 *     a member ahead, a conflict
 *
 *     M -> registry  begin; a group: put_group, delete_member of who left, put_member of who waits; put_evicted, put_poly, put_access; commit
 *     M              the same in memory
 *     M -> D         keys, to those who waited (manager_deliver.c; the others follow the ratchet, or the scan serves them)
 *
 * The order is what makes a crash harmless: before the commit nobody has seen anything of the new key
 * number, after it the registry will never assign its sender IDs again.
 */
#include "access/manager_state.h"

#include <iotsec/csb.h>

#if IOTSEC_ROLE_MANAGER

/* Who waits counts up to here at most: next_sender has no larger value. */
#define SENDER_LIMIT (IOTSEC_SENDER_ID_MAX + 1u)
/* The interval doubles with every block of this many steps. */
#define STEPS_PER_DOUBLING 64u
/* A failing registry is asked again after the interval, doubled up to this often. */
#define FAILURES_MAX 6u

enum iotsec_status iotsec_mgr_fresh_keys(const struct iotsec_manager *m, struct iotsec_registry_group *group)
{
    enum iotsec_status status = iotsec_mgr_random(m, group->tgk, sizeof group->tgk);

    return status == IOTSEC_OK ? iotsec_mgr_random(m, group->rand, sizeof group->rand) : status;
}

/* Sender IDs that a change needs: one for everybody who waits. */
static unsigned count_waiting(const struct iotsec_manager *m, const struct iotsec_manager_group *group, uint32_t leaver)
{
    const struct iotsec_manager_member *member;
    unsigned count = 0;
    unsigned i;

    for (i = group->waiting; (member = iotsec_mgr_member_at(m, i)) != NULL; i = member->next) {
        count += member->device != leaver;
    }
    return count;
}

/* The sender IDs of a generation are used up: in the next one everybody gets a new one. */
static void renumber(struct iotsec_manager *m, struct iotsec_manager_group *group)
{
    struct iotsec_manager_member *member;
    unsigned i;

    for (i = 0; (member = iotsec_mgr_member_at(m, i)) != NULL; i++) {
        if (member->device != 0 && member->group == group->index) {
            iotsec_mgr_wait(m, member);
        }
    }
    group->staged.next_sender = IOTSEC_SENDER_ID_MIN;
}

/* The group as it will be, and what the registry has to know of it. */
static enum iotsec_status stage_group(struct iotsec_manager *m, struct iotsec_manager_group *group, uint32_t leaver)
{
    const struct iotsec_registry *registry = m->config->registry;
    const struct iotsec_manager_member *member = iotsec_mgr_member(m, leaver, group->index);
    struct iotsec_registry_group *staged = &group->staged;
    unsigned count = count_waiting(m, group, leaver);
    struct iotsec_registry_member row;
    enum iotsec_status status;
    bool used_up;
    unsigned i;

    *staged = group->now;
    used_up = staged->next_sender + count > SENDER_LIMIT;
    if ((group->flags & (GROUP_FRESH | GROUP_RENEW)) == 0 && (used_up || (staged->key_number & 0xFFu) == IOTSEC_STEP_MAX)) {
        group->reason = IOTSEC_ERR_COUNTER;
        group->flags |= GROUP_FRESH;
    }
    if ((group->flags & (GROUP_FRESH | GROUP_RENEW)) != 0) {
        group->flags |= GROUP_FRESH;
        staged->key_number = iotsec_csb_next_generation(group->above > staged->key_number ? group->above : staged->key_number);
        if (staged->key_number == 0) {
            return IOTSEC_ERR_COUNTER;
        }
        /* a new TGK, not only a new RAND: who left knows the old one */
        status = iotsec_mgr_fresh_keys(m, staged);
    } else {
        group->reason = IOTSEC_OK;
        staged->key_number++;
        status = iotsec_csb_ratchet(m->config->hal, staged->group_id, staged->key_number, staged->rand, group->now.tgk, staged->tgk);
    }
    if (used_up) {
        renumber(m, group);
        count = count_waiting(m, group, leaver);
    }
    row.group_id = staged->group_id;
    row.sender_id = staged->next_sender;
    staged->next_sender = (uint16_t)(staged->next_sender + count);
    if (status == IOTSEC_OK) {
        status = registry->put_group(m->config->user, staged);
    }
    if (status == IOTSEC_OK && member != NULL && member->sender_id != 0) {
        status = registry->delete_member(m->config->user, leaver, row.group_id);
    }
    for (i = group->waiting; status == IOTSEC_OK && (member = iotsec_mgr_member_at(m, i)) != NULL; i = member->next) {
        row.device = member->device;
        if (row.device != leaver) {
            status = registry->put_member(m->config->user, &row);
            row.sender_id++;
        }
    }
    return status;
}

/* No change before the interval is over, doubled so often. */
static void rest(struct iotsec_manager *m, struct iotsec_manager_group *group, unsigned doublings)
{
    group->rest_until =
        iotsec_mgr_now(m) + (iotsec_value_or(m->config->step_interval_ms, IOTSEC_STEP_INTERVAL_MS) << doublings);
    group->flags |= GROUP_RESTING;
    iotsec_mgr_plan(m, group);
}

/* The change is durable: now it holds. */
static void apply_group(struct iotsec_manager *m, struct iotsec_manager_group *group, uint32_t leaver)
{
    struct iotsec_manager_member *member = iotsec_mgr_member(m, leaver, group->index);
    unsigned next = group->staged.next_sender;

    if (member != NULL) {
        iotsec_mgr_member_free(m, member);
        group->gentle_from = group->staged.key_number;
    }
    next -= count_waiting(m, group, 0);
    group->now = group->staged;
    group->failures = 0;
    group->flags |= GROUP_TELL;
    /* the doubling keeps a storm of joins from using a generation up in minutes */
    rest(m, group, (group->now.key_number & 0xFFu) / STEPS_PER_DOUBLING);
    if ((group->flags & GROUP_FRESH) != 0) {
        group->flags &= (uint8_t)~GROUP_RENEW;
        /* what is under way is superseded: the scan finds who is owed the new keys */
        iotsec_mgr_cancel(m, 0, group->index);
        iotsec_mgr_scan_request(m);
    }
    /* in the order in which they were written */
    while ((member = iotsec_mgr_member_at(m, group->waiting)) != NULL) {
        iotsec_mgr_unwait(m, member);
        member->sender_id = (uint16_t)next++;
        member->flags |= MEMBER_OWED;
        if (iotsec_mgr_contact(m, member->device) != NULL) {
            /* committed just now, on the device's present session: nobody has used this sender ID */
            member->flags |= MEMBER_PROVEN;
            iotsec_mgr_deliver(m, member);
        }
    }
}

enum iotsec_status iotsec_mgr_begin(const struct iotsec_manager *m)
{
    return m->config->registry->begin(m->config->user);
}

enum iotsec_status iotsec_mgr_end(const struct iotsec_manager *m, enum iotsec_status status)
{
    if (status == IOTSEC_OK) {
        return m->config->registry->commit(m->config->user);
    }
    m->config->registry->abort(m->config->user);
    return status;
}

enum iotsec_status iotsec_mgr_change(struct iotsec_manager *m, uint32_t leaver, bool evicted)
{
    const struct iotsec_registry *registry = m->config->registry;
    struct iotsec_manager_group *group;
    enum iotsec_status status = iotsec_mgr_begin(m);

    if (status == IOTSEC_OK) {
        for (group = m->busy; status == IOTSEC_OK && group != NULL; group = group->next) {
            if ((group->flags & GROUP_STAGED) != 0) {
                status = stage_group(m, group, leaver);
            }
        }
        if (status == IOTSEC_OK && evicted) {
            status = registry->put_evicted(m->config->user, leaver);
#if IOTSEC_PAIRWISE
            if (status == IOTSEC_OK) {
                status = iotsec_mgr_poly_stage(m, leaver);
            }
#endif
        }
#if IOTSEC_ACCESS
        if (status == IOTSEC_OK) {
            status = iotsec_mgr_l2_stage(m);
        }
#endif
        status = iotsec_mgr_end(m, status);
    }
    for (group = m->busy; group != NULL; group = group->next) {
        if ((group->flags & GROUP_STAGED) == 0) {
            continue;
        }
        if (status == IOTSEC_OK) {
            apply_group(m, group, leaver);
        } else if ((group->flags & GROUP_SERVED) != 0) {
            group->failure = (int8_t)status;
            rest(m, group, group->failures);
            if (group->failures < FAILURES_MAX) {
                group->failures++;
            }
        }
        group->flags &= (uint8_t) ~(GROUP_STAGED | GROUP_FRESH | GROUP_SERVED);
        iotsec_wipe(&group->staged, sizeof group->staged);
    }
#if IOTSEC_ACCESS
    iotsec_mgr_l2_apply(m, status, leaver);
#endif
#if IOTSEC_PAIRWISE
    iotsec_mgr_poly_apply(m, status);
#endif
    return status;
}

/* ---- When ---- */

void iotsec_mgr_plan(struct iotsec_manager *m, struct iotsec_manager_group *group)
{
    uint32_t due = (group->flags & GROUP_RESTING) != 0 ? group->rest_until : iotsec_mgr_now(m);

    if ((group->flags & GROUP_LISTED) == 0) {
        group->flags |= GROUP_LISTED;
        group->next = NULL;
        *m->busy_end = group;
        m->busy_end = &group->next;
    }
    if ((m->flags & MGR_GROUPS_DUE) == 0 || iotsec_time_reached(m->groups_due, due)) {
        m->flags |= MGR_GROUPS_DUE;
        m->groups_due = due;
    }
}

void iotsec_mgr_stage(struct iotsec_manager *m, struct iotsec_manager_group *group, enum iotsec_status reason)
{
    group->flags |= GROUP_STAGED | GROUP_FRESH;
    group->reason = (int8_t)reason;
    iotsec_mgr_plan(m, group);
}

void iotsec_mgr_wait(struct iotsec_manager *m, struct iotsec_manager_member *member)
{
    struct iotsec_manager_group *group = iotsec_mgr_group_at(m, member->group);

    if ((member->flags & MEMBER_WAITING) == 0) {
        member->flags |= MEMBER_WAITING;
        member->next = group->waiting;
        group->waiting = iotsec_mgr_member_index(m, member);
        iotsec_mgr_plan(m, group);
    }
}

void iotsec_mgr_unwait(struct iotsec_manager *m, struct iotsec_manager_member *member)
{
    uint16_t *at = &iotsec_mgr_group_at(m, member->group)->waiting;
    uint16_t slot = iotsec_mgr_member_index(m, member);

    if ((member->flags & MEMBER_WAITING) != 0) {
        while (*at != slot) {
            at = &iotsec_mgr_member_at(m, *at)->next;
        }
        *at = member->next;
        member->flags &= (uint8_t)~MEMBER_WAITING;
    }
}

void iotsec_mgr_renew(struct iotsec_manager *m, struct iotsec_manager_group *group, enum iotsec_status reason, uint32_t above)
{
    group->flags |= GROUP_RENEW;
    group->reason = (int8_t)reason;
    if (above > group->above) {
        group->above = above;
    }
    iotsec_mgr_plan(m, group);
}

/* Whether something waits for a change. */
static bool is_wanted(const struct iotsec_manager_group *group)
{
    return group->state == GROUP_LIVE && (group->waiting != MGR_NONE || (group->flags & GROUP_RENEW) != 0);
}

/* Puts groups into the transaction: all that are ready and have not failed, or else one that has, alone, so that a group
 * that cannot move (no generation left) does not hold up the others. Those that have nothing to do leave the list. */
static bool stage_ready(struct iotsec_manager *m)
{
    uint32_t now = iotsec_mgr_now(m);
    struct iotsec_manager_group *alone = NULL;
    struct iotsec_manager_group *group;
    struct iotsec_manager_group **at = &m->busy;
    bool any = false;

    m->flags &= (uint8_t)~MGR_GROUPS_DUE;
    while ((group = *at) != NULL) {
        bool wanted = is_wanted(group);

        if (iotsec_time_reached(now, group->rest_until)) {
            group->flags &= (uint8_t)~GROUP_RESTING; /* a flag, since the clock comes round */
        }
        if ((group->flags & GROUP_RESTING) == 0 && !wanted) {
            group->flags &= (uint8_t)~GROUP_LISTED;
            *at = group->next;
            continue;
        }
        at = &group->next;
        if ((group->flags & GROUP_RESTING) != 0 || group->failures != 0) {
            iotsec_mgr_plan(m, group);
            alone = (group->flags & GROUP_RESTING) == 0 ? group : alone;
        } else {
            group->flags |= GROUP_STAGED | GROUP_SERVED;
            any = true;
        }
    }
    m->busy_end = at;
    if (!any && alone != NULL) {
        alone->flags |= GROUP_STAGED | GROUP_SERVED;
        any = true;
    }
    return any;
}

void iotsec_mgr_serve(struct iotsec_manager *m)
{
    if (iotsec_mgr_serve_wait(m, iotsec_mgr_now(m)) == 0 && stage_ready(m)) {
        (void)iotsec_mgr_change(m, 0, false);
        iotsec_mgr_tell_groups(m);
    }
}

void iotsec_mgr_tell_groups(struct iotsec_manager *m)
{
    struct iotsec_manager_group *group;

    /* groups may come into the list meanwhile, but none leaves it */
    for (group = m->busy; group != NULL; group = group->next) {
        enum iotsec_status failure = (enum iotsec_status)group->failure;

        group->failure = IOTSEC_OK;
        if (failure != IOTSEC_OK) {
            iotsec_mgr_tell(m, IOTSEC_MANAGER_KEYS_FAILED, failure, 0, group->now.group_id);
        }
        if ((group->flags & GROUP_TELL) != 0) {
            group->flags &= (uint8_t)~GROUP_TELL;
            iotsec_mgr_tell(m, IOTSEC_MANAGER_GROUP_KEY, (enum iotsec_status)group->reason, 0, group->now.group_id);
        }
    }
#if IOTSEC_ACCESS
    iotsec_mgr_l2_tell(m);
#endif
#if IOTSEC_PAIRWISE
    iotsec_mgr_poly_tell(m);
#endif
}

uint32_t iotsec_mgr_serve_wait(const struct iotsec_manager *m, uint32_t now)
{
    return (m->flags & MGR_GROUPS_DUE) != 0 ? iotsec_time_left(now, m->groups_due) : UINT32_MAX;
}

#endif
