"""The outline of a made-up lesion, as its shape, orientation and margins say."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.phantom.case import PhantomCase

Angles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outline:
    """A closed curve about the lesion's centre.

    Attributes:
        width: of the underlying ellipse, in units of 1/128 of the image's shorter side.
        height: the same.
        tilt: of its long axis against the skin, in radians.
        waves: (number, height, phase) of each sine that bends it, heights in radii.
        corners: how many; 0 leaves it round.
        spikes: (direction, height) of each spiculation.
    """

    width: float
    height: float
    tilt: float
    waves: tuple[tuple[int, float, float], ...]
    corners: int
    spikes: tuple[tuple[float, float], ...]

    def radius_at(self, angle: Angles) -> Angles:
        """Return the distance from the centre to the outline in each direction, in the units of ``width``."""
        turned = angle - self.tilt
        ellipse = 0.5 / np.hypot(np.cos(turned) / self.width, np.sin(turned) / self.height)
        bend = np.ones_like(angle)
        for number, height, phase in self.waves:
            bend += height * np.sin(number * turned + phase)
        if self.corners:
            # The distance to the sides of a regular polygon, relative to its corners.
            sector = 2 * np.pi / self.corners
            bend *= 1.18 * np.cos(sector / 2) / np.cos(np.mod(turned, sector) - sector / 2)
        for direction, height in self.spikes:
            away = np.angle(np.exp(1j * (turned - direction)))
            bend += height * np.exp(-np.abs(away) / 0.07)
        return np.asarray(ellipse * np.maximum(bend, 0.3))


def draw_outline(case: PhantomCase, rng: np.random.Generator) -> Outline:
    """Draw an outline for a lesion."""
    width = rng.uniform(34, 52)
    aspect = 1.0 if case.has("shape", "round") else case.measure("aspect_ratio")
    tilt = rng.uniform(-0.15, 0.15)
    if case.has("orientation", "not_parallel"):
        tilt = rng.choice((-1, 1)) * rng.uniform(0.6, 1.4)
    waves = [(2, rng.uniform(0, 0.03), _phase(rng))]
    if case.has("shape", "irregular"):
        waves += [(number, rng.uniform(0.07, 0.14), _phase(rng)) for number in (3, 5)]
    if case.has("margin_microlobulated"):
        waves.append((int(rng.integers(10, 15)), rng.uniform(0.05, 0.08), _phase(rng)))
    corners = int(rng.integers(4, 6)) if case.has("margin_angular") else 0
    spikes = int(rng.integers(7, 12)) if case.has("margin_spiculated") else 0
    return Outline(
        width=width,
        height=min(width * aspect, 60.0),
        tilt=tilt,
        waves=tuple(waves),
        corners=corners,
        spikes=tuple((_phase(rng), rng.uniform(0.25, 0.5)) for _ in range(spikes)),
    )


def _phase(rng: np.random.Generator) -> float:
    return float(rng.uniform(0, 2 * np.pi))
