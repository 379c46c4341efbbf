"""Writes docs/reference.md: every flag of every command, and every setting.

python -m tests.reference
"""

import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

from configs import celeba
from tests.pages import ROOT

PAGE = ROOT / "docs/reference.md"
COMMANDS = (
    *("pipeline.synthesize", "pipeline.prepare", "pipeline.verify", "pipeline.encode"),
    *("trainer.doctor", "trainer.train", "trainer.launch", "trainer.sweep"),
    *("trainer.evaluate", "trainer.generate", "trainer.export"),
    *("trainer.tensorboard", "trainer.report"),
)
HEAD = """# Reference

Every flag of every command, and every setting of a config file, with its default. This
page is made from the code: `python -m tests.reference`.

## Commands

`--config.NAME=VALUE` changes a setting of the config file. Beam's own flags pass
through `pipeline.prepare` and `pipeline.encode`.
"""
SETTINGS = """
## Settings

The defaults are the values in `configs/celeba.py`. Another config file begins with them
and changes some.
"""
_SETTING = re.compile(r"    config\.(\w+) = ")
# The default of --num_workers is the machine's number of cores.
_NUM_CORES = re.compile(r"(--num_workers=.*?default:\s+)\d+", re.DOTALL)


def help_of(command: str) -> str:
    """Returns the `--help` of a command, as on a machine with one core."""
    done = subprocess.run(
        [sys.executable, "-m", command, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return _NUM_CORES.sub(r"\g<1>1", done.stdout).strip()


def settings() -> Iterator[tuple[str, str, str]]:
    """Yields group, name and meaning of every setting, from the config's comments."""
    group, comment = "Every run", ""
    source = pathlib.Path(celeba.__file__).read_text()
    for block in source.split("config = ConfigDict()\n")[1].split("\n\n"):
        lines = block.splitlines()
        if not any(map(_SETTING.match, lines)):
            group = block.strip().removeprefix("# ")
            continue
        for line in lines:
            if line.startswith("    # "):
                comment = f"{comment} {line.strip().removeprefix('# ')}".strip()
            elif match := _SETTING.match(line):
                yield group, match[1], comment
                comment = ""


def text() -> str:
    """Returns the page."""
    parts = [HEAD]
    for command in COMMANDS:
        parts.append(f"\n### {command}\n\n```text\n{help_of(command)}\n```\n")
    parts.append(SETTINGS)
    defaults = celeba.get_config()
    last = ""
    for group, name, meaning in settings():
        if group != last:
            parts.append(
                f"\n### {group}\n\n| setting | default | meaning |\n|---|---|---|\n"
            )
            last = group
        value = defaults[name]
        default = value.to_dict() if hasattr(value, "to_dict") else value
        parts.append(
            f"| `{name}` | `{default!r}` | {meaning.replace('|', chr(92) + '|')} |\n"
        )
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
