/* The demonstration's two far ends: an upstream that counts its connections, and one-shot
 * clients that ask it one question each. contrib/quickstart runs both.
 *
 * The upstream answers each line with one line that says on which connection it came. The line
 * "connections" is answered with the number of connections accepted so far. */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#define LINE_LENGTH_MAX 4096 /* a longer line ends its connection */
#define CLIENT_PATIENCE 10   /* seconds without an answer that make a client give up */
#define CLIENTS_MAX     100000

static const char usage[] =
    "usage: demo port [PORT]      print a free loopback port, or say why PORT is not free\n"
    "       demo upstream         print the port, then answer lines until SIGTERM\n"
    "       demo load PORT UPSTREAM_PORT CLIENTS AT_A_TIME\n"
    "                             send one-shot clients to PORT; print how many connections\n"
    "                             the upstream accepted meanwhile, the median and the 99th\n"
    "                             percentile of the time from connect to answer in ms\n";

static struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int fail(const char *what)
{
    fprintf(stderr, "demo: %s: %s\n", what, strerror(errno));
    return 1;
}

/* Reads a decimal number from 1 to max; 0 when text is none. */
static unsigned long parse_number(const char *text, unsigned long max)
{
    char *end;
    unsigned long number;

    if (text[0] < '0' || text[0] > '9')
        return 0;
    errno = 0;
    number = strtoul(text, &end, 10);
    return errno || *end || number > max ? 0 : number;
}

/* The port that a socket is bound to; 0 with errno. */
static uint16_t local_port(int fd)
{
    struct sockaddr_in address = {0};
    socklen_t length = sizeof(address);

    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        return 0;
    return ntohs(address.sin_port);
}

/* Prints a port that can be bound now: the wanted one, or (0) any. */
static int port_main(uint16_t wanted)
{
    struct sockaddr_in address = loopback(wanted);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc = 1;
    uint16_t port;

    if (fd < 0)
        return fail("socket");
    /* What a program that has just ended leaves behind does not make a port busy. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0) {
        fprintf(stderr, "demo: port %u: %s\n", (unsigned)wanted, strerror(errno));
    } else if ((port = local_port(fd)) == 0) {
        fail("getsockname");
    } else {
        printf("%u\n", (unsigned)port);
        rc = 0;
    }
    close(fd);
    return rc;
}

/* --- the upstream --- */

struct upstream {
    struct event_base *base;
    unsigned long accepted;
    bool failed;
    TAILQ_HEAD(, visitor) visitors;
};

/* One connection that the upstream accepted. */
struct visitor {
    struct upstream *upstream;
    struct bufferevent *bytes;
    unsigned long number;   /* of the connection */
    unsigned long requests; /* that came on it */
    TAILQ_ENTRY(visitor) link;
};

static void visitor_free(struct visitor *visitor)
{
    TAILQ_REMOVE(&visitor->upstream->visitors, visitor, link);
    bufferevent_free(visitor->bytes);
    free(visitor);
}

static void visitor_answer(struct visitor *visitor, const char *line)
{
    struct evbuffer *out = bufferevent_get_output(visitor->bytes);

    visitor->requests++;
    if (strcmp(line, "connections") == 0)
        evbuffer_add_printf(out, "%lu\n", visitor->upstream->accepted);
    else
        evbuffer_add_printf(out, "connection %lu, request %lu: %s\n", visitor->number,
                            visitor->requests, line);
}

static void visitor_on_read(struct bufferevent *bytes, void *arg)
{
    struct visitor *visitor = arg;
    struct evbuffer *in = bufferevent_get_input(bytes);
    char *line;

    while ((line = evbuffer_readln(in, NULL, EVBUFFER_EOL_CRLF)) != NULL) {
        visitor_answer(visitor, line);
        free(line);
    }
    if (evbuffer_get_length(in) >= LINE_LENGTH_MAX)
        visitor_free(visitor);
}

static void visitor_on_written(struct bufferevent *bytes, void *arg)
{
    (void)bytes;
    visitor_free(arg);
}

static void visitor_on_event(struct bufferevent *bytes, short what, void *arg)
{
    /* A visitor that only ended its own direction still gets the answers it asked for. */
    if (what & BEV_EVENT_EOF && evbuffer_get_length(bufferevent_get_output(bytes)) > 0)
        bufferevent_setcb(bytes, NULL, visitor_on_written, visitor_on_event, arg);
    else
        visitor_free(arg);
}

static void upstream_on_accept(struct evconnlistener *listener, evutil_socket_t fd,
                               struct sockaddr *peer, int length, void *arg)
{
    struct upstream *upstream = arg;
    struct visitor *visitor = calloc(1, sizeof(*visitor));

    (void)listener;
    (void)peer;
    (void)length;
    upstream->accepted++;
    if (!visitor ||
        !(visitor->bytes = bufferevent_socket_new(upstream->base, fd, BEV_OPT_CLOSE_ON_FREE))) {
        free(visitor);
        close(fd);
        return;
    }
    visitor->upstream = upstream;
    visitor->number = upstream->accepted;
    TAILQ_INSERT_TAIL(&upstream->visitors, visitor, link);
    bufferevent_setcb(visitor->bytes, visitor_on_read, NULL, visitor_on_event, visitor);
    bufferevent_setwatermark(visitor->bytes, EV_READ, 0, LINE_LENGTH_MAX);
    bufferevent_enable(visitor->bytes, EV_READ | EV_WRITE);
}

static void upstream_on_accept_error(struct evconnlistener *listener, void *arg)
{
    struct upstream *upstream = arg;

    (void)listener;
    fail("accept");
    upstream->failed = true;
    event_base_loopbreak(upstream->base);
}

static void upstream_on_signal(evutil_socket_t number, short what, void *arg)
{
    struct upstream *upstream = arg;

    (void)number;
    (void)what;
    event_base_loopbreak(upstream->base);
}

static int upstream_main(void)
{
    struct upstream upstream = {.base = event_base_new(), .failed = true};
    struct sockaddr_in address = loopback(0);
    struct evconnlistener *listener = NULL;
    struct event *stop = NULL;
    struct visitor *visitor;

    TAILQ_INIT(&upstream.visitors);
    if (!upstream.base ||
        !(stop = evsignal_new(upstream.base, SIGTERM, upstream_on_signal, &upstream)) ||
        event_add(stop, NULL) < 0 ||
        !(listener = evconnlistener_new_bind(upstream.base, upstream_on_accept, &upstream,
                                             LEV_OPT_CLOSE_ON_FREE, SOMAXCONN,
                                             (struct sockaddr *)&address, sizeof(address)))) {
        fail("cannot listen");
    } else {
        upstream.failed = false;
        evconnlistener_set_error_cb(listener, upstream_on_accept_error);
        printf("%u\n", (unsigned)local_port(evconnlistener_get_fd(listener)));
        fflush(stdout);
        event_base_dispatch(upstream.base);
    }
    while ((visitor = TAILQ_FIRST(&upstream.visitors)) != NULL)
        visitor_free(visitor);
    if (listener)
        evconnlistener_free(listener);
    if (stop)
        event_free(stop);
    if (upstream.base)
        event_base_free(upstream.base);
    return upstream.failed;
}

/* --- the load --- */

/* One one-shot client: connects, asks, reads the answer, goes. */
struct client {
    struct load *load;
    struct bufferevent *bytes;
    struct timespec start;
    double answered; /* ms after start */
};

struct load {
    struct event_base *base;
    struct sockaddr_in target;
    struct client *clients;
    size_t count, at_a_time;
    size_t started, ended, failed;
    struct bufferevent *teller; /* stays connected to the upstream and asks for its count */
    bool counted;               /* the count before the load is in */
    bool complete;              /* the count after it as well */
    unsigned long connections;  /* the count before, in the end the difference */
};

static double elapsed_ms(const struct timespec *start)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) * 1e3 +
           (double)(now.tv_nsec - start->tv_nsec) / 1e6;
}

