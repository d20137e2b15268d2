/* Part of glvq. Apache-2.0 WITH LLVM-exception. */
/*
 * A model by hand, with the binary interface of docs/ArtefactFormat.md: what the
 * tests of the runtime open when there is no compiler.
 */
#include <stdint.h>
#include <stddef.h>

typedef struct {
  float *allocated, *aligned;
  int64_t offset, sizes[2], strides[2];
} Matrix;
typedef struct {
  int64_t *allocated, *aligned;
  int64_t offset, sizes[2], strides[2];
} Ids;
typedef struct {
  float *allocated, *aligned;
  int64_t offset, sizes[1], strides[1];
} Vector;

void (*glvq_parallel_for)(void (*)(void *, int64_t, int64_t), void *, int64_t);

typedef struct {
  Matrix *x, *y;
  Vector *w;
} Product;

static void scaleRows(void *context, int64_t begin, int64_t end) {
  Product *p = context;
  for (int64_t i = begin; i < end; ++i)
    for (int64_t j = 0; j < p->x->sizes[1]; ++j)
      p->y->aligned[i * p->y->strides[0] + j * p->y->strides[1]] +=
          p->x->aligned[i * p->x->strides[0] + j * p->x->strides[1]] * p->w->aligned[j];
}

/* y[rows, 3] = x[rows, 3] * w[3]. Adds to zeros, so that work done twice shows. */
void glvq_entry_forward(void **args) {
  Product p = {args[0], args[2], args[1]};
  for (int64_t i = 0; i < p.y->sizes[0] * p.y->sizes[1]; ++i)
    p.y->aligned[i] = 0;
  if (glvq_parallel_for)
    glvq_parallel_for(scaleRows, &p, p.x->sizes[0]);
  else
    scaleRows(&p, 0, p.x->sizes[0]);
}

/* Stores each token at its position of the state; the output is the sum up to it. */
void glvq_entry_decode(void **args) {
  Ids *tokens = args[0];
  int64_t position = *(int64_t *)args[1];
  Matrix *state = args[2], *sum = args[3];
  state->aligned[position] = (float)tokens->aligned[0];
  sum->aligned[0] = 0;
  for (int64_t i = 0; i <= position; ++i)
    sum->aligned[0] += state->aligned[i];
}
