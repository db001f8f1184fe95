/* SPDX-License-Identifier: ISC */
/* kaproxy.ini: every mistake has its message, at its line, and no mistake has two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "config/config_errors.h"
#include "support/ini_text.h"

static void test_syntax_mistakes(void **state)
{
    (void)state;
    assert_mistakes("[kaproxy\nlog = x\n[pool] x\nmax_open = y\n" LISTENER
                    "garbage\n= 4\nreuse\n[pool]max_open=4\n",
                    "1: neither [section] nor key = value\n"
                    "3: text after the ] of a section\n"
                    "9: neither [section] nor key = value\n"
                    "10: no key before the =\n"
                    "11: neither [section] nor key = value\n"
                    "12: text after the ] of a section\n");
    assert_mistake(LISTENER "timeout = 1\n timeout = 2\n", 6, "is already defined on line 5");
    assert_mistake("[pool aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeee]\n" LISTENER, 1,
                   "section name of more than 48");
    assert_mistake("\xef\xbb[pool]\n" LISTENER, 1, "neither [section]");
}

static void test_line_too_long(void **state)
{
    char line[400] = "access_log = /";
    char text[1000];
    size_t start = strlen(line);
    struct config *config;

    (void)state;
    memset(line + start, 'x', 197 - start);
    snprintf(text, sizeof(text), "[kaproxy]\n%s\r\n" LISTENER, line);
    config = ini_load(text);
    assert_int_equal(strlen(config->access_log), 197 - strlen("access_log = "));
    config_unref(config);
    line[197] = 'x';
    snprintf(text, sizeof(text), "[kaproxy]\n%s\r\n" LISTENER, line);
    assert_mistake(text, 2, "line of 198 characters, at most 197 are allowed");
    memset(line, ';', 399);
    snprintf(text, sizeof(text), "%s\n" LISTENER, line);
    assert_mistake(text, 1, "line of 399 characters");
}

static void test_control_characters(void **state)
{
    static const char nul[] = LISTENER "[pool]\nmax_open = 5\0 0\n";
    char *said;

    (void)state;
    assert_null(ini_load_bytes(nul, sizeof(nul) - 1, &said));
    assert_string_equal(said, "6: control character (byte 0x00)\n");
    free(said);
    assert_mistake(LISTENER "[\001]\n", 5, "0x01");
    assert_mistake(LISTENER "[pool]\rmax_open = 5\n", 5, "0x0d");
    assert_mistake(LISTENER "; \x1b[1m\n", 5, "0x1b");
    assert_mistake(LISTENER "; \x7f\n", 5, "0x7f");
}

static void test_sections(void **state)
{
    (void)state;
    assert_mistakes(
        "log = stderr\nuser = x\n[Kaproxy]\nlog = 7\n[]\n[pools]\n[kaproxy x]\n"
        "log = 7\n[listener]\nlisten = x\n[pool a b]\n[pool a=b]\n" LISTENER,
        "1: key \"log\" appears before any section\n"
        "3: unknown section [Kaproxy], not one of [kaproxy], [admin], [pool], [pool NAME], "
        "[listener NAME]\n"
        "5: unknown section [], not one of [kaproxy], [admin], [pool], [pool NAME], "
        "[listener NAME]\n"
        "6: unknown section [pools], not one of [kaproxy], [admin], [pool], [pool NAME], "
        "[listener NAME]\n"
        "7: section [kaproxy x] takes no name\n"
        "8: log: \"7\" is not stderr, stdout, syslog or a file (with a '/' or '.' in it)\n"
        "9: section [listener] needs a name: [listener NAME]\n"
        "10: listen: \"x\": the port is missing: write addr:port, [v6]:port or "
        "unix:/path\n"
        "11: section [pool a b] has a name with characters other than letters, digits, "
        "'-', '_' and '.'\n"
        "12: section [pool a=b] has a name with characters other than letters, digits, "
        "'-', '_' and '.'\n");
}

static void test_default_pool_has_no_name(void **state)
{
    (void)state;
    assert_mistake("[pool default]\n" LISTENER, 1,
                   "section [pool default] has the name that logs give to the default pool");
}

static void test_given_twice(void **state)
{
    (void)state;
    assert_mistakes("[kaproxy]\n[pool]\n[pool b]\n" LISTENER
                    "[kaproxy]\n[pool]\nmax_open=x\n[pool b]\n[listener a]\n",
                    "8: section [kaproxy] is already defined on line 1\n"
                    "9: section [pool] is already defined on line 2\n"
                    "10: max_open: \"x\" is not a whole number\n"
                    "11: section [pool b] is already defined on line 3\n"
                    "12: section [listener a] is already defined on line 4\n");
    assert_mistake("[pool]\nmax_open=2\nmax_uses=1\nmax_open=x\n" LISTENER, 4,
                   "key \"max_open\" is already defined on line 2");
    /* A pool and a listener may share a name. */
    config_unref(ini_load(LISTENER "[pool a]\n"));
}

