/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The scenario language: one command a line, words separated by blanks, "quoted" where they contain some, # begins a
 * comment. Times are numbers with us, ms, s or min; shares are per cent. NAME is a node, * all of them.
 *
 *     set NAME VALUE                  $NAME stands for VALUE behind it; emulate --set NAME=VALUE wins
 *     seed 7                          strict on|off    wait4irq on|off    monitor on|off    pcap FILE
 *     node NAME FILE                  a node with this flash (128 KiB); off until it is powered
 *     image NAME FILE                 the same from a bare image, the header is put in front
 *     link A B [none] [loss 20] [corrupt 1] [mangle 1] [delay 300us] [lqi 90]     both ways; `link A > B` one way; * is all
 *     link air B ...                  what is injected
 *     power NAME on|off|cycle
 *     run 5s
 *     type NAME "text"                with a line feed behind it, at 115200 baud
 *     flood NAME 5000                 that many bytes without a pause
 *     expect NAME "regex" within 10s  a console line since the mark, in any order; each is taken once
 *     never NAME "regex"              from now on
 *     absent NAME "regex"             no line so far has it
 *     fails "regex" within 10s        the run is to fail so
 *     break NAME asm-selftest|asm-done|asm-bypass|radio-silent|radio-dead|radio-unlock [off]
 *     cut NAME N before|half|after    power is cut at the N-th flash operation from now, and stays off
 *     worn NAME SECTOR zeros|ones N   N bits of the sector stay so
 *     flip NAME ADDRESS MASK          a flash byte is damaged; `erased NAME SECTOR`: a whole sector
 *     inject HEX|random:LEN [fcs] [times N] [every 3ms]        a raw frame on everybody's channel
 *     secured NAME                    from now on it sends no data frame in the clear
 *     exceptions NAME                 aborts and undefined instructions go to the firmware
 *     mark NAME, counters NAME        what happened since the mark; older lines are forgotten
 *     room NAME BYTES                 so much RAM in one piece was never written
 *     say "text"
 *     every-cut NAME [most N]         from here to `cuts-done`: at each of the node's flash operations the power is cut before
 *       ...                           it, in the middle of it and after it, each in a copy of the whole world. The node is
 *     end                             switched on again and the commands up to `end` have to succeed.
 *     cuts-done
 */
#include "emulator.h"

#include <ctype.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS_MAX 24
#define COMMANDS_MAX 512
#define NEVER_MAX 32
#define SLICE (2 * EMU_MS)
#define CHILDREN_MAX 4096
#define CUT_OFF (200 * EMU_MS)

struct command {
    unsigned line, count;
    char *word[WORDS_MAX];
};

struct child {
    pid_t pid;
    FILE *story;
    uint64_t number;
    const char *what;
    enum cut cut;
    bool ended;
    int status;
};

struct scenario {
    const char *path;
    const struct scenario_options *options;
    FILE *out;
    struct world *world;
    struct command command[COMMANDS_MAX];
    unsigned commands;
    size_t cursor[NODES_MAX];
    struct {
        const char *text;
        regex_t regex;
        unsigned nodes; /* bit by node */
        size_t from;
    } never[NEVER_MAX];
    unsigned nevers;
    struct counters mark[NODES_MAX];
    uint64_t mark_at[NODES_MAX];
    /* every-cut */
    struct node *cut_node;
    unsigned cut_block;          /* its first command */
    uint64_t cut_most, cut_seen;
    struct child *children;
    unsigned child_count;
    bool in_child;
    int result;
};

static const char *const cut_names[] = {"", "before", "in the middle of", "after"};

/* ---- Reading ---- */

static int wrong(const struct scenario *scenario, const struct command *command, const char *why)
{
    fprintf(stderr, "%s:%u: %s\n", scenario->path, command->line, why);
    return 2;
}

static char *next_word(char **at, bool *failed)
{
    char *from = *at, *word, *to;

    while (isblank((unsigned char)*from)) {
        from++;
    }
    if (*from == '\0' || *from == '\n' || *from == '#') {
        return NULL;
    }
    word = to = from;
    if (*from != '"') {
        while (*from != '\0' && *from != '\n' && !isblank((unsigned char)*from)) {
            *to++ = *from++;
        }
        *at = *from == '\0' ? from : from + 1;
        *to = '\0';
        return strdup(word);
    }
    for (from++; *from != '"'; from++) {
        if (*from == '\0' || *from == '\n') {
            *failed = true;
            return NULL;
        }
        if (*from == '\\' && from[1] == '"') {
            from++;
        }
        *to++ = *from;
    }
    *at = from + 1;
    *to = '\0';
    return strdup(word);
}

