"""A slice of a phantom before the scanner: signal painted from back to front, and what the labels fill."""

from __future__ import annotations

import math

import numpy as np

from .anatomy import Anatomy
from .scanner import Appearance
from .shapes import Array, Grid, between, ellipse, smooth, wave


class _Canvas:
    """Signed signal of a few sub-slices, painted from back to front; shape (sub-slices, rows, columns)."""

    def __init__(self, x: Array, y: Array, z: Array, anatomy: Anatomy, pixel: float, data: Array | None = None):
        self.x, self.y, self.z, self.pixel = x, y, z, pixel
        self.depth = z - anatomy.base
        self.bent_x, self.bent_y = anatomy.warp(x, y, float(z.mean()))
        self.data = np.zeros((len(z), len(y), len(x)), np.float32) if data is None else data

    def cover(self, distance: Array) -> Array:
        """Part of the pixel on the inner side of an edge at this distance."""
        return np.clip(0.5 - distance * np.float32(1 / self.pixel), 0, 1)

    def paint(self, cover: Array, value: Array | float) -> None:
        self.data += cover * (value - self.data)

    def ellipse(self, cx, cy, a, b, tilt, value, rim=0.0, rim_value=0.0, weight=1.0) -> None:
        """A bent ellipse, its parameters numbers or one a sub-slice; rim: width of a wall within it."""
        reach = float(np.max(np.maximum(a, b))) + 12
        columns = _within(self.x, np.min(cx) - reach, np.max(cx) + reach)
        rows = _within(self.y, np.min(cy) - reach, np.max(cy) + reach)
        part = self.data[:, rows, columns]
        if not part.size or np.max(weight) < 0.05:
            return
        distance = ellipse(self.bent_x[rows, columns], self.bent_y[rows, columns], cx, cy, a, b, tilt)
        if rim:
            part += self.cover(distance) * weight * (rim_value - part)
        part += self.cover(distance + rim) * weight * (value - part)


def _within(values: Array, low: float, high: float) -> slice:
    """The part of a rising axis from low to high."""
    return slice(int(np.searchsorted(values, low)), int(np.searchsorted(values, high)))


def paint_slice(anatomy: Anatomy, appearance: Appearance, grid: Grid, k: int) -> tuple[Array, Array]:
    """Signed signal (rows, columns) of slice k, and the fractions (3, rows, columns) its ventricles' labels fill."""
    pixel = math.sqrt(grid.spacing[0] * grid.spacing[1])
    chest = _Canvas(grid.x, grid.y, grid.levels(k, 2), anatomy, pixel)
    _paint_chest(chest, anatomy, appearance)
    picture = chest.data.mean(0)
    fractions = np.zeros((3, *picture.shape), np.float32)
    columns, rows = _within(grid.x, -98, 62), _within(grid.y, -78, 62)
    levels = grid.levels(k, max(4, min(12, round(0.75 * grid.spacing[2]))))
    data = np.repeat(picture[None, rows, columns], len(levels), axis=0)
    heart = _Canvas(grid.x[columns], grid.y[rows], levels, anatomy, pixel, data)
    fractions[:, rows, columns] = _paint_heart(heart, anatomy, appearance)
    picture[rows, columns] = heart.data.mean(0)
    return picture, fractions


