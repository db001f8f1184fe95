/* SPDX-License-Identifier: ISC */
/* Where a reply ends. */
#include "resp/resp_internal.h"

#include <assert.h>
#include <string.h>

/* What is expected next. */
enum stage {
    HEAD, /* an element's first line */
    BODY, /* the rest of a bulk string */
    BODY_CR,
    BODY_LF,
    END,
    BROKEN
};

/* The maximum number of elements still to come: no sum of two counts overflows. */
#define PENDING_MAX (UINT64_C(1) << 62)

/* A line that is not a count. A lone CR or LF is rejected: readers differ in whether it ends the
 * line. */
static ALWAYS_INLINE enum resp_result read_line(const char **at, const char *end)
{
    const char *next = *at;
    const char *limit = end - next > RESP_LINE_MAX ? next + RESP_LINE_MAX + 1 : end;

    while (next < limit && *next != '\r' && *next != '\n')
        next++;
    if (next - *at > RESP_LINE_MAX)
        return RESP_BAD;
    if (next == end)
        return RESP_MORE;
    if (*next != '\r')
        return RESP_BAD;
    if (++next == end)
        return RESP_MORE;
    if (*next != '\n')
        return RESP_BAD;
    *at = next + 1;
    return RESP_DONE;
}

/* "-1" and CRLF. */
static enum resp_result read_null(const char **at, const char *end)
{
    static const char null[] = "-1\r\n";
    size_t there = (size_t)(end - *at);
    size_t length = there < sizeof(null) - 1 ? there : sizeof(null) - 1;

    if (memcmp(*at, null, length) != 0)
        return RESP_BAD;
    *at += length;
    return length < sizeof(null) - 1 ? RESP_MORE : RESP_DONE;
}

/* One line, from its type on; *at is moved past it if it is DONE. */
static ALWAYS_INLINE enum resp_result read_head(const char **at, const char *end, char *type,
                                                bool *null, uint64_t *count)
{
    const char *next = *at;
    enum resp_result result;

    if (next == end)
        return RESP_MORE;
    *type = *next++;
    *null = false;
    *count = 0;
    switch (*type) {
    case '$':
    case '*':
        if (next < end && *next == '-') {
            *null = true;
            result = read_null(&next, end);
            break;
        }
        /* fall through */
    case '!':
    case '=':
    case '~':
    case '>':
        result = resp_read_count(&next, end, RESP_COUNT_MAX, count);
        break;
    case '%':
    case '|':
        result = resp_read_count(&next, end, RESP_COUNT_MAX / 2, count);
        *count *= 2;
        break;
    case '+':
    case '-':
    case ':':
    case '(':
    case ',':
    case '#':
        result = read_line(&next, end);
        break;
    case '_':
        *null = true;
        result = next < end && *next != '\r' ? RESP_BAD : read_line(&next, end);
        break;
    default:
        return RESP_BAD;
    }
    if (result == RESP_DONE)
        *at = next;
    return result;
}

enum resp_result resp_head_parse(struct resp_head *head, const char *data, size_t length)
{
    const char *at = data;
    enum resp_result result = read_head(&at, data + length, &head->type, &head->null, &head->count);

    if (result != RESP_DONE)
        return result;
    head->size = (size_t)(at - data);
    head->line = data + 1;
    head->length = head->size - 3;
    return RESP_DONE;
}

void resp_reply_begin(struct resp_reply *reply)
{
    *reply = (struct resp_reply){.stage = HEAD, .pending = 1};
}

static enum resp_result broken(struct resp_reply *reply)
{
    reply->left = 0;
    reply->stage = BROKEN;
    return RESP_BAD;
}

/* A line was read: handles what it begins or ends. False: it is not allowed there. */
static ALWAYS_INLINE bool take_head(struct resp_reply *reply, char type, bool null, uint64_t count)
{
    bool first = reply->type == 0;

    if (first)
        reply->type = type;
    switch (null ? '_' : type) {
    case '$':
    case '!':
    case '=':
        reply->left = count;
        reply->stage = BODY;
        return true;
    case '>':
        if (!first)
            return false;
        /* fall through */
    case '*':
    case '~':
    case '%':
        reply->pending += count - 1;
        break;
    case '|':
        reply->pending += count;
        break;
    default:
        reply->pending--;
        break;
    }
    return reply->pending <= PENDING_MAX;
}

/* As much of a bulk string as is present, and its CRLF. */
static enum resp_result read_body(struct resp_reply *reply, const char **at, const char *end)
{
    if (reply->stage == BODY) {
        size_t there = (size_t)(end - *at);
        size_t length = there < reply->left ? there : (size_t)reply->left;

        *at += length;
        reply->left -= length;
        if (reply->left > 0)
            return RESP_MORE;
        reply->stage = BODY_CR;
    }
    for (; reply->stage != HEAD; (*at)++) {
        if (*at == end)
            return RESP_MORE;
        if (**at != (reply->stage == BODY_CR ? '\r' : '\n'))
            return RESP_BAD;
        reply->stage = reply->stage == BODY_CR ? BODY_LF : HEAD;
    }
    reply->pending--;
    return RESP_DONE;
}

/* One element that may be incomplete, or is wrong or uncommon. */
static NOINLINE enum resp_result read_element(struct resp_reply *reply, const char **at,
                                              const char *end)
{
    if (reply->stage == HEAD) {
        char type;
        bool null;
        uint64_t count;
        enum resp_result result = read_head(at, end, &type, &null, &count);

        if (result != RESP_DONE)
            return result;
        if (!take_head(reply, type, null, count))
            return RESP_BAD;
    }
    return reply->stage == HEAD ? RESP_DONE : read_body(reply, at, end);
}

/* The common case: a bulk string, a null or a line that is complete. Returns the position after it;
 * NULL: it is left to the function above. */
static ALWAYS_INLINE const char *whole_element(const char *at, const char *end)
{
    const char *start, *next = at + 1;
    size_t length;

    switch (*at) {
    case '$':
        if (end - next >= 4 && memcmp(next, "-1\r\n", 4) == 0)
            return next + 4;
        return resp_whole_bulk(next, end, RESP_COUNT_MAX, &start, &length);
    case '+':
    case '-':
    case ':':
        return read_line(&next, end) == RESP_DONE ? next : NULL;
    default:
        return NULL;
    }
}

static ALWAYS_INLINE enum resp_result walk(struct resp_reply *reply, const char **at,
                                           const char *end)
{
    while (reply->pending > 0) {
        const char *behind = reply->stage == HEAD && *at < end ? whole_element(*at, end) : NULL;

        if (behind != NULL) {
            if (reply->type == 0)
                reply->type = **at;
            reply->pending--;
            *at = behind;
            continue;
        }
        enum resp_result result = read_element(reply, at, end);
        if (result != RESP_DONE)
            return result;
    }
    reply->stage = END;
    return RESP_DONE;
}

enum resp_result resp_reply_feed(struct resp_reply *reply, const char *data, size_t length,
                                 size_t *used)
{
    const char *at = data;
    enum resp_result result = reply->stage == BROKEN ? RESP_BAD : walk(reply, &at, data + length);

    *used = (size_t)(at - data);
    return result == RESP_BAD ? broken(reply) : result;
}

uint64_t resp_reply_body_left(const struct resp_reply *reply)
{
    return reply->left;
}

void resp_reply_skip(struct resp_reply *reply, uint64_t length)
{
    assert(length <= reply->left);
    reply->left -= length;
}
