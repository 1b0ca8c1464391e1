// Every constant that was chosen for speed or memory: what it trades, and what is known of how it
// was found. Results never depend on them.
//
// Machines. Z4: a VM of 2 cores, AMD EPYC Zen 4, 1 MiB of L2 a core, L3 shared with strangers,
// November 2026. Measured with snn-bench on VGG16 for CIFAR; a VM moves by 30 % within an hour, so
// variants were compared within one run, with different images in turn (with one image repeated the
// branch predictor learns it).
//
// Tried on Z4 without gain: adding rows straight from the event lists, merging the lists of a
// window's lines once a row of pixels, im2col, 5 image pixels at once, other prefetch distances and
// tile widths, prefetching the next layer's weights, sliding windows over the columns of the source
// (64 channels at 32x32: 90 to 66 us, the whole network 1 to 4 %, for 150 lines).
#ifndef SNN_EVENT_TUNING_H
#define SNN_EVENT_TUNING_H

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace snn {

// ---- Memory ----

constexpr size_t kCacheLine = 64;

// Bytes after every array that a kernel may read or write: four vectors of AVX-512.
constexpr size_t kPadding = 256;

// Weights lie on pages of this size, taken from the system in chunks of that size. Rows are read
// all over megabytes, and on pages of 4 KiB each address lookup would cost as much as the read.
// Large pages gave 15 % in layers of 14 MB of weights (Z4).
constexpr size_t kLargePage = size_t{2} << 20;
constexpr size_t kArenaChunk = 4 * kLargePage;  // origin not recorded

// Numbers after every list of events or rows that a kernel may read or write. Lists are copied in
// blocks of this many: most lists then take one turn of the loop, and its branch is predicted.
// Other sizes: not recorded.
constexpr uint32_t kListPadding = 32;

// ---- Weights: how layers are cut ----

// Weights of a layer, in bytes, from which on its rows are prefetched: `kL2Edge` from the first,
// `kBeyondL2` from the second. Meant for an L2 of 1 MiB (Z4); other processors not measured.
constexpr int64_t kL2EdgeBytes = 512 << 10;
constexpr int64_t kBeyondL2Bytes = 1 << 20;

// Rows between prefetching one and adding it. At the edge of L2 rows go to L1, soon before they are
// needed. Beyond L2 they go to L2, much earlier: L1 has too few fill buffers to keep L3 or memory
// busy. 48 ahead into L2 halved the time of the deep layers (Z4). At most kListPadding + 16, see
// gather_block.
constexpr uint32_t kPrefetchRowsL2Edge = 12;
constexpr uint32_t kPrefetchRowsBeyondL2 = 48;

// Output channels of a tile. A wide tile reads long runs of memory and gathers its rows once; a
// narrow one stays in cache from pixel to pixel, and there are more of them to share out. The most
// that the registers hold is kMaxTileWidth in each simd_*-inl.h. Other widths on Z4: no gain.
constexpr int64_t kGroupedTileWidth = 64;  // each gathers its own events, so a group's outputs only
constexpr int64_t kImageTileWidth = 128;   // origin not recorded
constexpr int64_t kFarTileWidth8 = 256;    // of weights beyond L2's edge, bits of a weight: 8
constexpr int64_t kFarTileWidth4 = 512;    //   ... 4
constexpr int64_t kFarTileMinPixels = 10;  // output maps smaller than that keep the widest tile
constexpr int64_t kSplitTileMaxPixels =
    15;  // of several threads: maps up to that are split by tiles too

// Vectors of a row from which on two rows are added a turn of the loop: pays where rows are long
// (Z4, figure not recorded). Four rows a turn: withdrawn, it failed a test under the thread
// sanitizer, cause unknown.
constexpr int kTwoRowsMinVectors = 4;

// Output pixels that go through a tile together. More of them amortise bringing a tile's weights
// from beyond L2; fewer keep the gathered rows in L1. Found with the prefetch distances (Z4,
// figures not recorded).
constexpr int64_t kBlockPixels = 16;
constexpr int64_t kFarBlockPixels = 64;
constexpr int64_t kMaxBlockRows = int64_t{1}
                                  << 22;  // weight rows gathered for a block at most: 16 MiB

// ---- Packing: load time only ----

constexpr int64_t kTransposeSquare = 64;  // weights a side of a square that stays in L1
// Histograms filled side by side, because equal neighbours would wait for each other in one.
constexpr int64_t kHistograms = 4;

// ---- Sharing work ----

// Units of work that a stage has for each thread at least, where it can: fewer leave threads idle
// at its end, more cost atomic operations. A thread that is late loses half a unit. Origin not
// recorded.
constexpr int64_t kUnitsPerThread = 2;
constexpr int64_t kBandPixels = 64;   // output pixels of a band at least, if bands stay enough
constexpr int64_t kMaxFusedRows = 8;  // rows of a layer that a fused step may wait for

// Memory of the values of one image up to which every thread may run an image of its own, and of
// all threads' images together. Beyond that all threads share one image. A limit on memory, not on
// time.
constexpr int64_t kParallelImageBytes = int64_t{64} << 20;
constexpr int64_t kParallelImagesBytes = int64_t{1} << 30;

// How long a thread looks out for the next task before it sleeps. Waking takes tens of
// microseconds, which is much of a whole network, and images often come one after the other.
constexpr auto kSpinTime = std::chrono::microseconds(100);
constexpr int kPausesPerClock = 32;  // pauses between two looks at the clock; origin not recorded
constexpr int kSpinsBeforeYield = 4096;  // at a barrier; origin not recorded

}  // namespace snn
#endif