def _paint_chest(canvas: _Canvas, anatomy: Anatomy, appearance: Appearance) -> None:
    """Body wall, lungs, diaphragm, abdomen, spine, aorta; all but the heart."""
    v, depth = anatomy.ventricles, canvas.depth
    x, y, z = canvas.bent_x, canvas.bent_y, canvas.z
    cx, cy, a, b, tilt = anatomy.chest
    cy = cy + anatomy.approach * depth
    dx, dy = x - cx, y - cy
    r = np.sqrt(dx * dx + dy * dy) + 1
    c, s = dx / r, dy / r
    body = ellipse(x, y, cx, cy, a, b, tilt) - wave(c, s, anatomy.outline)
    fat = anatomy.fat * (1 + 0.45 * wave(c, s, ((1, 1.0, 0.9), (3, 0.4, 2.0), (5, 0.25, 4.0))))
    fat = np.maximum(fat, 3)
    wall = fat + anatomy.muscle * (1 + 0.45 * wave(c, s, ((2, 0.5, 0.3), (4, 0.6, 1.0))))
    canvas.data += np.float32(0.005)
    canvas.paint(canvas.cover(body), 0.3)
    canvas.paint(canvas.cover(body + 1.8), appearance.fat)
    layer = np.cos((body + fat) * np.float32(0.62) + 2.5 * wave(c, s, ((3, 1.0, 0.0), (4, 0.7, 1.0))))
    canvas.paint(canvas.cover(body + fat), appearance.muscle)
    canvas.paint(canvas.cover(body + fat + 2) * np.clip(3 * layer - 2.1, 0, 1), appearance.fat * 0.8)
    canvas.paint(canvas.cover(body + wall - 2.0), appearance.fat * 0.8)
    inside = canvas.cover(body + wall)
    canvas.paint(inside, appearance.lung)
    before = canvas.data * (1 - inside)
    for vx, vy, radius, mx, my, signal, middle, run in anatomy.vessels:
        weight = np.exp(-(((depth - middle) / run) ** 2))
        canvas.ellipse(vx + mx * depth, vy + my * depth, radius, radius * 1.4, mx, 0.8 * signal, weight=weight)
    reach = v.outer_radius(np.maximum(z, v.base)) + 0.4 * v.right_depth
    rx, ry = reach * math.cos(v.septum + 0.75), reach * math.sin(v.septum + 0.75)
    canvas.data[...] = before + inside * canvas.data

    # Fat fills the angles that the right side of the heart makes with the diaphragm and the chest wall.
    abdomen = _below_diaphragm(canvas, anatomy, body + wall)
    _, epicardium, right = v.distances(canvas.x, canvas.y[:, None], np.maximum(z, v.base))
    heart = np.minimum(np.minimum(epicardium, right - 3), ellipse(x, y, -14, 0, 38, 34) + 4 * np.abs(z - v.base + 12))
    strip = ellipse(x, y, rx - 8, ry - 22, 3.5 + 0.06 * np.maximum(depth, 0), 46, -0.35)
    heart = np.minimum(heart, strip) - np.maximum(16 - np.abs(heart - strip), 0) ** 2 / 64
    soft = np.clip(14 - 0.5 * x + 0.45 * depth, 6, 46)
    for other in (abdomen, -body - wall):
        fillet = np.minimum(heart, other) - np.maximum(soft - np.abs(heart - other), 0) ** 2 / (4 * soft)
        canvas.paint(canvas.cover(fillet + 2) * inside, appearance.fat * 0.95)
    _paint_abdomen(canvas, anatomy, appearance, abdomen)

    # The plane dips towards the back, so that spine and aorta leave the picture at the bottom as the slices descend.
    ax, ay, ar = anatomy.aorta
    canvas.ellipse(ax - 14, ay + 48 + 1.7 * depth, 22, 28, 0.1, 0.42, 2.0, 0.06)
    canvas.ellipse(ax, ay + 1.6 * depth, ar + 1.2, 1.4 * ar + 1.2, 0.15, 0.95, 1.2, 0.2)
    for angle, offset, length, width, marrow in anatomy.ribs:
        inset = anatomy.fat + (0.6 + offset) * anatomy.muscle
        angle = angle + 0.004 * depth
        u, w = (a - inset) * np.cos(angle), (b - inset) * np.sin(angle)
        px, py = cx + math.cos(tilt) * u - math.sin(tilt) * w, cy + math.sin(tilt) * u + math.cos(tilt) * w
        along = float(np.mean(angle)) + math.pi / 2 + tilt
        canvas.ellipse(px, py, length, width, along, marrow, 1.6, 0.04)


def _below_diaphragm(canvas: _Canvas, anatomy: Anatomy, wall: Array) -> Array:
    """Signed distance to the abdomen. The diaphragm carries the heart and falls off beside its lateral wall.

    wall: signed distance to the chest's inner wall."""
    x, y = canvas.bent_x, canvas.bent_y
    fall, dome = anatomy.diaphragm[1:3]
    lateral = np.maximum(x - 12 - 0.4 * canvas.depth, 0) / 52
    medial = np.maximum(-30 - x, 0) / 60
    edge = _diaphragm(canvas, anatomy) + fall * lateral**2 + dome * medial**2
    return np.maximum((edge - y) / np.sqrt(1 + (2 * fall / 52 * lateral) ** 2), wall)


def _diaphragm(canvas: _Canvas, anatomy: Anatomy) -> Array:
    """Height of the diaphragm below the heart; beyond the apex it rises to the heart's place."""
    v, z = anatomy.ventricles, canvas.z
    gap, _, _, slope = anatomy.diaphragm
    base = v.outer_radius(np.full_like(z, v.base))
    rise = 1.3 * np.maximum(z - v.base - v.length - 2, 0)
    return 0.55 * base + 0.45 * v.outer_radius(z) + gap + 0.3 * slope * canvas.depth - rise


