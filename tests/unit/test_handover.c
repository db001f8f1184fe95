/* SPDX-License-Identifier: ISC */
/* A handover with a real successor, this test started again, that says what it should, or does not:
 * each step failing once, and what becomes of the running process. */
#include "support/log_fixture.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/handover.h"
#include "daemon/inherited.h"
#include "daemon/takeover.h"
#include "support/sockets.h"

static char *own_path; /* of this test */
static char act_word[] = "act";
static bool is_first;
static long shortened; /* seconds that a moment lasts; 0: none */
static int fork_error;
static int events_left = -1;      /* without a time, before one fails; -1: none does */
static int socketpairs_left = -1; /* before one fails; -1: none does */

int __real_event_add(struct event *event, const struct timeval *timeout);
int __wrap_event_add(struct event *event, const struct timeval *timeout);
pid_t __real_fork(void);
pid_t __wrap_fork(void);
pid_t __real_getpid(void);
pid_t __wrap_getpid(void);
int __real_socketpair(int domain, int type, int protocol, int fds[2]);
int __wrap_socketpair(int domain, int type, int protocol, int fds[2]);

int __wrap_event_add(struct event *event, const struct timeval *timeout)
{
    const struct timeval moment = {.tv_usec = 1000};
    if (timeout == NULL && events_left >= 0 && events_left-- == 0)
        return -1;
    bool is_short = timeout != NULL && timeout->tv_sec > 0 && timeout->tv_sec == shortened;
    return __real_event_add(event, is_short ? &moment : timeout);
}

pid_t __wrap_fork(void)
{
    errno = fork_error;
    return fork_error == 0 ? __real_fork() : -1;
}

pid_t __wrap_getpid(void)
{
    return is_first ? 1 : __real_getpid();
}

int __wrap_socketpair(int domain, int type, int protocol, int fds[2])
{
    if (socketpairs_left < 0 || socketpairs_left-- > 0)
        return __real_socketpair(domain, type, protocol, fds);
    errno = EMFILE;
    return -1;
}

/* The successor. */

struct successor_world {
    struct event_base *base;
    int places;
    struct takeover *takeover;
};

static void on_main(void *arg)
{
    const struct successor_world *world = arg;
    takeover_say(world->places, "is_main");
}

static void on_alone(void *arg)
{
    const struct successor_world *world = arg;
    takeover_say(world->places, "is_alone");
    event_base_loopbreak(world->base);
}

/* Waits for the places channel: its end means that the predecessor has yielded. */
static void wait_end(int places)
{
    char byte;
    fcntl(places, F_SETFL, 0);
    while (recv(places, &byte, 1, 0) > 0)
        continue;
}

/* As kaproxy does it. */
static int take_over(int control, int places)
{
    struct successor_world world = {.base = event_base_new(), .places = places};
    const struct takeover_ops ops = {.arg = &world, .is_main = on_main, .is_alone = on_alone};
    world.takeover = takeover_new(world.base, control, &ops);
    takeover_prepared(world.takeover);
    char byte;
    fcntl(places, F_SETFL, 0);
    ssize_t got = recv(places, &byte, 1, 0); /* accept, says the predecessor's worker */
    (void)got;
    takeover_serving(world.takeover);
    event_base_loop(world.base, 0);
    takeover_free(world.takeover);
    event_base_free(world.base);
    return 0;
}

static void say_mistakes(int control)
{
    char word[] = TAKEOVER_MISTAKE "a.ini:1: text";
    char *number = strchr(word, '1');
    for (*number = '1'; *number <= '9'; ++*number)
        takeover_say(control, word);
}

/* Steps: +WORD says it, "mistakes" says several, "close" closes the channel, "yielded" waits for
 * that, "hang", "crash", "end". */
static int act(char *steps)
{
    struct inherited *inherited;
    if (inherited_take(&inherited, stderr) < 0)
        return 100;
    int control = inherited_control_channel(inherited);
    int places = inherited_places_channel(inherited);
    for (char *step; (step = strsep(&steps, " ")) != NULL;) {
        if (*step == '+')
            takeover_say(control, step + 1);
        else if (strcmp(step, "mistakes") == 0)
            say_mistakes(control);
        else if (strcmp(step, "close") == 0)
            close(control);
        else if (strcmp(step, "yielded") == 0)
            wait_end(places);
        else if (strcmp(step, "hang") == 0)
            pause();
        else if (strcmp(step, "crash") == 0)
            raise(SIGKILL);
        else if (strcmp(step, "end") == 0)
            return 7;
        else if (strcmp(step, "real") == 0)
            return take_over(control, places);
    }
    return 0;
}

