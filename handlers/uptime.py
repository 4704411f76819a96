"""A clock that goes on while the machine is suspended, and that nobody sets.

Source: clock_gettime(2); on macOS CLOCK_MONOTONIC goes on by itself. It is the same for all
processes of a machine. What a hypervisor pauses does not see the time that passes meanwhile.
"""

import time

_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def uptime() -> float:
    """In seconds, since some moment of this machine's."""
    return time.clock_gettime(_CLOCK)
