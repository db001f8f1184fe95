/* SPDX-License-Identifier: ISC */
/* Metric tables like the real ones, and the objects they belong to. */
#include "support/admin_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/ini_text.h"

#define NAMES(function, ...)                                                                       \
    static const char *function(unsigned index)                                                    \
    {                                                                                              \
        static const char *const names[] = {__VA_ARGS__};                                          \
        assert_true(index < ARRAY_LEN(names));                                                     \
        return names[index];                                                                       \
    }

NAMES(name_of_log, "messages", "access")
NAMES(name_of_direction, "up", "down")
NAMES(name_of_state, "busy", "held", "connecting", "idle")
NAMES(name_of_source, "none", "immediate", "deferred")
NAMES(name_of_function, "queue", "resolve", "connect")
NAMES(name_of_discard, "keep_alive", "dial_failed")

#define METRIC(member, text, kind, of)                                                             \
    {                                                                                              \
        .name = #member, .help = text, .type = METRIC_##kind, .unit = METRIC_##of,                 \
        .offset = offsetof(BLOCK, member), .count = 1                                              \
    }
#define LABELLED(member, text, kind, of, by, names, values)                                        \
    {                                                                                              \
        .name = #member, .help = text, .type = METRIC_##kind, .unit = METRIC_##of,                 \
        .offset = offsetof(BLOCK, member), .label = by, .value = names, .count = values            \
    }

#define BLOCK struct world_process
static const struct metric of_process[] = {
    METRIC(clients, "Clients that are connected", GAUGE, NUMBER),
    METRIC(max_clients, "As many clients as there may be", GAUGE, NUMBER),
    METRIC(max_clients_reached, "How often max_clients was reached", COUNTER, NUMBER),
    METRIC(accept_pauses, "How often accepting paused", COUNTER, NUMBER),
};
static const struct metric of_dns[] = {
    METRIC(queries, "Lookups of names", COUNTER, NUMBER),
    METRIC(failures, "Lookups that failed", COUNTER, NUMBER),
    METRIC(names_failing, "Names whose last answer still serves", GAUGE, NUMBER),
};
static const struct metric of_loop[] = {
    METRIC(lag, "How late the loop is", GAUGE, SECONDS),
};
static const struct metric of_log[] = {
    LABELLED(lines_lost, "Lines that were dropped", COUNTER, NUMBER, "log", name_of_log, 2),
    LABELLED(failing, "Whether a log cannot be written", GAUGE, NUMBER, "log", name_of_log, 2),
};
#undef BLOCK

#define BLOCK struct world_listener
static const struct metric of_listener[] = {
    METRIC(accepted, "Clients that were accepted, \"in all\",\nwith a \\", COUNTER, NUMBER),
    LABELLED(bytes, "Bytes that were passed on", COUNTER, BYTES, "direction", name_of_direction, 2),
    METRIC(sessions, "Sessions that there are", GAUGE, NUMBER),
    METRIC(exchange, "How long exchanges took", HISTOGRAM, SECONDS),
};
#undef BLOCK

#define BLOCK struct world_host
static const struct metric of_host[] = {
    LABELLED(connections, "Connections, by their state", GAUGE, NUMBER, "state", name_of_state,
             WORLD_CONNECTIONS),
    METRIC(waiting, "Clients that wait", GAUGE, NUMBER),
    METRIC(queued, "Clients that wait without a dial for them", GAUGE, NUMBER),
    METRIC(down, "Whether it is down", GAUGE, NUMBER),
    LABELLED(grants, "Clients that were granted one", COUNTER, NUMBER, "from_cache", name_of_source,
             WORLD_FROM),
    LABELLED(failures, "Clients that were not", COUNTER, NUMBER, "function", name_of_function,
             WORLD_FUNCTIONS),
    METRIC(refused, "Clients that were refused while it was down", COUNTER, NUMBER),
    METRIC(dials, "Dials", COUNTER, NUMBER),
    LABELLED(discards, "Connections that were closed", COUNTER, NUMBER, "reason", name_of_discard,
             2),
    METRIC(wait, "How long clients waited", HISTOGRAM, SECONDS),
    METRIC(connect, "How long dials took", HISTOGRAM, SECONDS),
};
#undef BLOCK

