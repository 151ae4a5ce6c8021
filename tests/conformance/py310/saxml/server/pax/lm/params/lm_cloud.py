"""Stand-in for the module that holds BaseLLaMA, with the attributes v1.1.0 gives it.

The praxis model itself is built by `pax_model.py`, which needs the pinned Pax stack; everything
else here imports without it.

Source: google/saxml v1.1.0 saxml/server/pax/lm/params/{lm_cloud,template}.py (names and values).
"""

from jax import numpy as jnp

from saxml.server import servable_model_registry


class BaseLLaMA:
    """What a params class of saxflow derives from."""

    SPM_MODEL = "gs://somebody-elses-bucket/tokenizer.model"
    SOS_ID = 1
    EOS_ID = 2
    TOKENIZED_INPUT = False
    TOKENIZED_OUTPUT = False

    NUM_LAYERS = 32
    VOCAB_SIZE = 32000
    DIMS_PER_HEAD = 128
    NUM_HEADS = 32
    MODEL_DIMS = 4096
    HIDDEN_DIMS = MODEL_DIMS * 4
    FPROP_DTYPE = jnp.bfloat16
    MODEL_DTYPE = jnp.bfloat16
    USE_MQA = False
    RMS_NORM_EPSILON = 1.0e-05

    ICI_MESH_SHAPE = [1, 1, 1]
    BATCH_SIZE = 1
    NUM_SAMPLES = 1
    ENABLE_GENERATE_STREAM = True
    STREAM_INTERVAL_STEPS = 16
    INPUT_SEQ_LEN = 4096
    BUCKET_KEYS = [128, 1024, 4096]
    MAX_DECODE_STEPS = [128, 512, 1024]
    EXTRA_INPUTS = {
        "temperature": 0.5,
        "per_example_max_decode_steps": 128,
        "per_example_top_k": 200,
        "per_example_top_p": 0.95,
    }

    @property
    def test_mode(self):
        """Whether random weights stand in for a checkpoint; changeable at run time."""
        return getattr(self, "_test_mode", False)

    def set_test_mode(self, test_mode):
        """Change `test_mode`, unless a subclass has fixed it."""
        self._test_mode = test_mode

    @classmethod
    def sax_registration_name(cls):
        """Return no name of its own: the registry takes module and class."""

    @classmethod
    def serving_mesh_shape(cls):
        """Return the mesh that decides on which slices the class is advertised."""
        return cls.ICI_MESH_SHAPE

    def task(self):
        """Return the praxis task; needs the pinned Pax stack."""
        from pax_model import build_task

        return build_task(self)


@servable_model_registry.register
class LLaMA7BFP16TPUv5e(BaseLLaMA):
    """One of the stock classes, so that the registry is not ours alone."""

    HIDDEN_DIMS = 11008
    ICI_MESH_SHAPE = [1, 1, 4]
