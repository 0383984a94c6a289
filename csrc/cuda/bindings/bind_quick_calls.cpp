// Calls whose like was judged before: arrays are read here, the plan is found by their form, and it runs.
//
// Nothing is refused here. Whatever is not the same as before in every respect that Python judges is left to Python,
// which runs it or says what is wrong with it: `Calls.run` returns None then. Addresses are checked by the plan each
// time.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "cuda/bindings/dlpack.h"
#include "cuda/bindings/plan.h"
#include "cuda/streams.h"

namespace fastconv {
namespace cuda {

namespace {

// All that a plan depends on, as numbers: of each array type, shape, strides and device, and the options as written.
class Form {
 public:
  void add(std::int64_t word) {
    if (used_ < words_.size())
      words_[used_++] = word;
    else
      fits_ = false;
  }
  // None, bool, int, float, str exactly, and tuples and lists of them, so that 1, 1.0 and True are not the same.
  bool add_option(PyObject* value) {
    if (value == Py_None) return add(1), fits_;
    if (PyBool_Check(value)) return add(value == Py_True ? 2 : 3), fits_;
    if (PyLong_CheckExact(value)) {
      int overflow = 0;
      add(4), add(PyLong_AsLongLongAndOverflow(value, &overflow));
      return fits_ && !overflow;
    }
    if (PyFloat_CheckExact(value)) {
      const double number = PyFloat_AS_DOUBLE(value);
      std::int64_t bits;
      std::memcpy(&bits, &number, sizeof bits);
      return add(5), add(bits), fits_;
    }
    if (PyUnicode_CheckExact(value)) return add_text(value);
    const bool tuple = PyTuple_Check(value);  // torch.Size is one
    if (!tuple && !PyList_Check(value)) return false;
    const Py_ssize_t size = PySequence_Fast_GET_SIZE(value);
    add(tuple ? 7 : 8), add(size);
    for (Py_ssize_t i = 0; i < size; ++i)
      if (!fits_ || !add_option(PySequence_Fast_GET_ITEM(value, i))) return false;
    return true;
  }
  bool fits() const { return fits_; }
  std::vector<std::int64_t> words() const { return {words_.begin(), words_.begin() + static_cast<long>(used_)}; }

 private:
  bool add_text(PyObject* value) {
    Py_ssize_t size = 0;
    const char* text = PyUnicode_AsUTF8AndSize(value, &size);
    if (!text) return PyErr_Clear(), false;
    add(6), add(size);
    for (Py_ssize_t at = 0; at < size && fits_; at += 8) {
      std::int64_t bytes = 0;
      std::memcpy(&bytes, text + at, static_cast<std::size_t>(std::min<Py_ssize_t>(8, size - at)));
      add(bytes);
    }
    return fits_;
  }

