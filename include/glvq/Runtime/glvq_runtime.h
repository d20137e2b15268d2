/* Part of glvq. Apache-2.0 WITH LLVM-exception. */
/*
 * The C interface of the glvq runtime: opens an artefact
 * (docs/ArtefactFormat.md), says what is inside, and runs its entry points.
 * C99.
 *
 *   glvq_artefact *artefact;
 *   if (glvq_artefact_open("smollm2.glvq", NULL, &artefact) != GLVQ_OK)
 *     fprintf(stderr, "%s\n", glvq_last_error());
 *   glvq_session *session;
 *   glvq_session_create(artefact, NULL, &session);
 *   glvq_tensor in[2] = {{"tokens", GLVQ_I64, 2, (int64_t[]){1, 1}, &token},
 *                        {"position", GLVQ_I64, 0, NULL, &position}};
 *   glvq_tensor out[1] = {{"logits", GLVQ_F32, 3, (int64_t[]){1, 1, 49152},
 * logits}}; glvq_session_run(session, "decode", in, 2, out, 1);
 *
 * Threads: an artefact may be used by any number of threads at once. A session
 * serves one call at a time; different sessions run at the same time. The
 * library has no global constructors and never lets a C++ exception out.
 */
#ifndef GLVQ_RUNTIME_GLVQ_RUNTIME_H
#define GLVQ_RUNTIME_GLVQ_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define GLVQ_API __attribute__((visibility("default")))
#else
#define GLVQ_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The artefact format this runtime reads ("version" in manifest.json). */
#define GLVQ_ARTEFACT_VERSION 1
/* The version of this interface, which is also the library's SONAME: programs
   compiled for one version run with every later library of the same version.
   It changes when a function or struct below changes or goes, not when one is
   added. */
#define GLVQ_ABI_VERSION 0

/* An opened artefact: code loaded, weights mapped (shared between processes).
 */
typedef struct glvq_artefact glvq_artefact;
/* An entry point of an artefact; lives as long as the artefact. */
typedef struct glvq_entry glvq_entry;
/* States (such as the KV cache) and threads; one conversation has one session.
 */
typedef struct glvq_session glvq_session;

typedef enum glvq_status {
  GLVQ_OK = 0,
  GLVQ_ERROR_IO = 1,      /* a file is missing or cannot be read */
  GLVQ_ERROR_FORMAT = 2,  /* not an artefact, or a malformed one */
  GLVQ_ERROR_VERSION = 3, /* an artefact of another format version */
  GLVQ_ERROR_CORRUPT = 4, /* size or checksum of a file is wrong */
  GLVQ_ERROR_TARGET = 5,  /* compiled for another machine or CPU feature */
  GLVQ_ERROR_WEIGHT =
      6, /* a weight is missing or has the wrong type or shape */
  GLVQ_ERROR_ARGUMENT = 7, /* the caller's argument is wrong */
  GLVQ_ERROR_BUSY = 8,     /* the session is running a call already */
  GLVQ_ERROR_MEMORY = 9    /* memory or threads cannot be had */
} glvq_status;

typedef enum glvq_dtype {
  GLVQ_BOOL = 0,
  GLVQ_I8 = 1,
  GLVQ_U8 = 2,
  GLVQ_I16 = 3,
  GLVQ_I32 = 4,
  GLVQ_I64 = 5,
  GLVQ_F16 = 6,
  GLVQ_BF16 = 7,
  GLVQ_F32 = 8,
  GLVQ_F64 = 9
} glvq_dtype;

typedef enum glvq_role {
  GLVQ_INPUT = 0,  /* given by the caller at each call */
  GLVQ_STATE = 1,  /* owned by the session */
  GLVQ_WEIGHT = 2, /* in the artefact */
  GLVQ_OUTPUT = 3  /* a buffer of the caller */
} glvq_role;

/* What an argument of an entry is. Pointers live as long as the artefact. */
typedef struct glvq_argument {
  const char *name;
  glvq_role role;
  glvq_dtype dtype;
  int32_t rank; /* 0 for a scalar */
  /* `rank` sizes; -1 where the size is known only at the call. */
  const int64_t *shape;
  /* `rank` names; NULL where the size is static. Dimensions of equal names have
     equal sizes in one call; "capacity" is the session's. */
  const char *const *dimensions;
} glvq_argument;

