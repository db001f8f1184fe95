/* SPDX-License-Identifier: ISC */
/* When an address is missing, and when it is gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "net/address_book.h"

#define SECOND USEC_PER_SEC

struct world {
    struct address_book book;
    usec_t now;
};

static union address numeric(const char *text)
{
    union address address;
    assert_true(address_parse(&address, text));
    return address;
}

/* An answer: addresses separated by whitespace. */
static bool note(struct world *world, sa_family_t family, const char *list)
{
    union address addresses[16];
    int count = address_parse_list(addresses, ARRAY_LEN(addresses), list, 0);
    assert_true(count >= 0);
    return address_book_note(&world->book, family, addresses, (size_t)count, world->now);
}

static bool note4(struct world *world, const char *list)
{
    return note(world, AF_INET, list);
}

static void assert_list(const struct world *world, sa_family_t family, const char *list)
{
    union address listed[ADDRESS_BOOK_MAX], expected[16];
    size_t count = address_book_list(&world->book, family, listed);
    assert_int_equal(count, address_parse_list(expected, ARRAY_LEN(expected), list, 0));
    for (size_t i = 0; i < count; i++)
        assert_int_equal(address_compare(&listed[i], &expected[i]), 0);
}

static const struct address_entry *find(const struct world *world, const char *text)
{
    union address address = numeric(text);
    *address_port(&address) = htons(80); /* is not considered */
    return address_book_find(&world->book, &address);
}

static bool is_missing(const struct world *world, const char *text)
{
    const struct address_entry *entry = find(world, text);
    assert_non_null(entry);
    return entry->missed > 0;
}

static void test_lists_the_last_answer(void **state)
{
    struct world world = {0};
    (void)state;
    assert_list(&world, AF_INET, "");
    assert_true(note4(&world, "192.0.2.1 192.0.2.2 192.0.2.3"));
    assert_list(&world, AF_INET, "192.0.2.1 192.0.2.2 192.0.2.3");
    assert_false(note4(&world, "192.0.2.3 192.0.2.1 192.0.2.2 192.0.2.1")); /* another order */
    assert_list(&world, AF_INET, "192.0.2.3 192.0.2.1 192.0.2.2");
    assert_false(address_book_lacks(&world.book));
    assert_true(note4(&world, "192.0.2.4 192.0.2.2"));
    assert_list(&world, AF_INET, "192.0.2.4 192.0.2.2");
    assert_true(address_book_lacks(&world.book));
    assert_true(is_missing(&world, "192.0.2.1"));
    assert_false(is_missing(&world, "192.0.2.2"));
    assert_null(find(&world, "192.0.2.5"));
    assert_true(note4(&world, "192.0.2.1 192.0.2.4 192.0.2.2")); /* one is back */
    assert_list(&world, AF_INET, "192.0.2.1 192.0.2.4 192.0.2.2");
}

static void test_families_are_apart(void **state)
{
    struct world world = {0};
    (void)state;
    note4(&world, "192.0.2.1 2001:db8::9"); /* the other family's is ignored */
    assert_null(find(&world, "2001:db8::9"));
    assert_true(note(&world, AF_INET6, "2001:db8::1 2001:db8::2"));
    assert_list(&world, AF_INET6, "2001:db8::1 2001:db8::2");
    assert_list(&world, AF_INET, "192.0.2.1");
    assert_true(note(&world, AF_INET6, ""));
    assert_list(&world, AF_INET6, "");
    assert_true(is_missing(&world, "2001:db8::1"));
    assert_false(is_missing(&world, "192.0.2.1"));
}

/* Three answers without it, and 30 seconds: neither is enough on its own. */
static void test_gone(void **state)
{
    struct world world = {.now = 1000 * SECOND};
    (void)state;
    note4(&world, "192.0.2.1 192.0.2.2");
    for (int i = 0; i < 29; i++) { /* each second */
        world.now += SECOND;
        note4(&world, "192.0.2.1");
        assert_true(is_missing(&world, "192.0.2.2"));
    }
    world.now += 2 * SECOND;
    assert_true(note4(&world, "192.0.2.1")); /* what is reported is that it is gone */
    assert_null(find(&world, "192.0.2.2"));
    assert_false(note4(&world, "192.0.2.1"));
    assert_false(address_book_lacks(&world.book));

    note4(&world, "192.0.2.1 192.0.2.2");
    world.now += 60 * SECOND;
    note4(&world, "192.0.2.1");
    world.now += 60 * SECOND;
    note4(&world, "192.0.2.1");
    assert_true(is_missing(&world, "192.0.2.2"));
    note4(&world, "192.0.2.1");
    assert_null(find(&world, "192.0.2.2"));
}

static void test_counts_again_once_it_is_back(void **state)
{
    struct world world = {.now = 1000 * SECOND};
    (void)state;
    note4(&world, "192.0.2.1 192.0.2.2");
    for (int i = 0; i < 10; i++) {
        note4(&world, "192.0.2.1");
        world.now += 15 * SECOND;
        note4(&world, "192.0.2.1");
        world.now += 15 * SECOND;
        assert_true(note4(&world, "192.0.2.2 192.0.2.1"));
        assert_false(is_missing(&world, "192.0.2.2"));
    }
}

static union address numbered(unsigned number)
{
    char text[32];
    snprintf(text, sizeof(text), "192.0.%u.%u", number / 200, number % 200 + 1);
    return numeric(text);
}

static void note_numbered(struct world *world, unsigned first, unsigned count)
{
    union address addresses[100];
    assert_true(count <= ARRAY_LEN(addresses));
    for (unsigned i = 0; i < count; i++)
        addresses[i] = numbered(first + i);
    address_book_note(&world->book, AF_INET, addresses, count, world->now);
}

static bool knows(const struct world *world, unsigned number)
{
    union address address = numbered(number);
    return address_book_find(&world->book, &address) != NULL;
}

/* 4 of 64 in turn are all remembered; of more, those that were missing longest are not. */
static void test_remembers_so_many(void **state)
{
    struct world world = {.now = 1000 * SECOND};
    (void)state;
    assert_int_equal(ADDRESS_BOOK_MAX, 64);
    for (unsigned i = 0; i < 16; i++, world.now += SECOND)
        note_numbered(&world, 4 * i, 4);
    for (unsigned i = 0; i < 64; i++)
        assert_true(knows(&world, i));
    note_numbered(&world, 64, 4);
    assert_int_equal(world.book.count, 64);
    for (unsigned i = 0; i < 68; i++)
        assert_int_equal(knows(&world, i), i >= 4);
}

/* An answer with more than that: those that have a place keep it, whatever their order. */
static void test_long_answers(void **state)
{
    struct world world = {.now = 1000 * SECOND};
    union address listed[ADDRESS_BOOK_MAX], rotated[100];
    (void)state;
    note_numbered(&world, 0, 100);
    assert_int_equal(address_book_list(&world.book, AF_INET, listed), 64);
    for (unsigned i = 0; i < 100; i++)
        rotated[i] = numbered((i + 50) % 100);
    assert_false(address_book_note(&world.book, AF_INET, rotated, 100, world.now));
    assert_int_equal(address_book_list(&world.book, AF_INET, listed), 64);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(knows(&world, i), i < 64);
    assert_int_equal(address_compare(&listed[0], &rotated[0]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists_the_last_answer),
        cmocka_unit_test(test_families_are_apart),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_counts_again_once_it_is_back),
        cmocka_unit_test(test_remembers_so_many),
        cmocka_unit_test(test_long_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
