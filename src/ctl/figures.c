/* SPDX-License-Identifier: ISC */
#include "ctl/figures.h"

#include <string.h>

#include "base/util.h"

const json_t *figure_at(const json_t *from, const char *path)
{
    char name[64];
    while (from != NULL && *path != '\0') {
        size_t length = strcspn(path, ".");
        if (length >= sizeof(name))
            return NULL;
        memcpy(name, path, length);
        name[length] = '\0';
        from = json_object_get(from, name);
        path += length + (path[length] == '.');
    }
    return from;
}

bool figure_is_known(const json_t *from, const char *path)
{
    return json_is_number(figure_at(from, path));
}

double figure_number(const json_t *from, const char *path)
{
    return json_number_value(figure_at(from, path));
}

double figure_sum(const json_t *from, const char *path)
{
    const json_t *value = figure_at(from, path);
    if (!json_is_object(value))
        return json_number_value(value);
    double sum = 0;
    /* json_object_iter does not take a const object, but changes nothing. */
    json_t *object = (json_t *)(uintptr_t)value;
    for (void *i = json_object_iter(object); i != NULL; i = json_object_iter_next(object, i))
        sum += json_number_value(json_object_iter_value(i));
    return sum;
}

const char *figure_text(const json_t *from, const char *path)
{
    const char *text = json_string_value(figure_at(from, path));
    return text == NULL ? "" : text;
}

bool figure_is_true(const json_t *from, const char *path)
{
    return json_is_true(figure_at(from, path));
}
