"""Build with praxis the model that SAX's BaseLLaMA describes, from a params class's attributes.

saxml cannot be installed by pip, praxis can: so the layers are the real ones, and what is written
here is only which of them BaseLLaMA chooses and how.

Source: google/saxml v1.1.0 saxml/server/pax/lm/params/lm_cloud.py (BaseLLaMA.task),
template.py (set_decoding_sharding_hparams), lm/layers.py (LLaMARotaryEmbedding): the choices.
"""

from jax import numpy as jnp
from paxml import tasks_lib
from praxis import layers, optimizers, pax_fiddle, schedules
from praxis.layers import activations, embedding_softmax, multi_query_attention

MESH_AXES = ("replica", "data_mdl2", "mdl")


class InterleavedRotary(embedding_softmax.RotaryPositionalEmbedding):
    """Rotary embedding over neighbouring pairs, as Meta's files want it."""

    def __call__(self, inputs, position=None):
        """Turn `[B, T, n, h]`; positions count from zero unless given as `[B, T]`."""
        if position is None:
            position = jnp.arange(inputs.shape[1], dtype=jnp.float32)[None]
        exponent = jnp.arange(0, self.embedding_dims, 2) / self.embedding_dims
        angle = position[..., None, None] / self.max_timescale**exponent
        pairs = inputs.astype(jnp.float32).reshape(*inputs.shape[:-1], -1, 2)
        even, odd = pairs[..., 0], pairs[..., 1]
        sin, cos = jnp.sin(angle), jnp.cos(angle)
        turned = jnp.stack((even * cos - odd * sin, odd * cos + even * sin), axis=-1)
        return turned.reshape(inputs.shape).astype(self.fprop_dtype)


def build_task(params):
    """Return the configured SingleTask of one params class."""
    task = pax_fiddle.Config(tasks_lib.SingleTask, name="task")
    task.model = pax_fiddle.Config(layers.LanguageModel, name="lm")
    task.model.fprop_dtype = params.FPROP_DTYPE
    task.model.dtype = params.MODEL_DTYPE
    _describe_model(task.model.lm_tpl, params)
    _shard(task, params.ICI_MESH_SHAPE)
    _never_learn(task)
    return task


def _describe_model(lm, params):
    norm = pax_fiddle.Config(
        layers.RmsNorm, name="norm", direct_scale=True, epsilon=params.RMS_NORM_EPSILON
    )
    ends = {"input_dims": params.MODEL_DIMS, "num_classes": params.VOCAB_SIZE}
    lm.packed_input = False
    lm.model_dims = params.MODEL_DIMS
    lm.vocab_size = params.VOCAB_SIZE
    lm.position_emb_tpl = None
    lm.softmax_tpl = pax_fiddle.Config(layers.FullSoftmax, name="output", **ends)
    lm.softmax_tpl.feed_forward_tpl.has_bias = False
    lm.separate_embedding_tpl = pax_fiddle.Config(layers.Embedding, name="embedding", **ends)
    lm.final_ln_tpl = norm.clone()
    lm.stacked_transformer_tpl = pax_fiddle.Config(
        layers.StackedTransformer,
        model_dims=params.MODEL_DIMS,
        hidden_dims=params.HIDDEN_DIMS,
        num_layers=params.NUM_LAYERS,
        num_heads=params.NUM_HEADS,
        dim_per_head=params.DIMS_PER_HEAD,
    )
    _describe_block(lm.stacked_transformer_tpl.transformer_layer_params_tpl, norm, params)


def _describe_block(block, norm, params):
    block.norm_policy = "pre"
    block.ln_tpl = norm.clone()
    _describe_attention(block, params)
    feed_forward = block.tr_fflayer_tpl
    feed_forward.has_bias = False
    feed_forward.ln_tpl = norm.clone()
    feed_forward.activation_tpl = pax_fiddle.Config(activations.SiLU)
    feed_forward.use_gated_activation = True


def _describe_attention(block, params):
    if params.USE_MQA:
        block.tr_atten_tpl = pax_fiddle.Config(
            multi_query_attention.MultiQueryDotProductAttention, num_kv_heads=params.NUM_KV_HEADS
        )
    else:
        block.tr_atten_tpl.internal_enable_per_dim_scale = False
    attention = block.tr_atten_tpl
    attention.combine_qkv = not params.USE_MQA
    attention.internal_enable_query_scale = True
    attention.use_bias = False
    attention.use_rotary_position_emb = True
    attention.rotary_position_emb_tpl = pax_fiddle.Config(InterleavedRotary)


def _shard(task, mesh_shape):
    replica, data, mdl = MESH_AXES
    sharding = {
        "ici_mesh_shape": mesh_shape,
        "dcn_mesh_shape": None,
        "mesh_axis_names": list(MESH_AXES),
    }
    for name, value in sharding.items():
        setattr(task.model, name, value)
    lm = task.model.lm_tpl
    task.model.lm_tpl = pax_fiddle.get_callable(lm).set_custom_sharding_params(
        lm,
        **sharding,
        w_df=[data, mdl],
        w_dnh=[data, mdl, None],
        w_vd=[mdl, data],
        a_bld=[replica, None, data],
        a_blf=[replica, None, mdl],
        a_blh=None,
        a_blnh=[(replica, data), None, mdl, None],
        a_blv=[replica, None, mdl],
    )


def _never_learn(task):
    """Give the task the optimizer that it insists on and never uses."""
    task.train.learner.loss_name = "total_loss"
    task.train.learner.optimizer = pax_fiddle.Config(
        optimizers.ShardedSgd,
        learning_rate=0.0,
        lr_schedule=pax_fiddle.Config(schedules.Constant),
    )
