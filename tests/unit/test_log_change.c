/* SPDX-License-Identifier: ISC */
/* Other targets, formats and levels while lines are logged: what goes where, that nothing is lost,
 * and that a change that cannot be made changes nothing. */
#include "support/log_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

/* Where the system's log is. */
static char syslog_path[100];

int __real_connect(int fd, const struct sockaddr *address, socklen_t length);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length);

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    struct sockaddr_un own = {.sun_family = AF_UNIX};
    (void)address;
    (void)length;
    snprintf(own.sun_path, sizeof(own.sun_path), "%s", syslog_path);
    return __real_connect(fd, (const struct sockaddr *)&own, sizeof(own));
}

/* A disk that hangs: a write waits for `resumed`, and reports that it does. */
static atomic_bool hangs;
static sem_t hanging, resumed;

ssize_t __real_writev(int fd, const struct iovec *parts, int count);
ssize_t __wrap_writev(int fd, const struct iovec *parts, int count);

ssize_t __wrap_writev(int fd, const struct iovec *parts, int count)
{
    if (atomic_exchange(&hangs, false)) {
        sem_post(&hanging);
        sem_wait(&resumed);
    }
    return __real_writev(fd, parts, count);
}

static void change_all(const char *log, enum log_level level, const char *access_log,
                       enum log_format format)
{
    const char *errors[2];
    struct log_change *change;
    assert_int_equal(log_prepare(&change, log, access_log, errors), 0);
    assert_null(errors[0]);
    assert_null(errors[1]);
    log_commit(change, level, format);
}

static void change_access(const char *access_log, enum log_format format)
{
    change_all("stderr", LOG_LEVEL_NOTICE, access_log, format);
}

