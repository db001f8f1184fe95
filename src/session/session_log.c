/* SPDX-License-Identifier: ISC */
/* What is logged about a session: its line in the access log, and messages. */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "session/protocol.h"

/* A failure to record for which there is no memory. */
static const struct failure out_of_memory = {
    .function = "allocate", .number = ENOMEM, .text = "Cannot allocate memory"};

const char *session_end_name(enum session_end end)
{
    static const char *const names[] = {
#define X(name, text) text,
        SESSION_ENDS(X)
#undef X
    };
    return names[end];
}

void session_set_failure(struct session *session, const struct failure *failure)
{
    struct failure *copy = malloc(sizeof(*copy));
    session_clear_failure(session);
    session->access.failure_logged = false;
    if (copy != NULL)
        *copy = *failure;
    session->access.failure = copy != NULL ? copy : &out_of_memory;
}

void session_clear_failure(struct session *session)
{
    const struct failure *failure = session->access.failure;
    session->access.failure = NULL;
    if (failure != &out_of_memory)
        free((struct failure *)(uintptr_t)failure);
}

/* The process at the other end of a unix socket, at the time when it connected. */
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
             log_limit(limit, session->context->unacked_timeout));
    return text;
}

void session_learn_process(struct session *session)
{
    const struct access *access = &session->access;
    if (session->peer.sa.sa_family != AF_UNIX || session->unix_peer.known || !access->open)
        return;
    if (log_access_enabled() || access->failure != NULL)
        session->unix_peer.known = ask_process(session, &session->unix_peer.process);
}

void session_note_conn(struct session *session)
{
    struct conn_info *info = NULL;
    if (session->protocol->conn_info != NULL)
        info = session->protocol->conn_info(session);
    if (info == NULL)
        return;
    if (log_access_enabled())
        pool_describe(&session->allocation, info);
    else
        info->number = 0; /* logging may be on by the time of the line */
}

bool session_admit(const struct session *session, enum log_level level,
                   const struct repeat_key *key)
{
    return repeats_admit(&session->context->repeats, level, key);
}

void session_report(const struct session *session, enum log_level level,
                    const struct repeat_key *key, const char *format, ...)
{
    struct listener_context *context = session->context;
    char head[256], rest[1024], peer[SESSION_PEER_MAX];
    snprintf(head, sizeof(head), "%slistener=%s", key->place, context->config->name);
    int n = snprintf(rest, sizeof(rest), "upstream=%s ", context->upstream);
    va_list args;
    va_start(args, format);
    vsnprintf(rest + n, sizeof(rest) - (size_t)n, format, args);
    va_end(args);
    repeats_log(&context->repeats, level, key, head, session_peer(session, peer), rest);
}

/* The pool has already reported that the upstream is down. */
void session_log_failure(struct session *session)
{
    const struct failure *failure = session->access.failure;
    enum log_level level = failure_is_host_down(failure) ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING;
    const struct repeat_key key = {.place = "no connection: ",
                                   .function = failure->function,
                                   .number = failure->number,
                                   .round = pool_recoveries(session->context->pool_host),
                                   .text = failure->text};
    char error[2 * sizeof(failure->text)];
    session->access.failure_logged = true;
    if (!session_admit(session, level, &key))
        return;
    log_quote(error, sizeof(error), failure->text, strlen(failure->text));
    session_report(session, level, &key, "function=%s errno=%d error=%s", failure->function,
                   failure->number, error);
}

