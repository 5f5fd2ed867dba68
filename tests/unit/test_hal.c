/* SPDX-License-Identifier: BSD-3-Clause */
/* CCM, HMAC and the PRFs over every crypto provider, against published answers. */
#include "test_hal_support.h"

#include "base/bytes.h"
#include "hal/crypto.h"

#if defined(IOTSEC_WITH_MBEDTLS)
#include <mbedtls/ccm.h>
#endif

/* ---- A provider in front of the one tested: counts, fails on demand, and can do CCM steps ---- */

struct probe {
    struct test_hal t;
    const struct iotsec_crypto *below;
    struct iotsec_crypto crypto;
    int calls_left; /* the call after these fails; < 0: none does */
    int open;       /* contexts started and not yet released */
    int blocks;     /* calls of aes_encrypt */
    int steps;      /* calls of ccm_step */
};

static int fails(struct probe *p)
{
    if (p->calls_left < 0) {
        return 0;
    }
    return p->calls_left-- == 0;
}

static int probe_aes_start(void *user, struct iotsec_aes *aes, const uint8_t key[16])
{
    struct probe *p = user;

    if (fails(p)) {
        return -1;
    }
    p->open++;
    return p->below->aes_start(user, aes, key);
}

static int probe_aes_encrypt(void *user, struct iotsec_aes *aes, const uint8_t in[16], uint8_t out[16])
{
    struct probe *p = user;

    p->blocks++;
    return fails(p) ? -1 : p->below->aes_encrypt(user, aes, in, out);
}

static void probe_aes_done(void *user, struct iotsec_aes *aes)
{
    struct probe *p = user;

    p->open--;
    p->below->aes_done(user, aes);
}

static int probe_sha256_start(void *user, struct iotsec_sha256 *sha)
{
    struct probe *p = user;

    if (fails(p)) {
        return -1;
    }
    p->open++;
    return p->below->sha256_start(user, sha);
}

static int probe_sha256_update(void *user, struct iotsec_sha256 *sha, const uint8_t *data, size_t len)
{
    struct probe *p = user;

    return fails(p) ? -1 : p->below->sha256_update(user, sha, data, len);
}

static int probe_sha256_clone(void *user, struct iotsec_sha256 *to, const struct iotsec_sha256 *from)
{
    struct probe *p = user;

    if (fails(p)) {
        return -1;
    }
    p->open++;
    return p->below->sha256_clone(user, to, from);
}

static int probe_sha256_finish(void *user, struct iotsec_sha256 *sha, uint8_t digest[32])
{
    struct probe *p = user;
    int failed = fails(p);

    p->open--;
    if (failed) {
        p->below->sha256_abort(user, sha);
        return -1;
    }
    return p->below->sha256_finish(user, sha, digest);
}

static void probe_sha256_abort(void *user, struct iotsec_sha256 *sha)
{
    struct probe *p = user;

    p->open--;
    p->below->sha256_abort(user, sha);
}

static int probe_ccm_step(void *user, struct iotsec_aes *aes, int opening, const uint8_t counter[16], uint8_t mac[16],
                          const uint8_t in[16], uint8_t out[16])
{
    struct probe *p = user;
    uint8_t stream[16];
    uint8_t plain[16];
    int failed;
    size_t i;

    p->steps++;
    if (fails(p)) {
        return -1;
    }
    failed = p->below->aes_encrypt(user, aes, counter, stream);
    for (i = 0; i < 16; i++) {
        plain[i] = opening ? (uint8_t)(in[i] ^ stream[i]) : in[i];
        out[i] = in[i] ^ stream[i];
        mac[i] ^= plain[i];
    }
    return failed | p->below->aes_encrypt(user, aes, mac, mac);
}

static const struct iotsec_hal *probe_init(struct probe *p, const struct iotsec_crypto *below, int with_step)
{
    memset(p, 0, sizeof *p);
    p->below = below;
    p->crypto.aes_start = probe_aes_start;
    p->crypto.aes_encrypt = probe_aes_encrypt;
    p->crypto.aes_done = probe_aes_done;
    p->crypto.sha256_start = probe_sha256_start;
    p->crypto.sha256_update = probe_sha256_update;
    p->crypto.sha256_clone = probe_sha256_clone;
    p->crypto.sha256_finish = probe_sha256_finish;
    p->crypto.sha256_abort = probe_sha256_abort;
    p->crypto.ccm_step = with_step ? probe_ccm_step : NULL;
    p->calls_left = -1;
    test_hal_init(&p->t, &p->crypto);
    p->t.hal.user = p;
    return &p->t.hal;
}

