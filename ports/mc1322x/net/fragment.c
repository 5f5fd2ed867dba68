/* SPDX-License-Identifier: BSD-3-Clause */
/*
 *     [01010000 sequence(8)]  one of
 *         compressed header, rest of the datagram
 *         11000 size(11) tag(16)            compressed header, first part
 *         11100 size(11) tag(16) offset(8)  further part
 *
 * Sizes and offsets count the uncompressed datagram, offsets in units of 8 bytes. A part that comes twice is fine; parts
 * that overlap otherwise, or do not agree, end the whole datagram: no part of it is trusted over another (RFC 5722).
 */
#include "fragment.h"

#include <string.h>

#include "base/bytes.h"
#include "linksec.h"

#define REASSEMBLY_MS 3000u
#define PLAIN_MS 250u /* fragments in the clear come over one hop: all of them in less */
#define RETRY_MS 2u /* the radio had no room */
#define PAUSE_MIN_MS 8u
#define PAUSE_SPREAD_MS 56u
#define SIZE_MASK 0x7FFu
#define FIRST_BYTES 4u
#define FURTHER_BYTES 5u

enum { FREE, GATHERING, COMPLETE, WAITING };

void fragment_drop(struct net *net, enum net_drop reason)
{
    if (net->stats.drops[reason] != UINT16_MAX) {
        net->stats.drops[reason]++;
    }
}

const uint8_t *fragment_prefix(const struct net *net)
{
    return (net->flags & NET_HAS_PREFIX) != 0 ? net->prefix : NULL;
}

uint32_t fragment_pause(struct net *net)
{
    net->random = net->random * 1664525u + 1013904223u;
    return PAUSE_MIN_MS + (net->random >> 16) % PAUSE_SPREAD_MS;
}

/* ---- Buffers ---- */

static uint8_t *bytes_of(const struct net *net, const struct net_buffer *buffer)
{
    return net->config->datagrams + (size_t)(buffer - net->config->buffers) * net->config->datagram_size;
}

void fragment_datagram(const struct net *net, const struct net_buffer *buffer, struct datagram *datagram)
{
    size_t head;

    datagram->header = bytes_of(net, buffer);
    head = lowpan_head(datagram->header);
    datagram->data = datagram->header + head;
    datagram->len = buffer->size - head;
}

void fragment_release(struct net_buffer *buffer)
{
    buffer->state = FREE;
    buffer->flags |= WAY_ENDED;
}

/* Whether a buffer's datagram and a fragment, or another one, came in the same way. */
static bool same_way(const struct net_buffer *buffer, const struct way *way)
{
    return ((buffer->flags ^ way->flags) & WAY_SECURED) == 0 && frame_same(buffer->link, way->link);
}

/*
 * A free buffer. In the clear anybody can begin datagrams that never end, so these get no more than half of them, give way to
 * what is secured, and after a while to each other. What the same neighbour began before gives way too, since it sends one
 * datagram after another.
 */
static struct net_buffer *take_buffer(struct net *net, const struct way *way)
{
    const struct net_config *config = net->config;
    bool plain = (way->flags & WAY_SECURED) == 0;
    struct net_buffer *best = NULL;
    struct net_buffer *stale = NULL;
    unsigned others = 0;
    unsigned best_rank = 0;
    unsigned rank;
    uint8_t i;

    for (i = 0; i < config->buffer_count; i++) {
        struct net_buffer *buffer = &config->buffers[i];

        rank = 0;
        if (buffer->state == FREE) {
            rank = (buffer->flags & WAY_ENDED) != 0 ? 3 : 4;
        } else if (buffer->state == GATHERING) {
            if (same_way(buffer, way)) {
                rank = 2;
            } else if ((buffer->flags & WAY_SECURED) == 0) {
                others++;
                if (!plain || net->now - buffer->since >= PLAIN_MS) {
                    stale = buffer;
                    rank = 1;
                }
            }
        }
        if (rank > best_rank) {
            best = buffer;
            best_rank = rank;
        }
    }
    if (plain && best_rank > 2 && others != 0 && others >= config->buffer_count / 2u) {
        best = stale;
    }
    if (best == NULL) {
        return NULL;
    }
    if (best->state == GATHERING) {
        fragment_drop(net, NET_DROP_TIMEOUT);
    }
    memset(best, 0, sizeof *best);
    return best;
}

