#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: after a reload everything that can change is as in the file, at once or for
the next clients, and what did not change continues as it was."""

import os
import signal
import stat
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import answer_lines, connect, main, test, wait_until
from kaptest.admin import Admin
from kaptest.dns import NAME, ScriptedDns
from kaptest.http import HttpUpstream, client, one_shot, start
from kaptest.reload import edit, listening, reload
from kaptest.tls import HttpsUpstream, start as start_tls, upstream_context
from kaptest.tls_ca import authority


def use(kaproxy, listener="main"):
    peer = kaproxy.connect(listener)
    answer = peer.ask(b"x")
    peer.end()
    return answer


def wait_closed(upstream, what, index=0):
    """Its script ends with the connection."""
    wait_until(lambda: upstream.connections[index].socket.fileno() < 0, what)


@test("nothing changed: reported, and connections and sockets are the same")
def nothing(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint)
    before = listening(kaproxy)
    t.equal(use(kaproxy), b"1 x", "response before")
    t.equal(reload(kaproxy), "nothing changed", "what changes")
    t.equal(use(kaproxy), b"1 x", "response after it")
    t.equal(listening(kaproxy), before, "sockets")


@test("limits: a higher one lets in waiting clients, a lower one closes idle connections")
def limits(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, pool={"max_per_host": 1})
    clients = [kaproxy.connect() for _ in range(3)]
    for number, peer in enumerate(clients):
        peer.send(b"%d\n" % number)
    upstream.wait_accepted(1)
    wait_until(lambda: kaproxy.counters()["waiting"] == 2, "two waiting clients")
    t.equal(reload(kaproxy, {"pool": {"max_per_host": 3}}),
            "pools: 1 changed (default: max_per_host 1 -> 3)", "what changes")
    for number, peer in enumerate(clients):
        t.check(peer.read_line().endswith(b" %d" % number), "a client was not served")
    clients[0].end()
    clients[1].end()
    kaproxy.wait_idle(2)
    reload(kaproxy, {"pool": {"max_per_host": 1}})
    wait_until(lambda: kaproxy.connections(upstream) == 1, "idle connections to be closed")
    t.check(clients[2].ask(b"still").endswith(b"still"), "the one in use")


@test("keep_alive and max_age apply to connections that are already idle")
def ages(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, pool={"keep_alive": "1h"})
    t.equal(use(kaproxy), b"1 x", "response")
    reload(kaproxy, {"pool": {"max_age": "1ms"}})
    t.equal(use(kaproxy), b"2 x", "response after max_age")
    reload(kaproxy, {"pool": {"max_age": 0, "keep_alive": "1ms"}})
    wait_closed(upstream, "the connection's end, by keep_alive", 1)
    t.equal(upstream.accepted, 2, "connections")


@test("times of a listener are those of the clients that connect after it")
def times(t):
    kaproxy = t.kaproxy(t.upstream().endpoint, listener={"idle_timeout": "1h"},
                        main={"shutdown_timeout": 0})
    before = kaproxy.connect()
    before.send(b"x")
    wait_until(lambda: kaproxy.counters()["busy"] == 1, "the first one's connection")
    reload(kaproxy, {"listener main": {"idle_timeout": "200ms"}})
    after = kaproxy.connect()
    t.equal(after.read_end()[0], b"", "what the second one got")
    line = kaproxy.wait_session(after)
    t.equal(line["end"], "idle_timeout", "the second one's end")
    t.equal(len(kaproxy.sessions()), 1, "sessions that have ended")
    t.check(before.is_silent(0.01), "the first one has ended as well")


@test("host, forwarded and reuse of the next request on an existing connection")
def http_keys(t):
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream, listener={"host": "client"})
    peer = client(t, kaproxy)
    peer.ask("GET", "/1")
    reload(kaproxy, {"listener main": {"host": "other.test", "forwarded": "x-forwarded-for"}})
    one_shot(t, kaproxy, "GET", "/2")
    t.equal([r.get("Host") for r in upstream.requests], ["client.test", "other.test"], "Host")
    t.equal([r.get("X-Forwarded-For") for r in upstream.requests], [None, "127.0.0.1"], "forwarded")
    t.equal([r.connection for r in upstream.requests], [1, 1], "connections")
    reload(kaproxy, {"listener main": {"reuse": "never"}})
    one_shot(t, kaproxy, "GET", "/3")
    one_shot(t, kaproxy, "GET", "/4")
    t.equal(len({r.connection for r in upstream.requests[2:]}), 2, "connections, with never")


@test("an active session keeps its configuration to its end")
def under_way(t):
    old, new = t.upstream(answer_lines), t.upstream(answer_lines)
    kaproxy = t.kaproxy(old.endpoint)
    before = kaproxy.connect()
    t.equal(before.ask(b"a"), b"1 a", "response")
    reload(kaproxy, {"listener main": {"upstream": new.endpoint}})
    t.equal(use(kaproxy), b"1 x", "the next client's response")
    t.equal((old.accepted, new.accepted), (1, 1), "connections")
    t.equal(before.ask(b"b"), b"1 b", "the first one's next response")
    before.end()
    wait_closed(old, "the old upstream's end")


@test("pools: another name is another pool, and the old one's connections are closed")
def pools(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, listener={"pool": "one"}, more={"pool one": {}})
    use(kaproxy)
    kaproxy.wait_idle(1, "one")
    text = reload(kaproxy, {"pool one": None, "pool two": {}, "listener main": {"pool": "two"}})
    t.equal(text, "pools: 1 added (two), 1 removed (one), 1 kept; "
            "listeners: 1 changed (main: pool one -> two)", "what changes")
    wait_closed(upstream, "the connection's end")
    t.equal(use(kaproxy), b"2 x", "response through the new pool")


@test("clients that wait in a pause of a pool that is gone are served: no command could resume them")
def paused_pool(t):
    upstream = t.upstream(answer_lines)
    admin = {"listen": f"unix:{t.folder}/a.sock"}
    kaproxy = t.kaproxy(upstream.endpoint, listener={"pool": "one"},
                        more={"pool one": {}, "admin": admin})
    t.equal(Admin(t.folder / "a.sock").order("/pause?pool=one").status, 200, "/pause")
    client = kaproxy.connect()
    client.send(b"a\n")
    t.check(client.is_silent(0.1), "it does not wait")
    reload(kaproxy, {"pool one": None, "pool two": {}, "listener main": {"pool": "two"}})
    t.check(client.read_line().endswith(b" a"), "no response")
    t.equal(client.end(), "eof", "end")
    upstream.close()


@test("listeners: added, removed, renamed, moved; a kept socket is the same one")
def listeners(t):
    upstream = t.upstream(answer_lines)
    section = {"upstream": upstream.endpoint, "reuse": "quiet", "listen": "127.0.0.1:{port}"}
    kaproxy = t.kaproxy(upstream.endpoint, more={"listener gone": section})
    port, gone = (kaproxy.address(name)[1] for name in ("main", "gone"))
    sockets = listening(kaproxy)
    text = reload(kaproxy, {
        "listener main": None, "listener gone": None, "listener new": section,
        "listener renamed": {**section, "listen": f"127.0.0.1:{port} unix:{t.folder}/k.sock"}})
    t.equal(text, "listeners: 2 added (new, renamed), 2 removed (main, gone)", "what changes")
    after = listening(kaproxy)
    t.equal(after[port], sockets[port], "the kept socket")
    t.equal(set(after), {port, kaproxy.address("new")[1]}, "ports")
    for name in "new", "renamed":
        t.check(use(kaproxy, name).endswith(b" x"), f"{name} does not serve")
    peer = t.own(connect(f"{t.folder}/k.sock"))
    t.check(peer.ask(b"u").endswith(b" u"), "the unix socket does not serve")
    try:
        connect(("127.0.0.1", gone)).close()
        t.fail("the old one accepts still")
    except ConnectionRefusedError:
        pass
    reload(kaproxy, {"listener renamed": {"listen": f"127.0.0.1:{port}"}})
    t.check(not os.path.exists(t.folder / "k.sock"), "the file is there still")


@test("a certificate is replaced: idle connections are closed, and the next one has the new one")
def certificates(t):
    first, second = authority().leaf("client one"), authority().leaf("client two")
    cert, key = t.folder / "client.pem", t.folder / "client.key"

    def put(which):
        cert.write_bytes(which.file.read_bytes())
        key.write_bytes(which.key.read_bytes())

    put(first)
    upstream = t.own(HttpsUpstream(context=upstream_context(clients=authority().root)))
    kaproxy = start_tls(t, upstream, listener={"tls_cert_file": cert, "tls_key_file": key})
    one_shot(t, kaproxy, "GET", "/1")
    t.equal(reload(kaproxy), "nothing changed", "what changes before")
    one_shot(t, kaproxy, "GET", "/2")
    t.equal(len(upstream.handshakes), 1, "handshakes so far")
    put(second)
    t.equal(reload(kaproxy), f"TLS files of {upstream.endpoint} changed", "what changes")
    one_shot(t, kaproxy, "GET", "/3")
    t.equal([h.client["subject"][0][0][1] for h in upstream.handshakes],
            ["client one", "client two"], "certificates at the upstream")


@test("another CA: what was trusted is not any more")
def other_ca(t):
    ca = t.folder / "ca.pem"
    ca.write_bytes(authority().root.alone.read_bytes())
    upstream = t.own(HttpsUpstream(context=upstream_context()))
    kaproxy = start_tls(t, upstream, listener={"tls_ca_file": ca})
    t.equal(one_shot(t, kaproxy, "GET", "/1").status, 200, "status before")
    ca.write_bytes(authority().self_signed.alone.read_bytes())
    reload(kaproxy)
    t.equal(one_shot(t, kaproxy, "GET", "/2").status, 502, "status after it")


@test("logs: other targets, format and level; the old ones stay as they were")
def logs(t):
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream, main={"log": t.folder / "one.log"})
    one_shot(t, kaproxy, "GET", "/1")
    kaproxy.wait_sessions(1)
    old_access = kaproxy.access_file
    edit(kaproxy, {"kaproxy": {"log": t.folder / "two.log", "access_log": t.folder / "two.access",
                               "log_format": "json", "log_level": "debug"}})
    kaproxy.log_file, kaproxy.access_file = t.folder / "two.log", t.folder / "two.access"
    kaproxy.signal(signal.SIGHUP)
    wait_until(lambda: any("reloaded" in (t.folder / name).read_text() for name in
                           ("one.log", "two.log") if (t.folder / name).exists()), "the reload")
    one_shot(t, kaproxy, "GET", "/2")
    t.equal(kaproxy.wait_sessions(1)[0]["target"], "/2", "the new access log's line")
    t.equal(old_access.read_text().count("\n"), 1, "lines of the old access log")
    kaproxy.wait_log(" debug: ")


@test("max_clients: a higher one lets in clients from the backlog")
def max_clients(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, main={"max_clients": 1})
    inside, outside = kaproxy.connect(), kaproxy.connect()
    t.equal(inside.ask(b"a"), b"1 a", "response to the first")
    outside.send(b"b\n")
    reload(kaproxy, {"kaproxy": {"max_clients": 2}})
    t.equal(outside.read_line(), b"2 b", "response to the second")


@test("another resolver is used from then on")
def resolver(t):
    servers = [t.own(ScriptedDns()) for _ in range(2)]
    upstream = t.upstream(answer_lines)
    for server in servers:
        server.set(NAME, "127.0.0.1", ttl=0)
        server.set("other." + NAME, "127.0.0.1", ttl=0)
    section = {"upstream": f"tcp://{NAME}:{upstream.port}", "reuse": "never"}
    kaproxy = t.kaproxy(section["upstream"], reuse="never",
                        main={"resolver": servers[0].resolver})
    t.equal(use(kaproxy), b"1 x", "response")
    reload(kaproxy, {"kaproxy": {"resolver": servers[1].resolver},
                     "listener main": {"upstream": f"tcp://other.{NAME}:{upstream.port}"}})
    t.equal(use(kaproxy), b"2 x", "response after it")
    t.equal([s.count("other." + NAME) for s in servers], [0, 1], "the queried server")


@test("[admin]: other sockets and another mode; who may change things; what it shows")
def admin(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint,
                        more={"admin": {"listen": f"unix:{t.folder}/a.sock"}})
    first, second = Admin(t.folder / "a.sock"), Admin(t.folder / "b.sock")
    inode = os.stat(t.folder / "a.sock").st_ino
    reload(kaproxy, {"admin": {"listen": f"unix:{t.folder}/a.sock unix:{t.folder}/b.sock",
                               "socket_mode": "0666"}})
    t.equal([a.get("/livez").status for a in (first, second)], [200, 200], "both serve")
    t.equal(os.stat(t.folder / "a.sock").st_ino, inode, "the kept one's file")
    t.equal(stat.S_IMODE(os.stat(t.folder / "a.sock").st_mode), 0o666, "its mode")
    reload(kaproxy, {"admin": {"listen": f"unix:{t.folder}/b.sock", "control": "none"}})
    t.check(not os.path.exists(t.folder / "a.sock"), "the file is there still")
    t.equal(second.order("/pause").status, 403, "an order")
    t.check('name": "added"' not in second.get("/status").text, "the status before")
    reload(kaproxy, {"pool added": {}})
    wait_until(lambda: "added" in second.get("/status").text, "the status to be the new one's")
    reload(kaproxy, {"admin": {"listen": "off"}})
    t.check(not os.path.exists(t.folder / "b.sock"), "the last file is there still")


@test("a unix socket that stays gets its new mode, and the same file")
def socket_mode(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, listen=f"unix:{t.folder}/k.sock",
                        listener={"socket_mode": "0600"})
    before = os.stat(t.folder / "k.sock")
    reload(kaproxy, {"listener main": {"socket_mode": "0666"}})
    after = os.stat(t.folder / "k.sock")
    t.equal((after.st_ino, stat.S_IMODE(after.st_mode)), (before.st_ino, 0o666), "inode, mode")
    t.equal(use(kaproxy), b"1 x", "response")


@test("several signals during one reload: the last state of the file is in effect")
def storm(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint)
    for number in range(1, 21):
        edit(kaproxy, {"pool": {"max_open": number}})
        kaproxy.signal(signal.SIGHUP)
    kaproxy.wait_log(r" reloaded .* -> 20\)")
    t.equal(use(kaproxy), b"1 x", "response")


@test("POST /reload waits for the outcome")
def by_admin(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint,
                        more={"admin": {"listen": f"unix:{t.folder}/a.sock"}})
    pages = Admin(t.folder / "a.sock")
    edit(kaproxy, {"pool": {"max_open": 7}})
    answer = pages.order("/reload")
    t.equal(answer.status, 200, "status")
    t.check("max_open 128 -> 7" in answer.text, f"what it says: {answer.text}")
    kaproxy.access_file.rename(t.folder / "renamed")
    edit(kaproxy, {"pool": {"max_open": "many"}})
    answer = pages.order("/reload")
    t.check(answer.status != 200 and "max_open" in answer.text, f"{answer.status} {answer.text}")
    wait_until(kaproxy.access_file.exists, "the log to be opened again all the same")


main()
