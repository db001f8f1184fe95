/* SPDX-License-Identifier: ISC */
/* Collects mistakes and warnings, and writes them in the order of lines. */
#include "config/config_errors.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/log.h"

struct config_error {
    TAILQ_ENTRY(config_error) link;
    int line;
    const char *mark; /* static, before the text */
    char *text;
};

void config_errors_init(struct config_errors *errors)
{
    TAILQ_INIT(&errors->list);
    errors->any = errors->out_of_memory = false;
}

void config_errors_clear(struct config_errors *errors)
{
    struct config_error *error;

    while ((error = TAILQ_FIRST(&errors->list)) != NULL) {
        TAILQ_REMOVE(&errors->list, error, link);
        free(error->text);
        free(error);
    }
}

/* After all mistakes of its line and of earlier lines. */
static void insert(struct config_errors *errors, struct config_error *error)
{
    struct config_error *before;

    TAILQ_FOREACH_REVERSE(before, &errors->list, config_error_list, link)
    {
        if (before->line <= error->line)
            break;
    }
    if (before == NULL)
        TAILQ_INSERT_HEAD(&errors->list, error, link);
    else
        TAILQ_INSERT_AFTER(&errors->list, before, error, link);
}

static PRINTF(4, 0) void add(struct config_errors *errors, int line, const char *mark,
                             const char *format, va_list args)
{
    struct config_error *error = malloc(sizeof(*error));

    if (error == NULL) {
        errors->out_of_memory = true;
        return;
    }
    if (vasprintf(&error->text, format, args) < 0) {
        errors->out_of_memory = true;
        free(error);
        return;
    }
    error->line = line;
    error->mark = mark;
    insert(errors, error);
}

void config_errors_add(struct config_errors *errors, int line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add(errors, line, "", format, args);
    va_end(args);
    errors->any = true;
}

void config_errors_warn(struct config_errors *errors, int line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add(errors, line, "warning: ", format, args);
    va_end(args);
}

bool config_errors_any(const struct config_errors *errors)
{
    return errors->any || errors->out_of_memory;
}

void config_errors_write(const struct config_errors *errors, const char *file, FILE *out)
{
    const struct config_error *error;
    int fd = fileno(out); /* -1: in memory */
    bool is_journal = fd >= 0 && log_is_journal(fd);

    TAILQ_FOREACH (error, &errors->list, link) {
        if (is_journal)
            fputs(*error->mark == '\0' ? "<3>" : "<4>", out);
        if (error->line == 0)
            fprintf(out, "%s: %s%s\n", file, error->mark, error->text);
        else
            fprintf(out, "%s:%d: %s%s\n", file, error->line, error->mark, error->text);
    }
    if (errors->out_of_memory)
        fprintf(out, "%s%s: out of memory\n", is_journal ? "<3>" : "", file);
}

void config_errors_log(const struct config_errors *errors, const char *file)
{
    const struct config_error *error;

    TAILQ_FOREACH (error, &errors->list, link) {
        enum log_level level = *error->mark == '\0' ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING;
        if (error->line == 0)
            log_message(level, "%s: %s", file, error->text);
        else
            log_message(level, "%s:%d: %s", file, error->line, error->text);
    }
    if (errors->out_of_memory)
        log_error("%s: out of memory", file);
}
