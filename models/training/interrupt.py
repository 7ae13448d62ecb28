"""Stopping on a signal: Ctrl-C, the system's request to end (SIGTERM), a terminal that closes (SIGHUP).

Most work stops where it is: the signal becomes a KeyboardInterrupt, and half-written files are removed. A loop that has a
state to save asks between its steps instead (`stop_requests`). Signals that a process was started to ignore, as under
`nohup`, stay ignored.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
ECHO = 0.5  # seconds in which a further signal is no second request: `timeout` and closing terminals send several


@dataclass
class _Heard:
    """The signals that this process received: the number of the first one, and the time of the last request."""

    first: int | None = None
    last: float = float("-inf")

    def request(self, number: int) -> bool:
        """Note a signal; returns whether it is a request of its own rather than an echo of the one before."""
        now = time.monotonic()
        echo, self.last = now - self.last < ECHO, now
        self.first = self.first or number
        return not echo


_heard = _Heard()


def stopped_by() -> int | None:
    """The number of the signal that asked to stop the work of `interruptible`; None if there was none."""
    return _heard.first


@contextmanager
def interruptible() -> Iterator[None]:
    """While the block lasts, each signal that asks to stop raises KeyboardInterrupt in the main thread."""
    _heard.first, _heard.last = None, float("-inf")

    def stop(number: int, frame: FrameType | None) -> None:
        if _heard.request(number):
            raise KeyboardInterrupt

    with _handled(stop):
        yield


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether a signal asked to stop; a second signal stops at once, by KeyboardInterrupt."""
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if _heard.request(number):
            if asked.is_set():
                raise KeyboardInterrupt
            asked.set()

    with _handled(ask):
        yield asked.is_set


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Give a handler the signals that are not ignored; does nothing outside the main thread, where Python allows none."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
