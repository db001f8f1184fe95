/* SPDX-License-Identifier: ISC */
/* Goal: allocate plus release costs about the same with 10,000 hosts and 100,000 waiters as with 10
 * hosts and 100 waiters.
 *
 * bench_pool [HOSTS WAITERS [OPERATIONS]]: without arguments both sizes, and their ratios; the exit
 * status is 1 if one is above 2. With a size, only that one, for a profiler: callgrind's counts of
 * two runs of different length, subtracted, give the instructions per operation.
 *
 * The pool is the real one. The dialer is replaced here: connections are duplicates of one quiet
 * descriptor, and nothing watches them, so that the pool's own work is measured and not the
 * kernel's caches. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "net/loop.h"
#include "pool/pool.h"

#define RUNS       10
#define OPERATIONS 30000
#define RATIO_MAX  2.0

static void die(const char *what)
{
    fprintf(stderr, "bench_pool: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* A dialer whose dials succeed in the next iteration. */

struct dial {
    struct loop *loop;
    struct stream *stream;
    struct dial_handler *handler;
    struct task task;
};

static int wire; /* what connections are duplicates of */

static void finish_dial(struct task *task)
{
    struct dial *dial = container_of(task, struct dial, task);
    struct dial_handler *handler = dial->handler;
    int fd = dup(wire);
    if (fd < 0)
        die("dup");
    stream_init(dial->stream, fd);
    free(dial);
    handler->done(handler, NULL);
}

struct dial *dialer_start(struct loop *loop, struct resolver *resolver,
                          const struct endpoint *endpoint, const struct dial_options *options,
                          struct stream *stream, struct dial_handler *handler)
{
    struct dial *dial = calloc(1, sizeof(*dial));
    (void)resolver;
    (void)endpoint;
    (void)options;
    if (dial == NULL)
        return NULL;
    *dial = (struct dial){.loop = loop, .stream = stream, .handler = handler};
    dial->task.run = finish_dial;
    loop_post(loop, &dial->task);
    return dial;
}

void dialer_cancel(struct dial *dial)
{
    if (dial == NULL)
        return;
    loop_unpost(dial->loop, &dial->task);
    free(dial);
}

/* No time limit expires. */
void dialer_time_is_up(const struct dial *dial, const char *key, usec_t limit,
                       struct failure *failure)
{
    (void)dial;
    (void)key;
    (void)limit;
    (void)failure;
    abort();
}

bool dialer_is_connected(struct dial *dial)
{
    (void)dial;
    return false;
}

void dialer_last_try(struct dial *dial)
{
    (void)dial;
}

void dialer_limit(struct dial *dial, const char *key, usec_t limit)
{
    (void)dial;
    (void)key;
    (void)limit;
}

bool dialer_failed_here(const struct failure *failure)
{
    (void)failure;
    return false;
}

/* The users. */

struct user {
    struct bench *bench;
    struct allocation allocation;
    struct user *next; /* among those that hold a lease */
};

struct bench {
    struct loop *loop;
    struct pool *pool;
    struct endpoint *endpoints;
    size_t hosts;
    struct user *users;
    size_t user_count;
    struct user **holders; /* the users that hold a lease, oldest lease first */
    size_t first, held;
};

static void on_answered(struct allocation *allocation, const struct failure *failure)
{
    struct user *user = container_of(allocation, struct user, allocation);
    struct bench *bench = user->bench;
    if (failure != NULL) {
        fprintf(stderr, "bench_pool: %s: %s\n", failure->function, failure->text);
        exit(2);
    }
    bench->holders[(bench->first + bench->held++) % bench->user_count] = user;
}

static void user_allocate(struct user *user)
{
    if (pool_allocate(user->bench->pool, &user->allocation) < 0)
        die("allocate");
}

/* One operation: the longest lease ends, and its user asks again. The loop iterates after each, as
 * it does when clients arrive one by one. */
static void operate(struct bench *bench)
{
    struct user *user = bench->holders[bench->first];
    bench->first = (bench->first + 1) % bench->user_count;
    bench->held--;
    pool_release(&user->allocation, RELEASE_PEEK);
    user_allocate(user);
}

