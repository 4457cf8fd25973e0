"""Settings of the installation's own folders."""

from pathlib import Path

from pydantic import BaseModel, Field

from worker.settings.environment import default_home


class HomeSettings(BaseModel, frozen=True):
    """Where this installation keeps what is its own."""

    home: Path = Field(default_factory=default_home, description="What this installation keeps: servers, models, files")
    storage_root: Path = Field(
        default=Path("storage"), description="DICOM files live under it and nowhere else; relative to the home"
    )
    models_dir: Path = Field(default=Path("models"), description="The model registry; relative to the home")
