"""Time of a training step of Progressive Fusion against the number of rounds, beside the cost model.

    python benchmarks/speed/rounds.py --out results/speed

writes a table, its CSV and a picture. The cost model is `embed + R (mix + fusion) + (R - 1) feedback`. Its three parts
are timed alone, forward and backward, and the whole model for R = 1 to 8 and converged; nothing is fitted. Two
modalities of a kind are fused by `concat`, in float32, on one thread. `trunk` is a user's own network, as large as a
pretrained one would be, in place of `embed`: feedback comes after it. `wrapped` is a module of a user's own with small
layers, so that what the wrapper takes beside them shows. Feedback is at zero, where the search for the converged state
takes the least rounds there are. Time is the least of the repetitions, which other work on the machine disturbs least;
parts and rounds take turns.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from profuse.encoders import Encoder
from profuse.encoders.own import OwnEncoder
from profuse.models.build import build_model
from profuse.models.fusion_model import FusionModel
from profuse.models.options import ModelOptions
from profuse.progressive import ProgressiveFusion, Rounds
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

ROUNDS = tuple(range(1, 9))
IMAGE = Spec(kind="image", n_channels=3, image_size=(64, 64))
SERIES = Spec(kind="series", n_channels=8, max_length=128)


class Trunk(nn.Module):
    """A convolutional network of five layers, picture to vector."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (3, 32, 64, 96, 128, 128)
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes):
            layers += [nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found


def own(branch: str, width: int) -> dict[str, Encoder]:
    """Returns the encoders that no name makes."""
    if branch != "trunk":
        return {}
    example = Raw(torch.zeros(2, 3, *IMAGE.image_size), torch.ones(2, dtype=torch.bool))
    return {name: OwnEncoder.around(Trunk(), IMAGE, width, example=example, name=name) for name in ("a", "b")}


class Late(nn.Module):
    """A late fusion of two vectors as anybody would write it; the stems lie below the feedback."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stems = nn.ModuleDict({name: nn.Linear(64, width) for name in ("a", "b")})
        self.branches = nn.ModuleDict({name: nn.Linear(width, width) for name in ("a", "b")})
        self.fusion, self.head = nn.Linear(2 * width, width), nn.Linear(width, 10)

    def below(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        """Returns what feedback changes."""
        return {"a": self.stems["a"](a), "b": self.stems["b"](b)}

    def above(self, z: Mapping[str, Tensor]) -> Tensor:
        """Returns the outputs."""
        fused = self.fusion(torch.cat([self.branches[name](x).relu() for name, x in z.items()], 1))
        outputs: Tensor = self.head(fused.relu())
        return outputs

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.above(self.below(a, b))


BRANCHES = {"CNN": (IMAGE, "cnn"), "GRU": (SERIES, "gru"), "Transformer": (SERIES, "patch"), "trunk": (IMAGE, "cnn")}
WRAPPED = "wrapped"


def build(branch: str, width: int) -> FusionModel:
    """Returns a plain model in training mode, without dropout."""
    spec, name = BRANCHES[branch]
    options = ModelOptions(
        fusion="concat", width=width, dropout=0.0, unimodal_loss_weight=0.0, encoders=dict.fromkeys(("a", "b"), name)
    )
    model = build_model(
        {"a": spec, "b": spec}, "multiclass", 10, options, n_rows=10_000, seed=0, encoders=own(branch, width)
    )
    assert isinstance(model, FusionModel)
    return model.train()


def inputs(branch: str, n_rows: int) -> dict[str, Raw]:
    """Returns a random batch."""
    spec = BRANCHES[branch][0]
    image = spec.kind == "image"
    shape = (n_rows, spec.n_channels, *spec.image_size) if image else (n_rows, spec.max_length, spec.n_channels)
    mask = torch.ones(shape[:1] if image else shape[:2], dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    return {name: Raw(torch.randn(shape, generator=generator), mask) for name in ("a", "b")}


def total(tokens: Mapping[str, Tokens]) -> Tensor:
    """Returns one number, for the way back."""
    return torch.stack([t.values.square().mean() for t in tokens.values()]).sum()


def jobs(branch: str, n_rows: int, width: int) -> dict[str, Callable[[], None]]:
    """Returns what is timed: the parts by name, the whole model by its rounds."""
    model = build(branch, width)
    batch, target = inputs(branch, n_rows), torch.zeros(n_rows, dtype=torch.long)
    progressive = ProgressiveFusion(model, rounds=2)
    leaves = {n: Tokens(t.values.detach().requires_grad_(), t.mask) for n, t in model.embed(batch).items()}
    state = torch.randn(n_rows, model.state_width, requires_grad=True)

    def embed() -> None:
        total(model.embed(batch)).backward()

    def rest() -> None:
        model.loss(model.finish(leaves, linear={}), target).backward()

    def feedback() -> None:
        pairs = zip(progressive.into, progressive.feedbacks, strict=True)
        total({name: back(leaves[name], state) for name, back in pairs}).backward()

    def whole(n_rounds: Rounds) -> Callable[[], None]:
        def run() -> None:
            progressive.rounds = n_rounds
            progressive.loss(progressive(batch), target).backward()

        return run

    return {"embed": embed, "mix + fusion": rest, "feedback": feedback} | all_of(whole)


def wrapped_jobs(n_rows: int, width: int) -> dict[str, Callable[[], None]]:
    """Returns the same of a module of a user's own."""
    torch.manual_seed(0)
    module, batch = Late(width), (torch.randn(n_rows, 64), torch.randn(n_rows, 64))
    into = {"a": "branches.a", "b": "branches.b"}
    progressive = ProgressiveFusion.wrap(module, into=into, state="fusion", example=batch, reuse=["stems.a", "stems.b"])
    leaves = {name: x.detach().requires_grad_() for name, x in module.below(*batch).items()}
    state = torch.randn(n_rows, width, requires_grad=True)

    def embed() -> None:
        torch.stack([x.square().mean() for x in module.below(*batch).values()]).sum().backward()

    def rest() -> None:
        module.above(leaves).square().mean().backward()

    def feedback() -> None:
        pairs = zip(leaves.items(), progressive.feedbacks.values(), strict=True)
        total({name: back(Tokens.vector(x), state) for (name, x), back in pairs}).backward()

    def whole(n_rounds: Rounds) -> Callable[[], None]:
        def run() -> None:
            progressive.rounds = n_rounds
            progressive(*batch).square().mean().backward()

        return run

    return {"embed": embed, "mix + fusion": rest, "feedback": feedback} | all_of(whole)


def all_of(whole: Callable[[Rounds], Callable[[], None]]) -> dict[str, Callable[[], None]]:
    """Returns the whole model with each number of rounds, and converged."""
    return {f"R = {r}": whole(r) for r in ROUNDS} | {"converged": whole("equilibrium")}


def measure(branch: str, *, n_rows: int, width: int, n_repeats: int) -> dict[str, float]:
    """Returns milliseconds by what was timed."""
    asked = wrapped_jobs(n_rows, width) if branch == WRAPPED else jobs(branch, n_rows, width)
    seconds: dict[str, list[float]] = {name: [] for name in asked}
    for repeat in range(n_repeats + 1):
        for name, job in asked.items():
            start = time.perf_counter()
            job()
            if repeat:  # the first one warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: 1e3 * min(s) for name, s in seconds.items()}


def said(found: Mapping[str, float], n_rounds: int) -> float:
    """Returns what the cost model says, milliseconds."""
    return found["embed"] + n_rounds * found["mix + fusion"] + (n_rounds - 1) * found["feedback"]


def rows(branch: str, found: Mapping[str, float]) -> list[dict[str, Any]]:
    """Returns a row for each number of rounds."""
    parts = {name: found[name] for name in ("embed", "mix + fusion", "feedback")}
    return [
        {"branch": branch, "rounds": r, "ms": found[f"R = {r}"], "model_ms": said(found, r)}
        | {"all_again_ms": said(found, r) + (r - 1) * found["embed"]}
        | {f"{name} ms": value for name, value in parts.items()}
        | {"converged ms": found["converged"]}
        for r in ROUNDS
    ]


def table(found: list[dict[str, Any]]) -> str:
    """Returns the Markdown table: measured and, in parentheses, what the cost model says."""
    heads = [
        "branches",
        "embed",
        "mix + fusion",
        "feedback",
        *(f"R = {r}" for r in ROUNDS),
        "R = 2 to R = 1",
        "converged",
    ]
    lines = []
    for branch in dict.fromkeys(row["branch"] for row in found):
        mine = {row["rounds"]: row for row in found if row["branch"] == branch}
        parts = [f"{mine[1][f'{name} ms']:.2f}" for name in ("embed", "mix + fusion", "feedback")]
        cells = [f"{row['ms']:.2f} ({row['model_ms']:.2f})" for row in mine.values()]
        cells += [f"{mine[2]['ms'] / mine[1]['ms']:.2f}", f"{mine[1]['converged ms']:.2f}"]
        lines.append("| " + " | ".join([branch, *parts, *cells]) + " |")
    return "\n".join(["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *lines]) + "\n"


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Draws measured times, the cost model, and what it would cost to run everything in each round."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    branches = list(dict.fromkeys(row["branch"] for row in found))
    figure, axes = pyplot.subplots(1, len(branches), figsize=(3.4 * len(branches), 3.6), squeeze=False)
    for axis, branch in zip(axes[0], branches, strict=True):
        mine = [row for row in found if row["branch"] == branch]
        x = [row["rounds"] for row in mine]
        axis.plot(x, [row["all_again_ms"] for row in mine], ":", color="0.6", label="if embed ran in every round")
        axis.plot(x, [row["model_ms"] for row in mine], "-", color="C0", label="cost model")
        axis.plot(x, [row["ms"] for row in mine], "o", color="C1", label="measured")
        axis.set_title(f"{branch} branches")
        axis.set_xlabel("rounds R")
        axis.set_ylim(bottom=0)
    axes[0][0].set_ylabel("milliseconds a training step")
    axes[0][0].legend(fontsize=8, frameon=False)
    figure.suptitle("Progressive Fusion: time of a step = embed + R (mix + fusion) + (R - 1) feedback", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measures and writes `rounds.csv`, `rounds.md`, `rounds.png`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=32, help="rows a batch (32)")
    parser.add_argument("--width", type=int, default=64, help="channels (64)")
    parser.add_argument("--repeats", type=int, default=15, help="repetitions (15)")
    parser.add_argument("--out", type=Path, default=Path("results/speed"), help="folder (results/speed)")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = []
    for branch in (*BRANCHES, WRAPPED):
        found += rows(branch, measure(branch, n_rows=asked.rows, width=asked.width, n_repeats=asked.repeats))
        print(f"{branch:12s} R = 8: {found[-1]['ms']:.2f} ms, cost model {found[-1]['model_ms']:.2f} ms", flush=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    with (asked.out / "rounds.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    (asked.out / "rounds.md").write_text(table(found), encoding="utf-8")
    draw(found, asked.out / "rounds.png")
    print(asked.out / "rounds.md")


if __name__ == "__main__":
    main()