static void test_unknown_key(void **state)
{
    (void)state;
    assert_mistake(LISTENER "max_open = 4\n", 5, "unknown key \"max_open\" in [listener]");
    assert_mistake(LISTENER "[pool]\nMax_open = 4\n", 6, "unknown key \"Max_open\" in [pool]");
}

static void test_no_listener(void **state)
{
    (void)state;
    assert_mistakes("", "1: no section [listener NAME]: there is nothing to do\n");
    assert_mistakes("[kaproxy]\n", "1: no section [listener NAME]: there is nothing to do\n");
    assert_mistake("[kaproxy]\n[listener a\n", 2, "neither [section]");
}

static void test_unreadable(void **state)
{
    char *text;
    size_t size;

    (void)state;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_null(config_load("./no-such-file", out));
    assert_null(config_load("/", out));
    fclose(out);
    assert_string_equal(text, "./no-such-file: No such file or directory\n/: Is a directory\n");
    free(text);
}

static void test_counts(void **state)
{
    static const char *const bad[] = {"4x", "x", "-1", "+1", "1 2", "1.5", "0x10", "1e3", "''"};
    char text[200];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(text, sizeof(text), "[pool]\nmax_open = %s\n" LISTENER, bad[i]);
        assert_mistake(text, 2, "is not a whole number");
    }
    assert_mistake("[kaproxy]\nmax_clients = 0\n" LISTENER, 2,
                   "max_clients: 0 is out of range, 1 to 1000000 are allowed");
    assert_mistake("[kaproxy]\nmax_clients = 1000001\n" LISTENER, 2, "out of range");
    assert_mistake("[pool]\nmax_tunnels = 1000001\n" LISTENER, 2,
                   "max_tunnels: 1000001 is out of range, 0 to 1000000 are allowed");
    assert_mistake("[pool]\nmax_tunnels = off\n" LISTENER, 2, "is not a whole number");
    assert_mistake("[pool]\nmax_uses = 4294967296\n" LISTENER, 2, "out of range");
    assert_mistake("[pool]\nconnect_retries = 1000001\n" LISTENER, 2, "out of range");
    assert_mistake("[pool]\nfail_after = 1000001\n" LISTENER, 2, "out of range");
    assert_mistake("[pool]\nfail_after = -1\n" LISTENER, 2, "fail_after");
    assert_mistake("[pool]\nconnect_retries = 1s\n" LISTENER, 2, "connect_retries");
    assert_mistake("[pool]\nmax_uses = 99999999999999999999999\n" LISTENER, 2, "out of range");
}

#define UNIX_LISTENER "[listener a]\nlisten=unix:/x\nupstream=tcp://x:1\nreuse=quiet\n"

