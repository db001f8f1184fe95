/* SPDX-License-Identifier: ISC */
/* pool_driver FILE.scn: runs a conformance scenario against the pool, over real sockets, and
 * writes the trace. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "driver.h"

#define WAIT_MAX  (5 * USEC_PER_SEC)
#define SETTLE    (100 * USEC_PER_MSEC)
#define LINE_SIZE 4096

void driver_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fputs("pool_driver: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

void *driver_calloc(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL)
        driver_fail("out of memory");
    return memory;
}

void driver_name(char name[DRIVER_NAME_MAX], const char *word)
{
    if (*word == '\0' || strlen(word) >= DRIVER_NAME_MAX)
        driver_fail("bad name: '%s'", word);
    memcpy(name, word, strlen(word) + 1);
}

void trace(struct driver *driver, const char *format, ...)
{
    va_list args;
    char *line;
    va_start(args, format);
    int length = vasprintf(&line, format, args);
    va_end(args);
    if (length < 0)
        driver_fail("out of memory");
    if (!driver->holding) {
        puts(line);
        free(line);
        return;
    }
    driver->held = reallocarray(driver->held, driver->held_count + 1, sizeof(*driver->held));
    if (driver->held == NULL)
        driver_fail("out of memory");
    driver->held[driver->held_count++] = line;
}

void trace_refused(struct driver *driver)
{
    trace(driver, "! error");
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void trace_sorted(struct driver *driver, const char *prefix, const char **texts, size_t count,
                  const char *none)
{
    char *line = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&line, &length);
    if (out == NULL)
        driver_fail("out of memory");
    fputs(prefix, out);
    if (count == 0)
        fprintf(out, " %s", none);
    else
        qsort(texts, count, sizeof(*texts), compare_texts);
    for (size_t i = 0; i < count; i++)
        fprintf(out, " %s", texts[i]);
    fclose(out);
    trace(driver, "%s", line);
    free(line);
}

const char *words_at(const struct words *words, size_t place)
{
    return place < words->count ? words->word[place] : "";
}

const char *words_value(const struct words *words, const char *key)
{
    size_t length = strlen(key);
    for (size_t i = 1; i < words->count; i++) {
        if (strncmp(words->word[i], key, length) == 0 && words->word[i][length] == '=')
            return words->word[i] + length + 1;
    }
    return NULL;
}

static usec_t seconds(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0')
        driver_fail("not a number of seconds: '%s'", text);
    return (usec_t)(value * (double)USEC_PER_SEC);
}

usec_t words_seconds(const struct words *words, const char *key, usec_t otherwise)
{
    const char *value = words_value(words, key);
    return value != NULL ? seconds(value) : otherwise;
}

/* A wait's names are done when each of them is; a name that an answer is yet to mention counts as
 * not done. */
static bool all_over(struct driver *driver, const struct words *words)
{
    for (size_t i = 1; i < words->count; i++) {
        if (strchr(words->word[i], '=') != NULL)
            continue;
        const struct request *request = driver_request(driver, words->word[i]);
        if (request == NULL || !request_is_over(request))
            return false;
    }
    return true;
}

void driver_step(struct driver *driver)
{
    if (driver->answering)
        driver_fail("the loop cannot be run inside an answer");
    loop_iterate(driver->loop, 0);
}

/* Runs the loop for a while; with names only until these are answered. */
static void run_loop(struct driver *driver, usec_t span, const struct words *names)
{
    driver_step(driver);
    usec_t end = loop_now(driver->loop) + span;
    while (names == NULL || !all_over(driver, names)) {
        usec_t left = end - loop_now(driver->loop);
        if (left <= 0)
            break;
        loop_iterate(driver->loop, left);
    }
}

static void command_wait(struct driver *driver, const struct words *words)
{
    usec_t max = words_seconds(words, "max", WAIT_MAX);
    if (!all_over(driver, words))
        run_loop(driver, max < WAIT_MAX ? max : WAIT_MAX, words);
}

static void command_wait_all(struct driver *driver, const struct words *words)
{
    driver->holding = true;
    command_wait(driver, words);
    driver->holding = false;
    if (driver->held_count > 0)
        qsort(driver->held, driver->held_count, sizeof(*driver->held), compare_texts);
    for (size_t i = 0; i < driver->held_count; i++) {
        puts(driver->held[i]);
        free(driver->held[i]);
    }
    free(driver->held);
    driver->held = NULL;
    driver->held_count = 0;
}

static void command_sleep(struct driver *driver, const struct words *words)
{
    run_loop(driver, seconds(words_at(words, 1)), NULL);
}

static void command_settle(struct driver *driver, const struct words *words)
{
    (void)words;
    run_loop(driver, SETTLE, NULL);
}

static void command_mask(struct driver *driver, const struct words *words)
{
    (void)words;
    driver->masked = true;
}

/* The text after the first `count` words. */
static const char *after_words(const char *line, int count)
{
    while (count-- > 0) {
        line += strcspn(line, " \t");
        line += strspn(line, " \t");
    }
    return line;
}

static void command_on(struct driver *driver, const struct words *words)
{
    struct action *action = driver_calloc(sizeof(*action));
    driver_name(action->name, words_at(words, 1));
    action->command = strdup(after_words(words->line, 2));
    if (action->command == NULL)
        driver_fail("out of memory");
    TAILQ_INSERT_TAIL(&driver->actions, action, link);
}

