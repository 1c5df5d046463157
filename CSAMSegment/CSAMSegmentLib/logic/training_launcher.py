"""Which command trains, and on which computer.

The module setting ``CSAMSegment/TrainingCommand``, if it is set; otherwise the worker's command, with another word at
its end. Either may run on another computer over ssh, or several processes with torchrun:

    ssh gpu-host torchrun --nproc-per-node 4 -m csam

What follows the computer's name is for the shell there: the user's words go as they are, ours are quoted for it.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from csam.errors import WorkerError

from .worker_launcher import (
    SSH,
    find_command,
    launch,
    own_command,
    program,
    read_setting,
    runs_in_slicer,
    split_command,
)

TRAINING_SETTING = "CSAMSegment/TrainingCommand"
ADVICE = "Change the training command (Advanced), or leave it empty to train as the worker runs."

WITH_VALUE = "BbcDEeFIiJLlmOoPpQRSWw"
"""Options of OpenSSH that take a value (ssh(1)); the letters may be joined, and the value may follow at once."""
PLINK_WITH_VALUE = {
    *("-load", "-P", "-l", "-pw", "-pwfile", "-i", "-m", "-D", "-L", "-R", "-nc", "-hostkey", "-proxycmd", "-sercfg"),
    *("-sshlog", "-sshrawlog", "-sessionlog", "-cert"),
}


@dataclass(frozen=True)
class TrainingLaunch:
    """command: before the arguments of ``csam``. environment: its variables. host: where it runs, empty for here."""

    command: list[str]
    environment: dict[str, str]
    host: str = ""

    def line(self, arguments: Sequence[str]) -> list[str]:
        """The whole command line."""
        return [*self.command, *(map(shlex.quote, arguments) if self.host else arguments)]


def find_training() -> TrainingLaunch:
    """How to start a training. Raises WorkerError where the command is none that could train, or is not there."""
    words, source = _found()
    command, host = split_host(words)
    started = launch(words, source, *([ADVICE] if source == TRAINING_SETTING else []))
    return TrainingLaunch(command, started.environment, host)


def find_here() -> TrainingLaunch:
    """How to start what reads and writes files of this computer, once, and needs no torch: by Slicer's own Python,
    whatever trains. Raises WorkerError where that is not found."""
    words, source = own_command(os.environ)
    return TrainingLaunch(words[:-1], launch(words, source).environment)


def training_host() -> str:
    """The computer that trains, empty for this one, and where no command says."""
    try:
        return split_host(_found()[0])[1]
    except WorkerError:
        return ""


def trains_in_slicer() -> bool:
    """Whether Slicer's own Python trains, into which packages may be installed."""
    return not read_setting(TRAINING_SETTING).strip() and runs_in_slicer()


def _found() -> tuple[list[str], str]:
    text = read_setting(TRAINING_SETTING)
    return (split_command(text), TRAINING_SETTING) if text.strip() else find_command(os.environ)


def split_host(words: Sequence[str]) -> tuple[list[str], str]:
    """The words before the arguments of ``csam``, and the computer on which they are run, empty for this one.

    words: of a command that runs csam or, with "worker" at its end, the worker. Raises WorkerError for any other.
    """
    host = _behind_options(words, 1) if program(words[0]) in SSH else 0
    here = _behind_options(words, host + 1) if host else 0  # options may follow the name, too
    if host >= len(words):
        raise WorkerError(f"This command names no computer to connect to: {' '.join(words)}.")
    found = re.fullmatch(r"(.*\bcsam(?:\.exe)?)(?:\s+worker)?\s*", " ".join(words[here:]), re.DOTALL)
    if found is None:
        raise WorkerError(
            f'This command cannot train: {" ".join(words)}. It has to end with "-m csam". Set the training command '
            "(Advanced), such as: ssh gpu-host python -m csam"
        )
    if here:
        return [*words[:here], found.group(1)], words[host]
    return list(words[:-1] if words[-1] == "worker" else words), ""


def _behind_options(words: Sequence[str], number: int) -> int:
    """The place of the first word from ``number`` on that is no option of ssh or plink, nor the value of one."""
    openssh = program(words[0]) == "ssh"
    while number < len(words) and words[number].startswith("-"):
        number += 1 + (_takes_next(words[number]) if openssh else words[number] in PLINK_WITH_VALUE)
    return number


def _takes_next(option: str) -> bool:
    """Whether the value of an option of OpenSSH is the next word: "-p", "-vp", but not "-v" or "-p22"."""
    for number, letter in enumerate(option[1:], 2):
        if letter in WITH_VALUE:
            return number == len(option)
    return False