static void test_socket_keys(void **state)
{
    static const char *const keys[] = {"socket_mode=0660", "socket_user=root", "socket_group=root"};
    static const char *const bad[] = {"8", "0o660", "0x1b0", "-1", "+660", "rw", "6 0"};
    char text[200];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        snprintf(text, sizeof(text), LISTENER "%s\n", keys[i]);
        assert_mistake(text, 5, "has no effect without a unix:/path in listen");
        snprintf(text, sizeof(text), UNIX_LISTENER "%s\n", keys[i]);
        config_unref(ini_load(text));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(text, sizeof(text), UNIX_LISTENER "socket_mode=%s\n", bad[i]);
        assert_mistake(text, 5, "is not an octal number, such as 0660");
    }
    assert_mistake(UNIX_LISTENER "socket_mode=1000\n", 5,
                   "socket_mode: 1000 is out of range, 0 to 0777 are allowed");
    assert_mistake(UNIX_LISTENER "socket_mode=7777777777777777777777777\n", 5, "out of range");
    assert_mistake(UNIX_LISTENER "socket_user=no-such-user-here\n", 5,
                   "socket_user: there is no user \"no-such-user-here\" on this system");
    assert_mistake(UNIX_LISTENER "socket_group=no-such-group-here\n", 5,
                   "socket_group: there is no group \"no-such-group-here\" on this system");
}

static void test_times(void **state)
{
    static const char *const bad[] = {"4x", "s", "-1", "+1", "1.5s", "5 s", "5S", "5sec", "1h30m"};
    static const char *const large[] = {"31536001", "8761h", "99999999999999999999",
                                        "9223372036854775807", "18446744073709551615h"};
    char text[200];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(text, sizeof(text), "[pool]\nkeep_alive = %s\n" LISTENER, bad[i]);
        assert_mistake(text, 2, "is not a time: a whole number of seconds, or with a unit");
    }
    for (size_t i = 0; i < ARRAY_LEN(large); i++) {
        snprintf(text, sizeof(text), "[pool]\nkeep_alive = %s\n" LISTENER, large[i]);
        assert_mistake(text, 2, "is out of range, 0 to 31536000 seconds are allowed");
    }
    config_unref(ini_load("[pool]\nkeep_alive = 8760h\n" LISTENER));
    static const char *const unacked[] = {"1ms", "999ms", "31536001", "8761h"};
    for (size_t i = 0; i < ARRAY_LEN(unacked); i++) {
        snprintf(text, sizeof(text), "[pool]\nunacked_timeout = %s\n" LISTENER, unacked[i]);
        assert_mistake(text, 2, "is out of range, 0 or 1 to 31536000 seconds are allowed");
    }
    assert_mistake("[pool]\nunacked_timeout = off\n" LISTENER, 2, "is not a time");
    config_unref(ini_load("[pool]\nunacked_timeout = 0ms\n" LISTENER));
    config_unref(ini_load("[pool]\nunacked_timeout = 1s\n" LISTENER));
    config_unref(ini_load("[pool]\nunacked_timeout = 8760h\n" LISTENER));
}

static void test_words(void **state)
{
    (void)state;
    assert_mistake("[kaproxy]\nlog_level = Debug\n" LISTENER, 2,
                   "log_level: \"Debug\" is not one of error, warning, notice, info or debug");
    assert_mistake(LISTENER "[listener b]\nlisten=[::1]:1\nupstream=tcp://x:1\nreuse=always\n", 8,
                   "reuse: \"always\" is not one of framed, quiet or never");
    assert_mistake("[kaproxy]\nlog = off\n" LISTENER, 2, "is not stderr, stdout, syslog or a file");
    assert_mistake("[kaproxy]\naccess_log = on\n" LISTENER, 2,
                   "is not off, stderr, stdout, syslog");
    config_unref(ini_load("[kaproxy]\nlog = a.log\naccess_log = /a\n" LISTENER));
    config_unref(ini_load("[kaproxy]\nlog = stdout\naccess_log = stdout\n" LISTENER));
    assert_mistake("[kaproxy]\npid_file = on\n" LISTENER, 2,
                   "pid_file: \"on\" is not the absolute path of a file");
    assert_mistake("[kaproxy]\npid_file = /run/kaproxy/\n" LISTENER, 2,
                   "is not the absolute path of a file");
    assert_mistake("[kaproxy]\nuser = no:such:user\n" LISTENER, 2,
                   "user: there is no user \"no:such:user\" on this system");
    assert_mistake("[kaproxy]\nresolver = 10.0.0.1 dns.test\n" LISTENER, 2,
                   "resolver: \"10.0.0.1 dns.test\" is not a list of numeric addresses");
    assert_mistake("[kaproxy]\nresolver = 127.0.0.1:0\n" LISTENER, 2, "is not a list of");
    assert_mistake("[kaproxy]\nresolver = fe80::1%lo\n" LISTENER, 2, "is not a list of");
    assert_mistake("[kaproxy]\nresolver = ::1 ::1 ::1 ::1 ::1 ::1 ::1 ::1 ::1 ::1 ::1 ::1 ::1 ::1 "
                   "::1 ::1 ::1\n" LISTENER,
                   2, "at most 16 of them");
}