  std::array<std::int64_t, 128> words_;
  std::size_t used_ = 0;
  bool fits_ = true;
};

struct Hash {
  std::size_t operator()(const std::vector<std::int64_t>& words) const {
    std::uint64_t hash = words.size();
    for (const std::int64_t word : words) {
      hash = (hash ^ static_cast<std::uint64_t>(word)) * 0x9E3779B97F4A7C15u;
      hash ^= hash >> 29;
    }
    return static_cast<std::size_t>(hash);
  }
};

// How arrays of exactly one type are read: PyTorch's by DLPack's functions in C, CuPy's by their attributes.
struct Reader {
  PyTypeObject* type = nullptr;
  const DlExchange* exchange = nullptr;  // null: CuPy
  PyObject* ask = nullptr;               // PyTorch: whether gradients are on; CuPy: the current stream
};

constexpr std::size_t kMostReaders = 8;
std::array<Reader, kMostReaders> readers;  // written once each; what they hold is never given back
std::atomic<std::size_t> reader_count{0};

const Reader* reader_of(PyObject* value) {
  const std::size_t count = reader_count.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < count; ++i)
    if (readers[i].type == Py_TYPE(value)) return &readers[i];
  return nullptr;
}

struct Seen {
  Address address = 0;
  std::int32_t device_type = kDlCuda, device = 0;
};

// Null instead of an error.
py::object answer(PyObject* found) {
  if (!found) PyErr_Clear();
  return py::reinterpret_steal<py::object>(found);
}

py::object attribute(PyObject* value, PyObject* name) { return answer(PyObject_GetAttr(value, name)); }

bool is_gpu(std::int32_t device_type) {
#if defined(FASTCONV_EMULATE)
  if (device_type == kDlCpu) return true;
#endif
  return device_type == kDlCuda || device_type == kDlManaged;
}

// A tensor that a gradient would be lost of, or that is negated when read, is for Python to judge.
bool read_torch(const Reader& by, PyObject* value, Seen& seen, Form* form) {
  static PyObject* const requires_grad = PyUnicode_InternFromString("requires_grad");
  static PyObject* const is_neg = PyUnicode_InternFromString("is_neg");
  DlTensor t;
  if (by.exchange->read(value, &t) != 0) return PyErr_Clear(), false;
  seen = {reinterpret_cast<Address>(t.data) + t.byte_offset, t.device_type, t.device_id};
  if (!form) return true;
  if (attribute(value, requires_grad).ptr() != Py_False && answer(PyObject_CallNoArgs(by.ask)).ptr() != Py_False)
    return false;
  if (answer(PyObject_CallMethodNoArgs(value, is_neg)).ptr() != Py_False) return false;
  if (!is_gpu(t.device_type) || !t.strides) return false;
  form->add(16 + t.ndim), form->add((t.type_code << 16) + (t.type_bits << 8) + t.type_lanes), form->add(t.device_id);
  for (std::int32_t i = 0; i < t.ndim; ++i) form->add(t.shape[i]), form->add(t.strides[i]);
  return true;
}

bool add_sizes(const py::object& sizes, Py_ssize_t ndim, Form& form) {
  if (!sizes || !PyTuple_CheckExact(sizes.ptr()) || PyTuple_GET_SIZE(sizes.ptr()) != ndim) return false;
  for (Py_ssize_t i = 0; i < ndim; ++i) form.add(PyLong_AsLongLong(PyTuple_GET_ITEM(sizes.ptr(), i)));
  return !PyErr_Occurred() || (PyErr_Clear(), false);
}

bool read_cupy(PyObject* value, Seen& seen, Form* form) {
  static PyObject *const data = PyUnicode_InternFromString("data"), *const ptr = PyUnicode_InternFromString("ptr"),
                         *const device_id = PyUnicode_InternFromString("device_id"),
                         *const shape = PyUnicode_InternFromString("shape"),
                         *const strides = PyUnicode_InternFromString("strides"),
                         *const dtype = PyUnicode_InternFromString("dtype");
  const py::object memory = attribute(value, data);
  if (!memory) return false;
  const py::object address = attribute(memory.ptr(), ptr), device = attribute(memory.ptr(), device_id);
  if (!address || !device) return false;
  seen.address = PyLong_AsUnsignedLongLong(address.ptr());
  seen.device = static_cast<std::int32_t>(PyLong_AsLong(device.ptr()));
  if (PyErr_Occurred()) return PyErr_Clear(), false;
  if (!form) return true;
  const py::object sizes = attribute(value, shape), type = attribute(value, dtype);
  if (!sizes || !type || !PyTuple_CheckExact(sizes.ptr())) return false;
  // NumPy has one object for each of its own types in native byte order, which lives as long as NumPy.
  static const std::vector<PyObject*> known = [] {
    std::vector<PyObject*> types;
    const py::object make = py::module_::import("numpy").attr("dtype");
    for (const char* name : {"float32", "float16", "uint32", "uint8", "int32", "int64", "float64"})
      types.push_back(make(name).release().ptr());
    return types;
  }();
  const auto place = std::find(known.begin(), known.end(), type.ptr());
  if (place == known.end()) return false;
  const Py_ssize_t ndim = PyTuple_GET_SIZE(sizes.ptr());
  form->add(1024 + ndim), form->add(place - known.begin()), form->add(seen.device);
  return add_sizes(sizes, ndim, *form) && add_sizes(attribute(value, strides), ndim, *form);
}

bool read(const Reader& by, PyObject* value, Seen& seen, Form* form) {
  return by.exchange ? read_torch(by, value, seen, form) : read_cupy(value, seen, form);
}

bool current_stream(const Reader& by, const Seen& of, Address& stream) {
  if (by.exchange) {
    void* found = nullptr;
    if (by.exchange->current_stream(of.device_type, of.device, &found) != 0) return PyErr_Clear(), false;
    stream = reinterpret_cast<Address>(found);
    return true;
  }
  stream = py::cast<Address>(py::handle(by.ask)());
  return true;
}

// From now on arrays of this type are read here. `ask` as for Reader.
void read_directly(const py::type& type, const std::string& library, const py::object& ask) {
  static std::mutex writing;
  const DlExchange* exchange = nullptr;
  if (library == "torch") {
    const py::object capsule = py::getattr(type, "__dlpack_c_exchange_api__", py::none());
    if (!PyCapsule_IsValid(capsule.ptr(), kDlExchangeName)) return;
    exchange = static_cast<const DlExchange*>(PyCapsule_GetPointer(capsule.ptr(), kDlExchangeName));
    while (exchange && exchange->major != 1) exchange = exchange->older;
    if (!exchange || !exchange->read) return;
  }
  const std::lock_guard<std::mutex> lock(writing);
  const std::size_t count = reader_count.load();
  auto* const as_type = reinterpret_cast<PyTypeObject*>(type.ptr());
  for (std::size_t i = 0; i < count; ++i)
    if (readers[i].type == as_type) return;
  if (count == kMostReaders) return;
  readers[count] = {as_type, exchange, py::object(ask).release().ptr()};
  Py_INCREF(as_type);
  reader_count.store(count + 1, std::memory_order_release);
}

struct Device {  // current as long as this lives
  Device(int device, Address stream) : device(device), previous(enter_device(device, as_stream(stream))) {}
  ~Device() {
    if (previous != device) leave();
  }
  void leave() const noexcept {
    try {
      set_device(previous);
    } catch (...) {  // it was the current one: it is there
    }
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  const int device, previous;
};

// The calls of one operation, by their forms.
class Calls {
 public:
  // The result, or None: Python must judge.
  py::object run(const py::tuple& inputs, const py::object& out, const py::tuple& options) {
    Asked asked;
    if (!look(inputs, out, options, asked)) return py::none();
    const std::shared_ptr<const Entry> entry = find(asked.form.words());
    if (!entry) return py::none();
    std::vector<py::object> made;  // results, and memory for the time of the call
    for (const py::object& maker : entry->makers) {
      if (made.empty() && !out.is_none()) {
        made.push_back(out);  // its address was read
        continue;
      }
      made.push_back(maker());
      const Reader* by = reader_of(made.back().ptr());
      Seen seen;
      if (!by || !read(*by, made.back().ptr(), seen, nullptr)) return py::none();
      asked.at[asked.count++] = seen.address;
    }
    Address stream = 0;
    if (!current_stream(*asked.by, asked.place, stream)) return py::none();
    std::optional<Device> device;
    try {
      device.emplace(asked.place.device, stream);
    } catch (const std::invalid_argument&) {
      return py::none();  // the stream of another device: Python says so
    }
    entry->plan(asked.at.data(), stream);
    if (entry->returned == 1) return made.front();
    py::tuple results(entry->returned);
    for (std::size_t i = 0; i < entry->returned; ++i) results[i] = made[i];
    return std::move(results);
  }