static void assert_all_zero(const uint8_t *data, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        assert_int_equal(data[i], 0);
    }
}

/* The provider a test runs over arrives as its state. */
static const struct iotsec_crypto *provider(void **state)
{
    return ((const struct test_provider *)*state)->crypto;
}

/* ---- CCM ---- */

static enum iotsec_status run_ccm(const struct iotsec_hal *hal, const uint8_t key[16], const uint8_t nonce[12],
                                  const uint8_t *aad, size_t aad_len, uint8_t *data, size_t len, size_t tag_len, int opening)
{
    uint8_t blocks[10][16];
    struct iotsec_ccm c;
    enum iotsec_status status;

    memset(&c, 0xA5, sizeof c);
    memset(blocks, 0, sizeof blocks);
    assert_true(2 + aad_len <= sizeof blocks);
    iotsec_put_u16(blocks[0], (uint16_t)aad_len);
    if (aad_len != 0) {
        memcpy(blocks[0] + 2, aad, aad_len);
    }
    memcpy(c.mac + IOTSEC_CCM_NONCE_AT, nonce, 12);
    c.hal = hal;
    c.aad = blocks[0];
    c.aad_blocks = aad_len != 0 ? (2 + aad_len + 15) / 16 : 0;
    c.data = data;
    c.len = len;
    c.tag_len = tag_len;
    c.opening = opening;
    status = iotsec_ccm(&c, key);
    if (status != IOTSEC_ERR_ARGUMENT) {
        assert_all_zero(c.mac, 16);
        assert_all_zero(c.counter, 16);
        assert_all_zero(c.keystream, 16);
    }
    return status;
}

static enum iotsec_status ccm_seal(const struct iotsec_hal *hal, const uint8_t key[16], const uint8_t nonce[12],
                                   const uint8_t *aad, size_t aad_len, uint8_t *data, size_t len, size_t tag_len)
{
    return run_ccm(hal, key, nonce, aad, aad_len, data, len, tag_len, 0);
}

static enum iotsec_status ccm_open(const struct iotsec_hal *hal, const uint8_t key[16], const uint8_t nonce[12],
                                   const uint8_t *aad, size_t aad_len, uint8_t *data, size_t len, size_t tag_len)
{
    return run_ccm(hal, key, nonce, aad, aad_len, data, len, tag_len, 1);
}

static void ccm_answers(void **state)
{
    char line[4096];
    char *field[7];
    int with_step;

    for (with_step = 0; with_step < 2; with_step++) {
        struct probe p;
        const struct iotsec_hal *hal = probe_init(&p, provider(state), with_step);
        FILE *f = test_vectors_open("ccm.csv");
        int rows = 0;

        while (test_vectors_row(f, line, sizeof line, field, 7)) {
            uint8_t key[16];
            uint8_t nonce[12];
            uint8_t aad[128];
            uint8_t plain[128];
            uint8_t sealed[128 + 16];
            uint8_t data[128 + 16];
            size_t aad_len = test_unhex(aad, sizeof aad, field[3]);
            size_t len = test_unhex(plain, sizeof plain, field[4]);
            size_t tag_len;

            assert_int_equal(test_unhex(key, sizeof key, field[1]), 16);
            assert_int_equal(test_unhex(nonce, sizeof nonce, field[2]), 12);
            assert_int_equal(test_unhex(sealed, 128, field[5]), len);
            tag_len = test_unhex(sealed + len, 16, field[6]);

            memcpy(data, plain, len);
            assert_int_equal(ccm_seal(hal, key, nonce, aad, aad_len, data, len, tag_len), IOTSEC_OK);
            assert_memory_equal(data, sealed, len + tag_len);
            assert_int_equal(ccm_open(hal, key, nonce, aad, aad_len, data, len, tag_len), IOTSEC_OK);
            assert_memory_equal(data, plain, len);

            data[len] ^= 0x80;
            assert_int_equal(ccm_open(hal, key, nonce, aad, aad_len, data, len, tag_len), IOTSEC_ERR_AUTH);
            assert_all_zero(data, len);
            assert_int_equal(p.open, 0);
            rows++;
        }
        fclose(f);
        assert_int_equal(rows, 29);
        assert_int_equal(p.steps != 0, with_step);
    }
}