static void test_listen_mistakes(void **state)
{
    static const struct {
        const char *listen, *words;
    } cases[] = {
        {"127.0.0.1", "the port is missing"},
        {"80", "the port is missing"},
        {":80", "the addr is not numeric"},
        {"*:80", "the addr is not numeric"},
        {"localhost:80", "the addr is not numeric"},
        {"127.1:80", "the addr is not numeric"},
        {"[localhost]:80", "the addr is not numeric"},
        {"[127.0.0.1]:80", "the addr is not numeric"},
        {"[]:80", "the addr is not numeric"},
        {"127.0.0.1:", "a port is a number from 1 to 65535"},
        {"127.0.0.1:0", "a port is a number from 1 to 65535"},
        {"127.0.0.1:65536", "a port is a number from 1 to 65535"},
        {"127.0.0.1:http", "a port is a number from 1 to 65535"},
        {"::1:80", "an IPv6 address is written [addr]:port"},
        {"[::1]", "an IPv6 address is written [addr]:port"},
        {"[::1:80", "an IPv6 address is written [addr]:port"},
        {"[::ffff:127.0.0.1]:80", "this is IPv4 written as IPv6: write the IPv4 address"},
        {"[::ffff:0:0]:80", "this is IPv4 written as IPv6: write the IPv4 address"},
        {"unix:run/x", "a unix socket is written unix:/path"},
        {"unix:", "a unix socket is written unix:/path"},
        {"127.0.0.1:80, 127.0.0.1:81", "a port is a number from 1 to 65535"},
        {"127.0.0.1:80 127.0.0.1:80", "exclude each other"},
        {"unix:/a 0.0.0.0:80 127.0.0.1:80", "exclude each other"},
        {"[::1]:80 [0::1]:80", "exclude each other"},
        {"[::1]:80 [::]:80", "exclude each other"},
        {"unix:/a unix:/a", "exclude each other"},
    };
    char text[300];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(text, sizeof(text), "[listener a]\nupstream=tcp://x:1\nreuse=never\nlisten = %s\n",
                 cases[i].listen);
        assert_mistake(text, 4, cases[i].words);
    }
}

/* The valid ones are still compared with the other listeners'. */
static void test_several_listen_mistakes(void **state)
{
    (void)state;
    assert_mistakes(LISTENER "[listener b]\nlisten=x 127.0.0.1:80 [::1]:0 unix:y 127.0.0.1:80\n"
                             "upstream=tcp://x:1\nreuse=never\n",
                    "6: listen: \"x\": the port is missing: write addr:port, [v6]:port or "
                    "unix:/path\n"
                    "6: listen: \"[::1]:0\": a port is a number from 1 to 65535\n"
                    "6: listen: \"unix:y\": a unix socket is written unix:/path\n"
                    "6: listen: 127.0.0.1:80 and 127.0.0.1:80 exclude each other\n"
                    "6: listen: 127.0.0.1:80 is taken by listener a on line 2 (127.0.0.1:80)\n");
}

static void test_unix_path_length(void **state)
{
    char path[109] = "/", text[300];

    (void)state;
    memset(path + 1, 'x', 107);
    snprintf(text, sizeof(text), "[listener a]\nlisten=unix:%s\nupstream=tcp://x:1\nreuse=never\n",
             path);
    assert_mistake(text, 2, "has at most 107 characters");
    path[107] = '\0';
    snprintf(text, sizeof(text), "[listener a]\nlisten=unix:%s\nupstream=tcp://x:1\nreuse=never\n",
             path);
    config_unref(ini_load(text));
}

