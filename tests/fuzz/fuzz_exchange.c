/* SPDX-License-Identifier: ISC */
/* Whole exchanges: the real sessions and the real pool between up to four clients and their
 * upstreams, all of them ends of socketpairs.
 *
 * The input is a play. Its first byte sets options (enum option); what follows is text that goes to
 * the current client or the current upstream, and commands, each 0xff and a letter:
 *
 *   c u   the text after it goes to the client, to the upstream; C U: and the program does not run
 *         before the next command       s  it runs: the text is split here    ff  the byte itself
 *   t     the program runs for one iteration of its loop
 *   n     a new client, then the current one     1 to 4  that client
 *   k     the next upstream; whichever received something last is the current one anyway
 *   f F   the client, the upstream ends its direction
 *   x y   it closes, with a reset if bytes are unread
 *   p q   the client, the upstream stops reading, or resumes
 *   a r h dials are answered, refused, held
 *   w     time passes, as many seconds as the next byte says
 *   z     filler follows: as many KiB as the next byte says
 *   d     kaproxy is asked to stop
 *
 * Plays are mutated by mutate.c. When one is over, all ends read what is pending, the outcome is
 * judged (judge.h), and time passes until every session has ended. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "far.h"
#include "http1/http1_compose.h"
#include "judge.h"
#include "session/http/http.h"
#include "session/http/http_internal.h"
#include "session/session.h"
#include "stub_dialer.h"

/* Far above what any input needs. */
#define ITERATIONS_MAX 20000

#define FILLER_MAX (384 * 1024)

enum option {
    OPTION_LIMIT = 3, /* max_per_host, 0 for 4 */
    OPTION_FRESH = 4,
    OPTION_CLIENT_HOST = 8, /* and abort_on_close = always */
    OPTION_SMALL_BUFFERS = 16,
    OPTION_PRECONNECT = 32,
    OPTION_STREAMING = 64, /* no request_buffering */
    OPTION_ABORT = 128     /* sessions are closed at the end */
};

struct play {
    const uint8_t *at, *end;
    struct loop *loop;
    struct resolver *resolver;
    struct pool *pool;
    struct config_listener config;
    struct listener_context context;
    struct far *client, *upstream;
    bool to_upstream;
    bool runs; /* text is followed by iterations */
    size_t filled;
};

static char filler[FILLER_MAX + 1];
static char scratch[64 * 1024];
static char compose[HTTP1_COMPOSE_MAX];
static char name[] = "fuzz", host_upstream[] = "upstream", host_client[] = "client";

/* The linker substitutes it for the function (--wrap): where a connection is requested after part
 * of the request had been sent on another one. */
void __real_session_request_connection(struct session *session, bool fresh);
void __wrap_session_request_connection(struct session *session, bool fresh);

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    for (size_t at = 0; at < FILLER_MAX; at += 8)
        snprintf(filler + at, sizeof(filler) - at, "%07zx.", at);
    REQUIRE(log_open("/dev/null", LOG_LEVEL_ERROR) == 0);
    REQUIRE(log_access_open("/dev/null", LOG_FORMAT_LOGFMT) == 0);
    return 0;
}

void __wrap_session_request_connection(struct session *session, bool fresh)
{
    const struct exchange *exchange = container_of(session, struct client, session)->exchange;
    if (exchange->tries > 0 && exchange->sent_at != 0)
        far_note_retry((ntohl(session->peer.in.sin_addr.s_addr) & 0xff) - 1);
    __real_session_request_connection(session, fresh);
}

static void iterate(struct play *play)
{
    loop_iterate(play->loop, 0);
    far_pump();
    const char *wrong = pool_check(play->pool);
    if (wrong != NULL)
        fprintf(stderr, "pool: %s\n", wrong);
    REQUIRE(wrong == NULL);
    if (far_world.last_received != NULL)
        play->upstream = far_world.last_received;
    far_world.last_received = NULL;
}

static void run_until_quiet(struct play *play)
{
    unsigned iterations = 0, quiet = 0;
    while (quiet < 2) {
        unsigned long before = far_world.activity;
        iterate(play);
        quiet = far_world.activity == before ? quiet + 1 : 0;
        REQUIRE(++iterations < ITERATIONS_MAX);
    }
}

