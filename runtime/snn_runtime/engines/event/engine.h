// The spike-driven engine: a whole SpikingGraph in one call. Plain C, so that any language can bind
// it.
//
// A population's current is the sum of the weight rows of the neurons that fired before it, and
// most did not: the work is proportional to the spikes. Everything is integer arithmetic; the
// result is the interpreter's (snn_runtime/graph/reference.py) bit for bit, on every instruction
// set and any number of threads.
#ifndef SNN_EVENT_ENGINE_H
#define SNN_EVENT_ENGINE_H

#include <stdint.h>

#if defined(__GNUC__)
#define SNN_API __attribute__((visibility("default")))
#else
#define SNN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define SNN_EVENT_ABI 11
#define SNN_EVENT_MAX_THREADS 1024

// A convolution of one source. A dense projection is a convolution whose kernel is its whole
// source.
typedef struct {
  int32_t source;  // 0: the image, n + 1: node n
  int32_t kernel_height, kernel_width;
  int32_t stride_y, stride_x;
  int32_t padding_y, padding_x;
  int32_t groups;
  int64_t weight;  // where in `weights` its [channels, inputs / groups, height, width] begin
} snn_projection;

// ADD, AND and IAND join two sources of one shape, x and y, element by element: x + y, x · y and
// x · (1 − y), the last two of spikes alone.
typedef enum {
  SNN_POPULATION = 0,
  SNN_MAX_POOL = 1,
  SNN_SUM_POOL = 2,
  SNN_ADD = 3,
  SNN_AND = 4,
  SNN_IAND = 5
} snn_kind;

typedef struct {
  int32_t kind;         // snn_kind
  int32_t channels;     // of a population; else 0
  int32_t projections;  // of a population: how many, taken from the list in order; else 0
  int32_t source[2];    // of a node without weights: like snn_projection.source; else 0
  int32_t kernel;       // of a pool: side of the window and stride; else 0
  int32_t positions;    // 1: a threshold for each [channel][row][column]; 0: one a channel
  int32_t levels;       // of a population: thresholds of a neuron, 1 to 255; else 0
  int64_t
      threshold;  // of a population: where in `thresholds` its floor(θ) begin, [level][channel],
                  // none below that of the level before
} snn_node;

typedef struct {
  int32_t height, width;  // of the image, RGB
  int32_t offset[3];      // subtracted per colour
  int32_t nodes, projections;
  int32_t readout;  // its source, like snn_projection.source
  int32_t classes;
  int64_t readout_weight;  // where in `weights` its [classes, C, H, W] begin
  int64_t weight_count, threshold_count;
  const snn_node *node;
  const snn_projection *projection;
  const int8_t *weights;
  const int32_t *thresholds;
  const float *scale, *bias;  // [classes]: logit = scale · sum + bias, each rounded once
} snn_graph;

typedef struct snn_engine snn_engine;

SNN_API int32_t snn_event_abi(void);

// The instruction sets this build has and this processor runs, best first, separated by spaces.
SNN_API const char *snn_event_instruction_sets(void);

// Copies what it needs from the graph. Returns 0 after writing a sentence to `error` if the graph
// does not hold together, is beyond what this engine takes, or the instruction set is not here, and
// after writing "" if memory is short. `instruction_set` 0 or "" is the best. `threads` is 1 to
// SNN_EVENT_MAX_THREADS, of which the caller's is one; there may be fewer, see snn_event_threads.
SNN_API snn_engine *snn_event_create(const snn_graph *graph, int32_t threads,
                                     const char *instruction_set, char *error, int64_t error_size);

// `images` is uint8 [count, height, width, 3], `logits` float [count, classes]. The others may be 0.
// `spikes` takes one byte, 0 to levels, a neuron: for each population in order, [count, C, H, W].
// `counts` takes the sums of these over H and W, [count, channels of all populations in order].
// `distances` takes Σ |counts − usual| · weight over all channels, [count], each term rounded to a
// multiple of 2^-30; `usual` holds what is usual of each channel, then the weight of each.
// Returns 0, or 1 if memory ran out. Calls on one engine wait for each other.
SNN_API int32_t snn_event_run(snn_engine *engine, const uint8_t *images, int64_t count,
                              float *logits, uint8_t *spikes, int64_t *counts, const double *usual,
                              double *distances);

SNN_API const char *snn_event_instruction_set(const snn_engine *engine);

// How many threads there are, the caller's included: fewer than were asked for where the system gives
// no more, or their scratch memory would be too much.
SNN_API int32_t snn_event_threads(const snn_engine *engine);

// Memory of one image while it runs, in bytes: of its values, which share it where they are never
// needed together, and of the image with its padding. While that is little, each thread has an image
// of its own.
SNN_API int64_t snn_event_image_bytes(const snn_engine *engine);

SNN_API void snn_event_destroy(snn_engine *engine);

// Bytes a nanosecond that one thread reads from a buffer of `bytes` that it has just read: what the
// engine's rows can stream at from the cache that holds them.
SNN_API double snn_event_bandwidth(int64_t bytes);

// Products of two bytes, each added to a 32-bit sum, that one thread makes in registers in a
// nanosecond, and the instructions that do most: the limit of dense INT8 engines. 0 and "" where
// none is known.
SNN_API double snn_event_peak(const char **instructions);

#ifdef __cplusplus
}
#endif
#endif
