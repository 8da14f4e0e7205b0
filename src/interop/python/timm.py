import numpy as np
import safetensors.torch
import timm
import torch
from PIL import Image, ImageOps


{{decode}}

{{view}}

net = timm.create_model("{{network}}", num_classes=0)
{{change}}net.load_state_dict(safetensors.torch.load_file({{file}}))
net.eval()  # batch norm by its running statistics
with torch.no_grad():
    features = net(torch.from_numpy(np.stack([view("photo.jpg")])))  # [1, {{features}}]
