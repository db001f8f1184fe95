/* SPDX-License-Identifier: ISC */
#include "ctl/views.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/figures.h"
#include "ctl/text.h"

/* How narrow columns may get. Names that distinguish rows are shown in full, if possible. */
#define NARROW  16
#define CLIENTS 21 /* 255.255.255.255:65535 */
#define NAMES   44

const struct view_order view_host_orders[VIEW_HOST_ORDERS] = {
    {"name", NULL, false},
    {"waiting", "metrics.waiting", false},
    {"in use", "metrics.connections", false},
    {"grants", "rates.grants", false},
    {"failures", "rates.failures", false}};
const struct view_order view_session_orders[VIEW_SESSION_ORDERS] = {{"age", NULL, false},
                                                                    {"quiet", "quiet", false},
                                                                    {"waiting", "waiting", false},
                                                                    {"bytes", "bytes_down", false}};

/* As in the titles of the tables. */
const struct view_order view_host_columns[] = {
    {"upstream", "upstream", true},
    {"pool", "pool", true},
    {"state", "state", true},
    {"in-use", "metrics.connections.busy", false},
    {"held", "metrics.connections.held", false},
    {"connecting", "metrics.connections.connecting", false},
    {"idle", "metrics.connections.idle", false},
    {"max", "limits.max_per_host", false},
    {"waiting", "metrics.waiting", false},
    {"longest", "oldest_wait", false},
    {"grants/s", "rates.grants", false},
    {"reused", "reuse", false},
    {"99-wait", "wait.p99", false},
    {"failures/s", "rates.failures", false},
    {"last-error", "last_error.at", false},
    {NULL, NULL, false}};
const struct view_order view_session_columns[] = {{"age", "age", false},
                                                  {"state", "state", true},
                                                  {"listener", "listener", true},
                                                  {"client", "client", true},
                                                  {"quiet", "quiet", false},
                                                  {"waiting", "waiting", false},
                                                  {"from-client", "bytes_up", false},
                                                  {"to-client", "bytes_down", false},
                                                  {"conn", "conn", false},
                                                  {NULL, NULL, false}};

static const char *skip_marks(const char *text)
{
    while (*text != '\0' && !isalnum((unsigned char)*text))
        text++;
    return text;
}

static bool is_same_name(const char *a, const char *b)
{
    for (;; a++, b++) {
        a = skip_marks(a);
        b = skip_marks(b);
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
            return false;
        if (*a == '\0')
            return true;
    }
}

const struct view_order *view_find_column(const struct view_order *columns, const char *name)
{
    for (; columns->name != NULL; columns++) {
        if (is_same_name(columns->name, name))
            return columns;
    }
    return NULL;
}

/* One item of a list, and its sort key. */
struct place_in_order {
    const json_t *row;
    double key;
    const char *text; /* shown before the key; NULL: none */
    size_t index;
};

static int compare(const void *a, const void *b)
{
    const struct place_in_order *one = a, *other = b;
    int texts = one->text == NULL ? 0 : strcmp(one->text, other->text);
    if (texts != 0)
        return texts;
    if (one->key != other->key)
        return one->key > other->key ? -1 : 1;
    return one->index < other->index ? -1 : one->index > other->index;
}

static double key_of(const json_t *row, const char *path)
{
    if (path == NULL)
        return 0;
    if (strcmp(path, "metrics.connections") == 0)
        return figure_number(row, "metrics.connections.busy") +
               figure_number(row, "metrics.connections.held");
    return figure_sum(row, path);
}

/* The rows in order; the caller frees the array. */
static struct place_in_order *sorted(const json_t *list, const struct view_order *order)
{
    size_t count = json_array_size(list);
    struct place_in_order *rows = calloc(count + 1, sizeof(*rows));
    if (rows == NULL)
        text_no_memory();
    for (size_t i = 0; i < count; i++) {
        rows[i].row = json_array_get(list, i);
        if (order != NULL && order->is_text)
            rows[i].text = figure_text(rows[i].row, order->path);
        else
            rows[i].key = key_of(rows[i].row, order == NULL ? NULL : order->path);
        rows[i].index = i;
    }
    qsort(rows, count, sizeof(*rows), compare);
    return rows;
}

