/* SPDX-License-Identifier: ISC */
/* Reloads, with the test's own daemon around them: who is notified of what, what is logged, and
 * that nothing has changed after a failure. */
#include "support/log_fixture.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/reload.h"
#include "support/ini_text.h"
#include "support/shortage.h"

#define PERIOD "2001-09-09T01:46:40Z" /* of the time below */
#define NOW    (INT64_C(1000000000) * USEC_PER_SEC)

#define FIRST  LISTENER
#define SECOND LISTENER "[pool]\nmax_open=7\n"

/* In place of the real one. */
struct generation {
    struct config *config;
    uint64_t number;
};

struct world {
    struct mailbox mailbox;
    struct reload *reload;
    struct generation *current;
    const char *text;    /* what the next load finds; NULL: a mistake in line 3 and one more */
    const char *warning; /* what it reports besides, NULL: nothing */
    const char *install_error; /* NULL: it works */
    bool held;                 /* installations wait for the test */
    struct message installed;
    struct reload_install *install;
    sem_t *gate; /* loads wait for it; NULL: they do not */
    atomic_uint loads, undone;
    int shortage; /* which allocation fails, once the generation is made; 0: none */
    unsigned reloading, ready;
    char file[64];
};

struct asker {
    struct admin_reload request;
    struct world *world;
    unsigned answers;
    bool again;
    char text[2048];
};

static bool no_threads;
static bool no_memory;   /* for what is reported */
static bool out_of_time; /* the end no longer waits */

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg)
{
    return no_threads ? EAGAIN : __real_pthread_create(thread, attributes, run, arg);
}

int __real_pthread_timedjoin_np(pthread_t thread, void **result, const struct timespec *until);
int __wrap_pthread_timedjoin_np(pthread_t thread, void **result, const struct timespec *until);

int __wrap_pthread_timedjoin_np(pthread_t thread, void **result, const struct timespec *until)
{
    return out_of_time ? ETIMEDOUT : __real_pthread_timedjoin_np(thread, result, until);
}

FILE *__real_open_memstream(char **text, size_t *size);
FILE *__wrap_open_memstream(char **text, size_t *size);

FILE *__wrap_open_memstream(char **text, size_t *size)
{
    return no_memory ? NULL : __real_open_memstream(text, size);
}

static struct generation *generation_of(const struct world *world, const char *text)
{
    struct generation *generation = calloc(1, sizeof(*generation));
    generation->config = ini_load(text);
    generation->number = world->current == NULL ? 1 : world->current->number + 1;
    free(generation->config->file);
    generation->config->file = strdup(world->file);
    return generation;
}

static void generation_free(struct generation *generation)
{
    config_unref(generation->config);
    free(generation);
}

static struct generation *ops_load(void *arg, FILE *errors)
{
    struct world *world = arg;
    atomic_fetch_add(&world->loads, 1);
    if (world->gate != NULL)
        sem_wait(world->gate);
    if (world->warning != NULL)
        fprintf(errors, "%s:2: warning: %s\n", world->file, world->warning);
    if (world->text != NULL) {
        struct generation *generation = generation_of(world, world->text);
        shortage_of_calloc(world->shortage);
        return generation;
    }
    fprintf(errors, "%s:3: x: warning: no\n%s: y\n", world->file, world->file);
    return NULL;
}

static const struct config *ops_config(void *arg, const struct generation *generation)
{
    (void)arg;
    return generation->config;
}

static uint64_t ops_number(void *arg, const struct generation *generation)
{
    (void)arg;
    return generation->number;
}

static void ops_undo(void *arg, struct generation *generation)
{
    struct world *world = arg;
    atomic_fetch_add(&world->undone, 1);
    generation_free(generation);
}

