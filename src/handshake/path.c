/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Paths through a stateless relay (docs/protocol.md, section 12): the relay's address and its opaque header
 * together stand where a device's address does.
 *
 *     relay -> server  82 | head, header | head, records
 *     relay <- server  82 | head, the same header | head, records
 *
 * A wrapped and a plain datagram from one address are of different paths: a relay that lies can invent joiners
 * of its own, and reaches nothing of anybody who is not behind it.
 */
#include "handshake/engine.h"

#if IOTSEC_RELAYED

#include "record/join_proxy.h"

bool iotsec_path_unwrap(struct iotsec_dtls_path *path, uint8_t **datagram, size_t *len)
{
    const uint8_t *header;
    const uint8_t *content;
    size_t header_len;
    size_t content_len;

    if (iotsec_join_proxy_read(*datagram, *len, &header, &header_len, &content, &content_len) != IOTSEC_OK ||
        !iotsec_join_proxy_is_dtls(content, content_len)) {
        return false;
    }
    memcpy(path->header, header, header_len);
    path->relayed = (uint16_t)(header_len + 1);
    *datagram += content - *datagram;
    *len = content_len;
    return true;
}

size_t iotsec_path_room(const struct iotsec_dtls *dtls, const struct iotsec_dtls_path *path)
{
    return path->relayed != 0 ? iotsec_join_proxy_overhead(path->relayed - 1u, dtls->config->tx_size) : 0;
}

size_t iotsec_path_wrap(const struct iotsec_dtls_path *path, uint8_t *records, size_t len)
{
    size_t room;

    if (path->relayed == 0) {
        return 0;
    }
    room = iotsec_join_proxy_overhead(path->relayed - 1u, len);
    iotsec_join_proxy_write(records - room, path->header, path->relayed - 1u, len);
    return room;
}

bool iotsec_relay_full(const struct iotsec_dtls *dtls, const struct iotsec_dtls_path *path)
{
    const struct iotsec_dtls_config *config = dtls->config;
    uint32_t limit = iotsec_value_or(iotsec_value_or(config->relay_handshakes, config->handshake_count / 2u), 1);
    uint16_t i;

    for (i = 0; path->relayed != 0 && i < config->handshake_count; i++) {
        const struct iotsec_dtls_handshake *hs = &config->handshakes[i];

        if (hs->slot.state != HS_FREE && hs->slot.role == ROLE_SERVER && hs->path.relayed != 0 &&
            iotsec_addr_equal(&hs->path.addr, &path->addr) && --limit == 0) {
            return true;
        }
    }
    return false;
}

#endif
