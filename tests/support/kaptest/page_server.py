# SPDX-License-Identifier: ISC
"""Serves the status page of made-up statuses as kaproxy does: kaproxy's own code makes the page
itself, in write_page."""

import http.server
import json
import os
import subprocess
import threading

TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


def write_page(*arguments, data=b""):
    return subprocess.run([os.environ.get("WRITE_PAGE", "tests/support/write_page"), *arguments],
                          input=data, stdout=subprocess.PIPE, check=True).stdout


class PageServer:
    def __init__(self, status):
        self.status = status
        self.requests = []  # paths
        self.failure = None  # the status of every response
        self._policy = write_page("policy").decode().strip()
        self._files = {path: write_page(path) for path in ("/style.css", "/page.js")}
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self):
        """Connections are refused from now on."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._thread = None

    def count(self, path="/"):
        return self.requests.count(path)

    def answer(self, path):
        """(status, Content-Type, content)"""
        if self.failure is not None:
            return self.failure, "text/plain", b"no\n"
        if path == "/":
            page = write_page(data=json.dumps(self.status).encode())
            return 200, "text/html; charset=utf-8", page
        if path in self._files:
            return 200, TYPES[os.path.splitext(path)[1]], self._files[path]
        return 404, "text/plain", b"no such page\n"

    def _handler(self):
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                owner.requests.append(self.path)
                try:
                    self.answer(*owner.answer(self.path))
                except ConnectionError:
                    pass  # the browser has left

            def answer(self, status, kind, content):
                self.send_response(status)
                for name, value in (("Content-Type", kind), ("Content-Length", len(content)),
                                    ("Content-Security-Policy", owner._policy),
                                    ("Cache-Control", "no-store"),
                                    ("X-Content-Type-Options", "nosniff")):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_arguments):
                pass

        return Handler
