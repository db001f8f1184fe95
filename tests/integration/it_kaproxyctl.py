#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: kaproxyctl shows what its server reports, has it do what the verbs say, and is
not harmed by any response."""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Skip, WAIT_MAX, answer_lines, free_port, main, spawn, test, wait_until
from kaptest.ctl import CTL, Admin, environment, response, run
from kaptest.kaproxy import TESTS

DONE, REFUSED, USAGE, UNREACHABLE, WAITED = range(5)


def admin(t, over_unix=True):
    return t.own(Admin(t.folder / "admin.sock" if over_unix else None))


def rows(text):
    """The cells of a table's lines, separated by two spaces."""
    return [[cell.strip() for cell in line.split("  ") if cell] for line in text.splitlines()]


@test("status: problems first, then a summary; --check has a status for critical ones")
def status(t):
    server = admin(t)
    code, out, err = run("-s", server.place, "status")
    t.equal((code, err), (DONE, ""), "status")
    lines = out.splitlines()
    t.equal(lines[0], "critical  http://192.0.2.1:80 is down")
    t.equal(lines[1], "notice    cache is paused")
    t.equal(lines[3], "kaproxy 9.8, process 4711, serving, up 2h03m, /etc/kaproxy.ini")
    t.equal(lines[4], "2 listeners, 1 paused; 2 upstreams, 1 down, 1 paused; 2 pools")
    t.equal(lines[5], "3 of 1024 clients; connections: 1 in use, 2 held, 1 connecting, 0 idle; "
                      "7 waiting")
    t.equal(lines[6], "12.5 clients/s, 5.0 grants/s, 0 dials/s, 1.5 failures/s, 2.0 KiB/s")
    t.equal(run("-s", server.place, "status", "--check")[0], REFUSED, "--check")
    del server.status["problems"][0]
    t.equal(run("-s", server.place, "status", "--check")[0], DONE, "--check of a notice")
    server.status["problems"][0]["severity"] = "warning"
    t.equal(run("-s", server.place, "status", "--check")[0], USAGE, "--check of a warning")
    t.equal(run("-s", server.place, "status")[0], DONE, "a warning without --check")
    server.status["problems"] = []
    t.equal(run("-s", server.place, "status")[1].splitlines()[0], "No problems.")


@test("pools, hosts, listeners, sessions: tables with units")
def tables(t):
    server = admin(t, over_unix=False)
    code, out, _ = run("pools", "-s", server.place)
    t.equal(code, DONE)
    t.equal(rows(out)[1:], [["default", "1", "2", "1", "0", "0", "4", "128", "-"],
                            ["cache", "0", "0", "0", "0", "7", "8", "128", "9"]], "pools")
    _, out, _ = run("hosts", "--socket", server.place)
    t.equal(rows(out)[1:], [
        ["http://192.0.2.1:80", "default", "down 1m24s", "1", "2", "1", "0", "4", "0", "-", "5.0",
         "99.9 %", "50 ms", "1.5", "4.0 s ago: Connection refused"],
        ["redis://192.0.2.2:6379", "cache", "paused", "0", "0", "0", "0", "8", "7", "2.5 s", "0",
         "-", "-", "0"]], "hosts")
    _, out, _ = run("listeners", "-s", server.place)
    t.equal(rows(out)[1:], [
        ["web", "open", "127.0.0.1:8080 unix:/run/web.sock", "http://192.0.2.1:80", "default",
         "3", "12.5", "2.0 KiB", "12 ms", "1.5 s", "1h02m", "500 ms"],
        ["kv", "paused", "127.0.0.1:6380", "redis://192.0.2.2:6379", "cache", "0", "-", "-", "-",
         "-", "-", "-"]], "listeners")
    _, out, _ = run("sessions", "-s", server.place)
    t.equal(rows(out)[1:], [
        ["1h02m", "relaying", "web", "127.0.0.1:40001", "500 ms", "-", "1.5 KiB", "3.0 MiB", "17"],
        ["2.2 s", "waiting", "web", "127.0.0.1:40002", "2.2 s", "2.2 s", "10 B", "0 B", "-"],
        ["and 5 younger sessions"]], "sessions")
    t.equal(server.targets(), ["/status"] * 3 + ["/status?sessions=1"], "asked for")
    t.equal(server.requests[0][2]["Host"], server.place, "Host")


