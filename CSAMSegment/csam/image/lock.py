"""A folder for one process: a lock that the system lets go of, however its process ends."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import InputError

HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)
"""What the system says of a lock that another process has."""
PAUSE = 0.02
"""Seconds between two attempts."""


@contextmanager
def lock(path: Path, held: str, patience: float = 0.0) -> Iterator[None]:
    """Holds the lock of a file, which is made where it is missing.

    held: what InputError says where another process has it. patience: seconds to wait for that. A file system without
    locks is taken to have no second user.
    """
    with open(path, "ab") as file:
        give_up = time.monotonic() + patience
        while True:
            try:
                _lock(file)
            except OSError as error:
                if error.errno in HELD:
                    if time.monotonic() < give_up:
                        time.sleep(PAUSE)
                        continue
                    raise InputError(held) from error
            break
        yield


def _lock(file: BinaryIO) -> None:
    """Raises OSError at once where it cannot be had; closing the file gives it back."""
    if os.name == "nt":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
