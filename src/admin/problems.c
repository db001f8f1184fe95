/* SPDX-License-Identifier: ISC */
/* The list of problems, and those that are not of a single host. */
#include "admin/problems.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/problems_internal.h"

/* A loop that is later than this affects every client. */
#define LAG_HIGH (250 * USEC_PER_MSEC)

#define QUIET_LONG (5 * USEC_PER_SEC)

static const struct place everywhere;

const char *severity_name(enum severity severity)
{
    static const char *const names[SEVERITIES] = {"critical", "warning", "notice"};
    return names[severity];
}

struct problem *problem_new(struct search *search, enum severity severity, const char *code,
                            const struct place *place)
{
    struct problems *found = search->found;
    if (found->count == search->room) {
        size_t room = search->room == 0 ? 8 : 2 * search->room;
        struct problem *list = reallocarray(found->list, room, sizeof(*list));
        if (list == NULL) {
            search->failed = true;
            return NULL;
        }
        found->list = list;
        search->room = room;
    }
    struct problem *problem = &found->list[found->count++];
    *problem = (struct problem){.severity = severity,
                                .code = code,
                                .listener = place->listener,
                                .pool = place->pool,
                                .upstream = place->upstream,
                                .tls = place->tls};
    return problem;
}

void problem_add(struct problem *problem, const char *format, ...)
{
    va_list args;
    if (problem == NULL)
        return;
    size_t length = strlen(problem->text);
    va_start(args, format);
    vsnprintf(problem->text + length, sizeof(problem->text) - length, format, args);
    va_end(args);
}

uint64_t number_of(const struct search *search, const struct subject *subject, const char *name,
                   const char *value)
{
    struct figure figure = subjects_figure(search->subjects, subject, name);
    return value == NULL ? figure_total(&figure) : figure_of(&figure, value);
}

uint64_t lately(const struct search *search, const struct subject *subject, const char *name,
                const char *value)
{
    struct figure figure = subjects_figure(search->subjects, subject, name);
    int index = value == NULL ? -1 : figure_index(&figure, value);
    if (value != NULL && index < 0)
        return 0;
    return history_count(search->input->history, &figure, index, search->input->now);
}

bool quantile(const struct search *search, const struct subject *subject, const char *name,
              double share, usec_t *time)
{
    struct figure figure = subjects_figure(search->subjects, subject, name);
    return history_quantile(search->input->history, &figure, share, search->input->now, time);
}

/* The process. */

static const struct subject *the_process(const struct search *search)
{
    return subjects_find(search->subjects, &(const struct metric_labels){.listener = NULL});
}

static void find_loop(struct search *search)
{
    const struct status_input *input = search->input;
    char span[SPAN_TEXT_MAX];
    usec_t lag = (usec_t)number_of(search, the_process(search), "loop_lag", NULL);
    if (!status_loop_answers(input)) {
        problem_add(problem_new(search, SEVERITY_CRITICAL, "loop_stalled", &everywhere),
                    "The loop that carries clients has not answered for %s: no client is served"
                    " meanwhile, and what is said of upstreams and sessions is from before that",
                    span_text(span, input->unanswered));
    } else if (lag >= LAG_HIGH) {
        problem_add(problem_new(search, SEVERITY_WARNING, "loop_lag", &everywhere),
                    "The loop that carries clients is %s late, and so is all that it does: the"
                    " processor is overloaded, or memory is swapped",
                    span_text(span, lag));
    }
}

/* Of a listener, NULL: of all. *example: one of them. */
static uint64_t count_quiet(const struct snapshot *snapshot, const char *listener,
                            const char **example)
{
    uint64_t quiet = 0;
    for (size_t i = 0; i < snapshot->session_count; i++) {
        const struct snapshot_session *session = &snapshot->sessions[i];
        if (session->quiet < QUIET_LONG ||
            (listener != NULL && strcmp(session->listener, listener) != 0))
            continue;
        *example = session->client;
        quiet++;
    }
    return quiet;
}

