"""A module of the user's own as an encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from profuse import FusionClassifier, register
from profuse.data.dataset import ModalityData
from profuse.data.preprocess.utf8 import BytePreprocessor
from profuse.encoders.own import OwnEncoder, strings
from profuse.errors import ConfigError, ShapeError
from profuse.predictor import load_model
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

VECTOR = Spec(kind="vector", n_channels=3)
SERIES = Spec(kind="series", n_channels=2, max_length=5)


def vectors(n: int = 4) -> Raw:
    generator = torch.Generator().manual_seed(0)
    return Raw(torch.randn(n, 3, generator=generator), torch.tensor([True] * (n - 1) + [False]))


def series(n: int = 4) -> Raw:
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(5) < torch.tensor([5, 3, 1, 0])[:n, None]
    return Raw(torch.randn(n, 5, 2, generator=generator), mask)


class Summing(nn.Module):
    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return (values * mask[..., None]).sum(1)


def test_a_module_that_returns_a_vector_gives_one_token_a_row() -> None:
    encoder = OwnEncoder.around(nn.Linear(3, 7), VECTOR, 8, example=vectors(), name="a")
    tokens = encoder(vectors())
    assert encoder.embed_width == 7
    assert tokens.values.shape == (4, 1, 8)
    assert tokens.mask.tolist() == [[True], [True], [True], [False]]


def test_a_module_that_returns_a_token_a_position_keeps_the_mask() -> None:
    encoder = OwnEncoder.around(nn.Linear(2, 6), SERIES, 8, example=series(), name="a")
    assert torch.equal(encoder(series()).mask, series().mask)


def test_a_module_that_makes_other_tokens_has_them_real_where_the_modality_is_present() -> None:
    pool = nn.Sequential(nn.Flatten(), nn.Linear(10, 12), nn.Unflatten(1, (2, 6)))
    tokens = OwnEncoder.around(pool, SERIES, 8, example=series(), name="a")(series())
    assert tokens.mask.tolist() == [[True, True]] * 3 + [[False, False]]


def test_a_module_with_a_mask_parameter_is_given_the_mask() -> None:
    encoder = OwnEncoder.around(Summing(), SERIES, 8, example=series(), name="a")
    expected = (series().values * series().mask[..., None]).sum(1)
    assert torch.equal(encoder.embed(series()).values[:, 0], expected)


@pytest.mark.parametrize(("spec", "raw", "module"), [
    (VECTOR, vectors(), nn.Linear(3, 7)),
    (SERIES, series(), nn.GRU(2, 4, batch_first=True)),
    (SERIES, series(), nn.Linear(2, 6)),
])  # fmt: skip
def test_masked_content_has_no_effect(spec: Spec, raw: Raw, module: nn.Module) -> None:
    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            out = self.inner(values)
            kept: Tensor = out[0] if isinstance(out, tuple) else out
            return kept

    encoder = OwnEncoder.around(First(), spec, 8, example=raw, name="a").eval()
    mask = raw.mask.view(*raw.mask.shape, *(1,) * (raw.values.ndim - raw.mask.ndim))
    noisy = Raw(torch.where(mask, raw.values, torch.randn(raw.values.shape)), raw.mask)
    assert torch.equal(encoder(raw).values, encoder(noisy).values)


def test_a_module_that_returns_tokens_decides_itself() -> None:
    class Every(nn.Module):
        def forward(self, values: torch.Tensor) -> Tokens:
            return Tokens.vector(values)

    assert OwnEncoder.around(Every(), VECTOR, 8, example=vectors(), name="a").embed(vectors()).mask.all()


@pytest.mark.parametrize(("module", "message"), [
    (nn.Linear(4, 7), r"encoder of 'a': the module must take values of shape \(4, 3\)"),
    (nn.Unflatten(1, (3, 1, 1)), r"encoder of 'a': the module must return \[batch, channel\].*got \(4, 3, 1, 1\)"),
    (nn.Flatten(0), r"encoder of 'a': the module must return.*got \(12,\) for 4 rows"),
])  # fmt: skip
def test_a_module_that_does_not_fit_is_told(module: nn.Module, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        OwnEncoder.around(module, VECTOR, 8, example=vectors(), name="a")


def test_probing_leaves_the_modules_mode_alone() -> None:
    module = nn.Linear(3, 7).train()
    OwnEncoder.around(module, VECTOR, 8, example=vectors(), name="a")
    assert module.training


class Averaging(nn.Module):
    """Knows nothing of padding."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        means: Tensor = self.linear(values).mean(1)
        return means


