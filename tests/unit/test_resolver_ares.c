/* SPDX-License-Identifier: ISC */
/* The back end that asks c-ares: servers, failures, a resolv.conf that changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ares.h>
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "net/resolver.h"
#include "support/shortage.h"
#include "support/skip.h"
#include "support/sockets.h"

#define WAIT_MAX 100 /* seconds: ends a test that waits forever */

/* A DNS server with a few names, whose first label says what is to happen. */
struct dns {
    int fd;
    struct watch watch;
    unsigned asked;
    int listener, connection; /* for answers that are too long for UDP */
    struct watch listener_watch, connection_watch;
};

/* Appends an address to the reply; its TTL is a number of seconds. */
static size_t append_record(unsigned char *reply, size_t length, int family, const char *text,
                            unsigned char ttl)
{
    unsigned char head[12] = {0xc0, 12, 0, family == AF_INET ? 1 : 28, 0, 1, 0, 0, 0, ttl, 0};
    unsigned char size = family == AF_INET ? 4 : 16;
    head[11] = size;
    memcpy(reply + length, head, sizeof(head));
    assert_int_equal(inet_pton(family, text, reply + length + sizeof(head)), 1);
    reply[7]++; /* ANCOUNT */
    return length + sizeof(head) + size;
}

/* Appends an alias, "a." and its address. */
static size_t append_alias(unsigned char *reply, size_t length, unsigned char ttl)
{
    const unsigned char alias[] = {0xc0, 12, 0, 5, 0, 1, 0, 0, 0, ttl, 0, 3, 1, 'a', 0};
    const unsigned char address[] = {1, 'a', 0, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1};
    memcpy(reply + length, alias, sizeof(alias));
    memcpy(reply + length + sizeof(alias), address, sizeof(address));
    reply[7] += 2;
    return length + sizeof(alias) + sizeof(address);
}

/* Turns the question, this many bytes, into a reply; returns its length, 0: there is none. */
static size_t answer(struct dns *dns, unsigned char *packet, size_t length, bool by_tcp)
{
    unsigned char type = packet[length - 3];
    const unsigned char *label = packet + 13;
    dns->asked++;
    packet[2] = 0x81; /* a response, recursion desired */
    packet[3] = 0x80; /* no error, recursion available */
    if (memcmp(label, "mute", 4) == 0)
        return 0;
    if (memcmp(label, "gone", 4) == 0)
        packet[3] |= 3; /* NXDOMAIN */
    if (memcmp(label, "sick", 4) == 0)
        packet[3] |= 2; /* SERVFAIL */
    if (strncasecmp((const char *)label, "refused", 7) == 0)
        packet[3] |= 5; /* REFUSED */
    if (memcmp(label, "lazy", 4) == 0)
        packet[3] |= 4; /* NOTIMP */
    if (memcmp(label, "both", 4) == 0 && type == 1) {
        length = append_record(packet, length, AF_INET, "127.0.0.1", 30);
        length = append_record(packet, length, AF_INET, "127.0.0.2", 30);
    }
    if (memcmp(label, "both", 4) == 0 && type == 28)
        length = append_record(packet, length, AF_INET6, "::1", 20);
    if (memcmp(label, "half", 4) == 0 && type == 28)
        return 0;
    if ((memcmp(label, "zero", 4) == 0 || memcmp(label, "half", 4) == 0) && type == 1)
        length = append_record(packet, length, AF_INET, "127.0.0.1", 0);
    if (memcmp(label, "alias", 5) == 0 && type == 1)
        length = append_alias(packet, length, 10);
    if (memcmp(label, "host", 4) == 0 && label[5] == 'n' && type == 1) /* host.new */
        length = append_record(packet, length, AF_INET, "127.0.0.3", 1);
    if (memcmp(label, "long", 4) == 0 && !by_tcp)
        packet[2] |= 2; /* truncated */
    else if (memcmp(label, "long", 4) == 0 && type == 1)
        length = append_record(packet, length, AF_INET, "127.0.0.4", 30);
    return length;
}

