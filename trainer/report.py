"""Writes a run as one HTML page, which opens without a network and without a server.

    python -m trainer.report --workdir=RUN
    python -m trainer.report --workdir=RUN --output=FILE.html

The command reads only the files of the workdir, at any time of the training. Exit
codes: 0 done; 1 a flag or a file is wrong.
"""

import pathlib

from pipeline.process import entry, path_flags
from trainer.cli import command_line

_WORKDIR = path_flags.define("workdir", None, "Directory of the run.", required=True)
_OUTPUT = path_flags.define(
    "output", None, "File to write; by default report.html in the workdir."
)


def main(argv: list[str]) -> None:
    """Runs the command."""
    del argv
    from trainer.reporting.html import page

    directory = pathlib.Path(_WORKDIR.value)
    output = pathlib.Path(_OUTPUT.value or directory / "report.html")
    try:
        if output.is_dir() or not output.name.endswith((".html", ".htm")):
            raise ValueError(
                f"--output={output} must be a file name that ends in .html"
            )
        page.check_output(output)
        page.write(directory, output)
    except (ValueError, OSError) as error:
        entry.fail(error)
    print(f"written to {output}")


if __name__ == "__main__":
    entry.run(main, flags_parser=command_line.parse_flags)
