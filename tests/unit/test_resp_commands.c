/* SPDX-License-Identifier: ISC */
/* The table of commands: its order, what is found in it, what the rules of FRAMED need to know. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "resp/resp_commands.h"

/* A command of words, of which this many are announced; "~" means an empty one. */
static char text[4096];
static struct resp_command command;

static void parse(const char *words, unsigned announced)
{
    char copy[1024], *rest = copy;
    int length;

    assert_true(strlen(words) < sizeof(copy));
    memcpy(copy, words, strlen(words) + 1);
    length = snprintf(text, sizeof(text), "*%u\r\n", announced);
    for (const char *word; (word = strtok_r(rest, " ", &rest)) != NULL;) {
        word = strcmp(word, "~") == 0 ? "" : word;
        length += snprintf(text + length, sizeof(text) - (size_t)length, "$%zu\r\n%s\r\n",
                           strlen(word), word);
    }
    resp_command_begin(&command);
    (void)!resp_command_parse(&command, text, (size_t)length);
}

static unsigned count_words(const char *words)
{
    unsigned count = 1;

    for (; *words != '\0'; words++)
        count += *words == ' ';
    return count;
}

static const struct resp_known *classify(const char *words)
{
    parse(words, count_words(words));
    assert_int_equal(command.argc, command.announced);
    return resp_classify(&command, text);
}

struct class_case {
    const char *words;
    enum resp_effect effect;
    unsigned flags;
};

