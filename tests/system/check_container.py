#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: the container that contrib/container/Containerfile describes is small, serves
clients as any unprivileged user that can write only to /run/kaproxy, is checked, reloaded and
stopped by its own means, and says why it does not start."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Failure, Skip, main, spawn, test, wait_until
from kaptest.channel import Channel
from kaptest.containers import BASE, SOURCE, Container, Engine
from kaptest.http import HttpUpstream, describe, read_response, request

IMAGE = "localhost/kaproxy:test"
AGAIN = "localhost/kaproxy:again"  # from the same files and packages
ADDED_MAX = 60 * 1000 * 1000  # bytes, on top of the base
PORT = 8080
# As the Containerfile says in its first lines.
HARDENED = ["--read-only", "--tmpfs", "/run/kaproxy", "--cap-drop", "all", "--security-opt",
            "no-new-privileges"]


class Scene:
    """The one storage of this run, with both images in it."""

    def __init__(self):
        self._engine = self._why = None

    def prepare(self):
        try:
            self._engine = Engine()
            self._engine.build(IMAGE)
            self._engine.build(AGAIN, "--no-cache")
        except (Skip, Failure) as why:
            self._why = why

    def engine(self):
        if self._why is not None:
            raise self._why
        return self._engine

    def close(self):
        if self._engine is not None:
            self._engine.close()


scene = Scene()


def version():
    return re.search(r"^AC_INIT\(\[kaproxy\], \[([^]]+)\]", (SOURCE / "configure.ac").read_text(),
                     flags=re.M)[1]


def inspect(kind="image", name=IMAGE):
    return json.loads(scene.engine().must(kind, "inspect", name))[0]


class World:
    """A container with a configuration in a mounted folder, and an upstream in its network."""

    def __init__(self, t, *options, handler=describe, hardened=True):
        self.t = t
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=t.folder))
        self.folder.chmod(0o755)
        self.upstream_port = 8000
        self.configure(self.listener("first", PORT))
        options = [*(HARDENED if hardened else []), *options]
        self.container = Container(t, scene.engine(), IMAGE, "-v", f"{self.folder}:/etc/kaproxy:ro",
                                   *options)
        self.container.wait_log(r"notice: ready")
        self.pid = self.container.pid
        listening = self.container.inside(
            lambda: socket.create_server(("127.0.0.1", self.upstream_port)))
        self.upstream = t.own(HttpUpstream(handler, listener=listening))

    def listener(self, name, port):
        return (f"[listener {name}]\nlisten = 127.0.0.1:{port}\n"
                f"upstream = http://127.0.0.1:{self.upstream_port}\n")

    def configure(self, text):
        """As an editor does it: another file with the same name."""
        new = self.folder / "new"
        new.write_text(text)
        new.chmod(0o644)
        new.rename(self.folder / "kaproxy.ini")

    def connect(self, port=PORT):
        sock = self.container.inside(lambda: socket.create_connection(("127.0.0.1", port), 20))
        channel = Channel(sock)
        self.t.callback(channel.close)
        return channel

    def ask(self, port=PORT):
        """The status of one client's response; None: refused."""
        try:
            channel = self.connect(port)
        except ConnectionRefusedError:
            return None
        channel.send(request(fields=[("Connection", "close")]))
        return read_response(channel).status

    def ctl(self, *words):
        return self.container.execute("kaproxyctl", *words)

    def health(self):
        return scene.engine().podman("healthcheck", "run", self.container.name).status


def as_config_map(folder, files):
    """As the kubelet makes it: each file is a link through another one, which is replaced."""
    (folder / "..1").mkdir()
    (folder / "..data").symlink_to("..1")
    for name, text in files.items():
        (folder / "..1" / name).write_text(text)
        (folder / name).symlink_to(f"..data/{name}")
    folder.chmod(0o755)
    return folder


def process_status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


@test("the image adds less than 60 MB to its base")
def size(t):
    added = inspect()["Size"] - inspect(name=BASE)["Size"]
    print(f"# {added / 1e6:.1f} MB on top of the base of {inspect(name=BASE)['Size'] / 1e6:.0f} MB")
    t.check(added > 1e6, "it adds next to nothing")
    t.at_most(added, ADDED_MAX, "bytes")


