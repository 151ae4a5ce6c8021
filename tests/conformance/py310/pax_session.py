"""Answer questions about checkpoints with paxml and praxis, one JSON line each.

Importing Pax takes a dozen seconds, so one process answers a whole test session. A request is
{"servable", "checkpoint", "stored_dtype"?, "ids"?, "out"}: the checkpoint's step directory is
restored for the params class that `saxflow.py` builds from the servable's JSON file, exactly as
SAX's model server does it, and every variable (bit patterns, as unsigned integers) and, if token
ids are given, the logits are written to `out` (.npz). Without a checkpoint only the shape of every
variable the model would restore, and its axis that `mdl` shards (-1: none), are written. The reply
is {"ok": true} or {"error": text}.
"""

import importlib.util
import json
import os
import sys
import traceback

import jax
import numpy as np
from etils import epath
from jax import numpy as jnp
from jax.experimental import mesh_utils
from paxml import checkpoints, train_states
from praxis import base_layer, py_utils

MODULE = "saxml.server.pax.lm.params.saxflow"


def params_class(servable):
    """Return the class that `saxflow.py` builds for one servable file."""
    os.environ["SAXFLOW_SERVABLE"] = servable
    spec = importlib.util.spec_from_file_location(MODULE, os.environ["SAXFLOW_PARAMS_MODULE"])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Llama


def sample_input(vocab_ids):
    """Return the batch a language model is called with, for ids `[B, T]`."""
    zeros = np.zeros(vocab_ids.shape, np.float32)
    return py_utils.NestedMap(
        ids=vocab_ids,
        labels=vocab_ids,
        paddings=zeros,
        weights=zeros + 1,
        inputs_indicator=zeros + 1,
        segment_ids=np.ones_like(vocab_ids),
        segment_pos=np.tile(np.arange(vocab_ids.shape[1]), (vocab_ids.shape[0], 1)),
    )


def describe(task):
    """Return name, shape and sharding of every variable, without making any."""
    return task.model.abstract_init_with_metadata(
        sample_input(np.ones((1, 8), np.int32)), do_eval=False
    )


def mdl_axis(weight):
    """Return the axis of a variable that the mesh's `mdl` axis shards, -1 when none is."""
    split = weight.tensor_split_dims_mapping or []
    axes = [axis for axis, by in enumerate(split) if by == "mdl" or by == ("mdl",)]
    return axes[0] if axes else -1


def restore(task, step_directory, mesh, stored_dtype):
    """Restore the variables `{path: array}` that the model declares, cast as SAX would.

    With `stored_dtype` nothing is cast: the restored bits are the stored ones.
    """
    metadata = describe(task)
    padded = task.create_train_state_padded_shapes(metadata, discard_opt_states=True)
    if stored_dtype:
        padded = _with_dtype(padded, jnp.dtype(stored_dtype))
    path = epath.Path(step_directory)
    state = checkpoints.restore_checkpoint(
        padded,
        path.parent,
        global_mesh=mesh,
        checkpoint_type=checkpoints.CheckpointType.GDA,
        state_specs=task.create_train_state_partition_specs(metadata, discard_opt_states=True),
        step=checkpoints.get_step_from_checkpoint_asset(path),
    )
    shapes = task.create_train_state_unpadded_shapes(metadata, discard_opt_states=True)
    return jax.tree_util.tree_map(
        lambda array, shape: array[tuple(slice(n) for n in shape.shape)],
        state.mdl_vars,
        shapes.mdl_vars,
    )


def _with_dtype(state, dtype):
    variables = jax.tree_util.tree_map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), state.mdl_vars
    )
    return train_states.TrainState(step=state.step, mdl_vars=variables, opt_states=state.opt_states)


def logits(task, variables, ids):
    """Return the float32 logits `[B, T, V]` of every position.

    Compiled as the model server does it: only there may a mesh cut heads unevenly.
    """
    return np.asarray(jax.jit(lambda given: _forward(task, given, ids))(variables), np.float32)


def _forward(task, variables, ids):
    batch = sample_input(ids)
    outputs, _ = task.model.apply(
        variables,
        batch.ids,
        batch.paddings,
        labels=py_utils.NestedMap(class_ids=batch.labels, class_weights=batch.weights),
        segment_ids=batch.segment_ids,
        segment_pos=batch.segment_pos,
        method=lambda model, *args, **kwargs: model.lm(*args, **kwargs),
        rngs={"params": jax.random.PRNGKey(0), "random": jax.random.PRNGKey(0)},
        mutable=[base_layer.AUX_LOSS, base_layer.SUMMARIES, base_layer.NON_TRAINABLE],
    )
    return outputs.logits


def bits(array):
    """View an array as unsigned integers of its width, which every numpy can read."""
    plain = np.asarray(array)
    return plain.view(f"u{plain.dtype.itemsize}")


def answer(request):
    """Describe, or restore and compute; see the module's docstring."""
    params = params_class(request["servable"])()
    config = params.task()
    task = config.Instantiate()
    if "checkpoint" in request:
        found = answer_from_checkpoint(request, config, task)
    else:
        found = {
            name: np.asarray([*leaf.shape, mdl_axis(leaf)])
            for name, leaf in flatten(describe(task)).items()
            if name.startswith("params.")
        }
    np.savez(request["out"], **found)


def answer_from_checkpoint(request, config, task):
    """Return the bits of every variable, and the logits if ids are given."""
    shape = config.model.ici_mesh_shape
    devices = mesh_utils.create_device_mesh(shape, jax.devices()[: int(np.prod(shape))])
    mesh = jax.sharding.Mesh(devices, config.model.mesh_axis_names)
    with mesh:
        variables = restore(task, request["checkpoint"], mesh, request.get("stored_dtype"))
        found = {name: bits(leaf) for name, leaf in flatten(variables).items()}
        if "ids" in request:
            found["logits"] = logits(task, variables, np.asarray(request["ids"], np.int32))
    return found


def flatten(tree):
    """Return every leaf by its dotted path: `params.lm.final_ln.scale`."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {".".join(str(getattr(key, "key", key)) for key in path): leaf for path, leaf in leaves}


def main():
    """Serve requests from stdin until it closes."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    print(json.dumps({"ok": True}), file=replies)
    for line in sys.stdin:
        try:
            answer(json.loads(line))
            reply = {"ok": True}
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies)


if __name__ == "__main__":
    main()
