"""What networks see: filters, feature maps, what excites a unit, saliency, made-up images, receptive fields."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv import data, schedules, viz, zoo
from fastconv.cli.example import new_folder, parser, save
from fastconv.train import LearningRateScheduler


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__).parse_args(arguments)
    out = new_folder(options, "features")
    (x, y), (x_test, y_test) = data.load_mnist(options.data_dir, download=options.download)
    if options.quick:
        x, y, x_test, y_test = x[:2000], y[:2000], x_test[:500], y_test[:500]
    rescale = data.Rescale(255)
    x, x_test = rescale(x), rescale(x_test)
    model = zoo.keras_mnist(seed=options.seed)
    model.compile("adam", "cross_entropy", ["accuracy"])
    epochs = 1 if options.quick else 4
    rate = LearningRateScheduler(schedules.OneCycle(0.002, epochs * -(-len(x) // 64)), per="batch")
    model.fit(x, y, epochs=epochs, batch_size=64, callbacks=[rate], seed=options.seed, verbose=False)
    print(f"{model.evaluate(x_test, y_test)['accuracy']:.2%} of {len(x_test):,} test digits read right")

    one_of_each = [int(np.flatnonzero(y_test == digit)[0]) for digit in range(10)]
    examples = x_test[one_of_each]
    steps = 5 if options.quick else 200
    save(viz.show_filters(model.layers["conv1"].parameters()["weight"].data, "filters of conv1"), out / "filters.png")
    save(viz.show_feature_maps(model, examples[4], "conv1"), out / "maps-conv1.png")
    save(viz.show_feature_maps(model, examples[4], "conv2"), out / "maps-conv2.png")
    save(viz.show_most_exciting(model, x_test, "conv2", range(6), 8), out / "exciting-conv2.png")
    save(viz.show_saliency(model, examples[:6], range(6)), out / "saliency.png")
    save(viz.show_maximal_inputs(model, range(10), steps=steps), out / "made-for-digits.png")
    save(viz.show_maximal_inputs(model, range(12), "conv2", steps=steps), out / "made-for-conv2.png")
    save(viz.show_receptive_fields(model, examples[4]), out / "receptive-fields.png")
    for name in ("conv1", "pool1", "conv2", "pool2", "conv3"):
        _, _, height, width = viz.receptive_field(model, name)
        print(f"{name:<6} its middle unit has seen {height} x {width} pixels")


if __name__ == "__main__":
    main()
