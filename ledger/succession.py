"""Which keys of a log follow each other by its own `rotate` records: it answers for what all of them signed.

A handover begins another line: the log goes on elsewhere, under a key of somebody else.
"""

from collections.abc import Iterable

from ledger.keys import PublicKey
from ledger.rules.sequencing import founding_log
from ledger.rules.state import LOG
from ledger.statement import decode_statement


def key_lines(entries: Iterable[bytes]) -> list[list[PublicKey]]:
    """The log's Ed25519 keys in the order in which its entries name them, a list for the founding and each handover.

    Args:
        entries: all from entry 0 on, which the rules allow.

    Raises:
        LedgerError: they cannot be read.
    """
    lines: list[list[PublicKey]] = []
    for index, raw in enumerate(entries):
        payload = decode_statement(raw).payload
        if index == 0:
            lines.append([founding_log(payload, PublicKey(payload["coordinator"]), index).key.ed25519])
        elif payload["t"] == "handover":
            lines.append([PublicKey(payload["log"]).ed25519])
        elif payload["t"] == "rotate" and payload["member"] == LOG:
            lines[-1].append(PublicKey(payload["key"]).ed25519)
    return lines
