import safetensors.torch
import torch
from detectron2.config import get_cfg
from detectron2.data import transforms
from detectron2.data.detection_utils import read_image
from detectron2.modeling import build_model
{{parts}}
cfg = get_cfg()
{{config}}cfg.MODEL.DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
classes = {{classes}}
net = build_model(cfg)
net.load_state_dict(safetensors.torch.load_file({{file}}))
net.eval()


def find(file):
    photo = read_image(file, cfg.INPUT.FORMAT)  # upright
    resize = transforms.ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST).get_transform(photo)
    image = torch.from_numpy(resize.apply_image(photo).astype("float32").transpose(2, 0, 1))
    with torch.no_grad():
        return net([{"image": image, "height": photo.shape[0], "width": photo.shape[1]}])[0]["instances"].to("cpu")


found = find("photo.jpg")
for box, kind, score in zip(found.pred_boxes.tensor.tolist(), found.pred_classes.tolist(), found.scores.tolist()):
    print(f"{score:.3f} {classes[kind]} {box}")
# for detectron2's own tools: MODEL.WEIGHTS
torch.save({"model": net.state_dict()}, {{file}} + ".pth")
