#include "config/config_parts.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_ini.h"
#include "config/config_record.h"
#include "config/config_type.h"

#define BLANKS " \t"

/* For `current`. */
#define NO_SECTION (SIZE_MAX - 1) /* keys come before any section */
#define IGNORED    SIZE_MAX       /* one mistake was told already, its keys are none */

/* Appends a part and makes it the current one. 0, or -1 with ENOMEM. */
static int add_part(struct config_parts *parts, const struct config_part *part)
{
    struct config_part *list = reallocarray(parts->list, parts->count + 1, sizeof(*list));
    if (list == NULL)
        return -1;
    parts->list = list;
    list[parts->count] = *part;
    parts->current = parts->count++;
    return 0;
}

int config_parts_init(struct config_parts *parts, struct config *config)
{
    *parts = (struct config_parts){.config = config};
    config_errors_init(&parts->errors);
    if (config_record_set_defaults(config, SECTION_KAPROXY) < 0 ||
        config_record_add(config, SECTION_POOL, "", 0) < 0 ||
        add_part(parts, &(struct config_part){.kind = SECTION_KAPROXY}) < 0 ||
        add_part(parts, &(struct config_part){.kind = SECTION_POOL}) < 0)
        return -1;
    parts->current = NO_SECTION;
    return 0;
}

void config_parts_clear(struct config_parts *parts)
{
    config_errors_clear(&parts->errors);
    free(parts->list);
    parts->list = NULL;
}

struct config_part *config_parts_find(const struct config_parts *parts, enum config_kind kind,
                                      const char *name)
{
    for (size_t i = 0; i < parts->count; i++) {
        struct config_part *part = &parts->list[i];
        if (part->kind == kind &&
            strcmp(config_record_name(parts->config, kind, part->index), name) == 0)
            return part;
    }
    return NULL;
}

/* Of a key that a check knows by its name. */
static int index_of(const struct config_part *part, const char *key)
{
    int index = config_key_find(&config_sections[part->kind], key);
    assert(index >= 0);
    return index;
}

int config_part_line(const struct config_part *part, const char *key)
{
    return part->lines[index_of(part, key)];
}

bool config_part_is_valid(const struct config_part *part, const char *key)
{
    return part->valid[index_of(part, key)];
}

static const char *check_name(enum config_kind kind, const char *name)
{
    if (kind == SECTION_KAPROXY && *name != '\0')
        return "takes no name";
    if (kind == SECTION_LISTENER && *name == '\0')
        return "needs a name: [listener NAME]";
    if (kind == SECTION_POOL && strcmp(name, "default") == 0)
        return "has the name that logs give to the default pool: write [pool]";
    if (*name != '\0' && !endpoint_name_is_valid(name))
        return "has a name with other characters than letters, digits, '-', '_' and '.'";
    return NULL;
}

/* A section of a known kind that is not there yet, or that is a mistake. */
static int add_section(struct config_parts *parts, enum config_kind kind, const char *name,
                       int line, bool mistaken)
{
    struct config_part part = {.kind = kind, .line = line, .mistaken = mistaken};

    if (kind != SECTION_KAPROXY) {
        part.index = config_record_count(parts->config, kind);
        if (config_record_add(parts->config, kind, name, line) < 0)
            return -1;
    }
    return add_part(parts, &part);
}

static int open_section(struct config_parts *parts, enum config_kind kind, const char *name,
                        int line)
{
    struct config_part *first = config_parts_find(parts, kind, name);
    const char *section = config_sections[kind].name;
    const char *mistake = check_name(kind, name);

    if (mistake != NULL) {
        config_errors_add(&parts->errors, line, "section [%s%s%s] %s", section,
                          *name != '\0' ? " " : "", name, mistake);
        return add_section(parts, kind, name, line, true);
    }
    if (first != NULL && first->line != 0) {
        config_errors_add(&parts->errors, line, "section [%s%s%s] stands in line %d already",
                          section, *name != '\0' ? " " : "", name, first->line);
        return add_section(parts, kind, name, line, true);
    }
    if (first == NULL)
        return add_section(parts, kind, name, line, false);
    first->line = line;
    if (kind == SECTION_POOL)
        parts->config->pools[first->index].line = line;
    parts->current = (size_t)(first - parts->list);
    return 0;
}

