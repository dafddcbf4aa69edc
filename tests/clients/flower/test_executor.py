"""What the process of a message finds ready: it imports nothing that its parent can have imported."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from clients.flower.runtime_client import socket_client

_WHAT_A_CHILD_NEEDS = """
import json, sys
from importlib import import_module
from pathlib import Path
from clients.flower import executor
import_module("flwr.supernode.runtime.run_clientapp")
import clients.app, clients.flower.gate, clients.flower.runtime_client
for late in executor.IMPORTED_LATE:
    import_module(late)
had = set(sys.modules)
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
MLKEM768PrivateKey.from_seed_bytes(bytes(64)).public_key().encapsulate()
clients.flower.runtime_client.socket_client(Path(sys.argv[1]) / "runtime.sock", [], None)
import io, pandas, pyarrow
pandas.read_csv(io.BytesIO(b"a,b\\n1,x"), encoding="utf-8-sig")
pyarrow.Table.from_pandas(pandas.DataFrame({"a": [1], "b": ["x"]}))
from sklearn.metrics import roc_auc_score
print(json.dumps(sorted(set(sys.modules) - had)))
"""


def test_what_libraries_import_late_is_there_before_the_fork(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    asked = [sys.executable, "-c", _WHAT_A_CHILD_NEEDS, str(tmp_path)]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_the_client_of_a_socket_loads_no_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(ssl, "create_default_context", lambda *_, **__: pytest.fail("certificates were loaded"))
    socket_client(tmp_path / "runtime.sock", [], None)
