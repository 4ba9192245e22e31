// The part of NCCL's interface that is used, between threads of one process whose devices are emulated. An operation
// waits in its stream until all its ranks have reached it. Host calls sometimes return ncclInProgress before they are
// complete, like those of NCCL's nonblocking communicators. In a reduce-scatter the sum of each part begins at a
// different rank, as in NCCL's rings. For the functions, see NCCL's documentation.
#pragma once

#include <cstddef>

#include "kernels/cuda/runtime.h"

namespace ropewalk::cuda_emulated {

enum ncclResult_t {
  ncclSuccess = 0,
  ncclUnhandledCudaError = 1,
  ncclInvalidUsage = 5,
  ncclRemoteError = 6,
  ncclInProgress = 7
};
enum ncclDataType_t { ncclUint8, ncclInt32, ncclFloat32, ncclFloat64, ncclBfloat16 };
enum ncclRedOp_t { ncclSum };
struct ncclUniqueId {
  char internal[128];
};
struct ncclConfig_t {
  int blocking = 1;
};
#define NCCL_CONFIG_INITIALIZER \
  {}
#define NCCL_SPLIT_NOCOLOR -1

struct EmulatedNccl;
using ncclComm_t = EmulatedNccl*;

// Makes this thread's next group of calls return `result`, and ncclGetLastError() return `words`.
void fail_next_group(ncclResult_t result, const char* words);

ncclResult_t ncclGetUniqueId(ncclUniqueId* id);
ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config);
ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t* group, ncclConfig_t* config);
ncclResult_t ncclCommFinalize(ncclComm_t comm);
ncclResult_t ncclCommDestroy(ncclComm_t comm);
ncclResult_t ncclCommAbort(ncclComm_t comm);
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state);
const char* ncclGetErrorString(ncclResult_t result);
const char* ncclGetLastError(ncclComm_t comm);

ncclResult_t ncclGroupStart();
ncclResult_t ncclGroupEnd();
ncclResult_t ncclSend(const void* from, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, Stream stream);
ncclResult_t ncclRecv(void* to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, Stream stream);
ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t, ncclComm_t comm,
                           Stream stream);
ncclResult_t ncclReduceScatter(const void* from, void* to, size_t count_each, ncclDataType_t type, ncclRedOp_t,
                               ncclComm_t comm, Stream stream);
ncclResult_t ncclReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t, int root,
                        ncclComm_t comm, Stream stream);
ncclResult_t ncclAllGather(const void* from, void* to, size_t count_each, ncclDataType_t type, ncclComm_t comm,
                           Stream stream);
ncclResult_t ncclBroadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                           Stream stream);

}  // namespace ropewalk::cuda_emulated
