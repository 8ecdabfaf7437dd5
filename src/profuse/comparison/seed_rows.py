"""`SeedRows`: what the test rows of a seed add to scores, and what the shown model says of them: `rows.npz`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np

from profuse._files import check_size, read_source
from profuse.errors import DataError

__all__ = ["Outputs", "SeedRows", "arrays_of", "rows_of", "storable"]


@dataclass(eq=False)
class Outputs:
    """What a method says of test rows, and what is true.

    Attributes:
        true: `[row]` codes of classes, or `[row, target]` numbers.
        said: `[row]` probabilities of the second of two classes; of more classes `[row, 2]`, the code of the class that
            is answered and its probability; or `[row, target]` numbers.
    """

    true: np.ndarray
    said: np.ndarray


@dataclass(eq=False)
class SeedRows:
    """The test rows of one seed, and what each adds to each method's score, by the metric that counts.

    Attributes:
        ids: `[row]` of int or str: names of the rows, the same for every seed that shares them.
        groups: `[row]`, or None: rows with one value are not independent.
        scores: Method to `[row]`, whose mean is the score: `profuse.metrics.row_scores`.
        log_errors: Method to `[row]`, of a regression: `profuse.metrics.log_error_scores`, where finite.
        outputs: Method to what it says, of the method that a report shows.
    """

    ids: np.ndarray
    groups: np.ndarray | None = None
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    log_errors: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: dict[str, Outputs] = field(default_factory=dict)


def storable(values: np.ndarray | Sequence[object]) -> np.ndarray:
    """Returns integers as they are and all else as text, so that no pickle is needed."""
    array = np.asarray(values)
    return array.astype(np.int64) if array.dtype.kind in "iu" else np.asarray([str(v) for v in values], dtype=np.str_)


def arrays_of(seed: int, rows: SeedRows) -> dict[str, np.ndarray]:
    """Returns the arrays of one seed by their names in the file."""
    arrays = {f"ids_{seed}": rows.ids, f"methods_{seed}": np.asarray(list(rows.scores), dtype=np.str_)}
    arrays[f"scores_{seed}"] = np.stack(list(rows.scores.values()))
    if rows.log_errors:
        arrays[f"log_methods_{seed}"] = np.asarray(list(rows.log_errors), dtype=np.str_)
        arrays[f"log_errors_{seed}"] = np.stack(list(rows.log_errors.values()))
    if rows.groups is not None:
        arrays[f"groups_{seed}"] = rows.groups
    for method, outputs in rows.outputs.items():
        shown = {"method": np.asarray(method, dtype=np.str_), "true": outputs.true, "said": outputs.said}
        arrays |= {f"shown_{what}_{seed}": array for what, array in shown.items()}
    return arrays


def rows_of(path: Path) -> dict[int, SeedRows]:
    """Reads `rows.npz`.

    Raises:
        DataError: It is damaged.
    """
    try:
        with np.load(BytesIO(read_source(path)), allow_pickle=False) as file:
            check_size(sum(part.file_size for part in file.zip.infolist()))
            results = {}
            for seed in sorted(int(k.removeprefix("ids_")) for k in file.files if k.startswith("ids_")):
                scores = dict(zip(file[f"methods_{seed}"].tolist(), file[f"scores_{seed}"], strict=True))
                groups = file[f"groups_{seed}"] if f"groups_{seed}" in file.files else None
                results[seed] = SeedRows(file[f"ids_{seed}"], groups, scores)
                if f"log_methods_{seed}" in file.files:
                    names = file[f"log_methods_{seed}"].tolist()
                    results[seed].log_errors = dict(zip(names, file[f"log_errors_{seed}"], strict=True))
                if f"shown_method_{seed}" in file.files:
                    true, said = file[f"shown_true_{seed}"], file[f"shown_said_{seed}"]
                    if not len(true) == len(said) == len(results[seed].ids):
                        raise ValueError(f"predictions of {len(said)} rows of {len(results[seed].ids)}")
                    results[seed].outputs[str(file[f"shown_method_{seed}"])] = Outputs(true, said)
            return results
    except Exception as error:  # a damaged archive fails in a dozen ways
        raise DataError(
            f"Results.read: {path} must be arrays that profuse wrote; got {error}. Run it again."
        ) from error
