/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A log of records over the sectors in rotation.
 *
 *     sector    0  made     how often it was erased; written once the erasure is complete
 *               8  number   which sector it is in the log's order; written when the sector goes into the log
 *              16  records, one after the other
 *            4088  number   once more
 *
 *     record    0  head     slot and length
 *               4  value    up to 256 bytes, padded to whole words
 *                  check    CRC-32 over the sector's number, the head and the value
 *                  commit   slot and length again, in another arrangement; written last
 *
 * Everything that decides on something is stored in a code in which each bit lies beside its complement (pair16,
 * pair32): a write that was cut off has only too many ones, an erasure that was cut off only too many zeros against
 * what was there before, and neither yields another valid word.
 *
 * Writing a slot: head, value, check; read back; commit; and only now the old value is overwritten with zeros. The newest
 * committed record of a slot is its value.
 *
 * Making room: all that is still needed of the oldest sector is copied into a clean one, which then gets its numbers and
 * so replaces the oldest in one step. What is found without a number is an attempt that was cut off, and is erased. Then the
 * oldest sector's numbers are overwritten, and it is erased. So a sector is erased once in each rotation, whatever it holds.
 *
 * After a power cut bits may be half written, and read as one value now and the other one later. Hence store_open writes
 * once more whatever may have been the last thing written, as it decided to understand it: records complete or void, the
 * numbers, the first free word (which may hold an invisible beginning of a head) to zeros.
 *
 * A record whose head went bad is found by its commit word. A slot whose newest record is bad says so, and never answers with
 * an older value: the older one has been overwritten.
 */
#include "store.h"

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "crc32.h"
#include "flash.h"

#define SECTORS FLASH_STORE_SECTORS
#define FORMAT 1u
#define MADE_AT 0u
#define NUMBER_AT 8u
#define RECORDS_AT 16u
#define FOOT_AT (FLASH_SECTOR_BYTES - 8)
#define RECORD_MAX STORE_COST(STORE_VALUE_MAX)
#define ERASED 0xFFFFFFFFu
#define CHUNK 64u
#define LOST_VALUE 0x1FFu /* in place of a length: a value was here, and is unreadable */
#define PLACES_TRIED 4    /* for one record in one sector */
#define COMMIT_ONES_MAX 24 /* half of its sixteen zeros: up to eight of them may not take, or have been lost since */

enum kind { DIRTY, CLEAN, USED, BAD };

struct sector {
    uint32_t number;
    uint32_t erases;
    uint8_t kind;
};

struct record {
    uint32_t at;   /* from the start of the store */
    uint16_t slot;
    uint16_t len;  /* or LOST_VALUE */
    bool by_head;  /* false: its head is bad, it was found by its commit word */
};

/* Where records are added. */
struct log_end {
    unsigned sector;
    uint32_t at; /* in the sector */
};

static struct {
    struct sector sector[SECTORS];
    uint16_t at[STORE_SLOTS]; /* of each slot's newest record, in words from the start of the store; 0: none */
    struct log_end end;
    uint16_t used;    /* STORE_COST of all newest records */
    uint16_t damaged;
    uint16_t skipped;
    uint8_t cleaned;
    bool open;
} store;

/* ---- Words in code ---- */

/* Slots count from 1 here: what is left of an overwritten value must not look like the first one. */
static uint32_t head_word(unsigned slot, unsigned len)
{
    uint32_t x = (slot + 1) << 9 | len;

    return x | ~x << 16;
}

/* Another arrangement than the head's, so that neither is taken for the other. */
static uint32_t commit_word(unsigned slot, unsigned len)
{
    uint32_t x = (slot + 1) << 9 | len;

    return x | ~(x << 8 | x >> 8) << 16;
}

static unsigned ones(uint32_t word)
{
    unsigned n = 0;

    for (; word != 0; word &= word - 1) {
        n++;
    }
    return n;
}

/* Zero, or meant to be, where a place did not take all of it. A head has sixteen ones, and a bad one hardly less than half. */
static bool is_void(uint32_t word)
{
    return ones(word) < 8;
}

