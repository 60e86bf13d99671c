"""TIAToolbox (BSD-3): its reader, tissue mask, feature extractor, stain normaliser and semantic stitcher."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path = [
    entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parent
]  # our name is its
sys.path.append(str(Path(__file__).parent))

import numpy as np  # noqa: E402
from common import MEAN, STD, TILE, network, run  # noqa: E402


def read(wanted):
    """Read tiles through its DataLoader-friendly `read_rect`."""
    import torch
    from tiatoolbox.wsicore.wsireader import WSIReader

    corners = np.load(wanted.coords)

    class Tiles(torch.utils.data.Dataset):
        reader = None

        def __len__(self):
            return len(corners)

        def __getitem__(self, i):
            self.reader = self.reader or WSIReader.open(wanted.slide)
            return self.reader.read_rect(
                tuple(map(int, corners[i])), (TILE, TILE), resolution=wanted.mpp, units="mpp"
            )

    loader = torch.utils.data.DataLoader(Tiles(), batch_size=64, num_workers=wanted.workers)
    return lambda: sum(len(batch) for batch in loader), "tiles"


def tissue(wanted):
    """Otsu mask, sliding-window coordinates."""
    from tiatoolbox.tools.patchextraction import get_patch_extractor
    from tiatoolbox.wsicore.wsireader import WSIReader

    def work():
        reader = WSIReader.open(wanted.slide)
        mask = reader.tissue_mask(method="otsu")
        extractor = get_patch_extractor(
            "slidingwindow", input_img=reader, input_mask=mask, patch_size=(TILE, TILE), stride=(TILE, TILE),
            resolution=wanted.mpp, units="mpp", min_mask_ratio=0.5, within_bound=True,
        )  # fmt: skip
        return len(extractor)

    return work, "tiles"


def embed(wanted):
    """`DeepFeatureExtractor` with the network given."""
    import torch
    import zarr
    from tiatoolbox.models.engine.deep_feature_extractor import DeepFeatureExtractor
    from tiatoolbox.models.engine.io_config import IOPatchPredictorConfig
    from tiatoolbox.models.models_abc import ModelABC

    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))

    class Model(ModelABC):
        def __init__(self):
            super().__init__()
            self.network = network(wanted)

        def forward(self, tiles):
            return self.network(tiles)

        @staticmethod
        def infer_batch(model, batch, *, device):
            pixels = batch.to(device).permute(0, 3, 1, 2).contiguous().float().div_(255).sub_(mean).div_(std)
            with torch.inference_mode():
                return [model(pixels).cpu().numpy()]

    where = IOPatchPredictorConfig(
        input_resolutions=[{"units": "mpp", "resolution": wanted.mpp}],
        patch_input_shape=[224, 224],
        stride_shape=[224, 224],
    )
    engine = DeepFeatureExtractor(model=Model(), batch_size=64, num_workers=0, verbose=False)
    shutil.rmtree(wanted.out, ignore_errors=True)

    def work():
        done = engine.run(
            [wanted.slide], patch_mode=False, ioconfig=where, save_dir=wanted.out, overwrite=True,
            output_type="zarr",
            auto_get_mask=True, batch_size=64, num_workers=0, device="cpu",
        )  # fmt: skip
        store = zarr.open(str(next(iter(done.values()))), mode="r")
        name = "probabilities" if "probabilities" in store else next(iter(store.array_keys()))
        return store[name].shape[0]

    return work, "tiles"


def stain(wanted):
    """Macenko, one tile after the other, as its normaliser works."""
    from tiatoolbox.tools.stainnorm import get_normalizer

    tiles = np.load(wanted.coords)
    normaliser = get_normalizer("macenko")
    normaliser.fit(tiles[0])
    return lambda: sum(1 for tile in tiles if normaliser.transform(tile) is not None), "tiles"


def stitch(wanted):
    """`SemanticSegmentor` over a network that only rearranges pixels, so that stitching is what is timed."""
    import torch
    from tiatoolbox.models.engine.io_config import IOSegmentorConfig
    from tiatoolbox.models.engine.semantic_segmentor import SemanticSegmentor
    from tiatoolbox.models.models_abc import ModelABC
    from tiatoolbox.wsicore.wsireader import WSIReader

    class Model(ModelABC):
        def __init__(self):
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def forward(self, tiles):
            return tiles

        @staticmethod
        def infer_batch(model, batch, *, device):  # noqa: ARG004 - its engine passes them
            pixels = batch.float().numpy() / 255
            return np.concatenate([pixels, 1 - pixels[..., :1]], -1).astype(np.float32)

        @staticmethod
        def postproc(image):
            return np.argmax(image, -1).astype(np.uint8)

    at = [{"units": "mpp", "resolution": wanted.mpp}]
    where = IOSegmentorConfig(
        input_resolutions=at, output_resolutions=at, save_resolution=at[0], patch_input_shape=[512, 512],
        patch_output_shape=[512, 512], stride_shape=[384, 384],
    )  # fmt: skip
    engine = SemanticSegmentor(model=Model(), batch_size=4, num_workers=0, verbose=False)
    shutil.rmtree(wanted.out, ignore_errors=True)
    width, height = WSIReader.open(wanted.slide).info.slide_dimensions

    def work():
        engine.run(
            [wanted.slide], patch_mode=False, ioconfig=where, save_dir=wanted.out, overwrite=True,
            output_type="zarr",
            auto_get_mask=True, num_workers=0, batch_size=4, device="cpu",
        )  # fmt: skip
        return width * height / 1e6

    return work, "Mpx"


if __name__ == "__main__":
    run({"read": read, "tissue": tissue, "embed": embed, "stain": stain, "stitch": stitch})
