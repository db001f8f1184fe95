/* SPDX-License-Identifier: ISC */
/* Which of the two formats an Accept field prefers. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "admin/exposition.h"

/* One media range of the field. */
struct range {
    const char *type; /* not terminated */
    size_t length;
    bool has_version;
    bool version_is_known; /* of OpenMetrics */
    double quality;
};

static const char *skip_space(const char *at)
{
    return at + strspn(at, " \t");
}

/* The end of a token or of a quoted string. */
static const char *skip_value(const char *at)
{
    if (*at != '"')
        return at + strcspn(at, ";, \t");
    for (at++; *at != '\0' && *at != '"'; at++) {
        if (*at == '\\' && at[1] != '\0')
            at++;
    }
    return *at == '"' ? at + 1 : at;
}

static bool is_text(const char *at, size_t length, const char *text)
{
    return length == strlen(text) && strncasecmp(at, text, length) == 0;
}

static bool is_known(const char *value, size_t length)
{
    if (length >= 2 && *value == '"') {
        value++;
        length -= 2;
    }
    return is_text(value, length, "1.0.0") || is_text(value, length, "0.0.1");
}

/* A quality that is not a number between 0 and 1 is ignored. */
static double parse_quality(const char *value, size_t length)
{
    double quality = 0, place = 1;
    bool fraction = false;
    for (size_t i = 0; i < length; i++) {
        if (value[i] == '.' && !fraction) {
            fraction = true;
        } else if (value[i] >= '0' && value[i] <= '9') {
            place = fraction ? place / 10 : 1;
            quality =
                fraction ? quality + place * (value[i] - '0') : quality * 10 + (value[i] - '0');
        } else {
            return 1;
        }
    }
    return quality > 1 || length == 0 ? 1 : quality;
}

static const char *parse_parameter(const char *at, struct range *range)
{
    const char *name = skip_space(at);
    size_t length = strcspn(name, "=;, \t");
    at = skip_space(name + length);
    if (*at != '=')
        return at;
    const char *value = skip_space(at + 1);
    at = skip_value(value);
    if (is_text(name, length, "q")) {
        range->quality = parse_quality(value, (size_t)(at - value));
    } else if (is_text(name, length, "version")) {
        range->has_version = true;
        range->version_is_known = is_known(value, (size_t)(at - value));
    }
    return skip_space(at);
}

/* Returns where the next one begins; NULL at the end. */
static const char *parse_range(const char *at, struct range *range)
{
    *range = (struct range){.type = skip_space(at), .quality = 1};
    range->length = strcspn(range->type, ";, \t");
    at = skip_space(range->type + range->length);
    while (*at == ';')
        at = parse_parameter(at + 1, range);
    at += strcspn(at, ",");
    return *at == ',' ? at + 1 : NULL;
}

bool exposition_wants_openmetrics(const char *accept)
{
    /* For text, the most specific range applies: text/plain, text, everything. */
    static const char *const texts[] = {"text/plain", "text/*", "*/*"};
    double text[ARRAY_LEN(texts)] = {-1, -1, -1}, openmetrics = 0;
    struct range range;
    while (accept != NULL) {
        accept = parse_range(accept, &range);
        if (is_text(range.type, range.length, "application/openmetrics-text") &&
            (!range.has_version || range.version_is_known) && range.quality > openmetrics)
            openmetrics = range.quality;
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
            if (is_text(range.type, range.length, texts[i]) && range.quality > text[i])
                text[i] = range.quality;
        }
    }
    size_t specific = 0;
    while (specific + 1 < ARRAY_LEN(texts) && text[specific] < 0)
        specific++;
    return openmetrics > 0 && openmetrics >= text[specific];
}