/* ---- Sending ---- */

/* Sends a frame that waits. True: none does. */
static bool flush(struct net *net)
{
    const struct net_config *config = net->config;

    if (net->pending != 0) {
        if (config->callbacks->send(config->user, net->frame, net->pending) != 0) {
            return false;
        }
        net->pending = 0;
        net->stats.frames_out++;
    }
    return true;
}

/* Secures a frame whose payload ends at `end`, and sends it, now or when the radio has room. */
static int end_frame(struct net *net, struct frame *frame, const uint8_t *end)
{
    size_t len = (size_t)(end - net->frame);
    int status;

    if (frame->level != 0) {
        status = linksec_start(net, frame);
        if (status == NET_OK) {
            (void)frame_write(frame, net->frame);
            status = linksec_seal(net, frame, net->frame, len - frame->header_len);
        }
        if (status != NET_OK) {
            return status;
        }
    }
    net->pending = (uint8_t)(len + linksec_mic_bytes(frame->level));
    (void)flush(net);
    return NET_OK;
}

/*
 * Sends the part of a datagram that begins at `*offset`, or all of it if that fits into one frame, and moves `*offset` on.
 * With `whole` a datagram that does not fit is left alone, and so is `*offset`. No frame waits.
 */
static int send_part(struct net *net, const struct datagram *datagram, const struct way *way, uint16_t tag, size_t *offset,
                     bool whole)
{
    size_t head = lowpan_head(datagram->header);
    size_t size = head + datagram->len;
    size_t part = size - *offset;
    const uint8_t *data = datagram->data;
    struct frame frame;
    uint8_t *end;
    uint8_t *at = net->frame;
    unsigned dispatch = LOWPAN_FRAGMENT;
    size_t len;

    memset(&frame, 0, sizeof frame);
    memcpy(frame.source, net->own, 8);
    memcpy(frame.target, way->link, 8);
    frame.pan_id = net->pan_id;
    frame.sequence = net->sequence++;
    frame.level = (way->flags & WAY_SECURED) != 0 ? net->config->level : 0;
    at += frame_write(&frame, at);
    end = net->frame + NET_FRAME_BYTES - linksec_mic_bytes(frame.level);
    if ((way->flags & WAY_FLOOD) != 0) {
        *at++ = LOWPAN_BROADCAST;
        *at++ = way->sequence;
    }
    if (*offset == 0) {
        len = lowpan_write(at, datagram->header, frame.source, frame.target, fragment_prefix(net));
        part -= head;
        if (part > (size_t)(end - at) - len) {
            if (whole) {
                return NET_OK;
            }
            memmove(at + FIRST_BYTES, at, len);
            len += FIRST_BYTES;
            part = ((size_t)(end - at) - len) & ~(size_t)7; /* the header's length is a multiple of 8 too */
        }
        *offset = head;
    } else {
        dispatch |= LOWPAN_FURTHER;
        data += *offset - head;
        at[4] = (uint8_t)(*offset / 8);
        len = FURTHER_BYTES;
        if (part > (size_t)(end - at) - len) {
            part = ((size_t)(end - at) - len) & ~(size_t)7;
        }
    }
    memcpy(at + len, data, part);
    if (dispatch != LOWPAN_FRAGMENT || *offset + part != size) {
        iotsec_put_u16(at, (uint16_t)(dispatch << 8 | size));
        iotsec_put_u16(at + 2, tag);
    }
    *offset += part;
    return end_frame(net, &frame, at + len + part);
}

static void wait_until(struct net_buffer *buffer, uint32_t when)
{
    buffer->state = WAITING;
    buffer->since = when;
    buffer->offset = 0;
}

