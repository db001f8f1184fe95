# SPDX-License-Identifier: ISC
"""Clients of the admin pages of a kaproxy."""

import http.client
import json
import socket
import urllib.parse

from .tap import WAIT_MAX


class _Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=WAIT_MAX)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(WAIT_MAX)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.fields = dict(response.getheaders())
        self.text = response.read().decode()


class Admin:
    """address: a path, or (host, port)."""

    def __init__(self, address):
        self.address = address

    def ask(self, method, target, fields=None, body=None):
        """One request on a connection of its own."""
        connection = (http.client.HTTPConnection(*self.address, timeout=WAIT_MAX)
                      if isinstance(self.address, tuple) else _Unix(self.address))
        try:
            connection.request(method, target, body=body, headers=fields or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, target, **fields):
        return self.ask("GET", target, fields)

    def order(self, target, body=None, **fields):
        return self.ask("POST", target, {"Kaproxy-Control": "yes", **fields}, body)

    def connect(self):
        """A bare connection."""
        family = socket.AF_INET if isinstance(self.address, tuple) else socket.AF_UNIX
        peer = socket.socket(family)
        peer.settimeout(WAIT_MAX)
        peer.connect(self.address if isinstance(self.address, tuple) else str(self.address))
        return peer

    def raw(self, data):
        """The bytes until the end, or a reset."""
        with self.connect() as peer:
            try:
                peer.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                pass
            return read_all(peer)


def read_all(peer):
    got = b""
    try:
        while data := peer.recv(65536):
            got += data
    except ConnectionResetError:
        pass
    return got


def admin_section(t):
    """The section for Kaproxy(more=...)."""
    return {"admin": {"listen": f"unix:{t.folder}/admin.sock"}}


def admin_request(t, method, path, headers=None):
    """(status, bytes)"""
    answer = Admin(f"{t.folder}/admin.sock").ask(method, path, headers)
    return answer.status, answer.text.encode()


def admin_post(t, verb, **query):
    """Gives a command, pause(host="tcp://..."): (status, the response's object)."""
    path = f"/{verb}?{urllib.parse.urlencode(query)}" if query else f"/{verb}"
    status, body = admin_request(t, "POST", path,
                                 {"Kaproxy-Control": "yes", "Accept": "application/json",
                                  "Content-Length": "0"})
    return status, json.loads(body)
