"""What holds for every operator on a graph of remembered rows, once it remembers some."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from profuse.errors import ConfigError, ShapeError
from profuse.fusion import Fusion
from profuse.fusion.graph._rows import Memory
from profuse.fusion.graph.mogonet import Mogonet
from profuse.fusion.graph.similarity_network import SimilarityNetwork
from profuse.tokens import Tokens

CHANNELS = {"b.c": 4, "type": 3, "a": 5}
LENGTHS = {"b.c": 3, "type": 1, "a": 6}
CLASSES = (Mogonet, SimilarityNetwork)
of_all = pytest.mark.parametrize("cls", CLASSES)
Make = Callable[..., Fusion]


def rows(n: int, seed: int = 0) -> dict[str, Tokens]:
    """Rows of which the second lacks "a", the third all; some tokens are padding, and hold noise."""
    generator = torch.Generator().manual_seed(seed)
    tokens = {}
    for name, c in CHANNELS.items():
        mask = torch.rand(n, LENGTHS[name], generator=generator) > 0.3
        mask[:, 0] = True
        mask[2:3] = False
        if name == "a":
            mask[1:2] = False
        values = torch.randn(n, LENGTHS[name], c, generator=generator, dtype=torch.float64)
        tokens[name] = Tokens(values, mask)
    return tokens


def some(tokens: dict[str, Tokens], index: list[int] | Tensor) -> dict[str, Tokens]:
    return {name: Tokens(t.values[index], t.mask[index]) for name, t in tokens.items()}


def made(cls: Make, seed: int = 0) -> Fusion:
    torch.manual_seed(seed)
    operator = cls(CHANNELS, 8, n_remembered=32, n_neighbours=4).double().eval()
    for parameter in operator.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return operator


def filled(cls: Make, n: int = 30) -> Fusion:
    operator = made(cls)
    operator.remember(rows(n, seed=1))
    return operator


def memory(operator: Fusion) -> Memory:
    found = operator.memory
    assert isinstance(found, Memory)
    return found


@of_all
def test_what_is_remembered_counts(cls: Make) -> None:
    new = rows(7)
    before, after = made(cls)(new).vector, filled(cls)(new).vector
    changed = (before - after).abs().amax(1) > 1e-3
    assert changed.tolist() == [True, True, False, True, True, True, True]  # the third row lacks all


@of_all
def test_it_remembers_the_means_and_what_is_there(cls: Make) -> None:
    stored, old = memory(filled(cls)), rows(30, seed=1)
    assert int(stored.count) == 30
    assert not stored.present[30:].any()
    for m, (name, part) in enumerate(zip(sorted(CHANNELS), stored.features(), strict=True)):
        torch.testing.assert_close(part[:30], old[name].mean())
        assert torch.equal(stored.present[:30, m], old[name].present)
        assert not part[30:].any()


@of_all
def test_a_row_does_not_depend_on_the_rows_beside_it(cls: Make) -> None:
    operator, new = filled(cls), rows(7)
    whole = operator(new).vector
    for i in range(7):
        torch.testing.assert_close(operator(some(new, [i])).vector[0], whole[i])
        torch.testing.assert_close(operator(some(new, [4, i, 4])).vector[1], whole[i])


@of_all
def test_the_order_of_remembered_rows_is_irrelevant(cls: Make) -> None:
    operator, new, old = filled(cls), rows(7), rows(30, seed=1)
    whole = operator(new).vector
    operator.remember(some(old, torch.randperm(30, generator=torch.Generator().manual_seed(0))))
    torch.testing.assert_close(operator(new).vector, whole)


@of_all
def test_what_stands_under_the_mask_is_neither_remembered_nor_read(cls: Make) -> None:
    operator, new, old = filled(cls), rows(7), rows(30, seed=1)
    whole = operator(new).vector
    for hidden in (float("nan"), 100.0):
        operator.remember({k: Tokens(t.values.masked_fill(~t.mask[..., None], hidden), t.mask) for k, t in old.items()})
        spoilt = {k: Tokens(t.values.masked_fill(~t.mask[..., None], hidden), t.mask) for k, t in new.items()}
        torch.testing.assert_close(operator(spoilt).vector, whole)


@of_all
def test_rows_that_lack_all_are_remembered_in_vain(cls: Make) -> None:
    operator, new = filled(cls), rows(7)
    whole = operator(new).vector
    operator.remember(some(rows(30, seed=1), [i for i in range(30) if i != 2]))
    torch.testing.assert_close(operator(new).vector, whole)


@of_all
def test_a_modality_that_no_remembered_row_has_adds_no_edge(cls: Make) -> None:
    operator, new, old = made(cls), rows(7), rows(30, seed=1)
    operator.remember({**old, "a": Tokens(old["a"].values, torch.zeros_like(old["a"].mask))})
    only = {k: Tokens(t.values, t.mask & (k == "a")) for k, t in new.items()}
    torch.testing.assert_close(operator(only).vector, made(cls)(only).vector)


@of_all
def test_state_survives_saving_and_copies_are_equal(cls: Make) -> None:
    operator, new, file = filled(cls), rows(7), io.BytesIO()
    whole = operator(new).vector
    torch.save(operator.state_dict(), file)
    file.seek(0)
    other = made(cls, seed=1)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(new).vector, whole)
    assert torch.equal(copy.deepcopy(operator)(new).vector, whole)


@of_all
def test_remembering_again_forgets_what_was_before(cls: Make) -> None:
    once, twice, new = made(cls), filled(cls), rows(7)
    for operator in (once, twice):
        operator.remember(rows(12, seed=2))
    assert torch.equal(once(new).vector, twice(new).vector)


@of_all
@pytest.mark.parametrize("n", [1, 2, 4])
def test_fewer_rows_than_neighbours_are_enough(cls: Make, n: int) -> None:
    operator, new = made(cls), rows(7)
    operator.remember(rows(n, seed=2))
    assert operator(new).vector.isfinite().all()
    operator.remember(some(rows(1), []))
    torch.testing.assert_close(operator(new).vector, made(cls)(new).vector)


@of_all
def test_more_rows_than_it_holds_are_refused(cls: Make) -> None:
    name = made(cls).__class__.__name__
    with pytest.raises(ShapeError, match=f"^{name}: at most n_remembered=32 rows must be given to remember; got 33"):
        made(cls).remember(rows(33))


@of_all
def test_the_gradient_is_the_slope_and_reaches_everything(cls: Make) -> None:
    operator, new = filled(cls), some(rows(7), [0, 1, 2, 3])

    def function(*values: Tensor) -> Tensor:
        fused = operator({k: Tokens(v, t.mask) for (k, t), v in zip(new.items(), values, strict=True)})
        total: Tensor = (fused.vector * torch.linspace(-1, 1, 8)).sum()
        return total

    leaves = [t.values.clone().requires_grad_() for t in new.values()]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        assert torch.autograd.gradcheck(function, leaves, fast_mode=True)
    function(*leaves).backward()
    for leaf in [*leaves, *operator.parameters()]:
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        assert leaf.grad.any()


@of_all
def test_the_gradient_is_finite_at_a_row_that_is_remembered_itself(cls: Make) -> None:
    operator, old = filled(cls), rows(30, seed=1)
    leaves = {name: t.values.clone().requires_grad_() for name, t in old.items()}
    operator({name: Tokens(leaves[name], t.mask) for name, t in old.items()}).vector.square().sum().backward()
    assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in leaves.values())


@of_all
def test_single_precision_gives_the_same(cls: Make) -> None:
    operator, new, old = made(cls).float(), rows(7), rows(30, seed=1)
    operator.remember({name: Tokens(t.values.float(), t.mask) for name, t in old.items()})
    single = operator({name: Tokens(t.values.float(), t.mask) for name, t in new.items()}).vector
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), filled(cls)(new).vector, rtol=1e-4, atol=1e-4)


@of_all
def test_training_drops_and_eval_does_not(cls: Make) -> None:
    operator, new = filled(cls), rows(7)
    assert torch.equal(operator(new).vector, operator(new).vector)
    operator.train()
    assert not torch.allclose(operator(new).vector, operator(new).vector)


@of_all
@pytest.mark.parametrize("wrong", [{"n_neighbours": 0}, {"n_neighbours": 32}, {"n_layers": 0}, {"n_remembered": 3}])
def test_wrong_sizes_are_told(cls: Make, wrong: dict[str, int]) -> None:
    options = {"n_neighbours": 4, "n_remembered": 32} | wrong
    told = f"n_layers must be at least 1, and n_neighbours .* got .*{next(iter(wrong))}={next(iter(wrong.values()))}"
    with pytest.raises(ConfigError, match=f"^(Mogonet|SimilarityNetwork): {told}"):
        cls(CHANNELS, 8, **options)


@pytest.mark.slow
@of_all
def test_it_exports_with_what_it_remembers_and_any_number_of_rows(cls: Make) -> None:
    operator, names = filled(cls), list(CHANNELS)

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = operator

        def forward(self, *tensors: Tensor) -> Tensor:
            pairs = zip(names, tensors[::2], tensors[1::2], strict=True)
            vector: Tensor = self.inner({name: Tokens(v, m) for name, v, m in pairs}).vector
            return vector

    def flat(n: int) -> tuple[Tensor, ...]:
        return tuple(x for t in rows(n).values() for x in (t.values, t.mask))

    batch = torch.export.Dim("batch", min=2, max=4096)
    shapes = {"tensors": tuple({0: batch} for _ in range(6))}
    program = torch.export.export(Flat().eval(), flat(7), dynamic_shapes=shapes)
    torch.testing.assert_close(program.module()(*flat(5)), Flat()(*flat(5)))
