"""Draws a made-up lesion as a B-mode image: tissue as a map of scatterers, speckle as their interference."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.phantom.case import PhantomCase
from worker.phantom.outline import draw_outline
from worker.study import Roi

Map = NDArray[np.float64]
Frequencies = NDArray[np.floating[Any]]

DYNAMIC_RANGE_DB = 58.0
LESION_ECHO = {
    "anechoic": 0.03,
    "complex_cystic_and_solid": 0.20,
    "hypoechoic": 0.12,
    "isoechoic": 0.60,
    "heterogeneous": 0.30,
}
TISSUE_ECHO = {"fat": 0.45, "fibroglandular": 1.0, "heterogeneous": 0.8}
_SIDE = 128.0


@dataclass(frozen=True, slots=True)
class _Canvas:
    """Pixel coordinates about the lesion's centre, in units of 1/128 of the image's shorter side."""

    rows: int
    columns: int
    scale: float
    y: Map
    x: Map
    center_y: float
    center_x: float

    @property
    def depth(self) -> Map:
        """0 at the skin, 1 at the bottom; (rows, 1)."""
        return np.arange(self.rows, dtype=np.float64)[:, None] / self.rows


def render(case: PhantomCase, rng: np.random.Generator, rows: int, columns: int) -> tuple[NDArray[np.uint8], Roi]:
    """Draw a lesion.

    Args:
        case: what to draw.
        rng: where the chance in it comes from; the same state gives the same image.
        rows: at least 48.
        columns: at least 48.

    Returns:
        The image, uint8 (rows, columns), white is bright; and the lesion's bounding rectangle in it.
    """
    canvas = _canvas(rng, rows, columns)
    inside, radius = _lesion(case, rng, canvas)
    echo = _tissue(case, rng, canvas)
    if case.has("architectural_distortion"):
        echo *= _distortion(rng, canvas, radius)
    if case.has("duct_changes"):
        echo *= _duct(rng, canvas, radius)
    echo = echo * (1 - inside) + inside * _lesion_echo(case, rng, canvas)
    echo *= _posterior(case, canvas, inside)
    if case.has("microcalcifications"):
        echo += _calcifications(rng, canvas, inside)
    return _b_mode(echo, rng, canvas.scale), _bounds(inside)


def _canvas(rng: np.random.Generator, rows: int, columns: int) -> _Canvas:
    scale = min(rows, columns) / _SIDE
    center_y = rows * rng.uniform(0.42, 0.52)
    center_x = columns * rng.uniform(0.44, 0.56)
    y = (np.arange(rows, dtype=np.float64)[:, None] - center_y) / scale
    x = (np.arange(columns, dtype=np.float64)[None, :] - center_x) / scale
    return _Canvas(rows, columns, scale, y, x, center_y, center_x)


def _lesion(case: PhantomCase, rng: np.random.Generator, canvas: _Canvas) -> tuple[Map, Map]:
    """Return how much of the lesion is in each pixel, 0 to 1, and the distance from its centre in lesion radii."""
    outline = draw_outline(case, rng)
    directions = np.linspace(-np.pi, np.pi, 1025)
    reach = np.interp(np.arctan2(canvas.y, canvas.x), directions, outline.radius_at(directions))
    radius = np.hypot(canvas.x, canvas.y) / reach
    edge = 0.10 if case.has("margin_indistinct") else 0.025 if case.has("margin_circumscribed") else 0.05
    return 1 / (1 + np.exp(np.clip((radius - 1) / edge, -40, 40))), radius


def _tissue(case: PhantomCase, rng: np.random.Generator, canvas: _Canvas) -> Map:
    """Skin, fat, gland and muscle, one below the other."""
    wave = 0.015 * np.sin(canvas.x / rng.uniform(12, 25) + rng.uniform(0, 2 * np.pi))
    depth = canvas.depth + wave
    skin = 0.06 if case.has("skin_changes") else 0.03
    fat, muscle = rng.uniform(0.10, 0.18), rng.uniform(0.86, 0.93)
    composition = str(case.descriptors["tissue_composition"])
    gland = np.full(depth.shape, TISSUE_ECHO[composition])
    patches = _smooth_noise(rng, canvas, 7.0)
    gland *= np.exp((0.55 if composition == "heterogeneous" else 0.18) * patches)
    echo = np.where(depth < skin, 2.5, np.where(depth < fat, 0.35, gland))
    fibres = 0.5 + 0.4 * np.sin(canvas.y / 1.3 + canvas.x / 30)
    echo = np.where(depth > muscle, fibres, echo)
    if case.has("edema"):
        echo = 0.6 * echo + 0.5
    return echo * np.exp(-0.5 * canvas.depth)


def _lesion_echo(case: PhantomCase, rng: np.random.Generator, canvas: _Canvas) -> Map:
    pattern = str(case.descriptors["echo_pattern"])
    strength = {"heterogeneous": 0.7, "complex_cystic_and_solid": 1.1}.get(pattern, 0.15)
    return LESION_ECHO[pattern] * rng.uniform(0.8, 1.25) * np.exp(strength * _smooth_noise(rng, canvas, 5.0))


def _posterior(case: PhantomCase, canvas: _Canvas, inside: Map) -> Map:
    """What the lesion does to the sound behind it."""
    behind = np.clip(np.cumsum(inside, axis=0) / (10 * canvas.scale), 0, 1) * (1 - inside) * (canvas.y > 0)
    change = {"none": 0.0, "enhancement": 0.8, "shadowing": -1.4, "combined": -1.0}[
        str(case.descriptors["posterior_features"])
    ]
    side = np.where(canvas.x < 0, 1.0, -0.6) if case.has("posterior_features", "combined") else 1.0
    return np.asarray(np.exp(change * side * behind))


def _calcifications(rng: np.random.Generator, canvas: _Canvas, inside: Map) -> Map:
    """Bright points in the lesion."""
    rows, columns = np.nonzero(inside > 0.8)
    if len(rows) == 0:
        return np.zeros_like(inside)
    chosen = rng.integers(len(rows), size=int(rng.integers(5, 12)))
    points = np.zeros_like(inside)
    for row, column in zip(rows[chosen], columns[chosen], strict=True):
        near_y = (np.arange(canvas.rows)[:, None] - row) / canvas.scale
        near_x = (np.arange(canvas.columns)[None, :] - column) / canvas.scale
        points += np.exp(-(near_y**2) / 0.9) * np.exp(-(near_x**2) / 0.9)
    return 5.0 * points


def _distortion(rng: np.random.Generator, canvas: _Canvas, radius: Map) -> Map:
    """Lines that run towards the lesion."""
    lines = np.cos(int(rng.integers(9, 14)) * np.arctan2(canvas.y, canvas.x) + rng.uniform(0, 2 * np.pi))
    return np.asarray(np.exp(0.9 * lines * np.exp(-((radius - 1.2) ** 2) / 0.3)))


def _duct(rng: np.random.Generator, canvas: _Canvas, radius: Map) -> Map:
    """A dark tube that leads away from the lesion."""
    tilt = rng.uniform(-0.5, 0.5)
    across = canvas.y - tilt * canvas.x
    beside = canvas.x > 0 if rng.random() < 0.5 else canvas.x < 0
    return 1 - 0.85 * np.exp(-(across**2) / 3.0) * beside * (radius < 2.2)


def _b_mode(echo: Map, rng: np.random.Generator, scale: float) -> NDArray[np.uint8]:
    """Blur complex scatterers by the beam, take the envelope (Rayleigh speckle) and compress it to decibels."""
    chance = rng.standard_normal((2, *echo.shape), dtype=np.float32)
    scatterers = echo.astype(np.float32) * (chance[0] + 1j * chance[1])
    passed = _beam(np.fft.fftfreq(echo.shape[0]), np.fft.fftfreq(echo.shape[1]), 0.7 * scale, 1.0 * scale)
    envelope = np.abs(np.fft.ifft2(np.fft.fft2(scatterers) * passed)) * scale
    decibels = 20 * np.log10(envelope + 1e-4)
    grey = (decibels + DYNAMIC_RANGE_DB - 10) / DYNAMIC_RANGE_DB
    return np.asarray(np.clip(np.rint(grey * 255), 0, 255), dtype=np.uint8)


def _smooth_noise(rng: np.random.Generator, canvas: _Canvas, size: float) -> Map:
    """Noise of standard deviation 1 whose patches are about ``size`` units across."""
    sigma = size * canvas.scale
    chance = rng.standard_normal((canvas.rows, canvas.columns), dtype=np.float32)
    passed = _beam(np.fft.fftfreq(canvas.rows), np.fft.rfftfreq(canvas.columns), sigma, sigma)
    noise = np.fft.irfft2(np.fft.rfft2(chance) * passed, s=chance.shape)
    return np.asarray(noise / (noise.std() + 1e-12), dtype=np.float64)


def _beam(down: Frequencies, across: Frequencies, axial: float, lateral: float) -> NDArray[np.float32]:
    """Return the Fourier transform of a Gaussian with these standard deviations, in pixels, at these frequencies."""
    decay = np.exp(-2 * (np.pi * down * axial) ** 2)[:, None] * np.exp(-2 * (np.pi * across * lateral) ** 2)[None, :]
    return np.asarray(decay, dtype=np.float32)


def _bounds(inside: Map) -> Roi:
    mask = inside > 0.5
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return Roi(left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1)
