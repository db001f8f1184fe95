/* SPDX-License-Identifier: ISC */
/* kaproxy.ini: values and defaults arrive, config_print can be read back, no bytes do harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <grp.h>
#include <pwd.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/ini_text.h"
#include "support/skip.h"

static void test_defaults(void **state)
{
    struct config *config = ini_load(LISTENER);
    const struct pool_limits *limits = &config->pools[0].limits;

    (void)state;
    assert_string_equal(config->log, "stderr");
    assert_int_equal(config->log_level, LOG_LEVEL_NOTICE);
    assert_string_equal(config->access_log, "off");
    assert_int_equal(config->log_format, LOG_FORMAT_LOGFMT);
    assert_int_equal(config->max_clients, 4096);
    assert_int_equal(config->shutdown_timeout, 30 * USEC_PER_SEC);
    assert_string_equal(config->user, "");
    assert_string_equal(config->pid_file, "");
    assert_int_equal(config->pid_file_line, 0);
    assert_string_equal(config->resolver, "");
    assert_int_equal(config->pool_count, 1);
    assert_string_equal(config->pools[0].name, "");
    assert_int_equal(limits->max_per_host, POOL_MAX_PER_HOST);
    assert_int_equal(limits->max_open, POOL_MAX_OPEN);
    assert_int_equal(limits->keep_alive, POOL_KEEP_ALIVE);
    assert_int_equal(limits->timeout, POOL_TIMEOUT);
    assert_int_equal(limits->connect_timeout, 10 * USEC_PER_SEC);
    assert_int_equal(limits->connect_retries, 0);
    assert_int_equal(limits->fail_after, 0);
    assert_int_equal(limits->max_connecting, 0);
    assert_int_equal(limits->max_waiting, 1024);
    assert_int_equal(limits->max_age, 0);
    assert_int_equal(limits->max_uses, 0);
    assert_int_equal(limits->max_tunnels, 64);
    assert_int_equal(limits->min_idle, 0);
    assert_int_equal(limits->bind_address.sa.sa_family, AF_UNSPEC);
    assert_int_equal(config->listener_count, 1);
    assert_int_equal(config->listeners[0].timeout, POOL_TIMEOUT);
    assert_int_equal(config->listeners[0].idle_timeout, 300 * USEC_PER_SEC);
    config_unref(config);
    config_unref(NULL);
}

static void test_http_defaults(void **state)
{
    struct config *config = ini_load(HTTP_LISTENER);
    const struct config_listener *listener = &config->listeners[0];

    (void)state;
    assert_int_equal(listener->upstream.port, 80);
    assert_int_equal(listener->reuse, REUSE_FRAMED);
    assert_int_equal(listener->idle_timeout, 300 * USEC_PER_SEC);
    assert_int_equal(listener->response_timeout, 300 * USEC_PER_SEC);
    assert_int_equal(listener->header_timeout, 30 * USEC_PER_SEC);
    assert_int_equal(listener->client_keep_alive, 60 * USEC_PER_SEC);
    assert_int_equal(listener->affinity_timeout, 60 * USEC_PER_SEC);
    assert_true(listener->request_buffering);
    assert_int_equal(listener->abort_on_close, ABORT_QUEUED);
    assert_int_equal(listener->forwarded, HTTP1_FORWARDED_OFF);
    assert_string_equal(listener->host, "upstream");
    config_unref(config);
}

static void test_http_values(void **state)
{
    static const struct {
        const char *text;
        enum http1_forwarded value;
    } cases[] = {
        {"off", HTTP1_FORWARDED_OFF},
        {"x-forwarded-for", HTTP1_FORWARDED_X},
        {"forwarded", HTTP1_FORWARDED_RFC7239},
    };
    char text[200];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(text, sizeof(text),
                 HTTP_LISTENER "reuse=never\nheader_timeout=500ms\nhost=[::1]:81\nforwarded=%s\n",
                 cases[i].text);
        struct config *config = ini_load(text);
        const struct config_listener *listener = &config->listeners[0];
        assert_int_equal(listener->reuse, REUSE_NEVER);
        assert_int_equal(listener->header_timeout, 500 * USEC_PER_MSEC);
        assert_string_equal(listener->host, "[::1]:81");
        assert_int_equal(listener->forwarded, cases[i].value);
        config_unref(config);
    }
    struct config *config =
        ini_load(HTTP_LISTENER "header_timeout=0\naffinity_timeout=0\nclient_keep_alive=0\n"
                               "reuse=framed\nrequest_buffering=on\n");
    assert_true(config->listeners[0].request_buffering);
    assert_int_equal(config->listeners[0].header_timeout, 0);
    assert_int_equal(config->listeners[0].client_keep_alive, 0);
    assert_int_equal(config->listeners[0].affinity_timeout, 0);
    assert_int_equal(config->listeners[0].reuse, REUSE_FRAMED);
    config_unref(config);
}

static void test_abort_on_close(void **state)
{
    static const struct {
        const char *text;
        enum config_abort value;
    } cases[] = {{"queued", ABORT_QUEUED}, {"always", ABORT_ALWAYS}, {"never", ABORT_NEVER}};
    char text[200];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(text, sizeof(text), HTTP_LISTENER "abort_on_close=%s\n", cases[i].text);
        struct config *config = ini_load(text);
        assert_int_equal(config->listeners[0].abort_on_close, cases[i].value);
        config_unref(config);
    }
}

/* It is idle_timeout's, wherever that is set, unless it has its own value, which may be 0. */
static void test_response_timeout(void **state)
{
    static const struct {
        const char *text;
        usec_t value;
    } cases[] = {
        {"", 300 * USEC_PER_SEC},
        {"response_timeout=\n", 300 * USEC_PER_SEC},
        {"idle_timeout=0\n", 0},
        {"idle_timeout=7\n", 7 * USEC_PER_SEC},
        {"response_timeout=\nidle_timeout=7\n", 7 * USEC_PER_SEC},
        {"response_timeout=0\nidle_timeout=7\n", 0},
        {"response_timeout=1500ms\n", 1500 * USEC_PER_MSEC},
    };
    char text[200];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(text, sizeof(text), HTTP_LISTENER "%s", cases[i].text);
        struct config *config = ini_load(text);
        assert_int_equal(config->listeners[0].response_timeout, cases[i].value);
        config_unref(config);
    }
}

