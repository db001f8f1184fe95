/* SPDX-License-Identifier: ISC */
/* In a terminal a full screen with keys, else plain text, view after view. kaproxy may end and come
 * back meanwhile: then the last numbers stay, with the time since when there were no newer ones. */
#include "ctl/top.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "ctl/ask.h"
#include "ctl/exits.h"
#include "ctl/terminal.h"
#include "ctl/text.h"
#include "ctl/views.h"

static volatile sig_atomic_t ended_by, is_to_stop, is_woken;

struct top {
    struct client client;
    const struct options *options;
    json_t *status; /* the latest one; NULL: none yet */
    char *error;    /* why there is no newer one; NULL: there was no error */
    time_t failing_since;
    char view; /* '1' ... */
    size_t host_order, session_order;
    size_t scroll, scroll_most, page;
    bool is_paused, is_over;
    struct keys keys;
    sigset_t signals, open; /* our signals, blocked except while we wait; the mask without them */
};

static void on_signal(int number)
{
    is_woken = 1;
    if (number == SIGTSTP)
        is_to_stop = 1;
    else if (number != SIGWINCH)
        ended_by = number;
}

static void clear_error(struct top *top)
{
    free(top->error);
    top->error = NULL;
}

/* Asks kaproxy; false when a key or a signal interrupted it. */
static bool refresh(struct top *top)
{
    struct answer answer;
    json_t *status;
    int result = ask(&top->client, "GET", ASK_SESSIONS, &status, &answer);
    if (result == EXIT_DONE) {
        json_decref(top->status);
        top->status = status;
        clear_error(top);
        return true;
    }
    json_decref(status);
    if (answer.woken)
        return false;
    if (top->error == NULL)
        top->failing_since = time(NULL);
    clear_error(top);
    top->error = strdup(answer.error);
    if (top->error == NULL)
        text_no_memory();
    return true;
}

static const char *clock_text(time_t moment, char text[16])
{
    struct tm parts;
    if (localtime_r(&moment, &parts) == NULL || strftime(text, 16, "%H:%M:%S", &parts) == 0)
        snprintf(text, 16, "?");
    return text;
}

static void put_error(const struct top *top, FILE *out, const struct look *look)
{
    char since[16], *line;
    if (top->error == NULL)
        return;
    if (asprintf(&line, "no answer since %s: %s", clock_text(top->failing_since, since),
                 top->error) < 0)
        text_no_memory();
    look_line(out, look, COLOUR_RED, line);
    free(line);
}

static void put_head(const struct top *top, FILE *out, const struct look *look, size_t problems)
{
    put_error(top, out, look);
    if (top->status == NULL)
        return;
    view_problems(out, top->status, look, problems);
    view_summary(out, top->status, look);
    putc('\n', out);
}

static void put_body(const struct top *top, FILE *out, const struct look *look)
{
    const struct view_order *hosts = &view_host_orders[top->host_order],
                            *sessions = &view_session_orders[top->session_order];
    if (top->status == NULL)
        return;
    if (top->view == '2') {
        view_listeners(out, top->status, look);
        putc('\n', out);
        view_pools(out, top->status, look);
    }
    if (top->view == '1') {
        view_hosts(out, top->status, look, hosts);
        putc('\n', out);
    }
    if (top->view != '2')
        view_sessions(out, top->status, look, sessions);
}

static const char *order_name(const struct top *top)
{
    if (top->view == '3')
        return view_session_orders[top->session_order].name;
    return top->view == '1' ? view_host_orders[top->host_order].name : "name";
}

static void put_foot(const struct top *top, FILE *out, const struct look *look)
{
    char line[160];
    snprintf(line, sizeof(line),
             "%sq quit  1 upstreams  2 listeners, pools  3 sessions  s sort: %s  p %s  "
             "arrows: scroll",
             top->is_paused ? "PAUSED  " : "", order_name(top), top->is_paused ? "go on" : "pause");
    look_line(out, look, COLOUR_INVERSE, line);
}

/* Text in memory, with its lines. */
struct sheet {
    FILE *out;
    char *text;
    size_t length;
};

static void sheet_begin(struct sheet *sheet)
{
    *sheet = (struct sheet){.text = NULL};
    sheet->out = open_memstream(&sheet->text, &sheet->length);
    if (sheet->out == NULL)
        text_no_memory();
}

static void sheet_end(struct sheet *sheet)
{
    if (fclose(sheet->out) != 0)
        text_no_memory();
}

static size_t sheet_lines(const struct sheet *sheet)
{
    size_t count = 0;
    for (size_t i = 0; i < sheet->length; i++)
        count += sheet->text[i] == '\n';
    return count;
}

/* Lines from `first` on, at most `most`. Returns how many there were. */
static size_t sheet_copy(const struct sheet *sheet, FILE *out, size_t first, size_t most)
{
    size_t number = 0, copied = 0;
    for (const char *line = sheet->text; *line != '\0' && copied < most; number++) {
        const char *next = strchr(line, '\n') + 1;
        if (number >= first) {
            fwrite(line, 1, (size_t)(next - line), out);
            copied++;
        }
        line = next;
    }
    return copied;
}

