/* SPDX-License-Identifier: ISC */
/* What happens in an exchange, determined by its id. */
#include "crosstalk.h"

#include <stdio.h>
#include <string.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* The excess bytes and the response before it must arrive in one segment. */
#define EXCESS_BODY_MAX 600

uint64_t random_next(struct random *random)
{
    uint64_t x = random->state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    random->state = x;
    return x * UINT64_C(2685821657736338717);
}

uint64_t random_below(struct random *random, uint64_t limit)
{
    return (random_next(random) >> 11) % limit;
}

static bool one_in(struct random *random, unsigned n)
{
    return random_below(random, n) == 0;
}

/* Mostly small, now and then 5 MB. */
static size_t draw_size(struct random *random)
{
    uint64_t dice = random_below(random, 1000);
    if (run.large && dice >= 400) /* around the size from which they are spliced */
        return 128 * KIB + random_below(random, one_in(random, 4) ? 4 * MIB : MIB);
    if (dice < 150)
        return 0;
    if (dice < 700)
        return random_below(random, 2 * KIB);
    if (dice < 960)
        return random_below(random, 64 * KIB);
    if (dice < 997)
        return random_below(random, MIB);
    return random_below(random, 5 * MIB);
}

static enum trick draw_trick(struct random *random)
{
    if (!one_in(random, run.timeouts ? 2 : 5))
        return TRICK_NONE;
    for (;;) {
        enum trick trick = (enum trick)(1 + random_below(random, TRICKS - 1));
        /* A client that stalls holds a connection until a timeout expires; and a truncation is
         * plain only to TLS. */
        if ((trick != TRICK_STALL || run.timeouts) && (trick != TRICK_CUT || run.tls))
            return trick;
    }
}

static enum framing draw_framing(struct random *random)
{
    return one_in(random, 2) ? FRAMING_CHUNKED : FRAMING_LENGTH;
}

static void draw_method(struct plan *plan, struct random *random)
{
    static const char *const methods[] = {"GET", "GET", "GET", "POST", "POST", "HEAD", "PUT"};
    plan->method = methods[random_below(random, sizeof(methods) / sizeof(methods[0]))];
    if (!plan_is(plan, "POST") && !plan_is(plan, "PUT"))
        return;
    plan->request_framing = plan->is_10 ? FRAMING_LENGTH : draw_framing(random);
    plan->request_size = draw_size(random);
}

/* Tricks that need a certain response get it. */
static void suit_trick(struct plan *plan, struct random *random)
{
    bool needs_length = plan->trick == TRICK_SHORT || plan->trick == TRICK_RESET;
    if ((needs_length || plan->trick == TRICK_CUT) && plan_is(plan, "HEAD"))
        plan->trick = TRICK_CLOSE_BEFORE;
    if (needs_length) {
        plan->response_size += 1;
        plan->response_framing = draw_framing(random);
    }
    if (plan->trick == TRICK_CUT)
        plan->response_size += 1;
    if (plan->trick == TRICK_EXCESS) {
        plan->response_size %= EXCESS_BODY_MAX;
        plan->response_framing = draw_framing(random);
    }
    if (plan->trick == TRICK_EARLY || plan->trick == TRICK_EARLY_STAYS) {
        plan->response_size %= 16 * KIB; /* both sides write before they read */
        if (plan->request_framing != FRAMING_NONE)
            plan->request_size += 128 * KIB; /* more than kaproxy reads ahead */
    }
}

void plan_draw(struct plan *plan, struct random *random, unsigned long id)
{
    *plan = (struct plan){.id = id, .is_10 = one_in(random, 3)};
    plan->keep_alive = one_in(random, plan->is_10 ? 4 : 2);
    draw_method(plan, random);
    plan->response_framing = one_in(random, 8) ? FRAMING_CLOSE : draw_framing(random);
    plan->response_size = draw_size(random);
    plan->trick = draw_trick(random);
    if (one_in(random, 12))
        plan->whim = (enum whim)(1 + random_below(random, WHIMS - 1));
    plan->at = random_below(random, 1000);
    suit_trick(plan, random);
}

void plan_draw_small(struct plan *plan, struct random *random, unsigned long id)
{
    *plan = (struct plan){.id = id, .keep_alive = true};
    draw_method(plan, random);
    plan->request_size %= 256;
    plan->response_framing = draw_framing(random);
    plan->response_size = random_below(random, 2 * KIB);
    plan->trick = one_in(random, 4) ? draw_trick(random) : TRICK_NONE;
    suit_trick(plan, random);
}

void plan_format(const struct plan *plan, char text[PLAN_TEXT_MAX])
{
    snprintf(text, PLAN_TEXT_MAX, "X-Plan: %lu %d %zu %d %zu %d %zu\r\n", plan->id,
             (int)plan->request_framing, plan->request_size, (int)plan->response_framing,
             plan->response_size, (int)plan->trick, plan->at);
}

bool plan_parse(struct plan *plan, const char *head)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT"};
    const char *text = head_find(head, "X-Plan:");
    int request_framing, response_framing, trick;
    memset(plan, 0, sizeof(*plan));
    if (text == NULL ||
        sscanf(text, "%lu %d %zu %d %zu %d %zu", &plan->id, &request_framing, &plan->request_size,
               &response_framing, &plan->response_size, &trick, &plan->at) != 7)
        return false;
    plan->request_framing = (enum framing)request_framing;
    plan->response_framing = (enum framing)response_framing;
    plan->trick = (enum trick)trick;
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        size_t length = strlen(methods[i]);
        if (strncmp(head, methods[i], length) == 0 && head[length] == ' ')
            plan->method = methods[i];
    }
    return plan->method != NULL;
}

bool plan_is(const struct plan *plan, const char *method)
{
    return strcmp(plan->method, method) == 0;
}

bool plan_is_plain(const struct plan *plan)
{
    return plan->trick < TRICK_SPOILED && plan->whim < WHIM_SPOILED;
}