/* First enough of it to make the program watch a client. */
static void pass_time(struct play *play, usec_t by)
{
    usec_t first = by < EXCHANGE_WATCH_AFTER ? by : EXCHANGE_WATCH_AFTER;
    loop_warp(play->loop, first);
    run_until_quiet(play);
    loop_warp(play->loop, by - first);
    run_until_quiet(play);
}

static void add_client(struct play *play)
{
    union address peer = {.in = {.sin_family = AF_INET, .sin_port = htons(1024)}};
    int fd = far_open_client();
    if (fd < 0)
        return;
    play->client = &far_world.clients[far_world.client_count - 1];
    peer.in.sin_addr.s_addr = htonl(0x0a000000U + (uint32_t)far_world.client_count);
    REQUIRE(session_start(&play->context, fd, &peer) == 0);
}

static void say(struct play *play, const char *data, size_t length)
{
    if (play->upstream == NULL && far_world.upstream_count > 0)
        play->upstream = &far_world.upstreams[far_world.upstream_count - 1];
    struct far *far = play->to_upstream ? play->upstream : play->client;
    if (far != NULL)
        far_send(far, data, length);
}

/* The filler's bytes show their position. */
static void fill(struct play *play, size_t kib)
{
    size_t length = kib * 1024;
    if (length > FILLER_MAX - play->filled)
        length = FILLER_MAX - play->filled;
    say(play, filler + play->filled, length);
    play->filled += length;
}

static void next_upstream(struct play *play)
{
    size_t i = play->upstream == NULL ? 0 : (size_t)(play->upstream - far_world.upstreams) + 1;
    if (far_world.upstream_count > 0)
        play->upstream = &far_world.upstreams[i % far_world.upstream_count];
}

static uint8_t argument(struct play *play)
{
    return play->at < play->end ? *play->at++ : 1;
}

static void direct(struct play *play, bool to_upstream, bool runs)
{
    play->to_upstream = to_upstream;
    play->runs = runs;
}

/* Commands for one of the ends; false for others. */
static bool command_end(struct play *play, char letter)
{
    bool upstream = strchr("Fyq", letter) != NULL;
    struct far *far = upstream ? play->upstream : play->client;
    if (strchr("Fyqfxp", letter) == NULL)
        return false;
    if (far == NULL)
        return true;
    if (letter == 'f' || letter == 'F')
        far_finish(far);
    else if (letter == 'x' || letter == 'y')
        far_close(far);
    else
        far->paused = !far->paused;
    return true;
}

static void command(struct play *play, uint8_t letter)
{
    if (letter == 0 || command_end(play, (char)letter))
        return;
    switch (letter) {
    case 'c':
    case 'C':
        direct(play, false, letter == 'c');
        break;
    case 'u':
    case 'U':
        direct(play, true, letter == 'u');
        break;
    case 'n':
        add_client(play);
        break;
    case '1':
    case '2':
    case '3':
    case '4':
        if (letter - '1' < (int)far_world.client_count)
            play->client = &far_world.clients[letter - '1'];
        break;
    case 'k':
        next_upstream(play);
        break;
    case 't':
        iterate(play);
        break;
    case 'a':
    case 'r':
    case 'h':
        stub_dialer_set(letter == 'a' ? STUB_CONNECT : letter == 'r' ? STUB_REFUSE : STUB_HOLD);
        break;
    case 'w':
        pass_time(play, argument(play) * USEC_PER_SEC);
        break;
    case 'z':
        fill(play, argument(play));
        break;
    case 'd':
        listener_context_drain(&play->context);
        break;
    case 0xff:
        say(play, "\xff", 1);
        break;
    default:
        break;
    }
}

static void perform(struct play *play)
{
    while (play->at < play->end) {
        size_t left = (size_t)(play->end - play->at);
        const uint8_t *stop = memchr(play->at, 0xff, left);
        size_t length = stop == NULL ? left : (size_t)(stop - play->at);
        say(play, (const char *)play->at, length);
        play->at += length;
        if (play->runs && length > 0)
            run_until_quiet(play);
        if (stop == NULL)
            break;
        play->at++;
        uint8_t letter = argument(play);
        command(play, letter);
        if (strchr("cCuU1234kt\xff", letter) == NULL)
            run_until_quiet(play);
    }
}

/* All resume reading; no end sends anything new. */
static void calm_down(struct play *play)
{
    for (size_t i = 0; i < far_world.client_count; i++)
        far_world.clients[i].paused = false;
    for (size_t i = 0; i < far_world.upstream_count; i++)
        far_world.upstreams[i].paused = false;
    run_until_quiet(play);
}

