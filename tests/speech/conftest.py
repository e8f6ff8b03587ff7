import pytest

from media.speech.matching import KeywordMatcher


@pytest.fixture(scope="session")
def matcher() -> KeywordMatcher:
    """The recogniser as it is shipped."""
    return KeywordMatcher()
