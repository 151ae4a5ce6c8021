"""The manifest as typed sections, `saxflow/v1`.

Field descriptions and examples are what editors show from the JSON Schema; docs/manifest.md tells
the same at length. Values that depend on the weights (accelerator, directory, model name) are None
until the plan decides.

Source: design.md section 3.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr
from pydantic.alias_generators import to_camel

from saxflow.errors import Problem
from saxflow.manifest import fields
from saxflow.manifest.document import Mark

API_VERSION = "saxflow/v1"


class Section(BaseModel):
    """Strict and immutable: unknown keys are errors, no value is converted."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, alias_generator=to_camel, protected_namespaces=()
    )


class Weights(Section):
    """Where the weights are."""

    source: fields.WeightsSource = Field(
        description="Directory of a Meta checkpoint (consolidated.NN.pth, params.json) or of"
        " safetensors."
    )
    sha256: dict[fields.FileName, fields.Sha256] = Field(
        default_factory=dict,
        description="Expected digests, by file name; a file that differs stops the deployment.",
    )
    tokenizer: fields.TokenizerUri | None = Field(
        default=None,
        description="Sentencepiece model; default <source>/tokenizer.model, then its parent's.",
    )


class Model(Section):
    """What the weights are."""

    size: Literal["7b", "13b", "34b", "70b"] | None = Field(
        default=None, description="Optional check: dimensions that differ are an error."
    )
    dtype: Literal["float16", "bfloat16"] = Field(
        default="float16",
        description="Stored type: float16 as SAX's converter, bfloat16 without loss.",
    )


class Checkpoint(Section):
    """Where the converted checkpoint goes."""

    destination: fields.Destination | None = Field(
        default=None,
        description="Directory; each conversion gets its own directory below it. Default"
        " gs://<models bucket>/sax_models/llama2/saxml_llama27b and alike.",
    )


class Tpu(Section):
    """The TPU that serves."""

    accelerator_type: fields.AcceleratorType | None = Field(
        default=None,
        description="Slice; default by size: 7b v5litepod-4, 13b -8, 70b -16. One too small for"
        " weights and KV cache is refused.",
    )
    zones: list[fields.Zone] | None = Field(
        default=None,
        min_length=1,
        max_length=8,
        description="Tried in this order; default: the zones of the models bucket's region.",
        json_schema_extra={"uniqueItems": True},
    )
    allow_cross_region: bool = Field(
        default=False,
        description="Let zones lie outside the models bucket's region (egress is charged).",
    )
    runtime_version: fields.RuntimeVersion = Field(
        default="v2-alpha-tpuv5-lite", description="TPU VM image."
    )
    provisioning: Literal["on-demand", "spot", "reserved"] = Field(
        default="on-demand",
        description="spot costs about half and may be preempted; reserved needs `reservation`.",
    )
    reservation: fields.Reservation | None = Field(
        default=None, description="Name of the reservation, with provisioning: reserved."
    )
    valid_until: fields.Duration = Field(
        default="6h", description="How long to wait for capacity in one zone."
    )


class SmokeTest(Section):
    """The golden prompt: serving means that it was answered."""

    prompt: str = Field(
        min_length=1,
        max_length=4096,
        description="Text, or token ids separated by commas with tokenizer ids:.",
        examples=["Q: Who is Harry Potter's mother? A:"],
    )
    contains: str | None = Field(
        default=None, min_length=1, description="What the answer has to contain.", examples=["Lily"]
    )


class Serve(Section):
    """How the model is served."""

    cell: fields.Cell = Field(default="/sax/test", description="SAX cell.")
    model: fields.ModelName | None = Field(
        default=None, description="SAX model name; default by size, for example llama27b."
    )
    max_input_tokens: int = Field(
        default=1024, ge=2, le=32768, description="Longest prompt, with BOS."
    )
    max_new_tokens: int = Field(
        default=512, ge=1, le=32768, description="Most tokens generated for one request."
    )
    batch_size: int = Field(
        default=1, ge=1, le=256, description="Requests that are decoded together."
    )
    stream: bool | None = Field(
        default=None, description="Offer streaming; default true, on several hosts false."
    )
    model_path: fields.ModelPath | None = Field(
        default=None,
        description="Force a class of the stock SAX image; its mesh must equal the chips.",
    )
    smoke_test: SmokeTest | None = Field(default=None, description="The golden prompt.")


class Lifecycle(Section):
    """How long it lives and what happens to what it replaces."""

    ttl: fields.Lifetime = Field(
        default="8h",
        description="Torn down this long after the TPU became active; `never` must be written out.",
    )
    on_failure: Literal["teardown", "keep"] = Field(
        default="teardown",
        description="keep leaves the TPU for debugging; what serves is never touched.",
    )
    replace: Literal["auto", "inPlace", "blueGreen", "recreate"] = Field(
        default="auto",
        description="How a newer manifest takes over. blueGreen (and auto): the old one serves until"
        " the new one does. recreate and inPlace are refused for now.",
    )
    max_hourly_cost: float | None = Field(
        default=None,
        gt=0,
        le=100000,
        description="USD; refuse to start what costs more per hour.",
        examples=[10],
    )

    @property
    def ttl_seconds(self) -> int | None:
        """Lifetime from tpu.active, None for `never`."""
        return fields.lifetime_seconds(self.ttl)


class Manifest(Section):
    """A deployment: weights in, a served model out."""

    api_version: Literal["saxflow/v1"] = Field(description="Version of this format.")
    name: fields.Name = Field(
        description="Name of the deployment; equal to the file's name without its ending."
    )
    weights: Weights = Field(description="Where the weights are.")
    model: Model = Field(default_factory=Model, description="What the weights are.")
    checkpoint: Checkpoint = Field(
        default_factory=Checkpoint, description="Where the converted checkpoint goes."
    )
    tpu: Tpu = Field(default_factory=Tpu, description="The TPU that serves.")
    serve: Serve = Field(default_factory=Serve, description="How the model is served.")
    lifecycle: Lifecycle = Field(
        default_factory=Lifecycle, description="How long it lives, and how it is replaced."
    )

    _places: dict[str, Mark] = PrivateAttr(default_factory=dict[str, Mark])
    _source_name: str = PrivateAttr(default="manifest")

    @property
    def source_name(self) -> str:
        """The file or object it was read from."""
        return self._source_name

    def located(self, source_name: str, places: dict[str, Mark]) -> Manifest:
        """Return a copy that knows where its fields stand."""
        copy = self.model_copy()
        copy._source_name = source_name
        copy._places = places
        return copy

    def problem(self, path: str, message: str) -> Problem:
        """Return a problem of a field, with its place when the file has that field."""
        mark = self._places.get(path)
        if mark is None:
            return Problem(path, message)
        return Problem(path, message, mark.line, mark.column)
