/* SPDX-License-Identifier: ISC */
/* The states of a handover in the running process. */
#include "daemon/handover.h"

#include <event2/event_struct.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/takeover.h"

/* For all of it, up to "serving". A successor that closes its channel is about to end. */
#define TIMEOUT       30
#define CLOSE_TIMEOUT 1
/* How often the service manager is told again which process is the main one, if it did not
 * confirm. */
#define TELL_INTERVAL 5

#define WHY_MAX (PATH_MAX + 128)

enum handover_state {
    HANDOVER_NONE,
    HANDOVER_WANTED,  /* as soon as it is not held */
    HANDOVER_COPIES,  /* waits until the copies are expected */
    HANDOVER_STARTED, /* waits for "prepared" */
    HANDOVER_YIELDED, /* waits for "serving" */
    HANDOVER_FAILED,  /* waits for the end of the successor */
    HANDOVER_SERVED,  /* the successor serves, but the service manager does not know it yet */
    HANDOVER_DONE,    /* final */
};

struct handover {
    struct event_base *base;
    const struct program *program;
    struct handover_ops ops;
    enum handover_state state;
    bool held, stopping;
    bool has_yielded; /* and neither resumed nor left */
    struct successor *successor;
    pid_t pid;           /* the successor's */
    int control, places; /* our ends; -1: closed, or passed on */
    struct event word, deadline;
    char why[WHY_MAX]; /* why it failed; "": its end will say */
};

