"""A node that asks for messages has answered what it had taken, or has lost it: who waits for its answer is told so.

Our SuperNode takes one message at a time, and the next when the last one is answered. So whatever it was given before
and has not answered when it asks was lost: its process was killed, the answer to its question never came through, or
its reply could not be sent. Flower notices only that a node is gone, half a minute after its last word; one that is
back sooner is waited for until the question's own deadline. And the rest of a reply of which some pieces were sent is
waited for for three minutes.
"""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger("artesian.superlink")


def tell_of_lost_messages() -> None:
    """Change Flower's classes for this process, once."""
    from flwr.common.constant import SUPERLINK_NODE_ID
    from flwr.server.superlink.linkstate.sql_linkstate import SqlLinkState

    methods = vars(SqlLinkState)
    for name in ("get_message_ins", "store_message_and_object_tree"):
        assert name in methods, f"Flower has no {SqlLinkState.__name__}.{name}"
    assert hasattr(SqlLinkState, "_cleanup_push_session"), f"Flower has no {SqlLinkState.__name__} with push sessions"
    give, store = methods["get_message_ins"], methods["store_message_and_object_tree"]
    sending = dict[int, str]()

    def given(self: Any, node_id: int, *arguments: object, **named: object) -> Any:
        if node_id != SUPERLINK_NODE_ID:
            forget_lost(self, node_id, sending.pop(node_id, None))
        return give(self, node_id, *arguments, **named)

    def stored(self: Any, message: Any, object_tree: Any, session_id: str) -> Any:
        answer = store(self, message, object_tree, session_id)
        if answer[0] and message.metadata.reply_to_message_id:
            sending[message.metadata.src_node_id] = session_id
        return answer

    changed: list[tuple[str, Any]] = [("get_message_ins", given), ("store_message_and_object_tree", stored)]
    for name, method in changed:
        setattr(SqlLinkState, name, method)


def forget_lost(state: Any, node_id: int, session: str | None) -> None:
    """Forget what a node was given and has not answered, and a reply of which it has sent some pieces only.

    Args:
        state: SuperLink's.
        session: in which the node pushed its last reply.
    """
    if session is not None:
        state._cleanup_push_session(session, cleanup_messages=True)  # one that is whole has no session any more
    lost = _unanswered(state, node_id)
    state.delete_messages(lost)  # not its pieces, which its sender may still be pushing: those go with the run
    if lost:
        log.warning("a node asks for messages, and has not answered %d that it took: they were lost", len(lost))


def _unanswered(state: Any, node_id: int) -> set[str]:
    from flwr.supercore.state.schema.linkstate_models import MessageIns, MessageRes
    from flwr.supercore.utils import uint64_to_int64
    from sqlalchemy import select

    answered = select(MessageRes.message_id).where(MessageRes.reply_to_message_id == MessageIns.message_id)
    taken = select(MessageIns.message_id).where(
        MessageIns.dst_node_id == uint64_to_int64(node_id), MessageIns.delivered_at != "", ~answered.exists()
    )
    with state.session() as session:
        return set(session.scalars(taken))
