/* SPDX-License-Identifier: ISC */
/* kaproxy.ini: where the admin pages listen, by default and by [admin], and who may change
 * something there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "support/ini_text.h"

/* What -t -v prints of [admin] gives the same when read back. */
static void assert_printed(const char *text, const char *expected)
{
    struct config *config = ini_load(text);
    char *printed = ini_print(config);
    struct config *again = ini_load(printed);
    char *printed_again = ini_print(again);
    const char *section = strstr(printed, "[admin]\n");
    assert_non_null(section);
    size_t length = (size_t)(strstr(section, "\n\n") - section) + 1;
    assert_int_equal(length, strlen(expected));
    assert_memory_equal(section, expected, length);
    assert_string_equal(printed, printed_again);
    free(printed_again);
    free(printed);
    config_unref(again);
    config_unref(config);
}

#define UNIX_KEYS "socket_mode = 0600\nsocket_user =\nsocket_group =\n"

static void test_default(void **state)
{
    (void)state;
    unsetenv("RUNTIME_DIRECTORY");
    assert_printed(LISTENER, "[admin]\nlisten = off\ncontrol = unix\n" UNIX_KEYS);
    assert_printed("[admin]\nlisten =\nsocket_mode=0666\n" LISTENER,
                   "[admin]\nlisten = off\ncontrol = unix\n"
                   "socket_mode = 0666\nsocket_user =\nsocket_group =\n");
}

static void test_runtime_directory(void **state)
{
    static const char expected[] =
        "[admin]\nlisten = unix:/run/x/admin.sock\ncontrol = unix\n" UNIX_KEYS;
    (void)state;
    setenv("RUNTIME_DIRECTORY", "/run/x", 1);
    assert_printed(LISTENER, expected);
    assert_printed("[admin]\nlisten =\n" LISTENER, expected);
    assert_printed("[admin]\nlisten = off\n" LISTENER,
                   "[admin]\nlisten = off\ncontrol = unix\n" UNIX_KEYS);
    assert_printed("[admin]\nlisten = [::1]:9180\n" LISTENER,
                   "[admin]\nlisten = [::1]:9180\ncontrol = unix\n");
    setenv("RUNTIME_DIRECTORY", "/run/x:/run/y", 1);
    assert_printed(LISTENER, expected);
    setenv("RUNTIME_DIRECTORY", "", 1);
    assert_printed(LISTENER, "[admin]\nlisten = off\ncontrol = unix\n" UNIX_KEYS);
    setenv("RUNTIME_DIRECTORY", "run/x", 1);
    assert_mistakes(LISTENER, " [admin] listen: by default it is $RUNTIME_DIRECTORY/admin.sock, "
                              "\"unix:run/x/admin.sock\": a unix socket is written unix:/path; "
                              "set it, or listen = off\n");
    assert_printed("[admin]\nlisten = off\n" LISTENER,
                   "[admin]\nlisten = off\ncontrol = unix\n" UNIX_KEYS);
    setenv("RUNTIME_DIRECTORY", "/run/x", 1);
    assert_mistakes("[listener a]\nlisten=unix:/run/x/admin.sock\nupstream=http://x\n",
                    " listen: unix:/run/x/admin.sock is taken by listener a on line 2 "
                    "(unix:/run/x/admin.sock)\n");
    /* Mistaken values are not replaced. */
    assert_mistake("[admin]\nlisten = x\n" LISTENER, 2, "the port is missing");
    unsetenv("RUNTIME_DIRECTORY");
}

static void test_given(void **state)
{
    (void)state;
    assert_printed("[admin]\nlisten = unix:/run/a.sock 127.0.0.1:9180\ncontrol = none\n"
                   "socket_mode=0660\nsocket_user=root\nsocket_group=daemon\n" LISTENER,
                   "[admin]\nlisten = unix:/run/a.sock 127.0.0.1:9180\ncontrol = none\n"
                   "socket_mode = 0660\nsocket_user = root\nsocket_group = daemon\n");
    struct config *config = ini_load("[admin]\ncontrol=all\nlisten=[::1]:1 127.0.0.1:1\n" LISTENER);
    assert_int_equal(config->admin.control, CONTROL_ALL);
    assert_int_equal(config->admin.addresses.count, 2);
    assert_int_equal(config->admin.addresses.list[0].line, 3);
    config_unref(config);
    config =
        ini_load("[admin]\nlisten=unix:/x\nsocket_group=daemon\nsocket_user=daemon\n" LISTENER);
    assert_int_equal(config->admin.control, CONTROL_UNIX);
    assert_int_equal(config->admin.socket.file.mode, 0600);
    assert_true(config->admin.socket.file.uid != SOCKET_FILE_OURS);
    assert_true(config->admin.socket.file.gid != SOCKET_FILE_OURS);
    config_unref(config);
}

static void test_mistakes(void **state)
{
    (void)state;
    assert_mistake("[admin x]\n" LISTENER, 1, "section [admin x] takes no name");
    assert_mistake("[admin]\n[admin]\n" LISTENER, 2,
                   "section [admin] is already defined on line 1");
    assert_mistake("[admin]\nuser=root\n" LISTENER, 2, "unknown key \"user\" in [admin]");
    assert_mistake("[admin]\nlisten=on\n" LISTENER, 2, "the port is missing");
    assert_mistake("[admin]\nlisten=off 127.0.0.1:1\n" LISTENER, 2, "\"off\": the port is missing");
    assert_mistake("[admin]\nlisten=[::]:1 [::1]:1\n" LISTENER, 2, "exclude each other");
    assert_mistake("[admin]\nlisten=0.0.0.0:80\n" LISTENER, 2,
                   "listen: 0.0.0.0:80 is taken by listener a on line 4 (127.0.0.1:80)");
    assert_mistake("[admin]\ncontrol=tcp\n" LISTENER, 2, "\"tcp\" is not one of unix, all or none");
    assert_mistake("[admin]\ncontrol=\n" LISTENER, 2, "the value is missing");
    assert_mistake("[admin]\nsocket_mode=0900\n" LISTENER, 2, "is not an octal number");
    assert_mistake("[admin]\nsocket_mode=01000\n" LISTENER, 2, "out of range, 0 to 0777");
    assert_mistake("[admin]\nsocket_user=no-such-user\n" LISTENER, 2, "there is no user");
    assert_mistake("[admin]\nsocket_group=no-such-group\n" LISTENER, 2, "there is no group");
    assert_mistakes("[admin]\nlisten=127.0.0.1:1\nsocket_mode=0660\nsocket_user=root\n" LISTENER,
                    "3: socket_mode: has no effect without a unix:/path in listen\n"
                    "4: socket_user: has no effect without a unix:/path in listen\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default),
        cmocka_unit_test(test_runtime_directory),
        cmocka_unit_test(test_given),
        cmocka_unit_test(test_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