static void test_values(void **state)
{
    struct config *config = ini_load_warned(
        "[listener b]\nlisten = 127.0.0.1:81 [::1]:82 unix:/run/x\nupstream = tcp+q://[::2]:9\n"
        "pool = slow\nreuse = never\nidle_timeout = 0\n"
        "[kaproxy]\nlog = syslog\nlog_level = debug\naccess_log = ./a.log\n"
        "log_format = json\n"
        "max_clients = 7\nshutdown_timeout = 500ms\nuser = root\n"
        "resolver = 127.0.0.1:5353 ::1\npid_file = /run/k/pid\n"
        "[pool slow]\nmax_per_host = 2\nmax_open = 3\nkeep_alive = 2s\ntimeout = 5m\n"
        "connect_timeout = 1h\nconnect_retries = 1000000\nfail_after = 3\n"
        "unacked_timeout = 1500ms\n"
        "max_connecting = 3\nmax_waiting = 0\nmax_age = 31536000\n"
        "max_uses = 8\nmax_tunnels = 1000000\nmin_idle = 1\nbind_address = 127.0.0.2\n",
        "30: warning: max_tunnels: 1000000 is more than max_open allows (3)\n");
    const struct config_listener *listener = &config->listeners[0];
    const struct pool_limits *limits = &config->pools[1].limits;

    (void)state;
    assert_string_equal(config->log, "syslog");
    assert_int_equal(config->log_level, LOG_LEVEL_DEBUG);
    assert_string_equal(config->access_log, "./a.log");
    assert_int_equal(config->log_format, LOG_FORMAT_JSON);
    assert_int_equal(config->max_clients, 7);
    assert_int_equal(config->shutdown_timeout, 500 * USEC_PER_MSEC);
    assert_string_equal(config->user, "root");
    assert_string_equal(config->resolver, "127.0.0.1:5353 ::1");
    assert_string_equal(config->pid_file, "/run/k/pid");
    assert_int_equal(config->pid_file_line, 16);
    assert_int_equal(config->pool_count, 2);
    assert_string_equal(config->pools[1].name, "slow");
    assert_int_equal(config->pools[1].line, 17);
    assert_int_equal(limits->max_per_host, 2);
    assert_int_equal(limits->max_open, 3);
    assert_int_equal(limits->keep_alive, 2 * USEC_PER_SEC);
    assert_int_equal(limits->timeout, 300 * USEC_PER_SEC);
    assert_int_equal(limits->connect_timeout, 3600 * USEC_PER_SEC);
    assert_int_equal(limits->connect_retries, 1000000);
    assert_int_equal(limits->fail_after, 3);
    assert_int_equal(limits->unacked_timeout, 1500 * USEC_PER_MSEC);
    assert_int_equal(limits->max_connecting, 3);
    assert_int_equal(limits->max_waiting, 0);
    assert_int_equal(limits->max_age, INT64_C(31536000) * USEC_PER_SEC);
    assert_int_equal(limits->max_uses, 8);
    assert_int_equal(limits->max_tunnels, 1000000);
    assert_int_equal(limits->min_idle, 1);
    assert_int_equal(limits->bind_address.in.sin_addr.s_addr, htonl(0x7f000002));
    assert_string_equal(listener->name, "b");
    assert_int_equal(listener->line, 1);
    assert_int_equal(listener->pool, 1);
    assert_int_equal(listener->timeout, 300 * USEC_PER_SEC);
    assert_int_equal(listener->reuse, REUSE_NEVER);
    assert_int_equal(listener->idle_timeout, 0);
    assert_string_equal(listener->upstream.scheme, "tcp+q");
    assert_string_equal(listener->upstream.addr, "::2");
    assert_int_equal(listener->upstream.port, 9);
    config_unref(config);
}

