"""A factory of realistic results: seeds and rows vary as in a real comparison, all from one generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from profuse.comparison.results import (
    Ablation,
    Confusion,
    CurvePoint,
    DatasetFacts,
    Machine,
    MethodInfo,
    ModalityFacts,
    Residuals,
    Results,
    Score,
    Skipped,
)

SCRIPTS = [
    "Latin",
    "Arabic",
    "Greek",
    "Cyrillic",
    "Georgian",
    "Armenian",
    "Hebrew",
    "Tifinagh",
    "Lisu",
    "Coptic",
    "Thai",
    "Lao",
]
KINDS = ["image", "text", "series", "table", "audio", "vector", "table"]


def make_results(
    *,
    task: str = "multiclass",
    modalities: Sequence[str] = ("picture", "text", "outline"),
    n_seeds: int = 3,
    n_test: int = 500,
    n_classes: int = 12,
    gain: float = 0.08,
    by_hand: float | None = None,
    classical: float = -0.02,
    rounds: Sequence[int] = (2,),
    many: bool = True,
    full: bool = True,
    resampled: bool = True,
    rows: bool = True,
    valid: bool = True,
    groups: bool = True,
    name: str = "glyphs",
    seed: int = 0,
) -> Results:
    """Returns results in which the best fusion is `gain` above the best single modality, `classical` above that."""
    rng = np.random.default_rng(seed)
    regression = task == "regression"
    metric = "r2" if regression else "macro_f1" if task == "multilabel" else "accuracy"
    others = {"regression": ["mse", "rmse", "mae"], "multilabel": ["exact_match", "micro_f1"]}.get(
        task, ["macro_f1", "log_loss", "auroc", "ece"]
    )
    top = 0.86 if not regression else 0.72
    methods = [
        (MethodInfo(name="trivial", role="trivial", family="none", level="none"), -0.004 if regression else 0.41)
    ]
    for k, m in enumerate(modalities):
        info = MethodInfo(
            name=f"{m} only", role="single", family="single", level="single", fusion=f"{m} only", modalities=[m]
        )
        methods.append((info, top - (0 if k == 1 else 0.06 + 0.05 * k)))
        if by_hand is not None:
            hand = MethodInfo(name=f"{m} classical", role="single", family="classical", level="single", modalities=[m])
            methods.append((hand, methods[-1][1] + by_hand))
    everything = list(modalities)
    if len(modalities) > 1:
        fused = [("concat", "encoder_decoder", "feature", 0.01), ("mean_logits", "encoder_decoder", "decision", 0.02)]
        fused += [("hybrid concat", "encoder_decoder", "hybrid", 0.0)]
        if many:
            fused += [("gated", "encoder_decoder", "feature", 0.012), ("product", "encoder_decoder", "feature", 0.05)]
            fused += [
                ("attention_pooling", "attention", "feature", 0.006),
                ("token_transformer", "attention", "feature", 0.004),
            ]
            fused += [("product_of_experts", "encoder_decoder", "decision", 0.018)]
        for f, family, level, below in fused:
            role = "baseline" if f in ("concat", "mean_logits", "hybrid concat") else "fusion"
            base = {"family": family, "level": level, "fusion": f, "modalities": everything}
            info = MethodInfo(
                name=f, label=f.replace("_", " "), role=role, default=f == "hybrid concat" and not regression, **base
            )
            methods.append((info, top + gain - below))
            if level != "decision":
                for r in rounds:
                    label = f"progressive ({r} rounds) {f.replace('_', ' ')}"
                    info = MethodInfo(
                        name=f"progressive ({r} rounds) {f}", label=label, role="fusion", rounds=r, **base
                    )
                    methods.append((info, top + gain - below + rng.normal(0, 0.006)))
    for k, c in enumerate(("gradient_boosting", "linear")):
        info = MethodInfo(
            name=c, label=c.replace("_", " "), role="classical", family="classical", level="raw", modalities=everything
        )
        methods.append((info, top + gain + classical - 0.03 * k))

    results = Results(
        dataset=DatasetFacts(
            name=name, task=task, target_names=["script"] if not regression else ["PM2.5"],
            classes=[] if regression else [f"{SCRIPTS[k % 12]} {k // 12 or ''}".strip() for k in range(n_classes)],
            n_rows=5 * n_test, n_train=3 * n_test, n_valid=n_test, n_test=n_test, split="random by character, 60/20/20",
            group="character" if groups else "", notes=["3 pictures could not be read and count as missing."],
            modalities={
                m: ModalityFacts(kind=KINDS[k % 7], present_fraction=1 - 0.03 * k, shape="32 x 32 pixels, 1 channel")
                for k, m in enumerate(modalities)
            },
        ),
        config={"seeds": n_seeds, "train": {"epochs": 60, "learning_rate": 0.002}, "fusions": ["gated", "product"]},
        machine=Machine(python="3.11.9", platform="Linux", cpu_count=2, versions={"profuse": "0.1", "torch": "2.13"}),
        created="2026-01-02T03:04:05+00:00",
        methods=[m for m, _ in methods],
        skipped=[Skipped(method="vote", reason="needs at least 3 modalities; there are 2")] if full else [],
    )  # fmt: skip
    ease = rng.normal(0, 1, 5 * n_test)
    for s in range(n_seeds):
        ids = rng.permutation(5 * n_test)[:n_test] if resampled else np.arange(n_test)
        for info, level_ in methods:
            wave = rng.normal(0, 1, n_test) + ease[ids] + rng.normal(0, 0.03)
            if regression:
                values = 1 - (1 - level_) * np.exp(wave * 0.5 - 0.25)
            else:
                values = (wave < np.sqrt(2) * _normal_quantile(level_)).astype(float)
            if rows:
                results.add_rows(info.name, s, values, ids=ids, groups=ids // 3 if groups else None)
            assert isinstance(info.rounds, int)
            n_rounds = info.rounds
            cost = (
                {"trivial": 0.01, "single": 9.0, "classical": 4.0}.get(info.role, 16.0)
                * n_rounds
                * rng.uniform(0.8, 1.5)
            )
            deep = info.role != "trivial" and info.family != "classical"
            common: dict[str, Any] = {
                "dataset": name, "method": info.name, "family": info.family, "level": info.level,
                "rounds": info.rounds, "seed": s, "n_rows": n_test, "fit_seconds": cost,
                "predict_rows_per_second": rng.uniform(5e3, 5e4),
                "n_parameters": 60_000 * (1 + len(info.modalities)) * n_rounds if deep else 0,
            }  # fmt: skip
            results.scores.append(Score(split="test", metric=metric, value=float(values.mean()), **common))
            if valid:
                shown = float(level_ + rng.normal(0, 0.006))
                results.scores.append(Score(split="valid", metric=metric, value=shown, **common))
            for other in others if full else []:
                results.scores.append(
                    Score(split="test", metric=other, value=float(abs(values.mean() - 0.02)), **common)
                )
            if full and deep:
                for epoch in range(int(rng.integers(14, 40))):
                    fall = np.exp(-epoch / 6)
                    results.curves.append(
                        CurvePoint(
                            method=info.name, seed=s, epoch=epoch, train_loss=0.1 + 2 * fall, valid_score=1 - fall,
                            train_eval_loss=0.2 + 1.9 * fall if epoch % 3 < 2 else None,
                            valid_loss=0.3 + 1.9 * fall + 0.004 * epoch + rng.uniform(0, 0.05),
                        )
                    )  # fmt: skip
    if full:
        _add_errors(results, [m for m, _ in methods if m.role != "trivial"], n_classes, rng, regression)
        if len(modalities) > 1:
            for k, m in enumerate(modalities):
                for s in range(n_seeds):
                    without = top + gain - max(0.01, 0.25 - 0.09 * k) + rng.normal(0, 0.01)
                    results.ablation.append(
                        Ablation(
                            method="hybrid concat",
                            modality=m,
                            seed=s,
                            metric=metric,
                            full=top + gain,
                            without=without,
                        )
                    )
    return results


def _normal_quantile(p: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(min(max(p, 0.01), 0.99))


def _add_errors(
    results: Results, methods: Sequence[MethodInfo], n_classes: int, rng: np.random.Generator, regression: bool
) -> None:
    for info in methods:
        if regression:
            true = rng.gamma(2.0, 40.0, 400)
            predicted = true + rng.normal(0, 18, 400)
            results.residuals.append(
                Residuals(method=info.name, target="PM2.5", true=true.tolist(), predicted=predicted.tolist())
            )
        elif results.dataset.task != "multilabel":
            counts = rng.poisson(1.2, (n_classes, n_classes)) * (rng.random((n_classes, n_classes)) < 0.4)
            counts[np.diag_indices(n_classes)] = rng.integers(40, 160, n_classes)
            results.confusion.append(Confusion(method=info.name, counts=counts.tolist()))


@pytest.fixture(scope="session")
def example() -> Callable[..., Results]:
    """`make_results`: importlib mode lets tests share it only as a fixture."""
    return make_results