static unsigned count_descriptors(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 100; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static unsigned long lost_accesses(void)
{
    return (unsigned long)counter_get(&log_stats.lost[1]);
}

/* What goes where */

static void expect_both_to_move(struct fixture *f)
{
    log_notice("one");
    access_line("one\n");
    change_all(f->other, LOG_LEVEL_DEBUG, "off", LOG_FORMAT_LOGFMT);
    log_debug("two");
    access_line("two\n");
    change_all(f->file, LOG_LEVEL_WARNING, f->other, LOG_FORMAT_LOGFMT);
    log_notice("not at this level");
    log_warning("three");
    access_line("three\n");
    log_close();
    assert_matches(content(f, f->other), "^one\n" HEAD " debug: two\nthree\n$");
    assert_matches(content(f, f->file), "^" HEAD " notice: one\n" HEAD " warning: three\n$");
}

static void test_both_logs_move(void **state)
{
    struct fixture *f = *state;
    open_messages(f->file, LOG_LEVEL_NOTICE);
    open_accesses(f->other);
    expect_both_to_move(f);
}

static void test_both_logs_move_with_the_thread(void **state)
{
    struct fixture *f = *state;
    open_messages(f->file, LOG_LEVEL_NOTICE);
    open_accesses(f->other);
    assert_int_equal(log_start(), 0);
    expect_both_to_move(f);
}

static void test_same_target_stays_open(void **state)
{
    struct fixture *f = *state;
    redirect(STDERR_FILENO, f->other);
    open_messages("stderr", LOG_LEVEL_NOTICE);
    open_accesses(f->file);
    unsigned before = count_descriptors();
    assert_int_equal(unlink(f->file), 0); /* it would be created again */
    change_all("/dev/stderr", LOG_LEVEL_NOTICE, f->file, LOG_FORMAT_JSON);
    assert_int_equal(access(f->file, F_OK), -1);
    assert_int_equal(count_descriptors(), before);
    assert_int_equal(log_access_format(), LOG_FORMAT_JSON);
    log_reopen();
    access_line("line\n");
    assert_string_equal(content(f, f->file), "line\n");
}

/* SIGHUP does both. */
static void test_change_and_reopening(void **state)
{
    struct fixture *f = *state;
    open_messages(f->other, LOG_LEVEL_NOTICE);
    open_accesses("off");
    assert_int_equal(log_start(), 0);
    assert_int_equal(unlink(f->other), 0);
    change_all(f->other, LOG_LEVEL_NOTICE, f->file, LOG_FORMAT_LOGFMT);
    log_reopen();
    while (access(f->other, F_OK) < 0)
        usleep(1000);
    access_line("line\n");
    log_notice("message");
    log_close();
    assert_string_equal(content(f, f->file), "line\n");
    assert_matches(content(f, f->other), " notice: message\n$");
}

static void test_files_are_closed(void **state)
{
    struct fixture *f = *state;
    unsigned before = count_descriptors();
    for (int i = 0; i < 5; i++) {
        change_all(f->file, LOG_LEVEL_NOTICE, f->other, LOG_FORMAT_LOGFMT);
        assert_int_equal(count_descriptors(), before + 2);
        change_all("stderr", LOG_LEVEL_NOTICE, "off", LOG_FORMAT_LOGFMT);
        assert_int_equal(count_descriptors(), before);
    }
}

/* Each target's own form: what precedes a line. */
static void test_styles(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    char stream[64], packet[200];
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(syslog_path, sizeof(syslog_path), "%s/log", f->folder);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", syslog_path);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    redirect(STDERR_FILENO, f->other);
    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    open_messages(f->file, LOG_LEVEL_NOTICE);
    log_ready();
    assert_int_equal(log_start(), 0);
    log_notice("plain");
    change_all("syslog", LOG_LEVEL_NOTICE, "syslog", LOG_FORMAT_LOGFMT);
    log_warning("packet");
    assert_true(recv(fd, packet, sizeof(packet), 0) > 0);
    assert_memory_equal(packet, "<28>", 4);
    access_line("access\n");
    assert_true(recv(fd, packet, sizeof(packet), 0) > 0);
    assert_memory_equal(packet, "<30>", 4);
    setenv("JOURNAL_STREAM", stream, 1);
    change_all("stderr", LOG_LEVEL_NOTICE, "off", LOG_FORMAT_LOGFMT);
    log_error("journal");
    change_all(f->file, LOG_LEVEL_NOTICE, "off", LOG_FORMAT_LOGFMT);
    log_notice("plain again");
    log_close();
    unsetenv("JOURNAL_STREAM");
    assert_string_equal(content(f, f->other), "<3>journal\n");
    assert_matches(content(f, f->file), "^" HEAD " notice: plain\n" HEAD " notice: plain again\n$");
    close(fd);
    unlink(syslog_path);
}

/* All or nothing */

static void test_what_cannot_be_opened(void **state)
{
    struct fixture *f = *state;
    const char *errors[2];
    struct log_change *change;
    char missing[100], folder[100];
    snprintf(missing, sizeof(missing), "%s/missing/file", f->folder);
    snprintf(folder, sizeof(folder), "%s/", f->folder);
    open_messages(f->other, LOG_LEVEL_NOTICE);
    unsigned before = count_descriptors();
    assert_int_equal(log_prepare(&change, missing, folder, errors), -1);
    assert_null(change);
    assert_string_equal(errors[0], strerror(ENOENT));
    assert_string_equal(errors[1], strerror(EISDIR));
    assert_int_equal(log_prepare(&change, f->file, missing, errors), -1);
    assert_null(errors[0]);
    assert_string_equal(errors[1], strerror(ENOENT));
    assert_int_equal(count_descriptors(), before);
    assert_false(log_access_enabled());
    log_notice("still here");
    assert_matches(content(f, f->other), " still here\n$");
    assert_string_equal(content(f, f->file), "");
}

static void test_change_that_is_not_made(void **state)
{
    struct fixture *f = *state;
    const char *errors[2];
    struct log_change *change;
    open_accesses(f->other);
    unsigned before = count_descriptors();
    assert_int_equal(log_prepare(&change, f->file, "off", errors), 0);
    log_change_free(change);
    log_change_free(NULL);
    assert_int_equal(count_descriptors(), before);
    access_line("still here\n");
    assert_string_equal(content(f, f->other), "still here\n");
}

/* Targets that accept nothing */

/* What the old one did not accept goes to the new one, before what is logged later. */
static void test_lines_that_the_old_target_has_no_room_for(void **state)
{
    struct fixture *f = *state;
    unsigned number = 0, next = 0;
    int reader = make_fifo(f->other);
    open_accesses(f->other);
    shrink_pipe(reader);
    assert_int_equal(log_start(), 0);
    for (; number < 500; number++) {
        char line[32];
        snprintf(line, sizeof(line), "%020u\n", number);
        access_line(line);
        if (number == 400)
            change_access(f->file, LOG_FORMAT_LOGFMT);
    }
    log_close();
    read_now(reader, f->text, sizeof(f->text));
    for (const char *at = f->text; *at != '\0'; at = strchr(at, '\n') + 1)
        assert_int_equal(strtoul(at, NULL, 10), next++);
    assert_in_range(next, 1, 399);
    for (const char *at = content(f, f->file); *at != '\0'; at = strchr(at, '\n') + 1)
        assert_int_equal(strtoul(at, NULL, 10), next++);
    assert_int_equal(next, number);
    close(reader);
}

static void test_lines_that_nobody_wants_any_more(void **state)
{
    struct fixture *f = *state;
    unsigned long before = lost_accesses();
    int reader = make_fifo(f->file);
    open_messages(f->other, LOG_LEVEL_NOTICE);
    open_accesses(f->file);
    shrink_pipe(reader);
    for (unsigned i = 0; i < 1000; i++)
        access_line("123456789\n");
    change_all(f->other, LOG_LEVEL_NOTICE, "off", LOG_FORMAT_LOGFMT);
    unsigned out = (unsigned)strlen(read_now(reader, f->text, sizeof(f->text))) / 10;
    assert_int_equal(lost_accesses() - before, 1000 - out);
    char pattern[250];
    snprintf(pattern, sizeof(pattern),
             "^" HEAD " error: %u lines of the access log could not be written\n$", 1000 - out);
    assert_matches(content(f, f->other), pattern);
    close(reader);
}

/* One disk hangs: changes wait, in order, and do not pile up. */
static void test_many_changes_wait(void **state)
{
    struct fixture *f = *state;
    const char *errors[2];
    struct log_change *change;
    unsigned count = 0;
    open_accesses(f->file);
    assert_int_equal(log_start(), 0);
    atomic_store(&hangs, true);
    access_line("0\n");
    sem_wait(&hanging);
    unsigned before = count_descriptors();
    while (log_prepare(&change, "stderr", ++count % 2 == 0 ? f->file : f->other, errors) == 0) {
        char line[16];
        log_commit(change, LOG_LEVEL_NOTICE, LOG_FORMAT_LOGFMT);
        snprintf(line, sizeof(line), "%u\n", count);
        access_line(line);
        assert_in_range(count, 1, 16);
    }
    assert_int_equal(count, 17);
    assert_string_equal(errors[0], "the target of an earlier reload does not accept lines");
    assert_in_range(count_descriptors(), before, before + 17);
    sem_post(&resumed);
    log_close();
    assert_string_equal(content(f, f->file), "0\n2\n4\n6\n8\n10\n12\n14\n16\n");
    assert_string_equal(content(f, f->other), "1\n3\n5\n7\n9\n11\n13\n15\n");
}

/* Many threads log meanwhile */

#define THREADS 3
#define CHANGES 200

static atomic_bool enough;

struct logger {
    pthread_t thread;
    unsigned self, lines;
};

static void *log_many(void *arg)
{
    struct logger *logger = arg;
    for (; !atomic_load(&enough); logger->lines++) {
        struct log_line line;
        do {
            log_line_start(&line, log_access_format());
            log_field_time(&line);
            LOG_FIELD_NUMBER(&line, "thread", logger->self);
            LOG_FIELD_NUMBER(&line, "number", logger->lines);
            log_line_end(&line);
        } while (!log_access(line.format, line.text, line.length));
        if (logger->lines % 64 == 0)
            usleep(100);
    }
    return NULL;
}

/* The lines of a file that has `form`: those of each thread in order. Returns how many. */
static unsigned long read_lines(struct fixture *f, const char *path, enum log_format format,
                                unsigned long *lost)
{
    unsigned long lines = 0, number, next[THREADS] = {0};
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(f->text, sizeof(f->text), file) != NULL) {
        unsigned self;
        bool json = format == LOG_FORMAT_JSON;
        const char *loss = strstr(f->text, json ? "\"lost_lines\":" : "lost_lines=");
        if (loss != NULL) {
            *lost += strtoul(loss + (json ? 13 : 11), NULL, 10);
            continue;
        }
        int count = json ? sscanf(f->text, "{\"ts\":\"%*[^\"]\",\"thread\":%u,\"number\":%lu}\n",
                                  &self, &number)
                         : sscanf(f->text, "ts=%*s thread=%u number=%lu\n", &self, &number);
        assert_int_equal(count, 2);
        assert_true(self < THREADS && number >= next[self]);
        next[self] = number + 1;
        lines++;
    }
    fclose(file);
    return lines;
}

