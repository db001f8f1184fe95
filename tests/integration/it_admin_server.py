#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: the admin pages give the right responses, reject everything else with a
sentence, and allow changes only to those with permission."""

import json
import os
import re
import signal
import stat
import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import answer_lines, main, test, wait_until
from kaptest.admin import Admin
from kaptest.kaproxy import PROGRAM

PATHS = ("/", "/metrics", "/status", "/livez", "/readyz", "/style.css", "/page.js")
VERBS = ("/pause", "/resume", "/reconnect", "/drain", "/log-level", "/reload")


def start(t, **admin):
    """A kaproxy with admin pages on a unix socket, and on TCP if control is given."""
    path = t.folder / "admin.sock"
    listen = f"unix:{path}" + (" 127.0.0.1:{port}" if admin else "")
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint,
                        more={"admin": {"listen": listen, **admin}})
    text = kaproxy.file.read_text()
    port = re.search(r"admin.sock 127\.0\.0\.1:(\d+)", text)
    return kaproxy, Admin(path), Admin(("127.0.0.1", int(port[1]))) if port else None


@test("pages: GET and HEAD, with the headers that keep browsers from mischief")
def pages(t):
    kaproxy, admin, _ = start(t)
    for path in PATHS:
        answer, head = admin.get(path), admin.ask("HEAD", path)
        t.equal((answer.status, head.status, head.text), (200, 200, ""), path)
        for fields in answer.fields, head.fields:
            t.equal(fields["Cache-Control"], "no-store", path)
            t.equal(fields["X-Content-Type-Options"], "nosniff", path)
            t.check(int(fields["Content-Length"]) > 0, path)
        t.equal(int(answer.fields["Content-Length"]), len(answer.text.encode()), path)
        t.equal(head.fields["Content-Type"], answer.fields["Content-Type"], path)
    t.check("default-src 'none'" in admin.get("/").fields["Content-Security-Policy"], "CSP")
    t.equal(admin.get("/livez").text, "ok\n", "livez")
    t.check("kaproxy_clients 0" in admin.get("/metrics").text, "a number")
    t.check(admin.get("/metrics", Accept="application/openmetrics-text;version=1.0.0")
            .text.endswith("# EOF\n"), "OpenMetrics")
    t.equal(admin.get("/%73tatus?sessions=1").status, 200, "a path that is encoded")
    t.check("sessions" in json.loads(admin.get("/status?sessions=1").text), "sessions")
    t.check("sessions" not in json.loads(admin.get("/status").text), "no sessions")
    t.equal(kaproxy.connect().ask(b"a"), b"1 a", "a client's response")


@test("errors are sentences, or JSON for clients that accept it")
def errors(t):
    _, admin, _ = start(t)
    for path in "/nothing", "/metrics/", "/reloads", "/metrics%00x", "//", "/..", "/%2e%2e/metrics":
        answer = admin.get(path)
        t.equal(answer.status, 404, path)
        t.check(all(name in answer.text for name in ("/metrics", "/log-level", "/reload")), answer.text)
    t.equal(json.loads(admin.get("/x", Accept="application/json").text).keys(), {"error"}, "JSON")
    for method in "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW":
        answer = admin.ask(method, "/metrics")
        t.equal((answer.status, answer.fields["Allow"]), (405, "GET, HEAD"), method)
    for verb in VERBS:
        for method in "GET", "HEAD", "PUT":
            answer = admin.ask(method, verb)
            t.equal((answer.status, answer.fields["Allow"]), (405, "POST"), verb)
    for target, words in (("/pause?poll=x", "pool, host and listener"), ("/pause?pool", "NAME="),
                          ("/pause?pool=a&pool=b", "twice"), ("/pause?pool=", "empty"),
                          ("/pause?pool=a%00b", "not a name"), ("/pause?pool=%ff", "not a name"),
                          ("/pause?pool=" + 300 * "x", "not a name"),
                          ("/pause?pool=a&listener=b", "either a listener"),
                          ("/log-level", "level is missing"), ("/log-level?level=all", "one of"),
                          ("/log-level?level=info&pool=a", "only parameter"),
                          ("/log-level?level=info&level=info", "twice"),
                          ("/reload?pool=a", "no parameters")):
        answer = admin.order(target)
        t.equal(answer.status, 400, target)
        t.check(words in answer.text, f"{target}: {answer.text}")
    answer = admin.order("/pause?pool=absent")
    t.equal(answer.status, 404, "an unknown pool")
    t.check("default" in answer.text, answer.text)
    t.equal(admin.order("/pause", body="pool=absent").status, 400, "a body of no type")
    t.equal(admin.order("/pause", body="pool=absent",
                        **{"Content-Type": "application/x-www-form-urlencoded"}).status, 404, "form")


@test("what is not HTTP/1 is rejected, and no other client is affected")
def malformed(t):
    kaproxy, admin, _ = start(t)
    rows = ((b"GET /livez\r\n\r\n", b" 400 "), (b"GET /livez HTTP/0.9\r\n\r\n", b" 505 "),
            (b"GET /livez HTTP/-1.1\r\n\r\n", b" 505 "), (b"GET /livez HTTP/2.0\r\n\r\n", b" 400 "),
            (b"\r\n\r\n", b" 400 "), (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b" 400 "),
            (b"GET /livez HTTP/1.1\r\nX\r\n\r\n", b" 400 "),
            (b"GET http://example.com/livez HTTP/1.1\r\nHost: a\r\n\r\n", b" 200 "),
            (b"HEAD /livez HTTP/1.1\r\nContent-Length: 9\r\n\r\nGET /nope", b" 400 "),
            (b"POST /pause HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", b" 400 "),
            (b"POST /pause HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
             b"0\r\n\r\n", b" 400 "),
            (b"POST /pause HTTP/1.1\r\nContent-Length: 4097\r\n\r\n", b" 413 "),
            (b"POST /pause HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b" 400 "),
            (b"POST /pause HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", b" 413 "),
            (b"POST /pause HTTP/1.1\r\nExpect: what\r\nContent-Length: 5\r\n\r\n", b" 417 "))
    for request, status in rows:
        got = admin.raw(request)
        t.check(status in got.split(b"\r\n")[0] + b" ", f"{request!r}: {got!r}")
        t.equal(len(re.findall(rb"^HTTP/1\.[01] ", got, re.M)), 1, f"responses to {request!r}")
    with admin.connect() as peer:  # after this one it is not closed at once
        peer.sendall(b"CONNECT a:1 HTTP/1.1\r\n\r\n")
        t.check(b" 501 " in peer.recv(100), "CONNECT was not refused")
    many = b"GET /livez HTTP/1.1\r\n\r\n" * 100 + b"GET /nope HTTP/1.1\r\nConnection: close\r\n\r\n"
    got = admin.raw(many)
    t.equal((got.count(b" 200 OK"), got.count(b" 404 ")), (100, 1), "responses to a pipeline")
    t.check(admin.raw(b"GET /livez HTTP/1.0\r\n\r\n").endswith(b"ok\n"), "HTTP/1.0")
    t.equal(kaproxy.connect().ask(b"a"), b"1 a", "a client's response")


@test("control = unix: clients that can connect to the socket, with a header that shows intent")
def control_unix(t):
    kaproxy, admin, tcp = start(t, control="unix")
    for verb in VERBS:
        t.equal(admin.ask("POST", verb).status, 403, "without the header")
        answer = tcp.order(verb)
        t.equal(answer.status, 403, "over TCP")
        t.check("control = unix" in answer.text, answer.text)
    t.equal(tcp.get("/metrics").status, 200, "reading over TCP")
    answer = admin.order("/pause?pool=default")
    t.equal(json.loads(answer.text)["result"], "paused", "result")
    line = kaproxy.wait_log(r"admin: pause pool=default by unix:uid:\d+,pid:\d+: ")[0]
    t.check(f"uid:{os.getuid()},pid:{os.getpid()}" in line, line)
    t.equal(json.loads(admin.order("/resume").text)["result"], "resumed", "result")
    t.equal(kaproxy.connect().ask(b"a"), b"1 a", "a client's response")


@test("control = all: over TCP too, unless a name leads there; control = none: no client")
def control_others(t):
    kaproxy, _, tcp = start(t, control="all")
    t.equal(len(kaproxy.find_log(r"warning: \S+:\d+: \[admin\] control = all: anybody who reaches ")), 1,
            "warnings")
    port = tcp.address[1]
    for host, status in ((f"evil.example:{port}", 403), ("localhost.evil.example", 403),
                         (f"127.0.0.1:{port}", 200), ("localhost", 200), (f"[::1]:{port}", 200),
                         ("[::1", 403), ("", 403)):
        t.equal(tcp.order("/reconnect", Host=host).status, status, host)
    got = tcp.raw(b"POST http://evil.example/pause HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                  b"Kaproxy-Control: yes\r\nConnection: close\r\n\r\n")
    t.check(b" 403 " in got, got)
    kaproxy.wait_log(r"admin: reconnect by 127\.0\.0\.1:\d+: ")
    kaproxy.stop()
    _, admin, tcp = start(t, control="none")
    for who in admin, tcp:
        answer = who.order("/pause")
        t.equal(answer.status, 403, "with control = none")
        t.check("control = none" in answer.text, answer.text)


@test("-t warns of control = all over TCP, and not of a unix socket")
def check(t):
    for listen, warnings in ((f"unix:{t.folder}/x.sock", 0), ("127.0.0.1:1", 1)):
        file = t.folder / "check.ini"
        file.write_text(f"[admin]\nlisten = {listen}\ncontrol = all\n[listener a]\n"
                        "listen = 127.0.0.1:2\nupstream = http://x\n")
        done = subprocess.run([PROGRAM, "-t", "-c", str(file)], capture_output=True, text=True,
                              check=False)
        t.equal(done.stderr.count(":2: warning: [admin] control = all"), warnings, done.stderr)


@test("the socket is accessible only to its owner, and gone at the end")
def permissions(t):
    kaproxy, admin, _ = start(t)
    t.equal(oct(stat.S_IMODE(admin.address.stat().st_mode)), "0o600", "mode")
    kaproxy.stop()
    t.check(not admin.address.exists(), "the socket was left behind")
    other = t.kaproxy(t.upstream(answer_lines).endpoint,
                      more={"admin": {"listen": f"unix:{admin.address}", "socket_mode": "0666"}})
    t.equal(oct(stat.S_IMODE(admin.address.stat().st_mode)), "0o666", "mode")
    status, text = type(other)(t, t.upstream(answer_lines).endpoint,
                               more={"admin": {"listen": f"unix:{admin.address}"}}).start_failing()
    t.equal(status, 1, "exit status")
    t.check("[admin]: cannot listen on unix:" in text and "in use" in text, text)
    t.equal(Admin(admin.address).get("/livez").status, 200, "the first one's pages")


@test("readyz: 503 when all listeners drain, and at a stop, while a client is active")
def ready(t):
    kaproxy, admin, _ = start(t)
    client = kaproxy.connect()
    t.equal(client.ask(b"a"), b"1 a", "response")
    t.equal(admin.get("/readyz").status, 200, "serving")
    admin.order("/drain?listener=main")
    answer = admin.get("/readyz")
    t.equal((answer.status, answer.text.startswith("draining: ")), (503, True), answer.text)
    admin.order("/resume")
    t.equal(admin.get("/readyz").status, 200, "serving again")
    kaproxy.signal(signal.SIGTERM)
    wait_until(lambda: admin.get("/readyz").status == 503, "stopping to be shown")
    t.check(admin.get("/readyz").text.startswith("stopping: "), "its sentence")
    t.equal(admin.get("/livez").status, 200, "alive")
    t.equal(client.ask(b"b"), b"1 b", "response")
    t.equal(client.end(), "eof", "end")
    kaproxy.wait_exit()
    t.check(not admin.address.exists(), "the socket was left behind")


main()
