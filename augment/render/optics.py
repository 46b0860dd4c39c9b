"""Material, light and camera: how a height map with colours becomes a picture.

A scene is a `Material` under a `Light`, seen by a `Camera`. Defects change the material only, so that
shading, highlights and shadows follow by themselves, as on a real part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from augment.render.noise import Field, blur, pixel_grid, smooth_noise

Colour = tuple[float, float, float] | np.ndarray
"""RGB in [0, 1]."""


@dataclass(frozen=True)
class Material:
    """What lies under the camera, per pixel.

    Attributes:
        albedo: float32 (S, S, 3), share of light thrown back, display-referred; above 1 it glows.
        height: float32 (S, S), elevation in pixels.
        gloss: float32 (S, S), strength of the highlight, 0 for matt.
        part: bool (S, S), the inspected part: where a defect may lie.
        brittle: bool (S, S), the zone that may chip; None is the part, from its border inwards.
        grain: radians, the way fibres, yarns or grinding lines run, which cracks follow; None for no way.
        clear: glass, whose faults scatter the light instead of swallowing it.
        opening: bool (S, S), a mouth over which foreign matter may lie; None for no opening.
        unprinted: float32 (S, S, 3), the albedo before printing; None where nothing is printed.
    """

    albedo: np.ndarray
    height: Field
    gloss: Field
    part: np.ndarray
    brittle: np.ndarray | None = None
    grain: float | None = None
    clear: bool = False
    opening: np.ndarray | None = None
    unprinted: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Side in pixels."""
        return self.height.shape[0]

    @property
    def unit(self) -> np.float32:
        """Pixels at this size that make one pixel at 256."""
        return np.float32(self.size / 256)

    def under(
        self,
        alpha: Field,
        albedo: Colour | None = None,
        height: Field | float | None = None,
        gloss: Field | float | None = None,
    ) -> Material:
        """This material with another laid over it, `alpha` (S, S) thick; what is not given stays."""

        window = _extent(alpha)
        weight = np.asarray(alpha[window], np.float32)

        def mix(below: np.ndarray, above: Colour | Field | float | None, weight: np.ndarray) -> np.ndarray:
            if above is None:
                return below
            above = np.asarray(above, np.float32)
            mixed = below.copy()
            mixed[window] += weight * ((above[window] if above.ndim > 1 else above) - mixed[window])
            return mixed

        return replace(
            self,
            albedo=mix(self.albedo, albedo, weight[..., None]),
            height=mix(self.height, height, weight),
            gloss=mix(self.gloss, gloss, weight),
        )


def _extent(alpha: Field) -> tuple[slice, slice]:
    """The smallest window that holds every nonzero pixel of `alpha`."""
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def flat(size: int, albedo: Colour, gloss: float = 0.0) -> Material:
    """A plane of one colour, all of it the part."""
    zeros = np.zeros((size, size), np.float32)
    return Material(
        albedo=np.broadcast_to(np.asarray(albedo, np.float32), (size, size, 3)).copy(),
        height=zeros,
        gloss=zeros + np.float32(gloss),
        part=np.ones((size, size), bool),
    )


