"""Arguments that a shell or another interpreter reads as a program: `sh -c TEXT`, `perl -e TEXT`.

Whoever may create a deployment chooses what placeholders stand for, and a branch may be named
`$(reboot)`. As an argument of its own such a value is data; in these texts it would be run.

Source: the manual pages of the programs below; POSIX `sh`; git-check-ref-format(1), which allows
all of a shell's special characters but a space, `~ ^ : ? * [` and a backslash.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import NamedTuple

_SHELLS = frozenset(
    {
        *("sh", "bash", "rbash", "dash", "ash", "zsh", "ksh", "mksh", "yash", "fish", "csh"),
        *("tcsh", "nu", "xonsh"),
    }
)
_POWERSHELLS = frozenset({"pwsh", "powershell"})
# Programs that run the program that follows their own options.
_WRAPPERS = frozenset(
    {
        *("env", "sudo", "doas", "su", "runuser", "gosu", "su-exec", "setpriv", "chpst", "chroot"),
        *("unshare", "nsenter", "systemd-run", "nice", "ionice", "chrt", "taskset", "timeout"),
        *("nohup", "setsid", "stdbuf", "unbuffer", "time", "xargs", "flock", "script", "strace"),
        *("ltrace", "busybox", "toybox", "tini", "dumb-init", "sshpass", "docker", "podman"),
        *("docker-compose", "podman-compose"),
        *("nerdctl", "kubectl", "oc", "lxc", "bundle", "poetry", "pipenv", "uv", "pdm", "hatch"),
        *("conda", "npx", "npm", "nix", "direnv", "aws-vault", "op", "doppler", "sops", "chamber"),
    }
)
# These take a shell's text after `-c`, beside at most one operand; and such of their options that
# another value follows.
_WITH_COMMAND = frozenset({"su", "runuser", "script", "flock", "sg", "npx", "npm", "nix-shell"})
_WITH_VALUE = "wEgGs"
# docker(1): the program that the image runs.
_ENTRYPOINT = "--entrypoint="
_COMMAND_OPTIONS = ("--command", "--session-command", "--call", "--run")
_VERSION = re.compile(r"[0-9.]+(\.exe)?$|\.exe$")


class _Interpreter(NamedTuple):
    """`code`: letters, or the long names, of options that code follows; `takes`: letters of options
    that another value follows, `may_take`: at once or not at all; `ends`: letters after which
    nothing is an option any more. `first`: without such an option, or one of `file`, the first
    operand is code."""

    code: str
    long: tuple[str, ...] = ()
    takes: str = ""
    may_take: str = ""
    ends: str = ""
    first: bool = False
    file: str = ""


_NONE = _Interpreter("")
_NODE = _Interpreter("ep", ("--eval", "--print"), takes="rC")
_SED = _Interpreter("e", ("--expression",), "fl", "i", first=True, file="f")
_AWK = _Interpreter("e", ("--source",), takes="FvfiE", first=True, file="fE")
_INTERPRETERS = {
    **dict.fromkeys(("python", "pypy"), _Interpreter("c", takes="WXm", ends="cm")),
    "perl": _Interpreter("eEMm", takes="I", may_take="iFxDVC"),
    "ruby": _Interpreter("e", takes="rICE", may_take="FiKTWx"),
    **dict.fromkeys(("node", "nodejs", "bun", "tsx"), _NODE),
    "php": _Interpreter("rBRE", ("--run", "--process-begin", "--process-code"), takes="cdfzt"),
    **dict.fromkeys(("lua", "luajit"), _Interpreter("e", takes="lj")),
    "julia": _Interpreter("eE", ("--eval", "--print"), takes="JptL"),
    **dict.fromkeys(("elixir", "iex"), _Interpreter("e", ("--eval", "--rpc-eval"), takes="rS")),
    **dict.fromkeys(("Rscript", "R", "groovy", "osascript", "expect"), _Interpreter("ec")),
    **dict.fromkeys(("awk", "gawk", "mawk", "nawk"), _AWK),
    **dict.fromkeys(
        ("sed", "gsed"), _Interpreter("e", ("--expression",), "fl", "i", first=True, file="f")
    ),
    "env": _Interpreter("S", ("--split-string",), takes="uC"),
}
# ssh(1): what follows the destination is joined and read by the shell of the other machine.
_SSH_TAKES = "BbcDEeFIiJLlmOopQRSWw"


class Code(NamedTuple):
    """`position` of the argument; `program`: the one that reads it as code."""

    position: int
    program: str

    @property
    def is_shell(self) -> bool:
        return self.program in _SHELLS | _WITH_COMMAND

    @property
    def is_remote(self) -> bool:
        return self.program == "ssh"


def code_in(argv: Sequence[str]) -> Iterator[Code]:
    """The arguments that are code, behind whatever `env`, `sudo` or `timeout` stand before."""
    wrapped = _name(argv[0]) in _WRAPPERS
    found: set[int] = set()
    for start, argument in enumerate(argv):
        name = _name(argument.removeprefix(_ENTRYPOINT))
        runs = start == 0 or wrapped or argv[start - 1] == "--"
        for index in _code_of(name, argv, start, runs=runs):
            if index < len(argv) and index not in found:
                found.add(index)
                yield Code(index, name)


def _name(argument: str) -> str:
    name = PurePath(argument).name
    return name if name in _SHELLS | _WRAPPERS else _VERSION.sub("", name)


def _code_of(name: str, argv: Sequence[str], start: int, *, runs: bool) -> Iterator[int]:
    """`runs`: a program of that name is run there; otherwise it may be a word like any other, which
    the names of shells are not."""
    if argv[start].startswith(_ENTRYPOINT) or argv[start - 1] == _ENTRYPOINT[:-1]:
        if name in _SHELLS or "c" in _INTERPRETERS.get(name, _NONE).code:
            yield from _of_entrypoint(argv, start + 1)
        return
    if name in _SHELLS:
        yield from _of_shell(argv, start + 1)
    elif name in _POWERSHELLS:
        yield from _of_powershell(argv, start + 1)
    if not runs:
        return
    if name in _INTERPRETERS:
        yield from _of_interpreter(_INTERPRETERS[name], argv, start + 1)
    elif name == "ssh":
        yield from _of_ssh(argv, start + 1)
    if name in _WITH_COMMAND:
        yield from _after_command_option(argv, start + 1)


def _of_shell(argv: Sequence[str], at: int) -> Iterator[int]:
    """The first operand, if one of the options before it has a `c`."""
    given = False
    while at < len(argv) and argv[at][:1] in ("-", "+") and argv[at] not in ("-", "--"):
        option = argv[at]
        if option.startswith("--"):
            if option.startswith(("--command=", "--init-command=")):
                yield at
            given = given or option in ("--command", "--init-command")
            at += option in ("--rcfile", "--init-file")
        else:
            letters = re.split(r"[^A-Za-z]", option[1:], maxsplit=1)[0]
            given = given or bool({"c", "C"} & set(letters))
            if given and letters != option[1:]:
                yield at  # fish takes the text in the same argument
            at += bool({"o", "O"} & set(letters))
        at += 1
    if given:
        yield at + (at < len(argv) and argv[at] in ("-", "--"))


def _of_entrypoint(argv: Sequence[str], at: int) -> Iterator[int]:
    """The program's own options come after those of docker and the image."""
    for index in range(at, len(argv)):
        if re.fullmatch(r"-[A-Za-z]*c", argv[index]):
            yield index + 1


