// Runs the launchers emulated and keeps what they asked of the GPU, for a reader in another
// language: tests/kernels/ptx gives the same launches to an interpreter of the device's own code.
#include <dlfcn.h>

#include <memory>
#include <string>
#include <vector>

#include "emulation/multiprocessor.h"
#include "emulation/stream.h"

namespace bertfast::testing {
namespace {

using emulation::Launch;
using emulation::Stream;

// The symbol of a kernel's instance, or "" if it has none of its own.
std::string symbol_of(const void* function) {
  Dl_info info;
  const bool is_found = dladdr(function, &info) != 0 && info.dli_saddr == function;
  return is_found ? info.dli_sname : "";
}

struct Record {
  explicit Record(const Launch& launch)
      : kernel(symbol_of(launch.function)),
        grid(launch.grid),
        block(launch.block),
        smem_bytes(launch.smem_bytes),
        params(static_cast<const char*>(launch.params), launch.params_bytes) {}

  std::string kernel;
  dim3 grid, block;
  size_t smem_bytes;
  std::string params;
};

struct Recorder {
  Recorder() {
    stream.on_launch = [this](const Launch& launch) {
      records.emplace_back(launch);
      if (!runs) stream.first_block = uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
    };
  }

  Stream stream;
  std::vector<Record> records;
  bool runs = true;
};

}  // namespace

extern "C" {

// One launch in plain C. The pointers hold as long as the recorder.
struct RecordedLaunch {
  const char* kernel;
  unsigned grid[3];
  unsigned block[3];
  uint64_t smem_bytes;
  const char* params;
  uint64_t params_bytes;
};

Recorder* recorder_new() { return new Recorder; }

void recorder_delete(Recorder* recorder) { delete recorder; }

// What a launcher takes as its last argument.
cudaStream_t recorder_stream(Recorder* recorder) { return &recorder->stream; }

// From now on launches are kept, but no block of theirs is run.
void recorder_stop_running(Recorder* recorder) { recorder->runs = false; }

void recorder_add_buffer(Recorder* recorder, const void* begin, uint64_t num_bytes,
                         const char* name) {
  recorder->stream.memory.add(begin, num_bytes, name);
}

const char* recorder_error(const Recorder* recorder) { return recorder->stream.error.c_str(); }

uint64_t recorder_count(const Recorder* recorder) { return recorder->records.size(); }

RecordedLaunch recorder_launch(const Recorder* recorder, uint64_t index) {
  const Record& record = recorder->records.at(index);
  return {record.kernel.c_str(),
          {record.grid.x, record.grid.y, record.grid.z},
          {record.block.x, record.block.y, record.block.z},
          record.smem_bytes,
          record.params.data(),
          record.params.size()};
}

}  // extern "C"

}  // namespace bertfast::testing
