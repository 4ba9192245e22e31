// Makes the batches. The order of training samples is endless: after an epoch comes the next, in another order. Sample
// i is a pure function of i, data.seed, data.validation_fraction, and the stage's order_begin, data (a blend's weights
// too) and sequence_length. So resuming on any mesh needs only the number of samples that were consumed from the order.
// Consecutive stages may share an order (Stage).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "trainer/config/config.h"
#include "trainer/data/batch.h"

namespace ropewalk {

class IndexedDataset;

class Samples {
 public:
  virtual ~Samples() = default;
  virtual Sample at(uint64_t index) const = 0;  // any index, also beyond an epoch
  virtual uint64_t samples_per_epoch() const = 0;
  virtual std::string notes() const { return ""; }  // on one line, for people: what else to know about these samples
};

// The training part and the validation part (null if there is none) of a stage's data, in sequences of the stage's
// length.
struct Dataset {
  std::unique_ptr<Samples> training, validation;
  std::shared_ptr<const IndexedDataset> file;
  int64_t tokens = 0, documents = 0;
  std::string prefix;          // of the file
  double share = 1;            // in a blend: the fraction of the blend's samples that are of this dataset
  std::vector<Dataset> parts;  // of a blend, which has no file or prefix of its own; else empty
};
std::span<const Dataset> parts_of(const Dataset& dataset);  // of a blend; of another dataset, itself
// One for each stage; stages share the files of prefixes that they have in common. Throws DataError or
// ConfigurationError.
std::vector<Dataset> open_datasets(const Config& config);
Dataset open_dataset(const Config& config, const Stage& stage);  // for one stage

// The samples of data-parallel rank `data_rank` in the global batch of `batch` samples that begins at sample
// `consumed`: samples consumed + data_rank * (batch / data_parallel) + [0, batch / data_parallel).
Batch batch_at(const Samples& samples, int64_t consumed, int64_t batch, int data_rank, int data_parallel);
// Samples [begin, end), which may be empty.
Batch batch_between(const Samples& samples, int64_t begin, int64_t end);

}  // namespace ropewalk