static bool get(uint32_t at, void *data, size_t len)
{
    return flash_read(FLASH_STORE_FIRST * FLASH_SECTOR_BYTES + at, data, len) == 0;
}

static uint32_t get_word(uint32_t at)
{
    uint32_t word;

    return get(at, &word, sizeof word) ? word : 0;
}

/* False: what is read back is something else. */
static bool put(uint32_t at, const void *data, size_t len)
{
    return flash_write(FLASH_STORE_FIRST * FLASH_SECTOR_BYTES + at, data, len) == 0;
}

static bool put_word(uint32_t at, uint32_t word)
{
    return put(at, &word, sizeof word);
}

static bool get_pair(uint32_t at, uint32_t *value)
{
    *value = get_word(at);
    /* all the same is what overwriting makes of a pair of which one word takes nothing */
    return get_word(at + 4) == ~*value && *value != 0 && *value != ERASED;
}

static bool put_pair(uint32_t at, uint32_t value)
{
    uint32_t pair[2] = { value, ~value };

    return put(at, pair, sizeof pair);
}

/* ---- Records ---- */

static unsigned value_len(const struct record *record)
{
    return record->len == LOST_VALUE ? 0 : record->len;
}

static unsigned record_size(const struct record *record)
{
    return STORE_COST(value_len(record));
}

static uint32_t check_at(const struct record *record)
{
    return record->at + record_size(record) - 8;
}

static uint32_t commit_at(const struct record *record)
{
    return record->at + record_size(record) - 4;
}

/* What word `word` says about a record that begins at `at`. */
static bool record_from(struct record *record, uint32_t at, uint32_t word)
{
    record->at = at;
    record->slot = (uint16_t)(((word & 0xFFFF) >> 9) - 1);
    record->len = (uint16_t)(word & 0x1FF);
    return record->slot < STORE_SLOTS && (record->len <= STORE_VALUE_MAX || record->len == LOST_VALUE) &&
           at % FLASH_SECTOR_BYTES + record_size(record) <= FOOT_AT;
}

/* The record that begins at `at`, by its head, or by a commit word that is where it would have to be. */
static bool record_find(struct record *record, uint32_t at)
{
    uint32_t word = get_word(at);
    uint32_t place;

    record->by_head = record_from(record, at, word) && word == head_word(record->slot, record->len);
    if (record->by_head) {
        return true;
    }
    if (word == ERASED || is_void(word)) {
        return false;
    }
    for (place = at + 8; place < at + RECORD_MAX && place % FLASH_SECTOR_BYTES < FOOT_AT; place += 4) {
        word = get_word(place);
        if (record_from(record, at, word) && word == commit_word(record->slot, record->len) && commit_at(record) == place) {
            return true;
        }
    }
    return false;
}

static bool record_committed(const struct record *record)
{
    return ones(get_word(commit_at(record))) <= COMMIT_ONES_MAX;
}

static uint32_t check_begin(unsigned sector, unsigned slot, unsigned len)
{
    uint32_t begin[2] = { store.sector[sector].number, head_word(slot, len) };

    return crc32_add(0, begin, sizeof begin);
}

static uint32_t check_end(uint32_t crc)
{
    return crc != 0 ? crc : 1; /* 0 is what no record has */
}

/* Reads the value through; its first `size` bytes into `data` if that is not NULL. */
static bool record_sound(const struct record *record, uint8_t *data, size_t size)
{
    uint32_t crc = check_begin(record->at / FLASH_SECTOR_BYTES, record->slot, record->len);
    uint32_t piece[CHUNK / 4];
    unsigned len = value_len(record);
    unsigned done = 0;
    unsigned n;

    for (; done < len; done += n) {
        n = len - done < CHUNK ? len - done : CHUNK;
        if (!get(record->at + 4 + done, piece, n)) {
            return false;
        }
        crc = crc32_add(crc, piece, n);
        if (data != NULL && done < size) {
            memcpy(data + done, piece, n < size - done ? n : size - done);
        }
    }
    iotsec_wipe(piece, sizeof piece);
    return get_word(check_at(record)) == check_end(crc);
}

/* ---- Adding a record ---- */

