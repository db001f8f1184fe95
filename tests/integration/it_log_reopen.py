#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: after SIGHUP kaproxy writes to new log files in place of renamed ones."""

import signal
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import answer_lines, main, test, wait_until


def use(kaproxy):
    client = kaproxy.connect()
    client.ask(b"x")
    client.end()


@test("both files are opened again, no line is lost, the old files stay as they were")
def reopened(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, main={"log": t.folder / "kaproxy.log"})
    use(kaproxy)
    kaproxy.wait_sessions(1)
    old_access, old_log = t.folder / "old-access", t.folder / "old-log"
    kaproxy.access_file.rename(old_access)
    kaproxy.log_file.rename(old_log)
    kaproxy.signal(signal.SIGHUP)
    wait_until(lambda: kaproxy.access_file.exists() and kaproxy.log_file.exists(), "new files")
    sizes = old_access.stat().st_size, old_log.stat().st_size
    use(kaproxy)
    kaproxy.signal(signal.SIGUSR1)
    t.equal(len(kaproxy.wait_sessions(1)), 1, "lines in the new access log")
    kaproxy.wait_log("immediate")
    t.equal(old_access.read_text().count("\n"), 1, "lines in the old access log")
    t.equal((old_access.stat().st_size, old_log.stat().st_size), sizes, "sizes of the old files")
    t.equal(kaproxy.stderr(), "", "what it wrote to standard error")


@test("a file that cannot be opened: logging continues in the old one, with one message")
def cannot_open(t):
    folder = t.folder / "logs"
    folder.mkdir()
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint,
                        main={"access_log": folder / "access.log",
                              "log": t.folder / "kaproxy.log"})
    use(kaproxy)
    folder.rename(t.folder / "moved")
    kaproxy.signal(signal.SIGHUP)
    kaproxy.wait_log("access.log.*No such file or directory")
    use(kaproxy)
    wait_until(lambda: (t.folder / "moved" / "access.log").read_text().count("\n") == 2,
               "the second line in the old file")
    t.equal(kaproxy.stderr(), "", "what it wrote to standard error")


main()
