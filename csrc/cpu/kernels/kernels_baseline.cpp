// The kernels compiled for baseline; CMakeLists.txt gives this file its instruction-set flags.
#define FASTCONV_ISA baseline
#define FASTCONV_TABLE kernel_table_baseline

#include "cpu/kernels/vec_scalar.h"

#include "cpu/kernels/table_body.h"
