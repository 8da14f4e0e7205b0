import numpy as np
import safetensors.torch
import torch
import torchvision
from PIL import Image, ImageOps


{{decode}}

{{view}}

net = torchvision.models.{{network}}()
net.fc = torch.nn.Identity()
{{change}}net.load_state_dict(safetensors.torch.load_file({{file}}))
net.eval()  # batch norm by its running statistics
with torch.no_grad():
    features = net(torch.from_numpy(np.stack([view("photo.jpg")])))  # [1, {{features}}]
