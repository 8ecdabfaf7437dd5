"""Encoders of text and series: padding is invisible, rows are alone, and each agrees with a plain account of itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from profuse.encoders import Encoder, encoder
from profuse.encoders._steps import StepFeatures
from profuse.encoders.dilated import DilatedEncoder
from profuse.encoders.multiscale import MultiscaleEncoder
from profuse.encoders.recurrent import RecurrentEncoder
from profuse.encoders.series_patch import SeriesPatchEncoder
from profuse.encoders.text import WordEncoder
from profuse.errors import ConfigError, ShapeError
from profuse.layers.sequence import ConvBlock, Joined, Positions, mean_of_runs, stride_for
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

LENGTHS = (9, 1, 0, 4, 7)
WIDTH = 12
TEXT = Spec(kind="text", vocabulary=50, max_length=9)
SERIES = Spec(kind="series", n_channels=3, max_length=9)
CASES: dict[str, Any] = {
    "words, bag": lambda: WordEncoder(TEXT, WIDTH, n_blocks=0),
    "words": lambda: WordEncoder(TEXT, WIDTH, n_blocks=2),
    "words, joined": lambda: WordEncoder(TEXT, WIDTH, max_tokens=4),
    "gru": lambda: RecurrentEncoder(SERIES, WIDTH),
    "gru, joined": lambda: RecurrentEncoder(SERIES, WIDTH, max_steps=5, max_tokens=3, n_layers=2),
    "lstm": lambda: RecurrentEncoder(SERIES, WIDTH, cell="lstm", n_layers=2),
    "gru, last": lambda: RecurrentEncoder(SERIES, WIDTH, last=True, bidirectional=False),
    "gru, one way": lambda: RecurrentEncoder(SERIES, WIDTH, bidirectional=False, n_frequencies=0),
    "tcn": lambda: DilatedEncoder(SERIES, WIDTH, n_blocks=3),
    "tcn, joined": lambda: DilatedEncoder(SERIES, WIDTH, max_steps=5, max_tokens=2, n_blocks=2),
    "multiscale": lambda: MultiscaleEncoder(SERIES, WIDTH),
    "multiscale, runs": lambda: MultiscaleEncoder(SERIES, WIDTH, max_steps=5, max_tokens=3, n_blocks=2),
    "multiscale, path": lambda: MultiscaleEncoder(SERIES.model_copy(update={"is_path": True}), WIDTH, redraw=1.0),
    "patch": lambda: SeriesPatchEncoder(SERIES, WIDTH, max_tokens=4),
    "patch, one step": lambda: SeriesPatchEncoder(SERIES, WIDTH, n_blocks=1),
}


@pytest.fixture(params=CASES)
def made(request: pytest.FixtureRequest) -> Encoder:
    torch.manual_seed(0)
    return CASES[request.param]().double().eval()  # type: ignore[no-any-return]


def batch(kind: str, lengths: tuple[int, ...] = LENGTHS, seed: int = 0) -> Raw:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    if kind == "text":
        return Raw(torch.randint(0, 50, (*mask.shape, 5), generator=generator), mask)
    return Raw(torch.randn(*mask.shape, 3, generator=generator, dtype=torch.float64), mask)


def with_garbage(raw: Raw, n_more: int) -> Raw:
    """Random garbage (for series NaN too) at masked positions, and `n_more` of them at the end."""
    mask = F.pad(raw.mask, (0, n_more))
    if raw.values.is_floating_point():
        garbage = 100 * torch.randn(*mask.shape, 3, dtype=torch.float64)
        garbage[..., 0] = torch.nan
    else:
        garbage = torch.randint(0, 10_000, (*mask.shape, 5))
    values = garbage.clone()
    values[:, : raw.mask.shape[1]] = torch.where(raw.mask[..., None], raw.values, values[:, : raw.mask.shape[1]])
    return Raw(values, mask)


@pytest.mark.parametrize("n_more", [0, 1, 6])
def test_padding_is_invisible_whatever_stands_there(made: Encoder, n_more: int) -> None:
    raw = batch(made.kind)
    plain, padded = made(raw), made(with_garbage(raw, n_more))
    n = plain.mask.shape[1]
    assert torch.equal(padded.mask[:, :n], plain.mask)
    assert not padded.mask[:, n:].any()
    torch.testing.assert_close(padded.values[:, :n], plain.values, rtol=1e-9, atol=1e-10)
    assert not padded.values[:, n:].any()


def test_garbage_under_the_mask_does_not_reach_the_gradient(made: Encoder) -> None:
    raw = batch(made.kind)
    gradients = []
    for given in (raw, with_garbage(raw, 3)):
        made.zero_grad()
        made(given).values.square().sum().backward()
        gradients.append([p.grad.clone() for p in made.parameters() if p.grad is not None])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


def test_a_missing_row_comes_back_all_masked_and_others_do_not(made: Encoder) -> None:
    out = made(batch(made.kind))
    assert out.present.tolist() == [n > 0 for n in LENGTHS]
    assert not out.values[2].any()


def test_a_batch_of_missing_rows_is_finite(made: Encoder) -> None:
    raw = batch(made.kind)
    out = made(raw.without(torch.ones(len(raw), dtype=torch.bool)))
    assert not out.mask.any()
    assert torch.isfinite(out.values).all()


def test_a_row_does_not_see_its_batch(made: Encoder) -> None:
    raw = batch(made.kind)
    together = made(raw)
    for i, length in enumerate(LENGTHS):
        if length:
            alone = made(raw.rows(torch.tensor([i])).trim())
            n = alone.mask.shape[1]
            assert torch.equal(alone.mask[0], together.mask[i, :n])
            torch.testing.assert_close(alone.values[0], together.values[i, :n], rtol=1e-9, atol=1e-10)


def test_tokens_have_the_width_and_are_few(made: Encoder) -> None:
    out = made(batch(made.kind))
    assert out.n_channels == made.width
    most = made.stride if isinstance(made, WordEncoder) else 1
    assert out.mask.shape[1] <= -(-9 // most)
    assert made.embed(batch(made.kind)).n_channels == made.embed_width


def test_gradient_reaches_every_parameter(made: Encoder) -> None:
    made.train()
    torch.manual_seed(1)
    out = made(batch(made.kind))
    (out.values * torch.randn_like(out.values)).sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("made", [name for name in CASES if not name.startswith("multiscale")], indirect=True)
def test_each_embedded_token_depends_on_its_own_part_only(made: Encoder) -> None:
    raw = batch(made.kind, (9,))
    changed = Raw(raw.values.clone(), raw.mask)
    changed.values[0, 4] = (raw.values[0, 4] + 7) % 50 if made.kind == "text" else raw.values[0, 4] + 1
    differs = (made.embed(raw).values != made.embed(changed).values).any(2)[0]
    stride = made.stride if isinstance(made, SeriesPatchEncoder) else getattr(made, "run", 1)
    assert differs.nonzero().ravel().tolist() == [4 // stride]


def test_eval_is_deterministic_and_training_is_not(made: Encoder) -> None:
    raw = batch(made.kind)
    assert torch.equal(made(raw).values, made(raw).values)
    made.train()
    assert not torch.equal(made(raw).values, made(raw).values)


@pytest.mark.parametrize("name", ["words", "gru", "tcn", "patch", "multiscale"])
@pytest.mark.parametrize("n_rows", [10, 8_000, 100_000])
@pytest.mark.parametrize("width", [7, 64])
def test_make_fits_any_number_of_rows_and_width(name: str, n_rows: int, width: int) -> None:
    cls = encoder(name)
    spec = TEXT if cls.kind == "text" else SERIES
    raw = batch(cls.kind)
    values = raw.values if cls.kind == "text" else raw.values.float()
    assert cls.make(spec, width, n_rows=n_rows)(Raw(values, raw.mask)).n_channels == width


def test_order_matters_to_what_reads_order() -> None:
    for name in ("words", "gru", "tcn", "patch"):
        torch.manual_seed(0)
        one = CASES[name]().double().eval()
        raw = batch(one.kind, (9,))
        back = Raw(raw.values.flip(1), raw.mask)
        assert not torch.allclose(one(raw).mean(), one(back).mean(), atol=1e-6), name


# Each against a plain account of itself


def test_a_word_is_the_sum_of_its_subwords_over_the_root_of_their_number() -> None:
    made = CASES["words"]().double().eval()
    raw = batch("text")
    got, table = made.embed(raw).zeroed().values, made.table.weight.detach().numpy()
    for i, length in enumerate(LENGTHS):
        for t in range(length):
            ids = [j for j in raw.values[i, t].tolist() if j]
            expected = sum((table[j] for j in ids), np.zeros(WIDTH)) / np.sqrt(max(1, len(ids)))
            np.testing.assert_allclose(got[i, t].detach().numpy(), expected, rtol=1e-10, atol=1e-12)


def test_a_word_without_any_subword_is_zero_and_still_real() -> None:
    made = CASES["words"]().double().eval()
    tokens = made.embed(Raw(torch.zeros(1, 2, 5, dtype=torch.long), torch.ones(1, 2, dtype=torch.bool)))
    assert tokens.mask.all()
    assert not tokens.values.any()


def test_the_recurrent_encoder_agrees_with_a_bidirectional_gru_run_on_each_row_alone() -> None:
    torch.manual_seed(0)
    made = CASES["gru"]().double().eval()
    oracle = nn.GRU(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True).double()
    for suffix, one in (("", made.forwards[0]), ("_reverse", made.backwards[0])):
        for kind in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
            getattr(oracle, kind + suffix).data = getattr(one, kind).data
    tokens = made.embed(batch("series")).zeroed()
    got = made.mix(tokens)
    for i, length in enumerate(LENGTHS):
        if length:
            x = tokens.values[i : i + 1, :length]
            expected = x + made.outs[0](oracle(made.norms[0](x))[0])
            torch.testing.assert_close(got.values[i : i + 1, :length], expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("max_steps", "bidirectional"), [(64, True), (20, True), (5, False)])
def test_the_recurrent_encoder_multiplies_no_more_than_its_formula(max_steps: int, bidirectional: bool) -> None:
    made = RecurrentEncoder(
        SERIES.model_copy(update={"max_length": 40}), WIDTH, max_steps=max_steps, bidirectional=bidirectional
    ).eval()
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        made(Raw(torch.randn(2, 40, 3), torch.ones(2, 40, dtype=torch.bool)))
    n_tokens, n_directions = -(-40 // made.run), 1 + bidirectional
    hidden = WIDTH // n_directions
    first = 40 * made.features.out_width * WIDTH
    recurrence = n_tokens * n_directions * 3 * hidden * (WIDTH + hidden)
    assert counted.get_total_flops() == 2 * 2 * (first + recurrence + n_tokens * WIDTH * WIDTH)


def test_steps_that_the_recurrent_encoder_joins_are_one_map_of_what_is_real() -> None:
    torch.manual_seed(0)
    made = CASES["gru, joined"]().double().eval()
    raw = batch("series", (9, 4))
    mask = raw.mask.clone()
    mask[0, [2, 5]] = False
    tokens = made.embed(Raw(raw.values, mask))
    assert tokens.mask.tolist() == [[True] * 5, [True, True, False, False, False]]
    weights = made.first.weight.detach().unflatten(1, (2, -1))
    for row, token in [(i, j) for i in range(2) for j in range(5) if tokens.mask[i, j]]:
        steps = [(k, 2 * token + k) for k in range(2) if 2 * token + k < 9 and mask[row, 2 * token + k]]
        expected = sum((weights[:, k] @ made.features(raw.values[row, t]) for k, t in steps), made.first.bias)
        torch.testing.assert_close(tokens.values[row, token], expected)


def test_the_last_token_of_the_recurrent_encoder_is_its_state_at_the_last_real_step() -> None:
    torch.manual_seed(0)
    made = CASES["gru, last"]().double().eval()
    whole = RecurrentEncoder(SERIES, WIDTH, bidirectional=False).double().eval()
    whole.load_state_dict(made.state_dict())
    got, tokens = made(batch("series")), whole(batch("series"))
    assert got.values.shape[1] == 1
    for i, length in enumerate(LENGTHS):
        assert bool(got.mask[i, 0]) == (length > 0)
        if length:
            torch.testing.assert_close(got.values[i, 0], tokens.values[i, length - 1])


def test_the_recurrent_encoder_skips_steps_that_are_masked_between_others() -> None:
    torch.manual_seed(0)
    made = CASES["gru"]().double().eval()
    raw = batch("series", (9,))
    mask = raw.mask.clone()
    mask[0, [0, 3, 4]] = False
    got = made(Raw(raw.values, mask))
    expected = made(Raw(raw.values[:, mask[0]], raw.mask[:, :6]))
    torch.testing.assert_close(got.values[:, :6], expected.values, rtol=1e-9, atol=1e-11)
    assert got.mask.sum() == 6


def test_a_convolution_block_agrees_with_conv1d_on_each_series_alone() -> None:
    torch.manual_seed(0)
    block = ConvBlock(4, dilation=2, dropout=0.0).double()
    weight = block.shifts.weight.view(4, 3, 4).permute(0, 2, 1)  # [out, in, shift]
    mask = torch.arange(9) < torch.tensor([9, 3])[:, None]
    x = torch.randn(2, 9, 4, dtype=torch.float64)
    got = block(x, mask)
    for i, length in enumerate((9, 3)):
        row = x[i : i + 1, :length]
        n = block.norm(row).transpose(1, 2)
        y = F.conv1d(n, weight, block.shifts.bias, padding=2, dilation=2).transpose(1, 2)
        expected = row + block.gate * block.out(F.gelu(y))
        torch.testing.assert_close(got[i : i + 1, :length], expected, rtol=1e-10, atol=1e-12)


def test_the_patch_encoder_agrees_with_torchs_attention() -> None:
    torch.manual_seed(0)
    made = CASES["patch, one step"]().double().eval()
    block = made.blocks[0]
    oracle = nn.MultiheadAttention(WIDTH, 4, batch_first=True).double()
    oracle.in_proj_weight.data, oracle.in_proj_bias.data = block.qkv.weight.data, block.qkv.bias.data
    oracle.out_proj.weight.data, oracle.out_proj.bias.data = block.out.weight.data, block.out.bias.data
    tokens = made.embed(batch("series", (9, 4))).zeroed()
    x = made.positions(tokens.values)
    n = block.norm1(x)
    y = x + block.gates[0] * oracle(n, n, n, key_padding_mask=~tokens.mask, need_weights=False)[0]
    y = y + block.gates[1] * block.mlp(block.norm2(y))
    torch.testing.assert_close(made.mix(tokens).zeroed().values, Tokens(y, tokens.mask).zeroed().values)


def test_periodic_features_are_sines_and_cosines_of_learned_frequencies() -> None:
    features = StepFeatures(2, 3).double()
    x = np.random.default_rng(0).normal(size=(4, 2))
    assert features.frequencies is not None
    angle = 2 * np.pi * x[..., None] * features.frequencies.detach().numpy()
    expected = np.concatenate([x, np.sin(angle).reshape(4, -1), np.cos(angle).reshape(4, -1)], axis=1)
    np.testing.assert_allclose(features(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-10)
    assert features.out_width == expected.shape[1]


def test_means_of_runs_use_real_tokens_only() -> None:
    values = torch.tensor([[1.0, 3.0, 5.0, 99.0, 99.0]])[..., None]
    out = mean_of_runs(Tokens(values, torch.tensor([[True, True, True, False, False]])), 2)
    assert out.values.ravel().tolist() == [2.0, 5.0, 0.0]
    assert out.mask.tolist() == [[True, True, False]]


def test_joined_runs_are_one_linear_map_of_their_steps() -> None:
    joined = Joined(2, 3)
    x: Tensor = torch.randn(1, 5, 2)
    out = joined(Tokens(x, torch.ones(1, 5, dtype=torch.bool)))
    last = F.pad(x[0, 3:].flatten(), (0, 2))
    torch.testing.assert_close(out.values[0, 1], joined.linear(last))
    assert out.values.shape == (1, 2, 2)


def test_positions_differ_and_are_the_same_for_every_row() -> None:
    added = Positions(6)(torch.zeros(2, 40, 6))
    assert torch.equal(added[0], added[1])
    assert len({tuple(p) for p in added[0].tolist()}) == 40


@pytest.mark.parametrize(("length", "most", "stride"), [(0, 32, 1), (32, 32, 1), (33, 32, 2), (512, 32, 16)])
def test_the_stride_comes_from_the_fitted_length(length: int, most: int, stride: int) -> None:
    assert stride_for(length, most) == stride


# Errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WordEncoder(TEXT, 8, dropout=1.0), "WordEncoder: dropout must be in"),
        (lambda: WordEncoder(TEXT, 8, word_drop_prob=1.0), "word_drop_prob=1.0"),
        (lambda: WordEncoder(TEXT, 8, max_tokens=0), "max_tokens=0"),
        (
            lambda: RecurrentEncoder(SERIES, 8, n_layers=0),
            "RecurrentEncoder: n_layers must be at least 1; got",
        ),
        (lambda: RecurrentEncoder(SERIES, 8, cell="rnn"), "cell must be gru or lstm; got cell='rnn'"),  # type: ignore[arg-type]
        (lambda: RecurrentEncoder(SERIES, 8, last=True), "last must go with bidirectional=False"),
        (lambda: DilatedEncoder(SERIES, 8, max_tokens=0), "DilatedEncoder: max_tokens must be at least 1"),
        (lambda: SeriesPatchEncoder(SERIES, 10), "width must be a multiple of n_heads; got width=10, n_heads=4"),
        (lambda: SeriesPatchEncoder(SERIES, 8, n_heads=0), "n_heads must be at least 1; got n_heads=0"),
    ],
)
def test_settings_out_of_range_are_told(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_spec_without_content_is_refused() -> None:
    with pytest.raises(ShapeError, match="vocabulary=0"):
        WordEncoder(Spec(kind="text"), 8)
    for name in ("gru", "tcn", "patch", "multiscale"):
        with pytest.raises(ShapeError, match="n_channels=0"):
            encoder(name).make(Spec(kind="series"), 8, n_rows=10)


@pytest.mark.parametrize("name", ["words", "gru", "tcn", "patch", "multiscale"])
def test_raw_values_of_another_shape_are_told(name: str) -> None:
    with pytest.raises(ShapeError, match=r"values must be .*got values=.*\(2, 5, 4\)"):
        CASES[name]()(Raw(torch.zeros(2, 5, 4), torch.ones(2, 5, dtype=torch.bool)))
