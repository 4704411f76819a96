"""The patterns of `${NAME#pattern}` and its kin: Go's path.Match, in which `*` and `?` also stand
for a slash here.

Source: github.com/drone/envsubst, v1.0.3, path/match.go and funcs.go.
"""

from collections.abc import Callable, Sequence

# None stands for `*`.
_Token = Callable[[str], bool] | None


def without_prefix(text: str, pattern: str, *, longest: bool) -> str:
    """Without the longest or the shortest beginning that matches, which is never empty."""
    tokens = _tokens(pattern)
    if tokens is None:
        return text
    lengths = range(len(text), 0, -1) if longest else range(1, len(text) + 1)
    cut = next((length for length in lengths if _matches(tokens, text[:length])), 0)
    return text[cut:]


def without_suffix(text: str, pattern: str, *, longest: bool) -> str:
    """As there: the text and the pattern are turned round, and the result once more."""
    return without_prefix(text[::-1], pattern[::-1], longest=longest)[::-1]


def _tokens(pattern: str) -> list[_Token] | None:
    """None: the pattern is malformed."""
    tokens: list[_Token] = []
    rest = pattern
    while rest:
        one, rest = rest[0], rest[1:]
        match one:
            case "*":
                tokens.append(None)
            case "?":
                tokens.append(bool)
            case "[":
                found = _set(rest)
                if found is None:
                    return None
                token, rest = found
                tokens.append(token)
            case "\\" if not rest:
                return None
            case "\\":
                tokens.append(rest[0].__eq__)
                rest = rest[1:]
            case _:
                tokens.append(one.__eq__)
    return tokens


def _set(rest: str) -> tuple[_Token, str] | None:
    """What is behind [, up to its ], and the rest."""
    negated = rest.startswith("^")
    rest = rest.removeprefix("^")
    ranges: list[tuple[str, str]] = []
    while not (ranges and rest.startswith("]")):
        low = _member(rest)
        if low is None:
            return None
        high, rest = low
        begin = high
        if rest.startswith("-"):
            upper = _member(rest[1:])
            if upper is None:
                return None
            high, rest = upper
        ranges.append((begin, high))
        if not rest:
            return None

    def token(one: str) -> bool:
        return any(low <= one <= high for low, high in ranges) is not negated

    return token, rest[1:]


def _member(rest: str) -> tuple[str, str] | None:
    if rest[:1] in ("", "-", "]"):
        return None
    rest = rest.removeprefix("\\")
    return (rest[0], rest[1:]) if rest else None


def _nothing(one: str) -> bool:
    return False


def _matches(tokens: Sequence[_Token], text: str) -> bool:
    """All of the text; only the last `*` has to be tried again, so that it takes no long time."""
    at = position = 0
    star, tried = -1, 0
    while position < len(text):
        token = tokens[at] if at < len(tokens) else _nothing
        if token is None:
            star, tried, at = at, position, at + 1
        elif token(text[position]):
            at, position = at + 1, position + 1
        elif star >= 0:
            tried += 1
            at, position = star + 1, tried
        else:
            return False
    return all(token is None for token in tokens[at:])
