"""Download published weights once, with their licence accepted; afterwards they are read from a cache.

A model's folder in the cache holds ``weights.safetensors`` and ``fetched.json``, which says where they came
from, their SHA-256 and when their licence was accepted. The record is written last: a folder without one
holds nothing. A download that was cut off goes on where it stopped.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from coverslip.core.errors import MissingExtraError, StoreError, UsageError
from coverslip.core.files import atomic
from coverslip.models.card import ModelCard

if TYPE_CHECKING:
    import torch

ENDPOINT = "https://huggingface.co"
WEIGHTS, RECORD, PARTS = "weights.safetensors", "fetched.json", "download"
SHA256 = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """Weights in the cache.

    Attributes
    ----------
    path
        The safetensors file.
    sha256
        Of it; checked when the file is not the one that was last checked (by size and time).
    source, file, revision
        Repository, name and commit that they were downloaded from; the revision is empty for a file that was
        given.
    original_sha256
        Of the file as published.
    licence, accepted
        Which licence was accepted, and when (UTC); empty where it asks for nothing.
    """

    path: Path
    sha256: str
    source: str
    file: str
    revision: str
    original_sha256: str
    licence: str
    accepted: str
    size: int
    modified_ns: int


def default_cache() -> Path:
    """Return where weights are kept unless another folder is given: ``~/.cache/coverslip/models``."""
    return Path.home() / ".cache" / "coverslip" / "models"


def fetched(card: ModelCard, *, cache: Path | None = None) -> Fetched | None:
    """Return the weights of `card` in the cache; None when they are not there.

    Raises
    ------
    StoreError
        When they are not what was fetched.
    """
    folder = (cache or default_cache()) / card.id
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        found = Fetched(**{**record, "path": folder / WEIGHTS})
        now = found.path.stat()
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"{folder} cannot be read: {error}", mend=_again(card)) from error
    if (now.st_size, now.st_mtime_ns) == (found.size, found.modified_ns):
        return found
    if now.st_size != found.size or digest(found.path) != found.sha256:
        raise StoreError(f"{found.path} is not what was fetched: its checksum is another", mend=_again(card))
    return _recorded(folder, {**record, "modified_ns": now.st_mtime_ns})


def fetch(
    card: ModelCard,
    *,
    accept: bool = False,
    cache: Path | None = None,
    endpoint: str = ENDPOINT,
    token: str | None = None,
    file: Path | None = None,
) -> Fetched:
    """Bring the weights of `card` into the cache, or return those that are there.

    Parameters
    ----------
    accept
        That the user has read the licence and accepts it; needed where `ModelCard.restricted` says so.
    endpoint
        Address of the hub.
    token
        Of the hub's user, for gated weights; None uses the one that ``hf auth login`` left, if any.
    file
        A file that was downloaded in another way, instead of the hub's.

    Raises
    ------
    UsageError
        When the licence is not accepted, or Coverslip cannot run this model.
    StoreError
        When the hub cannot be reached, refuses, or sends something else than it says; when `file` cannot be
        read.
    MissingExtraError
        When what reads or downloads weights is not installed.
    """
    card.check_available()
    if not card.files:
        raise UsageError(f"{card.id!r} has no weights", mend="use it as it is")
    there = fetched(card, cache=cache)
    if there is not None:
        return there
    if card.restricted and not accept:
        raise UsageError(
            f"the weights of {card.id!r} are under {card.licence}: {terms(card)}",
            mend=f"read it and accept it: coverslip models fetch {card.id} --accept-licence",
        )
    folder = (cache or default_cache()) / card.id
    folder.mkdir(parents=True, exist_ok=True)
    if file is None:
        original, name, revision = _download(card, folder / PARTS, endpoint, token)
    else:
        original, name, revision = file, file.name, ""
    return _kept(card, folder, original, (name, revision))


def terms(card: ModelCard) -> str:
    """Say in one line what using the weights means.

    Examples
    --------
    >>> from coverslip.models import encoder_card
    >>> terms(encoder_card("uni"))
    'no commercial use; access must be granted at https://huggingface.co/MahmoodLab/UNI'
    """
    said = ["no commercial use"] if not card.commercial_use else []
    page = f"https://huggingface.co/{card.source}"
    said.append(f"access must be granted at {page}" if card.gated else f"terms at {page}")
    return "; ".join(said)


def _download(card: ModelCard, folder: Path, endpoint: str, token: str | None) -> tuple[Path, str, str]:
    """Download the first of the card's files that the hub has; return it, its name and its commit."""
    try:
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
        from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: unlisted there
            EntryNotFoundError,
            HfHubHTTPError,
            HTTPError,
        )
    except ImportError as error:
        raise MissingExtraError.of("huggingface-hub", "torch") from error
    for name in card.files:
        try:
            url = hf_hub_url(card.source, name, endpoint=endpoint)
            about = get_hf_file_metadata(url, token=token, endpoint=endpoint)
            path = hf_hub_download(
                card.source,
                name,
                local_dir=folder,
                endpoint=endpoint,
                token=token,
                revision=about.commit_hash,
            )
        except EntryNotFoundError:
            continue
        except (HfHubHTTPError, HTTPError, OSError, ValueError) as error:
            raise _refused(card, endpoint, error) from error
        _check(card, Path(path), about.etag, about.size)
        return Path(path), name, about.commit_hash or ""
    raise StoreError(
        f"{endpoint}/{card.source} has none of {', '.join(card.files)}",
        mend="download its weights by hand and give them: --from FILE",
    )


