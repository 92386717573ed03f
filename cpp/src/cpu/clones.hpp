// CRYSTALNET_CLONES before a function compiles it for AVX-512, AVX2 and the baseline; the loader picks one at run time.
#pragma once

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define CRYSTALNET_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CRYSTALNET_CLONES
#endif
