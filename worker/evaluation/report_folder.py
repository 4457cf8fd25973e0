"""A report: a folder of its owner's that appears whole or not at all, and a page in it that stands alone."""

import os
import shutil
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from worker.errors import Code, SetupRefused
from worker.evaluation.plots import Plot

REPORT_FILE, PLOTS_FOLDER = "report.html", "plots"

_BASE = Path(__file__).parent / "templates"


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Write a folder that is not there yet, or is empty; all of it appears at once, or nothing does.

    Its owner alone may read it.

    Args:
        folder: where it goes.
        fill: writes what is in it.

    Raises:
        SetupRefused: ``setting_invalid``: the folder holds something, or cannot be written.
    """
    check_writable(folder)
    try:
        staging = Path(tempfile.mkdtemp(prefix=".report-", dir=folder.parent))
        try:
            fill(staging)
            if folder.exists():
                folder.rmdir()
            staging.rename(folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise _refused(f"the folder cannot be written ({os.strerror(error.errno or 0)})") from None


def check_writable(folder: Path) -> None:
    """Make sure that a report can go to a folder, before the work that it takes.

    Raises:
        SetupRefused: ``setting_invalid``: it holds something, is no folder, or cannot be made.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
            raise _refused("the folder must be new or empty: a report never overwrites another")
    except OSError as error:
        raise _refused(f"the folder cannot be written ({os.strerror(error.errno or 0)})") from None
    if not os.access(folder.parent, os.W_OK):
        raise _refused("the folder cannot be written")


def write_plots(folder: Path, drawn: Iterable[Plot]) -> None:
    """Write plots, in each of their formats, into a folder in this one."""
    (folder / PLOTS_FOLDER).mkdir()
    for plot in drawn:
        for kind, content in plot.content.items():
            (folder / PLOTS_FOLDER / f"{plot.name}.{kind}").write_bytes(content)


def page(template: Path, drawn: Iterable[Plot], **values: Any) -> str:
    """Return a page: its pictures are in it, there is no script, and no address but its own.

    Args:
        template: extends ``base.html``, whose ``picture`` shows a plot by its name.
        drawn: the plots.
        values: what the template says.
    """
    environment = Environment(
        loader=FileSystemLoader((template.parent, _BASE)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pictures = {plot.name: (plot, b64encode(plot.content["svg"]).decode()) for plot in drawn}
    return environment.get_template(template.name).render(pictures=pictures, **values)


def _refused(reason: str) -> SetupRefused:
    return SetupRefused(Code.SETTING_INVALID, f"--output: {reason}")
