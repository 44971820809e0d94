// Texts that are compiled into the program: pare_embed_texts (cmake/pare_embed.cmake) makes a list
// of them, one entry a file.
#ifndef PARE_BASE_EMBEDDED_TEXT_H_
#define PARE_BASE_EMBEDDED_TEXT_H_

#include <span>
#include <string>
#include <vector>

namespace pare {

struct EmbeddedText {
  const char* name;  // the file's, without its ending
  const char* text;
};

// nullptr when none has that name.
inline const char* find_embedded(std::span<const EmbeddedText> texts, const std::string& name) {
  for (const EmbeddedText& t : texts) {
    if (name == t.name) return t.text;
  }
  return nullptr;
}

inline std::vector<std::string> embedded_names(std::span<const EmbeddedText> texts) {
  std::vector<std::string> names;
  for (const EmbeddedText& t : texts) names.emplace_back(t.name);
  return names;
}

}  // namespace pare

#endif  // PARE_BASE_EMBEDDED_TEXT_H_
