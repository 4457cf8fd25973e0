"""Which statements of a migration take the longer, the more rows a table has, while others wait for it."""

import re
from collections.abc import Collection

SMALL = frozenset(
    {"model", "outbox", "reading_order_policy", "reading_order_rule", "reading_order_range", "reading_order_switch"}
)
"""Tables that have few rows at every site."""

NOT_VOLATILE = frozenset({"now", "current_timestamp"})
"""Functions by which a column's default is one value for all rows on record."""

_BODIES = re.compile(r"\$(\w*)\$.*?\$\1\$", re.DOTALL)
_INDEX = re.compile(
    r"CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY)(?:IF NOT EXISTS )?\w+\s+ON (?:ONLY )?(\w+)", re.IGNORECASE
)
_ALTERED = re.compile(r"ALTER TABLE (?:IF EXISTS )?(?:ONLY )?(\w+)\s+(.*)", re.IGNORECASE | re.DOTALL)
_REWRITTEN = re.compile(r"\bUPDATE (?:ONLY )?(\w+)(?: AS \w+)?\s+SET\b|\bDELETE FROM (\w+)", re.IGNORECASE)
_COPIED = re.compile(r"\bINSERT INTO \w+.*\bSELECT\b.*?\bFROM (\w+)(?: JOIN (\w+))?", re.IGNORECASE | re.DOTALL)
_WHOLE = re.compile(r"\b(?:CLUSTER|VACUUM FULL|REINDEX(?! \w+ CONCURRENTLY)|LOCK TABLE)\b", re.IGNORECASE)
_OF_A_COLUMN = {
    "looks at each row, without NOT VALID": r"ADD CONSTRAINT \w+\s+(?:CHECK|FOREIGN KEY)(?!.*NOT VALID)",
    "makes an index, without USING INDEX": r"ADD CONSTRAINT \w+\s+(?:UNIQUE|PRIMARY KEY)(?!.*USING INDEX)",
    "looks at each row": r"ALTER COLUMN \w+ SET NOT NULL",
    "writes each row anew": r"ALTER COLUMN \w+ (?:SET DATA )?TYPE|ADD COLUMN.*GENERATED|SET (?:UN)?LOGGED",
}


def what_grows(statements: str, on_record: Collection[str]) -> list[str]:
    """Say of each statement, if it does so, what it does to all rows of a table.

    Args:
        statements: SQL, as a migration executes it.
        on_record: the tables that there were before the migration.
    """
    large = set(on_record) - SMALL
    return [
        f"{table}: {found}"
        for statement in _BODIES.sub("''", statements).split(";")
        for table, found in _found(" ".join(re.sub(r"--.*", "", statement).split()))
        if table in large
    ]


def _found(statement: str) -> list[tuple[str, str]]:
    found = [(table, "makes an index, without CONCURRENTLY") for table in _INDEX.findall(statement)]
    if not re.match("CREATE (?:OR REPLACE )?(?:FUNCTION|TRIGGER|VIEW)|GRANT|REVOKE", statement, re.IGNORECASE):
        found += [(table, "writes rows anew") for pair in _REWRITTEN.findall(statement) for table in pair]
        found += [(table, "copies its rows") for pair in _COPIED.findall(statement) for table in pair]
    if _WHOLE.search(statement):
        found += [(table, "works on all of it") for table in re.findall(r"\w+", statement)]
    if altered := _ALTERED.match(statement):
        table, changes = altered.groups()
        found += [
            (table, what)
            for change in _clauses(changes)
            for what, pattern in _OF_A_COLUMN.items()
            if re.match(pattern, change, re.IGNORECASE)
        ]
        defaults = re.findall(r"ADD COLUMN[^,]*? DEFAULT (\w+)\s*\(", changes, re.IGNORECASE)
        found += [(table, "writes each row anew") for name in defaults if name.lower() not in NOT_VOLATILE]
    return found


def _clauses(changes: str) -> list[str]:
    """Take an ALTER TABLE apart at its own commas, and not at those within brackets."""
    parts, depth = [""], 0
    for letter in changes:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]
