/* SPDX-License-Identifier: ISC */
/* One query with c-ares: hosts file, search list, both families, and the texts of failures. */
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "net/resolver_ares_internal.h"

/* A text with the reason, for people. */
#define ERROR_MAX 224

/* A result of c-ares. */
struct finding {
    int status; /* ARES_ */
    union address *addresses;
    size_t count;
    usec_t ttl;
};

/* The queries for the records of one full name. They may outlive their request, which continues
 * without them, as c-ares cannot cancel a query. */
struct pair {
    struct request *request; /* NULL: no longer waited for */
    struct channel *channel;
    char name[SEARCH_NAME_MAX];
    unsigned pending;
    struct half {
        struct pair *pair;
        sa_family_t family;
        bool pending;
        bool reported; /* to the resolver */
        struct finding finding;
        unsigned code;         /* RCODE of a failure in a server's answer; 0: none */
        char error[ERROR_MAX]; /* as passed to the resolver */
    } halves[2];
};

enum { IN4, IN6 };

/* RFC 1035, 3596 */
#define TYPE_A    1
#define TYPE_AAAA 28

/* A query under way. The task does the next step: c-ares also answers from within ares_getaddrinfo,
 * and must not be re-entered from its callbacks. */
struct request {
    TAILQ_ENTRY(request) link;
    struct channel *channel;
    struct query *query;
    const char *name;
    struct finding hosts;
    size_t place;      /* in the search list, of the next name */
    struct pair *pair; /* NULL: still at the hosts file */
    bool no_data;      /* one of the names so far exists, without addresses */
    bool asked;        /* a server, and not only the hosts file */
    int status;        /* ARES_, of the last name */
    struct task task;
    struct timer delay; /* set: the rest of the pair is waited for */
};

static void finding_clear(struct finding *finding)
{
    free(finding->addresses);
    *finding = (struct finding){0};
}

static void pair_free(struct pair *pair)
{
    finding_clear(&pair->halves[IN4].finding);
    finding_clear(&pair->halves[IN6].finding);
    resolver_ares_channel_put(pair->channel);
    free(pair);
}

/* Detaches from the pair, which is freed once c-ares has answered it. */
static void leave_pair(struct request *request)
{
    struct pair *pair = request->pair;
    request->pair = NULL;
    if (pair == NULL)
        return;
    pair->request = NULL;
    if (pair->pending == 0)
        pair_free(pair);
}

static void request_free(struct request *request)
{
    struct channel *channel = request->channel;
    struct backend *backend = channel->backend;
    loop_unpost(backend->loop, &request->task);
    loop_clear_timer(backend->loop, &request->delay);
    leave_pair(request);
    TAILQ_REMOVE(&backend->requests, request, link);
    finding_clear(&request->hosts);
    resolver_ares_channel_put(channel);
    free(request);
}

/* How long the whole answer is valid: its addresses, and the aliases that led to them. Names from
 * the hosts file have 0. */
static usec_t shortest_ttl(const struct ares_addrinfo *info)
{
    int ttl = INT_MAX;
    for (const struct ares_addrinfo_node *node = info->nodes; node != NULL; node = node->ai_next)
        ttl = node->ai_ttl < ttl ? node->ai_ttl : ttl;
    for (const struct ares_addrinfo_cname *name = info->cnames; name != NULL; name = name->next)
        ttl = name->ttl < ttl ? name->ttl : ttl;
    return ttl * USEC_PER_SEC;
}

/* Copies the addresses, in c-ares' order; returns ARES_SUCCESS or ARES_ENOMEM. */
static int take_addresses(struct finding *finding, const struct ares_addrinfo *info)
{
    size_t count = 0;
    const struct ares_addrinfo_node *node;
    for (node = info->nodes; node != NULL; node = node->ai_next)
        count++;
    finding->addresses = calloc(count + 1, sizeof(*finding->addresses));
    if (finding->addresses == NULL)
        return ARES_ENOMEM;
    for (node = info->nodes; node != NULL; node = node->ai_next) {
        union address *address = &finding->addresses[finding->count];
        if (node->ai_addrlen > (ares_socklen_t)sizeof(*address))
            continue;
        memcpy(address, node->ai_addr, (size_t)node->ai_addrlen);
        finding->count++;
    }
    finding->ttl = shortest_ttl(info);
    return ARES_SUCCESS;
}

static void take(struct finding *finding, int status, struct ares_addrinfo *info)
{
    if (status == ARES_SUCCESS)
        status = take_addresses(finding, info);
    if (info != NULL)
        ares_freeaddrinfo(info);
    if (status == ARES_SUCCESS && finding->count == 0)
        status = ARES_ENODATA;
    finding->status = status;
}

static void post(struct request *request)
{
    loop_post(request->channel->backend->loop, &request->task);
}

