"""Networks that give every pixel a class, as data: a name of a recipe's ``architecture`` → what builds it.

U-Net (Ronneberger et al., MICCAI 2015), U-Net++ (Zhou et al., DLMIA 2018), Attention U-Net (Oktay et al.,
MIDL 2018), DeepLabV3+ (Chen et al., ECCV 2018), FPN (Lin et al., CVPR 2017; Kirillov et al., CVPR 2019) and
SegFormer (Xie et al., NeurIPS 2021). All but the attention gates are those of segmentation-models-pytorch,
over our small encoder or any encoder of timm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coverslip.core import unknown
from coverslip.core.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from torch import nn

ARCHITECTURES: dict[str, str] = {
    "unet": "Unet",
    "unet++": "UnetPlusPlus",
    "attention-unet": "coverslip.models.segmenters_attention:AttentionUnet",
    "deeplabv3+": "DeepLabV3Plus",
    "fpn": "FPN",
    "segformer": "Segformer",
}
"""Name → class of segmentation-models-pytorch, or ``module:Class`` of ours."""

DECODERS = frozenset({"unet", "unet++", "attention-unet"})
"""Those whose decoder has a width per stage, which follows the encoder's."""

OWN = ("small", "tiny")
"""Names of our own encoders, for training from scratch."""

SMALL = OWN[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmenterSpec:
    """What makes a segmenter's network.

    Attributes
    ----------
    classes
        Names, in the order of the outputs.
    architecture
        A name of `ARCHITECTURES`.
    encoder
        ``"small"`` or ``"tiny"`` for our own, else a name of timm.
    depth
        How often the encoder halves the picture; sides of tiles are multiples of ``2 ** depth``.
    width
        Channels of the decoder's finest stage (U-Nets), doubled at each coarser one up to 16 times.
    context
        How many times coarser a second look at the surroundings is: 2, 4, 8 …; 1 for none (U-Nets).
    around
        Pixels of that look on each side of the tile; see `coverslip.models.segmenters_context.Surround`.

    Raises
    ------
    UnknownNameError
        When there is no such architecture.
    UsageError
        When a value cannot be served.
    """

    classes: tuple[str, ...]
    architecture: str = "unet"
    encoder: str = SMALL
    depth: int = 5
    width: int = 16
    context: int = 1
    around: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        if self.architecture not in ARCHITECTURES:
            raise unknown("architecture", self.architecture, ARCHITECTURES)
        if len(set(self.classes)) != len(self.classes) or len(self.classes) < 2:
            raise UsageError(
                f"classes {self.classes} cannot be told apart: expected two or more different names",
                mend="name the background as a class, too",
            )
        shallow = 3 if self.architecture in DECODERS else 5
        if not shallow <= self.depth <= 5 or self.width < 1:
            raise UsageError(
                f"depth {self.depth} and width {self.width}: {self.architecture} takes a depth of {shallow} "
                "to 5 "
                "and a width of 1 or more"
            )
        if self.context != 1:
            self._check_context()

    def _check_context(self) -> None:
        powers = [2**step for step in range(1, self.depth)]
        if self.context not in powers:
            raise UsageError(
                f"context {self.context} times as coarse as the tiles cannot be: expected one of {powers}"
            )
        if self.architecture not in DECODERS:
            raise UsageError(
                f"{self.architecture} takes no context", mend=f"take one of {', '.join(sorted(DECODERS))}"
            )
        if self.around < 1 or self.around % (self.multiple // self.context):
            raise UsageError(
                f"around {self.around} cannot be: expected a multiple of {self.multiple // self.context} "
                "pixels of the context"
            )

    @property
    def multiple(self) -> int:
        """What sides of tiles must be a multiple of."""
        return 2**self.depth


def build_segmenter(spec: SegmenterSpec, *, pretrained: bool = False) -> nn.Module:
    """Make the network: float pictures (n, 3, h, w), normalised, to scores (n, classes, h, w).

    With a context it takes the views of the surroundings as well.

    Parameters
    ----------
    pretrained
        Take the encoder's published weights from the hub or its cache; the rest is random.

    Raises
    ------
    MissingExtraError
        When segmentation-models-pytorch is not installed.
    UsageError
        When there is no such encoder, it does not fit the architecture, or it has no weights to take.
    """
    try:
        import segmentation_models_pytorch as smp
    except ImportError as error:
        raise MissingExtraError.of("segmentation-models-pytorch", "train") from error
    place = ARCHITECTURES[spec.architecture]
    kind = _ours(place) if ":" in place else getattr(smp, place)
    options: dict[str, Any] = {
        "encoder_name": _encoder_name(spec, pretrained=pretrained),
        "encoder_weights": True if pretrained else None,
        "encoder_depth": spec.depth,
        "classes": len(spec.classes),
    }
    if spec.architecture in DECODERS:
        widths = (spec.width * min(16, 2**stage) for stage in reversed(range(spec.depth)))
        options["decoder_channels"] = tuple(widths)
        # by halves of a pixel, so that a tile's result does not depend on where its corner lies
        options["decoder_interpolation"] = "bilinear"
    try:
        network: nn.Module = kind(**options)
    except (ValueError, KeyError, RuntimeError, AttributeError) as error:
        raise UsageError(
            f"{spec.architecture} cannot be built over the encoder {spec.encoder!r}: {error}",
            mend="take another encoder of timm, e.g. resnet34, or encoder: small",
        ) from error
    if spec.context == 1:
        return network
    from coverslip.models.segmenters_context import Surround, WithContext

    return WithContext(network, Surround(spec.context, spec.around), spec.depth)


def _ours(place: str) -> Any:
    from importlib import import_module

    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def _encoder_name(spec: SegmenterSpec, *, pretrained: bool) -> str:
    if spec.encoder in OWN:
        from coverslip.models.segmenters_encoder import register

        if pretrained:
            raise UsageError(
                f"the {spec.encoder} encoder has no published weights",
                mend="train it from scratch (pretrained: false), or name an encoder of timm, e.g. resnet34",
            )
        return register(spec.encoder)
    import timm

    if not timm.is_model(spec.encoder.partition(".")[0]):
        raise unknown("encoder", spec.encoder, [*OWN, *timm.list_models()])
    return f"tu-{spec.encoder}"
