"""A table of scores, CSV, JSON or Parquet: a row a lesion, and a column a version of a model."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from db.schema.vocabulary import BM_MODEL, LH_MODEL
from worker.clinical.aggregation import MOST_IMAGES
from worker.clinical.categories import Priority
from worker.contract import ShortText
from worker.dataset.manifest import Category, Fault, Pathology, Split
from worker.errors import Code, ModelRefused, SetupRefused
from worker.evaluation.lesions import (
    CATEGORIES,
    GIVEN,
    JudgedLesion,
    Material,
    Scorer,
    Source,
    largest_mm,
    named_apart,
    pairs_of,
)
from worker.inference.model_card import load_card
from worker.tables.csv_json import TOO_MANY_CELLS, read_rows
from worker.tables.parquet import is_parquet, read_parquet, text_of
from worker.validation_errors import Flaw, flaws_of

COLUMN_OF = {LH_MODEL: "high_risk_probability", BM_MODEL: "malignant_probability"}
"""The column of each model; another version's ends in ``_`` and its name."""

_CARD_FILE = "card.json"

_VERSION = r"[a-z0-9][a-z0-9._-]{0,63}"
_SCORE_COLUMN = re.compile(rf"({'|'.join(COLUMN_OF.values())})(?:_({_VERSION}))?")
_NEEDED = ("lesion_id", "pathology")
_WORDS = ("lesion_id", "patient_key", "study_id", "birads", "site")

_Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Extent = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


