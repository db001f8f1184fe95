/* SPDX-License-Identifier: ISC */
/* Which names a name expands to by resolv.conf. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "net/search_list.h"

static char file[] = "/tmp/kaproxy-test-XXXXXX";

static int setup(void **state)
{
    (void)state;
    unsetenv("LOCALDOMAIN");
    unsetenv("RES_OPTIONS");
    int fd = mkstemp(file);
    close(fd);
    return fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    return unlink(file);
}

static void write_file(const char *text)
{
    FILE *stream = fopen(file, "w");
    assert_non_null(stream);
    fputs(text, stream);
    fclose(stream);
}

/* All that a name expands to, separated by whitespace. */
static void assert_names(const char *text, const char *name, const char *expected)
{
    struct search_list list;
    char full[SEARCH_NAME_MAX], all[2048] = "";
    write_file(text);
    assert_int_equal(search_list_read(&list, file), 0);
    for (size_t place = 0; search_list_name(&list, name, place, full); place++) {
        size_t length = strlen(all);
        snprintf(all + length, sizeof(all) - length, "%s%s", place == 0 ? "" : " ", full);
    }
    assert_string_equal(all, expected);
    search_list_clear(&list);
}

static void test_search(void **state)
{
    (void)state;
    const char *two = "nameserver 192.0.2.1\nsearch one.test two.test\n";
    assert_names(two, "db", "db.one.test. db.two.test. db.");
    assert_names(two, "db.x", "db.x. db.x.one.test. db.x.two.test.");
    assert_names(two, "db.", "db.");
    assert_names("search .\n", "db", "db."); /* as systemd-resolved writes it */
    assert_names("search one.test. . two.test", "db", "db.one.test. db.two.test. db.");
    assert_names("#search a\n;search b\n search c\nsearching d\nsearch\nsearch e\tf \n", "db",
                 "db.e. db.f. db.");
}

static void test_last_one_counts(void **state)
{
    (void)state;
    assert_names("domain one.test\nsearch two.test\n", "db", "db.two.test. db.");
    assert_names("search two.test three.test\ndomain one.test four.test\n", "db",
                 "db.one.test. db.");
}

static void test_ndots(void **state)
{
    (void)state;
    const char *five = "search one.test\noptions edns0 ndots:2 rotate\n";
    assert_names(five, "db", "db.one.test. db.");
    assert_names(five, "db.x", "db.x.one.test. db.x.");
    assert_names(five, "db.x.y", "db.x.y. db.x.y.one.test.");
    assert_names(five, "db.x.", "db.x.");
    assert_names("search one.test\noptions ndots:0\n", "db", "db. db.one.test.");
    assert_names("search one.test\noptions ndots:99\n", "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p",
                 "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p. a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.one.test.");
    assert_names("search one.test\noptions ndots:x ndots:\n", "db.x", "db.x. db.x.one.test.");
}

/* Kubernetes writes up to 32 domains. */
static void test_many_domains(void **state)
{
    (void)state;
    char text[512] = "search", expected[512] = "";
    for (int i = 0; i < 32; i++) {
        size_t length = strlen(text);
        snprintf(text + length, sizeof(text) - length, " d%d", i);
        length = strlen(expected);
        snprintf(expected + length, sizeof(expected) - length, "db.d%d. ", i);
    }
    strcat(expected, "db.");
    assert_names(text, "db", expected);
}

static void test_environment(void **state)
{
    (void)state;
    setenv("LOCALDOMAIN", "three.test four.test", 1);
    setenv("RES_OPTIONS", "timeout:1 ndots:2", 1);
    assert_names("search one.test\noptions ndots:1\n", "db.x",
                 "db.x.three.test. db.x.four.test. db.x.");
    setenv("LOCALDOMAIN", "", 1);
    assert_names("search one.test\n", "db", "db.");
    unsetenv("LOCALDOMAIN");
    unsetenv("RES_OPTIONS");
}

/* A truncated name is still too long for DNS. */
static void test_long_names(void **state)
{
    (void)state;
    struct search_list list;
    char text[1024] = "search ", full[SEARCH_NAME_MAX];
    memset(text + 7, 'd', 1000);
    write_file(text);
    assert_int_equal(search_list_read(&list, file), 0);
    assert_true(search_list_name(&list, "db", 0, full));
    assert_int_equal(strlen(full), SEARCH_NAME_MAX - 1);
    search_list_clear(&list);
}

/* The name of this machine may have a domain; the test cannot change that. */
static void test_no_file(void **state)
{
    (void)state;
    struct search_list list;
    char full[SEARCH_NAME_MAX];
    assert_int_equal(search_list_read(&list, "/nonexistent/resolv.conf"), 0);
    assert_true(search_list_name(&list, "db.x", 0, full));
    assert_string_equal(full, "db.x.");
    search_list_clear(&list);
}

/* This is not a reason to forget the list. */
static void test_no_descriptor(void **state)
{
    (void)state;
    struct search_list list;
    struct rlimit usual, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    none = usual;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int result = search_list_read(&list, file), number = errno;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
    assert_int_equal(result, -1);
    assert_int_equal(number, EMFILE);
    assert_null(list.domains);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_search),      cmocka_unit_test(test_last_one_counts),
        cmocka_unit_test(test_ndots),       cmocka_unit_test(test_many_domains),
        cmocka_unit_test(test_environment), cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_no_file),     cmocka_unit_test(test_no_descriptor),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
