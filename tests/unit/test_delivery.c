/* SPDX-License-Identifier: ISC */
/* Which connections count as dead, by what the kernel reports about them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/delivery.h"
#include "support/sockets.h"

#define SEC         USEC_PER_SEC
#define LIMIT       (10 * SEC)
#define OPEN_WINDOW 65536

/* Ages in milliseconds, as the kernel reports them. */
struct delivery_case {
    const char *what;
    uint32_t unacked, notsent, window, last_ack;
    uint8_t probes;
    uint32_t first, last;
    enum delivery expected;
};

static const struct delivery_case cases[] = {
    /* what, unacked, notsent, window, last_ack, probes, first, last */
    {"all is acknowledged", 0, 0, OPEN_WINDOW, 10000, 0, 10000, 10000, DELIVERY_DONE},
    {"the same, probed while idle", 0, 0, OPEN_WINDOW, 60000, 3, 10000, 10000, DELIVERY_DONE},
    {"nothing since the only write", 1, 0, OPEN_WINDOW, 10000, 0, 10000, 10000, DELIVERY_LOST},
    {"idle for long before it", 1, 0, OPEN_WINDOW, 600000, 0, 10000, 10000, DELIVERY_LOST},
    {"a part of it came through", 1, 0, OPEN_WINDOW, 9000, 0, 10000, 10000, DELIVERY_PENDING},
    {"sent just now after long idling", 1, 0, OPEN_WINDOW, 600000, 0, 10, 10, DELIVERY_PENDING},
    {"sent again just now, before that acknowledged at once", 1, 0, OPEN_WINDOW, 9999, 0, 10000, 5,
     DELIVERY_PENDING},
    {"the same, as coarse as ticks are", 1, 0, OPEN_WINDOW, 10010, 0, 10000, 5, DELIVERY_PENDING},
    {"sent again and again, nothing acknowledged", 1, 0, OPEN_WINDOW, 10100, 0, 10000, 5,
     DELIVERY_LOST},
    {"closed window, probes are answered", 0, 100000, 0, 5000, 0, 60000, 60000, DELIVERY_PENDING},
    {"the same, seldom", 0, 100000, 0, 50000, 0, 60000, 60000, DELIVERY_PENDING},
    {"the same, one answer is still on its way", 0, 100000, 0, 50000, 1, 60000, 60000,
     DELIVERY_PENDING},
    {"the same, and one was left out", 0, 100000, 0, 50000, 2, 60000, 60000, DELIVERY_PENDING},
    {"closed window, nobody answers", 0, 100000, 0, 50000, 3, 60000, 60000, DELIVERY_LOST},
    {"the same, but not for long", 0, 100000, 0, 3000, 3, 60000, 60000, DELIVERY_PENDING},
    {"it cannot leave this machine", 0, 5, OPEN_WINDOW, 12000, 5, 10000, 10000, DELIVERY_LOST},
    {"a window taken back", 3, 1000, 0, 50000, 0, 60000, 60000, DELIVERY_PENDING},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct delivery_case *c = &cases[i];
        const struct tcp_info info = {.tcpi_unacked = c->unacked,
                                      .tcpi_notsent_bytes = c->notsent,
                                      .tcpi_snd_wnd = c->window,
                                      .tcpi_last_ack_recv = c->last_ack,
                                      .tcpi_probes = c->probes};
        struct delivery_ages ages = {
            .first = c->first * USEC_PER_MSEC, .last = c->last * USEC_PER_MSEC, .limit = LIMIT};
        enum delivery delivery = delivery_judge(&info, &ages);
        if (delivery != c->expected)
            fail_msg("%s: %d", c->what, delivery);
        assert_int_equal(ages.acknowledged, c->last_ack * USEC_PER_MSEC);
    }
}

/* The peer's kernel acknowledges as long as it has space, whatever its program does. */
static void test_ask(void **state)
{
    static char block[1 << 20];
    struct delivery_ages ages = {.first = 60 * SEC, .last = 60 * SEC, .limit = 10 * SEC};
    int active, passive;
    (void)state;
    sockets_connect(&active, &passive);
    assert_int_equal(send(passive, "x", 1, 0), 1);
    while (delivery_ask(passive, &ages) != DELIVERY_DONE)
        ;
    while (send(passive, block, sizeof(block), MSG_DONTWAIT) > 0)
        ;
    assert_int_equal(delivery_ask(passive, &ages), DELIVERY_PENDING);
    assert_in_range(ages.acknowledged, 0, 10 * SEC);
    close(active);
    close(passive);
}

static void test_ask_of_others(void **state)
{
    struct delivery_ages ages = {.limit = SEC};
    int pair[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(delivery_ask(pair[0], &ages), DELIVERY_DONE);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_ask),
        cmocka_unit_test(test_ask_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
