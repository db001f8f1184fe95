/* SPDX-License-Identifier: ISC */
/* How c-ares is asked: the hosts file, the search list, and both families of one name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ares.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "net/resolver.h"
#include "support/sockets.h"

enum { SERVFAIL = 2, NXDOMAIN = 3, MUTE = 100, HOLD };

/* The DNS server's answer to a question; anything else is NXDOMAIN. */
static const struct record {
    const char *question;
    const char *address; /* NULL: none */
    int status;          /* or MUTE; or HOLD: answered with the next question */
} records[] = {
    /* AAAA here, A there. */
    {"A pair.one.", NULL, 0},
    {"AAAA pair.one.", "::1", 0},
    {"A pair.two.", "127.0.0.2", 0},
    {"AAAA pair.two.", NULL, 0},
    /* Nothing here, both there. */
    {"A second.one.", NULL, 0},
    {"AAAA second.one.", NULL, 0},
    {"A second.two.", "127.0.0.2", 0},
    {"AAAA second.two.", "::1", 0},
    {"A third.one.", NULL, 0}, /* the only one that exists */
    {"AAAA third.one.", NULL, 0},
    /* On its own. */
    {"A itself.", "127.0.0.3", 0},
    {"AAAA itself.", NULL, 0},
    /* One family answers that there is no such name. */
    {"A odd.one.", "127.0.0.1", 0},
    {"A odd.two.", "127.0.0.2", 0},
    {"AAAA odd6.one.", "::1", 0},
    {"AAAA odd6.two.", NULL, 0},
    /* One family fails, the other one has nothing. */
    {"A sick.one.", NULL, 0},
    {"AAAA sick.one.", NULL, SERVFAIL},
    {"A sick.two.", "127.0.0.2", 0},
    {"A sick4.one.", NULL, SERVFAIL},
    {"A sick4.two.", "127.0.0.2", 0},
    {"A lost.one.", NULL, 0},
    {"AAAA lost.one.", NULL, MUTE},
    {"A lost.two.", "127.0.0.2", 0},
    {"A lost4.one.", NULL, MUTE},
    {"A lost4.two.", "127.0.0.2", 0},
    /* One family fails, the other one answers that there is no such name. */
    {"AAAA denied.one.", NULL, SERVFAIL},
    {"A denied.two.", "127.0.0.2", 0},
    {"A denied4.one.", NULL, SERVFAIL},
    {"A denied4.two.", "127.0.0.2", 0},
    /* One family fails, the other one has addresses. */
    {"A half.one.", "127.0.0.1", 0},
    {"AAAA half.one.", NULL, SERVFAIL},
    /* There is no such name, and AAAA is lost, or late. */
    {"AAAA next.one.", NULL, MUTE},
    {"A next.two.", "127.0.0.2", 0},
    {"AAAA next.two.", NULL, 0},
    {"AAAA late.one.", "::1", HOLD},
    {"A late.two.", "127.0.0.2", 0},
    {"AAAA late.two.", NULL, 0},
    {"AAAA never.one.", NULL, MUTE},
    {"AAAA never.two.", NULL, MUTE},
    {"AAAA never.", NULL, MUTE},
};

/* Channels of c-ares that were destroyed. */
static unsigned destroyed;

void __wrap_ares_destroy(ares_channel channel);
void __real_ares_destroy(ares_channel channel);

void __wrap_ares_destroy(ares_channel channel)
{
    destroyed++;
    __real_ares_destroy(channel);
}

struct held {
    unsigned char packet[512];
    size_t length;
};

struct dns {
    int fd;
    struct watch watch;
    char asked[1024]; /* the questions, each followed by a space */
    struct held held;
};

struct world {
    struct loop *loop;
    struct resolver *resolver;
    struct dns dns;
    char servers[64], folder[32], resolv_conf[64], hosts[64];
    struct resolver_ares_options options;
    int descriptors; /* open before the resolver was made */
};

/* The question's text, "AAAA name."; returns its end in the packet. */
static size_t read_question(const unsigned char *packet, char *text, size_t size)
{
    size_t position = 12;
    char name[256] = "";
    while (packet[position] != 0) {
        size_t length = strlen(name);
        snprintf(name + length, sizeof(name) - length, "%.*s.", packet[position],
                 (const char *)packet + position + 1);
        position += packet[position] + 1u;
    }
    snprintf(text, size, "%s %s", packet[position + 2] == 28 ? "AAAA" : "A", name);
    return position + 5;
}

