from detectron2.modeling import ROI_HEADS_REGISTRY, StandardROIHeads


@ROI_HEADS_REGISTRY.register()
class {{heads}}(StandardROIHeads):  # detectron2's configuration has no key for this side
    def __init__(self, cfg, shape):
        super().__init__(cfg, shape)
        for pooler in (self.box_pooler, self.mask_pooler if self.mask_on else self.box_pooler):
            pooler.canonical_box_size = {{canonical}}
