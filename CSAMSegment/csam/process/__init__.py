"""The worker process: what it can be asked, how it is spoken to, how it starts and ends.

Only the worker itself imports torch; the client's side needs neither torch nor Qt.
"""
