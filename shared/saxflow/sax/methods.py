"""Every RPC of SAX as data: path, request type, reply type; clients and servers read the same table.

Source: google/saxml v1.1.0 `saxml/protobuf/{admin,modelet,lm}.proto`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from saxflow.sax import messages as m

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)


@dataclass(frozen=True)
class Method(Generic[Request, Reply]):
    """One RPC.

    Args:
        service: full service name, for example `sax.Admin`.
        name: method name, for example `Publish`.
        request: class of the request message.
        reply: class of the reply message, of each one when `streams`.
        streams: the server answers with a stream.
    """

    service: str
    name: str
    request: type[Request]
    reply: type[Reply]
    streams: bool = False

    @property
    def path(self) -> str:
        """What travels as the HTTP/2 path, for example `/sax.Admin/Publish`."""
        return f"/{self.service}/{self.name}"


ADMIN = "sax.Admin"
MODELET = "sax.Modelet"
LM = "sax.server.lm.LMService"

PUBLISH = Method(ADMIN, "Publish", m.PublishRequest, m.PublishResponse)
UPDATE = Method(ADMIN, "Update", m.UpdateRequest, m.UpdateResponse)
UNPUBLISH = Method(ADMIN, "Unpublish", m.UnpublishRequest, m.UnpublishResponse)
LIST = Method(ADMIN, "List", m.ListRequest, m.ListResponse)
STATS = Method(ADMIN, "Stats", m.StatsRequest, m.StatsResponse)
WATCH_LOC = Method(ADMIN, "WatchLoc", m.WatchLocRequest, m.WatchLocResponse)
WAIT_FOR_READY = Method(ADMIN, "WaitForReady", m.WaitForReadyRequest, m.WaitForReadyResponse)
JOIN = Method(ADMIN, "Join", m.JoinRequest, m.JoinResponse)

LOAD = Method(MODELET, "Load", m.LoadRequest, m.LoadResponse)
UPDATE_LOADED = Method(MODELET, "UpdateLoaded", m.UpdateLoadedRequest, m.UpdateLoadedResponse)
UNLOAD = Method(MODELET, "Unload", m.UnloadRequest, m.UnloadResponse)
EXPORT = Method(MODELET, "Export", m.ExportRequest, m.ExportResponse)
GET_STATUS = Method(MODELET, "GetStatus", m.GetStatusRequest, m.GetStatusResponse)
SAVE = Method(MODELET, "Save", m.SaveRequest, m.SaveResponse)

SCORE = Method(LM, "Score", m.ScoreRequest, m.ScoreResponse)
GENERATE = Method(LM, "Generate", m.GenerateRequest, m.GenerateResponse)
GENERATE_STREAM = Method(
    LM, "GenerateStream", m.GenerateRequest, m.GenerateStreamResponse, streams=True
)
EMBED = Method(LM, "Embed", m.EmbedRequest, m.EmbedResponse)
GRADIENT = Method(LM, "Gradient", m.GradientRequest, m.GradientResponse)

ALL: tuple[Method[Any, Any], ...] = (
    PUBLISH,
    UPDATE,
    UNPUBLISH,
    LIST,
    STATS,
    WATCH_LOC,
    WAIT_FOR_READY,
    JOIN,
    LOAD,
    UPDATE_LOADED,
    UNLOAD,
    EXPORT,
    GET_STATUS,
    SAVE,
    SCORE,
    GENERATE,
    GENERATE_STREAM,
    EMBED,
    GRADIENT,
)
