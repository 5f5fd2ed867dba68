/* SPDX-License-Identifier: BSD-3-Clause */
#include "lines.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "output.h"

void out_refused(const char *command, const char *reason)
{
    out_begin("refused");
    out_word("what", command);
    out_word("reason", reason);
    out_end();
}

char *lines_word(char **rest)
{
    char *word = *rest + strspn(*rest, " \t");
    char *end = word + strcspn(word, " \t");

    *rest = *end != '\0' ? end + 1 : end;
    *end = '\0';
    return word;
}

static void end_line(struct lines *lines, void (*run)(void *user, char *line), void *user)
{
    if (lines->len > 0 && lines->line[lines->len - 1] == '\r') {
        lines->len--;
    }
    lines->line[lines->len] = '\0';
    if (lines->too_long) {
        out_refused("command", "TOO_LONG");
    } else if (strlen(lines->line) != lines->len) {
        out_refused("command", "NOT_TEXT");
    } else {
        run(user, lines->line);
    }
    lines->len = 0;
    lines->too_long = false;
}

void lines_read(struct lines *lines, void (*run)(void *user, char *line), void *user, const bool *ended)
{
    char input[1024];
    ssize_t n = read(STDIN_FILENO, input, sizeof input);
    ssize_t i;

    if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
        return;
    }
    for (i = 0; i < n && !*ended; i++) {
        if (input[i] == '\n') {
            end_line(lines, run, user);
        } else if (lines->len < sizeof lines->line - 1) {
            lines->line[lines->len++] = input[i];
        } else {
            lines->too_long = true;
        }
    }
    if (n <= 0) {
        if (lines->len > 0) {
            end_line(lines, run, user);
        }
        lines->over = true;
    }
}
