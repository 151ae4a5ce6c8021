"""Types of `messages`: what the tables there become."""

from collections.abc import Iterable, Mapping, MutableMapping, MutableSequence
from typing import Final, Protocol, Self, TypeVar

from google.protobuf.message import Message

from saxflow.sax.schema import Package

SAX: Package
LM: Package

NONE: Final = 0
LOADING: Final = 1
LOADED: Final = 2
FAILED: Final = 3
UNLOADING: Final = 4

_T = TypeVar("_T")

class _Message(Message):
    @classmethod
    def FromString(cls, s: bytes) -> Self: ...
    def SerializeToString(self, *, deterministic: bool = False) -> bytes: ...
    def CopyFrom(self, other_msg: Message) -> None: ...
    def HasField(self, field_name: str) -> bool: ...
    def SetInParent(self) -> None: ...
    def WhichOneof(self, oneof_group: str) -> str | None: ...

class _Repeated(MutableSequence[_T]):
    def add(self, **fields: object) -> _T: ...

class _Enum(Protocol):
    @staticmethod
    def Name(number: int) -> str: ...
    @staticmethod
    def Value(name: str) -> int: ...
    @staticmethod
    def keys() -> list[str]: ...

class AccessControlLists(_Message):
    items: MutableMapping[str, str]
    def __init__(self, *, items: Mapping[str, str] | None = None) -> None: ...

class Tensor(_Message):
    values: MutableSequence[float]
    def __init__(self, *, values: Iterable[float] | None = None) -> None: ...

class ExtraInputs(_Message):
    items: MutableMapping[str, float]
    tensors: MutableMapping[str, Tensor]
    strings: MutableMapping[str, str]
    def __init__(
        self,
        *,
        items: Mapping[str, float] | None = None,
        tensors: Mapping[str, Tensor] | None = None,
        strings: Mapping[str, str] | None = None,
    ) -> None: ...

class Location(_Message):
    location: str
    def __init__(self, *, location: str = ...) -> None: ...

class Config(_Message):
    fs_root: str
    admin_acl: str
    def __init__(self, *, fs_root: str = ..., admin_acl: str = ...) -> None: ...

class State(_Message):
    models: _Repeated[Model]
    last_generation: int
    def __init__(
        self, *, models: Iterable[Model] | None = None, last_generation: int = ...
    ) -> None: ...

class Model(_Message):
    model_id: str
    model_path: str
    checkpoint_path: str
    requested_num_replicas: int
    @property
    def acls(self) -> AccessControlLists: ...
    admin_acl: str
    overrides: MutableMapping[str, str]
    uuid: bytes
    def __init__(
        self,
        *,
        model_id: str = ...,
        model_path: str = ...,
        checkpoint_path: str = ...,
        requested_num_replicas: int = ...,
        acls: AccessControlLists | None = None,
        admin_acl: str = ...,
        overrides: Mapping[str, str] | None = None,
        uuid: bytes = ...,
    ) -> None: ...

class PublishedModel(_Message):
    @property
    def model(self) -> Model: ...
    modelet_addresses: MutableSequence[str]
    def __init__(
        self, *, model: Model | None = None, modelet_addresses: Iterable[str] | None = None
    ) -> None: ...

class ModelServer(_Message):
    ChipType: type[_Enum]
    CHIP_TYPE_UNKNOWN: Final = 0
    CHIP_TYPE_TPU_V2: Final = 2
    CHIP_TYPE_TPU_V3: Final = 4
    CHIP_TYPE_TPU_V4: Final = 6
    CHIP_TYPE_TPU_V4I: Final = 5
    CHIP_TYPE_TPU_V5E: Final = 15
    CHIP_TYPE_GPU_P100: Final = 9
    CHIP_TYPE_GPU_V100: Final = 10
    CHIP_TYPE_GPU_T4: Final = 13
    CHIP_TYPE_GPU_A100: Final = 11
    CHIP_TYPE_GPU_H100: Final = 14
    CHIP_TYPE_CPU: Final = 12
    ChipTopology: type[_Enum]
    CHIP_TOPOLOGY_UNKNOWN: Final = 0
    CHIP_TOPOLOGY_1: Final = 22
    CHIP_TOPOLOGY_2: Final = 24
    CHIP_TOPOLOGY_4: Final = 23
    CHIP_TOPOLOGY_8: Final = 25
    CHIP_TOPOLOGY_16: Final = 26
    CHIP_TOPOLOGY_1X1: Final = 1
    CHIP_TOPOLOGY_2X2: Final = 2
    CHIP_TOPOLOGY_2X4: Final = 28
    CHIP_TOPOLOGY_4X2: Final = 21
    CHIP_TOPOLOGY_4X4: Final = 3
    CHIP_TOPOLOGY_4X8: Final = 4
    CHIP_TOPOLOGY_8X8: Final = 5
    CHIP_TOPOLOGY_8X16: Final = 6
    CHIP_TOPOLOGY_16X16: Final = 7
    CHIP_TOPOLOGY_16X32: Final = 8
    CHIP_TOPOLOGY_32X32: Final = 9
    CHIP_TOPOLOGY_1X1X1: Final = 10
    CHIP_TOPOLOGY_1X2X1: Final = 11
    CHIP_TOPOLOGY_2X2X1: Final = 12
    CHIP_TOPOLOGY_2X2X2: Final = 13
    CHIP_TOPOLOGY_2X2X4: Final = 14
    CHIP_TOPOLOGY_2X4X4: Final = 15
    CHIP_TOPOLOGY_4X4X4: Final = 16
    CHIP_TOPOLOGY_4X4X8: Final = 17
    CHIP_TOPOLOGY_4X4X16: Final = 18
    CHIP_TOPOLOGY_4X8X8: Final = 19
    CHIP_TOPOLOGY_8X8X12: Final = 20
    CHIP_TOPOLOGY_8X8X8: Final = 27
    chip_type: int
    chip_topology: int
    servable_model_paths: MutableSequence[str]
    def __init__(
        self,
        *,
        chip_type: int = ...,
        chip_topology: int = ...,
        servable_model_paths: Iterable[str] | None = None,
    ) -> None: ...