/* This process. */

struct world {
    struct fixture *fixture;
    struct event_base *base;
    struct program program;
    char steps[100];
    char *argv[4];
    struct successor_socket socket;
    size_t sockets; /* SIZE_MAX: there is no memory for them */
    struct handover *handover;
    int places;     /* given to the worker */
    char done[200]; /* what it has had others do */
    pid_t main_pid;
    bool knows_main;
    int descriptors;
    bool copies;    /* are expected */
    unsigned began; /* and are not over */
};

static void note(struct world *world, const char *what)
{
    size_t length = strlen(world->done);
    snprintf(world->done + length, sizeof(world->done) - length, "%s ", what);
}

static void ops_expect_copies(void *arg)
{
    struct world *world = arg;
    assert_false(world->copies);
    world->copies = true;
    world->began++;
    handover_go(world->handover);
}

static void ops_expect_none(void *arg)
{
    struct world *world = arg;
    world->copies = false;
}

static const struct successor_socket *ops_sockets(void *arg, size_t *count)
{
    struct world *world = arg;
    assert_true(world->copies);
    *count = world->sockets;
    errno = ENOMEM;
    return world->sockets == SIZE_MAX ? NULL : &world->socket;
}

static void ops_yield(void *arg, int places)
{
    struct world *world = arg;
    note(world, "yield");
    assert_false(world->copies);
    world->places = places;
}

static void close_places(struct world *world)
{
    if (world->places >= 0)
        close(world->places);
    world->places = -1;
}

static void ops_resume(void *arg)
{
    struct world *world = arg;
    note(world, "resume");
    close_places(world);
}

static void ops_over(void *arg)
{
    struct world *world = arg;
    assert_int_equal(world->began--, 1);
    assert_false(handover_is_under_way(world->handover));
}

static bool ops_main_pid(void *arg, pid_t pid)
{
    struct world *world = arg;
    note(world, "main_pid");
    world->main_pid = pid;
    return world->knows_main;
}

static void ops_leave(void *arg)
{
    note(arg, "leave");
}

static void world_init(struct world *world, struct fixture *f, const char *steps)
{
    const struct handover_ops ops = {
        .arg = world,
        .expect_copies = ops_expect_copies,
        .expect_none = ops_expect_none,
        .sockets = ops_sockets,
        .yield = ops_yield,
        .resume = ops_resume,
        .over = ops_over,
        .main_pid = ops_main_pid,
        .leave = ops_leave,
    };
    sigset_t mask;
    *world = (struct world){.fixture = f, .places = -1, .knows_main = true};
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    snprintf(world->steps, sizeof(world->steps), "%s", steps);
    memcpy(world->argv, (char *[]){own_path, act_word, world->steps, NULL}, sizeof(world->argv));
    open_messages(f->file, LOG_LEVEL_NOTICE);
    world->base = event_base_new();
    assert_int_equal(program_note(&world->program, world->argv, &mask), 0);
    world->handover = handover_new(world->base, &world->program, &ops);
    assert_non_null(world->handover);
    world->descriptors = sockets_count();
}

/* Nothing is left, and what was logged after the line that reports a start matches. */
static void world_clear(struct world *world, const char *logged)
{
    char pattern[2000];
    handover_free(world->handover);
    close_places(world);
    assert_int_equal(sockets_count(), world->descriptors);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    program_clear(&world->program);
    event_base_free(world->base);
    snprintf(pattern, sizeof(pattern),
             "^(" HEAD " notice: handing over to process [0-9]+, %s\n)%s$", own_path, logged);
    assert_matches(content(world->fixture, world->fixture->file), pattern);
    log_close();
    unlink(world->fixture->file);
}

static void run_until(struct world *world, const char *done)
{
    while (strcmp(world->done, done) != 0)
        assert_int_equal(event_base_loop(world->base, EVLOOP_ONCE), 0);
}

