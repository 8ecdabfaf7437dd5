"""The imputers: what is present stays as it is, what is missing comes from the others, and only they are asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.fusion import fusion
from profuse.fusion.generative._imputer import ModalityImputer
from profuse.fusion.generative.diffusion_imputer import DiffusionImputer
from profuse.fusion.generative.flow_imputer import FlowImputer
from profuse.fusion.generative.gan_imputer import GanImputer
from profuse.fusion.generative.regression_imputer import RegressionImputer
from profuse.tokens import Tokens

NAMES = ["regression_imputer", "flow_imputer", "diffusion_imputer", "gan_imputer"]
CHANNELS = {"a": 3, "b": 2, "c": 4}
PRESENT = torch.tensor([[1, 1, 1], [0, 1, 1], [1, 0, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]]).bool()


def make(name: str, seed: int = 0, **options: object) -> ModalityImputer:
    torch.manual_seed(seed)
    operator = fusion(name)(CHANNELS, 8, **options).eval()
    assert isinstance(operator, ModalityImputer)
    return operator


def rows(seed: int = 1, present: Tensor = PRESENT) -> dict[str, Tokens]:
    draw = torch.Generator().manual_seed(seed)
    return {
        name: Tokens.vector(torch.randn(len(present), c, generator=draw), present[:, i])
        for i, (name, c) in enumerate(CHANNELS.items())
    }


@pytest.mark.parametrize("name", NAMES)
def test_what_is_present_is_used_bit_for_bit_and_what_is_missing_is_the_generators_answer(name: str) -> None:
    operator, tokens = make(name), rows()
    u = operator.vectors(tokens)
    filled = operator.completed(tokens)
    assert torch.equal(filled[PRESENT], u[PRESENT])
    condition, _ = operator.conditions(u, PRESENT)
    for row in range(len(PRESENT)):
        for m, generator in enumerate(operator.generators):
            if not PRESENT[row, m]:
                alone = generator.centre(condition[row : row + 1, m])[0]  # type: ignore[operator]
                want = alone if PRESENT[row].any() else torch.zeros(8)
                torch.testing.assert_close(filled[row, m], want)
    assert filled[1, 0].abs().sum() > 0


def test_a_generator_is_told_the_mean_of_the_codes_of_the_others_that_are_present() -> None:
    operator = make("regression_imputer")
    u = operator.vectors(rows())
    condition, told = operator.conditions(u, PRESENT)
    codes = [code(u[:, j]) for j, code in enumerate(operator.codes)]
    torch.testing.assert_close(condition[0, 0], (codes[1][0] + codes[2][0]) / 2)
    torch.testing.assert_close(condition[1, 1], codes[2][1])
    assert told.tolist()[3] == [False, True, True]
    assert not told[4].any()
    assert not condition[3, 0].any()


def test_without_blocks_the_regression_is_linear_in_the_codes() -> None:
    operator = make("regression_imputer", n_blocks=0)
    tokens = rows()
    u = operator.vectors(tokens).detach()
    layer = operator.generators[0].out
    codes = [code(u[1, j]).detach().numpy() for j, code in enumerate(operator.codes)]
    assert isinstance(layer, nn.Linear)
    want = layer.weight.detach().numpy() @ ((codes[1] + codes[2]) / 2) + layer.bias.detach().numpy()
    np.testing.assert_allclose(operator.completed(tokens)[1, 0].detach().numpy(), want, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_penalty_counts_only_rows_that_have_it_and_another_one(name: str) -> None:
    operator = make(name)
    tokens = rows()
    whole = operator(tokens).penalties
    # rows that teach nothing: those with a single modality or none
    useful = [i for i in range(len(PRESENT)) if PRESENT[i].sum() > 1]
    fewer = {k: Tokens(t.values[useful], t.mask[useful]) for k, t in tokens.items()}
    for key, value in operator(fewer).penalties.items():
        torch.testing.assert_close(value, whole[key])
        assert value > 0
    alone = {k: Tokens(t.values[3:5], t.mask[3:5]) for k, t in tokens.items()}
    assert all(float(value.detach()) == 0 for value in operator(alone).penalties.values())
    with torch.no_grad():
        assert operator(tokens).penalties == {}


@pytest.mark.parametrize("name", NAMES)
def test_the_penalty_is_a_mean_that_the_weight_multiplies(name: str) -> None:
    once, twice = make(name, weight=0.1), make(name, weight=0.2)
    tokens = rows()
    doubled = {k: Tokens(t.values.repeat(2, 1, 1), t.mask.repeat(2, 1)) for k, t in tokens.items()}
    for key, value in once(tokens).penalties.items():
        torch.testing.assert_close(2 * value, twice(tokens).penalties[key])
        torch.testing.assert_close(value, once(doubled).penalties[key])


@pytest.mark.parametrize("name", NAMES)
def test_shrinking_the_projection_does_not_make_the_penalty_small(name: str) -> None:
    operator = make(name).double()
    tokens = {k: Tokens(t.values.double(), t.mask) for k, t in rows().items()}
    before = operator(tokens).penalties
    with torch.no_grad():
        for parameter in operator.project.parameters():
            parameter.mul_(0.05)
    # gain and bias of the norm inside are shrunk as well: what comes out is 0.05 times a map of other directions
    after = operator(tokens).penalties
    assert all(float(after[key].detach()) > 0.3 * float(before[key].detach()) for key in before)


def test_the_regression_learns_a_modality_that_the_other_one_determines() -> None:
    torch.manual_seed(0)
    operator = RegressionImputer({"a": 3, "b": 3}, 8, weight=1.0, n_blocks=0)
    values = torch.randn(64, 3)
    turn = torch.eye(3)[[1, 2, 0]]  # what a norm over channels leaves of a determines what it leaves of b
    tokens = {"a": Tokens.vector(values), "b": Tokens.vector(values @ turn)}
    for parameter in operator.project.parameters():
        parameter.requires_grad_(False)  # the targets stay what they are
    first = float(operator(tokens).penalties["imputation"].detach())
    optimiser = torch.optim.Adam([p for p in operator.parameters() if p.requires_grad], lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        operator(tokens).penalties["imputation"].backward()
        optimiser.step()
    operator.eval()
    assert float(operator(tokens).penalties["imputation"].detach()) < 0.3 * first
    half = {"a": tokens["a"], "b": Tokens.vector(values @ turn, torch.arange(64) < 32)}
    off = (operator.completed(half) - operator.completed(tokens))[32:, 1].square().mean()
    assert float(off.detach()) < 0.3  # of a variance of 1


@pytest.mark.parametrize("name", NAMES)
def test_a_single_modality_has_nothing_to_be_told_from(name: str) -> None:
    operator = fusion(name)({"a": 3}, 8).eval()
    fused = operator({"a": Tokens.vector(torch.randn(4, 3), torch.tensor([True, False, True, True]))})
    assert fused.penalties == {}
    assert fused.vector.isfinite().all()
    assert not operator.generators


@pytest.mark.parametrize("name", NAMES[1:])
def test_the_noise_of_training_is_the_global_generators(name: str) -> None:
    operator, tokens = make(name, dropout=0.0).train(), rows()
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(torch.stack([*operator(tokens).penalties.values()]))
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2])


def test_the_sde_draws_in_training_and_answers_as_the_ode_in_evaluation() -> None:
    ode, sde = make("diffusion_imputer"), make("diffusion_imputer", sampler="sde")
    tokens = rows()
    assert torch.equal(ode.completed(tokens), sde.completed(tokens))
    drawn = sde.train().completed(tokens)
    assert drawn.isfinite().all()
    assert torch.equal(drawn[PRESENT], ode.completed(tokens)[PRESENT])
    assert not torch.allclose(drawn, sde.completed(tokens))


@pytest.mark.parametrize(
    ("cls", "options", "said"),
    [
        (RegressionImputer, {"weight": -1.0}, "RegressionImputer: weight must be at least 0; got weight=-1.0"),
        (FlowImputer, {"dropout": 1.0}, "FlowImputer: dropout must be"),
        (FlowImputer, {"n_steps": 1}, "n_steps must be at least 2"),
        (DiffusionImputer, {"sampler": "ddim"}, "sampler must be ode or sde; got sampler='ddim'"),
        (GanImputer, {"l1": -1.0}, "l1 must be at least 0"),
    ],
)
def test_an_option_out_of_range_is_told(cls: type[ModalityImputer], options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        cls(CHANNELS, 8, **options)  # type: ignore[arg-type]