/* Hosts arrive in an order other than that of their names. */
static void open_bench(struct bench *bench, size_t hosts, size_t users,
                       const struct pool_limits *limits)
{
    *bench = (struct bench){.loop = loop_new(), .hosts = hosts, .user_count = users};
    bench->endpoints = calloc(hosts, sizeof(*bench->endpoints));
    bench->users = calloc(users, sizeof(*bench->users));
    bench->holders = calloc(users, sizeof(struct user *));
    if (bench->loop == NULL || bench->endpoints == NULL || bench->users == NULL ||
        bench->holders == NULL)
        die("memory");
    bench->pool = pool_new(bench->loop, NULL, limits);
    if (bench->pool == NULL)
        die("pool");
    for (size_t h = 0; h < hosts; h++) {
        struct endpoint *endpoint = &bench->endpoints[h];
        memcpy(endpoint->scheme, "tcp", sizeof("tcp"));
        size_t number = h * 7919 % hosts; /* numeric: a name would need a resolver */
        snprintf(endpoint->addr, sizeof(endpoint->addr), "127.1.%zu.%zu", number / 256,
                 number % 256);
        endpoint->port = 80;
    }
    for (size_t i = 0; i < users; i++) {
        struct user *user = &bench->users[i];
        user->bench = bench;
        user->allocation.endpoint = &bench->endpoints[i % hosts];
        user->allocation.retained = pool_retain(bench->pool, user->allocation.endpoint, NULL);
        if (user->allocation.retained == NULL)
            die("pool_retain");
        user->allocation.on_connection = on_answered;
        user->allocation.timeout = 3600 * USEC_PER_SEC;
        user_allocate(user);
    }
    for (int i = 0; i < 10; i++)
        loop_iterate(bench->loop, 0);
}

static void close_bench(struct bench *bench)
{
    for (; bench->held > 0; bench->held--) {
        struct user *user = bench->holders[bench->first];
        bench->first = (bench->first + 1) % bench->user_count;
        pool_discard(&user->allocation, DISCARD_NOT_REUSABLE, false);
    }
    pool_free(bench->pool);
    loop_free(bench->loop);
    free(bench->holders);
    free(bench->users);
    free(bench->endpoints);
}

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* Nanoseconds per operation. */
static double run(struct bench *bench, unsigned operations)
{
    double start = now();
    unsigned done = 0;
    while (done < operations) {
        if (bench->held > 0) {
            operate(bench);
            done++;
        }
        loop_iterate(bench->loop, 0);
    }
    return (now() - start) / operations;
}

struct size {
    size_t hosts, waiters;
};

enum kind {
    DEFERRED,  /* hosts have a connection, and waiters for it: a release is the next one's grant */
    IMMEDIATE, /* no user waits: a release leaves the connection idle, and allocate finds it */
    FULL       /* half the hosts wait for room at max_open: a release closes the connection, and
                  the oldest waiter of all is dialled for */
};
static const char *const kinds[] = {"deferred", "immediate", "at max_open"};

static void open_kind(struct bench *bench, enum kind kind, struct size size)
{
    size_t hosts = size.hosts;
    size_t open = kind == FULL ? (hosts + 1) / 2 : hosts;
    struct pool_limits limits = {.max_per_host = 1, .max_open = (unsigned)open};
    open_bench(bench, hosts, kind == IMMEDIATE ? hosts : hosts + size.waiters, &limits);
}

static double bench_alone(enum kind kind, struct size size, unsigned operations)
{
    struct bench bench;
    open_kind(&bench, kind, size);
    double span = run(&bench, operations);
    close_bench(&bench);
    return span;
}

/* Both sizes alternate, so that whatever else the machine does affects both. The best counts. */
static double bench_ratio(enum kind kind, struct size few, struct size many, unsigned operations)
{
    struct bench benches[2];
    double best[2] = {0};
    open_kind(&benches[0], kind, few);
    open_kind(&benches[1], kind, many);
    for (int i = 0; i < 2 * RUNS; i++) {
        double span = run(&benches[i % 2], operations);
        if (i < 2 || span < best[i % 2])
            best[i % 2] = span;
    }
    close_bench(&benches[0]);
    close_bench(&benches[1]);
    printf("%-12s %zu hosts, %zu waiters: %5.0f ns   %zu hosts, %zu waiters: %5.0f ns   "
           "ratio %.2f\n",
           kinds[kind], few.hosts, few.waiters, best[0], many.hosts, many.waiters, best[1],
           best[1] / best[0]);
    return best[1] / best[0];
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (log_open("stderr", LOG_LEVEL_ERROR) < 0)
        die("log_open");
    wire = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (wire < 0)
        die("socket");
    unsigned operations = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : OPERATIONS;
    const struct size few = {10, 100}, many = {10000, 100000};
    int status = 0;
    for (enum kind kind = DEFERRED; kind <= FULL; kind++) {
        if (argc > 2) {
            struct size size = {strtoul(argv[1], NULL, 10), strtoul(argv[2], NULL, 10)};
            printf("%-12s %6.0f ns\n", kinds[kind], bench_alone(kind, size, operations));
        } else if (bench_ratio(kind, few, many, operations) > RATIO_MAX) {
            status = 1;
        }
    }
    close(wire);
    return status;
}