def _refused(card: ModelCard, endpoint: str, error: Exception) -> StoreError:
    """Make the error for a hub that says no, or nothing."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    page = f"{endpoint}/{card.source}"
    if status in (401, 403):
        return StoreError(
            f"{page} refuses the weights of {card.id!r} ({status})",
            mend=f"ask for access on {page}, then `hf auth login`, or give a token: --token-file FILE",
        )
    if status == 404:
        return StoreError(f"there is no {page}", mend="check the endpoint, or give the weights: --from FILE")
    return StoreError(
        f"the weights of {card.id!r} cannot be had from {page}: {error}",
        mend="try again with a network (a download goes on where it stopped), or give the file: --from FILE",
    )


def _check(card: ModelCard, path: Path, etag: str | None, size: int | None) -> None:
    """Refuse a file that is not the one that the hub describes; it is removed, so that it is not taken up."""
    wrong = ""
    if size is not None and path.stat().st_size != size:
        wrong = f"it has {path.stat().st_size} bytes, expected {size}"
    elif etag and len(etag) == SHA256 and digest(path) != etag:
        wrong = f"its SHA-256 is {digest(path)[:12]}…, expected {etag[:12]}…"
    if wrong:
        shutil.rmtree(path.parent, ignore_errors=True)
        raise StoreError(
            f"what came for {card.id!r} is not what the hub describes: {wrong}", mend="fetch it again"
        )


def _kept(card: ModelCard, folder: Path, original: Path, origin: tuple[str, str]) -> Fetched:
    """Put weights into the cache as safetensors, and write their record."""
    from coverslip.models.network import file_digest

    before = file_digest(str(original)).removeprefix("sha256:")
    target = folder / WEIGHTS
    if original.suffix == ".safetensors":
        with atomic(target) as partial:
            shutil.copyfile(original, partial)
    else:
        _converted(original, target)
    now = target.stat()
    record = {
        "sha256": digest(target), "source": card.source, "file": origin[0], "revision": origin[1],
        "original_sha256": before, "licence": card.licence if card.restricted else "",
        "accepted": datetime.now(UTC).isoformat(timespec="seconds") if card.restricted else "",
        "size": now.st_size, "modified_ns": now.st_mtime_ns,
    }  # fmt: skip
    made = _recorded(folder, record)
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    return made


def _recorded(folder: Path, record: dict[str, object]) -> Fetched:
    record.pop("path", None)
    with atomic(folder / RECORD) as partial:
        partial.write_text(json.dumps(record, indent=1), encoding="utf-8")
    return Fetched(**{**record, "path": folder / WEIGHTS})  # type: ignore[arg-type]


def _converted(original: Path, target: Path) -> None:
    """Read a pickled file without running code from it, and write its tensors as safetensors."""
    import pickle

    import torch
    from safetensors.torch import save_file

    from coverslip.models.network import quietly
    from coverslip.models.weights_layout import unwrapped

    try:
        with quietly():  # of the version of pickle, which a user cannot change
            loaded = torch.load(original, map_location="cpu", weights_only=True)
        state: dict[str, torch.Tensor] = {
            name: value.contiguous().clone()
            for name, value in unwrapped(loaded).items()
            if isinstance(value, torch.Tensor)
        }
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, AttributeError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise StoreError(
            f"{original} holds more than tensors, or is damaged, and is not read: {first}",
            mend="if you trust it, save its tensors yourself with safetensors and give them: --from FILE",
        ) from error
    with atomic(target) as partial:
        save_file(state, partial)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    from coverslip.models.network import file_digest

    return file_digest(str(path)).removeprefix("sha256:")


def as_record(found: Fetched) -> dict[str, object]:
    """Return plain values, ready for JSON."""
    return {**asdict(found), "path": str(found.path)}


def _again(card: ModelCard) -> str:
    return f"remove it and fetch it again: coverslip models fetch {card.id}"
