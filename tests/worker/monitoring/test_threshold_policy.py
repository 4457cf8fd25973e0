"""A policy names thresholds; what it does not name stays as it was."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_compose import ROOT
from worker.errors import Code, SetupRefused
from worker.monitoring.threshold_policy import read_policy

Write = Callable[[str | bytes], Path]


def policy(**parts: object) -> str:
    return json.dumps({"schema_version": 1, **parts})


def test_a_threshold_is_the_version_s_else_the_model_s_else_the_one_of_then(written: Write) -> None:
    read = read_policy(
        written(policy(DLR_BM={"threshold": 0.4, "versions": {"2.0": 0.3}}, DLR_LH={"versions": {"1.0": 1}}))
    )
    assert [read.malignant_threshold(version, 0.5) for version in ("1.0", "2.0")] == [0.4, 0.3]
    assert [read.high_risk_threshold(version, 0.5) for version in ("1.0", "2.0")] == [1.0, 0.5]
    assert read_policy(written(policy(DLR_BM={"threshold": 0}))).high_risk_threshold("1.0", 0.6) == 0.6


def test_the_page_s_example_is_a_policy(written: Write) -> None:
    page = (ROOT / "docs" / "safety.md").read_text("utf-8")
    [example] = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert read_policy(written(example)).malignant_threshold("2026.1", 0.5) == 0.35


BAD = [
    ("", "is not JSON"),
    ("[]", "has to be an object"),
    ("{}", "schema_version"),
    (policy(), "DLR_LH, or DLR_BM"),
    (policy(DLR_BM={}), "DLR_BM: threshold, or versions"),
    (policy(DLR_BM={"threshold": 1.01}), "DLR_BM.threshold"),
    (policy(DLR_BM={"threshold": -0.01}), "DLR_BM.threshold"),
    (policy(DLR_BM={"threshold": "0.5"}), "DLR_BM.threshold"),
    (policy(DLR_BM={"threshold": True}), "DLR_BM.threshold"),
    (policy(DLR_BM={"threshold": float("nan")}), "DLR_BM.threshold"),
    (policy(DLR_BM={"versions": {"1.0": 2}}), "DLR_BM.versions.1.0"),
    (policy(DLR_BM={"treshold": 0.5}), "DLR_BM.treshold"),
    (policy(DLR_XX={"threshold": 0.5}), "DLR_XX"),
    (json.dumps({"schema_version": 2, "DLR_BM": {"threshold": 0.5}}), "schema_version"),
    (b"\xff\xfe", "is not JSON"),
    (" " * (1 << 21), "larger"),
]


@pytest.mark.parametrize(("content", "named"), BAD)
def test_anything_else_is_refused_by_the_name_of_its_field(content: str | bytes, named: str, written: Write) -> None:
    with pytest.raises(SetupRefused) as refused:
        read_policy(written(content))
    assert refused.value.code is Code.POLICY_INVALID
    assert named in refused.value.reason


def test_a_version_that_nothing_was_scored_with_is_refused_with_those_that_there_are(written: Write) -> None:
    read = read_policy(written(policy(DLR_BM={"versions": {"2.O": 0.3}})))
    with pytest.raises(SetupRefused) as refused:
        read.require_known({("DLR_BM", "1.0"), ("DLR_BM", "2.0"), ("DLR_LH", "2.O")})
    assert refused.value.reason.endswith("on record: 1.0, 2.0")
    read.require_known({("DLR_BM", "2.O")})