class ModelServerTypeStat(_Message):
    chip_type: int
    chip_topology: int
    num_replicas: int
    def __init__(
        self, *, chip_type: int = ..., chip_topology: int = ..., num_replicas: int = ...
    ) -> None: ...

class JoinedModelServer(_Message):
    @property
    def model_server(self) -> ModelServer: ...
    address: str
    debug_address: str
    last_join_ms: int
    loaded_models: MutableMapping[str, int]
    failure_reasons: MutableMapping[str, str]
    def __init__(
        self,
        *,
        model_server: ModelServer | None = None,
        address: str = ...,
        debug_address: str = ...,
        last_join_ms: int = ...,
        loaded_models: Mapping[str, int] | None = None,
        failure_reasons: Mapping[str, str] | None = None,
    ) -> None: ...

class PublishRequest(_Message):
    @property
    def model(self) -> Model: ...
    def __init__(self, *, model: Model | None = None) -> None: ...

class PublishResponse(_Message): ...

class UnpublishRequest(_Message):
    model_id: str
    def __init__(self, *, model_id: str = ...) -> None: ...

class UnpublishResponse(_Message): ...

class UpdateRequest(_Message):
    @property
    def model(self) -> Model: ...
    def __init__(self, *, model: Model | None = None) -> None: ...

class UpdateResponse(_Message): ...

class ListRequest(_Message):
    model_id: str
    def __init__(self, *, model_id: str = ...) -> None: ...

class ListResponse(_Message):
    published_models: _Repeated[PublishedModel]
    def __init__(self, *, published_models: Iterable[PublishedModel] | None = None) -> None: ...

class StatsRequest(_Message):
    model_id: str
    def __init__(self, *, model_id: str = ...) -> None: ...

class StatsResponse(_Message):
    model_server_type_stats: _Repeated[ModelServerTypeStat]
    def __init__(
        self, *, model_server_type_stats: Iterable[ModelServerTypeStat] | None = None
    ) -> None: ...

class WatchLocRequest(_Message):
    model_id: str
    admin_server_id: str
    seqno: int
    def __init__(
        self, *, model_id: str = ..., admin_server_id: str = ..., seqno: int = ...
    ) -> None: ...

class WatchResult(_Message):
    class Mutation(_Message):
        addition: str
        deletion: str
        def __init__(self, *, addition: str = ..., deletion: str = ...) -> None: ...

    next_seqno: int
    has_fullset: bool
    values: MutableSequence[str]
    changelog: _Repeated[WatchResult.Mutation]
    def __init__(
        self,
        *,
        next_seqno: int = ...,
        has_fullset: bool = ...,
        values: Iterable[str] | None = None,
        changelog: Iterable[WatchResult.Mutation] | None = None,
    ) -> None: ...

class WatchLocResponse(_Message):
    admin_server_id: str
    @property
    def result(self) -> WatchResult: ...
    def __init__(
        self, *, admin_server_id: str = ..., result: WatchResult | None = None
    ) -> None: ...

class WaitForReadyRequest(_Message):
    model_id: str
    num_replicas: int
    def __init__(self, *, model_id: str = ..., num_replicas: int = ...) -> None: ...

class WaitForReadyResponse(_Message): ...

class JoinRequest(_Message):
    address: str
    debug_address: str
    @property
    def model_server(self) -> ModelServer: ...
    def __init__(
        self,
        *,
        address: str = ...,
        debug_address: str = ...,
        model_server: ModelServer | None = None,
    ) -> None: ...

class JoinResponse(_Message): ...

class LoadRequest(_Message):
    model_key: str
    model_path: str
    checkpoint_path: str
    @property
    def acls(self) -> AccessControlLists: ...
    overrides: MutableMapping[str, str]
    def __init__(
        self,
        *,
        model_key: str = ...,
        model_path: str = ...,
        checkpoint_path: str = ...,
        acls: AccessControlLists | None = None,
        overrides: Mapping[str, str] | None = None,
    ) -> None: ...

class LoadResponse(_Message): ...