static const char *value_of(const struct scenario *scenario, const char *name)
{
    size_t len = strlen(name);

    for (unsigned i = 0; i < scenario->options->set_count; i++) {
        const char *set = scenario->options->set[i];

        if (strncmp(set, name, len) == 0 && set[len] == '=') {
            return set + len + 1;
        }
    }
    for (unsigned i = 0; i < scenario->commands; i++) {
        const struct command *command = &scenario->command[i];

        if (command->count == 3 && strcmp(command->word[0], "set") == 0 && strcmp(command->word[1], name) == 0) {
            return command->word[2];
        }
    }
    return NULL;
}

static int read_scenario(struct scenario *scenario)
{
    FILE *file = fopen(scenario->path, "r");
    char line[4096];
    unsigned number = 0;

    if (file == NULL) {
        fprintf(stderr, "%s: cannot be read\n", scenario->path);
        return 2;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        struct command *command = &scenario->command[scenario->commands];
        char *at = line, *word;
        bool failed = false;

        command->line = ++number;
        while ((word = next_word(&at, &failed)) != NULL && command->count < WORDS_MAX) {
            const char *value = word[0] == '$' ? value_of(scenario, word + 1) : NULL;

            if (word[0] == '$') {
                free(word);
                word = value == NULL ? NULL : strdup(value);
                failed = value == NULL;
                if (failed) {
                    break;
                }
            }
            command->word[command->count++] = word;
        }
        if (failed || word != NULL) {
            fclose(file);
            return wrong(scenario, command, "cannot be read");
        }
        scenario->commands += command->count > 0;
        if (scenario->commands == COMMANDS_MAX) {
            fclose(file);
            return wrong(scenario, command, "too many commands");
        }
    }
    fclose(file);
    return 0;
}

static bool read_time(const char *text, uint64_t *cycles)
{
    char *end;
    double value = strtod(text, &end);
    double unit = strcmp(end, "us") == 0    ? (double)EMU_US
                  : strcmp(end, "ms") == 0  ? (double)EMU_MS
                  : strcmp(end, "s") == 0   ? (double)EMU_S
                  : strcmp(end, "min") == 0 ? 60.0 * (double)EMU_S : -1.0;

    *cycles = (uint64_t)(value * unit);
    return end != text && value >= 0 && unit > 0;
}

static bool read_number(const char *text, uint64_t *value)
{
    char *end;

    *value = strtoull(text, &end, 0);
    return end != text && *end == '\0';
}

static bool read_share(const char *text, uint32_t *ppm)
{
    char *end;
    double value = strtod(text, &end);

    *ppm = (uint32_t)(value * 10000.0 + 0.5);
    return end != text && *end == '\0' && value >= 0 && value <= 100;
}

static size_t read_hex(const char *text, uint8_t *out, size_t room)
{
    size_t len = 0;

    for (; text[0] != '\0' && text[1] != '\0' && len < room; text += 2) {
        char pair[3] = {text[0], text[1], 0}, *end;

        out[len++] = (uint8_t)strtoul(pair, &end, 16);
        if (*end != '\0') {
            return 0;
        }
    }
    return *text == '\0' ? len : 0;
}

static bool word_is(const struct command *command, unsigned i, const char *word)
{
    return i < command->count && strcmp(command->word[i], word) == 0;
}

/* The bits of the nodes that are meant; 0: there is none of that name. */
static unsigned nodes_named(const struct scenario *scenario, const char *name)
{
    const struct node *node;

    if (strcmp(name, "*") == 0) {
        return (1u << scenario->world->count) - 1;
    }
    node = world_find(scenario->world, name);
    return node == NULL ? 0 : 1u << node->id;
}

/* ---- Console lines ---- */

static bool compile(struct scenario *scenario, const struct command *command, const char *text, regex_t *regex)
{
    if (regcomp(regex, text, REG_EXTENDED | REG_NOSUB) != 0) {
        (void)wrong(scenario, command, "not a regular expression");
        return false;
    }
    return true;
}

static bool check_nevers(struct scenario *scenario)
{
    struct world *world = scenario->world;

    for (unsigned i = 0; i < scenario->nevers; i++) {
        for (; scenario->never[i].from < world->line_count; scenario->never[i].from++) {
            const struct line *line = &world->lines[scenario->never[i].from];

            if ((scenario->never[i].nodes >> line->node & 1) != 0 &&
                regexec(&scenario->never[i].regex, line->text, 0, NULL, 0) == 0) {
                world_fail(world, "%s said what it must not: %s", world->node[line->node]->name, line->text);
                return false;
            }
        }
    }
    return true;
}

