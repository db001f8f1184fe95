/* SPDX-License-Identifier: ISC */
/* What a worker shows: which blocks there are, in which order, and that reading them does not wait
 * for its loop. The loop never runs here. */
#include "support/log_fixture.h"

#include <stdio.h>
#include <string.h>

#include "daemon/worker.h"
#include "pool/pool_types.h"
#include "session/session.h"
#include "support/generations.h"
#include "support/ini_text.h"

static struct config *config;
static struct generation *generation;
static struct worker_view *view;

static struct worker *make(struct fixture *f)
{
    static char text[1 << 12];
    snprintf(text, sizeof(text),
             "[listener a]\nlisten=unix:%s.a\nupstream=tcp://127.0.0.1:9\nreuse=quiet\n"
             "[listener b]\nlisten=unix:%s.b\nupstream=tcp://127.0.0.1:9\nreuse=never\n"
             "[listener c]\nlisten=unix:%s.c\nupstream=tcp://127.0.0.1:9\nreuse=quiet\npool=p\n"
             "[pool p]\nmax_per_host=7\n",
             f->other, f->other, f->other);
    config = ini_load(text);
    open_messages(f->file, LOG_LEVEL_NOTICE);
    generation = generation_of(config, 10);
    struct worker *worker = worker_new(generation, -1);
    assert_non_null(worker);
    view = worker_first_view(worker);
    return worker;
}

static const char *end(struct worker *worker, struct fixture *f)
{
    worker_release_view(worker, view);
    worker_free(worker);
    generation_free(generation);
    config_unref(config);
    log_close();
    return content(f, f->file);
}

/* The process comes first, then listeners, hosts, pools. */
static unsigned rank(const struct metric_block *block)
{
    if (block->labels.listener != NULL)
        return 1;
    if (block->labels.pool == NULL)
        return 0;
    return block->labels.upstream != NULL ? 2 : 3;
}

static void test_one_block_for_one_thing(void **state)
{
    struct worker *worker = make(*state);
    size_t count, hosts = 0, listeners = 0;
    unsigned last = 0;
    const struct metric_block *blocks = worker_view_get(view)->blocks;
    count = worker_view_get(view)->block_count;
    for (size_t i = 0; i < count; i++) {
        assert_true(rank(&blocks[i]) >= last);
        last = rank(&blocks[i]);
        hosts += blocks[i].set == &host_metrics;
        listeners += blocks[i].set == &listener_metrics;
        for (size_t before = 0; before < i; before++)
            assert_ptr_not_equal(blocks[before].block, blocks[i].block);
    }
    assert_int_equal(last, 3);
    assert_int_equal(listeners, 3);
    assert_int_equal(hosts, 2); /* a and b have one in common */
    end(worker, *state);
}

static void test_lines_come_without_the_loop(void **state)
{
    struct worker *worker = make(*state);
    assert_int_equal(worker_unanswered(worker), 0);
    const struct admin_view *admin = worker_view_get(view);
    metric_log(admin->blocks, admin->block_count);
    worker_ping(worker);
    while (worker_unanswered(worker) == 0) /* within a microsecond */
        continue;
    const char *text = end(worker, *state);
    assert_matches(text, " notice: stats clients=0 max_clients=10 [^\n]* loop_lag_us=0 ");
    assert_matches(text, " notice: stats listener=a accepted=0 sessions=0 ");
    assert_matches(text, " notice: stats pool=default upstream=tcp://127.0.0.1:9 ");
    assert_matches(text, " notice: stats pool=p upstream=tcp://127.0.0.1:9 ");
    assert_matches(text, " notice: stats pool=p [^\n]* failures=0 [^\n]* max_per_host=7 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_one_block_for_one_thing),
        LOG_TEST(test_lines_come_without_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
