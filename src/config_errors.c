#include "config_errors.h"

#include <stdarg.h>
#include <stdlib.h>

struct config_error {
    TAILQ_ENTRY(config_error) link;
    int line;
    char *text;
};

void config_errors_init(struct config_errors *errors)
{
    TAILQ_INIT(&errors->list);
    errors->out_of_memory = false;
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

/* Behind all mistakes of its line and of those before it. */
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

void config_errors_add(struct config_errors *errors, int line, const char *format, ...)
{
    struct config_error *error = malloc(sizeof(*error));
    va_list args;

    if (error == NULL) {
        errors->out_of_memory = true;
        return;
    }
    va_start(args, format);
    int length = vasprintf(&error->text, format, args);
    va_end(args);
    if (length == -1) {
        errors->out_of_memory = true;
        free(error);
        return;
    }
    error->line = line;
    insert(errors, error);
}

bool config_errors_any(const struct config_errors *errors)
{
    return errors->out_of_memory || !TAILQ_EMPTY(&errors->list);
}

void config_errors_write(const struct config_errors *errors, const char *file, FILE *out)
{
    const struct config_error *error;

    TAILQ_FOREACH (error, &errors->list, link) {
        if (error->line == 0)
            fprintf(out, "%s: %s\n", file, error->text);
        else
            fprintf(out, "%s:%d: %s\n", file, error->line, error->text);
    }
    if (errors->out_of_memory)
        fprintf(out, "%s: out of memory\n", file);
}
