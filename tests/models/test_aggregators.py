"""Every aggregator: shapes, what it must not depend on, gradients, learning, and its registry."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason='torch is not installed: pip install "coverslip[torch]"')

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from coverslip.core.errors import UnknownNameError, UsageError  # noqa: E402
from coverslip.models.aggregators import AGGREGATORS, build_aggregator, checked_parameters  # noqa: E402
from coverslip.models.aggregators.base import Aggregated, Supervision, row_by_row  # noqa: E402
from coverslip.models.aggregators.clam import svm_loss  # noqa: E402
from coverslip.models.aggregators.graph import nearest  # noqa: E402
from coverslip.models.aggregators.nystrom import NystromAttention, pseudo_inverse  # noqa: E402

NAMES = sorted(AGGREGATORS)
ORDERLESS = [name for name in NAMES if name not in {"transmil", "dtfd"}]
DUPLICATES = ["abmil", "abmil-plain", "clam-mb", "clam-sb", "dsmil", "max", "mean"]
DIM, OUTPUTS = 12, 3

torch.set_num_threads(1)  # small matrices: a second thread waits longer than it works


def made(name: str, outputs: int = OUTPUTS, **parameters: object) -> torch.nn.Module:
    torch.manual_seed(0)
    small = {"hidden": 16, "width": 8, "heads": 4, "landmarks": 6, "neighbours": 3, "sample": 3}
    known = AGGREGATORS[name].parameters
    chosen = {k: v for k, v in (small | parameters).items() if k in known}
    return build_aggregator(name, DIM, outputs, parameters=chosen).double().eval()


def bags(count: int, tiles: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random features, and the places of tiles that lie scattered, no two at the same."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, tiles, DIM, generator=generator, dtype=torch.float64)
    return features, torch.rand(count, tiles, 2, generator=generator, dtype=torch.float64) * 1000


def supervision(labels: torch.Tensor) -> Supervision:
    return Supervision(lambda logits, rows: torch.nn.functional.cross_entropy(logits, labels[rows]), labels)


# ------------------------------------------------------------------ shapes
@pytest.mark.parametrize("name", NAMES)
def test_shapes_hold_without_data(name: str) -> None:
    with torch.device("meta"):
        module = build_aggregator(name, 1536, 4)
        result = module(torch.empty(2, 300, 1536), None, torch.empty(2, 300, 2))
    assert result.logits.shape == (2, 4)
    assert result.attention.shape in {(2, 1, 300), (2, 4, 300)}
    assert result.tiles is None or result.tiles.shape == (2, 300, 4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tiles", [1, 2, 5, 40])
def test_attention_is_a_share_of_each_tile(name: str, tiles: int) -> None:
    features, coords = bags(2, tiles)
    result = made(name)(features, None, coords)
    assert torch.isfinite(result.logits).all()
    assert (result.attention >= 0).all()
    torch.testing.assert_close(result.attention.sum(-1), torch.ones_like(result.attention[..., 0]))


# ------------------------------------------------------------------ what must not matter
@pytest.mark.parametrize("name", ORDERLESS)
@given(seed=st.integers(0, 1000), tiles=st.integers(1, 25))
@settings(max_examples=15, deadline=None)
def test_the_order_of_tiles_does_not_matter(name: str, seed: int, tiles: int) -> None:
    features, coords = bags(1, tiles, seed)
    order = torch.randperm(tiles, generator=torch.Generator().manual_seed(seed))
    module = made(name)
    plain, mixed = module(features, None, coords), module(features[:, order], None, coords[:, order])
    torch.testing.assert_close(plain.logits, mixed.logits)
    torch.testing.assert_close(plain.attention[..., order], mixed.attention)  # it goes with the tiles
    torch.testing.assert_close(plain.tiles[:, order], mixed.tiles)


def test_transmil_sees_the_order_and_dtfd_only_the_parts() -> None:
    features, _ = bags(1, 20)
    back = torch.arange(19, -1, -1)
    transmil, dtfd, alone = made("transmil"), made("dtfd"), made("dtfd", parts=1)
    assert not torch.allclose(transmil(features).logits, transmil(features[:, back]).logits)
    swapped = torch.tensor([1, 0, *range(2, 20)])
    assert not torch.allclose(dtfd(features).logits, dtfd(features[:, swapped]).logits)
    torch.testing.assert_close(dtfd(features).logits, dtfd(features.roll(5, 1)).logits)  # same five parts
    torch.testing.assert_close(alone(features).logits, alone(features[:, back]).logits)


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 1000), first=st.integers(1, 20), second=st.integers(1, 20))
@settings(max_examples=10, deadline=None)
def test_padding_and_neighbours_in_the_batch_do_not_matter(
    name: str, seed: int, first: int, second: int
) -> None:
    module, longest = made(name), max(first, second) + 3
    features, coords = bags(2, longest, seed)
    mask = torch.arange(longest) < torch.tensor([[first], [second]])
    features[~mask], coords[~mask] = float("nan"), 0
    together = module(features, mask, coords)
    for row, tiles in enumerate((first, second)):
        alone = module(features[row : row + 1, :tiles], None, coords[row : row + 1, :tiles])
        torch.testing.assert_close(together.logits[row], alone.logits[0])
        torch.testing.assert_close(together.attention[row, :, :tiles], alone.attention[0])
    assert (together.attention[~mask.unsqueeze(1).expand_as(together.attention)] == 0).all()


@pytest.mark.parametrize("name", DUPLICATES)
def test_all_tiles_twice_say_the_same(name: str) -> None:
    features, coords = bags(2, 9)
    module = made(name)
    once, twice = (
        module(features, None, coords),
        module(features.repeat(1, 2, 1), None, coords.repeat(1, 2, 1)),
    )
    torch.testing.assert_close(once.logits, twice.logits)


def test_one_tile_twice_does_not_matter_to_max_but_to_mean() -> None:
    features, _ = bags(1, 9)
    more = torch.cat([features, features[:, :1]], dim=1)
    torch.testing.assert_close(made("max")(features).logits, made("max")(more).logits)
    assert not torch.allclose(made("mean")(features).logits, made("mean")(more).logits)


@given(seed=st.integers(0, 500), scale=st.floats(0.1, 50), shift=st.floats(-1e4, 1e4))
@settings(max_examples=20, deadline=None)
def test_a_graph_does_not_see_shift_and_scale_of_the_slide(seed: int, scale: float, shift: float) -> None:
    features, coords = bags(1, 15, seed)
    module = made("graph")
    torch.testing.assert_close(
        module(features, None, coords).logits, module(features, None, coords * scale + shift).logits
    )


def test_a_graph_on_a_regular_grid_does_not_depend_on_the_order_either() -> None:
    coords = torch.cartesian_prod(torch.arange(5), torch.arange(4)).double().unsqueeze(0) * 256
    features, _ = bags(1, 20)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    module = made("graph")
    torch.testing.assert_close(
        module(features, None, coords).logits, module(features[:, order], None, coords[:, order]).logits
    )


def test_a_graph_hears_its_neighbours_only() -> None:
    features, _ = bags(1, 8)
    coords = torch.tensor([[[0.0, 0], [1, 0], [0, 1], [1, 1], [90, 90], [91, 90], [90, 91], [91, 91]]])
    module = made("graph", neighbours=3)
    changed = features.clone()
    changed[0, 0] += 1
    difference = (module(features, None, coords).tiles - module(changed, None, coords).tiles).abs().sum(-1)[0]
    assert (difference[:4] > 1e-9).all()
    assert (difference[4:] == 0).all()


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=40), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_nearest_tiles_are_the_nearest(places: list[tuple[int, int]], count: int) -> None:
    coords = torch.tensor(places, dtype=torch.float64)
    found = nearest(coords, count)
    distance = torch.cdist(coords, coords).fill_diagonal_(float("inf"))
    assert found.shape == (len(places), min(count, len(places) - 1))
    assert all(row not in near for row, near in enumerate(found.tolist()))
    best = distance.sort(dim=1).values[:, : found.shape[1]]
    torch.testing.assert_close(distance.gather(1, found).sort(dim=1).values, best)


# ------------------------------------------------------------------ learning
@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name: str) -> None:
    module = made(name).train()
    features, coords = bags(4, 12)
    labels = torch.tensor([0, 1, 2, 0])
    result = module(features, None, coords)
    told = supervision(labels)
    loss = told.loss(result.logits, torch.arange(4)) + module.auxiliary(result, told)
    loss.backward()
    still = [key for key, value in module.named_parameters() if value.grad is None or not value.grad.any()]
    # a constant added to all scores does not change their softmax
    assert [key for key in still if not key.endswith("score.bias")] == []


@pytest.mark.parametrize("name", NAMES)
def test_one_marked_tile_is_learnt_and_found(name: str) -> None:
    """A bag is positive when one of its tiles is marked: learnt on some bags, tested on others."""
    generator = torch.Generator().manual_seed(3)

    def draw(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        features = torch.randn(count, 8, DIM, generator=generator) * 0.5
        labels = torch.arange(count) % 2
        features[labels == 1, 2, 0] += 6
        return features, torch.rand(count, 8, 2, generator=generator), labels

    module = made(name, outputs=2, hidden=32).float().train()
    optimiser = torch.optim.Adam(module.parameters(), lr=5e-3)
    features, coords, labels = draw(32)
    told = supervision(labels)
    for _ in range(60):
        result = module(features, None, coords)
        loss = told.loss(result.logits, torch.arange(32)) + module.auxiliary(result, told)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    features, coords, labels = draw(64)
    result = module.eval()(features, None, coords)
    assert (result.logits.argmax(1) == labels).float().mean() > 0.9
    if name not in {"mean", "transmil", "graph"}:  # these see the bag as a whole
        attention = result.attention[labels == 1]
        assert (attention[:, -1].argmax(-1) == 2).float().mean() > 0.8


def test_tile_losses_leave_bags_of_one_tile_and_bags_without_label_alone() -> None:
    module = made("clam-sb")
    one, _ = bags(2, 1)
    result = module(one)
    assert module.auxiliary(result, supervision(torch.tensor([0, 1]))) == 0
    many, _ = bags(2, 9)
    result = module(many)
    assert module.auxiliary(result, supervision(torch.tensor([-1, -1]))) == 0


def test_clam_without_classes_is_refused() -> None:
    module = made("clam-mb")
    result = module(bags(1, 5)[0])
    with pytest.raises(UsageError, match="one target with classes"):
        module.auxiliary(result, Supervision(lambda logits, _: logits.sum()))


def test_a_graph_without_coords_is_refused() -> None:
    with pytest.raises(UsageError, match="needs their coords"):
        made("graph")(bags(1, 5)[0])


def test_svm_loss_by_hand() -> None:
    """Own score 2, rival 1 with margin 1: log(e² + e²) - 2 = log 2."""
    found = svm_loss(torch.tensor([[2.0, 1.0]]), torch.tensor([0]))
    torch.testing.assert_close(found, torch.tensor(2.0).log())


def test_dtfd_judges_every_pseudo_bag() -> None:
    module = made("dtfd", parts=4)
    features, _ = bags(2, 6)
    mask = torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    result = module(features, mask)
    logits, real = result.hidden
    assert logits.shape == (2, 4, OUTPUTS)
    assert real.tolist() == [[True] * 4, [True] * 3 + [False]]
    seen: list[int] = []
    told = Supervision(lambda some, rows: (seen.extend(rows.tolist()), some.sum())[1])
    module.auxiliary(result, told)
    assert seen == [0] * 4 + [1] * 3


# ------------------------------------------------------------------ Nyström attention
def test_pseudo_inverse_is_that_of_linear_algebra() -> None:
    matrix = torch.randn(3, 10, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix = (matrix * 2).softmax(-1)
    torch.testing.assert_close(pseudo_inverse(matrix, 30), torch.linalg.pinv(matrix), rtol=1e-6, atol=1e-6)


def test_nystrom_attention_is_exact_with_few_rows_and_near_with_many() -> None:
    torch.manual_seed(0)
    rows = torch.randn(2, 48, 16, dtype=torch.float64)
    exact = NystromAttention(16, heads=4, landmarks=48, kernel=0).double()
    near = NystromAttention(16, heads=4, landmarks=24, steps=20, kernel=0).double()
    near.load_state_dict(exact.state_dict())
    torch_own = torch.nn.MultiheadAttention(16, 4, bias=True, batch_first=True).double()
    torch_own.in_proj_weight.data, torch_own.in_proj_bias.data = (
        exact.to_qkv.weight.data,
        torch.zeros(48).double(),
    )
    torch_own.out_proj.load_state_dict(exact.out.state_dict())
    reference, weights = torch_own(rows, rows, rows)
    torch.testing.assert_close(exact(rows), reference)
    torch.testing.assert_close(exact.attention_of_first(rows), weights[:, 0])
    assert (near(rows) - reference).abs().mean() < 0.25 * reference.abs().mean()


def test_nystrom_attention_is_its_formula() -> None:
    torch.manual_seed(1)
    attend = NystromAttention(8, heads=1, landmarks=5, steps=20, kernel=0).double()
    rows = torch.randn(1, 15, 8, dtype=torch.float64)
    q, k, v = attend.to_qkv(rows)[0].chunk(3, dim=-1)
    q_few, k_few, scale = q.view(5, 3, 8).mean(1), k.view(5, 3, 8).mean(1), 8**-0.5
    left, core = (q @ k_few.T * scale).softmax(-1), (q_few @ k_few.T * scale).softmax(-1)
    right = (q_few @ k.T * scale).softmax(-1)
    whole = left @ torch.linalg.pinv(core) @ right
    torch.testing.assert_close(attend(rows)[0], attend.out(whole @ v), rtol=1e-4, atol=1e-6)
    first = whole[0].clamp_min(0)
    torch.testing.assert_close(attend.attention_of_first(rows)[0], first / first.sum(), rtol=1e-4, atol=1e-6)


# ------------------------------------------------------------------ large bags
@pytest.mark.parametrize("name", NAMES)
def test_many_tiles_in_turns_give_the_same_as_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    features, coords = bags(1, 30)
    mask = torch.ones(1, 30, dtype=torch.bool)
    labels = torch.tensor([1])

    def gradients() -> tuple[Aggregated, list[torch.Tensor]]:
        module = made(name)
        result = module(features, mask, coords)
        (result.logits.square().sum() + module.auxiliary(result, supervision(labels))).backward()
        return result, [p.grad for p in module.parameters() if p.grad is not None]

    at_once, expected = gradients()
    for module in ("base", "transmil", "nystrom", "graph"):
        monkeypatch.setattr(f"coverslip.models.aggregators.{module}.ROWS_AT_ONCE", 7)
    in_turns, found = gradients()
    torch.testing.assert_close(at_once.logits, in_turns.logits)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("heads", [1, 3, 4])
def test_few_heads_at_a_time_attend_as_all_at_once(heads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    attend, rows = NystromAttention(12, heads=heads, landmarks=4, kernel=3), torch.rand(2, 20, 12)
    at_once = attend(rows)
    monkeypatch.setattr("coverslip.models.aggregators.nystrom.ROWS_AT_ONCE", 7)
    torch.testing.assert_close(attend(rows), at_once)


def test_turns_draw_the_same_dropout_on_the_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coverslip.models.aggregators.base.ROWS_AT_ONCE", 4)
    weight = torch.ones(1, requires_grad=True)

    def leave_out(rows: torch.Tensor, _: torch.Tensor | None) -> torch.Tensor:
        return torch.nn.functional.dropout(rows * weight, 0.5)

    total = row_by_row(leave_out, torch.rand(1, 80, 3), None).sum()
    total.backward()
    torch.testing.assert_close(weight.grad[0], total.detach())  # linear in the weight, which is 1


# ------------------------------------------------------------------ registry
def test_the_registry_says_what_the_modules_are() -> None:
    for name, card in AGGREGATORS.items():
        module = build_aggregator(name, 4, 2)
        assert (card.id, card.uses_coords) == (name, type(module).uses_coords)
        assert card.cite.split(" et al")[0] in (type(module).__doc__ or "")


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("abmi", {}, "abmil"),
        ("abmil", {"hiden": 8}, "hidden"),
        ("abmil", {"gated": False}, "gated"),
    ],
)
def test_unknown_names_get_the_nearest(name: str, parameters: dict[str, object], said: str) -> None:
    with pytest.raises(UnknownNameError, match=said):
        checked_parameters(name, parameters)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("mean", {"dropout": 1.0}),
        ("mean", {"hidden": 0}),
        ("mean", {"hidden": 2.5}),
        ("mean", {"hidden": True}),
        ("clam-sb", {"weight": -1.0}),
        ("transmil", {"hidden": 30}),
    ],
)
def test_values_that_cannot_be_are_refused(name: str, parameters: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        checked_parameters(name, parameters)
