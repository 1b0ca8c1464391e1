// Constants that were chosen for speed or memory: what each trades, on which machine it was found,
// what was tried. Results never depend on them. Where one has a limit, its user asserts it.
//
// Machines:
//   Z3  a VM with 2 cores of an AMD EPYC Zen 3, AVX2, 512 KiB of L2 a core, November 2026
//   Z4  a VM with 2 cores of an AMD EPYC Zen 4, 1 MiB of L2 a core, L3 shared with strangers,
//       November 2026
//   Z5  a VM with 2 cores of an AMD EPYC Zen 5, 1 MiB of L2 a core, November 2026; a prototype
// All measured VGG16 for CIFAR-10 with one thread. A VM changes its speed by 30 % within an hour, so
// variants were compared within one run. Different images came in turn, for with one image repeated
// the branch predictor learns it.
//
// "Not recorded" means: how the number was found, and what else was tried, is not known.
//
// Tried without gain, Z4: adding rows straight from the event lists; merging the lists of a window's
// lines once a row of pixels; im2col; 5 pixels of the image at once; other prefetch distances and
// tile widths; prefetching the next layer's weights. Sliding windows over the columns of the source
// gained a quarter in the layer of 64 to 64 channels, 1 to 4 % of the network, for 150 lines.
// Tried without gain, Z5: prefetching the next tile's weights; padding event lists with rows of zeros,
// which gained 3 to 4 % in one layer and lost in all others.
#ifndef SNN_EVENT_TUNING_H
#define SNN_EVENT_TUNING_H

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace snn {

// ---- Memory ----

constexpr size_t kCacheLine = 64;

// Bytes after every array that a kernel may read or write: a vector at least. Not recorded.
constexpr size_t kPadding = 256;

// Weights lie on pages of this size. Rows are read all over megabytes, and on pages of 4 KiB each
// address lookup costs as much as the read. Gained 15 % in layers of 14 MB of weights (Z4).
constexpr size_t kLargePage = size_t{2} << 20;
// Taken from the system at a time: fewer calls against memory left over. Not recorded.
constexpr size_t kArenaChunk = 4 * kLargePage;

// Numbers after every list of events or rows that a kernel may read or write. Lists are copied in
// blocks of this many: most take one turn of the loop, which the branch predictor then expects.
// Larger blocks copy more in vain. Not recorded.
constexpr uint32_t kListPadding = 32;

// ---- Weights: how layers are cut ----

// Weights of a layer in bytes: above the first Residency is kL2, above the second kBeyondL2. The
// second is meant for 1 MiB of L2 (Z4). With 512 KiB, 1 MiB and 512 KiB were alike (Z3). Of the first,
// 32, 128 and 256 KiB were 1, 3 and 8 % slower than 64 (Z3).
constexpr int64_t kBeyondL1Bytes = 64 << 10;
constexpr int64_t kBeyondL2Bytes = 1 << 20;
// Above this tiles are cut for weights that are brought from far: kFarTileWidth8 and what follows. Not
// recorded.
constexpr int64_t kFarBytes = 512 << 10;

// Rows between prefetching one and adding it. From L2 a row goes to L1, shortly before it is needed:
// layers of 70 KB to 1 MB take a tenth to a third less time (Z3). From beyond L2 it goes to L2, much
// earlier: L1 has too few fill buffers to keep L3 or memory busy. 48 rows ahead halved the time of the
// deep layers (Z4). Limit: 2 * kListPadding.
constexpr uint32_t kPrefetchRowsL2 = 12;
constexpr uint32_t kPrefetchRowsBeyondL2 = 48;
// Bytes of a row up to which even the early ones go to L1: 48 of them fit. Of rows in strips it is a
// third of the time (Z3); of others it is no difference.
constexpr int kPrefetchL1MaxBytes = 128;

// Sides of a map from which on a layer rolls, kRollMinSide4 and 8 in each simd_*-inl.h. In smaller ones
// most of the work is reading weights. VGG16, 10 %, 4-bit weights, AVX2 (Z3): 1.1 to 1.35 times as fast a
// layer from 8 on, 0.8 times at 4; 8-bit ones 1.2 times at 32 and nothing below. On AVX-512 with 4 bits
// VGG16 was the same at 8x8 either way, and the bundled network's layer of 256 to 512 channels there took
// 16.9 us gathered and 20.3 us scattered (Z5); with 8 bits 16 is by the measurements of a prototype.

// Pixels of a map up to which a layer that could roll scatters, see scatter-inl.h. VGG16 with 4-bit
// weights at 8x8, Z3: 0.92 of the time with 10 and 15 % spikes; with 5 %, or on photographs, it
// was up to a tenth slower where cells hold two pixels. At 4x4 see docs/measurements. Maps between 8x8 and 16x16 were not timed.
constexpr int64_t kScatterMaxPixels = 128;
// Pixels of a map up to which it scatters where spikes come in pairs, and in which share of a row's
// spikes, one of so many, pairs have lists of their own. The bundled network's layer of 128 to 128
// channels at 16x16, 40 % of its input second spikes: 18.6 against 22.3 us; the next one, 14 %, gained
// nothing by either (Z5).
constexpr int64_t kPairsMaxPixels = 288;
constexpr int64_t kSpikesOfPair = 4;
constexpr int64_t kPixelsPerSample = 4;  // one of so many is counted for that
// Sums that a rolling tile may keep: 64 MiB of them. Tall kernels need more on wide maps, and their rows
// are gathered. A limit on memory.
constexpr int64_t kMaxRollSums = int64_t{1} << 24;
// Output rows that a rolling tile adds an event to at once, kRollRows4 and 8 in each simd_*-inl.h: as
// many as the registers hold. On AVX2 three rows of 4-bit weights are two registers more than there
// are, and yet faster than two rows and then one, see docs/measurements.

// Output channels of a tile. A wide tile reads long runs of memory and gathers its rows once. A
// narrow one stays in cache from pixel to pixel, and there are more of them to share out. The
// registers hold kMaxTileWidth, see simd_*-inl.h. Other widths: no gain (Z4).
constexpr int64_t kGroupedTileWidth = 64;  // of a grouped convolution
constexpr int64_t kImageTileWidth = 128;   // of layers that read the image; not recorded
constexpr int64_t kFarTileWidth8 = 256;    // of 8-bit weights that do not fit L2
constexpr int64_t kFarTileWidth4 = 512;  // of 4-bit ones: the same bytes, but half of it beyond L2
                                         // on AVX-512: 0.97 of VGG16's time at 10 and 5 % (Z5)
constexpr int64_t kFarTileMinPixels = 10;  // smaller maps have the widest tile; not recorded
// Rows wider than the registers are added in strips, so many rows at a time: strips that are read soon
// after each other come as fast as one run of memory. 8 rows at a time and 32 were slower, and so were
// a strip of all rows after the other and prefetching a whole row at once (Z3).
constexpr int64_t kWidestTile = 512;
constexpr int64_t kStripRows = 16;
constexpr int64_t kSplitTileMaxPixels = 15;  // several threads split smaller maps by tiles too

// Rows that are added in a turn of the loop, of four vectors and more (Z4), and of shorter ones. A chunk
// of 16 short rows is four turns, whose end the branch predictor foresees. It foresaw that of 16 turns,
// or did not, as the code happened to lie: 15.4 or 19 us for 256 to 256 channels, 4x4 with a stride of
// two, from 16x16. No loop at all took 17, and of long rows 14.9 instead of 11.2 (Z5).
constexpr int kLongRowVectors = 4, kLongRowsATurn = 2, kRowsATurn = 4;

// Groups of four bytes that a sum of products of the image's bytes must take, for them to be used: a
// sum that takes fewer passes through memory more often than products of 16 bits cost. Not recorded.
constexpr int64_t kMinByteGroups = 4;

// Output pixels that go through a tile together. More of them share the cost of bringing a tile's
// weights from beyond L2; fewer keep the gathered rows in L1. Came with the prefetch distances (Z4).
constexpr int64_t kBlockPixels = 16;
constexpr int64_t kFarBlockPixels = 64;
// Weight rows that a block may gather: 16 MiB of them. A limit on memory.
constexpr int64_t kMaxBlockRows = int64_t{1} << 22;
// Bytes of the image that a block may gather: 16 MiB. A limit on memory.
constexpr int64_t kMaxBlockPatchBytes = int64_t{1} << 24;

// Terms of a sum: listing the events of each against adding numbers. x + x, added to itself again,
// doubles them. Not recorded.
constexpr size_t kMaxTerms = 64;

// ---- Packing: load time only ----

// Weights a side of the squares that are transposed, so that they stay in L1. Not recorded.
constexpr int64_t kTransposeSquare = 64;
// Histograms filled side by side: in one, equal neighbours wait for each other. Not recorded.
constexpr int64_t kHistograms = 4;
// Fewer weights are counted in one alone, for four must be cleared. Not recorded.
constexpr int64_t kHistogramsMin = 1024;

// ---- Sharing work ----

// Units of a phase for each thread. Fewer leave threads idle at its end, more cost atomic operations.
// Not recorded.
constexpr int64_t kUnitsPerThread = 2;
// Output pixels of a band: it grows up to that while there are enough bands. Not recorded.
constexpr int64_t kBandPixels = 64;
// Rows of a layer that a fused step may wait for. Not recorded.
constexpr int64_t kMaxFusedRows = 8;

// Memory of one image up to which each thread has an image of its own: each, or all together.
// Beyond both, all threads share one image. A limit on memory.
constexpr int64_t kParallelImageBytes = int64_t{64} << 20;
constexpr int64_t kParallelImagesBytes = int64_t{1} << 30;
// Scratch memory of all threads together: beyond it fewer of them run. A limit on memory.
constexpr int64_t kScratchBytes = int64_t{1} << 30;

// How long a thread looks out for the next task before it sleeps. Waking takes tens of microseconds,
// which is much of a whole network, and images often come one after the other. Costs a core so long.
constexpr auto kSpinTime = std::chrono::microseconds(100);
constexpr int kPausesPerClock = 32;      // between two looks at the clock; not recorded
constexpr int kSpinsBeforeYield = 4096;  // at the end of a phase; not recorded

}  // namespace snn
#endif
