#!/usr/bin/env python3
"""Goal of this test: the descriptor limit is raised, with a warning where that is too little."""

import pathlib
import re
import sys

sys.path.insert(0, sys.path[0] + "/harness")
from kaptest import answer_lines, main, test
from kaptest.peers import need


def limits(kaproxy):
    text = pathlib.Path(f"/proc/{kaproxy.pid}/limits").read_text()
    return re.search(r"^Max open files\s+(\d+)\s+(\d+)", text, flags=re.M).groups()


@test("max_clients and max_open do not fit: a warning with the numbers, and it works on")
def too_low(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, pool={"max_open": 77},
                        main={"max_clients": 1234},
                        wrap=[need("prlimit"), "--nofile=64:250"])
    t.equal(limits(kaproxy), ("250", "250"), "limits")
    warnings = kaproxy.find_log("descriptor")
    t.equal(len(warnings), 1, "warnings")
    for number in "250", "1234", "77":
        t.check(number in warnings[0], f"{number} is not in {warnings[0]!r}")
    t.equal(kaproxy.connect().ask(b"a"), b"1 a", "answer")


@test("they fit: the limit is raised and there is no warning")
def fits(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, pool={"max_open": 10},
                        main={"max_clients": 20, "log_level": "notice"},
                        wrap=[need("prlimit"), "--nofile=64:250"])
    t.equal(limits(kaproxy), ("250", "250"), "limits")
    t.equal(kaproxy.find_log("descriptor"), [], "warnings")


main()
