"""What went wrong at a remote store, in one line, and whether another request may succeed."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from segkit.errors import LocationError

Reason = Literal[
    "missing", "forbidden", "no-credentials", "no-bucket", "wrong-region", "unreachable", "incomplete", "failing",
    "refused",
]  # fmt: skip

_CODES: dict[str, Reason] = {
    "NoSuchBucket": "no-bucket", "InvalidBucketName": "no-bucket",
    "NoSuchKey": "missing", "404": "missing", "NotFound": "missing", "NoSuchVersion": "missing",
    "AccessDenied": "forbidden", "403": "forbidden", "Forbidden": "forbidden", "InvalidAccessKeyId": "forbidden",
    "SignatureDoesNotMatch": "forbidden", "ExpiredToken": "forbidden", "InvalidToken": "forbidden",
    "AllAccessDisabled": "forbidden", "AccountProblem": "forbidden", "RequestTimeTooSkewed": "forbidden",
    "401": "forbidden",
    "PermanentRedirect": "wrong-region", "AuthorizationHeaderMalformed": "wrong-region", "301": "wrong-region",
    "IllegalLocationConstraintException": "wrong-region", "307": "wrong-region",
    "InvalidRange": "incomplete", "IncompleteBody": "incomplete", "BadDigest": "incomplete",
    "RequestTimeout": "failing",
    "SlowDown": "failing", "Throttling": "failing", "RequestLimitExceeded": "failing", "InternalError": "failing",
    "ServiceUnavailable": "failing",
}  # fmt: skip
"""Error codes of S3 (and its status codes, where an answer to HEAD has no body) and what they mean."""

_OF_STORE: tuple[Reason, ...] = ("no-credentials", "no-bucket", "wrong-region", "unreachable")
"""Faults of a whole store, whose messages name the URL that a person typed rather than a file in it."""

_PASSING = ("unreachable", "incomplete", "failing")

_NAMES: dict[str, Reason] = {
    "NoCredentialsError": "no-credentials", "PartialCredentialsError": "no-credentials",
    "CredentialRetrievalError": "no-credentials", "ProfileNotFound": "no-credentials",
    "EndpointConnectionError": "unreachable", "ConnectTimeoutError": "unreachable",
    "ConnectionClosedError": "incomplete",
    "ClientConnectorError": "unreachable", "ClientConnectorDNSError": "unreachable", "ConnectionError": "unreachable",
    "ConnectTimeout": "unreachable", "NewConnectionError": "unreachable", "OfflineModeIsEnabled": "refused",
    "ConnectError": "unreachable", "ReadError": "incomplete", "RemoteProtocolError": "incomplete",
    "ReadTimeoutError": "failing", "ReadTimeout": "failing",
    "FSTimeoutError": "failing",
    "ServerTimeoutError": "failing",
    "SocketTimeoutError": "failing", "AIOHTTPTimeoutError": "failing",
    "ClientPayloadError": "incomplete", "ServerDisconnectedError": "incomplete", "ResponseStreamingError": "incomplete",
    "IncompleteRead": "incomplete", "ChunkedEncodingError": "incomplete", "ProtocolError": "incomplete",
    "ClientOSError": "incomplete", "HTTPClientError": "incomplete", "ContentLengthError": "incomplete",
    "ChecksumError": "incomplete", "FlexibleChecksumError": "incomplete", "ResponseParserError": "incomplete",
    "InvalidURL": "refused", "SSLError": "refused", "ClientConnectorCertificateError": "refused",
    "ParamValidationError": "refused",
}  # fmt: skip
"""Exceptions of aiohttp, botocore, requests, httpx and huggingface_hub by name: they need not be installed."""


@dataclass(frozen=True)
class Fault:
    """What went wrong at a store.

    Attributes:
        reason: the kind of fault.
        message: what was found and what to do next, as sentences.
        wait: seconds that the store asked to wait.
    """

    reason: Reason
    message: str
    wait: float = 0.0

    @property
    def passes(self) -> bool:
        """Whether another request may succeed."""
        return self.reason in _PASSING

    def error(self, attempts: int = 1) -> LocationError:
        """Return the error to raise after this many requests."""
        times = f" ({attempts} attempts)" if attempts > 1 else ""
        return LocationError(self.reason, self.message.replace("{times}", times))


class IncompleteError(Exception):
    """Fewer or other bytes arrived than the store announced. No OSError: it is not the disk that failed."""


class NoBucketError(Exception):
    """The bucket of a URL does not exist."""


_TYPES: tuple[tuple[tuple[type[Exception], ...], Reason], ...] = (
    ((NoBucketError,), "no-bucket"),
    ((IncompleteError, EOFError), "incomplete"),
    ((FileNotFoundError, IsADirectoryError, NotADirectoryError), "missing"),
    ((PermissionError,), "forbidden"),
    ((TimeoutError,), "failing"),
    ((ConnectionRefusedError,), "unreachable"),
    ((ConnectionError,), "incomplete"),
    ((OSError,), "refused"),
)


def fault_of(error: Exception, url: str, root: str = "") -> Fault | None:
    """Return what an exception of a store's library means; None if it is not the store's.

    Args:
        error: the exception.
        url: that of the file or folder, which may hold secrets: it is shown by `shown`.
        root: the URL that was typed, of which `url` is a part; "" if it is `url`.
    """
    chain = [*_chain(error)]
    answer = next((answer for item in chain if (answer := _answer(item))), {})
    code, status = _code(answer), _status(answer, chain)
    named: Reason | None = next((_NAMES[name] for item in chain for name in _kinds(item) if name in _NAMES), None)
    from_type: Reason | None = _of_type(error) if isinstance(error, NoBucketError | IncompleteError) else None
    reason = from_type or _CODES.get(code) or named or _of_status(status) or _of_type(error)
    if reason is None:
        return None
    is_hidden = "/." in url.removeprefix(root.rstrip("/"))  # a file that segkit keeps for itself
    place = root if root and (is_hidden or reason in _OF_STORE) else url
    return Fault(reason, _message(reason, place, error, _region(answer)), _wait(answer, chain))


def shown(url: str) -> str:
    """Return a URL for a message: without a password, and without a query, which may hold a signature."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _kinds(error: BaseException) -> list[str]:
    return [kind.__name__ for kind in type(error).__mro__ if kind.__module__ != "builtins"]


