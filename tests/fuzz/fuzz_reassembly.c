/* SPDX-License-Identifier: BSD-3-Clause */
/* Handshake messages in pieces, against a model that keeps everything. */
#include "handshake/engine.h"

#include "script.h"

#define SEQS 8u
#define LENGTH_MAX 600u

struct model {
    uint8_t bytes[LENGTH_MAX];
    bool have[LENGTH_MAX];
    uint32_t length;
    uint8_t type; /* 0: nothing came yet */
};

static struct model models[SEQS];
static struct iotsec_dtls_handshake hs;

static void add_piece(struct iotsec_reader *script)
{
    struct iotsec_hs_message piece;
    struct model *model;
    enum iotsec_status status;
    uint8_t *body;
    size_t len;
    uint32_t i;

    memset(&piece, 0, sizeof piece);
    piece.seq = script_u8(script) % SEQS;
    model = &models[piece.seq];
    piece.type = (uint8_t)(1 + script_u8(script) % 2);
    piece.length = script_u16(script) % LENGTH_MAX;
    piece.offset = script_u16(script);
    body = script_bytes(script, &len);
    /* what take_piece in dtls.c has made sure of */
    if (piece.offset <= piece.length) {
        piece.piece = (uint32_t)len < piece.length - piece.offset ? (uint32_t)len : piece.length - piece.offset;
        piece.body = body;
        status = iotsec_reassembly_add(&hs, &piece);
        if (status == IOTSEC_OK) {
            struct iotsec_hs_message whole;

            /* one that was pushed out and comes again starts anew: the model cannot know, so it forgets what differs */
            if (model->type != piece.type || model->length != piece.length) {
                memset(model, 0, sizeof *model);
                model->type = piece.type;
                model->length = piece.length;
            }
            for (i = 0; i < piece.piece; i++) {
                if (!model->have[piece.offset + i]) {
                    model->have[piece.offset + i] = true;
                    model->bytes[piece.offset + i] = body[i];
                }
            }
            if (iotsec_reassembly_whole(&hs, piece.seq, &whole)) {
                script_check(whole.length == model->length && whole.type == model->type && whole.piece == whole.length);
                for (i = 0; i < whole.length; i++) {
                    script_check(model->have[i]);
                }
            }
        }
    }
    free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct iotsec_reader script;
    struct iotsec_hs_message whole;
    unsigned steps;
    uint16_t seq;

    iotsec_rd_init(&script, data, size);
    memset(&hs, 0, sizeof hs);
    memset(models, 0, sizeof models);
    for (steps = 0; script.left != 0 && steps < SCRIPT_STEPS_MAX; steps++) {
        uint8_t step = script_u8(&script);

        if (step < 224) {
            add_piece(&script);
        } else {
            seq = step % SEQS;
            iotsec_reassembly_forget(&hs, seq);
            memset(&models[seq], 0, sizeof models[seq]);
            script_check(!iotsec_reassembly_whole(&hs, seq, &whole));
        }
    }
    iotsec_reassembly_clear(&hs);
    return 0;
}
