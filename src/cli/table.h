// Tables on a terminal: columns as wide as what stands in them.
#ifndef PARE_CLI_TABLE_H_
#define PARE_CLI_TABLE_H_

#include <cstdint>
#include <string>
#include <vector>

namespace pare {

enum class Align { kLeft, kRight };

struct Column {
  std::string title;
  Align align = Align::kRight;
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // One text a column; missing ones are empty.
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  // With a newline after every row and two spaces between columns.
  std::string text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// Columns a terminal shows: the bytes of a UTF-8 text that do not continue a character.
size_t columns(const std::string& text);

}  // namespace pare

#endif  // PARE_CLI_TABLE_H_
