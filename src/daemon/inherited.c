/* SPDX-License-Identifier: ISC */
/* Reads LISTEN_FDS and KAPROXY_HANDOVER, checks the descriptors, and finds sockets among them. */
#include "daemon/inherited.h"

#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/takeover.h"
#include "net/address.h"
#include "net/bound_socket.h"

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */

struct inherited_socket {
    int fd; /* -1: taken */
    const char *name;
    struct listen_address address; /* without a text */
    bool is_ours;                  /* a unix socket's file */
};

struct inherited {
    bool is_handover;
    char *names; /* what the names point into */
    struct inherited_socket *sockets;
    size_t count;
    int control, places; /* -1: none, or taken */
};

static const char *const variables[] = {"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS",
                                        "LISTEN_FDNAMES", "KAPROXY_HANDOVER"};

/* Returns -1. */
static PRINTF(2, 3) int complain(FILE *errors, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("kaproxy: ", errors);
    vfprintf(errors, format, args);
    fputc('\n', errors);
    va_end(args);
    return -1;
}

/* Reads a number that consists of digits alone, and moves past it; -1: not a number, or larger than
 * max. */
static int read_number(const char **text, int max)
{
    int number = 0;
    if (**text < '0' || **text > '9')
        return -1;
    for (; **text >= '0' && **text <= '9'; (*text)++) {
        int digit = **text - '0';
        if (number > (max - digit) / 10)
            return -1;
        number = number * 10 + digit;
    }
    return number;
}

/* The same where nothing may follow. */
static int read_whole_number(const char *text, int max)
{
    int number = read_number(&text, max);
    return *text == '\0' ? number : -1;
}

/* Whose id LISTEN_PID is: 1: ours, 0: none's, or another process', -1: it cannot be told. */
static int is_for_us(FILE *errors)
{
    const char *pid_text = getenv("LISTEN_PID");
    bool is_handover = getenv("KAPROXY_HANDOVER") != NULL;
    if (pid_text == NULL && is_handover)
        return complain(errors, "KAPROXY_HANDOVER is set, and LISTEN_PID is not");
    if (pid_text == NULL)
        return 0;
    int pid = read_whole_number(pid_text, INT_MAX);
    if (pid <= 0)
        return complain(errors, "LISTEN_PID=%s is not a process id", pid_text);
    if (pid == getpid())
        return 1;
    if (is_handover)
        return complain(errors,
                        "the handover is to process %d, and this is process %d: a program that "
                        "starts kaproxy must be replaced by it (exec)",
                        pid, (int)getpid());
    return 0;
}

/* How many there are, all of them open, or -1. */
static int count_descriptors(FILE *errors)
{
    const char *text = getenv("LISTEN_FDS");
    if (text == NULL)
        return 0;
    int count = read_whole_number(text, INT_MAX - FIRST_FD - 2);
    if (count < 0)
        return complain(errors, "LISTEN_FDS=%s is not a number of descriptors", text);
    for (int fd = FIRST_FD; fd < FIRST_FD + count; fd++) {
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
            return complain(errors, "LISTEN_FDS=%s: descriptor %d is not open", text, fd);
    }
    return count;
}

/* 0, or -1. */
static int read_names(struct inherited *inherited, FILE *errors)
{
    const char *text = getenv("LISTEN_FDNAMES");
    size_t count = text == NULL ? 0 : *text != '\0' || inherited->count > 0;
    if (text == NULL)
        return 0;
    for (const char *c = text; (c = strchr(c, ':')) != NULL; c++)
        count++;
    if (count != inherited->count)
        return complain(errors, "LISTEN_FDNAMES has %zu names for %zu descriptors", count,
                        inherited->count);
    inherited->names = strdup(text);
    if (inherited->names == NULL)
        return complain(errors, "%s", strerror(errno));
    char *rest = inherited->names;
    for (size_t i = 0; i < count; i++)
        inherited->sockets[i].name = strsep(&rest, ":");
    return 0;
}

/* -1: unknown, since it is not a socket. */
static int socket_option(int fd, int option)
{
    int value = 0;
    socklen_t length = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, option, &value, &length) < 0 ? -1 : value;
}

