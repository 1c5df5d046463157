"""How a process ended, in words: exit codes of Windows and of shells, and signals.

Sources: [MS-ERREF] 2.3.1, NTSTATUS values; POSIX shell, 2.8.2, exit status of commands.
"""

from __future__ import annotations

import signal

MEMORY = "The computer may have run out of memory."
LIBRARY = "Reinstall that Python, or install the Microsoft Visual C++ Redistributable (x64), and try again."
CRASH = "The worker log has details. Update the graphics driver, or choose the CPU as the device."

WINDOWS = {
    0xC0000005: ("it crashed: invalid memory access (access violation)", CRASH),
    0xC0000006: ("one of its files could not be read (in-page error)", "Check its disk or network drive."),
    0xC0000017: ("there was not enough memory", MEMORY),
    0xC000001D: ("this processor does not know one of its instructions", "Install another version of PyTorch."),
    0xC000007B: ("one of its libraries is for another kind of processor (bad image)", LIBRARY),
    0xC00000FD: ("it crashed: stack overflow", CRASH),
    0xC0000135: ("one of its libraries (DLL) is missing", LIBRARY),
    0xC0000138: ("one of its libraries (DLL) has the wrong version", LIBRARY),
    0xC0000139: ("one of its libraries (DLL) has the wrong version", LIBRARY),
    0xC000013A: ("it was stopped from the keyboard (Ctrl+C)", ""),
    0xC0000142: ("one of its libraries (DLL) could not start", LIBRARY),
    0xC0000374: ("it crashed: its memory was damaged (heap corruption)", CRASH),
    0xC0000409: ("it stopped after an internal error (abort)", CRASH),
    0x40010004: ("another program ended it", ""),
}
SIGNALS = {
    "SIGKILL": ("it was killed", MEMORY),
    "SIGSEGV": ("it crashed: invalid memory access", CRASH),
    "SIGBUS": ("it crashed: its memory could not be read", CRASH),
    "SIGABRT": ("it stopped after an internal error", CRASH),
    "SIGFPE": ("it crashed in a calculation", CRASH),
    "SIGILL": ("this processor does not know one of its instructions", "Install another version of PyTorch."),
    "SIGTERM": ("another program ended it", ""),
    "SIGINT": ("it was stopped from the keyboard (Ctrl+C)", ""),
    "SIGHUP": ("its connection or terminal was closed", ""),
}
SHELL = {
    126: ("its program was found but may not be run", "Check the worker command."),
    127: ("its program was not found", "Check the worker command."),
    255: ("if the command is ssh, it could not connect", "Try the same command in a terminal."),
    9009: ("its program was not found", "Check the worker command; on Windows, give the full path of python.exe."),
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
