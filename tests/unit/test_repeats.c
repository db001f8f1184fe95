/* SPDX-License-Identifier: ISC */
/* Messages that are repeated: the first is logged, the others are counted and summed up, and none
 * is lost. */
#include "support/log_fixture.h"

#include <stdio.h>
#include <string.h>

#include "net/repeats.h"

static struct loop *loop;
static struct repeats repeats;

static void set_up(struct fixture *f, enum log_level level)
{
    open_messages(f->file, level);
    loop = loop_new();
    assert_non_null(loop);
    repeats_init(&repeats, loop);
}

static void tear_down(void)
{
    repeats_clear(&repeats);
    loop_free(loop);
}

static void pass(usec_t by)
{
    loop_warp(loop, by);
    loop_iterate(loop, 0);
    loop_iterate(loop, 0);
}

static bool happen(const struct repeat_key *key, const char *client)
{
    if (!repeats_admit(&repeats, LOG_LEVEL_WARNING, key))
        return false;
    repeats_log(&repeats, LOG_LEVEL_WARNING, key, key->place, client, key->text);
    return true;
}

static const struct repeat_key refused = {
    .place = "failed:", .function = "connect", .number = 111, .text = "refused"};

#define LINE HEAD " warning: failed: "

static void first_is_logged_others_are_counted(void **state)
{
    struct fixture *f = *state;
    set_up(f, LOG_LEVEL_NOTICE);
    assert_true(happen(&refused, "a"));
    for (int i = 0; i < 37; i++)
        assert_false(happen(&refused, "b"));
    assert_matches(content(f, f->file), "^" HEAD " warning: failed: client=a refused\n$");
    pass(REPEATS_SPAN);
    assert_matches(content(f, f->file),
                   "^[^\n]*\n" HEAD " warning: failed: client=\\* refused "
                   "\\(37 more like this in 10 s, the last one 10 s ago\\)\n$");
    tear_down();
}

static void sums_go_on_until_it_is_quiet(void **state)
{
    struct fixture *f = *state;
    set_up(f, LOG_LEVEL_NOTICE);
    happen(&refused, NULL);
    happen(&refused, NULL);
    pass(REPEATS_SPAN);
    assert_false(happen(&refused, NULL));
    pass(REPEATS_SPAN);
    pass(REPEATS_SPAN);
    assert_false(loop_timer_is_set(&repeats.timer));
    assert_true(happen(&refused, NULL));
    assert_matches(content(f, f->file), "^" LINE "refused\n" LINE "refused \\(1 more [^\n]*\n" LINE
                                        "refused \\(1 more [^\n]*\n" LINE "refused\n$");
    tear_down();
}

static void nothing_is_lost_at_the_end(void **state)
{
    struct fixture *f = *state;
    set_up(f, LOG_LEVEL_NOTICE);
    for (int i = 0; i < 3; i++)
        happen(&refused, NULL);
    tear_down();
    assert_matches(content(f, f->file),
                   "^[^\n]*\n" LINE "refused \\(2 more like this in [01] s\\)\n$");
}

static void kinds_are_told_apart(void **state)
{
    struct fixture *f = *state;
    struct repeat_key other = refused;
    set_up(f, LOG_LEVEL_NOTICE);
    assert_true(happen(&refused, NULL));
    other.place = "other:";
    assert_true(happen(&other, NULL));
    other = refused;
    other.function = "read";
    assert_true(happen(&other, NULL));
    other = refused;
    other.number = 110;
    assert_true(happen(&other, NULL));
    other = refused;
    other.round = 1;
    assert_true(happen(&other, NULL));
    other = refused;
    other.text = "refuse";
    assert_true(happen(&other, NULL));
    assert_false(happen(&refused, NULL));
    tear_down();
}

static void numbers_in_a_text_are_no_kind(void **state)
{
    struct fixture *f = *state;
    struct repeat_key key = refused;
    set_up(f, LOG_LEVEL_NOTICE);
    key.text = "9 waiting for 1";
    assert_true(happen(&key, NULL));
    key.text = "10 waiting for 22";
    assert_false(happen(&key, NULL));
    key.text = "10 waiting for ";
    assert_true(happen(&key, NULL));
    key.text = "10 waiting for 1 or";
    assert_true(happen(&key, NULL));
    tear_down();
}

/* However many kinds there are, the memory is bounded, and what exceeds it is counted. */
static void kinds_beyond_the_limit_are_counted_together(void **state)
{
    struct fixture *f = *state;
    char text[] = "kind ??";
    struct repeat_key key = refused;
    unsigned logged = 0;
    set_up(f, LOG_LEVEL_NOTICE);
    key.text = text;
    for (int i = 0; i < REPEATS_KINDS + 5; i++) {
        text[5] = (char)('a' + i);
        logged += happen(&key, "a");
    }
    assert_int_equal(logged, REPEATS_KINDS + 1);
    assert_int_equal(repeats.count, REPEATS_KINDS + 1);
    tear_down();
    assert_matches(
        content(f, f->file),
        "failed: client=\\* kind q\\? \\(4 more of this and other kinds in [01] s\\)\n$");
}

static void debug_logs_each(void **state)
{
    struct fixture *f = *state;
    set_up(f, LOG_LEVEL_DEBUG);
    for (int i = 0; i < 3; i++)
        assert_true(happen(&refused, NULL));
    tear_down();
    assert_matches(content(f, f->file), "^" LINE "refused\n" LINE "refused\n" LINE "refused\n$");
}

static void what_is_off_is_not_counted(void **state)
{
    struct fixture *f = *state;
    set_up(f, LOG_LEVEL_ERROR);
    for (int i = 0; i < 3; i++)
        assert_false(happen(&refused, NULL));
    assert_int_equal(repeats.count, 0);
    tear_down();
    assert_string_equal(content(f, f->file), "");
}

/* The count is there even if the text has the maximum length. */
static void long_line_keeps_its_count(void **state)
{
    struct fixture *f = *state;
    char text[4000];
    struct repeat_key key = refused;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    key.text = text;
    set_up(f, LOG_LEVEL_NOTICE);
    happen(&key, NULL);
    happen(&key, NULL);
    tear_down();
    assert_matches(content(f, f->file), "x \\(1 more like this in [01] s\\)\n$");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(first_is_logged_others_are_counted),
        LOG_TEST(sums_go_on_until_it_is_quiet),
        LOG_TEST(nothing_is_lost_at_the_end),
        LOG_TEST(kinds_are_told_apart),
        LOG_TEST(numbers_in_a_text_are_no_kind),
        LOG_TEST(kinds_beyond_the_limit_are_counted_together),
        LOG_TEST(debug_logs_each),
        LOG_TEST(what_is_off_is_not_counted),
        LOG_TEST(long_line_keeps_its_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