static void draw(struct top *top)
{
    struct look look = terminal_look();
    size_t rows = terminal_rows();
    look.width = terminal_columns(); /* it may have changed since COLUMNS was set */
    struct sheet head, body, screen;
    sheet_begin(&head);
    sheet_begin(&body);
    sheet_begin(&screen);
    put_head(top, head.out, &look, rows / 4 + 1);
    put_body(top, body.out, &look);
    sheet_end(&head);
    sheet_end(&body);
    size_t used = sheet_copy(&head, screen.out, 0, rows - 1), lines = sheet_lines(&body);
    top->page = rows - 1 - used;
    top->scroll_most = lines > top->page ? lines - top->page : 0;
    if (top->scroll > top->scroll_most)
        top->scroll = top->scroll_most;
    used += sheet_copy(&body, screen.out, top->scroll, top->page);
    for (; used < rows - 1; used++)
        putc('\n', screen.out);
    put_foot(top, screen.out, &look);
    sheet_end(&screen);
    /* The terminal may be stopped: a signal must end that wait too. */
    sigprocmask(SIG_SETMASK, &top->open, NULL);
    terminal_draw(screen.text, screen.length);
    sigprocmask(SIG_BLOCK, &top->signals, NULL);
    free(head.text);
    free(body.text);
    free(screen.text);
}

static void take_character(struct top *top, char character)
{
    switch (character) {
    case 'q':
    case 'Q':
        top->is_over = true;
        break;
    case 's':
        if (top->view == '1')
            top->host_order = (top->host_order + 1) % VIEW_HOST_ORDERS;
        else if (top->view == '3')
            top->session_order = (top->session_order + 1) % VIEW_SESSION_ORDERS;
        break;
    case 'p':
        top->is_paused = !top->is_paused;
        break;
    case '1':
    case '2':
    case '3':
        top->view = character;
        top->scroll = 0;
        break;
    default:
        break;
    }
}

/* No further than was possible when it was last drawn. */
static void scroll_on(struct top *top, size_t lines)
{
    top->scroll += lines;
    if (top->scroll > top->scroll_most)
        top->scroll = top->scroll_most;
}

static void scroll_back(struct top *top, size_t lines)
{
    top->scroll -= lines < top->scroll ? lines : top->scroll;
}

static void take_key(struct top *top, enum key key, char character)
{
    switch (key) {
    case KEY_UP:
        scroll_back(top, 1);
        break;
    case KEY_DOWN:
        scroll_on(top, 1);
        break;
    case KEY_PAGE_UP:
        scroll_back(top, top->page);
        break;
    case KEY_PAGE_DOWN:
        scroll_on(top, top->page);
        break;
    case KEY_HOME:
        top->scroll = 0;
        break;
    case KEY_LAST:
        top->scroll = top->scroll_most;
        break;
    case KEY_CHARACTER:
        take_character(top, character);
        break;
    case KEY_END:
        top->is_over = true;
        break;
    case KEY_NONE:
    case KEY_OTHER:
        break;
    }
}

static void take_keys(struct top *top)
{
    char character;
    enum key key;
    while (!top->is_over && (key = terminal_key(&top->keys, &character)) != KEY_NONE)
        take_key(top, key, character);
}

/* Ctrl-Z: the shell gets the terminal back in its original state. */
static void stop_for_a_while(void)
{
    is_to_stop = 0;
    terminal_close();
    raise(SIGSTOP);
    if (terminal_open(&is_woken) < 0)
        exit(EXIT_UNREACHABLE);
}

/* Waits until a key is pressed, the window is resized, or the time is up; false: not the latter. */
static bool is_time(struct top *top, usec_t next)
{
    for (;;) {
        usec_t left = next - client_now();
        if (top->is_paused)
            left = INT64_C(3600) * USEC_PER_SEC;
        if (left <= 0)
            return true;
        if (!client_sleep(&top->client, left))
            return false;
    }
}

static void run_screen(struct top *top)
{
    usec_t next = client_now();
    while (!top->is_over && !ended_by) {
        if (is_time(top, next) && refresh(top))
            next = client_now() + top->options->interval;
        is_woken = 0;
        if (ended_by)
            break;
        take_keys(top);
        if (is_to_stop)
            stop_for_a_while();
        draw(top);
    }
}

static int show_screen(struct top *top)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP};
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&top->signals);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        sigaddset(&top->signals, numbers[i]);
        sigaction(numbers[i], &action, NULL);
    }
    sigprocmask(SIG_BLOCK, &top->signals, &top->open);
    top->client.wake_fd = STDIN_FILENO;
    top->client.mask = &top->open;
    top->client.stop = &is_woken;
    if (terminal_open(&is_woken) < 0) {
        ask_complain("the terminal cannot be used");
        return EXIT_UNREACHABLE;
    }
    run_screen(top);
    terminal_close();
    if (!ended_by)
        return EXIT_DONE;
    /* So that our parent sees how we ended. */
    signal(ended_by, SIG_DFL);
    raise(ended_by);
    sigprocmask(SIG_SETMASK, &top->open, NULL);
    return EXIT_UNREACHABLE;
}

static int show_batch(struct top *top)
{
    struct look look = terminal_look();
    unsigned long count = top->options->count;
    look.colour = false;
    for (unsigned long done = 1;; done++) {
        refresh(top);
        put_head(top, stdout, &look, SIZE_MAX);
        put_body(top, stdout, &look);
        if (fflush(stdout) != 0 || done == count)
            break;
        client_sleep(&top->client, top->options->interval);
        putchar('\n');
    }
    return top->error == NULL ? EXIT_DONE : EXIT_UNREACHABLE;
}

int top_run(const struct client *client, const struct options *options)
{
    struct top top = {.client = *client, .options = options, .view = '1'};
    bool is_batch = (options->given & (OPTION_BATCH | OPTION_COUNT)) != 0;
    int result;
    if (!is_batch && terminal_is_capable())
        result = show_screen(&top);
    else
        result = show_batch(&top);
    json_decref(top.status);
    clear_error(&top);
    return result;
}
