/* SPDX-License-Identifier: BSD-3-Clause */
#include "peers.h"

#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "lines.h"
#include "port.h"

/* ---- Names ---- */

static bool refuse(struct peer_problem *problem, const char *reason, const char *detail)
{
    problem->reason = reason;
    problem->detail = detail;
    return false;
}

static bool append(struct peer_name *name, uint8_t byte)
{
    if (name->len == sizeof name->identity) {
        return false;
    }
    name->identity[name->len++] = byte;
    return true;
}

/* Two hexadecimal digits; -1: there are none. */
static int hex_byte(const char *text)
{
    char digits[3] = { text[0], text[0] != '\0' ? text[1] : '\0', '\0' };

    return strspn(digits, "0123456789abcdefABCDEF") == 2 ? (int)strtoul(digits, NULL, 16) : -1;
}

/* From behind the opening quote; *text is moved behind the closing one. As out_quoted() writes it. */
static bool take_quoted(char **text, struct peer_name *name, struct peer_problem *problem)
{
    const char *next = *text;

    while (*next != '"') {
        int byte = (unsigned char)*next++;

        if (byte == '\0') {
            return refuse(problem, "BAD_IDENTITY", "the closing quote is missing");
        }
        if (byte == '\\') {
            byte = (unsigned char)*next;
            if (byte == 'x') {
                byte = hex_byte(next + 1);
                next += byte >= 0 ? 2 : 0;
            } else if (byte == 'n') {
                byte = '\n';
            } else if (byte != '"' && byte != '\\') {
                byte = -1;
            }
            if (byte < 0) {
                return refuse(problem, "BAD_IDENTITY", "behind a backslash stands one of \\ \" n and x with two hexadecimal digits");
            }
            next++;
        }
        if (!append(name, (uint8_t)byte)) {
            return refuse(problem, "BAD_IDENTITY", "the identity is too long");
        }
    }
    *text += next + 1 - *text; /* not the pointer itself, which is to constant characters */
    return true;
}

static bool take_bare(char *word, size_t len, struct peer_name *name, struct peer_problem *problem)
{
    if (len > sizeof name->identity) {
        return refuse(problem, "BAD_IDENTITY", "the identity is too long");
    }
    if (!text_is_printable(word, len)) {
        return refuse(problem, "BAD_IDENTITY", "this is no printable text; \"\\xff\" in quotes stands for any byte");
    }
    memcpy(name->identity, word, len);
    name->len = len;
    return true;
}

static bool take_addr(const char *text, struct peer_name *name, struct peer_problem *problem)
{
    const char *wrong = addr_parse(text, false, &name->addr);

    if (wrong == NULL && iotsec_addr_is_multicast(&name->addr)) {
        wrong = "this is a multicast address";
    }
    if (wrong == NULL && addr_is_unspecified(&name->addr)) {
        wrong = "this is the address of nobody";
    }
    return wrong == NULL || refuse(problem, "BAD_ADDRESS", wrong);
}

bool peer_take(char **rest, bool alone, struct peer_name *name, struct peer_problem *problem)
{
    static const char usage[] = "write ID@[ADDR]:PORT: lamp-1@[fd01::1]:5685, or \"a name\"@[fd01::1]:5685";
    char *word;

    memset(name, 0, sizeof *name);
    memset(problem, 0, sizeof *problem);
    *rest += strspn(*rest, " \t");
    if (**rest == '"') {
        (*rest)++;
        if (!take_quoted(rest, name, problem)) {
            return false;
        }
        if (alone ? **rest != '\0' && **rest != ' ' && **rest != '\t' : **rest != '@') {
            return refuse(problem, "USAGE", alone ? "the identity has to stand alone" : usage);
        }
        *rest += alone ? 0 : 1;
        word = lines_word(rest);
    } else {
        char *at;

        word = lines_word(rest);
        at = alone ? word + strlen(word) : strrchr(word, '@');
        if (at == NULL) {
            return refuse(problem, "USAGE", usage);
        }
        if (!take_bare(word, (size_t)(at - word), name, problem)) {
            return false;
        }
        word = alone ? at : at + 1;
    }
    if (name->len == 0) {
        return refuse(problem, "BAD_IDENTITY", "the identity is missing");
    }
    return alone || take_addr(word, name, problem);
}

/* ---- Storage ---- */

int peers_start(struct peers *peers, struct iotsec_device_config *config)
{
    if (peers->count == 0) {
        return 0;
    }
    peers->pairs = calloc(peers->count, sizeof peers->pairs[0]);
    peers->shares = calloc(2u * (peers->degree_max + 1u), IOTSEC_POLY_ELEMENT_BYTES);
    peers->messages = calloc(peers->count, PEER_MESSAGE_MAX);
    if (peers->pairs == NULL || peers->shares == NULL || peers->messages == NULL) {
        return fail("MEMORY", "out of memory: ask for fewer sessions with --pairs");
    }
    config->pairs = peers->pairs;
    config->pair_count = peers->count;
    config->shares = peers->shares;
    config->share_degree_max = peers->degree_max;
    config->pair_messages = peers->messages;
    config->pair_message_size = PEER_MESSAGE_MAX;
    return 0;
}

static void wipe_and_free(void *data, size_t len)
{
    if (data != NULL) {
        explicit_bzero(data, len);
        free(data);
    }
}

void peers_end(struct peers *peers)
{
    wipe_and_free(peers->pairs, peers->count * sizeof peers->pairs[0]);
    wipe_and_free(peers->shares, 2u * (peers->degree_max + 1u) * IOTSEC_POLY_ELEMENT_BYTES);
    wipe_and_free(peers->messages, (size_t)peers->count * PEER_MESSAGE_MAX);
    peers->pairs = NULL;
    peers->shares = NULL;
    peers->messages = NULL;
}

