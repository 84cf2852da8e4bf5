"""Folding is exact whatever a batch norm has learnt, dead and exploding channels included."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgecnn.graph.fold import fold

CHANNELS = 6


def channelwise(low: float, high: float) -> st.SearchStrategy[Tensor]:
    values = st.floats(low, high, width=32)
    return st.lists(values, min_size=CHANNELS, max_size=CHANNELS).map(torch.tensor)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    variance=st.one_of(channelwise(0, 2**-20), channelwise(0, 16)),
    mean=channelwise(-8, 8),
    weight=channelwise(-4, 4),
    bias=channelwise(-8, 8),
    eps=st.sampled_from([1e-5, 1e-3]),
    depthwise=st.booleans(),
)
def test_folding_changes_no_answer(
    seed: int, variance: Tensor, mean: Tensor, weight: Tensor, bias: Tensor, eps: float, depthwise: bool
) -> None:
    torch.manual_seed(seed)
    convolution = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS if depthwise else 1, bias=False)
    norm = nn.BatchNorm2d(CHANNELS, eps=eps)
    norm.load_state_dict(
        {
            "weight": weight,
            "bias": bias,
            "running_mean": mean,
            "running_var": variance,
            "num_batches_tracked": torch.tensor(1),
        }
    )
    model = nn.Sequential(convolution, norm).eval()
    image = torch.randn(2, CHANNELS, 5, 7)
    with torch.inference_mode():
        # In float64, so that the difference is folding's own and not the unfused network's.
        want = model.double()(image.double())
        got = fold(model.float())(image)
    # Relative to what is summed: a mean that cancels the convolution leaves float32 nothing better. Denormals vanish.
    gain = (weight.abs() / (variance + eps).sqrt()).double()
    terms = gain * (1 + mean.abs()) + bias.abs()
    error = (want - got).abs().amax((0, 2, 3))
    assert bool((error <= 1e-30 + 1e-4 * (terms + want.abs().amax((0, 2, 3)))).all())
