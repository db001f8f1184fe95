/* SPDX-License-Identifier: ISC */
/* One log and its target: readers that stop, leave or are slow, losses, and the system's log. */
#include "support/log_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "base/log_internal.h"

/* A ring that is soon full. */
#define RING_SIZE 4096
static char ring_bytes[RING_SIZE];

static struct log_sink *const sink = &log_sinks[LOG_ACCESSES];

/* Where the system's log is; empty: nowhere. */
static char syslog_path[100];

int __real_connect(int fd, const struct sockaddr *address, socklen_t length);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length);

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    struct sockaddr_un own = {.sun_family = AF_UNIX};
    const struct sockaddr_un *asked = (const void *)address;
    (void)length;
    assert_string_equal(asked->sun_path, "/dev/log");
    snprintf(own.sun_path, sizeof(own.sun_path), "%s", syslog_path);
    return __real_connect(fd, (const struct sockaddr *)&own, sizeof(own));
}

static void use_small_ring(void)
{
    log_sink_init(sink, ring_bytes, sizeof(ring_bytes));
}

/* As if a line had arrived: what waits is tried again. */
static void nudge(void)
{
    log_writer_notice(sink);
}

/* Lines of 100 bytes, numbered. */
static void access_numbered(unsigned number)
{
    char line[101];
    snprintf(line, sizeof(line), "%099u", number);
    line[99] = '\n';
    line[100] = '\0';
    access_line(line);
}

/* The lines from one number to another, at the start of a text; returns the rest. */
static const char *expect_numbered(const char *text, unsigned from, unsigned to)
{
    for (unsigned number = from; number < to; number++) {
        char line[101];
        snprintf(line, sizeof(line), "%099u", number);
        line[99] = '\n';
        assert_memory_equal(text, line, 100);
        text += 100;
    }
    return text;
}

/* Reads this many lines, for which the writer is woken as if there were room again and again. */
static void read_numbered(struct fixture *f, int fd, unsigned count)
{
    size_t n = 0, before;
    do {
        before = n;
        n += strlen(read_now(fd, f->text + n, sizeof(f->text) - n));
        nudge();
    } while (n > before);
    assert_int_equal(n, 100 * count);
    expect_numbered(f->text, 0, count);
}

/* A reader that stops */

static void test_lines_wait_for_a_reader(void **state)
{
    struct fixture *f = *state;
    int reader = make_fifo(f->file);
    open_accesses(f->file);
    shrink_pipe(reader);
    for (unsigned i = 0; i < 100; i++)
        access_numbered(i);
    size_t n = strlen(read_now(reader, f->text, 4097)); /* as much as was in the pipe */
    assert_int_equal(n, 4000);                          /* whole lines */
    expect_numbered(f->text, 0, 40);
    nudge();
    assert_int_equal(strlen(read_now(reader, f->text, 4097)), 4000);
    expect_numbered(f->text, 40, 80);
    nudge();
    expect_numbered(read_now(reader, f->text, sizeof(f->text)), 80, 100);
    close(reader);
}

static void test_what_does_not_fit_is_counted(void **state)
{
    struct fixture *f = *state;
    int reader = make_fifo(f->file);
    use_small_ring();
    open_messages(f->other, LOG_LEVEL_NOTICE);
    open_accesses(f->file);
    shrink_pipe(reader);
    for (unsigned i = 0; i < 80; i++) /* 40 in the pipe, 40 in the ring */
        access_numbered(i);
    assert_string_equal(content(f, f->other), "");
    access_numbered(80);
    for (unsigned i = 0; i < 6; i++)
        access_line("lost\n"); /* though each would fit on its own */
    const char *text = read_now(reader, f->text, sizeof(f->text));
    expect_numbered(text, 0, 40);
    nudge();
    text = read_now(reader, f->text, sizeof(f->text));
    text = expect_numbered(text, 40, 80);
    assert_matches(text, "^ts=" TIME " lost_lines=7\n$"); /* without another line */
    access_line("next\n");
    assert_string_equal(read_now(reader, f->text, sizeof(f->text)), "next\n");
    assert_matches(content(f, f->other),
                   "^[^\n]* warning: the access log accepts no more [^\n]*\n$");
    close(reader);
}

