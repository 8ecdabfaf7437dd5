"""Time and memory of every fusion operator as modalities and tokens grow: a table, its CSV, and a picture.

    python benchmarks/speed/operators.py --out results/speed
    python benchmarks/speed/operators.py --operators concat mult --out results/speed

A step is forward and backward of one batch in float32 on one thread. Time is the median of the repetitions, with what
all operators share (making inputs) left out. Memory is what autograd keeps for the backward pass, counted exactly: it
does not depend on the machine. The exponents are those of the last doubling: 1 is linear growth, 2 quadratic.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from profuse.errors import ConfigError
from profuse.fusion import FUSIONS, DecisionFusion, Fusion, fusion
from profuse.tokens import Tokens

MODALITIES = (2, 3, 6, 12)
TOKENS = (1, 8, 64, 256, 512)
N_TOKENS_FIXED, N_MODALITIES_FIXED = 16, 3


def build(cls: type[Fusion], n_modalities: int, width: int) -> Fusion | None:
    """Returns the operator, or None where it does not take so many modalities."""
    try:
        return cls({f"m{i:02}": width for i in range(n_modalities)}, width)
    except ConfigError:
        return None


def inputs(operator: Fusion, n_tokens: int, n_rows: int) -> dict[str, Tokens]:
    """Returns random tokens, a tenth of them masked."""
    generator = torch.Generator().manual_seed(0)
    made = {}
    for name, channels in operator.channels.items():
        mask = torch.rand(n_rows, n_tokens, generator=generator) >= 0.1
        mask[:, 0] = True
        values = torch.randn(n_rows, n_tokens, channels, generator=generator, requires_grad=True)
        made[name] = Tokens(values, mask)
    return made


def step(operator: Fusion, tokens: dict[str, Tokens]) -> None:
    """Forward and backward."""
    fused = operator(tokens)
    torch.stack([fused.vector.square().mean(), *fused.penalties.values()]).sum().backward()


def measure(operator: Fusion, n_tokens: int, n_rows: int, n_repeats: int) -> dict[str, float]:
    """Returns milliseconds a step and mebibytes kept for the backward pass."""
    tokens = inputs(operator, n_tokens, n_rows)
    if operator.n_remembered:
        with torch.no_grad():
            operator.eval().remember(inputs(operator, n_tokens, operator.n_remembered))
    operator.train()
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        step(operator, tokens)
    seconds = []
    for _ in range(n_repeats):
        start = time.perf_counter()
        step(operator, tokens)
        seconds.append(time.perf_counter() - start)
    return {"ms": 1e3 * statistics.median(seconds), "mib": sum(kept.values()) / 2**20}


def exponent(rows: Sequence[dict[str, Any]], axis: str, what: str) -> float:
    """Returns the growth of `what` over the last step of `axis`, as an exponent."""
    if len(rows) < 2:
        return math.nan
    one, two = rows[-2:]
    return math.log(two[what] / one[what]) / math.log(two[axis] / one[axis])


def run(names: Sequence[str], *, n_rows: int, width: int, n_repeats: int) -> list[dict[str, Any]]:
    """Measures the operators over both axes."""
    found = []
    for name in names:
        cls = fusion(name)
        decision = issubclass(cls, DecisionFusion)
        points = [(m, 1 if decision else N_TOKENS_FIXED, "modalities") for m in MODALITIES]
        points += [] if decision else [(N_MODALITIES_FIXED, t, "tokens") for t in TOKENS]
        for n_modalities, n_tokens, axis in points:
            operator = build(cls, n_modalities, 8 if decision else width)
            if operator is None and axis == "tokens":
                operator = build(cls, n_modalities := cls.max_modalities or n_modalities, width)
            if operator is None:
                continue
            n_parameters = sum(p.numel() for p in operator.parameters())
            row = {"operator": name, "axis": axis, "modalities": n_modalities, "tokens": n_tokens}
            found.append(row | {"parameters": n_parameters} | measure(operator, n_tokens, n_rows, n_repeats))
        last = found[-1]
        print(f"{name:24s} {last['ms']:9.1f} ms {last['mib']:9.1f} MiB at the last point", flush=True)
    return found


def table(found: Sequence[dict[str, Any]]) -> str:
    """Returns the Markdown table: a row an operator, the slowest first."""
    lines = []
    for name in dict.fromkeys(row["operator"] for row in found):
        by = {a: [r for r in found if r["operator"] == name and r["axis"] == a] for a in ("modalities", "tokens")}
        cells = [f"`{name}`", f"`{fusion(name).cost}`"]
        for axis in ("modalities", "tokens"):
            rows = by[axis]
            if not rows:
                cells += ["-"] * 4
                continue
            cells += [f"{rows[0]['ms']:.1f}, {rows[-1]['ms']:.1f}", f"{rows[0]['mib']:.1f}, {rows[-1]['mib']:.1f}"]
            cells += [f"{exponent(rows, axis, what):.1f}" for what in ("ms", "mib")]
        slowest = max(r["ms"] for r in by["tokens"] or by["modalities"])
        lines.append((slowest, "| " + " | ".join(cells) + " |"))
    heads = ["operator", "cost a row, as its page says"]
    for axis, ends in (("modalities", f"{MODALITIES[0]}, most"), ("tokens", f"{TOKENS[0]}, {TOKENS[-1]}")):
        heads += [f"ms at {ends} {axis}", f"MiB at {ends} {axis}", f"growth in {axis}: time", "memory"]
    ordered = [line for _, line in sorted(lines, reverse=True)]
    return "\n".join(["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *ordered]) + "\n"


def draw(found: Sequence[dict[str, Any]], path: Path) -> None:
    """Draws time and memory against tokens, a line an operator, a panel a family."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [r for r in found if r["axis"] == "tokens"]
    families = list(dict.fromkeys(fusion(r["operator"]).family() for r in rows))
    figure, axes = pyplot.subplots(
        2, len(families), figsize=(3 * len(families), 9), sharex=True, sharey="row", squeeze=False
    )
    for column, family in enumerate(families):
        members = list(dict.fromkeys(r["operator"] for r in rows if fusion(r["operator"]).family() == family))
        for i, name in enumerate(members):
            mine = [r for r in rows if r["operator"] == name]
            for line, what in enumerate(("ms", "mib")):
                axes[line][column].loglog(
                    [r["tokens"] for r in mine], [r[what] for r in mine],
                    marker="osv^D"[i // 10 % 5], markersize=3, color=f"C{i % 10}", label=name,
                )  # fmt: skip
        axes[0][column].set_title(family.replace("_", "-"))
        axes[1][column].set_xlabel("tokens a modality")
        ticks = (1, 8, 64, 512)
        axes[1][column].set_xticks(ticks, map(str, ticks))
        axes[1][column].minorticks_off()
        axes[1][column].legend(fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.17), frameon=False)
    axes[0][0].set_ylabel("milliseconds a step")
    axes[1][0].set_ylabel("MiB kept for the backward pass")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measures and writes `operators.csv`, `operators.md`, `operators.png`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operators", nargs="+", default=list(FUSIONS), help="names; all of them if not given")
    parser.add_argument("--rows", type=int, default=32, help="rows a batch (32)")
    parser.add_argument("--width", type=int, default=64, help="channels (64)")
    parser.add_argument("--repeats", type=int, default=5, help="repetitions (5)")
    parser.add_argument("--out", type=Path, default=Path("results/speed"), help="folder (results/speed)")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = run(asked.operators, n_rows=asked.rows, width=asked.width, n_repeats=asked.repeats)
    asked.out.mkdir(parents=True, exist_ok=True)
    with (asked.out / "operators.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    (asked.out / "operators.md").write_text(table(found), encoding="utf-8")
    draw(found, asked.out / "operators.png")
    print(f"{asked.out / 'operators.md'}")


if __name__ == "__main__":
    main()
