/* SPDX-License-Identifier: ISC */
/* The numbers of users and groups: found, not there, or not available. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <grp.h>
#include <pwd.h>

#include "base/account.h"

/* What lookups end with, instead of being done; and the memory that they need. */
static int failure;
static size_t wanted;

int __real_getpwnam_r(const char *name, struct passwd *entry, char *buffer, size_t size,
                      struct passwd **result);
int __wrap_getpwnam_r(const char *name, struct passwd *entry, char *buffer, size_t size,
                      struct passwd **result);
int __real_getgrnam_r(const char *name, struct group *entry, char *buffer, size_t size,
                      struct group **result);
int __wrap_getgrnam_r(const char *name, struct group *entry, char *buffer, size_t size,
                      struct group **result);

int __wrap_getpwnam_r(const char *name, struct passwd *entry, char *buffer, size_t size,
                      struct passwd **result)
{
    *result = NULL;
    if (failure != 0)
        return failure;
    return size < wanted ? ERANGE : __real_getpwnam_r(name, entry, buffer, size, result);
}

int __wrap_getgrnam_r(const char *name, struct group *entry, char *buffer, size_t size,
                      struct group **result)
{
    *result = NULL;
    if (failure != 0)
        return failure;
    return size < wanted ? ERANGE : __real_getgrnam_r(name, entry, buffer, size, result);
}

static void assert_not_found(int error)
{
    uid_t uid;
    gid_t gid;
    errno = EINTR;
    assert_int_equal(account_find_user("no-such-user", &uid, &gid), -1);
    assert_int_equal(errno, error);
    errno = EINTR;
    assert_int_equal(account_find_group("no-such-group", &gid), -1);
    assert_int_equal(errno, error);
}

static void assert_found(void)
{
    uid_t uid = 1;
    gid_t gid = 1, group = 1;
    assert_int_equal(account_find_user("root", &uid, &gid), 0);
    assert_int_equal(uid, 0);
    assert_int_equal(gid, 0);
    assert_int_equal(account_find_group("root", &group), 0);
    assert_int_equal(group, 0);
}

static void test_found(void **state)
{
    (void)state;
    assert_found();
}

static void test_not_there(void **state)
{
    static const int errors[] = {0, ENOENT, ESRCH, EBADF, EPERM};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        failure = errors[i];
        assert_not_found(0);
    }
    failure = 0;
}

static void test_failures(void **state)
{
    (void)state;
    failure = EMFILE;
    assert_not_found(EMFILE);
    failure = 0;
}

/* A group with many members takes more than the first attempt provides, but not without bound. */
static void test_large_entries(void **state)
{
    (void)state;
    wanted = 100000;
    assert_found();
    wanted = SIZE_MAX;
    assert_not_found(ERANGE);
    wanted = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_not_there),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_large_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