class UpdateLoadedRequest(_Message):
    model_key: str
    @property
    def acls(self) -> AccessControlLists: ...
    def __init__(self, *, model_key: str = ..., acls: AccessControlLists | None = None) -> None: ...

class UpdateLoadedResponse(_Message): ...

class UnloadRequest(_Message):
    model_key: str
    def __init__(self, *, model_key: str = ...) -> None: ...

class UnloadResponse(_Message): ...

class ExportRequest(_Message):
    SerializedModelFormat: type[_Enum]
    SERIALIZED_MODEL_FORMAT_UNKNOWN: Final = 0
    TF_SAVEDMODEL_V0: Final = 1
    RngSeedMode: type[_Enum]
    RNG_SEED_MODE_UNSPECIFIED: Final = 0
    STATELESS: Final = 1
    STATEFUL: Final = 2
    FIXED: Final = 3
    model_key: str
    method_names: MutableSequence[str]
    signatures: MutableSequence[str]
    export_path: str
    serialized_model_format: int
    rng_seed_mode: int
    def __init__(
        self,
        *,
        model_key: str = ...,
        method_names: Iterable[str] | None = None,
        signatures: Iterable[str] | None = None,
        export_path: str = ...,
        serialized_model_format: int = ...,
        rng_seed_mode: int = ...,
    ) -> None: ...

class ExportResponse(_Message): ...

class SaveRequest(_Message):
    model_key: str
    checkpoint_path: str
    def __init__(self, *, model_key: str = ..., checkpoint_path: str = ...) -> None: ...

class SaveResponse(_Message): ...

class GetStatusRequest(_Message):
    include_failure_reasons: bool
    def __init__(self, *, include_failure_reasons: bool = ...) -> None: ...

class GetStatusResponse(_Message):
    class ModelWithStatus(_Message):
        model_key: str
        model_status: int
        failure_reason: str
        def __init__(
            self, *, model_key: str = ..., model_status: int = ..., failure_reason: str = ...
        ) -> None: ...

    models: _Repeated[GetStatusResponse.ModelWithStatus]
    def __init__(
        self, *, models: Iterable[GetStatusResponse.ModelWithStatus] | None = None
    ) -> None: ...

class ScoreRequest(_Message):
    model_key: str
    suffix: MutableSequence[str]
    prefix: str
    @property
    def extra_inputs(self) -> ExtraInputs: ...
    def __init__(
        self,
        *,
        model_key: str = ...,
        suffix: Iterable[str] | None = None,
        prefix: str = ...,
        extra_inputs: ExtraInputs | None = None,
    ) -> None: ...

class ScoreResponse(_Message):
    logp: MutableSequence[float]
    def __init__(self, *, logp: Iterable[float] | None = None) -> None: ...

class GenerateRequest(_Message):
    model_key: str
    text: str
    @property
    def extra_inputs(self) -> ExtraInputs: ...
    def __init__(
        self, *, model_key: str = ..., text: str = ..., extra_inputs: ExtraInputs | None = None
    ) -> None: ...

class DecodedText(_Message):
    text: str
    score: float
    def __init__(self, *, text: str = ..., score: float = ...) -> None: ...

class GenerateResponse(_Message):
    texts: _Repeated[DecodedText]
    def __init__(self, *, texts: Iterable[DecodedText] | None = None) -> None: ...

class GenerateStreamItem(_Message):
    text: str
    prefix_len: int
    score: float
    scores: MutableSequence[float]
    def __init__(
        self,
        *,
        text: str = ...,
        prefix_len: int = ...,
        score: float = ...,
        scores: Iterable[float] | None = None,
    ) -> None: ...

class GenerateStreamResponse(_Message):
    items: _Repeated[GenerateStreamItem]
    def __init__(self, *, items: Iterable[GenerateStreamItem] | None = None) -> None: ...

class EmbedRequest(_Message):
    model_key: str
    text: str
    @property
    def extra_inputs(self) -> ExtraInputs: ...
    def __init__(
        self, *, model_key: str = ..., text: str = ..., extra_inputs: ExtraInputs | None = None
    ) -> None: ...

class EmbedResponse(_Message):
    embedding: MutableSequence[float]
    def __init__(self, *, embedding: Iterable[float] | None = None) -> None: ...

class GradientRequest(_Message):
    model_key: str
    suffix: MutableSequence[str]
    prefix: str
    @property
    def extra_inputs(self) -> ExtraInputs: ...
    def __init__(
        self,
        *,
        model_key: str = ...,
        suffix: Iterable[str] | None = None,
        prefix: str = ...,
        extra_inputs: ExtraInputs | None = None,
    ) -> None: ...

class GradientResponse(_Message):
    class Gradient(_Message):
        values: MutableSequence[float]
        def __init__(self, *, values: Iterable[float] | None = None) -> None: ...

    score: MutableSequence[float]
    gradients: MutableMapping[str, GradientResponse.Gradient]
    def __init__(
        self,
        *,
        score: Iterable[float] | None = None,
        gradients: Mapping[str, GradientResponse.Gradient] | None = None,
    ) -> None: ...