static void test_addresses(void **state)
{
    struct config *config =
        ini_load("[listener b]\n\nlisten = 127.0.0.1:81\t[::1]:82  unix:/run/x\n"
                 "upstream = tcp://x:1\nreuse = never\n");
    const struct config_address *address = config->listeners[0].addresses.list;

    (void)state;
    assert_int_equal(config->listeners[0].addresses.count, 3);
    assert_int_equal(address[0].address.sa.ss_family, AF_INET);
    assert_int_equal(address[0].address.length, sizeof(struct sockaddr_in));
    assert_int_equal(((const struct sockaddr_in *)&address[0].address.sa)->sin_port, htons(81));
    assert_int_equal(((const struct sockaddr_in *)&address[0].address.sa)->sin_addr.s_addr,
                     htonl(INADDR_LOOPBACK));
    assert_string_equal(address[0].address.text, "127.0.0.1:81");
    assert_int_equal(address[0].line, 3);
    assert_int_equal(address[1].address.sa.ss_family, AF_INET6);
    assert_int_equal(address[1].address.length, sizeof(struct sockaddr_in6));
    assert_int_equal(((const struct sockaddr_in6 *)&address[1].address.sa)->sin6_port, htons(82));
    assert_int_equal(address[2].address.sa.ss_family, AF_UNIX);
    assert_string_equal(((const struct sockaddr_un *)&address[2].address.sa)->sun_path, "/run/x");
    config_unref(config);
}

/* POOL 3. */
static void test_zero_is_default(void **state)
{
    struct config *config =
        ini_load("[pool]\nmax_per_host=0\nmax_open=0\nkeep_alive=0ms\n"
                 "timeout=0h\nconnect_timeout=0\nunacked_timeout=0\n" LISTENER "timeout=0\n");
    const struct pool_limits *limits = &config->pools[0].limits;

    (void)state;
    assert_int_equal(limits->max_per_host, POOL_MAX_PER_HOST);
    assert_int_equal(limits->max_open, POOL_MAX_OPEN);
    assert_int_equal(limits->keep_alive, POOL_KEEP_ALIVE);
    assert_int_equal(limits->timeout, POOL_TIMEOUT);
    assert_int_equal(limits->connect_timeout, 0);
    assert_int_equal(limits->unacked_timeout, 0);
    assert_int_equal(config->listeners[0].timeout, POOL_TIMEOUT);
    config_unref(config);
}

