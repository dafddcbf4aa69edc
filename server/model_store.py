"""Models in the artifact store: found by the hash that the ledger names."""

from __future__ import annotations

from clients.model_files import file_digests, model_digest
from server.artifacts import ArtifactDamaged, ArtifactStore
from server.descent import FILES, Descent


def store_model(store: ArtifactStore, descent: Descent) -> bytes:
    """Store a model; returns its hash.

    The concatenated digests of a model's files, in order of names, hash to the model's digest: that list is itself
    an artifact, whose name is the model's hash.
    """
    files = descent.files()
    digests = store.put_all(files[name] for name in FILES)
    return store.put(b"".join(digests))


def load_model(store: ArtifactStore, model: bytes) -> Descent:
    """The stored model of this hash.

    Raises:
        ArtifactMissing, ArtifactDamaged, ModelFileInvalid: it is not there, or not what it was.
    """
    listed = store.get(model, "model")
    if len(listed) != 32 * len(FILES):
        raise ArtifactDamaged(f"model: the artifact {model.hex()} is no list of {len(FILES)} files")
    parts = [listed[at : at + 32] for at in range(0, len(listed), 32)]
    files = {name: store.get(part, name) for name, part in zip(FILES, parts, strict=True)}
    assert model_digest(file_digests(files)) == model
    return Descent.from_files(files)
