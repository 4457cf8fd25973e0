"""Every row of a manifest, looked at: its image, its region, its labels, and whether it is there twice."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from worker.dataset.finding import Finding
from worker.dataset.manifest import Fault, Manifest, ManifestRow, cells_of
from worker.dataset.manifest_image import Appearance, read_lesion, said_of
from worker.dataset.near_duplicates import Fingerprint, fingerprint, same_or_alike
from worker.dataset.splits import leaks
from worker.errors import MEANINGS, Code, Refused
from worker.image_access import DEFAULT_LIMITS, Limits

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Checked:
    """A manifest that was looked at.

    Attributes:
        manifest: as it was read.
        faults: of all rows, by line. Nothing is trained while there is one.
        warnings: what a person should look at, and may leave: nearly the same image under two patients, a lesion with
            two categories, and what the service's gate says against a region.
        prints: of the images that could be read, by line.
        ages: years, or ``None`` where there is no age, by line; of a DICOM file's header too.
        pairs: lines whose images are the same or nearly so.
        seen: what the images that could be read show, by line.
        calipers: whether these have calipers on the lesion or beside it, by line; empty where nobody asked.
    """

    manifest: Manifest
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]
    prints: Mapping[int, Fingerprint]
    ages: Mapping[int, float | None]
    pairs: tuple[tuple[int, int], ...]
    seen: Mapping[int, Appearance]
    calipers: Mapping[int, bool]

    @property
    def without_bad(self) -> Manifest:
        """The manifest without its bad rows, which are its faults."""
        bad = {fault.line for fault in self.faults}
        rows = {line: row for line, row in self.manifest.rows.items() if line not in bad}
        return replace(self.manifest, rows=rows, faults=self.faults)

    @property
    def sound(self) -> dict[int, ManifestRow]:
        """The rows that are neither excluded nor at fault, by line."""
        return self.without_bad.included

    @property
    def digest(self) -> str:
        """The SHA-256 of the sound rows and their files, for a model's card; the order of the rows does not matter."""
        return digest_of(self.sound, self.prints)


def check(
    manifest: Manifest,
    limits: Limits = DEFAULT_LIMITS,
    on_progress: OnProgress = lambda _done, _total: None,
    excluding: Collection[Finding] = (),
    *,
    with_calipers: bool = False,
) -> Checked:
    """Look at every row that is not excluded. A bad one does not stop the others.

    Args:
        manifest: as it was read.
        limits: the largest file and frame.
        on_progress: told how many rows are done, and of how many.
        excluding: findings by which a row is excluded, as if the manifest said so: in ``excluded`` it has the finding.
            To look for calipers takes longer than all else.
        with_calipers: look for calipers in any case.

    Raises:
        Unavailable: ``storage_unavailable``: the disk is away, which says nothing about the rows.
    """
    faults = list(manifest.faults)
    prints: dict[int, Fingerprint] = {}
    ages: dict[int, float | None] = {}
    warnings: list[Fault] = []
    seen: dict[int, Appearance] = {}
    calipers: dict[int, bool] = {}
    left_out: dict[int, ManifestRow] = {}
    looks_for_calipers = with_calipers or Finding.CALIPERS in excluding
    for done, (line, row) in enumerate(manifest.included.items(), start=1):
        try:
            lesion = read_lesion(manifest.root, row, limits)
            findings = lesion.appearance.quality_findings
            against = next((finding for finding in map(Finding, findings) if finding in excluding), None)
            has_calipers = against is None and looks_for_calipers and lesion.has_calipers
            if has_calipers and Finding.CALIPERS in excluding:
                against = Finding.CALIPERS
            if against is not None:
                left_out[line] = row.model_copy(update={"excluded": str(against), "split": None, "fold": None})
                continue
            prints[line] = fingerprint(manifest.root, row, lesion.frame, lesion.region, limits)
            ages[line], seen[line] = lesion.age_years, lesion.appearance
            if with_calipers:
                calipers[line] = has_calipers
            warnings += [Fault(line, Code(reason), MEANINGS[Code(reason)]) for reason in findings]
        except Refused as refused:
            faults.append(Fault(line, refused.code, said_of(refused)))
        finally:
            on_progress(done, len(manifest.included))
    manifest = replace(manifest, rows={**manifest.rows, **left_out})
    rows, pairs = manifest.included, same_or_alike(prints)
    same = [(one, other) for one, other, to_the_pixel in pairs if to_the_pixel]
    near = [(one, other) for one, other, to_the_pixel in pairs if not to_the_pixel]
    both = tuple((one, other) for one, other, _ in pairs)
    faults += [*_repeated(rows, prints), *_contradictory(rows), *_of_two_patients(rows, same, "the same image as")]
    faults += leaks(rows, both)
    warnings += [*_of_two_patients(rows, near, "nearly the same image as"), *_of_two_categories(rows)]
    return Checked(manifest, _ordered(faults), _ordered(warnings), prints, ages, both, seen, calipers)


