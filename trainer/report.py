"""Writes runs as one HTML page, which opens without a network and without a server.

    python -m trainer.report --workdir=RUN
    python -m trainer.report --workdir=RUN --output=FILE.html
    python -m trainer.report --workdir=RUN,OTHER           to compare
    python -m trainer.report --workdir=SWEEP               compares all of its runs

The command reads only the files of the workdirs, at any time of the training. Exit
codes: 0 done; 1 a flag or a file is wrong.
"""

import pathlib

from pipeline.process import entry, path_flags
from trainer.cli import command_line

_WORKDIR = path_flags.define(
    "workdir",
    None,
    "Directory of a run or of a sweep; separate several directories by commas.",
    required=True,
)
_OUTPUT = path_flags.define(
    "output",
    None,
    "File to write; by default report.html in the workdir, or comparison.html in the "
    "first of several workdirs.",
)


def main(argv: list[str]) -> None:
    """Runs the command."""
    del argv
    from trainer.reporting import workdirs
    from trainer.reporting.html import page

    try:
        paths = workdirs.split(_WORKDIR.value)
        name = "report.html" if len(paths) == 1 else "comparison.html"
        output = pathlib.Path(_OUTPUT.value or paths[0] / name)
        if output.is_dir() or not output.name.endswith((".html", ".htm")):
            raise ValueError(
                f"--output={output} must be a file name that ends in .html"
            )
        page.check_output(output)
        runs = workdirs.runs_of(paths)
        if len(runs) > 1:
            page.write_comparison(runs, output)
        else:
            page.write(*runs.values(), output)
    except (ValueError, OSError) as error:
        entry.fail(error)
    print(f"written to {output}")


if __name__ == "__main__":
    entry.run(main, flags_parser=command_line.parse_flags)
