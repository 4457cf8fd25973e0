"""Signing in and out."""

import logging
import math
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from db.schema.audit import Audited
from worker.audit.notes import note
from worker.web.accounts import is_right
from worker.web.languages import gettext_noop
from worker.web.sessions import FORM_COOKIE, Session, SignedInBy
from worker.web.site import Site, site_of

logger = logging.getLogger(__name__)

LARGEST_FORM_BYTES = 8192
MOST_FIELDS = 20

_WORD = re.compile(r"[\w-]{1,512}", re.ASCII)

Form = Mapping[str, str]
Page = Callable[[Request, Site, Session], Response]
FormPage = Callable[[Request, Site, Session, Form], Response]


def for_readers(page: Page, *, sign_in: bool = True) -> Callable[[Request], Response]:
    """Let a page be seen by whoever signed in, and send others to sign in.

    Args:
        page: what is shown.
        sign_in: it is a page that somebody opens. What a page asks for by itself is refused in its stead, and is no
            sign that anybody is there.
    """

    @wraps(page)
    def guarded(request: Request) -> Response:
        site = site_of(request)
        who = site.session(request, is_activity=sign_in)
        if who is not None:
            return page(request, site, who)
        if not sign_in:
            raise HTTPException(401)
        study = request.path_params.get("study_id")
        return RedirectResponse("/sign-in" if study is None else f"/sign-in?study={study}", 303)

    return guarded


def for_forms_of_readers(
    page: FormPage, largest: int = LARGEST_FORM_BYTES, fields: int = MOST_FIELDS
) -> Callable[[Request], Awaitable[Response]]:
    """Let a form be sent by whoever signed in, if it is one that we made for this session.

    Args:
        page: what answers it.
        largest: bytes of it, at most.
        fields: of it, at most.
    """

    @wraps(page)
    async def guarded(request: Request) -> Response:
        form = await read_form(request, largest, fields)
        return await run_in_threadpool(answer, request, form)

    def answer(request: Request, form: Form) -> Response:
        site = site_of(request)
        who = site.session(request)
        if who is None:
            return RedirectResponse("/sign-in", 303)
        if not site.sessions.is_our_form(who.id, form.get("token")):
            raise HTTPException(403)
        return page(request, site, who, form)

    return guarded


async def read_form(request: Request, largest: int = LARGEST_FORM_BYTES, fields: int = MOST_FIELDS) -> Form:
    """Read a form of a bounded size; anything else is refused (413, or 400)."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > largest:
            raise HTTPException(413)
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=fields, errors="strict"))
    except ValueError:
        raise HTTPException(400) from None


def sign_in_page(request: Request) -> Response:
    """Show the form; who has signed in already is led on."""
    site = site_of(request)
    if site.session(request) is not None:
        return RedirectResponse(target_of(request.query_params), 303)
    if site.openid is not None and "by_account" not in request.query_params:
        query = {name: str(value) for name, value in _asked_for(request.query_params).items() if value is not None}
        return RedirectResponse(f"/sign-in/openid?{urlencode(query)}" if query else "/sign-in/openid", 303)
    return ask(request, site, request.query_params)


async def sign_in(request: Request) -> Response:
    """Check a name and a password, and begin a session."""
    form = await read_form(request)
    return await run_in_threadpool(_sign_in, request, form)


def _sign_in(request: Request, form: Form) -> Response:
    site = site_of(request)
    name, password = form.get("name", "").strip().lower(), form.get("password", "")
    if not site.sessions.is_our_form(request.cookies.get(FORM_COOKIE), form.get("token")):
        return ask(request, site, form, _why_not_ours(request, site), 403)
    address = request.client.host if request.client else "?"
    close, wide = (f"{name} from {address}",), (f"account {name}", f"address {address}")
    wait = site.close_tries.wait_s(*close) or site.wide_tries.wait_s(*wide)
    if wait > 0:
        too_many = gettext_noop("Too many attempts. Please wait {seconds} s, then try again.")
        said = site.language_of(request)(too_many).format(seconds=math.ceil(wait))
        response = ask(request, site, form, said, 429)
        response.headers["Retry-After"] = str(math.ceil(wait))
        return response
    account = site.accounts.find(name)
    if not is_right(account, password) or account is None:
        # A name that no account has may be a password in the wrong field.
        logger.warning("sign-in refused from %s: %s", address, "no such account" if account is None else account.name)
        note(site.reading, Audited.SIGN_IN_REFUSED, "unknown" if account is None else account.name, address=address)
        return ask(request, site, form, gettext_noop("The name or the password is wrong."), 401)
    site.close_tries.passed(*close)
    site.wide_tries.passed(*wide)
    logger.info("%s signed in as %s", account.name, account.role)
    note(site.reading, Audited.SIGNED_IN, account.name, role=account.role.value, address=address)
    response = RedirectResponse(target_of(form), 303)
    site.drop_cookies(response)
    site.set_cookie(response, "dlr_session", site.sessions.begin(account))
    return response


def _why_not_ours(request: Request, site: Site) -> str:
    """Say why a form is not taken: it is old, or the browser kept no cookie, as it does not where there is no TLS."""
    if FORM_COOKIE in request.cookies:
        return gettext_noop("The form has expired. Please sign in again.")
    if site.secure and request.url.scheme == "http":
        logger.warning(
            "refused: a form without its cookie, over http. Browsers keep this page's cookies only under https; "
            "a proxy with TLS has to be in DLR_WEB_BEHIND_PROXY and send X-Forwarded-Proto"
        )
        return gettext_noop("Your browser did not keep the cookie, which needs HTTPS. Please use an https:// address.")
    return gettext_noop("Your browser did not keep the cookie. Please allow cookies for this page, and sign in again.")


def sign_out(request: Request, site: Site, who: Session, _form: Form) -> Response:
    """End a session, for a copy of its cookie as well."""
    site.sessions.end(who)
    logger.info("%s signed out", who.name)
    address = request.client.host if request.client else None
    note(site.reading, Audited.SIGNED_OUT, who.name, role=who.role.value, address=address)
    local = "/sign-in" if site.openid is None else "/signed-out"
    response = RedirectResponse("/sign-out/openid" if who.by is SignedInBy.OPENID else local, 303)
    site.drop_cookies(response)
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


def ask(request: Request, site: Site, given: Mapping[str, str], said: str = "", status: int = 200) -> Response:
    """Show the form, with a sentence on what went wrong."""
    holder = request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe(16)
    token = site.sessions.form_token(holder)
    response = site.page(
        request,
        "sign_in.html",
        None,
        status,
        token=token,
        said=said,
        openid=site.openid is not None,
        accounts=site.openid is None or bool(site.accounts.list()),
        **_asked_for(given),
    )
    site.set_cookie(response, FORM_COOKIE, holder)
    return response


def target_of(given: Mapping[str, str]) -> str:
    """Return where to go on after signing in: a study, a link from another system, and nothing else can be named."""
    study, link = _study(given), _link(given)
    if study is not None:
        return f"/studies/{study}"
    return "/" if link is None else f"/open/{link}"


def _asked_for(given: Mapping[str, str]) -> dict[str, UUID | str | None]:
    """Return what somebody wanted to see, by the names of the form."""
    return {"study": _study(given), "open": _link(given)}


def _study(given: Mapping[str, str]) -> UUID | None:
    try:
        return UUID(given.get("study", ""))
    except ValueError:
        return None


def _link(given: Mapping[str, str]) -> str | None:
    word = given.get("open", "")
    return word if _WORD.fullmatch(word) else None
