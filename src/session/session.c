#include "session/session.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "net/delivery.h"
#include "session/session_internal.h"
#include "tls/tls.h"

/* Sessions that a service keeps for the next clients: one is taken for every connection. */
#define SPARES_MAX SPARES(64)

const char *session_end_name(enum session_end end)
{
    static const char *const names[] = {
#define X(name, text) text,
        SESSION_ENDS(X)
#undef X
    };
    return names[end];
}

/* Which transitions are legal: rows are "from". */
static const bool legal[SESSION_STATES][SESSION_STATES] = {
    /*                     READ   WAIT   RELAY  DRAIN  LINGER CLOSED */
    [SESSION_READING] = {false, true, true, true, true, true},
    [SESSION_WAITING] = {false, false, true, true, false, true},
    [SESSION_RELAYING] = {true, true, false, true, false, true},
    [SESSION_DRAINING] = {true, false, false, false, true, true},
    [SESSION_LINGERING] = {false, false, false, false, false, true},
    [SESSION_CLOSED] = {false, false, false, false, false, false},
};

void session_set_state(struct session *session, enum session_state to)
{
    static const char *const names[] = {"reading",  "waiting",   "relaying",
                                        "draining", "lingering", "closed"};
    enum session_state from = session->state;
    assert(legal[from][to]);
    session->state = to;
    log_debug("listener=%s client_fd=%d %s -> %s", session->service->config->name,
              session->client.fd, names[from], names[to]);
}

/* The process at the other end of a unix socket, as it was when it connected. */
static bool ask_process(const struct session *session, struct ucred *process)
{
    socklen_t length = sizeof(*process);
    return getsockopt(session->client.fd, SOL_SOCKET, SO_PEERCRED, process, &length) == 0;
}

char *session_peer(const struct session *session, char text[SESSION_PEER_MAX])
{
    struct ucred process = session->unix_peer.process;
    if (session->peer.sa.sa_family != AF_UNIX)
        return address_format(&session->peer, text);
    char *at = stpcpy(text, "unix:");
    if (session->unix_peer.known || ask_process(session, &process)) {
        at = log_digits(stpcpy(at, "uid:"), process.uid);
        at = log_digits(stpcpy(at, ",pid:"), (uint64_t)process.pid);
        *at = '\0';
    }
    return text;
}

const char *session_unacked_text(const struct session *session, char text[SESSION_UNACKED_MAX])
{
    char limit[LOG_LIMIT_MAX];
    snprintf(text, SESSION_UNACKED_MAX,
             "the upstream did not acknowledge what it was sent within unacked_timeout=%s",
             log_limit(limit, session->service->unacked_timeout));
    return text;
}

/* A unix client's process can be asked for as long as the client is connected; a line may be
 * written later, and there may be many. */
static void learn_process(struct session *session)
{
    const struct access *access = &session->access;
    if (session->peer.sa.sa_family != AF_UNIX || session->unix_peer.known || !access->open)
        return;
    if (log_access_enabled() || access->failure.function != NULL)
        session->unix_peer.known = ask_process(session, &session->unix_peer.process);
}

void session_note_conn(struct session *session)
{
    struct conn_info *info = NULL;
    if (log_access_enabled() && session->kind->conn_info != NULL)
        info = session->kind->conn_info(session);
    if (info != NULL)
        pool_describe(&session->allocation, info);
}

bool session_admit(const struct session *session, enum log_level level,
                   const struct repeat_key *key)
{
    return repeats_admit(&session->service->repeats, level, key);
}

void session_report(const struct session *session, enum log_level level,
                    const struct repeat_key *key, const char *format, ...)
{
    struct service *service = session->service;
    char head[256], rest[1024], peer[SESSION_PEER_MAX];
    snprintf(head, sizeof(head), "%slistener=%s", key->place, service->config->name);
    int n = snprintf(rest, sizeof(rest), "upstream=%s ", service->upstream);
    va_list args;
    va_start(args, format);
    vsnprintf(rest + n, sizeof(rest) - (size_t)n, format, args);
    va_end(args);
    repeats_log(&service->repeats, level, key, head, session_peer(session, peer), rest);
}

