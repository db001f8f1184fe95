/* SPDX-License-Identifier: ISC */
/* What is not a regular file is rejected without waiting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/regular_file.h"

#define WAIT_MAX 30 /* seconds, for what must not wait */

static char folder[] = "/tmp/kaproxy-test-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    alarm(WAIT_MAX);
    return mkdtemp(folder) == NULL ? -1 : chdir(folder);
}

static int tear_down(void **state)
{
    static const char *const names[] = {"file", "link", "fifo", "socket"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unlink(names[i]);
    return chdir("/") == 0 ? rmdir(folder) : -1;
}

static void test_regular(void **state)
{
    const char *mistake = "";
    char text[8] = "";
    (void)state;
    FILE *file = fopen("file", "we");
    assert_non_null(file);
    fputs("abc", file);
    fclose(file);
    assert_int_equal(symlink("file", "link"), 0);
    int fd = regular_file_open("link", &mistake);
    assert_true(fd >= 0);
    assert_null(mistake);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(read(fd, text, sizeof(text)), 3);
    assert_string_equal(text, "abc");
    close(fd);
    assert_null(regular_file_check("file"));
}

static void assert_refused(const char *path, const char *text)
{
    const char *mistake = NULL;
    int next = dup(STDIN_FILENO); /* the lowest one that is free */
    close(next);
    assert_int_equal(regular_file_open(path, &mistake), -1);
    assert_string_equal(mistake, text);
    assert_string_equal(regular_file_check(path), text);
    int again = dup(STDIN_FILENO);
    assert_int_equal(again, next);
    close(again);
}

static void test_others(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    assert_refused("fifo", "is not a regular file");
    assert_refused("/dev/zero", "is not a regular file");
    assert_refused(".", strerror(EISDIR));
    assert_refused("none", strerror(ENOENT));
    assert_refused("socket", strerror(ENXIO));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regular),
        cmocka_unit_test(test_others),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
