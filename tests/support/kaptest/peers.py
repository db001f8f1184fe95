# SPDX-License-Identifier: ISC
"""Real programs as upstreams, each with the test's configuration and in its folder."""

import re
import shutil
import socket
import subprocess

from .channel import connect
from .ports import free_port
from .tap import Failure, Skip, WAIT_MAX, spawn, wait_until


def need(program):
    """The program's path; without it the test is skipped."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/local/sbin")
    if path is None:
        raise Skip(f"{program} is not installed")
    return path


def need_localhost():
    """The name, for this machine: kaproxy reads it in /etc/hosts, without a DNS query."""
    try:
        with open("/etc/hosts", encoding="utf-8", errors="replace") as file:
            known = any("localhost" in line.partition("#")[0].split()[1:] for line in file)
    except FileNotFoundError:
        known = False
    if not known:
        raise Skip("/etc/hosts has no localhost")


class Peer:
    """A process that listens on a port; retried with another port if that one got taken."""

    def __init__(self, t, port=None):
        self.t = t
        self.process = None
        for _ in range(10):
            self.port = port or free_port()
            self._start()
            if self.process.poll() is None:
                break
        else:
            raise Failure(f"{type(self).__name__} did not start: {self._output()}")
        self.address = ("127.0.0.1", self.port)
        self.endpoint = f"tcp://127.0.0.1:{self.port}"

    def command(self):
        raise NotImplementedError

    def signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self):
        self.process.wait(WAIT_MAX)

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _start(self):
        self.output_file = self.t.folder / f"{type(self).__name__}-{self.port}.out"
        with open(self.output_file, "wb") as output:
            self.process = spawn(self.command(), stdin=subprocess.DEVNULL, stdout=output,
                                 stderr=output, cwd=self.t.folder)
        try:
            wait_until(self._accepts_or_ended, f"{type(self).__name__} to listen")
        except BaseException:
            self.close()
            raise

    def _accepts_or_ended(self):
        if self.process.poll() is not None:
            return True
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _output(self):
        return self.output_file.read_text(errors="replace")[-2000:]


class Redis(Peer):
    def command(self):
        return [need("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                "--appendonly", "no", "--daemonize", "no", "--tcp-backlog", "511",
                "--dir", str(self.t.folder)]

    asked = 0

    def info(self, key):
        """One number of INFO, queried over its own connection."""
        self.asked += 1
        with connect(self.address).socket as sock:
            sock.sendall(b"INFO\r\nQUIT\r\n")
            text = b""
            while data := sock.recv(65536):
                text += data
        return int(re.search(rb"^%s:(\d+)" % key.encode(), text, flags=re.M)[1])

    def connections(self):
        """total_connections_received, without those of the queries."""
        return self.info("total_connections_received") - self.asked


def redis_benchmark(t, kaproxy, clients):
    """This many one-shot clients, 16 at a time, each with one command; none may fail, and the lines
    of all are in the access log."""
    for portion in kaproxy.portions(clients):
        done = subprocess.run(
            [need("redis-benchmark"), "-h", "127.0.0.1", "-p", str(kaproxy.address()[1]), "-k", "0",
             "-c", "16", "-n", str(portion), "-t", "set", "--csv"],
            capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        t.equal(done.returncode, 0, "exit status of redis-benchmark " + said)
        t.check("rror" not in said, "an error: " + said)


def wait_served(kaproxy, count):
    """The access log's lines of this many clients with a command. In the end redis-benchmark leaves
    some behind that it has none for."""
    def served():
        return [s for s in kaproxy.sessions() if s["bytes_up"] != "0"]
    return wait_until(lambda: len(s := served()) >= count and s, f"{count} clients that were served")


class Memcached(Peer):
    def command(self):
        return [need("memcached"), "-u", "root", "-l", "127.0.0.1", "-p", str(self.port),
                "-U", "0", "-t", "1", "-m", "16"]


NGINX_CONF = """\
daemon off;
pid {folder}/nginx.pid;
error_log stderr notice;
{main}
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    keepalive_requests 1000000;
    client_max_body_size 1g;
    {http}
    server {{
        listen 127.0.0.1:{port}{listen};
        root {folder}/www;
        {server}
    }}
}}
"""


def nginx_command(t, port, *, main="", http="", listen="", server=""):
    """The command for an nginx with one server; the rest are lines for these blocks of its
    configuration, and options of `listen`."""
    program = need("nginx")
    file = t.folder / "nginx.conf"
    file.write_text(NGINX_CONF.format(folder=t.folder, port=port, main=main, http=http,
                                      listen=listen, server=server))
    return [program, "-c", str(file), "-p", str(t.folder), "-e", "stderr"]


class Nginx(Peer):
    """Serves folder/www; its access log has connection, request on it, path, status."""

    def command(self):
        (self.t.folder / "www").mkdir(exist_ok=True)
        return nginx_command(
            self.t, self.port, main="master_process off;",
            http='''log_format connections "$connection $connection_requests $request_uri $status";
    access_log nginx-access.log connections;''')

    def requests(self):
        """[(connection, request number on it, path, status)] so far."""
        try:
            text = (self.t.folder / "nginx-access.log").read_text()
        except FileNotFoundError:
            return []
        rows = [line.split() for line in text.splitlines()]
        return [(int(r[0]), int(r[1]), r[2], int(r[3])) for r in rows]
