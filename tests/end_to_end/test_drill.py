"""A site's drill against servers that run: nothing is lost or wrong, it cleans up, and it refuses what is not named."""

import json

import pytest

from tests.end_to_end.conftest import Service

LEFT = "SELECT count(*) AS studies FROM study WHERE accession_number = 'DRILL'"
PURGED = "SELECT count(*) AS studies FROM study WHERE purged_at IS NOT NULL"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--drill",), 2, "--staging"),
        (("--staging", "dlr"), 2, "needs --drill"),
        (("--failover",), 2, "needs --drill"),
        (("--drill", "--staging", "production"), 1, "--staging names the database production"),
    ],
)
def test_a_database_that_is_not_named_as_staging_is_left_alone(
    service: Service, arguments: tuple[str, ...], status: int, said: str
) -> None:
    done = service.dlr("doctor", *arguments)
    assert done.returncode == status
    assert said in done.stderr
    assert not list(service.storage_root.glob("drill-*"))


@pytest.mark.long
def test_a_drill_says_that_every_promise_is_kept_and_leaves_nothing_behind(service: Service) -> None:
    done = service.dlr("doctor", "--drill", "--staging", "dlr", "--format", "json")
    found = {row["check"]: row for row in json.loads(done.stdout)}
    assert list(found) == [
        "a study", "an inference worker killed", "an intake worker killed", "connections to PostgreSQL cut",
    ]  # fmt: skip
    assert {name: (row["lost"], row["wrong"], row["kept"]) for name, row in found.items()} == dict.fromkeys(
        found, (0, 0, True)
    ), done.stdout
    assert done.returncode == 0
    assert service.sql(LEFT, role="writer") == [{"studies": 0}]
    assert service.sql(PURGED, role="writer")[0]["studies"] >= sum(row["studies"] for row in found.values())
    assert not list(service.storage_root.glob("drill-*"))