/*
 * Writes a record whose value is at `data`, or in the flash at `from` if that is NULL. `again`: it is the record's own, and all
 * is done once more, but only if its check is the right one already. True: committed.
 */
static bool record_put(const struct record *record, const uint8_t *data, uint32_t from, bool again)
{
    uint32_t piece[CHUNK / 4];
    uint32_t crc = check_begin(record->at / FLASH_SECTOR_BYTES, record->slot, record->len);
    unsigned len = value_len(record);
    unsigned done;
    unsigned n;
    bool good = true;

    for (done = 0; good && done < len; done += n) {
        n = len - done < CHUNK ? len - done : CHUNK;
        if (data != NULL) {
            memcpy(piece, data + done, n);
        } else {
            good = get(from + done, piece, n);
        }
        crc = crc32_add(crc, piece, n);
        good = good && put(record->at + 4 + done, piece, n);
    }
    iotsec_wipe(piece, sizeof piece);
    crc = check_end(crc);
    return good && (!again || get_word(check_at(record)) == crc) && put_word(check_at(record), crc) &&
           (put_word(commit_at(record), commit_word(record->slot, record->len)) || record_committed(record));
}

/* At the log's end. Places that do not take it are left behind. False: no room, or too many such places. */
static bool record_add(struct log_end *end, unsigned slot, unsigned len, const uint8_t *data, uint32_t from)
{
    struct record record = { 0, (uint16_t)slot, (uint16_t)len, true };
    unsigned size = record_size(&record);
    unsigned tries;

    for (tries = 0; tries < PLACES_TRIED && end->at + size <= FOOT_AT; tries++) {
        record.at = end->sector * FLASH_SECTOR_BYTES + end->at;
        if (!put_word(record.at, head_word(slot, len))) {
            (void)put_word(record.at, 0); /* not to be read as a head some day */
            end->at += 4;
        } else {
            end->at += size;
            if (record_put(&record, data, from, false)) {
                store.at[slot] = (uint16_t)(record.at / 4);
                return true;
            }
        }
        store.skipped++;
    }
    return false;
}

/* ---- Sectors ---- */

/* The used sector with the lowest number above `after`; SECTORS: there is none. */
static unsigned next_used(uint32_t after)
{
    unsigned found = SECTORS;
    unsigned i;

    for (i = 0; i < SECTORS; i++) {
        if (store.sector[i].kind == USED && store.sector[i].number > after &&
            (found == SECTORS || store.sector[i].number < store.sector[found].number)) {
            found = i;
        }
    }
    return found;
}

static unsigned count(enum kind kind)
{
    unsigned n = 0;
    unsigned i;

    for (i = 0; i < SECTORS; i++) {
        n += store.sector[i].kind == kind;
    }
    return n;
}

/* Clean sectors that are kept for making room: one to copy to, and one in case that it turns out to be worn. */
static unsigned reserve(void)
{
    return count(BAD) <= SECTORS - 4 ? 2 : 1;
}

/*
 * Making room finds the place for any record as long as some sector's newest records leave RECORD_MAX of it, hence
 * if all together leave that much of every sector; one more is the old value of the slot that is being written.
 */
static unsigned capacity(void)
{
    unsigned sectors = SECTORS - count(BAD);

    return sectors <= reserve() ? 0 : (sectors - reserve()) * (FOOT_AT - RECORDS_AT - RECORD_MAX) - RECORD_MAX;
}

static bool all_ones(uint32_t at, uint32_t until)
{
    uint32_t piece[CHUNK / 4];
    uint32_t n;
    uint32_t i;

    for (; at < until; at += n) {
        n = until - at < CHUNK ? until - at : CHUNK;
        if (!get(at, piece, n)) {
            return false;
        }
        for (i = 0; i < n / 4; i++) {
            if (piece[i] != ERASED) {
                return false;
            }
        }
    }
    return true;
}

static void sector_clean(unsigned sector)
{
    struct sector *s = &store.sector[sector];

    s->erases++;
    s->kind = (flash_erase(FLASH_STORE_FIRST + sector) == 0 || flash_erase(FLASH_STORE_FIRST + sector) == 0) &&
              put_pair(sector * FLASH_SECTOR_BYTES + MADE_AT, FORMAT << 24 | (s->erases & 0xFFFFFF)) ? CLEAN : BAD;
}