static const char *not_a_stream_socket(int type)
{
    switch (type) {
    case -1:
        return "not a socket";
    case SOCK_DGRAM:
        return "a datagram socket (ListenDatagram=)";
    case SOCK_SEQPACKET:
        return "a sequential packet socket (ListenSequentialPacket=)";
    default:
        return "a socket of another kind";
    }
}

/* What it is instead of a listening stream socket; NULL: it is one. The sockets of a draining
 * listener do not listen until the predecessor yields. */
static const char *not_a_listening_socket(const struct inherited_socket *inherited,
                                          bool is_handover)
{
    int type = socket_option(inherited->fd, SO_TYPE);
    if (type != SOCK_STREAM)
        return not_a_stream_socket(type);
    if (inherited->address.sa.ss_family != AF_INET && inherited->address.sa.ss_family != AF_INET6 &&
        inherited->address.sa.ss_family != AF_UNIX)
        return "a socket of another family";
    if (!is_handover && socket_option(inherited->fd, SO_ACCEPTCONN) != 1)
        return "a socket that does not listen (Accept=yes?)";
    return NULL;
}

/* 0, or -1. */
static int check_sockets(struct inherited *inherited, FILE *errors)
{
    int result = 0;
    for (size_t i = 0; i < inherited->count; i++) {
        struct inherited_socket *one = &inherited->sockets[i];
        one->address.length = sizeof(one->address.sa);
        getsockname(one->fd, (struct sockaddr *)&one->address.sa, &one->address.length);
        const char *what = not_a_listening_socket(one, inherited->is_handover);
        if (what != NULL)
            result =
                complain(errors,
                         "descriptor %d (%s), passed by LISTEN_FDS, must be a listening stream "
                         "socket and is %s",
                         one->fd, one->name, what);
    }
    return result;
}

/* The number of a descriptor; -1: invalid. */
static int read_channel(const char **text, int expected)
{
    int fd = read_number(text, INT_MAX);
    if (fd != expected || *(*text)++ != ':' || socket_option(fd, SO_TYPE) != SOCK_SEQPACKET ||
        socket_option(fd, SO_DOMAIN) != AF_UNIX)
        return -1;
    return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -1 : fd;
}

/* Numbers of sockets in ascending order. 0, or -1. */
static int read_ours(struct inherited *inherited, const char *text)
{
    int last = -1;
    while (*text != '\0') {
        if (last >= 0 && *text++ != ',')
            return -1;
        int number = read_number(&text, INT_MAX);
        if (number <= last || (size_t)number >= inherited->count ||
            inherited->sockets[number].address.sa.ss_family != AF_UNIX)
            return -1;
        inherited->sockets[number].is_ours = true;
        last = number;
    }
    return 0;
}

/* 0, or -1. */
static int read_handover(struct inherited *inherited, FILE *errors)
{
    const char *text = getenv("KAPROXY_HANDOVER");
    const char *rest = text;
    int next = FIRST_FD + (int)inherited->count;
    if (text == NULL)
        return 0;
    int control = read_channel(&rest, next);
    int places = control < 0 ? -1 : read_channel(&rest, next + 1);
    if (places < 0 || read_ours(inherited, rest) < 0)
        return complain(errors, "KAPROXY_HANDOVER=%s does not describe a handover", text);
    inherited->control = control;
    inherited->places = places;
    return 0;
}

/* Until everything is valid nothing of it is ours to close. */
static void forget(struct inherited *inherited)
{
    if (inherited == NULL)
        return;
    free(inherited->sockets);
    free(inherited->names);
    free(inherited);
}

/* NULL: the reason was written. */
static struct inherited *read_environment(FILE *errors)
{
    struct inherited *inherited = calloc(1, sizeof(*inherited));
    int count = count_descriptors(errors);
    if (count < 0)
        goto err_written;
    if (inherited == NULL)
        goto err;
    inherited->control = inherited->places = -1;
    inherited->is_handover = getenv("KAPROXY_HANDOVER") != NULL;
    inherited->sockets = calloc((size_t)count + 1, sizeof(*inherited->sockets));
    if (inherited->sockets == NULL)
        goto err;
    for (inherited->count = 0; inherited->count < (size_t)count; inherited->count++)
        inherited->sockets[inherited->count] =
            (struct inherited_socket){.fd = FIRST_FD + (int)inherited->count, .name = "unknown"};
    if (read_names(inherited, errors) < 0 || check_sockets(inherited, errors) < 0 ||
        read_handover(inherited, errors) < 0)
        goto err_written;
    return inherited;

err:
    complain(errors, "%s", strerror(errno));
err_written:
    forget(inherited);
    return NULL;
}