static const struct {
    const char *name;
    size_t arguments; /* at least */
    driver_command *run;
} commands[] = {
    {"server", 1, command_server},
    {"unblock", 1, command_unblock},
    {"server-close", 2, command_server_close},
    {"server-send", 2, command_server_send},
    {"server-state", 1, command_server_state},
    {"open-total", 1, command_open_total},
    {"host", 2, command_host},
    {"lookups", 1, command_lookups},
    {"manager", 1, command_manager},
    {"limits", 1, command_limits},
    {"allocate", 2, command_allocate},
    {"deallocate", 2, command_deallocate},
    {"free", 1, command_free},
    {"close", 1, command_close},
    {"half-close", 1, command_half_close},
    {"probe", 1, command_probe},
    {"local-addr", 1, command_local_addr},
    {"shutdown", 1, command_shutdown},
    {"drop", 1, command_drop},
    {"stats", 1, command_stats},
    {"wait", 1, command_wait},
    {"wait-all", 1, command_wait_all},
    {"sleep", 1, command_sleep},
    {"settle", 0, command_settle},
    {"on", 3, command_on},
    {"expect", 2, command_expect},
    {"mask", 0, command_mask},
    {"conn-set", 1, command_conn_set},
};

void driver_run(struct driver *driver, const char *line)
{
    char buffer[LINE_SIZE];
    struct words words = {.line = line};
    char *save = NULL;
    if (strlen(line) >= sizeof(buffer))
        driver_fail("line too long: %s", line);
    memcpy(buffer, line, strlen(line) + 1);
    for (char *word = strtok_r(buffer, " \t", &save); word != NULL;
         word = strtok_r(NULL, " \t", &save)) {
        if (words.count == DRIVER_WORDS_MAX)
            driver_fail("too many words: %s", line);
        words.word[words.count++] = word;
    }

    trace(driver, "> %s", line);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(words.word[0], commands[i].name) != 0)
            continue;
        if (words.count - 1 < commands[i].arguments)
            driver_fail("too few arguments: %s", line);
        commands[i].run(driver, &words);
        return;
    }
    driver_fail("unknown command: %s", line);
}

static void run_file(struct driver *driver, FILE *file)
{
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, file) >= 0) {
        char *start = line + strspn(line, " \t\r\n");
        size_t length = strlen(start);
        while (length > 0 && isspace((unsigned char)start[length - 1]))
            start[--length] = '\0';
        if (*start != '\0' && *start != '#')
            driver_run(driver, start);
    }
    free(line);
}

/* "end pending=...": the requests that were never answered. */
static void trace_end(struct driver *driver)
{
    struct request *request;
    const char *separator = "";
    fputs("end pending=", stdout);
    TAILQ_FOREACH (request, &driver->requests, link) {
        if (request->state != REQUEST_PENDING && request->state != REQUEST_CANCELLED)
            continue;
        printf("%s%s", separator, request->name);
        separator = ",";
    }
    puts(*separator == '\0' ? "none" : "");
}

static void open_driver(struct driver *driver)
{
    *driver = (struct driver){.loop = loop_new()};
    if (driver->loop == NULL)
        driver_fail("loop: %s", strerror(errno));
    driver->names = names_new(driver->loop);
    driver->resolver = resolver_new(driver->loop, names_backend(driver->names));
    if (driver->resolver == NULL)
        driver_fail("resolver: %s", strerror(errno));
    TAILQ_INIT(&driver->upstreams);
    TAILQ_INIT(&driver->managers);
    TAILQ_INIT(&driver->requests);
    TAILQ_INIT(&driver->actions);
}

static void free_requests(struct driver *driver)
{
    struct request *request;
    while ((request = TAILQ_FIRST(&driver->requests)) != NULL) {
        if (request->state == REQUEST_PENDING)
            pool_cancel(&request->allocation);
        else if (request->allocation.stream != NULL)
            pool_discard(&request->allocation, DISCARD_CLIENT_ABORT, false);
        TAILQ_REMOVE(&driver->requests, request, link);
        free(request);
    }
}

static void close_driver(struct driver *driver)
{
    struct manager *manager;
    struct upstream *upstream;
    struct action *action;
    free_requests(driver);
    while ((manager = TAILQ_FIRST(&driver->managers)) != NULL) {
        pool_free(manager->pool);
        TAILQ_REMOVE(&driver->managers, manager, link);
        free(manager);
    }
    while ((upstream = TAILQ_FIRST(&driver->upstreams)) != NULL) {
        peer_close(&upstream->peer);
        TAILQ_REMOVE(&driver->upstreams, upstream, link);
        free(upstream);
    }
    while ((action = TAILQ_FIRST(&driver->actions)) != NULL) {
        TAILQ_REMOVE(&driver->actions, action, link);
        free(action->command);
        free(action);
    }
    resolver_free(driver->resolver);
    loop_free(driver->loop);
}

int main(int argc, char **argv)
{
    struct driver driver;
    if (argc != 2) {
        fputs("usage: pool_driver FILE.scn\n", stderr);
        return 2;
    }
    FILE *file = fopen(argv[1], "r");
    if (file == NULL)
        driver_fail("%s: %s", argv[1], strerror(errno));
    setvbuf(stdout, NULL, _IOLBF, 0); /* a crash keeps what was answered before */
    open_driver(&driver);
    run_file(&driver, file);
    trace_end(&driver);
    close_driver(&driver);
    fclose(file);
    return fflush(stdout) == 0 ? 0 : 2;
}
