/* SPDX-License-Identifier: ISC */
/* Listeners, hosts, pools and sessions. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "admin/status_internal.h"

static json_t *addresses(struct build *build, const struct config_listener *listener)
{
    json_t *array = json_array();
    for (size_t i = 0; i < listener->addresses.count; i++)
        status_append(build, array, status_text(listener->addresses.list[i].address.text));
    return array;
}

static json_t *listener_row(struct build *build, const struct config_listener *listener)
{
    char upstream[ENDPOINT_TEXT_MAX];
    const struct metric_labels labels = {.listener = listener->name};
    const struct subject *subject = subjects_find(build->subjects, &labels);
    const struct snapshot_listener *row =
        names_listener_row(build->input->snapshot, listener->name);
    json_t *object = json_object();
    status_put(build, object, "name", status_text(listener->name));
    status_put(build, object, "addresses", addresses(build, listener));
    status_put(build, object, "upstream",
               status_text(endpoint_format(&listener->upstream, upstream)));
    status_put(build, object, "pool",
               status_text(names_of_pool(&build->config->pools[listener->pool])));
    status_put(build, object, "protocol", json_string(names_of_protocol(listener)));
    status_put(build, object, "state",
               json_string(service_name(row == NULL ? SERVICE_OPEN : row->service)));
    status_put(build, object, "metrics", status_metrics(build, subject));
    status_put(build, object, "peaks", status_peaks(build, subject));
    status_put(build, object, "rates", status_rates(build, subject));
    status_put(build, object, "exchange", status_quantiles(build, subject, "listener_exchange"));
    status_put(build, object, "oldest_session",
               status_seconds(row == NULL ? 0 : row->oldest_session));
    status_put(build, object, "longest_quiet",
               status_seconds(row == NULL ? 0 : row->longest_quiet));
    return object;
}

json_t *status_listeners(struct build *build)
{
    json_t *array = json_array();
    for (size_t i = 0; i < build->config->listener_count; i++)
        status_append(build, array, listener_row(build, &build->config->listeners[i]));
    return array;
}

static json_t *limits_of(struct build *build, const struct config_pool *pool)
{
    const struct pool_limits *limits = &pool->limits;
    const struct {
        const char *name;
        unsigned value;
    } counts[] = {{"max_per_host", limits->max_per_host},
                  {"max_open", limits->max_open},
                  {"max_connecting",
                   limits->max_connecting > 0 ? limits->max_connecting : limits->max_per_host},
                  {"max_tunnels", limits->max_tunnels},
                  {"max_waiting", limits->max_waiting},
                  {"min_idle", limits->min_idle},
                  {"max_uses", limits->max_uses},
                  {"fail_after", limits->fail_after},
                  {"connect_retries", limits->connect_retries}};
    const struct {
        const char *name;
        usec_t value;
    } times[] = {{"timeout", limits->timeout},
                 {"connect_timeout", limits->connect_timeout},
                 {"keep_alive", limits->keep_alive},
                 {"max_age", limits->max_age}};
    json_t *object = json_object();
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        status_put(build, object, counts[i].name, json_integer(counts[i].value));
    for (size_t i = 0; i < ARRAY_LEN(times); i++)
        status_put(build, object, times[i].name, status_seconds(times[i].value));
    return object;
}

static json_t *last_error(struct build *build, const struct snapshot_host *row)
{
    if (row == NULL || row->last_error_at == 0)
        return json_null();
    json_t *object = json_object();
    status_put(build, object, "text", status_text(row->last_error.text));
    status_put(build, object, "function", status_text(row->last_error.function));
    status_put(build, object, "errno", json_integer(row->last_error.number));
    status_put(build, object, "at", status_moment(row->last_error_at));
    return object;
}

/* From the snapshot; the gauge exists even without one. */
static void put_row(struct build *build, json_t *object, const struct subject *subject)
{
    const struct snapshot_host *row =
        names_host_row(build->input->snapshot, build->subjects, subject);
    struct figure down = subjects_figure(build->subjects, subject, "upstream_down");
    bool is_down = row == NULL ? figure_total(&down) > 0 : row->down;
    status_put(build, object, "state",
               json_string(service_name(row == NULL ? SERVICE_OPEN : row->service)));
    status_put(build, object, "down", json_boolean(is_down));
    status_put(build, object, "down_since", status_moment(row == NULL ? 0 : row->down_since));
    status_put(build, object, "oldest_wait", status_seconds(row == NULL ? 0 : row->oldest_wait));
    status_put(build, object, "last_error", last_error(build, row));
    status_put(build, object, "last_connected",
               status_moment(row == NULL ? 0 : row->last_connected_at));
}

