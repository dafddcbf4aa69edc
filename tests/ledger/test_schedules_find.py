"""The schedules find a ledger that is broken.

Each part was broken on purpose, in memory (`schedules/broken.py`), and the schedules were run from 0 until one failed:
even numbers where the log is honest, odd ones where it is malicious. The table says which one it was; the tests run
them again and only ask for one of the first 10,000.

| what was broken                                      | found by |
|------------------------------------------------------|---------:|
| q is 2f + 1                                          |        5 |
| q is a majority                                      |       27 |
| a quorum of the moment's members is enough           |       15 |
| one approval changes the members                     |     1273 |
| cosignatures are not verified                        |      539 |
| a witness replays no rules                           |        7 |
| a witness forgets when it stops                      |        1 |
| a witness does not compare and set                   |      747 |
| a witness's record is not durable when it answers    |        1 |
| a witness leaves a history for one that is not final |      331 |
| a witness keeps no evidence                          |        9 |
| entries are acknowledged before they are written     |        0 |
| entries are not durable when they are acknowledged   |        2 |
| a checkpoint is durable before its entries           |        2 |
| a receipt is given before it is final                |        0 |
| the log goes on from an old copy                     |       64 |
| a statement sent again is not recognised             |        0 |
"""

import pytest
from schedules.broken import MUTATIONS


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_schedules_find_that(name: str) -> None:
    print(name, MUTATIONS[name].find(most=10_000))
