# The CUDA half: decides whether it is built, and makes the module _cuda, or _cuda_emulated for tests.
#
# FASTCONV_CUDA_REASON says, for people, why _cuda is there or not; FASTCONV_BUILD_CUDA is the decision.

set(FASTCONV_CUDA "AUTO" CACHE STRING "CUDA kernels: AUTO (when a toolkit is found), ON (fail without one), OFF")
set_property(CACHE FASTCONV_CUDA PROPERTY STRINGS AUTO ON OFF)
# 80 carries PTX too, for all newer GPUs that have no code of their own here.
set(FASTCONV_CUDA_ARCHITECTURES "75-real;80;90a-real" CACHE STRING "Architectures as CMAKE_CUDA_ARCHITECTURES")
option(FASTCONV_CUDA_EMULATOR "Build only the module _cuda_emulated, which runs the CUDA kernels on the CPU" OFF)

# Drivers with their kernels, each compiled by nvcc for all architectures, or by g++ for the emulator.
set(FASTCONV_CUDA_SOURCES
    csrc/cuda/activation.cu
    csrc/cuda/avg_pool2d.cu
    csrc/cuda/batch_norm.cu
    csrc/cuda/conv2d_backward_bias.cu
    csrc/cuda/conv2d_backward_input.cu
    csrc/cuda/conv2d_backward_input_mma_bfloat16.cu
    csrc/cuda/conv2d_backward_input_mma_float16.cu
    csrc/cuda/conv2d_backward_input_mma_tf32.cu
    csrc/cuda/conv2d_backward_input_mma_tf32x3.cu
    csrc/cuda/conv2d_backward_mma.cu
    csrc/cuda/conv2d_backward_weight.cu
    csrc/cuda/conv2d_backward_weight_mma_bfloat16.cu
    csrc/cuda/conv2d_backward_weight_mma_float16.cu
    csrc/cuda/conv2d_backward_weight_mma_tf32.cu
    csrc/cuda/conv2d_backward_weight_mma_tf32x3.cu
    csrc/cuda/conv2d_forward.cu
    csrc/cuda/conv2d_kind.cu
    csrc/cuda/conv2d_simt_plan.cu
    csrc/cuda/conv2d_wgmma.cu
    csrc/cuda/depthwise_conv2d.cu
    csrc/cuda/depthwise_conv2d_backward_weight.cu
    csrc/cuda/conv2d_forward_mma.cu
    csrc/cuda/conv2d_forward_mma_bfloat16.cu
    csrc/cuda/conv2d_forward_mma_float16.cu
    csrc/cuda/conv2d_forward_mma_tf32.cu
    csrc/cuda/conv2d_forward_mma_tf32x3.cu
    csrc/cuda/devices.cu
    csrc/cuda/dropout.cu
    csrc/cuda/elementwise.cu
    csrc/cuda/group_norm.cu
    csrc/cuda/images.cu
    csrc/cuda/loss.cu
    csrc/cuda/lp_pool2d.cu
    csrc/cuda/max_pool2d.cu
    csrc/cuda/mma_probe.cu
    csrc/cuda/optimizer.cu
    csrc/cuda/pad2d.cu
    csrc/cuda/pair_loss.cu
    csrc/cuda/places.cu
    csrc/cuda/stem_conv2d.cu
    csrc/cuda/stem_conv2d_backward_weight.cu
    csrc/cuda/streams.cu
    csrc/cuda/transpose.cu)
# Those with wgmma and TMA: for sm_90a alone.
set(FASTCONV_CUDA_HOPPER_SOURCES
    csrc/cuda/conv2d_backward_input_wgmma_bfloat16.cu
    csrc/cuda/conv2d_backward_input_wgmma_float16.cu
    csrc/cuda/conv2d_backward_weight_wgmma_bfloat16.cu
    csrc/cuda/conv2d_backward_weight_wgmma_float16.cu
    csrc/cuda/conv2d_forward_wgmma_bfloat16.cu
    csrc/cuda/conv2d_forward_wgmma_float16.cu
    csrc/cuda/conv2d_forward_wgmma_tf32.cu
    csrc/cuda/hopper_probe.cu
    csrc/cuda/tensor_map.cu)
set(FASTCONV_CUDA_BINDINGS
    csrc/cuda/bindings/bind_conv2d_backward.cpp
    csrc/cuda/bindings/bind_conv2d_mma.cpp
    csrc/cuda/bindings/bind_elementwise.cpp
    csrc/cuda/bindings/bind_images.cpp
    csrc/cuda/bindings/bind_layers.cpp
    csrc/cuda/bindings/bind_hopper.cpp
    csrc/cuda/bindings/bind_loss.cpp
    csrc/cuda/bindings/bind_optimizer.cpp
    csrc/cuda/bindings/bind_pool2d.cpp
    csrc/cuda/bindings/bind_quick_calls.cpp
    csrc/cuda/bindings/bind_runtime.cpp
    csrc/cuda/bindings/bind_shapes.cpp
    csrc/cuda/bindings/bind_stem_conv2d.cpp
    csrc/cuda/bindings/bind_streams.cpp
    csrc/cuda/bindings/module.cpp)

