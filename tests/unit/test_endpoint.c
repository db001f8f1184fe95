/* SPDX-License-Identifier: ISC */
/* scheme://addr:port: what is accepted, what is rejected and why, how endpoints compare. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "net/endpoint.h"

static void assert_parses(const char *text, const char *formatted)
{
    struct endpoint endpoint;
    char buffer[ENDPOINT_TEXT_MAX];
    const char *error;

    assert_int_equal(endpoint_parse(&endpoint, text, &error), 0);
    assert_string_equal(endpoint_format(&endpoint, buffer), formatted);
}

static void assert_refuses(const char *text, const char *reason)
{
    struct endpoint endpoint;
    const char *error = NULL;

    assert_int_equal(endpoint_parse(&endpoint, text, &error), -1);
    assert_non_null(error);
    if (strstr(error, reason) == NULL)
        fail_msg("%s: \"%s\" does not say \"%s\"", text, error, reason);
}

static void test_parts(void **state)
{
    struct endpoint endpoint;
    const char *error;

    (void)state;
    assert_int_equal(endpoint_parse(&endpoint, "tcp+Blue://Example.COM:6379", &error), 0);
    assert_string_equal(endpoint.scheme, "tcp+blue");
    assert_string_equal(endpoint.addr, "example.com");
    assert_int_equal(endpoint.port, 6379);
    assert_int_equal(endpoint_parse(&endpoint, "tls://[FE80::1%eth0]:1", &error), 0);
    assert_string_equal(endpoint.addr, "fe80::1%eth0");
    assert_int_equal(endpoint_parse(&endpoint, "tls://[FE80::A%brLan0]:1", &error), 0);
    assert_string_equal(endpoint.addr, "fe80::a%brLan0");
}

static void test_accepted(void **state)
{
    (void)state;
    assert_parses("http://a", "http://a:80");
    assert_parses("redis://a", "redis://a:6379");
    assert_parses("REDISS://a", "rediss://a:6379");
    assert_parses("redis://[::1]:7", "redis://[::1]:7");
    assert_parses("memcached://a", "memcached://a:11211");
    assert_parses("memcacheds://a", "memcacheds://a:11211");
    assert_parses("https://a", "https://a:443");
    assert_parses("HTTP://a:8080", "http://a:8080");
    assert_parses("https://[::1]", "https://[::1]:443");
    assert_parses("tcp://127.0.0.1:1", "tcp://127.0.0.1:1");
    assert_parses("tcp://[2001:db8::7]:65535", "tcp://[2001:db8::7]:65535");
    assert_parses("tls://my_host.example-1.org.:9", "tls://my_host.example-1.org.:9");
    assert_parses("tcp+a-b_c.d1://x:2", "tcp+a-b_c.d1://x:2");
    assert_parses("tls+x://x:2", "tls+x://x:2");
}

static void assert_authority(const char *text, const char *expected)
{
    struct endpoint endpoint;
    char buffer[ENDPOINT_TEXT_MAX];
    const char *error;

    assert_int_equal(endpoint_parse(&endpoint, text, &error), 0);
    assert_ptr_equal(endpoint_authority(&endpoint, buffer), buffer);
    assert_string_equal(buffer, expected);
}

/* RFC 9110 4.2.3 and 7.2: the scheme's own port is left out; RFC 6874: so is a scope. */
static void test_authority(void **state)
{
    char text[300] = "http://";

    (void)state;
    assert_authority("http://A.example", "a.example");
    assert_authority("http://a.example:80", "a.example");
    assert_authority("http://a.example:443", "a.example:443");
    assert_authority("http://a.example:8080", "a.example:8080");
    assert_authority("https://a.example:443", "a.example");
    assert_authority("https://a.example:80", "a.example:80");
    assert_authority("http://127.0.0.1:65535", "127.0.0.1:65535");
    assert_authority("http://[::1]", "[::1]");
    assert_authority("https://[2001:DB8::7]:8443", "[2001:db8::7]:8443");
    assert_authority("http://[fe80::1%eth0]", "[fe80::1]");
    assert_authority("https://[FE80::1%25]:8443", "[fe80::1]:8443");
    assert_authority("tcp://a:1", "a:1");
    for (size_t i = 0; i < ENDPOINT_ADDR_MAX; i++)
        text[7 + i] = i % 50 == 49 ? '.' : 'a';
    snprintf(text + 7 + ENDPOINT_ADDR_MAX, sizeof(text) - 7 - ENDPOINT_ADDR_MAX, ":65535");
    assert_authority(text, text + 7);
}

