"""A process for which there is no more memory ends, so that another one takes over.

What lacks memory fails in many ways, here and in libraries, and a process may go on for long with
each job or request failing. Where Linux overcommits, it kills whoever uses most instead; this is
for `ulimit -v`, and for machines without overcommitment.
"""

import asyncio
import mmap

# Bytes that must be there to be had: for a thread's stack and a large body.
SPARE = 16 * 1024 * 1024
# Seconds between two attempts, and until it counts.
EVERY, AGAIN_AFTER = 3.0, 1.0
MESSAGE = f"less than {SPARE // 1024**2} MB of memory can be had (ulimit -v, or the machine's)"


def is_short() -> bool:
    """Asks for it, and uses none of it."""
    try:
        mmap.mmap(-1, SPARE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, MemoryError):
        return True
    return False


async def exhausted(every: float = EVERY, again_after: float = AGAIN_AFTER) -> None:
    """Returns once it is short, not just for a moment."""
    while True:
        await asyncio.sleep(every)
        if is_short():
            await asyncio.sleep(again_after)
            if is_short():
                return
