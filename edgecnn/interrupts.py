"""Ctrl-C is a ``KeyboardInterrupt`` as ever, but not while something is imported; being told to end is another.

``timeout``, ``docker stop`` and schedulers tell a process to end by SIGTERM, which would leave what was half written.

Extensions run Python code while they are imported. Interrupted there, PyTorch ends the process ("terminate called after
throwing"), and others swallow the interrupt and fail later by what they did not finish.
"""

import signal
import threading
from types import FrameType

from edgecnn.errors import INTERRUPTED

AGAIN_S = 0.02  # until an interrupt that has to wait is looked at again

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_came: list[int] = []
_waiting = threading.Event()


def raise_interrupts(once: bool = False) -> None:
    """From now on, in this process; called in its main thread.

    Args:
        once: those behind the first are ignored, so that they do not interrupt the clearing up.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        _came.append(number)
        if _waiting.is_set():
            return  # one interrupt is raised for all that came meanwhile
        if _importing(frame):
            _waiting.set()
            timer = threading.Timer(AGAIN_S, _send_again, [number])
            timer.daemon = True
            timer.start()
            return
        if once:
            for other in SIGNALS:
                signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in SIGNALS:
        signal.signal(number, handle)


def interrupted() -> bool:
    """Whether an interrupt came, whatever has become of it: a library may have swallowed it, and failed by that."""
    return bool(_came)


def exit_code() -> int:
    """Of an interrupted process, as shells have it: 128 and the signal, of the first if there were several."""
    return 128 + _came[0] if _came else INTERRUPTED


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _send_again(number: int) -> None:
    _waiting.clear()
    main = threading.main_thread().ident
    assert main is not None  # noqa: S101 - it has started
    signal.pthread_kill(main, number)
