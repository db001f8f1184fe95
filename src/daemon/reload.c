/* SPDX-License-Identifier: ISC */
/* The states of a reload, its log messages, and its answers. */
#include "daemon/reload.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "base/log.h"
#include "daemon/reload_job.h"

/* A file full of mistakes does not fill the log. */
#define LINES_MAX 50

enum state {
    IDLE,
    LOADING,    /* in the thread, or it could not be started: see `unstarted` */
    INSTALLING, /* `install` is with the worker */
};

TAILQ_HEAD(requests, admin_reload);

struct reload {
    enum state state;
    bool held;
    const char *stopping; /* why it was stopped; NULL: it was not */
    struct mailbox *mailbox;
    struct reload_ops ops;
    struct config *start;        /* what the process started with */
    const struct config *config; /* in effect */
    struct reload_stats stats;
    struct reload_job *job;  /* LOADING, INSTALLING; NULL: there was no memory for one */
    struct requests running; /* to be answered */
    struct requests waiting; /* for the next reload */
    bool again;              /* another one is wanted, even if nobody waits for it */
    char by[sizeof(((struct admin_reload *)0)->by)]; /* who requested the next one first */
    int error;                                       /* why the thread did not start */
    struct message unstarted, late;
    struct reload_install install;
};

static void begin(struct reload *reload);

static void answer(struct requests *requests, bool ok, const char *text)
{
    struct admin_reload *request;
    while ((request = TAILQ_FIRST(requests)) != NULL) {
        TAILQ_REMOVE(requests, request, link);
        request->ok = ok;
        request->text = text;
        request->done(request);
    }
}

/* Takes those that waited until now; new requests are for the next call. */
static void answer_late(struct reload *reload)
{
    struct requests late = TAILQ_HEAD_INITIALIZER(late);
    TAILQ_CONCAT(&late, &reload->waiting, link);
    reload->again = false;
    answer(&late, false, reload->stopping);
}

static void on_late(struct message *message)
{
    answer_late(container_of(message, struct reload, late));
}

/* The end of each reload; `text` may be the job's. Requests made from inside the answers are for
 * the next one. */
static void finish(struct reload *reload, bool ok, const char *text)
{
    reload->ops.ready(reload->ops.arg);
    answer(&reload->running, ok, text);
    reload_job_free(reload->job);
    reload->job = NULL;
    reload->state = IDLE;
    if (reload->stopping != NULL)
        answer_late(reload);
    else if (reload->again && !reload->held)
        begin(reload);
}

/* Calls a function with each line of a text; returns how many there are. */
static unsigned log_lines(enum log_level level, const char *text)
{
    unsigned n = 0;
    for (size_t length; *text != '\0'; text += length + (text[length] == '\n')) {
        length = strcspn(text, "\n");
        if (n++ < LINES_MAX)
            log_message(level, "reload: %.*s", (int)length, text);
    }
    if (n > LINES_MAX)
        log_message(level, "reload: and %u more", n - LINES_MAX);
    return n;
}

static void fail(struct reload *reload, const char *mistakes)
{
    char time[32];
    struct tm tm;
    time_t read_at = (time_t)(gauge_get(&reload->stats.last_success_at) / USEC_PER_SEC);
    unsigned n = log_lines(LOG_LEVEL_ERROR, mistakes);
    strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&read_at, &tm));
    log_error("reload failed: %u mistake%s; the configuration of %s stays in effect", n,
              n == 1 ? "" : "s", time);
    reload_stats_fail(&reload->stats, mistakes, reload->ops.now(reload->ops.arg));
    finish(reload, false, mistakes);
}

/* An order to stop came first: not a mistake in the file. */
static void give_up(struct reload *reload)
{
    log_notice("reload: %s; nothing was reloaded", reload->stopping);
    finish(reload, false, reload->stopping);
}

static void undo(struct reload *reload)
{
    reload->ops.undo(reload->ops.arg, reload_job_take(reload->job));
}

static void on_installed(struct reload_install *install)
{
    struct reload *reload = container_of(install, struct reload, install);
    const struct reload_job *job = reload->job;
    char text[512];
    if (install->ok) {
        const struct generation *generation = reload_job_take(reload->job);
        reload->config = reload->ops.config(reload->ops.arg, generation);
        reload_stats_succeed(&reload->stats, reload->ops.number(reload->ops.arg, generation),
                             reload->ops.now(reload->ops.arg));
        log_notice("reloaded %s: %s", reload->config->file, reload_job_changes(job));
        finish(reload, true, reload_job_report(job));
        return;
    }
    snprintf(text, sizeof(text), "cannot install the configuration: %s", install->error);
    undo(reload);
    if (reload->stopping != NULL)
        give_up(reload);
    else
        fail(reload, text);
}

