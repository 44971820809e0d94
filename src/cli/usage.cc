#include "cli/usage.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <vector>

#include "base/nearest.h"

namespace pare {
namespace {

// "; did you mean --model?", if a valid word is near enough.
std::string meant(const std::string& word, const std::vector<std::string>& valid) {
  const std::string nearest = nearest_name(word, valid);
  if (edit_distance(word, nearest) > std::max<size_t>(2, word.size() / 3)) return "";
  return fmt::format("; did you mean {}?", nearest);
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
  }
  return names;
}

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

// The first argument that nothing took, without "=value".
std::string unexpected(const CLI::App& app) {
  const std::vector<std::string> left = app.remaining(/*recurse=*/true);
  if (left.empty()) return "";
  return left.front().starts_with("-") ? left.front().substr(0, left.front().find('='))
                                       : left.front();
}

template <typename T>
CLI::Validator in_range(T low, T high, const std::string& range, const std::string& what) {
  const auto check = [=](const std::string& text) {
    T value{};
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, value);
    if (error == std::errc() && rest == end && value >= low && value <= high) return std::string();
    return fmt::format("expected {}{}, found '{}'", what, range.empty() ? "" : " from " + range,
                       text);
  };
  return {check, range};
}

}  // namespace

CLI::Validator whole_number(int64_t low, int64_t high) {
  return in_range(low, high, fmt::format("{} to {}", low, high), "a whole number");
}

CLI::Validator number(double low, double high) {
  const bool bounded = std::isfinite(low) && std::isfinite(high);
  return in_range(low, high, bounded ? fmt::format("{} to {}", low, high) : "", "a number");
}

CLI::Validator one_of(std::vector<std::string> words) {
  const std::vector<std::string> all_but_last(words.begin(), words.end() - 1);
  const std::string list =
      words.size() == 1 ? words[0]
                        : fmt::format("{} or {}", fmt::join(all_but_last, ", "), words.back());
  const std::string shown = fmt::format("{{{}}}", fmt::join(words, ","));
  const auto check = [=](const std::string& text) {
    if (std::ranges::find(words, text) != words.end()) return std::string();
    return fmt::format("expected {}, found '{}'{}", list, text, meant(text, words));
  };
  return {check, shown};
}

std::string usage_line(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<CLI::App*> commands = app.get_subcommands();
  if (commands.empty()) {
    const std::string word = unexpected(app);
    if (word.empty()) return "which command? (`pare --help` lists them)";
    if (word.starts_with("-")) {
      return fmt::format("no option is called {} (`pare --help` lists the commands)", word);
    }
    return fmt::format("no command is called '{}'{} (`pare --help` lists them)", word,
                       meant(word, command_names(app)));
  }
  const CLI::App& command = *commands.front();
  const std::string hint = fmt::format("(`pare {} --help` says more)", command.get_name());
  const std::string word = unexpected(command);
  if (word.starts_with("-")) {
    return fmt::format("{}: no option is called {}{} {}", command.get_name(), word,
                       meant(word, option_names(command)), hint);
  }
  if (!word.empty()) {
    return fmt::format("{}: what is '{}' for? Nothing more was expected {}", command.get_name(),
                       word, hint);
  }
  std::string text = error.what();
  std::ranges::replace(text, '\n', ' ');
  return fmt::format("{}: {} {}", command.get_name(), text, hint);
}

}  // namespace pare
