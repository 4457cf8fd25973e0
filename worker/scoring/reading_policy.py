"""Changing the policy of reading order: who would move, the places under it, and the switch.

Places are computed beside those that are served, in batches; studies that change meanwhile get both. The switch is one
short transaction.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from db.errors import PolicySuperseded
from db.reads.standings import standings
from db.schema.worklist_records import PolicyRecord, RuleRecord, ServedPolicy
from db.writes import worklist
from worker.clinical.reading_order.place import place
from worker.clinical.reading_order.policy import Policy, parse_policy
from worker.errors import Code, SetupRefused
from worker.scoring.worklist_place import facts_of, place_unplaced

BATCH = 2_000
"""Studies that are placed in one transaction; a worker with a result of one of them waits for it, under a second."""

AT_ONCE = 2
"""Transactions that place studies at once."""

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
        policy.label, document, tuple(priority.value for priority in policy.before_all), tuple(_rules(policy))
    )
    with sessions.begin() as session:
        key = worklist.register_policy(session, record)
    _place_all(sessions, ServedPolicy(key, policy.label, document, active=False, placed=False), told)
    try:
        with sessions.begin() as session:
            return worklist.activate_policy(session, key, by)
    except PolicySuperseded:
        raise SetupRefused(Code.READING_ORDER_SUPERSEDED) from None
    finally:
        _forget_places(sessions)


def complete_places(sessions: sessionmaker[Session], told: Told = lambda _: None) -> None:
    """Place the studies that were on record before the active policy was, as after an upgrade of the database."""
    with sessions() as session:
        unplaced = [policy for policy in worklist.served_policies(session) if policy.active and not policy.placed]
    for policy in unplaced:
        _place_all(sessions, policy, told)


def moves(sessions: sessionmaker[Session], policy: Policy, told: Told) -> Moves:
    """Say who would move under another policy, of the studies that are to be read."""
    now: list[tuple[int, float, UUID, str]] = []
    then: list[tuple[int, float, UUID, str]] = []
    with sessions() as session:
        active = next(parse_policy(one.document) for one in worklist.served_policies(session) if one.active)
    with sessions() as session:
        last = None
        while ids := worklist.listed_after(session, last, BATCH):
            for study in standings(session, ids):
                if study.listed and study.read_tier is None:
                    facts, arrived = facts_of(study), study.received_at.timestamp()
                    for rule, places in ((active, now), (policy, then)):
                        at = place(rule, facts)
                        places.append((at.order, arrived, study.study_id, at.tier_name))
            last = ids[-1]
            told(len(now))
    before = {study_id: (place, tier) for place, (_, _, study_id, tier) in enumerate(sorted(now), start=1)}
    found = [
        Move(study_id, before[study_id][0], place, before[study_id][1], tier)
        for place, (_, _, study_id, tier) in enumerate(sorted(then), start=1)
    ]
    tiers = Counter((move.tier_before, move.tier_after) for move in found)
    moved = [move for move in found if (move.before, move.tier_before) != (move.after, move.tier_after)]
    return Moves(tiers, sorted(moved, key=lambda move: -abs(move.after - move.before)))


def _place_all(sessions: sessionmaker[Session], policy: ServedPolicy, told: Told) -> None:
    done = 0
    placing: deque[Future[int]] = deque()

    def ended() -> bool:
        nonlocal done
        if placed := placing.popleft().result():
            done += placed
            told(done)
        return placed > 0

    # While one batch waits for the database, another is computed.
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for ids in _batches(sessions):
            placing.append(pool.submit(_place_batch, sessions, policy, ids))
            if len(placing) > AT_ONCE and not ended():
                return
        while placing:
            if not ended():
                return
    with sessions.begin() as session:
        if worklist.is_served(session, policy.key):
            worklist.note_placed(session, policy.key)


def _batches(sessions: sessionmaker[Session]) -> Iterator[Sequence[UUID]]:
    last = None
    while True:
        with sessions() as session:
            ids = worklist.listed_after(session, last, BATCH)
        if not ids:
            return
        yield ids
        last = ids[-1]


def _place_batch(sessions: sessionmaker[Session], policy: ServedPolicy, ids: Sequence[UUID]) -> int:
    """Place some studies and return how many; none, once another policy took the place of this one."""
    with sessions.begin() as session:
        if not worklist.is_served(session, policy.key):
            return 0
        place_unplaced(session, ids, policy)
    return len(ids)


def _forget_places(sessions: sessionmaker[Session]) -> None:
    forgotten = True
    while forgotten:
        with sessions.begin() as session:
            forgotten = bool(worklist.forget_places(session, BATCH))


def _rules(policy: Policy) -> list[RuleRecord]:
    return [
        RuleRecord(place, number, tier.name, tier.title, rule.reason, tier.step_priority.value)
        for place, (number, tier, rule) in enumerate(policy.numbered, start=1)
    ]
