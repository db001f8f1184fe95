/* SPDX-License-Identifier: ISC */
/* A client that plans its requests, and compares the responses with the plan. */
#include "crosstalk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIPELINE_MAX 5

struct client {
    struct wire wire;
    struct random random;
};

static void connect_to_kaproxy(struct client *client)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(run.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        complain("connect: %s", strerror(errno));
        exit(1);
    }
    wire_begin(&client->wire, fd);
}

static size_t format_head(const struct plan *plan, char *text, size_t size)
{
    char plan_text[PLAN_TEXT_MAX], framing[64] = "";
    const char *connection = "";
    plan_format(plan, plan_text);
    if (plan->request_framing == FRAMING_CHUNKED)
        snprintf(framing, sizeof(framing), "Transfer-Encoding: chunked\r\n");
    else if (plan->request_framing == FRAMING_LENGTH)
        snprintf(framing, sizeof(framing), "Content-Length: %zu\r\n", plan->request_size);
    if (plan->is_10 && plan->keep_alive)
        connection = "Connection: keep-alive\r\n";
    else if (!plan->is_10 && !plan->keep_alive)
        connection = "Connection: close\r\n";
    return (size_t)snprintf(text, size, "%s /%lu HTTP/1.%d\r\n%s%s%s%s\r\n", plan->method, plan->id,
                            plan->is_10 ? 0 : 1, plan->is_10 ? "" : "Host: client.example\r\n",
                            plan_text, framing, connection);
}

/* Sends the request, as far as the plan says. If the upstream responds too early the request may
 * not be accepted in full: that shows when the response is read. */
static void send_request(struct client *client, const struct plan *plan)
{
    char head[1024];
    size_t length = format_head(plan, head, sizeof(head)), upto = plan->request_size;
    bool stops = plan->whim == WHIM_FIN_IN_REQUEST || plan->whim == WHIM_RESET_IN_REQUEST;
    if (stops && upto == 0)
        length = length * plan->at / 1000;
    else if (stops)
        upto = upto * plan->at / 1000;
    if (wire_send(&client->wire, head, length) == 0 && plan->request_framing != FRAMING_NONE &&
        !(stops && plan->request_size == 0))
        wire_send_body(&client->wire, plan, SIDE_REQUEST, upto, &client->random);
}

/* A response that kaproxy gave itself is an error, and the last one. */
static enum outcome read_error(struct client *client, const struct plan *plan, const char *head)
{
    size_t length, status = strtoul(head + sizeof("HTTP/1.1"), NULL, 10);
    bool fits =
        status == 502 || (run.timeouts && (status == 503 || status == 504 || status == 408));
    /* A stale connection that has taken a request which must not be retried. */
    bool stale = status == 502 && !plan_is(plan, "GET") && !plan_is(plan, "HEAD");
    if (!fits || head_framing(head, &length) != FRAMING_LENGTH)
        complain("exchange %lu: an unexpected error: %s", plan->id, head);
    else if (plan_is_plain(plan) && !stale && !run.timeouts)
        complain("exchange %lu: %s failed: %s", plan->id, plan->method, head);
    if (stale && plan_is_plain(plan))
        count_stale();
    if (status == 503 || status == 504 || status == 408)
        count_timeout();
    if (plan_is(plan, "HEAD"))
        length = 0;
    while (length > 0 && !wire_is_at_end(&client->wire)) {
        size_t held = client->wire.end - client->wire.start;
        size_t piece = held < length ? held : length;
        client->wire.start += piece;
        length -= piece;
    }
    if (!wire_is_at_end(&client->wire))
        complain("exchange %lu: bytes after an error", plan->id);
    return OUTCOME_OURS;
}

/* The body of an upstream's response. */
static enum outcome read_response_body(struct client *client, const struct plan *plan,
                                       const char *head)
{
    size_t length, got, stop = SIZE_MAX;
    enum framing framing = head_framing(head, &length);
    if (plan->is_10 && framing == FRAMING_CHUNKED)
        complain("exchange %lu: chunks for an HTTP/1.0 client", plan->id);
    if (plan_is(plan, "HEAD"))
        framing = FRAMING_NONE;
    if (plan->whim == WHIM_RESET_IN_RESPONSE)
        stop = plan->response_size * plan->at / 1000;
    if (plan->whim == WHIM_SLOW)
        usleep((useconds_t)random_below(&client->random, 20000));
    enum body_end end =
        wire_read_body(&client->wire, plan, SIDE_RESPONSE, framing, length, stop, &got);
    if (plan->whim == WHIM_RESET_IN_RESPONSE) {
        wire_reset(&client->wire);
        return OUTCOME_ABORTED;
    }
    if (end != BODY_WHOLE)
        return OUTCOME_CUT;
    if (framing != FRAMING_NONE && got != plan->response_size)
        complain("exchange %lu: %zu of %zu bytes pass for a complete response", plan->id, got,
                 plan->response_size);
    if (plan->trick > TRICK_EARLY_STAYS && plan->trick != TRICK_STALL && framing != FRAMING_NONE)
        complain("exchange %lu: an impossible response", plan->id);
    return OUTCOME_WHOLE;
}

