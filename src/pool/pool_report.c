/* SPDX-License-Identifier: ISC */
/* What is logged of a host: clients have to wait, it cannot be reached. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "pool/pool_internal.h"

/* A period ends when no client has waited for this long. If the next one begins soon afterwards, it
 * takes longer: clients that arrive in bursts cause a few lines per hour, not two for each
 * burst. */
#define QUIET      (10 * USEC_PER_SEC)
#define QUIET_LONG (60 * USEC_PER_SEC)

/* "max_per_host=4", or several. */
#define LIMITS_TEXT_MAX ((LIMIT_COUNT + 1) * 32)

/* In addition to the limits: what held clients up is that the host is paused. */
#define HELD_UP_PAUSED (1u << LIMIT_COUNT)

static const char *format_limits(const struct pool *pool, unsigned limits,
                                 char text[LIMITS_TEXT_MAX])
{
    size_t n = 0;
    for (enum pool_limit limit = 0; limit < LIMIT_COUNT; limit++) {
        if ((limits & 1u << limit) != 0)
            n += (size_t)snprintf(text + n, LIMITS_TEXT_MAX - n, "%s%s=%u", n > 0 ? " " : "",
                                  pool_limit_name(limit),
                                  pool_limit_value(&pool->core.limits, limit));
    }
    if ((limits & HELD_UP_PAUSED) != 0)
        snprintf(text + n, LIMITS_TEXT_MAX - n, "%sservice=paused", n > 0 ? " " : "");
    return text;
}

static void report_wait(const struct pool_host *host)
{
    char text[ENDPOINT_TEXT_MAX], limits[LIMITS_TEXT_MAX];
    log_warning("clients have to wait: pool=%s upstream=%s %s waiting=%u", host->pool->name,
                endpoint_format(&host->core.endpoint, text),
                format_limits(host->pool, host->held_up.limits, limits), host->held_up.waiting);
}

static void report_no_wait(const struct pool_host *host)
{
    const struct held_up *held_up = &host->held_up;
    usec_t last = held_up->waiting > 0 ? loop_now(host->pool->loop) : held_up->last;
    char text[ENDPOINT_TEXT_MAX], limits[LIMITS_TEXT_MAX];
    log_notice("clients no longer wait: pool=%s upstream=%s %s lasted_s=%.1f waited=%" PRIu64
               " most_waiting=%u longest_wait_ms=%.1f",
               host->pool->name, endpoint_format(&host->core.endpoint, text),
               format_limits(host->pool, held_up->limits, limits),
               (double)(last - held_up->began) / USEC_PER_SEC, held_up->waited, held_up->most,
               (double)held_up->longest / USEC_PER_MSEC);
}

static void end_wait(struct pool_host *host)
{
    report_no_wait(host);
    loop_clear_timer(host->pool->loop, &host->held_up.timer);
    host->held_up.limits = 0;
    host->held_up.ended = loop_now(host->pool->loop);
}

/* Wakes once per quiet time, not with every waiter. */
static void on_quiet(struct timer *timer)
{
    struct pool_host *host = container_of(timer, struct pool_host, held_up.timer);
    struct held_up *held_up = &host->held_up;
    usec_t now = loop_now(host->pool->loop);
    usec_t due = (held_up->waiting > 0 ? now : held_up->last) + held_up->quiet;
    if (due <= now || loop_set_timer(host->pool->loop, timer, due) < 0)
        end_wait(host);
}

/* False if memory is short: the next waiter tries again. */
static bool begin_wait(struct pool_host *host)
{
    struct held_up *held_up = &host->held_up;
    usec_t now = loop_now(host->pool->loop), ended = held_up->ended;
    usec_t quiet = ended != 0 && now - ended < QUIET_LONG ? QUIET_LONG : QUIET;
    *held_up = (struct held_up){.waiting = held_up->waiting,
                                .began = now,
                                .quiet = quiet,
                                .ended = ended,
                                .timer.fire = on_quiet};
    return loop_set_timer(host->pool->loop, &held_up->timer, now + quiet) == 0;
}

void pool_report_wait(struct allocation *allocation)
{
    struct pool_host *host = allocation->host;
    struct held_up *held_up = &host->held_up;
    bool first = held_up->limits == 0;
    if (first && !begin_wait(host))
        return;
    allocation->held_up_at = loop_now(host->pool->loop);
    held_up->limits |=
        host->core.service == SERVICE_PAUSED ? HELD_UP_PAUSED : 1u << pool_core_limit(&host->core);
    held_up->waited++;
    held_up->waiting++;
    if (held_up->most < held_up->waiting)
        held_up->most = held_up->waiting;
    if (first)
        report_wait(host);
}

void pool_report_wait_over(struct allocation *allocation)
{
    struct pool_host *host = allocation->host;
    struct held_up *held_up = &host->held_up;
    usec_t now = loop_now(host->pool->loop), wait = now - allocation->held_up_at;
    allocation->held_up_at = 0;
    held_up->waiting--;
    held_up->last = now;
    if (held_up->longest < wait)
        held_up->longest = wait;
}

/* Failing dials. Failures are logged where they are noticed; here they are counted, in order to say
 * when the upstream can be reached again: at once, but only once per span if that keeps changing.
 * That it is down is logged once before each of these lines, with the failure of its dials; from
 * then on neither its dials nor the refused clients have lines of their own. */

