"""The parts of supervise.py, and how the relay reads the files that it writes.

Standard library only, as in text.py and durations.py: supervise.py runs without site-packages.
"""
