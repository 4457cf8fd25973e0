"""The rights of ``dlr_writer`` on tables and views, as the migrations grant them; where one is revoked, work waits."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from db.schema.roles import WRITER

_READ: Final = "SELECT"
_ADD: Final = "SELECT, INSERT"
_CHANGE: Final = "SELECT, INSERT, UPDATE"

RIGHTS: Final[dict[str, str]] = {
    "alembic_version": _READ,
    "audit_event": "SELECT, INSERT, DELETE",
    "delivery": _CHANGE,
    "downgraded_cancer": _READ,
    "failed_study": _READ,
    "image_prediction": _CHANGE,
    "image_result": _READ,
    "lesion": _CHANGE,
    "lesion_result": _READ,
    "lesion_score": _READ,
    "lesion_verdict": _READ,
    "listed_study": _READ,
    "marked_image": _CHANGE,
    "model": _CHANGE,
    "model_card": _READ,
    "named_delivery": _CHANGE,
    "named_outbox": _CHANGE,
    "outbox": _CHANGE,
    "pathology": _ADD,
    "pathology_result": _READ,
    "prediction": _CHANGE,
    "prediction_refusal": _READ,
    "reading": _ADD,
    "reading_order_changed": "SELECT, INSERT, DELETE",
    "reading_order_policy": _CHANGE,
    "reading_order_range": _ADD,
    "reading_order_rule": _ADD,
    "reading_order_switch": _ADD,
    "reading_order_tier": _READ,
    "restratification": _CHANGE,
    "restratification_summary": _READ,
    "storage_commitment": _CHANGE,
    "study": _CHANGE,
    "study_access": _READ,
    "study_count": _READ,
    "study_event": _ADD,
    "study_history": _READ,
    "study_result": _READ,
    "verdict": _ADD,
    "worklist": _READ,
    "worklist_entry": "SELECT, INSERT, UPDATE, DELETE",
}
"""By table or view."""

COLUMN_RIGHTS: Final[dict[str, tuple[str, ...]]] = {
    "audit_event": ("sent_at",),
    "pathology": ("histology", "is_current", "reported_on"),
    "reading": ("reader",),
    "verdict": ("remark",),
}
"""Columns that may be updated, of tables that as a whole may not."""

# A table that an earlier schema lacks, and a role that is not there, are not a right's to tell.
_MISSING = text(f"""
SELECT wanted.relation, wanted.privilege, nullif(wanted.of_column, '') AS of_column
FROM unnest(CAST(:relations AS text[]), CAST(:privileges AS text[]), CAST(:columns AS text[]))
     AS wanted (relation, privilege, of_column)
JOIN pg_class AS found ON found.relname = wanted.relation AND found.relnamespace = to_regnamespace('public')
JOIN pg_roles AS role ON role.rolname = '{WRITER}'
WHERE CASE WHEN of_column = '' THEN NOT has_table_privilege(role.oid, found.oid, privilege)
           ELSE EXISTS (SELECT FROM pg_attribute WHERE attrelid = found.oid AND attname = of_column
                        AND NOT attisdropped AND NOT has_column_privilege(role.oid, found.oid, attnum, privilege)) END
ORDER BY relation, privilege, of_column
""")  # noqa: S608  the role is a constant


class Right(NamedTuple):
    """A privilege on a table or view, or on one column of it."""

    relation: str
    privilege: str
    of_column: str | None

    def __str__(self) -> str:
        return f"{self._what} on {self.relation}"

    @property
    def grant(self) -> str:
        """The statement that gives it to ``dlr_writer``."""
        return f"GRANT {self._what} ON {self.relation} TO {WRITER}"

    @property
    def _what(self) -> str:
        return self.privilege if self.of_column is None else f"{self.privilege} ({self.of_column})"


def missing_rights(connection: Connection) -> list[Right]:
    """Return the rights that ``dlr_writer`` lacks on what is there."""
    wanted = [
        *((relation, privilege, "") for relation, some in RIGHTS.items() for privilege in some.split(", ")),
        *((relation, "UPDATE", column) for relation, columns in COLUMN_RIGHTS.items() for column in columns),
    ]
    relations, privileges, columns = map(list, zip(*wanted, strict=True))
    rows = connection.execute(_MISSING, {"relations": relations, "privileges": privileges, "columns": columns})
    return [Right(*row) for row in rows]


def grant(connection: Connection, rights: Sequence[Right]) -> None:
    """Give ``dlr_writer`` rights; as their owner."""
    for right in rights:
        connection.execute(text(right.grant))
