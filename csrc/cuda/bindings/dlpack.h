// The structures of DLPack that are read here, by the published ABI (dmlc.github.io/dlpack, versions 0 and 1).
#pragma once

#include <cstdint>

namespace fastconv {
namespace cuda {

struct DlTensor {
  void* data;
  std::int32_t device_type, device_id;
  std::int32_t ndim;
  std::uint8_t type_code, type_bits;
  std::uint16_t type_lanes;
  std::int64_t* shape;
  std::int64_t* strides;  // null: C-contiguous
  std::uint64_t byte_offset;
};

struct DlVersioned {
  std::uint32_t major, minor;
  void* context;
  void (*deleter)(DlVersioned*);
  std::uint64_t flags;
  DlTensor tensor;
};
constexpr std::uint64_t kDlReadOnly = 1;

constexpr std::int32_t kDlCpu = 1, kDlCuda = 2, kDlManaged = 13;

// Functions of an array library, from version 1.3 on: the capsule `__dlpack_c_exchange_api__` of its array type.
struct DlExchange {
  std::uint32_t major, minor;
  const DlExchange* older;
  void *allocate, *from_object, *to_object;  // not used here
  int (*read)(void* object, DlTensor* out);  // may be null
  int (*current_stream)(std::int32_t device_type, std::int32_t device_id, void** out);
};
constexpr const char* kDlExchangeName = "dlpack_exchange_api";

}  // namespace cuda
}  // namespace fastconv
