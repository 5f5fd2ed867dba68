/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data frames, all numbers with the least significant byte first:
 *
 *     FCF(2) sequence(1) target PAN(2) target(2 or 8) [source PAN(2)] source(2 or 8)
 *     if secured: control(1) frame counter(4) key index(1)
 *
 *     FCF: type 2:0, secured 3, more to come 4, acknowledge 5, one PAN 6, target mode 11:10, version 13:12, source mode 15:14
 */
#include "frame.h"

#include <string.h>

#include "base/bytes.h"

#define TYPE_MASK 0x0007u
#define TYPE_DATA 0x0001u
#define SECURED 0x0008u
#define ACKNOWLEDGE 0x0020u
#define ONE_PAN 0x0040u
#define VERSION_2006 0x1000u
#define VERSION_MASK 0x3000u
#define TARGET_AT 10
#define SOURCE_AT 14
#define MODE_SHORT 2u
#define MODE_EUI64 3u

#define READ_MAX 29u /* with two PAN IDs */

#define KEY_ID_MODE_INDEX 0x08u
#define CONTROL_LEVEL 0x07u

const uint8_t frame_broadcast[8] = { 0, 0, 0, 0xFF, 0xFE, 0, 0xFF, 0xFF };

bool frame_same(const uint8_t a[8], const uint8_t b[8])
{
    return memcmp(a, b, 8) == 0;
}

bool frame_is_short(const uint8_t link[8])
{
    return memcmp(link, frame_broadcast, 6) == 0;
}

void frame_from_short(uint8_t link[8], uint16_t address)
{
    memcpy(link, frame_broadcast, 6);
    iotsec_put_u16(link + 6, address);
}

void frame_turn_eui64(uint8_t to[8], const uint8_t from[8])
{
    memmove(to, from, 8);
    to[0] ^= 0x02;
}

static uint16_t le16(const uint8_t *at)
{
    return (uint16_t)(at[0] | (unsigned)at[1] << 8);
}

static void reverse(uint8_t *out, const uint8_t in[8])
{
    size_t i;

    for (i = 0; i < 8; i++) {
        out[i] = in[7 - i];
    }
}

/* NULL: no address, of a reserved kind, or none that we can keep. */
static const uint8_t *read_link(const uint8_t *at, unsigned mode, uint8_t link[8])
{
    if (mode == MODE_SHORT) {
        frame_from_short(link, le16(at));
        return at + 2;
    }
    reverse(link, at);
    frame_turn_eui64(link, link);
    return mode != MODE_EUI64 || frame_is_short(link) ? NULL : at + 8;
}

/* From a copy with zeros behind it, so that at its end it shows whether more was read than there was. */
bool frame_read(struct frame *frame, const uint8_t *data, size_t len)
{
    uint8_t copy[READ_MAX] = { 0 };
    const uint8_t *at = copy;
    unsigned control;

    memset(frame, 0, sizeof *frame);
    memcpy(copy, data, len < sizeof copy ? len : sizeof copy);
    control = le16(at);
    /* version 0 secures in another way, and above 1 the fields are others */
    if (len > NET_FRAME_BYTES || (control & TYPE_MASK) != TYPE_DATA ||
        ((control & VERSION_MASK) != VERSION_2006 && (control & (VERSION_MASK | SECURED)) != 0)) {
        return false;
    }
    frame->sequence = at[2];
    frame->pan_id = le16(at + 3);
    at = read_link(at + 5, control >> TARGET_AT & 3u, frame->target);
    if (at == NULL) {
        return false;
    }
    if ((control & ONE_PAN) == 0) {
        if (le16(at) != frame->pan_id) {
            return false;
        }
        at += 2;
    }
    at = read_link(at, control >> SOURCE_AT & 3u, frame->source);
    if (at == NULL) {
        return false;
    }
    if ((control & SECURED) != 0) {
        frame->level = *at ^ KEY_ID_MODE_INDEX;
        if (frame->level == 0 || frame->level > CONTROL_LEVEL) {
            return false; /* secured, and yet in the clear; or a key that is named in another way */
        }
        frame->counter = (uint32_t)le16(at + 3) << 16 | le16(at + 1);
        frame->key_index = at[5];
        at += 6;
    }
    frame->header_len = (uint8_t)(at - copy);
    return frame->header_len <= len;
}

static uint8_t *write_le16(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
    return out + 2;
}

static uint8_t *write_link(uint8_t *out, const uint8_t link[8])
{
    uint8_t eui64[8];

    if (frame_is_short(link)) {
        return write_le16(out, iotsec_get_u16(link + 6));
    }
    frame_turn_eui64(eui64, link);
    reverse(out, eui64);
    return out + 8;
}

static unsigned mode_of(const uint8_t link[8])
{
    return frame_is_short(link) ? MODE_SHORT : MODE_EUI64;
}

size_t frame_write(struct frame *frame, uint8_t out[FRAME_HEADER_MAX])
{
    unsigned control = TYPE_DATA | ONE_PAN | mode_of(frame->target) << TARGET_AT | mode_of(frame->source) << SOURCE_AT;
    uint8_t *at = out + 2;

    *at++ = frame->sequence;
    at = write_le16(at, frame->pan_id);
    at = write_link(at, frame->target);
    at = write_link(at, frame->source);
    if (!frame_same(frame->target, frame_broadcast)) {
        control |= ACKNOWLEDGE;
    }
    if (frame->level != 0) {
        control |= SECURED | VERSION_2006;
        *at++ = (uint8_t)(KEY_ID_MODE_INDEX | frame->level);
        at = write_le16(at, (uint16_t)frame->counter);
        at = write_le16(at, (uint16_t)(frame->counter >> 16));
        *at++ = frame->key_index;
    }
    (void)write_le16(out, (uint16_t)control);
    frame->header_len = (uint8_t)(at - out);
    return frame->header_len;
}
