"""What training takes, told when its first steps are timed, and how far it is, a line redrawn on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from profuse.training.callbacks import Callback
    from profuse.training.history import Epoch, History
    from profuse.training.keeping import Kept, Moment

__all__ = ["epoch_line", "kept_beside", "told_where_kept"]


def kept_beside(out: Path) -> Kept:
    """Returns what keeps the training of the model `out` in a file beside it, and tells where it goes on."""
    from profuse.cli._print import print_notes, say
    from profuse.report.numbers import duration
    from profuse.training.keeping import Kept

    def goes_on(moment: Moment) -> None:
        say(
            f"Goes on in epoch {moment.epoch}, after {moment.n_steps} of its steps and {duration(moment.seconds)} of "
            "training: it was stopped there",
            err=True,
        )

    whole = out.absolute()
    return Kept(
        whole.with_name(f".{whole.name}.training"),
        on_found=goes_on,
        on_note=lambda note: print_notes([note]),
        until_saved=True,
    )


@contextmanager
def told_where_kept(kept: Kept) -> Iterator[None]:
    """Tells, where training is interrupted or fails within, that it is kept."""
    from profuse.cli._print import say

    try:
        yield
    except BaseException as error:
        if kept.path.exists() and (kept.is_open or isinstance(error, KeyboardInterrupt)):
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
    from profuse.cli._print import counted, say
    from profuse.report.numbers import duration
    from profuse.training.callbacks import Callback

    class Told(Callback):
        """Tells what the fit takes."""

        def on_first_steps(self) -> None:
            if tells:
                say(
                    f"About {duration(self.seconds_likely)} left, {duration(self.seconds_left)} at most: up to "
                    f"{counted(self.n_epochs, 'epoch')} of {counted(self.n_steps, 'step')}",
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
                    f"about {duration(self.seconds_likely)} left"
                )

            def on_fit_end(self, history: History) -> None:
                then = f"training anew on all rows, about {duration(self.seconds_left)} left"
                status.update(then if self.seconds_left > 0 else "finishing")

        yield (Line(),)
    finally:
        status.stop()