/* The report is where the lines are missing. */
static void test_report_comes_before_later_lines(void **state)
{
    struct fixture *f = *state;
    int reader = make_fifo(f->file);
    use_small_ring();
    open_accesses(f->file);
    shrink_pipe(reader);
    for (unsigned i = 0; i < 83; i++)
        access_numbered(i);
    expect_numbered(read_now(reader, f->text, 4097), 0, 40);
    access_numbered(83); /* there is no room until what is in the ring is in the pipe */
    access_numbered(84);
    size_t n = strlen(read_now(reader, f->text, sizeof(f->text)));
    nudge();
    read_now(reader, f->text + n, sizeof(f->text) - n);
    assert_matches(expect_numbered(f->text, 40, 80), "^ts=" TIME " lost_lines=4\n0+84\n$");
    close(reader);
}

/* Descriptors 1 and 2 are shared with other processes: a full pipe neither stops us, nor is it made
 * non-blocking. */
static void test_shared_pipe_that_is_full(void **state)
{
    struct fixture *f = *state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    shrink_pipe(ends[1]);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    dup2(ends[1], STDERR_FILENO);
    open_accesses("stderr");
    for (unsigned i = 0; i < 100; i++)
        access_numbered(i);
    assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
    read_numbered(f, ends[0], 100);
    /* Others may have made it so; that is not a failure either. */
    assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    for (unsigned i = 0; i < 100; i++)
        access_numbered(i);
    read_numbered(f, ends[0], 100);
    close(ends[0]);
    close(ends[1]);
}

/* Lines in pieces */

static void compose_long(char *line, size_t size)
{
    memset(line, 'x', size - 2);
    line[0] = 'a';
    line[size - 3] = 'z';
    line[size - 2] = '\n';
    line[size - 1] = '\0';
}

static void test_line_longer_than_a_pipe(void **state)
{
    char line[8001], got[8200];
    struct fixture *f = *state;
    int reader = make_fifo(f->file);
    open_accesses(f->file);
    shrink_pipe(reader);
    compose_long(line, sizeof(line));
    access_line(line);
    access_line("next\n");
    size_t n = strlen(read_now(reader, got, sizeof(got)));
    assert_int_equal(n, 4096);
    nudge();
    read_now(reader, got + n, sizeof(got) - n);
    assert_int_equal(strncmp(got, line, 8000), 0);
    assert_string_equal(got + 8000, "next\n");
    close(reader);
}