/* Cells of one row; "-" where there is no such figure, and "" or "-" for an ordinary zero, so that
 * other values stand out. */
static void add_count(struct table *table, const json_t *row, const char *path)
{
    char text[TEXT_NUMBER_MAX];
    table_add(table, figure_at(row, path) == NULL ? "-" : text_count(figure_sum(row, path), text));
}

static void add_rate(struct table *table, const json_t *row, const char *path)
{
    char text[TEXT_NUMBER_MAX];
    table_add(table, figure_is_known(row, path) ? text_rate(figure_number(row, path), text) : "-");
}

static void add_span(struct table *table, const json_t *row, const char *path)
{
    char text[TEXT_NUMBER_MAX];
    bool is_some = figure_number(row, path) > 0;
    table_add(table, is_some ? text_span(figure_number(row, path), text) : "-");
}

static void add_bytes(struct table *table, const json_t *row, const char *path)
{
    char text[TEXT_NUMBER_MAX];
    table_add(table, figure_is_known(row, path) ? text_bytes(figure_number(row, path), text) : "-");
}

/* 0 means none. */
static void add_limit(struct table *table, const json_t *row, const char *path)
{
    char text[TEXT_NUMBER_MAX];
    bool is_some = figure_number(row, path) > 0;
    table_add(table, is_some ? text_count(figure_number(row, path), text) : "-");
}

static enum colour severity_colour(const char *severity)
{
    if (strcmp(severity, "critical") == 0)
        return COLOUR_RED;
    return strcmp(severity, "warning") == 0 ? COLOUR_YELLOW : COLOUR_NONE;
}

static void write_problem(FILE *out, const json_t *problem, const struct look *look)
{
    const char *severity = figure_text(problem, "severity"), *text = figure_text(problem, "text");
    char *line;
    if (asprintf(&line, "%-8s  %s", severity, text) < 0)
        text_no_memory();
    look_line(out, look, severity_colour(severity), line);
    free(line);
}

void view_problems(FILE *out, const json_t *status, const struct look *look, size_t most)
{
    const json_t *problems = json_object_get(status, "problems");
    size_t count = json_array_size(problems), shown = count <= most ? count : most - 1;
    char line[80];
    if (count == 0)
        look_line(out, look, COLOUR_NONE, "No problems.");
    for (size_t i = 0; i < shown; i++)
        write_problem(out, json_array_get(problems, i), look);
    if (shown < count) {
        snprintf(line, sizeof(line), "and %zu problems more", count - shown);
        look_line(out, look, COLOUR_YELLOW, line);
    }
}

/* How many rows of a list have text in a member. */
static unsigned count_where(const json_t *list, const char *path, const char *text)
{
    unsigned count = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        count += strcmp(figure_text(json_array_get(list, i), path), text) == 0;
    return count;
}

static void put_states(FILE *out, const json_t *list)
{
    static const char *const states[] = {"paused", "draining"};
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        unsigned count = count_where(list, "state", states[i]);
        if (count > 0)
            fprintf(out, ", %u %s", count, states[i]);
    }
}

static double sum_over(const json_t *list, const char *path)
{
    double sum = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        sum += figure_sum(json_array_get(list, i), path);
    return sum;
}

static unsigned count_down(const json_t *hosts)
{
    unsigned down = 0;
    for (size_t i = 0; i < json_array_size(hosts); i++)
        down += figure_is_true(json_array_get(hosts, i), "down");
    return down;
}

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

