/* SPDX-License-Identifier: ISC */
#include "ctl/table.h"

#include <limits.h>
#include <stdlib.h>

#include "ctl/text.h"

#define NARROW 16 /* of a column that shrinks, once no more columns can be left out */
#define GAP    2

static const char *const codes[] = {[COLOUR_BOLD] = "\033[1m",
                                    [COLOUR_RED] = "\033[1;31m",
                                    [COLOUR_YELLOW] = "\033[33m",
                                    [COLOUR_INVERSE] = "\033[7m"};

void look_begin(FILE *out, const struct look *look, enum colour colour)
{
    if (look->colour && colour != COLOUR_NONE)
        fputs(codes[colour], out);
}

void look_end(FILE *out, const struct look *look, enum colour colour)
{
    if (look->colour && colour != COLOUR_NONE)
        fputs("\033[m", out);
}

void look_line(FILE *out, const struct look *look, enum colour colour, const char *text)
{
    char *clean = text_clean(text);
    look_begin(out, look, colour);
    text_write(out, clean, look->width == 0 ? UINT_MAX : look->width);
    look_end(out, look, colour);
    putc('\n', out);
    free(clean);
}

void table_begin(struct table *table, const struct column *columns, size_t count)
{
    *table = (struct table){.columns = columns, .column_count = count};
}

static void grow(struct table *table)
{
    size_t size = table->size == 0 ? 64 : table->size * 2;
    char **cells = reallocarray(table->cells, size, sizeof(*cells));
    if (cells == NULL)
        text_no_memory();
    table->cells = cells;
    enum colour *colours = reallocarray(table->colours, size, sizeof(*colours));
    if (colours == NULL)
        text_no_memory();
    table->colours = colours;
    table->size = size;
}

void table_add(struct table *table, const char *text)
{
    if (table->cell_count == table->size)
        grow(table);
    table->cells[table->cell_count] = text_clean(text);
    table->colours[table->cell_count++] = COLOUR_NONE;
}

void table_colour(struct table *table, enum colour colour)
{
    table->colours[table->cell_count - 1] = colour;
}

/* Widths of the columns; 0: left out. */
static void measure(const struct table *table, unsigned widths[TABLE_COLUMNS_MAX])
{
    for (size_t i = 0; i < table->column_count; i++)
        widths[i] = text_width(table->columns[i].title);
    for (size_t i = 0; i < table->cell_count; i++) {
        unsigned width = text_width(table->cells[i]);
        unsigned *widest = &widths[i % table->column_count];
        if (width > *widest)
            *widest = width;
    }
}

static unsigned total(const struct table *table, const unsigned widths[TABLE_COLUMNS_MAX])
{
    unsigned sum = 0;
    for (size_t i = 0; i < table->column_count; i++)
        sum += widths[i] == 0 ? 0 : widths[i] + GAP;
    return sum < GAP ? 0 : sum - GAP;
}

/* Takes `excess` columns of width from the widest columns that shrink, repeatedly: down to their
 * least width, or even to NARROW. Returns what is still missing. */
static unsigned shrink(const struct table *table, unsigned widths[TABLE_COLUMNS_MAX],
                       unsigned excess, bool to_narrow)
{
    while (excess > 0) {
        size_t widest = table->column_count;
        for (size_t i = 0; i < table->column_count; i++) {
            unsigned least = table->columns[i].least;
            if (least > 0 && widths[i] > (to_narrow ? NARROW : least) &&
                (widest == table->column_count || widths[i] > widths[widest]))
                widest = i;
        }
        if (widest == table->column_count)
            break;
        widths[widest]--;
        excess--;
    }
    return excess;
}

/* The least width without leaving a column out. */
static unsigned narrowest(const struct table *table, const unsigned widths[TABLE_COLUMNS_MAX])
{
    unsigned narrow[TABLE_COLUMNS_MAX];
    memcpy(narrow, widths, sizeof(narrow));
    (void)shrink(table, narrow, UINT_MAX, false);
    return total(table, narrow);
}

static void fit(const struct table *table, unsigned widths[TABLE_COLUMNS_MAX], unsigned width)
{
    while (narrowest(table, widths) > width) {
        size_t least = table->column_count;
        for (size_t i = 0; i < table->column_count; i++) {
            if (widths[i] > 0 && table->columns[i].rank > 0 &&
                (least == table->column_count ||
                 table->columns[i].rank >= table->columns[least].rank))
                least = i;
        }
        if (least == table->column_count)
            break;
        widths[least] = 0;
    }
    unsigned sum = total(table, widths);
    unsigned excess = shrink(table, widths, sum > width ? sum - width : 0, false);
    (void)shrink(table, widths, excess, true);
}

static void pad(FILE *out, unsigned count)
{
    fprintf(out, "%*s", (int)count, "");
}

struct row {
    const char *const *cells;
    const enum colour *colours; /* NULL: a row of titles */
};

/* Nothing is written past `limit` columns, and no trailing spaces. */
static void write_row(const struct table *table, FILE *out, const struct look *look,
                      const unsigned widths[TABLE_COLUMNS_MAX], const struct row *row)
{
    unsigned limit = look->width == 0 ? UINT_MAX : look->width, at = 0, owed = 0;
    for (size_t i = 0; i < table->column_count; i++) {
        enum colour colour = row->colours == NULL ? COLOUR_BOLD : row->colours[i];
        unsigned natural = text_width(row->cells[i]);
        if (widths[i] == 0)
            continue;
        unsigned width = natural < widths[i] ? natural : widths[i], before = owed;
        if (table->columns[i].is_number)
            before += widths[i] - width;
        if (at + before >= limit)
            break;
        if (at + before + width > limit)
            width = limit - at - before;
        owed = GAP + (table->columns[i].is_number ? 0 : widths[i] - width);
        if (width == 0) {
            owed += before;
            continue;
        }
        pad(out, before);
        look_begin(out, look, colour);
        at += before + text_write(out, row->cells[i], width);
        look_end(out, look, colour);
    }
    putc('\n', out);
}

void table_end(struct table *table, FILE *out, const struct look *look)
{
    unsigned widths[TABLE_COLUMNS_MAX] = {0};
    const char *titles[TABLE_COLUMNS_MAX];
    measure(table, widths);
    if (look->width > 0)
        fit(table, widths, look->width);
    for (size_t i = 0; i < table->column_count; i++)
        titles[i] = table->columns[i].title;
    write_row(table, out, look, widths, &(struct row){titles, NULL});
    for (size_t i = 0; i < table->cell_count; i += table->column_count)
        write_row(table, out, look, widths,
                  &(struct row){(const char *const *)&table->cells[i], &table->colours[i]});
    for (size_t i = 0; i < table->cell_count; i++)
        free(table->cells[i]);
    free(table->cells);
    free(table->colours);
}
