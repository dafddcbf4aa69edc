"""Questions and answers as protobuf messages, and back."""

from clients.scoring import scores_pb2 as pb
from clients.scoring.answer import Answer
from clients.scoring.query import BadQuery, Query


def query_to_message(query: Query) -> pb.ScoreRequest:
    """Write a question as it is sent."""
    message = pb.ScoreRequest(
        request_id=query.id,
        task=query.task,
        purpose=query.purpose,
        subject_commitment=query.subject_commitment,
    )
    for name, value in query.features.items():
        feature = message.features[name]
        if value is None:
            feature.missing.SetInParent()
        elif isinstance(value, str):
            feature.text = value
        else:
            feature.number = value
    return message


def query_from_message(message: pb.ScoreRequest) -> Query:
    """Read a question.

    Raises:
        BadQuery: a field is out of its limits, or a feature has no value at all.
    """
    features: dict[str, float | str | None] = {}
    for name, feature in message.features.items():
        match feature.WhichOneof("value"):
            case "number":
                features[name] = feature.number
            case "text":
                features[name] = feature.text
            case "missing":
                features[name] = None
            case _:
                raise BadQuery(f"feature {name[:40]!r} has no value; say missing when it is not known")
    return Query(message.request_id, message.task, features, message.purpose, message.subject_commitment)


def answer_to_message(answer: Answer, signed: bytes, release: pb.Release | None) -> pb.ScoreAnswer:
    """Write an answer as it is sent; `release` is left out where the stream has carried it before."""
    return pb.ScoreAnswer(
        request_id=answer.id,
        score=answer.score,
        pd=answer.pd,
        reasons=[pb.Reason(code=r.code, text=r.text, points=r.points) for r in answer.reasons],
        model_hash=answer.model,
        release=release,
        answered_at_ms=answer.ts,
        signed_answer=signed,
    )
