/* SPDX-License-Identifier: ISC */
/* Signals, and the end of the worker, as events of libevent's base. */
#include "daemon/control.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "admin/admin.h"
#include "base/log.h"
#include "daemon/display.h"
#include "daemon/reload.h"
#include "daemon/succession.h"
#include "daemon/supervision.h"
#include "net/bound_socket.h"
#include "net/mailbox.h"

static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

struct control {
    struct event_base *base;
    struct generation *generation; /* in effect */
    struct worker *worker;         /* NULL: not started */
    struct mailbox mailbox;
    struct event mail;
    struct message serving; /* posted by the worker */
    struct message ended;   /* the same */
    struct admin *admin;    /* NULL: not made */
    struct reload *reload;  /* NULL: not made */
    struct log_change
        *logs; /* of the reload under way: prepared by its thread, not committed yet */
    struct worker_install install;
    struct reload_install *asked; /* whom to answer */
    bool being_read;              /* in use by a reload that was not waited for */
    struct supervision supervision;
    struct display display;
    const struct program *program;
    struct inherited *inherited;
    struct succession *succession; /* NULL: not made */
    size_t signal_count;
    struct event signal_events[ARRAY_LEN(signals)];
};

static void stop(struct control *control, const char *signal_name)
{
    reload_stop(control->reload, "kaproxy is stopping");
    succession_stop(control->succession); /* by then the service may be another process */
    supervision_stopping(&control->supervision);
    worker_stop(control->worker, signal_name);
}