static void ccm_refuses_other_tags(void **state)
{
    static const size_t lengths[] = { 0, 1, 4, 7, 9, 12, 15, 17, SIZE_MAX };
    struct probe p;
    const struct iotsec_hal *hal = probe_init(&p, provider(state), 0);
    uint8_t key[16] = { 1 };
    uint8_t nonce[12] = { 2 };
    uint8_t data[64] = { 3 };
    size_t i;

    for (i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        assert_int_equal(ccm_seal(hal, key, nonce, NULL, 0, data, 16, lengths[i]), IOTSEC_ERR_ARGUMENT);
        assert_int_equal(ccm_open(hal, key, nonce, NULL, 0, data, 16, lengths[i]), IOTSEC_ERR_ARGUMENT);
    }
    assert_int_equal(p.blocks, 0);
}

/* The step of a chip and the two steps of the generic path give the same bytes, at every length. */
static void ccm_step_agrees(void **state)
{
    struct probe plain;
    struct probe step;
    const struct iotsec_hal *hal_plain = probe_init(&plain, provider(state), 0);
    const struct iotsec_hal *hal_step = probe_init(&step, provider(state), 1);
    uint8_t key[16] = "sixteen byte key";
    uint8_t nonce[12] = "twelve bytes";
    uint8_t text[80];
    uint8_t aad[40];
    size_t len;
    size_t i;

    for (i = 0; i < sizeof text; i++) {
        text[i] = (uint8_t)(i * 7 + 1);
    }
    memset(aad, 0xA5, sizeof aad);
    for (len = 0; len <= sizeof text; len++) {
        uint8_t a[sizeof text + 16];
        uint8_t b[sizeof text + 16];
        size_t aad_len = len % (sizeof aad + 1);
        size_t tag_len = len % 2 ? 8 : 16;

        memcpy(a, text, len);
        memcpy(b, text, len);
        assert_int_equal(ccm_seal(hal_plain, key, nonce, aad, aad_len, a, len, tag_len), IOTSEC_OK);
        assert_int_equal(ccm_seal(hal_step, key, nonce, aad, aad_len, b, len, tag_len), IOTSEC_OK);
        assert_memory_equal(a, b, len + tag_len);
        assert_int_equal(ccm_open(hal_step, key, nonce, aad, aad_len, a, len, tag_len), IOTSEC_OK);
        assert_memory_equal(a, text, len);
    }
    assert_true(step.steps > 0 && plain.steps == 0);
}

/* More than 255 blocks, so that the counter carries. */
static void ccm_of_a_long_text(void **state)
{
    struct probe p;
    const struct iotsec_hal *hal = probe_init(&p, provider(state), 0);
    static uint8_t text[16384 + 16];
    uint8_t key[16] = { 9 };
    uint8_t nonce[12] = { 8 };
    uint8_t aad[13] = { 7 };
    size_t i;

    for (i = 0; i < 16384; i++) {
        text[i] = (uint8_t)(i >> 4);
    }
    assert_int_equal(ccm_seal(hal, key, nonce, aad, sizeof aad, text, 16384, 8), IOTSEC_OK);
#if defined(IOTSEC_WITH_MBEDTLS)
    {
        static uint8_t other[16384];
        uint8_t tag[8];
        mbedtls_ccm_context theirs;

        for (i = 0; i < 16384; i++) {
            other[i] = (uint8_t)(i >> 4);
        }
        mbedtls_ccm_init(&theirs);
        assert_int_equal(mbedtls_ccm_setkey(&theirs, MBEDTLS_CIPHER_ID_AES, key, 128), 0);
        assert_int_equal(
            mbedtls_ccm_encrypt_and_tag(&theirs, 16384, nonce, 12, aad, sizeof aad, other, other, tag, sizeof tag), 0);
        mbedtls_ccm_free(&theirs);
        assert_memory_equal(text, other, 16384);
        assert_memory_equal(text + 16384, tag, sizeof tag);
    }
#endif
    assert_int_equal(ccm_open(hal, key, nonce, aad, sizeof aad, text, 16384, 8), IOTSEC_OK);
    for (i = 0; i < 16384; i++) {
        assert_int_equal(text[i], (uint8_t)(i >> 4));
    }
}

