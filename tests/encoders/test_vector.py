"""`VectorEncoder` and `ResidualMLP`."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.split import Split
from profuse.encoders._mlp import ResidualMLP
from profuse.encoders.vector import VectorEncoder
from profuse.errors import ConfigError, ShapeError
from profuse.models.options import ModelOptions
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions

SPEC = Spec(kind="vector", n_channels=6)


def make(seed: int = 0, *, dropout: float = 0.0, n_blocks: int = 2) -> VectorEncoder:
    torch.manual_seed(seed)
    encoder = VectorEncoder(SPEC, 8, embed_width=12, hidden_width=16, n_blocks=n_blocks, dropout=dropout)
    with torch.no_grad():
        for p in encoder.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return encoder.eval()


def batch(n: int = 10) -> Raw:
    values = torch.randn(n, 6, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(n) % 4 != 1
    return Raw(values.masked_fill(~mask[:, None], 0.0), mask)


def test_the_residual_perceptron_is_its_formula() -> None:
    mlp = ResidualMLP(3, 2, hidden_width=5, n_blocks=2, dropout=0.5).double().eval()
    x = np.random.default_rng(0).normal(size=(7, 3))
    p = {name: value.detach().numpy() for name, value in mlp.named_parameters()}

    def norm(h: np.ndarray, name: str) -> np.ndarray:
        z = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5)
        return np.asarray(z * p[f"{name}.weight"] + p[f"{name}.bias"])

    def linear(h: np.ndarray, name: str) -> np.ndarray:
        return np.asarray(h @ p[f"{name}.weight"].T + p[f"{name}.bias"])

    h = linear(x, "first")
    for i in range(2):
        inner = np.maximum(linear(norm(h, f"blocks.{i}.0"), f"blocks.{i}.1"), 0)
        h = h + linear(inner, f"blocks.{i}.4")
    wanted = linear(np.maximum(norm(h, "last.0"), 0), "last.3")
    np.testing.assert_allclose(mlp(torch.from_numpy(x)).detach().numpy(), wanted, atol=1e-12)


def test_a_vector_is_one_token() -> None:
    encoder, raw = make(), batch()
    assert encoder.embed(raw).values.shape == (10, 1, 12)
    out = encoder(raw)
    assert out.values.shape == (10, 1, 8)
    assert torch.equal(out.mask[:, 0], raw.mask)


@pytest.mark.parametrize("content", [math.nan, math.inf, 1e30, -7.0])
def test_what_stands_in_an_absent_row_has_no_effect(content: float) -> None:
    encoder, raw = make(), batch()
    other = Raw(raw.values.masked_fill(~raw.mask[:, None], content), raw.mask)
    assert torch.equal(encoder(raw).values, encoder(other).values)
    assert encoder(raw).values[~raw.mask].eq(0).all()


def test_rows_do_not_depend_on_their_batch() -> None:
    encoder, raw = make(), batch()
    whole = encoder(raw).values
    for i in range(10):
        torch.testing.assert_close(encoder(raw.rows(torch.tensor([i]))).values[0], whole[i], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("n_blocks", [0, 1, 3])
def test_the_gradient_reaches_every_parameter(n_blocks: int) -> None:
    encoder = make(n_blocks=n_blocks).train()
    encoder(batch(64)).values.square().sum().backward()
    for name, p in encoder.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().sum() > 0, name


def test_float64_agrees_with_float32() -> None:
    encoder, raw = make(), batch()
    wide = copy.deepcopy(encoder).double()(Raw(raw.values.double(), raw.mask)).values
    assert wide.dtype == torch.float64
    torch.testing.assert_close(encoder(raw).values.double(), wide, atol=1e-4, rtol=1e-4)


def test_weights_survive_save_and_load() -> None:
    encoder, twin, raw = make(), make(1), batch()
    assert not torch.equal(twin(raw).values, encoder(raw).values)
    twin.load_state_dict(encoder.state_dict())
    assert torch.equal(twin(raw).values, encoder(raw).values)


def test_evaluation_is_deterministic_and_training_drops() -> None:
    encoder, raw = make(dropout=0.5), batch()
    assert torch.equal(encoder(raw).values, encoder(raw).values)
    encoder.train()
    assert not torch.equal(encoder(raw).values, encoder(raw).values)


def test_feedback_enters_between_embed_and_mix() -> None:
    encoder, raw = make(), batch()
    plain = encoder(raw).values
    noise = torch.randn(10, 1, 12)
    tokens = encoder.embed(raw).zeroed()
    moved = encoder.mix(Tokens(tokens.values + noise, tokens.mask).zeroed()).zeroed().values
    assert torch.equal(encoder.mix(tokens).zeroed().values, plain)
    assert not torch.equal(moved[raw.mask], plain[raw.mask])
    assert moved[~raw.mask].eq(0).all()


@pytest.mark.parametrize(("n_rows", "n_channels"), [(400, 6), (400, 240), (100_000, 64)])
def test_make_fits_few_and_many_channels_and_rows(n_rows: int, n_channels: int) -> None:
    encoder = VectorEncoder.make(Spec(kind="vector", n_channels=n_channels), 32, n_rows=n_rows)
    out = encoder(Raw(torch.ones(2, n_channels), torch.tensor([True, False])))
    assert out.values.shape == (2, 1, 32)


def test_bad_options_specs_and_batches_are_told() -> None:
    with pytest.raises(ConfigError, match="hidden_width must be at least 1; got hidden_width=0; dropout must be in"):
        VectorEncoder(SPEC, 8, hidden_width=0, dropout=-0.1)
    with pytest.raises(ShapeError, match="at least one channel; got n_channels=0"):
        VectorEncoder(Spec(kind="vector"), 8)
    with pytest.raises(ShapeError, match="kind must be 'vector'; got kind='table'"):
        VectorEncoder(Spec(kind="table"), 8)
    with pytest.raises(ShapeError, match=r"must be \[batch, 6\] and mask \[batch\]; got values=\(2, 5\)"):
        make()(Raw(torch.ones(2, 5), torch.ones(2, dtype=torch.bool)))


def test_the_linear_path_reads_the_vector() -> None:
    encoder = VectorEncoder(Spec(kind="vector", n_channels=3), 4, embed_width=6, hidden_width=8)
    raw = Raw(torch.tensor([[1.0, 2.0, 3.0], [math.nan] * 3]), torch.tensor([True, False]))
    assert encoder.n_linear == 3
    assert encoder.linear(raw).tolist() == [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]
    assert VectorEncoder(Spec(kind="vector", n_channels=3), 4, linear_path=False).n_linear == 0


def test_input_dropout_drops_channels_in_training_only() -> None:
    encoder = VectorEncoder(Spec(kind="vector", n_channels=3), 4, embed_width=6, hidden_width=8, input_dropout=0.5)
    raw = Raw(torch.ones(8, 3), torch.ones(8, dtype=torch.bool))
    encoder.eval()
    assert torch.equal(encoder.embed(raw).values, encoder.embed(raw).values)
    encoder.train()
    assert len(encoder.embed(raw).values.unique(dim=0)) > 1


def test_the_linear_path_reads_channels_in_bins_where_the_spec_has_edges() -> None:
    spec = Spec(kind="vector", n_channels=3, edges=((-1.0, 0.0, 2.0), (0.0, 1.0), ()))
    encoder = VectorEncoder(spec, 4)
    raw = Raw(torch.tensor([[1.0, 0.5, 3.0], [-0.5, 2.0, 9.0], [1.0, 1.0, 1.0]]), torch.tensor([True, True, False]))
    assert encoder.n_linear == 5  # of a single bin the number itself tells all
    assert encoder.linear(raw).tolist() == [[1.0, 0.5, 3.0, 1.0, 0.5], [-0.5, 2.0, 9.0, 0.5, 0.0], [0.0] * 5]
    assert VectorEncoder(spec, 4, n_linear_bins=0).n_linear == 3
    assert VectorEncoder.make(spec, 4, n_rows=100).n_linear == 5


def test_edges_of_some_channels_only_are_refused() -> None:
    with pytest.raises(ShapeError, match="got 1 edges and n_channels=3"):
        VectorEncoder(Spec(kind="vector", n_channels=3, edges=((0.0, 1.0),)), 4)
    with pytest.raises(ShapeError, match="got 2 spreads and n_channels=3"):
        VectorEncoder(Spec(kind="vector", n_channels=3, spreads=(1.0, 1.0)), 4)


def test_the_linear_path_is_told_how_channels_vary_and_leaves_bins_out_of_that() -> None:
    spec = Spec(kind="vector", n_channels=2, edges=((-1.0, 0.0, 2.0), ()), spreads=(1.5, 0.5))
    spreads = VectorEncoder(spec, 4).linear_spreads()
    assert spreads is not None
    assert spreads.tolist() == [1.5, 0.5, 0.0, 0.0]
    assert VectorEncoder(spec, 4, linear_path=False).linear_spreads() is None
    assert VectorEncoder(Spec(kind="vector", n_channels=2), 4).linear_spreads() is None


def test_channels_that_vary_little_in_the_unit_of_the_others_disturb_a_model_little() -> None:
    """A hundred training rows: what is looked for stands in three strong channels among sixty weak ones."""
    draw = np.random.default_rng(0)
    x = np.concatenate([draw.normal(size=(400, 3)), 0.03 * draw.normal(size=(400, 60))], axis=1) * 40.0
    y = np.sin(x[:, :3] / 40.0).sum(1)
    data = Dataset("made", {"x": ModalityData("vector", x, np.ones(400, dtype=bool))}, y, "regression")
    rows = np.arange(400)
    prepared = Prepared.make(data, Split(rows[:100], rows[100:130], rows[130:]))
    fitted = fit_model(prepared, ModelOptions(width=8, members=1), TrainOptions(epochs=1, refit=False))
    (way,) = fitted.model.plain.linear_paths.path("(joint)").ways
    assert way.as_given
    error = np.square(fitted.predict_encoded(prepared.inputs, rows[130:])[:, 0] - y[130:]).mean() / y[130:].var()
    assert error < 0.1
