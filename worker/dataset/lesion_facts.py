"""What is said of a lesion on one of its rows holds for all of them: its category and its site."""

from collections import defaultdict
from collections.abc import Mapping

from worker.dataset.manifest import Category, ManifestRow


def with_lesion_facts(rows: Mapping[int, ManifestRow]) -> dict[int, ManifestRow]:
    """Give each row the category and the site that any row of its lesion has, where it has none.

    A 4 without its letter becomes the lettered one of another row. What contradicts that stays as it is: `check` warns
    of it.

    Args:
        rows: that count, by their lines.
    """
    lesions: defaultdict[tuple[str, str], list[ManifestRow]] = defaultdict(list)
    for row in rows.values():
        lesions[row.patient_key, row.lesion_id].append(row)
    return {line: _completed(row, lesions[row.patient_key, row.lesion_id]) for line, row in rows.items()}


def _completed(row: ManifestRow, of_lesion: list[ManifestRow]) -> ManifestRow:
    categories: list[Category] = [one.birads for one in of_lesion if one.birads is not None]
    precise = max(categories, key=len, default=None)
    changes: dict[str, object] = {}
    if precise is not None and precise != row.birads and precise.startswith(row.birads or ""):
        changes["birads"] = precise
    if row.site is None and (site := next((one.site for one in of_lesion if one.site is not None), None)) is not None:
        changes["site"] = site
    return row.model_copy(update=changes) if changes else row
