/* SPDX-License-Identifier: BSD-3-Clause */
#include "spy.h"

#include <string.h>

static void add_key(struct spy *spy, const uint8_t tek[16])
{
    size_t i;

    for (i = 0; i < spy->count; i++) {
        if (memcmp(spy->teks[i], tek, 16) == 0) {
            return;
        }
    }
    assert_true(spy->count < SPY_KEYS_MAX);
    memcpy(spy->teks[spy->count++], tek, 16);
}

/* Every 16 bytes of the bundle, whatever they are called: a key that was left behind is found too. */
static void add_everything(struct spy *spy)
{
    const uint8_t *bytes = (const uint8_t *)&spy->csb;
    size_t at;

    for (at = 0; at + 16 <= sizeof spy->csb; at += 2) {
        add_key(spy, bytes + at);
    }
}

void spy_init(struct spy *spy, const struct node *holder, uint16_t group_id)
{
    memset(spy, 0, sizeof *spy);
    spy->group_id = group_id;
    spy->hal = &holder->hal;
}

void spy_learn(struct spy *spy, const struct node *holder, unsigned steps)
{
    const struct iotsec_csb *csb = node_csb(holder, spy->group_id);
    uint8_t tgk[16];
    uint8_t tek[16];
    unsigned i;

    assert_non_null(csb);
    spy->csb = *csb;
    add_key(spy, csb->tek);
    add_everything(spy);
    memcpy(tgk, csb->tgk, sizeof tgk);
    for (i = 1; i <= steps; i++) {
        assert_int_equal(iotsec_csb_ratchet(spy->hal, spy->group_id, csb->key_number + i, csb->rand, tgk, tgk), IOTSEC_OK);
        assert_int_equal(iotsec_csb_derive_tek(spy->hal, spy->group_id, tgk, csb->rand, tek), IOTSEC_OK);
        add_key(spy, tek);
    }
}

bool spy_opens(const struct spy *spy, const struct net_datagram *datagram)
{
    size_t i;

    for (i = 0; i < spy->count; i++) {
        uint8_t copy[NET_DATAGRAM_MAX];
        uint8_t *next = copy;
        size_t left = datagram->len;
        struct iotsec_record record;

        memcpy(copy, datagram->data, datagram->len);
        while (left > 0 && iotsec_record_parse(&record, &next, &left) == IOTSEC_OK) {
            uint8_t *content;
            size_t len;

            if (iotsec_record_group_open(spy->hal, spy->teks[i], spy->group_id, &record, &content, &len) == IOTSEC_OK) {
                return true;
            }
        }
    }
    return false;
}

unsigned spy_count(const struct spy *spy, const struct net *net, size_t first, size_t last, unsigned *opened)
{
    unsigned records = 0;
    size_t i;

    *opened = 0;
    for (i = first; i < last; i++) {
        const struct net_datagram *datagram = &net->tap[i];

        if (datagram->sender != NULL && iotsec_addr_is_multicast(&datagram->to)) {
            records++;
            *opened += spy_opens(spy, datagram);
        }
    }
    return records;
}

size_t spy_forge(const struct spy *spy, uint16_t sender, uint32_t counter, uint8_t *out, size_t size, const void *content,
                 size_t len)
{
    size_t written;

    assert_int_equal(iotsec_record_group_seal(spy->hal, spy->csb.tek, spy->group_id, (uint16_t)spy->csb.key_number, sender,
                                              counter, IOTSEC_CONTENT_APPLICATION_DATA, out, size, &written, content, len),
                     IOTSEC_OK);
    return written;
}
