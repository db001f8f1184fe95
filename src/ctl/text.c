/* SPDX-License-Identifier: ISC */
/* Widths and printable characters depend on the locale. */
#include "ctl/text.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "ctl/exits.h"

void text_no_memory(void)
{
    fputs("kaproxyctl: out of memory\n", stderr);
    exit(EXIT_UNREACHABLE);
}

/* The first character: its bytes and columns; 0 columns: not printable. */
struct glyph {
    size_t bytes;
    unsigned columns;
};

static struct glyph glyph_at(const char *text)
{
    wchar_t wide;
    mbstate_t state;
    memset(&state, 0, sizeof(state));
    size_t bytes = mbrtowc(&wide, text, MB_LEN_MAX, &state);
    if (bytes == 0 || bytes > MB_LEN_MAX)
        return (struct glyph){.bytes = 1};
    int columns = wcwidth(wide);
    return (struct glyph){bytes, columns > 0 ? (unsigned)columns : 0};
}

char *text_clean(const char *text)
{
    char *clean = malloc(strlen(text) + 1);
    size_t length = 0;
    if (clean == NULL)
        text_no_memory();
    while (*text != '\0') {
        struct glyph glyph = glyph_at(text);
        if (glyph.columns == 0)
            clean[length++] = '?';
        else
            length += (size_t)((char *)mempcpy(clean + length, text, glyph.bytes) - clean) - length;
        text += glyph.bytes;
    }
    clean[length] = '\0';
    return clean;
}

unsigned text_width(const char *text)
{
    unsigned width = 0;
    while (*text != '\0') {
        struct glyph glyph = glyph_at(text);
        width += glyph.columns;
        text += glyph.bytes;
    }
    return width;
}

unsigned text_write(FILE *out, const char *text, unsigned width)
{
    unsigned all = text_width(text), room = all > width && width > 0 ? width - 1 : width;
    unsigned used = 0;
    while (*text != '\0') {
        struct glyph glyph = glyph_at(text);
        if (used + glyph.columns > room)
            break;
        fwrite(text, 1, glyph.bytes, out);
        used += glyph.columns;
        text += glyph.bytes;
    }
    if (all > width && width > 0) {
        putc('~', out);
        used++;
    }
    return used;
}

/* Two units, the second one with two digits. */
static const char *two_units(double seconds, const char *units, double big, double small,
                             char text[TEXT_NUMBER_MAX])
{
    double first = floor(seconds / big), second = floor((seconds - first * big) / small);
    snprintf(text, TEXT_NUMBER_MAX, "%.0f%c%02.0f%c", first, units[0], second, units[1]);
    return text;
}

const char *text_span(double seconds, char text[TEXT_NUMBER_MAX])
{
    if (seconds < 0)
        seconds = 0;
    if (seconds == 0)
        snprintf(text, TEXT_NUMBER_MAX, "0 s");
    else if (seconds < 0.01)
        snprintf(text, TEXT_NUMBER_MAX, "%.1f ms", seconds * 1000);
    else if (seconds < 0.9995)
        snprintf(text, TEXT_NUMBER_MAX, "%.0f ms", seconds * 1000);
    else if (seconds < 60)
        snprintf(text, TEXT_NUMBER_MAX, "%.1f s", seconds);
    else if (seconds < 3600)
        return two_units(seconds, "ms", 60, 1, text);
    else if (seconds < 86400)
        return two_units(seconds, "hm", 3600, 60, text);
    else if (seconds < 1e12)
        return two_units(seconds, "dh", 86400, 3600, text);
    else
        snprintf(text, TEXT_NUMBER_MAX, "%.3g s", seconds);
    return text;
}

const char *text_bytes(double bytes, char text[TEXT_NUMBER_MAX])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    size_t unit = 0;
    for (; bytes >= 1023.95 && unit + 1 < ARRAY_LEN(units); unit++)
        bytes /= 1024;
    if (bytes >= 1e6)
        snprintf(text, TEXT_NUMBER_MAX, "%.3g %s", bytes, units[unit]);
    else
        snprintf(text, TEXT_NUMBER_MAX, "%.*f %s", unit == 0 ? 0 : 1, bytes, units[unit]);
    return text;
}

const char *text_count(double count, char text[TEXT_NUMBER_MAX])
{
    snprintf(text, TEXT_NUMBER_MAX, fabs(count) < 1e15 ? "%.0f" : "%.3g", count);
    return text;
}

const char *text_rate(double per_second, char text[TEXT_NUMBER_MAX])
{
    if (per_second > 0 && per_second < 99.95)
        snprintf(text, TEXT_NUMBER_MAX, "%.1f", per_second);
    else
        text_count(per_second, text);
    return text;
}

const char *text_share(double share, char text[TEXT_NUMBER_MAX])
{
    /* Rounded down: 100 % means all. */
    snprintf(text, TEXT_NUMBER_MAX, "%.3g %%", floor(share * 1000) / 10);
    return text;
}