/* It fills up with idle clients: how many there are, and where most of them are. */
static void add_quiet(const struct search *search, struct problem *problem)
{
    const struct snapshot *snapshot = search->input->snapshot;
    const char *listener = NULL, *client = NULL;
    uint64_t most = 0;
    if (snapshot == NULL || snapshot->sessions == NULL)
        return;
    for (size_t i = 0; i < search->config->listener_count; i++) {
        const char *name = search->config->listeners[i].name, *example = NULL;
        uint64_t quiet = count_quiet(snapshot, name, &example);
        if (quiet <= most)
            continue;
        most = quiet;
        listener = name;
        client = example;
    }
    if (most == 0)
        return;
    uint64_t quiet = count_quiet(snapshot, NULL, &(const char *){NULL});
    problem_add(problem, "; %s%" PRIu64 " of these clients %s moved nothing for 5 s or longer",
                snapshot->sessions_left_out > 0 ? "at least " : "", quiet,
                quiet == 1 ? "has" : "have");
    problem_add(problem, ", %" PRIu64 " of them in listener %s (such as %s)", most, listener,
                client);
}

static void find_clients(struct search *search)
{
    const struct subject *process = the_process(search);
    uint64_t clients = number_of(search, process, "clients", NULL);
    uint64_t limit = number_of(search, process, "max_clients", NULL);
    uint64_t reached = lately(search, process, "max_clients_reached", NULL);
    char lowered[96] = "";
    if (limit == 0)
        limit = search->config->max_clients;
    if (limit < search->config->max_clients)
        snprintf(lowered, sizeof(lowered), " (lowered to %" PRIu64 " by the limit of open files)",
                 limit);
    if (clients >= limit) {
        struct problem *problem =
            problem_new(search, SEVERITY_CRITICAL, "limit_reached", &everywhere);
        problem_add(problem,
                    "%" PRIu64 " clients are connected, as many as max_clients=%u allows%s: others"
                    " wait to be accepted, in all listeners",
                    clients, search->config->max_clients, lowered);
        add_quiet(search, problem);
    } else if (reached > 0) {
        problem_add(problem_new(search, SEVERITY_WARNING, "limit_reached", &everywhere),
                    "max_clients=%u%s was reached %" PRIu64 " time%s in the last minute: clients"
                    " had to wait to be accepted",
                    search->config->max_clients, lowered, reached, plural(reached));
    }
}

static void find_descriptors(struct search *search)
{
    uint64_t pauses = lately(search, the_process(search), "accept_pauses", NULL);
    if (pauses > 0)
        problem_add(problem_new(search, SEVERITY_CRITICAL, "descriptors", &everywhere),
                    "Accepting clients paused %" PRIu64 " time%s in the last minute, for no"
                    " descriptor was left: raise LimitNOFILE of the unit (ulimit -n), or lower"
                    " max_clients or max_open",
                    pauses, plural(pauses));
}

/* Hosts to which no connection can be opened for want of an address; *example: one of them. */
static unsigned count_unresolved(const struct search *search, const char **example)
{
    const struct snapshot *snapshot = search->input->snapshot;
    unsigned count = 0;
    for (size_t i = 0; snapshot != NULL && i < snapshot->host_count; i++) {
        const struct snapshot_host *row = &snapshot->hosts[i];
        if (row->last_error_at == 0 || row->last_error_at < row->last_connected_at ||
            search->input->unix_now - row->last_error_at > PROBLEM_SHOWN ||
            strcmp(reason_code(&row->last_error), "dns_failing") != 0)
            continue;
        *example = row->upstream;
        count++;
    }
    return count;
}

/* While a name's last answer serves, no dial fails. Failing lookups alone mean nothing: it may be
 * just one family of addresses. */
static void find_dns(struct search *search)
{
    const struct subject *process = the_process(search);
    uint64_t names = number_of(search, process, "dns_names_failing", NULL);
    uint64_t queries = lately(search, process, "dns_queries", NULL);
    const char *example = NULL;
    unsigned unresolved = count_unresolved(search, &example);
    if (names == 0 && unresolved == 0)
        return;
    struct problem *problem = problem_new(
        search, unresolved > 0 ? SEVERITY_CRITICAL : SEVERITY_WARNING, "dns_failing", &everywhere);
    problem_add(problem, "DNS: ");
    if (unresolved == 1)
        problem_add(problem, "the name of %s is not resolved", example);
    else if (unresolved > 1)
        problem_add(problem, "the names of %u upstreams are not resolved, such as that of %s",
                    unresolved, example);
    if (unresolved > 0 && names > 0)
        problem_add(problem, "; ");
    if (names > 0)
        problem_add(problem,
                    "lookups of %" PRIu64 " name%s fail, and what they resolved to last serves"
                    " for up to 1 h",
                    names, plural(names));
    if (queries > 0)
        problem_add(problem, "; %" PRIu64 " of %" PRIu64 " lookups of the last minute failed",
                    lately(search, process, "dns_failures", NULL), queries);
    problem_add(problem, ". The name servers are %s%s",
                search->config->resolver[0] == '\0' ? "those of /etc/resolv.conf" : "resolver=",
                search->config->resolver);
}

