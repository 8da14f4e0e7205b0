import numpy as np
import onnxruntime
from PIL import Image, ImageOps


{{decode}}

net = onnxruntime.InferenceSession({{file}})
photos = np.stack([np.asarray(decode("photo.jpg"))])  # u8 [N, H, W, 3]: of one size
features, last_map = net.run(["features", "map"], {"photos": photos})  # [1, {{features}}]
