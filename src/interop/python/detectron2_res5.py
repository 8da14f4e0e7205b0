from detectron2.layers import get_norm
from detectron2.modeling import ROI_HEADS_REGISTRY, ResNet
from detectron2.modeling.backbone.resnet import {{block}}
from detectron2.modeling.roi_heads import Res5ROIHeads


@ROI_HEADS_REGISTRY.register()
class {{heads}}(Res5ROIHeads):
    @classmethod
    def _build_res5_block(cls, cfg):
        channels, norm = 8 * cfg.MODEL.RESNETS.RES2_OUT_CHANNELS, cfg.MODEL.RESNETS.NORM
        sizes = {"in_channels": channels // 2, "out_channels": channels{{more}}}
        strides = [2] + [1] * ({{depth}} - 1)
        res5 = torch.nn.Sequential(*ResNet.make_stage({{block}}, {{depth}}, stride_per_block=strides, norm=norm, **sizes))
{{extra}}        return res5, channels
