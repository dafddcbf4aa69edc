"""Which release of the program this is, and what one says to a database that another release wrote."""

from importlib.metadata import PackageNotFoundError, version

from ledger.errors import StoreError


class OtherSchema(StoreError):
    """The database's tables are of another release; nothing of it was changed."""


def this_release() -> str:
    """The version of the installed program; `unknown` where it runs without being installed."""
    try:
        return version("artesian")
    except PackageNotFoundError:
        return "unknown"


def other_schema(name: str, found: str | None, reads: str, wrote: str | None) -> OtherSchema:
    """What a database called `name` is refused with.

    Args:
        found: the version of its tables; None if it does not say.
        reads: the version that this release reads.
        wrote: the release that made it, if it says so.
    """
    return OtherSchema(
        f"{name}: artesian {wrote or 'of an unknown version'} made it with schema {found!r}, and this is artesian "
        f"{this_release()}, which reads {reads!r}; go on with the release that made it, or carry the ledger over: "
        "there artesian ledger export FOLDER, here artesian ledger restore FOLDER (a sequencer's) or artesian ledger "
        "mirror FOLDER (a member's); see Upgrading in docs/ledger.md"
    )