static void test_address_of_two_listeners(void **state)
{
    (void)state;
    assert_mistakes(LISTENER "[listener b]\nlisten=unix:/b 127.0.0.1:80\nupstream=tcp://x:1\n"
                             "reuse=never\n"
                             "[listener c]\nlisten=unix:/b 0.0.0.0:80\nupstream=tcp://x:1\n"
                             "reuse=never\n",
                    "6: listen: 127.0.0.1:80 is taken by listener a on line 2 (127.0.0.1:80)\n"
                    "10: listen: 0.0.0.0:80 is taken by listener a on line 2 (127.0.0.1:80)\n"
                    "10: listen: unix:/b is taken by listener b on line 6 (unix:/b)\n"
                    "10: listen: 0.0.0.0:80 is taken by listener b on line 6 (127.0.0.1:80)\n");
    config_unref(ini_load(LISTENER "[listener b]\nlisten=127.0.0.2:80 [::]:80 0.0.0.0:81\n"
                                   "upstream=tcp://x:1\nreuse=never\n"));
}

static void test_missing_keys(void **state)
{
    (void)state;
    assert_mistakes("[pool]\n[listener a]\n[listener b]\nlisten=127.0.0.1:80\nreuse=framed\n",
                    "2: listener a: the key listen is missing\n"
                    "2: listener a: the key upstream is missing\n"
                    "3: listener b: the key upstream is missing\n");
    assert_mistake("[listener a]\nlisten=127.0.0.1:80\nupstream=tcp:x\n", 3,
                   "upstream: \"tcp:x\": not of the form scheme://addr:port");
    assert_mistake("[listener a]\nlisten=127.0.0.1:80\nupstream=tcp://x:1/path\nreuse=never\n", 3,
                   "a path is not allowed");
}

/* What can be found without the upstream is: with its scheme, or even without it. */
static void test_behind_a_bad_upstream(void **state)
{
    (void)state;
    assert_mistakes(
        "[listener a]\nlisten=127.0.0.1\nupstream=http://x:1/path\ntimeout=x\n"
        "tls_verify=no\nsocket_mode=9\npool=p\nreuse=quiet\n",
        "2: listen: \"127.0.0.1\": the port is missing: write addr:port, [v6]:port or "
        "unix:/path\n"
        "3: upstream: \"http://x:1/path\": a path is not allowed, just "
        "scheme://addr:port\n"
        "4: timeout: \"x\" is not a time: a whole number of seconds, or with a unit: "
        "500ms, 2s, 5m, 1h\n"
        "5: tls_verify: has no effect on scheme http\n"
        "6: socket_mode: \"9\" is not an octal number, such as 0660\n"
        "7: pool: there is no section [pool p]\n"
        "8: reuse: quiet is for opaque schemes, but scheme http has message boundaries: use "
        "framed or never\n");
    assert_mistakes("[listener a]\nlisten=127.0.0.1:80\nupstream=htp://x\nreuse=maybe\n"
                    "tls_cert_file=none\nhost=a b\nnonsense=1\n",
                    "3: upstream: \"htp://x\": unknown scheme, not one of " SCHEME_NAMES "\n"
                    "4: reuse: \"maybe\" is not one of framed, quiet or never\n"
                    "5: tls_cert_file: tls_key_file must be given as well\n"
                    "6: host: \"a b\" is not upstream, client, or addr or addr:port\n"
                    "7: unknown key \"nonsense\" in [listener]\n");
}

