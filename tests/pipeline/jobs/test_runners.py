"""Choice of a runner, its flags and its errors; and runners besides the local one."""

import concurrent.futures
import contextlib
import dataclasses
import http.server
import os
import re
import socket
import threading
import urllib.error
import urllib.request
from unittest import mock

import apache_beam as beam
import grpc
import pytest
from absl import flags
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.runner import PipelineResult, PipelineRunner

import pipeline.prepare  # noqa: F401  It defines the flags.
from pipeline import contract, sources
from pipeline.dataset import output_directory, publishing
from pipeline.dataset.reject_check import RejectCheck
from pipeline.jobs import (
    execution,
    graph,
    job_servers,
    local_runner,
    runners,
    worker,
)
from pipeline.planning.dataset_settings import Settings
from pipeline.storage import manifests
from tests.pipeline import calls
from tests.pipeline.commands import run_command

PRISM = os.environ.get("VAELINE_PRISM")


def test_processes_are_used_from_some_thousand_images_on_or_as_a_flag_says():
    def chosen(*beam_args, num_images, num_workers=2):
        options = PipelineOptions(list(beam_args))
        nursery = mock.create_autospec(worker.Nursery, instance=True)
        with local_runner.make_runner(
            options, beam_args, num_workers, num_images, nursery
        ) as runner:
            is_elsewhere = runner._default_environment.to_runner_api_parameter(None)
        return is_elsewhere[0].startswith("vaeline"), options.view_as(
            DirectOptions
        ).direct_num_workers

    many, few = worker.PROCESSES_FROM_IMAGES, 10
    assert chosen(num_images=few) == (False, 1)
    assert chosen(num_images=many) == (True, 2)
    assert chosen(num_images=many, num_workers=1) == (False, 1)
    in_memory = "--direct_running_mode=in_memory"
    assert chosen(in_memory, num_images=many) == (False, 1)
    assert chosen("--direct_running_mode=multi_processing", num_images=few) == (True, 2)
    assert chosen("--direct_num_workers=3", num_images=many) == (True, 3)


@pytest.mark.parametrize(
    ("argument", "match"),
    [
        ("--imagesize=8", "unknown flag --imagesize: did you mean --image_size?"),
        ("--paralelism=8", "unknown flag --paralelism: did you mean --parallelism?"),
        ("--runner=Foo", "--runner=Foo: Unexpected pipeline runner: Foo"),
        ("--runner=no.Such", "--runner=no.Such: No module named 'no'"),
        ("--runner=os.path.nope", "has no attribute 'nope'"),
        ("--runner=os.getcwd", "--runner=os.getcwd is not a Beam runner"),
        ("--runner=PortableRunner", "needs --job_endpoint=HOST:PORT"),
        (
            "--runner=DataflowRunner",
            "--runner=DataflowRunner needs --project=NAME, --region=NAME, "
            "--temp_location=gs://BUCKET/PATH",
        ),
        ("--environment_type=EXTERNAL", "--runner=FnApiRunner: Option external_"),
        ("--direct_num_workers=x", "invalid int value: 'x'"),
        ("stray", "unexpected stray: give each value as --FLAG=VALUE"),
    ],
)
def test_an_unknown_flag_names_the_nearest(argument, match):
    with pytest.raises(flags.Error, match=re.escape(match)):
        execution.split_flags(["prepare", argument])


def test_beams_flags_pass_through():
    argv = ["prepare", "--runner", "FlinkRunner", "--seed=3", "--parallelism=8"]
    rest = execution.split_flags(argv)
    assert rest == ["prepare", "--runner", "FlinkRunner", "--parallelism=8"]
    assert flags.FLAGS.seed == 3
    flags.FLAGS["seed"].value = 0
    assert runners.runner_name(rest[1:]) == "FlinkRunner"
    assert runners.is_distributed("FlinkRunner")
    assert runners.runner_name([]) == runners.LOCAL_RUNNER
    assert not runners.is_distributed(runners.LOCAL_RUNNER)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("fnapi", "FnApiRunner"),
        ("direct", "SwitchingDirectRunner"),
        ("apache_beam.runners.direct.DirectRunner", "SwitchingDirectRunner"),
        ("flink", "FlinkRunner"),
        ("", "FnApiRunner"),
    ],
)
def test_a_runner_has_the_name_that_beam_gives_it(given, name):
    assert runners.runner_name([f"--runner={given}"]) == name
    assert runners.is_distributed(name) == (name == "FlinkRunner")


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
    # A local job cannot be left alone: it ends with its launcher.
    assert not runners.is_detached([leave])


