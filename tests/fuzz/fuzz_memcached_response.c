/* SPDX-License-Identifier: ISC */
/* Goal: whatever a memcached server replies, the parser reads what an independent reader reads,
 * however it is split. */
#include <stdlib.h>
#include <string.h>

#include "memcached/memcached.h"
#include "memcached_judge.h"
#include "pieces.h"
#include "require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned seed; /* how the data are split */

/* What was requested. */
static const struct {
    struct memcached_expect expect;
    char reply;
} commands[] = {
    {{.reply = MEMCACHED_LINE}, 'l'},
    {{.reply = MEMCACHED_LINE, .traits = MEMCACHED_VALUED}, 'l'},
    {{.reply = MEMCACHED_VALUES}, 'v'},
    {{.reply = MEMCACHED_META}, 'm'},
    {{.reply = MEMCACHED_META, .traits = MEMCACHED_VALUED}, 'm'},
    {{.reply = MEMCACHED_STATS}, 's'},
    {{.reply = MEMCACHED_SIZES}, 'z'},
    {{.reply = MEMCACHED_MN}, 'n'},
    {{.reply = MEMCACHED_VERSION}, 'V'},
    {{.reply = MEMCACHED_ANY}, 'a'},
    {{.reply = MEMCACHED_NONE}, '-'},
    {{.reply = MEMCACHED_PACKET, .opcode = 0x00, .has_body = true}, 'p'},
    {{.reply = MEMCACHED_PACKET, .opcode = 0x0a}, 'p'},
    {{.reply = MEMCACHED_STAT_PACKETS, .opcode = 0x10}, 'S'},
    {{.reply = MEMCACHED_SIZES_PACKET, .opcode = 0x10, .has_body = true}, 'Z'},
};

/* All of it, or in pieces; what was not consumed is passed again, followed by more. */
static enum memcached_result read_reply(struct memcached_reply *reply, const char *data,
                                        size_t length, bool cut, size_t *taken)
{
    enum memcached_result result = MEMCACHED_MORE;
    size_t at = 0, end = 0;

    do {
        end = cut ? pieces_next(end, length, &seed) : length;

        uint64_t rest = memcached_reply_rest(reply);
        size_t used = rest < end - at ? (size_t)rest : end - at;

        if (cut && pieces_random(&seed) % 4 == 0) {
            memcached_reply_skip(reply, used);
            at += used;
        }
        char *copy = pieces_copy(data + at, end - at);

        result = memcached_reply_feed(reply, copy, end - at, &used);
        free(copy);
        REQUIRE(used <= end - at);
        at += used;
    } while (result == MEMCACHED_MORE && end < length);
    *taken = at;
    return result;
}

static void require_agreement(const struct memcached_reply *reply, enum memcached_result result,
                              size_t taken, enum judge_verdict verdict,
                              const struct judge_reply *judged)
{
    REQUIRE((result == MEMCACHED_DONE) == (verdict == JUDGE_WHOLE));
    REQUIRE((result == MEMCACHED_BAD) == (verdict == JUDGE_BAD));
    if (result != MEMCACHED_DONE)
        return;
    REQUIRE(taken == judged->length);
    REQUIRE(reply->is_error == judged->is_error);
    REQUIRE(reply->sure == judged->sure);
}

/* The first byte selects the command, the second how the data are split; each further reply is to
 * the same command. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;

    size_t which = data[0] % (sizeof(commands) / sizeof(commands[0]));
    const struct memcached_expect *expect = &commands[which].expect;
    const char *at = (const char *)data + 2, *end = (const char *)data + size;
    enum judge_verdict verdict = JUDGE_WHOLE;

    seed = data[1];
    while (verdict == JUDGE_WHOLE && at < end) {
        struct judge_reply judged = {.reply = commands[which].reply,
                                     .valued = expect->traits & MEMCACHED_VALUED,
                                     .has_body = expect->has_body,
                                     .opcode = expect->opcode,
                                     .opaque = "\0\0\0"};
        struct memcached_reply reply;
        size_t taken;

        verdict = judge_reply(&judged, at, (size_t)(end - at));
        for (int cut = 0; cut < 2; cut++) {
            memcached_reply_begin(&reply, expect);
            enum memcached_result result = read_reply(&reply, at, (size_t)(end - at), cut, &taken);
            require_agreement(&reply, result, taken, verdict, &judged);
        }
        if (verdict == JUDGE_WHOLE && judged.length == 0)
            break;
        at += judged.length;
    }
    return 0;
}
