"""What the service answers: JSON, and for every refusal ``{"error": text or status}``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

#: Seconds after which a client that was too many may come again.
RETRY_AFTER = 60


class RefusedError(Exception):
    """A request that is refused. ``text`` is what the protocol calls it, never something that a client sent;
    without one the status is told. Of no use to anybody but the client, so it is not logged."""

    def __init__(
        self,
        status: int,
        text: str | None = None,
        *,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {text or ''}".strip())
        self.status = status
        self.text = text
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)
        #: The connection is of no further use.
        self.close = False


def invalid(field: str) -> RefusedError:
    """A field that is not as it must be."""
    return RefusedError(400, f"invalid-request-field {field}")


def missing(field: str) -> RefusedError:
    """A field that must be there."""
    return RefusedError(400, f"missing-request-field {field}")


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """``value`` as JSON."""
    return Response(json.dumps(value), status, headers, media_type="application/json")


def refusal(error: RefusedError) -> Response:
    """What a client is told of a refusal."""
    headers = {**error.headers, "Connection": "close"} if error.close else error.headers
    return answer({"error": error.text or error.status}, error.status, headers)
