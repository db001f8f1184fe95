/* SPDX-License-Identifier: ISC */
/* The demonstration's clients, a few at a time, and the table of what they measured. */
#include "load.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common.h"
#include "http1/http1.h"
#include "secure.h"
#include "upstream.h"

#define WAIT_MAX 10   /* seconds without a response before a client gives up */
#define TEXT_MAX 1024 /* the upstream's responses are shorter */

struct client {
    struct load *load;
    struct bufferevent *stream;
    struct timespec start;
    double answered; /* ms after start */
};

struct counts {
    unsigned long connections, full, resumed;
};

struct load {
    const struct load_options *options;
    struct event_base *base;
    SSL_CTX *tls;
    struct client *clients;
    size_t started, ended, failed;
    struct bufferevent *teller; /* stays connected to the upstream and asks for its counts */
    bool counted;               /* the counts before the load have arrived */
    bool complete;              /* and those after it */
    struct counts before, after;
};

/* Takes a complete response from a stream: the first line of its text. False with *problem NULL:
 * not yet. */
static bool take_answer(struct bufferevent *stream, char text[TEXT_MAX], const char **problem)
{
    struct evbuffer *in = bufferevent_get_input(stream);
    size_t length = evbuffer_get_length(in), body;
    char *data = (char *)evbuffer_pullup(in, -1);
    enum http1_result result;
    struct http1_head head;

    *problem = NULL;
    http1_response_begin(&head, &(struct http1_request_info){.method = HTTP1_GET});
    result = http1_head_parse(&head, data, length);
    if (result == HTTP1_MORE)
        return false;
    if (result == HTTP1_BAD)
        *problem = head.bad_text;
    else if (head.framing != HTTP1_LENGTH || head.content_length >= TEXT_MAX)
        *problem = "the answer is not the upstream's: it is long, or of unknown length";
    if (*problem || length - head.length < head.content_length)
        return false;
    body = (size_t)head.content_length;
    if (head.status == 200) {
        snprintf(text, TEXT_MAX, "%.*s", (int)body, data + head.length);
    } else {
        snprintf(text, TEXT_MAX, "status %d: %.*s", head.status, (int)body, data + head.length);
        *problem = text;
    }
    text[strcspn(text, "\r\n")] = '\0';
    evbuffer_drain(in, head.length + body);
    return head.status == 200;
}

/* A stream that connects to a place; NULL if that fails immediately. */
static struct bufferevent *load_connect(struct load *load, const struct load_place *place,
                                        bufferevent_data_cb on_read, bufferevent_event_cb on_event,
                                        void *arg)
{
    struct sockaddr_in address = common_loopback(place->port);
    struct bufferevent *stream = secure_stream(load->base, place->tls ? load->tls : NULL, -1);

    if (!stream)
        return NULL;
    bufferevent_setcb(stream, on_read, NULL, on_event, arg);
    bufferevent_enable(stream, EV_READ | EV_WRITE);
    if (bufferevent_socket_connect(stream, (struct sockaddr *)&address, sizeof(address)) < 0) {
        secure_free(stream);
        return NULL;
    }
    return stream;
}

/* --- a client --- */

static void client_on_read(struct bufferevent *stream, void *arg);
static void client_on_event(struct bufferevent *stream, short what, void *arg);
static void load_ask_counts(struct load *load);

static size_t client_number(const struct client *client)
{
    return (size_t)(client - client->load->clients) + 1;
}

static void load_start_client(struct load *load)
{
    static const struct timeval wait_max = {.tv_sec = WAIT_MAX};
    struct client *client = &load->clients[load->started++];

    client->load = load;
    clock_gettime(CLOCK_MONOTONIC, &client->start);
    client->stream =
        load_connect(load, &load->options->target, client_on_read, client_on_event, client);
    if (!client->stream) {
        common_fail("connect");
        event_base_loopbreak(load->base);
        return;
    }
    bufferevent_set_timeouts(client->stream, &wait_max, &wait_max);
    evbuffer_add_printf(bufferevent_get_output(client->stream), "GET /client/%zu HTTP/1.0\r\n\r\n",
                        client_number(client));
}

/* The end of a client, with what went wrong or NULL; the next client takes its place. */
static void client_end(struct client *client, const char *problem)
{
    struct load *load = client->load;

    if (problem && load->failed++ == 0)
        fprintf(stderr, "demo: client %zu: %s\n", client_number(client), problem);
    secure_free(client->stream);
    client->stream = NULL;
    load->ended++;
    if (load->started < load->options->clients)
        load_start_client(load);
    else if (load->ended == load->options->clients)
        load_ask_counts(load);
}

