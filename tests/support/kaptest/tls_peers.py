# SPDX-License-Identifier: ISC
"""Real programs that use TLS, as upstreams."""

import os
import signal
import socket
import subprocess

from .http_peers import HttpPeer
from .peers import Peer, Redis, need, nginx_command
from .ports import free_port
from .tap import WAIT_MAX, spawn, wait_until
from .tls_ca import authority

NGINX_HTTP = """\
log_format tls "$connection\t$ssl_session_reused\t$ssl_protocol\t$ssl_alpn_protocol\t"
                   "$ssl_client_s_dn\t$request_method\t$request_uri\t$status";
    access_log nginx-{port}.log tls;
    ssl_certificate {certificate.file};
    ssl_certificate_key {certificate.key};
    ssl_session_cache shared:tls:1m;"""

NGINX_SERVER = """\
location /upload/ {{ dav_methods PUT DELETE; }}
        location = /echo {{ return 200 "$request_method $request_uri"; }}
        {settings}"""


class Nginx(HttpPeer):
    """`settings` are further lines of its server block."""

    def __init__(self, t, settings="", certificate=None, **options):
        self.settings = settings
        self.certificate = certificate or authority().valid
        super().__init__(t, **options)
        self.endpoint = f"https://127.0.0.1:{self.port}"

    def command(self):
        upload = self.root / "upload"
        upload.mkdir(exist_ok=True)
        upload.chmod(0o777)  # its workers are user nobody's
        return nginx_command(
            self.t, self.port, listen=" ssl backlog=1024",
            http=NGINX_HTTP.format(port=self.port, certificate=self.certificate),
            server=NGINX_SERVER.format(settings=self.settings))

    def requests(self):
        """Those of its log so far."""
        try:
            text = (self.t.folder / f"nginx-{self.port}.log").read_text()
        except FileNotFoundError:
            return []
        return [NginxRequest(line) for line in text.splitlines()]

    def wait_requests(self, count):
        return wait_until(lambda: len(r := self.requests()) >= count and r,
                          f"request {count} in nginx's log")

    def reload(self):
        """New workers; the old ones finish what they have."""
        self.signal(signal.SIGHUP)

    def close(self):
        """In order, as workers outlive a master that is killed."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            self.process.wait(WAIT_MAX)


class HeldNginx(Nginx):
    """Its listening socket is the test's and stays open, as with a socket unit of systemd: while
    nginx is restarted, new connections wait."""

    def __init__(self, t, settings=""):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        t.own(self.socket)
        super().__init__(t, settings, port=self.socket.getsockname()[1])

    def _start(self):
        self.output_file = self.t.folder / f"HeldNginx-{self.port}.out"
        number = self.socket.fileno()
        with open(self.output_file, "ab") as output:
            self.process = spawn(
                self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                cwd=self.t.folder, pass_fds=[number], env={**os.environ, "NGINX": f"{number};"})
        pid = self.t.folder / "nginx.pid"
        wait_until(lambda: pid.exists() or self.process.poll() is not None, "nginx to be ready")

    def restart(self, how=signal.SIGQUIT):
        """How the old one ends: in order, with what it has begun, or at once, by SIGTERM."""
        self.signal(how)
        self.process.wait(WAIT_MAX)
        self._start()


class NginxRequest:
    def __init__(self, line):
        connection, reused, *rest = line.split("\t")
        self.connection = int(connection)
        self.resumed = reused == "r"
        self.version, self.alpn, self.client, self.method, self.target, status = rest
        self.status = int(status)


class TlsRedis(Redis):
    """Redis with a TLS port, and a plain one for queries."""

    def __init__(self, t):
        super().__init__(t)
        self.address = ("127.0.0.1", self.plain)
        self.endpoint = f"tls://127.0.0.1:{self.port}"

    def command(self):
        self.plain = free_port()
        certificate = authority().valid
        return [*super().command(), "--port", str(self.plain), "--tls-port", str(self.port),
                "--tls-cert-file", str(certificate.file), "--tls-key-file", str(certificate.key),
                "--tls-auth-clients", "no", "--tls-ca-cert-file", str(authority().root.alone)]


class OpensslUpstream(Peer):
    """openssl s_server: one connection at a time. What it receives is in its output; it sends what
    is typed, except for lines that begin with one of its command letters."""

    def __init__(self, t, *options):
        self.options = options
        self.input = None
        super().__init__(t)
        self.endpoint = f"tls://127.0.0.1:{self.port}"

    def command(self):
        fifo = self.t.folder / f"input-{self.port}"
        os.mkfifo(fifo)
        self._close_input()
        self.input = os.open(fifo, os.O_RDWR)  # else opening it to read would wait
        certificate = authority().valid
        return ["sh", "-c", 'exec "$@" <"$0"', str(fifo), need("openssl"), "s_server", "-accept",
                f"127.0.0.1:{self.port}", "-cert", str(certificate.file), "-key",
                str(certificate.key), *self.options]

    def type(self, text):
        os.write(self.input, text.encode())

    def output(self):
        return self.output_file.read_text(errors="replace")

    def wait_output(self, text, count=1):
        wait_until(lambda: self.output().count(text) >= count, f"{text!r} from openssl")

    def converse(self, t, client, number):
        """One client's question with its answer, and the client's end."""
        client.send(b"question %d\n" % number)
        self.wait_output(f"question {number}")
        self.type("answer\n")
        t.equal(client.read_line(), b"answer", "response")
        t.equal(client.end(), "eof", "end")

    def close(self):
        super().close()
        self._close_input()

    def _close_input(self):
        if self.input is not None:
            os.close(self.input)
            self.input = None
