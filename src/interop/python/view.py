def view(file):
    photo = decode(file)
    w, h = photo.size
    side = w if w == h else max((min(w, h) * 224 + 128) // 256, 1)
    left, top = (w - side) // 2, (h - side) // 2
    photo = photo.crop((left, top, left + side, top + side))
    photo = photo.resize(({{size}}, {{size}}), Image.Resampling.BILINEAR)  # antialiased, in 8 bits
    x = (np.asarray(photo) / 255 - {{mean}}) / {{std}}
    return x.transpose(2, 0, 1).astype(np.float32)
