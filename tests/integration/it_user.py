#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: started as root, kaproxy opens its logs with the permissions of the configured
user, binds, then becomes that user; nothing of root's changes its owner."""

import os
import pathlib
import pwd
import re
import shutil
import signal
import stat
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Kaproxy, Skip, answer_lines, main, test


def need_root():
    if os.geteuid() != 0:
        raise Skip("only root can change its user")


def nobodys(folder):
    """The folder belongs to the user that kaproxy becomes, as a log's folder must."""
    need_root()
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    shutil.chown(folder, "nobody", pwd.getpwnam("nobody").pw_gid)
    return folder


def start_as_nobody(t, **options):
    nobodys(t.folder)
    return t.kaproxy(t.upstream(answer_lines).endpoint,
                     **{**options, "main": {"user": "nobody", **options.get("main", {})}})


def refused_as_nobody(t, why="Permission denied", **options):
    """It does not start, and says why: returns what it wrote."""
    main = {"user": "nobody", **options.pop("main", {})}
    kaproxy = Kaproxy(t, t.upstream(answer_lines).endpoint, main=main, **options)
    status, text = kaproxy.start_failing()
    t.equal(status, 1, "exit status")
    t.check(re.search(rf"error: \S+:\d+: cannot open the (access )?log \S+ as user nobody: {why}", text),
            f"what it wrote: {text!r}")
    return text


def use(t, kaproxy, index=0):
    client = kaproxy.connect(index=index)
    t.check(client.ask(b"a").endswith(b" a"), "no response")
    client.end()


@test("user, group and supplementary groups are the user's, and clients are served")
def drops(t):
    kaproxy = start_as_nobody(t, listen=f"127.0.0.1:{{port}} unix:{t.folder}/k.sock")
    nobody = pwd.getpwnam("nobody")
    for task in pathlib.Path(f"/proc/{kaproxy.pid}/task").iterdir():
        status = (task / "status").read_text()
        ids = {key: set(re.search(rf"^{key}:(.*)$", status, flags=re.M)[1].split())
               for key in ("Uid", "Gid", "Groups", "CapEff", "CapPrm")}
        t.equal(ids["Uid"], {str(nobody.pw_uid)}, "user")
        t.equal(ids["Gid"], {str(nobody.pw_gid)}, "group")
        t.check(ids["Groups"] <= {str(g) for g in os.getgrouplist("nobody", nobody.pw_gid)},
                f"groups: {ids['Groups']}")
        t.equal({int(c, 16) for c in ids["CapEff"] | ids["CapPrm"]}, {0}, "capabilities")
    for index in 0, 1:
        use(t, kaproxy, index)
    t.equal(len(kaproxy.wait_sessions(2)), 2, "sessions logged")


@test("log files are created by the user, and opened again by the user")
def files(t):
    kaproxy = start_as_nobody(t, main={"log": t.folder / "kaproxy.log"})
    nobody = pwd.getpwnam("nobody")
    for again in False, True:
        for path in kaproxy.log_file, kaproxy.access_file:
            if again:
                path.rename(f"{path}.old")
        if again:
            kaproxy.signal(signal.SIGHUP)
            kaproxy.wait_log("log files were reopened")
        use(t, kaproxy)
        kaproxy.wait_sessions(1)
        for path in kaproxy.log_file, kaproxy.access_file:
            owner = path.stat()
            t.equal((owner.st_uid, owner.st_gid), (nobody.pw_uid, nobody.pw_gid), f"owner of {path}")


@test("a file of root's reached through a symlink stays root's, and the start fails")
def symlink(t):
    mine = t.folder / "precious"
    mine.touch(0o600)
    t.folder.chmod(0o755)
    logs = nobodys(t.folder / "logs")
    for key in "log", "access_log":
        link = logs / f"{key}.log"
        link.symlink_to(mine)
        refused_as_nobody(t, main={key: link})
        t.equal((mine.stat().st_uid, mine.stat().st_size), (0, 0), "owner and size")


@test("a device stays root's, though it serves as a log")
def device(t):
    null = nobodys(t.folder) / "null"
    try:
        os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        null.chmod(0o666)
        null.open("w").close()
    except OSError as why:
        raise Skip(f"no device can be made here: {why}") from None
    kaproxy = start_as_nobody(t, main={"access_log": null})
    use(t, kaproxy)
    kaproxy.stop()
    t.equal(null.stat().st_uid, 0, "owner")


@test("a log that the user cannot open: an error before anything is bound")
def before_binding(t):
    need_root()
    t.folder.chmod(0o755)  # root's
    text = refused_as_nobody(t, listen=f"unix:{t.folder}/k.sock")
    t.check("listening on" not in text, f"it was bound: {text!r}")


@test("standard output and error are used as they are, whoever may open them")
def standard(t):
    nobodys(t.folder)
    reader, writer = os.pipe()  # root's: user nobody could not open it by a name
    t.callback(os.close, reader)
    main = {"user": "nobody", "access_log": "/dev/stderr", "log": t.folder / "kaproxy.log"}
    kaproxy = Kaproxy(t, t.upstream(answer_lines).endpoint, stderr=writer, main=main)
    t.own(kaproxy.start())
    os.close(writer)
    use(t, kaproxy)
    t.check(b" end=complete\n" in os.read(reader, 65536), "the line")
    kaproxy.signal(signal.SIGHUP)
    kaproxy.wait_log("log files were reopened")
    use(t, kaproxy)
    t.check(b" end=complete\n" in os.read(reader, 65536), "the line after SIGHUP")


@test("a user that does not exist: exit status 1 and a message that names it")
def unknown(t):
    need_root()
    kaproxy = Kaproxy(t, t.upstream(answer_lines).endpoint, main={"user": "no-such-user-here"})
    status, text = kaproxy.start_failing()
    t.equal(status, 1, "exit status")
    t.check("no-such-user-here" in text, f"the message does not name the user: {text!r}")


main()
