#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: each file of contrib/examples is correct, and does what its first lines promise,
for real clients and with real upstreams."""

import grp
import json
import os
import re
import smtplib
import subprocess
import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import WAIT_MAX, main, test, wait_until
from kaptest.admin import Admin
from kaptest.examples import FOLDER, Example
from kaptest.http import HttpUpstream
from kaptest.http_peers import Nginx as PlainNginx, run
from kaptest.memcached_clients import conversation as memcached_conversation
from kaptest.memcached_peers import MemcachedServer
from kaptest.peers import need, need_localhost
from kaptest.prometheus import Prometheus
from kaptest.redis_peers import RedisServer
from kaptest.scripts import Script
from kaptest.tls import HttpsUpstream, upstream_context
from kaptest.tls_ca import authority
from kaptest.tls_peers import Nginx

STRANGER, MEMBER = 54321, 54322  # ids that no account needs to have
STORY = re.compile(r"; SPDX-License-Identifier: ISC\n(; .+\n){2}; Check: .+\n\n")
runs = set()


def example(name, description):
    """A test that runs this example."""
    runs.add(name)
    return test(f"{name}.ini: {description}")


@test("each file begins with its story in three lines, and has a run here")
def all_of_them(t):
    names = {file.stem for file in FOLDER.glob("*.ini")}
    t.equal(names, runs, "examples, with those that are run")
    for name in sorted(names):
        t.check(STORY.match((FOLDER / f"{name}.ini").read_text()), f"{name}.ini has no such story")


def local_certificate():
    """Of an upstream that is found in /etc/hosts."""
    need_localhost()
    return authority().leaf("local", names=("DNS:localhost",))


def local(peer):
    """The peer's endpoint by that name."""
    return peer.endpoint.replace("127.0.0.1", "localhost")


def access_log(t):
    return {"/var/log/kaproxy/access.log": t.folder / "access-1.log"}


def check_reuse(t, kaproxy, at_least):
    """kaproxyctl's column reuse."""
    hosts = json.loads(kaproxy.ctl("hosts", "-j"))
    t.equal(len(hosts), 1, "upstreams")
    t.at_least(hosts[0]["reuse"], at_least, "reuse")


# php-api.ini

PHP_CALL = """
$call = curl_init("http://127.0.0.1:$argv[1]$argv[2]");
curl_setopt_array($call, [CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT_MS => (int)$argv[3]]);
$body = curl_exec($call);
echo json_encode([curl_errno($call), curl_getinfo($call, CURLINFO_RESPONSE_CODE), $body]);
"""
CURL_TIMED_OUT = 28


def php_api(t, upstream):
    return t.own(Example(t, "php-api", {
        **access_log(t), "127.0.0.1:8080": "127.0.0.1:{port}",
        "https://api.example.com": local(upstream)}, trust=authority().root.alone))


@example("php-api", "PHP's calls go over TLS connections that are there already")
def php_reuse(t):
    script = Script(t, "php", "curl", PHP_CALL)
    nginx = t.own(Nginx(t, certificate=local_certificate()))
    nginx.put("page", b"hello")
    kaproxy = php_api(t, nginx)
    kaproxy.wait_idle(2)
    for _ in range(10):
        t.equal(script.run(kaproxy.address("api")[1], "/page", 20000), [0, 200, "hello"], "result")
    t.equal({line["from_cache"] for line in kaproxy.wait_sessions(10)}, {"immediate"}, "from_cache")
    t.at_most(len({request.connection for request in nginx.wait_requests(10)}), 3,
              "connections that were used: the first two, and one that took the first one's place")
    check_reuse(t, kaproxy, 1)


