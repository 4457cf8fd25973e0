"""A version that is put into service while everything runs scores the next studies, and no process is restarted."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.end_to_end.conftest import Service
from tests.end_to_end.small_models import add_version

NEWER = "test-2"


@pytest.fixture
def newer(service: Service, version_now: Callable[[], str]) -> Iterator[str]:
    """Another version of DLR_BM, which is gone from service afterwards."""
    add_version(service.services.settings.models_dir, "DLR_BM", NEWER, seed=99)
    yield NEWER
    assert service.dlr("models", "rollback", "DLR_BM").returncode == 0
    service.until(lambda: version_now() != NEWER)


def workers_of(service: Service) -> set[Any]:
    """The processes that serve the queue, by what the history says of who claimed."""
    rows = service.sql("SELECT detail ->> 'worker' AS worker FROM study_history WHERE event = 'claimed'")
    return {row["worker"] for row in rows}


def test_it_scores_the_next_studies_within_seconds_and_is_left_again_in_the_same_way(
    service: Service, newer: str, version_now: Callable[[], str]
) -> None:
    assert version_now() != newer
    before = workers_of(service)
    done = service.dlr("models", "activate", "DLR_BM", newer)
    assert "running workers take it up within seconds" in done.stderr
    service.until(lambda: version_now() == newer)
    assert workers_of(service) == before
