// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// One artefact, several conversations at once, in C++:
//   run ARTEFACT SESSIONS NEW_TOKENS TOKEN
// Session i continues the token TOKEN + i greedily on a thread of its own;
// prints one line of ids per session. Shows how handles become owners and
// statuses exceptions.

#include <glvq/Runtime/glvq_runtime.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

void check(glvq_status status) {
  if (status != GLVQ_OK)
    throw std::runtime_error(glvq_last_error());
}

struct Deleter {
  void operator()(glvq_artefact *artefact) { glvq_artefact_close(artefact); }
  void operator()(glvq_session *session) { glvq_session_destroy(session); }
};

using Artefact = std::unique_ptr<glvq_artefact, Deleter>;

Artefact open(const char *path) {
  glvq_artefact *artefact = nullptr;
  check(glvq_artefact_open(path, nullptr, &artefact));
  return Artefact(artefact);
}

/// One conversation. Sessions share the code and the mapped weights.
class Session {
public:
  Session(const Artefact &artefact, int64_t capacity) {
    glvq_session_options options{capacity, /*threads=*/1};
    glvq_session *created = nullptr;
    check(glvq_session_create(artefact.get(), &options, &created));
    session.reset(created);
  }

  /// Appends `token`; returns the likeliest one to follow.
  int64_t step(int64_t token) {
    const int64_t shape[] = {1, 1};
    const glvq_tensor inputs[] = {
        {"tokens", GLVQ_I64, 2, shape, &token},
        {"position", GLVQ_I64, 0, nullptr, &position}};
    int32_t rank;
    int64_t sizes[3];
    check(glvq_session_output_shape(session.get(), "decode", inputs, 2,
                                    "logits", &rank, sizes));
    logits.resize(sizes[2]);
    const glvq_tensor output{"logits", GLVQ_F32, rank, sizes, logits.data()};
    check(glvq_session_run(session.get(), "decode", inputs, 2, &output, 1));
    ++position;
    return std::max_element(logits.begin(), logits.end()) - logits.begin();
  }

private:
  std::unique_ptr<glvq_session, Deleter> session;
  int64_t position = 0;
  std::vector<float> logits;
};

std::string converse(const Artefact &artefact, int64_t token, int64_t count) {
  std::string line;
  Session session(artefact, count);
  for (int64_t i = 0; i < count; ++i)
    line += std::to_string(token = session.step(token)) + " ";
  return line;
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: run ARTEFACT SESSIONS NEW_TOKENS TOKEN\n");
    return 2;
  }
  try {
    Artefact artefact = open(argv[1]);
    const int64_t count = std::stoll(argv[3]), first = std::stoll(argv[4]);
    std::vector<std::string> lines(std::stoul(argv[2]));
    std::vector<std::exception_ptr> errors(lines.size());
    {
      std::vector<std::jthread> threads;
      for (size_t i = 0; i < lines.size(); ++i)
        threads.emplace_back([&, i] {
          try {
            lines[i] = converse(artefact, first + i, count);
          } catch (...) {
            errors[i] = std::current_exception();
          }
        });
    }
    for (size_t i = 0; i < lines.size(); ++i) {
      if (errors[i])
        std::rethrow_exception(errors[i]);
      std::puts(lines[i].c_str());
    }
  } catch (const std::exception &error) {
    std::fprintf(stderr, "run: error: %s\n", error.what());
    return 1;
  }
}
