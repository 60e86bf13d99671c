"""DICOM series made here: organisations, offset tables, channels, damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    generate_uid,
)

from coverslip.core import Size
from coverslip.core.errors import CorruptSlideError, CorruptTileError, UnsupportedSlideError, UsageError
from coverslip.slides import find_slides, open_slide
from coverslip.slides.dicom import DicomReader
from coverslip.slides.dicom_file import WSI
from coverslip.testing import check_reader

TILE = 64


def tiles_of(pixels: np.ndarray) -> list[np.ndarray]:
    """Cut into tiles row by row, the last ones padded with black."""
    rows, columns = -(-pixels.shape[0] // TILE), -(-pixels.shape[1] // TILE)
    padded = np.zeros((rows * TILE, columns * TILE, *pixels.shape[2:]), pixels.dtype)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    return [
        np.ascontiguousarray(padded[r * TILE : (r + 1) * TILE, c * TILE : (c + 1) * TILE])
        for r in range(rows)
        for c in range(columns)
    ]


def item(**values: object) -> Dataset:
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def header(
    pixels: np.ndarray, frames: int, *, series: str, flavour: str = "VOLUME", mpp: float = 0.5
) -> Dataset:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = WSI, generate_uid()
    made.SeriesInstanceUID, made.StudyInstanceUID, made.Modality = series, generate_uid(), "SM"
    made.ImageType = ["ORIGINAL", "PRIMARY", flavour, "NONE"]
    made.TotalPixelMatrixRows, made.TotalPixelMatrixColumns = pixels.shape[:2]
    made.Rows = made.Columns = TILE
    made.NumberOfFrames = frames
    made.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    made.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    made.PlanarConfiguration = 0
    made.BitsAllocated = made.BitsStored = pixels.dtype.itemsize * 8
    made.HighBit, made.PixelRepresentation = made.BitsStored - 1, 0
    made.DimensionOrganizationType = "TILED_FULL"
    made.SharedFunctionalGroupsSequence = Sequence(
        [item(PixelMeasuresSequence=Sequence([item(PixelSpacing=[mpp / 1000, mpp / 1000])]))]
    )
    made.OpticalPathSequence = Sequence([item(OpticalPathIdentifier="1", ObjectiveLensPower=20)])
    return made


def save(path: Path, made: Dataset, syntax: str = ExplicitVRLittleEndian) -> Path:
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write pixels as one instance of a series."""

    def writer(pixels: np.ndarray, name: str = "a.dcm", series: str = "1.2.3", **more) -> Path:
        tiles = tiles_of(pixels)
        made = header(pixels, len(tiles), series=series, **more)
        made.PixelData = b"".join(tile.tobytes() for tile in tiles)
        return save(tmp_path / name, made)

    return writer


def shown(path: Path) -> np.ndarray:
    with open_slide(path) as slide:
        return slide.reader.window(0, 0, 0, slide.size)


@pytest.fixture
def small(picture) -> np.ndarray:
    return np.ascontiguousarray(picture[:200, :300])


def test_keeps_what_a_reader_promises(write, small):
    path = write(small)
    check_reader(DicomReader, path)
    np.testing.assert_array_equal(shown(path), small)


@pytest.mark.parametrize("table", ["basic", "extended", "none"])
def test_encapsulated_frames_by_every_offset_table(tmp_path, small, table):
    tiles = tiles_of(small)
    coded = [imagecodecs.jpeg2k_encode(tile, level=0, reversible=True, mct=False) for tile in tiles]
    made = header(small, len(tiles), series="1.2.3")
    if table == "extended":
        data, offsets, lengths = encapsulate_extended(coded)
        made.ExtendedOffsetTable, made.ExtendedOffsetTableLengths = offsets, lengths
    else:
        data = encapsulate(coded, has_bot=table == "basic")
    made.PixelData = data
    made["PixelData"].is_undefined_length = True
    np.testing.assert_array_equal(shown(save(tmp_path / "a.dcm", made, JPEG2000Lossless)), small)


def test_frames_in_several_fragments(tmp_path, small):
    coded = [imagecodecs.jpeg8_encode(tile, level=95) for tile in tiles_of(small)]
    results = []
    for fragments in (1, 3):
        made = header(small, len(coded), series="1.2.3")
        made.PhotometricInterpretation = "YBR_FULL_422"
        made.PixelData = encapsulate(coded, fragments_per_frame=fragments)
        made["PixelData"].is_undefined_length = True
        results.append(shown(save(tmp_path / "a.dcm", made, JPEGBaseline8Bit)))
    np.testing.assert_array_equal(*results)
    assert np.abs(results[0].astype(int) - small).max() < 60