/* A buffered stream that connects to an address; NULL when that fails at once. */
static struct bufferevent *load_connect(struct load *load, const struct sockaddr_in *address,
                                        bufferevent_data_cb on_read, bufferevent_event_cb on_event,
                                        void *arg)
{
    struct bufferevent *bytes = bufferevent_socket_new(load->base, -1, BEV_OPT_CLOSE_ON_FREE);

    if (!bytes)
        return NULL;
    bufferevent_setcb(bytes, on_read, NULL, on_event, arg);
    bufferevent_enable(bytes, EV_READ | EV_WRITE);
    if (bufferevent_socket_connect(bytes, (const struct sockaddr *)address, sizeof(*address)) < 0) {
        bufferevent_free(bytes);
        return NULL;
    }
    return bytes;
}

static void load_ask_count(struct load *load)
{
    evbuffer_add_printf(bufferevent_get_output(load->teller), "connections\n");
}

static void client_on_read(struct bufferevent *bytes, void *arg);
static void client_on_event(struct bufferevent *bytes, short what, void *arg);

static void load_start_client(struct load *load)
{
    static const struct timeval patience = {.tv_sec = CLIENT_PATIENCE};
    struct client *client = &load->clients[load->started++];

    client->load = load;
    clock_gettime(CLOCK_MONOTONIC, &client->start);
    client->bytes = load_connect(load, &load->target, client_on_read, client_on_event, client);
    if (!client->bytes) {
        fail("connect");
        event_base_loopbreak(load->base);
        return;
    }
    bufferevent_set_timeouts(client->bytes, &patience, &patience);
    evbuffer_add_printf(bufferevent_get_output(client->bytes), "client %zu\n", load->started);
}