@test("hosts that differ only in their TLS settings are distinguished by the listener")
def tls_settings(t):
    server = admin(t)
    one, other = server.status["hosts"]
    other.update(upstream=one["upstream"], tls="kv")
    t.equal([row[0] for row in rows(run("-s", server.place, "hosts")[1])[1:]],
            ["http://192.0.2.1:80", "http://192.0.2.1:80 (TLS: kv)"], "upstreams")


@test("--sort: rows by any column of the table, numbers from the largest, texts alphabetically")
def sorting(t):
    server = admin(t)
    one, other = server.status["hosts"]
    server.status["hosts"].append({**one, "upstream": "http://192.0.2.0:80", "oldest_wait": 1.0})
    first, second, third = "http://192.0.2.1:80", other["upstream"], "http://192.0.2.0:80"
    for column, expected in (("UPSTREAM", [third, first, second]),
                             ("pool", [second, first, third]), ("WAITING", [second, first, third]),
                             ("In Use", [first, third, second]), ("longest", [second, third, first]),
                             ("failures/s", [first, third, second])):
        table = rows(run("-s", server.place, "hosts", "--sort", column)[1])
        t.equal([row[0] for row in table[1:]], expected, f"hosts by {column}")
    for column, expected in (("age", ["40001", "40002"]), ("waiting", ["40002", "40001"]),
                             ("state", ["40001", "40002"]), ("CLIENT", ["40001", "40002"]),
                             ("quiet", ["40002", "40001"]), ("to-client", ["40001", "40002"])):
        table = rows(run("-s", server.place, "sessions", f"--sort={column}")[1])
        t.equal([row[3][-5:] for row in table[1:3]], expected, f"sessions by {column}")


@test("--sort accepts each visible column, and its completion has these")
def sortable(t):
    server = admin(t)
    for verb in "hosts", "sessions":
        titles = [re.sub("[^a-z0-9]", "", title.lower())
                  for title in re.split("  +", run("-s", server.place, verb)[1].splitlines()[0])]
        words = run("complete", f"sort:{verb}")[1].splitlines()
        t.equal([re.sub("[^a-z0-9]", "", word) for word in words],
                [title for title in titles if title], verb)
        for word in words:
            t.equal(run("-s", server.place, verb, "--sort", word)[0], DONE, word)


@test("--json: what the server sent, the part of the verb; --names: a name in each line")
def machine(t):
    server = admin(t)
    for verb, part in (("status", server.status), ("pools", server.status["pools"]),
                       ("hosts", server.status["hosts"]),
                       ("listeners", server.status["listeners"]),
                       ("sessions", {"sessions": server.sessions, "sessions_left_out": 5})):
        code, out, err = run("-s", server.place, verb, "--json")
        t.equal((code, json.loads(out), err), (DONE, part, ""), verb)
    for verb, names in (("pools", "default\ncache\n"), ("listeners", "web\nkv\n"),
                        ("hosts", "http://192.0.2.1:80\nredis://192.0.2.2:6379\n")):
        t.equal(run("-s", server.place, verb, "--names"), (DONE, names, ""), verb)


@test("metrics: printed unchanged")
def metrics(t):
    server = admin(t)
    server.answers["/metrics"] = response(200, "# HELP a b\na{c=\"\\n\"} 1\n", "text/plain")
    t.equal(run("-s", server.place, "metrics"), (DONE, "# HELP a b\na{c=\"\\n\"} 1\n", ""))
    server.answers["/metrics"] = response(500, "no")
    t.equal(run("-s", server.place, "metrics"),
            (REFUSED, "", "kaproxyctl: kaproxy answered /metrics with status 500\n"))


