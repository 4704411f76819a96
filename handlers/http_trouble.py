"""What a call that got no answer means, and what is said of it: the remedy before the details.

Source: aiohttp 3.14, `client.py` and `connector.py`, for what it raises when; OpenSSL's
`x509_vfy.h` for its numbers.
"""

import os

import aiohttp
from yarl import URL

from handlers.errors import Unavailable, UnknownOutcome
from handlers.http_answer import CHECK, host_of

TRUST_IT = "let the relay trust its authority"
SET_CA = "set `ca` in deploy.yml to its authority"

_CERTIFICATES = {
    9: "certificate not valid yet; check its clock and the relay's",
    10: "expired certificate; renew it there",
    62: f"certificate of another host; {CHECK}",
    64: f"certificate of another host; {CHECK}",
}


class Broken(Exception):
    """A connection that broke, under a name by which aiohttp does not repeat the request."""


def no_answer(tool: str, url: URL, error: Exception, untrusted: str) -> Unavailable:
    """`untrusted` is the remedy where nobody here vouches for the tool's certificate."""
    name = f"{tool} at {host_of(url)}"
    if isinstance(error, aiohttp.ClientSSLError):
        return Unavailable(f"no safe connection to {name}: {_of_tls(error, untrusted)}")
    if isinstance(error, ValueError):  # aiohttp.InvalidURL and UnicodeError among them
        return Unavailable(
            f"{name} cannot be called: put its address, or a header (a token with a line break?),"
            " right in deploy.yml"
        )
    if why := _not_reached(error):
        return Unavailable(f"{name} cannot be reached: {why}")
    if isinstance(error, TimeoutError):
        return UnknownOutcome(f"{name} did not answer in time")
    return UnknownOutcome(f"{name} gave no whole answer{_broken_off(error, url)}")


def _of_tls(error: aiohttp.ClientSSLError, untrusted: str) -> str:
    inner = getattr(error, "certificate_error", None) or error.os_error
    if message := getattr(inner, "verify_message", ""):
        code = getattr(inner, "verify_code", 0)
        return f"{_CERTIFICATES.get(code) or f'untrusted certificate; {untrusted}'} ({message})"
    reason = (getattr(inner, "reason", "") or "TLS failed").lower().replace("_", " ")
    return f"check scheme and port in deploy.yml ({reason})"


def _not_reached(error: Exception) -> str:
    match error:
        case aiohttp.ClientProxyConnectionError():
            return "no connection to the proxy; check the relay's HTTPS_PROXY and HTTP_PROXY"
        case aiohttp.ClientConnectorDNSError():
            return f"its name cannot be resolved; {CHECK}"
        case aiohttp.ClientConnectorError():
            # Not `strerror`, in which asyncio writes the address once more.
            number = error.os_error.errno or 0
            why = os.strerror(number).lower() if number > 0 else "no connection"
            return f"{why}; {CHECK}, and that it is up"
        case aiohttp.ConnectionTimeoutError():
            return f"no connection in time; {CHECK}, and firewalls"
        case aiohttp.ClientHttpProxyError():
            return f"the proxy answers {error.status}; check the relay's HTTPS_PROXY and NO_PROXY"
    return ""


def _broken_off(error: Exception, url: URL) -> str:
    wants_tls = "; should its address begin with https://?" if url.scheme == "http" else ""
    match error:
        case Broken():
            return f" ({error}){wants_tls}"
        case aiohttp.ClientResponseError():
            return f" (this is not HTTP){wants_tls or '; check scheme and port in deploy.yml'}"
    return " (it broke off in the middle)"