/* The end of a client, with what went wrong or NULL; the next one takes its place. */
static void client_end(struct client *client, const char *problem)
{
    struct load *load = client->load;

    if (problem && load->failed++ == 0)
        fprintf(stderr, "demo: client %td: %s\n", client - load->clients + 1, problem);
    bufferevent_free(client->bytes);
    client->bytes = NULL;
    load->ended++;
    if (load->started < load->count)
        load_start_client(load);
    else if (load->ended == load->count)
        load_ask_count(load);
}

static void client_on_read(struct bufferevent *bytes, void *arg)
{
    struct client *client = arg;
    double time = elapsed_ms(&client->start);
    char *line = evbuffer_readln(bufferevent_get_input(bytes), NULL, EVBUFFER_EOL_LF);
    const char *answer;
    char expected[64];

    if (!line)
        return;
    snprintf(expected, sizeof(expected), ": client %td", client - client->load->clients + 1);
    answer = strchr(line, ':');
    if (answer && strcmp(answer, expected) == 0) {
        client->answered = time;
        client_end(client, NULL);
    } else {
        client_end(client, "the answer is not for this client");
    }
    free(line);
}

static void client_on_event(struct bufferevent *bytes, short what, void *arg)
{
    (void)bytes;
    if (what & BEV_EVENT_ERROR)
        client_end(arg, evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
    else if (what & BEV_EVENT_EOF)
        client_end(arg, "the connection ended before the answer");
    else if (what & BEV_EVENT_TIMEOUT)
        client_end(arg, "no answer in time");
}

static void teller_on_read(struct bufferevent *bytes, void *arg)
{
    struct load *load = arg;
    char *line = evbuffer_readln(bufferevent_get_input(bytes), NULL, EVBUFFER_EOL_LF);
    unsigned long count;

    if (!line)
        return;
    count = strtoul(line, NULL, 10);
    free(line);
    if (load->counted) {
        load->connections = count - load->connections;
        load->complete = true;
        event_base_loopbreak(load->base);
        return;
    }
    load->counted = true;
    load->connections = count;
    while (load->started < load->count && load->started < load->at_a_time)
        load_start_client(load);
}

static void teller_on_event(struct bufferevent *bytes, short what, void *arg)
{
    struct load *load = arg;

    (void)bytes;
    if (what & BEV_EVENT_CONNECTED) {
        load_ask_count(load);
        return;
    }
    fprintf(stderr, "demo: the upstream ended the connection, or is not there\n");
    event_base_loopbreak(load->base);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The smallest of count > 0 sorted values that percent of them do not exceed. */
static double percentile(const double *sorted, size_t count, size_t percent)
{
    return sorted[(count * percent + 99) / 100 - 1];
}

static int load_report(const struct load *load)
{
    double *times;
    size_t i;

    if (load->failed)
        fprintf(stderr, "demo: %zu of %zu clients got no answer\n", load->failed, load->count);
    if (!load->complete || load->failed)
        return 1;
    if (!(times = calloc(load->count, sizeof(*times))))
        return fail("calloc");
    for (i = 0; i < load->count; i++)
        times[i] = load->clients[i].answered;
    qsort(times, load->count, sizeof(*times), compare_doubles);
    printf("%lu %.2f %.2f\n", load->connections, percentile(times, load->count, 50),
           percentile(times, load->count, 99));
    free(times);
    return 0;
}

static int load_main(uint16_t port, uint16_t upstream_port, size_t count, size_t at_a_time)
{
    struct load load = {.target = loopback(port), .count = count, .at_a_time = at_a_time};
    struct sockaddr_in upstream = loopback(upstream_port);
    size_t i;
    int rc = 1;

    load.base = event_base_new();
    load.clients = calloc(count, sizeof(*load.clients));
    if (load.base && load.clients)
        load.teller = load_connect(&load, &upstream, teller_on_read, teller_on_event, &load);
    if (load.teller) {
        event_base_dispatch(load.base);
        rc = load_report(&load);
        bufferevent_free(load.teller);
    } else {
        fail("cannot start");
    }
    for (i = 0; i < load.started; i++)
        if (load.clients[i].bytes)
            bufferevent_free(load.clients[i].bytes);
    free(load.clients);
    if (load.base)
        event_base_free(load.base);
    return rc;
}

int main(int argc, char **argv)
{
    unsigned long number[4] = {0};
    int i;

    signal(SIGPIPE, SIG_IGN);
    for (i = 2; i < argc && i < 6; i++) {
        number[i - 2] = parse_number(argv[i], i < 4 ? UINT16_MAX : CLIENTS_MAX);
        if (number[i - 2] == 0) {
            fprintf(stderr, "demo: %s: not a %s\n", argv[i], i < 4 ? "port" : "number in range");
            return 2;
        }
    }
    if (argc >= 2 && argc <= 3 && strcmp(argv[1], "port") == 0)
        return port_main((uint16_t)number[0]);
    if (argc == 2 && strcmp(argv[1], "upstream") == 0)
        return upstream_main();
    if (argc == 6 && strcmp(argv[1], "load") == 0)
        return load_main((uint16_t)number[0], (uint16_t)number[1], number[2], number[3]);
    fputs(usage, stderr);
    return 2;
}