static void test_reuse(void **state)
{
    static const char explained[] =
        "listener a: reuse must be set, because scheme tcp+q has no message boundaries: "
        "reuse = quiet (the connection is reused when the client closed first, in order, and "
        "the upstream sent last; the next client inherits whatever state was left in it, such "
        "as a login) or reuse = never (each client gets a connection that was not used before)\n";

    (void)state;
    assert_mistake("[listener a]\nlisten=127.0.0.1:80\nupstream=tcp+q://x:1\n", 1, explained);
    assert_mistake("[listener a]\nlisten=127.0.0.1:80\nupstream=tcp+q://x:1\nreuse =\n", 4,
                   explained);
    assert_mistake("[listener a]\nlisten=127.0.0.1:80\nupstream=tcp://x:1\nreuse = framed\n", 4,
                   "reuse: framed is for schemes with message boundaries, but scheme tcp has "
                   "none: use quiet or never");
    assert_mistake("[listener a]\nlisten=127.0.0.1:80\nupstream=tls+q://x:1\n", 1,
                   "because scheme tls+q has no message boundaries");
    assert_mistake("[listener a]\nlisten=127.0.0.1:80\nupstream=tls://x:1\nreuse=framed\n", 4,
                   "reuse: framed is for schemes with message boundaries, but scheme tls has "
                   "none: use quiet or never");
    assert_mistake("[listener a]\nlisten=127.0.0.1:80\nreuse=quiet\nupstream=https://x\n", 3,
                   "reuse: quiet is for opaque schemes, but scheme https has message boundaries: "
                   "use framed or never");
    assert_mistake(HTTP_LISTENER "reuse=quiet\n", 4,
                   "reuse: quiet is for opaque schemes, but scheme http has message boundaries: "
                   "use framed or never");
    /* The value is the mistake, whatever the scheme. */
    assert_mistake(HTTP_LISTENER "reuse=yes\n", 4, "reuse: \"yes\" is not one of framed, quiet or");
}

/* Defaults need not fit every max_open, but a key that is set must have an effect. */
static void test_beyond_max_open(void **state)
{
    (void)state;
    config_unref(ini_load("[pool]\nmax_open = 1\n" LISTENER));
    config_unref(ini_load("[pool]\nmax_open = 8\nmax_per_host = 8\nmax_tunnels = 8\n" LISTENER));
    config_unref(
        ini_load_warned("[pool]\nmax_open = 8\nmax_per_host = 9\nmax_tunnels = 10\n" LISTENER,
                        "3: warning: max_per_host: 9 is more than max_open allows (8)\n"
                        "4: warning: max_tunnels: 10 is more than max_open allows (8)\n"));
    config_unref(
        ini_load_warned("[pool a]\nmax_per_host = 200\n" LISTENER,
                        "2: warning: max_per_host: 200 is more than max_open allows (128)\n"));
    assert_mistakes("[pool]\nmax_open = x\nmax_per_host = 200\n" LISTENER,
                    "2: max_open: \"x\" is not a whole number\n");
}

static void test_pools(void **state)
{
    (void)state;
    assert_mistake(LISTENER "pool = slow\n[pool fast]\n", 5,
                   "pool: there is no section [pool slow]");
    assert_mistake("[pool]\nmax_per_host = 2\nmin_idle = 3\n" LISTENER, 3,
                   "min_idle: 3 is more than max_per_host and max_open leave room for (2)");
    assert_mistake("[pool]\nmax_open = 1\nmin_idle = 2\n" LISTENER, 3, "room for (1)");
    assert_mistake("[pool]\nbind_address = localhost\n" LISTENER, 2,
                   "bind_address: \"localhost\" is not a numeric IPv4 or IPv6 address");
    assert_mistake("[pool]\nbind_address = [::1]\n" LISTENER, 2, "is not a numeric");
    assert_mistake("[pool]\nbind_address = ::ffff:127.0.0.1\n" LISTENER, 2,
                   "bind_address: \"::ffff:127.0.0.1\" is IPv4 written as IPv6");
}

/* test_config_tls has those about the files. */
static void test_tls_keys(void **state)
{
    (void)state;
    assert_mistakes(HTTPS_LISTENER "tls_cert_file=c\n",
                    "4: tls_cert_file: tls_key_file must be given as well\n");
    assert_mistakes(HTTPS_LISTENER "tls_key_file=k\ntls_cert_file=\n",
                    "4: tls_key_file: tls_cert_file must be given as well\n");
    assert_mistakes(HTTPS_LISTENER "tls_verify=maybe\ntls_min_version=1.1\ntls_server_name=a:1\n",
                    "4: tls_verify: \"maybe\" is not one of no or yes\n"
                    "5: tls_min_version: \"1.1\" is not one of 1.2 or 1.3\n"
                    "6: tls_server_name: \"a:1\" is neither a host name nor an IP address\n");
    assert_mistake(HTTPS_LISTENER "tls_server_name=a/b\n", 4, "is neither a host name nor an IP");
    assert_mistake(HTTPS_LISTENER "tls_server_name=*.a\n", 4, "is neither a host name nor an IP");
    assert_mistake(HTTPS_LISTENER "tls_server_name=[::1]\n", 4, "is neither a host name nor");
    assert_mistake(HTTPS_LISTENER "tls_min_version=\n", 4, "tls_min_version: the value is missing");
    assert_mistake(HTTPS_LISTENER "tls_close_notify=no\n", 4,
                   "tls_close_notify: \"no\" is not one of optional or required");
    assert_mistake(HTTPS_LISTENER "tls_close_notify=\n", 4,
                   "tls_close_notify: the value is missing");
}