static void on_question(struct watch *watch, uint32_t events)
{
    struct dns *dns = container_of(watch, struct dns, watch);
    unsigned char packet[1024];
    struct sockaddr_in from;
    socklen_t from_length = sizeof(from);
    (void)events;
    ssize_t n = recvfrom(dns->fd, packet, 512, 0, (struct sockaddr *)&from, &from_length);
    assert_true(n > 17);
    size_t length = answer(dns, packet, (size_t)n, false);
    if (length > 0)
        sendto(dns->fd, packet, length, 0, (struct sockaddr *)&from, from_length);
}

/* This many calls from now on find no memory. */
static unsigned no_memory;

int __wrap_ares_init_options(ares_channel *channel, struct ares_options *options, int mask);
int __real_ares_init_options(ares_channel *channel, struct ares_options *options, int mask);

int __wrap_ares_init_options(ares_channel *channel, struct ares_options *options, int mask)
{
    if (no_memory == 0)
        return __real_ares_init_options(channel, options, mask);
    no_memory--;
    return ARES_ENOMEM;
}

struct world {
    struct loop *loop;
    struct resolver *resolver;
    struct dns dns;
    char servers[64];
    struct resolver_ares_options options;
    int descriptors; /* open before the resolver was made */
};

/* An asker that records what it is given. */
struct asker {
    struct lookup lookup;
    unsigned answers;
    size_t count;
    union address addresses[8];
    char error[200];
    const struct dns *dns; /* may be NULL */
    unsigned asked;        /* it, by the time of the answer */
};

static void on_done(struct lookup *lookup, const union address *addresses, size_t count,
                    const char *error)
{
    struct asker *asker = container_of(lookup, struct asker, lookup);
    asker->answers++;
    asker->asked = asker->dns != NULL ? asker->dns->asked : 0;
    asker->count = count;
    assert_true(count <= ARRAY_LEN(asker->addresses));
    if (count > 0)
        memcpy(asker->addresses, addresses, count * sizeof(*addresses));
    snprintf(asker->error, sizeof(asker->error), "%s", error == NULL ? "" : error);
}

static void ask(struct world *world, struct asker *asker, const char *name)
{
    asker->lookup.done = on_done;
    assert_int_equal(resolver_lookup(world->resolver, &asker->lookup, name), 0);
    assert_int_equal(asker->answers, 0); /* never from inside the call */
}

static void make_resolver(struct world *world)
{
    struct resolver_backend *backend = resolver_ares_new(world->loop, &world->options);
    assert_non_null(backend);
    world->resolver = resolver_new(world->loop, backend);
    assert_non_null(world->resolver);
}

/* For UDP, and TCP at the same port, which does not listen yet. */
static void open_dns(struct dns *dns, struct sockaddr_in *in)
{
    socklen_t length = sizeof(*in);
    int bound;
    do {
        *in =
            (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        dns->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        dns->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(dns->fd, (struct sockaddr *)in, length), 0);
        assert_int_equal(getsockname(dns->fd, (struct sockaddr *)in, &length), 0);
        bound = bind(dns->listener, (struct sockaddr *)in, length);
        if (bound < 0) { /* another process has it */
            close(dns->fd);
            close(dns->listener);
        }
    } while (bound < 0);
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    struct sockaddr_in in;
    alarm(WAIT_MAX);
    /* c-ares before 1.22 knows retrans, in milliseconds; later ones take the last of the two. */
    setenv("RES_OPTIONS", "retrans:200 timeout:1", 1);
    world->loop = loop_new();
    open_dns(&world->dns, &in);
    world->dns.watch.ready = on_question;
    assert_int_equal(loop_watch(world->loop, &world->dns.watch, world->dns.fd, EPOLLIN), 0);
    world->descriptors = sockets_count();

    snprintf(world->servers, sizeof(world->servers), "127.0.0.1:%u", ntohs(in.sin_port));
    world->options.servers = world->servers;
    make_resolver(world);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    resolver_free(world->resolver);
    loop_iterate(world->loop, 0); /* what was posted is gone */
    assert_int_equal(sockets_count(), world->descriptors);
    loop_unwatch(world->loop, &world->dns.watch, world->dns.fd, false);
    close(world->dns.fd);
    close(world->dns.listener);
    loop_free(world->loop);
    free(world);
    return 0;
}

