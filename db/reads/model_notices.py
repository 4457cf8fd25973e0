"""The notice of a pair of models: what must be shown with whatever rests on their scores."""

from typing import Any

from sqlalchemy import ColumnElement, case, func

from db.schema.tables import ModelRow


def notice_of(lh_model: type[ModelRow], bm_model: type[ModelRow]) -> ColumnElement[Any]:
    """Return the notices of two models as the views have them: once if they are the same, null if there is none."""
    lh, bm = func.nullif(lh_model.notice, ""), func.nullif(bm_model.notice, "")
    return case((lh == bm, lh), else_=func.nullif(func.concat_ws("; ", lh, bm), ""))
