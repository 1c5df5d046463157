"""A series on one page of HTML, in one file, for screen and printer: figures, curve, and slices to look at."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ..model.card import NOT_A_DEVICE
from .measures import Frame, Measured
from .pictures import SlicePicture
from .tables import figure_rows

CURVE, BAND, MARK = "#c4402f", "#f2c9c2", "#1f3a5f"
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 480, 240, 52, 40, 22, 14
STYLE = """
body{font:14px/1.45 system-ui,sans-serif;color:#1c1e21;max-width:1000px;margin:24px auto;padding:0 16px}
h1{font-size:20px;margin:0}h2{font-size:15px;margin:18px 0 6px}p{margin:4px 0}.quiet{color:#5b6068;font-size:12px}
.two{display:flex;gap:24px;flex-wrap:wrap;align-items:flex-start}.two>div{max-width:480px}
table{border-collapse:collapse}
td,th{padding:3px 10px 3px 0;text-align:left;border-bottom:1px solid #e3e5e8}td.n{text-align:right}
figure{display:inline-block;margin:0 10px 10px 0;width:190px;vertical-align:top}
figure img{width:100%;display:block}figcaption{font-size:12px}.warn{background:#fff4e0;padding:6px 10px;margin:6px 0}
@media print{@page{size:A4;margin:12mm}body{margin:0;padding:0;font-size:11px;orphans:1;widows:1}h1{font-size:16px}
h2{margin:10px 0 4px;break-after:avoid}.quiet,figcaption{font-size:10px}td,th{padding:1px 8px 1px 0}
.two{gap:16px}.two>div,svg{max-width:360px;height:auto}figure{width:150px;break-inside:avoid}}
"""


@dataclass(frozen=True)
class Page:
    """What a page shows. title: of the page. about: lines below it: image, model, date. frames, found: of the series.

    pictures: of the slices to look at first. warnings: sentences for a user.
    """

    title: str
    about: Sequence[str]
    frames: Sequence[Frame]
    found: Sequence[Measured]
    pictures: Sequence[SlicePicture] = ()
    warnings: Sequence[str] = ()


def html_of(page: Page) -> str:
    """The whole file; it loads nothing from elsewhere."""
    curves = "".join(_curve_part(page.frames, one) for one in page.found if one.curve is not None)
    parts = [
        f"<h1>{escape(page.title)}</h1>",
        *(f"<p class=quiet>{escape(line)}</p>" for line in page.about),
        f"<p><b>{escape(NOT_A_DEVICE)}</b></p>",
        *(f"<p class=warn>{escape(sentence)}</p>" for sentence in page.warnings),
        f"<div class=two>{_figures(page.found)}{curves}</div>",
        *(f"<p class=quiet>{escape(one.convention)}</p>" for one in page.found if one.convention),
    ]
    if page.pictures:
        parts.append("<h2>Slices to look at first</h2><p class=quiet>Line: the segmentation. Orange: the error ")
        parts.append("probability is 10 % or more.</p>")
        parts += map(_picture, page.pictures)
    body = "\n".join(parts)
    head = f'<meta charset="utf-8"><title>{escape(page.title)}</title><style>{STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def curve_svg(frames: Sequence[Frame], measured: Measured) -> str:
    """The volume of each frame with its 90 % interval as a band; ED and ES marked, implausible frames as crosses."""
    volumes = [frame.structure(measured.structure) for frame in frames]
    top = 1.05 * max(one.high_ml for one in volumes) or 1.0
    last = max(1, len(frames) - 1)

    def x(place: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * place / last

    def y(volume: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * volume / top

    def points(values) -> list[str]:
        return [f"{x(place):.1f},{y(value):.1f}" for place, value in enumerate(values)]

    band = points(one.high_ml for one in volumes) + points(one.low_ml for one in volumes)[::-1]
    parts = [
        f'<polygon points="{" ".join(band)}" fill="{BAND}"/>',
        f'<polyline points="{" ".join(points(o.volume_ml for o in volumes))}" fill="none" stroke="{CURVE}" '
        'stroke-width="2"/>',
    ]
    step = _step(top)
    for tick in range(int(top / step) + 1):
        at = y(tick * step)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e3e5e8"/>')
        parts.append(_text(LEFT - 6, at + 4, f"{tick * step:g}", "end"))
    every = max(1, round(len(frames) / 10))
    parts += [
        _text(x(place), HEIGHT - BOTTOM + 16, str(frame.index + 1), "middle")
        for place, frame in enumerate(frames)
        if place % every == 0
    ]
    parts.append(_text((LEFT + WIDTH) / 2, HEIGHT - 6, _axis(frames), "middle"))
    parts.append(_text(4, 12, f"{volumes[0].name} (ml)", "start"))
    for place, (frame, volume) in enumerate(zip(frames, volumes, strict=True)):
        cx, cy = x(place), y(volume.volume_ml)
        if frame.index in measured.implausible:
            parts.append(f'<path d="M{cx - 5:.1f} {cy - 5:.1f}l10 10m0 -10l-10 10" stroke="{MARK}" stroke-width="2"/>')
        for mark in (name for name, index in measured.marks.items() if index == frame.index):
            parts.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="5" fill="{MARK}"/>')
            parts.append(_text(min(max(cx, LEFT + 12), WIDTH - 24), cy - 9, mark, "middle", "bold"))
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="12">{"".join(parts)}</svg>'


def _curve_part(frames: Sequence[Frame], measured: Measured) -> str:
    crosses = " Crosses: implausible frames, whose volume jumps or is 0." if measured.implausible else ""
    band = "Band: 90 % interval of the volume in each frame."
    return f"<div>{curve_svg(frames, measured)}<p class=quiet>{band}{crosses}</p></div>"


def _axis(frames: Sequence[Frame]) -> str:
    times = f", {frames[0].time} to {frames[-1].time}" if frames[0].time else ""
    return f"frame{times}"


def _step(top: float) -> float:
    """A round distance between about five lines."""
    return next(step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000, 1e9) if top / step <= 6)


def _text(x: float, y: float, text: str, anchor: str, weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'


def _figures(found: Sequence[Measured]) -> str:
    rows = []
    for _name, value, unit, low, high, words in figure_rows(found):
        shown = "not known" if value is None else f"{value:.1f} {unit}"
        inside = "none" if low is None or high is None else f"{low:.1f} to {high:.1f}"
        cells = f"<td class=n>{escape(shown)}</td><td>{inside if value is not None else ''}</td>"
        rows.append(f"<tr><td>{escape(words)}</td>{cells}</tr>")
    if not rows:
        return ""
    return f"<table><tr><th>Figure</th><th>Value</th><th>90 % interval</th></tr>{''.join(rows)}</table>"


def _picture(picture: SlicePicture) -> str:
    data = base64.b64encode(picture.png).decode("ascii")
    title = escape(picture.title)
    return f'<figure><img alt="{title}" src="data:image/png;base64,{data}"><figcaption>{title}</figcaption></figure>'