/* Whose keys the following ones are is not known. */
static void lose_section(struct config_parts *parts)
{
    parts->current = IGNORED;
    parts->lost = true;
}

/* Splits "KIND NAME". 0, or -1 with ENOMEM. */
static int take_section(struct config_parts *parts, const char *text, int line)
{
    char name[CONFIG_INI_LINE_MAX + 1];

    text += strspn(text, BLANKS);
    size_t length = strcspn(text, BLANKS);
    snprintf(name, sizeof(name), "%s", text + length + strspn(text + length, BLANKS));
    for (size_t end = strlen(name); end > 0 && strchr(BLANKS, name[end - 1]) != NULL; end--)
        name[end - 1] = '\0';
    for (enum config_kind kind = 0; kind < CONFIG_KIND_COUNT; kind++) {
        const char *known = config_sections[kind].name;
        if (strlen(known) == length && strncmp(known, text, length) == 0)
            return open_section(parts, kind, name, line);
    }
    config_errors_add(&parts->errors, line,
                      "unknown section [%s], not one of [kaproxy], [pool], [pool NAME], "
                      "[listener NAME]",
                      text);
    lose_section(parts);
    return 0;
}

static void set_value(struct config_parts *parts, struct config_part *part, int index,
                      struct config_input *input)
{
    const struct config_key *key = input->key;
    void *field = config_record_field(config_record(parts->config, part->kind, part->index), key);

    if (*input->text == '\0' && (key->initial == NULL || *key->initial != '\0')) {
        config_errors_add(&parts->errors, input->line, "%s: the value is missing", key->name);
        return;
    }
    if (key->type->clear != NULL)
        key->type->clear(field);
    part->valid[index] = key->type->parse(input, field) == 0;
}

static void take_key(struct config_parts *parts, const struct config_ini_line *parsed, int line)
{
    if (parts->current == NO_SECTION) {
        config_errors_add(&parts->errors, line, "key \"%s\" stands before any section",
                          parsed->name);
        parts->current = IGNORED;
    }
    if (parts->current == IGNORED)
        return;
    struct config_part *part = &parts->list[parts->current];
    const struct config_section *section = &config_sections[part->kind];
    int index = config_key_find(section, parsed->name);
    if (index < 0) {
        config_errors_add(&parts->errors, line, "unknown key \"%s\" in [%s]", parsed->name,
                          section->name);
        return;
    }
    if (part->lines[index] != 0) {
        config_errors_add(&parts->errors, line, "key \"%s\" stands in line %d already",
                          parsed->name, part->lines[index]);
        return;
    }
    part->lines[index] = line;
    struct config_input input = {.key = &section->keys[index],
                                 .text = parsed->value,
                                 .line = line,
                                 .errors = &parts->errors};
    set_value(parts, part, index, &input);
}

static int take_line(struct config_parts *parts, const char *text, size_t length, int line)
{
    struct config_ini_line parsed;

    config_ini_parse(&parsed, text, length);
    if (parsed.kind == INI_MISTAKE) {
        config_errors_add(&parts->errors, line, "%s", parsed.mistake);
        if (text[strspn(text, BLANKS)] == '[')
            lose_section(parts);
    } else if (parsed.kind == INI_KEY)
        take_key(parts, &parsed, line);
    else if (parsed.kind == INI_SECTION)
        return take_section(parts, parsed.name, line);
    return 0;
}

int config_parts_read(struct config_parts *parts, FILE *file)
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
        result = take_line(parts, text + skip, (size_t)length - skip, line);
    }
    if (result == 0 && !feof(file))
        result = -1;
    int error = errno;
    free(text);
    errno = error;
    return result;
}