static void on_installed(struct message *message)
{
    struct world *world = container_of(message, struct world, installed);
    struct reload_install *install = world->install;
    struct generation *old = world->current;
    world->install = NULL;
    install->ok = world->install_error == NULL;
    install->error = world->install_error;
    if (install->ok)
        world->current = install->generation;
    install->done(install);
    if (world->current != old)
        generation_free(old);
}

static void ops_install(void *arg, struct reload_install *install)
{
    struct world *world = arg;
    assert_null(world->install);
    world->install = install;
    if (!world->held)
        mailbox_post(&world->mailbox, &world->installed);
}

static void ops_reloading(void *arg)
{
    struct world *world = arg;
    assert_int_equal(world->reloading++, world->ready);
}

static void ops_ready(void *arg)
{
    struct world *world = arg;
    assert_int_equal(++world->ready, world->reloading);
}

static int64_t ops_now(void *arg)
{
    (void)arg;
    return NOW;
}

static void start(struct world *world, struct fixture *f)
{
    const struct reload_ops ops = {.arg = world,
                                   .load = ops_load,
                                   .config = ops_config,
                                   .undo = ops_undo,
                                   .install = ops_install,
                                   .number = ops_number,
                                   .reloading = ops_reloading,
                                   .ready = ops_ready,
                                   .now = ops_now};
    *world = (struct world){.text = SECOND, .file = "/etc/k.ini", .installed.run = on_installed};
    open_messages(f->file, LOG_LEVEL_NOTICE);
    assert_int_equal(mailbox_init(&world->mailbox), 0);
    world->current = generation_of(world, FIRST);
    world->reload = reload_new(&world->mailbox, &ops, world->current->config, 1);
    assert_non_null(world->reload);
}

static void finish(struct world *world)
{
    assert_int_equal(world->reloading, world->ready);
    reload_end(world->reload);
    reload_free(world->reload);
    mailbox_clear(&world->mailbox);
    generation_free(world->current);
}

/* Until something arrives by the mailbox. */
static void run_once(struct world *world)
{
    struct pollfd pollfd = {.fd = mailbox_descriptor(&world->mailbox), .events = POLLIN};
    assert_int_equal(poll(&pollfd, 1, -1), 1);
    mailbox_run(&world->mailbox);
}

static void on_answer(struct admin_reload *request)
{
    struct asker *asker = container_of(request, struct asker, request);
    asker->answers++;
    snprintf(asker->text, sizeof(asker->text), "%s", request->text);
    if (asker->again) {
        asker->again = false;
        reload_request(asker->world->reload, request);
    }
}

static void ask(struct asker *asker, struct world *world)
{
    *asker = (struct asker){.world = world, .request.done = on_answer};
    snprintf(asker->request.by, sizeof(asker->request.by), "POST /reload by uid 7");
    reload_request(world->reload, &asker->request);
    assert_int_equal(asker->answers, 0);
}

static void wait_for(const struct asker *asker, struct world *world)
{
    while (asker->answers == 0)
        run_once(world);
    assert_int_equal(asker->answers, 1);
}

static void wait_until_ready(struct world *world, unsigned ready)
{
    while (world->ready < ready)
        run_once(world);
}

static void assert_reloads(const struct world *world, unsigned good, unsigned bad)
{
    const struct reload_stats *stats = reload_get_stats(world->reload);
    assert_int_equal(counter_get(&stats->reloads[RELOAD_SUCCESS]), good);
    assert_int_equal(counter_get(&stats->reloads[RELOAD_FAILURE]), bad);
    assert_int_equal(gauge_get(&stats->generation), world->current->number);
}

/* The next one works. */
static void assert_works(struct world *world)
{
    struct asker asker;
    uint64_t number = world->current->number;
    ask(&asker, world);
    wait_for(&asker, world);
    assert_true(asker.request.ok);
    assert_int_equal(world->current->number, number + 1);
}

