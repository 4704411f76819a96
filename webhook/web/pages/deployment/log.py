"""What a run printed as lines of HTML: numbers to link to, colours, and progress bars as a terminal
shows them.

Source: ECMA-48, 8.3.117 "SGR" and 8.3.41 "EL"; xterm's "Control Sequences" (256 and direct colours,
which become the nearest of the sixteen, whose contrast is known: static/tokens.css).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from html import escape
from itertools import groupby

from webhook.web.pages.terminal_text import harmless, plain_lines, take_pieces

# Characters of a line that are shown: its last ones.
LONGEST_LINE = 16 * 1024
_SGR = re.compile(r"\x1b\[([0-9;:]{0,64})m")
_ERASE_REST = re.compile(r"\x1b\[0?K")
_ERASE_ALL = re.compile(r"\x1b\[2K")  # it stands beside a carriage return
_MOVE = re.compile(r"[\r\b]")
# What changes characters that are there already; without any, a line is the text that is printed.
_MOVES = (b"\r", b"\b", b"\x1b[2K")
# Of what was there before, nothing is left.
_EMPTIES = (b"\r\x1b[K", b"\r\x1b[2K", b"\x1b[2K\r")
_GREYS = (0, 8, 7, 15)


@dataclass(frozen=True, slots=True)
class Style:
    """`front`, `back`: one of sixteen colours; None: the terminal's own."""

    front: int | None = None
    back: int | None = None
    bold: bool = False
    faint: bool = False
    italic: bool = False
    underline: bool = False
    strike: bool = False
    inverse: bool = False


PLAIN = Style()
_ON: dict[int, dict[str, bool]] = {
    1: {"bold": True},
    2: {"faint": True},
    3: {"italic": True},
    4: {"underline": True},
    7: {"inverse": True},
    9: {"strike": True},
    21: {"underline": True},
    22: {"bold": False, "faint": False},
    23: {"italic": False},
    24: {"underline": False},
    27: {"inverse": False},
    29: {"strike": False},
}


@lru_cache(maxsize=256)
def classes_of(style: Style) -> str:
    """Text on a coloured ground is dark, whatever colour it asks for."""
    front, back = style.front, style.back
    if style.inverse:
        front, back = back, front
    names = []
    if back is not None:
        names.append(f"bg{back}")
    elif style.inverse:
        names.append("iv")
    elif front is not None:
        names.append(f"fg{front}")
    flags = {"bo": style.bold, "fa": style.faint, "it": style.italic, "un": style.underline}
    names += [name for name, on in {**flags, "st": style.strike}.items() if on]
    return " ".join(names)


@lru_cache(maxsize=1024)
def styled(style: Style, parameters: str) -> Style:
    """After `CSI parameters m`."""
    numbers = [int(one) if one else 0 for one in re.split("[;:]", parameters)]
    at = 0
    while at < len(numbers):
        code = numbers[at]
        if code in (38, 48, 58):
            colour, taken = _extended(numbers[at + 1 :])
            at += taken
            if code != 58:
                style = replace(style, front=colour) if code == 38 else replace(style, back=colour)
        else:
            style = _changed(style, code)
        at += 1
    return style


def _changed(style: Style, code: int) -> Style:
    if code == 0:
        return PLAIN
    if code in _ON:
        return replace(style, **_ON[code])
    tens, ones = divmod(code, 10)
    bright = 8 if tens in (9, 10) else 0
    if tens in (3, 9) and ones < 8:
        return replace(style, front=bright + ones)
    if tens in (4, 10) and ones < 8:
        return replace(style, back=bright + ones)
    if code in (39, 49):
        return replace(style, front=None) if code == 39 else replace(style, back=None)
    return style


def _extended(numbers: list[int]) -> tuple[int | None, int]:
    """The colour, and how many numbers it takes."""
    if numbers[:1] == [5] and len(numbers) > 1:
        return _of_256(numbers[1]), 2
    if numbers[:1] == [2] and len(numbers) > 3:
        return _nearest(*numbers[1:4]), 4
    return None, len(numbers)