static void test_empty_means_default(void **state)
{
    struct config *config =
        ini_load("[kaproxy]\nuser=\n[pool]\nbind_address=\n" LISTENER "pool =\ntimeout = ; none\n");

    (void)state;
    assert_int_equal(config->listeners[0].pool, 0);
    assert_int_equal(config->listeners[0].timeout, POOL_TIMEOUT);
    config_unref(config);
    assert_mistake("[pool]\nmax_open =\n" LISTENER, 2, "max_open: the value is missing");
    assert_mistake("[kaproxy]\nlog = ; x\n" LISTENER, 2, "log: the value is missing");
    assert_mistake("[listener a]\nlisten =\nupstream=tcp://x:1\nreuse=never\n", 2,
                   "listen: the value is missing");
}

static void test_timeout_of_listener(void **state)
{
    struct config *config = ini_load(LISTENER "timeout = 7\n[pool]\ntimeout = 9\n");

    (void)state;
    assert_int_equal(config->listeners[0].timeout, 7 * USEC_PER_SEC);
    assert_int_equal(config->pools[0].line, 6);
    config_unref(config);
}

static void test_syntax_accepted(void **state)
{
    static const char text[] = "\xef\xbb\xbf  [ listener   a ] ; comment\r\n"
                               "\t; comment\r\n# comment\r\n\r\n"
                               "   listen=127.0.0.1:80 ; comment\r\n"
                               "\tupstream\t=\ttcp://x:1\r\n"
                               "reuse: quiet\n"
                               "[pool];comment\n"
                               "max_open = 9";
    struct config *config = ini_load(text);

    (void)state;
    assert_string_equal(config->listeners[0].name, "a");
    assert_int_equal(config->pools[0].limits.max_open, 9);
    config_unref(config);
}

static void test_print(void **state)
{
    static const char expected[] =
        "[kaproxy]\nlog = stderr\nlog_level = notice\naccess_log = off\nlog_format = logfmt\n"
        "max_clients = 4096\n"
        "shutdown_timeout = 500ms\nuser =\npid_file =\nresolver =\n"
        "\n[admin]\nlisten = off\ncontrol = unix\nsocket_mode = 0600\nsocket_user =\n"
        "socket_group =\n"
        "\n[pool]\nmax_per_host = 4\nmax_open = 128\nkeep_alive = 15\ntimeout = 120\n"
        "connect_timeout = 10\nconnect_retries = 0\nfail_after = 0\nunacked_timeout = 10\n"
        "max_connecting = 0\nmax_waiting = 1024\nmax_age = 0\n"
        "max_uses = 0\nmax_tunnels = 64\nmin_idle = 0\nbind_address =\n"
        "\n[listener a]\nlisten = 127.0.0.1:80\nupstream = tcp://x:1\npool =\ntimeout = 120\n"
        "reuse = quiet\nidle_timeout = 300\n";
    struct config *config = ini_load("[kaproxy]\nshutdown_timeout = 500ms\n" LISTENER);
    char *text = ini_print(config);

    (void)state;
    assert_string_equal(text, expected);
    free(text);
    config_unref(config);
}

/* The keys that a scheme leaves without an effect are not shown, the others are. */
static void test_print_http(void **state)
{
    static const char expected[] =
        "\n[listener a]\nlisten = 127.0.0.1:80\nupstream = http://x:80\npool =\ntimeout = 120\n"
        "reuse = framed\nidle_timeout = 300\nresponse_timeout = 300\nheader_timeout = "
        "500ms\nclient_keep_alive = 120\n"
        "affinity_timeout = 90\nrequest_buffering = on\nabort_on_close = queued\n"
        "forwarded = forwarded\nhost = client\n";
    struct config *config =
        ini_load(HTTP_LISTENER "host=client\nforwarded=forwarded\nheader_timeout=500ms\n"
                               "client_keep_alive=2m\naffinity_timeout=90s\n");
    char *text = ini_print(config);
    const char *listener = strstr(text, "\n[listener");

    (void)state;
    assert_non_null(listener);
    assert_string_equal(listener, expected);
    free(text);
    config_unref(config);
}

