"""Each study's place on the worklist: the policy (`worker.clinical.reading_order`) in the ledger's words."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import cast
from uuid import UUID

from sqlalchemy.orm import Session

from db.reads.standings import former_standings, replaced_on_list, standings
from db.schema.vocabulary import OPEN_STATES, Mark
from db.schema.worklist_records import (
    EntryRecord,
    LesionStanding,
    ListedStanding,
    ServedPolicy,
    StudyStanding,
)
from db.writes import reading_order, worklist
from worker.clinical.categories import Outcome, Priority
from worker.clinical.reading_order.facts import CATEGORY_RANK, LesionFacts, StudyFacts, StudyState
from worker.clinical.reading_order.place import Place, order_of, place
from worker.clinical.reading_order.policy import Policy, parse_policy

_PRIORITIES = {priority.value: priority for priority in Priority}
_OUTCOMES: dict[str | None, Outcome | None] = {None: None, **{outcome.value: outcome for outcome in Outcome}}


def place_studies(session: Session, study_ids: Collection[UUID]) -> None:
    """Place studies anew, or take them off the worklist; call it in the transaction that changed them.

    A study that waits for its next result, corrected or queued again, keeps the place of its last one, unless the
    correction has a lesion that is new or of a higher category: then the earlier of that place and of the one that
    these lesions give it. A study that was read, and now stands in another tier, is to be read again.

    Args:
        session: of ``dlr_writer``; the caller commits.
        study_ids: the ledger's.
    """
    if not study_ids:
        return
    served = reading_order.served_policies(session)
    policies = [policy for policy in served if policy.filled]
    if len(policies) < len(served):
        reading_order.note_changed(session, study_ids)
    found = standings(session, study_ids)
    listed = [study for study in found if study.listed]
    waiting = [study for study in listed if study.state in OPEN_STATES]
    last = former_standings(session, [study.study_id for study in waiting]) if waiting else {}
    entries = [_entry(policy, study, last.get(study.study_id)) for study in listed for policy in policies]
    again = _other_tiers(session, policies, listed, entries)
    worklist.mark_unread(session, again)
    unread = {study_id for study_id, _, _ in again}
    worklist.put_entries(
        session, [replace(entry, is_read=entry.is_read and entry.study_id not in unread) for entry in entries]
    )
    corrected = [study.study_id for study in waiting if study.revision > 1]
    replaced = replaced_on_list(session, corrected) if corrected else set()
    worklist.remove_entries(session, replaced | {study.study_id for study in found if not study.listed})


def place_in_bulk(policy: Policy, key: int, studies: Iterable[ListedStanding]) -> Iterator[str]:
    """Place listed studies under a policy that is being built; yields lines of `reading_order.FILLED_COLUMNS`.

    Studies of one lesion that differ by its probabilities alone have one place, but for its order, where no rule asks
    for a probability: it is worked out once.
    """
    by_words = not any(policy.bounds)
    placed: dict[tuple[object, ...], tuple[Place, Priority, str]] = {}
    for study in studies:
        lesion = study.lesions[0] if by_words and len(study.lesions) == 1 else None
        words = (study.study_id,) if lesion is None else (study.priority, study.state, *_words(lesion))
        if words not in placed:
            facts = facts_of(study)
            at = place(policy, facts)
            marks = f"{{{','.join(at.marks)}}}"
            decided = reading_order.fields(key, at.tier, at.rule, at.lesion, at.category, marks)
            placed[words] = at, facts.priority, decided
        at, priority, decided = placed[words]
        probability, order = at.probability, at.order
        if lesion is not None and probability is not None:
            probability = lesion.malignant_probability
            order = order_of(policy, at.tier, priority, category=at.category, probability=probability)
        known = r"\N" if probability is None else probability
        study_id, *own, received_at, _ = study
        yield f"{study_id}\t{known}\t{order}\t{decided}\t{_own(*own)}\t{received_at}\t{received_at}"


_own = lru_cache(maxsize=2**16)(reading_order.fields)


def _words(lesion: LesionStanding) -> tuple[object, ...]:
    """Return all that decides but the probabilities themselves."""
    _, *words, _, malignant_probability = lesion
    return (malignant_probability is None, *words)


def facts_of(study: StudyStanding | ListedStanding) -> StudyFacts:
    """Return what a policy looks at."""
    state = "waiting" if study.state in OPEN_STATES else study.state
    return StudyFacts(_PRIORITIES[study.priority], cast("StudyState", state), tuple(map(_lesion, study.lesions)))


def _entry(served: ServedPolicy, study: StudyStanding, last: StudyStanding | None) -> EntryRecord:
    """Place a study, by its last result where it waits for the next one."""
    policy = parse_policy(served.document)
    if last is None:
        return _record(served, study, place(policy, facts_of(study)))
    stays = _kept(served, study, last)
    before = {lesion.lesion_id: lesion.category for lesion in last.lesions}
    raised = [lesion for lesion in study.lesions if _is_raised(lesion, before)]
    if not raised:
        return stays
    moved = _record(served, study, place(policy, facts_of(study._replace(lesions=tuple(raised)))))
    if moved.place_order >= stays.place_order:
        return stays
    decided_by = None if moved.lesion is None else study.lesions.index(raised[moved.lesion - 1]) + 1
    return replace(moved, lesion=decided_by)


def _record(policy: ServedPolicy, study: StudyStanding, at: Place) -> EntryRecord:
    return EntryRecord(
        study_id=study.study_id,
        policy_key=policy.key,
        tier=at.tier,
        rule=at.rule,
        lesion=at.lesion,
        category=at.category,
        probability=at.probability,
        place_order=at.order,
        arrived_at=study.received_at,
        is_read=study.read_tier is not None,
        marks=at.marks,
    )


def _kept(served: ServedPolicy, study: StudyStanding, last: StudyStanding) -> EntryRecord:
    """Give a study the place of its last result, by its own priority; the marks say that the next is not there yet."""
    policy = parse_policy(served.document)
    former = _record(served, last, place(policy, facts_of(last)))
    why = Mark.REQUEUED if last.study_id == study.study_id else Mark.CORRECTED
    return replace(
        former,
        study_id=study.study_id,
        lesion=None if former.lesion is None else _same_lesion(study, last.lesions[former.lesion - 1]),
        place_order=order_of(
            policy, former.tier, Priority(study.priority), category=former.category, probability=former.probability
        ),
        is_read=study.read_tier is not None,
        marks=(Mark.WAITING, why, *former.marks),
    )


def _same_lesion(study: StudyStanding, former: LesionStanding) -> int | None:
    """Return the number of the lesion that decided a former place; ``None``: it is gone, or of another category now."""
    name = former.lesion_id, former.category
    same = (number for number, one in enumerate(study.lesions, 1) if (one.lesion_id, one.category) == name)
    return next(same, None)


def _is_raised(lesion: LesionStanding, before: Mapping[str, str]) -> bool:
    former = before.get(lesion.lesion_id)
    return former is None or CATEGORY_RANK[lesion.category] < CATEGORY_RANK[former]


def _other_tiers(
    session: Session, policies: Sequence[ServedPolicy], studies: Sequence[StudyStanding], entries: Sequence[EntryRecord]
) -> list[tuple[UUID, str, str]]:
    """Return the studies that were read and move to another tier of the active policy: the tier then, and the one now.

    The tier on record is the one to compare with, since a study may have been read under a policy before this one.
    """
    read = {study.study_id: study.read_tier for study in studies if study.read_tier is not None}
    if not read:
        return []
    active = next(policy for policy in policies if policy.active)
    names = [tier.name for tier in parse_policy(active.document).tiers]
    before = worklist.tiers(session, active.key, read)
    return [
        (entry.study_id, read[entry.study_id], f"{active.label} {names[entry.tier - 1]}")
        for entry in entries
        if entry.policy_key == active.key and before.get(entry.study_id, entry.tier) != entry.tier
    ]


def _lesion(lesion: LesionStanding) -> LesionFacts:
    _, category, state, outcome, *scores = lesion
    return LesionFacts._make((category, state, _OUTCOMES[outcome], *scores))
