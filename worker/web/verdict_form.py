"""The form of a reading: what it asks of each lesion, what was said before, and what a radiologist answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4, uuid5

from sqlalchemy.orm import Session as DatabaseSession

from db.reads.verdicts import AdviceKey, StudyVerdictRow, advice_keys, others_reading, said_of
from db.schema.verdicts import LONGEST_REMARK
from db.schema.vocabulary import FinalCategory, Outcome
from db.writes.verdicts import LesionVerdict
from worker.contract import MAX_LESIONS
from worker.text import composed
from worker.web.languages import gettext_noop
from worker.web.sessions import Session

LARGEST_BYTES = 1 << 20
"""Of a form: remarks on a hundred lesions in any script."""

MOST_FIELDS = 3 * MAX_LESIONS + 10
CATEGORIES = tuple(category.value for category in FinalCategory)
_ANSWERS = {"": None, "yes": True, "no": False}

NO_CATEGORY = gettext_noop("Give the final category.")
NO_ANSWER = gettext_noop("Say whether you agree with the advice.")
TOO_LONG = gettext_noop("The remark is longer than 500 characters.")


@dataclass(frozen=True, slots=True)
class Entry:
    """What was entered for one lesion, and what is wrong with it; the fault is a sentence of the catalogue."""

    agrees: str = ""
    final: str = ""
    remark: str = ""
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class VerdictForm:
    """A form as it is shown.

    Attributes:
        key: of the reading, before its content is known; sent with the form.
        advised: of each lesion by its place in the job, whether there is advice to agree with.
        advice: the ledger's keys of the advice on all lesions, as they are shown.
        entries: what was entered before, where the form is shown again.
    """

    key: UUID
    advised: Mapping[int, bool]
    advice: Sequence[int]
    entries: Mapping[int, Entry]

    def entry(self, ordinal: int) -> Entry:
        """Return what was entered for a lesion; nothing, at first."""
        return self.entries.get(ordinal, Entry())


class FormUnreadable(ValueError):
    """What was sent is not what this form sends."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a form says. ``advice`` is what its page showed; ``faulty`` has the entries where one has a fault."""

    key: UUID
    advice: tuple[int, ...]
    entries: Mapping[int, Entry]

    @property
    def faulty(self) -> bool:
        """Whether an entry has to be corrected."""
        return any(entry.fault for entry in self.entries.values())

    def reading_key(self) -> UUID:
        """Return the key of this reading: the same form with the same content has the same, whenever it is sent."""
        said = [(ordinal, one.agrees, one.final, one.remark) for ordinal, one in sorted(self.entries.items())]
        return uuid5(self.key, repr((self.advice, said)))

    def verdicts(self, lesions: Sequence[AdviceKey]) -> list[LesionVerdict]:
        """Return the verdicts on those lesions that have one."""
        return [
            LesionVerdict(lesion.lesion, _ANSWERS[entry.agrees], entry.final, entry.remark or None)
            for lesion in lesions
            if (entry := self.entries.get(lesion.ordinal)) is not None and entry.final
        ]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a study's page shows of verdicts.

    Attributes:
        said: every verdict on each lesion by its place in the job, the one that counts first.
        form: for an account that may give some; else ``None``.
        others: who else has the study open.
    """

    said: Mapping[int, list[StudyVerdictRow]]
    form: VerdictForm | None
    others: list[str]


def verdicts_shown(session: DatabaseSession, study_id: UUID, who: Session, answer: Answer | None = None) -> Verdicts:
    """Read what a study's page shows of verdicts.

    Args:
        session: of ``dlr_web``; it sees the same moment as what else the page shows.
        study_id: on the worklist.
        who: asks.
        answer: what was sent and has to be corrected.
    """
    form = None
    if who.is_radiologist:
        lesions = advice_keys(session, study_id)
        form = VerdictForm(
            key=uuid4() if answer is None else answer.key,
            advised={lesion.ordinal: _has_advice(lesion) for lesion in lesions},
            advice=[lesion.advice for lesion in lesions if lesion.advice is not None],
            entries={} if answer is None else answer.entries,
        )
    return Verdicts(said_of(session, study_id), form, others_reading(session, study_id, who.name))


def read_answer(form: Mapping[str, str], lesions: Sequence[AdviceKey]) -> Answer:
    """Read what a form says about a study's lesions.

    Args:
        form: its fields: ``reading``, ``advice``, and ``agrees-N``, ``final-N`` and ``remark-N`` for lesion N.
        lesions: of the study, as they are now.

    Raises:
        FormUnreadable: a field is missing, or has a value that the form does not offer.
    """
    try:
        key, advice = UUID(form["reading"]), tuple(int(part) for part in form["advice"].split())
    except (KeyError, ValueError):
        raise FormUnreadable from None
    entries = {lesion.ordinal: _entry(form, lesion) for lesion in lesions}
    return Answer(key, advice, {ordinal: entry for ordinal, entry in entries.items() if entry != Entry()})


def _entry(form: Mapping[str, str], lesion: AdviceKey) -> Entry:
    agrees, final, remark = (form.get(f"{name}-{lesion.ordinal}", "") for name in ("agrees", "final", "remark"))
    if agrees not in _ANSWERS or final not in ("", *CATEGORIES):
        raise FormUnreadable
    # A browser sends each line end as two characters, and counts one.
    remark = composed(remark.replace("\r\n", "\n").replace("\0", "").strip())
    if not _has_advice(lesion):
        agrees = ""
    fault = None
    if len(remark) > LONGEST_REMARK:
        fault = TOO_LONG
    elif not final and (agrees or remark):
        fault = NO_CATEGORY
    elif final and not agrees and _has_advice(lesion):
        fault = NO_ANSWER
    return Entry(agrees, final, remark, fault)


def _has_advice(lesion: AdviceKey) -> bool:
    return lesion.outcome not in (None, Outcome.NOT_APPLICABLE.value)
