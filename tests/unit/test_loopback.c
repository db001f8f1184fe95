/* SPDX-License-Identifier: ISC */
/* Sockets on the loopback are not paced. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/address.h"
#include "net/loopback.h"
#include "support/skip.h"

static union address address_of(const char *text)
{
    union address address;
    assert_true(address_parse(&address, text));
    return address;
}

static void test_which_addresses_are(void **state)
{
    static const char *const are[] = {"127.0.0.1", "127.255.255.254", "::1"};
    static const char *const are_not[] = {"0.0.0.0", "128.0.0.1", "126.255.255.255", "10.127.0.1",
                                          "::",      "::2",       "fe80::1"};
    (void)state;
    for (size_t i = 0; i < sizeof(are) / sizeof(are[0]); i++) {
        union address address = address_of(are[i]);
        assert_true(loopback_is(&address.sa));
    }
    for (size_t i = 0; i < sizeof(are_not) / sizeof(are_not[0]); i++) {
        union address address = address_of(are_not[i]);
        assert_false(loopback_is(&address.sa));
    }
    struct sockaddr sa = {.sa_family = AF_UNIX};
    assert_false(loopback_is(&sa));
}

/* The congestion control of a new socket after a choice of its owner (NULL: none, or the system
 * does not have it) and unpacing for an address. */
static const char *after_unpacing(const char *chosen, const char *address_text)
{
    static char name[16];
    socklen_t length = sizeof(name);
    union address address = address_of(address_text);
    int fd = socket(address.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    memset(name, 0, sizeof(name));
    if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, chosen, (socklen_t)strlen(chosen)) < 0) {
        close(fd);
        return NULL;
    }
    errno = EXDEV;
    loopback_unpace(fd, &address.sa);
    assert_int_equal(errno, EXDEV);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &length), 0);
    close(fd);
    return name;
}

static void test_bbr_is_replaced(void **state)
{
    (void)state;
    if (after_unpacing("bbr", "192.0.2.1") == NULL)
        skip_because("bbr is not available, or may not be chosen");
    assert_string_equal(after_unpacing("bbr", "192.0.2.1"), "bbr");
    assert_string_equal(after_unpacing("bbr", "127.0.0.1"), "reno");
    assert_string_equal(after_unpacing("bbr", "::1"), "reno");
}

static void test_others_stay(void **state)
{
    (void)state;
    assert_string_equal(after_unpacing("reno", "127.0.0.1"), "reno");
    if (after_unpacing("cubic", "127.0.0.1") != NULL)
        assert_string_equal(after_unpacing("cubic", "127.0.0.1"), "cubic");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_addresses_are),
        cmocka_unit_test(test_bbr_is_replaced),
        cmocka_unit_test(test_others_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
