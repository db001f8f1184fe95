/* SPDX-License-Identifier: ISC */
/* What contrib/quickstart run demonstrates kaproxy with: an upstream and one-shot clients. */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"
#include "load.h"
#include "redis.h"
#include "upstream.h"

#define CLIENTS_MAX 100000

static const char usage[] =
    "usage: demo port [PORT]              print a free loopback port, or say why PORT is not free\n"
    "       demo upstream http            print the port, then answer requests until SIGTERM\n"
    "       demo upstream https FILE      the same over TLS; FILE is made: its certificate\n"
    "       demo load TARGET UPSTREAM CLIENTS AT_A_TIME [FILE]\n"
    "                                     send one-shot clients to TARGET; print how many\n"
    "                                     connections UPSTREAM accepted meanwhile, with how many\n"
    "                                     TLS handshakes, full and resumed, the median and the\n"
    "                                     99th percentile of the time from connect to answer in\n"
    "                                     ms. Both are http://127.0.0.1:PORT, or https:// with\n"
    "                                     FILE, the certificate to trust\n"
    "       demo redis config PORT FOLDER print a redis-server's configuration\n"
    "       demo redis load TARGET UPSTREAM CLIENTS AT_A_TIME\n"
    "                                     send one-shot clients to TARGET, each with a login and\n"
    "                                     a database; print how many connections UPSTREAM, a\n"
    "                                     redis-server with that configuration, accepted\n"
    "                                     meanwhile, and median and 99th percentile as above.\n"
    "                                     Both are redis://127.0.0.1:PORT\n"
    "       demo redis refused TARGET     send a client that does not log in; print the reply,\n"
    "                                     which must be that it has to\n";

/* Reads a decimal number from 1 to max; 0 if the text is not one. */
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

static bool parse_place(const char *text, struct load_place *place)
{
    static const char http[] = "http://127.0.0.1:", https[] = "https://127.0.0.1:";

    place->tls = strncmp(text, https, strlen(https)) == 0;
    if (!place->tls && strncmp(text, http, strlen(http)) != 0)
        return false;
    text += place->tls ? strlen(https) : strlen(http);
    place->port = (uint16_t)parse_number(text, UINT16_MAX);
    return place->port != 0;
}

static int refuse(const char *argument)
{
    fprintf(stderr, "demo: not understood, or out of range: %s\n", argument);
    return 2;
}

/* Prints a port that can be bound now: the requested one, or (0) any. */
static int print_port(uint16_t wanted)
{
    struct sockaddr_in address = common_loopback(wanted);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), status = 1;

    if (fd < 0)
        return common_fail("socket");
    /* What a program that has just exited leaves behind does not make a port busy. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0) {
        fprintf(stderr, "demo: port %u: %s\n", (unsigned)wanted, strerror(errno));
    } else {
        printf("%u\n", (unsigned)common_port(fd));
        status = 0;
    }
    close(fd);
    return status;
}

static int port_command(char **argument)
{
    uint16_t wanted = 0;

    if (argument[0] && (wanted = (uint16_t)parse_number(argument[0], UINT16_MAX)) == 0)
        return refuse(argument[0]);
    return print_port(wanted);
}

static int load_command(char **argument)
{
    struct load_options options = {.certificate_path = argument[4]};

    if (!parse_place(argument[0], &options.target))
        return refuse(argument[0]);
    if (!parse_place(argument[1], &options.upstream))
        return refuse(argument[1]);
    if ((options.clients = parse_number(argument[2], CLIENTS_MAX)) == 0)
        return refuse(argument[2]);
    if ((options.at_a_time = parse_number(argument[3], CLIENTS_MAX)) == 0)
        return refuse(argument[3]);
    if ((options.target.tls || options.upstream.tls) && !options.certificate_path)
        return refuse("https:// without FILE");
    return load_main(&options);
}

/* The port of redis://127.0.0.1:PORT; 0: it is something else. */
static uint16_t parse_redis(const char *text)
{
    static const char redis[] = "redis://127.0.0.1:";
    bool begins = strncmp(text, redis, strlen(redis)) == 0;

    return begins ? (uint16_t)parse_number(text + strlen(redis), UINT16_MAX) : 0;
}

static int redis_load_command(char **argument)
{
    struct redis_options options;

    if ((options.target = parse_redis(argument[0])) == 0)
        return refuse(argument[0]);
    if ((options.upstream = parse_redis(argument[1])) == 0)
        return refuse(argument[1]);
    if ((options.clients = parse_number(argument[2], CLIENTS_MAX)) == 0)
        return refuse(argument[2]);
    if ((options.at_a_time = parse_number(argument[3], CLIENTS_MAX)) == 0)
        return refuse(argument[3]);
    return redis_load(&options);
}

static int redis_command(int argc, char **argument)
{
    uint16_t port;

    if (argc == 3 && strcmp(argument[0], "config") == 0) {
        port = (uint16_t)parse_number(argument[1], UINT16_MAX);
        return port != 0 ? redis_print_config(port, argument[2]) : refuse(argument[1]);
    }
    if (argc == 5 && strcmp(argument[0], "load") == 0)
        return redis_load_command(argument + 1);
    if (argc == 2 && strcmp(argument[0], "refused") == 0) {
        port = parse_redis(argument[1]);
        return port != 0 ? redis_refused(port) : refuse(argument[1]);
    }
    fputs(usage, stderr);
    return 2;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "", *scheme = argc > 2 ? argv[2] : "";

    signal(SIGPIPE, SIG_IGN);
    if (argc <= 3 && strcmp(command, "port") == 0)
        return port_command(argv + 2);
    if (argc == 3 && strcmp(command, "upstream") == 0 && strcmp(scheme, "http") == 0)
        return upstream_main(NULL);
    if (argc == 4 && strcmp(command, "upstream") == 0 && strcmp(scheme, "https") == 0)
        return upstream_main(argv[3]);
    if (argc >= 6 && argc <= 7 && strcmp(command, "load") == 0)
        return load_command(argv + 2);
    if (argc > 2 && strcmp(command, "redis") == 0)
        return redis_command(argc - 2, argv + 2);
    fputs(usage, stderr);
    return 2;
}
