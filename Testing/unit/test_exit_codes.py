"""How a worker ended is told in words, with the number beside it."""

import pytest

from csam.process.exit_codes import in_words


@pytest.mark.parametrize(
    ("code", "words", "advice"),
    [
        (0xC0000135, "one of its libraries (DLL) is missing, exit code 0xC0000135", "Visual C++ Redistributable"),
        (
            0xC0000135 - 2**32,
            "one of its libraries (DLL) is missing, exit code 0xC0000135",
            "Visual C++ Redistributable",
        ),
        (0xC0000005, "it crashed: invalid memory access (access violation), exit code 0xC0000005", "driver"),
        (0xC0000017, "there was not enough memory, exit code 0xC0000017", "run out of memory"),
        (0xC00000AA, "exit code 0xC00000AA", "driver"),
        (-9, "it was killed, signal 9 (SIGKILL)", "run out of memory"),
        (-11, "it crashed: invalid memory access, signal 11 (SIGSEGV)", "driver"),
        (-4, "this processor does not know one of its instructions, signal 4 (SIGILL)", "another version"),
        (-200, "it was ended by signal 200", ""),
        (137, "it was killed, exit code 137, signal 9 (SIGKILL)", "run out of memory"),
        (127, "exit code 127: its program was not found", "Check the worker command"),
        (9009, "exit code 9009: its program was not found", "python.exe"),
        (3, "exit code 3", ""),
    ],
)
def test_an_end_is_told_in_words_with_its_number_and_what_to_do(code, words, advice):
    said, what_to_do = in_words(code)
    assert said == words
    assert advice in what_to_do
