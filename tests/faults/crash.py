"""Ends work at the n-th line that given functions run: as an exception in this process, or as the end of the process."""

import os
import signal
import sys
from types import CodeType, FrameType
from typing import Any


class Crash(BaseException):
    """The work ends here. Nothing may catch it."""


class CrashAt:
    """Crashes before the n-th line: the statement before it is done, this one is not."""

    def __init__(self, codes: set[CodeType], at: int, *, really: bool = False) -> None:
        """`really`: the process is killed, as by SIGKILL from outside."""
        self._codes = codes
        self._left = at
        self._really = really

    def __enter__(self) -> "CrashAt":
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _enter(self, frame: FrameType, _: str, __: Any) -> Any:
        return self._line if frame.f_code in self._codes else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            self._left -= 1
            if self._left == 0:
                if self._really:
                    os.kill(os.getpid(), signal.SIGKILL)
                raise Crash(f"{frame.f_code.co_name}:{frame.f_lineno}")
        return self._line
