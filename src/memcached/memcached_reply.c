/* SPDX-License-Identifier: ISC */
/* Replies of the text protocol. */
#include "memcached/memcached_internal.h"

void memcached_reply_begin(struct memcached_reply *reply, const struct memcached_expect *expect)
{
    *reply = (struct memcached_reply){.expect = *expect, .sure = true};
}

static bool is_binary(const struct memcached_reply *reply)
{
    return reply->expect.reply >= MEMCACHED_PACKET;
}

bool memcached_reply_started(const struct memcached_reply *reply)
{
    return reply->stage != REPLY_START;
}

static bool is_capital(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool word_is(const char *line, size_t length, const char *word)
{
    return length == strlen(word) && memcmp(line, word, length) == 0;
}

enum memcached_line memcached_line_find(const char *line, size_t length)
{
    const char *blank = memchr(line, ' ', length);
    size_t word = blank ? (size_t)(blank - line) : length;

    if (word == 2 && is_capital(line[0]) && is_capital(line[1])) {
        if (memcmp(line, "VA", 2) == 0)
            return MEMCACHED_LINE_VA;
        if (memcmp(line, "MN", 2) == 0)
            return MEMCACHED_LINE_MN;
        return memcmp(line, "OK", 2) == 0 ? MEMCACHED_LINE_OTHER : MEMCACHED_LINE_META;
    }
    if (word_is(line, length, "END"))
        return MEMCACHED_LINE_END;
    if (word_is(line, word, "VALUE"))
        return MEMCACHED_LINE_VALUE;
    if (word_is(line, word, "ERROR") || word_is(line, word, "ERROR:") ||
        word_is(line, word, "CLIENT_ERROR") || word_is(line, word, "SERVER_ERROR"))
        return MEMCACHED_LINE_ERROR;
    if (word_is(line, word, "STAT") || word_is(line, word, "ITEM") || word_is(line, word, "PREFIX"))
        return MEMCACHED_LINE_STAT;
    return word_is(line, word, "VERSION") ? MEMCACHED_LINE_VERSION : MEMCACHED_LINE_OTHER;
}

/* A 64-bit number in a line, after a blank. Returns the position after it, or NULL: it is not
 * one. */
static ALWAYS_INLINE const char *take_number(const char *at, const char *end, uint64_t *number)
{
    uint64_t value = 0;
    const char *digits = at + 1;

    if (at == end || *at != ' ')
        return NULL;
    for (at = digits; at < end && (unsigned char)(*at - '0') <= 9; at++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return NULL;
    *number = value;
    return at > digits ? at : NULL;
}

/* A block of this many bytes follows, and CRLF. */
static bool take_block(struct memcached_reply *reply, uint64_t length, bool is_last)
{
    if (length > INT32_MAX)
        return false;
    reply->left = length + 2;
    reply->stage = is_last ? REPLY_LAST_BLOCK : REPLY_BLOCK;
    return true;
}

/* VALUE <key> <flags> <bytes> [<cas>] */
static bool take_value(struct memcached_reply *reply, const char *line, size_t length)
{
    const char *key = line + strlen("VALUE "), *end = line + length;
    const char *at = key < end ? memchr(key, ' ', (size_t)(end - key)) : NULL;
    uint64_t flags, bytes, cas;

    if (!at || at == key || at - key > MEMCACHED_KEY_MAX)
        return false;
    at = take_number(at, end, &flags);
    at = at ? take_number(at, end, &bytes) : NULL;
    if (at && at < end)
        at = take_number(at, end, &cas);
    return at == end && take_block(reply, bytes, reply->expect.reply == MEMCACHED_ANY);
}

/* VA <bytes> <flag>* */
static bool take_va(struct memcached_reply *reply, const char *line, size_t length)
{
    const char *end = line + length;
    uint64_t bytes;
    const char *at = take_number(line + strlen("VA"), end, &bytes);

    return at && (at == end || *at == ' ') && take_block(reply, bytes, true);
}

/* An error line ends any reply. If it concerns a value, the value may have been run as commands, or
 * will be, unless it is known to have been discarded. */
static enum memcached_result take_error(struct memcached_reply *reply, const char *line,
                                        size_t length)
{
    reply->is_error = true;
    reply->sure = !(reply->expect.traits & MEMCACHED_VALUED) ||
                  word_is(line, length, "SERVER_ERROR object too large for cache") ||
                  word_is(line, length, "SERVER_ERROR out of memory storing object");
    reply->stage = REPLY_DONE;
    return MEMCACHED_DONE;
}

static enum memcached_result done_if(struct memcached_reply *reply, bool fits)
{
    reply->stage = fits ? REPLY_DONE : REPLY_BAD;
    return fits ? MEMCACHED_DONE : MEMCACHED_BAD;
}

static enum memcached_result more_if(struct memcached_reply *reply, bool fits)
{
    if (!fits)
        reply->stage = REPLY_BAD;
    else if (reply->stage == REPLY_START)
        reply->stage = REPLY_LINES;
    return fits ? MEMCACHED_MORE : MEMCACHED_BAD;
}

static enum memcached_result take_stat(struct memcached_reply *reply, enum memcached_line kind)
{
    if (kind == MEMCACHED_LINE_STAT)
        return more_if(reply, true);
    return done_if(reply, kind == MEMCACHED_LINE_END ||
                              (kind == MEMCACHED_LINE_OTHER && reply->stage == REPLY_START));
}

/* stats sizes_enable: a second line gives the reason for a failure. */
static enum memcached_result take_sizes(struct memcached_reply *reply, enum memcached_line kind,
                                        const char *line, size_t length)
{
    if (reply->stage == REPLY_START && word_is(line, length, "STAT sizes_status error"))
        return more_if(reply, true);
    return done_if(reply, kind == MEMCACHED_LINE_STAT);
}

static enum memcached_result take_meta(struct memcached_reply *reply, enum memcached_line kind,
                                       const char *line, size_t length)
{
    if (kind == MEMCACHED_LINE_VA)
        return more_if(reply, take_va(reply, line, length));
    /* Older servers say OK instead of HD. */
    return done_if(reply, kind == MEMCACHED_LINE_META || word_is(line, length, "OK") ||
                              (length > 2 && memcmp(line, "OK ", 3) == 0));
}

static enum memcached_result take_any(struct memcached_reply *reply, enum memcached_line kind,
                                      const char *line, size_t length)
{
    if (kind == MEMCACHED_LINE_VALUE)
        return more_if(reply, take_value(reply, line, length));
    if (kind == MEMCACHED_LINE_VA)
        return more_if(reply, take_va(reply, line, length));
    return done_if(reply, true);
}

static enum memcached_result take_line(struct memcached_reply *reply, const char *line,
                                       size_t length)
{
    enum memcached_line kind = length >= 6 && memcmp(line, "VALUE ", 6) == 0
                                   ? MEMCACHED_LINE_VALUE /* most are */
                                   : memcached_line_find(line, length);

    reply->line = (uint8_t)kind;
    if (kind == MEMCACHED_LINE_ERROR)
        return take_error(reply, line, length);
    switch (reply->expect.reply) {
    case MEMCACHED_LINE:
        return done_if(reply, kind == MEMCACHED_LINE_OTHER && length > 0);
    case MEMCACHED_VALUES:
        if (kind == MEMCACHED_LINE_VALUE)
            return more_if(reply, take_value(reply, line, length));
        return done_if(reply, kind == MEMCACHED_LINE_END);
    case MEMCACHED_META:
        return take_meta(reply, kind, line, length);
    case MEMCACHED_STATS:
        return take_stat(reply, kind);
    case MEMCACHED_SIZES:
        return take_sizes(reply, kind, line, length);
    case MEMCACHED_MN:
        return done_if(reply, kind == MEMCACHED_LINE_MN);
    case MEMCACHED_VERSION:
        return done_if(reply, kind == MEMCACHED_LINE_VERSION);
    default:
        return take_any(reply, kind, line, length);
    }
}

/* A block must end with CRLF. */
static enum memcached_result feed_block(struct memcached_reply *reply, const char *data,
                                        size_t length, size_t *used)
{
    size_t at = length < reply->left ? length : (size_t)reply->left;

    *used += at;
    reply->left -= at;
    for (uint64_t rest = reply->left; rest < 2 && at > 0; rest++)
        if (data[--at] != "\n\r"[rest])
            return done_if(reply, false);
    if (reply->left > 0)
        return MEMCACHED_MORE;
    if (reply->stage == REPLY_LAST_BLOCK)
        return done_if(reply, true);
    reply->stage = REPLY_LINES;
    return MEMCACHED_MORE;
}

static enum memcached_result feed_line(struct memcached_reply *reply, const char *data,
                                       size_t length, size_t *used)
{
    size_t end = length < MEMCACHED_REPLY_LINE_MAX ? length : MEMCACHED_REPLY_LINE_MAX;
    const char *lf =
        end > reply->scanned ? memchr(data + reply->scanned, '\n', end - reply->scanned) : NULL;

    if (!lf) {
        reply->scanned = (uint32_t)end;
        return end == MEMCACHED_REPLY_LINE_MAX ? done_if(reply, false) : MEMCACHED_MORE;
    }
    if (lf == data || lf[-1] != '\r')
        return done_if(reply, false);
    reply->scanned = 0;
    *used += (size_t)(lf + 1 - data);
    return take_line(reply, data, (size_t)(lf - 1 - data));
}

/* The frequent lines, with the same meaning as in the table, but without a search in it. Returns
 * the line's length, or 0. */
static ALWAYS_INLINE size_t find_plain(const struct memcached_reply *reply, const char *data,
                                       size_t length)
{
    if (reply->expect.reply == MEMCACHED_VALUES && length >= strlen("END\r\n") &&
        memcmp(data, "END\r\n", strlen("END\r\n")) == 0)
        return strlen("END\r\n");
    if (reply->expect.reply == MEMCACHED_LINE && length >= strlen("STORED\r\n") &&
        memcmp(data, "STORED\r\n", strlen("STORED\r\n")) == 0)
        return strlen("STORED\r\n");
    return 0;
}

static ALWAYS_INLINE enum memcached_result
feed_any_line(struct memcached_reply *reply, const char *data, size_t length, size_t *used)
{
    size_t plain = find_plain(reply, data, length);

    if (plain == 0)
        return feed_line(reply, data, length, used);
    *used += plain;
    reply->line =
        reply->expect.reply == MEMCACHED_VALUES ? MEMCACHED_LINE_END : MEMCACHED_LINE_OTHER;
    return done_if(reply, true);
}

static enum memcached_result feed_text(struct memcached_reply *reply, const char *data,
                                       size_t length, size_t *used)
{
    enum memcached_result result = MEMCACHED_MORE;

    if (reply->expect.reply == MEMCACHED_NONE)
        return done_if(reply, true);
    while (result == MEMCACHED_MORE && *used < length) {
        size_t before = *used;

        if (reply->left > 0)
            result = feed_block(reply, data + before, length - before, used);
        else
            result = feed_any_line(reply, data + before, length - before, used);
        if (*used == before)
            break; /* an incomplete line */
    }
    return result;
}

enum memcached_result memcached_reply_feed(struct memcached_reply *reply, const char *data,
                                           size_t length, size_t *used)
{
    *used = 0;
    if (reply->stage == REPLY_DONE)
        return MEMCACHED_DONE;
    if (reply->stage == REPLY_BAD)
        return MEMCACHED_BAD;

    enum memcached_result result = is_binary(reply)
                                       ? memcached_packets_feed(reply, data, length, used)
                                       : feed_text(reply, data, length, used);

    if (result == MEMCACHED_BAD)
        reply->stage = REPLY_BAD;
    return result;
}

uint64_t memcached_reply_rest(const struct memcached_reply *reply)
{
    uint64_t end = is_binary(reply) ? 0 : 2;

    return reply->left > end ? reply->left - end : 0;
}

void memcached_reply_skip(struct memcached_reply *reply, uint64_t length)
{
    reply->left -= length;
}