static void on_loaded(struct reload_job *job, void *arg)
{
    struct reload *reload = arg;
    log_lines(LOG_LEVEL_WARNING, reload_job_warnings(job));
    if (!reload_job_succeeded(job)) {
        fail(reload, reload_job_mistakes(job));
    } else if (reload->stopping != NULL) {
        undo(reload);
        give_up(reload);
    } else {
        reload->state = INSTALLING;
        reload->install =
            (struct reload_install){.generation = reload_job_generation(job), .done = on_installed};
        reload->ops.install(reload->ops.arg, &reload->install);
    }
}

static void on_unstarted(struct message *message)
{
    struct reload *reload = container_of(message, struct reload, unstarted);
    char text[128];
    snprintf(text, sizeof(text), "cannot start the thread that reads the configuration: %s",
             strerror(reload->error));
    fail(reload, text);
}

/* For all requests so far. A failure to start is reported through the mailbox: no request is
 * answered from inside the call that made it. */
static void begin(struct reload *reload)
{
    const struct reload_work work = {.ops = &reload->ops,
                                     .start = reload->start,
                                     .before = reload->config,
                                     .mailbox = reload->mailbox,
                                     .done = on_loaded,
                                     .arg = reload};
    TAILQ_CONCAT(&reload->running, &reload->waiting, link);
    reload->again = false;
    reload->state = LOADING;
    log_notice("%s: reloading %s", reload->by, reload->config->file);
    reload->ops.reloading(reload->ops.arg);
    reload->job = reload_job_start(&work);
    if (reload->job == NULL) {
        reload->error = errno;
        mailbox_post(reload->mailbox, &reload->unstarted);
    }
}

static void ask(struct reload *reload, const char *by)
{
    if (reload->stopping != NULL) {
        log_notice("%s: %s; nothing is reloaded", by, reload->stopping);
        mailbox_post(reload->mailbox, &reload->late);
        return;
    }
    if (!reload->again)
        snprintf(reload->by, sizeof(reload->by), "%s", by);
    if (!reload->again && reload->held)
        log_notice("%s: the reload begins once the handover has succeeded or failed", by);
    reload->again = true;
    if (reload->state == IDLE && !reload->held)
        begin(reload);
}

void reload_ask(struct reload *reload, const char *by)
{
    ask(reload, by);
}

void reload_request(struct reload *reload, struct admin_reload *request)
{
    TAILQ_INSERT_TAIL(&reload->waiting, request, link);
    ask(reload, request->by);
}

struct reload *reload_new(struct mailbox *mailbox, const struct reload_ops *ops,
                          struct config *config, uint64_t number)
{
    struct reload *reload = calloc(1, sizeof(*reload));
    if (reload == NULL)
        return NULL;
    reload->mailbox = mailbox;
    reload->ops = *ops;
    reload->start = config_ref(config);
    reload->config = config;
    reload->unstarted.run = on_unstarted;
    reload->late.run = on_late;
    TAILQ_INIT(&reload->running);
    TAILQ_INIT(&reload->waiting);
    reload_stats_start(&reload->stats, number, ops->now(ops->arg));
    return reload;
}

void reload_hold(struct reload *reload, bool held)
{
    reload->held = held;
    if (!held && reload->again && reload->state == IDLE && reload->stopping == NULL)
        begin(reload);
}

void reload_stop(struct reload *reload, const char *why)
{
    if (reload->stopping == NULL) {
        reload->stopping = why;
        if (reload->again)
            log_notice("%s: %s; nothing is reloaded", reload->by, why);
    }
    mailbox_post(reload->mailbox, &reload->late);
}

bool reload_end(struct reload *reload)
{
    bool ended = true;
    reload_stop(reload, "kaproxy is stopping");
    if (reload->state == LOADING && reload->job != NULL && reload_job_wait(reload->job) < 0) {
        log_warning("reload: the configuration is still being read; not waiting for it");
        ended = false;
        reload->job = NULL;
        give_up(reload);
    }
    mailbox_run(reload->mailbox);
    return ended;
}

void reload_free(struct reload *reload)
{
    if (reload == NULL)
        return;
    assert(reload->state == IDLE);
    config_unref(reload->start);
    free(reload);
}

const struct reload_stats *reload_get_stats(const struct reload *reload)
{
    return &reload->stats;
}
