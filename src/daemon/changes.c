/* SPDX-License-Identifier: ISC */
/* Compares two configurations key by key, as texts. */
#include "daemon/changes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "config/config_fields.h"
#include "net/endpoint.h"

/* The part of a list that is shown; the rest is counted. */
#define NAMES_MAX 8
#define KEYS_MAX  6

/* Longer values are left out. */
#define VALUE_MAX 48

/* A key and its values; given the name of a section, all its keys that are shown. */
#define KEY_MAX  192
#define ITEM_MAX (64 + KEYS_MAX * KEY_MAX)

/* No item uses this: it is for the numbers that end each list. */
#define RESERVE 384

#define NOWHERE SIZE_MAX

struct text {
    char *at;
    size_t size, length;
};

struct list {
    struct text *text;
    const char *separator;
    size_t reserve;
    unsigned room, shown, left;
};

/* The sections of one kind in both configurations, matched by name. */
struct sections {
    const struct config *before, *after;
    enum config_kind kind;
    size_t *old; /* the index before of each one after, or NOWHERE; NULL for single sections */
};

enum fate { ADDED, REMOVED, CHANGED, KEPT };

static PRINTF(2, 3) void put(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text->at + text->length, text->size - text->length, format, args);
    va_end(args);
    text->length += (size_t)n;
    if (text->length >= text->size)
        text->length = text->size - 1;
}

/* Begins a part of the line. */
static void put_head(struct text *text, const char *head)
{
    put(text, "%s%s", text->length > 0 ? "; " : "", head);
}

static void put_item(struct list *list, const char *item)
{
    const char *separator = list->shown == 0 ? "" : list->separator;
    size_t length = strlen(separator) + strlen(item);
    bool fits =
        list->shown < list->room && list->text->length + length + list->reserve < list->text->size;
    if (list->left > 0 || !fits) {
        list->left++;
    } else {
        put(list->text, "%s%s", separator, item);
        list->shown++;
    }
}

static void end_list(const struct list *list)
{
    if (list->left > 0)
        put(list->text, list->shown > 0 ? " and %u more" : "%u", list->left);
}

static const char *quoted(const char *value)
{
    return *value == '\0' ? "\"\"" : value;
}

/* Does it change in this section? If so, how: "KEY OLD -> NEW". */
static bool compare_key(const struct sections *sections, size_t before, size_t after,
                        const struct config_key *key, char text[KEY_MAX])
{
    char old_buffer[CONFIG_VALUE_MAX], new_buffer[CONFIG_VALUE_MAX];
    enum config_kind kind = sections->kind;
    if (key->fixed || !config_fields_have_effect(sections->after, kind, after, key))
        return false;
    const char *old = config_fields_format(sections->before, kind, before, key, old_buffer);
    const char *new = config_fields_format(sections->after, kind, after, key, new_buffer);
    if (strcmp(old, new) == 0)
        return false;
    if (strlen(old) > VALUE_MAX || strlen(new) > VALUE_MAX)
        snprintf(text, KEY_MAX, "%s", key->name);
    else
        snprintf(text, KEY_MAX, "%s %s -> %s", key->name, quoted(old), quoted(new));
    return true;
}

static bool has_changed(const struct sections *sections, size_t before, size_t after)
{
    const struct config_section_kind *kind = &config_section_kinds[sections->kind];
    char change[KEY_MAX];
    for (size_t i = 0; i < kind->key_count; i++) {
        if (compare_key(sections, before, after, &kind->keys[i], change))
            return true;
    }
    return false;
}

static void put_keys(const struct sections *sections, size_t before, size_t after,
                     struct list *list)
{
    const struct config_section_kind *kind = &config_section_kinds[sections->kind];
    char change[KEY_MAX];
    for (size_t i = 0; i < kind->key_count; i++) {
        if (compare_key(sections, before, after, &kind->keys[i], change))
            put_item(list, change);
    }
    end_list(list);
}