/* A key that does nothing is a mistake, even with its default as value. */
static void test_keys_without_effect(void **state)
{
    (void)state;
    assert_mistakes(LISTENER "tls_verify=yes\ntls_cert_file=c\nhost=client\nheader_timeout=30\n"
                             "forwarded=off\naffinity_timeout=60\nclient_keep_alive=60\n"
                             "response_timeout=\nrequest_buffering=on\nabort_on_close=queued\n",
                    "5: tls_verify: has no effect on scheme tcp\n"
                    "6: tls_cert_file: has no effect on scheme tcp\n"
                    "7: host: has no effect on scheme tcp\n"
                    "8: header_timeout: has no effect on scheme tcp\n"
                    "9: forwarded: has no effect on scheme tcp\n"
                    "10: affinity_timeout: has no effect on scheme tcp\n"
                    "11: client_keep_alive: has no effect on scheme tcp\n"
                    "12: response_timeout: has no effect on scheme tcp\n"
                    "13: request_buffering: has no effect on scheme tcp\n"
                    "14: abort_on_close: has no effect on scheme tcp\n");
    assert_mistakes(HTTP_LISTENER
                    "tls_server_name=x\ntls_min_version=1.2\ntls_close_notify=required\n",
                    "4: tls_server_name: has no effect on scheme http\n"
                    "5: tls_min_version: has no effect on scheme http\n"
                    "6: tls_close_notify: has no effect on scheme http\n");
    assert_mistakes("[listener a]\nlisten=127.0.0.1:80\nupstream=tls+q://x:1\nreuse=never\n"
                    "host=client\ntls_verify=no\nstateless_commands=\n",
                    "5: host: has no effect on scheme tls+q\n"
                    "7: stateless_commands: has no effect on scheme tls+q\n");
    assert_mistakes(HTTP_LISTENER "stateless_commands=a\n",
                    "4: stateless_commands: has no effect on scheme http\n");
    config_unref(ini_load(HTTPS_LISTENER "host=client\nheader_timeout=1\nforwarded=off\n"
                                         "affinity_timeout=1\nclient_keep_alive=1\n"));
}

static void test_host(void **state)
{
    static const char *const good[] = {"upstream", "client", "a.example", "A:81", "[::1]:80"};
    static const char *const bad[] = {"a b", "a/", "a\"", "a:x", "::1", "u@a"};
    char text[200];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        snprintf(text, sizeof(text), HTTP_LISTENER "host = %s\n", good[i]);
        config_unref(ini_load(text));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(text, sizeof(text), HTTP_LISTENER "host = %s\n", bad[i]);
        assert_mistake(text, 4, "is not upstream, client, or addr or addr:port");
    }
    assert_mistake(HTTP_LISTENER "host = [fe80::1%lo]:80\n", 4, "has a scope");
}

