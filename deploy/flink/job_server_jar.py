"""Makes one jar for --flink_job_server_jar from a directory of Beam's job server.

    python deploy/flink/job_server_jar.py JARS_DIR OUTPUT.jar

The new jar only refers to the jars of the directory, so they must stay in their place.
"""

import pathlib
import sys
import zipfile

_MAIN_CLASS = "org.apache.beam.runners.flink.FlinkJobServerDriver"
# Longest line of a jar manifest in bytes, without the line end.
_LINE_BYTES = 70


def make(jars_dir: pathlib.Path, output: pathlib.Path) -> None:
    """Writes a jar that names every jar of a directory on its class path.

    Raises:
        ValueError: If the directory has no jars.
    """
    jars = sorted(jars_dir.resolve().rglob("*.jar"))
    if not jars:
        raise ValueError(f"no jars in {jars_dir}")
    names = " ".join(jar.as_uri() for jar in jars)
    lines = [
        "Manifest-Version: 1.0",
        f"Main-Class: {_MAIN_CLASS}",
        *_folded(f"Class-Path: {names}"),
    ]
    with zipfile.ZipFile(output, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "\r\n".join(lines) + "\r\n\r\n")


def _folded(line: str) -> list[str]:
    """Returns a manifest line, folded into a first line and its continuation lines."""
    first, rest = line[:_LINE_BYTES], line[_LINE_BYTES:]
    step = _LINE_BYTES - 1
    return [first, *(f" {rest[at : at + step]}" for at in range(0, len(rest), step))]


if __name__ == "__main__":
    make(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
