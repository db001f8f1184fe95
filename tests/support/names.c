/* SPDX-License-Identifier: ISC */
/* A resolver back end with scripted answers. */
#include "support/names.h"

#include <stdlib.h>
#include <string.h>

#define ADDRESS_MAX 16

struct script {
    TAILQ_ENTRY(script) link;
    char name[256];
    char error[160];
    bool fails;
    usec_t delay;
    usec_t ttl;
    sa_family_t lost; /* fails on its own; 0: none */
    union address addresses[ADDRESS_MAX];
    size_t address_count;
    unsigned queries;
};

/* One query in progress. */
struct answer {
    TAILQ_ENTRY(answer) link;
    struct names *names;
    struct script *script;
    struct query *query;
    struct timer timer;
};

struct names {
    struct resolver_backend backend;
    struct loop *loop;
    TAILQ_HEAD(, script) scripts;
    TAILQ_HEAD(, answer) answers;
};

static void *must_calloc(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL)
        abort();
    return memory;
}

static struct script *find_script(const struct names *names, const char *name)
{
    struct script *script;
    TAILQ_FOREACH (script, &names->scripts, link) {
        if (strcmp(script->name, name) == 0)
            return script;
    }
    return NULL;
}

static struct script *get_script(struct names *names, const char *name)
{
    static const char unknown[] = "Name or service not known";
    struct script *script = find_script(names, name);
    if (script != NULL)
        return script;
    script = must_calloc(sizeof(*script));
    strncpy(script->name, name, sizeof(script->name) - 1);
    script->fails = true;
    strncpy(script->error, unknown, sizeof(script->error) - 1);
    TAILQ_INSERT_TAIL(&names->scripts, script, link);
    return script;
}

/* One family's answer arrives, the other one fails. */
static void answer_half(const struct script *script, struct query *query)
{
    sa_family_t other = script->lost == AF_INET ? AF_INET6 : AF_INET;
    resolver_query_answer_family(query, other, script->addresses, script->address_count,
                                 script->ttl);
    resolver_query_fail_family(query, script->lost, "Timeout while contacting DNS servers");
}

static void on_due(struct timer *timer)
{
    struct answer *answer = container_of(timer, struct answer, timer);
    struct script *script = answer->script;
    struct query *query = answer->query;
    TAILQ_REMOVE(&answer->names->answers, answer, link);
    free(answer);
    if (script->fails)
        resolver_query_answer(query, NULL, 0, script->error);
    else if (script->lost != 0)
        answer_half(script, query);
    else if (script->ttl > 0)
        resolver_query_answer_kept(query, script->addresses, script->address_count, script->ttl);
    else
        resolver_query_answer(query, script->addresses, script->address_count, NULL);
}

static int start(struct resolver_backend *backend, struct query *query, const char *name)
{
    struct names *names = container_of(backend, struct names, backend);
    struct script *script = get_script(names, name);
    struct answer *answer = must_calloc(sizeof(*answer));
    script->queries++;
    answer->names = names;
    answer->script = script;
    answer->query = query;
    answer->timer.fire = on_due;
    TAILQ_INSERT_TAIL(&names->answers, answer, link);
    if (script->delay == NAMES_NEVER)
        return 0;
    return loop_set_timer(names->loop, &answer->timer, loop_now(names->loop) + script->delay);
}

static void stop(struct resolver_backend *backend)
{
    struct names *names = container_of(backend, struct names, backend);
    struct answer *answer;
    struct script *script;
    while ((answer = TAILQ_FIRST(&names->answers)) != NULL) {
        loop_clear_timer(names->loop, &answer->timer);
        TAILQ_REMOVE(&names->answers, answer, link);
        free(answer);
    }
    while ((script = TAILQ_FIRST(&names->scripts)) != NULL) {
        TAILQ_REMOVE(&names->scripts, script, link);
        free(script);
    }
    free(names);
}

struct names *names_new(struct loop *loop)
{
    struct names *names = must_calloc(sizeof(*names));
    names->backend.start = start;
    names->backend.stop = stop;
    names->loop = loop;
    TAILQ_INIT(&names->scripts);
    TAILQ_INIT(&names->answers);
    return names;
}

struct resolver_backend *names_backend(struct names *names)
{
    return &names->backend;
}

void names_set(struct names *names, const char *name, const char *addresses, const char *error,
               usec_t delay)
{
    struct script *script = get_script(names, name);
    script->delay = delay;
    script->fails = error != NULL;
    strncpy(script->error, error != NULL ? error : "", sizeof(script->error) - 1);
    script->address_count = 0;
    const char *rest = addresses != NULL ? addresses : "";
    while (*rest != '\0' && script->address_count < ADDRESS_MAX) {
        char text[64] = "";
        size_t length = strcspn(rest, ",");
        if (length < sizeof(text))
            memcpy(text, rest, length);
        if (address_parse(&script->addresses[script->address_count], text))
            script->address_count++;
        rest += length;
        rest += *rest == ',';
    }
}

void names_set_ttl(struct names *names, const char *name, usec_t ttl)
{
    get_script(names, name)->ttl = ttl;
}

void names_lose_family(struct names *names, const char *name, sa_family_t family)
{
    get_script(names, name)->lost = family;
}

unsigned names_count(const struct names *names, const char *name)
{
    const struct script *script = find_script(names, name);
    return script != NULL ? script->queries : 0;
}