static size_t append_address(unsigned char *packet, size_t length, const char *text)
{
    int family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
    unsigned char size = family == AF_INET6 ? 16 : 4;
    const unsigned char head[12] = {0xc0, 12, 0, size == 16 ? 28 : 1, 0, 1, 0, 0, 0, 60, 0, size};
    memcpy(packet + length, head, sizeof(head));
    assert_int_equal(inet_pton(family, text, packet + length + sizeof(head)), 1);
    packet[7] = 1; /* ANCOUNT */
    return length + sizeof(head) + size;
}

static const struct record *find_record(const char *question)
{
    static const struct record unknown = {NULL, NULL, NXDOMAIN};
    for (size_t i = 0; i < ARRAY_LEN(records); i++) {
        if (strcmp(records[i].question, question) == 0)
            return &records[i];
    }
    return &unknown;
}

static void on_question(struct watch *watch, uint32_t events)
{
    struct dns *dns = container_of(watch, struct dns, watch);
    struct held reply = {0};
    struct sockaddr_in from;
    socklen_t from_length = sizeof(from);
    char question[300];
    (void)events;
    ssize_t n = recvfrom(dns->fd, reply.packet, sizeof(reply.packet), 0, (struct sockaddr *)&from,
                         &from_length);
    assert_true(n > 17);
    reply.length = read_question(reply.packet, question, sizeof(question));
    size_t length = strlen(dns->asked);
    snprintf(dns->asked + length, sizeof(dns->asked) - length, "%s ", question);

    const struct record *record = find_record(question);
    reply.packet[2] = 0x81; /* a response, recursion desired */
    reply.packet[3] = 0x80; /* recursion available */
    reply.packet[11] = 0;   /* ARCOUNT */
    if (record->status < MUTE)
        reply.packet[3] |= (unsigned char)record->status;
    if (record->address != NULL)
        reply.length = append_address(reply.packet, reply.length, record->address);
    if (dns->held.length > 0)
        sendto(dns->fd, dns->held.packet, dns->held.length, 0, (struct sockaddr *)&from,
               from_length);
    dns->held.length = 0;
    if (record->status == HOLD)
        dns->held = reply;
    else if (record->status != MUTE)
        sendto(dns->fd, reply.packet, reply.length, 0, (struct sockaddr *)&from, from_length);
}

static unsigned count_asked(const struct world *world, const char *question)
{
    char text[300];
    unsigned count = 0;
    const char *found = world->dns.asked;
    snprintf(text, sizeof(text), "%s ", question);
    while ((found = strstr(found, text)) != NULL) {
        count += found == world->dns.asked || found[-1] == ' '; /* else A is found in AAAA */
        found++;
    }
    return count;
}

/* An asker that records what it is given, as text. */
struct asker {
    struct lookup lookup;
    struct world *world;
    unsigned answers;
    char text[256];   /* addresses, or the error */
    char asked[1024]; /* the server, by the time of the answer */
};

static void on_done(struct lookup *lookup, const union address *addresses, size_t count,
                    const char *error)
{
    struct asker *asker = container_of(lookup, struct asker, lookup);
    asker->answers++;
    snprintf(asker->text, sizeof(asker->text), "%s", error != NULL ? error : "");
    snprintf(asker->asked, sizeof(asker->asked), "%s", asker->world->dns.asked);
    for (size_t i = 0; i < count; i++) {
        char text[INET6_ADDRSTRLEN];
        bool in6 = addresses[i].sa.sa_family == AF_INET6;
        size_t length = strlen(asker->text);
        inet_ntop(addresses[i].sa.sa_family,
                  in6 ? (const void *)&addresses[i].in6.sin6_addr
                      : (const void *)&addresses[i].in.sin_addr,
                  text, sizeof(text));
        snprintf(asker->text + length, sizeof(asker->text) - length, "%s%s", i == 0 ? "" : " ",
                 text);
    }
}

static void ask(struct world *world, struct asker *asker, const char *name)
{
    asker->lookup.done = on_done;
    asker->world = world;
    assert_int_equal(resolver_lookup(world->resolver, &asker->lookup, name), 0);
    assert_int_equal(asker->answers, 0);
}

static void get(struct world *world, struct asker *asker, const char *name)
{
    ask(world, asker, name);
    while (asker->answers == 0)
        loop_iterate(world->loop, -1);
}

static void assert_given(struct world *world, const char *name, const char *text)
{
    struct asker asker = {0};
    get(world, &asker, name);
    assert_string_equal(asker.text, text);
}

