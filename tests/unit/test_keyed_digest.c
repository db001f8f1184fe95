/* SPDX-License-Identifier: ISC */
/* Digests of secrets: the same parts have the same digest, any difference gives another one, and so
 * does each key; if OpenSSL or the memory denies something there is none, and no harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "support/shortage.h"
#include "tls/keyed_digest.h"

#define PARTS_MAX 4

/* The call that is denied, after this many of it that are not; NULL: none. */
static const char *denied;
static unsigned granted_first;

static bool is_denied(const char *function)
{
    if (denied == NULL || strcmp(denied, function) != 0 || granted_first-- > 0)
        return false;
    denied = NULL;
    return true;
}

/* A function of OpenSSL that may be denied. */
#define DENIABLE(type, name, failed, parameters, arguments)                                        \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return is_denied(#name) ? (failed) : __real_##name arguments;                              \
    }

DENIABLE(EVP_MAC *, EVP_MAC_fetch, NULL,
         (OSSL_LIB_CTX * context, const char *name, const char *properties),
         (context, name, properties))
DENIABLE(EVP_MAC_CTX *, EVP_MAC_CTX_new, NULL, (EVP_MAC * mac), (mac))
DENIABLE(int, RAND_bytes, 0, (unsigned char *bytes, int count), (bytes, count))
DENIABLE(int, EVP_MAC_init, 0,
         (EVP_MAC_CTX * context, const unsigned char *key, size_t size, const OSSL_PARAM *params),
         (context, key, size, params))
DENIABLE(int, EVP_MAC_update, 0, (EVP_MAC_CTX * context, const unsigned char *data, size_t size),
         (context, data, size))
DENIABLE(int, EVP_MAC_final, 0,
         (EVP_MAC_CTX * context, unsigned char *out, size_t *length, size_t size),
         (context, out, length, size))

struct fingerprint {
    unsigned char bytes[KEYED_DIGEST_SIZE];
};

/* Of texts, up to a NULL. */
static struct fingerprint digest_of(struct keyed_digest *digest, const char *const *texts)
{
    struct iovec parts[PARTS_MAX];
    struct fingerprint made;
    int count = 0;

    for (; texts[count] != NULL; count++)
        parts[count] = (struct iovec){.iov_base = (char *)(uintptr_t)texts[count],
                                      .iov_len = strlen(texts[count])};
    assert_int_equal(keyed_digest_make(digest, parts, count, made.bytes), 0);
    return made;
}

static bool is_same(struct fingerprint a, struct fingerprint b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

static const char *const usual[] = {"user", "secret", NULL};

/* Also after others were made with the same key. */
static void test_same_parts(void **state)
{
    static const char *const other[] = {"user", "other", NULL}, *const none[] = {NULL};
    struct keyed_digest *digest = keyed_digest_new();

    (void)state;
    assert_non_null(digest);
    struct fingerprint first = digest_of(digest, usual);
    assert_true(is_same(digest_of(digest, usual), first));
    assert_false(is_same(digest_of(digest, other), first));
    digest_of(digest, none);
    assert_true(is_same(digest_of(digest, usual), first));
    keyed_digest_free(digest);
}

/* Each part is digested with its length: one user's password is not another user's name. */
static void test_different_parts(void **state)
{
    static const char *const lists[][PARTS_MAX] = {
        {NULL},           {"", NULL},           {"", "", NULL},       {"a", "b", NULL},
        {"ab", NULL},     {"ab", "", NULL},     {"", "ab", NULL},     {"b", "a", NULL},
        {"a", "B", NULL}, {"a", "b", "", NULL}, {"a", "", "b", NULL},
    };
    struct fingerprint made[ARRAY_LEN(lists)];
    struct keyed_digest *digest = keyed_digest_new();

    (void)state;
    assert_non_null(digest);
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        made[i] = digest_of(digest, lists[i]);
        for (size_t j = 0; j < i; j++) {
            if (is_same(made[i], made[j]))
                fail_msg("lists %zu and %zu have the same digest", j, i);
        }
    }
    keyed_digest_free(digest);
}

/* All bytes are considered, NUL among them. */
static void test_bytes(void **state)
{
    struct keyed_digest *digest = keyed_digest_new();
    char data[1000] = "";
    struct iovec part = {.iov_base = data, .iov_len = sizeof(data)};
    struct fingerprint zeros, last, shorter;

    (void)state;
    assert_non_null(digest);
    assert_int_equal(keyed_digest_make(digest, &part, 1, zeros.bytes), 0);
    data[sizeof(data) - 1] = 1;
    assert_int_equal(keyed_digest_make(digest, &part, 1, last.bytes), 0);
    part.iov_len--;
    assert_int_equal(keyed_digest_make(digest, &part, 1, shorter.bytes), 0);
    assert_false(is_same(zeros, last));
    assert_false(is_same(zeros, shorter));
    assert_false(is_same(last, shorter));
    keyed_digest_free(digest);
}

static void test_another_key(void **state)
{
    struct keyed_digest *one = keyed_digest_new(), *two = keyed_digest_new();

    (void)state;
    assert_non_null(one);
    assert_non_null(two);
    assert_false(is_same(digest_of(one, usual), digest_of(two, usual)));
    keyed_digest_free(one);
    keyed_digest_free(two);
    keyed_digest_free(NULL);
}

static void test_shortage_at_start(void **state)
{
    static const char *const calls[] = {"EVP_MAC_fetch", "EVP_MAC_CTX_new", "RAND_bytes",
                                        "EVP_MAC_init"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        denied = calls[i];
        granted_first = 0;
        assert_null(keyed_digest_new());
        assert_null(denied);
    }
    shortage_of_calloc(1);
    assert_null(keyed_digest_new());
    assert_true(shortage_came());
}

/* What failed once succeeds the next time. */
static void test_shortage(void **state)
{
    static const struct {
        const char *call;
        unsigned granted_first;
    } cases[] = {{"EVP_MAC_init", 0},
                 {"EVP_MAC_update", 0},
                 {"EVP_MAC_update", 1},
                 {"EVP_MAC_update", 3},
                 {"EVP_MAC_final", 0}};
    struct keyed_digest *digest = keyed_digest_new();
    char user[] = "user", secret[] = "secret";
    const struct iovec parts[] = {{user, strlen(user)}, {secret, strlen(secret)}};

    (void)state;
    assert_non_null(digest);
    struct fingerprint expected = digest_of(digest, usual), made;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        denied = cases[i].call;
        granted_first = cases[i].granted_first;
        errno = 0;
        assert_int_equal(keyed_digest_make(digest, parts, ARRAY_LEN(parts), made.bytes), -1);
        assert_int_equal(errno, ENOMEM);
        assert_null(denied);
        assert_true(is_same(digest_of(digest, usual), expected));
    }
    keyed_digest_free(digest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_parts), cmocka_unit_test(test_different_parts),
        cmocka_unit_test(test_bytes),      cmocka_unit_test(test_another_key),
        cmocka_unit_test(test_shortage),   cmocka_unit_test(test_shortage_at_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
