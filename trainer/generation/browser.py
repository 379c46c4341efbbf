"""Shows one picture after another, until the user answers n."""

import pathlib
import sys
from collections.abc import Callable

import numpy as np

from trainer.analysis import examples
from trainer.generation import sampling
from trainer.reporting import image_grid
from trainer.runs.trained import TrainedRun

_NUM_EXAMPLES = 1000
# Two pixels per character: its foreground is the upper pixel, its background the lower.
_HALF_BLOCK = "\N{UPPER HALF BLOCK}"
_MAX_COLUMNS = 160


def browse(
    run: TrainedRun,
    output: pathlib.Path,
    split: str,
    where: str | None,
    seed: int,
    ask: Callable[[str], str] = input,
) -> int:
    """Shows pictures in turn, until the user answers n or the input ends.

    Each picture has an original, its reconstruction and a sample, side by side. With a
    Bernoulli likelihood, the reconstruction and the sample are probabilities, and a
    draw of black and white pixels follows each. The picture is written as a PNG file,
    and also shown in the terminal if there is one.

    Args:
        run: Trained run with the model.
        output: Directory of the pictures.
        split: Split of the originals.
        where: Condition on the originals; see `examples.find_examples`.
        seed: Seed of the samples.
        ask: Function that shows a question and returns the answer, or raises EOFError.

    Returns:
        Number of pictures that were shown.

    Raises:
        ValueError: As `examples.find_examples`.
    """
    shown = examples.find_examples(run, split, _NUM_EXAMPLES, where)
    names = "original, reconstruction, sample"
    has_draws = run.config.likelihood == "bernoulli"
    if has_draws:
        pair = "(probabilities, draw)"
        names = f"original, reconstruction {pair}, sample {pair}"
    num_shown = 0
    while True:
        place = [num_shown % len(shown.images)]
        one = examples.Examples(
            shown.keys[place],
            shown.images[place],
            shown.inputs[place],
            shown.conditions[place],
        )
        mean, _ = sampling.encode(run, one)
        prior = sampling.draw_prior(run, num_shown + 1, seed)[-1:]
        # Another seed for each picture, because equal noise would repeat its specks.
        decoded = sampling.decode(
            run, np.concatenate([mean, prior]), one.conditions, seed + num_shown
        )
        predicted = [decoded.mean, decoded.sample] if has_draws else [decoded.mean]
        in_turn = np.stack(predicted, axis=1).reshape(-1, *one.images.shape[1:])
        images = np.concatenate([one.images, in_turn])
        row = image_grid.tile(images, len(images))
        path = output / f"browse-{num_shown:04d}.png"
        image_grid.save_png(path, row)
        num_shown += 1
        if sys.stdout.isatty():
            print(in_characters(row))
        print(f"{path}: {names}", flush=True)
        try:
            answer = ask("another? [Y/n] ")
        except EOFError:
            print()
            return num_shown
        if answer.strip().lower().startswith("n"):
            return num_shown


def in_characters(picture: np.ndarray) -> str:
    """Returns a picture as lines of coloured half blocks, two rows of pixels per line.

    Args:
        picture: `[height, width, 1 or 3]` uint8. A picture wider than 160 pixels is
            subsampled to at most 160 columns.
    """
    stride = -(-picture.shape[1] // _MAX_COLUMNS)
    small = np.broadcast_to(picture, (*picture.shape[:2], 3))[::stride, ::stride]
    if len(small) % 2:
        small = np.concatenate([small, small[-1:]])
    lines = []
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        cells = [
            f"\x1b[38;2;{r};{g};{b}m\x1b[48;2;{s};{t};{u}m{_HALF_BLOCK}"
            for (r, g, b), (s, t, u) in zip(upper.tolist(), lower.tolist(), strict=True)
        ]
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines)
