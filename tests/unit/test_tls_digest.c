/* SPDX-License-Identifier: ISC */
/* TLS settings by value: every option is considered, and the content of the files, but nothing else
 * about them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "tls/tls.h"

/* Ends a test that waits forever. */
#define WAIT_MAX 60

static char folder[] = "/tmp/kaproxy-test.XXXXXX";

/* Fills the folder that is the current one during all tests. */
static int set_up(void **state)
{
    (void)state;
    alarm(WAIT_MAX);
    assert_non_null(mkdtemp(folder));
    return chdir(folder);
}

static int tear_down(void **state)
{
    static const char *const files[] = {"a", "b", "c", "fifo"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        unlink(files[i]);
    assert_int_equal(chdir("/"), 0);
    return rmdir(folder);
}

static void fill(const char *file, const char *text, size_t length)
{
    FILE *out = fopen(file, "we");
    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, length, out), length);
    fclose(out);
}

static const struct tls_options usual = {
    .server_name = "x",
    .verify = true,
    .ca_file = "a",
    .cert_file = "b",
    .key_file = "c",
    .min_version = "1.2",
    .alpn = "http/1.1",
};

static int write_files(void **state)
{
    (void)state;
    fill("a", "1", 1);
    fill("b", "1", 1);
    fill("c", "1", 1);
    return 0;
}

static bool same(const struct tls_options *a, const struct tls_options *b)
{
    unsigned char digests[2][TLS_DIGEST_SIZE];
    struct tls_mistake mistake;
    assert_int_equal(tls_digest(a, digests[0], &mistake), 0);
    assert_int_equal(tls_digest(b, digests[1], &mistake), 0);
    return memcmp(digests[0], digests[1], TLS_DIGEST_SIZE) == 0;
}

static void test_texts_and_not_pointers(void **state)
{
    char name[] = "x", file[] = "a";
    struct tls_options options = usual;
    (void)state;
    options.server_name = name;
    options.ca_file = file;
    assert_true(same(&usual, &options));
}

/* The files' content is the same here. */
static void test_each_option(void **state)
{
    struct tls_options others[] = {usual, usual, usual, usual, usual, usual,
                                   usual, usual, usual, usual, usual};
    size_t count = 0;
    (void)state;
    count++; /* the first one stays */
    others[count++].server_name = "y";
    others[count++].verify = false;
    others[count++].ca_file = "b";
    others[count++].ca_file = "";
    others[count++].cert_file = "a";
    others[count++].key_file = "b";
    others[count++].min_version = "1.3";
    others[count++].alpn = NULL;
    others[count++].alpn = "";
    others[count++].bare_end = true;
    assert_int_equal(count, ARRAY_LEN(others));
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++)
            assert_int_equal(same(&others[i], &others[j]), i == j);
    }
}

/* Where one option ends and the next one begins. */
static void test_borders(void **state)
{
    struct tls_options one = usual, two = usual;
    (void)state;
    one.cert_file = one.key_file = two.cert_file = two.key_file = "";
    one.min_version = "1.";
    one.alpn = "2h";
    two.min_version = "1.2";
    two.alpn = "h";
    assert_false(same(&one, &two));
}

static void test_content(void **state)
{
    static const char *const files[] = {"a", "b", "c"};
    unsigned char before[TLS_DIGEST_SIZE], after[TLS_DIGEST_SIZE];
    struct tls_mistake mistake;
    char *large = calloc(1, 100000);
    (void)state;
    assert_non_null(large);
    assert_int_equal(tls_digest(&usual, before, &mistake), 0);
    assert_string_equal(mistake.text, "");
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        fill(files[i], "2", 1);
        assert_int_equal(tls_digest(&usual, after, &mistake), 0);
        assert_memory_not_equal(before, after, TLS_DIGEST_SIZE);
        fill(files[i], "1", 1);
        assert_int_equal(tls_digest(&usual, after, &mistake), 0);
        assert_memory_equal(before, after, TLS_DIGEST_SIZE);
    }
    fill("a", large, 100000);
    assert_int_equal(tls_digest(&usual, before, &mistake), 0);
    large[99999] = 1;
    fill("a", large, 100000);
    assert_int_equal(tls_digest(&usual, after, &mistake), 0);
    assert_memory_not_equal(before, after, TLS_DIGEST_SIZE);
    free(large);
}

/* A file that can be read only once, such as a pipe, would block a second reading. */
static void test_mistakes(void **state)
{
    unsigned char digest[TLS_DIGEST_SIZE];
    struct tls_options options = usual;
    struct tls_mistake mistake;
    (void)state;
    options.key_file = "none";
    assert_int_equal(tls_digest(&options, digest, &mistake), -1);
    assert_int_equal(mistake.option, TLS_OPTION_KEY_FILE);
    assert_string_equal(mistake.text, "No such file or directory");
    assert_int_equal(mkfifo("fifo", 0600), 0);
    options.cert_file = "fifo";
    assert_int_equal(tls_digest(&options, digest, &mistake), -1);
    assert_int_equal(mistake.option, TLS_OPTION_CERT_FILE);
    assert_string_equal(mistake.text, "is not a regular file");
    options.ca_file = "/";
    assert_int_equal(tls_digest(&options, digest, &mistake), -1);
    assert_int_equal(mistake.option, TLS_OPTION_CA_FILE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_texts_and_not_pointers, write_files),
        cmocka_unit_test_setup(test_each_option, write_files),
        cmocka_unit_test_setup(test_borders, write_files),
        cmocka_unit_test_setup(test_content, write_files),
        cmocka_unit_test_setup(test_mistakes, write_files),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