/* Runs on; false: something failed, or a copy is to deal with a power cut. */
static bool run(struct scenario *scenario, uint64_t cycles)
{
    uint64_t until = scenario->world->now + cycles;

    while (scenario->world->now < until) {
        uint64_t left = until - scenario->world->now;

        if (!world_run(scenario->world, left < 50 * SLICE ? left : 50 * SLICE) || !check_nevers(scenario)) {
            return false;
        }
    }
    return true;
}

static const char *find_line(struct scenario *scenario, unsigned id, const regex_t *regex)
{
    struct world *world = scenario->world;

    for (size_t i = scenario->cursor[id]; i < world->line_count; i++) {
        struct line *line = &world->lines[i];

        if (line->node == id && !line->used && regexec(regex, line->text, 0, NULL, 0) == 0) {
            line->used = true;
            return line->text;
        }
    }
    return NULL;
}

static int do_expect(struct scenario *scenario, const struct command *command)
{
    unsigned nodes = command->count == 5 ? nodes_named(scenario, command->word[1]) : 0;
    uint64_t time, until;
    regex_t regex;

    if (nodes == 0 || !word_is(command, 3, "within") || !read_time(command->word[4], &time)) {
        return wrong(scenario, command, "expect NAME REGEX within TIME");
    }
    if (!compile(scenario, command, command->word[2], &regex)) {
        return 2;
    }
    until = scenario->world->now + time;
    for (unsigned id = 0; id < scenario->world->count; id++) {
        if ((nodes >> id & 1) == 0) {
            continue;
        }
        while (find_line(scenario, id, &regex) == NULL) {
            if (scenario->world->now >= until) {
                world_fail(scenario->world, "line %u: %s did not say /%s/ within %s", command->line,
                           scenario->world->node[id]->name, command->word[2], command->word[4]);
            }
            if (!run(scenario, SLICE)) {
                regfree(&regex);
                return 1;
            }
        }
    }
    regfree(&regex);
    world_say(scenario->world, NULL, scenario->world->now, "ok: %s /%s/", command->word[1], command->word[2]);
    return 0;
}

static int do_never(struct scenario *scenario, const struct command *command)
{
    unsigned nodes = command->count == 3 ? nodes_named(scenario, command->word[1]) : 0, i = scenario->nevers;

    if (nodes == 0 || i == NEVER_MAX) {
        return wrong(scenario, command, "NAME REGEX");
    }
    if (!compile(scenario, command, command->word[2], &scenario->never[i].regex)) {
        return 2;
    }
    scenario->never[i].nodes = nodes;
    scenario->never[i].from = strcmp(command->word[0], "never") == 0 ? scenario->world->line_count : 0;
    scenario->nevers++;
    if (strcmp(command->word[0], "absent") == 0) {
        bool good = check_nevers(scenario);

        regfree(&scenario->never[--scenario->nevers].regex);
        return good ? 0 : 1;
    }
    return 0;
}

static int do_fails(struct scenario *scenario, const struct command *command)
{
    uint64_t time;
    regex_t regex;
    bool match;

    if (command->count != 4 || !word_is(command, 2, "within") || !read_time(command->word[3], &time)) {
        return wrong(scenario, command, "fails REGEX within TIME");
    }
    if (!compile(scenario, command, command->word[1], &regex)) {
        return 2;
    }
    (void)run(scenario, time);
    match = scenario->world->failed && regexec(&regex, scenario->world->failure, 0, NULL, 0) == 0;
    regfree(&regex);
    if (!match) {
        world_fail(scenario->world, "line %u: the run did not fail with /%s/", command->line, command->word[1]);
        return 1;
    }
    world_say(scenario->world, NULL, scenario->world->now, "ok: it failed as expected");
    scenario->world->failed = false;
    return 0;
}

/* ---- Nodes, links, damage ---- */

static void find_file(const struct scenario *scenario, const char *name, char *path, size_t size)
{
    if (name[0] == '/' || scenario->options->folder == NULL) {
        snprintf(path, size, "%s", name);
    } else {
        snprintf(path, size, "%s/%s", scenario->options->folder, name);
    }
}

static int do_node(struct scenario *scenario, const struct command *command)
{
    struct node *node;
    char path[4096];
    static uint8_t image[RAM_SIZE];

    if (command->count != 3) {
        return wrong(scenario, command, "NAME FILE");
    }
    node = world_node(scenario->world, command->word[1]);
    if (node == NULL) {
        return wrong(scenario, command, "too many nodes");
    }
    find_file(scenario, command->word[2], path, sizeof path);
    if (word_is(command, 0, "node")) {
        return node_flash(node, path) ? 0 : wrong(scenario, command, "no such flash file");
    }
    FILE *file = fopen(path, "rb");
    size_t len;

    if (file == NULL) {
        return wrong(scenario, command, "no such image");
    }
    len = fread(image, 1, sizeof image, file);
    fclose(file);
    return node_flash_image(node, image, len) ? 0 : wrong(scenario, command, "the image is too large");
}

