/* Loads the configuration, prints it, frees it. */
#include "config/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_check.h"
#include "config/config_fields.h"
#include "config/config_ini.h"
#include "config/config_key.h"
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

/* 0, or -1 with errno when the file could not be read to its end. */
static int read_file(struct config_sections *sections, const char *name)
{
    FILE *file = fopen(name, "re");
    if (file == NULL)
        return -1;
    int result = config_sections_read(sections, file);
    int error = errno;
    fclose(file);
    errno = error;
    return result;
}

/* Fills an empty config. 0, or -1 after the mistakes were written. */
static int load(struct config *config, FILE *errors)
{
    struct config_sections sections;
    int result = config_sections_init(&sections, config);

    if (result == 0)
        result = read_file(&sections, config->file);
    if (result < 0)
        config_errors_add(&sections.errors, 0, "%s", strerror(errno));
    else
        config_check(&sections);
    config_errors_write(&sections.errors, config->file, errors);
    if (config_errors_any(&sections.errors))
        result = -1;
    config_sections_clear(&sections);
    return result;
}

struct config *config_load(const char *file, FILE *errors)
{
    struct config *config = calloc(1, sizeof(*config));

    if (config != NULL)
        atomic_init(&config->references, 1);
    if (config == NULL || (config->file = strdup(file)) == NULL)
        fprintf(errors, "%s: %s\n", file, strerror(ENOMEM));
    else if (load(config, errors) == 0)
        return config;
    config_unref(config);
    return NULL;
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

/* A long line does without whitespace, lest it cannot be read back. */
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
