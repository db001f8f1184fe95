/* SPDX-License-Identifier: ISC */
/* Goal: whatever a Redis server sends, replies end where an independent reading ends them, however
 * the bytes are split. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pieces.h"
#include "redis_reference.h"
#include "require.h"
#include "resp/resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Perhaps skips some of a bulk string that has arrived, uninterpreted. */
static size_t skip_some(struct resp_reply *reply, size_t there, unsigned *random)
{
    uint64_t left = resp_reply_body_left(reply);
    size_t length = left < there ? (size_t)left : there;

    if (length == 0 || pieces_random(random) % 2 == 0)
        return 0;
    length = pieces_random(random) % (length + 1);
    resp_reply_skip(reply, length);
    return length;
}

/* In pieces; `random` 0: all at once. *at: how much was consumed. */
static enum resp_result read_reply(const char *data, size_t length, unsigned random, size_t *at)
{
    size_t end = random == 0 ? length : pieces_next(0, length, &random);
    struct resp_reply reply;

    *at = 0;
    resp_reply_begin(&reply);
    for (;;) {
        size_t used;
        char *copy = pieces_copy(data + *at, end - *at);
        enum resp_result result = resp_reply_feed(&reply, copy, end - *at, &used);

        free(copy);
        REQUIRE(used <= end - *at);
        *at += used;
        REQUIRE(result == RESP_MORE || resp_reply_body_left(&reply) == 0);
        REQUIRE(result != RESP_DONE || reply.type == data[0]);
        if (result != RESP_MORE || end == length)
            return result;
        end = pieces_next(end, length, &random);
        *at += skip_some(&reply, end - *at, &random);
    }
}

/* The first line agrees with the whole. */
static void require_head(const char *data, size_t length, enum redis_verdict verdict)
{
    char *copy = pieces_copy(data, length);
    struct resp_head head;
    enum resp_result result = resp_head_parse(&head, copy, length);

    REQUIRE(verdict != REDIS_WHOLE || result == RESP_DONE);
    REQUIRE(result != RESP_BAD || verdict == REDIS_BAD);
    REQUIRE(result != RESP_MORE || verdict == REDIS_MORE);
    if (result == RESP_DONE) {
        const char *end = memchr(copy, '\n', length);

        REQUIRE(end != NULL && head.size == (size_t)(end - copy) + 1);
        REQUIRE(head.type == copy[0] && head.line == copy + 1 && head.length + 3 == head.size);
        REQUIRE(copy[head.size - 2] == '\r');
        REQUIRE(head.null == (head.type == '_' || (strchr("$*", head.type) && copy[1] == '-')));

        bool counts = !head.null && strchr("$*!=~>%|", head.type);
        uint64_t count = counts ? strtoull(copy + 1, NULL, 10) : 0;
        REQUIRE(head.count == (strchr("%|", head.type) ? 2 * count : count));
    }
    free(copy);
}

/* The data are what one server sends: one reply after the other. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum redis_verdict verdict = REDIS_WHOLE;

    for (size_t at = 0, taken, other, length; verdict == REDIS_WHOLE && at < size; at += taken) {
        const char *next = (const char *)data + at;

        verdict = redis_read_reply(next, size - at, &length);
        enum resp_result expected = verdict == REDIS_WHOLE  ? RESP_DONE
                                    : verdict == REDIS_MORE ? RESP_MORE
                                                            : RESP_BAD;

        require_head(next, size - at, verdict);
        REQUIRE(read_reply(next, size - at, 0, &taken) == expected);
        REQUIRE(verdict != REDIS_WHOLE || taken == length);
        for (unsigned seed = 1; seed < 4; seed++) {
            REQUIRE(read_reply(next, size - at, seed * 7919 + (unsigned)size, &other) == expected);
            REQUIRE(verdict == REDIS_BAD || other == taken);
        }
    }
    return 0;
}