@test("pause, resume, reconnect, log-level: a POST with the arguments, and the server's sentence")
def commands(t):
    server = admin(t)
    for verb in "pause", "resume", "reconnect", "log-level":
        server.answers["/" + verb] = response(202, {"result": verb, "text": f"{verb}: 2 hosts",
                                                    "matched": 2, "busy": 1})
    t.equal(run("-s", server.place, "pause", "--no-wait"), (DONE, "pause: 2 hosts\n", ""), "pause")
    run("-s", server.place, "resume", "--pool", "a b&c", "--host", "http://[::1]:80")
    run("-s", server.place, "reconnect", "--listener=ü")
    code, out, _ = run("-s", server.place, "log-level", "debug", "-j")
    t.equal((code, json.loads(out)["matched"]), (DONE, 2), "log-level")
    t.equal(server.targets("POST"),
            ["/pause", "/resume?pool=a%20b%26c&host=http%3A%2F%2F%5B%3A%3A1%5D%3A80",
             "/reconnect?listener=%C3%BC", "/log-level?level=debug"], "asked for")
    for _, _, fields in server.requests:
        t.equal((fields.get("Kaproxy-Control"), fields.get("Content-Length"), fields["Host"]),
                ("yes", "0", "localhost"), "fields")


@test("reload: what has changed, a line each; every mistake on standard error, with status 1")
def reload(t):
    server = admin(t)
    server.answers["/reload"] = response(200, {"result": "reloaded", "changes": ["a\x1b", "b"]})
    t.equal(run("-s", server.place, "reload"), (DONE, "a?\nb\n", ""), "changes")
    code, out, err = run("-s", server.place, "reload", "--json")
    t.equal((code, json.loads(out)["changes"], err), (DONE, ["a\x1b", "b"], ""), "--json")
    server.answers["/reload"] = response(200, {"result": "reloaded"})
    t.equal(run("-s", server.place, "reload"), (DONE, "reloaded\n", ""), "no changes")
    mistakes = ["a.ini:1: bad", "a.ini:2: worse\x07"]
    server.answers["/reload"] = response(409, {"error": "not reloaded", "mistakes": mistakes})
    said = "a.ini:1: bad\na.ini:2: worse?\nkaproxyctl: not reloaded\n"
    t.equal(run("-s", server.place, "reload"), (REFUSED, "", said), "mistakes")
    code, out, err = run("-s", server.place, "reload", "-j")
    t.equal((code, json.loads(out)["mistakes"], err), (REFUSED, mistakes, said), "-j")
    server.answers["/reload"] = response(404, {"error": "there is no such page"})
    t.equal(run("-s", server.place, "reload"),
            (REFUSED, "", "kaproxyctl: there is no such page\n"), "an older kaproxy")
    server.answers["/reload"] = response(409, {"error": "no", "mistakes": {"a": 1}})
    t.equal(run("-s", server.place, "reload"), (REFUSED, "", "kaproxyctl: no\n"), "no list")
    t.equal(set(server.targets("POST")), {"/reload"}, "asked for")
    t.equal(run("-s", "unix:/nowhere", "reload")[0], UNREACHABLE, "client without permission")


@test("errors are reported in the server's words, with status 1")
def refusals(t):
    server = admin(t)
    server.answers["/pause"] = response(404, {"error": "there is no pool x\x1b[31m"})
    t.equal(run("-s", server.place, "pause", "--pool", "x"),
            (REFUSED, "", "kaproxyctl: there is no pool x?[31m\n"), "JSON")
    server.answers["/pause"] = response(403, "control = none\n", "text/plain")
    t.equal(run("-s", server.place, "pause"), (REFUSED, "", "kaproxyctl: control = none\n"), "text")
    server.answers["/pause"] = response(503, "<html>", "text/html")
    t.equal(run("-s", server.place, "pause"),
            (REFUSED, "", "kaproxyctl: kaproxy answered with status 503\n"), "HTML")
    code, out, err = run("-s", server.place, "drain", "--json")
    t.equal((code, json.loads(out)["error"], err),
            (REFUSED, "there is no /drain", "kaproxyctl: there is no /drain\n"), "--json")


