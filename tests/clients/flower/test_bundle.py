"""The app bundle: one hash for one version, readable by Flower, and what differs between two is named."""

import hashlib
import io
import tracemalloc
import zipfile

import pytest
from flwr.common.config import get_fab_config

from clients.flower.bundle import RUN_CONFIG, differences, installed_bundle, listed_files


def test_it_has_one_hash_however_often_it_is_built() -> None:
    once = installed_bundle()
    installed_bundle.cache_clear()
    again = installed_bundle()
    assert again.content == once.content
    assert once.sha256 == hashlib.sha256(once.content).hexdigest()


def test_it_holds_what_a_firm_runs_and_nothing_of_the_coordinators() -> None:
    files = installed_bundle().files
    assert {"clients/app.py", "clients/disclosure.py", "ledger/rules/__init__.py", "pyproject.toml"} <= files.keys()
    assert not [name for name in files if name.startswith(("server/", "experiments/")) or "__pycache__" in name]


def test_nothing_in_it_depends_on_a_compressor() -> None:
    with zipfile.ZipFile(io.BytesIO(installed_bundle().content)) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {entry.date_time for entry in archive.infolist()} == {(2024, 10, 1, 0, 0, 0)}


def test_flower_takes_it() -> None:
    app = get_fab_config(installed_bundle().content)["tool"]["flwr"]["app"]
    assert app["components"] == {"serverapp": "server.app:app", "clientapp": "clients.app:app"}
    assert app["config"] == dict(RUN_CONFIG)


def test_what_cannot_be_read_has_no_files() -> None:
    assert listed_files(b"not a bundle") == {}
    assert listed_files(installed_bundle().content[:5000]) == {}


def test_a_bundle_that_unpacks_to_more_than_the_limit_is_not_unpacked() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("small.py", b"pass")
        archive.writestr("bomb.py", bytes(20 << 20))
    assert listed_files(out.getvalue()).keys() == {"small.py"}


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("declared", [None, 100])
def test_a_bomb_takes_no_memory_whatever_it_says_of_its_size(method: int, declared: int | None) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("bomb.py", bytes(64 << 20))
    content = out.getvalue()
    if declared is not None:
        content = content.replace((64 << 20).to_bytes(4, "little"), declared.to_bytes(4, "little"))
    del out
    tracemalloc.start()
    assert listed_files(content) == {}
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 2 << 20


def test_files_that_lie_over_each_other_are_not_read_again_and_again() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one.py", bytes(9 << 20))
        entry = archive.infolist()[0]
        archive.filelist.extend([entry] * 50)
    assert len(listed_files(out.getvalue())) == 1


def test_a_bundle_of_too_many_files_is_not_listed() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("one.py", b"pass")
        archive.filelist.extend([archive.infolist()[0]] * 6000)
    assert listed_files(out.getvalue()) == {}


def test_each_file_in_which_two_differ_is_named_with_how() -> None:
    asked, installed = {"a.py": "1", "b.py": "2", "c.py": "3"}, {"a.py": "1", "b.py": "9", "d.py": "4"}
    assert differences(asked, installed) == ["~ b.py", "+ c.py", "- d.py"]
    assert differences(installed, installed) == []
