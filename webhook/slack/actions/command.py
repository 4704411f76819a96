"""The slash command -> what it requests, checked against deploy.yml.

The first word names an action that has such a `verb`; without one, it deploys or opens the form.

Source: docs.slack.dev, "Implementing slash commands".
Errors: `UserError`. What a person typed wrongly is explained at once, by a `Response`.
"""

import re
from collections.abc import Iterable, Mapping

from webhook.config.environments import Config
from webhook.config.routing import route
from webhook.deployments.actions import ActionRequest, Reply, request_key
from webhook.gates.repository_file import tightens
from webhook.slack.actions.contract import Actions
from webhook.slack.actions.payloads import Parsed, Response, SlashCommand, read
from webhook.slack.actions.typed import (
    ROOM,
    Mistyped,
    Typed,
    environment_error,
    escape,
    input_error,
    ref_error,
    repo_error,
    require,
    spelling,
    split,
)

# The actions of a command without a verb: the form (webhook.slack.actions.modal), and a deployment.
OPEN_FORM, DEPLOY = "form", "deploy"
_COMMAND = re.compile(r"/[\w-]{1,40}", re.ASCII)
_INPUT = re.compile(r"[\w.-]+=")


def usage(actions: Actions, command: str = "/deploy") -> str:
    verbs = [f"`{command} {one.usage[0]}` {one.usage[1]}" for one in actions.values() if one.verb]
    lines = (
        f"`{command} owner/repo environment [ref]` deploys; without a ref, the default branch",
        *verbs,
        f"`{command}` or `{command} owner/repo` opens a form",
        "Where an environment has inputs, `name=value` at the end gives one",
        f"A name with spaces goes in quotes; `{command} help` shows this again",
    )
    return "\n".join(lines)


def parse_command(fields: Mapping[str, str], config: Config, actions: Actions) -> Parsed:
    slash = read(SlashCommand, dict(fields))
    if slash.ssl_check == "1":
        return Response()
    command = slash.command if _COMMAND.fullmatch(slash.command) else "/deploy"
    arguments = split(slash.text)
    if arguments is None:
        return _explain(f"A quotation mark is missing.\n{usage(actions, command)}")
    if [one.lower() for one in arguments] == ["help"]:
        return _explain(usage(actions, command))
    try:
        return _request(slash, _parse(command, arguments, config, actions))
    except Mistyped as error:
        return _explain(escape(str(error), ROOM))
    except _TooMany:
        return _explain(f"These are too many arguments.\n{usage(actions, command)}")


class _TooMany(Exception):
    pass


def _parse(command: str, arguments: list[str], config: Config, actions: Actions) -> Typed:
    verbs = {action.verb: action for action in actions.values() if action.verb}
    if not arguments:
        return Typed(OPEN_FORM)
    repo, *rest = arguments
    if action := verbs.get(repo.lower()):  # phones begin with a capital letter
        return action.typed(command, rest, config)
    if error := repo_error(repo):
        raise Mistyped(error if "/" in repo else f"{error}; {command} help lists the commands")
    if not rest:
        return Typed(OPEN_FORM, repo)
    environment, *rest = rest
    refs, inputs = _inputs(config, repo, environment, rest)
    if len(refs) > 1:
        raise _TooMany
    return _deploy(config, repo, environment, refs[0] if refs else "", inputs)


def _inputs(
    config: Config, repo: str, environment: str, rest: Iterable[str]
) -> tuple[list[str], dict[str, str]]:
    """What is `name=value`, where the environment may have inputs; a branch may be called so,
    too."""
    found = route(config, repo, environment)
    if found is None or not (found.dynamic_payload.enabled or tightens(found)):
        return list(rest), {}
    pairs = dict(one.split("=", 1) for one in rest if _INPUT.match(one))
    return [one for one in rest if not _INPUT.match(one)], pairs


def _deploy(
    config: Config, repo: str, environment: str, ref: str, inputs: Mapping[str, str]
) -> Typed:
    require(
        ref_error(ref) if ref else "",
        environment_error(config, repo, environment),
        input_error(config, repo, environment, inputs),
    )
    return Typed(DEPLOY, repo, spelling(config, repo, environment), ref, tuple(inputs.items()))


def _request(slash: SlashCommand, typed: Typed) -> ActionRequest:
    who = slash.requester
    url, trigger = slash.response_url, slash.trigger_id
    parts = [*typed[:4], *(f"{name}={value}" for name, value in typed.inputs)]
    return ActionRequest(
        key=request_key("command", who.team, who.user, *parts, trigger, url),
        kind=typed.kind,
        requester=who,
        reply=Reply(url, trigger if typed.kind == OPEN_FORM else ""),
        repo=typed.repo,
        environment=typed.environment,
        ref=typed.ref,
        inputs=dict(typed.inputs),
    )


def _explain(text: str) -> Response:
    return Response({"response_type": "ephemeral", "text": text})
