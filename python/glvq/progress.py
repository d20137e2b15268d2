"""The progress bar of everything that takes more than a few seconds."""

from __future__ import annotations

from contextlib import contextmanager


@contextmanager
def progress_bar(enabled: bool, description: str, total: float):
    """Shows a bar on standard error and yields ``advance(steps, description=None)``."""
    if not enabled:
        yield lambda steps, description=None: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda steps, description=None: bar.update(task, advance=steps, description=description)
