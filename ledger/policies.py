"""The trust policies that a log has had, and which of them a receipt is held to: the one of its time.

A home keeps each as `policies/SIZE.txt`, after the number of entries from which on it holds. A folder of policies is
trusted as a whole: each file for the time from its own size up to the next one's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from ledger.errors import LedgerError
from ledger.homes import POLICIES, POLICY
from ledger.policy import Policy
from ledger.receipt import Receipt, ReceiptError, VerifiedReceipt, of_its_time, verify_receipt

_SIZE = re.compile("[1-9][0-9]{0,18}")


def policy_files(path: Path) -> list[Path]:
    """The files that `path` stands for: itself, those of a folder (`*.txt`), or those that a home keeps."""
    if not path.is_dir():
        return [path]
    if (path / POLICIES).is_dir():
        return [path / POLICY, *sorted((path / POLICIES).glob("*.txt"))]
    return sorted(path.glob("*.txt"))


@dataclass(frozen=True)
class Policies:
    """Policies by the names of their files. One whose name is no size holds for any time, and so does an only one."""

    known: Mapping[str, Policy]

    def verify(self, receipt: bytes, statement: bytes) -> tuple[str, VerifiedReceipt]:
        """Check that `statement` is on the ledger and final, by the policy of the receipt's time; say which that is.

        Raises:
            LedgerError: as `verify_receipt`, or there is no policy of that time.
        """
        names, problem = list(self.known), None
        if len(names) > 1:
            names = self._of(Receipt.from_bytes(receipt).size)
        for name in names:
            try:
                return name, verify_receipt(receipt, statement, self.known[name])
            except LedgerError as error:
                problem = problem or error
        size = Receipt.from_bytes(receipt).size
        raise problem or ReceiptError(f"all policies given are of a later time; {of_its_time(size)}")

    def _of(self, size: int) -> list[str]:
        """The names of those that a checkpoint over `size` entries may be held to, the likeliest first."""
        since = {name: int(stem) for name in self.known if _SIZE.fullmatch(stem := PurePath(name).stem)}
        begun = sorted((name for name in since if since[name] <= size), key=lambda name: since[name])
        return [*begun[-1:], *(name for name in self.known if name not in since)]
