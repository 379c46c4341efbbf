"""Arguments in texts of errors, as commands and callers of the library show them."""

import multiprocessing

import pytest
from absl import flags

from pipeline import contract
from pipeline.jobs import runners
from pipeline.process import arguments, entry

# Flags of a command, and whether each is a switch.
FLAGS = {"config": False, "input": False, "output": False, "overwrite": True}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("input=x is empty", "--input=x is empty"),
        ("give another `output`", "give another --output"),
        ("give `overwrite=True`", "give --overwrite"),
        ("`overwrite` is ignored", "--overwrite is ignored"),
        ("give `output=gs://a b/c`", "give --output=gs://a b/c"),
        ("config.seed=-1 must be", "--config.seed=-1 must be"),
        ("raise `config.seed`", "raise --config.seed"),
        ("`config.a.b_c` and config.d.e=1", "--config.a.b_c and --config.d.e=1"),
        ("set config.show_strip=True", "set --config.show_strip=True"),
        ("set `config.show_strip=True`", "set --config.show_strip=True"),
        (
            "output=a is input=a (input=b, output=c): give `overwrite=True` or `input`",
            "--output=a is --input=a (--input=b, --output=c): give --overwrite or "
            "--input",
        ),
        (
            "Make the same call again, or make the same call with `output`",
            "Run the same command again, or run the same command with --output",
        ),
        ("leave the argument out", "leave the flag out"),
    ],
)
def test_arguments_become_flags(text: str, expected: str) -> None:
    assert arguments.as_flags(text, FLAGS) == expected
    assert arguments.as_flags(expected, FLAGS) == expected


@pytest.mark.parametrize(
    "text",
    [
        # Names that are no flags of the command.
        "`name` and label=7 and `label=7` and `seed`",
        "the output is an input of config.json",
        # Paths, words and values that look alike.
        "/data/input=a/output=b.png",
        "./input=a ../output=b ~/output=c a\\output=d file:input=e",
        "my_input=a re-input=b my.input=c where=input=d x,input=e",
        "'input=a' \"input=b\" {input} `input",
        "a call of Settings(input=3)",
        "`unshare --net` and `input files`",
        "--input=a and --config.seed=1",
        "config. and /etc/config.seed=1",
    ],
)
def test_other_texts_stay(text: str) -> None:
    assert arguments.as_flags(text, FLAGS) == text


def test_flags_of_other_commands_are_marked_by_backticks() -> None:
    text = "prepare it with `overwrite=True` and `image_size`, not image_size=3"
    assert arguments.as_flags(text, {}) == (
        "prepare it with --overwrite and --image_size, not image_size=3"
    )


def test_a_command_knows_the_flags_of_its_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = flags.FlagValues()
    flags.DEFINE_string("shelf", None, "A shelf.", flag_values=values)
    flags.DEFINE_bool("tidy", False, "Tidies.", flag_values=values)
    monkeypatch.setattr(flags, "FLAGS", values)
    text = "shelf=3 is full: give `tidy=True` or another `shelf`, not `room` or room=1"
    expected = "--shelf=3 is full: give --tidy or another --shelf, not `room` or room=1"
    assert arguments.in_command(text) == expected
    with pytest.raises(SystemExit, match=f"^error: {expected}$"):
        entry.fail(ValueError(text))
    assert str(entry.refusal(text)) == f"error: {expected} (--help shows all flags)"


def raise_in_worker() -> None:
    raise contract.DatasetError("output=x is full: give `overwrite=True`")


def test_a_text_of_a_worker_keeps_its_marks() -> None:
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(1) as pool, pytest.raises(contract.DatasetError) as raised:
        pool.apply(raise_in_worker)
    # Beam passes the text on inside a traceback.
    traceback = f"pipeline.contract.DatasetError: {raised.value} [while running 'A-7']"
    text = runners.dataset_error_text(RuntimeError(traceback))
    assert text == "output=x is full: give `overwrite=True`"
    assert arguments.as_flags(text, FLAGS) == "--output=x is full: give --overwrite"


def test_a_call_names_its_own_arguments() -> None:
    text = "workdir=x of `workdir`, `workdir=y`, my/workdir=z, `dataset`, the workdir"
    assert arguments.renamed(text, {"workdir": "path"}) == (
        "path=x of `path`, `path=y`, my/workdir=z, `dataset`, the workdir"
    )
