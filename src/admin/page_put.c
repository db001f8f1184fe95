/* SPDX-License-Identifier: ISC */
/* Texts, escaped, and numbers as humans read them. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

#include "admin/page_internal.h"
#include "base/utf8.h"

#define DASH "&ndash;"

static void put(struct page *page, const char *bytes, size_t length)
{
    if (!page->failed && evbuffer_add(page->out, bytes, length) < 0)
        page->failed = true;
}

void page_put(struct page *page, const char *html)
{
    put(page, html, strlen(html));
}

void page_putf(struct page *page, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    page_put(page, text);
}

/* What is put in its place; NULL: itself. */
static const char *entity(uint32_t character)
{
    switch (character) {
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '&':
        return "&amp;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    case '\t':
    case '\n':
    case '\r':
        return " ";
    default:
        break;
    }
    bool is_control = character < 0x20 || (character >= 0x7f && character < 0xa0);
    /* These change the direction in which text is read, so that it could look like another text. */
    bool is_direction = (character >= 0x202a && character <= 0x202e) ||
                        (character >= 0x2066 && character <= 0x2069);
    return is_control || is_direction ? "&#xfffd;" : NULL;
}

void page_put_text(struct page *page, const char *text, size_t length)
{
    size_t plain = 0;
    while (plain < length) {
        uint32_t character = 0;
        size_t width = utf8_decode(text + plain, length - plain, &character);
        const char *instead = width == 0 ? "&#xfffd;" : entity(character);
        if (instead == NULL) {
            plain += width;
            continue;
        }
        put(page, text, plain);
        page_put(page, instead);
        plain += width == 0 ? 1 : width;
        text += plain;
        length -= plain;
        plain = 0;
    }
    put(page, text, length);
}

