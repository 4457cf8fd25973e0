"""All of the tables, as migrations make them and databases are compared with them."""

from sqlalchemy import MetaData

from db.schema import audit, images, outbox, page, tables, verdicts, worklist  # noqa: F401  importing them puts their tables here
from db.schema.base import Base

TABLES: MetaData = Base.metadata
