"""Does the emulator find bugs? Each one here is planted into a copy of a kernel; the tests must then fail.

Only a few are tried by default, since each compiles a kernel; FASTCONV_TEST_PLANTED=all tries every one.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import cuda_emulator

CONV = "conv2d_forward_simt.h", "conv2d_forward.cu", "test_conv2d.py"
MMA = "conv2d_forward_mma.h", "conv2d_forward_mma_float16.cu", "test_conv2d_mma.py"
MMA_TILE = "mma_tile.h", *MMA[1:]
MMA_QUAD = "quad.h", *MMA[1:]
TF32 = "conv2d_forward_mma.h", "conv2d_forward_mma_tf32.cu", "test_conv2d_mma.py"
ROUNDING = "mma_math.h", "conv2d_forward_mma_tf32.cu", "test_conv2d_mma.py"
MATH = "mma_math.h", "conv2d_forward_mma_tf32x3.cu", "test_conv2d_mma.py"
WGMMA = "conv2d_forward_wgmma.h", "conv2d_forward_wgmma_bfloat16.cu", "test_conv2d_wgmma.py"
TILES = "wgmma_tiles.h", *WGMMA[1:]
PIXELS = "wgmma_store.h", *WGMMA[1:]
QUAD = "quad.h", *WGMMA[1:]
OPERANDS = "wgmma_operands.h", *WGMMA[1:]
CORNERS = "conv2d_wgmma_launch.h", *WGMMA[1:]
CHUNKS = "depth_chunks.h", "conv2d_forward.cu", "test_deep_layers.py"
DEEP = "conv2d_forward_simt.h", *CHUNKS[1:]
DEEP_TILE = "simt_tile.h", *CHUNKS[1:]
DEEP_INPUT = "conv2d_backward_input_simt.h", "conv2d_backward_input.cu", CHUNKS[2]
GEOMETRY = "conv2d_geometry.h", "conv2d_forward.cu", "test_conv2d.py"
TILE = "simt_tile.h", "conv2d_forward.cu", "test_conv2d.py"
LINES = "simt_tile.h", "conv2d_backward_weight.cu", "test_conv2d_backward.py"
INPUT = "conv2d_backward_input_simt.h", "conv2d_backward_input.cu", "test_conv2d_backward.py"
INPUT_TILE = "conv2d_backward_input.h", *INPUT[1:]
PHASE = "conv2d_phase.h", "conv2d_backward_input.cu", "test_conv2d_backward.py"
WEIGHT = "conv2d_backward_weight_simt.h", "conv2d_backward_weight.cu", "test_conv2d_backward.py"
WEIGHT_TILE = "conv2d_backward_weight.h", *WEIGHT[1:]
BACKWARD_WGMMA = "test_conv2d_backward_wgmma.py"
INPUT_WGMMA = "conv2d_backward_input_wgmma.h", "conv2d_backward_input_wgmma_bfloat16.cu", BACKWARD_WGMMA
TURNED_WGMMA = "wgmma_operands.h", *INPUT_WGMMA[1:]
REACH = "conv2d_phase_reach.h", *INPUT_WGMMA[1:]
WEIGHT_WGMMA = "conv2d_backward_weight_wgmma.h", "conv2d_backward_weight_wgmma_float16.cu", BACKWARD_WGMMA
WEIGHT_TILES = "wgmma_tiles.h", *WEIGHT_WGMMA[1:]
MASKED_PIXELS = "wgmma_store.h", *INPUT_WGMMA[1:]
BACKWARD_MMA = "test_conv2d_backward_mma.py"
INPUT_MMA = "conv2d_backward_input_mma.h", "conv2d_backward_input_mma_tf32.cu", BACKWARD_MMA
INPUT_LINES = "mma_tile.h", *INPUT_MMA[1:]
INPUT_QUAD = "quad.h", *INPUT_MMA[1:]
WEIGHT_MMA = "conv2d_backward_weight_mma.h", "conv2d_backward_weight_mma_bfloat16.cu", BACKWARD_MMA
TURNED = "mma_tile.h", *WEIGHT_MMA[1:]
WIDE_LINES = "mma_tile.h", "conv2d_backward_weight_mma_tf32.cu", BACKWARD_MMA
SUM = "sum_slices.h", "conv2d_backward_weight.cu", "test_conv2d_backward.py"
BIAS = "column_sum.h", "conv2d_backward_bias.cu", "test_conv2d_backward.py"
ELEMENTWISE = "elementwise.h", "elementwise.cu", "test_elementwise.py"
MAX_POOL = "max_pool2d.h", "max_pool2d.cu", "test_pool2d.py"
AVG_POOL = "avg_pool2d.h", "avg_pool2d.cu", "test_pool2d.py"
POOL_WINDOW = "pool2d_geometry.h", "max_pool2d.cu", "test_pool2d.py"
DEPTHWISE = "depthwise_conv2d.h", "depthwise_conv2d.cu", "test_depthwise_conv2d.py"
DEPTHWISE_WEIGHT = "depthwise_conv2d_weight.h", "depthwise_conv2d_backward_weight.cu", "test_depthwise_conv2d.py"
STEM_WEIGHT = "stem_conv2d_weight.h", "stem_conv2d_backward_weight.cu", "test_stem_conv2d_weight.py"
STEM = "stem_conv2d.h", "stem_conv2d.cu", "test_stem_conv2d.py"
TRANSPOSE = "transpose.h", "transpose.cu", "test_elementwise.py"
BANKS = "transpose.h", "transpose.cu", "test_accesses.py"
LOSS = "cross_entropy.h", "loss.cu", "test_training.py"
OPTIMIZER = "optimizer.h", "optimizer.cu", "test_training.py"
DROPOUT = "dropout.h", "dropout.cu", "test_training.py"
FLOATS = "floats.h", "elementwise.cu", "test_16_bits.py"
NORM = "batch_norm.h", "batch_norm.cu", "test_bound.py"
ACTIVATION = "activation.h", "activation.cu", "test_bound.py"
IMAGES = "images.h", "images.cu", "test_bound.py"
GROUPS = "group_norm.h", "group_norm.cu", "test_bound.py"
PAIRS = "pair_loss.h", "pair_loss.cu", "test_bound.py"
PAD = "pad2d.h", "pad2d.cu", "test_images.py"
PLACES = "places.h", "places.cu", "test_images.py"
POWERS = "lp_pool2d.h", "lp_pool2d.cu", "test_images.py"
COLUMNS = "activation.h", "activation.cu", "test_images.py"
VARIATION = "pair_loss.h", "pair_loss.cu", "test_model_layers.py"


@dataclass(frozen=True)
class Bug:
    """`before` in a kernel becomes `after`; `files` are the kernel, its driver and the tests that must fail."""

    name: str
    files: tuple[str, str, str]
    before: str
    after: str
    by_default: bool = False


BUGS = [
    Bug("no barrier before a slab is read", TILE, "    sync();", "    ", by_default=True),
    Bug("a wait that is too short", TILE, "cp_async_wait<ahead - 1>", "cp_async_wait<ahead>", by_default=True),
    Bug("copies over the stage that is read", TILE, "(stages + last, next)", "(stages + stage, next)", by_default=True),
    Bug("one stage only is read", TILE, "stages + stage + own_rows", "stages + own_rows"),
    Bug("columns of the warp forgotten", TILE, "warp() % 2 * (kColumns / 2) + ", ""),
    Bug("only the first four lines of a thread", LINES, "i / kWide * kWide * threads", "i / kWide * kWide"),
    Bug("rows beyond the last are stored", CONV, "row < g.output_pixels && at", "row >= 0 && at"),
    Bug("columns beyond the group are stored", CONV, "column < g.ocg;", "column >= 0;"),
    Bug(
        "bias of the wrong group",
        CONV,
        "p.finished(sum.at[0], first_channel + column)",
        "p.finished(sum.at[0], at.first_column + column)",
    ),
    Bug("NaN becomes 0", CONV, "sum > 0 || sum != sum ? sum : 0", "sum > 0 ? sum : 0"),
    Bug("padding reads weights", CONV, "if (!exists(row, column) || !to.last) return;", "return;"),
    Bug("chunks are not added", CHUNKS, "adds(!chunks.partial && end > chunks.depth)", "adds(false)"),
    Bug("a chunk is finished like a sum", CHUNKS, "last(!chunks.partial && end == all)", "last(!chunks.partial)"),
    Bug("chunks of all blocks in one place", CHUNKS, "chunks.chunk(block) * chunks.elements", "0 * chunks.elements"),
    Bug("the last chunk is left out", CHUNKS, "chunk < count;", "chunk < count - 1;"),
    Bug("chunks begin over a slab that is read", DEEP, "    sync();  // nobody reads the last slab any more\n", ""),
    Bug(
        "four stages do not go round",
        DEEP_TILE,
        "stage - kStageFloats : (stages - 1) * kStageFloats",
        "stage - kStageFloats : 0",
    ),
    Bug("slabs of a chunk are not waited for", DEEP_TILE, "cp_async_wait<ahead - 1>", "cp_async_wait<ahead>"),
    Bug("rows of a small tile beyond its last", DEEP, "|| line < Tile::kRows)", "|| line < 2 * Tile::kRows)"),
    Bug("empty chunks hold the sums of others", DEEP_INPUT, "if (begin < end)\n", "if (true)\n"),
    Bug(
        "a gradient is masked too early",
        DEEP_INPUT,
        "passes = to.last ? p.mask_bits(first) : ~0u",
        "passes = to.last ? ~0u : p.mask_bits(first)",
    ),
    Bug("stride of the other axis", GEOMETRY, "ow * g.stride_w", "ow * g.stride_h"),
    Bug("padding of the other axis", GEOMETRY, "g.pad_left}", "g.pad_top}"),
    Bug("rows of taps are not counted", GEOMETRY, "kh = by_kernel_w.quotient(tap)", "kh = by_kernel_w.quotient(0)"),
    Bug("no lower bound", GEOMETRY, "static_cast<std::uint32_t>(w) < static_cast<std::uint32_t>(g.iw)", "w < g.iw"),
    Bug("phases with fewer columns", INPUT_TILE, "by_row = p.by_row[fewer_w]", "by_row = p.by_row[0]"),
    Bug("phases with fewer taps", INPUT_TILE, "fewer_taps = w.taps != p.w.most_taps", "fewer_taps = false"),
    Bug("output rows of the other axis", INPUT, "tap.kw * p.w.output_step", "tap.kw * p.h.output_step"),
    Bug("taps of the other phase", INPUT, "* g.kw + tile.w.first_tap", "* g.kw + tile.h.first_tap"),
    Bug("outputs after the last", INPUT, "static_cast<std::uint32_t>(g.ow);", "static_cast<std::uint32_t>(g.ow + 1);"),
    Bug("bits of another element", INPUT_TILE, "mask[bit / 32] >> (bit % 32)", "mask[bit / 32] >> (bit % 16)"),
    Bug("gradients of padding", INPUT, "if (p.mask_bits(element) & 1)", "if (false)"),
    Bug("stride and dilation taken for coprime", PHASE, "rest / (g - 1) * g + (", "rest / (g - 1) + ("),
    Bug("the first tap only", PHASE, "/ x.tap_step + 1 : 0", "/ x.kernel + 1 : 0"),
    Bug("slices overlap", WEIGHT_TILE, "? first + p.slice_pixels :", "? first + p.slice_pixels + 1 :"),
    Bug(
        "a slice too short",
        WEIGHT_TILE,
        "(first + p.slice_pixels < g.output_pixels ? first",
        "(first < g.output_pixels ? first",
    ),
    Bug("partial sums in one place", WEIGHT, "(tile.slice) * g.oc", "(tile.slice % 1) * g.oc"),
    Bug("old values forgotten", SUM, "*to = accumulate ? *to + sum : sum;", "*to = sum;"),
    Bug("padding reads gradients", WEIGHT_TILE, "if (dw != dw)", "if (false)"),
    Bug("taps go the wrong way on tensor cores", INPUT_MMA, "window.step_h = -p.h", "window.step_h = p.h"),
    Bug("all phases have as many taps", INPUT_MMA, "by_taps_w = p.by_taps[fewer_taps]", "by_taps_w = p.by_taps[0]"),
    Bug("weights under taps of the other axis", INPUT_MMA, "tap.kw) * p.w.tap_step", "tap.kw) * p.h.tap_step"),
    Bug("one bit for a whole pack", INPUT_MMA, "++k, passes >>= 1", "++k"),
    Bug("no gradients of padding on tensor cores", INPUT_MMA, "if (value != value) value", "if (false) value"),
    Bug(
        "sums of wide columns mixed up",
        INPUT_LINES,
        "at[k] = sums[i][k][half * 2 + n]",
        "at[k] = sums[i][k][half + n * 2]",
    ),
    Bug("slices of tensor cores in one place", WEIGHT_MMA, "(tile.slice) * g.oc", "(0) * g.oc"),
    Bug("elements all of one tap", WEIGHT_MMA, "at_tap.next(g.icg, g.kw);", ""),
    Bug("elements begin where the last ended", WEIGHT_MMA, "if (e == 0) at_tap = tap;", ""),
    Bug("16-bit gradients do not add up", ("sum_slices.h", *WEIGHT_MMA[1:]), "to_float(*to) + sum : sum", "sum : sum"),
    Bug("turned matrices of rows swapped", TURNED, "i * 2 + lane() / 8 % 2)", "i * 2 + lane() / 16)"),
    Bug("turned matrices of columns swapped", TURNED, "warp_column() / 8 + j + lane() / 16", "warp_column() / 8 + j"),
    Bug("rows of a wide load mixed up", WIDE_LINES, "(n + k) % 2 + second * 2", "(n + k) % 2 * 2 + second"),
    Bug("no barrier between parts of a sum", SUM, "  sync();", "  "),
    Bug("parts of a sum left out", SUM, "part < kSumParts", "part < kSumParts - 1"),
    Bug("no barrier between rows of a column", BIAS, "  sync();", "  "),
    Bug("what is masked counts", BIAS, "+= to_float(v.at[k]);", "+= to_float(p.input[at + k]);"),
    Bug("taps are not counted on", ("conv2d_geometry.h", *MMA[1:]), "kw = 0, ++kh", "kw = 0"),
    Bug("fragments of two columns swapped", MMA_TILE, "= m[1], b[j + 1][0] = m[2]", "= m[2], b[j + 1][0] = m[1]"),
    Bug(
        "another swizzle to read than to write",
        MMA_TILE,
        "lane() % 16, step * 2 + lane() / 16)",
        "lane() % 16, (step * 2 + lane() / 16) ^ lane() % 8)",
        by_default=True,
    ),
    Bug("no swizzle for columns", MMA_TILE, "step * 2 + lane() / 8 % 2)", "(step * 2 + lane() / 8 % 2) ^ lane() % 8)"),
    Bug("no barrier before tensor cores", MMA_TILE, "    sync();", "    "),
    Bug("tensor cores do not wait for copies", MMA_TILE, "cp_async_wait<1>", "cp_async_wait<2>"),
    Bug(
        "copies into the slab that is multiplied",
        MMA_TILE,
        "< slabs) loader.copy_slab(writing);\n    cp_async_commit();\n    w",
        "< slabs) loader.copy_slab(reading);\n    cp_async_commit();\n    w",
    ),
    Bug("stages do not go round", MMA_TILE, "reading == last_stage ? first_stage :", "false ? first_stage :"),
    Bug("warps all take the first rows", MMA_TILE, "warp() / kWarpsAcross * (16 * kDown)", "0"),
    Bug("a column after the last", MMA, "if (column + k >= g.ocg) break;", "if (column + k > g.ocg) break;"),
    Bug("quads half exchanged on tensor cores", MMA_QUAD, "mask < 4; mask *= 2", "mask < 2; mask *= 2"),
    Bug("pairs exchanged the wrong way", INPUT_QUAD, "lane() % 2 != 0", "lane() % 2 == 0"),
    Bug("padding reads weights on tensor cores", TF32, "if (sum != sum) sum =", "if (false) sum ="),
    Bug("the first operand is not rounded", ROUNDING, "a[i][e] = round_tf32(detail::from_bits(a[i][e]));", ";"),
    Bug("the second operand is not rounded", ROUNDING, "b[j][e] = round_tf32(detail::from_bits(b[j][e]));", ";"),
    Bug("no small part of a", MATH, "mma_tf32(step, a_small, b[j]);", ""),
    Bug("no small part of b", MATH, "mma_tf32(step, a[i], b_small[j]);", ""),
    Bug("slabs are multiplied before they land", TILES, "barrier_wait(full[place.stage], place.parity);", ""),
    Bug(
        "wgmma waits for the other phase",
        TILES,
        "full[place.stage], place.parity",
        "full[place.stage], place.parity ^ 1",
    ),
    Bug("TMA waits for the other phase", TILES, "place.parity ^ 1", "place.parity"),
    Bug("TMA does not wait", TILES, "barrier_wait(empty[place.stage], place.parity ^ 1);", ""),
    Bug("phases do not alternate", TILES, "stage = 0, parity ^= 1", "stage = 0"),
    Bug("slabs are given back while they are multiplied", TILES, "wgmma_wait<1>", "wgmma_wait<2>", by_default=True),
    Bug("one warp gives a slab back for all", TILES, "empty[stage], Tile::kConsumerWarps", "empty[stage], 1"),
    Bug("sums are stored before they are there", TILES, "wgmma_wait<0>(sums);", ""),
    Bug("sums of the last slab left out", TILES, "wgmma_wait<0>(sums);", "wgmma_wait<1>(sums);"),
    Bug("no fence before wgmma", TILES, "wgmma_fence();", ""),
    Bug("TMA cannot see the barriers", TILES, "    barrier_init_done();\n", ""),
    Bug("barriers are used before they are there", TILES, "  sync();\n", ""),
    Bug("bytes of the filters are not expected", WGMMA, "(landed, Tile::kStageBytes)", "(landed, Tile::kRowBytes)"),
    Bug(
        "taps of the other axis", WGMMA, "kw * g.dilation_w, kh * g.dilation_h", "kh * g.dilation_h, kw * g.dilation_w"
    ),
    Bug("taps without dilation", WGMMA, "kw * g.dilation_w, kh * g.dilation_h", "kw, kh"),
    Bug("filters of another tap", WGMMA, "kh * g.kw + kw, first_column", "kh + kw * g.kh, first_column"),
    Bug("images of the second warpgroup", TILES, "? other * 64 : 0", "? 0 : 0"),
    Bug("filters are not advanced in depth", TILES, "wgmma_advance<kB>(b, step)", "wgmma_advance<kB>(b, 0)"),
    Bug("channels of a last slab left out", TILES, "else if (rest > kStep)", "else if (rest > 2 * kStep)"),
    Bug("every tile is the first", WGMMA, "input_pixel(p.geometry, first_row)", "input_pixel(p.geometry, 0)"),
    Bug(
        "outputs beyond the last channel",
        PIXELS,
        "if (pixels[half] < 0 || channel >= channels)",
        "if (pixels[half] < 0)",
    ),
    Bug("quads half exchanged", QUAD, "mask < 4; mask *= 2", "mask < 2; mask *= 2"),
    Bug("padding reads weights on wgmma", PIXELS, "if (ballot(mend) == 0) return;", "return;"),
    Bug("only who sees NaN mends", PIXELS, "if (ballot(mend) == 0) return;", "if (!mend) return;"),
    Bug("no swizzle in a descriptor", OPERANDS, " | kSwizzle128 << 62", ""),
    Bug("groups of four lines in a descriptor", OPERANDS, "kGroupsApart = 8 *", "kGroupsApart = 4 *"),
    Bug(
        "slabs begin anywhere",
        OPERANDS,
        "+ (kWgmmaAlignment - shared_address(p) % kWgmmaAlignment) % kWgmmaAlignment",
        "",
    ),
    Bug(
        "corners swapped",
        CORNERS,
        "box.lower_w = narrow(-s.pad_left), box.lower_h = narrow(-s.pad_top);",
        "box.lower_w = narrow(-s.pad_top), box.lower_h = narrow(-s.pad_left);",
        by_default=True,
    ),
    Bug("an upper corner without the filter", CORNERS, "s.pad_right - (s.kw - 1) * s.dilation_w", "s.pad_right"),
    Bug("boxes without strides", CORNERS, "box.stride_h = narrow(s.stride_h)", "box.stride_h = 1"),
    Bug("taps in their order", INPUT_WGMMA, "(w.taps - 1 - slab.w) * p.w.tap_step", "slab.w * p.w.tap_step"),
    Bug(
        "phases all begin with the first", INPUT_WGMMA, "(h.taps - 1) * p.h.output_step - p.lower_h;", "0 - p.lower_h;"
    ),
    Bug("taps one output apart", INPUT_WGMMA, "later_w + slab.w * p.w.output_step", "later_w + slab.w"),
    Bug("positions from the first output on", INPUT_WGMMA, "p.lower_w + first.w", "first.w"),
    Bug("the first 64 channels for all", INPUT_WGMMA, "first_column + block * kWgmmaBlock,", "first_column,"),
    Bug("blocks of columns in one place", INPUT_WGMMA, "+ block * kWgmmaBlockBytes,", ","),
    Bug("pixels that only the largest phase has", INPUT_WGMMA, "|| at.w >= w.pixels) return -1", ") return -1"),
    Bug("pixels without a stride", INPUT_WGMMA, "w.first_pixel + at.w * p.w.stride", "w.first_pixel + at.w"),
    Bug("images beyond the last", INPUT_WGMMA, "at.n >= p.images || ", ""),
    Bug("phases of the other axis", INPUT_WGMMA, "phase(p.w, which % p.w.stride)", "phase(p.w, which % p.h.stride)"),
    Bug("another tap of the weight", INPUT_WGMMA, "kh * p.geometry.kw + kw, slab.k", "kh * p.geometry.kh + kw, slab.k"),
    Bug(
        "a turned operand that is advanced as others are",
        TURNED_WGMMA,
        "turned ? kWgmmaStepLines *",
        "false ? kWgmmaStepLines *",
    ),
    Bug("blocks of a turned operand side by side", TURNED_WGMMA, "turned ? kWgmmaBlockBytes / 16 : 1", "1"),
    Bug("a corner of the first phase alone", REACH, "any ? std::min(lower, first) : first", "any ? lower : first"),
    Bug("as many positions as outputs", REACH, "x.most_pixels + lower - output_size", "lower"),
    Bug(
        "mask bits of the other half of a word",
        MASKED_PIXELS,
        "passes >> (2 * i + 1) & 1 ? 0xffff0000u",
        "passes >> 2 * i & 1 ? 0xffff0000u",
    ),
    Bug("nothing is masked on wgmma", MASKED_PIXELS, "if constexpr (Pass::kMasked)", "if constexpr (false)"),
    Bug("gradients of padding on wgmma", MASKED_PIXELS, "if (y != y) *to = ", "if (false) *to = "),
    Bug(
        "boxes that nobody waits for",
        WEIGHT_WGMMA,
        "(row_boxes + boxes) * kWgmmaBlockBytes",
        "(row_boxes + 1) * kWgmmaBlockBytes",
    ),
    Bug("the first 64 rows twice", WEIGHT_WGMMA, "own.tile.first_row + box * kWgmmaBlock", "own.tile.first_row"),
    Bug(
        "pixels of the image from the first on",
        WEIGHT_WGMMA,
        "input_pixel(p.geometry, slab.pixel)",
        "input_pixel(p.geometry, 0)",
    ),
    Bug("blocks of a tap in one place", WEIGHT_WGMMA, "number % p.blocks_of_tap * kWgmmaBlock", "0"),
    Bug("taps of blocks without dilation", WEIGHT_WGMMA, "block.kw * p.geometry.dilation_w", "block.kw"),
    Bug("filters as wide as they are high", WEIGHT_WGMMA, "block.kh * g.kw + block.kw", "block.kh * g.kh + block.kw"),
    Bug("the second of two neighbours lost", WEIGHT_WGMMA, "++position, first = second", "++position"),
    Bug(
        "slices all in the first place",
        WEIGHT_WGMMA,
        "static_cast<std::int64_t>(tile.slice) * g.oc",
        "static_cast<std::int64_t>(0) * g.oc",
    ),
    Bug("channels beyond those of the tap", WEIGHT_WGMMA, "if (eight * 8 >= left) continue;", ""),
    Bug("output channels beyond the last", WEIGHT_WGMMA, "if (channel >= g.oc) continue;", ""),
    Bug("blocks beyond the last tap", WEIGHT_WGMMA, "if (number >= all_blocks()) return;", ""),
    Bug(
        "columns of the other warpgroup",
        WEIGHT_WGMMA,
        "(tile.first_column + own_column) / kWgmmaBlock",
        "tile.first_column / kWgmmaBlock",
    ),
    Bug("no slab of a slice but the first", WEIGHT_WGMMA, "pixel += Tile::kDepth", "pixel += 2 * Tile::kDepth"),
    Bug("gradients of padding in one slice", WEIGHT_WGMMA, "first == first ? first : ", "true ? first : "),
    Bug("both warpgroups have the same columns", WEIGHT_TILES, "? 0 : other * Tile::kOwnColumns", "? 0 : 0"),
    Bug("bits of a word come too early", ELEMENTWISE, "mask < kSharers;", "mask < kSharers / 2;"),
    Bug("no barrier between rows and columns", TRANSPOSE, "  sync();", "  "),
    Bug("columns of a tile in few banks", BANKS, "+ 4 / static_cast", "+ 8 / static_cast", by_default=True),
    Bug("the last maximum wins", MAX_POOL, "!(x <= best)", "!(x < best)"),
    Bug("no barrier between slices of a wide maximum", MAX_POOL, "    sync();", "    "),
    Bug("the last of equal slices wins", MAX_POOL, "(x == best && at < place)", "(x == best && at > place)"),
    Bug("a later NaN wins", MAX_POOL, "best == best || at < place", "best == best || at > place"),
    Bug("NaN gives way", MAX_POOL, "&& best == best", ""),
    Bug("a ReLU forgets zeros", MAX_POOL, "best.at[i] <= 0", "best.at[i] < 0"),
    Bug("taps of columns that are not there", MAX_POOL, "stride_w, tap_w) != 0", "stride_w, tap_w) < 0"),
    Bug("gaps between windows get gradient", MAX_POOL, "tap_h < g.kh && tap_w < g.kw", "tap_h < g.kh"),
    Bug("a window after the last", MAX_POOL, "at.row < g.oh && at.column < g.ow", "at.row < g.oh"),
    Bug("first windows on a pixel are left out", POOL_WINDOW, "padded - extent + stride;", "padded - extent + 1;"),
    Bug("taps before the image", POOL_WINDOW, "-start + dilation - 1", "-start"),
    Bug("no barrier between slices of a window", AVG_POOL, "    sync();", "    "),
    Bug("a slice of a window is added twice", AVG_POOL, "if (slice < half)", "if (slice <= half)"),
    Bug(
        "no barrier after weights are staged", DEPTHWISE, "  }\n  sync();\n  if (!at.exists)", "  }\n  if (!at.exists)"
    ),
    Bug("filters are not turned", DEPTHWISE, "p.turned ? kTaps - 1 - tap : tap", "tap"),
    Bug("padding reads depthwise weights", DEPTHWISE, "if (y != y) y = ", "if (false) y = "),
    Bug("rows below the last are stored", DEPTHWISE, "oh + r < g.oh && ow", "ow"),
    Bug("outputs of one input channel are mixed up", DEPTHWISE, "channel - first + i", "at.channel - first + i"),
    Bug("outputs between the strides", DEPTHWISE, "remainder(w, ow) != 0", "remainder(w, ow) < 0"),
    Bug("bits of another launch", DEPTHWISE, "(first + i) % 32) & 1", "i % 32) & 1"),
    Bug("padding meets gradients", DEPTHWISE_WEIGHT, "if (!all && ", "if (false && "),
    Bug("lanes are added to one another", DEPTHWISE_WEIGHT, "half >= lanes; half", "half >= 1; half"),
    Bug("no barrier before the next sum", DEPTHWISE_WEIGHT, "  sync();  // nobody", "  // nobody"),
    Bug("depthwise gradients do not add up", DEPTHWISE_WEIGHT, "wide, accumulate, element", "wide, false, element"),
    Bug("weights are overwritten while read", STEM, "    sync();  // nobody", "    // nobody"),
    Bug(
        "no barrier before a row of filters is read",
        STEM,
        "    sync();\n    const float* taps",
        "    const float* taps",
    ),
    Bug("rows of the image below are not read", STEM, "kh * p.dilation_h * p.pitch", "kh * p.pitch"),
    Bug("padding reads the stem's weights", STEM, "if (!(broken & 1)) continue;", "continue;"),
    Bug("channels of the image are mixed up", STEM, "if (c >= together) c -= together, ++column;", ""),
    Bug("tiles are multiplied before they land", STEM_WEIGHT, "cp_async_wait<0>();", ""),
    Bug("no barrier before a tile is read", STEM_WEIGHT, "    sync();  // everybody's", "    // everybody's"),
    Bug(
        "the next tile over this one",
        STEM_WEIGHT,
        "copy_tile(tile + 1, stages + next)",
        "copy_tile(tile + 1, stages + stage)",
    ),
    Bug("no barrier before sums are given", STEM_WEIGHT, "    sync();  // nobody reads", "    // nobody reads"),
    Bug(
        "no barrier before given sums are taken",
        STEM_WEIGHT,
        "    sync();\n    if (part < parts - kept)",
        "    if (part < parts - kept)",
    ),
    Bug("an odd part is left out", STEM_WEIGHT, "kept = (parts + 1) / 2, gone", "kept = parts / 2, gone"),
    Bug(
        "columns of a dilation are not put together",
        STEM_WEIGHT,
        "* p.same_remainder + quotient) * p.ic",
        "+ quotient) * p.ic",
    ),
    Bug(
        "rows of a stem's filter without dilation", STEM_WEIGHT, "tap_row * p.dilation_h * p.pitch", "tap_row * p.pitch"
    ),
    Bug("windows move by one", STEM_WEIGHT, "window + pixel * kShift", "window + pixel"),
    Bug("rows of a tile without stride", STEM_WEIGHT, "row * p.stride_h * p.pitch", "row * p.pitch"),
    Bug("taps of the next filter row", STEM_WEIGHT, "if (first_tap + t < row_taps) to", "to"),
    Bug("channels that do not exist get a gradient", STEM_WEIGHT, "if (channel >= p.oc) continue;", ""),
    Bug("outputs below the last row count", STEM_WEIGHT, "oh < p.oh && ow < p.ow && channel", "ow < p.ow && channel"),
    Bug("outputs right of the last column count", STEM_WEIGHT, "ow < p.ow && channel < p.oc", "channel < p.oc"),
    Bug("padding reads the stem's gradients", STEM_WEIGHT, "if (dw != dw) dw =", "if (false) dw ="),
    Bug("padding counts always", AVG_POOL, "start > begin ? start : begin", "start"),
    Bug("no barrier before the parts are added", LOSS, "  sync();", "  "),
    Bug(
        "lanes of a row left out",
        LOSS,
        "int mask = 16; mask > 0; mask /= 2) value",
        "int mask = 8; mask > 0; mask /= 2) value",
    ),
    Bug(
        "ignored rows count in the mean",
        LOSS,
        "if (!is_class(p, label) || (p.ignores && label == p.ignore_index)) continue",
        "if (!is_class(p, label)) continue",
    ),
    Bug("the step is counted too late", OPTIMIZER, "++*p.step", "(*p.step)++"),
    Bug("Nesterov without the gradient", OPTIMIZER, "p.nesterov ? multiply_add(p.momentum, v, u) : v", "v"),
    Bug("the first of some numbers for all", FLOATS, "to_float(pack.at[i])", "to_float(pack.at[0])"),
    Bug("fours drop alike", (*DROPOUT[:2], FLOATS[2]), "(at + four) / 4", "at / 4"),
    Bug("the same numbers at every replay", DROPOUT, "p.counter ? static_cast<std::uint64_t>(*p.counter) : 0", "0"),
    Bug(
        "a thread's statistics beside another's",
        NORM,
        "store(distances + thread_x() * kVector, squares)",
        "store(distances, squares)",
    ),
    Bug("a short slice counts as a whole one", NORM, "= left < q.walk.slice_rows ? left", "= false ? left"),
    Bug("means that are apart", NORM, "a.squares + b.squares + apart * apart", "a.squares + b.squares + 0 * apart"),
    Bug("a biased running variance", NORM, "all.squares / (rows - 1)", "all.squares / rows"),
    Bug("the mean of the gradient forgotten", NORM, "gradient - mean.at[k] - ", "gradient - "),
    Bug("the mask of what is not shifted", NORM, "n.output(x) <= 0 ? 0 : g", "x - n.mean <= 0 ? 0 : g"),
    Bug("Inf times 0 in SiLU", ACTIVATION, "return at_least(x, -kFar) * sigmoid_pair", "return x * sigmoid_pair"),
    Bug("the sigmoid of the other sign", ACTIVATION, "return x < 0 ? SigmoidPair", "return x > 0 ? SigmoidPair"),
    Bug(
        "a sum of half a warp",
        ACTIVATION,
        "for (int mask = 16; mask > 0; mask /= 2) value",
        "for (int mask = 8; mask > 0; mask /= 2) value",
    ),
    Bug("channels of other images drop alike", ACTIVATION, "(at + i) / q.image * q.channels + ", ""),
    Bug("the steps of the other array", IMAGES, "place(q.p.from, at)", "place(q.p.to, at)"),
    Bug("one weight for all rows", IMAGES, "p.rows.weight[rows + i]", "p.rows.weight[rows]"),
    Bug("the width of the other image", IMAGES, "(i * p.iw + j)", "(i * p.ow + j)"),
    Bug(
        "elements beyond the first round",
        PAIRS,
        "at += static_cast<std::int64_t>(q.blocks) * kPairThreads",
        "at = p.count",
    ),
    Bug("a tree without its barrier", GROUPS, "thread_x() + step]);\n    sync();", "thread_x() + step]);"),
    Bug("windows to the other side", GROUPS, "last = channel + (p.size - 1) / 2", "last = channel + p.size / 2"),
    Bug("statistics of the image before", GROUPS, "if (row / q.p.pixels != image)", "if (image < 0)"),
    Bug("a border that repeats its pixel", PAD, "pixel < 0 ? -pixel", "pixel < 0 ? -pixel - 1"),
    Bug("copies behind an image forgotten", PAD, "behind < axis.padded ? behind : -1", "behind < 0 ? behind : -1"),
    Bug("the outermost pixel has two copies", PAD, "pixel > 0 && pixel <= axis.before", "pixel <= axis.before"),
    Bug("copies at one end alone", PAD, "? axis.padded - axis.before - axis.size : 0", "? 0 : 0"),
    Bug("squares of channels turned", PAD, "+ at.row % p.r) * p.r + at.column", "+ at.column % p.r) * p.r + at.row"),
    Bug("bins that end too early", PLACES, "((o + 1) * size + bins - 1) / bins", "((o + 1) * size) / bins"),
    Bug("gradients of bins that were lost", PLACES, "if (p.places[from] == pixel) sum", "sum"),
    Bug("values of the first image", PLACES, "p.large[(image * p.plane + place)", "p.large[(0 * p.plane + place)"),
    Bug(
        "the first of equal places stays",
        PLACES,
        "for (std::int64_t i = 0; i < p.pixels; ++i)",
        "for (std::int64_t i = p.pixels - 1; i >= 0; --i)",
    ),
    Bug("a norm of zero divides", POWERS, "y = saved == 0 ? 0 : p.p == 2", "y = p.p == 2"),
    Bug("gradients of a norm without signs", POWERS, "saved < 0 ? -1 : saved", "saved < 0 ? 1 : saved"),
    Bug("columns of classes overlap", COLUMNS, "number / p.inner * p.classes * p.inner", "number / p.inner * p.inner"),
    Bug("rows of other images are neighbours", VARIATION, "row = at / line % q.h", "row = at / line"),
    Bug("the pixel below pulls the wrong way", VARIATION, "slope -= sign_of(down)", "slope += sign_of(down)"),
    Bug("Huber without its bound", PAIRS, "d > p.delta ? p.delta : d < -p.delta ? -p.delta : d", "d"),
]
SELECTED = BUGS if os.environ.get("FASTCONV_TEST_PLANTED") == "all" else [bug for bug in BUGS if bug.by_default]


def compile_with(bug: Bug, folder: Path) -> Path:
    """The emulator with one kernel replaced."""
    build = cuda_emulator.build().parent
    driver = bug.files[1]
    original = original_of(bug)
    source = original.read_text()
    patched = folder / original.relative_to(cuda_emulator.ROOT / "csrc")
    patched.parent.mkdir(parents=True)
    patched.write_text(source.replace(bug.before, bug.after))

    commands = json.loads((build / "compile_commands.json").read_text())
    (entry,) = (c for c in commands if c["file"].endswith(f"/csrc/cuda/{driver}"))
    command = shlex.split(entry["command"])
    command[command.index("-o") + 1] = str(folder / "driver.o")
    first = next(i for i, word in enumerate(command) if word.startswith("-I"))
    command.insert(first, f"-I{folder}")
    subprocess.run(command, cwd=build, check=True)
    outputs = [build / c["output"] for c in commands if c is not entry and c["output"].endswith(".o")]
    objects = [str(output) for output in outputs if output.exists()]
    library = folder / f"{cuda_emulator.NAME}{sysconfig.get_config_var('EXT_SUFFIX')}"
    cache = (build / "CMakeCache.txt").read_text().splitlines()
    compiler = next(line.partition("=")[2] for line in cache if line.startswith("CMAKE_CXX_COMPILER:"))
    subprocess.run([compiler, "-shared", "-o", str(library), str(folder / "driver.o"), *objects], check=True)
    return library


def original_of(bug: Bug) -> Path:
    folders = cuda_emulator.ROOT / "csrc" / "cuda" / "kernels", cuda_emulator.ROOT / "csrc" / "cuda"
    return next(path for path in (folder / bug.files[0] for folder in folders) if path.exists())


def test_every_bug_has_its_line() -> None:
    """Where kernels change, bugs change with them: this is seen without planting them."""
    for bug in BUGS:
        assert original_of(bug).read_text().count(bug.before) == 1, bug
        assert bug.before != bug.after
    assert len({bug.name for bug in BUGS}) == len(BUGS)


@pytest.mark.parametrize("bug", SELECTED, ids=lambda bug: bug.name.replace(" ", "-"))
def test_the_emulator_finds(bug: Bug, emulated_module: ModuleType, tmp_path: Path) -> None:
    library = compile_with(bug, tmp_path)
    tests = Path(__file__).parent / bug.files[2]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout=60", str(tests)],
        env={**os.environ, "FASTCONV_TEST_EMULATOR": str(library)},
        cwd=cuda_emulator.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode not in {0, 2, 3, 4, 5}, done.stdout[-2000:]
    assert "failed" in done.stdout or done.returncode < 0, done.stdout[-2000:]
