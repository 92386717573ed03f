// Threads for loops over independent items.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace crystalnet {

// Calls body(i) once for every i in [0, count), items handed out one by one. The first exception is rethrown.
template <class Body>
void parallel_for(std::int64_t count, int n_threads, const Body& body) {
  std::atomic<std::int64_t> next{0};
  std::exception_ptr error;
  std::mutex error_lock;
  const auto work = [&] {
    try {
      for (std::int64_t i; (i = next.fetch_add(1)) < count;) body(i);
    } catch (...) {
      next.store(count);
      const std::lock_guard guard(error_lock);
      if (!error) error = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  const std::int64_t helpers = std::min<std::int64_t>(n_threads, count) - 1;
  for (std::int64_t t = 0; t < helpers; ++t) threads.emplace_back(work);
  work();
  for (auto& thread : threads) thread.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace crystalnet
