/* SPDX-License-Identifier: ISC */
/* What the end of a client's direction means, by what the kernel reports about it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/departure.h"
#include "support/sockets.h"

/* Ages in milliseconds, as the kernel reports them. */
struct departure_case {
    const char *what;
    uint8_t state;
    uint32_t data, ack;
    bool answered;
    enum departure expected;
};

static const struct departure_case cases[] = {
    {"no end", TCP_ESTABLISHED, 5000, 0, false, DEPARTURE_NONE},
    {"a reset", TCP_CLOSE, 0, 0, false, DEPARTURE_RESET},
    {"together with the last byte", TCP_CLOSE_WAIT, 5000, 5000, false, DEPARTURE_HALF},
    {"a tick before it, as it may seem", TCP_CLOSE_WAIT, 5000, 5004, false, DEPARTURE_HALF},
    {"100 ms behind it", TCP_CLOSE_WAIT, 5000, 4900, false, DEPARTURE_HALF},
    {"a tick more, which may be the clock's", TCP_CLOSE_WAIT, 5000, 4890, false, DEPARTURE_HALF},
    {"behind it by more than that", TCP_CLOSE_WAIT, 5000, 4880, false, DEPARTURE_LEFT},
    {"just now", TCP_CLOSE_WAIT, 120, 0, false, DEPARTURE_LEFT},
    {"just now, right behind it", TCP_CLOSE_WAIT, 100, 0, false, DEPARTURE_HALF},
    {"an answer's acknowledgement tells nothing", TCP_CLOSE_WAIT, 120, 120, true, DEPARTURE_LEFT},
    {"nor that of one just now", TCP_CLOSE_WAIT, 100, 0, true, DEPARTURE_HALF},
};

static void test_judge(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct departure_case *c = &cases[i];
        struct tcp_info info = {.tcpi_last_data_recv = c->data, .tcpi_last_ack_recv = c->ack};
        info.tcpi_state = c->state;
        if (departure_judge(&info, c->answered) != c->expected)
            fail_msg("%s: %d, not %d", c->what, (int)departure_judge(&info, c->answered),
                     (int)c->expected);
    }
}

/* Asks until it is something other than `not_yet`: crossing the loopback takes a moment. */
static enum departure ask(int fd, enum departure not_yet)
{
    enum departure departure = not_yet;
    for (int i = 0; i < 1000 && departure == not_yet; i++) {
        if (i > 0)
            usleep(10000);
        assert_int_equal(departure_ask(fd, false, &departure), 0);
    }
    return departure;
}

/* For real: bytes, and an end after this many ms. */
static enum departure really(unsigned behind, bool reset)
{
    int active, passive;
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    sockets_connect(&active, &passive);
    assert_int_equal(send(active, "x", 1, 0), 1);
    usleep(behind * 1000);
    enum departure departure;
    assert_int_equal(departure_ask(passive, false, &departure), 0);
    assert_int_equal(departure, DEPARTURE_NONE);
    if (reset)
        setsockopt(active, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(active);
    departure = ask(passive, DEPARTURE_NONE);
    usleep(300 * 1000); /* by then it reports the same */
    assert_int_equal(ask(passive, DEPARTURE_NONE), departure);
    close(passive);
    return departure;
}

/* A machine that stalls between the two makes a half-close look more likely; never the other
 * way. */
static void test_real_ends(void **state)
{
    int half = 0;
    (void)state;
    for (int i = 0; i < 10 && half == 0; i++)
        half += really(0, false) == DEPARTURE_HALF;
    assert_int_equal(half, 1);
    assert_int_equal(really(200, false), DEPARTURE_LEFT);
    assert_int_equal(really(0, true), DEPARTURE_RESET);
}

static void test_other_sockets(void **state)
{
    int pair[2];
    enum departure departure = DEPARTURE_NONE;
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    close(pair[1]);
    assert_int_equal(departure_ask(pair[0], false, &departure), -1);
    assert_int_equal(errno, EOPNOTSUPP);
    assert_int_equal(departure, DEPARTURE_NONE);
    close(pair[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_real_ends),
        cmocka_unit_test(test_other_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
