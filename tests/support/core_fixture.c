/* SPDX-License-Identifier: ISC */
/* A core, hosts, connections and requests, driven by a test one event after the other. */
#include "support/core_fixture.h"

int core_fixture_setup(void **state)
{
    static struct core_fixture fixture;
    fixture = (struct core_fixture){.a.endpoint.port = 1, .b.endpoint.port = 2};
    *state = &fixture;
    return 0;
}

void core_fixture_open(struct core_fixture *f, const struct pool_limits *limits)
{
    pool_core_init(&f->core, limits, 1);
    assert_int_equal(pool_core_add_host(&f->core, &f->a), 0);
    assert_int_equal(pool_core_add_host(&f->core, &f->b), 0);
}

/* Whatever a test has left is ended. */
int core_fixture_teardown(void **state)
{
    struct core_fixture *f = *state;
    struct pool_action action;
    for (unsigned i = 0; i < ARRAY_LEN(f->requests); i++) {
        if (f->requests[i].state == CORE_REQUEST_LEASED)
            pool_core_discard(&f->requests[i], DISCARD_SHUTDOWN, false);
        else
            pool_core_cancel(&f->core, &f->requests[i]);
    }
    pool_core_enter_phase(&f->core, POOL_SHUT);
    while (pool_core_next(&f->core, &action)) {
        if (action.kind == POOL_PEEK)
            assert_null(pool_core_peeked(action.conn, POOL_PEEK_EOF, NOW));
    }
    for (unsigned i = 0; i < ARRAY_LEN(f->conns); i++) {
        if (f->conns[i].pending.kind != POOL_NOTHING)
            pool_core_closed(&f->conns[i]);
    }
    assert_null(pool_core_check(&f->core));
    pool_core_remove_host(&f->a);
    pool_core_remove_host(&f->b);
    pool_core_clear(&f->core);
    return 0;
}

struct pool_action core_fixture_next(struct core_fixture *f)
{
    struct pool_action action = {.kind = POOL_NOTHING};
    assert_null(pool_core_check(&f->core));
    if (!pool_core_next(&f->core, &action))
        assert_null(pool_core_check_served(&f->core));
    return action;
}

void core_fixture_ask(struct core_host *host, struct core_request *request)
{
    assert_int_equal(pool_core_request(host, request, &(struct core_wish){0}, NOW), 0);
}

/* The next thing to do is a dial for this host, and it begins. */
void core_fixture_dial(struct core_fixture *f, struct core_host *host, struct core_conn *conn)
{
    struct pool_action action = core_fixture_next(f);
    assert_int_equal(action.kind, POOL_DIAL);
    assert_ptr_equal(action.host, host);
    assert_int_equal(pool_core_dialling(host, conn, action.preconnect), 0);
}

void core_fixture_claim(struct core_fixture *f, enum pool_action_kind kind,
                        const struct core_conn *conn)
{
    struct pool_action action = core_fixture_next(f);
    assert_int_equal(action.kind, kind);
    if (kind != POOL_NOTHING)
        assert_ptr_equal(action.conn, conn);
}

void core_fixture_deliver(struct core_fixture *f, struct core_request *granted,
                          struct core_request *wanted)
{
    assert_ptr_equal(granted, wanted);
    assert_ptr_equal(wanted->conn->host->core, &f->core);
    pool_core_delivered(wanted, FAILED_OTHER);
    assert_int_equal(wanted->state, CORE_REQUEST_LEASED);
}

/* A request that has its connection, newly dialled. */
void core_fixture_lease(struct core_fixture *f, struct core_host *host, unsigned number)
{
    core_fixture_ask(host, &f->requests[number]);
    core_fixture_dial(f, host, &f->conns[number]);
    core_fixture_deliver(f, pool_core_connected(&f->conns[number], false, NOW),
                         &f->requests[number]);
}

/* An idle connection. */
void core_fixture_make_idle(struct core_fixture *f, struct core_host *host, unsigned number)
{
    core_fixture_lease(f, host, number);
    assert_null(pool_core_release(&f->requests[number], POOL_PEEK_QUIET, NOW));
    assert_int_equal(f->conns[number].state, CONN_IDLE);
}

struct pool_stats core_fixture_stats(const struct core_fixture *f)
{
    struct pool_stats stats;
    pool_core_get_stats(&f->core, &stats);
    return stats;
}
