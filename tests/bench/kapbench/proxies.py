# SPDX-License-Identifier: ISC
"""The programs under comparison, configured alike: one worker, pooled, verified, and without logs
unless a scenario requires them. Then each writes a line for every exchange to a file: kaproxy and
nginx collect lines and write them together; HAProxy, which has no log files, writes each line
separately to its standard output, which is one, so no other process does a part of its work."""

import dataclasses
import pathlib

from .loads import Scraped
from .rig import Process, free_port, missing, need, stream_module

MANY = 8000       # clients, and connections where there is no limit
LONG = 300        # seconds before something idle expires
BULK = 64 * 1024  # kaproxy's scratch; the buffers of all for big bodies
PIPE = 1 << 20    # a pipe for splice, unless it is the kernel's default of 64 KiB


@dataclasses.dataclass
class Setting:
    """What a scenario requires of a proxy."""

    scheme: str  # of the upstream: http, https, tcp, redis
    upstream: int  # its port
    authority: pathlib.Path
    once: str | None = None  # for the floor, as floor.c describes it; None: unchanged
    max_connections: int = MANY
    bulk: bool = False
    side: tuple | None = None  # (port to listen on, port of an http upstream), in addition
    log: bool = False

    @property
    def opaque(self):
        """For proxies that do not know the protocol."""
        return self.scheme in ("tcp", "redis")


class Kaproxy:
    program = None  # set by the command line

    def __init__(self, silent=False, opaque=False, scraped=None):
        """scraped: "own" has admin pages, which a scraper requests; with "other" it requests those
        of that one, which has no clients meanwhile."""
        self.silent, self.opaque, self.scraped = silent, opaque, scraped
        self.name = ("kaproxy" + ("-silent" if silent else "") + ("-tcp" if opaque else "")
                     + ("-beside" if scraped == "other" else ""))

    def command(self, folder, port, s):
        scheme = "tcp" if self.opaque else s.scheme
        log = f"{folder}/kaproxy-{port}.log" if s.log and not self.silent else "off"
        kind = {"http": "", "redis": "", "tcp": "reuse = quiet", "https":
                f"tls_ca_file = {s.authority}\ntls_server_name = upstream.test"}[scheme]
        pages = pathlib.Path(folder) / "admin.sock"
        if self.scraped:
            Scraped.file(folder, port).write_text(str(pages))
        return [self.program, "-c", _write(folder, f"kaproxy-{port}.ini", f"""\
[kaproxy]
log_level = warning
access_log = {log}
max_clients = {MANY}
[pool]
max_per_host = {s.max_connections}
max_open = {MANY}
keep_alive = {LONG}
[listener bench]
listen = 127.0.0.1:{port}
upstream = {scheme}://127.0.0.1:{s.upstream}
{kind}
{self._side(*s.side) if s.side else ""}
[admin]
listen = {f"unix:{pages}" if self.scraped == "own" else "off"}
""")]

    @staticmethod
    def _side(port, upstream):
        return f"""\
[listener side]
listen = 127.0.0.1:{port}
upstream = http://127.0.0.1:{upstream}"""


class Haproxy:
    """defer-accept was tried; it makes no difference."""

    def __init__(self, splice=False, pipe=None):
        self.splice, self.pipe = splice, pipe
        self.name = "haproxy" + ("-splice" if splice else "") + ("-1m" if pipe else "")

    def command(self, folder, port, s):
        secure = (f" ssl verify required ca-file {s.authority} sni str(upstream.test)"
                  " ssl-min-ver TLSv1.2" if s.scheme == "https" else "")
        limit = f" maxconn {s.max_connections}" if s.max_connections < MANY else ""
        return [need("haproxy"), "-db", "-f", _write(folder, f"haproxy-{port}.cfg", f"""\
global
    nbthread 1
    maxconn {MANY}
    {f"tune.bufsize {BULK}" if s.bulk else ""}
    {"maxpipes 256" if self.splice else ""}
    {f"tune.pipesize {self.pipe}" if self.pipe else ""}
defaults
    mode {"tcp" if s.opaque else "http"}
    timeout connect 10s
    timeout client {LONG}s
    timeout server {LONG}s
    {"option splice-request" if self.splice else ""}
    {"option splice-response" if self.splice else ""}
    {"" if s.opaque else "http-reuse always"}
    {"option httplog" if s.log else ""}
    {"log stdout format raw local0 info" if s.log else ""}
listen bench
    bind 127.0.0.1:{port} backlog 4096
    server upstream 127.0.0.1:{s.upstream}{limit} pool-purge-delay {LONG}s{secure}
{self._side(*s.side) if s.side else ""}
""")]

    @staticmethod
    def _side(port, upstream):
        return f"""\
listen side
    mode http
    http-reuse always
    bind 127.0.0.1:{port} backlog 4096
    server upstream 127.0.0.1:{upstream} pool-purge-delay {LONG}s"""


