"""From images and a model to a Result: input check, sliding window, error probability, report.

Knows nothing of the worker, of the command line or of training.
"""
