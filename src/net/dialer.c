/* SPDX-License-Identifier: ISC */
/* One dial: lookup, staggered connection attempts (RFC 8305), handshake, time limits. */
#include "net/dialer.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/span.h"
#include "net/loopback.h"

/* The attempt on one address. The first one uses the dial's stream, and so does any later one that
 * finds it free; `own` is for those that run alongside. */
struct attempt {
    struct dial *dial;
    union address address;
    struct stream_handler handler;
    struct stream own;
};

struct dial {
    struct loop *loop;
    struct resolver *resolver;
    struct dial_options options;
    struct stream *stream;
    struct dial_handler *handler;
    uint16_t port;
    struct lookup lookup;
    struct timer deadline; /* connect_timeout, or the limit set by dialer_limit */
    const char *limit_key; /* which of the two */
    struct timer stagger;  /* the next attempt */
    struct timer pause;    /* until the retry */
    struct task task;      /* posted to begin, and to notify the owner of the outcome */
    usec_t step_began;     /* the first attempt, then the handshake */
    bool connected;        /* the dial's stream is, including TLS */
    struct stream_handler handshake;
    struct failure failure; /* otherwise: of the last attempt that failed */
    size_t count;           /* attempts to make, of the addresses looked up */
    size_t started;
    size_t pending;         /* started and not ended */
    struct attempt first;   /* saves an allocation for the usual single address */
    struct attempt *others; /* count - 1 */
    char addr[ENDPOINT_ADDR_MAX + 1];
};

static void record_text(struct dial *dial, const char *function, int number, const char *text)
{
    dial->failure.function = function;
    dial->failure.number = number;
    dial->failure.fault = TLS_FAULT_NONE;
    snprintf(dial->failure.text, sizeof(dial->failure.text), "%s", text);
}

static void record(struct dial *dial, const char *function, int number)
{
    record_text(dial, function, number, error_text(number));
}

static struct attempt *attempt_at(struct dial *dial, size_t index)
{
    return index == 0 ? &dial->first : &dial->others[index - 1];
}

static void close_attempts(struct dial *dial)
{
    for (size_t i = 0; i < dial->started; i++)
        stream_close(&attempt_at(dial, i)->own);
}

/* Ends everything under way except the dial's own stream. */
static void quiesce(struct dial *dial)
{
    resolver_cancel(dial->resolver, &dial->lookup);
    loop_clear_timer(dial->loop, &dial->deadline);
    loop_clear_timer(dial->loop, &dial->stagger);
    loop_clear_timer(dial->loop, &dial->pause);
    close_attempts(dial);
}

static void dial_free(struct dial *dial)
{
    free(dial->others);
    free(dial);
}

static void tell(struct task *task)
{
    struct dial *dial = container_of(task, struct dial, task);
    struct dial_handler *handler = dial->handler;
    struct failure failure = dial->failure;
    bool connected = dial->connected;
    dial_free(dial);
    handler->done(handler, connected ? NULL : &failure);
}

/* Begins the pause before a retry. False: there is none, or no memory for its timer. */
static bool try_again_later(struct dial *dial)
{
    int number = dial->failure.number;
    if (dial->handler->retries >= dial->options.connect_retries ||
        (number != ECONNREFUSED && number != ETIMEDOUT))
        return false;
    loop_unpost(dial->loop, &dial->task); /* it may not have begun yet */
    return loop_set_timer(dial->loop, &dial->pause, loop_now(dial->loop) + DIAL_PAUSE) == 0;
}

/* The outcome is known. It is posted, as notifying the owner must come last. */
static void settle(struct dial *dial)
{
    quiesce(dial);
    if (!dial->connected) {
        stream_close(dial->stream);
        if (try_again_later(dial))
            return;
    }
    dial->task.run = tell;
    loop_post(dial->loop, &dial->task);
}

/* The local address to bind to, or NULL. */
static const union address *local_address(const struct dial *dial)
{
    const union address *local = dial->options.bind_address;
    return local != NULL && local->sa.sa_family != AF_UNSPEC ? local : NULL;
}

