"""A record's fields as the columns of a view: how every view is read."""

from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, Select, column, select, table


def rows_of(view: str, record: type[Any]) -> "Select[*tuple[Any, ...]]":
    """Select the columns of a view that a record has fields for, in the record's order.

    Args:
        view: its name.
        record: a dataclass.
    """
    columns: list[ColumnElement[Any]] = [column(field.name) for field in fields(record)]
    return select(*columns).select_from(table(view))
