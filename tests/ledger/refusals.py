"""What a refusal must be: typed, with the rule and the entry, and without a trace."""

import pytest
from consortium_simulator import Consortium

from ledger.rules import Refused


def refused(consortium: Consortium, raw: bytes) -> Refused:
    """The refusal of `raw`; asserts that the log is as before."""
    before, size = consortium.log.state, consortium.log.size
    with pytest.raises(Refused) as caught:
        consortium.log.append([raw])
    assert consortium.log.state is before
    assert consortium.log.size == size
    assert caught.value.index == size
    assert caught.value.exit_code == 1
    return caught.value
