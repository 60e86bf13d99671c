"""What a radiomics feature is called, and the manual that defines it."""

from __future__ import annotations

from dataclasses import dataclass

MANUAL = "Zwanenburg, Leger, Vallières & Löck 2016, IBSI reference manual, arXiv:1612.07003"
"""The source of every definition in this package."""

Values = dict[tuple[str, str], float]
"""(feature, aggregation) → value; the aggregation is ``""`` where there is none."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of the Image Biomarker Standardisation Initiative.

    Attributes
    ----------
    family
        ``"morphology"``, ``"local"``, ``"statistics"``, ``"histogram"``, ``"ivh"``, ``"glcm"``, ``"glrlm"``,
        ``"glszm"``, ``"gldzm"``, ``"ngtdm"`` or ``"ngldm"``.
    name
        As the manual writes it; unique within the family.
    code
        The manual's four letters or digits, which stay when names change.
    unit
        ``"intensity"`` is the unit of the picture (squared, …), ``"level"`` counts grey levels from 1,
        ``"bit"`` is of entropies, ``""`` a pure number.
    definition
        What it is, in words or as a formula.
    """

    family: str
    name: str
    code: str
    unit: str
    definition: str
