/* SPDX-License-Identifier: ISC */
/* Messages between threads: in order, none lost, none twice, whichever threads send, whatever they
 * do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "net/mailbox.h"
#include "support/sockets.h"

#define WAIT_MAX 60 /* seconds: ends a test that waits forever */
#define SENDERS  4
#define MANY     5000 /* messages of each */

static atomic_uint rings;

int __real_eventfd_write(int fd, eventfd_t value);
int __wrap_eventfd_write(int fd, eventfd_t value);

int __wrap_eventfd_write(int fd, eventfd_t value)
{
    atomic_fetch_add(&rings, 1);
    return __real_eventfd_write(fd, value);
}

static char story[100];

/* A message that adds its name to the record, and may post another one. */
struct letter {
    struct message message;
    const char *name;
    struct mailbox *mailbox;
    struct letter *other; /* NULL: none */
};

static void on_letter(struct message *message)
{
    struct letter *letter = container_of(message, struct letter, message);
    strcat(story, letter->name);
    if (letter->other != NULL)
        mailbox_post(letter->mailbox, &letter->other->message);
}

static struct letter letter_of(struct mailbox *mailbox, const char *name)
{
    return (struct letter){.message.run = on_letter, .name = name, .mailbox = mailbox};
}

static void post(struct letter *letter)
{
    mailbox_post(letter->mailbox, &letter->message);
}

static bool has_mail(const struct mailbox *mailbox)
{
    struct pollfd poll_fd = {.fd = mailbox_descriptor(mailbox), .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

/* As the thread of a mailbox does. */
static void wait_and_run(struct mailbox *mailbox)
{
    struct pollfd poll_fd = {.fd = mailbox_descriptor(mailbox), .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, -1), 1);
    mailbox_run(mailbox);
}

static int descriptors;

static int setup(void **state)
{
    static struct mailbox mailbox;
    alarm(WAIT_MAX);
    story[0] = '\0';
    descriptors = sockets_count();
    *state = &mailbox;
    int result = mailbox_init(&mailbox);
    atomic_store(&rings, 0);
    return result;
}

static int teardown(void **state)
{
    mailbox_clear(*state);
    return sockets_count() == descriptors ? 0 : -1;
}

static void test_runs_in_order(void **state)
{
    struct mailbox *mailbox = *state;
    struct letter a = letter_of(mailbox, "a"), b = letter_of(mailbox, "b"),
                  c = letter_of(mailbox, "c");
    assert_false(has_mail(mailbox));
    post(&b);
    post(&a);
    post(&c);
    assert_string_equal(story, "");
    assert_true(has_mail(mailbox));
    mailbox_run(mailbox);
    assert_string_equal(story, "bac");
    assert_false(has_mail(mailbox));
    mailbox_run(mailbox); /* there is nothing */
    assert_string_equal(story, "bac");
}

/* A withdrawn message is not run, and may be posted again. */
static void test_take_back(void **state)
{
    struct mailbox *mailbox = *state;
    struct letter a = letter_of(mailbox, "a"), b = letter_of(mailbox, "b");
    mailbox_take_back(mailbox, &a.message); /* it is not there */
    post(&a);
    post(&b);
    mailbox_take_back(mailbox, &a.message);
    mailbox_run(mailbox);
    assert_string_equal(story, "b");
    post(&a);
    mailbox_run(mailbox);
    assert_string_equal(story, "ba");
}

static void test_posted_twice_runs_once(void **state)
{
    struct letter a = letter_of(*state, "a"), b = letter_of(*state, "b");
    post(&a);
    post(&b);
    post(&a);
    mailbox_run(*state);
    assert_string_equal(story, "ab");
    post(&a); /* it is the sender's again */
    mailbox_run(*state);
    assert_string_equal(story, "aba");
}

/* One that posts itself, too, does not keep its thread from all else. */
static void test_posted_meanwhile_runs_later(void **state)
{
    struct letter a = letter_of(*state, "a"), b = letter_of(*state, "b");
    a.other = &a;
    post(&a);
    post(&b);
    mailbox_run(*state);
    assert_string_equal(story, "ab");
    assert_true(has_mail(*state));
    a.other = NULL;
    mailbox_run(*state);
    assert_string_equal(story, "aba");
}

/* Nor does its thread wake, or a sender make a system call, for each of them. */
static void test_many_ring_once(void **state)
{
    struct letter a = letter_of(*state, "a"), b = letter_of(*state, "b"),
                  c = letter_of(*state, "c");
    post(&a);
    post(&b);
    post(&b);
    post(&c);
    assert_int_equal(atomic_load(&rings), 1);
    mailbox_run(*state);
    post(&a);
    assert_int_equal(atomic_load(&rings), 2);
    mailbox_run(*state);
}

static void on_freed(struct message *message)
{
    free(container_of(message, struct letter, message));
    strcat(story, "f");
}

/* A message that has run is not accessed again. */
static void test_run_may_free(void **state)
{
    for (int i = 0; i < 3; i++) {
        struct letter *letter = calloc(1, sizeof(*letter));
        assert_non_null(letter);
        letter->message.run = on_freed;
        mailbox_post(*state, &letter->message);
    }
    mailbox_run(*state);
    assert_string_equal(story, "fff");
}

/* A message that was not run is its sender's again. */
static void test_clear_forgets(void **state)
{
    struct mailbox another;
    struct letter a = letter_of(*state, "a"), b = letter_of(*state, "b");
    post(&a);
    post(&b);
    mailbox_clear(*state);
    assert_string_equal(story, "");
    assert_int_equal(mailbox_init(&another), 0);
    a.mailbox = &another;
    post(&a);
    mailbox_run(&another);
    assert_string_equal(story, "a");
    mailbox_clear(&another);
}

static void test_no_descriptor(void **state)
{
    struct mailbox mailbox;
    struct rlimit usual, none;
    int lowest = dup(STDERR_FILENO);
    (void)state;
    close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    none = usual;
    none.rlim_cur = (rlim_t)lowest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int result = mailbox_init(&mailbox), number = errno;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
    assert_int_equal(result, -1);
    assert_int_equal(number, EMFILE);
    mailbox_clear(&mailbox);
}

/* Several threads */

/* What a sender has written, which is visible where it is run. */
struct parcel {
    struct message message;
    unsigned sender, number;
};

static unsigned next[SENDERS]; /* of each, to be run */

static void on_parcel(struct message *message)
{
    struct parcel *parcel = container_of(message, struct parcel, message);
    assert_int_equal(parcel->number, next[parcel->sender]);
    next[parcel->sender]++;
    free(parcel);
}

struct sender {
    pthread_t thread;
    struct mailbox *mailbox;
    unsigned number;
};

static void *send_parcels(void *arg)
{
    const struct sender *sender = arg;
    for (unsigned i = 0; i < MANY; i++) {
        struct parcel *parcel = calloc(1, sizeof(*parcel));
        if (parcel == NULL)
            abort();
        *parcel = (struct parcel){.message.run = on_parcel, .sender = sender->number, .number = i};
        mailbox_post(sender->mailbox, &parcel->message);
    }
    return NULL;
}

static void start_senders(struct sender senders[SENDERS], struct mailbox *mailbox,
                          void *(*run)(void *))
{
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i].mailbox = mailbox;
        senders[i].number = i;
        assert_int_equal(pthread_create(&senders[i].thread, NULL, run, &senders[i]), 0);
    }
}

