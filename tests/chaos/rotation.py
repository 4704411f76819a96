"""Each secret is rotated as docs/how-to/rotate-secrets.md says, while deployments go on.

    script/storm --rotation --seed 7

Between its steps the relay is restarted. Afterwards: every deployment was run once, with its
statuses in order and one message; no token that was removed is used any more.
"""

import argparse
import asyncio
import contextlib
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from sandbox.github.server import new_private_key
from sandbox.sandbox import REPOSITORY, Sandbox, free_ports
from sandbox.slack.model import Message
from tests.slack.install.installing import browser

# Each with a channel of its own, as one takes only about one message a second.
NAMES = [f"env-{number}" for number in range(8)]
ENVIRONMENT = """
  - name: "{name}"
    handler: command
    serialization: false
    with: {{run: [sh, -c, "echo $DEPLOYMENT_ID >> {runs}"]}}
    slack: {{channel: "{channel}"}}
"""
ORDER = ["queued", "in_progress", "success"]
OLD_KEY, NEW_KEY = "the-old-secret-key-of-it", "the-new-secret-key-of-it"
NEW_WEBHOOK, NEW_SIGNING = "another-webhook-secret", "another-signing-secret"
NEW_TOKEN = "xoxb-3000-4000-sandbox"


@dataclass
class Relay:
    """The real processes, with `environ`, which changes from one start to the next."""

    environ: dict[str, str]
    log: Path
    restarts: int = 0
    _process: "asyncio.subprocess.Process | None" = None

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "webhook", "up"),
                env={**os.environ, **self.environ},
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    url = f"http://127.0.0.1:{self.environ['PORT']}/workz"
                    async with session.get(url) as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.1)

    async def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            await self._process.wait()

    async def restart(self, **changes: str) -> None:
        await self.stop()
        self.environ |= changes
        self.restarts += 1
        await self.start()

    async def command(self, *arguments: str) -> str:
        """What `python -m webhook ...` prints."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "webhook", *arguments),
            env={**os.environ, **self.environ},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"{arguments} ended with {process.returncode}")
        return output.decode()


@dataclass
class Rotation:
    folder: Path
    seed: int
    oauth: bool
    pause: float
    sandbox: Sandbox = field(init=False)
    relay: Relay = field(init=False)
    rotated: list[str] = field(default_factory=list)
    missed: int = 0

    def __post_init__(self) -> None:
        self.sandbox = Sandbox(interactive=True, oauth=self.oauth)
        self.random = random.Random(self.seed)

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    async def run(self) -> list[str]:
        """What did not hold."""
        async with self.sandbox, self._relay():
            every = self._with_oauth() if self.oauth else self._with_a_token()
            load = asyncio.create_task(self._load())
            for name, rotate in every.items():
                await rotate()
                self.rotated.append(name)
                await asyncio.sleep(4 * self.pause)
            load.cancel()
            wrong = await self._settle()
            if not self.oauth:
                wrong += await self._press()
            return wrong or self._wrong()

    @contextlib.asynccontextmanager
    async def _relay(self) -> AsyncIterator[None]:
        [port] = free_ports(1)
        config = self.folder / "deploy.yml"
        channels = {name: self.sandbox.slack.add_channel(name).id for name in NAMES}
        envs = [
            ENVIRONMENT.format(name=name, channel=channel, runs=self.runs)
            for name, channel in channels.items()
        ]
        config.write_text(f"envs:{''.join(envs)}")
        environ = self.sandbox.environ(self.folder / "data", config, port)
        environ |= {"GITPLOY_SECRET_KEY": OLD_KEY}
        self.relay = Relay(environ, self.folder / "log")
        await self.relay.start()
        try:
            if self.oauth:
                await self._install()
            yield
        finally:
            await self.relay.stop()

    async def _install(self) -> None:
        link = (await self.relay.command("slack", "install-link")).split()
        [url] = [part for part in link if part.startswith("http")]
        async with browser() as person:
            page = await person.press(url)
            back = await self.sandbox.slack.authorize_app(page.location, "allow")
            await person.get(back)

    async def _load(self) -> None:
        while True:
            await self.sandbox.github.create_deployment(
                REPOSITORY, environment=self.random.choice(NAMES), required_contexts=[]
            )
            await asyncio.sleep(self.random.uniform(0, 2 * self.pause))

    def _with_a_token(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        return {
            "webhook secret": self._webhook_secret,
            "App's key": self._app_key,
            "Slack's bot token": self._bot_token,
            "Slack's signing secret": self._signing_secret,
        }

    def _with_oauth(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        return {"secret key": self._secret_key}

    async def _webhook_secret(self) -> None:
        old = self.sandbox.github.webhook_secret
        await self.relay.restart(GITPLOY_WEBHOOK_SECRET=f"{NEW_WEBHOOK},{old}")
        self.sandbox.github.app.webhook_secret = NEW_WEBHOOK
        await self.relay.restart(GITPLOY_WEBHOOK_SECRET=NEW_WEBHOOK)

    async def _app_key(self) -> None:
        new, auth = new_private_key(), self.sandbox.github.auth
        auth.add_key(new)
        await self.relay.restart(GITPLOY_GITHUB_PRIVATE_KEY=new)
        auth.remove_key(self.sandbox.github.private_key_pem)

    async def _bot_token(self) -> None:
        slack = self.sandbox.slack
        slack.workspace.add_token(NEW_TOKEN, slack.scopes)
        await self.relay.restart(GITPLOY_SLACK_BOT_TOKEN=NEW_TOKEN)
        slack.workspace.site.tokens[slack.token].auth_error = "token_revoked"

    async def _signing_secret(self) -> None:
        self.sandbox.slack.app.signing_secret = NEW_SIGNING
        await self.relay.restart(GITPLOY_SLACK_SIGNING_SECRET=NEW_SIGNING)

    async def _secret_key(self) -> None:
        await self.relay.restart(GITPLOY_SECRET_KEY=f"{NEW_KEY},{OLD_KEY}")
        await self.relay.command("slack", "rotate-key")
        await self.relay.restart(GITPLOY_SECRET_KEY=NEW_KEY)

    async def _settle(self) -> list[str]:
        """Also what came while the relay was down: its worker compares GitHub's list at start."""
        github = self.sandbox.github
        self.missed = sum(one.status_code != 202 for one in github.deliveries)
        end = time.monotonic() + 120
        while time.monotonic() < end:
            await github.settled()
            left = [id_ for id_ in github.deployments if "success" not in github.states(id_)]
            if not left:
                await self._messages_are_edited()
                return []
            await asyncio.sleep(0.2)
        return [f"not over in time: {[(id_, github.states(id_)) for id_ in left]}"]

    async def _messages_are_edited(self) -> None:
        ids = self.sandbox.github.deployments
        async with asyncio.timeout(120):
            while any("succeeded" not in self._messages().get(f"{id_}:main", "") for id_ in ids):
                await asyncio.sleep(0.5)

    async def _press(self) -> list[str]:
        """What Slack sends counts by the new signing secret."""
        person = self.sandbox.slack.add_user("octocat")
        response = await self.sandbox.slack.command("/deploy", "status", person)
        return [f"Slack's command got {response.error}"] if response.error else []

    def _messages(self) -> dict[str, str]:
        """The text of each by its key."""
        return {key: one.text for key, one in self._sent() if not one.is_reply}

    def _sent(self) -> list[tuple[str, Message]]:
        every = [one for name in NAMES for one in self.sandbox.slack.messages(name)]
        return [((one.metadata or {})["event_payload"]["key"], one) for one in every]

    def _wrong(self) -> list[str]:
        github = self.sandbox.github
        ran = Counter(int(line) for line in self.runs.read_text().split())
        sent = Counter(key for key, _ in self._sent())
        wrong = []
        for id_ in github.deployments:
            states = [state for state in github.states(id_) if state != "inactive"]
            if states != [state for state in ORDER if state in states] or "success" not in states:
                wrong.append(f"deployment {id_} has the states {states}")
            if ran[id_] != 1:
                wrong.append(f"deployment {id_} ran {ran[id_]} times")
            if sent[f"{id_}:main"] != 1:
                wrong.append(f"Slack has {sent[f'{id_}:main']} messages of deployment {id_}")
        return wrong


async def run_rotation(*, seed: int, pause: float) -> tuple[list[str], str]:
    """What did not hold, and what was done."""
    wrong: list[str] = []
    done: list[str] = []
    for oauth in (False, True):
        with tempfile.TemporaryDirectory(prefix="relay-rotation-") as folder:
            rotation = Rotation(Path(folder), seed, oauth, pause)
            wrong += await rotation.run()
            count = len(rotation.sandbox.github.deployments)
            done.append(
                f"{', '.join(rotation.rotated)}: {count} deployments,"
                f" {rotation.relay.restarts} restarts, {rotation.missed} deliveries missed"
            )
            if wrong:
                sys.stderr.write((Path(folder) / "log").read_text()[-20_000:])
    return wrong, "; ".join(done)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="script/storm --rotation", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between two, on average")
    parsed = parser.parse_args(arguments)
    wrong, done = asyncio.run(run_rotation(seed=parsed.seed, pause=parsed.pause))
    sys.stdout.writelines(f"{one}\n" for one in wrong)
    sys.stdout.write(f"seed {parsed.seed}; {done}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
