// The parser behind config_text.h: recursive descent over protobuf's tokenizer, driven by the schema.
#pragma once

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/message.h>

#include <functional>
#include <string>
#include <vector>

#include "trainer/config/config_text.h"
#include "trainer/config/problems.h"

namespace ropewalk {

inline constexpr int kMostEntries = 10'000;  // of a list; model.layers is at most 10,000, too

class TextReader : private google::protobuf::io::ErrorCollector {
 public:
  using Message = google::protobuf::Message;
  using FieldDescriptor = google::protobuf::FieldDescriptor;
  using Locate = std::function<std::string(int line, int column)>;  // both count from 0

  // schema: of the text, for messages about unknown fields.
  TextReader(google::protobuf::io::ZeroCopyInputStream& stream, Locate locate, const TextSchema& schema,
             Problems& problems);

  // Read the whole stream as the fields of a message, or as the value of one field. False if reading stopped before the
  // end (broken_).
  bool read_message_text(Message& message);
  bool read_value_text(Message& message, const FieldDescriptor& field, const std::string& path);

 private:
  using Tokenizer = google::protobuf::io::Tokenizer;

  void read_fields(Message& message, const std::string& path, std::string_view end);
  void read_field(Message& message, const std::string& path);
  void read_known_field(Message& message, const FieldDescriptor& field, const std::string& path,
                        const std::string& where);
  void read_value(Message& message, const FieldDescriptor& field, const std::string& path);
  void read_entries(Message& message, const FieldDescriptor& field, const std::string& path);
  void read_entry(Message& message, const FieldDescriptor& field, const std::string& path);
  void read_braces(Message& message, const std::string& path);
  void skip_value();

  // take_scalar() reads one scalar; false after a syntax error. set_scalar() sets the field to it; false if it is not a
  // value of the field's type.
  struct Scalar {
    Tokenizer::TokenType type;
    bool negative = false;
    std::string text;  // of a string: its bytes, without quotes and escapes
  };
  bool take_scalar(Scalar& scalar);
  static bool set_scalar(Message& message, const FieldDescriptor& field, const Scalar& scalar);

  // An open bracket: a text that ends too early is reported at the bracket that is never closed.
  struct Bracket {
    std::string symbol;
    int line, column;
  };
  void open_bracket();   // the current token
  void close_bracket();  // likewise

  void AddError(int line, int column, const std::string& message) override;  // of the tokenizer
  void syntax_error(const std::string& expected);
  void type_problem(const FieldDescriptor& field, const std::string& path, const std::string& value);
  void value_problem(const FieldDescriptor& field, const std::string& path, const Scalar& scalar);
  std::string here() { return locate_(tokenizer_.current().line, tokenizer_.current().column); }
  bool at(std::string_view symbol);
  bool take(std::string_view symbol);
  bool at_end() { return tokenizer_.current().type == Tokenizer::TYPE_END; }

  Locate locate_;
  const TextSchema& schema_;
  Problems& problems_;
  bool broken_ = false;  // after a syntax error or too many problems: nothing more is read
  // True while reading a group of fields that the text has set before. The repetition is reported once, for the group;
  // its fields are merged into the first group.
  bool in_second_group_ = false;
  std::vector<Bracket> open_;
  Tokenizer tokenizer_;
};

}  // namespace ropewalk
