"""`TableEncoder` and the embeddings it is made of, against closed forms."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch

from profuse.encoders.categorical import CategoryEmbedding
from profuse.encoders.numeric import PeriodicEmbedding, PiecewiseLinearEmbedding, fewer_edges
from profuse.encoders.table import TableEncoder
from profuse.errors import ConfigError, ShapeError
from profuse.layers.linear_path import LinearPath
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

# number, category, constant number, category never seen in train, number
SPEC = Spec(
    kind="table",
    cardinalities=(0, 4, 0, 1, 0),
    edges=((-2.0, -0.5, 0.0, 1.0), (), (0.0,), (), (-1.0, 1.0)),
)
OPTIONS = [
    {"numbers": "piecewise", "mixer": "mlp"},
    {"numbers": "periodic", "mixer": "mlp"},
    {"numbers": "linear", "mixer": "mlp"},
    {"numbers": "piecewise", "mixer": "transformer"},
    {"numbers": "periodic", "mixer": "transformer"},
]
every = pytest.mark.parametrize("options", OPTIONS, ids=lambda o: f"{o['numbers']}-{o['mixer']}")


def make(options: dict[str, Any], *, seed: int = 0, spec: Spec = SPEC, dropout: float = 0.0) -> TableEncoder:
    torch.manual_seed(seed)
    encoder = TableEncoder(spec, 8, embed_width=4, hidden_width=16, dropout=dropout, **options)
    with torch.no_grad():  # what starts at 0 must not stay there: it would hide what depends on it
        for p in encoder.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return encoder.eval()


def batch(n: int = 12, seed: int = 0) -> Raw:
    g = torch.Generator().manual_seed(seed)
    values = torch.randn(n, 5, generator=g)
    values[:, 1] = torch.randint(0, 4, (n,), generator=g).float()
    values[:, 3] = 0.0
    mask = torch.rand(n, 5, generator=g) > 0.3
    mask[:, 0] = True
    mask[0] = False
    return Raw(values.masked_fill(~mask, 0.0), mask)


def test_the_piecewise_linear_embedding_is_its_formula() -> None:
    edges = [[-2.0, -0.5, 0.0, 1.0], [0.0], [], [-1.0, 1.0]]
    embedding = PiecewiseLinearEmbedding(edges, 6).double()
    torch.nn.init.normal_(embedding.bins, generator=torch.Generator().manual_seed(0))
    x = np.random.default_rng(0).normal(size=(40, 4)) * 2
    linear, bias, bins = (p.detach().numpy() for p in (embedding.linear, embedding.bias, embedding.bins))
    for c, column in enumerate(edges):
        wanted = x[:, c, None] * linear[c] + bias[c]
        for t in range(len(column) - 1):
            part = np.clip((x[:, c] - column[t]) / (column[t + 1] - column[t]), 0, 1)
            wanted = wanted + part[:, None] * bins[c, t]
        got = embedding(torch.from_numpy(x))[:, c].detach().numpy()
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)  # the knots are held as float32


def test_the_piecewise_linear_embedding_can_be_any_function_with_knots_at_its_edges() -> None:
    edges = np.array([-2.0, -0.5, 0.0, 1.0])
    heights = np.array([3.0, -1.0, 4.0, 0.5])
    embedding = PiecewiseLinearEmbedding([edges.tolist()], 1).double()
    with torch.no_grad():
        embedding.linear.zero_()
        embedding.bias.fill_(heights[0])
        embedding.bins[0, :, 0] = torch.from_numpy(np.diff(heights))
    x = np.linspace(-4, 4, 81)
    got = embedding(torch.from_numpy(x)[:, None]).detach().numpy().ravel()
    np.testing.assert_allclose(got, np.interp(x, edges, heights), atol=1e-6)


def test_the_piecewise_linear_embedding_starts_linear() -> None:
    embedding = PiecewiseLinearEmbedding([[-2.0, 0.0, 1.0]], 3)
    y = embedding(torch.tensor([[-5.0], [0.0], [5.0]]))[:, 0]
    torch.testing.assert_close(y[0] + y[2], 2 * y[1])


def test_the_periodic_embedding_is_its_formula() -> None:
    embedding = PeriodicEmbedding(3, 5, n_frequencies=4).double()
    x = np.random.default_rng(0).normal(size=(10, 3))
    f, w, b = (p.detach().numpy() for p in (embedding.frequencies, embedding.weight, embedding.bias))
    for c in range(3):
        angle = 2 * math.pi * x[:, c, None] * f[c]
        inputs = np.concatenate([x[:, c, None], np.sin(angle), np.cos(angle)], axis=1)
        got = embedding(torch.from_numpy(x))[:, c].detach().numpy()
        np.testing.assert_allclose(got, np.maximum(inputs @ w[c] + b[c], 0), atol=1e-12)


def test_a_category_reads_the_row_of_its_own_column() -> None:
    embedding = CategoryEmbedding([3, 1, 4], 2)
    codes = torch.tensor([[1, 0, 1], [2, 0, 3], [0, 0, 0]])
    rows: list[list[int | None]] = [[1, None, 3], [2, None, 5], [None, None, None]]
    got = embedding(codes) - embedding.bias
    for i in range(3):
        for c in range(3):
            row = rows[i][c]
            wanted = torch.zeros(2) if row is None else embedding.table.weight[row]
            torch.testing.assert_close(got[i, c], wanted, atol=1e-6, rtol=0)
    assert len(embedding.table.weight) == 1 + 2 + 0 + 3


@pytest.mark.parametrize("code", [-1, 0, 3, 99])
def test_a_category_not_seen_in_train_is_the_bias_of_its_column(code: int) -> None:
    embedding = CategoryEmbedding([3, 4], 2)
    assert torch.equal(embedding(torch.tensor([[code, 1]]))[0, 0], embedding.bias[0])


def test_a_code_not_seen_stays_at_zero_after_training() -> None:
    embedding = CategoryEmbedding([3], 2)
    optimiser = torch.optim.AdamW(embedding.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        embedding(torch.tensor([[0], [1]])).sum().backward()
        optimiser.step()
    assert embedding.table.weight[0].tolist() == [0, 0]


@every
def test_tokens_have_the_declared_shape_and_mask(options: dict[str, Any]) -> None:
    raw, encoder = batch(), make(options)
    embedded = encoder.embed(raw)
    assert embedded.values.shape == (12, 5, encoder.embed_width)
    assert torch.equal(embedded.mask, raw.mask)
    out = encoder(raw)
    n_tokens = 1 if options["mixer"] == "mlp" else 5
    assert out.values.shape == (12, n_tokens, 8)
    assert torch.equal(out.mask, raw.present[:, None] if n_tokens == 1 else raw.mask)


@every
def test_each_token_depends_on_its_own_cell_only(options: dict[str, Any]) -> None:
    raw, encoder = batch(), make(options)
    values = raw.values.clone()
    values[:, 4] += torch.randn(12)
    a, b = encoder.embed(raw).values, encoder.embed(Raw(values, raw.mask)).values
    assert torch.equal(a[:, :4], b[:, :4])
    assert not torch.equal(a[:, 4], b[:, 4])


@every
@pytest.mark.parametrize("content", [math.nan, math.inf, 1e30, -7.0])
def test_what_stands_in_a_masked_cell_has_no_effect(options: dict[str, Any], content: float) -> None:
    raw, encoder = batch(), make(options)
    other = Raw(raw.values.masked_fill(~raw.mask, content), raw.mask)
    assert torch.equal(encoder(raw).values, encoder(other).values)


@every
def test_a_row_without_a_real_cell_comes_back_all_masked_and_zero(options: dict[str, Any]) -> None:
    out = make(options)(batch())
    assert not out.mask[0].any()
    assert out.values[0].eq(0).all()
    assert out.mask[1:].any(1).all()
    empty = make(options)(batch().without(torch.ones(12, dtype=torch.bool)))
    assert empty.values.eq(0).all()


@every
def test_rows_do_not_depend_on_their_batch(options: dict[str, Any]) -> None:
    raw, encoder = batch(), make(options)
    whole = encoder(raw).values
    for i in range(12):
        torch.testing.assert_close(encoder(raw.rows(torch.tensor([i]))).values[0], whole[i], atol=1e-5, rtol=1e-5)


@every
def test_the_gradient_reaches_every_parameter(options: dict[str, Any]) -> None:
    encoder, raw = make(options).train(), batch(64)
    encoder(raw).values.square().sum().backward()
    for name, p in encoder.named_parameters():
        if not p.numel():
            continue  # knots of lines
        assert p.grad is not None, name
        assert p.grad.abs().sum() > 0, name


@every
def test_float64_agrees_with_float32(options: dict[str, Any]) -> None:
    raw, encoder = batch(), make(options)
    wide = copy.deepcopy(encoder).double()(Raw(raw.values.double(), raw.mask)).values
    assert wide.dtype == torch.float64
    torch.testing.assert_close(encoder(raw).values.double(), wide, atol=1e-4, rtol=1e-4)


@every
def test_weights_survive_save_and_load(options: dict[str, Any]) -> None:
    raw, encoder = batch(), make(options)
    twin = make(options, seed=1)
    assert not torch.equal(twin(raw).values, encoder(raw).values)
    twin.load_state_dict(encoder.state_dict())
    assert torch.equal(twin(raw).values, encoder(raw).values)


@every
def test_evaluation_is_deterministic_and_training_drops(options: dict[str, Any]) -> None:
    raw, encoder = batch(), make(options, dropout=0.5)
    assert torch.equal(encoder(raw).values, encoder(raw).values)
    encoder.train()
    assert not torch.equal(encoder(raw).values, encoder(raw).values)


@every
def test_feedback_enters_between_embed_and_mix_at_real_cells_only(options: dict[str, Any]) -> None:
    raw, encoder = batch(), make(options)
    plain = encoder(raw).values
    tokens = encoder.embed(raw).zeroed()

    def mixed(change: torch.Tensor) -> torch.Tensor:
        return encoder.mix(Tokens(tokens.values + change, tokens.mask).zeroed()).zeroed().values

    assert torch.equal(encoder.mix(tokens).zeroed().values, plain)
    noise = torch.randn(12, 5, encoder.embed_width)
    moved = mixed(noise)
    assert not torch.equal(moved, plain)
    spoilt = noise.masked_fill(~raw.mask[..., None], math.nan)
    assert torch.equal(mixed(spoilt), moved)


def test_the_perceptron_reads_a_missing_cell_as_the_learned_token_of_its_column() -> None:
    raw, encoder = batch(), make({"mixer": "mlp"})
    row = torch.nonzero(~raw.mask[:, 4] & raw.present)[0, 0]
    before = encoder(raw).values
    with torch.no_grad():
        encoder.missing[4] += 1.0
    changed = (encoder(raw).values != before).flatten(1).any(1)
    assert changed[row]
    assert torch.equal(changed, ~raw.mask[:, 4] & raw.present)


@every
def test_the_linear_path_reads_numbers_categories_and_what_is_missing(options: dict[str, Any]) -> None:
    encoder = make(options)
    raw = Raw(
        torch.tensor([[1.5, 2.0, 0.5, 0.0, -1.0], [math.nan, 0.0, 0.5, 9.0, 2.0]]),
        torch.tensor([[True, True, True, True, True], [False, True, True, False, True]]),
    )
    wanted = [  # numbers; three bins of the first; codes 1 to 3 of the second column, none of the fourth; missing cells
        [1.5, 0.5, -1.0, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0],
        [0.0, 0.5, 2.0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0],
    ]
    assert encoder.n_linear == 14
    assert torch.equal(encoder.linear(raw), torch.tensor(wanted))
    assert make({**options, "linear_path": False}).n_linear == 0


def test_a_line_on_the_linear_paths_bins_is_any_broken_line_with_knots_at_the_edges() -> None:
    edges = (-2.0, -0.5, 0.0, 1.0)
    encoder = TableEncoder(Spec(kind="table", cardinalities=(0,), edges=(edges,)), 4)
    x = torch.linspace(-4, 4, 81)[:, None]
    features = encoder.linear(Raw(x, torch.ones_like(x, dtype=torch.bool))).double().numpy()
    wanted = np.interp(x[:, 0].numpy(), edges, [3.0, -1.0, 4.0, 0.5])
    design = np.hstack([features, np.ones((81, 1))])
    np.testing.assert_allclose(design @ np.linalg.lstsq(design, wanted)[0], wanted, atol=1e-6)


def test_the_linear_path_learns_a_sum_of_curves_among_columns_that_say_nothing() -> None:
    x = torch.randn(400, 12, generator=torch.Generator().manual_seed(0))
    y = (x[:, :2].abs()).sum(1, keepdim=True)
    spec = Spec(kind="table", cardinalities=(0,) * 12, edges=((-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0),) * 12)
    errors = {}
    for n_bins in (0, 6):
        encoder = TableEncoder(spec, 4, n_linear_bins=n_bins)
        features = encoder.linear(Raw(x, torch.ones_like(x, dtype=torch.bool)))
        path = LinearPath({"t": features.shape[1]}, 1, link="identity")
        present = torch.ones(400, dtype=torch.bool)
        path.fit({"t": (features[:300], present[:300])}, y[:300])
        errors[n_bins] = float((path({"t": (features[300:], present[300:])}) - y[300:]).square().mean())
    assert errors[6] < 0.4 * errors[0]


@pytest.mark.parametrize(("n_bins", "wanted"), [(1, (0, 9)), (3, (0, 3, 6, 9)), (4, (0, 2, 4, 7, 9)), (20, range(10))])
def test_fewer_edges_are_spread_evenly_and_keep_the_ends(n_bins: int, wanted: tuple[int, ...]) -> None:
    assert fewer_edges([float(i) for i in range(10)], n_bins) == tuple(float(i) for i in wanted)


@pytest.mark.parametrize(("n_columns", "n_bins"), [(20, 6), (128, 6), (129, 4), (300, 0), (256, 2), (1000, 0)])
def test_many_columns_have_fewer_bins_in_the_linear_path(n_columns: int, n_bins: int) -> None:
    knots = tuple(float(i) for i in range(13))
    spec = Spec(kind="table", cardinalities=(0,) * n_columns, edges=(knots,) * n_columns)
    assert TableEncoder.make(spec, 8, n_rows=100).n_linear == n_columns * (n_bins + 2)


def test_a_column_of_very_many_categories_is_left_to_the_network() -> None:
    encoder = make({}, spec=Spec(kind="table", cardinalities=(0, 5000), edges=((), ())))
    raw = Raw(torch.tensor([[1.0, 4000.0]]), torch.ones(1, 2, dtype=torch.bool))
    assert encoder.linear(raw).tolist() == [[1.0, 0.0, 0.0]]


def test_a_thousand_columns_and_more_are_embedded_by_a_line_each() -> None:
    knots = (-1.0, 0.0, 1.0)
    few, many = (
        TableEncoder.make(Spec(kind="table", cardinalities=(0,) * n, edges=(knots,) * n), 8, n_rows=100).eval()
        for n in (1000, 1001)
    )
    for encoder, bends in ((few, True), (many, False)):
        assert isinstance(encoder.numbers, PiecewiseLinearEmbedding)
        torch.nn.init.normal_(encoder.numbers.bins, generator=torch.Generator().manual_seed(0))
        n = len(encoder.spec.cardinalities)
        x = torch.tensor([[-3.0], [0.0], [3.0]]).expand(3, n)
        low, middle, high = encoder.embed(Raw(x, torch.ones(3, n, dtype=torch.bool))).values
        assert torch.allclose(low + high, 2 * middle, atol=1e-5) is not bends


def test_column_dropout_hides_whole_columns_in_training_and_keeps_the_mean() -> None:
    encoder = make({"column_dropout": 0.25})
    raw = Raw(torch.ones(4000, 5), torch.ones(4000, 5, dtype=torch.bool))
    plain = encoder.embed(raw).values
    encoder.train()
    hidden = encoder.embed(raw).values
    gone = (hidden == 0).all(-1)
    assert torch.equal(gone, (hidden == 0).any(-1))
    assert 0.22 < gone.double().mean() < 0.28
    torch.testing.assert_close(hidden[~gone], plain[~gone] / 0.75)


@pytest.mark.parametrize(
    "spec",
    [
        Spec(kind="table", cardinalities=(0,), edges=((),)),
        Spec(kind="table", cardinalities=(3, 2), edges=((), ())),
        Spec(kind="table", cardinalities=(0,) * 200, edges=((-1.0, 0.0, 1.0),) * 200),
    ],
)
@pytest.mark.parametrize("n_rows", [50, 5_000, 1_000_000])
def test_make_fits_few_and_many_columns_and_rows(spec: Spec, n_rows: int) -> None:
    encoder = TableEncoder.make(spec, 16, n_rows=n_rows, dropout=0.2)
    n = len(spec.cardinalities)
    out = encoder(Raw(torch.ones(3, n), torch.ones(3, n, dtype=torch.bool)))
    assert out.values.shape == (3, 1, 16)
    assert encoder.embed_width <= 24


def test_the_place_of_a_column_is_kept_when_numbers_and_categories_alternate() -> None:
    encoder = make({})
    raw = batch()
    raw.values[:, 1] = 2.0
    got = encoder.embed(Raw(raw.values, torch.ones_like(raw.mask))).values
    codes = torch.tensor([[2, 0]]).expand(12, 2)
    assert encoder.numbers is not None
    assert encoder.categories is not None
    assert torch.equal(got[:, [1, 3]], encoder.categories(codes))
    assert torch.equal(got[:, [0, 2, 4]], encoder.numbers(raw.values[:, [0, 2, 4]]))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"embed_width": 0, "dropout": 1.0}, ConfigError, "embed_width must be at least 1; got embed_width=0; dropout"),
        ({"hidden_width": 0}, ConfigError, "hidden_width must be at least 1"),
        ({"n_blocks": -1}, ConfigError, "n_blocks must be at least 0; got n_blocks=-1"),
        ({"column_dropout": 1.0}, ConfigError, r"column_dropout must be in \[0, 1\); got column_dropout=1.0"),
        ({"mixer": "forest"}, ConfigError, "mixer='forest'"),
        ({"numbers": "raw"}, ConfigError, "numbers='raw'"),
        ({"mixer": "transformer", "n_heads": 3}, ConfigError, "n_heads must divide width; got n_heads=3, width=8"),
    ],
)
def test_bad_options_are_told(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        TableEncoder(SPEC, 8, **options)


def test_bad_specs_and_batches_are_told() -> None:
    with pytest.raises(ShapeError, match="at least one column; got 0 edges and 0 cardinalities"):
        TableEncoder(Spec(kind="table"), 8)
    with pytest.raises(ShapeError, match="kind must be 'table'; got kind='vector'"):
        TableEncoder(Spec(kind="vector", n_channels=3), 8)
    with pytest.raises(ShapeError, match=r"must be \[batch, 5\]; got values=\(2, 4\)"):
        make({})(Raw(torch.ones(2, 4), torch.ones(2, 4, dtype=torch.bool)))
    with pytest.raises(ConfigError, match="edges must be strictly ascending"):
        PiecewiseLinearEmbedding([[0.0, 0.0]], 2)
    with pytest.raises(ConfigError, match=r"cardinalities must be at least 1; got cardinalities=\[0\]"):
        CategoryEmbedding([0], 2)
