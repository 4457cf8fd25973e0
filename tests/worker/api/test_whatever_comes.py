"""Whatever schemathesis makes of the description, no request is answered with a defect."""

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as of_hypothesis
from hypothesis.errors import Unsatisfiable
from requests import Session

from tests.worker.api.running import served
from worker.api.application import openapi
from worker.api.rate_limit import RateLimit
from worker.api.service import Service
from worker.api.tokens import Scope, Tokens

QUICK, LONG = 3, 700
"""Requests of each operation, of those that follow its description and of others; there are eleven."""


def called(service: Service, examples: int) -> Counter[int]:
    """Ask each operation with requests that follow its description and with others; return the statuses."""
    text = Tokens(service.settings.api_tokens).create("fuzz", list(Scope), None)
    statuses: Counter[int] = Counter()
    with served(replace(service, rate=RateLimit(1e6))) as address, Session() as session:
        call = {"base_url": address, "headers": {"Authorization": f"Bearer {text}"}, "session": session}
        for found in schemathesis.openapi.from_dict(openapi()).get_all_operations():
            for mode in schemathesis.GenerationMode:
                with suppress(Unsatisfiable):  # there is no wrong request where any is right
                    _ask(found.ok(), mode, examples, call, statuses)
                print(found.ok().label, mode.value, sum(statuses.values()))  # noqa: T201  said by pytest -s
    return statuses


def _ask(
    operation: Any, mode: schemathesis.GenerationMode, examples: int, call: dict[str, Any], statuses: Counter[int]
) -> None:
    @of_hypothesis(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        answer = case.call(**call)
        statuses[answer.status_code] += 1
        assert answer.status_code not in (500, 501, 502), (operation.label, answer.text)

    ask()


def test_no_request_is_answered_with_a_defect(service: Service) -> None:
    statuses = called(service, QUICK)
    assert sum(statuses.values()) > 5 * QUICK
    assert {200, 204, 422} <= set(statuses)


@pytest.mark.long
def test_nor_are_ten_thousand(service: Service) -> None:
    statuses = called(service, LONG)
    print(dict(statuses))  # noqa: T201  said by pytest -s
    assert sum(statuses.values()) >= 10_000