class Nginx:
    """deferred and multi_accept were tried; they make no difference."""

    name = "nginx"

    def command(self, folder, port, s):
        inner = self._stream(port, s) if s.scheme == "tcp" else self._http(folder, port, s)
        module = stream_module() if s.scheme == "tcp" else None
        load = f"load_module {module};" if module else ""
        if s.side and s.scheme == "tcp":
            inner += f"http {{ {http_basics(folder)} {self._side(*s.side)} }}"
        return nginx(folder, port, inner, load)

    @staticmethod
    def _side(port, upstream):
        return f"""
    upstream side {{ server 127.0.0.1:{upstream}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://side;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}"""

    def _http(self, folder, port, s):
        secure = f"""
    proxy_ssl_verify on;
    proxy_ssl_trusted_certificate {s.authority};
    proxy_ssl_name upstream.test;
    proxy_ssl_server_name on;
    proxy_ssl_protocols TLSv1.2 TLSv1.3;""" if s.scheme == "https" else ""
        log = f"access_log {folder}/nginx-{port}.log combined buffer=64k flush=1s;" if s.log else ""
        size = BULK if s.bulk else None
        buffers = f"""
    proxy_buffer_size {size};
    proxy_buffers 8 {size};
    proxy_busy_buffers_size {2 * size};
    client_body_buffer_size {size};""" if size else ""
        return f"""
http {{
    {http_basics(folder)}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_max_temp_file_size 0;
    proxy_request_buffering off;{secure}{buffers}
    upstream bench {{
        server 127.0.0.1:{s.upstream};
        keepalive 64;
        keepalive_requests 1000000000;
        keepalive_timeout {LONG}s;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        {log}
        location / {{ proxy_pass {s.scheme}://bench; }}
    }}
    {self._side(*s.side) if s.side else ""}
}}
"""

    @staticmethod
    def _stream(port, s):
        size = f"proxy_buffer_size {BULK};" if s.bulk else ""
        return f"""
stream {{
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        proxy_pass 127.0.0.1:{s.upstream};
        proxy_timeout {LONG}s;
        tcp_nodelay on;
        {size}
    }}
}}
"""


class Twemproxy:
    """One connection to the upstream, which is its default and its best case: it puts the commands
    of all clients into one pipeline."""

    name = "twemproxy"

    @staticmethod
    def where_there():
        """It, or none: not every distribution has it."""
        return () if missing(["nutcracker"], False) else (Twemproxy(),)

    def command(self, folder, port, s):
        return [need("nutcracker"), "-v", "3", "-o", folder / f"nutcracker-{port}.log", "-p",
                folder / f"nutcracker-{port}.pid", "-s", free_port(), "-a", "127.0.0.1", "-c",
                _write(folder, f"nutcracker-{port}.yml", f"""\
bench:
  listen: 127.0.0.1:{port}
  redis: true
  backlog: 4096
  tcpkeepalive: false
  preconnect: true
  auto_eject_hosts: false
  servers:
   - 127.0.0.1:{s.upstream}:1
""")]


class Floor:
    name = "floor"
    program = None  # set by the command line

    def command(self, _folder, port, s):
        return [self.program, port, s.upstream, s.max_connections,
                *(["once", s.once] if s.once else ["kept"])]


class Upstream:
    """nginx with http and https. /up responds when it has read the whole body: it passes the
    request on, without the body, to itself. (If it responds on its own it does so before it
    reads.)"""

    def __init__(self, folder, certificate):
        self.http, self.https = free_port(), free_port()
        files = folder / "files"
        self.process = Process(nginx(folder, self.http, f"""
http {{
    {http_basics(folder)}
    sendfile on;
    open_file_cache max=10 inactive=1h;
    client_body_buffer_size 256k;
    upstream itself {{
        server 127.0.0.1:{self.http};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    ssl_certificate {certificate.file};
    ssl_certificate_key {certificate.key};
    ssl_protocols TLSv1.2 TLSv1.3;
    server {{
        listen 127.0.0.1:{self.http} backlog=4096;
        listen 127.0.0.1:{self.https} ssl backlog=4096;
        root {files};
        location = /1k {{ return 200 "{"x" * 1024}"; }}
        location = /read {{ return 200 "read\\n"; }}
        location = /up {{
            proxy_pass http://itself/read;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Content-Length "";
            proxy_method GET;
            proxy_pass_request_body off;
        }}
    }}
}}
"""), self.http, folder)

    def port(self, scheme):
        return self.https if scheme == "https" else self.http


def small_upstream(folder):
    """nginx with /1k, for exchanges during bulk transfers from another upstream."""
    port = free_port()
    return Process(nginx(folder, port, f"""
http {{
    {http_basics(folder)}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /1k {{ return 200 "{"x" * 1024}"; }}
    }}
}}
"""), port, folder)


def nginx(folder, port, inner, load=""):
    """The command for an nginx of one process."""
    return [need("nginx"), "-e", "stderr", "-p", folder, "-c",
            _write(folder, f"nginx-{port}.conf", f"""\
{load}
daemon off;
master_process off;
pid nginx-{port}.pid;
error_log stderr crit;
events {{ worker_connections {3 * MANY}; }}
{inner}""")]


def http_basics(folder):
    """For an nginx that serves or relays http: without logs, without time limits, within the
    folder."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "\n    ".join([
        "access_log off;", "tcp_nodelay on;", "client_max_body_size 0;",
        "keepalive_requests 1000000000;", f"keepalive_timeout {LONG}s;",
        *(f"{kind}_temp_path {folder}/temp;" for kind in kinds)])


def _write(folder, name, text):
    (folder / name).write_text(text)
    return folder / name


def start(proxy, folder, setting, wrap=()):
    """The proxy at a free port, in front of the setting's upstream."""
    port = free_port()
    return Process([*wrap, *proxy.command(folder, port, setting)], port, folder)
