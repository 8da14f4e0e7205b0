import numpy as np
import onnxruntime
from PIL import Image, ImageOps


{{decode}}

{{view}}

net = onnxruntime.InferenceSession({{file}})
features, last_map = net.run(["features", "map"], {"images": np.stack([view("photo.jpg")])})  # [1, {{features}}]
