# SPDX-License-Identifier: ISC
"""A headless Chromium, driven through its DevTools protocol over two pipes.

    browser = chromium.start(t)
    page = browser.open(url)
    page.evaluate("document.title")
    t.equal(page.complaints(), [])
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time

from .tap import Failure, Skip, WAIT_MAX, spawn, wait_until

# Chromium has its pipes at descriptors 3 and 4.
LAUNCHER = """
import fcntl, os, sys
here = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3]]
for fd, place in zip(here, (3, 4)):
    os.dup2(fd, place)
os.execv(sys.argv[3], sys.argv[3:])
"""

OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
           "--no-first-run", "--no-default-browser-check", "--disable-extensions",
           "--disable-background-networking", "--disable-component-update", "--disable-sync",
           "--no-proxy-server", "--hide-scrollbars", "--remote-debugging-pipe")


class Browser:
    def __init__(self, t, program):
        there, self._write = os.pipe()
        self._read, back = os.pipe()
        command = [sys.executable, "-c", LAUNCHER, str(there), str(back), program, *OPTIONS,
                   f"--user-data-dir={t.folder}/chromium", "about:blank"]
        self._log = open(t.folder / "chromium.log", "wb")
        self.process = spawn(command, pass_fds=(there, back), stdin=subprocess.DEVNULL,
                             stdout=self._log, stderr=self._log,
                             env={**os.environ, "HOME": str(t.folder)})
        os.close(there)
        os.close(back)
        self._pending = b""
        self._number = 0
        self.events = []

    def close(self):
        if self._write is not None:
            try:
                self.command("Browser.close")
                self.process.wait(WAIT_MAX)
            except (Failure, OSError, subprocess.TimeoutExpired):
                pass  # it is ended with the test
        for fd in self._read, self._write:
            os.close(fd)
        self._log.close()

    def _message(self, deadline):
        """The next one that arrives."""
        while b"\0" not in self._pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], left)[0]:
                raise Failure("the browser does not answer")
            more = os.read(self._read, 1 << 16)
            if not more:
                raise Failure("the browser has ended")
            self._pending += more
        message, _, self._pending = self._pending.partition(b"\0")
        return json.loads(message)

    def command(self, method, session=None, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + WAIT_MAX
        while True:
            got = self._message(deadline)
            if got.get("id") != self._number:
                self.events.append(got)
            elif "error" in got:
                raise Failure(f"{method}: {got['error']['message']}")
            else:
                return got["result"]

    def wait_event(self, method, session):
        """The next one with that name, among those not requested before."""
        deadline = time.monotonic() + WAIT_MAX
        while True:
            for event in self.events:
                if event.get("method") == method and event.get("sessionId") == session:
                    self.events.remove(event)
                    return event["params"]
            self.events.append(self._message(deadline))

    def open(self, url, **options):
        return Page(self, url, **options)


class Page:
    """One tab. The errors it reports are kept: complaints()."""

    def __init__(self, browser, url, width=1280, height=900, dark=False, scripts=True):
        self.browser = browser
        target = browser.command("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.command("Target.attachToTarget", targetId=target,
                                       flatten=True)["sessionId"]
        for domain in "Page", "Runtime", "Log":
            self.command(f"{domain}.enable")
        self.resize(width, height)
        self.set_dark(dark)
        if not scripts:
            self.command("Emulation.setScriptExecutionDisabled", value=True)
        self.go(url)

    def command(self, method, **parameters):
        return self.browser.command(method, self.session, **parameters)

    def go(self, url):
        self.command("Page.navigate", url=url)
        self.browser.wait_event("Page.loadEventFired", self.session)

    def resize(self, width, height):
        self.width = width
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height,
                     deviceScaleFactor=1, mobile=width < 600)

    def set_dark(self, dark):
        self.command("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def evaluate(self, expression):
        """The value of a JavaScript expression, as JSON has it; of a promise its result."""
        got = self.command("Runtime.evaluate", expression=expression, returnByValue=True,
                           awaitPromise=True, userGesture=True)
        if "exceptionDetails" in got:
            raise Failure(f"{expression[:80]}: {got['exceptionDetails']}")
        return got["result"].get("value")

    def texts(self, selector):
        return self.evaluate(f"Array.from(document.querySelectorAll({json.dumps(selector)}),"
                             " e => e.textContent.replace(/\\s+/g, ' ').trim())")

    def text(self, selector):
        """Of the only one."""
        found = self.texts(selector)
        if len(found) != 1:
            raise Failure(f"{len(found)} elements are {selector}")
        return found[0]

    def wait(self, expression, what):
        return wait_until(lambda: self.evaluate(expression), what)

    def press_enter(self):
        for kind, text in ("keyDown", "\r"), ("keyUp", ""):
            self.command("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text=text,
                         windowsVirtualKeyCode=13)

    def screenshot(self, path):
        height = self.evaluate("document.documentElement.scrollHeight")
        width = self.evaluate("innerWidth")
        shot = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True,
                            clip={"x": 0, "y": 0, "width": width, "height": height, "scale": 1})
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def complaints(self):
        """What the console has: exceptions, errors, violations of the policy."""
        self.evaluate("0")  # earlier messages have arrived then
        found = []
        for event in self.browser.events:
            method, parameters = event.get("method"), event.get("params", {})
            if event.get("sessionId") != self.session:
                continue
            if method == "Log.entryAdded":
                found.append(parameters["entry"]["text"])
            elif method == "Runtime.exceptionThrown":
                found.append(str(parameters["exceptionDetails"]))
            elif method == "Runtime.consoleAPICalled":
                found.append(str(parameters["args"]))
        return found


def start(t):
    """The test's own browser; skips the test if none can run."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if program is None:
        raise Skip("Chromium is not installed")
    browser = t.own(Browser(t, program))
    try:
        browser.command("Browser.getVersion")
    except (Failure, OSError) as why:
        raise Skip(f"Chromium does not run here: {why}") from None
    return browser
