"""The slash command -> what it requests, checked against deploy.yml.

Source: docs.slack.dev, "Implementing slash commands".
Errors: `UserError`. What a person typed wrongly is explained at once, by a `Response`.
"""

import html
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from webhook.config.creation import payload_of
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
_INPUT = re.compile(r"[\w.-]+=")
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
    inputs: tuple[tuple[str, str], ...] = ()


def escape(text: str, limit: int = 300) -> str:
    """For Slack's text: one line, in which nothing is a link or a mention."""
    return html.escape(one_line(text, limit), quote=False)


def usage(command: str = "/deploy") -> str:
    return (
        f"`{command} owner/repo environment [ref]` deploys; without a ref, the default branch\n"
        f"`{command} status owner/repo` lists its environments and their state\n"
        f"`{command}` or `{command} owner/repo` opens a form\n"
        "Where an environment has inputs, `name=value` at the end gives one\n"
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
        case [repo, environment, *rest]:
            refs, inputs = _inputs(config, repo, environment, rest)
            if len(refs) > 1:
                return _explain(f"These are too many arguments.\n{usage(command)}")
            ref = refs[0] if refs else ""
            parsed = _deploy(config, repo, environment, ref, inputs)
    return parsed


def _inputs(
    config: Config, repo: str, environment: str, rest: Iterable[str]
) -> tuple[list[str], dict[str, str]]:
    """What is `name=value`, where the environment has inputs; a branch may be called so too."""
    found = route(config, repo, environment)
    if found is None or not found.dynamic_payload.enabled:
        return list(rest), {}
    pairs = dict(one.split("=", 1) for one in rest if _INPUT.match(one))
    return [one for one in rest if not _INPUT.match(one)], pairs


def _deploy(
    config: Config, repo: str, environment: str, ref: str, inputs: Mapping[str, str]
) -> _Typed | Response:
    errors = [
        ref_error(ref) if ref else "",
        repo_error(repo),
        environment_error(config, repo, environment),
        input_error(config, repo, environment, inputs),
    ]
    typed = _Typed(
        Deploy.name, repo, spelling(config, repo, environment), ref, tuple(inputs.items())
    )
    return _first_error(errors) or typed


def input_error(config: Config, repo: str, environment: str, inputs: Mapping[str, str]) -> str:
    found = route(config, repo, environment)
    try:
        if found is not None:
            payload_of(found, inputs)
    except ValueError as error:
        return str(error)
    return ""


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
    parts = [*typed[:4], *(f"{name}={value}" for name, value in typed.inputs)]
    return ActionRequest(
        key=key_of("command", who.team, who.user, *parts, trigger, url),
        kind=typed.kind,
        requester=who,
        reply=Reply(url, trigger if typed.kind == OPEN_FORM else ""),
        repo=typed.repo,
        environment=typed.environment,
        ref=typed.ref,
        inputs=dict(typed.inputs),
    )


def _first_error(errors: Iterable[str]) -> Response | None:
    """The others may only follow from it."""
    return next((_explain(escape(error, _ROOM)) for error in errors if error), None)


def _explain(text: str) -> Response:
    return Response({"response_type": "ephemeral", "text": text})
