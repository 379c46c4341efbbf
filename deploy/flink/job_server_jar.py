"""Makes Beam's job server one jar, for --flink_job_server_jar, of those in a directory.

    python deploy/flink/job_server_jar.py JARS_DIR OUTPUT.jar

It only names them, so they have to stay where they are.
"""

import pathlib
import sys
import zipfile

_MAIN_CLASS = "org.apache.beam.runners.flink.FlinkJobServerDriver"
# Longest line of a manifest, without its end.
_LINE_BYTES = 70


def make(jars_dir: pathlib.Path, output: pathlib.Path) -> None:
    """Writes the jar.

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
    """Returns a line of a manifest as its first line and those that continue it."""
    first, rest = line[:_LINE_BYTES], line[_LINE_BYTES:]
    step = _LINE_BYTES - 1
    return [first, *(f" {rest[at : at + step]}" for at in range(0, len(rest), step))]


if __name__ == "__main__":
    make(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
