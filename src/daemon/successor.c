/* SPDX-License-Identifier: ISC */
/* Starts the program again, and watches it. */
#include "daemon/successor.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/successor_internal.h"

/* For what is normally instantaneous: to fork, to end after a kill, to end on request. */
#define FORK_TIMEOUT_MS 5000
#define KILL_TIMEOUT    5 /* s */
#define END_TIMEOUT_MS  1000

struct successor {
    struct successor_options options;
    pid_t between; /* 0: it has been reaped */
    pid_t pid;
    int channel; /* to both; -1: closed */
    bool has_ended, killed;
    struct event report;
    char why[PATH_MAX + 128];
};

static PRINTF(2, 3) void set_why(struct successor *successor, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(successor->why, sizeof(successor->why), format, args);
    va_end(args);
}

/* Waits that long for the next report. 1; 0: there will be none; -1: none yet. */
static int read_report(const struct successor *successor, struct report *report, int timeout)
{
    struct pollfd channel = {.fd = successor->channel, .events = POLLIN};
    int ready;
    do
        ready = poll(&channel, 1, timeout);
    while (ready < 0 && errno == EINTR);
    if (ready <= 0)
        return -1;
    ssize_t length = recv(successor->channel, report, sizeof(*report), MSG_DONTWAIT);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return -1;
    return length == (ssize_t)sizeof(*report) ? 1 : 0;
}

/* The intermediate process ends when our end is closed. If it is held up it is killed, and process
 * 1 has to reap a successor that has ended. */
static void end_between(struct successor *successor)
{
    if (successor->channel >= 0)
        close(successor->channel);
    successor->channel = -1;
    for (int i = 0; i < END_TIMEOUT_MS && successor->between > 0; i++) {
        if (waitpid(successor->between, NULL, WNOHANG) != 0)
            successor->between = 0;
        else
            usleep(USEC_PER_MSEC);
    }
    if (successor->between == 0)
        return;
    kill(successor->between, SIGKILL);
    waitpid(successor->between, NULL, 0);
    successor->between = 0;
}

/* While the intermediate process exists the pid is the successor's, even if the successor has
 * ended. */
static void kill_now(struct successor *successor)
{
    if (!successor->has_ended && successor->pid > 0)
        kill(successor->pid, SIGKILL);
}

static void take_report(struct successor *successor, const struct report *report)
{
    const char *path = successor->options.program->path;
    int pid = (int)successor->pid;
    bool is_end = report->what == REPORT_EXITED || report->what == REPORT_SIGNALLED;
    successor->has_ended |= is_end;
    if (successor->why[0] != '\0') /* it has reported itself why it did not start */
        return;
    if (report->what == REPORT_EXITED)
        set_why(successor, "process %d ended with exit status %d", pid, report->value);
    else if (report->what == REPORT_SIGNALLED)
        set_why(successor, "process %d was ended by signal %d (%s)", pid, report->value,
                strsignal(report->value));
    else
        set_why(successor, "cannot %s %s: %s",
                report->what == REPORT_EXECUTE ? "execute" : "pass the sockets to", path,
                strerror(report->value));
}

/* It was killed. Now the end of the successor cannot be seen any more, and what cannot be watched
 * must not serve next to us. */
static void on_between_gone(struct successor *successor)
{
    kill_now(successor);
    if (successor->why[0] == '\0')
        set_why(successor, "the parent of process %d has ended", (int)successor->pid);
    successor->has_ended = true;
}

static void on_report(evutil_socket_t fd, short what, void *arg)
{
    struct successor *successor = arg;
    struct report report;
    (void)fd;
    int got = read_report(successor, &report, 0);
    if (got > 0)
        take_report(successor, &report);
    else if (got == 0)
        on_between_gone(successor);
    if (!successor->has_ended && (what & EV_TIMEOUT) == 0)
        return;
    if (!successor->has_ended)
        set_why(successor, "process %d was killed and does not end", (int)successor->pid);
    event_del(&successor->report);
    successor->options.ended(successor->options.arg, successor->why);
}

/* Waits until we know whom to watch, and until no process but the successor, which will close them
 * by executing the program, has copies of our descriptors. 0, or -1 with errno. */
static int await_both(struct successor *successor)
{
    struct report report;
    bool is_closed = false;
    while (successor->pid == 0 || !is_closed) {
        int got = read_report(successor, &report, FORK_TIMEOUT_MS);
        if (got <= 0 || report.what == REPORT_FORK) {
            errno = got > 0 ? report.value : ECHILD;
            return -1;
        }
        if (report.what == REPORT_PID)
            successor->pid = report.value;
        else if (report.what == REPORT_CLOSED)
            is_closed = true;
        else
            take_report(successor, &report);
    }
    return 0;
}

/* 0, or -1 with errno. */
static int launch_program(struct successor *successor)
{
    struct launch launch;
    int channel[2];
    if (launch_init(&launch, &successor->options) < 0)
        return -1;
    int result = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel);
    if (result == 0) {
        successor->channel = channel[0];
        launch.channel = channel[1];
        pid_t pid = launch_start(&launch);
        int error = errno;
        close(channel[1]);
        successor->between = pid > 0 ? pid : 0;
        errno = error;
        result = pid < 0 ? -1 : await_both(successor);
    }
    int error = errno;
    launch_clear(&launch);
    errno = error;
    return result;
}

/* 0, or -1 with errno. */
static int watch(struct successor *successor)
{
    event_assign(&successor->report, successor->options.base, successor->channel,
                 EV_READ | EV_PERSIST, on_report, successor);
    int result = event_add(&successor->report, NULL);
    errno = result < 0 ? ENOMEM : errno;
    return result;
}

struct successor *successor_start(const struct successor_options *options)
{
    if (options->program->path[0] == '\0') {
        log_error("this program cannot be started again: it was not found in PATH");
        return NULL;
    }
    struct successor *successor = calloc(1, sizeof(*successor));
    if (successor == NULL)
        goto err;
    successor->options = *options;
    successor->channel = -1;
    if (launch_program(successor) < 0 || watch(successor) < 0)
        goto err;
    return successor;

err:
    log_error("cannot start %s again: %s", options->program->path, strerror(errno));
    if (successor != NULL)
        successor_kill(successor);
    successor_free(successor);
    return NULL;
}

pid_t successor_pid(const struct successor *successor)
{
    return successor->pid;
}

void successor_kill(struct successor *successor)
{
    const struct timeval limit = {.tv_sec = KILL_TIMEOUT};
    kill_now(successor);
    successor->killed = true;
    if (event_initialized(&successor->report) && event_pending(&successor->report, EV_READ, NULL))
        event_add(&successor->report, &limit); /* without memory there is no time limit */
}

/* A successor that was killed is a zombie first, and then reaped. */
static void await_end(struct successor *successor)
{
    struct report report;
    while (!successor->has_ended && read_report(successor, &report, END_TIMEOUT_MS) > 0)
        take_report(successor, &report);
}

void successor_free(struct successor *successor)
{
    if (successor == NULL)
        return;
    if (event_initialized(&successor->report))
        event_del(&successor->report);
    if (successor->killed && successor->pid > 0)
        await_end(successor);
    end_between(successor);
    free(successor);
}
