"""A hospital in small: real files, both small models in service, and studies that were scored by them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any
from unittest import mock
from uuid import UUID

import numpy as np
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.schema.roles import SHADOW
from db.session import make_engine, session_factory
from db.writes import ledger
from tests.command_line import dlr
from tests.conftest import Database
from tests.worker.inference.samples import registry_with_both, write_model
from worker.contract import parse_job
from worker.demo.dicom import Header, write_ultrasound
from worker.image_access import Dicomweb, Limits
from worker.imaging.decoder_pool import DecoderPool
from worker.imaging.image_source import ImageSource
from worker.inference.engine import Engine
from worker.inference.loading import load_engine
from worker.inference.registry import Registry
from worker.intake.accept_study import Intake
from worker.rescoring.rescorer import Rescorer
from worker.rescoring.stored_images import StoredImages
from worker.scoring.bookkeeping import Bookkeeper
from worker.scoring.leases import LeaseKeeper
from worker.scoring.pipeline import Pipeline


@dataclass
class Hospital:
    """Its ledger, storage, registry and live pipeline, and what scores stored lesions."""

    database: Database
    sessions: sessionmaker[Session]
    storage: Path
    registry: Registry
    pipeline: Pipeline
    rescorer: Rescorer
    models_dir: Path

    def job(self, lesions: int = 1, seed: int = 0) -> dict[str, Any]:
        """Write a study of one file into the storage; return its job."""
        rng = np.random.default_rng(seed)
        uid = generate_uid()
        header = Header(uid, "Doe^Jane", "P1", "A1", "20261123", birth_date="19760214")
        name = f"{uid}.dcm"
        frame = rng.integers(0, 256, (90, 120), np.uint8)
        sop = write_ultrasound(self.storage / name, header, [frame], ExplicitVRLittleEndian)
        return {
            "schema_version": 1,
            "study_instance_uid": uid,
            "images": {"kind": "files", "paths": [name]},
            "lesions": [
                {
                    "lesion_id": f"L{number}",
                    "sop_instance_uid": sop,
                    "frame": 1,
                    "birads": "4A",
                    "roi": {"x": 5 + 20 * number, "y": 5, "width": 30, "height": 40},
                }
                for number in range(lesions)
            ],
        }

    def queued(self, job: dict[str, Any]) -> UUID:
        """Hand a study in."""
        return Intake(self.sessions, self.storage, lambda *_: None).accept(parse_job(job), "queue").study_id

    def scored(self, lesions: int = 1, seed: int = 0) -> UUID:
        """Hand a study in and score it as a worker does."""
        study_id = self.queued(self.job(lesions, seed))
        assert self.pipeline.run(study_id) == ("done", None, 1)
        return study_id

    def add(self, version: str, seed: int = 0, name: str = "DLR_BM", **changes: Any) -> None:
        """Add a version that is not in service; of seed 1 DLR_BM is the one that is, under another name."""
        folder = self.models_dir.parent / "incoming" / name / version
        self.registry.add(*write_model(folder, seed, name=name, version=version, **changes))

    def file_of(self, study_id: UUID) -> Path:
        """Return a study's file."""
        with self.sessions() as session:
            job = session.scalar(text("SELECT job FROM study WHERE id = :id"), {"id": study_id})
        assert job is not None
        return self.storage / str(job["images"]["paths"][0])

    def scores(self, model: str = "DLR_BM") -> dict[str, dict[str, float]]:
        """Each lesion's probabilities by version."""
        found: dict[str, dict[str, float]] = {}
        statement = "SELECT study_id, lesion_id, version, probability FROM lesion_score WHERE model = :model"
        with self.sessions() as session:
            for study_id, lesion_id, version, probability in session.execute(text(statement), {"model": model}):
                found.setdefault(f"{study_id} {lesion_id}", {})[version] = probability
        return found

    def dlr(self, *arguments: object, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run a command as a user does."""
        # Whoever makes a process unobtrusive makes it so for good.
        with mock.patch("os.nice"), mock.patch("torch.set_num_threads"):
            return dlr(*arguments, environment=self.environment, **variables)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a process that finds this hospital."""
        return os.environ | {
            "DLR_DATABASE_URL": self.database.writer_url,
            "DLR_SHADOW_DATABASE_URL": self.database.shadow_url,
            "DLR_STORAGE_ROOT": str(self.storage),
            "DLR_MODELS_DIR": str(self.models_dir),
        }


@dataclass(frozen=True)
class Machines:
    """What takes a second to start, and knows nothing of whoever used it before."""

    engine: Engine
    decoders: DecoderPool


@contextmanager
def started(folder: Path) -> Iterator[Machines]:
    """Start the models in service and a decoder."""
    registry_with_both(folder)
    engine = load_engine(folder / "registry", "cpu", batch_max=2, wait_ms=1)
    decoders = DecoderPool(Limits(1 << 30, 1 << 24), processes=1, timeout_s=30)
    try:
        yield Machines(engine, decoders)
    finally:
        engine.close(5.0)
        decoders.close()


@contextmanager
def opened(database: Database, folder: Path, machines: Machines) -> Iterator[Hospital]:
    """Open a hospital."""
    storage = folder / "storage"
    storage.mkdir()
    registry = registry_with_both(folder)
    engine, decoders = machines.engine, machines.decoders
    sessions = session_factory(make_engine(database.writer_url))
    with sessions.begin() as session:
        for card in engine.cards:
            ledger.register_model(session, card.record())
    source = ImageSource(storage, Dicomweb({}, max_bytes=1 << 20, timeout_s=5.0))
    books = Bookkeeper(sessions, LeaseKeeper(sessions, lease_s=30.0), max_attempts=3, gather_s=0.01)
    shadows = session_factory(make_engine(database.shadow_url, SHADOW))
    try:
        yield Hospital(
            database,
            sessions,
            storage,
            registry,
            Pipeline(books, engine, source, decoders, inference_timeout_s=30.0, end_worker=sys.exit),
            Rescorer(shadows, StoredImages(source, decoders, storage), Event()),
            folder / "registry",
        )
    finally:
        books.close()
