/* SPDX-License-Identifier: ISC */
/* Sessions in which nothing moves: which side is waited for. */
#include <inttypes.h>
#include <string.h>

#include "admin/problems_internal.h"

/* For how long nothing may move: while all connections are in use, and otherwise. Or half of
 * idle_timeout, if that is less. */
#define QUIET_HURTS (5 * USEC_PER_SEC)
#define QUIET       (60 * USEC_PER_SEC)

/* Of one listener. */
struct quiet {
    const struct config_listener *listener;
    uint64_t upstream; /* sessions that wait for more of a response */
    uint64_t client;   /* those that hold a connection, and wait for their client, or for either */
    usec_t upstream_longest, client_longest;
    const char *example; /* the client of the one that has been quiet for longest; NULL: none */
};

static bool is_opaque(const struct config_listener *listener)
{
    return endpoint_scheme(&listener->upstream)->protocol == PROTOCOL_OPAQUE;
}

/* A framed session that relays has a request under way, or is a tunnel. */
static void count_session(const struct snapshot_session *session, struct quiet *quiet)
{
    bool responds = !is_opaque(quiet->listener) && strcmp(session->state, "relaying") == 0 &&
                    !session->waits_for_client;
    uint64_t *count = responds ? &quiet->upstream : &quiet->client;
    usec_t *longest = responds ? &quiet->upstream_longest : &quiet->client_longest;
    ++*count;
    if (*longest < session->quiet) {
        *longest = session->quiet;
        if (!responds)
            quiet->example = session->client;
    }
}

/* Without a list of sessions only the longest time is known. */
static void count_row(const struct snapshot_listener *row, usec_t least, struct quiet *quiet)
{
    if (row == NULL || row->longest_quiet < least)
        return;
    if (is_opaque(quiet->listener)) {
        quiet->client = 1;
        quiet->client_longest = row->longest_quiet;
    } else {
        quiet->upstream = 1;
        quiet->upstream_longest = row->longest_quiet;
    }
}

static void count(const struct snapshot *snapshot, usec_t least, struct quiet *quiet)
{
    const char *name = quiet->listener->name;
    if (snapshot->sessions == NULL) {
        count_row(names_listener_row(snapshot, name), least, quiet);
        return;
    }
    for (size_t i = 0; i < snapshot->session_count; i++) {
        const struct snapshot_session *session = &snapshot->sessions[i];
        if (session->conn != 0 && session->quiet >= least && strcmp(session->listener, name) == 0)
            count_session(session, quiet);
    }
}

/* Tunnels may be quiet: that is their nature. */
static void find_silent(struct search *search, const struct host *host, const struct quiet *quiet)
{
    char span[SPAN_TEXT_MAX], limit[LOG_LIMIT_MAX];
    const struct place place = {quiet->listener->name, host->place.pool, host->place.upstream,
                                host->place.tls};
    if (quiet->upstream <= host->held)
        return;
    struct problem *problem = problem_new(
        search, host->is_full ? SEVERITY_CRITICAL : SEVERITY_WARNING, "upstream_slow", &place);
    uint64_t silent = quiet->upstream - host->held;
    problem_add(problem,
                "%s does not respond: %s%" PRIu64 " request%s of listener %s %s without a response,"
                " for up to %s",
                host->name, search->input->snapshot->sessions == NULL ? "at least " : "", silent,
                plural(silent), quiet->listener->name, silent == 1 ? "is" : "are",
                span_text(span, quiet->upstream_longest));
    if (host->is_full)
        problem_add(problem, ", and all %u connections are busy (max_per_host)",
                    host->pool->limits.max_per_host);
    if (quiet->listener->response_timeout > 0)
        problem_add(problem, "; response_timeout=%s ends that",
                    log_limit(limit, quiet->listener->response_timeout));
    else
        problem_add(problem, "; nothing ends that (response_timeout=0)");
}

/* Clients may keep a connection as long as they like, unless all are taken. */
static void find_stuck(struct search *search, const struct host *host, const struct quiet *quiet)
{
    char span[SPAN_TEXT_MAX], limit[LOG_LIMIT_MAX];
    const struct config_listener *listener = quiet->listener;
    const struct place place = {listener->name, host->place.pool, host->place.upstream,
                                host->place.tls};
    if (quiet->client == 0 || !host->is_full)
        return;
    struct problem *problem = problem_new(
        search, host->waiting > 0 ? SEVERITY_CRITICAL : SEVERITY_WARNING, "clients_stuck", &place);
    problem_add(problem,
                "%s%" PRIu64 " client%s of listener %s keep%s a connection to %s in which nothing"
                " has moved for up to %s",
                search->input->snapshot->sessions == NULL ? "At least " : "", quiet->client,
                plural(quiet->client), listener->name, quiet->client == 1 ? "s" : "", host->name,
                span_text(span, quiet->client_longest));
    if (quiet->example != NULL)
        problem_add(problem, " (%s)", quiet->example);
    problem_add(problem, ": all %u are taken (max_per_host), and %" PRIu64 " other%s for one",
                host->pool->limits.max_per_host, host->waiting,
                host->waiting == 1 ? " waits" : "s wait");
    if (listener->idle_timeout > 0)
        problem_add(problem, "; idle_timeout=%s ends them",
                    log_limit(limit, listener->idle_timeout));
    else
        problem_add(problem, "; nothing ends them (idle_timeout=0)");
}

void problems_of_sessions(struct search *search, const struct host *host)
{
    const struct snapshot *snapshot = search->input->snapshot;
    for (size_t i = 0; snapshot != NULL && i < search->config->listener_count; i++) {
        const struct config_listener *listener = &search->config->listeners[i];
        struct quiet quiet = {.listener = listener};
        usec_t least = host->is_full ? QUIET_HURTS : QUIET, half = listener->idle_timeout / 2;
        if (search->served[i].host != host->subject)
            continue;
        count(snapshot, half > 0 && half < least ? half : least, &quiet);
        find_silent(search, host, &quiet);
        find_stuck(search, host, &quiet);
    }
}
