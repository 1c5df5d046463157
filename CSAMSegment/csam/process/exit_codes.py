"""How a process ended, in words: exit codes of Windows and of shells, and signals.

Sources: [MS-ERREF] 2.3.1, NTSTATUS values; POSIX shell, 2.8.2, exit status of commands.
"""

from __future__ import annotations

import signal

MEMORY = "The computer may have run out of memory."
LIBRARY = "Install that Python anew, or install the Microsoft Visual C++ Redistributable (x64) and start it again."
CRASH = "The log has the place. A newer driver of the graphics card, or the CPU as the device, may help."

WINDOWS = {
    0xC0000005: ("it crashed: memory that is not its own (access violation)", CRASH),
    0xC0000006: ("a file of it could not be read (in-page error)", "Is its disk or network drive still there?"),
    0xC0000017: ("there was not enough memory", MEMORY),
    0xC000001D: ("this processor does not know one of its instructions", "Install PyTorch of another version."),
    0xC000007B: ("a library of it is for another kind of processor (bad image)", LIBRARY),
    0xC00000FD: ("it crashed: stack overflow", CRASH),
    0xC0000135: ("a library (DLL) of it is missing", LIBRARY),
    0xC0000138: ("a library (DLL) of it is of another version", LIBRARY),
    0xC0000139: ("a library (DLL) of it is of another version", LIBRARY),
    0xC000013A: ("it was stopped from the keyboard (Ctrl+C)", ""),
    0xC0000142: ("a library (DLL) of it could not begin its work", LIBRARY),
    0xC0000374: ("it crashed: its memory was damaged (heap corruption)", CRASH),
    0xC0000409: ("it gave up after a fault of its own (abort)", CRASH),
    0x40010004: ("it was ended from outside", ""),
}
SIGNALS = {
    "SIGKILL": ("it was killed", MEMORY),
    "SIGSEGV": ("it crashed: memory that is not its own", CRASH),
    "SIGBUS": ("it crashed: memory that could not be reached", CRASH),
    "SIGABRT": ("it gave up after a fault of its own", CRASH),
    "SIGFPE": ("it crashed in a calculation", CRASH),
    "SIGILL": ("this processor does not know one of its instructions", "Install PyTorch of another version."),
    "SIGTERM": ("it was ended from outside", ""),
    "SIGINT": ("it was stopped from the keyboard (Ctrl+C)", ""),
    "SIGHUP": ("its connection or terminal was closed", ""),
}
SHELL = {
    126: ("its program is there but may not be run", "Check the worker command."),
    127: ("its program was not found", "Check the worker command."),
    255: ("ssh, if it is one, had no connection", "Try the same command in a terminal."),
    9009: ("its program was not found", "Check the worker command; on Windows give the whole path of python.exe."),
}


def in_words(code: int) -> tuple[str, str]:
    """How a process with this exit code ended, and what to do; the number stands beside it.

    A negative code is minus a signal, as Python has it; of Windows' large codes either sign means the same.
    """
    if -256 < code < 0:
        return _by_signal(-code, f"signal {-code}")
    unsigned = code & 0xFFFFFFFF
    if unsigned in WINDOWS:
        words, advice = WINDOWS[unsigned]
        return f"{words}, exit code 0x{unsigned:08X}", advice
    if unsigned >= 0x80000000:
        return f"exit code 0x{unsigned:08X}", CRASH
    if code in SHELL:
        words, advice = SHELL[code]
        return f"exit code {code}: {words}", advice
    if 128 < code < 160:
        return _by_signal(code - 128, f"exit code {code}, signal {code - 128}")
    return f"exit code {code}", ""


def _by_signal(number: int, said: str) -> tuple[str, str]:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"it was ended by {said}", ""
    words, advice = SIGNALS.get(name, ("it was ended", ""))
    return f"{words}, {said} ({name})", advice