/* Numbered, it is the log's newest sector. Works again on one that has its number already. */
static bool sector_number(unsigned sector)
{
    uint32_t base = sector * FLASH_SECTOR_BYTES;
    uint32_t number = store.sector[sector].number;
    bool foot = put_pair(base + FOOT_AT, number);

    return put_pair(base + NUMBER_AT, number) || foot;
}

/* The least erased clean sector, about to get the next number; SECTORS: none is left. */
static unsigned sector_take(void)
{
    unsigned found = SECTORS;
    unsigned i;

    for (i = 0; i < SECTORS; i++) {
        if (store.sector[i].kind == CLEAN && (found == SECTORS || store.sector[i].erases < store.sector[found].erases)) {
            found = i;
        }
    }
    if (found < SECTORS) {
        store.sector[found].number = store.sector[store.end.sector].number + 1;
    }
    return found;
}

/* Nothing in it is anybody's newest record. Only when both numbers are gone for sure may its content go too. */
static void sector_retire(unsigned sector)
{
    static const uint32_t zeros[4];
    uint32_t base = sector * FLASH_SECTOR_BYTES;
    uint32_t number;

    (void)put(base, zeros, RECORDS_AT);
    (void)put(base + FOOT_AT, zeros, FLASH_SECTOR_BYTES - FOOT_AT);
    if (get_pair(base + NUMBER_AT, &number) || get_pair(base + FOOT_AT, &number)) {
        store.sector[sector].kind = BAD;
    } else {
        sector_clean(sector);
    }
}

/* ---- The index ---- */

/* What may have been the last thing written to a sector. */
struct tail {
    struct record record; /* if `whole` */
    bool whole;
    uint32_t stray;       /* or else a word that makes no sense; 0: none */
};

/* Enters what is in a sector of the log, and sets store.end behind it. */
static void sector_scan(unsigned sector, struct tail *tail)
{
    uint32_t base = sector * FLASH_SECTOR_BYTES;
    uint32_t at = RECORDS_AT;
    bool lost = false; /* behind something that makes no sense a head counts only if more of its record does */

    tail->whole = false;
    tail->stray = 0;
    store.end.sector = sector;
    store.end.at = at;
    while (at + STORE_COST(0) <= FOOT_AT) {
        struct record *record = &tail->record;
        uint32_t word = get_word(base + at);
        bool found;

        if (word == ERASED) {
            if (all_ones(base + at, base + FOOT_AT)) {
                break;
            }
            at += 4; /* a word that did not take a write */
            continue;
        }
        found = record_find(record, base + at);
        tail->whole = found && ((record->by_head && !lost) || record_sound(record, NULL, 0) ||
                                (record->by_head && get_word(commit_at(record)) == commit_word(record->slot, record->len)));
        if (tail->whole) {
            at += record_size(record);
            tail->stray = 0;
            lost = false;
        } else {
            tail->stray = base + at; /* a zero too: it may be half of one */
            lost = lost || !is_void(word);
            at += 4;
            found = found && !record->by_head; /* both head and value are bad, but its commit word tells whose they were */
        }
        if (found && record_committed(record)) {
            store.at[record->slot] = (uint16_t)(record->at / 4);
        }
        store.end.at = at;
    }
}

/* A slot's newest record and what it takes of the capacity. Unreadable heads count as a lost value. */
static unsigned slot_find(unsigned slot, struct record *record)
{
    if (store.at[slot] == 0 || !record_find(record, store.at[slot] * 4u) || record->slot != slot) {
        record->slot = (uint16_t)slot;
        record->len = LOST_VALUE;
    }
    return store.at[slot] == 0 ? 0 : record_size(record);
}

static void count_used(void)
{
    struct record record;
    unsigned slot;

    store.used = 0;
    for (slot = 0; slot < STORE_SLOTS; slot++) {
        store.used = (uint16_t)(store.used + slot_find(slot, &record));
    }
}

