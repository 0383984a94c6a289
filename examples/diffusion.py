"""Denoising diffusion: a U-Net learns to take noise out of digits, then makes new digits out of noise alone.

x[t] = sqrt(a[t]) x[0] + sqrt(1 - a[t]) noise; the network is shown x[t] and t and guesses the noise. To sample, the
guess is taken out of pure noise step by step. Reference: J. Ho, A. Jain, P. Abbeel, "Denoising diffusion probabilistic
models" (2020), algorithms 1 and 2; the cosine schedule is that of A. Nichol, P. Dhariwal (2021).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv import data, optim, schedules, viz, zoo
from fastconv.cli.example import new_folder, parser, save
from fastconv.nn import Model

STEPS = 200


def main(arguments: Sequence[str] | None = None) -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--epochs", type=int, default=4, metavar="N", help="passes over the digits (4)")
    options = options_parser.parse_args(arguments)
    out = new_folder(options, "diffusion")
    (x, _), _ = data.load_mnist(options.data_dir, download=options.download)
    x = x[:256] if options.quick else x
    images = data.Rescale(127.5, 127.5)(x)  # -1 to 1
    rng = np.random.default_rng(options.seed)

    model = zoo.denoising_unet((1, 28, 28), width=32, depth=2, seed=options.seed)
    adam = optim.Adam()
    model.compile(adam, "mse")
    signal = kept_signal()
    batch, epochs = 64, 1 if options.quick else options.epochs
    total = epochs * (len(images) // batch)
    rate = schedules.OneCycle(0.001, total)
    losses: list[float] = []
    for epoch in range(epochs):
        order = rng.permutation(len(images))
        for start in range(0, len(images) - batch + 1, batch):
            adam.learning_rate = rate(len(losses))
            clean = images[order[start : start + batch]]
            t = rng.integers(0, STEPS, batch)
            noise = rng.standard_normal(clean.shape, dtype=np.float32)
            noisy = mix(clean, noise, signal[t])
            losses.append(model.train_on_batch((noisy, time_of(t)), noise)["loss"])
        print(f"epoch {epoch + 1}/{epochs}  loss {np.mean(losses[-(len(images) // batch) :]):.4f}", flush=True)

    model.save(out / "diffusion.safetensors")

    side = 2 if options.quick else 8
    digits, course = sample(model, signal, side * side, rng)
    ink = [np.mean(some > 0) for some in (images, digits)]
    print(f"{side * side} digits made of noise in {STEPS} steps: {ink[1]:.1%} ink, as real ones have {ink[0]:.1%}")
    sheets = [np.nan_to_num(viz.sheet(some[: side * side, 0], side), nan=0.0) for some in (images, digits)]
    titles = ["from MNIST", "made by the network"]
    figure = viz.show_images(sheets, titles, value_range=(-1, 1))
    figure.set_size_inches(10, 5.3)
    save(figure, out / "digits.png")
    titles = [f"{steps} of {STEPS} steps" for steps in range(0, STEPS + 1, STEPS // (len(course) - 1))]
    save(viz.show_images(course, titles, len(course), value_range=(-1, 1)), out / "course.png")


def kept_signal() -> np.ndarray:
    """Return a[t], the share of the image's variance that is left at step t: from nearly 1 to nearly 0."""
    t = (np.arange(STEPS + 1) / STEPS + 0.008) / 1.008
    curve = np.cos(t * np.pi / 2) ** 2
    steps = np.clip(1 - curve[1:] / curve[:-1], 0, 0.999)
    return np.asarray(np.cumprod(1 - steps).astype(np.float32))


def mix(clean: np.ndarray, noise: np.ndarray, signal: np.ndarray) -> np.ndarray:
    share = signal[:, None, None, None]
    return np.asarray(np.sqrt(share) * clean + np.sqrt(1 - share) * noise, np.float32)


def time_of(t: np.ndarray) -> np.ndarray:
    return t.astype(np.float32)[:, None]


def sample(
    model: Model, signal: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return new images and, of the first, how it came out of the noise (algorithm 2)."""
    x = rng.standard_normal((count, 1, 28, 28), dtype=np.float32)
    course = [x[0].copy()]
    before = np.concatenate([[1.0], signal[:-1]]).astype(np.float32)
    for t in range(STEPS - 1, -1, -1):
        guess = model.predict_on_batch((x, time_of(np.full(count, t))))
        clean = np.clip((x - np.sqrt(1 - signal[t]) * guess) / np.sqrt(signal[t]), -1, 1)
        step = 1 - signal[t] / before[t]
        mean = (np.sqrt(before[t]) * step * clean + np.sqrt(signal[t] / before[t]) * (1 - before[t]) * x) / (
            1 - signal[t]
        )
        spread = np.sqrt(step * (1 - before[t]) / (1 - signal[t]))
        x = (mean + spread * rng.standard_normal(x.shape, dtype=np.float32) * (t > 0)).astype(np.float32)
        if t % (STEPS // 8) == 0:
            course.append(x[0].copy())
    return x, course


if __name__ == "__main__":
    main()
