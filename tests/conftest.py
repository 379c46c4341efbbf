"""Profiles of Hypothesis, and local servers that answer like S3 and Cloud Storage.

HYPOTHESIS_PROFILE=long tries each property with many more inputs.
"""

import importlib.util
import logging
import os
import signal
import sys
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests import running, skips

if importlib.util.find_spec("pipeline") is None:
    sys.exit("error: run python -m pytest, which finds the packages of this directory")

# Every run tries the same inputs, and no database remembers the inputs of earlier runs.
settings.register_profile(
    "short",
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "long",
    max_examples=20_000,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

# A process that a shell starts in the background ignores SIGINT. Our commands would
# inherit that, so set the handler here.
signal.signal(signal.SIGINT, signal.default_int_handler)


# Runs last: by then pytest has registered its terminal reporter.
@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    running.configure(config)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    running.sort(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[
    None, pytest.TestReport, pytest.TestReport
]:
    report = yield
    skips.refuse_unlisted(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[
    None, pytest.CollectReport, pytest.CollectReport
]:
    report = yield
    skips.refuse_unlisted(report)
    return report


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    server = pytest.importorskip("moto.server", reason="needs moto[s3], flask")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    emulator = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    emulator.start()
    yield "http://{}:{}".format(*emulator.get_host_and_port())
    emulator.stop()


@pytest.fixture(scope="session")
def gs_endpoint() -> Iterator[str]:
    pytest.importorskip("google.cloud.storage", reason="needs google-cloud-storage")
    server = pytest.importorskip(
        "gcp_storage_emulator.server", reason="needs gcp-storage-emulator"
    )
    emulator = server.create_server("127.0.0.1", 0, in_memory=True)
    emulator.start()
    yield f"http://127.0.0.1:{emulator._api._httpd.server_port}"
    emulator.stop()