/* Every operation of the HAL fails once: a named error, nothing left open, no text left behind. */
static void ccm_survives_failures(void **state)
{
    int with_step;
    int opening;

    for (with_step = 0; with_step < 2; with_step++) {
        for (opening = 0; opening < 2; opening++) {
            struct probe p;
            const struct iotsec_hal *hal = probe_init(&p, provider(state), with_step);
            uint8_t key[16] = { 1 };
            uint8_t nonce[12] = { 2 };
            uint8_t aad[13] = { 3 };
            enum iotsec_status status;
            int n;

            for (n = 0;; n++) {
                uint8_t data[40 + 8];

                memset(data, 0x77, sizeof data);
                p.calls_left = -1;
                if (opening) {
                    assert_int_equal(ccm_seal(hal, key, nonce, aad, sizeof aad, data, 40, 8), IOTSEC_OK);
                }
                p.calls_left = n;
                status = opening ? ccm_open(hal, key, nonce, aad, sizeof aad, data, 40, 8)
                                 : ccm_seal(hal, key, nonce, aad, sizeof aad, data, 40, 8);
                assert_int_equal(p.open, 0);
                if (status == IOTSEC_OK) {
                    break;
                }
                assert_int_equal(status, IOTSEC_ERR_CRYPTO);
                assert_all_zero(data, 40);
            }
            /* key, B_0, AAD, three blocks of text, tag */
            assert_int_equal(n, with_step ? 1 + 2 + 2 + 2 + 1 : 1 + 2 + 6 + 1);
        }
    }
}

/* ---- SHA-256 and HMAC ---- */

static struct iotsec_slice slice(const void *data, size_t len)
{
    struct iotsec_slice s;

    s.data = data;
    s.len = len;
    return s;
}