def _paint_abdomen(canvas: _Canvas, anatomy: Anatomy, appearance: Appearance, abdomen: Array) -> None:
    """Fat, liver, stomach, spleen and bowel; abdomen: signed distance to where they lie."""
    depth, under = canvas.depth, _diaphragm(canvas, anatomy)
    canvas.paint(canvas.cover(abdomen), appearance.muscle)
    inside = canvas.cover(abdomen + 2.5)
    before = canvas.data * (1 - inside)
    loops = smooth(between(anatomy.loops, float(depth.mean() + 20) / 45), canvas.x, canvas.y)
    canvas.data[...] = appearance.fat * np.clip(0.8 + 0.15 * loops, 0.3, 1.2)
    canvas.paint(np.clip(4 * (loops - 0.75), 0, 1) * (canvas.y[:, None] > 60), appearance.muscle + 0.05)
    sx, sy, sa, sb, st = anatomy.spleen
    canvas.ellipse(sx, sy + 0.15 * depth, sa + 1, sb + 1, st, appearance.spleen, 1.0, 0.1)
    for ox, oy, oa, ob, ot, kind, middle, run in anatomy.bowel:
        size = np.sqrt(np.maximum(1 - ((depth - middle) / run) ** 2, 0.02))
        present = size > 0.3
        canvas.ellipse(ox, oy, oa * size, ob * size, ot, 0.1 + 0.55 * kind, 3.0, appearance.muscle + 0.08, present)
        canvas.ellipse(ox + 2, oy, oa * size * 0.4, ob * size * 0.3, ot, 0.7 - 0.6 * kind, weight=present)
    gx, gy, ga, gb, gt = anatomy.stomach
    canvas.ellipse(gx, under + gy, ga, gb, gt, 0.3, 3.5, appearance.muscle + 0.1)
    for n in range(5):
        canvas.ellipse(gx + (n - 2) * 0.28 * ga, under + gy + 3 * (-1) ** n, 0.1 * ga, 0.35 * gb, 0.6, 0.6)
    lx, ly, la, lb, lt = anatomy.liver
    size = np.clip(1.05 - 0.005 * np.abs(depth - 10), 0.45, 1)
    lx, ly = lx - 12 * (1 - size), under + ly
    canvas.ellipse(lx, ly, la * size, lb * size, lt, appearance.liver, 1.0, 0.1)
    for vx, vy, va, vb, vt, level in anatomy.liver_vessels:
        weight = 0.7 * np.exp(-(((depth - level) / 14) ** 2))
        canvas.ellipse(lx + vx * la * 0.7, ly + vy * lb * 0.55, va, vb, vt, 0.75, weight=weight)
    canvas.data[...] = before + inside * canvas.data