static int do_link(struct scenario *scenario, const struct command *command)
{
    struct link link = {.audible = true};
    bool one_way = word_is(command, 2, ">");
    unsigned i = one_way ? 4 : 3;
    unsigned from, to;

    if (command->count < i) {
        return wrong(scenario, command, "link A B ...");
    }
    from = strcmp(command->word[1], "air") == 0 ? 1u << NODES_MAX : nodes_named(scenario, command->word[1]);
    to = nodes_named(scenario, command->word[i - 1]);
    if (from == 0 || to == 0) {
        return wrong(scenario, command, "no such node");
    }
    while (i < command->count) {
        const char *value = i + 1 < command->count ? command->word[i + 1] : "";
        uint64_t number;

        if (word_is(command, i, "none")) {
            link.audible = false;
            i++;
            continue;
        }
        if (word_is(command, i, "loss") && read_share(value, &link.loss_ppm)) {
        } else if (word_is(command, i, "corrupt") && read_share(value, &link.corrupt_ppm)) {
        } else if (word_is(command, i, "mangle") && read_share(value, &link.mangle_ppm)) {
        } else if (word_is(command, i, "delay") && read_time(value, &number)) {
            link.delay_us = (uint32_t)(number / EMU_US);
        } else if (word_is(command, i, "lqi") && read_number(value, &number)) {
            link.lqi = (uint8_t)number;
        } else {
            return wrong(scenario, command, "unknown property of a link");
        }
        i += 2;
    }
    for (unsigned a = 0; a <= NODES_MAX; a++) {
        for (unsigned b = 0; b < NODES_MAX; b++) {
            if ((from >> a & 1) != 0 && (to >> b & 1) != 0 && a != b) {
                scenario->world->link[a][b] = link;
                if (!one_way && a < NODES_MAX) {
                    scenario->world->link[b][a] = link;
                }
            }
        }
    }
    return 0;
}

static int do_power(struct scenario *scenario, const struct command *command)
{
    unsigned nodes = command->count == 3 ? nodes_named(scenario, command->word[1]) : 0;

    if (nodes == 0) {
        return wrong(scenario, command, "power NAME on|off|cycle");
    }
    for (unsigned id = 0; id < scenario->world->count; id++) {
        struct node *node = scenario->world->node[id];

        if ((nodes >> id & 1) == 0) {
            continue;
        }
        if (!word_is(command, 2, "on")) {
            node_power_off(node);
        }
        if (!word_is(command, 2, "off")) {
            node_power_on(node);
        }
    }
    return 0;
}

static int do_type(struct scenario *scenario, const struct command *command)
{
    struct node *node = command->count == 3 ? world_find(scenario->world, command->word[1]) : NULL;

    if (node == NULL) {
        return wrong(scenario, command, "NAME TEXT");
    }
    world_say(scenario->world, node, scenario->world->now, "< %s", command->word[2]);
    node_type(node, command->word[2], strlen(command->word[2]));
    node_type(node, "\n", 1);
    return 0;
}

