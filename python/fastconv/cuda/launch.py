"""What surrounds a kernel: one device for all arrays, and the order between the streams of different libraries."""

from __future__ import annotations

from types import TracebackType

from fastconv.cuda import arrays, native
from fastconv.cuda.arrays import View


class Launch:
    """Run kernels on the device of the arrays, on the stream that is current in the library of the first.

    ``with Launch(op, x, w, y) as stream`` gives the stream. An array that belongs to another library, or says itself on
    which stream it is ready, is waited for there; and that stream waits for our kernels, so that its library may use or
    free the memory afterwards. The GPU does all this waiting, the host none.

    Raises
    ------
    ValueError
        If arrays lie on different devices, or the stream belongs to another one.
    """

    __slots__ = ("_device", "_module", "_others", "_previous", "_stream")

    def __init__(self, op: str, first: View, *others: View | None) -> None:
        self._module = native.module(op)
        self._device, self._stream = first.device, arrays.stream(first)
        self._others: list[int] = []
        for other in others:
            if other is None:
                continue
            if other.device != first.device:
                raise ValueError(
                    f"{op}: all arrays must lie on one device, got {first.name} on device {first.device} and "
                    f"{other.name} on device {other.device}"
                )
            if other.library != first.library or (not other.library and other.ready is not None):
                stream = arrays.stream(other)
                if stream != self._stream and stream not in self._others:
                    self._others.append(stream)
        try:
            self._previous = self._module.enter_device(self._device, self._stream)
        except ValueError as error:
            raise ValueError(f"{op}: {error}") from None

    def __enter__(self) -> int:
        try:
            for other in self._others:
                self._module.order_streams(self._device, other, self._stream)
        except BaseException:
            self._leave()
            raise
        return self._stream

    def _leave(self) -> None:
        if self._previous != self._device:
            self._module.set_device(self._previous)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for other in self._others:
                self._module.order_streams(self._device, self._stream, other)
        finally:
            self._leave()
