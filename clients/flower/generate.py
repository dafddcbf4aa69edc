"""Generate the protobuf code from flower_api.proto: `python -m clients.flower.generate`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROTO = Path("clients/flower/flower_api.proto")
GENERATED = ("flower_api_pb2.py", "flower_api_pb2.pyi")


def generate(out: Path) -> None:
    """Write the generated modules under `out`/clients/flower.

    The path of the .proto below the repository root is what makes the generated code import as
    `clients.flower.flower_api_pb2`.

    Raises:
        RuntimeError: the compiler refused the .proto; it has said why on standard error.
    """
    # A process of its own: the compiler brings a protobuf library that crashes with the one inside TenSEAL.
    compiler = [sys.executable, "-m", "grpc_tools.protoc"]
    arguments = [f"-I{ROOT}", f"--python_out={out}", f"--pyi_out={out}"]
    if subprocess.run([*compiler, *arguments, str(ROOT / PROTO)]).returncode != 0:
        raise RuntimeError(f"protoc refused {PROTO}")


if __name__ == "__main__":
    generate(ROOT)
    sys.stdout.write("".join(f"{PROTO.parent / name}\n" for name in GENERATED))