void fragment_send_buffer(struct net *net, struct net_buffer *buffer, const struct way *way, uint8_t copies, uint32_t delay)
{
    memcpy(buffer->link, way->link, 8);
    buffer->flags = way->flags;
    buffer->sequence = way->sequence;
    buffer->copies = copies;
    buffer->tag = net->tag++;
    wait_until(buffer, net->now + delay);
    fragment_pump(net);
}

int fragment_send(struct net *net, const struct datagram *datagram, const struct way *way, uint8_t copies, uint32_t delay)
{
    size_t head = lowpan_head(datagram->header);
    struct net_buffer *buffer;
    size_t sent = 0;
    int status;

    if (head + datagram->len > net->config->datagram_size) {
        return NET_ERR_TOO_LONG;
    }
    if (delay == 0 && flush(net)) {
        status = send_part(net, datagram, way, 0, &sent, true);
        if (status != NET_OK) {
            return status;
        }
        if (sent != 0) {
            delay = fragment_pause(net);
            copies--;
        }
    }
    if (copies != 0) {
        static const struct way ours = { { 0 }, WAY_SECURED, 0 };

        buffer = take_buffer(net, &ours);
        if (buffer == NULL) {
            return sent != 0 ? NET_OK : NET_ERR_FULL;
        }
        buffer->size = (uint16_t)(head + datagram->len);
        memcpy(bytes_of(net, buffer), datagram->header, head);
        memcpy(bytes_of(net, buffer) + head, datagram->data, datagram->len);
        fragment_send_buffer(net, buffer, way, copies, delay);
    }
    return NET_OK;
}

/* The waiting buffer whose time came first. */
static struct net_buffer *find_due(const struct net *net)
{
    struct net_buffer *first = NULL;
    uint8_t i;

    for (i = 0; i < net->config->buffer_count; i++) {
        struct net_buffer *buffer = &net->config->buffers[i];

        if (buffer->state == WAITING && iotsec_time_reached(net->now, buffer->since) &&
            (first == NULL || !iotsec_time_reached(buffer->since, first->since))) {
            first = buffer;
        }
    }
    return first;
}

void fragment_pump(struct net *net)
{
    struct net_buffer *buffer;

    while (flush(net) && (buffer = find_due(net)) != NULL) {
        struct way way;
        struct datagram datagram;
        size_t offset = buffer->offset;
        int status;

        memcpy(way.link, buffer->link, 8);
        way.flags = buffer->flags;
        way.sequence = buffer->sequence;
        fragment_datagram(net, buffer, &datagram);
        status = send_part(net, &datagram, &way, buffer->tag, &offset, false);
        buffer->offset = (uint16_t)offset;
        if (status != NET_OK) {
            fragment_drop(net, status == NET_ERR_CRYPTO ? NET_DROP_CRYPTO : NET_DROP_COUNTER);
            buffer->state = FREE;
        } else if (offset == buffer->size) {
            wait_until(buffer, net->now + fragment_pause(net));
            if (--buffer->copies == 0) {
                buffer->state = FREE;
            }
        }
    }
}

/* ---- Putting together ---- */

/* The buffer of a datagram that has begun, or has ended not long ago; NULL: there is none. */
static struct net_buffer *find_begun(const struct net *net, const struct way *way, uint16_t tag)
{
    uint8_t i;

    for (i = 0; i < net->config->buffer_count; i++) {
        struct net_buffer *buffer = &net->config->buffers[i];

        bool ended = buffer->state == FREE && (buffer->flags & WAY_ENDED) != 0 && net->now - buffer->since < REASSEMBLY_MS;

        if ((buffer->state == GATHERING || ended) && buffer->tag == tag && same_way(buffer, way)) {
            return buffer;
        }
    }
    return NULL;
}

