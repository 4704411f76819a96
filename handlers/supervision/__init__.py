"""What supervise.py is made of, and how the relay reads what it leaves.

Only the standard library, here and in redaction.py: supervise.py runs without site-packages.
"""