/* A section that exists once. */
static void describe_one(const struct config *before, const struct config *after,
                         enum config_kind kind, const char *head, struct text *text)
{
    const struct sections sections = {.before = before, .after = after, .kind = kind};
    struct list list = {
        .text = text, .separator = ", ", .reserve = RESERVE, .room = NAMES_MAX + KEYS_MAX};
    if (!has_changed(&sections, 0, 0))
        return;
    put_head(text, head);
    put_keys(&sections, 0, 0, &list);
}

static size_t find(const struct config *config, enum config_kind kind, const char *name)
{
    size_t count = config_fields_count(config, kind);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(config_fields_name(config, kind, i), name) == 0)
            return i;
    }
    return NOWHERE;
}

/* 0, or -1 with ENOMEM. */
static int match(struct sections *sections)
{
    size_t count = config_fields_count(sections->after, sections->kind);
    sections->old = calloc(count, sizeof(*sections->old));
    if (sections->old == NULL)
        return -1;
    for (size_t i = 0; i < count; i++)
        sections->old[i] = find(sections->before, sections->kind,
                                config_fields_name(sections->after, sections->kind, i));
    return 0;
}

/* Of one after, or of one before that may no longer exist. */
static bool has_fate(const struct sections *sections, size_t i, enum fate fate)
{
    if (fate == REMOVED)
        return find(sections->after, sections->kind,
                    config_fields_name(sections->before, sections->kind, i)) == NOWHERE;
    if (sections->old[i] == NOWHERE)
        return fate == ADDED;
    return fate == (has_changed(sections, sections->old[i], i) ? CHANGED : KEPT);
}

static const struct config *config_of(const struct sections *sections, enum fate fate)
{
    return fate == REMOVED ? sections->before : sections->after;
}

static unsigned count(const struct sections *sections, enum fate fate)
{
    size_t all = config_fields_count(config_of(sections, fate), sections->kind);
    unsigned n = 0;
    for (size_t i = 0; i < all; i++)
        n += has_fate(sections, i, fate);
    return n;
}

/* Its name and, if it has changed, the keys. */
static void put_section(const struct sections *sections, size_t i, enum fate fate,
                        struct list *list)
{
    const char *name = config_fields_name(config_of(sections, fate), sections->kind, i);
    char item[ITEM_MAX];
    struct text text = {.at = item, .size = sizeof(item)};
    struct list keys = {.text = &text, .separator = ", ", .room = KEYS_MAX};
    put(&text, "%s", *name == '\0' ? "default" : name);
    if (fate == CHANGED) {
        put(&text, ": ");
        put_keys(sections, sections->old[i], i, &keys);
    }
    put_item(list, item);
}

static void put_fate(const struct sections *sections, enum fate fate, struct text *text,
                     const char **separator)
{
    static const char *const words[] = {"added", "removed", "changed", "kept"};
    size_t all = config_fields_count(config_of(sections, fate), sections->kind);
    struct list list = {.text = text,
                        .separator = fate == CHANGED ? "; " : ", ",
                        .reserve = RESERVE,
                        .room = NAMES_MAX};
    unsigned n = count(sections, fate);
    if (n == 0)
        return;
    put(text, "%s%u %s", *separator, n, words[fate]);
    *separator = ", ";
    if (fate == KEPT)
        return;
    put(text, " (");
    for (size_t i = 0; i < all; i++) {
        if (has_fate(sections, i, fate))
            put_section(sections, i, fate, &list);
    }
    end_list(&list);
    put(text, ")");
}

/* Named sections. */
static void describe_all(const struct sections *sections, const char *head, struct text *text)
{
    const char *separator = " ";
    if (count(sections, ADDED) + count(sections, REMOVED) + count(sections, CHANGED) == 0)
        return;
    put_head(text, head);
    for (enum fate fate = ADDED; fate <= KEPT; fate++)
        put_fate(sections, fate, text, &separator);
}