@test("what the image says about itself: user, health check, signal, facts that are true")
def facts(t):
    image = inspect()
    config = image["Config"]
    t.check(re.fullmatch(r"[1-9]\d*:[1-9]\d*", config["User"]), f"user {config['User']!r}")
    t.equal(image["HealthCheck" if "HealthCheck" in image else "Healthcheck"]["Test"],
            ["CMD", "/usr/sbin/kaproxyctl", "livez"], "health check")
    t.equal(config["StopSignal"], "SIGTERM", "signal")
    t.equal((config["Entrypoint"], config.get("Cmd")), (["/usr/sbin/kaproxy"], None), "command")
    labels = {name.removeprefix("org.opencontainers.image."): value
              for name, value in config["Labels"].items() if "opencontainers" in name}
    t.equal(labels, {"title": "kaproxy", "description": "Keep-alive connection-pooling sidecar",
                     "version": version(), "licenses": "ISC", "base.name": BASE}, "labels")
    t.equal(scene.engine().run(IMAGE, "-V").output.split()[:2], ["kaproxy", version()], "-V")


def leftovers(image):
    """Files where an installation leaves lists, caches and logs, and their sizes."""
    where = "/var/lib/apt/lists", "/var/cache", "/var/log", "/tmp", "/root"
    found = scene.engine().run(image, *where, "-type", "f", "-printf", "%p %s\n",
                               options=["--user", "0", "--entrypoint", "find"])
    if found.status != 0:
        raise Failure(f"find: {found.errors}")
    return set(found.output.splitlines())


@test("no traces of the installation in the image: no lists, caches or logs")
def clean(t):
    t.equal(sorted(leftovers(IMAGE) - leftovers(BASE)), [], "files")


