"""Exit codes: 0 it is done, 1 an error, 2 wrong usage; unless a command says otherwise."""

import click

ERROR = 1
_OF_ERRORS = "webhook.exit_code_of_errors"


def errors_exit_with(code: int) -> None:
    """Of the command that runs: another code means something else."""
    click.get_current_context().meta[_OF_ERRORS] = code


def code_of_errors(context: click.Context) -> int:
    code: int = context.meta.get(_OF_ERRORS, ERROR)
    return code