static void test_success(void **state)
{
    struct fixture *f = *state;
    struct world world;
    struct asker asker;
    start(&world, f);
    world.warning = "odd";
    ask(&asker, &world);
    assert_int_equal(world.reloading, 1);
    wait_for(&asker, &world);
    assert_true(asker.request.ok);
    assert_string_equal(asker.text, "pools: 1 changed (default: max_open 128 -> 7)\n"
                                    "/etc/k.ini:2: warning: odd\n");
    assert_int_equal(world.current->number, 2);
    assert_reloads(&world, 1, 0);
    finish(&world);
    assert_matches(content(f, f->file),
                   "^" HEAD " notice: POST /reload by uid 7: reloading /etc/k.ini\n" HEAD
                   " warning: reload: /etc/k.ini:2: warning: odd\n" HEAD
                   " notice: reloaded /etc/k.ini: pools: 1 changed \\(default: max_open 128 -> 7\\)"
                   "\n$");
}

static void test_mistakes(void **state)
{
    struct fixture *f = *state;
    struct world world;
    struct asker asker;
    start(&world, f);
    world.text = NULL;
    world.warning = "odd";
    ask(&asker, &world);
    wait_for(&asker, &world);
    assert_false(asker.request.ok);
    assert_string_equal(asker.text, "/etc/k.ini:3: x: warning: no\n/etc/k.ini: y\n");
    assert_reloads(&world, 0, 1);
    assert_string_equal(reload_get_stats(world.reload)->mistake, "/etc/k.ini:3: x: warning: no");
    assert_matches(
        content(f, f->file),
        " warning: reload: /etc/k.ini:2: warning: odd\n" HEAD
        " error: reload: /etc/k.ini:3: x: warning: no\n" HEAD " error: reload: /etc/k.ini: y\n" HEAD
        " error: reload failed: 2 mistakes; the configuration of " PERIOD " stays in effect\n$");
    world.text = SECOND;
    assert_works(&world);
    finish(&world);
}

static void test_no_thread(void **state)
{
    struct fixture *f = *state;
    struct world world;
    struct asker asker;
    start(&world, f);
    no_threads = true;
    ask(&asker, &world);
    wait_for(&asker, &world);
    no_threads = false;
    assert_string_equal(asker.text, "cannot start the thread that reads the configuration: "
                                    "Resource temporarily unavailable");
    assert_false(asker.request.ok);
    assert_int_equal(atomic_load(&world.loads), 0);
    assert_reloads(&world, 0, 1);
    assert_matches(content(f, f->file), " error: reload: cannot start the thread [^\n]*\n" HEAD
                                        " error: reload failed: 1 mistake; [^\n]*\n$");
    assert_works(&world);
    finish(&world);
}

static void test_no_memory(void **state)
{
    struct world world;
    struct asker asker;
    start(&world, *state);
    no_memory = true;
    ask(&asker, &world);
    wait_for(&asker, &world);
    no_memory = false;
    assert_string_equal(asker.text, "out of memory");
    assert_false(asker.request.ok);
    assert_reloads(&world, 0, 1);
    assert_works(&world);
    finish(&world);
}

/* For reporting the outcome: the first two are for what has changed, which is not a mistake. */
static void test_no_memory_afterwards(void **state)
{
    struct world world;
    struct asker asker;
    start(&world, *state);
    for (world.shortage = 1;; world.shortage++) {
        ask(&asker, &world);
        wait_for(&asker, &world);
        if (!shortage_came())
            break;
        assert_int_equal(asker.request.ok, world.shortage <= 2);
        assert_string_equal(asker.text, asker.request.ok
                                            ? "the changes are unknown: Cannot allocate "
                                              "memory\n"
                                            : "out of memory");
    }
    shortage_of_calloc(0);
    assert_int_equal(world.shortage, 6);
    assert_int_equal(atomic_load(&world.undone), 3);
    assert_reloads(&world, 3, 3);
    finish(&world);
}

