#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: the exit status of kaproxyctl livez and readyz is what a supervisor's probes need:
neither fails because an upstream is down, and readyz alone fails when no client is accepted."""

import json
import signal
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import free_port, main, test, wait_until
from kaptest.admin import admin_section
from kaptest.ctl import Admin, response, run
from kaptest.http import HttpUpstream, client, held, start

DONE, REFUSED, _, UNREACHABLE = range(4)
DRAINING = "kaproxyctl: draining: no listener accepts clients; resume ends that\n"


def probe(t, verb, *options):
    return run("-s", f"unix:{t.folder}/admin.sock", verb, *options)


@test("both succeed while clients are served; with --json they print an object")
def serving(t):
    start(t, t.own(HttpUpstream()), more=admin_section(t))
    t.equal(probe(t, "livez"), (DONE, "ok\n", ""), "livez")
    t.equal(probe(t, "readyz"), (DONE, "ready\n", ""), "readyz")
    code, out, _ = probe(t, "readyz", "-j")
    t.equal((code, json.loads(out)), (DONE, {"text": "ready"}), "readyz -j")


@test("an upstream that is down is a problem of status --check, and of no probe")
def upstream_down(t):
    kaproxy = t.kaproxy(f"http://127.0.0.1:{free_port()}", reuse="framed", pool={"fail_after": 1},
                        more=admin_section(t))
    t.equal(client(t, kaproxy).ask().status, 502, "response")
    wait_until(lambda: probe(t, "status", "--check")[0] == REFUSED, "a critical problem")
    t.equal((probe(t, "livez")[0], probe(t, "readyz")[0]), (DONE, DONE), "probes")


@test("while all listeners drain it is alive, and not ready; resumed it is ready again")
def draining(t):
    start(t, t.own(HttpUpstream()), more=admin_section(t))
    t.equal(probe(t, "drain")[0], DONE, "drain")
    t.equal(probe(t, "livez"), (DONE, "ok\n", ""), "livez")
    t.equal(probe(t, "readyz"), (REFUSED, "", DRAINING), "readyz")
    t.equal(probe(t, "resume")[0], DONE, "resume")
    t.equal(probe(t, "readyz")[0], DONE, "readyz after that")


@test("while it stops it is alive, and not ready; afterwards there is no answer")
def stopping(t):
    upstream, go = held(t)
    kaproxy = start(t, upstream, more=admin_section(t))
    peer = client(t, kaproxy)
    peer.send()
    wait_until(lambda: kaproxy.counters()["busy"] == 1, "a request in progress")
    kaproxy.signal(signal.SIGTERM)
    wait_until(lambda: probe(t, "readyz")[0] == REFUSED, "readyz to fail")
    t.equal(probe(t, "livez")[0], DONE, "livez")
    go.set()
    t.equal(peer.response().status, 200, "response")
    kaproxy.wait_exit()
    t.equal([probe(t, verb)[0] for verb in ("livez", "readyz")], [UNREACHABLE] * 2, "at the end")


@test("a process that does not answer fails both in time")
def silent(t):
    kaproxy = start(t, t.own(HttpUpstream()), more=admin_section(t))
    with kaproxy.paused():
        t.equal([probe(t, verb, "--max-time", "0.2")[0] for verb in ("livez", "readyz")],
                [UNREACHABLE] * 2, "exit statuses")


@test("a 503 has its reason on standard error, and status 1")
def refused(t):
    server = t.own(Admin(t.folder / "admin.sock"))
    server.answers["/livez"] = response(503, {"error": "the loop has not answered for 12 s"})
    t.equal(probe(t, "livez"), (REFUSED, "", "kaproxyctl: the loop has not answered for 12 s\n"),
            "livez")
    server.answers["/livez"] = response(200, "ok\n", "text/plain")
    t.equal(probe(t, "livez")[0], UNREACHABLE, "livez of another server")


if __name__ == "__main__":
    main()
