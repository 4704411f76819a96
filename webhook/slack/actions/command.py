"""The slash command and its form -> what is asked for, checked against deploy.yml.

Source: docs.slack.dev, "Implementing slash commands", and docs.slack.dev/reference/
interaction-payloads/view-interactions-payload (`response_action: errors`).
Errors: `UserError`. What a person typed wrongly is answered at once, in words, by `Said`.
"""

import html
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from webhook.config.environments import Config
from webhook.config.routing import matches_any, route
from webhook.slack.actions.payloads import (
    Asked,
    Kind,
    Reply,
    Said,
    Taken,
    key_of,
    text_at,
    who_of,
    who_typed,
)
from webhook.text import one_line

# The blocks of the form; each holds one element, of the same name.
FORM = "deploy_form"
REPO, CHOSEN, TYPED, REF = "repository", "environment", "other_environment", "ref"
# Slack's limits of a menu.
MOST_CHOICES, LONGEST_CHOICE = 100, 150
LONGEST_ENVIRONMENT = 255
# How long a form may be filled in: a little less than Slack takes its answer.
GOOD_FOR = timedelta(minutes=29)
# Of a list of names, in an answer and below a field of the form.
_ROOM, _ROOM_IN_FORM = 1500, 140

_COMMAND = re.compile(r"/[\w-]{1,40}", re.ASCII)
_REPO = re.compile(r"[\w-]{1,100}/(?!\.{1,2}$)[\w.-]{1,100}", re.ASCII)
# What git allows in the name of a branch or tag, nearly.
_REF = re.compile(r"(?!.*(?:\.\.|@\{|//))[^\s\x00-\x20\x7f~^:?*\[\\-][^\s\x00-\x20\x7f~^:?*\[\\]*")
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"'})


class _Wanted(NamedTuple):
    kind: Kind
    repo: str = ""
    environment: str = ""
    ref: str = ""


def escape(text: str, limit: int = 300) -> str:
    """For Slack's text: one line, in which nothing is a link or a mention."""
    return html.escape(one_line(text, limit), quote=False)


def usage(command: str = "/deploy") -> str:
    return (
        f"`{command} owner/repo environment [ref]` deploys; without a ref, the default branch\n"
        f"`{command} status owner/repo` says where its environments stand\n"
        f"`{command}` or `{command} owner/repo` opens a form\n"
        f"A name with spaces goes in quotes; `{command} help` says this again"
    )


def commanded(sent: Mapping[str, str], config: Config) -> Taken:
    fields = {name: text_at(sent, name) for name in sent}
    if fields.get("ssl_check") == "1":
        return Said()
    given = fields.get("command", "")
    command = given if _COMMAND.fullmatch(given) else "/deploy"
    wanted = _wanted(command, _words(fields.get("text", "")), config)
    return wanted if isinstance(wanted, Said) else _asked(fields, wanted)


def _wanted(command: str, words: list[str] | None, config: Config) -> _Wanted | Said:
    wanted: _Wanted | Said
    match words:
        case None:
            wanted = _told(f"A quotation mark is missing.\n{usage(command)}")
        case ["help"]:
            wanted = _told(usage(command))
        case []:
            wanted = _Wanted("form")
        case ["status", repo]:
            wanted = _complaint([repo_fault(repo)]) or _Wanted("status", repo)
        case ["status", *_]:
            wanted = _told(f"Say which repository, and no more: `{command} status owner/repo`")
        case [repo]:
            wanted = _complaint([repo_fault(repo)]) or _Wanted("form", repo)
        case [repo, environment]:
            wanted = _deploy(config, repo, environment)
        case [repo, environment, ref]:
            wanted = _complaint([ref_fault(ref)]) or _deploy(config, repo, environment, ref)
        case _:
            wanted = _told(f"That is too much at once.\n{usage(command)}")
    return wanted


def _deploy(config: Config, repo: str, environment: str, ref: str = "") -> _Wanted | Said:
    faults = [repo_fault(repo), environment_fault(config, repo, environment)]
    spelt = spelling(config, repo, environment)
    return _complaint(faults) or _Wanted("deploy", repo, spelt, ref)


