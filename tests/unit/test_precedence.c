/* SPDX-License-Identifier: ISC */
/* Which family comes first, by the rules of RFC 6724. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"
#include "net/precedence.h"

static struct destination make(const char *address, const char *source)
{
    struct destination destination = {.usable = source != NULL};
    assert_true(address_parse(&destination.address, address));
    if (source != NULL)
        assert_true(address_parse(&destination.source, source));
    return destination;
}

/* The first precedes the second; a source of NULL: there is no route. */
struct row {
    const char *first, *first_source, *second, *second_source;
};

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct destination first = make(rows[i].first, rows[i].first_source);
        struct destination second = make(rows[i].second, rows[i].second_source);
        if (precedence_is_lower(&first, &second) || !precedence_is_lower(&second, &first))
            fail_msg("%s does not precede %s", rows[i].first, rows[i].second);
    }
}

#define CHECK(rows) check_rows(rows, ARRAY_LEN(rows))

/* Examples of RFC 6724 section 10.2, if they have both families, and some more. */
static void test_usable_first(void **state)
{
    (void)state;
    const struct row rows[] = {
        {"198.51.100.121", "198.51.100.117", "2001:db8:1::1", NULL},
        {"2001:db8:1::1", "2001:db8:1::2", "198.51.100.121", NULL},
        {"2002:c633:6401::1", "fec0::1", "198.51.100.121", NULL}, /* it has nothing else */
    };
    CHECK(rows);
}

static void test_matching_scope(void **state)
{
    (void)state;
    const struct row rows[] = {
        {"2001:db8:1::1", "2001:db8:1::2", "198.51.100.121", "169.254.13.78"},
        {"198.51.100.121", "198.51.100.117", "2001:db8:1::1", "fe80::1"},
        {"10.1.2.3", "10.1.2.4", "2001:db8:1::1", "fe80::1"}, /* a private address is global */
        {"198.51.100.121", "198.51.100.117", "2001:db8:1::1", "fec0::1"},
        {"198.51.100.121", "198.51.100.117", "2001:db8:1::1", "::1"},
        {"2001:db8:1::1", "2001:db8:1::2", "198.51.100.121", "127.0.0.1"},
    };
    CHECK(rows);
}

static void test_matching_label(void **state)
{
    (void)state;
    const struct row rows[] = {
        {"198.51.100.121", "198.51.100.117", "2001:db8:1::1", "2002:c633:6401::2"},
        {"198.51.100.121", "198.51.100.117", "2001:db8:1::1", "fd00::2"},
        {"198.51.100.121", "198.51.100.117", "2001:db8:1::1", "2001::2"}, /* Teredo */
    };
    CHECK(rows);
}

static void test_precedence(void **state)
{
    (void)state;
    const struct row rows[] = {
        {"2001:db8:1::1", "2001:db8:1::2", "10.1.2.3", "10.1.2.4"},
        {"::1", "::1", "127.0.0.1", "127.0.0.1"},
        {"fe80::1", "fe80::2", "169.254.1.1", "169.254.1.2"},
        {"198.51.100.121", "198.51.100.117", "2002:c633:6401::1", "2002:c633:6401::2"},
        {"198.51.100.121", "198.51.100.117", "fd00::1", "fd00::2"},
        {"198.51.100.121", "198.51.100.117", "2001::1", "2001::2"},
        {"198.51.100.121", "198.51.100.117", "fec0::1", "2001:db8::2"},
        {"198.51.100.121", "198.51.100.117", "3ffe::1", "3ffe::2"},
        {"198.51.100.121", "198.51.100.117", "::192.0.2.1", "::192.0.2.2"},
        /* Neither has a route. */
        {"2001:db8:1::1", NULL, "198.51.100.121", NULL},
    };
    CHECK(rows);
}

static void test_alike(void **state)
{
    (void)state;
    struct destination a = make("::ffff:192.0.2.1", "::ffff:192.0.2.3");
    struct destination b = make("192.0.2.2", "192.0.2.3");
    assert_false(precedence_is_lower(&a, &b));
    assert_false(precedence_is_lower(&b, &a));
}

static void test_asks_the_kernel(void **state)
{
    union address address;
    struct destination destination;
    (void)state;
    assert_true(address_parse(&address, "127.0.0.5"));
    precedence_init(&destination, &address);
    assert_true(destination.usable);
    assert_int_equal(address_compare(&destination.address, &address), 0);
    assert_true(address_parse(&address, "127.0.0.1"));
    assert_int_equal(address_compare(&destination.source, &address), 0);
    assert_true(address_parse(&address, "255.255.255.255")); /* without permission to broadcast */
    precedence_init(&destination, &address);
    assert_false(destination.usable);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usable_first),   cmocka_unit_test(test_matching_scope),
        cmocka_unit_test(test_matching_label), cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_alike),          cmocka_unit_test(test_asks_the_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
