"""Makes images and latents with a trained run, as PNG, GIF and npz files.

    python -m trainer.generate --workdir=DIR --mode=sample

Modes:
    reconstruct   examples of --split beside their reconstructions
    posterior     draws of p(x|z) for draws of q(z|x) of examples, and probabilities
    sample        draws of p(x|z) for draws of the prior, and probabilities; with
                  --prior=mixture of a Gaussian mixture fitted to training latents
    decode        the same for --latents=FILE, a .npy or a JSON list of lists
    transform     an npz of the posteriors of a whole split
    interpolate   between two examples, --path=linear or spherical
    traverse      one latent at a time, also as a GIF
    attributes    the direction of each attribute in latent space, added to an example
                  from -limit to limit times, a row for each; and what a step along it
                  changes of the attribute and of others, in a JSON and a table
    neighbours    the nearest training image of each sample, over the whole split; with
                  --latents=DIR the nearest posterior mean of samples and examples
    project       a whole --split for TensorBoard's projector, which trainer.tensorboard
                  then shows beside the run
    browse        pairs and samples one after another, until the answer is n

--where=label=7, or --where=Smiling=1, chooses among examples, and so what a conditional
model is told when it makes samples. With --latents=DIR the posteriors of whole splits,
for transform, attributes and --prior=mixture, are read as pipeline.encode wrote them;
for neighbours and project they may be of other images than the run's.
Exit codes: 0 done; 1 a flag, file or setting is wrong.
"""

import pathlib

import numpy as np
from absl import flags, logging

from pipeline.process import entry, path_flags
from pipeline.storage import files
from trainer.analysis import examples, nearest_images, posteriors
from trainer.analysis.latents import mixture
from trainer.cli import command_line
from trainer.generation import attribute_directions, browser, output_files, sampling
from trainer.numerics import exact
from trainer.reporting import image_grid, projector, sample_grids
from trainer.runs import trained

_MODES = (
    "reconstruct",
    "posterior",
    "sample",
    "decode",
    "transform",
    "interpolate",
    "traverse",
    "attributes",
    "neighbours",
    "project",
    "browse",
)

# Modes that take a directory of latents.
_READERS = ("transform", "attributes", "neighbours", "project")

_WORKDIR = path_flags.define("workdir", None, "Directory of the run.", required=True)
_MODE = flags.DEFINE_enum("mode", "sample", _MODES, "What to make.")
_DATASET = path_flags.define(
    "dataset", None, "Where the run's dataset is, if it has moved."
)
_OUTPUT = path_flags.define(
    "output", None, "Directory to write to; by default WORKDIR/generated."
)
_SPLIT = flags.DEFINE_string(
    "split", None, "Of the examples; by default what training evaluated."
)
_WHERE = flags.DEFINE_string(
    "where", None, "NAME=VALUE that a feature of the examples must have."
)
_NUM = flags.DEFINE_integer("num", 25, "Images, examples, or steps.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of everything that is drawn.", lower_bound=0)
_PRIOR = flags.DEFINE_enum(
    "prior", "normal", ["normal", "mixture"], "What samples are drawn from."
)
_NUM_COMPONENTS = flags.DEFINE_integer(
    "num_components", 10, "Of the mixture.", lower_bound=1
)
_LATENTS = path_flags.define(
    "latents", None, "File of latents to decode, or directory of pipeline.encode."
)
_PATH = flags.DEFINE_enum("path", "linear", ["linear", "spherical"], "Interpolation.")
_DIMENSIONS = flags.DEFINE_list("dimensions", None, "Latents to traverse; all of them.")
_ATTRIBUTES = flags.DEFINE_list("attributes", None, "To try; all of them.")
_LIMIT = flags.DEFINE_float(
    "limit", 3.0, "Traversals, and strengths of attributes, go from -limit to limit."
)


