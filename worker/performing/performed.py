"""What a manager is told of a work item that we hold: the attribute lists of N-SETs (PS3.4, table CC.2.5-3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pydicom import Dataset

from worker.errors import MEANINGS, Code
from worker.performing.claims import Claim
from worker.performing.scheduled import Coded
from worker.sending.work_item import coded, referenced_instances

CLAIMED: Final = (0, "The study is being fetched")
AT_WORK: Final = (50, "The study is on record and is being scored")
_ENDED: Final = (100, "The study has its result")

_UNSPECIFIED: Final = Coded("110513", "DCM", "Discontinued for unspecified reason")
"""Of CID 9300; the Reason For Cancellation has our code and its meaning."""

_LONGEST_REASON: Final = 10240


@dataclass(frozen=True, slots=True)
class Output:
    """An instance that came of the work, and from whom it is retrieved."""

    study: str
    series: str
    sop_class: str
    sop_instance: str
    retrieve_ae_title: str


@dataclass(frozen=True, slots=True)
class Completed:
    """The work is done."""

    outputs: Sequence[Output] = ()


@dataclass(frozen=True, slots=True)
class Canceled:
    """The work cannot be done."""

    code: Code


Outcome = Completed | Canceled


def progress(step: tuple[int, str]) -> Dataset:
    """Say how far the work is: a part of 100, and a sentence."""
    said = Dataset()
    said.ProcedureStepProgress, said.ProcedureStepProgressDescription = str(step[0]), step[1]
    return _update(said)


def ending(claim: Claim, outcome: Outcome, station: Coded, now: datetime) -> Dataset:
    """Say what the final state of an item asks for, of whichever outcome.

    Args:
        claim: of the item.
        outcome: what came of it.
        station: who did the work.
        now: when it was done; aware.
    """
    if isinstance(outcome, Canceled):
        return _canceled(outcome, now)
    done = Dataset()
    done.ActualHumanPerformersSequence = []
    done.PerformedStationNameCodeSequence = [coded(*station)]
    done.PerformedStationClassCodeSequence = []
    done.PerformedStationGeographicLocationCodeSequence = []
    done.PerformedProcedureStepStartDateTime = _moment(claim.claimed_at)
    done.PerformedProcedureStepDescription = "Breast ultrasound: risk scores and BI-RADS 4A re-stratification"
    done.PerformedWorkitemCodeSequence = [] if claim.workitem is None else [coded(*claim.workitem)]
    done.PerformedProcedureStepEndDateTime = _moment(now)
    done.OutputInformationSequence = [
        referenced_instances(one.study, one.series, [(one.sop_class, one.sop_instance)], one.retrieve_ae_title)
        for one in outcome.outputs
    ]
    whole = progress(_ENDED)
    whole.UnifiedProcedureStepPerformedProcedureSequence = [done]
    return whole


def _canceled(outcome: Canceled, now: datetime) -> Dataset:
    said = Dataset()
    said.ProcedureStepCancellationDateTime = _moment(now)
    said.ReasonForCancellation = f"{outcome.code.value}: {MEANINGS[outcome.code]}"[:_LONGEST_REASON]
    said.ProcedureStepDiscontinuationReasonCodeSequence = [coded(*_UNSPECIFIED)]
    return _update(said)


def _update(said: Dataset) -> Dataset:
    whole = Dataset()
    whole.SpecificCharacterSet = "ISO_IR 192"
    whole.ProcedureStepProgressInformationSequence = [said]
    return whole


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y%m%d%H%M%S}+0000"
