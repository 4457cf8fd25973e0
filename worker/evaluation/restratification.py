"""What the rule advises for the 4A lesions, held against pathology: Fig. S5, missed cancers first."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.clinical.categories import Birads, Outcome
from worker.clinical.proportions import ARMS, Proportion, Verdict, compare, proportion
from worker.clinical.restratify import Assessment, restratify
from worker.evaluation.lesions import JudgedLesion, Pair


@dataclass(frozen=True, slots=True)
class MissedCancer:
    """A malignant lesion that is advised down to BI-RADS 3, with its scores, 0 to 1."""

    lesion_id: str
    high_risk_probability: float
    malignant_probability: float


@dataclass(frozen=True, slots=True)
class Arm:
    """The 4A lesions with one advice.

    Attributes:
        outcome: the advice.
        share: of all 4A lesions with scores.
        malignant: of the lesions in this arm; of the upgraded it is the positive predictive value.
    """

    outcome: Outcome
    share: Proportion
    malignant: Proportion


@dataclass(frozen=True, slots=True)
class Restratification:
    """Fig. S5 for one pair of versions.

    Attributes:
        missed_cancers: the malignant lesions among the downgraded, the least suspicious to DLR_BM first.
        missed: of the malignant 4A lesions.
        spared: benign lesions among the downgraded, of the benign 4A lesions: biopsies that would not have been done.
        arms: downgraded, kept and upgraded.
        uncertain: of all 4A lesions with scores, those kept because a model is not certain.
        lh_version: of DLR_LH.
        lh_threshold: 0 to 1; that of lesions whose site has one of its own is not it, as with ``bm_threshold``.
        bm_version: of DLR_BM.
        bm_threshold: 0 to 1.
        rule_version: of the rule.
        p_value: of the rates against the study's; ``None`` for too few lesions.
        against_study: what that says.
    """

    missed_cancers: tuple[MissedCancer, ...]
    missed: Proportion
    spared: Proportion
    arms: tuple[Arm, ...]
    uncertain: Proportion
    lh_version: str
    lh_threshold: float
    bm_version: str
    bm_threshold: float
    rule_version: str
    p_value: float | None
    against_study: Verdict


def restratification(
    lesions: Sequence[JudgedLesion], pair: Pair, lh_threshold: float, bm_threshold: float
) -> Restratification | None:
    """Apply the rule to the 4A lesions that both versions scored; ``None`` where there are none.

    Args:
        lesions: of any category.
        pair: whose scores advise.
        lh_threshold: DLR_LH's, 0 to 1.
        bm_threshold: DLR_BM's, 0 to 1.
    """
    scored = [
        lesion
        for lesion in lesions
        if lesion.birads is Birads.LOW_SUSPICION and pair.lh in lesion.scores and pair.bm in lesion.scores
    ]
    if not scored:
        return None
    of_arm: dict[Outcome, list[JudgedLesion]] = {arm: [] for arm in ARMS}
    advised = [_advice(lesion, pair, lh_threshold, bm_threshold) for lesion in scored]
    for lesion, advice in zip(scored, advised, strict=True):
        of_arm[advice.outcome].append(lesion)
    compared = compare({arm: len(found) for arm, found in of_arm.items()})
    cancers, down = sum(lesion.malignant for lesion in scored), of_arm[Outcome.DOWNGRADED]
    missed = sorted((one for one in down if one.malignant), key=lambda one: (one.scores[pair.bm], one.lesion_id))
    return Restratification(
        missed_cancers=tuple(MissedCancer(one.lesion_id, one.scores[pair.lh], one.scores[pair.bm]) for one in missed),
        missed=proportion(len(missed), cancers),
        spared=proportion(len(down) - len(missed), len(scored) - cancers),
        arms=tuple(
            Arm(arm, compared.rates[arm], proportion(sum(one.malignant for one in found), len(found)))
            for arm, found in of_arm.items()
        ),
        uncertain=proportion(sum(advice.uncertain for advice in advised), len(scored)),
        lh_version=pair.lh.version,
        lh_threshold=lh_threshold,
        bm_version=pair.bm.version,
        bm_threshold=bm_threshold,
        rule_version=", ".join(sorted({advice.rule_version for advice in advised})),
        p_value=compared.p_value,
        against_study=compared.verdict,
    )


def _advice(lesion: JudgedLesion, pair: Pair, lh_threshold: float, bm_threshold: float) -> Assessment:
    return restratify(
        Birads.LOW_SUSPICION,
        high_risk=lesion.scores[pair.lh] >= lesion.threshold(pair.lh, lh_threshold),
        malignant=lesion.scores[pair.bm] >= lesion.threshold(pair.bm, bm_threshold),
        lh_set=lesion.sets.get(pair.lh),
        bm_set=lesion.sets.get(pair.bm),
    )
