/* SPDX-License-Identifier: ISC */
/* Descriptors are shared out again for another configuration, in any thread, and what is to be
 * reported about it is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "daemon/start.h"
#include "net/pipes.h"
#include "support/ini_text.h"

static struct rlimit limit;

static int setup(void **state)
{
    (void)state;
    return getrlimit(RLIMIT_NOFILE, &limit);
}

static int teardown(void **state)
{
    (void)state;
    return setrlimit(RLIMIT_NOFILE, &limit);
}

struct sharing {
    struct config *config;
    struct config_errors findings;
    unsigned clients, pipes;
};

static void *share(void *arg)
{
    struct sharing *sharing = arg;
    sharing->clients = start_share_again(sharing->config, &sharing->findings, &sharing->pipes);
    return NULL;
}

/* With this many descriptors; what was found is `said`. */
static struct sharing share_among(rlim_t descriptors, const char *text, const char *said)
{
    struct sharing sharing = {.config = ini_load(text)};
    struct rlimit lower = {.rlim_cur = descriptors, .rlim_max = limit.rlim_max};
    char found[1024] = "";
    pthread_t thread;
    config_errors_init(&sharing.findings);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &lower), 0);
    assert_int_equal(pthread_create(&thread, NULL, share, &sharing), 0);
    pthread_join(thread, NULL);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &lower), 0);
    assert_int_equal(lower.rlim_cur, descriptors); /* it is not raised */
    FILE *out = fmemopen(found, sizeof(found), "w");
    assert_non_null(out);
    config_errors_write(&sharing.findings, "FILE", out);
    fclose(out);
    if (*said == '\0')
        assert_string_equal(found, "");
    else
        assert_non_null(strstr(found, said));
    assert_int_equal(config_errors_any(&sharing.findings), sharing.clients == 0);
    config_errors_clear(&sharing.findings);
    config_unref(sharing.config);
    return sharing;
}

static void test_enough(void **state)
{
    (void)state;
    struct sharing sharing = share_among(400, "[kaproxy]\nmax_clients = 50\n" LISTENER, "");
    assert_int_equal(sharing.clients, 50);
    assert_int_equal(sharing.pipes, PIPES_MAX);
}

static void test_too_few(void **state)
{
    (void)state;
    struct sharing sharing = share_among(100, "[kaproxy]\nmax_clients = 500\n" LISTENER,
                                         "FILE: warning: max_clients is lowered from 500 to ");
    assert_in_range(sharing.clients, 1, 99);
    assert_int_equal(sharing.pipes, 0);
}

static void test_none(void **state)
{
    (void)state;
    struct sharing sharing =
        share_among(20, LISTENER, "FILE: the limit of 20 descriptors leaves none for clients: ");
    assert_int_equal(sharing.clients, 0);
}

int main(void)
{
#define LIMITED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        LIMITED(test_enough),
        LIMITED(test_too_few),
        LIMITED(test_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
