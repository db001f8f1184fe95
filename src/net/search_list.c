/* SPDX-License-Identifier: ISC */
/* Reads search and ndots from resolv.conf, and lists the names to try. */
#include "net/search_list.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLANKS        " \t\r\n,"
#define NDOTS_DEFAULT 1
#define NDOTS_MAX     15 /* as in the C library */

/* Replaces the previous domains. 0, or -1 with ENOMEM. */
static int set_domains(struct search_list *list, const char *text, size_t length)
{
    char *copy = strndup(text, length);
    if (copy == NULL)
        return -1;
    free(list->domains);
    list->domains = copy;
    return 0;
}

static void set_options(struct search_list *list, const char *text)
{
    while (*(text += strspn(text, BLANKS)) != '\0') {
        unsigned ndots;
        if (sscanf(text, "ndots:%u", &ndots) == 1)
            list->ndots = ndots < NDOTS_MAX ? ndots : NDOTS_MAX;
        text += strcspn(text, BLANKS);
    }
}

/* The value of a line that begins with this keyword; NULL: it does not, or has no value. */
static const char *value_of(const char *line, const char *keyword)
{
    size_t length = strlen(keyword);
    if (strncmp(line, keyword, length) != 0)
        return NULL;
    const char *value = line + length + strspn(line + length, BLANKS);
    return value == line + length || *value == '\0' ? NULL : value;
}

/* The last `search` or `domain` applies. 0, or -1 with ENOMEM. */
static int read_line(struct search_list *list, const char *line)
{
    const char *value;
    if ((value = value_of(line, "search")) != NULL)
        return set_domains(list, value, strlen(value));
    if ((value = value_of(line, "domain")) != NULL)
        return set_domains(list, value, strcspn(value, BLANKS));
    if ((value = value_of(line, "options")) != NULL)
        set_options(list, value);
    return 0;
}

static int read_file(struct search_list *list, const char *file)
{
    char *line = NULL;
    size_t size = 0;
    int result = 0;
    FILE *stream = fopen(file, "re");
    if (stream == NULL)
        return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -1 : 0;
    while (result == 0 && getline(&line, &size, stream) >= 0)
        result = read_line(list, line);
    free(line);
    fclose(stream);
    return result;
}

static int read_environment(struct search_list *list)
{
    const char *options = getenv("RES_OPTIONS");
    const char *domains = getenv("LOCALDOMAIN");
    if (options != NULL)
        set_options(list, options);
    return domains == NULL ? 0 : set_domains(list, domains, strlen(domains));
}

static int take_own_domain(struct search_list *list)
{
    char name[HOST_NAME_MAX + 1] = "";
    if (list->domains != NULL || gethostname(name, sizeof(name) - 1) < 0)
        return 0;
    const char *dot = strchr(name, '.');
    return dot == NULL ? 0 : set_domains(list, dot + 1, strlen(dot + 1));
}

int search_list_read(struct search_list *list, const char *file)
{
    *list = (struct search_list){.ndots = NDOTS_DEFAULT};
    if (read_file(list, file) == 0 && read_environment(list) == 0 && take_own_domain(list) == 0)
        return 0;
    int number = errno;
    search_list_clear(list);
    errno = number;
    return -1;
}

void search_list_clear(struct search_list *list)
{
    free(list->domains);
    list->domains = NULL;
}

/* The domain at this position, without its final dot; the root is skipped, as the name on its own
 * is tried anyway. NULL: there are no more. */
static const char *find_domain(const struct search_list *list, size_t place, size_t *length)
{
    const char *text = list->domains == NULL ? "" : list->domains;
    while (*(text += strspn(text, BLANKS)) != '\0') {
        size_t whole = strcspn(text, BLANKS);
        *length = text[whole - 1] == '.' ? whole - 1 : whole;
        if (*length > 0 && place-- == 0)
            return text;
        text += whole;
    }
    return NULL;
}

static unsigned count_dots(const char *name)
{
    unsigned count = 0;
    for (; *name != '\0'; name++)
        count += *name == '.';
    return count;
}

static size_t count_domains(const struct search_list *list)
{
    size_t count = 0, length;
    while (find_domain(list, count, &length) != NULL)
        count++;
    return count;
}

bool search_list_name(const struct search_list *list, const char *name, size_t place,
                      char full[SEARCH_NAME_MAX])
{
    size_t end = strlen(name), length;
    bool is_full = end > 0 && name[end - 1] == '.';
    size_t domains = is_full ? 0 : count_domains(list);
    size_t itself = is_full || count_dots(name) >= list->ndots ? 0 : domains; /* its own position */
    if (place > domains)
        return false;
    if (place == itself) {
        snprintf(full, SEARCH_NAME_MAX, "%s%s", name, is_full ? "" : ".");
        return true;
    }
    const char *domain = find_domain(list, itself == 0 ? place - 1 : place, &length);
    snprintf(full, SEARCH_NAME_MAX, "%s.%.*s.", name, (int)length, domain);
    return true;
}
