"""The registry: each version of each model in a folder of its own, and which one is active.

    <models_dir>/<name>/<version>/card.json
    <models_dir>/<name>/<version>/weights.safetensors       of an ensemble: weights-01.safetensors, weights-02 ...
    <models_dir>/active.json ...                            which are used: `worker.inference.active_versions`

A version is never changed once it is there, and what is half written is never seen: folders and files appear by rename.
"""

from collections.abc import Sequence
from pathlib import Path

from worker.errors import Code, ModelRefused
from worker.inference.active_versions import INTO_SERVICE, Change, Event, InService, change, written
from worker.inference.entry import Entry, Finding
from worker.inference.fit_to_serve import lacking_of, require_age_stage
from worker.inference.model_card import MODEL_NAMES, ModelCard, ModelName, load_card
from worker.inference.shares import Division, Share
from worker.inference.version_folder import CARD_FILE, put_in_place, staged, verify


class Registry:
    """The models that this installation has.

    Args:
        models_dir: its folder; made when the first model is added.
    """

    def __init__(self, models_dir: Path) -> None:
        self._models_dir = models_dir
        self._service = InService(models_dir)

    def add(self, card_path: Path, *weights_paths: Path) -> ModelCard:
        """Add a version of a model, once its card and weights are found to be sound. An ensemble has several files.

        Adding it again does nothing, unless its weights were damaged since: that mends them. Its card stays as it is,
        also where the other says that it was made at another time, or by other code.

        Returns:
            The card that the registry has.

        Raises:
            ModelRefused: ``card_invalid``, ``weights_missing``, ``weights_hash_mismatch``, ``weights_shape_mismatch``;
                ``model_exists``, when the registry has other content under this version.
            SetupRefused: ``setting_invalid``, when the registry cannot be written.
        """
        with written():
            return self._add(card_path, weights_paths)

    def _add(self, card_path: Path, weights_paths: Sequence[Path]) -> ModelCard:
        card = load_card(card_path)
        folder = self._models_dir / card.name / card.version
        with staged(card, weights_paths, folder.parent) as staging, self._service.locked():
            return put_in_place(card, staging, folder)

    def list(self) -> tuple[Entry, ...]:
        """Return each version with a readable card, by name and time; ``check`` tells of the others."""
        entries = []
        for name, version in self._versions():
            try:
                entries.append(self.entry(name, version))
            except ModelRefused:
                continue
        return tuple(sorted(entries, key=lambda entry: (entry.card.name, entry.card.created_at, entry.card.version)))

    def named(self, model: str) -> tuple[Entry, ...]:
        """Return the versions that a person means: of both models, or of the one that is named.

        Args:
            model: ``VERSION``, or ``NAME/VERSION``.

        Raises:
            ModelRefused: ``model_not_found``.
        """
        name, _, version = model.rpartition("/")
        found = tuple(one for one in self.list() if one.card.version == version and name in ("", one.card.name))
        if not found:
            raise ModelRefused(Code.MODEL_NOT_FOUND, f"the registry has no {model} (`dlr models list`)")
        return found

    def count_unreadable(self) -> int:
        """Return how many versions ``list`` leaves out."""
        return len(self._versions()) - len(self.list())

    def activate(self, name: str, version: str, *, force: bool = False) -> ModelCard:
        """Make a version the one that workers score with from now on. A shadow is none any more then, and no share is.

        Args:
            name: ``DLR_LH`` or ``DLR_BM``.
            version: of the model.
            force: also where nobody has measured how good it is, or stated what it is for; the history then says so.

        Raises:
            ModelRefused: ``model_not_found``; ``model_unmeasured``, when its card has no metrics; ``model_unstated``,
                when it has no notice or states no use; ``model_image_only``; or its card or weights are not sound. No
                force mends the last two.
            SetupRefused: ``setting_invalid``, when the registry cannot be written.
        """
        card, is_forced = self._fit_to_serve(name, version, force=force)
        with written(), self._service.locked():
            replaced = self._service.active().get(card.name)
            made = change(Event.ACTIVATED, card.name, card.version, replaced=replaced, forced=is_forced)
            self._service.put([made, *self._no_share(card.name), *self._no_shadow(card.name, card.version)])
        return card

    def give_share(self, name: str, version: str, share: float, *, force: bool = False) -> ModelCard:
        """Let a version score a share of the studies from now on, and the active one the others; in place of another.

        Args:
            name: ``DLR_LH`` or ``DLR_BM``.
            version: of the model; not the active one.
            share: above 0, below 1.
            force: as for `activate`.

        Raises:
            ModelRefused: ``model_not_active``: there is none beside which it could score; ``model_is_active``; or as
                for `activate`.
            SetupRefused: ``setting_invalid``, when the registry cannot be written.
        """
        card, is_forced = self._fit_to_serve(name, version, force=force)
        with written(), self._service.locked():
            if self.active(card.name).card.version == version:
                raise ModelRefused(Code.MODEL_IS_ACTIVE, f"{card.name} {version} is active: it scores all studies")
            former = () if self.entry(name, version).share else self._no_share(card.name)
            made = change(Event.SHARED, card.name, version, share=share, forced=is_forced)
            self._service.put([*former, made, *self._no_shadow(card.name, version)])
        return card

    def rollback(self, name: str | None = None) -> tuple[Change, ...]:
        """Go back to the versions that were active before, of one model or of both; all of it or nothing.

        Where a version has a share, that ends, and what is active stays.

        Args:
            name: ``DLR_LH`` or ``DLR_BM``; ``None``: each that has an earlier version.

        Returns:
            What was done, a change a model.

        Raises:
            ModelRefused: ``no_earlier_version``; or an earlier version is not there or not sound any more.
            SetupRefused: ``setting_invalid``, when the registry cannot be written.
        """
        if self._sharing(name):
            with written(), self._service.locked():
                ended = self._sharing(name)
                self._service.put(ended)
            return ended
        self._earlier(name)  # where nothing ever was in service, there may be no folder to lock
        with written(), self._service.locked():
            found = self._earlier(name)
            active = self._service.active()
            changes = [
                change(
                    Event.ROLLED_BACK,
                    one,
                    version,
                    replaced=active[one],
                    forced=lacking_of(self._sound(one, version).card) is not None,
                )
                for one, version in found.items()
            ]
            gone = [ended for one, version in found.items() for ended in self._no_shadow(one, version)]
            self._service.put([*changes, *gone])
        return tuple(changes)

    def _sharing(self, name: str | None) -> tuple[Change, ...]:
        return tuple(ended for one in MODEL_NAMES if name in (one, None) for ended in self._no_share(one))

    def _earlier(self, name: str | None) -> dict[ModelName, str]:
        wanted = [one for one in MODEL_NAMES if name in (one, None)]
        found = {one: version for one in wanted if (version := self._service.earlier(one)) is not None}
        if not found:
            whose = "neither model has a" if name is None else f"{name} has no"
            raise ModelRefused(Code.NO_EARLIER_VERSION, f"{whose} version on record that was active before")
        return found

    def shadow(self, name: str, version: str) -> ModelCard:
        """Let a version score live studies from now on, beside the active ones and without any say.

        Raises:
            ModelRefused: ``model_not_found``; ``model_is_active``; ``model_image_only``; or its card or weights are not
                sound.
            SetupRefused: ``setting_invalid``, when the registry cannot be written.
        """
        card = self._able_to_serve(name, version).card
        with written(), self._service.locked():
            if self._service.active().get(card.name) == version:
                reason = f"{card.name} {version} is active: it scores every study already"
                raise ModelRefused(Code.MODEL_IS_ACTIVE, reason)
            if (card.name, version) not in self._service.shadows():
                self._service.put([change(Event.SHADOWED, card.name, version)])
        return card

    def unshadow(self, name: str, version: str) -> None:
        """End a shadow; its scores stay.

        Raises:
            ModelRefused: ``model_not_found``: it is no shadow.
            SetupRefused: ``setting_invalid``, when the registry cannot be written.
        """
        found = [model for model in self._service.shadows() if model == (name, version)]
        if not found:
            raise ModelRefused(Code.MODEL_NOT_FOUND, f"{name} {version} is no shadow (`dlr models list`)")
        with written(), self._service.locked():
            self._service.put(self._no_shadow(*found[0]))

    def shadows(self) -> tuple[Entry, ...]:
        """Return the shadows with a readable card, as `list` orders them. Reads two small files where there is none."""
        if not self._service.shadows():
            return ()
        return tuple(entry for entry in self.list() if entry.shadow_since is not None)

    def shares(self) -> dict[ModelName, Share]:
        """Return which version of a model has a share of the studies, where one has."""
        return self._service.shares()

    def division(self) -> Division:
        """Return who scores which studies.

        Raises:
            ModelRefused: as `active`, of the versions that are.
        """
        return Division(tuple(self.active(name).card.version for name in MODEL_NAMES), self.shares())

    def history(self) -> tuple[Change, ...]:
        """Return what happened to which version, the oldest first."""
        return self._service.history()

    def active(self, name: ModelName) -> Entry:
        """Return the active version of a model.

        Raises:
            ModelRefused: ``model_not_active``; ``model_not_found`` or ``card_invalid``, when its folder was damaged.
        """
        version = self._service.active().get(name)
        if version is None:
            raise ModelRefused(Code.MODEL_NOT_ACTIVE, f"no version of {name} is active (`dlr models activate`)")
        return self.entry(name, version)

    def is_ready(self) -> bool:
        """Return whether both models are active and their files are there; reads no weights."""
        try:
            return all(path.is_file() for name in MODEL_NAMES for path in self.active(name).weights_paths)
        except ModelRefused:
            return False

    def is_sound(self, entry: Entry) -> bool:
        """Return whether a version's weights are those of its card."""
        return self._finding(entry.card.name, entry.card.version, active=entry.active).code is None

    def check(self) -> tuple[Finding, ...]:
        """Verify each version's card, hash and shapes, and that each that is active, shared or a shadow is there."""
        active: tuple[tuple[str, str], ...] = tuple(self._service.active().items())
        known = self._versions()
        shared = tuple((name, one.version) for name, one in self.shares().items())
        gone = tuple(place for place in (*active, *shared, *self._service.shadows()) if place not in known)
        return tuple(self._finding(*place, active=place in active) for place in (*known, *gone))

    def _finding(self, name: str, version: str, *, active: bool) -> Finding:
        try:
            self._sound(name, version)
        except ModelRefused as refused:
            return Finding(name, version, active, refused.code, refused.reason)
        return Finding(name, version, active, None, "")

    def _versions(self) -> tuple[tuple[str, str], ...]:
        folders = [(name, self._models_dir / name) for name in MODEL_NAMES]
        return tuple(
            (name, version.name)
            for name, folder in folders
            if folder.is_dir()
            for version in sorted(folder.iterdir())
            if version.is_dir() and not version.name.startswith(".")
        )

    def entry(self, name: str, version: str) -> Entry:
        """Return one version.

        Raises:
            ModelRefused: ``model_not_found``; ``card_invalid``, when its folder was damaged.
        """
        # Looked up in the listing, so that no name leads out of the registry.
        if (name, version) not in self._versions():
            raise ModelRefused(Code.MODEL_NOT_FOUND, f"the registry has no {name} {version} (`dlr models list`)")
        folder = self._models_dir / name / version
        card = load_card(folder / CARD_FILE)
        if (card.name, card.version) != (name, version):
            raise ModelRefused(Code.CARD_INVALID, f"the folder of {name} {version} holds {card.name} {card.version}")
        events = (*INTO_SERVICE, Event.SHARED)
        lines = [one for one in self._service.history() if one.model == (name, version) and one.event in events]
        shared = self._service.shares().get(card.name)
        return Entry(
            card=card,
            active=self._service.active().get(card.name) == version,
            folder=folder,
            shadow_since=self._service.shadows().get((card.name, version)),
            share=shared.share if shared is not None and shared.version == version else None,
            forced=bool(lines) and lines[-1].forced,
        )

    def _sound(self, name: str, version: str) -> Entry:
        entry = self.entry(name, version)
        verify(entry.card, entry.folder)
        return entry

    def _able_to_serve(self, name: str, version: str) -> Entry:
        entry = self._sound(name, version)
        require_age_stage(entry.card)
        return entry

    def _fit_to_serve(self, name: str, version: str, *, force: bool) -> tuple[ModelCard, bool]:
        """Return a version's card, and whether force was needed."""
        card = self._able_to_serve(name, version).card
        lacking = lacking_of(card)
        if lacking is not None and not force:
            raise lacking
        return card, lacking is not None

    def _no_share(self, name: ModelName) -> tuple[Change, ...]:
        shared = self._service.shares().get(name)
        return () if shared is None else (change(Event.UNSHARED, name, shared.version),)

    def _no_shadow(self, name: ModelName, version: str) -> tuple[Change, ...]:
        is_one = (name, version) in self._service.shadows()
        return (change(Event.UNSHADOWED, name, version),) if is_one else ()