def test_a_job_that_is_left_to_itself_overwrites_and_publishes_the_same_dataset(
    input_dir, tmp_path, monkeypatch
):
    settings = Settings(image_size=8, shard_size=4)
    earlier = calls.prepare(
        Settings(image_size=4), input_dir=input_dir, output=str(tmp_path / "b")
    )
    local = calls.prepare(settings, input_dir=input_dir, output=str(tmp_path / "a"))
    assert local is not None
    submitted = []
    output = tmp_path / "b"
    arguments = ["--runner=FlinkRunner", "--no_wait_until_finish"]
    with monkeypatch.context() as patch:
        patch.setattr(
            runners, "run_graph", lambda build, *_, **__: submitted.append(build)
        )
        manifest = calls.prepare(
            settings,
            input_dir=input_dir,
            output=str(output),
            beam_args=arguments,
            overwrite=True,
        )
    assert manifest is None
    assert manifests.load(str(output)) == earlier
    # The job runs later, after its launcher has exited.
    (build,) = submitted
    runners.run_graph(build, [], num_workers=1, num_images=1)
    assert manifests.load(str(output)).digest == local.digest
    # Another run finds the dataset complete, and removes the plans.
    assert list(output.glob(".progress/*.npz"))
    again = calls.prepare(settings, input_dir=input_dir, output=str(output))
    assert again == local
    assert not list(output.glob(".progress/*.npz"))


def run_on(*beam_args):
    runners.run_graph(
        lambda pipeline: pipeline | beam.Create([1]),
        beam_args,
        num_workers=1,
        num_images=1,
    )


@pytest.fixture
def ports(monkeypatch):
    """Yields local ports by kind: closed, silent, HTTP, and gRPC without jobs."""
    monkeypatch.setattr(job_servers, "_ANSWER_SECONDS", 0.3)
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        web = http.server.HTTPServer(
            ("127.0.0.1", 0), http.server.BaseHTTPRequestHandler
        )
        stack.callback(web.server_close)
        web.RequestHandlerClass.log_message = lambda *_: None
        threading.Thread(target=web.serve_forever, daemon=True).start()
        stack.callback(web.shutdown)
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        stack.callback(server.stop, None)
        yield {
            "closed": 9,
            "silent": silent.getsockname()[1],
            "web": web.server_port,
            "grpc": port,
        }


@pytest.mark.parametrize("runner", ["FlinkRunner", "PortableRunner", "PrismRunner"])
@pytest.mark.parametrize("kind", ["closed", "grpc", "silent", "web"])
def test_a_job_server_that_does_not_answer_is_one_line(ports, runner, kind):
    endpoint = f"127.0.0.1:{ports[kind]}"
    reason = "UNIMPLEMENTED" if kind == "grpc" else "DEADLINE_EXCEEDED"
    match = f"--job_endpoint={endpoint}: no job server answers ({reason}): start"
    with pytest.raises(contract.DatasetError, match=f"^{re.escape(match)}"):
        run_on(f"--runner={runner}", f"--job_endpoint={endpoint}")


@pytest.mark.parametrize("host", ["", "http://", "nohost.invalid:"])
def test_a_wrong_endpoint_is_named(ports, host):
    with pytest.raises(contract.DatasetError, match=f"^--job_endpoint={host}9: no job"):
        run_on("--runner=PortableRunner", f"--job_endpoint={host}9")


