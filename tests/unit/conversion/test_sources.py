"""Sources that must be refused, each with the sentence a person can act on."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from saxflow.checkpoint.opening import open_directory
from saxflow.checkpoint.source import read_document, read_source
from saxflow.cli import app
from saxflow.cli.console import run as run_command
from saxflow.conversion.convert import Conversion, convert
from saxflow.conversion.report import Spec
from saxflow.errors import InputError, NotFoundError, WeightsError


def read(folder: Path):
    with open_directory(str(folder)) as files:
        return read_source(files)


def run(src, dst, spec=None):
    with open_directory(str(src)) as files, open_directory(str(dst)) as target:
        return convert(Conversion(files, read_source(files), target, spec or Spec()))


@pytest.fixture
def meta(tmp_path, kit):
    def write(dims=None, **how):
        dims = dims or kit.MHA
        return kit.meta(tmp_path / "src", kit.model(dims), kit.MetaFiles(**how))

    return write


def refuse(folder, match):
    with pytest.raises(WeightsError, match=match):
        read(folder)


def test_a_missing_directory_is_not_found(tmp_path):
    with pytest.raises(NotFoundError, match="nowhere does not exist"):
        read(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match="empty holds no files"):
        read(tmp_path / "empty")


def test_a_missing_shard_in_the_middle_is_named(meta):
    folder = meta(shards=4)
    (folder / "consolidated.02.pth").unlink()
    refuse(folder, r"consolidated\.02\.pth is missing \(3 other shards")


@pytest.mark.parametrize("number", [2, 3])
def test_a_missing_last_shard_is_told_by_the_tensors(meta, number):
    folder = meta(shards=4)
    for last in range(number, 4):
        (folder / f"consolidated.{last:02}.pth").unlink()
    refuse(folder, rf"consolidated\.0{number}\.pth is missing")


def test_missing_params(meta):
    folder = meta()
    (folder / "params.json").unlink()
    refuse(folder, r"lacks params\.json")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_layers": 3}, "n_layers gives 3, but the tensors have 2"),
        ({"dim": 64}, "dim gives 64, but the tensors have 32"),
        ({"multiple_of": 100}, "multiple_of and ffn_dim_multiplier gives 100"),
        ({"vocab_size": 81}, "vocab_size gives 81, but the tensors have 80"),
        ({"n_kv_heads": 2}, r"attention\.wk\.weight has shape \[16, 32\]"),
        ({"n_heads": "4"}, "n_heads is '4'"),
        ({"use_scaled_rope": True}, "scaled rotary embeddings"),
    ],
)
def test_params_that_contradict_the_tensors(meta, params, message):
    refuse(meta(params=params), message)


def test_a_tensor_missing_from_one_shard(meta):
    def drop(index, shard):
        if index == 1:
            del shard["layers.1.feed_forward.w3.weight"]

    refuse(meta(change=drop), r"consolidated\.01\.pth lacks tensor layers\.1\.feed_forward\.w3")


def test_a_tensor_of_another_shape(meta):
    def cut(index, shard):
        if index == 1:
            shard["output.weight"] = shard["output.weight"][:-1].clone()

    refuse(meta(change=cut), r"consolidated\.01\.pth: tensor output\.weight has shape \[39, 32\]")


def test_a_tensor_that_does_not_belong(meta):
    refuse(
        meta(change=lambda _, shard: shard.update(extra=torch.zeros(1))),
        "holds tensor extra, which this Llama has no place for",
    )


def test_an_integer_tensor(meta):
    def quantise(_, shard):
        shard["output.weight"] = shard["output.weight"].to(torch.int8)

    refuse(meta(change=quantise), "has dtype int8")


def test_a_tensor_that_is_not_stored_row_by_row(meta):
    def turn(_, shard):
        shard["layers.0.attention.wo.weight"] = (
            shard["layers.0.attention.wo.weight"].t().contiguous().t()
        )

    refuse(meta(change=turn), r"is not stored row by row \(strides \[1, 32\]\)")


def test_views_into_larger_and_shared_storages_are_read_where_they_lie(tmp_path, kit):
    model = kit.model(kit.MHA)

    def share(_, shard):
        both = torch.cat([shard["norm.weight"], shard["layers.0.ffn_norm.weight"]])
        shard["norm.weight"], shard["layers.0.ffn_norm.weight"] = both[:32], both[32:]
        wide = torch.zeros(shard["output.weight"].shape[0], 40, dtype=torch.bfloat16)
        wide[:, 3:35] = shard["output.weight"]
        shard["output.weight"] = wide[:, 3:35]

    src = kit.meta(tmp_path / "src", model, kit.MetaFiles(change=share))
    run(src, tmp_path / "dst")
    kit.assert_holds(tmp_path / "dst/checkpoint_00000000", model)


def test_state_dictionaries_with_attributes_and_parameters_are_read(tmp_path, kit):
    model = kit.model(kit.MHA)
    src = kit.meta(tmp_path / "src", model, kit.MetaFiles(shards=1))
    plain = torch.load(src / "consolidated.00.pth", weights_only=True)
    module = torch.nn.Module()
    module.weight = torch.nn.Parameter(torch.zeros(1))
    state = module.state_dict()
    del state["weight"]
    state.update({name: torch.nn.Parameter(tensor) for name, tensor in plain.items()})
    torch.save(state, src / "consolidated.00.pth")
    run(src, tmp_path / "dst")
    kit.assert_holds(tmp_path / "dst/checkpoint_00000000", model)


def test_repeated_norms_must_be_equal(tmp_path, kit):
    def change(index, shard):
        if index == 1:
            shard["layers.1.ffn_norm.weight"] = shard["layers.1.ffn_norm.weight"] + 1

    src = kit.meta(tmp_path / "src", kit.model(kit.MHA), kit.MetaFiles(change=change))
    with pytest.raises(WeightsError, match=r"layers\.1\.ffn_norm\.weight differs between cons.*01"):
        run(src, tmp_path / "dst")


def with_values(kit, folder, name, values):
    model = kit.model(kit.MHA, torch.float32)
    model.tensors[name].view(-1)[: len(values)] = torch.tensor(values)
    return kit.meta(folder, model, kit.MetaFiles(dtype=torch.float32))


def test_overflow_names_tensor_and_count(tmp_path, kit):
    src = with_values(kit, tmp_path / "src", "output.weight", [7e4, -1e5, 65519.0])
    message = r"tensor output\.weight: 2 values do not fit float16 \(the largest is 100000\)"
    with pytest.raises(WeightsError, match=message):
        run(src, tmp_path / "dst", Spec(mesh=4))
    run(src, tmp_path / "wide", Spec("bfloat16"))


def test_clamped_overflow_becomes_the_largest_value(tmp_path, kit):
    name = "layers.1.attention.wq.weight"
    src = with_values(kit, tmp_path / "src", name, [7e4, -1e5])
    outcome = run(src, tmp_path / "dst", Spec(mesh=2, clamp=True))
    assert outcome.result.clamped == {name: 2}
    found = kit.read(tmp_path / "dst/checkpoint_00000000")
    variable = "mdl_vars.params.lm.transformer.x_layers_1.self_attention.combined_qkv.w"
    assert found[variable][0, :2, 0, 0].tolist() == [65504.0, -65504.0]


def test_a_clamped_checkpoint_is_not_taken_for_an_exact_one(tmp_path, kit):
    src = with_values(kit, tmp_path / "src", "norm.weight", [7e4])
    run(src, tmp_path / "dst", Spec(clamp=True))
    assert run(src, tmp_path / "dst", Spec(clamp=True)).reused
    with pytest.raises(InputError, match="other weights"):
        run(src, tmp_path / "dst", Spec())


def test_what_bfloat16_cannot_hold_names_the_only_remedy(tmp_path, kit):
    src = with_values(kit, tmp_path / "src", "norm.weight", [3.4e38])
    with pytest.raises(WeightsError, match=r"do not fit bfloat16 .*; use --clamp to cut them"):
        run(src, tmp_path / "dst", Spec("bfloat16"))


@pytest.mark.parametrize("clamp", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_nan_and_infinity_are_damage(tmp_path, kit, dtype, clamp):
    values = [float("nan"), float("inf"), -float("inf")]
    src = with_values(kit, tmp_path / "src", "layers.0.feed_forward.w2.weight", values)
    message = r"layers\.0\.feed_forward\.w2\.weight holds 1 NaN and 2 infinite values"
    with pytest.raises(WeightsError, match=message):
        run(src, tmp_path / "dst", Spec(dtype, clamp=clamp))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pytorch_model.bin", "pytorch_model.bin of Hugging Face"),
        ("model.gguf", "GGUF"),
        ("weights.pth", r"not named consolidated\.NN\.pth"),
        ("notes.txt", "holds no weights"),
    ],
)
def test_other_formats_are_named(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"x")
    refuse(tmp_path, message)


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000])
def test_documents_that_are_no_json_objects(tmp_path, text):
    (tmp_path / "params.json").write_text(text)
    with open_directory(str(tmp_path)) as files, pytest.raises(WeightsError, match=r"params\.json"):
        read_document(files, files.entries(), "params.json")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "mistral"}, "model_type is 'mistral'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "rope_scaling 'llama3'"),
        ({"attention_bias": True}, "attention_bias is True"),
        (
            {"num_hidden_layers": 3},
            r"tensor model\.layers\.2\.self_attn\.q_proj\.weight is missing",
        ),
        ({"num_hidden_layers": 1}, "no place for"),
        ({"num_hidden_layers": 10**9}, "but there are 21 tensors"),
        ({"intermediate_size": 100}, r"mlp\.gate_proj\.weight has shape \[192, 64\]"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"num_attention_heads": 7}, "do not divide"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
    ],
)
def test_configurations_that_cannot_be_served(tmp_path, kit, config, message):
    refuse(kit.hugging_face(tmp_path, kit.model(kit.GQA), **config), message)


def test_a_missing_safetensors_file_is_named(tmp_path, kit):
    kit.hugging_face(tmp_path, kit.model(kit.GQA), files=3)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    refuse(tmp_path, r"model-00002-of-00003\.safetensors is missing, though")


def test_a_truncated_safetensors_file(tmp_path, kit):
    path = kit.hugging_face(tmp_path, kit.model(kit.GQA)) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    refuse(tmp_path, "truncated or damaged")


def test_safetensors_offsets_that_overlap(tmp_path, kit):
    path = kit.hugging_face(tmp_path, kit.model(kit.GQA)) / "model.safetensors"
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header["model.norm.weight"]["data_offsets"] = [0, 128]
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])
    refuse(tmp_path, "overlap or leave a hole")


def test_a_header_that_promises_too_much(tmp_path, kit):
    path = kit.hugging_face(tmp_path, kit.model(kit.GQA)) / "model.safetensors"
    path.write_bytes((1 << 62).to_bytes(8, "little") + path.read_bytes()[8:])
    refuse(tmp_path, "no safetensors file")


def test_llama_3_and_code_llama_dimensions_are_read(tmp_path, kit):
    src = kit.hugging_face(tmp_path, kit.model(kit.GQA), rope_theta=500000.0, rms_norm_eps=1e-6)
    dims = read(src).dimensions
    assert (dims.rope_theta, dims.norm_eps) == (500000.0, 1e-6)


def test_the_command_answers_three_for_bad_weights(tmp_path, meta, capsys):
    folder = meta(shards=2)
    (folder / "consolidated.00.pth").write_bytes(b"GGUF" + bytes(100))
    status = run_command(app, ["convert", str(folder), str(tmp_path / "dst"), "--json"])
    assert status == 3
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed["exit_code"] == 3
    assert "consolidated.00.pth is a GGUF file" in printed["error"]
    assert not (tmp_path / "dst").exists()


def test_inspect_and_dry_run_print_the_same_plan(tmp_path, tiny):
    plans = [
        json.loads(CliRunner().invoke(app, arguments).stdout.splitlines()[-1])
        for arguments in (
            ["inspect", str(tiny), "--mesh", "2", "--json"],
            ["convert", str(tiny), str(tmp_path / "dst"), "--mesh", "2", "--dry-run", "--json"],
        )
    ]
    assert plans[0] == plans[1]
    assert plans[0]["mesh"] == 2
    assert plans[0]["tasks"] == 1
    assert plans[0]["bytes_read"] > 0
    assert not (tmp_path / "dst").exists()
    text = CliRunner().invoke(app, ["inspect", str(tiny)]).stdout
    assert "fingerprint" in text
    assert "memory" in text
