/* SPDX-License-Identifier: ISC */
/* An upstream that does what the plan of each request says, its tricks included. */
#include "crosstalk.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What happens on one connection. */
struct upstream {
    struct wire wire;
    struct random random;
    struct plan plan;
};

static void pause_for(struct random *random, unsigned most_ms)
{
    usleep((useconds_t)random_below(random, most_ms * 1000));
}

/* The request's body; false: the connection cannot continue. */
static bool read_body(struct upstream *upstream, const char *head)
{
    const struct plan *plan = &upstream->plan;
    size_t length, got;
    enum framing framing = head_framing(head, &length);
    if (framing == FRAMING_CLOSE) /* a request without a body */
        framing = FRAMING_NONE;
    enum body_end end =
        wire_read_body(&upstream->wire, plan, SIDE_REQUEST, framing, length, SIZE_MAX, &got);
    if (end == BODY_WHOLE && got != plan->request_size)
        complain("exchange %lu: %zu of %zu bytes pass for a complete request", plan->id, got,
                 plan->request_size);
    return end == BODY_WHOLE;
}

static bool send_head(struct upstream *upstream, const char *more)
{
    const struct plan *plan = &upstream->plan;
    char head[512], framing[64] = "";
    if (plan->response_framing == FRAMING_CHUNKED)
        snprintf(framing, sizeof(framing), "Transfer-Encoding: chunked\r\n");
    else if (plan->response_framing == FRAMING_LENGTH)
        snprintf(framing, sizeof(framing), "Content-Length: %zu\r\n", plan->response_size);
    int n = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nX-Id: %lu\r\n%s%s\r\n", plan->id,
                     framing, more);
    return wire_send(&upstream->wire, head, (size_t)n) == 0;
}

static bool send_body(struct upstream *upstream, size_t upto)
{
    if (plan_is(&upstream->plan, "HEAD"))
        return true;
    return wire_send_body(&upstream->wire, &upstream->plan, SIDE_RESPONSE, upto,
                          &upstream->random) == 0;
}

/* Somewhere before the body's last byte. */
static size_t middle(const struct plan *plan)
{
    return plan->response_size * plan->at / 1000;
}

static bool send_interim(struct upstream *upstream)
{
    static const char *const interims[] = {
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 102 Processing\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nX-Id: 0\r\n\r\n",
    };
    for (uint64_t n = 1 + random_below(&upstream->random, 3); n > 0; n--) {
        const char *text = interims[random_below(&upstream->random, 3)];
        if (wire_send(&upstream->wire, text, strlen(text)) < 0)
            return false;
        if (n == 2)
            pause_for(&upstream->random, 3);
    }
    return true;
}

/* The response and one more in a single segment, which arrives as a whole or not at all. */
static void send_excess(struct upstream *upstream)
{
    static const char excess[] =
        "HTTP/1.1 200 OK\r\nX-Id: 18446744073709551615\r\nContent-Length: 3\r\n\r\nbad";
    int cork = 1;
    setsockopt(upstream->wire.fd, IPPROTO_TCP, TCP_CORK, &cork, sizeof(cork));
    if (send_head(upstream, "") && send_body(upstream, upstream->plan.response_size))
        wire_send(&upstream->wire, excess, sizeof(excess) - 1);
    cork = 0;
    setsockopt(upstream->wire.fd, IPPROTO_TCP, TCP_CORK, &cork, sizeof(cork));
}

/* Sends nothing until the peer ends. */
static void stall(struct upstream *upstream)
{
    char byte;
    while (recv(upstream->wire.fd, &byte, 1, 0) > 0)
        continue;
}

/* Tricks that spoil the exchange; the connection ends with them. */
static void spoil(struct upstream *upstream)
{
    static const char garbage[] =
        "HTTP/1.1 200 OK\r\nX-Id: 0\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx";
    const struct plan *plan = &upstream->plan;
    switch (plan->trick) {
    case TRICK_SHORT:
    case TRICK_RESET:
    case TRICK_CUT:
        if (send_head(upstream, "") && send_body(upstream, middle(plan)) &&
            plan->trick == TRICK_RESET)
            pause_for(&upstream->random, 2);
        break;
    case TRICK_GARBAGE:
        wire_send(&upstream->wire, garbage, sizeof(garbage) - 1);
        break;
    case TRICK_STALL:
        if (plan->at < 500 || (send_head(upstream, "") && send_body(upstream, middle(plan))))
            stall(upstream);
        break;
    case TRICK_EARLY:
        if (send_head(upstream, ""))
            send_body(upstream, plan->response_size);
        break;
    default: /* closes without sending anything */
        break;
    }
    if (plan->trick == TRICK_RESET || plan->trick == TRICK_RESET_BEFORE)
        wire_reset(&upstream->wire);
    else if (plan->trick == TRICK_CUT || plan->trick == TRICK_STALL)
        wire_cut(&upstream->wire);
    else
        wire_close(&upstream->wire);
}