@test("it serves with a read-only root, no capability, and a user that is not root")
def serves(t):
    world = World(t)
    t.equal(world.ask(), 200, "response")
    status = process_status(world.pid)
    t.equal(status["Uid"].split(), ["65532"] * 4, "user")
    t.equal(status["Gid"].split(), ["65532"] * 4, "group")
    t.equal({name: int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")},
            {"CapPrm": 0, "CapEff": 0, "CapBnd": 0, "CapAmb": 0}, "capabilities")
    t.equal(status["NSpid"].split()[-1], "1", "process id in the container")
    with open(f"/proc/{world.pid}/mounts", encoding="utf-8") as mounts:
        root = next(line for line in mounts if line.split()[1] == "/")
    t.check("ro" in root.split()[3].split(","), f"the root is writable: {root}")
    result = world.ctl("status")
    t.equal((result.status, result.errors), (0, ""), "kaproxyctl status")
    t.check("process 1, serving" in result.output, result.output)


@test("any user can run it, and it needs none of the options that confine it")
def any_user(t):
    for user, options in ("1234", HARDENED), ("1234", ["--read-only"]), ("0", []):
        world = World(t, "--user", f"{user}:{user}", *options, hardened=False)
        t.equal(process_status(world.pid)["Uid"].split(), [user] * 4, "user")
        t.equal((world.ask(), world.ctl("status").status, world.health()), (200, 0, 0), "all of it")


@test("the health check: healthy while it works, whatever upstreams do; not when it hangs")
def health(t):
    world = World(t)
    t.equal(world.health(), 0, "at first")
    world.upstream.close()
    wait_until(lambda: world.ask() == 502, "the upstream to be gone")
    t.equal(world.health(), 0, "with an upstream that is down")
    t.equal(world.container.show(".State.Health.Status"), "healthy", "state")
    os.kill(world.pid, signal.SIGSTOP)
    try:
        t.check(world.health() != 0, "healthy while it is stopped")
    finally:
        os.kill(world.pid, signal.SIGCONT)
    wait_until(lambda: world.health() == 0, "it to be healthy again")


@test("reload by kaproxyctl in the container, and by SIGHUP; a mistake is reported, without effect")
def reload(t):
    world = World(t)
    world.configure(world.listener("first", PORT) + world.listener("second", 8081))
    result = world.ctl("reload")
    t.equal((result.status, world.ask(8081), world.ask()), (0, 200, 200), "after the reload")
    t.check("1 added (second)" in result.output, result.output)
    world.configure(world.listener("first", PORT) + "nonsense = 1\n")
    result = world.ctl("reload")
    t.equal((result.status, world.ask(8081)), (1, 200), "after the mistake")
    t.check("/etc/kaproxy/kaproxy.ini:4: " in result.errors, result.errors)
    world.configure(world.listener("third", 8082))
    scene.engine().must("kill", "-s", "HUP", world.container.name)
    wait_until(lambda: world.ask(8082) == 200, "the third listener")
    wait_until(lambda: world.ask(8081) is None, "the second one to be gone")


@test("reload of a folder whose files change as those of a ConfigMap do, by a link")
def linked(t):
    world = World(t)
    (world.folder / "kaproxy.ini").unlink()
    as_config_map(world.folder, {"kaproxy.ini": world.listener("first", PORT)})
    t.equal(world.ctl("reload").status, 0, "reload of the same")
    (world.folder / "..2").mkdir()
    (world.folder / "..2/kaproxy.ini").write_text(world.listener("second", 8081))
    (world.folder / "..new").symlink_to("..2")
    (world.folder / "..new").rename(world.folder / "..data")
    t.equal((world.ctl("reload").status, world.ask(8081)), (0, 200), "reload of the other")


def load(name):
    try:
        import yaml
    except ImportError:
        raise Skip("Python's yaml is not installed") from None
    return yaml.safe_load((SOURCE / "contrib/kubernetes" / name).read_text())


@test("the example for Kubernetes: confined as its manifest says, and its probes succeed")
def kubernetes(t):
    spec = load("sidecar.yaml")["spec"]["template"]["spec"]
    sidecar = spec["initContainers"][0]
    rights = sidecar["securityContext"]
    t.equal((rights["readOnlyRootFilesystem"], rights["capabilities"]["drop"]), (True, ["ALL"]))
    config = as_config_map(pathlib.Path(tempfile.mkdtemp(dir=t.folder)), load("configmap.yaml")["data"])
    places = {"kaproxy-config": lambda path: ["-v", f"{config}:{path}:ro"],
              "kaproxy-run": lambda path: ["--tmpfs", path]}
    options = ["--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges",
               "--user", f"{rights['runAsUser']}:{rights['runAsGroup']}"]
    for mount in sidecar["volumeMounts"]:
        options += places[mount["name"]](mount["mountPath"])
    container = Container(t, scene.engine(), IMAGE, *options)
    container.wait_log(r"notice: ready")
    for name in "startupProbe", "livenessProbe", "readinessProbe":
        result = container.execute(*sidecar[name]["exec"]["command"])
        t.equal((result.status, result.errors), (0, ""), name)
    new = (config / "kaproxy.ini").read_text() + "nonsense = 1\n"
    result = container.execute("kaproxy", "-t", "-c", "/dev/stdin", text=new)
    t.equal(result.status, 1, "-t of a file that is not applied yet")
    t.check(result.errors.startswith("/dev/stdin:"), result.errors)
    port = sidecar["ports"][0]["containerPort"]
    channel = Channel(container.inside(lambda: socket.create_connection(("127.0.0.1", port), 20)))
    t.callback(channel.close)
    channel.send(request(target="/metrics", fields=[("Connection", "close")]))
    t.check(b"kaproxy_build_info" in read_response(channel).body, "no metrics")


@test("SIGUSR2 is refused, for the container would end with the process")
def handover(t):
    world = World(t)
    scene.engine().must("kill", "-s", "USR2", world.container.name)
    world.container.wait_log(r"SIGUSR2 is refused: this is process 1")
    t.equal(world.ask(), 200, "response")


@test("stop: a request in progress gets its response, and the container ends with status 0")
def stop(t):
    go = threading.Event()
    t.callback(go.set)

    def wait(connection, message):
        go.wait(20)
        return describe(connection, message)
    world = World(t, handler=wait)
    client = world.connect()
    client.send(request())
    world.upstream.wait_requests(1)
    stopping = spawn(scene.engine().command("stop", "-t", "60", world.container.name),
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    world.container.wait_log(r"SIGTERM: stopping; 1 sessions may finish within 30 s")
    t.equal(world.ask(), None, "a new client")
    go.set()
    t.equal(read_response(client).status, 200, "response")
    t.equal(stopping.wait(60), 0, "podman stop")
    t.equal(world.container.show(".State.ExitCode"), "0", "exit status")
    world.container.wait_log(r"notice: stopped$")


@test("without a configuration, or with a mistake in it, it ends and says why")
def bad_start(t):
    result = scene.engine().run(IMAGE)
    t.equal(result.status, 1, "status without a listener")
    t.check("/etc/kaproxy/kaproxy.ini:1: no section [listener NAME]" in result.errors, result.errors)
    (t.folder / "kaproxy.ini").write_text("[listener a]\nlisten = 127.0.0.1:80x\n")
    t.folder.chmod(0o755)
    result = scene.engine().run(IMAGE, "-t", options=["-v", f"{t.folder}:/etc/kaproxy:ro"])
    t.equal(result.status, 1, "status with a mistake")
    t.check("/etc/kaproxy/kaproxy.ini:2: listen: " in result.errors, result.errors)


@test("two builds from the same packages have the same layers")
def reproducible(t):
    t.equal(inspect(name=AGAIN)["RootFS"]["Layers"], inspect()["RootFS"]["Layers"], "layers")


if __name__ == "__main__":
    try:
        scene.prepare()
        main()
    finally:
        scene.close()
