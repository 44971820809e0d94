list(APPEND kernel_sources attention/attention.cc attention/reference.cc)