static void wait_for(struct world *world, const struct asker *asker)
{
    while (asker->answers == 0)
        loop_iterate(world->loop, -1);
}

/* The text ends with the server that was asked. */
static void assert_given(const struct world *world, const struct asker *asker, const char *text)
{
    char whole[200];
    snprintf(whole, sizeof(whole), "%s (asked %s)", text, world->servers);
    assert_string_equal(asker->error, whole);
}

static bool has_address(const struct asker *asker, const char *text)
{
    union address wanted;
    assert_true(address_parse(&wanted, text));
    for (size_t i = 0; i < asker->count; i++) {
        if (memcmp(&asker->addresses[i], &wanted, address_length(&wanted)) == 0)
            return true;
    }
    return false;
}

static bool hosts_has_localhost(void)
{
    char line[1000];
    bool found = false;
    FILE *file = fopen("/etc/hosts", "re");
    while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL)
        found = line[0] != '#' && strstr(line, "localhost") != NULL;
    if (file != NULL)
        fclose(file);
    return found;
}

/* From /etc/hosts, which c-ares reads and answers from inside the call that asks. */
static void test_localhost(void **state)
{
    struct world *world = *state;
    struct asker a = {0};
    if (!hosts_has_localhost())
        skip_because("/etc/hosts has no localhost");
    ask(world, &a, "localhost");
    wait_for(world, &a);
    assert_true(has_address(&a, "127.0.0.1") || has_address(&a, "::1"));
}

static void test_both_families(void **state)
{
    struct world *world = *state;
    struct asker a = {0}, b = {0};
    ask(world, &a, "both.test");
    ask(world, &b, "both.test");
    wait_for(world, &a);
    assert_int_equal(a.count, 3);
    assert_true(has_address(&a, "127.0.0.1"));
    assert_true(has_address(&a, "127.0.0.2"));
    assert_true(has_address(&a, "::1"));
    assert_int_equal(b.answers, 1);
    assert_int_equal(world->dns.asked, 2); /* A, AAAA */
}

static void test_not_found(void **state)
{
    struct world *world = *state;
    struct asker a = {0};
    ask(world, &a, "gone.test");
    wait_for(world, &a);
    assert_given(world, &a, "Domain name not found");
}

static void test_no_address(void **state)
{
    struct world *world = *state;
    struct asker a = {0};
    ask(world, &a, "none.test");
    wait_for(world, &a);
    assert_string_equal(a.error, "Host has no address.");
}

/* A name that c-ares rejects without a query. */
static void test_bad_name(void **state)
{
    struct world *world = *state;
    struct asker a = {0};
    char name[256];
    memset(name, 'x', sizeof(name)); /* a label has 63 characters at most */
    snprintf(name + 100, sizeof(name) - 100, ".test");
    ask(world, &a, name);
    wait_for(world, &a);
    assert_true(strlen(a.error) > 0);
    assert_int_equal(world->dns.asked, 0);
}