@pytest.mark.parametrize("module", [
    Averaging(), nn.Sequential(nn.Flatten(), nn.Linear(10, 3)), nn.Linear(2, 6), Summing(),
])  # fmt: skip
def test_a_row_does_not_depend_on_how_far_its_batch_is_padded(module: nn.Module) -> None:
    encoder = OwnEncoder.around(module, SERIES, 8, example=series(), name="a").eval()
    whole = encoder(series())
    for i, length in enumerate((5, 3, 1)):
        alone = encoder(series().rows(torch.tensor([i])).trim())
        torch.testing.assert_close(alone.values[0, :length], whole.values[i, : len(alone.values[0, :length])])


def test_finding_the_channels_leaves_the_users_module_as_it_is() -> None:
    lazy = nn.LazyLinear(7)
    encoder = OwnEncoder.around(lazy, VECTOR, 8, example=vectors(), name="a")
    assert lazy.has_uninitialized_params()
    assert encoder.embed_width == 7
    assert [p.shape for p in encoder.module.parameters()] == [(7, 3), (7,)]


@pytest.mark.parametrize("module", [Averaging(), nn.Linear(2, 6), Summing()])
def test_rows_longer_than_those_of_training_do_not_depend_on_their_batch(module: nn.Module) -> None:
    encoder = OwnEncoder.around(module, SERIES, 8, example=series(), name="a").eval()
    lengths = torch.tensor([12, 5, 0, 7, 2, 6])
    generator = torch.Generator().manual_seed(1)
    batch = Raw(torch.randn(6, 12, 2, generator=generator), torch.arange(12) < lengths[:, None])
    whole = encoder(batch)
    assert whole.present.tolist() == (lengths > 0).tolist()
    for i in (0, 1, 3, 4, 5):
        alone = encoder(batch.rows(torch.tensor([i])).trim())
        real = alone.mask[0]
        torch.testing.assert_close(alone.values[0, real], whole.values[i, whole.mask[i]])


def test_a_module_that_cannot_take_longer_rows_is_told() -> None:
    long = Raw(torch.randn(2, 7, 2), torch.ones(2, 7).bool())
    encoder = OwnEncoder.around(nn.Sequential(nn.Flatten(), nn.Linear(10, 3)), SERIES, 8, example=series(), name="a")
    with pytest.raises(ShapeError, match="longer than those of training, 5 positions; Sequential raised.* for 10"):
        encoder(long)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated")
def test_a_module_that_cannot_be_copied_is_told() -> None:
    module = nn.utils.weight_norm(nn.Linear(3, 4))
    module(torch.randn(2, 3))
    with pytest.raises(ShapeError, match="copy.deepcopy copies; Linear raised .*parametrizations"):
        OwnEncoder.around(module, VECTOR, 8, example=vectors(), name="a")


