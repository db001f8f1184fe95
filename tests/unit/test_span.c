/* SPDX-License-Identifier: ISC */
/* Spans of time in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/span.h"

static void test_units(void **state)
{
    static const struct {
        usec_t span;
        const char *text;
    } rows[] = {
        {0, "0 s"},
        {USEC_PER_MSEC, "1 ms"},
        {500 * USEC_PER_MSEC, "500 ms"},
        {1500 * USEC_PER_MSEC, "1500 ms"},
        {USEC_PER_MSEC + 999, "1 ms"},
        {USEC_PER_SEC, "1 s"},
        {3 * USEC_PER_SEC, "3 s"},
        {90 * USEC_PER_SEC, "90 s"},
        {120 * USEC_PER_SEC, "2 m"},
        {90 * 60 * USEC_PER_SEC, "90 m"},
        {2 * 3600 * USEC_PER_SEC, "2 h"},
        {INT64_MAX, "9223372036854775 ms"},
    };
    char text[SPAN_TEXT_MAX];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_ptr_equal(span_format(rows[i].span, text), text);
        assert_string_equal(text, rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
