"""Weights are fetched whole or not at all, with their licence accepted, and then read from the cache."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

torch = pytest.importorskip("torch", reason='torch is not installed: pip install "coverslip[torch]"')
timm = pytest.importorskip("timm", reason='timm is not installed: pip install "coverslip[torch]"')

from safetensors.torch import load_file, save  # noqa: E402

from coverslip.core.errors import StoreError, UsageError  # noqa: E402
from coverslip.models import encoder_card  # noqa: E402
from coverslip.models.card import ModelCard  # noqa: E402
from coverslip.models.encoder_networks import trunk  # noqa: E402
from coverslip.models.fetch import as_record, fetch, fetched, terms  # noqa: E402
from coverslip.models.network import build  # noqa: E402

HERE = Path(__file__).parent
STATE = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4)}
OPEN = replace(encoder_card("resnet18"), source="lab/open")
GATED = replace(encoder_card("uni"), source="lab/gated")
RIGHT = "right"
PICKLED = replace(GATED, files=("pytorch_model.bin",))


@pytest.fixture(scope="module")
def hub_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hub", HERE / "hub.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def hub(hub_module: ModuleType, tmp_path: Path) -> Iterator:
    torch.save({"state_dict": {f"module.{name}": value for name, value in STATE.items()}}, tmp_path / "p.bin")
    files = {
        "lab/open/model.safetensors": save(STATE),
        "lab/gated/pytorch_model.bin": (tmp_path / "p.bin").read_bytes(),
    }
    with hub_module.serving(hub_module.Hub(files)) as running:
        yield running


def bring(card: ModelCard, hub, tmp_path: Path, **how: object):
    return fetch(
        card, cache=tmp_path / "cache", endpoint=hub.address, token=how.pop("token", "secret"), **how
    )


def test_weights_are_kept_with_their_checksum_and_read_without_a_network(hub, tmp_path: Path) -> None:
    found = bring(OPEN, hub, tmp_path)
    content = hub.files["lab/open/model.safetensors"]
    assert found.path.read_bytes() == content
    assert found.sha256 == found.original_sha256 == hashlib.sha256(content).hexdigest()
    assert (found.file, found.source, found.accepted) == ("model.safetensors", "lab/open", "")
    assert found.revision.startswith("c0ffee")
    hub.asked.clear()
    again = fetch(OPEN, cache=tmp_path / "cache", endpoint="http://127.0.0.1:9")
    assert again == found == fetched(OPEN, cache=tmp_path / "cache")
    assert hub.asked == []
    assert sorted(path.name for path in found.path.parent.iterdir()) == [
        "fetched.json",
        "weights.safetensors",
    ]
    assert json.loads(json.dumps(as_record(found)))["sha256"] == found.sha256


def test_a_restricted_licence_must_be_accepted_first(hub, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"CC-BY-NC-ND.*no commercial use.*--accept-licence"):
        bring(PICKLED, hub, tmp_path)
    assert hub.asked == []
    found = bring(PICKLED, hub, tmp_path, accept=True)
    assert (found.licence, bool(found.accepted)) == ("CC-BY-NC-ND-4.0", True)
    assert "terms at" in terms(replace(GATED, gated=False, commercial_use=True))


def test_pickled_tensors_are_kept_as_safetensors(hub, tmp_path: Path) -> None:
    found = bring(PICKLED, hub, tmp_path, accept=True)
    state = load_file(found.path)
    assert sorted(state) == ["a", "b"]
    torch.testing.assert_close(state["a"], STATE["a"])
    assert found.original_sha256 == hashlib.sha256(hub.files["lab/gated/pytorch_model.bin"]).hexdigest()
    assert found.original_sha256 != found.sha256


class Trap:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("trap-was-run"),)


def test_a_pickle_that_would_run_code_is_refused(
    hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Trap()}, tmp_path / "trap.bin")
    contents = (pickle.dumps({"a": Trap()}), (tmp_path / "trap.bin").read_bytes(), b"cut off")
    for number, content in enumerate(contents):
        hub.files["lab/gated/pytorch_model.bin"] = content
        with pytest.raises(StoreError, match=r"holds more than tensors, or is damaged"):
            bring(PICKLED, hub, tmp_path / str(number), accept=True)
    assert not (tmp_path / "trap-was-run").exists()
    assert fetched(PICKLED, cache=tmp_path / "0" / "cache") is None


def test_the_first_file_that_is_there_is_taken(hub, tmp_path: Path) -> None:
    both = replace(GATED, files=("model.safetensors", "pytorch_model.bin"))
    assert bring(both, hub, tmp_path, accept=True).file == "pytorch_model.bin"
    none = replace(OPEN, id="none", files=("weights.safetensors", "other.safetensors"))
    with pytest.raises(StoreError, match=r"has none of weights\.safetensors, other\.safetensors.*--from"):
        bring(none, hub, tmp_path)


def test_a_download_that_was_cut_off_goes_on(hub, tmp_path: Path) -> None:
    content = save({"big": torch.randn(7_000_000)})
    hub.files["lab/open/model.safetensors"] = content
    hub.cut = 22_000_000
    found = bring(OPEN, hub, tmp_path)
    assert found.path.read_bytes() == content
    ranges = [asked[2] for asked in hub.asked if asked[0] == "GET"]
    assert ranges[0] is None
    assert ranges[1] is not None
    assert int(ranges[1].removeprefix("bytes=").rstrip("-")) >= 10_000_000


def test_what_is_half_there_is_nothing(hub, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "resnet18"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(save(STATE)[:50])
    assert fetched(OPEN, cache=tmp_path / "cache") is None
    assert load_file(bring(OPEN, hub, tmp_path).path).keys() == STATE.keys()


def test_another_content_than_announced_is_refused_and_not_kept(hub, tmp_path: Path) -> None:
    honest = hub.files["lab/open/model.safetensors"]
    hub.lies = honest[:-1] + bytes([honest[-1] ^ 1])
    with pytest.raises(StoreError, match="is not what the hub describes: its SHA-256"):
        bring(OPEN, hub, tmp_path)
    assert fetched(OPEN, cache=tmp_path / "cache") is None
    hub.lies = None
    assert bring(OPEN, hub, tmp_path).path.read_bytes() == honest


def test_weights_that_changed_in_the_cache_are_refused(hub, tmp_path: Path) -> None:
    found = bring(OPEN, hub, tmp_path)
    content = bytearray(found.path.read_bytes())
    found.path.write_bytes(content)  # touched, not changed: checked again, and taken
    touched = fetched(OPEN, cache=tmp_path / "cache")
    assert touched is not None
    assert touched.sha256 == found.sha256
    content[-1] ^= 1
    found.path.write_bytes(content)
    with pytest.raises(StoreError, match=r"checksum is another.*coverslip models fetch resnet18"):
        fetched(OPEN, cache=tmp_path / "cache")
    (found.path.parent / "fetched.json").write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        fetched(OPEN, cache=tmp_path / "cache")


@pytest.mark.parametrize("token", ["wrong", False])
def test_a_hub_that_refuses_says_where_to_ask(hub, tmp_path: Path, token: str | bool) -> None:
    hub.token = RIGHT
    with pytest.raises(StoreError, match=r"refuses the weights.*ask for access.*--token-file"):
        bring(PICKLED, hub, tmp_path, accept=True, token=token)
    assert bring(PICKLED, hub, tmp_path, accept=True, token=RIGHT).file == "pytorch_model.bin"


def test_a_hub_that_is_not_there_says_so(hub, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no http.*lab/nowhere"):
        bring(replace(OPEN, source="lab/nowhere"), hub, tmp_path)
    with pytest.raises(StoreError, match=r"cannot be had from.*with a network"):
        fetch(OPEN, cache=tmp_path / "cache", endpoint="http://127.0.0.1:9", token=RIGHT)


def test_a_file_may_be_given_instead(hub, tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_bytes(save(STATE))
    found = bring(OPEN, hub, tmp_path, file=tmp_path / "mine.safetensors")
    assert (found.file, found.revision, hub.asked) == ("mine.safetensors", "", [])
    with pytest.raises(StoreError, match="no weights at"):
        bring(replace(OPEN, id="other"), hub, tmp_path, file=tmp_path / "none.safetensors")


def test_a_network_is_built_of_what_was_fetched(hub, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("resnet18")
    hub.files["lab/open/model.safetensors"] = save(dict(network.state_dict()))
    bring(OPEN, hub, tmp_path)
    built = build(OPEN, cache=tmp_path / "cache")
    tiles = torch.randn(2, 3, 64, 64)
    network.reset_classifier(0)
    torch.testing.assert_close(built(tiles), network.eval()(tiles))


def test_restricted_weights_are_never_downloaded_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def absent(repository: str, name: str, *, local_files_only: bool = False) -> str:
        assert local_files_only
        raise LocalEntryNotFoundError("not there")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", absent)
    card = replace(encoder_card("phikon"), parameters={"depth": 1, "embed_dim": 48, "num_heads": 3})
    assert trunk(card) is not None
    with pytest.raises(StoreError, match=r"Owkin non-commercial.*coverslip models fetch phikon"):
        build(card, cache=tmp_path)
