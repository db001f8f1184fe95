/* SPDX-License-Identifier: ISC */
/* The fast scans of a header's bytes, each compared with the plain one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "http1/http1_internal.h"
#include "http1/http1_scan.h"

#define LENGTH_MAX 80

/* One page between two that may not be read. */
static char *page;
static size_t page_size;

static int make_page(void **state)
{
    (void)state;
    page_size = (size_t)sysconf(_SC_PAGESIZE);

    char *pages = mmap(NULL, 3 * page_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (pages == MAP_FAILED || mprotect(pages + page_size, page_size, PROT_READ | PROT_WRITE) < 0)
        return -1;
    page = pages + page_size;
    return 0;
}

static int free_page(void **state)
{
    (void)state;
    return munmap(page - page_size, 3 * page_size);
}

static void check_scans(const char *data, size_t length)
{
    assert_int_equal(http1_scan_line(data, length), http1_scan_line_portable(data, length));
    assert_int_equal(http1_scan_token(data, length), http1_token_length(data, length));
}

/* Each byte value at each position, among bytes that both scans skip. */
static void check_places(char *data, size_t length, char among)
{
    memset(data, among, length);
    check_scans(data, length);
    for (size_t at = 0; at < length; at++) {
        for (unsigned c = 0; c < 256; c++) {
            data[at] = (char)c;
            check_scans(data, length);
        }
        data[at] = among;
    }
}

/* Up to the last byte that may be read, and from the first: nothing outside is touched. Between
 * these two the lengths give every alignment. */
static void test_scan(void **state)
{
    (void)state;
    for (size_t length = 0; length <= LENGTH_MAX; length++) {
        check_places(page + page_size - length, length, 'a');
        check_places(page + page_size - length, length, '0');
        check_places(page, length, '-');
    }
}

/* What follows the data is not part of it. */
static void test_scan_ends(void **state)
{
    (void)state;
    memset(page, 'a', 2 * LENGTH_MAX);
    for (size_t start = 0; start < 16; start++)
        for (size_t length = 0; length <= LENGTH_MAX; length++) {
            assert_int_equal(http1_scan_line(page + start, length), length);
            assert_int_equal(http1_scan_token(page + start, length), length);
        }
}

/* RFC 9110 5.5 and 5.6.2, written down again; in a path everything visible, except "#". */
static void test_classes(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool digit = c >= '0' && c <= '9';

        assert_int_equal(http1_is_line((unsigned char)c),
                         c == '\t' || (c >= ' ' && c <= '~') || c >= 0x80);
        assert_int_equal(http1_is_token((unsigned char)c),
                         alpha || digit ||
                             (c > ' ' && c < 0x80 && strchr("!#$%&'*+-.^_`|~", (int)c)));
        assert_int_equal(http1_is_digit((unsigned char)c), digit);
        assert_int_equal(http1_is_host((unsigned char)c),
                         alpha || digit || (c > ' ' && c < 0x80 && strchr("-._~", (int)c)));
        assert_int_equal(http1_is_path((unsigned char)c), c > ' ' && c != 0x7f && c != '#');
    }
}

/* Every byte, in every place of texts of every length. */
static void test_same(void **state)
{
    static const char lower[] = "az-09bcdefghijklmnopqrstuvwxy-42";

    (void)state;
    for (size_t length = 0; length < sizeof(lower); length++) {
        char *text = page + page_size - length, exact[sizeof(lower)] = "";

        memcpy(exact, lower, length);
        memcpy(text, lower, length);
        assert_true(http1_text_is(text, length, exact));
        assert_false(http1_text_is(text, length, "az-09bcdefghijklmnopqrstuvwxy-42+"));
        for (size_t at = 0; at < length; at++) {
            for (unsigned c = 0; c < 256; c++) {
                text[at] = (char)c;
                assert_int_equal(http1_same(text, lower, length),
                                 strncasecmp(text, lower, length) == 0);
            }
            text[at] = lower[at];
        }
    }
}

