// Plain C for the compiler to vectorise; included inside an anonymous namespace.

void min_max_loop(const float* src, int64_t n, float* low, float* high) {
  // Sixteen lanes of running bounds keep the vector units busy; minimum and maximum are exact in any
  // order.
  float lows[16];
  float highs[16];
  for (int l = 0; l < 16; ++l) {
    lows[l] = *low;
    highs[l] = *high;
  }
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int l = 0; l < 16; ++l) {
      const float x = src[i + l];
      lows[l] = x < lows[l] ? x : lows[l];
      highs[l] = x > highs[l] ? x : highs[l];
    }
  }
  for (; i < n; ++i) {
    lows[0] = src[i] < lows[0] ? src[i] : lows[0];
    highs[0] = src[i] > highs[0] ? src[i] : highs[0];
  }
  for (int l = 0; l < 16; ++l) {
    *low = lows[l] < *low ? lows[l] : *low;
    *high = highs[l] > *high ? highs[l] : *high;
  }
}

void quantise_loop(const float* src, uint8_t* dst, int64_t n, float scale, int32_t zero_point) {
  const auto low = static_cast<float>(-zero_point);
  const auto high = static_cast<float>(255 - zero_point);
  for (int64_t i = 0; i < n; ++i) {
    float r = __builtin_nearbyintf(src[i] / scale);
    r = r > low ? r : low;
    r = r < high ? r : high;
    dst[i] = static_cast<uint8_t>(static_cast<int32_t>(r) + zero_point);
  }
}