/* Why it cannot be written. */
static void add_error(struct problem *problem, int error)
{
    if (error == ENOSPC || error == EDQUOT)
        problem_add(problem, "its disk is full: ");
    if (error != 0)
        problem_add(problem, "%s", strerror(error));
    else
        problem_add(problem, "its disk is full, or it went away");
}

static void find_log(struct search *search, unsigned index, const char *name, const char *target)
{
    static const char *const values[] = {"messages", "access"};
    const char *which = values[index];
    const struct subject *process = the_process(search);
    uint64_t recent = lately(search, process, "log_lines_lost", which);
    uint64_t all = number_of(search, process, "log_lines_lost", which);
    bool failing = number_of(search, process, "log_failing", which) > 0;
    if (!failing && all == 0)
        return;
    struct problem *problem =
        failing ? problem_new(search, SEVERITY_CRITICAL, "log_failing", &everywhere)
                : problem_new(search, recent > 0 ? SEVERITY_WARNING : SEVERITY_NOTICE,
                              "log_lines_lost", &everywhere);
    if (failing) {
        problem_add(problem, "The %s (%s) cannot be written: ", name, target);
        add_error(problem, search->input->log_errors[index]);
        problem_add(problem, ". Lines are kept until 1 MiB is full, and then they are lost");
    } else if (recent > 0) {
        problem_add(problem, "Lines of the %s (%s) are lost: its disk or its reader is too slow",
                    name, target);
    } else {
        problem_add(problem, "Lines of the %s (%s) were lost, but none in the last minute", name,
                    target);
    }
    problem_add(problem, "; %" PRIu64 " lost in the last minute, %" PRIu64 " since the start",
                recent, all);
}

static void find_reload(struct search *search)
{
    const struct reload_stats *stats = search->input->ops->reload_stats;
    char when[MOMENT_TEXT_MAX], since[MOMENT_TEXT_MAX];
    if (stats == NULL || stats->failed_at == 0)
        return;
    struct problem *problem = problem_new(search, SEVERITY_WARNING, "reload_failed", &everywhere);
    problem_add(problem, "The configuration could not be reloaded at %s",
                moment_text(when, stats->failed_at, search->input->unix_now));
    if (stats->mistake[0] != '\0')
        problem_add(problem, ": %s", stats->mistake);
    if (stats->mistake_count > 1)
        problem_add(problem, " (and %u more mistake%s: kaproxyctl reload prints all)",
                    stats->mistake_count - 1, plural(stats->mistake_count - 1));
    problem_add(
        problem, ". What was read at %s stays in effect",
        moment_text(since, (int64_t)gauge_get(&stats->last_success_at), search->input->unix_now));
}

static void find_life(struct search *search)
{
    const struct admin_ops *ops = search->input->ops;
    uint64_t clients = number_of(search, the_process(search), "clients", NULL);
    char limit[LOG_LIMIT_MAX];
    enum admin_life life = ops->life(ops->arg);
    if (life == ADMIN_STOPPING)
        problem_add(problem_new(search, SEVERITY_NOTICE, "stopping", &everywhere),
                    "kaproxy is stopping: no clients are accepted, and %" PRIu64
                    " client%s may finish"
                    " within shutdown_timeout=%s",
                    clients, plural(clients), log_limit(limit, search->config->shutdown_timeout));
    else if (life == ADMIN_DRAINING)
        problem_add(
            problem_new(search, SEVERITY_NOTICE, "draining", &everywhere),
            "All listeners are draining: no clients are accepted until they are resumed; %" PRIu64
            " client%s left",
            clients, clients == 1 ? " is" : "s are");
}

