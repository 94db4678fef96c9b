"""Pictures for the seed posts: a sky, a light in it, and layers of land or sea."""

import math
import random

from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 1600, 900
SCALE = 2  # drawn twice as large, then made smaller: smooth edges

# sky at the top, sky at the horizon, light, farthest layer, nearest layer
PALETTES = {
    "dawn": ("#41517f", "#f6b48f", "#fff1d6", "#c9838a", "#3b2d4f"),
    "noon": ("#5aa3c7", "#e6f1ea", "#fffdf2", "#a9cdbb", "#2f6f6a"),
    "dusk": ("#24264f", "#e0777d", "#ffd9a0", "#8a4a75", "#221a3a"),
    "night": ("#0c1230", "#34497a", "#f3f0dc", "#2c3e6b", "#090d20"),
    "fog": ("#8fa3ad", "#eef0ec", "#ffffff", "#c3cecf", "#4c6069"),
    "autumn": ("#c8d3cf", "#f7e6c4", "#fff8e4", "#dfa45f", "#7a3520"),
}


def scene(kind, palette, seed):
    """kind is hills, sea or town. The same seed gives the same picture."""
    rng = random.Random(seed)
    top, horizon, light, far, near = map(rgb, PALETTES[palette])
    image = gradient(top, horizon)
    if palette == "night":
        stars(image, rng)
    glow(image, rng, light)
    draw = ImageDraw.Draw(image)
    layers = 6
    for index in range(layers):
        depth = index / (layers - 1)
        points = LAYERS[kind](rng, depth)
        outline = [(0, HEIGHT * SCALE), *points, (WIDTH * SCALE, HEIGHT * SCALE)]
        draw.polygon(outline, fill=mix(far, near, depth))
    if kind == "sea":
        boat(draw, rng, near)
    return image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def rgb(text):
    return tuple(int(text[i : i + 2], 16) for i in (1, 3, 5))


def mix(one, other, share):
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other))


def gradient(top, bottom):
    column = Image.new("RGB", (1, 256))
    for y in range(256):
        column.putpixel((0, y), mix(top, bottom, min(1, y / 170)))
    size = (WIDTH * SCALE, HEIGHT * SCALE)
    return column.resize(size, Image.Resampling.BICUBIC)


def glow(image, rng, colour):
    """A sun or moon, with a soft halo."""
    x, y = rng.uniform(0.2, 0.8) * WIDTH, rng.uniform(0.18, 0.4) * HEIGHT
    radius = rng.uniform(55, 95)
    small = Image.new("L", (WIDTH // 4, HEIGHT // 4))
    draw = ImageDraw.Draw(small)
    for reach, strength in ((3.4, 40), (2.2, 70)):
        draw.circle((x / 4, y / 4), radius * reach / 4, fill=strength)
    halo = small.filter(ImageFilter.GaussianBlur(24)).resize(image.size)
    image.paste(colour, mask=halo)
    disc = ImageDraw.Draw(image)
    disc.circle((x * SCALE, y * SCALE), radius * SCALE, fill=colour)


def stars(image, rng):
    draw = ImageDraw.Draw(image)
    for _ in range(140):
        at = rng.uniform(0, WIDTH * SCALE), rng.uniform(0, HEIGHT * SCALE * 0.55)
        shade = rng.randint(120, 235)
        draw.circle(at, rng.uniform(1, 3.2), fill=(shade, shade, shade))


def hills(rng, depth):
    waves = [
        (rng.uniform(0.6, 1.4), 60, rng.uniform(0, 6)),
        (rng.uniform(2, 4), 26, rng.uniform(0, 6)),
        (rng.uniform(7, 11), 7, rng.uniform(0, 6)),
    ]
    return curve(0.45 + 0.45 * depth, waves)


def sea(rng, depth):
    waves = [
        (rng.uniform(1, 2), 9 + 12 * depth, rng.uniform(0, 6)),
        (rng.uniform(5, 8), 3 + 8 * depth, rng.uniform(0, 6)),
    ]
    return curve(0.56 + 0.36 * depth, waves)


def curve(base, waves):
    points = []
    for x in range(0, WIDTH + 1, 8):
        turn = 2 * math.pi * x / WIDTH
        lift = sum(size * math.sin(turn * speed + at) for speed, size, at in waves)
        points.append((x * SCALE, (base * HEIGHT + lift) * SCALE))
    return points


def town(rng, depth):
    """Roofs: flat ones far away, gables near by."""
    x, points = -40, []
    while x < WIDTH:
        width = rng.uniform(60, 120) * (0.7 + 0.6 * depth)
        roof = (0.44 + 0.44 * depth) * HEIGHT - rng.uniform(-30, 60)
        gable = roof - width * 0.4 if rng.random() < 0.4 + depth / 2 else roof
        points += [(x, roof), (x + width / 2, gable), (x + width, roof)]
        x += width
    return [(x * SCALE, y * SCALE) for x, y in points]


def boat(draw, rng, colour):
    x, y = rng.uniform(0.25, 0.75) * WIDTH, 0.66 * HEIGHT
    hull = [(-46, 0), (46, 0), (30, 20), (-32, 20)]
    sails = [[(-2, -6), (-2, -104), (-44, -6)], [(4, -6), (4, -84), (36, -6)]]
    for shape, fill in ((hull, colour), *((sail, "#fbf7ee") for sail in sails)):
        draw.polygon([((x + a) * SCALE, (y + b) * SCALE) for a, b in shape], fill=fill)


LAYERS = {"hills": hills, "sea": sea, "town": town}
