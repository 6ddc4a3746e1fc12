// Stands in for CUDA's header of this name where kernels are emulated: no CUDA is needed there.
#pragma once

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorLaunchFailure = 719,
};

struct CUstream_st;  // emulation/stream.h
using cudaStream_t = CUstream_st*;