static const struct metric_set process_set = {"", of_process, ARRAY_LEN(of_process)};
static const struct metric_set dns_set = {"dns_", of_dns, ARRAY_LEN(of_dns)};
static const struct metric_set loop_set = {"loop_", of_loop, ARRAY_LEN(of_loop)};
static const struct metric_set log_set = {"log_", of_log, ARRAY_LEN(of_log)};
static const struct metric_set listener_set = {"listener_", of_listener, ARRAY_LEN(of_listener)};
static const struct metric_set host_set = {"upstream_", of_host, ARRAY_LEN(of_host)};

static enum admin_life get_life(void *arg)
{
    const struct admin_world *world = arg;
    return world->life;
}

static void put_snapshot(struct admin_world *world)
{
    world->hosts[0] = (struct snapshot_host){.pool = "default", .upstream = WORLD_WEB};
    world->hosts[1] = (struct snapshot_host){.pool = "slow", .upstream = WORLD_RAW};
    world->listeners[0] = (struct snapshot_listener){.name = "web"};
    world->listeners[1] = (struct snapshot_listener){.name = "raw"};
    world->snapshot = (struct snapshot){.taken_at = WORLD_START,
                                        .hosts = world->hosts,
                                        .host_count = 2,
                                        .listeners = world->listeners,
                                        .listener_count = 2};
}

struct admin_world *admin_world_new(void)
{
    struct admin_world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    world->config = ini_load(
        "[kaproxy]\nmax_clients=100\naccess_log=stdout\n"
        "[pool]\nfail_after=2\nmax_waiting=10\nmax_tunnels=3\n"
        "[pool slow]\nmax_per_host=2\ntimeout=30\n"
        "[listener web]\nlisten=127.0.0.1:8080\nupstream=" WORLD_WEB "\nresponse_timeout=20\n"
        "[listener raw]\nlisten=127.0.0.1:8081\nupstream=" WORLD_RAW "\nreuse=quiet\npool=slow\n");
    const struct metric_labels web = {.pool = "default", .upstream = WORLD_WEB};
    const struct metric_labels raw = {.pool = "slow", .upstream = WORLD_RAW};
    const struct metric_labels none = {.listener = NULL};
    const struct metric_block blocks[WORLD_BLOCKS] = {
        {&process_set, &world->process, none},
        {&dns_set, &world->process, none},
        {&loop_set, &world->process, none},
        {&log_set, &world->process, none},
        {&listener_set, &world->web_listener, {.listener = "web"}},
        {&listener_set, &world->raw_listener, {.listener = "raw"}},
        {&host_set, &world->web, web},
        {&host_set, &world->raw, raw},
    };
    memcpy(world->blocks, blocks, sizeof(blocks));
    world->ops = (struct admin_ops){
        .arg = world, .started_at = WORLD_START, .reload_stats = &world->stats, .life = get_life};
    reload_stats_start(&world->stats, 1, WORLD_START);
    world->view = (struct admin_view){
        .config = world->config, .blocks = world->blocks, .block_count = ARRAY_LEN(blocks)};
    world->history = history_new(world->blocks, ARRAY_LEN(blocks), WORLD_NOW);
    assert_non_null(world->history);
    put_snapshot(world);
    world->input = (struct status_input){.ops = &world->ops,
                                         .view = &world->view,
                                         .history = world->history,
                                         .snapshot = &world->snapshot,
                                         .now = WORLD_NOW,
                                         .unix_now = WORLD_START};
    return world;
}

void admin_world_free(struct admin_world *world)
{
    history_free(world->history);
    config_unref(world->config);
    free(world);
}

void admin_world_pass(struct admin_world *world, usec_t time)
{
    for (usec_t step; time > 0; time -= step) {
        step = time < HISTORY_INTERVAL ? time : HISTORY_INTERVAL;
        world->input.now += step;
        world->input.unix_now += step;
        if (step == HISTORY_INTERVAL)
            history_sample(world->history, world->input.now);
    }
}

void admin_world_times(struct histogram *histogram, unsigned count, usec_t time)
{
    while (count-- > 0)
        histogram_add(histogram, time);
}

void admin_world_dial_fails(struct admin_world *world, struct snapshot_host *host,
                            const struct failure *failure)
{
    host->last_error = *failure;
    host->last_error_at = world->input.unix_now;
}

void admin_world_dial_works(struct admin_world *world, struct snapshot_host *host)
{
    host->last_connected_at = world->input.unix_now;
}
