"""A headless Chromium, driven over a pipe by the DevTools protocol; nothing else is needed than the browser."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

EXECUTABLE = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
SECONDS = 600


class Page:
    """One page of a browser of its own; use it in a ``with`` statement.

    ``events`` holds everything the browser told: requests, console messages, exceptions, violated policies.
    """

    def __init__(self, folder: Path):
        assert EXECUTABLE is not None
        to_browser, self._write = _pipe()
        self._read, from_browser = _pipe()
        # The browser reads file descriptor 3 and writes 4.
        launch = "import os, sys; a, b, *c = sys.argv[1:]; os.dup2(int(a), 3); os.dup2(int(b), 4); os.execv(c[0], c)"
        command = [
            sys.executable,
            "-c",
            launch,
            str(to_browser),
            str(from_browser),
            EXECUTABLE,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--remote-debugging-pipe",
            f"--user-data-dir={folder}",
        ]
        silent = subprocess.DEVNULL
        self._process = subprocess.Popen(
            command, pass_fds=(to_browser, from_browser), stdin=silent, stdout=silent, stderr=silent
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer, self._number, self.events = b"", 0, []
        self._session = ""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, *_) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def send(self, method: str, **params) -> dict:
        """Call a method of the protocol and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        return self._until(lambda one: one.get("id") == self._number, method)

    def open(self, address: str) -> None:
        """Load a page."""
        self.send("Page.navigate", url=address)
        if not any(one.get("method") == "Page.loadEventFired" for one in self.events):
            self._until(lambda one: one.get("method") == "Page.loadEventFired", address)

    def evaluate(self, expression: str):
        """Value of a JavaScript expression."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def width(self, pixels: int, height: int = 900) -> None:
        """Size of the window."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=pixels, height=height, deviceScaleFactor=1, mobile=pixels < 600
        )

    def media(self, scheme: str = "light", kind: str = "") -> None:
        """Prefer light or dark; kind "print" shows what a printer gets."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", media=kind, features=features)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """A screenshot."""
        found = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def pdf(self, path: Path) -> None:
        """The page as it is printed."""
        path.write_bytes(base64.b64decode(self.send("Page.printToPDF", printBackground=True)["data"]))

    def _until(self, wanted, what: str) -> dict:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            while b"\0" in self._buffer:
                line, self._buffer = self._buffer.split(b"\0", 1)
                message = json.loads(line)
                if "id" not in message:
                    self.events.append(message)
                if wanted(message):
                    assert "error" not in message, (what, message["error"])
                    return message.get("result", {})
            if select.select([self._read], [], [], 1.0)[0]:
                read = os.read(self._read, 1 << 16)
                assert read, f"the browser ended during {what}"
                self._buffer += read
        raise TimeoutError(f"no answer to {what} in {SECONDS} s")


def _pipe() -> tuple[int, int]:
    """A pipe whose ends stand above the numbers that the browser wants."""
    ends = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(end)
    return ends[0], ends[1]