  // A call of this form runs this plan. `makers` make its results, `returned` of them, then its scratch memory; the
  // first one is not asked where `out` is given.
  void remember(const py::tuple& inputs, const py::object& out, const py::tuple& options, const Plan& plan,
                const std::vector<py::object>& makers, std::size_t returned) {
    Asked asked;
    const std::size_t arrays = std::max(inputs.size() + makers.size(), static_cast<std::size_t>(plan.arrays()));
    if (!look(inputs, out, options, asked) || arrays > kMostArrays || returned < 1 || returned > makers.size()) return;
    auto entry = std::make_shared<const Entry>(Entry{plan, makers, returned});
    Entries before;  // it, and an entry that is replaced, go when the lock is gone, since that may run Python
    const std::lock_guard<std::mutex> lock(mutex_);
    if (entries_.size() >= kMostForms) entries_.swap(before);
    entries_[asked.form.words()].swap(entry);
  }

  std::size_t size() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return entries_.size();
  }

 private:
  static constexpr std::size_t kMostArrays = 12, kMostForms = 1024;

  struct Entry {
    Plan plan;
    std::vector<py::object> makers;
    std::size_t returned;
  };
  using Entries = std::unordered_map<std::vector<std::int64_t>, std::shared_ptr<const Entry>, Hash>;

