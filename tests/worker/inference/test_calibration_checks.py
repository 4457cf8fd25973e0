"""What is remembered of the checks of a version's calibration."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from worker.inference.calibration_checks import CHECKS_FILE, Check, Covered, Part, keep, kept, outstanding

HELD, SHORT, VAGUE = 95, 70, 88


def part(*counts: int) -> Part:
    """Of a hundred lesions for each count, of which so many were covered."""
    count, lesions = sum(counts), 100 * len(counts)
    rate = count / lesions
    covered = Covered(lesions=lesions, count=count, low=rate - 0.05, high=rate + 0.05, promised=0.9)
    return Part(
        lesions=lesions, positives=lesions // 2, mean_probability=0.5, observed=0.5, brier=0.2,
        expected_calibration_error=0.1, covered=covered,
    )  # fmt: skip


def check(
    manifest: str, *unnamed: int, day: int = 0, truth: str = "pathology", image_only: bool = False, **sites: int
) -> Check:
    """Of a hundred lesions at each site, and of others whose site nobody knows."""
    return Check(
        at=datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=day),
        data_digest=manifest,
        split="test",
        truth=truth,
        image_only=image_only,
        pooled=part(*unnamed, *sites.values()),
        sites={site: part(count) for site, count in sites.items()},
    )


BAD = check("1", Other=SHORT, Third=SHORT)


def few(check: Check) -> Check:
    """As many were covered, and the interval is wide."""
    sites = {
        site: one.model_copy(update={"covered": one.covered and one.covered.model_copy(update={"low": 0.5})})
        for site, one in check.sites.items()
    }
    return check.model_copy(update={"sites": sites})


@pytest.mark.parametrize(
    ("later", "short"),
    [
        ([], [None, "Other", "Third"]),
        ([check("2", Home=HELD)], [None, "Other", "Third"]),
        ([check("2", Other=HELD)], [None, "Third"]),
        ([check("2", Other=HELD, Third=HELD)], []),
        ([check("2", Other=HELD), check("3", Third=HELD)], []),
        ([check("2", Other=HELD, Third=HELD), check("3", Third=SHORT)], ["Third"]),
        ([check("2", Other=HELD, Third=HELD, truth="birads")], [None, "Other", "Third"]),
        ([check("2", Other=HELD, Third=HELD, image_only=True)], [None, "Other", "Third"]),
        ([check("2", HELD)], [None, "Other", "Third"]),
        ([few(check("2", Other=HELD))], [None, "Other", "Third"]),
        ([few(check("2", Other=HELD)), check("3", Other=HELD)], [None, "Third"]),
        ([few(check("2", Other=HELD, Third=HELD))], [None, "Other", "Third"]),
        ([check("2", Other=VAGUE)], [None, "Third"]),
    ],
)  # fmt: skip
def test_a_site_falls_short_until_that_site_is_checked_again(later: list[Check], short: list[str | None]) -> None:
    assert [site for _, site, _ in outstanding([BAD, *later])] == short


@pytest.mark.parametrize(
    ("checks", "short"),
    [
        ([check("1", SHORT)], [None]),
        ([check("1", SHORT), check("2", HELD)], [None]),
        ([check("1", SHORT), check("1", HELD)], []),
        ([check("1", Only=SHORT)], ["Only"]),
        ([check("1", A=VAGUE, B=VAGUE, C=VAGUE)], []),
        ([check("1", SHORT, A=HELD), check("2", A=HELD)], [None]),
        ([check("1", Only=SHORT, image_only=True)], []),
    ],
)  # fmt: skip
def test_lesions_of_no_site_are_known_by_their_manifest_and_one_site_is_named_once(
    checks: list[Check], short: list[str | None]
) -> None:
    assert [site for _, site, _ in outstanding(checks)] == short


def test_it_says_which_check_found_it_and_by_how_much() -> None:
    again = check("2", Other=SHORT - 10, day=3)
    [found] = [one for one in outstanding([BAD, again]) if one.site == "Other"]
    assert (found.check.at, found.covered.count, found.covered.promised) == (again.at, 60, 0.9)


def test_checks_are_kept_in_their_order_and_a_line_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    assert kept(tmp_path) == []
    keep(BAD, tmp_path)
    with (tmp_path / CHECKS_FILE).open("a") as file:
        file.write('{"schema_version": 2}\n')
    alone = check("2", Other=HELD, image_only=True)
    keep(alone, tmp_path)
    assert kept(tmp_path) == [BAD, alone]
