/* Starts the program again. What the new process needs is prepared before fork(2): there are other
 * threads, so that in the child nothing may be called but what is safe in a signal handler. */
#include "daemon/successor.h"

#include <event2/event_struct.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

#define FIRST_FD   3  /* SD_LISTEN_FDS_START */
#define PID_DIGITS 12 /* with the final 0 */

/* How often it is asked whether it has ended, and how often once it was killed. */
#define INTERVAL   (50 * USEC_PER_MSEC)
#define KILL_POLLS (5 * USEC_PER_SEC / INTERVAL)

/* What the child reports when it could not become the program. */
struct report {
    bool is_exec; /* it was the last step */
    int error;
};

/* All that the child touches. */
struct launch {
    const struct program *program;
    char **environment;
    char *listen_pid, *watchdog_pid; /* variables with room for digits; NULL: none */
    char *names, *fds, *handover;    /* variables */
    int *descriptors;                /* to be FIRST_FD and so on */
    int count;
    int reports;
};

struct successor {
    struct successor_options options;
    pid_t pid;
    bool has_ended;
    int reports;
    unsigned polls; /* since it was killed */
    bool killed;
    struct event timer;
    char why[PATH_MAX + 128];
};

/* In the child. */

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

/* Out of the way of where the others are to be. */
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
    if (move_up(&launch->reports, limit) < 0)
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
    close_range((unsigned)limit, ~0U, CLOSE_RANGE_CLOEXEC); /* libraries may have forgotten it */
#endif
    return 0;
}

/* All are blocked up to here: handlers are the parent's. */
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
    struct report report = {.is_exec = false};
    write_pid(launch->listen_pid, getpid());
    if (launch->watchdog_pid != NULL)
        write_pid(launch->watchdog_pid, getpid());
    if (place_descriptors(launch) == 0) {
        reset_signals(program);
        execve(program->path, program->argv, launch->environment);
        report.is_exec = true;
    }
    report.error = errno;
    ssize_t written = write(launch->reports, &report, sizeof(report));
    _exit(written < 0 ? 126 : 127);
}

/* In the parent. */

/* A name as it may be in LISTEN_FDNAMES. */
static void put_name(FILE *out, const char *name)
{
    for (; *name != '\0'; name++) {
        bool is_good = *name != ':' && *name > ' ' && *name != 0x7f;
        fputc(is_good ? *name : '_', out);
    }
}

/* NAME=, room for digits and nothing in it; NULL with ENOMEM. */
static char *variable_with_room(const char *name)
{
    char *variable = calloc(strlen(name) + PID_DIGITS, 1);
    if (variable != NULL)
        strcpy(variable, name);
    return variable;
}

/* NULL with ENOMEM. */
static char *names_variable(const struct successor_options *options)
{
    char *variable = NULL;
    size_t size;
    FILE *out = open_memstream(&variable, &size);
    if (out == NULL)
        return NULL;
    fputs("LISTEN_FDNAMES=", out);
    for (size_t i = 0; i < options->count; i++) {
        fputs(i > 0 ? ":" : "", out);
        put_name(out, options->sockets[i].name);
    }
    return fclose(out) == 0 ? variable : NULL;
}

static char *handover_variable(const struct successor_options *options)
{
    int next = FIRST_FD + (int)options->count;
    const char *separator = "";
    char *variable = NULL;
    size_t size;
    FILE *out = open_memstream(&variable, &size);
    if (out == NULL)
        return NULL;
    fprintf(out, "KAPROXY_HANDOVER=%d:%d:", next, next + 1);
    for (size_t i = 0; i < options->count; i++) {
        if (!options->sockets[i].is_ours)
            continue;
        fprintf(out, "%s%zu", separator, i);
        separator = ",";
    }
    return fclose(out) == 0 ? variable : NULL;
}

static void launch_clear(struct launch *launch)
{
    free(launch->environment);
    free(launch->listen_pid);
    free(launch->watchdog_pid);
    free(launch->names);
    free(launch->fds);
    free(launch->handover);
    free(launch->descriptors);
}

/* 0, or -1 with ENOMEM. */
static int make_variables(struct launch *launch, const struct successor_options *options)
{
    launch->listen_pid = variable_with_room("LISTEN_PID=");
    if (launch->program->has_watchdog) {
        launch->watchdog_pid = variable_with_room("WATCHDOG_PID=");
        if (launch->watchdog_pid == NULL)
            return -1;
    }
    launch->names = names_variable(options);
    launch->handover = handover_variable(options);
    if (asprintf(&launch->fds, "LISTEN_FDS=%zu", options->count) < 0)
        launch->fds = NULL;
    return launch->listen_pid == NULL || launch->names == NULL || launch->handover == NULL ||
                   launch->fds == NULL
               ? -1
               : 0;
}

