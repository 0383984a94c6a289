// Optimiser steps: in place on a parameter and its state, contiguous arrays of any shape.
#include <pybind11/stl.h>

#include <cmath>

#include "bindings/array.h"
#include "cpu/optimizer.h"

namespace fastconv {
namespace bindings {

namespace {

struct Named {
  const char* name;
  py::array* array;  // null: not used
};

// The parameter and its state can be written, all have one shape and dtype, and none shares memory with another.
DType check_step(const char* op, const py::array& grad, std::initializer_list<Named> written) {
  const py::array& param = *written.begin()->array;
  const DType dtype = dtype_of(op, "param", param);
  check_array(op, "grad", grad, dtype, shape_of(param));
  for (const Named* a = written.begin(); a != written.end(); ++a) {
    if (!a->array) continue;
    check_output(op, a->name, *a->array, dtype, shape_of(param));
    check_no_overlap(op, a->name, *a->array, "grad", grad);
    for (const Named* b = written.begin(); b != a; ++b)
      if (b->array) check_no_overlap(op, a->name, *a->array, b->name, *b->array);
  }
  return dtype;
}

py::array* pointer(OptionalArray& array) { return array ? &*array : nullptr; }

void sgd(py::array param, const py::array& grad, OptionalArray velocity, double lr, double momentum, double dampening,
         double weight_decay, bool nesterov) {
  const DType dtype = check_step("sgd_step", grad, {{"param", &param}, {"velocity", pointer(velocity)}});
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    SgdArgs<T> a{};
    a.count = param.size();
    a.param = mutable_data<T>(param);
    a.grad = data<T>(grad);
    a.velocity = mutable_data_or_null<T>(velocity);
    a.lr = static_cast<T>(lr), a.momentum = static_cast<T>(momentum);
    a.one_minus_dampening = static_cast<T>(1 - dampening);
    a.weight_decay = static_cast<T>(weight_decay);
    a.nesterov = nesterov;
    sgd_step(a);
  });
}

void rmsprop(py::array param, const py::array& grad, py::array square_avg, OptionalArray grad_avg,
             OptionalArray velocity, double lr, double rho, double eps, bool eps_inside_root, double momentum,
             double weight_decay) {
  const DType dtype = check_step("rmsprop_step", grad,
                                 {{"param", &param},
                                  {"square_avg", &square_avg},
                                  {"grad_avg", pointer(grad_avg)},
                                  {"velocity", pointer(velocity)}});
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    RmspropArgs<T> a{};
    a.count = param.size();
    a.param = mutable_data<T>(param);
    a.grad = data<T>(grad);
    a.square_avg = mutable_data<T>(square_avg);
    a.grad_avg = mutable_data_or_null<T>(grad_avg);
    a.velocity = mutable_data_or_null<T>(velocity);
    a.lr = static_cast<T>(lr);
    a.rho = static_cast<T>(rho), a.one_minus_rho = static_cast<T>(1 - rho);
    a.eps = static_cast<T>(eps), a.eps_inside_root = eps_inside_root;
    a.momentum = static_cast<T>(momentum), a.weight_decay = static_cast<T>(weight_decay);
    rmsprop_step(a);
  });
}

void adam(py::array param, const py::array& grad, py::array exp_avg, py::array exp_avg_sq, std::int64_t step, double lr,
          double beta1, double beta2, double eps, double weight_decay, bool decoupled) {
  const char* op = "adam_step";
  if (step < 1) throw std::invalid_argument(std::string(op) + ": step must be >= 1, got " + std::to_string(step));
  const DType dtype = check_step(op, grad, {{"param", &param}, {"exp_avg", &exp_avg}, {"exp_avg_sq", &exp_avg_sq}});
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    AdamArgs<T> a{};
    a.count = param.size();
    a.param = mutable_data<T>(param);
    a.grad = data<T>(grad);
    a.exp_avg = mutable_data<T>(exp_avg), a.exp_avg_sq = mutable_data<T>(exp_avg_sq);
    a.step_size = static_cast<T>(lr / (1 - std::pow(beta1, static_cast<double>(step))));
    a.root_correction = static_cast<T>(std::sqrt(1 - std::pow(beta2, static_cast<double>(step))));
    a.beta1 = static_cast<T>(beta1), a.one_minus_beta1 = static_cast<T>(1 - beta1);
    a.beta2 = static_cast<T>(beta2), a.one_minus_beta2 = static_cast<T>(1 - beta2);
    a.eps = static_cast<T>(eps);
    a.weight_decay = static_cast<T>(decoupled ? 0 : weight_decay);
    a.shrink = static_cast<T>(decoupled ? 1 - lr * weight_decay : 1);
    adam_step(a);
  });
}

}  // namespace

void bind_optimizer(py::module_& m) {
  m.def("sgd_step", &sgd, py::arg("param"), py::arg("grad"), py::arg("velocity").none(true), py::kw_only(),
        py::arg("lr"), py::arg("momentum"), py::arg("dampening"), py::arg("weight_decay"), py::arg("nesterov"));
  m.def("rmsprop_step", &rmsprop, py::arg("param"), py::arg("grad"), py::arg("square_avg"),
        py::arg("grad_avg").none(true), py::arg("velocity").none(true), py::kw_only(), py::arg("lr"), py::arg("rho"),
        py::arg("eps"), py::arg("eps_inside_root"), py::arg("momentum"), py::arg("weight_decay"));
  m.def("adam_step", &adam, py::arg("param"), py::arg("grad"), py::arg("exp_avg"), py::arg("exp_avg_sq"), py::kw_only(),
        py::arg("step"), py::arg("lr"), py::arg("beta1"), py::arg("beta2"), py::arg("eps"), py::arg("weight_decay"),
        py::arg("decoupled"));
}

}  // namespace bindings
}  // namespace fastconv