class ScoresLine(BaseModel):
    """What a row says of a lesion, besides its scores."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    lesion_id: ShortText = Field(description="Unique in the file, or of the patient, or of the study")
    pathology: Annotated[Pathology, BeforeValidator(_lower)] = Field(description="benign or malignant")
    patient_key: ShortText | None = Field(
        default=None, description="A pseudonym: the same for all lesions of a patient"
    )
    study_id: ShortText | None = Field(default=None, description="A pseudonym: the same for all lesions of a study")
    priority: Annotated[Priority | None, BeforeValidator(_lower)] = Field(default=None, description="Of the study")
    birads: Annotated[Category | None, BeforeValidator(_upper)] = Field(default=None, description="The radiologist's")
    age_years: float | None = Field(default=None, ge=0, le=120, allow_inf_nan=False)
    width_mm: _Extent | None = None
    height_mm: _Extent | None = None
    size_mm: _Extent | None = Field(default=None, description="The largest extent, if width and height are not known")
    site: ShortText | None = Field(default=None, description="Where the image was made")
    images: int | None = Field(default=None, ge=1, le=MOST_IMAGES, description="On how many the lesion was scored")
    split: Annotated[Split | None, BeforeValidator(_lower)] = Field(
        default=None, description="validation: for choosing thresholds; test, or external: for measuring"
    )
    scores: dict[str, _Fraction] = Field(default_factory=dict, description="By column")


COLUMNS = tuple(name for name in ScoresLine.model_fields if name != "scores")


@dataclass(frozen=True, slots=True)
class ScoresFile:
    """What a table holds: the lesions, those of them without any score, and the rows that are none."""

    material: Material
    unscored: tuple[JudgedLesion, ...]
    bad: tuple[Fault, ...]


def read_scores(path: Path) -> ScoresFile:
    """Read a table of scores.

    Args:
        path: Parquet where it ends in ``.parquet``; else UTF-8, CSV with commas or semicolons, or a JSON list of
            objects, 64 MiB at most. The notice of a card in its folder goes with its lesions.

    Raises:
        SetupRefused: ``scores_invalid``: it is not there, too large, neither, has other columns, or no score although
            every row is sound.
    """
    lines: dict[int, ScoresLine] = {}
    bad: list[Fault] = []
    for number, row in _rows(path):
        try:
            lines[number] = _line(row)
        except ValidationError as invalid:
            faults = flaws_of(invalid)
            bad.append(Fault(number, Code.ROW_INVALID, "; ".join(dict.fromkeys(_sentence(fault) for fault in faults))))
    repeated = _repeated(lines)
    bad += [
        Fault(number, Code.ROW_REPEATED, "another row has this lesion_id, patient_key and study_id")
        for number in repeated
    ]
    sound = [line for number, line in lines.items() if number not in repeated]
    if not bad and not any(line.scores for line in sound):
        reason = f"no row has a score: give a column {' or '.join(COLUMN_OF.values())}"
        raise SetupRefused(Code.SCORES_INVALID, reason)
    names = named_apart([(_whose(line), line.lesion_id) for line in sound])
    named = list(zip(names, sound, strict=True))
    unscored = tuple(_lesion(name, line, {}) for name, line in named if not line.scores)
    return ScoresFile(_material(named, path), unscored, tuple(sorted(bad, key=lambda fault: fault.line)))


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    if not is_parquet(path):
        return read_rows(path, Code.SCORES_INVALID, "lesions", _header_fault)
    rows = read_parquet(path, _header_fault, Code.SCORES_INVALID)
    return ((number, {name: _texts(name, cell) for name, cell in row.items()}) for number, row in rows)


def _texts(name: str, cell: object) -> object:
    """A cell as CSV would have it, where a column holds words: others may have stored them as numbers."""
    return text_of(cell) if name in _WORDS else cell


def _header_fault(names: Sequence[str]) -> str | None:
    unknown = [str(place) for place, name in enumerate(names, start=1) if not _is_column(name)]
    if unknown:
        # A heading that is not ours came with the file, and may be anything.
        known = ", ".join((*COLUMNS, *COLUMN_OF.values()))
        return f"column {', '.join(unknown)} is none of {known}, or one of the last two with _ and a version behind it"
    missing = [name for name in _NEEDED if name not in names]
    return f"the file has no column {', '.join(missing)}" if missing else None


def _is_column(name: str) -> bool:
    return name in COLUMNS or _SCORE_COLUMN.fullmatch(name) is not None


def _line(row: Any) -> ScoresLine:
    if not isinstance(row, dict):
        return ScoresLine.model_validate(row)
    cells = {str(name).lower(): value for name, value in row.items() if value is not None or name == TOO_MANY_CELLS}
    scores = {name: value for name, value in cells.items() if _SCORE_COLUMN.fullmatch(name)}
    # A field named scores would not be a column's.
    plain = {"" if name == "scores" else name: value for name, value in cells.items() if name not in scores}
    return ScoresLine.model_validate({**plain, "scores": scores})


def _scorer(column: str) -> Scorer:
    found = _SCORE_COLUMN.fullmatch(column)
    assert found is not None  # noqa: S101  `_is_column` said so
    [model] = [name for name, start in COLUMN_OF.items() if start == found[1]]
    return Scorer(model, found[2] or GIVEN)


def _repeated(lines: Mapping[int, ScoresLine]) -> set[int]:
    """The rows whose lesion an earlier row has."""
    seen: set[tuple[str | None, str | None, str]] = set()
    repeated = set()
    for number, line in lines.items():
        key = (line.patient_key, line.study_id, line.lesion_id)
        if key in seen:
            repeated.add(number)
        seen.add(key)
    return repeated


def _whose(line: ScoresLine) -> str | None:
    return "/".join(filter(None, (line.patient_key, line.study_id))) or None


def _material(named: Sequence[tuple[str, ScoresLine]], path: Path) -> Material:
    scored = [(name, line) for name, line in named if line.scores]
    scorers = {column: _scorer(column) for _, line in scored for column in line.scores}
    ordered = tuple(sorted(scorers.values(), key=lambda one: (one.model, one.version != GIVEN)))
    return Material(
        source=Source.SCORES,
        lesions=tuple(_lesion(name, line, scorers) for name, line in scored),
        scorers=ordered,
        pairs=pairs_of(ordered),
        left_out={"without scores": len(named) - len(scored)},
        notices=_notices_beside(path, ordered),
    )


def _notices_beside(path: Path, scorers: Sequence[Scorer]) -> tuple[str, ...]:
    """The notice of the card beside the table, where `dlr train` writes both: a demo model's goes with its report."""
    try:
        card = load_card(path.with_name(_CARD_FILE))
    except ModelRefused:
        return ()
    is_its = any((one.model, one.version) == (card.name, GIVEN) for one in scorers)
    return (f"{card.name} {card.version}: {card.notice}",) if card.notice and is_its else ()


def _lesion(name: str, line: ScoresLine, scorers: Mapping[str, Scorer]) -> JudgedLesion:
    return JudgedLesion(
        lesion_id=name,
        malignant=line.pathology is Pathology.MALIGNANT,
        scores={scorers[column]: score for column, score in line.scores.items()},
        patient=line.patient_key,
        birads=line.birads,
        age_years=line.age_years,
        size_mm=largest_mm(line.width_mm, line.height_mm, line.size_mm),
        site=line.site,
        split=line.split,
        study=line.study_id,
        priority=line.priority,
        images=line.images,
    )


def _sentence(fault: Flaw) -> str:
    place = next((str(part) for part in fault.place if _is_column(str(part))), None)
    if place == "birads":
        return f"birads: one of {', '.join(CATEGORIES)}"
    if fault.kind == "extra_forbidden":
        return "more cells, or other fields, than there are columns"
    return f"{place}: {fault.sentence}" if place else fault.sentence