static void test_no_installation(void **state)
{
    struct fixture *f = *state;
    struct world world;
    struct asker asker;
    start(&world, f);
    world.install_error = "Cannot allocate memory";
    ask(&asker, &world);
    wait_for(&asker, &world);
    assert_false(asker.request.ok);
    assert_string_equal(asker.text, "cannot install the configuration: Cannot allocate memory");
    assert_int_equal(atomic_load(&world.undone), 1);
    assert_reloads(&world, 0, 1);
    world.install_error = NULL;
    assert_works(&world);
    assert_int_equal(atomic_load(&world.undone), 1);
    finish(&world);
}

/* What cannot change is compared with what the process began with. */
static void test_what_stays(void **state)
{
    struct fixture *f = *state;
    struct world world;
    start(&world, f);
    world.text = LISTENER "[kaproxy]\nuser=root\n";
    for (unsigned i = 0; i < 2; i++) {
        struct asker asker;
        ask(&asker, &world);
        wait_for(&asker, &world);
        assert_true(asker.request.ok);
        assert_string_equal(asker.text,
                            "nothing changed\n/etc/k.ini: warning: user: cannot change while "
                            "running; it stays unset until a restart\n");
    }
    finish(&world);
}

/* A request during a reload may mean that the file has changed since it was read. */
static void test_several_share_the_next_one(void **state)
{
    struct fixture *f = *state;
    struct world world;
    struct asker first, others[3];
    sem_t gate;
    start(&world, f);
    sem_init(&gate, 0, 0);
    world.gate = &gate;
    ask(&first, &world);
    while (atomic_load(&world.loads) == 0)
        sched_yield();
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        ask(&others[i], &world);
    reload_ask(world.reload, "SIGHUP");
    sem_post(&gate);
    wait_for(&first, &world);
    assert_int_equal(others[0].answers, 0);
    sem_post(&gate);
    wait_for(&others[0], &world);
    assert_int_equal(others[1].answers + others[2].answers, 2);
    assert_string_equal(others[2].text, "nothing changed\n");
    assert_int_equal(atomic_load(&world.loads), 2);
    sem_post(&gate);
    reload_ask(world.reload, "SIGHUP");
    wait_until_ready(&world, 3);
    assert_reloads(&world, 3, 0);
    finish(&world);
    sem_destroy(&gate);
    assert_matches(content(f, f->file), " notice: SIGHUP: reloading /etc/k.ini\n" HEAD
                                        " notice: reloaded /etc/k.ini: nothing changed\n$");
}

static void test_asks_again_when_answered(void **state)
{
    struct world world;
    struct asker asker;
    start(&world, *state);
    no_threads = true;
    ask(&asker, &world);
    asker.again = true;
    wait_for(&asker, &world);
    no_threads = false;
    while (asker.answers < 2)
        run_once(&world);
    assert_reloads(&world, 0, 2);
    finish(&world);
}

/* The order to stop arrives while the file is read. */
static void test_stop_while_loading(void **state)
{
    struct fixture *f = *state;
    struct world world;
    struct asker first, second, third;
    sem_t gate;
    start(&world, f);
    sem_init(&gate, 0, 0);
    world.gate = &gate;
    ask(&first, &world);
    ask(&second, &world);
    reload_stop(world.reload, "kaproxy is stopping");
    ask(&third, &world);
    wait_for(&third, &world);
    assert_int_equal(second.answers, 1);
    assert_int_equal(first.answers, 0);
    assert_string_equal(third.text, "kaproxy is stopping");
    sem_post(&gate);
    wait_for(&first, &world);
    assert_string_equal(first.text, "kaproxy is stopping");
    assert_false(first.request.ok);
    assert_int_equal(atomic_load(&world.undone), 1);
    assert_reloads(&world, 0, 0);
    finish(&world);
    sem_destroy(&gate);
}

