/* SPDX-License-Identifier: ISC */
/* Reads a file's lines into sections and keys, and reports invalid ones. */
#include "config/config_sections.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_fields.h"
#include "config/config_ini.h"
#include "config/config_type.h"

#define WHITESPACE " \t"

/* For `current`. */
#define NO_SECTION (SIZE_MAX - 1) /* keys precede any section */
#define IGNORED    SIZE_MAX       /* already reported as a mistake; its keys are ignored */

/* Appends a section and makes it the current one. 0, or -1 with ENOMEM. */
static int append_section(struct config_sections *sections, const struct config_section *section)
{
    struct config_section *list = reallocarray(sections->list, sections->count + 1, sizeof(*list));
    if (list == NULL)
        return -1;
    sections->list = list;
    list[sections->count] = *section;
    sections->current = sections->count++;
    return 0;
}

int config_sections_init(struct config_sections *sections, struct config *config)
{
    *sections = (struct config_sections){.config = config};
    config_errors_init(&sections->errors);
    if (config_fields_set_defaults(config, SECTION_KAPROXY) < 0 ||
        config_fields_set_defaults(&config->admin, SECTION_ADMIN) < 0 ||
        config_fields_add(config, SECTION_POOL, "", 0) < 0 ||
        append_section(sections, &(struct config_section){.kind = SECTION_KAPROXY}) < 0 ||
        append_section(sections, &(struct config_section){.kind = SECTION_ADMIN}) < 0 ||
        append_section(sections, &(struct config_section){.kind = SECTION_POOL}) < 0)
        return -1;
    sections->current = NO_SECTION;
    return 0;
}

void config_sections_clear(struct config_sections *sections)
{
    config_errors_clear(&sections->errors);
    free(sections->list);
    sections->list = NULL;
}

struct config_section *config_sections_find(const struct config_sections *sections,
                                            enum config_kind kind, const char *name)
{
    for (size_t i = 0; i < sections->count; i++) {
        struct config_section *section = &sections->list[i];
        if (section->kind == kind &&
            strcmp(config_fields_name(sections->config, kind, section->index), name) == 0)
            return section;
    }
    return NULL;
}

/* Of a key that a check refers to by name. */
static int index_of(const struct config_section *section, const char *key)
{
    int index = config_key_find(&config_section_kinds[section->kind], key);
    assert(index >= 0);
    return index;
}

int config_section_line(const struct config_section *section, const char *key)
{
    return section->lines[index_of(section, key)];
}

bool config_section_is_valid(const struct config_section *section, const char *key)
{
    return section->valid[index_of(section, key)];
}

static const char *check_name(enum config_kind kind, const char *name)
{
    if (!config_section_kinds[kind].named && *name != '\0')
        return "takes no name";
    if (kind == SECTION_LISTENER && *name == '\0')
        return "needs a name: [listener NAME]";
    if (kind == SECTION_POOL && strcmp(name, "default") == 0)
        return "has the name that logs give to the default pool: write [pool]";
    if (*name != '\0' && !endpoint_name_is_valid(name))
        return "has a name with characters other than letters, digits, '-', '_' and '.'";
    return NULL;
}

/* A section of a known kind: a new one, or a mistake. */
static int add_section(struct config_sections *sections, enum config_kind kind, const char *name,
                       int line, bool mistaken)
{
    struct config_section section = {.kind = kind, .line = line, .mistaken = mistaken};

    if (config_section_kinds[kind].named) {
        section.index = config_fields_count(sections->config, kind);
        if (config_fields_add(sections->config, kind, name, line) < 0)
            return -1;
    }
    return append_section(sections, &section);
}

static int open_section(struct config_sections *sections, enum config_kind kind, const char *name,
                        int line)
{
    struct config_section *first = config_sections_find(sections, kind, name);
    const char *kind_name = config_section_kinds[kind].name;
    const char *mistake = check_name(kind, name);

    if (mistake != NULL) {
        config_errors_add(&sections->errors, line, "section [%s%s%s] %s", kind_name,
                          *name != '\0' ? " " : "", name, mistake);
        return add_section(sections, kind, name, line, true);
    }
    if (first != NULL && first->line != 0) {
        config_errors_add(&sections->errors, line, "section [%s%s%s] is already defined on line %d",
                          kind_name, *name != '\0' ? " " : "", name, first->line);
        return add_section(sections, kind, name, line, true);
    }
    if (first == NULL)
        return add_section(sections, kind, name, line, false);
    first->line = line;
    if (kind == SECTION_POOL)
        sections->config->pools[first->index].line = line;
    sections->current = (size_t)(first - sections->list);
    return 0;
}