static int do_flood(struct scenario *scenario, const struct command *command)
{
    struct node *node = command->count == 3 ? world_find(scenario->world, command->word[1]) : NULL;
    uint64_t count;

    if (node == NULL || !read_number(command->word[2], &count) || count > UART_HOST) {
        return wrong(scenario, command, "flood NAME BYTES");
    }
    world_say(scenario->world, node, scenario->world->now, "flooded with %llu bytes", (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++) {
        char byte = (char)world_random(scenario->world->seed, i, 0x666c6f6f64, scenario->world->now);

        node_type(node, &byte, 1);
    }
    return 0;
}

static int do_break(struct scenario *scenario, const struct command *command)
{
    struct node *node = command->count >= 3 ? world_find(scenario->world, command->word[1]) : NULL;
    bool on = !word_is(command, 3, "off");

    if (node == NULL) {
        return wrong(scenario, command, "break NAME WHAT");
    }
    world_say(scenario->world, node, scenario->world->now, "%s: %s", command->word[2], on ? "broken" : "whole again");
    if (word_is(command, 2, "asm-selftest")) {
        node->sabotage.asm_selftest = on;
    } else if (word_is(command, 2, "asm-done")) {
        node->sabotage.asm_done = on;
    } else if (word_is(command, 2, "asm-bypass")) {
        node->sabotage.asm_bypass = on;
    } else if (word_is(command, 2, "radio-silent")) {
        node->sabotage.radio_silent = on;
    } else if (word_is(command, 2, "radio-dead")) {
        node->sabotage.radio_dead = on;
    } else if (word_is(command, 2, "radio-unlock")) {
        node->sabotage.radio_unlock = on;
    } else {
        return wrong(scenario, command, "cannot break that");
    }
    return 0;
}

static int do_cut(struct scenario *scenario, const struct command *command)
{
    struct node *node = command->count == 4 ? world_find(scenario->world, command->word[1]) : NULL;

    if (node == NULL || !read_number(command->word[2], &node->sabotage.cut_in)) {
        return wrong(scenario, command, "cut NAME N before|half|after");
    }
    node->sabotage.cut = word_is(command, 3, "before") ? CUT_BEFORE : word_is(command, 3, "half") ? CUT_HALF : CUT_AFTER;
    return 0;
}

static int do_worn(struct scenario *scenario, const struct command *command)
{
    struct node *node = command->count == 5 ? world_find(scenario->world, command->word[1]) : NULL;
    uint64_t sector, count;

    if (node == NULL || !read_number(command->word[2], &sector) || sector >= FLASH_SECTORS ||
        !read_number(command->word[4], &count)) {
        return wrong(scenario, command, "worn NAME SECTOR zeros|ones BITS");
    }
    for (uint64_t i = 0; i < count; i++) {
        uint64_t bit = world_random(scenario->world->seed, node->id, sector, i) % (8 * FLASH_SECTOR);
        uint64_t at = sector * FLASH_SECTOR + bit / 8;
        uint8_t mask = (uint8_t)(1u << (bit & 7));

        if (word_is(command, 3, "zeros")) {
            node->flash.worn0[at] |= mask;
            node->flash.byte[at] &= (uint8_t)~mask;
        } else {
            node->flash.worn1[at] |= mask;
            node->flash.byte[at] |= mask;
        }
    }
    world_say(scenario->world, node, scenario->world->now, "sector %s: %s bits stay %s", command->word[2], command->word[4],
              command->word[3]);
    return 0;
}

static int do_flip(struct scenario *scenario, const struct command *command)
{
    struct node *node = command->count == 4 ? world_find(scenario->world, command->word[1]) : NULL;
    uint64_t at, mask;

    if (node == NULL || !read_number(command->word[2], &at) || at >= FLASH_SIZE || !read_number(command->word[3], &mask)) {
        return wrong(scenario, command, "flip NAME ADDRESS MASK");
    }
    node->flash.byte[at] ^= (uint8_t)mask;
    world_say(scenario->world, node, scenario->world->now, "flash byte %05llx is now %02x", (unsigned long long)at,
              node->flash.byte[at]);
    return 0;
}

static int do_erased(struct scenario *scenario, const struct command *command)
{
    struct node *node = command->count == 3 ? world_find(scenario->world, command->word[1]) : NULL;
    uint64_t sector;

    if (node == NULL || !read_number(command->word[2], &sector) || sector >= FLASH_SECTORS) {
        return wrong(scenario, command, "erased NAME SECTOR");
    }
    memset(node->flash.byte + sector * FLASH_SECTOR, 0xff, FLASH_SECTOR);
    return 0;
}

static int do_inject(struct scenario *scenario, const struct command *command)
{
    uint8_t frame[AIR_FRAME_MAX + 2];
    struct world *world = scenario->world;
    size_t len = 0;
    uint64_t times = 1, pause = 5 * EMU_MS, number;
    bool fcs = false, random = command->count > 1 && strncmp(command->word[1], "random:", 7) == 0;

    if (command->count > 1) {
        len = random && read_number(command->word[1] + 7, &number) && number <= AIR_FRAME_MAX
                  ? (size_t)number : read_hex(command->word[1], frame, AIR_FRAME_MAX - 2);
    }
    for (unsigned i = 2; i < command->count; i++) {
        if (word_is(command, i, "fcs")) {
            fcs = true;
        } else if (i + 1 < command->count && word_is(command, i, "times") && read_number(command->word[i + 1], &times)) {
            i++;
        } else if (i + 1 < command->count && word_is(command, i, "every") && read_time(command->word[i + 1], &pause)) {
            i++;
        } else {
            return wrong(scenario, command, "inject HEX|random:LEN [fcs] [times N] [every TIME]");
        }
    }
    if (len == 0 || (fcs && len + 2 > AIR_FRAME_MAX)) {
        return wrong(scenario, command, "no such frame");
    }
    for (uint64_t n = 0; n < times; n++) {
        size_t all = len;

        for (size_t i = 0; random && i < len; i++) {
            frame[i] = (uint8_t)world_random(world->seed, world->now, i, 0x696e6a);
        }
        if (fcs) {
            uint16_t crc = air_fcs(frame, len);

            frame[len] = (uint8_t)crc;
            frame[len + 1] = (uint8_t)(crc >> 8);
            all += 2;
        }
        air_transmit(world, NULL, world->now, frame, (unsigned)all, 0);
        if (!run(scenario, pause)) {
            return 1;
        }
    }
    return 0;
}

/* ---- What is measured ---- */

static void print_counters(struct scenario *scenario, const struct node *node)
{
    struct counters now = node->count;
    const struct counters *mark = &scenario->mark[node->id];
    uint64_t time = scenario->world->now - scenario->mark_at[node->id];

#define SINCE(member) (unsigned long long)(now.member - mark->member)
    world_say(scenario->world, node, scenario->world->now,
              "in %llu.%03llu s: %llu instructions, idle %llu.%01llu %%, %llu interrupts; sent %llu frames %llu bytes (of "
              "these acknowledgements %llu), received %llu frames %llu bytes; faded %llu, corrupted %llu, collided %llu, "
              "filtered %llu, deaf %llu; flash %llu writes %llu bytes %llu erases",
              (unsigned long long)(time / EMU_S), (unsigned long long)(time % EMU_S / EMU_MS), SINCE(instructions),
              SINCE(idle) * 100 / (time == 0 ? 1 : time), SINCE(idle) * 1000 / (time == 0 ? 1 : time) % 10, SINCE(interrupts),
              SINCE(tx_frames), SINCE(tx_bytes), SINCE(ack_frames), SINCE(rx_frames), SINCE(rx_bytes), SINCE(faded),
              SINCE(corrupted), SINCE(collided), SINCE(filtered), SINCE(deaf), SINCE(flash_writes), SINCE(flash_bytes),
              SINCE(flash_erases));
#undef SINCE
}

static int do_measure(struct scenario *scenario, const struct command *command)
{
    unsigned nodes = command->count >= 2 ? nodes_named(scenario, command->word[1]) : 0;
    uint64_t least = 0;

    if (nodes == 0 || (word_is(command, 0, "room") && (command->count != 3 || !read_number(command->word[2], &least)))) {
        return wrong(scenario, command, "NAME");
    }
    for (unsigned id = 0; id < scenario->world->count; id++) {
        struct node *node = scenario->world->node[id];
        uint32_t start, len;

        if ((nodes >> id & 1) == 0) {
            continue;
        }
        if (word_is(command, 0, "mark")) {
            scenario->mark[id] = node->count;
            scenario->mark_at[id] = scenario->world->now;
            scenario->cursor[id] = scenario->world->line_count;
        } else if (word_is(command, 0, "counters")) {
            print_counters(scenario, node);
        } else if (word_is(command, 0, "secured")) {
            monitor_secure_from_now(scenario->world, node);
        } else if (word_is(command, 0, "exceptions")) {
            node->own_exceptions = true;
        } else {
            node_untouched(node, &start, &len);
            world_say(scenario->world, node, scenario->world->now, "image of %u bytes; %u bytes of RAM from %08x never written",
                      node->image_size, len, start);
            if (len < least) {
                world_fail(scenario->world, "line %u: %s has %u bytes of RAM to spare, not %llu", command->line, node->name,
                           len, (unsigned long long)least);
                return 1;
            }
        }
    }
    return 0;
}

/* ---- Power cuts, all of them ---- */

static void collect(struct scenario *scenario, unsigned most_left)
{
    unsigned running = 0;

    for (unsigned i = 0; i < scenario->child_count; i++) {
        running += !scenario->children[i].ended;
    }
    for (unsigned i = 0; i < scenario->child_count && running > most_left; i++) {
        struct child *child = &scenario->children[i];

        if (!child->ended) {
            (void)waitpid(child->pid, &child->status, 0);
            child->ended = true;
            running--;
        }
    }
}

static enum cut on_flash(struct world *world, struct node *node, const char *what, uint64_t number, void *user)
{
    struct scenario *scenario = user;

    if (scenario->in_child || node != scenario->cut_node || scenario->cut_seen == scenario->cut_most) {
        return CUT_NONE;
    }
    scenario->cut_seen++;
    for (enum cut cut = CUT_BEFORE; cut <= CUT_AFTER; cut++) {
        struct child *child = &scenario->children[scenario->child_count];
        unsigned jobs = scenario->options->jobs == 0 ? 2 : scenario->options->jobs;

        if (scenario->child_count == CHILDREN_MAX) {
            world_fail(world, "more than %u power cuts", CHILDREN_MAX);
            return CUT_NONE;
        }
        collect(scenario, jobs - 1);
        child->what = what;
        child->number = number;
        child->cut = cut;
        child->story = tmpfile();
        fflush(NULL);
        child->pid = child->story == NULL ? -1 : fork();
        if (child->pid < 0) {
            world_fail(world, "cannot fork");
            return CUT_NONE;
        }
        if (child->pid == 0) {
            scenario->in_child = true;
            world->story = child->story;
            world->pcap = world->keys = NULL;
            world->stop = true;
            return cut;
        }
        scenario->child_count++;
    }
    return CUT_NONE;
}

static int execute(struct scenario *scenario, unsigned from, unsigned to);

/* In the copy: the power has just been cut. */
static void continue_in_child(struct scenario *scenario)
{
    unsigned end = scenario->cut_block;
    int result;

    while (end < scenario->commands && !word_is(&scenario->command[end], 0, "end")) {
        end++;
    }
    scenario->world->stop = false;
    for (unsigned i = 0; i < NODES_MAX; i++) {
        scenario->cursor[i] = scenario->world->line_count;
    }
    result = run(scenario, CUT_OFF) ? 0 : 1;
    node_power_off(scenario->cut_node);
    node_power_on(scenario->cut_node);
    if (result == 0) {
        result = execute(scenario, scenario->cut_block, end);
    }
    fflush(NULL);
    _exit(result);
}

static int do_every_cut(struct scenario *scenario, unsigned at)
{
    const struct command *command = &scenario->command[at];
    uint64_t most = UINT64_MAX;

    scenario->cut_node = command->count >= 2 ? world_find(scenario->world, command->word[1]) : NULL;
    if (scenario->cut_node == NULL ||
        (command->count == 4 && (!word_is(command, 2, "most") || !read_number(command->word[3], &most)))) {
        return wrong(scenario, command, "every-cut NAME [most N]");
    }
    scenario->cut_most = most;
    scenario->cut_seen = 0;
    scenario->cut_block = at + 1;
    if (scenario->children == NULL) {
        scenario->children = calloc(CHILDREN_MAX, sizeof *scenario->children);
    }
    scenario->world->on_flash = on_flash;
    scenario->world->on_flash_user = scenario;
    return scenario->children == NULL ? 2 : 0;
}

static int do_cuts_done(struct scenario *scenario)
{
    unsigned bad = 0;

    scenario->world->on_flash = NULL;
    collect(scenario, 0);
    for (unsigned i = 0; i < scenario->child_count; i++) {
        struct child *child = &scenario->children[i];
        char line[1024];

        if (!WIFEXITED(child->status) || WEXITSTATUS(child->status) != 0) {
            bad++;
            world_say(scenario->world, scenario->cut_node, scenario->world->now, "power cut %s %s %llu: not recovered:",
                      cut_names[child->cut], child->what, (unsigned long long)child->number);
            rewind(child->story);
            while (bad <= 3 && scenario->world->story != NULL && fgets(line, sizeof line, child->story) != NULL) {
                fprintf(scenario->world->story, "    %s", line);
            }
        }
        fclose(child->story);
    }
    world_say(scenario->world, scenario->cut_node, scenario->world->now,
              "%llu flash operations, %u power cuts, %u not recovered", (unsigned long long)scenario->cut_seen,
              scenario->child_count, bad);
    if (bad > 0 || scenario->child_count == 0) {
        world_fail(scenario->world, bad > 0 ? "%u power cuts were not recovered from" : "there was nothing to cut (%u)", bad);
    }
    scenario->child_count = 0;
    scenario->cut_node = NULL;
    return bad > 0 || scenario->world->failed ? 1 : 0;
}

/* ---- Executing ---- */

static int do_switch(struct scenario *scenario, const struct command *command)
{
    bool on = word_is(command, 1, "on");

    if (word_is(command, 0, "strict")) {
        scenario->world->strict = on;
    } else if (word_is(command, 0, "wait4irq")) {
        scenario->world->wait4irq = on;
    } else {
        monitor_enable(scenario->world, on);
    }
    return 0;
}

static int execute_one(struct scenario *scenario, unsigned at)
{
    static const struct {
        const char *name;
        int (*execute)(struct scenario *, const struct command *);
    } table[] = {
        {"expect", do_expect}, {"never", do_never}, {"absent", do_never}, {"fails", do_fails}, {"node", do_node},
        {"image", do_node}, {"link", do_link}, {"power", do_power}, {"type", do_type}, {"flood", do_flood},
        {"break", do_break}, {"cut", do_cut}, {"worn", do_worn}, {"flip", do_flip}, {"erased", do_erased},
        {"inject", do_inject},
        {"mark", do_measure}, {"counters", do_measure}, {"room", do_measure}, {"secured", do_measure},
        {"exceptions", do_measure}, {"strict", do_switch}, {"wait4irq", do_switch}, {"monitor", do_switch},
    };
    const struct command *command = &scenario->command[at];
    uint64_t time;

    for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (word_is(command, 0, table[i].name)) {
            return table[i].execute(scenario, command);
        }
    }
    if (word_is(command, 0, "run") && command->count == 2 && read_time(command->word[1], &time)) {
        return run(scenario, time) ? 0 : 1;
    }
    if (word_is(command, 0, "say") && command->count == 2) {
        world_say(scenario->world, NULL, scenario->world->now, "---- %s", command->word[1]);
        return 0;
    }
    if (word_is(command, 0, "seed") || word_is(command, 0, "pcap") || word_is(command, 0, "set")) {
        return 0; /* read beforehand */
    }
    return wrong(scenario, command, "unknown command");
}

