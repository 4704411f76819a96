"""How measured times are summed up."""

from collections.abc import Sequence


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """In milliseconds, and of how many."""
    ordered = sorted(round(value * 1000, 1) for value in seconds)
    if not ordered:
        return {"n": 0}
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {"n": len(ordered), "p50": ordered[len(ordered) // 2], "p99": p99, "max": ordered[-1]}
