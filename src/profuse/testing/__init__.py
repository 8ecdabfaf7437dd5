"""The contract: what holds for every part of a kind, yours too.

    from profuse.testing import check_fusion
    check_fusion(MyFusion)                      # or checks=["padding_invisible"]

Each check is a function of `FUSION_CHECKS`, `ENCODER_CHECKS`, ... whose docstring says what must hold. Parameters are
perturbed first, so that a zero initialisation hides nothing, and inputs are perturbed with random values, never by
a constant, which a LayerNorm would remove. All faults are told together, by part and check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from profuse.encoders import Encoder
from profuse.errors import ConfigError, ShapeError
from profuse.fusion import Fusion
from profuse.schema import Spec
from profuse.testing import _encoder_checks, _fusion_checks, _learning_checks, _linear_checks, _module_checks
from profuse.testing._contract import run_checks
from profuse.testing._subject import N_PADDING, WIDTH, ContractError, Subject, random
from profuse.testing.balance import BALANCE_CHECKS, check_balance
from profuse.testing.classical import CLASSICAL_CHECKS, check_classical
from profuse.testing.dataset import DATASET_CHECKS, check_dataset
from profuse.testing.kind import KIND_CHECKS, check_kind
from profuse.testing.metric import METRIC_CHECKS, check_metric
from profuse.testing.question import QUESTION_CHECKS, check_question
from profuse.tokens import Raw, Tokens

__all__ = [
    "BALANCE_CHECKS",
    "CLASSICAL_CHECKS",
    "DATASET_CHECKS",
    "ENCODER_CHECKS",
    "FUSION_CHECKS",
    "KIND_CHECKS",
    "METRIC_CHECKS",
    "QUESTION_CHECKS",
    "SLOW_CHECKS",
    "ContractError",
    "check_balance",
    "check_classical",
    "check_dataset",
    "check_encoder",
    "check_fusion",
    "check_kind",
    "check_metric",
    "check_question",
]

Check = Callable[[Subject], None]

_BOTH: dict[str, Check] = {
    "dtype": _module_checks.dtype,
    "device": _module_checks.device,
    "rows_independent": _module_checks.rows_independent,
    "batch_of_one": _module_checks.batch_of_one,
    "padding_invisible": _module_checks.padding_invisible,
    "missing_content_ignored": _module_checks.missing_content_ignored,
    "all_missing_finite": _module_checks.all_missing_finite,
    "gradient_reaches_everything": _module_checks.gradient_reaches_everything,
    "gradient_is_the_slope": _module_checks.gradient_is_the_slope,
    "state_survives_saving": _module_checks.state_survives_saving,
    "eval_deterministic": _module_checks.eval_deterministic,
    "float64_agrees": _module_checks.float64_agrees,
    "repr_rebuilds": _module_checks.repr_rebuilds,
    "copies_equal": _module_checks.copies_equal,
    "documented": _module_checks.documented,
    "exports": _module_checks.exports,
}
FUSION_CHECKS: dict[str, Check] = {
    "shape": _fusion_checks.shape,
    "dict_order_irrelevant": _fusion_checks.dict_order_irrelevant,
    "wrong_inputs_raise": _fusion_checks.wrong_inputs_raise,
    "limits_hold": _fusion_checks.limits_hold,
    "members_declared": _fusion_checks.members_declared,
    **_BOTH,
}
ENCODER_CHECKS: dict[str, Check] = {
    "shape": _encoder_checks.shape,
    "feedback_enters_between": _encoder_checks.feedback_enters_between,
    "stages_compose": _encoder_checks.stages_compose,
    "wrong_sizes_raise": _encoder_checks.wrong_sizes_raise,
    "linear_shape": _linear_checks.linear_shape,
    "linear_rows_alone": _linear_checks.linear_rows_alone,
    "linear_masked_ignored": _linear_checks.linear_masked_ignored,
    "linear_deterministic": _linear_checks.linear_deterministic,
    "linear_survives_saving": _linear_checks.linear_survives_saving,
    "linear_exports": _linear_checks.linear_exports,
    "learns": _learning_checks.learns,
    "moved_is_known": _learning_checks.moved_is_known,
    "resolution_does_not_hurt": _learning_checks.resolution_does_not_hurt,
    **_BOTH,
}
SLOW_CHECKS = frozenset({"exports", "linear_exports", "resolution_does_not_hurt"})
"""Checks that take more than a few seconds each."""

# Names that are attributes of a Module, or hold a dot; lengths that differ; tokens of a feature operator.
_TOKENS = {"b.c": (12, 4), "type": (1, 3), "a": (7, 5), "d": (3, 2), "e": (2, 6)}


def check_fusion(
    make: Callable[[Mapping[str, int], int], Fusion], *, checks: Iterable[str] = tuple(FUSION_CHECKS)
) -> None:
    """Checks a fusion operator against the contract.

    Args:
        make: Its class, or a function `(channels, width)` that makes one (to set options).
        checks: Names of `FUSION_CHECKS`; all of them if not given.

    Raises:
        ContractError: A check failed; all failures are told.
        UnknownNameError: There is no such check.
    """
    widths = [dict.fromkeys(_TOKENS, WIDTH), {name: d for name, (_, d) in _TOKENS.items()}]

    def declare(n: int, own: bool = False) -> Fusion:
        return make(dict(list(widths[own].items())[:n]), WIDTH)

    n = next((n for n in (3, 2, 1, 4, 5) if _accepts(partial(declare, n))), 3)
    operator = declare(n)
    decision = operator.level == "decision"
    inputs = {}
    for i, (name, (n_tokens, n_channels)) in enumerate(list(_TOKENS.items())[:n]):
        n_tokens, n_channels = (1, WIDTH) if decision else (n_tokens, n_channels)
        mask = random(_N_ROWS, n_tokens, seed=10 + i) > -0.8  # some tokens are missing
        mask[:, 0] = True
        mask[[i, 4]] = False  # one row lacks this modality, row 4 lacks all
        inputs[name] = Tokens(random(_N_ROWS, n_tokens, n_channels, seed=20 + i), mask)
    run_checks(
        type(operator).__name__, Subject(partial(declare, n, not decision), inputs, declare), FUSION_CHECKS, checks
    )


def check_encoder(
    make: type[Encoder] | Callable[[Spec, int], Encoder],
    spec: Spec,
    raw: Raw,
    *,
    checks: Iterable[str] = tuple(ENCODER_CHECKS),
) -> None:
    """Checks an encoder against the contract.

    Args:
        make: Its class (made by `make` with the defaults for 1,000 rows), or a function `(spec, width)`.
        spec: What a preprocessor would tell of `raw`.
        raw: A batch of at least 8 rows of which some are missing, some positions too where the kind has any, and at
            least 5 positions shorter than `spec.max_length`, so that padding can be added, where it has positions.
        checks: Names of `ENCODER_CHECKS`; all of them if not given.

    Raises:
        ContractError: A check failed; all failures are told.
        ShapeError: `raw` has too few rows, or none that is missing, or none that is not, or is too long.
        UnknownNameError: There is no such check.
    """
    if len(raw) < _N_ROWS or bool(raw.present.all()) or not bool(raw.present.any()):
        raise ShapeError(
            f"check_encoder: raw must hold at least {_N_ROWS} rows, some of them missing and some not; "
            f"got {len(raw)}, {int((~raw.present).sum())} of them missing. Use Raw.without to make some missing."
        )
    if raw.mask.ndim == 2 and spec.max_length and raw.values.shape[1] + N_PADDING > spec.max_length:
        raise ShapeError(
            f"check_encoder: raw must be at least {N_PADDING} positions shorter than max_length={spec.max_length}, so "
            f"that padding can be added; got {raw.values.shape[1]} positions. Give a larger max_length."
        )

    def declare(width: int, spec: Spec = spec) -> Encoder:
        of_class: Callable[..., Encoder] | None = getattr(make, "make", None)
        return make(spec, width) if of_class is None else of_class(spec, width, n_rows=1000)

    subject = Subject(partial(declare, WIDTH), {"raw": raw}, declare, spec, partial(declare, 4 * WIDTH))
    run_checks(type(declare(WIDTH)).__name__, subject, ENCODER_CHECKS, checks)


_N_ROWS = 8


def _accepts(build: Callable[[], object]) -> bool:
    try:
        build()
    except ConfigError:
        return False
    return True
