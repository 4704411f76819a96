"""`python -m webhook slack preview`: what would be posted where, as text for a terminal.

Only what the relay writes is known here: sections, context and buttons; bold, links, mentions and
dates. Text from outside has no other markup left, because `mrkdwn.escape` takes it out.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from slack_sdk.models.blocks import Block

from handlers import TITLES
from webhook.config.destinations import Target, targets_of
from webhook.config.environments import Config, Environment
from webhook.config.routing import matches_any
from webhook.deployments.actions import OfferedAction, Snapshot, offered_buttons
from webhook.deployments.blockers import Blocker
from webhook.deployments.changelog import Changelog, Commit
from webhook.deployments.models import is_production
from webhook.deployments.notice import DeploymentNotice, NoticeEntry
from webhook.deployments.phases import Phase, entry_phase
from webhook.settings import Settings
from webhook.slack.blocks import message as messages
from webhook.slack.blocks.mrkdwn import BlockMessage
from webhook.slack.destination import Destination, destinations_of

_BOLD = re.compile(r"(?<![\w*])\*(?=\S)(.+?)(?<=\S)\*(?![\w*])")
_ANGLED = re.compile(r"<([^<>|]+)(?:\|([^<>]*))?>")
# Of the sample.
_SUPERSEDED = "Superseded by deployment 43 (v1.3)"
_SHA, _BEFORE = "7d3f1c29b0a84e56c1d2", "1b9e4a7705cd63f2a8e0"


@dataclass(frozen=True, slots=True)
class Preview:
    """A message and its channel; without a message, `kind` is the reason."""

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
            "blocks": self.message.documents,
        }


def render(previews: Sequence[Preview], *, as_json: bool) -> str:
    if as_json:
        messages = [one.as_json() for one in previews if one.message]
        return json.dumps(messages, indent=2, ensure_ascii=False)
    if not previews:
        return "Nothing would be posted: no 'slack:' in deploy.yml names a channel for it."
    return "\n\n".join(one.as_text() for one in previews)


def samples(
    settings: Settings,
    config: Config,
    actions: Iterable[OfferedAction],
    state: Phase | None,
    *,
    on_hold: bool = False,
) -> list[Preview]:
    """For each environment in deploy.yml, the messages of a deployment in that state, or in both
    final ones. `on_hold`: of one that its gates hold back."""
    found: list[Preview] = []
    phases = [state] if state else [Phase.SUCCESS, Phase.FAILURE]
    phases = [Phase.QUEUED] if on_hold else phases
    for environment in config.envs:
        for repo, target in _sample_targets(environment):
            sample = _sample(environment, repo, settings.server_url)
            for phase in phases:
                notice = _on_hold(sample) if on_hold else _at(sample, phase)
                if settings.slack.actions_enabled:
                    notice = _with_buttons(notice, actions)
                found += _previews(target, notice, _entries(phase))
        found += _without_sample(environment)
    return found


def _sample_targets(environment: Environment) -> Iterator[tuple[str, Target]]:
    """Each channel once, with a repository whose deployments are posted there."""
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


def _without_sample(environment: Environment) -> Iterator[Preview]:
    shown = {_channel(target) for _, target in _sample_targets(environment)}
    for one in destinations_of(environment):
        for channel in (one.channel, one.failures):
            if channel and one.name(channel) not in shown:
                shown.add(one.name(channel))
                reason = f"not for {', '.join(environment.repos)} (repos)"
                yield Preview(environment.name, one.name(channel), reason, None)


def _repositories(environment: Environment) -> list[str]:
    """An example of the environment's repositories, and one for each `repos` of its channels."""
    own = [_concrete(pattern) for pattern in environment.repos]
    filters = [one.repos for one in destinations_of(environment) if one.repos]
    found = own[:1]
    for patterns in filters:
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


def of_deployment(
    environment: Environment | None, notice: DeploymentNotice, entries: Sequence[NoticeEntry]
) -> list[Preview]:
    """The current state of a deployment."""
    targets = _targets(environment, notice.repo) if environment else []
    return [one for target in targets for one in _previews(target, notice, entries)]


def _previews(
    target: Target, notice: DeploymentNotice, entries: Sequence[NoticeEntry]
) -> Iterator[Preview]:
    failed = notice.phase in (Phase.FAILURE, Phase.ERROR)
    destination = target.destination
    assert isinstance(destination, Destination)
    mention = mentioned(destination, notice)
    if not target.main:
        if failed:
            alert = messages.alert(notice, mention)
            yield Preview(notice.environment, _channel(target), "message", alert)
        return
    if not target.destination.accepts(notice.phase):
        return
    yield Preview(notice.environment, _channel(target), "message", messages.main_message(notice))
    included = [entry for entry in entries if _is_included(target, notice, entry)]
    if included:
        urgent = failed or notice.held or notice.recovered
        reply = messages.thread_reply(
            notice, included, broadcast=urgent, mention=mention if urgent else ""
        )
        kind = "reply in its thread, shown in the channel" if urgent else "reply in its thread"
        yield Preview(notice.environment, _channel(target), kind, reply)


