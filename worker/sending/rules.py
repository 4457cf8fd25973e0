"""Which results a destination takes. Whoever has one result of a study gets the later ones, whatever its rules say."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from worker.inference.model_card import DEMO_NOTICE
from worker.reporting.result import LesionResult, StudyResult

NOT_SCORED: Final = "not_scored"
"""The outcome of a lesion that has no scores."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a result has to be; a rule that names nothing asks for nothing.

    Attributes:
        outcomes: of its lesions, one has one of these: ``upgraded``, ``maintained``, ``downgraded``,
            ``not_applicable``, ``not_scored``.
        tiers: its place on the worklist is in one of these.
        priorities: its sender's priority is one of these.
        sites: its site matches one of these patterns (``*``, ``?`` and ``[...]``), letter for letter.
        scanners: the manufacturer and model of its scanner match one of these patterns.
        models: a model of its scores matches one of these patterns, as ``DLR_BM 1.0.0``; without scores it has none,
            and this rule does not ask.
        demo: results of demo models are taken.
    """

    outcomes: Sequence[str] = ()
    tiers: Sequence[str] = ()
    priorities: Sequence[str] = ()
    sites: Sequence[str] = ()
    scanners: Sequence[str] = ()
    models: Sequence[str] = ()
    demo: bool = True


def why_not(rules: Rules, result: StudyResult, *, has_earlier: bool = False) -> str | None:
    """Return the name of the rule by which a destination is not to have a result; ``None``: it is to have it.

    Args:
        rules: the destination's.
        result: ended.
        has_earlier: the destination has an earlier result of the study, so that it gets this one by every rule but
            ``demo``: nobody is left with what no longer holds.
    """
    if is_demo(result) and not rules.demo:
        return "demo"
    if has_earlier:
        return None
    tier = "" if result.place is None else result.place.tier
    versions = [f"{score.model} {score.version}" for lesion in result.lesions for score in lesion.scores]
    asked = (
        ("outcome", rules.outcomes, [_outcome(lesion) for lesion in result.lesions] or [NOT_SCORED]),
        ("tier", rules.tiers, [tier]),
        ("priority", rules.priorities, [result.priority]),
        ("site", rules.sites, [result.site or ""]),
        ("scanner", rules.scanners, [result.scanner_model or ""]),
        ("model", rules.models if versions else (), versions),
    )
    return next((name for name, patterns, values in asked if patterns and not _any(patterns, values)), None)


def is_demo(result: StudyResult) -> bool:
    """Whether a demo model has a part in a result."""
    return DEMO_NOTICE in result.notices


def _outcome(lesion: LesionResult) -> str:
    return lesion.outcome or NOT_SCORED


def _any(patterns: Sequence[str], values: Sequence[str]) -> bool:
    return any(fnmatchcase(value, pattern) for value in values for pattern in patterns)


def in_words(rules: Rules) -> str:
    """Say what is taken, for a person."""
    named = {
        "outcomes": rules.outcomes,
        "tiers": rules.tiers,
        "priorities": rules.priorities,
        "sites": rules.sites,
        "scanners": rules.scanners,
        "models": rules.models,
    }
    said = [f"{name}: {', '.join(values)}" for name, values in named.items() if values] or ["every result"]
    return "; ".join([*said, "demo results too" if rules.demo else "no demo results"])
