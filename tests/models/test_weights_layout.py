"""Published weights become ours: the same features come out, whatever their tensors are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason='torch is not installed: pip install "coverslip[torch]"')
timm = pytest.importorskip("timm", reason='timm is not installed: pip install "coverslip[torch]"')

from torch import nn  # noqa: E402

from coverslip.models.encoder_networks import (  # noqa: E402
    AttentionPooled,
    ClassAndMean,
    ConvolutionStem,
    _timm,
)
from coverslip.models.weights_layout import arranged, unwrapped  # noqa: E402

SMALL = {"embed_dim": 48, "depth": 2, "num_heads": 3}


def shaken(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give every tensor random values, so that no two could be swapped unseen."""
    torch.manual_seed(seed)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.copy_(
                torch.rand(value.shape) * 0.4 + 0.1 if value.ndim < 2 else torch.randn(value.shape) * 0.1
            )
    return network.eval()


def loaded(network: nn.Module, state: dict[str, Any], layout: str) -> nn.Module:
    network.load_state_dict(arranged(state, network, layout))
    return network.eval()


def tiles(size: int) -> Any:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def in_hugging_face(network: nn.Module, dinov2: bool) -> dict[str, Any]:
    """Name a timm transformer's tensors as published files of transformers do."""
    outside = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "reg_token": "embeddings.register_tokens",
        "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
        "norm.weight": "layernorm.weight",
        "norm.bias": "layernorm.bias",
    }
    inside = {"attn.proj": "attention.output.dense"} | (
        {"ls1.gamma": "layer_scale1.lambda1", "ls2.gamma": "layer_scale2.lambda1"}
        if dinov2
        else {"norm1": "layernorm_before", "norm2": "layernorm_after", "mlp.fc1": "intermediate.dense",
              "mlp.fc2": "output.dense"}
    )  # fmt: skip
    state = {}
    for name, value in network.state_dict().items():
        if name in outside:
            state[outside[name]] = value
            continue
        _, number, rest = name.split(".", 2)
        base = f"encoder.layer.{number}."
        if rest.startswith("attn.qkv"):
            kind = rest.rpartition(".")[2]
            for key, part in zip(("query", "key", "value"), value.chunk(3), strict=True):
                state[f"{base}attention.attention.{key}.{kind}"] = part
            continue
        for ours, theirs in inside.items():
            if rest.startswith(ours):
                rest = rest.replace(ours, theirs, 1)
                break
        state[base + rest] = value
    return state


@pytest.mark.parametrize("dinov2", [False, True])
def test_names_of_transformers_files(dinov2: bool) -> None:
    parameters = SMALL | ({"init_values": 1.0} if dinov2 else {"norm_eps": 1e-12})
    made = shaken(_timm("vit_small_patch16_224", parameters))
    state = in_hugging_face(made, dinov2) | {"embeddings.mask_token": torch.zeros(1, 48)}
    state |= {"pooler.dense.weight": torch.zeros(48, 48), "pooler.dense.bias": torch.zeros(48)}
    again = loaded(
        shaken(_timm("vit_small_patch16_224", parameters), 1), state, "hf-dinov2" if dinov2 else "hf-vit"
    )
    torch.testing.assert_close(again(tiles(224)), made(tiles(224)))