static void test_schemes(void **state)
{
    static const struct {
        const char *text, *name;
        enum protocol_id protocol;
        bool tls;
    } cases[] = {
        {"http://a", "http", PROTOCOL_HTTP, false},
        {"https://a", "https", PROTOCOL_HTTP, true},
        {"redis://a", "redis", PROTOCOL_REDIS, false},
        {"rediss://a", "rediss", PROTOCOL_REDIS, true},
        {"memcached://a", "memcached", PROTOCOL_MEMCACHED, false},
        {"memcacheds://a", "memcacheds", PROTOCOL_MEMCACHED, true},
        {"tcp://a:1", "tcp", PROTOCOL_OPAQUE, false},
        {"tcp+x://a:1", "tcp", PROTOCOL_OPAQUE, false},
        {"tls://a:1", "tls", PROTOCOL_OPAQUE, true},
        {"tls+http://a:1", "tls", PROTOCOL_OPAQUE, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct endpoint endpoint;
        const char *error;
        assert_int_equal(endpoint_parse(&endpoint, cases[i].text, &error), 0);
        const struct scheme *scheme = endpoint_scheme(&endpoint);
        assert_string_equal(scheme->name, cases[i].name);
        assert_int_equal(scheme->protocol, cases[i].protocol);
        assert_int_equal(scheme->tls, cases[i].tls);
        assert_non_null(strstr(SCHEME_NAMES, scheme->name));
    }
}

/* Those that messages name exist. */
static void test_scheme_names(void **state)
{
    char names[] = SCHEME_NAMES, *at;
    unsigned count = 0;

    (void)state;
    for (char *name = strtok_r(names, ", ", &at); name != NULL; name = strtok_r(NULL, ", ", &at)) {
        assert_non_null(scheme_find(name));
        count++;
    }
    assert_true(count > 2);
}

static void test_schemes_refused(void **state)
{
    (void)state;
    assert_refuses("", "not of the form");
    assert_refuses("example.com:80", "not of the form");
    assert_refuses("http:/a", "not of the form");
    assert_refuses("://a:1", "unknown scheme");
    assert_refuses("ftp://a:1", "unknown scheme");
    assert_refuses("tcpx://a:1", "unknown scheme");
    assert_refuses("http+x://a:1", "unknown scheme");
    assert_refuses("redis+x://a:1", "unknown scheme");
    assert_refuses("memcached+x://a:1", "unknown scheme");
    assert_refuses("https+x://a:1", "unknown scheme");
    assert_refuses(" tcp://a:1", "unknown scheme");
    assert_refuses("tcp+://a:1", "a scheme's NAME");
    assert_refuses("tcp+a b://a:1", "a scheme's NAME");
    assert_refuses("tcp+a+b://a:1", "a scheme's NAME");
    assert_refuses("tcp+0123456789012345678901234567://a:1", "longer than 31");
    assert_parses("tcp+012345678901234567890123456://a:1", "tcp+012345678901234567890123456://a:1");
}

static void test_addrs_refused(void **state)
{
    (void)state;
    assert_refuses("http://", "addr is missing");
    assert_refuses("tcp://:1", "addr is missing");
    assert_refuses("tcp://[]:1", "addr is missing");
    assert_refuses("http://a b", "an addr consists of");
    assert_refuses("http://a\xc3\xa4", "an addr consists of");
    assert_refuses("http://a..b", "each part of a name");
    assert_refuses("http://.a", "each part of a name");
    assert_refuses("http://.", "each part of a name");
    assert_refuses("tcp://::1:80", "[addr]:port");
    assert_refuses("tcp://[::1:80", "[addr]:port");
    assert_refuses("tcp://[::1]80", "[addr]:port");
    assert_refuses("tcp://[a]:80", "not a valid IPv6");
    assert_refuses("tcp://[127.0.0.1]:80", "not a valid IPv6");
    assert_refuses("tcp://[::1%]:80", "not a valid IPv6");
    assert_refuses("tcp://[1:2:3:4:5:6:7:8:9]:80", "not a valid IPv6");
    assert_refuses("tcp://1.2.3:80", "not a valid IPv4");
    assert_refuses("tcp://1.2.3.256:80", "not a valid IPv4");
    assert_refuses("tcp://1.2.3.4.:80", "not a valid IPv4");
    assert_refuses("tcp://a.5:80", "not a valid IPv4");
}

static void test_lengths(void **state)
{
    char text[300] = "http://";
    struct endpoint endpoint;
    const char *error;

    (void)state;
    memset(text + 7, 'a', 64);
    assert_refuses(text, "1 to 63");
    text[7 + 63] = '\0';
    assert_int_equal(endpoint_parse(&endpoint, text, &error), 0);
    for (size_t i = 0; i < 253; i++)
        text[7 + i] = i % 50 == 49 ? '.' : 'a';
    text[7 + 253] = '\0';
    assert_int_equal(endpoint_parse(&endpoint, text, &error), 0);
    assert_true(endpoint_addr_is_valid(text + 7));
    text[7 + 253] = 'a';
    text[7 + 254] = '\0';
    assert_refuses(text, "longer than 253");
    assert_false(endpoint_addr_is_valid(text + 7));
}

static void test_ports_refused(void **state)
{
    static const char *const texts[] = {
        "http://a:",    "http://a:0",   "http://a:65536",  "http://a:99999999999999999999",
        "http://a:80x", "http://a:x",   "http://a: 80",    "http://a:-1",
        "http://a:+80", "tcp://[::1]:", "http://a:000080",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_refuses(texts[i], "a port is a number from 1 to 65535");
    assert_refuses("tcp://a", "the port is missing");
    assert_refuses("tls+x://[::1]", "the port is missing");
}

static void test_rest_refused(void **state)
{
    (void)state;
    assert_refuses("http://a/", "a path");
    assert_refuses("http://a:80/x", "a path");
    assert_refuses("http://a?x", "a path");
    assert_refuses("http://a#x", "a path");
    assert_refuses("http://user@a", "a user name");
    assert_refuses("http://user:secret@a:80", "a user name");
}

static void test_failure_leaves_endpoint(void **state)
{
    struct endpoint endpoint, before;
    const char *error;

    (void)state;
    assert_int_equal(endpoint_parse(&endpoint, "http://a", &error), 0);
    before = endpoint;
    assert_int_equal(endpoint_parse(&endpoint, "tcp://b", &error), -1);
    assert_memory_equal(&endpoint, &before, sizeof(before));
}

static int compare(const char *a, const char *b)
{
    struct endpoint first, second;
    const char *error;

    assert_int_equal(endpoint_parse(&first, a, &error), 0);
    assert_int_equal(endpoint_parse(&second, b, &error), 0);
    return endpoint_compare(&first, &second);
}

/* POOL 4: the key is scheme, addr as written, port. */
static void test_compare(void **state)
{
    static const char *const different[] = {
        "tcp://a:1",         "tcp://a:2",     "tcp://b:1",
        "tls://a:1",         "tcp+x://a:1",   "tcp+y://a:1",
        "tcp://127.0.0.1:1", "tcp://[::1]:1", "tcp://[0:0:0:0:0:0:0:1]:1",
    };

    (void)state;
    assert_int_equal(compare("http://A", "HTTP://a:80"), 0);
    for (size_t i = 0; i < ARRAY_LEN(different); i++) {
        for (size_t j = 0; j < ARRAY_LEN(different); j++) {
            int order = compare(different[i], different[j]);
            assert_int_equal(order == 0, i == j);
            assert_int_equal(order<0, compare(different[j], different[i])> 0);
        }
    }
}

/* A connection made with one client's settings must not serve another. */
static void test_compare_tls(void **state)
{
    struct endpoint first, second;
    const char *error;

    (void)state;
    assert_int_equal(endpoint_parse(&first, "https://a", &error), 0);
    assert_false(endpoint_has_tls(&first));
    second = first;
    first.tls_digest[0] = 1;
    assert_true(endpoint_has_tls(&first));
    assert_true(endpoint_compare(&first, &second) > 0);
    assert_true(endpoint_compare(&second, &first) < 0);
    second.tls_digest[0] = 1;
    second.tls_digest[TLS_DIGEST_SIZE - 1] = 1;
    assert_true(endpoint_compare(&first, &second) < 0);
    assert_true(endpoint_compare(&second, &first) > 0);
    assert_int_equal(endpoint_compare_address(&first, &second), 0);
    memset(first.tls_digest, 0, sizeof(first.tls_digest));
    first.tls_digest[TLS_DIGEST_SIZE - 1] = 1;
    assert_true(endpoint_has_tls(&first));
    second = first;
    assert_int_equal(endpoint_compare(&first, &second), 0);
    second.port++;
    assert_true(endpoint_compare(&first, &second) < 0);
    assert_true(endpoint_compare_address(&first, &second) < 0);
}

static void test_names(void **state)
{
    (void)state;
    assert_true(endpoint_name_is_valid("aZ09-_."));
    assert_false(endpoint_name_is_valid(""));
    assert_false(endpoint_name_is_valid("a b"));
    assert_false(endpoint_name_is_valid("a="));
    assert_true(endpoint_addr_is_valid("::1"));
    assert_false(endpoint_addr_is_valid("[::1]"));
    assert_false(endpoint_addr_is_valid("a:1"));
    assert_false(endpoint_addr_is_valid(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_authority),
        cmocka_unit_test(test_schemes),
        cmocka_unit_test(test_scheme_names),
        cmocka_unit_test(test_schemes_refused),
        cmocka_unit_test(test_addrs_refused),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_ports_refused),
        cmocka_unit_test(test_rest_refused),
        cmocka_unit_test(test_failure_leaves_endpoint),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_compare_tls),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
