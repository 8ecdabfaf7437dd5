"""What training takes, told when its first steps are timed, and how far it is, a line redrawn on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from profuse.training.callbacks import Callback
    from profuse.training.history import Epoch
    from profuse.training.keeping import Kept, Moment

__all__ = ["epoch_line", "kept_beside", "told_where_kept"]


def kept_beside(out: Path) -> Kept:
    """Returns what keeps the training of the model `out` in a file beside it, and tells where it goes on."""
    from profuse.cli._print import print_notes, say
    from profuse.report.numbers import duration
    from profuse.training.keeping import Kept

    def found(moment: Moment) -> None:
        say(
            f"Goes on in epoch {moment.epoch}, after {moment.n_steps} of its steps and {duration(moment.seconds)} of "
            "training: it was stopped there",
            err=True,
        )

    whole = out.absolute()
    return Kept(
        whole.with_name(f".{whole.name}.training"),
        on_found=found,
        on_note=lambda note: print_notes([note]),
        until_saved=True,
    )


@contextmanager
def told_where_kept(kept: Kept) -> Iterator[None]:
    """Tells, where training is interrupted within, that it is kept."""
    from profuse.cli._print import say

    try:
        yield
    except KeyboardInterrupt:
        if kept.path.exists():
            say(f"The training is kept in {kept.path}: the same command goes on from there", err=True)
        raise


@contextmanager
def epoch_line(console: Console, *, tells: bool = False, reads: bool = False) -> Iterator[tuple[Callback, ...]]:
    """Gives the callback that shows each epoch on a terminal.

    Args:
        console: Where to.
        tells: Whether to tell on a line, on a terminal or not, what the training takes, once its first steps are timed.
        reads: Whether rows are read within, which has a display of its own: the line then begins with training.
    """
    from profuse.cli._print import say
    from profuse.report.numbers import duration
    from profuse.training.callbacks import Callback

    class Told(Callback):
        """Tells what the fit takes."""

        def on_first_steps(self) -> None:
            if tells:
                say(
                    f"About {duration(self.seconds_left)} at most: {self.n_epochs} epochs of {self.n_steps} steps",
                    err=True,
                )

    if not console.is_terminal or console.is_dumb_terminal:
        yield (Told(),)
        return
    status = console.status("preparing" if not reads else "first epoch")
    if not reads:
        status.start()
    try:

        class Line(Told):
            """Redraws the line."""

            def on_fit_start(self) -> None:
                status.start()

            def on_epoch_end(self, epoch: Epoch) -> None:
                status.update(
                    f"epoch {epoch.epoch} of at most {self.n_epochs}: training loss {epoch.train_loss:.4f}, "
                    f"validation loss {epoch.valid_loss:.4f}, validation {self.model.unit} {epoch.valid_score:.3f}; "
                    f"{duration(self.seconds_left)} left at most"
                )

        yield (Line(),)
    finally:
        status.stop()
