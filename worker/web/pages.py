"""The pages beside the worklist: a study, what was refused."""

import logging

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from db.reads import worklist_page
from db.reads.verdicts import others_reading
from db.reads.worklist_page_records import ListedRow, ListedState, WaitingRow
from worker.web import appearance, words
from worker.web.images import images_shown
from worker.web.listing import ROWS
from worker.web.presence import note_access, note_presence, open_elsewhere
from worker.web.sessions import Session
from worker.web.signing_in import Form
from worker.web.site import Site
from worker.web.verdict_form import CATEGORIES, Answer, verdicts_shown
from worker.web.viewer import viewer_url

logger = logging.getLogger(__name__)


def refused(request: Request, site: Site, who: Session) -> Response:
    """Show administrators what could not be a study."""
    if not who.is_administrator:
        raise HTTPException(404)
    with site.database() as session:
        rows = worklist_page.refused(session, ROWS + 1)
    return site.page(request, "refused.html", who, rows=rows[:ROWS], more=len(rows) > ROWS)


def study(request: Request, site: Site, who: Session) -> Response:
    """Show one study: each lesion, its pictures, its scores and why it has its advice."""
    page = study_page(request, site, who)
    study_id = request.path_params["study_id"]
    note_access(site, study_id, who, request.client.host if request.client else None)
    return page


def study_page(request: Request, site: Site, who: Session, answer: Answer | None = None) -> Response:
    """Show one study, with an answer to its form that has to be corrected, if there is one."""
    study_id = request.path_params["study_id"]
    with site.database() as session:
        verdicts = verdicts_shown(session, study_id, who, answer)
        row, waiting = worklist_page.listed(session, study_id), worklist_page.waiting(session, study_id)
        ended = None if row is None else row.finished_at
        lesions, images = (
            worklist_page.lesions(session, study_id),
            images_shown(session, site.heat_maps, study_id, ended),
        )
        history = worklist_page.history(session, study_id) if who.is_administrator else []
        count = worklist_page.worklist_state(session).listed
        before, behind = worklist_page.beside(session, study_id)
    head = row or waiting
    if head is None:
        raise HTTPException(404)
    logger.info("%s opened study %s", who.name, study_id)
    return site.page(
        request,
        "study.html",
        who,
        200 if answer is None else 422,
        study_id=study_id,
        verdicts=verdicts,
        others=open_elsewhere(site.language_of(request), verdicts.others),
        categories=CATEGORIES,
        row=row,
        head=head,
        viewer=viewer_url(site.viewer_url, None if row is None else row.study_instance_uid, head.accession_number),
        mark=_study_mark(row, waiting),
        lesions=lesions,
        images=images,
        has_heat_maps=site.heat_maps.folder is not None,
        notices=words.notices_of(lesions),
        history=history,
        count=count,
        before=before,
        behind=behind,
    )


def study_state(request: Request, site: Site, who: Session) -> Response:
    """Say how far a study is, and who else has it open."""
    study_id = request.path_params["study_id"]
    with site.database() as session:
        listed, waiting = worklist_page.listed_state(session, study_id), worklist_page.waiting(session, study_id)
        others = others_reading(session, study_id, who.name)
    if listed is None and waiting is None:
        raise HTTPException(404)
    note_presence(site, study_id, who)
    shown = {"others": open_elsewhere(site.language_of(request), others)}
    return JSONResponse({"mark": _study_mark(listed, waiting), "shown": shown})


def choose_scheme(_request: Request, site: Site, _who: Session, form: Form) -> Response:
    """Remember light or dark in the browser, and go back to the page that was shown."""
    response = RedirectResponse(appearance.own_page(form.get("page", "")), 303)
    chosen = form.get("scheme", "")
    site.set_cookie(
        response, appearance.COOKIE, chosen if chosen in appearance.SCHEMES else "", appearance.REMEMBERED_S
    )
    return response


def _study_mark(row: ListedRow | ListedState | None, waiting: WaitingRow | None) -> str:
    """Return what changes when a study's result does."""
    if row is not None:
        return f"{row.state} {row.revision} {row.finished_at}"
    return "" if waiting is None else waiting.state
