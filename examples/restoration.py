"""Restoration: networks with a loss at each pixel take noise out of pictures, and make small pictures larger (SRCNN).

Learns from CIFAR-10 where it is given and is judged on the photograph, else learns from the left two thirds of the
photograph and is judged on the right third.
References: C. Dong et al., "Image super-resolution using deep convolutional networks" (2014); K. Zhang et al., "Beyond
a Gaussian denoiser" (2017), for guessing the noise instead of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv import data, nn, ops, schedules, viz
from fastconv.cli.example import new_folder, parser, save
from fastconv.train import LearningRateScheduler

NOISE = 25 / 255


def main(arguments: Sequence[str] | None = None) -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--epochs", type=int, default=10, metavar="N", help="passes over the patches (10)")
    options = options_parser.parse_args(arguments)
    out = new_folder(options, "restoration")
    rng = np.random.default_rng(options.seed)
    photo = data.load_photograph().astype(np.float32) / 255
    patches, judge = learning_patches(options.data_dir, photo, 256 if options.quick else 8000, rng)
    epochs = 1 if options.quick else options.epochs
    print(f"{len(patches):,} patches of 32 x 32 to learn from")

    noisy = judge + NOISE * rng.standard_normal(judge.shape, dtype=np.float32)
    denoiser = residual_network([48] * 6, [3] * 7, options.seed)
    damage = np.asarray(NOISE * rng.standard_normal(patches.shape, dtype=np.float32))
    train(denoiser, patches + damage, patches, epochs, options.seed)
    denoised, blurred = denoiser.predict(noisy), blur(noisy)
    for name, result in (("noisy", noisy), ("blur", blurred), ("network", denoised)):
        print(f"denoising         {name:<8} {psnr(result, judge):6.2f} dB")

    small = shrink(judge)
    larger = bicubic(small, judge.shape[2:])
    srcnn = residual_network([64, 32], [9, 1, 5], options.seed)
    train(srcnn, bicubic(shrink(patches), (32, 32)), patches, epochs, options.seed)
    sharp = srcnn.predict(larger)
    for name, result in (("bicubic", larger), ("network", sharp)):
        print(f"super-resolution  {name:<8} {psnr(result, judge):6.2f} dB")

    pictures = [judge, noisy, blurred, denoised, judge, small, larger, sharp]
    titles = ["true picture", f"with noise: {psnr(noisy, judge):.1f} dB"]
    titles += [f"blurred: {psnr(blurred, judge):.1f} dB", f"network: {psnr(denoised, judge):.1f} dB"]
    titles += ["true picture", "half its size", f"bicubic: {psnr(larger, judge):.1f} dB"]
    titles += [f"network: {psnr(sharp, judge):.1f} dB"]
    save(viz.show_images([picture[0] for picture in pictures], titles, 4), out / "restoration.png")


def learning_patches(
    folder: str | None, photo: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return patches to learn from and a picture (1, 3, H, W) to judge by."""
    try:
        images = data.load_cifar10(folder).train[0]
        return images[rng.permutation(len(images))[:count]].astype(np.float32) / 255, photo[None]
    except FileNotFoundError:
        tops, lefts = rng.integers(0, 128 - 32, count), rng.integers(0, 128 - 32, count)
        places = zip(tops, lefts, strict=True)
        patches = np.stack([photo[:, top : top + 32, left : left + 32] for top, left in places])
        return data.RandomFlip()(patches, rng), photo[None, :, :, 128:].copy()


def residual_network(channels: list[int], kernels: list[int], seed: int) -> nn.Model:
    """Convolutions of these sizes that guess what has to be added to the picture."""
    picture = nn.Input()  # of no fixed size: learns from small pictures, works on large ones
    x = picture
    for width, kernel in zip(channels, kernels[:-1], strict=True):
        x = nn.Conv2d(None, width, kernel, padding="same", activation="relu")(x)
    x = nn.Conv2d(None, 3, kernels[-1], padding="same")(x)
    return nn.Model(picture, nn.Add()(picture, x), seed=seed)


def train(model: nn.Model, damaged: np.ndarray, clean: np.ndarray, epochs: int, seed: int) -> None:
    model.compile("adam", "mse")
    rate = LearningRateScheduler(schedules.OneCycle(0.002, epochs * -(-len(clean) // 32)), per="batch")
    model.fit(damaged, clean, epochs=epochs, batch_size=32, seed=seed, callbacks=[rate], verbose=False)


def psnr(result: np.ndarray, true: np.ndarray) -> float:
    """Peak signal-to-noise ratio in decibels, for values 0 to 1."""
    return float(-10 * np.log10(np.mean(np.square(np.clip(result, 0, 1) - true, dtype=np.float64))))


def blur(images: np.ndarray) -> np.ndarray:
    """Binomial 3x3, each colour by itself."""
    line = np.array([1, 2, 1], np.float32) / 4
    kernel = np.broadcast_to(np.outer(line, line), (3, 1, 3, 3)).copy()
    return np.asarray(ops.conv2d(np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), "edge"), kernel, groups=3))


def shrink(images: np.ndarray) -> np.ndarray:
    return np.asarray(ops.avg_pool2d(np.ascontiguousarray(images), 2))


def bicubic(images: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Bicubic interpolation, by Pillow."""
    from PIL import Image

    planes = [
        np.asarray(Image.fromarray(plane, "F").resize((size[1], size[0]), Image.Resampling.BICUBIC))
        for plane in images.reshape(-1, *images.shape[2:])
    ]
    return np.stack(planes).reshape(*images.shape[:2], *size)


if __name__ == "__main__":
    main()
