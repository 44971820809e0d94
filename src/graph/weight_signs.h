// int8 weights about zero, and the same numbers as uint8 about 128.
//
// Inside Pare weights of eight bits are int8 with zero point 0. In an ONNX file they stand as uint8
// with zero point 128, because engines for x86 processors without VNNI multiply uint8 by int8 with
// an instruction (VPMADDUBSW) whose sums saturate, and uint8 by uint8 exactly: docs/recipes.md has
// what that does to the answers.
#ifndef PARE_GRAPH_WEIGHT_SIGNS_H_
#define PARE_GRAPH_WEIGHT_SIGNS_H_

#include "graph/graph.h"

namespace pare {

// Constants of type int8 and zero point 0, none or written out, that only DequantizeLinear and the
// second input of MatMulInteger read, become uint8 about 128.
Graph with_unsigned_weights(Graph graph);

// The way back, for any graph: uint8 constants about 128 become int8 about a zero point of zeros.
Graph with_signed_weights(Graph graph);

}  // namespace pare

#endif  // PARE_GRAPH_WEIGHT_SIGNS_H_
