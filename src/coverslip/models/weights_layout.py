"""Published weights name their tensors in several ways; each is turned into that of our networks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    State = dict[str, torch.Tensor]

WRAPPERS = ("state_dict", "model", "teacher")
HEADS = ("head.", "fc.", "classifier.", "head_dist.", "pooler.")
"""What classifies, and is left out where our network has no such tensor."""

_LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)")
_INSIDE = {
    "layernorm_before": "norm1", "layernorm_after": "norm2", "norm1": "norm1", "norm2": "norm2",
    "attention.output.dense": "attn.proj", "intermediate.dense": "mlp.fc1", "output.dense": "mlp.fc2",
    "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2", "mlp.weights_in": "mlp.fc1", "mlp.weights_out": "mlp.fc2",
    "layer_scale1": "ls1", "layer_scale2": "ls2",
}  # fmt: skip
_OUTSIDE = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.register_tokens": "reg_token",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}


def unwrapped(loaded: Any) -> Mapping[str, torch.Tensor]:
    """Take the tensors out of what training scripts wrap around them."""
    for name in WRAPPERS:
        inner = loaded.get(name) if isinstance(loaded, Mapping) else None
        if isinstance(inner, Mapping):
            return unwrapped(inner)
    return {name.removeprefix("module."): value for name, value in loaded.items()}


def arranged(state: Mapping[str, torch.Tensor], network: nn.Module, layout: str) -> State:
    """Return the tensors under the names of `network`, which must be the one that they belong to.

    What already bears these names is returned as it is. Tensors that have no place stay under their own
    names, so that whoever loads them can say so.
    """
    wanted = network.state_dict()
    if state.keys() == wanted.keys():
        return dict(state)
    made = LAYOUTS[layout](state, network)
    return {name: value for name, value in made.items() if name in wanted or not name.startswith(HEADS)}


def _as_it_is(state: Mapping[str, torch.Tensor], network: nn.Module) -> State:  # noqa: ARG001
    return dict(state)


def _timm(state: Mapping[str, torch.Tensor], network: nn.Module) -> State:
    """Let timm do what it does to weights of its vision transformers: Meta's names, other grids."""
    from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

    if not isinstance(network, VisionTransformer):
        return dict(state)
    return dict(checkpoint_filter_fn(dict(state), network))


def _timm_swin(state: Mapping[str, torch.Tensor], network: nn.Module) -> State:
    """Move what shrinks the grid to the stage after it, where timm keeps it now; masks are computed."""
    old = any(name.startswith("layers.0.downsample.") for name in state)
    made: State = {}
    for name, value in state.items():
        if name.endswith(("attn_mask", "relative_position_index")):
            continue
        moved = re.sub(
            r"layers\.(\d)\.downsample", lambda found: f"layers.{int(found[1]) + 1}.downsample", name
        )
        made[moved if old else name] = value
    kept = {name for name in network.state_dict() if name.endswith("relative_position_index")}
    return made | {name: value for name, value in state.items() if name in kept}


def _hugging_face(state: Mapping[str, torch.Tensor], network: nn.Module) -> State:
    """Turn the names of transformers' ViT and DINOv2 into timm's, and join query, key and value."""
    import torch

    made: State = {}
    parts: dict[tuple[int, str], dict[str, torch.Tensor]] = {}
    for name, value in state.items():
        short = re.sub(r"^(vit|dinov2|dinov2_with_registers)\.", "", name)
        found = _LAYER.fullmatch(short)
        if found is None:
            if short != "embeddings.mask_token":
                made[_OUTSIDE.get(short, short)] = value
            continue
        number, inside = int(found[1]), found[2]
        which = re.fullmatch(r"attention\.attention\.(query|key|value)\.(weight|bias)", inside)
        if which:
            parts.setdefault((number, which[2]), {})[which[1]] = value
        else:
            made[f"blocks.{number}.{_inside(inside)}"] = value
    for (number, kind), three in parts.items():
        joined = torch.cat([three[key] for key in ("query", "key", "value")])
        made[f"blocks.{number}.attn.qkv.{kind}"] = joined
    return _positions(made, network)


def _inside(name: str) -> str:
    stem, _, last = name.rpartition(".")
    return f"{_INSIDE.get(stem, stem)}.{'gamma' if last == 'lambda1' else last}"


def _positions(state: State, network: nn.Module) -> State:
    """Fit the positions of tokens onto our grid; the class token's own goes into it where ours has none."""
    layers: Any = import_module("timm.layers")

    positions = state.get("pos_embed")
    if positions is None:
        return state
    if (
        getattr(network, "no_embed_class", False) and positions.shape[1] % 2
    ):  # a square grid of tokens and one
        state["cls_token"] = state["cls_token"] + positions[:, :1]
        positions = positions[:, 1:]
    wanted = network.state_dict()["pos_embed"].shape[1]
    if positions.shape[1] != wanted:
        before = 0 if getattr(network, "no_embed_class", False) else 1
        grid: list[int] = list(network.patch_embed.grid_size)  # type: ignore[union-attr, arg-type]
        positions = layers.resample_abs_pos_embed(positions, new_size=grid, num_prefix_tokens=before)
    state["pos_embed"] = positions
    return state


def _conch(state: Mapping[str, torch.Tensor], network: nn.Module) -> State:
    """Take the part that sees out of CONCH, whose other parts read and write text."""
    made: State = {}
    for name, value in state.items():
        short = name.removeprefix("visual.")
        if short.startswith("trunk."):
            made[short] = value
        elif short.startswith("attn_pool_contrast."):
            made[short.removeprefix("attn_pool_contrast.")] = value
        elif short.startswith("ln_contrast."):
            made[short.replace("ln_contrast.", "norm.")] = value
    return _trunk_positions(made, network)


def _conch_1_5(state: Mapping[str, torch.Tensor], network: nn.Module) -> State:
    """As CONCH, with the pooling's projections under other names, joined, and without a bias."""
    import torch

    made = _conch(state, network)
    query = made.pop("to_q.weight", None)
    both = made.pop("to_kv.weight", None)
    out = made.pop("to_out.weight", None)
    if query is None or both is None or out is None:
        return made
    key, value = both.chunk(2)
    zeros = torch.zeros(3 * len(query), dtype=query.dtype)
    return made | {
        "attn.q_proj_weight": query,
        "attn.k_proj_weight": key,
        "attn.v_proj_weight": value,
        "attn.in_proj_bias": zeros,
        "attn.out_proj.weight": out,
        "attn.out_proj.bias": torch.zeros(len(out), dtype=out.dtype),
    }


def _trunk_positions(state: State, network: nn.Module) -> State:
    inner = {name.removeprefix("trunk."): value for name, value in state.items() if name.startswith("trunk.")}
    rest = {name: value for name, value in state.items() if not name.startswith("trunk.")}
    fitted = _positions(inner, network.trunk)  # type: ignore[arg-type]
    return rest | {f"trunk.{name}": value for name, value in fitted.items()}


LAYOUTS: dict[str, Callable[[Mapping[str, torch.Tensor], nn.Module], State]] = {
    "timm": _timm,
    "headless": _as_it_is,
    "timm-swin": _timm_swin,
    "hf-vit": _hugging_face,
    "hf-dinov2": _hugging_face,
    "conch": _conch,
    "conch-1.5": _conch_1_5,
}
"""Name in a card → what turns published tensors into ours."""
