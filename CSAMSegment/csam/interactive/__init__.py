"""Teach by drawing: some slices of a structure are drawn by a person, the rest follow.

``fill`` is the way in. Its parts, in order: what is drawn (``drawing``), the part of the image and the pixels that the
network sees (``region``), shape interpolation between drawn slices (``interpolation``), what the network sees of it
(``views_of``), tuning on the case (``tuning``), how far each is to be trusted (``trust``), which slice to draw next
(``next_slice``).
"""
