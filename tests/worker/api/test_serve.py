"""What `dlr api` refuses to serve, and what it serves."""

from pathlib import Path
from typing import Any

import pytest

from worker.api.serve import check
from worker.api.tokens import Scope, Tokens
from worker.errors import Code, SetupRefused
from worker.settings import Settings

CERTIFIED = {"api_certificate": Path(__file__), "api_key": Path(__file__)}
SEEN = {"api_address": "10.0.0.7"}
EVERYWHERE = {"api_address": "0.0.0.0"}  # noqa: S104
PROXY = {"api_behind_proxy": "10.0.0.1"}


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """A file with one token."""
    Tokens(tmp_path / "tokens.json").create("ris", [Scope.JOBS_WRITE], None)
    return tmp_path / "tokens.json"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"api_tokens": Path("nobody.json")}, "dlr api token create"),
        ({"api_certificate": Path(__file__)}, "DLR_API_KEY"),
        ({"api_key": Path(__file__)}, "DLR_API_CERTIFICATE"),
        (CERTIFIED | {"api_certificate": Path("away.pem")}, "DLR_API_CERTIFICATE"),
        (CERTIFIED | {"api_key": Path("away.pem")}, "DLR_API_KEY"),
        (SEEN, "DLR_API_BEHIND_PROXY"),
        (EVERYWHERE, "DLR_API_CERTIFICATE"),
        (EVERYWHERE | {"api_behind_proxy": " , "}, "DLR_API_BEHIND_PROXY"),
        ({"api_address": "dlr.hospital.example"}, "DLR_API_CERTIFICATE"),
    ],
    ids=str,
)
def test_it_is_not_served_with(values: dict[str, Any], named: str, tokens: Path) -> None:
    with pytest.raises(SetupRefused) as refused:
        check(Settings(**{"api_tokens": tokens, **values}))
    assert refused.value.code is Code.SETTING_INVALID
    assert named in refused.value.reason


@pytest.mark.parametrize(
    "values",
    [{}, {"api_address": "localhost"}, {"api_address": "::1"}, SEEN | CERTIFIED, EVERYWHERE | PROXY],
    ids=str,
)
def test_it_is_served_with(values: dict[str, Any], tokens: Path) -> None:
    check(Settings(api_tokens=tokens, **values))
