/* SPDX-License-Identifier: ISC */
/* The thread that writes the logs: when it is woken, what it does on its own, many that log at
 * once, and how it ends. */
#include "support/log_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log_internal.h"

/* How often logging rang for the writer: this is what a line may cost, as there is no other system
 * call. */
static atomic_uint bells;
static bool no_threads;

/* How often the writer tried to write, and what is to happen when it does so next. */
static atomic_uint writes;
static void (*at_next_write)(void);

int __real_eventfd_write(int fd, eventfd_t value);
int __wrap_eventfd_write(int fd, eventfd_t value);

int __wrap_eventfd_write(int fd, eventfd_t value)
{
    atomic_fetch_add(&bells, 1);
    return __real_eventfd_write(fd, value);
}

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg)
{
    return no_threads ? EAGAIN : __real_pthread_create(thread, attributes, run, arg);
}

ssize_t __real_writev(int fd, const struct iovec *parts, int count);
ssize_t __wrap_writev(int fd, const struct iovec *parts, int count);

ssize_t __wrap_writev(int fd, const struct iovec *parts, int count)
{
    void (*happens)(void) = at_next_write;
    atomic_fetch_add(&writes, 1);
    at_next_write = NULL;
    if (happens != NULL)
        happens();
    return __real_writev(fd, parts, count);
}

static void start(void)
{
    atomic_store(&bells, 0);
    assert_int_equal(log_start(), 0);
}

/* A FIFO whose reads wait: for what the writer does when no other thread does anything. */
static int make_waiting_fifo(const char *path)
{
    int fd = make_fifo(path);
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
    return fd;
}

/* Reads exactly this many bytes. */
static const char *read_bytes(int fd, char *text, size_t count)
{
    size_t n = 0;
    while (n < count) {
        ssize_t got = read(fd, text + n, count - n);
        assert_true(got > 0);
        n += (size_t)got;
    }
    text[n] = '\0';
    return text;
}

static const char *read_line(int fd, char *text, size_t size)
{
    size_t n = 0;
    do {
        assert_true(n < size - 1);
        assert_int_equal(read(fd, text + n, 1), 1);
    } while (text[n++] != '\n');
    text[n] = '\0';
    return text;
}

static size_t wake_at(enum log_sink_index index)
{
    return atomic_load(&log_sinks[index].wake_at);
}

/* What is written when */

static void test_message_is_written(void **state)
{
    struct fixture *f = *state;
    int reader = make_waiting_fifo(f->file);
    open_messages(f->file, LOG_LEVEL_NOTICE);
    start();
    for (unsigned i = 0; i < 5; i++) {
        log_notice("message");
        assert_matches(read_line(reader, f->text, sizeof(f->text)), "^" HEAD " notice: message\n$");
    }
    close(reader);
}

/* The first one immediately, and those after it without any further action. */
static void test_access_lines_are_written(void **state)
{
    struct fixture *f = *state;
    int reader = make_waiting_fifo(f->file);
    open_accesses(f->file);
    start();
    for (unsigned i = 0; i < 3; i++) {
        access_line("first\n");
        assert_string_equal(read_line(reader, f->text, sizeof(f->text)), "first\n");
        access_line("second\n");
        access_line("third\n");
        assert_string_equal(read_line(reader, f->text, sizeof(f->text)), "second\n");
        assert_string_equal(read_line(reader, f->text, sizeof(f->text)), "third\n");
    }
    close(reader);
}

/* Lines that arrive one after the other do not ring each; ten times a second is the maximum. */
static void test_access_lines_do_not_ring(void **state)
{
    struct fixture *f = *state;
    open_accesses(f->file);
    start();
    for (unsigned i = 0; i < 1000; i++) {
        access_line("a line\n");
        usleep(100);
    }
    assert_in_range(atomic_load(&bells), 0, 50);
    log_close();
    struct stat st;
    assert_int_equal(stat(f->file, &st), 0);
    assert_int_equal(st.st_size, 7000);
}

