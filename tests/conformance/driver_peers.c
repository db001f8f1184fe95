/* SPDX-License-Identifier: ISC */
/* Commands about the far side and about names. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"

#define LOOPBACK "127.0.0.1"

struct upstream *driver_upstream(struct driver *driver, const char *name)
{
    struct upstream *upstream;
    TAILQ_FOREACH_REVERSE(upstream, &driver->upstreams, upstream_list, link)
    {
        if (strcmp(upstream->name, name) == 0)
            return upstream;
    }
    driver_fail("no server %s", name);
}

void command_server(struct driver *driver, const struct words *words)
{
    const char *value = words_value(words, "mode");
    enum peer_mode mode = PEER_ACCEPT;
    if (value != NULL && strcmp(value, "refuse") == 0)
        mode = PEER_REFUSE;
    else if (value != NULL && strcmp(value, "blackhole") == 0)
        mode = PEER_BLACKHOLE;
    else if (value != NULL && strcmp(value, "accept") != 0)
        driver_fail("no such mode: %s", value);

    struct upstream *upstream = driver_calloc(sizeof(*upstream));
    driver_name(upstream->name, words_at(words, 1));
    if (peer_open(&upstream->peer, LOOPBACK, mode) < 0)
        driver_fail("server %s: %s", upstream->name, strerror(errno));
    TAILQ_INSERT_TAIL(&driver->upstreams, upstream, link);
}

void command_unblock(struct driver *driver, const struct words *words)
{
    peer_unblock(&driver_upstream(driver, words_at(words, 1))->peer);
}

/* The connection that "of=R" refers to, or NULL. */
static struct peer_conn *conn_of(struct driver *driver, const struct words *words)
{
    const char *name = words_value(words, "of");
    const struct request *request = name != NULL ? driver_request(driver, name) : NULL;
    return request != NULL ? request->conn : NULL;
}

void command_server_close(struct driver *driver, const struct words *words)
{
    struct peer_conn *conn = conn_of(driver, words);
    if (conn == NULL)
        trace_refused(driver);
    else
        peer_conn_close(conn);
}

void command_server_send(struct driver *driver, const struct words *words)
{
    const struct peer_conn *conn = conn_of(driver, words);
    if (conn == NULL || conn->fd < 0)
        trace_refused(driver);
    else
        peer_conn_send(conn);
}

void command_server_state(struct driver *driver, const struct words *words)
{
    struct upstream *upstream = driver_upstream(driver, words_at(words, 1));
    struct peer *peer = &upstream->peer;
    const struct peer_conn *conn;
    size_t count = 0;
    peer_accept(peer);
    TAILQ_FOREACH (conn, &peer->conns, link)
        count++;

    char(*states)[64] = driver_calloc((count + 1) * sizeof(*states));
    const char **texts = driver_calloc((count + 1) * sizeof(*texts));
    size_t i = 0;
    TAILQ_FOREACH (conn, &peer->conns, link) {
        snprintf(states[i], sizeof(states[i]), "%s=%s", driver_label(driver, conn),
                 peer_peek_name(peer_conn_peek(conn)));
        texts[i] = states[i];
        i++;
    }
    char prefix[DRIVER_NAME_MAX + 16];
    snprintf(prefix, sizeof(prefix), "= server %s", upstream->name);
    trace_sorted(driver, prefix, texts, count, "no connections");
    free(texts);
    free(states);
}

void command_open_total(struct driver *driver, const struct words *words)
{
    unsigned total = 0;
    for (size_t i = 1; i < words->count; i++) {
        struct peer *peer = &driver_upstream(driver, words->word[i])->peer;
        const struct peer_conn *conn;
        peer_accept(peer);
        TAILQ_FOREACH (conn, &peer->conns, link) {
            enum peer_peek peek = peer_conn_peek(conn);
            if (peek == PEER_OPEN || peek == PEER_DATA)
                total++;
        }
    }
    trace(driver, "= open-total %u", total);
}

void command_host(struct driver *driver, const struct words *words)
{
    const char *addresses = words_value(words, "addr");
    const char *value = words_value(words, "error");
    usec_t delay = words_seconds(words, "delay", 0);
    char error[160];
    if (value == NULL) {
        names_set(driver->names, words_at(words, 1), addresses, NULL, delay);
        return;
    }
    snprintf(error, sizeof(error), "%s", value);
    for (char *p = error; *p != '\0'; p++) {
        if (*p == '_')
            *p = ' ';
    }
    names_set(driver->names, words_at(words, 1), NULL, error, delay);
}

/* Dials that were started begin first [30]: in the original they have asked already. */
void command_lookups(struct driver *driver, const struct words *words)
{
    driver_step(driver);
    char *line = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&line, &length);
    if (out == NULL)
        driver_fail("out of memory");
    fputs("= lookups", out);
    for (size_t i = 1; i < words->count; i++)
        fprintf(out, " %s=%u", words->word[i], names_count(driver->names, words->word[i]));
    fclose(out);
    trace(driver, "%s", line);
    free(line);
}
