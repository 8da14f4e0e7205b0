import pickle

import numpy as np
import safetensors.torch
import torch
from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling.backbone.resnet import build_resnet_backbone
from PIL import Image, ImageOps


{{decode}}

{{view}}

cfg = get_cfg()
cfg.MODEL.RESNETS.DEPTH = {{depth}}
cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = {{res2}}
cfg.MODEL.RESNETS.STRIDE_IN_1X1 = False
cfg.MODEL.RESNETS.OUT_FEATURES = ["res5"]
cfg.INPUT.FORMAT = "RGB"
cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = {{mean_255}}, {{std_255}}
net = build_resnet_backbone(cfg, ShapeSpec(channels=3))
net.load_state_dict(safetensors.torch.load_file({{file}}))
net.eval()
with torch.no_grad():
    features = net(torch.from_numpy(np.stack([view("photo.jpg")])))["res5"].mean(dim=(2, 3))  # [1, {{features}}]
# for a whole detector: MODEL.WEIGHTS backbone.pkl, in which its heuristics find the backbone
weights = {name: value.numpy() for name, value in net.state_dict().items()}
with open("backbone.pkl", "wb") as file:
    pickle.dump({"model": weights, "__author__": "vista", "matching_heuristics": True}, file)