/* While the writer rests after a line, 64 KiB of others wake it. If the test is slow, it has rested
 * enough before they have arrived. */
static void test_many_access_lines_ring(void **state)
{
    enum { MANY = 64 * 1024 };
    char line[1025], got[1025];
    struct fixture *f = *state;
    int reader = make_waiting_fifo(f->file);
    assert_true(fcntl(reader, F_SETPIPE_SZ, 4 * MANY) > 0);
    memset(line, 'x', 1023);
    line[1023] = '\n';
    line[1024] = '\0';
    open_accesses(f->file);
    start();
    for (unsigned attempt = 0; attempt < 20; attempt++) {
        access_line("first\n");
        read_line(reader, f->text, sizeof(f->text));
        while (wake_at(LOG_ACCESSES) == SIZE_MAX)
            usleep(100);
        bool rests = wake_at(LOG_ACCESSES) == MANY;
        unsigned before = atomic_load(&bells);
        for (unsigned i = 0; i < MANY / 1024; i++)
            access_line(line);
        bool rang = atomic_load(&bells) == before + 1;
        for (unsigned i = 0; i < MANY / 1024; i++)
            assert_string_equal(read_bytes(reader, got, 1024), line);
        if (rests && rang) {
            close(reader);
            return;
        }
    }
    fail_msg("64 KiB have not woken the writer in 20 attempts");
}

/* While no process reads there is nothing to wake the writer for. */
static void test_no_bell_for_who_cannot_write(void **state)
{
    struct fixture *f = *state;
    int reader = make_waiting_fifo(f->file), other = make_waiting_fifo(f->other);
    shrink_pipe(reader);
    open_messages(f->other, LOG_LEVEL_NOTICE);
    open_accesses(f->file);
    start();
    for (unsigned i = 0; i < 2000; i++)
        access_line("a line that soon fills the pipe\n");
    for (unsigned i = 0; i < 2; i++) { /* a round that began after these lines has ended then */
        log_notice("message");
        read_line(other, f->text, sizeof(f->text));
    }
    while (wake_at(LOG_MESSAGES) == SIZE_MAX) /* and so has the last one */
        usleep(1000);
    assert_true(wake_at(LOG_ACCESSES) == SIZE_MAX);
    unsigned before = atomic_load(&bells), writes_before = atomic_load(&writes);
    for (unsigned i = 0; i < 2000; i++)
        access_line("a line that soon fills the pipe\n");
    usleep(50000); /* for repeated attempts in vain */
    assert_int_equal(atomic_load(&bells), before);
    assert_int_equal(atomic_load(&writes), writes_before);
    log_notice("one log does not hold up the other");
    read_line(other, f->text, sizeof(f->text));
    for (unsigned i = 0; i < 4000; i++)
        assert_string_equal(read_line(reader, f->text, sizeof(f->text)),
                            "a line that soon fills the pipe\n");
    close(reader);
    close(other);
}

static void log_both(void)
{
    log_notice("second");
    access_line("access\n");
}

/* What is logged before an access line is written before it, if both go to one place; also if they
 * arrive after the writer has begun. */
static void test_messages_before_access_lines(void **state)
{
    struct fixture *f = *state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    dup2(ends[1], STDERR_FILENO);
    open_messages("stderr", LOG_LEVEL_NOTICE);
    open_accesses("stderr");
    at_next_write = log_both;
    start();
    log_notice("first");
    assert_matches(read_line(ends[0], f->text, sizeof(f->text)), "first");
    assert_matches(read_line(ends[0], f->text, sizeof(f->text)), "second");
    assert_matches(read_line(ends[0], f->text, sizeof(f->text)), "access");
    close(ends[0]);
    close(ends[1]);
}

/* A disk that is full is tried again automatically, and only now and then. */
static void expect_tried_again(struct fixture *f)
{
    unsigned before = atomic_load(&writes);
    redirect(STDERR_FILENO, f->file);
    while (content(f, f->file)[0] == '\0')
        usleep(1000);
    assert_in_range(atomic_load(&writes) - before, 1, 60);
}

