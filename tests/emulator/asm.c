/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The AES module. Inert until its self-test was passed; with BYPASS the data come out as they went in; with NORMAL_MODE off a
 * key is used that nobody knows. DONE stays until CLEAR_IRQ, whatever is started meanwhile, and the results are the old
 * ones until the computation is over. Keys cannot be read.
 *
 * The cipher is mbedTLS', of the host: no code that the firmware has.
 */
#include "emulator.h"

#include <string.h>

#include <mbedtls/aes.h>

#define CONTROL0 0x50
#define CONTROL1 0x54
#define STATUS 0x58
#define START (1u << 24)
#define CLEAR (1u << 25)
#define LOAD_MAC (1u << 26)
#define CLEAR_IRQ (1u << 31)
#define ON (1u << 0)
#define NORMAL_MODE (1u << 1)
#define BYPASS (1u << 2)
#define CBC (1u << 24)
#define CTR (1u << 25)
#define SELF_TEST (1u << 26)
#define MASK_IRQ (1u << 31)
#define DONE (1u << 24)
#define TEST_PASS (1u << 25)

#define TIME_TEST 3330u
#define TIME_BLOCK 13u

static void asm_reset(struct node *node)
{
    memset(&node->aes, 0, sizeof node->aes);
    node->aes.at = EMU_NEVER;
}

static void unpack(uint8_t out[16], const uint32_t in[4])
{
    for (unsigned i = 0; i < 16; i++) {
        out[i] = (uint8_t)(in[i / 4] >> (24 - 8 * (i & 3)));
    }
}