def _of_powershell(argv: Sequence[str], at: int) -> Iterator[int]:
    """All that follows `-Command`, which may be shortened. A script takes what follows it."""
    for index in range(at, len(argv)):
        option = argv[index].lower().lstrip("-/")
        if option.endswith(".ps1"):
            return
        if argv[index][:1] in "-/" and option and "commandwithargs".startswith(option):
            yield from range(index + 1, len(argv))
            return


def _of_interpreter(it: _Interpreter, argv: Sequence[str], at: int) -> Iterator[int]:
    first = it.first
    while at < len(argv) and argv[at].startswith("-") and argv[at] not in ("-", "--"):
        name, equals, _ = argv[at].partition("=")
        if name in it.long or (name.startswith("--") and name[2:] in it.code):
            first = False
            at += not equals
            yield at
        elif not name.startswith("--"):
            letter, attached = _letter_with_value(it, argv[at])
            first = first and letter not in (*it.code, *it.file)
            at += bool(letter) and not attached
            if letter and letter in it.code:
                yield at
            if letter and letter in it.ends:
                return
        at += 1
    if first:
        yield at + (at < len(argv) and argv[at] == "--")


def _letter_with_value(it: _Interpreter, option: str) -> tuple[str, bool]:
    """The first letter of the option that a value follows, and whether it does so at once."""
    for index, letter in enumerate(option[1:], 1):
        if letter in it.may_take:
            break
        if letter in it.code:
            return letter, bool(option[index:].lstrip(it.code))  # -pe of node
        if letter in it.takes:
            return letter, index + 1 < len(option)
    return "", False


def _of_ssh(argv: Sequence[str], at: int) -> Iterator[int]:
    while at < len(argv) and argv[at].startswith("-") and argv[at] != "--":
        option = argv[at]
        letter = next((one for one in option[1:] if one in _SSH_TAKES), "")
        at += bool(letter) and option.index(letter) == len(option) - 1
        if letter == "o":
            yield at
        at += 1
    yield from range(at + 1, len(argv))


def _after_command_option(argv: Sequence[str], at: int) -> Iterator[int]:
    operands = 0
    while at < len(argv) and operands <= 1:
        option, equals, _ = argv[at].partition("=")
        if option in _COMMAND_OPTIONS:
            yield at if equals else at + 1
        elif re.fullmatch(r"-[a-z]*c", option):
            yield at + 1
        operands += not option.startswith("-")
        at += 2 if re.fullmatch(rf"-[a-z]*[{_WITH_VALUE}]", option) else 1
