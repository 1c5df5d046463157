"""A chamber's volume over one heartbeat: which frames are end diastole and end systole, and which jump.

End diastole is the frame with the largest volume, end systole that with the smallest, of the left ventricle's cavity
(Schulz-Menger et al., J Cardiovasc Magn Reson 2020;22:19). One frame that was segmented badly must not become either:
a frame is implausible if its volume is far from what the frames before and after it tell. So is one in which nothing
was found, in every series: no ventricle empties.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError

FEWEST = 6
"""Frames that it takes to tell a jump from a beat."""
SMOOTHED = 12
"""Frames from which on the curve is smoothed: with fewer, that would cost up to 7 points of ejection fraction, as end
systole and the kick of the atria are hardly longer than a frame (Testing/unit/test_cardiac.py)."""
LIMIT = 0.12
"""Share of the largest volume that a frame may differ from what its neighbours tell. Of beats with 12 to 40 frames and
an ejection fraction up to 70 %, none differs as much (Testing/unit/test_cardiac.py)."""
NOISE = 5.0
"""How many times the usual difference of a frame, by its median, a implausible one differs at least."""
MOST = 0.25
"""Share of the frames beyond which it is the curve that is poor, and no frame that is."""
RETURN = 2.0
"""How much larger than any other step that from the last frame to the first is, where a series is no whole beat."""


@dataclass(frozen=True)
class Curve:
    """Volumes of the frames in their order, in millilitres.

    volumes_ml: as segmented. smooth_ml: implausible frames replaced by what their neighbours tell, then, of a series of
    ``SMOOTHED`` frames or more, a running mean of three (1, 2, 1). implausible: frames, from 0. end_diastole,
    end_systole: frames, from 0, neither of them implausible. cyclic: whether the first frame follows the last.
    """

    volumes_ml: tuple[float, ...]
    smooth_ml: tuple[float, ...]
    implausible: tuple[int, ...]
    end_diastole: int
    end_systole: int
    cyclic: bool


def curve_of(volumes_ml: Sequence[float], trusted: Collection[int] = ()) -> Curve:
    """The curve of two frames or more. trusted: frames, from 0, that a user has corrected: none of them is implausible.

    Raises InputError for fewer, for a volume that is no number from 0, and where no frame shows any.
    """
    volumes = np.asarray(volumes_ml, float)
    if volumes.ndim != 1 or len(volumes) < 2:
        raise InputError(f"A curve takes the volumes of two frames or more; {volumes.size} were given.")
    if not (np.isfinite(volumes).all() and (volumes >= 0).all()):
        raise InputError(f"The volumes {volumes.tolist()!r:.60} are not all numbers of 0 or more.")
    if not volumes.any():
        raise InputError("No frame shows the structure: it has no curve.")
    cyclic = _is_cyclic(volumes)
    clean, implausible = _without_jumps(volumes, cyclic, trusted)
    smooth = _running_mean(clean, cyclic)
    plausible = [frame for frame in range(len(volumes)) if frame not in implausible]
    return Curve(
        tuple(volumes.tolist()),
        tuple(smooth.tolist()),
        tuple(sorted(implausible)),
        max(plausible, key=lambda frame: smooth[frame]),
        min(plausible, key=lambda frame: smooth[frame]),
        cyclic,
    )


def order(count: int) -> tuple[int, ...]:
    """The frames of a series of cine frames, those first that are likely to be end diastole and end systole.

    A series begins at the R wave, near end diastole; systole takes about a third of a beat at rest.

    >>> order(6)
    (0, 2, 1, 3, 4, 5)
    """
    first = dict.fromkeys((0, round(count / 3))) if count > 1 else {0: None}
    return tuple(dict.fromkeys([*first, *range(count)]))[:count]


def _is_cyclic(volumes: np.ndarray) -> bool:
    steps = np.abs(np.diff(volumes))
    return bool(len(volumes) >= FEWEST and abs(volumes[0] - volumes[-1]) <= RETURN * steps.max())


def _without_jumps(volumes: np.ndarray, cyclic: bool, trusted: Collection[int]) -> tuple[np.ndarray, set[int]]:
    """The volumes with those of implausible frames replaced, and these frames: the empty ones, then the one that stands
    out most, again and again; a frame beside one looks odd only until that one is replaced."""
    empty = {*np.flatnonzero(volumes == 0).tolist()} - {*trusted}
    implausible = {*empty}
    clean = _filled(volumes, {*empty, *trusted}, cyclic)  # a correction tells nothing of the frames beside it
    while len(volumes) >= FEWEST and len(implausible) < MOST * len(volumes):
        difference = np.abs(clean - _told_by_neighbours(clean, cyclic))
        difference[[*implausible, *trusted]] = 0
        worst = int(difference.argmax())
        limit = max(LIMIT * np.sort(clean)[-2], NOISE * float(np.median(difference)))
        if difference[worst] <= limit:
            clean[[*trusted]] = volumes[[*trusted]]
            return clean, implausible
        implausible.add(worst)
        clean = _filled(clean, {*implausible, *trusted}, cyclic)
    return _filled(volumes, empty, cyclic), empty


def _told_by_neighbours(volumes: np.ndarray, cyclic: bool) -> np.ndarray:
    """For each frame the straight line between the frame before and the frame after; at an open end, on from two."""
    before, after = np.roll(volumes, 1), np.roll(volumes, -1)
    told = (before + after) / 2
    if not cyclic:
        told[0], told[-1] = 2 * volumes[1] - volumes[2], 2 * volumes[-2] - volumes[-3]
    return told


def _filled(volumes: np.ndarray, missing: set[int], cyclic: bool) -> np.ndarray:
    """The volumes with those of some frames interpolated between the others."""
    count = len(volumes)
    known = np.array([frame for frame in range(count) if frame not in missing])
    places = np.array(sorted(missing), int)
    filled = volumes.copy()
    if not len(known) or not len(places):
        return filled
    filled[places] = np.interp(places, known, volumes[known], period=count if cyclic else None)
    return filled


def _running_mean(volumes: np.ndarray, cyclic: bool) -> np.ndarray:
    if len(volumes) < SMOOTHED:
        return volumes.copy()
    padded = np.pad(volumes, 1, mode="wrap" if cyclic else "edge")
    return (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