def _paint_heart(canvas: _Canvas, anatomy: Anatomy, appearance: Appearance) -> Array:
    """Fat, atria and great vessels, ventricles. Returns the fractions of each pixel that the labels fill."""
    v = anatomy.ventricles
    x, y, z = canvas.x, canvas.y[:, None], canvas.z
    endocardium, epicardium, right = v.distances(x, y, z)
    below, below_right = v.below_base(x, y, z)
    step = float(z[1, 0, 0] - z[0, 0, 0])
    ventricle = np.clip(0.5 + below / step, 0, 1)
    right_ventricle = np.clip(0.5 + below_right / step, 0, 1)

    # Fat fills the grooves between the chambers and lies beyond the apex; there is little on the lateral wall.
    t = np.clip((z - v.base) / v.length, 0, 1)
    soft = 5.0
    gap = epicardium - right + 2.4
    groove = np.maximum(soft - np.abs(gap), 0) ** 2 / (4 * soft)
    level = float(canvas.depth.mean()) + 20
    strands = smooth(between(anatomy.strands, level / 20), canvas.x, canvas.y)
    lumps = smooth(between(anatomy.loops, level / 45), canvas.x, canvas.y)
    layer = anatomy.epicardial_fat * np.clip(0.5 + 0.5 * np.tanh(gap / 12) + 0.4 * lumps + 0.8 * t, 0, 2.5)
    cx, cy = v.axis(z)
    tip = 8 * np.exp(-(((z - v.base - v.length - 6) / 9) ** 2)) + 0.01
    sac = np.minimum(epicardium, right - 2.4) - groove - layer
    sac = np.minimum(sac, ellipse(x, y, cx, cy, tip * 1.5, tip, 0.4))
    canvas.paint(canvas.cover(sac - 1.2), 0.12)
    canvas.paint(canvas.cover(sac), appearance.fat)
    _paint_above_base(canvas, anatomy, appearance)

    cover_epicardium = canvas.cover(epicardium) * ventricle
    cover_right = canvas.cover(np.maximum(right, -epicardium)) * right_ventricle
    cover_endocardium = canvas.cover(endocardium) * ventricle
    canvas.paint(canvas.cover(np.maximum(right - 2.4, -epicardium)) * right_ventricle, appearance.myocardium)
    edge = np.clip(1 + right / (3 + 9 * t), 0, 1)
    canvas.paint(cover_right, appearance.right_blood * (1 - (0.3 + 0.5 * t) * np.clip(strands, 0, 1) * edge))
    canvas.paint(cover_epicardium, appearance.myocardium)
    # Expert contours run outside the trabeculae, which make the blood pool ragged and its edge soft.
    inner = v.inner_radius(z)
    thickness = np.minimum(anatomy.trabeculae * np.minimum(0.4 + 2 * t, 1), 0.6 * inner + 0.1)
    muscular = np.clip(1 + endocardium / thickness, 0, 1) ** 1.5
    trabeculae = np.clip(1.6 * muscular + 0.45 * (strands - 0.25) * np.minimum(4 * muscular, 1), 0, 1)
    canvas.paint(cover_endocardium, 1 - (1 - appearance.myocardium) * trabeculae)
    if v.closing:
        filled = cover_endocardium * (1 - canvas.cover(v.blood(x, y, z)))
        canvas.paint(filled, 1.05 * appearance.myocardium)
    for angle, place, r, start in anatomy.papillary:
        grown = np.clip((t - start) / 0.15, 0, 1) * np.clip((0.86 - t) / 0.15, 0, 1)
        radius = r * np.sqrt(grown) * min(1.0, 0.4 + v.radius / 40) + 0.01
        out = np.minimum(place + 0.25 * np.maximum(t - 0.5, 0), 1) * inner
        if v.closing:  # they have moved together, and cut into what blood is left
            radius = np.minimum(radius, 0.45 * inner + 0.01)
            out = np.maximum(out * (1 - 0.5 * v.closing), 0.45 * inner)
        px, py = cx + out * math.cos(angle), cy + out * math.sin(angle)
        muscle = ellipse(x, y, px, py, radius * 1.3, radius, angle) - 0.18 * radius * strands
        canvas.paint(canvas.cover(muscle) * cover_endocardium * (radius > 0.5), appearance.myocardium * 1.1)
    cavity = cover_endocardium.mean(0)
    return np.stack([cavity, np.maximum(cover_epicardium.mean(0) - cavity, 0), cover_right.mean(0)])


def _paint_above_base(canvas: _Canvas, anatomy: Anatomy, appearance: Appearance) -> None:
    """Atria, aortic root and pulmonary trunk, where the ventricles will not cover them."""
    v = anatomy.ventricles
    up = v.base - canvas.z
    here = np.clip(0.5 + (up + 6) / 2, 0, 1)
    if not here.any():
        return
    left, root, right, mx, my = anatomy.atria
    s = (v.radius + v.wall) / 36
    blood, ra, wall = 0.95, appearance.right_blood, appearance.myocardium
    canvas.ellipse(-12 * s, -12 * s, 46 * s, 37 * s, 0.4, appearance.fat, weight=here)
    canvas.ellipse((-43 + mx) * s, (10 + my) * s, 24 * s * right, 30 * s * right, 0.3, ra, 2.4, wall, here)
    canvas.ellipse((-34 + my) * s, -26 * s, 17 * s, 9 * s, -0.7, ra, 2.0, wall, here)
    canvas.ellipse((-14 + my) * s, -40 * s - 0.1 * up, 18 * s, 15 * s, -0.3, ra, 2.2, wall, here)
    canvas.ellipse(26 * s, -13 * s, 14 * s, 8 * s, 0.9, 0.9 * blood, 1.8, wall, here)
    canvas.ellipse((5 + mx) * s, (13 + my) * s, 32 * s * left, 22 * s * left, 0.5, blood, 2.4, wall, here)
    canvas.ellipse(-14 * s, -12 * s, 17 * s * root, 16 * s * root, 0.0, blood, 2.2, wall, here)