/* RFC 1035 section 4.2.2: a length before each message. What c-ares has sent arrives as a whole. */
static void on_tcp_question(struct watch *watch, uint32_t events)
{
    struct world *world = container_of(watch, struct world, dns.connection_watch);
    unsigned char in[2048], packet[1024];
    (void)events;
    ssize_t n = recv(world->dns.connection, in, sizeof(in), 0);
    for (ssize_t at = 0; at + 2 <= n;) {
        size_t length = (size_t)(in[at] << 8 | in[at + 1]);
        assert_true(at + 2 + (ssize_t)length <= n && length + 2 < 512);
        memcpy(packet + 2, in + at + 2, length);
        at += 2 + (ssize_t)length;
        length = answer(&world->dns, packet + 2, length, true);
        packet[0] = (unsigned char)(length >> 8);
        packet[1] = (unsigned char)length;
        assert_int_equal(send(world->dns.connection, packet, length + 2, 0), length + 2);
    }
    if (n <= 0)
        loop_unwatch(world->loop, watch, world->dns.connection, false);
}

static void on_tcp_connection(struct watch *watch, uint32_t events)
{
    struct world *world = container_of(watch, struct world, dns.listener_watch);
    struct dns *dns = &world->dns;
    (void)events;
    assert_int_equal(dns->connection, -1);
    dns->connection = accept4(dns->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    assert_true(dns->connection >= 0);
    dns->connection_watch.ready = on_tcp_question;
    assert_int_equal(loop_watch(world->loop, &dns->connection_watch, dns->connection, EPOLLIN), 0);
}

static void open_tcp(struct world *world)
{
    struct dns *dns = &world->dns;
    dns->connection = -1;
    dns->listener_watch.ready = on_tcp_connection;
    assert_int_equal(listen(dns->listener, 8), 0);
    assert_int_equal(loop_watch(world->loop, &dns->listener_watch, dns->listener, EPOLLIN), 0);
}

/* By a connection that is watched to be established, written to, and read from; and for nothing
 * else, or the loop would spin. */
static void test_long_answer_comes_by_tcp(void **state)
{
    struct world *world = *state;
    struct asker a = {0};
    open_tcp(world);
    uint64_t before = loop_iterations(world->loop);
    ask(world, &a, "long.test");
    wait_for(world, &a);
    assert_int_equal(a.count, 1);
    assert_true(has_address(&a, "127.0.0.4"));
    assert_int_equal(world->dns.asked, 4); /* both families, both ways */
    assert_in_range(loop_iterations(world->loop) - before, 1, 50);
    loop_unwatch(world->loop, &world->dns.listener_watch, world->dns.listener, false);
    loop_unwatch(world->loop, &world->dns.connection_watch, world->dns.connection, false);
    close(world->dns.connection);
}

/* No server listens there. */
static void test_long_answer_without_tcp(void **state)
{
    struct world *world = *state;
    struct asker a = {0};
    ask(world, &a, "long.test");
    wait_for(world, &a);
    assert_int_equal(a.count, 0);
    assert_given(world, &a, "the name servers cannot be reached");
}

/* It is like a server that does not answer; the next query has its own socket. */
static void test_socket_that_cannot_be_watched(void **state)
{
    struct world *world = *state;
    struct asker a = {0}, b = {0};
    resolver_free(world->resolver);
    setenv("RES_OPTIONS", "retrans:50 retry:1 timeout:1 attempts:1", 1);
    make_resolver(world);
    shortage_of_epoll_ctl(1);
    ask(world, &a, "both.test");
    wait_for(world, &a);
    assert_true(shortage_came());
    assert_given(world, &a, "no answer from the name servers");
    ask(world, &b, "both.test");
    wait_for(world, &b);
    assert_int_equal(b.count, 3);
}

static void test_server_down(void **state)
{
    struct world *world = *state;
    struct asker a = {0};
    /* Connected elsewhere, the port answers with ICMP, and no other process can take it. */
    struct sockaddr_in nobody = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1), .sin_port = htons(1)};
    loop_unwatch(world->loop, &world->dns.watch, world->dns.fd, false);
    assert_int_equal(connect(world->dns.fd, (struct sockaddr *)&nobody, sizeof(nobody)), 0);
    ask(world, &a, "both.test");
    wait_for(world, &a);
    assert_given(world, &a, "the name servers cannot be reached");
}

