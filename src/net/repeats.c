/* SPDX-License-Identifier: ISC */
/* Counts messages of a kind, and logs the sums. */
#include "net/repeats.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Shorter than a message may be, so that the count is not truncated. */
#define LINE_MAX_LENGTH 1500

struct repeat {
    struct repeat_key key; /* its text is `text` */
    char *text;
    enum log_level level;
    uint64_t count; /* since the span began, not including the one that was logged */
    usec_t began, last;
    char *line;
    TAILQ_ENTRY(repeat) link;
};

static bool is_digit(char c)
{
    return isdigit((unsigned char)c);
}

/* Runs of digits are considered equal. */
static bool same_text(const char *a, const char *b)
{
    while (*a != '\0' && (*a == *b || (is_digit(*a) && is_digit(*b)))) {
        if (is_digit(*a)) {
            a += strspn(a, "0123456789");
            b += strspn(b, "0123456789");
        } else {
            a++;
            b++;
        }
    }
    return *a == *b;
}

static bool same_kind(const struct repeat_key *a, const struct repeat_key *b)
{
    return a->number == b->number && a->round == b->round && strcmp(a->place, b->place) == 0 &&
           strcmp(a->function, b->function) == 0 && same_text(a->text, b->text);
}

/* The entry that counts this message, or NULL. */
static struct repeat *find(const struct repeats *repeats, const struct repeat_key *key)
{
    struct repeat *repeat;
    TAILQ_FOREACH (repeat, &repeats->list, link) {
        if (repeat != repeats->others && same_kind(&repeat->key, key))
            return repeat;
    }
    return repeats->count > REPEATS_KINDS ? repeats->others : NULL;
}

static void say(const struct repeats *repeats, const struct repeat *repeat)
{
    char last[48] = "";
    usec_t now = loop_now(repeats->loop), ago = (now - repeat->last) / USEC_PER_SEC;
    usec_t span = (now - repeat->began + USEC_PER_SEC / 2) / USEC_PER_SEC; /* a timer may be late */
    if (ago > 0)
        snprintf(last, sizeof(last), ", the last one %" PRId64 " s ago", ago);
    log_message(repeat->level, "%.*s (%" PRIu64 " more %s in %" PRId64 " s%s)", LINE_MAX_LENGTH,
                repeat->line, repeat->count,
                repeat == repeats->others ? "of this and other kinds" : "like this",
                span > 0 ? span : 1, last);
}

static void drop(struct repeats *repeats, struct repeat *repeat)
{
    TAILQ_REMOVE(&repeats->list, repeat, link);
    repeats->count--;
    if (repeat == repeats->others)
        repeats->others = NULL;
    free(repeat->text);
    free(repeat->line);
    free(repeat);
}

/* A span has expired: another one begins, unless nothing happened in it. */
static void end_span(struct repeats *repeats, struct repeat *repeat)
{
    if (repeat->count == 0) {
        drop(repeats, repeat);
        return;
    }
    say(repeats, repeat);
    repeat->count = 0;
    repeat->began = loop_now(repeats->loop);
    TAILQ_REMOVE(&repeats->list, repeat, link);
    TAILQ_INSERT_TAIL(&repeats->list, repeat, link);
}

static void on_span(struct timer *timer)
{
    struct repeats *repeats = container_of(timer, struct repeats, timer);
    usec_t now = loop_now(repeats->loop);
    struct repeat *first;
    while ((first = TAILQ_FIRST(&repeats->list)) != NULL && now - first->began >= REPEATS_SPAN)
        end_span(repeats, first);
    if (first != NULL && loop_set_timer(repeats->loop, timer, first->began + REPEATS_SPAN) < 0)
        repeats_clear(repeats);
}

void repeats_init(struct repeats *repeats, struct loop *loop)
{
    *repeats = (struct repeats){.loop = loop, .timer.fire = on_span};
    TAILQ_INIT(&repeats->list);
}

void repeats_clear(struct repeats *repeats)
{
    struct repeat *repeat;
    while ((repeat = TAILQ_FIRST(&repeats->list)) != NULL) {
        if (repeat->count > 0)
            say(repeats, repeat);
        drop(repeats, repeat);
    }
    loop_clear_timer(repeats->loop, &repeats->timer);
}

bool repeats_admit(struct repeats *repeats, enum log_level level, const struct repeat_key *key)
{
    if (!log_enabled(level) || log_enabled(LOG_LEVEL_DEBUG))
        return log_enabled(level);
    struct repeat *repeat = find(repeats, key);
    if (repeat == NULL)
        return true;
    repeat->count++;
    repeat->last = loop_now(repeats->loop);
    if (level < repeat->level)
        repeat->level = level;
    return false;
}

/* From now on such messages are counted. If memory is short, they are logged. */
static void begin_span(struct repeats *repeats, enum log_level level, const struct repeat_key *key,
                       const char *head, const char *client, const char *rest)
{
    usec_t now = loop_now(repeats->loop);
    struct repeat *repeat = calloc(1, sizeof(*repeat));
    if (repeat == NULL)
        return;
    repeat->key = *key;
    repeat->key.text = repeat->text = strdup(key->text);
    if (repeat->text == NULL)
        goto err_repeat;
    if (asprintf(&repeat->line, "%s%s %s", head, client != NULL ? " client=*" : "", rest) < 0)
        goto err_text;
    if (!loop_timer_is_set(&repeats->timer) &&
        loop_set_timer(repeats->loop, &repeats->timer, now + REPEATS_SPAN) < 0)
        goto err_line;
    repeat->level = level;
    repeat->began = now;
    TAILQ_INSERT_TAIL(&repeats->list, repeat, link);
    if (++repeats->count > REPEATS_KINDS && repeats->others == NULL)
        repeats->others = repeat;
    return;

err_line:
    free(repeat->line);
err_text:
    free(repeat->text);
err_repeat:
    free(repeat);
}

void repeats_log(struct repeats *repeats, enum log_level level, const struct repeat_key *key,
                 const char *head, const char *client, const char *rest)
{
    log_message(level, "%s%s%s %s", head, client != NULL ? " client=" : "",
                client != NULL ? client : "", rest);
    if (!log_enabled(LOG_LEVEL_DEBUG))
        begin_span(repeats, level, key, head, client, rest);
}