/* Each file has lines of its own format alone, and together they have each line once. */
static void test_changes_while_many_log(void **state)
{
    struct fixture *f = *state;
    struct logger loggers[THREADS] = {{0}};
    unsigned long lines = 0, lost = 0;
    open_accesses(f->file);
    assert_int_equal(log_start(), 0);
    atomic_store(&enough, false);
    for (unsigned i = 0; i < THREADS; i++) {
        loggers[i].self = i;
        assert_int_equal(pthread_create(&loggers[i].thread, NULL, log_many, &loggers[i]), 0);
    }
    for (unsigned done = 0; done < CHANGES;) {
        const char *errors[2];
        struct log_change *change;
        bool json = done % 2 == 0;
        if (log_prepare(&change, "stderr", json ? f->other : f->file, errors) < 0) {
            usleep(100); /* many wait */
            continue;
        }
        log_commit(change, LOG_LEVEL_NOTICE, json ? LOG_FORMAT_JSON : LOG_FORMAT_LOGFMT);
        done++;
    }
    atomic_store(&enough, true);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(loggers[i].thread, NULL);
        lines += loggers[i].lines;
    }
    log_close();
    unsigned long written = read_lines(f, f->file, LOG_FORMAT_LOGFMT, &lost) +
                            read_lines(f, f->other, LOG_FORMAT_JSON, &lost);
    assert_int_equal(written + lost, lines);
}

