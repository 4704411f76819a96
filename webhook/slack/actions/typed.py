"""What a person types, in a command or in a form, checked against deploy.yml.

Errors: `Mistyped`, with an explanation for that person; the functions that end in `_error` return
it, as a form shows it beside a field.
"""

import html
import re
import shlex
from collections.abc import Mapping
from typing import NamedTuple

from webhook.config.creation import payload_of
from webhook.config.environments import Config
from webhook.config.routing import matches_any, route
from webhook.gates.repository_file import tightens
from webhook.slack.blocks.mrkdwn import unescaped
from webhook.text import and_more, one_line

LONGEST_ENVIRONMENT = 255
# Of a list of names, in a reply and below a field of the form.
ROOM, ROOM_IN_FORM = 1500, 140

_REPO = re.compile(r"[\w-]{1,100}/(?!\.{1,2}$)[\w.-]{1,100}", re.ASCII)
# What git allows in the name of a branch or tag, nearly.
_REF = re.compile(r"(?!.*(?:\.\.|@\{|//))[^\s\x00-\x20\x7f~^:?*\[\\-][^\s\x00-\x20\x7f~^:?*\[\\]*")
_INPUT = re.compile(r"[\w.-]+=")
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"'})
# Nobody sees that a pasted text has them; the second are the marks of width and direction, without
# the joiners that languages and emoji need.
_SPACES = re.compile(r"[^\S\n]")
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")


class Typed(NamedTuple):
    """A request: `kind` is the action's name, `inputs` what it needs besides."""

    kind: str
    repo: str = ""
    environment: str = ""
    ref: str = ""
    inputs: tuple[tuple[str, str], ...] = ()


class Mistyped(ValueError):
    """What is wrong, as plain text for the person who typed it."""


def require(*errors: str) -> None:
    """Raises `Mistyped` with the first; the others may only follow from it."""
    for error in errors:
        if error:
            raise Mistyped(error)


def escape(text: str, limit: int = 300) -> str:
    """For Slack's text: one line, in which nothing is a link or a mention."""
    return html.escape(one_line(text, limit), quote=False)


def input_error(config: Config, repo: str, environment: str, inputs: Mapping[str, str]) -> str:
    """Not where the repository's own file may have other inputs: that is read before it is done."""
    found = route(config, repo, environment)
    try:
        if found is not None and not tightens(found):
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


def environment_error(config: Config, repo: str, environment: str, room: int = ROOM) -> str:
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


def split(text: str) -> list[str] | None:
    """None: a quotation does not end. Phones turn quotation marks into typographic ones."""
    text = unescaped(visible(text)).translate(_QUOTES)
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = lexer.escape = ""
    lexer.quotes = '"'
    try:
        return list(lexer)
    except ValueError:
        return None