int inherited_take(struct inherited **inherited, FILE *errors)
{
    int result = is_for_us(errors);
    *inherited = NULL;
    if (result > 0) {
        *inherited = read_environment(errors);
        result = *inherited == NULL ? -1 : 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        unsetenv(variables[i]);
    return result;
}

int inherited_find(struct inherited *inherited, const struct listen_address *address,
                   const char *name, bool *is_ours)
{
    *is_ours = false;
    for (size_t i = 0; inherited != NULL && i < inherited->count; i++) {
        struct inherited_socket *one = &inherited->sockets[i];
        int fd = one->fd;
        if (fd < 0 || !(name == NULL ? listen_address_equals(&one->address, address)
                                     : strcmp(one->name, name) == 0))
            continue;
        one->fd = -1;
        *is_ours = one->is_ours;
        return fd;
    }
    return -1;
}

#define TEXT_MAX 128 /* unix: and a path */

/* Where it listens, for humans. */
static const char *format_socket(const struct inherited_socket *inherited, char text[TEXT_MAX])
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)&inherited->address.sa;
    union address address;
    if (un->sun_family == AF_UNIX) {
        snprintf(text, TEXT_MAX, "unix:%s", un->sun_path);
        return un->sun_path[0] == '\0' ? "an abstract unix socket" : text;
    }
    memcpy(&address, un, sizeof(address));
    return address_format(&address, text);
}

int inherited_check_left(const struct inherited *inherited, FILE *errors)
{
    char text[TEXT_MAX];
    int result = 0;
    if (inherited == NULL || inherited->is_handover)
        return 0;
    for (size_t i = 0; i < inherited->count; i++) {
        const struct inherited_socket *one = &inherited->sockets[i];
        if (one->fd >= 0)
            result = complain(errors,
                              "descriptor %d (%s), passed by LISTEN_FDS, is not used: it listens "
                              "on %s, and no listener has that address or this name",
                              one->fd, one->name, format_socket(one, text));
    }
    return result;
}

/* Leaves the file alone if another process has replaced it. */
static void close_with_file(struct inherited_socket *one)
{
    const char *error;
    char text[] = "";
    one->address.text = text;
    struct bound_socket *bound = bound_socket_adopt(one->fd, &one->address, true, &error);
    if (bound == NULL)
        return;
    bound_socket_give_file(bound, false);
    bound_socket_unref(bound);
    one->fd = -1;
}

static void close_one(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void inherited_close_left(struct inherited *inherited)
{
    for (size_t i = 0; inherited != NULL && i < inherited->count; i++) {
        if (inherited->sockets[i].fd >= 0 && inherited->sockets[i].is_ours)
            close_with_file(&inherited->sockets[i]);
        close_one(&inherited->sockets[i].fd);
    }
}

static int give(int *fd)
{
    int given = *fd;
    *fd = -1;
    return given;
}

int inherited_control_channel(struct inherited *inherited)
{
    return inherited == NULL ? -1 : give(&inherited->control);
}

int inherited_places_channel(struct inherited *inherited)
{
    return inherited == NULL ? -1 : give(&inherited->places);
}

bool inherited_has_predecessor(const struct inherited *inherited)
{
    return inherited != NULL && inherited->control >= 0;
}

/* Nobody reads more than that, and the channel takes it without blocking. */
#define MISTAKES_MAX 20

void inherited_tell(const struct inherited *inherited, const char *mistakes)
{
    char word[TAKEOVER_WORD_MAX];
    for (int i = 0; *mistakes != '\0' && i < MISTAKES_MAX; i++) {
        size_t length = strcspn(mistakes, "\n");
        snprintf(word, sizeof(word), TAKEOVER_MISTAKE "%.*s", (int)length, mistakes);
        takeover_say(inherited->control, word);
        mistakes += length + (mistakes[length] != '\0');
    }
}

void inherited_free(struct inherited *inherited)
{
    if (inherited == NULL)
        return;
    for (size_t i = 0; i < inherited->count; i++)
        close_one(&inherited->sockets[i].fd);
    close_one(&inherited->control);
    close_one(&inherited->places);
    forget(inherited);
}
