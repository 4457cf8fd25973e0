"""Many rows as one parameter, and many statements as one.

Rows are JSON, which `json_populate_recordset` reads with the types of a table's columns. A statement is then the same
for any number of rows, and is sent and planned once for all of them; nothing of it stays in a session. JSON is written
in C, where the driver would write each value by itself.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

Write = tuple[str, Mapping[str, str]]
"""A statement that returns no rows, and its parameters, by names that no other one of the same time has."""


def as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as JSON, each an object with its columns; identities and days as their text."""
    return json.dumps(rows, default=str)


def write_all(session: Session, writes: Sequence[Write]) -> None:
    """Execute statements one after the other, sent as one: an answer is waited for once.

    Each sees what those before it wrote; where one fails, none after it is executed.
    """
    if writes:
        session.execute(_joined(tuple(statement for statement, _ in writes)), _parameters(writes))


@lru_cache
def _joined(statements: tuple[str, ...]) -> TextClause:
    return text(";".join(statements))


def _parameters(writes: Sequence[Write]) -> Mapping[str, str]:
    return {name: value for _, parameters in writes for name, value in parameters.items()}
