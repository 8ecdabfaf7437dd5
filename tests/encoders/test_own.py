"""A module of the user's own as an encoder."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from profuse.encoders.own import OwnEncoder
from profuse.errors import ShapeError
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
