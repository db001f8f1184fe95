/* SPDX-License-Identifier: ISC */
/* Goal: whatever a memcached client sends, the parser reads what an independent reader reads,
 * however it is split, and whether or not keys are passed on early. */
#include <stdlib.h>
#include <string.h>

#include "memcached/memcached.h"
#include "memcached_judge.h"
#include "pieces.h"
#include "require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned seed; /* how the data are split */

static enum memcached_result parse(struct memcached_command *command, const char *data,
                                   size_t length)
{
    char *copy = pieces_copy(data, length);
    enum memcached_result result = memcached_command_parse(command, copy, length);

    free(copy);
    return result;
}

/* In pieces; with `early` keys are passed on as soon as possible. */
static enum memcached_result parse_cut(struct memcached_command *command, const char *data,
                                       size_t length, bool binary, bool early)
{
    enum memcached_result result = MEMCACHED_MORE;
    size_t begin = 0, end = 0;

    memcached_command_begin(command, binary);
    while (result == MEMCACHED_MORE && end < length) {
        end = pieces_next(end, length, &seed);
        result = parse(command, data + begin, end - begin);
        REQUIRE(result == MEMCACHED_MORE || command->passable == 0);
        if (early && command->passable > 0) {
            begin += command->passable;
            REQUIRE(begin <= end && data[begin - 1] == ' ');
            memcached_command_pass(command);
            REQUIRE(command->passed == begin);
        }
    }
    if (result == MEMCACHED_DONE)
        command->length += begin;
    return result;
}

static char framing(uint8_t reply)
{
    static const char letters[] = {
        [MEMCACHED_NONE] = '-',   [MEMCACHED_LINE] = 'l',         [MEMCACHED_VALUES] = 'v',
        [MEMCACHED_META] = 'm',   [MEMCACHED_STATS] = 's',        [MEMCACHED_SIZES] = 'z',
        [MEMCACHED_MN] = 'n',     [MEMCACHED_VERSION] = 'V',      [MEMCACHED_ANY] = 'a',
        [MEMCACHED_PACKET] = 'p', [MEMCACHED_STAT_PACKETS] = 'S', [MEMCACHED_SIZES_PACKET] = 'Z',
    };

    return letters[reply];
}

static void require_agreement(const struct memcached_command *command, enum memcached_result result,
                              enum judge_verdict verdict, const struct judge_command *judged)
{
    REQUIRE((result == MEMCACHED_DONE) == (verdict == JUDGE_WHOLE));
    REQUIRE((result == MEMCACHED_BAD) == (verdict == JUDGE_BAD));
    if (result == MEMCACHED_MORE)
        return;
    if (result == MEMCACHED_BAD) {
        REQUIRE(command->error);
        REQUIRE(command->close == judged->close);
        REQUIRE(command->swallow == judged->follows);
        REQUIRE(command->close || command->length == judged->length);
        return;
    }
    REQUIRE(command->length == judged->length);
    REQUIRE(command->value_left == judged->follows);
    REQUIRE(framing(command->reply) == judged->reply);
    REQUIRE(command->quiet == judged->quiet);
    REQUIRE(!(command->traits & MEMCACHED_READ) == !judged->reads);
    REQUIRE(!(command->traits & MEMCACHED_OPENS) == !judged->opens);
    REQUIRE(!(command->traits & MEMCACHED_QUIT) == !judged->quits);
    REQUIRE(!(command->traits & MEMCACHED_BARRIER) == !judged->barrier);
}

/* The same, however the data are split. */
static void require_same(const struct memcached_command *whole, enum memcached_result result,
                         const struct memcached_command *cut, enum memcached_result cut_result)
{
    if (cut->passed > 0 && cut_result == MEMCACHED_BAD) { /* part of the line has been passed on */
        REQUIRE(result != MEMCACHED_DONE && whole->error == cut->error);
        REQUIRE(cut->close && cut->swallow == 0);
        return;
    }
    REQUIRE(result == cut_result);
    REQUIRE(result != MEMCACHED_DONE || whole->length == cut->length);
    REQUIRE(whole->error == cut->error && whole->close == cut->close);
    REQUIRE(whole->swallow == cut->swallow && whole->value_left == cut->value_left);
    REQUIRE(whole->reply == cut->reply && whole->quiet == cut->quiet);
    REQUIRE(whole->opcode == cut->opcode && whole->opaque == cut->opaque);
}

/* The value, in pieces. Returns whether it is complete and valid; what has arrived of it is
 * skipped. */
static bool read_value(struct memcached_command *command, const char *data, size_t length,
                       bool binary)
{
    uint64_t value = command->value_left, end = binary ? 0 : 2;
    enum memcached_result result = value > 0 ? MEMCACHED_MORE : MEMCACHED_DONE;
    bool whole = length >= value;
    bool wrong = !binary && ((length + 1 >= value && value > 1 && data[value - 2] != '\r') ||
                             (whole && value > 0 && data[value - 1] != '\n'));
    size_t at = 0;

    while (result == MEMCACHED_MORE && at < length) {
        size_t piece = pieces_next(at, length, &seed) - at, used;
        uint64_t rest = memcached_command_value_rest(command);

        REQUIRE(command->value_left == value - at &&
                rest == (value - at > end ? value - at - end : 0));
        if (pieces_random(&seed) % 4 == 0) {
            used = rest < piece ? (size_t)rest : piece;
            memcached_command_value_skip(command, used);
            result = command->value_left > 0 ? MEMCACHED_MORE : MEMCACHED_DONE;
        } else {
            result = memcached_command_value(command, data + at, piece, &used);
        }
        REQUIRE(used <= piece);
        at += used;
    }
    REQUIRE(result == (wrong ? MEMCACHED_BAD : whole ? MEMCACHED_DONE : MEMCACHED_MORE));
    REQUIRE(result != MEMCACHED_DONE || at == value);
    return result == MEMCACHED_DONE;
}

/* One command; how many bytes it and its value have, or 0: nothing is read after it. */
static size_t read_command(const char *data, size_t length, bool binary)
{
    struct memcached_command whole, cut;
    struct judge_command judged;
    enum judge_verdict verdict = judge_command(&judged, data, length, binary);
    enum memcached_result result;

    memcached_command_begin(&whole, binary);
    result = parse(&whole, data, length);
    require_agreement(&whole, result, verdict, &judged);
    require_same(&whole, result, &cut, parse_cut(&cut, data, length, binary, false));
    require_same(&whole, result, &cut, parse_cut(&cut, data, length, binary, true));
    if (result == MEMCACHED_MORE || (result == MEMCACHED_BAD && whole.close))
        return 0;

    uint64_t follows = result == MEMCACHED_DONE ? whole.value_left : whole.swallow;
    if (result == MEMCACHED_DONE &&
        !read_value(&whole, data + whole.length, length - whole.length, binary))
        return 0;
    return length - whole.length >= follows ? whole.length + (size_t)follows : 0;
}

/* The first byte selects the protocol and the split. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;

    bool binary = data[0] & 1;
    const char *at = (const char *)data + 1, *end = (const char *)data + size;

    seed = data[0];
    while (at < end) {
        size_t length = read_command(at, (size_t)(end - at), binary);

        if (length == 0)
            break;
        at += length;
    }
    return 0;
}
