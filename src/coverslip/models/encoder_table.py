"""What is known of each published encoder: a row each, built by a few functions.

Figures are those that the weights' publishers state on the hub and in their code, checked against the lists
of TRIDENT (https://github.com/mahmoodlab/TRIDENT), LazySlide (https://github.com/rendeirolab/LazySlide) and
eva (https://github.com/kaiko-ai/eva), as of November 2026. A licence is what the publisher wrote, not legal
advice.
"""

from __future__ import annotations

from typing import Any

from coverslip.models.card import IMAGENET_MEAN, IMAGENET_STD, ModelCard

RESNET = "He et al., CVPR 2016"
CONVNEXT = "Liu et al., CVPR 2022"
EFFICIENTNET = "Tan and Le, ICML 2019"
VIT = "Dosovitskiy et al., ICLR 2021"
LUNIT = "Kang et al., CVPR 2023"
KAIKO = "kaiko.ai, Aben et al., arXiv 2404.15217"
BIOPTIMUS = "Saillard et al., H-optimus, Bioptimus 2024"

NC_ND = "CC-BY-NC-ND-4.0"
SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"
MANY_SCALES = (0.25, 1.0, 2.0)
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
BIOPTIMUS_COLOUR = ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517))
HIBOU_COLOUR = ((0.7068, 0.5755, 0.722), (0.195, 0.2316, 0.1816))
LUNIT_COLOUR = ((0.70322989, 0.53606487, 0.66096631), (0.21716536, 0.26081574, 0.20723464))
SWIGLU = {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU"}
HUB = "its page on the hub"
TRIDENT = "TRIDENT, load.py"


def _imagenet(name: str, tagged: str, dim: int, any_size: bool, cite: str) -> ModelCard:
    """Make the card of a timm network with ImageNet weights; `tagged` is timm's ``architecture.weights``."""
    architecture, _, _ = tagged.partition(".")
    return ModelCard(
        id=name, task="encoder", architecture=architecture, dim=dim, tile_px=224, any_size=any_size, mpp=None,
        mean=IMAGENET_MEAN, std=IMAGENET_STD, licence="Apache-2.0", commercial_use=True, gated=False,
        source=f"timm/{tagged}", cite=cite, facts="timm's pretrained configuration",
    )  # fmt: skip


def _pathology(name: str, architecture: str, dim: int, source: str, **facts: Any) -> ModelCard:
    """Make the card of a network trained on H&E tiles of 224 px at 0.5 mpp, unless `facts` say otherwise."""
    mean, std = facts.pop("colour", (IMAGENET_MEAN, IMAGENET_STD))
    usual: dict[str, Any] = {
        "tile_px": 224, "any_size": False, "mpp": 0.5, "licence": NC_ND, "commercial_use": False,
        "gated": True, "facts": f"{HUB}; {TRIDENT}",
    }  # fmt: skip
    return ModelCard(
        id=name, task="encoder", architecture=architecture, dim=dim, source=source, mean=mean, std=std,
        **(usual | facts),
    )  # fmt: skip


def _open(**facts: Any) -> dict[str, Any]:
    """State a permissive licence."""
    return {"licence": "Apache-2.0", "commercial_use": True, **facts}


def _vit(**parameters: Any) -> dict[str, Any]:
    """State a vision transformer with layer scale on a grid of 224 px."""
    return {"img_size": 224, "init_values": 1e-5, **parameters}


def _kaiko(size: str, architecture: str, dim: int, **parameters: Any) -> ModelCard:
    return _pathology(
        f"kaiko-{size}", architecture, dim, f"1aurent/{architecture}.kaiko_ai_towards_large_pathology_fms",
        colour=HALF, also_mpp=MANY_SCALES, licence="Kaiko non-commercial", gated=False, cite=KAIKO,
        parameters={"dynamic_img_size": True, **parameters},
    )  # fmt: skip


def _lunit(name: str, architecture: str, weights: str, dim: int) -> ModelCard:
    return _pathology(
        f"lunit-{name}", architecture, dim, f"1aurent/{architecture}.{weights}", colour=LUNIT_COLOUR,
        also_mpp=(0.25,), licence="Lunit non-commercial", gated=False, cite=LUNIT,
        facts=f"{HUB}; eva, lunit.py",
    )  # fmt: skip


IMAGENET = (
    _imagenet("resnet18", "resnet18.a1_in1k", 512, True, RESNET),
    _imagenet("resnet50", "resnet50.a1_in1k", 2048, True, RESNET),
    _imagenet("convnext-tiny", "convnext_tiny.fb_in22k_ft_in1k", 768, True, CONVNEXT),
    _imagenet("convnext-base", "convnext_base.fb_in22k_ft_in1k", 1024, True, CONVNEXT),
    _imagenet("efficientnet-b0", "efficientnet_b0.ra_in1k", 1280, True, EFFICIENTNET),
    _imagenet("vit-small", "vit_small_patch16_224.augreg_in21k_ft_in1k", 384, False, VIT),
    _imagenet("vit-base", "vit_base_patch16_224.augreg_in21k_ft_in1k", 768, False, VIT),
    _imagenet("vit-large", "vit_large_patch16_224.augreg_in21k_ft_in1k", 1024, False, VIT),
)

HARVARD = (
    _pathology(
        "uni", "vit_large_patch16_224", 1024, "MahmoodLab/UNI", parameters=_vit(dynamic_img_size=True),
        files=(PICKLED,), cite="Chen et al., Nat Med 2024",
        note="its page resizes tiles of 256 px at 20x to 224",
    ),
    _pathology(
        "uni2-h", "vit_giant_patch14_224", 1536, "MahmoodLab/UNI2-h", files=(PICKLED,),
        parameters=_vit(depth=24, num_heads=24, embed_dim=1536, mlp_ratio=2.66667 * 2, no_embed_class=True,
                        reg_tokens=8, dynamic_img_size=True, **SWIGLU),
        cite="Chen et al., Nat Med 2024", note="its page resizes tiles of 256 px at 20x to 224",
    ),
    _pathology(
        "conch", "conch", 512, "MahmoodLab/CONCH", tile_px=448, files=(PICKLED,), layout="conch",
        cite="Lu et al., Nat Med 2024", facts=f"{HUB}; its repository, vision_tower.py; {TRIDENT}",
        note="before the projection into the space shared with text; its page resizes tiles of 512 px to 448",
    ),
    _pathology(
        "conch-1.5", "conch-1.5", 768, "MahmoodLab/conchv1_5", tile_px=448, layout="conch-1.5",
        files=("pytorch_model_vision.bin",), cite="Ding et al., Nat Med 2025 (TITAN)",
        note="its page resizes tiles of 512 px at 20x to 448",
    ),
)  # fmt: skip

PAIGE_AND_MICROSOFT = (
    _pathology(
        "virchow", "vit_huge_patch14_224", 2560, "paige-ai/Virchow", pooling="class+mean",
        parameters=_vit(mlp_ratio=5.3375, global_pool="", dynamic_img_size=True, **SWIGLU),
        files=(SAFE, PICKLED), cite="Vorontsov et al., Nat Med 2024", **_open(),
    ),
    _pathology(
        "virchow2", "vit_huge_patch14_224", 2560, "paige-ai/Virchow2", pooling="class+mean",
        parameters=_vit(mlp_ratio=5.3375, global_pool="", reg_tokens=4, dynamic_img_size=True, **SWIGLU),
        files=(SAFE, PICKLED), also_mpp=MANY_SCALES, cite="Zimmermann et al., arXiv 2408.00738",
    ),
    _pathology(
        "gigapath", "vit_giant_patch14_dinov2", 1536, "prov-gigapath/prov-gigapath", files=(PICKLED,),
        parameters=_vit(patch_size=16, embed_dim=1536, depth=40, num_heads=24, mlp_ratio=5.33334),
        cite="Xu et al., Nature 2024", note="its page asks for use in research only", **_open(),
    ),
    _pathology(
        "gigapath-flash", "vit_small_patch16_224", 384, "prov-gigapath/prov-gigapath-flash", files=(PICKLED,),
        parameters=_vit(mlp_ratio=2048 / 384, dynamic_img_size=True, **SWIGLU),
        cite="Prov-GigaPath-Flash, 2026", note="its page asks for use in research only", **_open(),
    ),
)  # fmt: skip

OTHERS = (
    _pathology(
        "h-optimus-0", "vit_giant_patch14_reg4_dinov2", 1536, "bioptimus/H-optimus-0", files=(SAFE, PICKLED),
        parameters=_vit(global_pool="token"), colour=BIOPTIMUS_COLOUR, cite=BIOPTIMUS, **_open(),
    ),
    _pathology(
        "h-optimus-1", "vit_giant_patch14_reg4_dinov2", 1536, "bioptimus/H-optimus-1", files=(SAFE, PICKLED),
        parameters=_vit(global_pool="token"), colour=BIOPTIMUS_COLOUR, cite=BIOPTIMUS,
    ),
    _pathology(
        "h0-mini", "vit_base_patch14_reg4_dinov2", 768, "bioptimus/H0-mini", files=(SAFE, PICKLED),
        parameters=_vit(mlp_ratio=5.33334, global_pool="token", **SWIGLU), colour=BIOPTIMUS_COLOUR,
        cite="Filiot et al., arXiv 2501.16239", note="the class token; 1,536 with the mean of the others",
    ),
    _pathology(
        "phikon", "vit_base_patch16_224", 768, "owkin/phikon", files=(SAFE, PICKLED), layout="hf-vit",
        parameters={"norm_eps": 1e-12}, licence="Owkin non-commercial", gated=False,
        cite="Filiot et al., medRxiv 2023.07.21.23292757",
    ),
    _pathology(
        "phikon-v2", "vit_large_patch16_224", 1024, "owkin/phikon-v2", layout="hf-dinov2", parameters=_vit(),
        licence="Owkin non-commercial", gated=False, cite="Filiot et al., arXiv 2409.09173",
    ),
    _pathology(
        "hibou-b", "vit_base_patch14_reg4_dinov2", 768, "histai/hibou-b", layout="hf-dinov2",
        parameters=_vit(), colour=HIBOU_COLOUR, cite="Nechaev et al., arXiv 2406.05074", **_open(),
    ),
    _pathology(
        "hibou-l", "vit_large_patch14_reg4_dinov2", 1024, "histai/hibou-L", layout="hf-dinov2",
        parameters=_vit(), colour=HIBOU_COLOUR, cite="Nechaev et al., arXiv 2406.05074", **_open(),
    ),
    _pathology(
        "midnight-12k", "vit_giant_patch14_dinov2", 3072, "kaiko-ai/midnight", layout="hf-dinov2",
        parameters=_vit(global_pool=""), pooling="class+mean", colour=HALF, also_mpp=MANY_SCALES,
        cite="Karasikov et al., arXiv 2504.05186",
        **_open(licence="MIT", gated=False),
    ),
    _pathology(
        "gpfm", "vit_large_patch14_dinov2", 1024, "majiabo/GPFM", files=("GPFM.pth",), parameters=_vit(),
        gated=False, licence="MIT (hub), CC-BY-NC-ND-4.0 (code)", cite="Ma et al., Nat Biomed Eng 2025",
    ),
    _pathology(
        "digepath", "vit_large_patch16_224", 1024, "xtxx/Digepath", licence="CC-BY-NC-4.0",
        parameters=_vit(dynamic_img_size=True), cite="Digepath, 2025",
        note="trained on gastrointestinal tissue; its page resizes tiles of 256 px at 20x to 224",
    ),
    _pathology(
        "ctranspath", "ctranspath", 768, "1aurent/swin_tiny_patch4_window7_224.CTransPath", gated=False,
        licence="GPL-3.0", commercial_use=True, layout="timm-swin", cite="Wang et al., Med Image Anal 2022",
        note="published use differs in scale: 0.5 to 1.14 mpp",
    ),
    _pathology(
        "retccl", "resnet50", 2048, "jamesdolezal/RetCCL", files=("retccl.pth",), tile_px=256, any_size=True,
        mpp=1.0, gated=False, licence="GPL-3.0", commercial_use=True, layout="headless",
        cite="Wang et al., Med Image Anal 2023", facts="its paper; Slideflow",
    ),
    _pathology(
        "musk", "musk", 1024, "xiangjx/musk", tile_px=384, colour=HALF, cite="Xiang et al., Nature 2025",
        unavailable="its network is part of a package of its own under CC-BY-NC-ND-4.0 (and of torchscale)",
    ),
)  # fmt: skip

KAIKOS = (
    _kaiko("vits16", "vit_small_patch16_224", 384),
    _kaiko("vits8", "vit_small_patch8_224", 384),
    _kaiko("vitb16", "vit_base_patch16_224", 768),
    _kaiko("vitb8", "vit_base_patch8_224", 768),
    _kaiko("vitl14", "vit_large_patch14_reg4_dinov2", 1024, img_size=518),
)

LUNITS = (
    _lunit("vits16", "vit_small_patch16_224", "lunit_dino", 384),
    _lunit("vits8", "vit_small_patch8_224", "lunit_dino", 384),
    _lunit("resnet50", "resnet50", "lunit_bt", 2048),
)

CARDS = (*IMAGENET, *HARVARD, *PAIGE_AND_MICROSOFT, *OTHERS, *KAIKOS, *LUNITS)
