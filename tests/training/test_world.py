"""The processes of one fit: shares of rows, outputs brought together, and what cannot be shared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, nn

from profuse.comparison.engine import compare_dataset
from profuse.comparison.options import CompareOptions
from profuse.data.dataset import Dataset, ModalityData
from profuse.data.split import Split
from profuse.encoders.own import OwnEncoder
from profuse.errors import ConfigError
from profuse.fusion import FUSIONS, Fused
from profuse.models.build import build_model
from profuse.models.fusion_model import Output
from profuse.models.options import ModelOptions
from profuse.portfolio.fitting import fit_portfolio
from profuse.tokens import Raw, Tokens
from profuse.training import world as module
from profuse.training.balance import ModalityDropout
from profuse.training.batches import learned_from
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import ProcessOptions, Started, TrainOptions, started_processes
from profuse.training.world import World, check_shareable, one_process, processes

TORCHRUN = {
    "RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "a", "MASTER_PORT": "1",
}  # fmt: skip


@pytest.fixture
def two() -> Iterator[None]:
    """Fits are by two processes, of which this is the first; they have not met."""
    token = module._WORLD.set(World(0, 2))
    yield
    module._WORLD.reset(token)


@pytest.mark.parametrize("n_processes", [1, 2, 3, 4])
@pytest.mark.parametrize("n_rows", [1, 2, 3, 8, 31])
def test_shares_are_the_rows_in_order_in_parts_as_equal_as_can_be(n_rows: int, n_processes: int) -> None:
    rows = np.arange(n_rows)
    parts = [rows[World(rank, n_processes).share(n_rows)] for rank in range(n_processes)]
    for part, wanted in zip(parts, np.array_split(rows, n_processes), strict=True):
        assert part.tolist() == wanted.tolist()


def test_a_process_without_rows_of_its_own_runs_the_first_one() -> None:
    assert World(2, 3).share(2) == slice(2, 2)
    assert World(2, 3).at_least_one(2) == slice(0, 1)


def test_the_first_process_seeds_dropout_as_one_alone_does_and_the_others_apart() -> None:
    seeds = [World(rank, 4).seed for rank in range(4)]
    assert seeds[0] == World().seed == 0
    assert len(set(seeds)) == 4


class Watched:
    """Rows of a modality that note which of them are asked for."""

    def __init__(self, raw: Raw) -> None:
        self.raw, self.mask = raw, raw.mask
        self.asked: list[int] = []

    def rows(self, index: Tensor) -> Raw:
        self.asked += index.tolist()
        return self.raw.rows(index)


@pytest.mark.parametrize("drops", [False, True])
@pytest.mark.parametrize("n_processes", [1, 2, 3])
def test_each_process_reads_its_own_rows_of_a_batch_alone_and_drops_what_one_process_drops(
    n_processes: int, drops: bool
) -> None:
    torch.manual_seed(0)
    raw = {name: Raw(torch.randn(20, 3, 1), torch.rand(20, 3) > 0.5) for name in ("a", "b")}
    parts = list(torch.split(torch.randperm(20), 7))
    drop = ModalityDropout(0.5) if drops else None

    def read(rank: int, n: int) -> tuple[list[int], list[Tensor]]:
        token = module._WORLD.set(World(rank, n))
        watched = {name: Watched(rows) for name, rows in raw.items()}
        generator = torch.Generator().manual_seed(1)
        try:
            batches = list(learned_from(watched, parts, drop, generator))  # type: ignore[arg-type]
        finally:
            module._WORLD.reset(token)
        assert [index.tolist() for _, index in batches] == [part.tolist() for part in parts]
        assert watched["a"].asked == watched["b"].asked
        return watched["a"].asked, [torch.stack([batch[n].present for n in "ab"]) for batch, _ in batches]

    _, whole = read(0, 1)
    shares = [read(rank, n_processes) for rank in range(n_processes)]
    for part, wanted, *own in zip(parts, whole, *(present for _, present in shares), strict=True):
        sizes = [len(x) for x in np.array_split(part, n_processes)]
        assert [x.shape[1] for x in own] == [max(1, size) for size in sizes]
        assert torch.equal(torch.cat([x[:, :size] for x, size in zip(own, sizes, strict=True)], dim=1), wanted)
    # the last batch has 6 rows: each process has some of it
    assert sorted(i for asked, _ in shares for i in asked) == list(range(20))


def in_turn(run: Callable[[World], Any], n_processes: int, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Runs what all processes do one after the other: once to hear what each gives, once to hand it out."""
    given: list[list[Tensor]] = [[] for _ in range(n_processes)]
    now, listening = 0, True
    calls = 0

    def all_gather(parts: list[Tensor], mine: Tensor) -> None:
        nonlocal calls
        if listening:
            given[now].append(mine)
        for rank, part in enumerate(parts):
            part.copy_(mine if listening else given[rank][calls])
        calls += 1

    monkeypatch.setattr(distributed, "all_gather", all_gather)
    for now in range(n_processes):  # all_gather reads it
        run(World(now, n_processes))
    listening, results = False, []
    for now in range(n_processes):
        calls = 0
        results.append(run(World(now, n_processes)))
    return results


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize(("n_rows", "n_processes"), [(7, 2), (7, 3), (2, 3)])
def test_gradients_averaged_over_processes_are_those_of_the_loss_of_the_whole_batch(
    n_rows: int, n_processes: int, n_members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    x, present = torch.randn(n_rows, 4), torch.rand(n_rows) > 0.4
    layer, after = nn.Linear(4, 2 * n_members).double(), nn.Parameter(torch.ones(2, dtype=torch.float64))

    def output(rows: Tensor, there: Tensor) -> Output:
        y = layer(rows.double()).reshape(-1, 2)
        each = there.repeat_interleave(n_members)
        made = Output(y, Fused(y, penalties={"p": (y**2).mean()}), {"a": 2 * y}, {"a": each}, (y + 1, y))
        return made if n_members == 1 else Output(y[::n_members], Fused(y[::n_members]), members=made)

    def loss(made: Output) -> Tensor:  # couples all rows
        own = made.members or made
        part = (own.parts["a"] * after).square().sum(1).masked_fill(~own.present["a"], 0.0).sum()
        alike = own.outputs @ own.outputs.T
        return alike.logsumexp(1).mean() + part / own.present["a"].sum().clamp(min=1) + own.fused.penalties["p"] + (
            own.rounds[0].std() + own.rounds[1].std()
        )  # fmt: skip

    def gradients(value: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(value, [*layer.parameters(), after]))

    def of_process(these: World) -> tuple[float, list[Tensor]]:
        mine = these.at_least_one(n_rows)
        value = loss(these.whole(output(x[mine], present[mine]), n_rows))
        return value.item(), gradients(value)

    wanted = loss(output(x, present))
    results = in_turn(of_process, n_processes, monkeypatch)
    assert [value for value, _ in results] == pytest.approx([wanted.item()] * n_processes)
    for i, gradient in enumerate(gradients(wanted)):
        torch.testing.assert_close(torch.stack([each[i] for _, each in results]).mean(0), gradient)


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        (TORCHRUN, Started(5, 1, 8, 4)),
        ({**TORCHRUN, "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}, None),
        ({}, None),
        *(({k: v for k, v in TORCHRUN.items() if k != lacking}, None) for lacking in TORCHRUN),
    ],
)
def test_torchrun_is_known_by_all_its_variables(environment: dict[str, str], wanted: Started | None) -> None:
    assert started_processes(environment) == wanted


@pytest.mark.parametrize("asked", [{}, {"devices": 4}, {"nodes": 2}, {"devices": 4, "nodes": 2}])
def test_as_many_processes_as_were_started_may_be_asked_for(asked: dict[str, int]) -> None:
    ProcessOptions(**asked).check_started(Started(5, 1, 8, 4))


@pytest.mark.parametrize(
    ("asked", "started", "message"),
    [
        ({"devices": 2}, None, "got devices=2, nodes=1, and 1 started. .*torchrun --nproc-per-node 2 -m profuse fit"),
        ({"devices": 2}, Started(0, 0, 4, 4), "got devices=2, nodes=1, and 4 started"),
        ({"nodes": 2}, Started(0, 0, 4, 4), "torchrun --nnodes 2 --nproc-per-node 4 "),
    ],
)
def test_other_numbers_of_processes_than_were_started_are_told_with_the_command(
    asked: dict[str, int], started: Started | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ProcessOptions(**asked).check_started(started)


def test_without_torchrun_one_process_does_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)
    with processes() as these:
        assert (these.rank, these.n_processes, these.first) == (0, 1, True)
        assert these.from_first("all decide") == "all decide"
    with pytest.raises(ConfigError, match="devices=3"), processes(ProcessOptions(devices=3)):
        pytest.fail("it must not begin")


def prepared() -> Prepared:
    rng = np.random.default_rng(0)
    a, b, there = rng.normal(size=(40, 2)), rng.normal(size=(40, 3)), np.ones(40, dtype=bool)
    rows = np.arange(40)
    data = Dataset(
        "d", {"a": ModalityData("vector", a, there), "b": ModalityData("vector", b, there)}, rows % 2, "binary"
    )
    return Prepared.make(data, Split(rows[:24], rows[24:], rows[:0]))


@pytest.mark.parametrize(
    ("fusion", "train", "message"),
    [
        ("contrastive", {}, "Contrastive compares the rows of a batch"),
        ("shared_private", {}, "SharedPrivate compares"),
        ("dcca", {}, "DCCA compares"),
        ("ranking", {}, "Ranking compares"),
        ("concat", {"balance": "ogm_ge"}, "the balance 'ogm_ge' changes the gradients of a whole batch"),
    ],
)
def test_what_needs_whole_batches_is_refused_by_name(
    fusion: str, train: dict[str, Any], message: str, two: None
) -> None:
    with pytest.raises(ConfigError, match=f"train: a fit by several processes must .* got 2 processes, and {message}"):
        fit_model(prepared(), ModelOptions(fusion=fusion, width=4), TrainOptions(epochs=1, device="cpu", **train))


def test_statistics_of_a_batch_are_refused_but_where_they_do_not_learn(two: None) -> None:
    class Frozen(nn.Sequential):
        def train(self, mode: bool = True) -> Frozen:
            return super().train(False)

    data = prepared()
    for kind in (nn.Sequential, Frozen):
        encoder = OwnEncoder.around(
            kind(nn.Linear(2, 4), nn.BatchNorm1d(4)), data.pipeline.specs["a"], 4, example=data.inputs["a"], name="a"
        )
        model = build_model(
            data.pipeline.specs, "binary", 2, ModelOptions(width=4), n_rows=24, seed=0, encoders={"a": encoder}
        )
        if kind is Frozen:
            check_shareable(model, TrainOptions())
        else:
            with pytest.raises(ConfigError, match="BatchNorm1d takes statistics of a batch"):
                check_shareable(model, TrainOptions())


def test_what_is_no_single_network_runs_in_one_process_only(two: None) -> None:
    with pytest.raises(ConfigError, match="Linear: it must run in one process; got 2"):
        check_shareable(nn.Linear(2, 2), TrainOptions())
    with pytest.raises(ConfigError, match="fit: it must run in one process; got 2. Add that."):
        one_process("fit", "Add that.")


class Scaled(nn.Linear):
    """Has a parameter without an axis."""

    def __init__(self) -> None:
        super().__init__(2, 4)
        self.scale = nn.Parameter(torch.ones(()))


@pytest.mark.parametrize(
    ("precision", "layer", "message"),
    [
        (
            "16-mixed",
            nn.Linear(2, 4),
            "precision 16-mixed scales the gradients of a whole model",
        ),
        ("32-true", Scaled(), r"encoders.0.module.scale is a single number, and cannot be split"),
    ],
)
def test_what_cannot_be_split_is_refused_by_name(precision: Any, layer: nn.Module, message: str) -> None:
    data = prepared()
    encoder = OwnEncoder.around(layer, data.pipeline.specs["a"], 4, example=data.inputs["a"], name="a")
    model = build_model(
        data.pipeline.specs, "binary", 2, ModelOptions(width=4), n_rows=24, seed=0, encoders={"a": encoder}
    )
    options = TrainOptions(precision=precision)
    for these, refused in ((World(0, 2), False), (World(0, 2, shards=True), True)):
        token = module._WORLD.set(these)
        try:
            with pytest.raises(ConfigError, match=message) if refused else nullcontext():
                check_shareable(model, options)
        finally:
            module._WORLD.reset(token)


AS_A_WHOLE = {"sparse_experts", "missing_experts"}
"""Their penalty keeps experts equally busy: of a part of a batch it is another, as docs/cluster.md says."""


def features_of_two(name: str) -> bool:
    """Whether it fuses features, of two modalities if need be."""
    cls: Any = FUSIONS.part(name)
    return bool(cls.level == "feature" and cls.min_modalities <= 2)


@pytest.mark.parametrize("name", [n for n in sorted(set(FUSIONS) - AS_A_WHOLE) if features_of_two(n)])
def test_penalties_are_means_of_rows_unless_an_operator_says_that_it_compares_rows(name: str) -> None:
    cls: Any = FUSIONS.part(name)
    torch.manual_seed(0)
    operator = cls({"a": 4, "b": 4}, 4).eval()
    rows = {m: Tokens.vector(torch.randn(12, 4)) for m in ("a", "b")}
    whole = operator(rows).penalties
    parts = [
        operator({m: Tokens.vector(t.values[cut, 0]) for m, t in rows.items()}).penalties
        for cut in (slice(0, 6), slice(6, 12))
    ]
    alike = all(torch.allclose((parts[0][k] + parts[1][k]) / 2, whole[k], atol=1e-5) for k in whole)
    assert alike != cls.compares_rows


@pytest.mark.parametrize("fit", [fit_portfolio, lambda data: compare_dataset(data, CompareOptions(), Path("out"))])
def test_what_is_many_fits_is_no_fit_of_several_processes(fit: Callable[..., Any], two: None) -> None:
    with pytest.raises(ConfigError, match="it must run in one process; got 2. Its fits run side by side"):
        fit(prepared().dataset)