static void test_http_keys(void **state)
{
    static const char *const bad[] = {"on", "Forwarded", "x-real-ip", "off, forwarded"};
    char text[200], words[100];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(text, sizeof(text), HTTP_LISTENER "forwarded = %s\n", bad[i]);
        snprintf(words, sizeof(words),
                 "forwarded: \"%s\" is not one of off, x-forwarded-for or forwarded", bad[i]);
        assert_mistake(text, 4, words);
    }
    assert_mistake(HTTP_LISTENER "forwarded =\n", 4, "forwarded: the value is missing");
    assert_mistake(HTTP_LISTENER "header_timeout = 30000\nheader_timeout = 1\n", 5,
                   "key \"header_timeout\" is already defined on line 4");
    assert_mistake(HTTP_LISTENER "header_timeout = 9000h\n", 4,
                   "header_timeout: 9000h is out of range");
    assert_mistake(HTTP_LISTENER "affinity_timeout = 9000h\n", 4,
                   "affinity_timeout: 9000h is out of range");
    assert_mistake(HTTP_LISTENER "affinity_timeout = long\n", 4, "affinity_timeout: \"long\" is");
    assert_mistake(HTTP_LISTENER "affinity_timeout =\n", 4,
                   "affinity_timeout: the value is missing");
    assert_mistake(HTTP_LISTENER "request_buffering = yes\n", 4,
                   "request_buffering: \"yes\" is not one of off or on");
    assert_mistake("[kaproxy]\nlog_format = xml\n" LISTENER, 2,
                   "log_format: \"xml\" is not one of logfmt or json");
    assert_mistake("[kaproxy]\nlog_format =\n" LISTENER, 2, "log_format: the value is missing");
    assert_mistake(HTTP_LISTENER "abort_on_close = on\n", 4,
                   "abort_on_close: \"on\" is not one of queued, always or never");
    assert_mistake(HTTP_LISTENER "abort_on_close =\n", 4, "abort_on_close: the value is missing");
    assert_mistake(HTTP_LISTENER "request_buffering =\n", 4,
                   "request_buffering: the value is missing");
    assert_mistake(HTTP_LISTENER "response_timeout = 9000h\n", 4,
                   "response_timeout: 9000h is out of range");
    assert_mistake(HTTP_LISTENER "response_timeout = never\n", 4,
                   "response_timeout: \"never\" is not a time");
    assert_mistake(HTTP_LISTENER "client_keep_alive = 9000h\n", 4,
                   "client_keep_alive: 9000h is out of range");
    assert_mistake(HTTP_LISTENER "client_keep_alive = off\n", 4, "client_keep_alive: \"off\" is");
    assert_mistake(HTTP_LISTENER "client_keep_alive =\n", 4,
                   "client_keep_alive: the value is missing");
}

/* systemd says by JOURNAL_STREAM which file is the journal's. */
static void write_findings(char *text, size_t size, bool is_journal)
{
    struct config_errors errors;
    struct stat st;
    char name[64];
    FILE *out = tmpfile();

    assert_int_equal(fstat(fileno(out), &st), 0);
    snprintf(name, sizeof(name), "%ju:%ju", (uintmax_t)st.st_dev,
             (uintmax_t)st.st_ino + !is_journal);
    setenv("JOURNAL_STREAM", name, 1);
    config_errors_init(&errors);
    config_errors_add(&errors, 0, "a");
    config_errors_warn(&errors, 7, "b");
    config_errors_write(&errors, "x.ini", out);
    config_errors_clear(&errors);
    unsetenv("JOURNAL_STREAM");
    rewind(out);
    text[fread(text, 1, size - 1, out)] = '\0';
    fclose(out);
}

static void test_priorities_for_the_journal(void **state)
{
    char text[100];

    (void)state;
    write_findings(text, sizeof(text), false);
    assert_string_equal(text, "x.ini: a\nx.ini:7: warning: b\n");
    write_findings(text, sizeof(text), true);
    assert_string_equal(text, "<3>x.ini: a\n<4>x.ini:7: warning: b\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_syntax_mistakes),
        cmocka_unit_test(test_line_too_long),
        cmocka_unit_test(test_control_characters),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_default_pool_has_no_name),
        cmocka_unit_test(test_given_twice),
        cmocka_unit_test(test_unknown_key),
        cmocka_unit_test(test_no_listener),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_socket_keys),
        cmocka_unit_test(test_priorities_for_the_journal),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_listen_mistakes),
        cmocka_unit_test(test_several_listen_mistakes),
        cmocka_unit_test(test_unix_path_length),
        cmocka_unit_test(test_address_of_two_listeners),
        cmocka_unit_test(test_missing_keys),
        cmocka_unit_test(test_behind_a_bad_upstream),
        cmocka_unit_test(test_reuse),
        cmocka_unit_test(test_beyond_max_open),
        cmocka_unit_test(test_pools),
        cmocka_unit_test(test_tls_keys),
        cmocka_unit_test(test_keys_without_effect),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_http_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
