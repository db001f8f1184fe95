#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a log reader that stops reading delays nothing; lines that find no room are
counted and reported in their place."""

import array
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import termios

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, Kaproxy, ReservedPort, Skip, main, test, wait_until
from kaptest.http import HttpUpstream, client, start
from kaptest.kaproxy import complete_lines, parse_logfmt

EXCHANGES = 1000 if SLOW else 3000
LONG = "/" + "x" * 900  # a target for lines that soon fill all space


class OnPipe(Kaproxy):
    """Its standard error is a pipe of a page, which is read until kaproxy is ready, and not
    then."""

    def __init__(self, t, endpoint, **options):
        self.reader, self.writer = os.pipe()
        t.callback(os.close, self.reader)
        t.callback(os.close, self.writer)
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(self.reader, False)
        self.text = ""
        super().__init__(t, endpoint, reuse=None, stderr=self.writer, **options)

    def log(self):
        if not self.text.endswith(" ready\n"):
            self.read_log()
        return complete_lines(self.text)

    def read_log(self):
        """What is in the pipe."""
        try:
            self.text += os.read(self.reader, 1 << 20).decode()
        except BlockingIOError:
            pass

    def stderr(self):
        return self.text


def ask(t, kaproxy, count, status=200, target="/"):
    peer = client(t, kaproxy)
    for number in range(count):
        t.equal(peer.ask("GET", target.format(number)).status, status, f"status {number}")
        if status != 200:  # such a response ends the client
            peer = client(t, kaproxy)
    peer.channel.close()


def waiting(descriptor):
    """Bytes in a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]


def non_blocking(descriptor):
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_NONBLOCK)


@test("standard error is an unread pipe: exchanges continue, signals work, the end comes")
def access_log_on_pipe(t):
    upstream = t.own(HttpUpstream())
    kaproxy = t.own(OnPipe(t, upstream.endpoint, main={"access_log": "stderr"}).start())
    ask(t, kaproxy, EXCHANGES)
    kaproxy.signal(signal.SIGUSR1)
    kaproxy.signal(signal.SIGHUP)
    ask(t, kaproxy, 10)
    t.equal(non_blocking(kaproxy.writer), False, "non-blocking")
    kaproxy.stop()


