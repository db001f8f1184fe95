/* SPDX-License-Identifier: ISC */
/* Threads besides the main one: their names, and which signals they block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/thread.h"

#define STACK_SIZE (256 * 1024)

static bool no_threads;

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg)
{
    return no_threads ? EAGAIN : __real_pthread_create(thread, attributes, run, arg);
}

static void *note_mask(void *arg)
{
    pthread_sigmask(SIG_SETMASK, NULL, arg);
    return arg;
}

static bool is_of_fault(int number)
{
    return number == SIGBUS || number == SIGFPE || number == SIGILL || number == SIGSEGV;
}

static void assert_same_mask(const sigset_t *a, const sigset_t *b)
{
    for (int number = 1; number < 32; number++)
        assert_int_equal(sigismember(a, number), sigismember(b, number));
}

static void test_signals_are_not_its_own(void **state)
{
    sigset_t before, after, its;
    pthread_t thread;
    void *result;
    (void)state;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(thread_start(&thread, "a thread", STACK_SIZE, note_mask, &its), 0);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &its);
    assert_same_mask(&before, &after);
    for (int number = 1; number < 32; number++) {
        bool blocked = number != SIGKILL && number != SIGSTOP && !is_of_fault(number);
        assert_int_equal(sigismember(&its, number), blocked);
    }
}

static atomic_bool named;

static void *wait_for_name(void *arg)
{
    while (!atomic_load(&named))
        continue;
    pthread_getname_np(pthread_self(), arg, 16);
    return NULL;
}

static void test_has_a_name(void **state)
{
    char name[16];
    pthread_t thread;
    (void)state;
    assert_int_equal(thread_start(&thread, "kaproxy-thread", STACK_SIZE, wait_for_name, name), 0);
    atomic_store(&named, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_string_equal(name, "kaproxy-thread");
}

static void test_no_thread(void **state)
{
    sigset_t before, after;
    pthread_t thread;
    (void)state;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    no_threads = true;
    int result = thread_start(&thread, "none", STACK_SIZE, note_mask, &after);
    no_threads = false;
    assert_int_equal(result, -1);
    assert_int_equal(errno, EAGAIN);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_same_mask(&before, &after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signals_are_not_its_own),
        cmocka_unit_test(test_has_a_name),
        cmocka_unit_test(test_no_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
