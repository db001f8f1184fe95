/* SPDX-License-Identifier: ISC */
/* What the new processes do. They are forked from a process with other threads, so only
 * async-signal-safe functions may be called here. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config-build.h"
#include "daemon/successor_internal.h"

/* Without close_range(2), how many are closed one by one. */
#define FDS_MAX 65536

/* False: nobody reads it. */
static bool report(int channel, enum report_what what, int value)
{
    const struct report report = {.what = what, .value = value};
    return send(channel, &report, sizeof(report), MSG_NOSIGNAL) == (ssize_t)sizeof(report);
}

/* The successor. */

static void write_pid(char *variable, pid_t pid)
{
    char digits[PID_DIGITS];
    size_t count = 0;
    char *at = strchr(variable, '=') + 1;
    for (; pid > 0; pid /= 10)
        digits[count++] = (char)('0' + pid % 10);
    while (count > 0)
        *at++ = digits[--count];
    *at = '\0';
}

/* Moves descriptors out of the range where the others will be. */
static int move_up(int *fd, int limit)
{
    if (*fd >= limit)
        return 0;
    *fd = fcntl(*fd, F_DUPFD_CLOEXEC, limit);
    return *fd < 0 ? -1 : 0;
}

/* 0, or -1 with errno. */
static int place_descriptors(struct launch *launch)
{
    int limit = FIRST_FD + launch->count;
    if (move_up(&launch->channel, limit) < 0)
        return -1;
    for (int i = 0; i < launch->count; i++) {
        if (move_up(&launch->descriptors[i], limit) < 0)
            return -1;
    }
    for (int i = 0; i < launch->count; i++) {
        if (dup2(launch->descriptors[i], FIRST_FD + i) < 0)
            return -1;
    }
#ifdef CLOSE_RANGE_CLOEXEC
    close_range((unsigned)limit, ~0U, CLOSE_RANGE_CLOEXEC); /* in case libraries lost it */
#endif
    return 0;
}

/* Signals are blocked up to here: the handlers are the parent's. */
static void reset_signals(const struct program *program)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) {
        action.sa_handler = program->ignored[number] ? SIG_IGN : SIG_DFL;
        sigaction(number, &action, NULL);
    }
    pthread_sigmask(SIG_SETMASK, &program->mask, NULL);
}

static _Noreturn void become_program(struct launch *launch)
{
    const struct program *program = launch->program;
    enum report_what step = REPORT_PASS;
    /* Our parent must know whom to kill. */
    if (!report(launch->channel, REPORT_PID, getpid()))
        _exit(126);
    write_pid(launch->listen_pid, getpid());
    if (launch->watchdog_pid != NULL)
        write_pid(launch->watchdog_pid, getpid());
    if (place_descriptors(launch) == 0) {
        reset_signals(program);
        execve(program->path, program->argv, launch->environment);
        step = REPORT_EXECUTE;
    }
    report(launch->channel, step, errno);
    _exit(127);
}

/* The intermediate process. */

static void on_child(int number)
{
    (void)number; /* interrupts ppoll */
}

/* It must not keep open a client's connection or a channel that others have closed. Its channel
 * becomes descriptor 0. */
static void close_others(int channel)
{
    dup2(channel, 0);
#ifdef CLOSE_RANGE_CLOEXEC
    if (close_range(1, ~0U, 0) == 0)
        return;
#endif
    for (int fd = 1; fd < FDS_MAX; fd++)
        close(fd);
}

/* Has it ended? It is not reaped, so that its pid is not reused. */
static bool has_ended(pid_t pid, siginfo_t *info)
{
    info->si_pid = 0;
    return waitid(P_PID, (id_t)pid, info, WEXITED | WNOHANG | WNOWAIT) == 0 && info->si_pid == pid;
}

static _Noreturn void watch(pid_t pid)
{
    struct pollfd channel = {.fd = 0, .events = POLLIN};
    bool told = false;
    siginfo_t info;
    sigset_t mask;
    sigfillset(&mask);
    sigdelset(&mask, SIGCHLD);
    while (ppoll(&channel, 1, NULL, &mask) <= 0) {
        if (told || !has_ended(pid, &info))
            continue;
        report(0, info.si_code == CLD_EXITED ? REPORT_EXITED : REPORT_SIGNALLED, info.si_status);
        told = true;
    }
    waitpid(pid, NULL, WNOHANG);
    _exit(0);
}

/* fork(2) runs registered handlers, which must not run here. */
static pid_t fork_again(void)
{
#ifdef HAVE__FORK
    return _Fork();
#else
    return fork();
#endif
}

static _Noreturn void be_between(struct launch *launch)
{
    const struct sigaction action = {.sa_handler = on_child};
    sigaction(SIGCHLD, &action, NULL);
    pid_t pid = fork_again();
    if (pid == 0)
        become_program(launch);
    if (pid < 0) {
        report(launch->channel, REPORT_FORK, errno);
        _exit(126);
    }
    close_others(launch->channel);
    report(0, REPORT_CLOSED, 0);
    watch(pid);
}

/* No signal may run a handler in a new process. */
pid_t launch_start(struct launch *launch)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0)
        be_between(launch);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return pid;
}