static int make_environment(struct launch *launch)
{
    char *const *old = launch->program->environment;
    char *const added[] = {launch->listen_pid, launch->fds, launch->names, launch->handover,
                           launch->watchdog_pid};
    size_t count = 0;
    while (old[count] != NULL)
        count++;
    launch->environment = calloc(count + ARRAY_LEN(added) + 1, sizeof(*launch->environment));
    if (launch->environment == NULL)
        return -1;
    memcpy(launch->environment, old, count * sizeof(*old));
    memcpy(launch->environment + count, added, sizeof(added)); /* the last one may be NULL */
    return 0;
}

/* 0, or -1 with ENOMEM. */
static int launch_init(struct launch *launch, const struct successor_options *options)
{
    *launch = (struct launch){.program = options->program, .count = (int)options->count + 2};
    launch->descriptors = calloc((size_t)launch->count, sizeof(*launch->descriptors));
    if (launch->descriptors == NULL || make_variables(launch, options) < 0 ||
        make_environment(launch) < 0) {
        launch_clear(launch);
        errno = ENOMEM;
        return -1;
    }
    for (size_t i = 0; i < options->count; i++)
        launch->descriptors[i] = options->sockets[i].fd;
    launch->descriptors[options->count] = options->control;
    launch->descriptors[options->count + 1] = options->places;
    return 0;
}

/* 0, or -1 with errno. No signal must run a handler in the child. */
static pid_t fork_program(struct launch *launch)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0)
        become_program(launch);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return pid;
}

/* 0, or -1 with errno. */
static int launch_program(struct successor *successor)
{
    struct launch launch;
    int reports[2];
    if (launch_init(&launch, &successor->options) < 0)
        return -1;
    int result = pipe2(reports, O_CLOEXEC | O_NONBLOCK);
    if (result == 0) {
        launch.reports = reports[1];
        successor->pid = fork_program(&launch);
        int error = errno;
        close(reports[1]);
        successor->reports = reports[0];
        result = successor->pid < 0 ? -1 : 0;
        errno = error;
    }
    int error = errno;
    launch_clear(&launch);
    errno = error;
    return result;
}

static void set_why(struct successor *successor, int status)
{
    const char *path = successor->options.program->path;
    int pid = (int)successor->pid;
    struct report report;
    char *why = successor->why;
    size_t size = sizeof(successor->why);
    if (read(successor->reports, &report, sizeof(report)) == (ssize_t)sizeof(report))
        snprintf(why, size, "cannot %s %s: %s", report.is_exec ? "execute" : "pass the sockets to",
                 path, strerror(report.error));
    else if (WIFSIGNALED(status))
        snprintf(why, size, "process %d was ended by signal %d (%s)", pid, WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(why, size, "process %d ended with exit status %d", pid, WEXITSTATUS(status));
}

/* Has it ended? */
static bool reap(struct successor *successor)
{
    int status = 0;
    pid_t pid = successor->has_ended ? 0 : waitpid(successor->pid, &status, WNOHANG);
    if (pid > 0)
        set_why(successor, status);
    else if (pid < 0) /* whoever has waited for it knows why */
        snprintf(successor->why, sizeof(successor->why), "process %d has ended",
                 (int)successor->pid);
    successor->has_ended |= pid != 0;
    return successor->has_ended;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct successor *successor = arg;
    (void)fd;
    (void)what;
    bool has_ended = reap(successor);
    if (!has_ended && (!successor->killed || ++successor->polls < KILL_POLLS))
        return;
    if (!has_ended)
        snprintf(successor->why, sizeof(successor->why), "process %d was killed and does not end",
                 (int)successor->pid);
    event_del(&successor->timer);
    successor->options.ended(successor->options.arg, successor->why);
}

struct successor *successor_start(const struct successor_options *options)
{
    const struct timeval interval = {.tv_usec = INTERVAL};
    if (options->program->path[0] == '\0') {
        log_error("this program cannot be started again: it was not to be found in PATH");
        return NULL;
    }
    struct successor *successor = calloc(1, sizeof(*successor));
    if (successor == NULL)
        goto err;
    successor->options = *options;
    successor->reports = -1;
    event_assign(&successor->timer, options->base, -1, EV_PERSIST, on_timer, successor);
    if (event_add(&successor->timer, &interval) < 0 || launch_program(successor) < 0)
        goto err;
    return successor;

err:
    log_error("cannot start %s again: %s", options->program->path, strerror(errno));
    successor_free(successor);
    return NULL;
}

pid_t successor_pid(const struct successor *successor)
{
    return successor->pid;
}

void successor_kill(struct successor *successor)
{
    if (!successor->has_ended)
        kill(successor->pid, SIGKILL);
    successor->killed = true;
}

void successor_free(struct successor *successor)
{
    if (successor == NULL)
        return;
    for (int i = 0; successor->killed && i < 20 && !reap(successor); i++)
        usleep(INTERVAL);
    event_del(&successor->timer);
    if (successor->reports >= 0)
        close(successor->reports);
    free(successor);
}
