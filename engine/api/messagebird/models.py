"""What requests and answers look like, for the documentation at ``/docs``. Answers are made in :mod:`.views`."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

_Item = TypeVar("_Item")

_UUID = "3538a6b8-5a2e-4537-8745-f72def6bd393"
_TIME = "2017-03-06T13:34:14Z"

Uuid = Annotated[str, Field(examples=[_UUID])]
Time = Annotated[str, Field(examples=[_TIME], description="RFC 3339.")]
Links = Annotated[dict[str, str], Field(alias="_links", description="Paths below the root of the API.")]


class _Model(BaseModel):
    model_config = ConfigDict(populate_by_name=True)


class Pagination(_Model):
    totalCount: int  # noqa: N815 - the API's names
    pageCount: int  # noqa: N815
    currentPage: int  # noqa: N815
    perPage: int  # noqa: N815


class One(_Model, Generic[_Item]):
    """A single object."""

    data: list[_Item]
    links: Links


class Many(_Model, Generic[_Item]):
    """A page of objects."""

    data: list[_Item]
    links: Links
    pagination: Pagination


class VoiceErrorItem(_Model):
    message: Annotated[str, Field(examples=["The `title` parameter is required."])]
    description: str
    code: Annotated[int, Field(examples=[11])]


class VoiceErrors(_Model):
    """Codes: 11 missing, 12 bad value, 13 not found, 14 forbidden, 15 no key, 16 body, 17 version, 18 query,
    25 impossible.
    """

    data: None = None
    errors: list[VoiceErrorItem]


class Step(_Model):
    model_config = ConfigDict(extra="allow")

    id: str = _UUID
    action: Literal["transfer", "say", "play", "pause", "record", "fetchCallFlow", "sendKeys", "hangup"]
    options: dict[str, Any] = Field(default={}, examples=[{"destination": "31612345678"}])


class FlowBody(_Model):
    """A call flow; its options are those of docs/dialects/messagebird.md."""

    title: Annotated[str, Field(examples=["Forward call to 31612345678"])]
    record: bool = False
    default: bool = False
    steps: list[Step]


class CallFlow(FlowBody):
    id: Uuid
    createdAt: Time  # noqa: N815
    updatedAt: Time  # noqa: N815
    links: Links


class NumbersBody(_Model):
    numbers: Annotated[list[str], Field(examples=[["31612345678"]])]


class FlowNumber(_Model):
    id: Uuid
    number: Annotated[str, Field(examples=["31612345678"])]
    callFlowId: Uuid  # noqa: N815
    createdAt: Time  # noqa: N815
    updatedAt: Time  # noqa: N815
    links: Links


class CallWebhook(_Model):
    url: Annotated[str, Field(examples=["https://example.com/told"])]
    token: str = ""


class CallBody(_Model):
    source: Annotated[str, Field(examples=["31644556677"])]
    destination: Annotated[str, Field(examples=["31612345678"])]
    callFlow: FlowBody  # noqa: N815
    webhook: CallWebhook | None = None


class CallChange(_Model):
    callFlow: FlowBody | None = None  # noqa: N815
    webhook: CallWebhook | None = None


class Call(_Model):
    id: Uuid
    status: Literal["queued", "starting", "ongoing", "ended"]
    source: str
    destination: str
    numberId: Uuid | None  # noqa: N815
    createdAt: Time  # noqa: N815
    updatedAt: Time  # noqa: N815
    endedAt: Time | None  # noqa: N815
    links: Links


class Leg(_Model):
    id: Uuid
    callId: Uuid  # noqa: N815
    callID: Uuid  # noqa: N815
    source: str
    destination: str
    status: Literal["starting", "ringing", "ongoing", "busy", "no_answer", "failed", "hangup"]
    direction: Literal["incoming", "outgoing"]
    cost: None
    currency: None
    duration: Annotated[int, Field(description="Seconds.")]
    createdAt: Time  # noqa: N815
    updatedAt: Time  # noqa: N815
    answeredAt: Time | None  # noqa: N815
    endedAt: Time | None  # noqa: N815
    sipResponseCode: int | None  # noqa: N815
    links: Links


class Recording(_Model):
    id: Uuid
    format: Literal["wav", "mp3"]
    type: Literal["call"]
    legId: Uuid  # noqa: N815
    legID: Uuid  # noqa: N815
    status: Literal["recording", "done", "failed"]
    duration: Annotated[int, Field(description="Seconds.")]
    createdAt: Time  # noqa: N815
    updatedAt: Time  # noqa: N815
    deletedAt: None  # noqa: N815
    links: Links


class TranscriptionBody(_Model):
    language: str = "en-US"


class Transcription(_Model):
    id: Uuid
    recordingId: Uuid  # noqa: N815
    recordingID: Uuid  # noqa: N815
    legId: Uuid  # noqa: N815
    legID: Uuid  # noqa: N815
    status: Literal["created", "transcribing", "done", "failed"]
    language: str
    error: str | None
    createdAt: Time  # noqa: N815
    updatedAt: Time  # noqa: N815
    links: Links


class WebhookBody(_Model):
    url: Annotated[str, Field(examples=["https://example.com/told"])]
    token: Annotated[str, Field(description="What is sent is signed with it.")] = ""
    title: str = ""


class WebhookChange(_Model):
    url: str | None = None
    token: str | None = None
    title: str | None = None


class Webhook(_Model):
    id: Uuid
    url: str
    token: str
    title: str | None
    createdAt: Time  # noqa: N815
    updatedAt: Time  # noqa: N815
    links: Links