/* The times of a connection are logged if it was opened for this; to others they do not apply. */
static void put_conn(struct session *session, struct log_line *line)
{
    const struct protocol *protocol = session->protocol;
    const struct conn_info *info =
        protocol->conn_info != NULL ? protocol->conn_info(session) : NULL;
    char address[ADDRESS_TEXT_MAX];
    if (info == NULL || info->number == 0) {
        LOG_FIELD_NONE(line, "conn");
        LOG_FIELD_NONE(line, "uses");
        LOG_FIELD_NONE(line, "addr");
        return;
    }
    LOG_FIELD_NUMBER(line, "conn", info->number);
    LOG_FIELD_NUMBER(line, "uses", info->uses);
    LOG_FIELD_WORD(line, "addr", address_format(&info->address, address));
    if (!session->access.was_granted || session->access.from_cache != FROM_NONE)
        return;
    LOG_FIELD_MS(line, "connect_ms", info->connect_time);
    if (session->context->tls == NULL)
        return;
    LOG_FIELD_MS(line, "tls_ms", info->handshake_time);
}

static void put_failure(struct log_line *line, const struct failure *failure)
{
    LOG_FIELD_WORD(line, "function", failure->function);
    LOG_FIELD_NUMBER(line, "errno", (uint64_t)failure->number);
    LOG_FIELD_QUOTE(line, "error", failure->text, strlen(failure->text));
}

/* Every part is bounded, so a line is never truncated: a truncated JSON object would be invalid. */
static_assert(LOG_JSON_MAX(SESSION_PEER_MAX) + LOG_JSON_MAX(ENDPOINT_TEXT_MAX) +
                      LOG_JSON_MAX(ADDRESS_TEXT_MAX) +
                      LOG_JSON_MAX(sizeof((struct failure *)0)->text) + SESSION_FIELDS_MAX + 800 <=
                  LOG_LINE_MAX,
              "names and numbers");

/* One access-log line. */
static void compose_line(struct session *session, enum session_end end, struct log_line *line)
{
    char peer[SESSION_PEER_MAX];
    const struct access *access = &session->access;
    log_line_start(line, log_access_format());
    log_field_time(line);
    LOG_FIELD_WORD(line, "listener", session->context->config->name);
    LOG_FIELD_WORD(line, "client", session_peer(session, peer));
    LOG_FIELD_WORD(line, "upstream", session->context->upstream);
    if (access->was_granted)
        LOG_FIELD_WORD(line, "from_cache", pool_from_cache_name(access->from_cache));
    else
        LOG_FIELD_NONE(line, "from_cache");
    LOG_FIELD_MS(line, "wait_ms", access->waited);
    put_conn(session, line);
    LOG_FIELD_MS(line, "duration_ms", loop_now(session->context->worker.loop) - access->started);
    LOG_FIELD_NUMBER(line, "bytes_up", access->bytes_up);
    LOG_FIELD_NUMBER(line, "bytes_down", access->bytes_down);
    if (session->protocol->log_fields != NULL)
        session->protocol->log_fields(session, line);
    LOG_FIELD_WORD(line, "end", session_end_name(end));
    if (access->failure != NULL)
        put_failure(line, access->failure);
    log_line_end(line);
}

static void write_line(struct session *session, enum session_end end)
{
    struct log_line line;
    do
        compose_line(session, end, &line);
    while (!log_access(line.format, line.text, line.length));
}

usec_t session_end_wait(struct session *session)
{
    usec_t now = loop_now(session->context->worker.loop);
    session->access.waited += now - session->access.requested_at;
    session->access.requested_at = 0;
    return now;
}

void session_log(struct session *session, enum session_end end)
{
    struct listener_stats *stats = &session->context->counters->stats;
    struct access *access = &session->access;
    if (!access->open)
        return;
    session_learn_process(session);
    access->open = false;
    if (access->requested_at != 0)
        session_end_wait(session);
    counter_add(&stats->ends[end], 1);
    counter_add(&stats->bytes[0], access->bytes_up);
    counter_add(&stats->bytes[1], access->bytes_down);
    histogram_add(&stats->duration, loop_now(session->context->worker.loop) - access->started);
    if (access->failure != NULL && !access->failure_logged)
        session_log_failure(session);
    if (log_access_enabled())
        write_line(session, end);
}

void session_open_access(struct session *session)
{
    session_clear_failure(session);
    session->access =
        (struct access){.open = true, .started = loop_now(session->context->worker.loop)};
}