static int execute(struct scenario *scenario, unsigned from, unsigned to)
{
    int result = 0;

    for (unsigned i = from; i < to && result == 0; i++) {
        if (word_is(&scenario->command[i], 0, "every-cut")) {
            result = do_every_cut(scenario, i);
            while (i < to && !word_is(&scenario->command[i], 0, "end")) {
                i++;
            }
            continue;
        }
        if (word_is(&scenario->command[i], 0, "cuts-done")) {
            result = do_cuts_done(scenario);
            continue;
        }
        result = execute_one(scenario, i);
        if (scenario->in_child && scenario->world->stop) {
            continue_in_child(scenario);
        }
        if (result == 0 && scenario->world->failed) {
            result = 1;
        }
    }
    return result;
}

static int prepare(struct scenario *scenario)
{
    uint64_t seed = 1;
    const char *capture = scenario->options->pcap;

    for (unsigned i = 0; i < scenario->commands; i++) {
        const struct command *command = &scenario->command[i];

        if (word_is(command, 0, "seed") && (command->count != 2 || !read_number(command->word[1], &seed))) {
            return wrong(scenario, command, "seed N");
        }
        if (word_is(command, 0, "pcap") && command->count == 2 && capture == NULL) {
            capture = command->word[1];
        }
    }
    scenario->world = world_new(scenario->options->seed >= 0 ? (uint64_t)scenario->options->seed : seed);
    scenario->world->story = scenario->options->quiet ? NULL : scenario->out;
    if (capture != NULL && !pcap_open(scenario->world, capture)) {
        fprintf(stderr, "%s: cannot be written\n", capture);
        return 2;
    }
    if (scenario->options->keys != NULL && (scenario->world->keys = fopen(scenario->options->keys, "w")) == NULL) {
        fprintf(stderr, "%s: cannot be written\n", scenario->options->keys);
        return 2;
    }
    return 0;
}

