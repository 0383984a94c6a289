// Which convolutions the kernel for sm_90a takes; and its pieces by themselves, for tests.
#include "cuda/bindings/buffers.h"
#include "cuda/conv2d_wgmma.h"
#include "cuda/error.h"
#include "cuda/hopper_probe.h"

namespace fastconv {
namespace cuda {

namespace {

[[maybe_unused]] constexpr const char* kMissing = ": this build has no code for sm_90a";

void im2col(const Conv2dShape& shape, const std::string& dtype, Address input, Address to, std::int32_t row,
            std::int32_t c, std::int32_t kh, std::int32_t kw, Address stream) {
  const char* op = "probe_tma_im2col";
  const ElementType type = parse_element_type(op, dtype);
  const std::int64_t halves = shape.n * shape.ih * shape.iw * shape.ic * bytes_of(type) / 2;
  const Buffer x = buffer<std::uint16_t>(op, "input", input, halves);
  const Buffer y = buffer<std::uint32_t>(op, "to", to, kProbePixels * kProbeLineBytes / 4);
#if defined(FASTCONV_HOPPER)
  probe_tma_im2col(shape, type, pointer<void>(x), pointer<void>(y), row, c, kh, kw, as_stream(stream));
#else
  (void)x, (void)y, (void)row, (void)c, (void)kh, (void)kw, (void)stream;
  throw CudaError(std::string(op) + kMissing);
#endif
}

void filter(const Conv2dShape& shape, const std::string& dtype, Address weight, Address to, std::int32_t column,
            std::int32_t c, std::int32_t tap, Address stream) {
  const char* op = "probe_tma_filter";
  const ElementType type = parse_element_type(op, dtype);
  const std::int64_t halves = shape.oc * shape.kh * shape.kw * shape.ic * bytes_of(type) / 2;
  const Buffer w = buffer<std::uint16_t>(op, "weight", weight, halves);
  const Buffer y = buffer<std::uint32_t>(op, "to", to, 64 * kProbeLineBytes / 4);
#if defined(FASTCONV_HOPPER)
  probe_tma_filter(shape, type, pointer<void>(w), pointer<void>(y), column, c, tap, as_stream(stream));
#else
  (void)w, (void)y, (void)column, (void)c, (void)tap, (void)stream;
  throw CudaError(std::string(op) + kMissing);
#endif
}

void wgmma(const std::string& dtype, int columns, Address a, Address b, Address sums, const std::string& turned,
           Address stream) {
  const char* op = "probe_wgmma";
  const ElementType type = parse_element_type(op, dtype);
  if (turned != "" && turned != "b" && turned != "ab")
    throw std::invalid_argument(std::string(op) + ": turned must be '', 'b' or 'ab', got '" + turned + "'");
  const Buffer given[] = {buffer<std::uint32_t>(op, "a", a, 64 * kProbeLineBytes / 4),
                          buffer<std::uint32_t>(op, "b", b, columns * kProbeLineBytes / 4),
                          buffer<float>(op, "sums", sums, 64 * std::int64_t{columns})};
#if defined(FASTCONV_HOPPER)
  const Turned which = turned.empty() ? Turned::none : turned == "b" ? Turned::b : Turned::both;
  probe_wgmma(type, columns, which, pointer<void>(given[0]), pointer<void>(given[1]), pointer<float>(given[2]),
              as_stream(stream));
#else
  (void)type, (void)given, (void)stream;
  throw CudaError(std::string(op) + kMissing);
#endif
}

std::string refusal(const Conv2dShape& shape, const std::string& dtype, const std::string& precision, bool aligned,
                    int compute_capability, const std::string& of) {
  const char* op = "conv2d_wgmma_refusal";
  const ElementType type = parse_element_type(op, dtype);
  const bool input = of == "conv2d_backward_input", weight = of == "conv2d_backward_weight";
  if (!input && !weight && of != "conv2d")
    throw std::invalid_argument(std::string(op) + ": of must be 'conv2d', 'conv2d_backward_input' or " +
                                "'conv2d_backward_weight', got '" + of + "'");
  const auto refuses = input    ? conv2d_backward_input_wgmma_refuses
                       : weight ? conv2d_backward_weight_wgmma_refuses
                                : conv2d_wgmma_refuses;
  const char* why = refuses(shape, type, parse_precision(op, type, precision), aligned, compute_capability);
  return why ? why : "";
}

}  // namespace

void bind_hopper(py::module_& m) {
  m.def("conv2d_wgmma_refusal", &refusal, py::arg("shape"), py::kw_only(), py::arg("dtype"), py::arg("precision"),
        py::arg("aligned"), py::arg("compute_capability"), py::arg("of") = "conv2d");
  m.def("probe_tma_im2col", &im2col, py::arg("shape"), py::arg("dtype"), py::arg("input"), py::arg("to"), py::kw_only(),
        py::arg("row"), py::arg("c"), py::arg("kh"), py::arg("kw"), py::arg("stream"));
  m.def("probe_tma_filter", &filter, py::arg("shape"), py::arg("dtype"), py::arg("weight"), py::arg("to"),
        py::kw_only(), py::arg("column"), py::arg("c"), py::arg("tap"), py::arg("stream"));
  m.def("probe_wgmma", &wgmma, py::arg("dtype"), py::arg("columns"), py::arg("a"), py::arg("b"), py::arg("sums"),
        py::kw_only(), py::arg("turned") = "", py::arg("stream"));
}

}  // namespace cuda
}  // namespace fastconv
