"""The flow of inclusion and exclusion, as a study draws it (Fig. S1): found, left out and why, included."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from worker.clinical.categories import Birads
from worker.dataset.check import Checked
from worker.dataset.manifest import ManifestRow, Pathology, Split


@dataclass(frozen=True, slots=True)
class FlowStep:
    """One line of the flow.

    Attributes:
        step: ``found``, ``excluded`` or ``included``.
        of: which of them: why excluded; of the included, a BI-RADS category, an age or a split; empty for all.
        rows: how many.
        patients: that they are of. A row that cannot be read counts as a row and as no patient or lesion.
        lesions: that they are of.
        benign: lesions that pathology called so.
        malignant: lesions that pathology called so.
    """

    step: str
    of: str
    rows: int
    patients: int
    lesions: int
    benign: int
    malignant: int


def flow_of(checked: Checked) -> tuple[FlowStep, ...]:
    """Count a manifest's rows on their way in. Each row is in exactly one of ``excluded`` and ``included``.

    A row that is excluded counts under its own reason; one that is at fault, under its first fault's code.
    """
    manifest, sound = checked.manifest, checked.sound
    unread = Counter(fault.line for fault in manifest.faults)
    why = {fault.line: str(fault.code) for fault in reversed(checked.faults)}
    why |= {line: row.excluded for line, row in manifest.rows.items() if row.excluded is not None}
    steps = [_step("found", "", manifest.rows.values(), len(unread))]
    for reason, _ in sorted(Counter(why.values()).items(), key=lambda item: (-item[1], item[0])):
        lines = [line for line, other in why.items() if other == reason]
        known = [manifest.rows[line] for line in lines if line in manifest.rows]
        steps.append(_step("excluded", reason, known, len(lines) - len(known)))
    steps.append(_step("included", "", sound.values()))
    parts: list[tuple[str, list[ManifestRow]]] = [
        (f"BI-RADS {category or 'not known'}", [row for row in sound.values() if row.birads == category])
        for category in [*Birads, None]
    ]
    parts.append(("without an age", [row for line, row in sound.items() if checked.ages[line] is None]))
    parts += [(f"split {split}", [row for row in sound.values() if row.split is split]) for split in Split]
    return (*steps, *(_step("included", of, rows) for of, rows in parts if rows))


@dataclass(frozen=True, slots=True)
class Part:
    """A split, or a fold of it: what is in it. ``share`` is of the rows of all splits, 0 to 1; empty for a fold."""

    split: Split
    fold: int | None
    rows: int
    share: float | None
    patients: int
    benign: int
    malignant: int


def parts_of(rows: Iterable[ManifestRow]) -> tuple[Part, ...]:
    """Count what is in each split, and in each fold."""
    known = [row for row in rows if row.split is not None]
    parts = []
    for split in Split:
        inside = [row for row in known if row.split is split]
        for fold in [None, *sorted({row.fold for row in inside if row.fold is not None})] if inside else []:
            step = _step("", "", [row for row in inside if fold in (None, row.fold)])
            share = step.rows / len(known) if fold is None else None
            parts.append(Part(split, fold, step.rows, share, step.patients, step.benign, step.malignant))
    return tuple(parts)


def _step(step: str, of: str, rows: Iterable[ManifestRow], unread: int = 0) -> FlowStep:
    known = list(rows)
    lesions: dict[tuple[str, str], Pathology | None] = {}
    for row in known:
        lesion = row.patient_key, row.lesion_id
        lesions[lesion] = lesions.get(lesion) or row.pathology
    found = Counter(lesions.values())
    return FlowStep(
        step,
        of,
        rows=len(known) + unread,
        patients=len({row.patient_key for row in known}),
        lesions=len(lesions),
        benign=found[Pathology.BENIGN],
        malignant=found[Pathology.MALIGNANT],
    )