def draining(server, rest):
    """The server drains: each request of /status sees one session less of `rest`."""
    server.answers["/drain"] = response(202, {"result": "draining", "text": "web drains"})
    for row in server.status["listeners"] + server.status["hosts"]:
        row["state"] = "draining"

    def answer(server, connection):
        rest.append(max(rest[-1] - 1, 0))
        server.status["listeners"][0]["metrics"]["sessions"] = rest[-1]
        server.status["hosts"][0]["metrics"]["connections"] = {"busy": rest[-1] // 2,
                                                               "held": (rest[-1] + 1) // 2}
        connection.sendall(response(200, server.status))
    server.answers["/status"] = answer


@test("drain waits until nothing is in use: a listener's sessions, or upstreams' connections")
def drain(t):
    server = admin(t)
    ended = "web drains\nNothing is in use there any more.\n"
    for scope in (["--listener", "web"], [], ["--pool", "default"], ["--host", "192.0.2.1:80"],
                  ["--host", "http://192.0.2.1:80", "--wait"]):
        rest = [2]
        draining(server, rest)
        t.equal(run("-s", server.place, "drain", *scope), (DONE, ended, ""), f"drain {scope}")
        t.equal(rest, [2, 1, 0], f"requests of /status by drain {scope}")
    rest = [9]
    draining(server, rest)
    t.equal(run("-s", server.place, "drain", "--listener", "kv"), (DONE, ended, ""), "another one")
    t.equal(len(rest), 2, "requests")
    t.equal(run("-s", server.place, "drain", "--no-wait"), (DONE, "web drains\n", ""), "--no-wait")
    t.equal(len(rest), 2, "requests with --no-wait")
    draining(server, [10 ** 6])
    code, out, err = run("-s", server.place, "drain", "--timeout", "0.3")
    t.equal((code, out), (WAITED, "web drains\n"), "--timeout")
    t.check(err.endswith("sessions are still in use after 0.3 s\n"), f"said {err!r}")


@test("drain ends when it is resumed meanwhile, or when the server is gone")
def drain_ends(t):
    server = admin(t)
    draining(server, [10 ** 6])
    look = server.answers["/status"]

    def resumed(server, connection):
        look(server, connection)
        for row in server.status["listeners"]:
            row["state"] = "open"
    server.answers["/status"] = resumed
    t.equal(run("-s", server.place, "drain"),
            (REFUSED, "web drains\n", "kaproxyctl: it was resumed meanwhile\n"), "resumed")
    server.answers["/status"] = lambda server, connection: None
    t.equal(run("-s", server.place, "drain")[0], UNREACHABLE, "gone")


def pausing(server, rest, changes=None):
    """The server pauses: each request of /status sees one connection less of `rest`."""
    server.answers["/pause"] = response(202, {"result": "paused", "text": "2 hosts are paused"})
    for row in server.status["hosts"]:
        row["state"] = "paused"

    def answer(server, connection):
        rest.append(max(rest[-1] - 1, 0))
        connections = server.status["hosts"][0]["metrics"]["connections"]
        connections["busy"], connections["held"] = rest[-1] - rest[-1] // 2, rest[-1] // 2
        connection.sendall(response(200, server.status))
        if changes is not None:
            changes(server.status)
    server.answers["/status"] = answer


@test("pause waits until no connection is in use there; for a listener it does not wait")
def pause(t):
    server = admin(t)
    ended = "2 hosts are paused\nNothing is in use there any more.\n"
    for scope in [], ["--pool", "default"], ["--host", "HTTP://192.0.2.1:80"]:
        rest = [3]
        pausing(server, rest)
        t.equal(run("-s", server.place, "pause", *scope), (DONE, ended, ""), f"pause {scope}")
        t.equal(rest, [3, 2, 1, 0], f"requests of /status by pause {scope}")
    rest = [9]
    pausing(server, rest)
    t.equal(run("-s", server.place, "pause", "--pool", "cache"), (DONE, ended, ""), "another one")
    t.equal(len(rest), 2, "requests")
    for option in ["--no-wait"], ["--listener", "web"]:
        t.equal(run("-s", server.place, "pause", *option)[:2], (DONE, "2 hosts are paused\n"), option)
        t.equal(len(rest), 2, f"requests with {option}")
    pausing(server, [10 ** 6])
    code, out, err = run("-s", server.place, "pause", "--timeout", "0.1")
    t.equal((code, out), (WAITED, "2 hosts are paused\n"), "--timeout")
    t.check(err.endswith(" connections are still in use after 0.1 s\n"), f"said {err!r}")


@test("pause ends when it is resumed, and when kaproxy is restarted, with nothing in use there")
def pause_ends(t):
    def resume(status):
        for row in status["hosts"]:
            row["state"] = "open"

    def restart(status):
        status["kaproxy"]["pid"] += 1
        resume(status)

    for change, rest, why in ((resume, 10 ** 6, "it was resumed meanwhile"),
                              (restart, 2, "kaproxy was restarted meanwhile, and does not know of it")):
        server = admin(t, over_unix=False)
        pausing(server, [rest], change)
        t.equal(run("-s", server.place, "pause"),
                (REFUSED, "2 hosts are paused\n", f"kaproxyctl: {why}\n"), why)


@test("a state that is reported late, as it may be, ends no wait")
def told_late(t):
    server = admin(t)
    states = ["open", "open", "paused"]

    def change(status):
        status["hosts"][0]["state"] = states.pop(0) if len(states) > 1 else states[0]

    rest = [5]
    pausing(server, rest, change)
    server.status["hosts"][0]["state"] = "open"
    t.equal(run("-s", server.place, "pause", "--pool", "default")[0], DONE, "status")
    t.equal(rest, [5, 4, 3, 2, 1, 0], "requests")


@test("where the server is: --socket, $KAPROXY_ADMIN, -c, $RUNTIME_DIRECTORY")
def places(t):
    server, other = admin(t), admin(t, over_unix=False)
    file = t.folder / "kaproxy.ini"

    def config(listen):
        file.write_text(f"[kaproxy]\nlisten = no\nlog = [\n[admin]\nlisten = {listen}\n[pool]\n")

    def asked(*arguments, **variables):
        before = len(server.requests), len(other.requests)
        code, _, err = run(*arguments, "status", **variables)
        t.equal((code, err), (DONE, ""), f"{arguments} {variables}")
        return len(server.requests) - before[0], len(other.requests) - before[1]

    mine, its = (1, 0), (0, 1)
    nobody = "unix:/nowhere"
    t.equal(asked("-s", server.place, KAPROXY_ADMIN=nobody), mine, "--socket")
    t.equal(asked("-s", t.folder / "admin.sock"), mine, "a path alone")
    config(nobody)
    t.equal(asked("-c", file, KAPROXY_ADMIN=other.place), its, "KAPROXY_ADMIN")
    config(f"{other.place} {server.place}")
    t.equal(asked("-c", file), mine, "-c: the unix socket")
    config(other.place)
    t.equal(asked("-c", file, RUNTIME_DIRECTORY="/nowhere"), its, "-c: TCP")
    file.write_text("[pool]\n")
    t.equal(asked("-c", file, RUNTIME_DIRECTORY=str(t.folder)), mine, "-c without [admin]")
    t.equal(asked(RUNTIME_DIRECTORY=f"{t.folder}:/nowhere"), mine, "RUNTIME_DIRECTORY")
    config("off")
    code, _, err = run("-c", file, "status")
    t.equal((code, "listen = off" in err), (UNREACHABLE, True), "off")
    code, _, err = run("-c", t.folder / "none.ini", "status")
    t.equal((code, "cannot read" in err), (UNREACHABLE, True), "no file")
    code, _, err = run("-s", "localhost:80", "status")
    t.equal((code, err.count("\n")), (USAGE, 1), "a name")


@test("a server that cannot be reached: one sentence, with status 3")
def unreachable(t):
    sock = t.folder / "admin.sock"
    place = f"unix:{sock}"
    t.equal(run("-s", place, "status"),
            (UNREACHABLE, "", f"kaproxyctl: there is no socket {place}: is kaproxy running, and "
                              "[admin] set?\n"), "no socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(sock))
    t.equal(run("-s", place, "status"),
            (UNREACHABLE, "", f"kaproxyctl: connection refused by {place}: is kaproxy running?\n"),
            "no listener")
    listener.listen(0)
    waiting = [t.own(socket.socket(socket.AF_UNIX)) for _ in range(1)]
    waiting[0].connect(str(sock))
    code, _, err = run("-s", place, "--max-time", "0.2", "status")
    t.equal((code, err), (UNREACHABLE, f"kaproxyctl: no answer from {place} within 0.2 s\n"),
            "the backlog is full")
    listener.close()
    port = free_port()
    t.equal(run("-s", f"127.0.0.1:{port}", "status"),
            (UNREACHABLE, "", f"kaproxyctl: connection refused by 127.0.0.1:{port}: is kaproxy "
                              "running, and [admin] set?\n"), "TCP")


@test("another user's socket: permission denied")
def permission(t):
    server = admin(t)
    os.chmod(t.folder, 0o755)
    os.chmod(server.address, 0o600)
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        raise Skip("needs root and setpriv")
    done = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", CTL, "-s", server.place,
                           "status"], capture_output=True, text=True, check=False,
                          env=environment())
    if "Permission denied" in done.stderr and "setpriv" in done.stderr:
        raise Skip("another user cannot run the program here")
    t.equal(done.returncode, UNREACHABLE)
    t.check("no permission to connect to" in done.stderr, f"said {done.stderr!r}")