/* Puts a part into its place, if all of that is free, or holds the same already. False: the datagram is not to be trusted. */
static bool put_part(struct net_buffer *buffer, uint8_t *bytes, const uint8_t *part, size_t offset, size_t len)
{
    size_t end = offset + len;
    size_t units = 0;
    size_t there = 0;
    size_t unit;

    if (len == 0 || end > buffer->size || (end != buffer->size && len % 8 != 0)) {
        return false;
    }
    for (unit = offset / 8; unit * 8 < end; unit++) {
        unsigned bit = 1u << unit % 8;

        units++;
        there += (buffer->have[unit / 8] & bit) != 0;
        buffer->have[unit / 8] |= (uint8_t)bit;
    }
    if (there == 0) {
        memcpy(bytes + offset, part, len);
        buffer->offset = (uint16_t)(buffer->offset + len);
        return true;
    }
    return there == units && memcmp(bytes + offset, part, len) == 0;
}

struct net_buffer *fragment_take(struct net *net, const struct way *way, const uint8_t target[8], uint8_t *in, size_t len,
                                 enum net_drop *reason)
{
    bool first = (in[0] & LOWPAN_FURTHER) == 0;
    size_t header_len = first ? FIRST_BYTES : FURTHER_BYTES;
    uint8_t header[NET_HEADER_BYTES];
    struct net_buffer *buffer;
    uint8_t *bytes;
    size_t offset;
    size_t used;
    uint16_t size;
    uint16_t tag;
    bool sound;

    *reason = NET_DROP_HEADER;
    if (len <= header_len) {
        return NULL;
    }
    size = iotsec_get_u16(in) & SIZE_MASK;
    tag = iotsec_get_u16(in + 2);
    offset = (size_t)in[4] * 8;
    in += header_len;
    len -= header_len;
    /* headers come in first fragments only, where they are read */
    if (size < LOWPAN_IPV6_BYTES || (!first && offset < LOWPAN_IPV6_BYTES)) {
        return NULL;
    }
    if (size > net->config->datagram_size) {
        *reason = NET_DROP_TOO_LONG;
        return NULL;
    }
    if (first) {
        used = len;
        *reason = lowpan_read(header, in, &used, size, way->link, target, fragment_prefix(net));
        if (*reason != NET_DROP_COUNT) {
            return NULL;
        }
        in += used;
        len -= used;
        offset = lowpan_head(header);
    }
    *reason = NET_DROP_COUNT;
    buffer = find_begun(net, way, tag);
    if (buffer != NULL && buffer->state == FREE) {
        return NULL;
    }
    if (buffer == NULL) {
        buffer = take_buffer(net, way);
        if (buffer == NULL) {
            *reason = NET_DROP_FULL;
            return NULL;
        }
        buffer->state = GATHERING;
        buffer->since = net->now;
        buffer->size = size;
        buffer->tag = tag;
        memcpy(buffer->link, way->link, 8);
        buffer->flags = way->flags;
    }

    bytes = bytes_of(net, buffer);
    sound = size == buffer->size && (!first || put_part(buffer, bytes, header, 0, offset)) &&
            ((first && len == 0) || put_part(buffer, bytes, in, offset, len));
    if (!sound) {
        *reason = NET_DROP_FRAGMENT;
        fragment_release(buffer);
        return NULL;
    }
    if (buffer->offset != buffer->size) {
        return NULL;
    }
    buffer->state = COMPLETE;
    return buffer;
}

uint32_t fragment_tick(struct net *net)
{
    uint32_t wait = net->pending != 0 ? RETRY_MS : UINT32_MAX;
    uint8_t i;

    for (i = 0; i < net->config->buffer_count; i++) {
        struct net_buffer *buffer = &net->config->buffers[i];
        uint32_t left = iotsec_time_left(net->now, buffer->state == GATHERING ? buffer->since + REASSEMBLY_MS : buffer->since);

        if (buffer->state == GATHERING && left == 0) {
            fragment_drop(net, NET_DROP_TIMEOUT);
            fragment_release(buffer);
        } else if (buffer->state == GATHERING || buffer->state == WAITING) {
            wait = iotsec_min_u32(wait, left != 0 ? left : RETRY_MS);
        }
    }
    return wait;
}
