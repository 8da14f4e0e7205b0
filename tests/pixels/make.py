"""Makes variants.safetensors: small pictures of every kind as bytes, each with the pixels that libjpeg-turbo and Pillow give;
and scaled.safetensors: the pixels of its JPEGs at a half, a quarter and an eighth of their size, one picture behind the other.

Run by hand:  python make.py      (needs cjpeg and jpegtran of libjpeg-turbo on the path; pip install pillow numpy safetensors)

Each picture is a tensor of bytes; what it must decode to is the tensor NAME.rgb, [height, width, 3]. A picture without such
a tensor must be left out, with the reason that the metadata hold under its name.

libjpeg-turbo's upsampling ("fancy"): a component of half the width, or half the height, or both, goes through a triangle
filter (weights 3/4 and 1/4 in each direction); one of half the width and at most 2 columns, and every other ratio, is
repeated. Pillow reads with the same settings and takes every CMYK file as inverted, as Adobe writes them.
"""

import io
import itertools
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps
from safetensors.numpy import save_file

HERE = Path(__file__).parent
SIZES = [(1, 1), (2, 3), (3, 2), (5, 7), (8, 8), (9, 17), (16, 16), (17, 9), (15, 31), (31, 23), (23, 40), (40, 33), (33, 1), (4, 21)]
files, pixels, refused = {}, {}, {}