set(FASTCONV_BUILD_CUDA OFF)
if(NOT FASTCONV_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "FASTCONV_CUDA must be AUTO, ON or OFF, got '${FASTCONV_CUDA}'")
elseif(FASTCONV_CUDA STREQUAL "OFF" OR FASTCONV_CUDA_EMULATOR)
  set(FASTCONV_CUDA_REASON "off: built with FASTCONV_CUDA=OFF")
else()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_ARCHITECTURES ${FASTCONV_CUDA_ARCHITECTURES})
    set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
    enable_language(CUDA)
    find_package(CUDAToolkit 12.3)
  endif()
  if(CMAKE_CUDA_COMPILER AND CUDAToolkit_FOUND)
    set(FASTCONV_BUILD_CUDA ON)
    set(FASTCONV_CUDA_REASON "built with CUDA ${CUDAToolkit_VERSION}")
  elseif(FASTCONV_CUDA STREQUAL "ON")
    message(FATAL_ERROR "FASTCONV_CUDA=ON needs the CUDA toolkit 12.3 or newer, and CMake found none (set CUDACXX)")
  else()
    set(FASTCONV_CUDA_REASON "off: no CUDA toolkit (nvcc 12.3 or newer) was found when this was built")
  endif()
endif()

# Further arguments: how to optimise the bindings, and options of pybind11_add_module.
function(fastconv_add_cuda_module name optimise)
  pybind11_add_module(${name} ${ARGN} ${FASTCONV_CUDA_BINDINGS})
  target_link_libraries(${name} PRIVATE fastconv_core)
  target_precompile_headers(${name} PRIVATE <pybind11/pybind11.h> <pybind11/stl.h>)  # half the time of each binding
  target_compile_options(${name} PRIVATE $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<NOT:$<CONFIG:Debug>>>:${optimise}>)
  list(JOIN FASTCONV_CUDA_ARCHITECTURES " " architectures)
  target_compile_definitions(${name} PRIVATE FASTCONV_CUDA_MODULE=${name} FASTCONV_CUDA_ARCHITECTURES="${architectures}")
endfunction()

if(FASTCONV_BUILD_CUDA)
  fastconv_add_cuda_module(_cuda -Os)
  add_library(fastconv_cuda STATIC ${FASTCONV_CUDA_SOURCES})
  target_link_libraries(_cuda PRIVATE fastconv_cuda CUDA::cudart_static)
  foreach(library fastconv_cuda fastconv_cuda_hopper)
    if(library STREQUAL "fastconv_cuda_hopper")
      if(NOT FASTCONV_CUDA_HOPPER_SOURCES OR NOT FASTCONV_CUDA_ARCHITECTURES MATCHES "90a")
        continue()
      endif()
      add_library(fastconv_cuda_hopper STATIC ${FASTCONV_CUDA_HOPPER_SOURCES})
      set_property(TARGET fastconv_cuda_hopper PROPERTY CUDA_ARCHITECTURES 90a-real)
      target_compile_definitions(fastconv_cuda PRIVATE FASTCONV_HOPPER)
      target_compile_definitions(_cuda PRIVATE FASTCONV_HOPPER)
      target_link_libraries(_cuda PRIVATE fastconv_cuda_hopper)
    endif()
    target_include_directories(${library} PRIVATE csrc)
    target_compile_features(${library} PRIVATE cuda_std_17)
    target_compile_options(${library} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>)
    # A sixth of the size. Drivers before CUDA 12.4 cannot read it, but a module of CUDA 13 asks for a newer one anyway.
    if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 13)
      target_compile_options(${library} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--compress-mode=size>)
    endif()
  endforeach()
  target_link_options(_cuda PRIVATE -Wl,--exclude-libs,ALL)
  install(TARGETS _cuda LIBRARY DESTINATION fastconv)
endif()

if(FASTCONV_CUDA_EMULATOR)
  # For the machine that runs the tests: fused multiply-add as on a GPU, where this CPU has it. Bindings are not
  # optimised, unless they are to be timed, and nothing at link time: tests wait for both, and every planted bug is a link.
  set(FASTCONV_EMULATOR_BINDINGS -O0 CACHE STRING "How to optimise the bindings of _cuda_emulated; those of _cuda have -Os")
  fastconv_add_cuda_module(_cuda_emulated ${FASTCONV_EMULATOR_BINDINGS} NO_EXTRAS)
  add_library(fastconv_emulator STATIC ${FASTCONV_CUDA_SOURCES} ${FASTCONV_CUDA_HOPPER_SOURCES}
                                       csrc/cuda/emulator/accesses.cpp csrc/cuda/emulator/grid.cpp csrc/cuda/emulator/hopper.cpp)
  set_source_files_properties(${FASTCONV_CUDA_SOURCES} ${FASTCONV_CUDA_HOPPER_SOURCES} PROPERTIES LANGUAGE CXX)
  target_link_libraries(fastconv_emulator PUBLIC fastconv_options)
  target_compile_definitions(fastconv_emulator PUBLIC FASTCONV_EMULATE FASTCONV_HOPPER)
  target_compile_options(fastconv_emulator PRIVATE -march=native $<$<NOT:$<CONFIG:Debug>>:-O2>)
  target_link_libraries(_cuda_emulated PRIVATE fastconv_emulator)
endif()