/* A server that fails has answered, and differs from one that is silent or missing. */
static void test_server_fails(void **state)
{
    struct world *world = *state;
    struct asker sick = {0}, refused = {0}, lazy = {0}, mute = {0};
    ask(world, &mute, "mute.test");
    ask(world, &sick, "sick.test");
    ask(world, &refused, "Refused.test");
    ask(world, &lazy, "lazy.test");
    wait_for(world, &sick);
    wait_for(world, &refused);
    wait_for(world, &lazy);
    assert_given(world, &sick, "a name server answered SERVFAIL");
    assert_given(world, &refused, "a name server answered REFUSED");
    assert_given(world, &lazy, "a name server answered NOTIMP");
    wait_for(world, &mute);
    assert_given(world, &mute, "no answer from the name servers");
}

/* All of them are named, as far as there is room. */
static void test_many_servers(void **state)
{
    struct world *world = *state;
    struct asker asker = {0};
    char servers[400], expected[400];
    snprintf(servers, sizeof(servers), "%s [::1]:%s", world->servers,
             strchr(world->servers, ':') + 1);
    snprintf(expected, sizeof(expected), "Domain name not found (asked %s, [::1]:%s",
             world->servers, strchr(world->servers, ':') + 1);
    for (int i = 0; i < 10; i++)
        snprintf(servers + strlen(servers), sizeof(servers) - strlen(servers), " 127.100.100.%d",
                 i);
    for (int i = 0; i < 5; i++)
        snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected),
                 ", 127.100.100.%d:53", i);
    strcat(expected, ", ...)");
    resolver_free(world->resolver);
    world->options.servers = servers;
    make_resolver(world);
    ask(world, &asker, "gone.test");
    wait_for(world, &asker);
    assert_string_equal(asker.error, expected);
}

/* c-ares retries automatically after a time-out, which runs on the loop. */
static void test_asks_again(void **state)
{
    struct world *world = *state;
    struct asker a = {0};
    ask(world, &a, "mute.test");
    while (world->dns.asked < 3)
        loop_iterate(world->loop, -1);
    assert_int_equal(a.answers, 0);
    resolver_cancel(world->resolver, &a.lookup);
}

/* A query that is dropped, as some servers do with those for AAAA, delays nothing; it is retried
 * soon, whatever c-ares and the system's configuration would do. */
static void test_dropped_query(void **state)
{
    struct world *world = *state;
    struct asker a = {.dns = &world->dns};
    resolver_free(world->resolver);
    setenv("RES_OPTIONS", "retrans:3600000 retry:2 timeout:3600 attempts:2", 1);
    make_resolver(world);
    ask(world, &a, "half.test");
    wait_for(world, &a);
    assert_true(has_address(&a, "127.0.0.1"));
    assert_int_equal(a.asked, 2);                           /* not yet */
    usec_t end = loop_now(world->loop) + 60 * USEC_PER_SEC; /* else it would be an hour */
    while (world->dns.asked < 1 + 2 && loop_now(world->loop) < end)
        loop_iterate(world->loop, USEC_PER_SEC);
    assert_int_equal(world->dns.asked, 1 + 2);
}

/* The rest is teardown: the sockets are closed, and nothing is leaked or reported. */
static void test_freed_with_query_under_way(void **state)
{
    struct world *world = *state;
    struct asker a = {0};
    ask(world, &a, "mute.test");
    while (world->dns.asked < 2)
        loop_iterate(world->loop, -1);
    assert_true(sockets_count() > world->descriptors);
    resolver_cancel(world->resolver, &a.lookup);
}

/* The same with an answer that is posted already. */
static void test_freed_with_answer_posted(void **state)
{
    struct world *world = *state;
    struct asker a = {0};
    ask(world, &a, "localhost");
    resolver_cancel(world->resolver, &a.lookup);
}

static void test_bad_servers(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct resolver_ares_options options = {.servers = "nonsense"};
    assert_null(resolver_ares_new(loop, &options));
    assert_int_equal(errno, EINVAL);
    options.servers = " ";
    assert_null(resolver_ares_new(loop, &options));
    loop_free(loop);
}

