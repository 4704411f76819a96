"""What a run printed, converted to text that a page can show; webhook.web.pages.deployment.log
makes lines of it, with their colours.

Source: ECMA-48 (control sequences) and xterm's "Control Sequences" (titles and links).
Units: bytes.

Output comes in pieces that end anywhere. Cutting only where nothing is unfinished makes the text
the same wherever the pieces end, and every cut is an offset to continue from.
"""

import re
from codecs import getincrementaldecoder

_TITLE = rb"[^\x07\x1b\n]{0,2000}"
_STRING = rb"[^\x1b\n]{0,2000}"
_SEQUENCE = re.compile(
    rb"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]"
    rb"|\]" + _TITLE + rb"(?:\x07|\x1b\\)"
    rb"|[PX^_]" + _STRING + rb"\x1b\\"
    rb"|[ -/]{0,8}[0-OQ-WYZ\\`-~])"
)
# A carriage return waits too: a line feed may follow.
_UNFINISHED = re.compile(
    rb"(?:\r|\x1b(?:\[[0-?]{0,64}[ -/]{0,8}|\]" + _TITLE + rb"\x1b?"
    rb"|[PX^_]" + _STRING + rb"\x1b?|[ -/]{0,8})?)\Z"
)
# Longer than any sequence that the patterns take.
_LONGEST = 2100

# Other control characters are shown as their pictures; marks that turn the direction of text
# around could make one line look like another.
_HARMLESS: dict[int, str] = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: "\N{SYMBOL FOR DELETE}",
    **dict.fromkeys(
        [*range(0x80, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A)],
        "\N{REPLACEMENT CHARACTER}",
    ),
}
_HARMLESS_IN_LINES = {code: sign for code, sign in _HARMLESS.items() if code not in (0x08, 0x0D)}
# Looking for one is quicker than `translate` of what has none.
_HARMFUL = re.compile(f"[{re.escape(''.join(map(chr, _HARMLESS)))}]")


def take(raw: bytes, *, final: bool = False) -> tuple[str, int]:
    """The text of the finished part of `raw`, and how many bytes that is; all of it if `final`."""
    used = len(raw) if final else len(raw) - _unfinished(raw)
    # Each part between sequences is decoded by itself: bytes around one do not belong together.
    return "".join(_decoded(part) for part in _SEQUENCE.split(raw[:used])), used


def take_pieces(raw: bytes, *, final: bool = False) -> tuple[list[str], int]:
    """As `take`, but text and sequences alternate, the first is text, and in texts carriage returns
    and backspaces are what they are."""
    used = len(raw) if final else len(raw) - _unfinished(raw)
    pieces, at = [], 0
    for match in _SEQUENCE.finditer(raw, 0, used):
        pieces += [_moving(raw[at : match.start()]), match[0].decode("latin-1")]
        at = match.end()
    return [*pieces, _moving(raw[at:used])], used


def plain_lines(raw: bytes) -> str:
    """The text of whole lines, as of `take_pieces`, but quickly."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        # Without a sequence, bytes on both sides of it could seem to be one character.
        return harmless("".join(take_pieces(raw, final=True)[0][::2]))
    return harmless(_SEQUENCE.sub(b"", raw).decode())


def _moving(part: bytes) -> str:
    text = part.decode("utf-8", errors="replace").replace("\r\n", "\n")
    return text.translate(_HARMLESS_IN_LINES)


def harmless(text: str) -> str:
    return text.translate(_HARMLESS) if _HARMFUL.search(text) else text


def whole_part(raw: bytes) -> bytes:
    """Without what is unfinished at its end."""
    return raw[: len(raw) - _unfinished(raw)]


def _unfinished(raw: bytes) -> int:
    tail = raw[-_LONGEST:]
    match = _UNFINISHED.search(tail)
    if match:
        return len(tail) - match.start()
    decoder = getincrementaldecoder("utf-8")("replace")
    decoder.decode(raw[-4:])
    return len(decoder.getstate()[0])


def _decoded(part: bytes) -> str:
    text = part.decode("utf-8", errors="replace")
    return harmless(text.replace("\r\n", "\n").replace("\r", "\n"))
