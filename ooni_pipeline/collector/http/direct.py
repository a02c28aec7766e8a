"""The requests that come most, past the framework's routing, which costs as much as all else that is done.

The routes stay the framework's: their patterns, methods, functions and descriptions.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

_Endpoint = Callable[[Request], Awaitable[Response]]


class Direct:
    """Wraps the application that has ``router``. The functions of its routes take the request alone and
    return a Response; what matches none of them goes to the application."""

    def __init__(self, router: APIRouter, application: ASGIApp) -> None:
        self._application = application
        self._routes: dict[str, list[tuple[re.Pattern[str], APIRoute, _Endpoint]]] = {}
        for route in router.routes:
            if isinstance(route, APIRoute):
                for method in route.methods or ():
                    known = self._routes.setdefault(method, [])
                    known.append((route.path_regex, route, route.endpoint))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for pattern, route, endpoint in self._routes.get(scope["method"], ()):
            found = pattern.fullmatch(scope["path"])
            if found is not None:
                scope["route"] = route  # the metrics ask for it
                scope["path_params"] = found.groupdict()
                answer = await endpoint(Request(scope, receive))
                await answer(scope, receive, send)
                return
        await self._application(scope, receive, send)
