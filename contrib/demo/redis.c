/* SPDX-License-Identifier: ISC */
/* The demonstration's clients of Redis, a few at a time, and how many connections they took. */
#include "redis.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "resp/resp.h"

#define WAIT_MAX      10 /* seconds without a reply before a client gives up */
#define REPLY_MAX     65536
#define WORDS_MAX     4
#define QUESTIONS_MAX 10
#define DATABASES     3
#define ADMIN         "demo-admin" /* the password of user default */
#define COUNT_FIELD   "total_connections_received:"

static const struct {
    const char *name, *password;
} users[] = {{"anna", "demo-anna"}, {"bert", "demo-bert"}};

static const char *const databases[DATABASES] = {"0", "1", "2"};

struct question {
    const char *words[WORDS_MAX]; /* up to a NULL */
    char expected[32];            /* the whole reply; "": any */
};

/* One connection, on which one question after the other is asked. */
struct talk {
    struct load *load;
    struct bufferevent *stream;
    void (*ended)(struct talk *talk, const char *problem); /* NULL: all are answered */
    struct question questions[QUESTIONS_MAX];
    size_t count, asked;
    struct timespec start;
    double answered; /* ms after start */
};

struct load {
    const struct redis_options *options;
    struct event_base *base;
    struct talk *clients;
    size_t started, ended, failed;
    struct talk teller; /* prepares the databases, and is asked for the counts */
    bool complete;
    unsigned long before, after;
    char reply[REPLY_MAX]; /* the last one of any kind, NUL-terminated */
};

/* --- a conversation --- */

static void talk_ask(struct talk *talk)
{
    const struct question *question = &talk->questions[talk->asked++];
    struct evbuffer *out = bufferevent_get_output(talk->stream);
    size_t count = 0;

    while (count < WORDS_MAX && question->words[count])
        count++;
    evbuffer_add_printf(out, "*%zu\r\n", count);
    for (size_t i = 0; i < count; i++)
        evbuffer_add_printf(out, "$%zu\r\n%s\r\n", strlen(question->words[i]), question->words[i]);
}

/* Takes a reply, once it is complete. */
static enum resp_result talk_take(struct talk *talk)
{
    struct evbuffer *in = bufferevent_get_input(talk->stream);
    size_t length = evbuffer_get_length(in), used;
    const char *data = (const char *)evbuffer_pullup(in, -1);
    char *text = talk->load->reply;
    struct resp_reply reply;

    resp_reply_begin(&reply);
    enum resp_result result = resp_reply_feed(&reply, data, length, &used);
    if (used >= REPLY_MAX)
        return RESP_BAD;
    if (result == RESP_DONE) {
        memcpy(text, data, used);
        text[used] = '\0';
        evbuffer_drain(in, used);
    }
    return result;
}

static void talk_on_read(struct bufferevent *stream, void *arg)
{
    struct talk *talk = arg;
    const char *expected = talk->questions[talk->asked - 1].expected;
    char *reply = talk->load->reply;

    (void)stream;
    switch (talk_take(talk)) {
    case RESP_MORE:
        return;
    case RESP_BAD:
        talk->ended(talk, "what came is no reply, or too long a one");
        return;
    case RESP_DONE:
        break;
    }
    if (*expected && strcmp(reply, expected) != 0) {
        reply[strcspn(reply, "\r")] = '\0';
        talk->ended(talk, reply);
    } else if (talk->asked < talk->count) {
        talk_ask(talk);
    } else {
        talk->answered = common_elapsed_ms(&talk->start);
        talk->ended(talk, NULL);
    }
}