static const struct {
    const char *text;
    enum http1_name id;
    bool protected;
} names[] = {
    {"Age", HTTP1_NAME_KNOWN, true},
    {"Authentication-Info", HTTP1_NAME_AUTHENTICATION_INFO, false},
    {"Authorization", HTTP1_NAME_AUTHORIZATION, true},
    {"Cache-Control", HTTP1_NAME_KNOWN, true},
    {"Connection", HTTP1_NAME_CONNECTION, false},
    {"Content-Encoding", HTTP1_NAME_KNOWN, true},
    {"Content-Length", HTTP1_NAME_CONTENT_LENGTH, true},
    {"Content-Range", HTTP1_NAME_KNOWN, true},
    {"Content-Type", HTTP1_NAME_KNOWN, true},
    {"Cookie", HTTP1_NAME_KNOWN, true},
    {"Date", HTTP1_NAME_DATE, true},
    {"Expect", HTTP1_NAME_EXPECT, true},
    {"Expires", HTTP1_NAME_KNOWN, true},
    {"Forwarded", HTTP1_NAME_FORWARDED, true},
    {"Host", HTTP1_NAME_HOST, true},
    {"HTTP2-Settings", HTTP1_NAME_KNOWN_HOP, false},
    {"If-Match", HTTP1_NAME_KNOWN, true},
    {"If-Modified-Since", HTTP1_NAME_KNOWN, true},
    {"If-None-Match", HTTP1_NAME_KNOWN, true},
    {"If-Range", HTTP1_NAME_KNOWN, true},
    {"If-Unmodified-Since", HTTP1_NAME_KNOWN, true},
    {"Keep-Alive", HTTP1_NAME_KEEP_ALIVE, false},
    {"Location", HTTP1_NAME_KNOWN, true},
    {"Max-Forwards", HTTP1_NAME_MAX_FORWARDS, true},
    {"Pragma", HTTP1_NAME_KNOWN, true},
    {"Proxy-Authenticate", HTTP1_NAME_PROXY_AUTHENTICATE, true},
    {"Proxy-Authentication-Info", HTTP1_NAME_AUTHENTICATION_INFO, false},
    {"Proxy-Authorization", HTTP1_NAME_PROXY_AUTHORIZATION, true},
    {"Proxy-Connection", HTTP1_NAME_KNOWN_HOP, false},
    {"Range", HTTP1_NAME_KNOWN, true},
    {"Retry-After", HTTP1_NAME_KNOWN, true},
    {"Set-Cookie", HTTP1_NAME_KNOWN, true},
    {"TE", HTTP1_NAME_KNOWN_HOP, false},
    {"Trailer", HTTP1_NAME_TRAILER, true},
    {"Transfer-Encoding", HTTP1_NAME_TRANSFER_ENCODING, false},
    {"Upgrade", HTTP1_NAME_UPGRADE, false},
    {"Vary", HTTP1_NAME_KNOWN, true},
    {"Via", HTTP1_NAME_KNOWN, true},
    {"WWW-Authenticate", HTTP1_NAME_WWW_AUTHENTICATE, true},
    {"X-Forwarded-For", HTTP1_NAME_X_FORWARDED_FOR, true},
    {"X-Real-IP", HTTP1_NAME_KNOWN, true},
};

/* The list above, searched from its beginning. */
static enum http1_name find_plainly(const char *name, size_t length)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (length == strlen(names[i].text) && strncasecmp(name, names[i].text, length) == 0)
            return names[i].id;
    return HTTP1_NAME_OTHER;
}

/* Each name, and all that differ from it in one character or in length. */
static void test_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t length = strlen(names[i].text);
        char *text = page + page_size - length;

        memcpy(text, names[i].text, length);
        assert_int_equal(http1_name_find(text, length), names[i].id);
        assert_int_equal(http1_name_is_protected(text, length), names[i].protected);
        for (size_t shorter = 0; shorter < length; shorter++)
            assert_int_equal(http1_name_find(text, shorter), find_plainly(text, shorter));
        for (size_t at = 0; at < length; at++) {
            for (unsigned c = 0; c < 256; c++) {
                text[at] = (char)c;
                assert_int_equal(http1_name_find(text, length), find_plainly(text, length));
            }
            text[at] = names[i].text[at];
        }
    }
    memset(page, 'x', LENGTH_MAX);
    for (size_t length = 0; length <= LENGTH_MAX; length++)
        assert_int_equal(http1_name_find(page, length), HTTP1_NAME_OTHER);
}

static void test_methods(void **state)
{
    static const struct {
        const char *text;
        enum http1_method method;
    } methods[] = {
        {"GET", HTTP1_GET},        {"HEAD", HTTP1_HEAD},       {"POST", HTTP1_POST},
        {"PUT", HTTP1_PUT},        {"DELETE", HTTP1_DELETE},   {"OPTIONS", HTTP1_OPTIONS},
        {"TRACE", HTTP1_TRACE},    {"CONNECT", HTTP1_CONNECT}, {"PATCH", HTTP1_PATCH},
        {"get", HTTP1_OTHER},      {"GETS", HTTP1_OTHER},      {"GE", HTTP1_OTHER},
        {"CONNECTS", HTTP1_OTHER}, {"", HTTP1_OTHER},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        assert_int_equal(http1_method_find(methods[i].text, strlen(methods[i].text)),
                         methods[i].method);
}

/* -1 means that it is not a number, or too large. */
static void test_numbers(void **state)
{
    static const struct {
        const char *text;
        int64_t number;
    } numbers[] = {
        {"0", 0},
        {"7", 7},
        {"65535", 65535},
        {"000000000000000000000000000012", 12},
        {"9223372036854775806", INT64_MAX - 1},
        {"9223372036854775807", INT64_MAX},
        {"9223372036854775808", -1},
        {"9223372036854775809", -1},
        {"9223372036854775810", -1},
        {"9999999999999999999", -1},
        {"18446744073709551616", -1},
        {"18446744073709551617", -1},
        {"", -1},
        {"-1", -1},
        {"+1", -1},
        {" 1", -1},
        {"1 ", -1},
        {"1/", -1},
        {"1:", -1},
        {"1\xb2", -1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uint64_t number = 0;
        bool good = http1_parse_number(numbers[i].text, strlen(numbers[i].text), &number);

        assert_int_equal(good, numbers[i].number >= 0);
        if (good)
            assert_int_equal(number, (uint64_t)numbers[i].number);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan),    cmocka_unit_test(test_scan_ends),
        cmocka_unit_test(test_classes), cmocka_unit_test(test_same),
        cmocka_unit_test(test_names),   cmocka_unit_test(test_methods),
        cmocka_unit_test(test_numbers),
    };

    return cmocka_run_group_tests(tests, make_page, free_page);
}