@pytest.mark.parametrize(
    ("runner", "flag", "kind"),
    [
        ("FlinkRunner", "flink_master=", "closed"),
        ("FlinkRunner", "flink_master=", "silent"),
        ("FlinkRunner", "flink_master=http://", "closed"),
        ("SparkRunner", "spark_master_url=spark://", "closed"),
    ],
)
def test_a_master_that_does_not_answer_is_one_line(ports, runner, flag, kind):
    match = f"^--{flag}127.0.0.1:{ports[kind]}: no server answers [^<]*: start"
    with pytest.raises(contract.DatasetError, match=match):
        run_on(f"--runner={runner}", f"--{flag}127.0.0.1:{ports[kind]}")


def test_google_cloud_that_does_not_answer_is_one_line(monkeypatch):
    def fail(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    with pytest.raises(contract.DatasetError, match="^--runner=DataflowRunner: Google"):
        run_on("--runner=DataflowRunner", "--project=p", "--region=r")


@pytest.mark.parametrize(
    ("beam_args", "match"),
    [
        (["FlinkRunner", "--flink_job_server_jar=/no.jar"], "give --job_endpoint="),
        (["KafkaStreamsRunner"], "--kafka_streams_job_server_jar=FILE"),
        (["PrismRunner", "--prism_location=/no/prism"], "give --prism_location=FILE"),
        (["SparkRunner", "--spark_job_server_jar=/no.jar"], "--spark_job_server_jar"),
        (["PortableRunner", "--job_endpoint=embed", "--environment_type=X"], "type: X"),
        (["apache_beam.runners.render.RenderRunner"], "--render_port or --render_outp"),
    ],
)
def test_a_runner_that_does_not_start_a_job_is_one_line(beam_args, match):
    with pytest.raises(contract.DatasetError, match=match) as raised:
        run_on(f"--runner={beam_args[0]}", *beam_args[1:])
    name = beam_args[0].rpartition(".")[2]
    assert str(raised.value).startswith(f"--runner={name} does not start the job (")
    assert "\n" not in str(raised.value)


def test_a_job_server_that_ends_at_once_shows_no_thread(tmp_path, capfd):
    program = tmp_path / "java"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    jar = tmp_path / "server.jar"
    jar.touch()
    with pytest.raises(contract.DatasetError, match="failed to start up with error 3"):
        run_on(
            "--runner=FlinkRunner",
            f"--flink_job_server_jar={jar}",
            f"--job_server_java_launcher={program}",
        )
    assert "Traceback" not in capfd.readouterr().err


def test_an_error_of_a_job_elsewhere_is_its_last_line():
    text = "FAILED: Traceback (most recent call last):\n  x\nValueError: no\n\tat org.x"
    assert job_servers.in_one_line(RuntimeError(text)) == "ValueError: no"


def test_the_graph_is_linear_and_small(input_dir, tmp_path):
    """Checks that the graph is a chain of basic steps, far below a service's 10 MB."""
    settings = Settings(image_size=8, shard_size=4)
    listing = sources.list_images("celeba", input_dir)
    publication = publishing.Publication(
        name=listing.name,
        output=str(tmp_path),
        settings=settings,
        source_fingerprint=listing.fingerprint,
        features=publishing.image_features(listing, settings),
        max_rejected_fraction=0.0,
        reject_check=RejectCheck(settings, listing.reader, str(tmp_path), "run"),
    )
    options = ["--runner=DataflowRunner", "--sdk_location=container"]
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions(options))
    names = [
        contract.shard_name("celeba", "train", index, 99_999) for index in range(99_999)
    ]
    publication = dataclasses.replace(publication, shard_names={"train": names})
    make_shard = graph.MakeShard(publication, settings, listing.reader, "run", ())
    output = output_directory.LockedOutput(str(tmp_path), {}, overwrite=True)
    graph.build_graph(pipeline, output, make_shard, publication)
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
    local = calls.prepare(settings, input_dir=input_dir, output=str(tmp_path / "a"))
    arguments = ("--runner=PrismRunner", f"--prism_location={PRISM}")
    # Prism would end its job after this timeout of one second. The runner overrides it.
    arguments += ("--job_server_timeout=1", "--image_size=8", "--shard_size=4")
    done = run_command(input_dir, tmp_path / "b", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"dataset digest: {local.digest}\n"
