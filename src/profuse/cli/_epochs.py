"""How far training is: one line that is redrawn, on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from profuse.training.callbacks import Callback
    from profuse.training.history import Epoch

__all__ = ["epoch_line"]


@contextmanager
def epoch_line(console: Console) -> Iterator[tuple[Callback, ...]]:
    """Gives the callback that shows each epoch on a terminal; none elsewhere."""
    if not console.is_terminal or console.is_dumb_terminal:
        yield ()
        return
    from profuse.training.callbacks import Callback

    with console.status("preparing") as status:

        class Line(Callback):
            """Redraws the line."""

            def on_epoch_end(self, epoch: Epoch) -> None:
                status.update(
                    f"epoch {epoch.epoch} of at most {self.n_epochs}: training loss {epoch.train_loss:.4f}, "
                    f"validation loss {epoch.valid_loss:.4f}, validation {self.model.unit} {epoch.valid_score:.3f}"
                )

        yield (Line(),)