/* Asks twice, with this much time between, and claims whether the second one made a query. */
static void assert_kept(struct world *world, const char *name, usec_t later, bool kept)
{
    struct asker first = {0}, second = {0};
    ask(world, &first, name);
    wait_for(world, &first);
    assert_true(first.count > 0);
    unsigned asked = world->dns.asked;
    loop_warp(world->loop, later);
    ask(world, &second, name);
    wait_for(world, &second);
    assert_int_equal(second.count, first.count);
    assert_true((world->dns.asked == asked) == kept);
}

/* The shortest TTL is used: here that of AAAA. */
static void test_kept_for_ttl(void **state)
{
    assert_kept(*state, "both.test", 19 * USEC_PER_SEC, true);
    assert_kept(*state, "both.test", 2 * USEC_PER_SEC, false);
}

static void test_kept_for_an_alias_ttl(void **state)
{
    assert_kept(*state, "alias.test", 9 * USEC_PER_SEC, true);
    assert_kept(*state, "alias.test", 2 * USEC_PER_SEC, false);
}

/* DNS servers that forbid caching an answer are not queried for each connection. */
static void test_kept_for_a_second_at_least(void **state)
{
    assert_kept(*state, "zero.test", USEC_PER_SEC * 9 / 10, true);
    assert_kept(*state, "zero.test", USEC_PER_SEC * 2 / 10, false);
}

static void write_file(const char *file, const char *text)
{
    FILE *stream = fopen(file, "w");
    assert_non_null(stream);
    fputs(text, stream);
    fclose(stream);
}

/* A name with search domains; `search` is in resolv.conf alone. */
static void test_resolv_conf_is_read_again(void **state)
{
    struct world *world = *state;
    char folder[] = "/tmp/kaproxy-test-XXXXXX", file[64];
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof(file), "%s/resolv.conf", folder);
    write_file(file, "search old\n");
    resolver_free(world->resolver);
    world->options.resolv_conf = file;
    make_resolver(world);

    struct asker before = {0}, slow = {0}, soon = {0}, after = {0};
    ask(world, &before, "host");
    wait_for(world, &before);
    assert_int_equal(before.count, 0);
    ask(world, &slow, "mute.test"); /* on the channel that is replaced */

    write_file(file, "search example new\n");
    ask(world, &soon, "host"); /* the last check is less than two seconds ago */
    wait_for(world, &soon);
    assert_int_equal(soon.count, 0);
    loop_warp(world->loop, 3 * USEC_PER_SEC);
    ask(world, &after, "host");
    wait_for(world, &after);
    assert_int_equal(after.count, 1);
    assert_true(has_address(&after, "127.0.0.3"));
    assert_int_equal(unlink(file), 0);
    wait_for(world, &slow);
    assert_given(world, &slow, "no answer from the name servers");

    struct asker gone = {0}; /* without the file nothing changes */
    loop_warp(world->loop, 3 * USEC_PER_SEC);
    ask(world, &gone, "host");
    wait_for(world, &gone);
    assert_int_equal(gone.count, 1);
    assert_int_equal(rmdir(folder), 0);
}

/* A query in progress moves to the new one. Its options are copied: it needs the servers again when
 * the file has changed. */