def _ordered(faults: list[Fault]) -> tuple[Fault, ...]:
    return tuple(sorted(faults, key=lambda fault: (fault.line, fault.code)))


def unsplit(manifest: Manifest) -> Manifest:
    """Return a manifest without its splits and folds, to be split anew."""
    plain = {line: row.model_copy(update={"split": None, "fold": None}) for line, row in manifest.rows.items()}
    return replace(manifest, rows=plain)


def digest_of(rows: Mapping[int, ManifestRow], prints: Mapping[int, Fingerprint]) -> str:
    """Return the SHA-256 over rows and the SHA-256 of their files, whatever order they are in.

    Each row becomes one line of JSON, its keys sorted, its empty cells left out, with ``image_sha256`` and
    ``mask_sha256``; the lines are sorted and joined by line feeds. Paths are left out: data that moved is the same.
    """
    return hashlib.sha256(
        "\n".join(sorted(_canonical(row, prints[line]) for line, row in rows.items())).encode()
    ).hexdigest()


def _canonical(row: ManifestRow, seen: Fingerprint) -> str:
    cells = {
        name: value for name, value in cells_of(row).items() if value is not None and name not in ("image", "mask")
    }
    files = {"image_sha256": seen.file_sha256} | ({"mask_sha256": seen.mask_sha256} if seen.mask_sha256 else {})
    return json.dumps(cells | files, sort_keys=True, separators=(",", ":"))


def _repeated(rows: Mapping[int, ManifestRow], prints: Mapping[int, Fingerprint]) -> Iterator[Fault]:
    first: dict[tuple[str, ...], int] = {}
    for line, seen in sorted(prints.items()):
        row = rows[line]
        before = first.setdefault((row.patient_key, row.lesion_id, seen.pixels_sha256), line)
        if before != line:
            yield Fault(line, Code.ROW_REPEATED, f"the same lesion on the same image as line {before}")


def _contradictory(rows: Mapping[int, ManifestRow]) -> Iterator[Fault]:
    first: dict[tuple[str, str], int] = {}
    for line, row in sorted(rows.items()):
        before = first.setdefault((row.patient_key, row.lesion_id), line)
        if rows[before].pathology is not row.pathology:
            yield Fault(line, Code.LABEL_CONTRADICTORY, f"the same lesion as line {before}, and another pathology")


def _of_two_categories(rows: Mapping[int, ManifestRow]) -> Iterator[Fault]:
    """A lesion's images with different categories; a 4 without its letter may be any of 4A to 4C."""
    first: dict[tuple[str, str], int] = {}
    for line, row in sorted(rows.items()):
        if row.birads is None:
            continue
        before = first.setdefault((row.patient_key, row.lesion_id), line)
        said = str(rows[before].birads)
        if not (said.startswith(row.birads) or row.birads.startswith(said)):
            yield Fault(line, Code.LABEL_CONTRADICTORY, f"the same lesion as line {before}, and another category")


def _of_two_patients(rows: Mapping[int, ManifestRow], pairs: list[tuple[int, int]], what: str) -> Iterator[Fault]:
    for one, other in pairs:
        if rows[one].patient_key != rows[other].patient_key:
            differs = ", and another pathology" if rows[one].pathology is not rows[other].pathology else ""
            yield Fault(other, Code.IMAGE_REPEATED, f"{what} line {one}, of another patient_key{differs}")
