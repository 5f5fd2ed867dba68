/* SPDX-License-Identifier: BSD-3-Clause */
/* A datagram of records: parsed, opened with keys that some inputs were sealed with, sealed again. */
#include <iotsec/record.h>

#include "crypto.h"
#include "script.h"

static const struct iotsec_record_key key = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 }, { 1, 2, 3, 4 } };

/* What opened is sealed anew: it has to become the same bytes, or the two ends do not agree on the format. */
static void seal_again(const struct iotsec_hal *hal, const struct iotsec_record *record, const uint8_t *before, size_t tag_len,
                       const uint8_t *content, size_t len, bool group)
{
    static uint8_t out[65536 + 64];
    size_t out_len;
    enum iotsec_status status;

    if (group) {
        status = iotsec_record_group_seal(hal, key.key, 7, record->epoch, (uint16_t)(record->sequence >> 32),
                                          (uint32_t)record->sequence, record->type, out, sizeof out, &out_len, content, len);
    } else {
        status = iotsec_record_seal(hal, &key, tag_len, out, sizeof out, &out_len, record->type, record->epoch,
                                    record->sequence, content, len);
    }
    if (status != IOTSEC_OK) {
        script_check(status == IOTSEC_ERR_TOO_LONG);
        return;
    }
    script_check(out_len == IOTSEC_RECORD_HEADER_BYTES + (size_t)record->length);
    /* the explicit nonce is the peer's choice, and so is the version's minor byte: only ours are as they were */
    if (record->version == IOTSEC_VERSION_DTLS_1_2 && (group || memcmp(before + 13, before + 3, 8) == 0)) {
        script_check(memcmp(out, before, out_len) == 0);
    }
}

static void take_record(const struct iotsec_hal *hal, struct iotsec_record *record, struct iotsec_replay *window)
{
    size_t total = IOTSEC_RECORD_HEADER_BYTES + (size_t)record->length;
    uint8_t *copy = malloc(total);
    unsigned kind;

    script_check(copy != NULL);
    memcpy(copy, record->header, total);
    for (kind = 0; kind < 3; kind++) {
        uint8_t *content;
        size_t len;
        enum iotsec_status status;

        memcpy(record->header, copy, total);
        status = kind == 2 ? iotsec_record_group_open(hal, key.key, 7, record, &content, &len)
                           : iotsec_record_open(hal, &key, kind == 0 ? 8 : 16, record, &content, &len);
        if (status == IOTSEC_OK) {
            script_check(content >= record->body && content + len <= record->body + record->length);
            seal_again(hal, record, copy, kind == 1 ? 16 : 8, content, len, kind == 2);
        }
    }
    if (iotsec_replay_check(window, record->sequence)) {
        iotsec_replay_commit(window, record->sequence);
        script_check(!iotsec_replay_check(window, record->sequence));
    }
    memcpy(record->header, copy, total);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct iotsec_hal hal;
    struct iotsec_replay window;
    struct iotsec_record record;
    uint8_t *copy = malloc(size != 0 ? size : 1);
    uint8_t *next = copy;
    size_t left = size;

    script_check(copy != NULL);
    if (size != 0) {
        memcpy(copy, data, size);
    }
    memset(&hal, 0, sizeof hal);
    hal.crypto = fuzz_crypto();
    iotsec_replay_init(&window);
    while (left != 0 && iotsec_record_parse(&record, &next, &left) == IOTSEC_OK) {
        script_check(record.body + record.length == next && next + left == copy + size);
        take_record(&hal, &record, &window);
    }
    free(copy);
    return 0;
}