static void cipher(const struct node *node, const uint32_t in[4], uint32_t out[4])
{
    uint32_t key[4];
    uint8_t raw[16], block[16];
    mbedtls_aes_context context;

    for (unsigned i = 0; i < 4; i++) {
        key[i] = (node->aes.running & NORMAL_MODE) != 0 ? node->aes.key[i]
                                                        : (uint32_t)world_random(node->seed, i, 0x626f6f74, 0);
    }
    unpack(raw, key);
    unpack(block, in);
    mbedtls_aes_init(&context);
    (void)mbedtls_aes_setkey_enc(&context, raw, 128);
    (void)mbedtls_aes_crypt_ecb(&context, MBEDTLS_AES_ENCRYPT, block, block);
    mbedtls_aes_free(&context);
    for (unsigned i = 0; i < 4; i++) {
        out[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
                 block[4 * i + 3];
    }
}

static void finish(struct node *node)
{
    struct aes_module *aes = &node->aes;
    bool bypass = (aes->running & BYPASS) != 0 || node->sabotage.asm_bypass;

    if ((aes->running & CTR) != 0) {
        uint32_t stream[4] = {0, 0, 0, 0};

        if (!bypass) {
            cipher(node, aes->counter, stream);
        }
        for (unsigned i = 0; i < 4; i++) {
            aes->ctr_result[i] = aes->data[i] ^ stream[i];
        }
    }
    if ((aes->running & CBC) != 0) {
        uint32_t in[4];

        for (unsigned i = 0; i < 4; i++) {
            in[i] = aes->cbc_result[i] ^ aes->data[i];
        }
        if (bypass) {
            memcpy(aes->cbc_result, aes->data, 16);
        } else {
            cipher(node, in, aes->cbc_result);
        }
    }
    if (aes->spoiled) {
        for (unsigned i = 0; i < 4; i++) {
            aes->ctr_result[i] ^= (uint32_t)world_random(node->seed, aes->starts, i, 0x73706f69);
            aes->cbc_result[i] ^= (uint32_t)world_random(node->seed, aes->starts, i, 0x73706f6a);
        }
    }
}

static void raise_done(struct aes_module *aes)
{
    aes->done = true;
    if ((aes->control1 & MASK_IRQ) == 0) {
        aes->latched = true; /* and masking afterwards does not take it back */
    }
}

static void asm_advance(struct node *node)
{
    struct aes_module *aes = &node->aes;

    if (aes->at > node->now) {
        return;
    }
    aes->at = EMU_NEVER;
    aes->busy = false;
    if ((aes->running & SELF_TEST) != 0) {
        aes->tested = !node->sabotage.asm_selftest;
        /* Whether DONE rises at the end of a self-test, the sources do not agree: here it differs from chip to chip. */
        if (world_random(node->seed, 0x646f6e65, 0, 0) % 2 == 0) {
            raise_done(aes);
        }
        return;
    }
    finish(node);
    raise_done(aes);
}

static uint64_t asm_next(const struct node *node)
{
    return node->aes.at;
}

static bool asm_line(const struct node *node)
{
    return node->aes.latched;
}

static uint32_t asm_read(struct node *node, uint32_t offset, unsigned size)
{
    const struct aes_module *aes = &node->aes;
    unsigned word = offset / 4 & 3;

    if (size != 4) {
        node_fail(node, "ASM +%02x read with %u bytes", offset, size);
        return 0;
    }
    if (!crm_powered(node)) {
        node_fail(node, "ASM +%02x read before the regulators are up", offset);
        return 0;
    }
    switch (offset >> 4) {
    case 0x1: return aes->data[word];
    case 0x2: return aes->counter[word];
    case 0x3: return aes->ctr_result[word];
    case 0x4: return aes->cbc_result[word];
    case 0x5:
        return offset == CONTROL1 ? aes->control1
               : offset == STATUS ? (aes->done ? DONE : 0) | (aes->tested ? TEST_PASS : 0) : 0;
    default: return 0; /* keys and MAC go in only */
    }
}

static void tell_key(struct node *node)
{
    const uint32_t *key = node->aes.key;
    uint64_t hash = world_random((uint64_t)key[0] << 32 | key[1], (uint64_t)key[2] << 32 | key[3], 0, 0) | 1;

    if (node->world->keys != NULL && node->aes.told[hash >> 56] != hash) {
        node->aes.told[hash >> 56] = hash;
        fprintf(node->world->keys, "%s %08x%08x%08x%08x\n", node->name, key[0], key[1], key[2], key[3]);
    }
}

static void start(struct node *node)
{
    struct aes_module *aes = &node->aes;

    if ((aes->control1 & ON) == 0 || aes->busy || (!aes->tested && (aes->control1 & SELF_TEST) == 0)) {
        return; /* nothing happens, and nothing says so */
    }
    aes->starts++;
    aes->running = aes->control1;
    aes->spoiled = false;
    if (node->sabotage.asm_done && (aes->running & SELF_TEST) == 0) {
        return;
    }
    tell_key(node);
    aes->busy = true;
    aes->at = node->now + ((aes->running & SELF_TEST) != 0 ? TIME_TEST
                           : (aes->running & (CTR | CBC)) == (CTR | CBC) ? 2 * TIME_BLOCK : TIME_BLOCK);
}

static void asm_write(struct node *node, uint32_t offset, unsigned size, uint32_t value)
{
    struct aes_module *aes = &node->aes;
    unsigned word = offset / 4 & 3;

    if (size != 4) {
        node_fail(node, "ASM +%02x written with %u bytes", offset, size);
        return;
    }
    if (!crm_powered(node)) {
        node_fail(node, "ASM +%02x written before the regulators are up", offset);
        return;
    }
    if (aes->busy && offset < 0x30) {
        aes->spoiled = true; /* its inputs change under its hands */
    }
    switch (offset >> 4) {
    case 0x0: aes->key[word] = value; break;
    case 0x1: aes->data[word] = value; break;
    case 0x2: aes->counter[word] = value; break;
    case 0x5:
        if (offset == CONTROL1) {
            aes->control1 = value;
            aes->spoiled = aes->busy;
        } else if (offset == CONTROL0) {
            if ((value & CLEAR_IRQ) != 0) {
                aes->done = aes->latched = false;
            }
            if ((value & CLEAR) != 0) {
                memset(aes->cbc_result, 0, sizeof aes->cbc_result);
            }
            if ((value & LOAD_MAC) != 0) {
                memcpy(aes->cbc_result, aes->mac, sizeof aes->mac);
            }
            if ((value & START) != 0) {
                start(node);
            }
        }
        break;
    case 0x6: aes->mac[word] = value; break;
    default: break;
    }
}

const struct model model_asm = {.name = "ASM", .reset = asm_reset, .read = asm_read, .write = asm_write,
                                .advance = asm_advance, .next = asm_next, .line = asm_line, .irq = IRQ_ASM};
