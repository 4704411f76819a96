"""The deploy.yml of repositories, as the engine reads it."""

import asyncio

from webhook.engine.repository_files import parse


async def test_other_jobs_go_on_while_a_hostile_file_is_parsed() -> None:
    parsing = asyncio.create_task(parse(f"envs: [{'a, ' * 9_000}]".encode()))
    turns = 0
    while not parsing.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 3
    assert (await parsing).errors
