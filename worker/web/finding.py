"""Finding a study: by a search, and by a link from another system. No identifier stays in an address."""

from collections.abc import Mapping
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from db.reads import worklist_page
from worker.text import composed
from worker.web import words
from worker.web.languages import gettext_noop
from worker.web.listing import ROWS, groups_of
from worker.web.sessions import Session
from worker.web.signing_in import Form, read_form
from worker.web.site import Site, site_of

LONGEST: Final = 64
FORGOTTEN: Final = gettext_noop("This search is no longer kept. Please search again.")


def search(_request: Request, site: Site, _who: Session, form: Form) -> Response:
    """Take what is searched for, and show what is found at an address without it."""
    text = _clean(form.get("text", "") or form.get("accession_number", ""))
    return RedirectResponse(f"/search/{site.searches.keep(text)}" if text else "/", 303)


def found(request: Request, site: Site, who: Session) -> Response:
    """Show the studies that a search finds."""
    text = site.searches.find(request.path_params["word"])
    if text is None:
        return site.page(request, "error.html", who, 404, sentence=FORGOTTEN)
    with site.database() as session:
        listed = worklist_page.searched(session, text, ROWS)
        refused = worklist_page.refused(session, ROWS, text) if who.is_administrator else []
    return site.page(
        request,
        "search.html",
        who,
        text=text,
        groups=groups_of(listed.rows),
        more=listed.more,
        ends_only=listed.ends_only,
        refused=refused,
        notices=words.notices_of(listed.rows),
    )


async def open_by_link(request: Request) -> Response:
    """Take which study another system wants opened, by a link or a form of its own, and go on without naming it."""
    given = await read_form(request) if request.method == "POST" else request.query_params
    return await run_in_threadpool(_open, site_of(request), given)


def _open(site: Site, given: Mapping[str, str]) -> Response:
    names = [name for key in ("accession", "study_instance_uid") if (name := _clean(given.get(key, "")))]
    if len(names) != 1:
        raise HTTPException(400)
    return RedirectResponse(f"/open/{site.links.keep(names[0])}", 303)


def opened(request: Request) -> Response:
    """Open the one study that is wanted, or show those that it might be.

    A browser keeps its cookies back from whatever another site began, redirections included. So who seems not to have
    signed in is sent on by a page of ours: who has, is let through there.
    """
    site, word = site_of(request), request.path_params["word"]
    who = site.session(request)
    if who is None:
        return site.page(
            request, "onwards.html", None, url=f"/sign-in?open={word}", title=gettext_noop("Opening the study")
        )
    name = site.links.find(word)
    if name is None:
        return site.page(request, "error.html", who, 404, sentence=FORGOTTEN)
    with site.database() as session:
        studies = worklist_page.named(session, name)
    one = studies[0] if len(studies) == 1 else None
    return RedirectResponse(f"/search/{site.searches.keep(name)}" if one is None else f"/studies/{one}", 303)


def _clean(text: str) -> str:
    return composed(text.replace("\0", "").strip())[:LONGEST]