/* The text ends with the server that was asked. */
static void assert_given_with_servers(struct world *world, const char *name, const char *text)
{
    char whole[200];
    snprintf(whole, sizeof(whole), "%s (asked %s)", text, world->servers);
    assert_given(world, name, whole);
}

/* ::1 and an IPv4 address of the loopback, in RFC 6724's order. */
static void assert_given_both(struct world *world, const char *name, const char *in4)
{
    const struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    char text[64];
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool usable = fd >= 0 && connect(fd, (const struct sockaddr *)&in6, sizeof(in6)) == 0;
    if (fd >= 0)
        close(fd);
    snprintf(text, sizeof(text), "%s %s", usable ? "::1" : in4, usable ? in4 : "::1");
    assert_given(world, name, text);
}

static void write_file(const char *file, const char *text)
{
    FILE *stream = fopen(file, "w");
    assert_non_null(stream);
    fputs(text, stream);
    fclose(stream);
}

static void open_dns(struct world *world)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(in);
    world->dns.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(world->dns.fd, (struct sockaddr *)&in, length), 0);
    assert_int_equal(getsockname(world->dns.fd, (struct sockaddr *)&in, &length), 0);
    world->dns.watch.ready = on_question;
    assert_int_equal(loop_watch(world->loop, &world->dns.watch, world->dns.fd, EPOLLIN), 0);
    snprintf(world->servers, sizeof(world->servers), "127.0.0.1:%u", ntohs(in.sin_port));
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    /* c-ares before 1.22 knows retrans and retry, later ones timeout and attempts. */
    setenv("RES_OPTIONS", "retrans:200 retry:2 timeout:1 attempts:2", 1);
    unsetenv("LOCALDOMAIN");
    snprintf(world->folder, sizeof(world->folder), "/tmp/kaproxy-test-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    snprintf(world->resolv_conf, sizeof(world->resolv_conf), "%s/resolv.conf", world->folder);
    snprintf(world->hosts, sizeof(world->hosts), "%s/hosts", world->folder);
    write_file(world->resolv_conf, "search one two\n");
    write_file(world->hosts, "127.0.0.1 four pair other\n::1 six\n127.0.0.4 both\n::1 both\n");
    setenv("CARES_HOSTS", world->hosts, 1);

    world->loop = loop_new();
    open_dns(world);
    world->descriptors = sockets_count();
    world->options = (struct resolver_ares_options){.servers = world->servers,
                                                    .resolv_conf = world->resolv_conf,
                                                    .hosts_by_environment = false};
    world->resolver = resolver_new(world->loop, resolver_ares_new(world->loop, &world->options));
    assert_non_null(world->resolver);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    resolver_free(world->resolver);
    loop_iterate(world->loop, 0);
    assert_int_equal(sockets_count(), world->descriptors);
    loop_unwatch(world->loop, &world->dns.watch, world->dns.fd, false);
    close(world->dns.fd);
    loop_free(world->loop);
    unlink(world->resolv_conf);
    unlink(world->hosts);
    rmdir(world->folder);
    free(world);
    return 0;
}

/* A resolver that reads the test's hosts file. */
static void use_hosts(struct world *world)
{
    resolver_free(world->resolver);
    world->options.hosts_by_environment = true;
    world->resolver = resolver_new(world->loop, resolver_ares_new(world->loop, &world->options));
    assert_non_null(world->resolver);
}

/* A name that is in the hosts file, even with one family, is not looked up in DNS. */
static void test_hosts(void **state)
{
    struct world *world = *state;
    use_hosts(world);
    assert_given(world, "pair", "127.0.0.1");
    assert_given(world, "four", "127.0.0.1");
    assert_given(world, "six", "::1");
    assert_given_both(world, "both", "127.0.0.4");
    assert_string_equal(world->dns.asked, "");
    assert_given(world, "itself", "127.0.0.3");
}

/* It is read at each lookup of the name. */
static void test_hosts_change(void **state)
{
    struct world *world = *state;
    use_hosts(world);
    assert_given(world, "four", "127.0.0.1");
    write_file(world->hosts, "127.0.0.44 four\n");
    loop_warp(world->loop, RESOLVER_TTL_MIN);
    assert_given(world, "four", "127.0.0.44");
}

/* RFC 6761: without a hosts file as well. */
static void test_localhost_is_not_asked_for(void **state)
{
    struct world *world = *state;
    use_hosts(world);
    unlink(world->hosts);
    assert_given(world, "localhost", "Domain name not found");
    assert_string_equal(world->dns.asked, "");
    write_file(world->hosts, "");
}

