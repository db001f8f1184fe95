/* SPDX-License-Identifier: ISC */
/* The values of a line: quoting, numbers, spans, the time, and what does not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <iconv.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log_line.h"

/* What clock_gettime returns, once it is set. */
static struct timespec set_time;
static bool is_set;

int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
    if (!is_set || clock != CLOCK_REALTIME)
        return __real_clock_gettime(clock, time);
    *time = set_time;
    return 0;
}

static const char *timestamp(char text[LOG_TIMESTAMP_MAX])
{
    size_t n = log_timestamp(text);
    assert_true(n < LOG_TIMESTAMP_MAX);
    text[n] = '\0';
    return text;
}

static void test_present_time(void **state)
{
    char text[LOG_TIMESTAMP_MAX];
    struct tm tm = {0};
    (void)state;
    time_t before = time(NULL);
    timestamp(text);
    time_t after = time(NULL);
    assert_int_equal(strlen(text), 24);
    assert_string_equal(strptime(text, "%Y-%m-%dT%H:%M:%S", &tm), text + 19);
    assert_in_range(timegm(&tm), before - 1, after);
}

/* The part that is kept from one call to the next is that of its second and no other. */
static void test_time_goes_on_and_back(void **state)
{
    static const struct {
        time_t seconds;
        long ms;
        const char *text;
    } table[] = {
        {0, 0, "1970-01-01T00:00:00.000Z"},
        {0, 7, "1970-01-01T00:00:00.007Z"},
        {951827696, 45, "2000-02-29T12:34:56.045Z"},
        {951827696, 999, "2000-02-29T12:34:56.999Z"},
        {951827697, 0, "2000-02-29T12:34:57.000Z"},
        {951827696, 100, "2000-02-29T12:34:56.100Z"},
        {1798761599, 999, "2026-12-31T23:59:59.999Z"},
        {1798761600, 0, "2027-01-01T00:00:00.000Z"},
    };
    char text[LOG_TIMESTAMP_MAX];
    (void)state;
    is_set = true;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        set_time = (struct timespec){table[i].seconds, table[i].ms * 1000000 + 999999};
        assert_string_equal(timestamp(text), table[i].text);
    }
    is_set = false;
}

/* Numbers */

static void test_digits(void **state)
{
    static const uint64_t numbers[] = {
        0, 1, 9, 10, 99, 100, 12345, 4294967295, 4294967296, 9999999999999999999u, UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        char text[LOG_DIGITS_MAX + 1], expected[LOG_DIGITS_MAX + 1];
        *log_digits(text, numbers[i]) = '\0';
        snprintf(expected, sizeof(expected), "%" PRIu64, numbers[i]);
        assert_string_equal(text, expected);
    }
}

static const char *text_of(struct log_line *line)
{
    line->text[line->length] = '\0';
    return line->text;
}

