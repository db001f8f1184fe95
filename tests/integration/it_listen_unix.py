#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a stale unix socket is replaced; a live one, or a file, is left alone."""

import signal
import socket
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Kaproxy, answer_lines, connect, main, test


@test("a stale socket file is replaced")
def stale(t):
    path = t.folder / "k.sock"
    old = socket.socket(socket.AF_UNIX)
    old.bind(str(path))
    old.close()
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, listen=f"unix:{path}")
    client = kaproxy.connect()
    t.equal(client.ask(b"a"), b"1 a", "response")


@test("after a kill the next start replaces the file left behind")
def after_kill(t):
    upstream = t.upstream(answer_lines)
    first = t.kaproxy(upstream.endpoint, listen=f"unix:{t.folder}/k.sock")
    first.signal(signal.SIGKILL)
    first.process.wait()
    second = t.kaproxy(upstream.endpoint, listen=f"unix:{t.folder}/k.sock")
    client = second.connect()
    t.check(client.ask(b"a").endswith(b" a"), "no response")


@test("a live socket is an error and keeps working")
def live(t):
    upstream = t.upstream(answer_lines)
    first = t.kaproxy(upstream.endpoint, listen=f"unix:{t.folder}/k.sock")
    second = Kaproxy(t, upstream.endpoint, listen=f"unix:{t.folder}/k.sock")
    status, text = second.start_failing()
    t.equal(status, 1, "exit status")
    t.check("k.sock" in text, f"the message does not name the socket: {text!r}")
    client = first.connect()
    t.equal(client.ask(b"a"), b"1 a", "response of the first")


@test("a socket that is listened on but not accepted from is live, too")
def live_and_busy(t):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(t.folder / "k.sock"))
        other.listen(0)
        fillers = []
        try:
            for _ in range(3):
                filler = socket.socket(socket.AF_UNIX)
                fillers.append(filler)
                filler.setblocking(False)
                filler.connect(str(t.folder / "k.sock"))
        except BlockingIOError:
            pass
        kaproxy = Kaproxy(t, t.upstream(answer_lines).endpoint, listen=f"unix:{t.folder}/k.sock")
        t.equal(kaproxy.start_failing()[0], 1, "exit status")
        for filler in fillers:
            filler.close()
        other.setblocking(False)
        other.accept()[0].close()
        connect(str(t.folder / "k.sock")).close()  # still at its path


@test("a file that is not a socket is an error and stays as it is")
def not_a_socket(t):
    path = t.folder / "k.sock"
    path.write_text("precious")
    kaproxy = Kaproxy(t, t.upstream(answer_lines).endpoint, listen=f"unix:{path}")
    status, text = kaproxy.start_failing()
    t.equal(status, 1, "exit status")
    t.check(str(path) in text, f"the message does not name the file: {text!r}")
    t.equal(path.read_text(), "precious", "the file")


main()
