/* SPDX-License-Identifier: ISC */
/* What systemd hears from us, at a socket that replaces its own. */
#include "support/log_fixture.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config-build.h"
#include "daemon/notify.h"
#include "support/manager.h"

static usec_t barrier_limit; /* how long the last barrier would have been waited for */
static bool stuck;           /* systemd accepts nothing */

int __real_sd_notify_barrier(int unset, uint64_t limit);
int __wrap_sd_notify_barrier(int unset, uint64_t limit);

int __wrap_sd_notify_barrier(int unset, uint64_t limit)
{
    barrier_limit = (usec_t)limit;
#ifdef HAVE_LIBSYSTEMD
    return stuck ? -ETIMEDOUT : __real_sd_notify_barrier(unset, limit);
#else
    return unset;
#endif
}

static void check_messages(int manager)
{
    char text[MANAGER_TEXT_MAX];
    int64_t since;
    usec_t before = monotonic_time();
    assert_true(notify_is_heard());
    notify_ready();
    assert_string_equal(manager_read(manager, text), "READY=1");
    notify_reloading();
    assert_int_equal(
        sscanf(manager_read(manager, text), "RELOADING=1\nMONOTONIC_USEC=%" SCNd64, &since), 1);
    assert_in_range(since, before, monotonic_time());
    notify_status("%u clients", 12U);
    assert_string_equal(manager_read(manager, text), "STATUS=12 clients");
    notify_alive();
    assert_string_equal(manager_read(manager, text), "WATCHDOG=1");
    notify_stopping();
    assert_string_equal(manager_read(manager, text), "STOPPING=1");
    assert_true(manager_is_empty(manager));
}

static void test_messages_to_a_path(void **state)
{
    struct fixture *f = *state;
    if (!manager_is_told())
        return;
    int manager = manager_open(f->other);
    check_messages(manager);
    manager_close(manager, f->other);
}

static void test_messages_to_an_abstract_name(void **state)
{
    char name[64];
    (void)state;
    if (!manager_is_told())
        return;
    snprintf(name, sizeof(name), "@kaproxy-test-notify-%jd", (intmax_t)getpid());
    int manager = manager_open(name);
    check_messages(manager);
    manager_close(manager, name);
}

static void test_long_status_is_cut(void **state)
{
    struct fixture *f = *state;
    char text[MANAGER_TEXT_MAX], status[2 * NOTIFY_STATUS_MAX];
    if (!manager_is_told())
        return;
    int manager = manager_open(f->other);
    memset(status, 'x', sizeof(status) - 1);
    status[sizeof(status) - 1] = '\0';
    notify_status("%s", status);
    assert_int_equal(strlen(manager_read(manager, text)), strlen("STATUS=") + NOTIFY_STATUS_MAX);
    manager_close(manager, f->other);
}

struct reader {
    int manager;
    char texts[2][MANAGER_TEXT_MAX];
};

static void *read_two(void *arg)
{
    struct reader *reader = arg;
    manager_read(reader->manager, reader->texts[0]);
    manager_read(reader->manager, reader->texts[1]);
    return NULL;
}

/* When the call returns, the notified process has received it. */
static void test_main_process_behind_a_barrier(void **state)
{
    struct fixture *f = *state;
    struct reader reader;
    pthread_t thread;
    char text[64];
    if (!manager_is_told())
        return;
    reader.manager = manager_open(f->other);
    assert_int_equal(pthread_create(&thread, NULL, read_two, &reader), 0);
    assert_true(notify_main_pid(4711));
    pthread_join(thread, NULL);
    snprintf(text, sizeof(text), "MAINPID=%d", 4711);
    assert_string_equal(reader.texts[0], text);
    assert_string_equal(reader.texts[1], "BARRIER=1");
    assert_in_range(barrier_limit, 1, 5 * USEC_PER_SEC);
    manager_close(reader.manager, f->other);
}

static void test_main_process_is_not_taken(void **state)
{
    struct fixture *f = *state;
    if (!manager_is_told())
        return;
    int manager = manager_open(f->other);
    open_messages(f->file, LOG_LEVEL_NOTICE);
    stuck = true;
    assert_false(notify_main_pid(4711));
    stuck = false;
    log_close();
    assert_matches(content(f, f->file),
                   "^" HEAD " error: cannot notify systemd that process 4711 is the "
                   "main one: Connection timed out\n$");
    manager_close(manager, f->other);
}

/* As when the socket is gone. */
static void test_nobody_is_there(void **state)
{
    struct fixture *f = *state;
    if (!manager_is_told())
        return;
    setenv("NOTIFY_SOCKET", "/nonexistent/notify", 1);
    open_messages(f->file, LOG_LEVEL_NOTICE);
    notify_ready();
    notify_alive();
    assert_false(notify_main_pid(4711));
    log_close();
    unsetenv("NOTIFY_SOCKET");
    assert_matches(content(f, f->file),
                   "^" HEAD " warning: cannot notify systemd of readiness: No such file or "
                   "directory\n" HEAD
                   " error: cannot notify systemd that process 4711 is the main one: "
                   "No such file or directory\n$");
}

static void test_nobody_listens(void **state)
{
    struct fixture *f = *state;
    unsetenv("NOTIFY_SOCKET");
    assert_false(notify_is_heard());
    open_messages(f->file, LOG_LEVEL_DEBUG);
    notify_ready();
    notify_reloading();
    notify_status("none");
    notify_alive();
    notify_stopping();
    assert_true(notify_main_pid(4711));
    log_close();
    assert_string_equal(content(f, f->file), "");
}

static usec_t watchdog_of(const char *interval, intmax_t pid)
{
    char text[32];
    snprintf(text, sizeof(text), "%jd", pid);
    setenv("WATCHDOG_USEC", interval, 1);
    setenv("WATCHDOG_PID", text, 1);
    usec_t found = notify_watchdog();
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return found;
}

static void test_watchdog(void **state)
{
    (void)state;
    assert_int_equal(notify_watchdog(), 0);
    if (!manager_is_told())
        return;
    assert_int_equal(watchdog_of("30000000", getpid()), 30 * USEC_PER_SEC);
    assert_int_equal(watchdog_of("30000000", getppid()), 0);
    assert_int_equal(watchdog_of("soon", getpid()), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_messages_to_a_path),
        LOG_TEST(test_messages_to_an_abstract_name),
        LOG_TEST(test_long_status_is_cut),
        LOG_TEST(test_main_process_behind_a_barrier),
        LOG_TEST(test_main_process_is_not_taken),
        LOG_TEST(test_nobody_is_there),
        LOG_TEST(test_nobody_listens),
        LOG_TEST(test_watchdog),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
