# SPDX-License-Identifier: ISC
"""redis-server as an upstream, as it is commonly run, and real clients of it."""

import re
import signal

from . import resp
from .channel import connect
from .http_peers import run
from .peers import Peer, need
from .tap import Failure, wait_until
from .tls import NAME
from .tls_ca import authority

ADMIN = ("admin", "administrators")


class RedisServer(Peer):
    """password: of the user default. users: {name: (password, rules)}. tls: with a port for that,
    which is the endpoint's, and a certificate. Further options as in redis.conf, with _ for -. Its
    store and its users outlive a restart.

    The test queries it over a unix socket, as a separate user; these connections are not
    counted."""

    def __init__(self, t, *, password=None, users=None, tls=False, certificate=None, **options):
        self.certificate = certificate or (authority().valid if tls else None)
        self.password, self.users, self.tls, self.options = password, users or {}, tls, options
        self._admin = None
        super().__init__(t)
        scheme = "rediss" if tls else "redis"
        self.endpoint = f"{scheme}://127.0.0.1:{self.port}"

    # Life

    def command(self):
        folder = self.t.folder / f"redis-{self.port}"
        folder.mkdir(exist_ok=True)
        self.unix = folder / "admin.sock"
        users = folder / "users.acl"
        if not users.exists():
            users.write_text("".join(self._user_lines()))
        file = folder / "redis.conf"
        file.write_text("".join(f"{key} {value}\n" for key, value in self._settings(folder, users)))
        return [need("redis-server"), str(file)]

    def _user_lines(self):
        secret = f">{self.password}" if self.password else "nopass"
        yield f"user default on {secret} ~* &* +@all\n"
        yield f"user {ADMIN[0]} on >{ADMIN[1]} ~* &* +@all\n"
        for name, (password, rules) in self.users.items():
            yield f"user {name} on >{password} {rules}\n"

    def _settings(self, folder, users):
        yield from [("bind", "127.0.0.1"), ("port", self.port), ("unixsocket", self.unix),
                    ("save", '""'), ("appendonly", "yes"), ("appendfsync", "no"),
                    ("tcp-backlog", 511), ("dir", folder), ("aclfile", users),
                    ("daemonize", "no"), ("enable-debug-command", "local")]
        if self.tls:
            yield from [("port", 0), ("tls-port", self.port),
                        ("tls-cert-file", self.certificate.file),
                        ("tls-key-file", self.certificate.key), ("tls-auth-clients", "no"),
                        ("tls-ca-cert-file", authority().root.alone)]
        for key, value in self.options.items():
            yield key.replace("_", "-"), value

    def _start(self):
        super()._start()
        self._drop_admin()
        self.asked, self.base = 0, 0
        if self.process.poll() is None:
            wait_until(self._answers, "redis-server to have its store")
            self.base = self.info("total_connections_received") - self.asked

    def _answers(self):
        try:
            return not isinstance(self.admin("PING"), resp.Error)
        except OSError:  # it listens at the port first
            return False

    def stop(self, how=signal.SIGKILL):
        self.signal(how)
        self.wait_exit()
        self._drop_admin()

    def restart(self, how=signal.SIGKILL):
        self.stop(how)
        self.start()

    def start(self):
        """Again, at the same port."""
        self._start()
        if self.process.poll() is not None:
            raise Failure(f"redis-server did not start again: {self._output()}")

    def close(self):
        self._drop_admin()
        super().close()

    # Queries

    def admin(self, *words):
        """A command of the test's: its reply, an error included."""
        for attempt in range(2):
            try:
                if self._admin is None:
                    self.asked += 1
                    self._admin = resp.Client(connect(str(self.unix)))
                    self._admin.ask("AUTH", ADMIN[0], ADMIN[1])
                return self._admin.ask(*words)
            except (OSError, resp.Ended):  # an idle connection of ours may have been closed
                self._drop_admin()
                if attempt:
                    raise
        return None

    def _drop_admin(self):
        if self._admin is not None:
            self._admin.close()
            self._admin = None

    def set_user(self, name, *rules):
        """Changes a user, for restarts too."""
        for words in (("ACL", "SETUSER", name, *rules), ("ACL", "SAVE")):
            if (reply := self.admin(*words)) != b"OK":
                raise Failure(f"{words}: {reply!r}")

    def info(self, key):
        """One number of INFO."""
        text = self.admin("INFO", "all")
        return int(re.search(rb"^%s:(\d+)" % key.encode(), text, flags=re.M)[1])

    def connections(self):
        """Connections it accepted since its start, except the test's own."""
        return self.info("total_connections_received") - self.asked - self.base

    def calls(self):
        """{command or command|subcommand: how often it was called}, refused ones included."""
        text = self.admin("INFO", "commandstats").decode()
        found = re.findall(r"^cmdstat_(\S+?):calls=(\d+),.*?rejected_calls=(\d+)", text, flags=re.M)
        return {name: int(calls) + int(rejected) for name, calls, rejected in found}

    def clients(self):
        """CLIENT LIST, without the test's own."""
        lines = self.admin("CLIENT", "LIST").decode().splitlines()
        found = [dict(word.partition("=")[::2] for word in line.split(" ")) for line in lines]
        return [client for client in found if client.get("user") != ADMIN[0]]

    def kill_clients(self):
        """Ends all connections but the test's own."""
        for client in self.clients():
            self.admin("CLIENT", "KILL", "ID", client["id"])

    def wait_blocked(self, count):
        wait_until(lambda: self.info("blocked_clients") == count, f"{count} blocked clients")


def start(t, redis, *, listener=None, **options):
    """A kaproxy in front of a redis-server, or of a scripted one."""
    endpoint = getattr(redis, "endpoint", redis)
    if endpoint.startswith("rediss:"):
        listener = {"tls_ca_file": authority().root.alone, "tls_server_name": NAME,
                    **(listener or {})}
    return t.kaproxy(endpoint, reuse=None, listener=listener, **options)


def client(kaproxy, listener="main"):
    """With bytes of the test's choice."""
    return resp.Client(kaproxy.connect(listener))


def cli(t, address, *words, stdin=None, status=0):
    """redis-cli's output."""
    return run(t, "redis-cli", "-h", address[0], "-p", address[1], *words, stdin=stdin,
               status=status)[0]


def benchmark(t, address, *options):
    """redis-benchmark: {test: requests each second}. No reply may be an error."""
    output, errors = run(t, "redis-benchmark", "-h", address[0], "-p", address[1], "--csv",
                         *options)
    said = output.decode() + errors
    if "rror" in said or '"rps"' not in said:
        raise Failure(f"redis-benchmark: {said[-1000:]}")
    rows = re.findall(r'^"([^"]+)","([\d.]+)"', said, flags=re.M)
    return {name: float(rate) for name, rate in rows}

