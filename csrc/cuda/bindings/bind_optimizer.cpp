// Optimiser steps. Where `changing` is given, what differs from step to step is read from there.
#include "cuda/optimizer.h"

#include <cmath>

#include "cuda/bindings/buffers.h"

namespace fastconv {
namespace cuda {

namespace {

struct Named {
  const char* name;
  Address address;
};

// All of one size; what is written shares memory with nothing else. Address 0: not used.
void check_step(const char* op, std::int64_t count, std::initializer_list<Named> written,
                std::initializer_list<Named> read) {
  if (count < 0) throw std::invalid_argument(std::string(op) + ": count must be >= 0, got " + std::to_string(count));
  const auto of = [&](const Named& a) { return buffer<float>(op, a.name, a.address, a.address ? count : 0); };
  for (const Named* a = written.begin(); a != written.end(); ++a) {
    for (const Named& b : read) check_no_overlap(op, of(*a), of(b));
    for (const Named* b = written.begin(); b != a; ++b) check_no_overlap(op, of(*a), of(*b));
  }
}

void bind_sgd(Address param, Address grad, Address velocity, Address changing, std::int64_t count, double lr,
              double momentum, double dampening, double weight_decay, bool nesterov, Address stream) {
  const char* op = "sgd_step";
  check_step(op, count, {{"param", param}, {"velocity", velocity}}, {{"grad", grad}});
  SgdParams p{};
  p.param = reinterpret_cast<float*>(param), p.grad = reinterpret_cast<const float*>(grad);
  p.velocity = reinterpret_cast<float*>(velocity);
  p.changing = pointer<float>(buffer<float>(op, "lr", changing, 0));
  p.count = count, p.lr = static_cast<float>(lr), p.momentum = static_cast<float>(momentum);
  p.one_minus_dampening = static_cast<float>(1 - dampening), p.weight_decay = static_cast<float>(weight_decay);
  p.nesterov = nesterov;
  const py::gil_scoped_release release;
  sgd_step(p, as_stream(stream));
}

void bind_rmsprop(Address param, Address grad, Address square_avg, Address grad_avg, Address velocity, Address changing,
                  std::int64_t count, double lr, double rho, double eps, bool eps_inside_root, double momentum,
                  double weight_decay, Address stream) {
  const char* op = "rmsprop_step";
  check_step(op, count, {{"param", param}, {"square_avg", square_avg}, {"grad_avg", grad_avg}, {"velocity", velocity}},
             {{"grad", grad}});
  RmspropParams p{};
  p.param = reinterpret_cast<float*>(param), p.grad = reinterpret_cast<const float*>(grad);
  p.square_avg = reinterpret_cast<float*>(square_avg), p.grad_avg = reinterpret_cast<float*>(grad_avg);
  p.velocity = reinterpret_cast<float*>(velocity);
  p.changing = pointer<float>(buffer<float>(op, "lr", changing, 0));
  p.count = count, p.lr = static_cast<float>(lr), p.rho = static_cast<float>(rho);
  p.one_minus_rho = static_cast<float>(1 - rho), p.eps = static_cast<float>(eps);
  p.eps_inside_root = eps_inside_root;
  p.momentum = static_cast<float>(momentum), p.weight_decay = static_cast<float>(weight_decay);
  const py::gil_scoped_release release;
  rmsprop_step(p, as_stream(stream));
}

void bind_adam(Address param, Address grad, Address exp_avg, Address exp_avg_sq, Address changing, std::int64_t count,
               std::int64_t step, double lr, double beta1, double beta2, double eps, double weight_decay,
               bool decoupled, Address stream) {
  const char* op = "adam_step";
  if (step < 1 && !changing)
    throw std::invalid_argument(std::string(op) + ": step must be >= 1, got " + std::to_string(step));
  check_step(op, count, {{"param", param}, {"exp_avg", exp_avg}, {"exp_avg_sq", exp_avg_sq}}, {{"grad", grad}});
  AdamParams p{};
  p.param = reinterpret_cast<float*>(param), p.grad = reinterpret_cast<const float*>(grad);
  p.exp_avg = reinterpret_cast<float*>(exp_avg), p.exp_avg_sq = reinterpret_cast<float*>(exp_avg_sq);
  p.changing = pointer<AdamFactors>(buffer<AdamFactors>(op, "factors", changing, 0));
  p.count = count;
  const auto steps = static_cast<double>(step);
  if (!changing)
    p.factors = adam_factors(lr, std::pow(beta1, steps), std::pow(beta2, steps), decoupled ? weight_decay : 0);
  p.beta1 = static_cast<float>(beta1), p.one_minus_beta1 = static_cast<float>(1 - beta1);
  p.beta2 = static_cast<float>(beta2), p.one_minus_beta2 = static_cast<float>(1 - beta2);
  p.eps = static_cast<float>(eps), p.weight_decay = static_cast<float>(decoupled ? 0 : weight_decay);
  const py::gil_scoped_release release;
  adam_step(p, as_stream(stream));
}

void bind_adam_factors(Address step, Address lr_array, Address factors, double lr, double beta1, double beta2,
                       double decoupled_decay, Address stream) {
  const char* op = "adam_factors";
  const Buffer steps = buffer<std::int64_t>(op, "step", step, 1), result = buffer<float>(op, "factors", factors, 3);
  const Buffer rate = buffer<float>(op, "lr", lr_array, lr_array ? 1 : 0);
  check_no_overlap(op, result, steps), check_no_overlap(op, result, rate);
  const AdamFactorsParams p{pointer<std::int64_t>(steps),
                            pointer<float>(rate),
                            pointer<AdamFactors>(result),
                            static_cast<float>(lr),
                            beta1,
                            beta2,
                            decoupled_decay};
  const py::gil_scoped_release release;
  adam_factors_step(p, as_stream(stream));
}

}  // namespace

void bind_optimizer(py::module_& m) {
  m.def("sgd_step", &bind_sgd, py::arg("param"), py::arg("grad"), py::arg("velocity"), py::arg("changing"),
        py::arg("count"), py::kw_only(), py::arg("lr"), py::arg("momentum"), py::arg("dampening"),
        py::arg("weight_decay"), py::arg("nesterov"), py::arg("stream"));
  m.def("rmsprop_step", &bind_rmsprop, py::arg("param"), py::arg("grad"), py::arg("square_avg"), py::arg("grad_avg"),
        py::arg("velocity"), py::arg("changing"), py::arg("count"), py::kw_only(), py::arg("lr"), py::arg("rho"),
        py::arg("eps"), py::arg("eps_inside_root"), py::arg("momentum"), py::arg("weight_decay"), py::arg("stream"));
  m.def("adam_step", &bind_adam, py::arg("param"), py::arg("grad"), py::arg("exp_avg"), py::arg("exp_avg_sq"),
        py::arg("changing"), py::arg("count"), py::kw_only(), py::arg("step"), py::arg("lr"), py::arg("beta1"),
        py::arg("beta2"), py::arg("eps"), py::arg("weight_decay"), py::arg("decoupled"), py::arg("stream"));
  m.def("adam_factors", &bind_adam_factors, py::arg("step"), py::arg("lr_array"), py::arg("factors"), py::kw_only(),
        py::arg("lr"), py::arg("beta1"), py::arg("beta2"), py::arg("decoupled_decay"), py::arg("stream"));
}

}  // namespace cuda
}  // namespace fastconv
