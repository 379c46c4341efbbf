"""Makes images and latents with a trained run, as PNG, GIF and npz files.

    python -m trainer.generate --workdir=DIR --mode=sample

Modes:
    reconstruct   examples of --split beside their reconstructions
    posterior     means and draws of p(x|z), with z drawn from q(z|x) of examples
    sample        means and draws of p(x|z), with z drawn from the prior. With
                  --prior=mixture, z comes from a Gaussian mixture that is fitted to
                  training latents
    decode        the same as sample for z in --latents=FILE, a .npy or a JSON list of
                  lists
    transform     an npz of the posteriors of a whole split
    interpolate   images between two examples, --path=linear or spherical
    traverse      images along one latent at a time, also as a GIF
    attributes    the direction of each attribute in latent space. A picture has a row
                  for each attribute, and adds the direction to an example from -limit
                  to limit times. A JSON and a table say how much a step along the
                  direction changes the attribute and the other attributes
    neighbours    the nearest training image of each sample, over the whole split. With
                  --latents=DIR, the stored posterior mean that is nearest to each
                  sample and each example
    project       a whole --split for TensorBoard's projector, which trainer.tensorboard
                  then shows beside the run
    browse        pairs and samples in turn, until the user answers n

--where=label=7, or --where=Smiling=1, chooses examples. A conditional model makes its
samples with the conditions of these examples. --image=a.jpg,b.png takes image files in
place of examples, for reconstruct, posterior, transform, interpolate, traverse,
attributes and neighbours; --where=label=7 is then their condition. --latents=DIR reads
the posteriors of whole splits that pipeline.encode wrote, for transform, attributes and
--prior=mixture. For neighbours and project, the latents may belong to other images than
the run's.
Exit codes: 0 done; 1 a flag, file or setting is wrong.
"""

import pathlib

from absl import flags, logging

from pipeline.process import entry, path_flags
from pipeline.storage import files
from trainer.cli import command_line
from trainer.generation import requests
from trainer.system import libraries

_WORKDIR = path_flags.define("workdir", None, "Directory of the run.", required=True)
_MODE = flags.DEFINE_enum("mode", "sample", requests.MODES, "Kind of output to make.")
_DATASET = path_flags.define(
    "dataset", None, "Directory of the dataset, if it has moved since the training."
)
_OUTPUT = path_flags.define(
    "output", None, "Directory to write to; by default WORKDIR/generated."
)
_SPLIT = flags.DEFINE_string(
    "split",
    None,
    "Split of the examples; by default the split that the training evaluated.",
)
_IMAGE = path_flags.define_list(
    "image",
    None,
    "Image files in place of examples, separated by commas; cropped and resized as the "
    "dataset's images were.",
)
_PREPROCESS = flags.DEFINE_string(
    "preprocess",
    None,
    "MODULE:FUNCTION that made the dataset's images, to be called for --image as well.",
)
_WHERE = flags.DEFINE_string(
    "where",
    None,
    "Feature value of the examples to use, as NAME=VALUE; any by default.",
)
_NUM = flags.DEFINE_integer(
    "num", 25, "Number of images, examples or interpolation steps.", lower_bound=1
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of all random draws.", lower_bound=0)
_PRIOR = flags.DEFINE_enum(
    "prior", "normal", ["normal", "mixture"], "Distribution of the latents of samples."
)
_NUM_COMPONENTS = flags.DEFINE_integer(
    "num_components", 10, "Number of components of the mixture prior.", lower_bound=1
)
_LATENTS = path_flags.define(
    "latents",
    None,
    "File of latents to decode, or directory of latents that pipeline.encode wrote.",
)
_PATH = flags.DEFINE_enum(
    "path",
    "linear",
    ["linear", "spherical"],
    "Path of the interpolation between two latents.",
)
_DIMENSIONS = flags.DEFINE_list(
    "dimensions", None, "Numbers of the latents to traverse; all by default."
)
_ATTRIBUTES = flags.DEFINE_list(
    "attributes", None, "Attributes to change; all by default."
)
_LIMIT = flags.DEFINE_float(
    "limit",
    3.0,
    "Largest change of a latent or an attribute: changes go from -limit to limit.",
)


def main(argv: list[str]) -> None:
    """Runs the command."""
    del argv
    libraries.load_tensorflow()
    from trainer.generation import modes
    from trainer.numerics import exact
    from trainer.runs import trained

    exact.configure()
    try:
        request = requests.Request(
            mode=_MODE.value,
            split=_SPLIT.value,
            image=_IMAGE.value,
            preprocess=_PREPROCESS.value,
            where=_WHERE.value,
            num=_NUM.value,
            seed=_SEED.value,
            prior=_PRIOR.value,
            num_components=_NUM_COMPONENTS.value,
            latents=_LATENTS.value,
            path=_PATH.value,
            dimensions=_DIMENSIONS.value,
            attributes=_ATTRIBUTES.value,
            limit=_LIMIT.value,
        )
        requests.check(request)
        run = trained.load(pathlib.Path(_WORKDIR.value), _DATASET.value)
        output = pathlib.Path(_OUTPUT.value or f"{_WORKDIR.value}/generated")
        files.make_directory(output)
        with command_line.damage_explained():
            modes.make(run, request, output)
    except (ValueError, OSError) as error:
        entry.fail(error)


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    entry.run(main, flags_parser=command_line.parse_flags)
