"""Which runner, its flags, what its errors mean; and runners beside the local one."""

import contextlib
import os
import re
from unittest import mock

import apache_beam as beam
import pytest
from absl import flags
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.runner import PipelineResult, PipelineRunner

from jobs import run_command
from pipeline import (
    contract,
    job,
    local_runner,
    prepare,
    publish,
    runners,
    sources,
    storage,
    worker,
)
from pipeline.dataset_settings import Settings

PRISM = os.environ.get("VAELINE_PRISM")


def test_processes_are_used_from_some_thousand_images_on_or_as_a_flag_says():
    def found(*beam_args, num_images, num_workers=2):
        options = PipelineOptions(list(beam_args))
        nursery = mock.create_autospec(worker.Nursery, instance=True)
        with local_runner.make_runner(
            options, beam_args, num_workers, num_images, nursery
        ) as runner:
            is_elsewhere = runner._default_environment.to_runner_api_parameter(None)
        return is_elsewhere[0].startswith("vaeline"), options.view_as(
            DirectOptions
        ).direct_num_workers

    many, few = local_runner.PROCESSES_FROM_IMAGES, 10
    assert found(num_images=few) == (False, 1)
    assert found(num_images=many) == (True, 2)
    assert found(num_images=many, num_workers=1) == (False, 1)
    in_memory = "--direct_running_mode=in_memory"
    assert found(in_memory, num_images=many) == (False, 1)
    assert found("--direct_running_mode=multi_processing", num_images=few) == (True, 2)
    assert found("--direct_num_workers=3", num_images=many) == (True, 3)


@pytest.mark.parametrize(
    ("argument", "match"),
    [
        ("--imagesize=8", "unknown flag --imagesize: did you mean --image_size?"),
        ("--paralelism=8", "unknown flag --paralelism: did you mean --parallelism?"),
        ("--runner=Foo", "--runner: Unexpected pipeline runner: Foo"),
        ("--direct_num_workers=x", "invalid int value: 'x'"),
        ("stray", "unknown flag stray"),
    ],
)
def test_an_unknown_flag_names_the_nearest(argument, match):
    with pytest.raises(flags.Error, match=re.escape(match)):
        runners.split_flags(["prepare", argument])


def test_beams_flags_pass_through():
    argv = ["prepare", "--runner", "FlinkRunner", "--seed=3", "--parallelism=8"]
    rest = runners.split_flags(argv)
    assert rest == ["prepare", "--runner", "FlinkRunner", "--parallelism=8"]
    assert flags.FLAGS.seed == 3
    flags.FLAGS["seed"].value = 0
    assert runners.runner_name(rest[1:]) == "FlinkRunner"
    assert runners.is_distributed("FlinkRunner")
    assert runners.runner_name([]) == runners.LOCAL_RUNNER
    assert not runners.is_distributed(runners.LOCAL_RUNNER)


@pytest.mark.parametrize(
    "text",
    [
        "pipeline.contract.DatasetError: full [while running 'Make-3']",
        "Traceback\n  File\npipeline.contract.DatasetError: full",
        'java.lang.RuntimeException: "Traceback\\nDatasetError: full\\n\\nDuring ..."',
        "DatasetError: full\n\nDuring handling\n\nRuntimeError: DatasetError: "
        "full [while running 'X']\n\n",
    ],
)
def test_a_dataset_error_is_found_in_the_text_of_any_runner(text):
    assert runners.dataset_error_text(RuntimeError(text)) == "full"


def test_no_dataset_error_is_found_where_there_is_none():
    assert runners.dataset_error_text(RuntimeError("ValueError: x")) is None
    assert runners.dataset_error_text(contract.DatasetError("x")) == "x"


def test_a_job_elsewhere_is_cancelled_by_an_interrupt(monkeypatch):
    cancelled = []

    class Job(PipelineResult):
        def wait_until_finish(self, duration=None):
            raise KeyboardInterrupt

        def cancel(self):
            cancelled.append(True)

    class Elsewhere(PipelineRunner):
        def run_pipeline(self, pipeline, options):
            return Job("RUNNING")

    monkeypatch.setattr(
        local_runner, "make_runner", lambda *_: contextlib.nullcontext(Elsewhere())
    )
    with pytest.raises(KeyboardInterrupt):
        runners.run_graph(lambda _: None, [], num_workers=1, num_images=1)
    assert cancelled == [True]


