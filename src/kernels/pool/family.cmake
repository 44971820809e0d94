list(APPEND kernel_sources pool/pool.cc pool/reference.cc)