/* It is unknown which section the following keys belong to. */
static void lose_section(struct config_sections *sections)
{
    sections->current = IGNORED;
    sections->lost = true;
}

/* Splits "KIND NAME". 0, or -1 with ENOMEM. */
static int take_section(struct config_sections *sections, const char *text, int line)
{
    char name[CONFIG_INI_LINE_MAX + 1];

    text += strspn(text, WHITESPACE);
    size_t length = strcspn(text, WHITESPACE);
    snprintf(name, sizeof(name), "%s", text + length + strspn(text + length, WHITESPACE));
    for (size_t end = strlen(name); end > 0 && strchr(WHITESPACE, name[end - 1]) != NULL; end--)
        name[end - 1] = '\0';
    for (enum config_kind kind = 0; kind < CONFIG_KIND_COUNT; kind++) {
        const char *known = config_section_kinds[kind].name;
        if (strlen(known) == length && strncmp(known, text, length) == 0)
            return open_section(sections, kind, name, line);
    }
    config_errors_add(&sections->errors, line,
                      "unknown section [%s], not one of [kaproxy], [admin], [pool], [pool NAME], "
                      "[listener NAME]",
                      text);
    lose_section(sections);
    return 0;
}

static void set_value(struct config_sections *sections, struct config_section *section, int index,
                      struct config_input *input)
{
    const struct config_key *key = input->key;
    void *field =
        config_fields_at(config_fields(sections->config, section->kind, section->index), key);

    if (*input->text == '\0' && (key->initial == NULL || *key->initial != '\0')) {
        config_errors_add(&sections->errors, input->line, "%s: the value is missing", key->name);
        return;
    }
    if (key->type->clear != NULL)
        key->type->clear(field);
    section->valid[index] = key->type->parse(input, field) == 0;
}

static void take_key(struct config_sections *sections, const struct config_ini_line *parsed,
                     int line)
{
    if (sections->current == NO_SECTION) {
        config_errors_add(&sections->errors, line, "key \"%s\" appears before any section",
                          parsed->name);
        sections->current = IGNORED;
    }
    if (sections->current == IGNORED)
        return;
    struct config_section *section = &sections->list[sections->current];
    const struct config_section_kind *kind = &config_section_kinds[section->kind];
    int index = config_key_find(kind, parsed->name);
    if (index < 0) {
        config_errors_add(&sections->errors, line, "unknown key \"%s\" in [%s]", parsed->name,
                          kind->name);
        return;
    }
    if (section->lines[index] != 0) {
        config_errors_add(&sections->errors, line, "key \"%s\" is already defined on line %d",
                          parsed->name, section->lines[index]);
        return;
    }
    section->lines[index] = line;
    struct config_input input = {.key = &kind->keys[index],
                                 .text = parsed->value,
                                 .line = line,
                                 .errors = &sections->errors};
    set_value(sections, section, index, &input);
}

static int take_line(struct config_sections *sections, const char *text, size_t length, int line)
{
    struct config_ini_line parsed;

    config_ini_parse(&parsed, text, length);
    if (parsed.kind == INI_MISTAKE) {
        config_errors_add(&sections->errors, line, "%s", parsed.mistake);
        if (text[strspn(text, WHITESPACE)] == '[')
            lose_section(sections);
    } else if (parsed.kind == INI_KEY)
        take_key(sections, &parsed, line);
    else if (parsed.kind == INI_SECTION)
        return take_section(sections, parsed.name, line);
    return 0;
}

int config_sections_read(struct config_sections *sections, FILE *file)
{
    static const char bom[] = {'\xef', '\xbb', '\xbf'};
    char *text = NULL;
    size_t size = 0;
    ssize_t length;
    int result = 0;

    for (int line = 1; result == 0 && (length = getline(&text, &size, file)) >= 0; line++) {
        size_t skip = 0;
        if (line == 1 && (size_t)length >= sizeof(bom) && memcmp(text, bom, sizeof(bom)) == 0)
            skip = sizeof(bom);
        result = take_line(sections, text + skip, (size_t)length - skip, line);
    }
    if (result == 0 && !feof(file))
        result = -1;
    int error = errno;
    free(text);
    errno = error;
    return result;
}
