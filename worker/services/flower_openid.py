"""Flower's page ``/login`` where people sign in by OpenID Connect; Flower loads it by its name.

It is Flower's own handler for Okta, which takes whoever the provider vouches for by a verified e-mail address that
Flower's option ``auth`` names. Okta's addresses are fixed there; these are those that the provider publishes.
"""

import json
from typing import Any

from flower.views.auth import OktaLoginHandler
from tornado.httpclient import HTTPClientError
from tornado.web import HTTPError


class OpenIdLoginHandler(OktaLoginHandler):  # type: ignore[misc]  # Flower has no types
    """Sends a browser to the provider at FLOWER_OAUTH2_OKTA_BASE_URL, and takes it back."""

    _published: dict[str, Any]

    async def get(self) -> None:
        """Answer with a redirect to the provider or, for who comes back from there, to the page that was asked for."""
        if self.get_argument("error", None) is not None:
            raise HTTPError(403, "the provider let nobody in")
        self._published = await self._discovered()
        try:
            await super().get()
        except HTTPClientError:
            raise HTTPError(403, "the provider vouched for nobody") from None

    @property
    def _OAUTH_AUTHORIZE_URL(self) -> str:  # noqa: N802  Tornado's name
        return str(self._published["authorization_endpoint"])

    @property
    def _OAUTH_ACCESS_TOKEN_URL(self) -> str:  # noqa: N802
        return str(self._published["token_endpoint"])

    @property
    def _OAUTH_USER_INFO_URL(self) -> str:  # noqa: N802
        return str(self._published["userinfo_endpoint"])

    async def _discovered(self) -> dict[str, Any]:
        """Return what the provider publishes of itself (OpenID Connect Discovery 1.0)."""
        try:
            answer = await self.get_auth_http_client().fetch(f"{self.base_url}/.well-known/openid-configuration")
            found = json.loads(answer.body)
            if found["issuer"].rstrip("/") != self.base_url:
                raise HTTPError(503, "the provider publishes another issuer than DLR_FLOWER_OIDC_ISSUER")
        except (HTTPClientError, OSError, ValueError, TypeError, KeyError, AttributeError):
            raise HTTPError(503, "the provider does not answer, or not as one does") from None
        else:
            return dict(found)
