#!/usr/bin/env python3
"""Goal of this test: under valgrind a mixed load leaks no memory and no descriptor."""

import concurrent.futures
import re
import signal
import sys

sys.path.insert(0, sys.path[0] + "/harness")
from kaptest import ReservedPort, answer_lines, main, test
from kaptest.kaproxy import need_plain_build
from kaptest.peers import need


def misbehave(connection):
    """Each connection in another way."""
    way = connection.number % 5
    if way == 0:
        return  # closes at once
    line = connection.read_line()
    if way == 1:
        connection.reset()
    elif way == 2:
        connection.send(b"x" * (1 << 20))
    elif way == 3:
        connection.send(b"%s\nand more" % line)
    else:
        answer_lines(connection)


def client_life(kaproxy, number):
    listener = ("main", "bad", "never", "down", "unix")[number % 5]
    client = kaproxy.connect(listener)
    way = number // 5 % 4
    try:
        if way == 1:
            client.reset()
            return
        if way == 2:
            client.end()
            return
        client.send(b"hello\n")
        if way == 3:
            client.fin()
        client.receive()
    except OSError:
        pass
    finally:
        client.close()


@test("no error, no leak")
def leaks(t):
    need_plain_build()
    output = t.folder / "valgrind.out"
    wrap = [need("valgrind"), "--leak-check=full", "--show-leak-kinds=all",
            "--errors-for-leak-kinds=definite,indirect,possible", "--error-exitcode=99",
            "--track-fds=yes", f"--log-file={output}"]
    good, bad = t.upstream(answer_lines), t.upstream(misbehave)
    port = t.own(ReservedPort())
    more = {
        "pool bad": {"max_per_host": 2, "keep_alive": "300ms"},
        "pool never": {"min_idle": 2},
        "listener bad": {"listen": "127.0.0.1:{port}", "upstream": bad.endpoint, "pool": "bad",
                         "reuse": "quiet", "idle_timeout": "1s"},
        "listener never": {"listen": "127.0.0.1:{port}", "upstream": good.endpoint,
                           "reuse": "never", "pool": "never"},
        "listener down": {"listen": "127.0.0.1:{port}", "upstream": port.endpoint,
                          "reuse": "quiet"},
        "listener unix": {"listen": f"unix:{t.folder}/k.sock", "reuse": "quiet",
                          "upstream": f"tcp://localhost:{good.port}"},
    }
    kaproxy = t.kaproxy(good.endpoint, more=more, wrap=wrap, pool={"max_per_host": 2},
                        main={"log_level": "debug", "shutdown_timeout": "1s"})
    t.diagnostics.append(lambda: output.read_text(errors="replace").splitlines()[-60:])
    with concurrent.futures.ThreadPoolExecutor(10) as threads:
        list(threads.map(lambda number: client_life(kaproxy, number), range(200)))
    kaproxy.signal(signal.SIGUSR1)
    kaproxy.signal(signal.SIGHUP)
    kaproxy.wait_sessions(200)
    # Some sessions and a waiting client are cut by the end.
    held = [kaproxy.connect("main") for _ in range(4)]
    held[0].ask(b"x")
    kaproxy.stop(timeout=60)

    text = output.read_text()
    t.check("ERROR SUMMARY: 0 errors" in text, "valgrind found errors")
    lost = re.search(r"definitely lost: [1-9]|still reachable: [1-9]", text)
    t.check(not lost, f"memory was not given back: {lost and lost[0]}")
    leaked = re.findall(r"Open (?:AF_\S+ socket|file descriptor) \d+: .*", text)
    inherited = ("/dev/null", str(t.folder), "inherited")
    leaked = [line for line in leaked if not any(word in line for word in inherited)]
    t.equal(leaked, [], "descriptors left open")


main()