@example("php-api", "a script that gives up frees its connection at once")
def php_gives_up(t):
    script = Script(t, "php", "curl", PHP_CALL)
    ended = threading.Event()

    def handler(connection, _message):
        connection.read_end()  # no response: until kaproxy has closed it
        ended.set()

    upstream = t.own(HttpsUpstream(handler, context=upstream_context(local_certificate())))
    kaproxy = php_api(t, upstream)
    t.equal(script.run(kaproxy.address("api")[1], "/slow", 500), [CURL_TIMED_OUT, 0, False], "result")
    t.check(ended.wait(WAIT_MAX), "the connection was not closed")
    wait_until(lambda: kaproxy.counters()["busy"] == 0, "no connection to be in use")


# redis-cache.ini

PHP_REDIS = """
$redis = new Redis();
$redis->connect('127.0.0.1', (int)$argv[1]);
$redis->auth([$argv[2], $argv[3]]);
$redis->select((int)$argv[4]);
$redis->set('whose', $argv[2]);
echo json_encode([$redis->rawCommand('ACL', 'WHOAMI'), $redis->get('whose')]);
"""
PYTHON_REDIS = """
import json, sys
import redis
port, user, password, database = sys.argv[1:]
client = redis.Redis(port=int(port), username=user, password=password, db=int(database),
                     decode_responses=True)
client.set("whose", user)
print(json.dumps([client.execute_command("ACL WHOAMI"), client.get("whose")]))
"""
USERS = {"shop": ("rabbit", "~* &* +@all"), "stock": ("turtle", "~* &* +@all")}


@example("redis-cache", "clients of PHP and Python log in, and share connections")
def redis_cache(t):
    redis = t.own(RedisServer(t, tls=True, password="closed", users=USERS,
                              certificate=local_certificate()))
    kaproxy = t.own(Example(t, "redis-cache", {
        **access_log(t), "127.0.0.1:6379": "127.0.0.1:{port}",
        "rediss://cache.example.com:6380": local(redis)}, trust=authority().root.alone))
    scripts = Script(t, "php", "redis", PHP_REDIS), Script(t, "python", "redis", PYTHON_REDIS)
    for _ in range(4):
        for script in scripts:
            for database, (user, (password, _rules)) in enumerate(USERS.items()):
                t.equal(script.run(kaproxy.address("cache")[1], user, password, database),
                        [user, user], "the client's login, and what it reads")
    t.at_most(redis.connections(), 2, "connections that redis-server received of 16 clients")
    check_reuse(t, kaproxy, 0.8)


# memcached.ini

@example("memcached", "clients of PHP share connections, text and binary apart")
def memcached(t):
    upstream = t.own(MemcachedServer(t))
    kaproxy = t.own(Example(t, "memcached", {
        **access_log(t), "127.0.0.1:11211": "127.0.0.1:{port}",
        "memcached://cache.example.com": upstream.endpoint}))
    for kind in "text", "binary":
        expected = None
        for _ in range(5):
            got = memcached_conversation(t, f"PHP's memcached, {kind}", kaproxy.address("cache"))
            t.equal(got, expected or got, "what a client got, with the first one")
            expected = got
    t.at_most(upstream.connections(), 4, "connections that memcached accepted of 10 clients")
    check_reuse(t, kaproxy, 0.9)


# smtp-preconnect.ini

class Relay:
    """An SMTP server that greets as many connections as the test lets it."""

    def __init__(self, t):
        self._may_greet = threading.Semaphore(0)
        self.greeted = 0
        self.messages = []  # (number of the connection, text)
        self.upstream = t.upstream(self._serve)
        t.callback(self._may_greet.release, 1000)  # so that each script ends

    def greet(self, count):
        """Returns when that many more have been greeted."""
        wanted = self.greeted + count
        self._may_greet.release(count)
        wait_until(lambda: self.greeted >= wanted, f"greeting {wanted}")

    def _serve(self, connection):
        self._may_greet.acquire()
        connection.send(b"220 relay.test connection %d\r\n" % connection.number)
        self.greeted += 1
        while (line := connection.read_line()) is not None:
            word = line.strip().upper()
            if word == b"DATA":
                connection.send(b"354 go on\r\n")
                text = []
                while (line := connection.read_line()) != b".\r":
                    text.append(line.strip().decode())
                self.messages.append((connection.number, "\n".join(text)))
            connection.send(b"221 bye\r\n" if word == b"QUIT" else b"250 fine\r\n")
            if word == b"QUIT":
                return


