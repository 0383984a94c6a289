// Devices and streams of a call, and arrays that arrive by DLPack.
#include "cuda/bindings/buffers.h"
#include "cuda/bindings/dlpack.h"
#include "cuda/streams.h"
#if defined(FASTCONV_EMULATE)
#include "cuda/emulator/streams.h"
#endif

namespace fastconv {
namespace cuda {

namespace {

std::string dtype_name(const DlTensor& t) {
  constexpr const char* kCodes[] = {"int", "uint", "float", "handle", "bfloat", "complex", "bool"};
  if (t.type_lanes != 1 || t.type_code >= 7) return "unknown";
  if (t.type_code == 6) return "bool";
  return kCodes[t.type_code] + std::to_string(t.type_bits);
}

// The capsule stays its owner's: as long as it lives, so does the memory.
py::tuple read_dlpack(const py::capsule& capsule) {
  const std::string name = capsule.name() ? capsule.name() : "";
  const DlTensor* t = nullptr;
  bool read_only = false;
  if (name == "dltensor_versioned") {
    const auto* managed = capsule.get_pointer<DlVersioned>();
    if (managed->major > 1) throw std::invalid_argument("DLPack " + std::to_string(managed->major) + " is not known");
    t = &managed->tensor, read_only = managed->flags & kDlReadOnly;
  } else if (name == "dltensor") {
    t = capsule.get_pointer<DlTensor>();
  } else {
    throw std::invalid_argument("not a fresh DLPack capsule: " + name);
  }
  py::tuple shape(t->ndim), strides(t->strides ? t->ndim : 0);
  for (std::int32_t i = 0; i < t->ndim; ++i) {
    shape[static_cast<std::size_t>(i)] = t->shape[i];
    if (t->strides) strides[static_cast<std::size_t>(i)] = t->strides[i];
  }
  return py::make_tuple(reinterpret_cast<Address>(t->data) + t->byte_offset, shape,
                        t->strides ? py::object(strides) : py::none(), dtype_name(*t), read_only);
}

}  // namespace

void bind_streams(py::module_& m) {
  m.def(
      "enter_device", [](int device, Address stream) { return enter_device(device, as_stream(stream)); },
      py::arg("device"), py::arg("stream"));
  m.def("set_device", &set_device, py::arg("device"));
  m.def(
      "order_streams",
      [](int device, Address first, Address then) { order_streams(device, as_stream(first), as_stream(then)); },
      py::arg("device"), py::arg("first"), py::arg("then"));
  m.def("pointer_device", &pointer_device, py::arg("address"));
  m.def("read_dlpack", &read_dlpack, py::arg("capsule"));
#if defined(FASTCONV_EMULATE)
  m.def(
      "emulate_stream",
      [](int device) {
        emulator::stream_devices().push_back(device);
        return emulator::kFirstStream + emulator::stream_devices().size() - 1;
      },
      py::arg("device"));
  m.def("emulated_orders", [] {
    std::vector<std::pair<Address, Address>> orders;
    for (const auto& [first, then] : emulator::stream_orders())
      orders.emplace_back(reinterpret_cast<Address>(first), reinterpret_cast<Address>(then));
    emulator::stream_orders().clear();
    return orders;
  });
#endif
}

}  // namespace cuda
}  // namespace fastconv
