// Memory of the kernels, on cache lines.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace crystalnet {

struct MemoryBlock {
  static constexpr std::size_t kLine = 64;
  struct Free {
    void operator()(std::byte* p) const { ::operator delete(p, std::align_val_t{kLine}); }
  };

  std::unique_ptr<std::byte, Free> memory;
  std::size_t size = 0;  // bytes

  MemoryBlock() = default;
  explicit MemoryBlock(std::size_t bytes)
      : memory(static_cast<std::byte*>(::operator new(bytes + kLine, std::align_val_t{kLine}))), size(bytes) {}
};

// Blocks whose memory outlives the call: pages fresh from the system cost as much as the work done on them.
class MemoryPool {
 public:
  static MemoryPool& shared() {
    static MemoryPool* const pool = new MemoryPool;  // never destroyed: threads may outlive static objects
    return *pool;
  }
  MemoryBlock take(std::size_t bytes) {
    {
      const std::lock_guard guard(lock_);
      for (auto block = idle_.begin(); block != idle_.end(); ++block) {
        if (block->size < bytes || block->size > kWaste * bytes) continue;
        MemoryBlock taken = std::move(*block);
        idle_.erase(block);
        bytes_ -= taken.size;
        return taken;
      }
    }
    return MemoryBlock(bytes);
  }
  void give_back(MemoryBlock block) {
    const std::lock_guard guard(lock_);
    if (bytes_ + block.size > kKept) return;
    bytes_ += block.size;
    idle_.push_back(std::move(block));
  }

 private:
  static constexpr std::size_t kKept = 32u << 20;  // bytes: five guesses against a truth on 50³, both rounded up
  static constexpr std::size_t kWaste = 2;         // an idle block this much too large still serves

  std::mutex lock_;
  std::vector<MemoryBlock> idle_;
  std::size_t bytes_ = 0;
};

// Numbers, movable and not copyable: zeroed, in memory that ends with them, or `pooled`, with undefined contents.
template <class T>
class Buffer {
  static_assert(std::is_trivial_v<T>);

 public:
  Buffer() = default;
  explicit Buffer(std::size_t n) : block_(n * sizeof(T)) { std::memset(block_.memory.get(), 0, block_.size); }
  static Buffer pooled(std::size_t n) {
    Buffer buffer;
    buffer.block_ = MemoryPool::shared().take(n * sizeof(T));
    buffer.pooled_ = true;
    return buffer;
  }
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(block_, other.block_);
    std::swap(pooled_, other.pooled_);
    return *this;
  }
  ~Buffer() {
    if (pooled_) MemoryPool::shared().give_back(std::move(block_));
  }

  T* data() const { return reinterpret_cast<T*>(block_.memory.get()); }
  T& operator[](std::size_t i) const { return data()[i]; }
  void clear() { std::memset(block_.memory.get(), 0, block_.size); }

 private:
  MemoryBlock block_;
  bool pooled_ = false;
};

}  // namespace crystalnet
