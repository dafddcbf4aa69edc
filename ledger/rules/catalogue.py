"""The rules in words, for people: a table of record types, and one of the names that refusals bear."""

import inspect
from collections.abc import Iterable, Mapping, Sequence

from ledger.rules.epochs import MOST_PURPOSES
from ledger.rules.kinds import KINDS, SHARED
from ledger.rules.records import COMMON, FIELDS, OPTIONAL, OWN_OPTIONAL

RULES: Mapping[str, str] = {
    "acl": "`parties` comes with `body_sha256`, `members` (the default) and `public` come without",
    "approvals": "a quorum of the active members signed this very record, each once, with its present key",
    "base": "a handover names the number of entries before it, and their Merkle root",
    "cap": "a firm's cap only falls, and its declared spend stays within it at every order",
    "cid": "the record names this consortium",
    "cohort": "a cohort lists active firms, each once, at least `min_cohort`; only they contribute",
    "epoch": f"a member's epoch for one purpose only rises, with one key each; it has at most {MOST_PURPOSES} purposes",
    "genesis": "entry 0 is the coordinator's policy; then exactly its number of founding members is enrolled",
    "grid": "privacy spend and caps have one number for each order of the grid in use",
    "id": "no earlier record has the same id",
    "inputs": "an aggregate lists exactly the logged contributions in ledger order; an attestation repeats no digest",
    "issuer": "the issuer is active and may issue this type of record, for itself where it names an organisation",
    "key": "the key is well-formed, and neither it nor its half was ever named before",
    "log": "`next_log` stands in a rotate record of the log and in no other",
    "member": "the member named is active, of the right kind, or free to be enrolled; the last one stays",
    "model": "the model is the one that was aggregated, published once, and not revoked",
    "once": "a firm contributes to a round once",
    "order": "entries come one by one",
    "parent": "a contribution names its round, a round an allowed parent model, a change of members the last change",
    "phase": "a round goes from open to aggregated to published, or is aborted before that; one is open at a time",
    "policy": "a later policy keeps the coordinator's key, the log's key and the founding",
    "round": "the round is on the ledger",
    "schema": "exactly the fields of the record type, each of its type and size",
    "signature": "the issuer's key of this moment signed the statement",
    "signatures": "under the hybrid policy every key in use is a hybrid one",
    "task": "a task is declared once, and before it is used",
}
"""What each rule says: the name is `ledger.rules.Refused.rule`."""


def markdown() -> str:
    """Both tables in Markdown."""
    records = [
        (f"`{name}`", kind.issuer.words, _fields(name), _sentence(kind.rule), _names(kind.refusals))
        for name, kind in KINDS.items()
    ]
    rules = [(f"`{name}`", f"{words}{' (all records)' if name in SHARED else ''}") for name, words in RULES.items()]
    return "\n".join(
        [
            *_table(("record", "issued by", "own fields", "what it does", "refused by"), records),
            "",
            f"All records have {_names(COMMON)}, may have {_names(OPTIONAL)}, and are refused by {_names(SHARED)}.",
            "",
            *_table(("rule", "what it asks"), rules),
            "",
        ]
    )


def _sentence(rule: object) -> str:
    return (inspect.getdoc(rule) or "").split("\n\n")[0].replace("\n", " ")


def _fields(name: str) -> str:
    optional = [f"`{field}`?" for field in OWN_OPTIONAL.get(name, {})]
    return ", ".join([*(f"`{field}`" for field in FIELDS[name]), *optional])


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
