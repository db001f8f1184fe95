#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: kaproxyctl top in a real terminal: what it shows, keys, sizes, and that the
terminal is restored afterwards; and completion in an interactive bash."""

import os
import pathlib
import shutil
import signal
import sys
import termios
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Skip, main, test, wait_until
from kaptest.ctl import CTL, SESSIONS, Admin, environment, run
from kaptest.kaproxy import COMPLAINTS, TESTS
from kaptest.screen import Screen


def admin(t):
    return t.own(Admin(t.folder / "admin.sock"))


def top(t, server, *options, interval="0.05", **size):
    return Screen(t, [CTL, "-s", server.place, "top", "-i", interval, *options],
                  env=environment(), **size)


def quit_top(t, screen):
    screen.type("q")
    t.equal(screen.wait_end(), 0, "status")
    t.check(screen.is_restored(), "the terminal is not as it was")
    t.check(not COMPLAINTS.search(screen.text), screen.text[-2000:])


@test("problems are on top, then upstreams and sessions; it follows the server")
def shows(t):
    server = admin(t)
    screen = top(t, server, columns=120)
    frame = screen.wait_for("q quit")
    t.equal(len(frame), 24, "rows")
    t.check(frame[0].startswith("critical  http://192.0.2.1:80 is down"), f"{frame[0]!r}")
    titles = [line.split()[0] for line in frame if line[:3] in ("UPS", "  A", "AGE")]
    t.equal(titles, ["UPSTREAM", "AGE"], "tables")
    server.status["problems"] = []
    screen.wait_for("No problems.")
    server.status["hosts"][0]["upstream"] = "http://192.0.2.77:80"
    screen.wait_for("http://192.0.2.77:80")
    quit_top(t, screen)
    t.check("/status?sessions=1" in server.targets(), "asked for")


@test("it is refreshed each second unless another interval is set, and p stops that")
def pause(t):
    server = admin(t)
    screen = top(t, server)
    wait_until(lambda: len(server.requests) >= 3, "three requests")
    screen.type("p")
    screen.wait_for("PAUSED")
    asked, drawn = len(server.requests), screen.count()
    screen.type("3")  # drawn again, with the same numbers
    wait_until(lambda: screen.count() > drawn, "another frame")
    t.equal(len(server.requests), asked, "requests while it is paused")
    screen.type("p")
    wait_until(lambda: len(server.requests) > asked, "another request")
    quit_top(t, screen)


@test("1, 2, 3: views; s: the order of the rows")
def views(t):
    server = admin(t)
    screen = top(t, server, columns=120)
    screen.wait_for("UPSTREAM")
    screen.type("2")
    frame = screen.wait_for("HALF WITHIN")
    t.check(any(line.startswith("POOL") for line in frame), "no pools")
    screen.type("3")
    
    first = [line for line in screen.wait_for("s sort: age") if "127.0.0.1:400" in line]
    t.check("40001" in first[0], "not the oldest first")
    screen.type("s")
    screen.wait_for("s sort: quiet")
    rows = [line for line in screen.frame() if "127.0.0.1:400" in line]
    t.check("40002" in rows[0], "not by quiet")
    screen.type("1s")
    frame = screen.wait_for("s sort: waiting")
    hosts = [line for line in frame if "://" in line and "is down" not in line]
    t.check(hosts[0].startswith("redis://"), f"not by waiting: {hosts}")
    quit_top(t, screen)


@test("arrows and pages scroll to the end of the content; a sequence may arrive in pieces")
def scrolls(t):
    server = admin(t)
    server.sessions = [{**SESSIONS[0], "client": f"c{i:03}"} for i in range(200)]
    screen = top(t, server)
    screen.type("3")

    def client():
        rows = [word for line in screen.frame() for word in line.split() if
                len(word) == 4 and word[0] == "c" and word[1:].isdigit()]
        return rows[0] if rows else None

    wait_until(lambda: client() == "c000" and "s sort: age" in screen.frame()[-1], "the view")
    screen.type("\x1b[B\x1b[B\x1b")
    screen.type("[B")
    wait_until(lambda: client() == "c002", "two lines further")  # the titles scroll, too
    screen.type("\x1b[6~")
    wait_until(lambda: client() > "c010", "a page further")
    screen.type("\x1b[F")
    screen.wait_for("c199")
    last = client()
    screen.type("\x1b[B\x1b[6~\x1b[A")
    wait_until(lambda: client() < last, "a line back")
    screen.type("\x1b[5~\x1b[H")
    wait_until(lambda: client() == "c000", "the first one")
    quit_top(t, screen)


@test("it fits the window, however small that is, and follows its size")
def sizes(t):
    server = admin(t)
    screen = top(t, server, interval="100", rows=40, columns=150)
    frame = screen.wait_for("FAILURES/S")
    for rows, columns in (12, 50), (24, 80), (5, 20), (2, 3), (1, 1), (60, 200):
        screen.resize(rows, columns)
        wait_until(lambda n=rows: len(screen.frame()) == n, f"{rows} rows")
        frame = screen.frame()
        t.at_most(max(map(len, frame)), columns, f"the width of {columns} columns")
    t.equal(len(server.requests), 1, "requests: a window's size asks nothing")
    quit_top(t, screen)


@test("kaproxy ends and returns: since when there is no answer, then the numbers again")
def restart(t):
    server = admin(t)
    screen = top(t, server)
    screen.wait_for("UPSTREAM")
    server.close()
    frame = screen.wait_for("no answer since")
    t.check(frame[0].startswith("no answer since "), f"{frame[0]!r}")
    t.check(any("http://192.0.2.1:80" in line for line in frame), "the last numbers are not there")
    server.start()
    server.status["problems"] = []
    screen.wait_for("No problems.")
    t.check("no answer" not in screen.frame()[0], "still no response")
    quit_top(t, screen)


@test("it can be started before kaproxy, and quit while kaproxy does not answer")
def silent(t):
    server = admin(t)
    server.answers["/status"] = lambda server, connection: server.closing.wait(60)
    screen = top(t, server, "--max-time", "50")  # longer than a test waits
    wait_until(lambda: server.requests, "a request")
    quit_top(t, screen)


@test("SIGINT, SIGTERM, SIGHUP: the terminal is restored, and the status is the signal's")
def signals(t):
    server = admin(t)
    for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        screen = top(t, server, interval="100")
        screen.wait_for("UPSTREAM")
        screen.type("p")
        screen.wait_for("PAUSED")
        t.check(termios.tcgetattr(screen.slave) != screen.before, "keys are read line by line")
        if number == signal.SIGINT:
            screen.type("\x03")
        else:
            os.kill(screen.process.pid, number)
        t.equal(screen.wait_end(), -number, f"status after {number.name}")
        t.check(screen.is_restored(), f"not restored after {number.name}")


@test("Ctrl-S delays nothing")
def stop_key(t):
    server = admin(t)
    screen = top(t, server)
    screen.wait_for("UPSTREAM")
    screen.type("\x13")
    server.status["problems"] = []
    screen.wait_for("No problems.")
    quit_top(t, screen)


@test("the terminal's reader has stopped: a signal ends it")
def stopped_reader(t):
    server = admin(t)
    screen = top(t, server, interval="0.01", rows=100, columns=200)
    screen.wait_for("UPSTREAM")
    screen.is_ignored = True

    def is_held_up():
        asked = len(server.requests)
        time.sleep(0.2)  # twenty times as long as it takes otherwise
        return asked == len(server.requests)
    wait_until(is_held_up, "an end of the requests")
    os.kill(screen.process.pid, signal.SIGTERM)
    t.equal(screen.wait_end(), -signal.SIGTERM, "status")
    t.equal(termios.tcgetattr(screen.slave), screen.before, "the terminal")


@test("Ctrl-Z restores the terminal, until it continues")
def suspended(t):
    server = admin(t)
    screen = top(t, server)
    screen.wait_for("UPSTREAM")
    os.kill(screen.process.pid, signal.SIGTSTP)
    t.check(os.WIFSTOPPED(os.waitpid(screen.process.pid, os.WUNTRACED)[1]), "it did not stop")
    t.check(screen.is_restored(), "the terminal is not as it was")
    os.kill(screen.process.pid, signal.SIGCONT)
    server.status["problems"] = []
    screen.wait_for("No problems.")
    quit_top(t, screen)


@test("without a terminal: plain text, as often as -n says")
def batch(t):
    server = admin(t)
    code, out, err = run("-s", server.place, "top", "-b", "-n", "2", "-i", "0.01")
    t.equal((code, err), (0, ""), "status")
    t.equal(out.count("UPSTREAM"), 2, "tables")
    t.check("\x1b" not in out, "it has escape sequences")
    server.close()
    code, out, err = run("-s", server.place, "top", "-n", "1")
    t.equal((code, err), (3, ""), "status without a server")
    t.check(out.startswith("no answer since "), f"{out!r}")
    server.start()


@test("tables in a terminal: as wide as that is, colours unless NO_COLOR is set")
def tables(t):
    server = admin(t)

    def shown(columns, **variables):
        screen = Screen(t, [CTL, "-s", server.place, "hosts"], columns=columns,
                        env=environment(**variables))
        t.equal(screen.wait_end(), 0, "status")
        wait_until(lambda: screen.text.count("\n") == 3, "all lines")
        return screen.text

    t.check("\x1b[" in shown(80), "no colours")
    for columns in 30, 60, 100, 160:
        lines = shown(columns, NO_COLOR="1").splitlines()
        t.check("\x1b" not in "".join(lines), "colours with NO_COLOR")
        t.at_most(max(map(len, lines)), columns, f"the width of {columns} columns")
        t.check(lines[1].startswith("http://192.0.2."), f"{lines}")
    t.check("Connection refused" in shown(200), "the last error is not there")


@test("status is sentences, and none of them is truncated")
def whole(t):
    server = admin(t)
    screen = Screen(t, [CTL, "-s", server.place, "status"], columns=20,
                    env=environment(NO_COLOR="1"))
    screen.wait_end()
    wait_until(lambda: "7 waiting" in screen.text, "the end of a line")
    t.check("critical  http://192.0.2.1:80 is down" in screen.text, screen.text)


@test("the names that distinguish rows are truncated last; COLUMNS sets the width")
def names(t):
    server = admin(t)
    name = "https://api-0123456789.example.com:8443"
    server.status["hosts"][0]["upstream"] = name

    def shown(columns, **variables):
        screen = Screen(t, [CTL, "-s", server.place, "hosts"], columns=columns,
                        env=environment(NO_COLOR="1", **variables))
        screen.wait_end()
        wait_until(lambda: screen.text.count("\n") == 3, "all lines")
        return screen.text.splitlines()

    for columns in 72, 80, 100, 160:
        lines = shown(columns)
        t.check(lines[1].startswith(name + " "), f"in {columns} columns: {lines}")
        t.check("WAITING" in lines[0], f"in {columns} columns: {lines}")
    t.check("WAITING" in shown(48)[0], "fixed columns give way to a name")
    t.check(shown(48)[1].startswith("https://api-0"), "nothing is left of the name")
    for columns, width in ("50", 50), ("0", 160), ("x", 160), ("100000", 160):
        longest = max(map(len, shown(160, COLUMNS=columns)))
        t.check(longest <= width and (width == 50 or longest > 100), f"COLUMNS={columns}: {longest}")
    screen = Screen(t, [CTL, "-s", server.place, "top"], columns=100, env=environment(COLUMNS="30"))
    screen.wait_for(name)  # which uses the terminal's size, as it may change
    screen.type("q")
    t.equal(screen.wait_end(), 0, "status")


@test("completion by Tab in an interactive bash")
def completion(t):
    if shutil.which("bash") is None:
        raise Skip("bash is not installed")
    server = admin(t)
    file = t.folder / "rc"
    file.write_text(f"PATH={pathlib.Path(CTL).parent}:$PATH\nPS1='> '\n"
                    f"source {TESTS.parent}/contrib/completion/kaproxyctl.bash\n"
                    "bind 'set enable-bracketed-paste off'\nunset HISTFILE\n")
    screen = Screen(t, ["bash", "--rcfile", str(file), "-i"], columns=200,
                    env=environment(KAPROXY_ADMIN=server.place))
    for typed, expected in (("kaproxyctl paus\t", "kaproxyctl pause "),
                            ("--po\t", "kaproxyctl pause --pool "),
                            ("ca\t", "kaproxyctl pause --pool cache "),
                            ("--ho\tredis:\t", "--host redis://192.0.2.2:6379 "),
                            ("\x15kaproxyctl -s unix:/nowhere drain --no\t", "drain --no-wait ")):
        wait_until(lambda: "> " in screen.text, "the prompt")
        screen.type(typed)
        wait_until(lambda text=expected: text in screen.text,
                   f"{expected!r}; the screen: {screen.text!r}")
    screen.type("\x15exit\n")
    screen.wait_end()


main()