static void client_on_read(struct bufferevent *stream, void *arg)
{
    struct client *client = arg;
    double time = common_elapsed_ms(&client->start);
    char text[TEXT_MAX], expected[64];
    const char *problem, *question;

    if (!take_answer(stream, text, &problem)) {
        if (problem)
            client_end(client, problem);
        return;
    }
    snprintf(expected, sizeof(expected), ": GET /client/%zu", client_number(client));
    question = strchr(text, ':');
    if (!question || strcmp(question, expected) != 0) {
        client_end(client, "the answer is not for this client");
        return;
    }
    client->answered = time;
    client_end(client, NULL);
}

static void client_on_event(struct bufferevent *stream, short what, void *arg)
{
    if (what & BEV_EVENT_ERROR)
        client_end(arg, secure_problem(stream));
    else if (what & BEV_EVENT_EOF)
        client_end(arg, "the connection ended before the answer");
    else if (what & BEV_EVENT_TIMEOUT)
        client_end(arg, "no answer in time");
}

/* --- the counts --- */

static void load_ask_counts(struct load *load)
{
    evbuffer_add_printf(bufferevent_get_output(load->teller),
                        "GET " UPSTREAM_COUNTS_PATH " HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n",
                        (unsigned)load->options->upstream.port);
}

static void load_stop(struct load *load, const char *problem)
{
    fprintf(stderr, "demo: the upstream's counts: %s\n", problem);
    event_base_loopbreak(load->base);
}

static void teller_on_read(struct bufferevent *stream, void *arg)
{
    struct load *load = arg;
    struct counts *counts = load->counted ? &load->after : &load->before;
    char text[TEXT_MAX];
    const char *problem;

    if (!take_answer(stream, text, &problem)) {
        if (problem)
            load_stop(load, problem);
        return;
    }
    if (sscanf(text, "%lu %lu %lu", &counts->connections, &counts->full, &counts->resumed) != 3) {
        load_stop(load, "the answer is not the upstream's");
        return;
    }
    if (load->counted) {
        load->complete = true;
        event_base_loopbreak(load->base);
        return;
    }
    load->counted = true;
    while (load->started < load->options->clients && load->started < load->options->at_a_time)
        load_start_client(load);
}

static void teller_on_event(struct bufferevent *stream, short what, void *arg)
{
    if (what & BEV_EVENT_CONNECTED)
        load_ask_counts(arg);
    else if (what & BEV_EVENT_ERROR)
        load_stop(arg, secure_problem(stream));
    else if (what & BEV_EVENT_EOF)
        load_stop(arg, "the connection ended");
}

/* --- the run --- */

static int load_report(const struct load *load)
{
    const struct counts *before = &load->before, *after = &load->after;
    size_t count = load->options->clients, i;
    double *times;

    if (load->failed)
        fprintf(stderr, "demo: %zu of %zu clients got no response\n", load->failed, count);
    if (!load->complete || load->failed)
        return 1;
    if (!(times = calloc(count, sizeof(*times))))
        return common_fail("calloc");
    for (i = 0; i < count; i++)
        times[i] = load->clients[i].answered;
    common_sort_times(times, count);
    printf("%lu %lu %lu %.2f %.2f\n", after->connections - before->connections,
           after->full - before->full, after->resumed - before->resumed,
           common_percentile(times, count, 50), common_percentile(times, count, 99));
    free(times);
    return 0;
}

static int load_run(struct load *load)
{
    load->base = event_base_new();
    load->clients = calloc(load->options->clients, sizeof(*load->clients));
    if (load->base && load->clients)
        load->teller =
            load_connect(load, &load->options->upstream, teller_on_read, teller_on_event, load);
    if (!load->teller)
        return common_fail("cannot start");
    event_base_dispatch(load->base);
    return load_report(load);
}

int load_main(const struct load_options *options)
{
    struct load load = {.options = options};
    int status = 1;
    size_t i;

    if (!options->certificate_path ||
        (load.tls = secure_connecting(options->certificate_path)) != NULL)
        status = load_run(&load);
    secure_free(load.teller);
    for (i = 0; i < load.started; i++)
        secure_free(load.clients[i].stream);
    free(load.clients);
    if (load.base)
        event_base_free(load.base);
    SSL_CTX_free(load.tls);
    return status;
}
