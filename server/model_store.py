"""Models in the artifact store: found by the hash that the ledger names."""

from __future__ import annotations

from clients.model_files import file_digests, file_names, model_digest
from server.artifacts import ArtifactDamaged, ArtifactStore
from server.descent import Descent


def store_model(store: ArtifactStore, descent: Descent) -> bytes:
    """Store a model; returns its hash.

    The concatenated digests of a model's files, in order of names, hash to the model's digest: that list is itself
    an artifact, whose name is the model's hash.
    """
    files = descent.files()
    digests = store.put_all(files[name] for name in sorted(files))
    return store.put(b"".join(digests))


def load_model(store: ArtifactStore, model: bytes) -> Descent:
    """The stored model of this hash.

    Raises:
        ArtifactMissing, ArtifactDamaged, ModelFileInvalid: it is not there, or not what it was.
    """
    listed = store.get(model, "model")
    names = file_names(len(listed) // 32)
    if names is None or len(listed) % 32:
        raise ArtifactDamaged(f"model: the artifact {model.hex()} is no list of 3 files, or of 4")
    parts = [listed[at : at + 32] for at in range(0, len(listed), 32)]
    files = {name: store.get(part, name) for name, part in zip(names, parts, strict=True)}
    assert model_digest(file_digests(files)) == model
    return Descent.from_files(files)