/* The next reader gets a line from its beginning. */
static void test_reader_leaves_in_mid_line(void **state)
{
    char line[8001], got[8200];
    struct stat st;
    struct fixture *f = *state;
    int reader = make_fifo(f->file);
    open_messages(f->other, LOG_LEVEL_NOTICE);
    open_accesses(f->file);
    shrink_pipe(reader);
    compose_long(line, sizeof(line));
    access_line(line);
    assert_int_equal(strlen(read_now(reader, got, sizeof(got))), 4096);
    close(reader);
    nudge();
    nudge();
    assert_matches(content(f, f->other),
                   "^[^\n]* error: the access log cannot be written: Broken pipe\n$");
    assert_int_equal(stat(f->other, &st), 0);
    assert_in_range(st.st_size, 1, 200); /* that, and nothing of what was in the ring before */
    reader = open(f->file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    fcntl(reader, F_SETPIPE_SZ, 65536);
    access_line("next\n");
    read_now(reader, got, sizeof(got));
    assert_int_equal(strncmp(got, line, 8000), 0);
    assert_string_equal(got + 8000, "next\n");
    close(reader);
}

static void test_reopened_in_mid_line(void **state)
{
    char line[8001];
    struct fixture *f = *state;
    int reader = make_fifo(f->file);
    open_accesses(f->file);
    shrink_pipe(reader);
    compose_long(line, sizeof(line));
    access_line(line);
    assert_int_equal(unlink(f->file), 0);
    log_reopen();
    access_line("next\n");
    content(f, f->file);
    assert_int_equal(strncmp(f->text, line, 8000), 0);
    assert_string_equal(f->text + 8000, "next\n");
    close(reader);
}

static void test_reopened_fifo_that_nobody_reads(void **state)
{
    struct fixture *f = *state;
    int reader = make_fifo(f->file);
    redirect(STDERR_FILENO, f->other);
    open_accesses(f->file);
    assert_int_equal(unlink(f->file), 0);
    close(make_fifo(f->file));
    log_reopen();
    access_line("still here\n");
    assert_string_equal(read_now(reader, f->text, sizeof(f->text)), "still here\n");
    assert_matches(content(f, f->other),
                   "^" HEAD
                   " error: cannot open the access log .*/file again, still writing to the "
                   "old file: a FIFO without a reader\n$");
    close(reader);
}

/* The system's log */

static int start_syslog(const char *path, int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(syslog_path, sizeof(syslog_path), "%s", path);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static const char *packet(struct fixture *f, int fd)
{
    ssize_t n = recv(fd, f->text, sizeof(f->text) - 1, 0);
    if (n < 0) {
        assert_int_equal(errno, EAGAIN);
        return NULL;
    }
    f->text[n] = '\0';
    return f->text;
}

#define SYSLOG_HEAD(number)                                                                        \
    "^<" number ">[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} kaproxy\\[[0-9]+\\]: "

static void test_syslog(void **state)
{
    struct fixture *f = *state;
    int fd = start_syslog(f->file, SOCK_DGRAM);
    open_messages("syslog", LOG_LEVEL_DEBUG);
    open_accesses("syslog");
    log_error("one");
    assert_matches(packet(f, fd), SYSLOG_HEAD("27") "one$");
    log_debug("two");
    assert_matches(packet(f, fd), SYSLOG_HEAD("31") "two$");
    access_line("ts=now a=b\n");
    assert_matches(packet(f, fd), SYSLOG_HEAD("30") "ts=now a=b$");
    log_reopen();
    assert_matches(packet(f, fd), SYSLOG_HEAD("29") "log files were reopened$");
    assert_null(packet(f, fd));
    close(fd);
}

static void test_syslog_that_stops_reading(void **state)
{
    struct fixture *f = *state;
    int fd = start_syslog(f->file, SOCK_DGRAM);
    unsigned came = 0;
    open_messages("syslog", LOG_LEVEL_NOTICE);
    for (unsigned i = 0; i < 2000; i++)
        log_notice("%u", i);
    for (; came < 2000 && packet(f, fd) != NULL; came++) {
        assert_int_equal(strtoul(strrchr(f->text, ' '), NULL, 10), came);
        log_writer_notice(&log_sinks[LOG_MESSAGES]);
    }
    assert_int_equal(came, 2000);
    close(fd);
}

static void test_syslog_that_is_restarted(void **state)
{
    struct fixture *f = *state;
    int fd = start_syslog(f->file, SOCK_DGRAM);
    open_messages("syslog", LOG_LEVEL_NOTICE);
    log_notice("one");
    assert_matches(packet(f, fd), "one$");
    close(fd);
    log_notice("two"); /* refused, and so is the new connection */
    unlink(f->file);
    log_notice("three");
    fd = start_syslog(f->file, SOCK_DGRAM);
    log_notice("four");
    assert_matches(packet(f, fd), "two$");
    assert_matches(packet(f, fd), "three$");
    assert_matches(packet(f, fd), "four$");
    assert_null(packet(f, fd));
    close(fd);
}

/* The start does not depend on it. */
static void test_syslog_that_comes_later(void **state)
{
    struct fixture *f = *state;
    snprintf(syslog_path, sizeof(syslog_path), "%s", f->file);
    open_messages("syslog", LOG_LEVEL_NOTICE);
    log_notice("one");
    int fd = start_syslog(f->file, SOCK_DGRAM);
    log_notice("two");
    assert_matches(packet(f, fd), "one$");
    assert_matches(packet(f, fd), "two$");
    close(fd);
}

static void test_syslog_over_a_stream(void **state)
{
    struct fixture *f = *state;
    int listening = start_syslog(f->file, SOCK_STREAM);
    assert_int_equal(listen(listening, 5), 0);
    open_messages("syslog", LOG_LEVEL_NOTICE);
    log_notice("one");
    log_notice("two");
    int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fd >= 0);
    assert_matches(read_now(fd, f->text, sizeof(f->text)),
                   SYSLOG_HEAD("29") "one\n<29>[^\n]*: two\n$");
    close(fd);
    log_notice("three"); /* through a new connection */
    fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fd >= 0);
    assert_matches(read_now(fd, f->text, sizeof(f->text)), SYSLOG_HEAD("29") "three\n$");
    close(fd);
    close(listening);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_lines_wait_for_a_reader),
        LOG_TEST(test_what_does_not_fit_is_counted),
        LOG_TEST(test_report_comes_before_later_lines),
        LOG_TEST(test_shared_pipe_that_is_full),
        LOG_TEST(test_line_longer_than_a_pipe),
        LOG_TEST(test_reader_leaves_in_mid_line),
        LOG_TEST(test_reopened_in_mid_line),
        LOG_TEST(test_reopened_fifo_that_nobody_reads),
        LOG_TEST(test_syslog),
        LOG_TEST(test_syslog_that_stops_reading),
        LOG_TEST(test_syslog_that_is_restarted),
        LOG_TEST(test_syslog_that_comes_later),
        LOG_TEST(test_syslog_over_a_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
