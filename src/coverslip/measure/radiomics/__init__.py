"""Radiomics as the Image Biomarker Standardisation Initiative defines it (IBSI, arXiv:1612.07003)."""

from coverslip.measure.radiomics.discretise import (
    AsLevels,
    Discretise,
    FixedBinNumber,
    FixedBinSize,
    Levels,
    discretise,
)
from coverslip.measure.radiomics.extract import FAMILIES, FEATURES, measure_region, radiomics
from coverslip.measure.radiomics.feature import MANUAL, Feature, Values
from coverslip.measure.radiomics.glcm import glcm
from coverslip.measure.radiomics.glrlm import glrlm
from coverslip.measure.radiomics.intensity_volume import intensity_volume_histogram
from coverslip.measure.radiomics.local import local_intensity
from coverslip.measure.radiomics.morphology import morphology
from coverslip.measure.radiomics.neighbours import AGGREGATIONS, DIMENSIONS
from coverslip.measure.radiomics.ngldm import ngldm
from coverslip.measure.radiomics.ngtdm import ngtdm
from coverslip.measure.radiomics.region import Region
from coverslip.measure.radiomics.resample import resample
from coverslip.measure.radiomics.statistics import histogram, statistics
from coverslip.measure.radiomics.zones import gldzm, glszm

__all__ = [
    "AGGREGATIONS",
    "DIMENSIONS",
    "FAMILIES",
    "FEATURES",
    "MANUAL",
    "AsLevels",
    "Discretise",
    "Feature",
    "FixedBinNumber",
    "FixedBinSize",
    "Levels",
    "Region",
    "Values",
    "discretise",
    "glcm",
    "gldzm",
    "glrlm",
    "glszm",
    "histogram",
    "intensity_volume_histogram",
    "local_intensity",
    "measure_region",
    "morphology",
    "ngldm",
    "ngtdm",
    "radiomics",
    "resample",
    "statistics",
]
