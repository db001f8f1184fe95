#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: socket_mode, socket_user and socket_group decide who may connect to a unix
socket, also if kaproxy becomes another user, and as the manual page has it."""

import configparser
import contextlib
import grp
import os
import pathlib
import pwd
import re
import socket
import stat
import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Kaproxy, Skip, WAIT_MAX, answer_lines, main, test
from kaptest.kaproxy import PROGRAM

PAGE = pathlib.Path(__file__).resolve().parents[2] / "man/kaproxy.ini.5"
STRANGER, OTHER = 54321, 54322  # ids that no account needs to have

def need_root():
    if os.geteuid() != 0:
        raise Skip("only root can be several users")


def group(name):
    return grp.getgrnam(name).gr_gid


@contextlib.contextmanager
def rights_of(user, *groups):
    """Of that user and of those groups alone."""
    own = os.getgroups()
    os.setgroups(groups[1:])
    os.setegid(groups[0])
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(own)


def connect_as(path, user, *groups):
    """What such a client gets at a socket: a response, or why there is none."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(WAIT_MAX)
        try:
            with rights_of(user, *groups):
                peer.connect(str(path))
        except OSError as why:
            return why.strerror
        peer.sendall(b"a\n")
        return peer.recv(100).decode().strip()


def start(t, *lines, main=None, umask=0o022):
    t.folder.chmod(0o755)
    path = t.folder / "k.sock"
    kaproxy = Kaproxy(t, t.upstream(answer_lines).endpoint, listen=f"unix:{path}",
                      main=main or {}, listener=dict(line.split("=") for line in lines))
    before = os.umask(umask)
    try:
        t.own(kaproxy.start())
    finally:
        os.umask(before)
    return kaproxy, path


def check(t, path, file, **wanted):
    """The file's (user, group, mode), and who gets a response."""
    found = path.stat()
    t.equal((found.st_uid, found.st_gid, oct(stat.S_IMODE(found.st_mode))), file, "the file")
    clients = {"member": (OTHER, STRANGER, file[1]), "stranger": (STRANGER, STRANGER),
               "owner": (file[0], STRANGER)}
    for name, ids in clients.items():
        got = connect_as(path, *ids)
        if wanted[name]:
            t.check(got.endswith(" a"), f"{name} got no response: {got}")
        else:
            t.equal(got, "Permission denied", f"what {name} got")


@test("by default the owner and the group may, whatever the umask is")
def default(t):
    need_root()
    for umask in 0, 0o077:
        kaproxy, path = start(t, umask=umask)
        check(t, path, (0, 0, "0o660"), owner=True, member=True, stranger=False)
        kaproxy.stop()


@test("these are the user that kaproxy becomes, and the group of that user")
def user(t):
    need_root()
    nobody = pwd.getpwnam("nobody")
    _, path = start(t, main={"user": "nobody", "access_log": "off", "log": "stderr"})
    check(t, path, (nobody.pw_uid, nobody.pw_gid, "0o660"), owner=True, member=True,
          stranger=False)


@test("socket_group: its members may, and no others")
def members(t):
    need_root()
    _, path = start(t, "socket_group=daemon",
                    main={"user": "nobody", "access_log": "off", "log": "stderr"})
    check(t, path, (pwd.getpwnam("nobody").pw_uid, group("daemon"), "0o660"), owner=True,
          member=True, stranger=False)


@test("socket_user and socket_mode: the owner alone, or everyone")
def modes(t):
    need_root()
    daemon = pwd.getpwnam("daemon")
    for mode, everybody in ("0600", False), ("666", True):
        kaproxy, path = start(t, "socket_user=daemon", f"socket_mode={mode}")
        check(t, path, (daemon.pw_uid, daemon.pw_gid, oct(int(mode, 8))), owner=True,
              member=everybody, stranger=everybody)
        kaproxy.stop()


@test("the example of the manual page lets www-data connect")
def example(t):
    need_root()
    text = PAGE.read_text().split(".Sh EXAMPLES\n")[1].split(".Bd -literal -offset indent\n")[1]
    text = text.split(".Ed")[0]
    t.folder.chmod(0o755)
    logs = t.folder / "logs"
    logs.mkdir()
    os.chown(logs, pwd.getpwnam("nobody").pw_uid, -1)
    path = t.folder / "api.sock"
    for old, new in (("/var/log/kaproxy", str(logs)),
                     ("/run/kaproxy/api.sock", str(path)), ("127.0.0.1:8080 ", ""),
                     ("http://api.example.com", t.upstream(answer_lines).endpoint),
                     ("forwarded = x-forwarded-for", "reuse = quiet"), ("www-data", "daemon")):
        t.check(old in text, f"{old!r} is not in the example")
        text = text.replace(old, new)
    sections = configparser.ConfigParser()
    sections.read_string(text)
    t.own(Kaproxy(t, main=dict(sections["kaproxy"], user="nobody"), pool=dict(sections["pool"]),
                  more={"listener api": dict(sections["listener api"])}).start())
    check(t, path, (pwd.getpwnam("nobody").pw_uid, group("daemon"), "0o660"), owner=True,
          member=True, stranger=False)


@test("without root, another owner is an error that says so")
def not_root(t):
    need_root()
    t.folder.chmod(0o777)
    file = t.folder / "own.ini"
    file.write_text(f"[listener a]\nlisten = unix:{t.folder}/k.sock\nsocket_user = root\n"
                    "upstream = tcp://127.0.0.1:1\nreuse = quiet\n")
    done = subprocess.run([PROGRAM, "-c", str(file)], user=STRANGER, group=STRANGER,
                          extra_groups=[], capture_output=True, text=True, check=False)
    t.equal(done.returncode, 1, "exit status")
    t.check(re.search(r"cannot listen on unix:\S+: its owner cannot be set by this user",
                      done.stderr), f"what it wrote: {done.stderr!r}")
    t.equal(list(t.folder.glob("*.sock")), [], "files left")


main()