static void assert_socket(const char *text, unsigned mode, uid_t uid, gid_t gid)
{
    struct config *config = ini_load(text);
    const struct socket_file *file = &config->listeners[0].socket.file;
    assert_int_equal(file->mode, mode);
    assert_int_equal(file->uid, uid);
    assert_int_equal(file->gid, gid);
    config_unref(config);
}

#define UNIX_LISTENER "[listener a]\nlisten=127.0.0.1:1 unix:/x\nupstream=http://x\n"

/* The owner of a unix socket: the user that we become, which has no effect without root. */
static void test_socket(void **state)
{
    const struct passwd *nobody = getpwnam("nobody");
    const struct group *daemon = getgrnam("daemon");
    (void)state;
    if (nobody == NULL || daemon == NULL)
        skip_because("there is no user nobody, or no group daemon");
    uid_t uid = nobody->pw_uid, user = geteuid() == 0 ? uid : SOCKET_FILE_OURS;
    gid_t gid = nobody->pw_gid, users = geteuid() == 0 ? gid : SOCKET_FILE_OURS;
    gid_t group = daemon->gr_gid;
    assert_socket(UNIX_LISTENER, 0660, SOCKET_FILE_OURS, SOCKET_FILE_OURS);
    assert_socket(UNIX_LISTENER "socket_mode=0\n", 0, SOCKET_FILE_OURS, SOCKET_FILE_OURS);
    assert_socket(UNIX_LISTENER "socket_mode=777\n", 0777, SOCKET_FILE_OURS, SOCKET_FILE_OURS);
    assert_socket(UNIX_LISTENER "socket_group=daemon\n", 0660, SOCKET_FILE_OURS, group);
    assert_socket(UNIX_LISTENER "socket_user=nobody\n", 0660, uid, gid);
    assert_socket(UNIX_LISTENER "socket_user=nobody\nsocket_group=daemon\n", 0660, uid, group);
    assert_socket(UNIX_LISTENER "[kaproxy]\nuser=nobody\n", 0660, user, users);
    assert_socket(UNIX_LISTENER "socket_group=daemon\n[kaproxy]\nuser=nobody\n", 0660, user, group);
    assert_socket(UNIX_LISTENER "socket_user=root\n[kaproxy]\nuser=nobody\n", 0660, 0, 0);
}

