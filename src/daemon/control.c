/* Signals, and the end of the worker, as events of libevent's base. */
#include "daemon/control.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/admin.h"
#include "base/log.h"
#include "daemon/pid_file.h"
#include "daemon/supervision.h"
#include "net/bound_socket.h"
#include "net/mailbox.h"

static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

struct control {
    struct event_base *base;
    struct generation *generation; /* in effect */
    struct worker_view *view;      /* of it; NULL: not yet, or not any more */
    struct worker *worker;         /* NULL: not started yet */
    struct mailbox mailbox;
    struct event mail;
    struct message ended;               /* posted by the worker */
    TAILQ_HEAD(, admin_reload) reloads; /* asked for, and not answered */
    struct message answer;              /* to those */
    struct admin *admin;                /* NULL: not there yet */
    struct supervision supervision;
    size_t signal_count;
    struct event signal_events[ARRAY_LEN(signals)];
};

static void stop(struct control *control, const char *signal_name)
{
    supervision_stopping(&control->supervision);
    worker_stop(control->worker, signal_name);
}

/* Writes the counters to the log. */
static void log_counters(struct control *control)
{
    const struct admin_view *view = worker_view_get(control->view);
    metric_log(view->blocks, view->block_count);
    worker_ping(control->worker); /* for the next time */
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct control *control = arg;
    (void)what;
    switch (number) {
    case SIGTERM:
        stop(control, "SIGTERM");
        break;
    case SIGINT:
        stop(control, "SIGINT");
        break;
    case SIGHUP:
        log_reopen();
        break;
    case SIGUSR1:
        log_counters(control);
        break;
    case SIGUSR2:
        log_notice("SIGUSR2: it has no meaning in this version");
        break;
    default:
        break;
    }
}

static void ops_snapshot(void *arg, struct snapshot_request *request)
{
    const struct control *control = arg;
    worker_snapshot(control->worker, request);
}

static void ops_command(void *arg, struct command *command)
{
    const struct control *control = arg;
    worker_command(control->worker, command);
}

/* There is nothing that reloads yet. */
static void answer_reloads(struct control *control)
{
    struct admin_reload *reload;
    while ((reload = TAILQ_FIRST(&control->reloads)) != NULL) {
        TAILQ_REMOVE(&control->reloads, reload, link);
        reload->ok = false;
        reload->text = "a reload has no meaning in this version";
        reload->done(reload);
    }
}

static void on_answer(struct message *message)
{
    answer_reloads(container_of(message, struct control, answer));
}

static void ops_reload(void *arg, struct admin_reload *reload)
{
    struct control *control = arg;
    TAILQ_INSERT_TAIL(&control->reloads, reload, link);
    mailbox_post(&control->mailbox, &control->answer);
}

static void ops_ping(void *arg)
{
    const struct control *control = arg;
    worker_ping(control->worker);
}

static usec_t ops_unanswered(void *arg)
{
    const struct control *control = arg;
    return worker_unanswered(control->worker);
}

static enum admin_life ops_life(void *arg)
{
    const struct control *control = arg;
    return worker_life(control->worker);
}

/* 0, or -1; then it was logged. */
static int start_admin(struct control *control)
{
    struct timespec ts;
    struct admin_ops ops = {
        .arg = control,
        .snapshot = ops_snapshot,
        .command = ops_command,
        .reload = ops_reload,
        .ping = ops_ping,
        .unanswered = ops_unanswered,
        .life = ops_life,
    };
    if (control->admin == NULL)
        return 0;
    clock_gettime(CLOCK_REALTIME, &ts);
    ops.started_at = ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000;
    if (admin_start(control->admin, &ops, worker_view_get(control->view)) == 0)
        return 0;
    log_error("cannot start the admin pages: %s", strerror(errno));
    return -1;
}

static void on_mail(evutil_socket_t fd, short what, void *arg)
{
    struct control *control = arg;
    (void)fd;
    (void)what;
    mailbox_run(&control->mailbox);
}

static void on_ended(struct message *message)
{
    struct control *control = container_of(message, struct control, ended);
    event_base_loopbreak(control->base);
}

/* From here on they are heeded, whether main held them back or whoever started us. 0, or -1 with
 * errno. */
