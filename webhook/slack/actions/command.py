"""The slash command -> what it requests, checked against deploy.yml.

Source: docs.slack.dev, "Implementing slash commands".
Errors: `UserError`. What a person typed wrongly is explained at once, by a `Response`.
"""

import html
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from webhook.config.environments import Config
from webhook.config.routing import matches_any, route
from webhook.deployments.actions import ActionRequest, Reply
from webhook.slack.actions.deploy import Deploy
from webhook.slack.actions.payloads import Parsed, Response, SlashCommand, key_of, read
from webhook.slack.actions.status import Status
from webhook.text import and_more, one_line

# The action that opens the form (webhook.slack.actions.modal).
OPEN_FORM = "form"
LONGEST_ENVIRONMENT = 255
# Of a list of names, in a reply and below a field of the form.
_ROOM, ROOM_IN_FORM = 1500, 140

_COMMAND = re.compile(r"/[\w-]{1,40}", re.ASCII)
_REPO = re.compile(r"[\w-]{1,100}/(?!\.{1,2}$)[\w.-]{1,100}", re.ASCII)
# What git allows in the name of a branch or tag, nearly.
_REF = re.compile(r"(?!.*(?:\.\.|@\{|//))[^\s\x00-\x20\x7f~^:?*\[\\-][^\s\x00-\x20\x7f~^:?*\[\\]*")
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"'})
# Nobody sees that a pasted text has them; the second are the marks of width and direction, without
# the joiners that languages and emoji need.
_SPACES = re.compile(r"[^\S\n]")
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")


class _Typed(NamedTuple):
    kind: str
    repo: str = ""
    environment: str = ""
    ref: str = ""


def escape(text: str, limit: int = 300) -> str:
    """For Slack's text: one line, in which nothing is a link or a mention."""
    return html.escape(one_line(text, limit), quote=False)


def usage(command: str = "/deploy") -> str:
    return (
        f"`{command} owner/repo environment [ref]` deploys; without a ref, the default branch\n"
        f"`{command} status owner/repo` lists its environments and their state\n"
        f"`{command}` or `{command} owner/repo` opens a form\n"
        f"A name with spaces goes in quotes; `{command} help` shows this again"
    )


def parse_command(fields: Mapping[str, str], config: Config) -> Parsed:
    slash = read(SlashCommand, dict(fields))
    if slash.ssl_check == "1":
        return Response()
    command = slash.command if _COMMAND.fullmatch(slash.command) else "/deploy"
    typed = _parse(command, _split(slash.text), config)
    return typed if isinstance(typed, Response) else _request(slash, typed)


def _parse(command: str, arguments: list[str] | None, config: Config) -> _Typed | Response:
    parsed: _Typed | Response
    match arguments:
        case None:
            parsed = _explain(f"A quotation mark is missing.\n{usage(command)}")
        case ["help"]:
            parsed = _explain(usage(command))
        case []:
            parsed = _Typed(OPEN_FORM)
        case ["status", repo]:
            parsed = _first_error([repo_error(repo)]) or _Typed(Status.name, repo)
        case ["status", *_]:
            parsed = _explain(f"Name one repository, no more: `{command} status owner/repo`")
        case [repo]:
            parsed = _first_error([repo_error(repo)]) or _Typed(OPEN_FORM, repo)
        case [repo, environment]:
            parsed = _deploy(config, repo, environment)
        case [repo, environment, ref]:
            parsed = _first_error([ref_error(ref)]) or _deploy(config, repo, environment, ref)
        case _:
            parsed = _explain(f"These are too many arguments.\n{usage(command)}")
    return parsed


def _deploy(config: Config, repo: str, environment: str, ref: str = "") -> _Typed | Response:
    errors = [repo_error(repo), environment_error(config, repo, environment)]
    spelled = spelling(config, repo, environment)
    return _first_error(errors) or _Typed(Deploy.name, repo, spelled, ref)


def repo_error(repo: str) -> str:
    if _REPO.fullmatch(repo):
        return ""
    return f"'{one_line(repo, 60)}' is not a repository; write owner/repo"


def ref_error(ref: str) -> str:
    if len(ref) <= 255 and _REF.fullmatch(ref):
        return ""
    return f"'{one_line(ref, 60)}' is not a branch, tag or commit"


def environment_error(config: Config, repo: str, environment: str, room: int = _ROOM) -> str:
    if set("*?") & set(environment):
        return f"'{one_line(environment, 40)}' is a pattern; write a name that matches it"
    if environment and len(environment) <= LONGEST_ENVIRONMENT and route(config, repo, environment):
        return ""
    names = list(dict.fromkeys(env.name for env in config.envs if matches_any(env.repos, repo)))
    if not names:
        return f"deploy.yml has no environment for {one_line(repo, 60)}"
    start = f"'{one_line(environment, 40)}' is not in deploy.yml; known: "
    shown = [one_line(name, 60) for name in names]
    return start + and_more(shown, limit=room - len(start))


def spelling(config: Config, repo: str, environment: str) -> str:
    """As deploy.yml spells it, so that GitHub shows one environment rather than two."""
    found = route(config, repo, environment)
    same = found is not None and found.name.lower() == environment.lower()
    return found.name if found and same else environment


def visible(text: str) -> str:
    """As a person reads it: each space is a plain one, and nothing is there that has no width."""
    return _INVISIBLE.sub("", _SPACES.sub(" ", text))


def _split(text: str) -> list[str] | None:
    """None: a quotation does not end. Phones turn quotation marks into typographic ones."""
    lexer = shlex.shlex(visible(text).translate(_QUOTES), posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = lexer.escape = ""
    lexer.quotes = '"'
    try:
        return list(lexer)
    except ValueError:
        return None


def _request(slash: SlashCommand, typed: _Typed) -> ActionRequest:
    who = slash.requester
    url, trigger = slash.response_url, slash.trigger_id
    return ActionRequest(
        key=key_of("command", who.team, who.user, *typed, trigger, url),
        kind=typed.kind,
        requester=who,
        reply=Reply(url, trigger if typed.kind == OPEN_FORM else ""),
        repo=typed.repo,
        environment=typed.environment,
        ref=typed.ref,
    )


def _first_error(errors: Iterable[str]) -> Response | None:
    """The others may only follow from it."""
    return next((_explain(escape(error, _ROOM)) for error in errors if error), None)


def _explain(text: str) -> Response:
    return Response({"response_type": "ephemeral", "text": text})