static void close_one(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_channels(struct handover *handover)
{
    if (event_initialized(&handover->word))
        event_del(&handover->word);
    event_del(&handover->deadline);
    close_one(&handover->control);
    close_one(&handover->places);
}

/* 0, or -1. It cannot fail when a timer is already set. */
static int set_deadline(struct handover *handover, int seconds)
{
    const struct timeval time = {.tv_sec = seconds};
    return event_add(&handover->deadline, &time);
}

static void expect_none(struct handover *handover)
{
    handover->ops.expect_none(handover->ops.arg);
}

static void resume(struct handover *handover)
{
    if (handover->has_yielded)
        handover->ops.resume(handover->ops.arg);
    handover->has_yielded = false;
}

static void come_to_nothing(struct handover *handover)
{
    handover->state = HANDOVER_NONE;
    expect_none(handover);
    resume(handover);
    handover->ops.over(handover->ops.arg);
}

static bool note_mistake(const struct handover *handover, const char *word)
{
    bool is_mistake = strncmp(word, TAKEOVER_MISTAKE, strlen(TAKEOVER_MISTAKE)) == 0;
    if (is_mistake)
        log_error("process %d: %s", (int)handover->pid, word + strlen(TAKEOVER_MISTAKE));
    return is_mistake;
}

/* Of what it sent before it ended, which may be unread, only the mistakes still matter. */
static void note_last_mistakes(const struct handover *handover)
{
    char word[TAKEOVER_WORD_MAX];
    if (handover->state != HANDOVER_STARTED || handover->control < 0)
        return;
    while (takeover_hear(handover->control, word) > 0)
        note_mistake(handover, word);
}

/* We resume once it is gone, and not before: otherwise both might serve. */
static void on_ended(void *arg, const char *why)
{
    struct handover *handover = arg;
    note_last_mistakes(handover);
    close_channels(handover);
    if (handover->stopping)
        log_notice("the handover is cancelled: this process is stopping");
    else
        log_error("the handover failed: %s; this process continues",
                  handover->why[0] == '\0' ? why : handover->why);
    successor_free(handover->successor); /* with the reason */
    handover->successor = NULL;
    come_to_nothing(handover);
}

static PRINTF(2, 3) void fail(struct handover *handover, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(handover->why, sizeof(handover->why), format, args);
    va_end(args);
    handover->state = HANDOVER_FAILED;
    successor_kill(handover->successor); /* or it might serve when the channel ends */
    close_channels(handover);
}

static void leave(struct handover *handover)
{
    event_del(&handover->deadline);
    handover->state = HANDOVER_DONE;
    handover->ops.leave(handover->ops.arg);
}

/* While the service manager takes us for the main process, our end would be the end of the service,
 * and the successor would be killed with it. */
static void tell_main_pid(struct handover *handover)
{
    bool again = handover->state == HANDOVER_SERVED;
    handover->state = HANDOVER_SERVED;
    if (handover->ops.main_pid(handover->ops.arg, handover->pid)) {
        if (again)
            log_notice("the service manager knows now that process %d is the main one",
                       (int)handover->pid);
        takeover_say(handover->control, TAKEOVER_MAIN);
        leave(handover);
        return;
    }
    if (!again)
        log_warning("process %d serves, and the service manager may not know that it is the main "
                    "one: it is notified every %d s, and until then this process does not end",
                    (int)handover->pid, TELL_INTERVAL);
    if (set_deadline(handover, TELL_INTERVAL) < 0)
        leave(handover);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct handover *handover = arg;
    (void)fd;
    (void)what;
    if (handover->state == HANDOVER_SERVED)
        tell_main_pid(handover);
    else if (handover->control < 0)
        fail(handover, "process %d has closed its channel and did not end", (int)handover->pid);
    else
        fail(handover, "process %d did not serve within %d s", (int)handover->pid, TIMEOUT);
}

/* Whatever it sends from now on is ignored; but the channel stays open, since its end tells the
 * successor of our end. The successor is detached before it becomes the main process:
 * successor.h. */
static void finish(struct handover *handover)
{
    log_notice("process %d serves", (int)handover->pid);
    event_del(&handover->word);
    handover->has_yielded = false;
    successor_free(handover->successor);
    handover->successor = NULL;
    tell_main_pid(handover);
}

/* It is prepared, so it has executed its program by now. */
static void yield(struct handover *handover)
{
    int places = handover->places;
    expect_none(handover);
    handover->places = -1;
    handover->state = HANDOVER_YIELDED;
    handover->has_yielded = true;
    handover->ops.yield(handover->ops.arg, places);
}

static void on_word(evutil_socket_t fd, short what, void *arg)
{
    struct handover *handover = arg;
    char word[TAKEOVER_WORD_MAX];
    bool is_prepared = handover->state == HANDOVER_YIELDED;
    const char *expected = is_prepared ? TAKEOVER_SERVING : TAKEOVER_PREPARED;
    (void)what;
    int length = takeover_hear((int)fd, word);
    if (length < 0)
        return;
    if (length == 0) { /* it will end, and that says why */
        close_one(&handover->control);
        event_del(&handover->word);
        set_deadline(handover, CLOSE_TIMEOUT);
    } else if (!is_prepared && note_mistake(handover, word)) {
        return;
    } else if (strcmp(word, expected) != 0) {
        fail(handover, "process %d said \"%.31s\" in place of \"%s\"", (int)handover->pid, word,
             expected);
    } else if (is_prepared) {
        finish(handover);
    } else {
        yield(handover);
    }
}

/* Both, with the successor's ends, which are closed again here. 0, or -1 with errno. */
static int open_channels(struct handover *handover, int ends[2])
{
    int control[2], places[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, control) < 0)
        return -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, places) < 0) {
        int error = errno;
        close(control[0]);
        close(control[1]);
        errno = error;
        return -1;
    }
    handover->control = control[0];
    handover->places = places[0];
    ends[0] = control[1];
    ends[1] = places[1];
    return 0;
}