void page_put_value(struct page *page, const json_t *value)
{
    if (json_is_string(value))
        page_put_text(page, json_string_value(value), json_string_length(value));
    else if (json_is_integer(value))
        page_putf(page, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        page_put_number(page, json_real_value(value));
    else if (json_is_boolean(value))
        page_put(page, json_is_true(value) ? "yes" : "no");
    else
        page_put(page, DASH);
}

bool page_is(const json_t *value, const char *text)
{
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

const json_t *page_at(const json_t *from, const char *path)
{
    char name[64];
    while (from != NULL) {
        size_t length = strcspn(path, ".");
        snprintf(name, sizeof(name), "%.*s", (int)length, path);
        from = json_object_get(from, name);
        if (path[length] == '\0')
            break;
        path += length + 1;
    }
    return from;
}

double page_number(const json_t *from, const char *path)
{
    const json_t *value = page_at(from, path);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

double page_count(const json_t *from, const char *path)
{
    double number = page_number(from, path);
    return isfinite(number) ? number : 0;
}

/* With one decimal if there would be a single digit and the number is not whole. */
static void put_short(struct page *page, double number, const char *unit)
{
    bool is_whole = number == floor(number);
    page_putf(page, "%.*f%s", fabs(number) < 9.95 && !is_whole ? 1 : 0, number, unit);
}

static void put_scaled(struct page *page, double number, const char *const units[], size_t count)
{
    size_t unit = 0;
    if (!isfinite(number)) {
        page_put(page, DASH);
        return;
    }
    while (unit + 1 < count && fabs(number) >= 999.5) {
        number /= 1000;
        unit++;
    }
    put_short(page, number, units[unit]);
}

void page_put_number(struct page *page, double number)
{
    static const char *const units[] = {"", "k", "M", "G", "T"};
    if (number > 0 && number < 0.005)
        page_put(page, "&lt;0.01");
    else if (number > 0 && number < 0.95)
        page_putf(page, "%.2g", number);
    else
        put_scaled(page, number, units, ARRAY_LEN(units));
}

void page_put_exact(struct page *page, double number)
{
    if (isfinite(number))
        page_putf(page, "%.0f", number);
    else
        page_put(page, DASH);
}

void page_put_bytes(struct page *page, double bytes)
{
    static const char *const units[] = {" B", " kB", " MB", " GB", " TB"};
    put_scaled(page, bytes, units, ARRAY_LEN(units));
}

#define MINUTE 60.0
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

/* In two units: 3 d 4 h. */
static void put_long_span(struct page *page, double seconds)
{
    bool days = seconds >= DAY;
    double large = floor(seconds / (days ? DAY : HOUR));
    double rest = floor(fmod(seconds, days ? DAY : HOUR) / (days ? HOUR : MINUTE));
    page_putf(page, "%.0f %s", large, days ? "d" : "h");
    if (rest > 0 && large < 100)
        page_putf(page, " %.0f %s", rest, days ? "h" : "min");
}

void page_put_span(struct page *page, double seconds)
{
    if (!isfinite(seconds))
        page_put(page, DASH);
    else if (seconds <= 0)
        page_put(page, "0");
    else if (seconds < 0.00005)
        page_put(page, "&lt;0.1 ms");
    else if (seconds < 0.9995)
        put_short(page, seconds * 1000, " ms");
    else if (seconds < 2 * MINUTE)
        put_short(page, seconds, " s");
    else if (seconds < 2 * HOUR)
        page_putf(page, "%.0f min", floor(seconds / MINUTE));
    else
        put_long_span(page, seconds);
}

void page_put_share(struct page *page, double share)
{
    if (!isfinite(share))
        page_put(page, DASH);
    else if (share > 0.99 && share < 1) /* a share just below 100 % must not show as 100 % */
        page_putf(page, "%.1f %%", floor(share * 1000) / 10);
    else
        page_putf(page, "%.0f %%", share * 100);
}

void page_put_age(struct page *page, double moment)
{
    double age = page->now - moment;
    page_put_span(page, age < 0 ? 0 : age);
}

void page_put_moment(struct page *page, double moment)
{
    struct tm parts;
    char text[64];
    time_t seconds = isfinite(moment) && fabs(moment) < 1e12 ? (time_t)moment : 0;
    if (seconds == 0 || gmtime_r(&seconds, &parts) == NULL ||
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &parts) == 0)
        page_put(page, DASH);
    else
        page_put(page, text);
}

/* The first bytes of a digest of texts. They only have to differ where the texts do. */
static struct page_anchor make_anchor(char kind, const json_t *from, const char *const names[],
                                      size_t count)
{
    struct page_anchor anchor;
    unsigned char sum[EVP_MAX_MD_SIZE] = {0};
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; ok && i < count; i++) {
        const json_t *text = json_object_get(from, names[i]);
        if (json_is_string(text))
            ok = EVP_DigestUpdate(context, json_string_value(text), json_string_length(text)) == 1;
        ok = ok && EVP_DigestUpdate(context, "", 1) == 1;
    }
    if (ok)
        EVP_DigestFinal_ex(context, sum, NULL);
    EVP_MD_CTX_free(context);
    uint64_t first;
    memcpy(&first, sum, sizeof(first));
    snprintf(anchor.text, sizeof(anchor.text), "%c%016" PRIx64, kind, first);
    return anchor;
}

struct page_anchor page_host_anchor(const json_t *host)
{
    static const char *const names[] = {"pool", "upstream", "tls"};
    return make_anchor('h', host, names, ARRAY_LEN(names));
}

struct page_anchor page_listener_anchor(const json_t *from, const char *name)
{
    return make_anchor('l', from, &name, 1);
}

void page_put_state(struct page *page, const json_t *state)
{
    if (!json_is_string(state) || page_is(state, "open"))
        return;
    page_put(page, " <b class=\"badge\">");
    page_put_value(page, state);
    page_put(page, "</b>");
}

void page_put_table(struct page *page, const char *class, const char *caption,
                    const struct page_column *columns, size_t count)
{
    page_putf(page, "<table class=\"%s\"><caption>%s</caption><thead><tr>", class, caption);
    for (size_t i = 0; i < count; i++) {
        page_put(page, "<th scope=\"col\"");
        if (columns[i].hint != NULL)
            page_putf(page, " title=\"%s\"", columns[i].hint);
        page_putf(page, ">%s</th>", columns[i].title);
    }
    page_put(page, "</tr></thead>\n");
}

void page_put_cell(struct page *page, const struct page_column *column)
{
    page_putf(page, "<td data-title=\"%s\">", column->title);
}