/* Reads the response. *persists: the connection stays open. */
static enum outcome read_response(struct client *client, const struct plan *plan, bool *persists)
{
    char head[HEAD_MAX];
    *persists = false;
    do {
        if (!wire_read_head(&client->wire, head))
            return OUTCOME_CUT;
        if (strncmp(head, "HTTP/1.1 1", 10) == 0 && plan->is_10)
            complain("exchange %lu: 1xx for an HTTP/1.0 client", plan->id);
    } while (strncmp(head, "HTTP/1.1 1", 10) == 0);
    const char *id = head_find(head, "X-Id:");
    if (id == NULL)
        return read_error(client, plan, head);
    if (strtoul(id, NULL, 10) != plan->id) {
        complain("exchange %lu: another exchange's response: %s", plan->id, head);
        return OUTCOME_CUT;
    }
    const char *connection = head_find(head, "Connection:");
    bool says_close = connection != NULL && strncmp(connection, "close", 5) == 0;
    bool says_keep = connection != NULL && strncmp(connection, "keep-alive", 10) == 0;
    enum outcome outcome = read_response_body(client, plan, head);
    *persists =
        outcome == OUTCOME_WHOLE && !says_close && plan->keep_alive && (!plan->is_10 || says_keep);
    if (outcome == OUTCOME_WHOLE && !*persists && !wire_is_at_end(&client->wire))
        complain("exchange %lu: bytes after the last response", plan->id);
    return outcome;
}

static void judge(const struct plan *plan, enum outcome outcome)
{
    if (outcome == OUTCOME_CUT && plan_is_plain(plan) && !run.timeouts)
        complain("exchange %lu: %s, no response, or a truncated one", plan->id, plan->method);
    count_outcome(outcome);
}

/* The client breaks off; true when that was the plan. */
static bool break_off(struct client *client, const struct plan *plan)
{
    switch (plan->whim) {
    case WHIM_FIN_IN_REQUEST:
        wire_close(&client->wire);
        return true;
    case WHIM_RESET_WAITING:
        usleep((useconds_t)random_below(&client->random, 5000));
        wire_reset(&client->wire);
        return true;
    case WHIM_RESET_IN_REQUEST:
        wire_reset(&client->wire);
        return true;
    case WHIM_HALF_CLOSE:
        shutdown(client->wire.fd, SHUT_WR);
        return false;
    default:
        return false;
    }
}

/* One exchange; true: the connection stays open. */
static bool exchange(struct client *client, unsigned long id)
{
    struct plan plan;
    bool persists = false;
    plan_draw(&plan, &client->random, id);
    send_request(client, &plan);
    if (break_off(client, &plan)) {
        count_outcome(OUTCOME_ABORTED);
        return false;
    }
    judge(&plan, read_response(client, &plan, &persists));
    return persists && plan.whim != WHIM_HALF_CLOSE;
}

/* Several small requests at once, then their responses. */
static bool pipeline(struct client *client, unsigned long id)
{
    struct plan plans[PIPELINE_MAX];
    size_t count = 0, wanted = 2 + random_below(&client->random, PIPELINE_MAX - 1);
    bool persists = true;
    while (id != 0) {
        plan_draw_small(&plans[count], &client->random, id);
        send_request(client, &plans[count++]);
        id = count < wanted ? next_id() : 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (persists)
            judge(&plans[i], read_response(client, &plans[i], &persists));
        else
            count_outcome(OUTCOME_NO_RESPONSE);
    }
    return persists;
}

void *client_run(void *number)
{
    struct client *client = malloc(sizeof(*client));
    if (client == NULL)
        abort();
    client->random.state = (run.seed + (uintptr_t)number * UINT64_C(0x9e3779b97f4a7c15)) | 1;
    random_next(&client->random);
    unsigned long id;
    bool persists = false;
    while ((id = next_id()) != 0) {
        if (!persists)
            connect_to_kaproxy(client);
        if (random_below(&client->random, 10) == 0)
            persists = pipeline(client, id);
        else
            persists = exchange(client, id);
        if (!persists)
            wire_close(&client->wire);
    }
    if (persists)
        wire_close(&client->wire);
    free(client);
    return NULL;
}
