/* Part of glvq. Apache-2.0 WITH LLVM-exception. */
/* Greedy generation with a compiled language model, in C alone:
 *   generate ARTEFACT NEW_TOKENS TOKEN...
 * prints the ids of the new tokens. Tokenizing is up to the caller. */
#include <glvq/Runtime/glvq_runtime.h>
#include <stdio.h>
#include <stdlib.h>

static void check(glvq_status status) {
  if (status != GLVQ_OK) {
    fprintf(stderr, "generate: error: %s\n", glvq_last_error());
    exit(1);
  }
}

/* Runs an entry on `count` tokens; returns the likeliest token to follow. */
static int64_t next(glvq_session *session, const char *entry, int64_t *tokens,
                    int64_t count, int64_t position) {
  int64_t shape[2] = {1, count}, logits_shape[3], best = 0;
  glvq_tensor in[2] = {{"tokens", GLVQ_I64, 2, shape, tokens},
                       {"position", GLVQ_I64, 0, NULL, &position}};
  int32_t rank;
  check(glvq_session_output_shape(session, entry, in, 2, "logits", &rank,
                                  logits_shape));
  int64_t rows = logits_shape[1], vocabulary = logits_shape[2];
  float *logits = calloc((size_t)(rows * vocabulary), sizeof(float));
  glvq_tensor out = {"logits", GLVQ_F32, 3, logits_shape, logits};
  check(glvq_session_run(session, entry, in, 2, &out, 1));
  const float *last = logits + (rows - 1) * vocabulary;
  for (int64_t i = 1; i < vocabulary; ++i)
    best = last[i] > last[best] ? i : best;
  free(logits);
  return best;
}

int main(int argc, char **argv) {
  if (argc < 4)
    return fprintf(stderr, "usage: generate ARTEFACT NEW_TOKENS TOKEN...\n"), 2;
  int64_t new_tokens = atoll(argv[2]), position = argc - 3;
  int64_t *prompt = calloc((size_t)position, sizeof(int64_t));
  for (int64_t i = 0; i < position; ++i)
    prompt[i] = atoll(argv[3 + i]);
  glvq_artefact *artefact;
  glvq_session *session;
  check(glvq_artefact_open(argv[1], NULL, &artefact));
  glvq_session_options options = {.capacity = position + new_tokens};
  check(glvq_session_create(artefact, &options, &session));
  int64_t token = next(session, "prefill", prompt, position, 0);
  for (int64_t i = 1; printf("%lld\n", (long long)token), i < new_tokens; ++i)
    token = next(session, "decode", &token, 1, position++);
  glvq_session_destroy(session);
  glvq_artefact_close(artefact);
  free(prompt);
  return 0;
}
