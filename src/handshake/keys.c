/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Transcript and key schedule (RFC 5246, sections 6.3, 7.4.9 and 8.1; RFC 4279, section 2; RFC 7627).
 *
 *     premaster = N, N zero bytes, N, PSK                                  N: the PSK's length, 16 bits
 *     master    = PRF(premaster, "extended master secret", session hash)   or "master secret" + randoms
 *     keys      = PRF(master, "key expansion", server random + client random)
 *     client    : verify_data = PRF(master, "client finished", hash up to ClientKeyExchange)
 *     server    : verify_data = PRF(master, "server finished", the same and the client's Finished)
 *
 * ChangeCipherSpec is no part of the transcript and no certificate is verified, so the session hash
 * and the hash under the client's Finished are one. And since each end can write down the Finished
 * that it expects, everything is computed here at once: the pads of the master secret are hashed
 * once, and the master secret is gone before the function returns. For the same reason what a session between
 * devices exports (RFC 5705) is computed here too:
 *
 *     exported  = PRF(master, "EXPORTER-iotsec-csb", client random + server random)
 */
#include "handshake/engine.h"

#include <string.h>

/* The key block, and behind it what is exported. */
#define BLOCK_BYTES (KEY_BLOCK_BYTES + (IOTSEC_PAIRWISE ? IOTSEC_EXPORTED_BYTES : 0u))

enum iotsec_status iotsec_transcript_add(const struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                         const uint8_t *data, size_t len)
{
    const struct iotsec_hal *hal = dtls->config->hal;

    if ((hs->slot.flags & HS_HASHING) == 0) {
        if (hal->crypto->sha256_start(hal->user, &hs->u.open.transcript) != 0) {
            return IOTSEC_ERR_CRYPTO;
        }
        hs->slot.flags |= HS_HASHING;
    }
    return hal->crypto->sha256_update(hal->user, &hs->u.open.transcript, data, len) == 0 ? IOTSEC_OK : IOTSEC_ERR_CRYPTO;
}

enum iotsec_status iotsec_transcript_message(const struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                             const struct iotsec_hs_message *message)
{
    /* as if it had come in one piece (RFC 6347, section 4.2.6): it did, or the header was made so */
    return iotsec_transcript_add(dtls, hs, message->body - IOTSEC_HANDSHAKE_HEADER_BYTES,
                                 IOTSEC_HANDSHAKE_HEADER_BYTES + message->length);
}

void iotsec_transcript_abort(const struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    const struct iotsec_hal *hal = dtls->config->hal;

    if ((hs->slot.flags & HS_HASHING) != 0) {
        hal->crypto->sha256_abort(hal->user, &hs->u.open.transcript);
        iotsec_hs_unset(hs, HS_HASHING);
    }
}

/* What the PRFs of one key schedule share. */
struct schedule {
    const struct iotsec_hal *hal;
    struct iotsec_hmac secret;
};

/* One PRF of TLS: a label, and one or two seeds of 32 bytes. */
static enum iotsec_status compute_prf(const struct schedule *s, const char *label, const uint8_t *seed1, const uint8_t *seed2,
                                      uint8_t *out, size_t out_len)
{
    struct iotsec_slice parts[4]; /* the first belongs to iotsec_p_hash */

    parts[1].data = (const uint8_t *)label;
    parts[1].len = strlen(label);
    parts[2].data = seed1;
    parts[2].len = 32;
    parts[3].data = seed2;
    parts[3].len = 32;
    return iotsec_p_hash(s->hal, &s->secret, parts, seed2 != NULL ? 4 : 3, out, out_len);
}

#if IOTSEC_KEYLOG
static void append_hex(char *line, size_t *at, const uint8_t *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    size_t i;

    for (i = 0; i < len; i++) {
        line[(*at)++] = digits[data[i] >> 4];
        line[(*at)++] = digits[data[i] & 15];
    }
}

static OWN_FRAME void log_master(const struct iotsec_dtls *dtls, const struct iotsec_dtls_handshake *hs,
                       const uint8_t master[IOTSEC_MASTER_SECRET_BYTES])
{
    static const char label[] = "CLIENT_RANDOM ";
    char line[sizeof label + 2 * IOTSEC_RANDOM_BYTES + 1 + 2 * IOTSEC_MASTER_SECRET_BYTES];
    size_t at = sizeof label - 1;

    memcpy(line, label, at);
    append_hex(line, &at, hs->client_random, IOTSEC_RANDOM_BYTES);
    line[at++] = ' ';
    append_hex(line, &at, master, IOTSEC_MASTER_SECRET_BYTES);
    line[at] = '\0';
    dtls->config->callbacks->keylog(dtls->config->user, line);
    iotsec_wipe(line, sizeof line);
}
#endif

/* The premaster secret, ready to be a PRF's key. */
static OWN_FRAME enum iotsec_status set_premaster(struct schedule *s, const uint8_t *psk, size_t psk_len)
{
    uint8_t premaster[4 + 2 * IOTSEC_PSK_MAX];
    enum iotsec_status status;

    memset(premaster, 0, sizeof premaster);
    iotsec_put_u16(premaster, (uint16_t)psk_len);
    iotsec_put_u16(premaster + 2 + psk_len, (uint16_t)psk_len);
    memcpy(premaster + 4 + psk_len, psk, psk_len);
    status = iotsec_hmac_key(s->hal, &s->secret, premaster, 4 + 2 * psk_len);
    iotsec_wipe(premaster, sizeof premaster);
    return status;
}

/* The transcript's hash so far; the transcript goes on. */
static OWN_FRAME enum iotsec_status hash_transcript(const struct iotsec_hal *hal, const struct iotsec_sha256 *transcript,
                                                    uint8_t hash[32])
{
    struct iotsec_sha256 copy;

    return hal->crypto->sha256_clone(hal->user, &copy, transcript) == 0 &&
                   hal->crypto->sha256_finish(hal->user, &copy, hash) == 0
               ? IOTSEC_OK
               : IOTSEC_ERR_CRYPTO;
}

/* The master secret, ready to be a PRF's key. `hash` is the session hash. */
static OWN_FRAME enum iotsec_status set_master(const struct iotsec_dtls *dtls, const struct iotsec_dtls_handshake *hs,
                                               struct schedule *s, const uint8_t hash[32])
{
    uint8_t master[IOTSEC_MASTER_SECRET_BYTES];
    enum iotsec_status status;

    if ((hs->slot.flags & HS_EMS) != 0) {
        status = compute_prf(s, "extended master secret", hash, NULL, master, sizeof master);
    } else {
        status = compute_prf(s, "master secret", hs->client_random, hs->u.open.server_random, master, sizeof master);
    }
    iotsec_hmac_done(s->hal, &s->secret);
    if (status == IOTSEC_OK) {
        status = iotsec_hmac_key(s->hal, &s->secret, master, sizeof master);
    }
#if IOTSEC_KEYLOG
    if (status == IOTSEC_OK && dtls->config->callbacks->keylog != NULL) {
        log_master(dtls, hs, master);
    }
#else
    (void)dtls;
#endif
    iotsec_wipe(master, sizeof master);
    return status;
}

static enum iotsec_status derive(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, struct schedule *s,
                                 uint8_t hash[32], uint8_t block[BLOCK_BYTES], uint8_t client[FINISHED_BYTES],
                                 uint8_t server[IOTSEC_VERIFY_DATA_BYTES])
{
    enum iotsec_status status =
        compute_prf(s, "key expansion", hs->u.open.server_random, hs->client_random, block, KEY_BLOCK_BYTES);

    if (status == IOTSEC_OK && iotsec_hs_exports(dtls, hs)) {
        status = compute_prf(s, IOTSEC_EXPORTER_LABEL, hs->client_random, hs->u.open.server_random, block + KEY_BLOCK_BYTES,
                             BLOCK_BYTES - KEY_BLOCK_BYTES);
    }
    if (status == IOTSEC_OK) {
        status = compute_prf(s, "client finished", hash, NULL, client + IOTSEC_HANDSHAKE_HEADER_BYTES, IOTSEC_VERIFY_DATA_BYTES);
    }
    if (status == IOTSEC_OK) {
        status = iotsec_transcript_add(dtls, hs, client, FINISHED_BYTES);
    }
    if (status != IOTSEC_OK) {
        return status;
    }
    iotsec_hs_unset(hs, HS_HASHING);
    if (s->hal->crypto->sha256_finish(s->hal->user, &hs->u.open.transcript, hash) != 0) {
        return IOTSEC_ERR_CRYPTO;
    }
    return compute_prf(s, "server finished", hash, NULL, server, IOTSEC_VERIFY_DATA_BYTES);
}

enum iotsec_status iotsec_keys_derive(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, const uint8_t *psk,
                                      size_t psk_len, uint8_t finished[FINISHED_BYTES])
{
    const bool is_server = iotsec_hs_is_server(hs);
    struct schedule s;
    uint8_t hash[32];
    uint8_t block[BLOCK_BYTES];
    uint8_t client[FINISHED_BYTES];
    uint8_t server[IOTSEC_VERIFY_DATA_BYTES];
    enum iotsec_status status;

    s.hal = dtls->config->hal;
    status = hash_transcript(s.hal, &hs->u.open.transcript, hash);
    if (status == IOTSEC_OK) {
        status = set_premaster(&s, psk, psk_len);
    }
    if (status == IOTSEC_OK) {
        status = set_master(dtls, hs, &s, hash);
    }
    if (status == IOTSEC_OK) {
        iotsec_message_header(client, IOTSEC_HS_FINISHED, is_server ? hs->receive_seq : hs->send_seq, IOTSEC_VERIFY_DATA_BYTES);
        status = derive(dtls, hs, &s, hash, block, client, server);
        iotsec_hmac_done(s.hal, &s.secret);
    }
    if (status == IOTSEC_OK) {
        /* commit: from here on the open half of the union is gone */
        uint8_t *expected = hs->u.keyed.expected;
        size_t i;

        for (i = 0; i < 2; i++) {
            struct iotsec_record_key *key = (i == 0) == is_server ? &hs->u.keyed.read_key : &hs->u.keyed.write_key;

            memcpy(key->key, block + i * IOTSEC_KEY_BYTES, IOTSEC_KEY_BYTES);
            memcpy(key->salt, block + 2 * IOTSEC_KEY_BYTES + i * IOTSEC_SALT_BYTES, IOTSEC_SALT_BYTES);
        }
#if IOTSEC_PAIRWISE
        if (iotsec_hs_exports(dtls, hs)) {
            memcpy(hs->u.keyed.exported, block + KEY_BLOCK_BYTES, sizeof hs->u.keyed.exported);
        }
#endif
        memcpy(finished, client, sizeof client);
        if (is_server) {
            memcpy(expected, client + IOTSEC_HANDSHAKE_HEADER_BYTES, IOTSEC_VERIFY_DATA_BYTES);
            iotsec_message_header(finished, IOTSEC_HS_FINISHED, hs->send_seq, IOTSEC_VERIFY_DATA_BYTES);
            memcpy(finished + IOTSEC_HANDSHAKE_HEADER_BYTES, server, sizeof server);
        } else {
            memcpy(expected, server, sizeof server);
        }
    }
    iotsec_wipe(block, sizeof block);
    iotsec_wipe(client, sizeof client);
    iotsec_wipe(server, sizeof server);
    return status;
}