def main(argv: list[str]) -> None:
    """Runs the command."""
    del argv
    exact.configure()
    try:
        _check_latents()
        run = trained.load(pathlib.Path(_WORKDIR.value), _DATASET.value)
        output = pathlib.Path(_OUTPUT.value or f"{_WORKDIR.value}/generated")
        files.make_directory(output)
        with command_line.damage_explained():
            _MAKERS[_MODE.value](run, output)
    except (ValueError, OSError) as error:
        entry.fail(error)


def _check_latents() -> None:
    takes = _MODE.value in ("decode", *_READERS) or (
        _MODE.value == "sample" and _PRIOR.value == "mixture"
    )
    if _LATENTS.value is not None and not takes:
        raise ValueError(
            f"--latents={_LATENTS.value} is for --mode=decode, a file, and for "
            f"--mode={', '.join(_READERS)} and sample with --prior=mixture, a directory"
        )


def _reconstruct(run: trained.TrainedRun, output: pathlib.Path) -> None:
    found = _examples(run)
    mean, _ = sampling.encode(run, found)
    made = sampling.decode(run, mean, found.conditions, _SEED.value)
    grid = image_grid.compare(found.images, found.inputs, made.mean)
    output_files.save_png(output / "reconstruct.png", grid)
    output_files.save_npz(
        output / "reconstruct.npz", keys=found.keys, **output_files.arrays(made)
    )


def _posterior(run: trained.TrainedRun, output: pathlib.Path) -> None:
    found = _examples(run)
    z = sampling.draw_posteriors(run, found, _SEED.value)
    path = output / "posterior"
    _save_predictive(run, z, found.conditions, path, keys=found.keys)


def _sample(run: trained.TrainedRun, output: pathlib.Path) -> None:
    if _PRIOR.value == "normal":
        z = sampling.draw_prior(run, _NUM.value, _SEED.value)
    else:
        encoded = posteriors.encode_split(run, run.config.train_split, _LATENTS.value)
        posterior = sampling.draw_posterior_of(encoded, _SEED.value)
        fitted = mixture.fit(posterior, _NUM_COMPONENTS.value, _SEED.value)
        fitted.save(output / "mixture.npz")
        z = fitted.sample(_NUM.value, _SEED.value)
    _save_predictive(run, z, _conditions(run), output / "sample")


def _decode(run: trained.TrainedRun, output: pathlib.Path) -> None:
    if _LATENTS.value is None:
        raise ValueError("--mode=decode needs --latents=FILE, a .npy or a JSON file")
    z = sampling.load_latents(pathlib.Path(_LATENTS.value))
    _save_predictive(run, z, _conditions(run), output / "decode")


def _transform(run: trained.TrainedRun, output: pathlib.Path) -> None:
    encoded = posteriors.encode_split(run, _split(run), _LATENTS.value)
    output_files.save_npz(
        output / f"transform-{_split(run)}.npz",
        keys=encoded.keys,
        posterior_mean=encoded.posterior_mean,
        posterior_log_var=encoded.posterior_log_var,
        **encoded.features,
    )


def _interpolate(run: trained.TrainedRun, output: pathlib.Path) -> None:
    found = examples.find_examples(run, _split(run), 2, _WHERE.value)
    if len(found.keys) < 2:
        where = f" with --where={_WHERE.value}" if _WHERE.value else ""
        raise ValueError(
            f"--mode=interpolate needs two examples, and split {_split(run)!r} has "
            f"one{where}: give another --split"
        )
    (start, end), _ = sampling.encode(run, found)
    z = sampling.interpolate(
        start, end, _NUM.value, spherical=_PATH.value == "spherical"
    )
    made = sampling.decode(run, z, found.conditions[:1], _SEED.value)
    columns = sample_grids.num_columns(_NUM.value)
    output_files.save_png(
        output / "interpolate.png", image_grid.tile(made.mean, columns)
    )
    output_files.save_gif(output / "interpolate.gif", made.mean[:, np.newaxis])
    output_files.save_npz(
        output / "interpolate.npz", keys=found.keys, **output_files.arrays(made)
    )


