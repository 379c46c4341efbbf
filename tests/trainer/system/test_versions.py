"""Compares installed versions with allowed versions."""

import importlib.metadata

import pytest
from packaging.requirements import Requirement

from trainer.system import versions


def install(monkeypatch: pytest.MonkeyPatch, **installed: str) -> None:
    """Makes exactly these packages appear installed, in these versions."""

    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(importlib.metadata, "version", version)


@pytest.mark.parametrize(
    ("version", "is_allowed"),
    [("2.20.0", False), ("2.21.0", True), ("2.22.0rc1", True), ("3.0", False)],
)
def test_a_version_that_is_not_allowed_is_named(
    version: str, is_allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, tensorboard=version)
    actual = versions.outside(
        [Requirement("tensorboard>=2.21,<3"), Requirement("tqdm")]
    )
    named = [f"tensorboard {version} (pip install 'tensorboard<3,>=2.21')"]
    assert actual == ([] if is_allowed else named)


def test_a_clone_is_compared_with_its_setup(monkeypatch) -> None:
    monkeypatch.setattr(versions, "_PACKAGE", "none-such")
    names = [one.name for one in versions.required()]
    assert {"tensorflow", "keras", "tensorboard"} <= set(names)
    num = len(names)
    assert versions.check() == (
        f"packages with a version that setup.py allows: {num} of {num}"
    )
    install(monkeypatch, keras="3.11.0", tensorboard="2.20.0")
    with pytest.raises(
        ValueError, match=r"keras 3\.11\.0 .*, tensorboard 2\.20\.0 .*pip"
    ):
        versions.check()


def test_an_import_that_fails_names_the_version(monkeypatch) -> None:
    error = ModuleNotFoundError("No module named 'pkg_resources'")
    install(monkeypatch, tensorboard="2.20.0")
    assert versions.import_error("tensorboard", error) == (
        "tensorboard cannot be imported (No module named 'pkg_resources'); setup.py "
        "does not allow its version: tensorboard 2.20.0 (pip install "
        "'tensorboard>=2.21')"
    )
    install(monkeypatch)
    assert versions.import_error("tensorboard", error) == (
        "tensorboard cannot be imported (No module named 'pkg_resources'): install "
        "the package again with pip"
    )
