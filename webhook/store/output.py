"""The output of runs, in chunks, so that every web process can show it."""

from webhook.store.database import Async, Sync

# Bytes that a page gets at once.
READ_LIMIT = 256 * 1024
# Bytes that a handler returns at once (`KeepsOutput` in handlers/contract.py).
LONGEST_CHUNK = 256 * 1024


async def length(connection: Async, deployment_id: int) -> int:
    cursor = await connection.execute(
        "select coalesce(max(at_byte + length(chunk)), 0) as length"
        " from output where deployment_id = %s",
        [deployment_id],
    )
    row = await cursor.fetchone()
    return row["length"] if row else 0


async def append(connection: Async, deployment_id: int, at_byte: int, chunk: bytes) -> int:
    """Store a chunk, unless there is one at that position; where the next one begins."""
    cursor = await connection.execute(
        "insert into output values (%s, %s, %b) on conflict do nothing",
        [deployment_id, at_byte, chunk],
    )
    return at_byte + len(chunk) if cursor.rowcount else await length(connection, deployment_id)


def read(connection: Sync, deployment_id: int, at_byte: int) -> bytes:
    """The bytes from `at_byte` on, at most READ_LIMIT; empty if there are no more yet."""
    rows = connection.execute(
        "select at_byte, chunk from output where deployment_id = %s and at_byte > %s"
        " and at_byte < %s and at_byte + length(chunk) > %s order by at_byte limit 64",
        [deployment_id, at_byte - LONGEST_CHUNK, at_byte + READ_LIMIT, at_byte],
        binary=True,  # as text, bytes are twice as long
    ).fetchall()
    if not rows:
        return b""
    joined = b"".join(row["chunk"] for row in rows)
    skipped: int = max(0, at_byte - rows[0]["at_byte"])
    return joined[skipped : skipped + READ_LIMIT]
