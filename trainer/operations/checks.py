"""Runs all preflight checks, even after one fails."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator


class DoubtError(Exception):
    """A finding that may or may not be intended; the text is for the user."""


@dataclasses.dataclass(frozen=True)
class Check:
    """A preflight check.

    Attributes:
        name: Name of the setting, file or machine that is checked.
        run: Function that does the check. It returns a description if all is well,
            raises `DoubtError` for a warning, and ValueError or OSError for a failure.
        needs: Names of earlier checks that must not fail before this one runs.
        argument: Argument that selects the checked object, shown with the finding.
    """

    name: str
    run: Callable[[], str]
    needs: tuple[str, ...] = ()
    argument: str = ""


@dataclasses.dataclass(frozen=True)
class Finding:
    """Result of a check.

    Attributes:
        status: Outcome: `ok`, `warn` or `fail`.
        check: Check that gave this result.
        text: Description or error message.
    """

    status: str
    check: Check
    text: str

    def __str__(self) -> str:
        """Returns the finding as one line of text."""
        argument = f" ({self.check.argument})" if self.check.argument else ""
        text = " ".join(self.text.split())
        return f"{self.status:<4} {self.check.name}{argument}: {text}"


def make_all(checks: Iterable[Check]) -> Iterator[Finding]:
    """Runs the checks in order and yields the finding of each check at once.

    A check does not run if a check that it needs has failed or did not run; its
    finding says so.

    Example:
        >>> first = Check("a", lambda: str(int("x")))
        >>> for finding in make_all([first, Check("b", lambda: "", needs=("a",))]):
        ...     print(finding)
        fail a: invalid literal for int() with base 10: 'x'
        warn b: skipped, because a failed or was skipped
    """
    sound = set()
    for check in checks:
        missing = [name for name in check.needs if name not in sound]
        if missing:
            text = f"skipped, because {', '.join(missing)} failed or was "
            yield Finding("warn", check, f"{text}skipped")
            continue
        try:
            finding = Finding("ok", check, check.run())
        except DoubtError as doubt:
            finding = Finding("warn", check, str(doubt))
        except (ValueError, OSError) as error:
            finding = Finding("fail", check, str(error))
        if finding.status != "fail":
            sound.add(check.name)
        yield finding
