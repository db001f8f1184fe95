/* SPDX-License-Identifier: ISC */
/* Numeric addresses: parsing, formatting, comparing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <net/if.h>
#include <string.h>

#include "base/util.h"
#include "net/address.h"

static union address numeric(const char *text)
{
    union address address;
    assert_true(address_parse(&address, text));
    return address;
}

static void test_parse_in(void **state)
{
    (void)state;
    union address address = numeric("127.0.0.1");
    assert_int_equal(address.in.sin_family, AF_INET);
    assert_int_equal(address.in.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    assert_int_equal(address.in.sin_port, 0);
    assert_int_equal(address_length(&address), sizeof(struct sockaddr_in));
}

static void test_parse_in6(void **state)
{
    (void)state;
    union address address = numeric("::1");
    assert_int_equal(address.in6.sin6_family, AF_INET6);
    assert_memory_equal(&address.in6.sin6_addr, &in6addr_loopback, sizeof(in6addr_loopback));
    assert_int_equal(address.in6.sin6_scope_id, 0);
    assert_int_equal(address_length(&address), sizeof(struct sockaddr_in6));
}

static void test_parse_scope(void **state)
{
    (void)state;
    union address address = numeric("fe80::1%lo");
    assert_int_equal(address.in6.sin6_scope_id, if_nametoindex("lo"));
    address = numeric("fe80::1%4711");
    assert_int_equal(address.in6.sin6_scope_id, 4711);
}

static void test_parse_names(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",
        "localhost",
        "example.com",
        "127.1",
        "127.0.0.1.",
        "256.0.0.1",
        "::1::",
        "[::1]",
        "fe80::1%",
        "127.0%lo",
        "fe80::1%no-such-0",
        "fe80::1%99999999999",
        "fe80::1%0",
        "fe80::1%7x",
        "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000%lo",
    };
    union address address;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_false(address_parse(&address, names[i]));
}

static void test_parse_port(void **state)
{
    (void)state;
    static const struct {
        const char *text, *addr;
        uint16_t port;
    } good[] = {
        {"192.0.2.1", "192.0.2.1", 53},     {"192.0.2.1:5353", "192.0.2.1", 5353},
        {"2001:db8::1", "2001:db8::1", 53}, {"[2001:db8::1]", "2001:db8::1", 53},
        {"[::1]:65535", "::1", 65535},
    };
    union address address;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        union address expected = numeric(good[i].addr);
        assert_true(address_parse_port(&address, good[i].text, strlen(good[i].text), 53));
        assert_int_equal(address_compare(&address, &expected), 0);
        assert_int_equal(ntohs(*address_port(&address)), good[i].port);
    }
    static const char *const bad[] = {
        "",
        "name",
        "192.0.2.1:",
        "192.0.2.1:0",
        "192.0.2.1:65536",
        "192.0.2.1:x",
        "[::1",
        "[::1]53",
        "[::1]:",
        "[::1]:0",
        "[192.0.2.1]:53",
        "[]",
        "1.2.3.4:5:6",
        "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(address_parse_port(&address, bad[i], strlen(bad[i]), 53));
    assert_true(address_parse_port(&address, "127.0.0.1:53x", strlen("127.0.0.1:53"), 1));
}

static void test_parse_list(void **state)
{
    (void)state;
    union address list[2];
    assert_int_equal(address_parse_list(list, 2, "", 53), 0);
    assert_int_equal(address_parse_list(list, 2, " 127.0.0.1\t[::1]:54 ", 53), 2);
    assert_int_equal(list[0].in.sin_port, htons(53));
    assert_int_equal(list[1].in6.sin6_port, htons(54));
    assert_int_equal(address_parse_list(list, 2, "127.0.0.1 127.0.0.2 127.0.0.3", 53), -1);
    assert_int_equal(address_parse_list(list, 2, "127.0.0.1 name", 53), -1);
    assert_int_equal(address_parse_list(list, 2, "127.0.0.1,127.0.0.2", 53), -1);
    assert_int_equal(address_parse_list(list, 2, "fe80::1%lo", 53), -1);
}

static void test_compare(void **state)
{
    (void)state;
    static const char *const ascending[] = {
        "127.0.0.1", "127.0.0.2", "192.0.2.1", "::1", "fe80::1", "fe80::1%1", "fe80::1%2",
    };
    for (size_t i = 0; i < ARRAY_LEN(ascending); i++) {
        for (size_t j = 0; j < ARRAY_LEN(ascending); j++) {
            union address a = numeric(ascending[i]), b = numeric(ascending[j]);
            int order = address_compare(&a, &b);
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
        }
    }
    union address a = numeric("::1"), b = a;
    *address_port(&b) = htons(80); /* is not considered */
    assert_int_equal(address_compare(&a, &b), 0);
}

static void test_format(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "127.0.0.1:80",
        "0.0.0.0:1",
        "255.255.255.255:65535",
        "[::1]:53",
        "[1111:2222:3333:4444:5555:6666:7777:8888]:65535",
        "[::ffff:192.0.2.255]:65535",
    };
    char text[ADDRESS_TEXT_MAX];
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        union address address;
        assert_true(address_parse_port(&address, texts[i], strlen(texts[i]), 1));
        assert_ptr_equal(address_format(&address, text), text);
        assert_string_equal(text, texts[i]);
    }
}

static void test_format_bare(void **state)
{
    (void)state;
    static const char *const texts[] = {"192.0.2.255", "::1", "fe80::1"};
    char text[ADDRESS_TEXT_MAX];
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        union address address = numeric(texts[i]);
        *address_port(&address) = htons(80);
        assert_ptr_equal(address_format_bare(&address, text), text);
        assert_string_equal(text, texts[i]);
    }
    union address scoped = numeric("fe80::1%lo");
    assert_string_equal(address_format_bare(&scoped, text), "fe80::1");
}

/* What comes out is what goes in. */
static void test_format_scoped(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "192.0.2.255",
        "::1",
        "fe80::1%lo",
        "2001:db8::1%7",
        "1111:2222:3333:4444:5555:6666:7777:8888%4294967295",
    };
    char text[ADDRESS_SCOPED_MAX];
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        union address address = numeric(texts[i]);
        assert_ptr_equal(address_format_scoped(&address, text), text);
        assert_string_equal(text, texts[i]);
    }
}

static void test_is_mapped(void **state)
{
    (void)state;
    union address address = numeric("::ffff:127.0.0.1");
    assert_true(address_is_mapped(&address));
    address = numeric("::1");
    assert_false(address_is_mapped(&address));
    address = numeric("127.0.0.1");
    assert_false(address_is_mapped(&address));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_in),    cmocka_unit_test(test_parse_in6),
        cmocka_unit_test(test_parse_scope), cmocka_unit_test(test_parse_names),
        cmocka_unit_test(test_parse_port),  cmocka_unit_test(test_parse_list),
        cmocka_unit_test(test_compare),     cmocka_unit_test(test_format),
        cmocka_unit_test(test_format_bare), cmocka_unit_test(test_format_scoped),
        cmocka_unit_test(test_is_mapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
