/* SPDX-License-Identifier: ISC */
/* The logs without the thread that writes: form of a line, levels, targets, files that are renamed,
 * and disks that are full. */
#include "support/log_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

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
                   "^" HEAD " error: one\n" HEAD " warning: two\n" HEAD " notice: 3\n" HEAD
                   " info: four%\n" HEAD " debug: five\n$");
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
                   "^" HEAD " notice: xxxxxxxxxxxx*\n" HEAD " notice: next\n$");
    assert_in_range(strchr(f->text, '\n') - f->text, 1000, 2047);
}

static void test_message_is_one_line(void **state)
{
    struct fixture *f = *state;
    open_messages(f->file, LOG_LEVEL_NOTICE);
    log_notice("two\nlines\t\x1b[31m\x7f, %s", "\xc3\xa9");
    assert_matches(content(f, f->file),
                   "^" HEAD " notice: two\\?lines\\?\\?\\[31m\\?, \xc3\xa9\n$");
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
    assert_matches(content(f, f->file), "^" HEAD " warning: heard\n$");
}

static void test_starts_with_standard_error(void **state)
{
    struct fixture *f = *state;
    redirect(STDERR_FILENO, f->file);
    log_notice("before any log is open");
    log_info("not at this level");
    assert_false(log_access_enabled());
    access_line("off\n");
    assert_matches(content(f, f->file), "^" HEAD " notice: before any log is open\n$");
}

static void test_standard_error_survives_a_close(void **state)
{
    struct fixture *f = *state;
    redirect(STDERR_FILENO, f->file);
    open_messages("stderr", LOG_LEVEL_NOTICE);
    open_accesses("stderr");
    log_notice("one");
    access_line("two\n");
    log_close();
    assert_false(log_access_enabled());
    log_notice("three");
    assert_matches(content(f, f->file), "^" HEAD " notice: one\ntwo\n" HEAD " notice: three\n$");
}

/* How many descriptors are open that a program started now would inherit, or not. */
static unsigned count_descriptors(int flags)
{
    unsigned count = 0;
    for (int fd = 0; fd < 100; fd++)
        count += fcntl(fd, F_GETFD) == flags;
    return count;
}

static void test_standard_output(void **state)
{
    struct fixture *f = *state;
    redirect(STDOUT_FILENO, f->file);
    open_accesses("stdout");
    access_line("one\n");
    log_close();
    open_accesses("stdout");
    access_line("two\n");
    log_close();
    dup2(f->standard_output, STDOUT_FILENO);
    assert_string_equal(content(f, f->file), "one\ntwo\n");
}

