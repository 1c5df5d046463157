"""What the Segment Editor's effect says. Pure functions, without Qt; a user counts slices from 1."""

from __future__ import annotations

from collections.abc import Sequence

from .drawn_slices import CORRECTED, EMPTY, REVIEWED, SliceState
from .texts import tr as _

NAME = "Fill the rest"
"""Not translated: scripts and other modules find the effect by it."""
TITLE = _("Fill the rest")

HELP = "<html>" + _("""Fill the slices between the drawn ones, from the drawing and the image.
<p><ul>
<li>Draw the structure in two to five slices, with any tool. Leave the slices between them alone.
<li>Press Preview. The filling is shown over the image; no segment is changed yet.
<li>Draw or correct the slice that is named below, press Update, and look again.
<li>Press Apply. The slices that you have drawn stay as they are. Undo takes the filling back.
</ul><p>
You can fill all visible segments or only the selected one. Other segments, and voxels that the masking settings
exclude, stay as they are. If a slice does not show the structure, tick the empty slice: it ends the structure.
The effect comes with the module CSAMSegment.
<p>""")

WHY = {EMPTY: _("drawn, empty"), CORRECTED: _("corrected"), REVIEWED: _("reviewed")}


def drawn(states: Sequence[SliceState], segments: int = 1) -> str:
    """Which slices count as drawn, in words. segments: how many are to be filled."""
    numbers = [str(state.index + 1) for state in states if state.drawn]
    if len(numbers) == len(states) and segments > 1:
        return _(
            "All {count} slices count as drawn. Hide segments that are complete, or fill the selected segment alone."
        ).format(count=len(states))
    if not numbers:
        return _("No slice is drawn yet. Draw the structure in two to five of the {count} slices.").format(
            count=len(states)
        )
    if len(numbers) == 1:
        return _("Slice {number} of {count} counts as drawn.").format(number=numbers[0], count=len(states))
    listed = _("{first} and {last}").format(first=", ".join(numbers[:-1]), last=numbers[-1])
    return _("Slices {numbers} of {count} count as drawn.").format(numbers=listed, count=len(states))


def one_slice(state: SliceState) -> str:
    """A line of the list."""
    line = _("Slice {number}").format(number=state.index + 1)
    why = WHY.get(state.why, _("drawn")) if state.drawn else ""
    return f"{line}: {why}" if why else line


def draw_next(index: int) -> str:
    return _("Draw slice {number} next.").format(number=index + 1)


def filled(count: int) -> str:
    """How far the preview reaches."""
    return _("{count} slices are filled in the preview. Apply keeps them.").format(count=count)


def other_frame(item: str) -> str:
    return _("The preview was of {item}; the sequence shows another image now. Press Preview to fill it.").format(
        item=item
    )


def applied(count: int) -> str:
    return _("{count} slices were filled. Undo takes that back.").format(count=count)


CANCELLED = _("Cancelled. The segments are as they were.")
STALE = _("The drawing has changed since the preview. Press Update.")
STARTING = _("Starting the worker")
SENDING = _("Sending the image")
NO_VOLUME = _("There is no source volume. Choose the image that you draw on at the top of the Segment Editor.")
NO_SEGMENT = _("No segment is visible. Show the segment that you have drawn, or choose Selected segment.")
NOT_SELECTED = _("No segment is selected. Select the segment to fill in the list above.")
NO_VIEW = _("No slice view shows the slices of the source volume.")
