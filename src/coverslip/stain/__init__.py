"""Optical density, separation of stains, normalisation and augmentation: functions on arrays of pixels."""

from coverslip.stain.augment import augment_hed
from coverslip.stain.density import estimate_background, from_od, to_od
from coverslip.stain.macenko import fit_macenko
from coverslip.stain.matrices import RUIFROK_JOHNSTON, StainMatrix
from coverslip.stain.methods import METHODS, Method, fit
from coverslip.stain.normalise import Normaliser
from coverslip.stain.reinhard import LabStatistics, fit_reinhard
from coverslip.stain.separation import recombine, separate
from coverslip.stain.targets import StainTarget, fit_target, load_target
from coverslip.stain.vahadane import fit_vahadane

__all__ = [
    "METHODS",
    "RUIFROK_JOHNSTON",
    "LabStatistics",
    "Method",
    "Normaliser",
    "StainMatrix",
    "StainTarget",
    "augment_hed",
    "estimate_background",
    "fit",
    "fit_macenko",
    "fit_reinhard",
    "fit_target",
    "fit_vahadane",
    "from_od",
    "load_target",
    "recombine",
    "separate",
    "to_od",
]