static int watch_signals(struct control *control)
{
    sigset_t watched;
    sigemptyset(&watched);
    for (; control->signal_count < ARRAY_LEN(signals); control->signal_count++) {
        struct event *event = &control->signal_events[control->signal_count];
        int number = signals[control->signal_count];
        evsignal_assign(event, control->base, number, on_signal, control);
        if (event_add(event, NULL) < 0)
            return -1;
        sigaddset(&watched, number);
    }
    pthread_sigmask(SIG_UNBLOCK, &watched, NULL);
    return 0;
}

/* Without locks: whatever comes from other threads comes through the mailbox. */
static struct event_base *base_new(void)
{
    struct event_base *base = NULL;
    struct event_config *config = event_config_new();
    if (config != NULL && event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0)
        base = event_base_new_with_config(config);
    if (config != NULL)
        event_config_free(config);
    return base;
}

/* 0, or -1 with errno. */
static int watch_mailbox(struct control *control)
{
    if (mailbox_init(&control->mailbox) < 0)
        return -1;
    event_assign(&control->mail, control->base, mailbox_descriptor(&control->mailbox),
                 EV_READ | EV_PERSIST, on_mail, control);
    return event_add(&control->mail, NULL);
}

/* What it has to say goes where our messages go. */
static void log_libevent(int severity, const char *text)
{
    if (severity == EVENT_LOG_ERR)
        log_error("libevent: %s", text);
    else if (severity == EVENT_LOG_WARN)
        log_warning("libevent: %s", text);
}

struct control *control_new(void)
{
    struct control *control = calloc(1, sizeof(*control));
    if (control != NULL) {
        control->ended.run = on_ended;
        control->answer.run = on_answer;
        TAILQ_INIT(&control->reloads);
        event_set_log_callback(log_libevent);
        control->base = base_new();
        if (control->base != NULL && watch_mailbox(control) == 0 && watch_signals(control) == 0)
            return control;
    }
    log_error("cannot start: %s", strerror(errno));
    control_free(control);
    return NULL;
}

void control_free(struct control *control)
{
    sigset_t all;
    if (control == NULL)
        return;
    /* A signal that comes when all is done must not change how it ended. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (size_t i = 0; i < control->signal_count; i++)
        event_del(&control->signal_events[i]);
    if (event_initialized(&control->mail)) {
        event_del(&control->mail);
        mailbox_clear(&control->mailbox);
    }
    answer_reloads(control);
    supervision_end(&control->supervision);
    admin_free(control->admin);
    if (control->base != NULL)
        event_base_free(control->base);
    generation_free(control->generation);
    free(control);
}

int control_listen(struct control *control, struct generation *generation)
{
    control->generation = generation;
    control->admin = admin_new(control->base);
    if (control->admin != NULL &&
        admin_set_sockets(control->admin, generation->sockets + generation->admin_at,
                          generation->socket_count - generation->admin_at) == 0)
        return 0;
    log_error("[admin]: %s", strerror(errno));
    return -1;
}

static void release_view(struct control *control)
{
    if (control->view != NULL)
        worker_release_view(control->worker, control->view);
    control->view = NULL;
}

/* 0, or -1; then it was logged. */
static int start(struct control *control)
{
    const struct admin_view *view = worker_view_get(control->view);
    if (supervision_start(&control->supervision, control->base, control->worker) < 0) {
        log_error("cannot start: %s", strerror(errno));
        return -1;
    }
    supervision_set_blocks(&control->supervision, view->blocks, view->block_count);
    if (start_admin(control) < 0 ||
        worker_start(control->worker, &control->mailbox, &control->ended) < 0)
        return -1;
    pid_file_write(control->generation->config->pid_file); /* clients are served without it */
    supervision_ready(&control->supervision);
    return 0;
}

int control_run(struct control *control, struct worker *worker)
{
    control->worker = worker;
    control->view = worker_first_view(worker);
    int result = start(control);
    if (result == 0 && event_base_loop(control->base, 0) < 0) { /* cannot be */
        log_error("cannot wait for signals: %s", strerror(errno));
        worker_stop(worker, "no signals");
    }
    if (result == 0)
        worker_join(worker);
    supervision_end(&control->supervision);
    release_view(control);
    return result;
}