class Lengths(nn.Module):
    """What it was given last is kept, so that a test sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, texts: list[str]) -> Tensor:
        made = [[len(text), sum(c.isupper() for c in text)] for text in texts]
        return torch.tensor(made, dtype=torch.float32) * self.weight


TEXTS = ["Ünïcode \U0001f600 Stays", None, "  blanks stay  ", " \t", "", "A"]


def read(texts: list[str | None]) -> tuple[BytePreprocessor, Raw]:
    values = np.array(texts, dtype=object)
    data = ModalityData("text", values, np.array([t is not None for t in texts]))
    reader = BytePreprocessor()
    reader.fit(data)
    return reader, reader.transform(data)


def test_strings_are_the_texts_as_they_were_and_blank_ones_are_absent() -> None:
    _, raw = read(TEXTS)
    assert strings(raw) == ["Ünïcode \U0001f600 Stays", "", "  blanks stay  ", "", "", "A"]
    assert raw.present.tolist() == [True, False, True, False, False, True]
    assert strings(raw.rows(torch.tensor([5])).trim()) == ["A"]
    assert strings(raw.without(torch.arange(6) == 5))[5] == ""


def test_a_text_longer_than_what_is_read_keeps_its_beginning_and_that_is_told() -> None:
    reader, raw = read(["a" + "é" * 5_000, "c"])
    assert strings(raw) == ["a" + "é" * 4_095, "c"]
    assert reader.notes == ("1 of 2 texts are longer than 8,192 bytes: cut.",)
    restored = BytePreprocessor.from_state(json.loads(json.dumps(reader.state())))
    assert restored.spec == reader.spec


def test_a_module_that_takes_texts_gets_strings_and_one_token_a_row() -> None:
    reader, raw = read(TEXTS)
    tokens = OwnEncoder.around(Lengths(), reader.spec, 8, example=raw, name="note").embed(raw)
    assert tokens.values[:, 0].tolist() == [[15, 2], [0, 0], [15, 0], [0, 0], [0, 0], [1, 1]]
    assert tokens.mask[:, 0].tolist() == raw.present.tolist()


class Failing(nn.Module):
    def forward(self, texts: list[str]) -> Tensor:
        raise ValueError("no words")


def test_a_module_of_texts_that_fails_is_told_what_it_was_given() -> None:
    reader, raw = read(["a", "b"])
    with pytest.raises(ShapeError, match=r"'note': the module must take a list of 2 strings; Failing raised no words"):
        OwnEncoder.around(Failing(), reader.spec, 8, example=raw, name="note")


def test_an_estimator_gives_a_module_the_strings_and_another_kind_is_refused() -> None:
    y = np.arange(60) % 2
    notes = np.array(["COME" if label else "take" for label in y], dtype=object)  # only capitals tell
    X = {"note": notes, "sensor": np.random.default_rng(0).normal(size=(60, 2))}
    options: dict[str, Any] = {"width": 8, "epochs": 8, "members": 1, "learning_rate": 0.02, "random_state": 0}
    model = FusionClassifier(encoders={"note": Lengths()}, **options).fit(X, y)
    assert (model.predict(X) == y).mean() > 0.95
    with pytest.raises(
        ConfigError, match="encoder of 'sensor' must take kind 'vector'; got Lengths, which takes 'text'"
    ):
        FusionClassifier(encoders={"sensor": Lengths()}, **options).fit(X, y)


class StringEncoder(OwnEncoder):
    """An encoder with a name that reads strings."""

    preprocess = "bytes"
    kind = "text"

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__(spec, width, Lengths(), channels=2)

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> StringEncoder:
        return cls(spec, width)


def test_a_registered_encoder_of_strings_is_fitted_saved_and_loaded_by_its_name(tmp_path: Path) -> None:
    register("encoder", "lengths_of_text", StringEncoder)
    y = np.arange(40) % 2
    frame = pd.DataFrame({"note": ["COME NOW" if label else "take it" for label in y], "x": np.arange(40.0)})
    schema = {"columns": {"note": "text", "x": "numeric"}}
    options: dict[str, Any] = {"width": 8, "epochs": 2, "members": 1, "random_state": 0, "schema": schema}
    model = FusionClassifier(encoders={"note": "lengths_of_text"}, **options).fit(frame, y)
    model.predictor_.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(frame), model.predict_proba(frame))
