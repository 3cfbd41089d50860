"""A Chromium without a window, driven over a pipe by its own protocol: no driver, no port, no network.

https://chromedevtools.github.io/devtools-protocol/: JSON messages that end in a zero byte, on descriptors 3 and 4.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
# The browser wants descriptors 3 and 4, and a child of a test has no say in its numbers: a small program moves them.
LAUNCH = "import fcntl,os,sys; i,o=(fcntl.fcntl(int(n),fcntl.F_DUPFD,10) for n in sys.argv[1:3]); "
LAUNCH += "os.dup2(i,3); os.dup2(o,4); os.execv(sys.argv[3],sys.argv[3:])"


def find():
    """Where a Chromium is, None if there is none."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Chromium:
    """One page. `problems` collects whatever the console, the policy or a script complains about."""

    def __init__(self, program):
        self._folder = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        asked, self._ask = os.pipe()
        self._answers, answered = os.pipe()
        options = ["--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--disable-dev-shm-usage"]
        options += ["--no-first-run", "--hide-scrollbars", f"--user-data-dir={self._folder.name}"]
        options += ["--no-sandbox"] if os.geteuid() == 0 else []  # root has no namespaces to be put into
        command = [sys.executable, "-c", LAUNCH, str(asked), str(answered), program, *options]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, pass_fds=(asked, answered), stdout=quiet, stderr=quiet)
        os.close(asked)
        os.close(answered)
        self._number, self._rest, self.problems = 0, b"", []
        self._session = None

    def __enter__(self):
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        return self

    def __exit__(self, *_):
        self._session = None
        self.ask("Browser.close")
        self._process.wait(20)
        os.close(self._ask)
        os.close(self._answers)
        self._folder.cleanup()

    def ask(self, method, **parameters):
        """Send one command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._ask, json.dumps(message).encode() + b"\0")
        return self._wait(lambda m: m.get("id") == self._number).get("result", {})

    def open(self, path):
        """Open a file and wait until it is loaded; returns the seconds that took."""
        begun = time.monotonic()
        self.ask("Page.navigate", url=Path(path).resolve().as_uri())
        self._wait(lambda m: m.get("method") == "Page.loadEventFired")
        return time.monotonic() - begun

    def value(self, expression):
        """What a JavaScript expression is, as Python has it."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def look(self, width, height=900, scheme="light"):
        """Give the window a size and a colour scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def click(self, selector):
        """Click into the middle of what a selector finds, as a mouse does."""
        self.value(f"document.querySelector({selector!r}).scrollIntoView({{block:'center',inline:'center'}})")
        box = self.value(
            f"(r => [r.x+r.width/2, r.y+r.height/2])(document.querySelector({selector!r}).getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def press(self, key):
        """Press a key where the focus is."""
        code = {"Enter": (13, "\r"), "Tab": (9, "")}[key]
        for kind in ("keyDown", "keyUp"):
            text = {"text": code[1]} if kind == "keyDown" and code[1] else {}
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code[0], **text)

    def screenshot(self, whole=True):
        """The page as a PNG."""
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(shot["data"])

    def _wait(self, wanted, seconds=60.0):
        until = time.monotonic() + seconds
        while True:
            while b"\0" not in self._rest:
                ready, _, _ = select.select([self._answers], [], [], max(0.0, until - time.monotonic()))
                assert ready, "Chromium does not answer"
                piece = os.read(self._answers, 1 << 20)
                assert piece, "Chromium has ended"
                self._rest += piece
            text, _, self._rest = self._rest.partition(b"\0")
            message = json.loads(text)
            self._note(message)
            if wanted(message):
                return message

    def _note(self, message):
        method, found = message.get("method"), message.get("params", {})
        if method == "Log.entryAdded" and found["entry"]["level"] in ("warning", "error"):
            self.problems.append(found["entry"]["text"])
        if method == "Runtime.exceptionThrown":
            self.problems.append(str(found["exceptionDetails"]))
        if method == "Runtime.consoleAPICalled" and found["type"] in ("warning", "error", "assert"):
            self.problems.append(str(found["args"]))
