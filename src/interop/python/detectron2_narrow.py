from detectron2.modeling import BACKBONE_REGISTRY, FPN, ResNet
from detectron2.modeling.backbone import BasicStem
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from detectron2.modeling.backbone.resnet import BasicBlock


@BACKBONE_REGISTRY.register()
def build_narrow_backbone(cfg, shape):  # detectron2's own builder makes ResNet-18 and -34 only 64 wide
    norm, inputs, stages = cfg.MODEL.RESNETS.NORM, {{width}}, []
    for stage, depth in enumerate({{depths}}):
        sizes = {"in_channels": inputs, "out_channels": {{width}} << stage}
        strides = [2 if stage else 1] + [1] * (depth - 1)
        stages.append(ResNet.make_stage(BasicBlock, depth, stride_per_block=strides, norm=norm, **sizes))
        inputs = sizes["out_channels"]
    net = ResNet(BasicStem(shape.channels, {{width}}, norm), stages, out_features=cfg.MODEL.RESNETS.OUT_FEATURES)
    return {{net}}
