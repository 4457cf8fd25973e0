"""Many rows as one parameter: JSON, which `json_populate_recordset` reads with the types of a table's columns.

A statement is then the same for any number of rows, and is sent and planned once for all of them; nothing of it stays
in a session. JSON is written in C, where the driver would write each value by itself.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any


def as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as JSON, each an object with its columns; identities and days as their text."""
    return json.dumps(rows, default=str)
