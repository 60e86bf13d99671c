"""Choose how maps are read, on pictures that trained nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coverslip.learn.nuclei.augment import Picture
from coverslip.models.nuclei.detector import NucleiNetworkDetector
from coverslip.models.nuclei.intensity import resized
from coverslip.models.nuclei.reading import Maps, Reading, read
from coverslip.models.nuclei.scale import scale_of

CHOICES: Mapping[str, tuple[float, ...]] = {
    "score": (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5),
    "pixel": (0.35, 0.4, 0.45, 0.5, 0.55),
    "share": (0.2, 0.3, 0.4, 0.5),
    "seed": (0.25, 0.3, 0.35, 0.4, 0.45),
    "reach": (1.1, 1.25, 1.5),
    "smallest": (8.0, 16.0, 28.0, 40.0),
}
"""Values that are tried, one field after the other."""

ROUNDS = 2
"""How often all fields are gone through."""

SETTLING = 3
"""How often pictures are looked at anew, at the scales that the reading chosen last judges them at."""

Pairs = list[tuple[NDArray[np.int32], NDArray[np.int32]]]
Score = Callable[[Pairs], float]


@dataclass(frozen=True)
class Seen:
    """Maps of a picture at the scale judged for it, and its truth."""

    maps: Maps
    picture: Picture

    def pair(self, how: Reading) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the labels that are true, and those that are read."""
        height, width = self.picture.labels.shape
        return self.picture.labels, read(self.maps, how, (height, width)).labels


def look(detector: NucleiNetworkDetector, pictures: Sequence[Picture]) -> list[Seen]:
    """Judge each picture once, at the scale that is found for it."""
    found = []
    for picture in pictures:
        scale = scale_of(detector, picture.pixels)
        found.append(Seen(detector.maps(resized(picture.pixels, scale)), picture))
    return found


def merit(pictures: Sequence[Seen], how: Reading, score: Score) -> float:
    """Return how good a reading is: the mean over kinds of picture, by the square root of their number."""
    kinds = sorted({one.picture.kind for one in pictures})
    each = [[one for one in pictures if one.picture.kind == kind] for kind in kinds]
    values = [score([one.pair(how) for one in of_kind]) for of_kind in each]
    return float(np.average(values, weights=[len(of_kind) ** 0.5 for of_kind in each]))


def calibrate(pictures: Sequence[Seen], start: Reading, score: Score) -> tuple[Reading, float]:
    """Return the best reading that is found by changing one value after the other, and its merit.

    Parameters
    ----------
    pictures
        None of which the network was trained on.
    score
        From (truth, found) pairs of label images to a number that is better when greater.
    """
    best, most = start, merit(pictures, start, score)
    for _ in range(ROUNDS):
        before = most
        for name, values in CHOICES.items():
            for value in values:
                other = replace(best, **{name: value})
                if other != best and (worth := merit(pictures, other, score)) > most:
                    best, most = other, worth
        if most == before:
            break
    return best, most


def settled(
    detector: NucleiNetworkDetector, pictures: Sequence[Picture], score: Score
) -> tuple[Reading, float]:
    """Return the best reading by its merit at the scales at which it judges the pictures itself.

    A reading that finds other nuclei judges pictures at other scales, so what `calibrate` chose at the scales
    of another is measured anew before it counts. Begins with the detector's own.
    """
    best, most, how = detector.reading, -np.inf, detector.reading
    for _ in range(1 + SETTLING):
        seen = look(replace(detector, reading=how), pictures)
        if (worth := merit(seen, how, score)) > most:
            best, most = how, worth
        before, (how, _) = how, calibrate(seen, how, score)
        if how == before:
            break
    return best, most