static const struct class_case cases[] = {
    {"GET k", RESP_PLAIN, RESP_READ},
    {"get k", RESP_PLAIN, RESP_READ},
    {"GeT k", RESP_PLAIN, RESP_READ},
    {"SET k v", RESP_PLAIN, RESP_WRITE},
    {"PING", RESP_PLAIN, 0},
    {"ECHO x", RESP_PLAIN, 0},
    {"INFO", RESP_PLAIN, 0},
    {"CONFIG GET save", RESP_PLAIN, 0},
    {"COMMAND", RESP_PLAIN, 0},
    {"COMMAND DOCS", RESP_PLAIN, 0},
    {"OBJECT ENCODING k", RESP_PLAIN, RESP_READ},
    {"OBJECT HELP", RESP_PLAIN, 0},
    {"XGROUP CREATE k g $", RESP_PLAIN, RESP_WRITE},
    {"GEORADIUS k 0 0 1 m", RESP_PLAIN, RESP_WRITE},
    {"GEORADIUS_RO k 0 0 1 m", RESP_PLAIN, RESP_READ},
    {"GEORADIUSBYMEMBER k m 1 m", RESP_PLAIN, RESP_WRITE},
    {"GEORADIUSBYMEMBER_RO k m 1 m", RESP_PLAIN, RESP_READ},
    {"CLUSTER COUNT-FAILURE-REPORTS x", RESP_PLAIN, 0},

    /* F4: no script is retried. R9: it may write. */
    {"EVAL x 0", RESP_PLAIN, RESP_WRITE},
    {"EVALSHA x 0", RESP_PLAIN, RESP_WRITE},
    {"FCALL f 0", RESP_PLAIN, RESP_WRITE},
    {"EVAL_RO x 0", RESP_PLAIN, 0},
    {"EVALSHA_RO x 0", RESP_PLAIN, 0},
    {"FCALL_RO f 0", RESP_PLAIN, 0},
    {"SCRIPT LOAD x", RESP_PLAIN, 0},

    /* R2, R4, R7, F6. */
    {"AUTH p", RESP_AUTH, RESP_WHOLE},
    {"HELLO 3", RESP_HELLO, RESP_WHOLE},
    {"SELECT 1", RESP_SELECT, RESP_WHOLE},
    {"CLIENT SETNAME n", RESP_CLIENT_SETNAME, RESP_OF_CLIENT | RESP_WHOLE},
    {"client setinfo lib-name x", RESP_CLIENT_SETINFO, RESP_OF_CLIENT | RESP_WHOLE},
    {"RESET", RESP_RESET, 0},
    {"QUIT", RESP_QUIT, 0},

    /* R5. */
    {"MULTI", RESP_MULTI, 0},
    {"EXEC", RESP_EXEC, RESP_WRITE},
    {"DISCARD", RESP_DISCARD, 0},
    {"WATCH k", RESP_WATCH, 0},
    {"UNWATCH", RESP_UNWATCH, 0},

    /* R6. */
    {"SUBSCRIBE c", RESP_TUNNEL, 0},
    {"PSUBSCRIBE c", RESP_TUNNEL, 0},
    {"SSUBSCRIBE c", RESP_TUNNEL, 0},
    {"UNSUBSCRIBE", RESP_TUNNEL, 0},
    {"PUNSUBSCRIBE", RESP_TUNNEL, 0},
    {"SUNSUBSCRIBE", RESP_TUNNEL, 0},
    {"MONITOR", RESP_TUNNEL, 0},
    {"SYNC", RESP_TUNNEL, 0},
    {"PSYNC ? -1", RESP_TUNNEL, 0},
    {"REPLCONF ACK 1", RESP_TUNNEL, 0},
    {"ASKING", RESP_TUNNEL, 0},
    {"READONLY", RESP_TUNNEL, 0},
    {"READWRITE", RESP_TUNNEL, 0},
    {"SCRIPT DEBUG YES", RESP_TUNNEL, 0},
    {"DEBUG SLEEP 0", RESP_TUNNEL, 0},
    {"SHUTDOWN", RESP_TUNNEL, 0},
    {"CLIENT REPLY OFF", RESP_TUNNEL, RESP_OF_CLIENT},
    {"CLIENT TRACKING ON", RESP_TUNNEL, RESP_OF_CLIENT},
    {"CLIENT CACHING YES", RESP_TUNNEL, RESP_OF_CLIENT},
    {"CLIENT ID", RESP_TUNNEL, RESP_OF_CLIENT},
    {"CLIENT GETREDIR", RESP_TUNNEL, RESP_OF_CLIENT},
    {"CLIENT NO-EVICT ON", RESP_TUNNEL, RESP_OF_CLIENT},
    {"CLIENT NO-TOUCH ON", RESP_TUNNEL, RESP_OF_CLIENT},
    {"CLIENT TRACKINGINFO", RESP_TUNNEL, RESP_OF_CLIENT},
    {"CLIENT CAPA redirect", RESP_TUNNEL, RESP_OF_CLIENT},
    {"CLIENT GETNAME", RESP_PLAIN, RESP_OF_CLIENT},
    {"CLIENT LIST", RESP_PLAIN, RESP_OF_CLIENT},
    {"CLIENT INFO", RESP_PLAIN, RESP_OF_CLIENT},
    {"CLIENT KILL ID 1", RESP_PLAIN, RESP_OF_CLIENT},
    {"CLIENT PAUSE 1", RESP_PLAIN, RESP_OF_CLIENT},
    {"CLIENT UNPAUSE", RESP_PLAIN, RESP_OF_CLIENT},
    {"CLIENT UNBLOCK 1", RESP_PLAIN, RESP_OF_CLIENT},
    {"CLIENT HELP", RESP_PLAIN, RESP_OF_CLIENT},
    {"CLIENT", RESP_PLAIN, RESP_OF_CLIENT},

    /* R6: not in the table. */
    {"CLIENT NONE", RESP_TUNNEL, RESP_UNKNOWN},
    {"CLIENT ~", RESP_TUNNEL, RESP_UNKNOWN},
    {"CONFIG NONE", RESP_TUNNEL, RESP_UNKNOWN},
    {"CLUSTER ADDSLOTSX", RESP_TUNNEL, RESP_UNKNOWN},
    {"CLUSTER ADDSLOT", RESP_TUNNEL, RESP_UNKNOWN},
    {"CLIENT|SETNAME n", RESP_TUNNEL, RESP_UNKNOWN},
    {"FT.SEARCH i q", RESP_TUNNEL, RESP_UNKNOWN},
    {"~", RESP_TUNNEL, RESP_UNKNOWN},
    {"~ GET", RESP_TUNNEL, RESP_UNKNOWN},
    {"G", RESP_TUNNEL, RESP_UNKNOWN},
    {"GE", RESP_TUNNEL, RESP_UNKNOWN},
    {"GETS k", RESP_TUNNEL, RESP_UNKNOWN},
    {"GETRANG k", RESP_TUNNEL, RESP_UNKNOWN},
    {"GETRANGES k", RESP_TUNNEL, RESP_UNKNOWN},
    {"GEORADIUS_ k", RESP_TUNNEL, RESP_UNKNOWN},
    {"GEORADIUSBYMEMBER_RP k", RESP_TUNNEL, RESP_UNKNOWN},
    {"GEORADIUSBYMEMBER_ROX k", RESP_TUNNEL, RESP_UNKNOWN},
    {"GEORADIU k", RESP_TUNNEL, RESP_UNKNOWN},
    {"JSON.GET k", RESP_TUNNEL, RESP_UNKNOWN},
    {"YES", RESP_TUNNEL, RESP_UNKNOWN},
    {"1", RESP_TUNNEL, RESP_UNKNOWN},
    {"{ET k", RESP_TUNNEL, RESP_UNKNOWN},
    {"`ET k", RESP_TUNNEL, RESP_UNKNOWN},
    {"\xe7"
     "et k",
     RESP_TUNNEL, RESP_UNKNOWN},
    {"g\xe5t k", RESP_TUNNEL, RESP_UNKNOWN},
    {"bitfield\x7fro k", RESP_TUNNEL, RESP_UNKNOWN}, /* "_" and 0x20 */
    {"host\x1a", RESP_TUNNEL, RESP_UNKNOWN},         /* ":" without 0x20 */
    {"client no\revict on", RESP_TUNNEL, RESP_UNKNOWN},

    /* R8. */
    {"BLPOP k 0", RESP_BLOCKS, RESP_WRITE},
    {"BRPOP k 0", RESP_BLOCKS, RESP_WRITE},
    {"BRPOPLPUSH a b 0", RESP_BLOCKS, RESP_WRITE},
    {"BLMOVE a b LEFT LEFT 0", RESP_BLOCKS, RESP_WRITE},
    {"BLMPOP 0 1 k LEFT", RESP_BLOCKS, RESP_WRITE},
    {"BZPOPMIN k 0", RESP_BLOCKS, RESP_WRITE},
    {"BZPOPMAX k 0", RESP_BLOCKS, RESP_WRITE},
    {"BZMPOP 0 1 k MIN", RESP_BLOCKS, RESP_WRITE},
    {"XREAD BLOCK 0 STREAMS k $", RESP_BLOCKS, 0},
    {"xread count 1 block 0 streams k $", RESP_BLOCKS, 0},
    {"XREAD STREAMS k 0", RESP_PLAIN, RESP_READ},
    {"XREAD COUNT 1 STREAMS block 0", RESP_PLAIN, RESP_READ},
    {"xread count 1 streams k 0", RESP_PLAIN, RESP_READ},
    {"XREAD COUNT BLOCK STREAMS k 0", RESP_PLAIN, RESP_READ}, /* not a number: an error */
    {"XREADGROUP GROUP g c STREAMS k 0", RESP_PLAIN, RESP_WRITE},
    {"XREADGROUP GROUP BLOCK BLOCK NOACK STREAMS k 0", RESP_PLAIN, RESP_WRITE},
    {"XREADGROUP GROUP STREAMS c BLOCK 0 STREAMS k >", RESP_BLOCKS, RESP_WRITE},
    {"XREADGROUP GROUP g c COUNT 1 BLOCK 0 NOACK STREAMS k >", RESP_BLOCKS, RESP_WRITE},
    {"XREADGROUP NOACK BLOCK 0 GROUP g c STREAMS k >", RESP_BLOCKS, RESP_WRITE},
    {"XREAD", RESP_BLOCKS, 0}, /* what is not understood may block */
    {"XREAD COUNT", RESP_BLOCKS, 0},
    {"XREAD LATER 1 STREAMS k 0", RESP_BLOCKS, 0},
    {"XREAD COUNT 1 COUNT 1 COUNT 1 COUNT 1 COUNT 1 COUNT 1 STREAMS k 0", RESP_PLAIN, RESP_READ},
    {"XREAD COUNT 1 COUNT 1 COUNT 1 COUNT 1 COUNT 1 COUNT 1 COUNT 1 STREAMS k 0", RESP_PLAIN,
     RESP_READ},
    {"XREAD COUNT 1 COUNT 1 COUNT 1 COUNT 1 COUNT 1 COUNT 1 COUNT 1 COUNT 1 STREAMS k 0",
     RESP_BLOCKS, 0},
    {"XREAD COUNT 1 COUNT 1 COUNT 1 COUNT 1 COUNT 1 COUNT 1 COUNT 1 BLOCK 0 STREAMS k 0",
     RESP_BLOCKS, 0},

    /* R9. */
    {"WAIT 1 0", RESP_WAIT, 0},
    {"WAITAOF 1 0 0", RESP_WAIT, 0},
    {"PUBLISH c x", RESP_PLAIN, RESP_WRITE},
    {"PFCOUNT k", RESP_PLAIN, RESP_READ | RESP_WRITE},

    /* F7. */
    {"POST / HTTP/1.1", RESP_CLOSE, 0},
    {"Host: a", RESP_CLOSE, 0},
};