static void talk_on_event(struct bufferevent *stream, short what, void *arg)
{
    struct talk *talk = arg;

    (void)stream;
    if (what & BEV_EVENT_ERROR)
        talk->ended(talk, evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
    else if (what & BEV_EVENT_EOF)
        talk->ended(talk, "the connection ended before the reply");
    else if (what & BEV_EVENT_TIMEOUT)
        talk->ended(talk, "no reply in time");
}

static void talk_close(struct talk *talk)
{
    if (talk->stream)
        bufferevent_free(talk->stream);
    talk->stream = NULL;
}

/* Connects, and asks the first question. 0, or -1. */
static int talk_start(struct talk *talk, uint16_t port)
{
    static const struct timeval wait_max = {.tv_sec = WAIT_MAX};
    struct sockaddr_in address = common_loopback(port);

    clock_gettime(CLOCK_MONOTONIC, &talk->start);
    talk->stream = bufferevent_socket_new(talk->load->base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (!talk->stream)
        return -1;
    bufferevent_setcb(talk->stream, talk_on_read, NULL, talk_on_event, talk);
    bufferevent_enable(talk->stream, EV_READ | EV_WRITE);
    bufferevent_set_timeouts(talk->stream, &wait_max, &wait_max);
    talk_ask(talk);
    return bufferevent_socket_connect(talk->stream, (struct sockaddr *)&address, sizeof(address));
}

static struct question *talk_add(struct talk *talk, const char *expected)
{
    struct question *question = &talk->questions[talk->count++];

    snprintf(question->expected, sizeof(question->expected), "%s", expected);
    return question;
}

static void talk_add_bulk(struct talk *talk, const char *first, const char *second,
                          const char *value)
{
    struct question *question = talk_add(talk, "");

    question->words[0] = first;
    question->words[1] = second;
    snprintf(question->expected, sizeof(question->expected), "$%zu\r\n%s\r\n", strlen(value),
             value);
}

static void talk_add_ok(struct talk *talk, const char *first, const char *second, const char *third)
{
    struct question *question = talk_add(talk, "+OK\r\n");

    question->words[0] = first;
    question->words[1] = second;
    question->words[2] = third;
}

/* --- the clients --- */

static void load_ask_count(struct load *load)
{
    talk_add(&load->teller, "")->words[0] = "INFO";
    talk_ask(&load->teller);
}

static void load_start_client(struct load *load);

static void client_ended(struct talk *talk, const char *problem)
{
    struct load *load = talk->load;

    if (problem && load->failed++ == 0)
        fprintf(stderr, "demo: client %td: %s\n", talk - load->clients + 1, problem);
    talk_close(talk);
    load->ended++;
    if (load->started < load->options->clients)
        load_start_client(load);
    else if (load->ended == load->options->clients)
        load_ask_count(load);
}

static void load_start_client(struct load *load)
{
    size_t number = load->started++;
    struct talk *talk = &load->clients[number];
    const char *user = users[number % ARRAY_LEN(users)].name;
    const char *database = databases[number % DATABASES];

    talk->load = load;
    talk->ended = client_ended;
    talk_add_ok(talk, "AUTH", user, users[number % ARRAY_LEN(users)].password);
    talk_add_ok(talk, "SELECT", database, NULL);
    talk_add_bulk(talk, "ACL", "WHOAMI", user);
    talk_add_bulk(talk, "GET", "database", database);
    if (talk_start(talk, load->options->target) < 0) {
        common_fail("connect");
        event_base_loopbreak(load->base);
    }
}

/* --- the counts --- */

static void teller_ended(struct talk *talk, const char *problem)
{
    struct load *load = talk->load;
    const char *field = problem ? NULL : strstr(load->reply, COUNT_FIELD);

    if (!field) {
        fprintf(stderr, "demo: the upstream's counts: %s\n", problem ? problem : "there are none");
        event_base_loopbreak(load->base);
        return;
    }
    unsigned long count = strtoul(field + strlen(COUNT_FIELD), NULL, 10);
    if (load->started > 0) {
        load->after = count;
        load->complete = true;
        event_base_loopbreak(load->base);
        return;
    }
    load->before = count;
    while (load->started < load->options->clients && load->started < load->options->at_a_time)
        load_start_client(load);
}

/* A value in each database says which one it is. */
static int load_start_teller(struct load *load)
{
    struct talk *teller = &load->teller;

    teller->load = load;
    teller->ended = teller_ended;
    talk_add_ok(teller, "AUTH", ADMIN, NULL);
    for (size_t i = 0; i < DATABASES; i++) {
        talk_add_ok(teller, "SELECT", databases[i], NULL);
        talk_add_ok(teller, "SET", "database", databases[i]);
    }
    talk_add(teller, "")->words[0] = "INFO";
    return talk_start(teller, load->options->upstream);
}

static int load_report(const struct load *load)
{
    size_t count = load->options->clients;
    double *times;

    if (load->failed)
        fprintf(stderr, "demo: %zu of %zu clients did not get their replies\n", load->failed,
                count);
    if (!load->complete || load->failed)
        return 1;
    if (!(times = calloc(count, sizeof(*times))))
        return common_fail("calloc");
    for (size_t i = 0; i < count; i++)
        times[i] = load->clients[i].answered;
    common_sort_times(times, count);
    printf("%lu %.2f %.2f\n", load->after - load->before, common_percentile(times, count, 50),
           common_percentile(times, count, 99));
    free(times);
    return 0;
}

static int load_run(struct load *load)
{
    load->base = event_base_new();
    load->clients = calloc(load->options->clients, sizeof(*load->clients));
    if (!load->base || !load->clients || load_start_teller(load) < 0)
        return common_fail("cannot start");
    event_base_dispatch(load->base);
    return load_report(load);
}

int redis_load(const struct redis_options *options)
{
    struct load *load = calloc(1, sizeof(*load));

    if (!load)
        return common_fail("calloc");
    load->options = options;
    int status = load_run(load);
    talk_close(&load->teller);
    for (size_t i = 0; i < load->started; i++)
        talk_close(&load->clients[i]);
    free(load->clients);
    if (load->base)
        event_base_free(load->base);
    free(load);
    return status;
}

/* --- the run --- */

int redis_print_config(uint16_t port, const char *folder)
{
    printf("bind 127.0.0.1\nport %" PRIu16 "\ndir \"%s\"\nsave \"\"\nappendonly no\n"
           "loglevel warning\nrequirepass " ADMIN "\n",
           port, folder);
    for (size_t i = 0; i < ARRAY_LEN(users); i++)
        printf("user %s on >%s ~* +@all\n", users[i].name, users[i].password);
    return 0;
}

static void refused_ended(struct talk *talk, const char *problem)
{
    talk->load->failed = problem != NULL;
    if (problem)
        fprintf(stderr, "demo: %s\n", problem);
    event_base_loopbreak(talk->load->base);
}

int redis_refused(uint16_t target)
{
    static const char refusal[] = "-NOAUTH ";
    struct load *load = calloc(1, sizeof(*load));
    struct talk *talk = &load->teller;
    int status = 1;

    if (!load || !(load->base = event_base_new())) {
        free(load);
        return common_fail("cannot start");
    }
    talk->load = load;
    talk->ended = refused_ended;
    struct question *question = talk_add(talk, "");
    question->words[0] = "GET";
    question->words[1] = "database";
    if (talk_start(talk, target) < 0) {
        common_fail("connect");
    } else {
        event_base_dispatch(load->base);
        load->reply[strcspn(load->reply, "\r")] = '\0';
        printf("%s\n", load->reply);
        status = load->failed == 0 && strncmp(load->reply, refusal, strlen(refusal)) == 0 ? 0 : 1;
    }
    talk_close(talk);
    event_base_free(load->base);
    free(load);
    return status;
}
