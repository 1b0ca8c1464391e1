// Runs cases through the plain C interface, without Python: what the sanitizers and emulators
// watch.
//
//     event_driver CASE …                        every answer must be the interpreter's, byte for byte
//     event_driver --mutate SEED COUNT CASE …    graphs full of nonsense: refused, or run without harm
#include <sys/time.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "event_case.h"
#include "event_mutation.h"

namespace {

constexpr int kThreads = 3;
constexpr int kPatience = 300;  // seconds of processor time, of all threads, for one graph
constexpr double kWork = 2e7, kNeurons = 4e6;  // of mutants that are worth running

// Ends the program, with a word, when a graph takes too long. A clock on the wall would also end what
// only waits for a busy machine.
void limit_time() {
  std::signal(SIGPROF, [](int) {
    constexpr char kSentence[] = "event_driver: no answer after all that time\n";
    _exit(write(STDERR_FILENO, kSentence, sizeof kSentence - 1) > 0 ? 1 : 2);
  });
  const itimerval limit = {{0, 0}, {kPatience, 0}};
  setitimer(ITIMER_PROF, &limit, nullptr);
}

struct Answer {
  Exact<float> logits;
  Exact<uint8_t> spikes;
  Exact<int64_t> counts;

  bool operator==(const Answer &other) const {
    return !std::memcmp(logits.get(), other.logits.get(), sizeof(float) * logits.count) &&
           !std::memcmp(spikes.get(), other.spikes.get(), spikes.count) &&
           !std::memcmp(counts.get(), other.counts.get(), sizeof(int64_t) * counts.count);
  }
};

struct Engine {
  snn_engine *engine;
  std::string name;

  Engine(const snn_graph *graph, int threads, const std::string &instruction_set, char *sentence,
         int64_t size)
      : engine(snn_event_create(graph, threads, instruction_set.c_str(), sentence, size)),
        name(instruction_set + ", threads " + std::to_string(threads)) {}
  Engine(const Engine &) = delete;
  Engine &operator=(const Engine &) = delete;
  ~Engine() {
    if (engine) snn_event_destroy(engine);
  }