int scenario_run(const char *path, const struct scenario_options *options, FILE *out)
{
    struct scenario *scenario = calloc(1, sizeof *scenario);
    int result;

    if (scenario == NULL) {
        abort();
    }
    scenario->path = path;
    scenario->options = options;
    scenario->out = out;
    result = read_scenario(scenario);
    if (result == 0) {
        result = prepare(scenario);
    }
    if (result == 0) {
        result = execute(scenario, 0, scenario->commands);
    }
    if (scenario->world != NULL) {
        uint64_t frames, bytes;

        collect(scenario, 0);
        air_totals(scenario->world, &frames, &bytes);
        fprintf(out, "%s: %s, %llu.%03llu s of virtual time, %llu frames with %llu bytes on the air%s%s\n", path,
                result == 0 ? "ok" : "FAILED", (unsigned long long)(scenario->world->now / EMU_S),
                (unsigned long long)(scenario->world->now % EMU_S / EMU_MS), (unsigned long long)frames,
                (unsigned long long)bytes, scenario->world->failed ? ": " : "",
                scenario->world->failed ? scenario->world->failure : "");
        world_free(scenario->world);
    }
    for (unsigned i = 0; i < scenario->nevers; i++) {
        regfree(&scenario->never[i].regex);
    }
    for (unsigned i = 0; i < scenario->commands; i++) {
        for (unsigned j = 0; j < scenario->command[i].count; j++) {
            free(scenario->command[i].word[j]);
        }
    }
    free(scenario->children);
    free(scenario);
    return result;
}
