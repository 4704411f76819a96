"""What browsers send in addresses and forms, which may be anything."""

import re

# What a bigint of the store holds.
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


def number(text: str) -> int | None:
    """None where it is no number."""
    return int(text) if _NUMBER.fullmatch(text) else None
