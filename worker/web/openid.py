"""Signing in by OpenID Connect: the code flow with PKCE (OpenID Connect Core 1.0, section 3.1; RFC 7636)."""

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final
from urllib.parse import urlencode

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from worker.web.accounts import WebRole
from worker.web.vouching import Vouched, vouched

TIMEOUT_S: Final = 10.0
KEPT_S: Final = 3600.0
"""How long what a provider publishes of itself is not asked for again."""

LEEWAY_S: Final = 300
"""By how much the clocks of two hospitals' machines may differ."""

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""How an ID token may be signed: by the provider's private key, never by a secret that we have too, nor not at all."""


class ProviderAway(Exception):
    """The provider does not answer, or not as one does."""


class SignInRefused(Exception):
    """The provider did not vouch for anybody, or not as we asked."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody who was sent to the provider, as their browser keeps it, sealed.

    Attributes:
        state: comes back with them.
        nonce: stands in the ID token.
        verifier: of which the provider was told a digest (PKCE).
        target: where to go on.
    """

    state: str
    nonce: str
    verifier: str
    target: str

    @classmethod
    def begun(cls, target: str) -> "Attempt":
        """Begin one."""
        return cls(secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48), target)

    def as_json(self) -> str:
        """Write it down."""
        return json.dumps([self.state, self.nonce, self.verifier, self.target])

    @classmethod
    def of_json(cls, text: str) -> "Attempt":
        """Read what `as_json` wrote."""
        return cls(*json.loads(text))


@dataclass(slots=True)
class OpenId:
    """A provider, and what we are to it.

    Attributes:
        issuer: its URL.
        client_id: ours, as it was registered there; ``client_secret`` likewise, where there is one.
        scope: what is asked for, with spaces.
        name_claim: the claim with the reader's name.
        role_claim: the claim with their groups; dots lead into objects (``realm_access.roles``).
        roles: by group.
        ca: certificates (PEM) by which its own is checked; ``True``: those of this machine.
    """

    issuer: str
    client_id: str
    client_secret: str | None
    scope: str
    name_claim: str
    role_claim: str
    roles: Mapping[str, WebRole]
    ca: str | bool = True
    _published: dict[str, Any] = field(default_factory=dict)
    _since: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    def address(self, attempt: Attempt, callback: str) -> str:
        """Return where somebody is sent to sign in.

        Args:
            attempt: theirs.
            callback: our address, to which they come back.

        Raises:
            ProviderAway: nobody can be sent there now.
        """
        url, _ = self._session(callback).create_authorization_url(
            self._publishes("authorization_endpoint"),
            state=attempt.state,
            nonce=attempt.nonce,
            code_verifier=attempt.verifier,
        )
        return str(url)

    def finish(self, attempt: Attempt, callback: str, given: Mapping[str, str]) -> Vouched:
        """Take somebody who comes back.

        Args:
            attempt: theirs.
            callback: as it was for `address`.
            given: what they bring (``code`` and ``state``, or ``error``).

        Raises:
            SignInRefused: the provider let nobody in; or what it says is not for us, not for this attempt, or unsigned.
            ProviderAway: it cannot be asked now.
        """
        if not secrets.compare_digest(given.get("state", "").encode(), attempt.state.encode()):
            raise SignInRefused("the state is not that of the attempt")
        if "code" not in given:
            raise SignInRefused("the provider let nobody in")
        session = self._session(callback)
        try:
            token = session.fetch_token(
                self._publishes("token_endpoint"),
                grant_type="authorization_code",
                code=given["code"],
                code_verifier=attempt.verifier,
                timeout=TIMEOUT_S,
            )
            claims = self._claims(str(token.get("id_token", "")), attempt.nonce)
            if _at(claims, self.role_claim) is None and "userinfo_endpoint" in self._published:
                answer = session.get(self._published["userinfo_endpoint"], timeout=TIMEOUT_S)
                told = answer.json()
                # OpenID Connect Core 1.0, 5.3.2: else it may be of somebody else.
                claims = {**told, **claims} if told.get("sub") == claims.get("sub") else claims
        except (requests.RequestException, OSError) as error:
            raise ProviderAway(type(error).__name__) from None
        except (AuthlibBaseError, JoseError, ValueError, AttributeError) as error:
            raise SignInRefused(type(error).__name__) from None
        groups = _at(claims, self.role_claim)
        listed = groups if isinstance(groups, list) else [groups]
        found = [one for one in listed if isinstance(one, str)]
        who = vouched(claims.get(self.name_claim), found, self.roles)
        if who is None:
            raise SignInRefused(f"the claim {self.name_claim} is no name")
        return who

    def sign_out_address(self, then: str) -> str | None:
        """Return where somebody is signed out of the provider as well; ``None``: it offers no such address, or is away.

        Args:
            then: our address, to which they come back (OpenID Connect RP-Initiated Logout 1.0).
        """
        try:
            address = self._publishes("end_session_endpoint")
        except ProviderAway:
            return None
        asked = urlencode({"client_id": self.client_id, "post_logout_redirect_uri": then})
        return f"{address}{'&' if '?' in address else '?'}{asked}"

    def _session(self, callback: str) -> OAuth2Session:
        session = OAuth2Session(
            self.client_id,
            self.client_secret,
            token_endpoint_auth_method="none" if self.client_secret is None else "client_secret_basic",
            scope=self.scope,
            redirect_uri=callback,
            code_challenge_method="S256",
        )
        session.verify = self.ca
        return session

    def _claims(self, id_token: str, nonce: str) -> dict[str, Any]:
        try:
            token = jwt.decode(id_token, self._keys(), algorithms=list(ALGORITHMS))
        except JoseError:  # its keys may be new
            token = jwt.decode(id_token, self._keys(again=True), algorithms=list(ALGORITHMS))
        jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": self._published["issuer"]},
            aud={"essential": True, "value": self.client_id},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        ).validate(token.claims)
        return dict(token.claims)

    def _keys(self, *, again: bool = False) -> KeySet:
        address = self._publishes("jwks_uri")
        with self._lock:
            if again or "keys" not in self._published:
                self._published["keys"] = self._fetched(address)
            return KeySet.import_key_set(self._published["keys"])

    def _publishes(self, name: str) -> str:
        """Return what the provider publishes of itself (OpenID Connect Discovery 1.0)."""
        with self._lock:
            if not self._published or time.monotonic() - self._since > KEPT_S:
                found = self._fetched(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
                if str(found.get("issuer", "")).rstrip("/") != self.issuer.rstrip("/"):
                    raise ProviderAway("it publishes another issuer than DLR_WEB_OIDC_ISSUER")
                self._published, self._since = found, time.monotonic()
            found_address = self._published.get(name)
        if not isinstance(found_address, str):
            raise ProviderAway(f"it publishes no {name}")
        return found_address

    def _fetched(self, address: str) -> dict[str, Any]:
        try:
            answer = requests.get(address, timeout=TIMEOUT_S, verify=self.ca)
            answer.raise_for_status()
            found = answer.json()
        except (requests.RequestException, OSError, ValueError) as error:
            raise ProviderAway(type(error).__name__) from None
        if not isinstance(found, dict):
            raise ProviderAway("it answers something else than an object")
        return found


def _at(claims: Mapping[str, Any], path: str) -> Any:
    """Return a claim; a name with dots may be one as well."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
