/* SPDX-License-Identifier: BSD-3-Clause */
/* `iotsec device`: joins a domain, prints what its groups say, and sends what standard input says. */
#include "cmd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <iotsec/device.h>

#include "addr.h"
#include "coap.h"
#include "nvm_file.h"
#include "options.h"
#include "output.h"
#include "port.h"
#include "secret.h"

#define GROUPS_MAX 16
#define SENDERS_A_GROUP 256
#define TX_BYTES (IOTSEC_GROUP_PAYLOAD_MAX + 256)
#define COMMAND_MAX 4096
#define RETRY_INITIAL_MS 10000u
#define RETRY_MAX_MS 600000u

enum {
    OPTION_MANAGER = 1, OPTION_ID, OPTION_PSK, OPTION_PSK_FILE, OPTION_GROUP, OPTION_INTERFACE, OPTION_STATE, OPTION_LISTEN,
    OPTION_STATUS, OPTION_TIMEOUT, OPTION_HIDE, OPTION_EOF
};

static const struct option_row device_rows[] = {
    { "--manager", OPTION_MANAGER, "[ADDR]:PORT", "the domain manager" },
    { "--id", OPTION_ID, "ID", "who this device is" },
    { "--psk-file", OPTION_PSK_FILE, "FILE", "its key: one line of 32 to 128 hexadecimal digits, readable for its owner only" },
    { "--psk", OPTION_PSK, "HEX", "its key on the command line, where others can read it: for experiments" },
    { "--group", OPTION_GROUP, "GID", "a group to join; again for more" },
    { "--interface", OPTION_INTERFACE, "IF", "the interface for multicast (default: the one towards the manager)" },
    { "--listen", OPTION_LISTEN, "[ADDR]:PORT", "our own unicast address (default [::]:0, any port)" },
    { "--state", OPTION_STATE, "DIR", "keep group keys in this directory: they work at once after a restart, also without the manager" },
    { "--status-interval", OPTION_STATUS, "SECONDS", "report to the manager this often (default 3600)" },
    { "--timeout", OPTION_TIMEOUT, "SECONDS", "give up joining after so long (default 60; a silent manager 20)" },
    { "--hide-groups", OPTION_HIDE, NULL, "ask for groups inside the protected session: the hello names none" },
    { "--exit-on-eof", OPTION_EOF, NULL, "end when standard input does" },
    { NULL, 0, NULL, NULL },
};

static const struct command device_command = {
    "iotsec device --manager [ADDR]:PORT --id ID --psk-file FILE [--group GID]... [option]...",
    "Joins a domain and its groups, prints what the groups say, and takes commands on standard input:\n"
    "\n"
    "  group GID TEXT               send a text to a group\n"
    "  coap GID put /light [TEXT]   send a CoAP request (get, post, put, delete) to a group\n"
    "  join GID                     join one more group; after an eviction, try to join again\n"
    "  leave GID                    leave a group\n"
    "  leave                        leave the domain, and end\n"
    "  quit                         end; the domain manager keeps us as a member",
    device_rows, true,
};

struct device {
    struct iotsec_device device;
    struct iotsec_device_config config;
    struct iotsec_dtls_session sessions[2];
    struct iotsec_dtls_handshake handshakes[1];
    struct iotsec_device_group groups[GROUPS_MAX];
    struct iotsec_sender senders[GROUPS_MAX * SENDERS_A_GROUP];
    uint8_t tx[TX_BYTES];
    struct port port;
    struct port_options port_options;
    struct common_options common;
    struct nvm_file nvm;
    struct iotsec_addr manager;
    bool manager_given;
    const char *id;
    struct psk psk;
    const char *state;
    uint16_t wanted[GROUPS_MAX]; /* groups of the command line */
    size_t wanted_count;
    bool exit_on_eof;

    bool joined;
    bool out;                    /* evicted: a join starts from the beginning */
    bool offline;                /* with kept keys, but without a manager: joins again at retry_at */
    uint32_t retry_at;
    uint32_t retry_wait;
    bool ended;
    bool input_over;
    enum iotsec_status result;   /* why it ended; OK for an end that was asked for */
    uint16_t message_id;         /* of the next CoAP request */
    uint16_t token;
    size_t command_len;
    bool command_too_long;
    char command[COMMAND_MAX];
};

/* ---- The command line ---- */

