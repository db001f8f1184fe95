#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: lines about a client on a unix socket say which user and process it was."""

import os
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import ReservedPort, answer_lines, main, spawn, test
from kaptest.http import HttpUpstream, client, start

CLIENT = """
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall(b"x\\n")
client.recv(9)
"""


def name(pid=None):
    return f"unix:uid:{os.getuid()},pid:{pid or os.getpid()}"


def listen(t):
    return f"unix:{t.folder}/k.sock"


@test("opaque: also when its process has ended before its session")
def opaque(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, listen=listen(t))
    here = kaproxy.connect()
    here.ask(b"x")
    here.end()
    t.equal(kaproxy.wait_sessions(1)[0]["client"], name(), "client")
    child = spawn([sys.executable, "-c", CLIENT, kaproxy.address()])
    child.wait()
    t.equal(kaproxy.wait_sessions(2)[1]["client"], name(child.pid), "client that has ended")


@test("http: in each line of the access log, and in messages")
def http(t):
    kaproxy = start(t, t.own(HttpUpstream()), listen=listen(t))
    peer = client(t, kaproxy)
    for _ in range(2):
        peer.ask()
    peer.channel.send(b"nonsense\r\n\r\n")
    t.equal(peer.response().status, 400, "status")
    t.equal([line["client"] for line in kaproxy.wait_sessions(3)], [name()] * 3, "clients")
    kaproxy.wait_log(f"answered: .* client={name()} .* status=400 ")


@test("without an access log: in messages, of opaque clients and of http")
def messages(t):
    port = t.own(ReservedPort())
    more = {"listener web": {"listen": f"unix:{t.folder}/web.sock",
                             "upstream": port.endpoint.replace("tcp:", "http:")}}
    kaproxy = t.kaproxy(port.endpoint, listen=listen(t), more=more, main={"access_log": "off"})
    kaproxy.connect().read_end()
    kaproxy.wait_log(f"no connection: listener=main client={name()} ")
    t.equal(client(t, kaproxy, "web").ask().status, 502, "status")
    kaproxy.wait_log(f"no connection: listener=web client={name()} ")


main()