/* Off and on, with threads that check. */
static void test_off_and_on_while_many_log(void **state)
{
    struct fixture *f = *state;
    struct logger loggers[THREADS] = {{0}};
    unsigned long lost = 0;
    assert_int_equal(log_start(), 0);
    atomic_store(&enough, false);
    for (unsigned i = 0; i < THREADS; i++) {
        loggers[i].self = i;
        assert_int_equal(pthread_create(&loggers[i].thread, NULL, log_many, &loggers[i]), 0);
    }
    for (unsigned i = 0; i < CHANGES; i++) {
        const char *errors[2];
        struct log_change *change;
        if (log_prepare(&change, "stderr", i % 2 == 0 ? f->file : "off", errors) < 0)
            continue;
        log_commit(change, LOG_LEVEL_NOTICE, LOG_FORMAT_LOGFMT);
        assert_int_equal(log_access_enabled(), i % 2 == 0);
        usleep(100);
    }
    atomic_store(&enough, true);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(loggers[i].thread, NULL);
    log_close();
    read_lines(f, f->file, LOG_FORMAT_LOGFMT, &lost);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_both_logs_move),
        LOG_TEST(test_both_logs_move_with_the_thread),
        LOG_TEST(test_same_target_stays_open),
        LOG_TEST(test_change_and_reopening),
        LOG_TEST(test_files_are_closed),
        LOG_TEST(test_styles),
        LOG_TEST(test_what_cannot_be_opened),
        LOG_TEST(test_change_that_is_not_made),
        LOG_TEST(test_lines_that_the_old_target_has_no_room_for),
        LOG_TEST(test_lines_that_nobody_wants_any_more),
        LOG_TEST(test_many_changes_wait),
        LOG_TEST(test_changes_while_many_log),
        LOG_TEST(test_off_and_on_while_many_log),
    };
    sem_init(&hanging, 0, 0);
    sem_init(&resumed, 0, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
