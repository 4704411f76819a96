"""The JWT by which the App proves who it is.

Source: docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App". GitHub rejects one
that was issued in its future, or that expires in more than ten minutes, so it is written by
GitHub's own clock once this machine's has been found wrong. Units: seconds.
"""

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from math import floor

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from handlers import durations
from webhook.timing import Clock

# GitHub recommends sixty for clocks that are a little wrong.
ISSUED_BEFORE = timedelta(seconds=60)
LIFE = timedelta(minutes=9)
# A Date header has no fractions, and is a round trip old.
TOLERANCE = timedelta(seconds=5)
# What a proxy without a clock may write is no time of GitHub's.
PLAUSIBLE_YEARS = range(2020, 2200)


class AppJwt:
    """One for each call: signing takes a millisecond, and none that GitHub rejects is kept."""

    def __init__(self, issuer: str, private_key: RSAPrivateKey, clock: Clock) -> None:
        self._issuer = issuer
        self._private_key = private_key
        self._clock = clock
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        """By GitHub's clock, as far as that is known."""
        return self._clock() - self._ahead

    def new(self) -> str:
        issued = self.now() - ISSUED_BEFORE
        claims = {
            "iat": int(issued.timestamp()),
            "exp": int((issued + LIFE).timestamp()),
            "iss": self._issuer,
        }
        return jwt.encode(claims, self._private_key, algorithm="RS256")

    def learn(self, date: str) -> None:
        """Go by GitHub's clock from now on: `date` is the Date header of a response."""
        try:
            theirs = parsedate_to_datetime(date)
            ahead = self._clock() - theirs
        except (ValueError, TypeError, OverflowError):  # malformed, or without a time zone
            return
        if theirs.year not in PLAUSIBLE_YEARS:
            return
        self._ahead = ahead if abs(ahead) > TOLERANCE else timedelta(0)

    @property
    def clock_error(self) -> str:
        """How wrong this machine's clock is, as far as GitHub's responses showed it."""
        if not self._ahead:
            return ""
        seconds = floor(self._ahead.total_seconds())  # the header's are cut off
        written = f"{abs(seconds)} s" if abs(seconds) < 600 else durations.write(abs(seconds))
        return f"this machine's clock is {written} {'fast' if seconds > 0 else 'slow'}"