/* All sectors of the log, from the oldest to the newest. `tail` is the newest's. */
static void index_make(struct tail *tail)
{
    unsigned sector;

    memset(store.at, 0, sizeof store.at);
    for (sector = next_used(0); sector < SECTORS; sector = next_used(store.sector[sector].number)) {
        sector_scan(sector, tail);
    }
    count_used();
}

/* After a power cut: what was being written at the log's end shall read the same from now on. */
static void tail_settle(const struct tail *tail)
{
    const struct record *record = &tail->record;
    uint32_t base = store.end.sector * FLASH_SECTOR_BYTES;

    (void)sector_number(store.end.sector);
    if (tail->stray != 0) {
        (void)put_word(tail->stray, 0);
    }
    if (tail->whole) {
        (void)put_word(record->at, head_word(record->slot, record->len));
        /* The commit word is not begun before all else has been verified. So if that makes sense, both do. */
        if (record_put(record, NULL, record->at + 4, true)) {
            store.at[record->slot] = (uint16_t)(record->at / 4);
        } else if (!record_committed(record)) {
            (void)put_word(check_at(record), 0);
        }
    }
    if (store.end.at + 4 <= FOOT_AT) {
        (void)put_word(base + store.end.at, 0);
        store.end.at += 4;
    }
    count_used();
}

/* ---- Making room ---- */

static bool is_in(unsigned slot, unsigned sector)
{
    return store.at[slot] != 0 && store.at[slot] / (FLASH_SECTOR_BYTES / 4) == sector;
}

/* Copies one slot's newest record. An empty slot needs none any more: older records of it have gone with older sectors. */
static bool record_move(struct log_end *end, unsigned slot)
{
    struct record record;

    (void)slot_find(slot, &record);
    if (record.len != LOST_VALUE && record_sound(&record, NULL, 0)) {
        if (record.len == 0) {
            store.at[slot] = 0;
            return true;
        }
        return record_add(end, slot, record.len, NULL, record.at + 4);
    }
    return record_add(end, slot, LOST_VALUE, NULL, 0);
}

/* Moves what is needed of the oldest sector and cleans it. False: there is no sector to move to. */
static bool sector_renew(unsigned oldest)
{
    struct log_end end = { SECTORS, RECORDS_AT };
    struct tail tail;
    unsigned slot;

    for (slot = 0; slot < STORE_SLOTS; slot++) {
        if (!is_in(slot, oldest)) {
            continue;
        }
        if (end.sector == SECTORS && (end.sector = sector_take()) == SECTORS) {
            index_make(&tail);
            return false;
        }
        if (!record_move(&end, slot)) {
            break;
        }
    }
    if (end.sector == SECTORS && oldest == store.end.sector && (end.sector = sector_take()) == SECTORS) {
        return false; /* the only sector of the log is full of what nobody needs */
    }
    if (end.sector < SECTORS) {
        if (slot < STORE_SLOTS || !sector_number(end.sector)) {
            store.sector[end.sector].kind = BAD; /* without a number nothing in it counts */
            index_make(&tail);
            return true;
        }
        store.sector[end.sector].kind = USED;
        store.end = end;
    }
    sector_retire(oldest);
    count_used();
    return true;
}

/* Room for `size` bytes at the log's end. */
static int room_make(unsigned size)
{
    unsigned tries;

    for (tries = 0; tries < 2 * SECTORS; tries++) {
        if (store.end.at + size <= FOOT_AT) {
            return STORE_OK;
        }
        if (count(CLEAN) > reserve()) {
            unsigned sector = sector_take();

            if (sector_number(sector)) {
                store.sector[sector].kind = USED;
                store.end.sector = sector;
                store.end.at = RECORDS_AT;
            } else {
                store.sector[sector].kind = BAD;
            }
        } else if (!sector_renew(next_used(0))) {
            return STORE_ERR_FLASH;
        }
    }
    return STORE_ERR_FULL;
}

/* ---- The interface ---- */