def sends(*pieces, stays=False):
    def answer(server, connection):
        for piece in pieces:
            connection.sendall(piece)
        if stays:
            server.closing.wait(20)
    return answer


def endless(server, connection):
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
    while not server.closing.is_set():
        connection.sendall(b"x" * 65536)


def drips(server, connection):
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
    while not server.closing.wait(0.02):
        connection.sendall(b" ")


HOSTILE = [
    ("nothing", sends(), "closed the connection without an answer"),
    ("nothing for ever", sends(stays=True), "no answer from"),
    ("a head for ever", sends(b"HTTP/1.0 200 OK\r\nA: ", stays=True), "no answer from"),
    ("a byte now and then", drips, "no answer from"),
    ("garbage", sends(b"\x00\xff\x1b[2Jhello\r\n\r\n"), "is not kaproxy"),
    ("another protocol", sends(b"-ERR unknown command\r\n"), "is not kaproxy"),
    ("a head without end", sends(b"HTTP/1.0 200 OK\r\n" + b"A: b\r\n" * 20000), "is not kaproxy"),
    ("half a head", sends(b"HTTP/1.0 200 OK\r\nConte"), "was cut off"),
    ("half a body", sends(b"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\n{}"), "was cut off"),
    ("half of its chunks", sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"),
     "was cut off"),
    ("bad chunks", sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
     "is not kaproxy"),
    ("a lot", endless, "is larger than 16 MiB"),
    ("no JSON", response(200, "{"), "is not JSON"),
    ("an empty body", response(200, ""), "is not JSON"),
    ("bytes that are no text", response(200, b'{"a": "\xff\xfe"}'), "is not JSON"),
    ("another kind of JSON", response(200, "[1]"), "is not JSON"),
    ("deep JSON", response(200, "[" * 100000), "is not JSON"),
]


