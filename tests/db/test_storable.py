"""How deep a JSON value is, and what PostgreSQL can hold of it."""

from hypothesis import given
from hypothesis import strategies as st

from db.storable import is_deeper, storable_json


def nested(levels: int) -> object:
    value: object = 1
    for level in range(levels - 1):
        value = [value] if level % 2 else {"in": value, "beside": []}
    return value


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_value_is_deeper_than_so_many_levels_where_it_has_more(levels: int, allowed: int) -> None:
    assert is_deeper(nested(levels), allowed) is (levels > allowed)


def test_a_value_that_is_nested_too_deeply_is_stored_as_its_text() -> None:
    assert storable_json(nested(3)) == nested(3)
    assert isinstance(storable_json(nested(1_000)), str)