/* The end waits for the thread, and takes its result back. */
static void test_end_while_loading(void **state)
{
    struct world world;
    struct asker asker;
    start(&world, *state);
    ask(&asker, &world);
    reload_end(world.reload);
    assert_int_equal(asker.answers, 1);
    assert_string_equal(asker.text, "kaproxy is stopping");
    assert_int_equal(atomic_load(&world.undone), 1);
    finish(&world);
}

/* A file that does not arrive delays nothing: what is loaded afterwards is undone. */
static void test_end_does_not_wait_for_ever(void **state)
{
    struct world world;
    struct asker asker;
    sem_t gate;
    start(&world, *state);
    sem_init(&gate, 0, 0);
    world.gate = &gate;
    ask(&asker, &world);
    out_of_time = true;
    reload_end(world.reload);
    out_of_time = false;
    assert_int_equal(asker.answers, 1);
    assert_string_equal(asker.text, "kaproxy is stopping");
    assert_int_equal(atomic_load(&world.undone), 0);
    sem_post(&gate);
    while (atomic_load(&world.undone) == 0)
        sched_yield();
    finish(&world);
    sem_destroy(&gate);
}

static void test_stop_while_installing(void **state)
{
    struct world world;
    struct asker asker;
    start(&world, *state);
    world.held = true;
    ask(&asker, &world);
    while (world.install == NULL)
        run_once(&world);
    reload_stop(world.reload, "kaproxy is stopping");
    world.install_error = "kaproxy is stopping";
    mailbox_post(&world.mailbox, &world.installed);
    wait_for(&asker, &world);
    assert_string_equal(asker.text, "kaproxy is stopping");
    assert_int_equal(atomic_load(&world.undone), 1);
    finish(&world);
}

/* While it is held new requests wait, and so do earlier ones. */
static void test_held(void **state)
{
    struct world world;
    struct asker first, second, third;
    start(&world, *state);
    world.held = true;
    ask(&first, &world);
    while (world.install == NULL)
        run_once(&world);
    ask(&second, &world);
    reload_hold(world.reload, true);
    mailbox_post(&world.mailbox, &world.installed);
    wait_for(&first, &world);
    world.held = false;
    ask(&third, &world);
    reload_ask(world.reload, "SIGHUP");
    assert_int_equal(atomic_load(&world.loads), 1);
    reload_hold(world.reload, false);
    wait_for(&third, &world);
    assert_int_equal(second.answers, 1);
    assert_reloads(&world, 2, 0);
    finish(&world);
}

static void test_stop_while_held(void **state)
{
    struct fixture *f = *state;
    struct world world;
    struct asker asker;
    start(&world, f);
    reload_hold(world.reload, true);
    reload_ask(world.reload, "SIGHUP");
    ask(&asker, &world);
    reload_stop(world.reload, "another process serves");
    wait_for(&asker, &world);
    assert_string_equal(asker.text, "another process serves");
    reload_hold(world.reload, false);
    reload_ask(world.reload, "SIGHUP");
    reload_stop(world.reload, "it is too late for that");
    assert_int_equal(atomic_load(&world.loads), 0);
    finish(&world);
    assert_matches(content(f, f->file),
                   "^" HEAD " notice: SIGHUP: the reload begins once the handover has "
                   "succeeded or failed\n"
                   "(" HEAD " notice: SIGHUP: another process serves; nothing is reloaded\n){2}$");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_success),
        LOG_TEST(test_mistakes),
        LOG_TEST(test_no_thread),
        LOG_TEST(test_no_memory),
        LOG_TEST(test_no_memory_afterwards),
        LOG_TEST(test_no_installation),
        LOG_TEST(test_what_stays),
        LOG_TEST(test_several_share_the_next_one),
        LOG_TEST(test_asks_again_when_answered),
        LOG_TEST(test_stop_while_loading),
        LOG_TEST(test_end_while_loading),
        LOG_TEST(test_end_does_not_wait_for_ever),
        LOG_TEST(test_stop_while_installing),
        LOG_TEST(test_held),
        LOG_TEST(test_stop_while_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
