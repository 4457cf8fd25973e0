"""What every route needs: the ledger as each role sees it, the way in, the tokens, and who asks."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, cast

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from sqlalchemy.orm import Session, sessionmaker

from worker.api.idempotency import IdempotencyKeys
from worker.api.problems import ProblemError, too_many
from worker.api.rate_limit import RateLimit
from worker.api.tokens import Scope, Token, Tokens
from worker.errors import Code
from worker.imaging.decoder_pool import DecoderPool
from worker.intake.accept_study import Intake
from worker.intake.fetching import Fetcher
from worker.intake.study_requests import StudyRequests
from worker.settings import Settings

SOURCE: Final = "api"
"""The way in, as the ledger has it."""


@dataclass(frozen=True)
class Service:
    """Made once a process.

    Attributes:
        settings: limits, and where files are.
        tokens: who may ask.
        rate: how often.
        intake: the way in, of the role ``dlr_writer``.
        fetcher: knows which studies have to be fetched before they can be on record; nothing is fetched here.
        requests: of those studies.
        keys: of jobs that were pushed.
        decoders: what reads images for pictures; started when they are needed.
        writing: the ledger, as ``dlr_writer`` has it.
        reading: its views, as ``dlr_web`` has them.
    """

    settings: Settings
    tokens: Tokens
    rate: RateLimit
    intake: Intake
    fetcher: Fetcher
    requests: StudyRequests
    keys: IdempotencyKeys
    decoders: Callable[[], DecoderPool]
    writing: sessionmaker[Session]
    reading: sessionmaker[Session]


def service_of(request: Request) -> Service:
    """Return what the application was made with."""
    return cast("Service", request.app.state.service)


ServiceDep = Annotated[Service, Depends(service_of)]

_bearer = HTTPBearer(auto_error=False, description="A token of `dlr api token create`")


async def _caller(
    request: Request,
    needed: SecurityScopes,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Token:
    """Say who asks, and that they may. Nothing of the body is read before."""
    service = service_of(request)
    token = None if given is None else service.tokens.find(given.credentials)
    if token is None:
        _let_pass(service, f"address {request.client.host if request.client else ''}")
        raise _not_signed_in("the request has no token" if given is None else "the token is unknown, or was revoked")
    _let_pass(service, f"token {token.name}")
    if token.is_expired(datetime.now(UTC)):
        raise _not_signed_in("the token has expired")
    missing = [scope for scope in needed.scopes if scope not in token.scopes]
    if missing:
        told = f'Bearer error="insufficient_scope", scope="{" ".join(needed.scopes)}"'
        reason = f"the token does not have the scope {missing[0]}"
        raise ProblemError(Code.SCOPE_MISSING, reason, headers={"WWW-Authenticate": told})
    return token


def may(scope: Scope) -> Any:
    """Let in who has a scope; a route is given their token."""
    return Security(_caller, scopes=[scope.value])


def _let_pass(service: Service, key: str) -> None:
    wait_s = service.rate.wait_s(key)
    if wait_s:
        raise too_many(wait_s)


def _not_signed_in(reason: str) -> ProblemError:
    return ProblemError(Code.TOKEN_INVALID, reason, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