static int take_group(struct device *device, const char *text)
{
    uint64_t number;
    size_t i;

    if (!number_parse(text, 1, UINT16_MAX, &number)) {
        return fail("BAD_GROUP", "'%s' is no group ID: a number of 1 to 65535", text);
    }
    for (i = 0; i < device->wanted_count; i++) {
        if (device->wanted[i] == number) {
            return fail_usage("--group %s is there twice", text);
        }
    }
    if (device->wanted_count == GROUPS_MAX) {
        return fail_usage("--group: %d groups at most", GROUPS_MAX);
    }
    device->wanted[device->wanted_count++] = (uint16_t)number;
    return 0;
}

static int take_option(struct device *device, const struct arguments *arguments, int id)
{
    int status = 0;

    switch (id) {
    case OPTION_MANAGER:
        status = argument_addr(arguments, "--manager", false, &device->manager);
        device->manager_given = true;
        break;
    case OPTION_ID:
        status = argument_identity(arguments, "--id", &device->id);
        break;
    case OPTION_PSK:
        status = psk_from_argument(arguments->value, &device->psk);
        break;
    case OPTION_PSK_FILE:
        status = psk_from_file(arguments->value, &device->psk);
        break;
    case OPTION_GROUP:
        status = take_group(device, arguments->value);
        break;
    case OPTION_INTERFACE:
        device->port_options.interface = arguments->value;
        break;
    case OPTION_LISTEN:
        status = argument_addr(arguments, "--listen", true, &device->port_options.listen);
        break;
    case OPTION_STATE:
        device->state = arguments->value;
        break;
    case OPTION_STATUS:
        status = argument_seconds(arguments, "--status-interval", 1000000, &device->config.status_interval_ms);
        break;
    case OPTION_TIMEOUT:
        status = argument_seconds(arguments, "--timeout", 3600, &device->config.join_timeout_ms);
        device->config.handshake_timeout_ms = device->config.join_timeout_ms;
        break;
    case OPTION_HIDE:
        device->config.hide_groups = 1;
        break;
    case OPTION_EOF:
        device->exit_on_eof = true;
        break;
    default:
        break;
    }
    return status;
}

/* -1 if all is well, else the exit status to leave with. */
static int take_command_line(struct device *device, int count, char **list)
{
    struct arguments arguments;
    int status = 0;
    int id;

    arguments_start(&arguments, &device_command, &device->common, count, list);
    while (status == 0 && (id = arguments_next(&arguments)) != ARGUMENT_END) {
        if (id == ARGUMENT_DONE) {
            return arguments.status;
        }
        if (id == ARGUMENT_POSITIONAL) {
            return fail_usage("'%s' is too much; --help shows what there is", arguments.value);
        }
        status = take_option(device, &arguments, id);
    }
    if (status != 0) {
        return status;
    }
    if (!device->manager_given) {
        return fail_usage("--manager is missing");
    }
    if (device->id == NULL) {
        return fail_usage("--id is missing");
    }
    if (device->psk.len == 0) {
        return fail_usage("--psk-file is missing (or --psk, for experiments)");
    }
    return -1;
}

/* ---- Events ---- */

static void out_device_event(const char *name, const struct iotsec_device_event *event, bool with_reason)
{
    out_begin(name);
    if (with_reason) {
        out_reason("reason", event->reason);
    }
    if (event->group_id != 0) {
        out_uint("gid", event->group_id);
    }
    if (event->sender_id != 0) {
        out_uint("sender", event->sender_id);
    }
    if (event->key_number != 0) {
        out_hex("key", event->key_number);
    }
    out_end();
}

/* Kept keys work without a manager, as far as they go; without them there is nothing to do. */
static void fail_join(struct device *device, enum iotsec_status reason)
{
    if (device->state == NULL || reason != IOTSEC_ERR_NO_ANSWER) {
        device->ended = true;
        device->result = reason;
        return;
    }
    device->offline = true;
    device->retry_at = port_now_ms() + device->retry_wait;
    device->retry_wait = device->retry_wait < RETRY_MAX_MS / 2 ? 2 * device->retry_wait : RETRY_MAX_MS;
    out_begin("join-failed");
    out_reason("reason", reason);
    out_end();
}