/* Until it has failed. */
static void run(struct world *world)
{
    while (handover_is_under_way(world->handover))
        assert_int_equal(event_base_loop(world->base, EVLOOP_ONCE), 0);
    assert_false(world->copies);
    assert_int_equal(world->began, 0);
}

static void assert_word(int fd, const char *expected)
{
    char word[TAKEOVER_WORD_MAX] = "";
    fcntl(fd, F_SETFL, 0);
    ssize_t length = recv(fd, word, sizeof(word) - 1, 0);
    assert_int_equal(length, strlen(expected));
    assert_string_equal(word, expected);
}

static void test_all_is_well(void **state)
{
    struct world world;
    world_init(&world, *state, "real");
    handover_start(world.handover);
    run_until(&world, "yield ");
    assert_true(handover_is_under_way(world.handover));
    takeover_say(world.places, "!");
    run_until(&world, "yield main_pid leave ");
    assert_word(world.places, "is_main");
    assert_int_equal(kill(world.main_pid, 0), 0);
    /* It stays so, whatever happens. */
    assert_true(handover_is_under_way(world.handover));
    handover_stop(world.handover);
    handover_start(world.handover);
    assert_string_equal(world.done, "yield main_pid leave ");
    handover_free(world.handover);
    world.handover = NULL;
    assert_word(world.places, "is_alone");
    int status;
    assert_int_equal(waitpid(world.main_pid, &status, 0), world.main_pid);
    assert_int_equal(status, 0);
    world_clear(&world, HEAD " notice: process [0-9]+ serves\n" HEAD
                             " error: SIGUSR2 is refused: another process serves already\n");
}

#define MAY_NOT_KNOW                                                                               \
    HEAD " notice: process [0-9]+ serves\n" HEAD                                                   \
         " warning: process [0-9]+ serves, and the service manager may not know that it is the "   \
         "main one: it is notified every 5 s, and until then this process does not end\n"

/* It is notified until it knows. Before that the successor is not the main process either. */
static void test_supervisor_may_not_know(void **state)
{
    struct world world;
    world_init(&world, *state, "real");
    world.knows_main = false;
    shortened = 5;
    handover_start(world.handover);
    run_until(&world, "yield ");
    takeover_say(world.places, "!");
    run_until(&world, "yield main_pid main_pid main_pid ");
    assert_true(handover_is_under_way(world.handover));
    char byte;
    assert_int_equal(recv(world.places, &byte, 1, MSG_DONTWAIT), -1);
    world.knows_main = true;
    run_until(&world, "yield main_pid main_pid main_pid main_pid leave ");
    shortened = 0;
    assert_word(world.places, "is_main");
    handover_stop(world.handover);
    assert_string_equal(world.done, "yield main_pid main_pid main_pid main_pid leave ");
    handover_free(world.handover);
    world.handover = NULL;
    assert_int_equal(waitpid(world.main_pid, NULL, 0), world.main_pid);
    world_clear(&world, MAY_NOT_KNOW HEAD " notice: the service manager knows now that process "
                                          "[0-9]+ is the main one\n");
}

/* A process that is to stop notifies it once more, and in any case leaves the files to the
 * successor. */
static void test_stop_when_supervisor_may_not_know(void **state)
{
    struct world world;
    for (int knows = 0; knows < 2; knows++) {
        world_init(&world, *state, "+prepared yielded +serving hang");
        world.knows_main = false;
        handover_start(world.handover);
        run_until(&world, "yield ");
        close_places(&world);
        run_until(&world, "yield main_pid ");
        handover_start(world.handover);
        world.knows_main = knows;
        handover_stop(world.handover);
        assert_string_equal(world.done, "yield main_pid main_pid leave ");
        assert_int_equal(event_base_get_num_events(world.base, EVENT_BASE_COUNT_ADDED), 0);
        assert_int_equal(kill(world.main_pid, SIGKILL), 0);
        assert_int_equal(waitpid(world.main_pid, NULL, 0), world.main_pid);
        world_clear(&world, MAY_NOT_KNOW HEAD
                    " error: SIGUSR2 is refused: another process serves already\n(" HEAD
                    " notice: the service manager knows now [^\n]+\n)?");
    }
}

