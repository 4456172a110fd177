"""One writer in an object store, which has no lock that ends with its holder: a lease that is renewed.

The holder renews its lease, an object, every ``RENEW`` seconds; who finds a lease that does not change for ``WAIT``
seconds takes it over; who finds another's in place of its own stops writing. No clock of another machine is asked.
"""

import contextlib
import os
import platform
import re
import secrets
import threading
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from poolwise.errors import PoolwiseWarning, StoreError

if TYPE_CHECKING:
    from poolwise.data.objects import Objects

# Seconds between renewals, and until a lease that is not renewed has run out.
RENEW, WAIT = 5.0, 30.0
LEASE, OWNER, MOST_LEASE = "lease", re.compile(r"[0-9a-f]{32} (process [0-9]{1,10} on [\w.-]{1,80}), renewed "), 1000
TAKEN = "another run has taken its lease over"


class Lease:
    """The right of one process to write, renewed by a thread until it is released.

    Parameters
    ----------
    objects : Objects
    what : str
        What is refused, for the message.

    Raises
    ------
    StoreError
        If another run renews its own.

    Warns
    -----
    PoolwiseWarning
        If it was taken over from a run that has not renewed it for ``WAIT`` seconds.
    """

    def __init__(self, objects: "Objects", what: str):
        self._objects, self._renewals, self.lost = objects, 0, False
        self._owner = f"{secrets.token_hex(16)} process {os.getpid()} on {platform.node() or 'unknown'}"
        try:
            if not self._claimed():
                self._wait(what)
                if not self._claimed():
                    raise StoreError(f"{what}: another run began to write there; wait until it has ended")
        except OSError as error:
            raise StoreError(f"{what}: {error.strerror or error}") from error
        self._beat = Beat(RENEW, self._renew)

    def _claimed(self) -> bool:
        try:
            self._objects.put(LEASE, self._text(), new=True)
        except FileExistsError:
            return False
        return True

    def _text(self) -> bytes:
        return f"{self._owner}, renewed {self._renewals} times\n".encode()

    def _found(self) -> bytes | None:
        try:
            return self._objects.read(LEASE, MOST_LEASE)
        except StoreError:
            return None

    def _wait(self, what: str) -> None:
        """Return once the lease that is there was given back, or has run out."""
        seen, until = self._found(), time.monotonic() + WAIT
        while seen is not None and time.monotonic() < until:
            time.sleep(WAIT / 30)
            now = self._found()
            if now is not None and now != seen:
                holder = OWNER.match(now.decode(errors="replace"))
                known = f" ({holder.group(1)})" if holder else ""
                raise StoreError(
                    f"{what}: another run writes there{known}; wait until it has ended, or choose another place"
                )
            seen = now
        if seen is not None:
            warnings.warn(
                f"the run that wrote to {str(self._objects)!r} did not give its lease back, and has not renewed it for "
                f"{WAIT:g} s: it is taken over. If that run goes on after all, it will stop writing",
                PoolwiseWarning,
                stacklevel=6,
            )
            self._objects.remove(LEASE)

    def verify(self) -> None:
        """Look now whether the lease is still this process's; OSError if not. Asked before what others wrote could go.

        A process may have stood still since its last renewal.
        """
        self._look()
        if self.lost:
            raise OSError(TAKEN)

    def _look(self) -> None:
        found = self._found()
        self.lost = found is None or not found.startswith(self._owner.encode())

    def _renew(self) -> None:
        # A store that cannot be reached for a moment says nothing about who writes.
        with contextlib.suppress(OSError):
            self._look()
            if not self.lost:
                self._renewals += 1
                self._objects.put(LEASE, self._text())

    def release(self) -> None:
        """Let others write."""
        self._beat.stop()
        with contextlib.suppress(OSError):
            self._look()
            if not self.lost:
                self._objects.remove(LEASE)


class Beat:
    """Calls a function every so many seconds, from a thread of its own that ends with the process.

    Parameters
    ----------
    every : float
        Seconds.
    call : callable
        It raises nothing.
    """

    def __init__(self, every: float, call: Callable[[], None]):
        self._every, self._call, self._ended = every, call, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(self._every):
            self._call()

    def stop(self) -> None:
        """Call it no more; a call under way ends first."""
        self._ended.set()
        self._thread.join()
