"""What comes from outside becomes no request, no header, no markup and no command: each field of a
deployment, and of a tool's answers, is tried."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from sandbox.faults import Fault
from sandbox.sandbox import free_ports
from sandbox.server import HOST
from sandbox.tooling import Mode, Tooling
from tests.world import World, live

DEPLOY_YML = """
slack: {{channel: "#deploys", failures: "#oncall"}}
envs:
  - name: "tool*"
    handler: endpoint
    serialization: false
    with:
      url: "{url}/deploy/{{environment}}?task={{task}}"
      secret: a-secret-of-the-tooling
      headers: {{X-Asked-For: "{{task}}", X-By: "{{payload.by}}"}}
  - name: "*"
    handler: command
    serialization: false
    with:
      run: [sh, -c, 'printf "%s\\n" "$@"', sh, "{{task}}", "{{payload.by}}"]
      environment_url: "https://site.example/{{payload.by}}"
"""


@dataclass
class Canary:
    """Somewhere that nobody is to call."""

    port: int = field(default_factory=lambda: free_ports(1)[0])
    calls: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Canary"]:
        async def call(request: web.Request) -> web.Response:
            self.calls.append(request.path_qs)
            return web.json_response({"state": "success"})

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", call)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, HOST, self.port).start()
        try:
            yield self
        finally:
            await runner.cleanup()

    def hostile(self, folder: Path) -> list[str]:
        return [
            f"{self.url}/latest/meta-data",
            f"@{HOST}:{self.port}/x",
            f"//{HOST}:{self.port}/",
            f"x\r\nHost: {HOST}:{self.port}\r\nX-Injected: 1",
            "{{7*7}} ${7*7} {0.__class__} {payload.by} %(x)s",
            f"$(touch {folder}/made) `touch {folder}/made`; touch {folder}/made",
            '"><script>alert(1)</script><img src=x onerror=alert(1)>',
            "<!channel> <@U00000001> <https://evil.example|GitHub>",
            "\x1b]0;title\x07\u202e\u2066",
        ]


async def page_of(world: World, deployment_id: int) -> str:
    url = world.github.statuses(deployment_id)[-1].log_url
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert "X-Injected" not in response.headers
        return await response.text()


def assert_harmless(world: World, pages: list[str]) -> None:
    """In what people see."""
    for page in pages:
        assert "<script>alert" not in page
        assert "<img src=x" not in page
    messages = repr(list(world.slack.channels.values()))
    assert "&lt;!channel&gt;" in messages
    assert "<!channel>" not in messages
    assert "<@U00000001>" not in messages
    assert "<https://evil.example" not in messages


async def test_no_field_of_a_deployment_becomes_anything_else(
    store_url: str, tmp_path: Path
) -> None:
    tooling, canary = Tooling(secret="a-secret-of-the-tooling", takes=0), Canary()
    async with tooling, canary.listening():
        deploy_yml = DEPLOY_YML.format(url=tooling.url)
        async with live(store_url, tmp_path, deploy_yml) as world:
            values = canary.hostile(tmp_path)
            every = [
                await world.deploy(
                    f"{environment}{number}",
                    task=value,
                    description=value[:140],
                    payload={"by": value},
                )
                for environment in ("tool", "command")
                for number, value in enumerate(values)
            ]
            every += [await world.deploy(value[:200], payload={"by": "x"}) for value in values]
            await asyncio.gather(
                *(world.github.wait_for(one.id, "success", "failure", "error") for one in every)
            )
            await world.idle()
            assert_harmless(world, [await page_of(world, one.id) for one in every])
            assert all("X-Injected" not in job.headers for job in tooling.jobs.values())
            assert tooling.jobs
    assert canary.calls == []
    assert not (tmp_path / "made").exists()


async def test_no_answer_of_a_tool_becomes_anything_else(store_url: str, tmp_path: Path) -> None:
    tooling, canary = Tooling(secret="a-secret-of-the-tooling", mode=Mode.SYNCHRONOUS), Canary()
    async with tooling, canary.listening():
        deploy_yml = DEPLOY_YML.format(url=tooling.url)
        async with live(store_url, tmp_path, deploy_yml) as world:
            every = []
            for number, value in enumerate(canary.hostile(tmp_path)):
                answer = {"state": "success", "description": value, "url": value}
                answer |= {"environment_url": value, "status_url": value}
                tooling.faults.add(
                    f"* /deploy/tool{number}", Fault(status_code=200, body=answer), 9
                )
                every.append(await world.deploy(f"tool{number}", payload={"by": "x"}))
            await asyncio.gather(
                *(world.github.wait_for(one.id, "success", "failure", "error") for one in every)
            )
            await world.idle()
            assert_harmless(world, [await page_of(world, one.id) for one in every])
            assert len(tooling.faults.fired) >= len(every)
    assert canary.calls == []