static void device_event(void *user, const struct iotsec_device_event *event)
{
    struct device *device = user;

    switch (event->kind) {
    case IOTSEC_DEVICE_JOINED:
        device->joined = true;
        device->out = false;
        device->offline = false;
        device->retry_wait = RETRY_INITIAL_MS;
        out_begin("joined");
        out_word("id", device->id);
        out_addr("manager", &device->manager);
        out_end();
        break;
    case IOTSEC_DEVICE_JOIN_FAILED:
        fail_join(device, event->reason);
        break;
    case IOTSEC_DEVICE_GROUP_JOINED:
        out_device_event("group-joined", event, false);
        break;
    case IOTSEC_DEVICE_GROUP_REFUSED:
        out_device_event("group-refused", event, true);
        break;
    case IOTSEC_DEVICE_GROUP_KEY:
        out_device_event("group-key", event, false);
        break;
    case IOTSEC_DEVICE_GROUP_LEFT:
        out_device_event("group-left", event, true);
        break;
    case IOTSEC_DEVICE_SENT_OLD:
        out_device_event("sent-old", event, false);
        break;
    case IOTSEC_DEVICE_KEY_CONFLICT:
        out_device_event("key-conflict", event, false);
        break;
    case IOTSEC_DEVICE_COUNTER:
        out_device_event("counter-used-up", event, false);
        break;
    case IOTSEC_DEVICE_FORGERIES:
        out_device_event("forgeries", event, false);
        break;
    case IOTSEC_DEVICE_EVICTED:
        device->joined = false;
        device->out = true;
        out_device_event("evicted", event, true);
        break;
    case IOTSEC_DEVICE_LEFT:
        device->joined = false;
        device->ended = true;
        device->result = IOTSEC_OK;
        out_device_event("left", event, true);
        break;
    case IOTSEC_DEVICE_CONTACT_LOST:
        out_device_event("contact-lost", event, true);
        break;
    case IOTSEC_DEVICE_CONTACT:
        out_device_event("contact", event, false);
        break;
    case IOTSEC_DEVICE_MOVED:
        out_device_event("moved", event, event->reason != IOTSEC_OK);
        break;
    }
}

static void device_group_receive(void *user, uint16_t group_id, uint16_t sender_id, const uint8_t *data, size_t len)
{
    const struct device *device = user;
    struct coap_request request;
    char summary[COAP_PATH_MAX + 16];

    out_begin("group");
    out_uint("gid", group_id);
    out_uint("sender", sender_id);
    if (coap_read(data, len, &request)) {
        snprintf(summary, sizeof summary, "%s %s %s", request.type, request.method, request.path);
        out_quoted("coap", summary, strlen(summary));
        if (request.payload != NULL) {
            out_quoted("payload", request.payload, request.payload_len);
        }
    } else {
        out_quoted("text", data, len);
    }
    if (device->common.verbose) {
        out_octets("data", data, len);
    }
    out_end();
}

/* ---- Commands on standard input ---- */

static void out_refused(const char *command, const char *reason)
{
    out_begin("refused");
    out_word("what", command);
    out_word("reason", reason);
    out_end();
}

static void report(const char *command, uint16_t gid, enum iotsec_status status)
{
    if (status == IOTSEC_OK) {
        return;
    }
    out_begin("refused");
    out_word("what", command);
    if (gid != 0) {
        out_uint("gid", gid);
    }
    out_reason("reason", status);
    out_end();
}

static void send_to_group(struct device *device, const char *command, uint16_t gid, const uint8_t *data, size_t len)
{
    enum iotsec_status status = iotsec_group_send(&device->device, gid, data, len);

    if (status == IOTSEC_OK) {
        out_begin("sent");
        out_uint("gid", gid);
        out_uint("bytes", len);
        if (device->common.verbose) {
            out_octets("data", data, len);
        }
        out_end();
    }
    report(command, gid, status);
}

static void command_coap(struct device *device, uint16_t gid, const char *method, const char *path, const char *payload)
{
    uint8_t message[IOTSEC_GROUP_PAYLOAD_MAX];
    uint8_t code = method != NULL ? coap_method(method) : 0;
    size_t len;

    if (code == 0 || path == NULL) {
        out_refused("coap", "USAGE");
        return;
    }
    if (!coap_write(message, sizeof message, &len, code, device->message_id, device->token, path, payload, strlen(payload))) {
        out_refused("coap", path[0] != '/' ? "BAD_PATH" : "TOO_LONG");
        return;
    }
    device->message_id++;
    device->token++;
    send_to_group(device, "coap", gid, message, len);
}

