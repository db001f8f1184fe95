/* SPDX-License-Identifier: ISC */
/* Connections to a host cannot be opened. */
#include <inttypes.h>

#include "admin/problems_internal.h"

/* For a minute it is current. */
#define FRESH (60 * USEC_PER_SEC)

static void add_refused(struct search *search, const struct host *host, struct problem *problem)
{
    uint64_t refused = lately(search, host->subject, "upstream_refused", NULL);
    uint64_t failures = lately(search, host->subject, "upstream_failures", NULL);
    if (failures < refused)
        failures = refused;
    if (failures > 0)
        problem_add(problem, "; %" PRIu64 " client%s got an error for it in the last minute",
                    failures, plural(failures));
}

static void find_down(struct search *search, const struct host *host)
{
    char reason[REASON_TEXT_MAX], moment[MOMENT_TEXT_MAX];
    struct problem *problem = problem_new(search, SEVERITY_CRITICAL, "upstream_down", &host->place);
    problem_add(problem, "%s is down", host->name);
    if (host->row != NULL && host->row->down)
        problem_add(problem, " since %s: %s",
                    moment_text(moment, host->row->down_since, search->input->unix_now),
                    reason_text(reason, &host->row->last_error));
    add_refused(search, host, problem);
    problem_add(problem,
                ". After %u failure%s (fail_after) clients are refused at once; kaproxy tries one"
                " connection at a time, and serves clients again once that succeeds",
                host->pool->limits.fail_after, plural(host->pool->limits.fail_after));
}

/* None could be opened since the last failure. */
static void find_failing(struct search *search, const struct host *host)
{
    char reason[REASON_TEXT_MAX], moment[MOMENT_TEXT_MAX], last[MOMENT_TEXT_MAX];
    int64_t now = search->input->unix_now;
    bool fresh = now - host->row->last_error_at <= FRESH;
    uint64_t open = host->busy + host->held + host->idle;
    struct problem *problem =
        problem_new(search, fresh && open == 0 ? SEVERITY_CRITICAL : SEVERITY_WARNING,
                    reason_code(&host->row->last_error), &host->place);
    problem_add(problem, "No connection to %s can be opened: %s", host->name,
                reason_text(reason, &host->row->last_error));
    add_refused(search, host, problem);
    problem_add(problem, ". Last failure: %s; last success: %s",
                moment_text(moment, host->row->last_error_at, now),
                host->row->last_connected_at == 0
                    ? "none"
                    : moment_text(last, host->row->last_connected_at, now));
    if (open > 0)
        problem_add(problem, ". %" PRIu64 " older connection%s still in use", open,
                    open == 1 ? " is" : "s are");
}

/* Some can be opened, and some cannot. */
static void find_some_failing(struct search *search, const struct host *host)
{
    char reason[REASON_TEXT_MAX];
    uint64_t failed = lately(search, host->subject, "upstream_discards", "dial_failed");
    uint64_t dials = lately(search, host->subject, "upstream_dials", NULL);
    if (failed == 0)
        return;
    struct problem *problem =
        problem_new(search, SEVERITY_WARNING, reason_code(&host->row->last_error), &host->place);
    problem_add(problem,
                "%" PRIu64 " of %" PRIu64 " attempts to connect to %s failed in the last minute;"
                " the last failure: %s",
                failed, dials > failed ? dials : failed, host->name,
                reason_text(reason, &host->row->last_error));
    add_refused(search, host, problem);
}

void problems_of_dials(struct search *search, const struct host *host)
{
    const struct snapshot_host *row = host->row;
    if ((row != NULL && row->down) || number_of(search, host->subject, "upstream_down", NULL) > 0) {
        find_down(search, host);
        return;
    }
    if (row == NULL || row->last_error_at == 0)
        return;
    if (row->last_error_at < row->last_connected_at)
        find_some_failing(search, host);
    else if (search->input->unix_now - row->last_error_at <= PROBLEM_SHOWN)
        find_failing(search, host);
}
