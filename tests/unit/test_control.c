/* SPDX-License-Identifier: ISC */
/* The control thread and its worker's: how they start, how signals are handled, how they end. */
#include "support/log_fixture.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin/admin.h"
#include "daemon/control.h"
#include "support/generations.h"
#include "support/ini_text.h"
#include "support/manager.h"
#include "support/sockets.h"

static bool no_threads;
static void (*made)(void); /* called once there is another thread; NULL: nothing is */

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg)
{
    if (no_threads)
        return EAGAIN;
    int result = __real_pthread_create(thread, attributes, run, arg);
    if (made != NULL)
        made();
    return result;
}

/* Calls for views, and for sockets of [admin], while there is a configuration. A start makes this
 * many; this many after those get no memory. */
#define VIEWS_AT_START   1
#define SOCKETS_AT_START 2
static unsigned views, socket_lists, no_memory;
static void (*shown)(void); /* called once it has worked again; NULL: nothing is */

int __real_admin_set_view(struct admin *admin, const struct admin_view *view);
int __wrap_admin_set_view(struct admin *admin, const struct admin_view *view);
int __real_admin_set_sockets(struct admin *admin, struct bound_socket *const *sockets,
                             size_t count);
int __wrap_admin_set_sockets(struct admin *admin, struct bound_socket *const *sockets,
                             size_t count);

static bool has_no_memory(unsigned later_call)
{
    errno = ENOMEM;
    return later_call <= no_memory;
}

int __wrap_admin_set_view(struct admin *admin, const struct admin_view *view)
{
    if (++views > VIEWS_AT_START && has_no_memory(views - VIEWS_AT_START))
        return -1;
    int result = __real_admin_set_view(admin, view);
    if (views > VIEWS_AT_START && shown != NULL)
        shown();
    return result;
}

int __wrap_admin_set_sockets(struct admin *admin, struct bound_socket *const *sockets, size_t count)
{
    if (++socket_lists > SOCKETS_AT_START && has_no_memory(socket_lists - SOCKETS_AT_START))
        return -1;
    return __real_admin_set_sockets(admin, sockets, count);
}

#define STARTED "^" HEAD " notice: listening on [^\n]*\n"
#define READY   HEAD " notice: ready\n"
#define STATS   "(" HEAD " notice: stats [^\n]*\n)+"

/* A worker that listens on a socket in the test's folder, the code that controls it, and an
 * upstream that accepts connections and does nothing with them. */
struct world {
    int upstream;
    struct config *config;
    struct control *control;
    struct worker *worker;
    sigset_t usual; /* of this thread */
    int descriptors;
};

/* That cannot be started again. */
static char *const arguments[] = {NULL};
static const struct program program = {.argv = arguments};

static struct world start(struct fixture *f)
{
    struct world world = {.descriptors = sockets_count()};
    views = socket_lists = no_memory = 0;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(in);
    char text[300];
    world.upstream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(world.upstream, (struct sockaddr *)&in, length), 0);
    assert_int_equal(getsockname(world.upstream, (struct sockaddr *)&in, &length), 0);
    assert_int_equal(listen(world.upstream, 8), 0);
    snprintf(text, sizeof(text),
             "[listener a]\nlisten=unix:%s\nupstream=tcp://127.0.0.1:%u\nreuse=quiet\n", f->other,
             ntohs(in.sin_port));
    pthread_sigmask(SIG_SETMASK, NULL, &world.usual);
    world.config = ini_load(text);
    open_messages(f->file, LOG_LEVEL_NOTICE);
    world.control = control_new();
    assert_non_null(world.control);
    struct generation *generation = generation_of(world.config, 10);
    world.worker = worker_new(generation, -1);
    assert_non_null(world.worker);
    assert_int_equal(control_listen(world.control, generation), 0);
    control_hand_over(world.control, &program, NULL);
    assert_int_equal(log_start(), 0);
    return world;
}

/* It waits in the backlog until the worker has started. */
static int connect_client(const struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->other);
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
    return client;
}

static void set_signals(void (*handler)(int number))
{
    static const int heeded[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < ARRAY_LEN(heeded); i++)
        signal(heeded[i], handler);
}

/* Returns everything that was logged. */
static const char *end(struct world *world, struct fixture *f)
{
    worker_free(world->worker);
    control_free(world->control);
    config_unref(world->config);
    log_close();
    close(world->upstream);
    assert_int_equal(sockets_count(), world->descriptors);
    set_signals(SIG_IGN); /* drops the pending ones */
    pthread_sigmask(SIG_SETMASK, &world->usual, NULL);
    set_signals(SIG_DFL);
    return content(f, f->file);
}

