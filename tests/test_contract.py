"""The contract: operators by checks, encoders by checks, and for each check something broken that it must reject."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from rows_of_kinds import rows_of_kind
from torch import Tensor, nn

from profuse.data.preprocess import preprocessor
from profuse.data.preprocess.static import N_PIECES
from profuse.data.tensors import from_tensors
from profuse.data.terms import counted
from profuse.encoders import ENCODERS, Encoder, encoder
from profuse.errors import ConfigError, ShapeError, UnknownNameError
from profuse.fusion import FUSIONS, Fused, Fusion, fusion
from profuse.kinds import KINDS, kind_named
from profuse.schema import Spec
from profuse.testing import ENCODER_CHECKS, FUSION_CHECKS, SLOW_CHECKS, ContractError, check_encoder, check_fusion
from profuse.tokens import Raw, Tokens

LINKS = ("softmax", "sigmoid", "identity")


def operators() -> list[tuple[str, str | None]]:
    """Every row of the table; an operator on decisions once for each link that it declares."""
    links = {name: getattr(fusion(name), "links", (None,)) for name in FUSIONS}
    return [(name, link) for name in FUSIONS for link in links[name]]


SLOW_CASES = set(product(("vit", "cnn", "audio_cnn", "patch", "gru", "tcn"), ("learns", "moved_is_known")))


def case(*values: Any) -> Any:
    marks = [pytest.mark.slow] if values[-1] in SLOW_CHECKS or values in SLOW_CASES else []
    return pytest.param(*values, marks=marks, id="-".join(str(v) for v in values if v is not None))


@pytest.mark.parametrize(
    ("name", "link", "check"), [case(name, link, c) for (name, link), c in product(operators(), FUSION_CHECKS)]
)
def test_the_operator_keeps_the_contract(name: str, link: str | None, check: str) -> None:
    cls: Any = fusion(name)
    check_fusion(cls if link is None else partial(cls, link=link), checks=[check])


UNDECLARED = [(name, link) for name in FUSIONS for link in LINKS if link not in getattr(fusion(name), "links", LINKS)]


@pytest.mark.parametrize(("name", "link"), UNDECLARED)
def test_a_link_that_is_not_declared_raises(name: str, link: str) -> None:
    cls: Any = fusion(name)
    with pytest.raises(ConfigError, match=f"^{cls.__name__}: link must be .*; got link='{link}'"):
        cls({"a": 3}, 3, link=link)


# -- encoders: a batch of each kind, as its preprocessor would make it


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def holes(n_positions: int) -> Tensor:
    """A mask of ten rows of all lengths; row 3 is missing, the last one is full."""
    lengths = torch.tensor([5, n_positions, 1, 0, 3, 7, 2, n_positions - 1, 4, n_positions])
    return torch.arange(n_positions) < lengths[:, None]


def sample(kind: str) -> tuple[Spec, Raw]:
    whole = torch.arange(10) != 3
    if kind == "table":
        bins = (-2.0, -0.5, 0.0, 0.5, 2.0)
        values = normal(10, 4)
        values[:, 2] = torch.arange(10) % 3
        mask = (normal(10, 4, seed=1) > -1) & whole[:, None]
        mask[:, 0] = whole
        return Spec(kind="table", cardinalities=(0, 0, 3, 0), edges=(bins, bins, (), bins)), Raw(values, mask)
    if kind == "text":
        ids = torch.randint(0, 50, (10, 12, 4), generator=torch.Generator().manual_seed(0))
        ids[:, :, 0] += ids[:, :, 0] == 0  # a word has at least one subword
        text = Raw(ids * holes(12)[..., None], holes(12))
        return Spec(kind="text", vocabulary=50, max_length=20, **counted(text, n_words=20, vocabulary=50)), text
    if kind == "image":
        return Spec(kind="image", n_channels=3, image_size=(16, 16)), Raw(normal(10, 3, 16, 16), whole)
    if kind == "audio":
        return Spec(kind="audio", n_channels=32, max_length=48), Raw(normal(10, 40, 32), holes(40))
    if kind == "series":
        return Spec(kind="series", n_channels=3, max_length=30), Raw(normal(10, 20, 3), holes(20))
    if kind == "vector":
        return Spec(kind="vector", n_channels=6), Raw(normal(10, 6), whole)
    made = preprocessor(kind_named(kind).preprocessor)()  # any other: its rows, as its preprocessor makes them
    data = from_tensors({"m": (kind, rows_of_kind(kind)[:10])}, presence={"m": whole.numpy()}).modalities["m"]
    made.fit(data)
    longer = {"max_length": made.spec.max_length + 10} if made.spec.max_length else {}  # there must be room for padding
    return made.spec.model_copy(update=longer), made.transform(data)


def sample_for(cls: type[Encoder]) -> tuple[Spec, Raw]:
    """What an encoder takes: of its kind, or as the preprocessor makes it without which it cannot be."""
    if cls.preprocess is None:
        return sample(cls.kind)
    assert cls.preprocess == "static", f"add a batch of the preprocessor {cls.preprocess!r}"
    pieces = torch.randint(1, 1 + N_PIECES, (10, 12, 1), generator=torch.Generator().manual_seed(0))
    text = Raw(pieces * holes(12)[..., None], holes(12))
    terms = counted(text, n_words=N_PIECES, vocabulary=1 + N_PIECES)
    return Spec(kind="text", vocabulary=1 + N_PIECES, max_length=20, **terms), text


@pytest.mark.parametrize(("name", "check"), [case(name, c) for name, c in product(ENCODERS, ENCODER_CHECKS)])
def test_the_encoder_keeps_the_contract(name: str, check: str) -> None:
    cls = encoder(name)
    spec, raw = sample_for(cls)
    check_encoder(cls, spec, raw, checks=[check])


@pytest.mark.parametrize("name", list(ENCODERS))
def test_the_encoder_takes_a_batch_without_rows(name: str) -> None:
    cls = encoder(name)
    spec, raw = sample_for(cls)
    made = cls.make(spec, 8, n_rows=100)
    for module in (made.train(), made.eval()):
        found = module(raw.rows(torch.arange(0)))
        assert found.values.shape[0] == 0
        assert found.values.shape[2] == 8


def test_there_is_an_encoder_for_every_kind() -> None:
    made = {kind: preprocessor(kind_named(kind).preprocessor).gives or kind for kind in KINDS.builtin}
    taken = {encoder(name).kind for name in ENCODERS}
    lacking = {kind: gives for kind, gives in made.items() if gives not in taken}
    assert not lacking, f"some encoder must take what the preprocessor of each kind gives; none takes {lacking}"
    assert taken <= {*made, *made.values()}, "an encoder's kind must be known, or given by a preprocessor"


@pytest.mark.slow
def test_the_collected_cases_are_operators_by_checks_and_encoders_by_checks() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", __file__]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]).stdout
    collected = {line.split("::")[1] for line in listed.splitlines() if "keeps_the_contract" in line}
    expected = {
        f"test_the_operator_keeps_the_contract[{'-'.join(filter(None, (*o, c)))}]"
        for o, c in product(operators(), FUSION_CHECKS)
    } | {f"test_the_encoder_keeps_the_contract[{e}-{c}]" for e, c in product(ENCODERS, ENCODER_CHECKS)}
    assert collected == expected
    assert len(collected) == len(operators()) * len(FUSION_CHECKS) + len(ENCODERS) * len(ENCODER_CHECKS)


# -- broken ones: each check rejects one that breaks just what it looks for


class Honest(Fusion):
    """h = sum over the present m of W_m mean_t x_mt.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        scale: Factor of the result.

    Reference:
        None: it exists to be broken.

    Example:
        >>> Honest({"a": 2}, 8)
        Honest({'a': 2}, 8, scale=1.0)
    """

    formula = "sum of W_m mean(x_m)"
    cost = "O(T d)"
    missing = "adds nothing"
    reference = "none"

    def __init__(self, channels: Mapping[str, int], width: int, *, scale: float = 1.0) -> None:
        super().__init__(channels, width)
        self.scale = scale
        self.maps = nn.ModuleList(nn.Linear(c, width, bias=False) for c in self.channels.values())

    def pool(self, tokens: Tokens) -> Tensor:
        return tokens.mean()

    def finish(self, x: Tensor) -> Tensor:
        return x

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        parts = [linear(self.pool(t)) for linear, t in zip(self.maps, tokens.values(), strict=True)]
        return Fused(self.finish(self.scale * torch.stack(parts).sum(0)))


class HonestEncoder(Encoder):
    """embed: a linear map of each step; mix: another one of what stands around each token, plus the mean of all.

    Args:
        spec: What the preprocessor says.
        width: Channels of the tokens.
    """

    kind = "series"

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__(spec, width)
        self.first = nn.Linear(spec.n_channels, width)
        self.around = nn.Conv1d(width, width, 7, padding=3)
        self.second = nn.Linear(width, width)
        self.n_linear = spec.n_channels

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> HonestEncoder:
        return cls(spec, width)

    def linear(self, raw: Raw) -> Tensor:
        return self.clean(raw).mean(1) / raw.mask.to(raw.values.dtype).mean(1, keepdim=True).clamp(min=1e-3)

    def clean(self, raw: Raw) -> Tensor:
        return raw.values.masked_fill(~raw.mask[..., None], 0.0)

    def pool(self, tokens: Tokens) -> Tensor:
        return tokens.mean()

    def finish(self, x: Tensor) -> Tensor:
        return x

    def embed(self, raw: Raw) -> Tokens:
        return Tokens(self.first(self.clean(raw)), raw.mask)

    def mix(self, tokens: Tokens) -> Tokens:
        around = self.around(tokens.zeroed().values.transpose(1, 2)).tanh().transpose(1, 2)
        return Tokens(self.finish(self.second(around + self.pool(tokens)[:, None])), tokens.mask)


class ForgetsTheType:
    def finish(self, x: Tensor) -> Tensor:
        return x.float()


class UsesTheDefaultDevice:
    def finish(self, x: Tensor) -> Tensor:
        return x + torch.zeros(x.shape[-1])


class CentresTheBatch:
    def finish(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class ScalesByTheBatch:
    def finish(self, x: Tensor) -> Tensor:
        return x / x.norm(dim=0).clamp(min=1e-3) if len(x) > 1 else x


class AveragesPadding:
    def pool(self, tokens: Tokens) -> Tensor:
        return tokens.values.mean(1)


class DividesByNothing:
    def pool(self, tokens: Tokens) -> Tensor:
        return tokens.values.sum(1) / tokens.mask.sum(1, keepdim=True)


class HoldsWhatItDoesNotUse:
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.idle = nn.Parameter(torch.zeros(3))


class HidesHalfOfTheGradient:
    def finish(self, x: Tensor) -> Tensor:
        return x + x.detach()


class HidesALayerInAList:
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.layers = [nn.Linear(8, 8)]

    def finish(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers[0](x)
        return y


class DropsInEval:
    def finish(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5, training=True)


class LosesPrecision:
    def finish(self, x: Tensor) -> Tensor:
        return (x + 1e6) - 1e6


class HasAnotherRepr:
    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class HoldsALambda:
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.function = lambda x: x


class HasNoDocstring:
    pass


class BranchesOnValues:
    def finish(self, x: Tensor) -> Tensor:
        return x if float(x.detach().sum()) > 0 else 2 * x


class WeighsTheMissing(Honest):
    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        return Fused(super().fuse(tokens).vector, weights={"even": torch.ones_like(self.present(tokens).float())})


class FavoursTheFirst(Honest):
    def forward(self, tokens: Mapping[str, Tokens]) -> Fused:
        fused = super().forward(tokens)
        return fused if next(iter(tokens)) == self.names[0] else Fused(2 * fused.vector)


class ChecksNothing(Honest):
    def forward(self, tokens: Mapping[str, Tokens]) -> Fused:
        return self.fuse({name: tokens[name].zeroed() for name in self.names if name in tokens})


class ReadsTheMasked(Honest):
    def forward(self, tokens: Mapping[str, Tokens]) -> Fused:
        fused = super().forward(tokens)
        return Fused(fused.vector + torch.stack([t.values.mean((1, 2)) for t in tokens.values()], 1).sum(1)[:, None])


class TakesFewerThanItDeclares(Honest):
    max_modalities = 5

    def __init__(self, channels: Mapping[str, int], width: int, *, scale: float = 1.0) -> None:
        super().__init__(dict(list(channels.items())[:4]), width, scale=scale)
        self.pairs = [(0, 1), (0, 2), (0, 3), (1, 2)][len(channels) - 1]


class ComparesRowsInSilence(Honest):
    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        vector = super().fuse(tokens).vector
        return Fused(vector, penalties={"alike": (vector @ vector.T).logsumexp(1).mean()})


class CallsAllReal(HonestEncoder):
    def mix(self, tokens: Tokens) -> Tokens:
        return Tokens(super().mix(tokens).values, torch.ones_like(tokens.mask))


class MixesWhatItHasEmbedded(HonestEncoder):
    def embed(self, raw: Raw) -> Tokens:
        self.kept = super().embed(raw)
        return self.kept

    def mix(self, tokens: Tokens) -> Tokens:
        return super().mix(self.kept)


class DoublesInASecondStage(HonestEncoder):
    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__(spec, width)
        self.stage_widths = (width, width)

    def mix_stages(self) -> Any:
        return (self.mix, lambda tokens: Tokens(2 * tokens.values, tokens.mask))


class TakesAnySize(HonestEncoder):
    def __init__(self, spec: Spec, width: int) -> None:
        nn.Module.__init__(self)
        self.spec, self.width, self.embed_width = spec, width, width
        self.first, self.second = nn.Linear(spec.n_channels, max(1, width)), nn.Linear(max(1, width), max(1, width))


class ReadsMaskedSteps(HonestEncoder):
    def mix(self, tokens: Tokens) -> Tokens:
        return Tokens(super().mix(tokens).values + self.leak, tokens.mask)

    def embed(self, raw: Raw) -> Tokens:
        self.leak = raw.values.mean()
        return super().embed(raw)


class SeesEachStepAlone(HonestEncoder):
    def mix(self, tokens: Tokens) -> Tokens:
        return Tokens(self.second(torch.relu(tokens.values)), tokens.mask)


class SeesTheWhole(HonestEncoder):
    """A perceptron of `n_seen` steps in a row, each with weights of its own."""

    def __init__(self, spec: Spec, width: int, n_seen: int | None = None) -> None:
        super().__init__(spec, width)
        self.n_seen = n_seen or spec.max_length
        self.first = nn.Linear(self.n_seen * spec.n_channels, width)

    def embed(self, raw: Raw) -> Tokens:
        steps = nn.functional.pad(self.clean(raw), (0, 0, 0, self.n_seen))[:, : self.n_seen]
        return Tokens.vector(torch.relu(self.first(steps.flatten(1))), raw.present)


class SeesTheFirstTwentySteps(SeesTheWhole):
    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__(spec, width, n_seen=20)


class DividesInLinearByNothing(HonestEncoder):
    def linear(self, raw: Raw) -> Tensor:
        return self.clean(raw).sum(1) / raw.mask.sum(1, keepdim=True)


class GivesMoreThanItDeclares(HonestEncoder):
    def linear(self, raw: Raw) -> Tensor:
        return torch.cat([super().linear(raw), raw.present.to(raw.values.dtype)[:, None]], dim=1)


class CentresTheBatchInLinear(HonestEncoder):
    def linear(self, raw: Raw) -> Tensor:
        return super().linear(raw) - super().linear(raw).mean(0)


class CountsPaddingInLinear(HonestEncoder):
    def linear(self, raw: Raw) -> Tensor:
        return self.clean(raw).mean(1)


class ReadsMaskedInLinear(HonestEncoder):
    def linear(self, raw: Raw) -> Tensor:
        return super().linear(raw) + (raw.values * ~raw.mask[..., None]).nan_to_num(0.0).sum(1)


class ChangesLinearInTraining(HonestEncoder):
    def linear(self, raw: Raw) -> Tensor:
        return nn.functional.dropout(super().linear(raw), 0.5, self.training)


class DrawsInLinear(HonestEncoder):
    def linear(self, raw: Raw) -> Tensor:
        return super().linear(raw) + 0 * torch.rand(1)


class DrawsAMatrixThatItForgets(HonestEncoder):
    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__(spec, width)
        self.turn = torch.randn(spec.n_channels, spec.n_channels)

    def linear(self, raw: Raw) -> Tensor:
        return super().linear(raw) @ self.turn.to(raw.values.dtype)


class TrainsWhatLinearGives(HonestEncoder):
    def linear(self, raw: Raw) -> Tensor:
        return super().linear(raw) * self.first.weight.mean()


class BranchesOnValuesInLinear(HonestEncoder):
    def linear(self, raw: Raw) -> Tensor:
        numbers = super().linear(raw)
        return numbers if float(numbers.sum()) > 0 else 2 * numbers


IN_BOTH: dict[str, type] = {
    "dtype": ForgetsTheType,
    "device": UsesTheDefaultDevice,
    "rows_independent": CentresTheBatch,
    "batch_of_one": ScalesByTheBatch,
    "padding_invisible": AveragesPadding,
    "all_missing_finite": DividesByNothing,
    "gradient_reaches_everything": HoldsWhatItDoesNotUse,
    "gradient_is_the_slope": HidesHalfOfTheGradient,
    "state_survives_saving": HidesALayerInAList,
    "eval_deterministic": DropsInEval,
    "float64_agrees": LosesPrecision,
    "repr_rebuilds": HasAnotherRepr,
    "copies_equal": HoldsALambda,
    "documented": HasNoDocstring,
    "exports": BranchesOnValues,
}
BROKEN_OPERATORS: dict[str, type[Fusion]] = {
    "shape": WeighsTheMissing,
    "dict_order_irrelevant": FavoursTheFirst,
    "wrong_inputs_raise": ChecksNothing,
    "limits_hold": TakesFewerThanItDeclares,
    "members_declared": ComparesRowsInSilence,
    "missing_content_ignored": ReadsTheMasked,
} | {check: type(fault.__name__, (fault, Honest), {}) for check, fault in IN_BOTH.items()}
BROKEN_ENCODERS: dict[str, type[Encoder]] = {
    "shape": CallsAllReal,
    "feedback_enters_between": MixesWhatItHasEmbedded,
    "stages_compose": DoublesInASecondStage,
    "wrong_sizes_raise": TakesAnySize,
    "linear_shape": DividesInLinearByNothing,
    "linear_rows_alone": CentresTheBatchInLinear,
    "linear_masked_ignored": CountsPaddingInLinear,
    "linear_deterministic": ChangesLinearInTraining,
    "linear_survives_saving": DrawsAMatrixThatItForgets,
    "linear_exports": BranchesOnValuesInLinear,
    "learns": SeesEachStepAlone,
    "moved_is_known": SeesTheWhole,
    "resolution_does_not_hurt": SeesTheFirstTwentySteps,
    "missing_content_ignored": ReadsMaskedSteps,
} | {check: type(fault.__name__, (fault, HonestEncoder), {}) for check, fault in IN_BOTH.items()}


def test_every_check_has_something_broken_that_it_must_reject() -> None:
    assert set(BROKEN_OPERATORS) == set(FUSION_CHECKS)
    assert set(BROKEN_ENCODERS) == set(ENCODER_CHECKS)


@pytest.mark.parametrize("check", [case(c) for c in BROKEN_OPERATORS])
def test_the_check_rejects_the_broken_operator(check: str) -> None:
    cls = BROKEN_OPERATORS[check]
    with pytest.raises(ContractError, match=f"^{cls.__name__}, {check}: "):
        check_fusion(cls, checks=[check])


@pytest.mark.parametrize("check", [case(c) for c in BROKEN_ENCODERS])
def test_the_check_rejects_the_broken_encoder(check: str) -> None:
    cls = BROKEN_ENCODERS[check]
    with pytest.raises(ContractError, match=f"^{cls.__name__}, {check}: "):
        check_encoder(cls, *sample("series"), checks=[check])


@pytest.mark.parametrize(
    ("cls", "check", "told"),
    [
        (GivesMoreThanItDeclares, "linear_shape", r"linear must give \[10, n_linear=3\]; got \(10, 4\)"),
        (ReadsMaskedInLinear, "linear_masked_ignored", "random values where the mask is False must not change"),
        (DrawsInLinear, "linear_deterministic", "must draw no random number"),
        (TrainsWhatLinearGives, "linear_survives_saving", "linear after training must not change"),
    ],
)
def test_a_check_of_the_linear_path_rejects_this_too(cls: type[Encoder], check: str, told: str) -> None:
    with pytest.raises(ContractError, match=f"^{cls.__name__}, {check}: .*{told}"):
        check_encoder(cls, *sample("series"), checks=[check])


@pytest.mark.parametrize("check", [case(c) for c in FUSION_CHECKS])
def test_the_honest_operator_passes(check: str) -> None:
    check_fusion(Honest, checks=[check])


@pytest.mark.parametrize("check", [case(c) for c in ENCODER_CHECKS])
def test_the_honest_encoder_passes(check: str) -> None:
    check_encoder(HonestEncoder, *sample("series"), checks=[check])


def test_checks_of_what_is_learned_train_an_encoder_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counts(HonestEncoder):
        steps: ClassVar[list[str]] = []

        def embed(self, raw: Raw) -> Tokens:
            self.steps.extend([type(self).__name__] if self.training else [])
            return super().embed(raw)

    class Other(Counts):
        """Of the same repr but for its name, and another class."""

    for name, value in {"_N_STEPS": 3, "_LEAST": 0.0, "_LOSS": 1.0}.items():
        monkeypatch.setattr(f"profuse.testing._learning_checks.{name}", value)
    Other.__name__ = "Counts"
    for n_trained, cls in enumerate((Counts, Other), start=1):
        for check in ("learns", "moved_is_known"):
            check_encoder(cls, *sample("series"), checks=[check])
            assert len(Counts.steps) == 3 * n_trained


# -- declared limitations, and the front of the checks


class Pair(Honest):
    __doc__ = Honest.__doc__
    min_modalities = 2
    max_modalities = 2


def test_an_operator_for_two_modalities_says_so_and_passes() -> None:
    check_fusion(Pair, checks=[c for c in FUSION_CHECKS if c not in SLOW_CHECKS and c != "documented"])


@pytest.mark.parametrize("n", [1, 3])
def test_a_declared_limit_raises(n: int) -> None:
    with pytest.raises(ValueError, match=rf"^Pair: at (least|most) 2 modalities must be given; got {n}"):
        Pair(dict.fromkeys("abc"[:n], 4), 8)


def test_all_faults_are_told_together() -> None:
    with pytest.raises(ContractError) as raised:
        check_fusion(BROKEN_OPERATORS["dtype"], checks=["dtype", "shape", "documented"])
    lines = str(raised.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["ForgetsTheType, dtype", "ForgetsTheType, documented"]


def test_an_unknown_check_is_told_with_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'shape'"):
        check_fusion(Honest, checks=["shapes"])


def test_a_batch_that_cannot_show_a_fault_is_refused() -> None:
    spec, raw = sample("vector")
    with pytest.raises(ShapeError, match="at least 8 rows, some of them missing"):
        check_encoder(encoder("mlp"), spec, raw.rows(torch.arange(3)))


def test_a_batch_that_cannot_be_padded_is_refused() -> None:
    spec, raw = sample("series")
    with pytest.raises(ShapeError, match="at least 5 positions shorter than max_length=20"):
        check_encoder(encoder("gru"), spec.model_copy(update={"max_length": 20}), raw)
