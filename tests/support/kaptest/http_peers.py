# SPDX-License-Identifier: ISC
"""Real HTTP programs: upstreams, and client tools to run against kaproxy."""

import grp
import hashlib
import os
import pwd
import re
import subprocess
import sys
import urllib.request

from .peers import Peer, need, nginx_command
from .tap import SLOW, Failure, Skip

TOOL_LIMIT = 300 if SLOW else 80


def run(t, program, *arguments, status=0, stdin=None):
    """Runs a client tool to its end: what it wrote to standard output, and to standard error."""
    command = [need(program), *map(str, arguments)]
    environment = {**os.environ, "LC_ALL": "C", "HOME": str(t.folder), "no_proxy": "*"}
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=TOOL_LIMIT,
                              cwd=t.folder, env=environment, check=False)
    except subprocess.TimeoutExpired:
        raise Failure(f"{program} did not end within {TOOL_LIMIT} s") from None
    errors = done.stderr.decode(errors="replace")
    if status is not None and done.returncode != status:
        raise Failure(f"{program} ended with status {done.returncode}: {errors[-1000:]}")
    return done.stdout, errors


def url(kaproxy, path="/", listener="main"):
    return "http://{}:{}{}".format(*kaproxy.address(listener), path)


def checksum(file):
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


class HttpPeer(Peer):
    """An upstream that serves folder/www, which is readable by all."""

    def __init__(self, t, **options):
        self.root = t.folder / "www"
        self.root.mkdir(exist_ok=True)
        t.folder.chmod(0o755)
        super().__init__(t, **options)
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def put(self, name, data):
        (self.root / name).write_bytes(data)


NGINX_SERVER = """\
location = /status { stub_status; }
        location /upload/ { dav_methods PUT DELETE; }
        location = /post { return 200 "posted\\n"; }"""


class Nginx(HttpPeer):
    """With an upload folder; counts what it accepted."""

    def __init__(self, t, keep_alive="75s"):
        self.keep_alive = keep_alive
        self.asked = 0
        super().__init__(t)

    def command(self):
        (self.root / "upload").mkdir(exist_ok=True)
        return nginx_command(self.t, self.port, main="master_process off;", server=NGINX_SERVER,
                             http=f"keepalive_timeout {self.keep_alive};\n    access_log off;")

    def accepted(self):
        """A count of accepted connections that grows with those not made by this function."""
        self.asked += 1
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status", timeout=20) as page:
            return int(re.search(rb"\n *(\d+) ", page.read())[1]) - self.asked


APACHE_CONF = """\
ServerRoot {folder}
ServerName upstream.test
PidFile {folder}/apache.pid
Mutex posixsem
{modules}
{user}
Listen 127.0.0.1:{port}
DocumentRoot {folder}/www
ErrorLog /dev/stderr
KeepAlive On
KeepAliveTimeout 5
MaxKeepAliveRequests 0
<Location />
    Require all granted
</Location>
"""
APACHE_FOLDERS = "/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/lib/httpd/modules"


class Apache(HttpPeer):
    def command(self):
        try:
            program = need("apache2")
        except Skip:
            program = need("httpd")
        folder = next((f for f in APACHE_FOLDERS if os.path.isdir(f)), None)
        if folder is None:
            raise Failure("Apache's modules were not found")
        modules = "\n".join(
            f"LoadModule {name}_module {folder}/mod_{name}.so"
            for name in ("mpm_event", "unixd", "authz_core", "mime", "dir")
            if os.path.exists(f"{folder}/mod_{name}.so"))
        user = ""
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            user = f"User nobody\nGroup {grp.getgrgid(nobody.pw_gid).gr_name}"
        (self.t.folder / "mime.types").touch()
        file = self.t.folder / "apache.conf"
        file.write_text(APACHE_CONF.format(folder=self.t.folder, port=self.port, modules=modules,
                                           user=user) + f"TypesConfig {self.t.folder}/mime.types\n")
        return [program, "-X", "-f", str(file)]


NODE_PROGRAM = """\
const http = require('http');
let connections = 0;
const listener = http.createServer((request, response) => {
    request.socket.number ||= ++connections;
    const parts = [];
    request.on('data', part => parts.push(part));
    request.on('end', () => {
        const body = `${request.socket.number} ${request.method} ${Buffer.concat(parts)}`;
        if (request.url === '/chunked') {
            response.write(body);
            response.end();
        } else {
            response.end(body);
        }
    });
});
listener.keepAliveTimeout = Number(process.argv[3]);
listener.listen(Number(process.argv[2]), '127.0.0.1');
"""


class Node(HttpPeer):
    """Responds with the number of its connection, the method and the request's body."""

    def __init__(self, t, keep_alive_ms=5000):
        self.keep_alive_ms = keep_alive_ms
        super().__init__(t)

    def command(self):
        file = self.t.folder / "upstream.js"
        file.write_text(NODE_PROGRAM)
        return [need("node"), str(file), str(self.port), str(self.keep_alive_ms)]


class PythonServer(HttpPeer):
    """python3 -m http.server: HTTP/1.0, closes after each response."""

    def command(self):
        return [sys.executable, "-m", "http.server", str(self.port), "--bind", "127.0.0.1",
                "--directory", str(self.root)]

