"""Every message of SAX's admin, modelet and language model services; types are in `messages.pyi`.

Source: google/saxml v1.1.0 `saxml/protobuf/{admin,modelet,lm,common}.proto`. lm is the same on
main; admin and modelet only gained fields there, which stay in the unknown fields of a message.
"""

from __future__ import annotations

from saxflow.sax.schema import Package, build

_ADMIN = {
    "AccessControlLists": {"items": (1, "map<string,string>")},
    "Tensor": {"values": (1, "repeated float")},
    "ExtraInputs": {
        "items": (1, "map<string,float>"),
        "tensors": (2, "map<string,Tensor>"),
        "strings": (3, "map<string,string>"),
    },
    "Location": {"location": (1, "string")},
    "Config": {"fs_root": (1, "string"), "admin_acl": (2, "string")},
    "State": {"models": (1, "repeated Model"), "last_generation": (2, "int32")},
    "Model": {
        "model_id": (1, "string"),
        "model_path": (2, "string"),
        "checkpoint_path": (3, "string"),
        "requested_num_replicas": (4, "int32"),
        "acls": (5, "AccessControlLists"),
        "admin_acl": (6, "string"),
        "overrides": (7, "map<string,string>"),
        "uuid": (8, "bytes"),
    },
    "PublishedModel": {"model": (1, "Model"), "modelet_addresses": (2, "repeated string")},
    "ModelServer": {
        "chip_type": (1, "ModelServer.ChipType"),
        "chip_topology": (2, "ModelServer.ChipTopology"),
        "servable_model_paths": (3, "repeated string"),
    },
    "ModelServerTypeStat": {
        "chip_type": (1, "ModelServer.ChipType"),
        "chip_topology": (2, "ModelServer.ChipTopology"),
        "num_replicas": (3, "int32"),
    },
    "JoinedModelServer": {
        "model_server": (1, "ModelServer"),
        "address": (2, "string"),
        "debug_address": (6, "string"),
        "last_join_ms": (3, "int64"),
        "loaded_models": (4, "map<string,ModelStatus>"),
        "failure_reasons": (5, "map<string,string>"),
    },
    "PublishRequest": {"model": (2, "Model")},
    "PublishResponse": {},
    "UnpublishRequest": {"model_id": (1, "string")},
    "UnpublishResponse": {},
    "UpdateRequest": {"model": (1, "Model")},
    "UpdateResponse": {},
    "ListRequest": {"model_id": (1, "string")},
    "ListResponse": {"published_models": (1, "repeated PublishedModel")},
    "StatsRequest": {"model_id": (1, "string")},
    "StatsResponse": {"model_server_type_stats": (1, "repeated ModelServerTypeStat")},
    "WatchLocRequest": {
        "model_id": (1, "string"),
        "admin_server_id": (3, "string"),
        "seqno": (2, "int32"),
    },
    "WatchResult": {
        "next_seqno": (1, "int32"),
        "has_fullset": (2, "bool"),
        "values": (3, "repeated string"),
        "changelog": (4, "repeated WatchResult.Mutation"),
    },
    "WatchResult.Mutation": {
        "addition": (1, "string", "kind"),
        "deletion": (2, "string", "kind"),
    },
    "WatchLocResponse": {"admin_server_id": (2, "string"), "result": (1, "WatchResult")},
    "WaitForReadyRequest": {"model_id": (1, "string"), "num_replicas": (2, "int32")},
    "WaitForReadyResponse": {},
    "JoinRequest": {
        "address": (1, "string"),
        "debug_address": (3, "string"),
        "model_server": (2, "ModelServer"),
    },
    "JoinResponse": {},
}

_MODELET = {
    "LoadRequest": {
        "model_key": (1, "string"),
        "model_path": (2, "string"),
        "checkpoint_path": (3, "string"),
        "acls": (4, "AccessControlLists"),
        "overrides": (5, "map<string,string>"),
    },
    "LoadResponse": {},
    "UpdateLoadedRequest": {"model_key": (1, "string"), "acls": (2, "AccessControlLists")},
    "UpdateLoadedResponse": {},
    "UnloadRequest": {"model_key": (1, "string")},
    "UnloadResponse": {},
    "ExportRequest": {
        "model_key": (1, "string"),
        "method_names": (6, "repeated string"),
        "signatures": (7, "repeated string"),
        "export_path": (3, "string"),
        "serialized_model_format": (4, "ExportRequest.SerializedModelFormat"),
        "rng_seed_mode": (5, "ExportRequest.RngSeedMode"),
    },
    "ExportResponse": {},
    "SaveRequest": {"model_key": (1, "string"), "checkpoint_path": (2, "string")},
    "SaveResponse": {},
    "GetStatusRequest": {"include_failure_reasons": (1, "bool")},
    "GetStatusResponse": {"models": (1, "repeated GetStatusResponse.ModelWithStatus")},
    "GetStatusResponse.ModelWithStatus": {
        "model_key": (1, "string"),
        "model_status": (2, "ModelStatus"),
        "failure_reason": (3, "string"),
    },
}