def submitted(payload: Mapping[str, Any], config: Config, now: datetime) -> Taken:
    """The form, filled in. Its answer goes where that of the slash command would have gone."""
    if text_at(payload, "view", "callback_id") != FORM:
        return Said()
    repo, typed, ref = (_field(payload, name).strip() for name in (REPO, TYPED, REF))
    chosen = _choice(payload)
    environment = typed or chosen
    url, at = _opened(text_at(payload, "view", "private_metadata"))
    if now.timestamp() > at + GOOD_FOR.total_seconds():
        return _faulty({REPO: "This form was open for too long; open it anew: type /deploy"})
    faults: dict[str, str] = {}
    if fault := repo_fault(repo):
        faults[REPO] = fault
    where = TYPED if typed else CHOSEN
    if typed and chosen:
        faults[TYPED] = "Choose one above or type one here, not both"
    elif not environment:
        where = where if choices(config)[0] else TYPED
        faults[where] = "Choose an environment"
    elif not faults and (fault := environment_fault(config, repo, environment, _ROOM_IN_FORM)):
        faults[where] = fault
    if ref and (fault := ref_fault(ref)):
        faults[REF] = fault
    if faults:
        return _faulty(faults)
    who = who_of(payload)
    view = text_at(payload, "view", "id") or text_at(payload, "trigger_id")
    return Asked(
        key=key_of("form", who.team, who.user, view),
        kind="deploy",
        who=who,
        reply=Reply(url),
        repo=repo,
        environment=spelling(config, repo, environment),
        ref=ref,
    )


def repo_fault(repo: str) -> str:
    if _REPO.fullmatch(repo):
        return ""
    return f"'{one_line(repo, 60)}' is not a repository; write owner/repo"


def ref_fault(ref: str) -> str:
    if len(ref) <= 255 and _REF.fullmatch(ref):
        return ""
    return f"'{one_line(ref, 60)}' is not a branch, tag or commit"


def environment_fault(config: Config, repo: str, environment: str, room: int = _ROOM) -> str:
    if set("*?") & set(environment):
        return f"'{one_line(environment, 40)}' is a pattern; write a name that fits it"
    if environment and len(environment) <= LONGEST_ENVIRONMENT and route(config, repo, environment):
        return ""
    names = list(dict.fromkeys(env.name for env in config.envs if matches_any(env.repos, repo)))
    if not names:
        return f"deploy.yml has no environment for {one_line(repo, 60)}"
    start = f"'{one_line(environment, 40)}' is not in deploy.yml; known: "
    return start + _listed(names, room - len(start))


def spelling(config: Config, repo: str, environment: str) -> str:
    """As deploy.yml spells it, so that GitHub shows one environment rather than two."""
    found = route(config, repo, environment)
    same = found is not None and found.name.lower() == environment.lower()
    return found.name if found and same else environment


def choices(config: Config) -> tuple[list[str], bool]:
    """The environments that a menu can show, and whether others can be typed."""
    names = list(dict.fromkeys(env.name for env in config.envs))
    plain = [n for n in names if not set("*?[") & set(n) and len(n) <= LONGEST_CHOICE]
    shown = plain[:MOST_CHOICES]
    return shown, len(shown) < len(names)


def _words(text: str) -> list[str] | None:
    """None: a quotation does not end. Phones turn quotation marks into typographic ones."""
    lexer = shlex.shlex(text.translate(_QUOTES), posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = lexer.escape = ""
    lexer.quotes = '"'
    try:
        return list(lexer)
    except ValueError:
        return None


def _asked(fields: Mapping[str, str], wanted: _Wanted) -> Asked:
    who = who_typed(fields)
    url, trigger = fields.get("response_url", ""), fields.get("trigger_id", "")
    return Asked(
        key=key_of("command", who.team, who.user, *wanted, trigger, url),
        kind=wanted.kind,
        who=who,
        reply=Reply(url, trigger if wanted.kind == "form" else ""),
        repo=wanted.repo,
        environment=wanted.environment,
        ref=wanted.ref,
    )


def _complaint(faults: Iterable[str]) -> Said | None:
    """The first of them: the others may only follow from it."""
    return next((_told(escape(fault, _ROOM)) for fault in faults if fault), None)


def _told(words: str) -> Said:
    return Said({"response_type": "ephemeral", "text": words})


def _listed(names: list[str], room: int) -> str:
    """As many as there is room for, and how many are left out; one at least."""
    shown = [one_line(names[0], 60)]
    for name in names[1:]:
        more = f" and {len(names) - len(shown)} more"
        if len(", ".join([*shown, name])) + len(more) > room:
            return ", ".join(shown) + more
        shown.append(name)
    return ", ".join(shown)


def _field(payload: Mapping[str, Any], name: str) -> str:
    return text_at(payload, "view", "state", "values", name, name, "value")


def _choice(payload: Mapping[str, Any]) -> str:
    element = ("view", "state", "values", CHOSEN, CHOSEN)
    return text_at(payload, *element, "selected_option", "value")


def _faulty(faults: Mapping[str, str]) -> Said:
    """Shown beside the fields of those names; the form stays open."""
    return Said({"response_action": "errors", "errors": dict(faults)})


def _opened(metadata: str) -> tuple[str, float]:
    """Where the answer goes, and when the form was asked for."""
    try:
        document = json.loads(metadata)
        return text_at(document, "url"), float(document["at"])
    except (ValueError, RecursionError, TypeError, LookupError, OverflowError):
        return "", 0.0
