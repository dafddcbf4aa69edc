"""`artesian ledger members key`, `switch-key`, `encryption`: an organisation's keys."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.commands.answering import AsJson, UsageError, answer, answering, make_folder, write
from ledger.commands.connecting import Address, Authority, address_of, connected
from ledger.commands.places import OwnHome, cid_of, standing
from ledger.commands.placing import put
from ledger.commands.speaking import fresh_record, speaker

if TYPE_CHECKING:
    from ledger.keys import SigningKey


def key(
    home: OwnHome,
    member: Annotated[str, typer.Option("--member", help="The member's id, a short lower-case name.")],
    kind: Annotated[
        str | None, typer.Option(help="firm or bank. Default: as the home's member.toml says, or else firm.")
    ] = None,
    name: Annotated[
        str, typer.Option(help="The organisation's name, for people. Default: as member.toml says, or else the id.")
    ] = "",
    hybrid: Annotated[bool, typer.Option("--hybrid", help="Ed25519 and ML-DSA-65 together.")] = False,
    coming: Annotated[bool, typer.Option("--next", help="The key that is to replace the present one.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a member's signing key where it stays, and print the block with which it asks to be enrolled."""
    from ledger.genesis import Founder
    from ledger.homes import COMING_KEY, MEMBER, SIGNING_KEY
    from ledger.keys import SigningKey
    from ledger.member_file import KINDS, member_block
    from ledger.rules.records import is_slug

    with answering(as_json):
        if kind not in (None, *KINDS):
            raise UsageError(f"--kind {kind!r}: choose {' or '.join(KINDS)}")
        if not is_slug(member):
            raise UsageError(f"--member {member!r}: use lower-case letters, digits and hyphens")
        kind, name = _named_before(home, member, kind, name)
        secret, block_file = (COMING_KEY, f"next-{MEMBER}") if coming else (SIGNING_KEY, MEMBER)
        make_folder(home, mode=0o700)
        made = SigningKey.generate(hybrid=hybrid)
        made.save(home / secret)
        block = member_block(Founder(member, kind, made.public, name))
        write(home / block_file, block.encode(), replace=True)
        facts = {
            "ok": True,
            "member": member,
            "kind": kind,
            "key": made.public.raw,
            "fingerprint": made.public.fingerprint,
            "file": str(home / block_file),
        }
        answer(facts, block.splitlines(), as_json)


def _named_before(home: Path, member: str, kind: str | None, name: str) -> tuple[str, str]:
    """The kind and the name of a member: as given, or as the home's `member.toml` has them, if it is there.

    Raises:
        UsageError: what is given is not what stands there.
        HomeError: it cannot be read.
    """
    from ledger.homes import MEMBER
    from ledger.member_file import read_members

    file = home / MEMBER
    if not file.exists():
        return kind or "firm", name or member
    (known, *_) = read_members(file)
    for option, given, there in (
        ("--member", member, known.member),
        ("--kind", kind, known.kind),
        ("--name", name, known.name),
    ):
        if given and given != there:
            raise UsageError(f"{option} {given!r}: {file} says {there!r}; leave it as it is there, or move it away")
    return known.kind, known.name


def switch(home: OwnHome, address: Address = "", ca: Authority = None, as_json: AsJson = False) -> None:
    """Put the next signing key in place of the present one, once the ledger names it.

    The home's mirror is asked, and if it does not know, the service, in the new key's name. An old key is kept beside
    it as `signing.old-....pem`: nothing is signed with it any more.
    """
    from ledger.homes import COMING_KEY, MEMBER, SIGNING_KEY
    from ledger.keys import SigningKey

    with answering(as_json):
        if not (home / COMING_KEY).exists():
            raise UsageError(
                f"{home}: there is no next key to switch to; make one with: "
                f"artesian ledger members key --home {home} --member ID --next"
            )
        coming, present = SigningKey.load(home / COMING_KEY), home / SIGNING_KEY
        name = _owner(coming, home, address_of(home, address), ca)
        if present.exists():
            present.rename(home / f"signing.old-{SigningKey.load(present).public.kid.hex()[:8]}.pem")
        (home / COMING_KEY).rename(present)
        if (home / f"next-{MEMBER}").exists():
            (home / f"next-{MEMBER}").replace(home / MEMBER)
        fingerprint = coming.public.fingerprint
        facts = {"ok": True, "member": name, "fingerprint": fingerprint}
        words = [f"{name} signs with {fingerprint} now.", "Start its witness again: it ended with the key before."]
        answer(facts, words, as_json)


def _owner(coming: SigningKey, home: Path, address: str, ca: Path | None) -> str:
    """Whose key `coming` is by the ledger: the home's mirror knows, or the service."""
    from ledger.homes import COMING_KEY, LEDGER, MIRROR, member_of
    from ledger.rules import COORDINATOR

    owners: dict[bytes, str] = {}
    if any((home / name).is_file() for name in (LEDGER, MIRROR)):
        state = standing(home).state
        owners = {one.key.raw: one.member for one in state.members.values()}
        if state.coordinator is not None:
            owners[state.coordinator.raw] = COORDINATOR
    if coming.public.raw not in owners and address:
        with connected(address, home, ca, (member_of(home), coming)) as client:
            owners = {one.key: one.member for one in client.members()}
    if coming.public.raw not in owners:
        raise UsageError(f"{home / COMING_KEY}: the ledger does not name this key yet; submit the rotation first")
    return owners[coming.public.raw]


def encryption(
    home: OwnHome,
    new: Annotated[bool, typer.Option("--new", help="Replace the key; the old one still opens older bodies.")] = False,
    address: Address = "",
    ca: Authority = None,
    as_json: AsJson = False,
) -> None:
    """Make this member's encryption key, if it has none, and publish it: bodies are sealed to it."""
    from ledger.homes import COMING_ENCRYPTION_KEY, ENCRYPTION_KEY
    from ledger.service.encryption_key import EncryptionKey

    with answering(as_json):
        name, key = speaker(home)
        present, coming = home / ENCRYPTION_KEY, home / COMING_ENCRYPTION_KEY
        fresh = new or not present.exists()
        if fresh and not coming.exists():
            EncryptionKey.generate().save(coming)
        public = EncryptionKey.load(coming if fresh else present).public
        if _published(name, key, home, address, ca) != public:
            put([_encryption_statement(name, key, public, home)], home, address, ca, (name, key))
        if fresh:
            if present.exists():
                present.rename(home / f"encryption.old-{os.urandom(4).hex()}.pem")
            coming.rename(present)
        facts = {"ok": True, "member": name, "key": public}
        answer(facts, [f"Bodies for {name} are sealed to the key in {present} from now on."], as_json)


def _published(name: str, key: SigningKey, home: Path, address: str, ca: Path | None) -> bytes | None:
    where = address_of(home, address)
    if not where:
        return standing(home).state.encryption_keys.get(name)
    with connected(where, home, ca, (name, key)) as client:
        return next((one.encryption_key for one in client.members() if one.member == name), None)


def _encryption_statement(name: str, key: SigningKey, public: bytes, home: Path) -> bytes:
    from ledger.statement import sign_statement

    return sign_statement(fresh_record("encryption_key", cid_of(home), key=public), issuer=name, subject=name, key=key)


def made_key(path: Path) -> SigningKey:
    """The key in a file, made now if there is none."""
    from ledger.keys import SigningKey

    if not path.exists():
        SigningKey.generate().save(path)
    return SigningKey.load(path)