/* FIPS 180-4's examples */
static void sha256_answers(void **state)
{
    static const struct {
        const char *text;
        const char *digest;
    } rows[] = {
        /* 1 */ { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
        /* 2 */ { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        /* 3 */ { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
    };
    struct probe p;
    const struct iotsec_hal *hal = probe_init(&p, provider(state), 0);
    static uint8_t million[1000];
    struct iotsec_slice parts[1000];
    uint8_t digest[32];
    uint8_t want[32];
    size_t i;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t len = strlen(rows[i].text);

        test_unhex(want, sizeof want, rows[i].digest);
        parts[0] = slice(rows[i].text, len / 2);
        parts[1] = slice(rows[i].text + len / 2, len - len / 2);
        parts[2] = slice(NULL, 0);
        assert_int_equal(iotsec_sha256(hal, parts, 3, digest), IOTSEC_OK);
        assert_memory_equal(digest, want, 32);
    }
    memset(million, 'a', sizeof million);
    for (i = 0; i < 1000; i++) {
        parts[i] = slice(million, sizeof million);
    }
    assert_int_equal(iotsec_sha256(hal, parts, 1000, digest), IOTSEC_OK);
    test_unhex(want, sizeof want, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    assert_memory_equal(digest, want, 32);
    assert_int_equal(p.open, 0);
}

/* RFC 4231, without case 5, which cuts the result */
static void hmac_answers(void **state)
{
    static const char *const large = "This is a test using a larger than block-size key and a larger than block-size "
                                     "data. The key needs to be hashed before being used by the HMAC algorithm.";
    static const struct {
        uint8_t key_byte; /* repeated key_len times; 1 counts up, 0 means "Jefe" */
        size_t key_len;
        uint8_t data_byte; /* repeated 50 times; 0 means text */
        const char *text;
        const char *mac;
    } rows[] = {
        /* 1 */ { 0x0B, 20, 0, "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
        /* 2 */ { 0, 4, 0, "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
        /* 3 */ { 0xAA, 20, 0xDD, NULL, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe" },
        /* 4 */ { 1, 25, 0xCD, NULL, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b" },
        /* 6 */ { 0xAA, 131, 0, "Test Using Larger Than Block-Size Key - Hash Key First",
                  "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
        /* 7 */ { 0xAA, 131, 0, NULL, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2" },
    };
    struct probe p;
    const struct iotsec_hal *hal = probe_init(&p, provider(state), 0);
    size_t i;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t key[131];
        uint8_t data[50];
        uint8_t mac[32];
        uint8_t want[32];
        const char *text = rows[i].text != NULL ? rows[i].text : large;
        struct iotsec_slice part = slice(text, strlen(text));
        struct iotsec_hmac hmac;
        size_t k;

        for (k = 0; k < rows[i].key_len; k++) {
            key[k] = rows[i].key_byte == 1 ? (uint8_t)(k + 1) : rows[i].key_byte;
        }
        if (rows[i].key_byte == 0) {
            memcpy(key, "Jefe", 4);
        }
        if (rows[i].data_byte != 0) {
            memset(data, rows[i].data_byte, sizeof data);
            part = slice(data, sizeof data);
        }
        test_unhex(want, sizeof want, rows[i].mac);
        memset(&hmac, 0, sizeof hmac); /* a provider wipes what it has used */
        assert_int_equal(iotsec_hmac_key(hal, &hmac, key, rows[i].key_len), IOTSEC_OK);
        /* twice: the pads are cached and must stay as they are */
        assert_int_equal(iotsec_hmac_compute(hal, &hmac, &part, 1, mac), IOTSEC_OK);
        assert_memory_equal(mac, want, 32);
        memset(mac, 0, sizeof mac);
        assert_int_equal(iotsec_hmac_compute(hal, &hmac, &part, 1, mac), IOTSEC_OK);
        assert_memory_equal(mac, want, 32);
        iotsec_hmac_done(hal, &hmac);
        assert_all_zero((const uint8_t *)&hmac, sizeof hmac);
        assert_int_equal(p.open, 0);
        if (rows[i].key_len <= 64) {
            struct iotsec_slice parts[2];

            parts[1] = part;
            memset(mac, 0, sizeof mac);
            assert_int_equal(iotsec_hmac(hal, key, rows[i].key_len, parts, 2, mac), IOTSEC_OK);
            assert_memory_equal(mac, want, 32);
        }
    }
}

/* ---- Pseudo-random functions ---- */

static const char *const prf_output =
    "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17"
    "abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66";

/* The TLS working group's test vector for the TLS 1.2 PRF with SHA-256, cut at every length. */
static void p_hash_answers(void **state)
{
    struct probe p;
    const struct iotsec_hal *hal = probe_init(&p, provider(state), 0);
    uint8_t secret[16];
    uint8_t seed[16];
    uint8_t want[100];
    struct iotsec_slice parts[3];
    struct iotsec_hmac hmac;
    size_t len;

    test_unhex(secret, sizeof secret, "9bbe436ba940f017b17652849a71db35");
    test_unhex(seed, sizeof seed, "a0ba9f936cda311827a6f796ffd5198c");
    test_unhex(want, sizeof want, prf_output);
    parts[1] = slice("test label", 10);
    parts[2] = slice(seed, sizeof seed);
    assert_int_equal(iotsec_hmac_key(hal, &hmac, secret, sizeof secret), IOTSEC_OK);
    for (len = 0; len <= 100; len++) {
        uint8_t out[101];

        memset(out, 0xEE, sizeof out);
        assert_int_equal(iotsec_p_hash(hal, &hmac, parts, 3, out, len), IOTSEC_OK);
        assert_memory_equal(out, want, len);
        assert_int_equal(out[len], 0xEE);
    }
    iotsec_hmac_done(hal, &hmac);
    assert_int_equal(p.open, 0);
}

/* RFC 3830, section 4.1.2: the XOR of P_hash over each 256 bits of the inkey. The library has inkeys of 128 bits only. */
static void mikey_prf(const struct iotsec_hal *hal, const uint8_t *inkey, size_t inkey_len, const uint8_t *label,
                      size_t label_len, uint8_t *out, size_t out_len)
{
    size_t at;
    size_t i;

    memset(out, 0, out_len);
    for (at = 0; at < inkey_len; at += 32) {
        struct iotsec_slice parts[2];
        struct iotsec_hmac hmac;
        uint8_t p[64];

        parts[1] = slice(label, label_len);
        assert_int_equal(iotsec_hmac_key(hal, &hmac, inkey + at, inkey_len - at < 32 ? inkey_len - at : 32), IOTSEC_OK);
        assert_int_equal(iotsec_p_hash(hal, &hmac, parts, 2, p, out_len), IOTSEC_OK);
        iotsec_hmac_done(hal, &hmac);
        for (i = 0; i < out_len; i++) {
            out[i] ^= p[i];
        }
    }
}

static void mikey_prf_answers(void **state)
{
    struct probe p;
    const struct iotsec_hal *hal = probe_init(&p, provider(state), 0);
    FILE *f = test_vectors_open("mikey_prf.csv");
    char line[1024];
    char *field[8];
    int rows = 0;

    while (test_vectors_row(f, line, sizeof line, field, 8)) {
        uint8_t tgk[64];
        uint8_t label[64];
        uint8_t want[64];
        uint8_t out[64];
        size_t tgk_len = test_unhex(tgk, sizeof tgk, field[3]);
        size_t want_len = test_unhex(want, sizeof want, field[7]);
        size_t label_len = 0;
        static const int order[] = { 1, 4, 5, 6 };
        size_t i;

        if (strcmp(field[0], "1") != 0) {
            continue; /* MIKEY-1 with SHA-1 is listed for comparison */
        }
        for (i = 0; i < 4; i++) {
            label_len += test_unhex(label + label_len, sizeof label - label_len, field[order[i]]);
        }
        mikey_prf(hal, tgk, tgk_len, label, label_len, out, want_len);
        assert_memory_equal(out, want, want_len);
        rows++;
    }
    fclose(f);
    assert_int_equal(rows, 5);
    assert_int_equal(p.open, 0);
}

static void hashes_survive_failures(void **state)
{
    struct probe p;
    const struct iotsec_hal *hal = probe_init(&p, provider(state), 0);
    uint8_t key[70] = { 1 };
    uint8_t label[20] = { 2 };
    struct iotsec_slice part = slice(label, sizeof label);
    struct iotsec_slice parts[2];
    struct iotsec_hmac hmac;
    enum iotsec_status status;
    uint8_t out[48];
    int n;

    for (n = 0;; n++) {
        p.calls_left = n;
        status = iotsec_sha256(hal, &part, 1, out);
        assert_int_equal(p.open, 0);
        if (status == IOTSEC_OK) {
            break;
        }
        assert_int_equal(status, IOTSEC_ERR_CRYPTO);
        assert_all_zero(out, 32);
    }
    for (n = 0;; n++) { /* a key longer than a block is hashed first */
        p.calls_left = n;
        status = iotsec_hmac_key(hal, &hmac, key, sizeof key);
        if (status == IOTSEC_OK) {
            break;
        }
        assert_int_equal(status, IOTSEC_ERR_CRYPTO);
        assert_int_equal(p.open, 0);
    }
    for (n = 0;; n++) {
        memset(out, 0xEE, sizeof out);
        p.calls_left = n;
        status = iotsec_hmac_compute(hal, &hmac, &part, 1, out);
        assert_int_equal(p.open, 2);
        if (status == IOTSEC_OK) {
            break;
        }
        assert_int_equal(status, IOTSEC_ERR_CRYPTO);
    }
    for (n = 0;; n++) {
        memset(out, 0xEE, sizeof out);
        p.calls_left = n;
        parts[1] = part;
        status = iotsec_p_hash(hal, &hmac, parts, 2, out, sizeof out);
        assert_int_equal(p.open, 2);
        if (status == IOTSEC_OK) {
            break;
        }
        assert_int_equal(status, IOTSEC_ERR_CRYPTO);
        assert_all_zero(out, sizeof out);
    }
    p.calls_left = -1;
    iotsec_hmac_done(hal, &hmac);
    for (n = 0;; n++) {
        memset(out, 0xEE, sizeof out);
        p.calls_left = n;
        parts[1] = part;
        status = iotsec_hmac(hal, key, 64, parts, 2, out);
        assert_int_equal(p.open, 0);
        if (status == IOTSEC_OK) {
            break;
        }
        assert_int_equal(status, IOTSEC_ERR_CRYPTO);
        assert_all_zero(out, 32);
    }
}

int main(void)
{
    static struct test_provider providers[2];
    size_t count = test_providers(providers);
    int failed = 0;
    size_t i;

    for (i = 0; i < count; i++) {
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_prestate(ccm_answers, &providers[i]),
            cmocka_unit_test_prestate(ccm_refuses_other_tags, &providers[i]),
            cmocka_unit_test_prestate(ccm_step_agrees, &providers[i]),
            cmocka_unit_test_prestate(ccm_of_a_long_text, &providers[i]),
            cmocka_unit_test_prestate(ccm_survives_failures, &providers[i]),
            cmocka_unit_test_prestate(sha256_answers, &providers[i]),
            cmocka_unit_test_prestate(hmac_answers, &providers[i]),
            cmocka_unit_test_prestate(p_hash_answers, &providers[i]),
            cmocka_unit_test_prestate(mikey_prf_answers, &providers[i]),
            cmocka_unit_test_prestate(hashes_survive_failures, &providers[i]),
        };

        failed += cmocka_run_group_tests_name(providers[i].name, tests, NULL, NULL);
    }
    return failed;
}