static const struct class_case *current; /* the case that is being checked */

static void test_classes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        current = &cases[i];
        const struct resp_known *known = classify(current->words);

        assert_int_equal(known->effect, current->effect);
        assert_int_equal(known->flags, current->flags);
    }
    current = NULL;
}

static int name_failed_case(void **state)
{
    (void)state;
    if (current)
        fprintf(stderr, "# %s\n", current->words);
    current = NULL;
    return 0;
}

/* A name ends where its argument ends. */
static void test_nul(void **state)
{
    static const char nul[] = "*1\r\n$4\r\nGET\0\r\n";

    (void)state;
    resp_command_begin(&command);
    assert_int_equal(resp_command_parse(&command, nul, sizeof(nul) - 1), RESP_DONE);
    assert_int_equal(resp_classify(&command, nul)->flags, RESP_UNKNOWN);

    /* The server's strcasecmp takes this for BLOCK. */
    static const char block[] =
        "*6\r\n$5\r\nXREAD\r\n$7\r\nBLOCK\0x\r\n$1\r\n0\r\n$7\r\nSTREAMS\r\n"
        "$1\r\nk\r\n$1\r\n0\r\n";
    resp_command_begin(&command);
    assert_int_equal(resp_command_parse(&command, block, sizeof(block) - 1), RESP_DONE);
    assert_int_equal(resp_classify(&command, block)->effect, RESP_BLOCKS);
}