@test("the same without an access log: a warning for each 502")
def messages_on_pipe(t):
    reserved = t.own(ReservedPort())
    endpoint = reserved.endpoint.replace("tcp:", "http:")
    kaproxy = t.own(OnPipe(t, endpoint, main={"access_log": None}).start())
    ask(t, kaproxy, EXCHANGES // 2, status=502)
    kaproxy.stop()


@test("a pipe that is read again: all lines that waited, in order, to the last one")
def read_again(t):
    upstream = t.own(HttpUpstream())
    kaproxy = t.own(OnPipe(t, upstream.endpoint, main={"access_log": "stderr"}).start())
    ask(t, kaproxy, 300, target="/{}")

    def targets():
        kaproxy.read_log()
        return re.findall(r" target=/(\d+) end=complete$", kaproxy.text, flags=re.M)

    wait_until(lambda: len(targets()) == 300, "the lines")
    t.equal(targets(), [str(number) for number in range(300)], "their order")
    kaproxy.signal(signal.SIGTERM)

    def has_ended():
        kaproxy.read_log()
        return not kaproxy.is_running()

    wait_until(has_ended, "the end")
    kaproxy.read_log()
    t.check(kaproxy.text.endswith(" notice: stopped\n"), f"the end: {kaproxy.text[-200:]!r}")


@test("both logs on one pipe: no message inside a partly written line of the access log")
def one_pipe(t):
    upstream = t.own(HttpUpstream())
    kaproxy = t.own(OnPipe(t, upstream.endpoint, main={
        "access_log": "stderr", "log_level": "notice"}).start())
    target = "/" + "\xff" * 1020  # a line of more than a page

    def exchange():
        channel = client(t, kaproxy).channel
        channel.send(f"GET {target} HTTP/1.0\r\n\r\n".encode("latin-1"))
        channel.read_end()

    exchange()
    wait_until(lambda: waiting(kaproxy.reader) == 4096, "a pipe that is full")
    kaproxy.signal(signal.SIGUSR1)
    for _ in range(2):  # after which the signal took effect
        exchange()
    kaproxy.signal(signal.SIGTERM)

    def has_ended():
        kaproxy.read_log()
        return not kaproxy.is_running()

    wait_until(has_ended, "the end")
    kaproxy.read_log()
    lines = complete_lines(kaproxy.text)
    t.equal(sum(bool(re.match(r"ts=.* end=\w+$", line)) for line in lines), 3,
            "whole lines of the access log")
    for line in lines:
        t.check(re.fullmatch(r"(ts=.* end=\w+|[-\dT:.]+Z kaproxy\[\d+\] \w+: .*)", line) and
                not (line.startswith("ts=") and "notice:" in line), f"a line: {line[:100]}...")


def open_fifo(t, path):
    """A FIFO of a page, with its reader, which reads nothing yet."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    t.callback(os.close, reader)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    return reader


def read_all(reader, text, enough):
    """Reads on until enough(lines); returns the lines."""
    def done():
        nonlocal text
        try:
            text += os.read(reader, 1 << 20).decode()
        except BlockingIOError:
            pass
        return enough(lines := complete_lines(text)) and lines
    return wait_until(done, "the lines")


@test("lines beyond 1 MiB are dropped, counted, and reported where they are missing")
def dropped(t):
    fifo = t.folder / "access.fifo"
    reader = open_fifo(t, fifo)
    kaproxy = start(t, t.own(HttpUpstream()), main={"access_log": fifo})
    ask(t, kaproxy, 1500, target="/{}" + LONG)
    kaproxy.wait_log("warning: the access log accepts no more lines")
    lines = read_all(reader, "", lambda lines: any("lost_lines=" in line for line in lines))
    ask(t, kaproxy, 10, target="/{}")
    text = "".join(line + "\n" for line in lines)
    lines = read_all(reader, text, lambda lines: "target=/9 " in lines[-1])
    fields = [parse_logfmt(line) for line in lines]
    lost = [int(line["lost_lines"]) for line in fields if "lost_lines" in line]
    t.equal(len(lost), 1, "reports")
    t.at_least(lost[0], 300, "lost lines")
    place = next(i for i, line in enumerate(fields) if "lost_lines" in line)
    numbers = [int(line["target"].split("/")[1]) for line in fields if "target" in line]
    t.equal(place + lost[0], 1500, "lines before the report, and lost ones")
    t.equal(numbers, [*range(place), *range(10)], "their order")
    kaproxy.stop()


@test("lines that are left at the end are counted, too, in the log of messages")
def left(t):
    fifo = t.folder / "access.fifo"
    reader = open_fifo(t, fifo)
    kaproxy = start(t, t.own(HttpUpstream()), main={"access_log": fifo})
    ask(t, kaproxy, 1500, target="/{}" + LONG)
    kaproxy.stop()
    told = kaproxy.find_log(r"error: \d+ lines of the access log could not be written$")
    t.equal(len(told), 1, "messages")
    written = os.read(reader, 1 << 20).count(b"\n")
    t.at_least(written, 1, "lines in the pipe")
    t.equal(written + int(re.search(r"error: (\d+)", told[0])[1]), 1500, "lines")


@test("a FIFO without a reader: an error at the start; at SIGHUP the old one stays, with a message")
def fifo_without_reader(t):
    fifo = t.folder / "access.fifo"
    os.mkfifo(fifo)
    upstream = t.own(HttpUpstream())
    for key in "log", "access_log":
        status, text = Kaproxy(t, upstream.endpoint, reuse=None, main={key: fifo}).start_failing()
        t.equal(status, 1, "exit status")
        t.check("a FIFO without a reader" in text and str(fifo) in text, f"message: {text!r}")
    fifo.unlink()
    reader = open_fifo(t, fifo)
    kaproxy = start(t, upstream, main={"access_log": fifo})
    fifo.rename(t.folder / "old.fifo")
    os.mkfifo(fifo)
    kaproxy.signal(signal.SIGHUP)
    kaproxy.wait_log(f"error: cannot open the access log {fifo} again, still writing to the old "
                     "file: a FIFO without a reader$")
    ask(t, kaproxy, 1, target="/here")
    read_all(reader, "", lambda lines: lines and "target=/here" in lines[-1])


@test("a reader of a FIFO that leaves: it is reported once, and the next reader gets the lines")
def reader_leaves(t):
    fifo = t.folder / "access.fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    kaproxy = start(t, t.own(HttpUpstream()), main={"access_log": fifo})
    os.close(reader)
    ask(t, kaproxy, 20, target="/{}")
    kaproxy.wait_log("error: the access log cannot be written: Broken pipe")
    ask(t, kaproxy, 1, target="/20")
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    t.callback(os.close, reader)
    lines = read_all(reader, "", lambda lines: len(lines) >= 21)
    t.equal([parse_logfmt(line)["target"] for line in lines], [f"/{n}" for n in range(21)], "lines")
    t.equal(len(kaproxy.find_log("cannot be written")), 1, "messages")


# The program's own /dev, with nothing but what it may need, and a log that leads elsewhere.
OWN_DEV = """
mkdir -p "$1" && mount -t tmpfs tmpfs "$1" || exit 77
for name in null zero full random urandom; do
    : >"$1/$name" && mount --bind "/dev/$name" "$1/$name" || exit 77
done
ln -s "$2" "$1/log" && mount --rbind "$1" /dev || exit 77
shift 2
exec "$@"
"""


def own_dev(t, log):
    """A command that runs a program with another /dev/log."""
    unshare = shutil.which("unshare")
    if os.geteuid() != 0 or not unshare:
        raise Skip("only root can have its own /dev")
    wrap = [unshare, "--mount", "--propagation", "private", "sh", "-c", OWN_DEV, "sh",
            str(t.folder / "dev"), str(log)]
    if subprocess.run([*wrap, "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        raise Skip("no mount namespaces here")
    return wrap


class OnSyslog(Kaproxy):
    """Its log is the syslog of a socket that the test reads until kaproxy is ready."""

    def __init__(self, t, endpoint, **options):
        path = t.folder / "log.sock"
        self.socket = t.own(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.lines = []
        super().__init__(t, endpoint, reuse=None, wrap=own_dev(t, path), **options)

    def log(self):
        if not (self.lines and self.lines[-1].endswith(": ready")):
            self.read_log()
        return self.lines

    def read_log(self):
        try:
            while True:
                self.lines.append(self.socket.recv(65536).decode())
        except BlockingIOError:
            pass


@test("syslog that stops reading: exchanges continue, and when it reads again all lines arrive")
def stalled_syslog(t):
    upstream = t.own(HttpUpstream())
    kaproxy = t.own(OnSyslog(t, upstream.endpoint,
                             main={"log": "syslog", "access_log": "syslog"}).start())
    t.check(re.match(r"<29>\w+ +\d+ [\d:]{8} kaproxy\[%d\]: kaproxy .* starts" % kaproxy.pid,
                     kaproxy.lines[0]), f"a message: {kaproxy.lines[0]!r}")
    ask(t, kaproxy, 1000, target="/{}")

    def targets():
        kaproxy.read_log()
        return [int(match[1]) for line in kaproxy.lines
                if (match := re.search(r"^<30>.*: ts=.* target=/(\d+) end=complete$", line))]

    wait_until(lambda: len(targets()) == 1000, "the lines")
    t.equal(targets(), [*range(1000)], "their order")
    ask(t, kaproxy, 100)
    kaproxy.stop()


main()
