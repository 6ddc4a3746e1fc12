// One error for each tool of compute-sanitizer, by the tool's name: planted <tool>.
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstring>

__global__ void write_past_the_end(int* values, int count) { values[count + threadIdx.x] = 1; }

// Another warp's element, without waiting for it.
__global__ void read_before_it_is_written(int* out) {
  __shared__ int values[128];
  values[threadIdx.x] = threadIdx.x;
  out[threadIdx.x] = values[(threadIdx.x + 32) % 128];
}

// The mask leaves out the lanes that wait.
__global__ void wait_without_taking_part(int* out) {
  if (threadIdx.x >= 16) __syncwarp(0xffff);
  out[threadIdx.x] = 1;
}

__global__ void read_what_nobody_wrote(const int* values, int* out) {
  out[threadIdx.x] = values[threadIdx.x] + 1;
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  int *values = nullptr, *out = nullptr;
  // No multiple of what allocations are aligned to: past the end lies no other one's memory.
  if (cudaMalloc(&values, 100 * sizeof(int)) != cudaSuccess) return 3;
  if (cudaMalloc(&out, 128 * sizeof(int)) != cudaSuccess) return 3;
  if (std::strcmp(argv[1], "memcheck") == 0) write_past_the_end<<<1, 16>>>(values, 100);
  if (std::strcmp(argv[1], "racecheck") == 0) read_before_it_is_written<<<1, 128>>>(out);
  if (std::strcmp(argv[1], "synccheck") == 0) wait_without_taking_part<<<1, 32>>>(out);
  if (std::strcmp(argv[1], "initcheck") == 0) read_what_nobody_wrote<<<1, 32>>>(values, out);
  std::printf("%s\n", cudaGetErrorString(cudaDeviceSynchronize()));
  return 0;
}
