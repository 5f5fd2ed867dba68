/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A datagram of records: parsed, with and without Connection IDs, opened with keys that some inputs were sealed with,
 * sealed again. The same datagram as a stateless relay's message: taken apart and put together again.
 */
#include <iotsec/record.h>

#include "crypto.h"
#include "record/join_proxy.h"
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

#if IOTSEC_CONNECTION_ID
/* Only open_cid may try such a record, and only the padding may be lost. */
static void take_cid_record(const struct iotsec_hal *hal, struct iotsec_record *record, const uint8_t *before, size_t tag_len)
{
    static uint8_t out[65536 + 64];
    size_t total = IOTSEC_RECORD_HEADER_BYTES + (size_t)record->cid_len + record->length;
    uint8_t *content;
    uint8_t type;
    size_t len;
    size_t out_len;
    enum iotsec_status status;

    script_check(iotsec_record_open(hal, &key, tag_len, record, &content, &len) == IOTSEC_ERR_ARGUMENT);
    script_check(memcmp(record->header, before, total) == 0);
    if (iotsec_record_open_cid(hal, &key, tag_len, record, &type, &content, &len) != IOTSEC_OK) {
        return;
    }
    script_check(type != 0 && content[len] == type);
    script_check(content >= record->body && content + len < record->body + record->length);
    status = iotsec_record_seal_cid(hal, &key, tag_len, before + 11, record->cid_len, out, sizeof out, &out_len, type,
                                    record->epoch, record->sequence, content, len);
    if (status != IOTSEC_OK) {
        script_check(status == IOTSEC_ERR_TOO_LONG);
        return;
    }
    script_check(out_len <= total);
    if (out_len == total && record->version == IOTSEC_VERSION_DTLS_1_2 &&
        memcmp(record->body, before + 3, IOTSEC_EXPLICIT_NONCE_BYTES) == 0) {
        script_check(memcmp(out, before, out_len) == 0);
    }
}
#endif

#if IOTSEC_ROLE_RELAY || IOTSEC_RELAYED
static void take_relayed(const uint8_t *data, size_t size)
{
    static uint8_t out[65536 + IOTSEC_RELAY_OVERHEAD_MAX];
    const uint8_t *header;
    const uint8_t *content;
    size_t header_len;
    size_t content_len;
    size_t overhead;

    if (iotsec_join_proxy_read(data, size, &header, &header_len, &content, &content_len) != IOTSEC_OK) {
        return;
    }
    script_check(iotsec_join_proxy_is(data, size) && !iotsec_join_proxy_is_dtls(data, size));
    script_check(header > data && header_len <= IOTSEC_RELAY_HEADER_MAX && header + header_len < content);
    script_check(content_len != 0 && content + content_len == data + size);
    script_check(iotsec_join_proxy_read(data, size - 1, &header, &header_len, &content, &content_len) != IOTSEC_OK);
    if (content_len > 0xFFFF) {
        return;
    }
    overhead = iotsec_join_proxy_overhead(header_len, content_len);
    script_check(overhead <= IOTSEC_RELAY_OVERHEAD_MAX && overhead + content_len <= size);
    iotsec_join_proxy_write(out, header, header_len, content_len);
    memcpy(out + overhead, content, content_len);
    /* heads may have been longer than need be; then the parts have to be the same */
    script_check(overhead + content_len != size || memcmp(out, data, size) == 0);
    script_check(iotsec_join_proxy_read(out, overhead + content_len, &header, &header_len, &content, &content_len) == IOTSEC_OK);
    script_check(content == out + overhead);
}
#endif

static void take_record(const struct iotsec_hal *hal, struct iotsec_record *record, struct iotsec_replay *window)
{
    size_t total = IOTSEC_RECORD_HEADER_BYTES + (size_t)record->cid_len + record->length;
    uint8_t *copy = malloc(total);
    unsigned kind;

    script_check(copy != NULL);
    memcpy(copy, record->header, total);
    for (kind = 0; kind < 3; kind++) {
        uint8_t *content;
        size_t len;
        enum iotsec_status status;

        memcpy(record->header, copy, total);
#if IOTSEC_CONNECTION_ID
        if (record->type == IOTSEC_CONTENT_TLS12_CID) {
            take_cid_record(hal, record, copy, kind == 0 ? 8 : 16);
            continue;
        }
#endif
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

/* As it arrives at somebody who asks for Connection IDs of that length, 0 for none. */
static void take_datagram(const struct iotsec_hal *hal, size_t cid_len, const uint8_t *data, size_t size)
{
    struct iotsec_replay window;
    struct iotsec_record record;
    uint8_t *copy = malloc(size != 0 ? size : 1);
    uint8_t *next = copy;
    size_t left = size;

    script_check(copy != NULL);
    if (size != 0) {
        memcpy(copy, data, size);
    }
    iotsec_replay_init(&window);
    while (left != 0) {
#if IOTSEC_CONNECTION_ID
        if (iotsec_record_parse_cid(&record, cid_len, &next, &left) != IOTSEC_OK) {
            break;
        }
        script_check(record.cid_len == (record.type == IOTSEC_CONTENT_TLS12_CID ? cid_len : 0));
#else
        if (iotsec_record_parse(&record, &next, &left) != IOTSEC_OK) {
            break;
        }
        script_check(cid_len == 0 && record.cid_len == 0);
#endif
        script_check(record.body == record.header + IOTSEC_RECORD_HEADER_BYTES + record.cid_len);
        script_check(record.body + record.length == next && next + left == copy + size);
        take_record(hal, &record, &window);
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct iotsec_hal hal;

    memset(&hal, 0, sizeof hal);
    hal.crypto = fuzz_crypto();
    take_datagram(&hal, 0, data, size);
#if IOTSEC_CONNECTION_ID
    take_datagram(&hal, 1, data, size);
    take_datagram(&hal, IOTSEC_CID_OWN_BYTES, data, size);
    take_datagram(&hal, IOTSEC_CID_MAX, data, size);
#endif
#if IOTSEC_ROLE_RELAY || IOTSEC_RELAYED
    take_relayed(data, size);
#endif
    return 0;
}