  // Asks for everything, for logits alone, and for counts without spikes.
  Answer run(const snn_graph &graph, const Exact<uint8_t> &pixels, int64_t images, int64_t neurons,
             int64_t channels) const {
    const int64_t classes = images * graph.classes;
    Answer answer{Exact<float>(classes), Exact<uint8_t>(images * neurons),
                  Exact<int64_t>(images * channels)};
    const Exact<double> usual(2 * channels), distances(images);
    for (int64_t c = 0; c < channels; c++) usual[c] = 0.25, usual[channels + c] = 6e-10;
    const auto ask = [&](const Exact<float> &logits, uint8_t *spikes, int64_t *counts) {
      if (snn_event_run(engine, pixels.get(), images, logits.get(), spikes, counts, usual.get(),
                        distances.get()))
        fail("out of memory");
      if (std::memcmp(logits.get(), answer.logits.get(), sizeof(float) * logits.count) != 0)
        fail("differs when spikes are asked for: ", name.c_str());
    };
    ask(answer.logits, answer.spikes.get(), answer.counts.get());
    ask(Exact<float>(classes), nullptr, nullptr);
    const Exact<int64_t> counts(images * channels);
    ask(Exact<float>(classes), nullptr, counts.get());
    if (std::memcmp(counts.get(), answer.counts.get(), sizeof(int64_t) * counts.count) != 0)
      fail("counts differ without spikes: ", name.c_str());
    for (int64_t i = 0; i < images; i++) {
      double expected = 0;
      for (int64_t c = 0; c < channels; c++) {
        const double off = std::fabs(static_cast<double>(answer.counts[i * channels + c]) - 0.25);
        expected += std::rint(off * 6e-10 * (1 << 30)) / (1 << 30);
      }
      if (distances[i] != expected) fail("wrong distance: ", name.c_str());
    }
    return answer;
  }
};

void check(const char *path) {
  Case c = read_case(path);
  const Answer expected{c.logits.resized(c.logits.count), c.spikes.resized(c.spikes.count),
                        c.counts.resized(c.counts.count)};
  for (const std::string &set : instruction_sets()) {
    for (int threads = 1; threads <= kThreads; threads++) {
      char sentence[300] = "";
      const Engine engine(c.point(), threads, set, sentence, sizeof sentence);
      if (!engine.engine) fail("refused: ", sentence);
      if (set != snn_event_instruction_set(engine.engine))
        fail("not what was asked for: ", set.c_str());
      const auto once = [&] {
        if (!(engine.run(c.graph, c.pixels, c.images, c.neurons, c.channels) == expected)) {
          fail((std::string(path) + " differs: " + engine.name).c_str());
        }
      };
      once();
      // Two callers of one engine: each computes alone, or they share its threads.
      if (threads == 1 || threads == kThreads) {
        std::thread first(once), second(once);
        first.join();
        second.join();
      }
      engine.run(c.graph, c.pixels, 0, c.neurons, c.channels);
    }
  }
}

// What create does with arguments that make no sense, and with a short buffer for its sentence.
void check_arguments(const char *path) {
  Case c = read_case(path);
  for (int threads : {0, -1, INT32_MIN, INT32_MAX}) {
    char sentence[300] = "";
    snn_engine *engine = snn_event_create(c.point(), threads, nullptr, sentence, sizeof sentence);
    if (engine ? threads < 1 : !*sentence) fail("threads that make no sense");
    if (engine) snn_event_destroy(engine);
  }
  const std::string unknown(1000, 'x');
  for (int64_t size : {0, 1, 2, 20}) {
    Exact<char> sentence(size);
    if (snn_event_create(c.point(), 1, unknown.c_str(), sentence.get(), size))
      fail("an unknown instruction set");
    if (size && sentence[size - 1] != 0) fail("a sentence without an end");
  }
  if (snn_event_create(c.point(), 1, "avx", nullptr, 0)) fail("an instruction set of another name");
  if (snn_event_abi() != SNN_EVENT_ABI || !(snn_event_bandwidth(1 << 14) > 0))
    fail("abi or bandwidth");
}

// Returns whether the graph was accepted and run.
bool survive(Case mutant) {
  const snn_graph &graph = *mutant.point();
  const std::vector<std::string> sets = instruction_sets();
  char sentence[300] = "";
  const Engine engine(&graph, 1, sets.front(), sentence, sizeof sentence);
  if (!engine.engine) {
    if (!*sentence) fail("refused without a sentence");
    return false;
  }
  const Cost cost(graph);
  if (cost.neurons < 0 || cost.work < 0) fail("accepted a graph of negative size");
  if (cost.work > kWork || cost.neurons > kNeurons) return false;
  Exact<uint8_t> pixels(int64_t{2} * graph.height * graph.width * 3);
  for (int64_t i = 0; i < pixels.count; i++) pixels[i] = static_cast<uint8_t>(i * 151 + i / 7);
  const int64_t neurons = static_cast<int64_t>(cost.neurons);
  int64_t channels = 0;
  for (int32_t n = 0; n < graph.nodes; n++)
    channels += graph.node[n].kind == SNN_POPULATION ? graph.node[n].channels : 0;
  const Answer answer = engine.run(graph, pixels, 2, neurons, channels);
  const Engine other(&graph, kThreads, sets.back(), sentence, sizeof sentence);
  if (!other.engine) fail("refused with another instruction set: ", sentence);
  if (!(other.run(graph, pixels, 2, neurons, channels) == answer)) fail("instruction sets differ");
  return true;
}

void mutate(uint64_t seed, long count, const std::vector<const char *> &paths) {
  std::vector<Case> sound;
  sound.reserve(paths.size());
  for (const char *path : paths) sound.push_back(read_case(path));
  long ran = 0;
  for (long i = 0; i < count; i++) {
    const size_t which = static_cast<size_t>(i) % sound.size();
    const std::string own_seed = std::to_string(seed + static_cast<uint64_t>(i));
    std::fprintf(stderr, "--mutate %s 1 %s\n", own_seed.c_str(), paths[which]);
    limit_time();
    ran += survive(Mutation(seed + static_cast<uint64_t>(i)).applied(sound[which]));
  }
  std::printf("%ld mutants, %ld accepted and run\n", count, ran);
}

}  // namespace

int main(int count, char **arguments) {
  std::vector<const char *> paths(arguments + 1, arguments + count);
  if (paths.size() > 3 && !std::strcmp(paths[0], "--mutate")) {
    const uint64_t seed = std::strtoull(paths[1], nullptr, 10);
    mutate(seed, std::strtol(paths[2], nullptr, 10), {paths.begin() + 3, paths.end()});
    return 0;
  }
  if (paths.empty()) fail("no case given");
  check_arguments(paths[0]);
  for (const char *path : paths) {
    limit_time();
    check(path);
  }
  std::printf("%zu cases, instruction sets: %s\n", paths.size(), snn_event_instruction_sets());
  return 0;
}
