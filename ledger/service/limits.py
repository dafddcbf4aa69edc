"""How much one caller may ask of the service, and how long anything may take."""

from dataclasses import dataclass

from ledger.errors import LedgerError


class BadSetting(LedgerError):
    """A setting of the service makes no sense."""

    exit_code = 2


@dataclass(frozen=True)
class Settings:
    """What an operator may set; the defaults suit a consortium of tens of members.

    Attributes:
        inclusion_s: within so many seconds after accepting a statement the log promises to have it in its tree.
        checkpoint_s: a checkpoint at least this often while there are new entries; 0: after each batch.
        gather_s: cosignatures wait at most so long for others that complete a quorum.
        max_batch: most statements that are made durable together.
        max_pending: most calls waiting for the log; beyond it callers are told to come back.
        max_statements: most statements of one Submit.
        max_message_bytes: most bytes of one message from a caller.
        max_body_bytes: most bytes of one encrypted body.
        max_stored_bytes: most bytes of encrypted bodies that one member may have stored.
        max_entries: most entries of one Entries call; a caller asks again for more.
        max_followers: most Follow streams together.
        max_followers_each: most Follow streams of one member, and of all outsiders together.
        max_calls: most calls at hand together, streams too.
        max_calls_each: most calls of one member that are at hand, and that wait for the log.
        max_calls_outside: the same of all outsiders together.
        max_streams: most calls that one connection carries at a time; a client holds back further ones.
        answer_s: a caller is told to come back when the log has not dealt with its question for so long.
        max_wait_s: longest that Submit waits for finality.
        reply_bytes: a reply with entries is closed when it has so many bytes.
        stall_s: a stream whose reader takes nothing for so long is ended.
        stream_s: a Follow stream is ended after so long; its reader comes back with a new token.
        heartbeat_s: a Follow stream says at least this often that it is alive.
        grace_s: how long calls at hand may take when the service stops.
        audit_s: how long one piece of the audit in the background may take.
    """

    inclusion_s: int = 60
    checkpoint_s: float = 0.0
    gather_s: float = 0.05
    max_batch: int = 1024
    max_pending: int = 4096
    max_statements: int = 256
    max_message_bytes: int = 4 << 20
    max_body_bytes: int = 1 << 20
    max_stored_bytes: int = 1 << 30
    max_entries: int = 100_000
    max_followers: int = 256
    max_followers_each: int = 8
    max_calls: int = 2048
    max_calls_each: int = 128
    max_calls_outside: int = 32
    max_streams: int = 128
    answer_s: float = 30.0
    max_wait_s: float = 60.0
    reply_bytes: int = 1 << 20
    stall_s: float = 30.0
    stream_s: float = 3600.0
    heartbeat_s: float = 10.0
    grace_s: float = 5.0
    audit_s: float = 0.05

    def __post_init__(self) -> None:
        """Raise `BadSetting` unless every number is above 0 (checkpoint_s may be 0), and a promise can be kept."""
        for name, value in vars(self).items():
            if not (value > 0 or (name == "checkpoint_s" and value == 0)):
                raise BadSetting(f"the setting {name} is {value}; give a number above 0")
        if self.checkpoint_s >= self.inclusion_s:
            raise BadSetting(
                f"a checkpoint every {self.checkpoint_s} s breaks the promise of one within {self.inclusion_s} s; "
                "make them more often, or promise less"
            )
