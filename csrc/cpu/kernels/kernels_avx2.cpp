// The kernels compiled for avx2; CMakeLists.txt gives this file its instruction-set flags.
#define FASTCONV_ISA avx2
#define FASTCONV_TABLE kernel_table_avx2

#include "cpu/kernels/vec_avx2.h"

#include "cpu/kernels/table_body.h"