/* A single listener; if all drain, that was reported. */
static void find_listener(struct search *search, size_t index)
{
    const struct admin_ops *ops = search->input->ops;
    const struct snapshot_listener *row =
        names_listener_row(search->input->snapshot, search->config->listeners[index].name);
    const struct place place = {.listener = search->config->listeners[index].name};
    if (row == NULL || row->service == SERVICE_OPEN || ops->life(ops->arg) != ADMIN_SERVING)
        return;
    if (row->service == SERVICE_PAUSED)
        problem_add(problem_new(search, SEVERITY_NOTICE, "paused", &place),
                    "Listener %s is paused: its clients wait, and time out, until it is resumed",
                    row->name);
    else
        problem_add(problem_new(search, SEVERITY_NOTICE, "draining", &place),
                    "Listener %s is draining: it accepts no clients until it is resumed",
                    row->name);
}

/* All problems. */

/* Two upstreams may differ by their TLS settings alone, which are identified by a listener's
 * name. */
static const char *name_host(const struct metric_labels *labels, char name[NAME_TEXT_MAX])
{
    if (labels->tls == NULL)
        return labels->upstream;
    snprintf(name, NAME_TEXT_MAX, "%s (TLS as in listener %s)", labels->upstream, labels->tls);
    return name;
}

static void find_host(struct search *search, const struct subject *subject)
{
    const struct metric_labels *labels = &subject->labels;
    char name[NAME_TEXT_MAX];
    struct host host = {
        .subject = subject,
        .pool = names_find_pool(search->config, labels->pool),
        .row = names_host_row(search->input->snapshot, search->subjects, subject),
        .place = {.pool = labels->pool, .upstream = labels->upstream, .tls = labels->tls},
        .name = name_host(labels, name),
        .busy = number_of(search, subject, "upstream_connections", "busy"),
        .held = number_of(search, subject, "upstream_connections", "held"),
        .connecting = number_of(search, subject, "upstream_connections", "connecting"),
        .idle = number_of(search, subject, "upstream_connections", "idle"),
        .waiting = number_of(search, subject, "upstream_waiting", NULL),
        .queued = number_of(search, subject, "upstream_queued", NULL),
    };
    if (host.pool == NULL)
        return;
    host.is_full = host.busy >= host.pool->limits.max_per_host;
    /* Causes come before effects. */
    problems_of_dials(search, &host);
    problems_of_sessions(search, &host);
    problems_of_speed(search, &host);
    problems_of_waits(search, &host);
    problems_of_service(search, &host);
}

/* Those of the same severity stay in their order. False when out of memory. */
static bool sort(struct problems *problems)
{
    struct problem *sorted = calloc(problems->count + 1, sizeof(*sorted));
    size_t done = 0;
    if (sorted == NULL)
        return false;
    for (enum severity severity = 0; severity < SEVERITIES; severity++) {
        for (size_t i = 0; i < problems->count; i++) {
            if (problems->list[i].severity == severity)
                sorted[done++] = problems->list[i];
        }
    }
    free(problems->list);
    problems->list = sorted;
    return true;
}

/* False when out of memory. */
static bool look_up(struct search *search)
{
    const struct config *config = search->config;
    search->served = calloc(config->listener_count + 1, sizeof(*search->served));
    for (size_t i = 0; search->served != NULL && i < config->listener_count; i++) {
        const struct metric_labels labels = {.listener = config->listeners[i].name};
        search->served[i] = (struct served){
            .listener = subjects_find(search->subjects, &labels),
            .host = names_find_host(search->subjects, config, &config->listeners[i])};
    }
    return search->served != NULL;
}

static void find_all(struct search *search)
{
    find_loop(search);
    find_clients(search);
    find_descriptors(search);
    find_dns(search);
    find_log(search, 0, "log", search->config->log);
    find_log(search, 1, "access log", search->config->access_log);
    find_reload(search);
    find_life(search);
    for (size_t i = 0; i < search->subjects->count; i++) {
        if (search->subjects->list[i].kind == SUBJECT_HOST)
            find_host(search, &search->subjects->list[i]);
    }
    for (size_t i = 0; i < search->config->listener_count; i++)
        find_listener(search, i);
}

int problems_find(struct problems *problems, const struct status_input *input)
{
    *problems = (struct problems){.list = NULL};
    struct search search = {.input = input,
                            .config = input->view->config,
                            .subjects = history_subjects(input->history),
                            .found = problems};
    if (look_up(&search))
        find_all(&search);
    else
        search.failed = true;
    free(search.served);
    if (!search.failed && sort(problems))
        return 0;
    problems_clear(problems);
    return -1;
}

void problems_clear(struct problems *problems)
{
    free(problems->list);
    *problems = (struct problems){.list = NULL};
}