def _traverse(run: trained.TrainedRun, output: pathlib.Path) -> None:
    found = examples.find_examples(run, _split(run), 1, _WHERE.value)
    (start, *_), _ = sampling.encode(run, found)
    try:
        dimensions = [
            int(text) for text in _DIMENSIONS.value or range(run.config.latent_dim)
        ]
    except ValueError as error:
        raise ValueError(
            f"--dimensions={','.join(_DIMENSIONS.value)} must be whole numbers"
        ) from error
    rows = sample_grids.traverse(start, dimensions, _LIMIT.value, _NUM.value)
    z = rows.reshape(-1, rows.shape[-1])
    made = sampling.decode(run, z, found.conditions, _SEED.value)
    output_files.save_png(
        output / "traverse.png", image_grid.tile(made.mean, _NUM.value)
    )
    by_row = made.mean.reshape(*rows.shape[:2], *made.mean.shape[1:])
    output_files.save_gif(output / "traverse.gif", by_row.swapaxes(0, 1))


def _attributes(run: trained.TrainedRun, output: pathlib.Path) -> None:
    found = examples.find_examples(run, _split(run), 1, _WHERE.value)
    made = attribute_directions.explore(
        run,
        found,
        _split(run),
        _ATTRIBUTES.value,
        _LIMIT.value,
        _NUM.value,
        _SEED.value,
        _LATENTS.value,
    )
    output_files.save_attributes(made, output)


def _neighbours(run: trained.TrainedRun, output: pathlib.Path) -> None:
    if _LATENTS.value is not None:
        _latent_neighbours(run, output, posteriors.open_latents(run, _LATENTS.value))
        return
    z = sampling.draw_prior(run, _NUM.value, _SEED.value)
    samples = sampling.decode(run, z, _conditions(run), _SEED.value).mean
    unseen = examples.find_examples(run, _split(run), _NUM.value, _WHERE.value)
    queries = np.concatenate([samples, unseen.images])
    found = nearest_images.in_training(run, queries)
    output_files.save_neighbours(found, z, samples, unseen.keys, output)


def _latent_neighbours(
    run: trained.TrainedRun, output: pathlib.Path, latents: posteriors.StoredLatents
) -> None:
    z = sampling.draw_prior(run, _NUM.value, _SEED.value)
    samples = sampling.decode(run, z, _conditions(run), _SEED.value).mean
    shown = _examples(run)
    mean, _ = sampling.encode(run, shown)
    found = nearest_images.by_latents(latents, np.concatenate([z, mean]))
    output_files.save_latent_neighbours(found, z, samples, shown, output)


def _project(run: trained.TrainedRun, output: pathlib.Path) -> None:
    directory = output / f"projector-{_split(run)}"
    latents = _LATENTS.value and posteriors.open_latents(run, _LATENTS.value)
    projector.write_split(directory, run, _split(run), latents or None)
    logging.info("%s", directory)


def _browse(run: trained.TrainedRun, output: pathlib.Path) -> None:
    browser.browse(run, output, _split(run), _WHERE.value, _SEED.value)


_MAKERS = dict(
    zip(
        _MODES,
        (
            _reconstruct,
            _posterior,
            _sample,
            _decode,
            _transform,
            _interpolate,
            _traverse,
            _attributes,
            _neighbours,
            _project,
            _browse,
        ),
        strict=True,
    )
)


def _split(run: trained.TrainedRun) -> str:
    return _SPLIT.value or run.config.eval_split


def _examples(run: trained.TrainedRun) -> examples.Examples:
    return examples.find_examples(run, _split(run), _NUM.value, _WHERE.value)


def _conditions(run: trained.TrainedRun) -> np.ndarray:
    return examples.find_conditions(run, _split(run), _NUM.value, _WHERE.value)


def _save_predictive(
    run: trained.TrainedRun,
    z: np.ndarray,
    told: np.ndarray,
    path: pathlib.Path,
    **arrays: np.ndarray,
) -> None:
    made = sampling.decode(run, z, told, _SEED.value)
    output_files.save_predictive(made, path, **arrays)


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    entry.run(main, flags_parser=command_line.parse_flags)