@test("hostile responses: one clear sentence each, with status 3")
def hostile(t):
    server = admin(t)
    for what, answer, sentence in HOSTILE:
        server.answers["/status"] = answer
        code, out, err = run("-s", server.place, "--max-time",
                             "10" if answer is endless else "0.3", "status")
        t.equal((code, out, err.count("\n")), (UNREACHABLE, "", 1), what)
        t.check(sentence in err, f"{what}: said {err!r}")


@test("a response in pieces, in chunks, after 100, or until the end of the connection is one")
def framings(t):
    server = admin(t)
    body = json.dumps(server.status["pools"] and {"pools": server.status["pools"]}).encode()
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\nA: b\r\n\r\n"
    for what, answer in (
            ("bytes", sends(*(bytes([b]) for b in response(200, body)))),
            ("chunks", sends(chunked % (len(body), body))),
            ("100", sends(b"HTTP/1.1 100 Continue\r\n\r\n", response(200, body))),
            ("until the end", sends(b"HTTP/1.0 200 OK\r\n\r\n" + body))):
        server.answers["/status"] = answer
        t.equal(run("-s", server.place, "pools", "--names"), (DONE, "default\ncache\n", ""), what)


@test("members that are missing, or of another kind, are left out")
def strange(t):
    server = admin(t)
    for value in (None, 7, "x", [], [7], [[]], {}, [{}], [{"metrics": 7, "name": {}, "limits": []}],
                  [{"age": 1e308, "bytes_up": -1e308, "upstream": "u" * 100000, "down": True}]):
        server.status = {name: value for name in server.status}
        server.sessions = value
        for verb in "status", "pools", "hosts", "listeners", "sessions":
            t.equal(run("-s", server.place, verb)[::2], (DONE, ""), f"{verb} of {value!r:.40}")
        t.equal(run("-s", server.place, "top", "-b", "-n", "1")[::2], (DONE, ""), "top")
    server.status = {}
    t.equal(run("-s", server.place, "hosts", "--json"),
            (UNREACHABLE, "", "kaproxyctl: the answer does not have what was asked for\n"), "--json")