/* If a predecessor ends early, or says nothing more, the new process serves. */
static void test_predecessor_ends(void **state)
{
    struct world world;
    struct fixture *f = *state;
    int control[2], places[2];
    world_init(&world, f, "");
    for (int late = 0; late < 2; late++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, control), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, places), 0);
        pid_t pid = fork();
        if (pid == 0) {
            close(control[0]);
            close(places[0]);
            _exit(take_over(control[1], places[1]));
        }
        close(control[1]);
        close(places[1]);
        if (late) {
            takeover_say(places[0], "!");
            fcntl(control[0], F_SETFL, 0);
            assert_word(control[0], TAKEOVER_PREPARED);
            assert_word(control[0], TAKEOVER_SERVING);
        }
        close(control[0]);
        if (!late) /* what it does not read would be a reset in place of its words */
            takeover_say(places[0], "!");
        assert_word(places[0], "is_main");
        assert_word(places[0], "is_alone");
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        close(places[0]);
    }
    handover_free(world.handover);
    program_clear(&world.program);
    event_base_free(world.base);
}

/* It does not wait forever for a predecessor that hangs. */
static void test_predecessor_hangs(void **state)
{
    struct world world;
    int control[2], places[2];
    world_init(&world, *state, "");
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, control), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, places), 0);
    pid_t pid = fork();
    if (pid == 0) {
        shortened = 30;
        close(control[0]);
        close(places[0]);
        _exit(take_over(control[1], places[1]));
    }
    close(control[1]);
    close(places[1]);
    takeover_say(places[0], "!");
    assert_word(places[0], "is_main");
    close(control[0]);
    assert_word(places[0], "is_alone");
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(places[0]);
    handover_free(world.handover);
    program_clear(&world.program);
    event_base_free(world.base);
}

#define FAILED(why) HEAD " error: the handover failed: " why "; this process continues\n"

static void assert_failure(void **state, const char *steps, const char *done, const char *why)
{
    struct world world;
    world_init(&world, *state, steps);
    handover_start(world.handover);
    if (strstr(steps, "yielded") != NULL) {
        run_until(&world, "yield ");
        close_places(&world);
    }
    run(&world);
    assert_string_equal(world.done, done);
    world_clear(&world, why);
}

static void test_it_ends(void **state)
{
    const char *why = FAILED("process [0-9]+ ended with exit status 7");
    assert_failure(state, "end", "", why);
    assert_failure(state, "+prepared yielded end", "yield resume ", why);
    assert_failure(state, "close end", "", why);
}

/* The process that the log names. */
static pid_t successor_of(struct world *world)
{
    const char *text = content(world->fixture, world->fixture->file);
    const char *at = strstr(text, "to process ");
    assert_non_null(at);
    return (pid_t)atoi(at + strlen("to process "));
}

/* Its parent does not reap it before we say so. */
static void await_end(pid_t pid)
{
    char path[32], state = '?';
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    while (state != 'Z') {
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        assert_int_equal(fscanf(file, "%*d (%*[^)]) %c", &state), 1);
        fclose(file);
        usleep(1000);
    }
}

/* All of them are logged, although it has ended when the first one is read. */
static void test_it_has_mistakes(void **state)
{
    struct world world;
    world_init(&world, *state, "mistakes end");
    handover_start(world.handover);
    await_end(successor_of(&world));
    run(&world);
    assert_string_equal(world.done, "");
    world_clear(&world, "(" HEAD " error: process [0-9]+: a.ini:[1-9]: text\n){9}" FAILED(
                            "process [0-9]+ ended with exit status 7"));
}

static void test_it_crashes(void **state)
{
    const char *why = FAILED("process [0-9]+ was ended by signal 9 \\(Killed\\)");
    assert_failure(state, "crash", "", why);
    assert_failure(state, "+prepared yielded crash", "yield resume ", why);
}

static void test_it_hangs(void **state)
{
    const char *why = FAILED("process [0-9]+ did not serve within 30 s");
    struct world world;
    shortened = 30;
    assert_failure(state, "hang", "", why);
    shortened = 0;
    world_init(&world, *state, "+prepared hang");
    handover_start(world.handover);
    run_until(&world, "yield ");
    handover_free(world.handover); /* the end of this process is its end */
    world.handover = NULL;
    assert_string_equal(world.done, "yield ");
    world_clear(&world, "");
}

