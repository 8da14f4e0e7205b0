from detectron2.modeling import BACKBONE_REGISTRY, ResNet, build_resnet_backbone


class PaddedResNet(ResNet):
    size_divisibility = 16  # photos are padded as where it was trained; detectron2's own C4 pads none


def padded(net):
    net.__class__ = PaddedResNet
    return net


@BACKBONE_REGISTRY.register()
def build_padded_backbone(cfg, shape):
    return padded(build_resnet_backbone(cfg, shape))