def mail(t):
    """(relay, kaproxy), with all preconnected connections greeted, and no others."""
    relay = Relay(t)
    kaproxy = t.own(Example(t, "smtp-preconnect", {
        **access_log(t), "127.0.0.1:2525": "127.0.0.1:{port}",
        "tcp://mail.example.com:25": relay.upstream.endpoint}))
    relay.greet(3)
    kaproxy.wait_idle(3, "mail")
    return relay, kaproxy


@example("smtp-preconnect", "the greeting is there before the client, on a connection of its own")
def smtp(t):
    relay, kaproxy = mail(t)
    for number in range(3):
        # No connection is greeted from here on.
        with smtplib.SMTP(*kaproxy.address("smtp"), timeout=WAIT_MAX) as client:
            client.sendmail("a@example.com", ["b@example.com"], f"Subject: {number}\n\nbody")
        relay.greet(1)  # the one that replaces it
        kaproxy.wait_idle(3, "mail")
    t.equal([re.search("Subject: (.*)", text)[1] for _, text in relay.messages], ["0", "1", "2"],
            "messages")
    t.equal(len({number for number, _ in relay.messages}), 3, "connections that they arrived on")
    t.equal({(line["from_cache"], line["uses"]) for line in kaproxy.wait_sessions(3)},
            {("immediate", "1")}, "from_cache and uses")


@example("smtp-preconnect", "a connection that the relay gives up is never a client's")
def smtp_gives_up(t):
    relay, kaproxy = mail(t)
    for connection in relay.upstream.connections[:3]:
        connection.send(b"421 relay.test timeout exceeded\r\n")
        connection.fin()
    relay.greet(3)
    kaproxy.wait_idle(3, "mail")
    client = kaproxy.connect("smtp")
    t.at_least(int(client.read_line().split()[-1]), 4, "number of the connection that greets")


# mtls-bank.ini and unix-socket.ini

def group_of_test():
    """(name, id) of a group that the test may give to a file: as root another one."""
    group = grp.getgrnam("daemon") if os.geteuid() == 0 else grp.getgrgid(os.getegid())
    return group.gr_name, group.gr_gid


