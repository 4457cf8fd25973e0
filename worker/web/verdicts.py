"""A reading, as a radiologist sends it from the page."""

import logging

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from db.errors import VerdictOutdated
from db.reads import worklist_page
from db.reads.verdicts import advice_keys
from db.schema.vocabulary import ReadingSource
from db.writes.verdicts import Reading, record_reading
from worker.web import pages
from worker.web.languages import gettext_noop
from worker.web.sessions import Session
from worker.web.signing_in import Form
from worker.web.site import Site
from worker.web.verdict_form import FormUnreadable, read_answer

logger = logging.getLogger(__name__)

NOT_A_RADIOLOGIST = gettext_noop("Your account cannot give verdicts. Nothing was saved.")


def mark_read(request: Request, site: Site, who: Session, form: Form) -> Response:
    """Mark a study as read, with the verdicts on its lesions, and go on to the next study of the list."""
    study_id = request.path_params["study_id"]
    if not who.is_radiologist:
        logger.warning("refused: a verdict of %s, who is no radiologist, on study %s", who.name, study_id)
        return site.page(request, "error.html", who, 403, sentence=NOT_A_RADIOLOGIST)
    with site.database() as session:
        lesions, following = advice_keys(session, study_id), worklist_page.next_to_read(session, study_id)
    try:
        answer = read_answer(form, lesions)
    except FormUnreadable:
        raise HTTPException(400) from None
    if set(answer.advice) != {lesion.advice for lesion in lesions} - {None}:
        return _outdated(request, site, who, form)
    if answer.faulty:
        return pages.study_page(request, site, who, answer)
    reading = Reading(
        key=answer.reading_key(),
        study_id=study_id,
        reader=who.name,
        source=ReadingSource.PAGE,
        advice=answer.advice,
        verdicts=answer.verdicts(lesions),
    )
    try:
        with site.recording() as session:
            record_reading(session, reading)
    except VerdictOutdated:
        return _outdated(request, site, who, form)
    logger.info("%s read study %s", who.name, study_id)
    return RedirectResponse("/" if following is None else f"/studies/{following}", 303)


def _outdated(request: Request, site: Site, who: Session, form: Form) -> Response:
    """Say that nothing was saved, and give back what was typed."""
    study_id = request.path_params["study_id"]
    remarks = [value for name, value in form.items() if name.startswith("remark-") and value.strip()]
    return site.page(request, "outdated.html", who, 409, study_id=study_id, remarks=remarks)
