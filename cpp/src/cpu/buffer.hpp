// Buffers of floats whose memory outlives the call: pages fresh from the system cost as much as the work done on them.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace crystalnet {

// Movable, not copyable; the contents of a new one are undefined.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t size) {
    {
      const std::lock_guard guard(pool().lock);
      auto& idle = pool().idle;
      for (auto block = idle.begin(); block != idle.end(); ++block) {
        if (block->size < size || block->size > kWaste * size) continue;
        block_ = std::move(*block);
        idle.erase(block);
        pool().bytes -= block_.size * sizeof(float);
        return;
      }
    }
    block_ = {std::unique_ptr<float[]>(new float[size]), size};
  }
  Buffer(Buffer&&) = default;
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Buffer() {
    if (!block_.memory) return;
    const std::lock_guard guard(pool().lock);
    if (pool().bytes + block_.size * sizeof(float) > kKept) return;
    pool().bytes += block_.size * sizeof(float);
    pool().idle.push_back(std::move(block_));
  }

  float* data() { return block_.memory.get(); }
  const float* data() const { return block_.memory.get(); }
  float& operator[](std::size_t i) { return block_.memory[i]; }

 private:
  static constexpr std::size_t kKept = 32u << 20;  // bytes: five guesses against a truth on 50³, both rounded up
  static constexpr std::size_t kWaste = 2;         // an idle block this much too large still serves

  struct Block {
    std::unique_ptr<float[]> memory;
    std::size_t size = 0;
  };
  struct Pool {
    std::mutex lock;
    std::vector<Block> idle;
    std::size_t bytes = 0;
  };
  static Pool& pool() {
    static Pool* const pool = new Pool;  // never destroyed: threads may outlive static objects
    return *pool;
  }

  Block block_;
};

}  // namespace crystalnet
