/* SPDX-License-Identifier: ISC */
/* The object, and the process. */
#include "admin/status.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/problems.h"
#include "admin/status_internal.h"
#include "config-build.h"

void status_put(struct build *build, json_t *object, const char *name, json_t *value)
{
    if (json_object_set_new(object, name, value) < 0)
        build->failed = true;
}

void status_append(struct build *build, json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) < 0)
        build->failed = true;
}

json_t *status_text(const char *text)
{
    json_t *value = text == NULL ? json_null() : json_string(text);
    char *plain = value == NULL ? strdup(text) : NULL;
    if (plain == NULL)
        return value;
    for (char *at = plain; *at != '\0'; at++) {
        if ((unsigned char)*at >= 0x80)
            *at = '?';
    }
    value = json_string(plain);
    free(plain);
    return value;
}

json_t *status_seconds(int64_t microseconds)
{
    return json_real((double)microseconds / (double)USEC_PER_SEC);
}

json_t *status_moment(int64_t microseconds)
{
    return microseconds == 0 ? json_null() : status_seconds(microseconds);
}

json_t *status_count(uint64_t count)
{
    return json_integer((json_int_t)count);
}

/* Of the last reload, if it failed. */
static json_t *reload_failed(struct build *build)
{
    const struct reload_stats *stats = build->input->ops->reload_stats;
    if (stats == NULL || stats->failed_at == 0)
        return json_null();
    json_t *object = json_object();
    status_put(build, object, "at", status_moment(stats->failed_at));
    status_put(build, object, "text", status_text(stats->mistake));
    status_put(build, object, "mistakes", status_count(stats->mistake_count));
    return object;
}

/* When the configuration was read; at the start, unless known otherwise. */
static int64_t read_at(const struct admin_ops *ops)
{
    return ops->reload_stats == NULL ? ops->started_at
                                     : (int64_t)gauge_get(&ops->reload_stats->last_success_at);
}

static json_t *kaproxy(struct build *build)
{
    static const char *const lives[] = {"serving", "draining", "stopping"};
    const struct admin_ops *ops = build->input->ops;
    json_t *object = json_object();
    status_put(build, object, "version", json_string(PACKAGE_VERSION));
    status_put(build, object, "pid", json_integer(getpid()));
    status_put(build, object, "started", status_seconds(ops->started_at));
    status_put(build, object, "now", status_seconds(build->input->unix_now));
    status_put(build, object, "uptime", status_seconds(build->input->unix_now - ops->started_at));
    status_put(build, object, "state", json_string(lives[ops->life(ops->arg)]));
    status_put(build, object, "config", status_text(build->config->file));
    status_put(build, object, "config_read", status_moment(read_at(ops)));
    status_put(build, object, "reload_failed", reload_failed(build));
    return object;
}

static const struct subject *the_process(const struct build *build)
{
    return subjects_find(build->subjects, &(const struct metric_labels){.listener = NULL});
}

static json_t *loop(struct build *build)
{
    const struct status_input *input = build->input;
    struct figure lag = subjects_figure(build->subjects, the_process(build), "loop_lag");
    json_t *object = json_object();
    status_put(build, object, "lag", status_seconds((int64_t)figure_total(&lag)));
    status_put(build, object, "answers", json_boolean(status_loop_answers(input)));
    status_put(build, object, "snapshot_age",
               input->snapshot == NULL ? json_null() : status_seconds(input->snapshot_age));
    return object;
}

static json_t *problem_new(struct build *build, const struct problem *problem)
{
    const struct {
        const char *name, *value;
    } labels[] = {{"listener", problem->listener},
                  {"pool", problem->pool},
                  {"upstream", problem->upstream},
                  {"tls", problem->tls}};
    json_t *object = json_object();
    status_put(build, object, "severity", json_string(severity_name(problem->severity)));
    status_put(build, object, "code", json_string(problem->code));
    for (size_t i = 0; i < ARRAY_LEN(labels); i++) {
        if (labels[i].value != NULL)
            status_put(build, object, labels[i].name, status_text(labels[i].value));
    }
    status_put(build, object, "text", status_text(problem->text));
    return object;
}

static json_t *problems_new(struct build *build)
{
    struct problems problems;
    if (problems_find(&problems, build->input) < 0)
        return NULL;
    json_t *array = json_array();
    for (size_t i = 0; i < problems.count; i++)
        status_append(build, array, problem_new(build, &problems.list[i]));
    problems_clear(&problems);
    return array;
}

json_t *status_new(const struct status_input *input)
{
    struct build build = {.input = input,
                          .config = input->view->config,
                          .subjects = history_subjects(input->history)};
    json_t *status = json_object();
    status_put(&build, status, "kaproxy", kaproxy(&build));
    status_put(&build, status, "loop", loop(&build));
    status_put(&build, status, "problems", problems_new(&build));
    status_put(&build, status, "process", status_metrics(&build, the_process(&build)));
    status_put(&build, status, "listeners", status_listeners(&build));
    status_put(&build, status, "hosts", status_hosts(&build));
    status_put(&build, status, "pools", status_pools(&build));
    status_put(&build, status, "tls", status_tls(&build));
    if (input->show_sessions) {
        const struct snapshot *snapshot = input->snapshot;
        status_put(&build, status, "sessions", status_sessions(&build));
        status_put(&build, status, "sessions_left_out",
                   status_count(snapshot == NULL ? 0 : snapshot->sessions_left_out));
    }
    if (!build.failed)
        return status;
    json_decref(status);
    return NULL;
}
