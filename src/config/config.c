/* SPDX-License-Identifier: ISC */
/* Loads the configuration, prints it, frees it. */
#include "config/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/regular_file.h"
#include "config/config_check.h"
#include "config/config_fields.h"
#include "config/config_ini.h"
#include "config/config_key.h"
#include "config/config_place.h"
#include "config/config_sections.h"

struct config *config_ref(struct config *config)
{
    atomic_fetch_add_explicit(&config->references, 1, memory_order_relaxed);
    return config;
}

void config_unref(struct config *config)
{
    if (config == NULL ||
        atomic_fetch_sub_explicit(&config->references, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < config->listener_count; i++) {
        free(config->listeners[i].name);
        config_fields_clear(&config->listeners[i], SECTION_LISTENER);
    }
    for (size_t i = 0; i < config->pool_count; i++) {
        free(config->pools[i].name);
        config_fields_clear(&config->pools[i], SECTION_POOL);
    }
    config_fields_clear(config, SECTION_KAPROXY);
    config_fields_clear(&config->admin, SECTION_ADMIN);
    free(config->listeners);
    free(config->pools);
    free(config->file);
    free(config);
}

/* Opens a file; NULL, or why it cannot be opened. */
typedef const char *open_file(const char *name, FILE **file);

static const char *open_any(const char *name, FILE **file)
{
    *file = fopen(name, "re");
    return *file == NULL ? error_text(errno) : NULL;
}

static const char *open_regular(const char *name, FILE **file)
{
    const char *mistake;
    int fd = regular_file_open(name, &mistake);
    if (fd < 0)
        return mistake;
    *file = fdopen(fd, "r");
    if (*file != NULL)
        return NULL;
    mistake = error_text(errno);
    close(fd);
    return mistake;
}

/* NULL, or why the file could not be read to its end. */
static const char *read_file(struct config_sections *sections, const char *name, open_file *open)
{
    FILE *file;
    const char *mistake = open(name, &file);
    if (mistake != NULL)
        return mistake;
    if (config_sections_read(sections, file) < 0)
        mistake = error_text(errno);
    fclose(file);
    return mistake;
}

/* Fills an empty config. 0, or -1 after the mistakes were written. */
static int load(struct config *config, FILE *errors, open_file *open)
{
    struct config_sections sections;
    const char *mistake = config_sections_init(&sections, config) < 0
                              ? error_text(errno)
                              : read_file(&sections, config->file, open);

    if (mistake != NULL)
        config_errors_add(&sections.errors, 0, "%s", mistake);
    else
        config_check(&sections);
    config_errors_write(&sections.errors, config->file, errors);
    int result = config_errors_any(&sections.errors) ? -1 : 0;
    config_sections_clear(&sections);
    return result;
}

static struct config *load_file(const char *file, FILE *errors, open_file *open)
{
    struct config *config = calloc(1, sizeof(*config));
    const char *name = file != NULL ? file : config_place_find();

    if (config != NULL) {
        atomic_init(&config->references, 1);
        config->is_default = file == NULL;
    }
    if (config == NULL || (config->file = strdup(name)) == NULL)
        fprintf(errors, "%s: %s\n", name, strerror(ENOMEM));
    else if (load(config, errors, open) == 0)
        return config;
    config_unref(config);
    return NULL;
}

struct config *config_load(const char *file, FILE *errors)
{
    return load_file(file, errors, open_any);
}

struct config *config_load_again(const char *file, FILE *errors)
{
    return load_file(file, errors, open_regular);
}

bool config_listener_is_like(const struct config_listener *a, const struct config_listener *b)
{
    const struct config_section_kind *kind = &config_section_kinds[SECTION_LISTENER];
    char text_a[CONFIG_VALUE_MAX], text_b[CONFIG_VALUE_MAX];

    for (size_t i = 0; i < kind->key_count; i++) {
        const struct config_key *key = &kind->keys[i];
        bool is_where = key->for_unix || strcmp(key->name, "listen") == 0;
        if (!is_where && strcmp(key->type->format((const char *)a + key->offset, text_a),
                                key->type->format((const char *)b + key->offset, text_b)) != 0)
            return false;
    }
    return endpoint_compare(&a->upstream, &b->upstream) == 0;
}

/* A long line is printed without whitespace, so that it can be read back. */
static void print_pair(const char *key, const char *value, FILE *out)
{
    if (*value == '\0')
        fprintf(out, "%s =\n", key);
    else if (strlen(key) + strlen(value) + strlen(" = ") <= CONFIG_INI_LINE_MAX)
        fprintf(out, "%s = %s\n", key, value);
    else
        fprintf(out, "%s=%s\n", key, value);
}

static void print_record(const struct config *config, enum config_kind kind, size_t index,
                         FILE *out)
{
    const struct config_section_kind *section = &config_section_kinds[kind];
    const char *name = config_fields_name(config, kind, index);
    char buffer[CONFIG_VALUE_MAX];

    fprintf(out, "[%s%s%s]\n", section->name, *name != '\0' ? " " : "", name);
    for (size_t i = 0; i < section->key_count; i++) {
        const struct config_key *key = &section->keys[i];
        if (!config_fields_have_effect(config, kind, index, key))
            continue;
        const char *value = config_fields_format(config, kind, index, key, buffer);
        print_pair(key->name, value, out);
    }
}

void config_print(const struct config *config, FILE *out)
{
    for (enum config_kind kind = 0; kind < CONFIG_KIND_COUNT; kind++) {
        for (size_t i = 0; i < config_fields_count(config, kind); i++) {
            if (kind != SECTION_KAPROXY)
                fputc('\n', out);
            print_record(config, kind, i, out);
        }
    }
}
