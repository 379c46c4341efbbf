"""File operations work alike on local directories, and on emulated S3 and GCS."""

import contextlib
import errno
import hashlib
import http.server
import os
import pathlib
import sys
import threading
import zipfile
from collections.abc import Iterator

import pytest

from pipeline import contract
from pipeline.storage import buckets, paths


@contextlib.contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """Runs a server with a handler until the block ends, and yields its URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def write(root: str, *names: str, data: bytes = b"x") -> None:
    for name in names:
        paths.make_directory(paths.join(root, name).rpartition("/")[0])
        paths.write_bytes(paths.join(root, name), data)


def entries(iterator: Iterator[paths.Entry]) -> list[tuple[str, int, bool]]:
    return sorted((e.name, e.num_bytes, e.is_directory) for e in iterator)


@pytest.mark.parametrize("data", [b"", b"\x00\xff\r\n", bytes(range(256)) * 99])
def test_what_is_written_is_read(root, data):
    write(root, "a.bin", data=b"of before")
    write(root, "a.bin", data=data)
    path = paths.join(root, "a.bin")
    assert paths.read_bytes(path) == data
    assert paths.hash_file(path) == hashlib.sha256(data).hexdigest()
    file = paths.find(path)
    assert file is not None
    assert file.num_bytes == len(data)


def test_a_range_ends_where_the_file_does(root):
    write(root, "a.txt", data=b"0123456789")
    path = paths.join(root, "a.txt")
    ranges = {(0, 3): b"012", (4, 2): b"45", (7, 9): b"789", (3, 0): b""}
    ranges |= {(10, 5): b"", (99, 1): b""}
    assert {span: paths.read_range(path, *span) for span in ranges} == ranges


def test_what_is_not_there(root):
    write(root, "a.txt")
    absent = paths.join(root, "b.txt")
    for read in (paths.read_bytes, paths.hash_file, paths.open_file):
        with pytest.raises(FileNotFoundError, match="No such file"):
            read(absent)
    with pytest.raises(FileNotFoundError, match="No such file"):
        paths.read_range(absent, 0, 1)
    assert paths.find(absent) is None
    assert paths.find(root) is None
    paths.remove(absent)
    assert list(paths.list_directory(absent)) == []
    assert list(paths.walk(absent)) == []


def test_a_removed_file_does_not_exist(root):
    write(root, "a.txt", "ab.txt")
    paths.remove(paths.join(root, "a.txt"))
    assert [e.name for e in paths.list_directory(root)] == ["ab.txt"]


def test_a_directory_lists_its_own_and_no_sibling(root):
    write(root, "d/a.txt", "d/Ä [1]*?.txt", "d/sub/b.txt", "d/sub/c/d.txt", data=b"12")
    write(root, "d.txt", "d2/e.txt")
    here = paths.join(root, "d")
    expected = [("a.txt", 2, False), ("sub", 0, True), ("Ä [1]*?.txt", 2, False)]
    for spelling in (here, f"{here}/"):
        assert entries(paths.list_directory(spelling)) == expected
        assert entries(paths.walk(spelling)) == [
            ("a.txt", 2, False),
            ("sub/b.txt", 2, False),
            ("sub/c/d.txt", 2, False),
            ("Ä [1]*?.txt", 2, False),
        ]
    assert paths.read_bytes(paths.join(here, "Ä [1]*?.txt")) == b"12"


def test_a_directory_is_there_if_a_file_is(root):
    write(root, "d/a.txt")
    for path, is_there in (("d", True), ("d/", True), ("d/a.txt", False), ("e", False)):
        assert paths.is_directory(paths.join(root, path)) == is_there
    assert paths.is_directory(root)


def test_the_times_of_a_listing_are_those_of_the_file(root):
    write(root, "a.txt")
    file = paths.find(paths.join(root, "a.txt"))
    assert file is not None
    assert file.modified_ns > 1.6e18
    (listed,) = paths.list_directory(root)
    (walked,) = paths.walk(root)
    # S3 gives fractions of a second in a listing, but not for a single file.
    for entry in (listed, walked):
        assert entry.modified_ns // 10**9 == file.modified_ns // 10**9


def test_a_directory_of_several_pages_is_listed_in_full(s3_root, monkeypatch):
    # The emulator's pages then hold 3 names instead of a thousand.
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")
    write(s3_root, *"abcdefgh", "i/j")
    names = [entry.name for entry in paths.list_directory(s3_root)]
    assert sorted(names) == list("abcdefghi")


def test_an_empty_file_that_marks_a_directory_is_none_in_it(url_root):
    paths.write_bytes(f"{url_root}/", b"")
    paths.write_bytes(f"{url_root}/a.txt", b"x")
    paths.write_bytes(f"{url_root}/sub/", b"")
    assert [entry.name for entry in paths.walk(url_root)] == ["a.txt"]
    assert entries(paths.list_directory(url_root)) == [
        ("a.txt", 1, False),
        ("sub", 0, True),
    ]


@pytest.mark.parametrize("num_bytes", [0, 7, 17 << 20])
def test_a_finished_file_is_put_in_place(root, tmp_path, num_bytes):
    data = bytes(range(251)) * (num_bytes // 251 + 1)
    finished = tmp_path / "finished"
    finished.write_bytes(data[:num_bytes])
    write(root, "shard", data=b"of before")
    path = paths.join(root, "shard")
    paths.put_file(str(finished), path)
    assert not finished.exists()
    assert paths.hash_file(path) == hashlib.sha256(data[:num_bytes]).hexdigest()


def test_an_upload_that_breaks_off_leaves_nothing(url_root, tmp_path, monkeypatch):
    finished = tmp_path / "finished"
    finished.write_bytes(bytes(17 << 20))
    bucket, _ = buckets.find_bucket(url_root)
    num_sent = []

    def break_off() -> None:
        num_sent.append(1)
        if len(num_sent) > 1:
            raise RuntimeError("the worker is gone")

    if url_root.startswith("s3"):
        bucket._client.meta.events.register(
            "before-call.s3.UploadPart", lambda **_: break_off()
        )
    else:
        session = bucket._bucket.client._http
        request = session.request

        def send(method, *args, **kwargs):
            if method == "PUT":
                break_off()
            return request(method, *args, **kwargs)

        monkeypatch.setattr(session, "request", send)
    with pytest.raises(RuntimeError, match="the worker is gone"):
        paths.put_file(str(finished), f"{url_root}/shard")
    assert len(num_sent) > 1
    assert list(paths.walk(url_root)) == []
    assert finished.exists()


def test_an_open_file_is_read_here_and_there(root, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(100):
            archive.writestr(f"{number}.txt", str(number) * 1000)
    write(root, "a.zip", data=(tmp_path / "a.zip").read_bytes())
    with paths.open_file(paths.join(root, "a.zip")) as file:
        assert file.read(2) == b"PK"
        with zipfile.ZipFile(file) as archive:
            assert len(archive.infolist()) == 100
            assert archive.read("57.txt") == b"57" * 1000
        file.seek(0, 2)
        assert file.read(1) == b""


def test_an_absent_bucket_is_named(url_root, tmp_path):
    root = f"{url_root.partition('://')[0]}://absent-bucket"
    path = f"{root}/d/a.txt"
    finished = tmp_path / "finished"
    finished.write_bytes(b"x")
    for operation in (
        lambda: paths.read_bytes(path),
        lambda: paths.read_range(path, 1, 1),
        lambda: paths.open_file(path),
        lambda: paths.find(path),
        lambda: paths.write_bytes(path, b"x"),
        lambda: paths.put_file(str(finished), path),
        lambda: list(paths.list_directory(root)),
        lambda: list(paths.walk(root)),
        lambda: paths.remove(path),
    ):
        buckets._open_bucket.cache_clear()
        with pytest.raises(contract.DatasetError, match=f"no bucket {root}: create it"):
            operation()


def test_s3_without_credentials(use_s3, tmp_path, monkeypatch):
    use_s3()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(contract.DatasetError, match="no credentials for s3://bucket: "):
        paths.read_bytes("s3://bucket/a.txt")


class Refusing(http.server.BaseHTTPRequestHandler):
    """Refuses every request, with the status codes of both stores."""

    def do_GET(self) -> None:  # noqa: N802
        body = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
        self.send_response(403 if "bucket/a.txt" in self.path else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


def test_s3_that_refuses(use_s3):
    use_s3()
    with serving(Refusing) as endpoint:
        buckets.configure([f"--s3_endpoint_url={endpoint}"])
        with pytest.raises(
            contract.DatasetError, match=r"no access to s3://bucket/a\.txt: allow the"
        ):
            paths.read_bytes("s3://bucket/a.txt")


class NoStore(http.server.BaseHTTPRequestHandler):
    """Has no page, and does not answer like S3: a wrong endpoint."""

    def do_GET(self) -> None:  # noqa: N802
        self.send_error(404)

    do_HEAD = do_PUT = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


def test_an_endpoint_that_is_no_store(use_s3, tmp_path):
    use_s3()
    with serving(NoStore) as endpoint:
        buckets.configure([f"--s3_endpoint_url={endpoint}"])
        for operation in (
            lambda: paths.read_bytes("s3://bucket/a.txt"),
            lambda: paths.find("s3://bucket/a.txt"),
            lambda: paths.write_bytes("s3://bucket/a.txt", b"x"),
            lambda: list(paths.walk("s3://bucket")),
            lambda: paths.remove("s3://bucket/a.txt"),
        ):
            with pytest.raises(contract.DatasetError, match=r"use s3://.*404.*Not F"):
                operation()


@pytest.mark.usefixtures("gs_endpoint")
def test_cloud_storage_that_refuses(monkeypatch):
    with serving(Refusing) as endpoint:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", endpoint)
        with pytest.raises(contract.DatasetError, match="no credentials for gs://bu"):
            paths.read_bytes("gs://bucket/a.txt")
        bucket, _ = buckets.find_bucket("gs://bucket/a.txt")
        bucket._is_anonymous = False
        with pytest.raises(
            contract.DatasetError, match=r"no access to gs://bucket/a\.txt: allow the"
        ):
            paths.read_bytes("gs://bucket/a.txt")


def test_s3_out_of_reach(use_s3, monkeypatch):
    use_s3()
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    buckets.configure(["--s3_endpoint_url=http://127.0.0.1:1"])
    with pytest.raises(contract.DatasetError, match="cannot use s3://b/a: Could not c"):
        paths.read_bytes("s3://b/a")


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("http://me:s3cr/e@t@127.0.0.1:1", "http://***@127.0.0.1:1"),
        ("http://s3cret@127.0.0.1:1", 'URL: "http://***@127.0.0.1:1/b/a"'),
        ("http://me:s3cret@127.0.0.1:1x", "http://***@127.0.0.1:1x"),
        ("me:s3cret@127.0.0.1:1", "neither http:// nor https://"),
    ],
)
def test_a_password_of_an_endpoint_is_not_shown(
    use_s3, monkeypatch, endpoint, message
) -> None:
    use_s3()
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    buckets.configure([f"--s3_endpoint_url={endpoint}"])
    with pytest.raises(contract.DatasetError) as caught:
        paths.read_bytes("s3://b/a")
    assert message in str(caught.value)
    assert "cr" not in str(caught.value).replace("neither", "")


class CuttingOff(http.server.BaseHTTPRequestHandler):
    """Sends half of a file on the first request, and the whole file afterwards."""

    num_asked = 0

    def do_GET(self) -> None:  # noqa: N802
        CuttingOff.num_asked += 1
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"0123456789"[: 10 if CuttingOff.num_asked > 1 else 5])

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


def test_a_response_of_s3_that_breaks_off_is_requested_again(use_s3):
    use_s3()
    with serving(CuttingOff) as endpoint:
        buckets.configure([f"--s3_endpoint_url={endpoint}"])
        assert paths.read_bytes("s3://bucket/a.txt") == b"0123456789"
    assert CuttingOff.num_asked == 2


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [("s3://b/a", "botocore", "aws"), ("gs://b/a", "google.auth", "gcp")],
)
def test_what_is_not_installed_is_named(url, module, extra, monkeypatch):
    store = buckets._STORES[url[:2]][0]
    monkeypatch.delitem(sys.modules, store, raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(contract.DatasetError, match=rf"pip install '\.\[{extra}\]'"):
        paths.read_bytes(url)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("hdfs://host/a", "begins with none of gs://, s3://"),
        ("s3:///a", "s3:///a names no bucket: give s3://BUCKET"),
    ],
)
def test_a_url_of_no_bucket(url, text):
    with pytest.raises(contract.DatasetError, match=text):
        paths.read_bytes(url)


def test_a_local_error_is_one_line(tmp_path):
    with pytest.raises(contract.DatasetError, match=f"cannot use {tmp_path}: Is a dir"):
        paths.read_bytes(str(tmp_path))
    with pytest.raises(contract.DatasetError, match="cannot write .*b/c: No such file"):
        paths.write_bytes(str(tmp_path / "b" / "c"), b"")
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(
        contract.DatasetError, match="cannot use .*a/b: Not a directory"
    ):
        paths.make_directory(str(tmp_path / "a" / "b"))


def test_a_full_disk_is_explained(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "finished").write_bytes(b"x")
    monkeypatch.setattr("os.fsync", fail)
    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(contract.DatasetError, match=f"no space left in {tmp_path}"):
        paths.write_bytes(str(tmp_path / "a"), b"x")
    with pytest.raises(contract.DatasetError, match=f"no space left in {tmp_path}"):
        paths.put_file(str(tmp_path / "finished"), str(tmp_path / "a"))
    assert [path.name for path in pathlib.Path(tmp_path).iterdir()] == ["finished"]


def test_links_are_listed_as_what_they_lead_to(tmp_path):
    write(str(tmp_path / "real"), "a.txt")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "nowhere").symlink_to(tmp_path / "absent")
    (tmp_path / "real" / "b.txt").symlink_to("a.txt")
    assert entries(paths.list_directory(str(tmp_path / "real"))) == [
        ("a.txt", 1, False),
        ("b.txt", 1, False),
        ("loop", 0, True),
    ]
    assert [n for n, *_ in entries(paths.walk(str(tmp_path / "real")))] == [
        "a.txt",
        "b.txt",
    ]


def test_a_file_that_is_renamed_while_a_directory_is_listed_is_skipped(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b.tmp", "c"):
        (tmp_path / name).write_bytes(b"x")
    stat = os.stat

    def stat_late(path: str, *args: object, **kwargs: object) -> os.stat_result:
        if str(path).endswith(".tmp"):
            (tmp_path / "b.tmp").rename(tmp_path / "b")
        return stat(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", stat_late)
    entries = paths.list_directory(str(tmp_path))
    assert sorted(entry.name for entry in entries) == ["a", "c"]