static void command_join(struct device *device, uint16_t gid)
{
    enum iotsec_status status;

    if (device->out) {
        status = iotsec_join(&device->device, &device->manager, &gid, 1);
    } else {
        status = iotsec_group_join(&device->device, gid);
    }
    report("join", gid, status);
}

static void command_leave(struct device *device)
{
    enum iotsec_status status = iotsec_leave(&device->device);

    if (!device->joined) {
        /* nobody has to be told */
        device->ended = true;
        return;
    }
    report("leave", 0, status);
}

/* Cuts the next word off; "" at the end. */
static char *next_word(char **rest)
{
    char *word = *rest + strspn(*rest, " \t");
    char *end = word + strcspn(word, " \t");

    *rest = *end != '\0' ? end + 1 : end;
    *end = '\0';
    return word;
}

static void run_command(struct device *device, char *rest)
{
    const char *verb = next_word(&rest);
    const char *word;
    uint64_t gid;

    if (verb[0] == '\0') {
        return;
    }
    if (strcmp(verb, "quit") == 0) {
        device->ended = true;
        return;
    }
    if (strcmp(verb, "group") != 0 && strcmp(verb, "coap") != 0 && strcmp(verb, "join") != 0 && strcmp(verb, "leave") != 0) {
        out_refused(verb, "NO_SUCH_COMMAND");
        return;
    }
    word = next_word(&rest);
    if (strcmp(verb, "leave") == 0 && word[0] == '\0') {
        command_leave(device);
        return;
    }
    if (!number_parse(word, 1, UINT16_MAX, &gid)) {
        out_refused(verb, "BAD_GROUP");
        return;
    }
    if (strcmp(verb, "group") == 0) {
        send_to_group(device, "group", (uint16_t)gid, (const uint8_t *)rest, strlen(rest));
    } else if (strcmp(verb, "coap") == 0) {
        const char *method = next_word(&rest);
        const char *path = next_word(&rest);

        command_coap(device, (uint16_t)gid, method, path, rest);
    } else if (strcmp(verb, "join") == 0) {
        command_join(device, (uint16_t)gid);
    } else {
        report("leave", (uint16_t)gid, iotsec_group_leave(&device->device, (uint16_t)gid));
    }
}

static void end_command(struct device *device)
{
    if (device->command_len > 0 && device->command[device->command_len - 1] == '\r') {
        device->command_len--;
    }
    device->command[device->command_len] = '\0';
    if (device->command_too_long) {
        out_refused("command", "TOO_LONG");
    } else if (strlen(device->command) != device->command_len) {
        out_refused("command", "NOT_TEXT");
    } else {
        run_command(device, device->command);
    }
    device->command_len = 0;
    device->command_too_long = false;
}

static void read_commands(struct device *device)
{
    char input[1024];
    ssize_t n = read(STDIN_FILENO, input, sizeof input);
    ssize_t i;

    if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
        return;
    }
    for (i = 0; i < n && !device->ended; i++) {
        if (input[i] == '\n') {
            end_command(device);
        } else if (device->command_len < sizeof device->command - 1) {
            device->command[device->command_len++] = input[i];
        } else {
            device->command_too_long = true;
        }
    }
    if (n <= 0) {
        if (device->command_len > 0) {
            end_command(device);
        }
        device->input_over = true;
        if (device->exit_on_eof) {
            device->ended = true;
        }
    }
}

/* ---- Running ---- */

static void device_input(void *user, const struct iotsec_addr *from, const struct iotsec_addr *to, uint8_t *data, size_t len)
{
    struct device *device = user;

    (void)iotsec_input(&device->device, from, to, data, len);
}

/* Tells the manager that we are gone, though still a member: closing is not leaving. */
static void close_session(struct device *device)
{
    iotsec_dtls_handle session = iotsec_dtls_find(&device->device.dtls, &device->manager);

    if (session != 0) {
        (void)iotsec_dtls_close(&device->device.dtls, session, IOTSEC_ALERT_CLOSE_NOTIFY);
        (void)iotsec_dtls_flush(&device->device.dtls);
    }
}

static void start_join(struct device *device)
{
    enum iotsec_status status = iotsec_join(&device->device, &device->manager, device->wanted, device->wanted_count);

    if (status != IOTSEC_OK) {
        device->ended = true;
        device->result = status;
    }
}

