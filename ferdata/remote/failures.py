"""Failures of services behind a URL: which may pass, what to call them, and what to do about the others.

In: an error of whatever library speaks to the service. Out: a decision, or one line without the address.
"""

import re
import socket
import ssl
from collections.abc import Iterator

__all__ = ["PASSING", "IncompleteAnswerError", "advice", "is_passing", "is_unknown_host", "reason"]

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be others when the same is asked again."""

_REFUSED = {
    401: "the server wants credentials, or others: check those in the address or the environment",
    403: "the credentials do not permit this, or there are none: check them, and the permissions of the file or bucket",
}
_PASSING_NAMES = {
    "ClientConnectionError",  # aiohttp
    "ClientPayloadError",
    "ServerTimeoutError",
    "HTTPClientError",  # botocore
    "EndpointConnectionError",
    "ConnectTimeoutError",
    "ProxyConnectionError",
    "ServiceRequestError",  # Azure
    "ServiceResponseError",
    "IncompleteReadError",
    "ResponseStreamingError",
    "HTTPException",  # http.client
    "ProtocolError",  # urllib3
    "ChunkedEncodingError",  # requests
}
"""Connection errors that are not an OSError; by name, since the libraries may not be installed."""
_ADDRESS = re.compile(r'(?: (?:to|on|for)(?: the)? endpoint URL:?)? "?\w+://[^\s"]*"?')
"""What libraries say of where it happened; whoever shows a reason says that by itself."""
_LASTING = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)


class IncompleteAnswerError(OSError):
    """The bytes that arrived are not those that were asked for."""


def is_passing(error: BaseException) -> bool:
    """Tell whether what failed so may succeed a moment later."""
    if (status := _status(error)) is not None:
        return status in PASSING
    if isinstance(error, _LASTING) or any(isinstance(each, ssl.SSLCertVerificationError) for each in _origins(error)):
        return False
    return isinstance(error, (OSError, EOFError)) or any(
        kind.__name__ in _PASSING_NAMES for kind in type(error).__mro__
    )


def is_unknown_host(error: BaseException) -> bool:
    """Tell whether the host's name is unknown: mistyped, unless it has answered before."""
    return any(isinstance(each, socket.gaierror) and each.errno == socket.EAI_NONAME for each in _origins(error))


def reason(error: BaseException) -> str:
    """Return in one line what went wrong, with the server's own code if it gave one, and without the address."""
    for each in _chain(error):
        answer = getattr(each, "response", None)
        if isinstance(answer, dict) and isinstance(answer.get("Error"), dict):
            status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
            code, message = (str(answer["Error"].get(name, "")) for name in ("Code", "Message"))
            code = "" if code == str(status) else f"{code} "  # of an answer without a body, botocore repeats it
            return f"{code}(HTTP {status}) {message}".strip().rstrip(".")
        if (status := _own_status(each)) is not None:
            return f"HTTP {status} {getattr(each, 'message', '')}".strip().rstrip(".")
    lines = _ADDRESS.sub("", str(getattr(error, "strerror", None) or error)).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def advice(error: BaseException) -> str:
    """Return what to do about an error in reading."""
    if (status := _status(error)) in _REFUSED:
        return _REFUSED[status]
    if isinstance(error, PermissionError):
        return "check the permissions and, behind a URL, the credentials"
    if any("Credentials" in type(each).__name__ for each in _chain(error)):
        return _REFUSED[401]
    if is_unknown_host(error):
        return "check the host's name, and the network"
    return "check it and try again"


def _status(error: BaseException) -> int | None:
    return next((status for each in _chain(error) if (status := _own_status(each)) is not None), None)


def _own_status(error: BaseException) -> int | None:
    """Return the HTTP status behind an error of aiohttp, botocore, or Google's or Microsoft's libraries."""
    if type(error).__module__ == "aiohttp.http_exceptions":
        return None  # an answer that cannot be parsed: the code is aiohttp's, not the server's
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        status = next(
            (value for name in ("status", "status_code", "code") if (value := getattr(error, name, None)) is not None),
            None,
        )
    return status if isinstance(status, int) and 400 <= status < 600 else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes: libraries wrap what their service said."""
    each: BaseException | None = error
    for _ in range(8):
        if each is None:
            return
        yield each
        each = each.__cause__


def _origins(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what was being handled when it was raised: what the operating system said is among them."""
    each: BaseException | None = error
    for _ in range(12):
        if each is None:
            return
        yield each
        each = each.__cause__ or each.__context__
