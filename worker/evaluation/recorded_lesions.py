"""The lesions on record that pathology reported on, and what each version of each model scored."""

from collections import Counter
from datetime import datetime

from sqlalchemy.orm import Session

from db.reads.evaluated_lesions import JudgedRow, advising_pairs, judged_lesions
from db.schema.vocabulary import BM_MODEL, LH_MODEL
from worker.clinical.categories import Birads
from worker.errors import Code, SetupRefused
from worker.evaluation.lesions import JudgedLesion, Material, Pair, Scorer, Source


def from_database(session: Session, since: datetime | None = None) -> Material:
    """Read what is on record.

    A version's threshold is the one that it scored most lesions with; those of sites with a threshold of their own keep
    theirs. Versions that advise together now come first.

    Args:
        session: of ``dlr_writer``.
        since: only lesions whose current advice was given then or later.

    Raises:
        SetupRefused: ``lesions_too_few``: pathology reported on no lesion with scores.
    """
    rows = list(judged_lesions(session, since))
    scored = [row for row in rows if row.scores]
    if not scored:
        raise SetupRefused(Code.LESIONS_TOO_FEW)
    used = Counter(
        Scorer(score.model, score.version, score.threshold, score.notice) for row in scored for score in row.scores
    )
    # The commonest last, so that it is the one that stays.
    scorers = {(one.model, one.version): one for one, _ in reversed(used.most_common())}
    advising = [Pair(scorers[LH_MODEL, lh], scorers[BM_MODEL, bm]) for lh, bm in advising_pairs(session, since)]
    first = dict.fromkeys(one for pair in advising for one in (pair.bm, pair.lh))
    lesions = [_lesion(row, scorers) for row in scored]
    counts = Counter(one for lesion in lesions for one in lesion.scores)
    others = sorted(counts.keys() - first.keys(), key=lambda one: (one.model, -counts[one], one.version))
    return Material(
        source=Source.DATABASE,
        lesions=tuple(lesions),
        scorers=(*first, *others),
        pairs=tuple(advising),
        left_out={"without scores": len(rows) - len(scored)},
    )


def _lesion(row: JudgedRow, scorers: dict[tuple[str, str], Scorer]) -> JudgedLesion:
    return JudgedLesion(
        lesion_id=f"{row.study_id} {row.lesion_id}",
        malignant=row.malignant,
        scores={scorers[score.model, score.version]: score.probability for score in row.scores},
        patient=str(row.study_id),
        birads=Birads(row.birads),
        age_years=row.age_years,
        size_mm=row.size_mm,
        site=row.site,
        sets={
            scorers[score.model, score.version]: score.conformal_set
            for score in row.scores
            if score.conformal_set is not None
        },
        images=row.images,
        image_scores={
            scorers[score.model, score.version]: score.image_probabilities
            for score in row.scores
            if score.image_probabilities
        },
        thresholds={
            one: score.threshold
            for score in row.scores
            if (one := scorers[score.model, score.version]).threshold != score.threshold
        },
    )
