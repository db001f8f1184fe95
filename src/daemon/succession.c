/* SPDX-License-Identifier: ISC */
/* The parts of this process in a handover, at both ends. */
#include "daemon/succession.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "daemon/handover.h"
#include "daemon/notify.h"
#include "daemon/pid_file.h"
#include "daemon/takeover.h"
#include "net/bound_socket.h"
#include "net/mailbox.h"

struct succession {
    struct succession_options options;
    struct handover *handover;
    struct takeover *takeover; /* NULL: no predecessor, or not any more */
    struct successor_socket *sockets;
    struct message copies_expected; /* the worker's answer */
    const char *pid_file;           /* the start's: it does not change */
    bool is_main;                   /* whose file has our id */
};

/* The old process. */

static void expect_copies(void *arg)
{
    struct succession *succession = arg;
    succession->options.hold(succession->options.arg, true);
    worker_expect_copies(succession->options.worker, &succession->copies_expected);
}

static void on_copies_expected(struct message *message)
{
    handover_go(container_of(message, struct succession, copies_expected)->handover);
}

static void expect_none(void *arg)
{
    struct succession *succession = arg;
    worker_expect_none(succession->options.worker);
}

/* A socket that systemd passed by name need not be bound to the address in the configuration. */
static bool is_bound_to_its_address(const struct bound_socket *socket)
{
    struct listen_address bound = {.length = sizeof(bound.sa)};
    return getsockname(bound_socket_fd(socket), (struct sockaddr *)&bound.sa, &bound.length) == 0 &&
           listen_address_equals(&bound, bound_socket_address(socket));
}

/* How the successor is to find a socket, given its index: by the name of its listener where that is
 * needed. Elsewhere it has no name, so that it is not taken for another address of the same
 * listener. */
static const char *name_at(const struct generation *generation, size_t index)
{
    const struct config *config = generation->config;
    if (is_bound_to_its_address(generation->sockets[index]))
        return "";
    for (size_t i = 0; i < config->listener_count; i++) {
        if (index < config->listeners[i].addresses.count)
            return config->listeners[i].name;
        index -= config->listeners[i].addresses.count;
    }
    return INHERITED_ADMIN;
}

static const struct successor_socket *collect_sockets(void *arg, size_t *count)
{
    struct succession *succession = arg;
    const struct generation *generation = *succession->options.generation;
    free(succession->sockets);
    succession->sockets = calloc(generation->socket_count + 1, sizeof(*succession->sockets));
    if (succession->sockets == NULL)
        return NULL;
    for (size_t i = 0; i < generation->socket_count; i++)
        succession->sockets[i] =
            (struct successor_socket){.fd = bound_socket_fd(generation->sockets[i]),
                                      .name = name_at(generation, i),
                                      .is_ours = bound_socket_has_file(generation->sockets[i])};
    *count = generation->socket_count;
    return succession->sockets;
}

static void yield(void *arg, int places)
{
    struct succession *succession = arg;
    admin_accept(succession->options.admin, false);
    worker_yield(succession->options.worker, places);
}

static void resume(void *arg)
{
    struct succession *succession = arg;
    admin_accept(succession->options.admin, true);
    worker_resume(succession->options.worker);
}

static void over(void *arg)
{
    struct succession *succession = arg;
    succession->options.hold(succession->options.arg, false);
}

static bool tell_main_pid(void *arg, pid_t pid)
{
    struct succession *succession = arg;
    if (!notify_main_pid(pid))
        return false;
    supervision_end(succession->options.supervision);
    return true;
}

static void give_admin_files(const struct succession *succession, bool away)
{
    const struct generation *generation = *succession->options.generation;
    for (size_t i = generation->admin_at; i < generation->socket_count; i++)
        bound_socket_give_file(generation->sockets[i], away);
}

static void leave(void *arg)
{
    struct succession *succession = arg;
    succession->is_main = false;
    give_admin_files(succession, true);
    worker_leave(succession->options.worker);
    succession->options.left(succession->options.arg);
}

/* The new process. */

static void be_main(void *arg)
{
    struct succession *succession = arg;
    succession->is_main = true;
    pid_file_write(succession->pid_file); /* clients are served without it */
    supervision_ready(succession->options.supervision);
}

static void be_alone(void *arg)
{
    struct succession *succession = arg;
    takeover_free(succession->takeover);
    succession->takeover = NULL;
}

/* 0, or -1 with errno. */
static int prepare_takeover(struct succession *succession, int control)
{
    const struct succession_options *options = &succession->options;
    const struct takeover_ops ops = {.arg = succession, .is_main = be_main, .is_alone = be_alone};
    succession->takeover = takeover_new(options->base, control, &ops);
    if (succession->takeover == NULL)
        return -1;
    admin_accept(options->admin, false);
    return 0;
}

struct succession *succession_new(const struct succession_options *options)
{
    struct succession *succession = calloc(1, sizeof(*succession));
    const struct handover_ops ops = {.arg = succession,
                                     .expect_copies = expect_copies,
                                     .expect_none = expect_none,
                                     .sockets = collect_sockets,
                                     .yield = yield,
                                     .resume = resume,
                                     .over = over,
                                     .main_pid = tell_main_pid,
                                     .leave = leave};
    if (succession == NULL)
        goto err;
    succession->options = *options;
    succession->pid_file = (*options->generation)->config->pid_file;
    succession->copies_expected.run = on_copies_expected;
    succession->handover = handover_new(options->base, options->program, &ops);
    if (succession->handover == NULL)
        goto err;
    int control = inherited_control_channel(options->inherited);
    if (control >= 0 && prepare_takeover(succession, control) < 0)
        goto err;
    return succession;

err:
    log_error("cannot start: %s", strerror(errno));
    succession_free(succession);
    return NULL;
}

void succession_free(struct succession *succession)
{
    if (succession == NULL)
        return;
    /* After a handover it belongs to the successor, which may be about to replace it. */
    if (succession->is_main)
        pid_file_remove(succession->pid_file);
    handover_free(succession->handover);
    takeover_free(succession->takeover);
    free(succession->sockets);
    free(succession);
}

void succession_prepared(struct succession *succession)
{
    if (succession->takeover != NULL)
        takeover_prepared(succession->takeover);
}

void succession_serving(struct succession *succession)
{
    inherited_close_left(succession->options.inherited);
    if (succession->takeover == NULL) {
        be_main(succession);
        return;
    }
    give_admin_files(succession, false);
    admin_accept(succession->options.admin, true);
    takeover_serving(succession->takeover);
}

void succession_hand_over(struct succession *succession)
{
    if (succession->takeover != NULL)
        log_error("SIGUSR2 is refused: the previous process has not ended yet");
    else
        handover_start(succession->handover);
}

void succession_hold(struct succession *succession, bool held)
{
    handover_hold(succession->handover, held);
}

void succession_stop(struct succession *succession)
{
    handover_stop(succession->handover);
}
