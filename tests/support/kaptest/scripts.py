# SPDX-License-Identifier: ISC
"""Client programs that belong to a test, in languages whose client libraries people use: PHP,
Python and Perl. A script writes one JSON value, which its caller gets."""

import concurrent.futures
import functools
import json
import os
import shutil
import subprocess
import sys

from .tap import SLOW, Failure, Skip

SCRIPT_LIMIT = 200 if SLOW else 60

# How to check for a module, by language; the command that runs a script file follows from it.
_PROBES = {
    "php": lambda module: ["-r", f"exit(extension_loaded('{module}') ? 0 : 1);"],
    "python": lambda module: ["-c", f"import {module}"],
    "perl": lambda module: [f"-M{module}", "-e", "1"],
}
_OPTIONS = {"php": ["-d", "display_errors=stderr", "-d", "error_reporting=-1"], "python": [],
            "perl": ["-w"]}
_SUFFIXES = {"php": ".php", "python": ".py", "perl": ".pl"}


def _interpreters(language):
    """Those to be tried: a distribution's modules belong to its own Python."""
    if language == "python":
        return [sys.executable, "/usr/bin/python3"]
    return [path for path in [shutil.which(language)] if path]


@functools.lru_cache(maxsize=None)
def interpreter(language, module):
    """One that has the module; without it the test is skipped."""
    for path in _interpreters(language):
        if os.path.exists(path) and subprocess.run(
                [path, *_PROBES[language](module)], stdin=subprocess.DEVNULL, capture_output=True,
                check=False).returncode == 0:
            return path
    raise Skip(f"{language} with its module {module} is not installed")


class Script:
    """A script in a language, for which it needs a module. PHP's code has no opening tag."""

    def __init__(self, t, language, module, code):
        self.folder = t.folder
        self.command = [interpreter(language, module), *_OPTIONS[language]]
        number = 1
        while (file := t.folder / f"client-{number}{_SUFFIXES[language]}").exists():
            number += 1
        file.write_text(("<?php\n" if language == "php" else "") + code)
        self.command.append(str(file))

    def run(self, *arguments):
        """The output of one client."""
        try:
            done = subprocess.run([*self.command, *map(str, arguments)], stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=SCRIPT_LIMIT, cwd=self.folder,
                                  env={**os.environ, "LC_ALL": "C"}, check=False)
        except subprocess.TimeoutExpired as late:
            raise Failure(f"a client did not end within {SCRIPT_LIMIT} s; it wrote "
                          f"{late.stdout!r} {late.stderr!r}") from None
        errors = done.stderr.decode(errors="replace")
        if done.returncode != 0 or errors:
            raise Failure(f"a client ended with status {done.returncode}: {errors[-1500:]} "
                          f"{done.stdout[-500:]!r}")
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise Failure(f"a client wrote {done.stdout[-1000:]!r}") from None

    def run_all(self, arguments, at_a_time=6):
        """Many clients: the output of each, in their order."""
        with concurrent.futures.ThreadPoolExecutor(at_a_time) as threads:
            return list(threads.map(lambda words: self.run(*words), arguments))
