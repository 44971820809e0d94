// Whether text is UTF-8: JSON and TOML files hold nothing else, file names and other people's
// models may.
#ifndef PARE_BASE_UTF8_H_
#define PARE_BASE_UTF8_H_

#include <cstddef>
#include <string_view>

namespace pare {

// Length in bytes of the UTF-8 sequence at text[i]; 0 where it is none (RFC 3629: no overlong
// forms, no surrogates, nothing above U+10FFFF).
size_t utf8_length(std::string_view text, size_t i);

bool is_utf8(std::string_view text);

}  // namespace pare

#endif  // PARE_BASE_UTF8_H_