/* Is TLS spoken to the same upstream with the same settings, but with other certificates or
 * keys? */
static bool has_other_files(const struct sections *listeners, size_t i)
{
    const struct config_section_kind *kind = &config_section_kinds[SECTION_LISTENER];
    char change[KEY_MAX];
    if (listeners->old[i] == NOWHERE)
        return false;
    const struct endpoint *old = &listeners->before->listeners[listeners->old[i]].upstream;
    const struct endpoint *new = &listeners->after->listeners[i].upstream;
    if (endpoint_compare_address(old, new) != 0 || endpoint_compare(old, new) == 0)
        return false;
    for (size_t k = 0; k < kind->key_count; k++) {
        if (kind->keys[k].for_tls &&
            compare_key(listeners, listeners->old[i], i, &kind->keys[k], change))
            return false;
    }
    return true;
}

/* Several listeners may have the same upstream. */
static bool was_put(const struct sections *listeners, size_t i)
{
    const struct config_listener *all = listeners->after->listeners;
    for (size_t j = 0; j < i; j++) {
        if (endpoint_compare(&all[j].upstream, &all[i].upstream) == 0 &&
            has_other_files(listeners, j))
            return true;
    }
    return false;
}

static void describe_files(const struct sections *listeners, struct text *text)
{
    struct list list = {.text = text, .separator = ", ", .reserve = RESERVE, .room = NAMES_MAX};
    char upstream[ENDPOINT_TEXT_MAX];
    for (size_t i = 0; i < listeners->after->listener_count; i++) {
        if (!has_other_files(listeners, i) || was_put(listeners, i))
            continue;
        if (list.shown + list.left == 0)
            put_head(text, "TLS files of ");
        put_item(&list, endpoint_format(&listeners->after->listeners[i].upstream, upstream));
    }
    end_list(&list);
    if (list.shown + list.left > 0)
        put(text, " changed");
}

char *changes_describe(const struct config *before, const struct config *after, char *buffer,
                       size_t size)
{
    struct text text = {.at = buffer, .size = size};
    struct sections pools = {.before = before, .after = after, .kind = SECTION_POOL};
    struct sections listeners = {.before = before, .after = after, .kind = SECTION_LISTENER};
    buffer[0] = '\0';
    if (match(&pools) < 0 || match(&listeners) < 0) {
        put(&text, "the changes are unknown: %s", strerror(ENOMEM));
    } else {
        describe_one(before, after, SECTION_KAPROXY, "", &text);
        describe_one(before, after, SECTION_ADMIN, "[admin] ", &text);
        describe_all(&pools, "pools:", &text);
        describe_all(&listeners, "listeners:", &text);
        describe_files(&listeners, &text);
        if (text.length == 0)
            put(&text, "nothing changed");
    }
    free(pools.old);
    free(listeners.old);
    return buffer;
}

static void warn(const struct config *start, const struct config *after, enum config_kind kind,
                 const struct config_key *key, FILE *out)
{
    char old_buffer[CONFIG_VALUE_MAX], new_buffer[CONFIG_VALUE_MAX];
    const char *old = config_fields_format(start, kind, 0, key, old_buffer);
    const char *new = config_fields_format(after, kind, 0, key, new_buffer);
    if (strcmp(old, new) != 0)
        fprintf(out, "%s: warning: %s: cannot change while running; it stays %s until a restart\n",
                after->file, key->name, *old == '\0' ? "unset" : old);
}

void changes_warn(const struct config *start, const struct config *after, FILE *out)
{
    for (enum config_kind kind = 0; kind < CONFIG_KIND_COUNT; kind++) {
        const struct config_section_kind *section = &config_section_kinds[kind];
        for (size_t i = 0; i < section->key_count; i++) {
            if (section->keys[i].fixed)
                warn(start, after, kind, &section->keys[i], out);
        }
    }
}