/* Every value other than its default, and the longest line allowed. */
static void test_print_reads_back(void **state)
{
    char source[2000];
    char path[197] = "/";

    (void)state;
    memset(path + 1, 'x', 197 - strlen("access_log=/"));
    snprintf(
        source, sizeof(source),
        "[kaproxy]\nlog=syslog\nlog_level=info\naccess_log=%s\nlog_format=json\nmax_clients=1\n"
        "shutdown_timeout=1500ms\nuser=root\nresolver=[::1]:53 10.0.0.1\n"
        "[pool]\nmin_idle=1\n"
        "[pool p]\nmax_per_host=1\nmax_open=2\nkeep_alive=1ms\ntimeout=1h\n"
        "connect_timeout=61s\nconnect_retries=2\nfail_after=5\nunacked_timeout=12\n"
        "max_connecting=2\nmax_waiting=6\nmax_age=7\nmax_uses=8\n"
        "max_tunnels=0\nmin_idle=1\nbind_address=fe80::1%%lo\n"
        "[listener a]\nlisten=[::1]:1 127.0.0.1:2 unix:/x\nupstream=TCP+Q://[::1]:3\n"
        "socket_mode=7\nsocket_user=root\nsocket_group=root\npool=p\ntimeout=9\nreuse="
        "never\nidle_timeout=10\n"
        "[listener b]\nlisten=[::1]:4\nupstream=HTTP://[::1]\nreuse=never\n"
        "response_timeout=0\nheader_timeout=11\nclient_keep_alive=12\naffinity_timeout=13\n"
        "request_buffering=off\nabort_on_close=never\nforwarded=x-forwarded-for\nhost=a:12\n"
        "[listener c]\nlisten=[::1]:5\nupstream=rediss://x\nreuse=never\n"
        "response_timeout=14\naffinity_timeout=15\nstateless_commands=JSON.*,FT.SEARCH\n"
        "tls_min_version=1.3\n",
        path);
    struct config *first = ini_load(source);
    char *text = ini_print(first);
    struct config *second = ini_load(text);
    char *again = ini_print(second);
    assert_string_equal(text, again);
    assert_memory_equal(&first->pools[1].limits, &second->pools[1].limits,
                        sizeof(struct pool_limits));
    assert_int_equal(second->listener_count, 3);
    for (size_t i = 0; i < second->listener_count; i++)
        assert_int_equal(
            endpoint_compare(&first->listeners[i].upstream, &second->listeners[i].upstream), 0);
    assert_int_equal(second->listeners[1].header_timeout, 11 * USEC_PER_SEC);
    assert_int_equal(second->listeners[1].response_timeout, 0);
    assert_int_equal(second->listeners[1].client_keep_alive, 12 * USEC_PER_SEC);
    assert_int_equal(second->listeners[1].affinity_timeout, 13 * USEC_PER_SEC);
    assert_false(second->listeners[1].request_buffering);
    assert_int_equal(second->listeners[1].abort_on_close, ABORT_NEVER);
    assert_int_equal(second->listeners[1].forwarded, HTTP1_FORWARDED_X);
    assert_string_equal(second->listeners[1].host, "a:12");
    assert_int_equal(second->listeners[2].response_timeout, 14 * USEC_PER_SEC);
    assert_int_equal(second->listeners[2].affinity_timeout, 15 * USEC_PER_SEC);
    assert_string_equal(second->listeners[2].stateless_commands, "JSON.*,FT.SEARCH");
    assert_string_equal(second->listeners[2].tls_min_version, "1.3");
    assert_int_equal(second->listeners[0].socket.file.mode, 07);
    assert_string_equal(second->listeners[0].socket.user, "root");
    assert_string_equal(second->listeners[0].socket.group, "root");
    free(text);
    free(again);
    config_unref(first);
    config_unref(second);
}

/* Whatever the bytes, there is either a config or a mistake in a line. */
static void test_random_bytes(void **state)
{
    static const char *const pieces[] = {
        "[",
        "]",
        "\n",
        "\n",
        "=",
        ":",
        ";",
        " ",
        "\t",
        "\r",
        "#",
        "[pool a]\n",
        "[listener b]\n",
        "[kaproxy]\n",
        "listen=",
        "upstream=",
        "tcp://",
        "http://",
        "https://",
        "unix:/",
        "[::1]:80",
        "1",
        "max_open=",
        "timeout=",
        "ms",
        "reuse=",
        "quiet",
        "pool=",
        "a",
        "user=",
        "resolver=",
        "\xef\xbb\xbf",
        "host=",
        "response_timeout=",
        "request_buffering=",
        "abort_on_close=",
        "always",
        "off",
        "header_timeout=",
        "client_keep_alive=",
        "affinity_timeout=",
        "stateless_commands=",
        "redis://",
        "forwarded=",
        "log=",
        "bind_address=",
        "%",
        "127.0.0.1:",
        "min_idle",
        "tls_cert_file=",
    };
    unsigned seed = 1;

    (void)state;
    for (int round = 0; round < 2000; round++) {
        char text[512];
        size_t length = 0;
        while (length < sizeof(text) - 40) {
            int choice = rand_r(&seed);
            if (choice % 16 == 0) {
                text[length++] = (char)(choice >> 8);
                continue;
            }
            const char *piece = pieces[(size_t)(choice >> 4) % ARRAY_LEN(pieces)];
            memcpy(text + length, piece, strlen(piece));
            length += strlen(piece);
        }
        char *said;
        config_unref(ini_load_bytes(text, length, &said));
        free(said);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_http_defaults),
        cmocka_unit_test(test_http_values),
        cmocka_unit_test(test_abort_on_close),
        cmocka_unit_test(test_response_timeout),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_zero_is_default),
        cmocka_unit_test(test_empty_means_default),
        cmocka_unit_test(test_timeout_of_listener),
        cmocka_unit_test(test_syntax_accepted),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_socket),
        cmocka_unit_test(test_print_http),
        cmocka_unit_test(test_print_reads_back),
        cmocka_unit_test(test_random_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
