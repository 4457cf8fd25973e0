"""What one row of a lesion says of its category and its site holds for its other rows."""

import pytest

from tests.worker.dataset.manifests import row
from worker.dataset.lesion_facts import with_lesion_facts


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ((None, "4A"), ("4A", "4A")),
        (("4", None, "4A"), ("4A", "4A", "4A")),
        (("4", None), ("4", "4")),
        ((None, None), (None, None)),
        (("3", "4A"), ("3", "4A")),
    ],
)
def test_a_lesion_has_the_most_precise_category_that_a_row_of_it_names(
    said: tuple[str | None, ...], known: tuple[str | None, ...]
) -> None:
    rows = {line: row(image=f"{line}.png", birads=birads) for line, birads in enumerate(said, start=2)}
    assert tuple(one.birads for one in with_lesion_facts(rows).values()) == known


def test_a_lesion_is_of_the_site_that_a_row_of_it_names_and_no_other_lesion_is() -> None:
    rows = {2: row(site=None, birads=None), 3: row(site="north"), 4: row(lesion_id="L2", site=None, birads=None)}
    found = with_lesion_facts(rows)
    assert [one.site for one in found.values()] == ["north", "north", None]
    assert [one.birads for one in found.values()] == ["4A", "4A", None]
    assert found[3] is rows[3]
