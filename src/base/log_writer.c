/* SPDX-License-Identifier: ISC */
/* The thread that writes the logs: when it wakes, what it waits for, how it ends. */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_internal.h"
#include "base/thread.h"

/* How long lines wait for others to be written with them. */
#define REST (100 * USEC_PER_MSEC)

/* How long until a failing log is retried. */
#define RETRY USEC_PER_SEC

/* At the end: how long the writer tries, and how long it is waited for. */
#define FINISH      (900 * USEC_PER_MSEC)
#define FINISH_WAIT USEC_PER_SEC

#define STACK_SIZE (256 * 1024)

/* The sink's wake_at says whether a thread that puts a line has to wake the writer. While the
 * writer is awake, or waits for a log that accepts no more, it is never. While it sleeps it is the
 * first byte. While it rests after lines of the access log, it is 64 KiB. So a line costs a system
 * call if none was written for a while, and otherwise none: with many lines per second the writer
 * wakes ten times a second on its own. Before it sleeps, it sets wake_at and then checks once more:
 * one of the two sees the other. */
#define NEVER SIZE_MAX

static struct {
    pthread_t thread;
    bool running;     /* fixed while there are several threads */
    int bell;         /* eventfd, read by the writer */
    int ended;        /* eventfd, written by the writer as its last action */
    atomic_bool rung; /* since the writer last woke: once is enough */
    atomic_bool stopping, reopening;
    pthread_mutex_t changing;          /* held while a list operation takes, or a line */
    STAILQ_HEAD(, log_change) changes; /* pending, the oldest first */
    atomic_uint change_count;          /* of these */
} writer = {.bell = -1,
            .ended = -1,
            .changing = PTHREAD_MUTEX_INITIALIZER,
            .changes = STAILQ_HEAD_INITIALIZER(writer.changes)};

/* What to wait for at the end of a round over the sinks. */
struct round {
    struct pollfd blocked[LOG_SINKS + 1]; /* with room for the bell */
    nfds_t count;
    usec_t wait; /* at most; -1: without limit */
    size_t wake_at[LOG_SINKS];
};

static usec_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * USEC_PER_SEC + time.tv_nsec / 1000;
}

static void wait_at_most(struct round *round, usec_t wait)
{
    if (round->wait < 0 || wait < round->wait)
        round->wait = wait;
}

static void write_sink(struct round *round, size_t index, size_t mark, bool at_once)
{
    struct log_sink *sink = &log_sinks[index];
    bool any = log_ring_used(&sink->ring) > 0;
    round->wake_at[index] = NEVER;
    if (any && sink->failing && !at_once && sink->retry_at > now()) {
        wait_at_most(round, sink->retry_at - now());
        return;
    }
    switch (log_sink_flush(sink, mark)) {
    case LOG_SINK_DONE:
        round->wake_at[index] = any && !at_once ? sink->enough : 1;
        if (round->wake_at[index] > 1)
            wait_at_most(round, REST);
        break;
    case LOG_SINK_BLOCKED:
        round->blocked[round->count++] = (struct pollfd){.fd = sink->target.fd, .events = POLLOUT};
        break;
    case LOG_SINK_FAILING:
        sink->retry_at = now() + RETRY;
        wait_at_most(round, RETRY);
        break;
    }
}

/* Has another log written part of a line, and not the rest, to where this one goes? */
static bool is_inside_line(const struct log_sink *sink)
{
    for (size_t i = 0; i < LOG_SINKS; i++) {
        const struct log_sink *other = &log_sinks[i];
        if (other != sink && other->started > 0 && other->dev == sink->dev &&
            other->ino == sink->ino)
            return true;
    }
    return false;
}

/* Up to where the sinks are written in a round: everything pending, or only the lines for the old
 * targets if there is a change. A message put before a line of the access log is not written after
 * it. */
static void set_marks(size_t marks[LOG_SINKS])
{
    pthread_mutex_lock(&writer.changing);
    const struct log_change *change = STAILQ_FIRST(&writer.changes);
    for (size_t i = LOG_SINKS; i-- > 0;)
        marks[i] = change != NULL ? change->sinks[i].mark : atomic_load(&log_sinks[i].ring.put);
    pthread_mutex_unlock(&writer.changing);
}

/* Writes the rings up to the marks, as far as possible without waiting; unfinished lines first.
 * With at_once, failing sinks are retried before their time. */
static void go_round(struct round *round, bool at_once)
{
    size_t marks[LOG_SINKS];
    *round = (struct round){.wait = -1};
    set_marks(marks);
    bool started[LOG_SINKS];
    for (size_t i = 0; i < LOG_SINKS; i++) {
        started[i] = log_sinks[i].started > 0;
        if (started[i])
            write_sink(round, i, marks[i], at_once);
    }
    for (size_t i = 0; i < LOG_SINKS; i++) {
        round->wake_at[i] = started[i] ? round->wake_at[i] : NEVER;
        if (!started[i] && !is_inside_line(&log_sinks[i]))
            write_sink(round, i, marks[i], at_once);
    }
}

/* Whether there is something to write already, according to the round. */
static bool is_due(const struct round *round)
{
    for (size_t i = 0; i < LOG_SINKS; i++) {
        if (log_ring_used(&log_sinks[i].ring) >= round->wake_at[i])
            return true;
    }
    return false;
}

static int milliseconds(usec_t time)
{
    return time < 0 ? -1 : (int)((time + USEC_PER_MSEC - 1) / USEC_PER_MSEC);
}

static void set_wake_at(const size_t at[LOG_SINKS])
{
    for (size_t i = 0; i < LOG_SINKS; i++)
        atomic_store(&log_sinks[i].wake_at, at[i]);
}

