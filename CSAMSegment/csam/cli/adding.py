"""csam add: whole folders of images with labels, into a data set.

What ``--progress json`` tells, a line of JSON for each event; the order ``stop``, or the end of standard input, ends it
after the case that is under way:

case      name, state (added, there, fault), fault: a sentence
names     values: of the labels, that have to be named with --label first
done      added, there, faults: how many
stopped   text
error     text
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import Cancelled, InputError
from ..training.import_cases import ADDED, FAULT, THERE, Imported, NamesNeeded, import_folder
from .training_lines import Lines, lines


def run_add(options: argparse.Namespace) -> None:
    """Adds what a folder holds; 0 also where some of it could not be added, which is told by name."""
    if options.progress == "json":
        with lines(packages=False) as told:
            _add_told(options, told)
        return
    states: Counter[str] = Counter()
    try:
        for case in _coming(options):
            states[case.state] += 1
            words = {ADDED: "added", THERE: "is there already", FAULT: case.fault}
            print(f"{case.name}: {words[case.state]}")
    except NamesNeeded as error:
        raise InputError(f"{error} Give --label VALUE=NAME, once for each.") from error
    print(f"{states[ADDED]} added, {states[THERE]} there already, {states[FAULT]} not added. Data set: {options.to}")


def _add_told(options: argparse.Namespace, told: Lines) -> None:
    states: Counter[str] = Counter()
    try:
        for case in _coming(options):
            states[case.state] += 1
            told.tell("case", name=case.name, state=case.state, fault=case.fault)
            if told.orders.stop():
                raise Cancelled(f"Stopped; {states[ADDED]} added. The same command goes on.")
    except NamesNeeded as error:
        told.tell("names", values=error.values)
        raise
    told.tell("done", added=states[ADDED], there=states[THERE], faults=states[FAULT])


def _coming(options: argparse.Namespace) -> Iterator[Imported]:
    return import_folder(Path(options.folder), Path(options.to), _names(options.label), options.channel)


def _names(given: Sequence[str]) -> dict[int, str]:
    names: dict[int, str] = {}
    for text in given:
        value, _equals, name = text.partition("=")
        if not (value.strip().isdecimal() and name.strip()):
            raise InputError(f"--label {text} names no value; VALUE=NAME was expected, such as 1=ventricle.")
        names[int(value)] = name.strip()
    return names