static void log_failure(const struct session *session)
{
    const struct failure *failure = &session->access.failure;
    const struct repeat_key key = {.place = "no connection: ",
                                   .function = failure->function,
                                   .number = failure->number,
                                   .round = pool_recoveries(session->service->pool_host),
                                   .text = failure->text};
    char error[2 * sizeof(failure->text)];
    if (!session_admit(session, LOG_LEVEL_WARNING, &key))
        return;
    log_quote(error, sizeof(error), failure->text, strlen(failure->text));
    session_report(session, LOG_LEVEL_WARNING, &key, "function=%s errno=%d error=%s",
                   failure->function, failure->number, error);
}

/* Times of a connection that was made for this are told; others have nothing to do with it. */
static void put_conn(struct session *session, struct log_line *line)
{
    const struct session_kind *kind = session->kind;
    const struct conn_info *info = kind->conn_info != NULL ? kind->conn_info(session) : NULL;
    char address[ADDRESS_TEXT_MAX];
    if (info == NULL || info->number == 0) {
        LOG_LINE_PUT(line, " conn=- uses=- addr=-");
        return;
    }
    LOG_LINE_PUT(line, " conn=");
    log_line_number(line, info->number);
    LOG_LINE_PUT(line, " uses=");
    log_line_number(line, info->uses);
    LOG_LINE_PUT(line, " addr=");
    log_line_text(line, address_format(&info->address, address));
    if (!session->access.was_answered || session->access.from_cache != FROM_NONE)
        return;
    LOG_LINE_PUT(line, " connect_ms=");
    log_line_ms(line, info->connect_time);
    if (session->service->config->upstream.tls == NULL)
        return;
    LOG_LINE_PUT(line, " tls_ms=");
    log_line_ms(line, info->handshake_time);
}

/* One access-log line. Every part is bounded, and their sum is below LOG_LINE_MAX. */
static void write_line(struct session *session, enum session_end end)
{
    struct log_line line;
    char peer[SESSION_PEER_MAX];
    const struct access *access = &session->access;
    const struct failure *failure = &access->failure;
    log_line_start(&line);
    LOG_LINE_PUT(&line, "ts=");
    log_line_timestamp(&line);
    LOG_LINE_PUT(&line, " listener=");
    log_line_text(&line, session->service->config->name);
    LOG_LINE_PUT(&line, " client=");
    log_line_text(&line, session_peer(session, peer));
    LOG_LINE_PUT(&line, " upstream=");
    log_line_text(&line, session->service->upstream);
    LOG_LINE_PUT(&line, " from_cache=");
    log_line_text(&line, access->was_answered ? from_cache_name(access->from_cache) : "-");
    LOG_LINE_PUT(&line, " wait_ms=");
    log_line_ms(&line, access->waited);
    put_conn(session, &line);
    LOG_LINE_PUT(&line, " duration_ms=");
    log_line_ms(&line, loop_now(session->service->loop) - access->started);
    LOG_LINE_PUT(&line, " bytes_up=");
    log_line_number(&line, access->bytes_up);
    LOG_LINE_PUT(&line, " bytes_down=");
    log_line_number(&line, access->bytes_down);
    if (session->kind->describe != NULL)
        session->kind->describe(session, &line);
    LOG_LINE_PUT(&line, " end=");
    log_line_text(&line, session_end_name(end));
    if (failure->function != NULL) {
        LOG_LINE_PUT(&line, " function=");
        log_line_text(&line, failure->function);
        LOG_LINE_PUT(&line, " errno=");
        log_line_number(&line, (uint64_t)failure->number);
        LOG_LINE_PUT(&line, " error=");
        log_line_quote(&line, failure->text, strlen(failure->text));
    }
    log_line_end(&line);
    log_access(line.text, line.length);
}

/* The pool has answered, or is not to any more. Returns the time. */
static usec_t end_wait(struct session *session)
{
    usec_t now = loop_now(session->service->loop);
    session->access.waited += now - session->access.asked;
    session->access.asked = 0;
    return now;
}

void session_log(struct session *session, enum session_end end)
{
    struct service_stats *stats = &session->service->stats;
    struct access *access = &session->access;
    if (!access->open)
        return;
    learn_process(session);
    access->open = false;
    if (access->asked != 0)
        (void)end_wait(session);
    stats->ends[end]++;
    stats->bytes_up += access->bytes_up;
    stats->bytes_down += access->bytes_down;
    if (access->failure.function != NULL)
        log_failure(session);
    if (log_access_enabled())
        write_line(session, end);
}

