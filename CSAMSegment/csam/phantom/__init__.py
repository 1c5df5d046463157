"""A phantom of a heart in cine MR with exact truth: for trying things out, tests, training and benchmarks."""

from .heart import LABELS, PHASES, Phantom, cine_stack

__all__ = ["LABELS", "PHASES", "Phantom", "cine_stack"]