def curl_status(t, path, member):
    """What curl gets at a unix socket: a status, or its own exit status. As root the test is a user
    who is a member of the group, or one without privileges."""
    group = group_of_test()[1]
    options = {}
    if os.geteuid() == 0:
        options = {"user": MEMBER if member else STRANGER, "group": STRANGER,
                   "extra_groups": [group] if member else []}
    done = subprocess.run(
        [need("curl"), "-s", "-m", str(WAIT_MAX), "--unix-socket", str(path), "-o", "/dev/null",
         "-w", "%{http_code}", "http://localhost/page"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options)
    return done.stdout if done.returncode == 0 else f"exit status {done.returncode}"


def check_members(t, path):
    """Members of the group get a page, others no connection."""
    found = path.stat()
    t.equal((found.st_gid, oct(found.st_mode & 0o777)), (group_of_test()[1], "0o660"),
            "group and mode of the socket")
    t.equal(curl_status(t, path, True), "200", "what a member got")
    if os.geteuid() == 0:
        t.equal(curl_status(t, path, False), "exit status 7", "what a stranger got")


def asking_nginx(t, versions):
    nginx = t.own(Nginx(t, f"ssl_protocols {versions}; ssl_verify_client on; "
                           f"ssl_client_certificate {authority().root.alone};",
                        certificate=local_certificate()))
    nginx.put("page", b"hello")
    return nginx


def bank(t, nginx):
    t.folder.chmod(0o755)
    shop = authority().leaf("shop", names=())
    key = t.folder / "client.key"
    key.write_bytes(shop.key.read_bytes())
    key.chmod(0o600)
    path = t.folder / "bank.sock"
    return path, t.own(Example(t, "mtls-bank", {
        **access_log(t), "unix:/run/kaproxy/bank.sock": f"unix:{path}",
        "payments": group_of_test()[0], "https://api.bank.example:8443": local(nginx),
        "/etc/kaproxy/bank-ca.pem": authority().root.alone, "/etc/kaproxy/shop.pem": shop.file,
        "/run/credentials/kaproxy.service/client.key": key}))


@example("mtls-bank", "members of the group use the certificate, whose key they need not read")
def mtls(t):
    nginx = asking_nginx(t, "TLSv1.2 TLSv1.3")
    path, kaproxy = bank(t, nginx)
    check_members(t, path)
    t.equal(curl_status(t, path, True), "200", "what a second one got")
    requests = nginx.wait_requests(2)
    t.equal({(r.version, r.client) for r in requests}, {("TLSv1.3", "CN=shop")},
            "version and subject that nginx saw")
    t.equal(len({r.connection for r in requests}), 1, "connections")
    check_reuse(t, kaproxy, 0.5)


@example("mtls-bank", "an upstream without TLS 1.3 is refused")
def mtls_old(t):
    path, _ = bank(t, asking_nginx(t, "TLSv1.2"))
    t.equal(curl_status(t, path, True), "502", "status")


@example("unix-socket", "members of the group are served, others are not, and there is no TCP port")
def unix_socket(t):
    t.folder.chmod(0o755)
    nginx = t.own(PlainNginx(t))
    nginx.put("page", b"hello")
    path = t.folder / "api.sock"
    kaproxy = t.own(Example(t, "unix-socket", {
        **access_log(t), "unix:/run/kaproxy/api.sock": f"unix:{path}",
        "www-data": group_of_test()[0], "http://api.example.com": nginx.endpoint}))
    before = nginx.accepted()
    check_members(t, path)
    t.equal(curl_status(t, path, True), "200", "what a second one got")
    t.equal(nginx.accepted() - before, 1, "connections that nginx accepted")
    t.equal(kaproxy.addresses, {"api": [str(path)]}, "addresses")


# prometheus.ini

@example("prometheus", "metrics are scraped, an upstream that is down alerts, the port only reads")
def prometheus_alerts(t):
    upstream = t.own(HttpUpstream())
    socket = t.folder / "runtime/admin.sock"
    kaproxy = t.own(Example(t, "prometheus", {
        "unix:/run/kaproxy/admin.sock": f"unix:{socket}", "127.0.0.1:9180": "127.0.0.1:{port}",
        "127.0.0.1:8080": "127.0.0.1:{port}", "http://api.example.com": upstream.endpoint}))
    port = int(re.search(r"^listen = unix:\S+ 127\.0\.0\.1:(\d+)$", kaproxy.file.read_text(),
                         flags=re.M)[1])
    prometheus = Prometheus(t, kaproxy=port)
    t.own(prometheus)
    prometheus.wait("up", 1)
    prometheus.wait("kaproxy_build_info", 1)
    page = "http://{}:{}/".format(*kaproxy.address("api"))
    run(t, "curl", "-sf", "-m", WAIT_MAX, page)
    prometheus.wait("sum by (job) (kaproxy_upstream_grants_total)", 1)

    upstream.close()
    for _ in range(4):
        run(t, "curl", "-s", "-m", WAIT_MAX, page)
    t.equal(prometheus.wait_alert("KaproxyUpstreamDown")["upstream"], upstream.endpoint,
            "upstream of the alert")
    t.equal(Admin(("127.0.0.1", port)).order("/reload").status, 403, "status of a command by TCP")
    t.check("nothing" in kaproxy.ctl("reload").lower(), "kaproxyctl reload")


main()