static void put_counts(FILE *out, const json_t *status)
{
    const json_t *listeners = json_object_get(status, "listeners"),
                 *hosts = json_object_get(status, "hosts"),
                 *pools = json_object_get(status, "pools");
    size_t listener_count = json_array_size(listeners), host_count = json_array_size(hosts);
    fprintf(out, "%zu listener%s", listener_count, plural(listener_count));
    put_states(out, listeners);
    fprintf(out, "; %zu upstream%s", host_count, plural(host_count));
    unsigned down = count_down(hosts);
    if (down > 0)
        fprintf(out, ", %u down", down);
    put_states(out, hosts);
    fprintf(out, "; %zu pool%s\n", json_array_size(pools), plural(json_array_size(pools)));
}

static void put_traffic(FILE *out, const json_t *status)
{
    const json_t *listeners = json_object_get(status, "listeners"),
                 *hosts = json_object_get(status, "hosts");
    char text[TEXT_NUMBER_MAX];
    fprintf(out, "%.0f", sum_over(listeners, "metrics.sessions"));
    if (figure_number(status, "process.max_clients") > 0)
        fprintf(out, " of %.0f", figure_number(status, "process.max_clients"));
    fprintf(out, " clients; connections: %.0f in use, %.0f held, %.0f connecting, %.0f idle; ",
            sum_over(hosts, "metrics.connections.busy"),
            sum_over(hosts, "metrics.connections.held"),
            sum_over(hosts, "metrics.connections.connecting"),
            sum_over(hosts, "metrics.connections.idle"));
    fprintf(out, "%.0f waiting\n", sum_over(hosts, "metrics.waiting"));
    fprintf(out, "%s clients/s, ", text_rate(sum_over(listeners, "rates.accepted"), text));
    fprintf(out, "%s grants/s, ", text_rate(sum_over(hosts, "rates.grants"), text));
    fprintf(out, "%s dials/s, ", text_rate(sum_over(hosts, "rates.dials"), text));
    fprintf(out, "%s failures/s, ", text_rate(sum_over(hosts, "rates.failures"), text));
    fprintf(out, "%s/s\n", text_bytes(sum_over(listeners, "rates.bytes"), text));
}

void view_summary(FILE *out, const json_t *status, const struct look *look)
{
    char *text = NULL, uptime[TEXT_NUMBER_MAX];
    size_t size;
    FILE *lines = open_memstream(&text, &size);
    if (lines == NULL)
        text_no_memory();
    fprintf(lines, "kaproxy %s, process %.0f, %s, up %s, %s\n",
            figure_text(status, "kaproxy.version"), figure_number(status, "kaproxy.pid"),
            figure_text(status, "kaproxy.state"),
            text_span(figure_number(status, "kaproxy.uptime"), uptime),
            figure_text(status, "kaproxy.config"));
    put_counts(lines, status);
    put_traffic(lines, status);
    if (fclose(lines) != 0)
        text_no_memory();
    for (char *line = text, *end; *line != '\0'; line = end + 1) {
        end = strchrnul(line, '\n');
        *end = '\0';
        look_line(out, look, COLOUR_NONE, line);
    }
    free(text);
}

void view_pools(FILE *out, const json_t *status, const struct look *look)
{
    static const struct column columns[] = {
        {"POOL", false, NARROW, 0},   {"IN USE", true, 0, 0},   {"HELD", true, 0, 3},
        {"CONNECTING", true, 0, 3},   {"IDLE", true, 0, 0},     {"WAITING", true, 0, 0},
        {"MAX PER HOST", true, 0, 1}, {"MAX OPEN", true, 0, 1}, {"MAX WAITING", true, 0, 2}};
    const json_t *pools = json_object_get(status, "pools");
    struct table table;
    table_begin(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < json_array_size(pools); i++) {
        const json_t *pool = json_array_get(pools, i);
        table_add(&table, figure_text(pool, "name"));
        add_count(&table, pool, "connections.busy");
        add_count(&table, pool, "connections.held");
        add_count(&table, pool, "connections.connecting");
        add_count(&table, pool, "connections.idle");
        add_count(&table, pool, "waiting");
        if (figure_number(pool, "waiting") > 0)
            table_colour(&table, COLOUR_YELLOW);
        add_limit(&table, pool, "limits.max_per_host");
        add_limit(&table, pool, "limits.max_open");
        add_limit(&table, pool, "limits.max_waiting");
    }
    table_end(&table, out, look);
}

