"""Regenerates the golden files; README.md says when that is allowed.

    python -m tests.golden.make_golden

The result depends on the machine and the release, and README.md names both.
"""

import json
import pathlib
import shutil
import tarfile

from tests.golden import golden_commands as golden
from tests.golden import golden_flags

# A run records the path of its dataset, so use a path that any machine could have.
WORK = pathlib.Path("/tmp/golden")
# Every resume redraws this file, and it is the largest file of a run.
_LEFT_OUT = ("curves.png",)


def main() -> None:
    """Makes all files in `WORK`, and copies them here."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    faces = WORK / "faces"
    golden.run("pipeline.synthesize", f"--output={faces}", "--num_images=20")
    found: dict[str, object] = {}
    for name, flags in golden.PREPARED.items():
        golden.prepare(flags, faces, WORK / name)
        found[f"records-{name}"] = golden.hashes(golden.records(WORK / name))
    printed = golden.prepare(golden.PREPARED_FLOAT32, faces, WORK / "float32")
    found["dataset_float32"] = {"digest": printed.split()[-1]}
    for name in golden.TRAINED:
        golden.train(name, WORK, WORK / f"whole-{name}", golden.ENDED_AT)
        found[f"metrics-{name}"] = golden.metrics(WORK / f"whole-{name}")
        golden.train(name, WORK, WORK / name, golden.STOPPED_AT)
        found[f"arrays-{name}"] = golden.hashes(
            golden.arrays(WORK / name, golden.STOPPED_AT)
        )
    export = WORK / "export"
    golden.run("trainer.export", f"--workdir={WORK / 'run'}", f"--output={export}")
    golden.encode(export, WORK / "dataset", WORK / "latents")
    found["records-latents"] = golden.hashes(golden.records(WORK / "latents"))
    copied = ("faces", *golden.PREPARED, *golden.TRAINED, "latents")
    for name in copied:
        shutil.rmtree(golden.HERE / name, ignore_errors=True)
        ignore = shutil.ignore_patterns(*_LEFT_OUT)
        shutil.copytree(WORK / name, golden.HERE / name, ignore=ignore)
    with tarfile.open(golden.HERE / "export.tar.xz", "w:xz") as archive:
        archive.add(export, "export")
    shutil.rmtree(golden.EXPECTED, ignore_errors=True)
    golden.EXPECTED.mkdir()
    found["evaluation"] = golden.evaluate(WORK / "run", WORK)
    for mode, file in golden.GENERATED.items():
        golden.generate(WORK / "run", WORK / "dataset", mode)
        shutil.copy(WORK / "run/generated" / file, golden.EXPECTED / file)
    found["flags"] = {
        name: golden_flags.flags_of(name) for name in golden_flags.MODULES
    }
    found["configs"] = golden_flags.configs()
    for name, body in found.items():
        text = json.dumps(body, indent=1, sort_keys=True) + "\n"
        (golden.EXPECTED / f"{name}.json").write_text(text)
    shutil.rmtree(WORK)


if __name__ == "__main__":
    main()
