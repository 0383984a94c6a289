// The kernels compiled for avx512; CMakeLists.txt gives this file its instruction-set flags.
#define FASTCONV_ISA avx512
#define FASTCONV_TABLE kernel_table_avx512

#include "cpu/kernels/vec_avx512.h"

#include "cpu/kernels/table_body.h"