static void test_it_closes_its_channel(void **state)
{
    const char *why = FAILED("process [0-9]+ has closed its channel and did not end");
    shortened = 1;
    assert_failure(state, "close hang", "", why);
    assert_failure(state, "+prepared close hang", "yield resume ", why);
    shortened = 0;
}

static void test_it_says_something_else(void **state)
{
    assert_failure(state, "+serving hang", "",
                   FAILED("process [0-9]+ said \"serving\" in place of \"prepared\""));
    assert_failure(state, "+prepared +prepared hang", "yield resume ",
                   FAILED("process [0-9]+ said \"prepared\" in place of \"serving\""));
    assert_failure(state, "+prepared +main hang", "yield resume ",
                   FAILED("process [0-9]+ said \"main\" in place of \"serving\""));
    assert_failure(state, "+01234567890123456789012345678901234567890123456789 hang", "",
                   FAILED("process [0-9]+ said \"[0-9]{31}\" in place of \"prepared\""));
}

static void test_program_is_gone(void **state)
{
    struct world world;
    world_init(&world, *state, "real");
    char path[PATH_MAX];
    strcpy(path, world.program.path);
    strcpy(world.program.path, "/nonexistent");
    handover_start(world.handover);
    run(&world);
    strcpy(world.program.path, path);
    handover_start(world.handover); /* and the next one is like any other */
    run_until(&world, "yield ");
    handover_free(world.handover);
    world.handover = NULL;
    close_places(&world);
    assert_int_equal(sockets_count(), world.descriptors);
    log_close();
    program_clear(&world.program);
    event_base_free(world.base);
    assert_matches(content(world.fixture, world.fixture->file),
                   HEAD " notice: handing over to process [0-9]+, /nonexistent\n" FAILED(
                       "cannot execute /nonexistent: No such file or directory") HEAD
                   " notice: handing over to process [0-9]+, [^\n]+test_handover\n$");
}

/* Failures before there is a process. */
static void test_shortages(void **state)
{
#define CANNOT(why) HEAD " error: cannot start [^\n]+test_handover again: " why "\n"
    struct world world;
    world_init(&world, *state, "+prepared hang");
    world.sockets = SIZE_MAX;
    handover_start(world.handover);
    world.sockets = 0;
    for (int before = 0; before < 3; before++) {
        socketpairs_left = before;
        handover_start(world.handover);
        socketpairs_left = -1;
    }
    fork_error = EAGAIN;
    handover_start(world.handover);
    fork_error = 0;
    assert_int_equal(sockets_count(), world.descriptors);
    assert_int_equal(world.began, 0);
    assert_false(handover_is_under_way(world.handover));
    events_left = 0;
    handover_start(world.handover);
    assert_int_equal(sockets_count(), world.descriptors);
    assert_false(handover_is_under_way(world.handover));
    events_left = 1;
    handover_start(world.handover);
    run(&world);
    assert_int_equal(sockets_count(), world.descriptors);
    assert_string_equal(world.done, "");
    handover_start(world.handover);
    run_until(&world, "yield ");
    handover_free(world.handover);
    world.handover = NULL;
    close_places(&world);
    program_clear(&world.program);
    event_base_free(world.base);
    log_close();
    assert_matches(content(world.fixture, world.fixture->file),
                   "^" CANNOT("Cannot allocate memory") CANNOT("Too many open files")
                       CANNOT("Too many open files") CANNOT("Too many open files")
                           CANNOT("Resource temporarily unavailable")
                               CANNOT("Cannot allocate memory") HEAD
                   " notice: handing over to [^\n]+\n" FAILED("Cannot allocate memory") HEAD
                   " notice: handing over to [^\n]+\n$");
}

