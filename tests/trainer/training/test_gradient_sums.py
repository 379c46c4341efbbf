"""No step adds three gradients at once in a type whose sums depend on the order."""

import importlib
import math
import pathlib
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
from ml_collections import ConfigDict
from tensorflow.core.framework import graph_pb2
from tensorflow.python.eager import context

from configs import celeba_debug
from pipeline import contract
from tests.trainer.small_steps import make_small_run
from trainer.numerics import exact
from trainer.optimization.objectives import make_objective
from trainer.runs import settings
from trainer.runs.state import make_state
from trainer.training.steps import Steps

ROOT = pathlib.Path(__file__).parents[3]
CONFIGS = sorted(
    path.stem for path in (ROOT / "configs").glob("*.py") if path.stem != "__init__"
)
ELBO = {"objective": "elbo"}
M2 = {**ELBO, "condition": "label", "labelled_fraction": 0.5}
IWAE = {**ELBO, "num_importance_samples": 3}
BERNOULLI = {**ELBO, "likelihood": "bernoulli", "output_activation": "linear"}
MIXTURE = {**ELBO, "likelihood": "logistic_mixture", "output_activation": "linear"}
OPTIONS = [
    {},
    ELBO,
    M2,
    IWAE,
    BERNOULLI,
    MIXTURE,
    {**M2, **IWAE},
    {**M2, **BERNOULLI},
    {**M2, **MIXTURE},
    {**IWAE, **MIXTURE, "condition": "attributes"},
    {**IWAE, "likelihood_scale": "learned"},
    {**ELBO, "likelihood_scale": "learned"},
    {**ELBO, "likelihood_scale": "optimal"},
    {**MIXTURE, "free_bits": 0.1, "kl_warmup_steps": 3},
    {"latent_weight": 0.0, "num_batch_groups": 1, "optimizer": "rmsprop"},
    {"condition": "label", "unit_inputs": True, "downsample": "max_pool"},
    {"encoder_units": (6,), "decoder_units": (6,), "decoder_start": "dense"},
    {"posterior_scale": "softplus", "input_noise_stddev": 0.1},
    {"gradient_accumulation_steps": 2, "gradient_clip_norm": 1.0},
    {"precision": "mixed_bfloat16", "loss_reduction": "sum"},
    {**M2, "precision": "mixed_float16"},
]


def sums(graph: graph_pb2.GraphDef) -> list[tuple[int, tf.DType]]:
    """Returns the number of terms and the type of each `AddN`, in functions too."""
    nodes = [*graph.node]
    for function in graph.library.function:
        nodes.extend(function.node_def)
    return [
        (node.attr["N"].i, tf.as_dtype(node.attr["T"].type))
        for node in nodes
        if node.op in ("AddN", "AccumulateNV2")
    ]


def wide_sums(graph: graph_pb2.GraphDef) -> list[tuple[int, tf.DType]]:
    """Returns the sums whose result depends on the order of their terms."""
    return [(num, dtype) for num, dtype in sums(graph) if num > 2 and dtype.size < 8]


def trace(config: ConfigDict, shape: tuple[int, ...]) -> graph_pb2.GraphDef:
    """Returns the graph of a training step for images of shape `shape`."""
    config = settings.resolve(config, 1)
    manifest = contract.Manifest(
        name="d",
        settings={},
        source_fingerprint="ab",
        features={
            "key": contract.Feature("string"),
            "image": contract.Feature("float32", shape),
            "label": contract.Feature("int64", (), ("a", "b")),
            "attributes": contract.Feature("int8", (2,), ("a", "b")),
        },
        splits={},
    )
    state = make_state(config, manifest)
    objective = make_objective(config, math.prod(shape))
    steps = Steps.of_run(tf.distribute.get_strategy(), state, objective, config, shape)
    size = config.global_batch_size
    batch = {
        "image": np.zeros((size, *shape), np.float32),
        "record_id": np.arange(size),
        "label": np.zeros(size, np.int64),
        "attributes": np.zeros((size, 2), np.int8),
    }
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
    traced = steps._train.get_concrete_function(batches, tf.constant(0, tf.int64))
    return traced.graph.as_graph_def()


@pytest.mark.parametrize("name", CONFIGS)
def test_no_config_has_a_sum_that_depends_on_the_moment(name: str) -> None:
    config = importlib.import_module(f"configs.{name}").get_config()
    size = config.base_size * 2 ** len(config.encoder_filters)
    is_mnist = name.startswith("mnist")
    config.num_batch_groups = 2
    assert not wide_sums(trace(config, (28, 28, 1) if is_mnist else (size, size, 3)))


@pytest.mark.parametrize("changes", OPTIONS, ids=str)
def test_no_option_has_a_sum_that_depends_on_the_moment(changes: dict) -> None:
    config = celeba_debug.get_config()
    config.encoder_filters, config.decoder_filters = (8,), (8,)
    config.global_batch_size, config.num_batch_groups = 8, 2
    config.num_classes = 2
    config.update(changes)
    assert not wide_sums(trace(config, (8, 8, 3)))


@pytest.fixture
def executed_graphs() -> Iterator[list[graph_pb2.GraphDef]]:
    """Yields a list that `collect` fills with the optimized graphs that ran."""
    context.context().enable_graph_collection()
    graphs: list[graph_pb2.GraphDef] = []
    yield graphs
    context.context().disable_graph_collection()


def collect(graphs: list[graph_pb2.GraphDef]) -> None:
    metadata = context.context().export_run_metadata()
    for function in metadata.function_graphs:
        graphs.extend(function.partition_graphs)


def test_the_optimizer_of_the_graph_makes_no_such_sum(
    executed_graphs: list[graph_pb2.GraphDef],
) -> None:
    exact.configure()
    make_small_run().train(1)
    collect(executed_graphs)
    assert any(map(sums, executed_graphs)), "the step was not collected"
    assert not any(map(wide_sums, executed_graphs))


def test_three_gradients_are_found_and_two_branches_are_not() -> None:
    @tf.function
    def gradient(x: tf.Tensor, is_branched: bool) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            two = exact.branch(x) if is_branched else x
            y = tf.exp(two) + tf.square(two) + tf.sin(x)
        return tape.gradient(y, x)

    spec = tf.TensorSpec([3], tf.float32)
    for is_branched, num in ((False, 1), (True, 0)):
        graph = gradient.get_concrete_function(spec, is_branched).graph
        assert len(wide_sums(graph.as_graph_def())) == num
    x = tf.constant([0.1, -0.7, 2.0])
    np.testing.assert_allclose(gradient(x, True), gradient(x, False), rtol=1e-6)