/* Why a lease that a session still holds at its end goes back. */
static enum pool_discard discard_reason(enum session_end end)
{
    switch (end) {
    case SESSION_CLIENT_LEFT:
    case SESSION_CLIENT_RESET:
        return DISCARD_CLIENT_ABORT;
    case SESSION_UPSTREAM_RESET:
        return DISCARD_UPSTREAM_ERROR;
    case SESSION_UPSTREAM_CLOSED:
        return DISCARD_UPSTREAM_CLOSED;
    case SESSION_BAD_RESPONSE:
        return DISCARD_PROTOCOL_ERROR;
    case SESSION_IDLE_TIMEOUT:
        return DISCARD_IDLE_TIMEOUT;
    case SESSION_SHUTDOWN:
        return DISCARD_SHUTDOWN;
    case SESSION_COMPLETE:
    case SESSION_BAD_REQUEST:
    case SESSION_ALLOC_FAILED:
    case SESSION_ERROR:
    case SESSION_END_COUNT:
        break;
    }
    return DISCARD_NOT_REUSABLE;
}

/* Keeps a session that has ended for the next client. */
static void set_aside(struct service *service, struct session *session)
{
    if (service->spare_count == SPARES_MAX) {
        free(session);
        return;
    }
    TAILQ_INSERT_HEAD(&service->spares, session, link);
    service->spare_count++;
}

void session_finish(struct session *session, enum session_end end)
{
    struct service *service = session->service;
    bool in_order = end == SESSION_COMPLETE;

    session_set_state(session, SESSION_CLOSED);
    if (session->allocation.state == ALLOCATION_LEASED)
        pool_discard(&session->allocation, discard_reason(end), !in_order);
    else
        pool_cancel(&session->allocation);
    timer_clear(service->loop, &session->timer);
    loop_unpost(service->loop, &session->task);
    learn_process(session);
    if (in_order)
        stream_close(&session->client);
    else
        stream_reset(&session->client);
    session_log(session, end);
    session->kind->clear(session);
    TAILQ_REMOVE(&service->sessions, session, link);
    set_aside(service, session);
    service->ended(service);
}

/* Answers in the next turn, in the pool's place. */
static void fail_later(struct session *session, const char *function, int number)
{
    struct failure *failure = &session->access.failure;
    session->failing = true;
    failure->function = function;
    failure->number = number;
    failure->fault = TLS_FAULT_NONE;
    snprintf(failure->text, sizeof(failure->text), "%s", strerror(number));
    loop_post(session->service->loop, &session->task);
}

int session_watch_client(struct session *session)
{
    if (stream_is_watched(&session->client))
        return 0;
    return stream_watch(&session->client, session->service->loop);
}

void session_wake(struct session *session)
{
    loop_post(session->service->loop, &session->task);
}

/* Who moves less than that in a run is done with its bulk. */
#define LITTLE (16 * 1024)

void session_pause(struct session *session, uint64_t moved, bool more)
{
    if (more)
        loop_queue(session->service->loop, &session->task);
    session->bulk = more || (session->bulk && moved >= LITTLE);
}

/* What is short is done at once. Bulk, and what is to run soon anyway, only takes its place in the
 * queue: the streams remember what became ready. */
static void run_or_queue(struct session *session)
{
    if (session->bulk || session->task.list != NULL)
        loop_queue(session->service->loop, &session->task);
    else
        session->kind->work(session);
}

static void on_client_ready(struct stream_handler *handler, struct stream *stream)
{
    (void)stream;
    run_or_queue(container_of(handler, struct session, client_handler));
}

static void on_upstream_ready(struct stream_handler *handler, struct stream *stream)
{
    (void)stream;
    run_or_queue(container_of(handler, struct session, upstream_handler));
}

static void on_task(struct task *task)
{
    struct session *session = container_of(task, struct session, task);
    if (session->failing) {
        session->failing = false;
        session->kind->answered(session, &session->access.failure);
    } else {
        session->kind->work(session);
    }
}