def picture(width, height, channels=3):
    """Waves, a little noise and some saturated colours."""
    rng = np.random.default_rng(width * 100 + height * 10 + channels)
    y, x = np.mgrid[0:height, 0:width]
    wave = [127 + 110 * np.sin(x / (2.0 + c) + c) * np.cos(y / (3.0 - c / 2)) for c in range(channels)]
    image = np.stack(wave, axis=-1) + rng.normal(0, 12, (height, width, channels))
    image[height // 3 : height // 2, width // 2 :] = [255, 0, 0, 0][:channels]
    image[height // 2 :, : width // 3] = [0, 0, 255, 0][:channels]
    return np.clip(image, 0, 255).astype(np.uint8)


def rgb_of(data):
    """Pixels as Pillow gives them, upright, transparency over white."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if "A" in image.mode or "transparency" in image.info:
        return over_white(np.array(image.convert("RGBA")))
    return np.array(image.convert("RGB"))


def scaled(data, scale):
    """Pixels of a JPEG at 1 / scale of its size by libjpeg-turbo, upright: what Pillow's draft mode gives, at any size."""
    image = Image.open(io.BytesIO(data))
    width, height = (-(-side // scale) for side in image.size)
    decoder, _, offset, arguments = image.tile[0]
    image._size, image.decoderconfig = (width, height), (scale, 0)
    image.tile = [ImageFile._Tile(decoder, (0, 0, width, height), offset, arguments)]
    return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def over_white(rgba):
    colour, alpha = rgba[..., :3].astype(int), rgba[..., 3:].astype(int)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def add(name, data, expected=None):
    assert name not in files, name
    files[name] = data
    pixels[name] = rgb_of(data) if expected is None else expected


def refuse(name, data, reason):
    files[name], refused[name] = data, reason


# ---- JPEG ----------------------------------------------------------------------------------------------------------


def run(*command, data):
    done = subprocess.run(command, input=data, capture_output=True)
    return done.stdout if done.returncode == 0 else None


def ppm(image):
    kind = b"P5" if image.shape[-1] == 1 else b"P6"
    return kind + b"\n%d %d\n255\n" % (image.shape[1], image.shape[0]) + image.tobytes()


def cjpeg(image, *options, scans=None):
    if scans is None:
        return run("cjpeg", *options, data=ppm(image))
    with tempfile.NamedTemporaryFile("w") as script:
        script.write(scans)
        script.flush()
        return run("cjpeg", *options, "-scans", script.name, data=ppm(image))


def jpegtran(data, *options):
    return run("jpegtran", *options, data=data)


def segments(data):
    """(marker, place of its FF, place behind its segment and, behind SOS, behind its coded data)."""
    at, found = 2, []
    while at < len(data):
        assert data[at] == 0xFF
        marker = data[at + 1]
        if marker == 0xD9:
            found.append((marker, at, at + 2))
            break
        end = at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
        if marker == 0xDA:
            while data[end] != 0xFF or data[end + 1] == 0 or 0xD0 <= data[end + 1] <= 0xD7:
                end += 1
        found.append((marker, at, end))
        at = end
    return found


def without(data, *markers):
    return b"\xff\xd8" + b"".join(data[a:b] for m, a, b in segments(data) if m not in markers)


def behind(data, marker, extra):
    """With bytes put behind the first segment of a kind (0xD8: the start)."""
    at = 2 if marker == 0xD8 else next(end for m, _, end in segments(data) if m == marker)
    return data[:at] + extra + data[at:]


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def adobe(transform):
    return segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))


def merged(planes, factors, size):
    """One JPEG of several components, each in a scan of its own, out of one grey JPEG for each."""
    parts = [cjpeg(plane[..., None], "-grayscale", "-quality", "90") for plane in planes]
    out = without(parts[0], 0xC0, 0xDA, 0xD9, 0xE0)
    frame = b"".join(bytes([i + 1, h << 4 | v, 0]) for i, (h, v) in enumerate(factors))
    out += segment(0xC0, struct.pack(">BHHB", 8, size[1], size[0], len(planes)) + frame)
    for i, part in enumerate(parts):
        scan = next(part[a:b] for m, a, b in segments(part) if m == 0xDA)
        out += scan[:5] + bytes([i + 1]) + scan[6:]
    return out + b"\xff\xd9"


def planes_of(factors, size):
    most = [max(f[axis] for f in factors) for axis in (0, 1)]
    side = lambda n, f, m: -(-n * f // m)
    shapes = [[side(size[a], f[a], most[a]) for a in (0, 1)] for f in factors]
    return [picture(w, h, 4)[..., i] for i, (w, h) in enumerate(shapes)]


PROGRESSIVE_CHROMA_FIRST = """
1: 0-0, 0, 1; 2: 0-0, 0, 1; 0: 0-0, 0, 1; 2: 1-63, 0, 1; 1: 1-63, 0, 1; 0: 1-5, 0, 2; 0: 6-63, 0, 2;
0: 1-63, 2, 1; 0: 1-63, 1, 0; 1: 1-63, 1, 0; 2: 1-63, 1, 0; 1: 0-0, 1, 0; 0: 0-0, 1, 0; 2: 0-0, 1, 0;
"""


def jpegs_by_sampling():
    factors = list(itertools.product((1, 2), (1, 2)))
    modes = {
        "baseline": ([], None),
        "progressive": (["-progressive"], None),
        "baseline_restarts": (["-restart", "1B", "-optimize"], None),
        "progressive_restarts": (["-progressive", "-restart", "2B"], None),
        "planes": ([], "0; 1; 2;"),
        "planes_chroma_first": (["-restart", "3B"], "2; 1; 0;"),
        "chroma_pair_first": ([], "1, 2; 0;"),
        "progressive_chroma_first": ([], PROGRESSIVE_CHROMA_FIRST),
    }
    sizes = itertools.cycle(SIZES)
    for n, combination in enumerate(itertools.product(factors, repeat=3)):
        for m, (mode, (options, scans)) in enumerate(modes.items()):
            width, height = next(sizes)
            # All modes for what is met in practice, the first and three in turn for the rest.
            usual = combination[1] == combination[2] == (1, 1)
            if not usual and m > 0 and (n + m) % 2:
                continue
            sample = ",".join(f"{h}x{v}" for h, v in combination)
            data = cjpeg(picture(width, height), "-quality", str(75 + n % 25), "-sample", sample, *options, scans=scans)
            if data is not None:  # more than ten blocks don't fit into one scan
                add(f"jpeg/{sample}/{mode}/{width}x{height}", data)
    for sample in ["4x1,1x1,1x1", "1x4,1x1,1x1", "4x2,1x1,1x1", "4x1,2x1,1x1", "3x1,1x1,1x1", "1x1,4x1,1x1"]:
        for width, height in [(1, 1), (19, 11), (40, 37)]:
            for mode in ["baseline", "progressive"]:
                options = [] if mode == "baseline" else ["-progressive"]
                add(f"jpeg/{sample}/{mode}/{width}x{height}", cjpeg(picture(width, height), "-sample", sample, *options))
    fraction = merged(planes_of([(3, 1), (2, 1), (1, 1)], (24, 8)), [(3, 1), (2, 1), (1, 1)], (24, 8))
    refuse("jpeg/3x1,2x1,1x1", fraction, "sampling factors")


def jpegs_of_sizes():
    for (width, height), sample in itertools.product(SIZES, ["1x1", "2x1", "1x2", "2x2"]):
        add(f"jpeg/sizes/{sample}/{width}x{height}", cjpeg(picture(width, height), "-quality", "92", "-sample", sample))
    for quality in [1, 5, 30, 100]:
        for mode, options in [("baseline", ["-baseline"]), ("extended", []), ("progressive", ["-progressive"])]:
            add(f"jpeg/quality/{quality}_{mode}", cjpeg(picture(29, 27), "-quality", str(quality), *options))


def greys():
    for n, (sample, mode) in enumerate(itertools.product(["1x1", "2x1", "1x2", "2x2", "4x4"], ["", "-progressive", "-optimize"])):
        width, height = SIZES[(n * 3) % len(SIZES)]
        grey = picture(width, height, 1)
        options = ["-grayscale", "-restart", f"{n % 4}B", *([mode] if mode else [])]
        add(f"jpeg/grey/{sample}{mode}/{width}x{height}", cjpeg(grey, "-sample", sample, *options))


def colour_spaces():
    for (width, height), mode in itertools.product([(1, 1), (13, 10), (40, 26)], [[], ["-progressive"]]):
        tag = f"{mode[0] if mode else '-baseline'}/{width}x{height}"
        rgb = cjpeg(picture(width, height), "-rgb", "-quality", "90", *mode)
        add(f"jpeg/rgb{tag}/adobe", rgb)
        add(f"jpeg/rgb{tag}/ids", without(rgb, 0xEE))
        renamed = rgb
        for frm, to in zip(b"RGB", b"\1\2\3"):
            renamed = b"".join(renamed_in(renamed, frm, to))
        add(f"jpeg/rgb{tag}/adobe_ids123", renamed)
        add(f"jpeg/rgb{tag}/ids123", without(renamed, 0xEE))
        ycc = cjpeg(picture(width, height), "-quality", "90", *mode)
        bare = without(ycc, 0xE0)
        add(f"jpeg/ycc{tag}/bare", bare)
        add(f"jpeg/ycc{tag}/adobe", behind(bare, 0xD8, adobe(1)))
        add(f"jpeg/ycc{tag}/adobe_unknown", behind(bare, 0xD8, adobe(2)))
        add(f"jpeg/ycc{tag}/jfif_and_adobe_rgb", behind(ycc, 0xE0, adobe(0)))
    for n, factors in enumerate(
        [[(1, 1)] * 4, [(2, 2), (1, 1), (1, 1), (2, 2)], [(2, 1), (1, 1), (1, 1), (2, 1)], [(2, 2), (1, 1), (1, 1), (1, 1)]]
        + [[(1, 1), (2, 2), (2, 1), (1, 2)], [(1, 2), (1, 1), (1, 1), (1, 2)], [(1, 1), (1, 1), (1, 1), (2, 2)]]
    ):
        for size, (kind, extra) in itertools.product(
            [SIZES[n], (37, 22)], [("plain", b""), ("cmyk", adobe(0)), ("ycck", adobe(2))]
        ):
            planes = behind(merged(planes_of(factors, size), factors, size), 0xD8, extra)
            tag = f"jpeg/four/{kind}/{','.join('%dx%d' % f for f in factors)}/{size[0]}x{size[1]}"
            add(f"{tag}/planes", planes)
            for mode in ["-optimize", "-progressive"]:
                if (data := jpegtran(planes, "-copy", "all", mode)) is not None:
                    add(f"{tag}/{mode[1:]}", data)


def renamed_in(data, frm, to):
    """The component's id in frame and scans."""
    out = bytearray(data)
    for marker, at, _ in segments(data):
        first, step = {0xC0: (10, 3), 0xC2: (10, 3), 0xDA: (5, 2)}.get(marker, (0, 0))
        for i in range(out[at + first - 1] if step else 0):
            place = at + first + i * step
            out[place] = to if out[place] == frm else out[place]
    return [bytes(out)]


def exif(order, kind, orientation):
    """A TIFF header with a maker, the orientation as SHORT (3) or LONG (4), and a resolution."""
    mark = {"<": b"II", ">": b"MM"}[order]
    value = struct.pack(order + ("HH" if kind == 3 else "I"), *((orientation, 0) if kind == 3 else (orientation,)))
    entries = struct.pack(order + "HHI", 0x010F, 2, 4) + b"Cam\0"
    entries += struct.pack(order + "HHI", 0x0112, kind, 1) + value
    entries += struct.pack(order + "HHII", 0x0128, 3, 1, 0)
    return mark + struct.pack(order + "HI", 42, 8) + struct.pack(order + "H", 3) + entries + bytes(4)


ORDERS = {"II": "<", "MM": ">"}
KINDS = {"short": 3, "long": 4}


def turn(image, orientation):
    turned = {2: image[:, ::-1], 3: image[::-1, ::-1], 4: image[::-1]}
    t = image.transpose(1, 0, 2)
    turned |= {5: t, 6: t[:, ::-1], 7: t[::-1, ::-1], 8: t[::-1]}
    return np.ascontiguousarray(turned.get(orientation, image))


def orientations():
    plain = cjpeg(picture(11, 6), "-quality", "90", "-sample", "1x1")
    upright = rgb_of(plain)
    for (mark, order), (word, kind), o in itertools.product(ORDERS.items(), KINDS.items(), range(0, 10)):
        tag = segment(0xE1, b"Exif\0\0" + exif(order, kind, o))
        add(f"jpeg/exif/{mark}_{word}_{o}", behind(plain, 0xE0, tag), turn(upright, o))
    six = segment(0xE1, b"Exif\0\0" + exif("<", 3, 6))
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")
    add("jpeg/exif/behind_tables", behind(plain, 0xDB, six), turn(upright, 6))
    add("jpeg/exif/behind_xmp", behind(plain, 0xE0, xmp + six), turn(upright, 6))
    add("jpeg/exif/before_jfif", behind(plain, 0xD8, six), turn(upright, 6))


def markers():
    for (width, height), options in itertools.product([(1, 1), (16, 16), (37, 22)], [[], ["-progressive"], ["-restart", "1B"]]):
        data = cjpeg(picture(width, height), "-quality", "90", *options)
        upright, tag = rgb_of(data), f"{width}x{height}{''.join(options)}"
        add(f"jpeg/end/missing/{tag}", data[:-2], upright)
        add(f"jpeg/end/half/{tag}", data[:-1], upright)
        add(f"jpeg/end/line_break_before/{tag}", data[:-2] + b"\r" + data[-2:], upright)
        add(f"jpeg/end/followed/{tag}", data + bytes(99), upright)
        fill = b"\xff\xd8" + b"".join(b"\xff\xff" + data[a:b] for _, a, b in segments(data))
        add(f"jpeg/fill_bytes/{tag}", fill, upright)
        add(f"jpeg/comment/{tag}", behind(data, 0xE0, segment(0xFE, b"\xff\xd9\xff\xc0 a comment")), upright)
    whole = cjpeg(picture(40, 33), "-quality", "90")
    frame = next(at for marker, at, _ in segments(whole) if marker == 0xC0)
    as_frame = lambda marker, precision=8: whole[: frame + 1] + bytes([marker]) + whole[frame + 2 : frame + 4] + bytes([precision]) + whole[frame + 5 :]
    refuse("jpeg/arithmetic", jpegtran(whole, "-arithmetic"), "an arithmetic-coded JPEG: save it")
    refuse("jpeg/arithmetic_progressive", jpegtran(whole, "-arithmetic", "-progressive"), "an arithmetic-coded JPEG: save it")
    refuse("jpeg/12_bits", as_frame(0xC1, 12), "a 12-bit JPEG: save it")
    refuse("jpeg/lossless", as_frame(0xC3), "a lossless JPEG")
    refuse("jpeg/hierarchical", as_frame(0xC5), "a hierarchical JPEG")
    refuse("jpeg/ls", as_frame(0xF7), "JPEG-LS")
    refuse("jpeg/number_of_lines", whole[: frame + 5] + b"\0\0" + whole[frame + 7 :], "no pixels")
    for n, options in enumerate([[], ["-progressive"], ["-restart", "1B"]]):
        whole = cjpeg(picture(40, 33), "-quality", "90", *options)
        last = max(at for marker, at, _ in segments(whole) if marker == 0xDA)
        cut = (last + len(whole)) // 2
        refuse(f"jpeg/cut/{n}", whole[:cut], "truncated")
        refuse(f"jpeg/cut_with_end/{n}", whole[:cut] + b"\xff\xd9", "truncated" if n < 2 else "")
        refuse(f"jpeg/cut_in_header/{n}", whole[:200], "truncated")
    refuse("jpeg/no_scan", without(whole, 0xDA), "")


# ---- PNG -----------------------------------------------------------------------------------------------------------


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def packed(samples, depth):
    """Rows of samples [height, width, channels] as PNG's bytes, each behind filter type 0."""
    height, out = samples.shape[0], b""
    for row in samples.reshape(height, -1):
        if depth == 16:
            line = row.astype(">u2").tobytes()
        else:
            bits = "".join(format(int(v), f"0{depth}b") for v in row)
            bits += "0" * (-len(bits) % 8)
            line = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
        out += b"\0" + line
    return out


def png(samples, depth, colour, interlaced=False, before=b"", behind=b"", end=True):
    height, width = samples.shape[:2]
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    parts = [samples[y::dy, x::dx] for x, y, dx, dy in passes] if interlaced else [samples]
    data = zlib.compress(b"".join(packed(p, depth) for p in parts if p.size))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + head + before + chunk(b"IDAT", data) + behind + (chunk(b"IEND", b"") if end else b"")


def to8(samples, depth):
    """Samples of any depth as 8 bits, rounded."""
    most = (1 << depth) - 1
    return ((samples.astype(int) * 255 * 2 + most) // (2 * most)).astype(np.uint8)


def pngs():
    sizes = itertools.cycle(SIZES)
    kinds = [(0, d, 1) for d in (1, 2, 4, 8, 16)] + [(3, d, 1) for d in (1, 2, 4, 8)] + [(c, d, n) for c, n in ((2, 3), (4, 2), (6, 4)) for d in (8, 16)]
    for (colour, depth, channels), interlaced, clear in itertools.product(kinds, (False, True), (False, True)):
        if clear and colour in (4, 6):
            continue
        width, height = next(sizes)
        rng = np.random.default_rng(depth * 10 + colour)
        samples = rng.integers(0, 1 << depth, (height, width, channels))
        palette = rng.integers(0, 256, (1 << depth, 3)).astype(np.uint8)
        before, rgb, alpha = b"", None, None
        if colour == 3:
            before, rgb = chunk(b"PLTE", palette.tobytes()), palette[samples[..., 0]]
            if clear:
                clearness = rng.integers(0, 256, max(1, len(palette) - 1)).astype(np.uint8)
                before += chunk(b"tRNS", clearness.tobytes())
                alpha = np.append(clearness, [255] * (len(palette) - len(clearness))).astype(np.uint8)[samples[..., 0]]
        else:
            colours = samples[..., : 3 if colour in (2, 6) else 1]
            rgb = np.broadcast_to(to8(colours, depth), (height, width, 3))
            if colour in (4, 6):
                alpha = to8(samples[..., -1], depth)
            elif clear:
                key = samples[height // 2, width // 2]
                before = chunk(b"tRNS", key.astype(">u2").tobytes())
                alpha = np.where((samples == key).all(-1), 0, 255).astype(np.uint8)
        expected = np.ascontiguousarray(rgb) if alpha is None else over_white(np.dstack([rgb, alpha]))
        name = f"png/{colour}_{depth}{'_interlaced' * interlaced}{'_tRNS' * clear}/{width}x{height}"
        add(name, png(samples, depth, colour, interlaced, before), expected)
    image = picture(11, 6)
    for (mark, order), (word, kind), o in itertools.product(ORDERS.items(), KINDS.items(), range(1, 9)):
        tag = chunk(b"eXIf", exif(order, kind, o))
        place = {"before": tag} if (o + kind) % 2 else {"behind": tag}
        add(f"png/exif/{mark}_{word}_{o}_{list(place)[0]}", png(image, 8, 2, **place), turn(image, o))
        if mark == "II" and word == "short":
            other = {"behind": tag} if "before" in place else {"before": tag}
            add(f"png/exif/{mark}_{word}_{o}_{list(other)[0]}", png(image, 8, 2, **other), turn(image, o))
    add("png/no_end", png(image, 8, 2, end=False), image)
    add("png/followed", png(image, 8, 2) + b"more", image)
    text = bytearray(chunk(b"tEXt", b"Comment\0words"))
    text[-1] ^= 1
    add("png/text_with_wrong_sum", png(image, 8, 2, before=bytes(text)), image)
    whole = png(picture(40, 33), 8, 2)
    refuse("png/cut", whole[: len(whole) // 2], "end of file")
    short = png(picture(40, 16), 8, 2)
    refuse("png/rows_missing", short[:16] + whole[16:33] + short[33:], "")
    refuse("png/rows_and_end_missing", short[:16] + whole[16:33] + short[33:-12], "")
    wrong = bytearray(whole)
    wrong[len(whole) // 2] ^= 1
    refuse("png/wrong_sum", bytes(wrong), "")


# ---- the others ----------------------------------------------------------------------------------------------------


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def others():
    image = Image.fromarray(picture(37, 22))
    clear = Image.fromarray(picture(21, 34, 4), "RGBA")
    tiny = Image.fromarray(picture(1, 1))
    grey, palette, bits = image.convert("L"), image.quantize(200), image.convert("1")
    few = image.quantize(13)
    turned = image.getexif()
    turned[0x0112] = 6
    for name, picked in {"rgb": image, "tiny": tiny, "grey": grey, "palette": palette, "bits": bits, "few": few}.items():
        add(f"bmp/{name}", saved(picked, "BMP"))
        add(f"gif/{name}", saved(picked, "GIF"))
    add("bmp/rgba", saved(clear, "BMP"))
    add("gif/clear", saved(few, "GIF", transparency=3))
    add("gif/flat", saved(few, "GIF", interlace=0))
    add("gif/animated", saved(image, "GIF", save_all=True, append_images=[image.rotate(180)]))
    for name, picked in {"rgb": image, "tiny": tiny, "grey": grey, "rgba": clear, "bits": bits}.items():
        for compression in ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"]:
            add(f"tiff/{name}/{compression}", saved(picked, "TIFF", compression=compression))
    add("tiff/turned", saved(image, "TIFF", exif=turned))
    deep = np.random.default_rng(5).integers(0, 65536, (9, 14)).astype(np.uint16)
    add("tiff/grey16", saved(Image.fromarray(deep), "TIFF"), np.repeat(to8(deep, 16)[..., None], 3, -1))
    cmyk = Image.fromarray(picture(17, 9, 4), "CMYK")
    add("tiff/jpeg", saved(image.resize((33, 40)), "TIFF", compression="jpeg", quality=95))
    add("tiff/cmyk", saved(cmyk, "TIFF"))
    refuse("tiff/palette", saved(palette, "TIFF"), ": save it as JPEG or PNG")
    for name, picked in {"rgb": image, "tiny": tiny, "grey": grey, "rgba": clear}.items():
        add(f"webp/{name}/lossy", saved(picked, "WEBP", quality=80))
        add(f"webp/{name}/lossless", saved(picked, "WEBP", lossless=True))
    add("webp/turned", saved(image, "WEBP", lossless=True, exif=turned))
    add("webp/animated", saved(image, "WEBP", lossless=True, save_all=True, append_images=[image.rotate(180)]))
    refuse("avif", saved(image, "AVIF"), "an AVIF picture: save it as JPEG or PNG")
    boxed = lambda brand: struct.pack(">I", 24) + b"ftyp" + brand + bytes(12)
    for brand in [b"heic", b"heix", b"mif1"]:
        refuse(f"heic/{brand.decode()}", boxed(brand), "a HEIC picture: save it as JPEG or PNG")
    refuse("video", boxed(b"isom"), "a video, not a photo")
    refuse("jpeg_xl", b"\xff\x0a" + bytes(40), "a JPEG XL picture")
    refuse("raw", b"II*\0\x10\0\0\0CR\2\0" + bytes(40), "a raw picture of a camera")
    refuse("svg", b'<?xml version="1.0"?>\n<svg width="3"></svg>', "an SVG drawing")
    refuse("html", b"\xef\xbb\xbf\n <!DOCTYPE HTML><title>404</title>", "an HTML page, not a photo")
    refuse("git_lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer")
    refuse("text", b"only text\n", "a text, not a photo")
    refuse("empty", b"", "an empty file")
    refuse("zeros", bytes(4096), "a file of zeros")
    refuse("archive", b"PK\x03\x04" + bytes(30), "an archive")
    refuse("noise", bytes(range(128, 256)), "no photo of a known format")


jpegs_by_sampling()
jpegs_of_sizes()
greys()
colour_spaces()
orientations()
markers()
pngs()
others()
tensors = {name: np.frombuffer(data, np.uint8) for name, data in files.items()}
tensors |= {f"{name}.rgb": np.ascontiguousarray(p) for name, p in pixels.items()}
save_file(tensors, HERE / "variants.safetensors", refused)
# Every fifth of the many, and all of the kinds that are few.
jpegs = [name for name in pixels if name.startswith("jpeg/") and not name.startswith("jpeg/end/")]
jpegs = [name for n, name in enumerate(jpegs) if n % 5 == 0 or name.split("/")[1] in ("grey", "quality", "four") or "/2x2,1x1,1x1/" in name]
at_scales = {name: np.concatenate([scaled(files[name], scale).ravel() for scale in (2, 4, 8)]) for name in jpegs}
save_file(at_scales, HERE / "scaled.safetensors")
print(len(pixels), "read,", len(refused), "left out,", sum(t.nbytes for t in tensors.values()), "bytes")
