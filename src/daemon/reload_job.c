/* SPDX-License-Identifier: ISC */
/* Loads a configuration in a thread, and sorts the messages. */
#include "daemon/reload_job.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/thread.h"
#include "daemon/changes.h"

/* OpenSSL needs the most. */
#define STACK_SIZE (1024 * 1024)

/* Seconds for which the end waits for a file that cannot be read. */
#define WAIT_MAX 5

struct reload_job {
    struct reload_ops ops;
    struct config *start;
    const struct config *before;
    struct mailbox *mailbox;
    void (*done)(struct reload_job *job, void *arg);
    void *arg;
    pthread_t thread;
    struct message message;
    bool joined;
    /* Which of the two frees it. */
    pthread_mutex_t lock;
    bool posted, abandoned;
    /* The thread's, until the message is posted. */
    struct generation *generation;
    char *said;                /* all lines; NULL: no memory for them */
    char *mistakes, *warnings; /* the lines by kind */
    char *report;              /* the changes, in the first line, followed by the warnings */
    char changes[CHANGES_TEXT_MAX];
};

static const char no_memory[] = "out of memory";

/* "FILE: warning: ..." or "FILE:LINE: warning: ...", where FILE may be anything. */
static bool is_warning_of(const char *line, const char *file)
{
    static const char mark[] = ": warning: ";
    size_t length = strlen(file);
    if (strncmp(line, file, length) != 0)
        return false;
    line += length;
    if (*line == ':' && line[1] >= '0' && line[1] <= '9')
        line += 1 + strspn(line + 1, "0123456789");
    return strncmp(line, mark, sizeof(mark) - 1) == 0;
}

/* The default file may have been moved since the last time. */
static bool is_warning(const char *line, const struct config *before)
{
    return is_warning_of(line, before->file) ||
           (before->is_default &&
            (is_warning_of(line, KAPROXY_INI) || is_warning_of(line, KAPROXY_OLD_INI)));
}

/* Sorts the lines by kind. 0, or -1 with ENOMEM. */
static int sort(struct reload_job *job)
{
    size_t size = strlen(job->said) + 1;
    size_t mistakes = 0, warnings = 0;
    job->mistakes = calloc(1, size);
    job->warnings = calloc(1, size);
    job->report = calloc(1, sizeof(job->changes) + size);
    if (job->mistakes == NULL || job->warnings == NULL || job->report == NULL)
        return -1;
    for (const char *line = job->said; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        length += line[length] == '\n';
        bool warning = is_warning(line, job->before);
        memcpy(warning ? job->warnings + warnings : job->mistakes + mistakes, line, length);
        *(warning ? &warnings : &mistakes) += length;
        line += length;
    }
    snprintf(job->report, sizeof(job->changes) + size, "%s\n%s", job->changes, job->warnings);
    return 0;
}

static void undo(struct reload_job *job)
{
    if (job->generation != NULL)
        job->ops.undo(job->ops.arg, job->generation);
    job->generation = NULL;
}

/* 0, or -1: there was no memory for all of it. */
static int load(struct reload_job *job)
{
    size_t size;
    FILE *out = open_memstream(&job->said, &size);
    if (out == NULL)
        return -1;
    job->generation = job->ops.load(job->ops.arg, out);
    if (job->generation != NULL) {
        const struct config *config = job->ops.config(job->ops.arg, job->generation);
        changes_warn(job->start, config, out);
        changes_describe(job->before, config, job->changes, sizeof(job->changes));
    }
    bool whole = ferror(out) == 0;
    return fclose(out) == 0 && whole ? sort(job) : -1;
}

static void job_free(struct reload_job *job)
{
    undo(job);
    config_unref(job->start);
    pthread_mutex_destroy(&job->lock);
    free(job->said);
    free(job->mistakes);
    free(job->warnings);
    free(job->report);
    free(job);
}

/* Posts the result, unless it is no longer awaited. */
static void *run(void *arg)
{
    struct reload_job *job = arg;
    if (load(job) < 0)
        undo(job);
    pthread_mutex_lock(&job->lock);
    bool abandoned = job->abandoned;
    if (!abandoned) {
        mailbox_post(job->mailbox, &job->message);
        job->posted = true;
    }
    pthread_mutex_unlock(&job->lock);
    if (abandoned)
        job_free(job);
    return NULL;
}

static void join(struct reload_job *job)
{
    if (!job->joined)
        pthread_join(job->thread, NULL);
    job->joined = true;
}

static void on_result(struct message *message)
{
    struct reload_job *job = container_of(message, struct reload_job, message);
    join(job);
    job->done(job, job->arg);
}

struct reload_job *reload_job_start(const struct reload_work *work)
{
    struct reload_job *job = calloc(1, sizeof(*job));
    if (job == NULL)
        return NULL;
    job->ops = *work->ops;
    job->start = config_ref(work->start);
    job->before = work->before;
    job->mailbox = work->mailbox;
    job->done = work->done;
    job->arg = work->arg;
    job->message.run = on_result;
    pthread_mutex_init(&job->lock, NULL);
    if (thread_start(&job->thread, "kaproxy-reload", STACK_SIZE, run, job) == 0)
        return job;
    int error = errno;
    job_free(job);
    errno = error;
    return NULL;
}

int reload_job_wait(struct reload_job *job)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_MAX;
    if (job->joined || pthread_timedjoin_np(job->thread, NULL, &until) == 0) {
        job->joined = true;
        return 0;
    }
    pthread_mutex_lock(&job->lock);
    bool posted = job->posted;
    job->abandoned = !posted;
    if (!posted)
        pthread_detach(job->thread);
    pthread_mutex_unlock(&job->lock);
    return posted ? 0 : -1;
}

void reload_job_free(struct reload_job *job)
{
    if (job != NULL)
        job_free(job);
}

bool reload_job_succeeded(const struct reload_job *job)
{
    return job->generation != NULL;
}

struct generation *reload_job_generation(const struct reload_job *job)
{
    return job->generation;
}

struct generation *reload_job_take(struct reload_job *job)
{
    struct generation *generation = job->generation;
    job->generation = NULL;
    return generation;
}

const char *reload_job_changes(const struct reload_job *job)
{
    return job->changes;
}

const char *reload_job_report(const struct reload_job *job)
{
    return job->report;
}

const char *reload_job_mistakes(const struct reload_job *job)
{
    return job->mistakes != NULL && job->mistakes[0] != '\0' ? job->mistakes : no_memory;
}

const char *reload_job_warnings(const struct reload_job *job)
{
    return job->warnings != NULL ? job->warnings : "";
}
