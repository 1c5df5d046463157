"""Many scans, one after the other: a folder of cases in, a folder of results out that says what is done.

Torch is imported by nothing here but the run of a case.
"""