def _of_256(number: int) -> int | None:
    if number < 16:
        return number
    if number > 255:
        return None
    if number >= 232:
        return _GREYS[(number - 232) // 6]
    cube = number - 16
    return _nearest(*(51 * one for one in (cube // 36, cube // 6 % 6, cube % 6)))


def _nearest(red: int, green: int, blue: int) -> int:
    most, least = max(red, green, blue), min(red, green, blue)
    if most - least < 40:
        return _GREYS[min(3, most // 64)]
    middle = (most + least) / 2
    hue = (red > middle) + 2 * (green > middle) + 4 * (blue > middle)
    return hue + (8 if most > 192 and least > 80 else 0)


@dataclass(slots=True)
class _Line:
    """Characters with their classes, and the column where it goes on. Each change takes no longer
    than what is written, whatever is printed."""

    text: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    column: int = 0
    cut: bool = False

    def write(self, classes: str, text: str) -> None:
        end = self.column + len(text)
        self.text[self.column : end] = text
        self.classes[self.column : end] = [classes] * len(text)
        self.column = end
        if len(self.text) > 2 * LONGEST_LINE:
            self._cut()

    def back(self, columns: int) -> None:
        self.column = max(0, self.column - columns)

    def erase_rest(self) -> None:
        del self.text[self.column :]
        del self.classes[self.column :]

    def _cut(self) -> None:
        over = len(self.text) - LONGEST_LINE
        del self.text[:over]
        del self.classes[:over]
        self.column, self.cut = max(0, self.column - over), True

    def plain(self) -> str:
        if len(self.text) > LONGEST_LINE:
            self._cut()
        return "".join(["…", *self.text] if self.cut else self.text)

    def html(self) -> str:
        if len(self.text) > LONGEST_LINE:
            self._cut()
        shown, at = ["…"] if self.cut else [], 0
        for classes, group in groupby(self.classes):
            end = at + sum(1 for _ in group)
            text = escape("".join(self.text[at:end]))
            shown.append(f'<span class="{classes}">{text}</span>' if classes else text)
            at = end
        return "".join(shown)


class Log:
    """Lines from any point on. `begun`: what is printed next continues a line."""

    def __init__(self, shown: Callable[[_Line], str] = _Line.html) -> None:
        self._shown = shown
        self._line = _Line()
        self._style = PLAIN
        self.begun = False

    def add(self, raw: bytes, *, final: bool = False) -> tuple[list[str], int]:
        """HTML of the line that was begun, and of what follows, as far as it is finished; and how
        many bytes that is."""
        continued = self.begun
        pieces, used = take_pieces(raw, final=final)
        lines: list[str] = []
        for index, piece in enumerate(pieces):
            if index % 2:
                self._control(piece)
            elif piece:
                first, *rest = piece.split("\n")
                self._print(first)
                for one in rest:
                    lines.append(self._shown(self._line))
                    self._line = _Line()
                    self._print(one)
        self.begun = bool(self._line.text) or (continued and not lines)
        return [*lines, self._shown(self._line)] if self.begun else lines, used

    def _control(self, sequence: str) -> None:
        if found := _SGR.fullmatch(sequence):
            self._style = styled(self._style, found[1])
        elif _ERASE_ALL.fullmatch(sequence):
            self._line.back(self._line.column)
            self._line.erase_rest()
        elif _ERASE_REST.fullmatch(sequence):
            self._line.erase_rest()

    def _print(self, text: str) -> None:
        at = 0
        for move in _MOVE.finditer(text):
            self._write(text[at : move.start()])
            self._line.back(self._line.column if move[0] == "\r" else 1)
            at = move.end()
        self._write(text[at:])

    def _write(self, text: str) -> None:
        if text:
            self._line.write(classes_of(self._style), text)


def plain(raw: bytes) -> str:
    """Whole lines as text: as `Log` shows them, without its colours."""
    raw = raw.replace(b"\r\n", b"\n")
    if not _changes_itself(raw):
        return plain_lines(raw)
    lines = raw.split(b"\n")
    return "\n".join(_final(one) if _changes_itself(one) else plain_lines(one) for one in lines)


def _changes_itself(raw: bytes) -> bool:
    return any(one in raw for one in _MOVES)


def _final(line: bytes) -> str:
    """What is left of it. Progress bars are long, so the usual ones are not written bit by bit."""
    line = line[max(0, *(line.rfind(one) for one in _EMPTIES)) :]
    if b"\x1b" in line or b"\b" in line:
        return "".join(Log(_Line.plain).add(line, final=True)[0])
    shown = ""
    for part in reversed(line.decode(errors="replace").split("\r")):
        shown += part[len(shown) :]
    return harmless(shown)
