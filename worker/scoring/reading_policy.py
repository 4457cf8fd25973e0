"""Changing the policy of reading order: who would move, the places under it, and the switch.

Places are computed beside those that are served; studies that change meanwhile get both. The switch is one short
transaction. Why in this way: docs/decisions/0047-each-policy-s-places-are-a-partition.md.
"""

import gc
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from db.errors import PolicySuperseded
from db.reads.standings import listed_standings
from db.schema.worklist_records import PlaceRangeRecord, PolicyRecord, RuleRecord
from db.writes import reading_order
from worker.clinical.reading_order.place import place, place_ranges
from worker.clinical.reading_order.policy import Policy, parse_policy
from worker.errors import Code, SetupRefused
from worker.scoring.worklist_place import facts_of, place_in_bulk, place_studies

logger = logging.getLogger(__name__)

PAGE = 20_000
"""Studies that are read, placed and written at once."""

BATCH = 500
"""Studies that are placed in one transaction of those that changed meanwhile."""

PAUSE_S = 0.1
DROPS = 50
"""How often it is tried to drop the places of before, while somebody reads the list."""

Told = Callable[[int], None]
"""Is told how many studies are done, from the beginning."""


@dataclass(frozen=True, slots=True)
class Move:
    """A study that is to be read, its place now and under another policy, from 1, and both tiers."""

    study_id: UUID
    before: int
    after: int
    tier_before: str
    tier_after: str


@dataclass(frozen=True, slots=True)
class Moves:
    """Who would move: studies to be read by their tiers now and then, and those that change places, the most first."""

    tiers: Counter[tuple[str, str]]
    moves: Sequence[Move]


def apply_policy(sessions: sessionmaker[Session], policy: Policy, document: str, by: str, told: Told) -> str:
    """Make a policy the one that orders the worklist; safe to call again where it was broken off.

    Args:
        sessions: of ``dlr_writer``.
        policy: to apply; ``document`` is its TOML.
        by: who asked, kept with the switch.
        told: is told of each batch.

    Returns:
        The label of the policy before.

    Raises:
        SetupRefused: ``reading_order_superseded``; another policy was applied meanwhile, and this one is not active.
    """
    record = PolicyRecord(
        policy.label,
        document,
        tuple(priority.value for priority in policy.before_all),
        tuple(_rules(policy)),
        tuple(PlaceRangeRecord(*one) for one in place_ranges(policy)),
    )
    with sessions.begin() as session:
        key = reading_order.register_policy(session, record)
    try:
        _fill(sessions, policy, key, told)
        _catch_up(sessions, key)
        with sessions.begin() as session:
            return reading_order.activate_policy(session, key, by)
    except PolicySuperseded:
        raise SetupRefused(Code.READING_ORDER_SUPERSEDED) from None
    finally:
        _drop_places(sessions)


def complete_places(sessions: sessionmaker[Session], told: Told = lambda _: None) -> None:
    """Place the studies that were on record before the active policy was, as after an upgrade of the database."""
    with sessions.begin() as holding:
        reading_order.hold_completion(holding)
        with sessions() as session:
            unplaced = [one for one in reading_order.served_policies(session) if one.active and not one.placed]
        for policy in unplaced:
            apply_policy(sessions, parse_policy(policy.document), policy.document, "dlr db upgrade", told)


def moves(sessions: sessionmaker[Session], policy: Policy, told: Told) -> Moves:
    """Say who would move under another policy, of the studies that are to be read."""
    now: list[tuple[int, str, UUID, str]] = []
    then: list[tuple[int, str, UUID, str]] = []
    with sessions() as session:
        served = reading_order.served_policies(session)
    active = next(parse_policy(one.document) for one in served if one.active)
    with sessions() as session, _without_collector():
        for page in listed_standings(session, PAGE):
            for study in page:
                if not study.is_read:
                    facts, arrived, study_id = facts_of(study), study.received_at, UUID(study.study_id)
                    for rule, places in ((active, now), (policy, then)):
                        at = place(rule, facts)
                        places.append((at.order, arrived, study_id, at.tier_name))
            told(len(now))
    before = {study_id: (place, tier) for place, (_, _, study_id, tier) in enumerate(sorted(now), start=1)}
    found = [
        Move(study_id, before[study_id][0], place, before[study_id][1], tier)
        for place, (_, _, study_id, tier) in enumerate(sorted(then), start=1)
    ]
    tiers = Counter((move.tier_before, move.tier_after) for move in found)
    moved = [move for move in found if (move.before, move.tier_before) != (move.after, move.tier_after)]
    return Moves(tiers, sorted(moved, key=lambda move: -abs(move.after - move.before)))


def _fill(sessions: sessionmaker[Session], policy: Policy, key: int, told: Told) -> None:
    """Place all listed studies in one transaction, of which nothing stays where it is broken off."""
    done = 0
    with sessions.begin() as session:
        reading_order.make_partition(session, key)
        with sessions() as reading, ThreadPoolExecutor(1) as writer, _without_collector():
            writing: Future[None] | None = None
            for page in _ahead(listed_standings(reading, PAGE)):
                places = list(place_in_bulk(policy, key, page))
                if writing is not None:
                    writing.result()
                writing = writer.submit(reading_order.fill_partition, session, key, places)
                done += len(page)
                told(done)
            if writing is not None:
                writing.result()
        reading_order.attach_partition(session, key)


def _catch_up(sessions: sessionmaker[Session], key: int) -> None:
    """Place the studies that changed while the others were placed; since then they are placed as they change."""
    more = True
    while more:
        with sessions.begin() as session:
            changed, more = reading_order.take_changed(session, key, BATCH)
            place_studies(session, changed)
        if more and not changed:
            time.sleep(PAUSE_S)


def _drop_places(sessions: sessionmaker[Session]) -> None:
    for _ in range(DROPS):
        with sessions.begin() as session:
            if reading_order.drop_partitions(session):
                return
        time.sleep(PAUSE_S)
    logger.warning("the places of the policy before are still being read; the next policy that is applied drops them")


@contextmanager
def _without_collector() -> Iterator[None]:
    """Collect no cycles: a page is 100,000 tuples, none of them in one, and to look for some takes half its reading."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


_T = TypeVar("_T")


def _ahead(pages: Iterable[_T]) -> Iterator[_T]:
    """Yield pages, the next of which is read while one is worked on."""
    remaining = iter(pages)
    with ThreadPoolExecutor(1) as reader:
        reading = reader.submit(next, remaining, None)
        while (page := reading.result()) is not None:
            reading = reader.submit(next, remaining, None)
            yield page


def _rules(policy: Policy) -> list[RuleRecord]:
    return [
        RuleRecord(place, number, tier.name, tier.title, rule.reason, tier.step_priority.value)
        for place, (number, tier, rule) in enumerate(policy.numbered, start=1)
    ]
