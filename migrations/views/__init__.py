"""The views as each migration made them: ``<view>.<revision>.sql``, frozen. `db/views` has what they are now."""

from importlib.resources import files


def view_of(revision: str, view: str) -> str:
    """Return the SQL by which a migration makes a view.

    Args:
        revision: the migration's, ``"0012"``.
        view: its name.
    """
    return files(__name__).joinpath(f"{view}.{revision}.sql").read_text(encoding="utf-8")
