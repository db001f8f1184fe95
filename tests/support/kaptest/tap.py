# SPDX-License-Identifier: ISC
"""Runs the tests of one file and reports them in TAP."""

import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

# Set for slow builds (sanitizers, valgrind): fewer rounds, no claims about memory, more patience.
SLOW = os.environ.get("KAPROXY_SLOW", "") not in ("", "0")

# Set by make check-long: more rounds, for as long as they take.
LONG = os.environ.get("KAPROXY_LONG", "") not in ("", "0")

# A process that started us in the background may have had it ignored, and what we start would
# inherit that: but Ctrl-C is to end it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long anything may take that should happen soon. Generous: it only bounds a failing test.
WAIT_MAX = 60.0 if SLOW else 20.0
TEST_LIMIT = (400 if SLOW else 100) * (20 if LONG else 1)

DESCRIPTORS_MAX = 20000

_tests = []


class Failure(Exception):
    """A test's claim does not hold."""


class Skip(Exception):
    """The test cannot run here."""


def wait_until(condition, what, timeout=WAIT_MAX):
    """Polls until condition() is true and returns its value."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"waited {timeout:g} s in vain for {what}")
        time.sleep(0.005)


class _Children:
    """The processes of the running test. A signal that arrives between the start of one and its
    entry here is held back until then, so that the process does not outlive us."""

    def __init__(self):
        self.started = []
        self._starting = False
        self._held_back = None

    def start(self, command, options):
        self._starting = True
        try:
            process = subprocess.Popen(command, **options)
            self.started.append(process)
        finally:
            self._starting = False
            error, self._held_back = self._held_back, None
            if error is not None:
                raise error
        return process

    def interrupt(self, error):
        """From a signal's handler: the test ends with this error."""
        if not self._starting:
            raise error
        self._held_back = error

    def end(self):
        """In order if possible: a program may have children of its own."""
        while self.started:
            process = self.started.pop()
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


_children = _Children()


def spawn(command, **options):
    """As subprocess.Popen. A process that is still running is ended with the test, however that
    ends."""
    return _children.start(command, options)


class Test:
    """One running test: its folder, what it started, its checks."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kaptest-"))
        self.diagnostics = []  # callables that return lines for a failure
        self._at_end = []

    def callback(self, function, *arguments):
        """Calls it at the end of the test; the last one first."""
        self._at_end.append((function, arguments))

    def own(self, thing):
        """Closes it at the end of the test."""
        self.callback(thing.close)
        return thing

    def end(self):
        """Calls the registered functions; returns the errors."""
        errors = []
        while self._at_end:
            function, arguments = self._at_end.pop()
            try:
                function(*arguments)
            except Exception as error:
                errors.append(error)
        return errors

    def diagnose(self):
        return [line for diagnose in self.diagnostics for line in diagnose()]

    def kaproxy(self, upstream=None, **options):
        from .kaproxy import Kaproxy
        return self.own(Kaproxy(self, upstream, **options).start())

    def upstream(self, script=None, **options):
        from .upstream import ScriptedUpstream
        return self.own(ScriptedUpstream(script, **options))

    def fail(self, what):
        raise Failure(what)

    def check(self, condition, what):
        if not condition:
            self.fail(what)

    def equal(self, got, expected, what="value"):
        if got != expected:
            raise Failure(f"{what}: got {_short(got)}, expected {_short(expected)}")

    def at_most(self, got, limit, what):
        if not got <= limit:
            raise Failure(f"{what}: got {got}, expected at most {limit}")

    def at_least(self, got, limit, what):
        if not got >= limit:
            raise Failure(f"{what}: got {got}, expected at least {limit}")


def _short(value):
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:200]}... ({len(text)} characters)"


def test(description):
    def register(function):
        _tests.append((description, function))
        return function
    return register


def _too_long(_signal, _frame):
    _children.interrupt(Failure(f"the test took more than {TEST_LIMIT} s"))


ENDINGS = signal.SIGTERM, signal.SIGINT, signal.SIGHUP


def _ended(number, _frame):
    for other in ENDINGS:  # what is in progress now must not be interrupted
        signal.signal(other, signal.SIG_IGN)
    # This unwinds, so that nothing started stays behind.
    _children.interrupt(SystemExit(f"ended by {signal.Signals(number).name}"))


def _watch_signals():
    signal.signal(signal.SIGALRM, _too_long)
    for number in ENDINGS:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup, or a shell's background job
            signal.signal(number, _ended)


def _describe(error):
    if not isinstance(error, Failure):
        return "".join(traceback.format_exception(error)).splitlines()
    frames = traceback.extract_tb(error.__traceback__)
    place = ([f for f in frames if "kaptest" not in f.filename] or frames)[-1]
    return [f"{os.path.basename(place.filename)}:{place.lineno}: {error}"]


def _run(function):
    """None if the test passed, ("skip", why) or ("fail", lines)."""
    signal.alarm(TEST_LIMIT)
    problems, skipped, diagnostics = [], None, []
    t = Test()
    try:
        try:
            function(t)
        except Skip as why:
            skipped = str(why)
        except Exception as error:
            problems.append(error)
        if problems:
            diagnostics = t.diagnose()
        # The end is part of the test: what was started must stop in order.
        for error in t.end():
            if not problems:
                diagnostics = t.diagnose()
            problems.append(error)
    finally:
        signal.alarm(0)
        t.end()  # interrupted: what is left of it
        _children.end()
        shutil.rmtree(t.folder, ignore_errors=True)
    if problems:
        return "fail", [line for error in problems for line in _describe(error)] + diagnostics
    return ("skip", skipped) if skipped is not None else None


def _raise_limit():
    """Of open files: tests have thousands of clients, and many systems allow only 1024 by
    default."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > DESCRIPTORS_MAX:
        hard = DESCRIPTORS_MAX
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE,
                           (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def main():
    """Runs the registered tests, or those whose description contains the first argument."""
    _watch_signals()
    _raise_limit()
    chosen = [x for x in _tests if len(sys.argv) < 2 or sys.argv[1] in x[0]]
    print(f"1..{len(chosen)}", flush=True)
    failures = 0
    for number, (description, function) in enumerate(chosen, 1):
        started = time.monotonic()
        outcome = _run(function)
        spent = time.monotonic() - started
        if outcome is None:
            print(f"ok {number} - {description}")
        elif outcome[0] == "skip":
            print(f"ok {number} - {description} # SKIP {outcome[1]}")
        else:
            failures += 1
            print(f"not ok {number} - {description}")
            for line in outcome[1]:
                print("#", line)
        if spent > 5:
            print(f"# that took {spent:.1f} s")
        sys.stdout.flush()
    sys.exit(1 if failures else 0)