/* 0, or -1 (logged). */
static int start_successor(struct handover *handover)
{
    struct successor_options options = {
        .base = handover->base, .program = handover->program, .ended = on_ended, .arg = handover};
    int ends[2];
    options.sockets = handover->ops.sockets(handover->ops.arg, &options.count);
    if (options.sockets == NULL || open_channels(handover, ends) < 0) {
        log_error("cannot start %s again: %s", handover->program->path, strerror(errno));
        return -1;
    }
    options.control = ends[0];
    options.places = ends[1];
    handover->successor = successor_start(&options);
    close(ends[0]);
    close(ends[1]);
    return handover->successor == NULL ? -1 : 0;
}

static void begin(struct handover *handover)
{
    handover->why[0] = '\0';
    if (start_successor(handover) < 0) {
        close_channels(handover);
        come_to_nothing(handover);
        return;
    }
    handover->pid = successor_pid(handover->successor);
    handover->state = HANDOVER_STARTED;
    log_notice("handing over to process %d, %s", (int)handover->pid, handover->program->path);
    event_assign(&handover->word, handover->base, handover->control, EV_READ | EV_PERSIST, on_word,
                 handover);
    if (event_add(&handover->word, NULL) < 0 || set_deadline(handover, TIMEOUT) < 0)
        fail(handover, "%s", strerror(ENOMEM));
}

struct handover *handover_new(struct event_base *base, const struct program *program,
                              const struct handover_ops *ops)
{
    struct handover *handover = calloc(1, sizeof(*handover));
    if (handover == NULL)
        return NULL;
    handover->base = base;
    handover->program = program;
    handover->ops = *ops;
    handover->control = handover->places = -1;
    evtimer_assign(&handover->deadline, base, on_deadline, handover);
    return handover;
}

void handover_free(struct handover *handover)
{
    if (handover == NULL)
        return;
    if (handover->successor != NULL)
        successor_kill(handover->successor);
    close_channels(handover);
    successor_free(handover->successor);
    free(handover);
}

static void expect_copies(struct handover *handover)
{
    handover->state = HANDOVER_COPIES;
    handover->ops.expect_copies(handover->ops.arg);
}

void handover_go(struct handover *handover)
{
    if (handover->state == HANDOVER_COPIES)
        begin(handover);
}

/* Why it cannot begin; NULL: it can. */
static const char *refusal(const struct handover *handover)
{
    if (getpid() == 1)
        return "this is process 1, and the container would end with it: replace the container";
    if (handover->state >= HANDOVER_SERVED)
        return "another process serves already";
    if (handover->state != HANDOVER_NONE)
        return "a handover is under way";
    if (handover->stopping)
        return "kaproxy is stopping";
    if (handover->program->path[0] == '\0')
        return "the program was not found in PATH when it was started";
    return NULL;
}

void handover_start(struct handover *handover)
{
    const char *why = refusal(handover);
    if (why != NULL) {
        log_error("SIGUSR2 is refused: %s", why);
        return;
    }
    if (!handover->held) {
        expect_copies(handover);
        return;
    }
    log_notice("SIGUSR2: the handover begins when the reload is done");
    handover->state = HANDOVER_WANTED;
}

void handover_hold(struct handover *handover, bool held)
{
    handover->held = held;
    if (!held && handover->state == HANDOVER_WANTED)
        expect_copies(handover);
}

bool handover_is_under_way(const struct handover *handover)
{
    return handover->state > HANDOVER_WANTED;
}

void handover_stop(struct handover *handover)
{
    handover->stopping = true;
    if (handover->state == HANDOVER_WANTED)
        handover->state = HANDOVER_NONE;
    if (handover->state == HANDOVER_COPIES)
        come_to_nothing(handover);
    if (handover->state == HANDOVER_YIELDED && handover->control >= 0)
        on_word(handover->control, EV_READ, handover); /* it may serve, and have clients */
    if (handover->state == HANDOVER_STARTED || handover->state == HANDOVER_YIELDED)
        fail(handover, "this process is stopping");
    if (handover->state == HANDOVER_SERVED) /* the last chance to report it */
        tell_main_pid(handover);
    if (handover->state == HANDOVER_SERVED)
        leave(handover);
    resume(handover);
}