def _answer(error: BaseException) -> Mapping[str, Any]:
    """Return the parsed answer that botocore's ClientError carries."""
    answer = getattr(error, "response", None)
    return answer if isinstance(answer, Mapping) else {}


def _code(answer: Mapping[str, Any]) -> str:
    return str(answer.get("Error", {}).get("Code", ""))


def _status(answer: Mapping[str, Any], chain: list[BaseException]) -> int:
    """Return the HTTP status of an answer; 0 if there was none."""
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    for item in chain:
        response = getattr(item, "response", None)
        candidates = (status, getattr(item, "status", 0), getattr(response, "status_code", 0), getattr(item, "code", 0))
        status = next((value for value in candidates if isinstance(value, int) and 300 <= value < 600), 0)
        if status:
            return status
    return 0


def _of_status(status: int) -> Reason | None:
    if status in (401, 403):
        return "forbidden"
    if status in (404, 410):
        return "missing"
    if status in (408, 425, 429) or status >= 500:
        return "failing"
    if status == 416:  # the file is shorter than it was
        return "incomplete"
    return "refused" if status else None


def _of_type(error: Exception) -> Reason | None:
    return next((reason for kinds, reason in _TYPES if isinstance(error, kinds)), None)


def _region(answer: Mapping[str, Any]) -> str:
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = str(headers.get("x-amz-bucket-region") or answer.get("Error", {}).get("Region") or "")
    return region or "".join(re.findall(r"expecting '([\w-]+)'", str(answer.get("Error", {}).get("Message", ""))))


def _wait(answer: Mapping[str, Any], chain: list[BaseException]) -> float:
    """Return the seconds that the answer asks to wait, by S3's client or by requests; 0 if it does not."""
    headers = [answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})]
    headers += [getattr(getattr(item, "response", None), "headers", {}) for item in chain]
    value = next((str(item["retry-after"]) for item in headers if "retry-after" in item), "")
    return float(value) if value.isdecimal() else 0.0


def _message(reason: Reason, url: str, error: Exception, region: str) -> str:
    place, bucket = shown(url), urlsplit(url).netloc.rpartition("@")[2]
    detail = " ".join(str(error).split())[:200] or type(error).__name__
    messages: dict[Reason, str] = {
        "missing": f"{place} does not exist. Check the address.",
        "forbidden": f"Access to {place} is denied (403). Check the credentials and their rights; {_credentials(url)}.",
        "no-credentials": f"No credentials for {place}. Set them: {_credentials(url)}.",
        "no-bucket": f"The bucket {bucket} does not exist. Check the name in {place}, and the endpoint.",
        "wrong-region": f"The bucket {bucket} is in {f'the region {region}' if region else 'another region'}. "
        f"Set AWS_DEFAULT_REGION={region or '...'} and run the same command again.",
        "unreachable": f"{place} cannot be reached{{times}}. Check the network and the endpoint, and run the same "
        "command again.",
        "incomplete": f"{place} arrived incomplete{{times}}. Check the network and run the same command again.",
        "failing": f"{place}: the store does not answer, or reports an error of its own{{times}}. "
        "Run the same command again later.",
        "refused": f"{place}: the request failed ({detail}). Check the address and the settings of its service.",
    }
    return messages[reason]


def _credentials(url: str) -> str:
    return {
        "s3": "AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials",
        "gs": "gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS",
        "az": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or a SAS token",
        "hf": "hf auth login, or HF_TOKEN",
    }.get(urlsplit(url).scheme, "a signed URL, or ~/.netrc")
