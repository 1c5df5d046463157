"""``python -m csam``."""

import os
import sys


def main() -> int:
    """The command line."""
    from .cli.main import main as run

    return run()


def _forget_start_folder() -> None:
    """Python looks first where it was started: a numpy.py there, among someone's data, is not numpy.

    Python 3.11 and later can be told (PYTHONSAFEPATH), 3.10 cannot, and over ssh nobody tells it.
    """
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if (
        sys.path
        and sys.path[0] in ("", os.getcwd())
        and not (os.path.isdir(ours) and os.path.samefile(ours, os.curdir))
    ):
        del sys.path[0]


if __name__ == "__main__":
    if not getattr(sys.flags, "safe_path", False):
        _forget_start_folder()
    sys.exit(main())