/* A complete response; false: the connection ends with it. */
static bool response(struct upstream *upstream)
{
    const struct plan *plan = &upstream->plan;
    bool until_close = plan->response_framing == FRAMING_CLOSE && !plan_is(plan, "HEAD");
    switch (plan->trick) {
    case TRICK_INTERIM:
        if (!send_interim(upstream))
            return false;
        break;
    case TRICK_PAUSE:
        pause_for(&upstream->random, 20);
        break;
    case TRICK_EXCESS:
        send_excess(upstream);
        return true; /* kaproxy must end it */
    default:
        break;
    }
    return send_head(upstream, plan->trick == TRICK_SAY_CLOSE ? "Connection: close\r\n" : "") &&
           send_body(upstream, plan->response_size) && !until_close &&
           plan->trick != TRICK_CLOSE_AFTER;
}

/* Responds before it reads the body, but reads it then: with the rest of it unsent, the connection
 * could not be used again. False: it has ended. */
static bool respond_early(struct upstream *upstream, const char *head)
{
    return send_head(upstream, "") && send_body(upstream, upstream->plan.response_size) &&
           upstream->plan.response_framing != FRAMING_CLOSE && read_body(upstream, head);
}

/* Nothing may follow a response that ended the connection. */
static void require_end(struct upstream *upstream)
{
    char head[HEAD_MAX];
    if (wire_read_head(&upstream->wire, head))
        complain("a request where none may arrive: %s", head);
}

/* A request's header is as it must be. */
static bool is_right(const struct plan *plan, const char *head)
{
    char line[64];
    int n = snprintf(line, sizeof(line), "%s /%lu HTTP/1.1\r\n", plan->method, plan->id);
    if (strncmp(head, line, (size_t)n) == 0 && head_find(head, "Host:") != NULL &&
        head_find(head, "Connection:") == NULL)
        return true;
    complain("exchange %lu: an unexpected request: %s", plan->id, head);
    return false;
}

static void note_delivery(const struct plan *plan)
{
    unsigned before = count_delivery(plan->id);
    if (before > 0 && plan_is(plan, "POST"))
        complain("exchange %lu: a POST was delivered twice", plan->id);
    if (before > 1)
        complain("exchange %lu: delivered %u times", plan->id, before + 1);
}

/* One exchange; false: the connection has ended. */
static bool exchange(struct upstream *upstream)
{
    char head[HEAD_MAX];
    struct plan *plan = &upstream->plan;
    if (!wire_read_head(&upstream->wire, head)) {
        if (upstream->wire.start != upstream->wire.end && !upstream->wire.broken)
            complain("a request's header was truncated: %.60s", upstream->wire.data);
        return false;
    }
    if (!plan_parse(plan, head)) {
        complain("no plan: %s", head);
        return false;
    }
    if (!is_right(plan, head))
        return false;
    note_delivery(plan);
    if (plan->trick == TRICK_EARLY_STAYS)
        return respond_early(upstream, head);
    if (plan->trick != TRICK_EARLY && !read_body(upstream, head))
        return false;
    if (plan->trick >= TRICK_SPOILED) {
        spoil(upstream);
        return false;
    }
    if (!response(upstream))
        return false;
    if (plan->trick != TRICK_EXCESS && plan->trick != TRICK_SAY_CLOSE)
        return true;
    require_end(upstream);
    return false;
}

static void *connection_run(void *arg)
{
    struct upstream *upstream = arg;
    if (!run.tls || tls_accept(&upstream->wire, &upstream->random))
        while (exchange(upstream))
            continue;
    wire_close(&upstream->wire);
    free(upstream);
    return NULL;
}

void *upstream_run(void *listener)
{
    uint64_t serial = 0;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&detached, 256 * 1024);
    for (;;) {
        pthread_t thread;
        int fd = accept(*(const int *)listener, NULL, NULL);
        if (fd < 0)
            break;
        struct upstream *upstream = malloc(sizeof(*upstream));
        if (upstream == NULL)
            abort();
        upstream->random.state = (run.seed ^ (++serial * UINT64_C(0x9e3779b97f4a7c15))) | 1;
        wire_begin(&upstream->wire, fd);
        if (pthread_create(&thread, &detached, connection_run, upstream) != 0)
            abort();
    }
    pthread_attr_destroy(&detached);
    return NULL;
}