/* A tensor of the caller: row-major and contiguous, aligned to its element. */
typedef struct glvq_tensor {
  const char *name;
  glvq_dtype dtype;
  int32_t rank;         /* 0: a scalar; data points to it */
  const int64_t *shape; /* `rank` sizes; may be NULL when rank is 0 */
  void *data;           /* inputs are only read */
} glvq_tensor;

typedef struct glvq_open_options {
  /* Nonzero: sizes are checked, checksums are not (a large file is read only
     where it is needed). */
  int32_t skip_checksums;
} glvq_open_options;

typedef struct glvq_session_options {
  /* Tokens a state can hold; 0: the context length of the model. Memory is
     taken as it is used. */
  int64_t capacity;
  /* Threads of a call, with the calling one; 0: one per CPU of this process. */
  int32_t threads;
} glvq_session_options;

/* The GLVQ_ABI_VERSION that the loaded library was built with; for programs
   that open it with dlopen. */
GLVQ_API int32_t glvq_abi_version(void);
/* Why the last call on this thread failed; "" when none did. Valid until the
   next call on this thread. */
GLVQ_API const char *glvq_last_error(void);
GLVQ_API const char *
glvq_dtype_name(glvq_dtype dtype); /* "f32", ...; NULL if unknown */
GLVQ_API size_t glvq_dtype_size(glvq_dtype dtype); /* bytes; 0 if unknown */

/* Opens the artefact in folder `path`. Refuses, naming the reason, one of
   another version, with a missing, truncated or changed file, compiled for a
   CPU feature that this machine lacks, or lacking a weight. `options` may be
   NULL. */
GLVQ_API glvq_status glvq_artefact_open(const char *path,
                                        const glvq_open_options *options,
                                        glvq_artefact **artefact);
/* Closes it when its last session is destroyed; NULL is allowed. */
GLVQ_API void glvq_artefact_close(glvq_artefact *artefact);

/* The manifest's "model" object (architecture, vocab_size, ...) as JSON text.
 */
GLVQ_API const char *glvq_artefact_model(const glvq_artefact *artefact);
GLVQ_API size_t glvq_artefact_entry_count(const glvq_artefact *artefact);
/* NULL when index is too large. */
GLVQ_API const glvq_entry *glvq_artefact_entry(const glvq_artefact *artefact,
                                               size_t index);
/* NULL, and an error that lists the entries, when there is none of this name.
 */
GLVQ_API const glvq_entry *
glvq_artefact_find_entry(const glvq_artefact *artefact, const char *name);
GLVQ_API const char *glvq_entry_name(const glvq_entry *entry);
GLVQ_API size_t glvq_entry_argument_count(const glvq_entry *entry);
GLVQ_API glvq_status glvq_entry_argument(const glvq_entry *entry, size_t index,
                                         glvq_argument *argument);

/* A new session; its states are zero. `options` may be NULL. */
GLVQ_API glvq_status glvq_session_create(glvq_artefact *artefact,
                                         const glvq_session_options *options,
                                         glvq_session **session);
GLVQ_API void glvq_session_destroy(glvq_session *session); /* NULL is allowed */
/* Sets the states to zero again. */
GLVQ_API glvq_status glvq_session_reset(glvq_session *session);
GLVQ_API int64_t glvq_session_capacity(const glvq_session *session);
GLVQ_API int32_t glvq_session_threads(const glvq_session *session);

/* The shape that output `output` has for these inputs: writes its rank and,
   when `shape` is not NULL, its sizes (room for the argument's rank is needed).
 */
GLVQ_API glvq_status glvq_session_output_shape(
    const glvq_session *session, const char *entry, const glvq_tensor *inputs,
    size_t input_count, const char *output, int32_t *rank, int64_t *shape);

/* Runs an entry: every input and output it has must be given once, in any
   order. Names, types, ranks and sizes are checked, and for a decoder also that
   token ids are in the vocabulary and that position + tokens fits the capacity.
 */
GLVQ_API glvq_status glvq_session_run(glvq_session *session, const char *entry,
                                      const glvq_tensor *inputs,
                                      size_t input_count,
                                      const glvq_tensor *outputs,
                                      size_t output_count);

#ifdef __cplusplus
}
#endif
#endif /* GLVQ_RUNTIME_GLVQ_RUNTIME_H */