/* While there is one, or this process stops, there is no other one. */
static void test_refused(void **state)
{
    struct world world;
    world_init(&world, *state, "+prepared hang");
    handover_start(world.handover);
    handover_start(world.handover);
    run_until(&world, "yield ");
    handover_start(world.handover);
    handover_stop(world.handover);
    assert_string_equal(world.done, "yield resume ");
    run(&world);
    handover_start(world.handover);
    handover_stop(world.handover);
    assert_false(handover_is_under_way(world.handover));
    assert_string_equal(world.done, "yield resume ");
#define REFUSED(why) HEAD " error: SIGUSR2 is refused: " why "\n"
    world_clear(&world, REFUSED("a handover is under way") REFUSED("a handover is under way") HEAD
                " notice: the handover is cancelled: this process is "
                "stopping\n" REFUSED("kaproxy is stopping"));
}

/* It has said so, and that was not read yet: it is not killed with the clients that it has. */
static void test_stop_when_it_serves_already(void **state)
{
    struct world world;
    char byte;
    world_init(&world, *state, "+prepared yielded +serving");
    handover_start(world.handover);
    run_until(&world, "yield ");
    shutdown(world.places, SHUT_WR);
    fcntl(world.places, F_SETFL, 0);
    assert_int_equal(recv(world.places, &byte, 1, 0), 0); /* it has ended, too */
    handover_stop(world.handover);
    assert_string_equal(world.done, "yield main_pid leave ");
    waitpid(world.main_pid, NULL, 0); /* unless its parent has done that */
    world_clear(&world, HEAD " notice: process [0-9]+ serves\n");
}

static void test_stop_before_it_is_prepared(void **state)
{
    struct world world;
    world_init(&world, *state, "hang");
    handover_start(world.handover);
    handover_stop(world.handover);
    run(&world);
    assert_string_equal(world.done, "");
    world_clear(&world, HEAD " notice: the handover is cancelled: this process is stopping\n");
}

static void test_first_process(void **state)
{
    struct world world;
    world_init(&world, *state, "");
    is_first = true;
    handover_start(world.handover);
    is_first = false;
    assert_false(handover_is_under_way(world.handover));
    handover_free(world.handover);
    program_clear(&world.program);
    event_base_free(world.base);
    log_close();
    assert_matches(content(world.fixture, world.fixture->file),
                   "^[^\n]+ error: SIGUSR2 is refused: this is process 1, and the container "
                   "would end with it: replace the container\n$");
}

static void test_held(void **state)
{
    struct world world;
    for (int stop = 0; stop < 2; stop++) {
        world_init(&world, *state, "hang");
        handover_hold(world.handover, true);
        handover_start(world.handover);
        assert_false(handover_is_under_way(world.handover));
        if (stop)
            handover_stop(world.handover);
        handover_hold(world.handover, false);
        assert_int_equal(handover_is_under_way(world.handover), !stop);
        handover_hold(world.handover, true); /* too late */
        handover_hold(world.handover, false);
        handover_free(world.handover);
        program_clear(&world.program);
        event_base_free(world.base);
        log_close();
    }
    assert_matches(content(world.fixture, world.fixture->file),
                   "^" HEAD " notice: SIGUSR2: the handover begins when the reload is done\n" HEAD
                   " notice: handing over to [^\n]+\n" HEAD
                   " notice: SIGUSR2: the handover begins when the reload is done\n$");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_all_is_well),
        LOG_TEST(test_supervisor_may_not_know),
        LOG_TEST(test_stop_when_supervisor_may_not_know),
        LOG_TEST(test_predecessor_ends),
        LOG_TEST(test_predecessor_hangs),
        LOG_TEST(test_it_ends),
        LOG_TEST(test_it_has_mistakes),
        LOG_TEST(test_it_crashes),
        LOG_TEST(test_it_hangs),
        LOG_TEST(test_it_closes_its_channel),
        LOG_TEST(test_it_says_something_else),
        LOG_TEST(test_program_is_gone),
        LOG_TEST(test_shortages),
        LOG_TEST(test_refused),
        LOG_TEST(test_stop_before_it_is_prepared),
        LOG_TEST(test_stop_when_it_serves_already),
        LOG_TEST(test_first_process),
        LOG_TEST(test_held),
    };
    if (argc > 1 && strcmp(argv[1], act_word) == 0)
        _exit(act(argv[2]));
    own_path = realpath(argv[0], NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* whose end is not waited for appears here */
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(own_path);
    return failed;
}
