"""Method bags: features found and checked, heads, learning end to end, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason='torch is not installed: pip install "coverslip[torch]"')
pytest.importorskip("lightning", reason='lightning is not installed: pip install "coverslip[train]"')

import h5py  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from coverslip.cohort import Cohort  # noqa: E402
from coverslip.core.errors import StoreError, UnknownNameError, UsageError  # noqa: E402
from coverslip.learn.bags.bags import GAP, Bag, BagSet, readable  # noqa: E402
from coverslip.learn.bags.feed import BagRows, collated  # noqa: E402
from coverslip.learn.bags.files import facts_of, find_features, read_features  # noqa: E402
from coverslip.learn.bags.heads import Heads  # noqa: E402
from coverslip.learn.bags.model import BagModel  # noqa: E402
from coverslip.learn.bags.targets import BagTarget, target_of  # noqa: E402
from coverslip.learn.fit import FitSpec  # noqa: E402
from coverslip.learn.task import load_task, task_of  # noqa: E402
from coverslip.store import Features, Provenance, RunFolder  # noqa: E402

DIM = 6


def write_h5(path: Path, features: np.ndarray, coords: np.ndarray | None = None, **about: Any) -> Path:
    """As CLAM writes it: chunked, float32, `coords` beside."""
    with h5py.File(path, "w") as file:
        file.create_dataset("features", data=features, chunks=(1, features.shape[-1]), maxshape=(None, None))
        if coords is not None:
            file["coords"] = coords
        for name, value in about.items():
            file.attrs[name] = value
    return path


def places(count: int) -> np.ndarray:
    return np.stack([np.arange(count) % 7, np.arange(count) // 7], axis=1).astype(np.int32) * 256


def slide_features(rng: np.random.Generator, label: str, tiles: int) -> np.ndarray:
    features = rng.normal(size=(tiles, DIM)).astype(np.float16)
    if label == "tumour":
        features[: tiles // 5, 0] += 9  # a fifth of the tiles
    return features


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """32 slides of 16 patients with features in h5, and labels of every kind."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "features"
    folder.mkdir()
    lines = ["slide,case,patient,path,label,grade,genes,age"]
    for number in range(32):
        label = ("normal", "tumour")[number // 2 % 2]
        features = slide_features(rng, label, int(rng.integers(20, 40)))
        write_h5(folder / f"s{number}.h5", features, places(len(features)), encoder="toy", tile_px=224)
        patient = f"p{number // 2}"
        grade = ("low", "high")[number // 2 % 2]
        genes = ("-", "kras;tp53", "kras", "tp53")[number // 2 % 4]
        lines.append(
            f"s{number},{patient},{patient},s{number}.svs,{label},{grade},{genes},{30 + number // 2 % 2}"
        )
    table = tmp_path / "cohort.csv"
    table.write_text("\n".join(lines))
    return table


def task(cohort: Path, **more: Any) -> Any:
    fit = {"epochs": 30, "accumulate": 2, "lr": 1e-2, "threads": 1, "patience": None, "warmup": 0.0}
    values = {
        "task": "classify",
        "method": "bags",
        "cohort": str(cohort),
        "features": str(cohort.parent / "features"),
        "targets": {"column": "label", "kind": "binary"},
        "parameters": {"hidden": 16, "width": 8, "dropout": 0.0},
        "split": {"folds": 2},
        "fit": fit,
    }
    return task_of({**values, **more})


# ------------------------------------------------------------------ files
def test_features_of_clam_trident_npz_and_runs_are_read_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    features, coords = rng.normal(size=(12, DIM)).astype(np.float16), places(12)
    clam = write_h5(tmp_path / "clam.h5", features, coords)
    trident = tmp_path / "trident.h5"
    with h5py.File(trident, "w") as file:
        file["features"], file["coords"] = features[None], coords[None]
        file["coords"].attrs["patch_size"] = 256
    np.savez(tmp_path / "plain.npz", X=features, coords=coords)
    run = RunFolder.create(tmp_path / "run")
    made = Provenance.make("example", 1, parameters={}, inputs={}, slide=None)
    value = Features(features, coords, "toy", tile_px=224, tile_side=448.0, mpp=0.5)
    run.put("a", "features/toy", value, provenance=made)
    own = find_features(run.path, "a", None)
    rows = np.array([0, 5, 6, 11])
    for path in (clam, trident, tmp_path / "plain.npz", own):
        facts = facts_of(path)
        assert (facts.tiles, facts.dim) == (12, DIM)
        whole, at = read_features(facts, coords=True)
        some, at_some = read_features(facts, rows, coords=True)
        np.testing.assert_array_equal(whole, features)
        np.testing.assert_array_equal(some, features[rows])
        np.testing.assert_array_equal(at, coords)
        np.testing.assert_array_equal(at_some, coords[rows])
    assert facts_of(trident).tile_px == 256
    facts = facts_of(own)
    assert (facts.encoder, facts.tile_px, facts.mpp) == ("toy", 224, 0.5)


def test_features_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no features of slide 'x'"):
        find_features(tmp_path, "x", None)
    (tmp_path / "broken.h5").write_bytes(b"no h5")
    np.savez(tmp_path / "other.npz", Y=np.zeros((2, 2)))
    np.savez(tmp_path / "flat.npz", X=np.zeros(5))
    (tmp_path / "broken.npz").write_bytes(b"no zip")
    for name in ("broken.h5", "other.npz", "flat.npz", "broken.npz"):
        with pytest.raises(StoreError, match=name):
            facts_of(tmp_path / name)
    facts = facts_of(write_h5(tmp_path / "nowhere.h5", np.zeros((3, 2), np.float32)))
    with pytest.raises(StoreError, match="where its tiles lie"):
        read_features(facts, coords=True)


def test_features_of_two_encoders_in_a_run_must_be_named(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    made = Provenance.make("example", 1, parameters={}, inputs={}, slide=None)
    for name in ("one", "two"):
        value = Features(np.zeros((2, 3), np.float16), np.zeros((2, 2), np.int32), name, tile_px=224)
        run.put("a", f"features/{name}", value, provenance=made)
    with pytest.raises(StoreError, match="one, two"):
        find_features(run.path, "a", None)
    assert find_features(run.path, "a", "two").stem == "two"


@given(st.lists(st.sampled_from([0.0, 1.0, np.nan, np.inf]), min_size=6, max_size=6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_tiles_without_features_are_left_out_and_broken_ones_refused(values: list[float], half: bool) -> None:
    features = np.array(values, np.float16 if half else np.float32).reshape(3, 2)
    lost = np.isnan(features).all(axis=1)
    if np.isfinite(features[~lost]).all():
        good = readable(features, "a")
        np.testing.assert_array_equal(np.ones(3, bool) if good is None else good, ~lost)
    else:
        with pytest.raises(UsageError, match="no numbers"):
            readable(features, "a")


# ------------------------------------------------------------------ bags
def test_a_case_is_all_its_slides_laid_apart(cohort: Path) -> None:
    table = Cohort.read(cohort, files=False)
    bags = BagSet.of(table, cohort.parent / "features", per="case")
    assert (len(bags), bags.dim, bags.encoder, bags.tile_px) == (16, DIM, "toy", 224)
    features, coords = bags.bags[3].read(coords=True)
    parts = [read_features(facts_of(cohort.parent / "features" / f"s{n}.h5"), coords=True) for n in (6, 7)]
    np.testing.assert_array_equal(features, np.concatenate([part[0] for part in parts]))
    first, second = coords[: len(parts[0][0])], coords[len(parts[0][0]) :]
    np.testing.assert_array_equal(first, parts[0][1])
    assert (np.diff(second, axis=0) == np.diff(parts[1][1], axis=0)).all()
    assert second[:, 0].min() - first[:, 0].max() >= GAP
    rows = np.array([1, 5, len(first) + 2, len(first) + 3])
    np.testing.assert_array_equal(bags.bags[3].read(rows)[0], features[rows])


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("s3", {"features": np.zeros((0, DIM), np.float16)}, "'s3' is empty"),
        ("s3", {"features": np.zeros((4, DIM + 1), np.float16)}, "differ in length"),
        ("s3", {"encoder": "other"}, "differ in encoder.*other"),
        ("s3", {"tile_px": 256}, "differ in tile size.*256"),
        ("s3", {"mpp": 1.0}, "differ in mpp"),
        ("s3", {"remove": True}, "no features of slide 's3'"),
    ],
)
def test_features_that_do_not_belong_together_are_refused(
    cohort: Path, name: str, change: dict[str, Any], said: str
) -> None:
    folder = cohort.parent / "features"
    if said == "differ in mpp":
        write_h5(folder / "s1.h5", np.zeros((4, DIM), np.float16), places(4), encoder="toy", mpp=0.5)
    path = folder / f"{name}.h5"
    path.unlink()
    if not change.pop("remove", False):
        features = change.pop("features", np.zeros((4, DIM), np.float16))
        write_h5(path, features, places(len(features)), **{"encoder": "toy", "tile_px": 224, **change})
    with pytest.raises(UsageError, match=said):
        BagSet.of(Cohort.read(cohort, files=False), folder)


def test_all_problems_are_listed_at_once(cohort: Path) -> None:
    for number in range(12):
        (cohort.parent / "features" / f"s{number}.h5").unlink()
    with pytest.raises(UsageError, match=r"(?s)12 problems.*1\. .*8\. .*and 4 more"):
        BagSet.of(Cohort.read(cohort, files=False), cohort.parent / "features")


def test_a_sample_is_drawn_anew_each_epoch_and_the_same_again(cohort: Path) -> None:
    bags = BagSet.of(Cohort.read(cohort, files=False), cohort.parent / "features").bags
    rows = BagRows(bags, [np.arange(32.0)], sample=10, coords=True, seed=4)
    first, again, later = rows[0, 5], rows[0, 5], rows[1, 5]
    assert first.features.shape == (1, 10, DIM)
    assert torch.equal(first.features, again.features)
    assert not torch.equal(first.features, later.features)
    assert first.truths[0].tolist() == [5.0]
    whole, at = bags[5].read(coords=True)
    for tile, place in zip(first.features[0].numpy(), first.coords[0].numpy(), strict=True):
        assert ((whole == tile).all(axis=1) & (at == place).all(axis=1)).any()  # places go with tiles
    batch = collated([rows[0, 1], BagRows(bags, [np.arange(32.0)])[0, 2]])
    assert batch.mask.sum(dim=1).tolist() == [10, bags[2].tiles]


# ------------------------------------------------------------------ targets and heads
@pytest.mark.parametrize(
    ("target", "values", "said"),
    [
        (BagTarget(column="x", kind="binary"), ["a", "a"], "2 classes|1 classes|binary"),
        (BagTarget(column="x"), ["a", "a"], "one value only"),
        (BagTarget(column="x", kind="regression"), ["2", "2"], "one value only"),
        (BagTarget(column="x", kind="multilabel"), ["a;b", "a"], "a holds of all rows"),
        (BagTarget(column="x", kind="multilabel", classes=("kras", "tp53")), ["kras", "kraz"], "kraz"),
        (BagTarget(column="x", kind="multilabel"), ["-", ""], "no label"),
    ],
)
def test_labels_that_teach_nothing_are_refused(target: BagTarget, values: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        target.encode(np.array(values))


def test_unknown_kinds_and_weights_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="ordinal"):
        BagTarget(column="x", kind="ordinl")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="weight"):
        target_of({"column": "x", "weight": 0})
    with pytest.raises(UsageError, match="order"):
        BagTarget(column="x", kind="ordinal")


def heads_of(kind: str, classes: tuple[str, ...]) -> Heads:
    given = classes if kind == "ordinal" else ()
    return Heads.of([BagTarget(column="x", kind=kind, classes=given)], [classes])  # type: ignore[arg-type]


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_ordinal_probabilities_sum_to_one_and_rise_with_the_score(scores: list[float]) -> None:
    heads = heads_of("ordinal", ("low", "middle", "high", "worst"))
    with torch.no_grad():
        heads.heads[0].gaps.add_(torch.randn(2, generator=torch.Generator().manual_seed(0)))
    said = heads.said(torch.tensor(sorted(scores))[:, None])[0]
    torch.testing.assert_close(said.sum(dim=1), torch.ones(len(scores)))
    assert (said >= 0).all()
    expected = (said * torch.arange(4)).sum(dim=1)
    assert (expected.diff() >= -1e-5).all()


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "ordinal", "regression"])
def test_rows_without_truth_teach_nothing_and_right_answers_cost_less(kind: str) -> None:
    heads = heads_of(kind, () if kind == "regression" else ("a", "b"))
    logits = torch.randn(3, heads.outputs, generator=torch.Generator().manual_seed(0))
    truth = (
        torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        if kind == "multilabel"
        else torch.tensor([1.0, 0, 1])
    )
    masked = truth.clone().double()
    masked[2] = float("nan")
    torch.testing.assert_close(
        heads.loss(logits, [masked]), heads.loss(logits[:2], [truth[:2]]), check_dtype=False
    )
    assert heads.loss(logits, [torch.full_like(masked, float("nan"))]) == 0
    far = 9.0
    right = {
        "multilabel": (2 * truth - 1) * far,
        "regression": truth[:, None],
        "ordinal": ((2 * truth - 1) * far)[:, None],
    }.get(kind, torch.stack([1 - truth, truth], dim=1) * far if truth.ndim == 1 else truth)
    assert heads.loss(right, [truth]) < 0.01
    assert heads.loss(-right - float(kind == "regression"), [truth]) > 0.9


def test_several_heads_share_the_logits() -> None:
    targets = [BagTarget(column="a"), BagTarget(column="b", kind="regression", weight=2.0)]
    heads = Heads.of(targets, [("x", "y", "z"), ()])
    logits, truths = torch.randn(5, heads.outputs), [torch.ones(5), torch.zeros(5)]
    assert heads.outputs == 4
    apart = (
        torch.nn.functional.cross_entropy(logits[:, :3], torch.ones(5).long())
        + 2 * logits[:, 3].square().mean()
    )
    torch.testing.assert_close(heads.loss(logits, truths), apart)


# ------------------------------------------------------------------ the task
def test_a_model_is_learned_cross_validated_and_applied(cohort: Path, tmp_path: Path) -> None:
    made = task(cohort)
    plan = made.plan()
    assert "label" in str(plan.facts)
    trained = made.train(tmp_path / "run")
    assert trained.summary["label"]["accuracy"] >= 0.85
    table = RunFolder(tmp_path / "run").get(None, "predictions/label")
    assert sorted(table["slide"].tolist()) == sorted(f"s{n}" for n in range(32))
    np.testing.assert_allclose(table["probability_normal"] + table["probability_tumour"], 1, atol=1e-6)
    patients = {fold: set(table["patient"][table["fold"] == fold]) for fold in (0, 1)}
    assert not patients[0] & patients[1]

    model = BagModel.load(tmp_path / "run" / "models" / "label")
    assert (model.encoder, model.card.tile_px, model.card.classes) == ("toy", 224, ("normal", "tumour"))
    assert model.card.metrics["test"]["label"]["accuracy"] == trained.summary["label"]["accuracy"]
    features = slide_features(np.random.default_rng(99), "tumour", 50)
    said = model.say(features)
    assert said.said[0].argmax() == 1
    assert said.attention[:10].sum() > 0.5  # where the tumour is
    assert said.tiles[0][:10, 1].mean() > said.tiles[0][10:, 1].mean()


def test_a_label_that_is_none_of_the_classes_is_refused_before_features_are_read(cohort: Path) -> None:
    target = {"column": "label", "kind": "binary", "classes": ["normal", "tumor"]}
    with pytest.raises((UsageError, UnknownNameError), match="tumour"):
        task(cohort, targets=target).plan()


def test_columns_that_are_no_target_may_be_empty(cohort: Path) -> None:
    """As in the cohort of tiles, where only some slides were drawn on."""
    lines = cohort.read_text().splitlines()
    more = [lines[0] + ",annotations", *(f"{line}," for line in lines[1:])]
    cohort.write_text("\n".join(more))
    assert task(cohort).plan().values["bags"] == 32


def test_the_same_seed_makes_the_same_model_and_a_killed_run_goes_on(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = {"epochs": 3, "threads": 1, "accumulate": 4}
    task(cohort, fit=fit).train(tmp_path / "whole")
    from coverslip.learn.bags.learner import BagLearner

    predict, calls = BagLearner.predict, []

    def dies(self: Any, *args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return predict(self, *args)

    monkeypatch.setattr(BagLearner, "predict", dies)
    with pytest.raises(KeyboardInterrupt):
        task(cohort, fit=fit).train(tmp_path / "killed")
    monkeypatch.undo()
    task(cohort, fit=fit).train(tmp_path / "killed")
    for name in ("fold0", "fold1", "."):
        cards = [
            json.loads((tmp_path / run / "models" / "label" / name / "card.json").read_text())
            for run in ("whole", "killed")
        ]
        assert cards[0]["weights_sha256"] == cards[1]["weights_sha256"]


@pytest.mark.parametrize("aggregator", ["graph", "clam-mb"])
def test_other_aggregators_learn_too(cohort: Path, tmp_path: Path, aggregator: str) -> None:
    parameters = {"hidden": 16, "dropout": 0.0}
    fit = {"epochs": 10, "accumulate": 1, "lr": 1e-2, "threads": 1, "batch_size": 2, "patience": None}
    made = task(cohort, aggregator=aggregator, parameters=parameters, fit=fit, sample=15, final="first")
    assert made.train(tmp_path / "run").summary["label"]["accuracy"] > 0.7


def test_several_targets_of_all_kinds_per_case(cohort: Path, tmp_path: Path) -> None:
    targets = [
        {"column": "grade", "kind": "ordinal", "classes": ["low", "high"]},
        {"column": "genes", "kind": "multilabel"},
        {"column": "age", "kind": "regression"},
    ]
    fit = {"epochs": 2, "threads": 1}
    trained = task(cohort, targets=targets, bag="case", fit=fit, name="several").train(tmp_path / "run")
    assert trained.targets == ("grade", "genes", "age")
    run = RunFolder(tmp_path / "run")
    ages, genes = run.get(None, "predictions/age"), run.get(None, "predictions/genes")
    assert len(ages) == len(genes) == 16
    assert "slide" not in ages.columns
    assert {"truth_kras", "probability_tp53"} <= set(genes.columns)
    assert 20 < float(np.mean(ages["prediction"])) < 40  # on the target's own scale
    model = BagModel.load(tmp_path / "run" / "models" / "several")
    assert [len(each) for each in model.say(np.zeros((5, DIM), np.float32)).said] == [2, 2, 1]


# ------------------------------------------------------------------ refusals of the task
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"aggregator": "abmill"}, "abmil"),
        ({"parameters": {"hiden": 3}}, "hidden"),
        ({"sample": 0}, "sample 0"),
        ({"agregator": "abmil"}, "aggregator"),
        ({"targets": ["label", "label"]}, "different columns"),
        (
            {"aggregator": "clam-sb", "parameters": {}, "targets": ["label", "grade"]},
            "one binary or multiclass",
        ),
        ({"targets": "labl"}, "label"),
        ({"targets": {"column": "label", "kind": "binary", "classes": ["normal", "tumor"]}}, "tumour"),
        ({"encoder": "uni"}, "expected 'uni'"),
        ({"split": {"folds": 20}}, "fold"),
    ],
)
def test_tasks_that_cannot_be_are_refused(cohort: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises((UsageError, UnknownNameError), match=said):
        task(cohort, **change).plan()


def test_a_plan_finds_the_one_broken_tile_in_all(cohort: Path) -> None:
    features = np.zeros((500, DIM), np.float16)
    features[401, 2] = np.nan
    write_h5(cohort.parent / "features" / "s9.h5", features, places(500), encoder="toy", tile_px=224)
    with pytest.raises(UsageError, match=r"'s9' are no numbers .* 1 tiles, first 401"):
        task(cohort).plan()


def test_a_bag_of_which_no_tile_could_be_read_is_refused(cohort: Path) -> None:
    features = np.full((5, DIM), np.nan, np.float16)
    write_h5(cohort.parent / "features" / "s9.h5", features, places(5), encoder="toy", tile_px=224)
    with pytest.raises(UsageError, match="bag 's9' is empty"):
        task(cohort).plan()


def test_a_graph_needs_places(cohort: Path) -> None:
    path = cohort.parent / "features" / "s9.h5"
    path.unlink()
    write_h5(path, np.zeros((5, DIM), np.float16), encoder="toy", tile_px=224)
    with pytest.raises(UsageError, match="'s9'"):
        task(cohort, aggregator="graph", parameters={}).plan()


def test_features_the_model_was_not_trained_on_are_refused(cohort: Path, tmp_path: Path) -> None:
    task(cohort, fit={"epochs": 1, "threads": 1}, final="first").train(tmp_path / "run")
    model = BagModel.load(tmp_path / "run" / "models" / "label")
    good: dict[str, Any] = {"dim": DIM, "encoder": "toy", "tile_px": 224, "mpp": None}
    model.require(**good)
    for change, said in (({"dim": 9}, "9"), ({"encoder": "uni"}, "'uni'"), ({"tile_px": 256}, "256 px|256")):
        with pytest.raises(UsageError, match=said):
            model.require(**{**good, **change})
    for features in (np.zeros((0, DIM), np.float32), np.full((2, DIM), np.nan, np.float32)):
        with pytest.raises(UsageError, match=r"empty|no numbers"):
            model.say(features)


def test_a_task_is_read_from_yaml(cohort: Path) -> None:
    file = cohort.parent / "task.yaml"
    file.write_text("task: classify\nmethod: bags\ncohort: cohort.csv\nfeatures: features\ntargets: label\n")
    made = load_task(file)
    assert (made.cohort, made.aggregator, made.fit.batch_size) == (cohort, "abmil", 1)
    assert isinstance(made.fit, FitSpec)
    assert isinstance(Bag("a", {}).tiles, int)