  struct Asked {
    Form form;
    std::array<Address, kMostArrays> at{};  // of the inputs, then of the results
    std::size_t count = 0;
    const Reader* by = nullptr;  // of the first array
    Seen place;                  // likewise
  };

  // All arrays are of one library and on one device, and everything was read.
  static bool look(const py::tuple& inputs, const py::object& out, const py::tuple& options, Asked& asked) {
    if (inputs.size() >= kMostArrays) return false;
    for (const py::handle value : inputs)
      if (!look_at(value.ptr(), asked)) return false;
    if (out.is_none())
      asked.form.add(0);
    else if (!look_at(out.ptr(), asked))
      return false;
    return asked.by && asked.form.add_option(options.ptr());
  }

  static bool look_at(PyObject* value, Asked& asked) {
    if (value == Py_None) {
      asked.form.add(0);
      asked.at[asked.count++] = 0;
      return true;
    }
    const Reader* by = reader_of(value);
    Seen seen;
    if (!by || !read(*by, value, seen, &asked.form) || !asked.form.fits()) return false;
    if (!asked.by) asked.by = by, asked.place = seen;
    if (by->exchange != asked.by->exchange || seen.device != asked.place.device) return false;
    asked.at[asked.count++] = seen.address;
    return true;
  }

  std::shared_ptr<const Entry> find(const std::vector<std::int64_t>& form) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = entries_.find(form);
    return found == entries_.end() ? nullptr : found->second;
  }

  std::mutex mutex_;  // never held while Python runs
  Entries entries_;
};

// Each plan on the addresses of these numbers; the rest of its arrays is left out.
Plan sequence(std::vector<std::pair<Plan, std::vector<int>>> steps) {
  int arrays = 0;
  for (const auto& [plan, places] : steps) {
    if (places.size() > static_cast<std::size_t>(plan.arrays()))
      throw std::invalid_argument("plan_sequence: a plan of " + std::to_string(plan.arrays()) + " arrays got " +
                                  std::to_string(places.size()));
    for (const int place : places) {
      if (place < 0) throw std::invalid_argument("plan_sequence: places must be >= 0, got " + std::to_string(place));
      arrays = std::max(arrays, place + 1);
    }
  }
  return {arrays, [steps = std::move(steps)](const Address* at, Stream stream) {
            for (const auto& [plan, places] : steps) {
              std::vector<Address> chosen(static_cast<std::size_t>(plan.arrays()));
              for (std::size_t i = 0; i < places.size(); ++i) chosen[i] = at[places[i]];
              plan(chosen.data(), reinterpret_cast<Address>(stream));
            }
          }};
}

}  // namespace

void bind_quick_calls(py::module_& m) {
  py::class_<Plan>(m, "Plan", py::is_final(), py::module_local())
      .def(
          "run",
          [](const Plan& plan, std::vector<Address> addresses, Address stream) {
            if (addresses.size() > static_cast<std::size_t>(plan.arrays()))
              throw std::invalid_argument("a plan of " + std::to_string(plan.arrays()) + " arrays got " +
                                          std::to_string(addresses.size()));
            addresses.resize(static_cast<std::size_t>(plan.arrays()));
            plan(addresses.data(), stream);
          },
          py::arg("addresses"), py::arg("stream"));
  py::class_<Calls>(m, "Calls", py::is_final(), py::module_local())
      .def(py::init<>())
      .def("run", &Calls::run, py::arg("inputs"), py::arg("out"), py::arg("options"))
      .def("remember", &Calls::remember, py::arg("inputs"), py::arg("out"), py::arg("options"), py::arg("plan"),
           py::arg("makers"), py::arg("returned"))
      .def("__len__", &Calls::size);
  m.def("plan_sequence", &sequence, py::arg("steps"));
  m.def("read_directly", &read_directly, py::arg("type"), py::arg("library"), py::arg("ask"));
}

}  // namespace cuda
}  // namespace fastconv
