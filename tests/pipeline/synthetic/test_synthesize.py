import pathlib
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).parents[3]


def synthesize(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.synthesize", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_command_writes_the_dataset(tmp_path: pathlib.Path):
    result = synthesize(
        f"--output={tmp_path}", "--num_images=5", "--seed=2", "--num_workers=1"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert "5/5" in result.stderr
    with zipfile.ZipFile(tmp_path / "img_align_celeba.zip") as archive:
        assert len(archive.infolist()) == 5


def test_mistake_is_one_line(tmp_path: pathlib.Path):
    result = synthesize(f"--output={tmp_path}", "--num_images=2")
    assert result.returncode == 1
    assert result.stderr == (
        "error: --num_images=2 must be at least 3, one image for each split\n"
    )


def test_output_is_required():
    result = synthesize("--num_images=5")
    assert result.returncode != 0
    assert "--output" in result.stderr


def test_pipeline_tools_are_not_imported():
    code = (
        "import sys, pipeline.synthetic.layout; "
        "print([m for m in ('apache_beam', 'tensorflow') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[]"
