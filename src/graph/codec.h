// Lossless coding of weight tensors, in chunks that are decoded independently.
//
// A tensor's elements are cut into chunks of kCodecChunkElements. Each chunk says how it is laid
// out; the encoder tries every layout that can pay and keeps the smallest:
//
//   chunk := layout u8, body
//   0 whole   body := block of all bytes
//   1 planes  body := one block for every byte of an element: all first bytes, all second bytes, …
//             (a float's sign and exponent are predictable, its low mantissa is not)
//   2 mask    body := nonzero u32, block of a bit for each element (1: not zero, first element in
//             the lowest bit), then planes of the nonzero elements
//   3 gaps    body := nonzero u32, gap_bytes u32, block of the gaps, then planes of the nonzero
//             elements. A gap is the number of zeros before a nonzero element, written as a byte;
//             255 stands for 255 zeros and "goes on".
//   block := method u8, stored_bytes u32, payload
//   0 raw, 1 constant (one byte, repeated), 2 rANS, 3 zstd
//
// "Zero" is an element whose bytes are all zero, so that -0.0 survives. Numbers are little-endian.
//
// rANS (Duda, "Asymmetric numeral systems", 2013; interleaving: Giesen, "Interleaved entropy
// coders", 2014): static byte frequencies in 1/4096, `lanes` states of 32 bits in [2^16, 2^32) that
// take turns, renormalised by 16-bit words:
//   payload := lanes u8 (4 or 32), first symbol u8, last symbol u8, frequency of each symbol
//   between
//              them (varint), lanes × state u32, words u16 …
//   decode   s = symbol of (x mod 4096);  x = freq[s] · (x div 4096) + (x mod 4096) - start[s];
//            if x < 2^16: x = x · 2^16 + next word
// A sound payload ends with every state at 2^16 and no word left, which the decoder checks.
#ifndef PARE_GRAPH_CODEC_H_
#define PARE_GRAPH_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "pare/status.h"

namespace pare {

// 2^18 elements: large enough that a chunk's tables and states (0.4 kB) are under 0.3 % of it,
// small enough that a layer of AlexNet has work for every core.
inline constexpr int64_t kCodecChunkElements = int64_t{1} << 18;

// Codes the elements of one chunk; `bytes` holds a whole number of elements of `element_bytes` (1,
// 2, 4 or 8), at most kCodecChunkElements.
std::vector<std::byte> encode_chunk(std::span<const std::byte> bytes, int element_bytes);
// Fills `out` with the elements that `coded` holds. kCorrupt for anything that encode_chunk could
// not have written.
Status decode_chunk(std::span<const std::byte> coded, int element_bytes, std::span<std::byte> out);

// The rANS payload for these symbols, which must show at least two different values.
std::vector<std::byte> rans_encode(std::span<const std::byte> symbols);
Status rans_decode(std::span<const std::byte> payload, std::span<std::byte> symbols);

}  // namespace pare

#endif  // PARE_GRAPH_CODEC_H_