static void end(struct play *play, bool abort_sessions)
{
    struct pool_stats stats;
    if (abort_sessions)
        listener_context_abort(&play->context);
    for (int i = 0; i < 40 && !TAILQ_EMPTY(&play->context.sessions); i++)
        pass_time(play, 61 * USEC_PER_SEC);
    REQUIRE(TAILQ_EMPTY(&play->context.sessions));
    listener_context_clear(&play->context);
    stub_dialer_set(STUB_REFUSE);
    pool_shutdown(play->pool);
    run_until_quiet(play);
    pool_get_stats(play->pool, &stats);
    REQUIRE(stats.busy + stats.idle + stats.connecting + stats.waiting == 0);
    judge(JUDGE_OVER, 0);
}

static void session_ended(struct listener_context *context)
{
    (void)context;
    far_world.activity++;
}

/* The upstream's address is numeric: there is no lookup. */
static int refuse_query(struct resolver_backend *backend, struct query *query, const char *text)
{
    (void)backend;
    (void)query;
    (void)text;
    errno = ENOSYS;
    return -1;
}

static void stop_nothing(struct resolver_backend *backend)
{
    (void)backend;
}

static void make_pool(struct play *play, uint8_t options)
{
    static struct resolver_backend backend = {.start = refuse_query, .stop = stop_nothing};
    const struct pool_limits limits = {
        .max_per_host = (options & OPTION_LIMIT) != 0 ? options & OPTION_LIMIT : 4,
        .max_tunnels = 2,
        .min_idle = (options & OPTION_PRECONNECT) != 0,
        .timeout = 30 * USEC_PER_SEC,
    };
    play->loop = loop_new();
    REQUIRE(play->loop != NULL);
    play->resolver = resolver_new(play->loop, &backend);
    REQUIRE(play->resolver != NULL);
    play->pool = pool_new(play->loop, play->resolver, &limits);
    REQUIRE(play->pool != NULL);
    pool_set_name(play->pool, name);
}

static void begin(struct play *play, uint8_t options)
{
    struct config_listener *config = &play->config;
    const char *error;
    *config = (struct config_listener){
        .name = name,
        .host = (options & OPTION_CLIENT_HOST) != 0 ? host_client : host_upstream,
        .reuse = (options & OPTION_FRESH) != 0 ? REUSE_NEVER : REUSE_FRAMED,
        .abort_on_close = (options & OPTION_CLIENT_HOST) != 0 ? ABORT_ALWAYS : ABORT_QUEUED,
        .forwarded = HTTP1_FORWARDED_X,
        .idle_timeout = 60 * USEC_PER_SEC,
        .response_timeout = 60 * USEC_PER_SEC,
        .request_buffering = (options & OPTION_STREAMING) == 0,
        .header_timeout = 30 * USEC_PER_SEC,
        .client_keep_alive = 60 * USEC_PER_SEC,
        .affinity_timeout = 20 * USEC_PER_SEC,
    };
    REQUIRE(endpoint_parse(&config->upstream, "http://192.0.2.1", &error) == 0);
    far_world.small_buffers = (options & OPTION_SMALL_BUFFERS) != 0;
    far_world.streams = (options & OPTION_STREAMING) != 0;
    stub_dialer_set(STUB_CONNECT);
    make_pool(play, options);
    play->context = (struct listener_context){
        .config = config,
        .protocol = &http_protocol,
        .worker = {.loop = play->loop,
                   .scratch = {scratch, sizeof(scratch)},
                   .compose = {compose, sizeof(compose)}},
        .pool = play->pool,
        .ended = session_ended,
    };
    REQUIRE(listener_context_init(&play->context) == 0);
    if ((options & OPTION_PRECONNECT) != 0)
        REQUIRE(pool_keep_preconnected(play->pool, &config->upstream) == 0);
    add_client(play);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t options = size > 0 ? data[0] : 0;
    struct play play = {.at = data + (size > 0), .end = data + size, .runs = true};
    struct pool_stats stats;
    begin(&play, options);
    perform(&play);
    calm_down(&play);
    pool_get_stats(play.pool, &stats);
    judge(JUDGE_QUIET, stats.waiting);
    end(&play, (options & OPTION_ABORT) != 0);
    pool_free(play.pool);
    resolver_free(play.resolver);
    loop_free(play.loop);
    far_reset_world();
    return 0;
}
