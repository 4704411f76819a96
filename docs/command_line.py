"""Writes reference/command-line.md from the commands themselves: `script/generate` runs this."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from webhook.__main__ import main

PAGE = Path(__file__).parent / "reference" / "command-line.md"
_HEAD = """\
# Command line

<!-- Made by script/generate from the commands; change their help texts. -->

Commands read the relay's [settings](settings.md) from their environment; `demo` and `schema` need
none. `--help` shows the same texts. What is `python -m webhook` here is
`.venv/bin/python -m webhook` in a checkout, and `gitploy-relay` where the wheel is installed;
messages name it as it was typed.
"""


def page() -> str:
    return "\n".join([_HEAD, *_commands(main, "python -m webhook")])


def _commands(group: click.Group, prefix: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix} {name}")
        else:
            yield from _section(command, f"{prefix} {name}")


def _section(command: click.Command, path: str) -> Iterator[str]:
    arguments = [one.metavar or one.name or "" for one in command.params if _is_argument(one)]
    line = " ".join((path, *arguments))
    yield f"## {path.removeprefix('python -m webhook ')}\n\n```sh\n{line}\n```\n"
    yield f"{inspect.cleandoc(command.help or '')}\n"
    options = [option for option in command.params if isinstance(option, click.Option)]
    if shown := [option for option in options if not option.hidden]:
        rows = "\n".join(f"| {_names(option)} | {_meaning(option)} |" for option in shown)
        yield f"| option | meaning |\n|---|---|\n{rows}\n"


def _is_argument(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Argument)


def _names(option: click.Option) -> str:
    value = ""
    if isinstance(option.type, click.Choice):
        value = " " + "\\|".join(option.type.choices)
    elif not option.is_flag:
        text = isinstance(option.type, click.types.StringParamType)
        value = f" {option.metavar or ('TEXT' if text else 'N')}"
    return ", ".join(f"`{name}{value}`" for name in option.opts)


def _meaning(option: click.Option) -> str:
    texts = [(option.help or "").rstrip(".")]
    if isinstance(option.type, click.IntRange):
        texts.append(f"From {option.type.min} to {option.type.max}")
    if option.show_default:
        texts.append(f"{option.default} by default")
    return "; ".join(text for text in texts if text)


if __name__ == "__main__":
    PAGE.write_text(page())