/* Whatever arrives before the worker runs is noted, and acted on once it does. */
static void test_signals_before_the_start_are_heeded(void **state)
{
    struct world world = start(*state);
    raise(SIGUSR1);
    raise(SIGUSR2);
    raise(SIGTERM);
    assert_int_equal(control_run(world.control, world.worker), 0);
    const char *text = end(&world, *state);
    assert_matches(text, STARTED READY);
    assert_matches(text, READY "(.*\n)?" STATS);
    assert_matches(text, READY "(.*\n)?" HEAD " error: SIGUSR2 is refused: the program was not");
    assert_matches(text, STATS "(.*\n)?" HEAD " notice: SIGTERM: stopping; 0 sessions may finish "
                               "within 30 s\n");
}

/* Are all threads but this one asleep? */
static bool others_sleep(void)
{
    bool sleep = true;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (const struct dirent *entry; (entry = readdir(tasks)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        char path[300], line[512] = "";
        snprintf(path, sizeof(path), "/proc/self/task/%s/stat", entry->d_name);
        FILE *file = fopen(path, "re");
        const char *state = NULL;
        if (file != NULL && fgets(line, sizeof(line), file) != NULL)
            state = strrchr(line, ')');
        if (file != NULL)
            fclose(file);
        sleep &= state == NULL || atoi(entry->d_name) == gettid() || state[2] == 'S';
    }
    closedir(tasks);
    return sleep;
}

static int before_thread; /* descriptors */

/* Had it begun already, it would have accepted the waiting client. */
static void thread_waits(void)
{
    while (!others_sleep())
        sched_yield();
    assert_int_equal(sockets_count(), before_thread);
}

/* What the worker does and logs follows the line that says that everything is ready. */
static void test_worker_waits_until_all_is_ready(void **state)
{
    struct fixture *f = *state;
    struct world world = start(f);
    int client = connect_client(f);
    before_thread = sockets_count();
    made = thread_waits;
    raise(SIGTERM);
    raise(SIGTERM);
    int result = control_run(world.control, world.worker);
    made = NULL;
    assert_int_equal(result, 0);
    close(client);
    assert_matches(end(&world, f), STARTED READY);
}

static unsigned count(const char *text, const char *words)
{
    unsigned found = 0;
    for (; (text = strstr(text, words)) != NULL; text++)
        found++;
    return found;
}

/* The second order is not lost while the first one is in progress; a third one is ignored. With a
 * session that does not end the worker waits for it. */
static void test_second_order_to_stop(void **state)
{
    struct fixture *f = *state;
    struct world world = start(f);
    int client = connect_client(f);
    for (int i = 0; i < 3; i++)
        raise(SIGTERM);
    assert_int_equal(control_run(world.control, world.worker), 0);
    close(client);
    const char *text = end(&world, f);
    assert_matches(text,
                   HEAD " notice: SIGTERM: stopping; [01] sessions may finish within 30 s\n" HEAD
                        " notice: SIGTERM again: ending at once; [01] sessions are reset\n$");
    assert_int_equal(count(text, "SIGTERM"), 2);
}

/* Once everything is done a signal changes nothing, whatever its default action is. */
static void test_signals_after_the_end(void **state)
{
    struct world world = start(*state);
    raise(SIGINT);
    assert_int_equal(control_run(world.control, world.worker), 0);
    worker_free(world.worker);
    raise(SIGTERM);
    control_free(world.control);
    raise(SIGTERM);
    raise(SIGUSR1);
    world.worker = NULL;
    world.control = NULL;
    const char *text = end(&world, *state);
    assert_int_equal(count(text, "SIGTERM"), 0);
    assert_int_equal(count(text, "SIGINT: stopping"), 1);
}

static void test_systemd_hears_of_start_and_stop(void **state)
{
    static const char *const expected[] = {"READY=1", "STATUS=0 clients, 0 connections",
                                           "STOPPING=1",
                                           "STATUS=stopping: 0 clients, 0 connections"};
    struct fixture *f = *state;
    char name[100], text[MANAGER_TEXT_MAX];
    if (!manager_is_told())
        return;
    snprintf(name, sizeof(name), "@%s", f->folder);
    int manager = manager_open(name);
    struct world world = start(f);
    raise(SIGTERM);
    raise(SIGTERM);
    assert_true(manager_is_empty(manager));
    assert_int_equal(control_run(world.control, world.worker), 0);
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        assert_string_equal(manager_read(manager, text), expected[i]);
    assert_true(manager_is_empty(manager));
    end(&world, f);
    manager_close(manager, name);
}

static void set_text(char **at, const char *text)
{
    free(*at);
    *at = strdup(text);
    assert_non_null(*at);
}

/* Its file is there, to be read again, and contains the log that we have opened. */
static void keep_file(struct fixture *f, struct world *world)
{
    char path[300];
    set_text(&world->config->log, f->file);
    snprintf(path, sizeof(path), "%s/kaproxy.ini", f->folder);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    config_print(world->config, file);
    fclose(file);
    set_text(&world->config->file, path);
}

static void stop_at_once(void)
{
    raise(SIGTERM);
    raise(SIGTERM);
}

/* The reload has taken effect, and what could not be shown then is shown later. */
static void test_no_memory_to_show_a_reload(void **state)
{
    struct fixture *f = *state;
    struct world world = start(f);
    keep_file(f, &world);
    no_memory = 2;
    shown = stop_at_once;
    raise(SIGHUP);
    int result = control_run(world.control, world.worker);
    shown = NULL;
    assert_int_equal(result, 0);
    assert_int_equal(views, VIEWS_AT_START + 3);
    assert_int_equal(socket_lists, SOCKETS_AT_START + 3);
    unlink(world.config->file);
    const char *text = end(&world, f);
    assert_matches(text, " error: \\[admin\\]: cannot show the new configuration yet: (.*\n)?" HEAD
                         " notice: reloaded (.*\n)?" HEAD
                         " notice: \\[admin\\]: shows the new configuration\n");
    assert_int_equal(count(text, "cannot show"), 1);
}

/* A file that does not arrive until we have ended. */
static atomic_bool hangs;
static sem_t file_comes;

struct generation *__real_generation_load(const char *file, const struct generation *current,
                                          struct log_change **logs, FILE *errors);
struct generation *__wrap_generation_load(const char *file, const struct generation *current,
                                          struct log_change **logs, FILE *errors);
int __real_pthread_timedjoin_np(pthread_t thread, void **result, const struct timespec *until);
int __wrap_pthread_timedjoin_np(pthread_t thread, void **result, const struct timespec *until);

struct generation *__wrap_generation_load(const char *file, const struct generation *current,
                                          struct log_change **logs, FILE *errors)
{
    if (hangs) {
        kill(getpid(), SIGTERM);
        while (sem_wait(&file_comes) < 0)
            assert_int_equal(errno, EINTR);
    }
    return __real_generation_load(file, current, logs, errors);
}

int __wrap_pthread_timedjoin_np(pthread_t thread, void **result, const struct timespec *until)
{
    return hangs ? ETIMEDOUT : __real_pthread_timedjoin_np(thread, result, until);
}

static unsigned count_threads(void)
{
    unsigned threads = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (const struct dirent *entry; (entry = readdir(tasks)) != NULL;)
        threads += entry->d_name[0] != '.';
    closedir(tasks);
    return threads;
}

/* It is compared with what was in effect, and undone, when all else is gone. */
static void test_file_comes_after_the_end(void **state)
{
    static struct control *left;
    struct fixture *f = *state;
    unsigned threads = count_threads(); /* ThreadSanitizer has its own */
    struct world world = start(f);
    char path[300];
    keep_file(f, &world);
    snprintf(path, sizeof(path), "%s", world.config->file);
    assert_int_equal(sem_init(&file_comes, 0, 0), 0);
    left = world.control;
    hangs = true;
    raise(SIGHUP);
    assert_int_equal(control_run(left, world.worker), 0);
    const char *text = end(&world, f);
    assert_matches(text, " warning: reload: the configuration is still being read; not waiting "
                         "for it\n");
    assert_int_equal(access(f->other, F_OK), -1); /* the socket */
    sem_post(&file_comes);
    while (count_threads() > threads)
        sched_yield();
    hangs = false;
    unlink(path);
    assert_int_equal(sockets_count(), world.descriptors);
}

static void test_no_thread(void **state)
{
    struct world world = start(*state);
    no_threads = true;
    int result = control_run(world.control, world.worker);
    no_threads = false;
    assert_int_equal(result, -1);
    const char *text = end(&world, *state);
    assert_matches(text, STARTED HEAD " error: cannot start the thread that carries clients: "
                                      "Resource temporarily unavailable\n$");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_signals_before_the_start_are_heeded),
        LOG_TEST(test_worker_waits_until_all_is_ready),
        LOG_TEST(test_second_order_to_stop),
        LOG_TEST(test_signals_after_the_end),
        LOG_TEST(test_systemd_hears_of_start_and_stop),
        LOG_TEST(test_no_memory_to_show_a_reload),
        LOG_TEST(test_file_comes_after_the_end),
        LOG_TEST(test_no_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
