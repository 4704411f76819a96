"""The keys of an environment as they hold, each with where that comes from: those of gates first,
and of the operator's file with their line."""

from collections.abc import Iterator
from dataclasses import replace

from webhook.config.environments import Config, Environment
from webhook.engine.policy import FilePolicy
from webhook.gates.contract import Gates
from webhook.repository_file.lines import DEFAULT, OPERATOR, Line, operators_lines

# What only names the environment, in the operator's file.
_LEFT_OUT = ("repos", "description")


def policy_lines(
    config: Config, gates: Gates, environment: Environment, policy: FilePolicy
) -> Iterator[Line]:
    """`environment`: as the operator's file has it."""
    of_gates = [key for gate in gates.values() for key in gate.Keys.model_fields]
    positions = config.lines_of(environment)
    lines = policy.lines or operators_lines(policy.environment)
    for line in sorted(lines, key=lambda one: one.key not in of_gates):
        is_own = line.origin in (OPERATOR, DEFAULT) and not line.ignored
        if not (line.key in _LEFT_OUT and is_own):
            yield _with_number(line, positions.get(line.key, 0))


def _with_number(line: Line, number: int) -> Line:
    if not number:  # the top of the file has a default for it, too
        return replace(line, origin=DEFAULT) if line.origin == OPERATOR else line
    return replace(line, origin=line.origin.replace(OPERATOR, f"{OPERATOR}, line {number}"))
