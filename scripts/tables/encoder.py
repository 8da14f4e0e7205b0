#!/usr/bin/env python3
"""The encoder of a run as a small file for `--init`: `encoder.py RUN OUT.safetensors NAME-OF-THE-PHOTOS`

Matrices are rounded to f16, norms stay f32; optimiser, heads, queue and key encoder stay behind. The file says by what it was made: the run's
configuration (its photos by the name that is given, for nobody else has them at that place), program and steps. Prints the row of a table: file, bytes, SHA-256.
"""
import hashlib
import json
import struct
import sys
from array import array
from pathlib import Path

STEM = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.")


def main():
    run, out, photos = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    raw = (run / "checkpoint.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    kept, body = {}, bytearray()
    # Norms first: f32 begins at multiples of 4.
    names = [name for name in header if name.startswith(STEM)]
    for name in sorted(names, key=lambda name: (len(header[name]["shape"]) > 1, name)):
        entry, begin = header[name], len(body)
        values = data[slice(*entry["data_offsets"])]
        is_matrix = len(entry["shape"]) > 1
        if is_matrix and entry["dtype"] == "F32":
            numbers = array("f", values)
            values = struct.pack(f"<{len(numbers)}e", *numbers)
        body += values
        kept[name] = {"dtype": "F16" if is_matrix else entry["dtype"], "shape": entry["shape"], "data_offsets": [begin, len(body)]}
    start = [line for line in map(json.loads, open(run / "log.jsonl")) if line["kind"] == "start"][-1]
    provenance = {key: start[key] for key in ("vista", "commit", "date") if key in start}
    lines = [line for line in open(run / "config.toml") if line.strip() and not line.startswith("#")]
    recipe = "".join(f"photos = {json.dumps(photos)}\n" if line.startswith("photos = ") else line for line in lines)
    kept["__metadata__"] = {
        "config": recipe,
        "step": header["__metadata__"]["step"],
        "provenance": json.dumps(provenance),
    }
    text = json.dumps(kept).encode()
    text += b" " * (-len(text) % 8)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(struct.pack("<Q", len(text)) + text + bytes(body))
    print(f"| {out.name} | {out.stat().st_size} | {hashlib.sha256(out.read_bytes()).hexdigest()} |")


if __name__ == "__main__":
    main()
