def decode(file):
    photo = Image.open(file)
    w, h = photo.size
    pixels = min({{by_area}} * (w * h) ** 0.5, {{by_side}} * min(w, h))  # of the smallest crop, to one of its view
    scale = max(s for s in (1, 2, 4, 8) if s == 1 or 2 * s <= pixels)
    photo.draft(None, (w // scale, h // scale))  # a JPEG is decoded at 1/scale of its size
    photo = ImageOps.exif_transpose(photo)
    if photo.has_transparency_data:
        photo = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo.convert("RGBA"))
    return photo.convert("RGB")