static void report_reachable(struct pool_host *host)
{
    struct outage *outage = &host->outage;
    char text[ENDPOINT_TEXT_MAX], refused[48] = "";
    if (outage->down)
        snprintf(refused, sizeof(refused), " refused=%" PRIu64, outage->refused);
    log_notice("reachable again: pool=%s upstream=%s failed_for_s=%.1f failures=%" PRIu64 "%s",
               host->pool->name, endpoint_format(&host->core.endpoint, text),
               (double)(outage->ended - outage->began) / USEC_PER_SEC, outage->failures, refused);
    loop_clear_timer(host->pool->loop, &outage->timer);
    outage->failures = 0;
    outage->down = false;
    outage->refused = 0;
    outage->ended = 0;
    outage->reported = loop_now(host->pool->loop);
    outage->recoveries++;
}

static void on_reachable(struct timer *timer)
{
    report_reachable(container_of(timer, struct pool_host, outage.timer));
}

void pool_report_failure(struct pool_host *host, const struct failure *failure)
{
    struct outage *outage = &host->outage;
    outage->last = *failure;
    outage->last_at = unix_time();
    if (outage->failures++ == 0)
        outage->began = loop_now(host->pool->loop);
    outage->ended = 0;
    loop_clear_timer(host->pool->loop, &outage->timer);
}

/* A host that goes down again before it was logged as reachable is still down, as far as the log is
 * concerned. */
void pool_report_down(struct pool_host *host)
{
    struct outage *outage = &host->outage;
    const struct failure *last = &outage->last;
    char text[ENDPOINT_TEXT_MAX], error[2 * sizeof(last->text)];
    size_t length = log_timestamp(outage->since);
    memcpy(outage->since + length - strlen(".123Z"), "Z", sizeof("Z"));
    outage->down_since = unix_time();
    if (outage->down)
        return;
    outage->down = true;
    log_quote(error, sizeof(error), last->text, strlen(last->text));
    log_warning("upstream is down: pool=%s upstream=%s failures=%u function=%s errno=%d error=%s",
                host->pool->name, endpoint_format(&host->core.endpoint, text),
                host->pool->core.limits.fail_after, last->function, last->number, error);
}

void pool_report_refused(struct pool_host *host, struct failure *failure)
{
    struct outage *outage = &host->outage;
    usec_t pause = pool_core_next_try(&host->core) - loop_now(host->pool->loop);
    outage->refused++;
    *failure = (struct failure){.function = "allocate", .number = EHOSTDOWN, .retry_after = 1};
    if (pause > USEC_PER_SEC)
        failure->retry_after = (unsigned)((pause + USEC_PER_SEC - 1) / USEC_PER_SEC);
    snprintf(failure->text, sizeof(failure->text), "the upstream has been down since %s (%s: %.*s)",
             outage->since, outage->last.function, (int)sizeof(failure->text) * 5 / 8,
             outage->last.text);
}

void pool_report_up(struct pool_host *host)
{
    struct outage *outage = &host->outage;
    usec_t now = loop_now(host->pool->loop), due = outage->reported + REPEATS_SPAN;
    if (outage->failures == 0 || outage->ended != 0)
        return;
    outage->ended = now;
    if (outage->reported == 0 || due <= now ||
        loop_set_timer(host->pool->loop, &outage->timer, due) < 0)
        report_reachable(host);
}

void pool_report_connected(struct pool_host *host)
{
    host->outage.connected_at = unix_time();
    pool_report_up(host);
}

void pool_report_not_preconnected(struct pool_host *host, const struct failure *failure)
{
    const struct repeat_key key = {.place = "no spare connection",
                                   .function = failure->function,
                                   .number = failure->number,
                                   .round = host->outage.recoveries,
                                   .text = failure->text};
    char head[256], upstream[ENDPOINT_TEXT_MAX], error[2 * sizeof(failure->text)];
    char rest[sizeof(upstream) + sizeof(error) + 128];
    if (!repeats_admit(&host->repeats, LOG_LEVEL_WARNING, &key))
        return;
    log_quote(error, sizeof(error), failure->text, strlen(failure->text));
    snprintf(head, sizeof(head), "%s: pool=%s", key.place, host->pool->name);
    snprintf(rest, sizeof(rest), "upstream=%s function=%s errno=%d error=%s",
             endpoint_format(&host->core.endpoint, upstream), failure->function, failure->number,
             error);
    repeats_log(&host->repeats, LOG_LEVEL_WARNING, &key, head, NULL, rest);
}

/* Everything */

void pool_report_begin(struct pool_host *host)
{
    repeats_init(&host->repeats, host->pool->loop);
    host->outage.timer.fire = on_reachable;
}

void pool_report_end(struct pool_host *host)
{
    if (host->held_up.limits != 0)
        end_wait(host);
    if (host->outage.ended != 0)
        report_reachable(host);
    repeats_clear(&host->repeats);
}

const char *pool_report_check(const struct pool_host *host)
{
    unsigned held_up = 0;
    struct core_request *waiter;
    TAILQ_FOREACH (waiter, &host->core.waiters, link)
        held_up += container_of(waiter, struct allocation, request)->held_up_at != 0;
    return held_up == host->held_up.waiting ? NULL : "waiters that a limit holds up are miscounted";
}