def _is_included(target: Target, notice: DeploymentNotice, entry: NoticeEntry) -> bool:
    phase = entry_phase(entry.state, notice.phase)
    return phase is None or target.destination.accepts(phase)


def mentioned(destination: Destination, notice: DeploymentNotice) -> str:
    """By their names on GitHub, whoever they are in Slack."""
    included = destination.mentions or "author"
    if included != "none" and notice.held and notice.asks:
        return " ".join(f"@{who}" for who in notice.asks)
    return {"author": f"@{notice.requested_by}", "none": ""}.get(included, included)


def _sample(environment: Environment, repo: str, server_url: str) -> DeploymentNotice:
    name = environment.name.replace("*", "sample")
    production = environment.production_environment
    page = f"{server_url}/deployments/{repo}/42"
    url = f"https://github.com/{repo}"
    commits = tuple(
        Commit(f"{_SHA[n:]}{_SHA[:n]}", title, author, f"{url}/commit/{_SHA}")
        for n, (title, author) in enumerate(
            [("Fix the total of an empty cart", "octocat"), ("Show prices with tax", "hubot")]
        )
    )
    return DeploymentNotice(
        deployment_id=42,
        repo=repo,
        repo_url=url,
        environment=name,
        production=is_production(name, production),
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
        actions=(),
        rollback_to="v1.1 @ 1b9e4a7",
    )


def _on_hold(sample: DeploymentNotice) -> DeploymentNotice:
    until = datetime.now(UTC) + timedelta(hours=2)
    way_out = f"hubot, or /deploy unlock {sample.repo} {sample.environment}"
    running = "Waits for deployment 41 (v1.1) to end"
    blockers = (
        Blocker(gate="lock", reason="Locked by hubot: an incident", until=until, way_out=way_out),
        Blocker(gate="serialization", reason=running, way_out="Cancel that one to go on now"),
    )
    return replace(_at(sample, Phase.QUEUED), started=False, blockers=blockers)


def _at(sample: DeploymentNotice, phase: Phase) -> DeploymentNotice:
    if phase is Phase.SUPERSEDED:
        page = sample.page_url.removesuffix("42") + "43"
        changed = replace(sample, phase=phase, started=False, description=_SUPERSEDED)
        return replace(changed, superseded_by=43, superseded_by_url=page)
    failed = phase in (Phase.FAILURE, Phase.ERROR)
    running = phase in (Phase.QUEUED, Phase.IN_PROGRESS)
    return replace(
        sample,
        phase=phase,
        description="exit code 1: the smoke test failed" if failed else "",
        seconds=None if running else sample.seconds,
    )


def _with_buttons(sample: DeploymentNotice, actions: Iterable[OfferedAction]) -> DeploymentNotice:
    snapshot = Snapshot(
        phase=sample.phase,
        ended=sample.phase.final,
        watched=False,
        cancel_requested=False,
        newest=True,
        rollback_target=True,
    )
    return replace(sample, actions=offered_buttons(actions, snapshot, sample))


def _entries(phase: Phase) -> list[NoticeEntry]:
    began = datetime.now(UTC) - timedelta(seconds=134)
    timeline = [
        (Phase.QUEUED, "Accepted", 0),
        (Phase.IN_PROGRESS, "Running", 2),
        (phase, "exit code 1: the smoke test failed" if phase is Phase.FAILURE else "", 134),
    ]
    if phase is Phase.SUPERSEDED:  # it never ran
        timeline = [timeline[0], (Phase.INACTIVE, _SUPERSEDED, 134)]
    until = next((n for n, (one, _, _) in enumerate(timeline) if one is phase), 2)
    return [
        NoticeEntry(
            at=began + timedelta(seconds=after),
            state=one,
            description=description,
            actor="relay",
            log_url="",
            held=False,
        )
        for one, description, after in timeline[: until + 1]
    ]


def plain_text(blocks: Sequence[Block]) -> str:
    """One line for each line of a section, and for each other block."""
    return "\n".join(_block(block.to_dict()) for block in blocks)


def _block(block: dict[str, Any]) -> str:
    match block["type"]:
        case "section":
            return _text(block["text"])
        case "context":
            return "  ".join(_text(element) for element in block["elements"])
        case "actions":
            return " ".join(f"[{_text(button['text'])}]" for button in block["elements"])
    raise ValueError(f"the relay writes no block of type {block['type']}")


def _text(text: dict[str, Any]) -> str:
    shown = str(text["text"])
    if text["type"] == "plain_text":
        return shown
    shown = _ANGLED.sub(_label, _BOLD.sub(r"\1", shown))
    return shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _label(match: re.Match[str]) -> str:
    """Links and dates show their label; a mention without one shows its target."""
    target, label = match.groups()
    if label:
        return str(label)
    return "@" + target[1:].partition("^")[0] if target.startswith("!") else str(target)
