"""The admin pages of a kaproxy, over their unix socket."""

import http.client
import json
import socket
import urllib.parse


def admin_section(t):
    """The section for Kaproxy(more=...)."""
    return {"admin": {"listen": f"unix:{t.folder}/admin.sock"}}


class _Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def admin_request(t, method, path, headers=None):
    """(status, bytes)"""
    connection = _Connection(f"{t.folder}/admin.sock")
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def admin_post(t, verb, **query):
    """Gives a command, pause(host="tcp://..."): (status, the answer's object)."""
    path = f"/{verb}?{urllib.parse.urlencode(query)}" if query else f"/{verb}"
    status, body = admin_request(t, "POST", path,
                                 {"Kaproxy-Control": "yes", "Accept": "application/json",
                                  "Content-Length": "0"})
    return status, json.loads(body)