@dataclass(frozen=True)
class Light:
    """One lamp and a diffuse surround.

    Attributes:
        azimuth: radians, where the lamp stands (0 = right, pi/2 = below).
        elevation: radians above the plane.
        distance: of the lamp, in image sides; a near lamp lights unevenly.
        ambient: share of light in [0, 1] that comes from everywhere.
        colour: RGB of the light.
        sharpness: exponent of the highlight.
    """

    azimuth: float
    elevation: float
    distance: float
    ambient: float
    colour: np.ndarray
    sharpness: float

    @classmethod
    def draw(cls, station: np.random.Generator, dome: bool) -> Light:
        """A lamp at the side, or (`dome`) an almost shadowless diffuse light."""
        warmth = station.normal(0, 0.035)
        return cls(
            azimuth=station.uniform(0, 2 * np.pi),
            elevation=np.radians(station.uniform(55, 80) if dome else station.uniform(32, 65)),
            distance=station.uniform(2.5, 5) if dome else station.uniform(1.7, 4),
            ambient=station.uniform(0.75, 0.92) if dome else station.uniform(0.3, 0.6),
            colour=np.float32([1 + warmth, 1, 1 - warmth]),
            sharpness=station.uniform(12, 60),
        )

    def shade(self, material: Material) -> np.ndarray:
        """Light leaving `material` towards the camera: float32 (S, S, 3), around [0, 1]."""
        size = material.size
        height = material.height
        x, y = pixel_grid(size)
        reach = self.distance * size
        lx = np.float32(size / 2 + reach * np.cos(self.azimuth) * np.cos(self.elevation)) - x
        ly = np.float32(size / 2 + reach * np.sin(self.azimuth) * np.cos(self.elevation)) - y
        lz = np.float32(reach * np.sin(self.elevation))
        norm = np.sqrt(lx * lx + ly * ly + lz * lz)
        lx, ly, lz = lx / norm, ly / norm, lz / norm
        falloff = (np.float32(reach) / norm) ** 2

        gx = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=0.125, borderType=cv2.BORDER_REPLICATE)
        gy = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=0.125, borderType=cv2.BORDER_REPLICATE)
        nz = 1 / np.sqrt(1 + gx * gx + gy * gy)
        facing = np.maximum(nz * (lz - gx * lx - gy * ly), 0)
        hz = lz + 1
        half = nz * (hz - gx * lx - gy * ly) / np.sqrt(lx * lx + ly * ly + hz * hz)
        shine = material.gloss * np.maximum(half, 0) ** np.float32(self.sharpness)

        shadow = self._shadow(height, material.unit)
        cavity = np.exp(-0.25 * np.maximum(blur(height, 4 * material.unit) - height, 0) / material.unit)
        direct = shadow * falloff * facing / np.float32(np.sin(self.elevation))
        diffuse = np.float32(self.ambient) * cavity + np.float32(1 - self.ambient) * direct
        return (material.albedo * diffuse[..., None] + (shine * shadow * falloff)[..., None]) * self.colour

    def _shadow(self, height: Field, unit: np.float32) -> Field:
        """Share of the lamp seen from each pixel, by stepping towards it over the height map."""
        if np.ptp(height) < 2 * unit:
            return np.float32(1)
        slope = np.float32(np.tan(self.elevation))
        blocked = np.zeros_like(height)
        for step in (1, 2, 3, 4.5, 6.5, 9, 12, 16, 21, 27, 34):
            dx, dy = step * unit * np.cos(self.azimuth), step * unit * np.sin(self.azimuth)
            move = np.float32([[1, 0, -dx], [0, 1, -dy]])
            ahead = cv2.warpAffine(height, move, height.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
            above = (ahead - height - step * unit * slope) / np.float32((1 + 0.35 * step) * unit)
            np.maximum(blocked, above, out=blocked)
        return 1 - 0.85 * blur(np.minimum(blocked, 1), 1.2 * unit)


@dataclass(frozen=True)
class Camera:
    """Lens and sensor, with the noise of one exposure.

    Attributes:
        gain: float32 (S, S, 1), vignetting and uneven illumination.
        blur: sigma of the lens blur in pixels.
        contrast, exposure: of the tone curve.
        grey: a monochrome camera.
        shot, read: strengths of the noise that grows with the signal, and of that which does not.
        noise: float32 (S, S, 1 or 3), unit noise of this exposure.
    """

    gain: np.ndarray
    blur: float
    exposure: float
    contrast: float
    grey: bool
    shot: float
    read: float
    noise: np.ndarray

    @classmethod
    def draw(cls, station: np.random.Generator, rng: np.random.Generator, size: int) -> Camera:
        """The camera of a `station`, and one exposure of it by `rng`."""
        x, y = pixel_grid(size)
        radius = ((x - size / 2) ** 2 + (y - size / 2) ** 2) / (size * size / 2)
        vignette = 1 - np.float32(station.choice([0, station.uniform(0, 0.3)])) * radius
        uneven = 1 + np.float32(station.uniform(0, 0.05)) * smooth_noise(station, size, size / 1.5)
        grey = bool(station.random() < 0.2)
        grain = rng.standard_normal((size, size, 1 if grey else 3), dtype=np.float32)
        return cls(
            gain=(vignette * uneven)[..., None],
            blur=float(station.uniform(0.35, 0.95)) * size / 256,
            exposure=float(station.uniform(0.85, 1.12)),
            contrast=float(station.uniform(0.9, 1.15)),
            grey=grey,
            shot=float(station.uniform(0.002, 0.014)),
            read=float(station.uniform(0.001, 0.006)),
            noise=blur(grain, 0.45).reshape(grain.shape),
        )

    def expose(self, radiance: np.ndarray) -> np.ndarray:
        """The picture uint8 (S, S, 3) of `radiance` float32 (S, S, 3)."""
        light = blur(radiance, self.blur) * (self.gain * np.float32(self.exposure))
        if self.grey:
            light = light @ np.float32([[0.299], [0.587], [0.114]])
        light = np.where(light > 0.8, 0.8 + 0.2 * np.tanh((light - 0.8) / 0.2), np.maximum(light, 0))
        light = 0.5 + np.float32(self.contrast) * (light - 0.5)
        light = light + self.noise * (self.read + self.shot * np.sqrt(np.maximum(light, 0)))
        picture = np.clip(light * 255 + 0.5, 0, 255).astype(np.uint8)
        return np.repeat(picture, 3, axis=2) if self.grey else picture
