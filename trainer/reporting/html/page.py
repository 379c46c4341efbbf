"""A run, or several runs, as one self-contained HTML page."""

import pathlib
import statistics
from collections.abc import Mapping

from pipeline.storage import files
from trainer.reporting.html import (
    cards,
    comparison,
    figures,
    in_words,
    rendering,
    run_files,
    tables,
    texts,
)
from trainer.reporting.html.run_files import RunFiles
from trainer.reporting.html.texts import number
from trainer.runs import flagship, settings
from trainer.system import atomic_files

# Number of grids in the row of samples over time.
_NUM_SAMPLES = 6


def check_output(output: pathlib.Path) -> None:
    """Checks that the output is a new file or an earlier page, which may be replaced.

    Raises:
        ValueError: If another file is there.
        OSError: If the existing file cannot be read.
    """
    if output.exists() and rendering.FOOTER.encode() not in output.read_bytes():
        raise ValueError(
            f"output={output} exists, and trainer.report did not write it: give "
            "another name"
        )


def write(directory: pathlib.Path, output: pathlib.Path) -> None:
    """Writes the page of a run.

    Args:
        directory: Workdir of the run; a trainer may still be writing to it.
        output: File of the page, written atomically; its directory is created.

    Raises:
        ValueError: If the directory is no workdir, its config.json or dataset.json is
            damaged, or the page cannot be written.
        OSError: If a file cannot be read.
    """
    _write(output, render(run_files.read(directory, _NUM_SAMPLES)))


def write_comparison(
    workdirs: Mapping[str, pathlib.Path], output: pathlib.Path
) -> None:
    """Writes the page that compares several runs.

    Args:
        workdirs: Workdirs of two or more runs by name.
        output: As in `write`.

    Raises:
        ValueError: As in `write`.
        OSError: If a file cannot be read.
    """
    runs = {name: run_files.read(path, 0) for name, path in workdirs.items()}
    _write(output, comparison.render(runs))


def _write(output: pathlib.Path, text: str) -> None:
    try:
        files.make_directory(output.parent)
        # Names in JSON may hold lone surrogates, which UTF-8 cannot encode.
        atomic_files.write(output, text.encode("utf-8", "replace"))
    except OSError as error:
        raise ValueError(
            f"output={output} cannot be written ({error.strerror}): choose another "
            "`output`"
        ) from error


def render(run: RunFiles) -> str:
    """Returns the HTML text of the page of a run.

    Args:
        run: Files of the run; any part may be missing.
    """
    curves, course = cards.curves([run]), cards.course([run])
    return rendering.render(
        "page.html",
        title=f"{run.name} on {run.dataset_name}",
        run=run,
        sentences=in_words.describe(run),
        tiles=_tiles(run),
        figures=figures.newest(run),
        generated=figures.generated(run),
        curves=cards.make(run, curves),
        course=cards.make(run, course),
        constants=cards.constants(run, [*curves, *course]),
        metrics=tables.metrics(run, [*curves, *course]),
        scores=tables.scores({"": run}),
        changed=flagship.changes(run.config),
        flagship=flagship.NAME,
        settings=settings.flatten(run.config),
        dataset=tables.dataset(run),
        provenance=tables.provenance(run),
        footer=rendering.FOOTER,
    )


def _tiles(run: RunFiles) -> list[tuple[str, str, str]]:
    """Returns title, value and note of the key figures."""
    target = run.target_step
    note = f"of {number(target)}" if target is not None else "so far"
    tiles = [("steps", number(run.step), note)]
    batch_size = run.config.get("global_batch_size")
    if run_files.is_number(batch_size):
        seen = number(run.step * batch_size)
        tiles.append(("images seen", seen, f"{batch_size} per step"))
    for title, line in (
        ("last ELBO", run.last_evaluation),
        ("best ELBO", run.best_evaluation),
    ):
        if line:
            where = f"{line['split']}, step {number(line['step'])}"
            tiles.append((title, number(line["elbo"]), where))
    if run.busy_secs is not None:
        at_work = texts.duration(run.busy_secs)
        tiles.append(("time at work", at_work, "without pauses"))
    for name, title, unit in (
        ("images_per_second", "speed", " img/s"),
        ("data_wait_percent", "waiting for data", " %"),
    ):
        values = run_files.recent(run.metrics, name)
        if values:
            text = f"{number(statistics.median(values))}{unit}"
            tiles.append((title, text, f"median of {len(values)} lines"))
    return tiles
