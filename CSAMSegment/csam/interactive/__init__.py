"""Teach by drawing: some slices of a structure are drawn by a user, the rest follow.

``fill`` is the way in. Its parts, in order: what is drawn (``drawing``), the part of the image and the pixels that the
network sees (``region``), shape interpolation between drawn slices (``interpolation``), what the network sees of a
slice (``inputs``), tuning on the case (``tuning``), prediction (``predict``), the result (``filled``).
"""