static json_t *host_row(struct build *build, const struct subject *subject)
{
    const struct config_pool *pool = names_find_pool(build->config, subject->labels.pool);
    json_t *object = json_object();
    status_put(build, object, "pool", status_text(subject->labels.pool));
    status_put(build, object, "upstream", status_text(subject->labels.upstream));
    if (subject->labels.tls != NULL)
        status_put(build, object, "tls", status_text(subject->labels.tls));
    put_row(build, object, subject);
    status_put(build, object, "limits", pool == NULL ? json_null() : limits_of(build, pool));
    status_put(build, object, "metrics", status_metrics(build, subject));
    status_put(build, object, "peaks", status_peaks(build, subject));
    status_put(build, object, "rates", status_rates(build, subject));
    status_put(build, object, "reuse", status_reuse(build, subject));
    status_put(build, object, "wait", status_quantiles(build, subject, "upstream_wait"));
    status_put(build, object, "connect", status_quantiles(build, subject, "upstream_connect"));
    return object;
}

json_t *status_hosts(struct build *build)
{
    json_t *array = json_array();
    for (size_t i = 0; i < build->subjects->count; i++) {
        if (build->subjects->list[i].kind == SUBJECT_HOST)
            status_append(build, array, host_row(build, &build->subjects->list[i]));
    }
    return array;
}

/* Over the pool's hosts. */
static uint64_t sum(const struct build *build, const struct config_pool *pool, const char *name,
                    const char *value)
{
    uint64_t total = 0;
    for (size_t i = 0; i < build->subjects->count; i++) {
        const struct subject *subject = &build->subjects->list[i];
        struct figure figure = subjects_figure(build->subjects, subject, name);
        if (subject->kind == SUBJECT_HOST &&
            names_find_pool(build->config, subject->labels.pool) == pool)
            total += value == NULL ? figure_total(&figure) : figure_of(&figure, value);
    }
    return total;
}

static json_t *pool_row(struct build *build, const struct config_pool *pool)
{
    static const char *const states[] = {"busy", "held", "connecting", "idle"};
    json_t *object = json_object(), *connections = json_object();
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        status_put(build, connections, states[i],
                   status_count(sum(build, pool, "upstream_connections", states[i])));
    status_put(build, object, "name", status_text(names_of_pool(pool)));
    status_put(build, object, "limits", limits_of(build, pool));
    status_put(build, object, "connections", connections);
    status_put(build, object, "waiting", status_count(sum(build, pool, "upstream_waiting", NULL)));
    return object;
}

json_t *status_pools(struct build *build)
{
    json_t *array = json_array();
    for (size_t i = 0; i < build->config->pool_count; i++)
        status_append(build, array, pool_row(build, &build->config->pools[i]));
    return array;
}

static json_t *tls_row(struct build *build, const struct subject *subject)
{
    json_t *object = json_object();
    status_put(build, object, "upstream", status_text(subject->labels.upstream));
    status_put(build, object, "tls", status_text(subject->labels.tls));
    status_put(build, object, "metrics", status_metrics(build, subject));
    status_put(build, object, "rates", status_rates(build, subject));
    return object;
}

json_t *status_tls(struct build *build)
{
    json_t *array = json_array();
    for (size_t i = 0; i < build->subjects->count; i++) {
        if (build->subjects->list[i].kind == SUBJECT_TLS)
            status_append(build, array, tls_row(build, &build->subjects->list[i]));
    }
    return array;
}

static json_t *session_row(struct build *build, const struct snapshot_session *session)
{
    json_t *object = json_object();
    status_put(build, object, "listener", status_text(session->listener));
    status_put(build, object, "client", status_text(session->client));
    status_put(build, object, "state", status_text(session->state));
    status_put(build, object, "age", status_seconds(session->age));
    status_put(build, object, "quiet", status_seconds(session->quiet));
    status_put(build, object, "waiting", status_seconds(session->waiting));
    status_put(build, object, "bytes_up", status_count(session->bytes_up));
    status_put(build, object, "bytes_down", status_count(session->bytes_down));
    status_put(build, object, "conn",
               session->conn == 0 ? json_null() : status_count(session->conn));
    return object;
}

json_t *status_sessions(struct build *build)
{
    const struct snapshot *snapshot = build->input->snapshot;
    json_t *array = json_array();
    if (snapshot == NULL || snapshot->sessions == NULL)
        return array;
    for (size_t i = 0; i < snapshot->session_count; i++)
        status_append(build, array, session_row(build, &snapshot->sessions[i]));
    return array;
}
