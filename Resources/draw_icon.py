"""Draws the extension's icon: thick slices in perspective, one of them outlined, and where its outline is doubtful;
and that of its Segment Editor effect: two slices that are drawn, and those between them that follow.

python Resources/draw_icon.py   writes CSAMSegment.png, Icons/CSAMSegment.png and Icons/FillTheRest.png (of the module)
"""

import os
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import (
    QBrush,
    QColor,
    QGuiApplication,
    QImage,
    QPainter,
    QPen,
    QPolygonF,
    QRadialGradient,
    QTransform,
)

SIZE, EFFECT_SIZE = 128, 42
SLICE = QRectF(0, 0, 100, 100)
THICKNESS = 9
# A slice seen from above and to the side: its corners (back, right, front, left) on the canvas.
CORNERS = (QPointF(64, 0), QPointF(122, 24), QPointF(64, 48), QPointF(6, 24))


def slice_to_canvas(top: float) -> QTransform:
    source = QPolygonF([SLICE.topLeft(), SLICE.topRight(), SLICE.bottomRight(), SLICE.bottomLeft()])
    transform = QTransform()
    QTransform.quadToQuad(source, QPolygonF([corner + QPointF(0, top) for corner in CORNERS]), transform)
    return transform


def draw_slab(painter: QPainter, top: float, face: QColor, left: QColor, right: QColor):
    _, east, south, west = (corner + QPointF(0, top) for corner in CORNERS)
    down = QPointF(0, THICKNESS)
    painter.setPen(Qt.NoPen)
    for start, end, colour in ((west, south, left), (south, east, right)):
        painter.setBrush(colour)
        painter.drawPolygon(QPolygonF([start, end, end + down, start + down]))
    painter.setBrush(face)
    painter.drawPolygon(QPolygonF([corner + QPointF(0, top) for corner in CORNERS]))


def draw_segmentation(painter: QPainter, top: float):
    painter.save()
    painter.setTransform(slice_to_canvas(top), True)
    painter.setPen(Qt.NoPen)
    glow = QRadialGradient(QPointF(72, 60), 40)
    for position, colour in ((0, "#fcffa4"), (0.3, "#fca50a"), (0.6, "#dd513a"), (0.85, "#932667")):
        glow.setColorAt(position, QColor(colour))
    end = QColor("#932667")
    end.setAlpha(0)
    glow.setColorAt(1, end)
    painter.setBrush(QBrush(glow))
    painter.drawRect(SLICE)
    painter.setBrush(Qt.NoBrush)
    painter.setPen(QPen(QColor("#ffffff"), 8))
    painter.drawEllipse(QPointF(46, 48), 30, 30)
    painter.restore()


def draw() -> QImage:
    image = QImage(SIZE, SIZE, QImage.Format_ARGB32)
    image.fill(Qt.transparent)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.Antialiasing)
    grey = (QColor("#8b98ad"), QColor("#5d6a80"), QColor("#445066"))
    draw_slab(painter, 68, *grey)
    draw_slab(painter, 46, *grey)
    draw_slab(painter, 6, QColor("#1b1233"), QColor("#3a1d5c"), QColor("#2a1547"))
    draw_segmentation(painter, 6)
    painter.end()
    return image


def draw_effect() -> QImage:
    """Twice the size at which the Segment Editor shows it, for dense screens."""
    image = QImage(EFFECT_SIZE, EFFECT_SIZE, QImage.Format_ARGB32)
    image.fill(Qt.transparent)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.Antialiasing)
    drawn, followed = QColor("#3b82c4"), QColor("#3b82c4")
    followed.setAlpha(90)
    for number in range(4):
        width = 18 + 4 * number
        ellipse = QRectF((EFFECT_SIZE - width) / 2, 3 + 8.5 * number, width, 9)
        by_hand = number in (0, 3)
        painter.setBrush(drawn if by_hand else followed)
        painter.setPen(QPen(QColor("#1f3d5c"), 2, Qt.SolidLine if by_hand else Qt.DotLine))
        painter.drawEllipse(ellipse)
    painter.end()
    return image


if __name__ == "__main__":
    application = QGuiApplication([])
    root = Path(__file__).parents[1]
    icons = root / "CSAMSegment" / "Resources" / "Icons"
    icon = draw()
    for path, image in (
        (root / "CSAMSegment.png", icon),
        (icons / "CSAMSegment.png", icon),
        (icons / "FillTheRest.png", draw_effect()),
    ):
        image.save(str(path))
        print(path)
