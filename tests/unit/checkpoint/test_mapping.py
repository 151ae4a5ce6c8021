import pytest

from saxflow.checkpoint.mapping import recipe
from saxflow.checkpoint.meta import tensor_names
from saxflow.layout import pax_variables
from saxflow.weights import Dimensions

MHA = Dimensions(2, 32, 4, 4, 8, 96, 80)
GQA = Dimensions(2, 64, 8, 2, 8, 192, 76)


@pytest.mark.parametrize("dims", [MHA, GQA])
def test_every_tensor_of_the_model_goes_into_exactly_one_variable(dims):
    used = [tensor for v in pax_variables(dims) for tensor in recipe(v.name).tensors]
    assert sorted(used) == sorted(tensor_names(dims.layers))


def test_each_layer_has_its_own_attention_norm():
    """The tutorial's edit of line 169 would put the final norm here."""
    found = recipe("mdl_vars.params.lm.transformer.x_layers_1.layer_norm.scale")
    assert found.tensors == ("layers.1.attention_norm.weight",)


def test_query_key_and_value_are_stacked_in_this_order():
    found = recipe("mdl_vars.params.lm.transformer.x_layers_0.self_attention.combined_qkv.w")
    assert [name.split(".")[-2] for name in found.tensors] == ["wq", "wk", "wv"]
    assert found.transposed


def test_unknown_variables():
    with pytest.raises(KeyError):
        recipe("mdl_vars.params.lm.nothing")
