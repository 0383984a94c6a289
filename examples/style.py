"""Style transfer: an image with the content of one picture and the style of another, by gradients towards the image.

The content is a deep feature map; the style is the Gram matrices (which features occur together) of several maps.
With --weights it takes VGG-19, as its paper does; without, a small network that is trained here first, on CIFAR-10
where it is found, else on pictures of shapes.
Reference: L. A. Gatys, A. S. Ecker, M. Bethge, "A neural algorithm of artistic style" (2015), arXiv 1508.06576.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np

from fastconv import data, nn, optim, schedules, viz, zoo
from fastconv.cli.example import new_folder, parser, save
from fastconv.train import LearningRateScheduler

VGG_STYLE = ("features.0", "features.5", "features.10", "features.19", "features.28")
VGG_CONTENT = "features.21"
STYLE, CONTENT = ("conv1", "conv2", "conv3", "conv4", "conv5"), "conv4"
Term = tuple[str, Callable[[np.ndarray], tuple[float, np.ndarray]]]


def main(arguments: Sequence[str] | None = None) -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--content", metavar="FILE", help="picture (default: the photograph of the package)")
    options_parser.add_argument("--style", metavar="FILE", help="picture (default: waves of colour, made up)")
    options_parser.add_argument("--weights", metavar="FILE", help="torchvision's VGG-19 as a safetensors file")
    options_parser.add_argument("--steps", type=int, default=150, metavar="N", help="steps towards the image (150)")
    options_parser.add_argument("--strength", type=float, default=1.0, metavar="S", help="weight of the style (1)")
    options = options_parser.parse_args(arguments)
    out = new_folder(options, "style")
    content = data.load_photograph() if options.content is None else data.read_images(options.content)[0]
    style = waves(128, 192, options.seed) if options.style is None else data.read_images(options.style)[0]
    content, style = (colours(picture) for picture in (content, style))
    if options.quick:
        content, style, options.steps = content[:, :48, :48], style[:, :48, :48], 3

    if options.weights is None:
        weights = small_network(options).state_dict()
        build = lambda shape: body(shape)  # noqa: E731
        style_layers, content_layer = STYLE, CONTENT
    else:
        from fastconv.io import load_file

        weights = {name: value for name, value in load_file(options.weights)[0].items() if name.startswith("features")}
        build = lambda shape: zoo.vgg19(shape, top=False)  # noqa: E731
        style_layers, content_layer = VGG_STYLE, VGG_CONTENT

    def network(picture: np.ndarray) -> nn.Model:
        model: nn.Model = build(picture.shape)
        model.load_state_dict({name: weights[name] for name in model.state_dict()})
        return model

    terms: list[Term] = []
    for layer, maps in zip(style_layers, network(style).features(style[None], style_layers), strict=True):
        terms.append((layer, gram_term(gram(maps[0]), options.strength / len(style_layers))))
    model = network(content)
    terms.append((content_layer, content_term(model.features(content[None], content_layer), 0.02)))

    image = nn.Parameter(content[None].copy(), "image")
    adam = optim.Adam(0.02)
    for step in range(options.steps):
        value, gradient = model.gradients(image.data, of=terms)
        image.zero_grad()
        image.gradient()[...] = gradient
        adam.step([image])
        image.data = np.clip(image.data, 0, 1)
        if step % max(1, options.steps // 6) == 0 or step == options.steps - 1:
            print(f"step {step + 1:>4}  loss {value:.5f}", flush=True)
    save(viz.show_images([content, style, image.data[0]], ["content", "style", "result"], 3), out / "style.png")


def gram(maps: np.ndarray) -> np.ndarray:
    """Which channels occur together: F F^T / (channels * pixels) for maps (C, H, W) as F (C, H*W)."""
    rows = maps.reshape(len(maps), -1)
    return np.asarray(rows @ rows.T / rows.size)


def gram_term(target: np.ndarray, weight: float) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Squared distance of Gram matrices, relative to the target's own size, and its gradient."""
    scale = weight / float(np.sum(np.square(target))) if target.any() else 0.0

    def term(maps: np.ndarray) -> tuple[float, np.ndarray]:
        rows = maps[0].reshape(len(target), -1)
        difference = rows @ rows.T / rows.size - target
        gradient = (4 * scale / rows.size) * (difference @ rows)
        return scale * float(np.sum(np.square(difference))), gradient.reshape(maps.shape).astype(maps.dtype)

    return term


def content_term(target: np.ndarray, weight: float) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Squared distance of feature maps, relative to the target's own size, and its gradient."""
    scale = weight / max(float(np.sum(np.square(target))), 1e-12)

    def term(maps: np.ndarray) -> tuple[float, np.ndarray]:
        difference = maps - target
        return scale * float(np.sum(np.square(difference))), (2 * scale * difference).astype(maps.dtype)

    return term


def body(shape: tuple[int, ...], *head: nn.Layer, seed: int = 0) -> nn.Sequential:
    channels = (32, 32, 64, 64, 128)
    layers: list[nn.Layer] = []
    for number, width in enumerate(channels, start=1):
        layers.append(nn.Conv2d(None, width, 3, padding=1, activation="relu", name=f"conv{number}"))
        layers += [nn.AvgPool2d(2, name=f"pool{number}")] if number in (2, 4) else []
    return nn.Sequential(*layers, *head, input_shape=shape, seed=seed)


def small_network(options: argparse.Namespace) -> nn.Sequential:
    """Train the body below a classifier, on what there is to learn from."""
    try:
        (x, y), _ = data.load_cifar10(options.data_dir, download=options.download)
        images, classes, what = x.astype(np.float32) / 255, 10, "CIFAR-10"
    except FileNotFoundError:
        images, masks = data.make_shapes(6000, 32, seed=options.seed)
        counts = np.stack([(masks == kind).sum(axis=(1, 2)) for kind in range(1, 4)], axis=1)
        y, classes, what = counts.argmax(axis=1), 3, "pictures of shapes"
    if options.quick:
        images, y = images[:256], y[:256]
    epochs = 1 if options.quick else 6
    head = (nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(None, classes))
    model = body(images.shape[1:], *head, seed=options.seed)
    model.compile("adam", "cross_entropy", ["accuracy"])
    rate = LearningRateScheduler(schedules.OneCycle(0.003, epochs * -(-len(y) // 64)), per="batch")
    history = model.fit(
        images,
        y,
        epochs=epochs,
        batch_size=64,
        seed=options.seed,
        callbacks=[rate],
        augment=data.RandomFlip(),
        verbose=False,
    )
    print(
        f"a small network, trained on {what}: {history.history['accuracy'][-1]:.2%} of the images it learnt from right"
    )
    return model


def colours(picture: np.ndarray) -> np.ndarray:
    """0 to 1, three channels."""
    picture = picture.astype(np.float32) / (255 if picture.dtype == np.uint8 else max(1.0, float(picture.max())))
    return np.ascontiguousarray(np.broadcast_to(picture, (3, *picture.shape[1:])))


def waves(height: int, width: int, seed: int) -> np.ndarray:
    """A picture of curved stripes in strong colours."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 24.0
    bend = sum(np.sin(rng.uniform(0.5, 1.5) * x + rng.uniform(0.5, 1.5) * y + rng.uniform(0, 6)) for _ in range(4))
    stripes = 2.2 * bend + x
    palette = np.array([[20, 40, 110], [240, 200, 60], [200, 60, 40], [60, 140, 190], [245, 235, 210]])
    return np.asarray(palette[np.floor(stripes).astype(int) % 5].transpose(2, 0, 1).astype(np.uint8))


if __name__ == "__main__":
    main()