/* Both families are of one name. */
static void test_first_name_with_an_address(void **state)
{
    struct world *world = *state;
    assert_given(world, "pair", "::1");
    assert_int_equal(count_asked(world, "A pair.two."), 0);
    assert_given_both(world, "second", "127.0.0.2");
    assert_given(world, "itself", "127.0.0.3");
    assert_int_equal(count_asked(world, "AAAA itself.one."), 1);
    assert_int_equal(count_asked(world, "AAAA itself.two."), 1);
    assert_given(world, "pair.two", "127.0.0.2");
    assert_int_equal(count_asked(world, "A pair.two.one."), 0);
    assert_given(world, "pair.two.", "127.0.0.2");
    assert_given(world, "third", "Host has no address.");
    assert_given_with_servers(world, "nowhere", "Domain name not found");
    assert_int_equal(count_asked(world, "A nowhere."), 1);
}

static void test_one_family_denies_the_name(void **state)
{
    struct world *world = *state;
    assert_given(world, "odd", "127.0.0.1");
    assert_given(world, "odd6", "::1");
    assert_given(world, "denied", "127.0.0.2");
    assert_given_with_servers(world, "denied4",
                              "a name server answered SERVFAIL"); /* AAAA alone is not believed */
}

/* A name is skipped only if it is known to have no address. */
static void test_failure_ends_the_search(void **state)
{
    struct world *world = *state;
    assert_given_with_servers(world, "sick", "a name server answered SERVFAIL");
    assert_given_with_servers(world, "sick4", "a name server answered SERVFAIL");
    assert_given_with_servers(world, "lost", "no answer from the name servers");
    assert_given_with_servers(world, "lost4", "no answer from the name servers");
    assert_null(strstr(world->dns.asked, ".two."));
    assert_int_equal(count_asked(world, "AAAA lost.one."), 2);
    assert_int_equal(count_asked(world, "A lost4.one."), 2);
}

static void test_one_family_fails(void **state)
{
    struct world *world = *state;
    assert_given(world, "half", "127.0.0.1");
    assert_null(strstr(world->dns.asked, ".two."));
}

/* If A says that there is no such name, the next one is queried before the lost AAAA is retried,
 * and the result of that is ignored. */
static void test_denied_name_with_a_lost_family(void **state)
{
    struct world *world = *state;
    struct asker asker = {0};
    get(world, &asker, "next");
    assert_string_equal(asker.text, "127.0.0.2");
    assert_non_null(strstr(asker.asked, "AAAA next.one. "));
    assert_null(strstr(strstr(asker.asked, "AAAA next.one. ") + 1, "AAAA next.one. "));
    assert_given(world, "late", "127.0.0.2");
    assert_given_with_servers(world, "never", "Domain name not found");
}

/* The rest is teardown: pairs that were abandoned, and one that was not. */
static void test_freed_with_lost_pairs(void **state)
{
    struct world *world = *state;
    struct asker asker = {0};
    ask(world, &asker, "never");
    while (count_asked(world, "AAAA never.two.") == 0)
        loop_iterate(world->loop, -1);
    resolver_cancel(world->resolver, &asker.lookup);
}

/* A change of resolv.conf while such a pair is all that the old channel has. */
static void test_lost_pair_on_an_old_channel(void **state)
{
    struct world *world = *state;
    assert_given(world, "next", "127.0.0.2");
    write_file(world->resolv_conf, "search two\n");
    loop_warp(world->loop, 3 * USEC_PER_SEC);
    assert_given(world, "late", "127.0.0.2");
    assert_int_equal(count_asked(world, "A late.one."), 0);
    unsigned before = destroyed;
    usec_t end = loop_now(world->loop) + 60 * USEC_PER_SEC;
    while (destroyed == before && loop_now(world->loop) < end)
        loop_iterate(world->loop, USEC_PER_SEC);
    assert_int_equal(destroyed, before + 1);
    assert_int_equal(count_asked(world, "AAAA next.one."), 2);
    assert_int_equal(sockets_count(), world->descriptors);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_hosts),
        TEST(test_hosts_change),
        TEST(test_localhost_is_not_asked_for),
        TEST(test_first_name_with_an_address),
        TEST(test_one_family_denies_the_name),
        TEST(test_failure_ends_the_search),
        TEST(test_one_family_fails),
        TEST(test_denied_name_with_a_lost_family),
        TEST(test_freed_with_lost_pairs),
        TEST(test_lost_pair_on_an_old_channel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
