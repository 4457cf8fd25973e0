"""Keyed hashes in place of identifiers: the same with the same secret, and of nobody else."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.dataset.opaque_names import key_of, opaque_name
from worker.errors import Code, SetupRefused

KEY = b"k" * 32


def test_the_secret_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert key_of(path) == key_of(path)
    assert len(key_of(path)) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    for content in ("", "00" * 31, "no key"):
        path.write_text(content)
        with pytest.raises(SetupRefused) as raised:
            key_of(path)
        assert raised.value.code is Code.DATASET_INVALID


@given(st.text(max_size=20), st.text(max_size=20))
def test_patients_are_told_apart_and_one_is_known_again_by_the_same_secret(one: str, other: str) -> None:
    names = [opaque_name(KEY, "patient", patient) for patient in (one, other, one)]
    assert (names[0] == names[1]) == (one == other)
    assert names[0] == names[2]
    assert names[0] != opaque_name(b"l" * 32, "patient", one)
    assert len(names[0]) == 32
