// How the threads of a block wait for each other, and what they do once all have come.
#include "emulation/multiprocessor.h"
#include "emulation/sanitizer.h"

namespace bertfast::emulation {

void Multiprocessor::sync_block(Location where) {
  const UnobservedAccesses unobserved;
  const char* place = block_->barrier.place();
  release_order(place);
  arrive("sync_block", nullptr, where);
  join(block_meeting_);
  if (block_meeting_.num_arrived == num_threads_) {
    ++block_->barrier.round;
    block_meeting_ = {};
    warp_meetings_.assign(warp_meetings_.size(), {});
    for (int i = 0; i < num_threads_; ++i) make_ready(i);
  }
  leave_until_ready();
  acquire_order(place);
}

// With something to do it exchanges registers, and orders no memory; with nothing it is a barrier.
void Multiprocessor::warp_collective(const char* name, Collective collective, void* operand,
                                     Location where) {
  const UnobservedAccesses unobserved;
  Barrier& barrier = block_->warp_barriers[running_ / kLanes];
  const char* place = barrier.place();
  if (collective == nullptr) release_order(place);
  arrive(name, operand, where);
  Meeting& meeting = warp_meetings_[running_ / kLanes];
  if (meeting.num_arrived == kLanes) {
    meeting = {};
    void* operands[kLanes];
    const int first = running_ - lane();
    for (int i = 0; i < kLanes; ++i) {
      operands[i] = threads_[first + i]->operand;
      make_ready(first + i);
    }
    if (collective != nullptr) collective(operands);
    if (collective == nullptr) ++barrier.round;
  }
  leave_until_ready();
  if (collective == nullptr) acquire_order(place);
}

// Every operation, of the warp or of the block, is one that all lanes of a warp have to come to.
void Multiprocessor::arrive(const char* name, void* operand, Location where) {
  Thread& self = *threads_[running_];
  self.name = name;
  self.where = where;
  self.operand = operand;
  join(warp_meetings_[running_ / kLanes]);
  self.state = State::kWaiting;
}

void Multiprocessor::join(Meeting& meeting) {
  if (meeting.num_arrived++ == 0) {
    meeting.first_thread = running_;
    return;
  }
  const Thread& self = *threads_[running_];
  const Thread& first = *threads_[meeting.first_thread];
  if (first.name == self.name && first.where == self.where) return;
  fail("divergent " + std::string(self.name) + ": thread " + std::to_string(meeting.first_thread) +
           " waits in " + std::string(first.name) + " at " + to_string(first.where),
       self.where);
}

void Multiprocessor::leave_until_ready() {
  threads_[running_]->fiber.suspend();
  if (!error_.empty()) throw Abandoned();
}

void Multiprocessor::make_ready(int thread) {
  threads_[thread]->state = State::kReady;
  schedule_.add(thread);
}

}  // namespace bertfast::emulation
