// Devices, errors, and the modes of the emulator.
#include <array>

#include "cuda/bindings/buffers.h"
#include "cuda/devices.h"
#include "cuda/error.h"
#if defined(FASTCONV_EMULATE)
#include "cuda/emulator/accesses.h"
#include "cuda/emulator/grid.h"
#endif

namespace fastconv {
namespace cuda {

void bind_runtime(py::module_& m) {
  // Thrown as the class that Python users catch, which is there without this module too.
  py::register_local_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const CudaError& e) {
      const py::object type = py::module_::import("fastconv.cuda.error").attr("CudaError");
      std::string text = e.what();
      if (text.find("cudaErrorNoKernelImageForDevice") != std::string::npos)
        text += "; this build has code for " FASTCONV_CUDA_ARCHITECTURES;
      PyErr_SetString(type.ptr(), text.c_str());
    }
  });
  m.attr("architectures") = FASTCONV_CUDA_ARCHITECTURES;
  m.def("device_count", &device_count);
  m.def("driver_status", &driver_status);
  m.def(
      "device_properties",
      [](int device) {
        const DeviceProperties p = device_properties(device);
        py::dict d;
        d["name"] = p.name;
        d["compute_capability"] = py::make_tuple(p.compute_capability / 10, p.compute_capability % 10);
        d["multiprocessors"] = p.multiprocessors;
        d["memory_bytes"] = p.memory_bytes;
        return d;
      },
      py::arg("device"));
#if defined(FASTCONV_EMULATE)
  m.attr("emulated") = true;
  m.def(
      "set_emulation",
      [](bool late_landing, bool backwards, const std::string& launch_error, int compute_capability,
         int multiprocessors, bool tensor_maps, bool launches, std::array<int, 2> simt_tile, bool simt_split) {
        emulator::mode() = {late_landing, backwards, launch_error, compute_capability, multiprocessors,
                            tensor_maps,  launches,  simt_tile[0], simt_tile[1],       simt_split};
      },
      py::kw_only(), py::arg("late_landing"), py::arg("backwards"), py::arg("launch_error") = "",
      py::arg("compute_capability") = 90, py::arg("multiprocessors") = 132, py::arg("tensor_maps") = true,
      py::arg("launches") = true, py::arg("simt_tile") = std::array<int, 2>{0, 0}, py::arg("simt_split") = false);
  m.def(
      "access_cost",
      [](const std::vector<std::int64_t>& addresses, int bytes, bool shared) {
        if (addresses.size() > 32) throw py::value_error("access_cost: a warp has 32 lanes");
        const emulator::AccessCost cost = emulator::access_cost(addresses, bytes, shared);
        return py::make_tuple(cost.needed, cost.least);
      },
      py::arg("addresses"), py::arg("bytes"), py::kw_only(), py::arg("shared"));
  m.def("start_counting", &emulator::start_counting);
  m.def("stop_counting", [] {
    py::list lines;
    for (const emulator::AccessCounts& c : emulator::stop_counting())
      lines.append(py::make_tuple(c.file, c.line, c.shared, c.store, c.requests, c.needed, c.least));
    return lines;
  });
#else
  m.attr("emulated") = false;
#endif
}

}  // namespace cuda
}  // namespace fastconv