static void test_full_disk_is_tried_again(void **state)
{
    struct fixture *f = *state;
    int reader = make_waiting_fifo(f->other);
    redirect(STDERR_FILENO, "/dev/full");
    open_messages(f->other, LOG_LEVEL_NOTICE);
    open_accesses("stderr");
    start();
    access_line("kept\n");
    assert_matches(read_line(reader, f->text, sizeof(f->text)), "cannot be written: No space");
    expect_tried_again(f);
    assert_string_equal(f->text, "kept\n");
    close(reader);
}

static void test_full_disk_of_messages_is_tried_again(void **state)
{
    struct fixture *f = *state;
    redirect(STDERR_FILENO, "/dev/full");
    open_messages("stderr", LOG_LEVEL_NOTICE);
    start();
    unsigned before = atomic_load(&writes);
    log_notice("kept");
    while (atomic_load(&writes) == before)
        usleep(100);
    expect_tried_again(f);
    assert_matches(f->text, "^" HEAD " notice: kept\n$");
}

/* Files that are opened again */

static void test_reopening_is_the_writers(void **state)
{
    struct fixture *f = *state;
    int reader = make_waiting_fifo(f->other);
    open_messages(f->other, LOG_LEVEL_NOTICE);
    open_accesses(f->file);
    start();
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(unlink(f->file), 0);
        log_reopen();
        assert_matches(read_line(reader, f->text, sizeof(f->text)),
                       " notice: log files were reopened\n$");
        access_line("line\n");
        while (content(f, f->file)[0] == '\0')
            usleep(1000);
        assert_string_equal(f->text, "line\n");
    }
    close(reader);
}

/* What was logged before goes to the file that was there then, though it waits for more. */
static void test_lines_from_before_a_reopening(void **state)
{
    struct fixture *f = *state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    dup2(ends[1], STDERR_FILENO);
    open_messages("stderr", LOG_LEVEL_NOTICE);
    open_accesses(f->file);
    start();
    access_line("first\n");
    while (content(f, f->file)[0] == '\0')
        usleep(100);
    access_line("second\n");
    assert_int_equal(rename(f->file, f->other), 0);
    log_reopen();
    assert_matches(read_line(ends[0], f->text, sizeof(f->text)), "log files were reopened");
    assert_string_equal(content(f, f->other), "first\nsecond\n");
    assert_string_equal(content(f, f->file), "");
    close(ends[0]);
    close(ends[1]);
}

/* The thread */

/* The signals that the writer's thread blocks, as a mask; 0: there is no such thread. */
static unsigned long long blocked_signals(void)
{
    unsigned long long found = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (const struct dirent *entry; (entry = readdir(tasks)) != NULL;) {
        char path[300], line[256];
        bool is_writer = false;
        snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
        FILE *file = fopen(path, "re");
        while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
            is_writer |= strcmp(line, "Name:\tkaproxy-log\n") == 0;
            if (is_writer && strncmp(line, "SigBlk:", 7) == 0)
                found = strtoull(line + 7, NULL, 16) | 1ULL << 63;
        }
        if (file != NULL)
            fclose(file);
    }
    closedir(tasks);
    return found;
}

static void test_signals_are_not_the_writers(void **state)
{
    struct fixture *f = *state;
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    open_accesses(f->file);
    start();
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int number = 1; number < 32; number++)
        assert_int_equal(sigismember(&before, number), sigismember(&after, number));
    unsigned long long blocked = blocked_signals();
    assert_true(blocked != 0);
    static const int heeded[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGPIPE};
    for (size_t i = 0; i < ARRAY_LEN(heeded); i++)
        assert_true((blocked >> (heeded[i] - 1)) & 1); /* test_thread has all of them */
}

static void test_no_thread(void **state)
{
    struct fixture *f = *state;
    open_messages(f->file, LOG_LEVEL_NOTICE);
    no_threads = true;
    int result = log_start();
    no_threads = false;
    assert_int_equal(result, -1);
    assert_int_equal(errno, EAGAIN);
    log_error("what the start ends with");
    assert_matches(content(f, f->file), "^" HEAD " error: what the start ends with\n$");
}