static void add_state(struct table *table, const json_t *row)
{
    const char *state = figure_text(row, "state");
    table_add(table, state);
    if (strcmp(state, "open") != 0)
        table_colour(table, COLOUR_YELLOW);
}

static void add_addresses(struct table *table, const json_t *addresses)
{
    char text[512] = "";
    size_t length = 0;
    for (size_t i = 0; i < json_array_size(addresses) && length < sizeof(text); i++) {
        const char *address = json_string_value(json_array_get(addresses, i));
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%s", i == 0 ? "" : " ",
                                   address == NULL ? "" : address);
    }
    table_add(table, text);
}

void view_listeners(FILE *out, const json_t *status, const struct look *look)
{
    static const struct column columns[] = {
        {"LISTENER", false, NARROW, 0}, {"STATE", false, 0, 0},     {"ADDRESSES", false, NARROW, 4},
        {"UPSTREAM", false, NARROW, 2}, {"POOL", false, NARROW, 3}, {"SESSIONS", true, 0, 0},
        {"CLIENTS/S", true, 0, 0},      {"BYTES/S", true, 0, 1},    {"HALF WITHIN", true, 0, 1},
        {"99 % WITHIN", true, 0, 1},    {"OLDEST", true, 0, 2},     {"QUIET", true, 0, 3}};
    const json_t *listeners = json_object_get(status, "listeners");
    struct table table;
    table_begin(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < json_array_size(listeners); i++) {
        const json_t *listener = json_array_get(listeners, i);
        table_add(&table, figure_text(listener, "name"));
        add_state(&table, listener);
        add_addresses(&table, json_object_get(listener, "addresses"));
        table_add(&table, figure_text(listener, "upstream"));
        table_add(&table, figure_text(listener, "pool"));
        add_count(&table, listener, "metrics.sessions");
        add_rate(&table, listener, "rates.accepted");
        add_bytes(&table, listener, "rates.bytes");
        add_span(&table, listener, "exchange.p50");
        add_span(&table, listener, "exchange.p99");
        add_span(&table, listener, "oldest_session");
        add_span(&table, listener, "longest_quiet");
    }
    table_end(&table, out, look);
}

static void add_host_state(struct table *table, const json_t *host, double now)
{
    char span[TEXT_NUMBER_MAX], text[TEXT_NUMBER_MAX + 8];
    if (!figure_is_true(host, "down")) {
        add_state(table, host);
        return;
    }
    if (figure_is_known(host, "down_since"))
        snprintf(text, sizeof(text), "down %s",
                 text_span(fmax(now - figure_number(host, "down_since"), 0), span));
    else
        snprintf(text, sizeof(text), "down");
    table_add(table, text);
    table_colour(table, COLOUR_RED);
}

static void add_reuse(struct table *table, const json_t *host)
{
    char text[TEXT_NUMBER_MAX];
    table_add(table, figure_is_known(host, "reuse") ? text_share(figure_number(host, "reuse"), text)
                                                    : "-");
}

static void add_last_error(struct table *table, const json_t *host, double now)
{
    char span[TEXT_NUMBER_MAX], *text;
    if (!figure_is_known(host, "last_error.at")) {
        table_add(table, "");
        return;
    }
    if (asprintf(&text, "%s ago: %s",
                 text_span(floor(fmax(now - figure_number(host, "last_error.at"), 0)), span),
                 figure_text(host, "last_error.text")) < 0)
        text_no_memory();
    table_add(table, text);
    free(text);
}

/* Two may differ by their TLS settings alone, which are identified by a listener's name. */
static void add_upstream(struct table *table, const json_t *host)
{
    const char *upstream = figure_text(host, "upstream"), *tls = figure_text(host, "tls");
    char *text;
    if (asprintf(&text, *tls == '\0' ? "%s" : "%s (TLS: %s)", upstream, tls) < 0)
        text_no_memory();
    table_add(table, text);
    free(text);
}

