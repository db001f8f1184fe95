/* SPDX-License-Identifier: ISC */
/* Repairs a header as the program does, line by line. */
#include "repair.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define EMPTY_LINES_MAX 4

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void put(struct repaired *head, const char *text, size_t length)
{
    head->text = realloc(head->text, head->length + length + 1);
    if (head->text == NULL)
        abort();
    memcpy(head->text + head->length, text, length);
    head->length += length;
}

/* Does the name affect where the message ends, or what happens to the connection? In 101 Upgrade
 * does. */
static bool is_framing(const struct repaired *head, const char *name, size_t length)
{
    static const char *const names[] = {"Content-Length", "Transfer-Encoding", "Connection",
                                        "Upgrade"};
    bool switches = head->length > 12 && memcmp(head->text + 8, " 101", 4) == 0;
    for (size_t i = 0; i < 3 + (size_t)switches; i++)
        if (strlen(names[i]) == length && strncasecmp(names[i], name, length) == 0)
            return true;
    return false;
}

/* Where the last line that was written begins; it ends with CRLF. */
static size_t last_line(const struct repaired *head)
{
    size_t at = head->length - 2;
    while (at > 0 && head->text[at - 1] != '\n')
        at--;
    return at;
}

/* Control characters become spaces, but not CR, LF and NUL. True: there were some. */
static bool clean(char *text, size_t length)
{
    bool found = false;
    for (size_t i = 0; i < length; i++)
        if (iscntrl((unsigned char)text[i]) && memchr("\t\r\n", text[i], 4) == NULL) {
            text[i] = ' ';
            found = true;
        }
    return found;
}

static bool is_all_blank(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!is_blank(text[i]))
            return false;
    return true;
}

/* A line that continues the field before it, `gap` bytes after that. */
static bool put_folded(struct repaired *head, char *line, size_t length, size_t gap)
{
    size_t before = last_line(head);
    const char *name = head->text + before;
    const char *colon = memchr(name, ':', head->length - before);
    clean(line, length);
    if (before == 0 || colon == NULL || is_all_blank(line, length) ||
        is_framing(head, name, (size_t)(colon - name)))
        return false;
    head->length -= 2;
    put(head, "  ", gap);
    put(head, line, length);
    put(head, "\r\n", 2);
    return true;
}

static bool put_field(struct repaired *head, char *line, size_t length)
{
    char *colon = memchr(line, ':', length);
    size_t name = colon == NULL ? length : (size_t)(colon - line), rest = length - name;
    bool odd = clean(line + name, rest);
    while (colon != NULL && name > 0 && is_blank(line[name - 1])) {
        name--;
        odd = true;
    }
    if (odd && is_framing(head, line, name))
        return false;
    put(head, line, name);
    put(head, line + length - rest, rest);
    put(head, "\r\n", 2);
    return true;
}

/* One line of a response. */
static bool put_line(struct repaired *head, char *line, size_t length, size_t gap)
{
    if (head->length > 0 && length > 0 && is_blank(line[0]))
        return put_folded(head, line, length, gap);
    if (head->length > 0 && length > 0)
        return put_field(head, line, length);
    put(head, line, length);
    if (head->length == 12)
        put(head, " ", 1);
    put(head, "\r\n", 2);
    return true;
}

/* What comes next, up to its LF; the line's end has two bytes, or one. */
static char *next_line(const char *data, size_t length, size_t *line_length, size_t *end)
{
    const char *lf = memchr(data, '\n', length);
    if (lf == NULL)
        return NULL;
    *line_length = (size_t)(lf - data);
    *end = *line_length > 0 && lf[-1] == '\r' ? 2 : 1;
    *line_length -= *end - 1;
    char *line = malloc(*line_length + 1);
    if (line == NULL)
        abort();
    memcpy(line, data, *line_length);
    return line;
}

enum reference_verdict repair_head(struct repaired *head, enum reference_kind kind,
                                   const char *data, size_t length)
{
    size_t ends[3] = {0}, empty_lines = 0, gap = 0;
    memset(head, 0, sizeof(*head));
    put(head, "", 0);
    for (;;) {
        size_t line_length, end;
        char *line = next_line(data + head->taken, length - head->taken, &line_length, &end);
        if (line == NULL)
            return REFERENCE_MORE;
        head->taken += line_length + end;
        ends[end]++;
        bool empty = line_length == 0, good = memchr(line, '\r', line_length) == NULL;
        if (good && empty && head->length == 0 && kind == REFERENCE_REQUEST) {
            good = ++empty_lines <= EMPTY_LINES_MAX;
            empty = false;
        } else if (good && kind == REFERENCE_REQUEST) {
            put(head, line, line_length);
            put(head, "\r\n", 2);
        } else if (good) {
            good = put_line(head, line, line_length, gap);
        }
        gap = end;
        free(line);
        if (!good)
            return REFERENCE_BAD;
        if (empty)
            break;
    }
    head->mixed = ends[1] > 0 && ends[2] > 0;
    return head->mixed && kind == REFERENCE_REQUEST ? REFERENCE_BAD : REFERENCE_WHOLE;
}

void repair_clear(struct repaired *head)
{
    free(head->text);
    head->text = NULL;
}