def test_sparse_tiles_lie_where_they_say(tmp_path, small):
    tiles = tiles_of(small)
    order = np.random.default_rng(0).permutation(len(tiles))[:-3]
    made = header(small, len(order), series="1.2.3")
    made.DimensionOrganizationType = "TILED_SPARSE"
    made.PerFrameFunctionalGroupsSequence = Sequence([
        item(PlanePositionSlideSequence=Sequence([item(
            ColumnPositionInTotalImagePixelMatrix=int(i % 5) * TILE + 1,
            RowPositionInTotalImagePixelMatrix=int(i // 5) * TILE + 1,
        )]))
        for i in order
    ])  # fmt: skip
    made.PixelData = b"".join(tiles[i].tobytes() for i in order)
    pixels = shown(save(tmp_path / "a.dcm", made))
    expected = small.copy()
    for i in set(range(len(tiles))) - set(order.tolist()):
        expected[i // 5 * TILE : (i // 5 + 1) * TILE, i % 5 * TILE : (i % 5 + 1) * TILE] = 255
    np.testing.assert_array_equal(pixels, expected)


def test_frames_without_an_order_are_refused(tmp_path, small):
    tiles = tiles_of(small)
    made = header(small, len(tiles), series="1.2.3")
    del made.DimensionOrganizationType
    made.PixelData = b"".join(tile.tobytes() for tile in tiles)
    with pytest.raises(UnsupportedSlideError, match="does not say where its 20 frames lie"):
        open_slide(save(tmp_path / "a.dcm", made), reader="dicom")


def test_a_series_is_one_slide_from_any_file_and_from_its_folder(write, small, tmp_path):
    first = write(small, "b.dcm")
    write(np.ascontiguousarray(small[::2, ::2]), "a.dcm", mpp=1.0)
    write(np.ascontiguousarray(small[::4, ::4]), "c.dcm", flavour="LABEL")
    for place in (first, tmp_path / "a.dcm", tmp_path):
        with open_slide(place) as slide:
            assert [(v.width, v.height, v.downsample) for v in slide.levels] == [
                (300, 200, 1.0),
                (150, 100, 2.0),
            ]
            assert slide.mpp == pytest.approx(0.5)
            np.testing.assert_array_equal(slide.associated["label"], small[::4, ::4])
            np.testing.assert_array_equal(slide.reader.window(1, 0, 0, Size(150, 100)), small[::2, ::2])
    assert [source.path for source in find_slides([str(tmp_path)])] == [str(tmp_path)]
    write(small, "d.dcm", series="1.2.4")
    assert [source.id for source in find_slides([str(tmp_path)])] == ["a", "d"]
    with pytest.raises(UnsupportedSlideError, match="2 series"):
        open_slide(tmp_path)


def test_a_concatenation_is_one_level(tmp_path, small):
    tiles = tiles_of(small)
    for number, (first, last) in enumerate([(0, 7), (7, 20)]):
        made = header(small, last - first, series="1.2.3")
        made.ConcatenationUID = "1.2.3.4"
        made.ConcatenationFrameOffsetNumber = first
        made.PixelData = b"".join(tile.tobytes() for tile in tiles[first:last])
        save(tmp_path / f"{number}.dcm", made)
    np.testing.assert_array_equal(shown(tmp_path), small)


def test_optical_paths_are_channels_and_the_first_focal_plane_is_shown(tmp_path):
    rng = np.random.default_rng(0)
    planes = rng.integers(0, 60000, (2, 2, 130, 150), np.uint16)  # optical path, focal plane
    made = header(planes[0, 0], 4 * 9, series="1.2.3")
    made.TotalPixelMatrixFocalPlanes = 2
    made.OpticalPathSequence = Sequence(
        [
            item(OpticalPathIdentifier=str(i), OpticalPathDescription=name)
            for i, name in enumerate(("DAPI", "FITC"))
        ]
    )
    made.PixelData = b"".join(t.tobytes() for path in planes for plane in path for t in tiles_of(plane))
    path = save(tmp_path / "a.dcm", made)
    with open_slide(path) as slide:
        assert slide.facts.channels == ("DAPI", "FITC")
        assert slide.facts.dtype == "uint16"
        assert any("focal planes are left out" in text for text in slide.warnings)
    np.testing.assert_array_equal(shown(path), np.moveaxis(planes[:, 0], 0, 2))


def test_white_is_zero_and_implicit_syntax(tmp_path, small):
    grey = np.ascontiguousarray(small[..., 0])
    tiles = tiles_of(grey)
    made = header(grey, len(tiles), series="1.2.3")
    made.PhotometricInterpretation = "MONOCHROME1"
    made.PixelData = b"".join(tile.tobytes() for tile in tiles)
    path = save(tmp_path / "a.dcm", made, ImplicitVRLittleEndian)
    np.testing.assert_array_equal(shown(path)[..., 0], 255 - grey)


def test_truncated_and_corrupt(write, tmp_path, small):
    path = write(small)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptSlideError, match="ends within its pixels"):
        open_slide(path)
    coded = [imagecodecs.jpeg8_encode(tile) for tile in tiles_of(small)]
    coded[3] = b"\0" * len(coded[3])
    made = header(small, len(coded), series="1.2.3")
    made.PixelData = encapsulate(coded)
    made["PixelData"].is_undefined_length = True
    with open_slide(save(tmp_path / "a.dcm", made, JPEGBaseline8Bit)) as slide:
        slide.reader.block(0, 2, 0)
        with pytest.raises(CorruptTileError, match="frame 3"):
            slide.reader.block(0, 3, 0)
        slide.reader.block(0, 4, 0)


def test_what_is_no_slide(write, small, tmp_path):
    label = write(small, flavour="LABEL")
    with pytest.raises(UnsupportedSlideError, match="only LABEL"):
        open_slide(label, reader="dicom")
    with pytest.raises(UsageError, match="no scene 1"):
        open_slide(write(small), scene=1)
    other = pydicom.dcmread(write(small))
    other.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    other.save_as(tmp_path / "b.dcm")
    with pytest.raises(UnsupportedSlideError, match="Secondary Capture"):
        open_slide(tmp_path / "b.dcm")


def test_the_patient_is_not_among_the_facts(write, small):
    path = write(small)
    made = pydicom.dcmread(path)
    made.PatientName, made.PatientID = "Doe^Jane", "4711"
    made.save_as(path)
    with open_slide(path) as slide:
        assert "Doe" not in str(slide.info())
        assert "4711" not in str(slide.info())