static void rest(struct round *round)
{
    static const size_t awake[LOG_SINKS] = {NEVER, NEVER};
    eventfd_t count;
    struct pollfd *bell = &round->blocked[round->count];
    *bell = (struct pollfd){.fd = writer.bell, .events = POLLIN};
    set_wake_at(round->wake_at);
    if (!is_due(round))
        poll(round->blocked, round->count + 1, milliseconds(round->wait));
    set_wake_at(awake);
    if (bell->revents != 0)
        eventfd_read(writer.bell, &count);
    atomic_store(&writer.rung, false); /* before the rings and requests are checked */
}

static void ring_bell(void)
{
    if (!atomic_exchange(&writer.rung, true))
        eventfd_write(writer.bell, 1);
}

static void reopen(void)
{
    int result = 0;
    for (size_t i = 0; i < LOG_SINKS; i++)
        result |= log_sink_reopen(&log_sinks[i]);
    if (result == 0)
        log_notice("log files were reopened");
}

static struct log_change *first_change(void)
{
    pthread_mutex_lock(&writer.changing);
    struct log_change *change = STAILQ_FIRST(&writer.changes);
    pthread_mutex_unlock(&writer.changing);
    return change;
}

/* Earlier lines go to the old targets first. */
static void do_changes(void)
{
    struct log_change *change;
    while ((change = first_change()) != NULL) {
        struct round round;
        go_round(&round, true);
        pthread_mutex_lock(&writer.changing);
        STAILQ_REMOVE_HEAD(&writer.changes, link);
        atomic_fetch_sub(&writer.change_count, 1);
        pthread_mutex_unlock(&writer.changing);
        for (size_t i = 0; i < LOG_SINKS; i++) {
            if (change->sinks[i].swaps)
                log_sink_swap(&log_sinks[i], &change->sinks[i].target, change->sinks[i].mark);
        }
        log_change_free(change);
    }
}

/* Until everything possible is written, or FINISH has expired. */
static void write_rest(void)
{
    usec_t deadline = now() + FINISH;
    struct round round;
    for (;;) {
        go_round(&round, true);
        usec_t left = deadline - now();
        bool due = is_due(&round);
        if (left <= 0 || (round.count == 0 && !due))
            return;
        if (!due)
            poll(round.blocked, round.count, milliseconds(left));
    }
}

/* Losses of the access log can still be reported where the messages go. */
static void finish(void)
{
    struct round round;
    struct log_sink *accesses = &log_sinks[LOG_ACCESSES];
    do_changes();
    write_rest();
    unsigned long left = log_sink_left(accesses, atomic_load(&accesses->ring.put));
    if (left == 0)
        return;
    log_error("%lu lines of the access log could not be written", left);
    go_round(&round, true);
}

static void *run(void *arg)
{
    (void)arg;
    while (!atomic_load(&writer.stopping)) {
        struct round round;
        bool reopens = atomic_exchange(&writer.reopening, false);
        do_changes();
        go_round(&round, reopens); /* earlier lines go to the old files */
        if (reopens) {
            reopen();
            go_round(&round, false);
        }
        rest(&round);
    }
    finish();
    eventfd_write(writer.ended, 1);
    return NULL;
}

static void close_descriptors(void)
{
    if (writer.bell >= 0)
        close(writer.bell);
    if (writer.ended >= 0)
        close(writer.ended);
    writer.bell = writer.ended = -1;
}

int log_writer_start(void)
{
    atomic_store(&writer.stopping, false);
    atomic_store(&writer.reopening, false);
    atomic_store(&writer.rung, false);
    writer.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    writer.ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (writer.bell >= 0 && writer.ended >= 0) {
        writer.running = true; /* the thread reads it too */
        if (thread_start(&writer.thread, "kaproxy-log", STACK_SIZE, run, NULL) == 0)
            return 0;
    }
    int error = errno;
    writer.running = false;
    close_descriptors();
    errno = error;
    return -1;
}

void log_writer_notice(struct log_sink *sink)
{
    struct round round;
    if (!writer.running) {
        do
            go_round(&round, true);
        while (is_due(&round));
    } else if (log_ring_used(&sink->ring) >= atomic_load(&sink->wake_at)) {
        ring_bell();
    }
}

void log_writer_reopen(void)
{
    if (!writer.running) {
        reopen();
        return;
    }
    atomic_store(&writer.reopening, true);
    ring_bell();
}

/* Under the lock, so that no round begins between taking a mark and adding its change to the
 * list. */
void log_writer_change(struct log_change *change)
{
    pthread_mutex_lock(&writer.changing);
    for (size_t i = LOG_SINKS; i-- > 0;)
        change->sinks[i].mark =
            log_sink_announce(&log_sinks[i], &change->sinks[i].name, change->sinks[i].form);
    STAILQ_INSERT_TAIL(&writer.changes, change, link);
    atomic_fetch_add(&writer.change_count, 1);
    pthread_mutex_unlock(&writer.changing);
    if (writer.running)
        ring_bell();
    else
        do_changes();
}

unsigned log_writer_changes(void)
{
    return atomic_load(&writer.change_count);
}

bool log_writer_stop(void)
{
    struct pollfd ended = {.fd = writer.ended, .events = POLLIN};
    usec_t deadline = now() + FINISH_WAIT;
    if (!writer.running) {
        finish();
        return true;
    }
    atomic_store(&writer.stopping, true);
    ring_bell();
    for (usec_t left = FINISH_WAIT; left > 0 && ended.revents == 0; left = deadline - now())
        poll(&ended, 1, milliseconds(left));
    if (ended.revents == 0) {
        pthread_detach(writer.thread);
        return false;
    }
    pthread_join(writer.thread, NULL); /* it has nothing left to do */
    writer.running = false;
    close_descriptors();
    return true;
}