@test("control characters in the output are question marks")
def control_characters(t):
    server = admin(t)
    server.status["problems"] = [{"severity": "notice", "text": "a\x1b[2J\r\n\x7f\x9b\u202eb é"}]
    server.status["pools"][0]["name"] = "x\x1b]0;y\x07"
    t.equal(run("-s", server.place, "status")[1].splitlines()[0], "notice    a?[2J?????b é")
    t.equal(run("-s", server.place, "status", LC_ALL="C")[1].splitlines()[0],
            "notice    a?[2J????????b ??", "in the locale C")
    t.equal(run("-s", server.place, "pools", "--names")[1].splitlines()[0], "x?]0;y?")
    code, out, _ = run("-s", server.place, "status", "--json")
    t.check(out.isascii() and "\x1b" not in out, "JSON with characters that a terminal obeys")
    t.equal((code, json.loads(out)), (DONE, server.status), "and nothing is lost")


@test("the command line: help, version, and mistakes with status 2")
def command_line(t):
    code, out, err = run("--help")
    t.equal((code, err), (DONE, ""))
    t.equal(run("help"), (code, out, err), "help")
    for verb in "status", "top", "drain", "--json", "--no-wait":
        t.check(verb in out, f"{verb} is not in the help")
    t.check(run("--version")[1].startswith("kaproxyctl "), "--version")
    for arguments in ([], ["nothing"], ["status", "more"], ["log-level"], ["log-level", "loud"],
                      ["status", "--pool", "x"], ["reconnect", "--wait"], ["drain", "--timeout", "x"],
                      ["hosts", "--sort", "nothing"], ["pools", "--sort", "name"],
                      ["sessions", "--sort", "pool"], ["hosts", "--sort", ""],
                      ["top", "-n", "0"], ["top", "-n", "-1"], ["drain", "--timeout", "nan"],
                      ["pause", "--pool", ""], ["pause", "--listener", "a", "--pool", "b"],
                      ["--nonsense"], ["pause", "--pool"], ["-s", "nowhere", "status"]):
        code, out, err = run(*arguments)
        t.equal((code, out), (USAGE, ""), f"{arguments}")
        t.check(err.startswith(("kaproxyctl: ", CTL + ": ")), f"{arguments}: said {err!r}")


@test("standard output that cannot be written is an error")
def full(t):
    server = admin(t)
    with open("/dev/full", "w", encoding="ascii") as out:
        done = subprocess.run([CTL, "-s", server.place, "status"], stdout=out,
                              stderr=subprocess.PIPE, text=True, check=False, env=environment())
    t.equal(done.returncode, UNREACHABLE)
    t.check("standard output" in done.stderr, f"said {done.stderr!r}")


