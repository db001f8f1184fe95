/* What the sessions of one listener share. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "session/protocol.h"
#include "tls/tls.h"

/* Room for the counters of any protocol. */
#define PROTOCOL_STATS_MAX 512

int listener_context_init(struct listener_context *context)
{
    const struct endpoint *upstream = &context->config->upstream;
    struct pool_host *host = pool_retain(context->pool, upstream, context->tls);
    if (host == NULL)
        return -1;
    if (context->protocol->listener_init != NULL && context->protocol->listener_init(context) < 0)
        return -1;
    context->pool_host = host;
    context->unacked_timeout = pool_unacked_timeout(context->pool);
    endpoint_format(upstream, context->upstream);
    repeats_init(&context->repeats, context->worker.loop);
    TAILQ_INIT(&context->sessions);
    TAILQ_INIT(&context->free_sessions);
    return 0;
}

void listener_context_clear(struct listener_context *context)
{
    struct session *session;
    if (context->pool_host == NULL) /* not initialized */
        return;
    while ((session = TAILQ_FIRST(&context->free_sessions)) != NULL) {
        TAILQ_REMOVE(&context->free_sessions, session, link);
        free(session);
    }
    repeats_clear(&context->repeats);
    if (context->protocol->listener_free != NULL)
        context->protocol->listener_free(context);
    context->pool_host = NULL;
}

static size_t put_ends(const struct listener_stats *stats, char *text, size_t size)
{
    size_t n = 0;
    for (int end = 0; end < SESSION_END_COUNT; end++)
        n += (size_t)snprintf(text + n, size - n, " %s=%" PRIu64,
                              session_end_name((enum session_end)end), stats->ends[end]);
    return n;
}

void listener_context_log_stats(const struct listener_context *context)
{
    const struct listener_stats *stats = &context->stats;
    char text[SESSION_END_COUNT * 48 + PROTOCOL_STATS_MAX + 160];
    size_t n = put_ends(stats, text, sizeof(text));
    if (context->protocol->stats != NULL)
        n += context->protocol->stats(context, text + n, PROTOCOL_STATS_MAX);
    if (context->tls != NULL) {
        struct tls_stats tls;
        tls_client_get_stats(context->tls, &tls);
        n += (size_t)snprintf(text + n, sizeof(text) - n,
                              " tls_full=%" PRIu64 " tls_resumed=%" PRIu64 " tls_failed=%" PRIu64,
                              tls.full, tls.resumed, tls.failed);
    }
    log_notice("stats listener=%s accepted=%" PRIu64 " bytes_up=%" PRIu64 " bytes_down=%" PRIu64
               "%s",
               context->config->name, stats->accepted, stats->bytes_up, stats->bytes_down, text);
}

void listener_context_drain(struct listener_context *context)
{
    struct session *session, *next;
    context->draining = true;
    for (session = TAILQ_FIRST(&context->sessions); session != NULL; session = next) {
        next = TAILQ_NEXT(session, link);
        if (session->protocol->drain != NULL)
            session->protocol->drain(session);
    }
}

void listener_context_abort(struct listener_context *context)
{
    struct session *session;
    while ((session = TAILQ_FIRST(&context->sessions)) != NULL)
        session_finish(session, SESSION_SHUTDOWN);
}
