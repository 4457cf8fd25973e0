"""A proxy before the page: whose headers count, and whom it vouches for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from worker.web.accounts import WebRole
from worker.web.vouching import Vouched, vouched

VOUCHED: Final = "dlr.vouched"
"""The key of a request's scope with whom its proxy vouches for."""


@dataclass(frozen=True, slots=True)
class Vouching:
    """What a proxy says of whoever signed in to it.

    Attributes:
        user_header: the header with their name.
        groups_header: the header with their groups, separated by commas.
        roles: by group.
    """

    user_header: str
    groups_header: str
    roles: Mapping[str, WebRole] = field(default_factory=dict)

    def of(self, headers: Headers) -> Vouched | None:
        """Return whom a request's proxy vouches for; ``None``: nobody. A header that is there twice is nobody's."""
        names, groups = headers.getlist(self.user_header), headers.getlist(self.groups_header)
        if len(names) != 1 or len(groups) > 1:
            return None
        return vouched(names[0], [group.strip() for group in "".join(groups).split(",")], self.roles)


class Proxy:
    """Takes a proxy's word for who asks, from where and by which scheme; from anybody else it is worth nothing."""

    def __init__(self, app: ASGIApp, addresses: Sequence[str], vouching: Vouching | None) -> None:
        """Stand before an application.

        Args:
            app: the application.
            addresses: of the proxies; networks too (``10.1.2.0/24``).
            vouching: ``None``: they vouch for nobody.
        """
        self._app = app
        self._behind = ProxyHeadersMiddleware(_as_asgi(app), trusted_hosts=list(addresses))
        self._networks = [ip_network(address, strict=False) for address in addresses]
        self._vouching = vouching

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        scope.pop(VOUCHED, None)
        if scope["type"] != "http" or not self._is_ours(scope):
            await self._app(scope, receive, send)
            return
        if self._vouching is not None:
            scope[VOUCHED] = self._vouching.of(Headers(scope=scope))
        await self._behind(scope, receive, send)  # type: ignore[arg-type]  # uvicorn's types of the same protocol

    def _is_ours(self, scope: Scope) -> bool:
        client = scope.get("client")
        try:
            peer = ip_address(client[0]) if client else None
        except ValueError:
            return False
        return peer is not None and any(peer in network for network in self._networks)


def _as_asgi(app: ASGIApp) -> Any:
    return app