static void on_hosts(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct request *request = arg;
    (void)timeouts;
    take(&request->hosts, status, info);
    post(request);
}

static void on_half(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct half *half = arg;
    struct pair *pair = half->pair;
    take(&half->finding, status, info);
    half->pending = false;
    if (pair->request != NULL)
        resolver_query_note_timeouts(pair->request->query, (unsigned)timeouts);
    pair->pending--;
    if (pair->request != NULL)
        post(pair->request);
    else if (pair->pending == 0)
        pair_free(pair);
}

/* The name has no records of this type; a name too long for DNS has none either. */
static bool is_absent(const struct half *half)
{
    int status = half->finding.status;
    return status == ARES_ENOTFOUND || status == ARES_ENODATA || status == ARES_EBADNAME;
}

/* RFC 1035 section 4.1.1 */
static const char *code_name(unsigned code)
{
    static const char *const names[] = {
        [1] = "FORMERR", [2] = "SERVFAIL", [4] = "NOTIMP", [5] = "REFUSED"};
    const char *name = code < ARRAY_LEN(names) ? names[code] : NULL;
    return name != NULL ? name : "a failure";
}

/* Why there are no addresses. A code from a server's answer takes precedence over the outcome of
 * other servers and other tries. */
static void describe(const struct request *request, int status, unsigned code, char text[ERROR_MAX])
{
    const char *servers = request->channel->servers;
    if (!request->asked)
        snprintf(text, ERROR_MAX, "%s", ares_strerror(status));
    else if (status == ARES_ENOTFOUND || status == ARES_ENODATA || status == ARES_ENOMEM)
        snprintf(text, ERROR_MAX, "%s (asked %s)", ares_strerror(status), servers);
    else if (code != 0)
        snprintf(text, ERROR_MAX, "a name server answered %s (asked %s)", code_name(code), servers);
    else if (status == ARES_ETIMEOUT)
        snprintf(text, ERROR_MAX, "no answer from the name servers (asked %s)", servers);
    else if (status == ARES_ECONNREFUSED)
        snprintf(text, ERROR_MAX, "the name servers cannot be reached (asked %s)", servers);
    else
        snprintf(text, ERROR_MAX, "%s (asked %s)", ares_strerror(status), servers);
}

/* The request is freed first: it must not be touched after the callers' callbacks. */
static void end_without(struct request *request, const char *error)
{
    struct query *query = request->query;
    request_free(request);
    resolver_query_answer(query, NULL, 0, error);
}

static void end_with_failure(struct request *request, int status, unsigned code)
{
    char error[ERROR_MAX];
    describe(request, status, code, error);
    end_without(request, error);
}

/* A name for this machine only is not queried (RFC 6761 section 6.3). */
static bool is_localhost(const char *name)
{
    return strcmp(name, "localhost") == 0 || strcmp(name, "localhost.") == 0;
}

static struct pair *pair_new(struct request *request, const char *name)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    if (pair == NULL)
        return NULL;
    pair->request = request;
    pair->channel = request->channel;
    pair->channel->users++;
    memcpy(pair->name, name, strlen(name) + 1);
    pair->pending = 2;
    for (int i = 0; i < 2; i++) {
        pair->halves[i].pair = pair;
        pair->halves[i].family = i == IN6 ? AF_INET6 : AF_INET;
        pair->halves[i].pending = true;
    }
    return pair;
}

/* Queries the next name of the search list. */
static void ask_next(struct request *request)
{
    struct channel *channel = request->channel;
    char full[SEARCH_NAME_MAX];
    leave_pair(request);
    if (is_localhost(request->name) ||
        !search_list_name(&channel->search, request->name, request->place++, full)) {
        if (request->no_data)
            end_without(request, NULL);
        else
            end_with_failure(request, request->status, 0);
        return;
    }
    struct pair *pair = request->pair = pair_new(request, full);
    if (pair == NULL) {
        end_without(request, ares_strerror(ARES_ENOMEM));
        return;
    }
    request->asked = true;
    for (int i = 0; i < 2; i++) {
        const struct ares_addrinfo_hints hints = {.ai_family = pair->halves[i].family,
                                                  .ai_socktype = SOCK_STREAM};
        ares_getaddrinfo(channel->ares, full, NULL, &hints, on_half, &pair->halves[i]);
    }
    resolver_ares_channel_update_timer(channel);
}

static void tell_half(struct query *query, struct half *half)
{
    /* The resolver keeps the text of a failure until it has both halves. */
    const struct finding *finding = &half->finding;
    half->reported = true;
    if (finding->count > 0)
        resolver_query_answer_family(query, half->family, finding->addresses, finding->count,
                                     finding->ttl);
    else if (is_absent(half))
        resolver_query_answer_family(query, half->family, NULL, 0, 0);
    else
        resolver_query_fail_family(query, half->family, half->error);
}

