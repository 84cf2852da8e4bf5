"""Every model by name, with its published size. Imports no torch until a model is built."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgecnn.errors import unknown_name

if TYPE_CHECKING:
    from edgecnn.models.blocks import Classifier


@dataclass(frozen=True)
class ModelSpec:
    """One network.

    Args:
        params: number of parameters at 1000 classes.
        macs: multiply-accumulates of convolutions and linear layers, one image of ``size``, 1000 classes.
        size: side of the square input it was designed for, pixels.
    """

    name: str
    params: int
    macs: int
    size: int

    def build(self, num_classes: int = 1000, in_channels: int = 3) -> "Classifier":
        """The network with random weights, in training mode.

        Raises:
            UnavailableError: torch is not installed.
        """
        from edgecnn.models import efficientnet, mobilenetv1, mobilenetv2, mobilenetv3

        if self.name in efficientnet.SCALINGS:
            return efficientnet.efficientnet(efficientnet.SCALINGS[self.name], num_classes, in_channels)
        builders: dict[str, Callable[..., Classifier]] = {
            "mobilenetv1": mobilenetv1.mobilenetv1,
            "mobilenetv2": mobilenetv2.mobilenetv2,
            "mobilenetv3_small": mobilenetv3.mobilenetv3_small,
            "mobilenetv3_large": mobilenetv3.mobilenetv3_large,
        }
        return builders[self.name](num_classes=num_classes, in_channels=in_channels)


MODELS = {
    spec.name: spec
    for spec in (
        ModelSpec("mobilenetv1", 4_231_976, 568_740_352, 224),
        ModelSpec("mobilenetv2", 3_504_872, 300_774_272, 224),
        ModelSpec("mobilenetv3_small", 2_542_856, 56_510_400, 224),
        ModelSpec("mobilenetv3_large", 5_483_032, 216_589_760, 224),
        ModelSpec("efficientnet_b0", 5_288_548, 385_814_752, 224),
        ModelSpec("efficientnet_b1", 7_794_184, 686_802_832, 240),
        ModelSpec("efficientnet_b2", 9_109_994, 993_561_872, 260),
        ModelSpec("efficientnet_b3", 12_233_232, 1_827_141_392, 300),
        ModelSpec("efficientnet_b4", 19_341_616, 4_393_771_024, 380),
        ModelSpec("efficientnet_b5", 30_389_784, 10_266_384_752, 456),
        ModelSpec("efficientnet_b6", 43_040_704, 19_067_593_536, 528),
        ModelSpec("efficientnet_b7", 66_347_960, 37_745_884_192, 600),
        ModelSpec("efficientnet_lite0", 4_652_008, 385_187_552, 224),
        ModelSpec("efficientnet_lite1", 5_416_680, 600_185_232, 240),
        ModelSpec("efficientnet_lite2", 6_092_072, 859_736_272, 260),
        ModelSpec("efficientnet_lite3", 8_197_096, 1_383_321_872, 280),
        ModelSpec("efficientnet_lite4", 13_006_568, 2_553_034_336, 300),
    )
}

ALIASES = {
    "mobilenetv3": "mobilenetv3_large",
    "mobilenet_v1": "mobilenetv1",
    "mobilenet_v2": "mobilenetv2",
    "mobilenet_v3_small": "mobilenetv3_small",
    "mobilenet_v3_large": "mobilenetv3_large",
}


def find_model(name: str) -> ModelSpec:
    """The model of this name or alias.

    Raises:
        UsageError: there is none, with the nearest names.
    """
    spec = MODELS.get(ALIASES.get(name, name))
    if spec is None:
        raise unknown_name("model", name, [*MODELS, *ALIASES])
    return spec
