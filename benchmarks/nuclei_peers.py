"""Write an untrained StarDist, Cellpose or InstanSeg model of the architecture that its makers publish.

    python benchmarks/nuclei_peers.py stardist|cellpose|instanseg FOLDER

Published weights could not be had where this was written. Untrained networks are as large and as slow, so
`benchmarks/nuclei.py speed SLIDE --model KIND:PATH` tells what a network costs; thresholds are set so that it
finds nothing, and the cost of making nuclei of its maps is left out: a bound from below. Nothing can be said
of accuracy. Prints the model and the options to give. Each package in an environment of its own is best.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

ANY = {"mpp": 0.5}


def stardist(folder: Path) -> dict[str, object]:
    """Write a model like ``2D_versatile_he``: three channels, 32 rays, grid of two, depth three."""
    from stardist.models import Config2D, StarDist2D

    config = Config2D(n_channel_in=3, grid=(2, 2), n_rays=32)
    model = StarDist2D(config, name="untrained", basedir=str(folder))
    model.keras_model.save_weights(str(folder / "untrained" / "weights_best.h5"))
    return {"model": f"stardist:{folder / 'untrained'}", "options": ANY | {"probability": 0.99}}


def cellpose(folder: Path) -> dict[str, object]:
    """Write a model like ``nuclei`` of Cellpose 3: residual U-Net, 32 to 256 channels, nuclei of 17 px."""
    from cellpose.resnet_torch import CPnet

    path = folder / "untrained"
    CPnet([2, 32, 64, 128, 256], 3, sz=3, mkldnn=False, max_pool=True, diam_mean=17.0).save_model(str(path))
    return {"model": f"cellpose:{path}", "options": ANY | {"probability": 100.0}}


def instanseg(folder: Path) -> dict[str, object]:
    """Write a model like ``brightfield_nuclei``: U-Net of 32 to 256 channels, exported as TorchScript."""
    import torch
    from instanseg.utils.loss.instanseg_loss import InstanSeg, InstanSeg_Torchscript
    from instanseg.utils.model_loader import build_model_from_dict

    shape = {"model_str": "instanseg_unet", "dim_in": 3, "layers": [32, 64, 128, 256], "norm": "BATCH"}
    heads = {"dim_coords": 2, "n_sigma": 2, "dim_seeds": 1, "multihead": False, "cells_and_nuclei": False}
    network = build_model_from_dict(shape | heads | {"dropprob": 0.0}).eval()
    network = InstanSeg(n_sigma=2, device="cpu").initialize_pixel_classifier(network, MLP_width=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(InstanSeg_Torchscript(network, pixel_size=0.5)).save(str(folder / "instanseg.pt"))
    return {"model": f"instanseg:{folder / 'instanseg.pt'}", "options": {}}


KINDS: dict[str, Callable[[Path], dict[str, object]]] = {
    "stardist": stardist,
    "cellpose": cellpose,
    "instanseg": instanseg,
}


def main() -> None:
    """Write one."""
    kind, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    print(json.dumps(KINDS[kind](folder)))


if __name__ == "__main__":
    main()