static void add_host(struct table *table, const json_t *host, double now)
{
    add_upstream(table, host);
    table_add(table, figure_text(host, "pool"));
    add_host_state(table, host, now);
    add_count(table, host, "metrics.connections.busy");
    add_count(table, host, "metrics.connections.held");
    add_count(table, host, "metrics.connections.connecting");
    add_count(table, host, "metrics.connections.idle");
    add_limit(table, host, "limits.max_per_host");
    add_count(table, host, "metrics.waiting");
    if (figure_number(host, "metrics.waiting") > 0)
        table_colour(table, COLOUR_YELLOW);
    add_span(table, host, "oldest_wait");
    add_rate(table, host, "rates.grants");
    add_reuse(table, host);
    add_span(table, host, "wait.p99");
    add_rate(table, host, "rates.failures");
    if (figure_number(host, "rates.failures") > 0)
        table_colour(table, COLOUR_YELLOW);
    add_last_error(table, host, now);
}

void view_hosts(FILE *out, const json_t *status, const struct look *look,
                const struct view_order *order)
{
    static const struct column columns[] = {{"UPSTREAM", false, NAMES, 0},
                                            {"POOL", false, NARROW, 4},
                                            {"STATE", false, 0, 0},
                                            {"IN USE", true, 0, 0},
                                            {"HELD", true, 0, 5},
                                            {"CONNECTING", true, 0, 6},
                                            {"IDLE", true, 0, 1},
                                            {"MAX", true, 0, 3},
                                            {"WAITING", true, 0, 0},
                                            {"LONGEST", true, 0, 3},
                                            {"GRANTS/S", true, 0, 1},
                                            {"REUSED", true, 0, 2},
                                            {"99 % WAIT", true, 0, 5},
                                            {"FAILURES/S", true, 0, 2},
                                            {"LAST ERROR", false, NARROW, 7}};
    const json_t *hosts = json_object_get(status, "hosts");
    double now = figure_number(status, "kaproxy.now");
    struct place_in_order *rows = sorted(hosts, order);
    struct table table;
    table_begin(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < json_array_size(hosts); i++)
        add_host(&table, rows[i].row, now);
    table_end(&table, out, look);
    free(rows);
}

static void add_conn(struct table *table, const json_t *session)
{
    char text[TEXT_NUMBER_MAX];
    table_add(table, figure_is_known(session, "conn")
                         ? text_count(figure_number(session, "conn"), text)
                         : "-");
}

void view_sessions(FILE *out, const json_t *status, const struct look *look,
                   const struct view_order *order)
{
    static const struct column columns[] = {
        {"AGE", true, 0, 0},           {"STATE", false, 0, 0},    {"LISTENER", false, NARROW, 1},
        {"CLIENT", false, CLIENTS, 0}, {"QUIET", true, 0, 0},     {"WAITING", true, 0, 2},
        {"FROM CLIENT", true, 0, 3},   {"TO CLIENT", true, 0, 3}, {"CONN", true, 0, 4}};
    const json_t *sessions = json_object_get(status, "sessions");
    struct place_in_order *rows = sorted(sessions, order);
    struct table table;
    char text[80];
    table_begin(&table, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < json_array_size(sessions); i++) {
        const json_t *session = rows[i].row;
        add_span(&table, session, "age");
        table_add(&table, figure_text(session, "state"));
        table_add(&table, figure_text(session, "listener"));
        table_add(&table, figure_text(session, "client"));
        add_span(&table, session, "quiet");
        add_span(&table, session, "waiting");
        add_bytes(&table, session, "bytes_up");
        add_bytes(&table, session, "bytes_down");
        add_conn(&table, session);
    }
    table_end(&table, out, look);
    free(rows);
    if (figure_number(status, "sessions_left_out") > 0) {
        snprintf(text, sizeof(text), "and %.0f younger sessions",
                 figure_number(status, "sessions_left_out"));
        look_line(out, look, COLOUR_NONE, text);
    }
}
