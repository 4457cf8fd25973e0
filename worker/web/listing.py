"""The worklist: which of it is shown, in which order, and how far it goes."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import groupby
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from db.reads import worklist_page
from db.reads.worklist_page_records import ListedRow, TierCount, WorklistFilter, WorklistState
from worker.web import words
from worker.web.sessions import Session
from worker.web.site import Site

ROWS: Final = 50
"""Studies on one page of the worklist."""

CHOICES: Final[Mapping[str, Mapping[str, str]]] = {
    "class": {name: label.word for name, label in words.CLASSES.items()},
    "state": words.STATES,
    "priority": words.PRIORITIES,
    "side": words.SIDES,
    "read": words.READ,
}
"""Filters with fixed words, and what each word is to people."""

_FREE: Final = re.compile(r"[^\x00-\x1f]{1,128}")
_PLACE: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that stand together: those of a tier, or all of them in another order than that of reading."""

    name: str
    label: words.Label | None
    rows: tuple[ListedRow, ...]


def worklist(request: Request, site: Site, who: Session) -> Response:
    """Show the worklist in its order, a page of it at a time; ``after`` is the study that the last page ended with."""
    given = request.query_params
    after, sort = given.get("after"), given.get("sort", "")
    with site.database() as session:
        tiers = worklist_page.tier_counts(session)
        chosen = _chosen(given, tiers)
        wanted = _wanted(chosen, tiers, site)
        behind = None if after is None else _uuid(after)
        state = worklist_page.worklist_state(session)
        if sort in worklist_page.SORTED_BY:
            found = worklist_page.sorted_excerpt(session, wanted, sort, ROWS, skip := _number(given.get("skip")))
            groups = [Group("", None, found.rows)] if found.rows else []
            further = {**chosen, "sort": sort, "skip": str(skip + ROWS)}
        else:
            sort = ""
            found = worklist_page.excerpt(session, wanted, ROWS, behind)
            groups = groups_of(found.rows)
            further = {**chosen, "after": str(found.rows[-1].study_id)} if found.rows else {}
        choices = worklist_page.choices(session)
    return site.page(
        request,
        "worklist.html",
        who,
        groups=groups,
        notices=words.notices_of(found.rows),
        state=state,
        tiers=tiers,
        mark=mark_of(state),
        chosen=chosen,
        choices=choices,
        sort=sort,
        sorts={name: _url({**chosen, "sort": name}) for name in worklist_page.SORTED_BY},
        tier_urls={one.tier: _url({**chosen, "tier": one.tier}) for one in tiers},
        first=after is None and "skip" not in given,
        moved=found.begins_anew,
        start_url=_url(chosen | ({"sort": sort} if sort else {})),
        order_url=_url(chosen),
        further_url=_url(further) if found.more else None,
    )


def place(request: Request, site: Site, _who: Session) -> Response:
    """Go to the study at a place of the list."""
    with site.database() as session:
        study_id = worklist_page.at_place(session, _number(request.query_params.get("number")))
    if study_id is None:
        return site.page(request, "error.html", _who, 404, sentence=words.NO_SUCH_PLACE)
    return RedirectResponse(f"/studies/{study_id}", 303)


def worklist_state(request: Request, site: Site, _who: Session) -> Response:
    """Say whether the worklist is still the one that a page shows."""
    with site.database() as session:
        state = worklist_page.worklist_state(session)
    said = words.Words(site.language_of(request))
    counts = {"listed": state.listed, "waiting": state.queued + state.running}
    shown = {name: said.count(number) for name, number in counts.items()}
    return JSONResponse({"mark": mark_of(state), **counts, "shown": shown})


def mark_of(state: WorklistState) -> str:
    """Return what changes when the list does."""
    return hashlib.sha256(f"{state.listed} {state.changed_at}".encode()).hexdigest()[:16]


def groups_of(rows: Sequence[ListedRow]) -> list[Group]:
    """Put rows that stand together under their tier; their order stays the view's."""
    return [
        Group(name, words.tier(name, title), tuple(those))
        for (name, title), those in groupby(rows, lambda row: (row.tier, row.tier_title))
    ]


def _chosen(given: Mapping[str, str], tiers: Sequence[TierCount]) -> dict[str, str]:
    """Return the filters of an address that mean anything."""
    chosen = {name: word for name, all_words in CHOICES.items() if (word := given.get(name, "")) in all_words}
    if given.get("tier") in {one.tier for one in tiers}:
        chosen["tier"] = given["tier"]
    chosen |= {name: text for name in ("site", "scanner") if _FREE.fullmatch(text := given.get(name, "").strip())}
    return chosen | {name: given[name] for name in ("from", "to") if _day(given.get(name)) is not None}


def _wanted(chosen: Mapping[str, str], tiers: Sequence[TierCount], site: Site) -> WorklistFilter:
    to = _day(chosen.get("to"))
    return WorklistFilter(
        worklist_class=chosen.get("class"),
        state=chosen.get("state"),
        priority=chosen.get("priority"),
        tier=next((one.tier_number for one in tiers if one.tier == chosen.get("tier")), None),
        site=chosen.get("site"),
        scanner_model=chosen.get("scanner"),
        laterality=chosen.get("side"),
        received_from=_midnight(_day(chosen.get("from")), site),
        received_before=_midnight(None if to is None else to + timedelta(days=1), site),
        read={"yes": True, "any": None}.get(chosen.get("read", ""), False),
    )


def _day(text: str | None) -> date | None:
    try:
        day = date.fromisoformat(text or "")
    except ValueError:
        return None
    return day if 1900 <= day.year < 9999 else None


def _midnight(day: date | None, site: Site) -> datetime | None:
    """Return when a day begins at the site."""
    if day is None:
        return None
    begins = datetime.combine(day, time(), site.zone)
    return begins if site.zone is not None else begins.astimezone()


def _number(text: str | None) -> int:
    return int(text) if text and _PLACE.fullmatch(text) else 0


def _url(query: Mapping[str, Any]) -> str:
    return f"/?{urlencode(query)}" if query else "/"


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise HTTPException(404) from None
