/* SPDX-License-Identifier: ISC */
/* crosstalk [--tls CERTIFICATE KEY] CLIENTS EXCHANGES SEED [timeouts] [large]
 *
 * Writes "port N", where its upstream listens; reads kaproxy's port from standard input; has its
 * clients do the exchanges; reports every error, then writes "done" with the outcomes and "further"
 * with other counts; stays until standard input ends. The exit status is 0 if nothing was wrong. */
#include "crosstalk.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define COMPLAINTS_MAX 20

struct run run;
static atomic_ulong last_id, stale, timeouts;
static atomic_ulong outcomes[OUTCOMES];
static atomic_uint complaints;
static atomic_uchar *deliveries;

unsigned long next_id(void)
{
    unsigned long id = atomic_fetch_add(&last_id, 1) + 1;
    return id <= run.exchanges ? id : 0;
}

void count_outcome(enum outcome outcome)
{
    atomic_fetch_add(&outcomes[outcome], 1);
}

unsigned count_delivery(unsigned long id)
{
    if (id == 0 || id > run.exchanges) {
        complain("no such exchange: %lu", id);
        return 0;
    }
    return atomic_fetch_add(&deliveries[id], 1);
}

void count_stale(void)
{
    atomic_fetch_add(&stale, 1);
}

void count_timeout(void)
{
    atomic_fetch_add(&timeouts, 1);
}

void complain(const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    for (char *c = text; *c != '\0'; c++)
        if (*c == '\r' || *c == '\n')
            *c = '|';
    if (atomic_fetch_add(&complaints, 1) < COMPLAINTS_MAX)
        printf("wrong: %s\n", text);
}

static int listen_anywhere(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, 512) < 0 || getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
        perror("crosstalk");
        exit(2);
    }
    *port = ntohs(address.sin_port);
    return fd;
}

static void run_clients(void)
{
    pthread_t *threads = calloc(run.clients, sizeof(*threads));
    if (threads == NULL)
        abort();
    for (uintptr_t i = 0; i < run.clients; i++)
        if (pthread_create(&threads[i], NULL, client_run, (void *)(i + 1)) != 0) /* NOLINT */
            abort();
    for (unsigned i = 0; i < run.clients; i++)
        pthread_join(threads[i], NULL);
    free(threads);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"whole", "ours", "cut", "aborted", "unanswered"};
    pthread_t acceptor;
    uint16_t port;
    char line[32];
    if (argc > 3 && strcmp(argv[1], "--tls") == 0) {
        run.tls = true;
        tls_prepare(argv[2], argv[3]);
        argc -= 3;
        argv += 3;
    }
    if (argc < 4) {
        fprintf(stderr, "usage: crosstalk [--tls CERTIFICATE KEY] CLIENTS EXCHANGES SEED "
                        "[timeouts] [large]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    run.clients = (unsigned)strtoul(argv[1], NULL, 10);
    run.exchanges = strtoul(argv[2], NULL, 10);
    run.seed = strtoull(argv[3], NULL, 10) | 1;
    for (int i = 4; i < argc; i++) {
        run.timeouts |= strcmp(argv[i], "timeouts") == 0;
        run.large |= strcmp(argv[i], "large") == 0;
    }
    deliveries = calloc(run.exchanges + 1, sizeof(*deliveries));
    if (deliveries == NULL)
        abort();
    wire_prepare();
    int listener = listen_anywhere(&port);
    if (pthread_create(&acceptor, NULL, upstream_run, &listener) != 0)
        abort();
    printf("port %u\n", (unsigned)port);
    if (fgets(line, sizeof(line), stdin) == NULL)
        return 2;
    run.port = (uint16_t)strtoul(line, NULL, 10);
    run_clients();
    printf("done");
    for (int i = 0; i < OUTCOMES; i++)
        printf(" %s=%lu", names[i], atomic_load(&outcomes[i]));
    printf("\nfurther stale=%lu timeouts=%lu complaints=%u\n", atomic_load(&stale),
           atomic_load(&timeouts), atomic_load(&complaints));
    while (fgets(line, sizeof(line), stdin) != NULL)
        continue;
    shutdown(listener, SHUT_RDWR);
    pthread_join(acceptor, NULL);
    return atomic_load(&complaints) > 0;
}