/* ---- Events ---- */

static void out_peer(const struct iotsec_peer *peer)
{
    if (peer != NULL && peer->identity_len > 0) {
        out_bytes("id", peer->identity, peer->identity_len);
    }
    if (peer != NULL && peer->addr.port != 0) {
        out_addr("addr", &peer->addr);
    }
}

static void out_peer_event(const char *name, const struct iotsec_device_event *event, bool with_reason)
{
    out_begin(name);
    if (with_reason) {
        out_reason("reason", event->reason);
    }
    out_peer(event->peer);
    out_end();
}

static void out_share(const struct iotsec_device_event *event)
{
    out_begin(event->reason == IOTSEC_OK ? "share" : "no-share");
    if (event->reason != IOTSEC_OK) {
        out_reason("reason", event->reason);
    }
    if (event->key_number != 0) {
        out_uint("generation", event->key_number);
    }
    out_end();
}

void peers_event(struct peers *peers, const struct iotsec_device_event *event)
{
    switch (event->kind) {
    case IOTSEC_DEVICE_SHARE:
        out_share(event);
        break;
    case IOTSEC_DEVICE_PEER_OPEN:
        out_peer_event("peer-open", event, false);
        break;
    case IOTSEC_DEVICE_PEER_FAILED:
        out_peer_event("peer-failed", event, true);
        break;
    case IOTSEC_DEVICE_PEER_REFUSED:
        if (out_may(&peers->refused, port_now_ms())) {
            out_peer_event("peer-refused", event, true);
        }
        break;
    case IOTSEC_DEVICE_PEER_CLOSED:
        out_peer_event("peer-closed", event, true);
        break;
    default:
        break;
    }
}

/* ---- Commands ---- */

static void out_no(const char *what, const struct peer_problem *problem, const struct peer_name *name)
{
    out_begin("refused");
    out_word("what", what);
    out_word("reason", problem->reason);
    if (name->len > 0) {
        out_bytes("id", name->identity, name->len);
    }
    if (problem->detail != NULL) {
        out_quoted("detail", problem->detail, strlen(problem->detail));
    }
    out_end();
}

typedef char the_sentence_names_the_length[PEER_MESSAGE_MAX == 1024 ? 1 : -1];

static void out_outcome(const char *what, enum iotsec_status status, const struct peer_name *name)
{
    static const struct {
        enum iotsec_status status;
        const char *sentence;
    } sentences[] = {
        { IOTSEC_ERR_ARGUMENT, "this is the address of the domain manager or of the relay to it" },
        { IOTSEC_ERR_TOO_LONG, "it is more than a record holds, or than waits for a session: 1024 bytes" },
        { IOTSEC_ERR_UNSUPPORTED, "pairwise keys are switched off: --pairs 0" },
        { IOTSEC_ERR_NO_SHARE, "we have no share of the domain's polynomial: not in the domain, or it has none yet" },
        { IOTSEC_ERR_REVOKED, "that device was evicted from the domain" },
        { IOTSEC_ERR_AGAIN, "a message to it waits for its session already, or others' handshakes are under way" },
        { IOTSEC_ERR_FULL, "every place for a session is in use: --pairs" },
        { IOTSEC_ERR_NOT_FOUND, "there is no session with it" },
    };
    struct peer_problem problem = { iotsec_status_name(status), NULL };
    size_t i;

    for (i = 0; i < sizeof sentences / sizeof sentences[0]; i++) {
        if (sentences[i].status == status) {
            problem.detail = sentences[i].sentence;
        }
    }
    out_no(what, &problem, name);
}

static bool is_own(const struct iotsec_device *device, const struct peer_name *name)
{
    return device->config->identity_len == name->len && memcmp(device->config->identity, name->identity, name->len) == 0;
}

void peers_send(struct iotsec_device *device, char *rest)
{
    struct peer_problem problem;
    struct peer_name name;
    struct iotsec_peer peer;
    enum iotsec_status status;
    bool good = peer_take(&rest, false, &name, &problem);

    if (good && rest[0] == '\0') {
        good = refuse(&problem, "USAGE", "the text is missing");
    }
    if (good && is_own(device, &name)) {
        good = refuse(&problem, "BAD_IDENTITY", "this is our own identity");
    }
    if (!good) {
        out_no("send", &problem, &name);
        return;
    }
    peer.identity = name.identity;
    peer.identity_len = name.len;
    peer.addr = name.addr;
    status = iotsec_send(device, &peer, (const uint8_t *)rest, strlen(rest));
    if (status != IOTSEC_OK) {
        out_outcome("send", status, &name);
        return;
    }
    out_begin("sent");
    out_bytes("to", name.identity, name.len);
    out_uint("bytes", strlen(rest));
    out_end();
}

void peers_hang_up(struct iotsec_device *device, char *rest)
{
    struct peer_problem problem;
    struct peer_name name;
    enum iotsec_status status;
    bool good = peer_take(&rest, true, &name, &problem);

    if (good && lines_word(&rest)[0] != '\0') {
        good = refuse(&problem, "USAGE", "an identity with blanks stands in quotes");
    }
    if (!good) {
        out_no("close", &problem, &name);
        return;
    }
    status = iotsec_peer_close(device, name.identity, name.len);
    if (status != IOTSEC_OK) {
        out_outcome("close", status, &name);
        return;
    }
    out_begin("closed");
    out_bytes("id", name.identity, name.len);
    out_end();
}
