"""A run's end reaches the workers of its machine without a poll."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from handlers import HANDLERS
from handlers.command import Command
from handlers.contract import Announces, State
from handlers.supervision.announcements import ABANDONED_AFTER, announce, listeners_of
from tests.handlers.runs import a_command, a_context, a_deployment, done, eventually

WITHIN = 15  # seconds


@asynccontextmanager
async def listening(data_dir: Path) -> AsyncIterator["asyncio.Queue[int]"]:
    """What a worker that listens there is yielded, as long as the block lasts."""
    heard: asyncio.Queue[int] = asyncio.Queue()
    before = pipes(data_dir)

    async def listen() -> None:
        async for deployment_id in Command.ends(a_context(data_dir)):
            heard.put_nowait(deployment_id)

    task = asyncio.create_task(listen())
    await eventually(lambda: pipes(data_dir) - before or task.done())
    try:
        yield heard
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def pipes(data_dir: Path) -> set[Path]:
    directory = listeners_of(data_dir)
    return set(directory.iterdir()) if directory.exists() else set()


async def next_of(heard: "asyncio.Queue[int]") -> int:
    return await asyncio.wait_for(heard.get(), WITHIN)


def test_only_commands_announce_their_ends() -> None:
    announcing = [name for name, kind in HANDLERS.items() if issubclass(kind, Announces)]
    assert announcing == ["command"]


async def test_each_worker_hears_of_an_end_once_it_is_recorded(data_dir: Path) -> None:
    data_dir /= "d" * 120  # longer than the path of a socket may be
    data_dir.mkdir()
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(listening(data_dir)) for _ in range(2)]
        handler = a_command(data_dir, "exit 3")
        await handler.start(a_deployment())
        assert [await next_of(heard) for heard in workers] == [a_deployment().id] * 2
        run = await handler.find(a_deployment())
        assert run
        assert run.state is State.FAILURE
    assert not pipes(data_dir), "a worker that stops leaves nothing behind"


async def test_a_command_that_could_not_be_started_announces_its_end_too(data_dir: Path) -> None:
    async with listening(data_dir) as heard:
        await a_command(data_dir, ["/no/such/program"]).start(a_deployment())
        assert await next_of(heard) == a_deployment().id


async def test_nothing_is_lost_or_broken_by_those_who_do_not_listen(data_dir: Path) -> None:
    listeners_of(data_dir).mkdir(parents=True)
    killed, starting = listeners_of(data_dir) / "killed", listeners_of(data_dir) / "starting"
    for pipe in (killed, starting):
        os.mkfifo(pipe)
    os.utime(killed, (0, killed.stat().st_mtime - 2 * ABANDONED_AFTER))
    async with listening(data_dir) as heard:
        assert (await done(a_command(data_dir, ["true"]))).state is State.SUCCESS
        assert await next_of(heard) == a_deployment().id
        await eventually(lambda: not killed.exists())
        assert starting.exists()


async def test_what_is_no_announcement_is_skipped(data_dir: Path) -> None:
    async with listening(data_dir) as heard:
        for text in ("nonsense", "1" * 4_000, "", "-3", "7"):
            [pipe] = pipes(data_dir)
            with pipe.open("w") as file:
                file.write(f"{text}\n")
        announce(data_dir, "8")
        assert [await next_of(heard), await next_of(heard)] == [7, 8]


async def test_a_worker_without_time_keeps_no_supervisor_waiting(data_dir: Path) -> None:
    async with listening(data_dir) as heard:
        for number in range(20_000):
            announce(data_dir, str(number))
        assert [await next_of(heard), await next_of(heard)] == [0, 1]