/* Logs the counters. */
static void log_counters(struct control *control)
{
    const struct admin_view *view = display_get(&control->display);
    const struct metric_block own = {.set = &reload_metrics,
                                     .block = reload_get_stats(control->reload)};
    metric_log(view->blocks, view->block_count);
    metric_log(&own, 1);
    worker_ping(control->worker); /* for the next reload */
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
        reload_ask(control->reload, "SIGHUP");
        break;
    case SIGUSR1:
        log_counters(control);
        break;
    case SIGUSR2:
        succession_hand_over(control->succession);
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

static void ops_reload(void *arg, struct admin_reload *request)
{
    const struct control *control = arg;
    log_reopen();
    reload_request(control->reload, request);
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

/* What a reload consists of: reload.h. */

static struct generation *load_generation(void *arg, FILE *errors)
{
    struct control *control = arg;
    const struct generation *current = control->generation;
    const struct config *config = current->config;
    return generation_load(config->is_default ? NULL : config->file, current, &control->logs,
                           errors);
}

static void undo_generation(void *arg, struct generation *generation)
{
    struct control *control = arg;
    log_change_free(control->logs);
    control->logs = NULL;
    generation_undo(generation, control->generation);
}

static const struct config *config_of(void *arg, const struct generation *generation)
{
    (void)arg;
    return generation->config;
}

static uint64_t number_of(void *arg, const struct generation *generation)
{
    (void)arg;
    return generation->number;
}

static void on_installed(struct worker_install *install)
{
    struct control *control = container_of(install, struct control, install);
    struct reload_install *asked = control->asked;
    struct generation *before = control->generation;
    asked->ok = install->ok;
    asked->error = install->error;
    if (install->ok) {
        const struct config *config = asked->generation->config;
        control->generation = asked->generation;
        log_commit(control->logs, config->log_level, config->log_format);
        control->logs = NULL;
        display_set(&control->display, control->generation, install->view);
        generation_free(before); /* with the files of removed sockets, before it is reported */
    }
    asked->done(asked);
}

static void install_generation(void *arg, struct reload_install *asked)
{
    struct control *control = arg;
    control->asked = asked;
    control->install =
        (struct worker_install){.generation = asked->generation, .done = on_installed};
    worker_install(control->worker, &control->install);
}

static void say_reloading(void *arg)
{
    struct control *control = arg;
    succession_hold(control->succession, true);
    supervision_reloading(&control->supervision, true);
}

static void say_ready(void *arg)
{
    struct control *control = arg;
    supervision_reloading(&control->supervision, false);
    succession_hold(control->succession, false);
}

static int64_t now(void *arg)
{
    (void)arg;
    return unix_time();
}

/* 0, or -1 (logged). */
static int start_reload(struct control *control)
{
    const struct reload_ops ops = {
        .arg = control,
        .load = load_generation,
        .config = config_of,
        .undo = undo_generation,
        .install = install_generation,
        .number = number_of,
        .reloading = say_reloading,
        .ready = say_ready,
        .now = now,
    };
    const struct generation *generation = control->generation;
    control->reload = reload_new(&control->mailbox, &ops, generation->config, generation->number);
    if (control->reload != NULL)
        return 0;
    log_error("cannot start: %s", strerror(errno));
    return -1;
}

/* 0, or -1 (logged). */
static int start_admin(struct control *control)
{
    const struct admin_ops ops = {
        .arg = control,
        .snapshot = ops_snapshot,
        .command = ops_command,
        .reload = ops_reload,
        .ping = ops_ping,
        .unanswered = ops_unanswered,
        .life = ops_life,
        .reload_stats = reload_get_stats(control->reload),
        .started_at = unix_time(),
    };
    if (admin_start(control->admin, &ops, display_get(&control->display)) == 0)
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

static void on_serving(struct message *message)
{
    struct control *control = container_of(message, struct control, serving);
    succession_serving(control->succession);
}

static void on_ended(struct message *message)
{
    struct control *control = container_of(message, struct control, ended);
    event_base_loopbreak(control->base);
}

/* From here on signals are handled, whether main or our parent had blocked them. 0, or -1 with
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

/* Without locks: other threads only use the mailbox. */
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

/* libevent's messages go to our log. */
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
        control->serving.run = on_serving;
        control->ended.run = on_ended;
        event_set_log_callback(log_libevent);
        control->base = base_new();
        if (control->base != NULL && watch_mailbox(control) == 0 && watch_signals(control) == 0)
            return control;
    }
    log_error("cannot start: %s", strerror(errno));
    control_free(control);
    return NULL;
}

/* A reload's thread that hangs while reading a file may still get it, and then compares it with
 * this: so both this and the struct through which the thread finds it are left alone. The process
 * ends anyway; what other processes see of it must go now. */
static void close_sockets(const struct generation *generation)
{
    for (size_t i = 0; i < generation->socket_count; i++)
        bound_socket_close(generation->sockets[i]);
}

void control_free(struct control *control)
{
    sigset_t all;
    if (control == NULL)
        return;
    /* A signal that arrives when all is done must not change the exit status. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (size_t i = 0; i < control->signal_count; i++)
        event_del(&control->signal_events[i]);
    if (event_initialized(&control->mail)) {
        event_del(&control->mail);
        mailbox_clear(&control->mailbox);
    }
    supervision_end(&control->supervision);
    succession_free(control->succession);
    admin_free(control->admin);
    reload_free(control->reload);
    if (control->base != NULL)
        event_base_free(control->base);
    if (control->being_read) {
        close_sockets(control->generation);
        return;
    }
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

void control_hand_over(struct control *control, const struct program *program,
                       struct inherited *inherited)
{
    control->program = program;
    control->inherited = inherited;
}

static void hold_reloads(void *arg, bool held)
{
    const struct control *control = arg;
    reload_hold(control->reload, held);
}

static void end_reloads(void *arg)
{
    const struct control *control = arg;
    reload_stop(control->reload, "another process serves");
}

/* 0, or -1 (logged). */
static int start_succession(struct control *control)
{
    const struct succession_options options = {.base = control->base,
                                               .program = control->program,
                                               .inherited = control->inherited,
                                               .generation = &control->generation,
                                               .worker = control->worker,
                                               .admin = control->admin,
                                               .supervision = &control->supervision,
                                               .arg = control,
                                               .hold = hold_reloads,
                                               .left = end_reloads};
    control->succession = succession_new(&options);
    return control->succession == NULL ? -1 : 0;
}

/* 0, or -1 (logged). */
static int start(struct control *control)
{
    const struct admin_view *view = display_get(&control->display);
    if (supervision_start(&control->supervision, control->base, control->worker) < 0) {
        log_error("cannot start: %s", strerror(errno));
        return -1;
    }
    const struct worker_messages messages = {
        .mailbox = &control->mailbox, .serving = &control->serving, .ended = &control->ended};
    supervision_set_blocks(&control->supervision, view->blocks, view->block_count);
    if (start_reload(control) < 0 || start_admin(control) < 0 || start_succession(control) < 0 ||
        worker_start(control->worker, &messages) < 0)
        return -1;
    succession_prepared(control->succession);
    return 0;
}

int control_run(struct control *control, struct worker *worker)
{
    control->worker = worker;
    display_init(&control->display, control->base, worker, control->admin, &control->supervision,
                 worker_first_view(worker));
    int result = start(control);
    if (result == 0 && event_base_loop(control->base, 0) < 0) { /* impossible */
        log_error("cannot wait for signals: %s", strerror(errno));
        worker_stop(worker, "no signals");
    }
    if (result == 0) {
        worker_join(worker);
        control->being_read = !reload_end(control->reload);
    }
    supervision_end(&control->supervision);
    display_end(&control->display);
    return result;
}
