"""Each study's place on the worklist: the policy (`worker.clinical.reading_order`) in the ledger's words."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import cast
from uuid import UUID

from sqlalchemy.orm import Session

from db.reads.standings import former_standings, kept_places, standings
from db.schema.vocabulary import OPEN_STATES, Mark
from db.schema.worklist_records import (
    EntryRecord,
    KeptPlace,
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

_KEEPS = {Mark.CORRECTED, Mark.REQUEUED}
_OF_WAITING = {Mark.WAITING, *_KEEPS}
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
    on_list = kept_places(session, [study.study_id for study in waiting]) if waiting else {}
    kept = _kept_places(session, policies, waiting, on_list)
    entries = [_entry(policy, study, kept.get((study.study_id, policy.key))) for study in listed for policy in policies]
    again = _other_tiers(session, policies, listed, entries)
    worklist.mark_unread(session, again)
    unread = {study_id for study_id, _, _ in again}
    worklist.put_entries(
        session, [replace(entry, is_read=entry.is_read and entry.study_id not in unread) for entry in entries]
    )
    former = {place.entry.study_id for places in on_list.values() for place in places}
    gone = former - {study.study_id for study in waiting}
    worklist.remove_entries(session, gone | {study.study_id for study in found if not study.listed})


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


def _entry(policy: ServedPolicy, study: StudyStanding, kept: KeptPlace | None) -> EntryRecord:
    rule = parse_policy(policy.document)
    if kept is None:
        return _record(policy, study, place(rule, facts_of(study)))
    stays = _kept(rule, study, kept)
    raised = [lesion for lesion in study.lesions if _is_raised(lesion, kept.categories)]
    if not raised:
        return stays
    moved = _record(policy, study, place(rule, facts_of(study._replace(lesions=tuple(raised)))))
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


def _kept(policy: Policy, study: StudyStanding, kept: KeptPlace) -> EntryRecord:
    """Give a study a former place, by its own priority; the marks say that its next result is not there yet."""
    former = kept.entry
    why = Mark.REQUEUED if former.study_id == study.study_id and Mark.CORRECTED not in former.marks else Mark.CORRECTED
    of_result = tuple(mark for mark in former.marks if mark not in _OF_WAITING)
    return replace(
        former,
        study_id=study.study_id,
        lesion=_same_lesion(study, kept),
        place_order=order_of(
            policy, former.tier, Priority(study.priority), category=former.category, probability=former.probability
        ),
        is_read=study.read_tier is not None,
        marks=(Mark.WAITING, why, *of_result),
    )


def _same_lesion(study: StudyStanding, kept: KeptPlace) -> int | None:
    """Return the number of the lesion that decided a former place; ``None``: it is gone, or of another category now."""
    if kept.entry.lesion is None:
        return None
    name, category = list(kept.categories.items())[kept.entry.lesion - 1]
    same = (place for place, one in enumerate(study.lesions, 1) if (one.lesion_id, one.category) == (name, category))
    return next(same, None)


def _kept_places(
    session: Session,
    policies: Sequence[ServedPolicy],
    waiting: Sequence[StudyStanding],
    on_list: Mapping[UUID, Sequence[KeptPlace]],
) -> dict[tuple[UUID, int], KeptPlace]:
    """Return the places of the last results of studies that wait for their next one, by study and policy.

    A policy that is new has none of a correction or of a study that is queued again: that is the place that it gives
    to the last result.
    """
    kept = {
        (study.study_id, policy.key): found
        for study in waiting
        for policy in policies
        if (found := _of_policy(on_list.get(study.study_id, ()), policy, study)) is not None
    }
    keeps = {study_id for study_id, _ in kept}
    incomplete = [
        study.study_id
        for study in waiting
        if (study.study_id in keeps or study.revision > 1)
        and any((study.study_id, policy.key) not in kept for policy in policies)
    ]
    for study_id, last in (former_standings(session, incomplete) if incomplete else {}).items():
        categories = {lesion.lesion_id: lesion.category for lesion in last.lesions}
        for policy in policies:
            if (study_id, policy.key) not in kept:
                entry = _record(policy, last, place(parse_policy(policy.document), facts_of(last)))
                kept[study_id, policy.key] = KeptPlace(entry, categories)
    return kept


def _of_policy(places: Iterable[KeptPlace], policy: ServedPolicy, study: StudyStanding) -> KeptPlace | None:
    """Return the place of the last result under a policy: the study's own, or that of the revision before it."""
    for kept in sorted(places, key=lambda kept: kept.entry.study_id != study.study_id):
        marks = set(kept.entry.marks)
        if kept.entry.policy_key == policy.key:
            return kept if Mark.WAITING not in marks or marks & _KEEPS else None
    return None


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
