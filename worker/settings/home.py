"""Settings of the installation's own folders."""

from pathlib import Path

from pydantic import BaseModel, Field

from worker.settings.environment import default_home


class HomeSettings(BaseModel, frozen=True):
    """Where this installation keeps what is its own."""

    home: Path = Field(
        default_factory=default_home, description="Folder of this installation: its servers, models and files"
    )
    storage_root: Path = Field(
        default=Path("storage"),
        description="Root folder of the DICOM files, outside of which none is read; relative to DLR_HOME",
    )
    models_dir: Path = Field(default=Path("models"), description="Folder of the model registry; relative to DLR_HOME")
    backup_dir: Path = Field(
        default=Path("backups"),
        description="Folder of the archives that `dlr backup create` writes; relative to DLR_HOME",
    )

    @property
    def reference_dir(self) -> Path:
        """Folder of what `worker.inference.kept_reference` keeps."""
        return self.home / "reference"
