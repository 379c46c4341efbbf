"""Pictures of the page with their captions."""

import dataclasses

from trainer.reporting import tags
from trainer.reporting.html.pictures import Picture
from trainer.reporting.html.run_files import RunFiles
from trainer.reporting.html.texts import number

# Titles of the grids in the order of the page; other grids follow.
_TITLES = {
    "reconstruction": "Reconstructions",
    "samples/sampled": "Samples",
    "samples/interpolated": "Interpolation",
    "latents/traversed": "Traversals",
    "samples/neighbours": "Nearest training images",
    "latents/scatter": "Latents",
    "dataset/overview": "Dataset",
}
_STILL = "dataset/overview"


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture with its caption.

    Attributes:
        picture: The picture.
        title: Title of this kind of picture.
        note: Step of the picture; empty if it never changes.
        text: Explanation of its content; may be empty.
    """

    picture: Picture
    title: str
    note: str
    text: str


def newest(run: RunFiles) -> list[Figure]:
    """Returns the newest grid of each kind, in the order of the page."""
    known = list(_TITLES)
    ordered = sorted(
        run.pictures,
        key=lambda each: (
            known.index(each.name) if each.name in known else len(known),
            each.name,
        ),
    )
    return [
        Figure(
            picture,
            _TITLES.get(picture.name, picture.name),
            "" if picture.name == _STILL else f"step {number(picture.step)}",
            tags.of_picture(picture.name).description,
        )
        for picture in ordered
    ]


def generated(run: RunFiles) -> list[Figure]:
    """Returns the pictures that trainer.generate wrote, by name of the file."""
    return [Figure(picture, picture.name, "", "") for picture in run.generated]


def compare(runs: dict[str, RunFiles]) -> dict[str, list[Figure]]:
    """Returns the newest grids of several runs, by title of the kind.

    The title of each figure is the name of its run. A kind that only one run has is
    left out.
    """
    found: dict[str, list[Figure]] = {}
    for name, run in runs.items():
        for figure in newest(run):
            titled = dataclasses.replace(figure, title=name)
            found.setdefault(figure.title, []).append(titled)
    order = [*_TITLES.values(), *sorted(found.keys() - set(_TITLES.values()))]
    return {title: found[title] for title in order if len(found.get(title, ())) > 1}