def test_a_job_is_left_to_itself_as_beams_flags_say():
    flink, dataflow = "--runner=FlinkRunner", "--runner=DataflowRunner"
    leave = "--no_wait_until_finish"
    assert runners.is_detached([flink, leave])
    assert runners.is_detached([dataflow, "--template_location=gs://b/t"])
    assert not runners.is_detached([flink])
    # It would have ended with its launcher.
    assert not runners.is_detached([leave])


def test_a_job_that_is_left_to_itself_publishes_the_same_dataset(
    input_dir, tmp_path, monkeypatch
):
    settings = Settings(image_size=8, shard_size=4)
    local = prepare.prepare(settings, input_dir=input_dir, output=str(tmp_path / "a"))
    assert local is not None
    submitted = []
    output = tmp_path / "b"
    arguments = ["--runner=FlinkRunner", "--no_wait_until_finish"]
    with monkeypatch.context() as patch:
        patch.setattr(
            runners, "run_graph", lambda build, *_, **__: submitted.append(build)
        )
        made = prepare.prepare(
            settings, input_dir=input_dir, output=str(output), beam_args=arguments
        )
    assert made is None
    assert not (output / contract.MANIFEST_NAME).exists()
    # Later, the launcher being gone.
    (build,) = submitted
    runners.run_graph(build, [], num_workers=1, num_images=1)
    assert storage.load_manifest(str(output)).digest == local.digest
    # Another run finds it complete, and removes the plans.
    assert list(output.glob(".progress/*.npz"))
    again = prepare.prepare(settings, input_dir=input_dir, output=str(output))
    assert again == local
    assert not list(output.glob(".progress/*.npz"))


def test_a_job_server_that_is_not_there_ends_in_one_line():
    beam_args = ["--runner=PortableRunner", "--job_endpoint=127.0.0.1:9"]
    beam_args += ["--job_server_timeout=1", "--environment_type=EXTERNAL"]
    with pytest.raises(
        contract.DatasetError,
        match=r"^no job server answers at 127\.0\.0\.1:9: start it",
    ):
        runners.run_graph(
            lambda pipeline: pipeline | beam.Create([1]),
            [*beam_args, "--environment_config=127.0.0.1:9"],
            num_workers=1,
            num_images=1,
        )


def test_the_graph_is_linear_and_small(input_dir, tmp_path):
    """A service gets a chain of well-known steps, and refuses more than 10 MB."""
    settings = Settings(image_size=8, shard_size=4)
    listing = sources.list_images("celeba", input_dir)
    publication = publish.plan_publication(
        listing, [], settings, str(tmp_path), 0.0, "run"
    )
    options = ["--runner=DataflowRunner", "--sdk_location=container"]
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions(options))
    names = [
        contract.shard_name("celeba", "train", index, 99_999) for index in range(99_999)
    ]
    make_shard = job.MakeShard(publication, settings, listing.reader, "run", ())
    job.build_graph(pipeline, names, make_shard, publication)
    proto = pipeline.to_runner_api()
    assert proto.ByteSize() < 5_000_000
    steps = [
        step for step in proto.components.transforms.values() if not step.subtransforms
    ]
    consumed = [name for step in steps for name in step.inputs.values()]
    assert len(consumed) == len(set(consumed))
    assert {step.spec.urn for step in steps} <= {
        f"beam:transform:{name}:v1" for name in ("impulse", "pardo", "group_by_key")
    }


@pytest.mark.skipif(not PRISM, reason="VAELINE_PRISM names no prism binary")
def test_prism_makes_the_local_runners_bytes(input_dir, tmp_path):
    settings = Settings(image_size=8, shard_size=4)
    local = prepare.prepare(settings, input_dir=input_dir, output=str(tmp_path / "a"))
    arguments = ("--runner=PrismRunner", f"--prism_location={PRISM}")
    # Prism would otherwise be ended by it.
    arguments += ("--job_server_timeout=1", "--image_size=8", "--shard_size=4")
    found = run_command(input_dir, tmp_path / "b", *arguments)
    assert found.returncode == 0, found.stderr
    assert found.stdout == f"dataset digest: {local.digest}\n"