static uint64_t key_of(const char *name)
{
    uint64_t key = 0;

    for (size_t i = 0; i < 8; i++)
        key = key << 8 | (unsigned char)(i < strlen(name) ? name[i] : '\0');
    return key;
}

static void check_list(const struct resp_known *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(list[i].length, strlen(list[i].name));
        assert_true(list[i].key == key_of(list[i].name));
        assert_true(i == 0 || strcmp(list[i - 1].name, list[i].name) < 0);
        for (const char *c = list[i].name; *c != '\0'; c++)
            assert_false(*c >= 'A' && *c <= 'Z');
    }
}

/* Sorted, with correct keys, and each is found, in capitals as well. */
static void check_command(const struct resp_known *known)
{
    char words[128];

    assert_string_equal(classify(known->name)->name, known->name);
    check_list(known->others, known->other_count);
    for (size_t i = 0; i < known->other_count && known->effect != RESP_BLOCKS; i++) {
        snprintf(words, sizeof(words), "%s %s x", known->name, known->others[i].name);
        for (char *c = words; *c != '\0'; c++)
            *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
        assert_ptr_equal(classify(words), &known->others[i]);
    }
}

static void test_table(void **state)
{
    size_t count = 0;

    (void)state;
    for (size_t letter = 0; letter < ARRAY_LEN(resp_letters); letter++) {
        const struct resp_known *list = resp_letters[letter].list;

        check_list(list, resp_letters[letter].count);
        count += resp_letters[letter].count;
        for (size_t i = 0; i < resp_letters[letter].count; i++) {
            assert_int_equal(list[i].name[0], 'a' + (int)letter);
            check_command(&list[i]);
        }
    }
    assert_true(count > 250);
}

/* The words are there, more are announced. */
static bool may_be_incomplete(const char *words)
{
    parse(words, 20);
    return resp_may_be_incomplete(&command, text);
}

static void test_incomplete(void **state)
{
    (void)state;
    parse("", 3);
    assert_int_equal(command.argc, 0);
    assert_int_equal(resp_classify(&command, text)->flags, RESP_UNKNOWN);
    assert_false(resp_may_be_incomplete(&command, text));

    assert_true(may_be_incomplete("SET k"));
    assert_true(may_be_incomplete("GET"));
    assert_true(may_be_incomplete("NONE"));
    assert_true(may_be_incomplete("WATCH k"));
    assert_true(may_be_incomplete("BLPOP k"));
    assert_false(may_be_incomplete("AUTH user"));
    assert_false(may_be_incomplete("HELLO 3"));
    assert_false(may_be_incomplete("SELECT"));
    assert_false(may_be_incomplete("CLIENT"));
    assert_false(may_be_incomplete("CLIENT SETNAME"));
    assert_true(may_be_incomplete("CLIENT LIST"));
    assert_true(may_be_incomplete("CLIENT NONE"));
    assert_false(may_be_incomplete("CONFIG"));
    assert_true(may_be_incomplete("CONFIG SET"));
    assert_false(may_be_incomplete("XREAD"));
    assert_false(may_be_incomplete("XREAD COUNT 1"));
    assert_true(may_be_incomplete("XREAD BLOCK"));
    assert_true(may_be_incomplete("XREAD COUNT 1 STREAMS k"));
    assert_true(may_be_incomplete("XREAD COUNT 1 COUNT 1 COUNT 1 COUNT 1 COUNT 1 COUNT 1 COUNT 1 "
                                  "COUNT 1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_classes, name_failed_case),
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_incomplete),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
