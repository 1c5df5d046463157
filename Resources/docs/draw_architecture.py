"""Draws the rooms of the code and the way of one volume through them.

python Resources/docs/draw_architecture.py   writes Resources/docs/architecture.svg
"""

from pathlib import Path

WIDTH, HEIGHT = 1000, 560
FONT = "font-family='Helvetica, Arial, sans-serif'"
SLICER, ENGINE, PIPE = "#3b6fb6", "#2f7d5b", "#d0762c"


def area(x: int, y: int, width: int, height: int, title: str, color: str) -> str:
    """A process: a frame with its title."""
    return (
        f"<rect x='{x}' y='{y}' width='{width}' height='{height}' rx='12' fill='{color}' fill-opacity='.08' "
        f"stroke='{color}' stroke-width='1.5'/>"
        f"<text x='{x + 16}' y='{y + 26}' {FONT} font-size='16' font-weight='bold' fill='{color}'>{title}</text>"
    )


def room(x: int, y: int, name: str, *lines: str, color: str, width: int = 190) -> str:
    """A sub-package: its name and what it does."""
    height = 34 + 17 * len(lines)
    text = "".join(
        f"<text x='{x + 12}' y='{y + 42 + 17 * n}' {FONT} font-size='12.5' fill='#333'>{line}</text>"
        for n, line in enumerate(lines)
    )
    return (
        f"<rect x='{x}' y='{y}' width='{width}' height='{height}' rx='7' fill='white' stroke='{color}'/>"
        f"<text x='{x + 12}' y='{y + 23}' {FONT} font-size='14' font-weight='bold' fill='{color}'>{name}</text>{text}"
    )


def way(number: int, points: list[tuple[int, int]], at: tuple[int, int]) -> str:
    """A step of the volume: an arrow through points, with its number in a circle."""
    (x0, y0), (x1, y1) = points[-2:]
    dx, dy = (x1 > x0) - (x1 < x0), (y1 > y0) - (y1 < y0)
    base = (x1 - 10 * dx, y1 - 10 * dy)
    head = [(x1, y1), (base[0] + 5 * dy, base[1] + 5 * dx), (base[0] - 5 * dy, base[1] - 5 * dx)]
    line, tip = (" ".join(f"{x},{y}" for x, y in some) for some in ([*points[:-1], base], head))
    x, y = at
    return (
        f"<polyline points='{line}' fill='none' stroke='{PIPE}' stroke-width='2.2'/><polygon points='{tip}' "
        f"fill='{PIPE}'/><circle cx='{x}' cy='{y}' r='11' fill='{PIPE}'/>"
        f"<text x='{x}' y='{y + 4.5}' {FONT} font-size='13' font-weight='bold' fill='white' "
        f"text-anchor='middle'>{number}</text>"
    )


def main() -> None:
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}'>",
        "<title>The rooms of CSAMSegment and the way of one volume</title>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='white'/>",
        area(20, 20, 310, 360, "Slicer: CSAMSegmentLib", SLICER),
        area(390, 20, 590, 360, "Worker: csam", ENGINE),
        room(45, 65, "widgets", "the panel, part by part", "(Qt, no torch)", color=SLICER, width=260),
        room(45, 175, "logic", "nodes to images, results to nodes", "(no Qt, no torch)", color=SLICER, width=260),
        room(45, 305, "MRML scene", "volume; segmentation, maps, table", color="#777", width=260),
        room(415, 175, "process", "protocol, client,", "worker", color=PIPE, width=130),
        room(610, 65, "pipeline", "checks, tiles, maps,", "ranking, volumes", color=ENGINE, width=200),
        room(610, 175, "image", "image to stack of slices,", "and back", color=ENGINE, width=200),
        room(610, 305, "network", "gates, U-Net, samples", color=ENGINE, width=200),
        room(860, 65, "model", "model.json,", "weights", color=ENGINE, width=105),
        area(20, 400, 960, 140, "Also csam, without Slicer", ENGINE),
        room(45, 445, "cli", "csam segment, train, …", color=ENGINE, width=260),
        room(360, 445, "training", "read data, split, plan, train,", "calibrate, evaluate", color=ENGINE, width=260),
        room(680, 445, "phantom", "computed hearts with", "exact truth", color=ENGINE, width=260),
        way(1, [(90, 305), (90, 243)], (90, 275)),
        way(2, [(305, 195), (415, 195)], (360, 195)),
        way(3, [(480, 175), (480, 85), (610, 85)], (540, 85)),
        way(4, [(860, 90), (810, 90)], (838, 90)),
        way(5, [(710, 133), (710, 175)], (710, 152)),
        way(6, [(710, 243), (710, 305)], (710, 272)),
        way(7, [(810, 330), (900, 330), (900, 210), (810, 210)], (900, 272)),
        way(8, [(640, 175), (640, 133)], (640, 155)),
        way(9, [(610, 115), (515, 115), (515, 175)], (560, 115)),
        way(10, [(415, 222), (305, 222)], (360, 222)),
        way(11, [(250, 243), (250, 305)], (250, 272)),
    ]
    parts.append("</svg>")
    target = Path(__file__).parent / "architecture.svg"
    target.write_text("\n".join(parts) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