@test("with kaproxy itself: every verb, and drain until a client has left")
def itself(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, more={"admin": {"listen": f"unix:{t.folder}/a.sock"}})
    client = kaproxy.connect()
    t.equal(client.ask(b"x"), b"1 x")

    def ctl(*arguments):
        return run("-c", kaproxy.file, *arguments)

    for verb in "status", "pools", "hosts", "listeners", "sessions", "metrics":
        code, out, err = ctl(verb)
        t.equal((code, err), (DONE, ""), verb)
    t.equal(ctl("hosts", "--names")[1], upstream.endpoint + "\n", "hosts")
    session = json.loads(ctl("sessions", "-j")[1])["sessions"][0]
    t.equal((session["listener"], session["conn"]), ("main", 1), "the session")
    t.equal(ctl("top", "-b", "-n", "1")[0], DONE, "top")
    t.equal(ctl("pause", "--pool", "nope")[0], REFUSED, "a pool that does not exist")
    t.equal(json.loads(ctl("pause", "-j", "--no-wait")[1])["busy"], 1, "busy")
    t.equal(ctl("pause", "--timeout", "0.1")[0], WAITED, "pause while a client has a connection")
    t.equal(json.loads(ctl("hosts", "-j")[1])[0]["state"], "paused", "state")
    for command in (["resume"], ["reconnect", "--host", upstream.endpoint],
                    ["log-level", "debug"]):
        t.equal(ctl(*command)[0], DONE, " ".join(command))
    for scope in ["--listener", "main"], ["--pool", "default"]:
        t.equal(ctl("drain", *scope, "--timeout", "0.1")[0], WAITED, f"drain {scope}")
    drain = spawn([CTL, "-c", str(kaproxy.file), "drain"], env=environment(),
                  stdout=subprocess.DEVNULL)
    wait_until(lambda: kaproxy.stderr().count("admin: drain") == 3, "the third drain")
    client.close()
    t.equal(drain.wait(WAIT_MAX), DONE, "drain until the client has left")
    t.equal(ctl("drain", "--pool", "default")[0], DONE, "drain where nothing is in use")


COMPLETE = """
PATH=$1:$PATH
source "$2"
COMP_LINE=$3 COMP_POINT=${#3} COMP_TYPE=9
read -ra COMP_WORDS <<<"$3"
[[ $3 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; }
_kaproxyctl
printf '%s\\n' "${COMPREPLY[@]}"
"""



def complete(line, **variables):
    file = TESTS.parent / "contrib/completion/kaproxyctl.bash"
    done = subprocess.run(["bash", "--norc", "-c", COMPLETE, "bash", str(pathlib.Path(CTL).parent),
                           str(file), line], capture_output=True, text=True, check=False,
                          env=environment(**variables))
    return done.stdout.split(), done.stderr


@test("completion by bash: verbs, options, and the existing names")
def completion(t):
    if shutil.which("bash") is None:
        raise Skip("bash is not installed")
    server = admin(t, over_unix=False)
    where = {"KAPROXY_ADMIN": server.place}
    for line, expected in (
            ("kaproxyctl re", ["readyz", "resume", "reconnect", "reload"]),
            ("kaproxyctl -s unix:/x re", ["readyz", "resume", "reconnect", "reload"]),
            ("kaproxyctl drain --no", ["--no-wait"]),
            ("kaproxyctl log-level w", ["warning"]),
            ("kaproxyctl pause --pool ", ["default", "cache"]),
            ("kaproxyctl pause --pool=d", ["default"]),
            ("kaproxyctl drain --listener w", ["web"]),
            ("kaproxyctl hosts --sort wa", ["waiting"]),
            ("kaproxyctl sessions --sort=f", ["from-client"]),
            # With bash's own COMP_WORDBREAKS only what follows the last colon is replaced.
            ("kaproxyctl pause --host redis://192.0.2.2:", ["6379"]),
            ("kaproxyctl status st", [])):
        t.equal(complete(line, **where), (expected, ""), line)
    server.requests.clear()
    t.equal(complete(f"kaproxyctl -s {server.place} pause --pool c"), (["cache"], ""), "-s")
    t.equal(len(server.requests), 1, "requests")
    t.equal(complete("kaproxyctl pause --pool ", KAPROXY_ADMIN="unix:/nowhere"), ([], ""),
            "no server")


main()