/* Joins again if it is time; lowers `wait` to when it is. */
static void retry_join(struct device *device, uint32_t *wait)
{
    uint32_t left = device->retry_at - port_now_ms();

    if (!device->offline) {
        return;
    }
    if (left != 0 && left <= RETRY_MAX_MS) {
        *wait = left < *wait ? left : *wait;
        return;
    }
    /* once more when this attempt has failed too */
    device->retry_at = port_now_ms() + RETRY_MAX_MS;
    *wait = 0;
    start_join(device);
}

static int device_loop(struct device *device)
{
    char text[ADDR_TEXT_BYTES];

    start_join(device);
    while (!device->ended) {
        uint32_t wait = iotsec_poll(&device->device);
        bool reading = !device->input_over && (device->joined || device->out || device->offline);
        unsigned events;

        if (device->ended) {
            break;
        }
        retry_join(device, &wait);
        events = port_wait(&device->port, wait, reading ? STDIN_FILENO : -1, device_input, device);
        if ((events & PORT_STOP) != 0) {
            break;
        }
        if ((events & PORT_EXTRA) != 0) {
            read_commands(device);
        }
    }
    close_session(device);
    if (device->common.verbose) {
        out_stats("device", &device->device.stats);
        out_stats("dtls", &device->device.dtls.stats);
    }
    if (device->result != IOTSEC_OK) {
        addr_format(&device->manager, text);
        return fail_status(device->result, text);
    }
    out_begin("stopped");
    out_end();
    return 0;
}

static int device_run(struct device *device)
{
    struct iotsec_device_callbacks callbacks;
    struct iotsec_device_config *config = &device->config;
    enum iotsec_status started;
    int status;

    memset(&callbacks, 0, sizeof callbacks);
    callbacks.event = device_event;
    callbacks.group_receive = device_group_receive;
#if IOTSEC_KEYLOG
    callbacks.keylog = device->common.keylog != NULL ? keylog_write : NULL;
#endif
    options_to_port(&device->common, &device->port_options);
    device->port_options.peer = device->manager;
    device->port_options.nvm = device->state != NULL ? &device->nvm : NULL;
    config->hal = &device->port.hal;
    config->callbacks = &callbacks;
    config->user = device;
    config->identity = (const uint8_t *)device->id;
    config->identity_len = strlen(device->id);
    config->psk = device->psk.key;
    config->psk_len = device->psk.len;
    config->sessions = device->sessions;
    config->session_count = 2;
    config->handshakes = device->handshakes;
    config->handshake_count = 1;
    config->groups = device->groups;
    config->group_count = GROUPS_MAX;
    config->senders = device->senders;
    config->sender_count = GROUPS_MAX * SENDERS_A_GROUP;
    config->tx = device->tx;
    config->tx_size = sizeof device->tx;
    config->link_payload = device->common.link_payload;
    config->persist = device->state != NULL;
    config->nvm_slot = 1;
    status = keylog_open(&device->common);
    if (status == 0 && device->state != NULL) {
        status = nvm_file_open(&device->nvm, device->state, config->identity, config->identity_len);
    }
    if (status != 0) {
        return status;
    }
    status = port_open(&device->port, &device->port_options);
    if (status != 0) {
        return status;
    }
    (void)config->hal->random(config->hal->user, (uint8_t *)&device->message_id, sizeof device->message_id);
    (void)config->hal->random(config->hal->user, (uint8_t *)&device->token, sizeof device->token);
    started = iotsec_device_init(&device->device, config);
    if (started != IOTSEC_OK) {
        status = fail_status(started, "starting the device");
    } else {
        out_begin("started");
        out_word("id", device->id);
        out_addr("addr", &device->port.socket.local);
        out_end();
        status = device_loop(device);
        iotsec_device_wipe(&device->device);
    }
    port_close(&device->port);
    return status;
}

int cmd_device(int count, char **list)
{
    struct device *device = calloc(1, sizeof *device);
    int status;

    if (device == NULL) {
        return fail("MEMORY", "out of memory");
    }
    device->nvm.directory = -1;
    device->nvm.lock = -1;
    device->retry_wait = RETRY_INITIAL_MS;
    status = take_command_line(device, count, list);
    if (status < 0) {
        status = device_run(device);
    }
    keylog_close();
    nvm_file_close(&device->nvm);
    explicit_bzero(device, sizeof *device);
    free(device);
    return status;
}
