#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: the pid file exists as long as clients are served, and is ours; if it could
not be written, a start and -t say so."""

import os
import pwd
import re
import shutil
import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Kaproxy, Skip, answer_lines, main, test, wait_until
from kaptest.kaproxy import PROGRAM


def start(t, path, **main):
    return t.kaproxy(t.upstream(answer_lines).endpoint, main={"pid_file": path, **main})


def wait_for_pid(t, kaproxy, path):
    wait_until(lambda: path.exists() and path.read_text() == f"{kaproxy.pid}\n", "the pid file")
    t.equal(sorted(p.name for p in path.parent.iterdir() if p.name.startswith(path.name)),
            [path.name], "files next to it")


def refused(t, path, why, **main):
    """Neither a start nor a check succeeds, and the existing file stays."""
    before = path.lstat() if os.path.lexists(path) else None
    kaproxy = Kaproxy(t, t.upstream(answer_lines).endpoint, main={"pid_file": path, **main})
    status, text = kaproxy.start_failing()
    t.equal(status, 1, "exit status")
    t.check(re.search(rf" error: \S+:\d+: cannot write the pid file {re.escape(str(path) + why)}\n",
                      text), f"it wrote: {text!r}")
    t.check("listening on" not in text, f"it was bound: {text!r}")
    done = subprocess.run([PROGRAM, "-t", "-c", kaproxy.file], capture_output=True, text=True,
                          check=False)
    t.equal(done.returncode, 1, "exit status of -t")
    lines = kaproxy.file.read_text().splitlines()
    line = 1 + next(i for i, text in enumerate(lines) if text.startswith("pid_file"))
    t.check(f"{kaproxy.file}:{line}: cannot write the pid file {path}{why}\n" in done.stderr,
            f"-t wrote: {done.stderr!r}")
    after = path.lstat() if os.path.lexists(path) else None
    t.equal(after, before, "what is there")


@test("it is written when clients are served, and removed at the end")
def life(t):
    path = t.folder / "kaproxy.pid"
    kaproxy = start(t, path)
    wait_for_pid(t, kaproxy, path)
    t.equal(path.stat().st_mode & 0o777, 0o644 & ~_umask(), "mode")
    kaproxy.stop()
    t.check(not path.exists(), "it is still there")


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@test("a stale one is replaced, whatever it contains, even if it is not writable")
def stale(t):
    path = t.folder / "kaproxy.pid"
    for text in "", "1\n", "no number" * 1000:
        path.write_text(text)
        path.chmod(0o400)
        kaproxy = start(t, path)
        wait_for_pid(t, kaproxy, path)
        kaproxy.stop()


@test("another process' file is left alone, and a missing one is not created")
def not_ours(t):
    path = t.folder / "kaproxy.pid"
    for text in "1\n", None:
        kaproxy = start(t, path)
        wait_for_pid(t, kaproxy, path)
        path.unlink()
        if text is not None:
            path.write_text(text)
        kaproxy.stop()
        t.equal(path.read_text() if path.exists() else None, text, "what is in it")
        path.unlink(missing_ok=True)


@test("a start that fails writes none")
def failing(t):
    path = t.folder / "kaproxy.pid"
    other = Kaproxy(t, t.upstream(answer_lines).endpoint, main={"pid_file": path},
                    listen=f"unix:{t.folder}/missing/k.sock")
    status, _ = other.start_failing()
    t.equal(status, 1, "exit status")
    t.check(not path.exists(), "there is one")


@test("a directory, a FIFO, a symlink, or no directory to put it in: a start fails")
def no_place(t):
    path = t.folder / "kaproxy.pid"
    path.mkdir()
    refused(t, path, ": Is a directory")
    path.rmdir()
    os.mkfifo(path)
    refused(t, path, ": a FIFO")
    path.unlink()
    path.symlink_to("/dev/null")
    refused(t, path, ": no regular file")
    refused(t, t.folder / "missing" / "kaproxy.pid", ": No such file or directory")
    refused(t, t.folder / "k" / "kaproxy.pid", ": No such file or directory")


@test("with user it is that user's, whose directory it must be")
def user(t):
    if os.geteuid() != 0:
        raise Skip("only root can change its user")
    nobody = pwd.getpwnam("nobody")
    t.folder.chmod(0o755)
    logs = {"user": "nobody", "access_log": "off"}
    refused(t, t.folder / "kaproxy.pid", " as user nobody: Permission denied", **logs)
    run = t.folder / "run"
    run.mkdir()
    shutil.chown(run, "nobody", nobody.pw_gid)
    path = run / "kaproxy.pid"
    path.write_text("1\n")  # root's
    kaproxy = start(t, path, **logs)
    wait_for_pid(t, kaproxy, path)
    t.equal(path.stat().st_uid, nobody.pw_uid, "owner")
    kaproxy.stop()
    t.check(not path.exists(), "it is still there")
    run.chmod(0o1777)  # as /tmp is: the file's owner decides
    shutil.chown(run, "root", 0)
    path.write_text("1\n")
    refused(t, path, " as user nobody: Operation not permitted", **logs)


main()
