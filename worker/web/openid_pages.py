"""Being sent to the OpenID provider, coming back, and being signed out there."""

import logging

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from db.schema.audit import Audited
from worker.audit.notes import note
from worker.web.languages import gettext_noop
from worker.web.openid import Attempt, OpenId, ProviderAway, SignInRefused
from worker.web.sessions import SESSION_COOKIE
from worker.web.signing_in import ask, target_of
from worker.web.site import NO_ROLE, Site, site_of

logger = logging.getLogger(__name__)

ATTEMPT_COOKIE = "dlr_sign_in"
CALLBACK = "sign-in/callback"

AWAY = gettext_noop("The hospital's sign-in service is not responding. Please try again in a minute.")
NOT_LET_IN = gettext_noop("The hospital's sign-in service did not let you in. Please try again.")
EXPIRED = gettext_noop("This took too long, or your browser did not keep the cookie. Please try again.")


def begin(request: Request) -> Response:
    """Send somebody to the provider.

    The cookie goes along when the provider sends them back, which is another site: hence Lax and not Strict, for the
    ten minutes of signing in. It is sealed, and of no use without the provider's code.
    """
    site, provider = site_of(request), _provider(request)
    attempt = Attempt.begun(target_of(request.query_params))
    try:
        address = provider.address(attempt, _callback(request))
    except ProviderAway as error:
        logger.warning("the OpenID provider cannot be asked: %s", error)
        return ask(request, site, request.query_params, AWAY, 503)
    response = RedirectResponse(address, 303)
    sealed = site.attempts.keep(attempt.as_json())
    site.set_cookie(response, ATTEMPT_COOKIE, sealed, site.attempts.kept_s, samesite="lax")
    return response


def come_back(request: Request) -> Response:
    """Begin a session for somebody whom the provider vouches for.

    Their way led over another site, so that their browser would keep the session's cookie back (``SameSite=Strict``)
    if it were sent on from here: a page of ours leads on.
    """
    site, provider = site_of(request), _provider(request)
    kept = site.attempts.find(request.cookies.get(ATTEMPT_COOKIE, ""))
    if kept is None:
        return _ask_again(request, site, EXPIRED, 400)
    attempt = Attempt.of_json(kept)
    address = request.client.host if request.client else None
    try:
        who = provider.finish(attempt, _callback(request), request.query_params)
    except ProviderAway as error:
        logger.warning("the OpenID provider cannot be asked: %s", error)
        return _ask_again(request, site, AWAY, 503)
    except SignInRefused as refusal:
        logger.warning("sign-in refused by the OpenID provider, or for what it says: %s", refusal)
        note(site.reading, Audited.SIGN_IN_REFUSED, "unknown", address=address)
        return _ask_again(request, site, NOT_LET_IN, 401)
    if who.role is None:
        logger.warning("sign-in refused: %s is in no group of DLR_WEB_ROLES", who.name)
        note(site.reading, Audited.SIGN_IN_REFUSED, who.name, address=address)
        return _ask_again(request, site, NO_ROLE, 403)
    logger.info("%s signed in as %s, by OpenID Connect", who.name, who.role)
    note(site.reading, Audited.SIGNED_IN, who.name, role=who.role.value, address=address)
    response = site.page(request, "onwards.html", None, url=attempt.target, title=gettext_noop("Signing in"))
    site.drop_cookies(response)
    _drop_attempt(site, response)
    site.set_cookie(response, SESSION_COOKIE, site.sessions.begin_vouched(who.name, who.role))
    return response


def signed_out(request: Request) -> Response:
    """Show that somebody has signed out, and do not sign them in again at once."""
    return ask(request, site_of(request), {})


def leave(request: Request) -> Response:
    """Sign somebody out of the provider as well, who has been signed out here."""
    site, provider = site_of(request), _provider(request)
    there = provider.sign_out_address(f"{request.base_url}signed-out")
    # A form may lead to no other site (Content-Security-Policy: form-action), so a page of ours does.
    return site.page(request, "onwards.html", None, url=there or "/signed-out", title=gettext_noop("Signing out"))


def _ask_again(request: Request, site: Site, said: str, status: int) -> Response:
    response = ask(request, site, {}, said, status)
    _drop_attempt(site, response)
    return response


def _drop_attempt(site: Site, response: Response) -> None:
    response.delete_cookie(ATTEMPT_COOKIE, path="/", secure=site.secure, httponly=True, samesite="lax")


def _provider(request: Request) -> OpenId:
    provider = site_of(request).openid
    if provider is None:
        raise HTTPException(404)
    return provider


def _callback(request: Request) -> str:
    return f"{request.base_url}{CALLBACK}"