static void test_other_back_end(void **state)
{
    struct world *world = *state;
    struct asker mute = {0}, gone = {0};
    char file[] = "/tmp/kaproxy-test-XXXXXX";
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    close(fd);
    char *servers = strdup(world->servers), *path = strdup(file);
    const struct resolver_ares_options options = {.servers = servers, .resolv_conf = path};
    ask(world, &mute, "mute.test");
    while (world->dns.asked < 2)
        loop_iterate(world->loop, -1);
    struct resolver_backend *backend = resolver_ares_new(world->loop, &options);
    assert_non_null(backend);
    free(servers);
    free(path);
    resolver_set_backend(world->resolver, backend);
    assert_int_equal(mute.answers, 0);
    unsigned before = world->dns.asked;
    while (world->dns.asked < before + 2)
        loop_iterate(world->loop, -1);
    write_file(file, "search new\n");
    loop_warp(world->loop, 3 * USEC_PER_SEC);
    ask(world, &gone, "gone.test");
    wait_for(world, &gone);
    assert_given(world, &gone, "Domain name not found");
    wait_for(world, &mute);
    assert_given(world, &mute, "no answer from the name servers");
    assert_int_equal(mute.answers, 1);
    assert_int_equal(unlink(file), 0);
}

/* The lowest free descriptor: the limit that leaves none. */
static rlim_t lowest_descriptor(void)
{
    int fd = dup(STDERR_FILENO);
    assert_true(fd >= 0);
    close(fd);
    return (rlim_t)fd;
}

/* A change that cannot be read, because no descriptor or no memory is left, is read later. Without
 * this c-ares would know neither servers nor search domains until the next change. */
static void test_resolv_conf_in_a_shortage(void **state)
{
    struct world *world = *state;
    char file[] = "/tmp/kaproxy-test-XXXXXX";
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    close(fd);
    resolver_free(world->resolver);
    world->options.resolv_conf = file;
    make_resolver(world);
    write_file(file, "search new\n");
    loop_warp(world->loop, 3 * USEC_PER_SEC);

    struct asker before = {0}, between = {0}, after = {0};
    struct rlimit usual, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    none = usual;
    none.rlim_cur = lowest_descriptor();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    ask(world, &before, "host");
    wait_for(world, &before);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
    assert_int_equal(before.count, 0);

    loop_warp(world->loop, 3 * USEC_PER_SEC);
    no_memory = 1;
    ask(world, &between, "host");
    wait_for(world, &between);
    assert_int_equal(no_memory, 0);
    assert_int_equal(between.count, 0);

    loop_warp(world->loop, 3 * USEC_PER_SEC);
    ask(world, &after, "host");
    wait_for(world, &after);
    assert_int_equal(after.count, 1);
    assert_int_equal(unlink(file), 0);
}

/* The rest is teardown: both channels are destroyed, with their queries in progress. */
static void test_freed_with_two_channels(void **state)
{
    struct world *world = *state;
    char file[] = "/tmp/kaproxy-test-XXXXXX";
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    close(fd);
    resolver_free(world->resolver);
    world->options.resolv_conf = file;
    make_resolver(world);
    struct asker old = {0}, new = {0};
    ask(world, &old, "mute.test");
    write_file(file, "search example\n");
    loop_warp(world->loop, 3 * USEC_PER_SEC);
    ask(world, &new, "mute.example");
    while (world->dns.asked < 4)
        loop_iterate(world->loop, -1);
    resolver_cancel(world->resolver, &old.lookup);
    resolver_cancel(world->resolver, &new.lookup);
    assert_int_equal(unlink(file), 0);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_localhost),
        TEST(test_both_families),
        TEST(test_not_found),
        TEST(test_no_address),
        TEST(test_bad_name),
        TEST(test_long_answer_comes_by_tcp),
        TEST(test_long_answer_without_tcp),
        TEST(test_socket_that_cannot_be_watched),
        TEST(test_server_down),
        TEST(test_server_fails),
        TEST(test_many_servers),
        TEST(test_asks_again),
        TEST(test_dropped_query),
        TEST(test_freed_with_query_under_way),
        TEST(test_freed_with_answer_posted),
        TEST(test_other_back_end),
        TEST(test_kept_for_ttl),
        TEST(test_kept_for_an_alias_ttl),
        TEST(test_kept_for_a_second_at_least),
        TEST(test_resolv_conf_is_read_again),
        TEST(test_resolv_conf_in_a_shortage),
        TEST(test_freed_with_two_channels),
        cmocka_unit_test(test_bad_servers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
