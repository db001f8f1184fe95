/* SPDX-License-Identifier: ISC */
/* Targets of logs in the test's own folder, and what was written to them. */
#include "support/log_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEST_LIMIT 100 /* seconds that a test waits for a log that does nothing */

int log_fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    signal(SIGPIPE, SIG_IGN);
    alarm(TEST_LIMIT);
    snprintf(f->folder, sizeof(f->folder), "/tmp/test_log.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->file, sizeof(f->file), "%s/file", f->folder);
    snprintf(f->other, sizeof(f->other), "%s/other", f->folder);
    fflush(stdout);
    f->standard_output = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    f->standard_error = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    assert_true(f->standard_output >= 0 && f->standard_error >= 0);
    *state = f;
    return 0;
}

int log_fixture_teardown(void **state)
{
    struct fixture *f = *state;
    log_close();
    alarm(0);
    dup2(f->standard_output, STDOUT_FILENO);
    dup2(f->standard_error, STDERR_FILENO);
    close(f->standard_output);
    close(f->standard_error);
    unlink(f->file);
    unlink(f->other);
    assert_int_equal(rmdir(f->folder), 0);
    free(f);
    return 0;
}

void redirect(int fd, const char *path)
{
    int opened = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(opened >= 0);
    assert_int_equal(dup2(opened, fd), fd);
    close(opened);
}

int make_fifo(const char *path)
{
    assert_int_equal(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

void shrink_pipe(int fd)
{
    assert_true(fcntl(fd, F_SETPIPE_SZ, 4096) >= 4096);
}

const char *read_now(int fd, char *text, size_t size)
{
    size_t length = 0;
    ssize_t n;
    while ((n = read(fd, text + length, size - 1 - length)) > 0)
        length += (size_t)n;
    assert_true(n == 0 || errno == EAGAIN);
    text[length] = '\0';
    return text;
}

const char *content(struct fixture *f, const char *path)
{
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    size_t n = fread(f->text, 1, sizeof(f->text) - 1, file);
    f->text[n] = '\0';
    fclose(file);
    return f->text;
}

void open_messages(const char *target, enum log_level level)
{
    assert_int_equal(log_open(target, level), 0);
}

void open_accesses(const char *target)
{
    assert_int_equal(log_access_open(target, LOG_FORMAT_LOGFMT), 0);
}

void access_line(const char *line)
{
    assert_true(log_access(log_access_format(), line, strlen(line)));
}

void assert_matches(const char *text, const char *pattern)
{
    regex_t regex;
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    int result = regexec(&regex, text, 0, NULL, 0);
    regfree(&regex);
    if (result != 0)
        fail_msg("\"%s\" does not match \"%s\"", text, pattern);
}