int store_open(void)
{
    bool known[SECTORS];
    uint32_t made;
    uint32_t erases = 0;
    struct tail tail;
    unsigned i;

    memset(&store, 0, sizeof store);
    for (i = 0; i < SECTORS; i++) {
        struct sector *s = &store.sector[i];
        uint32_t base = i * FLASH_SECTOR_BYTES;

        known[i] = get_pair(base + MADE_AT, &made);
        if (known[i]) {
            if (made >> 24 != FORMAT) {
                return STORE_ERR_FORMAT;
            }
            s->erases = made & 0xFFFFFF;
            erases = s->erases > erases ? s->erases : erases;
        }
        if (get_pair(base + NUMBER_AT, &s->number) || get_pair(base + FOOT_AT, &s->number)) {
            s->kind = USED;
            continue;
        }
        s->number = 0;
        if (known[i] && all_ones(base + NUMBER_AT, base + FLASH_SECTOR_BYTES)) {
            s->kind = CLEAN;
        }
    }
    index_make(&tail);
    if (next_used(0) < SECTORS) {
        tail_settle(&tail);
    }
    for (i = 0; i < SECTORS; i++) {
        struct sector *s = &store.sector[i];

        if (!known[i]) {
            s->erases = erases; /* they are erased in turn, so no other knows better */
        }
        if (s->kind == DIRTY) {
            store.cleaned++;
            sector_clean(i);
        }
    }
    if (next_used(0) == SECTORS) {
        store.end.at = FOOT_AT;
        if (room_make(RECORD_MAX) != STORE_OK) {
            return STORE_ERR_FLASH;
        }
    }
    store.open = true;
    return STORE_OK;
}

int store_read(uint16_t slot, uint8_t *data, size_t size)
{
    struct record record;

    if (!store.open || slot >= STORE_SLOTS) {
        return STORE_ERR_ARGUMENT;
    }
    if (store.at[slot] == 0) {
        return 0;
    }
    (void)slot_find(slot, &record);
    if (record.len == LOST_VALUE || !record_sound(&record, data, size)) {
        iotsec_wipe(data, size);
        store.damaged++;
        return STORE_ERR_DAMAGED;
    }
    return record.len;
}

int store_write(uint16_t slot, const uint8_t *data, size_t len)
{
    static const uint8_t zeros[CHUNK];
    struct record old;
    unsigned size = STORE_COST(len);
    unsigned old_size;
    unsigned done;
    unsigned n;
    unsigned tries;

    if (!store.open || slot >= STORE_SLOTS || len > STORE_VALUE_MAX || (data == NULL && len != 0)) {
        return STORE_ERR_ARGUMENT;
    }
    if (len == 0 && store.at[slot] == 0) {
        return STORE_OK;
    }
    old_size = slot_find(slot, &old);
    if (size > old_size && store.used - old_size + size > capacity()) {
        return STORE_ERR_FULL;
    }
    for (tries = 0;; tries++) {
        int status = room_make(size);

        if (status != STORE_OK) {
            return status;
        }
        old_size = slot_find(slot, &old);
        if (record_add(&store.end, slot, (unsigned)len, data, 0)) {
            for (done = 0; done < value_len(&old); done += n) {
                n = value_len(&old) - done < CHUNK ? value_len(&old) - done : CHUNK;
                (void)put(old.at + 4 + done, zeros, n);
            }
            store.used = (uint16_t)(store.used - old_size + size);
            return STORE_OK;
        }
        if (tries == SECTORS) {
            return STORE_ERR_FLASH;
        }
        store.end.at = FOOT_AT; /* what is left of this sector takes no record */
    }
}

int store_erase(uint16_t slot)
{
    return store_write(slot, NULL, 0);
}

void store_status(struct store_status *status)
{
    unsigned i;

    memset(status, 0, sizeof *status);
    status->erases_min = store.sector[0].erases;
    for (i = 0; i < SECTORS; i++) {
        uint32_t erases = store.sector[i].erases;

        status->erases_max = erases > status->erases_max ? erases : status->erases_max;
        status->erases_min = erases < status->erases_min ? erases : status->erases_min;
    }
    status->used = store.used;
    status->capacity = (uint16_t)capacity();
    status->damaged = store.damaged;
    status->skipped = store.skipped;
    status->sectors_bad = (uint8_t)count(BAD);
    status->sectors_cleaned = store.cleaned;
}