/* They are not opened by name: here that would overwrite a file from its start. */
static void test_names_of_standard_descriptors(void **state)
{
    static const char *const names[] = {"/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        unsigned files = count_descriptors(FD_CLOEXEC);
        int fd = open(f->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        dup2(fd, STDERR_FILENO);
        close(fd);
        assert_int_equal(write(STDERR_FILENO, "somebody else's\n", 16), 16);
        open_accesses(names[i]);
        access_line("ours\n");
        assert_int_equal(count_descriptors(FD_CLOEXEC), files);
        assert_int_equal(write(STDERR_FILENO, "somebody else's\n", 16), 16);
        assert_string_equal(content(f, f->file), "somebody else's\nours\nsomebody else's\n");
    }
}

static void test_fifo_that_nobody_reads(void **state)
{
    struct fixture *f = *state;
    close(make_fifo(f->file));
    assert_int_equal(log_access_open(f->file, LOG_FORMAT_LOGFMT), -1);
    assert_string_equal(log_open_error(f->file, errno), "a FIFO without a reader");
    assert_string_equal(log_open_error(f->file, EACCES), strerror(EACCES));
    assert_false(log_access_enabled());
    assert_int_equal(log_open(f->file, LOG_LEVEL_NOTICE), -1);
}

/* ENXIO has a text for each kind of file, and /dev/tty is not a FIFO. */
static void test_places_without_anybody(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(strlen(f->file) < sizeof(address.sun_path));
    memcpy(address.sun_path, f->file, strlen(f->file));
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(log_access_open(f->file, LOG_FORMAT_LOGFMT), -1);
    assert_string_equal(log_open_error(f->file, errno), "a socket");
    assert_int_equal(log_check(f->file), -1);
    assert_int_equal(errno, ENXIO);
    close(fd);
    assert_string_equal(log_open_error("/dev/tty", ENXIO),
                        "a terminal or device that does not exist");
}

/* What log_open would report, without a new file, and without an EOF for a FIFO's reader. */
static void test_check(void **state)
{
    struct fixture *f = *state;
    char inside[100], folder[100];
    struct stat st;
    snprintf(inside, sizeof(inside), "%s/deeper", f->file);
    snprintf(folder, sizeof(folder), "%s/", f->folder);
    assert_int_equal(log_check("stderr"), 0);
    assert_int_equal(log_check("off"), 0);
    assert_int_equal(log_check("syslog"), 0);
    assert_int_equal(log_check(f->file), 0);
    assert_int_equal(stat(f->file, &st), -1);
    assert_int_equal(log_check(inside), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(log_check(folder), -1);
    assert_int_equal(errno, EISDIR);
    int reader = make_fifo(f->file);
    assert_int_equal(log_check(f->file), 0);
    struct pollfd pollfd = {.fd = reader, .events = POLLIN};
    assert_int_equal(poll(&pollfd, 1, 0), 0); /* POLLHUP, if a writer had come and gone */
    close(reader);
    assert_int_equal(unlink(f->file), 0);
    redirect(STDERR_FILENO, f->file);
    assert_int_equal(log_check(inside), -1);
    assert_int_equal(errno, ENOTDIR);
}

/* Errors of a start are for the process that started us, wherever messages go. */
static void test_start_errors_on_stderr(void **state)
{
    struct fixture *f = *state;
    redirect(STDERR_FILENO, f->file);
    open_messages(f->other, LOG_LEVEL_NOTICE);
    log_notice("no error");
    log_error("one %d\n", 1);
    log_ready();
    log_error("two");
    assert_matches(content(f, f->file), "^" HEAD " error: one 1\\?\n$");
    assert_matches(content(f, f->other),
                   "^" HEAD " notice: no error\n" HEAD " error: one 1\\?\n" HEAD " error: two\n$");
}

/* Nor are they written twice, whatever refers there. */
static void test_start_errors_once(void **state)
{
    struct fixture *f = *state;
    const char *const targets[] = {"stderr", "stdout", f->file};
    redirect(STDERR_FILENO, f->file);
    redirect(STDOUT_FILENO, f->file);
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        assert_int_equal(truncate(f->file, 0), 0);
        open_messages(targets[i], LOG_LEVEL_NOTICE);
        log_error("once");
        assert_matches(content(f, f->file), "^" HEAD " error: once\n$");
        log_close();
    }
    dup2(f->standard_output, STDOUT_FILENO);
}

static void test_process_id(void **state)
{
    struct fixture *f = *state;
    char pattern[60];
    open_messages(f->file, LOG_LEVEL_NOTICE);
    log_notice("who");
    snprintf(pattern, sizeof(pattern), "^[^ ]+Z kaproxy\\[%d\\] notice: who\n$", (int)getpid());
    assert_matches(content(f, f->file), pattern);
}

/* systemd.exec(5): JOURNAL_STREAM names what journald reads from. */
static void test_journal(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    char stream[64];
    redirect(STDERR_FILENO, f->file);
    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    open_messages("stderr", LOG_LEVEL_DEBUG);
    open_accesses("stderr");
    log_error("one");
    log_warning("two");
    log_notice("three");
    access_line("ts=now\n");
    log_info("four");
    log_debug("five");
    assert_string_equal(content(f, f->file),
                        "<3>one\n<4>two\n<5>three\nts=now\n<6>four\n<7>five\n");
}

/* It is inherited by programs whose standard error is something else. */
static void test_not_the_journal(void **state)
{
    static const char *const other[] = {"%ju:%ju1", "1%ju:%ju", "%ju", "", "x%ju:%ju", "%ju:%ju x"};
    struct fixture *f = *state;
    struct stat st;
    redirect(STDERR_FILENO, f->file);
    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    for (size_t i = 0; i < ARRAY_LEN(other); i++) {
        char stream[64];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
        snprintf(stream, sizeof(stream), other[i], (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
#pragma GCC diagnostic pop
        setenv("JOURNAL_STREAM", stream, 1);
        assert_int_equal(truncate(f->file, 0), 0);
        open_messages("stderr", LOG_LEVEL_NOTICE);
        log_notice("message");
        assert_matches(content(f, f->file), "^" HEAD " notice: message\n$");
    }
    unsetenv("JOURNAL_STREAM");
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
    assert_matches(content(f, f->file), "^" HEAD " notice: message\n$");
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
    assert_int_equal(log_access_open(missing, LOG_FORMAT_LOGFMT), -1);
    assert_false(log_enabled(LOG_LEVEL_DEBUG));
    log_notice("still here");
    access_line("here too\n");
    assert_matches(content(f, f->file), "^" HEAD " notice: still here\n$");
    assert_string_equal(content(f, f->other), "here too\n");
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

/* Renamed files */

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
    assert_matches(content(f, f->file),
                   "^" HEAD " notice: log files were reopened\n" HEAD " notice: message\n$");
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
                   "^" HEAD
                   " error: cannot open the access log .*/file again, still writing to the "
                   "old file: Is a dir.*\n$");
    assert_int_equal(rmdir(f->file), 0);
    assert_int_equal(unlink(moved), 0);
}

/* Full disks */

/* Lines wait for space, and none is lost. */
static void test_full_disk(void **state)
{
    struct fixture *f = *state;
    redirect(STDERR_FILENO, "/dev/full");
    open_messages("stderr", LOG_LEVEL_NOTICE);
    log_notice("one");
    log_notice("two");
    redirect(STDERR_FILENO, f->file);
    log_notice("three");
    assert_matches(content(f, f->file),
                   "^" HEAD " notice: one\n" HEAD " notice: two\n" HEAD " notice: three\n$");
}

/* The access log's is reported, once. */
static void test_full_disk_for_accesses(void **state)
{
    struct fixture *f = *state;
    open_messages(f->other, LOG_LEVEL_NOTICE);
    assert_int_equal(symlink("/dev/full", f->file), 0);
    open_accesses(f->file);
    access_line("one\n");
    access_line("two\n");
    assert_matches(content(f, f->other),
                   "^" HEAD " error: the access log cannot be written: No space left on device\n$");
    assert_int_equal(unlink(f->file), 0);
    log_reopen();
    access_line("three\n");
    assert_string_equal(content(f, f->file), "one\ntwo\nthree\n");
}

static void fill_ring(char *line, size_t size)
{
    memset(line, 'x', size - 2);
    line[size - 2] = '\n';
    line[size - 1] = '\0';
    for (size_t n = size - 1; n <= 1024 * 1024; n += size - 1)
        access_line(line);
}

/* More than 1 MiB does not wait. */
static void test_lost_access_lines_are_counted(void **state)
{
    static char line[4097];
    struct fixture *f = *state;
    open_messages(f->other, LOG_LEVEL_NOTICE);
    assert_int_equal(symlink("/dev/full", f->file), 0);
    open_accesses(f->file);
    fill_ring(line, sizeof(line));
    access_line("lost\n");
    access_line("lost\n");
    assert_matches(
        content(f, f->other),
        "^[^\n]* cannot be written[^\n]*\n" HEAD
        " warning: the access log accepts no more lines: they are dropped and counted\n$");
    assert_int_equal(unlink(f->file), 0);
    log_reopen();
    access_line("back\n");
    FILE *file = fopen(f->file, "re");
    assert_non_null(file);
    assert_int_equal(fseek(file, 1024 * 1024, SEEK_SET), 0);
    f->text[fread(f->text, 1, sizeof(f->text) - 1, file)] = '\0';
    fclose(file);
    assert_matches(f->text, "^ts=" TIME " lost_lines=2\nback\n$");
}

static void test_lost_lines_are_told_of_in_json(void **state)
{
    static char line[4097];
    struct fixture *f = *state;
    assert_int_equal(symlink("/dev/full", f->file), 0);
    assert_int_equal(log_access_open(f->file, LOG_FORMAT_JSON), 0);
    fill_ring(line, sizeof(line));
    access_line("lost\n");
    assert_int_equal(unlink(f->file), 0);
    log_reopen();
    access_line("back\n");
    FILE *file = fopen(f->file, "re");
    assert_non_null(file);
    assert_int_equal(fseek(file, 1024 * 1024, SEEK_SET), 0);
    f->text[fread(f->text, 1, sizeof(f->text) - 1, file)] = '\0';
    fclose(file);
    assert_matches(f->text, "^\\{\"ts\":\"" TIME "\",\"lost_lines\":1\\}\nback\n$");
    open_accesses("off"); /* in the usual format again */
}

static void test_lost_messages_are_counted(void **state)
{
    static char text[1000];
    struct fixture *f = *state;
    memset(text, 'x', sizeof(text) - 1);
    redirect(STDERR_FILENO, "/dev/full");
    open_messages("stderr", LOG_LEVEL_NOTICE);
    for (int i = 0; i < 1100; i++)
        log_notice("%s", text);
    redirect(STDERR_FILENO, f->file);
    log_notice("back");
    FILE *file = fopen(f->file, "re");
    assert_non_null(file);
    unsigned long kept = 0, lost = 0;
    while (fgets(f->text, sizeof(f->text), file) != NULL && strstr(f->text, "xxx") != NULL)
        kept++;
    assert_matches(f->text, "^" HEAD " error: [0-9]+ log lines could not be written\n$");
    lost = strtoul(strstr(f->text, "error: ") + strlen("error: "), NULL, 10);
    assert_int_equal(kept + lost, 1101); /* with the one that found no room for itself yet */
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_starts_with_standard_error),
        LOG_TEST(test_line_of_each_level),
        LOG_TEST(test_long_line_is_cut),
        LOG_TEST(test_message_is_one_line),
        LOG_TEST(test_level_decides),
        LOG_TEST(test_standard_error_survives_a_close),
        LOG_TEST(test_standard_output),
        LOG_TEST(test_names_of_standard_descriptors),
        LOG_TEST(test_fifo_that_nobody_reads),
        LOG_TEST(test_places_without_anybody),
        LOG_TEST(test_check),
        LOG_TEST(test_start_errors_on_stderr),
        LOG_TEST(test_start_errors_once),
        LOG_TEST(test_process_id),
        LOG_TEST(test_journal),
        LOG_TEST(test_not_the_journal),
        LOG_TEST(test_off),
        LOG_TEST(test_access_log_is_apart),
        LOG_TEST(test_file_is_appended_to),
        LOG_TEST(test_file_that_cannot_be_opened),
        LOG_TEST(test_files_do_not_pile_up),
        LOG_TEST(test_reopen_after_a_rename),
        LOG_TEST(test_both_logs_are_reopened),
        LOG_TEST(test_reopen_that_fails_keeps_the_old_file),
        LOG_TEST(test_full_disk),
        LOG_TEST(test_full_disk_for_accesses),
        LOG_TEST(test_lost_lines_are_told_of_in_json),
        LOG_TEST(test_lost_messages_are_counted),
        LOG_TEST(test_lost_access_lines_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
