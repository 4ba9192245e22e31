// Where batches come from. Sample i of the endless training order of a stage is a pure function of (seed, stage, i):
// resuming needs only the count of samples consumed of it, on any mesh.
#pragma once

#include <cstdint>
#include <memory>

#include "trainer/config/config.h"
#include "trainer/data/batch.h"

namespace ropewalk {

class IndexedDataset;

class Samples {
 public:
  virtual ~Samples() = default;
  virtual Sample at(uint64_t index) const = 0;  // any index: after an epoch comes the next, in another order
  virtual uint64_t samples_per_epoch() const = 0;
};

// The training part and the validation part (perhaps null) of a stage's data, in sequences of its length.
struct Dataset {
  std::unique_ptr<Samples> training, validation;
  std::shared_ptr<const IndexedDataset> file;
  int64_t tokens = 0, documents = 0;
};
// Of every stage; those with one prefix share the file. Throws DataError or ConfigurationError.
std::vector<Dataset> open_datasets(const Config& config);
Dataset open_dataset(const Config& config, const Stage& stage);  // of one of them

// The share of data rank `data_rank` in the `batch` samples that follow the first `consumed` ones: samples
// consumed + data_rank * (batch / data_parallel) + [0, batch / data_parallel).
Batch batch_at(const Samples& samples, int64_t consumed, int64_t batch, int data_rank, int data_parallel);
// Samples [begin, end), which may be none.
Batch batch_between(const Samples& samples, int64_t begin, int64_t end);

}  // namespace ropewalk