static void join_senders(const struct sender senders[SENDERS])
{
    for (unsigned i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_join(senders[i].thread, NULL), 0);
}

static bool all_came(void)
{
    for (unsigned i = 0; i < SENDERS; i++) {
        if (next[i] < MANY)
            return false;
    }
    return true;
}

/* Each sender's are in its order, and no wake-up is lost: the wait has no limit. */
static void test_from_several_threads(void **state)
{
    struct sender senders[SENDERS];
    memset(next, 0, sizeof(next));
    start_senders(senders, *state, send_parcels);
    while (!all_came())
        wait_and_run(*state);
    join_senders(senders);
    mailbox_run(*state); /* at most a bell that was late */
    assert_false(has_mail(*state));
}

/* A question that goes to another thread, and comes back as its answer. */
struct question {
    struct message message;
    struct mailbox *there, *here;
    unsigned count, answers;
};

static void on_answer(struct message *message)
{
    container_of(message, struct question, message)->answers++;
}

static void on_question(struct message *message)
{
    struct question *question = container_of(message, struct question, message);
    question->count++;
    question->message.run = on_answer;
    mailbox_post(question->here, &question->message);
}

static bool answering; /* the other thread's */

static void on_end(struct message *message)
{
    (void)message;
    answering = false;
}

static void *answer_questions(void *arg)
{
    while (answering)
        wait_and_run(arg);
    return NULL;
}

static void test_answers_come_back(void **state)
{
    struct mailbox there;
    struct question question = {.there = &there, .here = *state};
    struct message end = {.run = on_end};
    pthread_t thread;
    assert_int_equal(mailbox_init(&there), 0);
    answering = true;
    assert_int_equal(pthread_create(&thread, NULL, answer_questions, &there), 0);
    while (question.answers < MANY) {
        unsigned before = question.answers;
        question.message.run = on_question;
        mailbox_post(question.there, &question.message);
        while (question.answers == before)
            wait_and_run(*state);
        assert_int_equal(question.count, question.answers);
    }
    mailbox_post(&there, &end);
    assert_int_equal(pthread_join(thread, NULL), 0);
    mailbox_clear(&there);
}

static struct parcel under_way[SENDERS][MANY];
static unsigned ran;

static void on_under_way(struct message *message)
{
    (void)message;
    ran++;
}

static void *post_under_way(void *arg)
{
    const struct sender *sender = arg;
    for (unsigned i = 0; i < MANY; i++)
        mailbox_post(sender->mailbox, &under_way[sender->number][i].message);
    return NULL;
}

/* The mailbox's thread ends while messages arrive: those that have not run are forgotten, and all
 * of them can be used elsewhere afterwards. */
static void test_stops_with_messages_under_way(void **state)
{
    struct sender senders[SENDERS];
    struct mailbox another;
    ran = 0;
    for (unsigned i = 0; i < SENDERS; i++) {
        for (unsigned k = 0; k < MANY; k++)
            under_way[i][k] = (struct parcel){.message.run = on_under_way};
    }
    start_senders(senders, *state, post_under_way);
    while (ran < 10)
        wait_and_run(*state);
    join_senders(senders);
    mailbox_clear(*state);
    unsigned before = ran;
    assert_int_equal(mailbox_init(&another), 0);
    for (unsigned i = 0; i < SENDERS; i++) {
        for (unsigned k = 0; k < MANY; k++)
            mailbox_post(&another, &under_way[i][k].message);
    }
    mailbox_run(&another);
    assert_int_equal(ran - before, SENDERS * MANY);
    mailbox_clear(&another);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_runs_in_order),
        TEST(test_take_back),
        TEST(test_posted_twice_runs_once),
        TEST(test_posted_meanwhile_runs_later),
        TEST(test_many_ring_once),
        TEST(test_run_may_free),
        TEST(test_clear_forgets),
        TEST(test_no_descriptor),
        TEST(test_from_several_threads),
        TEST(test_answers_come_back),
        TEST(test_stops_with_messages_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