static void test_spans(void **state)
{
    static const struct {
        usec_t span;
        const char *text;
    } table[] = {
        {0, "0.0"},         {49, "0.0"},     {50, "0.1"},
        {149, "0.1"},       {950, "1.0"},    {1000, "1.0"},
        {12449, "12.4"},    {12450, "12.5"}, {999949, "999.9"},
        {999950, "1000.0"}, {-1, "0.0"},     {INT64_C(31536000) * 1000000, "31536000000.0"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        static struct log_line line;
        log_line_start(&line, LOG_FORMAT_LOGFMT);
        log_line_ms(&line, table[i].span);
        assert_string_equal(text_of(&line), table[i].text);
    }
}

static void test_whole_line(void **state)
{
    static struct log_line line;
    (void)state;
    log_line_start(&line, LOG_FORMAT_LOGFMT);
    LOG_LINE_PUT(&line, "a=");
    log_line_number(&line, 312);
    LOG_LINE_PUT(&line, " b=");
    log_line_ms(&line, 1900);
    LOG_LINE_PUT(&line, " c=");
    log_line_text(&line, "text");
    LOG_LINE_PUT(&line, " d=");
    log_line_value(&line, "/x", 2);
    LOG_LINE_PUT(&line, " e=");
    log_line_quote(&line, "two words", 9);
    log_line_end(&line);
    assert_string_equal(text_of(&line), "a=312 b=1.9 c=text d=/x e=\"two words\"\n");
}

/* Whatever is appended, a full line keeps its bounds and ends with its newline. */
static void fill_line(enum log_format format)
{
    static struct {
        struct log_line line;
        char behind[16];
    } s;
    static char filling[LOG_LINE_MAX];
    memset(filling, 'x', sizeof(filling));
    for (size_t room = 0; room < 40; room++) {
        memset(s.behind, '#', sizeof(s.behind));
        log_line_start(&s.line, format);
        log_line_put(&s.line, filling, LOG_LINE_MAX - 1 - room);
        log_line_value(&s.line, "\"quoted\"", 8);
        log_line_text(&s.line, "a text that is cut");
        log_line_number(&s.line, UINT64_MAX);
        log_line_ms(&s.line, INT64_MAX);
        log_line_timestamp(&s.line);
        log_line_quote(&s.line, "more", 4);
        LOG_FIELD_QUOTE(&s.line, "name", "\"\n", 2);
        LOG_FIELD_NONE(&s.line, "name");
        assert_in_range(s.line.length, LOG_LINE_MAX - 1 - room, LOG_LINE_MAX - 1);
        log_line_end(&s.line);
        assert_int_equal(s.line.text[s.line.length - 1], '\n');
        assert_null(memchr(s.line.text, '\n', s.line.length - 1));
        for (size_t i = 0; i < sizeof(s.behind); i++)
            assert_int_equal(s.behind[i], '#');
    }
}

static void test_full_line(void **state)
{
    (void)state;
    fill_line(LOG_FORMAT_LOGFMT);
    fill_line(LOG_FORMAT_JSON);
}

/* Quoting */

static void assert_quotes(const char *text, size_t length, const char *quoted)
{
    char out[200];
    memset(out, '#', sizeof(out));
    assert_int_equal(log_quote(out, sizeof(out), text, length), strlen(quoted));
    assert_string_equal(out, quoted);
}

static void test_quoting(void **state)
{
    (void)state;
    assert_quotes("", 0, "\"\"");
    assert_quotes("plain text", 10, "\"plain text\"");
    assert_quotes("a\"b\\c", 5, "\"a\\\"b\\\\c\"");
    assert_quotes("line\r\n", 6, "\"line\\x0d\\x0a\"");
    assert_quotes("\0\x1f ~\x7f\x80\xff", 7, "\"\\x00\\x1f ~\\x7f\\x80\\xff\"");
    assert_quotes("not this far", 3, "\"not\"");
}

/* Where a quoted text ends, its final quote left out: no escape extends past it. */
static size_t end_of_escapes(const char *quoted, size_t n)
{
    size_t at = 1;
    while (at < n - 1)
        at += quoted[at] != '\\' ? 1 : quoted[at + 1] == 'x' ? 4 : 2;
    return at;
}

/* Truncated to fit, never in the middle of an escape, and never past the end. */
static void test_quoting_is_cut(void **state)
{
    static const char text[] = "ab\"\\\n\x80z";
    char whole[64], out[64];
    (void)state;
    size_t full = log_quote(whole, sizeof(whole), text, sizeof(text) - 1);
    for (size_t size = 0; size <= sizeof(out); size++) {
        memset(out, '#', sizeof(out));
        size_t n = log_quote(out, size, text, sizeof(text) - 1);
        for (size_t i = size; i < sizeof(out); i++)
            assert_int_equal(out[i], '#');
        if (size < 3) {
            assert_int_equal(n, 0);
            assert_true(size == 0 || out[0] == '\0');
            continue;
        }
        assert_true(n < size);
        assert_int_equal(n, strlen(out));
        assert_int_equal(out[0], '"');
        assert_int_equal(out[n - 1], '"');
        assert_memory_equal(out, whole, n - 1);
        assert_int_equal(n == full, size > full);
        if (n < full)
            assert_true(size - n <= 4); /* the next one did not fit, \x0a at most */
        assert_int_equal(end_of_escapes(out, n), n - 1);
    }
}

static void assert_value(const char *text, size_t size, const char *written)
{
    char out[200];
    memset(out, '#', sizeof(out));
    assert_int_equal(log_value(out, size, text, strlen(text)), strlen(written));
    assert_string_equal(out, written);
    assert_int_equal(out[size], '#');
}

static void test_value_has_quotes_where_it_needs_them(void **state)
{
    (void)state;
    assert_value("GET", 100, "GET");
    assert_value("/v1/x?y~!", 100, "/v1/x?y~!");
    assert_value("", 100, "\"\"");
    assert_value("two words", 100, "\"two words\"");
    assert_value("key=value", 100, "\"key=value\"");
    assert_value("a\"b", 100, "\"a\\\"b\"");
    assert_value("a\\b", 100, "\"a\\\\b\"");
    assert_value("\x1b", 100, "\"\\x1b\"");
    assert_value("\x7f", 100, "\"\\x7f\"");
    assert_value("\xc3", 100, "\"\\xc3\"");
    assert_value("12345", 6, "12345");
    assert_value("12345", 5, "\"12\"");
}

/* JSON */

static void assert_json(const char *text, size_t length, const char *written)
{
    char out[200];
    memset(out, '#', sizeof(out));
    assert_int_equal(log_json(out, sizeof(out), text, length), strlen(written));
    assert_memory_equal(out, written, strlen(written));
    assert_int_equal(out[strlen(written)], '#');
}

static void test_json(void **state)
{
    (void)state;
    assert_json("", 0, "\"\"");
    assert_json("plain text", 10, "\"plain text\"");
    assert_json("a\"b\\c/d", 7, "\"a\\\"b\\\\c/d\"");
    assert_json("\0\r\n\x1f~\x7f", 6, "\"\\u0000\\u000d\\u000a\\u001f~\\u007f\"");
    assert_json("\xc3\xa4\xe2\x82\xac", 5, "\"\\u00e4\\u20ac\"");
    assert_json("\xf0\x9f\x98\x80", 4, "\"\\ud83d\\ude00\"");
    assert_json("\xff\xe4x", 3, "\"\\ufffd\\ufffdx\"");          /* ISO 8859-1 */
    assert_json("\xc0\xaf", 2, "\"\\ufffd\\ufffd\"");            /* longer than need be */
    assert_json("\xed\xa0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\""); /* a surrogate */
    assert_json("\xe2\x82", 2, "\"\\ufffd\\ufffd\"");            /* truncated */
    assert_json("not this far", 3, "\"not\"");
}

static unsigned hex_digit(char c)
{
    assert_true((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* Reads a JSON string of which only \\, \" and \uHHHH are escaped: as UTF-16. */
static size_t read_json(const char *json, size_t length, uint16_t *units)
{
    size_t n = 0;
    assert_true(length >= 2 && json[0] == '"' && json[length - 1] == '"');
    for (size_t i = 1; i < length - 1; i++) {
        assert_true(json[i] >= ' ' && json[i] <= '~' && json[i] != '"');
        if (json[i] != '\\') {
            units[n++] = (uint16_t)json[i];
        } else if (json[i + 1] != 'u') {
            assert_true(json[i + 1] == '"' || json[i + 1] == '\\');
            units[n++] = (uint16_t)json[++i];
        } else {
            unsigned unit = 0;
            assert_true(i + 5 < length - 1);
            for (size_t digit = 2; digit < 6; digit++)
                unit = unit << 4 | hex_digit(json[i + digit]);
            units[n++] = (uint16_t)unit;
            i += 5;
        }
    }
    return n;
}

/* The same bytes as UTF-16 by iconv, which stops at each that is not UTF-8. */
static size_t convert(iconv_t to_utf16, char *text, size_t length, uint16_t *units)
{
    char *at = text, *out = (char *)units;
    size_t room = 4 * length + 4;
    while (length > 0) {
        if (iconv(to_utf16, &at, &length, &out, &room) != (size_t)-1)
            break;
        at++;
        length--;
        memcpy(out, &(uint16_t){0xfffd}, 2);
        out += 2;
        room -= 2;
    }
    return (size_t)(out - (char *)units) / 2;
}

/* Any bytes make a string that can be read back, as another decoder reads them. */
static void test_json_of_any_bytes(void **state)
{
    static const char pieces[][5] = {
        "a",    "\"",           "\\",   "\n",   "\xc3\xa4", "\x80",     "\xe2",     "\xed",
        "\xa0", "\xf0\x9f\x98", "\xf4", "\x90", "\xc2",     "\xf8\x88", "\xef\xbf", "\xbd"};
    iconv_t to_utf16 = iconv_open("UTF-16LE", "UTF-8");
    (void)state;
    assert_true(to_utf16 != (iconv_t)-1);
    srandom(1);
    for (int round = 0; round < 20000; round++) {
        char text[64], json[LOG_JSON_MAX(sizeof(text))];
        uint16_t got[400], wanted[400];
        size_t length = 0;
        while (length < (size_t)random() % 40) {
            const char *piece = pieces[(size_t)random() % ARRAY_LEN(pieces)], byte = (char)random();
            bool any = random() % 3 == 0;
            size_t n = any ? 1 : strlen(piece);
            memcpy(text + length, any ? &byte : piece, n);
            length += n;
        }
        size_t n = read_json(json, log_json(json, sizeof(json), text, length), got);
        assert_int_equal(n, convert(to_utf16, text, length, wanted));
        assert_memory_equal(got, wanted, 2 * n);
    }
    iconv_close(to_utf16);
}

/* Truncated to fit, at the end of a character, and never past the end. */
static void test_json_is_cut(void **state)
{
    static const char text[] = "ab\"\\\n\xc3\xa4\xf0\x9f\x98\x80z";
    char whole[64], out[64];
    (void)state;
    size_t full = log_json(whole, sizeof(whole), text, sizeof(text) - 1);
    for (size_t size = 0; size <= sizeof(out); size++) {
        uint16_t units[64];
        memset(out, '#', sizeof(out));
        size_t n = log_json(out, size, text, sizeof(text) - 1);
        for (size_t i = size; i < sizeof(out); i++)
            assert_int_equal(out[i], '#');
        assert_true(n <= size && (n == full) == (size >= full) && (n == 0) == (size < 2));
        if (n == 0)
            continue;
        size_t count = read_json(out, n, units);
        assert_true(count == 0 || units[count - 1] < 0xd800 || units[count - 1] >= 0xdc00);
        assert_memory_equal(out, whole, n - 1);
        assert_true(n == full || size - n < 12); /* the next one did not fit */
    }
}

/* The same fields in both formats. */
static void put_fields(struct log_line *line, enum log_format format)
{
    log_line_start(line, format);
    log_field_time(line);
    LOG_FIELD_NUMBER(line, "a", 312);
    LOG_FIELD_MS(line, "b", 1900);
    LOG_FIELD_WORD(line, "c", "text");
    LOG_FIELD_VALUE(line, "d", "/x", 2);
    LOG_FIELD_VALUE(line, "e", "a=\"\xe4", 4);
    LOG_FIELD_QUOTE(line, "f", "two words", 9);
    LOG_FIELD_NONE(line, "g");
    log_line_end(line);
}

static void test_fields(void **state)
{
    static struct log_line line;
    (void)state;
    is_set = true;
    set_time = (struct timespec){951827696, 45000000};
    put_fields(&line, LOG_FORMAT_LOGFMT);
    assert_string_equal(text_of(&line),
                        "ts=2000-02-29T12:34:56.045Z a=312 b=1.9 c=text d=/x e=\"a=\\\"\\xe4\" "
                        "f=\"two words\" g=-\n");
    put_fields(&line, LOG_FORMAT_JSON);
    assert_string_equal(text_of(&line),
                        "{\"ts\":\"2000-02-29T12:34:56.045Z\",\"a\":312,\"b\":1.9,\"c\":\"text\","
                        "\"d\":\"/x\",\"e\":\"a=\\\"\\ufffd\",\"f\":\"two words\",\"g\":null}\n");
    is_set = false;
}

static void test_limits(void **state)
{
    char text[LOG_LIMIT_MAX];
    (void)state;
    assert_string_equal(log_limit(text, 30 * USEC_PER_SEC), "30s");
    assert_string_equal(log_limit(text, 1500 * USEC_PER_MSEC), "1500ms");
    assert_string_equal(log_limit(text, 31536000 * USEC_PER_SEC), "31536000s");
    assert_string_equal(log_limit(text, 0), "0s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_present_time),
        cmocka_unit_test(test_time_goes_on_and_back),
        cmocka_unit_test(test_digits),
        cmocka_unit_test(test_spans),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_whole_line),
        cmocka_unit_test(test_full_line),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_of_any_bytes),
        cmocka_unit_test(test_json_is_cut),
        cmocka_unit_test(test_quoting),
        cmocka_unit_test(test_quoting_is_cut),
        cmocka_unit_test(test_value_has_quotes_where_it_needs_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