static void test_the_end_writes_what_is_left(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 20; i++) {
        open_messages(f->other, LOG_LEVEL_NOTICE);
        open_accesses(f->file);
        start();
        access_line("line\n");
        log_notice("message");
        access_line("line\n");
        log_close();
    }
    assert_int_equal(strlen(content(f, f->file)), 40 * 5);
    content(f, f->other);
    unsigned count = 0;
    for (const char *at = f->text; (at = strchr(at, '\n')) != NULL; at++)
        count++;
    assert_int_equal(count, 20);
}

/* A pipe without a reader that reads, and a disk that is full: the end comes all the same. */
static void test_the_end_comes(void **state)
{
    struct fixture *f = *state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    dup2(ends[1], STDERR_FILENO);
    assert_int_equal(symlink("/dev/full", f->file), 0);
    open_messages("stderr", LOG_LEVEL_NOTICE);
    open_accesses(f->file);
    start();
    for (unsigned i = 0; i < 20000; i++) {
        log_notice("a message that soon fills the pipe");
        access_line("a line\n");
    }
    log_close();
    assert_true(blocked_signals() == 0);
    assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
    close(ends[0]);
    close(ends[1]);
}

/* Many threads that log */

#define THREADS 4
#define LINES   20000

static void *log_many(void *arg)
{
    unsigned self = *(const unsigned *)arg;
    for (unsigned i = 0; i < LINES; i++) {
        char line[64];
        int n = snprintf(line, sizeof(line), "thread=%u number=%u %.*s\n", self, i, (int)(i % 20),
                         "xxxxxxxxxxxxxxxxxxxx");
        while (!log_access(log_access_format(), line, (size_t)n))
            continue;
        if (i % 100 == 0)
            log_notice("thread=%u number=%u", self, i);
    }
    return NULL;
}

/* Every line is complete, those of each thread are in order, and missing ones are counted. */
static void test_many_threads(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[THREADS];
    unsigned selves[THREADS], next[THREADS] = {0};
    unsigned long lines = 0, lost = 0;
    open_messages(f->other, LOG_LEVEL_NOTICE);
    open_accesses(f->file);
    start();
    for (unsigned i = 0; i < THREADS; i++) {
        selves[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, &selves[i]), 0);
    }
    log_reopen();
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    log_close();
    FILE *file = fopen(f->file, "re");
    assert_non_null(file);
    while (fgets(f->text, sizeof(f->text), file) != NULL) {
        unsigned self, number;
        unsigned long gone;
        if (sscanf(f->text, "ts=%*s lost_lines=%lu\n", &gone) == 1) {
            lost += gone;
            continue;
        }
        char xs[32] = "";
        assert_in_range(sscanf(f->text, "thread=%u number=%u %31[x]", &self, &number, xs), 2, 3);
        assert_true(self < THREADS && number >= next[self] && number < LINES);
        assert_int_equal(strlen(xs), number % 20);
        next[self] = number + 1;
        lines++;
    }
    fclose(file);
    assert_int_equal(lines + lost, THREADS * LINES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_message_is_written),
        LOG_TEST(test_access_lines_are_written),
        LOG_TEST(test_access_lines_do_not_ring),
        LOG_TEST(test_many_access_lines_ring),
        LOG_TEST(test_no_bell_for_who_cannot_write),
        LOG_TEST(test_messages_before_access_lines),
        LOG_TEST(test_full_disk_is_tried_again),
        LOG_TEST(test_full_disk_of_messages_is_tried_again),
        LOG_TEST(test_reopening_is_the_writers),
        LOG_TEST(test_lines_from_before_a_reopening),
        LOG_TEST(test_signals_are_not_the_writers),
        LOG_TEST(test_no_thread),
        LOG_TEST(test_the_end_writes_what_is_left),
        LOG_TEST(test_the_end_comes),
        LOG_TEST(test_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
