/* SPDX-License-Identifier: ISC */
/* Replies; see the header. */
#include <stdlib.h>
#include <string.h>

#include "memcached_judge.h"
#include "require.h"

#define LINE_LIMIT 8192

/* Digits at the start of the text; 0: none. */
static size_t digits(const char *text)
{
    return strspn(text, "0123456789");
}

/* A number that is the whole field, not above a largest one with this many digits. */
static bool is_field(const char *field, const char *largest)
{
    if (digits(field) == 0 || digits(field) != strlen(field))
        return false;
    while (*field == '0')
        field++;
    return strlen(field) < strlen(largest) ||
           (strlen(field) == strlen(largest) && strcmp(field, largest) <= 0);
}

/* Lines as C strings; NUL becomes a character that means nothing. */
struct line {
    char *text;
    size_t length; /* with its end */
};

static enum judge_verdict next_line(struct line *line, const char *data, size_t length)
{
    const char *lf = memchr(data, '\n', length < LINE_LIMIT ? length : LINE_LIMIT);

    if (!lf)
        return length < LINE_LIMIT ? JUDGE_MORE : JUDGE_BAD;
    line->length = (size_t)(lf - data) + 1;
    if (line->length < 2 || lf[-1] != '\r')
        return JUDGE_BAD;
    line->text = malloc(line->length);
    REQUIRE(line->text);
    for (size_t i = 0; i < line->length - 2; i++)
        line->text[i] = data[i] ? data[i] : 1;
    line->text[line->length - 2] = '\0';
    return JUDGE_WHOLE;
}

/* Is the text's first word this one? */
static bool says(const char *text, const char *word)
{
    size_t length = strlen(word);

    return strncmp(text, word, length) == 0 && (text[length] == '\0' || text[length] == ' ');
}

static bool is_error(const char *text)
{
    return says(text, "ERROR") || says(text, "ERROR:") || says(text, "CLIENT_ERROR") ||
           says(text, "SERVER_ERROR");
}

/* How many bytes a line announces; -1: none; -2: it is wrong. */
static int64_t announces(const char *text)
{
    char *copy, *rest, *field[6] = {0};
    int64_t bytes = -2;
    size_t count = 0;

    if (!says(text, "VALUE") && !says(text, "VA"))
        return -1;
    rest = copy = strdup(text);
    REQUIRE(copy);
    bool meta = says(text, "VA");
    while (count < 6 && (field[count] = strsep(&rest, " ")))
        count++;
    if (meta && count >= 2 && is_field(field[1], "2147483647"))
        bytes = strtoll(field[1], NULL, 10);
    if (!meta && (count == 4 || count == 5) && field[1][0] && strlen(field[1]) <= 250 &&
        is_field(field[2], "18446744073709551615") && is_field(field[3], "2147483647") &&
        (count == 4 || is_field(field[4], "18446744073709551615")))
        bytes = strtoll(field[3], NULL, 10);
    free(copy);
    return bytes;
}

static bool is_capital(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_meta(const char *text)
{
    return is_capital(text[0]) && is_capital(text[1]) && (text[2] == '\0' || text[2] == ' ');
}

static bool is_statistic(const char *text)
{
    return says(text, "STAT") || says(text, "ITEM") || says(text, "PREFIX");
}

/* None of the words that have a meaning elsewhere. */
static bool is_other(const char *text)
{
    return strcmp(text, "END") != 0 && !says(text, "VALUE") && !says(text, "VERSION") &&
           !is_statistic(text) && (!is_meta(text) || says(text, "OK"));
}

/* A line's role in the reply: l: its last one; f: another follows; anything else: it does not
 * belong there. */
static char place(char reply, const char *text, bool first)
{
    switch (reply) {
    case 'l':
        return text[0] && is_other(text) ? 'l' : ' ';
    case 'v':
        return strcmp(text, "END") == 0 ? 'l' : says(text, "VALUE") ? 'f' : ' ';
    case 'm':
        return is_meta(text) && !says(text, "MN") ? 'l' : ' ';
    case 's':
        if (is_statistic(text))
            return 'f';
        return strcmp(text, "END") == 0 || (first && is_other(text)) ? 'l' : ' ';
    case 'z':
        if (first && strcmp(text, "STAT sizes_status error") == 0)
            return 'f';
        return is_statistic(text) ? 'l' : ' ';
    case 'n':
        return says(text, "MN") ? 'l' : ' ';
    case 'V':
        return says(text, "VERSION") ? 'l' : ' ';
    default:
        return 'l';
    }
}

static enum judge_verdict judge_text(struct judge_reply *reply, const char *data, size_t length)
{
    bool first = true;
    char where = 'f';

    for (; where == 'f'; first = false) {
        struct line line = {0};
        enum judge_verdict verdict = next_line(&line, data + reply->length, length - reply->length);

        if (verdict != JUDGE_WHOLE)
            return verdict;
        int64_t bytes = announces(line.text);
        reply->length += line.length;
        reply->is_error = is_error(line.text);
        reply->sure = !reply->is_error || !reply->valued ||
                      strcmp(line.text, "SERVER_ERROR object too large for cache") == 0 ||
                      strcmp(line.text, "SERVER_ERROR out of memory storing object") == 0;
        where = reply->is_error ? 'l' : place(reply->reply, line.text, first);
        free(line.text);
        if (where == ' ' || bytes == -2)
            return JUDGE_BAD;
        if (bytes < 0)
            continue;

        uint64_t left = length - reply->length, end = (uint64_t)bytes;
        const char *block = data + reply->length;

        if ((left > end && block[end] != '\r') || (left > end + 1 && block[end + 1] != '\n'))
            return JUDGE_BAD;
        if (left < end + 2)
            return JUDGE_MORE;
        reply->length += end + 2;
    }
    return JUDGE_WHOLE;
}

static uint32_t number(const char *data, size_t bytes)
{
    uint32_t value = 0;

    for (size_t i = 0; i < bytes; i++)
        value = value * 256 + (unsigned char)data[i];
    return value;
}

static enum judge_verdict judge_packets(struct judge_reply *reply, const char *data, size_t length)
{
    for (bool first = true, last = false; !last; first = false) {
        const char *head = data + reply->length;
        size_t left = length - reply->length;

        if (left > 0 && head[0] != '\x81')
            return JUDGE_BAD;
        if (left < 24)
            return JUDGE_MORE;

        uint32_t body = number(head + 8, 4), status = number(head + 6, 2);

        if (number(head + 2, 2) + number(head + 4, 1) > body || body > 0x7fffffff ||
            (uint8_t)head[1] != reply->opcode || memcmp(head + 12, reply->opaque, 4) != 0)
            return JUDGE_BAD;
        if (left < 24 + (uint64_t)body)
            return JUDGE_MORE;
        reply->length += 24 + body;
        reply->is_error = status != 0;
        reply->sure = status != 4 && status != 0x20 && !(status == 0x81 && reply->has_body);
        last = status != 0 || reply->reply == 'p' || (reply->reply == 'S' && body == 0) ||
               (reply->reply == 'Z' && !(first && body == 17));
    }
    return JUDGE_WHOLE;
}

enum judge_verdict judge_reply(struct judge_reply *reply, const char *data, size_t length)
{
    reply->length = 0;
    reply->is_error = false;
    reply->sure = true;
    if (reply->reply == '-')
        return JUDGE_WHOLE;
    return strchr("pSZ", reply->reply) ? judge_packets(reply, data, length)
                                       : judge_text(reply, data, length);
}