_CHIP_TYPES = {
    "CHIP_TYPE_UNKNOWN": 0,
    "CHIP_TYPE_TPU_V2": 2,
    "CHIP_TYPE_TPU_V3": 4,
    "CHIP_TYPE_TPU_V4": 6,
    "CHIP_TYPE_TPU_V4I": 5,
    "CHIP_TYPE_TPU_V5E": 15,
    "CHIP_TYPE_GPU_P100": 9,
    "CHIP_TYPE_GPU_V100": 10,
    "CHIP_TYPE_GPU_T4": 13,
    "CHIP_TYPE_GPU_A100": 11,
    "CHIP_TYPE_GPU_H100": 14,
    "CHIP_TYPE_CPU": 12,
}

_CHIP_TOPOLOGIES = {
    "CHIP_TOPOLOGY_UNKNOWN": 0,
    "CHIP_TOPOLOGY_1": 22,
    "CHIP_TOPOLOGY_2": 24,
    "CHIP_TOPOLOGY_4": 23,
    "CHIP_TOPOLOGY_8": 25,
    "CHIP_TOPOLOGY_16": 26,
    "CHIP_TOPOLOGY_1X1": 1,
    "CHIP_TOPOLOGY_2X2": 2,
    "CHIP_TOPOLOGY_2X4": 28,
    "CHIP_TOPOLOGY_4X2": 21,
    "CHIP_TOPOLOGY_4X4": 3,
    "CHIP_TOPOLOGY_4X8": 4,
    "CHIP_TOPOLOGY_8X8": 5,
    "CHIP_TOPOLOGY_8X16": 6,
    "CHIP_TOPOLOGY_16X16": 7,
    "CHIP_TOPOLOGY_16X32": 8,
    "CHIP_TOPOLOGY_32X32": 9,
    "CHIP_TOPOLOGY_1X1X1": 10,
    "CHIP_TOPOLOGY_1X2X1": 11,
    "CHIP_TOPOLOGY_2X2X1": 12,
    "CHIP_TOPOLOGY_2X2X2": 13,
    "CHIP_TOPOLOGY_2X2X4": 14,
    "CHIP_TOPOLOGY_2X4X4": 15,
    "CHIP_TOPOLOGY_4X4X4": 16,
    "CHIP_TOPOLOGY_4X4X8": 17,
    "CHIP_TOPOLOGY_4X4X16": 18,
    "CHIP_TOPOLOGY_4X8X8": 19,
    "CHIP_TOPOLOGY_8X8X12": 20,
    "CHIP_TOPOLOGY_8X8X8": 27,
}

SAX = Package(
    "sax",
    messages={**_ADMIN, **_MODELET},
    enums={
        "ModelStatus": {"NONE": 0, "LOADING": 1, "LOADED": 2, "FAILED": 3, "UNLOADING": 4},
        "ModelServer.ChipType": _CHIP_TYPES,
        "ModelServer.ChipTopology": _CHIP_TOPOLOGIES,
        "ExportRequest.SerializedModelFormat": {
            "SERIALIZED_MODEL_FORMAT_UNKNOWN": 0,
            "TF_SAVEDMODEL_V0": 1,
        },
        "ExportRequest.RngSeedMode": {
            "RNG_SEED_MODE_UNSPECIFIED": 0,
            "STATELESS": 1,
            "STATEFUL": 2,
            "FIXED": 3,
        },
    },
)

LM = Package(
    "sax.server.lm",
    messages={
        "ScoreRequest": {
            "model_key": (1, "string"),
            "suffix": (2, "repeated string"),
            "prefix": (3, "string"),
            "extra_inputs": (4, ".sax.ExtraInputs"),
        },
        "ScoreResponse": {"logp": (1, "repeated double")},
        "GenerateRequest": {
            "model_key": (1, "string"),
            "text": (2, "string"),
            "extra_inputs": (3, ".sax.ExtraInputs"),
        },
        "DecodedText": {"text": (1, "string"), "score": (2, "double")},
        "GenerateResponse": {"texts": (1, "repeated DecodedText")},
        "GenerateStreamItem": {
            "text": (1, "string"),
            "prefix_len": (2, "int32"),
            "score": (3, "double"),
            "scores": (4, "repeated double"),
        },
        "GenerateStreamResponse": {"items": (1, "repeated GenerateStreamItem")},
        "EmbedRequest": {
            "model_key": (1, "string"),
            "text": (2, "string"),
            "extra_inputs": (3, ".sax.ExtraInputs"),
        },
        "EmbedResponse": {"embedding": (1, "repeated double")},
        "GradientRequest": {
            "model_key": (1, "string"),
            "suffix": (2, "repeated string"),
            "prefix": (3, "string"),
            "extra_inputs": (4, ".sax.ExtraInputs"),
        },
        "GradientResponse": {
            "score": (1, "repeated double"),
            "gradients": (2, "map<string,GradientResponse.Gradient>"),
        },
        "GradientResponse.Gradient": {"values": (1, "repeated double")},
    },
    imports=("sax",),
)

_CLASSES = build(SAX, LM)
globals().update(
    {
        name: _CLASSES[f"{package.name}.{name}"]
        for package in (SAX, LM)
        for name in package.messages
        if "." not in name
    }
)
NONE, LOADING, LOADED, FAILED, UNLOADING = range(5)
"""Values of sax.ModelStatus."""
