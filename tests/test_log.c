/* The logs: form of a line, levels, files that are moved away, and disks that are full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

#define TIME "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z"

/* A folder of the test's own, and where standard error went before. */
struct fixture {
    char folder[64];
    char file[80], other[80];
    int standard_error;
    char text[16384];
};

static void redirect(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    close(fd);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    snprintf(f->folder, sizeof(f->folder), "/tmp/test_log.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->file, sizeof(f->file), "%s/file", f->folder);
    snprintf(f->other, sizeof(f->other), "%s/other", f->folder);
    f->standard_error = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    assert_true(f->standard_error >= 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    log_close();
    dup2(f->standard_error, STDERR_FILENO);
    close(f->standard_error);
    unlink(f->file);
    unlink(f->other);
    assert_int_equal(rmdir(f->folder), 0);
    free(f);
    return 0;
}

static const char *content(struct fixture *f, const char *path)
{
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    size_t n = fread(f->text, 1, sizeof(f->text) - 1, file);
    f->text[n] = '\0';
    fclose(file);
    return f->text;
}

static void open_messages(const char *target, enum log_level level)
{
    assert_int_equal(log_open(target, level), 0);
}

static void open_accesses(const char *target)
{
    assert_int_equal(log_access_open(target), 0);
}

static void access_line(const char *line)
{
    log_access(line, strlen(line));
}

static void assert_matches(const char *text, const char *pattern)
{
    regex_t regex;
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    int result = regexec(&regex, text, 0, NULL, 0);
    regfree(&regex);
    if (result != 0)
        fail_msg("\"%s\" does not match \"%s\"", text, pattern);
}

/* The form of a line */

static void test_line_of_each_level(void **state)
{
    struct fixture *f = *state;
    open_messages(f->file, LOG_LEVEL_DEBUG);
    log_error("one");
    log_warning("%s", "two");
    log_notice("%d", 3);
    log_info("four%%");
    log_debug("five");
    assert_matches(content(f, f->file),
                   "^" TIME " error: one\n" TIME " warning: two\n" TIME " notice: 3\n" TIME
                   " info: four%\n" TIME " debug: five\n$");
}

static void test_long_line_is_cut(void **state)
{
    struct fixture *f = *state;
    char long_text[5000];
    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    open_messages(f->file, LOG_LEVEL_NOTICE);
    log_notice("%s", long_text);
    log_notice("next");
    assert_matches(content(f, f->file),
                   "^" TIME " notice: xxxxxxxxxxxx*\n" TIME " notice: next\n$");
    assert_in_range(strchr(f->text, '\n') - f->text, 1000, 2047);
}

/* Levels and targets */

static int evaluations;

static int evaluated(void)
{
    return ++evaluations;
}

static void test_level_decides(void **state)
{
    struct fixture *f = *state;
    open_messages(f->file, LOG_LEVEL_WARNING);
    assert_true(log_enabled(LOG_LEVEL_ERROR));
    assert_true(log_enabled(LOG_LEVEL_WARNING));
    assert_false(log_enabled(LOG_LEVEL_NOTICE));
    log_warning("heard");
    log_notice("unheard");
    log_debug("%d", evaluated());
    assert_int_equal(evaluations, 0);
    assert_matches(content(f, f->file), "^" TIME " warning: heard\n$");
}

static void test_starts_with_standard_error(void **state)
{
    struct fixture *f = *state;
    redirect(f->file);
    log_notice("before any log is open");
    log_info("not at this level");
    assert_false(log_access_enabled());
    access_line("off\n");
    assert_matches(content(f, f->file), "^" TIME " notice: before any log is open\n$");
}

static void test_standard_error_survives_a_close(void **state)
{
    struct fixture *f = *state;
    redirect(f->file);
    open_messages("stderr", LOG_LEVEL_NOTICE);
    open_accesses("stderr");
    log_notice("one");
    access_line("two\n");
    log_close();
    assert_false(log_access_enabled());
    log_notice("three");
    assert_matches(content(f, f->file), "^" TIME " notice: one\ntwo\n" TIME " notice: three\n$");
}

static void test_off(void **state)
{
    struct fixture *f = *state;
    open_accesses(f->file);
    assert_true(log_access_enabled());
    access_line("one\n");
    open_accesses("off");
    assert_false(log_access_enabled());
    access_line("two\n");
    assert_string_equal(content(f, f->file), "one\n");
}

static void test_access_log_is_apart(void **state)
{
    struct fixture *f = *state;
    open_messages(f->file, LOG_LEVEL_NOTICE);
    open_accesses(f->other);
    log_notice("message");
    access_line("access\n");
    assert_matches(content(f, f->file), "^" TIME " notice: message\n$");
    assert_string_equal(content(f, f->other), "access\n");
}

static void test_file_is_appended_to(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    open_accesses(f->file);
    access_line("one\n");
    log_close();
    open_accesses(f->file);
    access_line("two\n");
    assert_string_equal(content(f, f->file), "one\ntwo\n");
    assert_int_equal(stat(f->file, &st), 0);
    assert_int_equal(st.st_mode & 07137, 0); /* nothing that 0640 does not have */
}

static void test_file_that_cannot_be_opened(void **state)
{
    struct fixture *f = *state;
    char missing[100];
    snprintf(missing, sizeof(missing), "%s/missing/file", f->folder);
    open_messages(f->file, LOG_LEVEL_NOTICE);
    open_accesses(f->other);
    assert_int_equal(log_open(missing, LOG_LEVEL_DEBUG), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(log_access_open(missing), -1);
    assert_false(log_enabled(LOG_LEVEL_DEBUG));
    log_notice("still here");
    access_line("here too\n");
    assert_matches(content(f, f->file), "^" TIME " notice: still here\n$");
    assert_string_equal(content(f, f->other), "here too\n");
}

/* How many descriptors are open that a program started now would inherit, or not. */
static unsigned count_descriptors(int flags)
{
    unsigned count = 0;
    for (int fd = 0; fd < 100; fd++)
        count += fcntl(fd, F_GETFD) == flags;
    return count;
}

static void test_files_do_not_pile_up(void **state)
{
    struct fixture *f = *state;
    unsigned closing = count_descriptors(FD_CLOEXEC), inherited = count_descriptors(0);
    for (int i = 0; i < 3; i++) {
        open_messages(f->file, LOG_LEVEL_NOTICE);
        open_accesses(f->file);
        log_reopen();
    }
    assert_int_equal(count_descriptors(FD_CLOEXEC), closing + 2);
    assert_int_equal(count_descriptors(0), inherited);
    log_close();
    assert_int_equal(count_descriptors(FD_CLOEXEC), closing);
}

/* Files that are moved away */

static void test_reopen_after_a_rename(void **state)
{
    struct fixture *f = *state;
    open_accesses(f->file);
    access_line("one\n");
    assert_int_equal(rename(f->file, f->other), 0);
    access_line("two\n");
    log_reopen();
    access_line("three\n");
    assert_string_equal(content(f, f->other), "one\ntwo\n");
    assert_string_equal(content(f, f->file), "three\n");
}

static void test_both_logs_are_reopened(void **state)
{
    struct fixture *f = *state;
    open_messages(f->file, LOG_LEVEL_NOTICE);
    open_accesses(f->other);
    assert_int_equal(unlink(f->file), 0);
    assert_int_equal(unlink(f->other), 0);
    log_reopen();
    log_notice("message");
    access_line("access\n");
    assert_matches(content(f, f->file), "^" TIME " notice: message\n$");
    assert_string_equal(content(f, f->other), "access\n");
}

static void test_reopen_that_fails_keeps_the_old_file(void **state)
{
    struct fixture *f = *state;
    char moved[100];
    open_messages(f->other, LOG_LEVEL_NOTICE);
    open_accesses(f->file);
    snprintf(moved, sizeof(moved), "%s.moved", f->file);
    assert_int_equal(rename(f->file, moved), 0);
    assert_int_equal(mkdir(f->file, 0700), 0);
    log_reopen();
    access_line("still here\n");
    assert_string_equal(content(f, moved), "still here\n");
    assert_matches(content(f, f->other),
                   "^" TIME " error: cannot open .*/file anew: Is a dir.*\n$");
    assert_int_equal(rmdir(f->file), 0);
    assert_int_equal(unlink(moved), 0);
}

/* Disks that are full */

static void test_lost_lines_are_counted(void **state)
{
    struct fixture *f = *state;
    redirect("/dev/full");
    open_messages("stderr", LOG_LEVEL_NOTICE);
    log_notice("lost");
    log_notice("lost, too");
    log_notice("lost as well");
    redirect(f->file);
    log_notice("back");
    log_notice("going on");
    assert_matches(content(f, f->file),
                   "^([^\n]*[^0-9])?3 [^\n]*\n" TIME " notice: back\n" TIME " notice: going on\n$");
}

static void test_lost_access_lines_are_counted(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(symlink("/dev/full", f->file), 0);
    open_accesses(f->file);
    access_line("lost\n");
    access_line("lost\n");
    assert_int_equal(unlink(f->file), 0);
    log_reopen();
    access_line("back\n");
    assert_matches(content(f, f->file), "^ts=[^ \n]+ lost_lines=2\nback\n$");
}

#define LOG_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_starts_with_standard_error),
        LOG_TEST(test_line_of_each_level),
        LOG_TEST(test_long_line_is_cut),
        LOG_TEST(test_level_decides),
        LOG_TEST(test_standard_error_survives_a_close),
        LOG_TEST(test_off),
        LOG_TEST(test_access_log_is_apart),
        LOG_TEST(test_file_is_appended_to),
        LOG_TEST(test_file_that_cannot_be_opened),
        LOG_TEST(test_files_do_not_pile_up),
        LOG_TEST(test_reopen_after_a_rename),
        LOG_TEST(test_both_logs_are_reopened),
        LOG_TEST(test_reopen_that_fails_keeps_the_old_file),
        LOG_TEST(test_lost_lines_are_counted),
        LOG_TEST(test_lost_access_lines_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