def test_transformers_itself_gives_the_same_features(tmp_path: Path) -> None:
    """The reference: their network with random weights, saved by them, and read into ours."""
    transformers = pytest.importorskip("transformers", reason="transformers is a reference only")
    from safetensors.torch import load_file

    common = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 56}
    meta = common | {"patch_size": 14, "layerscale_value": 1.0}
    plain = common | {"image_size": 48, "patch_size": 16, "intermediate_size": 192, "layer_norm_eps": 1e-12}
    grid = {"img_size": 56, "init_values": 1.0, **SMALL}
    gated = {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU", "mlp_ratio": 2 * 128 / 48}
    vit = transformers.ViTModel(transformers.ViTConfig(**plain), add_pooling_layer=False)
    dino, swiglu = (
        transformers.Dinov2Model(transformers.Dinov2Config(**meta, use_swiglu_ffn=gates))
        for gates in (False, True)
    )
    config = transformers.Dinov2WithRegistersConfig(**meta, num_register_tokens=4)
    registers = transformers.Dinov2WithRegistersModel(config)
    cases = (
        (vit, ("vit_small_patch16_224", {"img_size": 48, "norm_eps": 1e-12, **SMALL}), "hf-vit"),
        (dino, ("vit_small_patch14_dinov2", grid), "hf-dinov2"),
        (swiglu, ("vit_small_patch14_dinov2", grid | gated), "hf-dinov2"),
        (registers, ("vit_small_patch14_reg4_dinov2", grid), "hf-dinov2"),
    )
    for number, (theirs, (architecture, parameters), layout) in enumerate(cases):
        shaken(theirs).save_pretrained(tmp_path / str(number))
        state = load_file(tmp_path / str(number) / "model.safetensors")
        ours = loaded(_timm(architecture, parameters), state, layout)
        size = parameters["img_size"]
        with torch.inference_mode():
            wanted = theirs(pixel_values=tiles(size)).last_hidden_state
            torch.testing.assert_close(ours.forward_features(tiles(size)), wanted, atol=2e-4, rtol=1e-3)


def test_positions_on_another_grid_are_resampled() -> None:
    made = shaken(_timm("vit_small_patch14_dinov2", {"img_size": 126, **SMALL, "init_values": 1.0}))
    state = in_hugging_face(made, True)
    ours = loaded(
        _timm("vit_small_patch14_dinov2", {"img_size": 56, **SMALL, "init_values": 1.0}), state, "hf-dinov2"
    )
    assert ours.pos_embed.shape == (1, 17, 48)
    torch.testing.assert_close(ours.pos_embed[:, 0], made.pos_embed[:, 0])
    assert ours(tiles(56)).isfinite().all()


def small_swin() -> nn.Module:
    parameters = {"depths": (1, 1, 2, 1), "embed_dim": 24, "num_heads": (1, 2, 4, 8)}
    network = _timm("swin_tiny_patch4_window7_224", parameters)
    network.patch_embed = ConvolutionStem(24)
    return network


def test_swin_of_older_timm() -> None:
    made = shaken(small_swin())
    old = {}
    for name, value in made.state_dict().items():
        parts = name.split(".")
        if parts[0] == "layers" and parts[2] == "downsample":
            parts[1] = str(int(parts[1]) - 1)
        old[".".join(parts)] = value
    old["layers.2.blocks.1.attn_mask"] = torch.zeros(1)
    old["head.weight"] = torch.zeros(1000, 192)
    ours = loaded(shaken(small_swin(), 1), old, "timm-swin")
    with torch.inference_mode():
        torch.testing.assert_close(ours(tiles(224)), made(tiles(224)))


def conch_small() -> AttentionPooled:
    return AttentionPooled(_timm("vit_small_patch16_224", {**SMALL, "dynamic_img_size": True}), 48, 64)


@pytest.mark.parametrize("layout", ["conch", "conch-1.5"])
def test_conch(layout: str) -> None:
    made = shaken(conch_small())
    state = {f"trunk.{name}": value for name, value in made.trunk.state_dict().items()}
    state |= {"ln_contrast.weight": made.norm.weight, "ln_contrast.bias": made.norm.bias}
    pool = {
        name: value for name, value in made.state_dict().items() if name.startswith(("ln_", "query", "attn."))
    }
    if layout == "conch-1.5":
        with torch.no_grad():
            made.attn.in_proj_bias.zero_()
            made.attn.out_proj.bias.zero_()
        pool = {name: value for name, value in pool.items() if not name.startswith("attn.")}
        pool["to_q.weight"] = made.attn.q_proj_weight
        pool["to_kv.weight"] = torch.cat([made.attn.k_proj_weight, made.attn.v_proj_weight])
        pool["to_out.weight"] = made.attn.out_proj.weight
    state |= {f"attn_pool_contrast.{name}": value for name, value in pool.items()}
    if layout == "conch":
        state = {f"visual.{name}": value for name, value in state.items()}
        state |= {"text.cls_emb": torch.zeros(3), "visual.proj_contrast": torch.zeros(64, 64)}
        state |= {"visual.attn_pool_caption.query": torch.zeros(4, 64), "logit_scale": torch.zeros(())}
    ours = loaded(shaken(conch_small(), 1), state, layout)
    torch.testing.assert_close(ours(tiles(224)), made(tiles(224)))


def test_the_attention_pool_is_what_the_paper_says() -> None:
    made = shaken(conch_small())
    with torch.inference_mode():
        tokens = made.ln_k(made.trunk.forward_features(tiles(224)))
        weight, bias = made.attn, made.attn.in_proj_bias.chunk(3)
        query = nn.functional.linear(made.ln_q(made.query), weight.q_proj_weight, bias[0])
        key = nn.functional.linear(tokens, weight.k_proj_weight, bias[1])
        value = nn.functional.linear(tokens, weight.v_proj_weight, bias[2])
        heads = []
        for q, k, v in zip(query.split(8, 1), key.split(8, 2), value.split(8, 2), strict=True):
            share = torch.softmax(q @ k.transpose(1, 2) / 8**0.5, dim=-1)
            heads.append(share @ v)
        wanted = made.norm(weight.out_proj(torch.cat(heads, 2)))[:, 0]
        torch.testing.assert_close(made(tiles(224)), wanted)


def test_class_and_mean_leaves_registers_out() -> None:
    network = shaken(_timm("vit_small_patch14_reg4_dinov2", {"img_size": 56, **SMALL, "global_pool": ""}))
    with torch.inference_mode():
        tokens = network(tiles(56))
        found = ClassAndMean(network)(tiles(56))
    assert tokens.shape == (2, 1 + 4 + 16, 48)
    torch.testing.assert_close(found[:, :48], tokens[:, 0])
    torch.testing.assert_close(found[:, 48:], tokens[:, 5:].mean(1))


def test_what_training_wraps_around_is_taken_off() -> None:
    inner = {"module.a": 1, "module.b": 2}
    assert unwrapped({"epoch": 3, "state_dict": {"teacher": inner}}) == {"a": 1, "b": 2}
    assert unwrapped({"a": 1}) == {"a": 1}


def test_a_classifier_is_left_out_and_nothing_else() -> None:
    network = timm.create_model("resnet18", num_classes=0)
    state = dict(timm.create_model("resnet18").state_dict())
    assert arranged(state, network, "headless").keys() == network.state_dict().keys()
    odd = arranged(state | {"unheard.of": torch.zeros(1)}, network, "timm")
    assert set(odd) - set(network.state_dict()) == {"unheard.of"}
