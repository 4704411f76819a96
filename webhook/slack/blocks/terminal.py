"""`python -m webhook slack preview`: what would be posted where, without posting anything."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from handlers import TITLES
from webhook.config.destinations import Target, targets_of
from webhook.config.environments import Environment
from webhook.config.routing import matches_any, route
from webhook.deployments.changelog import Changelog, Commit
from webhook.deployments.notice import DeploymentNotice, NoticeEntry
from webhook.deployments.phases import Phase, phase_of
from webhook.engine.notice import build_notice, notice_entry
from webhook.engine.services import open_services
from webhook.errors import UserError
from webhook.slack.blocks import message as messages
from webhook.slack.blocks.mrkdwn import BlockMessage
from webhook.slack.blocks.plain_text import plain_text
from webhook.slack.destination import Destination, destinations_of
from webhook.startup import Setup
from webhook.store import timeline

_SHA, _BEFORE = "7d3f1c29b0a84e56c1d2", "1b9e4a7705cd63f2a8e0"


@dataclass(frozen=True, slots=True)
class Shown:
    """A message, where it would be, and why; or why there is none."""

    environment: str
    channel: str
    kind: str
    message: BlockMessage | None

    def as_text(self) -> str:
        if self.message is None:
            return f"{self.channel}: {self.kind} ({self.environment})"
        lines = "\n".join(f"  {line}" for line in plain_text(self.message.blocks).splitlines())
        return f"{self.channel}, {self.kind} ({self.environment}):\n{lines}"

    def as_json(self) -> dict[str, Any]:
        assert self.message is not None
        return {
            "environment": self.environment,
            "channel": self.channel,
            "kind": self.kind,
            "text": self.message.text,
            "blocks": [block.to_dict() for block in self.message.blocks],
        }


def written(shown: Sequence[Shown], *, as_json: bool) -> str:
    if as_json:
        messages = [one.as_json() for one in shown if one.message]
        return json.dumps(messages, indent=2, ensure_ascii=False)
    if not shown:
        return "Nothing: no 'slack:' in deploy.yml names a channel that would hear of it."
    return "\n\n".join(one.as_text() for one in shown)


def samples(setup: Setup, state: Phase | None) -> list[Shown]:
    """A deployment of each environment in deploy.yml, as it would be told at its end."""
    found: list[Shown] = []
    phases = [state] if state else [Phase.SUCCESS, Phase.FAILURE]
    for environment in setup.config.envs:
        for repo, target in _sample_targets(environment):
            sample = _sample(environment, repo, setup)
            for phase in phases:
                found += _shown(target, _at(sample, phase), _steps(phase))
        found += _left_out(environment)
    return found


def _sample_targets(environment: Environment) -> Iterator[tuple[str, Target]]:
    """Each channel once, with a repository that it hears of."""
    seen: set[str] = set()
    for repo in _repositories(environment):
        for target in _targets(environment, repo):
            if target.name not in seen:
                seen.add(target.name)
                yield repo, target


def _targets(environment: Environment, repo: str) -> list[Target]:
    found = targets_of(environment.destinations(), repo)
    return [target for target in found if isinstance(target.destination, Destination)]


def _channel(target: Target) -> str:
    return target.name.partition(":")[2]


def _left_out(environment: Environment) -> Iterator[Shown]:
    shown = {_channel(target) for _, target in _sample_targets(environment)}
    for one in destinations_of(environment):
        for channel in (one.channel, one.failures):
            if channel and one.name(channel) not in shown:
                shown.add(one.name(channel))
                words = f"not for {', '.join(environment.repos)} (repos)"
                yield Shown(environment.name, one.name(channel), words, None)


def _repositories(environment: Environment) -> list[str]:
    """Of the environment: one that stands for all, and one for each `repos` of its channels."""
    own = [_concrete(pattern) for pattern in environment.repos]
    several = [one.repos for one in destinations_of(environment) if one.repos]
    found = own[:1]
    for patterns in several:
        names = [*(_concrete(pattern) for pattern in patterns), *own]
        # Where both have patterns, the owner may come from one and the name from the other.
        mixed = [f"{a.partition('/')[0]}/{b.partition('/')[2]}" for a in names for b in names]
        both = (one for one in (*names, *mixed) if matches_any(patterns, one))
        found += [one for one in both if matches_any(environment.repos, one)][:1]
    return list(dict.fromkeys(found))


def _concrete(pattern: str) -> str:
    owner, slash, name = pattern.partition("/")
    if not slash:
        return "acme/site"
    return f"{owner.replace('*', 'acme')}/{name.replace('*', 'site')}".replace("?", "x")


async def stored(setup: Setup, url: str, deployment_id: int) -> list[Shown]:
    """A deployment that the store knows, as it stands now."""
    async with open_services(setup, url) as services:
        row = await services.read(deployment_id)
        if row is None:
            words = f"The store knows no deployment {deployment_id}"
            raise UserError(f"{words}; its number is in its page's address")
        notice = await build_notice(services, row)
        async with services.pool.connection() as connection:
            every = await timeline.shown(connection, row.id, after=0)
        found: list[Shown] = []
        environment = route(setup.config, row.repo, row.environment)
        for target in _targets(environment, row.repo) if environment else ():
            found += _shown(target, notice, [notice_entry(step) for step in every])
        return found


def _shown(
    target: Target, notice: DeploymentNotice, every: Sequence[NoticeEntry]
) -> Iterator[Shown]:
    failed = notice.phase in (Phase.FAILURE, Phase.ERROR)
    mention = _mention(target, notice)
    if not target.main:
        if failed:
            alert = messages.alert(notice, mention)
            yield Shown(notice.environment, _channel(target), "message", alert)
        return
    if not target.destination.wants(notice.phase):
        return
    yield Shown(notice.environment, _channel(target), "message", messages.main_message(notice))
    wanted = [step for step in every if _is_told(target, step)]
    if wanted:
        urgent = failed or notice.held or notice.recovered
        reply = messages.thread_reply(
            notice, wanted, broadcast=urgent, mention=mention if urgent else ""
        )
        kind = "reply in its thread, shown in the channel" if urgent else "reply in its thread"
        yield Shown(notice.environment, _channel(target), kind, reply)


def _is_told(target: Target, step: NoticeEntry) -> bool:
    phase = phase_of(step.state)
    return phase is None or target.destination.wants(phase)


def _mention(target: Target, notice: DeploymentNotice) -> str:
    destination = target.destination
    assert isinstance(destination, Destination)
    wanted = destination.mentions or "author"
    return {"author": f"@{notice.requested_by}", "none": ""}.get(wanted, wanted)


def _sample(environment: Environment, repo: str, setup: Setup) -> DeploymentNotice:
    name = environment.name.replace("*", "sample")
    production = environment.production_environment
    page = f"{setup.settings.server_url}/deployments/{repo}/42"
    url = f"https://github.com/{repo}"
    commits = tuple(
        Commit(f"{_SHA[n:]}{_SHA[:n]}", title, author, f"{url}/commit/{_SHA}")
        for n, (title, author) in enumerate(
            [("Mend the total of an empty cart", "octocat"), ("Show prices with tax", "hubot")]
        )
    )
    answers = setup.settings.slack.answers
    return DeploymentNotice(
        deployment_id=42,
        repo=repo,
        repo_url=url,
        environment=name,
        production=name == "production" if production is None else production,
        ref="v1.2",
        sha=_SHA,
        task="deploy",
        requested_by="octocat",
        phase=Phase.SUCCESS,
        changed_at=datetime.now(UTC),
        description="",
        held=False,
        started=True,
        recovered=False,
        seconds=134,
        page_url=page,
        run_url="",
        tool=TITLES.get(environment.handler, environment.handler),
        environment_url="",
        changelog=Changelog(_BEFORE, 14, 0, commits),
        previous_sha=_BEFORE,
        origin="",
        origin_url="",
        actions=("rollback",) if answers else (),
        rollback_to="v1.1 @ 1b9e4a7",
    )


def _at(sample: DeploymentNotice, phase: Phase) -> DeploymentNotice:
    failed = phase in (Phase.FAILURE, Phase.ERROR)
    going = phase in (Phase.QUEUED, Phase.IN_PROGRESS)
    buttons = ("cancel",) if going else (("retry", "rollback") if failed else ("rollback",))
    return replace(
        sample,
        phase=phase,
        description="exit code 1: the smoke test failed" if failed else "",
        seconds=None if going else sample.seconds,
        actions=buttons if sample.actions else (),
    )


def _steps(phase: Phase) -> list[NoticeEntry]:
    began = datetime.now(UTC) - timedelta(seconds=134)
    story = [
        (Phase.QUEUED, "Accepted", 0),
        (Phase.IN_PROGRESS, "Running", 2),
        (phase, "exit code 1: the smoke test failed" if phase is Phase.FAILURE else "", 134),
    ]
    until = next((n for n, (one, _, _) in enumerate(story) if one is phase), 2)
    return [
        NoticeEntry(
            at=began + timedelta(seconds=after),
            state=one,
            description=words,
            actor="relay",
            log_url="",
            held=False,
        )
        for one, words, after in story[: until + 1]
    ]
