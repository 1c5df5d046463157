"""Teach by drawing: some slices of a structure are drawn by hand, the rest follow.

``fill`` is the way in. Its parts, in order: what is drawn (``drawing``), the part of the image and the pixels that the
network sees (``region``), shape interpolation between drawn slices (``interpolation``), what the network gets
(``inputs``), tuning on the case (``tuning``), how far to trust it there (``trust``), the network over the slices
(``predict``), labels, error probability and which slice to draw next (``filled``).
"""