/* The kernel detects a peer that has vanished within a minute of silence. (Unacknowledged data
 * stops these probes, and is for the user of the stream to detect.) */
static void keep_alive(int fd)
{
    const int on = 1, idle = 30, interval = 10, count = 3;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

/* A socket ready to connect; -1 with the failure recorded. */
static int open_socket(struct dial *dial, const union address *to)
{
    const int on = 1;
    int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0) {
        record(dial, "socket", errno);
        return -1;
    }
    /* None of these can fail on a TCP socket, and a connection works without them. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    keep_alive(fd);
    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)); /* urgent data is treated as data */
    loopback_unpace(fd, &to->sa);
    const union address *local = local_address(dial);
    if (local == NULL)
        return fd;
    /* The port is chosen at connect, when the remote address is known, so that ports do not run
     * out. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (bind(fd, &local->sa, address_length(local)) < 0) {
        record(dial, "bind", errno);
        snprintf(dial->failure.text, sizeof(dial->failure.text), "bind_address: %s",
                 error_text(dial->failure.number));
        close(fd);
        return -1;
    }
    return fd;
}

/* Begins to connect; -1 with the failure recorded. A connection that succeeds immediately is
 * noticed when its stream is watched, like any other. */
static int attempt_start(struct attempt *attempt)
{
    struct dial *dial = attempt->dial;
    stream_init(&attempt->own, -1);
    int fd = open_socket(dial, &attempt->address);
    if (fd < 0)
        return -1;
    struct stream *stream = dial->stream->fd < 0 ? dial->stream : &attempt->own;
    stream_init(stream, fd);
    stream->readable = stream->writable = false; /* until it is connected */
    stream_set_handler(stream, &attempt->handler);
    if (connect(fd, &attempt->address.sa, address_length(&attempt->address)) < 0 &&
        errno != EINPROGRESS) {
        record(dial, "connect", errno);
        stream_close(stream);
        return -1;
    }
    if (stream_watch(stream, dial->loop) < 0) {
        record(dial, "epoll_ctl", errno);
        stream_close(stream);
        return -1;
    }
    dial->pending++;
    return 0;
}

/* No address is left: the dial ends, unless a family was late. */
static void run_out(struct dial *dial)
{
    struct lookup *lookup = &dial->lookup;
    if (lookup->partial && !lookup->both_families) {
        lookup->both_families = true;
        if (resolver_lookup(dial->resolver, lookup, dial->addr) == 0)
            return;
    }
    settle(dial);
}

/* Continues with the next address; if none is left and none is pending, they have run out. */
static void advance(struct dial *dial)
{
    loop_clear_timer(dial->loop, &dial->stagger);
    while (dial->started < dial->count) {
        struct attempt *attempt = attempt_at(dial, dial->started++);
        if (attempt_start(attempt) < 0)
            continue;
        usec_t next = loop_now(dial->loop) + DIAL_STAGGER;
        /* Without memory for a timer, the next one does not wait. */
        if (dial->started == dial->count || loop_set_timer(dial->loop, &dial->stagger, next) == 0)
            return;
    }
    if (dial->pending == 0)
        run_out(dial);
}

static void on_stagger(struct timer *timer)
{
    advance(container_of(timer, struct dial, stagger));
}

static void record_pause(const struct dial *dial, const char *key, usec_t limit,
                         struct failure *failure)
{
    char time[SPAN_TEXT_MAX];
    *failure = (struct failure){.function = dial->failure.function, .number = ETIMEDOUT};
    snprintf(failure->text, sizeof(failure->text), "no connection within %s = %s (%.*s)", key,
             span_format(limit, time), (int)sizeof(failure->text) / 2, dial->failure.text);
}

void dialer_time_is_up(const struct dial *dial, const char *key, usec_t limit,
                       struct failure *failure)
{
    char time[SPAN_TEXT_MAX];
    const char *what = "no connection";
    if (loop_timer_is_set(&dial->pause)) {
        record_pause(dial, key, limit, failure);
        return;
    }
    failure->function = "connect";
    failure->number = ETIMEDOUT;
    failure->fault = TLS_FAULT_NONE;
    if (lookup_is_under_way(&dial->lookup)) {
        failure->function = "resolve";
        what = "no answer from the name servers";
    } else if (dial->handshake.ready != NULL) {
        failure->function = "tls";
        what = "handshake not finished";
    }
    int n = snprintf(failure->text, sizeof(failure->text), "%s within %s = %s", what, key,
                     span_format(limit, time));
    const char *servers = resolver_servers(dial->resolver);
    if (lookup_is_under_way(&dial->lookup) && *servers != '\0')
        snprintf(failure->text + n, sizeof(failure->text) - (size_t)n, " (asked %s)", servers);
}

static void on_deadline(struct timer *timer)
{
    struct dial *dial = container_of(timer, struct dial, deadline);
    dialer_time_is_up(dial, dial->limit_key, dial->options.connect_timeout, &dial->failure);
    settle(dial);
}

/* A connection to a local port on which nothing listens succeeds if the kernel happens to choose
 * that very port as the local one: TCP's simultaneous open with itself. */
static bool is_self_connected(struct attempt *attempt, int fd)
{
    union address local, peer;
    socklen_t length = sizeof(local);
    if (getsockname(fd, &local.sa, &length) < 0)
        return false;
    if (*address_port(&local) != *address_port(&attempt->address)) /* nearly always */
        return false;
    length = sizeof(peer);
    return getpeername(fd, &peer.sa, &length) == 0 && address_compare(&local, &peer) == 0;
}

/* Moves a connected stream to where the owner expects it. 0, or -1 with the failure recorded. */
static int adopt(struct dial *dial, struct stream *own)
{
    int fd = own->fd;
    stream_unwatch(own);
    own->fd = -1;
    stream_close(dial->stream);
    stream_init(dial->stream, fd);
    if (stream_watch(dial->stream, dial->loop) == 0)
        return 0;
    record(dial, "epoll_ctl", errno);
    return -1;
}

static void go_on_with_handshake(struct dial *dial)
{
    switch (stream_handshake(dial->stream)) {
    case TLS_WANTS_READ:
    case TLS_WANTS_WRITE:
        return;
    case TLS_DONE:
        stream_set_handler(dial->stream, NULL);
        dial->handler->handshake_time = loop_now(dial->loop) - dial->step_began;
        dial->connected = true;
        break;
    case TLS_FAILED:
        record_text(dial, "tls", 0, stream_failure(dial->stream));
        dial->failure.fault = stream_fault(dial->stream);
        break;
    }
    settle(dial);
}

static void on_handshake_ready(struct stream_handler *handler, struct stream *stream)
{
    (void)stream;
    go_on_with_handshake(container_of(handler, struct dial, handshake));
}

/* Connected: the other attempts end, and TLS begins. */
static void start_handshake(struct dial *dial)
{
    loop_clear_timer(dial->loop, &dial->stagger);
    close_attempts(dial);
    dial->handshake.ready = on_handshake_ready;
    stream_set_handler(dial->stream, &dial->handshake);
    if (stream_start_tls(dial->stream, dial->options.tls) == 0) {
        go_on_with_handshake(dial);
        return;
    }
    record(dial, "tls", errno);
    settle(dial);
}

static void on_ready(struct stream_handler *handler, struct stream *stream)
{
    struct attempt *attempt = container_of(handler, struct attempt, handler);
    struct dial *dial = attempt->dial;
    if (!stream->writable && !stream->hangup)
        return;
    int error = stream_error(stream);
    if (error == 0 && is_self_connected(attempt, stream->fd))
        error = ECONNREFUSED;
    if (error != 0) {
        record(dial, "connect", error);
        stream_close(stream);
        dial->pending--;
        advance(dial);
        return;
    }
    stream_set_handler(stream, NULL);
    dial->handler->address = attempt->address;
    dial->handler->connect_time = loop_now(dial->loop) - dial->step_began;
    dial->step_began += dial->handler->connect_time;
    bool adopted = stream == dial->stream || adopt(dial, stream) == 0;
    if (adopted && dial->options.tls != NULL) {
        start_handshake(dial);
        return;
    }
    dial->connected = adopted;
    settle(dial);
}

static void attempt_init(struct dial *dial, size_t index, const union address *address)
{
    struct attempt *attempt = attempt_at(dial, index);
    attempt->dial = dial;
    attempt->address = *address;
    *address_port(&attempt->address) = htons(dial->port);
    attempt->handler.ready = on_ready;
}

static bool was_tried(struct dial *dial, const union address *address)
{
    for (size_t i = 0; i < dial->started; i++) {
        if (address_compare(&attempt_at(dial, i)->address, address) == 0)
            return true;
    }
    return false;
}

/* The first untried address of a family, from *position on; *position moves past it. NULL: none. */
static const union address *next_of_family(struct dial *dial, const union address *addresses,
                                           size_t count, size_t *position, sa_family_t family)
{
    while (*position < count) {
        const union address *address = &addresses[(*position)++];
        if (address->sa.sa_family == family && !was_tried(dial, address))
            return address;
    }
    return NULL;
}

/* Orders the addresses as in RFC 8305 section 4: the families alternate, each in the order given,
 * starting with the family of the first address. With a local address only its family is used.
 * Returns how many addresses were ordered, at most DIAL_ADDRESSES_MAX. */
static size_t interleave(struct dial *dial, const union address *addresses, size_t count,
                         const union address *order[DIAL_ADDRESSES_MAX])
{
    const union address *local = local_address(dial);
    sa_family_t families[2] = {addresses[0].sa.sa_family};
    families[1] = families[0] == AF_INET ? AF_INET6 : AF_INET;
    if (local != NULL)
        families[0] = families[1] = local->sa.sa_family;
    size_t positions[2] = {0, local != NULL ? count : 0};
    size_t ordered = 0;
    for (size_t turn = 0; ordered < DIAL_ADDRESSES_MAX; turn = 1 - turn) {
        const union address *next =
            next_of_family(dial, addresses, count, &positions[turn], families[turn]);
        if (next != NULL)
            order[ordered++] = next;
        else if (positions[1 - turn] == count)
            break;
    }
    return ordered;
}

static void record_wrong_family(struct dial *dial)
{
    bool in6 = local_address(dial)->sa.sa_family == AF_INET6;
    record_text(dial, "bind", EAFNOSUPPORT,
                in6 ? "bind_address is IPv6, but the upstream has only IPv4 addresses"
                    : "bind_address is IPv4, but the upstream has only IPv6 addresses");
}

/* Tries these addresses; all earlier ones have been tried. */
static void connect_to(struct dial *dial, const union address *addresses, size_t count)
{
    const union address *order[DIAL_ADDRESSES_MAX];
    size_t ordered = interleave(dial, addresses, count, order);
    if (ordered == 0) {
        if (dial->failure.function == NULL)
            record_wrong_family(dial);
        run_out(dial);
        return;
    }
    free(dial->others);
    dial->others = ordered > 1 ? calloc(ordered - 1, sizeof(*dial->others)) : NULL;
    dial->count = dial->others != NULL ? ordered : 1; /* short of memory: one is better than none */
    dial->started = 0;
    for (size_t i = 0; i < dial->count; i++)
        attempt_init(dial, i, order[i]);
    dial->step_began = loop_now(dial->loop);
    advance(dial);
}

static void on_lookup(struct lookup *lookup, const union address *addresses, size_t count,
                      const char *error)
{
    struct dial *dial = container_of(lookup, struct dial, lookup);
    if (error == NULL) {
        connect_to(dial, addresses, count);
        return;
    }
    if (dial->failure.function == NULL)
        record_text(dial, "resolve", 0, error);
    settle(dial);
}

/* A numeric address needs no lookup. */
static void look_up(struct dial *dial)
{
    union address address;
    if (address_parse(&address, dial->addr)) {
        connect_to(dial, &address, 1);
    } else if (resolver_lookup(dial->resolver, &dial->lookup, dial->addr) < 0) {
        record(dial, "resolve", errno);
        settle(dial);
    }
}

static void begin(struct task *task)
{
    look_up(container_of(task, struct dial, task));
}

/* 0, or -1 with ENOMEM. */
static int start_deadline(struct dial *dial)
{
    usec_t limit = dial->options.connect_timeout;
    return limit == 0 ? 0
                      : loop_set_timer(dial->loop, &dial->deadline, loop_now(dial->loop) + limit);
}

/* Nothing of the previous try is left but its failure, which remains if this one cannot begin. */
static void on_pause_over(struct timer *timer)
{
    struct dial *dial = container_of(timer, struct dial, pause);
    dial->handler->retries++;
    if (start_deadline(dial) < 0) {
        settle(dial);
        return;
    }
    dial->failure.function = NULL;
    dial->handshake.ready = NULL;
    dial->lookup.both_families = false;
    dial->started = dial->count = dial->pending = 0;
    look_up(dial);
}

struct dial *dialer_start(struct loop *loop, struct resolver *resolver,
                          const struct endpoint *endpoint, const struct dial_options *options,
                          struct stream *stream, struct dial_handler *handler)
{
    assert(options->tls != NULL || !endpoint_has_tls(endpoint));
    struct dial *dial = calloc(1, sizeof(*dial));
    if (dial == NULL)
        return NULL;
    dial->loop = loop;
    dial->resolver = resolver;
    dial->options = *options;
    dial->limit_key = "connect_timeout";
    dial->stream = stream;
    dial->handler = handler;
    dial->port = endpoint->port;
    dial->lookup.done = on_lookup;
    dial->deadline.fire = on_deadline;
    dial->stagger.fire = on_stagger;
    dial->pause.fire = on_pause_over;
    dial->task.run = begin;
    handler->retries = 0;
    memcpy(dial->addr, endpoint->addr, strlen(endpoint->addr) + 1);
    stream_init(stream, -1);
    if (start_deadline(dial) < 0) {
        dial_free(dial);
        return NULL;
    }
    loop_post(loop, &dial->task);
    return dial;
}

void dialer_cancel(struct dial *dial)
{
    if (dial == NULL)
        return;
    quiesce(dial);
    stream_close(dial->stream);
    loop_unpost(dial->loop, &dial->task);
    dial_free(dial);
}

void dialer_last_try(struct dial *dial)
{
    dial->options.connect_retries = dial->handler->retries;
}

void dialer_limit(struct dial *dial, const char *key, usec_t limit)
{
    if (dial->options.connect_timeout != 0 || dial->task.run == tell)
        return;
    dial->options.connect_timeout = limit;
    dial->limit_key = key;
    if (loop_timer_is_set(&dial->pause) || start_deadline(dial) == 0)
        return;
    record(dial, "connect", ENOMEM);
    settle(dial);
}

bool dialer_failed_here(const struct failure *failure)
{
    switch (failure->number) {
    case ENOMEM:
    case ENOBUFS:
    case EMFILE:
    case ENFILE:
    case EADDRNOTAVAIL: /* no local port is left */
        return true;
    default:
        return strcmp(failure->function, "socket") == 0 || strcmp(failure->function, "bind") == 0 ||
               strcmp(failure->function, "epoll_ctl") == 0;
    }
}

/* The kernel may have completed a connection that the loop has not reported yet. */
static bool is_established(const struct stream *stream)
{
    union address peer;
    socklen_t length = sizeof(peer);
    return stream->fd >= 0 && getpeername(stream->fd, &peer.sa, &length) == 0;
}

bool dialer_is_connected(struct dial *dial)
{
    if (dial->connected || is_established(dial->stream))
        return true;
    for (size_t i = 0; i < dial->started; i++) {
        if (is_established(&attempt_at(dial, i)->own))
            return true;
    }
    return false;
}
