"""What the operator reads when S3 does not do what it is asked: which bucket and key, and what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSLError,
)
from botocore.exceptions import ConnectionError as NotConnected
from botocore.parsers import ResponseParserError

from ooni_pipeline.errors import TransferError

_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, or ~/.aws/credentials"
_POLICY = "see README, The backup in S3, for the policy that it needs"
_CLOCK = "the clock here differs from the endpoint's: set it (timedatectl), then run it again"
_BUSY = "it is overloaded or down; nothing is lost, the next run goes on"
_NOT_SENT = "what arrived is not what was sent; run it again"
_ADVICE = {
    "InvalidAccessKeyId": f"it does not know the access key: look at {_KEYS}",
    "SignatureDoesNotMatch": f"the secret key is wrong: look at {_KEYS}",
    "ExpiredToken": f"the session token has expired: renew {_KEYS}",
    "InvalidToken": f"the session token is wrong: look at {_KEYS}",
    "AccessDenied": f"the access key may not do that: {_POLICY}",
    "403": f"it refuses the access key: {_POLICY}, and {_KEYS}",
    "NoSuchBucket": "there is no such bucket: make it, or mend [backup] url",
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "SlowDown": f"it asks to be asked less: lower [backup] connections; {_BUSY}",
    "ServiceUnavailable": _BUSY,
    "InternalError": _BUSY,
    "RequestTimeout": _BUSY,
    "500": _BUSY,
    "502": _BUSY,
    "503": _BUSY,
    "504": _BUSY,
    "BadDigest": _NOT_SENT,
    "XAmzContentSHA256Mismatch": _NOT_SENT,
    "PermanentRedirect": "the bucket is in another region: set [backup] region or endpoint_url",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set [backup] region",
    "IllegalLocationConstraintException": "the bucket is in another region: set [backup] region",
    "InvalidStorageClass": "it does not know [backup] storage_class",
    "NotImplemented": "it does not know this request",
    "KMS.NotFoundException": "it does not know the key of [backup] server_side_encryption",
    "QuotaExceeded": "there is no room left for this bucket",
    "EntityTooLarge": "the object is too large for it",
    "InsufficientStorage": "it has no room left",
}


def code_of(error: BaseException) -> str:
    """What S3 calls its refusal, such as NoSuchBucket; the HTTP status where it says nothing else."""
    if not isinstance(error, ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextlib.contextmanager
def told(where: str, doing: str) -> Iterator[None]:
    """Every error of boto3 in this block becomes one line: ``where`` names endpoint and bucket, ``doing``
    what was asked. It never quotes what the library says: that may hold a header or a URL with a secret."""
    try:
        yield
    except (BotoCoreError, ClientError, HTTPClientError, ResponseParserError) as error:
        raise TransferError(f"{where}: cannot {doing}: {_why(error)}") from None


def _why(error: BaseException) -> str:
    if isinstance(error, ClientError):
        code = code_of(error)
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
        named = code if code.replace(".", "").isalnum() else "an error without a name"
        advice = _ADVICE.get(code, _BUSY if str(status).startswith("5") else "")
        said = f"it answers {named}" + (f" ({status})" if str(status) not in ("", code) else "")
        return f"{said}: {advice}" if advice else said
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return f"there are no credentials: {_KEYS}"
    if isinstance(error, SSLError):
        return "its certificate is not trusted here: AWS_CA_BUNDLE names the file of another authority"
    if isinstance(error, (ConnectionClosedError, ReadTimeoutError)):
        return f"it does not answer, or closed the connection; {_BUSY}"
    if isinstance(error, (NotConnected, HTTPClientError)):
        return f"it cannot be reached: look at [backup] endpoint_url and the network; {_BUSY}"
    if isinstance(error, ResponseParserError):
        return f"its answer cannot be read; {_BUSY}"
    return type(error).__name__
