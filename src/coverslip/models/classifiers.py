"""Networks that tell classes of pictures: our small one, and any of timm."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from coverslip.core import unknown
from coverslip.core.errors import MissingExtraError, StoreError, UsageError
from coverslip.models.card import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    import torch

SMALL = "small-cnn"
MEMBERS, TEXTURE = "members", "texture"
Transfer = Literal["scratch", "frozen", "blocks", "full"]


def build_classifier(
    architecture: str, classes: int, parameters: Mapping[str, Any] | None = None
) -> torch.nn.Module:
    """Build a network with random weights: float pictures (n, 3, h, w) → scores (n, classes).

    Parameters
    ----------
    architecture
        ``"small-cnn"`` or a name of timm.
    parameters
        Arguments of `coverslip.models.small_cnn.SmallCNN`, or of ``timm.create_model``; ``members`` above 1
        makes a `coverslip.models.committee.Committee` of so many, and ``texture`` a
        `coverslip.models.texture.WithTexture` of each.

    Raises
    ------
    UnknownNameError
        When there is no such architecture; with the nearest match.
    UsageError
        When it does not take these parameters.
    MissingExtraError
        When torch or timm is not installed.
    """
    given = dict(parameters or {})
    members = int(given.pop(MEMBERS, 1))
    if members > 1:
        from coverslip.models.committee import Committee

        return Committee([build_classifier(architecture, classes, given) for _ in range(members)])
    if given.pop(TEXTURE, False):
        from coverslip.models.texture import Texture, WithTexture

        mean, std = normalisation(architecture)
        network = build_classifier(architecture, classes, given)
        return WithTexture(network, Texture(classes, mean=mean, std=std))
    try:
        if architecture == SMALL:
            from coverslip.models.small_cnn import SmallCNN

            if "depths" in given:
                given["depths"] = tuple(given["depths"])
            return SmallCNN(classes, **given)
        import timm
    except ImportError as error:
        raise MissingExtraError.of("torch (with timm)", "torch") from error
    except TypeError as error:
        raise _refused(architecture, error) from error
    check_architecture(architecture)
    try:
        return timm.create_model(architecture, pretrained=False, num_classes=classes, **given)
    except TypeError as error:
        raise _refused(architecture, error) from error


def check_architecture(architecture: str) -> None:
    """Refuse a name that neither we nor timm know.

    Raises
    ------
    UnknownNameError
        With the nearest match.
    """
    import timm

    if architecture == SMALL or timm.is_model(architecture.partition(".")[0]):
        return
    names = timm.list_models()
    error = unknown("network", architecture, [SMALL, *names])
    hint = (error.mend or "").partition(" There are:")[0]
    raise type(error)(error.message, mend=f"{hint} There are {SMALL} and {len(names)} of timm".strip())


def load_pretrained(network: torch.nn.Module, architecture: str, weights: str) -> int:
    """Load pretrained weights into all but the head; return how many tensors were loaded.

    Parameters
    ----------
    weights
        ``"imagenet"`` takes timm's own from the hub's cache (or fetches them); else a safetensors file, of a
        state or of a model folder. Of a committee they are its first member's.

    Raises
    ------
    StoreError
        When they cannot be had.
    UsageError
        When they are pickled, or fewer than half of the network's tensors are among them.
    """
    state = _hub(architecture) if weights == "imagenet" else _file(Path(weights))
    wanted = network.state_dict()
    fits = {k: v for k, v in state.items() if k in wanted and wanted[k].shape == v.shape}
    head = {name for name in wanted if name in _head_names(network)}
    missing = sorted(set(wanted) - set(fits) - head)
    if missing:
        raise UsageError(
            f"{weights} does not hold weights of {architecture}: {len(missing)} tensors are missing or of "
            f"another shape: {', '.join(missing[:3])}",
            mend="give the weights of this architecture; those of its head may differ",
        )
    network.load_state_dict(fits, strict=False)
    return len(fits)


def normalisation(architecture: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel that the architecture's weights expect."""
    if architecture == SMALL:
        return IMAGENET_MEAN, IMAGENET_STD
    import timm

    config = timm.get_pretrained_cfg(architecture)
    if config is None:
        return IMAGENET_MEAN, IMAGENET_STD
    return tuple(config.mean), tuple(config.std)


def layers_of(network: torch.nn.Module) -> list[list[torch.nn.Parameter]]:
    """Return the parameters in groups from the input to the head; the head is the last group.

    For timm's networks these are the groups of its ``group_matcher``; a block is a group.
    """
    if hasattr(network, "stages") and hasattr(network, "stem") and hasattr(network, "features"):
        blocks = [network.stem, *network.stages, network.head]
        return [list(block.parameters()) for block in blocks]  # type: ignore[union-attr]
    from timm.models import group_parameters

    head = set(_head_names(network))
    named = dict(network.named_parameters())
    groups = group_parameters(network, network.group_matcher(coarse=False))  # type: ignore[operator]
    found = [[n for n in names if n not in head] for _, names in sorted(groups.items())]
    layers = [[named[name] for name in names] for names in found if names]
    placed = {name for names in found for name in names}
    rest = [p for name, p in named.items() if name not in placed and name not in head]
    return [*([rest] if rest else []), *layers, [named[name] for name in named if name in head]]


def _head_names(network: torch.nn.Module) -> list[str]:
    head = network.get_classifier() if hasattr(network, "get_classifier") else network.head
    modules = head if isinstance(head, (tuple, list)) else (head,)
    own = {id(tensor) for module in modules for tensor in module.state_dict(keep_vars=True).values()}
    return [name for name, tensor in network.state_dict(keep_vars=True).items() if id(tensor) in own]


def _hub(architecture: str) -> dict[str, torch.Tensor]:
    import timm
    from huggingface_hub.errors import HfHubHTTPError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return timm.create_model(architecture, pretrained=True).state_dict()
    except (OSError, HfHubHTTPError, RuntimeError) as error:
        raise StoreError(
            f"ImageNet weights of {architecture} are neither in the hub's cache nor reachable: {error}",
            mend="fetch them once with a network, give a safetensors file, or train from scratch",
        ) from error


def _file(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = path / "weights.safetensors" if path.is_dir() else path
    if file.suffix != ".safetensors":
        raise UsageError(
            f"{file} is no safetensors file; pickled weights can run code and are not loaded",
            mend="save them once with safetensors.torch.save_file(state_dict, 'weights.safetensors')",
        )
    if not file.is_file():
        raise StoreError(f"there are no weights at {file}", mend="check the path")
    try:
        state = load_file(file)
    except (SafetensorError, OSError) as error:
        raise StoreError(f"{file} cannot be read as safetensors: {error}", mend="copy it anew") from error
    from coverslip.models.committee import MEMBER

    first = MEMBER.format(0)
    state = {name.removeprefix(first): value for name, value in state.items()}
    return {name.removeprefix("network."): value for name, value in state.items()}


def _refused(architecture: str, error: Exception) -> UsageError:
    return UsageError(f"{architecture} cannot be built: {error}", mend="mend network.parameters")