/* The name has addresses: it is the right one. */
static void end_with_pair(struct request *request)
{
    struct query *query = request->query;
    struct pair *pair = request->pair;
    for (int i = 0; i < 2; i++)
        describe(request, pair->halves[i].finding.status, pair->halves[i].code,
                 pair->halves[i].error);
    request->pair = NULL;
    request_free(request);
    for (int i = 0; i < 2; i++) {
        if (!pair->halves[i].reported)
            tell_half(query, &pair->halves[i]);
    }
    pair_free(pair);
}

/* The next name is queried only if this one is known to have no addresses, not if a server failed
 * to say so: otherwise the addresses might be another machine's. "No such name" in one answer
 * applies to all record types (RFC 8020), but is trusted only for A: some servers say so for AAAA
 * although there is an A (RFC 4074 section 4.2). */
static void end_pair(struct request *request)
{
    const struct half *in4 = &request->pair->halves[IN4], *in6 = &request->pair->halves[IN6];
    int status4 = in4->finding.status, status6 = in6->finding.status;
    if (in4->finding.count > 0 || in6->finding.count > 0) {
        end_with_pair(request);
        return;
    }
    if (status4 == ARES_ENODATA || status6 == ARES_ENODATA)
        request->no_data = true;
    request->status = status4;
    if (status4 == ARES_ENOTFOUND || (is_absent(in4) && is_absent(in6)))
        ask_next(request);
    else
        end_with_failure(request, is_absent(in4) ? status6 : status4,
                         is_absent(in4) ? in6->code : in4->code);
}

/* One half has arrived. */
static void use_half(struct request *request)
{
    struct pair *pair = request->pair;
    struct loop *loop = pair->channel->backend->loop;
    struct half *half = &pair->halves[pair->halves[IN4].pending ? IN6 : IN4];
    if (half->finding.count > 0 && !half->reported)
        tell_half(request->query, half);
    if (half->family != AF_INET || half->finding.status != ARES_ENOTFOUND)
        return;
    request->status = ARES_ENOTFOUND;
    if (!loop_timer_is_set(&request->delay) &&
        loop_set_timer(loop, &request->delay, loop_now(loop) + RESOLVER_DELAY) < 0)
        ask_next(request);
}

/* There is no such name, and AAAA is late in saying the same. */
static void on_delay(struct timer *timer)
{
    ask_next(container_of(timer, struct request, delay));
}

static void end_hosts(struct request *request)
{
    struct query *query = request->query;
    struct finding hosts = request->hosts;
    if (hosts.count == 0) {
        ask_next(request);
        return;
    }
    request->hosts = (struct finding){0};
    request_free(request);
    resolver_query_answer_kept(query, hosts.addresses, hosts.count, hosts.ttl);
    finding_clear(&hosts);
}

static void on_task(struct task *task)
{
    struct request *request = container_of(task, struct request, task);
    if (request->pair == NULL) {
        end_hosts(request);
    } else if (request->pair->pending > 0) {
        use_half(request);
    } else {
        loop_clear_timer(request->channel->backend->loop, &request->delay);
        end_pair(request);
    }
}

int resolver_ares_request_start(struct backend *backend, struct query *query, const char *name)
{
    struct request *request = calloc(1, sizeof(*request));
    if (request == NULL)
        return -1;
    request->channel = resolver_ares_channel_get(backend);
    request->query = query;
    request->name = name;
    request->status = ARES_ENOTFOUND;
    request->task.run = on_task;
    request->delay.fire = on_delay;
    TAILQ_INSERT_TAIL(&backend->requests, request, link);
    const struct ares_addrinfo_hints hints = {
        .ai_flags = backend->hosts_by_environment ? ARES_AI_ENVHOSTS : 0,
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM};
    ares_getaddrinfo(backend->hosts, name, NULL, &hints, on_hosts, request);
    return 0;
}

/* Compares names as DNS does (RFC 4343), without their final dots. */
static bool is_same_name(const char *a, const char *b)
{
    size_t length = strlen(a), other = strlen(b);
    length -= length > 0 && a[length - 1] == '.';
    other -= other > 0 && b[other - 1] == '.';
    return length == other && strncasecmp(a, b, length) == 0;
}

void resolver_ares_requests_note_code(const struct channel *channel, const char *name, int type,
                                      unsigned code)
{
    struct request *request;
    TAILQ_FOREACH (request, &channel->backend->requests, link) {
        struct pair *pair = request->pair;
        if (request->channel != channel || pair == NULL || !is_same_name(pair->name, name))
            continue;
        if (type == TYPE_A || type == TYPE_AAAA)
            pair->halves[type == TYPE_A ? IN4 : IN6].code = code;
    }
}

void resolver_ares_requests_end(struct backend *backend)
{
    struct request *request;
    while ((request = TAILQ_FIRST(&backend->requests)) != NULL)
        request_free(request);
}
