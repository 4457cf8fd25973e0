"""What the database has to say after a fault: nothing lost, nothing twice, nothing that contradicts itself."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.faults.service import FaultService
from benchmarks.faults.studies import MadeStudy
from worker.clinical.categories import Outcome, Priority
from worker.clinical.reading_order.facts import LesionFacts, StudyFacts
from worker.clinical.reading_order.place import place
from worker.clinical.reading_order.policy import DEFAULT, built_in

_STUDIES = """
SELECT study_instance_uid AS uid, count(*) AS rows, count(*) FILTER (WHERE is_current) AS current,
       max(study.state::text) AS state, max(study.priority::text) AS priority,
       max(place_order) AS place, max(attempts) AS attempts, max(error_code) AS code
FROM study LEFT JOIN worklist_entry ON study_id = id AND is_current
WHERE study_instance_uid = ANY(%s) GROUP BY study_instance_uid
"""
_LESIONS = """
SELECT s.study_instance_uid AS uid, l.lesion_id, l.state::text, l.age_years,
       array_agg(m.name ORDER BY p.id) FILTER (WHERE m.name IS NOT NULL) AS models,
       array_agg(p.positive_probability ORDER BY p.id) FILTER (WHERE m.name IS NOT NULL) AS scores,
       array_agg(p.positive ORDER BY p.id) FILTER (WHERE m.name IS NOT NULL) AS classes,
       max(l.birads::text) AS category,
       (SELECT count(*) FROM restratification r WHERE r.lesion_id = l.id) AS advice,
       (SELECT max(r.outcome::text) FROM restratification r WHERE r.lesion_id = l.id AND r.is_current) AS outcome
FROM study s JOIN lesion l ON l.study_id = s.id LEFT JOIN prediction p ON p.lesion_id = l.id
     LEFT JOIN model m ON m.id = p.model_id
WHERE s.study_instance_uid = ANY(%s) GROUP BY s.study_instance_uid, l.id ORDER BY l.id
"""
_ENDS = """
SELECT s.study_instance_uid AS uid, count(*) AS ends FROM study s JOIN study_event e ON e.study_id = s.id
WHERE e.event IN ('done', 'partial', 'failed') AND s.study_instance_uid = ANY(%s) GROUP BY s.study_instance_uid
"""


@dataclass(slots=True)
class Verdict:
    """What is wrong with which study, if anything.

    Attributes:
        lost: studies that did not end.
        wrong: what is there twice, contradicts itself, or is another study's: one sentence each.
        states: how many studies ended in each state.
    """

    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def is_clean(self) -> bool:
        return not self.lost and not self.wrong


def verify(
    service: FaultService,
    studies: Sequence[MadeStudy],
    may_fail: Sequence[MadeStudy] = (),
    ended_before: Collection[str] = (),
) -> Verdict:
    """Hold the database against what each study has to have.

    Args:
        service: its database.
        studies: all that were pushed.
        may_fail: those that may end without scores.
        ended_before: UIDs of those that a person queued again, and that have ended twice therefore.
    """
    uids = [study.uid for study in studies]
    rows = {row["uid"]: row for row in service.sql(_STUDIES, uids)}
    ends = {row["uid"]: row["ends"] for row in service.sql(_ENDS, uids)}
    lesions: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for lesion in service.sql(_LESIONS, uids):
        lesions[lesion["uid"]].append(lesion)
    verdict, poison = Verdict(), {study.uid for study in may_fail}
    for study in studies:
        row = rows.get(study.uid)
        if row is None or row["state"] not in ("done", "partial", "failed"):
            verdict.lost.append(study.uid)
            continue
        verdict.states[row["state"]] += 1
        faults = _row_faults(row, lesions[study.uid], ends.get(study.uid, 0) - (study.uid in ended_before))
        if study.uid not in poison:
            faults += _score_faults(study, row, lesions[study.uid])
        verdict.wrong += [f"{study.uid}: {fault}" for fault in faults]
    return verdict


def _row_faults(row: dict[str, Any], lesions: list[dict[str, Any]], ends: int) -> list[str]:
    faults = []
    if (row["rows"], row["current"]) != (1, 1):
        faults.append(f"{row['rows']} rows, {row['current']} of them current")
    if ends != 1:
        faults.append(f"ended {ends} times")
    outcomes = tuple(lesion["outcome"] for lesion in lesions if lesion["outcome"])
    complete = all(lesion["state"] == "scored" for lesion in lesions)
    if (row["state"] == "done") != complete or (row["state"] == "failed") != (not outcomes):
        faults.append(f"{row['state']} contradicts its lesions")
    facts = StudyFacts(Priority(row["priority"]), row["state"], tuple(map(_facts, lesions)))
    if place(built_in(DEFAULT), facts).order != row["place"]:
        faults.append("stands at another place on the worklist than its lesions say")
    return faults


def _facts(lesion: dict[str, Any]) -> LesionFacts:
    if lesion["state"] != "scored":
        return LesionFacts(lesion["category"], lesion["state"])
    scores = dict(zip(lesion["models"], zip(lesion["classes"], lesion["scores"], strict=True), strict=True))
    (high_risk, lh), (malignant, bm) = scores["DLR_LH"], scores["DLR_BM"]
    return LesionFacts(lesion["category"], "scored", Outcome(lesion["outcome"]), high_risk, malignant, lh, bm)


def _score_faults(study: MadeStudy, row: dict[str, Any], lesions: list[dict[str, Any]]) -> list[str]:
    if row["state"] != "done":
        return [f"{row['state']} ({row['code']}, {row['attempts']} attempts)"]
    found = {}
    for lesion in lesions:
        if lesion["models"] is None or sorted(lesion["models"]) != ["DLR_BM", "DLR_LH"] or lesion["advice"] != 1:
            return [f"{lesion['lesion_id']} has scores {lesion['models']} and {lesion['advice']} recommendations"]
        by_model = dict(zip(lesion["models"], lesion["scores"], strict=True))
        found[lesion["lesion_id"]] = (lesion["age_years"], by_model["DLR_LH"], by_model["DLR_BM"])
    return [] if found == study.expected else ["has another lesion's scores, or another age"]
