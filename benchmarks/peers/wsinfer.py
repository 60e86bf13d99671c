"""WSInfer (Apache-2.0): its patching and its dataset, on its OpenSlide reader."""

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


def _coordinates(wanted) -> Path:
    from wsinfer.patchlib import segment_and_patch_one_slide

    segment_and_patch_one_slide(
        str(wanted.slide), wanted.out, patch_size_px=TILE, patch_spacing_um_px=wanted.mpp
    )
    return wanted.out / "patches" / f"{wanted.slide.stem}.h5"


def _fresh(wanted) -> None:
    from wsinfer import wsi

    wsi.set_backend("openslide")
    shutil.rmtree(wanted.out, ignore_errors=True)
    wanted.out.mkdir(parents=True)


def tissue(wanted):
    """Segment and lay coordinates with its defaults."""
    import h5py

    _fresh(wanted)

    def work():
        with h5py.File(_coordinates(wanted)) as file:
            return len(file["coords"])

    return work, "tiles"


def read(wanted):
    """Read tiles through its dataset in a DataLoader."""
    import h5py
    import torch
    from torch.utils.data import DataLoader
    from wsinfer.modellib.data import WholeSlideImagePatches

    _fresh(wanted)
    path = wanted.out / "reference.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("coords", data=np.load(wanted.coords))
        data.attrs["patch_level"], data.attrs["patch_size"] = 0, TILE
    dataset = WholeSlideImagePatches(
        str(wanted.slide), path, transform=lambda im: torch.from_numpy(np.array(im))
    )
    loader = DataLoader(
        dataset, batch_size=64, num_workers=wanted.workers, worker_init_fn=dataset.worker_init
    )
    return lambda: sum(len(tiles) for tiles, _ in loader), "tiles"


def embed(wanted):
    """Its patching and loader loop with the network given in the place of a zoo classifier."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from wsinfer.modellib.data import WholeSlideImagePatches

    _fresh(wanted)
    model = network(wanted)
    prepare = transforms.Compose(
        [
            transforms.Resize(224),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )

    def work():
        dataset = WholeSlideImagePatches(str(wanted.slide), _coordinates(wanted), transform=prepare)
        dataset.worker_init()
        with torch.no_grad():
            return sum(len(model(tiles)) for tiles, _ in DataLoader(dataset, batch_size=64, num_workers=0))

    return work, "tiles"


if __name__ == "__main__":
    run({"tissue": tissue, "read": read, "embed": embed})
