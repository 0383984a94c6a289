"""Style transfer: an image with the content of one picture and the style of another, by gradients towards the image.

The content is a deep feature map; the style is the Gram matrices (which features occur together) of several maps.
With --weights it takes VGG-19, as its paper does; without, a small network that learns to see shapes here first.
Reference: L. A. Gatys, A. S. Ecker, M. Bethge, "A neural algorithm of artistic style" (2015), arXiv 1508.06576.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from fastconv import data, io, losses, nn, ops, optim, schedules, viz, zoo
from fastconv.cli.example import new_folder, parser, save
from fastconv.train import LearningRateScheduler

VGG = ("features.0", "features.5", "features.10", "features.19", "features.28"), "features.21"
SMALL = ("conv1", "conv2", "conv3", "conv4", "conv5"), "conv4"
MEAN = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]  # of the pictures that VGG-19 has learnt from
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]


def main(arguments: Sequence[str] | None = None) -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--content", metavar="FILE", help="picture (default: the photograph of the package)")
    options_parser.add_argument("--style", metavar="FILE", help="picture (default: strokes of a brush, made up)")
    options_parser.add_argument("--weights", metavar="FILE", help="torchvision's VGG-19 as a safetensors file")
    options_parser.add_argument("--steps", type=int, default=300, metavar="N", help="steps towards the image (300)")
    options_parser.add_argument("--strength", type=float, default=1e3, metavar="S", help="weight of the style (1000)")
    options = options_parser.parse_args(arguments)
    out = new_folder(options, "style")
    rng = np.random.default_rng(options.seed)
    content = read(options.content) if options.content else twice_as_large(data.load_photograph() / np.float32(255))
    style = read(options.style) if options.style else strokes(256, 384, rng)
    if options.quick:
        content, style, options.steps = content[:, :48, :48], style[:, :48, :48], 3

    if options.weights is None:
        weights, make, (style_layers, content_layer) = small_network(options).state_dict(), body, SMALL
    else:
        weights, make = io.load_file(options.weights)[0], partial(zoo.vgg19, top=False)
        style_layers, content_layer = VGG

    def network(picture: np.ndarray) -> nn.Model:
        model: nn.Model = make(picture.shape)
        model.load_state_dict({name: weights[name] for name in model.state_dict()})
        return model

    image = nn.Parameter((content[None] - MEAN) / DEVIATION, "image")
    model = network(content)
    maps = model.features(image.data, content_layer)
    terms: list[Any] = [(content_layer, ("mse", maps, 1 / float(np.mean(maps**2))))]
    found = network(style).features((style[None] - MEAN) / DEVIATION, style_layers)
    for layer, maps in zip(style_layers, found, strict=True):
        gram = losses.gram_matrix(maps)
        share = 4 * gram.size / float(np.sum(gram**2)) / len(style_layers)  # makes the losses of all layers alike
        terms.append((layer, ("gram", gram, options.strength * share)))
    adam = optim.Adam(0.05)
    for step in range(options.steps):
        value, gradient = model.gradients(image.data, of=terms)
        image.gradient()[...] = gradient
        adam.step([image])
        image.data = np.clip(image.data, -MEAN / DEVIATION, (1 - MEAN) / DEVIATION)
        if step % max(1, options.steps // 6) == 0 or step == options.steps - 1:
            print(f"step {step + 1:>4}  loss {value:.4f}", flush=True)
    result = image.data[0] * DEVIATION + MEAN
    figure = viz.show_images([content, style, result], ["content", "style", "result"])
    figure.set_size_inches(13.5, 3.4)
    save(figure, out / "style.png")


def body(shape: tuple[int, ...], *head: nn.Layer, seed: int = 0) -> nn.Sequential:
    """Five convolutions, with a pool after the second and the fourth; average pools, as the paper advises."""
    layers: list[nn.Layer] = []
    for number, width in enumerate((32, 32, 64, 64, 128), start=1):
        layers.append(nn.Conv2d(None, width, 3, padding=1, activation="relu", name=f"conv{number}"))
        layers += [nn.AvgPool2d(2, name=f"pool{number}")] if number in (2, 4) else []
    return nn.Sequential(*layers, *head, input_shape=shape, seed=seed)


def small_network(options: argparse.Namespace) -> nn.Sequential:
    """Train the body to tell, at a quarter of the size, which pixels belong to which shape."""
    images, masks = data.make_shapes(128 if options.quick else 4000, 48, seed=options.seed)
    epochs = 1 if options.quick else 5
    model = body(images.shape[1:], nn.Conv2d(None, len(data.SHAPE_CLASSES), 1), seed=options.seed)
    model.compile("adam", "cross_entropy", ["accuracy"])
    rate = LearningRateScheduler(schedules.OneCycle(0.003, epochs * -(-len(images) // 32)), per="batch")
    print("a small network learns to see shapes", flush=True)
    x, y = (images - MEAN) / DEVIATION, masks[:, 2::4, 2::4]
    model.fit(x, y, epochs=epochs, batch_size=32, seed=options.seed, callbacks=[rate])
    return model


def read(path: str) -> np.ndarray:
    """0 to 1, three channels."""
    picture = data.read_images(path)[0]
    picture = picture.astype(np.float32) / (255 if picture.dtype == np.uint8 else max(1.0, float(picture.max())))
    return np.ascontiguousarray(np.broadcast_to(picture, (3, *picture.shape[1:])))


def twice_as_large(picture: np.ndarray) -> np.ndarray:
    return np.asarray(ops.upsample(picture[None], scale_factor=2, mode="bilinear")[0])


def strokes(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Strokes of a brush around hills and hollows: dots of colour, each smeared along the contour it lies on."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    hills = sum(np.sin(a * y + b * x + c) for a, b, c in rng.normal(size=(8, 3)) * (0.045, 0.045, 3))
    down, across = np.gradient(hills)
    steep = np.hypot(down, across) + 1e-6
    palette = np.array([[12, 28, 80], [30, 80, 160], [90, 160, 200], [245, 205, 70], [235, 120, 40], [250, 240, 210]])
    dots = np.kron(rng.normal(size=(height // 4 + 1, width // 4 + 1)), np.ones((4, 4)))[:height, :width]
    colour = np.clip(3 + 0.7 * hills + 1.5 * dots, 0, 5.99).astype(int)
    paint = np.zeros((height, width, 3))
    for direction in (1, -1):
        v, u = y.copy(), x.copy()
        for _ in range(10):
            i, j = v.astype(int) % height, u.astype(int) % width
            paint += palette[colour[i, j]] / (20 * 255)
            v, u = v + direction * across[i, j] / steep[i, j], u - direction * down[i, j] / steep[i, j]
    return np.clip(0.5 + 1.4 * (paint - 0.5), 0, 1).transpose(2, 0, 1).astype(np.float32)


if __name__ == "__main__":
    main()
