#!/usr/bin/env python3
"""Goal of this test: started as root, kaproxy binds, then drops to the user it was told."""

import os
import pathlib
import pwd
import re
import sys

sys.path.insert(0, sys.path[0] + "/harness")
from kaptest import Kaproxy, Skip, answer_lines, main, test


def need_root():
    if os.geteuid() != 0:
        raise Skip("only root can change its user")


@test("user, group and supplementary groups are the user's, and clients are served")
def drops(t):
    need_root()
    t.folder.chmod(0o755)
    nobody = pwd.getpwnam("nobody")
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, main={"user": "nobody"},
                        listen=f"127.0.0.1:{{port}} unix:{t.folder}/k.sock")
    status = pathlib.Path(f"/proc/{kaproxy.pid}/status").read_text()
    ids = {key: set(re.search(rf"^{key}:(.*)$", status, flags=re.M)[1].split())
           for key in ("Uid", "Gid", "Groups", "CapEff")}
    t.equal(ids["Uid"], {str(nobody.pw_uid)}, "user")
    t.equal(ids["Gid"], {str(nobody.pw_gid)}, "group")
    t.check(ids["Groups"] <= {str(g) for g in os.getgrouplist("nobody", nobody.pw_gid)},
            f"groups: {ids['Groups']}")
    t.equal({int(c, 16) for c in ids["CapEff"]}, {0}, "capabilities")
    for index in 0, 1:
        client = kaproxy.connect(index=index)
        t.equal(client.ask(b"a"), b"1 a", "answer")
        client.end()
    t.equal(len(kaproxy.wait_sessions(2)), 2, "sessions logged")


@test("a user that does not exist: exit status 1 and a message that names it")
def unknown(t):
    need_root()
    kaproxy = Kaproxy(t, t.upstream(answer_lines).endpoint, main={"user": "no-such-user-here"})
    status, text = kaproxy.start_failing()
    t.equal(status, 1, "exit status")
    t.check("no-such-user-here" in text, f"the message does not name the user: {text!r}")


main()
