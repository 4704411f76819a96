"""A process that can have no more memory knows that."""

import subprocess
import sys
from pathlib import Path

LIMITED = """
import asyncio, mmap, resource
from webhook import memory

assert not memory.is_short()
used = int(open("/proc/self/statm").read().split()[0]) * mmap.PAGESIZE
resource.setrlimit(resource.RLIMIT_AS, (used + memory.SPARE // 2, -1))
asyncio.run(memory.exhausted(every=0.01, again_after=0.01))
print("short")
"""


def test_a_process_whose_limit_of_memory_is_near_knows_that() -> None:
    command = [sys.executable, "-c", LIMITED]
    root = Path(__file__).parents[1]
    shown = subprocess.check_output(command, cwd=root, text=True, timeout=30)
    assert shown == "short\n"