/* The earlier of two times, of which 0 is never. */
static usec_t earlier(usec_t a, usec_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* When the timer is due, as things stand; 0: never. */
static usec_t timer_due(const struct session *session)
{
    usec_t due = session->quiet_max > 0 ? session->moved_at + session->quiet_max : 0;
    return earlier(earlier(due, session->limit_at), session->unacked_at);
}

int session_start_timer(struct session *session)
{
    usec_t due = timer_due(session);
    if (due == 0 || (timer_is_set(&session->timer) && session->timer.node.key <= due))
        return 0;
    return timer_set(session->service->loop, &session->timer, due);
}

/* Is the connection dead? A session that waits for its upstream that long asks the kernel; shorter
 * ones pay nothing. An upstream that is alive is asked about again when that much has passed since
 * something was sent, and since it acknowledged something. */
static bool is_unacked(struct session *session)
{
    usec_t now = loop_now(session->service->loop), due = session->unacked_at, quiet;
    if (due == 0 || due > now)
        return false;
    session->unacked_at = 0;
    if (session->allocation.state != ALLOCATION_LEASED)
        return false;
    struct delivery_ages ages = {.last = now - session->moved_at,
                                 .limit = session->service->unacked_timeout};
    ages.first = now - due + ages.limit;
    switch (delivery_ask(session->allocation.stream->fd, &ages)) {
    case DELIVERY_DONE:
        break;
    case DELIVERY_PENDING:
        quiet = ages.last < ages.acknowledged ? ages.last : ages.acknowledged;
        session->unacked_at = now + ages.limit - (quiet < ages.limit ? quiet : 0);
        break;
    case DELIVERY_LOST:
        return true;
    }
    return false;
}

/* The timer is not moved with every byte: when it fires, it looks when the last one moved. While
 * the session waits, the allocation has a time limit of its own; while it is queued, there is
 * something to move. */
static void on_timer(struct timer *timer)
{
    struct session *session = container_of(timer, struct session, timer);
    struct loop *loop = session->service->loop;
    if (session->state == SESSION_WAITING)
        session->moved_at = loop_now(loop);
    if (is_unacked(session)) {
        session->kind->unacked(session);
        return;
    }
    usec_t due = timer_due(session);
    if (due == 0 || (due > loop_now(loop) && timer_set(loop, timer, due) == 0))
        return;
    if (session->kind->timed_out != NULL)
        session->kind->timed_out(session);
    else
        session_finish(session, SESSION_IDLE_TIMEOUT);
}

static void on_answered(struct allocation *allocation, const struct failure *failure)
{
    struct session *session = container_of(allocation, struct session, allocation);
    struct access *access = &session->access;
    session->moved_at = end_wait(session);
    session->unacked_at = 0;
    if (failure != NULL) {
        access->failure = *failure;
        session->kind->answered(session, failure);
        return;
    }
    access->was_answered = true;
    access->from_cache = allocation->from_cache;
    session_note_conn(session);
    stream_set_handler(allocation->stream, &session->upstream_handler);
    session_set_state(session, SESSION_RELAYING);
    session->kind->answered(session, NULL);
}

void session_ask(struct session *session, bool fresh)
{
    struct allocation *allocation = &session->allocation;
    if (session->state != SESSION_WAITING)
        session_set_state(session, SESSION_WAITING);
    session->access.asked = loop_now(session->service->loop);
    allocation->fresh = fresh;
    if (pool_allocate(session->service->pool, allocation) < 0) {
        fail_later(session, "allocate", errno);
        return;
    }
    /* An answer that is on its way already comes before anything of the client's. */
    if (allocation->state == ALLOCATION_WAITING && !session->kind->watches_late &&
        session_watch_client(session) < 0) {
        int number = errno;
        pool_cancel(allocation);
        fail_later(session, "epoll_ctl", number);
    }
}

int session_start(struct service *service, int fd, const union address *peer)
{
    const struct session_kind *kind = service->kind;
    struct session *session = TAILQ_FIRST(&service->spares);
    if (session != NULL) {
        TAILQ_REMOVE(&service->spares, session, link);
        service->spare_count--;
        memset(session, 0, kind->size);
    } else if ((session = calloc(1, kind->size)) == NULL) {
        return -1;
    }
    session->kind = kind;
    session->service = service;
    session->state = kind->first;
    session->peer = *peer;
    if (peer->sa.sa_family == AF_UNIX)
        session->unix_peer.known = false;
    session->moved_at = session->access.started = loop_now(service->loop);
    session->quiet_max = service->config->idle_timeout;
    session->client_handler.ready = on_client_ready;
    session->upstream_handler.ready = on_upstream_ready;
    session->timer.fire = on_timer;
    session->task.run = on_task;
    session->allocation.endpoint = &service->config->upstream;
    session->allocation.pinned = service->pool_host;
    session->allocation.timeout = service->config->timeout;
    session->allocation.answered = on_answered;
    stream_init(&session->client, fd);
    session->client.local = peer->sa.sa_family == AF_UNIX;
    stream_set_handler(&session->client, &session->client_handler);
    TAILQ_INSERT_TAIL(&service->sessions, session, link);
    service->stats.accepted++;
    kind->begin(session);
    return 0;
}

int service_init(struct service *service)
{
    service->pool_host = pool_pin(service->pool, &service->config->upstream);
    if (service->pool_host == NULL)
        return -1;
    service->unacked_timeout = pool_unacked_timeout(service->pool);
    endpoint_format(&service->config->upstream, service->upstream);
    bool http = endpoint_scheme(&service->config->upstream)->protocol == PROTOCOL_HTTP;
    service->kind = http ? &session_http_kind : &session_opaque_kind;
    service->client_host = strcmp(service->config->host, "client") == 0;
    service->host = service->config->host;
    if (service->client_host || strcmp(service->host, "upstream") == 0)
        service->host = endpoint_authority(&service->config->upstream, service->authority);
    repeats_init(&service->repeats, service->loop);
    TAILQ_INIT(&service->sessions);
    TAILQ_INIT(&service->spares);
    return 0;
}

void service_clear(struct service *service)
{
    struct session *session;
    if (service->kind == NULL) /* not initialized */
        return;
    while ((session = TAILQ_FIRST(&service->spares)) != NULL) {
        TAILQ_REMOVE(&service->spares, session, link);
        free(session);
    }
    repeats_clear(&service->repeats);
    if (service->kind->clear_service != NULL)
        service->kind->clear_service(service);
}

void session_open_access(struct session *session)
{
    struct access *access = &session->access;
    memset(access, 0, offsetof(struct access, failure));
    access->failure.function = NULL;
    access->open = true;
    access->started = loop_now(session->service->loop);
}

void service_log_stats(const struct service *service)
{
    const struct service_stats *stats = &service->stats;
    char text[SESSION_END_COUNT * 48 + ARRAY_LEN(stats->answers) * 40 + 160];
    size_t n = 0;
    for (int end = 0; end < SESSION_END_COUNT; end++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, " %s=%" PRIu64,
                              session_end_name((enum session_end)end), stats->ends[end]);
    if (service->kind == &session_http_kind) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, " retries=%" PRIu64, stats->retries);
        for (size_t class = 1; class < ARRAY_LEN(stats->answers); class ++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, " answers_%zuxx=%" PRIu64, class,
                                  stats->answers[class]);
        n += (size_t)snprintf(text + n, sizeof(text) - n, " answers_other=%" PRIu64,
                              stats->answers[0]);
    }
    if (service->config->upstream.tls != NULL) {
        struct tls_stats tls;
        tls_client_get_stats(service->config->upstream.tls, &tls);
        n += (size_t)snprintf(text + n, sizeof(text) - n,
                              " tls_full=%" PRIu64 " tls_resumed=%" PRIu64 " tls_failed=%" PRIu64,
                              tls.full, tls.resumed, tls.failed);
    }
    log_notice("stats listener=%s accepted=%" PRIu64 " bytes_up=%" PRIu64 " bytes_down=%" PRIu64
               "%s",
               service->config->name, stats->accepted, stats->bytes_up, stats->bytes_down, text);
}

void service_drain(struct service *service)
{
    struct session *session, *next;
    service->draining = true;
    for (session = TAILQ_FIRST(&service->sessions); session != NULL; session = next) {
        next = TAILQ_NEXT(session, link);
        if (session->kind->drain != NULL)
            session->kind->drain(session);
    }
}

void service_abort(struct service *service)
{
    struct session *session;
    while ((session = TAILQ_FIRST(&service->sessions)) != NULL)
        session_finish(session, SESSION_SHUTDOWN);
}
