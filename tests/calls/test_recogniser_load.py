"""What was not heard over the limit is counted, over restarts too, and told of."""

from __future__ import annotations

from structlog.testing import capture_logs

from engine.calls.recogniser import RecogniserProcess
from media.speech.messages import RecogniserLoad


def load(refused: int) -> RecogniserLoad:
    return RecogniserLoad(utterances=2, waiting=0.0, decided=5, refused=refused, cut=0, broken=0)


def test_utterances_over_the_limit() -> None:
    recogniser = RecogniserProcess(vosk_model="", max_listening=2, on_path=lambda path: None)
    with capture_logs() as logs:
        for refused in (0, 3, 3, 4):
            recogniser._take("", load(refused))
        recogniser.load = None  # it died
        recogniser._take("", load(1))
    assert recogniser.refused == 5
    told = [entry for entry in logs if entry["event"] == "words_not_heard"]
    assert [entry["utterances"] for entry in told] == [3, 1, 1]
    assert told[0]["limit"] == 2
    assert all(entry["log_level"] == "warning" for entry in told)
