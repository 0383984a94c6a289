// The run time: instruction set, threads, scratch memory, what was built.
#include <memory>

#include "bindings/array.h"
#include "cpu/isa.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"

namespace fastconv {
namespace bindings {

namespace {

py::array empty_aligned(std::int64_t nbytes) {
  if (nbytes < 0) throw std::invalid_argument("empty_aligned: nbytes must be >= 0, got " + std::to_string(nbytes));
  void* memory = aligned_new(static_cast<std::size_t>(nbytes));
  py::capsule owner(memory, [](void* p) { aligned_delete(p); });
  return py::array(py::dtype::of<std::uint8_t>(), {nbytes}, {std::int64_t{1}}, memory, owner);
}

double fma_peak(const std::string& dtype_name, std::int64_t iterations) {
  return dispatch(parse_dtype("fma_peak", dtype_name), [&](auto zero) {
    using T = decltype(zero);
    const auto chains = active_kernel_set<T>().conv.fma_chains;
    const int threads = max_threads();
    const Scratch sums(static_cast<std::size_t>(threads) * kAlignment);
    double* flops = sums.as<double>();
    constexpr std::int64_t kStep = kAlignment / sizeof(double);
    parallel_for(threads, threads, [&](std::int64_t task, int) { flops[task * kStep] = chains(iterations); });
    double total = 0;
    for (int t = 0; t < threads; ++t) total += flops[t * kStep];
    return total;
  });
}

}  // namespace

void bind_runtime(py::module_& m) {
  m.attr("version") = FASTCONV_VERSION;
  m.def("build_info", [] {
    py::dict d;
    d["compiler"] = FASTCONV_COMPILER;
    d["build_type"] = FASTCONV_BUILD_TYPE;
    d["openmp"] = openmp_description();
    return d;
  });
  m.def("cuda_status", [] { return FASTCONV_CUDA_STATUS; });

  m.def("isa_available", [] {
    py::list names;
    for (Isa isa : available_isas()) names.append(isa_name(isa));
    return names;
  });
  m.def("isa_active", [] { return std::string(isa_name(active_isa())); });
  m.def(
      "set_isa", [](const std::string& name, const std::string& source) { set_isa(source, name); }, py::arg("name"),
      py::kw_only(), py::arg("source") = "set_isa");

  m.def("get_num_threads", &max_threads);
  m.def("set_num_threads", &set_num_threads, py::arg("count"));
  m.def("push_num_threads", &push_num_threads, py::arg("count"));
  m.def("pop_num_threads", &pop_num_threads, py::arg("previous"));

  m.def("empty_aligned", &empty_aligned, py::arg("nbytes"));
  m.def("scratch_stats", [] {
    const ScratchStats s = scratch_stats();
    py::dict d;
    d["allocations"] = s.allocations;
    d["bytes_in_use"] = s.bytes_in_use;
    d["bytes_reserved"] = s.bytes_reserved;
    return d;
  });
  m.def("reserve_scratch", [](std::size_t nbytes) { const Scratch taken_once(nbytes); }, py::arg("nbytes"));
  m.def("release_scratch", &release_scratch);
  m.def("fma_peak", &fma_peak, py::arg("dtype"), py::arg("iterations"));
}

}  // namespace bindings
}  // namespace fastconv
