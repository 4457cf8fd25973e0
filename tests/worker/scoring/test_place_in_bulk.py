"""Studies that are placed all at once: each stands where it would stand if it were placed alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.schema.worklist_records import LesionStanding, ListedStanding
from db.writes.reading_order import FILLED_COLUMNS
from tests.db.samples import arrived, ended, scored, study
from tests.worker.clinical.reading_order.policies import first_rule
from tests.worker.clinical.reading_order.studies import studies
from worker.clinical.categories import Priority
from worker.clinical.reading_order.facts import LesionFacts, StudyFacts
from worker.clinical.reading_order.place import Place, place
from worker.clinical.reading_order.policy import Policy, built_in, built_in_document, everything, parse_policy
from worker.scoring.reading_policy import apply_policy
from worker.scoring.worklist_place import place_in_bulk

POLICIES = {
    "suspicion/2": built_in("suspicion/2"),
    "outcome/1": built_in("outcome/1"),
    "one that asks for a probability": parse_policy(first_rule("min_malignant_probability = 0.5")),
    "one that is sorted by category": parse_policy(first_rule('category = ["5"]', order='["category"]')),
}
RECEIVED = "2026-01-01 00:00:00+00"
WRITTEN = [
    "a\ttab",
    "a back\\slash",
    "two\nlines",
    "\r",
    "\\N",
    "\\.",
    '"quoted", and',
    "",
    "\x85\u2028",
    "Ärzte",
    None,
]


def listed(number: int, facts: StudyFacts) -> ListedStanding:
    lesions = tuple(_lesion(lesion) for lesion in facts.lesions)
    own = (facts.state, facts.priority.value, None, "left", "A Hospital", None)
    return ListedStanding(f"study {number}", number % 2 == 0, *own, RECEIVED, lesions)


def _lesion(facts: LesionFacts) -> LesionStanding:
    outcome = None if facts.outcome is None else facts.outcome.value
    return LesionStanding("L", facts.category, facts.state, outcome, *facts[3:])  # type: ignore[arg-type]


def of_one_lesion(policy: Policy) -> list[StudyFacts]:
    """Every study of one lesion that a policy can tell apart, each with several probabilities."""
    return [
        StudyFacts(priority, seen.study, (lesion,))
        for seen in everything(policy)
        for lesion in _with_others(seen.lesion)
        for priority in Priority
    ]


def _with_others(lesion: LesionFacts) -> list[LesionFacts]:
    more = (0.2, 0.9, None) if lesion.state == "scored" else ()
    return [lesion, *(lesion._replace(malignant_probability=probability) for probability in more)]


def expected(number: int, at: Place, facts: StudyFacts) -> dict[str, str]:
    known = {
        "lesion": at.lesion,
        "category": at.category,
        "probability": at.probability,
        "worklist_class": None,
        "scanner_model": None,
    }
    return {
        "study_id": f"study {number}",
        "policy_id": "7",
        "tier": str(at.tier),
        "rule": str(at.rule),
        "place_order": str(at.order),
        "marks": f"{{{','.join(at.marks)}}}",
        "is_read": str(number % 2 == 0),
        "state": facts.state,
        "priority": facts.priority.value,
        "laterality": "left",
        "site": "A Hospital",
        "received_at": RECEIVED,
        "arrived_at": RECEIVED,
        **{name: r"\N" if value is None else str(value) for name, value in known.items()},
    }


def compare(policy: Policy, asked: list[StudyFacts]) -> None:
    lines = place_in_bulk(policy, 7, [listed(number, facts) for number, facts in enumerate(asked)])
    for number, (facts, line) in enumerate(zip(asked, lines, strict=True)):
        written = dict(zip(FILLED_COLUMNS, line.split("\t"), strict=True))
        assert written == expected(number, place(policy, facts), facts)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_a_study_of_one_lesion_stands_among_others_where_it_stands_alone(policy: Policy) -> None:
    asked = of_one_lesion(policy)
    assert len(asked) > 1000
    compare(policy, asked)
    compare(policy, asked[::-1])


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@given(asked=st.lists(studies(), max_size=8))
def test_so_do_studies_of_any_number_of_lesions(policy: Policy, asked: list[StudyFacts]) -> None:
    compare(policy, asked)


def test_a_place_repeats_what_its_study_says_to_the_letter(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        for number, site in enumerate(WRITTEN):
            study_id = ended(session, study(f"1.2.{number}", str(number)), scored()).study_id
            change = text("UPDATE study SET site = :site, scanner_model = :site WHERE id = :id")
            session.execute(change, {"site": site, "id": study_id})
        arrived(session, study("1.3", "waits"))
    apply_policy(sessions, POLICIES["outcome/1"], built_in_document("outcome/1"), "anne", lambda _: None)
    others = text(
        "SELECT count(*) FILTER (WHERE (entry.site, entry.scanner_model, entry.received_at, entry.arrived_at,"
        " entry.priority, entry.worklist_class, entry.laterality) IS DISTINCT FROM (study.site, study.scanner_model,"
        " study.received_at, study.received_at, study.priority::text, study.worklist_class::text,"
        " study.laterality::text)), count(*) FROM worklist_entry AS entry JOIN study ON study.id = entry.study_id"
    )
    with sessions() as session:
        assert tuple(session.execute(others).one()) == (0, len(WRITTEN) + 1)
