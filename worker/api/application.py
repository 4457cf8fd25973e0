"""The application: which address is which route, and what surrounds each of them."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.api import documents, findings, health, jobs, problems, studies, uploads, worklist
from worker.api.openapi import components
from worker.api.service import Service
from worker.errors import DlrError

VERSION = "1"
"""Of the interface, as in its addresses."""

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'",
}
"""Headers of every answer."""

ROUTERS = (
    jobs.router,
    uploads.router,
    studies.router,
    worklist.router,
    documents.router,
    findings.router,
    health.router,
)


class Headers:
    """Adds headers to every answer, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


def make_application(service: Service) -> FastAPI:
    """Make the application."""
    application = _routed()
    application.state.service = service
    return application


def openapi() -> dict[str, Any]:
    """Describe the interface, as it is checked in (docs/openapi.json)."""
    found: dict[str, Any] = _routed().openapi()
    return found


def _routed() -> FastAPI:
    application = FastAPI(
        title="dlr-worker",
        version=VERSION,
        description="Studies in; results, the worklist and documents out; verdicts and pathology back. Each request "
        "has a bearer token of `dlr api token create`. An address holds opaque ids and nothing else of a study. What "
        "is refused is told as problem details (RFC 9457) with a stable `code`.",
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            DlrError: problems.refused,
            RequestValidationError: problems.unread,
            HTTPException: problems.unrouted,
            **dict.fromkeys(problems.AWAY, problems.away),
            Exception: problems.defect,
        },
    )
    for router in ROUTERS:
        application.include_router(router)
    application.add_middleware(Headers)
    application.openapi = _described(application)  # type: ignore[method-assign]  # as FastAPI's documentation has it
    return application


def _described(application: FastAPI) -> Callable[[], dict[str, Any]]:
    def describe() -> dict[str, Any]:
        if application.openapi_schema is None:
            found = get_openapi(
                title=application.title,
                version=application.version,
                description=application.description,
                routes=application.routes,
            )
            schemas = found.setdefault("components", {}).setdefault("schemas", {})
            schemas |= components()
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            application.openapi_schema = found
        return application.openapi_schema

    return describe
