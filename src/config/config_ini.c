/* SPDX-License-Identifier: ISC */
/* Has inih read one line at a time, so that each mistake is found with its line. */
#include "config/config_ini.h"

#include <assert.h>
#include <ini.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

static_assert(CONFIG_INI_LINE_MAX + 3 <= INI_MAX_LINE, "inih needs room for \\r, \\n and NUL");

/* inih silently truncates a section's name here (its MAX_SECTION, which no header defines). */
#define SECTION_MAX 48

/* A line is put between a section that no file can name and a key without a name. The section that
 * inih then reports for that last key shows whether the line opened one. */
#define BEFORE  "[\001]\n"
#define OUTSIDE "\001"
#define AFTER   "\n=\n"

struct reading {
    struct config_ini_line *line;
    bool pending; /* the pair stored in line may turn out to be the one of AFTER */
};

static void keep(char to[CONFIG_INI_LINE_MAX + 1], const char *from)
{
    snprintf(to, CONFIG_INI_LINE_MAX + 1, "%s", from);
}

/* inih's handler: called for the line's own pair, if it has one, and then for that of AFTER. */
static int take_pair(void *user, const char *section, const char *name, const char *value)
{
    struct reading *reading = user;
    struct config_ini_line *line = reading->line;

    if (reading->pending)
        line->kind = INI_KEY;
    if (line->kind == INI_KEY)
        return 1;
    if (strcmp(section, OUTSIDE) != 0) {
        line->kind = INI_SECTION;
        keep(line->name, section);
        return 1;
    }
    keep(line->name, name);
    keep(line->value, value != NULL ? value : "");
    reading->pending = true;
    return 1;
}

/* inih's result for a text; false if it is not INI. */
static bool read_text(struct config_ini_line *parsed, const char *text)
{
    char whole[sizeof(BEFORE) + CONFIG_INI_LINE_MAX + sizeof(AFTER)];
    struct reading reading = {.line = parsed};

    parsed->kind = INI_NOTHING;
    snprintf(whole, sizeof(whole), BEFORE "%s" AFTER, text);
    return ini_parse_string(whole, take_pair, &reading) == 0;
}

/* inih ignores anything after the ']'. */
static bool has_rubbish_after_section(const char *text)
{
    struct config_ini_line rest;
    const char *close = strchr(text, ']');

    return close != NULL && (!read_text(&rest, close + 1) || rest.kind != INI_NOTHING);
}

static PRINTF(2, 3) void set_mistake(struct config_ini_line *parsed, const char *format, ...)
{
    va_list args;

    parsed->kind = INI_MISTAKE;
    va_start(args, format);
    vsnprintf(parsed->mistake, sizeof(parsed->mistake), format, args);
    va_end(args);
}

/* The first byte that does not belong in a text file, or -1. */
static int find_control(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)line[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return c;
    }
    return -1;
}

void config_ini_parse(struct config_ini_line *parsed, const char *line, size_t length)
{
    char text[CONFIG_INI_LINE_MAX + 1];

    if (length > 0 && line[length - 1] == '\n')
        length--;
    if (length > 0 && line[length - 1] == '\r')
        length--;
    int control = find_control(line, length);
    if (control >= 0) {
        set_mistake(parsed, "control character (byte 0x%02x)", (unsigned)control);
        return;
    }
    if (length > CONFIG_INI_LINE_MAX) {
        set_mistake(parsed, "line of %zu characters, at most %d are allowed", length,
                    CONFIG_INI_LINE_MAX);
        return;
    }
    memcpy(text, line, length);
    text[length] = '\0';
    if (!read_text(parsed, text))
        set_mistake(parsed, "neither [section] nor key = value");
    else if (parsed->kind == INI_KEY && *parsed->name == '\0')
        set_mistake(parsed, "no key before the =");
    else if (parsed->kind == INI_SECTION && strlen(parsed->name) > SECTION_MAX)
        set_mistake(parsed, "section name of more than %d characters", SECTION_MAX);
    else if (parsed->kind == INI_SECTION && has_rubbish_after_section(text))
        set_mistake(parsed, "text after the ] of a section");
}
