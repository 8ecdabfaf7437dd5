"""Whether a part that was made of a saved state keeps just that state."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["unlike"]


def unlike(given: Any, kept: Any, where: str) -> str | None:
    """Returns where a saved state differs from that of the parts made of it; what they keep besides is new."""
    if isinstance(kept, np.ndarray) or isinstance(given, np.ndarray):
        one, other = np.asarray(given), np.asarray(kept)
        same = one.shape == other.shape and np.array_equal(one, other)
        return None if same else where
    if isinstance(given, dict) and isinstance(kept, dict):
        pairs = [(value, kept.get(str(k), kept.get(k, _NOTHING)), f"{where}.{k}") for k, value in given.items()]
    elif isinstance(given, list | tuple) and isinstance(kept, list | tuple) and len(given) == len(kept):
        pairs = [(*both, f"{where}.{i}") for i, both in enumerate(zip(given, kept, strict=True))]
    else:
        return None if given == kept and isinstance(given, bool) == isinstance(kept, bool) else where
    return next((odd for pair in pairs if (odd := unlike(*pair)) is not None), None)


_NOTHING = object()
